"""Terrain: against rasterio's own reading, a plane (where bilinear is exact) and brute force."""

import os
import threading

import numpy as np
import pyproj
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.transform import from_origin

from twin import raster_blocks
from twin.height_grid import HeightGrid, pull_push
from twin.terrain import BLOCK, Terrain, TerrainRaster
from twin.terrain_survey import kept_level

CITY = "EPSG:4549"
WEST, NORTH, CELL = 597_000.0, 3_111_000.0, 2.0


def write(path, values, *, nodata=-9999.0, crs=CITY, west=WEST, north=NORTH, cell=CELL, **more):
    profile = {"driver": "GTiff", "height": values.shape[0], "width": values.shape[1], "count": 1} | more
    profile |= {"dtype": values.dtype, "crs": crs, "transform": from_origin(west, north, cell, cell), "nodata": nodata}
    with rasterio.open(path, "w", **profile) as file:
        file.write(values, 1)
    return path


def plane(rows, columns, a=0.02, b=-0.03, c=10.0):
    y, x = np.mgrid[0:rows, 0:columns]
    return (c + a * x * CELL + b * y * CELL).astype(np.float32)


def points(k, rows, columns, seed=0):
    draw = np.random.default_rng(seed)
    column, row = draw.uniform(0, columns - 1, k), draw.uniform(0, rows - 1, k)
    return WEST + (column + 0.5) * CELL, NORTH - (row + 0.5) * CELL, column, row


def test_a_plane_is_met_exactly_across_block_edges(tmp_path):
    rows, columns = BLOCK * 2 + 37, BLOCK + 11
    path = write(tmp_path / "plane.tif", plane(rows, columns), tiled=True, blockxsize=128, blockysize=128)
    e, n, column, row = points(5000, rows, columns)
    heights = Terrain([TerrainRaster(path, CITY)], CITY).height(e, n)
    assert np.abs(heights - (10 + 0.02 * column * CELL - 0.03 * row * CELL)).max() < 1e-4


def test_cell_centres_equal_what_rasterio_reads(tmp_path):
    values = np.random.default_rng(1).uniform(-5, 100, (300, 280)).astype(np.float32)
    path = write(tmp_path / "dem.tif", values)
    with rasterio.open(path) as file:
        where = [file.xy(i, j) for i, j in ((0, 0), (299, 279), (255, 256), (256, 255), (17, 200))]
        theirs = np.array([value[0] for value in file.sample(where)])
    ours = Terrain([TerrainRaster(path, CITY)], CITY).height(*np.array(where).T)
    assert np.abs(ours - theirs).max() < 1e-5


def test_nodata_among_the_four_cells_is_no_height_and_the_next_raster_answers(tmp_path):
    values = plane(40, 40)
    values[20, 20] = -9999
    first = write(tmp_path / "first.tif", values)
    second = write(tmp_path / "second.tif", np.full((40, 40), 77, np.float32))
    beside = np.array([WEST + 20.2 * CELL, WEST + 25 * CELL]), np.array([NORTH - 20.6 * CELL] * 2)
    alone = Terrain([TerrainRaster(first, CITY)], CITY).height(*beside)
    both = Terrain([TerrainRaster(first, CITY), TerrainRaster(second, CITY, offset_m=1.5)], CITY).height(*beside)
    assert np.isnan(alone[0])
    assert np.isfinite(alone[1])
    assert both[0] == 78.5
    assert both[1] == alone[1]


def test_outside_and_not_finite_have_no_height(tmp_path):
    path = write(tmp_path / "dem.tif", plane(20, 20))
    terrain = Terrain([TerrainRaster(path, CITY)], CITY)
    e = np.array([WEST - 100, np.nan, np.inf, WEST - 0.1, WEST + 10])
    heights = terrain.height(e, np.full(5, NORTH - 10))
    assert np.isnan(heights[:4]).all()
    assert np.isfinite(heights[4])


def test_in_the_outer_half_of_an_edge_cell_its_own_height_holds(tmp_path):
    values = plane(20, 20)
    terrain = Terrain([TerrainRaster(write(tmp_path / "dem.tif", values), CITY)], CITY)
    row = NORTH - 10.5 * CELL
    heights = terrain.height(np.array([WEST + 0.1, WEST + 20 * CELL - 0.1]), np.full(2, row))
    assert heights == pytest.approx([values[10, 0], values[10, 19]], abs=1e-5)


