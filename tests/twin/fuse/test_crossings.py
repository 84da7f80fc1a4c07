"""Pipes through each other: by hand, and against brute force over all pairs."""

import numpy as np
import pytest
import shapely

from twin.fuse.crossings import through


def line(*points):
    return shapely.LineString(points)


def test_only_pipes_that_touch_in_height_and_share_no_end_are_found():
    axes = np.array(
        [
            line((0, 0, 5), (10, 0, 5)),
            line((5, -5, 5.1), (5, 5, 5.1)),  # through the first at 5, 0: 0.1 m apart
            line((7, -5, 4), (7, 5, 4)),  # 1 m below
            line((2, 0, 5), (2, 9, 5)),  # begins on the first: a branch
            line((8, -5, 4), (8, 5, 6)),  # rises; at the crossing just 5 m
            line((3, -5), (3, 5)),  # no height
            None,
        ],
        object,
    )
    pairs, places, apart = through(axes, np.array([0.15, 0.15, 0.15, 0.15, 0.15, 0.15, 0.15]))
    assert sorted(map(tuple, pairs.tolist())) == [(0, 1), (0, 4)]
    assert places[np.argsort(pairs[:, 1])] == pytest.approx(np.array([[5.0, 0.0], [8.0, 0.0]]))
    assert np.sort(apart) == pytest.approx([0, 0.1])


def test_an_unknown_size_says_nothing():
    axes = np.array([line((0, 0, 5), (10, 0, 5)), line((5, -5, 5), (5, 5, 5))], object)
    assert len(through(axes, np.array([np.nan, 0.2]))[0]) == 0
    assert len(through(np.array([], object), np.array([]))[0]) == 0


def test_against_brute_force():
    draw = np.random.default_rng(3)
    ends = draw.uniform(0, 100, (80, 2, 2))
    z = draw.uniform(0, 1, (80, 2))
    axes = np.array([line((*a, za), (*b, zb)) for (a, b), (za, zb) in zip(ends, z, strict=True)], object)
    radius = draw.uniform(0.05, 0.2, 80)
    theirs = set()
    for i in range(80):
        for j in range(i + 1, 80):
            p, r = ends[i][0], ends[i][1] - ends[i][0]
            q, s = ends[j][0], ends[j][1] - ends[j][0]
            t, u = np.linalg.solve(np.column_stack([r, -s]), q - p)
            if 0 < t < 1 and 0 < u < 1:
                gap = abs((z[i][0] + t * (z[i][1] - z[i][0])) - (z[j][0] + u * (z[j][1] - z[j][0])))
                if gap < radius[i] + radius[j]:
                    theirs.add((i, j))
    pairs, _, _ = through(axes, radius)
    assert theirs
    assert set(map(tuple, pairs.tolist())) == theirs
