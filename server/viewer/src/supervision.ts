// The section "Supervision": run one for a site, the view or the city, see what each rule came to, go through findings.
import type { Bilingual, SupervisionConfig } from "./config";
import { getJson, resolve, ServerProblem } from "./config";
import type { Bounds, Picked } from "./details";
import { h, toggle } from "./dom";
import { type Feature, type Finding, KeptFindings, RunFindings, type Source, WORST_FIRST } from "./findings";
import type { FindingView } from "./finding_view";
import { Job, Stopped } from "./jobs";
import type { Texts, Word } from "./language";

const PAGE = 30;
const SITES = 200;

type Counts = Record<string, number>;

interface RuleTold {
  rule_id: string;
  title?: Bilingual;
  verdict: string | null;
  counts: Counts;
}

/** The answer of a supervision. */
interface Answer {
  counts: Counts;
  checks: { check: string; title: Bilingual; rules: RuleTold[] }[];
  findings: { features: Feature[] };
  stored?: Record<string, number>;
}

/** What the section does outside of itself. */
export interface Stage {
  /** West, south, east, north of what is seen of the city; nothing where the city is not in view. */
  view(): Bounds | undefined;
  isEmpty: boolean;
  use(source: Source): void;
  show(on: boolean): void;
  /** Select a finding and fly there. */
  open(finding: Finding): void;
}

export class Supervision {
  readonly element: HTMLDetailsElement;
  private run: RunFindings | undefined;
  readonly kept: KeptFindings;
  private readonly choose = h("select");
  private readonly site = h("input", { type: "text", className: "find", attrs: { list: "sites", autocomplete: "off" } });
  private readonly places = new Map<string, HTMLInputElement>();
  private readonly keep = toggle(false, () => undefined);
  private readonly start = h("button", { type: "submit", className: "primary" });
  private readonly stop = h("button", { type: "button", hidden: true });
  private readonly bar = h("progress", { max: 100, value: 0, hidden: true });
  private readonly said = h("p", { className: "said", attrs: { role: "status" } });
  private readonly note = h("small", { className: "error" });
  private readonly results = h("div", { className: "results" });
  private readonly rules = h("div");
  private readonly listing = h("div");
  private readonly heading = h("h3");
  private readonly list = h("ol", { className: "findings" });
  private readonly more = h("button", { type: "button", className: "small", hidden: true });
  private readonly back = h("button", { type: "button", className: "small", hidden: true });
  private answer: Answer | undefined;
  private saying: () => void = () => undefined;
  private listed: Finding[] = [];
  private matched = 0;
  private box: Bounds | undefined;
  private turn = 0;

  constructor(
    private readonly config: SupervisionConfig,
    private readonly texts: Texts,
    private readonly view: FindingView,
    private readonly stage: Stage,
  ) {
    this.kept = new KeptFindings(config.findings);
    this.element = this.section();
    this.listing.append(h("div", { className: "line" }, this.heading, this.back), this.list, this.more);
    this.results.append(this.rules, this.listing);
    this.more.addEventListener("click", () => void this.read(this.listed.length));
    this.back.addEventListener("click", () => this.leave());
    texts.bind(() => this.render());
    texts.bind(() => this.saying());
  }

  /** A finding of the present run that the layer does not hold. */
  local(id: string): Finding | undefined {
    return this.answer?.stored ? undefined : this.run?.get(id);
  }

  /** The feature that is selected is the site, so that a click on a site is enough. */
  selected(picked: Picked | undefined): void {
    if (!picked || picked.layer === this.config.findings.id) return;
    this.site.value = picked.layer === this.config.sites?.id ? picked.id : `${picked.layer}/${picked.id}`;
    const place = this.places.get("site");
    if (place && this.config.sites?.id === picked.layer) place.checked = true;
  }

  /** The camera rests, or findings have come: what is in view is another. */
  moved(): void {
    if (this.element.open && !this.run && !this.box) void this.read(0);
  }

  /** Findings could not be read: said beside their switch. */
  failed(problem: string | undefined): void {
    this.note.textContent = problem ? `${this.texts.word("layerFailed")}: ${problem}` : "";
  }

  /** List the findings of a mark that stands for many and cannot be taken apart. */
  only(box: Bounds): void {
    this.element.open = true;
    this.box = box;
    void this.read(0);
    this.listing.scrollIntoView({ block: "nearest" });
  }

