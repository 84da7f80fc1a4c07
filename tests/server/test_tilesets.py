"""Addresses of 3D Tiles on the tiny city: forms, selections, validators, packing, refusals."""

import gzip
import json
import struct
from itertools import pairwise

import brotli
import httpx
import pytest
import zstandard

BASE = "/collections/building/3dtiles/"
ROOT = f"{BASE}explicit/tileset.json"


def contents(tile):
    own = [tile["content"]["uri"]] if "content" in tile else []
    return own + [uri for child in tile.get("children", []) for uri in contents(child)]


def table_ids(glb):
    """Public ids in a glb that is not packed, by the words of the specification."""
    (length,) = struct.unpack_from("<I", glb, 12)
    document, body = json.loads(glb[20 : 20 + length]), glb[28 + length :]
    (table,) = document["extensions"]["EXT_structural_metadata"]["propertyTables"]
    entry = table["properties"]["id"]
    kinds = {"UINT8": 1, "UINT16": 2, "UINT32": 4}
    width = kinds[entry.get("stringOffsetType", "UINT32")]

    def view(number):
        found = document["bufferViews"][number]
        return body[found["byteOffset"] : found["byteOffset"] + found["byteLength"]]

    offsets = view(entry["stringOffsets"])
    ends = [int.from_bytes(offsets[i : i + width], "little") for i in range(0, (table["count"] + 1) * width, width)]
    return [view(entry["values"])[a:b].decode() for a, b in pairwise(ends)]


@pytest.fixture
def meshed():
    return {f"b{i:02d}" if i != 7 else "楼/7 a&b" for i in range(37) if i % 4}


def test_the_explicit_form_lists_contents_that_nobody_need_ask_for_twice(get, meshed):
    document = get(ROOT)
    assert document.headers["content-type"] == "application/json"
    assert document.headers["cache-control"] == "no-cache"
    ids = []
    for uri in contents(document.json()["root"]):
        tile = get(f"{BASE}explicit/{uri}")
        assert tile.headers["content-type"] == "model/gltf-binary"
        assert "immutable" in tile.headers["cache-control"]
        ids += table_ids(tile.content)
        get(f"{BASE}explicit/{uri}", 304, headers={"If-None-Match": tile.headers["etag"]})
    assert sorted(ids) == sorted(meshed)


def test_bytes_under_an_old_print_are_not_kept_for_ever(get):
    stamp, name = contents(get(ROOT).json()["root"])[0].split("/")
    tile = get(f"{BASE}explicit/{'0' * len(stamp)}/{name}")
    assert tile.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("form", ["", "compat/"])
def test_the_implicit_forms_say_where_subtrees_and_contents_are(get, form):
    root = get(f"{BASE}{form}tileset.json").json()["root"]
    at = {"level": 0, "x": 0, "y": 0}
    piece = get(f"{BASE}{form}{root['implicitTiling']['subtrees']['uri'].format(**at)}")
    assert piece.content[:4] == b"subt"
    tile = get(f"{BASE}{form}{root['content']['uri'].format(**at)}")
    assert tile.content[:4] == b"glTF"
    assert tile.headers["cache-control"] == "no-cache"  # the address stays when the tile changes
    get(f"{BASE}{form}content/0/0/0.glb", 304, headers={"If-None-Match": tile.headers["etag"]})


def test_compat_and_explicit_serve_the_same_bytes_and_compact_fewer(get):
    explicit = get(f"{BASE}explicit/{contents(get(ROOT).json()['root'])[0]}").content
    assert get(f"{BASE}compat/content/0/0/0.glb").content == explicit
    assert len(get(f"{BASE}content/0/0/0.glb").content) < len(explicit)


@pytest.mark.parametrize(
    ("query", "keep"),
    [
        ("filter=height_m%20%3E%2020", lambda i: 3.0 * (i % 11) + 0.5 > 20),
        ("filter=floors%20IN%20(2,3)&filter-lang=cql2-text", lambda i: i % 11 in {2, 3}),
        ("filter=name%20IS%20NULL&v=7", lambda i: i % 5 == 0),
    ],
)
@pytest.mark.parametrize("form", ["compat", "explicit"])
def test_a_filter_leaves_what_passes_it(get, query, keep, form):
    document = get(f"{BASE}{form}/tileset.json?{query}").json()
    uri = document["root"]["content"]["uri"].format(level=0, x=0, y=0)
    found = table_ids(get(f"{BASE}{form}/{uri}?{query}").content)
    assert sorted(found) == sorted(f"b{i:02d}" if i != 7 else "楼/7 a&b" for i in range(37) if i % 4 and keep(i))
    other = get(f"{BASE}{form}/{uri}").headers["etag"]
    assert get(f"{BASE}{form}/{uri}?{query}").headers["etag"] != other


