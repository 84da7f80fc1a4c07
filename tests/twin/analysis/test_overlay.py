"""What areas have in common: against geopandas.overlay, and by laws."""

import threading

import geopandas
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from layers.ellipsoid_area import areas_m2
from twin.analysis import overlay
from twin.analysis.overlay import Cover, common, divided, polygonal, self_overlaps, uncovered_m2
from twin.analysis.progress import Dismissed, Progress

CRS = "EPSG:4549"
EAST, NORTH = 598_000.0, 3_109_000.0


def blob(east, north, radius, n, seed):
    """A ragged outline of n corners."""
    turn = np.linspace(0, 2 * np.pi, n, endpoint=False)
    reach = radius * (0.7 + 0.3 * np.random.default_rng(seed).random(n))
    return shapely.Polygon(np.column_stack([east + reach * np.cos(turn), north + reach * np.sin(turn)]))


def parcels(n, width, seed):
    """n by n rectangles side by side, some of them apart."""
    x, y = (each.ravel() for each in np.meshgrid(np.arange(n), np.arange(n)))
    rng = np.random.default_rng(seed)
    gap = rng.choice([0.0, 0.2], n * n)
    return shapely.box(EAST + width * x, NORTH + width * y, EAST + width * (x + 1 - gap), NORTH + width * (y + 1))


def by_geopandas(left, right):
    frames = [geopandas.GeoDataFrame({name: np.arange(len(each))}, geometry=each, crs=CRS)
              for name, each in (("left", left), ("right", right))]  # fmt: skip
    found = geopandas.overlay(*frames, how="intersection", keep_geom_type=True)
    found["area"] = areas_m2(found.geometry.to_numpy(), CRS)
    return found[found.area > 1e-6].groupby(["left", "right"])["area"].sum().to_dict()


@pytest.mark.parametrize("points", [7, 400, 4000])
def test_pairs_and_areas_are_those_of_geopandas(points):
    left = parcels(30, 20, 0)
    right = np.array([blob(EAST + 200, NORTH + 300, 260, points, 1), blob(EAST + 420, NORTH + 300, 300, points, 2),
                      shapely.box(EAST + 100, NORTH, EAST + 300, NORTH + 200)])  # fmt: skip
    found = common(left, Cover(right, CRS)).pairs()
    expected = by_geopandas(left, right)
    assert dict.fromkeys(zip(found.left.tolist(), found.right.tolist(), strict=True)) == dict.fromkeys(expected)
    assert found.areas_m2 == pytest.approx(list(expected.values()), abs=1e-6)
    assert areas_m2(found.shapes, CRS) == pytest.approx(found.areas_m2, abs=1e-6), "shapes are what was measured"


def test_one_area_counts_what_its_parts_share_once():
    right = np.array(
        [shapely.box(EAST, NORTH, EAST + 60, NORTH + 100), shapely.box(EAST + 40, NORTH, EAST + 100, NORTH + 100)]
    )
    left = np.array([shapely.box(EAST, NORTH, EAST + 100, NORTH + 100)])
    whole = areas_m2(left, CRS)
    assert common(left, Cover(right, CRS)).of_left(1)[0] == pytest.approx(1.2 * whole[0])
    assert common(left, Cover(right, CRS, is_one=True)).of_left(1)[0] == pytest.approx(whole[0], abs=1e-6)


def test_division_keeps_the_area_and_makes_small_parts():
    shapes = np.array(
        [
            blob(EAST, NORTH, 900, 3000, 3),
            None,
            shapely.Point(0, 0),
            shapely.MultiPolygon([blob(EAST + 3000, NORTH, 9, 9, 4), blob(EAST + 5000, NORTH, 500, 999, 5)]),
        ]
    )
    holed = shapely.difference(shapes[0], blob(EAST, NORTH, 500, 900, 6))
    parts, owner = divided(np.array([*shapes, holed]))
    assert shapely.get_num_coordinates(parts).max() <= overlay.MOST_POINTS
    sums = np.bincount(owner, weights=shapely.area(parts), minlength=5)
    assert sums == pytest.approx([shapely.area(each) if each else 0 for each in (*shapes, holed)], rel=1e-12)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(3, 300), st.floats(1, 400), st.floats(1, 400))
