"""Geometries in CQL2-JSON: literals as shapely geometries, and whole expressions in another CRS.

Heights of literals stay as they are: no spatial operator looks at them.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import orjson
import shapely

from layers import crs
from layers.errors import InvalidInput
from twin.store import curves

NEAR_USE_DEG = 10.0
GEOMETRIES = {"Point", "LineString", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon", "GeometryCollection"}


def geometry(node: Mapping[str, Any]) -> shapely.Geometry | None:
    """The geometry of a GeoJSON or `bbox` literal, None for any other node; InvalidInput where it makes no sense."""
    if "bbox" in node:
        west, south, east, north = _corners(node["bbox"])
        if west > east or south > north:
            raise InvalidInput(
                f"BBOX {node['bbox']} of the filter has a lower bound above its upper one.",
                "Mind the axis order of filter-crs; only boxes in degrees may cross the antimeridian.",
            )
        return shapely.box(west, south, east, north)
    if node.get("type") not in GEOMETRIES:
        return None
    try:
        made = shapely.from_geojson(orjson.dumps(node, option=orjson.OPT_SERIALIZE_NUMPY))
    except (shapely.errors.ShapelyError, TypeError, ValueError) as error:
        raise InvalidInput(f"A {node['type']} of the filter is no geometry: {error}.") from error
    if not np.isfinite(shapely.get_coordinates(made)).all():
        raise InvalidInput(f"A {node['type']} of the filter has coordinates that are not finite.")
    if not shapely.is_valid(made):
        raise InvalidInput(f"A {node['type']} of the filter is not valid: {shapely.is_valid_reason(made)}.")
    return made


def _corners(numbers: Any) -> tuple[float, float, float, float]:
    if (
        not isinstance(numbers, list | tuple)
        or len(numbers) not in {4, 6}
        or not all(isinstance(each, int | float) and np.isfinite(each) for each in numbers)
    ):
        raise InvalidInput(f"BBOX {str(numbers)[:80]} of the filter has not four (or six) finite numbers.")
    half = len(numbers) // 2
    return float(numbers[0]), float(numbers[1]), float(numbers[half]), float(numbers[half + 1])


def swapped(expression: dict[str, Any]) -> dict[str, Any]:
    """The same expression with the first two axes of all its geometries and boxes exchanged."""
    return dict(_replaced(expression, _swapped))


def _swapped(node: Mapping[str, Any]) -> Mapping[str, Any]:
    if "bbox" in node:
        numbers = node["bbox"]
        if not isinstance(numbers, list | tuple) or len(numbers) not in {4, 6}:
            raise InvalidInput(f"BBOX {str(numbers)[:80]} of the filter has not four (or six) numbers.")
        a, b, *rest = numbers
        half = len(numbers) // 2
        return {**node, "bbox": [b, a, *rest[: half - 2], numbers[half + 1], numbers[half], *numbers[half + 2 :]]}
    if "geometries" in node and isinstance(node["geometries"], list):
        return {**node, "geometries": [_swapped(each) for each in node["geometries"] if isinstance(each, Mapping)]}
    return {**node, "coordinates": _swapped_positions(node.get("coordinates"))}


def _swapped_positions(coordinates: Any) -> Any:
    if not isinstance(coordinates, list | tuple):
        raise InvalidInput("A geometry of the filter has no list of coordinates.")
    if len(coordinates) >= 2 and all(isinstance(value, int | float) for value in coordinates):
        return [coordinates[1], coordinates[0], *coordinates[2:]]
    return [_swapped_positions(each) for each in coordinates]


def unrolled(expression: dict[str, Any]) -> dict[str, Any]:
    """The same expression (degrees, east first) with boxes over the antimeridian, west above east, as two polygons."""
    return dict(_replaced(expression, _unrolled))


def _unrolled(node: Mapping[str, Any]) -> Mapping[str, Any]:
    if "bbox" not in node:
        return node
    west, south, east, north = _corners(node["bbox"])
    if west <= east:
        return node
    if not (abs(west) <= 180 and abs(east) <= 180 and south <= north):
        raise InvalidInput(f"BBOX {node['bbox']} of the filter reaches beyond ±180° or ends before it starts.")
    sides = [shapely.box(west, south, 180.0, north), shapely.box(-180.0, south, east, north)]
    return dict(orjson.loads(shapely.to_geojson(shapely.multipolygons(sides))))


def reproject(expression: dict[str, Any], source: str, target: str) -> dict[str, Any]:
    """The same expression with its geometries brought from one CRS to another, edges as the curves they become there.

    InvalidInput where a geometry does not fit into the target.
    """
    if crs.is_geographic(source):
        expression = unrolled(expression)
    if crs.horizontal(source) == crs.horizontal(target):
        return expression

    def placed(node: Mapping[str, Any]) -> Mapping[str, Any]:
        made = geometry(node)
        if made is None:
            return node
        near = _near_use(made, target) if crs.is_geographic(source) else made
        try:
            there = curves.placed(near, source, target)
        except InvalidInput as error:
            raise InvalidInput(f"A geometry of the filter does not fit into {crs.name(target)}.", error.hint) from error
        return dict(orjson.loads(shapely.to_geojson(there)))

    return dict(_replaced(expression, placed))


def _near_use(made: shapely.Geometry, target: str) -> shapely.Geometry:
    """What of a geometry in degrees lies within 10° of the area that the registry gives the target for.

    Further away a projection may fold over itself; no feature of the city lies there, so that no answer changes.
    """
    use = crs.area_of_use(target)
    if use is None:
        return made
    west, east = use[0] - NEAR_USE_DEG, use[2] + NEAR_USE_DEG + 360.0 * (use[2] < use[0])
    south, north = max(use[1] - NEAR_USE_DEG, -90.0), min(use[3] + NEAR_USE_DEG, 90.0)
    window = shapely.box(west, south, east, north)
    if east - west >= 360 or shapely.is_empty(made) or shapely.covers(window, shapely.box(*shapely.bounds(made))):
        return made
    parts = []
    for turn in (-360.0, 0.0, 360.0):
        for part in shapely.get_parts(made):
            cut = shapely.intersection(part, shapely.box(west + turn, south, east + turn, north))
            parts += [shapely.transform(each, lambda xy, by=turn: xy - [by, 0.0]) for each in shapely.get_parts(cut)]
    parts = [part for part in parts if not shapely.is_empty(part)]
    return parts[0] if len(parts) == 1 else shapely.union_all(parts)


def _replaced(node: Any, replace: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> Any:
    """A copy of an expression in which `replace` was applied to every geometry and box."""
    if isinstance(node, list | tuple):
        return [_replaced(each, replace) for each in node]
    if not isinstance(node, Mapping):
        return node
    if "bbox" in node or node.get("type") in GEOMETRIES:
        return replace(node)
    return {key: _replaced(value, replace) for key, value in node.items()}
