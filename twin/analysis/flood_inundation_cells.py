"""Which cells of a grid geometries lie in, exactly: points, pieces of lines cut at the cells' sides, insides of areas.

What lies on a side between cells lies in all of them: a place is wet only where all of its cells are. So touching the
water from outside is not being in it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from twin.analysis.elevation import Grid
from twin.analysis.verdict import SAME

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_HALF = 1 << 31
MOST_AT_ONCE = 4_000_000
"""Cells of areas are told in parts of about so many."""


@dataclass(frozen=True)
class Places:
    """(n,) places: `owner` is the row of the geometry; the cells around one are rows r0 or r1 and columns c0 or c1,
    which are the same but on a side between two. `length_m` is that of a piece of a line, 0 of a point or cell.
    """

    owner: IntArray
    r0: IntArray
    r1: IntArray
    c0: IntArray
    c1: IntArray
    length_m: FloatArray

    def __len__(self) -> int:
        return len(self.owner)

    def least(self, values: NDArray[np.float32]) -> FloatArray:
        """(n,) least value of (rows, columns) among a place's cells; NaN where one of them has none or lies outside."""
        rows, columns = values.shape
        inside = (self.r0 >= 0) & (self.c0 >= 0) & (self.r1 < rows) & (self.c1 < columns)
        out = np.full(len(self), np.nan)
        if self.r0 is self.r1 and self.c0 is self.c1:  # cells, on no side
            out[inside] = values[self.r0[inside], self.c0[inside]]
            return out
        r0, r1, c0, c1 = (each[inside] for each in (self.r0, self.r1, self.c0, self.c1))
        four = np.stack([values[r0, c0], values[r0, c1], values[r1, c0], values[r1, c1]])
        out[inside] = four.min(axis=0) if four.size else 0.0  # NaN wins
        return out


def places(geometries: NDArray[np.object_], grid: Grid) -> Iterator[Places]:
    """(n,) geometries in the grid's CRS -> where they lie, in parts: points, lines, then insides of areas."""
    shapes = np.asarray(geometries, dtype=object)
    parts, owner = shapely.get_parts(shapes, return_index=True)
    while (shapely.get_type_id(parts) > 3).any():  # collections of collections
        parts, which = shapely.get_parts(parts, return_index=True)
        owner = owner[which]
    dimension = shapely.get_dimensions(parts)
    has_shape = ~shapely.is_empty(parts)
    at = np.flatnonzero((dimension == 0) & has_shape)
    if at.size:
        x, y = shapely.get_coordinates(parts[at]).T
        yield _around(owner[at], *_in_cells(grid, x, y), grid, np.zeros(len(at)))
    at = np.flatnonzero((dimension == 1) & has_shape)
    if at.size:
        yield pieces(parts[at], owner[at], grid)
    at = np.flatnonzero((dimension == 2) & has_shape)
    if at.size:
        yield from _insides(parts[at], owner[at], grid)


def pieces(lines: NDArray[np.object_], owner: IntArray, grid: Grid) -> Places:
    """(n,) lines, cut wherever they cross a side of a cell."""
    (u0, v0, u1, v1), which = _segments(lines, grid)
    n = len(which)
    number, share = [np.arange(n), np.arange(n)], [np.zeros(n), np.ones(n)]
    for a, b in ((u0, u1), (v0, v1)):
        segment, line = _between(a, b)
        number.append(segment)
        share.append((line - a[segment]) / (b[segment] - a[segment]))
    segment, t = np.concatenate(number), np.concatenate(share)
    order = np.lexsort((t, segment))
    segment, t = segment[order], t[order]
    is_piece = segment[1:] == segment[:-1]
    begin, middle, s = t[:-1][is_piece], ((t[1:] + t[:-1]) / 2)[is_piece], segment[:-1][is_piece]
    du, dv = (u1 - u0)[s], (v1 - v0)[s]
    length = (t[1:][is_piece] - begin) * np.hypot(du * grid.dx, dv * grid.dy)
    keep = length > SAME * 1e-3
    u, v = (u0[s] + middle * du)[keep], (v0[s] + middle * dv)[keep]
    return _around(owner[which[s[keep]]], u, v, grid, length[keep])


