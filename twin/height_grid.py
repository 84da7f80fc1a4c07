"""One elevation raster, or sheets on one grid, read block by block: heights at points, at any resolution, holes filled.

Level 0 is the raster itself, each further level has cells four times as wide (overviews) until one block holds it all.
Blocks of 512 cells are kept in a small cache that all rasters of the process share.

A cell without a value (a hole) is filled from the first coarser level that has one around it, in the last level by a
pyramid of means (pull and push). Cells with a value stay as they are, so a filled height meets the surveyed ones at
the rim. All of it depends on the place alone, never on what else is asked.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from layers import crs
from layers.errors import InvalidInput
from twin import mosaic

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

BLOCK = 512
BLOCKS_KEPT = 96
"""Of 512 x 512 float32: 100 MB for all rasters of a process."""
SHRINK = 4
WINDOW_CELLS = 2_500_000
"""Points within so many cells are looked up in one window; others block by block."""

NONE, FILLED, EDGE, SURVEYED = 3, 2, 1, 0
"""Where a height comes from, best first: four cells around it; an edge cell's outer half; a filled hole; nowhere."""


class Datum(Protocol):
    """How heights of a raster become the city's; two that are equal are the same way."""

    @property
    def is_identity(self) -> bool:
        """True if z stays as it is."""
        ...

    def normal_m(self, lon_deg: FloatArray, lat_deg: FloatArray, z_m: FloatArray) -> FloatArray:
        """(n,) heights of the raster -> (n,) normal heights of the city, metres."""
        ...


