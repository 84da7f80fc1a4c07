"""Drains: cover, slope, diameter and velocity of each, turns and manholes, and where outfalls' water comes from."""

from collections.abc import Iterator

import numpy as np
import orjson
import shapely

from layers.catalogue import Title
from twin.analysis import network, pipe_joints, place
from twin.analysis.drain_network import spacings, turns, wells
from twin.analysis.network import Network
from twin.analysis.network_reach import reach
from twin.analysis.pipe_carriageway import LAYER as ROADS
from twin.analysis.pipe_carriageway import PROPERTIES as ROAD_PROPERTIES
from twin.analysis.pipe_carriageway import REACH_M, areas
from twin.analysis.pipe_drain_rules import NO_DIAMETER, RULES, inlets_of, rows
from twin.analysis.pipe_drains import drains
from twin.analysis.pipe_hydraulics import judged
from twin.analysis.pipes import DRAIN_LAYERS, DRAINS, Pipes
from twin.store.interface import Features
from twin.supervision.check import Check, Context, Finding, Passed, finding
from twin.supervision.checks.pipes import read
from twin.supervision.rules import Rule

SPACING, TURN, OUTFALL = "manhole-spacing", "drain-turn", "outfall-traced"
NODES = "pipe_node"
NODE_PROPERTIES = ("node_code", "appendage", "feature", "well_diameter_mm", "well_length_mm")
WELL_WORDS = ("井", "manhole", "well", "chamber", "shaft")
EVERYWHERE_M = 1e7
"""Reach of a network that must be whole."""
NO_MANHOLES = Title("管点类型未知或分支处无井，检查井间距不能判定", "Whether its nodes are manholes is not known.")


def run_drains(context: Context) -> Iterator[Finding | Passed]:
    """Each drain of the place by its own numbers."""
    if not any(context.has(layer) for layer in DRAIN_LAYERS):
        words = Title("没有排水管线图层", "The city has no layer of drains.")
        where = (context.site or "city",)
        for rule in RULES:
            yield finding(context.rules[rule], where, None, context.region, verdict="unknown", note=words)
        return
    pipes = _drains(context, 0.0)
    if pipes is None:
        return
    roads = None
    if context.has(ROADS):
        roads = areas([context.read(ROADS, reach_m=REACH_M, properties=ROAD_PROPERTIES)])
    found = drains(pipes, context.city.terrain, roads, context.rules, progress=context.progress.part(0, 80))
    nodes = context.read(NODES, reach_m=0.0, properties=NODE_PROPERTIES)
    inlets = inlets_of(place.words(nodes, "node_code"), place.words(nodes, "appendage"))
    passed = dict.fromkeys(RULES, 0)
    for row in rows(pipes, found, context.rules, inlets=inlets):
        if row.judged.verdict == "pass":
            passed[row.rule.id] += 1
            continue
        yield finding(
            row.rule, (pipes.names[row.pipe],), row.measured, row.place, limit=row.judged.limit,
            confidence=row.judged.confidence, verdict=row.judged.verdict, note=row.note or row.rule.note,
            part=row.part, evidence=_item(pipes.names[row.pipe]),
        )  # fmt: skip
    yield from (Passed(rule, n) for rule, n in passed.items() if n)


def run_manholes(context: Context) -> Iterator[Finding | Passed]:
    """Turns of the flow and the spacing of manholes."""
    pipes = _drains(context, 0.0)
    if pipes is None:
        return
    labels = pipe_joints.labels(pipes)
    yield from _turns(context.rules[TURN], pipes, labels)
    yield from _spacings(context, context.rules[SPACING], pipes, labels)


def _drains(context: Context, reach_m: float) -> Pipes | None:
    pipes = read(context, DRAIN_LAYERS, reach_m)
    if pipes is None:
        return None
    chosen = np.flatnonzero(np.isin(pipes.kind.astype(str), DRAINS))
    return pipes.take(chosen) if len(chosen) else None


def _turns(rule: Rule, pipes: Pipes, labels: np.ndarray) -> Iterator[Finding | Passed]:
    found = turns(pipes, labels)
    n_passed = 0
    for k in range(len(found.comes)):
        a, b = int(found.comes[k]), int(found.goes[k])
        angle = float(found.angle_deg[k])
        verdict = rule.judged(angle + float(rule.parameters["tolerance_deg"]))
        if verdict == "pass":
            n_passed += 1
            continue
        may = pipes.dn_mm[a] <= rule.parameters["free_dn_mm"] and found.drop_m[k] > rule.parameters["free_drop_m"]
        yield finding(
            rule, (pipes.names[a], pipes.names[b]), angle, shapely.Point(found.at[k]),
            verdict="review" if may and verdict == "fail" else verdict, evidence=_item(pipes.names[a]),
        )  # fmt: skip
    if n_passed:
        yield Passed(TURN, n_passed)


