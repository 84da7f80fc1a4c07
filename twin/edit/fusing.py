"""Edited features through the fusion that files go through, and what becomes of the meshes they had."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from layers.catalogue import LayerType
from layers.certificate import Certificate
from layers.errors import InvalidInput
from layers.frame import CityFrame
from layers.issue import Issue
from layers.mesh import Mesh, StoredMesh
from layers.source import FeatureBatch, VectorLayer
from twin.config import TwinConfig
from twin.fuse.layer import LayerFuser
from twin.fuse.roof import RoofSampler
from twin.store.interface import Rows
from twin.terrain import Terrain

SAME_M = 1e-3
SAME_GEOMETRY_M = 1e-6


@dataclass(frozen=True)
class Surroundings:
    """What features are put into: the city's frame, its ground, and surfaces that show roofs."""

    config: TwinConfig
    frame: CityFrame
    terrain: Terrain
    roofs: RoofSampler


@dataclass
class Batch:
    """(n,) features in the city's CRS, before fusion or after it."""

    ids: list[str]
    geometry: NDArray[np.object_]
    attributes: pa.Table
    extra: list[str | None]
    meshes: list[StoredMesh | None] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)


def fused(
    layer_type: LayerType, batch: Batch, place: Surroundings, given: Sequence[Mesh | None] | None = None
) -> tuple[Batch, list[Issue]]:
    """The features as they are stored. `given`: meshes in the city's CRS, vertices east, north, height.

    InvalidInput for a feature that lies outside the area where the city's CRS holds.
    """
    has_mesh = np.array([mesh is not None for mesh in given] if given is not None else [False] * len(batch), bool)
    parts: list[tuple[NDArray[np.intp], Rows]] = []
    issues: list[Issue] = []
    for rows, with_mesh in ((np.flatnonzero(~has_mesh), False), (np.flatnonzero(has_mesh), True)):
        if rows.size:
            meshes = [given[i] for i in rows.tolist()] if with_mesh and given is not None else None
            found, noted = _fused(layer_type, batch, rows, meshes, place)
            parts.append((rows, found))
            issues += noted
    order = np.argsort(np.concatenate([rows for rows, _ in parts]), kind="stable")
    tables = pa.concat_tables([rows.attributes for _, rows in parts], promote_options="default")
    made = [mesh for _, rows in parts for mesh in (rows.meshes or [None] * len(rows.ids))]
    return Batch(
        batch.ids,
        np.concatenate([rows.geometry for _, rows in parts])[order],
        tables.take(pa.array(order)),
        batch.extra,
        [made[i] for i in order.tolist()],
    ), issues


def _fused(
    layer_type: LayerType,
    batch: Batch,
    rows: NDArray[np.intp],
    meshes: list[Mesh | None] | None,
    place: Surroundings,
) -> tuple[Rows, list[Issue]]:
    city = place.frame.city_crs
    layer = VectorLayer(
        layer_type.id,
        layer_type.id,
        None if layer_type.geometry == "none" else city,
        lambda: iter(()),
        vertical_crs=place.config.vertical_crs,
    )
    fuser = LayerFuser(
        layer,
        layer_type,
        frame=place.frame,
        city_vertical=place.config.vertical_crs,
        terrain=place.terrain,
        read=Certificate("given-crs", source_crs=layer.crs, city_crs=city),
        roofs=place.roofs,
    )
    chosen = rows.tolist()
    made = fuser.fuse(
        FeatureBatch(
            [batch.ids[i] for i in chosen],
            batch.geometry[rows],
            batch.attributes.take(pa.array(rows)),
            [batch.extra[i] for i in chosen],
            meshes,
        )
    )
    if made.rejects:
        first = made.rejects[0]
        raise InvalidInput(f"{first.where}: {first.message}", "Check the coordinates and the crs they are given in.")
    return made.rows, fuser.issues()


def is_brought(had: StoredMesh | None, made: StoredMesh | None) -> bool:
    """True if a source brought the mesh that a feature had: the fusion would not make it from the feature itself."""
    if had is None:
        return False
    if made is None:
        return True
    if had.blob == made.blob:
        return False
    is_like = had.size == made.size and bool(np.abs(np.subtract(had.bounds, made.bounds)).max() < SAME_M)
    return not is_like


def kept_meshes(
    before: Sequence[StoredMesh | None],
    old: Batch,
    new: Batch,
    *,
    moved: NDArray[np.bool_],
    replaced: NDArray[np.bool_],
) -> tuple[Batch, list[Issue]]:
    """The new features with the meshes that their sources brought, where the edit leaves them standing.

    `old` are the features before the edit, fused again: what differs from `before` was brought.
    """
    meshes = list(new.meshes)
    issues: list[Issue] = []
    for i, had in enumerate(before):
        if replaced[i] or not is_brought(had, old.meshes[i]):
            continue
        if moved[i]:
            what = "one is made of the new geometry" if meshes[i] is not None else "it has none now"
            issues.append(Issue("EDIT_MODEL_DROPPED", new.ids[i], "Its geometry has changed, so the model that its "
                                f"source brought was dropped; {what}.", "Give a new model with it.",
                                "warning"))  # fmt: skip
            continue
        if _differs(old.meshes[i], meshes[i]):
            issues.append(Issue("EDIT_MODEL_KEPT", new.ids[i], "It is still drawn by the model that its source "
                                "brought, which the new values do not change.", "Give a new model or a new geometry.",
                                "warning"))  # fmt: skip
        meshes[i] = had
    return replace(new, meshes=meshes), issues


def _differs(a: StoredMesh | None, b: StoredMesh | None) -> bool:
    return (a is None) != (b is None) or (a is not None and b is not None and a.blob != b.blob)


def with_same_geometry(stored: NDArray[np.object_], new: Batch) -> Batch:
    """The stored geometry where the new one is the same up to rounding."""
    is_same = shapely.equals_exact(stored, new.geometry, SAME_GEOMETRY_M)
    rows = np.flatnonzero(is_same & (shapely.has_z(stored) == shapely.has_z(new.geometry)))
    was, owner = shapely.get_coordinates(stored[rows], include_z=True, return_index=True)
    now = shapely.get_coordinates(new.geometry[rows], include_z=True)
    off = ~np.isclose(was[:, 2], now[:, 2], rtol=0, atol=SAME_GEOMETRY_M, equal_nan=True)
    rows = np.delete(rows, np.unique(owner[off]))
    geometry = np.array(new.geometry, dtype=object)
    geometry[rows] = stored[rows]
    return replace(new, geometry=geometry)
