"""Shaded relief and slope from heights on the pixels of a tile.

Gradient: B. K. P. Horn 1981, "Hill shading and the reflectance map", Proc. IEEE 69(1), 14-47: weighted differences over
the 3 x 3 neighbours. Distances are those on the ground: a pixel of WebMercatorQuad at 28° is 0.88 of what its
coordinates say, one in degrees is as wide as its parallel is long there. The neighbours come with the tile (a margin of
one pixel), so that tiles meet without a seam.
"""

import numpy as np
from numpy.typing import NDArray

from layers import crs
from tiles.imagery.sheets import Frame

AZIMUTH_DEG, ALTITUDE_DEG = 315.0, 45.0
"""Where the light comes from: north-west, half way up, as every printed map has it."""
A_M, E2 = 6378137.0, 0.00669438002290
"""Major axis and squared eccentricity of CGCS2000 (GRS 80)."""
Field = NDArray[np.float32]


def ground_size(frame: Frame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(rows,) width and height in metres on the ground of the pixels of each row of a frame, margin included.

    Exact on the ellipsoid for WebMercator and degrees; in a projected CRS its own metres (off by the scale of the
    projection, below 0.04 % in a Gauss-Krüger zone of 3 degrees).
    """
    rows = frame.corner[1] - (np.arange(frame.pixels) + 0.5) * frame.cell
    if crs.is_geographic(frame.grid.crs):
        lat, across, along = np.radians(rows), np.radians(frame.cell), np.radians(frame.cell)
        wide = np.maximum(np.cos(lat), 1e-6)
    elif frame.grid.crs == "EPSG:3857":
        lat = 2 * np.arctan(np.exp(rows / A_M)) - np.pi / 2
        across = along = frame.cell / A_M
        # one unit of mercator is 1 / cos(lat) of a sphere's metre, in both directions
        wide = np.cos(lat)
        along = along * wide
    else:
        metres = np.full(frame.pixels, frame.cell * crs.metres_per_unit(frame.grid.crs))
        return metres, metres
    bend = 1 - E2 * np.sin(lat) ** 2
    return across * wide * A_M / np.sqrt(bend), along * A_M * (1 - E2) / bend**1.5


def gradient(heights: Field, frame: Frame) -> tuple[Field, Field]:
    """(n + 2, n + 2) heights with a margin -> (n, n) rise to the east and to the north, per metre.

    A neighbour without height is taken to continue the slope from the opposite one; NaN where the middle has none.
    """
    middle, size = heights[1:-1, 1:-1], heights.shape[0] - 2

    def at(down: int, right: int) -> Field:
        return heights[1 + down : 1 + down + size, 1 + right : 1 + right + size]

    def beside(down: int, right: int) -> Field:
        there, across = at(down, right), 2 * middle - at(-down, -right)
        return np.where(np.isfinite(there), there, np.where(np.isfinite(across), across, middle))

    nw, n, ne = beside(-1, -1), beside(-1, 0), beside(-1, 1)
    w, e = beside(0, -1), beside(0, 1)
    sw, s, se = beside(1, -1), beside(1, 0), beside(1, 1)
    width, height = (each[1:-1, None] for each in ground_size(frame))
    east = ((ne + 2 * e + se) - (nw + 2 * w + sw)) / (8 * width)
    north = ((nw + 2 * n + ne) - (sw + 2 * s + se)) / (8 * height)
    return east.astype(np.float32), north.astype(np.float32)


def hillshade(
    heights: Field, frame: Frame, azimuth_deg: float = AZIMUTH_DEG, altitude_deg: float = ALTITUDE_DEG
) -> Field:
    """(n + 2, n + 2) heights in metres with a margin -> (n, n) brightness 0 to 1, NaN where there is no height.

    The cosine between the light and the ground's normal; 0 where the ground turns away from it.
    """
    east, north = gradient(heights, frame)
    azimuth, altitude = np.radians(azimuth_deg), np.radians(altitude_deg)
    towards = np.sin(azimuth) * east + np.cos(azimuth) * north
    light = (np.sin(altitude) - np.cos(altitude) * towards) / np.sqrt(1 + east * east + north * north)
    return np.maximum(light, 0).astype(np.float32)


def slope_deg(heights: Field, frame: Frame) -> Field:
    """(n + 2, n + 2) heights in metres with a margin -> (n, n) steepest slope in degrees."""
    east, north = gradient(heights, frame)
    return np.degrees(np.arctan(np.hypot(east, north))).astype(np.float32)
