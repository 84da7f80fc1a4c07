"""P33: spacing of stations, the hand case and random ones against brute force on a fine grid."""

import numpy as np
import pytest
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st

from twin.analysis.coverage_indicators_spacing import largest_gap, spacing

SQUARE = shapely.box(0, 0, 4000, 4000)
CORNERS = np.array([(0, 0), (4000, 0), (0, 4000), (4000, 4000)], float)


def test_hand_case_four_stations_on_a_square_of_4_km():
    found = spacing(CORNERS, SQUARE)
    assert found.mean_nearest_m == pytest.approx(4000, abs=1e-9)
    assert found.area_based_m == pytest.approx(2000, abs=1e-9)
    assert found.largest_gap_m == pytest.approx(2000 * np.sqrt(2), abs=1e-9)
    assert found.gap_at.equals(shapely.Point(2000, 2000))


def test_only_stations_inside_count_and_the_edge_is_inside():
    more = np.vstack([CORNERS, [(2000, 4000.01)], [(9000, 9000)]])
    assert spacing(more, SQUARE).n_stations == 4
    assert spacing(more, SQUARE).mean_nearest_m == pytest.approx(4000)


def test_a_station_told_twice_is_one():
    found = spacing(np.vstack([CORNERS, CORNERS[:1]]), SQUARE)
    assert (found.n_stations, found.n_coincident) == (4, 1)
    assert found.mean_nearest_m == pytest.approx(4000)


def test_too_few_stations_are_unknown_not_zero():
    none, one = spacing(np.empty((0, 2)), SQUARE), spacing(CORNERS[:1], SQUARE)
    assert np.isnan([none.mean_nearest_m, none.area_based_m, none.largest_gap_m]).all()
    assert np.isnan(one.mean_nearest_m)
    assert one.largest_gap_m == pytest.approx(4000 * np.sqrt(2))


def test_the_gap_of_an_area_with_a_hole_is_not_in_the_hole():
    ring = SQUARE.difference(shapely.box(1000, 1000, 3000, 3000))
    distance, at = largest_gap(CORNERS, ring)
    assert distance == pytest.approx(np.hypot(2000, 1000))
    assert shapely.covers(ring, at)


@settings(max_examples=50)
@given(
    places=st.lists(st.tuples(st.integers(-20, 120), st.integers(-20, 120)), min_size=1, max_size=9, unique=True),
    corners=st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), min_size=3, max_size=7, unique=True),
)
@example(places=[(0, 0), (4, 0)], corners=[(0, 0), (1, 0), (4, 1)])
def test_the_largest_gap_is_that_of_brute_force(places, corners):
    area = shapely.convex_hull(shapely.MultiPoint(corners))
    if area.geom_type != "Polygon":
        return
    distance, at = largest_gap(np.array(places, float), area)
    step = 0.5
    x, y = np.meshgrid(np.arange(0, 100 + step, step), np.arange(0, 100 + step, step))
    inside = shapely.contains_xy(area, x, y)
    grid = np.column_stack([x[inside], y[inside]])
    every = np.vstack([grid, shapely.get_coordinates(shapely.segmentize(area, step))])  # slivers hold no grid point
    nearest = np.linalg.norm(every[:, None] - np.array(places, float)[None], axis=2).min(axis=1)
    assert nearest.max() <= distance + 1e-9, "no point of the area is farther"
    assert distance <= nearest.max() + step * np.sqrt(2), "and the gap is not made up"
    assert shapely.dwithin(area, at, 1e-6)
