"""The three supervisions as processes: one call for a site, a box or the whole city; findings kept when asked."""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from layers import crs as crs_module
from layers.catalogue import Title
from layers.errors import InvalidInput
from twin.analysis import place
from twin.analysis.features_input import naming
from twin.analysis.process import Parameter, Process
from twin.analysis.progress import SILENT, Progress
from twin.analysis.verdict import WORST_FIRST
from twin.supervision import engine, finding
from twin.supervision.check import SUPERVISIONS, Finding, Supervision
from twin.supervision.engine import CheckResult, Run

if TYPE_CHECKING:
    from twin.city import City


def supervise(
    city: "City",
    *,
    supervision: Supervision,
    site: str | None = None,
    bbox: list[float] | None = None,
    crs: str | None = None,
    checks: list[str] | None = None,
    datetime: str | None = None,
    keep: bool = False,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Run a supervision; see `engine.run`. `crs` is of the box and of the answer; CRS84 when absent."""
    from twin.city import moment

    if site is not None and bbox is not None:
        raise InvalidInput("site and bbox are both given.", "Give one of them, or neither for the whole city.")
    with naming("datetime"):
        at = moment(datetime)
    if checks is not None:
        with naming("checks"):
            engine.chosen(supervision, checks)
    run = engine.run(
        city, supervision, region=None if bbox is None else box_of(city, bbox, crs), site=site, checks=checks,
        moment=at, progress=progress,
    )  # fmt: skip
    answer: dict[str, Any] = {
        "supervision": supervision,
        "counts": run.counts(),
        "checks": [told(result) for result in run.results],
        "findings": features(city, run, crs),
    }
    if run.site is not None:
        answer["site"] = run.site
    if keep:
        stored = finding.store(city, run)
        answer["stored"] = {"opened": stored.opened, "again": stored.again, "reopened": stored.reopened,
                            "closed": stored.closed}  # fmt: skip
    return answer


def box_of(city: "City", bbox: list[float], given: str | None) -> shapely.Geometry:
    """A box in the city's CRS; InvalidInput where it is none or lies outside the city."""
    west, south, east, north = (float(each) for each in bbox)
    if not np.isfinite(bbox).all() or west >= east or south >= north:
        raise InvalidInput("bbox is no box.", "Give west, south, east, north.")
    region = crs_module.transform_box(place.answer_crs(city, given), city.crs, (west, south, east, north))
    place.check_inside(city, "bbox", np.array([region], dtype=object))
    return region


def told(result: CheckResult) -> dict[str, Any]:
    """A check with its rules: verdict, how many things have which."""
    rules = dict.fromkeys([*result.check.rules, *(each.rule for each in result.findings), *result.passed])
    return {
        "check": result.check.id,
        "title": result.check.title.to_dict(),
        "seconds": round(result.seconds, 3),
        "rules": [
            {"rule_id": rule, "verdict": result.verdict(rule), "counts": result.counts(rule)}
            | ({"title": result.titles[rule].to_dict()} if rule in result.titles else {})
            for rule in rules
        ],
    }  # fmt: skip


def features(city: "City", run: Run, target: str | None) -> dict[str, Any]:
    """All findings as GeoJSON, the worst first."""
    order = {name: at for at, name in enumerate(WORST_FIRST)}
    rows = [(result.check.id, each) for result in run.results for each in result.findings]
    rows.sort(key=lambda row: order[row[1].verdict])
    shapes = np.array([each.geometry for _, each in rows] + [None], dtype=object)[:-1]
    properties = [row_of(check, each) for check, each in rows]
    ids = [finding.finding_id(run.supervision, each) for _, each in rows]
    return place.geojson(city, shapes, properties, ids, target)


def row_of(check: str, found: Finding) -> Mapping[str, Any]:
    """A finding as the row of an answer."""
    row: dict[str, Any] = {
        "check": check, "rule_id": found.rule, "title": found.title.to_dict(), "objects": list(found.objects),
        "measured": found.measured, "limit": found.limit, "unit": found.unit, "verdict": found.verdict,
        "clause": found.clause, "source": found.source, "confidence": found.confidence,
    }  # fmt: skip
    if found.note is not None:
        row["note"] = found.note.to_dict()
    if found.time is not None:
        row["time"] = found.time.isoformat()
    if found.evidence is not None:
        row["evidence"] = found.evidence
    return row


_INPUTS = {
    "site": Parameter(
        Title("地块或工地：工地编号，或“图层/编号”", "Site: id of a construction site, or layer/id of a feature"),
        {"type": "string", "minLength": 1, "maxLength": 300},
        required=False,
    ),
    "bbox": Parameter(
        Title("范围：西, 南, 东, 北", "Box: west, south, east, north"),
        {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4},
        required=False,
    ),
    "crs": place.ANSWER_CRS,
    "checks": Parameter(
        Title("检查项代号，缺省为全部", "Ids of checks, all when absent"),
        {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 50},
        required=False,
    ),
    "datetime": Parameter(
        Title("时点", "State of that moment; now when absent"), {"type": "string", "maxLength": 40}, required=False
    ),
    "keep": Parameter(
        Title("保存发现", "Keep the findings in the layer `finding`"),
        {"type": "boolean", "default": False},
        required=False,
    ),
}
_OUTPUTS = {
    "supervision": Parameter(Title("监管", "Supervision"), {"type": "string"}),
    "site": Parameter(Title("工地", "Site"), {"type": "string"}),
    "counts": Parameter(Title("结论计数", "How many things have which verdict"), {"type": "object"}),
    "checks": Parameter(Title("检查与规则", "Checks and rules"), {"type": "array", "items": {"type": "object"}}),
    "findings": Parameter(Title("发现", "Findings"), place.FEATURES_OUT, media_type=place.GEOJSON),
    "stored": Parameter(Title("入库结果", "What keeping them did"), {"type": "object"}),
}
_DESCRIPTION = {
    "construction": Title(
        "对一个工地、一个范围或全市逐条核对工地监管规则；缺数据的规则给出“无法判定”。",
        "Holds every rule of construction sites against a site, a box or the city; a rule without data is unknown.",
    ),
    "water": Title(
        "对一个对象、一个范围或全市逐条核对水务监管规则；缺数据的规则给出“无法判定”。",
        "Holds every rule of water supervision against a feature, a box or the city; a rule without data is unknown.",
    ),
    "one-map": Title(
        "对一个地块、一个范围或全市逐条核对自然资源监管规则；缺数据的规则给出“无法判定”。",
        "Holds every rule of land and planning against a feature, a box or the city; a rule without data is unknown.",
    ),
}


def _process(supervision: Supervision) -> Process:
    return Process(
        id=f"supervise-{supervision}",
        title=SUPERVISIONS[supervision],
        description=_DESCRIPTION[supervision],
        inputs=_INPUTS,
        outputs=_OUTPUTS,
        function=partial(supervise, supervision=supervision),
        keywords=("supervision", "rules"),
        writes=("keep",),
    )


PROCESSES = tuple(_process(each) for each in SUPERVISIONS)
