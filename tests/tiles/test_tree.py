"""The quadtree: every feature once, real bounds, errors that halve and mean something, edits that touch little."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layers.errors import InvalidInput
from tests.tiles.towns import boxes
from tiles import quadtree, tree
from twin.store.interface import MeshTable


def table(bounds, sizes=None, fids=None, stamps=None):
    n = len(bounds)
    return MeshTable(
        np.arange(n) * 3 + 1 if fids is None else np.asarray(fids, np.int64),
        np.asarray(bounds, float).reshape(-1, 6),
        np.full(n, 300) if sizes is None else np.asarray(sizes),
        np.zeros(n, np.int64) if stamps is None else np.asarray(stamps, np.int64),
    )


def built(bounds, sizes=None, **budget):
    budget = {"features": 800, "n_bytes": 10**9} | budget
    return tree.build(table(bounds, sizes), tree.Budget(**budget))


def cells(made):
    """Key -> row numbers, by the features' own levels and centres: brute force."""
    members, square, found = made.members, made.square, {}
    for i, fid in enumerate(members.fids.tolist()):
        level = int(members.levels[i])
        centre = (members.bounds[:2, i] + members.bounds[3:5, i]) / 2
        x, y = np.minimum(((centre - [square.x, square.y]) / square.side * 2**level).astype(int), 2**level - 1)
        found.setdefault((level, int(x), int(y)), []).append(fid)
    return found


def check(made, given_table):
    """The laws of every tree."""
    row_of = {fid: row for row, fid in enumerate(given_table.fids.tolist())}
    assert sorted(made.members.fids.tolist()) == sorted(given_table.fids.tolist())  # each feature exactly once
    found = cells(made)
    assert {quadtree.key(*cell) for cell in found} == set(made.tiles.keys.tolist())
    every = {}
    for (level, x, y), fids in found.items():
        at = made.find(quadtree.key(level, x, y))
        assert made.fids(quadtree.key(level, x, y)).tolist() == sorted(fids)
        assert made.tiles.counts[at] == len(fids)
        own = given_table.bounds[[row_of[fid] for fid in fids]]
        np.testing.assert_array_equal(made.tiles.bounds[at], [*own[:, :3].min(axis=0), *own[:, 3:].max(axis=0)])
        for up in range(level + 1):
            every.setdefault((level - up, x >> up, y >> up), []).append(own)
    assert {quadtree.key(*cell) for cell in every} == set(made.nodes.keys.tolist())
    for cell, parts in every.items():
        at = made.nodes.find(quadtree.key(*cell))
        below = np.concatenate(parts)
        expected = [*below[:, :3].min(axis=0), *below[:, 3:].max(axis=0)]
        np.testing.assert_array_equal(made.nodes.bounds[at], expected)
        assert made.nodes.n_below[at] == len(parts)
    extents = sizes_of(given_table.bounds)
    for level in range(made.depth):  # what is missing at a level is never bigger than the level's error
        deeper = [row_of[fid] for (own, _, _), fids in found.items() for fid in fids if own > level]
        assert extents[deeper].max(initial=0) <= made.error_m / 2**level * (1 + 1e-12)


def sizes_of(bounds):
    """Root of the largest face of each box."""
    a, b, c = (bounds[:, 3:] - bounds[:, :3]).T
    return np.sqrt(np.maximum(np.maximum(a * b, b * c), a * c))


def same(one, two):
    assert (one.square, one.error_m) == (two.square, two.error_m)
    for part in ("members", "tiles", "nodes"):
        for name, column in vars(getattr(one, part)).items():
            np.testing.assert_array_equal(column, getattr(getattr(two, part), name), err_msg=f"{part}.{name}")


def town(n, seed, clumps=1):
    rng = np.random.default_rng(seed)
    far = np.tile(np.r_[rng.uniform(-5000, 5000, 2), 0], 2)
    return boxes(n, 300.0, seed) + far * (np.arange(n) % clumps == 0).reshape(-1, 1)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 300), seed=st.integers(0, 1000), features=st.integers(1, 60), clumps=st.integers(1, 5))
