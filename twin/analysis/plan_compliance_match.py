"""Planned uses of projects against a plan: which code fits which, and what of each project lies on what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from layers import land_codes
from layers.ellipsoid_area import areas_m2
from twin.analysis.control_line_measure import tolerance_verdicts
from twin.analysis.land_classes import plain
from twin.analysis.overlay import Cover, Pieces, common, self_overlaps, uncovered_m2
from twin.analysis.progress import SILENT, Progress
from twin.analysis.verdict import SAME, WORST_FIRST, Verdict
from twin.supervision.rules import Rule

FloatArray = NDArray[np.float64]
Shapes = NDArray[np.object_]

CONTROLS = {"far": ("plan-far", "far_max"), "density_pct": ("plan-density", "density_max_pct"),
            "green_pct": ("plan-green", "green_min_pct"), "height_m": ("plan-height", "height_max_m")}  # fmt: skip
"""What a project may state of itself, the rule, and the plan's attribute that limits it."""


def fits(use: str | None, plan: str | None, system: str) -> Verdict:
    """Whether a use is what the plan has, both codes of one list.

    `pass` where the plan's code is a beginning of the use's (0701 on 07), `review` where the use is the coarser one
    (07 on 0701), `unknown` where a code is missing or not in the list, else `fail`.
    """
    if not use or not plan:
        return "unknown"
    known = [land_codes.read(each, system) for each in (use, plan)]
    if any(each is not None and not each.plain for each in known):
        return "unknown"
    wanted, planned = plain(use, system), plain(plan, system)
    if is_within(wanted, planned, system):
        return "pass"
    return "review" if is_within(planned, wanted, system) else "fail"


def is_within(code: str, other: str, system: str) -> bool:
    """Whether a plain code is the other one or a class below it."""
    if len(other) == 2 and system == "sd2017":  # its wetlands are 00 and begin with other digits
        return land_codes.first_class(code, system) == other
    return code.startswith(other)


@dataclass(frozen=True)
class Compliance:
    """(n,) projects on a plan.

    Attributes
    ----------
    areas_m2 : (n,) of the projects
    pieces, fit : what lies on which plot of the plan, (k,) each pair once, and how the use fits there
    unplanned_m2 : (n,) where there is no plan
    by_fit_m2 : (n,) for each verdict; plots that overlap count each
    verdicts : (n,)
    plan_overlaps : pairs of plots that overlap
    """

    areas_m2: FloatArray
    pieces: Pieces
    fit: NDArray[np.object_]
    unplanned_m2: FloatArray
    by_fit_m2: Mapping[Verdict, FloatArray]
    verdicts: NDArray[np.object_]
    plan_overlaps: Pieces


def compliance(
    projects: tuple[Shapes, Sequence[str | None]],
    plots: tuple[Shapes, Sequence[str | None]],
    system: str,
    source: str,
    *,
    rule: Rule,
    progress: Progress = SILENT,
) -> Compliance:
    """(n,) valid areas and uses on (m,) plots and codes, all codes of one list; tolerances are the rule's."""
    shapes, uses = projects
    ground, codes = plots
    own = areas_m2(shapes, source)
    found = common(shapes, Cover(ground, source), left_m2=own, progress=progress.part(0, 80), message="plan")
    overlaps = self_overlaps(ground, source, progress=progress.part(80, 100), message="overlaps")
    once = common(shapes, Cover(ground, source, is_one=True), left_m2=own) if len(overlaps) else found
    pieces = found.pairs()
    known: dict[tuple[str | None, str | None], Verdict] = {}
    fit = np.empty(len(pieces), object)
    for row, (i, j) in enumerate(zip(pieces.left.tolist(), pieces.right.tolist(), strict=True)):
        pair = uses[i], codes[j]
        fit[row] = known[pair] if pair in known else known.setdefault(pair, fits(*pair, system))
    by_fit: dict[Verdict, FloatArray] = {
        each: np.bincount(pieces.left, weights=pieces.areas_m2 * (fit == each), minlength=len(shapes))
        for each in WORST_FIRST
    }
    unplanned = uncovered_m2(own, once)
    judged = _together(own, by_fit, unplanned, rule)
    return Compliance(own, pieces, fit, unplanned, by_fit, judged, overlaps)


def _together(
    own: FloatArray, by_fit: Mapping[Verdict, FloatArray], unplanned: FloatArray, rule: Rule
) -> NDArray[np.object_]:
    """(n,) worst of what lies on another use, on a finer one, and on no plan that is known; slivers pass."""
    tolerance_m2, share_pct = float(rule.value or 0.0), float(rule.parameters["share_pct"])
    each = [
        tolerance_verdicts(by_fit["fail"], own, tolerance_m2, share_pct, "fail"),
        np.where(by_fit["review"] > tolerance_m2 + SAME, "review", "pass"),
        np.where(by_fit["unknown"] + unplanned > tolerance_m2 + SAME, "unknown", "pass"),
    ]
    out = np.full(len(own), "pass", object)
    for verdict in reversed(WORST_FIRST):
        out[np.any([one == verdict for one in each], axis=0)] = verdict
    return out
