"""Parcels, units, buildings and homesteads: codes, and what lies in what."""

from collections import Counter, defaultdict
from collections.abc import Iterator

import numpy as np
import shapely

from layers.catalogue import Title
from layers.ellipsoid_area import areas_m2
from twin.analysis import place
from twin.analysis.cadastral_codes import is_parcel_code, unit_code
from twin.analysis.overlay import Cover, common
from twin.store.interface import Features
from twin.supervision import land
from twin.supervision.check import Check, Context, Finding, Passed, finding

PARCEL, UNIT, UNIT_PLACE, BUILDING = "parcel-code", "unit-code", "unit-in-parcel", "building-in-parcel"
PLOTS, PLOT_AREA = "homestead-plots", "homestead-area"


def parcel_codes(context: Context) -> Iterator[Finding | Passed]:
    """Parcels without a code, with one that is not made by the rule, and codes that are given twice."""
    rule = context.rules[PARCEL]
    found = context.read("parcel", properties=("parcel_code",))
    codes = place.words(found, "parcel_code")
    everywhere = land.with_same(context, found, "parcel", "parcel_code", ("parcel_code",))
    often = Counter(code for code in place.words(everywhere, "parcel_code") if code)
    passed = 0
    for name, code, shape in zip(found.ids, codes, found.geometry, strict=True):
        objects = (f"parcel/{name}",)
        if not code:
            note = Title("宗地没有代码", "The parcel has no code")
            yield finding(rule, objects, None, shape, verdict="unknown", note=note)
        elif not is_parcel_code(code):
            note = Title(f"{code} 不符合 19 位编码规则", f"{code} is not made as a code of 19 characters is")
            yield finding(rule, objects, 1.0, shape, note=note)
        elif often[code] > 1:
            note = Title(f"{code} 有 {often[code]} 宗", f"{code} is given to {often[code]} parcels")
            yield finding(rule, objects, float(often[code] - 1), shape, note=note)
        else:
            passed += 1
    if passed:
        yield Passed(rule.id, passed)


def units(context: Context) -> Iterator[Finding | Passed]:
    """Units whose code is missing or wrong, and those that do not lie in the parcel that their code names."""
    rule, where = context.rules[UNIT], context.rules[UNIT_PLACE]
    found = land.areas(context, "building_unit", ("unit_code",))
    parcels = land.areas(context, "parcel", ("parcel_code",), land.reach_m(context, [found.geometry]))
    known: dict[str, list[int]] = defaultdict(list)
    for row, own in enumerate(place.words(parcels, "parcel_code")):
        known[own or ""].append(row)
    passed = Counter[str]()
    for row, written in enumerate(place.words(found, "unit_code")):
        objects, shape = (f"building_unit/{found.ids[row]}",), found.geometry[row]
        code = None if written is None else unit_code(written)
        if code is None:
            note = Title("没有代码", "No code") if not written else Title(f"{written} 不符合 28 位编码规则",
                         f"{written} is not made as a code of 28 characters is")  # fmt: skip
            yield finding(rule, objects, 1.0 if written else None, shape, note=note,
                          verdict=None if written else "unknown")  # fmt: skip
            continue
        passed[rule.id] += 1
        on = known.get(code.parcel, [])
        if not on:
            note = Title(f"没有宗地 {code.parcel}", f"There is no parcel {code.parcel}")
            yield finding(where, objects, None, shape, verdict="unknown", note=note)
            continue
        beyond = shapely.difference(shape, shapely.union_all(parcels.geometry[on]))
        measured = float(areas_m2(np.array([beyond], object), context.city.crs)[0])
        if where.judged(measured) == "pass":
            passed[where.id] += 1
        else:
            yield finding(where, (*objects, f"parcel/{parcels.ids[on[0]]}"), measured, beyond)
    yield from (Passed(name, n) for name, n in passed.items())


