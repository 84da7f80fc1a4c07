// The camera in the address bar: `#lon,lat,height,heading,pitch`, degrees and metres, so that a view can be sent as a link.
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
