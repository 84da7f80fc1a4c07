"""What is sent wrong, or by who may not: a 4xx that names the member or says what would allow it; nothing is stored."""

import contextlib
import sqlite3
import tracemalloc

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

import twin
from server.app import create_app
from server.settings import Settings
from tests.server.test_editing import CRS84, ITEMS, E, N, client_of, feature, on_the_wire, square, uri
from tests.stores import copy_twin

HERE = on_the_wire(square(E, N), CRS84).tolist()
GOOD = feature(HERE, "fresh", height_m=3.0)


@pytest.fixture(scope="module")
def town(folder, tmp_path_factory):
    copy = tmp_path_factory.mktemp("refused") / "city"
    copy_twin(folder, copy)
    with twin.open(copy) as opened:
        yield opened


@pytest.fixture(scope="module")
def client(town):
    with client_of(town) as session:
        yield session


@pytest.fixture
def unchanged(town):
    """Whatever the test sends, the file holds afterwards what it held before."""

    def content():
        with contextlib.closing(sqlite3.connect(f"file:{town.folder / 'city.gpkg'}?mode=ro", uri=True)) as db:
            rows = {name: db.execute(f'SELECT * FROM "{name}"').fetchall() for name in ("building", "well")}
        db.close()
        return rows, town.store.version()

    before = content()
    yield
    assert content() == before


def changed(path, value, base=None):
    """The good feature with one member changed, by its path."""
    made = orjson.loads(orjson.dumps(base or GOOD))
    *inner, last = path
    at = made
    for name in inner:
        at = at[name]
    at[last] = value
    return made


