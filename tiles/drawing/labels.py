"""Names on a map: where they go, which of them fit, and their pixels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiles.drawing import canvas, fonts
from tiles.drawing.canvas import Canvas
from tiles.drawing.features import Shapes
from tiles.mvt.encode import first_of_rows
from twin.store.wkb_paths import LINE, POINT, RING, Paths

MAX_TRIED = 3_000
"""Names that are tried on a map, the largest features first."""
MAX_LETTERS = 60
GAP_PX = 2.0
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Label:
    """A name: the middle of its text in pixels, its direction on the screen, and what it counts against others."""

    text: str
    x: float
    y: float
    angle_deg: float
    weight: float


@dataclass(frozen=True)
class Look:
    """Size, colours (`#rrggbb`) and width of the halo, in pixels of the map."""

    size_px: float
    colour: str
    halo: str
    halo_px: float


def candidates(shapes: Shapes, names: Sequence[str | None], *, along: bool, below_px: float) -> list[Label]:
    """A label for each named row: in the middle of its largest area, half way along its longest line, at its point.

    `along` turns the text into the direction of a line, where the line is long enough; `below_px` moves it down.
    """
    paths = shapes.paths
    if not len(paths.rows):
        return []
    best = _main_paths(paths)
    found = []
    for path in best.tolist():
        row = int(paths.rows[path])
        text = names[row]
        if not text:
            continue
        xy = paths.xy[paths.starts[path] : paths.starts[path + 1]]
        (x, y), angle = _place(xy, int(paths.kinds[path]), along=along)
        found.append(Label(text[:MAX_LETTERS], x, y + below_px, angle, float(shapes.sides_px[row])))
    return found


def _main_paths(paths: Paths) -> NDArray[np.int64]:
    """For each row the path that bears its name: the largest ring, else the longest line, else the first point."""
    counts = np.diff(paths.starts)
    size = np.where(paths.kinds == RING, 1e12 + np.abs(canvas.areas_of(paths)), counts.astype(np.float64))
    size = np.where((paths.kinds == RING) & ~paths.is_outer, -1.0, size)
    order = np.lexsort((-size, paths.rows))
    ordered = Paths(paths.xy[:0], paths.starts, paths.rows[order], paths.kinds, paths.is_outer)
    return order[first_of_rows(ordered)]


def _place(xy: FloatArray, kind: int, *, along: bool) -> tuple[tuple[float, float], float]:
    if kind == POINT or len(xy) < 2:
        return (float(xy[0, 0]), float(xy[0, 1])), 0.0
    if kind == LINE:
        steps = np.hypot(*np.diff(xy, axis=0).T)
        reached = np.concatenate([[0.0], np.cumsum(steps)])
        half = reached[-1] / 2
        at = int(np.clip(np.searchsorted(reached, half) - 1, 0, len(steps) - 1))
        part = (half - reached[at]) / steps[at] if steps[at] > 0 else 0.0
        x, y = xy[at] + part * (xy[at + 1] - xy[at])
        dx, dy = xy[at + 1] - xy[at]
        angle = -math.degrees(math.atan2(dy, dx)) if along else 0.0
        return (float(x), float(y)), (angle + 90) % 180 - 90
    at = xy - xy[0]
    cross = at[:-1, 0] * at[1:, 1] - at[1:, 0] * at[:-1, 1]
    area = cross.sum()
    if abs(area) < 1e-9:
        return (float(xy[:, 0].mean()), float(xy[:, 1].mean())), 0.0
    middle = ((at[:-1] + at[1:]) * cross[:, None]).sum(axis=0) / (3 * area) + xy[0]
    return (float(middle[0]), float(middle[1])), 0.0


def draw(target: Canvas, wanted: list[tuple[Label, Look]]) -> int:
    """Draw the labels that fit, the weightiest first; returns how many.

    A label is drawn whole or not at all: not over another one, nor over the edge of the map.
    """
    from PIL import Image, ImageDraw

    taken = np.zeros((0, 4))
    drawn = 0
    for label, look in sorted(wanted, key=lambda each: -each[0].weight)[:MAX_TRIED]:
        font = fonts.of_size(look.size_px)
        if font is None:
            return 0
        edge = math.ceil(look.halo_px) + 1
        left, top, right, bottom = font.getbbox(label.text)
        wide, high = math.ceil(right - left) + 2 * edge, math.ceil(bottom - top) + 2 * edge
        if label.angle_deg and label.weight < wide:
            continue  # longer than its line
        turn = math.radians(label.angle_deg)
        across = abs(wide * math.cos(turn)) + abs(high * math.sin(turn))
        down = abs(wide * math.sin(turn)) + abs(high * math.cos(turn))
        box = np.array([label.x - across / 2, label.y - down / 2, label.x + across / 2, label.y + down / 2])
        if box[0] < 0 or box[1] < 0 or box[2] > target.width or box[3] > target.height:
            continue
        if ((taken[:, :2] < box[2:] + GAP_PX) & (taken[:, 2:] > box[:2] - GAP_PX)).all(axis=1).any():
            continue
        piece = Image.new("RGBA", (wide, high), f"{look.halo}00")
        pen = ImageDraw.Draw(piece)
        place = (edge - left, edge - top)
        pen.text(place, label.text, font=font, fill=look.halo, stroke_width=look.halo_px)
        above = Image.new("RGBA", (wide, high), f"{look.colour}00")
        ImageDraw.Draw(above).text(place, label.text, font=font, fill=look.colour)
        piece.alpha_composite(above)
        if label.angle_deg:
            piece = piece.rotate(label.angle_deg, Image.Resampling.BICUBIC, expand=True)
        _paste(target, np.asarray(piece), round(box[0]), round(box[1]))
        taken = np.vstack([taken, box])
        drawn += 1
    return drawn


def _paste(target: Canvas, piece: NDArray[np.uint8], left: int, top: int) -> None:
    part = target.pixels[top : top + piece.shape[0], left : left + piece.shape[1]]
    if part.size:
        piece = piece[: part.shape[0], : part.shape[1]]
        part[:] = np.rint(canvas.over(part / 255, piece / 255) * 255).astype(np.uint8)
