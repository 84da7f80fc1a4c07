"""How fast the tree of a layer is made, and led on by an edit. Seeded, two sizes; run with `make bench`."""

import numpy as np
import pytest

from tests.tiles.towns import boxes
from tiles import tree
from twin.store.interface import MeshTable

pytestmark = pytest.mark.bench


def table(bounds, first=0):
    n = len(bounds)
    return MeshTable(np.arange(n) + first, bounds, np.full(n, 300), np.zeros(n, np.int64))


@pytest.mark.parametrize("n", [10_000, 1_000_000])
def test_tile_tree(benchmark, n):
    meshes = table(boxes(n, 16.0 * n**0.5))
    made = benchmark.pedantic(tree.build, (meshes,), rounds=3)
    assert len(made.members) == n
    benchmark.extra_info |= {"tiles": len(made.tiles.keys), "features_per_second": round(n / benchmark.stats["median"])}


@pytest.mark.parametrize("n", [10_000, 1_000_000])
def test_tile_tree_after_an_edit(benchmark, n):
    bounds = boxes(n, 16.0 * n**0.5)
    made = tree.build(table(bounds))
    taller = table(bounds[[n // 2]] + [0, 0, 0, 0, 0, 9.0], first=n)
    after = benchmark.pedantic(tree.changed, (made, np.array([n // 2]), taller), rounds=5)
    assert len(after.members) == n
    prints = [dict(zip(t.tiles.keys.tolist(), t.tiles.prints.tolist(), strict=True)) for t in (made, after)]
    changed = sum(prints[0].get(key) != prints[1].get(key) for key in prints[0].keys() | prints[1].keys())
    benchmark.extra_info |= {"tiles": len(after.tiles.keys), "tiles_changed": changed}
