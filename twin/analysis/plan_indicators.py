"""P07 plan-indicators: the register of indicators, each against its target, for the city and every town in one call.

Numerators and denominators of towns add up to the city's; what lies outside the city or has no place is told apart.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from layers.catalogue import Title
from layers.errors import InvalidInput
from twin.analysis import features_input
from twin.analysis.place import ANSWER_CRS, AREAS, FEATURES_OUT, GEOJSON, features, geojson
from twin.analysis.process import Parameter, Process
from twin.analysis.progress import SILENT, Progress
from twin.analysis.verdict import worst

if TYPE_CHECKING:
    from twin.city import City
    from twin.supervision.indicators import Indicator, Source, Value, Zones


def plan_indicators(
    city: "City",
    *,
    indicators: list[str] | None = None,
    definitions: Sequence[Mapping[str, Any]] = (),
    targets: Mapping[str, float] | None = None,
    xzqdm: str | int | None = None,
    level: str = "town",
    zones: Mapping[str, Any] | None = None,
    layers: Mapping[str, Mapping[str, Any]] | None = None,
    datetime: str | None = None,
    forecast: bool = False,
    record: bool = False,
    crs: str | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Values, states and verdicts of indicators, by zone; see the descriptions of the inputs.

    Raises
    ------
    InvalidInput, NotFound
        Named after the input at fault: a definition that does not fit, a code that no unit has, `record` of what is
        not the city's own.
    """
    from twin.supervision import history
    from twin.supervision.indicators import evaluate

    if record and (definitions or targets or layers or zones is not None or datetime is not None):
        raise InvalidInput("record: only values of the city's own data and definitions are kept.", "Leave it out.")
    asked = chosen(city, indicators, definitions, targets, moment_of(datetime))
    source = source_of(city, layers, datetime, asked, progress)
    where = zones_of(source, level, xzqdm, zones)
    told = []
    for number, each in enumerate(asked):
        source.progress = progress.part(100.0 * number / len(asked), 100.0 * (number + 1) / len(asked))
        source.progress(0, each.id)
        told.append(evaluate(each, source, where))
    rows = [described(each) for each in told]
    if record:
        history.record(city, told, where)
    if forecast:
        for row, value in zip(rows, told, strict=True):
            row["forecast"] = history.forecast_of(city, value, where.code).to_dict()
            days, values = history.series(city, value.indicator.id, where.code)
            row["history"] = [{"day": day.isoformat(), "value": each} for day, each in zip(days, values, strict=True)]
    states = [row["state"] for row in rows]
    return {
        "indicators": rows,
        "verdict": worst(value.city.verdict for value in told if value.indicator.target is not None),
        "states": {state: states.count(state) for state in dict.fromkeys(states)},
        "zones": _map(city, where, told, crs),
        "zone": {"xzqdm": where.code, "name": where.name, "level": level, "overlap_m2": where.overlap_m2},
    }


def chosen(
    city: "City",
    ids: Sequence[str] | None,
    definitions: Sequence[Mapping[str, Any]] = (),
    targets: Mapping[str, float] | None = None,
    moment: dt.datetime | None = None,
) -> "list[Indicator]":
    """The indicators that are asked for: the register's of the day, with what the asker defines and wants."""
    from dataclasses import replace

    from twin.supervision.indicators import definition

    day = (moment or dt.datetime.now(dt.UTC)).astimezone(dt.timezone(dt.timedelta(hours=8))).date()
    known = definition.load(city.folder, day)
    if definitions:
        known = definition.given(known, definitions)
        ids = [str(each["id"]) for each in definitions] if ids is None else ids
    for name in targets or {}:
        definition.chosen(known, [name], "targets")
    changed = {name: replace(known[name], target=float(target)) for name, target in (targets or {}).items()}
    return [changed.get(each.id, each) for each in definition.chosen(known, ids)]


