// What the address bar keeps, so that a view can be sent as a link: the camera as `#lon,lat,height,heading,pitch`
// (degrees and metres), the selected feature as `?feature=layer/id`, the language as `?lang=`.
import type { Picked } from "./details";
import type { View } from "./scene";

export function formatView(view: View): string {
  const { lon, lat, height, heading, pitch } = view;
  return `#${lon.toFixed(6)},${lat.toFixed(6)},${height.toFixed(1)},${heading.toFixed(1)},${pitch.toFixed(1)}`;
}

/** The view that a hash names, or nothing if it names none. */
export function parseView(hash: string): View | undefined {
  const numbers = hash.replace(/^#/, "").split(",").map(Number);
  const [lon, lat, height, heading, pitch] = numbers;
  if (numbers.length !== 5 || !numbers.every(Number.isFinite)) return undefined;
  if (lon === undefined || lat === undefined || height === undefined || heading === undefined || pitch === undefined) return undefined;
  if (Math.abs(lon) > 180 || Math.abs(lat) > 90) return undefined;
  return { lon, lat, height, heading, pitch };
}

/** The feature that `?feature=layer/id` names; an id may hold slashes, a layer may not. */
export function parseFeature(search: string): Picked | undefined {
  const [, layer, id] = /^([^/]+)\/(.+)$/.exec(new URLSearchParams(search).get("feature") ?? "") ?? [];
  return layer !== undefined && id !== undefined ? { layer, id } : undefined;
}

/** Set or remove one parameter of the page's address without loading anything. */
export function keep(name: "lang" | "feature", value: string | undefined): void {
  const address = new URL(location.href);
  if (value === undefined) address.searchParams.delete(name);
  else address.searchParams.set(name, value);
  history.replaceState(null, "", address);
}
