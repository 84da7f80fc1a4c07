"""The 46 bad inputs of docs/bad-inputs.md: each is built into a twin of its own, named, and its good part stored.

What is wrong with requests instead of files is asked of the server. Numbers come from hand arithmetic or foreign
libraries.
"""

import importlib.util
import json
import sys
import threading
from pathlib import Path

import geopandas
import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from starlette.testclient import TestClient

import twin
from layers.errors import LayerNotFound
from server.app import create_app
from server.build import build
from server.settings import Settings
from twin.scope import Scope

SCRIPT = Path(__file__).parent / "data" / "broken" / "make_broken.py"
_spec = importlib.util.spec_from_file_location("make_broken", SCRIPT)
make_broken = importlib.util.module_from_spec(_spec)
sys.modules.setdefault("make_broken", make_broken)
_spec.loader.exec_module(make_broken)

CASES = {case.name: case for case in make_broken.CASES}
EAST, NORTH = 597000.0, 3109000.0

WRITERS_WARN = ("ignore::UserWarning", "ignore::RuntimeWarning", "ignore::rasterio.errors.NotGeoreferencedWarning")
pytestmark = [pytest.mark.filterwarnings(each) for each in WRITERS_WARN]  # they warn about what is wrong on purpose


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Case name -> (result, folder of the twin); each is built once."""
    done = {}

    def get(name):
        if name not in done:
            folder = tmp_path_factory.mktemp("bad")
            source = CASES[name].make(folder)
            done[name] = build(source, folder / "twin"), folder / "twin"
        return done[name]

    return get


def codes_of(result):
    issues = [issue.code for report in result.reports for issue in report.issues]
    rejects = [reject.code for report in result.reports for reject in report.rejects]
    return {*issues, *rejects, *(issue.code for issue in result.issues)}


def issues_of(result, code):
    every = [issue for report in result.reports for issue in report.issues] + result.issues
    return [issue for issue in every if issue.code == code]


@pytest.mark.parametrize("name", CASES)
def test_each_case_is_named_by_its_codes_and_its_good_part_is_stored(built, name):
    case = CASES[name]
    result, folder = built(name)
    codes = codes_of(result)
    assert {code for code in case.codes if code} <= codes
    main = max(result.reports, key=lambda report: (report.status != "stored", report.source))
    if case.n_read:
        counted = [count for report in result.reports for count in report.layers]
        assert (case.n_read, case.n_stored) in {(count.n_read, count.n_stored) for count in counted} | {
            (sum(c.n_read for c in report.layers), sum(c.n_stored for c in report.layers)) for report in result.reports
        }
    for report in result.reports:
        for count in report.layers:
            assert count.n_read == count.n_stored + count.n_rejected
        assert sum(count.n_rejected for count in report.layers) == len(report.rejects)
        assert all(reject.content and reject.message and reject.where for reject in report.rejects)
        assert all(issue.hint for issue in report.issues if issue.severity == "error"), "a next step"
    assert (result.exit_code == 1) == any(report.status != "stored" for report in result.reports)
    with twin.open(folder) as city:
        stored = {info.id: info.count for info in city.layers if info.type.is_vector}
    counted = {}
    for report in result.reports:
        for count in report.layers:
            counted[count.layer] = counted.get(count.layer, 0) + count.n_stored
    assert all(counted.get(layer, 0) == n for layer, n in stored.items() if layer in counted), main.source


PARKED = [
    "01_no_prj", "02_zone_prefix", "02_metres_as_degrees", "03_swapped", "04_two_zones", "23_local_places",
    "25_centimetres", "25_datum_of_1956", "27_not_placed", "28_no_place", "28_zero_island", "28_default_city",
    "33_no_transform", "33_version_0_9", "34_no_crs",
]  # fmt: skip


@pytest.mark.parametrize("name", PARKED)
def test_what_has_no_sure_place_is_parked_and_nothing_of_it_is_stored(built, name):
    result, folder = built(name)
    assert [report.status for report in result.reports] == ["parked"]
    with twin.open(folder) as city:
        assert sum(info.count for info in city.layers if info.id != "source") == 0  # the list of sources names it


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("02_zone_prefix", "COORDINATES_OUTSIDE_CRS", "given-crs"),
        ("03_swapped", "COORDINATES_OUTSIDE_CRS", "swap-axes"),
        ("04_two_zones", "COORDINATES_OUTSIDE_CRS", "zones 40, 41"),
        ("28_no_place", "IFC_NO_GEOREFERENCE", "control"),
        ("16_land_codes", "LAND_CODE_UNKNOWN", "It is a code of sd2017"),
        ("25_centimetres", "DEM_OUT_OF_RANGE", "unit"),
    ],
)
def test_the_next_step_is_the_one_that_helps(built, name, code, words):
    result, _ = built(name)
    said = [f"{issue.message} {issue.hint}" for issue in issues_of(result, code)]
    assert any(words in each for each in said), codes_of(result)


@pytest.mark.parametrize(
    ("name", "finding", "low_m", "high_m"),
    [("02_old_datum", "suspect-old-datum", 70, 80), ("05_gcj02", "suspect-gcj02", 300, 700)],
)
def test_shifts_show_against_reference_points(built, name, finding, low_m, high_m):
    """The old datum is off by hypot(61, 43) = 74.6 m; GCJ-02 lies 300 to 700 m off anywhere in China."""
    with twin.open(built(name)[1]) as city:
        answer = city.run("crs-audit", layer="shifted", reference="reference", match="k")
    [row] = [row for row in answer["rows"] if row["verdict"] == "warn"]
    assert low_m < row["measured"] < high_m, row
    assert row["finding"] == finding


def frame(folder, layer):
    with twin.open(folder) as city:
        return city[layer].query()


@pytest.mark.parametrize("name", ["06_gbk_without_cpg", "06_gbk_with_lying_cpg"])
def test_chinese_names_come_out_of_gbk(built, name):
    assert sorted(frame(built(name)[1], "building")["name"]) == [f"测试楼{i}" for i in range(6)]


def test_cut_columns_find_their_attribute_and_the_others_are_kept(built):
    found = frame(built("07_cut_names")[1], "building")
    assert set(found["base_elev_m"]) == {4.5}
    assert "B3" in set(found["building_code"])


def test_numbers_in_any_dress(built):
    found = frame(built("08_chinese_csv")[1], "valve").set_index("device_code")
    assert found.loc["甲", "dn_mm"] == 300
    assert found.loc["丙", "dn_mm"] == 1200
    assert np.isnan(found.loc["乙", "dn_mm"])
    found = frame(built("09_units_in_text")[1], "valve").set_index("device_code")
    assert found["dn_mm"].dropna().to_dict() == pytest.approx({"P1": 300, "P2": 300, "P4": 304.8})
    assert found["elev_m"].dropna().to_dict() == pytest.approx({"P1": 1.5, "P2": 1.5, "P4": 2})


def test_overlaps_and_gaps_are_the_drawn_ones(built):
    """A block of 20 x 10 m begins 25 m east: 5 x 10 m lie on its neighbour; the ring of 3 x 3 lacks its middle."""
    result, _ = built("11_overlapping_parcels")
    [overlap], [gap] = issues_of(result, "PARCELS_OVERLAP"), issues_of(result, "PARCEL_GAPS")
    assert "1 pairs overlap, 50.00 m2" in overlap.message
    assert "1 gaps between parcels, 100.00 m2" in gap.message
    [lines] = issues_of(built("18_control_lines")[0], "CONTROL_LINES_OVERLAP")
    assert "1 pairs overlap, 1000.00 m2" in lines.message


def test_rings_are_closed_and_turned(built):
    found = frame(built("12_bad_rings")[1], "building").set_index("building_code")
    assert set(found.index) == {"clockwise", "open", "whole"}
    areas = found.geometry.area
    assert areas["open"] == pytest.approx(areas["whole"], rel=1e-3)


def test_points_among_areas_are_a_layer_of_their_own_and_nothing_is_lost(built):
    result, folder = built("13_mixed_and_empty")
    assert len(frame(folder, "building_points")) == 1
    [report] = result.reports
    assert {reject.content["building_code"] for reject in report.rejects} == {"B3", "B4"}


def test_heights_that_say_nothing_are_dropped_and_true_ones_kept(built):
    found = frame(built("14_no_heights")[1], "green_space").set_index("name")
    assert [bool(each) for each in found.geometry.has_z[["a", "b", "c"]]] == [False, False, True]


def test_stated_areas_are_kept_and_both_numbers_told(built):
    result, folder = built("17_wrong_areas")
    assert sorted(frame(folder, "land_survey")["TBMJ"].dropna()) == [99.98, 150.0]
    messages = [issue.message for issue in issues_of(result, "AREA_MISMATCH")]
    geod = pyproj.Geod(a=6378137.0, rf=298.257222101)
    back = pyproj.Transformer.from_crs("EPSG:4549", "EPSG:4490", always_xy=True)
    box = shapely.transform(
        shapely.box(EAST + 20, NORTH, EAST + 30, NORTH + 10), lambda xy: np.column_stack(back.transform(*xy.T))
    )
    true = abs(geod.geometry_area_perimeter(box)[0])
    assert any("150.00 m2" in message and f"{true:.2f} m2" in message for message in messages)


def test_pipes_without_depth_or_reference_have_no_solid(built):
    for name, layer, n_solid in (("19_missing_depths", "pipe_water", 1), ("20_no_reference", "pipe_gas", 1)):
        with twin.open(built(name)[1]) as city:
            [info] = [each for each in city.layers if each.id == layer]
            assert info.mesh_count == n_solid, name


def test_us_units_become_metric_and_a_node_without_place_is_kept_as_reject(built):
    result, folder = built("23_us_units")
    nodes = frame(folder, "net_node").set_index("node_id")
    assert nodes["elev_m"].to_dict() == pytest.approx({"J1": 30.48, "J2": 33.528})
    assert frame(folder, "net_link")["diameter_mm"].tolist() == pytest.approx([304.8])
    [report] = result.reports
    assert {reject.content.get("node_id") or reject.content.get("link_id") for reject in report.rejects} == {"J3", "P2"}


@pytest.mark.parametrize("name", ["24_holes", "24_undeclared", "26_two_grids", "27_north_down", "27_rotated"])
def test_heights_are_those_of_the_plane_and_unknown_in_holes(built, name):
    """z = 20 + 0.01 east + 0.02 north at the centres of cells, whatever the grid."""
    with twin.open(built(name)[1]) as city:
        bounds = np.array([asset.city_bounds for asset in city.store.assets(Scope("all"))]).mean(axis=0)
        x, y = (bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2
        east, north = x + np.array([-9.0, 3.3, 11.7]), y + np.array([5.0, -7.7, 2.1])
        heights = city.terrain.height(east, north)
        if name.startswith("24"):
            hole = city.terrain.height(np.array([EAST + 50.0]), np.array([NORTH + 128 - 50.0]))
            assert np.isnan(hole).all()
            east, north = np.array([EAST + 100.0]), np.array([NORTH + 20.0])
            heights = city.terrain.height(east, north)
    exact = 20 + 0.01 * (east - EAST) + 0.02 * (north - NORTH)
    assert heights == pytest.approx(exact, abs=1.0 if name == "24_undeclared" else 1e-3)


def test_models_lie_and_stand_as_computed_by_hand(built):
    """A wall of 4 x 1 x 3 m; turned by 90 degrees it runs north; forty million away it keeps its shape."""
    turned = frame(built("30_turned")[1], "bim_element").geometry.iloc[0].bounds
    assert turned == pytest.approx((EAST - 1, NORTH, EAST, NORTH + 4), abs=1e-6)
    far = frame(built("31_far_from_origin")[1], "bim_element").geometry.iloc[0].bounds
    assert far == pytest.approx((EAST, NORTH, EAST + 4, NORTH + 1), abs=1e-4)
    scaled = frame(built("29_scale_left_out")[1], "bim_element").geometry.iloc[0].bounds
    assert scaled == pytest.approx((EAST, NORTH, EAST + 4, NORTH + 1), abs=1e-6)


def test_elements_without_body_and_twins_are_told_and_an_open_body_is_kept(built):
    result, folder = built("32_odd_elements")
    [report] = result.reports
    assert [reject.content["name"] for reject in report.rejects if reject.code == "IFC_DUPLICATE_GUID"] == ["twin"]
    names = set(frame(folder, "bim_element")["name"]) | set(frame(folder, "bim_assembly")["name"])
    assert {"wall", "open"} <= names
    assert "bare" in names | {reject.content["name"] for reject in report.rejects}


def test_an_old_cityjson_is_read_and_a_bad_index_costs_one_building(built):
    for name, n in (("33_version_1_0", 1), ("33_bad_index", 2)):
        found = frame(built(name)[1], "building")
        assert len(found) == n
        assert found.geometry.iloc[0].bounds == pytest.approx((EAST, NORTH, EAST + 10, NORTH + 8), abs=1e-3)


def test_impossible_heights_are_not_drawn_and_estimates_are_marked(built):
    found = frame(built("35_building_heights")[1], "building").set_index("building_code")
    assert found["height_m"].dropna().to_dict() == {"B3": 60, "B4": 18}
    assert "height_m" in found.loc["B4", "estimated"]
    assert "height_m" not in (found.loc["B3", "estimated"] or "")


def test_scales_are_read_and_overlapping_sheets_counted_once_in_words(built):
    result, folder = built("40_sheets")
    found = frame(folder, "map_sheet").set_index("sheet_no")
    assert found["scale_denom"].to_dict() == {"a": 1000, "b": 1000, "c": 2000}
    [overlap] = issues_of(result, "SHEETS_OVERLAP")
    assert "50000.00 m2" in overlap.message
    assert [issue.where for issue in issues_of(result, "DATE_IN_FUTURE")] == ["c"]


def test_an_area_over_the_zone_edge_is_ellipsoidal(built):
    """121.49 to 121.51 E lies across 121.5 E, in one plane: compared on the ellipsoid, by pyproj."""
    [issue] = issues_of(built("46_zone_edge")[0], "AREA_MISMATCH")
    shape = shapely.segmentize(shapely.box(121.49, 37.4, 121.51, 37.42), 0.0005)
    true = abs(pyproj.Geod(a=6378137.0, rf=298.257222101).geometry_area_perimeter(shape)[0])
    told = float(issue.message.split("outline has ")[1].split(" ")[0])
    assert told == pytest.approx(true, abs=0.05)
    found = frame(built("46_zone_edge")[1], "land_survey").geometry.iloc[0]
    assert found.is_valid
    assert found.bounds[2] - found.bounds[0] < 2500


# --- requests ---


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A city of 20 buildings and one well, for everybody and with the buildings restricted."""
    folder = tmp_path_factory.mktemp("served")
    source = CASES["15_repeated"].make(folder)
    well = geopandas.GeoDataFrame({"node_code": ["N1"]}, geometry=[shapely.Point(EAST, NORTH)], crs="EPSG:4549")
    well.to_file(source / "pipe_node.gpkg", engine="pyogrio")
    build(source, folder / "twin")
    return folder / "twin"


