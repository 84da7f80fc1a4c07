"""The sun's declination and direction against the almanac and an independent formula; true north by the meridian."""

import datetime as dt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from layers import crs
from layers.errors import InvalidInput
from twin.analysis import sun_position


def almanac_declination_deg(moment):
    """Astronomical Almanac, low-precision formula for the sun (page C5): its own coefficients, good to 0.01 degree."""
    n = (moment - dt.datetime(2000, 1, 1, 12)).total_seconds() / 86400
    g = np.radians(357.528 + 0.9856003 * n)
    longitude = np.radians(280.460 + 0.9856474 * n + 1.915 * np.sin(g) + 0.020 * np.sin(2 * g))
    obliquity = np.radians(23.439 - 0.0000004 * n)
    return float(np.degrees(np.arcsin(np.sin(obliquity) * np.sin(longitude))))


def test_the_two_days_of_the_standard():
    assert sun_position.declination_deg(sun_position.day_of("great-cold")) == pytest.approx(-20.11, abs=0.01)
    assert sun_position.declination_deg(sun_position.day_of("winter-solstice")) == pytest.approx(-23.44, abs=0.01)


@pytest.mark.parametrize(
    ("day", "declination"),
    [  # at 04:00 UTC, from the moments the almanac gives for 2001: equinoxes 03-20 13:31, 09-22 23:04 (0.0165, 0.0162
        # degrees an hour there), solstices 06-21 07:38, 12-21 19:21
        (dt.date(2001, 3, 20), -0.0165 * 9.52), (dt.date(2001, 9, 23), -0.0162 * 4.93),
        (dt.date(2001, 6, 21), 23.4384), (dt.date(2001, 12, 22), -23.4381),
    ],
    ids=["march equinox", "september equinox", "june solstice", "december solstice"],
)  # fmt: skip
def test_equinoxes_and_solstices_of_2001(day, declination):
    assert sun_position.declination_deg(day) == pytest.approx(declination, abs=0.01)


@given(st.dates(dt.date(1950, 1, 1), dt.date(2050, 12, 31)))
def test_each_day_is_within_two_hundredths_of_the_almanac_formula(day):
    expected = almanac_declination_deg(dt.datetime(day.year, day.month, day.day, 4))
    assert sun_position.declination_deg(day) == pytest.approx(expected, abs=0.02)


@given(st.floats(-66, 66), st.floats(-23.44, 23.44), st.floats(0.0, 24.0), st.floats(-3, 3))
def test_direction_equals_the_formulas_of_altitude_and_azimuth(phi, delta, hours, turn):
    east, north, up = sun_position.direction(
        sun_position.path([phi], delta, [turn])[0], sun_position.hour_angle([hours])
    )[0]
    p, d, h = np.radians(phi), np.radians(delta), np.radians(15 * (hours - 12))
    altitude = np.arcsin(np.clip(np.sin(p) * np.sin(d) + np.cos(p) * np.cos(d) * np.cos(h), -1, 1))
    azimuth = np.arctan2(-np.sin(h) * np.cos(d), np.cos(p) * np.sin(d) - np.sin(p) * np.cos(d) * np.cos(h))
    assert up == pytest.approx(np.sin(altitude), abs=1e-9)
    bearing = azimuth - np.radians(turn)  # grid north lies `turn` east of true north
    assert east == pytest.approx(np.cos(altitude) * np.sin(bearing), abs=1e-7)
    assert north == pytest.approx(np.cos(altitude) * np.cos(bearing), abs=1e-7)


def test_noon_altitude_of_the_hand_case():
    noon = sun_position.direction(sun_position.path([37.5], -20.14)[0], sun_position.hour_angle([12]))[0]
    assert np.degrees(np.arcsin(noon[2])) == pytest.approx(32.36, abs=0.005)
    assert noon[1] < 0
    assert abs(noon[0]) < 1e-12, "due south"


@pytest.mark.parametrize(
    ("code", "lon", "lat", "convergence"),
    [("EPSG:4549", 121.0, 28.1, 0.471), ("EPSG:4549", 121.4, 37.5, 0.852), ("EPSG:4549", 120.0, 36.8, 0.0),
     ("EPSG:4550", 121.7, 37.38, -0.789)],
    ids=["Yueqing", "Yantai", "Pingdu", "Muping"],
)  # fmt: skip
def test_convergence_of_the_control_points(code, lon, lat, convergence):
    x, y = crs.transform(crs.CRS84, code, np.array([lon]), np.array([lat]))
    latitude, turn = sun_position.place_of(code, x, y)
    assert latitude[0] == pytest.approx(lat, abs=1e-9)
    assert turn[0] == pytest.approx(convergence, abs=5e-4)
    assert turn[0] == pytest.approx(crs.scale_and_convergence(code, lon, lat)[1], abs=1e-6), "PROJ says the same"


def test_the_noon_sun_stands_on_the_meridian_of_the_grid():
    """A step along the meridian, in grid coordinates, points away from the noon sun."""
    x, y = crs.transform(crs.CRS84, "EPSG:4549", np.array([121.4, 121.4]), np.array([37.5, 37.501]))
    _, turn = sun_position.place_of("EPSG:4549", x[:1], y[:1])
    noon = sun_position.direction(sun_position.path([37.5], -20.0, turn)[0], [0.0])[0]
    north = np.array([x[1] - x[0], y[1] - y[0]]) / np.hypot(x[1] - x[0], y[1] - y[0])
    assert noon[:2] / np.hypot(*noon[:2]) == pytest.approx(-north, abs=1e-5)
    assert north[0] < -0.01, "east of the central meridian true north leans west on the grid"


@pytest.mark.parametrize("text", ["yesterday", "2001-13-01", "", "3000-01-01"])
def test_what_is_no_day_is_named(text):
    with pytest.raises(InvalidInput, match=r"^date"):
        sun_position.declination_deg(sun_position.day_of(text))
