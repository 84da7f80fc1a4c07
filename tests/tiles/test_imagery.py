"""Image tiles against the pixel that PROJ says belongs there, and against GDAL's warper on the same file."""

import dataclasses
import io
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
import rasterio.shutil
from PIL import Image
from rasterio.enums import Resampling
from rasterio.transform import from_bounds, from_origin
from rasterio.vrt import WarpedVRT

from layers import crs
from layers.errors import InvalidInput, NotFound
from tests.tiles.towns import city
from tiles import imagery, matrix_set
from tiles.imagery import Frame, Wanted
from tiles.imagery.open_files import OpenFiles
from twin.scope import EVERYTHING, Scope
from twin.store.interface import Asset

EAST, NORTH, CELL, PIXELS = 598_000.0, 3_112_000.0, 1.0, 1024
CITY = "EPSG:4549"
SETS = matrix_set.ids(CITY)
MERCATOR = matrix_set.get("WebMercatorQuad", CITY)


def the(set_id):
    return matrix_set.get(set_id, CITY)


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


def image(town, data, epoch="2024", name="dom", nodata=None, *, layer="dom", shift=(0, 0), **more):
    path = town.folder / f"{name}.tif"
    east, north = EAST + shift[0], NORTH + shift[1]
    with rasterio.open(
        path, "w", driver="GTiff", width=data.shape[2], height=data.shape[1], count=len(data), dtype=data.dtype,
        crs=CITY, transform=from_origin(east, north, CELL, CELL), nodata=nodata, tiled=True, blockxsize=256,
        blockysize=256,
    ) as out:  # fmt: skip
        out.write(data)
        out.build_overviews([2, 4], Resampling.average)
    bounds = (east, north - data.shape[1] * CELL, east + data.shape[2] * CELL, north)
    asset = Asset(name, layer, "raster", f"{name}.tif", CITY, bounds, bounds, "s", epoch=epoch, **more)
    town.store.asset_list.append(asset)
    return asset


def address(z, east=EAST + 500, north=NORTH - 500, grid=MERCATOR):
    """The frame of the tile of a level that holds a place."""
    x, y = crs.transform(CITY, grid.crs, np.array([east]), np.array([north]))
    column, row, _, _ = grid.cover(z, (x[0], y[0], x[0] + 1e-9, y[0] + 1e-9))
    return Frame(grid, z, column, row)


def level(cell_m, grid):
    """The level whose pixels are next below a size in metres on the ground."""
    return grid.level_of(cell_m / (111_320 if crs.is_geographic(grid.crs) else 1))


def tile(town, assets, frame, image_format="auto", **wanted):
    assets = assets if isinstance(assets, list) else [assets]
    return imagery.picture(town, assets, frame, Wanted(**wanted), image_format).encode()


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"), int)


def true_place(frame, there=CITY):
    """East and north in a CRS of each pixel centre, by PROJ."""
    west, _south, east, north = frame.grid.bounds(frame.z, frame.x, frame.y)
    step = (east - west) / frame.size
    columns, rows = np.meshgrid(np.arange(frame.size) + 0.5, np.arange(frame.size) + 0.5)
    back = pyproj.Transformer.from_crs(frame.grid.crs, there, always_xy=True)
    return back.transform(west + columns * step, north - rows * step)


@pytest.mark.parametrize("image_format", ["png", "webp", "jpeg", "auto"])
@pytest.mark.parametrize("set_id", SETS)
def test_each_pixel_shows_what_lies_there(town, image_format, set_id):
    grid = the(set_id)
    frame = address(level(2.0, grid), grid=grid)
    got = pixels(tile(town, image(town, ramp()), frame, image_format))
    east, north = true_place(frame)
    inside = (east > EAST + 4) & (east < EAST + PIXELS - 4) & (north < NORTH - 4) & (north > NORTH - PIXELS + 4)
    assert inside.sum() > 5000
    red, green = (east - EAST) / PIXELS * 250, (NORTH - north) / PIXELS * 250
    tolerance = 1.5 if image_format == "png" else 9  # the ramp rises one in four metres and is cut to whole numbers
    assert np.abs(got[..., 0] - red)[inside].max() < tolerance
    assert np.abs(got[..., 1] - green)[inside].max() < tolerance


