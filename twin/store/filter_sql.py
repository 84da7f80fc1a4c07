"""CQL2-JSON as parameterised SQL over one layer's table, with SQL's three-valued logic.

Spec: OGC 21-065r2 (CQL2), all classes; text, arrays, space, time and functions have modules of their own. Geometries
are in the city's CRS. `extra.NAME` asks for a member of what a layer keeps beyond its schema.
"""

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import orjson
import shapely

from layers.errors import InvalidInput
from twin.store import cql2_parse, filter_array, filter_functions, filter_spatial, filter_temporal, filter_text
from twin.store.columns import quote
from twin.store.layer_record import GEOMETRY, LayerRecord
from twin.store.sql_term import (
    Term,
    balanced,
    comparable,
    date_literal,
    joined,
    literal,
    member,
    timestamp_literal,
    typed,
)

OWN = {"id": "string", "version": "integer", "valid_from": "datetime", "valid_to": "datetime"}
"""What every layer can be asked for besides its attributes."""
_OWN_SQL = {"id": "coalesce(t.id, 'fid-' || t.fid)", "version": "coalesce(t.version, 1)"}
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


MANY = 100
"""Longer lists are handed over as one parameter: SQLite takes 32,766 of them."""


@dataclass(frozen=True)
class Condition:
    """SQL with its parameters, and what can be looked up besides, in the R-tree and in the index of ids.

    Attributes
    ----------
    sql, parameters : condition on table alias `t`, empty for none
    regions : features must intersect each
    ids : features must have one of these ids; None is any
    """

    sql: str
    parameters: tuple[Any, ...]
    regions: tuple[shapely.Geometry, ...]
    ids: tuple[str, ...] | None = None


def translate(expression: dict[str, Any], layer: LayerRecord) -> Condition:
    """CQL2-JSON as a condition on table alias `t`. InvalidInput names what the layer lacks or what is not read."""
    checked = cql2_parse.from_json(expression)
    reader = _Reader(layer)
    terms, regions = [], []
    ids: tuple[str, ...] | None = None
    for conjunct in _conjuncts(checked):
        region, is_all = reader.region(conjunct)
        named = _named(conjunct)
        if region is not None:
            regions.append(region)
        if named is not None:
            ids = named if ids is None else tuple(each for each in ids if each in set(named))
        elif not is_all:
            terms.append(reader.boolean(conjunct))
    whole = balanced("AND", terms) if terms else Term("", "boolean")
    return Condition(whole.sql, whole.parameters, tuple(regions), ids)


