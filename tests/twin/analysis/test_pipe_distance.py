"""Distances of segments and lines: shapely in plan, dense sampling in space, brute force over all pairs."""

import numpy as np
import pytest
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from twin.analysis import pipe_distance
from twin.analysis.pipe_distance import beside, crossings, pairs, plan_distance, segments, space_distance

WHOLE = st.integers(-6, 6)
POINT = st.tuples(WHOLE, WHOLE, WHOLE)


def ends(*points):
    return [np.array([point], float) for point in points]


@given(POINT, POINT, POINT, POINT)
@example((0, 0, 0), (4, 0, 0), (1, 0, 1), (3, 0, 1))  # one over the other
@example((0, 0, 0), (0, 0, 0), (3, 4, 0), (3, 4, 0))  # both without length
@example((0, 0, 0), (4, 0, 0), (2, 0, 0), (2, 3, 0))  # a tee
@example((0, 0, 0), (4, 4, 0), (0, 4, 2), (4, 0, 2))  # a cross
def test_plan_distance_is_shapelys(p, q, u, v):
    one, two = ends(p, q), ends(u, v)
    plan, s, t, crosses = plan_distance(one[0][:, :2], one[1][:, :2], two[0][:, :2], two[1][:, :2])
    a, b = shapely.LineString([p[:2], q[:2]]), shapely.LineString([u[:2], v[:2]])
    assert plan[0] == pytest.approx(shapely.distance(a, b), abs=1e-9)
    on_a, on_b = np.array(p) + s * (np.array(q) - p), np.array(u) + t * (np.array(v) - u)
    assert np.hypot(*(on_a - on_b)[:2]) == pytest.approx(plan[0], abs=1e-9), "the place it names is that far"
    d, e = np.subtract(q, p)[:2], np.subtract(v, u)[:2]
    is_parallel = d[0] * e[1] - d[1] * e[0] == 0
    assert crosses[0] == (shapely.intersects(a, b) and not is_parallel)


@settings(max_examples=60)
@given(POINT, POINT, POINT, POINT)
@example((0, 0, 0), (4, 0, 4), (0, 0, 1), (4, 0, 5))  # parallel in space
@example((0, 0, 0), (6, 0, 0), (3, -3, 2), (3, 3, 2))  # stationary point inside both
def test_space_distance_is_that_of_dense_samples(p, q, u, v):
    found = space_distance(*ends(p, q), *ends(u, v))[0]
    share = np.linspace(0, 1, 401)[:, None]
    one, two = np.array(p) + share * np.subtract(q, p), np.array(u) + share * np.subtract(v, u)
    sampled = np.linalg.norm(one[:, None] - two[None], axis=2).min()
    assert found <= sampled + 1e-9
    step = max(np.linalg.norm(np.subtract(q, p)), np.linalg.norm(np.subtract(v, u))) / 400
    assert sampled <= found + 2 * step
    assert found == pytest.approx(space_distance(*ends(u, v), *ends(q, p))[0], abs=1e-9), "no order, no direction"


def test_a_missing_height_leaves_space_unknown_and_plan_known():
    one, two = ends((0, 0, np.nan), (4, 0, 1)), ends((0, 3, 0), (4, 3, 0))
    assert np.isnan(space_distance(*one, *two)[0])
    given_ = segments(np.array([shapely.LineString([(0, 0), (4, 0)]), shapely.LineString([(0, 3), (4, 3)])]),
                      np.array([False, False]))  # fmt: skip
    found = pairs(given_, np.zeros(2), 5.0)
    assert (found.plan_m[0], bool(found.crosses[0])) == (3.0, False)
    assert np.isnan(found.space_m[0])


def lines(n, seed):
    draw = np.random.default_rng(seed)
    made = []
    for _ in range(n):
        start, count = draw.uniform(0, 60, 2), draw.integers(2, 6)
        steps = draw.normal(0, 4, (count, 2))
        steps[0] = 0
        xy = start + np.cumsum(steps, axis=0)
        made.append(shapely.LineString(np.c_[xy, draw.uniform(-3, 0, count)]))
    return np.array(made, object)


