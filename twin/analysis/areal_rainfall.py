"""P23 areal-rainfall: the mean rain over a basin from stations, by Thiessen's weights, and its class."""

import datetime as dt
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from layers.catalogue import Title
from layers.ellipsoid_area import areas_m2
from layers.errors import InvalidInput
from twin.analysis import place
from twin.analysis.areal_rainfall_weights import thiessen
from twin.analysis.features_input import SCHEMA
from twin.analysis.process import Parameter, Process
from twin.analysis.verdict import SAME
from twin.supervision.rules import Rule, RuleBook, on_day

if TYPE_CHECKING:
    from twin.city import City

LOCAL = dt.timezone(dt.timedelta(hours=8))
MOST_STATIONS = 5_000
CLASSES = ("none", "light", "moderate", "heavy", "rainstorm", "severe", "extreme")
MOST_MM = 3000.0
CLASS_RULES = {12: "rain-class-12h", 24: "rain-class-24h"}


def tenths(rain_mm: float) -> float:
    """Rain as it is stated: in tenths of a millimetre, half upwards (equal on paper is half)."""
    return float(np.floor(rain_mm * 10 + 0.5 + SAME) / 10)


def class_of(rain_mm: float, rule: Rule) -> str | None:
    """Class of an amount by a rule whose rows say `rain_from_mm`; None where no line fits."""
    row = rule.row({"rain_mm": tenths(rain_mm)})
    return None if row is None else str(row.value)


def class_words(rain_class: str, rule: Rule) -> Title:
    """A class in words."""
    return Title(**rule.parameters["classes"][rain_class])


def areal_rainfall(
    city: "City",
    *,
    stations: Mapping[str, Any],
    basin: Mapping[str, Any],
    property: str = "rain_mm",  # noqa: A002 the word of features
    duration_h: float = 24,
    crs: str | None = None,
) -> dict[str, Any]:
    """Mean rain over the union of the basin's areas; see `PROCESS`."""
    place.answer_crs(city, crs)
    found = place.features(city, "stations", stations, kinds=("Point",), most=MOST_STATIONS)
    areas = place.features(city, "basin", basin, kinds=place.AREAS, properties=())
    whole = shapely.union_all(areas.geometry)
    if property not in found.attributes.column_names:
        raise InvalidInput(f"property: stations have no {property[:60]!r}.", "Name the attribute that holds the rain.")
    rain = _values(found, property)
    has_value = np.isfinite(rain)
    kept = np.flatnonzero(has_value)
    points = shapely.get_coordinates(found.geometry)
    names = [found.ids[k] for k in kept]
    weights, parts = thiessen(points[kept], whole, names)
    mean = float(weights @ rain[kept])
    rows = [
        {"id": found.ids[k], "rain_mm": float(rain[k]), "weight": float(weight)}
        for k, weight in zip(kept, weights, strict=True)
    ]
    answer: dict[str, Any] = {
        "rain_mm": mean, "duration_h": duration_h, "area_m2": float(areas_m2(np.array([whole], object), city.crs)[0]),
        "stations": rows, "left_out": [found.ids[k] for k in np.flatnonzero(~has_value)],
        "parts": place.geojson(city, parts, rows, names, crs),
    }  # fmt: skip
    answer["volume_m3"] = mean / 1000 * answer["area_m2"]
    return answer | _classed(mean, duration_h, on_day(dt.datetime.now(LOCAL).date(), city.folder))


def _values(found: Any, name: str) -> Any:
    rain = place.numbers(found, name, "stations")
    bad = np.flatnonzero(rain < 0)
    if bad.size:
        raise InvalidInput(f"stations: {found.ids[bad[0]]!r} has {name} {rain[bad[0]]:g}, which is negative.")
    far = np.flatnonzero(rain > MOST_MM)
    if far.size:
        raise InvalidInput(
            f"stations: {found.ids[far[0]]!r} has {name} {rain[far[0]]:g}, more than {MOST_MM:g} mm.", "Check its unit."
        )
    return rain


