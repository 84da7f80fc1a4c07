"""Pixels of raster files on a tile of any grid: GDAL's warper on the overview that fits, several files on one another.

Each file is warped into exactly the pixels of the tile (no second resampling), from the coarsest overview that is still
as fine as the tile. Which overview, and the width of the filter, depend on the file and the level alone, so that what
neighbouring tiles show meets without a seam.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layers import crs
from layers.crs import Bounds
from layers.errors import InvalidInput
from tiles.imagery import open_files
from tiles.imagery.open_files import stamp
from tiles.matrix_set import TILE_SIZE, MatrixSet
from twin.store.interface import Asset

TOLERANCE_PX = 0.05
"""Error that GDAL may make by interpolating the projection along a row."""
SAMPLE = 1024
"""Pixels on a side from which the range of a whole file is taken."""

_FOLDERS = re.compile(r"[^\s'\"]*/")
Array = NDArray[Any]
Window = tuple[int, int, int, int]
"""Left, top, columns, rows."""
Palette = tuple[tuple[int, tuple[int, int, int, int]], ...]


@dataclass(frozen=True)
class Header:
    """What a file says about itself: bands without alpha; `palette` is its colour table, value and its RGBA."""

    count: int
    dtype: str
    width: int
    height: int
    overviews: tuple[int, ...]
    cell: float
    scale: float
    offset: float
    palette: Palette | None


@dataclass(frozen=True)
class Frame:
    """The pixels of a tile, with `margin` more around it: `size` is what the tile itself has on a side."""

    grid: MatrixSet
    z: int
    x: int
    y: int
    size: int = TILE_SIZE
    margin: int = 0

    @property
    def cell(self) -> float:
        """Side of a pixel in units of the grid's CRS."""
        return self.grid.cell_size(self.z) * TILE_SIZE / self.size

    @property
    def pixels(self) -> int:
        """Pixels on a side, margin included."""
        return self.size + 2 * self.margin

    @property
    def corner(self) -> tuple[float, float]:
        """West and north of the first pixel, margin included."""
        west, _, _, north = self.grid.bounds(self.z, self.x, self.y)
        return west - self.margin * self.cell, north + self.margin * self.cell


class Unreadable(InvalidInput):
    """A raster file of the twin is gone or damaged."""

    def __init__(self, asset: Asset, error: Exception) -> None:
        said = _FOLDERS.sub("", str(error)).strip().splitlines() or ["no reason given"]
        name = Path(asset.path).name
        super().__init__(
            f"Image {asset.id!r} of {asset.layer} cannot be read ({name}: {said[0][:120]}).", "Build the twin again."
        )


def header(folder: Path, asset: Asset) -> Header:
    """Read once for each file."""
    path = folder / asset.path
    with telling(asset):
        return _header(str(path), stamp(path))


def touching(assets: Sequence[Asset], frame: Frame) -> list[Asset]:
    """Those whose box touches the tile (margin included), in their order."""
    boxes = _boxes(tuple((asset.crs, asset.bounds) for asset in assets), frame.grid.crs)
    west, north = frame.corner
    # as wide as what `read` looks at: one pixel more around the box of a densified outline
    side, more = frame.pixels * frame.cell, 2 * frame.cell
    hit = (boxes[:, 0] < west + side + more) & (boxes[:, 2] > west - more)
    hit &= (boxes[:, 3] > north - side - more) & (boxes[:, 1] < north + more)
    return [assets[index] for index in np.flatnonzero(hit).tolist() if _window(assets[index], frame) is not None]


def footprint(asset: Asset, grid: MatrixSet) -> Bounds:
    """Box of a file in the grid's CRS."""
    return _footprint(crs.horizontal(asset.crs), asset.bounds, grid.crs)


