"""How fast tiles are made. Seeded, two sizes each; run with `make bench`."""

import numpy as np
import pyarrow as pa
import pytest
import shapely

from layers.frame import CityFrame
from layers.heights import Egm96
from tests.tiles.towns import MemoryCity, MemoryStore, box, boxes, layer_type
from tiles import glb, metadata, mvt, tree
from tiles.terrain import TerrainTiles
from twin.scope import EVERYTHING
from twin.store.interface import Features

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


@pytest.mark.parametrize("n", [1000, 10_000])
def test_vector_tile(benchmark, n):
    rng = np.random.default_rng(0)
    xy = np.array([598_500.0, 3_110_500.0]) + rng.uniform(-900, 900, (n, 2))
    geometry = shapely.buffer(shapely.points(xy), rng.uniform(5, 15, n), quad_segs=3)
    ids, none = [f"B-{i}" for i in range(n)], [None] * n
    columns = pa.table({"name": ids, "height_m": np.linspace(3, 90, n), "floors": np.arange(n) % 30})
    features = Features(np.arange(n), ids, geometry, columns, none, np.ones(n, np.int64), ids, none)
    bounds = tuple(shapely.total_bounds(geometry).tolist())
    store = MemoryStore(layer_type(), np.zeros((n, 6)))
    store.query = lambda *_: iter([features])
    city = MemoryCity(store)
    info = store.layer("building", EVERYTHING)
    object.__setattr__(info, "bounds", bounds)
    zoom = 14
    x, y = int((121 + 180) / 360 * 2**zoom), int((1 - np.arcsinh(np.tan(np.radians(28.1))) / np.pi) / 2 * 2**zoom)
    data = benchmark(mvt._layer, city, info, (zoom, x, y), EVERYTHING)
    assert data
    benchmark.extra_info |= {"bytes": len(data), "features_per_second": round(n / benchmark.stats["median"])}
