"""The server follows the store: what is written while it runs is shown without a restart."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import shapely
from starlette.testclient import TestClient

import twin
from layers.catalogue import Attribute, LayerType, Title
from layers.report import Report
from server.app import create_app
from server.settings import Settings
from twin import config
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Rows, SourceRecord

LAMP = LayerType(
    "lamp", Title("路灯", "Lamps"), "Point", "iot", (5,), (Attribute("name", "string", Title("名", "Name")),)
)
TREE = replace(LAMP, id="tree", title=Title("树", "Trees"))


def write(store, layer_type, names):
    record = SourceRecord(f"{layer_type.id}.gpkg", str(len(names)) * 64, 1, 1, "{}")
    table = pa.table([pa.array(list(names.values()), pa.string())], schema=layer_type.arrow_schema())
    points = np.array([shapely.Point(600_000 + i, 3_100_000) for i in range(len(names))], object)
    with store.writing() as batch:
        batch.begin_source(record)
        batch.ensure_layer(layer_type)
        batch.put(layer_type.id, record.path, Rows(list(names), points, table, [None] * len(names)))
        batch.finish_source(record, Report(record.path, "test", record.sha256, "stored"))


@pytest.fixture
def running(tmp_path):
    config.save(config.TwinConfig("t", "EPSG:4549", 121.0, 28.0), tmp_path)
    writer = GeoPackageStore(tmp_path / "city.gpkg", create=True, city_crs="EPSG:4549")
    write(writer, LAMP, {"a": "one", "b": "two"})
    with twin.open(tmp_path) as city, TestClient(create_app(city, Settings(access_log=False, warm_up=False))) as client:
        yield writer, client
    writer.close()


def test_a_new_layer_appears_everywhere(running):
    writer, client = running
    assert [each["id"] for each in client.get("/collections").json()["collections"]] == ["lamp", "catalogue"]
    tag = client.get("/collections").headers["etag"]
    write(writer, TREE, {"t": "oak"})
    after = client.get("/collections", headers={"If-None-Match": tag})
    assert [each["id"] for each in after.json()["collections"]] == ["lamp", "tree", "catalogue"]
    assert "tree" in client.get("/api").json()["components"]["parameters"]["featuresId"]["schema"]["enum"]
    assert client.get("/collections/tree/items").json()["numberMatched"] == 1
    assert "tree" in client.get("/qgis/city.qgs").text


def test_only_the_layer_that_changed_gets_new_validators(running):
    writer, client = running
    write(writer, TREE, {"t": "oak"})
    lamps = client.get("/collections/lamp/items").headers["etag"]
    write(writer, TREE, {"t": "elm"})
    assert client.get("/collections/lamp/items", headers={"If-None-Match": lamps}).status_code == 304
    assert client.get("/collections/tree/items/t").json()["properties"]["version"] == 2


def test_a_change_keeps_the_old_state_readable(running):
    writer, client = running
    before = client.get("/collections/lamp/items/a").json()["properties"]
    write(writer, LAMP, {"a": "changed", "c": "new"})
    now = client.get("/collections/lamp/items").json()
    assert {f["id"]: f["properties"]["name"] for f in now["features"]} == {"a": "changed", "c": "new"}
    then = client.get("/collections/lamp/items", params={"datetime": before["valid_from"]}).json()
    assert {f["id"]: f["properties"]["name"] for f in then["features"]} == {"a": "one", "b": "two"}
    old = client.get("/collections/lamp/items/a", params={"datetime": before["valid_from"]}).json()
    assert old["properties"]["name"] == "one"
    assert client.get("/collections/lamp/items/b").status_code == 404


def test_an_empty_city_has_documents_too(tmp_path):
    config.save(config.TwinConfig("empty", "EPSG:4549", 121.0, 28.0), tmp_path)
    GeoPackageStore(tmp_path / "city.gpkg", create=True, city_crs="EPSG:4549").close()
    with twin.open(tmp_path) as city, TestClient(create_app(city, Settings(access_log=False, warm_up=False))) as client:
        for path in ("/", "/collections", "/api", "/conformance", "/qgis/city.qgs", "/viewer/config.json", "/health"):
            assert client.get(path).status_code == 200, path
        assert client.get("/3dtiles/tileset.json").status_code == 404
        assert client.get("/collections/point_cloud/points.copc.laz").status_code == 404
