"""P28: the hand case, broken and shut valves, islands; WNTR's segments on every network at hand; brute force."""

import os
import re
import warnings
from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from layers.errors import InvalidInput
from tests.twin.analysis.land_city import EAST, NORTH, collection, feature, made
from twin.analysis.burst_segments import Graph, Valves, cut_by_each, isolate, segments

WATER = Path(os.environ.get("CITYTWIN_REALDATA", Path(__file__).parents[4] / "shared" / "realdata")) / "water"
NETWORKS = ("Anytown", "BWSN_1", "Net1", "Net3", "ZJ", "d-town", "hanoi")
LARGE = ("L-TOWN", "ky4", "micropolis")


def row(name, **properties):
    return {"type": "Feature", "id": name, "geometry": None, "properties": properties}


def link(name, start, end, **more):
    return row(name, start_node=start, end_node=end, length_m=100.0, **more)


LINKS = [link("p1", "R", "J1"), link("p2", "J1", "J2"), link("p3", "J2", "J3"), link("p4", "J1", "J4")]
VALVES = [row("v1", link_id="p1", protects_node="J1"), row("v2", link_id="p2", protects_node="J1"),
          row("v3", link_id="p3", protects_node="J2")]  # fmt: skip


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    with made(tmp_path_factory.mktemp("twin"), {}) as opened:
        yield opened


def run(city, burst, links=LINKS, valves=VALVES, sources=("R",), **more):
    return city.run(
        "burst-isolation", burst=burst, links=[collection(*links)], valves=[collection(*valves)],
        **({} if sources is None else {"sources": list(sources)}), crs="city", **more,
    )  # fmt: skip


def shut(found):
    return {(each["link"], each["node"]) for each in found["valves"]}


def test_hand_case(city):
    found = run(city, "p2")
    assert shut(found) == {("p2", "J1"), ("p3", "J2")}
    assert found["segment"] == {"nodes": ["J2"], "links": ["p2"]}
    assert sorted(found["affected_nodes"]) == ["J2", "J3"]
    assert (found["cut_off_nodes"], found["island_nodes"]) == (["J3"], [])
    assert found["cut_off_links"] == ["p3"]
    assert found["affected_length_m"] == 200


def test_every_other_link_of_the_hand_case(city):
    assert shut(run(city, "p1")) == {("p1", "J1")}
    assert sorted(run(city, "p1")["affected_nodes"]) == ["J1", "J2", "J3", "J4", "R"]
    fourth = run(city, "p4")
    assert shut(fourth) == {("p1", "J1"), ("p2", "J1")}
    assert sorted(fourth["segment"]["nodes"]) == ["J1", "J4"]
    assert sorted(fourth["affected_nodes"]) == ["J1", "J2", "J3", "J4"]
    both = run(city, ["p2", "p3"])
    assert shut(both) == {("p2", "J1")}, "the valve between the two is on both sides of what is shut off"


def test_a_broken_valve_is_ignored(city):
    for state in ("broken", "损坏", "故障"):
        valves = [VALVES[0], row("v2", link_id="p2", protects_node="J1", state=state), VALVES[2]]
        found = run(city, "p2", valves=valves)
        assert shut(found) == {("p1", "J1"), ("p3", "J2")}
        assert (sorted(found["segment"]["nodes"]), found["broken_valves"]) == (["J1", "J2", "J4"], ["v2"])


def test_a_valve_with_the_segment_on_both_sides_need_not_be_shut(city):
    ring = [*LINKS, link("p5", "J1", "J2")]
    found = run(city, "p2", links=ring)
    assert shut(found) == {("p1", "J1"), ("p3", "J2")}, "(p2, J1) parts nothing: p5 goes round it"
    assert set(found["segment"]["links"]) == {"p2", "p4", "p5"}


def test_a_second_way_keeps_supply_and_a_shut_valve_gives_none(city):
    ring = [*LINKS, link("p6", "J4", "J3")]
    assert sorted(run(city, "p2", links=ring)["affected_nodes"]) == ["J2"]
    shut_already = [*VALVES, row("v6", link_id="p6", protects_node="J4", state="关")]
    found = run(city, "p2", links=ring, valves=shut_already)
    assert sorted(found["affected_nodes"]) == ["J2", "J3"]
    closed = [*LINKS, link("p6", "J4", "J3", status="Closed")]
    assert sorted(run(city, "p2", links=closed)["affected_nodes"]) == ["J2", "J3"]
    border = run(city, "p3", links=ring, valves=shut_already)
    assert {each["valve"]: each["is_shut_already"] for each in border["valves"]} == {"v3": False, "v6": True}


