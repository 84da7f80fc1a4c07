"""Every source in its true place, from the folder to the answers: a twin, its reports, `info`, the layer `source`.

Places by hand arithmetic; the ENU frame of the meshes by PROJ's own topocentric conversion.
"""

import json
import math
import sqlite3
import subprocess
import sys
import warnings
from contextlib import closing
from pathlib import Path

import ezdxf
import geopandas
import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from rasterio.transform import from_origin
from starlette.testclient import TestClient

import twin
from layers import mesh
from server.app import create_app
from server.build import build
from server.cli_show import describe
from server.settings import Settings
from tests.ingest.test_ifc import box_model
from twin.scope import EVERYTHING, Scope

with warnings.catch_warnings():
    # pygeoapi defines its models in pydantic's old style and says so while it is imported
    warnings.simplefilter("ignore", DeprecationWarning)
    from pygeoapi.api import all_apis

    all_apis()

ROOT = Path(__file__).resolve().parents[2]
CITY = "EPSG:4549"
N_M = 12.0
EAST, NORTH, HEIGHT = 598_000.0, 3_109_500.0, 20.0

# a quarter turn left and a shift: (x, y, z) -> (EAST - y, NORTH + x, HEIGHT + z); the last pair of the IFC is 9 mm off
IFC_PAIRS = [
    ((x, y, z), (EAST - y, NORTH + x, HEIGHT + z))
    for x, y, z in ((0.0, 0.0, 0.0), (4.0, 0.0, 3.0), (4.0, 1.0, 0.0), (0.0, 1.0, 3.0))
]
# twice as large (a drawing of 1:2000 whose unit is 2 m), 3-4-5 turn: (x, y) -> 2 (0.8 x - 0.6 y, 0.6 x + 0.8 y)
DXF_PAIRS = [
    ((x, y), (EAST + 1.6 * x - 1.2 * y, NORTH + 1.2 * x + 1.6 * y)) for x, y in ((0, 0), (100, 0), (100, 80), (0, 80))
]


def pairs_toml(pairs):
    rows = ", ".join(f"{{from = {list(source)}, to = {list(true)}}}" for source, true in pairs)
    return f"control_points = [{rows}]"


def turned(xy):
    return [(EAST + 1.6 * x - 1.2 * y, NORTH + 1.2 * x + 1.6 * y) for x, y in xy]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    off = [*DXF_PAIRS[:3], (DXF_PAIRS[3][0], (DXF_PAIRS[3][1][0] + 0.04, DXF_PAIRS[3][1][1]))]
    (folder / "city.toml").write_text(
        f'name = "tiny"\ncrs = "{CITY}"\nvertical_crs = "EPSG:5737"\norigin = [121.0, 28.1]\n'
        f"height_model = {{constant_m = {N_M}}}\n"
        f'[[source]]\npath = "hall.ifc"\nepoch = "2026-05-01"\n{pairs_toml(IFC_PAIRS)}\n'
        f'[[source]]\npath = "plan/*.dxf"\nlayer = "building"\n{pairs_toml(off)}\n'
        f'[[source]]\npath = "shed.obj"\nunit_scale = 1.0\n{pairs_toml(IFC_PAIRS)}\n',
        "utf8",
    )
    (folder / "hall.ifc").write_text(box_model(conversion=False), "ascii")
    (folder / "plan").mkdir()
    drawing = ezdxf.new("R2018", setup=True)
    drawing.header["$INSUNITS"] = 6
    drawing.modelspace().add_lwpolyline([(10, 10), (30, 10), (30, 20), (10, 20)], close=True)
    drawing.saveas(folder / "plan" / "houses.dxf")
    corners = [(x, y, z) for z in (0, 3) for x, y in ((0, 0), (4, 0), (4, 1), (0, 1))]
    faces = [(1, 4, 3, 2), (5, 6, 7, 8), (1, 2, 6, 5), (2, 3, 7, 6), (3, 4, 8, 7), (4, 1, 5, 8)]
    lines = [*(f"v {x} {y} {z}" for x, y, z in corners), *(f"f {' '.join(map(str, face))}" for face in faces)]
    (folder / "shed.obj").write_text("\n".join(lines) + "\n", "ascii")
    geopandas.GeoDataFrame(
        {"name": ["a", "b"]}, geometry=shapely.points([(EAST, NORTH), (EAST + 50, NORTH + 20)]), crs=CITY
    ).to_file(folder / "poi.gpkg")
    (folder / "lamps.csv").write_text("name,x,y\nx,1,2\n", "utf8")
    return folder


