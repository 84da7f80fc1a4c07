"""Layers of land as they are drawn and stated: topology, areas on the ellipsoid, farmland between two surveys."""

from collections.abc import Iterator

import numpy as np
import shapely
from numpy.typing import NDArray

from layers import land_codes
from layers.catalogue import Title
from layers.ellipsoid_area import MU_M2, areas_m2, lengths_m
from twin.analysis import place
from twin.analysis.land_classes import SYSTEM, is_known, plain
from twin.analysis.landuse_transition import YEAR, Transition, transition
from twin.analysis.overlay import polygonal
from twin.analysis.topology_check import Topology, topology
from twin.analysis.verdict import SAME, Verdict
from twin.store.interface import Features
from twin.supervision import land
from twin.supervision.check import Check, Context, Finding, Passed, finding
from twin.supervision.rules import Rule, softened

FloatArray = NDArray[np.float64]

TOPOLOGY = ("topology-valid", "topology-overlap", "topology-gap")
SIDE_BY_SIDE = {"land_survey": YEAR, "parcel": None, "homestead": None, "land_plan": None, "admin_unit": "unit_level"}
"""Layers whose areas do not overlap, and the attribute whose values may cover each other."""
WITHOUT_GAPS = ("land_survey",)
STATED = {"land_survey": "TBMJ", "parcel": "area_m2", "homestead": "area_m2", "pbf": "area_m2",
          "project_land": "approved_area_m2"}  # fmt: skip
"""Layers with a stated area."""


def topologies(context: Context) -> Iterator[Finding | Passed]:
    """Each layer of areas that lie side by side."""
    for layer, group in SIDE_BY_SIDE.items():
        found = context.read(layer, properties=() if group is None else (group,))
        groups = place.words(found, group) if group is not None else [None] * len(found)
        for each in sorted(set(groups), key=str):
            rows = np.flatnonzero([one == each for one in groups])
            mine = land.chosen(found, found.geometry, rows)
            told = topology(mine.geometry, context.city.crs, progress=context.progress)
            yield from _topology(context, layer, "" if each is None else str(each), mine, told)


def _topology(context: Context, layer: str, part: str, found: Features, told: Topology) -> Iterator[Finding | Passed]:
    valid, overlap, gap = (context.rules[each] for each in TOPOLOGY)
    for row, reason in zip(told.invalid.tolist(), told.reasons, strict=True):
        note = Title(f"图形无效：{reason}", f"Not valid: {reason}")
        shape = told.repaired[row]
        yield finding(valid, (f"{layer}/{found.ids[row]}",), 1.0, shape, note=note, part=part)
    if len(found) > len(told.invalid):
        yield Passed(valid.id, len(found) - len(told.invalid))
    pairs, tolerance = told.overlaps, float(overlap.value or 0.0) + SAME
    is_large = pairs.areas_m2 > tolerance
    for row in np.flatnonzero(is_large).tolist():
        objects = f"{layer}/{found.ids[pairs.left[row]]}", f"{layer}/{found.ids[pairs.right[row]]}"
        where = polygonal(pairs.shapes[row : row + 1])[0]
        yield finding(overlap, objects, float(pairs.areas_m2[row]), where, part=part)
    slivers = np.flatnonzero(~is_large)
    if slivers.size:
        yield _slivers(overlap, layer, part, pairs.areas_m2[slivers], pairs.shapes[slivers])
    elif not is_large.any():
        yield Passed(overlap.id, 1)
    if layer not in WITHOUT_GAPS:
        return
    here = np.ones(len(told.gaps), bool)
    if context.region is not None:
        here = shapely.intersects(told.gaps, context.region)
    is_large = told.gap_m2 > float(gap.value or 0.0) + SAME
    for i, row in enumerate(np.flatnonzero(here & is_large).tolist()):
        at = shapely.point_on_surface(told.gaps[row])
        name = f"{part} {at.x:.0f} {at.y:.0f}" if i or part else f"{at.x:.0f} {at.y:.0f}"
        yield finding(gap, (layer,), float(told.gap_m2[row]), told.gaps[row], part=name)
    if (here & ~is_large).any():
        yield _slivers(gap, layer, part, told.gap_m2[here & ~is_large], told.gaps[here & ~is_large])
    elif not (here & is_large).any():
        yield Passed(gap.id, 1)


def _slivers(rule: Rule, layer: str, part: str, area: FloatArray, shapes: NDArray[np.object_]) -> Finding:
    note = Title(f"{len(area)} 处碎片，共 {area.sum():.3f} 平方米", f"{len(area)} slivers, {area.sum():.3f} m² in all")
    where = shapely.union_all(polygonal(shapes))
    name = f"{part} slivers".strip()
    return finding(rule, (layer,), float(area.max()), where, verdict="pass", note=note, part=name)


