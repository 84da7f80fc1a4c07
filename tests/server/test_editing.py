"""Create, replace, update, delete over HTTP: what is stored, what is not touched, what is refused and by which name.

What is stored is read by GDAL, coordinates are transformed by PROJ directly: not by our own code.
"""

import contextlib
import sqlite3

import numpy as np
import orjson
import pyproj
import pytest
import shapely
from starlette.testclient import TestClient

import twin
from layers.errors import Busy
from server.app import create_app
from server.settings import Settings
from tests.stores import copy_twin, read_layer

ITEMS = "/collections/building/items"
GEOJSON, PATCH = {"Content-Type": "application/geo+json"}, {"Content-Type": "application/merge-patch+json"}
CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"


def uri(code):
    return f"http://www.opengis.net/def/crs/EPSG/0/{code}"


def square(east, north, size=8.0):
    """A closed outline in EPSG:4549, east first."""
    return np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]], float) * size + (east, north)


def on_the_wire(points, target):
    """EPSG:4549 east first -> `target` in its own axis order, by PROJ."""
    across = pyproj.Transformer.from_crs("EPSG:4549", target, always_xy=False)
    return np.column_stack(across.transform(points[:, 1], points[:, 0]))


def polygon(points):
    return {"type": "Polygon", "coordinates": [np.asarray(points).tolist()]}


def feature(points, name=None, **own):
    made = {"type": "Feature", "geometry": polygon(points), "properties": own}
    return made if name is None else made | {"id": name}


@pytest.fixture
def town(folder, tmp_path):
    """A copy of the tiny city, to be changed."""
    copy = tmp_path / "city"
    copy_twin(folder, copy)
    with twin.open(copy) as opened:
        yield opened


def client_of(city, *, client="127.0.0.1", address="http://127.0.0.1:8000", **settings):
    app = create_app(city, Settings(access_log=False, warm_up=False, **settings))
    return TestClient(app, base_url=address, client=(client, 40_000), raise_server_exceptions=False)


@pytest.fixture
def client(town):
    with client_of(town) as session:
        yield session


def stored(town, layer="building"):
    """Current features by id, as GDAL reads the file."""
    frame = read_layer(town.folder, layer).set_index("id")
    return frame[frame["valid_to"].isna()] if "valid_to" in frame else frame


def fingerprint(town, layer="building"):
    """Id -> everything of its row."""
    with contextlib.closing(sqlite3.connect(town.folder / "city.gpkg")) as db:
        db.row_factory = sqlite3.Row
        return {row["id"]: tuple(row) for row in db.execute(f'SELECT * FROM "{layer}" WHERE valid_to IS NULL')}


def outline_blob(town, name):
    with contextlib.closing(sqlite3.connect(town.folder / "city.gpkg")) as db:
        return db.execute("SELECT geom FROM building WHERE valid_to IS NULL AND id = ?", (name,)).fetchone()[0]


E, N = 598_100.0, 3_110_100.0


@pytest.mark.parametrize("code", ["OGC:CRS84", "EPSG:4326", "EPSG:4490", "EPSG:4549", "EPSG:3857"])
@pytest.mark.parametrize("brackets", [True, False])
def test_a_new_feature_is_stored_where_it_was_said_to_be_in_the_axis_order_of_its_crs(client, town, code, brackets):
    before = fingerprint(town)
    address = CRS84 if code == "OGC:CRS84" else uri(code.split(":")[1])
    body = feature(on_the_wire(square(E, N), code), name=None, height_m=12.5, floors=4, name_of="x")
    header = f"<{address}>" if brackets else address
    response = client.post(ITEMS, json=body, headers=GEOJSON | {"Content-Crs": header})
    assert response.status_code == 201, response.text
    (made,) = response.json()["features"]
    assert response.headers["location"] == f"http://127.0.0.1:8000{ITEMS}/{made['id']}"
    now = stored(town)
    assert set(now.index) - set(before) == {made["id"]}
    corners = shapely.get_coordinates(now.loc[made["id"]].geometry)
    np.testing.assert_allclose(corners, square(E, N), rtol=0, atol=1e-4)
    assert now.loc[made["id"]]["height_m"] == 12.5
    after = fingerprint(town)
    assert {name: after[name] for name in before} == before
    found = client.get(response.headers["location"])
    assert found.json()["properties"]["floors"] == 4
    assert found.json()["properties"]["extra"] == {"name_of": "x"}
    assert [each["code"] for each in response.json()["issues"] if each["code"] == "EDIT_ATTRIBUTE_UNKNOWN"]


