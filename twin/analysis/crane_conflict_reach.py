"""Distances between tower cranes, to buildings and to overhead lines: the numbers of `crane_conflict`.

A crane is a mast at a point, a circle of its jib and one of its tail, between the height of its lowest part (hook
up, or counterweight) and its top. Plane metres and normal heights; what is not known is NaN and stays NaN.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import shapely
from numpy.typing import NDArray

from twin.analysis.verdict import SAME

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_LOWEST_Z_M = -500.0
MOST_JIB_M, MOST_TAIL_M = 150.0, 60.0
"""The catalogue's longest: how far a crane of unknown length is looked round for."""


@dataclass(frozen=True)
class Cranes:
    """(n,) masts, lengths and heights; NaN where a number is not known."""

    x: FloatArray
    y: FloatArray
    jib_m: FloatArray
    tail_m: FloatArray
    low_part_elev_m: FloatArray
    top_elev_m: FloatArray

    def __len__(self) -> int:
        return len(self.x)

    @property
    def masts(self) -> NDArray[np.object_]:
        """(n,) points."""
        return np.asarray(shapely.points(self.x, self.y), dtype=object)


@dataclass(frozen=True)
class Pairs:
    """Two cranes each.

    Attributes
    ----------
    a, b : (k,) rows, a < b; distance_m : (k,) mast to mast
    overlap_m : (k,) how far the circles overlap, 0 where they do not
    low : (k,) row of the lower crane, -1 where both are as high or it is not known
    jib_to_mast_m : (k,) end of the low crane's jib to the other mast, the smaller of the two where none is lower
    vertical_gap_m : (k,) lowest part of the high one above the top of the low one; NaN where the circles do not overlap
        or heights are not known
    """

    a: IntArray
    b: IntArray
    distance_m: FloatArray
    overlap_m: FloatArray
    low: IntArray
    jib_to_mast_m: FloatArray
    vertical_gap_m: FloatArray


def pairs(cranes: Cranes, look_within_m: float = 20.0) -> Pairs:
    """All pairs whose circles come within `look_within_m` of each other."""
    reach = np.where(np.isnan(cranes.jib_m), MOST_JIB_M, cranes.jib_m)
    a, b = _near(cranes, reach, look_within_m)
    distance = np.hypot(cranes.x[a] - cranes.x[b], cranes.y[a] - cranes.y[b])
    jib_a, jib_b = cranes.jib_m[a], cranes.jib_m[b]
    overlap = np.where(np.isnan(jib_a + jib_b), np.nan, np.maximum(jib_a + jib_b - distance, 0.0))
    is_known, rise = _higher(cranes, a, b)
    low = np.where(~is_known | (np.abs(rise) <= SAME), -1, np.where(rise > 0, b, a)).astype(np.int64)
    to_mast = np.where(
        low < 0, distance - np.maximum(jib_a, jib_b), distance - np.where(low == a, jib_a, jib_b)
    )  # an unknown jib leaves NaN
    gap_ab = cranes.low_part_elev_m[a] - cranes.top_elev_m[b]
    gap_ba = cranes.low_part_elev_m[b] - cranes.top_elev_m[a]
    gap = np.where(low == b, gap_ab, np.where(low == a, gap_ba, np.maximum(gap_ab, gap_ba)))
    meets = ~(overlap <= SAME)  # unknown lengths may meet
    return Pairs(a, b, distance, overlap, low, to_mast, np.where(meets, gap, np.nan))


def _near(cranes: Cranes, reach: FloatArray, look_within_m: float) -> tuple[IntArray, IntArray]:
    if not len(cranes):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    masts = cranes.masts
    boxes = shapely.box(
        cranes.x - reach - look_within_m, cranes.y - reach - look_within_m, cranes.x + reach + look_within_m,
        cranes.y + reach + look_within_m,
    )  # fmt: skip
    circles = shapely.box(cranes.x - reach, cranes.y - reach, cranes.x + reach, cranes.y + reach)
    a, b = shapely.STRtree(circles).query(boxes)
    distance = np.asarray(shapely.distance(masts[a], masts[b]))
    keep = (a < b) & (distance <= reach[a] + reach[b] + look_within_m + SAME)
    a, b = a[keep], b[keep]
    order = np.lexsort((b, a))
    return a[order].astype(np.int64), b[order].astype(np.int64)


