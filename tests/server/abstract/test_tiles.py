"""The abstract tests of OGC API Tiles part 1 (20-057) for the sample town: vector tiles, image tiles, metadata."""

import io
import json
from pathlib import Path

import mapbox_vector_tile
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

import twin
from server import build
from server.app import create_app
from server.cli_serve import SAMPLE_TOWN
from server.settings import Settings
from tests.server.abstract import test_features  # noqa: F401 its tests cover the other standards
from tests.server.abstract.covered import COVERED, ats

LISTED = json.loads(Path(__file__).with_name("abstract_tests.json").read_text("utf8"))
RELATION = "http://www.opengis.net/def/rel/ogc/1.0/"
SPEC = "http://www.opengis.net/spec/"


@pytest.fixture(scope="module")
def town_get(tmp_path_factory):
    """Asks the sample town's server."""
    folder = tmp_path_factory.mktemp("abstract") / "town"
    build.build(SAMPLE_TOWN, folder)
    with (
        twin.open(folder) as town,
        TestClient(create_app(town, Settings(access_log=False, warm_up=False)), base_url="http://city.test") as session,
    ):

        def get(path, status=200, **options):
            answer = session.get(path, **options)
            assert answer.status_code == status, answer.text[:500]
            return answer

        yield get


def links(document, rel):
    return [each for each in document["links"] if each["rel"] == rel]


def filled(template, z, row, col):
    """A template of a link as an address, without the host."""
    for name, value in (("tileMatrix", z), ("tileRow", row), ("tileCol", col)):
        template = template.replace(f"{{{name}}}", str(value))
    return "/" + template.split("/", 3)[3]


def deepest(tileset):
    """Zoom, row and column of a tile of the deepest level within the limits."""
    limits = max(tileset["tileMatrixSetLimits"], key=lambda each: int(each["tileMatrix"]))
    row = (limits["minTileRow"] + limits["maxTileRow"]) // 2
    return limits["tileMatrix"], row, (limits["minTileCol"] + limits["maxTileCol"]) // 2


@pytest.fixture(scope="module", params=["/tiles", "/collections/building/tiles", "/collections/dom/map/tiles"])
def tilesets(request, town_get):
    """Path of a list, the list, and the tilesets it links to."""
    document = town_get(request.param).json()
    found = []
    for each in document["tilesets"]:
        (own,) = links(each, "self")
        found.append(town_get("/" + own["href"].split("/", 3)[3]).json())
    return request.param, document, found


@ats("/conf/tilesets-list/tileset-links")
def test_lists_name_each_tileset_with_its_grid(tilesets):
    _, document, found = tilesets
    assert len(found) == len(document["tilesets"]) >= 3
    for each in document["tilesets"]:
        assert each["dataType"] in {"vector", "map"}
        assert each["crs"]
        assert links(each, RELATION + "tiling-scheme") or each.get("tileMatrixSetURI")


@ats("/conf/tileset/tileset-description")
def test_tilesets_are_described(tilesets, town_get):
    for each in tilesets[2]:
        assert {"dataType", "crs", "links", "tileMatrixSetLimits"} <= set(each)
        (item, *_) = links(each, "item")
        assert item["templated"] is True
        assert all(f"{{{name}}}" in item["href"] for name in ("tileMatrix", "tileRow", "tileCol"))
        (scheme,) = links(each, RELATION + "tiling-scheme")
        grid = town_get("/" + scheme["href"].split("/", 3)[3]).json()
        assert grid["crs"] == each["crs"]
        assert {str(level["id"]) for level in grid["tileMatrices"]} >= {
            limit["tileMatrix"] for limit in each["tileMatrixSetLimits"]
        }


@ats("/conf/core/tc-op", "/conf/core/tc-success", "/conf/core/tc-tilematrix-definition",
     "/conf/core/tc-tilerow-definition", "/conf/core/tc-tilecol-definition", "/conf/mvt/content", "/conf/png/content",
     "/conf/jpeg/content")  # fmt: skip
def test_tiles_are_what_their_links_say(tilesets, town_get):
    kinds = set()
    for each in tilesets[2]:
        for item in links(each, "item"):
            answer = town_get(filled(item["href"], *deepest(each)))
            kinds.add(item["type"])
            assert answer.headers["content-type"] == item["type"]
            if item["type"] == "application/vnd.mapbox-vector-tile":
                assert any(layer["features"] for layer in mapbox_vector_tile.decode(answer.content).values())
            else:
                with Image.open(io.BytesIO(answer.content)) as picture:
                    assert picture.get_format_mimetype() == item["type"]
                    assert picture.size == (256, 256)
                    assert np.asarray(picture.convert("RGB")).std() > 0
    assert kinds >= ({"image/png", "image/jpeg"} if "map" in tilesets[0] else {"application/vnd.mapbox-vector-tile"})


@ats("/conf/core/tc-error")
def test_tiles_that_cannot_be_are_not_found(tilesets, town_get):
    each = tilesets[2][0]
    (item, *_) = links(each, "item")
    for z, row, col in (("99", 0, 0), ("1", 9, 0), ("1", 0, 9), ("1", -1, 0)):
        answer = town_get(filled(item["href"], z, row, col), status=404)
        assert answer.headers["content-type"] == "application/problem+json"
    for z, row, col in (("x", 0, 0), ("1", "a", 0)):
        town_get(filled(item["href"], z, row, col), status=400)


@ats("/conf/dataset-tilesets/landingpage", "/conf/dataset-tilesets/operation")
def test_the_landing_page_leads_to_the_tilesets_of_the_city(town_get):
    (link,) = links(town_get("/").json(), RELATION + "tilesets-vector")
    assert town_get("/" + link["href"].split("/", 3)[3]).json()["tilesets"]


@ats("/conf/geodata-tilesets/desc-links", "/conf/geodata-tilesets/operation")
def test_a_collection_leads_to_its_tilesets(town_get):
    for layer, rel in (("building", "tilesets-vector"), ("dom", "tilesets-map")):
        found = links(town_get(f"/collections/{layer}").json(), RELATION + rel)
        assert found, layer
        assert town_get("/" + found[0]["href"].split("/", 3)[3]).json()["tilesets"]


@ats("/conf/oas30/operationids")
def test_operations_have_ids_of_their_own(town_get):
    operations = [each for path in town_get("/api").json()["paths"].values() for each in path.values()]
    names = [each["operationId"] for each in operations]
    assert len(names) == len(set(names)) > 50


def test_every_class_that_is_tested_here_is_declared(town_get):
    declared = town_get("/conformance").json()["conformsTo"]
    for each in ("core", "tileset", "tilesets-list", "dataset-tilesets", "geodata-tilesets", "mvt", "png", "jpeg"):
        assert f"{SPEC}ogcapi-tiles-1/1.0/conf/{each}" in declared


def test_every_abstract_test_is_carried_out():
    wanted = {each for tests in LISTED.values() for each in tests}
    assert wanted - set(COVERED) == set()
    assert set(COVERED) - wanted == set()
