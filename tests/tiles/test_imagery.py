"""Image tiles against the pixel that PROJ says belongs there."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
from PIL import Image
from rasterio.enums import Resampling
from rasterio.transform import from_origin

from layers.errors import InvalidInput, NotFound
from tests.tiles.towns import city
from tiles import imagery, mercator
from twin.scope import EVERYTHING, Scope
from twin.store.interface import Asset

EAST, NORTH, CELL, PIXELS = 598_000.0, 3_112_000.0, 1.0, 1024
TO_CITY = pyproj.Transformer.from_crs("EPSG:3857", "EPSG:4549", always_xy=True)
TO_MERCATOR = pyproj.Transformer.from_crs("EPSG:4549", "EPSG:3857", always_xy=True)


def ramp(dtype=np.uint8, top=250):
    """Red grows to the east, green to the south, blue is 77 %."""
    line = np.linspace(0, top, PIXELS)
    return np.stack(
        [np.tile(line, (PIXELS, 1)), np.tile(line, (PIXELS, 1)).T, np.full((PIXELS, PIXELS), top * 0.77)]
    ).astype(dtype)


@pytest.fixture
def town(tmp_path):
    made = city(1)
    made.folder = tmp_path
    return made


def image(town, data, epoch="2024", name="dom", nodata=None):
    path = town.folder / f"{name}.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=PIXELS, height=PIXELS, count=len(data), dtype=data.dtype, crs="EPSG:4549",
        transform=from_origin(EAST, NORTH, CELL, CELL), nodata=nodata, tiled=True, blockxsize=256, blockysize=256,
    ) as out:  # fmt: skip
        out.write(data)
        out.build_overviews([2, 4], Resampling.average)
    bounds = (EAST, NORTH - PIXELS * CELL, EAST + PIXELS * CELL, NORTH)
    asset = Asset(name, "dom", "raster", f"{name}.tif", "EPSG:4549", bounds, bounds, "s", epoch=epoch,
                  meta={"width": PIXELS, "height": PIXELS})  # fmt: skip
    town.store.asset_list.append(asset)
    return asset


def address(z, east=EAST + 500, north=NORTH - 500):
    x, y = TO_MERCATOR.transform(east, north)
    side = 2 * mercator.HALF_M / 2**z
    return z, int((x + mercator.HALF_M) / side), int((mercator.HALF_M - y) / side)


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"), int)


def true_place(z, x, y):
    """East and north in the city's CRS of each pixel centre."""
    west, _south, east, north = mercator.bounds(z, x, y)
    step = (east - west) / 256
    columns, rows = np.meshgrid(np.arange(256) + 0.5, np.arange(256) + 0.5)
    return TO_CITY.transform(west + columns * step, north - rows * step)


@pytest.mark.parametrize("image_format", ["png", "webp", "jpeg", "auto"])
def test_each_pixel_shows_what_lies_there(town, image_format):
    z, x, y = address(16)
    got = pixels(imagery.tile(town, image(town, ramp()), z, x, y, image_format))
    east, north = true_place(z, x, y)
    inside = (east > EAST + 3) & (east < EAST + PIXELS - 3) & (north < NORTH - 3) & (north > NORTH - PIXELS + 3)
    assert inside.any()
    red, green = (east - EAST) / PIXELS * 250, (NORTH - north) / PIXELS * 250
    tolerance = 3 if image_format == "png" else 12
    assert np.abs(got[..., 0] - red)[inside].max() < tolerance
    assert np.abs(got[..., 1] - green)[inside].max() < tolerance


def test_outside_is_transparent_and_inside_is_not(town):
    asset = image(town, ramp())
    z, x, y = address(15, EAST, NORTH)
    got = pixels(imagery.tile(town, asset, z, x, y))
    east, north = true_place(z, x, y)
    inside = (east > EAST + 10) & (north < NORTH - 10)
    outside = (east < EAST - 10) | (north > NORTH + 10)
    assert inside.any()
    assert outside.any()
    assert (got[..., 3][inside] == 255).all()
    assert (got[..., 3][outside] == 0).all()
    empty = pixels(imagery.tile(town, asset, *address(15, EAST + 50_000, NORTH)))
    assert empty.shape == (256, 256, 4)
    assert (empty[..., 3] == 0).all()


