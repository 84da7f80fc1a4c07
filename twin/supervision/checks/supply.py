"""Water supply: what shutting off each segment between valves takes away, and what hangs together with no source."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import shapely

from layers.catalogue import Title
from twin.analysis import network, network_users, network_valves, place
from twin.analysis.burst_isolation import graph_of
from twin.analysis.burst_segments import Segments, cut_by_each, isolate, segments
from twin.analysis.network import Network
from twin.analysis.network_valves import Placed
from twin.analysis.verdict import Verdict
from twin.supervision.check import Check, Context, Finding, Passed, finding

PIPES, VALVES, NODES, HYDRANTS = "pipe_water", "valve", "pipe_node", "hydrant"
BY_HYDRANTS, BY_USERS, BY_SOURCE = "supply-segment-hydrants", "supply-segment-users", "supply-source"
EVERYWHERE_M = 1e7
NO_SOURCE = Title(
    "水源节点未知：请在管点附属物中注明，或在本市规则 supply-source 的 sources 中列出",
    "No source is known: name it in the appendage of its node, or in `sources` of the city's rule supply-source.",
)


def run(context: Context) -> Iterator[Finding | Passed]:
    """Segments of the whole supply that meet the place."""
    pipes = context.read(PIPES, reach_m=EVERYWHERE_M)
    if not len(pipes):
        return
    nodes = context.read(NODES, reach_m=EVERYWHERE_M)
    supply = network.made([(PIPES, pipes)], [(NODES, nodes)] if len(nodes) else [])
    valves = network_valves.placed([(VALVES, context.read(VALVES, reach_m=EVERYWHERE_M))], supply)
    found = segments(graph_of(supply), valves.valves)
    here = _here(context, supply, found)
    yield from _hydrants(context, supply, found, here)
    sources, assumed = _sources(context, supply)
    if not len(sources):
        for rule in (BY_SOURCE, BY_USERS):
            where = (context.site or "city",)
            yield finding(context.rules[rule], where, None, context.region, verdict="unknown", note=NO_SOURCE)
        return
    told = [*_dry(context, supply, valves, sources), *_users(context, supply, valves, found, (here, sources))]
    yield from (each if assumed is None or isinstance(each, Passed) else _unsure(each, assumed) for each in told)


def _here(context: Context, supply: Network, found: Segments) -> np.ndarray:
    """(s,) segments with a link that meets the place."""
    meets = np.ones(len(supply.links), bool)
    if context.region is not None:
        meets = np.asarray(shapely.intersects(supply.geometry, context.region), bool)
    out = np.zeros(found.n, bool)
    out[found.link[meets]] = True
    return out


def _sources(context: Context, supply: Network) -> tuple[np.ndarray, Title | None]:
    """Nodes that are named or say so; else dead ends in zones of water sources, with a word on that."""
    known, parameters = supply.node_numbers, context.rules[BY_SOURCE].parameters
    named = [known[name] for name in parameters.get("sources") or () if name in known]
    found = np.union1d(np.array(named, np.int64), np.flatnonzero(supply.is_source))
    if len(found):
        return found, None
    degree = np.bincount(np.r_[supply.start, supply.end], minlength=len(supply.nodes))
    last = np.flatnonzero((degree == 1) & np.isfinite(supply.xy).all(axis=1))
    inside = np.zeros(len(last), bool)
    for layer in parameters.get("by_place") or ():
        zones = context.read(layer, reach_m=EVERYWHERE_M, properties=("name",))
        if len(zones) and len(last):
            hits = shapely.STRtree(zones.geometry).query(shapely.points(supply.xy[last]), predicate="intersects")[0]
            inside[np.unique(hits)] = True
    names = ", ".join(supply.nodes[row] for row in last[inside].tolist()[:5])
    words = Title(
        f"水源未标明，以水源保护区内的管网末端 {names} 为水源", f"No source is named: taken is {names}, by its place."
    )
    return last[inside], words


def _unsure(each: Finding, assumed: Title) -> Finding:
    """A finding that hangs on sources taken by place."""
    return replace(each, verdict="review" if each.verdict == "fail" else each.verdict, note=assumed)


def _hydrants(context: Context, supply: Network, found: Segments, here: np.ndarray) -> Iterator[Finding | Passed]:
    """Hydrants by the pipe that they belong to."""
    rule = context.rules[BY_HYDRANTS]
    given = context.read(HYDRANTS, reach_m=EVERYWHERE_M)
    if not len(given):
        return
    links = supply.link_numbers
    on = [links[link] for link in place.words(given, "link_id") if link is not None and link in links]
    count = np.bincount(found.link[np.array(on, np.int64)], minlength=found.n)
    n_passed = 0
    for segment in np.flatnonzero(here).tolist():
        if rule.judged(float(count[segment])) == "pass":
            n_passed += 1
            continue
        yield finding(rule, _names(supply, found, segment), float(count[segment]), _shape(supply, found, segment))
    if n_passed:
        yield Passed(BY_HYDRANTS, n_passed)


def _dry(context: Context, supply: Network, valves: Placed, sources: np.ndarray) -> Iterator[Finding | Passed]:
    """Pipes that have no way to any source, one finding for each part that hangs together."""
    rule = context.rules[BY_SOURCE]
    state = isolate(graph_of(supply), valves.valves, np.empty(0, np.int64), sources)
    rows = np.flatnonzero(state.dry_link)
    if context.region is not None:
        rows = rows[shapely.intersects(supply.geometry[rows], context.region)]
    label = network.islands_of(supply)
    for part in np.unique(label[supply.start[rows]]).tolist():
        members = rows[label[supply.start[rows]] == part]
        names = tuple(supply.links[row] for row in members[:20].tolist())
        length = float(np.nansum(supply.length_m[members]))
        yield finding(rule, names, length, shapely.union_all(shapely.force_2d(supply.geometry[members])))
    if wet := len(supply.links) - int(state.dry_link.sum()):
        yield Passed(BY_SOURCE, wet)


def _users(
    context: Context, supply: Network, valves: Placed, found: Segments, about: tuple[np.ndarray, np.ndarray]
) -> Iterator[Finding | Passed]:
    rule = context.rules[BY_USERS]
    here, sources = about
    layer = next((each for each in rule.parameters["users"] if context.has(each)), None)
    if layer is None:
        words = Title("没有用户图层", "The city has no layer of users.")
        yield finding(rule, (context.site or "city",), None, context.region, verdict="unknown", note=words)
        return
    users = network_users.of_features(
        context.read(layer, reach_m=EVERYWHERE_M, properties=("name",)), supply, float(rule.parameters["reach_m"])
    )
    on = users.link >= 0
    weight = np.bincount(found.link[users.link[on]], weights=users.count[on], minlength=found.n)
    open_ = ~valves.valves.is_shut
    cut = cut_by_each(found, (valves.valves.link[open_], valves.valves.node[open_]), sources, weight)
    rows = np.flatnonzero(here)
    rows = rows[np.argsort(-cut[rows], kind="stable")]
    if rule.value is not None:
        over = [row for row in rows.tolist() if rule.judged(float(cut[row])) != "pass"]
        yield from (_cut(context, supply, found, row, cut) for row in over)
        yield Passed(BY_USERS, len(rows) - len(over))
        return
    told = rows[cut[rows] > 0][: int(rule.parameters["tell_most"])]
    yield from (_cut(context, supply, found, row, cut) for row in told.tolist())
    if len(rows) > len(told):
        yield Passed(BY_USERS, len(rows) - len(told))


def _cut(context: Context, supply: Network, found: Segments, row: int, cut: np.ndarray) -> Finding:
    rule = context.rules[BY_USERS]
    verdict: Verdict | None = "pass" if rule.value is None else None
    return finding(
        rule, _names(supply, found, row), float(cut[row]), _shape(supply, found, row), verdict=verdict, note=rule.note
    )


def _names(supply: Network, found: Segments, segment: int) -> tuple[str, ...]:
    return tuple(supply.links[row] for row in np.flatnonzero(found.link == segment).tolist())


def _shape(supply: Network, found: Segments, segment: int) -> shapely.Geometry:
    return shapely.union_all(shapely.force_2d(supply.geometry[found.link == segment]))


CHECKS = (
    Check(
        id="supply-readiness",
        supervision="water",
        title=Title("供水管网爆管应对", "Readiness of the water supply for a burst"),
        rules=(BY_HYDRANTS, BY_USERS, BY_SOURCE),
        needs=(PIPES, VALVES),
        run=run,
    ),
)
