"""A piece of SQL with its parameters and the type of its value: what filters are composed of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from math import isfinite
from typing import Any

from layers.errors import InvalidInput


@dataclass(frozen=True)
class Term:
    """SQL text, its parameters in order, and the kind of its value.

    `kind` is an attribute type, `geometry`, `array` (JSON text), `member` (of `extra`, its type known row by row) or
    `null`. `literal` is the value where it is one, and the JSON path of a member.
    """

    sql: str
    kind: str
    parameters: tuple[Any, ...] = ()
    literal: Any = None

    def then(self, sql: str, kind: str) -> Term:
        """The term wrapped into `sql`, which has one `{}` for it."""
        return Term(sql.format(self.sql), kind, self.parameters)


def joined(template: str, kind: str, *terms: Term) -> Term:
    """Terms put into a template's `{}` one after the other."""
    parameters = tuple(value for term in terms for value in term.parameters)
    return Term(template.format(*(term.sql for term in terms)), kind, parameters)


def balanced(word: str, terms: Sequence[Term]) -> Term:
    """`a AND b AND …` as a balanced tree: SQLite bounds the depth of an expression, not its length."""
    if len(terms) == 1:
        return terms[0]
    half = len(terms) // 2
    return joined(f"({{}} {word} {{}})", "boolean", balanced(word, terms[:half]), balanced(word, terms[half:]))


def literal(value: Any) -> Term:
    """A JSON scalar as a parameter. A date in a string stays a string until it meets a date column."""
    if value is None:
        return Term("NULL", "null")
    if isinstance(value, bool):
        return Term("?", "boolean", (int(value),), value)
    if isinstance(value, int | float):
        if isinstance(value, int) and abs(value) >= 2**63:
            value = float(value)
        if not isfinite(value):
            raise InvalidInput(f"The filter has the number {value}.", "Use a finite one.")
        return Term("?", "number", (value,), value)
    if isinstance(value, str):
        return Term("?", "string", (value,), value)
    raise InvalidInput(f"{str(value)[:60]!r} is no value of a filter.")


def date_literal(text: Any) -> Term:
    """`{"date": "2026-01-31"}`."""
    try:
        value = date.fromisoformat(str(text)).isoformat()
    except ValueError as error:
        raise InvalidInput(f"{str(text)[:40]!r} is no date in the filter.", "Write 2026-01-31.") from error
    return Term("?", "date", (value,), value)


def timestamp_literal(text: Any) -> Term:
    """`{"timestamp": "2026-01-31T12:00:00Z"}`; one without zone is UTC. Comparable with a column cut of its Z."""
    try:
        value = datetime.fromisoformat(str(text))
        value = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f"{str(text)[:40]!r} is no moment in the filter.", "Write 2026-01-31T12:00:00Z.") from error
    written = value.isoformat(timespec="microseconds").removesuffix("+00:00").removesuffix("000")
    return Term("?", "datetime", (written,), written)


LAST_CLOCK = "T23:59:59.999999~"
"""Sorts behind every moment of its day."""
_EXTRA = "CASE WHEN json_valid(t.extra) THEN t.extra END"
_MEMBER_TYPES = {
    "string": "'text'", "number": "'integer', 'real'", "integer": "'integer'", "boolean": "'true', 'false'",
    "array": "'array'",
}  # fmt: skip


def member(name: str) -> Term:
    """A member of `extra`, where attributes are kept that the layer's schema does not know."""
    if '"' in name or "\\" in name:
        raise InvalidInput(f"extra.{name[:60]} cannot be asked for.", "Names with quotes or backslashes are not read.")
    path = f'$."{name}"'
    return Term(f"json_extract({_EXTRA}, ?)", "member", (path,), path)


def typed(term: Term, kind: str) -> Term:
    """A member of `extra` as a value of some type: NULL where it is of another one. Any other term as it is."""
    if term.kind != "member":
        return term
    if kind == "date":
        text = f"CASE WHEN json_type({_EXTRA}, ?) = 'text' THEN json_extract({_EXTRA}, ?) END"
        day = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"
        return Term(f"CASE WHEN {text} GLOB '{day}' THEN {text} END", "date", (term.literal,) * 4)
    if kind not in _MEMBER_TYPES:
        raise InvalidInput(f"A member of extra is compared with a {kind}.", "Text, numbers, booleans and dates can be.")
    sql = f"CASE WHEN json_type({_EXTRA}, ?) IN ({_MEMBER_TYPES[kind]}) THEN json_extract({_EXTRA}, ?) END"
    return Term(sql, kind, (term.literal,) * 2)


def as_moment(term: Term, *, at_end: bool = False) -> Term:
    """A date as its first instant (UTC) or as its last one, a moment as it is; a string literal as what it spells."""
    if term.kind == "string" and term.literal is not None:
        text = str(term.literal)
        return (
            timestamp_literal(text) if len(text) > len("2026-01-31") else as_moment(date_literal(text), at_end=at_end)
        )
    if term.kind == "date":
        clock = LAST_CLOCK if at_end else "T00:00:00.000"
        if term.literal is not None:
            return Term("?", "datetime", (term.literal + clock,), term.literal + clock)
        return term.then(f"({{}} || '{clock}')", "datetime")
    if term.kind in {"datetime", "null"}:
        return term
    raise InvalidInput(f"A {term.kind} is compared with a date.", "Use DATE('…') or TIMESTAMP('…').")


def comparable(a: Term, b: Term) -> tuple[Term, Term]:
    """Two terms brought to a common type. Raises InvalidInput where there is none: SQLite would compare anything."""
    if {a.kind, b.kind} == {"member"}:
        raise InvalidInput("The filter compares two members of extra.", "Compare each with a value.")
    a, b = typed(a, _compared_with(b)), typed(b, _compared_with(a))
    kinds = {"number" if term.kind == "integer" else term.kind for term in (a, b)}
    if len(kinds) == 1 or "null" in kinds:
        if "geometry" in kinds:
            raise InvalidInput("Geometries are not compared with =.", "Use S_EQUALS.")
        if "array" in kinds:
            raise InvalidInput("Arrays are not compared with =.", "Use A_EQUALS.")
        return a, b
    if kinds <= {"date", "datetime"} or (
        kinds <= {"date", "datetime", "string"} and any(t.kind == "string" and t.literal is not None for t in (a, b))
    ):
        return as_moment(a), as_moment(b)
    named = " with a ".join(term.kind for term in (a, b))
    hint = "Put text into single quotes, leave numbers without." if "string" in kinds else ""
    raise InvalidInput(f"The filter compares a {named}.", hint)


def _compared_with(other: Term) -> str:
    """The type that a member of `extra` must have to be compared with a term."""
    return {"integer": "number", "null": "string"}.get(other.kind, other.kind)
