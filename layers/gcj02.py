"""GCJ-02 and BD-09, the shifted coordinates of Chinese web maps, and the way back to WGS 84.

No authority publishes the formulas; these are the ones known since 2010 from public implementations of the map
services' own software (a polynomial with sines around 105° E, 35° N, scaled by the radii of the Krassovsky ellipsoid;
BD-09 turns and stretches GCJ-02 a little more). Outside China's box both are the identity. The way back is found by
iteration, to less than 1e-9 degrees (0.1 mm) of the formula; the services' own rounding and versions leave a metre or
two, see `ACCURACY_M`. Arrays are degrees, east first.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Pair = tuple[FloatArray, FloatArray]

ACCURACY_M = 2.0
"""What is left after undoing the shift of data taken from a web map."""

_AXIS_M = 6378245.0
_ECCENTRICITY2 = 0.00669342162296594323
_BOX = (72.004, 0.8293, 137.8347, 55.8271)
_TURN = np.pi * 3000.0 / 180.0
_TOLERANCE_DEG = 1e-11
_MOST_STEPS = 30


def is_inside(lon: FloatArray, lat: FloatArray) -> NDArray[np.bool_]:
    """True within the box in which the services shift; NaN is outside."""
    west, south, east, north = _BOX
    return np.asarray((lon >= west) & (lon <= east) & (lat >= south) & (lat <= north))


def to_gcj02(lon: FloatArray, lat: FloatArray) -> Pair:
    """WGS 84 -> GCJ-02."""
    lon, lat = np.asarray(lon, np.float64), np.asarray(lat, np.float64)
    x, y = lon - 105.0, lat - 35.0
    with np.errstate(invalid="ignore"):
        inside = is_inside(lon, lat)
        root, waves = np.sqrt(np.abs(x)), 20 * np.sin(6 * np.pi * x) + 20 * np.sin(2 * np.pi * x)
        up = -100 + 2 * x + 3 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * root
        up += (waves + _sines(y, 20, 40, 160, 320)) * 2 / 3
        right = 300 + x + 2 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * root
        right += (waves + _sines(x, 20, 40, 150, 300)) * 2 / 3
        squeeze = 1 - _ECCENTRICITY2 * np.sin(np.radians(lat)) ** 2
        up_deg = np.degrees(up * squeeze * np.sqrt(squeeze) / (_AXIS_M * (1 - _ECCENTRICITY2)))
        right_deg = np.degrees(right * np.sqrt(squeeze) / (_AXIS_M * np.cos(np.radians(lat))))
    return np.where(inside, lon + right_deg, lon), np.where(inside, lat + up_deg, lat)


def from_gcj02(lon: FloatArray, lat: FloatArray) -> Pair:
    """GCJ-02 -> WGS 84."""
    return _undo(to_gcj02, lon, lat)


def to_bd09(lon: FloatArray, lat: FloatArray) -> Pair:
    """WGS 84 -> BD-09, by way of GCJ-02."""
    return _gcj02_to_bd09(*to_gcj02(lon, lat))


def from_bd09(lon: FloatArray, lat: FloatArray) -> Pair:
    """BD-09 -> WGS 84, by way of GCJ-02."""
    return from_gcj02(*_undo(_gcj02_to_bd09, lon, lat))


def _sines(value: FloatArray, a: float, b: float, c: float, d: float) -> FloatArray:
    pi = np.pi
    short = a * np.sin(value * pi) + b * np.sin(value / 3 * pi)
    return np.asarray(short + c * np.sin(value / 12 * pi) + d * np.sin(value / 30 * pi))


def _gcj02_to_bd09(lon: FloatArray, lat: FloatArray) -> Pair:
    lon, lat = np.asarray(lon, np.float64), np.asarray(lat, np.float64)
    radius = np.hypot(lon, lat) + 0.00002 * np.sin(lat * _TURN)
    angle = np.arctan2(lat, lon) + 0.000003 * np.cos(lon * _TURN)
    inside = is_inside(lon, lat)
    return (
        np.where(inside, radius * np.cos(angle) + 0.0065, lon),
        np.where(inside, radius * np.sin(angle) + 0.006, lat),
    )


def _undo(shift: Callable[[FloatArray, FloatArray], Pair], lon: FloatArray, lat: FloatArray) -> Pair:
    """Fixed-point iteration; the shift changes by less than 1 % of a step, so each gains two digits."""
    lon, lat = np.asarray(lon, np.float64), np.asarray(lat, np.float64)
    east, north = lon.copy(), lat.copy()
    inside = is_inside(lon, lat)
    for _ in range(_MOST_STEPS):
        shifted = shift(east, north)
        d_east, d_north = np.where(inside, lon - shifted[0], 0.0), np.where(inside, lat - shifted[1], 0.0)
        east, north = east + d_east, north + d_north
        if not (np.maximum(np.abs(d_east), np.abs(d_north)) > _TOLERANCE_DEG).any():
            break
    return east, north
