"""City objects of one document or line: their vertices, their kinds, and which of them become features.

Spec: https://www.cityjson.org/specs/2.0.1/#cityjson-object . A child that is part of its parent's shape (see
`cityjson_types.is_merged`) is no feature of its own; whatever no feature owns becomes one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest.cityjson import types as cityjson_types
from ingest.surfaces import Float
from layers.errors import InvalidInput

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


def vertex_array(given: Any) -> NDArray[Any] | None:
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


def vertices_of(header: dict[str, Any], array: NDArray[Any] | None, where: str) -> Vertices:
    """Vertices under the header's transform. Raises InvalidInput for None."""
    if array is None:
        problem = f"{where}/vertices is not a list of three numbers each."
        raise InvalidInput(problem, "Export it again.", code="CJ_INVALID")
    transform = header.get("transform")
    if transform is None:
        return Vertices(array, np.ones(3), np.zeros(3))
    return Vertices(array, np.asarray(transform["scale"], float), np.asarray(transform["translate"], float))


def fact_of(name: str, place: str, key: str, body: Any, header: dict[str, Any]) -> Fact:
    """What must be known of an object. Raises InvalidInput where it has no type."""
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
    given = json_object(header.get("geometry-templates")).get("templates")
    if not isinstance(given, list) or not isinstance(number, int) or not 0 <= number < len(given):
        return None
    return given[number] if isinstance(given[number], dict) else None


def json_object(value: Any) -> dict[str, Any]:
    """The value, or an empty object for anything that is none."""
    return value if isinstance(value, dict) else {}
