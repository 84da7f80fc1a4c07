"""Colours of single triangles (IfcIndexedColourMap, IFC 4.3.2), which the kernels leave out. Runs in the worker.

A triangle of a mesh is known by its corners in the product's frame, so only face sets that are neither mapped nor cut
can be painted; the others keep the colour of their style. Maps for faces that are no triangles are told.
"""

from functools import lru_cache
from typing import Any

import ifcopenshell.util.unit as unit_util
import numpy as np

_MAX_COLOURS = 255
_DIGITS = 7


@lru_cache(maxsize=1)
def _maps(model: Any) -> dict[int, Any]:
    """Colour maps by the face set that they are for."""
    try:
        return {each.MappedTo.id(): each for each in model.by_type("IfcIndexedColourMap")}
    except RuntimeError:  # the schema has none
        return {}


def count(model: Any) -> tuple[int, int]:
    """Colour maps of a file, and those for faces that are no triangles: these are not applied."""
    found = list(_maps(model).values())
    return len(found), sum(each.MappedTo.is_a() != "IfcTriangulatedFaceSet" for each in found)


def painted(model: Any, product: Any, geometry: dict[str, Any]) -> dict[str, Any]:
    """The geometry with the file's colours for its triangles; as it is where there are none."""
    if not _maps(model) or product.Representation is None:
        return geometry
    colours: dict[tuple[tuple[float, ...], ...], tuple[float, ...]] = {}
    for each in product.Representation.Representations:
        for item in each.Items:
            if item.id() in _maps(model) and item.is_a() == "IfcTriangulatedFaceSet":
                colours |= _of_triangles(_maps(model)[item.id()], item, _unit_m(model))
    return _with(geometry, colours) if colours else geometry


@lru_cache(maxsize=1)
def _unit_m(model: Any) -> float:
    return float(unit_util.calculate_unit_scale(model))


def _of_triangles(found: Any, item: Any, unit_m: float) -> dict[tuple[tuple[float, ...], ...], tuple[float, ...]]:
    points = np.round(np.array(item.Coordinates.CoordList, np.float64) * unit_m, _DIGITS) + 0.0
    corners = np.array(item.CoordIndex, np.int64) - 1
    if item.PnIndex:
        corners = np.array(item.PnIndex, np.int64)[corners] - 1
    opacity = 1.0 if found.Opacity is None else float(found.Opacity)
    palette = [(*map(float, each), opacity) for each in found.Colours.ColourList]
    if len(found.ColourIndex) != len(corners) or max(found.ColourIndex) > len(palette) or min(found.ColourIndex) < 1:
        return {}
    return {
        _key(points[triangle]): palette[index - 1] for triangle, index in zip(corners, found.ColourIndex, strict=True)
    }


def _key(corners: Any) -> tuple[tuple[float, ...], ...]:
    return tuple(sorted(map(tuple, corners.tolist())))


def _with(geometry: dict[str, Any], colours: dict[tuple[tuple[float, ...], ...], tuple[float, ...]]) -> dict[str, Any]:
    points = np.round(geometry["vertices"], _DIGITS) + 0.0
    rows = [tuple(each) for each in geometry["colours"].tolist()]
    places = {each: i for i, each in enumerate(rows)}
    ids = geometry["material_ids"].copy()
    for i, triangle in enumerate(geometry["triangles"]):
        colour = colours.get(_key(points[triangle]))
        if colour is None or (colour not in places and len(rows) >= _MAX_COLOURS):
            continue
        if colour not in places:
            places[colour] = len(rows)
            rows.append(colour)
        ids[i] = places[colour]
    return geometry | {"material_ids": ids, "colours": np.array(rows, np.float64).reshape(-1, 4)}
