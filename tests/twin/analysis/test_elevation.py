"""Heights on a grid: the raster's own cells, several rasters, another CRS, holes, windows beyond, points and cells."""

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from layers import crs
from layers.errors import InvalidInput, NotFound
from tests.twin.analysis.terrain_city import CITY, NORTH, WEST, city_on
from twin.analysis.elevation import Grid, bilinear, elevation, surrounded, taken

Z = np.arange(600.0).reshape(20, 30) ** 1.5


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    z = Z.copy()
    z[3, 4] = np.nan
    with city_on(tmp_path_factory.mktemp("one") / "twin", (z, 2.0)) as opened:
        yield opened


def region(west, south, east, north):
    return shapely.box(WEST + west, NORTH + south, WEST + east, NORTH + north)


def test_one_raster_gives_its_own_cells(city):
    found = elevation(city, "dem", None)
    assert found.is_native
    assert found.grid == Grid(CITY, WEST, NORTH, 2.0, 2.0, 30, 20)
    z = Z.copy()
    z[3, 4] = np.nan
    np.testing.assert_array_equal(found.read(), z.astype("float32"))
    window = found.read(-2, 27, 5, 6)
    assert np.isnan(window[:2]).all()
    assert np.isnan(window[:, 3:]).all()
    np.testing.assert_array_equal(window[2:, :3], z[:3, 27:].astype("float32"))
    assert np.isnan(found.read(100, 100, 3, 4)).all()
    assert found.read(100, 100, 3, 4).shape == (3, 4)


def test_a_region_touches_cells_and_an_edge_touches_none(city):
    found = elevation(city, "dem", None, region=region(4, -10, 8, -2))
    assert (found.grid.west, found.grid.north, found.grid.width, found.grid.height) == (WEST + 4, NORTH - 2, 2, 4)
    wider = elevation(city, "dem", None, region=region(4.001, -10, 8.001, -2), margin_cells=3)
    assert (wider.grid.west, wider.grid.north, wider.grid.width, wider.grid.height) == (WEST, NORTH, 8, 8)
    around = surrounded(city, "dem", None, region=region(0, -10, 8, -2))
    expected = Z[:6, :5].astype("float32")
    expected[3, 4] = np.nan
    np.testing.assert_array_equal(around.read(-1, -1, 6, 6)[:, 1:], expected)
    assert np.isnan(around.read(-1, -1, 6, 6)[:, 0]).all()


def test_places_outside_and_too_much_are_refused_by_name(city):
    with pytest.raises(InvalidInput, match="dem: the place lies outside the heights"):
        elevation(city, "dem", None, region=region(500, -10, 510, 0))
    with pytest.raises(InvalidInput, match=r"ground: .* cells are more"):
        elevation(city, "ground", None, cell_m=0.001)
    with pytest.raises(NotFound, match="design: there is no raster 'plan'"):
        elevation(city, "design", {"collection": "plan"})
    with pytest.raises(NotFound, match="dem: there is no raster 'dem/none'"):
        elevation(city, "dem", {"collection": "dem", "asset": "none"})


def test_sheets_of_one_grid_are_one_grid(tmp_path):
    left, right = {"z": Z[:, :12], "dx": 2.0}, {"z": Z[:, 12:], "dx": 2.0, "west": WEST + 24}
    with city_on(tmp_path / "twin", left, right) as city:
        found = elevation(city, "dem", None)
        assert found.is_native
        np.testing.assert_array_equal(found.read(), Z.astype("float32"))


