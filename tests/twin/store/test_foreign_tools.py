"""GDAL, plain SQLite and QGIS read what the store writes, and edits by GDAL keep every index right."""

import json
import shutil
import sqlite3
import subprocess
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely
from shapely.affinity import translate

from layers import crs
from twin.scope import EVERYTHING
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Query

LAYERS = {
    "house": ("Polygon", shapely.box(500000, 3108000, 500010, 3108010)),
    "pipe": ("LineStringZ", shapely.LineString([(500000, 3108000, 1), (500010, 3108010, 2)])),
    "lamp": ("Point", shapely.Point(500003, 3108003)),
    "parcel": ("MultiPolygon", shapely.MultiPolygon([shapely.box(500000, 3108000, 500001, 3108001)])),
}


@pytest.fixture
def filled(store, make):
    for number, (layer_id, (kind, shape)) in enumerate(LAYERS.items()):
        n = number + 3
        shapes = [translate(shape, 20.0 * i, 20.0 * i) for i in range(n)]
        given = make.rows(
            [f"{layer_id}{i}" for i in range(n)], shapes, floors=list(range(n)), name=["路"] * n, ok=[True] * n,
            built=[date(2020, 1, 2)] * n, seen_at=[datetime(2026, 1, 1, 8, 30, 0, 123000, UTC)] * n, height_m=[1.5] * n,
        )  # fmt: skip
        make.stored(store, make.layer_type(layer_id, kind), given, layer_id)
    make.stored(store, make.layer_type("reading", "none"), make.rows(["r"], [None], floors=[7]), "reading")
    make.stored(store, make.layer_type("void", "PolygonZ"), make.rows([], []), "void")
    return store


def test_gdal_reads_every_layer_with_crs_types_and_counts(filled):
    listed = dict(pyogrio.list_layers(filled.path).tolist())
    assert listed == {
        "house": "Polygon", "pipe": "LineString Z", "lamp": "Point", "parcel": "MultiPolygon", "reading": None,
        "void": "Polygon Z",
    }  # fmt: skip
    for number, layer_id in enumerate(LAYERS):
        info = pyogrio.read_info(filled.path, layer=layer_id)
        assert info["features"] == number + 3
        assert crs.name(info["crs"]) == "EPSG:4549"
        frame = pyogrio.read_dataframe(filled.path, layer=layer_id)
        assert frame.loc[0, ["name", "height_m", "floors", "ok"]].tolist() == ["路", 1.5, 0, True]
        assert str(frame["built"][0])[:10] == "2020-01-02"
        assert frame["seen_at"][0].isoformat() == "2026-01-01T08:30:00.123000+00:00"
        ours = next(filled.query(layer_id, Query(), EVERYTHING))
        assert frame["id"].tolist() == ours.ids
        assert shapely.equals_exact(frame.geometry.to_numpy(), ours.geometry).all()
        assert np.allclose(info["total_bounds"], filled.layer(layer_id, EVERYTHING).bounds)


