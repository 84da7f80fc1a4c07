"""What one reading of a whole elevation raster tells: its range, its holes, and its heights at the lattice points.

The lattice is that of the terrain tiles (`lattice_unit`). A tile that spans much of a raster would read all of it for
its 65 x 65 heights; so those are taken once, for the level from which on a tile touches four blocks at most, and every
coarser level is a part of them. They are kept beside the twin in `cache/terrain`, and mapped, not loaded.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import tempfile
import threading
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layers import crs
from twin.height_grid import NONE, HeightGrid
from twin.raster_blocks import BLOCK, stamp

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

INTERVALS = 64
"""Lattice lines across a tile, less one."""
VERSION = 1
TILE_CELLS = 480
"""A tile of this many cells, with one line around it and turned by a degree, touches four blocks of 512 at most."""
THREADS = 2
MOST_POINTS = 1_000_000
KEPT_S = 30 * 86_400
"""What was not used for so long is dropped."""

_lock = threading.Lock()
_known: OrderedDict[tuple[Path | None, str], Survey] = OrderedDict()


def lattice_unit(level: int) -> float:
    """Degrees between lines of the lattice of a level, in longitude from -180 and in latitude from -90.

    45 times a power of two: every place on the lattice is an exact float64, the same at every level.
    """
    return 180.0 / (INTERVALS << level)


@dataclass(frozen=True)
class Survey:
    """Facts of one raster, heights in its own datum.

    Attributes
    ----------
    low_m, high_m : lowest and highest cell; inf and -inf for a raster without any value
    n_void : cells without a value
    voids : (k, 2) x and y of some of them in the raster's CRS, spread over the raster
    level : of the lattice that is kept, or -1 for none
    column, row : of its first point
    values : (rows, columns) float32 heights, holes filled; NaN outside
    kinds : (rows, columns) as `HeightGrid.sample` gives them
    """

    low_m: float
    high_m: float
    n_void: int
    voids: FloatArray
    level: int
    column: int
    row: int
    values: NDArray[np.float32]
    kinds: NDArray[np.uint8]

    def at(self, level: int, columns: IntArray, rows: IntArray) -> tuple[FloatArray, NDArray[np.uint8]]:
        """Heights and kinds at (n,) columns and (m,) rows of a lattice no finer than the kept one, each (m, n)."""
        shift = self.level - level
        i, j = (rows << shift) - self.row, (columns << shift) - self.column
        there_i, there_j = (i >= 0) & (i < len(self.values)), (j >= 0) & (j < self.values.shape[1])
        values, kinds = np.full((len(i), len(j)), np.nan), np.full((len(i), len(j)), NONE, np.uint8)
        into, out_of = np.ix_(there_i, there_j), np.ix_(i[there_i], j[there_j])
        values[into], kinds[into] = self.values[out_of], self.kinds[out_of]
        return values, kinds


def kept_level(grid: HeightGrid) -> int:
    """The finest level whose tiles span more than `TILE_CELLS` cells; -1 if not even those of level 0 do.

    Also -1 for a raster whose box of degrees is far larger than itself (across the date line, at a pole): most of the
    lattice there would be empty.
    """
    tiles_a_half_turn = 180.0 * grid.cells_per_degree / TILE_CELLS
    if tiles_a_half_turn <= 1:
        return -1
    level = math.ceil(math.log2(tiles_a_half_turn)) - 1
    west, south, east, north = grid.lonlat_bounds
    points = (east - west) * (north - south) / lattice_unit(level) ** 2
    return level if points <= MOST_POINTS + grid.box.width * grid.box.height / 4 else -1


def survey(grid: HeightGrid, folder: Path | None, *, with_lattice: bool) -> Survey:
    """The facts: known in this process, kept in `folder`, or read now (all blocks, once)."""
    level = kept_level(grid) if with_lattice else -1
    key = _key(grid, level)
    with _lock:  # whoever comes meanwhile waits for the same reading
        if (folder, key) in _known:
            _known.move_to_end((folder, key))
            return _known[folder, key]
        found = None if folder is None else _load(folder, key)
        if found is None:
            found = _read(grid, level)
            if folder is not None:
                _save(folder, key, found)
                found = _load(folder, key) or found  # mapped from now on
        _known[folder, key] = found
        while len(_known) > 256:
            _known.popitem(last=False)
        return found


def _key(grid: HeightGrid, level: int) -> str:
    said: list[Any] = [VERSION, level, grid.crs]
    for path, header in grid.sheets:
        said += [path.name, *stamp(path), header]
    return hashlib.sha256(repr(said).encode()).hexdigest()[:24]


def _read(grid: HeightGrid, level: int) -> Survey:
    full = grid.levels[0]
    full.seen = {}
    try:
        column, row, values, kinds = _lattice(grid, level) if level >= 0 else (0, 0, _none(np.float32), _none(np.uint8))
        rows, columns = full.shape
        for i in range(-(-rows // BLOCK)):
            for j in range(-(-columns // BLOCK)):
                if (i, j) not in full.seen:
                    full.look(i, j)
        facts = list(full.seen.values())
    finally:
        full.seen = None
    cells = np.concatenate([each[3] for each in facts]).astype(np.float64)
    box = grid.box
    voids = np.column_stack([box.west + (cells[:, 1] + 0.5) * box.dx, box.north - (cells[:, 0] + 0.5) * box.dy])
    low, high = min(each[1] for each in facts), max(each[2] for each in facts)
    return Survey(low, high, sum(each[0] for each in facts), voids, level, column, row, values, kinds)


def _none(dtype: Any) -> NDArray[Any]:
    return np.zeros((0, 0), dtype)


def _lattice(grid: HeightGrid, level: int) -> tuple[int, int, NDArray[np.float32], NDArray[np.uint8]]:
    """First column and row, heights and kinds at every lattice point within the raster's bounds."""
    west, south, east, north = grid.lonlat_bounds
    unit = lattice_unit(level)
    j0, i0 = math.floor((west + 180) / unit), math.floor((south + 90) / unit)
    j1, i1 = math.ceil((east + 180) / unit) + 1, math.ceil((north + 90) / unit) + 1
    values, kinds = np.full((i1 - i0, j1 - j0), np.nan, np.float32), np.full((i1 - i0, j1 - j0), NONE, np.uint8)

    def take(corner: tuple[int, int]) -> None:
        i, j = corner
        part = slice(i, i + INTERVALS), slice(j, j + INTERVALS)
        rows, columns = np.arange(i0, i1)[part[0]], np.arange(j0, j1)[part[1]]
        lon, lat = np.meshgrid(columns * unit - 180, rows * unit - 90)
        x, y = crs.transform(crs.WGS84, grid.crs, lon.ravel(), lat.ravel())
        found, kind = grid.sample(x, y)
        values[part], kinds[part] = found.reshape(lon.shape), kind.reshape(lon.shape)

    corners = [(i, j) for i in range(0, i1 - i0, INTERVALS) for j in range(0, j1 - j0, INTERVALS)]
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(take, corners):
            pass
    return j0, i0, values, kinds


