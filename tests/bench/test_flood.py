"""Connected flood on a raster file, block by block, beside scipy's labels on the whole array: time and peak memory."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin
from rasterio.windows import Window

ROOT = Path(__file__).resolve().parents[2]
LEVEL_M = 110.0
OURS = """
import sys, numpy as np
from pathlib import Path
from twin.analysis.elevation import Elevation, Grid, own_cells
from twin.analysis.flood_inundation_water import water
from twin.terrain import Terrain, TerrainRaster
terrain = Terrain([TerrainRaster(Path(sys.argv[1]), "EPSG:4549")], "EPSG:4549")
heights = Elevation(terrain, Grid("EPSG:4549", *own_cells(terrain.own_grid())), is_native=True)
found = water(heights.read, heights.grid, float(sys.argv[2]), np.array([[0, 0]]))
print(found.n_cells, found.volume_m3)
"""
PEER = """
import sys, numpy as np, rasterio
from scipy import ndimage
z = rasterio.open(sys.argv[1]).read(1)
labels, _ = ndimage.label(z < float(sys.argv[2]))
wet = labels == labels[0, 0]
print(int(wet.sum()), float((float(sys.argv[2]) - z[wet].astype(float)).sum()))
"""
MEASURED = "\nimport resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"


def make_dem(path, side):
    """Hills and a plain with the noise of a laser scan, tiled and packed as rasters of a city are."""
    draw = np.random.default_rng(5)
    profile = {"driver": "GTiff", "width": side, "height": side, "count": 1, "dtype": "float32", "nodata": -9999}
    profile |= {"crs": "EPSG:4549", "transform": from_origin(500000, 3120000, 1, 1), "tiled": True}
    profile |= {"blockxsize": 512, "blockysize": 512, "compress": "deflate", "predictor": 3}
    x = np.arange(side, dtype=np.float32)
    with rasterio.open(path, "w", **profile, num_threads=2) as file:
        for top in range(0, side, 512):
            y = np.arange(top, min(top + 512, side), dtype=np.float32)[:, None]
            strip = 108 + 40 * np.sin(x / 700) * np.sin(y / 900) + draw.normal(scale=0.3, size=(len(y), side))
            file.write(np.round(strip, 2).astype(np.float32), 1, window=Window(0, top, side, len(y)))
    return path


def measured(code, *arguments):
    start = time.perf_counter()
    command = [sys.executable, "-c", code + MEASURED, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    n, volume, peak = done.stdout.split()
    return time.perf_counter() - start, int(peak) / 1024, int(n), float(volume)


@pytest.mark.bench
@pytest.mark.parametrize("side", [2_500, 10_000])
def test_flood(tmp_path, side):
    source = make_dem(tmp_path / "dem.tif", side)
    measured(OURS, source, LEVEL_M)  # machine code is made once
    runs = {"ours": [], "scipy.ndimage.label": []}
    for _ in range(2):
        for name, code in (("ours", OURS), ("scipy.ndimage.label", PEER)):
            runs[name].append(measured(code, source, LEVEL_M))
    for name, each in runs.items():
        seconds, peak_mib, n, _ = min(each)
        words = f"{seconds:.2f} s, {side * side / seconds / 1e6:.0f} M cells/s, peak {peak_mib:.0f} MiB, {n:,} wet"
        print(f"\n{side:,}² DEM, {name}: {words}")  # noqa: T201
    ours, theirs = runs["ours"][0], runs["scipy.ndimage.label"][0]
    assert ours[2] == theirs[2] > side * side / 10
    assert ours[3] == pytest.approx(theirs[3], rel=1e-9)