POLYGON = ("geometry", "coordinates")
WRONG = {
    "no JSON": (b'{"type": "Feature",', "not JSON"),
    "empty": (b"", "empty"),
    "a list": (b"[]", "an array"),
    "NaN": (orjson.dumps(GOOD).replace(b"3.0", b"NaN"), "properties.height_m"),
    "Infinity": (orjson.dumps(GOOD).replace(b"3.0", b"-Infinity"), "properties.height_m"),
    "1e999": (orjson.dumps(GOOD).replace(b"3.0", b"1e999"), "properties.height_m"),
    "NaN coordinate": (orjson.dumps(GOOD).replace(b"[[[", b"[[[NaN,"), "geometry.coordinates[0][0][0]"),
    "NaN after Chinese": (orjson.dumps(changed(("id",), "楼" * 50)).replace(b"3.0", b"NaN"), "properties.height_m"),
    "nested 5000 deep": (b'{"type":"Feature","properties":{"a":' + b"[" * 5000 + b"]" * 5000 + b"}}", "depth"),
    "no UTF-8": (b'{"type":"Feature\xff"}', "UTF-8"),
    "a geometry": (orjson.dumps(GOOD["geometry"]), "type: 'Polygon'"),
    "no type": (orjson.dumps({"geometry": None, "properties": {}}), "type: null"),
    "no geometry member": (orjson.dumps({"type": "Feature", "properties": {}}), "geometry"),
    "null geometry": (changed(("geometry",), None), "geometry: the geometry is empty"),
    "text for a geometry": (changed(("geometry",), "POINT (1 2)"), "geometry: a JSON object is expected"),
    "unknown geometry": (changed(("geometry", "type"), "Curve"), "geometry.type"),
    "wrong geometry": (changed(("geometry",), {"type": "Point", "coordinates": HERE[0]}), "geometry: a Point"),
    "collection": (changed(("geometry",), {"type": "GeometryCollection", "geometries": []}), "geometry"),
    "text for a number": (changed((*POLYGON, 0, 1, 0), "121.0"), "geometry.coordinates"),
    "null coordinate": (changed((*POLYGON, 0, 1, 0), None), "geometry.coordinates"),
    "one number": (changed((*POLYGON, 0, 1), [121.0]), "geometry.coordinates"),
    "five numbers": (changed((*POLYGON, 0, 1), [121.0, 28.0, 1, 2, 3]), "geometry.coordinates"),
    "some heights": (changed((*POLYGON, 0, 1), [*HERE[1], 4.0]), "geometry.coordinates"),
    "not closed": (changed((*POLYGON, 0, 4), [121.0, 28.1001]), "geometry.coordinates"),
    "empty polygon": (changed(POLYGON, []), "geometry: the geometry is empty"),
    "a bow tie": (changed((*POLYGON, 0), [HERE[0], HERE[2], HERE[1], HERE[3], HERE[0]]), "geometry: the outline"),
    "swapped": (changed((*POLYGON, 0), [p[::-1] for p in HERE]), "geometry"),
    "beyond the globe": (changed((*POLYGON, 0), [[x + 300, y] for x, y in HERE]), "geometry"),
    "another continent": (changed((*POLYGON, 0), [[x - 120, y + 20] for x, y in HERE]), "geometry: it lies"),
    "100 km off": (changed((*POLYGON, 0), [[x, y + 0.9] for x, y in HERE]), "km from the city"),
    "text for a height": (changed(("properties", "height_m"), "tall"), "properties.height_m"),
    "height below zero": (changed(("properties", "height_m"), -1), "properties.height_m"),
    "true for a height": (changed(("properties", "height_m"), True), "properties.height_m"),
    "half a storey": (changed(("properties", "floors"), 2.5), "properties.floors"),
    "huge integer": (changed(("properties", "floors"), 2**63), "properties.floors"),
    "odd date": (changed(("properties", "built"), "yesterday"), "properties.built"),
    "a list for a name": (changed(("properties", "name"), ["a"]), "properties.name"),
    "a name of 200,000": (changed(("properties", "name"), "x" * 200_000), "properties.name"),
    "fid": (changed(("properties", "fid"), 5), "properties.fid"),
    "too much extra": (changed(("properties", "note"), "x" * 200_000), "properties: `extra`"),
    "properties are a list": (changed(("properties",), []), "properties: a JSON object"),
    "id is an object": (changed(("id",), {}), "id: an object"),
    "id is empty": (changed(("id",), " "), "id: ' '"),
    "id of 2,000": (changed(("id",), "x" * 2000), "id:"),
    "id with a line break": (changed(("id",), "a\nb"), "id:"),
    "empty collection": ({"type": "FeatureCollection", "features": []}, "features: a list"),
    "collection of text": ({"type": "FeatureCollection", "features": ["x"]}, "features[0]: a JSON object"),
    "twice": ({"type": "FeatureCollection", "features": [GOOD, GOOD]}, "features[1].id: 'fresh' is given twice"),
    "coordRefSys": (GOOD | {"coordRefSys": "EPSG:99999"} | {"place": GOOD["geometry"]}, "coordRefSys"),
    "coordRefSys is a number": (GOOD | {"coordRefSys": 4326} | {"place": GOOD["geometry"]}, "coordRefSys"),
    "a prism": (GOOD | {"place": {"type": "Prism", "base": {}}}, "place.type"),
}  # fmt: skip


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_feature_is_a_400_that_names_the_member(client, name):
    body, words = WRONG[name]
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    for method, path in (("POST", ITEMS), ("PUT", f"{ITEMS}/fresh")):
        if method == "PUT" and words.startswith("features"):
            continue
        answered = client.request(method, path, content=content, headers={"Content-Type": "application/geo+json"})
        assert answered.status_code == 400, answered.text
        assert answered.headers["content-type"] == "application/problem+json"
        assert words in answered.json()["detail"], answered.json()["detail"]
        assert len(answered.text) < 3000


WRONG_PATCH = {
    "no object": ([], "an array"),
    "null properties": ({"properties": None}, "properties: null"),
    "null geometry": ({"geometry": None}, "geometry: the geometry cannot be taken away"),
    "unknown member": ({"hight": 3}, "hight: a feature has no such member"),
    "wrong value": ({"properties": {"height_m": "x"}}, "properties.height_m"),
    "another id": ({"id": "b02", "properties": {"floors": 1}}, "id: 'b02'"),
    "id as a property": ({"properties": {"id": "b02"}}, "properties.id"),
    "version": ({"properties": {"version": 7}}, "properties.version"),
    "another kind": ({"geometry": {"type": "Point", "coordinates": [121.0, 28.1]}}, "geometry: a Point"),
    "far away": ({"geometry": {"coordinates": [[[[0, 0], [1, 0], [1, 1], [0, 0]]]]}}, "geometry: it lies"),
}  # fmt: skip


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("name", WRONG_PATCH)
def test_a_wrong_patch_is_a_400_that_names_the_member(client, name):
    body, words = WRONG_PATCH[name]
    headers = {"Content-Type": "application/merge-patch+json"}
    answered = client.patch(f"{ITEMS}/b01", content=orjson.dumps(body), headers=headers)
    assert answered.status_code == 400, answered.text
    assert words in answered.json()["detail"]


