"""How fast vector tiles are, beside PostGIS `ST_AsMVT` and tipg on the same seeded parcels in the same run.

Parcels are a coverage of octagons with shared, bent borders and five attributes, about 3,200 in a tile of zoom 15. The
database is a private cluster on the loopback, made and ended here. tipg runs where its Python is named by
CITYTWIN_TIPG_PYTHON, or where it is installed beside us.
"""

import contextlib
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pytest
import shapely

import twin
from layers import catalogue
from layers.report import Report
from tests.clients.conftest import served
from tiles import matrix_set, mvt
from tiles.mvt import one_tile
from twin import config
from twin.scope import EVERYTHING
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Rows, SourceRecord

pytestmark = pytest.mark.bench

SIDE_M, ZOOM = 19.1, 15
EAST, NORTH = 598_000.0, 3_110_000.0  # EPSG:4549, near 121.0 E 28.1 N
SOURCE = SourceRecord("p", "", 0, 0, "")
GRID = matrix_set.get("WebMercatorQuad", "EPSG:4549")
COLUMNS = "id, name, parcel_code, right_type, area_m2"
SQL = f"""
WITH tile AS (SELECT ST_TileEnvelope($1, $2, $3) AS e),
shown AS (
  SELECT fid, {COLUMNS}, ST_AsMVTGeom(ST_Transform(geom, 3857), e, 4096, 64, true) AS geom
  FROM parcel, tile
  WHERE geom && ST_Transform(ST_Expand(e, (ST_XMax(e) - ST_XMin(e)) * 64 / 4096), 4549))
SELECT ST_AsMVT(shown, 'parcel', 4096, 'geom', 'fid') FROM shown WHERE geom IS NOT NULL
"""
ASKED = """
import asyncio, asyncpg, json, sys, time
async def main():
    dsn, sql = json.loads(sys.stdin.readline())
    db = await asyncpg.connect(dsn)
    query = await db.prepare(sql)
    backend = db.get_server_pid()
    def cpu():
        try:
            with open(f"/proc/{backend}/schedstat") as told:
                return int(told.read().split()[0]) / 1e9
        except OSError:
            return 0.0
    for line in sys.stdin:
        begin, used = time.perf_counter(), cpu()
        data = await query.fetchval(*json.loads(line))
        print(json.dumps([time.perf_counter() - begin, len(data), cpu() - used]), flush=True)
asyncio.run(main())
"""


def parcels(n, seed=0):
    """Polygons of a coverage, and their attributes."""
    k = int(np.ceil(n**0.5))
    rng = np.random.default_rng(seed)
    ticks = np.arange(2 * k + 1) * SIDE_M / 2
    xy = np.stack(np.meshgrid(ticks, ticks), axis=-1) + rng.uniform(-2.5, 2.5, (2 * k + 1, 2 * k + 1, 2))
    xy += np.array([EAST, NORTH]) - k * SIDE_M / 2
    i, j = np.divmod(np.arange(n), k)
    around = [(0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0), (0, 0)]
    shapes = shapely.polygons(np.stack([xy[2 * i + a, 2 * j + b] for a, b in around], axis=1))
    rights = np.take(["国有建设用地使用权", "集体土地所有权", "宅基地使用权"], rng.integers(0, 3, n))
    table = pa.table({
        "name": [f"宗地 {row}" for row in range(n)], "parcel_code": [f"330102{row:013d}" for row in range(n)],
        "right_type": rights, "area_m2": np.round(rng.uniform(200, 500, n), 2),
    })  # fmt: skip
    return [f"parcel-{row}" for row in range(n)], shapes, table


@pytest.fixture(scope="module", params=[10_000, 1_000_000], ids=str)
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
            rows = Rows(ids[part], shapes[part], table.slice(at, 50_000), [None] * len(ids[part]))
            batch.put("parcel", "p", rows)
        batch.finish_source(SOURCE, Report("p", "x", "", "stored"))
    store.close()
    return n, folder, (ids, shapes, table)


