"""How near lines with heights come to each other: in plan, in space, and where their plans cross. Numbers only.

Pairs are found in a tree of segments and worked on in blocks, so that memory does not grow with their number. The
least distance of two segments is at an end of one of them, unless they cross (plan) or a stationary point lies inside
both (space): a convex function on a square has its least value there or on the edge. So it is exact to rounding.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import batched

import numpy as np
import shapely
from numpy.typing import NDArray

from twin.analysis.progress import SILENT, Progress

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
ObjectArray = NDArray[np.object_]

PARALLEL = 1e-3
"""Sine of the angle below which segments run along each other and never cross."""
TOUCH_M = 1e-3
"""An end that lies so near the other line in plan meets it: their plans cross there."""
PAIRS_AT_ONCE = 200_000
_QUERY = 10_000
_THREADS = 2


@dataclass(frozen=True)
class Segments:
    """(m,) straight pieces of (n,) lines, in the order of lines: (m, 3) ends with NaN for unknown z, (m,) line."""

    first: FloatArray
    last: FloatArray
    line: IntArray
    n_lines: int


@dataclass(frozen=True)
class Pairs:
    """(k,) pairs of lines, a < b, that come near each other; distances are of axes.

    Attributes
    ----------
    plan_m, plan_a, plan_b : least distance in plan and (k, 2) where it is on both
    space_m : least distance in space; NaN where a height is unknown
    crosses : whether the plans cross, other than along each other
    gap_m : least difference of heights where the plans cross; NaN where unknown or where they do not
    cross_at : (k, 2) where that is
    is_a_above : at that place
    n_near : pieces of the two that are near each other
    sine : least sine of the angle at which they cross; NaN where they do not
    """

    a: IntArray
    b: IntArray
    plan_m: FloatArray
    plan_a: FloatArray
    plan_b: FloatArray
    space_m: FloatArray
    crosses: BoolArray
    gap_m: FloatArray
    cross_at: FloatArray
    is_a_above: BoolArray
    n_near: IntArray
    sine: FloatArray

    def __len__(self) -> int:
        return len(self.a)

    def take(self, rows: NDArray[np.integer] | BoolArray) -> "Pairs":
        """Some of them."""
        return Pairs(**{key: value[rows] for key, value in vars(self).items()})


def segments(geometry: ObjectArray, has_z: BoolArray) -> Segments:
    """(n,) LineStrings or MultiLineStrings -> their pieces. Pieces without length are left out, but for one a line
    that has no other; z is NaN where `has_z` is False.
    """
    parts, line = shapely.get_parts(geometry, return_index=True)
    xyz, part = shapely.get_coordinates(parts, include_z=True, return_index=True)
    owner = line[part]
    xyz[~has_z[owner], 2] = np.nan
    at = np.flatnonzero(part[1:] == part[:-1])
    length = np.hypot(*(xyz[at + 1, :2] - xyz[at, :2]).T)
    is_long = length > 0
    has_any = np.bincount(owner[at], weights=is_long, minlength=len(geometry)) > 0
    keep = is_long | ~has_any[owner[at]]
    at = at[keep]
    return Segments(xyz[at], xyz[at + 1], owner[at].astype(np.int64), len(geometry))


def pairs(
    given: Segments,
    half_m: FloatArray,
    reach_m: float,
    labels: IntArray | None = None,
    *,
    progress: Progress = SILENT,
) -> Pairs:
    """Pairs of lines whose plans come nearer than `reach_m` plus what both are wide.

    Parameters
    ----------
    half_m : (n,) half widths of lines
    labels : (n, 2) numbers of the nodes at both ends of lines; lines that share one are left out
    """
    lines = shapely.linestrings(np.stack([given.first[:, :2], given.last[:, :2]], axis=1))
    is_point = (given.first[:, :2] == given.last[:, :2]).all(axis=1)
    lines[is_point] = shapely.points(given.first[is_point, :2])  # GEOS finds nothing near a line without length
    tree = shapely.STRtree(lines)
    half = half_m[given.line]
    reach = reach_m + half + (half.max() if len(half) else 0.0)

    def block(start: int) -> Pairs:
        stop = min(start + _QUERY, len(lines))
        i, j = tree.query(lines[start:stop], predicate="dwithin", distance=reach[start:stop])
        i = i + start
        keep = (given.line[i] < given.line[j]) & ~_share(labels, given.line[i], given.line[j])
        i, j = i[keep], j[keep]
        return _least([_near(given, i[at], j[at], half, reach_m) for at in _blocks(len(i))])

    starts = range(0, len(lines), _QUERY)
    done: list[Pairs] = []
    pool = ThreadPoolExecutor(_THREADS)  # GEOS and numpy let go of the interpreter's lock
    try:
        for made in pool.map(block, starts):
            done.append(made)
            progress(100.0 * len(done) / len(starts), f"{len(done) * _QUERY} of {len(lines)} pieces")
    finally:
        pool.shutdown(cancel_futures=True)  # dismissed: what is not begun is not done
    return _least(done)


def _blocks(n: int) -> list[slice]:
    return [slice(start, start + PAIRS_AT_ONCE) for start in range(0, n, PAIRS_AT_ONCE)]


def _share(labels: IntArray | None, a: IntArray, b: IntArray) -> BoolArray:
    if labels is None:
        return np.zeros(len(a), bool)
    one, two = labels[a], labels[b]
    found: BoolArray = ((one[:, :, None] == two[:, None, :]) & (one[:, :, None] >= 0)).any(axis=(1, 2))
    return found


def _near(given: Segments, i: IntArray, j: IntArray, half: FloatArray, reach_m: float) -> Pairs:
    """Segment pairs as pairs of their lines (several rows a pair)."""
    one, two = (given.first[i], given.last[i]), (given.first[j], given.last[j])
    plan, s, t, crosses = plan_distance(one[0][:, :2], one[1][:, :2], two[0][:, :2], two[1][:, :2])
    near = np.flatnonzero(plan <= reach_m + half[i] + half[j] + 1e-9)
    i, j, plan, s, t, crosses = i[near], j[near], plan[near], s[near], t[near], crosses[near]
    p, q, u, v = one[0][near], one[1][near], two[0][near], two[1][near]
    on_a, on_b = p + s[:, None] * (q - p), u + t[:, None] * (v - u)
    rise = on_a[:, 2] - on_b[:, 2]
    gap = np.where(crosses, np.abs(rise), np.nan)
    d, e = (q - p)[:, :2], (v - u)[:, :2]
    lengths = np.maximum(np.hypot(*d.T) * np.hypot(*e.T), 1e-300)
    sine = np.where(crosses, np.abs(_cross(d, e)) / lengths, np.nan)
    return Pairs(
        given.line[i], given.line[j], plan, on_a[:, :2], on_b[:, :2], space_distance(p, q, u, v), crosses, gap,
        np.where(crosses[:, None], on_a[:, :2], np.nan), crosses & (rise > 0), np.ones(len(i), np.int64), sine,
    )  # fmt: skip


def _least(parts: list[Pairs]) -> Pairs:
    """Rows of the same pair as one: the least of each distance, with its place."""
    if not parts:
        none, flat = np.empty(0), np.empty((0, 2))
        zero = np.empty(0, np.int64)
        flags = none.astype(bool)
        return Pairs(zero, zero, none, flat, flat, none, flags, none, flat, flags, zero, none)
    every = {key: np.concatenate([getattr(each, key) for each in parts]) for key in vars(parts[0])}
    if not len(every["a"]):
        return Pairs(**every)
    a, b, plan, gap = every["a"], every["b"], every["plan_m"], every["gap_m"]
    order = np.lexsort((plan, b, a))
    a, b = a[order], b[order]
    is_first = np.r_[True, (a[1:] != a[:-1]) | (b[1:] != b[:-1])]
    starts = np.flatnonzero(is_first)
    group = np.cumsum(is_first) - 1
    best = order[starts]
    # an unknown gap at any crossing leaves the least gap unknown; space likewise
    space = np.minimum.reduceat(every["space_m"][order], starts)
    crosses = np.logical_or.reduceat(every["crosses"][order], starts)
    rank = np.where(every["crosses"], np.where(np.isnan(gap), -1.0, gap), np.inf)[order]
    by_gap = np.lexsort((rank, group))
    where = order[by_gap[starts]]
    return Pairs(
        a[starts], b[starts], plan[best], every["plan_a"][best], every["plan_b"][best], space, crosses, gap[where],
        every["cross_at"][where], every["is_a_above"][where], np.add.reduceat(every["n_near"][order], starts),
        np.fmin.reduceat(every["sine"][order], starts),
    )  # fmt: skip


def plan_distance(
    p: FloatArray, q: FloatArray, u: FloatArray, v: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, BoolArray]:
    """(k, 2) ends of segments p-q and u-v -> (k,) least distance, shares s of p-q and t of u-v where it is, crossing.

    Segments that touch (`TOUCH_M`) cross, unless they run along each other (`PARALLEL`).
    """
    d, e = q - p, v - u
    turn = _cross(d, e)
    lengths = np.hypot(*d.T) * np.hypot(*e.T)
    is_oblique = np.abs(turn) > PARALLEL * lengths
    safe = np.where(is_oblique, turn, 1.0)
    s = _cross(u - p, e) / safe
    t = _cross(u - p, d) / safe
    inside = is_oblique & (s >= 0) & (s <= 1) & (t >= 0) & (t <= 1)
    far, s_end, t_end = _from_ends(p, q, u, v)
    crosses = inside | (is_oblique & (far <= TOUCH_M))
    return (
        np.where(inside, 0.0, far), np.where(inside, s, s_end), np.where(inside, t, t_end), crosses,
    )  # fmt: skip


def space_distance(p: FloatArray, q: FloatArray, u: FloatArray, v: FloatArray) -> FloatArray:
    """(k, 3) ends of segments p-q and u-v -> (k,) least distance in space; NaN where a coordinate is."""
    d, e, w = q - p, v - u, p - u
    a, b, c = _dot(d, d), _dot(d, e), _dot(e, e)
    f, g = _dot(d, w), _dot(e, w)
    det = a * c - b * b
    is_oblique = det > 1e-12 * a * c
    safe = np.where(is_oblique, det, 1.0)
    s, t = (b * g - c * f) / safe, (a * g - b * f) / safe
    with np.errstate(invalid="ignore"):
        inside = is_oblique & (s > 0) & (s < 1) & (t > 0) & (t < 1)
    s, t = np.where(inside, s, 0.0)[:, None], np.where(inside, t, 0.0)[:, None]
    between = np.linalg.norm(w + s * d - t * e, axis=1)
    far, _, _ = _from_ends(p, q, u, v)
    return np.asarray(np.where(inside, np.minimum(between, far), far), np.float64)


def _from_ends(p: FloatArray, q: FloatArray, u: FloatArray, v: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Least of the four distances of an end to the other segment, and the shares where it is."""
    zero, one = np.zeros(len(p)), np.ones(len(p))
    tp, tq, su, sv = _share_on(p, u, v), _share_on(q, u, v), _share_on(u, p, q), _share_on(v, p, q)
    s, t = np.stack([zero, one, su, sv]), np.stack([tp, tq, zero, one])
    far = np.linalg.norm((p + s[..., None] * (q - p)) - (u + t[..., None] * (v - u)), axis=2)
    best, rows = np.argmin(far, axis=0), np.arange(len(p))
    return far[best, rows], s[best, rows], t[best, rows]