def test_sheets_of_one_grid_are_one_ground_whatever_their_order(tmp_path):
    """Four sheets cut from a plane: exact on both sides of every edge, where single sheets have no neighbour."""
    rows, columns = 60, 80
    whole = plane(rows, columns)
    sheets = [
        TerrainRaster(
            write(tmp_path / f"{i}{j}.tif", np.ascontiguousarray(whole[i : i + 30, j : j + 40]),
                  west=WEST + j * CELL, north=NORTH - i * CELL), CITY,
        ) for i in (0, 30) for j in (40, 0)
    ]  # fmt: skip
    e, n, column, row = points(4000, rows, columns)
    heights = Terrain(sheets, CITY).height(e, n)
    assert np.abs(heights - (10 + 0.02 * column * CELL - 0.03 * row * CELL)).max() < 1e-4


def test_where_sheets_overlap_the_first_is_on_top_and_its_holes_show_the_next(tmp_path):
    below = np.full((40, 40), 5, np.int16)
    above = np.full((20, 20), 9, np.float32)
    above[8:12, 8:12] = -9999
    rasters = [
        TerrainRaster(write(tmp_path / "above.tif", above, west=WEST + 10 * CELL, north=NORTH - 10 * CELL), CITY),
        TerrainRaster(write(tmp_path / "below.tif", below, nodata=-32768), CITY),
    ]
    at = np.array([5.0, 15.0, 20.0])
    heights = Terrain(rasters, CITY).height(WEST + (at + 0.5) * CELL, NORTH - (at + 0.5) * CELL)
    assert heights.tolist() == [5, 9, 5]
    turned = Terrain(rasters[::-1], CITY).height(WEST + (at + 0.5) * CELL, NORTH - (at + 0.5) * CELL)
    assert turned.tolist() == [5, 5, 5]


def test_a_raster_with_ellipsoidal_heights_is_brought_to_the_citys(tmp_path):
    """H = h - N; here N is a constant, so that the answer is arithmetic."""
    from layers.heights import Constant
    from twin.fuse.datum import vertical_step

    step = vertical_step(CITY, "EPSG:4979", "EPSG:5737", Constant(13.25))
    path = write(tmp_path / "dem.tif", np.full((10, 10), 63.25, np.float32))
    got = Terrain([TerrainRaster(path, CITY, datum=step)], CITY).height(np.array([WEST + 8]), np.array([NORTH - 8]))
    assert got[0] == pytest.approx(50.0, abs=1e-4)


def test_scale_and_offset_of_the_band_are_applied(tmp_path):
    path = write(tmp_path / "cm.tif", np.full((10, 10), 1234, np.int16), nodata=-32768)
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (0.01,), (5.0,)
    got = Terrain([TerrainRaster(path, CITY)], CITY).height(np.array([WEST + 8]), np.array([NORTH - 8]))
    assert got[0] == pytest.approx(17.34, abs=1e-5)


def test_a_raster_in_degrees_is_asked_in_degrees(tmp_path):
    lon, lat, cell = 120.99, 28.11, 0.0001
    y, x = np.mgrid[0:200, 0:200]
    values = (3 + 0.5 * x + 0.25 * y).astype(np.float32)
    path = write(tmp_path / "deg.tif", values, crs="EPSG:4490", west=lon, north=lat, cell=cell)
    column, row = np.array([50.3, 100.75]), np.array([20.5, 150.1])
    there = lon + (column + 0.5) * cell, lat - (row + 0.5) * cell
    e, n = pyproj.Transformer.from_crs("EPSG:4490", CITY, always_xy=True).transform(*there)
    terrain = Terrain([TerrainRaster(path, "EPSG:4490")], CITY)
    expected = 3 + 0.5 * column + 0.25 * row
    assert np.abs(terrain.height(e, n) - expected).max() < 1e-3
    assert np.abs(terrain.heights_lonlat(*there) - expected).max() < 1e-3
    assert terrain.lonlat_bounds == pytest.approx((lon, lat - 0.02, lon + 0.02, lat), abs=1e-9)


def test_threads_get_the_same_heights(tmp_path):
    rows = columns = BLOCK * 3
    path = write(tmp_path / "dem.tif", plane(rows, columns))
    terrain = Terrain([TerrainRaster(path, CITY)], CITY)
    e, n, *_ = points(20_000, rows, columns)
    alone = Terrain([TerrainRaster(path, CITY)], CITY).height(e, n)
    answers = {}
    threads = [threading.Thread(target=lambda k=k: answers.update({k: terrain.height(e, n)})) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(answers[k], alone) for k in range(4))


def test_no_rasters_means_no_heights_anywhere():
    terrain = Terrain([], CITY)
    assert terrain.is_empty
    assert terrain.lonlat_bounds is None
    assert np.isnan(terrain.height(np.zeros(3), np.zeros(3))).all()


