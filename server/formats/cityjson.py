"""Features with models as CityJSON 2.0: one document, or a sequence of one feature a line (CityJSONSeq).

Spec: https://www.cityjson.org/specs/2.0.1/ and https://www.cityjson.org/cityjsonseq/. Coordinates are whole millimetres
from an origin, east first; without `crs` they are in the city's CRS, since degrees make no solids. A document's
vertices stand behind its objects: they wait in a file meanwhile.
"""

import tempfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from layers import crs
from server import geojson
from server.formats import models
from server.formats.form import after
from server.formats.models import Grid
from server.formats.selection import Selection
from tiles import cityjson
from tiles.cityjson import Numbering
from tiles.solids import Body

STEP_M = 0.001
BATCH = 1000
IN_MEMORY_BYTES = 8_000_000
PART, WHOLE = "BuildingConstructiveElement", "Building"
_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_SERIALIZE_NUMPY


@dataclass
class _Object:
    """A city object, and the vertices that it uses in the order of its numbers."""

    key: str
    content: dict[str, Any]
    vertices: NDArray[np.int64]


class _Extent:
    """Bounds of all vertices that were written, in grains."""

    def __init__(self) -> None:
        self.low, self.high = np.full(3, np.inf), np.full(3, -np.inf)

    def add(self, vertices: NDArray[np.int64]) -> None:
        """Take some into account."""
        if len(vertices):
            self.low = np.minimum(self.low, vertices.min(axis=0))
            self.high = np.maximum(self.high, vertices.max(axis=0))

    def of(self, grid: Grid) -> list[float] | None:
        """Lowest and highest coordinates; None where there are none."""
        if not np.isfinite(self.low).all():
            return None
        corners = np.stack([self.low, self.high]) * grid.step + grid.origin
        return [float(value) for value in np.round(corners, 9).ravel()]


class _Wholes:
    """Buildings that elements belong to: CityJSON has no element without one."""

    def __init__(self) -> None:
        self.children: dict[str, list[str]] = {}

    def note(self, each: _Object) -> None:
        """Remember an element under its building."""
        for parent in each.content.get("parents", ()):
            self.children.setdefault(parent, []).append(each.key)

    def objects(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The buildings, without geometry."""
        for key, children in self.children.items():
            yield key, {"type": WHOLE, "attributes": {"name": key}, "children": children}


def write(selection: Selection) -> Generator[bytes]:
    """One document in pieces."""
    grid = models.grid(selection, selection.asked.crs, STEP_M)
    head = {"type": "CityJSON", "version": "2.0", "transform": _transform(grid)}
    return after(orjson.dumps(head)[:-1] + b',"CityObjects":{', _document(selection, grid))


def _document(selection: Selection, grid: Grid) -> Generator[bytes]:
    """What follows in a document: objects, vertices, metadata."""
    wholes, extent, is_first = _Wholes(), _Extent(), True
    with tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES) as waiting:
        for objects in _objects(selection, grid, is_sequence=False):
            for each in objects:
                wholes.note(each)
            lines = [_entry(each.key, each.content) for each in objects]
            vertices = np.concatenate([each.vertices for each in objects])
            extent.add(vertices)
            if len(vertices):
                waiting.write((b"," if waiting.tell() else b"") + orjson.dumps(vertices, option=_OPTIONS)[1:-1])
            yield (b"" if is_first else b",") + b",".join(lines)
            is_first = False
        for key, content in wholes.objects():
            yield b"," + _entry(key, content)
        yield b'},"vertices":['
        waiting.seek(0)
        while piece := waiting.read(IN_MEMORY_BYTES // 8):
            yield piece
    yield b'],"metadata":' + orjson.dumps(_metadata(selection, grid, extent.of(grid))) + b"}"


def write_sequence(selection: Selection) -> Generator[bytes]:
    """A header, then a feature a line."""
    grid = models.grid(selection, selection.asked.crs, STEP_M)
    head = {
        "type": "CityJSON", "version": "2.0", "transform": _transform(grid), "CityObjects": {}, "vertices": [],
        "metadata": _metadata(selection, grid, None),
    }  # fmt: skip
    lines = (b"".join(map(_line, objects)) for objects in _objects(selection, grid, is_sequence=True))
    return after(orjson.dumps(head) + b"\n", lines)


def _entry(key: str, content: dict[str, Any]) -> bytes:
    return orjson.dumps(key) + b":" + orjson.dumps(content, option=_OPTIONS)


def _line(each: _Object) -> bytes:
    content = {"type": "CityJSONFeature", "id": each.key, "CityObjects": {each.key: each.content}}
    return orjson.dumps(content | {"vertices": each.vertices}, option=_OPTIONS) + b"\n"


def _objects(selection: Selection, grid: Grid, *, is_sequence: bool) -> Iterator[list[_Object]]:
    """City objects in portions, in the order of the selection; in a sequence each counts its vertices from 0."""
    start = 0
    for batch in selection.batches(BATCH):
        rows = geojson.properties(batch)
        for portion in models.read(selection, batch.fids, grid):
            objects = []
            for row in range(portion.start, portion.stop):
                body = portion.bodies.get(row)
                made = _object(selection, batch.ids[row], rows[row], body, Numbering(0 if is_sequence else start))
                start += len(made.vertices)
                if is_sequence:
                    _freed(made)
                objects.append(made)
            yield objects


def _object(selection: Selection, key: str, row: dict[str, Any], body: Body | None, numbering: Numbering) -> _Object:
    kind = cityjson.type_of(selection.info.type, row.get("object_type"))
    attributes = {name: value for name, value in row.items() if value is not None}
    content: dict[str, Any] = {"type": kind, "attributes": attributes}
    if kind == PART:
        content["parents"] = [str(row.get("model") or selection.info.id)]
    vertices = np.zeros((0, 3), np.int64)
    if body is not None and body.shells:
        lod = cityjson.lod_of(kind, row.get("lod"), body)
        content["geometry"] = [cityjson.geometry(body, kind, lod, models.KINDS, numbering=numbering, grain_m=STEP_M)]
        vertices = body.vertices[list(numbering.used)]
    return _Object(key, content, vertices)


def _freed(made: _Object) -> None:
    """An element of a building in a line of its own, where there is no building: a construction."""
    if made.content.pop("parents", None):
        made.content["type"] = "OtherConstruction"


def _transform(grid: Grid) -> dict[str, list[float]]:
    return {"scale": grid.step.tolist(), "translate": grid.origin.tolist()}


def _metadata(selection: Selection, grid: Grid, extent: list[float] | None) -> dict[str, Any]:
    title = selection.info.type.title
    made: dict[str, Any] = {
        "title": f"{title.zh} {title.en}",
        "referenceSystem": crs.uri(grid.crs).replace("http:", "https:", 1),
    }
    return made | ({"geographicalExtent": extent} if extent else {})
