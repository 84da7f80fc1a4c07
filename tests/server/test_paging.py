"""Orders and pages over HTTP, what is told in front of a page, and what is no token."""

import base64
import json
from urllib.parse import quote

import numpy as np
import pytest
import zstandard

from server import geojson_text, paging
from server.packing import packed

ITEMS = "/collections/building/items"


def pages(get, url):
    found = []
    while url:
        response = get(url)
        page = response.json()
        assert page["numberReturned"] == len(page["features"]) == int(response.headers["ogc-numberreturned"])
        assert page["numberMatched"] == int(response.headers["ogc-numbermatched"])
        links = {link["rel"]: link["href"] for link in page["links"]}
        assert all(f'<{href}>; rel="{rel}"' in response.headers["link"] for rel, href in links.items())
        found.append([feature["id"] for feature in page["features"]])
        url = links.get("next")
    return found


def in_order(get, key, *, descending=False):
    """Ids by Python's own sort of what one whole page says; nulls last, ties as stored."""
    features = get(f"{ITEMS}?limit=1000").json()["features"]
    known = [f for f in features if f["properties"][key] is not None]
    known.sort(key=lambda f: f["properties"][key], reverse=descending)
    return [f["id"] for f in [*known, *(f for f in features if f["properties"][key] is None)]]


@pytest.mark.parametrize("limit", [1, 6, 37, 50])
@pytest.mark.parametrize("key", ["name", "height_m", "floors", "heated", "built"])
@pytest.mark.parametrize("sign", ["", "%2B", "+", "-"])
def test_pages_in_an_order(get, key, sign, limit):
    found = pages(get, f"{ITEMS}?sortby={sign}{key}&limit={limit}")
    assert [each for page in found for each in page] == in_order(get, key, descending=sign == "-")
    assert len(found) == -(-37 // limit)


def test_two_keys_a_filter_a_box_and_an_offset(get):
    query = "sortby=-floors,name&filter=floors%20%3E%202&bbox=-180,-90,180,90"
    features = get(f"{ITEMS}?limit=1000&filter=floors%20%3E%202").json()["features"]
    features.sort(key=lambda f: (f["properties"]["name"] is None, f["properties"]["name"] or ""))
    features.sort(key=lambda f: -f["properties"]["floors"])
    expected = [feature["id"] for feature in features]
    assert [each for page in pages(get, f"{ITEMS}?{query}&limit=4") for each in page] == expected
    assert [each for page in pages(get, f"{ITEMS}?{query}&limit=4&offset=9") for each in page] == expected[9:]


def test_an_order_of_other_formats_goes_on_too(get):
    url, found = f"{ITEMS}?sortby=-height_m&limit=10&f=csv", []
    while url:
        response = get(url)
        found += [line.split(",")[0].strip('"') for line in response.text.lstrip("\ufeff").splitlines()[1:]]
        links = dict(part.split(">; rel=")[::-1] for part in response.headers["link"].split(", <"))
        url = next((href.lstrip("<") for rel, href in links.items() if rel.startswith('"next"')), None)
    assert found == in_order(get, "height_m", descending=True)


def token_of(get, query):
    links = get(f"{ITEMS}?{query}").json()["links"]
    href = next(link["href"] for link in links if link["rel"] == "next")
    return href.split("next=")[1].split("&")[0]


@pytest.mark.parametrize("change", ["", "x", "A", "-", "=", "AAAA"])
def test_forged_and_foreign_tokens_are_refused(get, change):
    token = token_of(get, "limit=3&sortby=name")
    for wrong in (change + token if change else token[:-4], f"{token}{change or 'A'}"[::-1], change or "0"):
        response = get(f"{ITEMS}?sortby=name&next={quote(wrong)}", 400)
        assert "next" in response.json()["detail"]
    for foreign in ("sortby=-name", "sortby=name,floors", "limit=3"):
        assert "another" in get(f"{ITEMS}?{foreign}&next={token}", 400).json()["detail"]
    assert "another" in get(f"/collections/well/items?sortby=name&next={token}", 400).json()["detail"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b"[1,2]",
        b'[2,"",[1]]',
        b"null",
        b'[1,"",5]',
        b"\xff\xfe",
        json.dumps([1, "", ["a"] * 9]).encode(),
    ],
)
def test_well_wrapped_nonsense_is_refused(get, content):
    for check in (b"", paging._check(content)):
        wrong = base64.urlsafe_b64encode(check + content).decode().rstrip("=")
        assert "next" in get(f"{ITEMS}?next={wrong}", 400).json()["detail"]


