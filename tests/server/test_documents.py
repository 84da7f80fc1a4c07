"""What the service says of itself, read the way QGIS, GDAL and OWSLib read it."""

import json
import re
from urllib.parse import urlsplit

import jsonschema
import pytest
from starlette.testclient import TestClient

from server.app import create_app
from server.settings import Settings

DOCUMENTS = [
    "/", "/conformance", "/api", "/collections", "/collections/building", "/collections/building/schema",
    "/collections/building/queryables", "/collections/meter_record", "/collections/meter_record/schema",
    "/collections/building/items", "/collections/building/items/b01", "/collections/building/tilejson.json",
    "/tiles/tilejson.json", "/processes", "/processes/buffer-query", "/viewer/config.json",
]  # fmt: skip


def link(document, rel, kind=None):
    return next(each["href"] for each in document["links"] if each["rel"] == rel and kind in (None, each["type"]))


def strings(node):
    if isinstance(node, dict):
        node = list(node.values())
    if isinstance(node, list):
        return [text for each in node for text in strings(each)]
    return [node] if isinstance(node, str) else []


@pytest.mark.parametrize("accept", ["*/*", "application/json", "", "application/geo+json;q=0.9,*/*;q=0.1"])
@pytest.mark.parametrize("path", DOCUMENTS)
def test_json_unless_a_browser_asks(get, path, accept):
    response = get(path, headers={"Accept": accept})
    assert "json" in response.headers["content-type"]
    response.json()
    assert ".invalid" not in response.text  # the placeholder base never leaves the house


@pytest.mark.parametrize("path", DOCUMENTS[:11])
def test_html_for_a_browser_needs_nobody_else(get, path):
    browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
    response = get(path, headers={"Accept": browser})
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    loaded = re.findall(r"""<(?:script|link|img|iframe)[^>]*(?:src|href)=["']([^"']+)""", response.text)
    assert [url for url in loaded if urlsplit(url).netloc not in {"", "city.test"}] == []
    assert ".invalid" not in response.text


def test_values_are_escaped_in_html(get):
    page = get("/collections/well/items?f=html").text
    assert "&lt;b&gt;井" in page
    assert "<b>井" not in page


def test_qgis_and_gdal_find_their_way_from_the_landing_page(get):
    landing = get("/", headers={"Accept": "application/json"}).json()
    api = link(landing, "service-desc", "application/vnd.oai.openapi+json;version=3.0")
    assert get(api).headers["content-type"] == "application/vnd.oai.openapi+json;version=3.0"
    assert len(get(link(landing, "data")).json()["collections"]) == 5  # four layers and the catalogue
    assert get(link(landing, "conformance")).json()["conformsTo"]


def test_every_link_of_every_document_leads_somewhere(get, client):
    seen = set()
    for path in DOCUMENTS:
        for text in strings(get(path).json()):
            if text.startswith("http://city.test/") and "{" not in text and text not in seen:
                seen.add(text)
                # no elevation in this city, and the viewer is built by its own command
                if "/viewer/" not in text and not text.endswith("/execution"):
                    assert client.get(text).status_code == 200, text
    assert len(seen) > 40


def test_the_four_classes_without_which_qgis_filters_on_its_own(get):
    base = "http://www.opengis.net/spec/"
    declared = get("/conformance").json()["conformsTo"]
    for each in (
        "ogcapi-features-3/1.0/conf/filter", "ogcapi-features-3/1.0/conf/features-filter",
        "cql2/1.0/conf/cql2-text", "cql2/1.0/conf/basic-cql2", "ogcapi-features-2/1.0/conf/crs",
    ):  # fmt: skip
        assert base + each in declared


def test_openapi_offers_what_is_taken(get, client):
    """QGIS parses it once for every layer."""
    document = get("/api").json()
    assert not [path for path in document["paths"] if "/collections/building" in path]
    given = document["paths"]["/collections/{featuresId}/items"]["get"]["parameters"]
    described = document["components"]["parameters"]
    named = [(each if "name" in each else described[each["$ref"].rsplit("/", 1)[1]])["name"] for each in given]
    assert {"f", "limit", "bbox", "datetime", "filter", "crs", "queryables"} <= set(named)
    for name in set(named) - {"featuresId", "queryables"}:  # what the document offers is not refused as unknown
        assert "no parameter" not in client.get(f"/collections/building/items?{name}=zz").text
    # `queryables` stands for one parameter a queryable
    free = document["components"]["parameters"]["queryables"]
    assert (free["style"], free["explode"], free["schema"]["type"]) == ("form", True, "object")
    for name, schema in get("/collections/building/queryables").json()["properties"].items():
        if name not in {"geometry", "id"}:
            assert schema["type"]
            assert "no parameter" not in client.get(f"/collections/building/items?{name}=zz").text


def test_every_path_of_the_openapi_document_is_routed(get, client):
    document = get("/api").json()
    schemas = {name: each["schema"] for name, each in document["components"]["parameters"].items()}
    for template, operations in document["paths"].items():
        path = template
        for name in re.findall(r"{(\w+)}", template):
            path = path.replace(f"{{{name}}}", str(schemas[name].get("enum", ["0"])[0]))
        answered = client.request(next(iter(operations)), path)
        # what is not there is a problem with a sentence, or a report in XML; a path without a route has none
        is_xml = answered.headers.get("content-type", "").startswith("text/xml")
        assert answered.status_code < 400 or is_xml or answered.json().get("detail"), path


