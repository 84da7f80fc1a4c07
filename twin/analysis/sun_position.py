"""Where the sun stands: its declination on a day, its direction at a true solar time, and true north on the grid.

True solar time is the hour angle: 12 is when the sun is due south (or north), each hour is 15 degrees. No equation of
time, no time zone and no longitude enters. GB/T 50947-2014 wants it so, with the sun's declination of the year 2001.
"""

import datetime as dt
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from layers import crs
from layers.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

FloatArray = NDArray[np.float64]

NOON_UTC_H = 4
"""The declination of a day is that of 04:00 UTC: noon of the time that all of China keeps."""
DAYS: "Mapping[str, dt.date]" = {"great-cold": dt.date(2001, 1, 20), "winter-solstice": dt.date(2001, 12, 22)}
"""The two days of GB 50180-2018 (大寒日, 冬至日) in the base year of GB/T 50947-2014."""
_PROBE_DEG = 1e-4


def declination_deg(day: dt.date) -> float:
    """Apparent declination of the sun at 04:00 UTC of a day, degrees.

    Meeus, Astronomical Algorithms (2nd ed. 1998), chapter 25, the low-accuracy series: within 0.01 degree from 1900 to
    2100. 2001-01-20 gives -20.11, 2001-12-22 gives -23.44.
    """
    if not 1900 <= day.year <= 2100:
        raise InvalidInput(f"date: {day} lies outside 1900 to 2100.", "The series of the sun is good for these years.")
    days = (dt.datetime(day.year, day.month, day.day, NOON_UTC_H) - dt.datetime(2000, 1, 1, 12)).total_seconds() / 86400
    t = days / 36525.0
    mean_longitude = 280.46646 + t * (36000.76983 + t * 0.0003032)
    anomaly = np.radians(357.52911 + t * (35999.05029 - t * 0.0001537))
    centre = (
        (1.914602 - t * (0.004817 + t * 0.000014)) * np.sin(anomaly)
        + (0.019993 - t * 0.000101) * np.sin(2 * anomaly)
        + 0.000289 * np.sin(3 * anomaly)
    )
    node = np.radians(125.04 - 1934.136 * t)
    longitude = np.radians(mean_longitude + centre - 0.00569 - 0.00478 * np.sin(node))
    obliquity = 23.4392911 - t * (0.0130042 + t * (1.64e-7 - t * 5.04e-7)) + 0.00256 * np.cos(node)
    return float(np.degrees(np.arcsin(np.sin(np.radians(obliquity)) * np.sin(longitude))))


def day_of(text: str) -> dt.date:
    """`great-cold`, `winter-solstice` or an ISO date as a date. InvalidInput names `date`."""
    if text in DAYS:
        return DAYS[text]
    try:
        return dt.date.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(f"date: {text[:40]!r} is no date.", f"Write 2001-01-20 or {' or '.join(DAYS)}.") from error


def path(latitude_deg: ArrayLike, declination: float, convergence_deg: ArrayLike = 0.0) -> FloatArray:
    """The sun's way over the sky as vectors: direction(H) = path[:, 0] + path[:, 1] cos H + path[:, 2] sin H.

    Parameters
    ----------
    latitude_deg, convergence_deg : (n,) of the places; convergence is grid north from true north, clockwise
    declination : degrees

    Returns
    -------
    (n, 3, 3) float64 : for each place the constant, cosine and sine part; each is (grid east, grid north, up). The hour
        angle H is in radians, 0 at noon and growing towards evening. direction(H) has length 1.
    """
    phi, turn = np.broadcast_arrays(np.radians(np.atleast_1d(latitude_deg)), np.radians(convergence_deg))
    delta = np.radians(declination)
    nought = np.zeros_like(phi)
    parts = np.empty((len(phi), 3, 3))
    for k, (east, north, up) in enumerate((
        (nought, np.cos(phi) * np.sin(delta), np.sin(phi) * np.sin(delta)),
        (nought, -np.sin(phi) * np.cos(delta), np.cos(phi) * np.cos(delta)),
        (nought - np.cos(delta), nought, nought),
    )):  # fmt: skip
        parts[:, k, 0] = east * np.cos(turn) - north * np.sin(turn)
        parts[:, k, 1] = north * np.cos(turn) + east * np.sin(turn)
        parts[:, k, 2] = up
    return parts


def direction(parts: FloatArray, hour_angle: ArrayLike) -> FloatArray:
    """(3, 3) path and (m,) hour angles in radians -> (m, 3) unit vectors to the sun: grid east, grid north, up."""
    angle = np.atleast_1d(np.asarray(hour_angle, np.float64))[:, None]
    found: FloatArray = parts[0] + parts[1] * np.cos(angle) + parts[2] * np.sin(angle)
    return found


def hour_angle(hours: ArrayLike) -> FloatArray:
    """True solar time in hours -> hour angle in radians."""
    return np.radians(15.0 * (np.asarray(hours, np.float64) - 12.0))


def place_of(city_crs: str, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(n,) points of a projected CRS -> (n,) latitude and (n,) convergence (grid north from true north), degrees.

    Convergence is the direction in which the meridian through the point runs on the grid, from a step of 11 m: exact to
    1e-6 degree. On a CRS east of its central meridian in the north it is positive: grid north lies east of true north.
    """
    lon, lat = crs.transform(city_crs, crs.CRS84, x, y)
    ends = [crs.transform(crs.CRS84, city_crs, lon, lat + step) for step in (-_PROBE_DEG / 2, _PROBE_DEG / 2)]
    east, north = (np.asarray(ends[1][k]) - np.asarray(ends[0][k]) for k in (0, 1))
    return np.asarray(lat, np.float64), np.degrees(np.arctan2(-east, north))
