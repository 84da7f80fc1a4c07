"""Series that stream: against pandas on whole tables, however they are cut, mixed and repeated."""

import datetime as dt
import tracemalloc

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.analysis.sensor_exceedance_join import join, nearest
from twin.analysis.sensor_exceedance_limits import Judge, Reference, is_night, level_state, limits_at
from twin.analysis.sensor_exceedance_series import (
    HOUR_US,
    Chunk,
    Means,
    Series,
    Told,
    factor,
    is_quantity,
    ordered,
)  # fmt: skip
from twin.supervision import rules

OFFSET = 8 * HOUR_US
MINUTE = HOUR_US // 60
NOISE = [each for each in rules.load() if each.id == "site-noise"]
START = int(dt.datetime(2025, 6, 1, tzinfo=dt.UTC).timestamp() * 1e6)


def table(rows):
    return pa.table({
        "device_id": pa.array([row[0] for row in rows], pa.string()),
        "time": pa.array([row[1] for row in rows], pa.int64()).cast(pa.timestamp("us", "UTC")),
        "quantity": pa.array(["noise"] * len(rows), pa.string()),
        "value": pa.array([row[2] for row in rows], pa.float64()),
        "unit": pa.array(["dB(A)"] * len(rows), pa.string()),
    })  # fmt: skip


def reader(tables):
    def read(some):
        for each in tables:
            yield each if some is None else each.filter(pa.compute.is_in(each["device_id"], pa.array(list(some))))

    return read


rows = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 200).map(lambda i: START + i * 7 * MINUTE), st.floats(40, 80)),
    min_size=1, max_size=120,
)  # fmt: skip


@given(rows, st.integers(1, 40), st.booleans())
def test_each_series_comes_whole_in_order_and_once(data, size, is_sorted):
    if is_sorted:
        data = sorted(data, key=lambda row: row[1])
    wanted = [Series(name, "noise", "dB(A)") for name in "abc"]
    told = Told()
    tables = [table(data[i : i + size]) for i in range(0, len(data), size)]
    found = {}
    for chunk in ordered(reader(tables), wanted, told):
        if chunk.is_restart:
            found[chunk.series.device] = []
        found.setdefault(chunk.series.device, []).append(chunk)
    frame = pd.DataFrame(data, columns=["device", "time", "value"])
    for name, part in frame.groupby("device"):
        times = np.concatenate([chunk.times_us for chunk in found[name]])
        assert (np.diff(times) > 0).all()
        assert times.tolist() == sorted(set(part["time"]))
        values = np.concatenate([chunk.values for chunk in found[name]])
        first = part.drop_duplicates("time").sort_values("time")["value"].tolist()
        assert values.tolist() == first, "of several at one time the first"
    assert told.n_rows == len(data)


@given(rows.map(lambda data: sorted(data, key=lambda row: row[1])), st.integers(1, 30), st.sampled_from([15, 60, 1440]))
def test_means_equal_pandas_however_the_series_is_cut(data, size, minutes):
    frame = pd.DataFrame(data, columns=["device", "time", "value"]).drop_duplicates("time")
    times, values = frame["time"].to_numpy(np.int64), frame["value"].to_numpy()
    means = Means(minutes * MINUTE, OFFSET, 0.0)
    parts = [means.feed(times[i : i + size], values[i : i + size]) for i in range(0, len(times), size)] + [means.rest()]
    found = dict(
        zip(np.concatenate([a for a, _ in parts]).tolist(), np.concatenate([b for _, b in parts]).tolist(), strict=True)
    )
    local = pd.to_datetime(times, unit="us", utc=True).tz_convert("Asia/Shanghai")
    expected = pd.Series(values, index=local).resample(f"{minutes}min", origin="start_day").mean().dropna()
    starts = (expected.index.tz_convert("UTC") - pd.Timestamp(0, tz="UTC")) // pd.Timedelta(microseconds=1)
    assert list(found) == starts.tolist()
    assert list(found.values()) == pytest.approx(expected.tolist())


