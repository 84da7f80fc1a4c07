"""Areas on the CGCS2000 ellipsoid of many polygons at once.

The survey's own area is the one on the ellipsoid (Circular 32 of 2008 of the land survey office); a plane area in a
3-degree zone is too large by up to 400 parts in a million at its edge. Edges are straight in the CRS the polygons are
in: they are divided densely, taken to longitude and latitude, then onto Lambert's cylindrical equal-area map of the
ellipsoid (Snyder 1987, "Map Projections", eq. 10-13 to 10-15), where a plane area is an area on the ellipsoid.
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
STEP_M = 25.0
"""Edges are divided so densely (error below 0.003 m² for each kilometre of edge), those of giant outlines less."""
_MOST_STEPS = 20_000
_DEGREE_M = 111_320.0


def equal_area(lon_deg: FloatArray, lat_deg: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(n,) degrees -> (n,) x, (n,) y in metres on the equal-area cylinder of the ellipsoid, central meridian 0."""
    sine = np.sin(np.radians(lat_deg))
    es = _E * sine
    q = (1.0 - _E2) * (sine / (1.0 - es * es) + np.arctanh(es) / _E)
    return A_M * np.radians(lon_deg), A_M * q / 2.0


def areas_m2(geometries: NDArray[np.object_], source: str) -> FloatArray:
    """(n,) geometries in `source` (east first), edges as stored -> (n,) areas in m²; 0 for lines, points and None.

    Holes are taken off. Agrees with the official series within 0.001 m² for 0.01° quads.
    """
    shapes = np.asarray(geometries, dtype=object)
    out = np.zeros(len(shapes))
    rows = np.flatnonzero(shapely.get_dimensions(shapes) == 2)
    if not rows.size:
        return out
    dense = np.asarray(shapely.segmentize(shapely.force_2d(shapes[rows]), _steps(shapes[rows], source)), dtype=object)
    xy, owner = shapely.get_coordinates(dense, return_index=True)
    lon, lat = (xy[:, 0], xy[:, 1]) if crs.is_geographic(source) else crs.transform(source, crs.CGCS2000, *xy.T)
    x, y = equal_area(lon, lat)
    first = np.concatenate([[0], np.flatnonzero(np.diff(owner)) + 1])
    # near its own origin each outline keeps its digits: the shoelace sum of far coordinates loses them
    x, y = x - x[first][owner], y - y[first][owner]
    out[rows] = shapely.area(shapely.set_coordinates(dense, np.column_stack([x, y])))
    return out


def _steps(shapes: NDArray[np.object_], source: str) -> FloatArray:
    unit_m = _DEGREE_M if crs.is_geographic(source) else crs.metres_per_unit(source)
    step: FloatArray = np.maximum(STEP_M / unit_m, shapely.length(shapes) / _MOST_STEPS)
    return step
