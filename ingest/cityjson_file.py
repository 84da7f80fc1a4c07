"""A CityJSON document or sequence as features with their vertices; what is not CityJSON is refused with its place.

Spec: https://www.cityjson.org/specs/2.0.1/ ; CityJSONSeq: https://www.cityjson.org/cityjsonseq/ . Memory: a sequence
needs one line at a time; a document its vertices (12 bytes each), some 200 bytes an object, and one object at a time.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest import cityjson_types
from ingest.cityjson_header import check_header, companion, short
from ingest.cityjson_index import JsonIndex, Malformed, index_of, long_array, read_range, slices
from ingest.cityjson_json import broken, parse, repeated
from ingest.surfaces import Float
from layers.errors import InvalidInput
from layers.issue import Issue

MAX_LINE_BYTES = 256 << 20
MAX_HEADER_BYTES = 256 << 20
"""Of everything in a document besides objects and vertices."""
MAX_GENERATIONS = 8

SURFACES, LINES, POINTS = 4, 2, 1
GEOMETRY: dict[str, tuple[int, int]] = {
    "MultiSurface": (SURFACES, 0),
    "CompositeSurface": (SURFACES, 0),
    "Solid": (SURFACES, 1),
    "MultiSolid": (SURFACES, 2),
    "CompositeSolid": (SURFACES, 2),
    "MultiLineString": (LINES, 0),
    "MultiPoint": (POINTS, 0),
}
"""Geometry type -> what it consists of, and how deep its polygons lie in `boundaries`."""


@dataclass(frozen=True)
class Vertices:
    """The vertex list that indices of a document or line point into."""

    raw: NDArray[np.int32] | Float
    scale: Float
    translate: Float

    def __len__(self) -> int:
        return len(self.raw)

    def at(self, indices: NDArray[np.int64]) -> Float:
        """(n, 3) in the source's CRS."""
        return np.asarray(self.raw[indices] * self.scale + self.translate, np.float64)


class Fact(NamedTuple):
    """What must be known of each object before features can be told from their parts."""

    type: str
    children: tuple[str, ...]
    kinds: int


@dataclass
class Part:
    """A document, or one line of a sequence: objects that share vertices."""

    place: str
    header: dict[str, Any]
    appearance: dict[str, Any]
    vertices: Vertices
    facts: dict[str, Fact]
    body: Callable[[str], dict[str, Any]]


@dataclass(frozen=True)
class Feature:
    """A city object that becomes a feature, with the keys of the children that are part of its shape."""

    key: str
    type: str
    parent: str | None
    merged: tuple[str, ...]
    layer: str
    part: Part

    @property
    def where(self) -> str:
        """Its place in the file."""
        return f"{self.part.place}/CityObjects/{self.key}"


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
        facts = {key: _fact(file.name, place, key, body, header) for key, body in objects.items()}
        vertices = _scaled(header, _array(document.get("vertices")), f"{file.name}, {place}")
        appearance = document.get("appearance", header.get("appearance"))
        yield Part(place, header, _object(appearance), vertices, facts, objects.__getitem__)