def test_the_file_keeps_the_rules_of_the_format(filled):
    with closing(sqlite3.connect(filled.path)) as db:
        assert db.execute("PRAGMA application_id").fetchone()[0] == int.from_bytes(b"GPKG", "big")
        assert db.execute("PRAGMA user_version").fetchone()[0] == 10300
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        assert {row[0] for row in db.execute("SELECT srs_id FROM gpkg_spatial_ref_sys")} == {-1, 0, 4326, 4549}
        tables = {row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        extended = {row[0] for row in db.execute("SELECT DISTINCT table_name FROM gpkg_extensions")}
        assert extended - {None} <= tables
        for layer_id in LAYERS:
            assert db.execute("SELECT rtreecheck(?)", (f"rtree_{layer_id}_geom",)).fetchone() == ("ok",)
            kind = "SELECT geometry_type_name, z FROM gpkg_geometry_columns WHERE table_name = ?"
            expected = LAYERS[layer_id][0]
            assert db.execute(kind, (layer_id,)).fetchone() == (
                expected.removesuffix("Z").upper(),
                int("Z" in expected),
            )
    db.close()


def test_a_crs_without_code_gets_its_wkt(tmp_path, make):
    local = crs.parse("+proj=tmerc +lon_0=121.3 +x_0=40000 +y_0=-3000000 +ellps=GRS80").to_wkt()
    made = GeoPackageStore(tmp_path / "local.gpkg", create=True, city_crs=local)
    make.stored(made, make.layer_type(), make.rows(["a"], [shapely.box(0, 0, 1, 1)]))
    made.close()
    read = pyogrio.read_info(tmp_path / "local.gpkg", layer="house")["crs"]
    x, y = np.array([40000.0, 90000.0]), np.array([100000.0, 110000.0])
    assert np.allclose(crs.transform(read, crs.CRS84, x, y), crs.transform(local, crs.CRS84, x, y), rtol=0, atol=1e-9)
    again = GeoPackageStore(tmp_path / "local.gpkg", city_crs=local)
    assert again.count("house", Query(), EVERYTHING) == 1
    again.close()


def test_edits_by_gdal_keep_index_counts_and_versions_right(filled, make):
    before = filled.version(), filled.layer("house", EVERYTHING).version
    frame = pyogrio.read_dataframe(filled.path, layer="house").iloc[:1].drop(columns=["id", "version", "valid_from"])
    far = shapely.box(700000, 3300000, 700010, 3300010)
    pyogrio.write_dataframe(frame.set_geometry([far]), filled.path, layer="house", append=True)
    assert filled.count("house", Query(), EVERYTHING) == 4
    found = next(filled.query("house", Query(region=shapely.box(690000, 3290000, 710000, 3310000)), EVERYTHING))
    assert shapely.equals(found.geometry, far).all()
    assert found.ids[0].startswith("fid-")
    assert filled.count("house", Query(ids=(found.ids[0],)), EVERYTHING) == 1
    assert filled.layer("house", EVERYTHING).bounds[2:] == (700010, 3300010)
    assert filled.version() > before[0]
    assert filled.layer("house", EVERYTHING).version > before[1]
    _, closed = make.stored(filled, make.layer_type(), make.rows([], []), "house")
    assert closed == {"house": 3}, "what came from outside belongs to no source and stays"
    assert filled.count("house", Query(), EVERYTHING) == 1


SQL_EDITS = """
import sys
from osgeo import ogr, gdal
gdal.UseExceptions()
data = ogr.Open(sys.argv[1], 1)
layer = data.GetLayerByName("house")
layer.StartTransaction()
first = layer.GetFeature(1); first.SetGeometry(ogr.CreateGeometryFromWkt("POLYGON((9 9,10 9,10 10,9 9))"))
layer.SetFeature(first); layer.DeleteFeature(2); layer.CommitTransaction()
data = None
"""


def system_python_with(module):
    for python in ("/usr/bin/python3",):
        if (
            shutil.which(python)
            and not subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False).returncode
        ):
            return python
    return pytest.skip(
        f"no system Python has {module}: apt install python3-{'qgis' if module == 'qgis.core' else 'gdal'}"
    )


@pytest.mark.client
def test_an_update_and_a_delete_through_ogr_reach_the_index(filled):
    python = system_python_with("osgeo.ogr")
    subprocess.run([python, "-c", SQL_EDITS, str(filled.path)], check=True, capture_output=True)
    assert [f.ids for f in filled.query("house", Query(region=shapely.box(0, 0, 20, 20)), EVERYTHING)] == [["house0"]]
    whole = Query(region=shapely.box(400000, 3000000, 600000, 3200000))
    assert [f.ids for f in filled.query("house", whole, EVERYTHING)] == [["house2"]]
    assert filled.count("house", Query(), EVERYTHING) == 2


QGIS = """
import json, sys, os
os.environ["QT_QPA_PLATFORM"] = "offscreen"
from qgis.core import QgsApplication, QgsVectorLayer, QgsFeatureRequest, QgsRectangle
app = QgsApplication([], False); app.initQgis()
out = {}
for name in sys.argv[2:]:
    layer = QgsVectorLayer(f"{sys.argv[1]}|layername={name}", name, "ogr")
    box = QgsFeatureRequest().setFilterRect(QgsRectangle(499990, 3107990, 500015, 3108015))
    out[name] = [layer.isValid(), layer.crs().authid(), layer.featureCount(), len(list(layer.getFeatures(box)))]
print(json.dumps(out)); sys.stdout.flush(); os._exit(0)
"""


@pytest.mark.client
def test_qgis_opens_the_file_as_it_is(filled):
    python = system_python_with("qgis.core")
    done = subprocess.run([python, "-c", QGIS, str(filled.path), *LAYERS], check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {layer_id: [True, "EPSG:4549", n + 3, 1] for n, layer_id in enumerate(LAYERS)}


def test_a_copy_of_the_closed_file_is_complete(filled, tmp_path):
    filled.close()
    shutil.copy(filled.path, tmp_path / "copy.gpkg")
    assert not Path(f"{filled.path}-wal").exists()
    assert pyogrio.read_info(tmp_path / "copy.gpkg", layer="house")["features"] == 3
