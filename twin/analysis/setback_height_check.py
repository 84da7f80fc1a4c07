"""P09 setback-height-check: do buildings keep off their parcel's line, and under the height that is allowed.

Setback is the least plane distance from the footprint to the outline of the parcel; a building across the line has 0.
Height is held against a limit above the building's base (`height_max_m`), its top (base + height) against a limit that
is an elevation (`top_elev_max_m`). Equal to the limit passes. What is not known of a building is `unknown`; a height
that was worked out when the city was built only gives `review`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.catalogue import Title
from layers.errors import InvalidInput
from twin.analysis import features_input, place
from twin.analysis.features_input import SCHEMA
from twin.analysis.parcel_intensity import today_rules
from twin.analysis.parcel_intensity_areas import controls_of, parts
from twin.analysis.parcel_intensity_buildings import COLUMNS, RESULTS, chosen, heights, is_estimated, number, standing
from twin.analysis.parcel_intensity_read import areas, areas_or_layer
from twin.analysis.process import Parameter, Process
from twin.analysis.progress import SILENT, Progress
from twin.analysis.setback_height_check_distance import Distances, setbacks, within_reach
from twin.analysis.verdict import SAME, Verdict, worst
from twin.store.interface import Features
from twin.supervision.rules import Confidence, Rule

if TYPE_CHECKING:
    from twin.city import City

FloatArray = NDArray[np.float64]

LIMITS = ("setback_min_m", "height_max_m", "top_elev_max_m")


@dataclass(frozen=True)
class Held:
    """One building against one rule; `row` is the building's, `other` that of a parcel or line (-1 for none)."""

    rule: Rule
    row: int
    other: int
    measured: float
    limit: float
    verdict: Verdict
    confidence: Confidence
    way: shapely.Geometry | None = None

    @property
    def short_by(self) -> float:
        """How far beyond the limit, in the unit of the rule; 0 where it is kept, NaN where it is not known."""
        gap = self.limit - self.measured if self.rule.comparator == ">=" else self.measured - self.limit
        return gap if np.isnan(gap) else (max(gap, 0.0) if gap > SAME else 0.0)


def held_heights(
    rule: Rule, measured: FloatArray, limits: FloatArray, unsure: NDArray[np.bool_], mixed: NDArray[np.bool_]
) -> Iterator[Held]:
    """(n,) heights or tops against (n,) limits where there are any; `unsure` are heights that were worked out."""
    for row in np.flatnonzero(~np.isnan(limits)).tolist():
        sure: Confidence = "low" if unsure[row] or mixed[row] else rule.confidence
        verdict = rule.judged(float(measured[row]), float(limits[row]), sure)
        yield Held(rule, row, -1, float(measured[row]), float(limits[row]), verdict, sure)


def held_distances(rule: Rule, found: Distances, limits: FloatArray) -> Iterator[Held]:
    """Measured pairs against (k,) limits; NaN is no limit, and the verdict `unknown`."""
    for row, (building, other) in enumerate(zip(found.building.tolist(), found.other.tolist(), strict=True)):
        measured, limit = float(found.distance_m[row]), float(limits[row])
        # without a limit there is nothing to hold the distance against, though the rule may have a number of its own
        verdict: Verdict = "unknown" if np.isnan(limit) else rule.judged(measured, limit)
        yield Held(rule, building, other, measured, limit, verdict, rule.confidence, found.way[row])