@pytest.fixture(scope="module")
def client(served):
    with twin.open(served) as city, TestClient(create_app(city, Settings(access_log=False, warm_up=False))) as made:
        yield made


ITEMS = "/collections/building/items"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("bbox=170,30,-170,20", "bbox"),
        ("bbox=121.1,28.2,120.9,28.0", "lower bound above"),
        ("bbox=28.0,120.9,28.2,121.1", ""),
        ("bbox=120,20,130,95", "90°"),
        ("bbox=1,2,3", "bbox has 3 numbers"),
        ("bbox=nan,2,3,4", "finite"),
        ("bbox=121,28,122,29&bbox-crs=http://www.opengis.net/def/crs/EPSG/0/4549", ""),
    ],
)
def test_boxes_that_are_no_boxes_are_400_with_words(client, query, words):
    response = client.get(f"{ITEMS}?{query}")
    if words:
        assert response.status_code == 400
        assert words in response.text
    else:  # a box elsewhere on Earth is a true question with no answer, or is refused
        assert response.status_code == 400 or response.json()["numberMatched"] == 0


def test_the_box_of_the_whole_country_is_answered(client):
    assert client.get(f"{ITEMS}?bbox=73,3,136,54").json()["numberMatched"] == 19


def test_a_huge_limit_is_cut_and_a_huge_body_is_413(client):
    answer = client.get(f"{ITEMS}?limit=1000000000").json()
    assert answer["numberReturned"] == 19
    ring = ",".join(f"[{121 + i * 1e-7:.7f},28.1]" for i in range(120_000))
    shape = f'{{"type": "Polygon", "coordinates": [[{ring}]]}}'
    body = f'{{"inputs": {{"layer": "building", "distance_m": 1, "geometry": {shape}}}}}'
    assert client.post("/processes/buffer-query/execution", content=body).status_code == 413
    assert client.get(f"{ITEMS}?filter={'(' * 900}1=1{')' * 900}").status_code in {200, 400}
    assert client.get(f"{ITEMS}?filter={'x' * 30_000}").status_code == 414


