"""Areas on the CGCS2000 ellipsoid of many polygons at once, and lengths of many lines.

The survey's own area is the one on the ellipsoid (Circular 32 of 2008 of the land survey office); a plane area in a
3-degree zone is too large by up to 400 parts in a million at its edge. Edges are straight in the CRS the polygons are
in. Two ways, chosen by size:

* a small polygon has its plane area times the map's area factor at its centroid: what is left out is of second order,
  below L⁴ / (24 R²) for a polygon of length L. The factor is a polynomial in cells of 10 km, fitted to PROJ;
* a large one is taken to Lambert's cylindrical equal-area map of the ellipsoid (Snyder 1987, "Map Projections",
  eq. 10-13 to 10-15), each piece of an edge as the parabola through its ends and its middle (Simpson's rule).
"""

import numpy as np
import shapely
from numpy.typing import NDArray

from layers import crs

FloatArray = NDArray[np.float64]

MU_M2 = 10_000.0 / 15.0
"""Square metres of one 亩."""
A_M = 6_378_137.0
F = 1.0 / 298.257222101
_E2 = F * (2.0 - F)
_E = float(np.sqrt(_E2))
SMALL_M = 300.0
"""Width and height up to which the factor at the centroid is taken: error below 1e-5 m²."""
STEP_M = 500.0
"""Longest piece of an edge that is taken as a parabola on the equal-area map: error of fourth order, below 1e-6 m²."""
_MOST_PIECES = 20_000
_DEGREE_M = 111_320.0
_CELL_M = 10_000.0
_H_M = 200.0
"""Step of the differences that give the area factor: fourth order, so that 5e-12 of rounding is what is left."""
_NODES = np.cos(np.pi * (np.arange(5) + 0.5) / 5)
_AT_ONCE = 32_768
_POWERS = [(i, j) for i in range(5) for j in range(5 - i)]


