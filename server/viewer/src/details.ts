// The panel with the attributes of the feature that was clicked, read from OGC API Features.
import { getJson, resolve, type Bilingual } from "./config";
import { h, icon } from "./dom";
import { boundsOf, type Feature } from "./findings";
import type { Kept } from "./layers3d";
import type { Texts } from "./language";

export interface Picked {
  layer: string;
  id: string;
}

export type Bounds = [west: number, south: number, east: number, north: number];

interface Source {
  title: Bilingual | string;
  items: string;
}

interface Column {
  title: string | undefined;
  unit: string | undefined;
}

/** Showing only the features of a layer that have one value of a property. */
export interface Keeping {
  can(layer: string): boolean;
  now(layer: string): Kept | undefined;
  only(layer: string, kept: Kept | undefined): void;
}

/** A layer whose features are shown in a way of their own. */
export interface Special {
  /** A feature that is not (yet) in the layer. */
  local(id: string): unknown;
  title(feature: unknown): string;
  body(feature: unknown): HTMLElement;
  /** The feature of an item. */
  read(item: Feature): unknown;
  /** It is shown now; nothing: no longer. Returns where to fly to, if that is not the item's own geometry. */
  shown(feature: unknown): Bounds | undefined;
}

/** Properties of BIM elements that are worth being shown alone. */
const GROUPING = new Set(["storey", "system"]);

export class Details {
  readonly element: HTMLElement;
  private readonly body = h("div", { className: "details-body" });
  private readonly heading = h("h2", { id: "details-title" });
  private readonly layerName = h("p", { className: "muted" });
  private readonly link: HTMLAnchorElement;
  private readonly schemas = new Map<string, Promise<Map<string, Column>>>();
  private readonly zoom = h("button", { type: "button", disabled: true });
  private picked: Picked | undefined;
  private bounds: Bounds | undefined;

