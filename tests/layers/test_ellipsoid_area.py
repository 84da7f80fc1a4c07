"""Areas and lengths on the ellipsoid: the official series, PROJ's geodesics, and laws."""

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from layers import crs
from layers.ellipsoid_area import MU_M2, areas_m2, lengths_m


def official_area_m2(dlon_deg, south_deg, north_deg):
    """Trapezoid on the ellipsoid: 国土调查办发〔2008〕32号."""
    a, f = 6378137.0, 1 / 298.257222101
    b = a * (1 - f)
    e2 = (a * a - b * b) / (a * a)
    e4, e6, e8 = e2**2, e2**3, e2**4
    coefficients = [
        1 + 3 / 6 * e2 + 30 / 80 * e4 + 35 / 112 * e6 + 630 / 2304 * e8,
        -(1 / 6 * e2 + 15 / 80 * e4 + 21 / 112 * e6 + 420 / 2304 * e8),
        3 / 80 * e4 + 7 / 112 * e6 + 180 / 2304 * e8,
        -(1 / 112 * e6 + 45 / 2304 * e8),
        5 / 2304 * e8,
    ]
    dlat, mid = np.radians(north_deg - south_deg), np.radians((north_deg + south_deg) / 2)
    terms = sum(c * np.sin((2 * k + 1) * dlat / 2) * np.cos((2 * k + 1) * mid) for k, c in enumerate(coefficients))
    return 2 * b * b * np.radians(dlon_deg) * terms


def by_proj_m2(polygon, source, step):
    """Area by PROJ's geodesics between points at most `step` units of the map apart."""
    dense = np.array([shapely.orient_polygons(shapely.segmentize(polygon, step))], dtype=object)
    placed = crs.transform_geometries(source, crs.CGCS2000, dense)[0]
    return abs(crs.CGCS2000_GEOD.geometry_area_perimeter(placed)[0])


def star(east, north, size, hole=True):
    """Seven corners in a ring about a place, none of them on an axis, with a hole."""
    turn = np.linspace(0, 2 * np.pi, 8)[:-1] + 0.3
    reach = size * np.array([0.5, 0.3, 0.5, 0.25, 0.5, 0.4, 0.45])
    ring = np.column_stack([east + reach * np.cos(turn), north + reach * np.sin(turn)])
    inner = np.array([east, north]) + 0.3 * (ring - [east, north])
    return shapely.Polygon(ring, [inner] if hole else None)


PLACES = {
    "4549-meridian": ("EPSG:4549", 500_000, 3_109_000),
    "4549-yueqing": ("EPSG:4549", 598_273, 3_109_927),
    "4549-far-east": ("EPSG:4549", 900_000, 4_152_922),
    "4549-far-west": ("EPSG:4549", 100_000, 2_000_000),
    "4528-prefixed": ("EPSG:4528", 40_598_273, 3_109_927),
    "3857-yueqing": ("EPSG:3857", 13_469_658, 3_267_000),
    "3857-far-north": ("EPSG:3857", 13_469_658, 8_000_000),
}


@pytest.mark.parametrize(("west", "south"), [(121.0, 28.10), (121.4, 37.5), (0.0, 0.0), (87.6, 53.2)])
def test_quads_have_the_area_of_the_official_series(west, south):
    quads = [shapely.box(west, south, west + 0.01, south + size) for size in (0.01, 0.5, 1e-4)]
    official = [official_area_m2(0.01, south, south + size) for size in (0.01, 0.5, 1e-4)]
    assert areas_m2(quads, "EPSG:4490") == pytest.approx(official, abs=0.001, rel=1e-9)


def test_the_quad_of_the_requirements_and_its_mu():
    area = areas_m2([shapely.box(121.0, 28.1, 121.01, 28.11)], "EPSG:4490")[0]
    assert area == pytest.approx(1_088_999.05, abs=0.005)
    assert area / MU_M2 == pytest.approx(1633.499, abs=0.0005)
    assert 15 * MU_M2 == 10_000


def test_the_whole_earth_has_its_area():
    assert areas_m2([shapely.box(-180, -90, 180, 90)], "EPSG:4490")[0] == pytest.approx(510.0656e12, rel=1e-7)


@pytest.mark.parametrize("size", [3, 30, 299, 330, 2_000, 30_000])
@pytest.mark.parametrize("place", PLACES)
def test_areas_agree_with_the_geodesics_of_proj(place, size):
    source, east, north = PLACES[place]
    shape = star(east, north, size)
    expected = by_proj_m2(shape, source, max(2.0, size / 2_000))
    assert areas_m2([shape], source)[0] == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("size_deg", [3e-5, 3e-3, 0.2])
def test_edges_in_degrees_are_straight_in_degrees(size_deg):
    shape = star(121.37, 37.5, size_deg)
    expected = by_proj_m2(shape, "EPSG:4490", size_deg / 3_000)
    assert areas_m2([shape], "EPSG:4490")[0] == pytest.approx(expected, abs=5e-3)


@given(
    st.sampled_from(sorted(PLACES)), st.floats(2, 5_000), st.floats(-2e4, 2e4), st.floats(-2e4, 2e4), st.integers(2, 40)
)
def test_parts_have_the_area_of_the_whole(place, size, east, north, n):
    """Small parts go the other way than the large whole: both ways say the same."""
    source, east_0, north_0 = PLACES[place]
    shape = star(east_0 + east, north_0 + north, size)
    cuts = np.linspace(shape.bounds[0], shape.bounds[2], n + 1)
    strips = shapely.box(cuts[:-1], shape.bounds[1], cuts[1:], shape.bounds[3])
    parts = areas_m2(shapely.intersection(strips, shape), source)
    assert parts.sum() == pytest.approx(areas_m2([shape], source)[0], abs=1e-3, rel=1e-10)