def test_the_laws_hold_for_any_town(n, seed, features, clumps):
    bounds = town(n, seed, clumps)
    check(built(bounds, features=features), table(bounds))


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 200),
    seed=st.integers(0, 1000),
    features=st.integers(1, 40),
    gone=st.integers(0, 30),
    came=st.integers(0, 30),
    far=st.booleans(),
    restamped=st.integers(0, 5),
)
def test_a_change_gives_the_tree_that_a_start_from_nothing_gives(n, seed, features, gone, came, far, restamped):
    """Removing, adding (also outside the square) and changing in place, in any mixture."""
    rng = np.random.default_rng(seed)
    before = table(town(n, seed), rng.integers(100, 900, n))
    budget = tree.Budget(features, 8000)
    drop = rng.permutation(n)[: min(gone, n)]
    stay = np.setdiff1d(np.arange(n), drop)
    again = stay[:restamped]
    added = town(came, seed + 1) + (4000.0 if far else 0.0)
    new = table(
        np.vstack([before.bounds[again], added]),
        np.r_[before.sizes[again], rng.integers(100, 900, came)],
        np.r_[before.fids[again], 10_000 + np.arange(came)],
        np.r_[np.full(len(again), 7), np.zeros(came, int)],
    )
    rest = np.setdiff1d(stay, again)
    after = MeshTable(
        *(np.concatenate([getattr(before, name)[rest], getattr(new, name)])
          for name in ("fids", "bounds", "sizes", "stamps"))
    )  # fmt: skip
    led_on = tree.changed(tree.build(before, budget), np.r_[before.fids[drop], before.fids[again]], new)
    if not len(after.fids):
        assert led_on is None
        return
    same(led_on, tree.build(after, budget))


def test_an_edit_changes_the_print_of_its_tile_and_hardly_any_other():
    bounds = boxes(20_000, 4000.0)
    one = built(bounds, features=400)
    changed = []
    for row in range(0, 20_000, 1000):
        taller = bounds[[row]] + [0, 0, 0, 0, 0, 3.0]
        two = tree.changed(one, np.array([row * 3 + 1]), table(taller, fids=[10**6]))
        prints = [dict(zip(each.tiles.keys.tolist(), each.tiles.prints.tolist(), strict=True)) for each in (one, two)]
        changed.append(sum(prints[0].get(key) != prints[1].get(key) for key in prints[0].keys() | prints[1].keys()))
        assert changed[-1] >= 1
    assert np.median(changed) <= 2
    assert max(changed) <= 2 * one.depth


def test_a_row_changed_in_place_has_another_print():
    bounds = boxes(50, 500.0)
    one, two = tree.build(table(bounds)), tree.build(table(bounds, stamps=np.arange(50) == 7))
    assert one.tiles.prints[0] != two.tiles.prints[0]
    np.testing.assert_array_equal(one.tiles.bounds, two.tiles.bounds)


def test_a_subset_leaves_every_feature_where_it_was():
    bounds = boxes(5000, 2000.0)
    whole = built(bounds, features=100)
    keep = whole.members.fids % 4 == 1
    part = whole.subset(keep)
    place = dict(zip(whole.members.fids.tolist(), whole.members.levels.tolist(), strict=True))
    assert [place[fid] for fid in part.members.fids.tolist()] == part.members.levels.tolist()
    assert sorted(part.members.fids.tolist()) == sorted(whole.members.fids[keep].tolist())
    assert part.error_m == whole.error_m
    assert whole.subset(np.zeros(5000, bool)) is None


def test_a_tile_keeps_within_its_budget():
    bounds = boxes(20_000, 4000.0)
    sizes = np.random.default_rng(1).integers(200, 3000, len(bounds))
    made = built(bounds, sizes, features=500, n_bytes=400_000)
    size_of = dict(zip(made.members.fids.tolist(), made.members.sizes.tolist(), strict=True))
    fids = [made.fids(key).tolist() for key in made.tiles.keys.tolist()]
    assert max(len(each) for each in fids) <= 500
    assert max(sum(size_of[fid] for fid in each) for each in fids) <= 400_000


