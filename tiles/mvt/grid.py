"""Paths in tile units -> clipped, rounded, valid paths on the tile's integer grid. Pure.

Only what crosses the frame (tile and buffer) is clipped: all rings that cross its sides plainly at once, the rest by
GEOS. Rounding can make a ring cross itself: rings whose points go once round their middle cannot, all others are asked
of GEOS and repaired where they are invalid.
"""

import numpy as np
import shapely
from numpy.typing import NDArray

from tiles.mvt import halfplane
from tiles.mvt.encode import EXTENT, taken
from twin.store.wkb_paths import LINE, POINT, RING, Paths

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
Flags = NDArray[np.bool_]
Geometries = NDArray[np.object_]

BUFFER = 64
"""Units that a tile shows beyond each edge."""
_LOW, _HIGH = -float(BUFFER), float(EXTENT + BUFFER)
_FRAME = shapely.box(_LOW, _LOW, _HIGH, _HIGH)
_ROUND = 1e-6
"""Smallest turn (twice a triangle's area in square units) that counts as one; sums here are exact to 1e-8."""


def opened(paths: Paths) -> Paths:
    """Rings without their closing point; what is no ring or line then (fewer than 3 or 2 points) is gone."""
    counts = np.diff(paths.starts)
    ring = paths.kinds == RING
    keep = np.ones(len(paths.xy), bool)
    keep[paths.starts[1:][ring] - 1] = False
    counts = counts - ring
    starts = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=starts[1:])
    bare = Paths(_points(paths.xy, keep), starts, paths.rows, paths.kinds, paths.is_outer)
    return _without(bare, counts < paths.kinds)


def clipped(paths: Paths) -> Paths:
    """What of the open paths, in tile units, lies inside the frame: first what is whole, then what was clipped.

    Places that are not finite are left out.
    """
    if not len(paths.rows):
        return paths
    outside, crosses = _beyond(paths)
    if not outside.any() and not crosses.any():
        return paths
    part = np.cumsum(paths.is_outer) - 1
    n_parts = int(part[-1]) + 1
    gone = np.zeros(n_parts, bool)
    gone[part[outside & paths.is_outer]] = True
    cut = np.zeros(n_parts, bool)
    cut[part[crosses]] = True
    kept = ~gone[part] & ~outside
    if not (cut[part] & kept).any():
        return paths if kept.all() else taken(paths, np.flatnonzero(kept))
    whole = taken(paths, np.flatnonzero(kept & ~cut[part]))
    return _together([whole, _cut(taken(paths, np.flatnonzero(kept & cut[part])))])


def _beyond(paths: Paths) -> tuple[Flags, Flags]:
    """True for each path that lies outside the frame (or at no known place), and for each that crosses it."""
    outside, crosses = np.zeros((2, len(paths.rows)), bool)
    half = (_HIGH - _LOW) / 2
    far = np.flatnonzero(~(np.abs(paths.xy.reshape(-1) - (_LOW + half)) <= half)) // 2
    if far.size:
        touched = np.unique(np.searchsorted(paths.starts, far, side="right") - 1)
        some = taken(paths, touched)
        starts = some.starts[:-1]
        low, high = np.minimum.reduceat(some.xy, starts, axis=0), np.maximum.reduceat(some.xy, starts, axis=0)
        known = np.isfinite(low).all(axis=1) & np.isfinite(high).all(axis=1)
        outside[touched] = ~known | (high < _LOW).any(axis=1) | (low > _HIGH).any(axis=1)
        crosses[touched] = ~outside[touched]
    return outside, crosses


def _cut(paths: Paths) -> Paths:
    """Paths that cross the frame, clipped by GEOS. Points never cross."""
    lines, rings = (np.flatnonzero(paths.kinds == kind) for kind in (LINE, RING))
    made = []
    if lines.size:
        some = taken(paths, lines)
        shapes = shapely.linestrings(some.xy, indices=np.repeat(np.arange(len(lines)), np.diff(some.starts)))
        # not by intersection: that would part a line where it crosses itself
        made.append(from_shapes(shapely.clip_by_rect(shapes, _LOW, _LOW, _HIGH, _HIGH), some.rows, 1))
    if rings.size:
        made += _cut_rings(taken(paths, rings))
    return joined(made)


