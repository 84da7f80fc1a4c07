"""What is built against what was permitted: outline, height by record, model and surface, floor area, progress."""

import datetime as dt
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.catalogue import Title
from layers.errors import CityTwinError
from twin.analysis.elevation import elevation
from twin.analysis.illegal_building_screen import named_pairs
from twin.analysis.illegal_building_screen_excess import Cover, cover
from twin.analysis.illegal_building_screen_reasons import beyond
from twin.analysis.model_diff_dsm import inside as cells_inside
from twin.analysis.parcel_intensity import floor_areas
from twin.analysis.parcel_intensity_areas import parts, union_areas
from twin.analysis.parcel_intensity_buildings import COLUMNS, chosen, heights, is_estimated, standing
from twin.analysis.parcel_intensity_read import usable
from twin.analysis.place import numbers, words
from twin.analysis.verdict import SAME
from twin.store.interface import Features
from twin.supervision.check import Check, Context, Finding, Passed, finding
from twin.supervision.checks.intensity import PERMIT_COLUMNS, inside, reach_of
from twin.supervision.rules import Confidence, softened

FloatArray = NDArray[np.float64]

FOOTPRINT, HEIGHT, FLOOR_AREA, PROGRESS = (
    "as-built-footprint", "as-built-height", "as-built-floor-area", "construction-progress",
)  # fmt: skip
WHOLE_PCT = 95.0
"""A permitted outline that is built on to this share is built."""
PHASES = ("plan", "permit", "construction", "completed", "existing")
ZONE = dt.timezone(dt.timedelta(hours=8))


@dataclass(frozen=True)
class _Site:
    """Permits around a place, those that lie in it (`rows`), the buildings on them, and which belongs to which."""

    permits: Features
    rows: list[int]
    houses: Features
    held: Cover
    permitted_m: FloatArray

    def houses_of(self, permit: int) -> NDArray[np.int64]:
        return self.held.building[self.held.permit == permit]


def run(context: Context) -> Iterator[Finding | Passed]:
    """Each permit that lies in the place, and the progress of each site."""
    own = inside(context, context.read("permit_building", properties=PERMIT_COLUMNS))
    sites = _sites(context)
    reach = max(reach_of(context, own.geometry), reach_of(context, sites.geometry))
    houses = usable(context.read("building", reach_m=reach, properties=COLUMNS))
    houses = chosen(houses, standing(houses))
    # a building on the edge may have a second permit that lies outside
    reach = max(reach, reach_of(context, houses.geometry))
    permits = usable(context.read("permit_building", reach_m=reach, properties=PERMIT_COLUMNS))
    named = set(own.ids)
    rows = [row for row, name in enumerate(permits.ids) if name in named]
    held = cover(houses.geometry, permits.geometry, named_pairs(houses, permits))
    site = _Site(permits, rows, houses, held, heights(permits))
    if rows:
        yield from _footprints(context, site)
        yield from _heights(context, site)
        yield from _models(context, site)
        yield from _surface(context, site)
        yield from _floor_areas(context, site)
    elif context.site is not None:
        note = Title("范围内没有规划许可", "No permit is recorded here.")
        for rule in (FOOTPRINT, HEIGHT, FLOOR_AREA):
            yield finding(context.rules[rule], (context.site,), None, context.region, verdict="unknown", note=note)
    yield from _progress(context, site, sites)


def _one(site: _Site, permit: int, house: int | None = None) -> tuple[str, ...]:
    own = (f"permit_building/{site.permits.ids[permit]}",)
    return own if house is None else (f"building/{site.houses.ids[house]}", *own)


def _first_permit(site: _Site) -> NDArray[np.int64]:
    """(n,) one permit of each building, -1 for none; only buildings with a permit of the place are spoken of."""
    out = np.full(len(site.houses), -1, np.int64)
    is_ours = np.isin(site.held.permit, site.rows)
    out[site.held.building[is_ours][::-1]] = site.held.permit[is_ours][::-1]
    return out


def _footprints(context: Context, site: _Site) -> Iterator[Finding | Passed]:
    rule, first = context.rules[FOOTPRINT], _first_permit(site)
    is_beyond = beyond(site.held.excess_m2, site.held.share, rule)
    n_good = 0
    for row in np.flatnonzero(first >= 0).tolist():
        if not is_beyond[row]:
            n_good += 1
            continue
        yield finding(
            rule, _one(site, int(first[row]), row), float(site.held.excess_m2[row]), site.held.excess[row],
            verdict=softened("fail", rule.confidence), evidence=f"/collections/building/items/{site.houses.ids[row]}",
        )  # fmt: skip
    if n_good:
        yield Passed(rule.id, n_good)


