"""Terrain tiles a second from a COG of 2,048² and of 16,384² (1 GB) cells: one thread, two threads, two processes.

`deep`: 1,024 neighbouring tiles of the last level; `spread`: 30 tiles of every level, anywhere in the raster, so that
nearly each needs blocks that no other has read. The peer makes the same deep tiles with Delatin and
quantized-mesh-encoder (`pip install pydelatin quantized-mesh-encoder`).
"""

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rasterio.shutil import copy

from tests.bench.test_raster import make_dem

pytestmark = pytest.mark.bench

ROOT = Path(__file__).resolve().parents[2]
WORKER = Path(__file__).with_name("terrain_worker.py")


@pytest.fixture(scope="module", params=[2_048, 16_384])
def dem(request, tmp_path_factory):
    """Side, COG as the build writes it, folder for what is kept of it."""
    folder = tmp_path_factory.mktemp("dem")
    source = make_dem(folder / "source.tif", request.param)
    options = {"BLOCKSIZE": 512, "COMPRESS": "DEFLATE", "PREDICTOR": "YES", "NUM_THREADS": 2}
    copy(source, folder / "dem.tif", driver="COG", OVERVIEW_RESAMPLING="BILINEAR", **options)
    source.unlink()
    return request.param, folder / "dem.tif", folder / "cache"


def measured(dem, who, threads, processes, which):
    """Start the processes at once; tiles a second of all, and what the first one says."""
    _, path, cache = dem
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    running = [
        subprocess.Popen(
            [sys.executable, WORKER, path, cache, who, str(threads), f"{k}/{processes}", which],
            cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True,
        ) for k in range(processes)
    ]  # fmt: skip
    said = [json.loads(process.communicate(timeout=900)[0]) for process in running]
    assert all(process.returncode == 0 for process in running)
    return sum(each["tiles"] for each in said) / max(each["seconds"] for each in said), said[0]


def test_terrain_tiles(dem):
    side = dem[0]
    started = time.perf_counter()
    _, first = measured(dem, "ours", 1, 1, "deep")
    print(f"\n{side:,}²: read once before the first tile: {first['prepared_s']:.1f} s")  # noqa: T201
    assert first["prepared_s"] < time.perf_counter() - started
    for which in ("deep", "spread"):
        for threads, processes in ((1, 1), (2, 1), (1, 2)):
            rate, said = measured(dem, "ours", threads, processes, which)
            line = f"{side:,}² {which}, {processes} × {threads} threads: {rate:.0f} tiles/s"
            line += f", {said['cpu_ms']:.2f} ms of CPU and {said['bytes']:.0f} bytes a tile"
            if said["triangles"]:
                line += f", {said['triangles']:.0f} triangles, at most {said['blocks']} blocks a tile"
                assert said["blocks"] <= 16
            print(f"\n{line}, peak {said['peak_mib']:.0f} MiB")  # noqa: T201


def test_peer(dem):
    if not (importlib.util.find_spec("pydelatin") and importlib.util.find_spec("quantized_mesh_encoder")):
        pytest.skip("the peer needs: pip install pydelatin quantized-mesh-encoder")
    for processes in (1, 2):
        rate, said = measured(dem, "peer", 1, processes, "deep")
        line = f"{dem[0]:,}² deep, Delatin + quantized-mesh-encoder, {processes} processes: {rate:.0f} tiles/s"
        line += f", {said['cpu_ms']:.2f} ms of CPU and {said['bytes']:.0f} bytes a tile"
        print(f"\n{line}, {said['triangles']:.0f} triangles")  # noqa: T201
