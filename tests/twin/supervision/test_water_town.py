"""Supervision of water on the sample town, against its planted truth and sums of the files by hand."""

import csv
import datetime as dt
import json

import numpy as np
import pytest
import rasterio
import shapely
from scipy import ndimage

from tests.twin.analysis.land_city import TOWN, town
from twin.supervision import engine


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    with town(tmp_path_factory.mktemp("town"), "water", "iot", "terrain") as opened:
        yield opened


def observed(device):
    with (TOWN / "iot" / "sensor_obs_202606.csv").open(encoding="utf-8-sig") as file:
        rows = [row for row in csv.DictReader(file) if row["设备编号"] == device]
    return {dt.datetime.fromisoformat(row["时间"]): float(row["数值"]) for row in rows}


def findings(city, check, moment):
    run = engine.run(city, "water", checks=[check], now=moment)
    return {(each.rule, each.objects[0]): each for each in run.results[0].findings}


def test_planted_levels_are_found_exactly(city):
    planted = [
        each for each in json.loads((TOWN / "expected.json").read_text("utf8"))["exceedances"]
        if each["quantity"] == "water_level"
    ]  # fmt: skip
    assert {each["exceeds"] for each in planted} == {True, False}
    for each in planted:
        moment = dt.datetime.fromisoformat(each["time"])
        found = findings(city, "reservoir-levels", moment)["reservoir-flood-limit", "reservoir/SK01"]
        assert (found.measured, found.limit, found.time) == (each["value"], each["limit"], moment)
        assert found.verdict == ("fail" if each["exceeds"] else "pass")


def test_every_hour_of_a_day_says_what_the_file_says(city):
    levels = observed("SW01")
    day = [time for time in levels if dt.date(2026, 6, 17) <= time.date() <= dt.date(2026, 6, 18)]
    for time in day[::5]:
        found = findings(city, "reservoir-levels", time)["reservoir-flood-limit", "reservoir/SK01"]
        assert found.measured == levels[time]
        assert found.verdict == ("fail" if levels[time] > 45.0 else "pass")


def test_rain_of_the_basin_is_that_of_its_station(city):
    rain = observed("JY01")  # nearest to all of the basin
    moment = dt.datetime(2026, 6, 18, 2, tzinfo=dt.timezone(dt.timedelta(hours=8)))
    found = {rule: each for (rule, _), each in findings(city, "basin-rain", moment).items()}
    for rule, hours in (("rainstorm-24h", 24), ("rainstorm-12h", 12)):
        total = sum(value for time, value in rain.items() if moment - dt.timedelta(hours=hours) < time <= moment)
        assert found[rule].measured == pytest.approx(round(total, 1))
        assert found[rule].verdict == ("pass" if total < found[rule].limit else "fail")
    assert found["basin-area"].verdict == "pass"


def test_a_month_later_nothing_is_known(city):
    later = dt.datetime(2026, 8, 1, tzinfo=dt.UTC)
    assert findings(city, "reservoir-levels", later)["reservoir-flood-limit", "reservoir/SK01"].verdict == "unknown"
    assert all(
        each.verdict == "unknown" for (rule, _), each in findings(city, "river-levels", later).items()
        if rule != "river-level-order"
    )  # fmt: skip
    assert {each.verdict for (rule, _), each in findings(city, "inundation", later).items()} == {"unknown"}


def test_flood_of_the_town_equals_labels_of_scipy(city):
    with rasterio.open(TOWN / "terrain" / "dem.tif") as file:
        z, transform = file.read(1, masked=True).filled(np.nan).astype(float), file.transform
    seed = {"type": "Point", "coordinates": [598540.0, 3109748.5], "crs": "city"}
    column, row = int((598540.0 - transform.c) // transform.a), int((transform.f - 3109748.5) // -transform.e)
    for level in (1.0, 4.5):
        labels, _ = ndimage.label(z < level - 1e-6)
        wet = labels == labels[row, column]
        found = city.run("flood-inundation", level_m=level, seeds=seed, crs="city", with_depth=level > 4)
        assert found["n_cells"] == wet.sum() > 1000
        assert found["volume_m3"] == pytest.approx((level - z[wet]).sum() * 4)
        shape = shapely.geometry.shape(found["outline"]["features"][0]["geometry"])
        assert shape.area == pytest.approx(wet.sum() * 4)
    with rasterio.open(found["depth"].path) as file:
        made = file.read(1)
    assert np.array_equal(np.isfinite(made), wet)
    assert np.abs(made[wet] - (4.5 - z[wet])).max() < 1e-5
