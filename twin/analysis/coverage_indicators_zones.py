"""Things shared out among zones: points to one zone each, lines and areas cut, so that the parts add up to the whole.

Zones that overlap are made disjoint first: what two of them hold belongs to the one that comes first.
"""

import numpy as np
import shapely
from numpy.typing import NDArray

from layers import crs

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Shapes = NDArray[np.object_]

NOWHERE = -1
"""In no zone."""
SAME_M = 1e-6


def disjoint(zones: Shapes) -> tuple[Shapes, float]:
    """(k,) areas -> the same without what an earlier one has, and the plane area in m² that was taken off."""
    made = np.array(zones, dtype=object)
    taken = 0.0
    tree = shapely.STRtree(made)
    first, second = tree.query(made, predicate="intersects")
    for later in np.unique(first[second < first]).tolist():
        earlier = shapely.union_all(zones[second[(first == later) & (second < later)]])
        left = _areas_only(shapely.difference(zones[later], earlier))
        taken += float(shapely.area(made[later]) - shapely.area(left))
        made[later] = left
    return made, taken


def kept(shapes: Shapes, keep: NDArray[np.bool_]) -> Shapes:
    """(n,) the same geometries, None where they are not to be kept."""
    made: Shapes = np.array(shapes, dtype=object)
    made[~keep] = None
    return made


def lines_of(shapes: Shapes) -> Shapes:
    """(n,) the same geometries, None for what is no line."""
    return kept(shapes, shapely.get_dimensions(shapes) == 1)


def zone_of_points(points: Shapes, zones: Shapes) -> IntArray:
    """(n,) points, (k,) zones -> (n,) index of the first zone that holds it, its edge counting; -1 for none or None."""
    found = np.full(len(points), NOWHERE, np.int64)
    if not len(zones) or not len(points):
        return found
    # the tree is of the points: what is asked is prepared, and borders of zones have many vertices
    _first(found, np.arange(len(points)), *shapely.STRtree(points).query(zones, predicate="intersects"))
    left = np.flatnonzero(found == NOWHERE)
    if left.size:  # hardly any: those that a rounding has put beside an edge
        near = shapely.STRtree(points[left]).query(zones, predicate="dwithin", distance=SAME_M)
        _first(found, left, *near)
    return found


def _first(found: IntArray, rows: IntArray, zone: IntArray, point: IntArray) -> None:
    """Write down the first zone of each point that has one."""
    order = np.lexsort((zone, point))
    held, first = np.unique(point[order], return_index=True)
    found[rows[held]] = zone[order][first]


def parts(shapes: Shapes, zones: Shapes) -> tuple[IntArray, IntArray, Shapes]:
    """Lines or areas cut at the zones' edges.

    Parameters
    ----------
    shapes : (n,) lines or areas; None and empty ones give no part
    zones : (k,) disjoint areas

    Returns
    -------
    (m,) row of `shapes`, (m,) zone (-1 for what lies in none), (m,) parts. The parts of a row are that row: a line
    along the edge between two zones is in one of them only.
    """
    shapes = shapely.force_2d(np.asarray(shapes, dtype=object))
    has_shape = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
    rest = kept(shapes, has_shape)
    rows, numbers, cut = [], [], []
    touching = _touching(shapes, zones)
    for row, zone, is_whole in touching:
        if is_whole:
            piece = rest[row]
            rest[row] = None
        else:
            piece = shapely.intersection(rest[row], zones[zone])
            rest[row] = shapely.difference(rest[row], zones[zone])
        rows.append(row)
        numbers.append(zone)
        cut.append(piece)
    left = np.flatnonzero(~(shapely.is_missing(rest) | shapely.is_empty(rest)))
    rows.append(left)
    numbers.append(np.full(len(left), NOWHERE))
    cut.append(rest[left])
    pieces, row = np.concatenate(cut), np.concatenate(rows).astype(np.int64)
    # what merely touches a zone leaves points (of a line) or lines (of an area)
    keep = (shapely.get_dimensions(pieces) == shapely.get_dimensions(shapes)[row]) & ~shapely.is_empty(pieces)
    return row[keep], np.concatenate(numbers).astype(np.int64)[keep], pieces[keep]


def _touching(shapes: Shapes, zones: Shapes) -> list[tuple[IntArray, IntArray, bool]]:
    """Pairs in rounds: in each round every row at most once; what lies wholly in a zone in a round of its own."""
    if not len(zones) or not len(shapes):
        return []
    zone, row = shapely.STRtree(shapes).query(zones, predicate="intersects")
    order = np.lexsort((zone, row))
    row, zone = row[order], zone[order]
    counts = np.bincount(row, minlength=len(shapes))
    is_only = counts[row] == 1
    is_whole = np.zeros(len(row), bool)
    shapely.prepare(zones)
    is_whole[is_only] = shapely.covers(zones[zone[is_only]], shapes[row[is_only]])
    rounds = [(row[is_whole], zone[is_whole], True)]
    row, zone = row[~is_whole], zone[~is_whole]
    place = np.arange(len(row)) - np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(shapes)))])[row]
    rounds += [(row[place == k], zone[place == k], False) for k in range(int(place.max(initial=-1)) + 1)]
    return rounds


def geodesic_lengths_m(lines: Shapes, source: str) -> FloatArray:
    """(n,) lines in `source` -> (n,) lengths on the CGCS2000 ellipsoid, heights ignored; 0 for None and points.

    Vertices are joined by geodesics: for edges below 1 km that differs from the plane's edges by less than 1e-8.
    """
    shapes = np.asarray(lines, dtype=object)
    shapes = lines_of(shapes)
    paths, owner = shapely.get_parts(shapes, return_index=True)
    xy, path = shapely.get_coordinates(paths, return_index=True)
    if len(xy) < 2:
        return np.zeros(len(shapes))
    lon, lat = (xy[:, 0], xy[:, 1]) if crs.is_geographic(source) else crs.transform(source, crs.CGCS2000, *xy.T)
    steps = np.asarray(crs.CGCS2000_GEOD.inv(lon[:-1], lat[:-1], lon[1:], lat[1:])[2], np.float64)
    steps[path[1:] != path[:-1]] = 0.0
    return np.bincount(owner[path[:-1]], weights=steps, minlength=len(shapes))


def _areas_only(shape: shapely.Geometry) -> shapely.Geometry:
    """A difference without the lines and points that cutting may leave."""
    found = [part for part in shapely.get_parts(shape) if shapely.get_dimensions(part) == 2]
    return found[0] if len(found) == 1 else shapely.MultiPolygon(found)
