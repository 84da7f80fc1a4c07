"""OBJ, PLY, STL, glTF and GLB -> features with meshes, one for each object, group or node.

The layer is `layer` of city.toml, else one that the file's name speaks for, else `model`. Coordinates are taken as
x east, y north, z up (`values = { up = "y" }` for files with y up); glTF says itself that y is up and metres are meant.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import batched
from pathlib import Path

import numpy as np
import pyarrow as pa

from ingest import detect, ids
from ingest.mapping import Mapper
from ingest.mesh import parts as mesh_parts
from ingest.mesh import place as mesh_place
from ingest.mesh.gltf import read_gltf
from ingest.mesh.obj import read_obj
from ingest.mesh.parts import MAX_FILE_BYTES, Y_UP, Beside, Model, Part
from ingest.mesh.ply import read_ply
from ingest.mesh.stl import read_stl
from ingest.stream import Chunk, FeatureStream
from ingest.tileset.files import FolderFiles
from ingest.tileset.place import KEYS
from ingest.vector.reader import ids_name
from layers import catalogue
from layers.catalogue import LayerType
from layers.errors import InvalidInput
from layers.issue import Issue
from layers.source import Hints, Reading, VectorLayer

SUFFIXES = (".obj", ".ply", ".stl", ".gltf", ".glb")

BATCH_PARTS = 200
_ID = "__id"
_COLUMNS = ("name", "triangles", "area_m2", "volume_m3", "height_m", "base_elev_m", "top_elev_m", "materials")


def read(path: Path, hints: Hints) -> Reading:
    """The model as one layer. Raises InvalidInput, or Unplaceable with the lines for city.toml."""
    name = ids_name(path, hints)
    if path.stat().st_size > MAX_FILE_BYTES:
        problem = f"{name} is larger than {MAX_FILE_BYTES >> 20} MiB."
        raise InvalidInput(problem, "Make a 3D Tiles set of it and give that.", code="MESH_TOO_LARGE")
    model = _parsed(path, name)
    issues = [*model.issues, *_unit_issue(model, hints, name)]
    model = _scaled(model, hints, name)
    model.parts = [mesh_parts.checked(part) for part in model.parts]
    low, high = _extent(model, name)
    way = mesh_place.way(path, name, hints, low, high)
    facts = [_facts(part, is_metric=way.is_metric) for part in model.parts]
    if way.move is not None:
        model = model.mapped(way.move)
    layer_type = _layer_type(path, name, hints)
    told = replace(hints, values={key: value for key, value in hints.values.items() if key not in {*KEYS, "up"}})
    layer = VectorLayer(
        name=path.name.rsplit(".", 1)[0],
        layer_type=layer_type.id,
        crs=way.crs,
        batches=lambda: iter(()),
        vertical_crs=way.vertical_crs,
        geometry_type=layer_type.geometry,
        certificate=way.certificate,
    )
    mapper = Mapper(layer_type, _columns(layer_type), told, name)
    prefix = ids.prefix(path, hints.root)
    rows = _Rows(model.parts, facts, _names(model.parts, prefix), _columns(layer_type), name)
    layer.batches = FeatureStream(layer, mapper, ids.IdPlan(_ID, prefix, persistent=False), rows.chunks).batches
    return Reading(path, model.format, [layer], way.certificate, [*issues, *way.issues])


def _parsed(path: Path, name: str) -> Model:
    suffix = path.suffix.lower()
    with FolderFiles(path.parent) as files:
        beside = Beside(files, path.name)
        if suffix == ".obj":
            return read_obj(path, name, beside)
        if suffix == ".ply":
            return read_ply(path, name, beside)
        return read_stl(path, name) if suffix == ".stl" else read_gltf(path, name, beside)


def _unit_issue(model: Model, hints: Hints, name: str) -> list[Issue]:
    if model.has_unit or hints.unit_scale is not None or hints.control_points:
        return []
    message = f"{model.format} has no unit; its coordinates are taken as metres."
    return [Issue("MESH_UNIT", name, message, "If they are not, give unit_scale (metres per unit).", "info")]


def _scaled(model: Model, hints: Hints, name: str) -> Model:
    scale, up = hints.unit_scale or 1.0, str(hints.values.get("up", "z")).lower()
    if up not in {"y", "z"}:
        raise InvalidInput(f"{name}: up = {up[:20]!r} in city.toml is neither y nor z.", "Write y or z.")
    if not 1e-9 < scale < 1e9:
        raise InvalidInput(f"{name}: unit_scale {scale} makes no sense.", "Give metres per unit, such as 0.001.")
    turned = Y_UP if up == "y" and not model.has_unit else np.eye(3)
    if scale == 1.0 and (turned == np.eye(3)).all():
        return model
    with np.errstate(all="ignore"):
        return model.mapped(lambda xyz: xyz @ (scale * turned).T)


def _extent(model: Model, name: str) -> tuple[mesh_parts.Float, mesh_parts.Float]:
    good = [part.mesh.vertices for part in model.parts if not part.problem]
    if not good:
        why = Counter(part.problem for part in model.parts).most_common(1)
        raise mesh_parts.broken(name, f"none of its objects can be used. {why[0][0] if why else ''}", "MESH_EMPTY")
    low = np.stack([each.min(axis=0) for each in good]).min(axis=0)
    return low.astype(np.float64), np.stack([each.max(axis=0) for each in good]).max(axis=0).astype(np.float64)


def _facts(part: Part, *, is_metric: bool) -> dict[str, float | int | None]:
    """Measured in the model's own metres, before it is moved."""
    mesh = part.mesh
    if part.problem:
        return {}
    facts: dict[str, float | int | None] = {"triangles": len(mesh.triangles)}
    if is_metric:
        facts["area_m2"] = mesh_parts.area_m2(mesh)
        facts["volume_m3"] = abs(mesh.volume_m3()) if mesh_parts.is_closed(mesh) else None
        facts["height_m"] = float(np.ptp(mesh.vertices[:, 2]))
    return facts