@pytest.mark.parametrize(
    "position", [[{"a": 1}, 3], [[1], 3], ["a", "b"], ["a", 2**63], ["a", -1.5], ["a", None], ["a", True]]
)
def test_a_token_of_ours_with_a_position_that_is_none_is_refused(get, position):
    wrong = paging.token("building", (("name", False),), tuple(position))
    get(f"{ITEMS}?sortby=name&next={wrong}", 400)
    get(f"{ITEMS}?next={paging.token('building', (), tuple(position[1:]))}", 200 if position[1:] == [3] else 400)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("sortby=", "sortby"),
        ("sortby=colour", "no attribute 'colour'"),
        ("sortby=name,,floors", "sortby"),
        ("sortby=name,-name", "given twice"),
        ("sortby=--name", "sortby"),
        ("sortby=" + ",".join(["id"] * 2000), "sortby"),
        ("sortby=geometry", "sortby"),
        ("next=", "next"),
        ("next=" + "A" * 5000, "next"),
        ("next=%E6%A5%BC", "next"),
        ("cursor=3", "no parameter 'cursor'"),
    ],
)
def test_what_is_no_order_or_no_token_is_refused_by_name(get, query, said):
    assert said in get(f"{ITEMS}?{query}", 400).json()["detail"]


def test_pages_cost_no_count_where_they_hold_everything(get, monkeypatch):
    monkeypatch.setattr("server.counting.matched", lambda *_: pytest.fail("counted"))
    assert get(f"{ITEMS}?limit=37").json()["numberMatched"] == 37
    assert get(f"{ITEMS}?filter=floors%20%3D%203").json()["numberMatched"] == 4


@pytest.mark.parametrize("most_bytes", [1, 300, 1000])
def test_chunks_are_bounded_by_their_geometries(get, monkeypatch, most_bytes):
    sizes, encode = [], geojson_text.encode
    monkeypatch.setattr("server.features.CHUNK_BYTES", most_bytes)
    monkeypatch.setattr(
        "server.features.geojson_text.encode", lambda i, *a: (sizes.append(i.blobs.sizes), encode(i, *a))[1]
    )
    features = get(f"{ITEMS}?limit=36&sortby=-height_m").json()["features"]
    assert sum(map(len, sizes)) == len(features) == 36
    assert all(each.sum() <= most_bytes or len(each) == 1 for each in sizes)
    assert len(sizes) > 1
    monkeypatch.undo()
    assert features == get(f"{ITEMS}?limit=36&sortby=-height_m").json()["features"]


def test_a_large_page_is_streamed_and_says_the_same(get, monkeypatch):
    whole = get(f"{ITEMS}?limit=36&sortby=-height_m").json()
    monkeypatch.setattr("server.features.CHUNK", 5)
    monkeypatch.setattr("server.features.WHOLE_BYTES", 100)
    response = get(f"{ITEMS}?limit=36&sortby=-height_m")
    assert "content-length" not in response.headers
    assert response.json()["features"] == whole["features"]
    assert response.json()["links"] == whole["links"]
    assert response.headers["ogc-numberreturned"] == "36"


@pytest.mark.parametrize("packing", ["gzip", "br", "zstd", "gzip;q=0, identity"])
def test_pages_come_packed_as_asked(get, packing):
    plain = get(f"{ITEMS}?limit=20", headers={"Accept-Encoding": "identity"})
    response = get(f"{ITEMS}?limit=20", headers={"Accept-Encoding": packing})
    body = response.content
    if response.content[:4] == b"\x28\xb5\x2f\xfd":  # httpx leaves zstd alone
        body = zstandard.ZstdDecompressor().decompress(body)
    assert json.loads(body)["features"] == plain.json()["features"]
    assert response.headers.get("content-encoding") == (None if ";" in packing else packing)
    assert "content-encoding" not in plain.headers
    assert response.headers["etag"] == plain.headers["etag"]


def test_packing_makes_coordinates_smaller():
    text = json.dumps(np.random.default_rng(0).random((2000, 2)).round(9).tolist()).encode()
    assert all(len(packed(text, each)) < 0.6 * len(text) for each in ("zstd", "br", "gzip"))


def test_head_and_304(get, client):
    first = get(f"{ITEMS}?limit=3&sortby=name")
    again = client.head(f"{ITEMS}?limit=3&sortby=name")
    assert again.status_code == 200
    assert again.content == b""
    assert again.headers["link"] == first.headers["link"]
    get(f"{ITEMS}?limit=3&sortby=name", 304, headers={"If-None-Match": first.headers["etag"]})


def test_sortables_are_what_sortby_takes(get):
    document = get("/collections/building/sortables").json()
    assert set(document["properties"]) == {"id", "name", "height_m", "floors", "heated", "built"}
    assert document["properties"]["built"]["format"] == "date"
    for name in document["properties"]:
        assert get(f"{ITEMS}?sortby=-{name}").json()["numberReturned"] == 37
    links = {link["rel"].rpartition("/")[2]: link for link in get("/collections/building").json()["links"]}
    assert get(links["sortables"]["href"]).headers["content-type"] == "application/schema+json"
    assert get("/conformance").json()["conformsTo"].count(
        "http://www.opengis.net/spec/ogcapi-features-8/0.0/conf/sorting"
    ) == 1  # fmt: skip
    get("/collections/building/sortables?x=1", 400)
    get("/collections/nothing/sortables", 404)
