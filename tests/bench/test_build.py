"""`citytwin build` of 10,000 and 100,000 buildings on a DEM, as a user runs it: the rate, and memory that stays put."""

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MEASURED = (
    "import resource, subprocess, sys; code = subprocess.run(sys.argv[1:]).returncode; "
    "print('peak_kib', resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"
)


def make_city(folder, n):
    """Terrain, n buildings and water pipes of a big city of the sample town's kind; deterministic."""
    script = [sys.executable, str(ROOT / "sample_data" / "make_town.py"), "--buildings", str(n), "--out", str(folder)]
    subprocess.run(script, cwd=ROOT, check=True, capture_output=True)


def measured_build(source, twin):
    command = [sys.executable, "-m", "server.cli", "build", str(source), str(twin)]
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - start
    assert done.returncode == 0, done.stdout + done.stderr
    return seconds, int(done.stdout.split()[-1]) / 1024


@pytest.mark.bench
def test_building_100_000_buildings_takes_no_more_memory_than_10_000(tmp_path):
    peaks = {}
    for n in (10_000, 100_000):
        source, twin = tmp_path / f"source{n}", tmp_path / f"twin{n}"
        make_city(source, n)
        seconds, peak_mib = measured_build(source, twin)
        again, _ = measured_build(source, twin)
        peaks[n] = peak_mib
        size = (twin / "city.gpkg").stat().st_size / 2**20
        print(  # noqa: T201
            f"\n{n:,} buildings: {seconds:.1f} s, {n / seconds:,.0f} buildings/s, peak {peak_mib:.0f} MiB, "
            f"store {size:.0f} MiB, unchanged rebuild {again:.2f} s, {os.cpu_count()} cores"
        )
        with closing(sqlite3.connect(twin / "city.gpkg")) as store:
            assert store.execute("SELECT count(*) FROM building").fetchone() == (n,)
            meshes = store.execute("SELECT mesh_count FROM gpkg_citytwin_layer WHERE id = 'building'")
            assert meshes.fetchone() == (n,)
    assert peaks[100_000] < peaks[10_000] + 256
