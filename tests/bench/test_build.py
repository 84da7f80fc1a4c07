"""`citytwin build` of 10,000 and 100,000 buildings on a DEM, as a user runs it: the rate, and memory that stays put."""

import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from rasterio.transform import from_origin

ROOT = Path(__file__).resolve().parents[2]
CITY = "EPSG:4549"
EAST, NORTH = 590_000.0, 3_100_000.0
MEASURED = (
    "import resource, subprocess, sys; code = subprocess.run(sys.argv[1:]).returncode; "
    "print('peak_kib', resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"
)


def make_city(folder, n):
    """Rectangles and L-shapes with heights on a 25 m grid, and a wavy DEM under them; deterministic."""
    folder.mkdir()
    draw = np.random.default_rng(0)
    across = int(np.ceil(np.sqrt(n)))
    at = np.arange(n)
    west, south = EAST + 25.0 * (at % across), NORTH + 25.0 * (at // across)
    width, depth = draw.uniform(6, 20, n), draw.uniform(6, 20, n)
    shapes = shapely.box(west, south, west + width, south + depth)
    cut = shapely.box(west + width / 2, south + depth / 2, west + width + 1, south + depth + 1)
    shapes[::3] = shapely.difference(shapes[::3], cut[::3])
    columns = {
        "building_code": [f"N{k:07d}" for k in at],
        "height_m": np.round(draw.uniform(3, 60, n), 1),
        "floors": draw.integers(1, 20, n),
        "use": draw.choice(["住宅", "商业", "工业"], n),
    }
    frame = geopandas.GeoDataFrame(columns, geometry=shapes, crs=CITY)
    frame.to_file(folder / "buildings.gpkg", layer="buildings", engine="pyogrio")
    cells = int(25 * across / 5) + 21
    y, x = np.mgrid[0:cells, 0:cells]
    dem = (20 + 10 * np.sin(x / 90) + 8 * np.cos(y / 70)).astype(np.float32)
    profile = {"driver": "GTiff", "height": cells, "width": cells, "count": 1, "dtype": "float32", "crs": CITY}
    profile["transform"] = from_origin(EAST - 50, NORTH + cells * 5 - 50, 5, 5)
    with rasterio.open(folder / "dem.tif", "w", tiled=True, compress="deflate", **profile) as file:
        file.write(dem, 1)
    (folder / "city.toml").write_text(f'name = "bench"\ncrs = "{CITY}"\norigin = [121.0, 28.1]\n')


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
        with sqlite3.connect(twin / "city.gpkg") as store:
            assert store.execute("SELECT count(*) FROM building").fetchone() == (n,)
            assert store.execute("SELECT mesh_count FROM gpkg_citytwin_layer").fetchone() == (n,)
    assert peaks[100_000] < peaks[10_000] + 256
