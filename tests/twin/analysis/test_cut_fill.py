"""P14: the hand case, shares of cells against shapely, prisms and planes, missing heights, design rasters."""

import numpy as np
import pytest
import rasterio
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from layers.errors import InvalidInput
from tests.twin.analysis.terrain_city import CITY, NORTH, WEST, city_on, raster
from twin.analysis.cut_fill import earth, volumes
from twin.analysis.cut_fill_cover import cover
from twin.analysis.elevation import Grid
from twin.store.interface import Asset


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    with city_on(tmp_path_factory.mktemp("two") / "twin", (np.array([[10.0, 12.0], [11.0, 9.0]]), 5.0)) as opened:
        yield opened


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    x = np.meshgrid(np.arange(60) + 0.5, np.arange(40))[0]
    z = 0.1 * x
    z[30:, 50:] = np.nan
    folder = tmp_path_factory.mktemp("cut") / "twin"
    with city_on(folder, (z, 1.0)) as opened:
        bounds = raster(folder / "rasters" / "plan.tif", np.full((40, 30), 2.0), 2.0)
        with opened.store.writing() as batch:
            batch.put_asset(Asset("plan", "plan", "raster", "rasters/plan.tif", CITY, bounds, bounds, "p"))
        yield opened


def box(west, south, east, north, **properties):
    shape = shapely.geometry.mapping(shapely.box(WEST + west, NORTH + south, WEST + east, NORTH + north))
    return {"type": "Feature", "properties": properties, "geometry": shape}


def areas(*features):
    return {"type": "FeatureCollection", "features": list(features), "crs": "city"}


def test_hand_case(two):
    """DEM [[10, 12], [11, 9]], d = 10, cell 25 m2: cut 75, fill 25."""
    found = two.run("cut-fill", area=areas(box(0, -10, 10, 0)), design_elev_m=10)
    assert (found["cut_m3"], found["fill_m3"], found["net_m3"]) == (
        pytest.approx(75),
        pytest.approx(25),
        pytest.approx(50),
    )
    assert (found["area_m2"], found["cut_m2"], found["fill_m2"]) == (
        pytest.approx(100),
        pytest.approx(50),
        pytest.approx(25),
    )
    assert (found["missing_share"], found["verdict"]) == (0, "pass")
    with rasterio.open(found["raster"].path) as made:
        assert made.read(1).tolist() == [[0, 2], [1, -1]]


def test_half_a_cell_is_half_its_volume(two):
    found = two.run("cut-fill", area=areas(box(5, -5, 7.5, 0)), design_elev_m=10)
    assert (found["cut_m3"], found["fill_m3"]) == (pytest.approx(25), 0)


def test_at_the_level_nothing_is_moved(two):
    found = two.run("cut-fill", area=areas(box(0, -5, 5, 0)), design_elev_m=10)
    assert (found["cut_m3"], found["fill_m3"], found["cut_m2"], found["fill_m2"]) == (0, 0, 0, 0)


@settings(max_examples=80)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1.0, 3.0]))
def test_shares_are_what_shapely_cuts(seed, dy):
    rng = np.random.default_rng(seed)
    grid = Grid(CITY, 0, 8 * dy, 1.0, dy, 9, 8)
    blobs = [
        shapely.Point(*rng.uniform((0, 0), (9, 8 * dy))).buffer(rng.uniform(0.2, 4), quad_segs=3) for _ in range(3)
    ]
    whole = shapely.union_all(blobs).difference(shapely.Point(*rng.uniform((0, 0), (9, 8 * dy))).buffer(1.3))
    if rng.random() < 0.3:
        whole = shapely.union_all(
            [shapely.box(*rng.integers(0, 5, 2), *rng.integers(5, 9, 2)), shapely.box(-3, 1, 2, 2)]
        )
    shares = cover(whole, grid).shares(0, 8)
    cells = [[shapely.box(c, (7 - r) * dy, c + 1, (8 - r) * dy) for c in range(9)] for r in range(8)]
    expected = shapely.area(shapely.intersection(np.array(cells, object), whole)) / dy
    assert shares == pytest.approx(expected, abs=1e-9)
    parts = [cover(whole, grid).shares(top, 3) for top in (0, 3)]
    np.testing.assert_array_equal(np.concatenate(parts), shares[:6])


