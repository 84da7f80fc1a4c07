"""Projects against the plan: the use, in one code system."""

from collections.abc import Iterator

import numpy as np
import shapely

from layers import land_codes
from layers.catalogue import Title
from twin.analysis import place
from twin.analysis.land_classes import SYSTEM
from twin.analysis.overlay import polygonal
from twin.analysis.plan_compliance_match import Compliance, compliance
from twin.store.interface import Features
from twin.supervision import land
from twin.supervision.check import Check, Context, Finding, Passed, finding
from twin.supervision.rules import Rule

RULE = "plan-use-match"
NO_SYSTEM = Title(
    "项目没有分类体系 (code_system)，代码无从解释", "The project has no code_system: its code says nothing"
)


def run(context: Context) -> Iterator[Finding | Passed]:
    """Each project of the place, by code system: plots of another one are as unknown as ground without a plan."""
    rule, columns = context.rules[RULE], ("name", "planned_use", SYSTEM)
    for name in land.without_area(context, "project_land", columns):
        yield finding(rule, (f"project_land/{name}",), None, None, verdict="unknown", note=land.NO_AREA)
    found = land.areas(context, "project_land", columns)
    if not len(found):
        return
    plots = land.areas(context, "land_plan", ("ydyh_code", SYSTEM), land.reach_m(context, [found.geometry]))
    systems, planned = place.words(found, SYSTEM), place.words(plots, SYSTEM)
    codes = place.words(plots, "ydyh_code")
    for row, system in enumerate(systems):
        if system not in land_codes.SYSTEMS:
            yield finding(rule, (f"project_land/{found.ids[row]}",), None, found.geometry[row], verdict="unknown",
                          note=NO_SYSTEM)  # fmt: skip
    for system in sorted({each for each in systems if each in land_codes.SYSTEMS}):
        rows = np.flatnonzero([each == system for each in systems])
        mine = land.chosen(found, found.geometry, rows)
        same = [code if own == system else None for code, own in zip(codes, planned, strict=True)]
        told = compliance(
            (mine.geometry, place.words(mine, "planned_use")),
            (plots.geometry, same),
            system,
            context.city.crs,
            rule=rule,
        )
        yield from _findings(rule, mine, plots, told, has_other=len(set(planned)) > 1 or system not in planned)


def _findings(
    rule: Rule, found: Features, plots: Features, told: Compliance, *, has_other: bool
) -> Iterator[Finding | Passed]:
    passed = 0
    for row, verdict in enumerate(told.verdicts.tolist()):
        if verdict == "pass":
            passed += 1
            continue
        pieces = slice(*np.searchsorted(told.pieces.left, [row, row + 1]))
        wrong = told.fit[pieces] == verdict
        shapes = polygonal(told.pieces.shapes[pieces][wrong])
        where = shapely.union_all(shapes) if len(shapes) else found.geometry[row]
        on = [f"land_plan/{plots.ids[i]}" for i in told.pieces.right[pieces][wrong].tolist()]
        measured = None if verdict == "unknown" else float(told.by_fit_m2["fail"][row])
        yield finding(
            rule, (f"project_land/{found.ids[row]}", *on), measured, where, verdict=verdict,
            note=_note(verdict, told, row, has_other=has_other) or rule.note,
            evidence=land.item("project_land", found.ids[row]),
        )  # fmt: skip
    if passed:
        yield Passed(rule.id, passed)


def _note(verdict: str, told: Compliance, row: int, *, has_other: bool) -> Title | None:
    if verdict == "review" and told.by_fit_m2["review"][row] > told.by_fit_m2["fail"][row]:
        area = told.by_fit_m2["review"][row]
        return Title(f"项目用途比规划粗：{area:.2f} 平方米", f"The use is coarser than the plan's: {area:.2f} m²")
    if verdict != "unknown":
        return None
    bare, unread = told.unplanned_m2[row], told.by_fit_m2["unknown"][row]
    zh = f"无规划 {bare:.2f} 平方米，用途代码缺失或无法比较 {unread:.2f} 平方米"
    en = f"{bare:.2f} m² without a plan, {unread:.2f} m² with codes that are missing or cannot be compared"
    return Title(zh + ("（分类体系不同）", "")[not has_other], en + (" (another code system)", "")[not has_other])


CHECKS = (
    Check("plan-compliance", "one-map", Title("规划符合性", "Plan compliance"), (RULE,),
          ("project_land", "land_plan"), run),
)  # fmt: skip
