"""A reservoir's level is judged alike value by value and as the present one, in the flood season and outside it."""

import datetime as dt

import numpy as np
import pytest
import shapely
from hypothesis import example, given
from hypothesis import strategies as st

from tests.twin.analysis import water_city
from tests.twin.analysis.water_city import EAST, NORTH
from twin import series
from twin.analysis.sensor_exceedance_limits import in_season
from twin.analysis.sensor_exceedance_series import HOUR_US
from twin.supervision import engine

ZONE = dt.timezone(dt.timedelta(hours=8))
DAYS = {
    "spring": dt.datetime(2026, 4, 14, 23, 59, tzinfo=ZONE), "first": dt.datetime(2026, 4, 15, 0, 0, tzinfo=ZONE),
    "last": dt.datetime(2026, 10, 15, 23, 59, tzinfo=ZONE), "autumn": dt.datetime(2026, 10, 16, 0, 0, tzinfo=ZONE),
}  # fmt: skip
OWN = {"reservoir_code": "SK1", "flood_limit_level_m": 45.0, "normal_level_m": 46.0, "check_level_m": 50.0}


def observed(moment, value, device="g"):
    return {"device_id": device, "time": moment, "quantity": "water_level", "value": value, "unit": "m"}


def city(folder, moment, value, **own):
    place = shapely.box(EAST, NORTH - 50, EAST + 50, NORTH)
    gauge = {"device_id": "g", "kind": "water_level", "host_id": "SK1"}
    return water_city.make(
        folder, None,
        [("reservoir", "Polygon", {"R1": (place, OWN | own)}), ("sensor", "Point", {"g": (place.centroid, gauge)}),
         ("sensor_obs", "none", {"o": (None, observed(moment.astimezone(dt.UTC), value))})],
    )  # fmt: skip


@pytest.mark.parametrize("day", DAYS)
@pytest.mark.parametrize("value", [44.99, 45.0, 45.01, 46.0, 46.01, 50.01])
def test_both_ask_the_same_level(tmp_path, day, value):
    with city(tmp_path, DAYS[day], value) as opened:
        found = opened.run("sensor-exceedance", rules=["monitored-level"], observations={"collection": "sensor_obs"})
        run = engine.run(opened, "water", now=DAYS[day])
    told = [each["properties"] for each in found["alerts"]["features"]]
    findings = [each for result in run.results for each in result.findings if each.measured == value]
    own = [each for each in findings if each.rule == "reservoir-flood-limit"]
    assert [each.verdict for each in own] == ["fail" if told else "pass"]
    assert own[0].limit == (45.0 if day in {"first", "last"} else 46.0)
    assert [each["limit"] for each in told] == ([own[0].limit] if told else [])
    assert [each.rule for each in findings if each.verdict == "fail"] == ["reservoir-flood-limit"] * len(told), "once"
    if told:
        highest = [name for name, m in (("超汛限", 45.0), ("超校核洪水位", 50.0)) if value > m][-1]
        if day in {"spring", "autumn"} and highest == "超汛限":
            highest = "超正常蓄水位"
        assert told[0]["state"] == highest


@pytest.mark.parametrize(("day", "n_unknown"), [("spring", 1), ("first", 0)])
def test_without_the_level_of_the_day_nothing_is_judged(tmp_path, day, n_unknown):
    with city(tmp_path, DAYS[day], 99.0, normal_level_m=None) as opened:
        found = opened.run("sensor-exceedance", rules=["monitored-level"], observations={"collection": "sensor_obs"})
    assert (found["n_unknown"], found["n_alerts"]) == (n_unknown, 1 - n_unknown)
    assert found["verdict"] == ("unknown" if n_unknown else "fail")


@given(
    st.datetimes(dt.datetime(1960, 1, 1), dt.datetime(2100, 1, 1)), st.dates(), st.dates(),
    st.sampled_from([0, 8, -5]),
)  # fmt: skip
@example(dt.datetime(2024, 2, 29, 12), dt.date(2024, 2, 29), dt.date(2024, 2, 29), 0)
@example(dt.datetime(2024, 1, 3), dt.date(2024, 11, 1), dt.date(2024, 3, 1), 8)
def test_the_season_is_that_of_the_calendar(moment, first, last, hours):
    us = (moment.replace(tzinfo=dt.UTC) - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
    local = moment + dt.timedelta(hours=hours)
    now, begin, end = ((each.month, each.day) for each in (local, first, last))
    wanted = begin <= now <= end if begin <= end else now >= begin or now <= end
    told = in_season(np.array([us]), hours * HOUR_US, f"{first:%m-%d}", f"{last:%m-%d}")
    assert told.tolist() == [wanted]


def test_a_span_in_another_zone_is_the_same_span(tmp_path):
    moment = dt.datetime(2026, 6, 1, 10, 0, tzinfo=ZONE)
    with city(tmp_path, moment, 44.0) as opened:
        for zone in (ZONE, dt.UTC, dt.timezone(dt.timedelta(hours=-7))):
            span = (moment.astimezone(zone), (moment + dt.timedelta(minutes=1)).astimezone(zone))
            for wanted, n in ((span, 1), ((span[1], None), 0), ((None, span[0]), 0)):
                table = series.values(
                    opened.store, "sensor_obs", opened.scope, devices=None, quantities=None, span=wanted, limit=9
                )
                assert len(table) == n
