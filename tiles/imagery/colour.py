"""What the numbers of a raster look like: photographs, colour tables, ramps over a range, shaded relief.

A `Wanted` is what a reader asks for, a `Look` what follows from it and from the files: everything that the pixels of a
tile depend on besides the files themselves.
"""

import math
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layers.errors import InvalidInput, NotFound
from tiles.imagery import sheets
from tiles.imagery.sheets import Header, Palette
from twin.store.interface import Asset

Bytes = NDArray[np.uint8]
Span = tuple[float, float]
ELEVATION = ("dem", "dsm")
RELIEF = (
    (0.0, (56, 120, 84)), (0.15, (120, 168, 96)), (0.35, (206, 204, 132)), (0.55, (196, 160, 98)),
    (0.75, (156, 112, 82)), (0.9, (196, 184, 176)), (1.0, (250, 250, 250)),
)  # fmt: skip
"""Own ramp of heights, part of the range -> colour: lowland green over yellow and brown to white."""
STEEPNESS = ((0.0, (255, 255, 255)), (0.25, (250, 220, 130)), (0.5, (236, 140, 70)), (1.0, (140, 20, 40)))
SLOPE_DEG = (0.0, 60.0)
MAX_PALETTE = 256
RANGE_FILES = 128
GREY = (("", ((0.0, 255.0),)),)
_importing = threading.Lock()
_ENTRY = re.compile(r"(-?\d{1,9}):#?([0-9a-fA-F]{6})([0-9a-fA-F]{2})?")


@dataclass(frozen=True)
class Wanted:
    """As asked: a style of `styles`, a named colour map, the values of its ends, a colour table, bands (from 1)."""

    style: str = "default"
    colormap: str | None = None
    rescale: Span | None = None
    palette: Palette | None = None
    bands: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Look:
    """How pixels are made.

    Attributes
    ----------
    kind : `photo` (bands as they are), `palette` (codes), `ramp` (a field through a colour map), `hillshade`, `slope`
    bands : of the file, from 1
    colormap : name of the ramp
    ranges : for each band, by type of number, what becomes the lowest and highest colour; none for photos of 8 bits
    palette : value -> colour, instead of the file's own
    """

    kind: str
    bands: tuple[int, ...]
    colormap: str = ""
    ranges: tuple[tuple[str, tuple[Span, ...]], ...] = ()
    palette: Palette | None = None

    @property
    def is_photo(self) -> bool:
        """May be packed with loss: colours, or the grey of a photograph of one band of 8 bits."""
        return self.kind == "photo" or (self.colormap, self.ranges) == ("gray", GREY)


def styles(layer: str, header: Header) -> tuple[str, ...]:
    """Names of the styles of a raster, the default one first."""
    if header.count > 1 or header.palette or (layer not in ELEVATION and header.dtype == "uint8"):
        return ("default",)
    first = ("relief", "hillshade", "slope")
    return first if layer in ELEVATION else ("default", *first)


def look(folder: Path, assets: Sequence[Asset], wanted: Wanted) -> Look:
    """What a reader's wish means for these files, the first of which decides; InvalidInput or NotFound says why not."""
    header = sheets.header(folder, assets[0])
    known = styles(assets[0].layer, header)
    style = known[0] if wanted.style == "default" else wanted.style
    if style not in known:
        raise NotFound(f"{assets[0].layer} has no style {style[:40]!r}.", f"Use {', '.join(known)}.")
    if style in {"hillshade", "slope"}:
        _no_more(wanted, style)
        return Look(style, (1,))
    bands = _bands(header, wanted)
    codes = wanted.palette or (header.palette if not wanted.colormap and len(bands) == 1 else None)
    if codes:
        return Look("palette", bands, palette=wanted.palette)
    if len(bands) == 3:
        if wanted.colormap:
            raise InvalidInput("colormap is for one band.", "Add bands=1, or drop colormap.")
        return Look("photo", bands, ranges=_ranges(folder, assets, bands, wanted.rescale))
    colormap = wanted.colormap or ("relief" if style == "relief" else "gray")
    table(colormap)
    if wanted.rescale is None and header.dtype == "uint8":
        return Look("ramp", bands, colormap, GREY)
    span = wanted.rescale or _span(folder, assets, bands[0])
    return Look("ramp", bands, colormap, (("", (span,)),))


def _no_more(wanted: Wanted, style: str) -> None:
    for name in ("colormap", "rescale", "palette", "bands"):
        if getattr(wanted, name) is not None:
            raise InvalidInput(f"{name} means nothing with style={style}.", f"Drop {name}.")


def _bands(header: Header, wanted: Wanted) -> tuple[int, ...]:
    """Red, green and blue where there are at least three bands (a fourth is near infrared or alpha), else the first."""
    if wanted.bands is None:
        return (1,) if wanted.colormap or wanted.palette or header.count < 3 else (1, 2, 3)
    if len(wanted.bands) not in {1, 3} or not all(1 <= band <= header.count for band in wanted.bands):
        raise InvalidInput(
            f"bands={','.join(map(str, wanted.bands))[:40]} is not possible.",
            f"Give one or three numbers from 1 to {header.count}.",
        )
    return wanted.bands


