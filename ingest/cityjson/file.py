"""A CityJSON document or sequence as features with their vertices; what is not CityJSON is refused with its place.

Spec: https://www.cityjson.org/specs/2.0.1/ ; CityJSONSeq: https://www.cityjson.org/cityjsonseq/ . Memory: a sequence
needs one line at a time; a document its vertices (12 bytes each), some 200 bytes an object, and one object at a time.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ingest.cityjson.header import check_header, companion
from ingest.cityjson.index import JsonIndex, Malformed, index_of, long_array, read_range, slices
from ingest.cityjson.json import broken, parse, repeated
from ingest.cityjson.objects import Fact, Part, Vertices, fact_of, features_of, json_object, vertex_array, vertices_of
from ingest.surfaces import Float
from layers.errors import InvalidInput
from layers.issue import Issue

MAX_LINE_BYTES = 256 << 20
MAX_HEADER_BYTES = 256 << 20
"""Of everything in a document besides objects and vertices."""


@dataclass
class CityFile:
    """One file, as far as it is known; `survey` fills the counts."""

    path: Path
    name: str
    header: dict[str, Any]
    is_sequence: bool
    root: Path | None = None
    index: JsonIndex | None = None
    whole: Part | None = None
    layers: dict[str, Counter[str]] = field(default_factory=dict)
    columns: dict[str, set[str]] = field(default_factory=dict)
    merged: Counter[str] = field(default_factory=Counter)
    n_objects: int = 0
    low: Float = field(default_factory=lambda: np.full(3, np.inf))
    high: Float = field(default_factory=lambda: np.full(3, -np.inf))
    issues: list[Issue] = field(default_factory=list)


def open_file(path: Path, name: str) -> CityFile:
    """Header and kind of a file. Raises InvalidInput when it is no CityJSON that is read here."""
    with path.open("rb") as stream:
        if not stream.read(1):
            raise InvalidInput(f"{name} is empty.", "Export it again.", code="FILE_EMPTY")
        if path.name.lower().endswith(".jsonl"):
            return _open_sequence(path, name)
        try:
            index = index_of(stream, "CityObjects")
        except Malformed as error:
            raise _malformed(stream, name, error) from error
        if index.trailing_at is not None and read_range(stream, index.trailing_at, index.trailing_at + 1) == b"{":
            return _open_sequence(path, name)
        if index.trailing_at is not None:
            raise _malformed(stream, name, Malformed(index.trailing_at, "something stands behind its end"))
        header = _header_members(stream, name, index)
    if header.get("type") == "CityJSONFeature":
        return _open_sequence(path, name)
    check_header(header, name)
    return CityFile(path, name, header, is_sequence=False, index=index)


def _open_sequence(path: Path, name: str) -> CityFile:
    first = next(_lines(path, name, None))[1]
    if first.get("type") == "CityJSONFeature":
        header, issue = companion(path, name)
        return CityFile(path, name, header, is_sequence=True, issues=[issue])
    check_header(first, name)
    return CityFile(path, name, first, is_sequence=True)


def _header_members(stream: BinaryIO, name: str, index: JsonIndex) -> dict[str, Any]:
    """Every member but objects and vertices, parsed."""
    rest = {key: each for key, each in index.members.items() if key not in {"CityObjects", "vertices"}}
    size = sum(each.end - each.start for each in rest.values())
    if size > MAX_HEADER_BYTES:
        problem = f"{name} has {size} bytes besides its objects and vertices; {MAX_HEADER_BYTES} are read."
        raise InvalidInput(problem, "Convert it to CityJSONSeq: cjseq cat FILE.", code="CJ_TOO_LARGE")
    header: dict[str, Any] = {}
    for key, each in rest.items():
        line = 1 if each.start < 200 else 1 + _newlines(stream, each.start)
        text = read_range(stream, each.start, each.end)
        header[key] = parse(b'{"v":' + text + b"}", name, line)["v"]
    return header


def _newlines(stream: BinaryIO, end: int) -> int:
    return sum(read_range(stream, at, min(end, at + (1 << 20))).count(b"\n") for at in range(0, end, 1 << 20))


def _malformed(stream: BinaryIO, name: str, error: Malformed) -> InvalidInput:
    if error.sentence.endswith("twice"):
        return repeated(name, error.sentence.split("'")[1])
    before = read_range(stream, max(0, error.at - 4096), error.at)
    column = len(before) - before.rfind(b"\n")
    return broken(f"{name} is not JSON at line {1 + _newlines(stream, error.at)}, column {column}: {error.sentence}.")


def _lines(path: Path, name: str, wanted: set[bytes] | None) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number, object) of each line; with `wanted`, lines that hold none of these words are passed over."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(line) > MAX_LINE_BYTES:
                problem = f"{name}, line {number} has more than {MAX_LINE_BYTES >> 20} MiB."
                raise InvalidInput(problem, "Write one feature a line.", code="CJ_TOO_LARGE")
            if wanted is not None and number > 1 and not any(word in line for word in wanted):
                continue
            if line.strip():
                yield number, parse(line, name, number)


def parts_of(file: CityFile, types: set[str] | None = None) -> Iterator[Part]:
    """The document, or line after line; with `types`, lines in which none of them is named may be left out."""
    if not file.is_sequence:
        if file.whole is None:
            file.whole = _document(file)
        yield file.whole
        return
    wanted = None
    if types is not None and all(each.isascii() for each in types):
        wanted = {b'CityJSON"', *(each.encode() for each in types)}
    header = file.header
    for number, document in _lines(file.path, file.name, wanted):
        place = f"line {number}: "
        if document.get("type") == "CityJSON":
            header = _next_header(file, document, number)
            if not document.get("CityObjects"):
                continue
        elif document.get("type") != "CityJSONFeature":
            problem = f"{file.name}, line {number}: /type is {document.get('type')!r}, not 'CityJSONFeature'."
            raise InvalidInput(problem, "Correct that line.", code="CJ_INVALID")
        objects = document.get("CityObjects")
        if not isinstance(objects, dict):
            raise InvalidInput(f"{file.name}, {place}/CityObjects is missing.", "Export it again.", code="CJ_INVALID")
        facts = {key: fact_of(file.name, place, key, body, header) for key, body in objects.items()}
        vertices = vertices_of(header, vertex_array(document.get("vertices")), f"{file.name}, {place}")
        appearance = document.get("appearance", header.get("appearance"))
        yield Part(place, header, json_object(appearance), vertices, facts, objects.__getitem__)


def _next_header(file: CityFile, document: dict[str, Any], number: int) -> dict[str, Any]:
    """Of sequences that were put behind each other; their CRS must be the same."""
    name = f"{file.name}, line {number}"
    check_header(document, name)
    if json_object(document.get("metadata")).get("referenceSystem") != json_object(file.header.get("metadata")).get(
        "referenceSystem"
    ):
        problem = f"{name} begins a part in another reference system than the first line."
        raise InvalidInput(problem, "Put each part into a file of its own.", code="CJ_INVALID")
    return document


def _document(file: CityFile) -> Part:
    """Index every object of a document and load its vertices."""
    index = file.index
    assert index is not None
    for key in ("CityObjects", "vertices"):
        if key not in index.members:
            raise InvalidInput(f"{file.name}, /{key} is missing.", "Export it again.", code="CJ_INVALID")
    with file.path.open("rb") as stream:
        first = read_range(stream, index.members["CityObjects"].start, index.members["CityObjects"].start + 4096)
        if not first.lstrip().startswith(b"{"):
            raise InvalidInput(f"{file.name}, /CityObjects is no object.", "Export it again.", code="CJ_INVALID")
        try:
            facts, spans = _facts(file, stream, index)
            vertices = _document_vertices(file, stream, index)
        except Malformed as error:
            raise _malformed(stream, file.name, error) from error

    def body(key: str) -> dict[str, Any]:
        start, end = spans[key]
        with file.path.open("rb") as stream:
            found: dict[str, Any] = parse(b"{" + read_range(stream, start, end) + b"}", file.name)[key]
            return found

    return Part("", file.header, json_object(file.header.get("appearance")), vertices, facts, body)


def _facts(file: CityFile, stream: BinaryIO, index: JsonIndex) -> tuple[dict[str, Fact], dict[str, tuple[int, int]]]:
    facts: dict[str, Fact] = {}
    spans: dict[str, tuple[int, int]] = {}
    known: dict[Fact, Fact] = {}
    for at, text in slices(stream, index.members["CityObjects"], b"{}"):
        try:
            made = parse(text, file.name)
        except InvalidInput as error:
            if error.code != "JSON_BROKEN":
                raise
            raise InvalidInput(f"{error.problem} (counted from byte {at})", error.hint, code="JSON_BROKEN") from error
        for key, body in made.items():
            if key in facts:
                raise repeated(f"{file.name}, /CityObjects", key)
            fact = fact_of(file.name, "", key, body, file.header)
            facts[key] = known.setdefault(fact, fact) if not fact.children else fact
            spans[key] = (at, at + len(text) - 2)
            _note_columns(file, body)
    return facts, spans


def _document_vertices(file: CityFile, stream: BinaryIO, index: JsonIndex) -> Vertices:
    member = index.members["vertices"]
    first = read_range(stream, member.start, member.start + 64).lstrip()
    if not first.startswith(b"["):
        return vertices_of(file.header, None, file.name + ", ")
    pieces = [vertex_array(piece) for _, piece in long_array(stream, member)]
    if any(piece is None for piece in pieces):
        return vertices_of(file.header, None, file.name + ", ")
    return vertices_of(file.header, _joined([each for each in pieces if each is not None]), file.name + ", ")


def _joined(pieces: list[NDArray[Any]]) -> NDArray[Any]:
    """One array of all pieces, freed one by one; int32 where every piece is."""
    kind = np.int32 if all(each.dtype == np.int32 for each in pieces) else np.float64
    out = np.zeros((sum(len(each) for each in pieces), 3), kind)
    at = 0
    pieces.reverse()
    while pieces:
        piece = pieces.pop()
        out[at : at + len(piece)] = piece
        at += len(piece)
    return out


def _note_columns(file: CityFile, body: dict[str, Any]) -> None:
    attributes = body.get("attributes")
    if isinstance(attributes, dict):
        file.columns.setdefault(body["type"], set()).update(attributes)


def survey(file: CityFile) -> None:
    """One pass over everything: counts by layer and type, attribute names, bounds."""
    for part in parts_of(file):
        for feature in features_of(part):
            file.layers.setdefault(feature.layer, Counter())[feature.type] += 1
            file.merged.update(part.facts[key].type for key in feature.merged)
        file.n_objects += len(part.facts)
        if file.is_sequence:
            for key in part.facts:
                _note_columns(file, part.body(key))
        if len(part.vertices):
            ends = np.array([part.vertices.raw.min(axis=0), part.vertices.raw.max(axis=0)], np.float64)
            ends = ends * part.vertices.scale + part.vertices.translate
            file.low = np.minimum(file.low, ends.min(axis=0))
            file.high = np.maximum(file.high, ends.max(axis=0))
