"""Parts of things in zones: they add up to the whole, whatever the zones; against shapely one by one and pyproj."""

import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from layers import crs
from twin.analysis.coverage_indicators_zones import NOWHERE, disjoint, geodesic_lengths_m, parts, zone_of_points


def grid(n, size=10.0):
    return np.array(
        [shapely.box(i * size, j * size, (i + 1) * size, (j + 1) * size) for j in range(n) for i in range(n)]
    )


def test_a_point_on_an_edge_is_in_the_first_zone_only():
    points = shapely.points([(10, 5), (10, 10), (25, 5), (-1, 5), (20 + 1e-9, 5)])
    points = np.append(points, [None])
    assert zone_of_points(points, grid(2)).tolist() == [0, 0, NOWHERE, NOWHERE, 1, NOWHERE]


def test_a_line_along_the_edge_between_two_zones_counts_once():
    line = np.array([shapely.LineString([(10, -5), (10, 25)])], dtype=object)
    row, zone, part = parts(line, grid(2))
    assert shapely.length(part).sum() == pytest.approx(30)
    lengths = {z: shapely.length(part[zone == z]).sum() for z in set(zone.tolist())}
    assert lengths == {0: pytest.approx(10), 2: pytest.approx(10), NOWHERE: pytest.approx(10)}
    assert row.tolist() == [0] * len(row)


def test_none_empty_and_no_zones():
    shapes = np.array([None, shapely.LineString(), shapely.LineString([(0, 0), (1, 1)])], dtype=object)
    row, zone, _ = parts(shapes, grid(2)[:0])
    assert (row.tolist(), zone.tolist()) == ([2], [NOWHERE])
    assert parts(shapes[:0], grid(2))[0].tolist() == []


def test_zones_that_overlap_are_made_disjoint_and_the_overlap_is_told():
    zones = np.array([shapely.box(0, 0, 10, 10), shapely.box(9, 0, 20, 10), shapely.box(0, 0, 3, 3)], dtype=object)
    made, overlap = disjoint(zones)
    assert overlap == pytest.approx(10 + 9)
    assert shapely.area(made).tolist() == [100, pytest.approx(100), 0]
    assert shapely.area(shapely.union_all(zones)) == pytest.approx(shapely.area(made).sum())


coordinate = st.integers(-15, 45)
line = st.lists(st.tuples(coordinate, coordinate), min_size=2, max_size=6, unique=True)


@settings(max_examples=60)
@given(lines=st.lists(line, min_size=1, max_size=8), seed=st.integers(0, 9))
def test_parts_of_lines_add_up_and_equal_brute_force(lines, seed):
    shapes = np.array([shapely.LineString(each) for each in lines], dtype=object)
    zones = grid(3)[np.random.default_rng(seed).permutation(9)[:6]]
    row, zone, part = parts(shapes, zones)
    length = shapely.length(part)
    whole = shapely.length(shapely.unary_union(shapes[0])) if len(shapes) == 1 else None
    for index, shape in enumerate(shapes):
        total = length[row == index].sum()
        assert total <= shapely.length(shape) + 1e-9
        if shapely.is_simple(shape):  # a line over itself is drawn once where it is cut
            assert total == pytest.approx(shapely.length(shape), abs=1e-9)
    if whole is not None:
        assert length.sum() >= whole - 1e-9
    for index in range(len(shapes)):
        for z in range(len(zones)):
            inside = shapely.length(shapely.intersection(shapes[index], shapely.buffer(zones[z], -1e-6)))
            assert length[(row == index) & (zone == z)].sum() >= inside - 1e-4


@settings(max_examples=40)
@given(
    boxes=st.lists(st.tuples(coordinate, coordinate, st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=6)
)
def test_parts_of_areas_add_up_and_equal_brute_force(boxes):
    shapes = np.array([shapely.box(x, y, x + w, y + h) for x, y, w, h in boxes], dtype=object)
    zones = grid(3)
    row, zone, part = parts(shapes, zones)
    assert np.bincount(row, weights=shapely.area(part)) == pytest.approx(shapely.area(shapes))
    for index, shape in enumerate(shapes):
        for z, each in enumerate(zones):
            expected = shapely.area(shapely.intersection(shape, each))
            assert shapely.area(part[(row == index) & (zone == z)]).sum() == pytest.approx(expected, abs=1e-9)


def test_geodesic_lengths_are_pyprojs():
    geod = pyproj.Geod(a=6378137.0, rf=298.257222101)
    xy = np.array([(598_000.0, 3_109_000.0), (598_900.0, 3_109_400.0), (599_000.0, 3_110_000.0)])
    shapes = np.array([shapely.LineString(xy), None, shapely.MultiLineString([xy[:2], xy[1:]]), shapely.Point(0, 0)])
    lon, lat = crs.transform("EPSG:4549", "EPSG:4490", *xy.T)
    expected = geod.line_length(lon, lat)
    assert geodesic_lengths_m(shapes, "EPSG:4549") == pytest.approx([expected, 0, expected, 0], abs=1e-6)
    assert expected < shapely.length(shapes[0]), "the grid is larger than the ground here"
