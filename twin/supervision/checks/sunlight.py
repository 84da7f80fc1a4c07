"""Sunlight of the neighbours: what the new buildings of a site take from dwellings around it.

New are permits on a site on which nothing stands yet, and buildings on it that are planned, permitted or under
construction, or not older than the site. Windows are not recorded, so points along the walls that face the sun stand
for them: a dwelling fails where no point has enough, and is to be reviewed where only some have not.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import shapely

from layers.catalogue import Title
from twin.analysis import place, site_features, sun_position, sunlight_day
from twin.analysis.parcel_intensity_read import usable
from twin.analysis.sunlight_day import Day
from twin.analysis.sunlight_hours import Sunlight, hours_of
from twin.analysis.sunlight_place import MOST_HEIGHT_M, chosen, near_obstacles, once, prisms
from twin.analysis.sunlight_shadow import facade, reach_m, shading
from twin.analysis.verdict import SAME, Verdict
from twin.store.interface import Features
from twin.supervision.check import Check, Context, Finding, Passed, finding
from twin.supervision.checks.intensity import inside, unbuilt
from twin.supervision.rules import Rule

RULE, SITE = "sunlight-loss", "construction_site"
COLUMNS = ("base_elev_m", "height_m", "use", "phase", "year", "same_as")
HEIGHTS = ("base_elev_m", "height_m", "top_elev_m")
TO_COME = ("plan", "permit", "construction")
MOST_REACH_M = 2000.0


@dataclass(frozen=True)
class _Points:
    """Points along walls: (n, 3), true azimuth each faces, row of the neighbour it belongs to."""

    xyz: np.ndarray
    facing_deg: np.ndarray
    house: np.ndarray


def run(context: Context) -> Iterator[Finding | Passed]:
    """Neighbours of the sites of the place, one site after the other."""
    sites = inside(context, context.read(SITE, properties=("start_date",)))
    days: dict[str, Day] = {}
    for use in ("dwelling", "elderly"):
        if sunlight_day.rule_line(context.rules, use, None, None)[1] is not None:
            days[use] = sunlight_day.settle(context.rules, use=use)
    for i in range(len(sites)):
        new, names = _new(context, chosen(sites, np.array([i])))
        if not len(new):
            continue
        if "dwelling" not in days:
            yield _no_zone(context, new, names)
        if days:
            yield from _neighbours(context, new, names, days)


def _no_zone(context: Context, new: Features, names: list[str]) -> Finding:
    note = Title(
        "未给定建筑气候区划与城区人口（规则 sunlight-place），无法判定住宅日照",
        "Climate zone and urban population (rule sunlight-place) are not given, so dwellings cannot be judged.",
    )
    return finding(
        context.rules[RULE], tuple(names[:20]), None, shapely.union_all(new.geometry), verdict="unknown", note=note
    )


def _new(context: Context, sites: Features) -> tuple[Features, list[str]]:
    """What is new on a site, as `layer/id` too."""
    area = shapely.force_2d(sites.geometry[0])
    years = [int(each[:4]) for each in place.words(sites, "start_date") if each and each[:4].isdigit()]
    houses = once(site_features.around(context.city, "building", area, COLUMNS, at=context.moment))
    on_site = np.flatnonzero(shapely.intersects(shapely.point_on_surface(houses.geometry), area))
    houses = chosen(houses, on_site)
    phases, year = place.words(houses, "phase"), place.numbers(houses, "year")
    is_new = np.array([phase in TO_COME for phase in phases], bool)
    if years:
        with np.errstate(invalid="ignore"):
            is_new |= year >= min(years)
    permits = place.collected(())
    if context.has("permit_building"):
        found = usable(site_features.around(context.city, "permit_building", area, ("height_m",), at=context.moment))
        found = chosen(found, np.flatnonzero(shapely.intersects(shapely.point_on_surface(found.geometry), area)))
        permits = unbuilt(houses, found)
    built = chosen(houses, np.flatnonzero(is_new))
    names = [f"building/{each}" for each in built.ids] + [f"permit_building/{each}" for each in permits.ids]
    return place.collected([_plain(built), _plain(permits)]), names


def _plain(found: Features) -> Features:
    return replace(found, attributes=pa.table({name: place.numbers(found, name) for name in HEIGHTS}))


def _neighbours(context: Context, new: Features, names: list[str], days: dict[str, Day]) -> Iterator[Finding | Passed]:
    rule = context.rules[RULE]
    told: dict[str, Any] = dict(rule.parameters)
    bound = float(told["unknown_height_up_to_m"])
    middle = shapely.centroid(shapely.union_all(new.geometry))
    phi = float(sun_position.place_of(context.city.crs, np.array([middle.x]), np.array([middle.y]))[0][0])
    tallest = prisms(context.city, new, bound, 0.0)[1].tops_m.max() - _lowest(context, new)

    def reach(height_m: float) -> float:
        spans = (reach_m(phi, day.declination_deg, day.from_h, day.to_h, height_m) for day in days.values())
        return min(max(spans), MOST_REACH_M)

    box = np.array(shapely.total_bounds(new.geometry)) + np.array([-1, -1, 1, 1]) * reach(max(tallest, 3.0))
    around = near_obstacles(
        context.city, tuple(box.tolist()), reach(bound), min(reach(MOST_HEIGHT_M), MOST_REACH_M),
        _lowest(context, new) + bound, at=context.moment,
    )  # fmt: skip
    own = {name.partition("/")[2] for name in names if name.startswith("building/")}
    around = chosen(around, np.flatnonzero([each not in own for each in around.ids]))
    groups = _by_use(around, told, box)
    for use, rows in groups.items():
        if use in days and len(rows):
            yield from _group(context, new, names, around, rows=rows, day=days[use])


def _lowest(context: Context, found: Features) -> float:
    from twin.analysis.sunlight_place import bases_m

    base = bases_m(context.city, found)
    return float(np.nanmin(base, initial=np.inf)) if np.isfinite(base).any() else 0.0


def _by_use(around: Features, told: dict[str, Any], box: np.ndarray) -> dict[str, np.ndarray]:
    """Rows of dwellings by the rule that speaks of them, within the shadow's reach."""
    words = [(each or "").lower() for each in place.words(around, "use")]
    is_near = np.asarray(shapely.intersects(around.geometry, shapely.box(*box)))
    elderly = np.array([any(each.lower() in word for each in told["elderly_uses"]) for word in words], bool)
    homes = np.array([any(each.lower() in word for each in told["dwelling_uses"]) for word in words], bool)
    return {"elderly": np.flatnonzero(elderly & is_near), "dwelling": np.flatnonzero(homes & ~elderly & is_near)}