  constructor(
    private readonly sources: ReadonlyMap<string, Source>,
    private readonly texts: Texts,
    private readonly closed: () => void,
    private readonly fly: (bounds: Bounds) => void,
    private readonly keeping: Keeping,
    private readonly special: ReadonlyMap<string, Special> = new Map(),
  ) {
    const close = h("button", { type: "button", className: "icon" }, icon("close"));
    close.addEventListener("click", () => this.close());
    this.zoom.addEventListener("click", () => this.bounds && this.fly(this.bounds));
    this.link = h("a", { target: "_blank", rel: "noopener" });
    this.element = h(
      "section",
      { className: "panel details", hidden: true, attrs: { "aria-labelledby": "details-title", "aria-live": "polite" } },
      h("header", {}, h("div", {}, this.layerName, this.heading), close),
      this.body,
      h("footer", {}, this.link, this.zoom),
    );
    this.element.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.close();
    });
    texts.bind(() => {
      close.setAttribute("aria-label", texts.word("close"));
      close.title = texts.word("close");
      this.link.textContent = `${texts.word("openItem")} ↗`;
      this.zoom.textContent = texts.word("flyTo");
      if (this.picked) void this.show(this.picked);
    });
  }

  close(): void {
    this.picked = undefined;
    this.element.hidden = true;
    for (const special of this.special.values()) special.shown(undefined);
    this.closed();
  }

  /** Fetch the item and list its attributes; a failure is shown in the panel with the server's own words. */
  async show(picked: Picked, fly = false): Promise<void> {
    const source = this.sources.get(picked.layer);
    if (!source) return;
    this.picked = picked;
    this.bounds = undefined;
    this.zoom.disabled = true;
    this.element.hidden = false;
    this.heading.textContent = picked.id;
    this.layerName.textContent = this.texts.of(source.title);
    const address = `${resolve(source.items)}/${encodeURIComponent(picked.id)}`;
    this.link.href = address;
    this.link.hidden = false;
    for (const [layer, one] of this.special) if (layer !== picked.layer) one.shown(undefined);
    const special = this.special.get(picked.layer);
    const local = special?.local(picked.id);
    if (special && local !== undefined) {
      this.link.hidden = true; // the layer need not hold it
      return this.showSpecial(special, local, fly);
    }
    this.body.replaceChildren(h("p", { className: "muted", textContent: this.texts.word("loadingItem") }));
    try {
      const [item, columns] = await Promise.all([getJson(address, this.texts.language), this.columns(source)]);
      if (this.picked !== picked) return; // another feature was clicked meanwhile
      if (special) return this.showSpecial(special, special.read(item as Feature), fly);
      const { properties, geometry } = item as Feature;
      this.body.replaceChildren(this.table(properties ?? {}, columns));
      this.bounds = boundsOf(geometry);
      this.zoom.disabled = this.bounds === undefined;
      if (fly && this.bounds) this.fly(this.bounds);
    } catch (error) {
      if (this.picked !== picked) return;
      const why = error instanceof Error ? error.message : String(error);
      this.body.replaceChildren(h("p", { className: "error", attrs: { role: "alert" } }, `${this.texts.word("itemFailed")}: ${why}`));
    }
  }

  private showSpecial(special: Special, feature: unknown, fly: boolean): void {
    this.heading.textContent = special.title(feature);
    this.body.replaceChildren(special.body(feature));
    this.bounds = special.shown(feature);
    this.zoom.disabled = this.bounds === undefined;
    if (fly && this.bounds) this.fly(this.bounds);
  }

  /** Titles and units from the collection's schema; without one the plain column names are shown. */
  private columns(source: Source): Promise<Map<string, Column>> {
    const address = resolve(source.items).replace(/\/items$/, "/schema");
    const key = `${this.texts.language} ${address}`;
    let columns = this.schemas.get(key);
    if (!columns) {
      columns = getJson(address, this.texts.language).then(readColumns, () => new Map<string, Column>());
      this.schemas.set(key, columns);
    }
    return columns;
  }

  private table(properties: Record<string, unknown>, columns: Map<string, Column>): HTMLElement {
    const rows = Object.entries(properties).map(([name, value]) => {
      const { title, unit } = columns.get(name) ?? { title: undefined, unit: undefined };
      const cell = h("td", {}, this.content(value), unit && value !== null ? ` ${symbol(unit)}` : "");
      if (value === null || value === "") cell.className = "muted";
      else if (GROUPING.has(name) && typeof value === "string") cell.append(" ", this.switch(name, value));
      return h("tr", {}, h("th", { scope: "row", title: name }, title ?? name), cell);
    });
    return h("table", {}, h("tbody", {}, ...rows));
  }

  /** A button that leaves only what has this value of the property, and brings the rest back. */
  private switch(property: string, value: string): Node {
    const layer = this.picked?.layer;
    if (layer === undefined || !this.keeping.can(layer)) return document.createTextNode("");
    const isOn = (): boolean => {
      const now = this.keeping.now(layer);
      return now?.property === property && now.value === value;
    };
    const button = h("button", { type: "button", className: "small" });
    const say = (): void => {
      button.setAttribute("aria-pressed", String(isOn()));
      button.textContent = this.texts.word(isOn() ? "showAll" : "showOnly");
    };
    button.addEventListener("click", () => {
      this.keeping.only(layer, isOn() ? undefined : { property, value });
      say();
    });
    say();
    return button;
  }

  /** A value as text; an object, also one written as JSON text (property sets of IFC), as a list of names and values. */
  private content(value: unknown): Node {
    const inner = typeof value === "string" && /^[[{]/.test(value) ? parsed(value) : value;
    if (typeof inner !== "object" || inner === null) return document.createTextNode(this.text(value));
    const entries = Object.entries(inner);
    if (!entries.length) return document.createTextNode(this.texts.word("noValue"));
    if (Array.isArray(inner) && inner.every((each) => typeof each !== "object")) {
      return document.createTextNode(inner.map((each) => this.text(each)).join(", "));
    }
    return h("dl", {}, ...entries.map(([name, each]) => h("div", {}, h("dt", {}, name), h("dd", {}, this.content(each)))));
  }

  private text(value: unknown): string {
    if (value === null || value === undefined || value === "") return this.texts.word("noValue");
    if (typeof value === "number") return value.toLocaleString(this.texts.language, { maximumFractionDigits: 3, useGrouping: false });
    if (typeof value === "boolean") return this.texts.word(value ? "yes" : "no");
    return `${value as string}`;
  }
}

/** UCUM units of the catalogue as people write them. */
export function symbol(unit: string): string {
  const known: Record<string, string> = { pct: "%", deg: "°", person: "" };
  return known[unit] ?? unit.replace(/(\d+)e(\d)\b/, "$1×10^$2").replace(/m2$/, "m²").replace(/m3$/, "m³").replace("10^4", "10⁴");
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

function readColumns(schema: unknown): Map<string, Column> {
  const properties = (schema as { properties?: Record<string, Record<string, unknown>> }).properties ?? {};
  const text = (value: unknown) => (typeof value === "string" ? value : undefined);
  return new Map(
    Object.entries(properties).map(([name, about]) => [name, { title: text(about["title"]), unit: text(about["x-ogc-unit"]) }]),
  );
}