@settings(max_examples=40)
@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(0, 5), st.integers(0, 2**32 - 1))
def test_net_volume_of_a_plane_over_whole_cells_is_exact(east, north, level, seed):
    """Cut less fill of a plane over any set of whole cells: its height at their middle times their area."""
    rng = np.random.default_rng(seed)
    z = east * (np.arange(12) + 0.5)[None, :] + north * -(np.arange(10) + 0.5)[:, None]
    left, top = rng.integers(0, 6, 2)
    right, bottom = left + rng.integers(1, 6), top + rng.integers(1, 4)
    area = shapely.box(left, -bottom, right, -top)

    class Ground:
        grid = Grid(CITY, 0, 0, 1.0, 1.0, 12, 10)

        def read(self, first, start, rows, columns):
            return z[first : first + rows, start : start + columns]

    found = earth(Ground(), area, lambda _top, _rows: level)
    middle = east * (left + right) / 2 - north * (top + bottom) / 2
    assert found.cut_m3 - found.fill_m3 == pytest.approx((middle - level) * area.area, abs=1e-9)
    assert found.known_m2 == pytest.approx(area.area)


def test_cut_and_fill_swap_with_the_sign():
    rng = np.random.default_rng(2)
    z, share = rng.normal(size=(9, 9)), rng.random((9, 9))
    there, back = volumes(z, share, 4.0), volumes(-z, share, 4.0)
    assert (there.cut_m3, there.fill_m3, there.cut_m2) == (back.fill_m3, back.cut_m3, back.fill_m2)


def test_a_slope_cut_to_a_level(city):
    """z = 0.1 x, level 2 over x 10 to 30, 10 wide: a wedge of 5 m3 a metre on either side."""
    found = city.run("cut-fill", area=areas(box(10, -20, 30, -10)), design_elev_m=2)
    assert (found["cut_m3"], found["fill_m3"]) == (pytest.approx(50, rel=1e-5), pytest.approx(50, rel=1e-5))


def test_each_area_with_its_own_level(city):
    found = city.run(
        "cut-fill", area=areas(box(10, -20, 20, -10, design_elev_m=1.0), box(20, -20, 30, -10, design_elev_m=3.0))
    )
    first, second = (each["properties"] for each in found["areas"]["features"])
    assert (first["cut_m3"], first["fill_m3"]) == (pytest.approx(50, rel=1e-5), 0)
    assert (second["cut_m3"], second["fill_m3"]) == (0, pytest.approx(50, rel=1e-5))
    assert found["cut_m3"] == pytest.approx(50, rel=1e-5)
    assert found["net_m3"] == pytest.approx(0, abs=1e-4)


def test_a_design_raster_is_the_same_as_its_level(city):
    area = areas(box(10.3, -20.7, 30.1, -10.2))
    level = city.run("cut-fill", area=area, design_elev_m=2)
    by_raster = city.run("cut-fill", area=area, design={"collection": "plan"})
    for name in ("cut_m3", "fill_m3", "area_m2"):
        assert by_raster[name] == pytest.approx(level[name])
    itself = city.run("cut-fill", area=area, design={"collection": "dem"})
    assert (itself["cut_m3"], itself["fill_m3"]) == (0, 0)


def test_missing_heights_give_no_volume(city):
    found = city.run("cut-fill", area=areas(box(40, -35, 60, -25)), design_elev_m=2)
    assert (found["verdict"], found["cut_m3"], found["fill_m3"], found["net_m3"]) == ("unknown", None, None, None)
    assert found["missing_share"] == pytest.approx(0.25)
    assert found["known_cut_m3"] > 0
    edge = city.run("cut-fill", area=areas(box(-10, -20, 10, -10)), design_elev_m=0)
    assert (edge["verdict"], edge["missing_share"]) == ("unknown", pytest.approx(0.5))


def test_wrong_inputs_are_named(city):
    good = {"area": areas(box(10, -20, 30, -10)), "design_elev_m": 2}
    for wrong, named in (
        ({"design_elev_m": None}, "design_elev_m"),
        ({"design": {"collection": "plan"}}, "design_elev_m"),
        ({"design_elev_m": float("nan")}, "design_elev_m"),
        ({"design_elev_m": "10 m"}, "design_elev_m"),
        ({"area": areas(box(10, -20, 30, -10), box(20, -20, 40, -10))}, "area: areas overlap"),
        ({"area": areas(box(9000, -20, 9010, -10))}, "area"),
        ({"area": {"type": "Point", "coordinates": [WEST, NORTH], "crs": "city"}}, "area"),
        ({"keep_as": "dem"}, "keep_as"),
    ):
        asked = {name: value for name, value in {**good, **wrong}.items() if value is not None}
        with pytest.raises(InvalidInput, match=named):
            city.run("cut-fill", **asked)
