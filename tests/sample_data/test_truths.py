"""What `expected.json` says is planted follows from the files, by another way than the one that made it."""

import csv
import math
from collections import defaultdict

import geopandas as gpd
import numpy as np
import pyproj
import pytest
import rasterio
import shapely

from tests.sample_data.town_files import EXPECTED, TOWN


def layer(path: str, name: str | None = None) -> gpd.GeoDataFrame:
    return gpd.read_file(TOWN / path, layer=name)


def test_every_layer_has_valid_geometry_inside_the_sheet():
    for name, layers in EXPECTED["counts"].items():
        if name.endswith((".gpkg", ".geojson")):
            for each in layers:
                table = layer(name, each).to_crs(4549)
                assert table.geometry.is_valid.all(), (name, each)
                assert not table.geometry.is_empty.any()
                west, south, east, north = table.total_bounds
                assert west >= 597300 - 40, (name, each)
                assert south >= 3108900 - 40
                assert east <= 599300 + 40
                assert north <= 3110900 + 40


def test_footprints_of_many_shapes_that_do_not_touch():
    table = layer("vector/buildings.gpkg")
    shapes = table.geometry.to_numpy()
    left, right = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    assert (left == right).all()
    corners = shapely.get_num_coordinates(shapely.get_exterior_ring(shapes)) - 1
    assert {4, 6, 8, 32} <= set(corners)
    assert shapely.get_num_interior_rings(shapes).sum() >= 1
    assert table["建筑高度"].isna().sum() >= 30


def test_illegal_buildings_are_found_by_area_and_height_and_no_others():
    buildings, permits = layer("vector/buildings.gpkg"), layer("land/projects.gpkg", "permit_building")
    tree = shapely.STRtree(permits.geometry.to_numpy())
    heights = {row["building_id"]: row["height_m"] for row in EXPECTED["illegal_buildings"]}
    suspects = set()
    for row in buildings.itertuples():
        hits = tree.query(row.geometry, predicate="intersects")
        allowed = shapely.union_all(permits.geometry.to_numpy()[hits])
        excess = row.geometry.area - row.geometry.intersection(allowed).area
        height = row.建筑高度 if not math.isnan(row.建筑高度) else heights.get(row.建筑编号)
        too_high = height is not None and len(hits) and height > permits["height_m"].to_numpy()[hits].max() + 1e-6
        if (excess > 10 and excess > 0.05 * row.geometry.area) or too_high:
            suspects.add(row.建筑编号)
    planted = {row["building_id"] for row in EXPECTED["illegal_buildings"] if row["illegal"]}
    assert suspects == planted
    assert len(planted) >= 10
    assert sum(not row["illegal"] for row in EXPECTED["illegal_buildings"]) >= 10


def test_planted_heights_are_in_the_file():
    table = layer("vector/buildings.gpkg").set_index("建筑编号")
    for row in EXPECTED["illegal_buildings"]:
        assert table.loc[row["building_id"], "建筑高度"] == row["height_m"], (
            "a planted height must not be one of the missing ones"
        )


def test_project_overlaps_by_plane_area_and_scale():
    """Independent of Geod: plane area divided by the grid's area factor (1.000238 at 121.0 E, 28.1 N)."""
    projects = layer("land/projects.gpkg", "project_land").set_index("project_code")
    lines = {
        key: layer("land/国土空间规划.gpkg", name).union_all()
        for key, name in (("pbf", "永久基本农田"), ("eco_redline", "生态保护红线"), ("urban", "城镇开发边界"))
    }
    for row in EXPECTED["project_overlaps"]:
        shape = projects.loc[row["project_code"]].geometry
        for key in ("pbf", "eco_redline"):
            assert shape.intersection(lines[key]).area / 1.000238 == pytest.approx(row[f"{key}_m2"], abs=0.05, rel=2e-5)
        assert shape.difference(lines["urban"]).area / 1.000238 == pytest.approx(
            row["outside_urban_boundary_m2"], abs=0.05, rel=2e-5
        )
    verdicts = [row["verdict"] for row in EXPECTED["project_overlaps"]]
    assert (verdicts.count("fail"), verdicts.count("review")) == (6, 1)
    over = [max(r["pbf_m2"], r["eco_redline_m2"]) for r in EXPECTED["project_overlaps"]]
    assert sum(a > 1 for a in over) >= 5
    assert any(0 < a < 1 for a in over)
    assert any("touching" in r["note"] and r["pbf_m2"] < 0.01 for r in EXPECTED["project_overlaps"])


def test_control_lines_do_not_overlap_each_other():
    pbf, red, urban = (
        layer("land/国土空间规划.gpkg", name).union_all() for name in ("永久基本农田", "生态保护红线", "城镇开发边界")
    )
    assert pbf.intersection(red).area < 1
    assert pbf.intersection(urban).area < 1
    assert red.intersection(urban).area < 1


@pytest.mark.parametrize("year", [2019, 2025])
def test_the_survey_tiles_the_land_with_ellipsoidal_areas(year):
    table = layer(f"land/地类图斑_{year}.gpkg")
    land = layer("vector/basemap.gpkg", "admin_unit").set_index("xzqdm").loc["999901"].geometry
    union = table.union_all()
    assert table.area.sum() - union.area < 5, "no overlaps"
    assert land.area - union.area < 2500, "only slivers left out"
    geod = pyproj.Geod(a=6378137, rf=298.257222101)
    degrees = table.set_geometry(table.segmentize(50)).to_crs(4490)
    areas = [abs(geod.geometry_area_perimeter(shapely.orient_polygons(g))[0]) for g in degrees.geometry]
    assert np.allclose(areas, table["TBMJ"], atol=0.1)
    assert np.allclose(table["TBMJ"] - table["KCMJ"], table["TBDLMJ"], atol=0.011)


