"""Image tiles from a COG, beside rio-tiler's own reader on the same file, tiles and encoder settings."""

import gc
import time

import numpy as np
import pytest
import rasterio
from rasterio.shutil import copy
from rasterio.transform import from_origin
from rasterio.windows import Window

from layers import crs
from layers.frame import CityFrame
from layers.heights import Egm96
from tests.tiles.towns import MemoryCity, MemoryStore, layer_type
from tiles import imagery, matrix_set
from tiles.imagery import Frame, Wanted
from tiles.terrain import TerrainTiles
from tiles.terrain_rgb import TerrainRgb
from twin.store.interface import Asset
from twin.terrain import Terrain, TerrainRaster

CITY, EAST, NORTH = "EPSG:4549", 590_000.0, 3_120_000.0
CASES = [("dom", 4_096, 0.2), ("dom", 16_384, 0.2), ("dem", 4_096, 1.0), ("dem", 16_384, 1.0)]


def cog(folder, layer, side, cell):
    """Roofs and fields with grain (three bytes, JPEG like most orthophotos), or hills with the noise of a scan."""
    raw, path = folder / "raw.tif", folder / "image.tif"
    draw = np.random.default_rng(5)
    count, dtype = (3, "uint8") if layer == "dom" else (1, "float32")
    profile = {"driver": "GTiff", "width": side, "height": side, "count": count, "dtype": dtype, "crs": CITY}
    profile |= {"transform": from_origin(EAST, NORTH, cell, cell), "tiled": True} | (
        {} if count == 3 else {"nodata": -9999}
    )
    x = np.arange(side, dtype=np.float32)
    with rasterio.open(raw, "w", **profile) as file:
        for top in range(0, side, 256):
            y = np.arange(top, min(top + 256, side), dtype=np.float32)[:, None]
            hills = np.sin(x / 300) * np.cos(y / 400)
            for band in range(count):
                grain = draw.normal(scale=9 if count == 3 else 0.03, size=(len(y), side))
                strip = 120 + (70 if count == 3 else 90) * hills * (1 - 0.2 * band) + grain
                strip = np.clip(strip, 0, 255) if count == 3 else strip
                file.write(strip.astype(dtype), band + 1, window=Window(0, top, side, len(y)))
    packing = {"COMPRESS": "JPEG", "QUALITY": "90"} if count == 3 else {"COMPRESS": "DEFLATE", "PREDICTOR": "YES"}
    copy(raw, path, driver="COG", BLOCKSIZE=512, OVERVIEW_RESAMPLING="AVERAGE", NUM_THREADS=2, **packing)
    raw.unlink()
    box = (EAST, NORTH - side * cell, EAST + side * cell, NORTH)
    return Asset("image", layer, "raster", path.name, CITY, box, box, "s")


def addresses(grid, asset, cell, n=30):
    """Tiles inside the file, of five levels from its own resolution upwards."""
    draw = np.random.default_rng(1)
    west, south, east, north = asset.bounds
    x, y = crs.transform(CITY, grid.crs, draw.uniform(west, east, n), draw.uniform(south, north, n))
    finest = grid.level_of(cell / 0.88)
    for k in range(n):
        z = finest - k % 5
        column, row, _, _ = grid.cover(z, (x[k], y[k], x[k] + 1e-9, y[k] + 1e-9))
        yield z, column, row


def ours(town, asset, grid, address):
    z, x, y = address
    frame = Frame(grid, z, x, y)
    if asset.layer == "dem":
        return imagery._made(imagery.picture(town, [asset], frame, Wanted(colormap="viridis", rescale=(0.0, 250.0))))
    return imagery._made(imagery.picture(town, [asset], frame))


def theirs(town, asset, _grid, address):
    from rio_tiler.colormap import cmap
    from rio_tiler.io import Reader

    z, x, y = address
    with Reader(str(town.folder / asset.path)) as reader:
        indexes = (1,) if asset.layer == "dem" else (1, 2, 3)
        part = reader.tile(x, y, z, indexes=indexes, resampling_method="bilinear", reproject_method="bilinear")
    if asset.layer == "dem":
        part.rescale(in_range=((0, 250),))
        return part.render(img_format="PNG", colormap=cmap.get("viridis"))
    opaque = bool((part.mask == 255).all())
    return part.render(img_format="JPEG", add_mask=False, quality=85) if opaque else part.render(img_format="PNG")


@pytest.mark.bench
@pytest.mark.parametrize(("layer", "side", "cell"), CASES)
def test_image_tiles(tmp_path, layer, side, cell):
    asset = cog(tmp_path, layer, side, cell)
    town = MemoryCity(MemoryStore(layer_type(), np.zeros((0, 6))), folder=tmp_path)
    grid = matrix_set.get("WebMercatorQuad", CITY)
    tiles = list(addresses(grid, asset, cell))
    found = {"ours": [], "rio-tiler": []}
    for turn in range(2):
        for name, make in (("ours", ours), ("rio-tiler", theirs)):
            gc.collect()
            for address in tiles:
                start = time.perf_counter()
                assert make(town, asset, grid, address)[:2] in {b"\xff\xd8", b"\x89P"}
                if turn:
                    found[name].append(time.perf_counter() - start)
    for name, seconds in found.items():
        p50, p95 = np.percentile(seconds, (50, 95)) * 1e3
        print(f"\n{layer} {side:,}², {name}: {1 / np.mean(seconds):.0f} tiles/s, p50 {p50:.1f} ms, p95 {p95:.1f} ms")  # noqa: T201
    ratio = np.mean(found["rio-tiler"]) / np.mean(found["ours"])
    print(f"\n{layer} {side:,}²: {ratio:.1f} times the rate of rio-tiler")  # noqa: T201


@pytest.mark.bench
@pytest.mark.parametrize("side", [4_096, 16_384])
def test_height_tiles(tmp_path, side):
    """Shaded relief and Terrain-RGB of the same elevation model."""
    asset = cog(tmp_path, "dem", side, 1.0)
    ground = Terrain([TerrainRaster(tmp_path / asset.path, CITY)], CITY)
    frame = CityFrame(CITY, Egm96(), 121.0, 28.1)
    town = MemoryCity(MemoryStore(layer_type(), np.zeros((0, 6))), folder=tmp_path, terrain=ground, frame=frame)
    town.store.asset_list.append(asset)
    grid = matrix_set.get("WebMercatorQuad", CITY)
    rgb = TerrainRgb(TerrainTiles(town))
    makers = {
        "hillshade": lambda z, x, y: imagery._made(
            imagery.picture(town, [asset], Frame(grid, z, x, y), Wanted("hillshade"))
        ),
        "Terrain-RGB, PNG": rgb.tile,
        "Terrain-RGB, WebP": lambda z, x, y: rgb.tile(z, x, y, "webp"),
    }
    for name, make in makers.items():
        seconds, sizes = [], []
        for turn in range(2):
            for address in addresses(grid, asset, 1.0):
                start = time.perf_counter()
                body = make(*address)
                if turn:
                    seconds.append(time.perf_counter() - start)
                    sizes.append(len(body))
        p50 = np.percentile(seconds, 50) * 1e3
        rate, size = 1 / np.mean(seconds), np.mean(sizes) / 1e3
        print(f"\n{side:,}² {name}: {rate:.0f} tiles/s, p50 {p50:.1f} ms, {size:.0f} kB")  # noqa: T201