@pytest.mark.usefixtures("unchanged")
def test_what_is_not_there_or_there_already(client):
    assert client.patch(f"{ITEMS}/nope", json={"floors": 1}).status_code == 404
    assert client.delete(f"{ITEMS}/nope").status_code == 404
    assert client.post("/collections/nope/items", json=GOOD).status_code == 404
    assert client.delete("/collections/nope/items/x").status_code == 404
    taken = client.post(ITEMS, json=changed(("id",), "b01"))
    assert taken.status_code == 409
    assert "id: building has a feature 'b01' already" in taken.json()["detail"]
    other = client.put(f"{ITEMS}/b02", json=changed(("id",), "b01"))
    assert other.status_code == 400
    assert "id: 'b01' is not the 'b02'" in other.json()["detail"]
    table = client.post("/collections/meter_record/items", json=GOOD | {"properties": {"value": 1.0}})
    assert table.status_code == 400
    assert "geometry: layer 'meter_record' is a table" in table.json()["detail"]
    asked = client.post(f"{ITEMS}?colour=red", json=GOOD)
    assert asked.status_code == 400
    assert "colour" in asked.json()["detail"]


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("crs", ["EPSG:99999", uri(32601), "http://example.com/", "x" * 5000, "", "<>"])
def test_a_crs_that_is_not_offered_is_refused_by_the_name_of_the_header(client, crs):
    answered = client.post(ITEMS, json=GOOD, headers={"Content-Crs": crs})
    assert answered.status_code == 400
    assert "Content-Crs" in answered.json()["detail"]


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/xml",
             "application/gml+xml", "text/plain; application/json", "", "application/merge-patch+json"],
)  # fmt: skip
def test_a_body_of_another_media_type_is_a_415(client, kind):
    """The first four are what a page of another site can send without asking."""
    headers = {} if kind is None else {"Content-Type": kind}
    body = b"<a/>" if kind == "text/xml" else orjson.dumps(GOOD)
    answered = client.post(ITEMS, content=body, headers=headers)
    assert answered.status_code == 415
    assert "application/geo+json" in answered.headers["accept-post"]
    patch = client.patch(f"{ITEMS}/b01", content=b'{"no": 1}', headers=headers | {"Content-Type": kind or "text/plain"})
    if kind not in {"application/merge-patch+json", "text/xml"}:
        assert patch.status_code == 415
        assert "application/merge-patch+json" in patch.headers["accept-patch"]
    assert client.post("/transactions", content=b"<a/>", headers=headers).status_code == 415


def test_packed_bodies_are_not_unpacked(client):
    answered = client.post(
        ITEMS, content=b"x", headers={"Content-Type": "application/json", "Content-Encoding": "gzip"}
    )
    assert answered.status_code == 415


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("vertex", ["[121.0,28.1]", "[1,2]"])
def test_a_million_vertices_are_refused_within_bounded_memory(client, vertex):
    """The long ones are too many bytes, the short ones too many points."""
    many = ",".join([vertex] * 1_000_000)
    body = '{"type":"Feature","properties":{},"geometry":{"type":"Polygon","coordinates":[[' + many + "]]}}"
    content = body.encode()
    tracemalloc.start()
    answered = client.post(ITEMS, content=content, headers={"Content-Type": "application/geo+json"})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert answered.status_code == (413 if len(vertex) > 6 else 400)
    words = "The body has" if len(vertex) > 6 else "geometry: the body has 1,000,00"
    assert words in answered.json()["detail"]
    assert peak < 100e6


@pytest.mark.usefixtures("unchanged")
def test_too_many_features_are_refused(town):
    with client_of(town, max_edit_features=3) as client:
        several = {"type": "FeatureCollection", "features": [changed(("id",), f"f{i}") for i in range(4)]}
        answered = client.post(ITEMS, json=several)
        assert answered.status_code == 400
        assert "4 features" in answered.json()["detail"]