def _share_on(x: FloatArray, p: FloatArray, q: FloatArray) -> FloatArray:
    """Share of p-q nearest to x; 0 where p-q has no length."""
    d = q - p
    square = _dot(d, d)
    return np.clip(np.where(square > 0, _dot(x - p, d) / np.where(square > 0, square, 1.0), 0.0), 0.0, 1.0)


def _cross(a: FloatArray, b: FloatArray) -> FloatArray:
    return np.asarray(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0], np.float64)


def _dot(a: FloatArray, b: FloatArray) -> FloatArray:
    return np.einsum("ij,ij->i", a, b)


def beside(
    a: ObjectArray, b: ObjectArray, crossings: ObjectArray, zone_m: FloatArray
) -> tuple[FloatArray, ObjectArray]:
    """How near lines that cross come to each other away from their crossings.

    Parameters
    ----------
    a, b : (k,) lines that cross
    crossings : (k,) points where they do
    zone_m : (k,) what is nearer to a crossing than this belongs to it

    Returns
    -------
    (k,) least distance in plan of the rest of `a` to `b`, NaN where no rest is left; (k,) the shortest way between.
    """
    plain = shapely.force_2d(a)
    rest = np.empty(len(a), object)
    for some in batched(range(len(a)), 10_000):
        rows = np.array(some)
        rest[rows] = shapely.difference(plain[rows], shapely.buffer(crossings[rows], zone_m[rows]))
    is_left = ~shapely.is_empty(rest)
    far = np.where(is_left, shapely.distance(rest, b), np.nan)
    return far, shapely.shortest_line(rest, shapely.force_2d(b))


