"""Where water flows over a grid of heights, and what lies above an outlet: the numeric part of watershed, no city.

Pits are filled to the height at which they spill (Barnes, Lehman & Mulla 2014, "Priority-flood", Computers &
Geosciences 62, with a queue for what lies in pits); each cell then flows to the steepest of its eight neighbours on the
filled ground (O'Callaghan & Mark 1984), a diagonal step being longer. On flats and in filled pits, where none is
lower, it flows to the cell from which the flood reached it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from layers.errors import InvalidInput
from twin.analysis.progress import SILENT, Progress

FloatArray = NDArray[np.float64]
IntArray32 = NDArray[np.int32]

DR = (0, 1, 1, 1, 0, -1, -1, -1)
DC = (1, 1, 0, -1, -1, -1, 0, 1)
"""Rows and columns of the directions 0 to 7: east, south-east, south and so on, clockwise, to north-east."""
OUT, NONE = 8, 255
"""Directions of a cell that flows out of the grid or into a void, and of a void."""
_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class Flow:
    """Flow over a grid of (rows, columns).

    Attributes
    ----------
    filled_m : (rows, columns) heights with pits filled; NaN in voids
    way : (rows, columns) uint8 direction 0 to 7, OUT or NONE
    cells_above : (rows, columns) int32 cells that flow through a cell, the cell itself not counted
    taken : (m,) cells (row x columns + column), each after the one it flows to
    n_filled, deepest_fill_m : cells that were raised, and the most any was
    """

    filled_m: FloatArray
    way: NDArray[np.uint8]
    cells_above: IntArray32
    taken: IntArray32
    n_filled: int
    deepest_fill_m: float

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns."""
        rows, columns = self.way.shape
        return rows, columns


def flow(heights_m: FloatArray, dx: float = 1.0, dy: float = 1.0, progress: Progress = SILENT) -> Flow:
    """(rows, columns) heights, NaN where there is none, cells dx by dy metres -> Flow.

    Water leaves by the rim and into voids, but a cell there with a lower neighbour flows to that.

    Raises
    ------
    InvalidInput
        There is no height at all.
    """
    from twin.analysis import watershed_kernel as compiled

    rows, columns = heights_m.shape
    z = np.array(heights_m, np.float64, order="C").ravel()
    n = z.size
    way = np.empty(n, np.uint8)
    # pages of these are only touched as far as they are needed
    heap, ages, cells = np.empty(n), np.empty(n, np.int32), np.empty(n, np.int32)
    queue, taken = np.empty(n, np.int32), np.empty(n, np.int32)
    size = compiled.start(z, rows, columns, way, heap, ages, cells)
    if size == 0:
        raise InvalidInput("dem has no height here.")
    at, deepest = np.array([size, size, 0, 0, 0, 0], np.int64), 0.0
    while at[0] > 0 or at[2] < at[3]:
        found = compiled.take(z, rows, columns, way, heap, ages, cells, queue, taken, at, _AT_ONCE)
        deepest = max(deepest, found)
        progress(70.0 * float(at[4]) / n, "filling")
    taken = taken[: at[4]]
    del heap, ages, cells, queue
    diagonal = float(np.hypot(dx, dy))
    lengths = np.array([dx, diagonal, dy, diagonal] * 2)
    step = max(1, _AT_ONCE // columns)
    for first in range(0, rows, step):
        compiled.steepest(z, rows, columns, way, lengths, first, min(first + step, rows))
        progress(70.0 + 20.0 * first / rows, "directions")
    above = np.zeros(n, np.int32)
    compiled.accumulate(way, columns, taken, above)
    progress(100.0, "accumulation")
    shape = (rows, columns)
    return Flow(z.reshape(shape), way.reshape(shape), above.reshape(shape), taken, int(at[5]), float(deepest))


def basins(made: Flow, outlets: NDArray[np.int64]) -> IntArray32:
    """(k, 2) rows and columns of outlets -> (rows, columns) labels: k + 1 in the basin of outlet k, 0 elsewhere.

    Where basins lie in each other, a cell belongs to the first outlet on its way down.
    """
    from twin.analysis import watershed_kernel as compiled

    labels = np.zeros(made.shape, np.int32)
    labels[outlets[:, 0], outlets[:, 1]] = np.arange(1, len(outlets) + 1)
    compiled.label(made.way.ravel(), made.shape[1], made.taken, labels.ravel())
    return labels


def sub_basins(made: Flow, outlet: tuple[int, int], least_cells: int) -> IntArray32:
    """(rows, columns) labels of the parts of an outlet's basin, 0 outside it; together they are the basin.

    A cell with `least_cells` or more flowing out of it is a stream; each stretch of stream between confluences has a
    part: all that reaches it first. Label 1 is the part at the outlet.
    """
    from twin.analysis import watershed_kernel as compiled

    labels = basins(made, np.array([outlet]))
    labels[outlet] = 2  # told apart from the basin's other cells
    flat, way, columns = labels.ravel(), made.way.ravel(), made.shape[1]
    joins = np.zeros(flat.size, np.uint8)
    compiled.confluences(way, columns, made.cells_above.ravel(), flat, least_cells, joins)
    compiled.pours(way, columns, made.cells_above.ravel(), flat, least_cells, joins, 1)
    compiled.label(way, columns, made.taken, flat)
    return labels


def is_open(made: Flow, labels: IntArray32, outlet: tuple[int, int]) -> bool:
    """Whether a basin (labels > 0) meets the rim or a void beside its outlet, so that more may flow into it."""
    inside = labels > 0
    inside[outlet] = False
    if inside[0].any() or inside[-1].any() or inside[:, 0].any() or inside[:, -1].any():
        return True
    void = made.way == NONE
    if not void.any():
        return False
    from scipy.ndimage import binary_dilation

    return bool((binary_dilation(void, np.ones((3, 3))) & inside).any())
