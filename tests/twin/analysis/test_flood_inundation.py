"""P20: connected water. Oracles: scipy's labels on whole arrays, sums by numpy, pyproj's ellipsoid."""

import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from layers.errors import InvalidInput
from tests.twin.analysis import water_city
from tests.twin.analysis.water_city import EAST, NORTH
from twin.analysis import flood_inundation as module
from twin.analysis import flood_inundation_water
from twin.analysis.elevation import Grid
from twin.analysis.flood_inundation import n_sides, outline
from twin.analysis.flood_inundation_water import DRY, FLOODED, TOUCHED, VOID, WET, cell_areas_m2, depths, water
from twin.store.interface import Asset

HAND = np.full((5, 5), 9.0)
HAND[1:4, 1:4] = [[3, 9, 4], [3, 9, 4], [5, 8, 5]]


def grid_of(z, cell_m=10.0, west=EAST):
    return Grid("EPSG:4549", west, NORTH, cell_m, cell_m, z.shape[1], z.shape[0])


def reading(z):
    return lambda top, left, rows, columns: z[top : top + rows, left : left + columns]


def flood(z, level, *seeds, plain=False, cell_m=10.0):
    at = None if plain else np.array(seeds, np.int64).reshape(-1, 2)
    return water(reading(z), grid_of(z, cell_m), level, at)


@pytest.mark.parametrize(
    ("level", "cells", "volume", "deepest"),
    [
        (7.0, 3, 1000, 4),
        (8.5, 7, 2750, 5.5),
        (8.0, 3, 1300, 5),  # the sill equals the level: dry
        (8.0 + 5e-7, 3, 1300, 5),  # equal on paper
        (8.001, 7, 2400.7, 5.001),
        (5.0, 2, 400, 2),  # ground 5 equals the level
        (3.0, 0, 0, 0),
    ],
)
def test_hand_case(level, cells, volume, deepest):
    found = flood(HAND, level, (1, 1))
    assert found.n_cells == cells
    assert found.volume_m3 == pytest.approx(volume, abs=1e-3)
    assert found.max_depth_m == pytest.approx(deepest, abs=1e-6)
    assert found.area_plane_m2 == cells * 100
    assert not found.is_open


def test_plain_threshold_is_another_question():
    assert flood(HAND, 7.0, plain=True).n_cells == 6


def test_corners_do_not_join():
    z = np.full((4, 4), 9.0)
    z[1, 1] = z[2, 2] = 1.0
    assert flood(z, 5.0, (1, 1)).n_cells == 1


def test_a_level_equal_to_a_stored_height_is_dry_whatever_its_digits():
    for height in (85.3, 1615.8, 4.1, -2.6, 8848.86):
        z = np.full((3, 3), np.float64(np.float32(height)))
        assert flood(z, height, (1, 1)).n_cells == 0
        assert flood(z, height + 0.001, (1, 1)).n_cells == 9


def test_void_is_a_wall_and_told():
    z = np.full((5, 7), 9.0)
    z[2, 1:6] = 1.0
    z[2, 3] = np.nan
    found = flood(z, 5.0, (2, 1))
    assert (found.n_cells, found.n_void, found.n_rim, found.is_open) == (2, 1, 0, True)
    assert found.state[2, 3] == TOUCHED
    assert found.state[2, 4] == WET
    z[2, 2] = 9.0  # the water no longer touches the void
    found = flood(z, 5.0, (2, 1))
    assert (found.n_void, found.is_open) == (0, False)
    assert found.state[2, 3] == VOID


def test_rim_is_told():
    z = np.full((3, 3), 9.0)
    z[1, 0:2] = 1.0
    found = flood(z, 5.0, (1, 1))
    assert (found.n_rim, found.is_open) == (1, True)


def test_seeds_tell_what_they_stand_on():
    z = HAND.copy()
    z[0, 4] = np.nan
    found = flood(z, 7.0, (1, 1), (0, 0), (0, 4), (-1, 2), (2, 5))
    assert found.seed_state.tolist() == [FLOODED, DRY, VOID, 255, 255]
    assert found.n_cells == 3


