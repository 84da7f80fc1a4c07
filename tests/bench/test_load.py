"""64 readers at once for a minute on two server processes: parcels by box and by page, single ones, tiles, analyses.

Prints requests a second, p50, p99, errors, and the memory of the server's processes at the start, in the middle and at
the end. tipg over PostGIS on the same parcels, with as many processes and the same readers, is the peer for what it
has (no analyses). Readers, servers and the database share the same cores.
"""

import asyncio
import contextlib
import json
import os
import time
from itertools import cycle, islice
from pathlib import Path

import httpx
import numpy as np
import pytest
from pyproj import Transformer

from tests.bench.test_mvt import EAST, NORTH, SIDE_M, city, postgis, tiles_at, tipg, tipg_python  # noqa: F401
from tests.clients.conftest import served

pytestmark = pytest.mark.bench

READERS, WORKERS = 64, 2
ASKED = 500
"""Different requests of each reader; made before the clock starts."""
SECONDS = float(os.environ.get("CITYTWIN_LOAD_SECONDS", "60"))
TO_DEGREES = Transformer.from_crs("EPSG:4549", "EPSG:4326", always_xy=True)
SHARES = {"page of 10": 0.2, "one": 0.1, "box of 30": 0.4, "tile": 0.25, "analysis": 0.05}


class Reader:
    """One connection that is kept; asks one request after the other."""

    def __init__(self, address):
        self.host, self.port = address.split("//")[1].rstrip("/").split(":")
        self.streams = None

    def close(self):
        if self.streams is not None:
            self.streams[1].close()
            self.streams = None

    async def ask(self, path, body=None):
        """Status and bytes of the answer."""
        if self.streams is None:
            self.streams = await asyncio.open_connection(self.host, int(self.port))
        reader, writer = self.streams
        head = (
            f"{'GET' if body is None else 'POST'} {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nAccept: */*\r\n"
        )
        if body is not None:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        writer.write(head.encode() + b"\r\n" + (body or b""))
        lines = (await reader.readuntil(b"\r\n\r\n")).lower()
        status = int(lines[9:12])
        if b"transfer-encoding: chunked" in lines:
            size = 0
            while (n := int(await reader.readline(), 16)) > 0:
                size += n
                await reader.readexactly(n + 2)
            await reader.readexactly(2)
        else:
            at = lines.find(b"content-length: ")
            size = int(lines[at + 16 : lines.index(b"\r", at)]) if at > 0 else 0
            await reader.readexactly(size)
        return status, size


def requests(n, root, kinds, seed=0):
    """Endless (kind, path, body), the same for everybody who asks with the same seed."""
    rng = np.random.default_rng(seed)
    side = int(n**0.5) * SIDE_M
    tiles = tiles_at(16, n, 4)
    shares = np.array([SHARES[kind] for kind in kinds])
    while True:
        for kind in rng.choice(kinds, 1000, p=shares / shares.sum()):
            x, y = np.array([EAST, NORTH]) + rng.uniform(-0.45, 0.45, 2) * side
            (west, east), (south, north) = TO_DEGREES.transform([x - 50, x + 50], [y - 45, y + 45])
            box = ",".join(f"{each:.7f}" for each in (west, south, east, north))
            z, column, row = tiles[rng.integers(len(tiles))]
            item = f"{root['items']}/{root['one'].format(rng.integers(1, n))}"
            yield {
                "page of 10": (kind, f"{root['items']}?limit=10&offset={rng.integers(0, 100)}", None),
                "one": (kind, item, None),
                "box of 30": (kind, f"{root['items']}?limit=1000&bbox={box}", None),
                "tile": (kind, root["tile"].format(z=z, x=column, y=row), None),
                "analysis": (kind, "/processes/buffer-query/execution", analysis(west, south)),
            }[kind]  # fmt: skip


def analysis(lon, lat):
    point = {"type": "Point", "coordinates": [round(float(lon), 7), round(float(lat), 7)]}
    inputs = {"geometry": point, "distance_m": 30, "layer": "parcel", "limit": 10}
    return json.dumps({"inputs": inputs}).encode()


