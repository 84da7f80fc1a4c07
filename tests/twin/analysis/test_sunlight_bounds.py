"""P19, what is not known and what is stepped: bounds of unknown heights, and the ground against dense sampling."""

import datetime as dt

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from layers.errors import InvalidInput
from twin.analysis import sunlight_day
from twin.analysis.sunlight_day import Day
from twin.analysis.sunlight_ground import hides
from twin.analysis.sunlight_hours import hours_of, judged
from twin.analysis.sunlight_shadow import obstacles
from twin.analysis.sunlight_terrain import common
from twin.supervision.rules import on_day

BOOK = on_day(dt.date(2026, 6, 1))
DAY = Day(-20.115, "date", None, 8.0, 16.0, 0.0, 2.0)
houses = st.lists(
    st.tuples(
        st.floats(-80, 80), st.floats(-120, -5), st.floats(5, 40), st.floats(5, 20), st.floats(3, 60), st.booleans(),
    ),
    min_size=1, max_size=5,
)  # fmt: skip


@settings(max_examples=60)
@given(houses, st.lists(st.floats(0, 60), min_size=5, max_size=5))
def test_hours_lie_between_their_bounds_whatever_the_unknown_heights_are(drawn, heights):
    shapes = np.array([shapely.box(x, y - deep, x + wide, y) for x, y, wide, deep, _, _ in drawn], dtype=object)
    tops = np.array([each[4] for each in drawn])
    is_unknown = np.array([each[5] for each in drawn])
    known = obstacles(shapes, np.where(is_unknown, np.nan, tops))
    highest = obstacles(shapes, np.where(is_unknown, 60.0, tops))
    real = obstacles(shapes, np.where(is_unknown, heights[: len(drawn)], tops))
    points, latitude = np.array([[0.0, 0.0, 0.9], [30.0, 2.0, 5.0]]), np.array([30.0, 37.0])
    found = hours_of(points, (known, highest), DAY, latitude_deg=latitude)
    truth = hours_of(points, (real, real), DAY, latitude_deg=latitude)
    assert (found.at_least_h <= truth.at_least_h + 1e-9).all()
    assert (truth.at_most_h <= found.at_most_h + 1e-9).all()
    assert set(found.unsure) == set(np.flatnonzero(found.at_most_h - found.at_least_h > 1e-9).tolist())
    for i, rows in found.unsure.items():
        assert is_unknown[rows].all(), i
    if not is_unknown.any():
        assert found.at_least_h == pytest.approx(found.at_most_h)


@pytest.mark.parametrize(
    ("least", "most", "limit", "verdict"),
    [(2.0, 2.0, 2.0, "pass"), (1.999, 1.999, 2.0, "fail"), (2.5, 8.0, 2.0, "pass"), (0.0, 1.9, 2.0, "fail"),
     (1.0, 3.0, 2.0, "unknown"), (np.nan, np.nan, 2.0, "unknown"), (5.0, 5.0, None, "unknown")],
    ids=["equal", "short", "both enough", "both short", "open", "not known", "no limit"],
)  # fmt: skip
def test_verdict_of_bounds(least, most, limit, verdict):
    assert judged(least, most, limit) == verdict


@settings(max_examples=60)
@given(st.integers(0, 2**31), st.floats(3, 27), st.floats(3, 27), st.floats(0, 359), st.floats(2, 60), st.floats(0, 12))
def test_ground_equals_dense_sampling(seed, x, y, azimuth, altitude, height):
    heights = np.random.default_rng(seed).uniform(0, 10, (30, 30))
    a, h = np.radians(azimuth), np.radians(altitude)
    sun = np.array([np.sin(a) * np.cos(h), np.cos(a) * np.cos(h), np.sin(h)])
    found = hides(np.array([x, y, height]), sun, heights, 0.0, 30.0, 1.0, 1.0, 10.0)
    t = np.arange(1.0, 45.0, 0.004)
    column, row = x + t * np.sin(a) - 0.5, 30.0 - (y + t * np.cos(a)) - 0.5
    is_on = (column >= -0.5) & (row >= -0.5) & (column <= 29.5) & (row <= 29.5)
    is_on &= np.cumprod(is_on).astype(bool)
    c, r = np.clip(column[is_on], 0, 29), np.clip(row[is_on], 0, 29)
    c0, r0 = np.minimum(c.astype(int), 28), np.minimum(r.astype(int), 28)
    u, v = c - c0, r - r0
    ground = (1 - v) * ((1 - u) * heights[r0, c0] + u * heights[r0, c0 + 1]) + v * (
        (1 - u) * heights[r0 + 1, c0] + u * heights[r0 + 1, c0 + 1]
    )
    over = (ground - height - t[is_on] * np.tan(h)).max(initial=-np.inf)
    if abs(over) > 0.35:  # between the lines that are looked at the surface bows by less
        assert found == (1 if over > 0 else 0)


def test_stretches_in_common():
    assert common([[8.0, 10.0], [12.0, 16.0]], [[9.0, 13.0], [15.0, 15.5]]) == [[9.0, 10.0], [12.0, 13.0], [15.0, 15.5]]
    assert common([[8.0, 9.0]], [[9.0, 10.0]]) == []


def test_what_is_given_goes_before_the_rule_and_is_said():
    own = sunlight_day.settle(BOOK, climate_zone="II", population_person=1e6)
    assert (own.declination_from, own.day, own.limit_h) == ("date", dt.date(2001, 1, 20), 2.0)
    assert own.rule is not None
    given = sunlight_day.settle(BOOK, declination_deg=-20.14, from_h=8, to_h=16, limit_h=2)
    assert (given.declination_from, given.day, given.rule, given.limit_h) == ("given", None, None, 2)
    solstice = sunlight_day.settle(BOOK, climate_zone="II", population_person=1e6, date="winter-solstice")
    assert (solstice.from_h, solstice.to_h, solstice.limit_h) == (9, 15, None), "the hours of that day, not its limit"
    short = sunlight_day.settle(BOOK, date="great-cold", shortest_min=5)
    assert (own.shortest_min, short.shortest_min) == (0.0, 5)
    with pytest.raises(InvalidInput, match=r"^from_h"):
        sunlight_day.settle(BOOK, date="2026-03-01")
