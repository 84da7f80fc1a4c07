"""Which cells of a grid of heights an eye sees: for each cell the sight line, exactly, on two threads.

Definition. The eye stands over the centre of a cell, each target over the centre of its own. The sight line is held
against the ground wherever it crosses a line that joins neighbouring cell centres of a row or of a column, between eye
and target; there the ground is linear between the two centres. A cell is seen if at no crossing the ground is higher
than the line; a line that only touches passes (`SAME_M`). Heights count less by the drop d**2 (1 - k) / 2R at their
distance d from the eye, so who sees whom is the same both ways. A stretch between two centres of which one has no
height is not known: a cell whose line meets such a stretch, and that is not hidden by what is known, is unknown.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

EARTH_M = 6_371_000.0
REFRACTION_K = 0.13
"""Share of the earth's curvature that a ray of light follows (Gauss)."""
SAME_M = 1e-6

SEEN, HIDDEN, UNKNOWN, OUTSIDE = 1, 0, 2, 255
WEDGES = 64
"""Of a quarter of view. A power of two: their edges are then exact."""


def bend_per_m(refraction_k: float = REFRACTION_K, *, is_curved: bool = True) -> float:
    """What the ground falls off a level sight line, over the square of the distance: (1 - k) / 2R, per metre."""
    return (1.0 - refraction_k) / (2.0 * EARTH_M) if is_curved else 0.0


def viewshed(
    heights_m: NDArray[np.floating[Any]],
    row: int,
    column: int,
    eye_elev_m: float,
    *,
    dx: float,
    dy: float,
    reach_m: float,
    target_m: float = 0.0,
    bend: float = 0.0,
    tell: Callable[[float], None] | None = None,
) -> NDArray[np.uint8]:
    """(rows, columns) heights -> (rows, columns) SEEN, HIDDEN, UNKNOWN, or OUTSIDE of `reach_m` (cell centres, <=).

    Parameters
    ----------
    heights_m : what hides and what is looked at, float64 or float32; NaN where it is not known
    row, column : of the cell that the eye is over
    eye_elev_m : height of the eye, in the frame of `heights_m`
    dx, dy : sides of a cell, metres
    target_m : targets stand so high over `heights_m`
    bend : see `bend_per_m`
    tell : gets the share done, 0 to 1, from this thread; may raise

    The eye's own cell is seen. Memory: a byte a cell beside the heights, two where some are NaN.
    """
    if 1 in heights_m.shape:  # a line of cells has no stretches aside: a second one like it changes nothing
        wide = np.pad(heights_m, [(0, int(n == 1)) for n in heights_m.shape], mode="edge")
        both = viewshed(wide, row, column, eye_elev_m, dx=dx, dy=dy, reach_m=reach_m, target_m=target_m, bend=bend)
        return both[: heights_m.shape[0], : heights_m.shape[1]]
    has_void = bool(np.isnan(heights_m).any())
    tell = tell or (lambda _: None)
    share = 0.5 if has_void else 1.0
    given = (
        heights_m,
        row,
        column,
        float(eye_elev_m),
        float(dx),
        float(dy),
        float(reach_m),
        float(target_m),
        float(bend),
    )
    seen = _swept(given, -np.inf, lambda done: tell(done * share))
    if has_void:
        sure = _swept(given, np.inf, lambda done: tell(0.5 + done * share))
        seen[(seen != OUTSIDE) & ((seen != sure) | np.isnan(heights_m))] = UNKNOWN
    return seen


def _swept(given: tuple[Any, ...], void: float, tell: Callable[[float], None]) -> NDArray[np.uint8]:
    from twin.analysis.viewshed_sweep import sweep

    heights, row, column, eye, dx, dy, reach, target, bend = given
    out = np.full(heights.shape, OUTSIDE, np.uint8)
    out[row, column] = SEEN

    def run(task: tuple[int, int, int]) -> None:
        quarter, first, last = task
        seen_from = (_turned(heights, quarter, row, column), _turned(out, quarter, row, column))
        t0, squares = (row, (dx * dx, dy * dy)) if quarter < 2 else (column, (dy * dy, dx * dx))
        wedges, eyes = (first, last, WEDGES), (eye, eye + SAME_M)
        sweep(*seen_from, t0, wedges, quarter < 2, eyes, target, squares, bend, reach, void)

    tasks = list(_tasks())
    with ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        for done, _ in enumerate(pool.map(run, tasks), 1):
            tell(done / len(tasks))
    return out


def _tasks(step: int = 4) -> Iterator[tuple[int, int, int]]:
    for quarter in range(4):
        for first in range(0, WEDGES, step):
            yield quarter, first, first + step


def _turned(values: NDArray[Any], quarter: int, row: int, column: int) -> NDArray[Any]:
    """A view whose rows go away from the eye: east, west, south, north."""
    if quarter < 2:
        return (values[:, column:] if quarter == 0 else values[:, column::-1]).T
    return values[row:] if quarter == 2 else values[row::-1]
