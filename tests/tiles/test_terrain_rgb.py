"""Terrain-RGB of a ground that is a formula and of real rasters; decoded by the encodings' published formulas."""

import io

import numpy as np
import pyproj
import pytest
import rasterio
from egm96 import undulation
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rasterio.enums import Resampling
from rasterio.transform import from_bounds, from_origin
from rasterio.vrt import WarpedVRT

from layers.errors import NotFound
from layers.frame import CityFrame
from layers.heights import Constant, Egm96
from tests.tiles.towns import MemoryCity, MemoryStore, layer_type
from tiles import terrain_rgb
from tiles.terrain import TerrainTiles
from tiles.terrain_rgb import TerrainRgb
from twin.terrain import Terrain, TerrainFacts, TerrainRaster

BOUNDS = (120.98, 28.08, 121.02, 28.12)
CITY = "EPSG:4549"


class Hills:
    """A ground that is a formula, with 5 m cells; NaN outside its bounds."""

    is_empty = False
    lonlat_bounds = BOUNDS
    facts = TerrainFacts(10.0, 90.0, 1, 1_000_000, 0, 0, 0.0)
    extents = ((BOUNDS, 5.0),)

    def ground(self, lon, lat):
        return 50 + 40 * np.sin(lon * 500) * np.cos(lat * 400)

    def filled_lonlat(self, lon_deg, lat_deg, cell_m=None):
        west, south, east, north = self.lonlat_bounds
        inside = (lon_deg >= west) & (lon_deg <= east) & (lat_deg >= south) & (lat_deg <= north)
        return np.where(inside, self.ground(lon_deg, lat_deg), np.nan)


class Nothing(Hills):
    is_empty = True
    lonlat_bounds = None
    extents = ()


def made(ground=None, model=None, **options):
    frame = CityFrame(CITY, model or Egm96(), 121.0, 28.1)
    city = MemoryCity(MemoryStore(layer_type(), np.zeros((0, 6))), terrain=ground or Hills(), frame=frame)
    return TerrainRgb(TerrainTiles(city), **options)


def address(z, lon=121.0, lat=28.1):
    n = 2**z
    return z, int((lon + 180) / 360 * n), int((1 - np.arcsinh(np.tan(np.radians(lat))) / np.pi) / 2 * n)


def decode(data, encoding="mapbox"):
    """Heights as MapLibre unpacks them."""
    red, green, blue = np.moveaxis(np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), float), -1, 0)
    if encoding == "terrarium":
        return red * 256 + green + blue / 256 - 32768
    return -10000 + (red * 65536 + green * 256 + blue) * 0.1


def places(z, x, y, size=256):
    """Longitude and latitude of the centres, by PROJ."""
    half = 20037508.342789244
    step = 2 * half / 2**z / size
    line = np.arange(size) + 0.5
    xs, ys = np.meshgrid(x * size * step + line * step - half, half - y * size * step - line * step)
    return pyproj.Transformer.from_crs("EPSG:3857", "EPSG:4326", always_xy=True).transform(xs, ys)


@pytest.mark.parametrize("image_format", ["png", "webp"])
@pytest.mark.parametrize("size", [256, 512])
@pytest.mark.parametrize(("encoding", "half_step"), [("mapbox", 0.05), ("terrarium", 1 / 512)])
def test_each_pixel_states_the_height_at_its_centre(image_format, size, encoding, half_step):
    tiles = made(encoding=encoding, size=size)
    data = tiles.tile(*address(15), image_format)
    assert Image.open(io.BytesIO(data)).format == image_format.upper()
    got, (lon, lat) = decode(data, encoding), places(*address(15), size)
    assert got.shape == (size, size)
    assert np.abs(got - Hills().ground(lon, lat)).max() <= half_step + 1e-6


def test_ellipsoidal_heights_have_the_undulation_in_them():
    got = decode(made(heights="ellipsoidal").tile(*address(14)))
    lon, lat = places(*address(14))
    inside = ~np.isnan(Hills().filled_lonlat(lon, lat))
    want = Hills().ground(lon, lat) + undulation(lat.ravel(), lon.ravel()).reshape(lat.shape)
    assert inside.all()
    assert np.abs(got - want).max() <= 0.051
    constant = decode(made(heights="ellipsoidal", model=Constant(12.5)).tile(*address(14)))
    assert np.abs(constant - 12.5 - Hills().ground(lon, lat)).max() <= 0.051


@given(st.floats(-10000, 1_600_000), st.floats(-32768, 32767.9))
@settings(deadline=None)
def test_a_height_survives_both_encodings_within_half_a_step(mapbox, terrarium):
    red, green, blue = terrain_rgb.encode(np.array([mapbox]), "mapbox")[0].tolist()
    assert abs(-10000 + (red * 65536 + green * 256 + blue) * 0.1 - mapbox) <= 0.05 + 1e-6
    red, green, blue = terrain_rgb.encode(np.array([terrarium]), "terrarium")[0].tolist()
    assert abs(red * 256 + green + blue / 256 - 32768 - terrarium) <= 1 / 512 + 1e-9


