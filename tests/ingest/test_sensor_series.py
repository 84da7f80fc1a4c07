"""Series of observations: hand cases for each flag, pandas for real files, a build for ids over several files."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.sensor import time as sensor_time
from ingest.sensor.columns import split_unit
from ingest.sensor.quality import _running_max
from ingest.sensor.time import NEVER
from ingest.table import csv_reader as table
from layers.errors import CityTwinError, CrsMissing, InvalidInput
from layers.source import Hints
from server.build import build
from tests.ingest.conftest import manifest

HOUR = [f"2026-06-01T{hour:02d}:00:00Z" for hour in range(24)]


def series(folder, text, hints=None, name="station.csv"):
    """The layer, all rows of attributes as dicts with id, extra and geometry."""
    path = folder / name
    path.write_text(text, "utf8")
    return consumed(path, hints or Hints())


def consumed(path, hints):
    [layer] = table.read(path, hints).layers
    rows = []
    for batch in layer.batches():
        for i, row in enumerate(batch.attributes.to_pylist()):
            extra = json.loads(batch.extra[i]) if batch.extra[i] else {}
            rows.append(row | {"id": batch.ids[i], "extra": extra, "geometry": batch.geometry[i]})
    assert layer.n_read == len(rows) + len(layer.rejects)
    return layer, rows


def long(*lines):
    return "device,time,quantity,value,unit\n" + "\n".join(lines) + "\n"


def codes(layer):
    return {issue.code: issue for issue in layer.issues}


def test_long_form_row_by_row(tmp_path):
    layer, rows = series(
        tmp_path, long("S1,2026-06-01T08:00:00+08:00,level,1.5,m", "S2,2026-06-01T00:30:00.25Z,rain,0,mm")
    )
    assert (layer.layer_type, layer.crs, layer.rejects) == ("sensor_obs", None, [])
    assert [row["id"] for row in rows] == ["S1/level@2026-06-01T00:00:00Z", "S2/rain@2026-06-01T00:30:00.25Z"]
    assert rows[0]["time"] == datetime(2026, 6, 1, tzinfo=UTC)
    assert [(row["value"], row["unit"], row["quality"]) for row in rows] == [(1.5, "m", None), (0.0, "mm", None)]
    assert (rows[0]["cim_category"], rows[0]["source"], rows[0]["extra"]) == ("iot", "station.csv", {})


def test_wide_form_gives_one_observation_for_each_quantity(tmp_path):
    text = "站号,观测时间,PM10(μg/m3),温度（℃）,备注\nA,2026年6月1日8时,55.5,21,\nA,2026年6月1日9时,NA,22,停电\n"
    layer, rows = series(tmp_path, text, Hints(units={"time": "+08:00"}))
    assert layer.n_read == 4
    assert [(r["quantity"], r["value"], r["unit"]) for r in rows] == [
        ("PM10", 55.5, "μg/m3"), ("温度", 21.0, "°C"), ("PM10", None, "μg/m3"), ("温度", 22.0, "°C"),
    ]  # fmt: skip
    assert [row["quality"] for row in rows] == [None, None, "missing", None]
    assert rows[2]["id"] == "A/PM10@2026-06-01T01:00:00Z"
    assert [row["extra"] for row in rows] == [{}, {}, {"备注": "停电"}, {"备注": "停电"}]


def test_time_without_zone_is_kept_as_text_and_never_assumed(tmp_path):
    text = "timestamp,value\n2026-06-01 08:00:00,1\n2026-06-01 09:00:00,2\n"
    layer, rows = series(tmp_path, text)
    assert [(row["time"], row["quality"]) for row in rows] == [(None, "time-unknown")] * 2
    assert rows[0]["extra"] == {"timestamp": "2026-06-01 08:00:00"}
    assert rows[0]["id"] == "station/value@2026-06-01T08:00:00"
    found = codes(layer)
    assert {"TIME_WITHOUT_ZONE", "DEVICE_FROM_FILE", "QUANTITY_UNKNOWN"} <= set(found)
    assert 'units = { time = "+08:00" }' in found["TIME_WITHOUT_ZONE"].hint
    hints = Hints(units={"time": "+08:00"}, values={"device_id": "T1", "quantity": "speed", "unit": "km/h"})
    layer, rows = series(tmp_path, text, hints)
    assert rows[0]["id"] == "T1/speed@2026-06-01T00:00:00Z"
    assert (rows[0]["unit"], rows[0]["quality"], layer.issues) == ("km/h", None, [])


@pytest.mark.parametrize(
    ("text", "expected", "zoned"),
    [
        ("2019/1/1 8:00", datetime(2019, 1, 1, 8), False),
        ("2019年1月1日8时", datetime(2019, 1, 1, 8), False),
        ("2019年1月1日8时30分5秒", datetime(2019, 1, 1, 8, 30, 5), False),
        ("20190101", datetime(2019, 1, 1), False),
        ("2019010108", datetime(2019, 1, 1, 8), False),
        ("２０１９-０１-０１", datetime(2019, 1, 1), False),
        ("2019-12-31 24:00", datetime(2020, 1, 1), False),
        ("2019-01-01T08:00:00+08:00", datetime(2019, 1, 1), True),
        ("2019-01-01 08:00+0800", datetime(2019, 1, 1), True),
        ("2019-01-01 08:00:00.123Z", datetime(2019, 1, 1, 8, 0, 0, 123000), True),
        ("1969-12-31T23:59:59Z", datetime(1969, 12, 31, 23, 59, 59), True),
        ("01/02/2019", None, False),
        ("2019-02-30", None, False),
        ("2019-01-01 +08:00", None, False),
        ("1546300800", None, False),
        ("", None, False),
    ],
)
def test_times_as_people_write_them(text, expected, zoned):
    for beside in (text, "2019年5月5日"):  # alone, by the quick way, and beside another spelling
        times = sensor_time.parse([pa.array([text, beside])], None)
        us = times.us[0]
        wanted = NEVER if expected is None else (expected - datetime(1970, 1, 1)) // timedelta(microseconds=1)
        assert (us, bool(times.zoned[0])) == (wanted, zoned)


def test_epochs_only_when_told(tmp_path):
    text = "timestamp,level(m)\n1546300800,1\n1546304400,2\n"
    with pytest.raises(InvalidInput) as caught:
        series(tmp_path, text)
    assert caught.value.code == "CSV_NOT_UNDERSTOOD"
    _, rows = series(tmp_path, text, Hints(units={"time": "epoch_s"}))
    assert rows[0]["time"] == datetime(2019, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "cells", "zone"),
    [
        ("年,月,日,时,雨量(mm)", "2026,6,1,8,0.5", "+08:00"),
        ("date,time,rain(mm)", "2026-06-01,08:00,0.5", "+08:00"),
        ("时间(UTC+8),雨量(mm)", "2026-06-01 08:00,0.5", None),
        ("北京时间,雨量(mm)", "2026-06-01 08:00,0.5", None),
        (",rain(mm)", "2026-06-01 08:00,0.5", "+08:00"),
    ],
)
def test_time_in_any_columns(tmp_path, header, cells, zone):
    _, rows = series(tmp_path, f"{header}\n{cells}\n", Hints(units={"time": zone} if zone else {}))
    assert [(row["time"], row["value"], row["unit"]) for row in rows] == [(datetime(2026, 6, 1, tzinfo=UTC), 0.5, "mm")]


def test_missing_values_in_every_dress_are_kept_and_counted(tmp_path):
    cells = ["NA", "NaN", "", "-999", "-9999.0", "—", "1.5", "bad"]
    layer, rows = series(tmp_path, long(*(f"S,{HOUR[i]},level,{cell},m" for i, cell in enumerate(cells))))
    assert [row["quality"] for row in rows] == ["missing"] * 6 + [None, "unreadable"]
    assert [row["value"] for row in rows] == [None] * 6 + [1.5, None]
    assert [row["extra"] for row in rows if row["extra"]] == [{"value": "-999"}, {"value": "-9999.0"}, {"value": "bad"}]
    assert codes(layer)["OBS_MISSING"].message.startswith("6 observations")
    assert codes(layer)["VALUE_NOT_UNDERSTOOD"].severity == "warning"


def test_repeats_are_rejected_and_contradictions_kept(tmp_path):
    values = ["1", "2", "1", "3", "2"]  # at hours 0, 1, 0, 1, 1
    hours = [0, 1, 0, 1, 1]
    layer, rows = series(tmp_path, long(*(f"S,{HOUR[h]},level,{v},m" for h, v in zip(hours, values, strict=True))))
    assert [(row["id"][8:], row["quality"]) for row in rows] == [
        ("2026-06-01T00:00:00Z", None),
        ("2026-06-01T01:00:00Z", "conflict"),
        ("2026-06-01T01:00:00Z~3", "conflict"),
    ]
    assert [(reject.code, reject.where.split(",")[1]) for reject in layer.rejects] == [
        ("DUPLICATE_FEATURE", " row 3"), ("DUPLICATE_FEATURE", " row 5"),
    ]  # fmt: skip
    assert layer.rejects[0].content["value"] == "1"


def test_rows_without_time_are_not_taken_for_repeats(tmp_path):
    layer, rows = series(tmp_path, long("S,,level,1,m", "S,,level,1,m", "S,noon,level,1,m", f"S,{HOUR[0]},level,1,m"),
                         Hints(layer="sensor_obs", columns={"time": "time"}))  # fmt: skip
    assert [row["quality"] for row in rows] == ["time-unreadable"] * 3 + [None]
    assert len({row["id"] for row in rows}) == 4
    assert rows[2]["extra"] == {"time": "noon"}
    assert layer.rejects == []
    assert codes(layer)["TIME_NOT_UNDERSTOOD"].message.startswith("3 observations")


def test_out_of_order_future_and_gap(tmp_path):
    times = [*HOUR[:6], HOUR[3].replace("03:", "03:30:")[:19] + "Z", HOUR[20], "2999-01-01T00:00:00Z"]
    times[6] = "2026-06-01T03:30:00Z"
    layer, rows = series(tmp_path, long(*(f"S,{t},level,{i},m" for i, t in enumerate(times))))
    assert [row["quality"] for row in rows] == [None] * 6 + ["disorder", None, "future"]
    gap = codes(layer)["OBS_GAP"]
    assert gap.severity == "info"
    assert gap.message.startswith("2 steps are more than 3 times")  # from 03:30 to 20:00, and to the year 2999


def test_stuck_values_are_flagged_from_their_first_to_their_last(tmp_path):
    start = datetime(2026, 6, 1, tzinfo=UTC)
    times = [(start + timedelta(minutes=i)).isoformat() for i in range(40)]
    values = [1.0, 2.0] + [5.0] * 24 + [6.0] + [7.0] * 13  # 24 is the length for PM10, 13 is not
    other = [0.0] * 40  # no rain is no fault
    lines = []
    for at, v, o in zip(times, values, other, strict=True):
        lines += [f"S,{at},PM10,{v},ug/m3", f"S,{at},rain,{o},mm"]
    _, rows = series(tmp_path, long(*lines))
    stuck = [i for i, row in enumerate(r for r in rows if r["quantity"] == "PM10") if row["quality"] == "stuck"]
    assert stuck == list(range(2, 26))
    assert {row["quality"] for row in rows if row["quantity"] == "rain"} == {None}
    _, rows = series(tmp_path, long(*lines), Hints(values={"stuck": 13}))
    assert sum(row["quality"] == "stuck" for row in rows) == 24 + 13


def test_units_that_change_and_values_that_cannot_be(tmp_path):
    _, rows = series(
        tmp_path,
        long(
            f"S,{HOUR[0]},PM10,50,ug/m3", f"S,{HOUR[1]},PM10,51,μg/m³", f"S,{HOUR[2]},PM10,0.05,mg/m3",
            f"S,{HOUR[3]},PM10,-3,ug/m3", f"S,{HOUR[4]},humidity,300,%", f"S,{HOUR[5]},temperature,70,°F",
            f"S,{HOUR[6]},temperature,150,℃", f"S,{HOUR[7]},temperature,150,", f"S,{HOUR[8]},noise,200,dB",
        ),
    )  # fmt: skip
    assert [row["quality"] for row in rows] == [
        None, None, "unit-change", "range", "range", None, "unit-change,range", None, "range",
    ]  # fmt: skip


def test_positions_need_a_crs_and_missing_ones_are_flagged(tmp_path):
    text = "device,time,lon,lat,level(m)\n" + "".join(
        f"S,{HOUR[i]},{place},1.{i}\n" for i, place in enumerate(["121.0,28.1", "0,0", ",", "121.1,28.2"])
    )
    with pytest.raises(CrsMissing, match="lon and lat"):
        series(tmp_path, text)
    layer, rows = series(tmp_path, text, Hints(crs="EPSG:4490"))
    assert (layer.layer_type, layer.crs, layer.certificate.method) == ("sensor_obs_point", "EPSG:4490", "given-crs")
    assert [row["quality"] for row in rows] == [None, "no-position", "no-position", None]
    assert shapely.get_coordinates(rows[3]["geometry"]).tolist() == [[121.1, 28.2]]
    assert (rows[1]["geometry"], rows[1]["extra"], rows[2]["extra"]) == (None, {"lon": "0", "lat": "0"}, {})


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("工程编号,名称,开工日期,造价", "A1,闸,2020-01-01,5"),  # a list of things with dates
        ("name,date,lon,lat,magnitude", "a,2020-01-01,121.0,28.1,3.1"),  # events at places
        ("building_id,month,kwh,gas_m3", "B1,2025-01,5,6"),
    ],
)
def test_other_tables_with_dates_are_no_series(tmp_path, header, row):
    (tmp_path / "things.csv").write_text(f"{header}\n{row}\n{row.replace('121.0', '121.5')}\n", "utf8")
    try:
        layers = table.read(tmp_path / "things.csv", Hints(crs="EPSG:4490")).layers
    except InvalidInput:
        return
    assert not {layer.layer_type for layer in layers} & {"sensor_obs", "sensor_obs_point"}


def test_lines_of_another_width_are_rejected_by_the_careful_way(tmp_path):
    layer, rows = series(
        tmp_path, long(f"S,{HOUR[0]},level,1,m", "", f"S,{HOUR[1]},level,2,m,extra", f"S,{HOUR[2]},level,3")
    )
    assert [(row["value"], row["unit"]) for row in rows] == [(1.0, "m"), (3.0, None)]
    assert [(reject.code, reject.where) for reject in layer.rejects] == [("ROW_WIDTH", "station.csv, line 4")]


@pytest.mark.parametrize("split", [1, 7, 9_999, 10_000, 15_000])
def test_batches_do_not_matter(tmp_path, split):
    """Runs, order and repeats over the seams of batches, against a plain loop over all rows."""
    random = np.random.default_rng(split)
    start = np.datetime64("2026-06-01T00:00:00")
    minutes = np.arange(22_000)
    swaps = random.integers(0, 22_000, 40)
    minutes[swaps] = minutes[random.integers(0, 22_000, 40)]
    values = np.repeat(random.integers(1, 4, 22_000 // 10), 10)[:22_000]
    values[split : split + 300] = 9
    device = random.integers(0, 3, 22_000)
    lines = [
        f"D{d},{t}Z,PM10,{v},ug/m3"
        for d, t, v in zip(device, start + minutes * np.timedelta64(60, "s"), values, strict=True)
    ]
    layer, rows = series(tmp_path, long(*lines))
    seen, latest, runs, n_repeats, n_earlier = {}, {}, {}, 0, 0
    stuck = np.zeros(22_000, bool)
    for i, (d, m, v) in enumerate(zip(device.tolist(), minutes.tolist(), values.tolist(), strict=True)):
        known = seen.setdefault((d, m), [])
        n_repeats += v in known
        n_earlier += m < latest.get(d, -1) and v not in known
        known.append(v)
        latest[d] = max(latest.get(d, -1), m)
        run = runs.get(d, [])
        run = [*run, i] if run and values[run[-1]] == v else [i]
        runs[d] = run
        if len(run) >= 24:
            stuck[run] = True
    qualities = [row["quality"] or "" for row in rows]
    assert len(layer.rejects) == n_repeats
    assert sum("disorder" in each for each in qualities) == n_earlier
    n_lost = len(layer.rejects)
    assert stuck.sum() - n_lost <= sum("stuck" in each for each in qualities) <= stuck.sum()
    assert len({row["id"] for row in rows}) == len(rows)


def test_running_maximum_within_groups():
    random = np.random.default_rng(5)
    us, group = random.integers(-50, 50, 200), np.sort(random.integers(0, 9, 200))
    wanted = pd.Series(us).groupby(group).cummax().to_numpy()
    assert _running_max(us, group).tolist() == wanted.tolist()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("PM10(μg/m3)", ("PM10", "μg/m3")),
        ("水位（m）", ("水位", "m")),
        ("rain [mm]", ("rain", "mm")),
        ("P (avg)", ("P (avg)", None)),
    ],
)
def test_units_in_headers(header, expected):
    assert split_unit(header) == expected


REAL = {  # file -> pandas' arguments, value columns, hints
    "ambient_temperature.csv": (",", ["value"], {}),
    "beijing_pm25_weather.csv": (",", ["pm2.5", "DEWP", "TEMP", "PRES", "Iws", "Is", "Ir"], {}),
    "dht22_2018-01-19_5332.csv": (";", ["temperature", "humidity"], {"crs": "EPSG:4326"}),
    "groundwater_head_B32C0639001.csv": (",", ["head"], {}),
    "pm10_sds011_2017-10-13_5331.csv": (";", ["P1", "P2"], {"crs": "EPSG:4326"}),
    "pygeoapi_obs.csv": (",", ["value"], {"crs": "EPSG:4326"}),
    "rain_hourly_vlissingen.csv": (",", ["RH"], {}),
    "river_level_nb5.csv": (",", ["River"], {}),
    "traffic_speed_7578.csv": (",", ["value"], {}),
}


@pytest.mark.parametrize("name", REAL)
def test_real_series_against_pandas(realdata, name):
    delimiter, columns, hints = REAL[name]
    path = realdata / "sensor" / name
    oracle = pd.read_csv(path, sep=delimiter)
    zone = {} if name == "pygeoapi_obs.csv" else {"units": {"time": "+01:00"}}
    [layer] = table.read(path, Hints(**hints, **zone)).layers
    batches = list(layer.batches())
    facts = dict(part.split("=", 1) for part in manifest()[f"sensor/{name}"]["expected"].split("; ") if "=" in part)
    assert layer.n_read == int(facts["rows_after_header"]) * len(columns)
    assert layer.rejects == []
    got = pa.concat_tables([batch.attributes for batch in batches])
    wanted = oracle[columns].to_numpy(np.float64).ravel()
    assert np.array_equal(got.column("value").to_pandas().to_numpy(np.float64), wanted, equal_nan=True)
    n_missing = int(np.isnan(wanted).sum())
    assert sum("missing" in (q or "") for q in got.column("quality").to_pylist()) == n_missing
    if "year" in oracle:
        times = pd.to_datetime(oracle[["year", "month", "day", "hour"]])
    else:
        times = pd.to_datetime(
            oracle[next(c for c in oracle if c.lower() in {"timestamp", "date", "datetime", "unnamed: 0"})]
        )
    times = times.dt.tz_localize("+01:00") if times.dt.tz is None else times
    assert (
        got.column("time").to_pandas().to_numpy() == np.repeat(times.dt.tz_convert("UTC").to_numpy(), len(columns))
    ).all()
    ids = [each for batch in batches for each in batch.ids]
    assert len(set(ids)) == len(ids)


def test_the_sample_town_keeps_its_observations(town):
    path = town / "iot" / "sensor_obs_202606.csv"
    oracle = pd.read_csv(path)
    [layer] = table.read(path, Hints(root=town)).layers
    got = pa.concat_tables([batch.attributes for batch in layer.batches()]).to_pandas()
    assert layer.rejects == layer.issues == []
    assert (got["value"] == oracle["数值"]).all()
    assert (got["device_id"] == oracle["设备编号"]).all()
    assert (got["time"] == pd.to_datetime(oracle["时间"]).dt.tz_convert("UTC")).all()
    assert got["quality"].isna().all()


def test_the_same_observation_in_two_files_is_stored_once(tmp_path):
    folder = tmp_path / "city"
    folder.mkdir()
    (folder / "city.toml").write_text('name = "t"\ncrs = "EPSG:4549"\norigin = [121.0, 28.1]\n')
    lines = [f"S,{HOUR[i]},level,{i},m" for i in range(4)]
    (folder / "a_obs.csv").write_text(long(*lines[:3]))
    (folder / "b_obs.csv").write_text(long(*lines[1:]))
    first = build(folder, tmp_path / "twin")
    reports = {report.source: report for report in first.reports}
    assert [reject.code for reject in reports["b_obs.csv"].rejects] == ["DUPLICATE_ID"] * 2
    assert sum(layer.n_stored for report in first.reports for layer in report.layers) == 4
    (folder / "b_obs.csv").unlink()
    (folder / "a_obs.csv").write_text(long(*lines))  # appended: the first three stay what they are
    second = build(folder, tmp_path / "twin")
    [count] = [layer for report in second.reports for layer in report.layers]
    assert (count.n_unchanged, count.n_inserted) == (3, 1)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    header=st.sampled_from(
        ["time,value", "device,time,quantity,value,unit", "year,month,day,hour,T", ",a(mm),b", "date,time,lon,lat,h"]
    ),
    cells=st.lists(st.lists(st.one_of(
        st.sampled_from(["", "NA", "2026-06-01", "2026-06-01T00:00:00Z", "12", "-999", "0", "1e400", "S", "2026"]),
        st.text(max_size=8),
    ), min_size=1, max_size=6), min_size=1, max_size=12),
    told=st.sampled_from([{}, {"layer": "sensor_obs"}, {"units": {"time": "epoch_s"}}, {"values": {"stuck": 2}}]),
)  # fmt: skip
def test_anything_is_read_or_refused_in_words(tmp_path, header, cells, told):
    path = Path(tmp_path) / "fuzz.csv"
    path.write_text(header + "\n" + "\n".join(",".join(row) for row in cells) + "\n", "utf8", errors="replace")
    try:
        reading = table.read(path, Hints(crs="EPSG:4326", **told))
        for layer in reading.layers:
            assert sum(len(batch) for batch in layer.batches()) + len(layer.rejects) == layer.n_read
    except CityTwinError as error:
        assert error.code  # noqa: PT017
