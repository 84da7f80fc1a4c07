"""Which of two pipes in conflict gives way, by the order of the rule `pipe-avoidance`."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from twin.analysis.pipes import Pipes
from twin.supervision.rules import Rule


@dataclass(frozen=True)
class GivesWay:
    """`first` or `second` of the pair, and the line of the order that says so."""

    is_first: bool
    zh: str
    en: str


def gives_way(rule: Rule, pipes: Pipes, a: int, b: int) -> GivesWay | None:
    """The first line of the order that tells the two pipes apart; None where none does or a fact is missing."""
    for line in rule.parameters["order"]:
        by = str(line["by"])
        if by == "size":
            sizes = _size(pipes, a), _size(pipes, b)
            if np.isnan(sizes).any() or sizes[0] == sizes[1]:
                continue
            return GivesWay(bool(sizes[0] < sizes[1]), line["zh"], line["en"])
        facts = _fact(rule, by, pipes.kind[a]), _fact(rule, by, pipes.kind[b])
        if set(facts) == {line["yields"], line["stays"]}:
            return GivesWay(facts[0] == line["yields"], line["zh"], line["en"])
    return None


def _fact(rule: Rule, by: str, kind: str | None) -> str | None:
    """`gravity`, `flexible` … by the kinds that the rule lists; ranks and terms are not stored with pipes."""
    listed: dict[str, Any] = rule.parameters.get(by, {})
    return next((name for name, kinds in listed.items() if kind in kinds), None)


def _size(pipes: Pipes, row: int) -> float:
    known = pipes.height_m[row], pipes.dn_mm[row] / 1000.0
    return float(known[0] if np.isfinite(known[0]) else known[1])
