"""CityJSON: features a second and peak memory of a child process at two sizes, sequences and documents.

The peer in the same run is the standard library's `json.loads` of the same bytes and nothing more: no vertices placed,
no triangle cut, no attribute sorted.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAD = {
    "type": "CityJSON", "version": "2.0", "transform": {"scale": [0.001] * 3, "translate": [597000, 3109000, 20]},
    "metadata": {"referenceSystem": "https://www.opengis.net/def/crs/EPSG/0/4549"}, "CityObjects": {}, "vertices": [],
}  # fmt: skip
SHELL = [[[0, 3, 2, 1]], [[0, 1, 5, 4]], [[1, 2, 6, 9, 5]], [[2, 3, 7, 6]], [[3, 0, 4, 8, 7]], [[4, 5, 9, 8]],
         [[6, 7, 8, 9]]]  # fmt: skip
KINDS = {"surfaces": [{"type": "GroundSurface"}, {"type": "RoofSurface"}, {"type": "WallSurface"}]}
CHILD = """
import sys, time
from pathlib import Path
from ingest.cityjson import reader as cityjson
from layers.source import Hints

def peak_kib():  # not ru_maxrss, which a child takes over from the process that started it
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])

before = peak_kib()
start = time.perf_counter()
reading = cityjson.read(Path(sys.argv[1]), Hints())
n = sum(len(batch) for layer in reading.layers for batch in layer.batches())
print(n, time.perf_counter() - start, (peak_kib() - before) / 1024)
"""


def house(i, first=0):
    """A gabled house of 10 × 8 m with its part, as 3DBAG writes them; indices from `first`."""
    x, y = i % 1000 * 20_000, i // 1000 * 20_000
    vertices = [[x + a, y + b, z] for z in (0, 5000) for a, b in ((0, 0), (10000, 0), (10000, 8000), (0, 8000))]
    vertices += [[x, y + 4000, 8000], [x + 10000, y + 4000, 8000]]
    shell = [[[index + first for index in ring] for ring in surface] for surface in SHELL]
    solid = {"type": "Solid", "lod": "2.2", "boundaries": [shell],
             "semantics": {**KINDS, "values": [[0, 2, 2, 2, 2, 1, 1]]}}  # fmt: skip
    objects = {
        f"h{i}": {
            "type": "Building",
            "attributes": {"storeysAboveGround": i % 9, "use": "home"},
            "children": [f"p{i}"],
        },
        f"p{i}": {"type": "BuildingPart", "parents": [f"h{i}"], "geometry": [solid]},
    }
    return objects, vertices


def write_sequence(path, n):
    with path.open("w") as file:
        file.write(json.dumps(HEAD) + "\n")
        for i in range(n):
            objects, vertices = house(i)
            line = {"type": "CityJSONFeature", "id": f"h{i}", "CityObjects": objects, "vertices": vertices}
            file.write(json.dumps(line) + "\n")


def write_document(path, n):
    objects, vertices = {}, []
    for i in range(n):
        own, corners = house(i, 10 * i)
        objects |= own
        vertices += corners
    path.write_text(json.dumps({**HEAD, "CityObjects": objects, "vertices": vertices}))


def measured(path):
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    n, seconds, mib = done.stdout.split()
    return int(n), float(seconds), float(mib)


def peer_s(path):
    start = time.perf_counter()
    with path.open("rb") as file:
        for line in file:
            json.loads(line)
    return time.perf_counter() - start


def told(path, n):
    found, seconds, mib = measured(path)
    peer = peer_s(path)
    print(  # noqa: T201
        f"\n{path.name}: {n:,} buildings, {path.stat().st_size / 2**20:.0f} MiB: {seconds:.1f} s, "
        f"{n / seconds:,.0f} buildings/s, peak +{mib:.0f} MiB; json.loads alone {peer:.1f} s, {os.cpu_count()} cores"
    )
    assert found == n
    return mib


@pytest.mark.bench
def test_a_sequence_takes_the_same_memory_at_ten_times_the_size(tmp_path):
    peaks = {}
    for n in (5_000, 50_000):
        path = tmp_path / f"houses{n}.city.jsonl"
        write_sequence(path, n)
        peaks[n] = told(path, n)
    assert peaks[50_000] < peaks[5_000] + 32


@pytest.mark.bench
def test_a_document_takes_less_memory_than_its_own_bytes(tmp_path):
    for n in (5_000, 50_000):
        path = tmp_path / f"houses{n}.city.json"
        write_document(path, n)
        mib = told(path, n)
    assert mib < 64 + path.stat().st_size / 2**20