def test_a_moment_before_there_was_anything_has_no_tiles(get):
    assert "selection" in get(f"{BASE}tileset.json?datetime=1999-01-01T00:00:00Z", 404).json()["detail"]
    get(f"{BASE}compat/content/0/0/0.glb?filter=height_m%20%3E%205000", 404)


def test_a_moment_after_the_last_write_is_now(get):
    now = get(f"{BASE}compat/content/0/0/0.glb")
    later = get(f"{BASE}compat/content/0/0/0.glb?datetime=2999-01-01T00:00:00Z")
    assert later.content == now.content


@pytest.mark.parametrize(
    ("packing", "opened"),
    [("zstd", zstandard.ZstdDecompressor().decompress), ("br", brotli.decompress), ("gzip", gzip.decompress)],
)
def test_tiles_come_packed_as_the_reader_takes_them(client, packing, opened):
    plain = client.get(f"{BASE}compat/content/0/0/0.glb", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    with client.stream("GET", f"{BASE}compat/content/0/0/0.glb", headers={"Accept-Encoding": packing}) as answer:
        raw = b"".join(answer.iter_raw())
        assert answer.headers["content-encoding"] == packing
        assert "accept-encoding" in answer.headers["vary"].lower()
        assert answer.headers["etag"] == plain.headers["etag"]
    assert opened(raw) == plain.content
    assert len(raw) < len(plain.content)


@pytest.mark.parametrize(
    ("accept", "packing"),
    [("gzip, deflate, br, zstd", "zstd"), ("gzip;q=1.0, br;q=0.5", "br"), ("zstd;q=0, gzip", "gzip"), ("*", "zstd"),
     ("identity", None), ("zstd;q=nonsense", None), ("", None)],
)  # fmt: skip
def test_the_best_packing_that_is_taken_is_chosen(client, accept, packing):
    answer = client.get(f"{BASE}compat/content/0/0/0.glb", headers={"Accept-Encoding": accept})
    assert answer.headers.get("content-encoding") == packing


@pytest.mark.parametrize("form", ["", "compat/", "explicit/"])
def test_the_city_refers_to_the_tilesets_of_its_layers(client, form):
    start = f"/3dtiles/{form}tileset.json"
    document = client.get(start).json()
    (child,) = [each for each in document["root"]["children"] if each["extras"]["layer"] == "building"]
    address = httpx.URL(f"http://city.test{start}").join(child["children"][0]["content"]["uri"])
    assert address.path == f"{BASE}{form}tileset.json"
    assert client.get(address.path).status_code == 200
    tag = client.get(start).headers["etag"]
    assert client.get(start, headers={"If-None-Match": tag}).status_code == 304


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/collections/well/3dtiles/tileset.json", 404),
        ("/collections/nothing/3dtiles/tileset.json", 404),
        (f"{BASE}explicit/../../../etc/passwd", 404),
        (f"{BASE}explicit/9-9-9.glb", 404),
        (f"{BASE}content/30/0/0.glb", 404),
        (f"{BASE}content/0/-1/0.glb", 404),
        (f"{BASE}content/0/0/0.b3dm", 404),
        (f"{BASE}subtrees/3/0/0.subtree", 404),
        (f"{BASE}compat/compat/tileset.json", 404),
        ("/3dtiles/other/tileset.json", 404),
        ("/3dtiles/content/0/0/0.glb", 404),
        (f"{BASE}tileset.json?filter=nothing%20%3D%201", 400),
        (f"{BASE}tileset.json?filter={'(' * 400}height_m{')' * 400}%20%3E%201", 400),
        (f"{BASE}tileset.json?filter-lang=cql2-text", 400),
        (f"{BASE}tileset.json?filter=height_m%3E1&filter-lang=sql", 400),
        (f"{BASE}tileset.json?datetime=yesterday", 400),
        (f"{BASE}tileset.json?colour=red", 400),
        ("/3dtiles/tileset.json?filter=height_m%3E1", 400),
    ],
)
def test_what_cannot_be_answered_is_a_problem(get, path, status):
    assert get(path, status).headers["content-type"] == "application/problem+json"