def test_covered_tiles_are_jpeg_and_cut_ones_png(town):
    asset = image(town, ramp())
    assert imagery.tile(town, asset, *address(18))[:2] == b"\xff\xd8"
    assert imagery.tile(town, asset, *address(13))[:4] == b"\x89PNG"


def test_nodata_is_transparent(town):
    data = ramp()
    data[:, 300:700, 300:700] = 255
    got = pixels(imagery.tile(town, image(town, data, nodata=255), *address(18)))
    assert (got[..., 3] == 0).all()


def test_16_bit_images_are_stretched_alike_in_every_tile(town):
    asset = image(town, ramp(np.uint16, 4000))
    z, x, y = address(17)
    left, right = (pixels(imagery.tile(town, asset, z, x + dx, y, "png")) for dx in (0, 1))
    assert np.abs(left[:, -1, 0] - right[:, 0, 0]).max() <= 3
    assert left[..., 0].max() > left[..., 0].min() + 20


def test_one_band_is_grey(town):
    got = pixels(imagery.tile(town, image(town, ramp()[:1]), *address(17), "png"))
    np.testing.assert_array_equal(got[..., 0], got[..., 2])


def test_a_palette_is_shown_in_its_colours(town):
    data = np.full((1, PIXELS, PIXELS), 3, np.uint8)
    asset = image(town, data)
    with rasterio.open(town.folder / asset.path, "r+") as out:
        out.write_colormap(1, {3: (10, 200, 30, 255)})
    got = pixels(imagery.tile(town, asset, *address(18), "png"))
    assert {tuple(value) for value in got.reshape(-1, 4).tolist()} == {(10, 200, 30, 255)}


def test_epochs_are_chosen_by_name(town):
    image(town, ramp(), "2024", "new")
    image(town, ramp(), "2019", "old")
    assert [asset.id for asset in imagery.assets(town, EVERYTHING)] == ["new", "old"]
    assert [asset.id for asset in imagery.assets(town, EVERYTHING, epoch="2019")] == ["old"]
    with pytest.raises(NotFound, match=r"Known epochs: 2019, 2024"):
        imagery.assets(town, EVERYTHING, epoch="1999")
    with pytest.raises(NotFound):
        imagery.assets(town, Scope("guest", frozenset()))


def test_the_deepest_zoom_is_as_fine_as_the_image(town):
    low, high = imagery.zooms(image(town, ramp()))
    pixel_m = 2 * mercator.HALF_M / 256 / 2**high * np.cos(np.radians(28.1))
    assert CELL / 2 < pixel_m <= CELL
    assert 2 * mercator.HALF_M / 2**low * np.cos(np.radians(28.1)) >= PIXELS * CELL


def test_a_file_that_cannot_be_read_is_named(town):
    asset = image(town, ramp())
    (town.folder / asset.path).write_bytes(b"not a tiff")
    with pytest.raises(InvalidInput, match="'dom'"):
        imagery.tile(town, asset, *address(15))
    with pytest.raises(NotFound):
        imagery.tile(town, asset, 3, 9, 0)


def test_many_threads_may_ask_for_the_first_tile_at_once():
    """In a fresh process, since what is imported stays so."""
    script = """
import sys, threading
sys.setswitchinterval(1e-5)
from tiles import imagery
start, failed = threading.Barrier(12), []
def ask():
    start.wait()
    try:
        imagery._reader()
    except ImportError as error:
        failed.append(error)
threads = [threading.Thread(target=ask) for _ in range(12)]
[each.start() for each in threads]
[each.join() for each in threads]
sys.exit(str(failed) if failed else 0)
"""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
