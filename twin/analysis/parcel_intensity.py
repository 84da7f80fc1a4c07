"""P08 parcel-intensity: plot ratio, building density and green ratio of parcels, held against the plan.

Plot ratio = floor area above ground of all buildings inside / area of the parcel; density = union of footprints inside
/ area; green ratio = union of green inside / area (GB/T 50280-98, 5.0). A building across a parcel line counts in each
parcel by the share of its footprint there, and is told. Floor area is footprint × storeys above ground. Where a
building's storeys are not known the plot ratio is not known either: what is known is told as `far_at_least`.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.catalogue import Title
from layers.ellipsoid_area import areas_m2
from twin.analysis import place
from twin.analysis.features_input import SCHEMA
from twin.analysis.parcel_intensity_areas import TOUCH_M2, Controls, Intensity, controls_of, intensity, parts
from twin.analysis.parcel_intensity_buildings import (
    COLUMNS,
    RESULTS,
    chosen,
    floors,
    heights,
    number,
    rows_schema,
    standing,
)
from twin.analysis.parcel_intensity_read import areas, areas_or_layer
from twin.analysis.process import Parameter, Process
from twin.analysis.progress import SILENT, Progress
from twin.analysis.verdict import Verdict, worst
from twin.store.interface import Features
from twin.supervision.rules import Confidence, Rule, RuleBook, on_day

if TYPE_CHECKING:
    from twin.city import City

FloatArray = NDArray[np.float64]

FLOORS_FROM = ("floors", "stated", "floors-then-stated", "floors-then-height")
STOREY_M = 3.0
"""Height of a storey where storeys are worked out from a height, which is only done when asked for."""
LOCAL = dt.timezone(dt.timedelta(hours=8))


@dataclass(frozen=True)
class Measure:
    """One of the three numbers: its rule, the plan's attribute, whether the limit is an upper one."""

    name: str
    rule: str
    limit: str
    is_maximum: bool


MEASURES = (
    Measure("far", "plan-far", "far_max", True),
    Measure("density_pct", "plan-density", "density_max_pct", True),
    Measure("green_pct", "plan-green", "green_min_pct", False),
)
LIMITS = tuple(each.limit for each in MEASURES)


def today_rules(city: "City") -> RuleBook:
    """The rules of today, the city's own over ours."""
    return on_day(dt.datetime.now(LOCAL).date(), city.folder)


def floor_areas(found: Features, how: str = "floors", storey_m: float = STOREY_M) -> FloatArray:
    """(n,) floor area above ground in plane m², NaN where it is not known.

    `how`: footprint × storeys; the stated `gfa_m2`; storeys, else stated; storeys, else height / `storey_m` (whole
    storeys, at least one).
    """
    footprint = np.asarray(shapely.area(found.geometry), np.float64)
    counted = footprint * floors(found)
    stated = place.numbers(found, "gfa_m2", "buildings")
    if how == "stated":
        return stated
    if how == "floors-then-stated":
        return np.where(np.isnan(counted), stated, counted)
    if how == "floors-then-height":
        guessed = np.maximum(np.rint(heights(found) / storey_m), 1.0)
        return np.where(np.isnan(counted), footprint * guessed, counted)
    return counted


def ratios(found: Intensity, is_green_known: NDArray[np.bool_]) -> dict[str, FloatArray]:
    """(n,) plot ratio, density and green ratio in percent; NaN where not known; and the plot ratio at least."""
    at_least = found.floor_m2 / found.area_m2
    return {
        "far": np.where(found.n_unknown > 0, np.nan, at_least),
        "far_at_least": at_least,
        "density_pct": 100.0 * found.covered_m2 / found.area_m2,
        "green_pct": np.where(is_green_known, 100.0 * found.green_m2 / found.area_m2, np.nan),
    }


@dataclass(frozen=True)
class Compared:
    """One measure of one parcel against its limit; `is_at_least` where only a lower bound of it is known."""

    rule: Rule
    measured: float
    limit: float
    verdict: Verdict
    confidence: Confidence
    is_at_least: bool = False


def compared(book: RuleBook, measure: Measure, row: int, numbers: dict[str, FloatArray], limits: Controls) -> Compared:
    """How a parcel stands to a limit; what is there already may break an upper one though not all of it is known."""
    rule = book[measure.rule]
    measured, limit = float(numbers[measure.name][row]), float(limits.limit[row])
    sure: Confidence = "low" if limits.is_mixed[row] else rule.confidence
    if np.isnan(limit):
        return Compared(rule, measured, limit, "unknown", sure)
    if measure.name == "far" and np.isnan(measured):
        least = float(numbers["far_at_least"][row])
        known = rule.judged(least, limit, sure)
        return Compared(rule, least, limit, "unknown" if known == "pass" else known, sure, is_at_least=True)
    return Compared(rule, measured, limit, rule.judged(measured, limit, sure), sure)


