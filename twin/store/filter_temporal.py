"""Temporal operators of CQL2 (OGC 21-065r2, 7.9): comparisons of the ends of two intervals, ends included.

An instant is an interval whose ends are equal; `..` is an open end, and so is a `valid_to` that has not come yet. Dates
are compared as dates; where a date meets a moment, it is its whole day (UTC).
"""

from typing import Any, Protocol

from layers.errors import InvalidInput
from twin.store.sql_term import Term, as_moment, date_literal, joined, timestamp_literal

# s and e of the first operand, S and E of the second
_OPERATORS = {
    "t_after": "s > E",
    "t_before": "e < S",
    "t_contains": "s < S AND e > E",
    "t_disjoint": "(e < S OR s > E)",
    "t_during": "s > S AND e < E",
    "t_equals": "s = S AND e = E",
    "t_finishedby": "s < S AND e = E",
    "t_finishes": "s > S AND e = E",
    "t_intersects": "s <= E AND e >= S",
    "t_meets": "e = S",
    "t_metby": "s = E",
    "t_overlappedby": "s > S AND s < E AND e > E",
    "t_overlaps": "s < S AND e > S AND e < E",
    "t_startedby": "s = S AND e > E",
    "t_starts": "s = S AND e < E",
}

TEMPORAL = frozenset(_OPERATORS)
_OPEN = (Term("''", "open"), Term("'~'", "open"))
Ends = tuple[Term, Term]


class Translate(Protocol):
    """What turns a node into a term."""

    def __call__(self, node: Any) -> Term:
        """Any node of CQL2-JSON."""
        ...


def translate(operator: str, arguments: list[Any], term_of: Translate) -> Term:
    """A temporal predicate as SQL."""
    a, b = (ends(node, term_of) for node in arguments)
    as_days = not any(end.kind == "datetime" for end in (*a, *b))
    (s, e), (big_s, big_e) = _moments(a, as_days=as_days), _moments(b, as_days=as_days)
    template, terms = "", []
    for character in _OPERATORS[operator]:
        end = {"s": s, "e": e, "S": big_s, "E": big_e}.get(character)
        # only the letters of the table stand for ends; AND and OR are upper case without S and E
        template += character if end is None else "{}"
        if end is not None:
            terms.append(end)
    return joined(f"({template})", "boolean", *terms)


def ends(node: Any, term_of: Translate) -> Ends:
    """Start and end of an instant or interval, each a date, a moment, or open."""
    if isinstance(node, dict) and "interval" in node:
        given = node["interval"]
        if not isinstance(given, list) or len(given) != 2:
            raise InvalidInput(f"INTERVAL of the filter has not two ends: {str(given)[:60]}.")
        first, last = (_OPEN[at] if end == ".." else _instant(end, term_of) for at, end in enumerate(given))
        if given[1] == {"property": "valid_to"}:
            last = last.then("coalesce({}, '~')", last.kind)
        return first, last
    instant = _instant(node, term_of)
    return instant, instant


def _instant(node: Any, term_of: Translate) -> Term:
    if isinstance(node, str):
        return timestamp_literal(node) if len(node) > len("2026-01-31") else date_literal(node)
    term = term_of(node)
    if term.kind not in {"date", "datetime", "null"}:
        raise InvalidInput(f"The filter has a {term.kind} where a date or a moment is needed.", "Use DATE('…').")
    return term


def _moments(given: Ends, *, as_days: bool) -> Ends:
    if as_days:
        return given
    first, last = (as_moment(end, at_end=at == 1) if end.kind == "date" else end for at, end in enumerate(given))
    return first, last
