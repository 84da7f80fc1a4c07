"""Excavations of a site: their class by depth, whether the class recorded agrees, and what lies in their zone."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import shapely

from layers.catalogue import Title
from twin.analysis import site_features
from twin.analysis.pit_impact import CLASSES, DANGEROUS, NONE, OVER_SCALE, UNKNOWN, affected, classes
from twin.analysis.place import numbers, words
from twin.analysis.sunlight_place import chosen
from twin.analysis.verdict import Verdict
from twin.store.interface import Features
from twin.supervision.check import Check, Context, Finding, Passed, finding

PIT = "excavation"
RULES = ("pit-dangerous", "pit-over-scale", "pit-class-recorded", "pit-complex-surroundings", "pit-influence")
_ORDER = (NONE, DANGEROUS, OVER_SCALE)


def run(context: Context) -> Iterator[Finding | Passed]:
    """Excavations that meet the place."""
    pits = context.read(PIT, properties=("depth_m", "pit_class"))
    pits = chosen(pits, np.flatnonzero(~(shapely.is_missing(pits.geometry) | shapely.is_empty(pits.geometry))))
    if not len(pits):
        return
    depth = numbers(pits, "depth_m")
    depth = np.where(depth > 0, depth, np.nan)
    limits = [float(context.rules[each].value or 0) for each in RULES[:2]]
    found = classes(depth, *limits)
    for i in range(len(pits)):
        yield _class(context, pits, i, str(found[i]), float(depth[i]))
        yield from _recorded(context, pits, i, str(found[i]))
    yield from _influence(context, pits, depth, found)


def _class(context: Context, pits: Features, i: int, found: str, depth: float) -> Finding:
    rule = context.rules["pit-over-scale" if found == OVER_SCALE else "pit-dangerous"]
    verdict: Verdict = "unknown" if found == UNKNOWN else "pass" if found == NONE else "review"
    note = rule.note if verdict == "review" else None
    if found == UNKNOWN:
        note = Title("开挖深度未知", "The depth is not known.")
    return finding(
        rule, (f"{PIT}/{pits.ids[i]}",), depth, pits.geometry[i], CLASSES[found], verdict=verdict, note=note,
        evidence=f"/collections/{PIT}/items/{pits.ids[i]}",
    )  # fmt: skip


def _recorded(context: Context, pits: Features, i: int, found: str) -> Iterator[Finding | Passed]:
    rule = context.rules["pit-class-recorded"]
    text = words(pits, "pit_class")[i]
    told = class_of(text, rule.parameters["words"])
    if found == UNKNOWN or text is None:
        return
    where = (f"{PIT}/{pits.ids[i]}",)
    if told is None:
        note = Title(f"登记等级“{text}”无法识别", f"The class recorded, {text!r}, is not understood.")
        yield finding(rule, where, None, pits.geometry[i], verdict="unknown", note=note)
    elif _ORDER.index(told) < _ORDER.index(found):
        note = Title(
            f"登记为“{text}”，按深度应为“{CLASSES[found].zh}”", f"Recorded {text!r}; by depth {CLASSES[found].en}."
        )
        yield finding(rule, where, None, pits.geometry[i], verdict="fail", note=note)
    else:
        yield Passed(rule.id, 1)


def class_of(text: str | None, known: Mapping[str, Sequence[str]]) -> str | None:
    """The class that a recorded text means, the highest whose words it holds; None for another text."""
    lower = (text or "").lower()
    return next((each for each in reversed(_ORDER) if any(word.lower() in lower for word in known[each])), None)


def _influence(context: Context, pits: Features, depth: np.ndarray, found: np.ndarray) -> Iterator[Finding | Passed]:
    rule, flag = context.rules["pit-influence"], context.rules["pit-complex-surroundings"]
    factor = float(rule.parameters["factor"])
    deepest = float(np.nanmax(depth, initial=0.0))
    outlines = shapely.force_2d(pits.geometry)
    near = site_features.boxes(shapely.bounds(outlines), np.nan_to_num(depth * factor) + 1.0)
    crowded: dict[int, list[str]] = {}
    for layer in rule.parameters["layers"]:
        if not context.has(layer) or not deepest:
            continue
        things = site_features.around(context.city, layer, near, at=context.moment)
        rows = affected(outlines, depth, factor, shapely.force_2d(things.geometry))
        for pit, item, metres in zip(*(each.tolist() for each in rows), strict=True):
            name = f"{layer}/{things.ids[item]}"
            if layer in flag.parameters["complex_layers"]:
                crowded.setdefault(pit, []).append(name)
            times = metres / depth[pit]
            yield finding(
                rule, (f"{PIT}/{pits.ids[pit]}", name), metres, things.geometry[item],
                limit=round(float(depth[pit] * factor), 6),
                note=Title(f"距坑边 {times:.2f} 倍深度", f"{times:.2f} depths from the edge"),
            )  # fmt: skip
    for pit, names in crowded.items():
        if found[pit] == NONE:
            note = Title(f"影响范围内有管线 {len(names)} 条", f"{len(names)} pipes lie in its zone.")
            yield finding(
                flag, (f"{PIT}/{pits.ids[pit]}", *names[:5]), float(depth[pit]), pits.geometry[pit], verdict="review",
                note=note,
            )  # fmt: skip


CHECKS = (Check("pit-impact", "construction", Title("基坑", "Excavations"), RULES, (PIT,), run),)
