"""Formats of a whole layer over the loopback: features a second, first byte, and how much the server's memory grows.

The peer is GDAL itself (pyogrio, what ogr2ogr does) writing the same layer of the same GeoPackage into a file, with the
same change of CRS; for CSV also pygeoapi's serialisation has no other way than through GeoJSON, so it has no row here.
"""

import contextlib
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pyogrio
import pytest

from tests.clients.conftest import ROOT, built

pytestmark = pytest.mark.bench
SUFFIX = {"fgb": "FlatGeobuf", "gpkg": "GPKG", "csv": "CSV"}


@pytest.fixture(scope="module", params=[20_000, 200_000], ids=str)
def city(request, tmp_path_factory):
    """Number of buildings and folder of the twin."""
    folder = tmp_path_factory.mktemp("bench")
    script = [sys.executable, str(ROOT / "sample_data" / "make_town.py"), "--buildings", str(request.param)]
    subprocess.run([*script, "--out", str(folder / "source")], cwd=ROOT, check=True, capture_output=True)
    built(folder / "source", folder / "twin", {0, 1})
    return request.param, folder / "twin"


@contextlib.contextmanager
def serving(folder: Path):
    """Process and address of a fresh server."""
    command = [sys.executable, "-u", "-m", "server.cli", "serve", str(folder), "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            yield server, server.stdout.readline().split()[-1]
        finally:
            server.terminate()


def resident_mb(server, what):
    """`VmRSS` or `VmHWM` of the process."""
    lines = Path(f"/proc/{server.pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(what))) / 1024


@pytest.mark.parametrize("name", ["json", "fgb", "parquet", "gpkg", "csv", "cityjson", "cityjsonseq"])
def test_whole_layer(city, name):
    n, folder = city
    address = f"collections/building/items?f={name}"
    with serving(folder) as (server, base), httpx.Client(base_url=base, timeout=600) as client:
        time.sleep(4)  # what the server prepares in the background is none of a download's memory
        client.get(f"{address}&limit=1").raise_for_status().read()
        before = resident_mb(server, "VmRSS")
        seconds, first_ms, size = [], [], 0
        for turn in range(3):
            path = address if name != "json" else f"{address}&limit=10000"
            begin = time.perf_counter()
            with client.stream("GET", path, headers={"Accept-Encoding": "identity", "X-Turn": str(turn)}) as answer:
                answer.raise_for_status()
                pieces = answer.iter_raw()
                size = len(next(pieces))
                first_ms.append((time.perf_counter() - begin) * 1e3)
                size += sum(map(len, pieces))
            seconds.append(time.perf_counter() - begin)
        grown = resident_mb(server, "VmHWM") - before
    rows = min(n, 10_000) if name == "json" else n
    print(  # noqa: T201
        f"\n{n:>8,} {name:<12} {rows / min(seconds):>10,.0f} features/s  first byte {min(first_ms):6.0f} ms  "
        f"{size:>12,} bytes  memory +{grown:.0f} MB", end=""
    )  # fmt: skip
    assert size > rows


@pytest.mark.parametrize("name", SUFFIX)
def test_peer_gdal(city, name, tmp_path):
    n, folder = city
    begin = time.perf_counter()
    frame = pyogrio.read_dataframe(folder / "city.gpkg", layer="building", use_arrow=True).to_crs("EPSG:4326")
    options = {"SPATIAL_INDEX": "NO"} if name == "fgb" else {"GEOMETRY": "AS_WKT"} if name == "csv" else {}
    pyogrio.write_dataframe(frame, tmp_path / f"x.{name}", driver=SUFFIX[name], layer_options=options, use_arrow=True)
    seconds = time.perf_counter() - begin
    print(f"\n{n:>8,} GDAL {name:<7} {n / seconds:>10,.0f} features/s into a file, all in memory", end="")  # noqa: T201
    assert len(frame) == n
