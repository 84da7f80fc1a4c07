"""CQL2-JSON as parameterised SQL over one layer's table, with SQL's three-valued logic.

Spec: OGC 21-065r2 (CQL2): basic, LIKE/BETWEEN/IN, CASEI and ACCENTI, arithmetic, property-property comparisons, all
spatial and temporal operators. Not read: arrays and functions of one's own. Geometries are in the city's CRS.
"""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import shapely

from layers.errors import InvalidInput
from twin.store import cql2_parse, filter_temporal
from twin.store.columns import quote
from twin.store.layer_record import GEOMETRY, LayerRecord
from twin.store.sql_functions import SPATIAL, accenti, casei
from twin.store.sql_term import (
    Term,
    balanced,
    comparable,
    date_literal,
    joined,
    literal,
    timestamp_literal,
)

_OWN = {"id": "string", "version": "integer", "valid_from": "datetime", "valid_to": "datetime"}
_COMPARISONS = {"=": "=", "<>": "<>", "<": "<", ">": ">", "<=": "<=", ">=": ">="}
_ARITHMETIC = {
    "+": "({} + {})",
    "-": "({} - {})",
    "*": "({} * {})",
    "/": "(CAST({} AS REAL) / {})",
    "div": "CAST(CAST({} AS REAL) / {} AS INTEGER)",
    "%": "citytwin_remainder({}, {})",
    "^": "citytwin_power({}, {})",
}
_FOLDS: dict[str, Callable[[str | None], str | None]] = {"casei": casei, "accenti": accenti}


@dataclass(frozen=True)
class Condition:
    """SQL with its parameters, and regions that features must intersect besides (they go through the R-tree)."""

    sql: str
    parameters: tuple[Any, ...]
    regions: tuple[shapely.Geometry, ...]


def translate(expression: dict[str, Any], layer: LayerRecord) -> Condition:
    """CQL2-JSON as a condition on table alias `t`. InvalidInput names what the layer lacks or what is not read."""
    checked = cql2_parse.from_json(expression)
    reader = _Reader(layer)
    terms, regions = [], []
    for conjunct in _conjuncts(checked):
        region, is_all = reader.region(conjunct)
        if region is not None:
            regions.append(region)
        if not is_all:
            terms.append(reader.boolean(conjunct))
    if not terms:
        return Condition("", (), tuple(regions))
    whole = balanced("AND", terms)
    return Condition(whole.sql, whole.parameters, tuple(regions))


def _conjuncts(node: Any) -> list[Any]:
    if isinstance(node, dict) and str(node.get("op", "")).lower() == "and" and node.get("args"):
        return [part for each in _arguments(node) for part in _conjuncts(each)]
    return [node]


def _arguments(node: dict[str, Any], n: int | None = None) -> list[Any]:
    arguments = node.get("args")
    operator = str(node.get("op"))
    if not isinstance(arguments, list) or (n is not None and len(arguments) != n):
        raise InvalidInput(f"{operator[:40]!r} in the filter needs {n or 'a list of'} arguments.")
    return arguments


