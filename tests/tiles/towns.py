"""A small invented city in memory, for tests of the tiles: boxes with attributes in an ENU frame."""

import dataclasses
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import shapely

from layers.catalogue import Attribute, LayerType, Title
from layers.errors import LayerNotFound, NotFound
from layers.frame import CityFrame
from layers.heights import Constant
from layers.mesh import Mesh, encode
from twin.config import TwinConfig
from twin.store.interface import Features, LayerInfo, MeshBlobs, MeshTable

BOX_TRIANGLES = np.array(
    [
        [0, 2, 1], [0, 3, 2], [4, 5, 6], [4, 6, 7], [0, 1, 5], [0, 5, 4],
        [1, 2, 6], [1, 6, 5], [2, 3, 7], [2, 7, 6], [3, 0, 4], [3, 4, 7],
    ]
)  # fmt: skip
CORNERS = np.array([[x, y, z] for z in (0, 1) for x, y in ((0, 0), (1, 0), (1, 1), (0, 1))], float)


def box(low, high, colour=None):
    """A closed box as a stored mesh."""
    low, high = np.asarray(low, float), np.asarray(high, float)
    materials = None if colour is None else np.array([colour], np.uint8)
    return encode(Mesh(low + CORNERS * (high - low), BOX_TRIANGLES, None, materials))


def boxes(n, side_m, seed=0):
    """(n, 6) bounds of boxes strewn over a square."""
    rng = np.random.default_rng(seed)
    centres = np.column_stack([rng.uniform(-side_m / 2, side_m / 2, (n, 2)), rng.uniform(0, 5, n)])
    half = rng.lognormal(2, 0.6, (n, 3)) / 2
    return np.hstack([centres - half, centres + half])


def layer_type(layer_id="building", **style):
    attributes = (
        Attribute("name", "string", Title("名称", "Name")),
        Attribute("height_m", "number", Title("高度", "Height"), unit="m"),
        Attribute("floors", "integer", Title("层数", "Floors")),
        Attribute("legal", "boolean", Title("合法", "Legal")),
    )
    return LayerType(
        layer_id, Title("建筑", "Building"), "Polygon", "base", (1,), attributes, {"color": "#d8cfc0"} | style
    )


@dataclass
class MemoryStore:
    """The part of the store that the tiles read."""

    type: LayerType
    bounds: np.ndarray
    layer_version: int = 1
    geometry: np.ndarray | None = None
    fid_step: int = 3
    queries: list = field(default_factory=list)
    asset_list: list = field(default_factory=list)

    __hash__ = object.__hash__

    @property
    def fids(self):
        return np.arange(len(self.bounds)) * self.fid_step + 1

    def version(self):
        return self.layer_version

    def layers(self, scope):
        return [self.layer(self.type.id, scope)] if scope.allows(self.type.id) else []

    def layer(self, layer_id, scope):
        scope.require(layer_id)
        if layer_id != self.type.id:
            raise LayerNotFound(layer_id, [self.type.id])
        n = len(self.bounds)
        return LayerInfo(self.type, n, n, None, None, self.layer_version, "2026-01-01T00:00:00Z")

    def mesh_table(self, layer_id, scope, at=None):
        scope.require(layer_id)
        return MeshTable(self.fids, self.bounds, np.full(len(self.bounds), 300), np.zeros(len(self.bounds), np.int64))

    def _rows(self, fids):
        rows = (np.asarray(fids) - 1) // self.fid_step
        if (rows >= len(self.bounds)).any():
            raise NotFound("A feature is gone.")
        return rows

    def meshes(self, layer_id, fids, scope):
        scope.require(layer_id)
        return [box(self.bounds[row, :3], self.bounds[row, 3:]) for row in self._rows(fids)]

    def mesh_blobs(self, layer_id, fids, scope):
        return MeshBlobs([mesh.blob for mesh in self.meshes(layer_id, fids, scope)], {})

    def texture(self, key, scope):
        raise NotFound(f"No texture {key}.")

    def mesh_changes(self, layer_id, since, scope):
        scope.require(layer_id)

    def features_by_fid(self, layer_id, fids, scope):
        scope.require(layer_id)
        return self.features(self._rows(fids))

    def features(self, rows):
        n = len(rows)
        table = pa.table(
            {
                "name": pa.array([f"楼 {row}" if row % 2 else None for row in rows], pa.string()),
                "height_m": pa.array(self.bounds[rows, 5] - self.bounds[rows, 2], pa.float64()),
                "floors": pa.array([int(row) if row % 3 else None for row in rows], pa.int64()),
                "legal": pa.array([bool(row % 2) for row in rows], pa.bool_()),
            }
        )
        geometry = np.full(n, None, object) if self.geometry is None else self.geometry[rows]
        ids = [f"B-{row}" for row in rows]
        return Features(
            self.fids[rows], ids, geometry, table, [None] * n, np.ones(n, np.int64), ["2026"] * n, [None] * n
        )

    def assets(self, scope, layer=None):
        return [asset for asset in self.asset_list if layer in {None, asset.layer} and scope.allows(asset.layer)]


@dataclass
class MemoryCity:
    store: MemoryStore
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="citytwin-")))
    terrain: object = None
    frame: CityFrame = field(default_factory=lambda: CityFrame("EPSG:4549", Constant(12.5), 121.0, 28.1))
    config: TwinConfig = field(default_factory=lambda: TwinConfig("town", "EPSG:4549", 121.0, 28.1))


def city(n=50, side_m=500.0, seed=0, **style):
    return MemoryCity(MemoryStore(layer_type(**style), boxes(n, side_m, seed)))


@dataclass
class PlaneStore(MemoryStore):
    """A store whose features have geometries in the city's CRS; regions are answered by shapely."""

    def layer(self, layer_id, scope):
        info = super().layer(layer_id, scope)
        bounds = tuple(shapely.total_bounds(self.geometry).tolist())
        n = len(self.geometry)
        return dataclasses.replace(info, bounds=None if np.isnan(bounds[0]) else bounds, count=n)

    def query(self, layer_id, query, scope, batch_size=10_000):
        scope.require(layer_id)
        self.queries.append(query)
        rows = np.flatnonzero(shapely.intersects(self.geometry, query.region))
        for start in range(0, len(rows), batch_size):
            yield self.features(rows[start : start + batch_size])


def plane_city(geometry, folder, **style):
    """A city whose one layer holds these geometries."""
    store = PlaneStore(layer_type(**style), np.zeros((len(geometry), 6)))
    store.geometry = np.array(geometry, dtype=object)
    return MemoryCity(store, folder=folder)