def _heights(context: Context, site: _Site) -> Iterator[Finding | Passed]:
    """Recorded heights of buildings against the highest of their permits."""
    rule, first = context.rules[HEIGHT], _first_permit(site)
    limit, lacks = site.held.highest(site.permitted_m)
    height, guessed = heights(site.houses), is_estimated(site.houses, "height_m")
    slack = float(rule.parameters["estimated_tolerance_m"])
    n_good = 0
    for row in np.flatnonzero(first >= 0).tolist():
        allowed = np.nan if lacks[row] else float(limit[row]) + (slack if guessed[row] else 0.0)
        sure: Confidence = "low" if guessed[row] else rule.confidence
        verdict = rule.judged(float(height[row]), allowed, sure)
        if verdict == "pass":
            n_good += 1
            continue
        note = rule.note
        if verdict == "unknown":
            note = Title("建筑或许可的高度未知", "The height of the building or of its permit is not known.")
        yield finding(
            rule, _one(site, int(first[row]), row), float(height[row]), site.houses.geometry[row],
            limit=None if np.isnan(allowed) else allowed, confidence=sure, verdict=verdict, note=note,
            evidence=f"/collections/building/items/{site.houses.ids[row]}",
        )  # fmt: skip
    if n_good:
        yield Passed(rule.id, n_good)


def _models(context: Context, site: _Site) -> Iterator[Finding | Passed]:
    """Highest element of a model on each permitted outline, above the building's base or else the ground."""
    found = context.read("bim_element", reach_m=reach_of(context, site.permits.geometry),
                         properties=("top_elev_m",))  # fmt: skip
    is_area = (shapely.get_dimensions(found.geometry) == 2) & shapely.is_valid(found.geometry)
    found = chosen(found, np.flatnonzero(is_area))
    if not len(found):
        return
    rule, top = context.rules[HEIGHT], numbers(found, "top_elev_m")
    middle = shapely.point_on_surface(shapely.force_2d(found.geometry))
    element, permit = shapely.STRtree(site.permits.geometry).query(middle, predicate="within")
    base = numbers(site.houses, "base_elev_m")
    for row in np.intersect1d(permit, site.rows).tolist():
        mine = top[element[permit == row]]
        if np.isnan(mine).all():
            continue
        bases = base[site.houses_of(row)]
        level = float(np.nanmin(bases)) if len(bases) and not np.isnan(bases).all() else _ground(context, site, row)
        measured, limit = float(np.nanmax(mine)) - level, float(site.permitted_m[row])
        note = Title("BIM模型最高构件至基底或地面", "Highest element of the model above base or ground")
        yield finding(
            rule, _one(site, row), measured, site.permits.geometry[row], limit=None if np.isnan(limit) else limit,
            verdict=rule.judged(measured, limit), part="bim", note=note,
            evidence=f"/collections/permit_building/items/{site.permits.ids[row]}",
        )  # fmt: skip


def _ground(context: Context, site: _Site, permit: int) -> float:
    spot = shapely.point_on_surface(site.permits.geometry[permit])
    return float(context.city.height(spot.x, spot.y))


def _surface(context: Context, site: _Site) -> Iterator[Finding | Passed]:
    """Surface model over the ground on outlines with a building; only for review, and only within a site."""
    if context.site is None:
        return
    rule = context.rules[HEIGHT]
    built = [row for row in site.rows if len(site.houses_of(row))]
    if not built:
        return
    where = shapely.box(*shapely.total_bounds(site.permits.geometry[built]))
    try:
        surface = elevation(context.city, "dsm", {"collection": "dsm"}, region=where)
        ground = elevation(context.city, "dem", None, region=where).on(surface.grid)
    except CityTwinError:
        return
    slack, share = float(rule.parameters["estimated_tolerance_m"]), float(rule.parameters["dsm_quantile_pct"])
    n_good = 0
    for row in built:
        shape = site.permits.geometry[row]
        top, left, rows, columns = surface.grid.window(shape.bounds)
        if not rows or not columns:
            continue
        above = surface.read(top, left, rows, columns) - ground.read(top, left, rows, columns)
        cut = surface.grid.cut(top, left, rows, columns)
        values = above[cells_inside(cut, 0, rows, shape)]
        values = values[~np.isnan(values)]
        if not len(values):
            continue
        measured, limit = float(np.percentile(values, share)), float(site.permitted_m[row]) + slack
        verdict = rule.judged(measured, limit, "low")
        if verdict == "pass":
            n_good += 1
            continue
        note = Title("表面模型减地面，含容差；仅供核查", "Surface less ground, with an allowance; for review only")
        yield finding(
            rule, _one(site, row), measured, shape, limit=None if np.isnan(limit) else limit, confidence="low",
            verdict=verdict, part="dsm", note=note,
        )  # fmt: skip
    if n_good:
        yield Passed(rule.id, n_good)


