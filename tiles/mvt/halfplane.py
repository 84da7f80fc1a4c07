"""Rings cut by the sides of a square, all rings at once. Pure.

A ring that crosses a straight line twice and has no point on it is cut into one piece: the points inside, closed along
the line. That is the part of its polygon on that side, by the even-odd rule also where the ring crosses itself. Rings
that cross more often, or touch, are left to GEOS.
"""

import numpy as np
from numpy.typing import NDArray

from tiles.mvt.encode import taken
from twin.store.wkb_paths import Paths

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
Flags = NDArray[np.bool_]


def cut(rings: Paths, low: float, high: float) -> tuple[Paths, Flags]:
    """What of open rings without holes lies between `low` and `high` on both axes; True for rings left undecided.

    Where two rings share an edge, they are cut at the same place to the last bit.
    """
    undecided = np.zeros(len(rings.rows), bool)
    left = Paths(rings.xy, rings.starts, np.arange(len(rings.rows)), rings.kinds, rings.is_outer)
    for axis in (0, 1):
        for limit, sign in ((low, 1.0), (high, -1.0)):
            if len(left.rows):
                left, odd = _side(left, axis, limit, sign)
                undecided[odd] = True
    return Paths(left.xy, left.starts, rings.rows[left.rows], left.kinds, left.is_outer), undecided


def _side(rings: Paths, axis: int, limit: float, sign: float) -> tuple[Paths, IntArray]:
    """Rings on one side of a line, and the rows of those that one cut does not settle."""
    starts, last = rings.starts[:-1], rings.starts[1:] - 1
    depth = (rings.xy[:, axis] - limit) * sign
    inside = depth > 0
    after = np.arange(1, len(depth) + 1)
    after[last] = starts
    leaves, enters = inside & ~inside[after], inside[after] & ~inside
    n_leaves = np.add.reduceat(leaves.view(np.int8), starts, dtype=np.int64)
    odd = (n_leaves > 1) | np.logical_or.reduceat(depth == 0, starts)
    gone = odd | ((n_leaves == 0) & ~inside[starts])
    if gone.any():
        kept = np.flatnonzero(~gone)
        rest = taken(rings, kept)
        return (_side(rest, axis, limit, sign)[0] if len(kept) else rest), rings.rows[odd]
    out_at, in_at = np.flatnonzero(leaves), np.flatnonzero(enters)  # one of each in each ring that is cut
    if not len(out_at):
        return rings, rings.rows[:0]
    counts = inside.astype(np.int64)
    counts[out_at] += 2
    ends = np.cumsum(counts)
    kept = np.flatnonzero(inside)
    xy = np.empty((int(ends[-1]), 2))
    xy[(ends - counts)[kept]] = rings.xy.take(kept, axis=0)
    xy[ends[out_at] - 2] = _meeting(rings.xy, depth, out_at, after[out_at])
    xy[ends[out_at] - 1] = _meeting(rings.xy, depth, after[in_at], in_at)
    xy[ends[out_at] - 2, axis] = xy[ends[out_at] - 1, axis] = limit
    return Paths(xy, np.r_[0, ends[last]], rings.rows, rings.kinds, rings.is_outer), rings.rows[:0]


def _meeting(xy: FloatArray, depth: FloatArray, inside: IntArray, outside: IntArray) -> FloatArray:
    """Where edges meet the line, always reckoned from the point inside: the other ring of a border does the same."""
    share = depth[inside] / (depth[inside] - depth[outside])
    here, there = xy.take(inside, axis=0), xy.take(outside, axis=0)
    return here + share[:, None] * (there - here)
