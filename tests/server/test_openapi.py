"""The OpenAPI document against its validator, the server against the document: every path, every declared answer."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import jsonschema
import orjson
import pytest
from starlette.testclient import TestClient

import twin
from server import openapi_shared
from server.app import create_app
from server.settings import Settings

validator = pytest.importorskip("openapi_spec_validator", reason="pip install openapi-spec-validator")
ROOT = Path(__file__).parents[2]
TOWN = ROOT / "sample_data" / "town"


@pytest.fixture(scope="module")
def town_folder(tmp_path_factory):
    """The built town: it has rasters, point clouds, terrain and everything else that an address can name."""
    ready = os.environ.get("CITYTWIN_TEST_TWIN")
    if ready:
        return Path(ready)
    made = tmp_path_factory.mktemp("town") / "twin"
    command = [sys.executable, "-m", "server.cli", "build", str(TOWN), str(made)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    return made


@pytest.fixture(scope="module")
def town(town_folder):
    with twin.open(town_folder) as city:
        settings = Settings(access_log=False, warm_up=False)
        with TestClient(create_app(city, settings), base_url="http://city.test") as session:
            yield session


@pytest.fixture(scope="module")
def document(town):
    return town.get("/api").json()


def operations(document):
    return [(path, method, each) for path, methods in document["paths"].items() for method, each in methods.items()]


def test_the_document_is_valid_openapi_3_0(document, get):
    for each in (document, get("/api").json()):
        validator.OpenAPIV30SpecValidator(each).validate()


def test_every_operation_says_what_it_is_and_what_comes_back(document):
    ids = [each["operationId"] for _, _, each in operations(document)]
    assert len(ids) == len(set(ids))
    headings = {tag["name"] for tag in document["tags"]}
    for path, method, each in operations(document):
        assert each["summary"], path
        assert set(each["tags"]) <= headings, path
        assert "default" in each["responses"], path
        assert method != "get" or path == "/health" or "304" in each["responses"], path
        assert any(status.startswith("2") for status in each["responses"]), path
    assert document["security"] == []
    assert document["info"]["contact"]["url"] == "http://city.test/"
    assert document["info"]["license"]["name"]


def test_every_query_parameter_has_a_schema_and_a_description(document):
    for path, _, each in operations(document):
        for parameter in each["parameters"]:
            found = resolved(document, parameter)
            assert found["schema"], (path, found["name"])
            assert found["description"], (path, found["name"])


def test_json_answers_have_schemas(document):
    bare = [
        f"{path} {kind}"
        for path, _, each in operations(document)
        for status, answer in each["responses"].items()
        for kind, media in resolved(document, answer).get("content", {}).items()
        if status.startswith("2") and "json" in kind and not media.get("schema")
    ]
    assert bare == []


def resolved(document, node):
    while "$ref" in node:
        found = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part.replace("~1", "/").replace("~0", "~")]
        node = found
    return node


def as_json_schema(document, node):
    """A schema of OpenAPI 3.0 as JSON Schema: references inlined, `nullable` as a type."""
    if isinstance(node, list):
        return [as_json_schema(document, each) for each in node]
    if not isinstance(node, dict):
        return node
    node = resolved(document, node) if isinstance(node.get("$ref"), str) else node
    made = {key: as_json_schema(document, each) for key, each in node.items() if key != "nullable"}
    if node.get("nullable") is True:
        return {"anyOf": [{"type": "null"}, made]}
    return made


PLACES = {
    "featuresId": "building", "collectionId": "building", "rasterId": "dom", "tileMatrixSetId": "WebMercatorQuad",
    "processId": "buffer-query", "styleId": "default", "z": "0", "x": "0", "y": "0", "row": "0", "col": "0",
}  # fmt: skip
"""What stands for a placeholder where the path below does not say otherwise."""


OLDER = ("/wms", "/wmts", "/wfs")
"""Services from before OGC API, whose errors are XML reports."""


def examples(town):
    """Placeholders of single paths, found by following links the way a client does."""
    every = town.get("/collections").json()["collections"]
    clouds = [each for each in every if each["id"] == "point_cloud"]
    observed = [each["id"] for each in every if any("/locations" in link["href"] for link in each["links"])]
    item = next(link["href"] for link in clouds[0]["links"] if "/3dtiles/" in link["href"] and link["rel"] == "item")
    feature = town.get("/collections/building/items?limit=1").json()["features"][0]["id"]
    return {
        "/styles/{styleId}": {"styleId": "city"},
        "/styles/{styleId}/map": {"styleId": "city"},
        "/styles/{styleId}/map/tiles": {"styleId": "city"},
        "/styles/{styleId}/map/tiles/{tileMatrixSetId}": {"styleId": "city"},
        "/styles/{styleId}/map/tiles/{tileMatrixSetId}/{z}/{row}/{col}": {"styleId": "city"},
        "/collections/{collectionId}/points.copc.laz": {"collectionId": "point_cloud"},
        "/collections/{collectionId}/raster.tif": {"collectionId": "dom"},
        "/collections/{collectionId}/3dtiles/{assetId}/tileset.json": {
            "collectionId": "point_cloud", "assetId": re.search(r"3dtiles/([^/]+)/", item)[1],
        },
        "/collections/{collectionId}/locations": {"collectionId": observed[0]},
        "*": {"featureId": feature},
    }  # fmt: skip


@pytest.fixture(scope="module")
def addresses(town, document):
    """Address of each path that can be had by GET without knowing more than the document says."""
    own = examples(town)
    made = {}
    for path, methods in document["paths"].items():
        names = set(re.findall(r"{(\w+)}", path))
        values = PLACES | own["*"] | own.get(path, {})
        if path in OLDER:
            made[path] = f"{path}?service={path[1:].upper()}&request=GetCapabilities"
        elif "get" in methods and names <= set(values) and not _must_be_told(document, methods["get"]):
            made[path] = re.sub(r"{(\w+)}", lambda match, v=values: quote(v[match[1]], safe=""), path)
    return made


@pytest.fixture(scope="module")
def answers(town, addresses):
    """What GET gives at each address."""
    return {address: town.get(address) for address in addresses.values()}


def _must_be_told(document, operation):
    return any(each["required"] and each["in"] == "query" for each in (resolved(document, p) for p in
               operation["parameters"]))  # fmt: skip


def test_almost_every_path_has_an_example(document, addresses):
    """Else what follows would look at nothing."""
    gets = [path for path, methods in document["paths"].items() if "get" in methods]
    assert len(addresses) >= 45
    assert len(addresses) > 0.6 * len(gets)


def complaints_of(addresses, look):
    """What `look` finds wrong at each address; all of it at once."""
    assert addresses
    return [f"{address}: {text}" for path, address in addresses.items() for text in look(path, address)]


def problem_of(answered, status):
    """Complaints about an answer that should be a problem, and its sentence."""
    if answered.status_code != status:
        return [f"{answered.status_code}, not {status}: {answered.text[:120]}"], ""
    if answered.headers["content-type"].startswith("text/xml") and answered.request.url.path.startswith(OLDER):
        return [], answered.text
    if answered.headers["content-type"] != "application/problem+json" or answered.json()["status"] != status:
        return ["no problem document"], ""
    return [], answered.json().get("detail", "")


def test_answers_are_what_the_document_says(answers, document, addresses):
    def look(path, address):
        answered = answers[address]
        if answered.status_code not in {200, 204}:
            return [f"{answered.status_code} {answered.text[:200]}"]
        said = resolved(document, document["paths"][path]["get"]["responses"].get(str(answered.status_code), {}))
        if answered.status_code == 204:
            return [] if said else ["204 is not declared"]
        kind = answered.headers["content-type"].split(";")[0]
        offered = {each.split(";")[0]: media for each, media in said["content"].items()}
        if kind not in offered:
            return [f"{kind} is not among {list(offered)}"]
        if "json" not in kind:
            return []
        schema = as_json_schema(document, offered[kind].get("schema", {}))
        found = jsonschema.Draft4Validator(schema).iter_errors(answered.json())
        return [f"{error.json_path}: {error.message[:200]}" for error in found]

    found = complaints_of(addresses, look)
    assert not found, "\n".join(found)


def test_head_gives_the_headers_of_get_and_nothing_else(town, answers, addresses):
    moving = {"date", "content-length"}  # the length of a stream is unknown

    def look(path, address):
        # the list of jobs follows whoever works on the same city
        got, head = town.get(address) if path == "/jobs" else answers[address], town.head(address)
        if (head.status_code, head.content) != (got.status_code, b""):
            return [f"{head.status_code} with {len(head.content)} bytes"]
        # a time stamp in what is packed makes it a byte longer or shorter
        names_length = "content-encoding" not in got.headers
        both = [each.headers.get("content-length") if names_length else None for each in (got, head)]
        names = set(got.headers) | set(head.headers)
        different = [each for each in names - moving if got.headers.get(each) != head.headers.get(each)]
        return different + (["content-length"] if None not in both and both[0] != both[1] else [])

    found = complaints_of(addresses, look)
    assert not found, "\n".join(found)


def test_what_has_not_changed_is_not_sent_again(town, answers, addresses):
    def look(path, address):
        got = town.get(address) if path == "/jobs" else answers[address]
        if path == "/health" or got.status_code != 200:
            return []
        found = [] if "accept" in got.headers.get("vary", "").lower() else ["Vary lacks Accept"]
        found += [] if got.headers.get("access-control-allow-origin") == "*" else ["no CORS"]
        tag = got.headers.get("etag")
        if tag is None:
            return [*found, "no ETag"]
        again = town.get(address, headers={"If-None-Match": tag})
        if (again.status_code, again.content, again.headers.get("etag")) != (304, b"", tag):
            found.append(f"{again.status_code}, not 304 with the same ETag")
        return found

    found = complaints_of(addresses, look)
    assert not found, "\n".join(found)


def test_an_unknown_parameter_is_refused_by_name(town, addresses):
    def look(_, address):
        if address.startswith(OLDER):
            return []  # these must overlook what they do not know (OGC 06-121r3)
        found, detail = problem_of(town.get(f"{address}?nonsense_9=1"), 400)
        return found or ([] if "nonsense_9" in detail else [f"does not name it: {detail}"])

    found = complaints_of(addresses, look)
    assert not found, "\n".join(found)


def test_a_format_that_is_not_offered_is_refused(town, addresses):
    def look(_, address):
        if address.startswith(OLDER):
            return []
        found, detail = problem_of(town.get(f"{address}?f=nonsense_9"), 400)
        return found or ([] if re.search(r"\bf\b|nonsense_9", detail) else [f"does not name it: {detail}"])

    found = complaints_of(addresses, look)
    assert not found, "\n".join(found)


def test_a_method_that_is_not_offered_is_refused_with_those_that_are(town, document, addresses):
    def names(answered):
        return {each.strip() for each in answered.headers.get("allow", "").split(",")}

    def look(path, address):
        taken = {method.upper() for method in document["paths"][path]}
        method = next((each for each in ("DELETE", "PATCH", "PUT", "POST") if each not in taken), None)
        if method is None:
            return []
        answered, options = town.request(method, address), town.options(address)
        found, _ = problem_of(answered, 405)
        allowed = names(answered)
        found += [] if {"GET", "HEAD"} <= allowed and method not in allowed else [f"{method}: Allow {allowed}"]
        good = options.status_code in {200, 204} and {"GET", "HEAD", "OPTIONS"} <= names(options)
        return found + ([] if good else [f"OPTIONS {options.status_code} {names(options)}"])

    found = complaints_of(addresses, look)
    assert not found, "\n".join(found)


def test_what_does_not_exist_is_a_problem_that_says_so(town, addresses):
    def look(path, _):
        found = []
        for name in set(re.findall(r"{(\w+)}", path)) - {"z", "x", "y", "row", "col"}:
            values = PLACES | {"featureId": "B00001", "assetId": "a", name: "no-such-thing-9"}
            answered = town.get(re.sub(r"{(\w+)}", lambda match, v=values: v.get(match[1], "a"), path))
            wrong, detail = problem_of(answered, 404)
            found += [f"{name}: {each}" for each in wrong or ([] if detail else ["says nothing"])]
        return found

    found = complaints_of(addresses, look)
    assert not found, "\n".join(found)


def test_an_accept_that_cannot_be_met_is_overlooked(town, addresses):
    """RFC 9110, 12.5.1 leaves it to the server; OWSLib, QGIS and browsers send lists that leave out what they read."""
    for address in ("/", "/collections", "/collections/building/items?limit=1", "/api"):
        answered = town.get(address, headers={"Accept": "application/x-nobody-has-this"})
        assert answered.status_code == 200
        assert "json" in answered.headers["content-type"]


def test_the_document_grows_with_layers_by_their_names_alone(document, get, town):
    """QGIS reads it anew for every layer."""
    size = len(town.get("/api").content)
    assert size < 200_000
    assert not [path for path in document["paths"] if "/building" in path]
    small, large = get("/api").json(), document
    assert set(small["paths"]) == set(large["paths"])
    assert len(json.dumps(small["paths"])) == pytest.approx(len(json.dumps(large["paths"])), rel=0.02)


def test_page_size_stands_where_qgis_looks_for_it(document):
    assert document["components"]["parameters"]["limit"]["schema"] == {
        "type": "integer", "minimum": 1, "maximum": 10_000, "default": 1000,
    }  # fmt: skip


def test_what_is_said_twice_becomes_a_component():
    def operation(text):
        return {"parameters": [{"name": "a", "in": "query", "description": text}],
                "responses": {"404": {"description": "gone"}, "200": {"description": "x"}}}  # fmt: skip

    paths = {"/1": {"get": operation("p")}, "/2": {"get": operation("p")}, "/3": {"get": operation("q")}}
    before = orjson.loads(orjson.dumps(paths))
    components = {"parameters": {"a": {"name": "taken"}}, "responses": {}}
    openapi_shared.share(paths, components)
    assert paths["/1"]["get"]["parameters"] == [{"$ref": "#/components/parameters/a2"}]
    assert paths["/3"]["get"]["parameters"] == before["/3"]["get"]["parameters"]
    whole = {"paths": paths, "components": components}
    for path, methods in before.items():
        for kind in ("parameters", "responses"):
            now, then = paths[path]["get"][kind], methods["get"][kind]
            keys = range(len(then)) if isinstance(then, list) else then
            assert [resolved(whole, now[key]) for key in keys] == [then[key] for key in keys]
