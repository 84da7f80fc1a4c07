"""The quadtree: every feature once, real bounds, errors that halve. Checked against brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layers.errors import InvalidInput
from tests.tiles.towns import boxes
from tiles import tree


def built(bounds, sizes=None, **budget):
    sizes = np.full(len(bounds), 300) if sizes is None else sizes
    return tree.build(bounds, sizes, tree.Budget(**budget)) if budget else tree.build(bounds, sizes)


def check(made, bounds):
    """The laws of every tree."""
    assert sorted(made.order.tolist()) == list(range(len(bounds)))  # each feature exactly once
    assert made.parents[0] == -1
    assert (made.parents[1:] < np.arange(1, len(made))).all()
    for tile in range(len(made)):
        below = [tile]
        for other in range(tile + 1, len(made)):
            if made.parents[other] in below:
                below.append(other)
        rows = np.concatenate([made.features(each) for each in below])
        assert made.subtree_sizes[tile] == len(below)
        expected = [*bounds[rows, :3].min(axis=0), *bounds[rows, 3:].max(axis=0)]
        np.testing.assert_array_equal(made.bounds[tile], expected)
        assert len(below) > 1 or made.errors[tile] == 0
        # nothing is listed that holds nothing and forks nowhere
        assert len(made.features(tile)) or (made.parents == tile).sum() > 1
        if tile:
            parent = made.parents[tile]
            steps = made.levels[tile] - made.levels[parent]
            assert steps > 0
            assert (made.xs[tile] >> steps, made.ys[tile] >> steps) == (made.xs[parent], made.ys[parent])
            assert made.errors[tile] == 0 or made.errors[tile] == pytest.approx(made.errors[parent] / 2**steps)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 300), seed=st.integers(0, 1000), features=st.integers(1, 60), clumps=st.integers(1, 5))
def test_the_laws_hold_for_any_town(n, seed, features, clumps):
    rng = np.random.default_rng(seed)
    bounds = boxes(n, 300.0, seed) + np.tile(np.r_[rng.uniform(-5000, 5000, 2), 0], 2) * (
        np.arange(n) % clumps == 0
    ).reshape(-1, 1)
    check(built(bounds, features=features, n_bytes=10**9), bounds)


def test_a_tile_keeps_within_its_budget():
    bounds = boxes(20_000, 4000.0)
    sizes = np.random.default_rng(1).integers(200, 3000, len(bounds))
    made = built(bounds, sizes, features=500, n_bytes=400_000)
    assert max(len(made.features(tile)) for tile in range(len(made))) <= 500
    assert max(sizes[made.features(tile)].sum() for tile in range(len(made))) <= 400_000


def test_the_biggest_features_are_at_the_root():
    bounds = boxes(5000, 4000.0)
    bounds[[17, 4000], 3:5] = bounds[[17, 4000], :2] + 900.0
    made = built(bounds, features=300, n_bytes=10**9)
    assert {17, 4000} <= set(made.features(0).tolist())
    extents = (bounds[:, 3:] - bounds[:, :3]).max(axis=1)
    below = np.setdiff1d(np.arange(5000), made.features(0))
    assert extents[made.features(0)].min() >= extents[below].max()


def test_what_a_tile_hands_down_is_not_larger_than_its_error_unless_its_share_is_full():
    bounds = boxes(20_000, 4000.0)
    extents = (bounds[:, 3:] - bounds[:, :3]).max(axis=1)
    made = built(bounds, features=600, n_bytes=10**9)
    for tile in range(1, len(made)):
        parent = made.parents[tile]
        assert extents[made.features(tile)].max(initial=0) <= made.errors[parent] or len(made.features(parent)) == 200


def test_the_order_of_features_does_not_matter():
    bounds = boxes(3000, 2000.0)
    shuffled = np.random.default_rng(3).permutation(3000)
    one, two = built(bounds, features=200, n_bytes=10**9), built(bounds[shuffled], features=200, n_bytes=10**9)
    np.testing.assert_array_equal(one.levels, two.levels)
    for tile in range(len(one)):
        assert sorted(one.features(tile)) == sorted(shuffled[two.features(tile)])


def test_a_thousand_features_on_one_spot_do_not_hang():
    bounds = np.tile([[0.0, 0, 0, 1, 1, 1]], (1000, 1))
    check(built(bounds, features=10, n_bytes=10**9), bounds)


def test_one_feature_alone_is_the_root():
    made = built(np.array([[5.0, 5, 5, 5, 5, 5]]))
    assert (len(made), made.errors[0], made.features(0).tolist()) == (1, 0.0, [0])


@pytest.mark.parametrize(("bounds", "said"), [(np.zeros((0, 6)), "at least one"), (np.full((2, 6), np.nan), "mesh 0")])
def test_bad_bounds_are_refused(bounds, said):
    with pytest.raises(InvalidInput, match=said):
        built(bounds)
