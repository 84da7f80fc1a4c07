// The panel at the left: layers with switches, imagery, ground, light, language.
import type { Bilingual, ViewerConfig } from "./config";
import { h, icon, slider, toggle } from "./dom";
import type { Imagery } from "./imagery";
import type { Texts, Word } from "./language";
import type { Layer2d } from "./layers2d";
import type { Layer3d } from "./layers3d";

export interface Actions {
  home(): void;
  language(): void;
  ground(underground: boolean, alpha: number): void;
  light(shadows: boolean, hour: number): void;
}

export const START = { groundAlpha: 0.35, hour: 10 };

export class Panel {
  readonly element: HTMLElement;
  private readonly refreshers: (() => void)[] = [];

  constructor(
    config: ViewerConfig,
    layers3d: Layer3d[],
    layers2d: Layer2d[],
    imagery: Imagery,
    private readonly texts: Texts,
    actions: Actions,
    first: HTMLElement[] = [],
  ) {
    const content = h("div", { className: "panel-content", id: "panel-content" }, ...first);
    if (layers3d.length) content.append(this.section("layers", ...this.layers3d(layers3d)));
    if (config.imagery.length) content.append(this.section("imagery", this.imagery(config, imagery)));
    content.append(this.section("ground", ...this.ground(actions)), this.section("light", ...this.light(actions)));
    if (layers2d.length) content.append(this.section("mapLayers", ...this.layers2d(layers2d)));
    this.element = h("aside", { className: "panel side" }, this.header(config.title, content, actions), content);
    texts.bind(() => this.element.setAttribute("aria-label", texts.word("layers")));
  }

  /** Show what has changed behind the panel's back: failures, counts. */
  refresh(): void {
    for (const refresh of this.refreshers) refresh();
  }

  /** How much of the window the open panel covers at the left; a panel across the top covers nothing there. */
  coveredPx(): number {
    const { right, width } = this.element.getBoundingClientRect();
    const isFolded = this.element.querySelector<HTMLElement>(".panel-content")?.hidden ?? true;
    return isFolded || width > window.innerWidth / 2 ? 0 : right;
  }

  private header(title: Bilingual, content: HTMLElement, actions: Actions): HTMLElement {
    const name = h("h1");
    const home = this.button("home", "home", actions.home);
    const language = h("button", { type: "button", className: "language" });
    language.addEventListener("click", () => actions.language());
    const fold = h("button", { type: "button", className: "icon", attrs: { "aria-controls": content.id } });
    const render = (): void => {
      const folded = content.hidden;
      fold.replaceChildren(icon(folded ? "down" : "up"));
      fold.setAttribute("aria-expanded", `${!folded}`);
      fold.title = this.texts.word(folded ? "showPanel" : "hidePanel");
      fold.setAttribute("aria-label", fold.title);
    };
    fold.addEventListener("click", () => {
      content.hidden = !content.hidden;
      render();
    });
    content.hidden = matchMedia("(max-width: 640px)").matches;
    this.texts.bind(() => {
      name.textContent = this.texts.of(title);
      document.title = `${name.textContent} · CityTwin`;
      language.textContent = this.texts.word("otherLanguage");
      render();
    });
    return h("header", {}, name, home, language, fold);
  }

  private section(title: Word, ...children: Node[]): HTMLElement {
    const summary = h("summary");
    this.texts.bind(() => (summary.textContent = this.texts.word(title)));
    return h("details", { open: title !== "mapLayers" }, summary, ...children);
  }

  private layers3d(layers: Layer3d[]): HTMLElement[] {
    const groups = byCategory(layers);
    return groups.flatMap((group) => {
      const list = h("ul", { className: "layers" }, ...group.map((layer) => this.row3d(layer)));
      return groups.length > 1 ? [this.categoryOf(group, "h3"), list] : [list];
    });
  }

  private layers2d(layers: Layer2d[]): HTMLElement[] {
    const rows = new Map<Layer2d, HTMLElement>(layers.map((layer) => [layer, this.row2d(layer)]));
    const list = (group: Layer2d[]): HTMLElement => h("ul", { className: "layers" }, ...group.flatMap((one) => rows.get(one) ?? []));
    const groups = byCategory(layers);
    if (groups.length < 2) return [list(layers)];
    const folded = groups.map((group) => h("details", {}, this.categoryOf(group, "summary"), list(group)));
    const find = h("input", { type: "search", className: "find" });
    find.addEventListener("input", () => {
      const wanted = find.value.trim().toLowerCase();
      groups.forEach((group, index) => {
        const found = group.filter(({ config: { id, title } }) => `${id} ${title.en} ${title.zh}`.toLowerCase().includes(wanted));
        for (const layer of group) (rows.get(layer) as HTMLElement).hidden = !found.includes(layer);
        const fold = folded[index] as HTMLDetailsElement;
        fold.hidden = found.length === 0;
        fold.open = wanted !== "" && found.length > 0;
      });
    });
    this.texts.bind(() => {
      find.placeholder = this.texts.word("findLayer");
      find.setAttribute("aria-label", find.placeholder);
    });
    return [find, ...folded];
  }

  private categoryOf(group: (Layer2d | Layer3d)[], tag: "h3" | "summary"): HTMLElement {
    const heading = h(tag);
    this.texts.bind(() => (heading.textContent = this.texts.category(group[0]?.config.category)));
    return heading;
  }

