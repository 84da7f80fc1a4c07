"""Flow of a full pipe by Manning, the class of a material, and judging a number by lines that may be several."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import isnan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin.analysis.verdict import SAME, Comparator, Verdict
from twin.supervision.rules import Confidence, Rule, softened

FloatArray = NDArray[np.float64]
_CONFIDENCE: tuple[Confidence, ...] = ("low", "medium", "high")


def manning_full(
    width_m: FloatArray, height_m: FloatArray, is_round: NDArray[np.bool_], slope: FloatArray, n: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """(n,) velocity in m/s and flow in m3/s of pipes that are full and have a free surface's slope.

    Clear width and height in metres, slope as a ratio, Manning's n in s/m^(1/3). v = R^(2/3) S^(1/2) / n with R = area
    by wetted perimeter: D/4 of a circle, wh / 2(w + h) of a box. NaN where a number is missing or no slope.
    """
    area = np.where(is_round, np.pi * width_m**2 / 4, width_m * height_m)
    perimeter = np.where(is_round, np.pi * width_m, 2 * (width_m + height_m))
    with np.errstate(invalid="ignore", divide="ignore"):
        fall = np.where(slope > 0, slope, np.nan)
        velocity = (area / perimeter) ** (2 / 3) * np.sqrt(fall) / n
    return np.asarray(velocity, np.float64), np.asarray(velocity * area, np.float64)


def material_class(text: str | None, words: Mapping[str, Sequence[str]]) -> str | None:
    """The class that has a word of a material's name: Latin ones as a whole, Chinese ones anywhere in it."""
    if not text:
        return None
    plain = text.lower()
    latin = set(re.findall(r"[a-z]+", plain))
    for name, known in words.items():
        if any(word in latin if word.isascii() else word in plain for word in known):
            return name
    return None


@dataclass(frozen=True)
class Judged:
    """A verdict with the limit that decided it."""

    verdict: Verdict
    limit: float
    confidence: Confidence


@dataclass(frozen=True)
class Lines:
    """Lines of a rule that may count: their easiest and hardest limit; `is_sure`: one of them counts for certain."""

    comparator: Comparator
    easiest: float
    hardest: float
    is_sure: bool
    confidence: Confidence

    def judged(self, measured: float) -> Judged:
        """A number against them; NaN is not known."""
        if isnan(measured):
            return Judged("unknown", self.hardest, self.confidence)
        if _keeps(measured, self.comparator, self.hardest):
            return Judged("pass", self.hardest, self.confidence)
        if self.is_sure and not _keeps(measured, self.comparator, self.easiest):
            return Judged(softened("fail", self.confidence), self.easiest, self.confidence)
        return Judged("unknown", self.hardest, self.confidence)


class Judge:
    """Holds numbers against rules and remembers the lines of equal facts: pipes have few."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], Lines | None] = {}

    def __call__(
        self, rule: Rule, facts: Mapping[str, Any], measured: float, ways: Mapping[str, Sequence[Any]] | None = None
    ) -> Judged | None:
        """As `judged`."""
        key = (rule.id, *facts.items(), *(ways or ()))
        if key not in self._known:
            self._known[key] = _lines(rule, facts, ways or {})
        found = self._known[key]
        return None if found is None else found.judged(measured)


def judged(
    rule: Rule, facts: Mapping[str, Any], measured: float, ways: Mapping[str, Sequence[Any]] | None = None
) -> Judged | None:
    """A number (NaN is not known) against the lines of a rule that may count; None where the rule has none.

    Parameters
    ----------
    ways : what a missing fact can be at all; then it is certain that one of these lines counts
    """
    found = _lines(rule, facts, ways or {})
    return None if found is None else found.judged(measured)


def _lines(rule: Rule, facts: Mapping[str, Any], ways: Mapping[str, Sequence[Any]]) -> Lines | None:
    open_ = {key: values for key, values in ways.items() if facts.get(key) is None}
    rows, is_sure = [], True
    for each in product(*open_.values()):
        found, sure = rule.possible({**facts, **dict(zip(open_, each, strict=True))})
        rows += found
        is_sure = is_sure and sure
    if not rows or rule.comparator is None:
        return None
    confidence = _CONFIDENCE[min(_CONFIDENCE.index(row.confidence) for row in rows)]
    limits = sorted((float(row.value) for row in rows), reverse=rule.comparator.startswith("<"))
    return Lines(rule.comparator, limits[0], limits[-1], is_sure, confidence)


def _keeps(measured: float, comparator: Comparator, limit: float) -> bool:
    """`verdict.holds` of two numbers."""
    if comparator == ">=":
        return measured >= limit - SAME
    if comparator == ">":
        return measured > limit + SAME
    return measured <= limit + SAME if comparator == "<=" else measured < limit - SAME
