"""Shaded relief against planes and waves whose slope is known, and against gdaldem where it is installed."""

import io
import shutil
import subprocess

import numpy as np
import pyproj
import pytest
import rasterio
from PIL import Image
from rasterio.enums import Resampling
from rasterio.transform import from_origin
from scipy.ndimage import binary_erosion

from layers import crs
from tests.tiles.towns import city
from tiles import hillshade, imagery, matrix_set
from tiles.imagery import Frame, Wanted, sheets
from twin.store.interface import Asset

CITY = "EPSG:4549"
EAST, NORTH, SIDE, CELL = 598_000.0, 3_112_000.0, 1024, 2.0
SETS = matrix_set.ids(CITY)


@pytest.fixture
def town(tmp_path):
    made = city(1)
    made.folder = tmp_path
    return made


def dem(town, heights, name="dem", crs_name=CITY, cell=CELL):
    path = town.folder / f"{name}.tif"
    size = heights.shape[0]
    with rasterio.open(
        path, "w", driver="GTiff", width=size, height=size, count=1, dtype="float32", crs=crs_name, nodata=-9999,
        transform=from_origin(EAST, NORTH, cell, cell), tiled=True, blockxsize=256, blockysize=256,
    ) as out:  # fmt: skip
        out.write(heights.astype(np.float32), 1)
        out.build_overviews([2, 4, 8], Resampling.average)
    box = (EAST, NORTH - size * cell, EAST + size * cell, NORTH)
    return Asset(name, "dem", "raster", path.name, crs_name, box, box, "s")


def centres():
    """East and north of the cells, counted from the upper left corner."""
    line = (np.arange(SIDE) + 0.5) * CELL
    return line[None, :], -line[:, None]


def frame_at(set_id, cell_m, size=256, at=(EAST + 1024, NORTH - 1024)):
    grid = matrix_set.get(set_id, CITY)
    x, y = crs.transform(CITY, grid.crs, np.array([at[0]]), np.array([at[1]]))
    z = grid.level_of(cell_m / (111_320 if crs.is_geographic(grid.crs) else 1))
    column, row, _, _ = grid.cover(z, (x[0], y[0], x[0] + 1e-9, y[0] + 1e-9))
    return Frame(grid, z, column, row, size)


def shade(town, asset, frame):
    wide = Frame(frame.grid, frame.z, frame.x, frame.y, frame.size, 1)
    return hillshade.hillshade(sheets.field(town.folder, [asset], wide), wide)


@pytest.mark.parametrize("set_id", SETS)
@pytest.mark.parametrize(("rise_east", "rise_north"), [(0.3, 0.0), (0.0, 0.4), (-0.25, 0.5), (0.0, 0.0)])
@pytest.mark.parametrize("cell_m", [1.3, 4.1, 9.0])
def test_a_plane_is_as_bright_as_its_slope_says_on_every_grid(town, set_id, rise_east, rise_north, cell_m):
    """Without the true size of a pixel on the ground a plane of 0.4 on WebMercatorQuad at 28 degrees shows as 0.35."""
    x, y = centres()
    asset, frame = dem(town, 100 + rise_east * x + rise_north * y), frame_at(set_id, cell_m)
    got = shade(town, asset, frame)
    # the plane is one in the city's grid, whose north is off the meridian by the convergence
    turned = 0 if set_id == "EPSG4549Quad" else convergence()
    e, n = turn(rise_east, rise_north, turned)
    light = (1 - (-e + n) / np.sqrt(2)) / np.sqrt(2) / np.sqrt(1 + e * e + n * n)
    known = np.isfinite(got)
    inner = got[binary_erosion(known, np.ones((9, 9)))]
    assert inner.size > 1000
    assert inner.mean() == pytest.approx(light, abs=0.002)
    # float32 heights of a pixel's width apart and GDAL's quick projection: the grain stays below what a byte shows
    assert np.abs(inner - light).max() < 0.02