def _cut_rings(rings: Paths) -> list[Paths]:
    """Polygons clipped: those without holes by their crossings with the frame's sides, where that settles them."""
    part = np.cumsum(rings.is_outer) - 1
    single = np.flatnonzero(np.bincount(part)[part] == 1)
    plain, undecided = halfplane.cut(taken(rings, single), _LOW, _HIGH)
    settled = np.zeros(len(rings.rows), bool)
    settled[single] = ~undecided
    if settled.all():
        return [plain]
    shapes, rows = polygons(taken(rings, np.flatnonzero(~settled)))
    return [plain, from_shapes(_in_frame(shapes), rows, 2)]


def _in_frame(shapes: Geometries) -> Geometries:
    """Polygons clipped. GEOS's own way for rectangles is twelve times faster than overlay, and not always right."""
    sound = shapely.is_valid(shapes)
    out = np.asarray(shapely.clip_by_rect(shapes, _LOW, _LOW, _HIGH, _HIGH), dtype=object)
    again = ~(sound & shapely.is_valid(out))
    if again.any():
        out[again] = shapely.intersection(shapely.make_valid(shapes[again]), _FRAME)
    return out


def polygons(paths: Paths) -> tuple[Geometries, IntArray]:
    """Open rings as polygons, one for each part, and the row of each."""
    rings = shapely.linearrings(paths.xy, indices=np.repeat(np.arange(len(paths.rows)), np.diff(paths.starts)))
    part = np.cumsum(paths.is_outer) - 1
    return np.asarray(shapely.polygons(rings, indices=part), dtype=object), paths.rows[paths.is_outer]


def from_shapes(shapes: Geometries, rows: IntArray, dimension: int) -> Paths:
    """Geometries as open paths; pieces of another dimension are left out. `rows` is ascending."""
    parts, at = shapely.get_parts(shapes, return_index=True)
    parts, inner = shapely.get_parts(parts, return_index=True)  # a member of a collection may be a collection
    at = at[inner]
    fits = (shapely.get_dimensions(parts) == dimension) & ~shapely.is_empty(parts)
    parts, rows = parts[fits], rows[at[fits]]
    if dimension == 2:
        rings, owner = shapely.get_rings(parts, return_index=True)
        is_outer = np.diff(owner, prepend=-1) > 0
        rows, parts = rows[owner], rings
    else:
        is_outer = np.ones(len(parts), bool)
    starts = np.zeros(len(parts) + 1, np.int64)
    np.cumsum(shapely.get_num_coordinates(parts), out=starts[1:])
    kinds = np.full(len(parts), dimension + 1, np.int8)
    return opened(Paths(shapely.get_coordinates(parts), starts, rows, kinds, is_outer))


def joined(pieces: list[Paths]) -> Paths:
    """Paths of several pieces in the order of their rows; within a row in the order of the pieces."""
    whole = _together(pieces)
    return whole if (np.diff(whole.rows) >= 0).all() else taken(whole, np.argsort(whole.rows, kind="stable"))


def _together(pieces: list[Paths]) -> Paths:
    """Paths of several pieces, one piece after the other."""
    filled = [each for each in pieces if len(each.rows)]
    if len(filled) < 2:
        return filled[0] if filled else pieces[0]
    starts = [each.starts[:-1] for each in filled]
    ends = np.cumsum([each.starts[-1] for each in filled])
    begins = np.r_[0, ends[:-1]]
    return Paths(
        np.concatenate([each.xy for each in filled]),
        np.concatenate([*(each + begin for each, begin in zip(starts, begins, strict=True)), ends[-1:]]),
        np.concatenate([each.rows for each in filled]),
        np.concatenate([each.kinds for each in filled]),
        np.concatenate([each.is_outer for each in filled]),
    )


def rounded(paths: Paths, step: int = 1) -> Paths:
    """Clipped paths on multiples of `step`: no repeated points, valid polygons, rings turned as the spec asks.

    What collapses is left out. With a step above 1, points in the middle of a straight line are left out too. Equal
    places stay equal, so that shared borders stay together. The answer is in the order of the rows.
    """
    xy = np.rint(paths.xy / step) * step if step > 1 else np.rint(paths.xy)
    tidy = _tidy(Paths(xy, paths.starts, paths.rows, paths.kinds, paths.is_outer), straighten=step > 1)
    ring = tidy.kinds == RING
    if not ring.any():
        return joined([tidy])
    rings = tidy if ring.all() else taken(tidy, np.flatnonzero(ring))
    area, doubtful = _looked_at(rings)
    shown = np.ones(len(rings.rows), bool)
    if doubtful.any():
        shown, rings, area = _sound(rings, area, doubtful, step)
    rings = _turned(rings, (area > 0) != rings.is_outer, shown)
    return joined([rings] if ring.all() else [taken(tidy, np.flatnonzero(~ring)), rings])