  private section(): HTMLDetailsElement {
    const summary = h("summary");
    const form = h("form", { className: "run" }, this.choose, this.place(), this.site, this.sites());
    const keep = this.labelled("keepFindings", this.keep);
    this.keep.dataset["switch"] = "keep";
    form.append(keep, h("div", { className: "line" }, this.start, this.stop, this.bar), this.said);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.execute();
    });
    for (const { id } of this.config.processes) this.choose.append(h("option", { value: id }));
    this.said.setAttribute("aria-live", "polite");
    const shown = toggle(true, (on) => this.stage.show(on));
    shown.dataset["switch"] = "findings";
    const closed = toggle(false, (on) => {
      this.kept.closedToo = on;
      if (!this.run) this.stage.use(this.kept);
      this.moved();
    });
    closed.dataset["switch"] = "closed";
    const show = this.labelled("showFindings", shown);
    show.append(this.note);
    const element = h("details", { className: "supervision" }, summary, show, this.labelled("showClosed", closed), form, this.results);
    element.addEventListener("toggle", () => {
      if (!element.open) return;
      this.moved();
      void this.readSites();
    });
    this.texts.bind(() => {
      summary.textContent = this.texts.word("supervision");
      this.choose.setAttribute("aria-label", this.texts.word("supervision"));
      [...this.choose.options].forEach((option, index) => (option.textContent = this.texts.of(this.config.processes[index]?.title)));
      this.site.placeholder = this.texts.word("siteName");
      this.site.title = this.texts.word("siteHint");
      this.site.setAttribute("aria-label", this.texts.word("siteName"));
      this.start.textContent = this.texts.word("run");
      this.stop.textContent = this.texts.word("stop");
      this.more.textContent = this.texts.word("more");
      this.back.textContent = this.texts.word("back");
    });
    return element;
  }

  private place(): HTMLElement {
    const group = h("div", { className: "places", attrs: { role: "radiogroup" } });
    const words: [string, Word][] = [["site", "thisSite"], ["view", "thisView"], ["city", "wholeCity"]];
    for (const [value, word] of words) {
      const radio = h("input", { type: "radio", name: "place", value, checked: value === "view" });
      const name = h("span");
      this.texts.bind(() => (name.textContent = this.texts.word(word)));
      this.places.set(value, radio);
      group.append(h("label", {}, radio, name));
    }
    this.texts.bind(() => group.setAttribute("aria-label", this.texts.word("place")));
    this.site.addEventListener("input", () => {
      const radio = this.places.get("site");
      if (radio) radio.checked = true;
    });
    return group;
  }

  private readonly options = h("datalist", { id: "sites" });
  private sites(): HTMLElement {
    return this.options;
  }

  /** Sites to choose from, once; without them an id can still be typed. */
  private async readSites(): Promise<void> {
    if (!this.config.sites || this.options.childElementCount) return;
    const query = new URLSearchParams({ limit: `${SITES}`, properties: "name", skipGeometry: "true" });
    try {
      const page = (await getJson(`${resolve(this.config.sites.items)}?${query}`)) as { features: Feature[] };
      const named = page.features.map(({ id, properties }) => h("option", { value: String(id), label: `${properties?.["name"] as string | null ?? ""}` }));
      this.options.replaceChildren(...named);
    } catch {
      // the field takes an id all the same
    }
  }

  private labelled(word: Word, box: HTMLInputElement): HTMLElement {
    const name = h("span");
    this.texts.bind(() => (name.textContent = this.texts.word(word)));
    return h("label", { className: "line" }, box, name);
  }

  /** Words below the buttons, again in the other language when that changes. */
  private say(words: () => string, isError = false): void {
    this.saying = () => (this.said.textContent = words());
    this.saying();
    this.said.classList.toggle("error", isError);
  }

  /** Where to look; nothing (with words why) where there is no such place. */
  private inputs(): Record<string, unknown> | undefined {
    const keep: Record<string, unknown> = this.keep.checked ? { keep: true } : {};
    const place = [...this.places].find(([, radio]) => radio.checked)?.[0];
    if (this.stage.isEmpty) return this.refuse("emptyCity");
    if (place === "site") {
      const site = this.site.value.trim();
      return site ? { site, ...keep } : this.refuse("noSite");
    }
    if (place !== "view") return keep;
    const bbox = this.stage.view();
    return bbox ? { bbox: bbox.map((value) => Number(value.toFixed(8))), ...keep } : this.refuse("noView");
  }

  private refuse(word: Word): undefined {
    this.say(() => this.texts.word(word), true);
    return undefined;
  }

  private async execute(): Promise<void> {
    const process = this.config.processes.find(({ id }) => id === this.choose.value);
    const inputs = this.inputs();
    if (!process || !inputs) return;
    const job = new Job(process.execution, inputs, this.texts.language);
    const stop = (): void => job.stop();
    this.stop.addEventListener("click", stop);
    this.busy(true);
    try {
      const answer = (await job.run(({ percent, message }) => {
        this.bar.value = percent;
        this.say(() => `${this.texts.word("running")} … ${Math.round(percent)} % ${message}`);
      })) as Answer;
      this.arrived(answer);
    } catch (error) {
      if (error instanceof Stopped) this.say(() => this.texts.word("stopped"));
      else this.say(() => this.wrong(error), true);
    }
    this.stop.removeEventListener("click", stop);
    this.busy(false);
  }

  private busy(on: boolean): void {
    const hadFocus = document.activeElement === this.stop || document.activeElement === this.start;
    this.start.disabled = on;
    this.stop.hidden = this.bar.hidden = !on;
    this.bar.value = 0;
    this.bar.setAttribute("aria-label", this.texts.word("running"));
    if (hadFocus) (on ? this.stop : this.start).focus(); // the keyboard stays where the work is
  }

  private wrong(error: unknown): string {
    if (!(error instanceof ServerProblem)) return `${this.texts.word("runFailed")}: ${error instanceof Error ? error.message : String(error)}`;
    const words: Record<number, Word> = { 0: "unreached", 403: "refused", 429: "busy", 503: "busy" };
    return `${this.texts.word(words[error.status] ?? "runFailed")}: ${error.message}`;
  }

  private arrived(answer: Answer): void {
    this.answer = answer;
    this.run = new RunFindings(answer.findings.features);
    if (answer.stored) this.kept.exists = true;
    this.stage.use(this.run);
    const { stored } = answer;
    this.say(() => {
      const n = Object.values(answer.counts).reduce((sum, each) => sum + each, 0);
      const kept = stored ? this.texts.word("keptNow").replace(/\{(\w+)\}/g, (_, name: string) => `${stored[name] ?? 0}`) : "";
      return n ? `${this.texts.word("looked").replace("{n}", `${n}`)} ${kept}` : this.texts.word("nothingLooked");
    });
    this.box = undefined;
    void this.read(0);
    this.render();
  }

  /** From the findings of a run back to those that are kept. */
  private leave(): void {
    this.answer = this.run = this.box = undefined;
    this.stage.use(this.kept);
    this.render();
    void this.read(0);
  }

  /** The next findings of the list, the worst first. */
  private async read(offset: number): Promise<void> {
    const turn = ++this.turn;
    const box = this.box ?? (this.run ? undefined : this.stage.view());
    try {
      const page = this.run && !this.box ? this.whole(this.run, offset) : box ? await (this.run ?? this.kept).page(box, PAGE, offset) : { matched: 0, found: [] };
      if (turn !== this.turn) return;
      this.listed = offset ? [...this.listed, ...page.found] : page.found;
      this.matched = page.matched;
    } catch (error) {
      if (turn !== this.turn) return;
      this.listed = [];
      this.matched = 0;
      this.say(() => this.wrong(error), true);
    }
    this.renderList();
  }

  /** Of a run also what has no place. */
  private whole({ all }: RunFindings, offset: number): { matched: number; found: Finding[] } {
    return { matched: all.length, found: all.slice(offset, offset + PAGE) };
  }

  private render(): void {
    this.rules.replaceChildren(...(this.answer ? [this.chips(this.answer.counts), this.table(this.answer)] : []));
    this.renderList();
  }

  private renderList(): void {
    this.heading.textContent = `${this.texts.word(this.box ? "findingsOf" : this.run ? "ofRun" : "inView")}: ${this.matched}`;
    this.back.hidden = !this.run && !this.box;
    const had = this.listed.length ? [...this.list.querySelectorAll("button")].indexOf(document.activeElement as HTMLButtonElement) : -1;
    this.list.replaceChildren(...this.listed.map((finding) => h("li", {}, this.row(finding))));
    if (had >= 0) this.list.querySelectorAll("button")[had]?.focus();
    if (!this.listed.length) this.list.replaceChildren(h("li", { className: "muted", textContent: this.texts.word("noFindings") }));
    this.more.hidden = this.listed.length >= this.matched;
  }

  private row(finding: Finding): HTMLElement {
    const facts = [this.view.against(finding), finding.objects[0] ?? "", finding.at ? "" : this.texts.word("noPlace")];
    const words = h("span", {}, this.view.title(finding), h("small", { className: "muted" }, facts.filter(Boolean).join(" · ")));
    const button = h("button", { type: "button", className: "finding" }, this.view.sign(finding.verdict), words);
    button.dataset["finding"] = finding.id;
    button.addEventListener("click", () => this.stage.open(finding));
    return button;
  }

  private chips(counts: Counts): HTMLElement {
    const chips = WORST_FIRST.map((verdict) =>
      h("span", { className: "chip" }, this.view.sign(verdict), ` ${this.view.verdictWord(verdict)} `, h("b", {}, `${counts[verdict] ?? 0}`)),
    );
    return h("p", { className: "chips" }, ...chips);
  }

  /** What each rule came to, by check; a rule that had nothing to look at says so with dashes. */
  private table({ checks }: Answer): HTMLElement {
    const head = h("tr", {}, h("th", { scope: "col" }, this.texts.word("rule")), ...WORST_FIRST.map((verdict) => h("th", { scope: "col" }, this.view.sign(verdict))));
    const groups = checks.map(({ title, rules }) => {
      const name = h("tr", {}, h("th", { colSpan: 5, scope: "rowgroup" }, this.texts.of(title)));
      const rows = rules.map((rule) => {
        const shown = this.texts.of(rule.title) || rule.rule_id;
        const cells = WORST_FIRST.map((verdict) => h("td", { className: rule.counts[verdict] ? "" : "muted" }, rule.verdict === null ? "–" : `${rule.counts[verdict] ?? 0}`));
        return h("tr", {}, h("td", { title: rule.rule_id }, shown), ...cells);
      });
      return h("tbody", {}, name, ...rows);
    });
    const summary = h("summary", {}, this.texts.word("rules"));
    return h("details", { open: true }, summary, h("table", { className: "rules" }, h("thead", {}, head), ...groups));
  }
}