def test_off_the_ground_the_nearest_ground_is_found(tmp_path):
    """Against brute force over all cells of a plane with a round hole."""
    values = plane(120, 150)
    y, x = np.mgrid[0:120, 0:150]
    values[np.hypot(x - 60, y - 60) < 25] = -9999.0
    terrain = Terrain([TerrainRaster(write(tmp_path / "holed.tif", values), CITY)], CITY)
    e = np.array([WEST - 300.0, WEST + 160.0, WEST + 121.0, WEST + 131.0])
    n = np.array([NORTH - 100.0, NORTH + 50.0, NORTH - 121.0, NORTH - 101.0])
    height, far = terrain.nearest(e, n)
    good = values != -9999.0
    cells = WEST + (x[good] + 0.5) * CELL, NORTH - (y[good] + 0.5) * CELL
    least = np.hypot(cells[0] - e[:, None], cells[1] - n[:, None]).min(axis=1)
    assert np.isfinite(height).all()
    assert (far >= least - CELL).all()
    assert (far <= 2.1 * least + 2 * CELL).all()
    slope = np.hypot(0.02, 0.03)
    wanted = 10.0 + 0.02 * (e - WEST - 1) - 0.03 * (NORTH - 1 - n)
    assert (np.abs(height - wanted) <= slope * far + 1e-3).all()


def test_holes_are_filled_only_on_request_and_stay_between_the_cells_around(tmp_path):
    values = plane(120, 150)
    y, x = np.mgrid[0:120, 0:150]
    hole = np.hypot(x - 60, y - 60) < 25
    values[hole] = -9999.0
    terrain = Terrain([TerrainRaster(write(tmp_path / "holed.tif", values), CITY)], CITY)
    lon, lat = pyproj.Transformer.from_crs(CITY, "EPSG:4326", always_xy=True).transform(
        WEST + (x[hole] + 0.5) * CELL, NORTH - (y[hole] + 0.5) * CELL
    )
    assert np.isnan(terrain.heights_lonlat(lon, lat)).all()
    filled = terrain.filled_lonlat(lon, lat)
    rim = values[(np.hypot(x - 60, y - 60) < 28) & ~hole]
    assert filled.min() >= rim.min() - 1e-3
    assert filled.max() <= rim.max() + 1e-3
    assert np.isnan(terrain.filled_lonlat(np.array([100.0]), np.array([10.0]))).all()
    facts = terrain.facts
    assert (facts.cells, facts.void_cells, facts.filled_cells) == (18_000, hole.sum(), hole.sum())
    assert facts.filled_m2 == pytest.approx(hole.sum() * CELL**2)


@settings(deadline=None, max_examples=50)
@given(rows=st.integers(1, 40), columns=st.integers(1, 40), share=st.floats(0, 1), seed=st.integers(0, 2**32 - 1))
def test_pull_push_keeps_what_is_there_and_adds_nothing_beyond_it(rows, columns, share, seed):
    draw = np.random.default_rng(seed)
    values = draw.uniform(-100, 100, (rows, columns))
    values[draw.random((rows, columns)) < share] = np.nan
    known = np.isfinite(values)
    filled = pull_push(values)
    np.testing.assert_array_equal(filled[known], values[known])
    if known.any():
        assert np.isfinite(filled).all()
        assert filled.min() >= values[known].min() - 1e-9
        assert filled.max() <= values[known].max() + 1e-9
    else:
        assert np.isnan(filled).all()


def test_a_raster_without_any_value_has_no_heights_and_no_range(tmp_path):
    path = write(tmp_path / "void.tif", np.full((50, 60), -9999.0, np.float32))
    terrain = Terrain([TerrainRaster(path, CITY)], CITY)
    centre = (np.array(terrain.lonlat_bounds[:2]) + terrain.lonlat_bounds[2:]) / 2
    assert np.isnan(terrain.filled_lonlat(centre[:1], centre[1:])).all()
    facts = terrain.facts
    assert (facts.low_m, facts.high_m, facts.void_cells, facts.filled_cells) == (0.0, 0.0, 3000, 3000)


def test_coarse_cells_are_read_from_overviews_also_across_sheets(tmp_path):
    """A plane is the same at every resolution, but for half a coarse cell at most."""
    side = 1024
    whole = plane(2 * side, side, a=0.01, b=0.02)
    sheets = [
        TerrainRaster(
            write(tmp_path / f"{i}.tif", np.ascontiguousarray(whole[i * side : (i + 1) * side]),
                  north=NORTH - i * side * CELL), CITY,
        ) for i in (0, 1)
    ]  # fmt: skip
    terrain = Terrain(sheets, CITY)
    e, n, column, row = points(3000, 2 * side, side)
    inside = (column > 40) & (column < side - 40) & (row > 40) & (row < 2 * side - 40)
    lon, lat = pyproj.Transformer.from_crs(CITY, "EPSG:4326", always_xy=True).transform(e[inside], n[inside])
    exact = 10 + 0.01 * column[inside] * CELL + 0.02 * row[inside] * CELL
    for cell_m in (CELL, 4 * CELL, 16 * CELL):
        coarse = terrain.filled_lonlat(lon, lat, cell_m)
        assert np.abs(coarse - exact).max() <= 0.03 * cell_m / 2 + 1e-3


