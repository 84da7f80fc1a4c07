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