def _named(node: Any) -> tuple[str, ...] | None:
    """The ids that `id = '…'` or `id IN ('…', …)` names; they go through their index."""
    if not isinstance(node, dict) or not isinstance(node.get("args"), list) or len(node["args"]) != 2:
        return None
    subject, value = node["args"]
    operator = str(node.get("op")).lower()
    if operator == "=" and isinstance(subject, str):
        subject, value = value, subject
    listed = [value] if operator == "=" else value if operator == "in" else None
    if subject != {"property": "id"} or not isinstance(listed, list) or not listed:
        return None
    return tuple(dict.fromkeys(listed)) if all(isinstance(each, str) for each in listed) else None


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
        if operator not in filter_spatial.SPATIAL:
            return None, False
        a, b = (self.term(each) for each in _arguments(node, 2))
        return filter_spatial.region(operator, a, b)

    def boolean(self, node: Any) -> Term:
        """A node that must be true or false."""
        term = typed(self.term(node), "boolean")
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
        if isinstance(name, str) and name in OWN:
            return _own(name)
        if isinstance(name, str) and (attribute := layer.type.attribute(name)) is not None:
            return _column(layer.columns[name], attribute.type)
        if isinstance(name, str) and name.startswith("extra."):
            return member(name.removeprefix("extra."))
        if isinstance(name, str) and name in {GEOMETRY, "geometry"} and layer.has_geometry:
            return Term(f"t.{GEOMETRY}", "geometry")
        known = [*layer.columns, *OWN, *(["geometry"] if layer.has_geometry else [])]
        near = get_close_matches(str(name), known, n=3)
        hint = f"Did you mean {' or '.join(map(repr, near))}?" if near else f"It has {', '.join(known)}."
        raise InvalidInput(f"The filter: layer {layer.type.id!r} has no property {str(name)[:80]!r}.", hint)

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
        if operator in filter_spatial.SPATIAL:
            a, b = (self.term(each) for each in _arguments(node, 2))
            return filter_spatial.translate(operator, a, b, self._layer)
        if operator in filter_temporal.TEMPORAL:
            return filter_temporal.translate(operator, _arguments(node, 2), self.term)
        if operator in filter_array.ARRAY:
            return filter_array.translate(operator, _arguments(node, 2), self.term)
        if operator in filter_text.FOLDS:
            return filter_text.folded(operator, self.term(_arguments(node, 1)[0]))
        own = {
            "not": self._not, "isnull": self._is_null, "between": self._between, "in": self._in, "like": self._like,
        }  # fmt: skip
        if operator in own:
            return own[operator](node)
        return filter_functions.translate(written, [self.term(each) for each in _arguments(node)])

    def _not(self, node: dict[str, Any]) -> Term:
        return self.boolean(_arguments(node, 1)[0]).then("(NOT {})", "boolean")

    def _is_null(self, node: dict[str, Any]) -> Term:
        inner = _arguments(node, 1)[0]
        if isinstance(inner, list):
            return literal(False)
        if isinstance(inner, dict) and "interval" in inner:
            return joined("({} IS NULL OR {} IS NULL)", "boolean", *filter_temporal.ends(inner, self.term))
        return self.term(inner).then("({} IS NULL)", "boolean")

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
        values = [pair[1].literal for pair in pairs]
        if len(pairs) > MANY and pairs[0][0].kind in {"string", "integer", "number"} and None not in values:
            listed_once = Term("?", "array", (orjson.dumps(values).decode(),))
            return joined("({} IN (SELECT value FROM json_each({})))", "boolean", pairs[0][0], listed_once)
        if len({pair[0].sql for pair in pairs}) > 1:  # dates among moments: each pair has its own common type
            return balanced("OR", [joined("({} = {})", "boolean", *pair) for pair in pairs])
        marks = ", ".join("{}" for _ in pairs)
        return joined(f"({{}} IN ({marks}))", "boolean", pairs[0][0], *(pair[1] for pair in pairs))

    def _like(self, node: dict[str, Any]) -> Term:
        value, pattern = _arguments(node, 2)
        return filter_text.like(self.term(value), self._pattern(pattern))

    def _pattern(self, node: Any) -> Term:
        """A pattern, perhaps within CASEI and ACCENTI."""
        operator = str(node.get("op")).lower() if isinstance(node, dict) else ""
        if operator not in filter_text.FOLDS:
            return self.term(node)
        inner = self._pattern(_arguments(node, 1)[0])
        if inner.kind != "string" or not isinstance(inner.literal, str):
            return filter_text.folded(operator, inner)
        return literal(filter_text.folded_pattern(operator, inner.literal))

    def _arithmetic(self, operator: str, node: dict[str, Any]) -> Term:
        terms = [typed(self.term(each), "number") for each in _arguments(node, 2)]
        for term in terms:
            if term.kind not in {"integer", "number", "null"}:
                raise InvalidInput(f"The filter calculates ({operator}) with a {term.kind}.")
        return joined(_ARITHMETIC[operator], "number", *terms)


def _own(name: str) -> Term:
    if name in _OWN_SQL:
        return Term(_OWN_SQL[name], OWN[name])
    return _column(name, OWN[name])


def _column(name: str, kind: str) -> Term:
    sql = f"t.{quote(name)}"
    # without the Z, a moment with fewer digits sorts before the later ones of the same second
    return Term(f"rtrim({sql}, 'Z')" if kind == "datetime" else sql, kind)
