"""Geocentric coordinates (EPSG:4978) to longitude, latitude and ellipsoidal height, for what comes in 3D Tiles' frame.

The reverse is `frame.geodetic_to_ecef`. Method: EPSG Guidance Note 7-2, 4.1.1 (Bowring's start), repeated three times:
within 1e-9 degrees and 0.01 mm from 10 km under the ellipsoid to 1,000 km above it.
"""

import numpy as np
from numpy.typing import NDArray

from layers.frame import E2, FLATTENING, SEMI_MAJOR_M, enu_axes, geodetic_to_ecef

FloatArray = NDArray[np.float64]

SEMI_MINOR_M = SEMI_MAJOR_M * (1 - FLATTENING)


def ecef_to_geodetic(xyz: FloatArray) -> FloatArray:
    """(n, 3) geocentric metres -> (n, 3) longitude, latitude in degrees, ellipsoidal height in metres."""
    x, y, z = np.asarray(xyz, np.float64).T
    across = np.hypot(x, y)
    second = E2 / (1 - E2)
    reduced = np.arctan2(z * SEMI_MAJOR_M, across * SEMI_MINOR_M)
    lat = reduced
    for _ in range(3):
        lat = np.arctan2(
            z + second * SEMI_MINOR_M * np.sin(reduced) ** 3, across - E2 * SEMI_MAJOR_M * np.cos(reduced) ** 3
        )
        reduced = np.arctan2((1 - FLATTENING) * np.sin(lat), np.cos(lat))
    root = np.sqrt(1 - E2 * np.sin(lat) ** 2)
    height = across * np.cos(lat) + z * np.sin(lat) - SEMI_MAJOR_M * root
    return np.stack([np.degrees(np.arctan2(y, x)), np.degrees(lat), height], axis=-1)


def local_to_ecef(lon_deg: float, lat_deg: float, h_m: float, heading_deg: float = 0.0) -> FloatArray:
    """(4, 4) matrix from a local frame (x east, y north, z up; turned clockwise by `heading_deg`) to geocentric."""
    turn = np.radians(heading_deg)
    cos, sin = np.cos(turn), np.sin(turn)
    turned = np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])
    matrix = np.eye(4)
    matrix[:3, :3] = enu_axes(lon_deg, lat_deg).T @ turned
    matrix[:3, 3] = geodetic_to_ecef(np.array(lon_deg), np.array(lat_deg), np.array(h_m))
    return matrix