def crossings(a: ObjectArray, b: ObjectArray) -> ObjectArray:
    """(k,) where plans of lines meet, as points and lines."""
    found: ObjectArray = shapely.intersection(shapely.force_2d(a), shapely.force_2d(b))
    return found


def exact_space(space_m: FloatArray, covered_m: FloatArray, a: IntArray, b: IntArray, given: Segments) -> FloatArray:
    """(k,) least distances in space of lines a and b, from those of their pieces that are near in plan (`space_m`).

    What is nearer than `covered_m`, up to which all pieces were looked at, is exact; for the others all pieces of both
    lines are compared.
    """
    out = space_m.copy()
    first = np.searchsorted(given.line, np.arange(given.n_lines))
    count = np.bincount(given.line, minlength=given.n_lines)
    with np.errstate(invalid="ignore"):
        rows = np.flatnonzero((space_m > covered_m) & (count[a] * count[b] > 1))
    for some in batched(rows.tolist(), 2_000):
        chosen = np.array(some)
        n_a, n_b = count[a[chosen]], count[b[chosen]]
        total = n_a * n_b
        pair = np.repeat(np.arange(len(chosen)), total)
        inner = np.arange(total.sum()) - np.repeat(np.cumsum(total) - total, total)
        i = first[a[chosen]][pair] + inner // n_b[pair]
        j = first[b[chosen]][pair] + inner % n_b[pair]
        far = space_distance(given.first[i], given.last[i], given.first[j], given.last[j])
        out[chosen] = np.minimum.reduceat(far, np.cumsum(total) - total)
    return out