heights = arrays(
    np.float64, st.tuples(st.integers(1, 14), st.integers(1, 14)),
    elements=st.one_of(st.integers(0, 4).map(float), st.just(np.nan)),
)  # fmt: skip


@settings(max_examples=200)
@given(heights, st.integers(0, 5), st.lists(st.tuples(st.integers(0, 13), st.integers(0, 13)), max_size=4), st.data())
@example(np.array([[0.0, 3, 0], [0, 3, 0], [0, 0, 0], [0, 3, 0]]), 2, [(0, 0)], None)
def test_equals_labels_of_scipy_whatever_the_strips(z, level, seeds, data):
    strip = 3 if data is None else data.draw(st.integers(1, 5))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flood_inundation_water, "STRIP", strip)
        patch.setattr(flood_inundation_water, "BAND", 2)
        found = flood(z, float(level), *seeds)
    with np.errstate(invalid="ignore"):
        labels, _ = ndimage.label(z < level)
    inside = [(r, c) for r, c in seeds if r < z.shape[0] and c < z.shape[1]]
    wanted = np.isin(labels, [labels[at] for at in inside if labels[at]])
    assert np.array_equal(found.state == FLOODED, wanted)
    assert found.n_cells == wanted.sum()
    assert found.volume_m3 == pytest.approx((level - z[wanted]).sum() * 100)
    assert found.max_depth_m == (level - z[wanted]).max(initial=0)
    beside = ndimage.binary_dilation(wanted) & np.isnan(z)
    assert np.array_equal(found.state == TOUCHED, beside)
    assert found.n_void == beside.sum()
    inner = np.zeros(z.shape, bool)
    inner[1:-1, 1:-1] = True
    assert found.n_rim == (wanted & ~inner).sum()
    turned = flood(np.rot90(z).copy(), float(level), *[(z.shape[1] - 1 - c, r) for r, c in inside])
    assert np.array_equal(turned.state == FLOODED, np.rot90(wanted))


def test_a_large_grid_of_noise_equals_scipy():
    draw = np.random.default_rng(3)
    z = draw.random((1300, 777))
    seeds = draw.integers(0, 777, (30, 2))
    found = flood(z, 0.59, *seeds)  # near where clusters join: many runs, long ways
    labels, _ = ndimage.label(z < 0.59)
    wanted = np.isin(labels, np.setdiff1d(labels[seeds[:, 0], seeds[:, 1]], [0]))
    assert np.array_equal(found.state == FLOODED, wanted)
    assert found.volume_m3 == pytest.approx((0.59 - z[wanted]).sum() * 100, rel=1e-9)
    made = depths(reading(z), grid_of(z), 0.59, found.state)
    assert np.array_equal(np.isnan(made), ~wanted)
    assert np.nansum(made, dtype=float) * 100 == pytest.approx(found.volume_m3, rel=1e-6)


def test_area_on_the_ellipsoid_equals_pyproj():
    z = np.zeros((40, 60))
    z[:, 30:] = 9.0
    west = EAST + 98_000
    found = water(reading(z), grid_of(z, 50.0, west), 5.0, np.array([[0, 0]]))
    ring = shapely.segmentize(shapely.box(west, NORTH - 2000, west + 1500, NORTH), 20)
    to_degrees = pyproj.Transformer.from_crs("EPSG:4549", "EPSG:4490", always_xy=True)
    lon, lat = to_degrees.transform(*shapely.get_coordinates(ring).T)
    truth = abs(pyproj.Geod(a=6378137, rf=298.257222101).polygon_area_perimeter(lon, lat)[0])
    assert found.area_plane_m2 == 3_000_000
    assert found.area_m2 == pytest.approx(truth, abs=0.1)
    assert truth < 3_000_000 - 600  # some 237 ppm: the plane area is not the survey's


