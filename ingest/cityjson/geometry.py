"""Boundaries of CityJSON geometries -> surfaces with their semantics, materials and texture coordinates; lines; points.

Spec: https://www.cityjson.org/specs/2.0.1/#geometry-objects , #semantics-of-geometric-primitives , #appearance-object .
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.cityjson.header import short
from ingest.cityjson.objects import GEOMETRY, LINES, POINTS, SURFACES


class Broken(Exception):
    """A reason for one object, never seen outside the reader."""

    def __init__(self, code: str, path: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code, self.path, self.sentence = code, path, sentence


@dataclass(frozen=True)
class Painted:
    """One polygon: rings of vertex indices (outer first), its semantic type and its paint.

    Attributes
    ----------
    material : index into the appearance's materials, or None
    texture : index into the appearance's textures, or None
    uv : a list for each ring with an index into `vertices-texture` for each vertex; None without texture
    """

    rings: list[list[int]]
    kind: str = ""
    material: int | None = None
    texture: int | None = None
    uv: list[list[int]] | None = None


@dataclass(frozen=True)
class _Same:
    """One value for every polygon below."""

    value: Any


def kind_of(shape: dict[str, Any]) -> int:
    """SURFACES, LINES, POINTS, or 0 for a type that is not known."""
    return GEOMETRY.get(str(shape.get("type")), (0, 0))[0]


def lod_of(shape: dict[str, Any]) -> tuple[float, str]:
    """(number to compare, text) of a geometry's level of detail; (0, "") where it has none."""
    given = shape.get("lod")
    if isinstance(given, str | int | float) and not isinstance(given, bool):
        try:
            number = float(given)
        except ValueError:
            return 0.0, str(given)[:20]
        return (number if np.isfinite(number) else 0.0), str(given)[:20]
    return 0.0, ""


def surfaces_of(shape: dict[str, Any], themes: tuple[str | None, str | None], path: str) -> list[Painted]:
    """Polygons of a geometry with surfaces. `themes`: default theme of materials and of textures, or None.

    Raises Broken where the boundaries are not nested as the type asks for.
    """
    kinds = _semantics(shape)
    materials = _themed(shape.get("material"), themes[0])
    textures = _themed(shape.get("texture"), themes[1])
    depth = GEOMETRY[shape["type"]][1]
    out = []
    for rings, kind, material, texture in _walk(shape.get("boundaries"), (kinds, materials, textures), depth, path):
        paint, uv = _ring_textures(texture, rings)
        name = kind if isinstance(kind, str) else ""
        out.append(Painted(rings, name, material if _is_index(material) else None, paint, uv))
    return out


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _semantics(shape: dict[str, Any]) -> Any:
    """Types of the semantic surfaces in the nesting of the boundaries, or None."""
    semantics = shape.get("semantics")
    if not isinstance(semantics, dict) or not isinstance(semantics.get("surfaces"), list):
        return None
    names = [each.get("type", "") if isinstance(each, dict) else "" for each in semantics["surfaces"]]

    def named(value: Any, depth: int = 0) -> Any:
        if isinstance(value, list):
            return [named(each, depth + 1) for each in value] if depth < 8 else None
        return names[value] if _is_index(value) and value < len(names) else ""

    return named(semantics.get("values"))


def _themed(given: Any, theme: str | None) -> Any:
    """Values of the default theme, else of the first one: nested like the boundaries, or one for all."""
    if not isinstance(given, dict) or not given:
        return None
    chosen = given.get(theme) if theme in given else next(iter(given.values()))
    if not isinstance(chosen, dict):
        return None
    return _Same(chosen["value"]) if "value" in chosen else chosen.get("values")


def _walk(
    boundaries: Any, values: tuple[Any, ...], depth: int, path: str
) -> Iterator[tuple[list[list[int]], Any, Any, Any]]:
    if boundaries is None:
        return
    if not isinstance(boundaries, list):
        raise Broken("CJ_INVALID", path, "Its boundaries are not nested as its type asks for.")
    for number, each in enumerate(boundaries):
        own = tuple(_below(value, number) for value in values)
        if depth:
            yield from _walk(each, own, depth - 1, path)
        elif not isinstance(each, list) or not all(isinstance(ring, list) for ring in each):
            raise Broken("CJ_INVALID", path, "Its boundaries are not nested as its type asks for.")
        elif each:
            yield each, *(value.value if isinstance(value, _Same) else value for value in own)


def _below(value: Any, number: int) -> Any:
    if isinstance(value, list):
        return value[number] if number < len(value) else None
    return value if isinstance(value, _Same) else None


def _ring_textures(given: Any, rings: list[list[int]]) -> tuple[int | None, list[list[int]] | None]:
    """Texture and coordinates of a polygon; (None, None) unless every ring has one of each vertex."""
    if not isinstance(given, list) or len(given) != len(rings):
        return None, None
    uv = []
    for values, ring in zip(given, rings, strict=True):
        if not isinstance(values, list) or len(values) != len(ring) + 1 or not all(map(_is_index, values)):
            return None, None
        uv.append(values[1:])
    return given[0][0], uv


def indices_of(surfaces: list[Painted], n_vertices: int, path: str) -> NDArray[np.int64]:
    """(k,) all vertex indices, ring after ring. Raises Broken for one that names no vertex."""
    return checked([index for surface in surfaces for ring in surface.rings for index in ring], n_vertices, path)


def checked(flat: list[Any], n_vertices: int, path: str) -> NDArray[np.int64]:
    """(k,) indices as an array. Raises Broken for anything that names no vertex."""
    try:
        array = np.asarray(flat) if flat else np.zeros(0, np.int64)
    except (ValueError, OverflowError):
        array = np.zeros(0, object)
    bad: Any = None
    if array.dtype.kind != "i" or array.ndim != 1:
        bad = next((each for each in flat if not _is_index(each)), flat[0] if flat else None)
    elif array.size and (array.min() < 0 or array.max() >= n_vertices):
        bad = next(each for each in flat if not 0 <= each < n_vertices)
    if bad is not None:
        sentence = f"It names vertex {short(bad)}, but there are {n_vertices} vertices."
        raise Broken("CJ_VERTEX_OUT_OF_RANGE", path, sentence)
    return array.astype(np.int64)


def lines_of(shape: dict[str, Any], n_vertices: int, path: str) -> list[NDArray[np.int64]]:
    """Index arrays of the lines of a MultiLineString that have two vertices or more."""
    given = shape.get("boundaries")
    if not isinstance(given, list) or not all(isinstance(each, list) for each in given):
        raise Broken("CJ_INVALID", path, "Its boundaries are not nested as its type asks for.")
    return [checked(each, n_vertices, path) for each in given if len(each) >= 2]


def points_of(shape: dict[str, Any], n_vertices: int, path: str) -> NDArray[np.int64]:
    """Indices of the points of a MultiPoint."""
    given = shape.get("boundaries")
    if not isinstance(given, list):
        raise Broken("CJ_INVALID", path, "Its boundaries are not nested as its type asks for.")
    return checked(given, n_vertices, path)


__all__ = [
    "LINES", "POINTS", "SURFACES", "Broken", "Painted", "checked", "indices_of", "kind_of", "lines_of", "lod_of",
    "points_of", "surfaces_of",
]  # fmt: skip