def test_without_a_crs_the_body_is_in_crs84(client, town):
    response = client.post(ITEMS, json=feature(on_the_wire(square(E, N), "OGC:CRS84"), "new one"), headers=GEOJSON)
    assert response.headers["location"].endswith("/items/new%20one")
    corners = shapely.get_coordinates(stored(town).loc["new one"].geometry)
    np.testing.assert_allclose(corners, square(E, N), rtol=0, atol=1e-4)


def test_a_layer_of_points_stays_one(client, town):
    place = on_the_wire(np.array([[E, N], [E + 1, N]]), "OGC:CRS84").tolist()
    one = {
        "type": "Feature",
        "id": "one",
        "geometry": {"type": "MultiPoint", "coordinates": place[:1]},
        "properties": {},
    }
    assert client.post("/collections/well/items", json=one).status_code == 201
    assert stored(town, "well").loc["one"].geometry.geom_type == "Point"
    two = one | {"id": "two", "geometry": {"type": "MultiPoint", "coordinates": place}}
    refused = client.post("/collections/well/items", json=two)
    assert refused.status_code == 400
    assert "geometry: 'well' holds one Point a feature" in refused.json()["detail"]


def test_json_fg_names_its_crs_itself(client, town):
    body = feature([], "fg") | {"geometry": None, "coordRefSys": uri(4549)}
    body["place"] = polygon(square(E, N)[:, ::-1])
    assert client.post(ITEMS, json=body, headers={"Content-Type": "application/fg+json"}).status_code == 201
    np.testing.assert_array_equal(shapely.get_coordinates(stored(town).loc["fg"].geometry), square(E, N))


def test_several_features_are_stored_or_none(client, town):
    before, version = fingerprint(town), town.store.version()
    several = [feature(on_the_wire(square(E + 20 * i, N), "EPSG:4326"), f"n{i}", height_m=3.0) for i in range(4)]
    body = {"type": "FeatureCollection", "features": several}
    several[2]["properties"]["height_m"] = "tall"
    refused = client.post(ITEMS, json=body, headers=GEOJSON | {"Content-Crs": uri(4326)})
    assert refused.status_code == 400
    assert "features[2].properties.height_m" in refused.json()["detail"]
    assert refused.json()["errors"][0]["pointer"] == "#/features/2/properties/height_m"
    assert (fingerprint(town), town.store.version()) == (before, version)
    several[2]["properties"]["height_m"] = 5
    done = client.post(ITEMS, json=body, headers=GEOJSON | {"Content-Crs": uri(4326)})
    assert done.status_code == 201
    assert "location" not in done.headers
    assert set(fingerprint(town)) - set(before) == {"n0", "n1", "n2", "n3"}


def test_put_replaces_the_whole_feature_and_only_that(client, town):
    before = fingerprint(town)
    body = feature(on_the_wire(square(E, N), "EPSG:4490"), "b01", height_m=44.0)
    # OWSLib sends no Content-Type with PUT
    done = client.put(
        f"{ITEMS}/b01", content=orjson.dumps(body), headers={"Content-Crs": uri(4490)}
    )  # fmt: skip
    assert done.status_code == 200, done.text
    now = stored(town).loc["b01"]
    assert now["height_m"] == 44.0
    assert isinstance(now["name"], float)  # nothing
    np.testing.assert_allclose(shapely.get_coordinates(now.geometry), square(E, N), rtol=0, atol=1e-4)
    after = fingerprint(town)
    assert {name for name in before if after[name] != before[name]} == {"b01"}


def test_a_feature_that_is_put_back_as_it_was_read_stays_the_same(client, town):
    before = outline_blob(town, "b03")
    for crs in (CRS84, uri(4490), uri(4549), uri(3857)):
        read = client.get(f"{ITEMS}/b03", params={"crs": crs})
        done = client.put(f"{ITEMS}/b03", json=read.json(), headers={"Content-Crs": read.headers["content-crs"]})
        assert done.status_code == 200, done.text
    assert outline_blob(town, "b03") == before
    assert client.get(f"{ITEMS}/b03").json()["properties"]["extra"] == {"备注": "old"}


