"""A key to the colours of a layer: a sample and a name for each, as a picture."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layers.catalogue import LayerType
from tiles import styles
from tiles.drawing import canvas, fonts
from tiles.drawing.canvas import Canvas
from tiles.imagery import colour
from twin.store.wkb_paths import LINE, RING, Paths

MAX_LINES = 60
MAX_CODES = 6
ROW_PX, SAMPLE_PX, EDGE_PX, TEXT_PX = 20, 26, 4, 12
LOW_HIGH = {"zh": ("低", "高"), "en": ("low", "high")}
Line = tuple[str, str, str, float]
"""What is drawn (fill, line or circle), its colour, its name, its opacity."""


def legend(layer_type: LayerType, language: str) -> NDArray[np.uint8]:
    """(rows, columns, 4) the key of a feature layer: its title, or one line for each colour."""
    return _drawn(lines(layer_type, language))


def lines(layer_type: LayerType, language: str) -> list[Line]:
    """What the key says, in the order of the style."""
    title = getattr(layer_type.title, language)
    found: list[Line] = []
    for entry in styles.style("", [layer_type], {}, language=language)["layers"]:
        kind = entry["type"]
        if kind not in {"fill", "line", "circle"}:
            continue
        paint, opacity = entry["paint"][f"{kind}-color"], float(entry["paint"].get("fill-opacity", 1.0))
        for shown, codes in _branches(paint):
            found.append((kind, shown, codes or title, opacity))
    unique = list(dict.fromkeys(found))
    return unique if len(unique) <= MAX_LINES else [*unique[:MAX_LINES], ("", "", "…", 1.0)]


def _branches(paint: Any) -> list[tuple[str, str]]:
    if not isinstance(paint, list):
        return [(paint, "")]
    _, _, *branches, otherwise = paint
    found = []
    for codes, shown in zip(branches[::2], branches[1::2], strict=True):
        each = [str(code) for code in (codes if isinstance(codes, list) else [codes])]
        found.append((shown, ", ".join(each[:MAX_CODES]) + (", …" if len(each) > MAX_CODES else "")))
    return [*found, (otherwise, "")]


def raster_legend(layer_type: LayerType, language: str, style: str = "") -> NDArray[np.uint8]:
    """The key of a raster layer: its title, above a ramp where its style has one."""
    title = getattr(layer_type.title, language)
    name = {"relief": "relief", "slope": "steepness"}.get(style)
    if name is None:
        return _drawn([("", "", title, 1.0)])
    low, high = ("0°", f"{colour.SLOPE_DEG[1]:.0f}°") if style == "slope" else LOW_HIGH[language]
    blank = ("", "", "", 1.0)
    picture = _drawn([("", "", title, 1.0), ("", "", high, 1.0), blank, blank, ("", "", low, 1.0)])
    top, height = EDGE_PX + ROW_PX, 4 * ROW_PX
    at = np.linspace(255, 0, height).astype(np.uint8)
    picture[top : top + height, EDGE_PX : EDGE_PX + SAMPLE_PX] = colour.table(name)[at][:, None]
    return picture


def _drawn(rows: Sequence[Line]) -> NDArray[np.uint8]:
    from PIL import Image, ImageDraw, ImageFont

    font = fonts.of_size(TEXT_PX) or ImageFont.load_default(TEXT_PX)
    wide = max((font.getlength(name) for _, _, name, _ in rows), default=0)
    target = Canvas(int(wide) + SAMPLE_PX + 3 * EDGE_PX, ROW_PX * max(len(rows), 1) + 2 * EDGE_PX)
    for at, (kind, shown, _, opacity) in enumerate(rows):
        _sample(target, kind, shown, opacity, EDGE_PX + at * ROW_PX)
    picture = Image.fromarray(target.pixels.copy())
    pen = ImageDraw.Draw(picture)
    for at, (_, _, name, _) in enumerate(rows):
        place = (SAMPLE_PX + 2 * EDGE_PX, EDGE_PX + at * ROW_PX + ROW_PX / 2)
        pen.text(place, name, font=font, fill=(34, 34, 34, 255), anchor="lm")
    return np.array(picture)


def _sample(target: Canvas, kind: str, shown: str, opacity: float, top: int) -> None:
    left, right, low, high = EDGE_PX + 0.5, EDGE_PX + SAMPLE_PX - 0.5, top + 3.5, top + ROW_PX - 3.5
    middle = (low + high) / 2
    if kind == "fill":
        xy = np.array([[left, low], [right, low], [right, high], [left, high], [left, low]])
        ring = Paths(xy, np.array([0, 5]), np.zeros(1, np.int64), np.full(1, RING, np.int8), np.ones(1, bool))
        target.areas(ring, canvas.colour_of(shown, opacity))
        target.lines(ring, canvas.colour_of("#6b6b6b", opacity), 1.0)
    elif kind == "line":
        xy = np.array([[left, middle], [right, middle]])
        path = Paths(xy, np.array([0, 2]), np.zeros(1, np.int64), np.full(1, LINE, np.int8), np.ones(1, bool))
        target.lines(path, canvas.colour_of(shown), 3.0)
    elif kind == "circle":
        rim = canvas.colour_of("#ffffff")
        target.discs(np.array([[(left + right) / 2, middle]]), canvas.colour_of(shown), 5.0, rim=rim, rim_px=0.6)