def _group(
    context: Context, new: Features, names: list[str], around: Features, *, rows: np.ndarray, day: Day
) -> Iterator[Finding | Passed]:
    rule = context.rules[RULE]
    told = rule.parameters
    bound = float(told["unknown_height_up_to_m"])
    points = _wall_points(context, around, rows, day, told)
    top = float(np.nanmax(points.xyz[:, 2], initial=0.0))
    fresh = prisms(context.city, new, bound, top)
    latitude, turn = sun_position.place_of(context.city.crs, points.xyz[:, 0], points.xyz[:, 1])
    ok = np.flatnonzero(np.isfinite(points.xyz[:, 2]))
    near = shading(
        points.xyz[ok], fresh[1], latitude_deg=latitude[ok], declination=day.declination_deg, from_h=day.from_h,
        to_h=day.to_h, convergence_deg=turn[ok],
    )  # fmt: skip
    touched = ok[np.flatnonzero([len(each) > 0 for each in near])]
    houses = np.unique(points.house[touched])
    keep = np.flatnonzero(np.isin(points.house, houses))
    shaded_by: dict[int, set[int]] = defaultdict(set)
    for at, each in zip(ok.tolist(), near, strict=True):
        shaded_by[int(points.house[at])].update(each.tolist())
    if not keep.size:
        return
    where: dict[str, Any] = {
        "latitude_deg": latitude[keep], "convergence_deg": turn[keep], "facing_deg": points.facing_deg[keep],
    }  # fmt: skip
    plain = _plain(around)
    before = hours_of(points.xyz[keep], prisms(context.city, plain, bound, top), day, **where)
    both = prisms(context.city, place.collected([plain, new]), bound, top)
    after = hours_of(points.xyz[keep], both, day, **where, progress=context.progress)
    n_passed = 0
    for house in houses.tolist():
        some = np.flatnonzero(points.house[keep] == house)
        told_verdict, measured, words = judged(before, after, some, day.limit_h or 0.0, float(told["least_loss_h"]))
        if told_verdict == "pass":
            n_passed += 1
            continue
        causes = [names[each] for each in sorted(shaded_by[house])][:5]
        yield finding(
            _of(rule, day), (f"building/{around.ids[house]}", *causes), measured, around.geometry[house],
            limit=day.limit_h, verdict=told_verdict, note=words, part=day.rule.id if day.rule else "",
            evidence=f"/collections/building/items/{around.ids[house]}",
        )  # fmt: skip
    if n_passed:
        yield Passed(RULE, n_passed)


