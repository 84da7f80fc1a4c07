"""CityJSON 2.0, 1.1, 1.0 and CityJSONSeq -> buildings, bridges and water bodies with their meshes.

Spec: https://www.cityjson.org/specs/2.0.1/ . One feature for each first-level city object; its children (BuildingPart,
BuildingInstallation …) are merged into its mesh and footprint, their attributes are kept in `extra` under `parts`.
The highest LoD that has surfaces is taken. Types that have no layer here are named in an issue, not read.
x is east, y is north, as every writer of CityJSON does it.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import batched
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ingest import geometry as shapes
from ingest import ids, place
from ingest.cityjson_file import CityFile, CityObject, header_of, objects_of
from ingest.geometry import Conformed
from ingest.mapping import Mapper
from ingest.stream import Chunk, FeatureStream
from ingest.surfaces import Float, Surface, footprint, triangulate
from ingest.vector import ids_name
from layers import catalogue
from layers.certificate import Certificate
from layers.errors import InvalidInput
from layers.issue import Issue
from layers.mesh import Mesh
from layers.source import AssetLayer, Hints, Reading, VectorLayer

SUFFIXES = (".city.json", ".cityjson", ".city.jsonl")

LAYERS = {"Building": "building", "Bridge": "bridge", "WaterBody": "water_body"}
WITH_MESH = {"building", "bridge"}
BATCH_OBJECTS = 500

MATERIALS: dict[str, tuple[int, int, int, int]] = {
    "WallSurface": (222, 214, 200, 255),
    "RoofSurface": (170, 88, 70, 255),
    "GroundSurface": (120, 120, 120, 255),
    "": (205, 200, 192, 255),
}
"""Colours by semantic surface; the last one is for every other kind."""

_DEPTH = {"MultiSurface": 0, "CompositeSurface": 0, "Solid": 1, "MultiSolid": 2, "CompositeSolid": 2}
_ID, _Z_MIN, _Z_MAX = "__id", "__z_min", "__z_max"


class _Broken(Exception):  # a reason for one object, never seen outside
    def __init__(self, code: str, path: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code, self.path, self.sentence = code, path, sentence


def read(path: Path, hints: Hints) -> Reading:
    """Layers by type of city object. Raises InvalidInput with the place in the file, or CrsMissing."""
    name = ids_name(path, hints)
    header = header_of(path, name)
    file = CityFile(path, name, header, is_sequence=path.name.lower().endswith(".jsonl"))
    for each in objects_of(file):
        _survey(file, each)
    if not file.types:
        raise InvalidInput(f"{name} has no city objects.", "Export it again.", code="FILE_EMPTY")
    bounds = None
    if np.isfinite(file.low).all():
        bounds = (float(file.low[0]), float(file.low[1]), float(file.high[0]), float(file.high[1]))
    stated = header.get("metadata", {}).get("referenceSystem") if isinstance(header.get("metadata"), dict) else None
    certificate, issues = place.certificate(_reference(stated), hints, name, bounds)
    issues += _skipped(file)
    layers: list[VectorLayer | AssetLayer] = [
        _layer(file, kind, hints, certificate) for kind in LAYERS if file.types[kind]
    ]
    if not layers:
        kinds = ", ".join(file.types)
        raise InvalidInput(f"{name} holds only {kinds}.", f"Read are {', '.join(LAYERS)}.", code="CJ_NOTHING_READ")
    return Reading(path, f"CityJSON {header.get('version')}", layers, certificate, issues)


def _reference(stated: Any) -> str | None:
    # CityJSON 1.0 files write the EPSG number in several ways; `crs.parse` knows the URI, the URN and the code
    return str(stated) if stated else None


def _survey(file: CityFile, each: CityObject) -> None:
    kind = each.body["type"]
    file.types[kind] += 1
    if kind in LAYERS:
        attributes = each.body.get("attributes")
        file.columns.setdefault(kind, set()).update(attributes if isinstance(attributes, dict) else ())
    if len(each.vertices):
        file.low = np.minimum(file.low, each.vertices.min(axis=0))
        file.high = np.maximum(file.high, each.vertices.max(axis=0))


def _skipped(file: CityFile) -> list[Issue]:
    return [
        Issue(
            "CJ_TYPE_SKIPPED",
            f"{file.name} /CityObjects",
            f"{count} objects of type {kind} are not read yet.",
            "",
            "warning",
        )
        for kind, count in file.types.items()
        if kind not in LAYERS
    ]


def _layer(file: CityFile, kind: str, hints: Hints, certificate: Certificate) -> VectorLayer:
    layer_type = catalogue.layer_type(LAYERS[kind])
    columns = sorted(file.columns.get(kind, ()))
    own = Mapper(layer_type, columns, hints, file.name).matched
    measured = {"height_m": _Z_MAX, "base_elev_m": _Z_MIN} if kind == "Building" else {}
    measured = {name: column for name, column in measured.items() if name not in own and name not in hints.columns}
    told = replace(hints, columns={**measured, **hints.columns})
    mapper = Mapper(layer_type, [*columns, *measured.values(), "parts"], told, file.name)
    layer = VectorLayer(
        name=file.path.name.split(".")[0] if len(set(file.types) & set(LAYERS)) == 1 else kind,
        layer_type=layer_type.id,
        crs=certificate.source_crs,
        batches=lambda: iter(()),
        vertical_crs=certificate.source_vertical_crs,
        geometry_type=layer_type.geometry,
    )
    plan = ids.IdPlan(_ID, ids.prefix(file.path, hints.root), persistent=False)
    reader = _KindReader(file, kind, columns, layer)
    layer.batches = FeatureStream(layer, mapper, plan, reader.chunks).batches
    return layer


class _KindReader:
    """Objects of one type -> chunks."""

    def __init__(self, file: CityFile, kind: str, columns: list[str], layer: VectorLayer) -> None:
        self.file, self.kind, self.columns, self.layer = file, kind, columns, layer

    def chunks(self) -> Iterator[Chunk]:
        wanted = (each for each in objects_of(self.file) if each.body["type"] == self.kind)
        for objects in batched(wanted, BATCH_OBJECTS):
            yield self._chunk(objects)

    def _chunk(self, objects: tuple[CityObject, ...]) -> Chunk:
        bad: dict[int, tuple[str, str]] = {}
        grounds = np.full(len(objects), None, object)
        meshes: list[Mesh | None] = [None] * len(objects)
        for row, each in enumerate(objects):
            try:
                surfaces = [
                    surface
                    for key, body in {each.key: each.body, **each.children}.items()
                    for surface in self._surfaces(each, key, body)
                ]
            except _Broken as error:
                bad[row] = (error.code, f"{error.path}: {error.sentence}")
                continue
            if surfaces:
                grounds[row] = footprint(each.vertices, surfaces)
                meshes[row] = mesh(each.vertices, surfaces) if self.layer.layer_type in WITH_MESH else None
            else:
                bad[row] = ("CJ_NO_GEOMETRY", "It has no geometry with surfaces in any LoD.")
        table = self._table(objects, meshes)
        where = [f"{self.file.name} {each.where}" for each in objects]
        return Chunk(
            table, shapes.check(Conformed(grounds)), None, None, lambda row: where[row], meshes, bad,
            lambda row: {"id": objects[row].key, **objects[row].body, "children_objects": objects[row].children},
        )  # fmt: skip

    def _table(self, objects: tuple[CityObject, ...], meshes: list[Mesh | None]) -> pa.Table:
        rows = [each.body.get("attributes") or {} for each in objects]
        arrays = [_array([row.get(column) for row in rows]) for column in self.columns]
        low = [None if each is None else float(each.vertices[:, 2].min()) for each in meshes]
        tall = [None if each is None else float(np.ptp(each.vertices[:, 2])) for each in meshes]
        parts = [
            {key: body.get("attributes") or {} for key, body in each.children.items() if body.get("attributes")}
            for each in objects
        ]
        texts = [json.dumps(each, ensure_ascii=False) if each else None for each in parts]
        names = [*self.columns, _ID, _Z_MIN, _Z_MAX, "parts"]
        arrays += [
            pa.array([each.key for each in objects]),
            pa.array(low, pa.float64()),
            pa.array(tall, pa.float64()),
            pa.array(texts, pa.string()),
        ]
        return pa.Table.from_arrays(arrays, names=names)

    def _surfaces(self, each: CityObject, key: str, body: dict[str, Any]) -> list[Surface]:
        """Surfaces of the highest LoD that has any."""
        base = each.where.rsplit("/", 1)[0] + f"/{key}/geometry"
        given = body.get("geometry") or []
        usable = [
            (number, shape)
            for number, shape in enumerate(given)
            if isinstance(shape, dict) and shape.get("type") in _DEPTH
        ]
        for number, shape in sorted(usable, key=lambda pair: _lod(pair[1]), reverse=True):
            path = f"{base}/{number}"
            surfaces = list(_flat(shape.get("boundaries"), _kinds(shape), _DEPTH[shape["type"]]))
            for surface in surfaces:
                _check_indices(surface, len(each.vertices), path)
            if surfaces:
                return surfaces
        if given and not usable:
            kinds = {str(shape.get("type")) for shape in given if isinstance(shape, dict)}
            message = f"Geometry of type {', '.join(sorted(kinds))} is not read."
            self.layer.issues.append(Issue("CJ_GEOMETRY_SKIPPED", base, message, "", "warning"))
        return []


def _lod(shape: dict[str, Any]) -> float:
    try:
        return float(shape.get("lod", 0))
    except (TypeError, ValueError):
        return 0.0


def _kinds(shape: dict[str, Any]) -> Any:
    """Semantic types in the nesting of the boundaries, or None."""
    semantics = shape.get("semantics")
    if not isinstance(semantics, dict):
        return None
    names = [each.get("type", "") if isinstance(each, dict) else "" for each in semantics.get("surfaces") or []]

    def named(value: Any) -> Any:
        if isinstance(value, list):
            return [named(each) for each in value]
        return names[value] if isinstance(value, int) and 0 <= value < len(names) else ""

    return named(semantics.get("values"))


def _flat(boundaries: Any, kinds: Any, depth: int) -> Iterator[Surface]:
    if not isinstance(boundaries, list):
        return
    for number, each in enumerate(boundaries):
        kind = kinds[number] if isinstance(kinds, list) and number < len(kinds) else None
        if depth:
            yield from _flat(each, kind, depth - 1)
        elif isinstance(each, list) and each:
            yield Surface(each, kind if isinstance(kind, str) else "")


def _check_indices(surface: Surface, n_vertices: int, path: str) -> None:
    for ring in surface.rings:
        if not isinstance(ring, list):
            raise _Broken("CJ_INVALID", path, "Its boundaries are not nested as its type asks for.")
        for index in ring:
            if not isinstance(index, int) or not 0 <= index < n_vertices:
                raise _Broken(
                    "CJ_VERTEX_OUT_OF_RANGE", path, f"It names vertex {index!r}, but there are {n_vertices} vertices."
                )


def mesh(vertices: Float, surfaces: list[Surface]) -> Mesh | None:
    """Triangles of all surfaces, coloured by their semantic type; None when every surface is degenerate."""
    names = list(MATERIALS)
    pieces = [(triangulate(vertices, surface.rings), surface.kind) for surface in surfaces]
    pieces = [(triangles, kind) for triangles, kind in pieces if len(triangles)]
    if not pieces:
        return None
    triangles = np.concatenate([each for each, _ in pieces])
    used, compact = np.unique(triangles, return_inverse=True)
    if not any(kind for _, kind in pieces):
        return Mesh(vertices[used], compact.reshape(-1, 3).astype(np.int64))
    materials = [
        np.full(len(each), names.index(kind) if kind in MATERIALS else len(names) - 1, np.uint8)
        for each, kind in pieces
    ]
    colours = np.array(list(MATERIALS.values()), np.uint8)
    return Mesh(vertices[used], compact.reshape(-1, 3).astype(np.int64), np.concatenate(materials), colours)


def _array(values: list[Any]) -> pa.Array:
    if any(isinstance(value, dict | list) for value in values):
        values = [
            value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            for value in values
        ]
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if value is None else str(value) for value in values], pa.string())
