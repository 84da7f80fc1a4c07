"""Indicators of the sample town, against what geopandas makes of the source files themselves."""

import geopandas
import numpy as np
import pytest
import shapely

from tests.twin.analysis.land_city import TOWN, town

CRS = "EPSG:4549"


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    with town(tmp_path_factory.mktemp("town"), "vector", "iot") as city:
        found = city.run("plan-indicators", level="town")
        villages = city.run("plan-indicators", level="village", indicators=["I-06", "I-12", "I-13-intact"])
        yield {each["id"]: each for each in found["indicators"]}, {each["id"]: each for each in villages["indicators"]}


def read(file, layer):
    return geopandas.read_file(TOWN / file, layer=layer).to_crs(CRS)


@pytest.fixture(scope="module")
def zones():
    units = read("vector/basemap.gpkg", "admin_unit")
    code = next(name for name in units.columns if units[name].astype(str).str.fullmatch(r"\d{9}").any())
    return units[units[code].astype(str).str.len() == 9].sort_values(code)


def flag(frame, *names):
    return frame[next(name for name in names if name in frame.columns)]


def test_lamps_by_town(told, zones):
    lamps = read("iot/devices.gpkg", "lamp")
    smart = flag(lamps, "smart", "智能控制", "是否智能").astype(bool)
    own = told[0]["I-06"]
    assert own["value"] == pytest.approx(100 * smart.mean())
    for row, zone in zip(own["rows"], zones.geometry, strict=True):
        inside = lamps.intersects(zone)
        assert (row["numerator"], row["denominator"]) == (smart[inside].sum(), inside.sum())


def test_cameras_in_order_and_what_they_see(told):
    cameras, areas = read("iot/devices.gpkg", "camera"), read("vector/basemap.gpkg", "key_area")
    state = flag(cameras, "state", "状态")
    assert told[0]["I-13-intact"]["value"] == pytest.approx(100 * (state == "正常").mean())
    azimuth, fov, reach = (
        flag(cameras, *names).to_numpy(float)
        for names in (("azimuth_deg", "方位角"), ("fov_deg", "视场角"), ("range_m", "可视距离"))
    )
    ground = shapely.union_all(areas.geometry)
    west, south, east, north = ground.bounds
    xy = np.stack(np.meshgrid(np.arange(west, east), np.arange(south, north)), -1).reshape(-1, 2)
    xy = xy[shapely.contains_xy(ground, *xy.T)]
    seen = np.zeros(len(xy), bool)
    for at, middle, wide, far in zip(cameras.geometry, azimuth, fov, reach, strict=True):
        d = xy - [at.x, at.y]
        off = np.abs((np.degrees(np.arctan2(d[:, 0], d[:, 1])) - middle + 180) % 360 - 180)
        seen |= (np.hypot(*d.T) <= far) & (off <= wide / 2)
    assert told[0]["I-13"]["value"] == pytest.approx(100 * seen.mean(), abs=0.25), "a grid of 1 m"


def test_areas_under_5g(told):
    stations, areas = read("iot/devices.gpkg", "base_station"), read("vector/basemap.gpkg", "key_area")
    radius = flag(stations, "radius_m", "覆盖半径").to_numpy(float)
    cover = shapely.union_all(shapely.buffer(stations.geometry.to_numpy(), radius, quad_segs=720))
    ground = shapely.union_all(areas.geometry)
    expected = 100 * shapely.area(shapely.intersection(ground, cover)) / shapely.area(ground)
    assert told[0]["I-14"]["value"] == pytest.approx(expected, abs=0.005)


def test_sheets_of_the_planning_area(told):
    sheets, area = read("vector/basemap.gpkg", "map_sheet"), read("vector/basemap.gpkg", "planning_area")
    scale = flag(sheets, "scale_denom", "比例尺分母", "比例尺").astype(int)
    ground = shapely.union_all(area.geometry)
    cover = shapely.union_all(sheets.geometry[scale.isin([1000, 2000])])
    expected = 100 * shapely.area(shapely.intersection(ground, cover)) / shapely.area(ground)
    assert told[0]["I-01"]["value"] == pytest.approx(expected, abs=0.001)


def test_events_closed(told):
    events = geopandas.read_file(TOWN / "iot" / "event.geojson").to_crs(CRS)
    closed = flag(events, "state", "状态") == "已办结"
    assert told[0]["I-12"]["value"] == pytest.approx(100 * closed.mean())
    assert told[0]["I-12"]["n"] == len(events)


def test_stations_in_the_urban_area(told):
    stations, area = read("iot/devices.gpkg", "weather_station"), read("vector/basemap.gpkg", "urban_area")
    inside = stations[stations.intersects(shapely.union_all(area.geometry))]
    xy = shapely.get_coordinates(inside.geometry.to_numpy())
    apart = np.linalg.norm(xy[:, None] - xy[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    assert told[0]["I-03"]["value"] == pytest.approx(apart.min(axis=1).mean())


def test_villages_towns_and_the_city_agree(told):
    towns, villages = told
    for name, own in villages.items():
        assert own["value"] == towns[name]["value"]
        for row in towns[name]["rows"]:
            inside = [each for each in own["rows"] if each["xzqdm"].startswith(row["xzqdm"])]
            for key in ("numerator", "denominator", "n"):
                assert sum(each[key] for each in inside) == row[key], (name, row["name"])
