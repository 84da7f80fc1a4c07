"""GDAL reads image tiles and Terrain-RGB from the real server as rasters of any grid; the oracle is the file itself."""

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.enums import Resampling
from rasterio.transform import from_origin
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds
from rasterio.windows import from_bounds

from layers.report import Report
from tests.clients.conftest import served
from tiles import matrix_set
from twin import config
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Asset, SourceRecord

pytestmark = pytest.mark.client

CITY, EAST, NORTH, SIDE, CELL = "EPSG:4549", 598_016.0, 3_112_000.0, 1200, 0.5
BOX = (EAST, NORTH - SIDE * CELL, EAST + SIDE * CELL, NORTH)
DEGREES = {"WorldCRS84Quad", "CGCS2000Quad"}


def write(path, data, **more):
    path.parent.mkdir(exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", width=SIDE, height=SIDE, count=len(data), dtype=data.dtype, crs=CITY,
        transform=from_origin(EAST, NORTH, CELL, CELL), tiled=True, blockxsize=256, blockysize=256, **more,
    ) as out:  # fmt: skip
        out.write(data)
        out.build_overviews([2, 4], Resampling.average)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(1)
    rough = [Image.fromarray(rng.uniform(0, 255, (60, 60)).astype(np.float32)) for _ in range(4)]
    smooth = np.stack([np.asarray(each.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for each in rough])
    write(folder / "rasters/photo.tif", np.clip(smooth[:3], 0, 255).astype(np.uint8))
    write(folder / "rasters/ground.tif", smooth[3:] / 40, nodata=-9999)
    config.save(config.TwinConfig("images", CITY, 121.0, 28.1), folder)
    store = GeoPackageStore(folder / "city.gpkg", create=True, city_crs=CITY)
    record = SourceRecord("a.tif", "0" * 64, 1, 1, "{}")
    with store.writing() as batch:
        batch.begin_source(record)
        for name, layer in (("photo", "dom"), ("ground", "dem")):
            batch.put_asset(Asset(name, layer, "raster", f"rasters/{name}.tif", CITY, BOX, BOX, "a.tif"))
        batch.finish_source(record, Report("a.tif", "test", "0" * 64, "stored"))
    store.close()
    return folder


@pytest.fixture(scope="module")
def address(folder, tmp_path_factory):
    with served(folder, tmp_path_factory.mktemp("served") / "log.txt") as found:
        yield found.rstrip("/")


def description(template, grid, level, bands):
    """GDAL's own description of a tile service, for its WMS driver."""
    columns, rows = grid.size(0)
    side = grid.cell_size(0) * 256
    crs_name = "EPSG:4326" if grid.id == "WorldCRS84Quad" else grid.crs
    window = (
        f"<UpperLeftX>{grid.west!r}</UpperLeftX><UpperLeftY>{grid.north!r}</UpperLeftY>"
        f"<LowerRightX>{grid.west + columns * side!r}</LowerRightX>"
        f"<LowerRightY>{grid.north - rows * side!r}</LowerRightY><TileLevel>{level}</TileLevel>"
        f"<TileCountX>{columns}</TileCountX><TileCountY>{rows}</TileCountY><YOrigin>top</YOrigin>"
    )
    return (
        f'<GDAL_WMS><Service name="TMS"><ServerUrl>{template}</ServerUrl></Service><DataWindow>{window}</DataWindow>'
        f"<Projection>{crs_name}</Projection><BlockSizeX>256</BlockSizeX><BlockSizeY>256</BlockSizeY>"
        f"<BandsCount>{bands}</BandsCount><ZeroBlockHttpCodes>599</ZeroBlockHttpCodes></GDAL_WMS>"
    )


@pytest.mark.parametrize("set_id", matrix_set.ids(CITY))
def test_gdal_reads_the_image_in_its_place_on_every_grid(folder, address, set_id):
    grid = matrix_set.get(set_id, CITY)
    level = grid.level_of(CELL / (111_320 if set_id in DEGREES else 1))
    template = f"{address}/collections/dom/tiles/{set_id}/${{z}}/${{y}}/${{x}}.png"
    box = (EAST + 100, NORTH - 300, EAST + 228, NORTH - 172)
    with rasterio.open(description(template, grid, level, 4)) as service:
        there = transform_bounds(CITY, service.crs, *box)
        window = from_bounds(*there, service.transform).round_offsets().round_lengths()
        got = service.read(window=window).astype(int)
        place = service.window_transform(window)
        with rasterio.open(folder / "rasters/photo.tif") as file, WarpedVRT(
            file, crs=service.crs, transform=place, width=got.shape[2], height=got.shape[1],
            resampling=Resampling.bilinear, tolerance=0.001,
        ) as warped:  # fmt: skip
            want = warped.read().astype(int)
    assert (got[3] == 255).all()
    assert np.abs(got[:3] - want).max() <= 4
    assert np.abs(got[:3] - want).mean() < 0.5
    if set_id == "EPSG4549Quad":  # the file's cells are those of the grid: nothing is resampled
        np.testing.assert_array_equal(got[:3], want)


def test_gdal_reads_heights_from_terrain_rgb(folder, address):
    grid = matrix_set.get("WebMercatorQuad", CITY)
    template = f"{address}/terrain-rgb/${{z}}/${{x}}/${{y}}.png"
    box = (EAST + 100, NORTH - 300, EAST + 228, NORTH - 172)
    with rasterio.open(description(template, grid, 18, 3)) as service:
        window = from_bounds(*transform_bounds(CITY, service.crs, *box), service.transform)
        window = window.round_offsets().round_lengths()
        red, green, blue = service.read(window=window).astype(float)
        with rasterio.open(folder / "rasters/ground.tif") as file, WarpedVRT(
            file, crs=service.crs, transform=service.window_transform(window), width=red.shape[1],
            height=red.shape[0], resampling=Resampling.bilinear, tolerance=0.001,
        ) as warped:  # fmt: skip
            want = warped.read(1)
    heights = -10000 + 0.1 * (red * 65536 + green * 256 + blue)
    assert np.abs(heights - want).max() <= 0.09  # half a step, and what two bilinear filters differ by
    assert np.abs(heights - want).mean() < 0.05
