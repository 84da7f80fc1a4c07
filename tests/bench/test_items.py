"""How fast pages of features are, beside tipg and pygeoapi over PostGIS on the same seeded parcels in the same run.

Parcels have 5 to 20 vertices and four attributes with values (ten with the empty ones). Boxes lie at random among them
and hold about 30, 1,000 and 10,000. Each address is asked in turn by one client over the loopback, packed as clients
ask for it; our own pages also in the process itself, with the processor's time. The database is a private cluster,
made and ended here; tipg runs where its Python is named by CITYTWIN_TIPG_PYTHON. pygeoapi needs psycopg2 and
geoalchemy2 beside it.
"""

import asyncio
import contextlib
import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote, urlencode

import httpx
import numpy as np
import pyarrow as pa
import pytest
import shapely

import twin
from layers import catalogue, crs
from layers.report import Report
from server.app import create_app
from server.settings import Settings
from tests.bench.test_mvt import postgis, tipg, tipg_python
from tests.bench.test_server import wait_for
from tests.clients.conftest import served
from twin import config
from twin.scope import EVERYTHING
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Query, Rows, SourceRecord

pytestmark = pytest.mark.bench

SIDE_M, EAST, NORTH = 19.1, 598_000.0, 3_110_000.0  # EPSG:4549, near 121.0 E 28.1 N
SOURCE = SourceRecord("p", "", 0, 0, "")
FILTER = "area_m2 > 350 AND right_type LIKE '集体%'"
PACKED = "gzip, deflate, br, zstd"
SIZES = {30: 60, 1000: 30, 10_000: 5}
"""Features in a box -> how many boxes are asked for."""


def parcels(n, seed=0):
    """Ids, polygons of 5 to 20 vertices that do not touch, attributes."""
    k = int(np.ceil(n**0.5))
    rng = np.random.default_rng(seed)
    i, j = np.divmod(np.arange(n), k)
    centre = np.stack([EAST + (i - k / 2) * SIDE_M, NORTH + (j - k / 2) * SIDE_M], axis=1)
    corners = rng.integers(4, 20, n)
    shapes = np.empty(n, object)
    for c in range(4, 20):
        rows = np.flatnonzero(corners == c)
        turn = 2 * np.pi * (np.arange(c) + rng.uniform(0, 0.8, (len(rows), c))) / c
        radius = rng.uniform(0.3, 0.48, (len(rows), c)) * SIDE_M
        xy = centre[rows, None] + np.stack([radius * np.cos(turn), radius * np.sin(turn)], axis=-1)
        shapes[rows] = shapely.polygons(np.concatenate([xy, xy[:, :1]], axis=1))
    rights = np.take(["国有建设用地使用权", "集体土地所有权", "宅基地使用权"], rng.integers(0, 3, n))
    table = pa.table({
        "name": [f"宗地 {row}" for row in range(n)], "parcel_code": [f"330102{row:013d}" for row in range(n)],
        "right_type": rights, "area_m2": np.round(rng.uniform(200, 500, n), 2),
    })  # fmt: skip
    return [f"parcel-{row}" for row in range(n)], shapes, table


@pytest.fixture(scope="module", params=[100_000, 1_000_000], ids=str)
def city(request, tmp_path_factory):
    """Number of parcels, folder of the twin, the parcels."""
    n = request.param
    folder = tmp_path_factory.mktemp(f"parcels{n}")
    config.save(config.TwinConfig("bench", "EPSG:4549", 121.0, 28.1, 0.0), folder)
    store = GeoPackageStore(folder / "city.gpkg", create=True, city_crs="EPSG:4549")
    ids, shapes, table = parcels(n)
    with store.writing() as batch:
        batch.ensure_layer(catalogue.layer_type("parcel"))
        batch.begin_source(SOURCE)
        for at in range(0, n, 50_000):
            part = slice(at, at + 50_000)
            batch.put("parcel", "p", Rows(ids[part], shapes[part], table.slice(at, 50_000), [None] * len(ids[part])))
        batch.finish_source(SOURCE, Report("p", "x", "", "stored"))
    store.close()
    return n, folder, (ids, shapes, table)


def boxes(n_features, n, count, seed=1):
    """Boxes in degrees that hold about so many features, anywhere among n, and the same in EPSG:4549, east first."""
    side, half = SIDE_M * n_features**0.5, SIDE_M * n**0.5 / 2
    rng = np.random.default_rng(seed)
    reach = max(half - side / 2 - SIDE_M, 0)
    found = []
    for x, y in rng.uniform(-reach, reach, (count, 2)) + np.array([EAST, NORTH]):
        box = (x - side / 2, y - side / 2, x + side / 2, y + side / 2)
        degrees = crs.transform_bounds("EPSG:4549", crs.CRS84, box)
        found.append((",".join(repr(v) for v in degrees), ",".join(repr(float(v)) for v in box)))
    return found


