// A finding for people: what was measured against what limit, by which clause, about what, and what has become of it.
import type { FindingsConfig } from "./config";
import { type Picked, symbol } from "./details";
import { h } from "./dom";
import { evidenceOf, itemOf, type Finding } from "./findings";
import type { Texts, Word } from "./language";
import { signOf } from "./mark";

export class FindingView {
  constructor(
    private readonly config: FindingsConfig,
    private readonly texts: Texts,
    private readonly open: (object: Picked) => (() => void) | undefined,
  ) {}

  title(finding: Finding): string {
    return this.texts.of(finding.title) || finding.rule || finding.id;
  }

  verdictWord(verdict: string): string {
    if (verdict === "pass") return this.texts.word("pass"); // the layer holds none, so its catalogue has no word
    return this.texts.of(this.config.verdicts[verdict] ?? verdict);
  }

  /** The verdict as a coloured sign; a screen reader hears the word. */
  sign(verdict: string): HTMLElement {
    const mark = h("i", { className: "sign", textContent: signOf(verdict), title: this.verdictWord(verdict) });
    mark.setAttribute("role", "img");
    mark.setAttribute("aria-label", this.verdictWord(verdict));
    mark.style.background = this.color(verdict);
    return mark;
  }

  color(verdict: string): string {
    return this.config.verdicts[verdict]?.color ?? (verdict === "pass" ? "#43a047" : "#90a4ae");
  }

  /** `5.25 m, limit 6 m`; nothing where nothing was measured and there is no limit. */
  against(finding: Finding): string {
    const { measured, limit, unit } = finding;
    const parts = [];
    if (measured !== undefined) parts.push(this.amount(measured, unit));
    if (limit !== undefined) parts.push(`${this.texts.word("limit")} ${this.amount(limit, unit)}`);
    return parts.join(this.texts.language === "zh" ? "，" : ", ");
  }

  /** The whole of it, as the body of the panel. */
  body(finding: Finding): HTMLElement {
    const { texts } = this;
    const verdict = h("p", { className: "verdict" }, this.sign(finding.verdict), " ", h("strong", {}, this.verdictWord(finding.verdict)));
    verdict.append(h("span", {}, texts.of(finding.title)));
    const rows = [
      this.row("measured", finding.measured === undefined ? texts.word("notMeasured") : this.amount(finding.measured, finding.unit)),
      this.row("limit", finding.limit === undefined ? "" : this.amount(finding.limit, finding.unit)),
      this.row("difference", this.difference(finding)),
      this.row("status", this.status(finding)),
      this.row("rule", finding.rule),
      this.row("clause", finding.clause),
      this.row("source", finding.source),
      this.row("confidence", this.confidence(finding.confidence)),
      this.row("note", texts.of(finding.note)),
      this.row("objects", ...this.objects(finding.objects)),
      this.row("evidence", ...this.evidence(finding.evidence)),
      this.row("measuredAt", this.moment(finding.time)),
      this.row("firstSeen", this.moment(finding.firstSeen)),
    ];
    return h("div", {}, verdict, h("table", {}, h("tbody", {}, ...rows.filter((row) => row !== undefined))));
  }

  amount(value: number, unit: string): string {
    const text = value.toLocaleString(this.texts.language, { maximumSignificantDigits: 7, useGrouping: false });
    return unit ? `${text} ${symbol(unit)}` : text;
  }

  private difference({ measured, limit, unit }: Finding): string {
    if (measured === undefined || limit === undefined) return "";
    const difference = Number((measured - limit).toPrecision(6));
    return `${difference > 0 ? "+" : ""}${this.amount(difference, unit)}`;
  }

  private status({ status, statusBy, statusAt }: Finding): string {
    if (!status) return this.texts.word("notKept");
    const who = statusBy === "supervision" ? this.texts.word("bySupervision") : statusBy;
    return [this.texts.of(this.config.statuses[status] ?? status), who, this.moment(statusAt)].filter(Boolean).join(" · ");
  }

  private confidence(given: string): string {
    const known: Record<string, Word> = { high: "sureHigh", medium: "sureMedium", low: "sureLow" };
    const word = known[given];
    return word ? this.texts.word(word) : given;
  }

  private moment(text: string): string {
    const moment = new Date(text);
    if (!text || Number.isNaN(moment.getTime())) return text;
    return moment.toLocaleString(this.texts.language === "zh" ? "zh-CN" : "en-GB", { dateStyle: "medium", timeStyle: "short" });
  }

  private objects(objects: string[]): Node[] {
    return objects.map((object) => {
      const address = itemOf(object);
      if (address === undefined) return h("div", {}, object);
      const [, layer, id] = /^([^/]+)\/(.+)$/.exec(object) as unknown as [string, string, string];
      const line = h("div", {}, h("a", { href: address, target: "_blank", rel: "noopener" }, object));
      const open = this.open({ layer, id });
      if (open) {
        const button = h("button", { type: "button", className: "small", textContent: this.texts.word("showObject") });
        button.setAttribute("aria-label", `${button.textContent} ${object}`);
        button.addEventListener("click", open);
        line.append(" ", button);
      }
      return line;
    });
  }

  private evidence(evidence: string): Node[] {
    if (!evidence) return [];
    const href = evidenceOf(evidence);
    return [href ? h("a", { href, target: "_blank", rel: "noopener" }, evidence) : document.createTextNode(evidence)];
  }

  private row(word: Word, ...content: (Node | string)[]): HTMLElement | undefined {
    if (!content.length || content.every((each) => each === "")) return undefined;
    return h("tr", {}, h("th", { scope: "row" }, this.texts.word(word)), h("td", {}, ...content));
  }
}