WORDS = [
    "type", "id", "geometry", "properties", "coordinates", "features", "place", "coordRefSys", "op", "args",
    "transaction", "action", "collection", "items", "filter", "ids", "version", "height_m", "modify", "name", "value",
    "extra", "geometries", "semantic",
]  # fmt: skip
SCALARS = st.sampled_from(
    ["Feature", "Point", "Polygon", "b01", "well", "building", "insert", "delete", "=", None, True]
)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**64 - 1)
anything = st.recursive(
    SCALARS | NUMBERS | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=4), inner, max_size=5)
    ),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def another(folder, tmp_path_factory):
    """A client of a town of its own: some of what is sent is right."""
    copy = tmp_path_factory.mktemp("another") / "city"
    copy_twin(folder, copy)
    with twin.open(copy) as town, client_of(town) as session:
        yield session


@settings(max_examples=60, deadline=None)
@given(body=anything, at=st.integers(0, 5), spot=st.integers(0, 7))
def test_whatever_json_is_sent_it_is_a_4xx_or_done(another, body, at, spot):
    """Any JSON as a body, or in the place of one member of a good feature or a good transaction."""
    paths = [("type",), ("id",), ("geometry",), ("geometry", "type"), POLYGON, (*POLYGON, 0), (*POLYGON, 0, 1),
             ("properties",)]  # fmt: skip
    feature = changed(paths[spot], body)
    action = {"action": "insert", "collection": "building", "items": [feature]}
    method, path, sent = [
        ("POST", ITEMS, body),
        ("POST", ITEMS, feature),
        ("PUT", f"{ITEMS}/b00", feature),
        ("PATCH", f"{ITEMS}/b00", body),
        ("POST", "/transactions", body),
        ("POST", "/transactions", {"transaction": [action]}),
    ][at]
    answered = another.request(method, path, content=orjson.dumps(sent), headers={"Content-Type": "application/json"})
    assert answered.status_code < 500, (method, path, sent, answered.text)
    assert answered.status_code < 400 or answered.json()["detail"]


LOCAL, LAPTOP, STRANGER = "127.0.0.1", "http://127.0.0.1:8000", "203.0.113.9"
MAY = [
    # settings, client, address, headers, may edit
    ({}, LOCAL, LAPTOP, {}, True),
    ({}, "::1", "http://[::1]:8000", {}, True),
    ({}, "::ffff:127.0.0.1", "http://localhost:8000", {}, True),
    ({}, STRANGER, LAPTOP, {}, False),
    ({}, "192.168.1.7", "http://192.168.1.2:8000", {}, False),
    ({}, LOCAL, LAPTOP, {"X-Forwarded-For": "127.0.0.1"}, False),
    ({}, LOCAL, LAPTOP, {"Forwarded": "for=127.0.0.1"}, False),
    ({}, LOCAL, LAPTOP, {"X-Real-IP": "127.0.0.1"}, False),
    ({}, LOCAL, LAPTOP, {"Via": "1.1 proxy"}, False),
    ({}, LOCAL, "http://city.example", {}, False),  # rebinding, or a proxy
    ({}, LOCAL, "http://127.0.0.1.evil.example", {}, False),
    ({}, LOCAL, LAPTOP, {"Origin": LAPTOP}, True),
    ({}, LOCAL, LAPTOP, {"Origin": LAPTOP, "Sec-Fetch-Site": "same-origin"}, True),
    ({}, LOCAL, LAPTOP, {"Origin": "https://evil.example"}, False),
    ({}, LOCAL, LAPTOP, {"Origin": "null"}, False),
    ({}, LOCAL, LAPTOP, {"Origin": "http://127.0.0.1:9000", "Sec-Fetch-Site": "same-site"}, False),
    ({}, LOCAL, LAPTOP, {"Sec-Fetch-Site": "cross-site"}, False),
    ({}, LOCAL, LAPTOP, {"Origin": LAPTOP, "Sec-Fetch-Site": "cross-site"}, False),
    ({"edit_origins": ("http://localhost:5173",)}, LOCAL, LAPTOP, {"Origin": "http://localhost:5173"}, True),
    ({"edit_origins": ("http://localhost:5173",)}, LOCAL, LAPTOP, {"Origin": "http://localhost:5174"}, False),
    ({"public_url": "https://city.example"}, LOCAL, LAPTOP, {}, False),
    ({"trust_forwarded": True}, LOCAL, LAPTOP, {}, False),
    ({"edit": "nobody"}, LOCAL, LAPTOP, {}, False),
    ({"edit": "anyone"}, STRANGER, "http://city.example", {}, True),
    ({"edit": "anyone"}, STRANGER, "http://city.example", {"X-Forwarded-For": "1.2.3.4"}, True),
    ({"edit": "anyone"}, STRANGER, "http://192.0.2.1:8000", {"Origin": "http://192.0.2.1:8000"}, True),
    ({"edit": "anyone"}, STRANGER, "http://192.0.2.1:8000", {"Origin": "https://evil.example"}, False),
    # a page under a name that its owner points to this server
    ({"edit": "anyone"}, STRANGER, "http://evil.example", {"Origin": "http://evil.example"}, False),
    ({"edit": "anyone", "public_url": "https://city.example/t"}, STRANGER, "http://inside",
     {"Origin": "https://city.example"}, True),
    ({"edit": "anyone", "public_url": "https://city.example/t"}, STRANGER, "http://inside",
     {"Origin": "http://inside"}, False),
]  # fmt: skip


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(("chosen", "who", "address", "headers", "may"), MAY)
def test_who_may_edit(town, chosen, who, address, headers, may):
    app = create_app(town, Settings(access_log=False, warm_up=False, **chosen))
    with TestClient(app, base_url=address, client=(who, 50_000)) as client:
        items, one = client.options(ITEMS, headers=headers), client.options(f"{ITEMS}/b01", headers=headers)
        assert items.status_code == one.status_code == 200
        told = {each.strip() for each in items.headers["allow"].split(",")}
        assert told == {"GET", "HEAD", "OPTIONS"} | ({"POST"} if may else set())
        told = {each.strip() for each in one.headers["allow"].split(",")}
        assert told == {"GET", "HEAD", "OPTIONS"} | ({"PUT", "PATCH", "DELETE"} if may else set())
        tried = [
            client.post(ITEMS, json={"type": "Nothing"}, headers=headers),
            client.put(f"{ITEMS}/b01", json={"type": "Nothing"}, headers=headers),
            client.patch(f"{ITEMS}/b01", json={"nothing": 1}, headers=headers),
            client.delete(f"{ITEMS}/nope", headers=headers),
            client.post("/transactions", json={}, headers=headers),
        ]
        assert [each.status_code for each in tried] == ([400, 400, 400, 404, 400] if may else [403] * 5)
        if not may:
            assert "--" in tried[0].json()["detail"]  # what would allow it
        # reading, also by a filter in the body, is for everyone
        assert client.get(f"{ITEMS}/b01", headers=headers).status_code == 200
        body = {"op": "<", "args": [{"property": "floors"}, 3]}
        assert client.post(ITEMS, json=body, headers=headers).status_code == 200