def _ranges(
    folder: Path, assets: Sequence[Asset], bands: tuple[int, ...], rescale: Span | None
) -> tuple[tuple[str, tuple[Span, ...]], ...]:
    """For each type of number in the files, the range of each band over all of them; nothing for bytes."""
    found: dict[str, list[list[Span]]] = {}
    for asset in _sample(assets):
        header = sheets.header(folder, asset)
        if rescale is None and header.dtype == "uint8":
            continue
        of_bands = found.setdefault(header.dtype, [[] for _ in bands])
        for spans, band in zip(of_bands, bands, strict=True):
            span = rescale or sheets.limits(folder, asset, band if band <= header.count else 1)
            spans.extend([span] if span else [])
    return tuple((dtype, tuple(_around(spans) for spans in each)) for dtype, each in sorted(found.items()))


def _span(folder: Path, assets: Sequence[Asset], band: int) -> Span:
    """Range of a field over all files, as `sheets.field` gives it."""
    spans = []
    for asset in _sample(assets):
        header = sheets.header(folder, asset)
        found = sheets.limits(folder, asset, min(band, header.count))
        if found:
            shift = header.offset + (asset.height_offset_m or 0.0)
            spans.append((found[0] * header.scale + shift, found[1] * header.scale + shift))
    return _around(spans)


def _sample(assets: Sequence[Asset]) -> Sequence[Asset]:
    """At most 128 of the files, evenly: a range needs no more, and each costs some milliseconds the first time."""
    return assets[:: max(-(-len(assets) // RANGE_FILES), 1)]


def _around(spans: Sequence[Span]) -> Span:
    low, high = min((low for low, _ in spans), default=0.0), max((high for _, high in spans), default=1.0)
    return (low, high) if high > low else (low, low + 1)


def photo(data: NDArray[Any], look: Look) -> Bytes:
    """(3, rows, columns) of any type -> (rows, columns, 3) bytes."""
    ranges = dict(look.ranges).get(str(data.dtype))
    if ranges is None:
        return np.moveaxis(data.astype(np.uint8, copy=False), 0, -1)
    low, high = (np.array(each)[:, None, None] for each in zip(*ranges, strict=True))
    part = (data.astype(np.float32) - low) / np.maximum(high - low, 1e-12)
    return np.moveaxis((np.clip(np.nan_to_num(part), 0, 1) * 255 + 0.5).astype(np.uint8), 0, -1)


def codes(values: NDArray[Any], palette: Palette) -> Bytes:
    """(rows, columns) codes -> (rows, columns, 4); a code without a colour is transparent."""
    known = np.array([value for value, _ in palette], np.float64)
    colours = np.array([rgba for _, rgba in palette], np.uint8)
    place = np.clip(np.searchsorted(known, values), 0, len(known) - 1)
    return np.where((known[place] == values)[..., None], colours[place], 0).astype(np.uint8)


def ramp(values: NDArray[np.float32], span: Span, colormap: str) -> Bytes:
    """(rows, columns) numbers -> (rows, columns, 4); beyond the span the colour of its end, NaN is transparent."""
    low, high = span
    known = np.isfinite(values)
    part = (np.where(known, values, low) - low) / (high - low)
    colours = table(colormap)[np.clip(part * 255 + 0.5, 0, 255).astype(np.uint8)]
    colours[..., 3] = np.where(known, colours[..., 3], 0)
    return colours


@lru_cache(maxsize=256)
def table(name: str) -> Bytes:
    """(256, 4) colours of a ramp: `relief`, `steepness`, or one that rio-tiler knows. NotFound for another."""
    own = {"relief": RELIEF, "steepness": STEEPNESS, "gray": ((0.0, (0, 0, 0)), (1.0, (255, 255, 255)))}.get(name)
    if own:
        at = np.linspace(0, 1, 256)
        bands = [np.interp(at, [place for place, _ in own], [rgb[band] for _, rgb in own]) for band in range(3)]
        return np.column_stack([*np.rint(bands), np.full(256, 255)]).astype(np.uint8)
    if name not in colormaps():
        raise InvalidInput(
            f"colormap={name[:40]!r} is not known.", "For example viridis, magma, terrain, rdylgn, relief."
        )
    found = _cmap().get(name)
    return np.array([found.get(value, (0, 0, 0, 0)) for value in range(256)], np.uint8)


@lru_cache(maxsize=1)
def colormaps() -> frozenset[str]:
    """Names that `colormap` may have."""
    return frozenset(["relief", "steepness", *_cmap().list()])


def _cmap() -> Any:
    """rio-tiler's colour maps, imported by one thread at a time: its modules import one another in a circle, and a
    second thread would meet half a module.
    """
    with _importing:
        from rio_tiler.colormap import cmap
    return cmap


def parse_palette(text: str) -> Palette:
    """`1:#ff0000,2:00ff0080` -> values and their colours, at most 256."""
    entries = text.split(",")
    if len(entries) > MAX_PALETTE:
        raise InvalidInput(f"palette has {len(entries)} entries.", f"At most {MAX_PALETTE} are possible.")
    found: dict[int, tuple[int, int, int, int]] = {}
    for entry in entries:
        match = _ENTRY.fullmatch(entry.strip())
        if not match:
            raise InvalidInput(f"palette={entry[:30]!r} is not value:#rrggbb.", "Example: 1:#ff0000,2:#00ff00")
        red, green, blue = bytes.fromhex(match[2])
        found[int(match[1])] = red, green, blue, int(match[3] or "ff", 16)
    return tuple(sorted(found.items()))


def parse_rescale(text: str) -> Span:
    """`low,high`, both finite, the first below the second."""
    parts = text.split(",")
    try:
        low, high = (float(part) for part in parts)
    except ValueError as error:
        raise InvalidInput(f"rescale={text[:40]!r} is not two numbers.", "Example: rescale=0,2.5") from error
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InvalidInput(f"rescale={text[:40]!r} is not a range.", "Give the lower value first.")
    return low, high
