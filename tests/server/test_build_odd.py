"""Odd folders: links, names, permissions, tables of one file that lie in different systems, rejects without end."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from egm96 import undulation
from rasterio.transform import from_origin

import twin
from server import build_rejects
from server.build import build

CITY = "EPSG:4549"
LON, LAT = 121.4, 37.5
E0, N0 = 623_800.0, 4_152_900.0


def blocks(n, *, north=N0):
    shapes = [shapely.box(E0 + 30 * k, north, E0 + 30 * k + 10, north + 10) for k in range(n)]
    ids = [f"{north:.0f}-{k}" for k in range(n)]
    return geopandas.GeoDataFrame({"id": ids, "height_m": 9.0}, geometry=shapes, crs=CITY)


def save(frame, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_file(path, engine="pyogrio", **options)


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "files"
    save(blocks(3), folder / "building.gpkg")
    lines = [f'crs = "{CITY}"', 'vertical_crs = "EPSG:5737"', f"origin = [{LON}, {LAT}]"]
    (folder / "city.toml").write_text("\n".join(lines), "utf8")
    return folder


def codes(result):
    return {report.source: [issue.code for issue in report.issues if issue.severity == "error"]
            for report in result.reports if report.status != "stored"}  # fmt: skip


def test_links_that_lead_nowhere_in_a_circle_or_out_are_named(source, tmp_path):
    (source / "circle.gpkg").symlink_to("circle.gpkg")
    (source / "nowhere.shp").symlink_to("gone.shp")
    (source / "loop").symlink_to(source)
    (tmp_path / "outside.csv").write_text("a\n1\n", "utf8")
    (source / "out.csv").symlink_to(tmp_path / "outside.csv")
    result = build(source, tmp_path / "twin")
    assert codes(result) == {"circle.gpkg": ["FILE_UNREADABLE"], "nowhere.shp": ["FILE_UNREADABLE"]}
    links = [issue.where for issue in result.issues if issue.code == "LINK_NOT_FOLLOWED"]
    assert sorted(links) == ["loop", "out.csv"]
    assert result.exit_code == 1


def test_a_name_that_is_no_utf8_and_empty_files_are_parked_by_name(source, tmp_path):
    (source / os.fsdecode(b"bad\xff.csv")).write_text("a\n1\n", "utf8")
    empty = ("a.gpkg", "b.tif", "c.ifc", "d.laz", "e.geojson")
    for name in empty:
        (source / name).touch()
    result = build(source, tmp_path / "twin")
    assert codes(result) == {"bad\\xff.csv": ["FILE_UNREADABLE"], **{name: ["FILE_EMPTY"] for name in empty}}
    assert twin.open(tmp_path / "twin")["building"].count() == 3


def test_the_height_grid_of_the_city_is_no_terrain(source, tmp_path):
    profile = {"driver": "GTiff", "width": 9, "height": 9, "count": 1, "dtype": "float32", "crs": "EPSG:4326"}
    with rasterio.open(source / "geoid.tif", "w", transform=from_origin(121, 38, 0.1, 0.1), **profile) as file:
        file.write(np.full((9, 9), 7.25, np.float32), 1)
    with (source / "city.toml").open("a", encoding="utf8") as file:
        file.write('\nheight_model = { grid = "geoid.tif" }\n')
    result = build(source, tmp_path / "twin")
    assert [report.source for report in result.reports] == ["building.gpkg"]
    with twin.open(tmp_path / "twin") as city:
        assert city.terrain.is_empty


@pytest.mark.filterwarnings("ignore:'crs' was not provided:UserWarning")
def test_a_table_that_cannot_be_placed_is_parked_alone(source, tmp_path):
    many = source / "many.gpkg"
    save(blocks(2, north=N0 + 50), many, layer="houses_a")
    point = geopandas.GeoDataFrame({"k": [1]}, geometry=[shapely.Point(E0, N0, 5)], crs=f"{CITY}+5701")
    save(point, many, layer="odd_heights")
    above = geopandas.GeoDataFrame({"k": [1]}, geometry=[shapely.Point(LON, LAT, 20.0)], crs="EPSG:4979")
    save(above, many, layer="above_ellipsoid")
    save(geopandas.GeoDataFrame({"k": [1]}, geometry=[shapely.Point(E0, N0)], crs=None), many, layer="nowhere")
    result = build(source, tmp_path / "twin")
    [report] = [each for each in result.reports if each.source == "many.gpkg"]
    assert report.status == "partly"
    errors = {issue.where: issue for issue in report.issues if issue.severity == "error"}
    assert {where: issue.code for where, issue in errors.items()} == {
        "odd_heights": "VERTICAL_DATUM",
        "nowhere": "CRS_MISSING",
    }
    assert 'table = "nowhere"' in errors["nowhere"].hint
    placed = {count.name: count.certificate for count in report.layers}
    assert set(placed) == {"houses_a", "above_ellipsoid"}
    assert placed["houses_a"].source_crs == CITY
    assert placed["above_ellipsoid"].source_vertical_crs == "EPSG:4979"
    with twin.open(tmp_path / "twin") as city:
        assert city["houses_a"].count() == 2
        z = city["above_ellipsoid"].query().geometry.iloc[0].z
    assert z == pytest.approx(20.0 - float(undulation(LAT, LON)), abs=1e-3)


def test_rejects_beyond_the_limit_are_lines_of_a_file(source, tmp_path, monkeypatch):
    monkeypatch.setattr(build_rejects, "KEPT", 5)
    frame = blocks(30, north=N0 + 90)
    frame.loc[4:24, "geometry"] = None
    save(frame, source / "building_more.gpkg")
    folder = tmp_path / "twin"
    for _ in range(2):  # an unchanged build leaves the file
        build(source, folder)
        report = json.loads((folder / "reports/building_more.gpkg.json").read_text("utf8"))
        lines = (folder / "reports" / report["rejects_file"]).read_text("utf8").splitlines()
        [count] = report["layers"]
        assert count["n_read"] == 30
        assert count["n_rejected"] == len(report["rejects"]) + len(lines)
        assert count["n_stored"] + count["n_rejected"] == 30
        assert len(report["rejects"]) == 5
        assert json.loads(lines[-1])["code"] == report["rejects"][0]["code"]
    (source / "building_more.gpkg").unlink()
    build(source, folder)
    assert [path.name for path in (folder / "reports").iterdir()] == ["building.gpkg.json"]


def test_the_stored_report_counts_what_was_closed(source, tmp_path):
    build(source, tmp_path / "twin")
    (source / "building.gpkg").unlink()
    save(blocks(2), source / "building.gpkg")
    build(source, tmp_path / "twin")
    with closing(sqlite3.connect(tmp_path / "twin/city.gpkg")) as db:
        [(text,)] = db.execute("SELECT report FROM gpkg_citytwin_report").fetchall()
    assert json.loads(text)["layers"][0]["n_closed"] == 1


def test_reports_lost_after_the_commit_come_back(source, tmp_path):
    build(source, tmp_path / "twin")
    path = tmp_path / "twin/reports/building.gpkg.json"
    text = path.read_text("utf8")
    path.write_text("{", "utf8")
    assert build(source, tmp_path / "twin").reports == []
    assert path.read_text("utf8") == text


def test_parking_may_be_points_and_administrative_levels_may_be_words(source, tmp_path):
    points = geopandas.GeoDataFrame({"泊位数": [10]}, geometry=[shapely.Point(E0, N0)], crs=CITY)
    save(points, source / "停车场.geojson")
    areas = geopandas.GeoDataFrame({"级别": ["县级", "乡镇"]}, geometry=blocks(2).geometry, crs=CITY)
    save(areas, source / "行政区.gpkg")
    build(source, tmp_path / "twin")
    with twin.open(tmp_path / "twin") as city:
        assert city["parking_point"].query()["capacity"].tolist() == [10]
        assert sorted(city["admin_unit"].query()["unit_level"]) == [3, 4]


def bound_by_permissions():
    """Prefix of a command that makes root as bound as everybody else."""
    less = "-dac_override,-dac_read_search"
    return [] if os.geteuid() else ["setpriv", f"--inh-caps={less}", f"--bounding-set={less}"]


@pytest.mark.skipif(os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root needs setpriv (util-linux)")
def test_what_may_not_be_read_is_parked_until_it_may(source, tmp_path):
    closed, secret = source / "closed.gpkg", source / "secret"
    save(blocks(2, north=N0 + 50), closed)
    save(blocks(2, north=N0 + 90), secret / "inner.gpkg")

    def run():
        program = [sys.executable, "-m", "server.cli", "build", str(source), str(tmp_path / "twin")]
        return subprocess.run([*bound_by_permissions(), *program], check=False, capture_output=True, text=True)

    assert run().returncode == 0
    closed.chmod(0)
    secret.chmod(0)
    os.utime(closed)
    said = run()
    assert said.returncode == 1
    assert "closed.gpkg cannot be opened: Permission denied" in said.stdout
    assert "secret cannot be opened: Permission denied" in said.stdout
    assert "removed" not in said.stdout
    closed.chmod(0o644)
    secret.chmod(0o755)
    assert run().returncode == 0
    (tmp_path / "twin").chmod(0o555)
    (tmp_path / "twin/.lock").chmod(0o444)
    refused = run()
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "Permission denied" in refused.stderr