def buildings(context: Context) -> Iterator[Finding | Passed]:
    """Buildings that stand on a parcel, by what of them lies beyond the parcel that holds most of them."""
    rule = context.rules[BUILDING]
    parcels = land.areas(context, "parcel", ("parcel_code",))
    reach = land.reach_m(context, [parcels.geometry])
    houses = land.areas(context, "building", ("name",), reach)
    if not len(parcels) or not len(houses):
        return
    own = areas_m2(houses.geometry, context.city.crs)
    pieces = common(houses.geometry, Cover(parcels.geometry, context.city.crs), left_m2=own).pairs()
    order = np.lexsort((-pieces.areas_m2, pieces.left))
    rows, first = np.unique(pieces.left[order], return_index=True)
    most = order[first]
    beyond = own[rows] - pieces.areas_m2[most]
    passed = 0
    for row, at, over in zip(rows.tolist(), most.tolist(), beyond.tolist(), strict=True):
        if pieces.areas_m2[at] <= float(rule.value or 0.0):  # it only touches the parcel
            continue
        if rule.judged(over) == "pass":
            passed += 1
            continue
        parcel = int(pieces.right[at])
        shape = shapely.difference(houses.geometry[row], parcels.geometry[parcel])
        objects = f"building/{houses.ids[row]}", f"parcel/{parcels.ids[parcel]}"
        yield finding(rule, objects, over, shape, evidence=land.item("building", houses.ids[row]))
    if passed:
        yield Passed(rule.id, passed)


def homesteads(context: Context) -> Iterator[Finding | Passed]:
    """Plots and area of each household; areas are those on the ellipsoid."""
    plots, standard = context.rules[PLOTS], context.rules[PLOT_AREA]
    here = land.areas(context, "homestead", ("household", "village"))
    together = land.with_same(context, here, "homestead", "household", ("household", "village"))
    found = land.usable(together) if together is not here else here
    own = areas_m2(found.geometry, context.city.crs)
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    names = zip(place.words(found, "village"), place.words(found, "household"), strict=True)
    for row, (village, household) in enumerate(names):
        if household:
            groups[village or "", household].append(row)
    passed = Counter[str]()
    for (village, household), rows in sorted(groups.items()):
        objects = tuple(f"homestead/{found.ids[row]}" for row in rows)
        where = shapely.union_all(found.geometry[rows])
        area = float(own[rows].sum())
        note = Title(f"{village} {household}：{len(rows)} 处，{area:.2f} 平方米",
                     f"{village} {household}: {len(rows)} plots, {area:.2f} m²")  # fmt: skip
        for rule, measured in ((plots, float(len(rows))), (standard, area)):
            if rule is standard and rule.value is None:
                continue
            if rule.judged(measured) == "pass":
                passed[rule.id] += 1
            else:
                yield finding(rule, objects, measured, where, note=note)
    yield from _not_told(context, here)
    yield from (Passed(name, n) for name, n in passed.items())


def _not_told(context: Context, found: Features) -> Iterator[Finding]:
    plots, standard = context.rules[PLOTS], context.rules[PLOT_AREA]
    nobody = np.flatnonzero([not each for each in place.words(found, "household")])
    if nobody.size:
        note = Title(f"{nobody.size} 处宅基地没有户主", f"{nobody.size} homesteads have no household")
        where = shapely.union_all(found.geometry[nobody])
        yield finding(plots, ("homestead",), None, where, verdict="unknown", note=note)
    if standard.value is None and len(found):
        total = float(areas_m2(found.geometry, context.city.crs).sum())
        note = Title(f"未给出省级标准；共 {len(found)} 处，{total:.2f} 平方米",
                     f"The province's standard is not given; {len(found)} homesteads, {total:.2f} m²")  # fmt: skip
        yield finding(standard, ("homestead",), None, None, verdict="unknown", note=note)


CHECKS = (
    Check("parcel-codes", "one-map", Title("宗地代码", "Parcel codes"), (PARCEL,), ("parcel",), parcel_codes),
    Check("real-estate-units", "one-map", Title("不动产单元", "Real-estate units"), (UNIT, UNIT_PLACE),
          ("building_unit", "parcel"), units),
    Check("buildings-in-parcels", "one-map", Title("建筑与宗地", "Buildings and parcels"), (BUILDING,),
          ("building", "parcel"), buildings),
    Check("homesteads", "one-map", Title("农村宅基地", "Rural homesteads"), (PLOTS, PLOT_AREA), ("homestead",),
          homesteads),
)  # fmt: skip