  private row3d(layer: Layer3d): HTMLElement {
    const box = toggle(layer.config.on ?? true, (on) => layer.show(on));
    box.dataset["layer"] = layer.config.id;
    const opacity = slider(0.1, 1, 0.05, 1, (value) => layer.setOpacity(value));
    const fly = this.button("flyTo", "target", () => layer.fly());
    const note = h("small", { className: "muted" });
    const name = h("span");
    this.texts.bind(() => {
      name.title = name.textContent = this.texts.of(layer.config.title);
      opacity.title = `${this.texts.word("opacity")}: ${name.textContent}`;
      opacity.setAttribute("aria-label", opacity.title);
      fly.setAttribute("aria-label", `${this.texts.word("flyTo")} ${name.textContent}`);
    });
    const render = (): void => {
      const { problem } = layer;
      note.textContent = problem ? this.texts.word("layerFailed") : count(layer.config.count);
      note.title = problem ?? "";
      note.classList.toggle("error", problem !== undefined);
      fly.disabled = layer.tileset === undefined;
    };
    this.refreshers.push(render);
    this.texts.bind(render);
    return h("li", {}, h("label", {}, box, swatch(layer.config.color), name), note, opacity, fly);
  }

  private row2d(layer: Layer2d): HTMLElement {
    const box = toggle(false, (on) => {
      layer.show(on);
      render();
    });
    box.dataset["layer"] = layer.config.id;
    const name = h("span");
    const note = h("small", { className: "muted" });
    const render = (): void => {
      const { problem, shown, on } = layer;
      note.textContent = problem ? this.texts.word("layerFailed") : count(layer.config.count);
      if (!problem && on && shown && shown.drawn < shown.matched) {
        note.textContent = `${shown.drawn} ${this.texts.word("shownOf")} ${shown.matched}`;
      }
      note.title = problem ?? "";
      note.classList.toggle("error", problem !== undefined);
    };
    this.refreshers.push(render);
    this.texts.bind(() => {
      name.title = name.textContent = this.texts.of(layer.config.title);
      render();
    });
    return h("li", {}, h("label", {}, box, swatch(layer.color), name), note);
  }

  private imagery(config: ViewerConfig, imagery: Imagery): HTMLElement {
    const choose = h("select");
    choose.addEventListener("change", () => imagery.use(choose.value || undefined));
    this.texts.bind(() => {
      const none = h("option", { value: "", textContent: this.texts.word("noImagery") });
      const epochs = config.imagery.map((one) => {
        const title = this.texts.of(one.title);
        const epoch = one.epoch && !title.includes(one.epoch) ? ` · ${one.epoch}` : "";
        return h("option", { value: one.id, textContent: title + epoch });
      });
      choose.replaceChildren(...epochs, none);
      choose.value = imagery.current ?? "";
      choose.setAttribute("aria-label", this.texts.word("imagery"));
    });
    return choose;
  }

  private ground(actions: Actions): HTMLElement[] {
    const change = (): void => {
      alpha.disabled = !box.checked;
      actions.ground(box.checked, alpha.valueAsNumber);
    };
    const alpha = slider(0, 1, 0.05, START.groundAlpha, change);
    const box = toggle(false, change);
    box.dataset["switch"] = "underground";
    alpha.disabled = true;
    return [this.labelled("underground", box), this.labelled("groundOpacity", alpha)];
  }

  private light(actions: Actions): HTMLElement[] {
    const clock = h("output");
    const change = (): void => {
      hour.disabled = !box.checked;
      clock.textContent = `${Math.floor(hour.valueAsNumber)}:${hour.valueAsNumber % 1 ? "30" : "00"}`;
      actions.light(box.checked, hour.valueAsNumber);
    };
    const hour = slider(5, 19, 0.5, START.hour, change);
    const box = toggle(false, change);
    box.dataset["switch"] = "shadows";
    change();
    return [this.labelled("shadows", box), this.labelled("hour", hour, clock)];
  }

  private labelled(word: Word, control: HTMLElement, ...rest: Node[]): HTMLElement {
    const name = h("span");
    this.texts.bind(() => (name.textContent = this.texts.word(word)));
    return h("label", { className: "line" }, name, control, ...rest);
  }

  private button(word: Word, drawing: Parameters<typeof icon>[0], action: () => void): HTMLButtonElement {
    const button = h("button", { type: "button", className: "icon" }, icon(drawing));
    button.addEventListener("click", () => action());
    this.texts.bind(() => {
      button.title = this.texts.word(word);
      button.setAttribute("aria-label", button.title);
    });
    return button;
  }
}

function count(value: number | undefined): string {
  return value === undefined ? "" : value.toLocaleString("en");
}

function byCategory<L extends Layer2d | Layer3d>(layers: L[]): L[][] {
  const groups = new Map<string, L[]>();
  for (const layer of layers) {
    const key = JSON.stringify(layer.config.category ?? "");
    groups.set(key, [...(groups.get(key) ?? []), layer]);
  }
  return [...groups.values()];
}

function swatch(color: string | undefined): HTMLElement {
  const mark = h("i", { className: "swatch", attrs: { "aria-hidden": "true" } });
  mark.style.background = color ?? "#8fa3b5"; // through the object model: a style attribute would break the content policy
  return mark;
}