def convergence():
    lon, lat = pyproj.Transformer.from_crs(CITY, "EPSG:4490", always_xy=True).transform(EAST + 1024, NORTH - 1024)
    return np.radians(pyproj.Proj(CITY).get_factors(lon, lat).meridian_convergence)


def turn(e, n, angle):
    """A gradient along grid axes as one along true east and north, which lie `angle` west of them."""
    return e * np.cos(angle) + n * np.sin(angle), n * np.cos(angle) - e * np.sin(angle)


def test_waves_are_shaded_as_calculus_says(town):
    x, y = centres()
    k = 2 * np.pi / 300
    asset, frame = dem(town, 20 * np.sin(k * x) * np.cos(k * y)), frame_at("EPSG4549Quad", CELL)
    got = shade(town, asset, frame)
    west, _, _, north = frame.grid.bounds(frame.z, frame.x, frame.y)
    line = np.arange(256) + 0.5
    at_x, at_y = (west + line * frame.cell - EAST)[None, :], (north - line * frame.cell - NORTH)[:, None]
    e, n = 20 * k * np.cos(k * at_x) * np.cos(k * at_y), -20 * k * np.sin(k * at_x) * np.sin(k * at_y)
    light = np.maximum((1 - (-e + n) / np.sqrt(2)) / np.sqrt(2) / np.sqrt(1 + e * e + n * n), 0)
    assert np.nanmax(np.abs(got - light)[20:-20, 20:-20]) < 0.01
    slope = hillshade.slope_deg(
        sheets.field(town.folder, [asset], Frame(frame.grid, frame.z, frame.x, frame.y, 256, 1)),
        Frame(frame.grid, frame.z, frame.x, frame.y, 256, 1),
    )
    assert np.abs(slope - np.degrees(np.arctan(np.hypot(e, n))))[20:-20, 20:-20].max() < 0.4


@pytest.mark.skipif(shutil.which("gdaldem") is None, reason="gdaldem is not installed (Debian: gdal-bin)")
def test_it_is_what_gdaldem_makes(town):
    """On cells that are pixels of the tile, so that nothing is resampled: gdaldem writes 1 + 254 x brightness."""
    frame = frame_at("EPSG4549Quad", CELL)
    west, south, east, north = frame.grid.bounds(frame.z, frame.x, frame.y)
    rng = np.random.default_rng(2)
    rough = Image.fromarray(rng.uniform(0, 300, (48, 48)).astype(np.float32)).resize(
        (512, 512), Image.Resampling.BICUBIC
    )
    path = town.folder / "dem.tif"
    cell = frame.cell
    with rasterio.open(
        path, "w", driver="GTiff", width=512, height=512, count=1, dtype="float32", crs=CITY,
        transform=from_origin(west - 128 * cell, north + 128 * cell, cell, cell),
    ) as out:  # fmt: skip
        out.write(np.asarray(rough), 1)
    box = (west - 128 * cell, south - 128 * cell, east + 128 * cell, north + 128 * cell)
    asset = Asset("dem", "dem", "raster", "dem.tif", CITY, box, box, "s")
    subprocess.run(
        [shutil.which("gdaldem"), "hillshade", "-q", path, town.folder / "shade.tif"], check=True, timeout=60
    )
    with rasterio.open(town.folder / "shade.tif") as file:
        want = file.read(1)[128:384, 128:384].astype(float)
    got = 1 + 254 * shade(town, asset, frame)
    assert want.std() > 20
    assert np.abs(got - want).max() <= 1.01


