"""The `filter`, `filter-lang` and `filter-crs` parameters -> CQL2 JSON in the city's CRS (OGC 19-079r2, 21-065r2)."""

from typing import Any

from layers import crs
from layers.errors import InvalidInput
from server.serving import Snapshot
from twin.store import cql2_parse


def parse(given: dict[str, str], snapshot: Snapshot) -> dict[str, Any]:
    """A filter as CQL2 JSON whose geometries are in the city's CRS, east first. InvalidInput says what is wrong."""
    from server.parameters import asked_crs

    source = asked_crs(given, "filter-crs", snapshot)
    parsed = _parsed(given["filter"], given.get("filter-lang"))
    if crs.is_north_first(source):
        parsed = _swapped(parsed)
    return cql2_parse.reproject(parsed, source, snapshot.city.config.crs)


def _parsed(text: str, language: str | None) -> dict[str, Any]:
    if language not in (None, "cql2-text", "cql2-json"):
        raise InvalidInput(f"filter-lang={language[:30]!r} is not offered.", "Use cql2-text or cql2-json.")
    if language == "cql2-json" or (language is None and text.lstrip().startswith("{")):
        return cql2_parse.from_json(text)
    return cql2_parse.from_text(text)


def _swapped(node: Any) -> Any:
    """Every geometry and box of an expression with its first two axes exchanged."""
    if isinstance(node, list):
        return [_swapped(each) for each in node]
    if not isinstance(node, dict):
        return node
    if "coordinates" in node:
        return node | {"coordinates": _swapped_positions(node["coordinates"])}
    if "bbox" in node and isinstance(node["bbox"], list) and len(node["bbox"]) == 4:
        a, b, c, d = node["bbox"]
        return node | {"bbox": [b, a, d, c]}
    return {key: _swapped(value) for key, value in node.items()}


def _swapped_positions(coordinates: Any) -> Any:
    if not isinstance(coordinates, list):
        raise InvalidInput("A geometry in filter has no list of coordinates.")
    if len(coordinates) >= 2 and all(isinstance(value, int | float) for value in coordinates):
        return [coordinates[1], coordinates[0], *coordinates[2:]]
    return [_swapped_positions(each) for each in coordinates]


def all_of(conditions: list[dict[str, Any]]) -> dict[str, Any] | None:
    """All conditions joined by AND; None for none."""
    if not conditions:
        return None
    return conditions[0] if len(conditions) == 1 else {"op": "and", "args": conditions}
