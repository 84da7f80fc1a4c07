"""Rows and shapes of IFC products as feature batches: footprints, materials, elevations, attributes."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from ingest.ifc.geometry import Geometry, Shape
from ingest.ifc.placement import Placement
from layers.catalogue import LayerType
from layers.mesh import Mesh, SharedShape
from layers.source import FeatureBatch

THIN_M = 0.001
"""Half the width given to a footprint without area, such as that of an upright plate."""

DEFAULT_RGBA = (183, 196, 207, 255)
"""For the unstyled triangles of a mesh whose other triangles have styles."""


class Meshes:
    """Shapes on the map; what several products share is prepared once and said to be shared."""

    def __init__(self, placement: Placement) -> None:
        self._placement = placement
        self._seen: set[str] = set()

    def of(self, shapes: Iterable[Shape]) -> dict[int, Mesh]:
        """Meshes by product: east, north, height; at most 255 materials, none when the file gives no style.

        A mesh has `shared` when another of these, or an earlier one, has the same vertices, triangles and colours.
        """
        shapes = list(shapes)
        count = Counter(each.geometry.key for each in shapes)
        prepared: dict[str, Mesh] = {}
        found = {}
        for each in shapes:
            key = each.geometry.key
            if key not in prepared:
                prepared[key] = _local(each.geometry, count[key] > 1 or key in self._seen)
            found[each.id] = replace(prepared[key], vertices=self._placement.to_map(each.vertices))
        self._seen.update(count)
        return found


def _local(geometry: Geometry, is_shared: bool) -> Mesh:
    """A mesh whose vertices are still in the frame of the product, metres."""
    materials, material_ids = _materials(geometry)
    triangles = geometry.triangles
    if _is_inside_out(geometry.vertices, triangles):
        triangles = triangles[:, ::-1]
    shared = SharedShape(geometry.key, geometry.vertices) if is_shared else None
    return Mesh(geometry.vertices, triangles, material_ids, materials, shared=shared)


def _materials(shape: Geometry) -> tuple[NDArray[np.uint8] | None, NDArray[np.uint8] | None]:
    if not len(shape.colours) or (shape.material_ids < 0).all():
        return None, None
    styled = np.rint(np.clip(np.nan_to_num(shape.colours), 0, 1) * 255).astype(np.uint8)
    palette = np.vstack([styled, np.array([DEFAULT_RGBA], np.uint8)])
    ids = np.where(shape.material_ids < 0, len(styled), shape.material_ids)
    used, first = np.unique(palette[ids], axis=0, return_inverse=True)
    if len(used) > 255:
        return np.array([DEFAULT_RGBA], np.uint8), np.zeros(len(ids), np.uint8)
    return used, first.reshape(-1).astype(np.uint8)


def _is_inside_out(vertices: NDArray[np.float64], triangles: NDArray[np.int64]) -> bool:
    """True for a closed mesh whose signed volume is negative."""
    a, b, c = (vertices[triangles[:, i]] - vertices[0] for i in range(3))
    if float(np.einsum("ij,ij->", a, np.cross(b, c))) >= 0:
        return False
    _, corner = np.unique(vertices, axis=0, return_inverse=True)
    t = corner.reshape(-1)[triangles]
    edges = np.vstack([t[:, [0, 1]], t[:, [1, 2]], t[:, [2, 0]]])
    n = int(t.max()) + 1
    forward, backward = edges[:, 0] * n + edges[:, 1], edges[:, 1] * n + edges[:, 0]
    return bool(np.array_equal(np.sort(forward), np.sort(backward)))


def footprints(shapes: Sequence[NDArray[np.float64]], unit_m: float) -> list[shapely.Geometry | None]:
    """Plan convex hulls of (n, 3) map points each, as MultiPolygons at their lowest heights."""
    if not shapes:
        return []
    owner = np.repeat(np.arange(len(shapes)), [len(each) for each in shapes])
    hulls = shapely.convex_hull(shapely.multipoints(np.vstack(shapes)[:, :2], indices=owner))
    thin = shapely.area(hulls) * unit_m**2 < THIN_M**2
    hulls[thin] = shapely.buffer(hulls[thin], THIN_M / unit_m, quad_segs=1, cap_style="square", join_style="mitre")
    lows = [float(each[:, 2].min()) for each in shapes]
    flat = shapely.force_3d(hulls, lows)
    return [shapely.multipolygons([each]) if each.geom_type == "Polygon" else None for each in flat]


def batch(
    layer_type: LayerType,
    rows: Sequence[Mapping[str, Any]],
    geometries: Sequence[shapely.Geometry | None],
    meshes: list[Mesh | None] | None,
) -> FeatureBatch:
    """Rows under the catalogue's names; what the catalogue does not know goes to `extra`."""
    known = {each.name for each in layer_type.attributes}
    used = [each for each in layer_type.attributes if any(each.name in row for row in rows)]
    columns = {each.name: pa.array([row.get(each.name) for row in rows], each.arrow_type) for each in used}
    extra = [_extra({key: value for key, value in row.items() if key not in known}) for row in rows]
    array = np.empty(len(rows), object)
    array[:] = list(geometries)
    return FeatureBatch([row["ifc_guid"] for row in rows], array, pa.table(columns), extra, meshes)


def _extra(rest: Mapping[str, Any]) -> str | None:
    kept = {key: value for key, value in rest.items() if value is not None}
    return json.dumps(kept, ensure_ascii=False) if kept else None
