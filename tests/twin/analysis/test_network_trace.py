"""P27: the hand case, its boundary, velocities that are not, islands; networkx and a plain walk as oracles."""

import networkx as nx
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from layers.errors import InvalidInput
from tests.twin.analysis.land_city import EAST, NORTH, collection, feature, made
from twin.analysis.network_reach import islands, reach


def link(name, start, end, length=None, v=None, geometry=None, **more):
    properties = {"start_node": start, "end_node": end, "length_m": length, "velocity_m_s": v} | more
    shape = None if geometry is None else shapely.geometry.mapping(geometry)
    return {"type": "Feature", "id": name, "geometry": shape, "properties": properties}


HAND = [link("r-a", "R", "A", 100.0, 1.0), link("a-b", "A", "B", 200.0, 1.0), link("c-b", "C", "B", 50.0, 0.5),
        link("b-d", "B", "D", 100.0, 1.0)]  # fmt: skip


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    with made(tmp_path_factory.mktemp("twin"), {}) as opened:
        yield opened


def run(city, links=HAND, **more):
    return city.run("network-trace", links=[collection(*links)], crs="city", **more)


def times(found, what="nodes", name="node"):
    return {each[name]: each["travel_s"] for each in found[what]}


def test_hand_case_up_down_and_within_a_time(city):
    up = run(city, direction="up", node="D")
    assert times(up) == {"B": 100, "C": 200, "A": 300, "R": 400}
    assert set(up["last_nodes"]) == {"C", "R"}
    assert times(run(city, direction="down", node="A")) == {"B": 200, "D": 300}
    found = run(city, direction="source", node="D", seconds=300)
    assert times(found) == {"B": 100, "C": 200, "A": 300}
    assert {each["link"]: each["share"] for each in found["links"]} == {"b-d": 1, "c-b": 1, "a-b": 1}


@pytest.mark.parametrize(
    ("seconds", "nodes", "share"),
    [
        (299.9, {"B", "C"}, 0.9995),
        (300, {"A", "B", "C"}, 1.0),
        (350, {"A", "B", "C"}, 1.0),
        (400, {"A", "B", "C", "R"}, 1.0),
    ],
)
def test_a_time_that_is_just_enough_reaches(city, seconds, nodes, share):
    found = run(city, direction="source", node="D", seconds=seconds)
    assert set(times(found)) == nodes
    shares = {each["link"]: each["share"] for each in found["links"]}
    assert shares["a-b"] == pytest.approx(share, abs=1e-9)
    assert shares.get("r-a", 0) == pytest.approx(max(0, min(1, (seconds - 300) / 100)), abs=1e-6)
    lengths = {"r-a": 100, "a-b": 200, "c-b": 50, "b-d": 100}
    assert found["length_m"] == pytest.approx(sum(far * shares.get(name, 0) for name, far in lengths.items()))


def test_links_without_velocity_are_never_passed_and_listed(city):
    for v in (0.0, None):
        links = [*HAND[:1], link("a-b", "A", "B", 200.0, v), *HAND[2:]]
        found = run(city, links, direction="up", node="D")
        assert times(found) == {"B": 100, "C": 200}
        assert found["never_reached"] == ["a-b"]
    given_ = run(city, [*HAND[:1], link("a-b", "A", "B", 200.0), *HAND[2:]], direction="up", node="D", velocity_m_s=2)
    assert times(given_)["A"] == 200, "one for all that have none"


def test_islands_are_listed_apart(city):
    links = [*HAND, link("x-y", "X", "Y", 5.0, 1.0), link("y-z", "Y", "Z", 5.0, 1.0)]
    nodes = [collection({"type": "Feature", "id": "R", "geometry": None, "properties": {"kind": "reservoir"}})]
    found = run(city, links, direction="up", node="D", nodes=nodes)
    assert found["islands"] == [{"n_nodes": 3, "n_links": 2, "node": "X", "has_source": False}]
    assert found["sources"] == ["R"]


