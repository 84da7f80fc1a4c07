"""Several changes in one request: all of them, or none; each for itself where that is asked for."""

import contextlib
import sqlite3

import jsonschema
import numpy as np
import pytest
import shapely

import twin
from tests.server.test_editing import CRS84, ITEMS, E, N, client_of, feature, on_the_wire, polygon, square, stored, uri
from tests.stores import copy_twin

TX = "/transactions"


@pytest.fixture
def town(folder, tmp_path):
    copy = tmp_path / "city"
    copy_twin(folder, copy)
    with twin.open(copy) as opened:
        yield opened


@pytest.fixture
def client(town):
    with client_of(town) as session:
        yield session


def everything(town):
    with contextlib.closing(sqlite3.connect(town.folder / "city.gpkg")) as db:
        names = ("building", "pipe_water", "well", "meter_record")
        return {name: db.execute(f'SELECT * FROM "{name}"').fetchall() for name in names}


def send(client, *actions, **more):
    return client.post(
        TX, json={"transaction": list(actions), **more}, headers={"Content-Type": "application/ogc-tx+json"}
    )


NEW = feature(on_the_wire(square(E, N), CRS84), "n0", height_m=6.0)
INSERT = {"action": "insert", "collection": "building", "items": [NEW]}
MOVE = {
    "action": "update", "collection": "well", "filter": {"ids": ["w1"]},
    "properties": {"modify": [{"name": "geometry", "value": {"type": "Point", "coordinates": []}}]},
}  # fmt: skip
RENAME = {
    "action": "update", "collection": "building", "filter": "floors >= 9", "filter-lang": "cql2-text",
    "properties": {"modify": [{"name": "name", "value": "tall"}], "delete": ["built"]},
}  # fmt: skip
DELETE = {"action": "delete", "collection": "pipe_water", "filter": {"op": ">", "args": [{"property": "dn_mm"}, 250]}}


def test_changes_of_several_layers_are_one(client, town):
    was = stored(town)
    tall = set(was.index[was["floors"] >= 9])
    target = shapely.Point(E, N)
    move = MOVE | {"properties": {"modify": [{"name": "geometry", "value": {
        "type": "Point", "coordinates": on_the_wire(np.array([[E, N]]), CRS84)[0].tolist()}}]}}  # fmt: skip
    replaced = feature(on_the_wire(square(E + 30, N), CRS84), height_m=9.0)
    replace = {
        "action": "replace",
        "collection": "building",
        "filter": {"ids": ["b00"]},
        "properties": {"feature": replaced},
    }
    done = send(client, INSERT, move, RENAME, DELETE | {"id": "thick ones"}, replace)
    assert done.status_code == 200, done.text
    document = done.json()
    assert document["summary"] == {
        "totalInserted": 1, "totalUpdated": 1 + len(tall), "totalReplaced": 1, "totalDeleted": 3
    }  # fmt: skip
    base = "http://127.0.0.1:8000/collections"
    assert document["insertResults"] == [f"{base}/building/items/n0"]
    assert document["deleteResults"] == [f"{base}/pipe_water/items/p{i}" for i in (2, 3, 4)]
    assert document["results"][3]["id"] == "thick ones"
    assert {each["version"] for each in document["results"][3]["features"]} == {0}
    now = stored(town)
    assert set(now.index) - set(was.index) == {"n0"}
    assert set(now.index[now["name"] == "tall"]) == tall
    assert now.loc[sorted(tall), "built"].isna().all()
    assert now.loc["b00", "height_m"] == 9.0
    assert stored(town, "well").loc["w1"].geometry.distance(target) < 1e-4
    assert set(stored(town, "pipe_water").index) == {"p0", "p1"}
    for each in document["results"][0]["features"]:
        assert client.get(each["href"]).json()["properties"]["version"] == each["version"]


