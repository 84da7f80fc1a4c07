"""Pipes under and near a place: too near each other or a building, and which of them gives way."""

from collections.abc import Iterator

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.catalogue import Title
from twin.analysis import pipe_structures
from twin.analysis.pipe_clearance import AVOIDANCE, HORIZONTAL, LACKS, VERTICAL, Rules, row_of
from twin.analysis.pipe_clearance_pairs import Clearances, clearances
from twin.analysis.pipe_structures import Structures
from twin.analysis.pipes import LAYERS, PROPERTIES, Pipes, from_features, joined
from twin.supervision.check import Check, Context, Finding, Passed, finding

REACH_M = 10.0
"""Pairs that come nearest to each other within this of the place are of it."""
BUILDINGS = "building"


def read(context: Context, layers: tuple[str, ...] = LAYERS, reach_m: float = REACH_M) -> Pipes | None:
    """Pipes of some layers near the place; None where there are none."""
    parts = []
    for layer in layers:
        found = context.read(layer, reach_m=reach_m, properties=PROPERTIES)
        if len(found):
            parts.append(from_features(found, layer))
    return joined(parts) if parts else None


def run(context: Context) -> Iterator[Finding | Passed]:
    """Pairs of pipes, and of pipes and buildings, by the tables of clearances."""
    if not any(context.has(layer) for layer in LAYERS):
        words = Title("没有管线图层", "The city has no layer of pipes.")
        for rule in (HORIZONTAL, VERTICAL):
            where = (context.site or "city",)
            yield finding(context.rules[rule], where, None, context.region, verdict="unknown", note=words)
        return
    pipes = read(context)
    if pipes is None:
        return
    rules = Rules(context.rules[HORIZONTAL], context.rules[VERTICAL], context.rules[AVOIDANCE])
    found = clearances(pipes, rules.horizontal, rules.vertical, progress=context.progress.part(0, 80))
    yield from _told(pipes, found.take(_is_near(context, found)), rules, None)
    buildings = context.read(BUILDINGS, reach_m=REACH_M, properties=("name",))
    if len(buildings):
        houses = pipe_structures.from_features(buildings, BUILDINGS)
        more = pipe_structures.clearances(pipes, houses, rules.horizontal, rules.vertical)
        yield from _told(pipes, more.take(_is_near(context, more)), rules, houses)


def _is_near(context: Context, found: Clearances) -> NDArray[np.bool_]:
    if context.region is None:
        return np.ones(len(found), bool)
    return np.asarray(shapely.dwithin(found.place, context.region, REACH_M), bool)


def _told(pipes: Pipes, found: Clearances, rules: Rules, houses: Structures | None) -> Iterator[Finding | Passed]:
    passes = found.verdict == "pass"
    for is_vertical, rule in ((False, HORIZONTAL), (True, VERTICAL)):
        if n := int((passes & (found.is_vertical == is_vertical)).sum()):
            yield Passed(rule, n)
    for k in np.flatnonzero(~passes).tolist():
        row = row_of(pipes, found, k, rules, houses)
        rule_ = rules.vertical if found.is_vertical[k] else rules.horizontal
        yield finding(
            rule_, (row["a"], row["b"]), row["measured"], found.place[k], limit=row["limit"],
            confidence=row["confidence"], verdict=row["verdict"], note=_note(row, str(found.lacks[k]), rule_.note),
            evidence=f"/collections/{row['a'].rpartition('/')[0]}/items/{row['a'].rpartition('/')[2]}",
        )  # fmt: skip


def _note(row: dict[str, object], lacks: str, own: Title | None) -> Title | None:
    """Who gives way and why, or what is not known; else the rule's own note."""
    if lacks in LACKS:
        return Title(*LACKS[lacks])
    why = row["gives_way_why"]
    if not isinstance(why, dict):
        return own
    return Title(f"宜避让：{row['gives_way']}（{why['zh']}）", f"{row['gives_way']} should give way: {why['en']}.")


CHECKS = (
    Check(
        id="pipe-clearance",
        supervision="construction",
        title=Title("管线净距与冲突", "Clearance and clash of pipes"),
        rules=(HORIZONTAL, VERTICAL),
        needs=(),
        run=run,
    ),
)
