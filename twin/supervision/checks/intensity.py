"""Plot ratio, density and green of parcels against the plan, as they stand and with what is permitted besides."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from layers.catalogue import Title
from twin.analysis.illegal_building_screen_excess import cover
from twin.analysis.parcel_intensity import LIMITS, MEASURES, Compared, compared, floor_areas, ratios
from twin.analysis.parcel_intensity_areas import TOUCH_M2, controls_of, intensity, parts
from twin.analysis.parcel_intensity_buildings import COLUMNS, chosen, listed, standing
from twin.analysis.parcel_intensity_read import usable
from twin.analysis.place import collected, numbers
from twin.store.interface import Features
from twin.supervision.check import Check, Context, Finding, Passed, finding
from twin.supervision.rules import softened

FloatArray = NDArray[np.float64]

LEAST_SHARE = 0.01
"""A parcel belongs to a place from this share of itself or of the place on; less is a neighbour's edge."""
PERMIT_COLUMNS = ("permit_no", "building_code", "height_m", "gfa_m2")
RULES = tuple(each.rule for each in MEASURES)


def inside(context: Context, found: Features, least_share: float = 0.0) -> Features:
    """Valid areas that lie in the place with more than an edge, or with a share of themselves or of the place."""
    found = usable(found)
    if context.region is None or not len(found):
        return found
    shared = np.asarray(shapely.area(shapely.intersection(found.geometry, context.region)), np.float64)
    own = np.minimum(shapely.area(found.geometry), shapely.area(context.region))
    return chosen(found, np.flatnonzero((shared > TOUCH_M2) & (shared >= least_share * own)))


def reach_of(context: Context, geometries: NDArray[np.object_]) -> float:
    """How far the place must be widened to hold some geometries wholly, in whole metres."""
    if context.region is None or not len(geometries):
        return 0.0
    out, own = shapely.total_bounds(geometries), np.array(shapely.bounds(context.region))
    return float(np.ceil(max(0.0, *(own[:2] - out[:2]), *(out[2:] - own[2:]))))


def parcels(context: Context) -> tuple[Features, str]:
    """The parcels of a place and their layer; a site that has none is taken as one parcel."""
    found = inside(context, context.read("parcel", properties=("name",)), LEAST_SHARE)
    if len(found) or context.site is None or context.region is None:
        return found, "parcel"
    layer, name = context.site.rsplit("/", 1)
    none = np.zeros(1, np.int64)
    shape = np.array([context.region], dtype=object)
    table = pa.table({"name": pa.nulls(1, pa.string())})
    return Features(none, [name], shape, table, [None], none, [""], [None]), layer


def buildings(context: Context, around: NDArray[np.object_]) -> Features:
    """Buildings that stand in the place or in some areas that reach beyond it, each once."""
    found = usable(context.read("building", reach_m=reach_of(context, around), properties=COLUMNS))
    return chosen(found, standing(found))


def run(context: Context) -> Iterator[Finding | Passed]:
    """Each parcel of the place against its plan."""
    land, layer = parcels(context)
    if not len(land):
        return
    houses = buildings(context, land.geometry)
    floor_m2 = floor_areas(houses)
    yield from _held(context, land, layer, houses, floor_m2)


def run_site(context: Context) -> Iterator[Finding | Passed]:
    """The same, and once more with the permitted buildings that do not stand yet."""
    land, layer = parcels(context)
    if not len(land):
        return
    houses = buildings(context, land.geometry)
    floor_m2 = floor_areas(houses)
    yield from _held(context, land, layer, houses, floor_m2)
    permits = usable(
        context.read("permit_building", reach_m=reach_of(context, land.geometry), properties=PERMIT_COLUMNS)
    )
    to_come = unbuilt(houses, permits)
    if not len(to_come):
        return
    met = parts(land.geometry, to_come.geometry)
    touched = np.unique(met.parcel[met.area_m2 > TOUCH_M2])
    both = collected((houses, to_come))
    both_floor = np.r_[floor_m2, numbers(to_come, "gfa_m2")]
    yield from _held(context, chosen(land, touched), layer, both, both_floor, part="permitted")