@pytest.fixture(scope="module")
def built(source, tmp_path_factory):
    result = build(source, tmp_path_factory.mktemp("twin") / "twin")
    assert result.exit_code == 1  # the table without a place
    return result


@pytest.fixture(scope="module")
def city(built):
    with twin.open(built.twin_dir) as opened:
        yield opened


@pytest.fixture(scope="module")
def client(city):
    with TestClient(create_app(city, Settings(access_log=False, warm_up=False))) as opened:
        yield opened


def enu(points):
    """East, north, normal height -> the frame of the meshes, by PROJ."""
    pipeline = (
        "+proj=pipeline +step +inv +proj=tmerc +lon_0=120 +k=1 +x_0=500000 +ellps=GRS80 +step +proj=cart +ellps=WGS84 "
        "+step +proj=topocentric +ellps=WGS84 +lon_0=121 +lat_0=28.1 +h_0=0"
    )
    east, north, height = np.asarray(points, float).T
    return np.column_stack(pyproj.Transformer.from_pipeline(pipeline).transform(east, north, height + N_M))


CORNERS = [(EAST - y, NORTH + x, HEIGHT + z) for x in (0.0, 4.0) for y in (0.0, 1.0) for z in (0.0, 3.0)]


@pytest.mark.parametrize("layer", ["bim_element", "model"])
def test_a_model_in_numbers_of_its_own_stands_within_a_centimetre(city, layer):
    [row] = city[layer].query().itertuples()
    assert row.geometry.bounds == pytest.approx((EAST - 1, NORTH, EAST, NORTH + 4), abs=0.01)
    if layer == "bim_element":
        assert (row.base_elev_m, row.top_elev_m) == pytest.approx((HEIGHT, HEIGHT + 3), abs=0.01)
    fids = city.store.mesh_table(layer, EVERYTHING).fids
    [stored] = city.store.meshes(layer, fids, EVERYTHING)
    vertices = mesh.decode(stored.blob).vertices
    for corner in enu(CORNERS):
        assert np.linalg.norm(vertices - corner, axis=1).min() < 0.01
    assert all(np.linalg.norm(enu(CORNERS) - each, axis=1).min() < 0.01 for each in vertices)


def test_a_drawing_in_numbers_of_its_own_lies_within_its_residuals(city):
    """The fourth pair was given 4 cm too far east; least squares leave a share of that on every point."""
    [shape] = city["building"].query()["geometry"]
    wanted = shapely.Polygon(turned([(10, 10), (30, 10), (30, 20), (10, 20)]))
    assert shapely.hausdorff_distance(shape, wanted) < 0.03
    assert shape.area == pytest.approx(4 * 200, rel=2e-4)


def residuals():
    """Least squares of the four-parameter fit by numpy's own solver."""
    source = np.array([each for each, _ in DXF_PAIRS], float)
    true = np.array([each for _, each in DXF_PAIRS]) - (EAST, NORTH)
    true[3, 0] += 0.04
    x, y = source.T
    design = np.block(
        [[np.c_[x, -y, np.ones(4), np.zeros(4)]], [np.c_[y, x, np.zeros(4), np.ones(4)]]]
    )  # fmt: skip
    seen = true.T.ravel()
    left = seen - design @ np.linalg.lstsq(design, seen, rcond=None)[0]
    return math.sqrt(float((left**2).sum()) / 4)


def test_residuals_are_told_by_report_info_and_collection(built, city, client):
    [report] = [each for each in built.reports if each.source == "plan/houses.dxf"]
    told = report.certificate.parameters["control_points"]
    assert told["rms_m"] == pytest.approx(residuals(), abs=1e-6)
    assert report.certificate.method == "control-points"
    facts = {each["source"]: each for each in describe(city)["sources"]}["plan/houses.dxf"]
    assert facts["certificate"]["parameters"]["control_points"]["rms_m"] == told["rms_m"]
    shown = subprocess.run(
        [sys.executable, "-m", "server.cli", "info", str(built.twin_dir)],
        cwd=ROOT, check=True, capture_output=True, text=True, encoding="utf8",
    ).stdout  # fmt: skip
    assert f"RMS {residuals():.3f} m" in shown
    row = client.get("/collections/source/items/plan/houses.dxf").raise_for_status().json()["properties"]
    assert row["residual_m"] == told["rms_m"]
    assert row["extra"]["certificate"]["parameters"]["control_points"]["residuals_m"] == told["residuals_m"]