@pytest.mark.parametrize(
    ("inputs", "field"),
    [
        ({"distance_m": -5}, "distance_m"),
        ({"distance_m": "1 km"}, "distance_m"),
        ({"distance_m": 5e6}, "distance_m"),
        ({"distance_m": None}, "distance_m"),
        ({"distance_km": 1}, "distance_km"),
        ({"geometry": {"type": "Point", "coordinates": [500, 500]}}, "geometry"),
        ({"geometry": {"type": "Ball"}}, "geometry"),
        ({"layer": 7}, "layer"),
        ({"limit": 0}, "limit"),
    ],
)
def test_wrong_inputs_of_a_process_are_400_with_the_name_of_the_field(client, inputs, field):
    good = {"layer": "building", "distance_m": 10, "geometry": {"type": "Point", "coordinates": [121.0, 28.1]}}
    response = client.post("/processes/buffer-query/execution", json={"inputs": good | inputs})
    assert response.status_code == 400
    assert field in response.json()["detail"]


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999"])
def test_a_number_that_is_none_is_400(client, value):
    body = (
        '{"inputs": {"layer": "building", "geometry": {"type": "Point", "coordinates": [121, 28.1]}, "distance_m": '
        + value
        + "}}"
    )
    assert client.post("/processes/buffer-query/execution", content=body).status_code == 400