def test_several_rasters_and_wider_cells_are_sampled(tmp_path):
    """On a plane bilinear is exact, whatever the cells."""

    def plane(n, dx, west, north):
        x, y = np.meshgrid(west + (np.arange(n) + 0.5) * dx, north - (np.arange(n) + 0.5) * dx)
        return {"z": 0.5 * (x - WEST) + 0.25 * (y - NORTH), "dx": dx, "west": west, "north": north}

    with city_on(tmp_path / "twin", plane(50, 2.0, WEST, NORTH), plane(30, 5.0, WEST + 50, NORTH - 20)) as city:
        found = elevation(city, "dem", None, region=region(10.3, -90, 140, -30.2), cell_m=4.0)
        assert not found.is_native
        grid = found.grid
        assert (grid.dx, grid.west % 4, grid.north % 4) == (4.0, 0, 0), "on whole cells"
        x, y = np.meshgrid(grid.x(np.arange(grid.width)), grid.y(np.arange(grid.height)))
        heights = found.read()
        known = ~np.isnan(heights)
        inside = (x > WEST + 3) & (x < WEST + 195) & (y < NORTH - 23) & (y > NORTH - 95)
        assert known[inside].all()
        assert heights[known] == pytest.approx((0.5 * (x - WEST) + 0.25 * (y - NORTH))[known], abs=2.6)
        middle = inside & (x > WEST + 55)
        assert heights[middle] == pytest.approx((0.5 * (x - WEST) + 0.25 * (y - NORTH))[middle], abs=1e-4)
        np.testing.assert_array_equal(found.read(2, 3, 4, 5), heights[2:6, 3:8])
        around = surrounded(city, "dem", None, region=region(60, -80, 90, -50), cell_m=4.0)
        wide = around.read(-1, -1, around.grid.height + 2, around.grid.width + 2)
        assert not np.isnan(wide).any()
        assert np.allclose(np.diff(wide, axis=1), 2.0, atol=1e-3)


def test_another_crs_is_sampled_where_the_city_lies(tmp_path):
    lon, lat = crs.transform(CITY, crs.CRS84, np.array([WEST]), np.array([NORTH]))
    n, step = 60, 2e-5
    x, y = np.meshgrid(np.arange(n) + 0.5, -(np.arange(n) + 0.5))
    ground = {"z": 3.0 * x + 2.0 * y, "dx": step, "west": lon[0], "north": lat[0], "crs": "EPSG:4326"}
    with city_on(tmp_path / "twin", ground) as city:
        found = elevation(city, "dem", None, region=region(20, -60, 60, -20), cell_m=2.0)
        grid = found.grid
        e, north = np.meshgrid(grid.x(np.arange(grid.width)), grid.y(np.arange(grid.height)))
        at = crs.transform(CITY, crs.CRS84, e.ravel(), north.ravel())
        expected = 3.0 * (at[0] - lon[0]) / step + 2.0 * (at[1] - lat[0]) / step
        assert found.read().ravel() == pytest.approx(expected, abs=1e-3)


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 9))
def test_bilinear_is_scipys(seed, rows, columns):
    rng = np.random.default_rng(seed)
    z = rng.random((rows, columns)) * 100
    row, column = rng.uniform(-0.5, rows - 0.5, 40), rng.uniform(-0.5, columns - 0.5, 40)
    found = bilinear(lambda r, c: taken(z, r, c), row, column, z.shape)
    clipped = np.clip(row, 0, rows - 1), np.clip(column, 0, columns - 1)
    assert found == pytest.approx(map_coordinates(z, clipped, order=1, mode="nearest"))
    outside = bilinear(
        lambda r, c: taken(z, r, c), np.array([-0.6, rows - 0.4, 0, np.nan]), np.array([0, 0, -0.51, 0]), z.shape
    )
    assert np.isnan(outside).all()


def test_a_hole_matters_only_where_it_has_weight(city):
    found = elevation(city, "dem", None)
    centre = np.array([[3.0, 3.0], [3.0, 4.0], [2.0, 4.0], [2.5, 4.0], [3.0, 3.001]])
    x, y = WEST + (centre[:, 1] + 0.5) * 2, NORTH - (centre[:, 0] + 0.5) * 2
    assert np.isnan(found.at(x, y)).tolist() == [False, True, False, True, True]
    assert found.at(x, y)[0] == np.float32(Z[3, 3])


def test_cells_in_any_order_and_beyond(city):
    found = elevation(city, "dem", None)
    rng = np.random.default_rng(0)
    rows, columns = rng.integers(-5, 25, 500), rng.integers(-5, 35, 500)
    z = Z.copy()
    z[3, 4] = np.nan
    wide = np.pad(z, 5, constant_values=np.nan)
    np.testing.assert_array_equal(found.cells(rows, columns), wide[rows + 5, columns + 5].astype("float32"))
    assert found.cells(np.empty(0, int), np.empty(0, int)).size == 0


def test_many_cells_are_read_in_parts(city, monkeypatch):
    from twin.analysis import elevation as module

    monkeypatch.setattr(module, "_AT_ONCE", 20)
    found = elevation(city, "dem", None)
    rows, columns = np.repeat(np.arange(20), 5), np.tile(np.arange(0, 30, 6), 20)
    z = Z.copy()
    z[3, 4] = np.nan
    np.testing.assert_array_equal(found.cells(rows, columns), z[rows, columns].astype("float32"))