def test_cell_areas_follow_the_scale_over_a_wide_grid():
    grid = Grid("EPSG:4549", EAST + 50_000, NORTH, 2.0, 2.0, 20_000, 10)
    found = cell_areas_m2(grid, 0, 10)
    for column in (0, 313, 9_999, 19_999):
        x = grid.x(np.array([column]))[0]
        near = cell_areas_m2(Grid("EPSG:4549", x - 1, NORTH, 2.0, 2.0, 1, 10), 0, 10)[0]
        assert found[column] == pytest.approx(near, rel=2e-8)


@given(heights, st.integers(0, 5))
def test_outline_is_the_flooded_cells(z, level):
    found = flood(z, float(level), (0, 0))
    shape = outline(found.state, grid_of(z))
    assert shape.is_valid
    assert shape.area == pytest.approx(found.area_plane_m2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "STRIP", 3)
        assert n_sides(found.state) == pytest.approx(shape.length / 10)


# the process -----------------------------------------------------------------------------------------------------


def at(column, row):
    """Centre of a cell of the hand case."""
    return [EAST + 10 * column + 5, NORTH - 10 * row - 5]


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    def box(left, top, right, bottom):
        return shapely.box(EAST + left, NORTH - bottom, EAST + right, NORTH - top)

    homes = {
        "in": (box(12, 12, 18, 18), {"population": 4, "gfa_m2": 300.0}),
        "across": (box(18, 25, 23, 28), {"population": 5, "gfa_m2": 100.0}),
        "touching": (box(20, 12, 25, 18), {"population": 7, "gfa_m2": 100.0}),
        "dry": (box(42, 42, 48, 48), {"population": 9, "gfa_m2": 500.0}),
        "right": (box(31, 12, 39, 18), {"population": None, "gfa_m2": 50.0}),
    }
    roads = {
        "through": (shapely.LineString([(EAST, NORTH - 25), (EAST + 50, NORTH - 25)]), {"name": "A"}),
        "along": (shapely.LineString([(EAST + 20, NORTH - 10), (EAST + 20, NORTH - 40)]), {"name": "B"}),
    }
    units = {"west": (box(0, 0, 25, 50), {"population": 100}), "east": (box(25, 0, 50, 50), {"population": 60})}
    folder = tmp_path_factory.mktemp("flood")
    made = water_city.make(
        folder, HAND,
        [("home", "Polygon", homes), ("road", "LineString", roads), ("unit", "Polygon", units)],
    )  # fmt: skip
    with made as opened:
        yield opened


SEED = {"type": "Point", "coordinates": at(1, 1), "crs": "city"}


def test_process_hand_case(city):
    found = city.run("flood-inundation", level_m=7, seeds=SEED, crs="city")
    assert (found["n_cells"], found["volume_m3"], found["max_depth_m"]) == (3, 1000, 4)
    assert found["area_plane_m2"] == 300
    assert found["is_native"]
    assert not found["is_open"]
    assert found["dry_seeds"] == []
    shape = shapely.geometry.shape(found["outline"]["features"][0]["geometry"])
    assert shape.equals(shapely.box(EAST + 10, NORTH - 40, EAST + 20, NORTH - 10))
    with rasterio.open(found["depth"].path) as made:
        assert np.array_equal(
            np.nan_to_num(made.read(1)), np.where(HAND == 3, 4, np.where(HAND == 5, 2, 0)) * (np.arange(5) == 1)
        )
        assert made.units == ("m",)
    assert city.run("flood-inundation", level_m=7, method="plain-threshold")["n_cells"] == 6