def _classed(rain_mm: float, duration_h: float, rules: RuleBook) -> dict[str, Any]:
    """Class where the duration has a rule (12 h, 24 h)."""
    rule_id = next((rule for hours, rule in CLASS_RULES.items() if abs(hours - duration_h) < SAME), None)
    if rule_id is None:
        return {"class": None}
    rule = rules[rule_id]
    row = rule.row({"rain_mm": tenths(rain_mm)})
    if row is None:
        return {"class": None}
    said = class_words(str(row.value), rule)
    return {
        "class": str(row.value), "class_zh": said.zh, "class_en": said.en, "rain_tenths_mm": tenths(rain_mm),
        "rule_id": rule.id, "clause": rule.clause, "source": rule.source, "confidence": row.confidence,
    }  # fmt: skip


_RAIN = {"type": "number", "minimum": 0, "maximum": 3000, "x-unit": "mm"}
PROCESS = Process(
    id="areal-rainfall",
    title=Title("面雨量", "Areal rainfall"),
    description=Title(
        "用泰森多边形权重求流域面雨量，并按历时分级（12、24小时）；缺测站不参加并列出，同一位置的两站报错。",
        "Mean rain over a basin by Thiessen's weights, with its class for 12 or 24 hours. Stations without a value are "
        "left out and listed; two stations at one place are an error.",
    ),
    inputs={
        "stations": Parameter(Title("雨量站（点）", "Rain stations, points with their rain"), SCHEMA),
        "basin": Parameter(Title("流域（面）", "Basin, areas"), SCHEMA),
        "property": Parameter(
            Title("雨量属性", "Attribute of the rain in mm"),
            {"type": "string", "minLength": 1, "default": "rain_mm"}, required=False,
        ),
        "duration_h": Parameter(
            Title("历时", "Duration of the rain"),
            {"type": "number", "exclusiveMinimum": 0, "maximum": 240, "default": 24, "x-unit": "h"}, required=False,
        ),
        "crs": place.ANSWER_CRS,
    },
    outputs={
        "rain_mm": Parameter(Title("面雨量", "Mean rain"), _RAIN),
        "rain_tenths_mm": Parameter(Title("面雨量（0.1毫米）", "Mean rain as it is classed"), _RAIN, required=False),
        "duration_h": Parameter(Title("历时", "Duration"), {"type": "number", "x-unit": "h"}),
        "class": Parameter(
            Title("等级", "Class; null where there is no rule"),
            {"type": ["string", "null"], "enum": [*CLASSES, None]},
        ),
        "class_zh": Parameter(Title("等级名称", "Class in Chinese"), {"type": "string"}, required=False),
        "class_en": Parameter(Title("等级名称（英文）", "Class in English"), {"type": "string"}, required=False),
        "rule_id": Parameter(Title("规则", "Rule"), {"type": "string"}, required=False),
        "clause": Parameter(Title("条款", "Clause"), {"type": "string"}, required=False),
        "source": Parameter(Title("来源", "Source"), {"type": "string"}, required=False),
        "confidence": Parameter(Title("把握", "Confidence"), {"type": "string"}, required=False),
        "area_m2": Parameter(
            Title("流域面积（椭球）", "Area of the basin on the ellipsoid"), {"type": "number", "x-unit": "m2"}
        ),
        "volume_m3": Parameter(Title("降水总量", "Volume of the rain"), {"type": "number", "x-unit": "m3"}),
        "stations": Parameter(
            Title("各站权重", "Stations with their weights, which sum to 1"),
            {"type": "array", "items": {"type": "object", "properties": {
                "id": {"type": "string"}, "rain_mm": _RAIN, "weight": {"type": "number", "x-unit": "1"}}}},
        ),
        "left_out": Parameter(Title("缺测站", "Stations left out"), {"type": "array", "items": {"type": "string"}}),
        "parts": Parameter(
            Title("泰森多边形", "Part of the basin of each station"), place.FEATURES_OUT, media_type=place.GEOJSON
        ),
    },
    function=areal_rainfall,
    keywords=("rain", "Thiessen", "basin"),
    is_quick=True,
)  # fmt: skip