def _insides(areas: NDArray[np.object_], owner: IntArray, grid: Grid) -> Iterator[Places]:
    """Cells whose inside the inside of an area meets: its outline runs through them, or their centre lies in it."""
    rims, which = shapely.get_parts(shapely.boundary(areas), return_index=True)
    crossed = pieces(rims, owner[which], grid)
    inner = (crossed.r0 == crossed.r1) & (crossed.c0 == crossed.c1)
    o, r, c = crossed.owner[inner], crossed.r0[inner], crossed.c0[inner]
    yield Places(o, r, r, c, c, np.zeros(len(o)))
    o, r, first, n = _spans(rims, owner[which], grid)
    ends = np.concatenate([[0], np.cumsum(n)])
    start = 0
    while start < len(n):
        stop = max(int(np.searchsorted(ends, ends[start] + MOST_AT_ONCE, "right")) - 1, start + 1)
        count = n[start:stop]
        span = np.repeat(np.arange(start, stop), count)
        column = first[span] + np.arange(len(span)) - (ends[start:stop] - ends[start])[span - start]
        yield Places(o[span], r[span], r[span], column, column, np.zeros(len(span)))
        start = stop


def _spans(rims: NDArray[np.object_], owner: IntArray, grid: Grid) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """Owner, row, first column and number of the cells, row by row, whose centres lie in areas (even-odd rule)."""
    (u0, v0, u1, v1), which = _segments(rims, grid)
    low = np.clip(np.ceil(np.minimum(v0, v1) - 0.5), 0, grid.height).astype(np.int64)
    high = np.clip(np.ceil(np.maximum(v0, v1) - 0.5), 0, grid.height).astype(np.int64)
    n = high - low
    s = np.repeat(np.arange(len(n)), n)
    row = low[s] + np.arange(len(s)) - np.repeat(np.cumsum(n) - n, n)
    u = u0[s] + (row + 0.5 - v0[s]) / (v1[s] - v0[s]) * (u1[s] - u0[s])
    o = owner[which[s]]
    order = np.lexsort((u, row, o))
    o, row, u = o[order][::2], row[order][::2], u[order]
    first = np.clip(np.ceil(u[::2] - 0.5), 0, grid.width).astype(np.int64)
    last = np.clip(np.ceil(u[1::2] - 0.5), 0, grid.width).astype(np.int64)
    has_cells = last > first
    return o[has_cells], row[has_cells], first[has_cells], (last - first)[has_cells]


def _segments(lines: NDArray[np.object_], grid: Grid) -> tuple[tuple[FloatArray, ...], IntArray]:
    """Both ends of each segment in cells (column and row, fractional), and the line it belongs to."""
    xy, line = shapely.get_coordinates(lines, return_index=True)
    u, v = _in_cells(grid, xy[:, 0], xy[:, 1])
    same = np.flatnonzero(line[1:] == line[:-1])
    return (u[same], v[same], u[same + 1], v[same + 1]), line[same]


def _in_cells(grid: Grid, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    return (x - grid.west) / grid.dx, (grid.north - y) / grid.dy


def _between(a: FloatArray, b: FloatArray) -> tuple[IntArray, FloatArray]:
    """Whole numbers strictly between a and b of each segment: segment, number."""
    low, high = np.minimum(a, b), np.maximum(a, b)
    first, last = np.floor(low) + 1, np.ceil(high) - 1
    n = np.maximum(last - first + 1, 0).astype(np.int64)
    segment = np.repeat(np.arange(len(n)), n)
    return segment, first[segment] + np.arange(len(segment)) - np.repeat(np.cumsum(n) - n, n)


def _around(owner: IntArray, u: FloatArray, v: FloatArray, grid: Grid, length_m: FloatArray) -> Places:
    eu, ev = SAME / grid.dx, SAME / grid.dy
    r0, r1, c0, c1 = (np.floor(each).astype(np.int64) for each in (v - ev, v + ev, u - eu, u + eu))
    return Places(owner, r0, r1, c0, c1, length_m)


def seed_cells(geometry: shapely.Geometry, grid: Grid) -> IntArray:
    """(k, 2) rows and columns that a geometry meets, in reading order, each once; on a side, those of all its cells."""
    found = [np.empty(0, np.int64)]
    for part in places(np.array([geometry], dtype=object), grid):
        is_cells = part.r0 is part.r1 and part.c0 is part.c1
        rows, columns = ((part.r0,), (part.c0,)) if is_cells else ((part.r0, part.r1), (part.c0, part.c1))
        found += [once((r << 32) + (c + _HALF)) for r in rows for c in columns]  # pairs would sort slowly
    keys = once(np.concatenate(found))
    row = keys >> 32
    return np.stack([row, keys - (row << 32) - _HALF], axis=1)


def once(keys: IntArray) -> IntArray:
    """Keys in order, each once: numpy.unique hashes, which took minutes for 10 million keys like these."""
    ordered = np.sort(keys)
    is_new = np.ones(len(ordered), np.bool_)
    is_new[1:] = ordered[1:] != ordered[:-1]
    return ordered[is_new]
