"""Exposure: the oracle is shapely on the water's outline; coordinates are such that shapes lie on cells' sides."""

from itertools import pairwise

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from layers.errors import InvalidInput
from twin.analysis import flood_inundation_cells
from twin.analysis.elevation import Grid
from twin.analysis.flood_inundation import outline
from twin.analysis.flood_inundation_cells import seed_cells
from twin.analysis.flood_inundation_exposed import exposed, spread

GRID = Grid("EPSG:4549", 0.0, 8.0, 1.0, 1.0, 8, 8)
waters = arrays(np.float32, (8, 8), elements=st.sampled_from([np.nan, 0.25, 0.5, 2.0]))
halves = st.integers(-2, 18).map(lambda n: n / 2)
spots = st.tuples(halves, halves)


def outline_of(depth):
    return outline(np.where(np.isnan(depth), 0, 3).astype(np.uint8), GRID)


@settings(max_examples=150)
@given(waters, st.lists(spots, min_size=2, max_size=5))
def test_lines_equal_shapely(depth, path):
    line = shapely.LineString(path)
    found = exposed(np.array([line]), depth, GRID, 0.3)
    water = outline_of(depth)
    steps = [shapely.LineString(pair) for pair in pairwise(path) if pair[0] != pair[1]]
    inside = sum(step.intersection(water).difference(water.boundary.buffer(1e-9)).length for step in steps)
    assert found.length_m[0] == pytest.approx(inside, abs=1e-6)
    assert found.is_wet[0] == (inside > 1e-6)
    deep = outline_of(np.where(depth > 0.3, depth, np.nan))
    inside = sum(step.intersection(deep).difference(deep.boundary.buffer(1e-9)).length for step in steps)
    assert found.deep_m[0] == pytest.approx(inside, abs=1e-6)


@settings(max_examples=150)
@given(waters, st.lists(spots, min_size=3, max_size=7), st.booleans())
def test_areas_equal_shapely_cell_by_cell(depth, corners, is_holed):
    area = shapely.convex_hull(shapely.multipoints(corners))
    if is_holed:
        area = area.difference(shapely.box(3, 3, 5, 4))
    if area.area == 0:
        return
    found = exposed(np.array([area], dtype=object), depth, GRID)
    wet = [
        depth[r, c] for r in range(8) for c in range(8)
        if not np.isnan(depth[r, c]) and shapely.box(c, 7 - r, c + 1, 8 - r).intersection(area).area > 1e-9
    ]  # fmt: skip
    assert found.is_wet[0] == bool(wet)
    if wet:
        assert found.depth_m[0] == max(wet)


@given(waters, spots)
def test_points_are_in_where_shapely_has_them_inside(depth, spot):
    point = shapely.Point(spot)
    assert exposed(np.array([point]), depth, GRID).is_wet[0] == outline_of(depth).contains(point)


def test_many_shapes_at_once_and_parts_change_nothing(monkeypatch):
    draw = np.random.default_rng(2)
    depth = np.where(draw.random((8, 8)) < 0.5, draw.random((8, 8)), np.nan).astype(np.float32)
    boxes = shapely.box(*(draw.random((2, 200)) * 8), *(draw.random((2, 200)) * 8))
    shapes = np.concatenate([boxes, shapely.boundary(boxes), shapely.centroid(boxes), [None, shapely.Polygon()]])
    whole = exposed(shapes, depth, GRID, 0.4)
    monkeypatch.setattr(flood_inundation_cells, "MOST_AT_ONCE", 3)
    single = [exposed(np.array([shape], dtype=object), depth, GRID, 0.4) for shape in shapes]
    for name in ("depth_m", "length_m", "deep_m"):
        ones = np.concatenate([getattr(each, name) for each in single])
        assert np.allclose(getattr(whole, name), ones, equal_nan=True)
    assert not whole.is_wet[-2:].any()


def test_seed_cells_of_each_kind():
    assert seed_cells(shapely.Point(2.5, 2.5), GRID).tolist() == [[5, 2]]
    assert seed_cells(shapely.Point(2, 2), GRID).tolist() == [[5, 1], [5, 2], [6, 1], [6, 2]]
    assert seed_cells(shapely.LineString([(0.5, 0.5), (2.5, 0.5)]), GRID).tolist() == [[7, 0], [7, 1], [7, 2]]
    assert seed_cells(shapely.box(1, 1, 3, 2), GRID).tolist() == [[6, 1], [6, 2]]
    assert seed_cells(shapely.box(1.2, 1.2, 1.4, 1.4), GRID).tolist() == [[6, 1]], "smaller than a cell"
    assert seed_cells(shapely.GeometryCollection([shapely.Point(0.5, 7.5)]), GRID).tolist() == [[0, 0]]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.lists(st.integers(0, 50), min_size=4, max_size=4))
def test_people_spread_over_homes_are_the_people_of_the_areas(where, people):
    areas = shapely.box(np.arange(4) * 10, 0, np.arange(4) * 10 + 10, 10)
    homes = shapely.box(np.array(where) * 10 + 2, 2, np.array(where) * 10 + 4, 4)
    weights = np.arange(1, len(where) + 1, dtype=float)
    found = spread(areas, np.array(people, float), homes, weights)
    for area in range(4):
        here = np.array(where) == area
        assert found.people[here].sum() == pytest.approx(people[area] if here.any() else 0)
        assert (area in found.without_home) == (not here.any() and people[area] > 0)


def test_areas_that_overlap_count_nobody_twice():
    areas = np.array([shapely.box(0, 0, 10, 10), shapely.box(5, 0, 15, 10)])
    with pytest.raises(InvalidInput, match="population: areas 0 and 1 overlap"):
        spread(areas, np.array([1.0, 1.0]), np.array([shapely.box(6, 2, 7, 3)]), np.ones(1))


def test_a_home_in_no_area_has_unknown_people():
    found = spread(
        np.array([shapely.box(0, 0, 1, 1)]), np.array([3.0]), np.array([shapely.box(6, 2, 7, 3)]), np.ones(1)
    )
    assert np.isnan(found.people[0])
    assert found.without_home.tolist() == [0]
