"""Projects and homesteads on permanent basic farmland, in the ecological red line, outside the urban boundary; and the
three lines against each other.
"""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import shapely

from layers.catalogue import Title
from twin.analysis.control_lines import MISSING, Against, Line, held, line_of
from twin.analysis.land_classes import SYSTEM
from twin.analysis.overlay import Cover, common, polygonal
from twin.analysis.verdict import SAME
from twin.supervision import land
from twin.supervision.check import Check, Context, Finding, Passed, finding
from twin.supervision.rules import Rule

PROJECT_RULES = ("pbf-occupied", "eco-redline-occupied", "urban-boundary-outside")
HOMESTEAD_RULES = ("homestead-on-farmland", "homestead-in-redline")
OVERLAP = "control-lines-overlap"
LINES = ("pbf", "eco_redline", "urban_boundary")


def projects(context: Context) -> Iterator[Finding | Passed]:
    """Each project of the place against the three lines."""
    yield from _against(context, "project_land", PROJECT_RULES)


def homesteads(context: Context) -> Iterator[Finding | Passed]:
    """Each homestead of the place against farmland and the red line."""
    yield from _against(context, "homestead", HOMESTEAD_RULES)


def _against(context: Context, layer: str, rules: tuple[str, ...]) -> Iterator[Finding | Passed]:
    columns = ("name", "planned_use", SYSTEM)
    for name in land.without_area(context, layer, columns):
        for each in rules:
            yield finding(context.rules[each], (f"{layer}/{name}",), None, None, verdict="unknown", note=land.NO_AREA)
    found = land.areas(context, layer, columns)
    if not len(found):
        return
    reach = land.reach_m(context, [found.geometry])
    told = held(found, [_line(context, context.rules[each], reach) for each in rules], context.city.crs)
    for against in told.against:
        rule, passed = against.line.rule, 0
        for row, verdict in enumerate(against.verdicts.tolist()):
            if verdict == "pass":
                passed += 1
                continue
            yield finding(
                rule, _objects(layer, found.ids[row], against), float(against.measured_m2[row]),
                against.part(row, told.shapes[row]) or told.shapes[row], verdict=verdict,
                note=against.notes[row] or rule.note, evidence=land.item(layer, found.ids[row]),
            )  # fmt: skip
        if passed:
            yield Passed(rule.id, passed)


def _objects(layer: str, name: str, against: Against) -> tuple[str, ...]:
    return f"{layer}/{name}", against.line.name


def _line(context: Context, rule: Rule, reach_m: float) -> Line:
    """The line of a rule as it is around the place; missing where its layer has no feature anywhere."""
    name = str(rule.parameters["layer"])
    if not land.count(context, name):
        return Line(name, rule, None, MISSING)
    found = context.read(name, reach_m=reach_m, properties=())
    return line_of(name, rule, found, context.city.crs) if len(found) else Line(
        name, rule, Cover(found.geometry, context.city.crs))  # fmt: skip


def overlaps(context: Context) -> Iterator[Finding | Passed]:
    """Each pair of lines, feature by feature; slivers are told together."""
    rule = context.rules[OVERLAP]
    lines = {name: land.areas(context, name, ()) for name in LINES if land.count(context, name)}
    for first, second in combinations(LINES, 2):
        lacking = [each for each in (first, second) if each not in lines]
        if lacking:
            names = ", ".join(lacking)
            note = Title(f"没有数据：{names}", f"There is no data of {names}")
            yield finding(rule, (first, second), None, context.region, verdict="unknown", note=note)
            continue
        left, right = lines[first], lines[second]
        pieces = common(left.geometry, Cover(right.geometry, context.city.crs)).pairs()
        shapes = polygonal(pieces.shapes)
        here = np.ones(len(pieces), bool)
        if context.region is not None:
            here = shapely.intersects(shapes, context.region)
        is_sliver = pieces.areas_m2 <= float(rule.value or 0.0) + SAME
        for row in np.flatnonzero(here & ~is_sliver).tolist():
            objects = f"{first}/{left.ids[pieces.left[row]]}", f"{second}/{right.ids[pieces.right[row]]}"
            yield finding(rule, objects, float(pieces.areas_m2[row]), shapes[row])
        slivers = np.flatnonzero(here & is_sliver)
        if slivers.size:
            total = float(pieces.areas_m2[slivers].sum())
            note = Title(
                f"{slivers.size} 处碎片，共 {total:.3f} 平方米", f"{slivers.size} slivers, {total:.3f} m² in all"
            )
            largest = float(pieces.areas_m2[slivers].max())
            where = shapely.union_all(shapes[slivers])
            yield finding(rule, (first, second), largest, where, verdict="pass", note=note, part="slivers")
        elif not (here & ~is_sliver).any():
            yield Passed(rule.id, 1)


CHECKS = (
    Check("control-lines", "one-map", Title("项目与三条控制线", "Projects against the control lines"), PROJECT_RULES,
          ("project_land",), projects),
    Check("homestead-lines", "one-map", Title("宅基地与控制线", "Homesteads against the control lines"),
          HOMESTEAD_RULES, ("homestead",), homesteads),
    Check("control-lines-overlap", "one-map", Title("控制线互不重叠", "Control lines keep clear of each other"),
          (OVERLAP,), (), overlaps),
)  # fmt: skip