def test_cycles_and_parallel_links_take_the_quickest(city):
    links = [*HAND, link("d-a", "D", "A", 10.0, 1.0), link("quick", "A", "B", 30.0, 3.0)]
    found = run(city, links, direction="down", node="A")
    assert times(found) == {"B": 10, "D": 110}
    assert times(found, "links", "link")["d-a"] == 120, "back at the start"


def test_velocity_against_the_link_and_stated_flow(city):
    links = [link("b-a", "B", "A", 200.0, -1.0), link("b-d", "D", "B", 100.0, 1.0, flow_dir="逆")]
    assert times(run(city, links, direction="up", node="D")) == {"B": 100, "A": 300}


def test_links_without_length_of_cost(city):
    links = [link("r-a", "R", "A", 0.0, 1.0), link("a-b", "A", "B", 10.0, 1.0), link("b-c", "B", "C", 0.0, 1.0)]
    assert times(run(city, links, direction="down", node="R")) == {"A": 0, "B": 10, "C": 10}
    unknown = [link("r-a", "R", "A", None, 1.0), *links[1:]]
    assert run(city, unknown, direction="down", node="R")["never_reached"] == ["r-a"]


def test_by_connection_asks_for_no_velocity(city):
    links = [link("r-a", "R", "A", 100.0), link("a-b", "A", "B", 200.0)]
    found = run(city, links, direction="up", node="B", by="connection")
    assert found["nodes"] == [{"node": "A", "distance_m": 200}, {"node": "R", "distance_m": 300}]
    bare = run(city, [links[0], link("a-b", "A", "B")], direction="up", node="B", by="connection")
    assert [each["distance_m"] for each in bare["nodes"]] == [None, None], "no length, no distance"


def line(*points):
    return shapely.LineString([(EAST + x, NORTH + y, *z) for x, y, *z in points])


def test_lines_that_name_no_nodes_are_joined_by_their_ends(city):
    ways = [[(0, 0), (100, 0)], [(100.01, 0), (100, 50)], [(100.1, 50), (100, 90)]]
    lines = [feature(line(*way), str(k), velocity_m_s=1.0) for k, way in enumerate(ways, 1)]
    at = collection(feature(shapely.Point(EAST + 99, NORTH + 49)))
    found = run(city, lines, direction="up", at=at)
    assert [each["link"] for each in found["links"]] == ["2", "1"]
    assert found["links"][0]["travel_s"] == pytest.approx(50, abs=0.01)
    assert found["islands"][0]["n_links"] == 1, "an end 0.1 m away is another node"


def test_a_named_end_and_a_bare_one_at_its_place_are_one(city):
    lines = [feature(line((0, 0), (100, 0)), "1", velocity_m_s=1.0, start_node="A", end_node="B"),
             feature(line((100, 0), (100, 50)), "2", velocity_m_s=1.0)]  # fmt: skip
    found = run(city, lines, direction="down", node="A")
    assert found["nodes"][0]["node"] == "B"
    assert found["n_nodes"] == 2
    assert found["features"]["features"][0]["geometry"]["type"] == "LineString"


def test_full_bore_velocities_of_drains(city):
    drain = {"kind": "rain", "dn_mm": 300.0, "material": "混凝土"}
    lines = [feature(line((0, 0, 5.0), (50, 0, 4.85)), "1", start_node="A", end_node="B", **drain),
             feature(line((50, 0, 4.85), (99, 0, 4.9)), "2", start_node="B", end_node="C", **drain)]  # fmt: skip
    found = run(city, lines, direction="down", node="A", full_bore=True)
    assert times(found) == {"B": pytest.approx(50 / 0.749, rel=1e-3)}
    assert found["never_reached"] == ["2"], "it rises"


