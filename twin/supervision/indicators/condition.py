"""Whether a condition holds for features already read: true, false, or not known, where what it needs is missing.

The comparisons of CQL2 (OGC 21-065r2) over attributes, with its three-valued logic: NULL compared with anything is
neither true nor false. A filter in the store keeps what is true; here it matters which of the others are false.
"""

import datetime as dt
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from layers.errors import InvalidInput
from twin.store.cql2_parse import from_json, from_text

Truth = NDArray[np.int8]
"""1 true, 0 false, -1 not known."""
TRUE, FALSE, UNKNOWN = 1, 0, -1
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b, "<>": lambda a, b: a != b, "<": lambda a, b: a < b, "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b, ">=": lambda a, b: a >= b,
}  # fmt: skip
_SPOKEN = {"是": True, "有": True, "true": True, "yes": True, "y": True, "1": True,
           "否": False, "无": False, "false": False, "no": False, "n": False, "0": False}  # fmt: skip


def parsed(given: str | Mapping[str, Any]) -> dict[str, Any]:
    """CQL2 text or JSON as CQL2-JSON."""
    return from_text(given) if isinstance(given, str) else from_json(given)


def properties(expression: Any) -> set[str]:
    """Names of the attributes that an expression reads."""
    if isinstance(expression, Mapping):
        if "property" in expression:
            return {str(expression["property"])}
        return {name for value in expression.values() for name in properties(value)}
    return {name for each in expression for name in properties(each)} if isinstance(expression, list | tuple) else set()


def truth(expression: Mapping[str, Any], table: pa.Table, n: int) -> Truth:
    """(n,) for each row; an attribute that the table lacks is not known. InvalidInput names what is not read."""
    expression = _node(expression)
    op, args = expression.get("op"), expression.get("args", [])
    if op in {"and", "or"}:
        each = np.stack([truth(arg, table, n) for arg in args])
        low, high = (FALSE, TRUE) if op == "and" else (TRUE, FALSE)
        made = np.where((each == low).any(axis=0), low, np.where((each == high).all(axis=0), high, UNKNOWN))
        return made.astype(np.int8)
    if op == "not":
        inner = truth(args[0], table, n)
        return np.where(inner == UNKNOWN, UNKNOWN, 1 - inner).astype(np.int8)
    if op == "isNull":
        return np.array([value is None for value in _values(args[0], table, n)], np.int8)
    if op in {*_COMPARE, "in", "between", "like"}:
        return _compared(str(op), args, table, n)
    raise InvalidInput(
        f"condition: {str(op)[:30]!r} is not read here.", "Use and, or, not, =, <>, <, >, IN, BETWEEN, LIKE, IS NULL."
    )


def told(given: Mapping[str, Any], name: str, table: pa.Table, n: int) -> Truth:
    """(n,) whether the condition `given[name]` holds; not known where `given["known"]`, if there, does not hold.

    Everything is true without a condition. `known` keeps a word that nobody thought of from counting as a no.
    """
    if name not in given:
        return np.full(n, TRUE, np.int8)
    made = truth(parsed(given[name]), table, n)
    if "known" in given:
        made[truth(parsed(given["known"]), table, n) != TRUE] = UNKNOWN
    return made


def told_by(given: Mapping[str, Any], *keys: str) -> set[str]:
    """Attributes that some conditions of a definition read."""
    return {name for key in keys if key in given for name in properties(parsed(given[key]))}


def _node(arg: Any) -> Mapping[str, Any]:
    if isinstance(arg, Mapping) and "op" in arg:
        return arg
    return {"op": "=", "args": [arg, True]}


def _compared(op: str, args: Sequence[Any], table: pa.Table, n: int) -> Truth:
    values = _values(args[0], table, n)
    if op == "in":
        wanted = [_constant(each) for each in args[1]]
        return _each(values, lambda value: any(_same(value, each) for each in wanted))
    if op == "like":
        pattern = _pattern(str(args[1]))
        return _each(values, lambda value: pattern.fullmatch(str(value)) is not None)
    if op == "between":
        low, high = (_constant(each) for each in args[1:])
        return _each(values, lambda value: _ordered("<=", low, value) and _ordered("<=", value, high))
    others = _values(args[1], table, n)
    return np.array(
        [
            UNKNOWN if a is None or b is None or (held := _ordered(op, a, b)) is None else int(held)
            for a, b in zip(values, others, strict=True)
        ],
        np.int8,
    )


def _each(values: Sequence[Any], test: Callable[[Any], bool]) -> Truth:
    known: dict[Any, int] = {}
    for value in set(values):
        known[value] = UNKNOWN if value is None else int(test(value))
    return np.array([known[value] for value in values], np.int8)


def _values(node: Any, table: pa.Table, n: int) -> list[Any]:
    if isinstance(node, Mapping) and "property" in node:
        name = str(node["property"])
        return table[name].to_pylist() if name in table.column_names else [None] * n
    if isinstance(node, Mapping) and node.get("op") in {"casei", "accenti"}:
        folded = _values(node["args"][0], table, n)
        return [value.casefold() if isinstance(value, str) else value for value in folded]
    return [_constant(node)] * n


def _constant(node: Any) -> Any:
    if isinstance(node, Mapping):
        if "date" in node:
            return dt.date.fromisoformat(str(node["date"]))
        if "timestamp" in node:
            return dt.datetime.fromisoformat(str(node["timestamp"]))
        raise InvalidInput(f"condition: {str(dict(node))[:60]} is no constant.", "Compare with a text, number or date.")
    return node


def _ordered(op: str, a: Any, b: Any) -> Any:
    """A comparison; None where the two cannot be compared."""
    if isinstance(a, bool) != isinstance(b, bool):
        a, b = _spoken(a), _spoken(b)
        if a is None or b is None:
            return None
    if isinstance(a, dt.datetime) != isinstance(b, dt.datetime) and isinstance(a, dt.date) and isinstance(b, dt.date):
        a, b = (each.date() if isinstance(each, dt.datetime) else each for each in (a, b))
    try:
        return _COMPARE[op](a, b)
    except TypeError:
        return None


def _spoken(value: Any) -> bool | None:
    """A flag as it may be written in a column of text or numbers; None for anything else."""
    if isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return _SPOKEN.get(str(value).strip().lower())


def _same(a: Any, b: Any) -> bool:
    return bool(_ordered("=", a, b))


def _pattern(text: str) -> re.Pattern[str]:
    """`%` is any text, `_` one character; a backslash takes the next one as it is."""
    made, escaped = "", False
    for char in text:
        if escaped or char not in "%_\\":
            made, escaped = made + re.escape(char), False
        elif char == "\\":
            escaped = True
        else:
            made += ".*" if char == "%" else "."
    return re.compile(made, re.DOTALL)