def _of(rule: Rule, day: Day) -> Rule:
    """The rule with the clause of the standard's line that counted."""
    return rule if day.rule is None else replace(rule, clause=day.rule.clause, source=day.rule.source)


def _wall_points(context: Context, around: Features, rows: np.ndarray, day: Day, told: Any) -> _Points:
    """Points along the walls that face the sun's side of the day, at the sill of the ground floor."""
    from twin.analysis.sunlight_place import bases_m

    sill = float(day.rule.parameters["sill_m"]) if day.rule else 0.9
    some = chosen(around, rows)
    base = bases_m(context.city, some)
    xyz, facing, house = [np.empty((0, 3))], [np.empty(0)], [np.empty(0, np.int64)]
    for k, shape in enumerate(some.geometry):
        points, bearing = facade(shape, float(base[k]) + sill, float(told["wall_spacing_m"]))
        if not len(points):
            continue
        turn = sun_position.place_of(context.city.crs, points[:1, 0], points[:1, 1])[1][0]
        azimuth = bearing + turn
        off = np.abs((azimuth - 180.0 + 180.0) % 360.0 - 180.0)
        chosen_rows = np.flatnonzero(off <= float(told["main_facing_deg"]) + SAME)
        xyz.append(points[chosen_rows])
        facing.append(azimuth[chosen_rows])
        house.append(np.full(len(chosen_rows), rows[k]))
    return _Points(np.concatenate(xyz), np.concatenate(facing), np.concatenate(house))


def judged(
    before: Sunlight, after: Sunlight, rows: np.ndarray, limit_h: float, least_loss_h: float
) -> tuple[Verdict, float | None, Title | None]:
    """What comes of the points of one dwelling: verdict, hours that it rests on, and why.

    Passes where nothing is lost, or every point that loses has the limit left. Fails where no point has it left. To be
    reviewed where some that lose have not. Unknown where buildings of unknown height leave this open.
    """
    least, most = after.at_least_h[rows], after.at_most_h[rows]
    known = ~np.isnan(least)
    if not known.any():
        return "unknown", None, Title("测点高度或位置未知", "The points have no height, or lie inside a building.")
    least, most, first = least[known], most[known], before.at_most_h[rows][known]
    is_lost = first - least > least_loss_h + 1e-9
    is_enough = least >= limit_h - SAME
    if not (is_lost & ~is_enough).any():
        return "pass", None, None
    at = int(np.argmin(np.where(is_lost, least, np.inf)))
    n, well, from_h, to_h = len(least), int(is_enough.sum()), float(first[at]), float(least[at])
    words = Title(
        f"最不利测点由 {from_h:.2f} h 减至 {to_h:.2f} h；{n} 个测点中 {well} 个达标",
        f"The worst point goes from {from_h:.2f} h to {to_h:.2f} h; {well} of {n} points have enough.",
    )
    is_short = most < limit_h - SAME
    if is_short.all():
        return "fail", float(most.max()), words
    if (is_lost & is_short).any():
        return "review", float(least[is_lost & is_short].min()), words
    return (
        "unknown",
        None,
        Title("附近有高度未知的建筑；" + words.zh, "Heights of buildings are not known. " + words.en),
    )


CHECKS = (
    Check(
        "neighbour-sunlight", "construction", Title("周边住宅日照", "Sunlight of the neighbours"), (RULE,),
        (SITE, "building"), run,
    ),
)  # fmt: skip