def test_levels_are_averaged_by_energy_and_years_begin_on_new_year_s_day():
    means = Means(60 * MINUTE, OFFSET, 0.0, is_energy=True)
    means.feed(np.array([START, START + MINUTE]), np.array([60.0, 70.0]))
    assert means.rest()[1][0] == pytest.approx(10 * np.log10((1e6 + 1e7) / 2))
    year = Means("year", OFFSET, 0.0)
    eve = int(dt.datetime(2025, 12, 31, 15, 59, tzinfo=dt.UTC).timestamp() * 1e6)
    starts, values = year.feed(np.array([eve, eve + MINUTE]), np.array([10.0, 30.0]))
    assert values.tolist() == [10.0], "one minute later it is 2026 in China"
    assert year.rest()[1].tolist() == [30.0]
    assert starts[0] == int(dt.datetime(2024, 12, 31, 16, tzinfo=dt.UTC).timestamp() * 1e6)


@settings(max_examples=50)
@given(rows, st.integers(1, 40))
def test_alerts_and_counts_equal_a_loop(data, size):
    wanted = [Series(name, "noise", "dB(A)") for name in "abc"]
    judge = Judge(NOISE, OFFSET, {each: {} for each in wanted})
    for chunk in ordered(reader([table(data[i : i + size]) for i in range(0, len(data), size)]), wanted, Told()):
        judge.feed(chunk)
    judge.finish()
    expected, days, seen = [], {}, set()
    for device, time, value in data:
        if (device, time) in seen:
            continue
        seen.add((device, time))
        local = dt.datetime.fromtimestamp(time / 1e6, dt.timezone(dt.timedelta(hours=8)))
        limit = 70.0 if 6 <= local.hour < 22 else 55.0
        if value > limit + 1e-6:
            expected.append((device, time, value, limit))
            days[device, local.date()] = days.get((device, local.date()), 0) + 1
    found = [(each.series.device, each.time_us, each.value, each.limit) for each in judge.alerts()]
    assert sorted(found) == sorted(expected)
    assert sum(record.n_judged for record in judge.records.values()) == len(seen)
    told = {
        (series.device, dt.date(1970, 1, 1) + dt.timedelta(days=day)): n
        for series, record in judge.records.items() for day, n in record.days.items()
    }  # fmt: skip
    assert told == days


@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.floats(0, 300), st.floats(0, 300)),
        min_size=1,
        max_size=20,
        unique_by=lambda r: r[0],
    )
)
def test_the_county_s_mean_is_that_of_the_stations_of_the_hour(hours):
    hours.sort()
    reference = Reference(HOUR_US, OFFSET, "ug/m3", 0.0)
    times = np.array([START + hour * HOUR_US for hour, _, _ in hours])
    reference.feed(Chunk(Series("a", "PM10", "ug/m3"), times, np.array([row[1] for row in hours])))
    reference.feed(Chunk(Series("b", "PM10", "mg/m3"), times[1:], np.array([row[2] / 1000 for row in hours[1:]])))
    reference.feed(Chunk(Series("c", "PM10", "ppm"), times, np.full(len(times), 1e9)))
    found = reference.result()
    assert sorted(found) == times.tolist()
    for k, (start, (_, a, b)) in enumerate(zip(times.tolist(), hours, strict=True)):
        assert found[start] == pytest.approx(a if k == 0 else (a + b) / 2)


@pytest.mark.parametrize(
    ("local", "night"),
    [
        ("05:59:59", True),
        ("06:00:00", False),
        ("21:59:59", False),
        ("22:00:00", True),
        ("00:00:00", True),
        ("12:00:00", False),
    ],
    ids=str,
)
def test_six_is_day_and_ten_is_night(local, night):
    moment = dt.datetime.fromisoformat(f"2025-06-01T{local}+08:00")
    assert is_night(np.array([int(moment.timestamp() * 1e6)]), OFFSET)[0] == night


def test_editions_change_at_local_midnight():
    midnight = int(dt.datetime.fromisoformat("2026-01-01T00:00:00+08:00").timestamp() * 1e6)
    _, which = limits_at(sorted(NOISE, key=lambda each: each.effective), np.array([midnight - 1, midnight]), OFFSET, {})
    assert which.tolist() == [0, 1]