def _tidy(paths: Paths, *, straighten: bool) -> Paths:
    """Without repeated points (and needless ones); paths with too few points are gone, holes with their outer ring."""
    if not len(paths.rows):
        return paths
    paths = _thinned(paths, _differs(paths))
    for _ in range(2 if straighten else 0):  # a spike folds back on itself once its tip is gone
        paths = _thinned(paths, ~_is_straight(paths))
        paths = _thinned(paths, _differs(paths))
    return _without(paths, np.diff(paths.starts) < paths.kinds)


def _looked_at(rings: Paths) -> tuple[FloatArray, Flags]:
    """Area of each ring (y down: positive is clockwise), and True where it may be invalid: then the area is not exact.

    A ring that is alone in its feature and goes once round its middle is certainly valid: seen from there each point
    stands further round than the one before, with one turn in all, so that every ray from the middle meets it once.
    """
    starts, counts = rings.starts[:-1], np.diff(rings.starts)
    middle = np.add.reduceat(rings.xy, starts, axis=0) / counts[:, None]
    x, y = rings.xy[:, 0] - np.repeat(middle[:, 0], counts), rings.xy[:, 1] - np.repeat(middle[:, 1], counts)
    after_x, after_y = _next(x, rings.starts), _next(y, rings.starts)
    turn = x * after_y - y * after_x
    onward = (np.minimum.reduceat(turn, starts) > _ROUND) | (np.maximum.reduceat(turn, starts) < -_ROUND)
    above = y < 0
    once = np.add.reduceat((above != (after_y < 0)).view(np.int8), starts, dtype=np.int32) == 2
    alone = np.bincount(rings.rows)[rings.rows] == 1
    return np.add.reduceat(turn, starts) / 2, ~(onward & once & alone)


def _next(values: FloatArray, starts: IntArray) -> FloatArray:
    """The value of the point after each point, round the rings."""
    after = np.empty_like(values)
    after[:-1] = values[1:]
    after[starts[1:] - 1] = values[starts[:-1]]
    return after


def _exact_areas(rings: Paths) -> tuple[FloatArray, Flags]:
    """Areas (y down: positive is clockwise), and True for rings all of whose points lie on one line.

    By the surveyor's formula about the ring's own first point: sums of small whole numbers are exact. A ring that
    crosses itself may have area 0 and not be flat.
    """
    if not len(rings.rows):
        return np.zeros(0), np.zeros(0, bool)
    starts = rings.starts[:-1]
    x, y = (rings.xy - np.repeat(rings.xy[starts], np.diff(rings.starts), axis=0)).T
    twice = x * _next(y, rings.starts) - y * _next(x, rings.starts)
    area = np.add.reduceat(twice, starts) / 2
    return area, (area == 0) & (np.maximum.reduceat(np.abs(twice), starts) == 0)


def _sound(rings: Paths, area: FloatArray, doubtful: Flags, step: int) -> tuple[Flags, Paths, FloatArray]:
    """Rings with those of invalid features repaired behind them, which of them hold, and their areas."""
    asked = np.flatnonzero(np.isin(rings.rows, rings.rows[doubtful]))
    some = taken(rings, asked)
    area[asked], flat = _exact_areas(some)
    shown = np.ones(len(rings.rows), bool)
    shown[asked] = False
    kept = _kept(some, flat)
    shown[asked[kept]] = True
    some = joined([taken(some, kept)])
    fixed, broken = _repaired(some, step) if len(kept) else (None, some.rows)
    if fixed is None:
        return shown, rings, area
    shown[asked] &= ~np.isin(rings.rows[asked], broken)
    fixed_area, flat = _exact_areas(fixed)
    kept = _kept(fixed, flat)
    if not len(kept):
        return shown, rings, area
    return np.r_[shown, np.ones(len(kept), bool)], _together([rings, taken(fixed, kept)]), np.r_[area, fixed_area[kept]]


