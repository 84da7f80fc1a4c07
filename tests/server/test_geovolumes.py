"""3D containers over HTTP: boxes that hold every mesh (pyproj), the filter, links to tilesets that are there, scope."""

import numpy as np
import pytest
from pyproj import Transformer
from starlette.testclient import TestClient

from server.app import create_app
from server.settings import Settings
from twin.scope import EVERYTHING, Scope

ROOT = "/3dgeovolumes"


def container(get, key):
    return get(f"{ROOT}/collections/{key}?lang=en").json()


def truth(city, layer):
    """West, south, low, east, north, high of all corners of all meshes, by PROJ."""
    bounds = city.store.mesh_table(layer, EVERYTHING).bounds
    corners = np.stack([bounds[:, [i, j, k]] for i in (0, 3) for j in (1, 4) for k in (2, 5)]).reshape(-1, 3)
    matrix = np.array(city.frame.root_transform).reshape(4, 4).T
    ecef = corners @ matrix[:3, :3].T + matrix[:3, 3]
    lon, lat, h = Transformer.from_crs("EPSG:4978", "EPSG:4979", always_xy=True).transform(*ecef.T)
    return lon.min(), lat.min(), h.min(), lon.max(), lat.max(), h.max()


def test_a_box_holds_every_mesh_and_is_tight(get, city):
    box = container(get, "building")["extent"]["spatial"]["bbox"][0]
    told = truth(city, "building")
    assert np.all(np.array(box[:3]) <= np.array(told[:3]) + 1e-9)
    assert np.all(np.array(box[3:]) >= np.array(told[3:]) - 1e-9)
    assert np.abs(np.array(box) - told)[[0, 1, 3, 4]].max() < 1e-5
    # over a few hundred metres the frame's plane leaves the ellipsoid by centimetres
    assert np.abs(np.array(box) - told)[[2, 5]].max() < 0.1
    west, south, east, north, low, high = container(get, "building")["contentExtent"]["region"]
    assert np.allclose(np.degrees([west, south, east, north]), [box[0], box[1], box[3], box[4]])
    assert (low, high) == (box[2], box[5])


def test_the_city_is_the_root_of_all(get):
    every = get(f"{ROOT}/collections").json()["collections"]
    assert [each["id"] for each in every] == ["city", "building"]
    root = container(get, "city")
    assert [each["id"] for each in root["children"]] == ["building"]
    assert root["collectionType"] == "3d-container"
    low, high = (np.array(root["extent"]["spatial"]["bbox"][0][i : i + 3]) for i in (0, 3))
    inner = root["children"][0]["extent"]["spatial"]["bbox"][0]
    assert (low <= inner[:3]).all()
    assert (high >= inner[3:]).all()
    for each in (root, *root["children"]):
        tilesets = [link for link in each["links"] if link["rel"].endswith("/3d-geovolumes")]
        assert tilesets
        for link in tilesets:
            assert link["type"] == "application/json+3dtiles"
            assert get(link["href"].removeprefix("http://city.test")).json()["asset"]["version"] == "1.1"


def test_a_box_chooses(get):
    west, south, low, east, north, high = container(get, "building")["extent"]["spatial"]["bbox"][0]

    def chosen(*box):
        return [each["id"] for each in get(f"{ROOT}/collections?bbox={','.join(map(str, box))}").json()["collections"]]

    assert chosen(west, south, east, north) == ["city", "building"]
    assert chosen(west, south, high + 1, east, north, high + 2) == []
    assert chosen(west, south, low - 5, east, north, low + 0.1) == ["city", "building"]
    assert chosen(10, 10, 11, 11) == []
    assert chosen(170, -80, -170, 80) == []
    assert chosen(100, -80, -170, 80) == ["city", "building"]


@pytest.mark.parametrize(
    "query", ["bbox=1,2,3", "bbox=a,b,c,d", "bbox=1,5,2,3", "bbox=1,2,9,3,4,5", "colour=1", "bbox=nan,1,2,3"]
)
def test_bad_boxes_are_refused_by_name(client, query):
    response = client.get(f"{ROOT}/collections?{query}")
    assert response.status_code == 400
    assert query.split("=")[0] in response.json()["detail"]


def test_landing_conformance_and_links(get, client):
    links = {link["rel"]: link["href"] for link in get(ROOT).json()["links"]}
    for rel in ("data", "conformance", "service-desc", "self"):
        assert client.get(links[rel].removeprefix("http://city.test")).status_code == 200
    assert (
        "http://www.opengis.net/spec/ogcapi-geovolumes-1/1.0/conf/core"
        in get(f"{ROOT}/conformance").json()["conformsTo"]
    )
    assert (
        "http://www.opengis.net/spec/ogcapi-geovolumes-1/1.0/conf/3d-tiles" in get("/conformance").json()["conformsTo"]
    )
    assert f"{ROOT}/collections/building" in get("/collections/building").text
    assert "3dgeovolumes" not in get("/collections/well").text
    get(f"{ROOT}/collections/well", 404)
    assert get(f"{ROOT}/collections", headers={"Accept": "text/html"}).headers["content-type"].startswith("text/html")


def test_scope(city):
    settings = Settings(access_log=False, warm_up=False, scope=Scope("wells", frozenset({"well"})))
    with TestClient(create_app(city, settings), base_url="http://city.test") as client:
        assert client.get(f"{ROOT}/collections").json()["collections"] == []
        assert client.get(f"{ROOT}/collections/building").status_code == 404
