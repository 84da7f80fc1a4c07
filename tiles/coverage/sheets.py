"""Raster files of a layer -> one coverage: which grid, which fields, which kind of number a cell holds.

Where all files hold the same kind of number, cells are what the files hold, bit by bit, with their nodata value, scale
and offset. Where they differ, or where heights must be brought to the city's datum, they become float32 with NaN.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from layers import crs
from layers.catalogue import Title
from layers.errors import NotFound
from tiles.coverage.grid import Grid, box_in
from tiles.imagery import open_files
from tiles.imagery.sheets import Palette, palette, telling
from twin.config import TwinConfig
from twin.fuse.datum import VerticalStep, vertical_step
from twin.store.interface import Asset

HEIGHTS = {"dem": Title("地面高程", "ground height"), "dsm": Title("地表高程", "surface height")}
"""Layers whose cells are heights."""
COLOURS = {
    "red": Title("红", "red"), "green": Title("绿", "green"), "blue": Title("蓝", "blue"),
    "nir": Title("近红外", "near infrared"),
    "gray": Title("灰度", "grey"), "pan": Title("全色", "panchromatic"), "rededge": Title("红边", "red edge"),
    "palette": Title("类别", "class"),
}  # fmt: skip


@dataclass(frozen=True)
class Field:
    """One value of each cell. `band` counts from 1; `kind` is `continuous` or `categoricalNominal`."""

    name: str
    title: Title
    band: int
    unit: str | None
    kind: str


@dataclass(frozen=True)
class Header:
    """What a file says of itself, without its alpha band."""

    west: float
    north: float
    dx: float
    dy: float
    width: int
    height: int
    dtype: str
    nodata: float | None
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    names: tuple[str, ...]
    units: tuple[str | None, ...]
    overviews: tuple[int, ...]
    is_coded: bool
    palette: Palette | None = None


@dataclass(frozen=True)
class Sheet:
    """One file: where it lies, and what takes its heights to the city's."""

    asset: Asset
    path: Path
    header: Header
    grid: Grid
    offset_m: float = 0.0
    datum: VerticalStep | None = None

    @property
    def bands(self) -> int:
        """Without alpha."""
        return len(self.header.names)

    @property
    def is_raw(self) -> bool:
        """True if its numbers need no step to the city's datum."""
        return self.datum is None and self.offset_m == 0.0


@dataclass(frozen=True)
class Coverage:
    """Sheets of one layer, uppermost first, on the uppermost one's lattice.

    Attributes
    ----------
    dtype, nodata : of a cell; `nodata` None where no number is free for it
    scales, offsets : stored number -> value, by field
    is_raw : cells are what the files hold
    """

    layer: str
    sheets: tuple[Sheet, ...]
    grid: Grid
    fields: tuple[Field, ...]
    dtype: str
    nodata: float | None
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    is_raw: bool
    vertical_crs: str | None

    @property
    def is_coded(self) -> bool:
        """True if cells hold codes, which must not be mixed."""
        return self.sheets[0].header.is_coded


def coverage(folder: Path, config: TwinConfig, layer: str, assets: Sequence[Asset]) -> Coverage:
    """The coverage of raster files, uppermost first."""
    if not assets:
        raise NotFound(f"Layer {layer!r} has no raster.", "See /collections.")
    sheets = tuple(_sheet(folder, config, layer, asset) for asset in assets)
    first = sheets[0]
    boxes = [box_in(each.grid.crs, first.grid.crs, each.grid.bounds) for each in sheets]
    grid = first.grid if len(sheets) == 1 else first.grid.around(boxes)
    kinds = {(each.header.dtype, each.header.scales, each.header.offsets) for each in sheets}
    is_raw = len(kinds) == 1 and all(each.is_raw for each in sheets)
    n = first.bands
    return Coverage(
        layer, sheets, grid, _fields(layer, first.header),
        first.header.dtype if is_raw else "float32", _nodata(sheets, is_raw=is_raw),
        first.header.scales if is_raw else (1.0,) * n, first.header.offsets if is_raw else (0.0,) * n, is_raw,
        config.vertical_crs if layer in HEIGHTS else None,
    )  # fmt: skip