def test_islands_without_source_are_apart(city):
    links = [*LINKS, link("p9", "X", "Y")]
    found = run(city, "p2", links=links)
    assert (found["island_nodes"], sorted(found["affected_nodes"])) == (["X", "Y"], ["J2", "J3"])


def test_without_sources_nothing_is_told_beyond_the_segment(city):
    found = run(city, "p2", sources=None)
    assert (found["sources_known"], found["affected_nodes"], found["cut_off_nodes"]) == (False, ["J2"], None)
    nodes = [collection(row("R", kind="reservoir"), row("J1", kind="junction"))]
    assert run(city, "p2", sources=None, nodes=nodes)["cut_off_nodes"] == ["J3"]


def line(*points):
    return shapely.LineString([(EAST + x, NORTH + y) for x, y in points])


def test_valves_that_name_no_node_part_the_nearer_end_and_users_belong_to_the_nearest_link(city):
    ends = {"p1": ("R", "J1"), "p2": ("J1", "J2"), "p3": ("J2", "J3")}
    places = {"R": (0, 0), "J1": (100, 0), "J2": (200, 0), "J3": (300, 0)}
    links = [feature(line(places[a], places[b]), name, start_node=a, end_node=b) for name, (a, b) in ends.items()]
    valves = [feature(shapely.Point(EAST + x, NORTH), f"v{x}", link_id=name) for x, name in ((110, "p2"), (190, "p2"))]
    users = collection(*(feature(shapely.Point(EAST + x, NORTH + 20), str(x), flats=n)
                         for x, n in ((50, 1), (150, 2), (250, 4), (290, 8))))  # fmt: skip
    found = run(city, "p2", links, valves, users=[users], users_property="flats")
    assert shut(found) == {("p2", "J1"), ("p2", "J2")}
    assert all(each["node_by_place"] for each in found["valves"])
    assert (found["affected_nodes"], found["n_users"]) == (["J2", "J3"], 14)
    assert run(city, "p1", links, valves, users=[users])["n_users"] == 4
    assert run(city, "p2", links, valves, users=[users], users_reach_m=19.9)["n_users_without_link"] == 4
    roles = [each["properties"]["role"] for each in found["features"]["features"]]
    assert sorted(roles) == ["cut-off", "segment", "valve", "valve"]


@pytest.mark.parametrize(("change", "message"), [
    ({"burst": "p99"}, r"^burst: the network has no link 'p99'"), ({"sources": ["Q"]}, r"^sources: "),
    ({"users_reach_m": -1}, "users_reach_m"), ({"users_reach_m": float("nan")}, "users_reach_m"),
    ({"burst": []}, "burst"),
])  # fmt: skip
def test_wrong_inputs_are_named(city, change, message):
    with pytest.raises(InvalidInput, match=message):
        run(city, **({"burst": "p2"} | change))


def test_valves_that_lie_nowhere_are_told(city):
    valves = [*VALVES, row("a", link_id="p99", protects_node="J1"), row("b", link_id="p3", protects_node="R"),
              row("c", protects_node="R")]  # fmt: skip
    found = run(city, "p2", valves=valves)
    assert (found["n_valves_elsewhere"], found["unclear_valves"]) == (1, ["b", "c"])


def partition(names, labels):
    groups = {}
    for name, label in zip(names, labels, strict=True):
        groups.setdefault(label, set()).add(name)
    return {frozenset(each) for each in groups.values()}


