"""`Query.z` over models: kept in a frame whose z is no height, found by the heights they were placed at."""

import numpy as np
import pyarrow as pa
import pytest
import shapely
from pyproj import Transformer

from layers import mesh
from layers.frame import CityFrame
from layers.heights import Constant
from twin import config
from twin.scope import EVERYTHING
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Query, Rows
from twin.store.select_z import heights

UNDULATION_M = 12.5
HEIGHTS = (3.0, 3.0, 40.0)
EAST = (598000.0, 613000.0, 613000.0)  # 15 km from the origin the ground lies 17 m lower in the frame


@pytest.fixture
def frame():
    return CityFrame("EPSG:4549", Constant(UNDULATION_M), 121.0, 28.1)


def solid(frame, east, height):
    """A box of 10 m x 10 m x 4 m whose base stands at a normal height."""
    enh = np.array([(east + dx, 3110000.0 + dy, height + dz) for dx in (0, 10) for dy in (0, 10) for dz in (0, 4)])
    from trimesh import convex

    hull = convex.convex_hull(frame.to_enu(enh))
    return mesh.encode(mesh.Mesh(np.asarray(hull.vertices), np.asarray(hull.faces)))


def test_models_are_found_by_their_heights_wherever_they_stand(tmp_path, make, frame):
    config.save(
        config.TwinConfig("z", "EPSG:4549", 121.0, 28.1, 0.0, height_model={"constant_m": UNDULATION_M}), tmp_path
    )
    store = GeoPackageStore(tmp_path / "city.gpkg", create=True, city_crs="EPSG:4549")
    shapes = np.array([shapely.box(e, 3110000, e + 10, 3110010) for e in (*EAST, 598100.0)], object)
    meshes = [*(solid(frame, e, h) for e, h in zip(EAST, HEIGHTS, strict=True)), None]
    table = pa.table({"name": pa.nulls(4, pa.string())})
    given = Rows(["near", "far", "high", "flat"], shapes, table, [None] * 4, meshes)
    make.stored(store, make.layer_type("house", "Polygon"), given)

    def found(low, high):
        query = Query(z=(low, high))
        ids = {i for batch in store.query("house", query, EVERYTHING) for i in batch.ids}
        assert store.count("house", query, EVERYTHING) == len(ids)
        return ids - {"flat"} if "flat" in ids else pytest.fail("what has no height stays in")

    assert found(2.5, 3.5) == {"near", "far"}
    assert found(6.9, 7.1) == {"near", "far"}
    assert found(7.5, 39.5) == set()
    assert found(43.9, 60.0) == {"high"}
    assert found(-20.0, 2.9) == set()
    store.close()


def test_heights_of_boxes_are_those_of_their_extreme_points(frame):
    """PROJ's geocentric conversion is the oracle, over every corner and the middles of faces and edges."""
    rng = np.random.default_rng(1)
    low = rng.uniform(-30_000, 30_000, (200, 3)) * [1, 1, 0.01]
    boxes = np.hstack([low, low + rng.uniform(0.1, 60, (200, 3))])
    steps = np.array([(a, b, c) for a in (0, 0.5, 1) for b in (0, 0.5, 1) for c in (0, 0.5, 1)])
    points = boxes[:, None, :3] + steps * (boxes[:, None, 3:] - boxes[:, None, :3])
    matrix = np.array(frame.root_transform).reshape(4, 4).T
    ecef = points.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3]
    _, _, ellipsoidal = Transformer.from_crs("EPSG:4978", "EPSG:4979", always_xy=True).transform(*ecef.T)
    normal = (ellipsoidal - UNDULATION_M).reshape(200, -1)
    found = heights(frame, boxes)
    assert (found[:, 0] <= normal.min(axis=1) + 1e-3).all()
    assert (found[:, 1] >= normal.max(axis=1) - 1e-3).all()
    np.testing.assert_allclose(found[:, 0], normal.min(axis=1), atol=0.01)
    np.testing.assert_allclose(found[:, 1], normal.max(axis=1), atol=1e-3)