def tiles_at(zoom, n, reach):
    """Tiles round the middle of the parcels that are full of them, nearest first."""
    lon, lat = 121.0 + (EAST - 598_340) / 98_000, 28.1
    x = int((lon + 180) / 360 * 2**zoom)
    y = int((1 - np.arcsinh(np.tan(np.radians(lat))) / np.pi) / 2 * 2**zoom)
    half = max(0, min(reach, int(n**0.5 * SIDE_M / 2 / (40_075_016 / 2**zoom * np.cos(np.radians(28.1)))) - 1))
    return [(zoom, x + dx, y + dy) for dx in range(-half, half + 1) for dy in range(-half, half + 1)]


def within(place):
    """A tile in the middle of another, two zooms deeper."""
    z, x, y = place
    return z + 2, 4 * x + 2, 4 * y + 2


@contextlib.contextmanager
def postgis(given):
    """DSN of a private PostGIS cluster with the parcels in it."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if not versions or not list(Path("/usr/share/postgresql").glob("*/extension/postgis.control")):
        pytest.skip("PostGIS is not installed: apt-get install postgresql-15-postgis-3")
    binaries = versions[-1].parent
    data = Path(tempfile.mkdtemp(prefix="citytwin-postgis-"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    if user:
        shutil.chown(data, "postgres")
    subprocess.run(
        [*user, binaries / "initdb", "-D", data, "-A", "trust", "-U", "postgres"],
        check=True,
        capture_output=True,
        cwd="/",
    )
    options = f"-p {port} -k '' -c listen_addresses=127.0.0.1 -c shared_buffers=1GB -c max_wal_size=4GB -c fsync=off"
    start = [*user, binaries / "pg_ctl", "-D", data, "-l", data / "log", "-o", options, "-w", "start"]
    subprocess.run(start, check=True, stdout=subprocess.DEVNULL, cwd="/")
    try:
        dsn = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        psql = [binaries / "psql", dsn, "-q", "-v", "ON_ERROR_STOP=1"]
        made = (
            "CREATE EXTENSION postgis; CREATE TABLE parcel (fid serial PRIMARY KEY, id text, name text,"
            " parcel_code text, right_type text, area_m2 double precision, geom geometry(MultiPolygon, 4549));"
        )
        subprocess.run([*psql, "-c", made], check=True, capture_output=True, cwd="/")
        _copy(psql, given)
        subprocess.run(
            [*psql, "-c", "CREATE INDEX ON parcel USING gist (geom)"], check=True, capture_output=True, cwd="/"
        )
        subprocess.run([*psql, "-c", "VACUUM ANALYZE parcel"], check=True, capture_output=True, cwd="/")
        yield dsn
    finally:
        subprocess.run(
            [*user, binaries / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop"],
            check=True,
            capture_output=True,
            cwd="/",
        )
        shutil.rmtree(data, ignore_errors=True)


def _copy(psql, given):
    ids, shapes, table = given
    command = [*psql, "-c", "COPY parcel (id, name, parcel_code, right_type, area_m2, geom) FROM STDIN"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as loading:
        for at in range(0, len(ids), 50_000):
            multi = shapely.set_srid(shapely.multipolygons(shapes[at : at + 50_000, None]), 4549)
            blobs = shapely.to_wkb(multi, hex=True, include_srid=True)
            columns = [each.to_pylist() for each in table.slice(at, 50_000).columns]
            rows = zip(ids[at : at + 50_000], *columns, blobs, strict=True)
            loading.stdin.write("".join("\t".join(map(str, row)) + "\n" for row in rows))
    assert loading.returncode == 0


def tipg_python():
    """A Python that has tipg and asyncpg."""
    named = os.environ.get("CITYTWIN_TIPG_PYTHON")
    if named is None and importlib.util.find_spec("tipg"):
        named = sys.executable
    if named is None:
        pytest.skip("tipg is not installed: pip install tipg into an environment, name it by CITYTWIN_TIPG_PYTHON")
    return named


@contextlib.contextmanager
def tipg(dsn, python, log, workers=1):
    """Address of tipg over the database."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {"DATABASE_URL": dsn, "TIPG_DB_SCHEMAS": '["public"]', "TIPG_TILE_BUFFER": "64"}
    command = [python, "-m", "uvicorn", "tipg.main:app", "--port", str(port), "--log-level", "warning"]
    command += ["--workers", str(workers)] if workers > 1 else []
    with log.open("w") as err, subprocess.Popen(command, env=os.environ | settings, stderr=err, cwd="/") as server:
        address = f"http://127.0.0.1:{port}"
        try:
            for _ in range(120):
                with contextlib.suppress(httpx.TransportError):
                    if httpx.get(f"{address}/healthz").status_code == 200:
                        break
                time.sleep(0.25)
            else:
                pytest.skip(f"tipg does not start: {log.read_text()[-500:]}")
            yield address
        finally:
            server.terminate()


