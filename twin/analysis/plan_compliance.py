"""P05 plan-compliance: is the use of a project the one that the plan has for its ground.

Codes of two lists are never held against each other. A use coarser than the plan's is for review; ground without
a plan, or with a code that the list does not have, is unknown. Controls (plot ratio, density, green, height) are held
against what the project states of itself.
"""

import datetime as dt
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from layers.catalogue import Title
from layers.ellipsoid_area import MU_M2
from twin.analysis import place
from twin.analysis.control_lines import mended
from twin.analysis.features_input import SCHEMA
from twin.analysis.land_classes import SYSTEM, check_same, known_properties, one_system
from twin.analysis.overlay import polygonal
from twin.analysis.plan_compliance_match import CONTROLS, Compliance, compliance
from twin.analysis.process import Parameter, Process
from twin.analysis.progress import SILENT, Progress
from twin.analysis.verdict import WORST_FIRST, Verdict, worst
from twin.store.interface import Features, Query
from twin.supervision.rules import Rule, on_day

if TYPE_CHECKING:
    from twin.city import City

RULE = "plan-use-match"
USE, PLAN = "planned_use", "ydyh_code"
PROJECT_PROPERTIES = (USE, SYSTEM, *CONTROLS)
PLAN_PROPERTIES = (PLAN, SYSTEM, "plan_code", *(limit for _, limit in CONTROLS.values()))
ZONE = dt.timezone(dt.timedelta(hours=8))


