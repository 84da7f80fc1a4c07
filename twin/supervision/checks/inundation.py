"""Inundation at the present levels of rivers and reservoirs: buildings, roads and people that stand in the water."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.catalogue import Title
from layers.errors import InvalidInput, NotFound
from twin.analysis.elevation import Grid, elevation
from twin.analysis.flood_inundation_cells import seed_cells
from twin.analysis.flood_inundation_exposed import Exposed, exposed, spread
from twin.analysis.flood_inundation_water import FLOODED, Water, depths, tolerance_m, water
from twin.analysis.place import numbers, words
from twin.store.interface import Features
from twin.supervision.check import Check, Context, Finding, Passed, finding
from twin.supervision.present_water import Level, levels
from twin.supervision.rules import Rule

SOURCES = (("river", "river_code"), ("reservoir", "reservoir_code"))
RULES = ("inundation-extent", "building-ground-floor", "road-waterlogging", "people-in-water")
FEW_CELLS = 4_000_000
"""More than these are only looked at around the place itself."""


@dataclass(frozen=True)
class Flooded:
    """Water of one source: `where` is the source's name."""

    where: str
    level: Level
    grid: Grid
    water: Water
    depth: NDArray[np.float32]
    shape: shapely.Geometry


def run(context: Context) -> Iterator[Finding | Passed]:
    """For each river and reservoir near the place: does it flood, and what stands in it."""
    rule = context.rules["inundation-extent"]
    reach, max_age = float(rule.parameters["reach_m"]), float(rule.parameters["max_age_h"])
    sources: list[tuple[str, shapely.Geometry, Level]] = []
    for layer, code in SOURCES:
        found = context.read(layer, reach_m=reach)
        told = levels(context, layer, found, code, max_age) if len(found) else []
        sources += [(f"{layer}/{name}", found.geometry[row], told[row]) for row, name in enumerate(found.ids)]
    in_water = dict[str, NDArray[np.bool_]]()
    for number, (where, shape, now) in enumerate(sources):
        context.progress(100.0 * number / len(sources), where)
        if now.level_m is None:
            yield finding(rule, (where,), None, shape, verdict="unknown", note=now.why)
            continue
        try:
            made = flooded(context, where, shape, now, reach)
        except (NotFound, InvalidInput) as error:
            note = Title(f"无法计算：{error.problem}", f"It cannot be told: {error.problem}")
            yield finding(rule, (where,), now.level_m, shape, verdict="unknown", note=note)
            continue
        yield _extent(context, made)
        if made.water.n_cells:
            yield from _exposed(context, made, in_water)
    for rule_id, is_bad in in_water.items():
        if not is_bad.all():
            yield Passed(rule_id, int((~is_bad).sum()))
    if not sources:
        note = Title("附近没有河流或水库", "There is no river or reservoir near.")
        yield finding(rule, (context.site or "city",), None, context.region, verdict="unknown", note=note)


def flooded(context: Context, where: str, shape: shapely.Geometry, now: Level, reach_m: float) -> Flooded:
    """Connected water at a level from a source, within `reach_m` around it.

    Raises
    ------
    InvalidInput, NotFound
        No heights there.
    """
    assert now.level_m is not None
    region = shapely.box(*np.add(shapely.bounds(shape), np.array([-1, -1, 1, 1]) * reach_m))
    heights = elevation(context.city, "dem", None, region=region)
    if context.region is not None and heights.grid.width * heights.grid.height > FEW_CELLS:
        near = shapely.box(*np.add(shapely.bounds(context.region), np.array([-1, -1, 1, 1]) * reach_m))
        heights = elevation(context.city, "dem", None, region=shapely.intersection(region, near))
    made = water(heights.read, heights.grid, now.level_m, seed_cells(shape, heights.grid))
    depth = depths(heights.read, heights.grid, now.level_m, made.state)
    return Flooded(where, now, heights.grid, made, depth, shape)


def _extent(context: Context, made: Flooded) -> Finding:
    """What the water covers; unknown where its source has no ground under it."""
    rule, w = context.rules["inundation-extent"], made.water
    states = set(w.seed_state.tolist())
    if not states or states <= {2, 4, 255}:
        note = Title("水体位置没有地面高程", "The ground under its source is not known.")
        return finding(rule, (made.where,), made.level.level_m, made.shape, verdict="unknown", note=note)
    if FLOODED not in states:
        note = Title("水位低于地面高程模型，未淹没", "Its level is below the ground of the model: no water.")
        return finding(rule, (made.where,), made.level.level_m, made.shape, verdict="pass", note=note)
    zh = f"淹没 {w.area_m2:.0f} m²，{w.volume_m3:.0f} m³，最大水深 {w.max_depth_m:.2f} m"
    en = f"{w.area_m2:.0f} m2 under water, {w.volume_m3:.0f} m3, up to {w.max_depth_m:.2f} m deep"
    if w.is_open:
        zh, en = f"{zh}；触及计算范围或数据边缘，可能更大", f"{en}; it reaches the rim of what is known and may go on"
    return finding(
        rule, (made.where,), made.level.level_m, made.shape, verdict="pass", note=Title(zh, en), time=made.level.time,
        evidence=f"/collections/{made.where.replace('/', '/items/')}",
    )  # fmt: skip


