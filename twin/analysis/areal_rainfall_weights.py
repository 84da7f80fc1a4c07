"""Thiessen weights: which share of a basin lies nearest to which station. Without a city."""

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.errors import InvalidInput
from twin.analysis.verdict import SAME

FloatArray = NDArray[np.float64]


def nearest_parts(points: FloatArray, basin: shapely.Geometry) -> NDArray[np.object_]:
    """(n, 2) stations and a basin in one plane CRS -> (n,) parts of the basin that are nearest to each station.

    Each part is cut by the perpendicular bisectors to the other stations, nearest first; stations so far off that
    their bisector cannot meet what is left are not looked at. Parts may be empty. Thiessen 1911, "Precipitation
    averages for large areas", Monthly Weather Review 39.
    """
    middle = np.array(shapely.get_coordinates(shapely.centroid(basin))[0])
    at = points - middle
    west, south, east, north = shapely.bounds(shapely.transform(basin, lambda xy: xy - middle)).tolist()
    frame = np.array([[west, south], [east, south], [east, north], [west, north]])
    cells = np.empty(len(at), object)
    for k, own in enumerate(at):
        cell, offsets = frame, at - own
        distances = np.hypot(*offsets.T)
        for other in np.argsort(distances, kind="stable")[1:]:
            reach = np.hypot(*(cell - own).T).max(initial=0.0)
            if not len(cell) or distances[other] > 2 * reach:
                break
            cell = _half(cell, own + offsets[other] / 2, offsets[other])
        cells[k] = shapely.Polygon(cell + middle) if len(cell) >= 3 else shapely.Polygon()
    parts: NDArray[np.object_] = shapely.intersection(cells, basin)
    return parts


def _half(ring: FloatArray, point: FloatArray, normal: FloatArray) -> FloatArray:
    """A convex ring (not closed) cut by a line: what lies on the side the normal points away from."""
    side = (ring - point) @ normal
    kept = []
    for k in range(len(ring)):
        a, b = side[k - 1], side[k]
        if (a < 0) != (b < 0):
            kept.append(ring[k - 1] + (ring[k] - ring[k - 1]) * (a / (a - b)))
        if b <= 0:
            kept.append(ring[k])
    return np.array(kept).reshape(-1, 2)


def thiessen(
    points: FloatArray, basin: shapely.Geometry, ids: list[str] | None = None
) -> tuple[FloatArray, NDArray[np.object_]]:
    """(n, 2) stations, a basin in the same plane CRS -> (n,) weights that sum to 1, (n,) parts of the basin.

    Raises
    ------
    InvalidInput
        No station, two at one place (named), or a basin without area.
    """
    names = ids or [str(k) for k in range(len(points))]
    if not len(points):
        raise InvalidInput("stations has none with a value.")
    if not shapely.area(basin) > 0:
        raise InvalidInput("basin has no area.")
    order = np.lexsort(points.T)
    gaps = np.hypot(*np.diff(points[order], axis=0).T)
    same = np.flatnonzero(gaps < SAME)
    if same.size:
        a, b = names[order[same[0]]], names[order[same[0] + 1]]
        raise InvalidInput(f"stations {a!r} and {b!r} stand at one place.", "Leave one of them out.")
    parts = nearest_parts(points, basin)
    areas: FloatArray = np.asarray(shapely.area(parts), np.float64)
    total = float(shapely.area(basin))
    if abs(areas.sum() - total) > 1e-6 * total:
        raise InvalidInput("basin cannot be divided: its parts do not sum to its area.", "Repair its outline.")
    return areas / areas.sum(), parts
