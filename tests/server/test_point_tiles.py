"""Point tiles through the server: walked as a client walks them, every point once; what is wrong is told."""

import json
from urllib.parse import urljoin

import laspy
import numpy as np
import pytest
from starlette.testclient import TestClient

import twin
from server.app import create_app
from server.build import build
from server.settings import Settings
from tests.tiles import point_clouds as clouds

ROOT = "/collections/point_cloud/3dtiles"
N = 50_000
TOML = """
name = "tiny"
crs = "EPSG:4549"
origin = [121.0, 28.1]
height_model = {constant_m = 12.5}
"""


def served(folder):
    city = twin.open(folder)
    return city, TestClient(create_app(city, Settings(access_log=False, warm_up=False)))


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Two clouds side by side: 50,000 points with colours, 800 classified ones without."""
    folder = tmp_path_factory.mktemp("points") / "in"
    folder.mkdir()
    (folder / "city.toml").write_text(TOML)
    rng = np.random.default_rng(5)
    bands = {band: rng.integers(0, 65536, N).astype(np.uint16) for band in ("red", "green", "blue")}
    clouds.write_las(folder / "east.laz", clouds.hills(N), **bands)
    classes = np.resize(np.array([2, 6], np.uint8), 800)
    xyz = clouds.hills(800, 50.0, low=(596900.0, 3109000.0))
    clouds.write_las(folder / "west.las", xyz, format_id=6, classification=classes)
    return folder


@pytest.fixture(scope="module")
def built(sources):
    target = sources.parent / "twin"
    result = build(sources, target)
    assert [report.status for report in result.reports] == ["stored", "stored"]
    return target


@pytest.fixture(scope="module")
def client(built):
    city, session = served(built)
    with city, session:
        yield session


def walk(client, start):
    """Contents by address, from a root document on, along relative addresses; nothing may fail."""
    found, waiting = {}, [(start, np.eye(4))]
    while waiting:
        address, outer = waiting.pop()
        response = client.get(address)
        assert response.status_code == 200, (address, response.text[:300])
        if response.headers["content-type"] == "model/gltf-binary":
            found[address] = (clouds.read_glb(response.content), outer)
            continue
        root = response.json()["root"]
        transform = outer @ np.array(root.get("transform", np.eye(4).ravel())).reshape(4, 4).T
        tiles = [root]
        while tiles:
            tile = tiles.pop()
            tiles += tile.get("children", [])
            if "content" in tile:
                waiting.append((urljoin(address, tile["content"]["uri"]), transform))
    return found


@pytest.mark.parametrize(("form", "bound_m"), [("", 0.002), ("compat/", 3e-5), ("explicit/", 3e-5)])
def test_every_point_of_every_cloud_comes_through_the_layers_tileset(client, sources, form, bound_m):
    found = walk(client, f"{ROOT}/{form}tileset.json")
    names = {"east": "east.laz", "west": "west.las"}
    seen = {name: [] for name in names}
    for content, transform in found.values():
        asset = content["document"]["asset"]["extras"]["asset"]
        seen[asset].append((content, content["enu"] @ transform[:3, :3].T + transform[:3, 3], transform[:3, :3]))
    for asset, contents in seen.items():
        las = laspy.read(sources / names[asset])
        order = np.concatenate([content["_INTENSITY"] for content, *_ in contents]).astype(int)
        np.testing.assert_array_equal(np.sort(order), np.arange(len(las.points)))
        true = clouds.expected_ecef(np.stack([las.x, las.y, las.z], axis=1), "EPSG:4549")
        off = (np.concatenate([each for _, each, _ in contents]) - true[order]) @ contents[0][2]
        assert np.abs(off).max() <= bound_m
        classes = np.concatenate([content["_CLASSIFICATION"] for content, *_ in contents])
        np.testing.assert_array_equal(classes, np.asarray(las.classification)[order])


def test_the_citys_tileset_leads_to_the_clouds(client):
    for form in ("", "compat/", "explicit/"):
        found = walk(client, f"/3dtiles/{form}tileset.json")
        assert sum(len(content["enu"]) for content, _ in found.values()) == N + 800
        packed = {"extensionsRequired" in content["document"] for content, _ in found.values()}
        assert packed == {form == ""}


def test_the_citys_tileset_contains_the_clouds(client):
    """Boxes of a parent hold those of its children, all in geocentric coordinates."""
    root = client.get("/3dtiles/tileset.json").json()["root"]
    tiles = [root, *client.get(f"{ROOT}/tileset.json").json()["root"]["children"]]
    volume = np.array(root["boundingVolume"]["box"]).reshape(4, 3)
    for tile in tiles[1:]:
        box = np.array(tile["boundingVolume"]["box"]).reshape(4, 3)
        corners = [box[0] + x * box[1] + y * box[2] + z * box[3] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
        inside = np.linalg.solve(volume[1:].T, (np.array(corners) - volume[0]).T)
        assert np.abs(inside).max() <= 1.001
        assert tile["geometricError"] < root["geometricError"]


def test_parameters_reach_the_tiles_without_the_clients_help(client):
    """`walk` copies no query: the addresses have it."""
    found = walk(client, f"{ROOT}/tileset.json?classes=6&color=class")
    assert {content["document"]["asset"]["extras"]["asset"] for content, _ in found.values()} == {"west"}
    values = np.concatenate([content["_CLASSIFICATION"] for content, _ in found.values() if len(content["enu"])])
    assert (len(values), set(values)) == (400, {6})
    colours = np.concatenate([content["COLOR_0"] for content, _ in found.values() if len(content["enu"])])
    assert len(np.unique(colours, axis=0)) == 1


def test_a_client_that_copies_the_query_gets_the_same(client):
    address = next(iter(walk(client, f"{ROOT}/west/tileset.json?color=class")))
    once, twice = client.get(address), client.get(f"{address}&color=class&v=12")
    assert once.status_code == twice.status_code == 200
    assert once.content == twice.content


def test_an_order_or_a_repetition_of_classes_is_no_other_tile(client):
    address = next(iter(walk(client, f"{ROOT}/west/tileset.json"))).partition("?")[0]
    tags = {client.get(f"{address}?classes={each}").headers["etag"] for each in ("2,6", "6,2", "6,2,2", "06,2")}
    assert len(tags) == 1


def test_tiles_are_kept_for_ever_and_documents_are_asked_for_again(client):
    document = client.get(f"{ROOT}/east/tileset.json")
    assert document.headers["cache-control"] == "no-cache"
    uri = document.json()["root"]["content"]["uri"]
    address = urljoin(f"{ROOT}/east/tileset.json", uri)
    tile = client.get(address)
    assert "immutable" in tile.headers["cache-control"]
    for response, where in ((document, f"{ROOT}/east/tileset.json"), (tile, address)):
        again = client.get(where, headers={"If-None-Match": response.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    old = address.replace(uri.partition("/")[0], "0123456789abcdef")
    assert client.get(old).content == tile.content
    assert client.get(old).headers["cache-control"] == "no-cache"
    tags = {client.get(f"{address}{query}").headers["etag"] for query in ("", "?color=height", "?classes=0")}
    tags.add(client.get(address.replace("/east/", "/compat/east/")).headers["etag"])
    assert len(tags) == 4


@pytest.mark.parametrize("packing", ["gzip", "br", "zstd", "identity"])
def test_tiles_come_packed_as_the_client_likes(client, packing):
    import gzip

    import brotli
    import zstandard

    address = next(iter(walk(client, f"{ROOT}/compat/west/tileset.json")))
    with client.stream("GET", address, headers={"Accept-Encoding": packing}) as response:
        raw = b"".join(response.iter_raw())
        assert response.headers.get("content-encoding", "identity") == packing
    unpack = {
        "gzip": gzip.decompress, "br": brotli.decompress, "identity": bytes,
        "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
    }[packing]  # fmt: skip
    assert len(clouds.read_glb(unpack(raw))["enu"]) == 800


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("east/tileset.json?color=blue", 400, "rgb, class, height"), ("tileset.json?colour=rgb", 400, "color"),
        ("tileset.json?classes=a", 400, "classes=2,6"), ("tileset.json?classes=", 400, "classes has 0"),
        ("tileset.json?classes=256", 400, "0 to 255"), ("tileset.json?classes=-1", 400, "0 to 255"),
        ("tileset.json?classes=" + "1," * 300, 400, "300"), ("tileset.json?classes=99", 404, "There are: 0, 2, 6"),
        ("tileset.json?color=rgb&color=class", 400, "twice"), ("east/tileset.json?classes=9", 404, "There are: 0"),
        ("tileset.json?filter=a=1", 400, "filter"), ("north/tileset.json", 404, "east, west"),
        ("east/0/0-0-0-0.glb", 200, ""), ("east/0/0-0-0-1.glb", 404, "0-0-0-1"), ("east/0/33-0-0-0.glb", 404, "33"),
        ("east/0/1-2-0-0.json", 404, "1-2-0-0"), ("east/0/0-0-0-0.b3dm", 404, "tileset.json"),
        ("east/0/-1-0-0-0.glb", 404, "tileset.json"), ("east/0/0-0-0.glb", 404, "tileset.json"),
        ("east/0/99-9999999999-0-0.glb", 404, "no node"), ("east/points.copc.laz", 404, "tileset.json"),
        ("east/../../../city.gpkg", 404, ""), ("east/%2e%2e/west/tileset.json", 404, ""), ("x" * 5000, 404, ""),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(client, path, status, words):
    response = client.get(f"{ROOT}/{path}")
    assert response.status_code == status, response.text[:300]
    if status != 200:
        assert response.headers["content-type"] == "application/problem+json"
        assert words in response.json()["detail"]


def test_a_head_request_is_answered(client):
    response = client.head(f"{ROOT}/east/0/0-0-0-0.glb")
    assert (response.status_code, response.content) == (200, b"")


def test_a_broken_cloud_is_told_and_left_out(sources, tmp_path):
    """The cloud itself answers with what is wrong; the layer and the city go on without it."""
    target = tmp_path / "twin"
    build(sources, target)
    city, session = served(target)
    with city, session:
        east = next(asset for asset in city.store.assets(city.scope) if asset.id == "east")
        path = city.folder / east.path
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        response = session.get(f"{ROOT}/east/tileset.json")
        assert (response.status_code, response.json()["code"]) == (400, "POINTS_UNREADABLE")
        assert path.name in response.json()["detail"]
        for start in (f"{ROOT}/tileset.json", "/3dtiles/tileset.json"):
            found = walk(session, start)
            assert {content["document"]["asset"]["extras"]["asset"] for content, _ in found.values()} == {"west"}
        path.unlink()
        assert session.get(f"{ROOT}/east/0/0-0-0-0.glb").status_code == 400
        for each in city.store.assets(city.scope):
            (city.folder / each.path).unlink(missing_ok=True)
        assert session.get(f"{ROOT}/tileset.json").status_code == 400
        assert session.get("/3dtiles/tileset.json").status_code == 404


def test_a_cloud_that_changes_has_new_addresses(sources, tmp_path):
    import shutil

    folder = tmp_path / "in"
    shutil.copytree(sources, folder)
    build(folder, tmp_path / "twin")
    city, session = served(tmp_path / "twin")
    with city, session:
        before = {name: session.get(f"{ROOT}/{name}/tileset.json") for name in ("east", "west")}
        clouds.write_las(folder / "west.las", clouds.hills(600, 50.0, low=(596900.0, 3109000.0)), format_id=6)
        build(folder, tmp_path / "twin")
        after = {name: session.get(f"{ROOT}/{name}/tileset.json") for name in ("east", "west")}
        assert after["east"].content == before["east"].content
        assert after["west"].headers["etag"] != before["west"].headers["etag"]
        uris = [json.loads(each["west"].content)["root"]["content"]["uri"] for each in (before, after)]
        assert uris[0] != uris[1]
        found = walk(session, f"{ROOT}/west/tileset.json")
        assert sum(len(content["enu"]) for content, _ in found.values()) == 600


def test_clouds_whose_names_mean_something_else_are_found(tmp_path):
    """A cloud named compat is not the compat form of all clouds."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "city.toml").write_text(TOML)
    for i, name in enumerate(("compat", "explicit")):
        clouds.write_las(folder / f"{name}.las", clouds.hills(300 + i), format_id=6)
    build(folder, tmp_path / "twin")
    city, session = served(tmp_path / "twin")
    with city, session:
        for start in (f"{ROOT}/tileset.json", f"{ROOT}/compat/tileset.json", "/3dtiles/explicit/tileset.json"):
            found = walk(session, start)
            assert sorted(len(content["enu"]) for content, _ in found.values()) == [300, 301]