@pytest.mark.parametrize("seed", [1, 2])
def test_pairs_are_those_of_brute_force(seed, monkeypatch):
    monkeypatch.setattr(pipe_distance, "_QUERY", 64)  # several blocks
    monkeypatch.setattr(pipe_distance, "PAIRS_AT_ONCE", 50)
    every = lines(300, seed)
    half = np.random.default_rng(seed).uniform(0.05, 0.6, len(every))
    given_ = segments(every, np.ones(len(every), bool))
    found = pairs(given_, half, 2.0)
    a, b = np.triu_indices(len(every), 1)
    plan = shapely.distance(every[a], every[b])
    near = plan <= 2.0 + half[a] + half[b]
    assert list(zip(found.a, found.b, strict=True)) == list(zip(a[near], b[near], strict=True))
    np.testing.assert_allclose(found.plan_m, plan[near], atol=1e-9)
    flat = shapely.force_2d(every)
    np.testing.assert_array_equal(found.crosses, plan[near] <= pipe_distance.TOUCH_M)
    assert found.crosses.sum() >= shapely.crosses(flat[a[near]], flat[b[near]]).sum() > 20
    space = pipe_distance.exact_space(found.space_m, 2.0 + half[found.a] + half[found.b], found.a, found.b, given_)
    for k in range(0, len(found), 7):
        one, two = (shapely.get_coordinates(shapely.segmentize(each, 0.02), include_z=True)
                    for each in (every[found.a[k]], every[found.b[k]]))  # fmt: skip
        least = cKDTree(two).query(one)[0].min()
        assert space[k] <= least + 1e-9
        assert least - space[k] < 0.05
    for k in np.flatnonzero(found.crosses & shapely.intersects(flat[found.a], flat[found.b]))[:20]:
        where = shapely.get_parts(shapely.intersection(flat[found.a[k]], flat[found.b[k]]))
        gaps = [abs(height(every[found.a[k]], point) - height(every[found.b[k]], point)) for point in where]
        assert found.gap_m[k] == pytest.approx(min(gaps), abs=1e-6)


def height(line, point):
    along = shapely.line_locate_point(shapely.force_2d(line), point)
    xyz = shapely.get_coordinates(line, include_z=True)
    run = np.r_[0, np.cumsum(np.hypot(*np.diff(xyz[:, :2], axis=0).T))]
    return np.interp(along, run, xyz[:, 2])


def test_repeated_points_lines_without_length_and_parts():
    made = np.array([
        shapely.LineString([(0, 0, 0), (0, 0, 0), (4, 0, 0), (4, 0, 0)]),
        shapely.LineString([(2, 1, 0), (2, 1, 0)]),
        shapely.MultiLineString([[(0, 9, 0), (4, 9, 0)], [(0, 2, 0), (4, 2, 0)]]),
    ])  # fmt: skip
    given_ = segments(made, np.ones(3, bool))
    assert given_.line.tolist() == [0, 1, 2, 2]
    found = pairs(given_, np.zeros(3), 3.0)
    got = dict(zip(zip(found.a.tolist(), found.b.tolist(), strict=True), found.plan_m.tolist(), strict=True))
    assert got == {(0, 1): 1.0, (0, 2): 2.0, (1, 2): 1.0}


def test_lines_that_share_a_joint_are_no_pair():
    made = np.array([shapely.LineString([(0, 0, 0), (4, 0, 0)]), shapely.LineString([(4, 0, 0), (8, 0, 0)])])
    given_ = segments(made, np.ones(2, bool))
    assert len(pairs(given_, np.zeros(2), 1.0)) == 1
    assert len(pairs(given_, np.zeros(2), 1.0, np.array([[0, 1], [1, 2]]))) == 0


def test_beside_leaves_out_what_belongs_to_the_crossing():
    a = np.array([shapely.LineString([(-50, 0), (50, 0)])] * 2)
    b = np.array([shapely.LineString([(0, -50), (0, 50)]), shapely.LineString([(0, -50), (0, 1), (40, 1)])])
    far, place = beside(a, b, crossings(a, b), np.full(2, 4.0))
    assert far[0] == pytest.approx(4.0, abs=0.05), "straight across: the nearest outside is at the zone's edge"
    assert far[1] == pytest.approx(1.0), "it turns and runs alongside"
    assert shapely.length(place[1]) == pytest.approx(1.0)