def told(name, seconds, size=0, count=""):
    p50, p95 = np.percentile(np.array(seconds) * 1e3, [50, 95])
    print(f"  {name:34s} p50 {p50:8.1f} ms   p95 {p95:8.1f} ms   {size / 1e3:7.0f} kB  {count}")  # noqa: T201
    return p50


def asked(client, addresses):
    """Seconds of each, bytes over the wire and the content of the last."""
    seconds = []
    for address in addresses:
        begin = time.perf_counter()
        answer = client.get(address)
        seconds.append(time.perf_counter() - begin)
        assert answer.status_code == 200, answer.text[:400]
    return seconds, answer.num_bytes_downloaded, answer


@contextlib.contextmanager
def pygeoapi(dsn, folder, n):
    """Address of pygeoapi's own server over the database."""
    if not all(importlib.util.find_spec(each) for each in ("psycopg2", "geoalchemy2")):
        pytest.skip("pip install psycopg2-binary geoalchemy2: pygeoapi's provider needs them")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address, text = f"http://127.0.0.1:{port}", {"en": "peer"}
    at = httpx.URL(dsn.replace("postgresql", "http"))
    data = {"host": at.host, "port": at.port, "dbname": "postgres", "user": "postgres", "password": "x",
            "search_path": ["public"]}  # fmt: skip
    provider = {"type": "feature", "name": "PostgreSQL", "data": data, "id_field": "fid", "table": "parcel",
                "geom_field": "geom", "storage_crs": "http://www.opengis.net/def/crs/EPSG/0/4549",
                "crs": ["http://www.opengis.net/def/crs/OGC/1.3/CRS84",
                        "http://www.opengis.net/def/crs/EPSG/0/4549"]}  # fmt: skip
    settings = {
        "server": {"bind": {"host": "127.0.0.1", "port": port}, "url": address, "mimetype": "application/json",
                   "encoding": "utf-8", "languages": ["en-US"], "limits": {"default_items": 1000, "max_items": 10000},
                   "gzip": True, "map": {"url": "https://tile.invalid/{z}/{x}/{y}", "attribution": "none"}},
        "logging": {"level": "ERROR"},
        "metadata": {"identification": {"title": text, "description": text, "keywords": {"en": ["peer"]},
                                        "keywords_type": "theme", "terms_of_service": "none", "url": address},
                     "license": {"name": "none"}, "provider": {"name": "peer", "url": address},
                     "contact": {"name": "peer"}},
        "resources": {"parcel": {"type": "collection", "title": text, "description": text, "keywords": {"en": ["x"]},
                                 "extents": {"spatial": {"bbox": [-180, -90, 180, 90],
                                             "crs": "http://www.opengis.net/def/crs/OGC/1.3/CRS84"}},
                                 "providers": [provider]}},
    }  # fmt: skip
    (folder / "peer.yml").write_text(json.dumps(settings), encoding="utf-8")
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
            yield address
        finally:
            server.terminate()


def peak_mb(folder):
    """Peak memory of the largest process that serves a folder; 0 where /proc is absent."""
    peaks = [0]
    for told_of in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError, IndexError):
            if str(folder).encode() in told_of.read_bytes():
                status = told_of.with_name("status").read_text()
                peaks.append(int(status.split("VmHWM:")[1].split()[0]))
    return max(peaks) / 1e3


def ours_of(address, box, extra=""):
    return f"{address}collections/parcel/items?" + urlencode({"bbox": box, "limit": 10_000}) + extra


def test_pages_beside_tipg_and_pygeoapi(city, tmp_path):
    n, folder, given = city
    python = tipg_python()
    print(f"\n{n:,} parcels")  # noqa: T201
    with (
        postgis(given) as dsn,
        served(folder, tmp_path / "log.txt") as own,
        tipg(dsn, python, tmp_path / "tipg.txt") as other,
        pygeoapi(dsn, tmp_path, n) as third,
        httpx.Client(timeout=300, headers={"Accept-Encoding": PACKED}) as client,
    ):
        extra = f"&filter={quote(FILTER)}&filter-lang=cql2-text"
        for n_features, repeats in SIZES.items():
            print(f" about {n_features:,} in a box")  # noqa: T201
            beside(client, (own, other, third), boxes(n_features * 0.95, n, repeats), "")
            print(" and a filter, which one in six passes")  # noqa: T201
            beside(client, (own, other, third), boxes(n_features * 0.95, n, repeats), extra)
            if 6 * n_features <= 10_000:
                print(f" about {n_features:,} pass the filter in a larger box")  # noqa: T201
                beside(client, (own, other, third), boxes(6 * n_features * 0.95, n, repeats), extra)
        print(f"  peak memory {peak_mb(folder):.0f} MB")  # noqa: T201
        for share in (0.001, 0.05, 0.3, 0.7, 0.95):
            places = [f"{ours_of(own, box)}&limit=1".replace("limit=10000&", "") for box, _ in boxes(n * share, n, 6)]
            seconds, _, answer = asked(client, places)
            told(f"count of a box of {share:.1%}", seconds, count=f"{answer.json()['numberMatched']:,}")
        deep(client, own)


