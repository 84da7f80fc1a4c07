"""First picture and single tiles of a point cloud, beside a py3dtiles conversion of the same file; by `make bench`.

The first picture is tileset.json, the root and all tiles of level 1: what any view needs. The larger size is 50 million
points; CITYTWIN_BENCH_POINTS gives another. CITYTWIN_PY3DTILES names the program `py3dtiles`, which needs an
environment of its own; without it, or above CITYTWIN_BENCH_PEER_POINTS (2 million), the peer is left out.
"""

import importlib.util
import os
import resource
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from ingest.points import las
from layers.source import Hints
from tiles.points import cloud, tileset
from tiles.points.copc import Copc
from tiles.points.tileset import Choice
from twin.config import TwinConfig
from twin.store.interface import Asset

pytestmark = pytest.mark.bench

SIZES = [2_000_000, int(os.environ.get("CITYTWIN_BENCH_POINTS", "50000000"))]
PEER_POINTS = int(os.environ.get("CITYTWIN_BENCH_PEER_POINTS", "2000000"))


class City:
    """As much of a city as point tiles need."""

    def __init__(self, folder):
        self.folder, self.config = folder, TwinConfig("bench", "EPSG:4549", 121.0, 28.1)
        self.frame = self.config.frame(folder)


def flight(path, n):
    """The seeded flight of the benchmark of the build."""
    spec = importlib.util.spec_from_file_location("flight", Path(__file__).with_name("test_pointcloud.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.flight(path, n)


@pytest.fixture(scope="module", params=SIZES)
def town(request, tmp_path_factory):
    """The source, the city and the asset of n points; CITYTWIN_BENCH_FOLDER keeps them."""
    kept = os.environ.get("CITYTWIN_BENCH_FOLDER")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("points")
    source, target = folder / f"{request.param}.laz", folder / f"{request.param}.copc.laz"
    if not target.exists():
        las.read(flight(source, request.param), Hints()).layers[0].write(target)
    bounds = (597000.0, 3109000.0, 600000.0, 3112000.0)
    asset = Asset("f", "point_cloud", "points", target.name, "EPSG:4549", bounds, bounds, source.name)
    return request.param, source, City(folder), asset


def first_picture(city, asset):
    """Bytes of tileset.json, root and level 1, from a file that was never opened."""
    opened = cloud.Cloud(Copc(city.folder / asset.path), cloud.placement(city, asset), asset, "bench")
    size, n_tiles = len(tileset.document(city, opened, Choice())), 0
    for key in opened.tree.keys[opened.tree.keys[:, 0] <= 1].tolist():
        if opened.tree.n_points[opened.tree.index[tuple(key)]]:
            size += len(tileset.content(opened, Choice(), tuple(key))())
            n_tiles += 1
    return size, n_tiles


def test_first_picture(benchmark, town):
    n, source, city, asset = town
    size, n_tiles = benchmark.pedantic(first_picture, (city, asset), rounds=5, warmup_rounds=1)
    start = time.process_time()
    first_picture(city, asset)
    cpu = time.process_time() - start  # what it takes on a machine that does nothing else
    assert n_tiles > 1
    ours = benchmark.stats["median"]
    benchmark.extra_info |= {"points": n, "tiles": n_tiles, "bytes": size, "cpu_ms": round(cpu * 1e3)}
    program = os.environ.get("CITYTWIN_PY3DTILES") or shutil.which("py3dtiles")
    if program and n <= PEER_POINTS:
        target = city.folder / "py3dtiles"
        shutil.rmtree(target, ignore_errors=True)
        command = [program, "convert", source, "--out", target, "--srs_in", "4549", "--srs_out", "4978", "--jobs", "2"]
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        peer = time.perf_counter() - start
        assert (target / "tileset.json").exists()
        shutil.rmtree(target)
        benchmark.extra_info |= {"py3dtiles_s": round(peer, 1), "times_faster": round(peer / ours)}
    print(f"\n{n:,} points: first picture {ours * 1e3:.0f} ms, {n_tiles} tiles", benchmark.extra_info)  # noqa: T201


@pytest.mark.parametrize("form", ["compact", "compat"])
def test_cold_tile(benchmark, town, form):
    """The fullest node of the cloud, from the file to the glb."""
    n, _, city, asset = town
    opened = cloud.opened(city, asset)
    _ = opened.facts
    node = int(np.argmax(opened.tree.n_points))
    key = tuple(opened.tree.keys[node].tolist())
    glb = benchmark(tileset.content(opened, Choice(form), key))
    start = time.process_time()
    for _ in range(5):
        tileset.content(opened, Choice(form), key)()
    cpu = (time.process_time() - start) / 5
    in_node, median = int(opened.tree.n_points[node]), benchmark.stats["median"]
    facts = {"points_in_tile": in_node, "bytes_a_point": round(len(glb) / in_node, 1)}
    facts |= {"points_per_second": round(in_node / median), "cpu_ms_for_50000": round(cpu * 5e7 / in_node, 1)}
    benchmark.extra_info |= facts
    print(f"\n{n:,} points, {form}: {median * 1e3:.1f} ms", facts)  # noqa: T201


def test_every_tile(benchmark, town):
    """All tiles one after the other, at most 400: rate and memory."""
    n, _, city, asset = town
    opened = cloud.opened(city, asset)
    nodes = np.flatnonzero(opened.tree.n_points)
    nodes = nodes[:: 1 + len(nodes) // 400]

    def encode():
        for node in nodes.tolist():
            tileset.content(opened, Choice(), tuple(opened.tree.keys[node].tolist()))()

    benchmark.pedantic(encode, rounds=1)
    shown, median = int(opened.tree.n_points[nodes].sum()), benchmark.stats["median"]
    peak_mb = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    facts = {"tiles": len(nodes), "points_per_second": round(shown / median), "peak_mb": peak_mb}
    benchmark.extra_info |= facts | {"tiles_per_second": round(len(nodes) / median, 1)}
    print(f"\n{n:,} points: {len(nodes) / median:.1f} tiles/s", facts)  # noqa: T201