# the file itself, for QGIS and copc.js


def test_the_file_is_read_by_range(client, built):
    """What copc.js and QGIS do: the first 64 KiB, then spans; a changed file is noticed by If-Range."""
    address = "/collections/point_cloud/points.copc.laz?asset=east"
    [path] = (built / "points").glob("east-*.copc.laz")
    data = path.read_bytes()
    head = client.head(address)
    assert (head.headers["content-length"], head.headers["accept-ranges"]) == (str(len(data)), "bytes")
    first = client.get(address, headers={"Range": "bytes=0-65535"})
    assert (first.status_code, first.content) == (206, data[:65536])
    assert first.headers["content-range"] == f"bytes 0-65535/{len(data)}"
    assert "content-encoding" not in first.headers
    at, size = (int.from_bytes(first.content[429 + 40 + i : 429 + 48 + i], "little") for i in (0, 8))
    page = client.get(address, headers={"Range": f"bytes={at}-{at + size - 1}", "If-Range": first.headers["etag"]})
    assert (page.status_code, page.content) == (206, data[at : at + size])
    other = client.get(address, headers={"Range": "bytes=0-9", "If-Range": '"old"'})
    assert (other.status_code, len(other.content)) == (200, len(data))
    cors = client.get(address, headers={"Range": "bytes=0-9", "Origin": "http://viewer.test"})
    assert cors.headers["access-control-allow-origin"] == "*"
    assert "Content-Range" in cors.headers["access-control-expose-headers"]
