"""Tower cranes of a site: against one another, against buildings, against overhead lines."""

from collections.abc import Iterator, Sequence

import numpy as np
import shapely

from layers.catalogue import Title
from twin.analysis import site_features
from twin.analysis.crane_conflict import (
    BUILDING_COLUMNS,
    COLUMNS,
    LINE,
    TAIL,
    TO_MAST,
    VERTICAL,
    Row,
    cranes_of,
    line_rows,
    pair_rows,
    tail_rows,
    tops_of,
)  # fmt: skip
from twin.analysis.crane_conflict_reach import MOST_JIB_M, MOST_TAIL_M, Cranes
from twin.analysis.place import numbers, words
from twin.analysis.sunlight_place import chosen, once
from twin.store.interface import Features
from twin.supervision.check import Check, Context, Finding, Passed, finding

CRANE, HOUSE, WIRE = "tower_crane", "building", "power_line"
_LINE_NUMBERS = ("horizontal_gap_m", "vertical_gap_m", "voltage_kv", "vertical_limit_m")
_ZH = {
    "jib_m is not known": "起重臂长未知",
    "which crane is higher is not known": "两机高低未知",
    "low_part_elev_m or top_elev_m is not known": "塔机最低部件或顶部高程未知",
    "tail_m is not known": "平衡臂长未知",
    "heights are not known": "塔机或建筑高程未知",
    "the table has no line for this voltage": "表中无此电压等级",
    "voltage_kv is not known": "电压未知",
    "heights of the line or of the crane are not known": "导线或塔机高程未知",
}


def run(context: Context) -> Iterator[Finding | Passed]:
    """Pairs of which one crane stands on the place or belongs to the site; tails and lines of the cranes that do."""
    found = context.read(CRANE, reach_m=2 * MOST_JIB_M, properties=(*COLUMNS, "site_code"))
    found = chosen(found, np.flatnonzero(~(shapely.is_missing(found.geometry) | shapely.is_empty(found.geometry))))
    if not len(found):
        return
    cranes = cranes_of(found, CRANE)
    here = np.ones(len(found), bool)
    if context.region is not None:
        here = np.asarray(shapely.intersects_xy(context.region, cranes.x, cranes.y))
        if context.site is not None:  # a crane of the site may stand beside its line
            here |= np.array([each == context.site.rpartition("/")[2] for each in words(found, "site_code")], bool)
    rows = [row for row in pair_rows(cranes, context.rules) if here[row.first] or here[row.second]]
    yield from _told(context, rows, cranes, found, (CRANE, found))
    own = np.flatnonzero(here)
    if not own.size:
        return
    mine, some = _some(cranes, own), chosen(found, own)
    spots = np.column_stack([mine.x, mine.y, mine.x, mine.y])
    if context.has(HOUSE):
        near = site_features.boxes(spots, MOST_TAIL_M + 5.0)
        houses = once(site_features.around(context.city, HOUSE, near, BUILDING_COLUMNS, at=context.moment))
        rows = tail_rows(mine, shapely.force_2d(houses.geometry), tops_of(houses, HOUSE), context.rules)
        yield from _told(context, rows, mine, some, (HOUSE, houses))
    else:
        yield from _no_layer(context, some, TAIL, HOUSE)
    if context.has(WIRE):
        near = site_features.boxes(spots, MOST_JIB_M + 25.0)
        wires = site_features.around(context.city, WIRE, near, ("voltage_kv",), at=context.moment)
        rows = line_rows(mine, wires.geometry, numbers(wires, "voltage_kv"), context.rules)
        yield from _told(context, rows, mine, some, (WIRE, wires))
    else:
        yield from _no_layer(context, some, LINE, WIRE)


def _some(cranes: Cranes, rows: np.ndarray) -> Cranes:
    return Cranes(*(getattr(cranes, name)[rows] for name in Cranes.__dataclass_fields__))


def _no_layer(context: Context, cranes: Features, rule: str, layer: str) -> Iterator[Finding]:
    for i, name in enumerate(cranes.ids):
        note = Title(f"城市没有图层 {layer}", f"The city has no layer {layer}.")
        yield finding(
            context.rules[rule], (f"{CRANE}/{name}",), None, cranes.geometry[i], verdict="unknown", note=note
        )  # fmt: skip


def _told(
    context: Context, rows: Sequence[Row], cranes: Cranes, found: Features, others: tuple[str, Features]
) -> Iterator[Finding | Passed]:
    """Findings of rows; what passes is counted, but for pairs and lines of a site, which are few."""
    n: dict[str, int] = {}
    layer, things = others
    for row in rows:
        if row.verdict == "pass" and (context.site is None or row.rule.id == TAIL):
            n[row.rule.id] = n.get(row.rule.id, 0) + 1
            continue
        mast = shapely.Point(cranes.x[row.first], cranes.y[row.first])
        yield finding(
            row.rule, (f"{CRANE}/{found.ids[row.first]}", f"{layer}/{things.ids[row.second]}"), row.measured,
            shapely.shortest_line(mast, shapely.force_2d(things.geometry[row.second])), limit=row.limit,
            confidence=row.rule.confidence, verdict=row.verdict, note=_note(row) or row.rule.note,
            evidence=f"/collections/{CRANE}/items/{found.ids[row.first]}",
        )  # fmt: skip
    for rule, count in n.items():
        yield Passed(rule, count)


def _note(row: Row) -> Title | None:
    if row.note:
        return Title(_ZH.get(row.note, row.note), row.note)
    if row.rule.id == LINE and row.verdict != "pass":
        flat, rise, kv, limit = (row.more[each] for each in _LINE_NUMBERS)
        return Title(
            f"{kv:g} kV：水平距离 {flat:.2f} m，垂直距离 {rise:.2f} m（需 {limit:g} m），二者满足其一即可",
            f"{kv:g} kV: {flat:.2f} m horizontally, {rise:.2f} m vertically ({limit:g} m wanted); one is enough.",
        )
    return None


CHECKS = (
    Check(
        "crane-conflict", "construction", Title("塔机冲突", "Conflicts of tower cranes"),
        (TO_MAST, VERTICAL, TAIL, LINE), (CRANE,), run,
    ),
)  # fmt: skip