@pytest.mark.parametrize(
    ("name", "west", "north", "cell"),
    [
        ("EPSG:4490", 121.0, 28.1, 1e-5),
        ("EPSG:4326", -70.7, -33.4, 1e-5),
        ("EPSG:4525", 37_598_000.0, 3_112_000.0, 1.0),
        ("EPSG:32756", 334_000.0, 6_252_000.0, 1.0),
        ("EPSG:3857", 13_469_000.0, 3_260_000.0, 1.0),
        ("EPSG:3413", -200_000.0, -2_200_000.0, 1.0),
    ],
)
@pytest.mark.parametrize("set_id", ["WebMercatorQuad", "CGCS2000Quad", "own"])
def test_files_in_any_crs_lie_where_they_belong(town, name, west, north, cell, set_id):
    """South of the equator, west of Greenwich, in degrees, with a zone number, in the Arctic where north is aside."""
    path, data = town.folder / "there.tif", ramp()
    with rasterio.open(
        path, "w", driver="GTiff", width=PIXELS, height=PIXELS, count=3, dtype="uint8", crs=name, tiled=True,
        transform=from_origin(west, north, cell, cell),
    ) as out:  # fmt: skip
        out.write(data)
        out.build_overviews([2, 4], Resampling.average)
    bounds = (west, north - PIXELS * cell, west + PIXELS * cell, north)
    asset = Asset("there", "dom", "raster", path.name, name, bounds, bounds, "s")
    own = matrix_set.ids(name)[-1]
    grid = matrix_set.get(own if set_id == "own" else set_id, name)
    _, high = imagery.zooms(town, [asset], grid)
    middle = west + PIXELS * cell / 2, north - PIXELS * cell / 2
    x, y = crs.transform(name, grid.crs, *(np.array([value]) for value in middle))
    column, row, _, _ = grid.cover(high - 1, (x[0], y[0], x[0] + 1e-9, y[0] + 1e-9))
    frame = Frame(grid, high - 1, column, row)
    got = pixels(tile(town, asset, frame, "png"))
    e, n = true_place(frame, name)
    inside = (e > west + 6 * cell) & (e < west + 1018 * cell) & (n < north - 6 * cell) & (n > north - 1018 * cell)
    assert inside.sum() > 5000
    assert (got[..., 3][inside] == 255).all()
    assert np.abs(got[..., 0] - (e - west) / cell / PIXELS * 250)[inside].max() < 1.6
    assert np.abs(got[..., 1] - (north - n) / cell / PIXELS * 250)[inside].max() < 1.6


