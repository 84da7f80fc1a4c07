"""One raster that cannot be read, or is gone, takes no document of the city with it."""

from urllib.parse import quote

import numpy as np
import pytest
from starlette.testclient import TestClient

import twin
from layers.report import Report
from server.app import create_app
from server.settings import Settings
from tests.server.test_imagetiles import CITY, photo, write
from twin import config
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Asset, SourceRecord

DOCUMENTS = (
    "/", "/?f=html", "/collections", "/collections?f=html", "/collections/dom", "/collections/dom?f=html",
    "/collections/dem", "/collections/dem?f=html", "/collections/noise_map", "/collections/noise_map?f=html",
    "/collections/catalogue", "/collections/catalogue/items", "/collections/catalogue/items?q=dom", "/api",
    "/conformance", "/3dgeovolumes", "/qgis/city.qgs", "/viewer/config.json",
    "/wms?service=WMS&request=GetCapabilities",
    "/wmts/1.0.0/WMTSCapabilities.xml", "/wfs?service=WFS&request=GetCapabilities", "/collections/dom/map/tiles",
    "/collections/dom/map/tiles/WebMercatorQuad", "/collections/dom/tilejson.json",
)  # fmt: skip


@pytest.fixture(scope="module", params=["damaged", "gone"])
def client(request, tmp_path_factory):
    """Of two photos one is damaged, of one elevation model one, of one map of codes none."""
    folder = tmp_path_factory.mktemp(request.param)
    config.save(config.TwinConfig("images", CITY, 121.0, 28.1), folder)
    store = GeoPackageStore(folder / "city.gpkg", create=True, city_crs=CITY)
    record = SourceRecord("a.tif", "0" * 64, 1, 1, "{}")
    rise = np.ones((1, 512, 512), np.float32)
    with store.writing() as batch:
        batch.begin_source(record)
        for name, layer, epoch, data in (
            ("new", "dom", "2026", photo(200)), ("old", "dom", "2019", photo(90)), ("ground", "dem", None, rise),
            ("whole", "noise_map", None, photo(1)),
        ):  # fmt: skip
            box = write(folder / f"rasters/{name}.tif", data)
            batch.put_asset(Asset(name, layer, "raster", f"rasters/{name}.tif", CITY, box, box, "a.tif", "", epoch))
        batch.finish_source(record, Report("a.tif", "test", "0" * 64, "stored"))
    store.close()
    for name in ("new", "ground"):
        path = folder / f"rasters/{name}.tif"
        path.unlink() if request.param == "gone" else path.write_bytes(b"II*\0nothing more")
    settings = Settings(access_log=False, warm_up=False)
    with twin.open(folder) as city, TestClient(create_app(city, settings), base_url="http://city.test") as session:
        yield session


@pytest.mark.parametrize("address", DOCUMENTS)
def test_documents_are_there(client, address):
    answered = client.get(address)
    assert answered.status_code == 200, answered.text[:300]


def test_what_is_whole_is_listed_and_what_is_not_offers_no_values(client):
    layers = {each["id"]: each for each in client.get("/collections").json()["collections"]}
    assert {"dom", "dem", "noise_map"} <= set(layers)
    assert layers["noise_map"]["parameter_names"]
    assert "parameter_names" not in layers["dem"]
    project = client.get("/qgis/city.qgs").text
    assert quote("asset=old") in project
    assert quote("asset=new") not in project
    assert "asset=ground" not in project
    assert "quantizedmesh" not in project
    assert [each["id"] for each in client.get("/viewer/config.json").json()["imagery"]] == ["old"]


@pytest.mark.parametrize(
    "address", ["/collections/dem/coverage", "/collections/dem/schema", "/terrain/layer.json",
                "/collections/dem/position?coords=POINT(121 28.1)", "/collections/dem/tilejson.json"],
)  # fmt: skip
def test_who_asks_for_the_damaged_file_itself_is_told_its_name(client, address):
    answered = client.get(address)
    assert answered.status_code == 400
    assert "ground" in answered.json()["detail"]
