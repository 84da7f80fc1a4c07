"""CityJSON 2.0, 1.1, 1.0 and CityJSONSeq -> one layer for each kind of city object, with meshes, colours and textures.

Spec: https://www.cityjson.org/specs/2.0.1/ . Every object becomes a feature of the layer that `cityjson_types` names;
only BuildingPart, BuildingInstallation, BuildingConstructiveElement (and those of bridges and tunnels) are merged into
the mesh and footprint of their parent, with their attributes in `extra` under `parts`. The highest LoD is taken and
named in the attribute `lod`. x is east, y is north, as every writer of CityJSON does it.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import batched
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from ingest import geometry as shapes
from ingest import ids, place
from ingest.cityjson import types as cityjson_types
from ingest.cityjson.appearance import Images
from ingest.cityjson.file import CityFile, open_file, parts_of, survey
from ingest.cityjson.geometry import Broken
from ingest.cityjson.header import has_sequences, short
from ingest.cityjson.mesh import MATERIALS
from ingest.cityjson.objects import Feature, features_of
from ingest.cityjson.shape import NOTHING, Draft, Shape, ShapeMaker, shapes_of, unknown_types
from ingest.geometry import Conformed
from ingest.mapping import Mapper
from ingest.stream import Chunk, FeatureStream
from ingest.vector.reader import ids_name
from layers import catalogue, crs
from layers.certificate import Certificate
from layers.errors import InvalidInput
from layers.issue import Issue
from layers.source import AssetLayer, Hints, Reading, VectorLayer

SUFFIXES = (".city.json", ".cityjson", ".city.jsonl")

BATCH_OBJECTS = 500
MAX_COLUMNS = 1000
"""Attribute names of one layer; a file with more has ids for names."""

_ID, _Z_MIN, _Z_MAX = "__id", "__z_min", "__z_max"
_GIVEN = ("object_type", "lod", "parent_id", "members")


def read(path: Path, hints: Hints) -> Reading:
    """Layers by kind of city object. Raises InvalidInput with the place in the file, or CrsMissing."""
    name = ids_name(path, hints)
    file = open_file(path, name)
    file.root = hints.root
    survey(file)
    if not file.layers:
        return _without_objects(file)
    bounds = None
    if np.isfinite(file.low).all():
        bounds = (float(file.low[0]), float(file.low[1]), float(file.high[0]), float(file.high[1]))
    stated, issues = _reference(file)
    certificate, more = place.certificate(stated, hints, name, bounds)
    layers: list[VectorLayer | AssetLayer] = [_layer(file, each, hints, certificate) for each in sorted(file.layers)]
    return Reading(path, _format(file), layers, certificate, [*file.issues, *issues, *more, *_merged(file)])


def _format(file: CityFile) -> str:
    return f"CityJSON{'Seq' if file.is_sequence else ''} {str(file.header.get('version'))[:10]}"


def _without_objects(file: CityFile) -> Reading:
    """The header of feature files beside it is no source of its own; anything else without objects is refused."""
    if not file.is_sequence and has_sequences(file.path):
        message = "It holds no city objects: it is the header of the sequences beside it."
        issue = Issue("CJ_HEADER_ONLY", file.name, message, "", "info")
        return Reading(file.path, _format(file), [], Certificate("none"), [issue])
    raise InvalidInput(f"{file.name} has no city objects.", "Export it again.", code="FILE_EMPTY")


def _reference(file: CityFile) -> tuple[str | None, list[Issue]]:
    """The stated reference system, in whatever form; None, with an issue, for one that nobody knows."""
    metadata = file.header.get("metadata")
    stated = metadata.get("referenceSystem") if isinstance(metadata, dict) else None
    if not stated:
        return None, []
    try:
        crs.parse(str(stated))
    except InvalidInput:
        message = f"The reference system {short(stated)} is not known."
        hint = "Correct metadata.referenceSystem, or give the CRS in city.toml."
        return None, [Issue("CRS_UNKNOWN", f"{file.name} /metadata/referenceSystem", message, hint, "warning")]
    return str(stated), []


def _merged(file: CityFile) -> list[Issue]:
    if not file.merged:
        return []
    which = ", ".join(f"{count} {kind}" for kind, count in sorted(file.merged.items()))
    total = sum(file.merged.values())
    message = f"{total} of {file.n_objects} objects are kept as parts of their parents' shapes: {which}."
    return [Issue("CJ_PARTS_MERGED", file.name, message, "", "info")]


def _layer(file: CityFile, layer_id: str, hints: Hints, certificate: Certificate) -> VectorLayer:
    layer_type = catalogue.layer_type(layer_id)
    types = file.layers[layer_id]
    columns = sorted({name for kind in types for name in file.columns.get(kind, ())})
    if len(columns) > MAX_COLUMNS:
        problem = f"{file.name}: objects of {', '.join(sorted(types)[:5])} have {len(columns)} different attributes."
        raise InvalidInput(problem, f"Give them the same names; {MAX_COLUMNS} are read.", code="TOO_MANY_COLUMNS")
    made = {name: _free(name, columns) for name in (*_GIVEN, "parts")}
    matched = Mapper(layer_type, columns, hints, file.name).matched
    own = {name: column for name, column in made.items() if layer_type.attribute(name) is not None}
    if layer_id == "building":
        own |= {"height_m": _Z_MAX, "base_elev_m": _Z_MIN}
    own = {name: column for name, column in own.items() if name not in matched and name not in hints.columns}
    told = replace(hints, columns={**own, **hints.columns})
    extents = [column for column in (_Z_MIN, _Z_MAX) if column in told.columns.values()]
    names = [*columns, *extents, *made.values()]
    layer = VectorLayer(
        name=file.path.name.split(".")[0] if len(file.layers) == 1 else layer_id,
        layer_type=layer_type.id,
        crs=certificate.source_crs if layer_type.geometry != "none" else None,
        batches=lambda: iter(()),
        vertical_crs=certificate.source_vertical_crs if layer_type.geometry != "none" else None,
        geometry_type=layer_type.geometry,
    )
    plan = ids.IdPlan(_ID, ids.prefix(file.path, hints.root), persistent=False)
    reader = _LayerReader(file, columns, made, layer, extents)
    layer.batches = FeatureStream(layer, Mapper(layer_type, names, told, file.name), plan, reader.chunks).batches
    return layer


def _free(name: str, taken: list[str]) -> str:
    """A column name that the file does not use itself."""
    while name in taken:
        name = f"_{name}"
    return name


class _LayerReader:
    """Features of one layer -> chunks."""

    def __init__(
        self, file: CityFile, columns: list[str], made: dict[str, str], layer: VectorLayer, extents: list[str]
    ) -> None:
        self.extents = extents
        kind = catalogue.layer_type(layer.layer_type)
        self.file, self.kind, self.columns, self.made, self.layer = file, kind, columns, made, layer
        self.is_point = kind.geometry.startswith("Point")
        others = Counter(cityjson_types.layer_of(each) for each in cityjson_types.LAYERS)
        self.names_type = kind.attribute("object_type") is not None or others[kind.id] != 1

    def chunks(self) -> Iterator[Chunk]:
        """Start reading."""
        issues: list[Issue] = []
        images = Images(self.file.path, self.file.root, issues)
        maker = ShapeMaker(images)
        for features in batched(self._features(), BATCH_OBJECTS):
            chunk = self._chunk(features, maker)
            self.layer.issues += issues
            issues.clear()
            yield chunk
        self.layer.issues += images.closing_issues()

    def _features(self) -> Iterator[Feature]:
        types = set(self.file.layers[self.kind.id])
        for part in parts_of(self.file, types):
            for feature in features_of(part):
                if feature.layer == self.kind.id:
                    yield feature

    def _chunk(self, features: tuple[Feature, ...], maker: ShapeMaker) -> Chunk:
        bad: dict[int, tuple[str, str]] = {}
        drafts: list[Draft] = []
        bodies = [{key: each.part.body(key) for key in (each.key, *each.merged)} for each in features]
        for row, each in enumerate(features):
            draft = Draft(NOTHING)
            try:
                if self.kind.geometry != "none":
                    draft = maker.draft(each, bodies[row], is_point=self.is_point)
            except Broken as error:
                bad[row] = (error.code, f"{error.path}: {error.sentence}")
            drafts.append(draft)
        made = shapes_of(drafts)
        if self.kind.geometry != "none":
            for row in [row for row, shape in enumerate(made) if shape.geometry is None and row not in bad]:
                bad[row] = ("CJ_NO_GEOMETRY", _no_geometry(bodies[row]))
        table = self._table(features, bodies, made)
        where = [f"{self.file.name} {each.where}" for each in features]
        grounds = np.full(len(features), None, object)
        grounds[:] = [each.geometry for each in made]
        has_geometry = self.kind.geometry != "none"
        meshes = [each.mesh for each in made] if any(each.mesh is not None for each in made) else None
        return Chunk(
            table, shapes.check(Conformed(grounds)) if has_geometry else None, None, None, lambda row: where[row],
            meshes, bad, lambda row: _original(features[row], bodies[row]),
        )  # fmt: skip

    def _table(self, features: tuple[Feature, ...], bodies: list[dict[str, Any]], made: list[Shape]) -> pa.Table:
        owns = [body[each.key] for each, body in zip(features, bodies, strict=True)]
        rows = [_attributes(each) for each in owns]
        arrays: dict[str, pa.Array] = {column: _array([row.get(column) for row in rows]) for column in self.columns}
        arrays[_ID] = pa.array([each.key for each in features])
        heights = [None if each.mesh is None else each.mesh.vertices[:, 2] for each in made]
        if _Z_MIN in self.extents:
            arrays[_Z_MIN] = pa.array([None if z is None else float(z.min()) for z in heights], pa.float64())
        if _Z_MAX in self.extents:
            arrays[_Z_MAX] = pa.array([None if z is None else float(np.ptp(z)) for z in heights], pa.float64())
        members = [_json(each.part.facts[each.key].children if self.kind.id == "city_object_group" else None)
                   for each in features]  # fmt: skip
        parts = [
            _json({key: found for key in each.merged if (found := _attributes(body[key]))})
            for each, body in zip(features, bodies, strict=True)
        ]
        given = {
            "object_type": [each.type if self.names_type else None for each in features],
            "lod": [each.lod or None for each in made],
            "parent_id": [each.parent for each in features],
            "members": members,
            "parts": parts,
        }
        arrays |= {self.made[name]: pa.array(values, pa.string()) for name, values in given.items()}
        return pa.table(arrays)


def _attributes(body: dict[str, Any]) -> dict[str, Any]:
    found = body.get("attributes")
    return found if isinstance(found, dict) else {}


def _no_geometry(bodies: dict[str, dict[str, Any]]) -> str:
    unknown = unknown_types(iter(bodies.values()))
    if unknown:
        return f"Its geometry is of type {', '.join(sorted(unknown))}, which is not known."
    return "It has no geometry in any LoD."


def _original(feature: Feature, bodies: dict[str, dict[str, Any]]) -> dict[str, Any]:
    children = {key: bodies[key] for key in feature.merged}
    return {"id": feature.key, **bodies[feature.key], "children_objects": children}


def _json(value: Any) -> str | None:
    return orjson.dumps(value).decode() if value else None


def _array(values: list[Any]) -> pa.Array:
    if any(isinstance(value, dict | list) for value in values):
        values = [
            value if value is None or isinstance(value, str) else orjson.dumps(value).decode() for value in values
        ]
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array([None if value is None else str(value) for value in values], pa.string())


__all__ = ["MATERIALS", "SUFFIXES", "read"]
