"""Values kept over time and the day a target is met: a straight line, steps back, too few, against scipy's slope."""

import datetime as dt
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from layers.errors import InvalidInput
from tests.twin.supervision.indicator_city import made, point, towns
from twin.scope import Scope
from twin.supervision import history
from twin.supervision.history_trend import forecast
from twin.supervision.indicators import Source, evaluate, load, of_city

START = dt.date(2026, 1, 1)


def days(*offsets):
    return [START + dt.timedelta(days=each) for each in offsets]


def test_a_straight_line_meets_its_target_on_the_day():
    found = forecast(days(0, 100, 200), [70, 75, 80], ">=", 90)
    assert (found.state, found.date) == ("expected", START + dt.timedelta(days=400))
    assert (found.earliest, found.latest) == (found.date, found.date), "a line without scatter leaves no range"
    assert found.slope_per_year == pytest.approx(0.05 * 365.25)


def test_order_does_not_matter_and_a_maximum_is_reached_from_above():
    assert forecast(days(200, 0, 100), [80, 70, 75], ">=", 90).date == START + dt.timedelta(days=400)
    falling = forecast(days(0, 10, 20, 30), [110, 108, 106, 104], "<=", 100)
    assert falling.date == START + dt.timedelta(days=50)


def test_met_too_few_not_its_way_no_target_nothing():
    assert forecast(days(0), [90], ">=", 90).state == "met"
    assert forecast(days(0), [90], ">", 90).state == "too-few"
    assert forecast(days(0, 10), [80, 85], ">=", 90).state == "too-few"
    assert forecast(days(0, 0, 0), [80, 85, 86], ">=", 90).state == "too-few"
    assert forecast(days(0, 10, 20), [80, 79, 78], ">=", 90).state == "not-expected"
    assert forecast(days(0, 10, 20), [80, 80, 80], ">=", 90).state == "not-expected"
    assert forecast(days(0, 10, 20), [80, 80.00001, 80.00002], ">=", 90).state == "not-expected", "in 27,000 years"
    assert forecast(days(0, 10, 20), [80, 85, 89], ">=", None).state == "no-target"
    assert forecast([], [], ">=", 90).state == "unknown"


def test_where_even_falling_is_possible_there_is_no_latest_day():
    found = forecast(days(0, 10, 20, 30, 40), [70, 74, 71, 76, 73], ">=", 90)
    assert found.state == "expected"
    assert found.slope_low < 0 < found.slope_high
    assert found.latest is None
    assert found.earliest < found.date


@given(st.lists(st.tuples(st.integers(0, 900), st.floats(10, 70)), min_size=4, max_size=12, unique_by=lambda p: p[0]))
def test_slope_and_range_are_scipys_and_the_date_lies_between(points):
    x = np.array([day for day, _ in points], float)
    y = np.array([value for _, value in points])
    found = forecast(days(*[day for day, _ in points]), y.tolist(), ">=", 80)
    expected = stats.theilslopes(y, x, alpha=0.9)
    assert found.slope_per_year == pytest.approx(expected.slope * 365.25, abs=1e-9)
    assert found.slope_low == pytest.approx(expected.low_slope * 365.25, abs=1e-9)
    if found.state == "expected":
        assert found.date > max(days(*x.astype(int).tolist()))
        assert found.earliest <= found.date
        assert found.latest is None or found.date <= found.latest
        on_line = np.median(y) + expected.slope * ((found.date - START).days - np.median(x))
        assert on_line >= 80 - 1e-6


@pytest.fixture
def city(tmp_path):
    lamps = [(str(i), point(10 * i, 5), {"smart": i < 8}) for i in range(10)]
    with made(tmp_path, {"admin_unit": towns(), "lamp": lamps}) as opened:
        yield opened


def value_of(city, name="I-06"):
    source = Source(city)
    zones = of_city(source)
    return evaluate(load()[name], source, zones), zones


def test_kept_once_a_day_by_city_and_town_and_read_back(city):
    value, zones = value_of(city)
    assert history.record(city, [value], zones, START) == 2, "the city and the town that has lamps"
    history.record(city, [value], zones, START)
    history.record(city, [value], zones, START + dt.timedelta(days=5))
    assert history.series(city, "I-06", "999901") == (days(0, 5), [80.0, 80.0])
    assert history.series(city, "I-06", "999901001") == (days(0, 5), [80.0, 80.0])
    assert history.series(city, "I-06", "999901002") == ([], [])


def test_the_process_records_and_forecasts(city):
    value, zones = value_of(city)
    for back, number in ((300, 50.0), (200, 60.0), (100, 70.0)):
        past = replace(value, city=replace(value.city, value=number), zones=[])
        history.record(city, [past], zones, history.today() - dt.timedelta(days=back))
    found = city.run("plan-indicators", indicators=["I-06", "I-14"], forecast=True, record=True)
    told, unknown = (each["forecast"] for each in found["indicators"])
    assert (told["state"], told["n"], told["method"]) == ("expected", 4, "Theil-Sen")
    assert told["date"] == (history.today() + dt.timedelta(days=100)).isoformat()
    assert unknown["state"] == "unknown"
    assert [each["value"] for each in found["indicators"][0]["history"]] == [50.0, 60.0, 70.0, 80.0]
    assert history.series(city, "I-06", "999901")[0][-1] == history.today()


def test_who_sees_a_part_keeps_nothing(city):
    part = city.with_scope(Scope("guest", frozenset({"lamp"})))
    with pytest.raises(InvalidInput, match="record"):
        part.run("plan-indicators", indicators=["I-06"], record=True)
    assert not (city.folder / history.FILE).exists()
