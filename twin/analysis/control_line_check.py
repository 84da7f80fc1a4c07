"""P04 control-line-check: how much of projects lies on permanent basic farmland, inside the ecological red line, and
outside the urban development boundary.

A line that the city does not have, that has no feature or no date is `unknown`; it never passes. Overlaps within a line
count once. Works on a million parcels: they are read in batches, and only what crosses a line is cut.
"""

import datetime as dt
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from layers.catalogue import Title
from layers.ellipsoid_area import MU_M2
from layers.errors import InvalidInput
from twin.analysis import features_input, place
from twin.analysis.control_lines import USE, Against, Held, Line, city_line, given_line, held
from twin.analysis.features_input import SCHEMA
from twin.analysis.land_classes import known_properties
from twin.analysis.process import Parameter, Process
from twin.analysis.progress import SILENT, Progress
from twin.analysis.verdict import WORST_FIRST, Verdict, worst
from twin.store.interface import Features
from twin.supervision.rules import Rule, on_day

if TYPE_CHECKING:
    from twin.city import City

RULES = {"pbf": "pbf-occupied", "eco_redline": "eco-redline-occupied", "urban_boundary": "urban-boundary-outside"}
ZONE = dt.timezone(dt.timedelta(hours=8))

Part = tuple[shapely.Geometry, dict[str, Any]]


class _Answer:
    """What is told of projects as they come: all verdicts, and at most `limit` rows, first those that do not pass."""

    def __init__(self, lines: list[Line], limit: int) -> None:
        self.lines, self.limit, self.n = lines, limit, 0
        self.worst: Counter[Verdict] = Counter()
        self.by_line: list[Counter[Verdict]] = [Counter() for _ in lines]
        self.totals_m2 = np.zeros(len(lines))
        self._passed: list[tuple[int, dict[str, Any], list[Part]]] = []
        self._others: list[tuple[int, dict[str, Any], list[Part]]] = []

    def add(self, batch: Features, found: Held) -> None:
        self.worst.update(found.worst)
        for i, each in enumerate(found.against):
            self.by_line[i].update(each.verdicts.tolist())
            self.totals_m2[i] += each.measured_m2.sum()
        for row, verdict in enumerate(found.worst):
            kept = self._passed if verdict == "pass" else self._others
            if len(kept) < self.limit:
                kept.append((self.n + row, *_project(batch.ids[row], found, row)))
        self.n += len(batch)

    def told(self, city: "City", crs: str | None) -> dict[str, Any]:
        listed = sorted([*self._others, *self._passed[: self.limit - len(self._others)]], key=lambda each: each[0])
        parts = [part for _, _, own in listed for part in own]
        shapes = np.array([*[shape for shape, _ in parts], None], object)[:-1]
        return {
            "verdict": worst(self.worst),
            "n_projects": self.n,
            "counts": {each: self.worst[each] for each in WORST_FIRST},
            "lines": [_summary(*each) for each in zip(self.lines, self.by_line, self.totals_m2.tolist(), strict=True)],
            "is_complete": self.n == len(listed),
            "projects": [row for _, row, _ in listed],
            "parts": place.geojson(city, shapes, [values for _, values in parts], target=crs),
        }


