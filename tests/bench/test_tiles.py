"""How fast tiles are made. Seeded, two sizes each; run with `make bench`."""

import numpy as np
import pytest

from tests.tiles.towns import boxes
from tiles import tree

pytestmark = pytest.mark.bench


@pytest.mark.parametrize("n", [10_000, 1_000_000])
def test_tile_tree(benchmark, n):
    bounds = boxes(n, 50.0 * n**0.5)
    sizes = np.full(n, 300)
    made = benchmark.pedantic(tree.build, (bounds, sizes), rounds=3)
    assert len(made.order) == n
    benchmark.extra_info |= {"tiles": len(made), "features_per_second": round(n / benchmark.stats["median"])}
