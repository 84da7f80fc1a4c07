"""CQL2 text or JSON -> CQL2-JSON within limits, and its geometries in another CRS.

Spec: OGC 21-065r2. Text is parsed by the `cql2` package, whose parser ends the whole process on deep nesting (measured:
dead at 5,000 chained `=` and at 1,600 parentheses), so length and depth are bounded before it is called.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
import shapely

from layers import crs
from layers.errors import InvalidInput

MAX_CHARACTERS = 10_000
MAX_DEPTH = 30
"""SQLite itself refuses SQL that nests 100 deep, and one level here may be three there."""
MAX_NODES = 20_000

_GEOMETRIES = {"Point", "LineString", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon", "GeometryCollection"}
_WORDS = r"[()\[\],]|\b(?:and|or|not|like|in|between|is|div)\b|[-+*/%^=<>]"
# whether \' ends a literal differs between readers of the spec, so depth is taken under both readings
_TOKENS = tuple(
    re.compile(rf"{literal}|\"[^\"]*\"|({_WORDS})", re.IGNORECASE)
    for literal in (r"'(?:[^']|'')*'", r"'(?:[^'\\]|''|\\.)*'")
)


def from_text(text: str) -> dict[str, Any]:
    """CQL2 text as CQL2-JSON. Raises InvalidInput, with the place, for what is no CQL2 or is too long or too deep."""
    if len(text) > MAX_CHARACTERS:
        raise InvalidInput(f"The filter has {len(text)} characters.", f"At most {MAX_CHARACTERS} are read.")
    depth = max(_depth(text, tokens) for tokens in _TOKENS)
    if depth > MAX_DEPTH:
        raise InvalidInput(f"The filter is nested {depth} deep.", f"At most {MAX_DEPTH} levels are read.")
    import cql2

    try:
        parsed = cql2.parse_text(text).to_json()
    except (cql2.ParseError, cql2.ValidationError, ValueError) as error:
        where = " ".join(str(error).split())
        raise InvalidInput(f"The filter is no CQL2 text: {where[:300]}", "An example: height_m > 30.") from error
    return from_json(parsed if isinstance(parsed, dict) else {"op": "=", "args": [parsed, True]})


def from_json(expression: Mapping[str, Any] | str | bytes) -> dict[str, Any]:
    """CQL2-JSON, as an object or as text, within the limits; whether it fits a layer is told when it is used."""
    if isinstance(expression, str | bytes):
        try:
            expression = orjson.loads(expression)
        except orjson.JSONDecodeError as error:
            raise InvalidInput(f"The filter is not JSON: {error}.") from error
    if not isinstance(expression, Mapping):
        raise InvalidInput("A CQL2-JSON filter is an object with `op` and `args`.")
    _check_size(expression)
    return dict(expression)


def _depth(text: str, tokens: re.Pattern[str]) -> int:
    """An upper bound of how deep the parser will recurse: open brackets, and operators chained without AND/OR."""
    chained, total, deepest = [0], 0, 0
    for match in tokens.finditer(text):
        token = (match[1] or "").lower()
        if token in {"(", "["}:
            chained.append(0)
            total += 1
        elif token in {")", "]"} and len(chained) > 1:
            total -= chained.pop() + 1
        elif token in {",", "and", "or"}:
            total -= chained[-1]
            chained[-1] = 0
        elif token:
            chained[-1] += 1
            total += 1
        deepest = max(deepest, total)
    return deepest


def _check_size(expression: Any) -> None:
    n_nodes, level = 0, [expression]
    for _ in range(MAX_DEPTH * 2):  # an operation is two levels of JSON: the object and its list of arguments
        n_nodes += len(level)
        if n_nodes > MAX_NODES:
            raise InvalidInput(f"The filter has more than {MAX_NODES} parts.", "Select by region or ids instead.")
        level = [child for node in level for child in _children(node)]
        if not level:
            return
    raise InvalidInput(f"The filter is nested more than {MAX_DEPTH} deep.")


def _children(node: Any) -> list[Any]:
    if isinstance(node, Mapping):
        return [] if node.get("type") in _GEOMETRIES else list(node.values())
    return list(node) if isinstance(node, list | tuple) else []


def geometry(node: Mapping[str, Any]) -> shapely.Geometry | None:
    """The geometry of a GeoJSON or `bbox` literal, None for any other node; InvalidInput where it makes no sense."""
    if "bbox" in node:
        return _box(node["bbox"])
    if node.get("type") not in _GEOMETRIES:
        return None
    try:
        made = shapely.from_geojson(orjson.dumps(node, option=orjson.OPT_SERIALIZE_NUMPY))
    except (shapely.errors.ShapelyError, TypeError) as error:
        raise InvalidInput(f"A {node['type']} of the filter is no geometry: {error}.") from error
    if not np.isfinite(shapely.get_coordinates(made)).all():
        raise InvalidInput(f"A {node['type']} of the filter has coordinates that are not finite.")
    if not shapely.is_valid(made):
        raise InvalidInput(f"A {node['type']} of the filter is not valid: {shapely.is_valid_reason(made)}.")
    return made


def _box(numbers: Any) -> shapely.Geometry:
    if (
        not isinstance(numbers, list | tuple)
        or len(numbers) not in {4, 6}
        or not all(isinstance(each, int | float) and np.isfinite(each) for each in numbers)
    ):
        raise InvalidInput(f"BBOX {numbers} has not four (or six) numbers.")
    half = len(numbers) // 2
    return shapely.box(numbers[0], numbers[1], numbers[half], numbers[half + 1])


def reproject(expression: dict[str, Any], source: str, target: str) -> dict[str, Any]:
    """The same expression with its geometries brought from one CRS to another, edges densified before that.

    InvalidInput where a geometry does not fit into the target.
    """
    if crs.horizontal(source) == crs.horizontal(target):
        return expression
    moved = _moved(expression, source, target)
    return dict(moved)


def _moved(node: Any, source: str, target: str) -> Any:
    if isinstance(node, list | tuple):
        return [_moved(each, source, target) for each in node]
    if not isinstance(node, Mapping):
        return node
    made = geometry(node)
    if made is None:
        return {key: _moved(value, source, target) for key, value in node.items()}
    west, south, east, north = (float(v) for v in shapely.bounds(made))
    longest = max(east - west, north - south)
    dense = shapely.segmentize(made, longest / 32) if longest > 0 else made
    placed = crs.transform_geometries(source, target, np.array([dense], dtype=object))[0]
    if not np.isfinite(shapely.get_coordinates(placed)).all():
        raise InvalidInput(f"A geometry of the filter does not fit into {crs.name(target)}.", "Use a smaller one.")
    return orjson.loads(shapely.to_geojson(placed))