WRONG = {
    "a later insert is wrong": (
        INSERT | {"items": [NEW | {"id": "n1", "properties": {"height_m": "x"}}]}, 400,
        "transaction[1].items[0].properties.height_m"),
    "the id is taken by the first": (INSERT, 409, "transaction[1].items[0].id"),
    "no such feature": (DELETE | {"filter": {"ids": ["p1", "nope"]}}, 404, "transaction[1].filter: pipe_water has no"),
    "no such layer": (DELETE | {"collection": "nope"}, 404, "nope"),
    "another version": (DELETE | {"filter": {"ids": ["p1"]}, "version": 7}, 409, "version 1, not 7"),
    "another version by id": (DELETE | {"filter": {"ids": ["p0", "p1"]}, "version": {"p1": 3}}, 409, "'p1'"),
    "version is text": (DELETE | {"version": "1"}, 400, "transaction[1].version"),
    "no filter": ({"action": "delete", "collection": "well"}, 400, "transaction[1].filter"),
    "null filter": ({"action": "delete", "collection": "well", "filter": None}, 400, "transaction[1].filter"),
    "empty ids": ({"action": "delete", "collection": "well", "filter": {"ids": []}}, 400, "transaction[1].filter.ids"),
    "filter is no CQL2": (DELETE | {"filter": "dn_mm >"}, 400, "transaction[1].filter"),
    "unknown attribute in filter": (DELETE | {"filter": "nope = 1"}, 400, "nope"),
    "unknown action": ({"action": "upsert", "collection": "well"}, 400, "transaction[1].action"),
    "unknown member": (DELETE | {"items": []}, 400, "transaction[1].items"),
    "not an object": ("delete", 400, "transaction[1]: a JSON object"),
    "no items": ({"action": "insert", "collection": "well"}, 400, "transaction[1].items"),
    "one geometry for many": (
        {"action": "update", "collection": "well", "filter": "1=1",
         "properties": {"modify": [{"name": "geometry", "value": {"type": "Point", "coordinates": [121.0, 28.1]}}]}},
        400, "transaction[1].properties: one geometry"),
    "replace of many": (
        {"action": "replace", "collection": "building", "filter": "1=1", "properties": {"feature": NEW}}, 400,
        "transaction[1].filter"),
    "wrong value": (
        RENAME | {"properties": {"modify": [{"name": "height_m", "value": "x"}]}}, 400, "properties.height_m"),
    "no name": (RENAME | {"properties": {"modify": [{"value": "x"}]}}, 400, "properties.modify[0]"),
    "odd update": (RENAME | {"properties": {"set": []}}, 400, "transaction[1].properties.set"),
    "the build's layer": ({"action": "delete", "collection": 7}, 400, "transaction[1].collection"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_if_one_is_wrong_none_is_stored(client, town, name):
    action, status, words = WRONG[name]
    before = everything(town)
    answered = send(client, INSERT, action)
    assert answered.status_code == status, answered.text
    assert words in answered.json()["detail"], answered.json()["detail"]
    assert everything(town) == before


@pytest.mark.parametrize(
    ("document", "words"),
    [({}, "transaction"), ({"transaction": []}, "transaction"), ({"transaction": {}}, "transaction"),
     ({"transaction": [INSERT], "semantic": "eventual"}, "semantic"), ({"transaction": [INSERT] * 1001}, "1,000"),
     ([], "an array")],
)  # fmt: skip
def test_a_wrong_transaction_is_a_400_that_names_the_member(client, document, words):
    answered = client.post(TX, json=document)
    assert answered.status_code == 400
    assert words in answered.json()["detail"]


def test_in_a_batch_each_action_is_for_itself(client, town):
    wrong = INSERT | {"items": [NEW | {"id": "n1", "properties": {"height_m": "x"}}]}
    stale = DELETE | {"filter": {"ids": ["p1"]}, "version": 7}
    done = send(client, INSERT, wrong, stale, DELETE, semantic="batch")
    assert done.status_code == 200
    document = done.json()
    assert document["summary"] == {"totalInserted": 1, "totalUpdated": 0, "totalReplaced": 0, "totalDeleted": 3}
    assert [(each["action"], each["status"]) for each in document["exceptions"]] == [(1, 400), (2, 409)]
    assert "transaction[1].items[0].properties.height_m" in document["exceptions"][0]["detail"]
    assert "n0" in stored(town).index
    assert set(stored(town, "pipe_water").index) == {"p0", "p1"}


def test_features_of_a_transaction_are_in_the_crs_of_the_body(client, town):
    made = NEW | {"geometry": polygon(square(E, N)[:, ::-1])}
    headers = {"Content-Crs": uri(4549)}
    done = client.post(TX, json={"transaction": [INSERT | {"items": [made]}]}, headers=headers)
    assert done.status_code == 200, done.text
    np.testing.assert_array_equal(shapely.get_coordinates(stored(town).loc["n0"].geometry), square(E, N))


def test_preferences_of_the_answer(client):
    minimal = client.post(TX, json={"transaction": [INSERT]}, headers={"Prefer": "return=minimal"}).json()
    assert set(minimal) == {"semantic", "summary"}
    none = client.post(TX, json={"transaction": [DELETE]}, headers={"Prefer": "return=none"})
    assert (none.status_code, none.content) == (204, b"")


def test_a_filter_that_chooses_nothing_changes_nothing(client, town):
    before = everything(town)
    done = send(client, DELETE | {"filter": "dn_mm > 9000"}, RENAME | {"filter": "floors > 900"})
    assert done.json()["summary"]["totalDeleted"] == done.json()["summary"]["totalUpdated"] == 0
    assert everything(town) == before


def test_the_answers_are_as_the_api_describes_them(client):
    document = client.get("/api").json()
    for path, method in (
        ("/collections/{featuresId}/items", "post"), ("/collections/{featuresId}/items/{featureId}", "put"),
        ("/collections/{featuresId}/items/{featureId}", "patch"),
        ("/collections/{featuresId}/items/{featureId}", "delete"), (TX, "post"),
    ):  # fmt: skip
        operation = document["paths"][path][method]
        assert {"403", "default"} <= set(operation["responses"])
        assert method == "delete" or operation["requestBody"]["content"]
    declared = client.get("/conformance").json()["conformsTo"]
    for each in (
        "features-4/1.0/conf/create-replace-delete", "features-4/1.0/conf/update", "features-4/1.0/conf/features",
        "features-4/1.0/conf/optimistic-locking-etags", "features-11/1.0/conf/atomic-transactions",
        "features-11/1.0/conf/json-transactions", "features-11/1.0/conf/batch-transactions",
    ):  # fmt: skip
        assert f"http://www.opengis.net/spec/ogcapi-{each}" in declared

    def schema(path, method, status):
        found = document["paths"][path][method]["responses"][status]["content"]["application/json"]["schema"]
        return jsonschema.Draft202012Validator(found)

    made = client.post(ITEMS, json=NEW)
    schema("/collections/{featuresId}/items", "post", "201").validate(made.json())
    changed = client.patch(f"{ITEMS}/n0", json={"floors": 2})
    schema("/collections/{featuresId}/items/{featureId}", "patch", "200").validate(changed.json())
    schema(TX, "post", "200").validate(send(client, DELETE).json())
    own = client.get("/collections/building/schema").json()["properties"]
    assert [name for name, each in own.items() if each.get("readOnly")] == ["version", "valid_from", "valid_to"]


def test_who_may_not_edit_may_not_here(town):
    with client_of(town, client="203.0.113.9") as client:
        assert send(client, INSERT).status_code == 403
        assert client.options(TX).headers["allow"] == "OPTIONS"
    with client_of(town) as client:
        assert "POST" in client.options(TX).headers["allow"]
