"""Routes of the terrain on the tiny city: addresses, extensions by `Accept`, surfaces, refusals."""

import pytest

from server.terrain import asked_extensions
from tests.tiles.quantized_reader import decode

CESIUM = "application/vnd.quantized-mesh;extensions={},application/octet-stream;q=0.9,*/*;q=0.01"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", ()),
        ("*/*", ()),
        ("application/vnd.quantized-mesh,application/octet-stream;q=0.9", ()),  # QGIS
        (CESIUM.format("octvertexnormals"), ("octvertexnormals",)),
        (CESIUM.format("watermask-metadata-octvertexnormals"), ("octvertexnormals", "metadata")),
        ("application/vnd.quantized-mesh; extensions=metadata", ("metadata",)),
        ("text/html;extensions=octvertexnormals", ()),
        (",;=,;;extensions,application/vnd.quantized-mesh;extensions", ()),
    ],
)
def test_extensions_are_those_asked_for_and_offered(accept, expected):
    assert asked_extensions(accept) == expected


@pytest.mark.parametrize("root", ["/terrain", "/terrain/derived"])
def test_only_what_is_asked_for_is_appended(get, root):
    address = f"{root}/0/1/0.terrain"
    plain = get(address)
    assert decode(plain.content)["extensions"] == {}
    assert plain.headers["content-type"] == "application/vnd.quantized-mesh"
    both = get(address, headers={"Accept": CESIUM.format("octvertexnormals-watermask-metadata")})
    assert sorted(decode(both.content)["extensions"]) == [1, 4]
    assert both.headers["content-type"] == "application/vnd.quantized-mesh;extensions=octvertexnormals-metadata"
    assert "Accept" in both.headers["vary"]
    assert both.headers["etag"] != plain.headers["etag"]


def test_layer_json_points_at_tiles_that_may_be_kept_for_ever(get):
    layer = get("/terrain/layer.json").json()
    address = layer["tiles"][0].format(z=0, x=1, y=0, version=layer["version"])
    tile = get(f"/terrain/{address}")
    assert "immutable" in tile.headers["cache-control"]
    assert "immutable" not in get("/terrain/0/1/0.terrain").headers["cache-control"]
    assert get("/terrain/derived/layer.json").json()["extras"]["surface"] == "derived"
    get(f"/terrain/{address}", 304, headers={"If-None-Match": tile.headers["etag"]})


@pytest.mark.parametrize(
    "path",
    [
        "/terrain/0/-1/0.terrain",
        "/terrain/0/2/0.terrain",
        "/terrain/-1/0/0.terrain",
        "/terrain/99/0/0.terrain",
        "/terrain/0/0/0.png",
        "/terrain/0/0/0",
        "/terrain/0/0/x.terrain",
        "/terrain/0/0/0.5.terrain",
        "/terrain/1" + "0" * 60 + "/0/0.terrain",
        "/terrain/0/1" + "0" * 60 + "/0.terrain",
        "/terrain/nothing/layer.json",
        "/terrain/nothing/0/0/0.terrain",
        "/terrain/derived/0/5/0.terrain",
    ],
)
def test_what_there_is_not_is_a_problem(get, path):
    answer = get(path, 404, headers={"If-None-Match": "*"})
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.content) < 1000
