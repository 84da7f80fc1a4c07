"""How fast tiles are made. Seeded, two sizes each; run with `make bench`."""

import numpy as np
import pyarrow as pa
import pytest

from tests.tiles.towns import box, boxes
from tiles import glb, metadata, tree

pytestmark = pytest.mark.bench


@pytest.mark.parametrize("n", [10_000, 1_000_000])
def test_tile_tree(benchmark, n):
    bounds = boxes(n, 50.0 * n**0.5)
    sizes = np.full(n, 300)
    made = benchmark.pedantic(tree.build, (bounds, sizes), rounds=3)
    assert len(made.order) == n
    benchmark.extra_info |= {"tiles": len(made), "features_per_second": round(n / benchmark.stats["median"])}


@pytest.mark.parametrize("n", [200, 2000])
def test_glb(benchmark, n):
    meshes = [box(row[:3], row[3:]) for row in boxes(n, 1000.0)]
    columns = pa.table(
        {
            "id": [f"B-{i}" for i in range(n)],
            "name": [f"楼 {i}" for i in range(n)],
            "height_m": np.linspace(3, 90, n),
            "floors": np.arange(n),
        }
    )
    colours = np.full((n, 4), 200, np.uint8)
    data = benchmark(lambda: glb.encode(meshes, metadata.property_table("building", columns), colours))
    assert data[:4] == b"glTF"
    benchmark.extra_info |= {"bytes": len(data), "features_per_second": round(n / benchmark.stats["median"])}