def parcel_intensity(
    city: "City",
    *,
    parcels: Mapping[str, Any],
    buildings: Mapping[str, Any] | None = None,
    green: Mapping[str, Any] | None = None,
    controls: Mapping[str, Any] | None = None,
    far_max: float | None = None,
    density_max_pct: float | None = None,
    green_min_pct: float | None = None,
    floor_area_from: str = "floors",
    storey_m: float = STOREY_M,
    crs: str | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Plot ratio, density and green ratio of each parcel, and how they stand to their limits.

    A limit is the number given, else the parcel's own attribute, else that of the plan's plots (`controls`, the city's
    `land_plan` when absent). Without `green` the city's `green_space` is taken, and a parcel in which nothing green is
    recorded has no green ratio; with it, nothing green is 0.
    """
    land = areas(city, "parcels", parcels, ("name", *LIMITS))
    progress(5, "buildings")
    houses = areas_or_layer(city, "buildings", buildings, "building", land.geometry, columns=COLUMNS)
    houses = chosen(houses, standing(houses))
    plants = areas_or_layer(city, "green", green, "green_space", land.geometry, columns=("phase",))
    progress(40, "areas")
    floor_m2 = floor_areas(houses, floor_area_from, storey_m)
    found = intensity(land.geometry, houses.geometry, floor_m2, plants.geometry, progress.part(40, 70))
    progress(70, "limits")
    given = {"far_max": far_max, "density_max_pct": density_max_pct, "green_min_pct": green_min_pct}
    limits = _limits(city, land, given, controls)
    known = np.full(len(land), True) if green is not None else found.green_m2 > 0
    progress(85, "answer")
    everything = _Found(land, houses, found, ratios(found, known), limits, floor_m2)
    return _answer(city, everything, crs) | {"floor_area_from": floor_area_from}


def _limits(
    city: "City",
    land: Features,
    given: Mapping[str, float | None],
    plan: Mapping[str, Any] | None,
) -> dict[str, Controls]:
    plots = areas_or_layer(city, "controls", plan, "land_plan", land.geometry, columns=LIMITS)
    met = parts(land.geometry, plots.geometry)
    size_m2 = np.asarray(shapely.area(land.geometry), np.float64)
    none = np.full(len(land), False)
    out = {}
    for each in MEASURES:
        value = given[each.limit]
        if value is not None:
            out[each.limit] = Controls(np.full(len(land), float(value)), none)
            continue
        own = place.numbers(land, each.limit, "parcels")
        stated = place.numbers(plots, each.limit, "controls")
        planned = controls_of(met, size_m2, stated, is_maximum=each.is_maximum)
        has_own = ~np.isnan(own)
        out[each.limit] = Controls(np.where(has_own, own, planned.limit), planned.is_mixed & ~has_own)
    return out


@dataclass(frozen=True)
class _Found:
    """What was worked out: parcels, buildings, what they measure, limits by attribute, floor areas of buildings."""

    land: Features
    houses: Features
    measured: Intensity
    numbers: dict[str, FloatArray]
    limits: dict[str, Controls]
    floor_m2: FloatArray


def _answer(city: "City", found: _Found, target: str | None) -> dict[str, Any]:
    land, measured, book = found.land, found.measured, today_rules(city)
    survey_m2 = areas_m2(land.geometry, city.crs)
    scale = survey_m2 / measured.area_m2  # plane m² -> m² on the ellipsoid, the same for all that lies in a parcel
    of_parcel = np.bincount(measured.parts.parcel[measured.parts.area_m2 > TOUCH_M2], minlength=len(land))
    titles = place.words(land, "name")
    rows, properties = [], []
    for i, name in enumerate(land.ids):
        mine = [_row(name, compared(book, each, i, found.numbers, found.limits[each.limit])) for each in MEASURES]
        rows += mine
        properties.append(
            {
                "name": titles[i],
                "area_m2": float(survey_m2[i]),
                "floor_area_m2": number(found.numbers["far"][i] * survey_m2[i]),
                "footprint_m2": float(measured.covered_m2[i] * scale[i]),
                "green_m2": number(found.numbers["green_pct"][i] * survey_m2[i] / 100.0),
                **{key: number(values[i]) for key, values in found.numbers.items()},
                "n_buildings": int(of_parcel[i]),
                "n_without_floor_area": int(measured.n_unknown[i]),
                **{each["rule_id"]: each["verdict"] for each in mine},
            }
        )
    return {
        "parcels": place.geojson(city, land.geometry, properties, land.ids, target),
        "results": rows,
        "verdict": worst([each["verdict"] for each in rows]),
        "across": _across(land, found.houses, measured),
        "without_floor_area": _unknown(found.houses, measured, found.floor_m2),
    }


def _row(parcel: str, found: Compared) -> dict[str, Any]:
    return {
        "parcel_id": parcel,
        "rule_id": found.rule.id,
        "measured": number(found.measured),
        "is_at_least": found.is_at_least,
        "limit": number(found.limit),
        "unit": found.rule.unit,
        "verdict": found.verdict,
        "source": f"{found.rule.source} {found.rule.clause}",
        "confidence": found.confidence,
    }


def _across(land: Features, houses: Features, found: Intensity) -> list[dict[str, Any]]:
    """Buildings that lie in a parcel with a part only, with that part."""
    whole = np.asarray(shapely.area(houses.geometry), np.float64)[found.parts.item]
    rows = np.flatnonzero((whole - found.parts.area_m2 > TOUCH_M2) & (found.parts.area_m2 > TOUCH_M2))
    share = 100.0 * found.parts.area_m2 / whole
    return [
        {
            "building_id": houses.ids[found.parts.item[row]],
            "parcel_id": land.ids[found.parts.parcel[row]],
            "share_pct": float(share[row]),
        }
        for row in rows.tolist()
    ]


def _unknown(houses: Features, found: Intensity, floor_m2: FloatArray) -> Sequence[str]:
    """Ids of buildings in the parcels whose floor area is not known."""
    inside = np.unique(found.parts.item[found.parts.area_m2 > TOUCH_M2])
    return [houses.ids[row] for row in inside.tolist() if np.isnan(floor_m2[row])]


def _percent(zh: str, en: str) -> Parameter:
    return Parameter(Title(zh, en), {"type": "number", "minimum": 0, "maximum": 100, "x-unit": "%"}, required=False)


PROCESS = Process(
    id="parcel-intensity",
    title=Title("地块开发强度", "Intensity of parcels"),
    description=Title(
        "逐地块计算容积率、建筑密度、绿地率并与规划控制指标比较；跨地块建筑按占比计入并列出；层数未知则容积率未知。",
        "Plot ratio, building density and green ratio of each parcel against the plan; a building across a parcel line "
        "counts by its share and is listed; where storeys are not known the plot ratio is unknown.",
    ),
    inputs={
        "parcels": Parameter(
            Title("地块", "Parcels"),
            SCHEMA,
            description=Title(
                "可带 far_max、density_max_pct、green_min_pct 属性", "May carry far_max, density_max_pct, green_min_pct"
            ),
        ),
        "buildings": Parameter(
            Title("建筑（缺省为建筑图层）", "Buildings with floors; the layer building when absent"),
            SCHEMA,
            required=False,
        ),
        "green": Parameter(
            Title("绿地（缺省为绿地图层）", "Green areas, all of them; the layer green_space when absent"),
            SCHEMA,
            required=False,
        ),
        "controls": Parameter(
            Title("规划控制（缺省为规划用地图层）", "Plots of the plan with limits; the layer land_plan when absent"),
            SCHEMA,
            required=False,
        ),
        "far_max": Parameter(
            Title("容积率上限", "Maximum plot ratio"), {"type": "number", "minimum": 0, "maximum": 50}, required=False
        ),
        "density_max_pct": _percent("建筑密度上限", "Maximum density"),
        "green_min_pct": _percent("绿地率下限", "Minimum green ratio"),
        "floor_area_from": Parameter(
            Title("建筑面积来源", "Where floor areas come from"),
            {"type": "string", "enum": list(FLOORS_FROM), "default": "floors"},
            required=False,
            description=Title(
                "默认只用地上层数×基底；其余须明确要求，答案中注明",
                "Storeys above ground × footprint; anything else only when asked for, and the answer says so",
            ),
        ),
        "storey_m": Parameter(
            Title("层高（仅按高度推算时用）", "Height of a storey, for floors-then-height only"),
            {"type": "number", "minimum": 2, "maximum": 10, "default": STOREY_M, "x-unit": "m"},
            required=False,
        ),
        "crs": place.ANSWER_CRS,
    },
    outputs={
        "parcels": Parameter(
            Title("地块及指标", "Parcels with area (ellipsoid), far, density_pct, green_pct and verdicts"),
            place.FEATURES_OUT,
            media_type=place.GEOJSON,
        ),
        "results": Parameter(Title("逐规则结果", "One row for each parcel and rule"), RESULTS),
        "verdict": Parameter(Title("总结论", "Worst of the verdicts"), {"type": "string"}),
        "across": Parameter(Title("跨地块建筑", "Buildings across parcel lines"), rows_schema(share_pct="%")),
        "without_floor_area": Parameter(
            Title("建筑面积未知的建筑", "Buildings whose floor area is not known"),
            {"type": "array", "items": {"type": "string"}},
        ),
        "floor_area_from": Parameter(Title("建筑面积来源", "Where floor areas come from"), {"type": "string"}),
    },
    function=parcel_intensity,
    keywords=("far", "density", "green", "plot ratio", "容积率"),
)