def _spacings(context: Context, rule: Rule, pipes: Pipes, labels: np.ndarray) -> Iterator[Finding | Passed]:
    found = spacings(pipes, labels, wells(pipes, labels, _manholes(context)))
    n_passed = 0
    for members, length, dn in zip(found.pipes, found.length_m.tolist(), found.dn_mm.tolist(), strict=True):
        answer = judged(rule, {"dn_mm": dn if np.isfinite(dn) else None}, length)
        if answer is None:
            continue
        if answer.verdict == "pass":
            n_passed += 1
            continue
        lacks = NO_MANHOLES if np.isnan(length) else NO_DIAMETER
        line = shapely.union_all(shapely.force_2d(pipes.geometry[members]))
        yield finding(
            rule, tuple(pipes.names[row] for row in members), length, line, limit=answer.limit,
            confidence=answer.confidence, verdict=answer.verdict,
            note=lacks if answer.verdict == "unknown" else rule.note, evidence=_item(pipes.names[members[0]]),
        )  # fmt: skip
    if n_passed:
        yield Passed(SPACING, n_passed)


def _manholes(context: Context) -> dict[str, bool]:
    """Node -> whether it is a manhole, for those that say what they are."""
    nodes = context.read(NODES, reach_m=0.0, properties=NODE_PROPERTIES)
    sized = np.isfinite(place.numbers(nodes, "well_diameter_mm")) | np.isfinite(place.numbers(nodes, "well_length_mm"))
    told = zip(place.words(nodes, "node_code"), place.words(nodes, "appendage"), place.words(nodes, "feature"),
               sized.tolist(), strict=True)  # fmt: skip
    found = {}
    for code, appendage, feature, has_size in told:
        if code is not None and (appendage or feature or has_size):
            text = f"{appendage or ''} {feature or ''}".lower()
            found[code] = has_size or any(word in text for word in WELL_WORDS)
    return found


def run_outfalls(context: Context) -> Iterator[Finding | Passed]:
    """Each outfall up its drains: how many heads, how long."""
    outfalls = context.read("outfall")
    rule = context.rules[OUTFALL]
    if not len(outfalls):
        return
    parts: list[tuple[str | None, Features]] = []
    for layer in DRAIN_LAYERS:
        found = context.read(layer, reach_m=EVERYWHERE_M)
        parts += [(layer, found)] if len(found) else []
    drainage = network.made(parts) if parts else None
    for row, name in enumerate(outfalls.ids):
        at = outfalls.geometry[row]
        node = (
            None if drainage is None else _node_of(drainage, at, outfalls.extra[row], float(rule.parameters["reach_m"]))
        )
        if drainage is None or node is None:
            words = Title("附近没有与之相接的管道末端", "No drain ends near it, and none is named.")
            yield finding(rule, (f"outfall/{name}",), None, at, verdict="unknown", note=words)
            continue
        yield _traced(rule, drainage, node, name, at)


def _traced(rule: Rule, drainage: Network, node: int, name: str, at: shapely.Geometry) -> Finding:
    start, end = _flow(drainage)
    found = reach(len(drainage.nodes), start, end, np.nan_to_num(drainage.length_m), np.array([node]), is_up=True)
    on = np.flatnonzero(found.share > 0)
    fed = np.zeros(len(drainage.nodes), bool)
    fed[end] = True
    heads = [drainage.nodes[k] for k in np.flatnonzero(np.isfinite(found.node) & ~fed).tolist() if k != node]
    length = float(np.nansum(drainage.length_m[on]))
    some = ", ".join(heads[:5]) + (" …" if len(heads) > 5 else "")
    words = Title(
        f"节点{drainage.nodes[node]}上游管道{len(on)}段、{length:.0f} m，起点{len(heads)}个：{some}",
        f"{len(on)} drains, {length:.0f} m, up of node {drainage.nodes[node]}; {len(heads)} heads: {some}",
    )
    return finding(
        rule, (f"outfall/{name}",), float(len(heads)), at, note=words,
        evidence=f"/collections/outfall/items/{name}",
    )  # fmt: skip


def _flow(drainage: Network) -> tuple[np.ndarray, np.ndarray]:
    back = drainage.is_reversed
    return np.where(back, drainage.end, drainage.start), np.where(back, drainage.start, drainage.end)


def _node_of(drainage: Network, at: shapely.Geometry, extra: str | None, reach_m: float) -> int | None:
    """The node that the outfall's data name, else the nearest one from which no drain goes on."""
    known = drainage.node_numbers
    for value in (orjson.loads(extra) if extra else {}).values():
        if isinstance(value, str) and value in known:
            return known[value]
    start, end = _flow(drainage)
    last = np.setdiff1d(end, start)
    last = last[np.isfinite(drainage.xy[last]).all(axis=1)]
    if at is None or not len(last):
        return None
    far = shapely.distance(shapely.points(drainage.xy[last]), at)
    return int(last[np.argmin(far)]) if far.min() <= reach_m else None


def _item(name: str) -> str:
    layer, _, feature = name.rpartition("/")
    return f"/collections/{layer}/items/{feature}"


CHECKS = (
    Check(
        id="drains",
        supervision="water",
        title=Title("排水管道覆土、坡度、管径与流速", "Cover, slope, diameter and velocity of drains"),
        rules=RULES,
        needs=(),
        run=run_drains,
    ),
    Check(
        id="manholes",
        supervision="water",
        title=Title("检查井间距与水流转角", "Spacing of manholes and turns of the flow"),
        rules=(SPACING, TURN),
        needs=(NODES,),
        run=run_manholes,
    ),
    Check(
        id="outfall-trace",
        supervision="water",
        title=Title("排污口溯源", "Outfalls traced to their sources"),
        rules=(OUTFALL,),
        needs=("outfall",),
        run=run_outfalls,
    ),
)
