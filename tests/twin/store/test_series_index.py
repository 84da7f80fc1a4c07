"""Series of a few devices are looked up, not searched for: the index of observations and what is read through it."""

import datetime as dt

import pyarrow as pa
import pytest

from tests.twin.analysis import water_city
from twin import series
from twin.store.geopackage import GeoPackageStore

START = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)


def rows(n_devices=40, n_times=30):
    return {
        f"{device}-{k}": (None, {
            "device_id": f"d{device}", "time": START + dt.timedelta(hours=k), "quantity": "noise" if k % 3 else "PM10",
            "value": float(k), "unit": None if device % 5 == 0 else "dB(A)", "quality": None,
        })
        for device in range(n_devices) for k in range(n_times)
    }  # fmt: skip


@pytest.fixture
def city(tmp_path):
    with water_city.make(
        tmp_path, layers=[("sensor_obs", "none", rows()), ("note", "none", {"a": (None, {"d": 1})})]
    ) as made:
        yield made


def plan(store, sql):
    with store.reading() as db:
        return [row[3] for row in db.execute("EXPLAIN QUERY PLAN " + sql)]


def test_series_of_some_devices_are_those_of_all(city):
    every = series.lines(city.store, "sensor_obs", city.scope)
    assert len(every) == 80
    for some in ({"d3", "d5"}, {"d1", "none"}, set(), {f"d{k}" for k in range(40)}):
        told = series.lines(city.store, "sensor_obs", city.scope, some)
        assert told == tuple(each for each in every if each.device in some)


def test_the_index_is_used_and_only_layers_of_observations_have_one(city):
    found = plan(city.store, "SELECT max(time) FROM sensor_obs WHERE device_id IN ('d1') GROUP BY quantity, unit")
    assert any(line.startswith("SEARCH sensor_obs USING COVERING INDEX") for line in found)
    with city.store.reading() as db:
        names = [row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE name LIKE '%_series'")]
    assert names == ["gpkg_citytwin_sensor_obs_row_series"]


def test_a_store_without_it_gets_it_and_a_wider_column_keeps_it(tmp_path):
    plain = {"a": (None, {"device_id": "d", "time": START, "quantity": 7, "value": 1.0, "unit": "m"})}
    water_city.make(tmp_path, layers=[("sensor_obs", "none", plain)]).close()
    text = {"b": (None, {"device_id": "d", "time": START, "quantity": "noise", "value": 2.0, "unit": "m"})}
    store = GeoPackageStore(tmp_path / "city.gpkg")
    with store.writing() as batch:
        batch._db.execute("DROP INDEX IF EXISTS gpkg_citytwin_sensor_obs_row_series")
        water_city.put(batch, "sensor_obs", "none", plain)
    with store.writing() as batch:
        water_city.put(batch, "sensor_obs", "none", {"a": (None, plain["a"][1] | {"quantity": "7"})} | text)
    with store.reading() as db:
        assert db.execute("SELECT count(*) FROM sqlite_schema WHERE name LIKE '%_series'").fetchone()[0] == 1
        assert {row[0] for row in db.execute("SELECT quantity FROM sensor_obs")} == {"7", "noise"}
    store.close()


def test_layers_that_are_not_in_a_geopackage_are_told_alike(city, monkeypatch):
    wanted = series.lines(city.store, "sensor_obs", city.scope, {"d3"})
    monkeypatch.setattr(series, "GeoPackageStore", pa.Table)  # no store of ours: rows are read and grouped
    assert series.lines(city.store, "sensor_obs", city.scope, {"d3"}) == wanted