def test_what_stands_in_the_water(city):
    found = city.run(
        "flood-inundation", level_m=7, seeds=SEED, exposed_layers=[{"collection": "home"}, {"collection": "road"}],
        homes={"collection": "home"}, population={"collection": "unit"}, deeper_than_m=2.5,
    )  # fmt: skip
    rows = {each["id"]: each["properties"] for each in found["exposed"]["features"]}
    assert set(rows) == {"home/in", "home/across", "road/through"}  # touching is not in
    assert rows["home/in"]["depth_m"] == 4
    assert rows["road/through"] == {
        "layer": "road", "name": "A", "depth_m": 4, "length_m": 10, "deep_length_m": 10,
    }  # fmt: skip
    homes, roads = found["exposure"]
    assert (homes["n_exposed"], homes["population"], homes["n_population_unknown"]) == (2, 9, 0)
    assert (roads["n_exposed"], roads["length_m"]) == (1, pytest.approx(10))
    assert "population" not in roads
    # 100 people over 300, 100 and 100 m2 in the west; 60 over 500 and 50 in the east
    assert found["people"] == {
        "value": pytest.approx(80), "known": pytest.approx(80), "n_homes": 2, "n_homes_unknown": 0,
        "spread_by": "gfa_m2", "areas_without_homes": [],
    }  # fmt: skip
    higher = city.run(
        "flood-inundation", level_m=8.5, seeds=SEED, exposed_layers=[{"collection": "home"}, {"collection": "road"}],
        with_depth=False,
    )  # fmt: skip
    assert higher["exposure"][0]["population"] is None, "one of the homes does not say"
    assert higher["exposure"][0]["n_population_unknown"] == 1
    assert higher["exposure"][1]["length_m"] == pytest.approx(30)  # B has water on both sides now for 10 m
    assert "depth" not in higher


def test_people_of_an_area_that_does_not_say_are_unknown(city):
    unit = shapely.geometry.mapping(shapely.box(EAST, NORTH - 50, EAST + 50, NORTH))
    areas = {"type": "Feature", "geometry": unit, "properties": {"population": None}, "crs": "city"}
    found = city.run(
        "flood-inundation", level_m=7, seeds=SEED, homes={"collection": "home"}, population=areas, with_depth=False
    )
    assert (found["people"]["value"], found["people"]["n_homes_unknown"]) == (None, 2)


def test_dry_seeds_are_named_and_the_others_count(city):
    both = {"type": "FeatureCollection", "crs": "city", "features": [
        {"type": "Feature", "id": "hill", "geometry": {"type": "Point", "coordinates": at(0, 0)}, "properties": {}},
        {"type": "Feature", "id": "low", "geometry": {"type": "LineString", "coordinates": [at(1, 1), at(3, 1)]},
         "properties": {}},
    ]}  # fmt: skip
    found = city.run("flood-inundation", level_m=7, seeds=both)
    assert found["n_cells"] == 6
    assert found["dry_seeds"] == [{"id": "hill", "reason": "its ground is at or above the level"}]
    assert "reason" not in found


def test_no_wet_seed_is_an_empty_answer_with_its_reason(city):
    found = city.run("flood-inundation", level_m=3, seeds=SEED)
    assert (found["n_cells"], found["area_m2"], found["volume_m3"]) == (0, 0, 0)
    assert found["reason"] == "No water: seeds '0': its ground is at or above the level."
    assert found["outline"]["features"][0]["geometry"]["coordinates"] == []
    beside = {"type": "Point", "coordinates": [EAST + 500, NORTH - 5], "crs": "city"}
    assert "outside the heights" in city.run("flood-inundation", level_m=7, seeds=beside)["reason"]


def test_an_outline_that_is_too_much_is_left_out_and_told(city, monkeypatch):
    monkeypatch.setattr(module, "MOST_SIDES", 7)
    found = city.run("flood-inundation", level_m=7, seeds=SEED)
    assert "outline" not in found
    assert "more than 7 sides" in found["outline_left_out"]
    monkeypatch.setattr(module, "MOST_SIDES", 8)
    assert "outline" in city.run("flood-inundation", level_m=7, seeds=SEED)


def test_a_raster_becomes_a_layer(city):
    city.run("flood-inundation", level_m=7, seeds=SEED, keep_as="flood_7")
    assert [each.layer for each in city.store.assets(city.scope, "flood_7")] == ["flood_7"]


