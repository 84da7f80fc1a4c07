"""Least cover over pipes along their whole length: ground from a grid, exact within each of its cells.

Between four cell centres the ground is bilinear, so over a straight pipe it is a parabola. The pipe is cut where it
passes from one such square to the next (and at borders of areas); three heights a piece give its parabola, and that
gives its least value. Where the ground is not one grid, pieces are no longer than half a cell and the least of the
parabolas is off by at most what the ground bends within half a cell.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import shapely
from numpy.typing import NDArray

from twin.analysis.pipe_distance import Segments
from twin.analysis.progress import SILENT, Progress

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Ground = Callable[[FloatArray, FloatArray], FloatArray]

_SEGMENTS_AT_ONCE = 4_000


@dataclass(frozen=True)
class Squares:
    """Lines on which the ground bends: centres of cells at `x0` + k `dx`, `y0` + k `dy`."""

    x0: float
    y0: float
    dx: float
    dy: float


@dataclass(frozen=True)
class Cover:
    """(n,) of pipes, or of their parts in or outside of areas.

    Attributes
    ----------
    least_m : ground - outer top, the least over where the ground is known; NaN where it is known nowhere
    at : (n, 2) where that is
    length_m : in plan
    known_m : of it, where the ground is known
    """

    least_m: FloatArray
    at: FloatArray
    length_m: FloatArray
    known_m: FloatArray


def least_cover(
    crown: Segments, ground: Ground, squares: Squares, areas: NDArray[np.object_] | None = None,
    *, progress: Progress = SILENT,
) -> tuple[Cover, Cover]:  # fmt: skip
    """Cover of the parts of pipes within areas, and of the parts outside (all of them without areas).

    Parameters
    ----------
    crown : pieces of the outer top of (n,) pipes, z NaN where unknown
    ground : (k,) east, north -> (k,) height, NaN where there is none
    areas : polygons in the same CRS
    """
    inside, outside = _empty(crown.n_lines), _empty(crown.n_lines)
    tree = None if areas is None or not len(areas) else shapely.STRtree(areas)
    for start in range(0, len(crown.line), _SEGMENTS_AT_ONCE):
        progress(100.0 * start / len(crown.line), "cover")
        rows = np.arange(start, min(start + _SEGMENTS_AT_ONCE, len(crown.line)))
        at, least, place, length, is_in = _pieces(crown.first[rows], crown.last[rows], ground, squares, tree)
        for chosen, out in ((is_in, inside), (~is_in, outside)):
            _add(out, crown.line[rows[at[chosen]]], least[chosen], place[chosen], length[chosen])
    return inside, outside


def _empty(n: int) -> Cover:
    return Cover(np.full(n, np.nan), np.full((n, 2), np.nan), np.zeros(n), np.zeros(n))


def _pieces(
    first: FloatArray, last: FloatArray, ground: Ground, squares: Squares, tree: shapely.STRtree | None
) -> tuple[IntArray, FloatArray, FloatArray, FloatArray, NDArray[np.bool_]]:
    """Segment, least cover, its place, length and whether in an area, of the pieces between cuts."""
    segment, share = _cuts(first, last, squares, tree)
    piece = np.flatnonzero(segment[1:] == segment[:-1])
    at, begin, end = segment[piece], share[piece], share[piece + 1]
    step = last - first
    middle = first[at] + ((begin + end) / 2)[:, None] * step[at]
    cover = [
        ground(*place[:, :2].T) - place[:, 2]
        for place in (first[at] + begin[:, None] * step[at], middle, first[at] + end[:, None] * step[at])
    ]
    least, where = _parabola(*cover)
    place = first[at, :2] + (begin + where * (end - begin))[:, None] * step[at, :2]
    is_in = np.zeros(len(at), bool)
    if tree is not None:
        is_in[np.unique(tree.query(shapely.points(middle[:, :2]), predicate="intersects")[0])] = True
    return at, least, place, (end - begin) * np.hypot(*step[at, :2].T), is_in


def _cuts(
    first: FloatArray, last: FloatArray, squares: Squares, tree: shapely.STRtree | None
) -> tuple[IntArray, FloatArray]:
    """Segment and share of every cut, ends included, ascending."""
    n = len(first)
    parts = [(np.arange(n), np.zeros(n)), (np.arange(n), np.ones(n))]
    for axis, origin, width in ((0, squares.x0, squares.dx), (1, squares.y0, squares.dy)):
        parts.append(_grid_cuts(first[:, axis], last[:, axis], origin, width))
    if tree is not None:
        parts.append(_border_cuts(first, last, tree))
    segment, share = (np.concatenate(each) for each in zip(*parts, strict=True))
    order = np.lexsort((share, segment))
    return segment[order], share[order]


def _grid_cuts(a: FloatArray, b: FloatArray, origin: float, width: float) -> tuple[IntArray, FloatArray]:
    low, high = np.minimum(a, b), np.maximum(a, b)
    begin = np.floor((low - origin) / width).astype(np.int64) + 1
    count = np.maximum(np.ceil((high - origin) / width).astype(np.int64) - begin, 0)
    segment = np.repeat(np.arange(len(a)), count)
    number = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + begin[segment]
    share = (origin + number * width - a[segment]) / (b - a)[segment]
    return segment, np.clip(share, 0.0, 1.0)


def _border_cuts(first: FloatArray, last: FloatArray, tree: shapely.STRtree) -> tuple[IntArray, FloatArray]:
    lines = shapely.linestrings(np.stack([first[:, :2], last[:, :2]], axis=1))
    segment, area = tree.query(lines, predicate="intersects")
    inner = shapely.intersection(lines[segment], tree.geometries[area])
    xy, owner = shapely.get_coordinates(inner, return_index=True)
    at = segment[owner]
    step = (last - first)[at, :2]
    square = np.maximum(np.einsum("ij,ij->i", step, step), 1e-300)
    share = np.einsum("ij,ij->i", xy - first[at, :2], step) / square
    return at, np.clip(share, 0.0, 1.0)


def _parabola(f0: FloatArray, fm: FloatArray, f1: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Least of the parabola through three values at 0, 1/2 and 1, and where; NaN where one of them is."""
    a, b = 2 * (f0 + f1 - 2 * fm), 4 * fm - 3 * f0 - f1
    with np.errstate(invalid="ignore", divide="ignore"):
        at = -b / (2 * a)
        inside = (a > 1e-12) & (at > 0) & (at < 1)
        ends = np.where(f1 < f0, 1.0, 0.0)
        where = np.where(inside, at, ends)
        least = np.where(inside, f0 - b * b / (4 * a), np.minimum(f0, f1))
    is_known = np.isfinite(f0) & np.isfinite(fm) & np.isfinite(f1)
    return np.where(is_known, least, np.nan), where


