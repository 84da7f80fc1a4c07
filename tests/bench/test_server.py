"""How fast the server answers over the loopback, as a process of its own: the town, and 100,000 buildings.

Prints p50 and p95 of one reader, and answers a second to eight readers at once. The peer on the same features is
pygeoapi's own server with its GeoPackage provider, or with its GeoJSON provider where Python's SQLite cannot load
SpatiaLite.
"""

import contextlib
import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.clients.conftest import ROOT, built, served

pytestmark = pytest.mark.bench

READERS, PER_READER = 8, 10
SECONDS_AT_MOST = 8.0


@pytest.fixture(scope="module", params=["town", 100_000], ids=str)
def city(request, tmp_path_factory):
    """Name, folder of the twin, address."""
    folder = tmp_path_factory.mktemp("bench")
    source = ROOT / "sample_data" / "town"
    if request.param != "town":
        source = folder / "source"
        script = [sys.executable, str(ROOT / "sample_data" / "make_town.py"), "--buildings", str(request.param)]
        subprocess.run([*script, "--out", str(source)], cwd=ROOT, check=True, capture_output=True)
    built(source, folder / "twin", {0, 1})
    with served(folder / "twin", folder / "log.txt") as address:
        yield str(request.param), folder / "twin", address


def measured(name, address, paths):
    """Asks for each path in turn, then by several readers at once, for a bounded time; prints and returns p50 in ms."""
    seconds, started = [], time.perf_counter()
    with httpx.Client(base_url=address, timeout=120) as client:
        while len(seconds) < 40 and time.perf_counter() - started < SECONDS_AT_MOST:
            begin = time.perf_counter()
            size = len(client.get(paths[len(seconds) % len(paths)]).raise_for_status().content)
            seconds.append(time.perf_counter() - begin)
    p50, p95 = np.percentile(np.array(seconds) * 1e3, [50, 95])
    each = max(1, min(PER_READER, int(SECONDS_AT_MOST / READERS / (p50 / 1e3))))

    def read(reader):
        with httpx.Client(base_url=address, timeout=120) as client:
            for turn in range(each):
                client.get(paths[(reader + turn) % len(paths)]).raise_for_status()

    begin = time.perf_counter()
    with ThreadPoolExecutor(READERS) as pool:
        list(pool.map(read, range(READERS)))
    rate = READERS * each / (time.perf_counter() - begin)
    print(  # noqa: T201
        f"\n{name:<46} p50 {p50:8.1f} ms  p95 {p95:8.1f} ms  {rate:7.1f} answers/s of {size:,} bytes", end=""
    )
    return p50


def contents(address, limit=24):
    """Addresses of the first contents of the buildings' tileset, as a viewer finds them."""
    root = f"{address}collections/building/3dtiles/explicit/"
    found, waiting = [], [httpx.get(f"{root}tileset.json").raise_for_status().json()["root"]]
    while waiting and len(found) < limit:
        tile = waiting.pop(0)
        uri = tile.get("content", {}).get("uri", "")
        if uri.endswith(".json"):
            waiting.append(httpx.get(root + uri).raise_for_status().json()["root"])
        elif uri:
            found.append(root + uri)
        waiting += tile.get("children", [])
    return found


def tile_of(lon, lat, z):
    """Row and column of WebMercatorQuad."""
    x = (lon + 180) / 360 * 2**z
    y = (1 - np.arcsinh(np.tan(np.radians(lat))) / np.pi) / 2 * 2**z
    return f"{z}/{int(y)}/{int(x)}"


