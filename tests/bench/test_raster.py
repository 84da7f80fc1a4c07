"""An elevation raster -> COG, every block checked on the way, beside GDAL's own COG driver on the same file."""

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
OURS = (
    "import sys; from pathlib import Path; from ingest.raster import reader; from layers.source import Hints; "
    "reader.read(Path(sys.argv[1]), Hints()).layers[0].write(Path(sys.argv[2]))"
)
PEER = (
    "import sys; from rasterio.shutil import copy; copy(sys.argv[1], sys.argv[2], driver='COG', BLOCKSIZE=512, "
    "COMPRESS='DEFLATE', PREDICTOR='YES', NUM_THREADS=2, OVERVIEW_RESAMPLING='BILINEAR')"
)
MEASURED = "; import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"


def make_dem(path, side):
    """Hills of some hundred metres with the noise of a laser scan; written in strips, so that it may be of any size."""
    draw = np.random.default_rng(5)
    profile = {"driver": "GTiff", "width": side, "height": side, "count": 1, "dtype": "float32", "nodata": -9999}
    profile |= {"crs": "EPSG:4549", "transform": from_origin(590000, 3120000, 1, 1)}
    x = np.arange(side, dtype=np.float32)
    with rasterio.open(path, "w", **profile) as file:
        for top in range(0, side, 256):
            y = np.arange(top, min(top + 256, side), dtype=np.float32)[:, None]
            strip = 120 + 90 * np.sin(x / 700) * np.cos(y / 900) + draw.normal(scale=0.03, size=(len(y), side))
            file.write(np.round(strip, 2).astype(np.float32), 1, window=Window(0, top, side, len(y)))
    return path


def measured(code, source, target):
    start = time.perf_counter()
    command = [sys.executable, "-c", code + MEASURED, str(source), str(target)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return time.perf_counter() - start, int(done.stdout.split()[-1]) / 1024


@pytest.mark.bench
@pytest.mark.parametrize("side", [2_500, 10_000])
def test_dem_to_cog(tmp_path, side):
    source = make_dem(tmp_path / "dem.tif", side)
    runs = {"ours": [], "GDAL's COG driver": []}
    for turn in range(2):
        for name, code in (("ours", OURS), ("GDAL's COG driver", PEER)):
            runs[name].append(measured(code, source, tmp_path / f"{name[:4]}{turn}.tif"))
    best = {name: min(each) for name, each in runs.items()}
    for name, (seconds, peak_mib) in best.items():
        rate = side * side / seconds / 1e6
        print(f"\n{side:,}² DEM, {name}: {seconds:.2f} s, {rate:.1f} M cells/s, peak {peak_mib:.0f} MiB")  # noqa: T201
    print(f"\n{side:,}²: {best['ours'][0] / best["GDAL's COG driver"][0]:.2f} times GDAL's time")  # noqa: T201
    with rasterio.open(tmp_path / "ours0.tif") as ours, rasterio.open(source) as theirs:
        window = Window(side // 3, side // 2, 300, 200)
        assert np.array_equal(ours.read(1, window=window), theirs.read(1, window=window))
