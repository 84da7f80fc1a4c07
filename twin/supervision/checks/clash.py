"""Elements of models on a site: into each other, and into or near the pipes in the ground."""

from collections.abc import Iterator

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.catalogue import Title
from twin.analysis.bim_clash import COLUMNS, Clashes, clashes
from twin.analysis.bim_clash_contacts import HARD, Contact
from twin.analysis.model_diff_models import Model, of_features, origin
from twin.analysis.parcel_intensity_buildings import chosen
from twin.supervision.check import Check, Context, Finding, Passed, finding
from twin.supervision.rules import softened

LAYER = "bim_element"
PIPES = (
    "pipe_water", "pipe_sewage", "pipe_rain", "pipe_gas", "pipe_heat", "pipe_power", "pipe_telecom", "pipe_industry",
)  # fmt: skip
HARD_RULE, PIPE_RULE, GAP_RULE = "bim-clash-hard", "bim-pipe-clash", "bim-pipe-gap"
MOST_ELEMENTS = 20_000
REACH_M = 5.0
"""Pipes whose axis is nearer than this to an element in plan are looked at: half of the widest pipe and the gap."""


def run(context: Context) -> Iterator[Finding | Passed]:
    """Hard clashes among the place's elements, and what comes too near to a pipe."""
    found = context.read(LAYER, properties=COLUMNS)
    if not len(found):
        yield from _all_unknown(context, Title("范围内没有BIM构件", "There is no BIM element here."))
        return
    if len(found) > MOST_ELEMENTS:
        words = Title(
            f"构件超过{MOST_ELEMENTS}个，请缩小范围", f"More than {MOST_ELEMENTS} elements: look at a smaller place."
        )
        yield from _all_unknown(context, words)
        return
    elements = of_features(context.city, LAYER, found, columns=COLUMNS, at=context.moment)
    rule = context.rules[HARD_RULE]
    told = clashes(elements, tolerance_m=float(rule.parameters["tolerance_m"]))
    yield from (_finding(context, HARD_RULE, told, each) for each in told.found)
    yield from _without_mesh(context, told)
    if told.n_pairs > len(told.found):
        yield Passed(HARD_RULE, told.n_pairs - len(told.found))
    yield from _pipes(context, elements)


def _pipes(context: Context, elements: list[Model]) -> Iterator[Finding | Passed]:
    """Elements against the solids of pipes under the place."""
    gap = context.rules[GAP_RULE]
    assert gap.value is not None
    pipes: list[Model] = []
    for layer in PIPES:
        found = context.read(layer, reach_m=REACH_M, properties=())
        found = chosen(found, _near(elements, origin(context.city), found.geometry))
        if len(found):
            pipes += of_features(context.city, layer, found, at=context.moment)
    solids = [each for each in pipes if each.solid is not None]
    if len(solids) < len(pipes):
        names = [f"{each.layer}/{each.id}" for each in pipes if each.solid is None]
        words = Title(
            f"{len(names)}条管线没有埋深或管径，不能判定", f"{len(names)} pipes have no depth or size: cannot be told."
        )
        yield finding(
            context.rules[PIPE_RULE], (context.site or "city",), None, context.region, verdict="unknown", note=words
        )
    if not pipes:
        yield Passed(PIPE_RULE, 1)
        yield Passed(GAP_RULE, 1)
        return
    tolerance = float(context.rules[PIPE_RULE].parameters["tolerance_m"])
    told = clashes(elements, solids, soft_gap_m=gap.value, tolerance_m=tolerance)
    for each in told.found:
        yield _finding(context, PIPE_RULE if each.kind == HARD else GAP_RULE, told, each)
    n_hard = sum(each.kind == HARD for each in told.found)
    yield Passed(PIPE_RULE, max(len(solids) - n_hard, 0))
    yield Passed(GAP_RULE, max(len(solids) - len(told.found), 0))


def _near(elements: list[Model], shift: NDArray[np.float64], pipes: NDArray[np.object_]) -> NDArray[np.int64]:
    """Rows of pipes whose axis comes within reach of an element in plan; the others need no solid."""
    low_high = np.array([[*each.solid.low[:2], *each.solid.high[:2]] for each in elements if each.solid is not None])
    if not len(low_high) or not len(pipes):
        return np.empty(0, np.int64)
    boxes = shapely.box(*(low_high + np.tile(shift[:2], 2)).T)
    pairs = shapely.STRtree(boxes).query(pipes, predicate="dwithin", distance=REACH_M)
    return np.unique(pairs[0]).astype(np.int64)


def _finding(context: Context, rule_id: str, told: Clashes, each: Contact) -> Finding:
    rule = context.rules[rule_id]
    a, b = told.elements[each.a], told.elements[each.b]
    spot = shapely.Point(*(each.place + origin(context.city)))
    note = None
    if each.kind == HARD and np.isnan(each.volume_m3):
        note = Title("网格不封闭，体积未知", "A mesh is not closed: the volume is unknown.")
    return finding(
        rule, (f"{a.layer}/{a.id}", f"{b.layer}/{b.id}"), each.volume_m3 if each.kind == HARD else each.gap_m, spot,
        verdict=softened("fail", rule.confidence), note=note or rule.note,
        evidence=f"/collections/{a.layer}/items/{a.id}",
    )  # fmt: skip


def _without_mesh(context: Context, told: Clashes) -> Iterator[Finding]:
    rule = context.rules[HARD_RULE]
    words = Title("构件没有几何，不能判定", "The element has no mesh: nothing can be told.")
    for each in told.without_mesh:
        yield finding(rule, (f"{each.layer}/{each.id}",), None, each.footprint, verdict="unknown", note=words)


def _all_unknown(context: Context, words: Title) -> Iterator[Finding]:
    where = (context.site or "city",)
    for rule in (HARD_RULE, PIPE_RULE, GAP_RULE):
        yield finding(context.rules[rule], where, None, context.region, verdict="unknown", note=words)


CHECKS = (
    Check(
        id="bim-clash",
        supervision="construction",
        title=Title("模型与管线碰撞", "Clash of models and pipes"),
        rules=(HARD_RULE, PIPE_RULE, GAP_RULE),
        needs=(LAYER,),
        run=run,
    ),
)
