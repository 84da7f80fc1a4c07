"""Rivers: the present level against the alert and guarantee levels, and whether these are in order."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from layers.catalogue import Title
from twin.analysis.place import numbers
from twin.analysis.verdict import SAME
from twin.store.interface import Features
from twin.supervision.check import Check, Context, Finding, Passed, finding
from twin.supervision.present_water import levels
from twin.supervision.rules import softened

LEVELS = {"river-alert-level": "alert_level_m", "river-guarantee-level": "guarantee_level_m"}
NAMES = {
    "defence_level_m": Title("设防水位", "defence level"),
    "alert_level_m": Title("警戒水位", "alert level"),
    "guarantee_level_m": Title("保证水位", "guarantee level"),
}


def run(context: Context) -> Iterator[Finding | Passed]:
    """Findings on each river that meets the place."""
    found = context.read("river")
    yield from _order(context, found)
    if not len(found):
        return
    max_age = float(context.rules["river-alert-level"].parameters["max_age_h"])
    present = levels(context, "river", found, "river_code", max_age)
    for rule_id, column in LEVELS.items():
        rule, limits = context.rules[rule_id], numbers(found, column)
        for row, now in enumerate(present):
            limit = None if np.isnan(limits[row]) else float(limits[row])
            note = now.why
            if note is None and limit is None:
                note = Title(f"缺少{NAMES[column].zh}", f"The river has no {NAMES[column].en}.")
            yield finding(
                rule, (f"river/{found.ids[row]}",), now.level_m, found.geometry[row], limit=limit,
                verdict="unknown" if limit is None or now.level_m is None else None, note=note, time=now.time,
                evidence=f"/collections/river/items/{found.ids[row]}",
            )  # fmt: skip


def _order(context: Context, found: Features) -> Iterator[Finding | Passed]:
    """Levels that are known must rise in the order that the rule names."""
    rule = context.rules["river-level-order"]
    names = list(rule.parameters["levels"])
    columns = {name: numbers(found, name) for name in names}
    n_good = 0
    for row, name in enumerate(found.ids):
        known = [(each, float(columns[each][row])) for each in names if not np.isnan(columns[each][row])]
        bad = [(a, b) for a, b in pairwise(known) if b[1] - a[1] <= SAME]
        where = (f"river/{name}",)
        if bad:
            (low, a), (high, b) = bad[0]
            words = Title(
                f"{_name(low).zh} {a:g} m 不低于{_name(high).zh} {b:g} m",
                f"The {_name(low).en} {a:g} m is not below the {_name(high).en} {b:g} m.",
            )
            verdict = softened("fail", rule.confidence)
            yield finding(rule, where, a, found.geometry[row], limit=b, verdict=verdict, note=words)
        elif len(known) < 2:
            words = Title("特征水位不足两个", "Fewer than two characteristic levels are known.")
            yield finding(rule, where, None, found.geometry[row], verdict="unknown", note=words)
        else:
            n_good += 1
    if n_good:
        yield Passed(rule.id, n_good)


def _name(column: str) -> Title:
    return NAMES.get(column, Title(column, column))


CHECKS = (
    Check(
        id="river-levels",
        supervision="water",
        title=Title("河道水位", "River levels"),
        rules=("river-level-order", *LEVELS),
        needs=("river",),
        run=run,
    ),
)