@pytest.mark.parametrize("size", [256, 512])
@pytest.mark.parametrize("cell_m", [0.5, 1.1, 3.7])
@pytest.mark.parametrize("set_id", SETS)
def test_a_tile_is_what_gdal_warps_from_the_whole_file(town, set_id, cell_m, size):
    """The oracle reads the file's own cells with an exact transformation; ours an overview, with GDAL's quick one."""
    rng = np.random.default_rng(3)
    rough = rng.uniform(0, 255, (3, PIXELS // 32, PIXELS // 32)).astype(np.float32)
    smooth = np.stack(
        [np.asarray(Image.fromarray(band).resize((PIXELS, PIXELS), Image.Resampling.BICUBIC)) for band in rough]
    )
    asset, grid = image(town, np.clip(smooth, 0, 255).astype(np.uint8)), the(set_id)
    place = address(level(cell_m, grid), grid=grid)
    frame = Frame(grid, place.z, place.x, place.y, size)
    got = pixels(tile(town, asset, frame, "png"))
    with rasterio.open(town.folder / asset.path) as file, WarpedVRT(
        file, crs=grid.crs, transform=from_bounds(*grid.bounds(frame.z, frame.x, frame.y), size, size), width=size,
        height=size, resampling=Resampling.bilinear, tolerance=0.001, add_alpha=True,
    ) as warped:  # fmt: skip
        want, alpha = np.moveaxis(warped.read([1, 2, 3]), 0, -1).astype(int), warped.read(4)
    sure = (alpha == 255) & (got[..., 3] == 255)
    assert sure.sum() > 10_000
    assert ((alpha > 200) == (got[..., 3] == 255)).mean() > 0.995
    inner = sure & np.roll(sure, 3, 0) & np.roll(sure, -3, 0) & np.roll(sure, 3, 1) & np.roll(sure, -3, 1)
    assert np.abs(got[..., :3] - want)[inner].max() <= 6
    assert np.abs(got[..., :3] - want)[inner].mean() < 0.7


@pytest.mark.parametrize("set_id", SETS)
@pytest.mark.parametrize("cell_m", [0.7, 2.2, 5.0])
def test_neighbours_meet_without_a_seam(town, set_id, cell_m):
    """The same tiles as one picture of twice the size, cut apart, are the four tiles."""
    rng = np.random.default_rng(4)
    data = rng.uniform(0, 255, (3, PIXELS, PIXELS)).astype(np.uint8)
    asset, grid = image(town, data), the(set_id)
    z = level(cell_m, grid)
    whole = address(z - 1, grid=grid)
    big = pixels(tile(town, asset, Frame(grid, z - 1, whole.x, whole.y, 512), "png"))
    parts = [
        [pixels(tile(town, asset, Frame(grid, z, 2 * whole.x + i, 2 * whole.y + j), "png")) for i in (0, 1)]
        for j in (0, 1)
    ]
    joined = np.vstack([np.hstack(row) for row in parts])
    # on noise every shift would show: a tenth of a pixel is some 20 levels
    assert np.abs(joined - big)[..., :3].mean() < 1.5
    edge = np.abs(joined - big)[..., :3]
    assert edge[:, 254:258].mean() < 1.5 + edge.mean()
    assert edge[254:258].mean() < 1.5 + edge.mean()


def test_outside_is_transparent_and_inside_is_not(town):
    asset = image(town, ramp())
    frame = address(15, EAST, NORTH)
    got = pixels(tile(town, asset, frame))
    east, north = true_place(frame)
    inside = (east > EAST + 10) & (north < NORTH - 10) & (east < EAST + PIXELS - 10) & (north > NORTH - PIXELS + 10)
    outside = (east < EAST - 10) | (north > NORTH + 10)
    assert inside.any()
    assert outside.any()
    assert (got[..., 3][inside] == 255).all()
    assert (got[..., 3][outside] == 0).all()
    for far in (address(15, EAST + 50_000, NORTH), Frame(MERCATOR, 5, 0, 0, 512)):
        empty = pixels(tile(town, asset, far))
        assert empty.shape == (far.size, far.size, 4)
        assert (empty[..., 3] == 0).all()


@pytest.mark.parametrize("set_id", SETS)
def test_the_topmost_tiles_hold_the_image(town, set_id):
    """Where half of the tile cannot be projected at all."""
    asset, grid = image(town, ramp()), the(set_id)
    for z in (0, 1, 2, 6):
        data = pixels(tile(town, asset, address(z, grid=grid)))
        assert data.shape == (256, 256, 4)
        assert (data[..., 3] == 0).mean() > 0.99
    low, _ = imagery.zooms(town, [asset], grid)
    whole = pixels(tile(town, asset, address(low, grid=grid)))
    shown = (whole[..., 3] > 0).sum() * (frame_cell_m(address(low, grid=grid))) ** 2
    assert shown < 1.1 * PIXELS**2


def frame_cell_m(frame):
    e, n = true_place(frame)
    return np.hypot(e[128, 129] - e[128, 128], n[128, 129] - n[128, 128])


def test_covered_tiles_are_jpeg_and_cut_ones_png(town):
    asset = image(town, ramp())
    assert tile(town, asset, address(18))[:2] == b"\xff\xd8"
    assert tile(town, asset, address(13))[:4] == b"\x89PNG"
    assert tile(town, asset, address(13), "jpeg")[:2] == b"\xff\xd8"


def test_below_jpeg_lies_white(town):
    got = pixels(tile(town, image(town, ramp()), address(15, EAST, NORTH), "jpeg"))
    assert (got[:40, :40, :3] >= 250).all()


def test_nodata_is_transparent(town):
    data = ramp()
    data[:, 300:700, 300:700] = 255
    got = pixels(tile(town, image(town, data, nodata=255), address(18)))
    assert (got[..., 3] == 0).all()


def test_alpha_and_masks_are_transparent(town):
    """An alpha band, and a mask beside the bands as in a JPEG COG."""
    data = np.concatenate([ramp(), np.full((1, PIXELS, PIXELS), 255, np.uint8)])
    data[3, 300:700] = 0
    with_alpha = image(town, data, name="alpha")
    with rasterio.open(town.folder / with_alpha.path, "r+") as file:
        file.colorinterp = [*file.colorinterp[:3], rasterio.enums.ColorInterp.alpha]
    with_mask = image(town, ramp(), name="mask")
    with rasterio.open(town.folder / with_mask.path, "r+") as file:
        file.write_mask(data[3] > 0)
    rasterio.shutil.copy(town.folder / with_mask.path, town.folder / "cog.tif", driver="COG", COMPRESS="JPEG")
    with_mask = image_of(with_mask, town.folder / "cog.tif")
    for asset in (with_alpha, with_mask):
        frame = address(15)
        got, (east, north) = pixels(tile(town, asset, frame)), true_place(frame)
        inside = (east > EAST + 12) & (east < EAST + PIXELS - 12) & (north < NORTH - 12) & (north > NORTH - PIXELS + 12)
        hidden = inside & (north < NORTH - 312) & (north > NORTH - 688)
        shown = inside & ((north > NORTH - 288) | (north < NORTH - 712))
        assert hidden.any()
        assert shown.any()
        assert (got[..., 3][hidden] == 0).all()
        assert (got[..., 3][shown] == 255).all()


@pytest.mark.parametrize("nodata", [-9999.0, 300.0])
def test_a_nodata_value_that_bytes_cannot_hold_hides_nothing(town, nodata):
    asset = image(town, ramp())
    path = town.folder / asset.path
    tagged = path.read_bytes()
    with rasterio.open(path) as file:
        assert file.nodata is None
    side = path.with_name("odd.tif")
    side.write_bytes(tagged)
    with rasterio.open(side, "r+") as file:
        file.update_tags(ns="", odd="1")
    (side.parent / "odd.tif.aux.xml").write_text(
        "<PAMDataset>"
        + "".join(f'<PAMRasterBand band="{b}"><NoDataValue>{nodata}</NoDataValue></PAMRasterBand>' for b in (1, 2, 3))
        + "</PAMDataset>"
    )
    odd = image_of(asset, side)
    got = pixels(tile(town, odd, address(18), "png"))
    assert (got[..., 3] == 255).all()
    np.testing.assert_array_equal(got, pixels(tile(town, asset, address(18), "png")))


def image_of(asset, path):
    return dataclasses.replace(asset, id=path.stem, path=path.name)


def test_16_bit_images_are_stretched_alike_in_every_tile(town):
    asset = image(town, ramp(np.uint16, 4000))
    frame = address(17)
    left, right = (pixels(tile(town, asset, Frame(MERCATOR, 17, frame.x + i, frame.y), "png")) for i in (0, 1))
    assert np.abs(left[:, -1, 0] - right[:, 0, 0]).max() <= 3
    assert left[..., 0].max() > left[..., 0].min() + 20
    got = pixels(tile(town, asset, frame, "png", rescale=(0.0, 4000.0)))
    east, _ = true_place(frame)
    assert np.abs(got[..., 0] - (east - EAST) / PIXELS * 255).max() < 2


def test_one_band_is_grey_and_others_can_be_chosen(town):
    asset = image(town, ramp())
    got = pixels(tile(town, asset, address(17), "png", bands=(2,)))
    np.testing.assert_array_equal(got[..., 0], got[..., 2])
    straight = pixels(tile(town, asset, address(17), "png"))
    np.testing.assert_array_equal(got[..., 0], straight[..., 1])
    turned = pixels(tile(town, asset, address(17), "png", bands=(3, 2, 1)))
    np.testing.assert_array_equal(turned[..., [2, 1, 0]], straight[..., :3])
    with pytest.raises(InvalidInput, match="bands=4"):
        tile(town, asset, address(17), "png", bands=(4,))


def test_a_palette_is_shown_in_its_colours(town):
    data = np.full((1, PIXELS, PIXELS), 3, np.uint8)
    data[:, :, PIXELS // 2 :] = 7
    asset = image(town, data)
    with rasterio.open(town.folder / asset.path, "r+") as out:
        out.write_colormap(1, {3: (10, 200, 30, 255), 7: (200, 10, 30, 255)})
    got = pixels(tile(town, asset, address(16), "png"))
    colours = {tuple(value) for value in got.reshape(-1, 4).tolist() if value[3]}
    assert colours == {(10, 200, 30, 255), (200, 10, 30, 255)}  # nothing mixed at the border
    own = pixels(tile(town, asset, address(18), "webp", palette=((3, (1, 2, 3, 255)),)))
    assert {tuple(value) for value in own.reshape(-1, 4).tolist() if value[3]} <= {(1, 2, 3, 255)}


def test_a_field_goes_through_its_colour_map(town):
    """Depths of an analysis: the colour of each pixel is matplotlib's for the value that lies there."""
    from rio_tiler.colormap import cmap

    line = np.linspace(0, 10, PIXELS, dtype=np.float32)
    data = np.tile(line, (PIXELS, 1))[None]
    data[:, :200] = np.nan
    asset = image(town, data, name="depth", layer="flood_depth")
    frame = address(17)
    got = pixels(tile(town, asset, frame, colormap="viridis", rescale=(0.0, 10.0)))
    east, north = true_place(frame)
    wanted = np.rint((east - EAST - 0.5) / (PIXELS - 1) * 255)
    known = NORTH - north > 204
    viridis = np.array([cmap.get("viridis")[value] for value in range(256)])
    assert np.abs(got - viridis[np.clip(wanted, 0, 255).astype(int)])[known].max() <= 5
    assert (got[..., 3][NORTH - north < 196] == 0).all()
    with pytest.raises(InvalidInput, match="colormap='nothing'"):
        tile(town, asset, frame, colormap="nothing")


def test_heights_are_in_relief_colours_by_default(town):
    line = np.linspace(-4, 300, PIXELS, dtype=np.float32)
    asset = image(town, np.tile(line, (PIXELS, 1))[None], name="dem", layer="dem", nodata=-9999.0)
    got = pixels(tile(town, asset, address(15)))
    shown = got[got[..., 3] > 0]
    assert len({tuple(value) for value in shown.tolist()}) > 60
    assert not (shown[:, 0] == shown[:, 1]).all()
    assert imagery.styles(town, [asset]) == ("relief", "hillshade", "slope")
    with pytest.raises(NotFound, match="Use relief, hillshade, slope"):
        tile(town, asset, address(15), style="contours")
    with pytest.raises(InvalidInput, match="rescale means nothing"):
        tile(town, asset, address(15), style="hillshade", rescale=(0.0, 1.0))


def test_files_lie_on_one_another_and_fill_what_is_open(town):
    flat = np.ones((3, PIXELS, PIXELS), np.uint8)
    top, below = image(town, flat * 200, "2024", "new"), image(town, flat * 90, "2019", "old", shift=(-512, 0))
    frame = address(15, EAST, NORTH - 500)
    got = pixels(tile(town, [top, below], frame))
    east, north = true_place(frame)
    rows = (north < NORTH - 8) & (north > NORTH - PIXELS + 8)
    assert (got[..., 0][rows & (east > EAST + 8) & (east < EAST + PIXELS - 8)] == 200).all()
    assert (got[..., 0][rows & (east < EAST - 8) & (east > EAST - 504)] == 90).all()
    assert (got[..., 3][rows & (east < EAST - 520)] == 0).all()
    assert (got[..., 3][rows & (east > EAST - 504) & (east < EAST + PIXELS - 8)] == 255).all()


def test_sheets_of_one_survey_meet_without_a_gap(town):
    data = ramp()
    west, east = data[:, :, :512], data[:, :, 512:]
    sheets_of_it = [image(town, west, name="w"), image(town, east, name="e", shift=(512, 0))]
    one = image(town, data, name="all")
    frame = address(17, EAST + 512)
    got, want = pixels(tile(town, sheets_of_it, frame, "png")), pixels(tile(town, one, frame, "png"))
    assert (got[..., 3] == 255).all()
    assert np.abs(got - want).max() <= 1


def test_epochs_are_chosen_by_name(town):
    image(town, ramp(), "2024", "new")
    image(town, ramp(), "2019", "old")
    assert [asset.id for asset in imagery.assets(town, EVERYTHING)] == ["new", "old"]
    assert [asset.id for asset in imagery.assets(town, EVERYTHING, epoch="2019")] == ["old"]
    with pytest.raises(NotFound, match=r"'1999'. There is: 2019, 2024"):
        imagery.assets(town, EVERYTHING, epoch="1999")
    with pytest.raises(NotFound, match=r"asset 'older'. There is: new, old"):
        imagery.assets(town, EVERYTHING, asset="older")
    with pytest.raises(NotFound):
        imagery.assets(town, EVERYTHING, epoch="2019", asset="new")
    with pytest.raises(NotFound):
        imagery.assets(town, Scope("guest", frozenset()))


@pytest.mark.parametrize("set_id", SETS)
def test_the_deepest_zoom_is_as_fine_as_the_image(town, set_id):
    grid, asset = the(set_id), image(town, ramp())
    low, high = imagery.zooms(town, [asset], grid)
    fine, coarse = (frame_cell_m(address(z, grid=grid)) for z in (high, high - 1))
    assert fine <= CELL * 1.07  # a degree of longitude is shorter than one of latitude
    assert coarse > CELL
    west, _, east, _ = grid.bounds(*_zxy(address(low, grid=grid)))
    box = crs.transform_bounds(asset.crs, grid.crs, asset.bounds)
    assert max(box[2] - box[0], box[3] - box[1]) <= east - west
    assert imagery.zooms(town, [asset], grid, 512)[1] == high - 1


def _zxy(frame):
    return frame.z, frame.x, frame.y


def test_a_signature_changes_with_what_the_tile_shows_and_with_nothing_else(town):
    one, two = image(town, ramp(), name="one"), image(town, ramp(), name="two", shift=(3000, 0))
    here = address(17)
    seen = imagery.picture(town, [one, two], here).signature
    assert imagery.picture(town, [one], here).signature == seen
    assert imagery.picture(town, [two, one], here).signature == seen
    assert imagery.picture(town, [one], here, Wanted(bands=(1,))).signature != seen
    assert imagery.picture(town, [one], address(16)).signature != seen
    assert imagery.picture(town, [one], here, None, "webp").signature != seen
    assert imagery.version([one]) != imagery.version([one, two])


def test_a_file_that_cannot_be_read_is_named(town):
    asset = image(town, ramp())
    (town.folder / asset.path).write_bytes(b"not a tiff")
    with pytest.raises(InvalidInput, match=r"'dom' of dom cannot be read \(dom.tif") as raised:
        tile(town, asset, address(15))
    assert str(town.folder) not in str(raised.value)  # no stranger's business
    with pytest.raises(NotFound):
        tile(town, image(town, ramp()), Frame(MERCATOR, 3, 9, 0))


def test_a_file_that_ends_in_its_middle_is_named(town):
    noise = np.random.default_rng(0).integers(0, 255, (3, PIXELS, PIXELS)).astype(np.uint8)
    asset = image(town, noise)
    path = town.folder / asset.path
    whole = path.read_bytes()
    tile(town, asset, address(17))
    path.write_bytes(whole[: len(whole) // 4])
    with pytest.raises(InvalidInput, match=r"'dom' of dom cannot be read"):
        tile(town, asset, address(18, EAST + 900, NORTH - 900))
    path.unlink()
    with pytest.raises(InvalidInput, match=r"'dom' of dom cannot be read"):
        tile(town, asset, address(17, EAST + 100, NORTH - 900))


def test_files_stay_open_for_the_next_tile_but_not_too_many(town):
    kept = OpenFiles(3)
    paths = []
    for number in range(6):
        asset = image(town, ramp()[:, :64, :64], name=f"sheet{number}")
        paths.append(str(town.folder / asset.path))
    for path in paths:
        with kept.open(path, None) as file:
            assert file.width == 64
    assert sum(map(len, kept._open.values())) == 3
    with kept.open(paths[-1], None) as first, kept.open(paths[-1], None) as second:
        assert first is not second
    kept.close()
    assert first.closed
    assert second.closed


def test_a_program_that_made_tiles_ends_without_a_word(town):
    """GDAL's files are closed before GDAL is gone."""
    path = town.folder / image(town, ramp()).path
    script = f"from tiles.imagery.open_files import POOL\nwith POOL.open({str(path)!r}, None) as file: pass"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_many_threads_get_the_same_tile(town):
    asset, frame = image(town, ramp()), address(16)
    want, got = imagery._made(imagery.picture(town, [asset], frame)), []
    picture = imagery.picture(town, [asset], frame)
    threads = [threading.Thread(target=lambda: got.append(imagery._made(picture))) for _ in range(12)]
    [each.start() for each in threads]
    [each.join() for each in threads]
    assert got == [want] * 12


def test_many_threads_may_ask_for_the_first_tile_at_once():
    """In a fresh process, since what is imported stays so."""
    script = """
import sys, threading
sys.setswitchinterval(1e-5)
from tiles.imagery import colour, sheets
start, failed = threading.Barrier(12), []
def ask():
    start.wait()
    try:
        colour.table("viridis")
        sheets._rasterio_crs("EPSG:3857")
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