def _differs(paths: Paths) -> Flags:
    """True for each point that is not the same as the one before it; of a ring, the first point follows the last."""
    keep = np.ones(len(paths.xy), bool)
    x, y = paths.xy[:, 0], paths.xy[:, 1]
    keep[1:] = (x[1:] != x[:-1]) | (y[1:] != y[:-1])
    keep[paths.starts[:-1]] = True
    rings = np.flatnonzero((paths.kinds == RING) & (np.diff(paths.starts) > 1))
    keep[paths.starts[rings]] = (paths.xy[paths.starts[rings]] != paths.xy[paths.starts[rings + 1] - 1]).any(axis=1)
    points = paths.kinds == POINT
    if points.any():
        keep[paths.starts[:-1][points]] = True
    return keep


def _points(xy: FloatArray, keep: Flags) -> FloatArray:
    return xy.take(np.flatnonzero(keep), axis=0)


def _neighbours(paths: Paths) -> tuple[FloatArray, FloatArray]:
    """Point before and point after each point, round the rings; the ends of lines have themselves."""
    before, after = np.empty_like(paths.xy), np.empty_like(paths.xy)
    before[1:], after[:-1] = paths.xy[:-1], paths.xy[1:]
    first, last = paths.starts[:-1], paths.starts[1:] - 1
    ring = (paths.kinds == RING)[:, None]
    before[first] = np.where(ring, paths.xy[last], paths.xy[first])
    after[last] = np.where(ring, paths.xy[first], paths.xy[last])
    return before, after


def _is_straight(paths: Paths) -> Flags:
    """True for each point between two others on one straight line; the ends of a line are none."""
    before, after = _neighbours(paths)
    a, b = paths.xy - before, after - paths.xy
    return (a[:, 0] * b[:, 1] == a[:, 1] * b[:, 0]) & ((a * b).sum(axis=1) > 0)


def _thinned(paths: Paths, keep: Flags) -> Paths:
    if keep.all():
        return paths
    before = np.zeros(len(keep) + 1, np.int64)
    np.cumsum(keep, out=before[1:])
    starts = before[paths.starts]
    some = np.diff(starts) > 0
    if some.all():
        return Paths(_points(paths.xy, keep), starts, paths.rows, paths.kinds, paths.is_outer)
    thin = Paths(_points(paths.xy, keep), starts, paths.rows, paths.kinds, paths.is_outer)
    return _without(thin, ~some)


def _without(paths: Paths, gone: Flags) -> Paths:
    """Paths but for some; the holes of an outer ring go with it."""
    return taken(paths, _kept(paths, gone)) if gone.any() else paths


def _kept(paths: Paths, gone: Flags) -> IntArray:
    part = np.cumsum(paths.is_outer) - 1
    return np.flatnonzero(~gone & ~gone[paths.is_outer][part])


def _repaired(rings: Paths, step: int) -> tuple[Paths | None, IntArray]:
    """Rings of the invalid features made valid on the grid, None where there are none; and the rows of those."""
    shapes, rows = polygons(rings)
    used = np.unique(rows)
    whole = np.asarray(shapely.multipolygons(shapes, indices=np.searchsorted(used, rows)), dtype=object)
    broken = ~shapely.is_valid(whole)
    if not broken.any():
        return None, used[broken]
    fixed = shapely.set_precision(shapely.make_valid(whole[broken]), float(step))
    return from_shapes(np.asarray(fixed, dtype=object), used[broken], 2), used[broken]


def _turned(rings: Paths, wrong: Flags, shown: Flags) -> Paths:
    """The rings that are shown in the order of their rows, some of them in the opposite direction."""
    order = np.flatnonzero(shown)
    order = order[np.argsort(rings.rows[order], kind="stable")]
    counts = np.diff(rings.starts)[order]
    starts = np.zeros(len(order) + 1, np.int64)
    np.cumsum(counts, out=starts[1:])
    first = rings.starts[:-1][order]
    step: IntArray = np.where(wrong[order], -1, 1).astype(np.int64)
    first = np.where(wrong[order], first + counts - 1, first)
    along = np.arange(int(starts[-1])) - np.repeat(starts[:-1], counts)
    at: IntArray = np.repeat(first, counts) + np.repeat(step, counts) * along
    return Paths(rings.xy.take(at, axis=0), starts, rings.rows[order], rings.kinds[order], rings.is_outer[order])