def test_memory_does_not_grow_with_the_number_of_observations():
    """Batches are made as they are asked for: 5,000 minutes of ten devices each; all of them exceed."""
    names = [f"d{i:03d}" for i in range(10)]
    wanted = [Series(name, "noise", "dB(A)") for name in names]

    def peak_of(n_batches):
        def read(some):
            for batch in range(n_batches):
                minutes = np.repeat(np.arange(batch * 5000, (batch + 1) * 5000), len(names))
                yield pa.table({
                    "device_id": pa.array(names * 5000), "quantity": pa.array(["noise"] * len(minutes)),
                    "time": pa.array(START + minutes * MINUTE).cast(pa.timestamp("us", "UTC")),
                    "value": pa.array(80.0 + minutes % 977), "unit": pa.array(["dB(A)"] * len(minutes)),
                })  # fmt: skip

        judge = Judge(NOISE, OFFSET, {each: {} for each in wanted}, most_alerts=100)
        tracemalloc.start()
        for chunk in ordered(read, wanted, Told()):
            judge.feed(chunk)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert sum(record.n_over for record in judge.records.values()) == n_batches * 50_000
        assert len(judge.alerts()) == 100
        return peak

    assert peak_of(12) < 1.3 * peak_of(3)


@pytest.mark.parametrize(
    ("unit", "wanted", "expected"),
    [("ug/m3", "ug/m3", 1), ("μg/m³", "ug/m3", 1), ("mg/m3", "ug/m3", 1000), ("ug/m3", "mg/m3", 0.001),
     ("cm", "m", 0.01),
     ("dB", "dB(A)", 1), ("", "ug/m3", None), ("ppm", "ug/m3", None)],
    ids=["same", "spelling", "mg", "ug", "cm", "dB", "none", "ppm"],
)  # fmt: skip
def test_units(unit, wanted, expected):
    assert factor(unit, wanted) == expected


def test_quantities_by_id_and_by_spelling():
    assert is_quantity("噪声", ["noise"])
    assert is_quantity("PM10", ["pm10"])
    assert is_quantity("LAmax", ["lamax"])
    assert not is_quantity("PM2.5", ["pm10"])


def test_level_states():
    steps = [("guarantee", 4.0), ("alert", 3.2)]
    assert [level_state(each, steps) for each in (3.2, 3.21, 4.0, 4.01, np.nan)] == [
        "normal", "alert", "alert", "guarantee", "unknown",
    ]  # fmt: skip


coordinate = st.floats(-100, 100).map(lambda value: round(value, 6))


@given(
    st.lists(st.tuples(coordinate, coordinate), min_size=1, max_size=10),
    st.lists(st.tuples(coordinate, coordinate, st.floats(1, 50)), min_size=1, max_size=5), st.floats(0, 60),
)  # fmt: skip
def test_joins_equal_brute_force(points, areas, within):
    given_points = np.array([shapely.Point(each) for each in points] + [None], dtype=object)
    given_areas = np.array([shapely.box(x, y, x + size, y + size) for x, y, size in areas], dtype=object)
    which, distance = join(given_points, given_areas, within)
    assert which[-1] == -1
    assert np.isnan(distance[-1])
    for i, point in enumerate(given_points[:-1]):
        apart = [area.distance(point) for area in given_areas]
        best = min(apart)
        if best > within + 1e-6:
            assert which[i] == -1
        else:
            assert distance[i] == pytest.approx(best)
            assert apart[which[i]] == pytest.approx(best)


def test_downwind():
    houses = np.array([shapely.box(-5, 20, 5, 30), shapely.box(-5, -60, 5, -50)], dtype=object)
    here = shapely.Point(0, 0)
    assert nearest(here, houses, 500.0) == (0, 20.0, False)
    assert nearest(here, houses, 500.0, wind_from_deg=0.0) == (1, 50.0, True), "a north wind blows southwards"
    assert nearest(here, houses, 500.0, wind_from_deg=90.0) == (0, 20.0, False), "nothing lies to the west"
    assert nearest(here, houses, 10.0)[0] == -1
    corner = np.array([shapely.Point(-10, -10)], dtype=object)  # bearing 225 on the grid
    assert nearest(here, corner, 500.0, wind_from_deg=0.0)[2], "45 degrees off is still downwind"
    assert not nearest(here, corner, 500.0, wind_from_deg=0.0, turn_deg=1.0)[2], "226 degrees from true north"