def test_answers(city):
    name, twin_folder, address = city
    config = httpx.get(f"{address}viewer/config.json").json()
    lon, lat = config["origin"]["lon"], config["origin"]["lat"]
    items = f"{address}collections/building/items"
    ids = [each["id"] for each in httpx.get(f"{items}?limit=20").json()["features"]]
    tiles = contents(address)
    begin = time.perf_counter()
    for tile in tiles:
        httpx.get(tile).raise_for_status()
    first = (time.perf_counter() - begin) / len(tiles) * 1e3
    print(f"\n{name}: a 3D tile that nobody asked for before: {first:.1f} ms on average", end="")  # noqa: T201
    z = min(httpx.get(f"{address}terrain/layer.json").json()["maxzoom"], 15)
    x, y = int((lon + 180) / 180 * 2**z), int((lat + 90) / 180 * 2**z)
    asked = {
        "landing page": [address],
        "items, page of 1,000": [f"{items}?limit=1000"],
        "items, page of 10,000": [f"{items}?limit=10000"],
        "items, filter height_m > 30, 100": [f"{items}?limit=100&filter=height_m%20%3E%2030"],
        "one item": [f"{items}/{each}" for each in ids],
        "3D tile, cached": tiles,
        f"terrain tile, zoom {z}": [f"{address}terrain/{z}/{x + i}/{y}.terrain" for i in (-1, 0, 1)],
        "MVT tile, zoom 14": [f"{address}collections/building/tiles/WebMercatorQuad/{tile_of(lon, lat, 14)}"],
    }
    if config["imagery"]:
        templates = [address + each["url"].lstrip("/") for each in config["imagery"]]
        asked["image tile, zoom 16"] = [each.replace("{z}/{y}/{x}", tile_of(lon, lat, 16)) for each in templates]
    ours = {what: measured(f"{name}: {what}", address, paths) for what, paths in asked.items()}
    with pygeoapi_serving(twin_folder, items) as (provider, peer):
        count = httpx.get(f"{items}?limit=1").json()["numberMatched"]
        answer = httpx.get(f"{peer}/collections/building/items?f=json&limit=1000", timeout=120).raise_for_status()
        assert len(answer.json()["features"]) == min(count, 1000)
        theirs = measured(
            f"{name}: pygeoapi {provider}, page of 1,000",
            peer,
            [f"{peer}/collections/building/items?f=json&limit=1000"],
        )
    print(f"\n{name}: a page of 1,000 takes {ours['items, page of 1,000'] / theirs:.3f} of the peer's time")  # noqa: T201


@contextlib.contextmanager
def pygeoapi_serving(twin_folder: Path, items: str):
    """Provider and address of pygeoapi's own server over the same buildings."""
    folder = twin_folder.parent
    provider = {"type": "feature", "id_field": "id", "name": "SQLiteGPKG", "table": "building",
                "data": str(twin_folder / "city.gpkg")}  # fmt: skip
    if not can_load_spatialite():
        (folder / "building.geojson").write_bytes(everything(items))
        provider |= {"name": "GeoJSON", "data": str(folder / "building.geojson")}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    text = {"en": "peer"}
    config = {
        "server": {"bind": {"host": "127.0.0.1", "port": port}, "url": address, "mimetype": "application/json",
                   "encoding": "utf-8", "languages": ["en-US"], "limits": {"default_items": 1000, "max_items": 10000},
                   "map": {"url": "https://tile.invalid/{z}/{x}/{y}", "attribution": "none"}},
        "logging": {"level": "ERROR"},
        "metadata": {"identification": {"title": text, "description": text, "keywords": {"en": ["peer"]},
                                        "keywords_type": "theme", "terms_of_service": "none", "url": address},
                     "license": {"name": "none"}, "provider": {"name": "peer", "url": address},
                     "contact": {"name": "peer"}},
        "resources": {"building": {"type": "collection", "title": text, "description": text, "keywords": {"en": ["x"]},
                                   "extents": {"spatial": {"bbox": [-180, -90, 180, 90],
                                               "crs": "http://www.opengis.net/def/crs/OGC/1.3/CRS84"}},
                                   "providers": [provider]}},
    }  # fmt: skip
    (folder / "peer.yml").write_text(json.dumps(config), encoding="utf-8")
    (folder / "openapi.yml").write_text('{"openapi": "3.0.2", "info": {"title": "peer"}, "paths": {}}')
    environment = {**os.environ, "PYGEOAPI_CONFIG": str(folder / "peer.yml"),
                   "PYGEOAPI_OPENAPI": str(folder / "openapi.yml")}  # fmt: skip
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "pygeoapi.starlette_app:APP",
        "--port",
        str(port),
        "--log-level",
        "error",
    ]
    with (folder / "peer.txt").open("w") as log, subprocess.Popen(command, env=environment, stderr=log) as server:
        try:
            wait_for(address, server, folder / "peer.txt")
            yield provider["name"], address
        finally:
            server.terminate()


def can_load_spatialite():
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.enable_load_extension(True)  # Python may be built without it
            connection.load_extension("mod_spatialite")
        except (AttributeError, sqlite3.OperationalError):
            return False
    return True


def everything(items):
    """All pages of a collection as one FeatureCollection."""
    features, url = [], f"{items}?limit=10000"
    while url:
        page = httpx.get(url, timeout=120).raise_for_status().json()
        features += page["features"]
        url = next((link["href"] for link in page["links"] if link["rel"] == "next"), None)
    return json.dumps({"type": "FeatureCollection", "features": features}).encode()


def wait_for(address, server, log):
    for _ in range(300):
        with contextlib.suppress(httpx.TransportError):
            httpx.get(f"{address}/conformance?f=json", timeout=30)
            return
        assert server.poll() is None, log.read_text()[-2000:]
        time.sleep(0.2)
    raise AssertionError(log.read_text()[-2000:])
