"""OWSLib creates, replaces and deletes; an edit through one of several processes is seen by the next request to any."""

import concurrent.futures
import json

import httpx
import pytest
from owslib.ogcapi.features import Features

from tests.clients.conftest import served
from tests.stores import copy_twin

pytestmark = pytest.mark.client
PATCH = {"Content-Type": "application/merge-patch+json"}


@pytest.fixture
def copy(town_twin, tmp_path):
    folder = tmp_path / "twin"
    return copy_twin(town_twin, folder)


def made(address, feature_id, **own):
    """A new building beside an old one, in CRS84."""
    old = httpx.get(f"{address}collections/building/items/B00001").json()
    ring = [[x + 0.0004, y + 0.0004] for x, y, *_ in old["geometry"]["coordinates"][0][0]]
    return {"type": "Feature", "id": feature_id, "geometry": {"type": "MultiPolygon", "coordinates": [[ring]]},
            "properties": {"height_m": 7.5, **own}}  # fmt: skip


@pytest.mark.parametrize("as_text", [False, True])
def test_owslib_creates_replaces_asks_and_deletes(copy, tmp_path, as_text):
    with served(copy, tmp_path / "log.txt") as address:
        client = Features(address)
        count = client.collection_items("building", limit=1)["numberMatched"]
        feature = made(address, "ows-1", name="甲")
        assert client.collection_item_create("building", json.dumps(feature) if as_text else feature)
        assert client.collection_item("building", "ows-1")["properties"]["height_m"] == 7.5
        assert client.collection_items("building", limit=1)["numberMatched"] == count + 1
        feature["properties"] = {"height_m": 8.5}
        # a fresh client: OWSLib keeps the Content-Type of the request before; without one it sends none
        client = Features(address, headers={"User-Agent": "OWSLib"})
        client.headers.pop("Content-Type", None)
        assert client.collection_item_update("building", "ows-1", json.dumps(feature))
        now = client.collection_item("building", "ows-1")["properties"]
        assert (now["height_m"], now["name"]) == (8.5, None)
        asked = {"op": "=", "args": [{"property": "height_m"}, 8.5]}
        expected = client.collection_items("building", filter="height_m = 8.5", limit=50)
        found = client.collection_items("building", cql=asked, limit=50)
        assert found["features"] == expected["features"]
        assert "ows-1" in {each["id"] for each in found["features"]}
        assert client.collection_item_delete("building", "ows-1")
        assert client.collection_items("building", limit=1)["numberMatched"] == count


def test_an_edit_through_one_process_is_seen_by_the_next_request_to_any(copy, tmp_path):
    with served(copy, tmp_path / "log.txt", "--workers", "2") as address:
        one = f"{address}collections/building/items/B00001"
        # each without keep-alive, so that both processes are met
        for height in range(20, 30):
            done = httpx.patch(one, json={"properties": {"height_m": height}}, headers=PATCH, timeout=60)
            assert done.status_code == 200, done.text
            tags = set()
            for _ in range(8):
                read = httpx.get(one, timeout=60)
                assert read.json()["properties"]["height_m"] == height
                tags.add(read.headers["etag"])
            assert len(tags) == 1
            assert next(iter(tags)).split("-")[0] == done.headers["etag"].split("-")[0]


def test_of_many_who_edit_one_state_at_once_one_succeeds(copy, tmp_path):
    with served(copy, tmp_path / "log.txt", "--workers", "2") as address:
        one = f"{address}collections/building/items/B00001"
        tag = httpx.get(one, timeout=60).headers["etag"]

        def edit(height):
            answered = httpx.patch(
                one, json={"properties": {"height_m": height}}, headers=PATCH | {"If-Match": tag}, timeout=120
            )
            return answered.status_code, height

        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(edit, range(30, 42)))
        assert sorted(status for status, _ in answers) == [200, *[412] * 11]
        (height,) = [height for status, height in answers if status == 200]
        now = httpx.get(one, timeout=60).json()["properties"]
        assert (now["height_m"], now["version"]) == (height, 2)


def test_a_body_that_is_too_large_is_answered_by_a_real_server_too(copy, tmp_path):
    with served(copy, tmp_path / "log.txt") as address:
        body = b'{"type":"Feature","properties":{},"geometry":{"type":"Polygon","coordinates":[['
        body += b",".join([b"[121.123456789,28.123456789]"] * 1_000_000) + b"]]}}"
        url = f"{address}collections/building/items"
        headers = {"Content-Type": "application/geo+json"}
        for content in (body, (body[i : i + 65_536] for i in range(0, len(body), 65_536))):  # known length, and chunked
            answered = httpx.post(url, content=content, headers=headers, timeout=60)
            assert answered.status_code == 413
            assert "10000000" in answered.json()["detail"]