def test_a_region_cuts_and_says_that_the_water_may_go_on(city):
    half = shapely.geometry.mapping(shapely.box(EAST, NORTH - 30, EAST + 50, NORTH))
    found = city.run("flood-inundation", level_m=7, seeds=SEED, region={**half, "crs": "city"})
    assert (found["n_cells"], found["n_rim_cells"], found["is_open"]) == (2, 1, True)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"level_m": 7}, "seeds is missing"),
        ({"level_m": float("nan"), "seeds": SEED}, "level_m"),
        ({"level_m": float("inf"), "seeds": SEED}, "level_m"),
        ({"level_m": "7 m", "seeds": SEED}, "level_m"),
        ({"level_m": 7, "seeds": SEED, "cell_m": float("nan")}, "cell_m"),
        ({"level_m": 7, "seeds": SEED, "deeper_than_m": float("nan")}, "deeper_than_m"),
        ({"level_m": 7, "seeds": SEED, "method": "plain-threshold"}, "seeds"),
        ({"level_m": 7, "seeds": {"type": "Point", "coordinates": [10, 10]}}, "seeds lies outside the city"),
        ({"level_m": 7, "seeds": SEED, "cell_m": -1}, "cell_m"),
        ({"level_m": 7, "seeds": SEED, "deeper_than_m": -0.1}, "deeper_than_m"),
        ({"level_m": 7, "seeds": SEED, "homes": {"collection": "home"}}, "population is missing"),
        ({"level_m": 7, "seeds": SEED, "population": {"collection": "unit"}}, "homes is missing"),
        ({"level_m": 7, "seeds": SEED, "metres": 1}, "metres"),
        ({"level_m": 7, "seeds": SEED, "keep_as": "road"}, "keep_as"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_wrong_inputs_are_named(city, given, words):
    with pytest.raises(InvalidInput, match=words):
        city.run("flood-inundation", **given)


def test_heights_in_another_crs_are_sampled_and_the_answer_says_so(tmp_path):
    """A bowl in degrees: the water's area is that of the circle where the ground lies below the level."""
    rows = columns = 200
    step = 2e-5
    lon, lat = 120 + (np.arange(columns) - 100 + 0.5) * step, 28.1 - (np.arange(rows) - 100 + 0.5) * step
    to_plane = pyproj.Transformer.from_crs("EPSG:4490", "EPSG:4549", always_xy=True)
    x, y = to_plane.transform(*np.meshgrid(lon, lat))
    middle = to_plane.transform(120.0, 28.1)
    ground = (np.hypot(x - middle[0], y - middle[1]) / 10).astype(np.float32)  # a cone, 1 in 10
    (tmp_path / "rasters").mkdir()
    profile = {"driver": "GTiff", "width": columns, "height": rows, "count": 1, "dtype": "float32", "crs": "EPSG:4490"}
    profile["transform"] = rasterio.transform.from_origin(lon[0] - step / 2, lat[0] + step / 2, step, step)
    with rasterio.open(tmp_path / "rasters" / "dem.tif", "w", **profile) as file:
        file.write(ground, 1)
    bounds = (float(lon[0]), float(lat[-1]), float(lon[-1]), float(lat[0]))
    box = (float(x.min()), float(y.min()), float(x.max()), float(y.max()))
    dem = Asset("dem", "dem", "raster", "rasters/dem.tif", "EPSG:4490", bounds, box, "dem.tif", height_offset_m=0.0)
    with water_city.make(tmp_path) as city:
        with city.store.writing() as batch:
            batch.put_asset(dem)
        seed = {"type": "Point", "coordinates": [120.0, 28.1]}
        found = city.run("flood-inundation", level_m=10, seeds=seed, cell_m=1, with_depth=False)
    assert not found["is_native"]
    assert not found["is_open"]
    assert found["area_plane_m2"] == pytest.approx(np.pi * 100**2, rel=2e-3)
    assert found["volume_m3"] == pytest.approx(np.pi * 100**2 * 10 / 3, rel=2e-3)  # a cone
    assert found["max_depth_m"] == pytest.approx(10, abs=0.2)