class _Cache:
    """Blocks of all rasters, the longest unused leave first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blocks: OrderedDict[tuple[str, int, int], NDArray[np.float32]] = OrderedDict()

    def get(self, key: tuple[str, int, int]) -> NDArray[np.float32] | None:
        with self._lock:
            if key in self._blocks:
                self._blocks.move_to_end(key)
            return self._blocks.get(key)

    def put(self, key: tuple[str, int, int], block: NDArray[np.float32]) -> None:
        with self._lock:
            self._blocks[key] = block
            while len(self._blocks) > BLOCKS_KEPT:
                self._blocks.popitem(last=False)

    def forget(self, owner: str) -> None:
        with self._lock:
            for key in [key for key in self._blocks if key[0] == owner]:
                del self._blocks[key]


_cache = _Cache()


def stamp(path: Path) -> tuple[int, int]:
    """Size and time of a file, which change with what is in it. InvalidInput where there is none."""
    try:
        status = path.stat()
    except OSError as error:
        raise InvalidInput(f"The terrain raster {path.name} cannot be read.", "Build the twin again.") from error
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=4096)
def _header(path: Path, _: tuple[int, int]) -> mosaic.Header:
    with opened(path) as dataset:
        return mosaic.header(dataset)


def header(path: Path) -> mosaic.Header:
    """Grid of a raster file; read once as long as the file stays."""
    return _header(path, stamp(path))


def opened(name: Path | str, **options: Any) -> Any:
    """The raster, open. Raises InvalidInput that names it."""
    import rasterio

    try:
        return rasterio.open(name, **options)
    except rasterio.errors.RasterioIOError as error:
        said = name.name if isinstance(name, Path) else "mosaic"
        raise InvalidInput(f"The terrain raster {said} cannot be read.", "Build the twin again.") from error


class _Level:
    """One resolution of a raster. Several threads may read: each has a handle of its own while it does."""

    def __init__(self, sheets: Sequence[tuple[Path, mosaic.Header]], shrink: int) -> None:
        said = [(str(path), *stamp(path)) for path, _ in sheets]
        # by what is in it: the city makes its terrain anew with every change of any layer
        self._id = hashlib.sha256(repr((said, shrink)).encode()).hexdigest()
        self._lock = threading.Lock()
        self._handles: list[Any] = []
        self._sheets, self._shrink = sheets, shrink
        self.seen: dict[tuple[int, int], tuple[int, float, float, IntArray]] | None = None

    @cached_property
    def _source(self) -> tuple[Path | str, dict[str, Any]]:
        """What is opened: the file (its overview) where there is one, else a virtual raster."""
        if len(self._sheets) > 1:
            return mosaic.vrt(self._sheets, self._shrink), {}
        path = self._sheets[0][0]
        if self._shrink == 1:
            return path, {}
        with opened(path) as dataset:
            factors = dataset.overviews(1)
        if self._shrink in factors:
            return path, {"overview_level": factors.index(self._shrink)}
        return mosaic.vrt(self._sheets, self._shrink), {}

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        with self._handle() as dataset:
            return int(dataset.height), int(dataset.width)

    @contextmanager
    def _handle(self) -> Iterator[Any]:
        with self._lock:
            handle = self._handles.pop() if self._handles else None
        handle = handle or opened(self._source[0], **self._source[1])
        try:
            yield handle
        finally:
            with self._lock:
                keep = len(self._handles) < 4
                if keep:
                    self._handles.append(handle)
            if not keep:
                handle.close()

    def close(self) -> None:
        with self._lock:
            handles, self._handles = self._handles, []
        for handle in handles:
            handle.close()
        _cache.forget(self._id)

    def block(self, i: int, j: int) -> NDArray[np.float32]:
        """(<= 512, <= 512) values of block row i, column j in metres; NaN where there is none."""
        block = _cache.get((self._id, i, j))
        if block is None or (self.seen is not None and (i, j) not in self.seen):
            block = self._read(i, j)
            _cache.put((self._id, i, j), block)
        return block

    def _read(self, i: int, j: int) -> NDArray[np.float32]:
        from rasterio.errors import RasterioError
        from rasterio.windows import Window

        rows, columns = self.shape
        top, left = i * BLOCK, j * BLOCK
        window = Window(left, top, min(BLOCK, columns - left), min(BLOCK, rows - top))
        with self._handle() as dataset:
            try:
                masked = dataset.read(1, window=window, masked=True)
            except RasterioError as error:
                problem = f"The terrain raster cannot be read at row {top}, column {left}: {error.__cause__ or error}."
                raise InvalidInput(problem, "Build the twin again.") from error
            scale, offset = dataset.scales[0], dataset.offsets[0]
        values = np.asarray(masked.data, np.float32)
        if (scale, offset) != (1.0, 0.0):
            values = (values * scale + offset).astype(np.float32)
        void = ~np.isfinite(values)
        if masked.mask is not np.ma.nomask:
            void |= masked.mask
        if void.any():
            values = np.where(void, np.float32(np.nan), values)
        if self.seen is not None:
            self.seen[i, j] = _facts(values, void, top, left)
        return values

    def look(self, i: int, j: int) -> None:
        """Read a block for what `seen` is to know of it."""
        self._read(i, j)

    def window(self, top: int, left: int, rows: int, columns: int) -> NDArray[np.float32]:
        """(rows, columns) values from `top`, `left`, put together from blocks."""
        last_i, last_j = (top + rows - 1) // BLOCK, (left + columns - 1) // BLOCK
        if (top // BLOCK, left // BLOCK) == (last_i, last_j):
            i, j = top - last_i * BLOCK, left - last_j * BLOCK
            return self.block(last_i, last_j)[i : i + rows, j : j + columns]
        out = np.empty((rows, columns), np.float32)
        for i in range(top // BLOCK, last_i + 1):
            for j in range(left // BLOCK, last_j + 1):
                r0, c0 = max(top, i * BLOCK), max(left, j * BLOCK)
                r1, c1 = min(top + rows, (i + 1) * BLOCK), min(left + columns, (j + 1) * BLOCK)
                part = self.block(i, j)[r0 - i * BLOCK : r1 - i * BLOCK, c0 - j * BLOCK : c1 - j * BLOCK]
                out[r0 - top : r1 - top, c0 - left : c1 - left] = part
        return out

    def corners(self, top: IntArray, left: IntArray) -> NDArray[np.float32]:
        """(4, k) values of the cells at, right of, below, and below right of each (top, left); repeated at the rim."""
        rows, columns = self.shape
        r0, c0, r1, c1 = int(top.min()), int(left.min()), int(top.max()), int(left.max())
        r1, c1 = min(r1 + 1, rows - 1), min(c1 + 1, columns - 1)
        if (r1 - r0 + 1) * (c1 - c0 + 1) > WINDOW_CELLS:
            return self._corners_by_block(top, left)
        values = self.window(r0, c0, r1 - r0 + 1, c1 - c0 + 1)
        i, j = top - r0, left - c0
        below, right = np.minimum(i + 1, r1 - r0), np.minimum(j + 1, c1 - c0)
        return np.stack([values[i, j], values[i, right], values[below, j], values[below, right]])

    def _corners_by_block(self, top: IntArray, left: IntArray) -> NDArray[np.float32]:
        key = (top // BLOCK) * (self.shape[1] // BLOCK + 1) + left // BLOCK
        order = np.argsort(key, kind="stable")
        starts = np.flatnonzero(np.diff(key[order])) + 1
        out = np.empty((4, len(top)), np.float32)
        for chosen in np.split(order, starts):
            out[:, chosen] = self.corners(top[chosen], left[chosen])
        return out


def _facts(
    values: NDArray[np.float32], void: NDArray[np.bool_], top: int, left: int
) -> tuple[int, float, float, IntArray]:
    """Of a block: cells without a value, lowest, highest, and (<= 64, 2) row and column of some of the voids."""
    n_void = int(void.sum())
    if n_void == 0:
        return 0, float(values.min()), float(values.max()), np.zeros((0, 2), np.int64)
    some = np.argwhere(void)[:: -(-n_void // 64)] + np.array([top, left])
    if n_void == values.size:
        return n_void, np.inf, -np.inf, some
    return n_void, float(np.nanmin(values)), float(np.nanmax(values)), some


class HeightGrid:
    """Heights of one raster, or of several on one grid, in its own CRS and datum."""

    def __init__(self, sheets: Sequence[tuple[Path, mosaic.Header]], raster_crs: str) -> None:
        self.crs = crs.horizontal(raster_crs)
        self.sheets = list(sheets)
        box = self.box = mosaic.frame([header for _, header in sheets])
        shrinks = [1]
        while max(box.width, box.height) > BLOCK * shrinks[-1]:
            shrinks.append(shrinks[-1] * SHRINK)
        self.levels = [_Level(self.sheets, shrink) for shrink in shrinks]
        self._shrinks = shrinks

    @property
    def bounds(self) -> crs.Bounds:
        """West, south, east, north in the raster's CRS."""
        box = self.box
        return box.west, box.north - box.dy * box.height, box.west + box.dx * box.width, box.north

    @property
    def inner_bounds(self) -> crs.Bounds:
        """Box through the centres of the outermost cells, in the raster's CRS."""
        west, south, east, north = self.bounds
        dx, dy = self.box.dx / 2, self.box.dy / 2
        return west + dx, south + dy, east - dx, north - dy

    @cached_property
    def lonlat_bounds(self) -> crs.Bounds:
        """West, south, east, north in degrees."""
        return crs.transform_bounds(self.crs, crs.WGS84, self.bounds)

    @property
    def cell_m(self) -> float:
        """Side of a cell in metres, the shorter one."""
        size = min(self.box.dx, self.box.dy)
        return size * 111_320.0 if crs.is_geographic(self.crs) else size * crs.metres_per_unit(self.crs)

    @property
    def n_blocks(self) -> int:
        """Blocks of the raster itself."""
        return -(-self.box.width // BLOCK) * -(-self.box.height // BLOCK)

    @cached_property
    def cells_per_degree(self) -> float:
        """Cells that a degree of longitude or latitude spans in the middle, the greater number."""
        west, south, east, north = self.lonlat_bounds
        lon, lat, step = (west + east) / 2, (south + north) / 2, 1e-5
        x, y = crs.transform(crs.WGS84, self.crs, np.array([lon, lon + step, lon]), np.array([lat, lat, lat + step]))
        return float(np.hypot((x[1:] - x[0]) / self.box.dx, (y[1:] - y[0]) / self.box.dy).max()) / step

    def close(self) -> None:
        """Close the files and forget the blocks."""
        for level in self.levels:
            level.close()

    def sample(self, x: FloatArray, y: FloatArray, cell_m: float | None = None) -> tuple[FloatArray, NDArray[np.uint8]]:
        """(k,) coordinates in the raster's CRS -> (k,) heights as float32 numbers, (k,) SURVEYED, EDGE, FILLED or NONE.

        Parameters
        ----------
        cell_m : read the coarsest level whose cells are no wider; the raster itself when absent
        """
        k = 0
        if cell_m is not None:
            k = max(i for i, shrink in enumerate(self._shrinks) if i == 0 or shrink * self.cell_m <= cell_m)
        box, kinds = self.box, np.full(x.size, NONE, np.uint8)
        values = np.full(x.size, np.nan)
        with np.errstate(invalid="ignore"):
            column, row = (x - box.west) / box.dx - 0.5, (box.north - y) / box.dy - 0.5
            inside = (column >= -0.5) & (column <= box.width - 0.5) & (row >= -0.5) & (row <= box.height - 0.5)
        at = slice(None) if inside.all() else np.flatnonzero(inside)
        column, row = column[at], row[at]
        if column.size == 0:
            return values, kinds
        on_edge = (column < 0) | (column > box.width - 1) | (row < 0) | (row > box.height - 1)
        found, void = self._bilinear(k, column, row)
        kinds[at] = np.where(np.isnan(found), NONE, np.where(void, FILLED, np.where(on_edge, EDGE, SURVEYED)))
        values[at] = found.astype(np.float32)
        return values, kinds

    def _bilinear(self, k: int, column: FloatArray, row: FloatArray) -> tuple[FloatArray, NDArray[np.bool_]]:
        """At cells of level 0 (fractional): heights, and where a cell around had to be filled."""
        level = self.levels[k]
        rows, columns = level.shape
        if k:
            column = (column + 0.5) * (columns / self.box.width) - 0.5
            row = (row + 0.5) * (rows / self.box.height) - 0.5
        column, row = np.clip(column, 0, columns - 1), np.clip(row, 0, rows - 1)
        left, top = (values.astype(np.int64) for values in (column, row))
        corners = level.corners(top, left)
        void = np.isnan(corners)
        holed = void.any(axis=0)
        if holed.any():
            which, point = np.nonzero(void)
            right, below = np.minimum(left + 1, columns - 1), np.minimum(top + 1, rows - 1)
            cell_column = np.where(which % 2, right[point], left[point])
            cell_row = np.where(which // 2, below[point], top[point])
            corners[which, point] = self._fill(k, cell_column, cell_row)
        fx, fy = column - left, row - top
        a, b, c, d = corners.astype(np.float64)
        return (a * (1 - fx) + b * fx) * (1 - fy) + (c * (1 - fx) + d * fx) * fy, holed

    def _fill(self, k: int, column: IntArray, row: IntArray) -> FloatArray:
        """Heights for void cells of level k, from the first coarser level that has four values around each."""
        rows, columns = self.levels[k].shape
        u, v = (column + 0.5) / columns, (row + 0.5) / rows
        out = np.full(u.size, np.nan)
        for level in self.levels[k + 1 :]:
            todo = np.flatnonzero(np.isnan(out))
            if todo.size == 0:
                return out
            there_rows, there_columns = level.shape
            x = np.clip(u[todo] * there_columns - 0.5, 0, there_columns - 1)
            y = np.clip(v[todo] * there_rows - 0.5, 0, there_rows - 1)
            out[todo] = _blend(level.corners(y.astype(np.int64), x.astype(np.int64)), x, y)
        todo = np.flatnonzero(np.isnan(out))
        if todo.size:
            top = self._top
            x = np.clip(u[todo] * top.shape[1] - 0.5, 0, top.shape[1] - 1)
            y = np.clip(v[todo] * top.shape[0] - 0.5, 0, top.shape[0] - 1)
            i, j = y.astype(np.int64), x.astype(np.int64)
            below, right = np.minimum(i + 1, top.shape[0] - 1), np.minimum(j + 1, top.shape[1] - 1)
            out[todo] = _blend(np.stack([top[i, j], top[i, right], top[below, j], top[below, right]]), x, y)
        return out

    @cached_property
    def _top(self) -> FloatArray:
        """The coarsest level without holes; all NaN where the raster has no value at all."""
        level = self.levels[-1]
        return pull_push(level.window(0, 0, *level.shape).astype(np.float64))


def _blend(corners: NDArray[Any], column: FloatArray, row: FloatArray) -> FloatArray:
    fx, fy = column - np.floor(column), row - np.floor(row)
    a, b, c, d = corners.astype(np.float64)
    return np.asarray((a * (1 - fx) + b * fx) * (1 - fy) + (c * (1 - fx) + d * fx) * fy)


def pull_push(values: FloatArray) -> FloatArray:
    """(rows, columns) with NaN -> the same without: means of ever larger squares, blended bilinearly.

    Method: Gortler et al. 1996, "The Lumigraph", 3.3 (pull and push). Values that are there stay; what is filled lies
    between the lowest and the highest of them.
    """
    void = np.isnan(values)
    if not void.any() or void.all():
        return values
    rows, columns = values.shape
    padded = np.full((rows + rows % 2, columns + columns % 2), np.nan)
    padded[:rows, :columns] = values
    four = np.stack([padded[i::2, j::2] for i in (0, 1) for j in (0, 1)])
    count = (~np.isnan(four)).sum(axis=0)
    mean = np.where(count > 0, np.nansum(four, axis=0) / np.maximum(count, 1), np.nan)
    coarse = pull_push(mean)
    y = np.clip((np.arange(rows) - 0.5) / 2, 0, len(coarse) - 1)[:, None]
    x = np.clip((np.arange(columns) - 0.5) / 2, 0, coarse.shape[1] - 1)[None, :]
    i, j = y.astype(np.int64), x.astype(np.int64)
    below, right = np.minimum(i + 1, len(coarse) - 1), np.minimum(j + 1, coarse.shape[1] - 1)
    fx, fy = x - j, y - i
    upper = coarse[i, j] * (1 - fx) + coarse[i, right] * fx
    lower = coarse[below, j] * (1 - fx) + coarse[below, right] * fx
    return np.where(void, upper * (1 - fy) + lower * fy, values)
