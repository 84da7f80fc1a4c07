"""A square grid of heights -> the fewest right triangles that stay within an error of it. Pure.

Method: W. Evans, D. Kirkpatrick, G. Townsend, "Right-Triangulated Irregular Networks", Algorithmica 30 (2001): the
square is two right triangles, each is halved at the midpoint of its longest side, and so on. A triangle is halved where
a grid point in it or on its longest side is off by more than the error, and where a neighbour across a side needs it.
Other than in the usual form, a point is compared with the triangle itself, not with its parent's estimate, so the error
is a bound at every grid point. All border points are kept: a neighbour's triangles need not be known.

Everything that does not depend on the heights is worked out once: for each level and grid point the triangle it lies in
and its weights there, as one sparse matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class _Plan:
    """For a grid of n x n points, numbered row by row from the south-west.

    Attributes
    ----------
    triangles : (t, 3) corners of all triangles of all levels, counter-clockwise, along a space-filling curve
    halved_at, made_by : (t,) point at which a triangle is halved, point whose halving made it; n * n for none
    weights : sparse (m, n * n); a row gives, from all heights, that of a triangle's plane at a point
    point, owner : (m,) that point, and the one at which the triangle is halved
    steps : pairs from fine to coarse: (k,) points, and (4, k) of which one that is kept demands the point
    """

    triangles: IntArray
    halved_at: IntArray
    made_by: IntArray
    weights: Any
    point: IntArray
    owner: IntArray
    steps: list[tuple[IntArray, IntArray]]


def triangulate(heights: FloatArray, error: float, stored: FloatArray | None = None) -> IntArray:
    """Triangles whose planes are within `error` of every grid point.

    Parameters
    ----------
    heights : (n, n), n = 2^k + 1; rows from south to north
    error : of the same unit, > 0
    stored : (n, n) heights as the corners will have them (rounded); `heights` when absent

    Returns
    -------
    (t, 3) numbers of grid points, row by row; counter-clockwise, neighbours in the list are neighbours on the ground.
    """
    n = len(heights)
    plan = _plan(n)
    stored = heights if stored is None else stored
    active = np.zeros(n * n + 1, bool)
    active[n * n] = True
    off = plan.weights @ stored.ravel() - heights.ravel()[plan.point]
    active[plan.owner[np.abs(off) > error]] = True
    border = active[:-1].reshape(n, n)
    border[0] = border[-1] = True
    border[:, 0] = border[:, -1] = True
    for points, below in plan.steps:
        active[points] |= active[below].any(axis=0)
    return plan.triangles[active[plan.made_by] & ~_halved(active, plan)]


def _halved(active: NDArray[np.bool_], plan: _Plan) -> NDArray[np.bool_]:
    n_points = len(active) - 1
    return active[plan.halved_at] & (plan.halved_at < n_points)


@lru_cache(maxsize=4)
def _plan(n: int) -> _Plan:
    import scipy.sparse

    levels = _levels(n)
    none = n * n
    triangles, halved_at, made_by, paths = [], [], [], []
    rows: list[tuple[IntArray, FloatArray, IntArray, IntArray]] = []
    parents = np.full(2, none)
    for depth, corners in enumerate(levels):
        is_last = depth == len(levels) - 1
        middle = np.full(len(corners), none) if is_last else _middle(corners, n)
        triangles.append(corners)
        halved_at.append(middle)
        made_by.append(parents)
        paths.append(np.arange(len(corners)) << (len(levels) - 1 - depth))
        if not is_last:
            rows.append(_inside(corners, middle, n))
        parents = np.repeat(middle, 2)
    order = np.argsort(np.concatenate(paths), kind="stable")
    points, weights, used, owner = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    at = np.repeat(np.arange(len(points)), 3)
    matrix = scipy.sparse.csr_array((weights.ravel(), (at, used.ravel())), shape=(len(points), n * n))
    flat = [np.concatenate(parts)[order] for parts in (triangles, halved_at, made_by)]
    return _Plan(flat[0], flat[1], flat[2], matrix, points, owner, _steps(n))


def _levels(n: int) -> list[IntArray]:
    """Per depth (t, 3) corners: right angle first, then the ends of the longest side, counter-clockwise."""
    south_west, south_east, north_west, north_east = 0, n - 1, n * (n - 1), n * n - 1
    found = [np.array([[south_east, north_east, south_west], [north_west, south_west, north_east]])]
    while len(found[-1]) < 2 * (n - 1) ** 2:
        right, start, end = found[-1].T
        middle = _middle(found[-1], n)
        halves = np.stack([np.column_stack([middle, right, start]), np.column_stack([middle, end, right])], axis=1)
        found.append(halves.reshape(-1, 3))
    return found


def _middle(corners: IntArray, n: int) -> IntArray:
    """Midpoint of the longest side; row and column are halved apart."""
    _, start, end = corners.T
    row, column = (start // n + end // n) // 2, (start % n + end % n) // 2
    return np.asarray(row * n + column)


def _inside(corners: IntArray, middle: IntArray, n: int) -> tuple[IntArray, FloatArray, IntArray, IntArray]:
    """Grid points strictly inside triangles of one depth or on their longest sides, corners left out.

    Points, (m, 3) weights, (m, 3) corners they belong to, and where the triangle is halved. Points on the other two
    sides belong to the next depth, for which these are longest sides.
    """
    first = corners[0]
    legs = max(abs(int(first[1]) // n - int(first[0]) // n), abs(int(first[1]) % n - int(first[0]) % n))
    span = np.arange(-legs, legs + 1)
    by_row, by_column = (grid.ravel() for grid in np.meshgrid(span, span, indexing="ij"))
    out: list[tuple[IntArray, FloatArray, IntArray, IntArray]] = []
    # triangles of one depth have at most eight orientations; those of one have the same points inside
    shape = np.column_stack([corners[:, 1:] // n - corners[:, :1] // n, corners[:, 1:] % n - corners[:, :1] % n])
    for kind in np.unique(shape, axis=0):
        chosen = np.flatnonzero((shape == kind).all(axis=1))
        r1, r2, c1, c2 = (int(value) for value in kind)
        area = r1 * c2 - r2 * c1
        second = (by_row * c2 - by_column * r2) / area
        third = (by_column * r1 - by_row * c1) / area
        weight = np.column_stack([1 - second - third, second, third])
        ok = (second > 1e-9) & (third > 1e-9) & (second + third < 1 + 1e-9)
        right = corners[chosen, 0]
        points = (right[:, None] + by_row[ok] * n + by_column[ok]).ravel()
        count = int(ok.sum())
        out.append(
            (
                points,
                np.tile(weight[ok], (len(chosen), 1)),
                np.repeat(corners[chosen], count, axis=0),
                np.repeat(middle[chosen], count),
            )
        )
    points, weights, used, owner = (np.concatenate(parts) for parts in zip(*out, strict=True))
    return points, weights, used, owner


def _steps(n: int) -> list[tuple[IntArray, IntArray]]:
    """From fine to coarse: the points of a depth, and for each the four (some outside: n * n + 1 is never halved)."""
    steps = []
    half = 1
    while half < n - 1:
        # centres of squares of side 2 half: halved when a midpoint of a side is
        odd = np.arange(half, n, 2 * half)
        row, column = (grid.ravel() for grid in np.meshgrid(odd, odd, indexing="ij"))
        steps.append(_around(row, column, [(0, half), (0, -half), (half, 0), (-half, 0)], n))
        # midpoints of sides of the next larger squares: halved when a centre beside is
        wide = 2 * half
        if wide < n - 1:
            even, odd = np.arange(0, n, 2 * wide), np.arange(wide, n, 2 * wide)
            pairs = [np.meshgrid(even, odd, indexing="ij"), np.meshgrid(odd, even, indexing="ij")]
            row, column = (np.concatenate([pair[k].ravel() for pair in pairs]) for k in (0, 1))
            corners = [(half, half), (half, -half), (-half, half), (-half, -half)]
            steps.append(_around(row, column, corners, n))
        half = wide
    return steps


def _around(row: IntArray, column: IntArray, shifts: list[tuple[int, int]], n: int) -> tuple[IntArray, IntArray]:
    points = row * n + column
    around = np.empty((4, len(points)), np.int64)
    for k, (down, across) in enumerate(shifts):
        r, c = row + down, column + across
        there = (r >= 0) & (r < n) & (c >= 0) & (c < n)
        around[k] = np.where(there, r * n + c, points)  # itself: says nothing
    return points, around
