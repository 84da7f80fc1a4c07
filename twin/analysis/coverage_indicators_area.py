"""What devices cover: discs and sectors as polygons whose area is exact, and the share of an area that a cover has."""

import numpy as np
import shapely
from numpy.typing import NDArray

from layers import ellipsoid_area
from layers.errors import InvalidInput

FloatArray = NDArray[np.float64]
Shapes = NDArray[np.object_]

SAGITTA_M = 5e-3
"""Arcs are divided so densely that chord and arc lie closer than this."""
MOST_STEPS = 1440
FULL_DEG = 360.0


def sectors(xy: FloatArray, azimuth_deg: FloatArray, fov_deg: FloatArray, range_m: FloatArray) -> Shapes:
    """Circular sectors, and discs where the field of view is 360°.

    Parameters
    ----------
    xy : (n, 2) metres
    azimuth_deg : (n,) middle of the view, clockwise from grid north; does not matter (may be NaN) for 360°
    fov_deg : (n,) whole opening, above 0 and up to 360
    range_m : (n,) radius, not negative; 0 gives an empty polygon

    Returns
    -------
    (n,) polygons; None where a number is missing. Chords lie on a slightly larger circle, so that the area is
    exactly that of the sector; the edge is off by less than 5 mm, up to a radius of 2 km.

    Raises
    ------
    InvalidInput
        A field of view or a range is out of bounds; the message names it and the row.
    """
    with np.errstate(invalid="ignore"):
        for name, wrong in (("fov_deg", ~((fov_deg > 0) & (fov_deg <= FULL_DEG))), ("range_m", ~(range_m >= 0))):
            values = fov_deg if name == "fov_deg" else range_m
            bad = np.flatnonzero(wrong & ~np.isnan(values))
            if bad.size:
                raise InvalidInput(f"{name} of device {bad[0]} is {values[bad[0]]:g}.", "Correct it.")
    is_disc = fov_deg >= FULL_DEG - 1e-9
    is_known = ~(np.isnan(fov_deg) | np.isnan(range_m) | np.isnan(xy).any(axis=1) | (np.isnan(azimuth_deg) & ~is_disc))
    made = np.empty(len(xy), object)
    for row in np.flatnonzero(is_known).tolist():
        azimuth = 0.0 if is_disc[row] else float(azimuth_deg[row])
        made[row] = _sector(xy[row], azimuth, min(float(fov_deg[row]), FULL_DEG), float(range_m[row]))
    return made


def discs(xy: FloatArray, radius_m: FloatArray) -> Shapes:
    """(n, 2) metres, (n,) metres -> (n,) polygons of exactly the circles' areas; None where a number is missing."""
    return sectors(xy, np.zeros(len(xy)), np.full(len(xy), FULL_DEG), np.asarray(radius_m, np.float64))


def _sector(xy: FloatArray, azimuth_deg: float, fov_deg: float, range_m: float) -> shapely.Polygon:
    if range_m == 0.0:
        return shapely.Polygon()
    step = 2.0 * np.sqrt(2.0 * SAGITTA_M / range_m)
    n = int(np.clip(np.ceil(np.radians(fov_deg) / step), max(4, fov_deg / 45.0), MOST_STEPS))
    turn = np.radians(fov_deg) / n
    radius = range_m * np.sqrt(turn / np.sin(turn))
    bearings = np.radians(azimuth_deg - fov_deg / 2.0) + turn * np.arange(n + 1)
    arc = np.column_stack([xy[0] + radius * np.sin(bearings), xy[1] + radius * np.cos(bearings)])
    if fov_deg >= FULL_DEG - 1e-9:
        return shapely.Polygon(arc[:-1])
    return shapely.Polygon(np.vstack([xy, arc]))


def covered(areas: Shapes, cover: Shapes, crs: str) -> tuple[FloatArray, FloatArray, Shapes]:
    """How much of each area some cover has; what several cover counts once.

    Parameters
    ----------
    areas : (n,) disjoint polygons; cover : (m,) polygons, None left out; both in `crs`

    Returns
    -------
    (n,) covered m², (n,) whole m², both on the ellipsoid; (n,) what is left uncovered
    """
    whole = ellipsoid_area.areas_m2(areas, crs)
    used = cover[~(shapely.is_missing(cover) | shapely.is_empty(cover))]
    inside, left = np.zeros(len(areas)), np.array(areas, dtype=object)
    if not len(used) or not len(areas):
        return inside, whole, left
    tree = shapely.STRtree(used)
    area, device = tree.query(areas, predicate="intersects")
    for row in np.unique(area).tolist():
        over = shapely.union_all(used[device[area == row]])
        left[row] = shapely.difference(areas[row], over)
        # the part that is left is taken off, not the overlap measured: both add up to the whole
        inside[row] = whole[row] - ellipsoid_area.areas_m2(np.array([left[row]], dtype=object), crs)[0]
    return np.clip(inside, 0.0, whole), whole, left
