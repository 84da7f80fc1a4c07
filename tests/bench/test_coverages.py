"""Coverages from a COG of 8,192 x 8,192 heights, beside GDAL through rasterio doing the same read, warp and write."""

import time

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling
from rasterio.shutil import copy
from rasterio.transform import from_origin
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from tiles.coverage import geotiff, points
from tiles.coverage.sheets import coverage
from twin.config import TwinConfig
from twin.store.interface import Asset

pytestmark = pytest.mark.bench
CITY, EAST, NORTH, SIDE = "EPSG:4549", 590_000.0, 3_120_000.0, 8192
CONFIG = TwinConfig("bench", CITY, 121.0, 28.1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dem")
    draw = np.random.default_rng(7)
    profile = {"driver": "GTiff", "width": SIDE, "height": SIDE, "count": 1, "dtype": "float32", "crs": CITY,
               "transform": from_origin(EAST, NORTH, 1, 1), "nodata": -9999, "tiled": True}  # fmt: skip
    x = np.arange(SIDE, dtype=np.float32)
    with rasterio.open(folder / "raw.tif", "w", **profile) as file:
        for top in range(0, SIDE, 256):
            y = np.arange(top, top + 256, dtype=np.float32)[:, None]
            strip = 90 * np.sin(x / 300) * np.cos(y / 400) + draw.normal(scale=0.03, size=(256, SIDE))
            file.write(strip.astype(np.float32), 1, window=Window(0, top, SIDE, 256))
    copy(folder / "raw.tif", folder / "dem.tif", driver="COG", BLOCKSIZE=512, COMPRESS="DEFLATE", PREDICTOR="YES")
    (folder / "raw.tif").unlink()
    return folder


def made(folder):
    box = (EAST, NORTH - SIDE, EAST + SIDE, NORTH)
    return coverage(folder, CONFIG, "dem", [Asset("dem", "dem", "raster", "dem.tif", CITY, box, box, "s")])


def peer(folder, target, frame, *, is_native):
    """The same cells by rasterio alone."""
    profile = {"driver": "GTiff", "width": frame.width, "height": frame.height, "count": 1, "dtype": "float32",
               "crs": frame.crs, "transform": from_origin(frame.west, frame.north, frame.dx, frame.dy), "nodata": -9999,
               "tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "zlevel": 1,
               "predictor": 3}  # fmt: skip
    with rasterio.open(folder / "dem.tif") as source, rasterio.open(target, "w", **profile) as out:
        if is_native:
            out.write(source.read(1, window=Window(1000, 1000, frame.width, frame.height)), 1)
            return
        with WarpedVRT(source, crs=frame.crs, transform=profile["transform"], width=frame.width, height=frame.height,
                       resampling=Resampling.bilinear, tolerance=1e-6) as warped:  # fmt: skip
            out.write(warped.read(1), 1)


@pytest.mark.parametrize("side", [1024, 4096])
@pytest.mark.parametrize("how", ["native", "EPSG:3857"])
def test_geotiff(benchmark, folder, side, how):
    found = made(folder)
    frame = found.grid.part(1000, side, 1000, side)
    if how != "native":
        frame = frame.within(how)
    path, other = folder / "out.tif", folder / "peer.tif"
    rounds = 3 if side > 2000 else 5
    benchmark.pedantic(geotiff.write, (path, found, frame, found.fields), rounds=rounds, warmup_rounds=1)
    took = []
    for _ in range(rounds):
        begun = time.perf_counter()
        peer(folder, other, frame, is_native=how == "native")
        took.append(time.perf_counter() - begun)
    with rasterio.open(path) as ours, rasterio.open(other) as theirs:
        assert np.abs(ours.read(1) - theirs.read(1)).max() < (1e-12 if how == "native" else 1e-2)
    benchmark.extra_info["megacells_per_second"] = round(frame.cells / benchmark.stats["median"] / 1e6, 2)
    benchmark.extra_info["times_rasterio"] = round(benchmark.stats["median"] / float(np.median(took)), 2)


@pytest.mark.parametrize("n", [100, 10_000])
def test_points(benchmark, folder, n):
    found, draw = made(folder), np.random.default_rng(1)
    x, y = EAST + draw.uniform(0, SIDE, n), NORTH - draw.uniform(0, SIDE, n)
    values = benchmark(points.at, found, CITY, x, y, found.fields)
    with rasterio.open(folder / "dem.tif") as dataset:
        assert np.array_equal(values[0], [v[0] for v in dataset.sample(zip(x, y, strict=True))])
    benchmark.extra_info["points_per_second"] = round(n / benchmark.stats["median"])