def control_line_check(
    city: "City",
    *,
    project: Mapping[str, Any],
    pbf: Mapping[str, Any] | None = None,
    eco_redline: Mapping[str, Any] | None = None,
    urban_boundary: Mapping[str, Any] | None = None,
    tolerance_m2: float | None = None,
    tolerance_share_pct: float | None = None,
    limit: int = 1_000,
    crs: str | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Projects against the three lines, which are the city's layers of these names when absent.

    The two tolerances take the place of the rules' own.
    """
    place.answer_crs(city, crs)
    wanted = known_properties(city, "project", project, USE)
    batches = place.batches(city, "project", project, kinds=place.AREAS, properties=wanted, is_dense=True)
    region, batches = _region(batches)
    rules = on_day(dt.datetime.now(ZONE).date(), city.folder)
    lines = []
    for name, given in (("pbf", pbf), ("eco_redline", eco_redline), ("urban_boundary", urban_boundary)):
        rule = _tolerant(rules[RULES[name]], tolerance_m2, tolerance_share_pct)
        lines.append(city_line(city, name, rule, region) if given is None else given_line(city, name, rule, given))
    answer = _Answer(lines, limit)
    n = _expected(city, project)
    for batch in batches:
        done = 100.0 * answer.n / n if n else 0.0
        here = progress.part(done, done + 100.0 * len(batch) / n if n else 0.0)
        answer.add(batch, held(batch, lines, city.crs, here))
    if not answer.n:
        raise InvalidInput("project has no feature.", "Check its filter, bbox and ids.")
    return answer.told(city, crs)


def _region(batches: Iterator[Features]) -> tuple[shapely.Geometry | None, Iterator[Features]]:
    """Where the projects are, if they are so few that they come as one batch (else None); and all batches."""
    taken = list(islice(batches, 2))
    only = taken[0] if len(taken) == 1 and len(taken[0]) else None
    return None if only is None else shapely.box(*shapely.total_bounds(only.geometry)), chain(taken, batches)


def _expected(city: "City", given: Mapping[str, Any]) -> int:
    """How many projects will come; 0 where it is not known."""
    if set(given) != {"collection"}:
        return 0
    with features_input.naming("project"):
        return city.store.layer(str(given["collection"]), city.scope).count


def _tolerant(rule: Rule, tolerance_m2: float | None, share_pct: float | None) -> Rule:
    share = rule.parameters["share_pct"] if share_pct is None else share_pct
    value = rule.value if tolerance_m2 is None else tolerance_m2
    return replace(rule, value=value, parameters={**rule.parameters, "share_pct": share})


def _summary(line: Line, counts: Counter[Verdict], total_m2: float) -> dict[str, Any]:
    known = line.cover is not None
    return {
        "line": line.name,
        "rule_id": line.rule.id,
        "verdict": worst(counts),
        "counts": {each: counts[each] for each in WORST_FIRST},
        "measures": line.rule.parameters["measures"],
        "area_m2": total_m2 if known else None,
        "area_mu": total_m2 / MU_M2 if known else None,
        "note": _words(line.missing),
    }


def _project(name: str, found: Held, row: int) -> tuple[dict[str, Any], list[Part]]:
    area = float(found.areas_m2[row])
    rows, parts = [], []
    for each in found.against:
        told = _row(each, row, area)
        rows.append(told)
        shape = each.part(row, found.shapes[row])
        if shape is not None:
            kept = {key: told[key] for key in ("line", "rule_id", "measures", "verdict", "area_mu")}
            parts.append((shape, {"project": name, "area_m2": told["measured"], **kept}))
    values = {"project": name, "area_m2": area, "area_mu": area / MU_M2, "verdict": found.worst[row], "lines": rows}
    return values, parts


def _row(each: Against, row: int, area_m2: float) -> dict[str, Any]:
    rule, measured = each.line.rule, float(each.measured_m2[row])
    is_known = not np.isnan(measured)
    return {
        "line": each.line.name,
        "rule_id": rule.id,
        "measures": rule.parameters["measures"],
        "measured": measured if is_known else None,
        "limit": rule.value,
        "limit_share_pct": rule.parameters["share_pct"],
        "unit": rule.unit,
        "area_mu": measured / MU_M2 if is_known else None,
        "share_pct": 100.0 * measured / area_m2 if is_known and area_m2 > 0 else None,
        "verdict": each.verdicts[row],
        "source": f"{rule.source} {rule.clause}",
        "confidence": rule.confidence,
        "note": _words(each.notes[row]),
    }


def _words(title: Title | None) -> dict[str, str] | None:
    return None if title is None else {"zh": title.zh, "en": title.en}


_LINE = "缺省为本市同名图层", "the city's layer of this name when absent"
_VERDICT: dict[str, Any] = {"type": "string", "enum": list(WORST_FIRST)}
_COUNTS: dict[str, Any] = {"type": "object", "properties": {each: {"type": "integer"} for each in WORST_FIRST}}
_M2: dict[str, Any] = {"type": ["number", "null"], "x-unit": "m2"}
_MU: dict[str, Any] = {"type": ["number", "null"], "x-unit": "mu"}
_PCT: dict[str, Any] = {"type": ["number", "null"], "x-unit": "%"}
_ROW: dict[str, Any] = {
    "type": "object",
    "properties": {
        "line": {"type": "string"}, "rule_id": {"type": "string"}, "measures": {"enum": ["inside", "outside"]},
        "measured": _M2, "limit": _M2, "limit_share_pct": _PCT, "unit": {"type": "string"}, "area_mu": _MU,
        "share_pct": _PCT, "verdict": _VERDICT, "source": {"type": "string"}, "confidence": {"type": "string"},
        "note": {"type": ["object", "null"]},
    },
}  # fmt: skip
_PROJECT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "project": {"type": "string"}, "area_m2": _M2, "area_mu": _MU, "verdict": _VERDICT,
        "lines": {"type": "array", "items": _ROW},
    },
}  # fmt: skip
_LINES: dict[str, Any] = {
    "type": "object",
    "properties": {
        "line": {"type": "string"}, "rule_id": {"type": "string"}, "verdict": _VERDICT, "counts": _COUNTS,
        "measures": {"enum": ["inside", "outside"]}, "area_m2": _M2, "area_mu": _MU,
        "note": {"type": ["object", "null"]},
    },
}  # fmt: skip

PROCESS = Process(
    id="control-line-check",
    title=Title("三条控制线检查", "Control line check"),
    description=Title(
        "项目占用永久基本农田、生态保护红线的面积和位于城镇开发边界外的面积（椭球面积），逐线给出结论；没有数据的控制线为未知。",
        "Area of projects on permanent basic farmland, inside the ecological red line and outside the urban "
        "development boundary (on the ellipsoid), with a verdict for each line; a line without data is unknown.",
    ),
    inputs={
        "project": Parameter(
            Title("项目用地", "Projects"), SCHEMA,
            description=Title(
                "可带 planned_use 和 code_system：是否为城镇用途", "May have planned_use and code_system: the use"
            ),
        ),
        "pbf": Parameter(Title("永久基本农田", "Permanent basic farmland"), SCHEMA, False, Title(*_LINE)),
        "eco_redline": Parameter(Title("生态保护红线", "Ecological red line"), SCHEMA, False, Title(*_LINE)),
        "urban_boundary": Parameter(Title("城镇开发边界", "Urban development boundary"), SCHEMA, False, Title(*_LINE)),
        "tolerance_m2": Parameter(
            Title("面积容差", "Tolerance"), {"type": "number", "minimum": 0, "maximum": 1e6, "x-unit": "m2"}, False,
            Title("缺省为规则的 1 平方米；等于容差为通过", "The rules' own 1 m² when absent; equal to it passes"),
        ),
        "tolerance_share_pct": Parameter(
            Title("面积比例容差", "Tolerance as a share of the project"),
            {"type": "number", "minimum": 0, "maximum": 100, "x-unit": "%"}, False,
            Title("缺省为规则的 0.1%", "The rules' own 0.1 % when absent"),
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
        "counts": Parameter(Title("各结论的项目数", "Projects by verdict"), _COUNTS),
        "lines": Parameter(Title("逐线汇总", "By line"), {"type": "array", "items": _LINES}),
        "is_complete": Parameter(Title("是否全部列出", "All projects are listed"), {"type": "boolean"}),
        "projects": Parameter(
            Title("逐项目结果", "By project, those that do not pass first kept"), {"type": "array", "items": _PROJECT}
        ),
        "parts": Parameter(
            Title("占用或超出的部分", "Parts inside or outside"), place.FEATURES_OUT, media_type=place.GEOJSON
        ),
    },
    function=control_line_check,
    keywords=("control line", "三条控制线", "永久基本农田", "生态保护红线", "城镇开发边界"),
)  # fmt: skip