def test_no_reference_inside_the_api_document_is_broken(get):
    document = get("/api").json()
    for text in set(re.findall(r'"#/([^"]+)"', json.dumps(document))):
        node = document
        for part in text.split("/"):
            node = node[part.replace("~1", "/")]


def test_a_collection_says_where_it_is_and_in_what(get):
    collection = get("/collections/building").json()
    west, south, east, north = collection["extent"]["spatial"]["bbox"][0]
    assert 120.9 < west < east < 121.1
    assert 28.0 < south < north < 28.2
    assert collection["storageCrs"] == "http://www.opengis.net/def/crs/EPSG/0/4549"
    assert collection["storageCrs"] in collection["crs"]
    assert collection["itemCount"] == 37
    assert collection["itemType"] == "feature"
    assert link(collection, "items", "application/geo+json").startswith("http://city.test/collections/building/items")
    assert "正常高" in collection["description"]


@pytest.mark.parametrize(
    ("headers", "query", "title"),
    [({}, "", "建筑物"), ({"Accept-Language": "en-GB,en;q=0.9"}, "", "Buildings"),
     ({"Accept-Language": "fr,zh-CN;q=0.8,en;q=0.5"}, "", "建筑物"),
     ({"Accept-Language": "zh"}, "?lang=en", "Buildings"),
     ({"Accept-Language": "de"}, "", "建筑物")],
)  # fmt: skip
def test_titles_in_the_language_of_the_reader(get, headers, query, title):
    response = get(f"/collections/building{query}", headers=headers)
    assert response.json()["title"] == title
    assert response.headers["content-language"] == ("en" if title == "Buildings" else "zh")


def test_features_are_valid_against_the_published_schema(get):
    schema = get("/collections/building/schema").json()
    assert schema["properties"].pop("geometry") == {
        "$ref": "https://geojson.org/schema/MultiPolygon.json", "format": "geometry-multipolygon",
        "x-ogc-role": "primary-geometry",
    }  # fmt: skip
    for member in schema["properties"].values():
        member["type"] = [member["type"], "null"]
    schema["properties"]["extra"] = {"type": "object"}
    validator = jsonschema.Draft201909Validator(schema | {"additionalProperties": False})
    for feature in get("/collections/building/items").json()["features"]:
        validator.validate({"id": feature["id"], **feature["properties"]})


def test_a_table_has_no_geometry_in_its_schema(get):
    assert "geometry" not in get("/collections/meter_record/schema").json()["properties"]
    assert "geometry" not in get("/collections/meter_record/queryables").json()["properties"]


@pytest.mark.parametrize("path", DOCUMENTS)
def test_documents_are_validated_by_etag(get, path):
    tag = get(path).headers["etag"]
    assert get(path, 304, headers={"If-None-Match": f'"x", {tag}'}).content == b""


FORWARDED = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "city.example", "X-Forwarded-Prefix": "/twin"}
WITH_LINKS = ("/", "/collections", "/collections/building/items?limit=2", "/api", "/qgis/city.qgs")


@pytest.fixture(scope="module")
def behind_proxy(city):
    settings = Settings(access_log=False, warm_up=False, trust_forwarded=True)
    with TestClient(create_app(city, settings), base_url="http://city.test") as session:
        yield session


@pytest.mark.parametrize("path", WITH_LINKS)
def test_links_follow_a_trusted_proxy(behind_proxy, path):
    response = behind_proxy.get(path, headers=FORWARDED)
    assert "https://city.example/twin" in response.text
    assert "city.test" not in response.text
    assert "X-Forwarded-Host" in response.headers["vary"]


@pytest.mark.parametrize("path", WITH_LINKS)
def test_a_stranger_cannot_redirect_links_by_forwarded_headers(get, path):
    response = get(path, headers=FORWARDED)
    assert "city.example" not in response.text
    assert "http://city.test" in response.text


def test_links_use_the_public_address_where_one_is_set(city):
    settings = Settings(access_log=False, warm_up=False, public_url="https://city.example/twin/")
    with TestClient(create_app(city, settings), base_url="http://inside.test") as client:
        for path in WITH_LINKS:
            text = client.get(path, headers={"X-Forwarded-Host": "evil.example"}).text
            assert "https://city.example/twin" in text
            assert "inside.test" not in text
            assert "evil.example" not in text


@pytest.mark.parametrize("host", ["a b", 'x"><script>', "a/../b", "evil.example:99999999", "", "[::1", "é.example"])
def test_a_host_that_cannot_be_one_is_refused(behind_proxy, client, host):
    response = behind_proxy.get("/", headers={"X-Forwarded-Host": host.encode()})
    assert host == "" or client.get("/", headers={"Host": host.encode()}).status_code == 400
    if host:
        assert response.status_code == 400
    else:
        assert response.status_code == 200