async def run(address, n, root, kinds, seconds):
    """(kind, status, seconds, bytes) of every answer."""
    answers = []
    asked = [list(islice(requests(n, root, kinds, seed=number), ASKED)) for number in range(READERS)]
    end = time.perf_counter() + seconds

    async def read(number):
        reader = Reader(address)
        for kind, path, body in cycle(asked[number]):
            begin = time.perf_counter()
            if begin > end:
                reader.close()
                return
            try:
                status, size = await asyncio.wait_for(reader.ask(path, body), 30)
            except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
                status, size = 0, 0
                reader.close()
            answers.append((kind, status, time.perf_counter() - begin, size))

    await asyncio.gather(*(read(number) for number in range(READERS)))
    return answers


def memory_mb(pid):
    """Resident memory of a process and its children."""
    total, waiting = 0, [pid]
    while waiting:
        each = waiting.pop()
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{each}/task/{each}/children").read_text().split()
            waiting += [int(child) for child in children]
            pages = int(Path(f"/proc/{each}/statm").read_text().split()[1])
            total += pages * os.sysconf("SC_PAGE_SIZE")
    return total / 1e6


def told(name, answers, seconds, told_memory=""):
    times = np.array([each[2] for each in answers]) * 1e3
    errors = [each[1] for each in answers if not 200 <= each[1] < 300]
    p50, p99 = np.percentile(times, [50, 99])
    rate = len(answers) / seconds
    wrong = f"{len(errors)} {sorted(set(errors))}" if errors else "0"
    print(f"  {name:10s} {rate:7.1f}/s  p50 {p50:7.1f} ms  p99 {p99:7.1f} ms  errors {wrong}  {told_memory}")  # noqa: T201
    for kind in sorted({each[0] for each in answers}):
        own = np.array([each[2] for each in answers if each[0] == kind]) * 1e3
        size = np.mean([each[3] for each in answers if each[0] == kind])
        p50_, p99_ = np.percentile(own, [50, 99])
        print(f"      {kind:12s} {len(own):6d}  p50 {p50_:7.1f}  p99 {p99_:7.1f} ms  {size / 1e3:6.1f} kB")  # noqa: T201
    return rate, p50, p99, len(errors)


def loaded(name, address, n, root, kinds, pid=None):
    asyncio.run(run(address, n, root, kinds, min(SECONDS, 10)))  # caches of everybody are warm
    memory = [memory_mb(pid)] if pid else []
    half = []
    begin = time.perf_counter()
    for _ in range(2):
        half += asyncio.run(run(address, n, root, kinds, SECONDS / 2))
        memory += [memory_mb(pid)] if pid else []
    said = "memory " + " → ".join(f"{each:.0f} MB" for each in memory) if memory else ""
    return told(name, half, time.perf_counter() - begin, said)


def test_sixty_four_readers(city, tmp_path):  # noqa: F811
    n, folder, given = city
    ours = {
        "items": "/collections/parcel/items", "one": "parcel-{}",
        "tile": "/collections/parcel/tiles/WebMercatorQuad/{z}/{y}/{x}",
    }  # fmt: skip
    theirs = {
        "items": "/collections/public.parcel/items", "one": "{}",
        "tile": "/collections/public.parcel/tiles/WebMercatorQuad/{z}/{x}/{y}",
    }  # fmt: skip
    shared = [kind for kind in SHARES if kind != "analysis"]
    print(f"\n{n:,} parcels, {READERS} readers, {SECONDS:.0f} s, {WORKERS} server processes")  # noqa: T201
    with served(folder, tmp_path / "log.txt", "--workers", str(WORKERS)) as address:
        root = httpx.get(f"{address}health", timeout=60).json()
        assert root["status"] == "ok"
        pid = listening(address)
        everything = loaded("ours, all", address, n, ours, list(SHARES), pid)
        mine = loaded("ours", address, n, ours, shared, pid)
    assert everything[3] == 0
    with postgis(given) as dsn, tipg(dsn, tipg_python(), tmp_path / "tipg.txt", workers=WORKERS) as other:
        peer = loaded("tipg", other, n, theirs, shared)
    print(f"  ours / tipg {mine[0] / peer[0]:.1f}; p99 / p50 {everything[2] / everything[1]:.1f}")  # noqa: T201


def listening(address):
    """The process that listens on an address's port."""
    port = int(address.rstrip("/").rsplit(":", 1)[1])
    wanted = f":{port:04X}"
    sockets = {
        f"socket:[{line.split()[9]}]"
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if line.split()[1].endswith(wanted) and line.split()[3] == "0A"
    }
    holders = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if any(str(fd.readlink()) in sockets for fd in (entry / "fd").iterdir()):
                    holders.append(int(entry.name))
    return min(holders)