def read(
    folder: Path, asset: Asset, frame: Frame, bands: Sequence[int], *, nearest: bool = False
) -> tuple[Array, NDArray[np.bool_], tuple[slice, slice]]:
    """(bands, rows, columns) values and (rows, columns) what of it is valid, and which part of the frame that is.

    Scale and offset of the file are not applied. `nearest`: values are codes that must not be mixed.
    """
    window = _window(asset, frame)
    if window is None:
        nothing = slice(0, 0)
        return np.zeros((len(bands), 0, 0)), np.zeros((0, 0), bool), (nothing, nothing)
    path = folder / asset.path
    with telling(asset):
        head = _header(str(path), stamp(path))
        level, ratio = _level(head, asset, frame)
        with open_files.POOL.open(str(path), level) as dataset:
            data, valid = _warped(dataset, asset, frame, window, bands=bands, ratio=ratio, nearest=nearest)
    left, top, columns, rows = window
    return data, valid, (slice(top, top + rows), slice(left, left + columns))


def field(folder: Path, assets: Sequence[Asset], frame: Frame, band: int = 1) -> NDArray[np.float32]:
    """(pixels, pixels) values of a band, the first file on top; NaN where there is none.

    In the file's unit, with the `height_offset_m` that takes heights to the city's datum.
    """
    result = np.full((frame.pixels, frame.pixels), np.nan, np.float32)
    for asset in assets:
        head = header(folder, asset)
        data, valid, part = read(folder, asset, frame, (min(band, head.count),))
        if data.size:
            values = data[0].astype(np.float32) * head.scale + (head.offset + (asset.height_offset_m or 0.0))
            below = result[part]
            take = valid & np.isnan(below) & np.isfinite(values)
            below[take] = values[take]
            if not np.isnan(result).any():
                break
    return result


def pixel_size(folder: Path, asset: Asset, grid: MatrixSet) -> float:
    """Side of the file's own pixels in units of the grid's CRS."""
    return _pixel(crs.horizontal(asset.crs), asset.bounds, grid.crs, header(folder, asset).cell)


def limits(folder: Path, asset: Asset, band: int) -> tuple[float, float] | None:
    """2nd and 98th percentile of a band over the whole file, from an overview; None for a file without values."""
    path = folder / asset.path
    with telling(asset):
        return _limits(str(path), stamp(path), band)


def _warped(
    dataset: Any, asset: Asset, frame: Frame, window: Window, *, bands: Sequence[int], ratio: float, nearest: bool
) -> tuple[Array, NDArray[np.bool_]]:
    """The window's pixels; `ratio` is pixels of the tile for one of the dataset."""
    from rasterio.enums import ColorInterp, Resampling
    from rasterio.transform import from_origin
    from rasterio.vrt import WarpedVRT

    left, top, columns, rows = window
    west, north = frame.corner
    cell = frame.cell
    nodata = _nodata(dataset)
    has_mask = nodata is not None or ColorInterp.alpha in dataset.colorinterp
    # the filter's width is told, else GDAL derives it from the part it happens to read, and neighbours differ
    filter_width = {} if nearest or ratio >= 1 else {"XSCALE": repr(ratio), "YSCALE": repr(ratio)}
    with WarpedVRT(
        dataset, src_crs=_rasterio_crs(crs.horizontal(asset.crs)), crs=_rasterio_crs(frame.grid.crs),
        transform=from_origin(west + left * cell, north - top * cell, cell, cell), width=columns, height=rows,
        resampling=Resampling.nearest if nearest else Resampling.bilinear, tolerance=TOLERANCE_PX,
        src_nodata=nodata, nodata=nodata, add_alpha=not has_mask, warp_mem_limit=64, **filter_width,
    ) as warped:  # fmt: skip
        data = warped.read(list(bands))
        if nodata is None:
            return data, warped.dataset_mask() > 127
        # asked for the mask, GDAL would warp once more
        known = ~np.isnan(data) if np.isnan(nodata) else data != nodata
        return data, known.any(axis=0)


def _nodata(dataset: Any) -> float | None:
    """What the file says stands for nothing; None where its cells cannot hold that (-9999 in bytes)."""
    value, kind = dataset.nodata, np.dtype(dataset.dtypes[0])
    if value is None or kind.kind == "f":
        return None if value is None else float(value)
    span = np.iinfo(kind) if kind.kind in "iu" else None
    return float(value) if span and span.min <= value <= span.max else None


