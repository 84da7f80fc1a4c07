"""Meshes that a source brings (CityJSON, IFC): source CRS -> city CRS -> ENU, one transformation a batch."""

from dataclasses import dataclass, replace

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.frame import CityFrame
from layers.mesh import Mesh, StoredMesh, encode
from layers.mesh_copy import Pattern, fitted, pattern
from twin.fuse.paint import Means, mean_colours
from twin.fuse.place import Placement

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class PlacedMeshes:
    """Meshes of n features in the city's CRS.

    Attributes
    ----------
    meshes : (n,) as given, or None
    vertices : (v, 3) east, north, normal height of all of them, one after the other
    start : (n + 1,) where each begins in `vertices`
    """

    meshes: list[Mesh | None]
    vertices: FloatArray
    start: NDArray[np.int64]

    @property
    def bounds(self) -> FloatArray:
        """(n, 6) lowest and highest east, north, height; NaN where there is no mesh, inf where it is bad."""
        out = np.full((len(self.meshes), 6), np.nan)
        filled = np.flatnonzero(np.diff(self.start) > 0)
        if filled.size:
            out[filled, :3] = np.minimum.reduceat(self.vertices, self.start[filled])
            out[filled, 3:] = np.maximum.reduceat(self.vertices, self.start[filled])
            bad = np.add.reduceat((~np.isfinite(self.vertices)).any(axis=1).astype(np.int64), self.start[filled]) > 0
            out[filled[bad]] = np.inf
        return out

    def outline(self, i: int) -> shapely.Geometry | None:
        """Convex hull of a mesh in plan as a MultiPolygon; None where the mesh has no extent in plan."""
        hull = shapely.convex_hull(shapely.multipoints(self.vertices[self.start[i] : self.start[i + 1], :2]))
        return shapely.multipolygons([hull]) if hull.geom_type == "Polygon" else None

    def encoded(self, frame: CityFrame, wanted: NDArray[np.bool_]) -> list[StoredMesh | None]:
        """(n,) blobs in the ENU frame of the meshes that are wanted."""
        out: list[StoredMesh | None] = [None] * len(self.meshes)
        chosen = np.flatnonzero(wanted & (np.diff(self.start) > 0))
        if not chosen.size:
            return out
        lengths = np.diff(self.start)
        enu = np.full_like(self.vertices, np.nan)
        used = np.repeat(np.isin(np.arange(len(lengths)), chosen), lengths)
        enu[used] = frame.to_enu(self.vertices[used])
        patterns: dict[tuple[object, ...], Pattern] = {}
        means: Means = {}
        painted: dict[tuple[int, ...], NDArray[np.uint8] | None] = {}
        for i in chosen.tolist():
            mesh = self.meshes[i]
            if mesh is not None and len(mesh.triangles):
                if any(mesh.textures):
                    paint = (id(mesh.materials), *map(id, mesh.textures))
                    if paint not in painted:
                        painted[paint] = mean_colours(mesh, means)
                    mesh = replace(mesh, materials=painted[paint])
                vertices = enu[self.start[i] : self.start[i + 1]]
                out[i] = _copy(mesh, vertices, patterns) or encode(replace(mesh, vertices=vertices, shared=None))
        return out


def _copy(mesh: Mesh, vertices: FloatArray, patterns: dict[tuple[object, ...], Pattern]) -> StoredMesh | None:
    """The mesh as a copy of its shared shape; None where it has none or does not fit it."""
    if mesh.shared is None or mesh.shared.vertices.shape != vertices.shape:
        return None
    # readers hand the same arrays to all copies of a batch; where they do not, equal content still meets in the store
    parts = (mesh.shared.vertices, mesh.triangles, mesh.material_ids, mesh.materials, mesh.uv)
    key = (mesh.shared.key, *map(id, parts), *map(id, mesh.textures))
    if key not in patterns:
        patterns[key] = pattern(mesh, mesh.shared.vertices)
    return fitted(patterns[key], vertices)


def place_meshes(meshes: list[Mesh | None], way: Placement) -> PlacedMeshes:
    """(n,) meshes in the source's CRS -> in the city's."""
    lengths = [0 if mesh is None else len(mesh.vertices) for mesh in meshes]
    start = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    given = [mesh.vertices for mesh in meshes if mesh is not None]
    vertices = way.points(np.concatenate(given)) if given else np.zeros((0, 3))
    return PlacedMeshes(meshes, vertices, start)