def _next_header(file: CityFile, document: dict[str, Any], number: int) -> dict[str, Any]:
    """Of sequences that were put behind each other; their CRS must be the same."""
    name = f"{file.name}, line {number}"
    check_header(document, name)
    if _object(document.get("metadata")).get("referenceSystem") != _object(file.header.get("metadata")).get(
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

    return Part("", file.header, _object(file.header.get("appearance")), vertices, facts, body)


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
            fact = _fact(file.name, "", key, body, file.header)
            facts[key] = known.setdefault(fact, fact) if not fact.children else fact
            spans[key] = (at, at + len(text) - 2)
            _note_columns(file, body)
    return facts, spans


def _document_vertices(file: CityFile, stream: BinaryIO, index: JsonIndex) -> Vertices:
    member = index.members["vertices"]
    first = read_range(stream, member.start, member.start + 64).lstrip()
    if not first.startswith(b"["):
        return _scaled(file.header, None, file.name + ", ")
    pieces = [_array(piece) for _, piece in long_array(stream, member)]
    if any(piece is None for piece in pieces):
        return _scaled(file.header, None, file.name + ", ")
    return _scaled(file.header, _joined([each for each in pieces if each is not None]), file.name + ", ")


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


def _array(given: Any) -> NDArray[Any] | None:
    """(n, 3) int32 where the numbers fit, else float64; None for anything but a list of three finite numbers each."""
    if not isinstance(given, list):
        return None
    try:
        array = np.asarray(given or np.zeros((0, 3), np.int32))
    except (TypeError, ValueError, OverflowError):
        return None
    if array.ndim != 2 or array.shape[1] != 3 or array.dtype.kind not in "iuf":
        return None
    if array.dtype.kind == "i" and (not array.size or (array.min() >= -(2**31) and array.max() < 2**31)):
        return array.astype(np.int32)
    array = array.astype(np.float64)
    return array if np.isfinite(array).all() else None


def _scaled(header: dict[str, Any], array: NDArray[Any] | None, where: str) -> Vertices:
    if array is None:
        problem = f"{where}/vertices is not a list of three numbers each."
        raise InvalidInput(problem, "Export it again.", code="CJ_INVALID")
    transform = header.get("transform")
    if transform is None:
        return Vertices(array, np.ones(3), np.zeros(3))
    return Vertices(array, np.asarray(transform["scale"], float), np.asarray(transform["translate"], float))


def _fact(name: str, place: str, key: str, body: Any, header: dict[str, Any]) -> Fact:
    if not isinstance(body, dict) or not isinstance(body.get("type"), str):
        problem = f"{name}, {place}/CityObjects/{key}/type is missing."
        raise InvalidInput(problem, "Correct it, or export it again.", code="CJ_INVALID")
    children = body.get("children") or body.get("members") or ()
    kinds = 0
    for shape in body.get("geometry") or () if isinstance(body.get("geometry"), list) else ():
        kinds |= _kinds(shape, header)
    named = tuple(each for each in children if isinstance(each, str)) if isinstance(children, list) else ()
    return Fact(body["type"], named, kinds)


def _kinds(shape: Any, header: dict[str, Any]) -> int:
    if not isinstance(shape, dict):
        return 0
    if shape.get("type") == "GeometryInstance":
        found = template(header, shape.get("template"))
        return GEOMETRY.get(str(found.get("type")), (0, 0))[0] if found else 0
    return GEOMETRY.get(str(shape.get("type")), (0, 0))[0]


def template(header: dict[str, Any], number: Any) -> dict[str, Any] | None:
    """The geometry template of that number, or None."""
    given = _object(header.get("geometry-templates")).get("templates")
    if not isinstance(given, list) or not isinstance(number, int) or not 0 <= number < len(given):
        return None
    return given[number] if isinstance(given[number], dict) else None


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _note_columns(file: CityFile, body: dict[str, Any]) -> None:
    attributes = body.get("attributes")
    if isinstance(attributes, dict):
        file.columns.setdefault(body["type"], set()).update(attributes)


def features_of(part: Part) -> Iterator[Feature]:
    """Every object that is not part of another one's shape, in the order of the file; nothing is left out."""
    parents = {
        child: key
        for key, fact in part.facts.items()
        if fact.type != "CityObjectGroup"
        for child in fact.children
        if child in part.facts and child != key
    }
    owned = {child for child in parents if cityjson_types.is_merged(part.facts[child].type)}
    taken: set[str] = set()
    for key in part.facts:
        if key not in owned:
            yield _feature(part, key, parents, owned, taken)
    for key in part.facts:  # children of each other, which no feature owns
        if key in owned and key not in taken:
            yield _feature(part, key, parents, set(), taken)


def _feature(part: Part, key: str, parents: dict[str, str], owned: set[str], taken: set[str]) -> Feature:
    fact = part.facts[key]
    merged: list[str] = []
    front = [key]
    for _ in range(MAX_GENERATIONS):
        front = [
            child for each in front for child in part.facts[each].children
            if child in owned and parents.get(child) == each and child not in taken
        ] if fact.type != "CityObjectGroup" else []  # fmt: skip
        taken.update(front)
        merged += front
    kinds = fact.kinds
    for each in merged:
        kinds |= part.facts[each].kinds
    kind: cityjson_types.Kind = "surfaces" if kinds & SURFACES or not kinds else "lines" if kinds & LINES else "points"
    return Feature(key, fact.type, parents.get(key), tuple(merged), cityjson_types.layer_of(fact.type, kind), part)


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


__all__ = ["CityFile", "Fact", "Feature", "Part", "Vertices", "features_of", "open_file", "parts_of", "short", "survey"]