def _layer_type(path: Path, name: str, hints: Hints) -> LayerType:
    kind = catalogue.layer_type("model")
    found = detect.detect(name, path.name.rsplit(".", 1)[0], pa.schema([]), kind.geometry, hints)
    return kind if found.is_own else found.layer_type


def _columns(layer_type: LayerType) -> list[str]:
    """What the type has room for, and a little that goes to `extra`."""
    measured = {"height_m", "base_elev_m", "top_elev_m"}
    return [each for each in _COLUMNS if each not in measured or layer_type.attribute(each) is not None] + ["part"]


def _names(parts: list[Part], prefix: str) -> list[str]:
    """Public ids: the file's name and the object's; a number where that is not enough."""
    made, times = [], Counter[str]()
    for number, part in enumerate(parts, 1):
        name = "_".join(part.name.split()) or ("" if len(parts) == 1 else str(number))
        key = f"{prefix}.{name}" if name else prefix
        times[key] += 1
        made.append(key if times[key] == 1 else f"{key}-{times[key]}")
    return made


class _Rows:
    def __init__(
        self,
        parts: list[Part],
        facts: list[dict[str, float | int | None]],
        own: list[str],
        columns: list[str],
        name: str,
    ) -> None:
        self.parts, self.facts, self.own, self.columns, self.name = parts, facts, own, columns, name

    def chunks(self) -> Iterator[Chunk]:
        for rows in batched(range(len(self.parts)), BATCH_PARTS):
            yield self.chunk(list(rows))

    def chunk(self, rows: list[int]) -> Chunk:
        parts = [self.parts[row] for row in rows]
        bad = {i: ("MESH_BAD", part.problem) for i, part in enumerate(parts) if part.problem}
        meshes = [None if part.problem else part.mesh for part in parts]
        where = [f"{self.name} {part.name or 'object ' + str(row + 1)}" for row, part in zip(rows, parts, strict=True)]
        return Chunk(
            self.table(rows), None, None, None, lambda i: where[i], meshes, bad,
            lambda i: {"name": parts[i].name, "vertices": len(parts[i].mesh.vertices),
                       "triangles": parts[i].mesh.triangles[:1000].tolist(), **parts[i].extra},
        )  # fmt: skip

    def table(self, rows: list[int]) -> pa.Table:
        parts = [self.parts[row] for row in rows]
        known = {
            "name": pa.array([part.name or None for part in parts], pa.string()),
            "materials": pa.array([", ".join(part.extra.get("materials", ())) or None for part in parts], pa.string()),
            "part": pa.array([_rest(part) for part in parts], pa.string()),
            "triangles": pa.array([self.facts[row].get("triangles") for row in rows], pa.int64()),
        }
        arrays = [
            known[name] if name in known else pa.array([self.facts[row].get(name) for row in rows], pa.float64())
            for name in self.columns
        ]
        return pa.Table.from_arrays([*arrays, pa.array([self.own[row] for row in rows])], names=[*self.columns, _ID])


def _rest(part: Part) -> str | None:
    rest = {key: value for key, value in part.extra.items() if key != "materials"}
    return json.dumps(rest, ensure_ascii=False) if rest else None