def stated_areas(context: Context) -> Iterator[Finding | Passed]:
    """Each stated area against the outline's; what states none is told by layer."""
    rule = context.rules["stated-area"]
    share, rounding = float(rule.parameters["share"]), float(rule.parameters["rounding_m2"])
    half_mm = float(rule.parameters["coordinate_m"])
    for layer, column in STATED.items():
        found = land.areas(context, layer, (column,))
        if not len(found):
            continue
        stated, own = place.numbers(found, column), areas_m2(found.geometry, context.city.crs)
        limit = np.clip(share * own, rounding, float(rule.value or 0.0))
        off = np.abs(stated - own)
        bad = np.flatnonzero(off > limit + SAME)
        may_hide = half_mm * lengths_m(found.geometry, context.city.crs)
        for row in bad.tolist():
            verdict: Verdict = "fail" if off[row] > limit[row] + may_hide[row] else "review"
            note = Title(f"登记 {stated[row]:.2f}，椭球面积 {own[row]:.2f} 平方米",
                         f"Stated {stated[row]:.2f}, on the ellipsoid {own[row]:.2f} m²")  # fmt: skip
            yield finding(rule, (f"{layer}/{found.ids[row]}",), float(off[row]), found.geometry[row],
                          limit=float(limit[row]), note=note, verdict=softened(verdict, rule.confidence),
                          evidence=land.item(layer, found.ids[row]))  # fmt: skip
        lacking = int(np.isnan(stated).sum())
        if lacking:
            note = Title(f"{lacking} 个要素没有面积 ({column})", f"{lacking} features state no area ({column})")
            yield finding(rule, (layer,), None, None, verdict="unknown", note=note)
        if len(found) > len(bad) + lacking:
            yield Passed(rule.id, len(found) - len(bad) - lacking)


def class_areas(context: Context) -> Iterator[Finding | Passed]:
    """Class area = parcel area less deducted area, deducted area = parcel area times its ratio, as far as stated."""
    rule = context.rules["survey-class-area"]
    found = land.areas(context, "land_survey", ("TBMJ", "KCXS", "KCMJ", "TBDLMJ"))
    whole, ratio, less, own = (place.numbers(found, each) for each in ("TBMJ", "KCXS", "KCMJ", "TBDLMJ"))
    off = np.fmax(np.abs(whole - less - own), np.abs(whole * ratio - less))
    bad = np.flatnonzero(off > float(rule.value or 0.0) + SAME)
    for row in bad.tolist():
        yield finding(rule, (f"land_survey/{found.ids[row]}",), float(off[row]), found.geometry[row])
    known = int((~np.isnan(off)).sum()) - len(bad)
    if known:
        yield Passed(rule.id, known)


def farmland(context: Context) -> Iterator[Finding | Passed]:
    """Farmland of the last survey but one that is another class in the last one."""
    rule = context.rules["farmland-loss"]
    found = land.areas(context, "land_survey", ("DLBM", SYSTEM, YEAR))
    years = sorted({int(each) for each in place.numbers(found, YEAR).tolist() if not np.isnan(each)})
    if len(years) < 2:
        note = Title("没有两次调查可比", "There are no two surveys to compare")
        yield finding(rule, ("land_survey",), None, context.region, verdict="unknown", note=note)
        return
    of_year = place.numbers(found, YEAR)
    old, new = (land.chosen(found, found.geometry, np.flatnonzero(of_year == year)) for year in years[-2:])
    systems = {each for one in (old, new) for each in place.words(one, SYSTEM)}
    if len(systems) != 1 or None in systems:
        note = Title(
            f"{years[-2]} 与 {years[-1]} 的分类体系不同或缺失",
            f"Code systems of {years[-2]} and {years[-1]} differ or lack",
        )
        yield finding(rule, ("land_survey",), None, context.region, verdict="unknown", note=note)
        return
    told = transition(old.geometry, new.geometry, context.city.crs, context.progress)
    yield from _lost(context, old, new, told, str(systems.pop()))


def _lost(context: Context, old: Features, new: Features, told: Transition, system: str) -> Iterator[Finding | Passed]:
    rule, pieces = context.rules["farmland-loss"], told.pieces
    was, now = (
        [None if code is None else plain(code, system) for code in place.words(each, "DLBM")] for each in (old, new)
    )
    was_farmland, is_farmland = (
        np.array(
            [bool(code) and is_known(str(code), system) and land_codes.is_farmland(str(code)) for code in each], bool
        )
        for each in (was, now)
    )
    known = np.array([bool(code) and is_known(str(code), system) for code in now], bool)[pieces.right]
    lost = was_farmland[pieces.left] & ~is_farmland[pieces.right]
    lost &= pieces.areas_m2 > float(rule.parameters["least_m2"]) + SAME
    here = np.ones(len(pieces), bool)
    if context.region is not None:
        here = shapely.area(shapely.intersection(polygonal(pieces.shapes), context.region)) > land.TOUCH_M2
    lost &= here
    for row in np.flatnonzero(lost).tolist():
        i, j = int(pieces.left[row]), int(pieces.right[row])
        words = " → ".join(
            f"{code or '?'} {land_codes.name(str(code), system) or ''}".strip() for code in (was[i], now[j])
        )
        yield finding(
            rule, (f"land_survey/{new.ids[j]}", f"land_survey/{old.ids[i]}"), float(pieces.areas_m2[row]) / MU_M2,
            polygonal(pieces.shapes[row : row + 1])[0], note=Title(words, words),
            verdict=None if known[row] else "unknown",
            evidence=land.item("land_survey", new.ids[j]),
        )  # fmt: skip
    kept = int((was_farmland[pieces.left] & is_farmland[pieces.right] & here).sum())
    if kept:
        yield Passed(rule.id, kept)


CHECKS = (
    Check("land-topology", "one-map", Title("地类、宗地、宅基地和规划图斑拓扑", "Topology of land layers"),
          TOPOLOGY, (), topologies),
    Check("stated-areas", "one-map", Title("登记面积与椭球面积", "Stated areas against the ellipsoid"),
          ("stated-area",), (), stated_areas),
    Check("survey-class-areas", "one-map", Title("图斑地类面积", "Class areas of the survey"), ("survey-class-area",),
          ("land_survey",), class_areas),
    Check("farmland-loss", "one-map", Title("耕地变化", "Farmland between two surveys"), ("farmland-loss",),
          ("land_survey",), farmland),
)  # fmt: skip