def _save(folder: Path, key: str, found: Survey) -> None:
    """Keep it, and drop what was last used long ago; a full or read-only disk is no error."""
    facts = {"low_m": found.low_m, "high_m": found.high_m, "n_void": found.n_void, "level": found.level}
    facts |= {"column": found.column, "row": found.row}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        oldest = time.time() - KEPT_S
        for facts_file in [each for each in folder.glob("*.json") if each.stat().st_mtime < oldest]:
            for part in folder.glob(f"{facts_file.stem}.*"):
                part.unlink()
        for name, array in (("voids", found.voids), ("values", found.values), ("kinds", found.kinds)):
            with tempfile.NamedTemporaryFile(dir=folder, prefix=".", delete=False) as out:
                np.save(out, array)
            Path(out.name).replace(folder / f"{key}.{name}.npy")
        with tempfile.NamedTemporaryFile("w", dir=folder, prefix=".", delete=False) as text:
            json.dump(facts, text)
        Path(text.name).replace(folder / f"{key}.json")
    except OSError:
        return


def _load(folder: Path, key: str) -> Survey | None:
    with contextlib.suppress(OSError, ValueError):
        facts_file = folder / f"{key}.json"
        facts = json.loads(facts_file.read_text())
        with contextlib.suppress(OSError):
            os.utime(facts_file)
        arrays: dict[str, Any] = {"voids": np.load(folder / f"{key}.voids.npy")}
        for name in ("values", "kinds"):
            path = folder / f"{key}.{name}.npy"
            arrays[name] = np.load(path, mmap_mode="r") if facts["level"] >= 0 else np.load(path)
        return Survey(**facts, **arrays)
    return None
