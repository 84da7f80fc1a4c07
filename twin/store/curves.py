"""Straight edges of one CRS as the curves they are in another, within a stated distance.

An edge is halved until its middle lies on its chord. The middle is where the chord of a parabola is furthest from it,
and the edges of a map's figures come that close to parabolas once they are a few kilometres long.
"""

import numpy as np
import shapely
from numpy.typing import NDArray

from layers import crs
from layers.crs import Bounds
from layers.errors import InvalidInput

TOLERANCE_M = 1e-4
"""How far the polygon may stray from the true curve: as much as coordinates of answers are rounded to."""
FAR_TOLERANCE_M = 0.01
"""The same where there are no features anyway."""
MAX_VERTICES = 20_000
"""Of one path. Of one that would need more, such as a circle of latitude 50 km around a pole, the tolerance grows."""
_PARTS = 3  # an edge that is bent like an S has its middle on its chord, its thirds have not
_ROUNDS = 24

FloatArray = NDArray[np.float64]


def placed(made: shapely.Geometry, source: str, target: str, near: Bounds | None = None) -> shapely.Geometry:
    """A geometry of `source` (east first) in `target`, in metres there; heights are dropped.

    Parameters
    ----------
    near : where the tolerance must hold, in `target`; beyond it `FAR_TOLERANCE_M` does. None is everywhere

    Raises InvalidInput where a vertex has no place in the target.
    """
    if shapely.is_empty(made):
        return made
    there = _placed(shapely.force_2d(made), source, target, near)
    if not np.isfinite(shapely.get_coordinates(there)).all():
        raise InvalidInput(f"A geometry does not fit into {crs.name(target)}.", "Use a smaller one.")
    return there


def _placed(made: shapely.Geometry, source: str, target: str, near: Bounds | None) -> shapely.Geometry:
    kind = made.geom_type
    if kind == "Point":
        return shapely.points(_moved(shapely.get_coordinates(made), source, target)[0])
    if kind in {"LineString", "LinearRing"}:
        path = followed(shapely.get_coordinates(made), source, target, near)
        return shapely.linestrings(path) if kind == "LineString" else shapely.linearrings(path)
    if kind == "Polygon":
        shell, *holes = (_placed(ring, source, target, near) for ring in (made.exterior, *made.interiors))
        return shapely.polygons(shell, holes or None)
    parts = [_placed(part, source, target, near) for part in made.geoms]
    collect = {
        "MultiPoint": shapely.multipoints, "MultiLineString": shapely.multilinestrings,
        "MultiPolygon": shapely.multipolygons, "GeometryCollection": shapely.geometrycollections,
    }  # fmt: skip
    return collect[kind](parts)


def followed(path: FloatArray, source: str, target: str, near: Bounds | None = None) -> FloatArray:
    """(n, 2) vertices of a path as (m, 2) vertices in the target, m >= n; inf where there is no place."""
    shares = np.arange(_PARTS) / _PARTS
    thirds = path[:-1, None] + shares[:, None] * np.diff(path, axis=0)[:, None]
    here = np.concatenate([thirds.reshape(-1, 2), path[-1:]])
    there = _moved(here, source, target)
    is_open = np.ones(len(here) - 1, bool)
    for _ in range(_ROUNDS):
        at = np.flatnonzero(is_open)
        middle = (here[at] + here[at + 1]) / 2
        placed_middle = _moved(middle, source, target)
        with np.errstate(invalid="ignore"):
            strays = np.hypot(*(placed_middle - (there[at] + there[at + 1]) / 2).T)
            # half, since the figure is a parabola but for a little
            split = strays > _limits(there[at], there[at + 1], near) / 2
        if not split.any() or len(here) + split.sum() > MAX_VERTICES:
            break
        chosen = at[split]
        here = np.insert(here, chosen + 1, middle[split], axis=0)
        there = np.insert(there, chosen + 1, placed_middle[split], axis=0)
        is_open = np.zeros(len(here) - 1, bool)
        first = chosen + np.arange(len(chosen))
        is_open[first] = is_open[first + 1] = True
    return there


def _limits(a: FloatArray, b: FloatArray, near: Bounds | None) -> FloatArray:
    if near is None:
        return np.full(len(a), TOLERANCE_M)
    low, high = np.minimum(a, b), np.maximum(a, b)
    grow = np.hypot(*(b - a).T)[:, None]  # the curve leaves the box of its chord, by less than its length
    low, high = low - grow, high + grow
    meets = (high[:, 0] >= near[0]) & (low[:, 0] <= near[2]) & (high[:, 1] >= near[1]) & (low[:, 1] <= near[3])
    return np.where(meets, TOLERANCE_M, FAR_TOLERANCE_M)


def _moved(points: FloatArray, source: str, target: str) -> FloatArray:
    x, y = crs.transform(source, target, points[:, 0], points[:, 1])
    return np.stack([x, y], axis=1)