def test_a_lattice_point_has_one_height_at_every_level(tmp_path):
    """Kept, or read from the raster: the same float64."""
    side = 2200  # 25 blocks: more than are read for one tile
    values = plane(side, side) + np.random.default_rng(0).normal(0, 1, (side, side)).astype(np.float32)
    values[700:720, 1000:1030] = -9999.0
    path = write(tmp_path / "dem.tif", values, tiled=True, blockxsize=512, blockysize=512)
    terrain = Terrain([TerrainRaster(path, CITY)], CITY, tmp_path / "cache")
    west, south, east, north = terrain.lonlat_bounds
    kept = None
    for level in range(17, 11, -1):
        unit = 180 / (64 << level)
        columns = np.arange(int((west + 180) / unit), int((east + 180) / unit) + 2)
        rows = np.arange(int((south + 90) / unit), int((north + 90) / unit) + 2)
        found = terrain.lattice(level, columns, rows)
        if kept is not None:
            finer_columns, finer_rows, finer = kept
            i, j = np.searchsorted(finer_rows, 2 * rows), np.searchsorted(finer_columns, 2 * columns)
            in_i, in_j = (i < len(finer_rows)) & (2 * rows >= finer_rows[0]), (j < len(finer_columns))
            in_j &= 2 * columns >= finer_columns[0]
            same = finer[np.ix_(i[in_i], j[in_j])]
            np.testing.assert_array_equal(found[np.ix_(in_i, in_j)], same)
            assert np.isfinite(same).sum() > 10
        kept = columns, rows, found
    lon, lat = np.meshgrid(kept[0] * unit - 180, kept[1] * unit - 90)
    np.testing.assert_array_equal(terrain.filled_lonlat(lon, lat), kept[2])


def test_what_was_not_used_for_long_is_dropped_from_the_cache(tmp_path):
    cache = tmp_path / "cache"
    for name in "ab":
        path = write(tmp_path / f"{name}.tif", plane(20, 20, c=float(ord(name))))
        _ = Terrain([TerrainRaster(path, CITY)], CITY, cache).facts
        for each in cache.glob("*.json"):
            os.utime(each, (1, 1))
    assert len(list(cache.glob("*.json"))) == 1
    assert len(list(cache.glob("*.npy"))) == 3


def test_a_terrain_made_anew_does_not_read_its_blocks_again(tmp_path, monkeypatch):
    raster = TerrainRaster(write(tmp_path / "dem.tif", plane(40, 40)), CITY)
    at = np.array([WEST + 30.0]), np.array([NORTH - 30.0])
    first = Terrain([raster], CITY).height(*at)
    reads = []
    original = raster_blocks.Level._read
    monkeypatch.setattr(raster_blocks.Level, "_read", lambda *key: reads.append(key) or original(*key))
    assert Terrain([raster], CITY).height(*at) == first
    assert reads == []
    write(tmp_path / "dem.tif", plane(40, 41) + 5)
    assert Terrain([raster], CITY).height(*at) == pytest.approx(first + 5, abs=1e-4)
    assert reads


def test_no_lattice_is_kept_of_a_raster_whose_degrees_go_round_the_earth(tmp_path):
    """Across the date line the box of degrees is 360 wide: its lattice would be a thousand times the raster."""
    levels = []
    for west, zone in ((500_000.0, "EPSG:32651"), (828_000.0, "EPSG:32660")):
        profile = {"driver": "GTiff", "height": 4000, "width": 4000, "count": 1, "dtype": "float32", "crs": zone}
        profile |= {"transform": from_origin(west, 1_000_000, 1, 1), "tiled": True, "sparse_ok": True}
        with rasterio.open(tmp_path / "dem.tif", "w", **profile):
            pass
        sheets = [(tmp_path / "dem.tif", raster_blocks.header(tmp_path / "dem.tif"))]
        levels.append(kept_level(HeightGrid(sheets, zone)))
    tile_m = 180 / 2 ** (levels[0] + 1) * 110_600
    assert tile_m <= 480 < 2 * tile_m
    assert levels[1] == -1
