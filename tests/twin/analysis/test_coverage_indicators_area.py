"""P33: sectors and discs have the areas of the formulas; a cover counts once; against shapely and pyproj."""

import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from layers import crs
from layers.errors import InvalidInput
from twin.analysis.coverage_indicators_area import covered, discs, sectors

CITY = "EPSG:4549"
EAST, NORTH = 598_000.0, 3_109_000.0


def sector(azimuth, fov, reach, at=(0.0, 0.0)):
    return sectors(np.array([at]), np.array([float(azimuth)]), np.array([float(fov)]), np.array([float(reach)]))[0]


@pytest.mark.parametrize("fov", [1, 70, 90, 179, 180, 181, 270, 359.5, 360])
@pytest.mark.parametrize("reach", [0.5, 120, 5000])
def test_the_area_is_the_formulas(fov, reach):
    made = sector(30, fov, reach)
    assert shapely.is_valid(made)
    assert shapely.area(made) == pytest.approx(np.pi * reach**2 * fov / 360, rel=1e-12)


def test_azimuth_is_clockwise_from_north():
    east = sector(90, 60, 100)
    assert shapely.contains_xy(east, 50, 0)
    assert not shapely.contains_xy(east, 0, 50)
    assert shapely.contains_xy(sector(350, 60, 100), 50 * np.sin(np.radians(10)), 50 * np.cos(np.radians(10)))


@given(st.floats(0, 360), st.floats(5, 355), st.floats(1, 2000), st.integers(0, 5))
def test_a_point_is_in_a_sector_when_bearing_and_distance_say_so(azimuth, fov, reach, seed):
    made = sector(azimuth, fov, reach)
    xy = np.random.default_rng(seed).uniform(-1.2, 1.2, (300, 2)) * reach
    bearing = np.degrees(np.arctan2(xy[:, 0], xy[:, 1]))
    off = np.abs((bearing - azimuth + 180) % 360 - 180)
    distance = np.hypot(*xy.T)
    expected = (distance <= reach) & (off <= fov / 2)
    clear = (np.abs(distance - reach) > 0.01) & (np.abs(off - fov / 2) > 0.01)
    assert (shapely.contains_xy(made, *xy.T) == expected)[clear].all()


def test_missing_numbers_make_no_sector_and_wrong_ones_are_named():
    xy = np.zeros((3, 2))
    made = sectors(xy, np.array([np.nan, np.nan, 0]), np.array([360.0, 90, 90]), np.array([10.0, 10, np.nan]))
    assert [each is None for each in made] == [False, True, True]
    with pytest.raises(InvalidInput, match="fov_deg of device 1 is 361"):
        sectors(xy, np.zeros(3), np.array([90.0, 361, 90]), np.full(3, 10.0))
    with pytest.raises(InvalidInput, match="range_m of device 2 is -1"):
        sectors(xy, np.zeros(3), np.full(3, 90.0), np.array([1.0, 1, -1]))
    assert shapely.is_empty(sectors(xy[:1], np.zeros(1), np.full(1, 90.0), np.zeros(1))[0])


def test_a_disc_in_a_square_covers_pi_by_4():
    square = np.array([shapely.box(EAST, NORTH, EAST + 1000, NORTH + 1000)], dtype=object)
    inside, whole, left = covered(square, discs(np.array([(EAST + 500, NORTH + 500)]), np.array([500.0])), CITY)
    assert inside[0] / whole[0] == pytest.approx(np.pi / 4, abs=1e-6)
    assert shapely.area(left[0]) == pytest.approx(1e6 * (1 - np.pi / 4), rel=1e-5)


def test_two_discs_cover_their_lens_once():
    square = np.array([shapely.box(EAST - 2000, NORTH - 2000, EAST + 3000, NORTH + 2000)], dtype=object)
    r, d = 700.0, 1000.0
    inside, whole, _ = covered(square, discs(np.array([(EAST, NORTH), (EAST + d, NORTH)]), np.array([r, r])), CITY)
    lens = 2 * r**2 * np.arccos(d / (2 * r)) - d / 2 * np.sqrt(4 * r**2 - d**2)
    assert inside[0] / whole[0] == pytest.approx((2 * np.pi * r**2 - lens) / (5000 * 4000), abs=2e-6)


@settings(max_examples=30)
@given(
    boxes=st.lists(st.tuples(*[st.integers(0, 90)] * 2, *[st.integers(1, 60)] * 2), max_size=8),
    n_zones=st.integers(1, 4),
)
def test_covered_is_the_union_by_shapely_and_pyproj(boxes, n_zones):
    zones = np.array([shapely.box(EAST + 25 * i, NORTH, EAST + 25 * (i + 1), NORTH + 100) for i in range(n_zones)])
    cover = np.array(
        [shapely.box(EAST + x, NORTH + y, EAST + x + w, NORTH + y + h) for x, y, w, h in boxes] + [None], dtype=object
    )
    inside, whole, left = covered(zones.astype(object), cover, CITY)
    union = shapely.union_all(cover[:-1]) if len(boxes) else shapely.Polygon()
    geod = pyproj.Geod(a=6378137.0, rf=298.257222101)
    for index, zone in enumerate(zones):
        piece = shapely.intersection(zone, union)
        placed = crs.transform_geometries(CITY, "EPSG:4490", np.array([piece], dtype=object))[0]
        area = sum(abs(geod.geometry_area_perimeter(part)[0]) for part in shapely.get_parts(placed) if part.area)
        assert inside[index] == pytest.approx(area, abs=0.01)
        assert shapely.area(left[index]) == pytest.approx(2500 - piece.area, abs=1e-6)
    assert (inside <= whole).all()