class _Reader:
    """Translates nodes against one layer."""

    def __init__(self, layer: LayerRecord) -> None:
        self._layer = layer

    def region(self, node: Any) -> tuple[shapely.Geometry | None, bool]:
        """The literal that a spatial conjunct makes the geometry intersect, and whether that says all of it."""
        operator = str(node.get("op", "")).lower() if isinstance(node, dict) else ""
        if operator not in SPATIAL or operator == "s_disjoint":
            return None, False
        a, b = (self.term(each) for each in _arguments(node, 2))
        shape = a.literal if a.literal is not None else b.literal
        if {a.kind, b.kind} != {"geometry"} or (a.literal is None) == (b.literal is None) or shapely.is_empty(shape):
            return None, False
        return shape, operator == "s_intersects"

    def boolean(self, node: Any) -> Term:
        """A node that must be true or false."""
        term = self.term(node)
        if term.kind not in {"boolean", "null"}:
            raise InvalidInput(f"A {term.kind} stands in the filter where true or false is needed.")
        return term

    def term(self, node: Any) -> Term:
        """Any node."""
        if not isinstance(node, dict):
            return literal(node)
        if "op" in node:
            return self._operation(str(node["op"]), node)
        if "property" in node:
            return self._property(node["property"])
        if "date" in node:
            return date_literal(node["date"])
        if "timestamp" in node:
            return timestamp_literal(node["timestamp"])
        shape = cql2_parse.geometry(node)
        if shape is not None:
            return Term("?", "geometry", (shapely.to_wkb(shape),), shape)
        raise InvalidInput(f"The filter has {str(node)[:80]}, which is not read here.")

    def _property(self, name: Any) -> Term:
        layer = self._layer
        if name in _OWN:
            return _column(name, _OWN[name])
        if isinstance(name, str) and (attribute := layer.type.attribute(name)) is not None:
            return _column(layer.columns[name], attribute.type)
        if name in {GEOMETRY, "geometry"} and layer.has_geometry:
            return Term(f"t.{GEOMETRY}", "geometry")
        known = [*layer.columns, *_OWN, *(["geometry"] if layer.has_geometry else [])]
        near = get_close_matches(str(name), known, n=3)
        hint = f"Did you mean {' or '.join(map(repr, near))}?" if near else f"It has {', '.join(known)}."
        raise InvalidInput(f"Layer {layer.type.id!r} has no property {str(name)[:80]!r}.", hint)

    def _operation(self, written: str, node: dict[str, Any]) -> Term:
        operator = written.lower()
        if operator in {"and", "or"}:
            terms = [self.boolean(each) for each in _arguments(node)]
            if not terms:
                raise InvalidInput(f"{operator.upper()} has nothing to join.")
            return balanced(operator.upper(), terms)
        if operator in _COMPARISONS:
            a, b = comparable(*(self.term(each) for each in _arguments(node, 2)))
            return joined(f"({{}} {_COMPARISONS[operator]} {{}})", "boolean", a, b)
        if operator in _ARITHMETIC:
            return self._arithmetic(operator, node)
        if operator in SPATIAL:
            return self._spatial(operator, node)
        if operator in filter_temporal.TEMPORAL:
            return filter_temporal.translate(operator, _arguments(node, 2), self.term)
        if operator in _FOLDS:
            return self._folded(operator, node)
        own = {
            "not": self._not, "isnull": self._is_null, "between": self._between, "in": self._in, "like": self._like,
        }  # fmt: skip
        if operator not in own:
            raise InvalidInput(f"The filter uses {written[:40]!r}, which is not read here.", "See /conformance.")
        return own[operator](node)

    def _not(self, node: dict[str, Any]) -> Term:
        return self.boolean(_arguments(node, 1)[0]).then("(NOT {})", "boolean")

    def _is_null(self, node: dict[str, Any]) -> Term:
        return self.term(_arguments(node, 1)[0]).then("({} IS NULL)", "boolean")

    def _between(self, node: dict[str, Any]) -> Term:
        value, low, high = (self.term(each) for each in _arguments(node, 3))
        first, low = comparable(value, low)
        second, high = comparable(value, high)
        return joined("({} >= {} AND {} <= {})", "boolean", first, low, second, high)

    def _in(self, node: dict[str, Any]) -> Term:
        value, listed = _arguments(node, 2)
        if not isinstance(listed, list) or not listed:
            raise InvalidInput("IN needs a list with at least one value.")
        subject = self.term(value)
        pairs = [comparable(subject, self.term(each)) for each in listed]
        if len({pair[0].sql for pair in pairs}) > 1:  # dates among moments: each pair has its own common type
            return balanced("OR", [joined("({} = {})", "boolean", *pair) for pair in pairs])
        marks = ", ".join("{}" for _ in pairs)
        return joined(f"({{}} IN ({marks}))", "boolean", pairs[0][0], *(pair[1] for pair in pairs))

    def _like(self, node: dict[str, Any]) -> Term:
        value, pattern = (self.term(each) for each in _arguments(node, 2))
        if value.kind not in {"string", "null"} or not isinstance(pattern.literal, str):
            raise InvalidInput("LIKE compares text with a pattern in quotes.", "An example: name LIKE '%桥%'.")
        return joined("({} GLOB {})", "boolean", value, literal(glob(pattern.literal)))

    def _folded(self, operator: str, node: dict[str, Any]) -> Term:
        inner = self.term(_arguments(node, 1)[0])
        if isinstance(inner.literal, str) and inner.kind == "string":
            return literal(_FOLDS[operator](inner.literal))
        if inner.kind not in {"string", "null"}:
            raise InvalidInput(f"{operator.upper()} takes text, not a {inner.kind}.")
        return inner.then(f"citytwin_{operator}({{}})", "string")

    def _arithmetic(self, operator: str, node: dict[str, Any]) -> Term:
        terms = [self.term(each) for each in _arguments(node, 2)]
        for term in terms:
            if term.kind not in {"integer", "number", "null"}:
                raise InvalidInput(f"The filter calculates ({operator}) with a {term.kind}.")
        return joined(_ARITHMETIC[operator], "number", *terms)

    def _spatial(self, operator: str, node: dict[str, Any]) -> Term:
        a, b = (self.term(each) for each in _arguments(node, 2))
        for term in (a, b):
            if term.kind not in {"geometry", "null"}:
                raise InvalidInput(f"{operator.upper()} takes geometries, not a {term.kind}.")
        return joined(f"citytwin_spatial('{operator}', {{}}, {{}})", "boolean", a, b)


def _column(name: str, kind: str) -> Term:
    sql = f"t.{quote(name)}"
    # without the Z, a moment with fewer digits sorts before the later ones of the same second
    return Term(f"rtrim({sql}, 'Z')" if kind == "datetime" else sql, kind)


def glob(pattern: str) -> str:
    r"""A CQL2 LIKE pattern (`%`, `_`, `\` escapes) as an SQLite GLOB pattern, which minds case as CQL2 does."""
    out, at = "", 0
    while at < len(pattern):
        character = pattern[at]
        if character == "\\" and at + 1 < len(pattern):
            at += 1
            character, is_wild = pattern[at], False
        else:
            is_wild = character in "%_"
        if is_wild:
            out += "*" if character == "%" else "?"
        else:
            out += f"[{character}]" if character in "*?[" else character
        at += 1
    return out
