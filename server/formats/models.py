"""Stored models of a batch of features as solids and surfaces on a grid of the CRS asked for."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ingest.cityjson.mesh import MATERIALS
from layers import crs, mesh, mesh_copy
from layers.errors import InvalidInput
from layers.mesh import Mesh
from server.formats.selection import Selection
from server.serving import CRS84H, Snapshot
from tiles import solids
from tiles.solids import Body
from twin.store import mesh_sizes
from twin.store.interface import LayerInfo

PORTION_BYTES = 4_000_000
"""Of stored models that are unpacked at once; all stages of them take about ten times as much."""
COPY_BYTES = 20_000
"""What a copy of a shared shape is taken for; the shapes themselves are small."""
KINDS = tuple(kind for kind in MATERIALS if kind)
"""Semantic surfaces that a mesh remembers, by the colours that readers of city models give them."""
_COLOURS: dict[tuple[int, ...], int] = {MATERIALS[kind]: number for number, kind in enumerate(KINDS)}
NO_KIND = -1


@dataclass(frozen=True)
class Grid:
    """Where the models' whole numbers lie: `step` and `origin` (3,) along the axes of `crs`, east first."""

    crs: str
    step: NDArray[np.float64]
    origin: NDArray[np.float64]

    def values(self, whole: NDArray[np.int64]) -> NDArray[np.float64]:
        """(n, 3) whole numbers as coordinates."""
        return whole * self.step + self.origin


def has_any(_: Snapshot, info: LayerInfo) -> bool:
    """True for layers with models."""
    return info.mesh_count > 0


def grid(selection: Selection, target: str, step_m: float) -> Grid:
    """A grid of `step_m` metres, or as much in degrees (at the equator), about the layer."""
    bounds = selection.info.bounds or selection.city.city_bounds or (0.0, 0.0, 0.0, 0.0)
    source = selection.city.city.config.crs
    east, north = crs.transform(source, target, np.array([bounds[0]]), np.array([bounds[1]]))
    across = step_m * 1e-5 if crs.is_geographic(target) else step_m
    origin = np.array([np.floor(east[0]), np.floor(north[0]), 0.0])
    return Grid(target, np.array([across, across, step_m]), origin)


@dataclass(frozen=True)
class Portion:
    """Rows `start` to `stop` of a batch, and the bodies of those that have a model, by row."""

    start: int
    stop: int
    bodies: dict[int, Body]


def read(selection: Selection, fids: NDArray[np.int64], onto: Grid) -> Iterator[Portion]:
    """All rows of a batch in order, as many at once as their models allow."""
    store, scope = selection.city.city.store, selection.city.settings.scope
    held, held_sizes = mesh_sizes.sizes(store, selection.info.id, np.unique(fids), scope)
    at = np.minimum(np.searchsorted(held, fids), max(len(held) - 1, 0))
    has_model = held[at] == fids if len(held) else np.zeros(len(fids), bool)
    sizes = np.where(has_model, held_sizes[at], 0) if len(held) else np.zeros(len(fids), np.int64)
    sizes = np.where(sizes == mesh_copy.COPY_BYTES, COPY_BYTES, sizes)
    portion = np.cumsum(sizes) // PORTION_BYTES
    starts = np.flatnonzero(np.diff(portion, prepend=-1)).tolist()
    for start, stop in zip(starts, [*starts[1:], len(fids)], strict=True):
        rows = np.flatnonzero(has_model[start:stop]) + start
        found = _bodies(selection, fids[rows], onto) if len(rows) else []
        yield Portion(start, stop, dict(zip(rows.tolist(), found, strict=True)))


def _bodies(selection: Selection, fids: NDArray[np.int64], onto: Grid) -> list[Body]:
    city = selection.city.city
    found = city.store.mesh_blobs(selection.info.id, fids, selection.city.settings.scope)
    meshes = _meshes(found.blobs, found.shapes)
    given = solids.joined([(each.vertices, each.triangles, _labels(each)) for each in meshes])
    placed = solids.to_city(city.frame, given.vertices)
    placed[:, 0], placed[:, 1] = crs.transform(city.config.crs, onto.crs, placed[:, 0].copy(), placed[:, 1].copy())
    if not np.isfinite(placed).all():
        raise InvalidInput("A coordinate cannot be expressed in the CRS asked for.", "Ask for another crs.")
    if onto.crs == CRS84H:
        placed[:, 2] += city.frame.height_model.undulation_m(placed[:, 0], placed[:, 1])
    moved = solids.Triangles(placed - onto.origin, given.vertex_owner, given.corners, given.labels, given.owner)
    return solids.bodies(moved, len(fids), onto.step)


def _meshes(blobs: list[bytes], shapes: dict[str, bytes]) -> list[Mesh]:
    """Meshes as they are; of copies the shape in its place."""
    out: list[Mesh] = []
    patterns: dict[str, Mesh] = {}
    for blob in blobs:
        if not mesh_copy.is_copy(blob):
            out.append(mesh.decode(blob))
            continue
        (key,), matrices = mesh_copy.read_copies([blob])
        if key not in patterns:
            patterns[key] = mesh.decode(shapes[key])
        shape = patterns[key]
        placed = mesh_copy.applied(matrices[0], shape.vertices)
        out.append(Mesh(placed, shape.triangles, shape.material_ids, shape.materials))
    return out


def _labels(given: Mesh) -> NDArray[np.int64]:
    """(t,) number in `KINDS` of each triangle, where all materials are colours of semantic surfaces; else `NO_KIND`."""
    n = len(given.triangles)
    if given.materials is None or given.material_ids is None or not len(given.materials):
        return np.full(n, NO_KIND)
    kinds = _kinds(given.materials.tobytes())
    return np.full(n, NO_KIND) if kinds is None else kinds[given.material_ids]


@lru_cache(maxsize=256)
def _kinds(materials: bytes) -> NDArray[np.int64] | None:
    colours = [tuple(materials[at : at + 4]) for at in range(0, len(materials), 4)]
    found = [_COLOURS.get(each) for each in colours]
    return np.array(found, np.int64) if all(each is not None for each in found) else None
