"""Buildings without a permit, beyond it, higher than it says, or in a control line."""

from collections.abc import Iterator

import numpy as np
import shapely

from layers.catalogue import Title
from layers.ellipsoid_area import areas_m2
from twin.analysis import illegal_building_screen_reasons as reasons
from twin.analysis.illegal_building_screen import PERMIT_COLUMNS, Screened, as_houses, screened
from twin.analysis.parcel_intensity_buildings import COLUMNS, chosen, standing
from twin.analysis.parcel_intensity_read import usable
from twin.store.interface import Features
from twin.supervision.check import Check, Context, Finding, Passed, finding
from twin.supervision.checks.intensity import inside, reach_of

LINES = {
    "pbf": Title("永久基本农田", "permanent basic farmland"),
    "eco_redline": Title("生态保护红线", "ecological red line"),
}
WORDS = {
    "no_permit": Title("无规划许可的建筑", "A building without a permit"),
    "enlarged": Title("基底超出许可范围", "The footprint goes beyond the permit"),
    "too_high": Title("高度超过许可", "Higher than permitted"),
}
PERMIT, FOOTPRINT, HEIGHT, LINE = (
    "illegal-building-permit", "illegal-building-footprint", "illegal-building-height", "illegal-building-control-line",
)  # fmt: skip


def run(context: Context) -> Iterator[Finding | Passed]:
    """Every building of the place."""
    everything = context.read("building", properties=COLUMNS)
    yield from _broken(context, everything)
    houses = inside(context, everything)
    houses = chosen(houses, standing(houses))
    if not len(houses):
        return
    reach = reach_of(context, houses.geometry)
    permits = usable(context.read("permit_building", reach_m=reach, properties=PERMIT_COLUMNS))
    found = screened(context.rules, houses, permits)
    for each in found.suspects:
        yield _suspect(houses, permits, found, each)
    yield from _unknown_heights(context, houses, found)
    assert found.cover is not None
    n_permitted = int((found.cover.n_permits > 0).sum())
    n_beyond = sum(each.reason == "enlarged" for each in found.suspects)
    n_high = sum(each.reason == "too_high" for each in found.suspects)
    yield Passed(PERMIT, n_permitted)
    yield Passed(FOOTPRINT, n_permitted - n_beyond)
    yield Passed(HEIGHT, n_permitted - n_high - len(found.no_height) - len(found.no_limit))
    yield from _in_lines(context, houses, reach)


def _broken(context: Context, found: Features) -> Iterator[Finding]:
    """Outlines that cut themselves: nothing can be told of them."""
    words = Title("轮廓无效，先用拓扑检查修复", "The outline is not valid: repair it first, see topology-check.")
    is_area = shapely.get_dimensions(found.geometry) == 2
    for row in np.flatnonzero(is_area & ~shapely.is_valid(found.geometry)).tolist():
        where = (f"building/{found.ids[row]}",)
        yield finding(context.rules[PERMIT], where, None, found.geometry[row], verdict="unknown", note=words)


def _suspect(houses: Features, permits: Features, found: Screened, each: reasons.Suspect) -> Finding:
    name = houses.ids[each.row]
    assert found.cover is not None
    mine = found.cover.permit[found.cover.building == each.row].tolist()
    objects = (f"building/{name}", *(f"permit_building/{permits.ids[row]}" for row in mine))
    return finding(
        each.rule, objects, each.measured, each.shape, WORDS[each.reason], limit=each.limit,
        confidence=each.confidence, verdict=each.verdict, evidence=f"/collections/building/items/{name}",
    )  # fmt: skip


def _unknown_heights(context: Context, houses: Features, found: Screened) -> Iterator[Finding]:
    for rows, note in (
        (found.no_height, Title("建筑高度未知", "The height of the building is not known.")),
        (found.no_limit, Title("许可未载明高度", "A permit of the building names no height.")),
    ):
        for row in rows.tolist():
            where = (f"building/{houses.ids[row]}",)
            yield finding(context.rules[HEIGHT], where, None, houses.geometry[row], verdict="unknown", note=note)


def _in_lines(context: Context, houses: Features, reach: float) -> Iterator[Finding | Passed]:
    known = [layer for layer in LINES if context.has(layer)]
    if not known:
        words = Title("缺少图层：pbf、eco_redline", "The city has neither pbf nor eco_redline.")
        where = (context.site or "city",)
        yield finding(context.rules[LINE], where, None, context.region, verdict="unknown", note=words)
        return
    scale = areas_m2(houses.geometry, context.city.crs) / np.asarray(shapely.area(houses.geometry), np.float64)
    hit = set()
    for layer in known:
        lines = usable(context.read(layer, reach_m=reach, properties=()))
        for each in reasons.in_control_lines(context.rules, as_houses(houses), lines.geometry, scale):
            hit.add(each.row)
            name = houses.ids[each.row]
            title = Title(f"建筑占压{LINES[layer].zh}", f"A building in the {LINES[layer].en}")
            yield finding(
                each.rule, (f"building/{name}", f"{layer}/{lines.ids[each.other]}"), each.measured, each.shape, title,
                limit=each.limit, verdict=each.verdict, evidence=f"/collections/building/items/{name}",
            )  # fmt: skip
    yield Passed(LINE, len(houses) - len(hit))


CHECKS = (
    Check(
        id="illegal-building",
        supervision="one-map",
        title=Title("违法建设筛查", "Screening for illegal buildings"),
        rules=(PERMIT, FOOTPRINT, HEIGHT, LINE),
        needs=("building", "permit_building"),
        run=run,
    ),
)
