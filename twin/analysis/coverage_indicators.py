"""P33 coverage-indicators: one indicator looked at closely: its value by zone, and what is not covered.

For stations all three spacing metrics are told and the verdict is on the declared one; for service circles, which
distance model was used.
"""

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.catalogue import Title
from layers.errors import InvalidInput
from twin.analysis.place import ANSWER_CRS, FEATURES_OUT, GEOJSON, geojson
from twin.analysis.plan_indicators import (
    LAYERS,
    LEVEL,
    ROWS,
    XZQDM,
    ZONES,
    chosen,
    described,
    moment_of,
    source_of,
    zones_of,
)
from twin.analysis.process import Parameter, Process
from twin.analysis.progress import SILENT, Progress

if TYPE_CHECKING:
    from twin.city import City
    from twin.supervision.indicators import Indicator, Value, Zones

_DISTANCES = {"share-near": "distance_m", "share-reached": "radius_m"}


def coverage_indicators(
    city: "City",
    *,
    indicator: str | None = None,
    definition: Mapping[str, Any] | None = None,
    target: float | None = None,
    distance_m: float | None = None,
    xzqdm: str | int | None = None,
    level: str = "town",
    zones: Mapping[str, Any] | None = None,
    layers: Mapping[str, Mapping[str, Any]] | None = None,
    datetime: str | None = None,
    limit: int = 10_000,
    crs: str | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """One indicator with the things that are not covered or not known; see the descriptions of the inputs.

    Raises
    ------
    InvalidInput, NotFound
        Named after the input at fault.
    """
    from twin.supervision.indicators import evaluate

    if (indicator is None) == (definition is None):
        raise InvalidInput("indicator: give indicator or definition, one of them.", "For example I-04.")
    definitions = () if definition is None else (definition,)
    name = str(definition["id"]) if definition is not None else str(indicator)
    targets = None if target is None else {name: target}
    asked = chosen(city, [name], definitions, targets, moment_of(datetime))
    if distance_m is not None:
        asked = [_with_distance(asked[0], distance_m)]
    source = source_of(city, layers, datetime, asked, progress)
    where = zones_of(source, level, xzqdm, zones)
    told = evaluate(asked[0], source, where)
    features, n_items = _items(city, told, where, limit, crs)
    return described(told) | {"features": features, "n_features": n_items, "is_complete": n_items <= limit}


def _with_distance(each: "Indicator", distance_m: float) -> "Indicator":
    """The same indicator with another distance, for whatever of it is one."""
    from dataclasses import replace

    measure: dict[str, Any] = copy.deepcopy(dict(each.measure))
    kind = str(measure["kind"])
    if kind in _DISTANCES:
        measure[_DISTANCES[kind]] = distance_m
        measure.pop("walk", None)
    elif kind == "share-of-area" and measure["cover"]["kind"] == "discs":
        measure["cover"] |= {"radius_m": distance_m, "is_override": True}
    else:
        raise InvalidInput(f"distance_m: indicator {each.id} has no distance.", "Leave it out.")
    return replace(each, measure=measure)


def _items(city: "City", told: "Value", zones: "Zones", limit: int, crs: str | None) -> tuple[dict[str, Any], int]:
    """What counts against the value or is not known, as features; those of an asked part of the city lie in it."""
    shapes: list[NDArray[np.object_]] = []
    ids: list[str] = []
    rows: list[dict[str, Any]] = []
    total = 0
    k = len(zones)
    for each in told.items:
        keep = np.flatnonzero(each.slot <= k) if zones.is_part else np.arange(len(each.slot))
        total += len(keep)
        keep = keep[: max(limit - len(rows), 0)]
        shapes.append(each.geometry[keep])
        for row in keep.tolist():
            slot = int(each.slot[row])
            ids.append(f"{each.layer}/{each.ids[row]}" if each.ids[row] else f"{each.layer}#{len(ids)}")
            place = {"xzqdm": zones.codes[slot] if slot < k else None, "kind": _kind(slot, k)}
            rows.append({"layer": each.layer, "feature": each.ids[row] or None, "state": each.state, **place})
    geometry = np.concatenate(shapes) if shapes else np.empty(0, object)
    return geojson(city, shapely.force_2d(geometry), rows, ids, crs), total


def _kind(slot: int, k: int) -> str:
    return "zone" if slot < k else ("rest", "outside", "unlocated")[slot - k]


_NUMBER: dict[str, Any] = {"type": ["number", "null"]}
PROCESS = Process(
    id="coverage-indicators",
    title=Title("覆盖类指标", "Coverage indicators"),
    description=Title(
        "计算一项覆盖类指标：长度、数量、面积占比，半径或扇形覆盖，最近距离，服务圈；给出各分区数值、未覆盖的对象、属性未知的对象。",
        "One indicator of coverage: share of length, count or area, discs and sectors, nearest distances, service "
        "circles; by zone, with what is not covered and what is not known.",
    ),
    inputs={
        "indicator": Parameter(
            Title("指标", "Id of an indicator, such as I-04"), {"type": "string", "minLength": 1}, required=False
        ),
        "definition": Parameter(
            Title("自定指标", "An indicator of one's own, as in indicators.yaml"),
            {"type": "object", "required": ["id"]},
            required=False,
        ),
        "target": Parameter(
            Title("目标值", "Another target, in the indicator's unit"),
            {"type": "number", "minimum": -1e12, "maximum": 1e12},
            required=False,
        ),
        "distance_m": Parameter(
            Title("距离", "Another distance or radius; straight, whatever the indicator says"),
            {"type": "number", "minimum": 0, "maximum": 100_000, "x-unit": "m"},
            required=False,
        ),
        "xzqdm": XZQDM,
        "level": LEVEL,
        "zones": ZONES,
        "layers": LAYERS,
        "datetime": Parameter(
            Title("时点", "State of the city at this moment; now when absent"), {"type": "string"}, required=False
        ),
        "limit": Parameter(
            Title("最多列出", "List at most"),
            {"type": "integer", "minimum": 0, "maximum": 100_000, "default": 10_000},
            required=False,
        ),
        "crs": ANSWER_CRS,
    },
    outputs={
        "value": Parameter(Title("数值", "Value, in `unit`"), _NUMBER),
        "unit": Parameter(Title("单位", "Unit"), {"type": "string"}),
        "target": Parameter(Title("目标", "Target, in `unit`"), _NUMBER),
        "verdict": Parameter(Title("结论", "Verdict"), {"enum": ["pass", "fail", "review", "unknown"]}),
        "state": Parameter(Title("状态", "State"), {"type": "string"}),
        **{
            name: Parameter(Title(zh, en), schema)
            for name, zh, en, schema in (
                ("id", "指标", "Id of the indicator", {"type": "string"}),
                ("rule_id", "规则", "Id of the indicator as a rule", {"type": "string"}),
                ("title", "名称", "Chinese and English", {"type": "object"}),
                ("comparator", "比较符", "Of value to target", {"type": "string"}),
                ("warn_ratio", "预警比", "From which share of a maximum it warns", _NUMBER),
                ("clause", "条款", "Words of the plan", {"type": "string"}),
                ("source", "依据", "Document", {"type": "string"}),
                ("confidence", "可信度", "Of target and formula", {"type": "string"}),
                ("note", "说明", "What to know about it", {"type": ["object", "null"]}),
                ("measure", "算法", "Kind of measure", {"type": "string"}),
                ("measured", "实测值", "Same as value", _NUMBER),
                ("limit", "限值", "Same as target", _NUMBER),
                ("numerator", "分子", "What counts: pieces, m, m2 or weight", _NUMBER),
                ("denominator", "分母", "Of what", _NUMBER),
                ("n", "对象数", "Things counted", {"type": "integer"}),
                ("n_unknown", "未知数", "Things left out because not known", {"type": "integer"}),
                ("low", "下限", "Lowest value, whatever the unknown are", _NUMBER),
                ("high", "上限", "Highest value, whatever the unknown are", _NUMBER),
                ("missing", "缺少", "Why there is no value", {"type": ["object", "null"]}),
                ("rows", "分区", "By zone", ROWS),
                ("apart", "单列", "Outside the city, and without place", ROWS),
                ("facts", "过程", "Distance model, spacing metrics and the like", {"type": "object"}),
                ("parts", "组成", "Of a weighted mean", {"type": "array"}),
                ("n_features", "对象数", "Things not covered or not known", {"type": "integer"}),
                ("is_complete", "是否全部列出", "All are listed", {"type": "boolean"}),
            )
        },
        "features": Parameter(
            Title("未覆盖或未知的对象", "What is not covered (`no`) or not known (`unknown`)"),
            FEATURES_OUT,
            media_type=GEOJSON,
        ),
    },
    function=coverage_indicators,
    keywords=("coverage", "indicator", "sensor", "service area"),
)