def setback_height_check(
    city: "City",
    *,
    buildings: Mapping[str, Any],
    parcels: Mapping[str, Any] | None = None,
    controls: Mapping[str, Any] | None = None,
    lines: Mapping[str, Any] | None = None,
    setback_min_m: float | None = None,
    height_max_m: float | None = None,
    top_elev_max_m: float | None = None,
    crs: str | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Setback and height of buildings.

    A limit is the number given, else the parcel's own attribute, else that of the plan's plots (`controls`, the city's
    `land_plan` when absent); a setback without any of them is that of the rule `building-setback`. `lines` are other
    lines to keep off, each by its own `setback_m`, else by `setback_min_m`.
    """
    houses = areas(city, "buildings", buildings, COLUMNS)
    houses = chosen(houses, standing(houses))
    land = areas_or_layer(city, "parcels", parcels, "parcel", houses.geometry, columns=LIMITS)
    plots = areas_or_layer(city, "controls", controls, "land_plan", houses.geometry, columns=LIMITS)
    progress(30, "distances")
    book = today_rules(city)
    given = {"setback_min_m": setback_min_m, "height_max_m": height_max_m, "top_elev_max_m": top_elev_max_m}
    found = setbacks(houses.geometry, land.geometry)
    rule = book["building-setback"]
    least = _setback_limits(found, land, plots, given["setback_min_m"], rule.value)
    rows = list(held_distances(rule, found, least))
    progress(60, "lines")
    kept: Features | None = None
    if lines is not None:
        kept, near, wanted = _lines(city, lines, houses, setback_min_m)
        rows += held_distances(book["control-line-setback"], near, wanted)
    progress(75, "heights")
    height, base = heights(houses), place.numbers(houses, "base_elev_m", "buildings")
    is_guess = is_estimated(houses, "height_m")
    top = base + height
    for name, rule_id, values, unsure in (
        ("height_max_m", "plan-height", height, is_guess),
        ("top_elev_max_m", "plan-top-elevation", top, is_guess | is_estimated(houses, "base_elev_m")),
    ):
        limits, mixed = _height_limits(houses, land, plots, name, given[name])
        rows += held_heights(book[rule_id], values, limits, unsure, mixed)
    without = np.setdiff1d(np.arange(len(houses)), found.building)
    return _answer(city, _Told(houses, land, kept, rows), crs) | {
        "without_parcel": [houses.ids[row] for row in without.tolist()]
    }


def _setback_limits(
    found: Distances, land: Features, plots: Features, given: float | None, of_rule: float | None
) -> FloatArray:
    """(k,) for pairs of building and parcel."""
    if given is not None:
        return np.full(len(found.building), float(given))
    own = place.numbers(land, "setback_min_m", "parcels")
    met = parts(land.geometry, plots.geometry)
    size_m2 = np.asarray(shapely.area(land.geometry), np.float64)
    stated = place.numbers(plots, "setback_min_m", "controls")
    planned = controls_of(met, size_m2, stated, is_maximum=False).limit
    limit = np.where(np.isnan(own), planned, own)
    fallback = np.nan if of_rule is None else of_rule
    return np.asarray(np.where(np.isnan(limit), fallback, limit)[found.other], np.float64)


def _height_limits(
    houses: Features, land: Features, plots: Features, name: str, given: float | None
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """(n,) limits of buildings and whether those they lie in differ: the parcel's own before the plan's."""
    n = len(houses)
    if given is not None:
        return np.full(n, float(given)), np.full(n, False)
    size_m2 = np.asarray(shapely.area(houses.geometry), np.float64)
    own, planned = (
        controls_of(parts(houses.geometry, each.geometry), size_m2, place.numbers(each, name, of), is_maximum=True)
        for of, each in (("parcels", land), ("controls", plots))
    )
    has_own = ~np.isnan(own.limit)
    return np.where(has_own, own.limit, planned.limit), np.where(has_own, own.is_mixed, planned.is_mixed)


def _lines(
    city: "City", given: Mapping[str, Any], houses: Features, least_m: float | None
) -> tuple[Features, Distances, FloatArray]:
    """The lines, what is nearer to them than it should be or not farther than that, and what was wanted."""
    wanted: tuple[str, ...] = ("setback_m",)
    if "collection" in given:
        names = features_input.attributes(city, "lines", str(given["collection"]))
        wanted = tuple(each for each in wanted if each in names)
    found = place.collected(features_input.read(city, "lines", given, properties=wanted), "lines")
    place.check_inside(city, "lines", found.geometry)
    place.check_valid("lines", found)
    none = np.flatnonzero(shapely.is_missing(found.geometry) | shapely.is_empty(found.geometry))
    if none.size and "collection" not in given:
        raise InvalidInput(f"lines: {found.ids[none[0]]!r} has no geometry.", "Give it coordinates.")
    own = place.numbers(found, "setback_m", "lines")
    reach = np.where(np.isnan(own), np.nan if least_m is None else least_m, own)
    near = within_reach(houses.geometry, shapely.force_2d(found.geometry), np.nan_to_num(reach))
    return found, near, reach[near.other]


@dataclass(frozen=True)
class _Told:
    houses: Features
    land: Features
    lines: Features | None
    rows: list[Held]


def _answer(city: "City", told: _Told, target: str | None) -> dict[str, Any]:
    results, by_building = [], [list[Verdict]() for _ in told.houses.ids]
    for each in told.rows:
        by_building[each.row].append(each.verdict)
        row: dict[str, Any] = {
            "building_id": told.houses.ids[each.row],
            "rule_id": each.rule.id,
            "measured": number(each.measured),
            "limit": number(each.limit),
            "short_by": number(each.short_by),
            "unit": each.rule.unit,
            "verdict": each.verdict,
            "source": f"{each.rule.source} {each.rule.clause}",
            "confidence": each.confidence,
        }
        if each.rule.id == "building-setback":
            row["parcel_id"] = told.land.ids[each.other]
        elif each.rule.id == "control-line-setback" and told.lines is not None:
            row["line_id"] = told.lines.ids[each.other]
        results.append(row)
    properties = [
        {"height_m": number(height), "base_elev_m": number(base), "verdict": worst(verdicts)}
        for height, base, verdicts in zip(
            heights(told.houses), place.numbers(told.houses, "base_elev_m"), by_building, strict=True
        )
    ]
    broken = [(each, row) for each, row in zip(told.rows, results, strict=True) if each.way and each.verdict != "pass"]
    ways = np.array([each.way for each, _ in broken], dtype=object)
    return {
        "buildings": place.geojson(city, told.houses.geometry, properties, told.houses.ids, target),
        "results": results,
        "ways": place.geojson(city, ways, [row for _, row in broken], None, target),
        "verdict": worst([each["verdict"] for each in results]),
    }


def _metres(zh: str, en: str, low: float, high: float) -> Parameter:
    schema = {"type": "number", "minimum": low, "maximum": high, "x-unit": "m"}
    return Parameter(Title(zh, en), schema, required=False)


PROCESS = Process(
    id="setback-height-check",
    title=Title("退让与限高检查", "Setback and height check"),
    description=Title(
        "建筑基底到用地边界的最小平面距离与退让要求比较；建筑高度与限高、顶高程与控制高程比较；等于限值为合格。",
        "Least plane distance from footprints to the parcel line against the setback; heights against the height limit "
        "and tops against an elevation limit. Equal to the limit passes.",
    ),
    inputs={
        "buildings": Parameter(Title("建筑", "Buildings with base_elev_m and height_m"), SCHEMA),
        "parcels": Parameter(
            Title("用地（缺省为宗地图层）", "Parcels; the layer parcel when absent"),
            SCHEMA,
            required=False,
            description=Title(
                "可带 setback_min_m、height_max_m、top_elev_max_m 属性",
                "May carry setback_min_m, height_max_m, top_elev_max_m",
            ),
        ),
        "controls": Parameter(
            Title("规划控制（缺省为规划用地图层）", "Plots of the plan with limits; the layer land_plan when absent"),
            SCHEMA,
            required=False,
        ),
        "lines": Parameter(
            Title("须退让的其他线", "Other lines or areas to keep off, each by its setback_m"), SCHEMA, required=False
        ),
        "setback_min_m": _metres("退让距离", "Least setback", 0, 1000),
        "height_max_m": _metres("限高（自基底）", "Maximum height above the base", 0, 1000),
        "top_elev_max_m": _metres("控制高程（顶）", "Maximum elevation of the top", -500, 10_000),
        "crs": place.ANSWER_CRS,
    },
    outputs={
        "buildings": Parameter(
            Title("建筑及结论", "Buildings with their verdict"), place.FEATURES_OUT, media_type=place.GEOJSON
        ),
        "results": Parameter(Title("逐规则结果", "One row for each building, rule and parcel"), RESULTS),
        "ways": Parameter(
            Title("不足处的最短连线", "Shortest ways where the setback is not kept"),
            place.FEATURES_OUT,
            media_type=place.GEOJSON,
        ),
        "verdict": Parameter(Title("总结论", "Worst of the verdicts"), {"type": "string"}),
        "without_parcel": Parameter(
            Title("不在任何用地内的建筑", "Buildings in no parcel"), {"type": "array", "items": {"type": "string"}}
        ),
    },
    function=setback_height_check,
    keywords=("setback", "height", "退让", "限高"),
)