def test_put_makes_a_feature_under_its_address(client, town):
    body = feature(on_the_wire(square(E, N), "OGC:CRS84"), height_m=3)
    address = f"{ITEMS}/新/1"
    once = client.put(address, json=body, headers={"If-None-Match": "*"})
    assert once.status_code == 201
    assert once.headers["location"] == "http://127.0.0.1:8000" + ITEMS + "/%E6%96%B0%2F1"
    assert client.get(once.headers["location"]).json()["id"] == "新/1"
    assert client.put(address, json=body, headers={"If-None-Match": "*"}).status_code == 412
    assert client.put(f"{ITEMS}/other", json=body, headers={"If-Match": "*"}).status_code == 412
    assert "other" not in stored(town).index
    assert client.get("/collections/building").json()["supportsNonAutogeneratedResourceIds"] is True


def test_a_patch_of_an_attribute_leaves_all_else_as_it_was(client, town):
    before = stored(town)
    done = client.patch(f"{ITEMS}/b05", json={"properties": {"name": "改", "floors": None}}, headers=PATCH)
    assert done.status_code == 200, done.text
    now = stored(town)
    assert (now.loc["b05"]["name"], np.isnan(now.loc["b05"]["floors"])) == ("改", True)
    same = [name for name in before.columns if name not in {"geometry", "name", "floors", "version", "valid_from"}]
    assert now[same].drop("b05").equals(before[same].drop("b05"))
    assert shapely.to_wkb(now.loc["b05"].geometry) == shapely.to_wkb(before.loc["b05"].geometry)
    assert client.patch(f"{ITEMS}/b05", json={"floors": 3}, headers=PATCH).status_code == 200
    assert stored(town).loc["b05"]["floors"] == 3


@pytest.mark.parametrize("code", ["OGC:CRS84", "EPSG:4490", "EPSG:4549", "EPSG:3857"])
def test_a_vertex_that_is_moved_moves_alone(client, town, code):
    crs = CRS84 if code == "OGC:CRS84" else uri(code.split(":")[1])
    was = shapely.get_coordinates(stored(town).loc["b10"].geometry)
    shape = client.get(f"{ITEMS}/b10", params={"crs": crs}).json()["geometry"]
    target = was[2] + (1.25, -0.75)
    shape["coordinates"][0][0][2] = on_the_wire(target[None], code)[0].tolist()
    done = client.patch(f"{ITEMS}/b10", json={"geometry": shape}, headers=PATCH | {"Content-Crs": crs})
    assert done.status_code == 200, done.text
    now = shapely.get_coordinates(stored(town).loc["b10"].geometry)
    np.testing.assert_allclose(now[2], target, rtol=0, atol=1e-4)
    np.testing.assert_array_equal(np.delete(now, 2, axis=0), np.delete(was, 2, axis=0))


def test_heights_of_vertices_that_were_not_moved_stay_too(client, town):
    was = shapely.get_coordinates(stored(town, "pipe_water").loc["p1"].geometry, include_z=True)
    shape = client.get("/collections/pipe_water/items/p1").json()["geometry"]
    shape["coordinates"][0][2] += 0.5
    done = client.patch("/collections/pipe_water/items/p1", json={"geometry": shape}, headers=PATCH)
    assert done.status_code == 200, done.text
    now = shapely.get_coordinates(stored(town, "pipe_water").loc["p1"].geometry, include_z=True)
    np.testing.assert_array_equal(now[1], was[1])
    np.testing.assert_allclose(now[0], was[0] + (0, 0, 0.5), rtol=0, atol=1e-4)


def test_heights_in_crs84h_are_ellipsoidal(client, town):
    """Above the ellipsoid a vertex is its normal height and the anomaly of EGM96."""
    address = "/collections/pipe_water/items/p2"
    crs84h = "http://www.opengis.net/def/crs/OGC/0/CRS84h"
    was = shapely.get_coordinates(stored(town, "pipe_water").loc["p2"].geometry, include_z=True)
    read = client.get(address, params={"crs": crs84h}).json()["geometry"]
    assert abs(read["coordinates"][0][2] - was[0, 2]) > 5  # so that this test means something
    done = client.patch(address, json={"geometry": read}, headers=PATCH | {"Content-Crs": crs84h})
    assert done.status_code == 200, done.text
    now = shapely.get_coordinates(stored(town, "pipe_water").loc["p2"].geometry, include_z=True)
    np.testing.assert_array_equal(now, was)
    read["coordinates"][1][2] += 1
    assert client.patch(address, json={"geometry": read}, headers=PATCH | {"Content-Crs": crs84h}).status_code == 200
    now = shapely.get_coordinates(stored(town, "pipe_water").loc["p2"].geometry, include_z=True)
    np.testing.assert_allclose(now - was, [[0, 0, 0], [0, 0, 1]], rtol=0, atol=2e-4)


