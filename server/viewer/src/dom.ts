// Elements without a framework.

type Props<K extends keyof HTMLElementTagNameMap> = Partial<Omit<HTMLElementTagNameMap[K], "style">> & {
  attrs?: Record<string, string>;
};

/** Make an element: properties, then `attrs` as attributes, then children. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  { attrs, ...props }: Props<K> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = Object.assign(document.createElement(tag), props);
  for (const [name, value] of Object.entries(attrs ?? {})) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A switch: a checkbox that says so to a screen reader. */
export function toggle(on: boolean, change: (on: boolean) => void): HTMLInputElement {
  const box = h("input", { type: "checkbox", checked: on, className: "switch", attrs: { role: "switch" } });
  box.addEventListener("change", () => change(box.checked));
  return box;
}

/** A slider from `min` to `max`. */
export function slider(min: number, max: number, step: number, value: number, change: (value: number) => void): HTMLInputElement {
  const range = h("input", { type: "range", min: `${min}`, max: `${max}`, step: `${step}`, value: `${value}` });
  range.addEventListener("input", () => change(range.valueAsNumber));
  return range;
}

const ICONS = {
  home: "M3 11.5 12 4l9 7.5M6 9.5V20h12V9.5",
  close: "M6 6l12 12M18 6 6 18",
  target: "M12 3v4M12 17v4M3 12h4M17 12h4M12 8.5a3.5 3.5 0 1 1 0 7 3.5 3.5 0 0 1 0-7",
  up: "M6 15l6-6 6 6",
  down: "M6 9l6 6 6-6",
} as const;

/** A line drawing of 18 px that takes the colour of the text; no icon font is needed. */
export function icon(name: keyof typeof ICONS): SVGSVGElement {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", ICONS[name]);
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "drawing");
  svg.setAttribute("aria-hidden", "true");
  svg.append(path);
  return svg;
}
