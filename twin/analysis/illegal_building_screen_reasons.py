"""Why a building is suspected: the rules of illegal_building.yaml on what was measured. No city."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from twin.analysis.illegal_building_screen_excess import Cover, cover
from twin.analysis.parcel_intensity_areas import parts
from twin.analysis.verdict import SAME, Verdict
from twin.supervision.rules import Confidence, Rule, RuleBook, softened

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Geometries = NDArray[np.object_]


@dataclass(frozen=True)
class Suspect:
    """One building and one reason.

    Attributes
    ----------
    row : of the building
    reason : `no_permit`, `enlarged`, `too_high`, `control_line`, or of a change `new`, `enlarged`, `raised`
    measured, limit : in the rule's unit
    shape : what is suspected: the part beyond the permit, or the whole footprint
    other : row of the control line, -1 for none
    """

    row: int
    reason: str
    rule: Rule
    measured: float
    limit: float
    verdict: Verdict
    confidence: Confidence
    shape: shapely.Geometry
    other: int = -1


@dataclass(frozen=True)
class Houses:
    """(n,) footprints, heights above base (NaN unknown) and whether these were worked out, not given."""

    footprints: Geometries
    height_m: FloatArray
    is_guess: BoolArray


def beyond(excess_m2: FloatArray, share: FloatArray, rule: Rule) -> BoolArray:
    """(n,) whether both limits are passed, strictly: so many m², and so much of the present footprint."""
    assert rule.value is not None
    least = float(rule.parameters["share_max_pct"]) / 100.0
    return (excess_m2 > rule.value + SAME) & (share > least + SAME)


def without_permit(book: RuleBook, houses: Houses, found: Cover) -> Iterator[Suspect]:
    """Buildings with no permit of their own, whatever their size."""
    rule = book["illegal-building-permit"]
    for row in np.flatnonzero(found.n_permits == 0).tolist():
        verdict = rule.judged(float(found.excess_m2[row]))
        if verdict != "pass":
            shape = houses.footprints[row]
            yield Suspect(row, "no_permit", rule, float(found.excess_m2[row]), 0.0, verdict, rule.confidence, shape)


def enlarged(book: RuleBook, found: Cover) -> Iterator[Suspect]:
    """Buildings that reach beyond their permits."""
    rule = book["illegal-building-footprint"]
    assert rule.value is not None
    for row in np.flatnonzero((found.n_permits > 0) & beyond(found.excess_m2, found.share, rule)).tolist():
        measured, verdict = float(found.excess_m2[row]), softened("fail", rule.confidence)
        yield Suspect(row, "enlarged", rule, measured, rule.value, verdict, rule.confidence, found.excess[row])


@dataclass(frozen=True)
class HeightsHeld:
    """Suspects for their height, and (n,) of which buildings it cannot be told: own height or permitted one missing."""

    suspects: list[Suspect]
    no_height: BoolArray
    no_limit: BoolArray


def too_high(
    book: RuleBook, houses: Houses, found: Cover, permitted_m: FloatArray, tolerance_m: float | None = None
) -> HeightsHeld:
    """Heights against the highest of each building's permits, (m,) of permits; `tolerance_m` over the rule's own.

    Where a permit of the building names no height, only what is higher than nothing can be told of: it is not judged.
    """
    rule = book["illegal-building-height"]
    slack = float(rule.parameters["tolerance_m"]) if tolerance_m is None else tolerance_m
    guess_slack = max(slack, float(rule.parameters["estimated_tolerance_m"]))
    limit, lacks = found.highest(permitted_m)
    has_permit = found.n_permits > 0
    no_limit = has_permit & (lacks | np.isnan(limit))
    no_height = has_permit & ~no_limit & np.isnan(houses.height_m)
    allowed = limit + np.where(houses.is_guess, guess_slack, slack)
    with np.errstate(invalid="ignore"):
        is_over = has_permit & ~no_limit & (houses.height_m > allowed + SAME)
    suspects = []
    for row in np.flatnonzero(is_over).tolist():
        sure: Confidence = "low" if houses.is_guess[row] else rule.confidence
        measured, verdict = float(houses.height_m[row]), softened("fail", sure)
        shape = houses.footprints[row]
        suspects.append(Suspect(row, "too_high", rule, measured, float(allowed[row]), verdict, sure, shape))
    return HeightsHeld(suspects, no_height, no_limit)


def in_control_lines(book: RuleBook, houses: Houses, lines: Geometries, survey_scale: FloatArray) -> Iterator[Suspect]:
    """Buildings in (k,) areas that are kept free; (n,) `survey_scale` turns plane areas into areas on the ellipsoid."""
    rule = book["illegal-building-control-line"]
    assert rule.value is not None
    met = parts(lines, houses.footprints)
    survey_m2 = met.area_m2 * survey_scale[met.item]
    for pair in np.flatnonzero(survey_m2 > rule.value + SAME).tolist():
        row, measured, other = int(met.item[pair]), float(survey_m2[pair]), int(met.parcel[pair])
        verdict = softened("fail", rule.confidence)
        piece = met.piece[pair]
        yield Suspect(row, "control_line", rule, measured, rule.value, verdict, rule.confidence, piece, other)


def changed(book: RuleBook, houses: Houses, before: Houses) -> list[Suspect]:
    """Buildings that were not there before, are larger, or higher: leads, as nothing is said of permits."""
    rule = book["illegal-building-change"]
    assert rule.value is not None
    found = cover(houses.footprints, before.footprints)
    grown = beyond(found.excess_m2, found.share, rule)
    out = []
    for row in np.flatnonzero(grown).tolist():
        reason = "new" if found.n_permits[row] == 0 else "enlarged"
        measured = float(found.excess_m2[row])
        verdict = softened("fail", rule.confidence)
        out.append(Suspect(row, reason, rule, measured, rule.value, verdict, rule.confidence, found.excess[row]))
    was, lacks = found.highest(before.height_m)
    rise = float(rule.parameters["rise_min_m"])
    with np.errstate(invalid="ignore"):
        raised = (houses.height_m - was > rise + SAME) & ~lacks
    for row in np.flatnonzero(raised).tolist():
        measured, limit = float(houses.height_m[row]), float(was[row] + rise)
        verdict = softened("fail", rule.confidence)
        shape = houses.footprints[row]
        out.append(Suspect(row, "raised", rule, measured, limit, verdict, rule.confidence, shape))
    return out
