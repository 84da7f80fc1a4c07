// Pictures of marks: a colour and a sign for the verdict, so that nobody has to tell red from orange; a ring for what a
// person has confirmed, a faded one for what is closed; a number where a mark stands for many.

export interface Paint {
  verdict: string;
  status: string;
  count: number;
  isSelected: boolean;
}

const SIGNS: Record<string, string> = { fail: "!", review: "?", unknown: "–" };
const painted = new Map<string, HTMLCanvasElement>();

export function signOf(verdict: string): string {
  return SIGNS[verdict] ?? "✓";
}

/** 1,234 as 1.2k: the exact number is in the list. */
export function shortCount(count: number): string {
  if (count < 1000) return `${count}`;
  if (count < 9950) return `${(count / 1000).toFixed(1)}k`;
  return count < 999_500 ? `${Math.round(count / 1000)}k` : `${(count / 1e6).toFixed(1)}M`;
}

/** The picture of a mark and its name: marks that look alike share one. */
export function paintMark(paint: Paint, color: string): { name: string; canvas: () => HTMLCanvasElement } {
  const text = paint.count > 1 ? shortCount(paint.count) : signOf(paint.verdict);
  const name = [color, text, paint.count > 1, paint.status, paint.isSelected].join(" ");
  return {
    name,
    canvas: () => {
      const known = painted.get(name) ?? drawn(paint, color, text);
      painted.set(name, known);
      return known;
    },
  };
}

function drawn(paint: Paint, color: string, text: string): HTMLCanvasElement {
  const many = paint.count > 1;
  const radius = many ? 26 + 5 * text.length : 17;
  const size = 2 * radius + 20;
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = size;
  const pen = canvas.getContext("2d") as CanvasRenderingContext2D;
  const disc = (r: number, fill: string): void => {
    pen.beginPath();
    pen.arc(size / 2, size / 2, r, 0, 2 * Math.PI);
    pen.fillStyle = fill;
    pen.fill();
  };
  pen.globalAlpha = paint.status === "closed" ? 0.45 : 1;
  if (paint.isSelected) disc(radius + 10, "#ffd166");
  if (paint.status === "confirmed") disc(radius + 6, "#ffffff");
  disc(radius + 2, "#10181f");
  disc(radius, color);
  if (many) disc(radius - 5, "rgb(16 24 31 / 55%)");
  pen.fillStyle = "#ffffff";
  pen.font = `700 ${many ? 25 : 26}px system-ui, sans-serif`;
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  pen.fillText(text, size / 2, size / 2 + 2);
  return canvas;
}
