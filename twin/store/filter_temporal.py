"""Temporal operators of CQL2 (OGC 21-065r2, 7.9): comparisons of the ends of two intervals.

An instant is an interval whose ends are equal; a date is its first instant, UTC; `..` is an open end.
"""

from typing import Any, Protocol

from layers.errors import InvalidInput
from twin.store.sql_term import Term, as_moment, joined, literal

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
_OPEN = (Term("''", "datetime"), Term("'~'", "datetime"))


class Translate(Protocol):
    """What turns a node into a term."""

    def __call__(self, node: Any) -> Term:
        """Any node of CQL2-JSON."""
        ...


def translate(operator: str, arguments: list[Any], term_of: Translate) -> Term:
    """A temporal predicate as SQL."""
    if len(arguments) != 2:
        raise InvalidInput(f"{operator.upper()} has {len(arguments)} arguments.", "It takes two.")
    (s, e), (big_s, big_e) = (_ends(node, term_of) for node in arguments)
    template, terms = "", []
    for character in _OPERATORS[operator]:
        end = {"s": s, "e": e, "S": big_s, "E": big_e}.get(character)
        # only the letters of the table stand for ends; AND and OR are upper case without S and E
        template += character if end is None else "{}"
        if end is not None:
            terms.append(end)
    return joined(f"({template})", "boolean", *terms)


def _ends(node: Any, term_of: Translate) -> tuple[Term, Term]:
    if isinstance(node, dict) and "interval" in node:
        ends = node["interval"]
        if not isinstance(ends, list) or len(ends) != 2:
            raise InvalidInput(f"INTERVAL has not two ends: {str(ends)[:60]}.")
        first, last = (
            _OPEN[at] if end == ".." else as_moment(literal(end) if isinstance(end, str) else term_of(end))
            for at, end in enumerate(ends)
        )
        return first, last
    moment = as_moment(term_of(node))
    return moment, moment