def beside(client, addresses, places, extra):
    """All three, in turn; the same features from each."""
    own, other, third = addresses
    mine = [ours_of(own, box, extra) for box, _ in places]
    path = f"{other}/collections/public.parcel/items?limit=10000&f=geojson{extra}&bbox="
    theirs = [path + box for box, _ in places]
    # it makes a box of the storage CRS of what it is given, whatever the order of the axes
    box_crs = "&bbox-crs=http://www.opengis.net/def/crs/EPSG/0/4549"
    few = places[: max(2, len(places) // 6)]
    slow = [f"{third}/collections/parcel/items?f=json&limit=10000{extra}{box_crs}&bbox={box}" for _, box in few]
    for each in (mine, theirs, slow):
        asked(client, each[:2])
    seconds, size, answer = asked(client, mine)
    ours = told("our server", seconds, size, f"{answer.json()['numberReturned']:,} features")
    found = {each["properties"].get("parcel_code") for each in answer.json()["features"]}
    seconds, size, answer = asked(client, theirs)
    peer = told("tipg", seconds, size, f"{len(answer.json()['features']):,} features")
    there = {each["properties"].get("parcel_code") for each in answer.json()["features"]}
    assert len(found ^ there) <= max(2, len(found) // 10), "both answer the same question"
    seconds, size, answer = asked(client, slow)
    last = told("pygeoapi over PostGIS", seconds, size, f"{len(answer.json()['features']):,} features")
    assert answer.json()["features"], "pygeoapi finds what is there"
    print(f"  tipg / ours {peer / ours:.1f}, pygeoapi / ours {last / ours:.1f}")  # noqa: T201
    (rate, failed), (other_rate, other_failed) = at_once(mine), at_once(theirs)
    print(f"  eight at once: ours {rate:.0f} answers/s, tipg {other_rate:.0f}, {other_failed} broken off")  # noqa: T201
    assert not failed


def at_once(addresses):
    """Answers a second to eight readers, for a bounded time, and how many were broken off."""
    end = time.perf_counter() + 6

    def read(reader):
        n, failed = 0, 0
        with httpx.Client(timeout=300, headers={"Accept-Encoding": PACKED}) as client:
            while time.perf_counter() < end:
                try:
                    client.get(addresses[(reader + n) % len(addresses)]).raise_for_status()
                    n += 1
                except httpx.HTTPError:
                    failed += 1
        return n, failed

    begin = time.perf_counter()
    with ThreadPoolExecutor(8) as pool:
        answered, failed = zip(*pool.map(read, range(8)), strict=True)
    return sum(answered) / (time.perf_counter() - begin), sum(failed)


def deep(client, own):
    """Every page of a sort order and of none costs the same, to the last one asked for."""
    for sort in ("", "&sortby=-area_m2,parcel_code"):
        url, seconds = f"{own}collections/parcel/items?limit=1000{sort}", []
        while url and len(seconds) < (90 if not sort else 12):
            begin = time.perf_counter()
            page = client.get(url).json()
            seconds.append(time.perf_counter() - begin)
            url = next((each["href"] for each in page["links"] if each["rel"] == "next"), None)
        told(f"first 5 pages {sort}", seconds[:5])
        told(f"last 5 of {len(seconds)} pages", seconds[-5:])


def test_pages_in_the_process(city):
    """Without the network: processor time of a request, of the whole application."""
    n, folder, (ids, shapes, _) = city
    print(f"\n{n:,} parcels, in the process")  # noqa: T201
    with twin.open(folder) as opened:
        app = create_app(opened, Settings(access_log=False, warm_up=False))
        for n_features, repeats in SIZES.items():
            queries = [urlencode({"bbox": box, "limit": 10_000}) for box, _ in boxes(n_features * 0.95, n, repeats)]
            seconds, used, body = asyncio.run(_requests(app, queries))
            told(f"{n_features:,} in a box", seconds, len(body))
            told("  of a core", used)
        region = shapely.affinity.rotate(shapely.box(EAST - 900, NORTH - 700, EAST + 900, NORTH + 700), 11)
        shapely.prepare(region)
        expected = int(shapely.intersects(region, shapes).sum())
        assert opened.store.count("parcel", Query(region=region), EVERYTHING) == expected
        assert len(ids) == n


async def _requests(app, queries):
    seconds, used, body = [], [], b""
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://city.test") as client:
        for at, query in enumerate([queries[0], *queries]):
            begin, cpu = time.perf_counter(), time.process_time()
            answer = await client.get(f"/collections/parcel/items?{query}", headers={"Accept-Encoding": "identity"})
            if at:
                seconds.append(time.perf_counter() - begin)
                used.append(time.process_time() - cpu)
            body = answer.raise_for_status().content
    return seconds, used, body