def test_each_source_is_a_feature_with_its_box(client):
    page = client.get("/collections/source/items", params={"crs": "http://www.opengis.net/def/crs/EPSG/0/4549"})
    rows = {each["id"]: each for each in page.raise_for_status().json()["features"]}
    assert set(rows) == {"hall.ifc", "plan/houses.dxf", "shed.obj", "poi.gpkg", "lamps.csv"}
    found = shapely.geometry.shape(rows["poi.gpkg"]["geometry"]).bounds
    assert sorted(found) == pytest.approx(sorted((EAST, NORTH, EAST + 50, NORTH + 20)), abs=0.002)
    poi = rows["poi.gpkg"]["properties"]
    assert (poi["method"], poi["status"], poi["n_read"], poi["n_stored"]) == ("file-crs", "stored", 2, 2)
    assert poi["source_crs"] == poi["city_crs"] == CITY
    assert json.loads(poi["layers"]) == ["poi"]
    assert (rows["hall.ifc"]["properties"]["method"], rows["hall.ifc"]["properties"]["epoch"]) == (
        "control-points", "2026-05-01",
    )  # fmt: skip


def test_a_parked_source_has_no_place_and_says_why(client):
    row = client.get("/collections/source/items/lamps.csv").raise_for_status().json()
    assert row["geometry"] is None
    assert row["properties"]["status"] == "parked"
    assert row["properties"]["reason"].startswith("CRS_MISSING: ")
    assert "[[source]]" in row["properties"]["reason"]
    found = client.get("/collections/source/items", params={"filter": "status = 'parked'"}).json()["features"]
    assert [each["id"] for each in found] == ["lamps.csv"]


def test_a_browser_reads_the_collection(client):
    page = client.get("/collections/source/items", headers={"Accept": "text/html"}).raise_for_status().text
    assert "plan/houses.dxf" in page
    assert "control-points" in page


def test_a_scope_sees_the_sources_whose_layers_are_all_its_own(city):
    some = city.with_scope(Scope("some", frozenset({"source", "poi", "building"})))
    assert set(some["source"].query().index) == {"poi.gpkg", "plan/houses.dxf"}
    assert set(some.certificates()) == {"poi.gpkg", "plan/houses.dxf"}
    info = some["source"].info
    assert (info.count, some["source"].count()) == (2, 2)
    west, _, _, north = info.bounds
    shapes = [shape.bounds for shape in some["source"].query()["geometry"]]
    assert (west, north) == (min(each[0] for each in shapes), max(each[3] for each in shapes))
    with TestClient(create_app(city, Settings(access_log=False, warm_up=False, scope=some.scope))) as client:
        assert client.get("/collections/source/items").json()["numberMatched"] == 2
        assert client.get("/collections/source/items/hall.ifc").status_code == 404
        assert client.get("/collections/source/items", params={"ids": "hall.ifc"}).text.count("hall.ifc") < 3
    none = city.with_scope(Scope("none", frozenset({"poi"})))
    assert "source" not in none


def versions(twin_dir):
    with closing(sqlite3.connect(twin_dir / "city.gpkg")) as db:
        return db.execute("SELECT id, version, status, reason FROM source ORDER BY id").fetchall()


def test_rows_follow_their_sources_without_churn(source, tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "city.toml").write_text((source / "city.toml").read_text("utf8").split("[[source]]")[0], "utf8")
    whole = (source / "poi.gpkg").read_bytes()
    (folder / "poi.gpkg").write_bytes(whole)
    (folder / "gone.csv").write_text("name,x,y\nx,1,2\n", "utf8")
    target = tmp_path / "twin"
    build(folder, target)
    first = versions(target)
    assert [(row[0], row[1], row[2]) for row in first] == [("gone.csv", 1, "parked"), ("poi.gpkg", 1, "stored")]
    with twin.open(target) as city:
        before = city.store.version()
    build(folder, target)
    assert versions(target) == first
    with twin.open(target) as city:
        assert city.store.version() == before
    (folder / "gone.csv").unlink()
    (folder / "poi.gpkg").write_bytes(b"no database")
    build(folder, target)
    [row] = versions(target)  # its old points are still served, and so is their box
    assert row[:3] == ("poi.gpkg", 2, "parked")
    assert row[3]
    with twin.open(target) as city:
        assert city["poi"].count() == 2
        assert city["source"].get("poi.gpkg")["geometry"] is not None
    build(folder, target)
    assert versions(target) == [row]
    (folder / "poi.gpkg").write_bytes(whole)
    build(folder, target)
    assert [each[:3] for each in versions(target)] == [("poi.gpkg", 3, "stored")]


