"""Buildings and permits of a site: off the parcel's line, under the plan's height, away from control lines."""

from collections.abc import Iterator

import numpy as np
import shapely

from layers.catalogue import Title
from twin.analysis.parcel_intensity_areas import controls_of, parts
from twin.analysis.parcel_intensity_buildings import COLUMNS, chosen, heights, is_estimated, standing
from twin.analysis.parcel_intensity_read import usable
from twin.analysis.place import numbers
from twin.analysis.setback_height_check import Held, held_distances, held_heights
from twin.analysis.setback_height_check_distance import Distances, setbacks, within_reach
from twin.store.interface import Features
from twin.supervision.check import Check, Context, Finding, Passed, finding
from twin.supervision.checks.intensity import PERMIT_COLUMNS, inside, parcels, reach_of, unbuilt

LINES = ("water_line", "heritage_line", "hazard_line")
"""Layers whose features say in `setback_m` how far buildings stay away."""
FARTHEST_M = 500.0


def run(context: Context) -> Iterator[Finding | Passed]:
    """What stands on the place, and what is permitted there and does not stand yet."""
    houses = inside(context, context.read("building", properties=COLUMNS))
    houses = chosen(houses, standing(houses))
    permits = inside(context, context.read("permit_building", properties=PERMIT_COLUMNS))
    for layer, found in (("building", houses), ("permit_building", unbuilt(houses, permits))):
        if len(found):
            yield from _setbacks(context, layer, found)
            yield from _heights(context, layer, found)
            yield from _lines(context, layer, found)


def _told(layer: str, found: Features, held: Held, others: tuple[str, ...] = ()) -> Finding:
    where = (f"{layer}/{found.ids[held.row]}", *others)
    shape = held.way if held.way is not None and held.verdict != "pass" else found.geometry[held.row]
    note = held.rule.note
    if np.isnan(held.measured):
        note = Title("建筑高度未知", "The height of the building is not known.")
    elif held.confidence == "low" and held.rule.confidence != "low":
        note = Title(
            "高度为推算值，或涉及指标不同的地块", "The height was worked out, or plots differ in their limits."
        )
    return finding(
        held.rule, where, held.measured, shape, limit=None if np.isnan(held.limit) else held.limit,
        confidence=held.confidence, verdict=held.verdict, note=note,
        evidence=f"/collections/{layer}/items/{found.ids[held.row]}",
    )  # fmt: skip


def _few(context: Context, told: Iterator[tuple[Held, Finding]]) -> Iterator[Finding | Passed]:
    """What passes is counted, except at a site, where there are few."""
    n: dict[str, int] = {}
    for held, each in told:
        if held.verdict == "pass" and context.site is None:
            n[held.rule.id] = n.get(held.rule.id, 0) + 1
        else:
            yield each
    for rule, count in n.items():
        yield Passed(rule, count)


def _setbacks(context: Context, layer: str, found: Features) -> Iterator[Finding | Passed]:
    """Distances from the parcel's line; where nobody gives a limit one word a parcel, with the least distance there."""
    rule = context.rules["building-setback"]
    land, land_layer = parcels(context)
    measured = setbacks(found.geometry, land.geometry)
    reach = reach_of(context, land.geometry)
    plots = usable(context.read("land_plan", reach_m=reach, properties=("setback_min_m",)))
    size_m2 = np.asarray(shapely.area(land.geometry), np.float64)
    met = parts(land.geometry, plots.geometry)
    planned = controls_of(met, size_m2, numbers(plots, "setback_min_m"), is_maximum=False).limit
    fallback = np.nan if rule.value is None else rule.value
    limits = np.where(np.isnan(planned), fallback, planned)[measured.other]
    yield from _no_limit(context, layer, found, measured.only(np.isnan(limits)))
    is_held = ~np.isnan(limits)
    rows = held_distances(rule, measured.only(is_held), limits[is_held])
    told = ((each, _told(layer, found, each, (f"{land_layer}/{land.ids[each.other]}",))) for each in rows)
    yield from _few(context, told)


def _no_limit(context: Context, layer: str, found: Features, measured: Distances) -> Iterator[Finding | Passed]:
    rule, (land, land_layer) = context.rules["building-setback"], parcels(context)
    for parcel in np.unique(measured.other).tolist():
        mine = np.flatnonzero(measured.other == parcel)
        least = mine[np.argmin(measured.distance_m[mine])]
        name = f"{layer}/{found.ids[measured.building[least]]}"
        words = Title(
            f"未给出退让距离限值；所列为最小退让（{name}）",
            f"No setback is given, neither by rule nor by plan; this is the least ({name}).",
        )
        yield finding(
            rule, (f"{land_layer}/{land.ids[parcel]}",),
            float(measured.distance_m[least]), measured.way[least], verdict="unknown", note=words, part=layer,
        )  # fmt: skip


def _heights(context: Context, layer: str, found: Features) -> Iterator[Finding | Passed]:
    plots = usable(context.read("land_plan", reach_m=reach_of(context, found.geometry), properties=("height_max_m",)))
    size_m2 = np.asarray(shapely.area(found.geometry), np.float64)
    met = parts(found.geometry, plots.geometry)
    limit = controls_of(met, size_m2, numbers(plots, "height_max_m"), is_maximum=True)
    rows = held_heights(
        context.rules["plan-height"], heights(found), limit.limit, is_estimated(found, "height_m"),
        limit.is_mixed,
    )  # fmt: skip
    yield from _few(context, ((each, _told(layer, found, each)) for each in rows))


def _lines(context: Context, layer: str, found: Features) -> Iterator[Finding | Passed]:
    rule = context.rules["control-line-setback"]
    for name in LINES:
        lines = context.read(name, reach_m=FARTHEST_M, properties=("setback_m",))
        wanted = np.minimum(np.nan_to_num(numbers(lines, "setback_m")), FARTHEST_M)
        near = within_reach(found.geometry, shapely.force_2d(lines.geometry), wanted)
        rows = held_distances(rule, near, wanted[near.other])
        told = ((each, _told(layer, found, each, (f"{name}/{lines.ids[each.other]}",))) for each in rows)
        yield from _few(context, told)
        if n_far := len(np.setdiff1d(np.arange(len(found)), near.building)) if (wanted > 0).any() else 0:
            yield Passed(rule.id, n_far)


CHECKS = (
    Check(
        id="setback-height",
        supervision="construction",
        title=Title("退让与限高", "Setback and height"),
        rules=("building-setback", "plan-height", "control-line-setback"),
        needs=("building",),
        run=run,
    ),
)