def test_the_two_survey_years_differ_in_farmland():
    before, after = layer("land/地类图斑_2019.gpkg"), layer("land/地类图斑_2025.gpkg")
    assert (before["DLBM"].str.startswith("01") & ~after["DLBM"].str.startswith("01")).sum() >= 2


def test_admin_levels_nest_and_add_up():
    units = layer("vector/basemap.gpkg", "admin_unit")
    for digits, below in ((6, 9), (9, 12)):
        for row in units[units["xzqdm"].str.len() == digits].itertuples():
            parts = units[(units["xzqdm"].str.len() == below) & units["xzqdm"].str.startswith(row.xzqdm)]
            assert parts.union_all().symmetric_difference(row.geometry).area < 1
            assert parts["population"].sum() == row.population
    codes = layer("vector/buildings.gpkg").sjoin(units[units["xzqdm"].str.len() == 12], predicate="intersects")
    assert (codes["行政区代码"] == codes["xzqdm"]).mean() > 0.97


def test_exceedances_are_in_the_readings_and_there_are_no_others():
    values, hours = defaultdict(dict), {}
    with (TOWN / "iot" / "sensor_obs_202606.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            assert row["时间"].endswith("+08:00")
            values[row["设备编号"]][row["时间"]] = float(row["数值"])
            hours[row["时间"]] = int(row["时间"][11:13])
    assert all(len(series) == 720 for series in values.values())
    alerts = set()
    for device, series in values.items():
        for time, value in series.items():
            if device.startswith("ZS") and value > (70 if 6 <= hours[time] < 22 else 55):
                alerts.add((device, time))
            if device.startswith("YC") and value - (values["GK01"][time] + values["GK02"][time]) / 2 > 80:
                alerts.add((device, time))
    alerts |= {("SW01", time) for time, value in values["SW01"].items() if value > 45.0}
    assert alerts == {(row["device_id"], row["time"]) for row in EXPECTED["exceedances"] if row["exceeds"]}
    assert sum(not row["exceeds"] for row in EXPECTED["exceedances"]) >= 6
    for row in EXPECTED["exceedances"]:
        assert values[row["device_id"]][row["time"]] == pytest.approx(row["value"], abs=0.051)


def test_crane_conflicts():
    cranes = layer("construction/工地.gpkg", "塔机").set_index("塔机编号")
    for row in EXPECTED["crane_pairs"]:
        a, b = cranes.loc[row["a"]], cranes.loc[row["b"]]
        apart = math.dist((a.geometry.x, a.geometry.y), (b.geometry.x, b.geometry.y))
        reach = a["起重臂长"] + b["起重臂长"]
        low, high = sorted((a, b), key=lambda c: c["最低部件高程"])
        fails = reach > apart and (high["最低部件高程"] - low["顶部高程"] < 2 or apart - low["起重臂长"] < 2)
        assert row["fails"] == bool(fails)
        assert row["distance_m"] == pytest.approx(apart, abs=0.001)
    assert {row["fails"] for row in EXPECTED["crane_pairs"]} == {True, False}
    assert {row["too_close_horizontally"] for row in EXPECTED["crane_power_line"]} == {True, False}


def test_open_pits_are_as_deep_in_the_terrain_model_as_in_the_table():
    pits = layer("construction/工地.gpkg", "基坑").set_index("基坑编号")
    said = {row["pit"]: row["depth_m"] for row in EXPECTED["excavations"]}
    assert dict(pits["开挖深度"]) == said
    assert sorted(said.values())[:2] == [2.9, 3.0]
    with rasterio.open(TOWN / "terrain" / "dem.tif") as dem:
        for code in ("JK01", "JK02"):
            shape = pits.loc[code].geometry
            floor = next(dem.sample([(shape.centroid.x, shape.centroid.y)]))[0]
            ring = np.array(shape.buffer(6).exterior.coords)
            rim = np.mean([v[0] for v in dem.sample(ring[:, :2])])
            assert rim - floor == pytest.approx(said[code], abs=0.3)


def test_reservoir_levels_are_in_order_and_the_curve_rises():
    pool = layer("water/水利.gpkg", "reservoir").iloc[0]
    assert (
        pool.dead_level_m
        < pool.flood_limit_level_m
        <= pool.normal_level_m
        < pool.flood_high_level_m
        <= pool.design_level_m
        <= pool.check_level_m
        < pool.dam_crest_elev_m
    )
    text = (TOWN / "water" / "云溪水库水位库容曲线.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    level, storage, area = (np.array([float(r[k]) for r in rows]) for k in ("水位(m)", "库容(万m3)", "水面面积"))
    assert (np.diff(level) > 0).all()
    assert (np.diff(storage) > 0).all()
    # the derivative of storage is the surface: trapezoid rule within 3 %
    volume = np.cumsum((area[1:] + area[:-1]) / 2 * np.diff(level)) / 1e4
    assert np.allclose(volume[5:], storage[6:] - storage[0], rtol=0.03)
    at_normal = np.interp(pool.normal_level_m, level, area)
    assert at_normal == pytest.approx(pool.geometry.area, rel=0.03)