def test_a_browser_is_told_before_it_sends(client):
    asked = {
        "Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "content-type,if-match,content-crs",
    }  # fmt: skip
    own = client.options(f"{ITEMS}/b01", headers=asked | {"Origin": LAPTOP}).headers
    methods = {each.strip() for each in own["access-control-allow-methods"].split(",")}
    assert {"GET", "PUT", "PATCH", "DELETE"} <= methods
    assert {"If-Match", "Content-Crs", "Content-Type", "If-None-Match", "If-Unmodified-Since", "Prefer"} <= {
        each.strip() for each in own["access-control-allow-headers"].split(",")
    }
    exposed = {each.strip() for each in own["access-control-expose-headers"].split(",")}
    assert {"ETag", "Location", "Content-Crs", "Last-Modified"} <= exposed
    foreign = client.options(f"{ITEMS}/b01", headers=asked | {"Origin": "https://evil.example"}).headers
    assert {each.strip() for each in foreign["access-control-allow-methods"].split(",")}.isdisjoint(
        {"PUT", "PATCH", "DELETE"}
    )


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_a_method_that_the_address_does_not_have_is_a_405_with_those_it_has(client, method):
    answered = client.request(method, ITEMS)
    assert answered.status_code == 405
    assert "POST" in answered.headers["allow"]
    assert client.post(f"{ITEMS}/b01", json={}).headers["allow"] == "GET, HEAD, OPTIONS, PUT, PATCH, DELETE"


def test_who_edited_is_written_down(folder, tmp_path):
    copy = tmp_path / "city"
    copy_twin(folder, copy)
    with twin.open(copy) as town, client_of(town) as client:
        client.patch(f"{ITEMS}/b01", json={"floors": 9}, headers={"User-Agent": "Mozilla/5.0 QGIS/34006/Debian"})
        (kept,) = town["building"].edits()
        assert kept.editor == "http 127.0.0.1 Mozilla/5.0"