def test_the_biggest_features_are_at_the_root():
    bounds = boxes(5000, 4000.0)
    bounds[[17, 4000], 3:5] = bounds[[17, 4000], :2] + 900.0
    made = built(bounds, features=300)
    root = (made.fids(0) - 1) // 3
    assert 100 <= len(root) <= 300
    assert {17, 4000} <= set(root.tolist())
    extents = sizes_of(bounds)
    assert extents[root].min() >= np.delete(extents, root).max() / 2**0.125  # of one class


def test_of_a_hundred_thousand_equal_features_some_show_at_each_level():
    rng = np.random.default_rng(5)
    corner = np.column_stack([rng.uniform(-4000, 4000, (100_000, 2)), np.zeros(100_000)])
    made = built(np.hstack([corner, corner + 6.0]), features=800)
    for level in range(made.depth - 1):
        own = made.members.levels == level
        assert own.sum() >= 100 * 4**level * 0.8
    assert made.tiles.counts.max() <= 800


def test_an_edit_that_keeps_the_size_changes_one_tile():
    bounds = boxes(20_000, 4000.0)
    one = built(bounds, features=400)
    for row in range(0, 20_000, 2500):
        two = tree.changed(one, np.array([row * 3 + 1]), table(bounds[[row]], fids=[10**6]))
        prints = [dict(zip(each.tiles.keys.tolist(), each.tiles.prints.tolist(), strict=True)) for each in (one, two)]
        assert prints[0].keys() == prints[1].keys()
        assert sum(prints[0][key] != prints[1][key] for key in prints[0]) == 1


def test_the_order_of_features_does_not_matter():
    bounds = boxes(3000, 2000.0)
    shuffled = np.random.default_rng(3).permutation(3000)
    one = tree.build(table(bounds), tree.Budget(200, 10**9))
    two = tree.build(table(bounds[shuffled], fids=shuffled * 3 + 1), tree.Budget(200, 10**9))
    same(one, two)


def test_a_thousand_features_on_one_spot_do_not_hang():
    bounds = np.tile([[0.0, 0, 0, 1, 1, 1]], (1000, 1))
    check(built(bounds, features=10), table(bounds))


def test_one_feature_alone_is_the_root():
    made = built(np.array([[5.0, 5, 5, 5, 5, 5]]))
    assert (made.tiles.keys.tolist(), made.depth, made.fids(0).tolist()) == ([0], 1, [1])


@given(
    west=st.integers(-(10**9), 10**9).map(lambda mm: mm / 1000),
    south=st.integers(-(10**9), 10**9).map(lambda mm: mm / 1000),
    width=st.floats(0, 1e5),
    height=st.floats(0, 1e5),
)
def test_the_square_holds_the_box_and_is_not_much_larger(west, south, width, height):
    square = quadtree.square_around(west, south, west + width, south + height)
    assert square.x <= west
    assert square.y <= south
    assert square.x + square.side >= west + width
    assert square.y + square.side >= south + height
    assert square.side <= max(1.0, 2 * max(width, height) * 8 / 7 + 1e-6)
    assert np.log2(square.side) % 1 == 0


@given(st.integers(0, 20), st.data())
def test_keys_go_there_and_back(level, data):
    x, y = (data.draw(st.integers(0, 2**level - 1)) for _ in range(2))
    key = np.array([quadtree.key(level, x, y)])
    found_level, cell = quadtree.level_cell(key)
    column, row = quadtree.column_row(cell)
    assert (found_level[0], column[0], row[0]) == (level, x, y)
    if level:
        assert quadtree.parents(key)[0] == quadtree.key(level - 1, x // 2, y // 2)


@pytest.mark.parametrize("off", [(-1, 0, 0), (0, 1, 0), (3, 8, 0), (3, 0, 8), (3, -1, 0), (21, 0, 0), (99, 5, 5)])
def test_what_lies_off_the_grid_has_no_key(off):
    assert quadtree.key(*off) == -1


@pytest.mark.parametrize(("bounds", "said"), [(np.zeros((0, 6)), "at least one"), (np.full((2, 6), np.nan), "row 1")])
def test_bad_bounds_are_refused(bounds, said):
    with pytest.raises(InvalidInput, match=said):
        built(bounds)