def source_of(
    city: "City",
    layers: Mapping[str, Mapping[str, Any]] | None,
    moment: str | None,
    asked: "Sequence[Indicator]",
    progress: Progress = SILENT,
) -> "Source":
    """The city with some layers given by the asker; InvalidInput for one that no indicator reads."""
    from twin.supervision.indicators import Source
    from twin.supervision.indicators.admin import LAYER

    read = {LAYER}.union(*(_layers(each.measure) for each in asked))
    for name in layers or {}:
        if name not in read:
            raise InvalidInput(
                f"layers: no indicator asked for reads {name!r}.", f"They read {', '.join(sorted(read))}."
            )
    return Source(city, layers or {}, moment_of(moment), progress)


def zones_of(source: "Source", level: str, xzqdm: str | int | None, zones: Mapping[str, Any] | None) -> "Zones":
    """Where values are told: areas that are given, else admin units of a level. A code may be written as a number."""
    from typing import cast

    from twin.supervision.indicators import admin, of_city, of_features

    if zones is None:
        return of_city(source, cast(admin.Level, level), None if xzqdm is None else str(xzqdm))
    if xzqdm is not None:
        raise InvalidInput("zones: give zones or xzqdm, not both.")
    return of_features(features(source.city, "zones", zones, kinds=AREAS), source.city.config.title_in("zh"))


def moment_of(text: str | None) -> dt.datetime | None:
    """A moment given as text."""
    from twin.city import moment

    with features_input.naming("datetime"):
        return moment(text)


def described(value: "Value") -> dict[str, Any]:
    """A value as a JSON object."""
    each, city = value.indicator, value.city
    made: dict[str, Any] = {
        "id": each.id, "rule_id": each.id, "title": each.title.to_dict(), "unit": each.unit, "target": each.target,
        "comparator": each.comparator, "warn_ratio": each.warn_ratio, "clause": each.clause, "source": each.source,
        "confidence": each.confidence, "note": None if each.note is None else each.note.to_dict(),
        "measure": each.measure["kind"], "measured": city.value, "limit": each.target,
        **{name: told for name, told in city.to_dict().items() if name not in {"kind", "xzqdm", "name"}},
        "missing": None if (why := value.why_unknown) is None else why.to_dict(),
        "rows": [row.to_dict() for row in value.zones],
        "apart": [row.to_dict() for row in value.apart], "facts": value.facts,
    }  # fmt: skip
    if value.parts:
        made["parts"] = [
            {"name": name, "weight": weight, "value": part.city.value, "numerator": part.city.numerator,
             "denominator": part.city.denominator, "n_unknown": part.city.n_unknown,
             "rows": [row.to_dict() for row in part.zones]}
            for name, weight, part in value.parts
        ]  # fmt: skip
    return made


def _map(city: "City", zones: "Zones", told: "Sequence[Value]", crs: str | None) -> dict[str, Any]:
    """The zones with the values of all indicators as properties."""
    rows: list[dict[str, Any]] = []
    for index, code in enumerate(zones.codes):
        row: dict[str, Any] = {"xzqdm": code, "name": zones.names[index]}
        for value in told:
            own = value.zones[index] if index < len(value.zones) else None
            row[value.indicator.id] = None if own is None else own.value
            row[f"{value.indicator.id}_state"] = None if own is None else own.state
        rows.append(row)
    return geojson(city, np.asarray(zones.geometry, dtype=object), rows, zones.codes, crs)


def _layers(measure: Any) -> set[str]:
    """Layers that a measure names."""
    if isinstance(measure, Mapping):
        own = {str(measure["layer"])} if isinstance(measure.get("layer"), str) else set()
        return own.union(*(_layers(each) for each in measure.values()))
    return set().union(*(_layers(each) for each in measure)) if isinstance(measure, list | tuple) else set()