def told(name, seconds, sizes, cpu=None, *, n_features=None):
    p50, p95 = np.percentile(np.array(seconds) * 1e3, [50, 95])
    rate = f", {round(n_features / (p50 / 1e3)):,} features/s" if n_features else ""
    used = "" if cpu is None else f"   {np.median(cpu) * 1e3:5.1f} ms of a core"
    print(f"  {name:24s} p50 {p50:6.1f} ms   p95 {p95:6.1f} ms{used}   {np.mean(sizes) / 1e3:5.0f} kB{rate}")  # noqa: T201
    return p50


def asked(client, address, places, encoding="identity"):
    seconds, sizes = [], []
    for z, x, y in places:
        begin = time.perf_counter()
        answer = client.get(address.format(z=z, x=x, y=y), headers={"Accept-Encoding": encoding})
        seconds.append(time.perf_counter() - begin)
        assert answer.status_code == 200, answer.text[:300]
        sizes.append(answer.num_bytes_downloaded)
    return seconds, sizes


@contextlib.contextmanager
def asking_postgis(python, dsn):
    """Function: tile -> seconds, bytes and processor seconds (of the backend) of `ST_AsMVT`, over one connection."""
    with subprocess.Popen([python, "-c", ASKED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer:

        def ask(place):
            peer.stdin.write(json.dumps(place) + "\n")
            peer.stdin.flush()
            return json.loads(peer.stdout.readline())

        peer.stdin.write(json.dumps([dsn, SQL]) + "\n")
        yield ask
        peer.stdin.close()


def beside(folder, places, ask):
    """Seconds, bytes, processor seconds of each tile by us (in this process, nothing kept) and by PostGIS, in turn."""
    import mapbox_vector_tile

    ours, theirs = [], []
    with twin.open(folder) as opened:
        for at, place in enumerate([within(places[0])] * 3 + places):
            ask(place)  # whatever PostGIS reads from disk it has read then
            one_tile._TAGS.clear()
            shutil.rmtree(folder / "cache", ignore_errors=True)
            begin, used = time.perf_counter(), time.process_time()
            data = mvt.tile(opened, ["parcel"], GRID, place, EVERYTHING).data
            seconds, used = time.perf_counter() - begin, time.process_time() - used
            if at >= 3:  # after the imports
                ours.append((seconds, len(data), used))
                theirs.append(ask(place))
        count = len(mapbox_vector_tile.decode(data)["parcel"]["features"])
        for place in places:
            mvt.tile(opened, ["parcel"], GRID, place, EVERYTHING)
        begin = time.perf_counter()
        for place in places:
            mvt.tile(opened, ["parcel"], GRID, place, EVERYTHING)
        warm = (time.perf_counter() - begin) / len(places)
        one_tile._TAGS.clear()
        begin = time.perf_counter()
        for place in places:
            mvt.tag(opened, ["parcel"], GRID, place, EVERYTHING)
        tag = (time.perf_counter() - begin) / len(places)
    shutil.rmtree(folder / "cache")
    print(f"  warm {warm * 1e3:.2f} ms, tag of a changed layer {tag * 1e3:.2f} ms")  # noqa: T201
    return list(zip(*ours, strict=True)), list(zip(*theirs, strict=True)), count


def test_tiles_beside_postgis_and_tipg(city, tmp_path):
    n, folder, given = city
    places = tiles_at(ZOOM, n, 3) * (1 if n > 100_000 else 10)
    python = tipg_python()
    print(f"\n{n:,} parcels, {len(places)} tiles of zoom {ZOOM}")  # noqa: T201
    with postgis(given) as dsn:
        with asking_postgis(python, dsn) as ask:
            mine, postgres, count = beside(folder, places, ask)
        ours = told("tiles.mvt.tile, cold", *mine, n_features=count)
        theirs = told("PostGIS ST_AsMVT, warm", *postgres, n_features=count)
        core = np.median(postgres[2]) / np.median(mine[2])
        assert count > 2_000
        with (
            served(folder, tmp_path / "log.txt") as address,
            tipg(dsn, python, tmp_path / "tipg.txt") as other,
            httpx.Client(timeout=120) as client,
        ):
            own = f"{address}collections/parcel/tiles/WebMercatorQuad/{{z}}/{{y}}/{{x}}"
            path = other + "/collections/public.parcel/tiles/WebMercatorQuad/{z}/{x}/{y}"
            for wanted in ("gzip, deflate, br, zstd", "identity"):  # as browsers ask, and plainly
                pairs = in_turn(client, folder, (own, path), places, wanted)
                print(f"  Accept-Encoding: {wanted}")  # noqa: T201
                http = told("our server, cold", *_columns(pair[0] for pair in pairs), n_features=count)
                tipg_ms = told("tipg", *_columns(pair[1] for pair in pairs), n_features=count)
            asked(client, own, places)
            told("our server, warm", *asked(client, own, places))
            same_as_ours(client, own, path, places[0])
    print(f"  ST_AsMVT / ours {theirs / ours:.1f}, of a core {core:.1f}; tipg / our server {tipg_ms / http:.1f}")  # noqa: T201


def in_turn(client, folder, addresses, places, encoding):
    """What `asked` gives for both addresses, tile by tile, nothing kept by us."""
    pairs = []
    for place in [within(places[0])] * 2 + places:
        shutil.rmtree(folder / "cache", ignore_errors=True)
        pairs.append([asked(client, each, [place], encoding) for each in addresses])
    return pairs[2:]  # after the imports


def same_as_ours(client, own, path, place):
    """What both answer with: the features of the tile itself, all of them; tipg leaves out some of the buffer."""
    import mapbox_vector_tile

    found = []
    for address in (own, path):
        answer = client.get(address.format(z=place[0], x=place[1], y=place[2]))
        (layer,) = mapbox_vector_tile.decode(answer.content).values()
        found.append({each["properties"]["id"]: each for each in layer["features"]})
        names = ", ".join(next(iter(found[-1].values()))["properties"])
        print(f"  {len(found[-1]):,} features, extent {layer['extent']}, with {names}")  # noqa: T201
    ours, theirs = found
    assert set(theirs) <= set(ours)
    assert len(theirs) > 0.9 * len(ours)


def _columns(answers):
    seconds, sizes = zip(*answers, strict=True)
    return [each[0] for each in seconds], [each[0] for each in sizes]


def test_zoomed_out(city):
    n, folder, _ = city
    print(f"\n{n:,} parcels zoomed out")  # noqa: T201
    with twin.open(folder) as opened:
        for zoom in (0, 6, 8, 10, 11, 12, 13):
            (place, *_) = tiles_at(zoom, 0, 0)
            begin = time.perf_counter()
            data = mvt.tile(opened, ["parcel"], GRID, place, EVERYTHING).data
            cold = time.perf_counter() - begin
            one_tile._TAGS.clear()
            begin = time.perf_counter()
            mvt.tag(opened, ["parcel"], GRID, place, EVERYTHING)
            tag = time.perf_counter() - begin
            print(f"  zoom {zoom:2d}: {cold * 1e3:6.0f} ms cold, {tag * 1e3:5.0f} ms tag, {len(data) / 1e3:6.0f} kB")  # noqa: T201
            assert len(data) < 2_500_000
    shutil.rmtree(folder / "cache", ignore_errors=True)