def _nodata(sheets: Sequence[Sheet], *, is_raw: bool) -> float | None:
    if not is_raw:
        return float("nan")
    values = {repr(each.header.nodata): each.header.nodata for each in sheets}
    if len(values) == 1:
        return next(iter(values.values()))
    return float("nan") if np.dtype(sheets[0].header.dtype).kind == "f" else None


def _sheet(folder: Path, config: TwinConfig, layer: str, asset: Asset) -> Sheet:
    path = folder / asset.path
    with telling(asset):
        head = _header(str(path), open_files.stamp(path))
    placed = crs.horizontal(asset.crs)
    grid = Grid(placed, head.west, head.north, head.dx, head.dy, head.width, head.height)
    offset, datum = 0.0, None
    if layer in HEIGHTS:
        offset = asset.height_offset_m or 0.0
        if asset.height_offset_m is None:
            step = vertical_step(asset.crs, asset.vertical_crs, config.vertical_crs, config.frame(folder).height_model)
            datum = None if step.is_identity else step
    return Sheet(asset, path, head, grid, offset, datum)


def _fields(layer: str, head: Header) -> tuple[Field, ...]:
    kind = "categoricalNominal" if head.is_coded else "continuous"
    if layer in HEIGHTS and len(head.names) == 1:
        return (Field("height", HEIGHTS[layer], 1, "m", kind),)
    taken: set[str] = set()
    found = []
    for band, (name, unit) in enumerate(zip(head.names, head.units, strict=True), 1):
        single = name if name not in taken else f"{name}_{band}"
        taken.add(single)
        title = COLOURS.get(name, Title(f"波段{band}", f"band {band}") if name == f"band{band}" else Title(name, name))
        found.append(Field(single, title, band, unit, kind))
    return tuple(found)


@lru_cache(maxsize=16384)
def _header(path: str, _stamp: tuple[int, int]) -> Header:
    from rasterio.enums import ColorInterp

    with open_files.POOL.open(path, None) as dataset:
        bands = [i for i, colour in enumerate(dataset.colorinterp) if colour != ColorInterp.alpha]
        transform = dataset.transform
        return Header(
            west=float(transform.c), north=float(transform.f), dx=float(transform.a), dy=-float(transform.e),
            width=int(dataset.width), height=int(dataset.height), dtype=str(dataset.dtypes[0]),
            nodata=_holds(dataset), scales=tuple(float(dataset.scales[i]) for i in bands),
            offsets=tuple(float(dataset.offsets[i]) for i in bands),
            names=tuple(_name(dataset, i) for i in bands), units=tuple(dataset.units[i] or None for i in bands),
            overviews=tuple(dataset.overviews(1)),
            is_coded=dataset.colorinterp[0] == ColorInterp.palette, palette=palette(dataset),
        )  # fmt: skip


def _holds(dataset: Any) -> float | None:
    """Nodata value; None where the cells cannot hold it (-9999 in bytes)."""
    value, kind = dataset.nodata, np.dtype(dataset.dtypes[0])
    if value is None or kind.kind == "f":
        return None if value is None else float(value)
    span = np.iinfo(kind) if kind.kind in "iu" else None
    return float(value) if span and span.min <= value <= span.max else None


def _name(dataset: Any, i: int) -> str:
    """A name for a band that can stand in a URL: its description, its colour, or its number."""
    told = (dataset.descriptions[i] or "").strip()
    plain = "".join(c if c.isalnum() or c in "_-." else "_" for c in told)[:60]
    if plain and plain[0].isalpha():
        return plain
    colour = dataset.colorinterp[i].name
    single = colour in COLOURS and (colour != "gray" or dataset.count == 1)
    return colour if single else f"band{i + 1}"