LEVEL = Parameter(
    Title("分区级别", "Level of the zones"),
    {"type": "string", "enum": ["city", "county", "town", "village"], "default": "town"},
    required=False,
)
XZQDM = Parameter(
    Title("行政区代码", "Admin code: only this unit"),
    {
        "type": ["string", "integer"],
        "pattern": "^([0-9]{6}|[0-9]{9}|[0-9]{12})$",
        "minimum": 100_000,
        "maximum": 999_999_999_999,
    },
    required=False,
    description=Title(
        "6、9 或 12 位；给出后只统计该单元及其下级",
        "6, 9 or 12 digits; values are then of this unit and what it is made of",
    ),
)
ZONES = Parameter(
    Title("自定分区", "Zones of one's own, instead of admin units"), features_input.SCHEMA, required=False
)
LAYERS = Parameter(
    Title("替代图层", "Layers to be used instead of the city's, by id"),
    {"type": "object", "additionalProperties": features_input.SCHEMA},
    required=False,
)
ROWS: dict[str, Any] = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["xzqdm", "name", "kind", "value", "state", "verdict"],
        "properties": {
            "kind": {"enum": ["zone", "rest", "outside", "unlocated"]},
            "value": {"type": ["number", "null"], "description": "In the unit of the indicator."},
            "state": {"enum": ["ok", "warn", "fail", "review", "unknown", "no-target"]},
            "verdict": {"enum": ["pass", "fail", "review", "unknown"]},
        },
    },
}

PROCESS = Process(
    id="plan-indicators",
    title=Title("规划指标监测", "Plan indicators"),
    description=Title(
        "按指标登记表计算各项指标，与目标值比较（正常、预警、不达标、无法判定），按市、镇、村给出；各镇分子分母之和等于全市。"
        "无位置的记录、城市以外的对象和属性未知的对象单列。",
        "Indicators of the register against their targets (ok, warn, fail, unknown), by city, town and village; "
        "numerators and denominators of towns add up to the city's. What has no place, lies outside or lacks the "
        "attribute is told apart.",
    ),
    inputs={
        "indicators": Parameter(
            Title("指标", "Ids of indicators; all when absent"),
            {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 200},
            required=False,
        ),
        "definitions": Parameter(
            Title("自定指标", "Indicators of one's own, or changes to those there are"),
            {"type": "array", "items": {"type": "object", "required": ["id"]}, "minItems": 1, "maxItems": 200},
            required=False,
            description=Title("结构同 indicators.yaml", "As in indicators.yaml; see docs/analyses/indicators.md"),
        ),
        "targets": Parameter(
            Title("目标值", "Other targets, by id of the indicator; each in the indicator's unit"),
            {"type": "object", "additionalProperties": {"type": "number", "minimum": -1e12, "maximum": 1e12}},
            required=False,
        ),
        "xzqdm": XZQDM,
        "level": LEVEL,
        "zones": ZONES,
        "layers": LAYERS,
        "datetime": Parameter(
            Title("时点", "State of the city at this moment; now when absent"), {"type": "string"}, required=False
        ),
        "forecast": Parameter(
            Title("预测", "Tell when each target is met, from recorded values"),
            {"type": "boolean", "default": False},
            required=False,
        ),
        "record": Parameter(
            Title("存档", "Keep today's values for the forecast"), {"type": "boolean", "default": False}, required=False
        ),
        "crs": ANSWER_CRS,
    },
    outputs={
        "indicators": Parameter(
            Title("指标值", "Values, targets, states and verdicts; of the city and in `rows` of each zone"),
            {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["id", "title", "unit", "target", "value", "state", "verdict", "rows", "apart"],
                    "properties": {"rows": ROWS, "apart": ROWS},
                },
            },
        ),
        "verdict": Parameter(Title("结论", "Worst verdict of those with a target"), {"type": "string"}),
        "states": Parameter(Title("状态计数", "How many are in each state"), {"type": "object"}),
        "zones": Parameter(Title("分区", "Zones with all values"), FEATURES_OUT, media_type=GEOJSON),
        "zone": Parameter(Title("范围", "What the values of the city are of"), {"type": "object"}),
    },
    function=plan_indicators,
    keywords=("indicator", "target", "town"),
    writes=("record",),
)