def test_holes_islands_and_direction_of_rings():
    outer, hole = shapely.box(0, 0, 400, 400), shapely.box(100, 100, 300, 300)

    def place(shape):
        return shapely.transform(shape, lambda xy: xy + np.array([598_000, 3_109_000]))

    holed = [shapely.Polygon(outer.exterior.coords, [ring]) for ring in (
        list(hole.exterior.coords), list(hole.exterior.coords)[::-1])]  # fmt: skip
    island = shapely.MultiPolygon([holed[0], shapely.box(150, 150, 200, 200)])
    shapes = [place(each) for each in (outer, hole, *holed, shapely.reverse(holed[0]), island, island.geoms[1])]
    whole, gap, first, second, turned, both, small = areas_m2(shapes, "EPSG:4549")
    assert [first, second, turned] == pytest.approx([whole - gap] * 3, abs=1e-5)
    assert both == pytest.approx(first + small, abs=1e-5)


def test_what_is_no_area_has_none():
    shapes = [None, shapely.Point(598_000, 3_109_000), shapely.LineString([(0, 0), (1, 1)]), shapely.Polygon()]
    assert areas_m2(shapes, "EPSG:4549").tolist() == [0, 0, 0, 0]
    assert areas_m2([], "EPSG:4549").shape == (0,)
    mixed = shapely.GeometryCollection([shapely.box(5e5, 3e6, 5e5 + 10, 3e6 + 10), shapely.Point(0, 0)])
    assert areas_m2([mixed], "EPSG:4549")[0] == pytest.approx(100, abs=0.001)


@pytest.mark.parametrize("size", [10, 1_000])
def test_a_collection_has_the_area_of_what_it_holds(size):
    both = shapely.MultiPolygon([star(5e5, 3.1e6, size), star(5e5 + 3 * size, 3.1e6, size)])
    line = shapely.LineString([(5e5, 3.2e6), (5e5 + 100, 3.2e6)])
    mixed = shapely.GeometryCollection([both, line])
    assert areas_m2([mixed], "EPSG:4549") == pytest.approx(areas_m2([both], "EPSG:4549"))
    assert lengths_m([mixed], "EPSG:4549") == pytest.approx(lengths_m([both], "EPSG:4549") + 100, rel=1e-6)


def test_a_height_changes_nothing():
    flat = star(598_000, 3_109_000, 500)
    assert areas_m2([shapely.force_3d(flat, 55.0)], "EPSG:4549")[0] == areas_m2([flat], "EPSG:4549")[0]


def test_many_scattered_and_many_close_polygons_agree():
    """Few in a cell: differences at each; many: the fitted polynomial."""
    rng = np.random.default_rng(0)
    east, north = rng.uniform(350_000, 650_000, 500), rng.uniform(3.0e6, 3.3e6, 500)
    far = shapely.box(east, north, east + 40, north + 25)
    close = np.concatenate([far[:1], shapely.box(east[0], north[0], east[0] + rng.uniform(1, 250, 400), north[0] + 9)])
    scattered = np.array([areas_m2([each], "EPSG:4549")[0] for each in (*far, *close)])
    together = np.concatenate([areas_m2(far, "EPSG:4549"), areas_m2(close, "EPSG:4549")])
    assert together == pytest.approx(scattered, abs=1e-6)


def test_lengths_are_those_of_geodesics():
    line = shapely.LineString([(598_000, 3_109_000), (598_900, 3_109_200), (599_000, 3_130_000)])
    placed = crs.transform_geometries("EPSG:4549", crs.CGCS2000, np.array([line], dtype=object))[0]
    expected = crs.CGCS2000_GEOD.geometry_length(placed)
    several = [line, None, shapely.Point(0, 0), shapely.MultiLineString([line, line]), shapely.box(*line.bounds)]
    found = lengths_m(several, "EPSG:4549")
    assert found[0] == pytest.approx(expected, abs=1e-3)
    assert found[1:3].tolist() == [0, 0]
    assert found[3] == pytest.approx(2 * found[0])
    assert found[4] == pytest.approx(2 * (1_000 + 21_000) * (1 - 0.000119), rel=1e-4)


def test_a_line_that_is_one_place_has_no_length():
    place = shapely.LineString([(598_000, 3_109_000)] * 2)
    both = shapely.MultiLineString([place, shapely.LineString([(5e5, 3e6), (5e5 + 10, 3e6)])])
    assert lengths_m([place, both], "EPSG:4549") == pytest.approx([0, 10], abs=1e-6)


def test_a_long_parallel_is_measured_along_itself():
    """A degree of longitude at 60°: the radius of the parallel, not the shorter great circle."""
    e2 = (2 - 1 / 298.257222101) / 298.257222101
    radius = 6378137 * np.cos(np.radians(60)) / np.sqrt(1 - e2 * np.sin(np.radians(60)) ** 2)
    line = shapely.LineString([(120, 60), (121, 60)])
    assert lengths_m([line], "EPSG:4490")[0] == pytest.approx(np.radians(1) * radius, rel=1e-7)