def test_no_file_is_taken_for_the_layer_of_the_sources(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "city.toml").write_text(f'crs = "{CITY}"\norigin = [121.0, 28.1]\n', "utf8")
    box = shapely.box(EAST, NORTH, EAST + 9, NORTH + 9)
    geopandas.GeoDataFrame({"name": ["x"]}, geometry=[box], crs=CITY).to_file(folder / "source.gpkg")
    build(folder, tmp_path / "twin")
    with twin.open(tmp_path / "twin") as city:
        assert city["source"].query().index.tolist() == ["source.gpkg"]
        assert city["own_source"].count() == 1


def test_the_audit_runs_from_the_command_line_and_over_http(built, client):
    done = subprocess.run(
        [sys.executable, "-m", "server.cli", "run", str(built.twin_dir), "crs-audit"],
        cwd=ROOT, check=True, capture_output=True, text=True, encoding="utf8",
    )  # fmt: skip
    said = json.loads(done.stdout)
    answer = client.post("/processes/crs-audit/execution", json={"inputs": {}}).raise_for_status().json()
    assert answer == said
    assert said["verdict"] == "fail"
    [refused] = [row for row in said["rows"] if row["verdict"] == "fail"]
    assert (refused["source"], refused["finding"]) == ("lamps.csv", "crs-missing")
    assert refused["proposal"].startswith("[[source]]")
    assert not [row for row in said["rows"] if row["layer"] == "source"]


def test_a_datum_without_relation_is_refused_with_the_way_out_which_then_works(tmp_path):
    """Heights of Japan (EPSG:6695) in a city on EPSG:5737: 10 m of the source are 7.75 m of the city, as told."""
    folder = tmp_path / "source"
    folder.mkdir()
    head = (
        f'crs = "{CITY}"\norigin = [121.0, 28.1]\nheight_model = {{constant_m = {N_M}}}\nvertical_crs = "EPSG:5737"\n'
    )
    all_of_it = '[[source]]\npath = "*"\nvertical_crs = "EPSG:6695"\n'
    (folder / "city.toml").write_text(head + all_of_it, "utf8")
    place = shapely.points([(EAST + 10, NORTH + 10, 10.0)])
    geopandas.GeoDataFrame({"name": ["a"]}, geometry=place, crs=CITY).to_file(folder / "poi.gpkg")
    with rasterio.open(
        folder / "dem.tif", "w", driver="GTiff", height=20, width=20, count=1, dtype="float32", crs=CITY,
        transform=from_origin(EAST, NORTH + 20, 1, 1),
    ) as file:  # fmt: skip
        file.write(np.full((20, 20), 10.0, np.float32), 1)
    result = build(folder, tmp_path / "refused")
    assert {each.source: each.status for each in result.reports} == {"poi.gpkg": "parked", "dem.tif": "parked"}
    for report in result.reports:
        assert report.issues[0].code == "VERTICAL_DATUM"
        assert "vertical_offset_m" in report.issues[0].hint
    (folder / "city.toml").write_text(f"{head}{all_of_it}vertical_offset_m = -2.25\n", "utf8")
    result = build(folder, tmp_path / "twin")
    assert [each.issues for each in result.reports if each.status != "stored"] == []
    with twin.open(tmp_path / "twin") as city:
        [point] = city["poi"].query()["geometry"]
        assert shapely.get_z(point) == pytest.approx(7.75, abs=1e-9)
        assert city.height(EAST + 10, NORTH + 10) == pytest.approx(7.75, abs=1e-6)
        for row in city["source"].query().itertuples():
            assert "-2.25 m, as told, to reach EPSG:5737" in row.transformation, row.Index