def test_a_merge_patch_may_leave_out_the_type_of_the_geometry(client, town):
    coordinates = polygon(on_the_wire(square(E, N), "OGC:CRS84"))["coordinates"]
    done = client.patch(f"{ITEMS}/b11", json={"geometry": {"coordinates": [coordinates]}}, headers=PATCH)
    assert done.status_code == 200, done.text
    corners = shapely.get_coordinates(stored(town).loc["b11"].geometry)
    np.testing.assert_allclose(corners, square(E, N), rtol=0, atol=1e-4)


def test_what_the_store_keeps_itself_may_come_back_but_not_change(client, town):
    read = client.get(f"{ITEMS}/b06").json()["properties"]
    back = {name: read[name] for name in ("version", "valid_from", "valid_to")}
    assert client.patch(f"{ITEMS}/b06", json={"properties": back | {"floors": 2}}, headers=PATCH).status_code == 200
    refused = client.patch(f"{ITEMS}/b06", json={"properties": {"version": 99}}, headers=PATCH)
    assert refused.status_code == 400
    assert "properties.version" in refused.json()["detail"]
    new = feature(on_the_wire(square(E, N), "OGC:CRS84"), None, version=None, valid_from=None, valid_to=None, id=None)
    assert client.post(ITEMS, json=new, headers=GEOJSON).status_code == 201


def test_deleted_is_gone_now_and_there_in_the_past(client, town):
    moment = client.get(f"{ITEMS}/b12").json()["properties"]["valid_from"]
    gone = client.delete(f"{ITEMS}/b12")
    assert (gone.status_code, gone.content) == (204, b"")
    assert "b12" not in stored(town).index
    assert client.get(f"{ITEMS}/b12").status_code == 404
    assert client.delete(f"{ITEMS}/b12").status_code == 404
    assert client.get(f"{ITEMS}/b12", params={"datetime": moment}).status_code == 200
    assert client.get(ITEMS, params={"limit": 1}).json()["numberMatched"] == 36


def test_an_edit_names_the_state_it_was_made_on(client):
    tag = client.get(f"{ITEMS}/b01").headers["etag"]
    other = client.get(f"{ITEMS}/b02").headers["etag"]
    as_html = client.get(f"{ITEMS}/b01", params={"f": "html"}).headers["etag"]
    north = client.get(f"{ITEMS}/b01", params={"crs": uri(4549)}).headers["etag"]
    assert len({tag, as_html, north}) == 3  # a strong tag is of one representation
    assert not tag.startswith("W/")
    done = client.patch(f"{ITEMS}/b01", json={"floors": 5}, headers=PATCH | {"If-Match": north})
    assert done.status_code == 200
    for stale in (tag, as_html, north, "W/" + tag, f'"x", {tag}', other, '"x"', "nonsense"):
        for method, body in (("PATCH", {"floors": 2}), ("PUT", feature(on_the_wire(square(E, N), CRS84)))):
            refused = client.request(method, f"{ITEMS}/b01", json=body, headers={"If-Match": stale})
            assert refused.status_code == 412, (method, stale)
            assert "If-Match" in refused.json()["detail"]
        assert client.delete(f"{ITEMS}/b01", headers={"If-Match": stale}).status_code == 412
    assert client.get(f"{ITEMS}/b01").json()["properties"]["floors"] == 5
    # the answer to an edit has the tag for the next one; a list, a tag that a proxy weakened, and * do too
    tag = done.headers["etag"]
    for match in (tag, "W/" + client.get(f"{ITEMS}/b01").headers["etag"], f'"x", {tag}', "*"):
        done = client.patch(f"{ITEMS}/b01", json={"floors": 5}, headers=PATCH | {"If-Match": match})
        assert done.status_code == 200, match
    # a feature that was not edited is still fresh for who has it
    assert client.get(f"{ITEMS}/b02", headers={"If-None-Match": other}).status_code == 304


def test_an_edit_may_say_since_when_the_feature_must_be_unchanged(client):
    read = client.get(f"{ITEMS}/b01").headers["last-modified"]
    early = "Mon, 01 Jan 2024 00:00:00 GMT"
    assert client.patch(f"{ITEMS}/b01", json={"floors": 5}, headers={"If-Unmodified-Since": early}).status_code == 412
    assert client.patch(f"{ITEMS}/b01", json={"floors": 5}, headers={"If-Unmodified-Since": read}).status_code == 200
    odd = client.patch(f"{ITEMS}/b01", json={"floors": 5}, headers={"If-Unmodified-Since": "soon"})
    assert odd.status_code == 400
    assert "If-Unmodified-Since" in odd.json()["detail"]


