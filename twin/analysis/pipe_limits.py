"""Which clearance a pair of pipes must keep, by a rule's table, told once for each pair of classes of pipes.

A fact that is missing (a pressure, a burial, a diameter) leaves several lines of the table possible: then a pair passes
where it keeps the largest of them, fails where it keeps none, and is `unknown` between.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin.analysis.pipes import PRESSURES_MPA, Pipes
from twin.analysis.verdict import SAME, Verdict
from twin.supervision.rules import Confidence, Row, Rule, softened

FloatArray = NDArray[np.float64]
BURIED = ("direct", "duct", "trench")
_CONFIDENCE: tuple[Confidence, ...] = ("low", "medium", "high")


@dataclass(frozen=True)
class Limit:
    """What a pair must keep.

    Attributes
    ----------
    least, most : of the lines that are possible; equal where the facts decide. NaN where the table says nothing
    is_sure : one of the lines counts for certain; where not, there may be no limit at all
    confidence : the lowest of the lines
    """

    least: float
    most: float
    is_sure: bool
    confidence: Confidence

    @property
    def is_any(self) -> bool:
        """Whether the table has anything to say of the two kinds."""
        return bool(np.isfinite(self.most))

    def judged(self, net_m: float) -> tuple[Verdict, float]:
        """Verdict on a clearance (NaN is not known) and the limit that decided it."""
        if np.isnan(net_m):
            return "unknown", self.most
        if net_m >= self.most - SAME:
            return "pass", self.most
        if net_m < self.least - SAME and self.is_sure:
            return softened("fail", self.confidence), self.least
        return "unknown", self.most


NOTHING = Limit(np.nan, np.nan, False, "high")


def classes(pipes: Pipes) -> tuple[NDArray[np.int64], list[dict[str, Any]]]:
    """(n,) number of each pipe's class, and the facts of the classes; `pressure` is a tuple of what is possible."""
    dn = [None if np.isnan(value) else value for value in pipes.dn_mm.tolist()]
    voltage = [None if np.isnan(value) else value for value in pipes.voltage_kv.tolist()]
    rows = zip(pipes.kind, dn, pipes.pressure, pipes.burial, voltage, strict=True)
    known: dict[tuple[Any, ...], int] = {}
    number = np.fromiter((known.setdefault(each, len(known)) for each in rows), np.int64, len(pipes))
    names = ("", "dn_mm", "pressure", "burial", "voltage_kv")
    return number, [dict(zip(names, each, strict=True)) for each in known]