def unbuilt(houses: Features, permits: Features) -> Features:
    """Permits on whose outline no building stands yet."""
    built = cover(houses.geometry, permits.geometry)
    return chosen(permits, np.setdiff1d(np.arange(len(permits)), built.permit))


def _held(
    context: Context, land: Features, layer: str, houses: Features, floor_m2: FloatArray, *, part: str = ""
) -> Iterator[Finding | Passed]:
    reach = reach_of(context, land.geometry)
    green = usable(context.read("green_space", reach_m=reach, properties=("phase",)))
    plots = usable(context.read("land_plan", reach_m=reach, properties=LIMITS))
    measured = intensity(land.geometry, houses.geometry, floor_m2, green.geometry)
    values = ratios(measured, measured.green_m2 > 0)
    met = parts(land.geometry, plots.geometry)
    held = [measured.parts.item[measured.parts.parcel == row] for row in range(len(land))] if len(land) < 500 else None
    for each in MEASURES:
        if part and each.name == "green_pct":
            continue
        limits = controls_of(met, measured.area_m2, numbers(plots, each.limit), is_maximum=each.is_maximum)
        n_good = 0
        for row, name in enumerate(land.ids):
            found = compared(context.rules, each, row, values, limits)
            if part:  # a permit's floor area may count what is under ground
                found = replace(found, confidence="low", verdict=softened(found.verdict, "low"))
            if found.verdict == "pass" and context.site is None:
                n_good += 1
                continue
            mine = houses.ids if held is None else [houses.ids[k] for k in held[row] if np.isnan(floor_m2[k])]
            note = _why(found, each.name, [] if held is None else mine, has_green="green_space" in context.city)
            yield finding(
                found.rule, (f"{layer}/{name}",), _number(found.measured), land.geometry[row],
                limit=_number(found.limit), confidence=found.confidence, verdict=found.verdict, part=part,
                note=_with_permits(part) or note or found.rule.note,
                evidence=f"/collections/{layer}/items/{name}",
            )  # fmt: skip
        if n_good:
            yield Passed(each.rule, n_good)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value


def _with_permits(part: str) -> Title | None:
    if not part:
        return None
    return Title(
        "计入已许可未建的建筑，许可面积可能含地下部分",
        "With permitted buildings that do not stand yet; a permit's floor area may include basements",
    )


def _why(found: Compared, measure: str, unknown: list[str], *, has_green: bool) -> Title | None:
    """What is missing, or how a number is to be read."""
    if np.isnan(found.limit):
        return Title("规划未给出该指标", "The plan gives no limit here.")
    if measure == "green_pct" and np.isnan(found.measured):
        if not has_green:
            return Title("缺少图层：green_space", "The city has no layer green_space.")
        return Title("地块内没有登记的绿地", "No green is recorded in the parcel.")
    if found.is_at_least:
        names = listed(unknown)
        return Title(f"至少为此数；层数未知的建筑：{names}", f"At least so much; storeys are not known of: {names}")
    if found.confidence == "low" and found.rule.confidence != "low":
        return Title(
            "地块涉及多个指标不同的规划地块，取最严", "Plots of the plan with different limits; the strictest counts."
        )
    return None


CHECKS = (
    Check(
        id="site-intensity",
        supervision="construction",
        title=Title("工地地块容积率、密度与绿地率", "Plot ratio, density and green of the site's parcels"),
        rules=RULES,
        needs=("building", "land_plan"),
        run=run_site,
    ),
    Check(
        id="parcel-intensity",
        supervision="one-map",
        title=Title("地块开发强度", "Intensity of parcels"),
        rules=RULES,
        needs=("parcel", "building", "land_plan"),
        run=run,
    ),
)