def _floor_areas(context: Context, site: _Site) -> Iterator[Finding | Passed]:
    """Floor area of the buildings of a permit over the permitted one, in percent of it."""
    rule = context.rules[FLOOR_AREA]
    floor, allowed = floor_areas(site.houses), numbers(site.permits, "gfa_m2")
    n_good = 0
    for row in site.rows:
        name, mine = site.permits.ids[row], site.houses_of(row)
        if not len(mine):
            continue
        several = site.held.n_permits[mine] > 1
        measured = np.nan if several.any() else 100.0 * (float(floor[mine].sum()) / float(allowed[row]) - 1.0) \
            if allowed[row] > 0 else np.nan  # fmt: skip
        verdict = rule.judged(measured)
        if verdict == "pass":
            n_good += 1
            continue
        note = rule.note
        if verdict == "unknown":
            note = Title(
                "层数或许可面积未知，或建筑跨多个许可",
                "Storeys or the permitted area are not known, or a building has several permits.",
            )
        yield finding(
            rule, _one(site, row), measured, site.permits.geometry[row], verdict=verdict, note=note,
            evidence=f"/collections/permit_building/items/{name}",
        )  # fmt: skip
    if n_good:
        yield Passed(rule.id, n_good)


def _sites(context: Context) -> Features:
    """The construction sites of the place; of a site itself only that one."""
    found = context.read("construction_site", properties=("stage", "end_date"))
    if context.site is not None and context.site.startswith("construction_site/"):
        name = context.site.partition("/")[2]
        found = chosen(found, np.array([row for row, each in enumerate(found.ids) if each == name], np.int64))
    return usable(found)


def _progress(context: Context, site: _Site, found: Features) -> Iterator[Finding | Passed]:
    """Of each construction site: share of the permitted outlines that is built on, counts by phase."""
    rule, day = context.rules[PROGRESS], (context.moment or context.now).astimezone(ZONE).date()
    ends = words(found, "end_date")
    for row, name in enumerate(found.ids):
        area = found.geometry[row]
        met = parts(np.array([area], dtype=object), site.permits.geometry)
        whole = float(met.area_m2.sum())
        built = np.nan
        if whole > 1.0:
            on = parts(met.piece, site.houses.geometry)
            built = 100.0 * float(union_areas(on, len(met.piece)).sum()) / whole
        end = None if ends[row] is None else dt.date.fromisoformat(str(ends[row])[:10])
        due = end is not None and end < day
        limit = WHOLE_PCT if due else 0.0 if end is not None else np.nan
        verdict = rule.judged(built, limit)
        note = _phases(site, area, end, words(found, "stage")[row])
        yield finding(
            rule, (f"construction_site/{name}",), built, area, limit=None if np.isnan(limit) else limit,
            verdict=verdict, note=note, evidence=f"/collections/construction_site/items/{name}",
        )  # fmt: skip


def _phases(site: _Site, area: shapely.Geometry, end: dt.date | None, stage: str | None) -> Title:
    """How many things of which phase are on a site."""
    counts: Counter[str] = Counter()
    for found, otherwise in ((site.houses, "existing"), (site.permits, "permit")):
        if len(found):
            shared = shapely.area(shapely.intersection(found.geometry, area))
            phases = words(found, "phase")
            counts.update((phases[row] or otherwise) for row in np.flatnonzero(shared > SAME).tolist())
    listed = ", ".join(f"{phase} {counts[phase]}" for phase in PHASES if counts[phase]) or "0"
    return Title(
        f"按阶段：{listed}；施工阶段：{stage or '未知'}；计划竣工：{end or '未知'}",
        f"By phase: {listed}; stage: {stage or 'unknown'}; planned end: {end or 'unknown'}",
    )


CHECKS = (
    Check(
        id="as-built",
        supervision="construction",
        title=Title("许可与建成比对", "Permit against what is built"),
        rules=(FOOTPRINT, HEIGHT, FLOOR_AREA, PROGRESS),
        needs=("permit_building",),
        run=run,
    ),
)
