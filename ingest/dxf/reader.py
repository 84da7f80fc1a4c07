"""DXF drawings -> one feature layer for each drawing layer and kind of geometry.

Format: Autodesk DXF Reference (R12 to 2018, text and binary) as ezdxf reads it. Model space only. Block references are
taken apart: their parts are features, and each reference is a point with its attributes. The whole drawing is in memory
while it is read, so files beyond 400 MB are refused.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import shapely

from ingest import geometry as shapes
from ingest import place, wkb
from ingest.city_toml import FileHints
from ingest.dxf import drawing as dxf_drawing
from ingest.dxf import place as dxf_place
from ingest.dxf.drawing import Drawing, Feature
from ingest.dxf.place import DrawingPlace
from ingest.stream import BATCH_ROWS, Chunk
from ingest.table import layer as table_layer
from ingest.table.layer import Rows
from ingest.vector import kinds
from ingest.vector.kinds import Census, Part
from ingest.vector.reader import ids_name
from layers.certificate import Certificate
from layers.errors import InvalidInput
from layers.issue import Issue
from layers.source import AssetLayer, Hints, Reading, VectorLayer

SUFFIXES = (".dxf",)

MAX_BYTES = 400_000_000
N_TAGS = 200
_OWN = ("handle", "entity", "color", "linetype", "text", "block", "rotation_deg")


def read(path: Path, hints: Hints) -> Reading:
    """Every drawing layer as a feature layer. Raises InvalidInput or CrsMissing when none can be used."""
    doc, issues = _opened(path, hints.encoding)
    name = ids_name(path, hints)
    where = dxf_place.place(doc, hints, name)
    issues += where.issues
    try:
        drawing = dxf_drawing.features(doc, where)
    except InvalidInput:
        raise
    except Exception as error:  # ezdxf raises whatever a broken entity leads it to
        raise _unreadable(path, error) from error
    issues += _not_read(path, doc, drawing)
    if not drawing.features:
        told = ", ".join(f"{n} {kind}" for kind, n in drawing.not_read.items()) or "nothing"
        raise InvalidInput(f"{path.name} has no features: it holds {told}.", "Export it again.", code="FILE_EMPTY")
    certificate, more = _certificate(drawing, where, hints, name)
    issues += more
    layers: list[VectorLayer | AssetLayer] = []
    refusals: list[InvalidInput] = []
    stem = path.name.split(".")[0]
    for table in sorted(drawing.features):
        label = stem if table == "0" or len(drawing.features) == 1 else table  # «0» is everybody's layer
        try:
            layers += _Table(path, label, drawing.features[table], certificate).layers(hints, issues)
        except InvalidInput as error:
            refusals.append(error)
            issues.append(Issue(error.code, table, error.problem, error.hint, "error"))
    if not layers:
        raise refusals[0]
    return Reading(path, "DXF", layers, certificate, issues)


def _unreadable(path: Path, error: Exception) -> InvalidInput:
    said = (str(error) or type(error).__name__).splitlines()[0][:200].rstrip(".")
    problem = f"{path.name} cannot be read: {said}."
    return InvalidInput(problem, "Open it in a CAD program, check it and save it again.", code="FILE_UNREADABLE")


def _opened(path: Path, encoding: str | None) -> tuple[Any, list[Issue]]:
    """The drawing; one with structural errors is repaired where that is possible, which is an issue."""
    import ezdxf
    from ezdxf import recover

    if path.stat().st_size > MAX_BYTES:
        problem = f"{path.name} has {path.stat().st_size} bytes; drawings beyond {MAX_BYTES} are not read."
        raise InvalidInput(problem, "Split it, or convert it to GeoPackage.", code="TOO_LARGE")
    with path.open("rb") as file:
        head = file.read(6)
    if head[:4] == b"AC10":
        problem = f"{path.name} is a DWG, although it is called DXF."
        raise InvalidInput(problem, "Save it as DXF (2018 or older).", code="FORMAT_UNKNOWN")
    try:
        return ezdxf.readfile(path, encoding=encoding), []
    except Exception as error:  # noqa: BLE001 as above
        said = error
    try:
        doc, auditor = recover.readfile(path)
    except Exception as error:
        raise _unreadable(path, said) from error
    message = f"{path.name} is damaged and was repaired ({len(auditor.errors)} errors are left): {said}"[:400]
    hint = "Compare it with the drawing; check and save it in a CAD program."
    return doc, [Issue("DRAWING_REPAIRED", path.name, message.rstrip(".") + ".", hint, "warning")]


def _not_read(path: Path, doc: Any, drawing: Drawing) -> list[Issue]:
    issues = []
    if drawing.not_read:
        told = ", ".join(f"{n} {kind}" for kind, n in sorted(drawing.not_read.items()))
        message = f"{path.name}: not read are {told}."
        hint = "Explode or convert them in a CAD program (solids to meshes, dimensions to lines and texts)."
        issues.append(Issue("ENTITY_NOT_READ", path.name, message, hint, "warning"))
    if drawing.outside:
        names = ", ".join(sorted(set(drawing.outside))[:10])
        message = f"{path.name} refers to {len(drawing.outside)} files that are not read through it: {names}."
        hint = "Put drawings and georeferenced images into the folder as sources of their own."
        issues.append(Issue("FILE_REFERENCED", path.name, message, hint, "warning"))
    n_paper = sum(len(layout) for layout in doc.layouts if not layout.is_modelspace)
    if n_paper:
        message = f"{path.name}: {n_paper} entities on paper are passed over; only the model is read."
        issues.append(Issue("PAPER_PASSED_OVER", path.name, message, "", "info"))
    return issues


def _certificate(drawing: Drawing, where: DrawingPlace, hints: Hints, name: str) -> tuple[Certificate, list[Issue]]:
    corners: list[tuple[float, float]] = []
    for features in drawing.features.values():
        flat = shapely.from_wkb([each.value for each in features if not wkb.has_surface(each.value)])
        boxes = [shapely.total_bounds(flat)] if len(flat) else []
        faces = [
            ring for each in features if wkb.has_surface(each.value) for face in wkb.faces(each.value) for ring in face
        ]
        boxes += [np.concatenate([ring[:, :2].min(axis=0), ring[:, :2].max(axis=0)]) for ring in faces if len(ring)]
        corners += [(float(x), float(y)) for box in boxes for x, y in (box[:2], box[2:]) if np.isfinite(box).all()]
    bounds = None
    if corners:
        (west, south), (east, north) = np.min(corners, axis=0), np.max(corners, axis=0)
        bounds = (float(west), float(south), float(east), float(north))
    return place.certificate(where.crs, hints, name, bounds)


@dataclass(frozen=True)
class _Table:
    """The features of one drawing layer."""

    path: Path
    name: str
    features: list[Feature]
    certificate: Certificate

    def layers(self, hints: Hints, issues: list[Issue]) -> Iterator[VectorLayer]:
        """One for each kind of geometry, the main one first."""
        told = hints.for_table(self.name) if isinstance(hints, FileHints) else hints
        census = Census()
        census.count(each.value for each in self.features)
        parts = census.parts(told)
        issues += census.issue(self.name, parts)
        for part in parts:
            own = [each for each in self.features if part.has(each.value)]
            schema = _schema(own)
            rows = Rows(
                self.path,
                ids_name(self.path, hints),
                self.name + part.suffix,
                None,
                schema,
                part.geometry_type,
                self.certificate,
                partial(_chunks, self.path, own, schema, part),
                partial(_columns, own, schema),
                n_expected=len(own),
                is_only=False,
                is_persistent=True,
            )
            yield table_layer.layer(rows, kinds.hints_of(part, told))


def _schema(features: list[Feature]) -> pa.Schema:
    tags = list(dict.fromkeys(tag for each in features for tag in each.facts if tag not in _OWN))[:N_TAGS]
    used = [name for name in _OWN if any(each.facts.get(name) is not None for each in features)]
    return pa.schema([(name, pa.float64() if name == "rotation_deg" else pa.string()) for name in (*used, *tags)])


def _columns(features: list[Feature], schema: pa.Schema, names: list[str]) -> Iterator[pa.Table]:
    wanted = pa.schema([schema.field(name) for name in names or schema.names[:1]])
    for start in range(0, len(features), BATCH_ROWS):
        rows = [each.facts for each in features[start : start + BATCH_ROWS]]
        yield pa.table([pa.array([row.get(each.name) for row in rows], each.type) for each in wanted], schema=wanted)


def _chunks(path: Path, features: list[Feature], schema: pa.Schema, part: Part) -> Iterator[Chunk]:
    for start in range(0, len(features), BATCH_ROWS):
        own = features[start : start + BATCH_ROWS]
        raw: list[bytes | None] = [each.value for each in own]
        conformed, meshes = shapes.with_meshes([kinds.of_kind(value, part.kind) for value in raw])
        [table] = _columns(own, schema, schema.names)
        keys = [each.key for each in own]
        yield Chunk(table, conformed, raw, keys, partial(_where, path, keys), meshes)


def _where(path: Path, keys: list[str], row: int) -> str:
    return f"{path.name}, entity {keys[row]}"
