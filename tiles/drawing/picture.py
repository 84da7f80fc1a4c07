"""A map: layers of features and rasters over one another in one view, as pixels, with the tag of its content.

Drawn as the served MapLibre styles say (`tiles.styles`); what stands up there lies flat here. The tag names row
numbers, stamps and files of what is shown, so that a change elsewhere leaves it as it is.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from threading import BoundedSemaphore
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiles import cache, styles
from tiles.city import TileCity
from tiles.drawing import canvas, expression, fonts, labels, rasters
from tiles.drawing.canvas import Canvas
from tiles.drawing.features import Asked, LayerInView, Selection, Shapes
from tiles.drawing.labels import Label, Look
from tiles.drawing.view import View
from tiles.imagery import Wanted
from tiles.mvt import encode
from twin.scope import Scope
from twin.store import read_raw
from twin.store.interface import Asset
from twin.store.wkb_paths import LINE, POINT, RING, Paths

DRAWING = 1
"""Raise it when the pixels of a map change while the data do not."""
OUTLINE_PX = 1.0
OUTLINE_FROM_PX = 4.0
"""Areas smaller than this have no outline: there would be nothing but outlines."""
LARGE = 2**21
"""Pixels from which a map counts as large."""
_SMALL_ONES, _LARGE_ONES = BoundedSemaphore(4), BoundedSemaphore(1)
"""Maps made at a time in a process: memory stays bounded whatever is asked."""
Bytes = NDArray[np.uint8]
Entry = dict[str, Any]


@dataclass(frozen=True)
class VectorItem:
    """A feature layer in its style, with or without names."""

    layer_id: str
    labels: bool = False


@dataclass(frozen=True)
class RasterItem:
    """Files of a raster layer, uppermost first, in the look that is wanted."""

    layer_id: str
    assets: tuple[Asset, ...]
    wanted: Wanted = field(default_factory=Wanted)


@dataclass(frozen=True)
class Drawing:
    """What is drawn, lowest first."""

    city: TileCity
    scope: Scope
    items: tuple[VectorItem | RasterItem, ...]
    view: View
    selection: Selection = field(default_factory=Selection)

    def tag(self) -> str:
        """Digest of everything that the pixels follow from; the same for all maps that show nothing."""
        if self.view.wraps:
            return hashlib.blake2b("|".join(each.tag() for each in self._parts()).encode()).hexdigest()[:32]
        digest = hashlib.blake2b(f"{DRAWING}|{self.view}|{self.selection.key}|{fonts_key(self)}".encode())
        for item, made in self._each():
            said = made.tag() if isinstance(made, LayerInView) else repr(made) if made else ""
            if said:
                digest.update(f"{item.layer_id}|{getattr(item, 'labels', '')}|{said}".encode())
        return digest.hexdigest()[:32]

    def pixels(self) -> Bytes:
        """(height, width, 4) colours, opacity not multiplied in, transparent where there is nothing."""
        view = self.view
        if view.wraps:
            return np.hstack([each.pixels() for each in self._parts()])
        with _a_turn(view.width * view.height):
            target = Canvas(view.width, view.height)
            names: list[tuple[Label, Look]] = []
            for item, made in self._each():
                if isinstance(made, LayerInView):
                    names += _features(target, made, item.labels if isinstance(item, VectorItem) else False)
                elif made and isinstance(item, RasterItem):
                    target.layer(rasters.pixels(self.city, item.assets, view, item.wanted))
            labels.draw(target, names)
            pixels = target.pixels.copy()
            pixels[pixels[..., 3] == 0] = 0  # AGG's open pixels are white
            return pixels

    def kept(self, encode_pixels: Callable[[Bytes], bytes], tag: str, *key: object) -> bytes:
        """The encoded picture, kept on disk under its tag; `key` names the encoding."""

        def made() -> bytes:
            return encode_pixels(self.pixels())

        return cache.of_twin(self.city.folder).get_or_make(made, "map", tag, *key)

    def _parts(self) -> "list[Drawing]":
        """One drawing for each side of the antimeridian."""
        return [replace(self, view=each) for each in self.view.parts()]

    def _each(self) -> Iterator[tuple[VectorItem | RasterItem, Any]]:
        """Each item with what it has in the view: a layer, or the signature of its files (empty: none)."""
        asked = Asked(self.city, self.scope, self.view, self.selection)
        with read_raw.reading(self.city.store) as reader:
            for item in self.items:
                if isinstance(item, VectorItem):
                    yield item, LayerInView(reader, item.layer_id, asked)
                else:
                    yield item, rasters.signature(self.city, item.assets, self.view, item.wanted)


def fonts_key(drawing: Drawing) -> str:
    """Names depend on the font that there is."""
    has_names = any(isinstance(each, VectorItem) and each.labels for each in drawing.items)
    return str(fonts.path()) if has_names else ""


@contextmanager
def _a_turn(n_pixels: int) -> Iterator[None]:
    with _LARGE_ONES if n_pixels > LARGE else _SMALL_ONES:
        yield


def _features(target: Canvas, found: LayerInView, with_labels: bool) -> list[tuple[Label, Look]]:
    """Draw one layer; returns the names that want to be drawn at the end."""
    kind = found.layer.record.type
    entries = [each for each in styles.style("", [kind], {}, labels=with_labels)["layers"] if "source-layer" in each]
    by_type = {name: [e for e in entries if e["type"] == name] for name in ("fill", "line", "circle", "symbol")}
    view, areas = found.view, by_type["fill"]
    _speckle(target, found, areas or [*by_type["line"], *by_type["circle"]][:1])
    _boxes(target, found, areas)
    names: list[tuple[Label, Look]] = []
    for shapes in found.shapes():
        _fill(target, shapes, areas, view)
        _outline(target, shapes, areas, view)
        for entry in by_type["line"]:
            _along(target, shapes, entry, view)
        for entry in by_type["circle"]:
            _circles(target, shapes, entry, view)
        names += [each for entry in by_type["symbol"] for each in _names(shapes, entry, view)]
    return names


def _depends(entries: list[Entry]) -> bool:
    """Whether the colours of some entries depend on the feature."""
    return any("filter" in each or isinstance(each["paint"][f"{each['type']}-color"], list) for each in entries)


def _boxes(target: Canvas, found: LayerInView, entries: list[Entry]) -> None:
    for boxes in found.boxes(need_attributes=_depends(entries)):
        _fill(target, boxes, entries, found.view)


def _along(target: Canvas, shapes: Shapes, entry: Entry, view: View) -> None:
    width = expression.value(entry["paint"]["line-width"], shapes.table, view.zoom) * view.magnification
    for colour, paths in _coloured(shapes, entry, "line-color", LINE, view.zoom):
        target.lines(paths, colour, width)


def _fill(target: Canvas, shapes: Shapes, entries: list[Entry], view: View) -> None:
    for entry in entries:
        for colour, paths in _coloured(shapes, entry, "fill-color", RING, view.zoom):
            target.areas(paths, colour)


def _outline(target: Canvas, shapes: Shapes, entries: list[Entry], view: View) -> None:
    has_one = shapes.sides_px >= OUTLINE_FROM_PX
    for entry in entries:
        edge = canvas.colour_of(entry["paint"]["fill-outline-color"], entry["paint"].get("fill-opacity", 1.0))
        keep = expression.rows(entry.get("filter"), shapes.table) & has_one
        target.lines(_of_rows(shapes.paths, keep, RING), edge, OUTLINE_PX * view.magnification)


def _circles(target: Canvas, shapes: Shapes, entry: Entry, view: View) -> None:
    paint, zoom = entry["paint"], view.zoom
    radius = expression.value(paint["circle-radius"], shapes.table, zoom) * view.magnification
    rim, rim_px = canvas.colour_of(paint["circle-stroke-color"]), paint["circle-stroke-width"] * view.magnification
    for colour, paths in _coloured(shapes, entry, "circle-color", POINT, zoom):
        target.discs(paths.xy, colour, radius, rim=rim, rim_px=rim_px)


def _speckle(target: Canvas, found: LayerInView, entries: list[Entry]) -> None:
    """Features no larger than a pixel, in the colour of the largest of the pixel."""
    specks = found.specks(need_attributes=_depends(entries))
    if not len(specks.pixels):
        return
    colours = np.zeros((len(specks.pixels), 4), np.uint8)
    for entry in entries:
        opacity = float(entry["paint"].get("fill-opacity", 1.0))
        for colour, keep in _groups(specks.table, entry, f"{entry['type']}-color", found.view.zoom):
            colours[keep] = np.rint(np.array(canvas.colour_of(colour, opacity)) * 255).astype(np.uint8)
    colours[:, 3] = np.rint(colours[:, 3] * specks.strength)
    target.specks(specks.pixels, colours)


def _coloured(shapes: Shapes, entry: Entry, name: str, kind: int, zoom: float) -> Any:
    """Each colour of an entry with the paths that it is for."""
    opacity = float(entry["paint"].get("fill-opacity", 1.0)) if kind == RING else 1.0
    for colour, keep in _groups(shapes.table, entry, name, zoom):
        yield canvas.colour_of(colour, opacity), _of_rows(shapes.paths, keep, kind)


def _groups(table: Any, entry: Entry, name: str, zoom: float) -> Any:
    keep = expression.rows(entry.get("filter"), table)
    found = expression.value(entry["paint"][name], table, zoom)
    if isinstance(found, str):
        yield found, keep
        return
    for colour in dict.fromkeys(found[keep].tolist()):
        yield colour, keep & (found == colour)


def _of_rows(paths: Paths, keep: NDArray[np.bool_], kind: int) -> Paths:
    chosen = (paths.kinds == kind) & keep[paths.rows]
    return paths if chosen.all() else encode.taken(paths, np.flatnonzero(chosen))


def _names(shapes: Shapes, entry: Entry, view: View) -> list[tuple[Label, Look]]:
    if view.zoom < entry.get("minzoom", 0):
        return []
    layout, paint, larger = entry["layout"], entry["paint"], view.magnification
    size = layout["text-size"] * larger
    texts = expression.value(layout["text-field"], shapes.table, view.zoom)
    down = layout.get("text-offset", [0, 0])[1] * size
    look = Look(size, paint["text-color"], paint["text-halo-color"], paint["text-halo-width"] * larger)
    along = layout.get("symbol-placement") == "line"
    return [(each, look) for each in labels.candidates(shapes, texts, along=along, below_px=down)]
