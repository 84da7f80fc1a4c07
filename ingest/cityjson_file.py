"""A CityJSON file or sequence as objects with their vertices; what is not CityJSON is refused with its place.

Spec: https://www.cityjson.org/specs/2.0.1/ ; CityJSONSeq: https://www.cityjson.org/cityjsonseq/ .
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ingest.surfaces import Float
from layers.errors import InvalidInput

VERSIONS = ("1.0", "1.1", "2.0")
MAX_GENERATIONS = 8


@dataclass
class CityObject:
    """A first-level city object, its children, and the vertices they index (in the source's CRS)."""

    key: str
    body: dict[str, Any]
    children: dict[str, dict[str, Any]]
    vertices: Float
    where: str


@dataclass
class CityFile:
    """What must be known before the first object is read."""

    path: Path
    name: str
    header: dict[str, Any]
    is_sequence: bool
    types: Counter[str] = field(default_factory=Counter)
    columns: dict[str, set[str]] = field(default_factory=dict)
    low: Float = field(default_factory=lambda: np.full(3, np.inf))
    high: Float = field(default_factory=lambda: np.full(3, -np.inf))


def header_of(path: Path, name: str) -> dict[str, Any]:
    """The file, or the first line of a sequence. Raises InvalidInput when it is no CityJSON that is read here."""
    is_sequence = path.name.lower().endswith(".jsonl")
    header = next(_lines(path, name))[1] if is_sequence else _parse(path.read_bytes(), name, 1)
    _check_header(header, name)
    return header


def _parse(data: bytes, name: str, line: int) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            twice = next(key for key, n in Counter(key for key, _ in pairs).items() if n > 1)
            problem = f"{name} has the key {twice!r} twice in one object, so one of the two would be lost."
            raise InvalidInput(problem, "Rename one of them.", code="JSON_DUPLICATE_KEY")
        return made

    try:
        document = json.loads(data, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        at = f"line {line + error.lineno - 1}, column {error.colno}"
        raise InvalidInput(
            f"{name} is not JSON at {at}: {error.msg}.",
            "It is cut off or damaged: export it again.",
            code="JSON_BROKEN",
        ) from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"{name} is not JSON: {error}.", "Export it again in UTF-8.", code="JSON_BROKEN") from error
    if not isinstance(document, dict):
        raise InvalidInput(f"{name} is not a JSON object.", "It is no CityJSON.", code="CJ_INVALID")
    return document


def _lines(path: Path, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, _parse(line, name, number)
        if file.tell() == 0:
            raise InvalidInput(f"{name} is empty.", "Export it again.", code="FILE_EMPTY")


def _check_header(header: dict[str, Any], name: str) -> None:
    if header.get("type") != "CityJSON":
        problem = f"{name}: /type is {header.get('type')!r}, not 'CityJSON'."
        raise InvalidInput(problem, "Correct it, or export it again.", code="CJ_INVALID")
    version = str(header.get("version", ""))
    if not version.startswith(VERSIONS):
        problem = f"{name}: /version is {version!r}."
        raise InvalidInput(problem, f"Read are {', '.join(VERSIONS)}: cjio FILE upgrade save OUT.", code="CJ_VERSION")
    if "transform" not in header:
        if not version.startswith("1.0"):
            problem = f"{name}: /transform is missing, so the vertices have no scale."
            raise InvalidInput(problem, "Export it again as CityJSON 2.0.", code="CJ_INVALID")
        return
    for key in ("scale", "translate"):
        values = header["transform"].get(key) if isinstance(header["transform"], dict) else None
        if not (isinstance(values, list) and len(values) == 3 and all(isinstance(v, int | float) for v in values)):
            problem = f"{name}: /transform/{key} is {values!r}, not three numbers."
            raise InvalidInput(problem, "Correct it, or export it again.", code="CJ_INVALID")


def _documents(file: CityFile) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, object with CityObjects and vertices): the file itself, or each line of a sequence."""
    if not file.is_sequence:
        yield "", file.header
        return
    for number, document in _lines(file.path, file.name):
        if number == 1 or document.get("type") == "CityJSON":
            continue
        if document.get("type") != "CityJSONFeature":
            problem = f"{file.name}, line {number}: /type is {document.get('type')!r}, not 'CityJSONFeature'."
            raise InvalidInput(problem, "Correct that line.", code="CJ_INVALID")
        yield f"line {number}: ", document


def objects_of(file: CityFile) -> Iterator[CityObject]:
    """First-level objects in the order of the file, each with its children and vertices."""
    for place_, document in _documents(file):
        objects = document.get("CityObjects")
        if not isinstance(objects, dict):
            raise InvalidInput(f"{file.name}, {place_}/CityObjects is missing.", "Export it again.", code="CJ_INVALID")
        vertices = _vertices(file, document, place_)
        for key, body in objects.items():
            if not isinstance(body, dict) or not isinstance(body.get("type"), str):
                problem = f"{file.name}, {place_}/CityObjects/{key}/type is missing."
                raise InvalidInput(problem, "Correct it, or export it again.", code="CJ_INVALID")
            if _is_first_level(objects, body):
                yield CityObject(key, body, dict(_family(objects, body)), vertices, f"{place_}/CityObjects/{key}")


def _is_first_level(objects: dict[str, Any], body: dict[str, Any]) -> bool:
    """True without parents; a CityObjectGroup is no parent, it only lists its members."""
    parents = [objects.get(key) for key in body.get("parents") or []]
    return all(isinstance(each, dict) and each.get("type") == "CityObjectGroup" for each in parents)


def _family(objects: dict[str, Any], body: dict[str, Any], depth: int = 0) -> Iterator[tuple[str, dict[str, Any]]]:
    for key in body.get("children") or [] if depth < MAX_GENERATIONS else []:
        child = objects.get(key)
        if isinstance(child, dict):
            yield key, child
            yield from _family(objects, child, depth + 1)


def _vertices(file: CityFile, document: dict[str, Any], place_: str) -> Float:
    given = document.get("vertices")
    try:
        array = np.asarray(given or np.zeros((0, 3)), np.float64)
    except (TypeError, ValueError):
        array = np.zeros(0)
    if array.ndim != 2 or array.shape[1] != 3 or not isinstance(given, list):
        raise InvalidInput(
            f"{file.name}, {place_}/vertices is not a list of three numbers each.",
            "Export it again.",
            code="CJ_INVALID",
        )
    transform = file.header.get("transform")
    if transform is None:
        return array
    return array * np.asarray(transform["scale"], np.float64) + np.asarray(transform["translate"], np.float64)
