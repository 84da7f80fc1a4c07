"""A layer against a reference layer that is known to lie right: by how much is it off, and what explains that."""

from collections.abc import Callable

import numpy as np
import shapely
from numpy.typing import NDArray

from layers import crs, gcj02
from layers.crs_doubts import Doubt

FloatArray = NDArray[np.float64]

WEB_MAP_M = (100.0, 700.0)
"""Mean residual of data in GCJ-02: 300 to 700 m anywhere in China; from the nearest outline only a part of that."""

BD09_M = (100.0, 2500.0)
OLD_DATUM_M = (10.0, 300.0)
"""Beijing 1954 and Xi'an 1980 lie some tens of metres to about 200 m off CGCS2000."""

EXPLAINED = 0.2
"""An explanation must take the mean residual below this share of what it was, or below `GOOD_M`."""

CONSTANT = 0.5
"""One constant shift must take away half of the residual; what is left is the noise of both layers."""

GOOD_M = 10.0
LEAST_PAIRS = 5
MOST_CONTROL_POINTS = 6


SIGNIFICANT = 3.0
"""A constant shift is told apart from noise when it is so many times the standard error of its own measurement."""

MOST_STEPS = 40
SETTLED_M = 0.01

COARSE_M = 2000.0
"""A reference whose vertices lie further apart than this is drawn for small scales: its lines are hundreds of metres to
kilometres beside the truth, more than any shift that is looked for."""


class Outlines:
    """Outlines, lines and points of a reference, to be asked for their nearest places."""

    def __init__(self, reference: NDArray[np.object_]) -> None:
        lines = np.array([shapely.boundary(g) if _is_area(g) else g for g in reference if g is not None] + [None])[:-1]
        parts = shapely.get_parts(lines)
        is_line = shapely.get_type_id(parts) > 0
        xy, index = shapely.get_coordinates(parts[is_line], return_index=True)
        goes_on = np.diff(index) == 0
        ends = np.stack([xy[:-1], xy[1:]], axis=1)[goes_on]  # one by one: a coast in one piece has no box to speak of
        self._lengths_m = np.hypot(*(ends[:, 1] - ends[:, 0]).T)
        self._shapes = np.concatenate([shapely.linestrings(ends), parts[~is_line]])
        self._tree = shapely.STRtree(self._shapes)

    def nearest(self, places: FloatArray) -> FloatArray:
        """(n, 2) places -> (n, 2) vectors to the nearest place on any outline, line or point, metres."""
        points = shapely.points(places)
        index = self._tree.nearest(points)
        ends = shapely.get_point(shapely.shortest_line(points, self._shapes[index]), -1)
        return np.column_stack([shapely.get_x(ends), shapely.get_y(ends)]) - places

    def spacing_m(self) -> float:
        """Median length of the pieces between vertices; 0 for points."""
        return float(np.median(self._lengths_m)) if len(self._lengths_m) else 0.0


def nearest(xy: FloatArray, reference: NDArray[np.object_]) -> FloatArray:
    """(n, 2) places -> (n, 2) vectors to the nearest place on any outline, line or point of the reference, metres."""
    return Outlines(reference).nearest(xy)


def _is_area(geometry: shapely.Geometry) -> bool:
    return geometry.geom_type in {"Polygon", "MultiPolygon"}


def suspicion(
    xy: FloatArray, offsets: Callable[[FloatArray], FloatArray], plane_crs: str
) -> tuple[float, Doubt | None]:
    """Mean residual in metres of (n, 2) places, and what would explain it.

    `offsets` gives the vectors from places to where the reference has them: from pairs, or from the nearest outline.
    Explanations are tried in this order: none needed, GCJ-02, BD-09, one constant shift (an older datum).
    """
    before = offsets(xy)
    mean_m = _mean(before)
    if mean_m <= GOOD_M:
        return mean_m, None
    tried = [
        ("suspect-gcj02", "GCJ-02", "gcj02", gcj02.from_gcj02, WEB_MAP_M),
        ("suspect-bd09", "BD-09", "bd09", gcj02.from_bd09, BD09_M),
    ]
    left: list[tuple[float, Doubt]] = []
    for code, title, repair, undo, (least, most) in tried:
        lon, lat = crs.transform(plane_crs, crs.WGS84, xy[:, 0], xy[:, 1])
        moved = np.column_stack(crs.transform(crs.WGS84, plane_crs, *undo(lon, lat)))
        after_m = _mean(offsets(moved))
        if least <= mean_m <= most and after_m <= max(GOOD_M, EXPLAINED * mean_m):
            words = (
                f"Mean residual {mean_m:.1f} m; undoing {title} leaves {after_m:.1f} m: the coordinates are {title}."
            )
            left.append((after_m, Doubt(code, words, mean_m, least, "m", {"correct": [repair]})))
    if left:
        return mean_m, min(left, key=lambda each: each[0])[1]
    return mean_m, _constant(xy, mean_m, offsets) or _unexplained(mean_m)


def _constant(xy: FloatArray, mean_m: float, offsets: Callable[[FloatArray], FloatArray]) -> Doubt | None:
    """One shift for all, found by moving until nothing is gained: the nearest outline shows only what is across it."""
    shift = _settled(xy, offsets)
    left = offsets(xy + shift)
    size, left_m = float(np.hypot(*shift)), _mean(left)
    error_m = float(np.hypot(*left.std(axis=0))) / np.sqrt(len(xy))
    if len(xy) < LEAST_PAIRS or size <= max(GOOD_M, SIGNIFICANT * error_m) or left_m > max(GOOD_M, CONSTANT * mean_m):
        return None
    is_old = OLD_DATUM_M[0] <= size <= OLD_DATUM_M[1]
    why = "as Beijing 1954 or Xi'an 1980 do under the name of CGCS2000" if is_old else "which no known system explains"
    words = (
        f"All lie {size:.1f} m off in one direction ({shift[0]:+.1f} east, {shift[1]:+.1f} north), {why}; "
        f"without it {left_m:.1f} m are left of {mean_m:.1f}."
    )
    chosen = np.unique(np.linspace(0, len(xy) - 1, MOST_CONTROL_POINTS).astype(int))
    pairs = [
        {"from": [round(float(v), 3) for v in xy[i]], "to": [round(float(v), 3) for v in xy[i] + shift]} for i in chosen
    ]
    code = "suspect-old-datum" if is_old else "constant-shift"
    return Doubt(code, words, size, OLD_DATUM_M[0], "m", {"control_points": pairs})


def _settled(xy: FloatArray, offsets: Callable[[FloatArray], FloatArray]) -> FloatArray:
    """(2,) the shift that leaves no mean offset, the worst tenth of the places left out."""
    shift = np.zeros(2)
    for _ in range(MOST_STEPS):
        left = offsets(xy + shift)
        length = np.hypot(left[:, 0], left[:, 1])
        step = left[length <= np.quantile(length, 0.9)].mean(axis=0)
        shift = shift + step
        if np.hypot(*step) < SETTLED_M:
            break
    return shift


def _unexplained(mean_m: float) -> Doubt:
    words = f"Mean residual {mean_m:.1f} m, which neither a web map's shift nor a constant one explains."
    return Doubt("reference-residual", words, mean_m, GOOD_M, "m")


def _mean(vectors: FloatArray) -> float:
    return float(np.hypot(vectors[:, 0], vectors[:, 1]).mean())