def plan_compliance(
    city: "City",
    *,
    project: Mapping[str, Any],
    land_plan: Mapping[str, Any] | None = None,
    tolerance_m2: float | None = None,
    tolerance_share_pct: float | None = None,
    limit: int = 1_000,
    crs: str | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Projects with `planned_use` and `code_system` on a plan with `ydyh_code` and `code_system`."""
    place.answer_crs(city, crs)
    projects = place.features(
        city, "project", project, kinds=place.AREAS, is_dense=True,
        properties=known_properties(city, "project", project, PROJECT_PROPERTIES),
    )  # fmt: skip
    system = one_system("project", projects)
    plots = _plots(city, land_plan, projects)
    if len(plots):
        other = one_system("land_plan", plots)
        written = place.words(projects, USE) if system == "sd2017" else place.words(plots, PLAN)
        check_same("project", system, "land_plan", other, next(filter(None, written), None))
    rules = on_day(dt.datetime.now(ZONE).date(), city.folder)
    rule = _tolerant(rules[RULE], tolerance_m2, tolerance_share_pct)
    found = compliance(
        (shapely.force_2d(projects.geometry), place.words(projects, USE)),
        (mended(plots.geometry), place.words(plots, PLAN)),
        system, city.crs, rule=rule, progress=progress,
    )  # fmt: skip
    answer = _Answer(projects, plots, found, {**{each.id: each for each in rules}, RULE: rule})
    verdicts: list[Verdict] = found.verdicts.tolist()
    order = sorted(range(len(verdicts)), key=lambda row: (verdicts[row] == "pass", row))[:limit]
    listed = np.zeros(len(verdicts), bool)
    listed[order] = True
    parts = np.flatnonzero(listed[found.pieces.left])
    return {
        "verdict": worst(verdicts),
        "n_projects": len(projects),
        "counts": {each: Counter(verdicts)[each] for each in WORST_FIRST},
        "rule_id": rule.id,
        "class_system": system,
        "plan_overlap_m2": float(found.plan_overlaps.areas_m2.sum()),
        "is_complete": len(projects) <= limit,
        "projects": [answer.project(row) for row in sorted(order)],
        "parts": place.geojson(
            city, polygonal(found.pieces.shapes[parts]), [answer.part(row) for row in parts.tolist()], target=crs
        ),
    }


def _tolerant(rule: Rule, tolerance_m2: float | None, share_pct: float | None) -> Rule:
    share = rule.parameters["share_pct"] if share_pct is None else share_pct
    value = rule.value if tolerance_m2 is None else tolerance_m2
    return replace(rule, value=value, parameters={**rule.parameters, "share_pct": share})


def _plots(city: "City", given: Mapping[str, Any] | None, projects: Features) -> Features:
    if given is not None:
        wanted = known_properties(city, "land_plan", given, PLAN_PROPERTIES)
        return place.features(city, "land_plan", given, kinds=place.AREAS, properties=wanted, is_dense=True)
    if "land_plan" not in city:
        return place.collected(())
    wanted = known_properties(city, "land_plan", {"collection": "land_plan"}, PLAN_PROPERTIES)
    region = shapely.box(*shapely.total_bounds(projects.geometry))
    found = place.collected(city.store.query("land_plan", Query(region=region, properties=wanted), city.scope))
    return found if all(found.valid_from) else place.collected(())  # a plan without a date says nothing


class _Answer:
    """What is told of projects, their columns read once."""

    def __init__(self, projects: Features, plots: Features, found: Compliance, rules: Mapping[str, Rule]) -> None:
        self.projects, self.plots, self.found, self.rules = projects, plots, found, rules
        self.uses, self.codes = place.words(projects, USE), place.words(plots, PLAN)
        self.stated = {name: place.numbers(projects, name, "project") for name in CONTROLS}
        self.limits = {name: place.numbers(plots, limit, "land_plan") for name, (_, limit) in CONTROLS.items()}

    def project(self, row: int) -> dict[str, Any]:
        found, rule, area = self.found, self.rules[RULE], float(self.found.areas_m2[row])
        controls = self._controls(row)
        return {
            "project": self.projects.ids[row],
            "planned_use": self.uses[row],
            "area_m2": area,
            "area_mu": area / MU_M2,
            "rule_id": rule.id,
            "measured": float(found.by_fit_m2["fail"][row]),
            "limit": rule.value,
            "limit_share_pct": rule.parameters["share_pct"],
            "unit": rule.unit,
            "verdict": found.verdicts[row],
            "source": f"{rule.source} {rule.clause}",
            "confidence": rule.confidence,
            **{f"{each}_m2": float(found.by_fit_m2[each][row]) for each in WORST_FIRST},
            "unplanned_m2": float(found.unplanned_m2[row]),
            "controls_verdict": worst(each["verdict"] for each in controls if each["measured"] is not None),
            "controls": controls,
        }

    def _controls(self, row: int) -> list[dict[str, Any]]:
        """Controls of the plots the project lies on by more than the tolerance; what it does not state is unknown."""
        pieces = self.found.pieces
        mine = slice(*np.searchsorted(pieces.left, [row, row + 1]))
        plots = pieces.right[mine][pieces.areas_m2[mine] > float(self.rules[RULE].value or 0.0)]
        rows = []
        for name, (rule_id, _) in CONTROLS.items():
            rule, stated = self.rules[rule_id], float(self.stated[name][row])
            measured = None if np.isnan(stated) else stated
            for plot in plots[~np.isnan(self.limits[name][plots])].tolist():
                limit = float(self.limits[name][plot])
                rows.append({
                    "plan": self.plots.ids[plot], "control": name, "rule_id": rule.id, "measured": measured,
                    "limit": limit, "unit": rule.unit, "verdict": rule.judged(measured, limit),
                    "source": f"{rule.source} {rule.clause}", "confidence": rule.confidence,
                })  # fmt: skip
        return rows

    def part(self, row: int) -> dict[str, Any]:
        pieces = self.found.pieces
        i, j, area = int(pieces.left[row]), int(pieces.right[row]), float(pieces.areas_m2[row])
        return {
            "project": self.projects.ids[i], "plan": self.plots.ids[j], "planned_use": self.uses[i],
            "plan_code": self.codes[j], "verdict": self.found.fit[row], "area_m2": area, "area_mu": area / MU_M2,
        }  # fmt: skip


_VERDICT: dict[str, Any] = {"type": "string", "enum": list(WORST_FIRST)}
_M2: dict[str, Any] = {"type": ["number", "null"], "x-unit": "m2"}
_MU: dict[str, Any] = {"type": ["number", "null"], "x-unit": "mu"}
_TEXT: dict[str, Any] = {"type": ["string", "null"]}
_CONTROL: dict[str, Any] = {
    "type": "object",
    "properties": {
        "plan": _TEXT, "control": {"enum": list(CONTROLS)}, "rule_id": _TEXT, "measured": {"type": ["number", "null"]},
        "limit": {"type": "number"}, "unit": _TEXT, "verdict": _VERDICT, "source": _TEXT, "confidence": _TEXT,
    },
}  # fmt: skip
_PROJECT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "project": _TEXT, "planned_use": _TEXT, "area_m2": _M2, "area_mu": _MU, "rule_id": _TEXT, "measured": _M2,
        "limit": _M2, "limit_share_pct": {"type": "number", "x-unit": "%"}, "unit": _TEXT, "verdict": _VERDICT,
        "source": _TEXT, "confidence": _TEXT, **{f"{each}_m2": _M2 for each in WORST_FIRST}, "unplanned_m2": _M2,
        "controls_verdict": _VERDICT, "controls": {"type": "array", "items": _CONTROL},
    },
}  # fmt: skip

PROCESS = Process(
    id="plan-compliance",
    title=Title("规划符合性审查", "Plan compliance"),
    description=Title(
        "项目用途与规划用地用海是否一致（同一分类体系内按代码前缀比较），逐块给出面积和结论；"
        "并核对项目自报的容积率、密度、绿地率、高度。",
        "Whether the use of projects is the one the plan has for their ground (by beginnings of codes, in one code "
        "system only), with the area of each part; plot ratio, density, green "
        "and height that a project states of itself too.",
    ),
    inputs={
        "project": Parameter(
            Title("项目用地", "Projects"), SCHEMA,
            description=Title(
                "须有 planned_use 和 code_system；可有 far、density_pct、green_pct、height_m",
                "With planned_use and code_system; may have far, density_pct, green_pct, height_m",
            ),
        ),
        "land_plan": Parameter(
            Title("规划用地用海", "Planned land use"), SCHEMA, False,
            Title("缺省为本市同名图层", "The city's layer of this name when absent"),
        ),
        "tolerance_m2": Parameter(
            Title("面积容差", "Tolerance"), {"type": "number", "minimum": 0, "maximum": 1e6, "x-unit": "m2"}, False,
            Title("缺省为规则的 1 平方米；等于容差为通过", "The rule's own 1 m² when absent; equal to it passes"),
        ),
        "tolerance_share_pct": Parameter(
            Title("面积比例容差", "Tolerance as a share of the project"),
            {"type": "number", "minimum": 0, "maximum": 100, "x-unit": "%"}, False,
            Title("缺省为规则的 0.1%", "The rule's own 0.1 % when absent"),
        ),
        "limit": Parameter(
            Title("最多列出的项目", "Projects listed at most"),
            {"type": "integer", "minimum": 1, "maximum": 100_000, "default": 1_000}, False,
        ),
        "crs": place.ANSWER_CRS,
    },
    outputs={
        "verdict": Parameter(Title("结论", "Worst verdict"), _VERDICT),
        "n_projects": Parameter(Title("项目数", "Number of projects"), {"type": "integer"}),
        "counts": Parameter(Title("各结论的项目数", "Projects by verdict"), {"type": "object"}),
        "rule_id": Parameter(Title("规则", "Rule"), {"type": "string"}),
        "class_system": Parameter(Title("分类体系", "Code system"), {"type": "string"}),
        "plan_overlap_m2": Parameter(Title("规划图层内部重叠", "Overlaps inside the plan"), _M2),
        "is_complete": Parameter(Title("是否全部列出", "All projects are listed"), {"type": "boolean"}),
        "projects": Parameter(
            Title("逐项目结果", "By project, those that do not pass first kept"), {"type": "array", "items": _PROJECT}
        ),
        "parts": Parameter(Title("各部分", "Parts of projects"), place.FEATURES_OUT, media_type=place.GEOJSON),
    },
    function=plan_compliance,
    keywords=("plan", "compliance", "规划符合性", "用地用海"),
)  # fmt: skip