def _higher(cranes: Cranes, a: IntArray, b: IntArray) -> tuple[NDArray[np.bool_], FloatArray]:
    """Whether it is known which crane is higher, and how much a is: by lowest parts, by tops where these lack."""
    rise = cranes.low_part_elev_m[a] - cranes.low_part_elev_m[b]
    rise = np.where(np.isnan(rise), cranes.top_elev_m[a] - cranes.top_elev_m[b], rise)
    return ~np.isnan(rise), rise


def tails(
    cranes: Cranes, footprints: NDArray[np.object_], tops_m: FloatArray, within_m: float
) -> tuple[IntArray, IntArray, FloatArray, FloatArray]:
    """Tails to buildings that they come within `within_m` of in plan.

    Returns
    -------
    (k,) rows of cranes, (k,) rows of buildings, (k,) free distance in space (NaN where it is not known and may be too
    small), (k,) the distance in plan from the tail's circle, 0 where it sweeps over, NaN for an unknown tail
    """
    reach = np.where(np.isnan(cranes.tail_m), MOST_TAIL_M, cranes.tail_m)
    masts = cranes.masts
    if not len(cranes) or not len(footprints):
        none = np.empty(0, np.int64)
        return none, none, np.empty(0), np.empty(0)
    crane, building = shapely.STRtree(footprints).query(masts, "dwithin", reach + within_m + SAME)
    plan = np.asarray(shapely.distance(masts[crane], footprints[building]))
    flat = np.maximum(plan - cranes.tail_m[crane], 0.0)
    rise = np.maximum(cranes.low_part_elev_m[crane] - tops_m[building], 0.0)
    free = np.hypot(flat, rise)  # NaN where either is not known
    free = np.where(np.isnan(free) & (flat >= within_m - SAME), flat, free)
    free = np.where(np.isnan(free) & (rise >= within_m - SAME), rise, free)
    return crane.astype(np.int64), building.astype(np.int64), free, flat


def line_gaps(
    mast: tuple[float, float], reach_m: float, heights: tuple[float, float], line: shapely.Geometry, horizontal_m: float
) -> tuple[float, float]:
    """Horizontal and vertical distance of a crane to a line.

    Parameters
    ----------
    reach_m : jib or tail, whichever is longer
    heights : lowest part and top
    line : with heights; conductors run straight between its vertices
    horizontal_m : the vertical distance is asked of what comes nearer than this in plan

    Returns
    -------
    horizontal gap (0 where the jib sweeps over the line); smallest vertical gap, negative where the line lies between
    lowest part and top, inf where nothing comes near in plan, NaN where heights are not known
    """
    flat = float(shapely.distance(shapely.Point(mast), shapely.force_2d(line)))
    gap = max(flat - reach_m, 0.0)
    if gap >= horizontal_m - SAME:
        return gap, np.inf
    low, top = heights
    if not shapely.has_z(line) or np.isnan(low) or np.isnan(top):
        return gap, np.nan
    best = np.inf
    for part in shapely.get_parts(line):
        points = shapely.get_coordinates(part, include_z=True)
        if (points[:, 2] == 0).all() or (points[:, 2] < _LOWEST_Z_M).any():
            return gap, np.nan  # no heights, only their place in the file
        for start, end in pairwise(points):
            span = _within(start - [*mast, 0], end - [*mast, 0], reach_m + horizontal_m)
            if span is None:
                continue
            z = start[2] + (end[2] - start[2]) * np.array(span)
            if np.isnan(z).any():
                return gap, np.nan
            nearest = np.clip(0.5 * (low + top), z.min(), z.max())  # where the line is deepest between the two
            best = min(best, max(nearest - top, low - nearest))
    return gap, best


def _within(a: FloatArray, b: FloatArray, radius: float) -> tuple[float, float] | None:
    """Shares of a segment between which it lies within a radius of 0, 0 in plan."""
    step = b[:2] - a[:2]
    size = float(step @ step)
    c = float(a[:2] @ a[:2]) - radius * radius
    if size == 0.0:
        return (0.0, 1.0) if c <= 0 else None
    half = float(a[:2] @ step)
    root = half * half - size * c
    if root < 0:
        return None
    first, last = (-half - np.sqrt(root)) / size, (-half + np.sqrt(root)) / size
    if last < 0 or first > 1:
        return None
    return max(first, 0.0), min(last, 1.0)