def _add(out: Cover, line: IntArray, least: FloatArray, place: FloatArray, length: FloatArray) -> None:
    """Fold pieces, ascending by line, into what is known of their lines."""
    if not len(line):
        return
    known = np.isfinite(least)
    out.length_m[:] += np.bincount(line, weights=length, minlength=len(out.length_m))
    out.known_m[:] += np.bincount(line, weights=np.where(known, length, 0.0), minlength=len(out.length_m))
    order = np.lexsort((np.where(known, least, np.inf), line))
    starts = np.flatnonzero(np.r_[True, line[order][1:] != line[order][:-1]])
    best = order[starts]
    rows = line[best]
    with np.errstate(invalid="ignore"):
        better = np.isfinite(least[best]) & ~(out.least_m[rows] <= least[best])
    out.least_m[rows[better]] = least[best[better]]
    out.at[rows[better]] = place[best[better]]


def slopes(first: FloatArray, last: FloatArray, length_m: FloatArray, is_reversed: NDArray[np.bool_]) -> FloatArray:
    """(n,) fall by length in the direction of flow; NaN where a height is unknown or there is no length."""
    fall = np.where(is_reversed, last - first, first - last)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(length_m > 0, fall / length_m, np.nan), np.float64)


def rises(heights: list[FloatArray], is_reversed: NDArray[np.bool_]) -> FloatArray:
    """(n,) the largest rise between neighbouring points in the direction of flow, 0 where it always falls."""
    out = np.zeros(len(heights))
    for row, z in enumerate(heights):
        along = z[::-1] if is_reversed[row] else z
        out[row] = max((b - a for a, b in pairwise(along.tolist())), default=0.0)
    return np.maximum(out, 0.0)