def test_a_row_that_another_program_changed_in_place_is_another_state(client, town):
    tag = client.get(f"{ITEMS}/b01").headers["etag"]
    with contextlib.closing(sqlite3.connect(town.folder / "city.gpkg")) as db, db:
        for name in ("ST_IsEmpty", "ST_MinX", "ST_MaxX", "ST_MinY", "ST_MaxY"):  # triggers of the file name them
            db.create_function(name, 1, lambda _: 0)
        db.execute("UPDATE building SET floors = 77 WHERE id = 'b01' AND valid_to IS NULL")
    assert client.patch(f"{ITEMS}/b01", json={"floors": 5}, headers={"If-Match": tag}).status_code == 412
    assert client.get(f"{ITEMS}/b01", headers={"If-None-Match": tag}).json()["properties"]["floors"] == 77


def test_a_server_may_demand_that_the_state_is_named(town):
    with client_of(town, demand_if_match=True) as client:
        assert client.patch(f"{ITEMS}/b01", json={"floors": 5}).status_code == 428
        assert client.delete(f"{ITEMS}/b01").status_code == 428
        assert client.put(f"{ITEMS}/b01", json=feature(on_the_wire(square(E, N), CRS84))).status_code == 428
        tag = client.get(f"{ITEMS}/b01").headers["etag"]
        assert client.patch(f"{ITEMS}/b01", json={"floors": 5}, headers={"If-Match": tag}).status_code == 200
        one = {"action": "delete", "collection": "building", "filter": {"ids": ["b01"]}}
        assert client.post("/transactions", json={"transaction": [one]}).status_code == 428
        assert client.post("/transactions", json={"transaction": [one | {"version": 2}]}).status_code == 200


def test_prefer_minimal_leaves_the_body_out(client):
    done = client.patch(f"{ITEMS}/b01", json={"floors": 5}, headers={"Prefer": "return=minimal"})
    assert (done.status_code, done.content) == (204, b"")
    assert "etag" in done.headers


def test_a_store_that_another_one_writes_for_long_is_a_503(client, town, monkeypatch):
    def busy(*_):
        raise Busy("city.gpkg is being written by someone else.", "Try again later.")

    monkeypatch.setattr(type(town.store), "writing", busy)
    refused = client.patch(f"{ITEMS}/b01", json={"floors": 5})
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) > 0
    assert refused.headers["content-type"] == "application/problem+json"


def test_a_filter_in_the_body_answers_like_get(client):
    expression = {"op": ">", "args": [{"property": "height_m"}, 20]}
    expected = client.get(ITEMS, params={"filter": "height_m > 20", "limit": 3, "crs": uri(4549)}).json()
    for kind in ("application/query-cql-json", "application/json", "application/cql2+json"):
        got = client.post(
            ITEMS, params={"limit": 3, "crs": uri(4549)}, json=expression, headers={"Content-Type": kind}
        )  # fmt: skip
        assert got.status_code == 200, got.text
        assert got.json()["features"] == expected["features"]
        assert got.json()["numberMatched"] == expected["numberMatched"] > 3
    (following,) = [link["href"] for link in got.json()["links"] if link["rel"] == "next"]
    more = client.get(following).json()["features"]
    assert {each["id"] for each in more}.isdisjoint(each["id"] for each in expected["features"])
    assert all(each["properties"]["height_m"] > 20 for each in more)
    wrong = client.post(ITEMS, json={"op": ">", "args": [{"property": "nope"}, 20]})
    assert wrong.status_code == 400
    assert "nope" in wrong.json()["detail"]


def test_a_layer_of_the_build_and_a_hidden_one_cannot_be_edited(town):
    from twin.scope import Scope

    with client_of(town, scope=Scope("public", frozenset({"well"}))) as client:
        body = feature(on_the_wire(square(E, N), CRS84), "x")
        for answered in (
            client.post(ITEMS, json=body, headers=GEOJSON), client.put(f"{ITEMS}/x", json=body),
            client.patch(f"{ITEMS}/b01", json={"floors": 5}), client.delete(f"{ITEMS}/b01"), client.options(ITEMS),
            client.post("/transactions", json={"transaction": [
                {"action": "delete", "collection": "building", "filter": {"ids": ["b01"]}}]}),
        ):  # fmt: skip
            assert answered.status_code == 404, answered.request
    assert len(stored(town)) == 37
