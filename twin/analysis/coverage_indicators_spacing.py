"""How closely stations stand: nearest neighbours, the share of area each has, and the largest gap between them.

Plane distances. The largest gap is exact: in its own Voronoi cell the distance from a station grows outwards, so that
inside an area it is largest at a corner of what cell and area have in common.
"""

from dataclasses import dataclass

import numpy as np
import scipy  # its parts load when they are first asked
import shapely
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
SAME_PLACE_M = 1e-3
"""Stations this near to one another are one station, told twice."""


@dataclass(frozen=True)
class Spacing:
    """Of the stations inside an area. A number that cannot be told (too few stations) is NaN.

    Attributes
    ----------
    n_stations : places; stations at one place count once
    n_coincident : stations left out for that
    nearest_m : (n,) distance of each place to the nearest other one
    mean_nearest_m, area_based_m, largest_gap_m : mean of these; sqrt(A / N); farthest distance of a point of the area
        from its nearest station
    gap_at : that point
    """

    n_stations: int
    n_coincident: int
    nearest_m: FloatArray
    mean_nearest_m: float
    area_based_m: float
    largest_gap_m: float
    gap_at: shapely.Point | None


def distinct(xy: FloatArray) -> NDArray[np.int64]:
    """(n, 2) -> rows that are kept when places within `SAME_PLACE_M` are one, ascending."""
    if not len(xy):
        return np.empty(0, np.int64)
    keep = np.ones(len(xy), bool)
    for a, b in sorted(scipy.spatial.cKDTree(xy).query_pairs(SAME_PLACE_M)):
        if keep[a]:
            keep[b] = False
    return np.flatnonzero(keep)


def nearest_m(xy: FloatArray) -> FloatArray:
    """(n, 2) distinct places in metres -> (n,) distance to the nearest other one; NaN for a single one."""
    if len(xy) < 2:
        return np.full(len(xy), np.nan)
    found: FloatArray = scipy.spatial.cKDTree(xy).query(xy, k=2)[0][:, 1]
    return found


def largest_gap(xy: FloatArray, area: shapely.Geometry) -> tuple[float, shapely.Point | None]:
    """The point of an area that is farthest from its nearest station: the distance in metres, and where.

    Parameters
    ----------
    xy : (n, 2) stations, which may lie outside the area; none of them: NaN, None
    area : valid polygon or multipolygon
    """
    if not len(xy) or shapely.is_empty(area):
        return np.nan, None
    inside = [area]
    if len(xy) > 1:
        cells = shapely.get_parts(shapely.voronoi_polygons(shapely.MultiPoint(xy), extend_to=shapely.envelope(area)))
        shapely.prepare(area)
        inside += [each for each in shapely.intersection(cells, area) if not shapely.is_empty(each)]
    corners = np.unique(shapely.get_coordinates(inside), axis=0)
    distances = scipy.spatial.cKDTree(xy).query(corners)[0]
    at = int(distances.argmax())
    return float(distances[at]), shapely.Point(corners[at])


def spacing(stations: FloatArray, area: shapely.Geometry) -> Spacing:
    """(n, 2) stations in metres and an area in the same plane; only stations inside it count, its edge included."""
    inside = shapely.dwithin(shapely.points(stations), area, 1e-6) if len(stations) else np.zeros(0, bool)
    xy = np.asarray(stations, np.float64).reshape(-1, 2)[inside]
    kept = xy[distinct(xy)]
    near = nearest_m(kept)
    gap, where = largest_gap(kept, area)
    n = len(kept)
    area_based = float(np.sqrt(shapely.area(area) / n)) if n else np.nan
    mean = float(near.mean()) if n > 1 else np.nan
    return Spacing(n, len(xy) - n, near, mean, area_based, gap, where)