def _level(head: Header, asset: Asset, frame: Frame) -> tuple[int | None, float]:
    """Index of the overview to read (None: the file itself), and pixels of the tile for one pixel of that."""
    wanted = frame.cell / _pixel(crs.horizontal(asset.crs), asset.bounds, frame.grid.crs, head.cell)
    fit = [index for index, factor in enumerate(head.overviews) if factor <= wanted * 1.0001]
    level = fit[-1] if fit else None
    return level, (1 if level is None else head.overviews[level]) / wanted


def _window(asset: Asset, frame: Frame) -> Window | None:
    """Left, top, columns, rows of the frame's pixels that the file may touch; None for none."""
    west, south, east, north = footprint(asset, frame.grid)
    x, y = frame.corner
    cell, last = frame.cell, frame.pixels
    # one pixel more: the box is that of a densified outline
    lows = np.floor([(west - x) / cell, (y - north) / cell]) - 1
    highs = np.ceil([(east - x) / cell, (y - south) / cell]) + 1
    left, top = (int(value) for value in np.clip(lows, 0, last))
    right, bottom = (int(value) for value in np.clip(highs, 0, last))
    return (left, top, right - left, bottom - top) if right > left and bottom > top else None


@lru_cache(maxsize=64)
def _boxes(placed: tuple[tuple[str, Bounds], ...], target: str) -> NDArray[np.float64]:
    """(n, 4) boxes of files in the CRS of a grid."""
    return np.array([_footprint(crs.horizontal(name), bounds, target) for name, bounds in placed]).reshape(-1, 4)


@lru_cache(maxsize=16384)
def _footprint(source: str, bounds: Bounds, target: str) -> Bounds:
    return crs.transform_bounds(source, target, bounds)


@lru_cache(maxsize=16384)
def _pixel(source: str, bounds: Bounds, target: str, cell: float) -> float:
    """Side of one pixel of a file in units of another CRS, in the middle of the file (root of its area)."""
    x, y = (bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2
    e, n = crs.transform(source, target, np.array([x, x + cell, x]), np.array([y, y, y + cell]))
    area = abs((e[1] - e[0]) * (n[2] - n[0]) - (e[2] - e[0]) * (n[1] - n[0]))
    return float(np.sqrt(area)) if np.isfinite(area) and area > 0 else cell


@lru_cache(maxsize=64)
def _rasterio_crs(name: str) -> Any:
    from rasterio.crs import CRS

    return CRS.from_user_input(name)


@lru_cache(maxsize=16384)
def _header(path: str, _stamp: tuple[int, int]) -> Header:
    from rasterio.enums import ColorInterp

    with open_files.POOL.open(path, None) as dataset:
        cell = float(np.sqrt(abs(dataset.transform.determinant)))
        alphas = sum(each == ColorInterp.alpha for each in dataset.colorinterp)
        return Header(
            dataset.count - alphas, str(dataset.dtypes[0]), dataset.width, dataset.height, tuple(dataset.overviews(1)),
            cell, float(dataset.scales[0]), float(dataset.offsets[0]), palette(dataset),
        )  # fmt: skip


def palette(dataset: Any) -> Palette | None:
    """Colour table of an open dataset's first band; None where it has none."""
    try:
        table = dataset.colormap(1)
    except ValueError:  # it has none
        return None
    return tuple((int(value), (int(r), int(g), int(b), int(a))) for value, (r, g, b, a) in sorted(table.items()))


@lru_cache(maxsize=4096)
def _limits(path: str, _stamp: tuple[int, int], band: int) -> tuple[float, float] | None:
    with open_files.POOL.open(path, None) as dataset:
        shrink = max(dataset.width, dataset.height, SAMPLE) / SAMPLE
        shape = max(round(dataset.height / shrink), 1), max(round(dataset.width / shrink), 1)
        values = dataset.read(band, out_shape=shape, masked=True).compressed().astype(np.float64)
    values = values[np.isfinite(values)]
    if not values.size:
        return None
    low, high = np.percentile(values, (2, 98))
    return float(low), float(high)


@contextmanager
def telling(asset: Asset) -> Iterator[None]:
    """What GDAL or the file system says about a file becomes one error that names it."""
    from rasterio._err import CPLE_BaseError
    from rasterio.errors import RasterioError

    try:
        yield
    except (RasterioError, CPLE_BaseError, OSError) as error:
        raise Unreadable(asset, error) from error
