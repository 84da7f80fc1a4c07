"""Blocks of 512 cells of elevation rasters, at each of their resolutions, with a small cache for all of a process."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layers.errors import InvalidInput
from twin import mosaic

IntArray = NDArray[np.int64]

BLOCK = 512
BLOCKS_KEPT = 96
"""Of 512 x 512 float32: 100 MB for all rasters of a process."""
PRINTED_BYTES = 1 << 16
WINDOW_CELLS = 2_500_000
"""Points within so many cells are looked up in one window; others block by block."""


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


def stamp(path: Path) -> tuple[int, int, str]:
    """Size, time and a print of both ends of a file. InvalidInput where there is none.

    The time alone is too coarse for a file that is written anew at once; the index of a TIFF's blocks is at an end.
    """
    try:
        status = path.stat()
        with path.open("rb") as file:
            said = hashlib.sha256(file.read(PRINTED_BYTES))
            file.seek(max(0, status.st_size - PRINTED_BYTES))
            said.update(file.read(PRINTED_BYTES))
    except OSError as error:
        raise InvalidInput(f"The terrain raster {path.name} cannot be read.", "Build the twin again.") from error
    return status.st_size, status.st_mtime_ns, said.hexdigest()[:16]


@lru_cache(maxsize=4096)
def _header(path: Path, _: tuple[int, int, str]) -> mosaic.Header:
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


class Level:
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
        """Close the files and forget the blocks."""
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
