"""CQL2 text or JSON -> CQL2-JSON within limits, and its geometries in another CRS. Spec: OGC 21-065r2."""

from collections.abc import Mapping
from typing import Any

import orjson

from layers.errors import InvalidInput
from twin.store import cql2_text
from twin.store.cql2_geometry import GEOMETRIES, geometry, reproject, swapped

MAX_DEPTH = cql2_text.MAX_DEPTH
MAX_NODES = 20_000

__all__ = ["MAX_DEPTH", "MAX_NODES", "from_json", "from_text", "geometry", "reproject", "swapped"]


def from_text(text: str) -> dict[str, Any]:
    """CQL2 text as CQL2-JSON. Raises InvalidInput, with the place, for what is no CQL2 or is too long or too deep."""
    return from_json(_whole(cql2_text.parse(text)))


def from_json(expression: Mapping[str, Any] | str | bytes) -> dict[str, Any]:
    """CQL2-JSON, as an object or as text, within the limits; whether it fits a layer is told when it is used."""
    if isinstance(expression, str | bytes):
        try:
            expression = _whole(orjson.loads(expression))
        except orjson.JSONDecodeError as error:
            raise InvalidInput(f"The filter is not JSON: {error}.") from error
    if not isinstance(expression, Mapping):
        raise InvalidInput("A CQL2-JSON filter is an object with `op` and `args`.")
    _check_size(expression)
    return dict(expression)


def _whole(parsed: Any) -> Any:
    """A bare TRUE, FALSE or literal as an expression."""
    return {"op": "=", "args": [parsed, True]} if isinstance(parsed, bool | str | int | float) else parsed


def _check_size(expression: Any) -> None:
    n_nodes, level = 0, [expression]
    for _ in range(MAX_DEPTH * 2):  # an operation is two levels of JSON: the object and its list of arguments
        n_nodes += len(level)
        if n_nodes > MAX_NODES:
            raise InvalidInput(f"The filter has more than {MAX_NODES} parts.", "Select by region or ids instead.")
        level = [child for node in level for child in _children(node)]
        if not level:
            return
    raise InvalidInput(f"The filter is nested more than {MAX_DEPTH} deep.", f"At most {MAX_DEPTH} levels are read.")


def _children(node: Any) -> list[Any]:
    if isinstance(node, Mapping):
        if node.get("type") == "GeometryCollection":
            return [node.get("geometries")]
        return [] if node.get("type") in GEOMETRIES else list(node.values())
    return list(node) if isinstance(node, list | tuple) else []
