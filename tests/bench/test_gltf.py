"""How fast contents of tiles are encoded, and how large they are. Run with `make bench`.

The peer is trimesh's exporter of glb with the same triangles, unwelded normals and no attributes: what a script would
take. Buildings are those of the big city, with the attributes of the catalogue's type.
"""

import gzip
import io

import numpy as np
import pytest
import trimesh

from tests.tiles.gltf_reader import Glb
from tests.tiles.test_compact import big_city, copies, placed
from tests.tiles.test_content import content
from tiles.content import encode

pytestmark = pytest.mark.bench


@pytest.mark.parametrize("n", [500, 5000])
@pytest.mark.parametrize("form", ["compat", "compact"])
def test_buildings(benchmark, form, n):
    made = big_city(n)
    data = benchmark(encode, made, form)
    assert np.unique(Glb(data).triangles().features).tolist() == list(range(n))
    other = data if form == "compat" else encode(made, "compat")
    benchmark.extra_info |= {
        "bytes_a_building": round(len(data) / n),
        "gzip_bytes_a_building": round(len(gzip.compress(data)) / n),
        "share_of_compat": round(len(data) / len(other), 3),
        "buildings_per_second": round(n / benchmark.stats["median"]),
    }


@pytest.mark.parametrize("form", ["compat", "compact"])
def test_copies(benchmark, form):
    blobs, shapes = copies(placed(2000))
    data = benchmark(encode, content(blobs, shapes=shapes), form)
    assert len(Glb(data).triangles().features) == 2000 * 20
    benchmark.extra_info |= {"bytes": len(data), "copies_per_second": round(2000 / benchmark.stats["median"])}


@pytest.mark.parametrize("n", [500])
def test_peer_trimesh(benchmark, n):
    drawn = Glb(encode(big_city(n), "compat")).triangles()
    corners = drawn.corners.reshape(-1, 3)

    def export():
        mesh = trimesh.Trimesh(corners, np.arange(len(corners)).reshape(-1, 3), process=False)
        return mesh.export(file_type="glb", include_normals=True)

    data = benchmark(export)
    assert len(trimesh.load(io.BytesIO(data), file_type="glb").dump()[0].faces) == len(drawn.features)
    benchmark.extra_info |= {"bytes": len(data), "buildings_per_second": round(n / benchmark.stats["median"])}
