"""The abstract tests of OGC API Features part 1 (17-069r4) and part 2 (18-058r1), for every collection of features."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
import shapely
import shapely.geometry
from pyproj import CRS, Transformer

from tests.server.abstract.covered import ats

SPEC = "http://www.opengis.net/spec/"
CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
LAYERS = ["building", "pipe_water", "well", "meter_record"]
PLACED = ["building", "pipe_water", "well"]


def links(document, rel):
    return [each for each in document["links"] if each["rel"] == rel]


def shapes(document):
    return {each["id"]: each["geometry"] and shapely.geometry.shape(each["geometry"]) for each in document["features"]}


def resolved(api, schema):
    while "$ref" in schema:
        found = api
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    return schema


@pytest.fixture(scope="module")
def api(get):
    return get("/api").json()


@pytest.fixture(scope="module")
def parameters(api):
    path = next(path for path in api["paths"] if path.endswith("/items"))
    return {each["name"]: each for each in (resolved(api, each) for each in api["paths"][path]["get"]["parameters"])}


@ats("/conf/core/http", "/conf/core/root-op", "/conf/core/root-success")
def test_landing_page(get):
    answer = get("/")
    assert answer.headers["content-type"].startswith("application/json")
    document = answer.json()
    assert links(document, "service-desc") or links(document, "service-doc")
    assert links(document, "conformance")
    assert links(document, "data")
    assert answer.http_version == "HTTP/1.1"


@ats("/conf/core/api-definition", "/conf/core/api-definition-success", "/conf/oas30/oas-definition-1")
def test_api_definition_is_where_the_landing_page_says(get):
    (link,) = links(get("/").json(), "service-desc")
    answer = get(link["href"])
    assert answer.headers["content-type"] == link["type"] == "application/vnd.oai.openapi+json;version=3.0"
    assert answer.json()["openapi"].startswith("3.0")


@ats("/conf/oas30/oas-definition-2", "/conf/oas30/completeness", "/conf/oas30/exceptions-codes", "/conf/oas30/oas-impl")
def test_api_definition_is_valid_and_names_what_is_served(get, api):
    validator = pytest.importorskip("openapi_spec_validator")
    validator.validate(api)
    for path in ("/", "/conformance", "/collections"):
        assert "200" in api["paths"][path]["get"]["responses"]
    for operations in api["paths"].values():
        for operation in operations.values():
            assert any(code == "default" or code.startswith(("4", "5")) for code in operation["responses"])


@ats("/conf/core/conformance", "/conf/core/conformance-success")
def test_conformance(get):
    (link,) = links(get("/").json(), "conformance")
    classes = get(link["href"]).json()["conformsTo"]
    assert len(classes) == len(set(classes))
    for each in ("ogcapi-features-1/1.0/conf/core", "ogcapi-features-1/1.0/conf/geojson",
                 "ogcapi-features-1/1.0/conf/oas30", "ogcapi-features-1/1.0/conf/html",
                 "ogcapi-features-2/1.0/conf/crs"):  # fmt: skip
        assert SPEC + each in classes


@ats("/conf/core/fc-md-op", "/conf/core/fc-md-success", "/conf/core/fc-md-links", "/conf/core/fc-md-items",
     "/conf/core/fc-md-items-links", "/conf/core/fc-md-extent")  # fmt: skip
def test_collections(get):
    (link,) = links(get("/").json(), "data")
    document = get(link["href"]).json()
    assert links(document, "self")
    assert {each["type"] for each in links(document, "alternate")} >= {"text/html"}
    features = {each["id"]: each for each in document["collections"] if each.get("itemType") == "feature"}
    assert set(LAYERS) <= set(features)
    for each in features.values():
        items = links(each, "items")
        assert {"application/geo+json", "text/html"} <= {link["type"] for link in items}
        assert all(link["href"] for link in items)
        for box in each.get("extent", {}).get("spatial", {}).get("bbox", []):
            assert len(box) in {4, 6}
    assert "temporal" not in features["building"]["extent"] or features["building"]["extent"]["temporal"]["interval"]


@ats("/conf/core/sfc-md-op", "/conf/core/sfc-md-success")
@pytest.mark.parametrize("layer", LAYERS)
def test_collection(get, layer):
    listed = {each["id"]: each for each in get("/collections").json()["collections"]}[layer]
    single = get(f"/collections/{layer}").json()
    for key in ("id", "title", "description", "extent", "crs", "itemType"):
        assert single.get(key) == listed.get(key)


@ats("/conf/core/fc-op", "/conf/core/fc-response", "/conf/core/fc-timeStamp", "/conf/core/fc-numberMatched",
     "/conf/core/fc-numberReturned", "/conf/geojson/definition", "/conf/geojson/content")  # fmt: skip
@pytest.mark.parametrize("layer", LAYERS)
def test_items(get, layer):
    before = datetime.now(UTC)
    answer = get(f"/collections/{layer}/items", headers={"Accept": "application/geo+json"})
    document = answer.json()
    assert answer.headers["content-type"] == "application/geo+json"
    assert document["type"] == "FeatureCollection"
    assert document["numberReturned"] == len(document["features"])
    assert document["numberMatched"] == get(f"/collections/{layer}").json()["itemCount"]
    stamp = datetime.fromisoformat(document["timeStamp"])
    assert abs((stamp - before).total_seconds()) < 60
    for each in document["features"]:
        assert each["type"] == "Feature"
        assert set(each) >= {"id", "geometry", "properties"}


@ats("/conf/core/fc-links", "/conf/core/fc-rel-type", "/conf/core/fc-limit-response")
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("limit", [1, 2, 10, 10_000])
def test_pages_follow_one_another(get, layer, limit):
    seen, href = [], f"/collections/{layer}/items?limit={limit}"
    while href:
        document = get(href).json()
        assert document["numberReturned"] <= limit
        for rel, kind in (("self", "application/geo+json"), ("alternate", "text/html")):
            assert kind in {each["type"] for each in links(document, rel)}
        assert all(each.get("rel") and each.get("type") for each in document["links"])
        seen += [each["id"] for each in document["features"]]
        href = next((each["href"] for each in links(document, "next")), None)
    assert len(seen) == len(set(seen)) == document["numberMatched"]


@ats("/conf/core/fc-bbox-definition", "/conf/core/fc-limit-definition", "/conf/core/fc-time-definition")
def test_parameters_are_described(parameters):
    box, limit, time = (parameters[each]["schema"] for each in ("bbox", "limit", "datetime"))
    assert (parameters["bbox"]["in"], parameters["bbox"]["style"], parameters["bbox"]["explode"]) == (
        "query", "form", False,
    )  # fmt: skip
    assert (box["type"], box["items"]["type"]) == ("array", "number")
    assert box.get("oneOf") or (box["minItems"], box["maxItems"]) == (4, 6)
    assert limit["type"] == "integer"
    assert limit["minimum"] == 1
    assert limit["minimum"] <= limit["default"] <= limit["maximum"]
    assert time["type"] == "string"
    assert not any(parameters[each].get("required") for each in ("bbox", "limit", "datetime"))


@ats("/conf/core/fc-bbox-response", "/conf/core/crs84")
@pytest.mark.parametrize("layer", PLACED)
def test_a_box_selects_what_intersects_it(get, layer):
    document = get(f"/collections/{layer}/items?limit=1000").json()
    everything = shapes(document)
    west, south, east, north = shapely.total_bounds(list(everything.values()))
    assert 120 < west < east < 122
    assert 27 < south < north < 29
    wide, high = east - west, north - south
    box = (west - 0.01 * wide, south + 0.4 * high, west + 0.6 * wide, north + 0.01 * high)
    found = get(f"/collections/{layer}/items?limit=1000&bbox={','.join(map(repr, map(float, box)))}").json()
    expected = {key for key, shape in everything.items() if shapely.intersects(shapely.box(*box), shape)}
    assert set(shapes(found)) == expected
    assert 0 < len(expected) <= len(everything)


@ats("/conf/core/fc-time-response")
@pytest.mark.parametrize("layer", LAYERS)
def test_a_time_selects_what_was_valid_then(get, layer):
    everything = get(f"/collections/{layer}/items?limit=1000").json()["features"]
    begun = {each["id"]: datetime.fromisoformat(each["properties"]["valid_from"]) for each in everything}
    moment = max(begun.values()).isoformat().replace("+00:00", "Z")
    for text, expected in (
        ("1990-01-01T00:00:00Z", set()), (moment, set(begun)), (f"{moment}/..", set(begun)), ("../1990-01-01", set()),
        (f"1990-01-01/{moment}", set(begun)),
    ):  # fmt: skip
        found = get(f"/collections/{layer}/items", params={"limit": 1000, "datetime": text}).json()["features"]
        assert {each["id"] for each in found} == expected, text


@ats("/conf/core/query-param-invalid", "/conf/core/query-param-unknown")
@pytest.mark.parametrize("query", ["limit=0", "limit=-1", "limit=ten", "bbox=1,2,3", "bbox=a,b,c,d", "datetime=today",
                                   "datetime=2020-01-01/1990-01-01", "nothing_of_that_name=1"])  # fmt: skip
def test_what_is_not_understood_is_refused(get, query):
    for layer in LAYERS:
        answer = get(f"/collections/{layer}/items?{query}", status=400)
        assert answer.headers["content-type"] == "application/problem+json"
        assert query.split("=")[0] in answer.json()["detail"]


@ats("/conf/core/f-op", "/conf/core/f-success", "/conf/core/f-links")
@pytest.mark.parametrize("layer", LAYERS)
def test_feature(get, layer):
    for each in get(f"/collections/{layer}/items?limit=3").json()["features"]:
        answer = get(f"/collections/{layer}/items/{quote(each['id'], safe='')}")
        document = answer.json()
        assert answer.headers["content-type"] == "application/geo+json"
        assert {key: document[key] for key in ("id", "geometry", "properties")} == {
            key: each[key] for key in ("id", "geometry", "properties")
        }
        assert links(document, "self")
        assert links(document, "collection")
        assert {"text/html"} <= {link["type"] for link in links(document, "alternate")}
    get(f"/collections/{layer}/items/no-such-feature", status=404)


@ats("/conf/html/definition", "/conf/html/content")
@pytest.mark.parametrize("path", ["/", "/conformance", "/collections", "/collections/building",
                                  "/collections/building/items", "/collections/building/items/b01"])  # fmt: skip
def test_html(get, path):
    answer = get(path, headers={"Accept": "text/html"})
    assert answer.headers["content-type"].startswith("text/html")
    assert "<html" in answer.text
    assert "</html>" in answer.text


@ats("/conf/crs/crs-uri", "/conf/crs/default-crs", "/conf/crs/storageCrs")
@pytest.mark.parametrize("layer", PLACED)
def test_reference_systems_are_listed(get, layer):
    document = get(f"/collections/{layer}").json()
    assert CRS84 in document["crs"]
    assert document["storageCrs"] in document["crs"]
    for uri in document["crs"]:
        authority, code = uri.split("/")[-3], uri.split("/")[-1]
        assert uri.startswith("http://www.opengis.net/def/crs/")
        assert CRS.from_authority(authority, code) is not None


@ats("/conf/crs/crs-parameter", "/conf/crs/crs-parameter-default", "/conf/crs/crs-parameter-transform")
@pytest.mark.parametrize("layer", PLACED)
def test_answers_are_in_the_crs_asked_for_in_its_own_axis_order(get, layer):
    """pyproj without `always_xy` keeps the order of the registry: what ought to be on the wire."""
    default = get(f"/collections/{layer}/items?limit=1000")
    assert default.headers["content-crs"] == f"<{CRS84}>"
    geographic = shapes(default.json())
    for uri in get(f"/collections/{layer}").json()["crs"]:
        answer = get(f"/collections/{layer}/items", params={"limit": 1000, "crs": uri})
        assert answer.headers["content-crs"] == f"<{uri}>"
        authority, code = uri.split("/")[-3], uri.split("/")[-1]
        if code == "CRS84h":
            authority, code = "OGC", "CRS84"
        way = Transformer.from_crs("OGC:CRS84", f"{authority}:{code}")
        tolerance = 2e-9 if CRS.from_authority(authority, code).is_geographic else 3e-4
        for key, shape in shapes(answer.json()).items():
            expected = shapely.transform(geographic[key], lambda xy, way=way: np.column_stack(way.transform(*xy.T)))
            np.testing.assert_allclose(
                shapely.get_coordinates(shape), shapely.get_coordinates(expected), rtol=0, atol=tolerance
            )


@ats("/conf/crs/crs-parameter-invalid", "/conf/crs/bbox-crs-parameter-invalid")
@pytest.mark.parametrize("uri", ["http://www.opengis.net/def/crs/EPSG/0/27700", "nonsense", "", "EPSG:0"])
def test_other_reference_systems_are_refused(get, uri):
    for name in ("crs", "bbox-crs"):
        params = {name: uri} | ({"bbox": "0,0,1,1"} if name == "bbox-crs" else {})
        answer = get("/collections/building/items", status=400, params=params)
        assert name in answer.json()["detail"]


@ats("/conf/crs/bbox-crs-parameter", "/conf/crs/bbox-crs-parameter-default")
@pytest.mark.parametrize("layer", PLACED)
def test_a_box_in_any_crs_finds_what_answers_in_that_crs_show(get, layer):
    for uri in get(f"/collections/{layer}").json()["crs"]:
        if uri.endswith("CRS84h"):
            continue  # its boxes have six numbers
        everything = shapes(get(f"/collections/{layer}/items", params={"limit": 1000, "crs": uri}).json())
        a, b, c, d = shapely.total_bounds(list(everything.values()))
        wide, high = c - a, d - b  # no side runs through a corner of a feature, where the last digit decides
        box = (a + 0.31 * wide, b - 0.01 * high, c + 0.01 * wide, b + 0.57 * high)
        text = ",".join(repr(float(each)) for each in box)
        expected = {key for key, shape in everything.items() if shapely.intersects(shapely.box(*box), shape)}
        params = {"limit": 1000, "bbox": text, "bbox-crs": uri}
        assert set(shapes(get(f"/collections/{layer}/items", params=params).json())) == expected, uri
        if uri == CRS84:
            del params["bbox-crs"]
            assert set(shapes(get(f"/collections/{layer}/items", params=params).json())) == expected


def test_the_published_list_of_conformance_classes_is_declared(get):
    folder = Path(os.environ.get("CITYTWIN_REALDATA", Path(__file__).parents[4] / "shared" / "realdata"))
    path = folder / "ogc" / "ets_core_conformance.json"
    if not path.exists():
        pytest.skip("no realdata folder: set CITYTWIN_REALDATA to one with a MANIFEST.csv")
    declared = get("/conformance").json()["conformsTo"]
    missing = set(json.loads(path.read_text())["conformsTo"]) - set(declared)
    assert missing == {SPEC + "ogcapi-features-1/1.0/conf/gmlsf2"}  # GML is served by WFS
