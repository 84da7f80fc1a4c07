"""Where water of a level stands that comes from given cells: the numeric part of flood-inundation, without a city.

Heights stream by in strips of rows, read one ahead in a second thread; what is kept is one byte a cell and 24
bytes a run of wet cells.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.ellipsoid_area import areas_m2
from twin.analysis.elevation import Grid
from twin.analysis.flood_inundation_cells import once
from twin.analysis.progress import SILENT, Progress
from twin.analysis.verdict import SAME

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
IntArray32 = NDArray[np.int32]
Depths = NDArray[np.float32]
Read = Callable[[int, int, int, int], FloatArray]
"""Top, left, rows, columns of a window -> its heights, NaN where there is none."""

DRY, WET, VOID, FLOODED, TOUCHED = 0, 1, 2, 3, 4
"""States of a cell, one byte: ground at or above the level; below it; without a value; reached by the water; without a
value and beside water."""
STRIP = 512
"""Rows of one reading: those of a raster's blocks."""
BAND = 128
_NODES = 33
_NODE_M = 256.0
FLOAT32 = 2.0**-24
"""Half a step of a number of 24 bits: heights are stored so, and a level that equals one on paper must equal it."""


@dataclass(frozen=True)
class Water:
    """Water on a grid.

    Attributes
    ----------
    state : (rows, columns) uint8: 0 dry, 1 below the level but not reached, 2 no height, 3 flooded, 4 no height and
        beside the water
    n_cells, volume_m3, max_depth_m : of the flooded cells; the volume on the plane
    area_plane_m2, area_m2 : on the plane of the CRS, and on the ellipsoid
    seed_state : (k,) state of each seed's cell; 255 outside the grid
    n_void, n_rim : cells without height beside the water, and flooded cells on the rim: where it may go on
    """

    state: NDArray[np.uint8]
    n_cells: int
    volume_m3: float
    max_depth_m: float
    area_plane_m2: float
    area_m2: float
    seed_state: NDArray[np.uint8]
    n_void: int
    n_rim: int

    @property
    def is_open(self) -> bool:
        """Whether the water reaches the end of what is known: it may go on there."""
        return self.n_void + self.n_rim > 0


def tolerance_m(level_m: float) -> float:
    """Heights less than this below a level are equal to it: 1e-6 m, or half a step of float32 where that is more."""
    return max(SAME, abs(level_m) * FLOAT32)