def test_there_is_no_wall_around_the_survey():
    """The step from one pixel to the next, across the edge of the survey and of the apron, is no cliff."""
    tiles = made()
    z, x, y = address(11)
    heights = np.vstack([np.hstack([decode(tiles.tile(z, x + i, y + j)) for i in (-1, 0, 1)]) for j in (-1, 0, 1)])
    lon, _ = places(z, x - 1, y - 1, 256)
    pixel_m = 156543.03 / 2**11 * np.cos(np.radians(28.1))
    rise = max(np.abs(np.diff(heights, axis=0)).max(), np.abs(np.diff(heights, axis=1)).max()) / pixel_m
    steepest = 40 * 500 / (111_320 * np.cos(np.radians(28.1)))  # of the formula itself
    assert rise < steepest * 1.3
    assert (heights[0] == 0).all()
    assert (heights[:, -1] == 0).all()
    assert lon.min() < tiles.bounds[0]
    west, south, east, north = tiles.bounds
    assert west < BOUNDS[0] < BOUNDS[2] < east
    assert south < BOUNDS[1] < BOUNDS[3] < north


def test_far_tiles_are_the_sea():
    flat = made().tile(9, 3, 4)
    assert (np.abs(decode(flat)) < 1e-9).all()
    assert len(flat) < 1500
    assert (decode(made(heights="ellipsoidal").tile(3, 7, 2)) != 0).any()


def raster(folder, heights, east=598_000.0, north=3_112_000.0, cell=2.0, name="dem"):
    path = folder / f"{name}.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=heights.shape[1], height=heights.shape[0], count=1, dtype="float32", crs=CITY,
        nodata=-9999, transform=from_origin(east, north, cell, cell), tiled=True, blockxsize=256, blockysize=256,
    ) as out:  # fmt: skip
        out.write(heights.astype(np.float32), 1)
        out.build_overviews([2, 4, 8, 16], Resampling.average)
    return path


@pytest.fixture
def valley(tmp_path):
    """A real raster of 4 x 4 km, smooth enough that bilinear between cells is known."""
    line = np.arange(2048) * 2.0
    heights = 80 + 60 * np.sin(line[None] / 350) * np.cos(line[:, None] / 280) + line[None] * 0.01
    return raster(tmp_path, heights)


@pytest.mark.parametrize("z", [17, 15, 13, 12])
def test_a_raster_is_read_as_gdal_warps_it(valley, z):
    tiles = made(Terrain([TerrainRaster(valley, CITY)], CITY))
    e, n = 598_000 + 2048, 3_112_000 - 2048
    lon, lat = pyproj.Transformer.from_crs(CITY, "EPSG:4326", always_xy=True).transform(e, n)
    z, x, y = address(z, lon, lat)
    got = decode(tiles.tile(z, x, y))
    half = 20037508.342789244
    side = 2 * half / 2**z
    bounds = (x * side - half, half - (y + 1) * side, (x + 1) * side - half, half - y * side)
    with rasterio.open(valley) as file, WarpedVRT(
        file, crs="EPSG:3857", transform=from_bounds(*bounds, 256, 256), width=256, height=256, tolerance=0.001,
        resampling=Resampling.bilinear,
    ) as warped:  # fmt: skip
        want = warped.read(1, masked=True)
    inner = ~np.ma.getmaskarray(want)
    inner[[0, 1, -2, -1]] = False
    inner[:, [0, 1, -2, -1]] = False
    inner &= np.roll(inner, 4, 0) & np.roll(inner, -4, 0) & np.roll(inner, 4, 1) & np.roll(inner, -4, 1)
    assert inner.sum() > 1000
    # overviews are averages of cells: the waves bend by up to 60 / 350**2 per metre squared
    pixel_m = side / 256 * 0.882
    bend = 60 * (1 / 350**2 + 1 / 280**2) * pixel_m**2
    assert np.abs(got - want)[inner].max() <= 0.05 + 0.01 + bend


def test_neighbours_continue_each_other(valley):
    tiles = made(Terrain([TerrainRaster(valley, CITY)], CITY))
    lon, lat = pyproj.Transformer.from_crs(CITY, "EPSG:4326", always_xy=True).transform(600_048, 3_109_952)
    z, x, y = address(15, lon, lat)
    left, right = tiles.field(z, x, y), tiles.field(z, x + 1, y)
    both = np.hstack([left, right])
    second = np.abs(np.diff(both, 2, axis=1))
    assert second[:, 253:257].max() <= second.max()
    assert second[:, 253:257].mean() < 2 * second.mean() + 1e-3


def test_a_hole_is_filled_not_a_well(tmp_path):
    heights = np.full((600, 600), 33.0)
    heights[200:300, 250:330] = -9999
    tiles = made(Terrain([TerrainRaster(raster(tmp_path, heights), CITY)], CITY))
    lon, lat = pyproj.Transformer.from_crs(CITY, "EPSG:4326", always_xy=True).transform(598_580, 3_111_500)
    assert np.abs(decode(tiles.tile(*address(17, lon, lat))) - 33).max() < 0.06


@pytest.mark.parametrize("size", [256, 512])
def test_tilejson(size):
    tiles = made(size=size)
    document = tiles.tilejson("http://x/{z}/{x}/{y}.png")
    assert document["encoding"] == "mapbox"
    pixel_m = 156543.03 * 256 / size / 2 ** document["maxzoom"] * np.cos(np.radians(28.1))
    assert 2.5 < pixel_m <= 5.0
    assert document["minzoom"] == 0
    assert tiles.version != made(size=size, encoding="terrarium").version


def test_without_rasters_there_is_none():
    with pytest.raises(NotFound, match="no elevation raster"):
        made(Nothing()).require()
    with pytest.raises(NotFound, match="level 25"):
        made().tile(25, 0, 0)
