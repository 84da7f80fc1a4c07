"""Static serving: content types, caching, compression, no way out of the folder."""

import gzip

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from server import viewer


@pytest.fixture
def dist(tmp_path):
    folder = tmp_path / "dist"
    files = {
        "index.html": "<!doctype html>",
        ".built-from": "secret",
        "assets/index-abc.js": "export {}",
        "assets/index-abc.css": "a{}",
        "cesium-1/ThirdParty/draco_decoder.wasm": "\0asm",
        "cesium-1/Assets/data.json": "{}",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "assets/index-abc.js.gz").write_bytes(gzip.compress(b"export {}"))
    (tmp_path / "outside.txt").write_text("not yours")
    (folder / "link.txt").symlink_to(tmp_path / "outside.txt")
    return folder


@pytest.fixture
def client(dist):
    return TestClient(Starlette(routes=viewer.routes(dist)))


@pytest.mark.parametrize(
    ("name", "media_type", "cache"),
    [
        ("", "text/html; charset=utf-8", "no-cache"),
        ("assets/index-abc.js", "text/javascript; charset=utf-8", viewer.FOREVER),
        ("assets/index-abc.css", "text/css; charset=utf-8", viewer.FOREVER),
        ("cesium-1/ThirdParty/draco_decoder.wasm", "application/wasm", viewer.FOREVER),
        ("cesium-1/Assets/data.json", "application/json", viewer.FOREVER),
    ],
)
def test_type_and_cache(client, name, media_type, cache):
    answer = client.get(f"/viewer/{name}")
    assert (answer.status_code, answer.headers["content-type"], answer.headers["cache-control"]) == (
        200,
        media_type,
        cache,
    )
    again = client.get(f"/viewer/{name}", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    head = client.head(f"/viewer/{name}")
    assert (head.status_code, head.content) == (200, b"")


def test_gzip_only_where_it_is_accepted(client):
    packed = client.get("/viewer/assets/index-abc.js")
    plain = client.get("/viewer/assets/index-abc.js", headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.text == plain.text == "export {}"
    assert packed.headers["etag"] != plain.headers["etag"]
    assert "Accept-Encoding" in packed.headers["vary"]


@pytest.mark.parametrize(
    "name",
    [
        "../outside.txt",
        "%2e%2e/outside.txt",
        "..%2foutside.txt",
        "assets/..%2f..%2foutside.txt",
        "link.txt",
        "%00",
        "/etc/passwd",
        ".built-from",
        "assets",
        "assets/",
        "nothing.js",
        "assets/index-abc.js.gz",
    ],
)
def test_nothing_but_its_own_files(client, name):
    answer = client.get(f"/viewer/{name}")
    assert answer.status_code == 404
    assert "not yours" not in answer.text


def test_without_a_slash_it_redirects_below_any_prefix(client):
    answer = client.get("/viewer", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, "viewer/")


def test_not_built_says_how_to_build(tmp_path):
    client = TestClient(Starlette(routes=viewer.routes(tmp_path / "missing")))
    answer = client.get("/viewer/")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert "python -m server.viewer" in answer.json()["detail"]