def graph_of(wntr, path, folder):
    """The network as WNTR reads it, without controls and water quality: it refuses some that are of no use here."""
    text = path.read_text("utf8", errors="replace")
    text = re.sub(r"(?im)^\s*quality\s+chemical.*$", "Quality None", text)
    text = re.sub(r"(?ims)^\[(controls|rules)\].*?(?=^\[)", "", text)
    (folder / path.name).write_text(text, encoding="utf8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return wntr.network.WaterNetworkModel(str(folder / path.name)).to_graph()


@pytest.mark.parametrize("name", [*NETWORKS, *(pytest.param(each, marks=pytest.mark.slow) for each in LARGE)])
def test_segments_equal_wntrs(name, tmp_path):
    wntr = pytest.importorskip("wntr")
    path = WATER / f"{name}.inp"
    if not path.exists():
        pytest.skip(f"{path.name} is not in the folder of real data (CITYTWIN_REALDATA)")
    graph = graph_of(wntr, path, tmp_path)
    nodes, edges = list(graph.nodes), list(graph.edges(keys=True))
    number = {node: k for k, node in enumerate(nodes)}
    start, end = (np.array([number[edge[k]] for edge in edges]) for k in (0, 1))
    net = Graph(len(nodes), start, end, np.zeros(len(edges), bool))
    for seed, share in enumerate((0.05, 0.3) if name in LARGE else (0.05, 0.3, 0.7)):
        draw = np.random.default_rng(seed)
        chosen = np.flatnonzero(draw.random(2 * len(edges)) < share)
        at, which = chosen % len(edges), chosen // len(edges)
        node = np.where(which == 0, start[at], end[at])
        layer = pd.DataFrame({"link": [edges[k][2] for k in at], "node": [nodes[k] for k in node]})
        node_segments, link_segments, _ = wntr.metrics.valve_segments(graph, layer)
        found = segments(net, Valves(at, node, np.zeros(len(at), bool)))
        wanted = partition(
            [("n", each) for each in node_segments.index] + [("l", each) for each in link_segments.index],
            [*node_segments, *link_segments],
        )  # fmt: skip
        got = partition(
            [("n", each) for each in nodes] + [("l", each[2]) for each in edges], [*found.node, *found.link]
        )
        assert got == wanted


@settings(max_examples=80)
@given(st.integers(0, 10**6))
def test_random_networks_equal_a_plain_walk(seed):
    draw = np.random.default_rng(seed)
    n, m = int(draw.integers(2, 10)), int(draw.integers(1, 16))
    start, end = draw.integers(0, n, m), draw.integers(0, n, m)
    closed = draw.random(m) < 0.1
    chosen = np.flatnonzero(draw.random(2 * m) < 0.4)
    at = chosen % m
    node = np.where(chosen < m, start[at], end[at])
    valves = Valves(at, node, draw.random(len(at)) < 0.2)
    graph = Graph(n, start, end, closed)
    sources = np.unique(draw.integers(0, n, 2))
    burst = draw.integers(0, m, 1)
    found = isolate(graph, valves, burst, sources)
    parted = set(zip(at.tolist(), node.tolist(), strict=True))

    def joined(skip):
        made_ = nx.Graph()
        made_.add_nodes_from([("n", k) for k in range(n)] + [("l", k) for k in range(m)])
        made_.add_edges_from((("l", k), ("n", int(v))) for k in range(m) for v in (start[k], end[k])
                             if (k, int(v)) not in skip)  # fmt: skip
        return made_

    segment = nx.node_connected_component(joined(parted), ("l", int(burst[0])))
    assert {("n", k) for k in np.flatnonzero(found.in_node)} | {
        ("l", k) for k in np.flatnonzero(found.in_link)
    } == segment
    crossing = {(k, v) for k, v in parted if (("l", k) in segment) != (("n", v) in segment)}
    assert {(at[k], node[k]) for k in np.flatnonzero(found.shut)} == crossing
    pipes = joined({(at[k], node[k]) for k in np.flatnonzero(valves.is_shut)})
    pipes.remove_nodes_from([("l", k) for k in np.flatnonzero(closed)])

    def fed(network):
        return set().union(
            *(nx.node_connected_component(network, ("n", int(s))) for s in sources if ("n", int(s)) in network)
        )

    before = fed(pipes)
    pipes.remove_nodes_from(segment)
    cut = before - fed(pipes) - segment
    got = {("n", k) for k in np.flatnonzero(found.cut_node)} | {("l", k) for k in np.flatnonzero(found.cut_link)}
    assert got == cut
    assert set(np.flatnonzero(found.dry_node)) == {k for k in range(n) if ("n", k) not in before}


@settings(max_examples=80)
@given(st.integers(0, 10**6))
def test_what_each_segment_cuts_off_equals_isolating_it(seed):
    draw = np.random.default_rng(seed)
    n, m = int(draw.integers(2, 10)), int(draw.integers(1, 16))
    start, end = draw.integers(0, n, m), draw.integers(0, n, m)
    chosen = np.flatnonzero(draw.random(2 * m) < 0.6)
    at = chosen % m
    node = np.where(chosen < m, start[at], end[at])
    graph = Graph(n, start, end, np.zeros(m, bool))
    valves = Valves(at, node, np.zeros(len(at), bool))
    sources = np.unique(draw.integers(0, n, 2))
    users = draw.integers(0, 5, m).astype(float)
    found = segments(graph, valves)
    weight = np.bincount(found.link, weights=users, minlength=found.n)
    got = cut_by_each(found, (valves.link, valves.node), sources, weight)
    for k in range(m):
        alone = isolate(graph, valves, np.array([k]), sources)
        was_fed = ~alone.dry_link[k]
        wanted = users[alone.in_link | alone.cut_link].sum() if was_fed else 0.0
        assert got[found.link[k]] == pytest.approx(wanted)
