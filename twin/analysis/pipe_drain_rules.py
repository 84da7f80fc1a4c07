"""P26, the verdicts: each drain against the rules of cover, slope, diameter and velocity, and what is not known."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import shapely

from layers.catalogue import Title
from twin.analysis.pipe_drains import MATERIALS, Drains
from twin.analysis.pipe_hydraulics import Judge, Judged, Lines
from twin.analysis.pipes import DRAINS, Pipes
from twin.supervision.rules import Row as Line
from twin.supervision.rules import Rule, RuleBook, softened

RULES = ("drain-cover", "drain-slope", "drain-fall", "drain-diameter", "drain-velocity")
SURFACES = ("carriageway", "sidewalk")
USES = ("sewage", "rain", "combined")
FULL = ("rain", "combined")
"""Uses whose velocity is asked at full bore."""
LEVEL_M = 0.001
"""A rise between neighbouring points that is smaller is not told."""
INLET_WORDS = ("雨水口", "雨水箅", "雨水篦", "inlet")

NO_GROUND = Title("管线上方缺地面高程", "The ground over it is not known everywhere")
NO_HEIGHT = Title("缺高程或高程基准位置", "Its heights, or what they refer to, are not known")
NO_SIZE = Title("缺外径，管顶未知", "Without an outer diameter its top is not known")
NO_FACT = Title("缺地面类型、用途或材质", "The surface, use or material is not known")
NO_DIAMETER = Title("缺管径", "Its diameter is not known")
ROUGH = Title("糙率按管材取自表，未经实测", "Manning's n is that of the material, by a table")
DEEP = Title(
    "满流流速低于限值，设计充满度下是否达到须核算",
    "Below the limit at full bore; whether it is reached at the design depth must be computed",
)


@dataclass(frozen=True)
class Row:
    """One pipe against one rule: `limit` and `confidence` are those of the line that counts."""

    pipe: int
    rule: Rule
    measured: float
    judged: Judged
    place: shapely.Geometry
    note: Title | None = None
    part: str = ""


def rows(
    pipes: Pipes, found: Drains, book: RuleBook, *, surface: str | None = None, inlets: frozenset[str] = frozenset()
) -> list[Row]:
    """Every drain against every rule that speaks of it, in the order of pipes.

    Parameters
    ----------
    surface : over the parts that are not under a known carriageway; not known when None
    inlets : codes of nodes that are storm inlets: pipes at them are their connections
    """
    made: list[Row] = []
    judge = Judge()
    for row in np.flatnonzero(np.isin(pipes.kind.astype(str), DRAINS)).tolist():
        facts = _facts(pipes, found, row, inlets)
        made += _cover_rows(_One(pipes, found, row, judge), book["drain-cover"], surface)
        made += _slope_rows(_One(pipes, found, row, judge), book, facts)
        made += _diameter_rows(_One(pipes, found, row, judge), book["drain-diameter"], facts)
        made += _velocity_rows(_One(pipes, found, row, judge), book, facts)
    return made


@dataclass(frozen=True)
class _One:
    """A pipe with its numbers, and who judges it."""

    pipes: Pipes
    found: Drains
    row: int
    judge: Judge


def _facts(pipes: Pipes, found: Drains, row: int, inlets: frozenset[str]) -> dict[str, Any]:
    use = pipes.use[row] if pipes.use[row] in {*USES, "inlet"} else None
    if use is None:
        at_inlet = pipes.start[row] in inlets or pipes.end[row] in inlets
        kind = pipes.kind[row]
        use = "inlet" if at_inlet else kind if kind in USES else None
    dn = pipes.dn_mm[row]
    return {"use": use, "dn_mm": None if np.isnan(dn) else float(dn), "material": found.material[row]}


def _cover_rows(one: "_One", rule: Rule, surface: str | None) -> list[Row]:
    pipes, found, row = one.pipes, one.found, one.row
    made = []
    own = pipes.surface[row] if pipes.surface[row] in SURFACES else None
    for part, cover, known in (("on", found.on_road, "carriageway"), ("off", found.off_road, own or surface)):
        if cover.length_m[row] <= 0:
            continue
        facts = {"surface": own or known}
        measured = float(cover.least_m[row])
        answer = one.judge(rule, facts, measured, {"surface": SURFACES})
        if answer is None:
            continue
        note = NO_FACT if answer.verdict == "unknown" else None
        is_whole = cover.known_m[row] >= cover.length_m[row] - 1e-6
        if not is_whole:
            note = NO_GROUND if pipes.has_axis[row] and np.isfinite(pipes.crown_m[row]) else (
                NO_SIZE if pipes.has_axis[row] else NO_HEIGHT
            )  # fmt: skip
            if answer.verdict == "pass":
                answer = Judged("unknown", answer.limit, answer.confidence)
        at = shapely.Point(cover.at[row]) if np.isfinite(measured) else pipes.geometry[row]
        made.append(Row(row, rule, measured, answer, at, note, part))
    return made


def _slope_rows(one: "_One", book: RuleBook, facts: Mapping[str, Any]) -> list[Row]:
    pipes, found, row = one.pipes, one.found, one.row
    slope, line = float(found.slope[row]), pipes.geometry[row]
    lacks = NO_HEIGHT if np.isnan(slope) else None
    fall = book["drain-fall"]
    answer, note = _single(fall, slope), lacks
    if answer.verdict == "pass" and found.rise_m[row] > LEVEL_M:
        answer = Judged("review", answer.limit, answer.confidence)
        rise = f"{found.rise_m[row]:.3f} m"
        note = Title(f"中间有逆坡，局部升高 {rise}", f"It rises by {rise} between two of its points")
    made = [Row(row, fall, slope, answer, line, note)]
    rule = book["drain-slope"]
    found_answer = one.judge(rule, facts, slope, {"use": USES})
    if found_answer is not None:
        open_ = NO_FACT if found_answer.verdict == "unknown" else None
        made.append(Row(row, rule, slope, found_answer, line, lacks or open_))
    return made


def _single(rule: Rule, measured: float) -> Judged:
    """A rule with one limit."""
    if rule.value is None or rule.comparator is None:  # a city may have taken it away
        return Judged("unknown", np.nan, rule.confidence)
    return Lines(rule.comparator, rule.value, rule.value, True, rule.confidence).judged(measured)


def _diameter_rows(one: "_One", rule: Rule, facts: Mapping[str, Any]) -> list[Row]:
    pipes, row = one.pipes, one.row
    if np.isnan(pipes.dn_mm[row]) and np.isfinite(pipes.inner_m[row]):
        return []  # a box or egg: the table is of round pipes
    answer = one.judge(rule, {"use": facts["use"]}, float(pipes.dn_mm[row]), {"use": USES})
    if answer is None:
        return []
    note = NO_DIAMETER if answer.verdict == "unknown" else None
    return [Row(row, rule, float(pipes.dn_mm[row]), answer, pipes.geometry[row], note)]


def _velocity_rows(one: "_One", book: RuleBook, facts: Mapping[str, Any]) -> list[Row]:
    """A sewer is not full: its velocity at design depth lies between full bore's and `fullest` times that."""
    pipes, found, row = one.pipes, one.found, one.row
    rule = book["drain-velocity"]
    if facts["use"] == "inlet" or found.slope[row] <= 0:
        return []  # of one that does not fall the slope's own rule speaks
    measured = float(found.velocity_m_s[row])
    answer = one.judge(rule, {"use": facts["use"]}, measured, {"use": USES})
    if answer is None:
        return []
    note = None
    if answer.verdict == "unknown":
        note = NO_HEIGHT if np.isnan(found.slope[row]) else NO_FACT
    elif answer.verdict == "fail":
        sure = "high" if found.is_n_given else book[MATERIALS].confidence
        may_reach = facts["use"] not in FULL and measured * float(rule.parameters["fullest"]) >= answer.limit
        verdict = "review" if may_reach else softened("fail", sure)
        note = DEEP if may_reach else ROUGH if verdict == "review" else None
        answer = Judged(verdict, answer.limit, answer.confidence)
    return [Row(row, rule, measured, answer, pipes.geometry[row], note)]


def with_limit(rule: Rule, value: float | None) -> Rule:
    """The rule with one limit of one's own for everything, where one is given."""
    return rule if value is None else replace(rule, rows=(Line(value, "high", {}),), confidence="high")


def inlets_of(codes: list[str | None], appendages: list[str | None]) -> frozenset[str]:
    """Codes of nodes whose appendage is a storm inlet."""
    return frozenset(
        code for code, text in zip(codes, appendages, strict=True)
        if code is not None and text is not None and any(word in text.lower() for word in INLET_WORDS)
    )  # fmt: skip