def test_inside_and_outside_are_the_whole(seed, points, radius, other):
    rng = np.random.default_rng(seed)
    east, north = EAST + rng.uniform(0, 300, 20), NORTH + rng.uniform(0, 300, 20)
    left = np.array([blob(*at, radius / 4, 7, seed + i) for i, at in enumerate(zip(east, north, strict=True))])
    right = blob(EAST + 150, NORTH + 150, other, points, seed)
    right = shapely.make_valid(right)
    own = areas_m2(left, CRS)
    pieces = common(left, Cover(np.array([right]), CRS, is_one=True), left_m2=own)
    outside = areas_m2(shapely.difference(left, right), CRS)
    assert uncovered_m2(own, pieces) == pytest.approx(outside, abs=1e-6)
    assert pieces.of_left(20) == pytest.approx(areas_m2(shapely.intersection(left, right), CRS), abs=1e-6)


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(2, 40))
def test_overlaps_of_a_set_are_those_of_every_pair(seed, n):
    rng = np.random.default_rng(seed)
    x, y = EAST + rng.integers(0, 60, n), NORTH + rng.integers(0, 60, n)
    shapes = shapely.box(x, y, x + rng.integers(1, 30, n), y + rng.integers(1, 30, n))
    found = self_overlaps(shapes, CRS)
    pairs = {
        (i, j): shapely.area(shapely.intersection(shapes[i], shapes[j])) for i in range(n) for j in range(i + 1, n)
    }
    expected = {pair: area for pair, area in pairs.items() if area > 0}
    assert list(zip(found.left.tolist(), found.right.tolist(), strict=True)) == list(expected)
    assert found.areas_m2 == pytest.approx(list(expected.values()), rel=3e-4)


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(3, 250), st.integers(3, 250))
def test_what_two_have_in_common_does_not_depend_on_the_order(seed, points, others):
    one = np.array([shapely.make_valid(blob(EAST + 90 * i, NORTH, 80, points, seed + i)) for i in range(4)])
    two = np.array([shapely.make_valid(blob(EAST + 70 * i, NORTH + 40, 60, others, seed + 9 + i)) for i in range(5)])
    there, back = common(one, Cover(two, CRS)).pairs(), common(two, Cover(one, CRS)).pairs()
    forward = dict(zip(zip(there.left.tolist(), there.right.tolist(), strict=True), there.areas_m2, strict=True))
    turned = dict(zip(zip(back.right.tolist(), back.left.tolist(), strict=True), back.areas_m2, strict=True))
    assert set(forward) == set(turned)
    assert [turned[key] for key in forward] == pytest.approx(list(forward.values()), abs=1e-6)


def test_neighbours_and_equal_areas():
    shapes = np.array(
        [
            shapely.box(EAST, NORTH, EAST + 9, NORTH + 9),
            shapely.box(EAST + 9, NORTH, EAST + 18, NORTH + 9),
            shapely.box(EAST, NORTH, EAST + 9, NORTH + 9),
            None,
            shapely.Polygon(),
        ]
    )
    found = self_overlaps(shapes, CRS)
    assert list(zip(found.left, found.right, strict=True)) == [(0, 2)]
    assert found.areas_m2[0] == areas_m2(shapes[:1], CRS)[0]


def test_a_mended_line_keeps_all_its_parts():
    """A collection that holds a multipolygon, as mending may leave it, counts whole."""
    both = shapely.MultiPolygon(shapely.box([EAST, EAST + 20], NORTH, [EAST + 9, EAST + 29], NORTH + 9).tolist())
    mended = shapely.GeometryCollection([both, shapely.LineString([(EAST, NORTH + 50), (EAST + 9, NORTH + 50)])])
    ground = np.array([shapely.box(EAST - 5, NORTH - 5, EAST + 50, NORTH + 60)])
    for is_one in (True, False):
        found = common(ground, Cover(np.array([mended]), CRS, is_one=is_one))
        assert found.of_left(1)[0] == pytest.approx(areas_m2(np.array([both]), CRS)[0], abs=1e-6)


def test_a_part_that_only_touches_in_a_line_is_no_area():
    touching = shapely.GeometryCollection([shapely.box(0, 0, 1, 1), shapely.LineString([(5, 0), (5, 1)])])
    assert polygonal(np.array([touching, None, shapely.Point(0, 0)], object))[0].equals(shapely.box(0, 0, 1, 1))


def test_many_threads_say_what_one_says(monkeypatch):
    left = parcels(150, 20, 7)
    right = np.array([blob(EAST + 1500, NORTH + 1500, 1400, 2000, 8)])
    seen = set()
    asked = Cover.common

    def watched(self, *args, **more):
        seen.add(threading.get_ident())
        return asked(self, *args, **more)

    monkeypatch.setattr(Cover, "common", watched)
    monkeypatch.setattr(overlay, "threads", lambda: 1)
    alone = common(left, Cover(right, CRS))
    assert len(seen) == 1
    monkeypatch.setattr(overlay, "threads", lambda: 3)
    together = common(left, Cover(right, CRS))
    assert len(seen) > 1
    assert (together.left == alone.left).all()
    assert (together.areas_m2 == alone.areas_m2).all()


def test_who_no_longer_wants_it_stops_it():
    def tell(percent, message):
        raise Dismissed

    with pytest.raises(Dismissed):
        common(parcels(150, 20, 7), Cover(parcels(2, 1500, 1), CRS), progress=Progress(tell))
    assert threading.active_count() < 20