class Table:
    """Limits of a rule for pairs of classes, each looked up once. Lines fit either way round.

    Parameters
    ----------
    facts : of the classes, as `classes` gives them; the key of the kind is empty
    """

    def __init__(self, rule: Rule, facts: Sequence[Mapping[str, Any]]) -> None:
        self.rule, self._facts = rule, facts
        self._known: dict[tuple[int, int], Limit] = {}
        self._kinds = _kinds(rule)
        self._by_kinds: dict[tuple[str | None, str | None], Rule] = {}
        self._ranges: dict[str, Sequence[Any]] = {
            "dn_mm": _values(rule, "dn"), "voltage_kv": _values(rule, "voltage"), "burial": BURIED,
        }  # fmt: skip

    @property
    def largest(self) -> float:
        """The largest limit that a pair of these classes may have; 0 where there is none."""
        kinds = {each[""] for each in self._facts}
        found = [limit for pair, limit in self._kinds.items() if set(pair) <= kinds or None in kinds]
        return max(found, default=0.0)

    def limit(self, a: int, b: int) -> Limit:
        """Of two classes."""
        key = (a, b) if a <= b else (b, a)
        if key not in self._known:
            self._known[key] = self._look_up(self._facts[key[0]], self._facts[key[1]])
        return self._known[key]

    def limits(
        self, a: NDArray[np.int64], b: NDArray[np.int64]
    ) -> tuple[FloatArray, FloatArray, NDArray[np.bool_], NDArray[np.object_]]:
        """(k,) classes of pairs -> (k,) least, most, is_sure, confidence."""
        span = len(self._facts)
        pairs, which = np.unique(np.minimum(a, b) * span + np.maximum(a, b), return_inverse=True)
        found = [self.limit(*divmod(pair, span)) for pair in pairs.tolist()]
        least = np.array([each.least for each in found], np.float64)[which]
        most = np.array([each.most for each in found], np.float64)[which]
        sure = np.array([each.is_sure for each in found], bool)[which]
        return least, most, sure, np.array([each.confidence for each in found], object)[which]

    def _look_up(self, a: Mapping[str, Any], b: Mapping[str, Any]) -> Limit:
        if a[""] is None or b[""] is None:
            rows, _ = self._lines(a, b)
            return _limit(rows, is_sure=False) if rows else NOTHING
        if self._largest_of(a, b) is None:
            return NOTHING
        asked = self._asked(a[""], b[""]), self._asked(b[""], a[""])
        rows, is_sure, is_whole = [], True, True
        for one, two in product(self._ways(a, asked[0]), self._ways(b, asked[1])):
            found, sure = self._lines(one, two)
            rows += found
            is_sure = is_sure and sure
            is_whole = is_whole and bool(found)
        if any("burial" in facts and each["burial"] is None for facts, each in zip(asked, (a, b), strict=True)):
            is_sure = False  # it may lie in a tunnel or above ground, where the table says nothing
        if rows and is_whole:
            return _limit(rows, is_sure=is_sure)
        # some of what it may be has no line (gas above 1.6 MPa): no certain limit, but a possible one
        return Limit(self._largest_of(a, b) or 0.0, self._largest_of(a, b) or 0.0, False, "low")

    def _largest_of(self, a: Mapping[str, Any], b: Mapping[str, Any]) -> float | None:
        """The largest limit of the lines for two kinds; None where there is no line."""
        return self._kinds.get((a[""], b[""]), self._kinds.get((b[""], a[""])))

    def _asked(self, a: str, b: str) -> set[str]:
        """Facts of a pipe of kind `a` that the lines for it and kind `b` ask for."""
        keys = {key for row in self._of(a, b).rows for key in row.when if key.startswith("a_")}
        keys |= {key for row in self._of(b, a).rows for key in row.when if key.startswith("b_")}
        bounds = {"dn_mm": "_dn_", "voltage_kv": "_voltage_", "burial": "_burial", "pressure": "_pressure"}
        return {fact for fact, part in bounds.items() if any(part in key for key in keys)}

    def _ways(self, facts: Mapping[str, Any], asked: set[str]) -> list[dict[str, Any]]:
        """The facts once for each pressure that is possible, and each that a missing fact may be."""
        ways = {key: every for key, every in self._ranges.items() if key in asked and facts[key] is None}
        if "pressure" in asked:
            is_gas = facts[""] == "gas"
            ways["pressure"] = facts["pressure"] or (tuple(name for name, _ in PRESSURES_MPA) if is_gas else (None,))
        else:
            ways["pressure"] = (None,)
        return [{**facts, **dict(zip(ways, each, strict=True))} for each in product(*ways.values())]

    def _lines(self, a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[list[Row], bool]:
        """Lines that may count, either way round, and whether one of them does for certain."""
        there, sure = self._of(a[""], b[""]).possible(_named("a", a) | _named("b", b))
        if sure:
            return there, True
        back, sure = self._of(b[""], a[""]).possible(_named("a", b) | _named("b", a))
        return (back, True) if sure else (there + back, False)

    def _of(self, a: str | None, b: str | None) -> Rule:
        """The rule with only the lines that may be of two kinds."""
        if (a, b) not in self._by_kinds:
            rows = tuple(row for row in self.rule.rows if _is_of(row, "a", a) and _is_of(row, "b", b))
            self._by_kinds[a, b] = replace(self.rule, rows=rows)
        return self._by_kinds[a, b]


def _limit(rows: Iterable[Row], *, is_sure: bool) -> Limit:
    values = [max(each.value, each.value if each.other is None else each.other) for each in rows]
    order = min(_CONFIDENCE.index(each.confidence) for each in rows)
    return Limit(float(min(values)), float(max(values)), is_sure, _CONFIDENCE[order])


def _values(rule: Rule, part: str) -> tuple[float, ...]:
    """One number of each range that the table tells apart by a condition on `part`."""
    found = {float(value) for row in rule.rows for key, value in row.when.items() if f"_{part}_" in key}
    return tuple(sorted({each + step for each in found for step in (-1e-3, 0.0, 1e-3)}))


def _named(side: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{side}_{key}" if key else side: value for key, value in facts.items()}


def _is_of(row: Row, side: str, kind: str | None) -> bool:
    wanted = row.when.get(side)
    return kind is None or wanted is None or kind == wanted or (isinstance(wanted, list) and kind in wanted)


def _kinds(rule: Rule) -> dict[tuple[str, str], float]:
    """Pairs of kinds that the table names -> the largest limit of their lines."""
    found: dict[tuple[str, str], float] = {}
    for row in rule.rows:
        sides = [each if isinstance(each, list) else [each] for each in (row.when.get("a"), row.when.get("b"))]
        for pair in product(*sides):
            found[pair] = max(found.get(pair, 0.0), float(row.value), float(row.other or 0.0))
    return found