def _exposed(context: Context, made: Flooded, in_water: dict[str, NDArray[np.bool_]]) -> Iterator[Finding]:
    """What stands in one source's water; `in_water` gathers it over all sources."""
    same = tolerance_m(made.level.level_m or 0.0)
    if context.has("building"):
        found = context.read("building", properties=("gfa_m2",))
        wet = exposed(found.geometry, made.depth, made.grid)
        _gather(in_water, "building-ground-floor", wet.is_wet)
        yield from _each(context.rules["building-ground-floor"], found, wet, made)
        yield from _people(context, found, wet.is_wet, made)
    if context.has("road"):
        rule = context.rules["road-waterlogging"]
        found = context.read("road", properties=())
        wet = exposed(_on_ground(context, found), made.depth, made.grid, float(rule.value or 0.0) + same)
        _gather(in_water, rule.id, wet.deep_m > 0)
        yield from _each(rule, found, wet, made, is_road=True)


def _gather(in_water: dict[str, NDArray[np.bool_]], rule_id: str, is_bad: NDArray[np.bool_]) -> None:
    in_water[rule_id] = in_water.get(rule_id, np.zeros(len(is_bad), np.bool_)) | is_bad


def _on_ground(context: Context, roads: Features) -> NDArray[np.object_]:
    """Roads without what lies on bridges: the ground under these is no road."""
    bridges = context.read("bridge", properties=()).geometry
    areas = bridges[shapely.get_dimensions(bridges) == 2]
    if not len(areas):
        return roads.geometry
    cut: NDArray[np.object_] = roads.geometry.copy()
    rows = np.unique(shapely.STRtree(areas).query(roads.geometry, predicate="intersects")[0])
    cut[rows] = shapely.difference(roads.geometry[rows], shapely.union_all(areas))
    return cut


def _each(rule: Rule, found: Features, wet: Exposed, made: Flooded, *, is_road: bool = False) -> Iterator[Finding]:
    """A finding for each building in the water, or road with a stretch deeper than the limit."""
    is_bad, limit = wet.deep_m > 0 if is_road else wet.is_wet, float(rule.value or 0.0)
    for row in np.flatnonzero(is_bad).tolist():
        note = rule.note
        if is_road:
            deep = float(wet.deep_m[row])
            note = Title(f"超过 {limit:g} m 的长度 {deep:.1f} m", f"{deep:.1f} m of it stand deeper than {limit:g} m.")
        layer = "road" if is_road else "building"
        yield finding(
            rule, (f"{layer}/{found.ids[row]}", made.where), round(float(wet.depth_m[row]), 3), found.geometry[row],
            note=note, time=made.level.time,
        )  # fmt: skip


def _people(context: Context, homes: Features, is_wet: NDArray[np.bool_], made: Flooded) -> Iterator[Finding]:
    """People of the finest admin units, spread over all of their buildings."""
    rule = context.rules["people-in-water"]
    if not is_wet.any():
        yield finding(rule, (made.where,), 0.0, made.shape, time=made.level.time)
        return
    value, note = _count(context, homes, is_wet)
    yield finding(
        rule, (made.where,), value, made.shape, verdict="unknown" if value is None else None, time=made.level.time,
        note=note or rule.note,
    )  # fmt: skip


def _count(context: Context, homes: Features, is_wet: NDArray[np.bool_]) -> tuple[float | None, Title | None]:
    if not context.has("admin_unit"):
        return None, Title("缺少行政区人口", "There are no admin units with people.")
    whole = Context(context.city, moment=context.moment, now=context.now)
    units = whole.read("admin_unit", properties=("population", "unit_level", "xzqdm"))
    rows = _finest(units)
    buildings = whole.read("building", properties=("gfa_m2",)) if context.region is not None else homes
    floor = numbers(buildings, "gfa_m2")
    weights = shapely.area(buildings.geometry) if np.isnan(floor).any() else floor
    has_shape = ~shapely.is_missing(buildings.geometry)
    try:
        made = spread(
            units.geometry[rows], numbers(units, "population")[rows], buildings.geometry[has_shape], weights[has_shape]
        )
    except InvalidInput as error:
        return None, Title(f"人口无法分摊：{error.problem}", f"People cannot be spread: {error.problem}")
    of = dict(zip(np.array(buildings.ids, object)[has_shape].tolist(), made.people.tolist(), strict=True))
    people = np.array([of.get(homes.ids[row], np.nan) for row in np.flatnonzero(is_wet)])
    n_unknown = int(np.isnan(people).sum())
    if n_unknown:
        note = Title(f"{n_unknown} 栋受淹建筑人口未知", f"People of {n_unknown} buildings in the water are not known.")
        return None, note
    return float(people.sum()), None


def _finest(units: Features) -> NDArray[np.int64]:
    """Rows of units that no other unit is part of, by their codes; all where codes are missing."""
    codes = words(units, "xzqdm")
    rows = [row for row, shape in enumerate(units.geometry) if shape is not None]
    known = [codes[row] or units.ids[row] for row in rows]
    ordered = sorted(known)
    above = {a for a, b in pairwise(ordered) if b != a and b.startswith(a)}
    return np.array([row for row, code in zip(rows, known, strict=True) if code not in above], np.int64)


CHECKS = (
    Check(
        id="inundation",
        supervision="water",
        title=Title("现水位淹没影响", "Inundation at present levels"),
        rules=RULES,
        needs=("sensor",),
        run=run,
    ),
)
