"""What is covered: important facilities with a live sensor (water); indicators of the plans below target (one map)."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import shapely

from layers.catalogue import Title
from twin.analysis.coverage_indicators_reach import straight_m
from twin.analysis.place import words
from twin.store.interface import Features
from twin.supervision.check import Check, Context, Finding, Passed, finding
from twin.supervision.indicators import Source, definition, evaluate, of_city
from twin.supervision.indicators import condition as conditions
from twin.supervision.indicators.condition import TRUE, UNKNOWN
from twin.supervision.indicators.near import Devices, is_near
from twin.supervision.rules import softened

FACILITIES: dict[str, Title] = {
    "river": Title("河流", "River"), "seawall": Title("海塘", "Seawall"), "dyke": Title("堤防", "Dyke"),
    "reservoir": Title("水库", "Reservoir"), "hydraulic_structure": Title("水利工程", "Hydraulic structure"),
}  # fmt: skip
SENSOR = "sensor"
HOST_REACH_M = 5_000.0
"""A sensor that names its host may stand so far from the place looked at."""
_REGISTER = "S15-monitored-facilities"


def _facilities(context: Context) -> Iterator[Finding | Passed]:
    rule = context.rules["facility-monitored"]
    limit = float(rule.value or 0.0)
    live, maybe = _devices(context, max(HOST_REACH_M, limit))
    for layer, title in FACILITIES.items():
        found = context.read(layer, properties=("name",))
        if not len(found):
            continue
        truth = is_near(found, layer, live, maybe, limit)
        yield Passed(rule.id, int((truth == TRUE).sum()))
        rows = np.flatnonzero(truth != TRUE)
        far = straight_m(shapely.force_2d(found.geometry[rows]), shapely.force_2d(live[0]))
        names = words(found, "name")
        for row, distance in zip(rows.tolist(), far.tolist(), strict=True):
            is_open = truth[row] == UNKNOWN
            name = names[row] or found.ids[row]
            said = (
                Title(
                    f"{title.zh}{name}：感知设备状态未知或设施无位置", f"{title.en} {name}: state or place is not known"
                )
                if is_open
                else Title(f"{title.zh}{name} 附近没有在线感知设备", f"{title.en} {name} has no live sensor near it")
            )
            yield finding(
                rule, (f"{layer}/{found.ids[row]}",), distance if np.isfinite(distance) else None,
                found.geometry[row], said, verdict="unknown" if is_open else softened("fail", rule.confidence),
            )  # fmt: skip


def _devices(context: Context, reach_m: float) -> tuple[Devices, Devices]:
    """Sensors that are alive, and those of unknown state, by what the register of indicators takes for alive."""
    known = definition.load(context.city.folder).get(_REGISTER)
    given: Any = known.measure["devices"] if known is not None else [{"layer": SENSOR}]
    own: Mapping[str, Any] = next((each for each in given if each["layer"] == SENSOR), {})
    columns = tuple(sorted({"host_id", *conditions.told_by(own, "live", "known")}))
    found: Features = context.read(SENSOR, reach_m=reach_m, properties=columns)
    truth = conditions.told(own, "live", found.attributes, len(found))
    hosts = words(found, "host_id")
    made: list[Devices] = []
    for code in (TRUE, UNKNOWN):
        rows = np.flatnonzero(truth == code)
        made.append((found.geometry[rows], {host for row in rows.tolist() if (host := hosts[row])}))
    return made[0], made[1]


def _targets(context: Context) -> Iterator[Finding | Passed]:
    """Only for the whole city: a target of the city says nothing of one site."""
    if context.region is not None:
        return
    rule = context.rules["indicator-target"]
    source = Source(context.city, {}, context.moment, context.progress)
    zones = of_city(source, "city")
    where = (f"admin_unit/{zones.code}" if zones.code else "city",)
    for each in definition.load(context.city.folder, context.rules.day).values():
        if each.target is None:
            continue
        value = evaluate(each, source, zones)
        own = replace(
            rule, title=each.title, clause=each.clause, source=each.source, unit=each.unit, value=each.target,
            comparator=each.comparator, confidence=each.confidence,
        )  # fmt: skip
        yield finding(
            own, where, value.city.value, zones.whole, verdict=value.city.verdict, part=each.id,
            note=value.why_unknown or each.note, evidence=f"/processes/coverage-indicators?indicator={each.id}",
        )  # fmt: skip


CHECKS = (
    Check(
        id="monitored-facilities",
        supervision="water",
        title=Title("重要设施感知覆盖", "Important facilities with live sensors"),
        rules=("facility-monitored",),
        needs=(SENSOR,),
        run=_facilities,
    ),
    Check(
        id="indicator-targets",
        supervision="one-map",
        title=Title("规划指标与目标", "Indicators against their targets"),
        rules=("indicator-target",),
        needs=(),
        run=_targets,
        is_of_the_city=True,
    ),
)