@pytest.mark.parametrize(("change", "message"), [
    ({"node": "Q"}, "node: the network has no node 'Q'"), ({"node": None}, "node: "),
    ({"direction": "sideways"}, "direction"),
    ({"direction": "source"}, "seconds"), ({"seconds": -1}, "seconds"), ({"seconds": float("nan")}, "seconds"),
    ({"velocity_m_s": 0}, "velocity_m_s"), ({"by": "connection", "seconds": 5}, "seconds"),
])  # fmt: skip
def test_wrong_inputs_are_named(city, change, message):
    inputs = {"direction": "up", "node": "D"} | change
    with pytest.raises(InvalidInput, match=message):
        run(city, **{key: value for key, value in inputs.items() if value is not None})


@pytest.mark.parametrize(("links", "message"), [
    ([link("1", None, "B", 5.0, 1.0)], "names no node and has no geometry"),
    ([link("1", "A", "D", -5.0, 1.0)], "length_m -5"),
    ([link("1", "A", "D", 5.0, 1.0), link("1", "D", "C", 5.0, 1.0)], "'1' is there twice"),
    ([link("1", "A", "D", 5.0, "fast")], "links: velocity_m_s is no number"),
    ([link("1", "A", "D", "long", 1.0)], "links: length_m is no number"),
    ([link("1", "A", "D", 5.0)], "velocity_m_s: no link has a velocity"),
    ([link("1", "A", "D", 5.0, 1.0, shapely.Point(EAST, NORTH))], "'1' has a POINT"),
])  # fmt: skip
def test_wrong_links_are_named(city, links, message):
    with pytest.raises(InvalidInput, match=message):
        run(city, links, direction="up", node="D")


def test_a_place_without_a_node_near_is_named(city):
    at = collection(feature(shapely.Point(EAST + 500, NORTH)))
    with pytest.raises(InvalidInput, match=r"^at: no node within 10 m"):
        run(city, [feature(line((0, 0), (100, 0)), "1", velocity_m_s=1.0)], direction="up", at=at)


@settings(max_examples=60)
@given(st.integers(0, 10**6))
def test_random_networks_equal_networkx(seed):
    draw = np.random.default_rng(seed)
    n, m = int(draw.integers(1, 14)), int(draw.integers(0, 30))
    start, end = draw.integers(0, n, m), draw.integers(0, n, m)
    cost = np.where(draw.random(m) < 0.15, np.nan, draw.integers(0, 9, m).astype(float))
    origins = draw.integers(0, n, int(draw.integers(1, 3)))
    limit = float(draw.choice([np.inf, 6.0]))
    graph = nx.MultiDiGraph()
    graph.add_nodes_from(range(n))
    graph.add_edges_from((a, b, {"w": c}) for a, b, c in zip(start, end, cost, strict=True) if np.isfinite(c))
    for is_up in (False, True):
        found = reach(n, start, end, cost, origins, is_up=is_up, limit=limit)
        seen = graph.reverse() if is_up else graph
        wanted = nx.multi_source_dijkstra_path_length(seen, set(origins.tolist()), weight="w")
        wanted = {node: far for node, far in wanted.items() if far <= limit}
        assert {node: far for node, far in enumerate(found.node.tolist()) if np.isfinite(far)} == pytest.approx(wanted)
        for k in range(m):
            near = wanted.get(int(end[k] if is_up else start[k]))
            passed = near is not None and np.isfinite(cost[k])
            far = near + cost[k] if passed else np.inf
            assert found.link[k] == pytest.approx(far if far <= limit else np.inf)
            full = 1.0 if passed and far <= limit else ((limit - near) / cost[k] if passed else 0.0)
            assert found.share[k] == pytest.approx(full)
    label = islands(n, start, end)
    parts = {frozenset(np.flatnonzero(label == each).tolist()) for each in np.unique(label)}
    plain = nx.Graph(list(zip(start.tolist(), end.tolist(), strict=True)))
    plain.add_nodes_from(range(n))
    assert parts == {frozenset(each) for each in nx.connected_components(plain)}
