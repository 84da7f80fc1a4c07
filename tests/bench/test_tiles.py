"""How fast tiles are made. Seeded, two sizes each; run with `make bench`."""

import numpy as np
import pyarrow as pa
import pytest

from layers.frame import CityFrame
from layers.heights import Egm96
from tests.tiles.towns import MemoryCity, MemoryStore, box, boxes, layer_type
from tiles import glb, metadata, tree
from tiles.terrain import TerrainTiles

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


class Hills:
    is_empty = False
    lonlat_bounds = (120.9, 28.0, 121.1, 28.2)
    cell_m = 5.0

    def heights_lonlat(self, lon_deg, lat_deg):
        return 50 + 40 * np.sin(lon_deg * 500) * np.cos(lat_deg * 400)


@pytest.mark.parametrize("normals", [False, True])
def test_terrain_tile(benchmark, normals):
    frame = CityFrame("EPSG:4549", Egm96(), 121.0, 28.1)
    made = TerrainTiles(MemoryCity(MemoryStore(layer_type(), np.zeros((0, 6))), terrain=Hills(), frame=frame))
    data = benchmark(made.tile, 15, int(301 * 2**15 / 180), int(118.1 * 2**15 / 180), normals)
    benchmark.extra_info |= {"bytes": len(data), "tiles_per_second": round(1 / benchmark.stats["median"])}
    assert len(data) > 65 * 65 * 6
