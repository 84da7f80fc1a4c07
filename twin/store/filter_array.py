"""Array operators of CQL2 (OGC 21-065r2, 7.10) over JSON arrays: literals, and arrays kept in `extra`.

Arrays are sets: neither order nor repetition counts. 1 and 1.0 are equal, TRUE and 1 are not; NULL is equal to itself.
"""

from collections.abc import Callable
from typing import Any, Protocol

import orjson

from layers.errors import InvalidInput
from twin.store.sql_term import Term, joined, typed

_Members = frozenset[Any]
_OPERATORS: dict[str, Callable[[_Members, _Members], bool]] = {
    "a_equals": lambda a, b: a == b,
    "a_contains": lambda a, b: a >= b,
    "a_containedby": lambda a, b: a <= b,
    "a_overlaps": lambda a, b: not a.isdisjoint(b),
}
ARRAY = frozenset(_OPERATORS)


class Translate(Protocol):
    """What turns a node into a term."""

    def __call__(self, node: Any) -> Term:
        """Any node of CQL2-JSON."""
        ...


def translate(operator: str, arguments: list[Any], term_of: Translate) -> Term:
    """An array predicate as SQL."""
    terms = [array(node, term_of) for node in arguments]
    return joined(f"citytwin_array('{operator}', {{}}, {{}})", "boolean", *terms)


def array(node: Any, term_of: Translate) -> Term:
    """A list, or what holds one, as JSON text."""
    if isinstance(node, list):
        elements = [_element(each, term_of) for each in node]
        return joined(f"json_array({', '.join('{}' for _ in elements)})", "array", *elements)
    term = typed(term_of(node), "array")
    if term.kind not in {"array", "null"}:
        raise InvalidInput(f"The filter has a {term.kind} where an array is needed.", "Write ('a', 'b').")
    return term


def _element(node: Any, term_of: Translate) -> Term:
    if isinstance(node, list):
        return array(node, term_of).then("json({})", "array")
    term = term_of(node)
    if term.kind == "geometry":
        raise InvalidInput("Geometries in arrays are not read in the filter.", "Use a spatial operator.")
    if term.kind == "boolean":
        # SQLite's booleans are numbers; in JSON they are not
        return joined("json(CASE {} WHEN 1 THEN 'true' WHEN 0 THEN 'false' ELSE 'null' END)", "boolean", term)
    return term


def evaluate(operator: str, a: str | None, b: str | None) -> bool | None:
    """What the SQL calls: NULL where an array is NULL."""
    if a is None or b is None:
        return None
    try:
        return _OPERATORS[operator](_members(a), _members(b))
    except orjson.JSONDecodeError:
        return None


def _members(text: str) -> frozenset[Any]:
    return frozenset(_key(each) for each in orjson.loads(text))


def _key(value: Any) -> Any:
    """A value as something that can be in a set, equal where the values are."""
    if isinstance(value, bool):
        return ("boolean", value)
    if isinstance(value, list):
        return frozenset(_key(each) for each in value)
    if isinstance(value, dict):
        return ("object", frozenset((key, _key(each)) for key, each in value.items()))
    return value
