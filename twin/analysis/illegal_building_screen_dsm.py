"""Suspects from surface models of two dates: what rose, where no permit covers it. Leads only: trees grow too."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from layers.ellipsoid_area import areas_m2
from layers.errors import InvalidInput
from twin.analysis.elevation import elevation
from twin.analysis.illegal_building_screen_excess import cover
from twin.analysis.illegal_building_screen_reasons import beyond
from twin.analysis.model_diff_dsm import patches
from twin.analysis.progress import SILENT, Progress
from twin.store.interface import Features
from twin.supervision.rules import RuleBook, softened

if TYPE_CHECKING:
    from twin.city import City

MOST_CELLS = 40_000_000
REASON = "dsm_rise"


def risen(
    city: "City",
    book: RuleBook,
    dsm_before: Mapping[str, Any],
    dsm: Mapping[str, Any],
    *,
    region: shapely.Geometry | None = None,
    rise_min_m: float | None = None,
    progress: Progress = SILENT,
) -> tuple[list[shapely.Geometry], list[dict[str, Any]]]:
    """Outlines and properties of patches that rose by more than the rule's `rise_min_m` and its area."""
    rule = book["illegal-building-change"]
    assert rule.value is not None
    after = elevation(city, "dsm", dict(dsm), region=region)
    before = elevation(city, "dsm_before", dict(dsm_before), region=region)
    if after.grid.width * after.grid.height > MOST_CELLS:
        raise InvalidInput(f"dsm has more than {MOST_CELLS} cells.", "Give a smaller region.")
    rise = float(rule.parameters["rise_min_m"]) if rise_min_m is None else rise_min_m
    found = patches(before, after, rise, rule.value, progress)
    if region is not None:
        found = [each for each in found if shapely.intersects(each.shape, region)]
    rows = [
        {
            "reason": REASON,
            "height_m": each.rise_m,
            "highest_m": each.highest_m,
            "footprint_m2": each.area_m2,
            "rule_id": rule.id,
            "limit": rule.value,
            "unit": rule.unit,
            "verdict": softened("fail", rule.confidence),
            "source": f"{rule.source} {rule.clause}",
            "confidence": rule.confidence,
        }
        for each in found
    ]
    return [each.shape for each in found], rows


def uncovered(
    city: "City", book: RuleBook, shapes: list[shapely.Geometry], rows: list[dict[str, Any]], permits: Features
) -> tuple[list[shapely.Geometry], list[dict[str, Any]]]:
    """Those patches of which more than the rule allows lies outside every permit, cut to what does."""
    rule = book["illegal-building-change"]
    outlines = np.array(shapes, dtype=object)
    found = cover(outlines, permits.geometry, least=0.0)
    kept = np.flatnonzero(beyond(found.excess_m2, found.share, rule)).tolist()
    survey_m2 = areas_m2(found.excess, city.crs)
    out = [
        rows[row]
        | {
            "area_m2": float(survey_m2[row]),
            "measured": float(found.excess_m2[row]),
            "excess_m2": float(found.excess_m2[row]),
            "excess_share_pct": 100.0 * float(found.share[row]),
        }
        for row in kept
    ]
    return [found.excess[row] for row in kept], out
