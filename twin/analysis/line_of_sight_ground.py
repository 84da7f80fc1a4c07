"""The ground under a straight line: its heights where the line crosses the lattice of cell centres.

Between two neighbouring centres of a row or a column the ground is linear; where a line passes over a centre itself,
only that centre counts. The viewshed (`viewshed_sight`) has the same definition, so that both say the same.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin.analysis.elevation import Cells, Grid

FloatArray = NDArray[np.float64]

ON_CENTRE = 1e-9
"""Shares of a cell that are this near to a centre are on it."""


@dataclass(frozen=True)
class Crossings:
    """Crossings of lines with the lattice, strictly between their ends, each line's in order.

    Attributes
    ----------
    line : (n,) which line
    at_m : (n,) distance from its start
    ground_m : (n,) heights; NaN where one that has weight is missing
    spread_m2 : (n,) f (1 - f) s**2 for the share f of a stretch of length s: how much the square of the distance, taken
        linearly between two centres, is too great
    """

    line: NDArray[np.int64]
    at_m: FloatArray
    ground_m: FloatArray
    spread_m2: FloatArray


def crossings(cells: Cells, grid: Grid, start: FloatArray, end: FloatArray) -> Crossings:
    """(k, 2) starts and ends, east and north -> crossings of the k lines with rows and columns of cell centres."""
    a = np.column_stack([(start[:, 0] - grid.west) / grid.dx - 0.5, (grid.north - start[:, 1]) / grid.dy - 0.5])
    b = np.column_stack([(end[:, 0] - grid.west) / grid.dx - 0.5, (grid.north - end[:, 1]) / grid.dy - 0.5])
    length = np.hypot(*(np.asarray(end) - start).T)
    parts = [_with_lines(a, b, axis) for axis in (0, 1)]
    line, share, aside, on, is_column = (np.concatenate([each[i] for each in parts]) for i in range(5))
    order = np.lexsort((share, line))
    line, share, aside, on, is_column = (each[order] for each in (line, share, aside, on, is_column))
    low = np.floor(aside + ON_CENTRE)
    part = aside - low
    part = np.where(np.abs(part) <= ON_CENTRE, 0.0, part)
    first, column = low.astype(np.int64), is_column.astype(bool)
    on = on.astype(np.int64)
    near = cells(np.where(column, first, on), np.where(column, on, first))
    is_between = part > 0
    far = np.zeros(len(near))
    if is_between.any():
        second = (first + 1)[is_between]
        far[is_between] = cells(
            np.where(column[is_between], second, on[is_between]), np.where(column[is_between], on[is_between], second)
        )
    ground = np.where(is_between, near + part * (far - near), near)
    spread = part * (1 - part) * np.where(column, grid.dy, grid.dx) ** 2
    return Crossings(line.astype(np.int64), share * length[line.astype(np.int64)], ground, spread)


def _with_lines(a: FloatArray, b: FloatArray, axis: int) -> tuple[FloatArray, ...]:
    """Crossings with columns (axis 0) or rows (1): line, share of its length, place along the lattice line, its number,
    whether it is a column.
    """
    first, last = np.minimum(a[:, axis], b[:, axis]), np.maximum(a[:, axis], b[:, axis])
    low, high = np.floor(first + ON_CENTRE) + 1, np.ceil(last - ON_CENTRE) - 1
    count = np.maximum(high - low + 1, 0).astype(np.int64)
    line = np.repeat(np.arange(len(a)), count)
    on = np.arange(len(line)) - np.repeat(np.cumsum(count) - count, count) + low[line]
    share = (on - a[line, axis]) / (b[line, axis] - a[line, axis])
    other = 1 - axis
    aside = a[line, other] + share * (b[line, other] - a[line, other])
    return line.astype(float), share, aside, on, np.full(len(line), float(axis == 0))


@dataclass(frozen=True)
class Sights:
    """What the ground does to lines of sight.

    Attributes
    ----------
    over_m : (k,) by how much the ground rises most over the line, less than 0 where it stays below; -inf where nothing
        is known between
    at_m : (k,) where that is
    first_m : (k,) where the line first meets the ground; NaN where it does not
    missing : (k,) share of crossings without a height
    """

    over_m: FloatArray
    at_m: FloatArray
    first_m: FloatArray
    missing: FloatArray


def over_line(
    found: Crossings, eye_m: FloatArray, target_m: FloatArray, length_m: FloatArray, bend: float
) -> FloatArray:
    """(n,) heights of the ground over the sight line at crossings; `eye_m`, `target_m`, `length_m`: (k,) of lines.

    The ground drops by bend * d**2 at the distance d, the target as well: at d of D the line has bend * d (D - d) less
    room than on a plane.
    """
    d, whole = found.at_m, length_m[found.line]
    line = eye_m[found.line] + (target_m - eye_m)[found.line] * d / whole
    over: FloatArray = found.ground_m - line + bend * (d * (whole - d) - found.spread_m2)
    return over


def sights(found: Crossings, over_m: FloatArray, n_lines: int, same_m: float) -> Sights:
    """Crossings and what the ground is over each line there -> the worst and the first place of `n_lines` lines."""
    worst, at, first = np.full(n_lines, -np.inf), np.full(n_lines, np.nan), np.full(n_lines, np.nan)
    is_known = ~np.isnan(over_m)
    np.maximum.at(worst, found.line[is_known], over_m[is_known])
    for mark, into in ((over_m == worst[found.line], at), (over_m > same_m, first)):
        rows = np.flatnonzero(mark & is_known)[::-1]  # of several, the first is written last
        into[found.line[rows]] = found.at_m[rows]
    n = np.bincount(found.line, minlength=n_lines)
    n_missing = np.bincount(found.line[~is_known], minlength=n_lines)
    return Sights(worst, at, first, n_missing / np.maximum(n, 1))