def water(
    read: Read,
    grid: Grid,
    level_m: float,
    seeds: IntArray | None,
    progress: Progress = SILENT,
) -> Water:
    """Cells below a level that are joined to seeds by their sides (4 neighbours), and how much water stands there.

    Parameters
    ----------
    read : heights of a window, metres, NaN where there is none
    level_m : a cell whose ground equals it (`tolerance_m`) is dry
    seeds : (k, 2) rows and columns, which may lie outside; None floods every cell below the level (plain threshold)

    Returns
    -------
    Water, with volume = sum of (level - ground) x plane area of a cell.

    Notes
    -----
    Components by runs and union-find: Rosenfeld & Pfaltz 1966, "Sequential operations in digital picture processing";
    He, Chao & Suzuki 2008, "A run-based two-scan labeling algorithm". Void cells are walls.
    """
    from twin.analysis import flood_inundation_kernel as compiled

    rows, columns = grid.shape
    state = np.empty((rows, columns), np.uint8)
    order, inside = _sorted_seeds(seeds, grid)
    found = np.full(len(order), -1, np.int64)
    above = np.full(columns, -1, np.int32)
    runs, n_runs, seed = _Runs(), 0, 0
    for top, z in strips(read, grid):
        runs.make_room(n_runs + len(z) * (columns // 2 + 1))
        n_runs, seed = compiled.scan(
            z, level_m, tolerance_m(level_m), state[top : top + len(z)], above, n_runs, *runs.all, order, found, seed,
            top,
        )  # fmt: skip
        progress(80.0 * (top + len(z)) / rows, "water")
    is_in = np.full(n_runs, seeds is None, np.bool_)
    is_in[found[found >= 0]] = True
    compiled.fold(runs.parent, n_runs, runs.cells, runs.depth, runs.deepest, is_in)
    roots = np.flatnonzero((runs.parent[:n_runs] == np.arange(n_runs)) & is_in)
    n_cells, area_m2 = _marked(state, is_in, grid, progress.part(80, 100))
    n_void, n_rim = compiled.shores(state)
    seed_state = np.full(0 if seeds is None else len(seeds), 255, np.uint8)
    if seeds is not None:
        seed_state[inside] = state[seeds[inside, 0], seeds[inside, 1]]
    return Water(
        state, n_cells, float(runs.depth[roots].sum()) * grid.cell_area_m2,
        float(runs.deepest[roots].max(initial=0.0)), n_cells * grid.cell_area_m2, area_m2, seed_state, int(n_void),
        int(n_rim),
    )  # fmt: skip


class _Runs:
    """What is known of runs: joined with which, cells, sum of depths, greatest depth. Grows by halves."""

    def __init__(self) -> None:
        self.parent, self.cells = np.empty(0, np.int32), np.empty(0, np.int32)
        self.depth, self.deepest = np.empty(0, np.float64), np.empty(0, np.float64)

    @property
    def all(self) -> tuple[IntArray32, IntArray32, FloatArray, FloatArray]:
        return self.parent, self.cells, self.depth, self.deepest

    def make_room(self, n: int) -> None:
        if n <= len(self.parent):
            return
        size = max(n, len(self.parent) * 3 // 2)
        for name in ("parent", "cells", "depth", "deepest"):  # one by one: only one is there twice
            old = getattr(self, name)
            new = np.empty(size, old.dtype)
            new[: len(old)] = old
            setattr(self, name, new)


def strips(read: Read, grid: Grid, only: NDArray[np.bool_] | None = None) -> Iterator[tuple[int, FloatArray]]:
    """First row and heights of strip after strip, the next one being read meanwhile; only those chosen, where given."""
    tops = [top for number, top in enumerate(range(0, grid.height, STRIP)) if only is None or only[number]]
    with ThreadPoolExecutor(1) as reader:
        waiting = None
        for top in [*tops, None]:
            new = None
            if top is not None:
                new = (top, reader.submit(read, top, 0, min(STRIP, grid.height - top), grid.width))
            if waiting is not None:
                yield waiting[0], np.ascontiguousarray(waiting[1].result(), np.float64)
            waiting = new


def depth_strips(
    read: Read, grid: Grid, level_m: float, state: NDArray[np.uint8], progress: Progress = SILENT
) -> Iterator[tuple[int, Depths]]:
    """First row and (rows, columns) float32 metres of water of each strip, NaN where there is none.

    Strips that hold water are read once more.
    """
    tops = range(0, grid.height, STRIP)
    needed = np.array([bool((state[top : top + STRIP] == FLOODED).any()) for top in tops])
    heights = strips(read, grid, needed)
    for number, top in enumerate(tops):
        part = state[top : top + STRIP] == FLOODED
        out = np.full(part.shape, np.nan, np.float32)
        if needed[number]:
            _, z = next(heights)
            out[part] = level_m - z[part]
        yield top, out
        progress(100.0 * (top + len(out)) / grid.height, "depth")


def depths(read: Read, grid: Grid, level_m: float, state: NDArray[np.uint8], progress: Progress = SILENT) -> Depths:
    """(rows, columns) float32 metres of water, NaN where there is none."""
    whole = np.empty(grid.shape, np.float32)
    for top, part in depth_strips(read, grid, level_m, state, progress):
        whole[top : top + len(part)] = part
    return whole


def _sorted_seeds(seeds: IntArray | None, grid: Grid) -> tuple[IntArray, IntArray]:
    """Seeds inside the grid in reading order, each once; and which of all lie inside."""
    if seeds is None:
        return np.empty((0, 2), np.int64), np.empty(0, np.int64)
    rows, columns = seeds[:, 0], seeds[:, 1]
    inside = np.flatnonzero((rows >= 0) & (rows < grid.height) & (columns >= 0) & (columns < grid.width))
    cells = once(rows[inside] * grid.width + columns[inside])
    return np.stack([cells // grid.width, cells % grid.width], axis=1), inside


def _marked(state: NDArray[np.uint8], is_in: NDArray[np.bool_], grid: Grid, progress: Progress) -> tuple[int, float]:
    """Mark the flooded cells; how many, and their area on the ellipsoid."""
    from twin.analysis import flood_inundation_kernel as compiled

    run, n_cells, area_m2 = 0, 0, 0.0
    for top in range(0, grid.height, BAND):
        band = state[top : top + BAND]
        counts = np.zeros(grid.width, np.int64)
        run = compiled.mark(band, run, is_in, counts)
        n = int(counts.sum())
        if n:
            n_cells += n
            area_m2 += float(counts @ cell_areas_m2(grid, top, len(band)))
        progress(100.0 * (top + len(band)) / grid.height, "water")
    return n_cells, area_m2


def cell_areas_m2(grid: Grid, top: int, rows: int) -> FloatArray:
    """(columns,) areas on the ellipsoid of one cell of each column, in the middle of some rows.

    Between 33 columns it is interpolated: the scale of a projection is smooth (error below 1e-8 for 20 km).
    """
    y = grid.north - (top + rows / 2) * grid.dy
    x = np.linspace(grid.west + grid.dx / 2, grid.west + (grid.width - 0.5) * grid.dx, _NODES)
    half = _NODE_M / 2
    areas = areas_m2(shapely.box(x - half, y - half, x + half, y + half), grid.crs)
    areas *= grid.cell_area_m2 / _NODE_M**2
    found: FloatArray = np.interp(grid.x(np.arange(grid.width)), x, areas)
    return found