def test_a_restricted_layer_is_absent_everywhere(served):
    scope = Scope("public", frozenset({"pipe_node"}))
    settings = Settings(scope=scope, access_log=False, warm_up=False)
    with twin.open(served) as city, TestClient(create_app(city, settings)) as client:
        for path in (ITEMS, "/collections/building", "/collections/building/3dtiles/tileset.json",
                     "/collections/building/tiles/WebMercatorQuad/0/0/0", "/collections/building/schema"):  # fmt: skip
            assert client.get(path).status_code == 404, path
        assert [each["id"] for each in client.get("/collections").json()["collections"]] == ["pipe_node", "catalogue"]
        inputs = {"layer": "building", "distance_m": 10, "geometry": {"type": "Point", "coordinates": [121, 28.1]}}
        for process, asked in (("buffer-query", inputs), ("crs-audit", {"layer": "building"})):
            response = client.post(f"/processes/{process}/execution", json={"inputs": asked})
            assert response.status_code == 404, process
            assert "B1" not in response.text
        audit = client.post("/processes/crs-audit/execution", json={"inputs": {}})
        assert "building" not in json.dumps(audit.json())
    with twin.open(served, scope=scope) as city, pytest.raises(LayerNotFound):
        city["building"].count()


def test_readers_see_the_old_city_or_the_new_one_while_a_build_writes(tmp_path):
    source = CASES["15_repeated"].make(tmp_path)
    old = geopandas.read_file(source / "building.gpkg").iloc[:10].copy()
    old["building_code"] = [f"C{i}" for i in range(10)]
    old.to_file(source / "building.gpkg", engine="pyogrio")
    build(source, tmp_path / "twin")
    seen, stop = [], threading.Event()

    def read():
        with twin.open(tmp_path / "twin") as city:
            while not stop.is_set():
                seen.append(tuple(sorted(city["building"].query()["building_code"])))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        new = old.copy()
        new["building_code"] = [f"D{i}" for i in range(10)]
        new.to_file(source / "building.gpkg", engine="pyogrio")
        build(source, tmp_path / "twin")
        (source / "building.gpkg").write_bytes(b"broken")
        failed = build(source, tmp_path / "twin")
    finally:
        stop.set()
        reader.join()
    assert set(seen) <= {tuple(f"C{i}" for i in range(10)), tuple(f"D{i}" for i in range(10))}
    assert len(seen) > 1
    assert failed.exit_code == 1
    with twin.open(tmp_path / "twin") as city:
        assert sorted(city["building"].query()["building_code"]) == [f"D{i}" for i in range(10)]


def test_the_written_rasters_are_readable_by_others(built):
    with twin.open(built("27_north_down")[1]) as city:
        [asset] = city.store.assets(Scope("all"))
        with rasterio.open(city.folder / asset.path) as cog:
            assert cog.transform.e < 0