@pytest.mark.parametrize("set_id", SETS)
@pytest.mark.parametrize("cell_m", [1.3, 4.1])
def test_neighbours_are_shaded_as_one_picture(town, set_id, cell_m):
    """The last and first pixels of two tiles against one of twice the size that has both inside."""
    x, y = centres()
    asset = dem(town, 60 * np.sin(x / 90) * np.cos(y / 70) + 5 * np.sin(x / 11))
    frame = frame_at(set_id, cell_m)
    parent = Frame(frame.grid, frame.z - 1, frame.x // 2, frame.y // 2, 512)
    big = shade(town, asset, parent)
    rows = [
        np.hstack([shade(town, asset, Frame(frame.grid, frame.z, 2 * parent.x + i, 2 * parent.y + j)) for i in (0, 1)])
        for j in (0, 1)
    ]
    joined = np.vstack(rows)
    both = np.isfinite(joined) & np.isfinite(big)
    both[:6] = both[-6:] = False
    assert both[250:262].any()
    difference = np.where(both, np.abs(joined - big), 0)
    assert difference.max() < 0.03
    assert difference[:, 255:257].mean() < difference.mean() + 0.002
    assert difference[255:257].mean() < difference.mean() + 0.002


def test_holes_stay_holes_and_do_not_shade_their_rim(town):
    x, y = centres()
    heights = 10 + 0 * (x + y)
    heights[500:530, 500:530] = -9999
    got = shade(town, dem(town, heights), frame_at("EPSG4549Quad", CELL))
    assert np.isnan(got).any()
    known = got[np.isfinite(got)]
    assert np.abs(known - np.cos(np.pi / 4)).max() < 1e-6


def test_a_slope_is_as_bright_at_the_edge_of_the_survey_as_inside(town):
    x, y = centres()
    frame = frame_at("EPSG4549Quad", CELL, at=(EAST + 20, NORTH - 20))
    got = shade(town, dem(town, 0.3 * x + 0.1 * y), frame)
    assert np.isnan(got).any()
    known = got[np.isfinite(got)]
    assert known.size > 1000
    # warped cells of the rim hold the rim's own height: half a cell of the slope at most
    assert np.abs(known - np.median(known)).max() < 0.08
    assert (np.abs(known - np.median(known)) > 0.01).mean() < 0.01


def test_the_picture_is_grey_with_transparent_holes(town):
    x, y = centres()
    asset = dem(town, 0.2 * x + 0 * y)
    frame = frame_at("WebMercatorQuad", 9.0, at=(EAST, NORTH))
    data = imagery.picture(town, [asset], frame, Wanted("hillshade")).encode()
    got = Image.open(io.BytesIO(data))
    assert got.mode == "LA"
    alpha = np.asarray(got)[..., 1]
    assert 0 < (alpha == 255).mean() < 1
    steep = np.asarray(Image.open(io.BytesIO(imagery.picture(town, [asset], frame, Wanted("slope")).encode())))
    want = imagery.colour.table("steepness")[round(np.degrees(np.arctan(0.2)) / 60 * 255)]
    inner = steep[steep[..., 3] == 255]
    assert np.abs(np.median(inner, axis=0) - want).max() <= 2


@pytest.mark.parametrize("set_id", SETS)
def test_a_pixel_is_as_large_as_geodesics_say(set_id):
    frame = frame_at(set_id, 20.0, 256)
    width, height = hillshade.ground_size(frame)
    west, _, _, north = frame.grid.bounds(frame.z, frame.x, frame.y)
    row, geod = 200, pyproj.Geod(ellps="GRS80")
    back = pyproj.Transformer.from_crs(frame.grid.crs, "EPSG:4490", always_xy=True)
    x, y = west + 40 * frame.cell, north - (row + 0.5) * frame.cell
    lon, lat = back.transform([x, x + frame.cell, x, x], [y, y, y - frame.cell / 2, y + frame.cell / 2])
    across, along = geod.inv(lon[0], lat[0], lon[1], lat[1])[2], geod.inv(lon[2], lat[2], lon[3], lat[3])[2]
    assert width[row] == pytest.approx(across, rel=5e-4 if set_id == "EPSG4549Quad" else 2e-6)
    assert height[row] == pytest.approx(along, rel=5e-4 if set_id == "EPSG4549Quad" else 2e-6)