def equal_area(lon_deg: FloatArray, lat_deg: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(n,) degrees -> (n,) x, (n,) y in metres on the equal-area cylinder of the ellipsoid, central meridian 0."""
    sine = np.sin(np.radians(lat_deg))
    es = _E * sine
    q = (1.0 - _E2) * (sine / (1.0 - es * es) + np.arctanh(es) / _E)
    return A_M * np.radians(lon_deg), A_M * q / 2.0


def areas_m2(geometries: NDArray[np.object_], source: str) -> FloatArray:
    """(n,) geometries in `source` (east first), edges as stored -> (n,) areas in m²; 0 for lines, points and None.

    Holes are taken off. Agrees with the official series within 0.001 m² for 0.01° quads. NaN where `source` cannot be
    taken to CGCS2000 there.
    """
    shapes = np.asarray(geometries, dtype=object)
    out = np.zeros(len(shapes))
    rows = np.flatnonzero((shapely.get_dimensions(shapes) == 2) & ~shapely.is_empty(shapes))
    if not rows.size:
        return out
    unit_m = unit_length_m(source)
    box = shapely.bounds(shapes[rows])
    is_small = np.maximum(box[:, 2] - box[:, 0], box[:, 3] - box[:, 1]) * unit_m <= SMALL_M
    small, large = rows[is_small], rows[~is_small]
    if small.size:
        centres = shapely.get_coordinates(shapely.centroid(shapes[small]))
        out[small] = shapely.area(shapes[small]) * _factors(centres, source, unit_m)
    if large.size:
        out[large] = _exact(shapes[large], source, unit_m)
    return out


def lengths_m(geometries: NDArray[np.object_], source: str) -> FloatArray:
    """(n,) geometries in `source`, edges as stored -> (n,) lengths in m on the ellipsoid; 0 for points and None.

    Of areas it is the perimeter. The sum of geodesics between points at most 5 km apart.
    """
    shapes = np.asarray(geometries, dtype=object)
    out = np.zeros(len(shapes))
    rows = np.flatnonzero((shapely.get_dimensions(shapes) >= 1) & ~shapely.is_empty(shapes))
    if not rows.size:
        return out
    chains, owner = _chains(np.asarray(shapely.force_2d(shapes[rows]), dtype=object))
    is_long = shapely.length(chains) > 0  # GEOS refuses to divide what is one place
    dense = shapely.segmentize(chains[is_long], 10 * STEP_M / unit_length_m(source))
    xy, chain = shapely.get_coordinates(dense, return_index=True)
    lon, lat = crs.transform(source, crs.CGCS2000, *xy.T)
    edges = np.flatnonzero(chain[1:] == chain[:-1])
    step = crs.CGCS2000_GEOD.inv(lon[edges], lat[edges], lon[edges + 1], lat[edges + 1])[2]
    out[rows] = np.bincount(owner[is_long][chain[edges]], weights=step, minlength=len(rows))
    return out


def unit_length_m(source: str) -> float:
    """Metres in one unit of the CRS, along the equator for degrees: for step widths, not for measuring."""
    return _DEGREE_M if crs.is_geographic(source) else crs.metres_per_unit(source)


def _chains(shapes: NDArray[np.object_]) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Rings and lines of all parts, and which geometry each belongs to."""
    parts, owner = shapely.get_parts(shapes, return_index=True)
    parts, inner = shapely.get_parts(parts, return_index=True)
    owner = owner[inner]
    is_area = shapely.get_type_id(parts) == 3
    rings, of_part = shapely.get_rings(parts[is_area], return_index=True)
    chains = np.concatenate([rings, parts[~is_area]])
    return chains, np.concatenate([owner[is_area][of_part], owner[~is_area]])


def _exact(shapes: NDArray[np.object_], source: str, unit_m: float) -> FloatArray:
    """(n,) areas: edges in pieces, each a parabola on the equal-area map."""
    parts, of_part = shapely.get_parts(shapely.force_2d(shapes), return_index=True)
    parts, inner = shapely.get_parts(parts, return_index=True)  # collections of multipolygons
    of_part = of_part[inner]
    rings, of_ring = shapely.get_rings(shapely.orient_polygons(parts), return_index=True)
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    edge = np.flatnonzero(ring[1:] == ring[:-1])
    start, along = xy[edge], xy[edge + 1] - xy[edge]
    longest = np.maximum(STEP_M / unit_m, shapely.length(rings)[ring[edge]] / _MOST_PIECES)
    n = np.maximum(1, np.ceil(np.hypot(*along.T) / longest)).astype(np.int64)
    of_edge = np.repeat(np.arange(len(edge)), n)
    k = np.arange(len(of_edge)) - np.repeat(np.cumsum(n) - n, n)
    # a corner is one place for all edges that meet there, else the ring would not close
    fractions = (np.column_stack([k, k + 0.5, k + 1]) / n[of_edge, None])[..., None]
    points = start[of_edge, None, :] + fractions * along[of_edge, None, :]
    points[k + 1 == n[of_edge], 2] = xy[edge + 1][of_edge[k + 1 == n[of_edge]]]
    lon, lat = crs.transform(source, crs.CGCS2000, points[..., 0].ravel(), points[..., 1].ravel())
    x, y = (each.reshape(-1, 3) for each in equal_area(lon, lat))
    owner = ring[edge][of_edge]
    first = np.searchsorted(owner, np.arange(len(rings)))
    # near its own origin each outline keeps its digits: the shoelace sum of far coordinates loses them
    x, y = x - x[first, 0][owner][:, None], y - y[first, 0][owner][:, None]
    chord = (x[:, 0] * y[:, 2] - x[:, 2] * y[:, 0]) / 2.0
    middle = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (x[:, 2] - x[:, 0]) * (y[:, 1] - y[:, 0])
    by_ring = np.bincount(owner, weights=chord + middle * (2.0 / 3.0), minlength=len(rings))
    return np.asarray(np.bincount(of_part[of_ring], weights=by_ring, minlength=len(shapes)), np.float64)


def _factors(xy: FloatArray, source: str, unit_m: float) -> FloatArray:
    """(n, 2) positions -> (n,) m² on the ellipsoid of one square unit of the map there."""
    size = _CELL_M / unit_m
    cells, inverse = _cells(np.floor(xy / size).astype(np.int64))
    if len(cells) * len(_NODES) ** 2 > len(xy):  # few in each cell
        return _jacobian(xy, source, _H_M / unit_m)
    u, v = (each.ravel() for each in np.meshgrid(_NODES, _NODES))
    centres = (cells + 0.5) * size
    nodes = centres[:, None, :] + 0.5 * size * np.column_stack([u, v])[None]
    known = _jacobian(nodes.reshape(-1, 2), source, _H_M / unit_m).reshape(len(cells), -1)
    fitted = known @ np.linalg.pinv(np.column_stack([u**i * v**j for i, j in _POWERS])).T
    out = np.empty(len(xy))
    for low in range(0, len(xy), _AT_ONCE):
        part = slice(low, low + _AT_ONCE)
        out[part] = _polynomial(fitted.T[:, inverse[part]], *((xy[part] - centres[inverse[part]]) * (2.0 / size)).T)
    return out


def _polynomial(coefficients: FloatArray, u: FloatArray, v: FloatArray) -> FloatArray:
    """(15, n) coefficients in the order of `_POWERS`, (n,) u, (n,) v -> (n,): Horner in u, and in v for each power."""
    out, column = np.zeros(len(u)), len(_POWERS)
    for i in range(4, -1, -1):
        inner = np.zeros(len(u))
        for _ in range(5 - i):
            column -= 1
            inner = inner * v + coefficients[column]
        out = out * u + inner
    return out


def _cells(numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(n, 2) numbers of cells -> those that occur, and which of them each is."""
    low = numbers.min(axis=0)
    width = int(numbers[:, 1].max() - low[1]) + 1
    keys, inverse = np.unique((numbers[:, 0] - low[0]) * width + numbers[:, 1] - low[1], return_inverse=True)
    return np.column_stack([keys // width, keys % width]) + low, inverse


def _jacobian(xy: FloatArray, source: str, h: float) -> FloatArray:
    """The same from differences of the equal-area map, (f(-2h) - 8 f(-h) + 8 f(h) - f(2h)) / 12 h."""
    steps = np.array([-2.0, -1.0, 1.0, 2.0]) * h
    weights = np.array([1.0, -8.0, 8.0, -1.0]) / (12.0 * h)
    points = np.repeat(xy[:, None, :], 8, axis=1)
    points[:, :4, 0] += steps
    points[:, 4:, 1] += steps
    lon, lat = crs.transform(source, crs.CGCS2000, points[..., 0].ravel(), points[..., 1].ravel())
    x, y = (each.reshape(-1, 8) for each in equal_area(lon, lat))
    x_east, x_north, y_east, y_north = x[:, :4] @ weights, x[:, 4:] @ weights, y[:, :4] @ weights, y[:, 4:] @ weights
    found: FloatArray = np.abs(x_east * y_north - x_north * y_east)
    return found
