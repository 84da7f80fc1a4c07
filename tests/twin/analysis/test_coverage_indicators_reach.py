"""P33: distances, straight and on foot; against brute force over all pairs and a graph of networkx's making."""

import networkx as nx
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.analysis.coverage_indicators_reach import network, straight_m, walking_m


def lines(*paths):
    return np.array([shapely.LineString(each) for each in paths], dtype=object)


def points(*xy):
    return np.array([shapely.Point(each) for each in xy], dtype=object)


def test_hand_case_dwellings_at_0_250_400_and_600_m_from_a_park():
    park = np.array([shapely.box(-100, -100, 0, 100)], dtype=object)
    found = straight_m(points((-50, 0), (250, 0), (400, 0), (600, 0)), park)
    assert found.tolist() == [0, 250, 400, 600]
    assert (found <= 300).mean() == 0.5


def test_nothing_near_and_nothing_there():
    assert straight_m(points((0, 0)), points()[:0]).tolist() == [np.inf]
    assert np.isnan(straight_m(np.array([None], dtype=object), points((0, 0)))).all()


def test_on_foot_it_is_round_the_corner():
    roads = network(lines([(0, 0), (300, 0)], [(300, 0), (300, 400)]))
    found = walking_m(points((0, 10), (300, 400)), points((300, 300)), roads, 1000)
    assert found == pytest.approx([10 + 300 + 300, 100])
    assert straight_m(points((0, 10)), points((300, 300)))[0] < 430


def test_the_limit_counts_when_it_is_met():
    roads = network(lines([(0, 0), (1000, 0)]))
    assert walking_m(points((0, 0)), points((1000, 0)), roads, 1000) == pytest.approx([1000])
    assert walking_m(points((0, 0)), points((1000, 0)), roads, 999.99).tolist() == [np.inf]


def test_lines_that_merely_cross_do_not_join_and_ends_that_nearly_meet_do():
    bridge = network(lines([(-100, 0), (100, 0)], [(0, -100), (0, 100)]))
    assert walking_m(points((-100, 0)), points((0, 100)), bridge, 1e4).tolist() == [np.inf]
    tee = network(lines([(-100, 0), (100, 0)], [(0, 0.3), (0, 100)]))
    assert tee.n_joined == 1
    assert walking_m(points((-100, 0)), points((0, 100)), tee, 1e4) == pytest.approx([200])
    apart = network(lines([(-100, 0), (100, 0)], [(0, 0.6), (0, 100)]))
    assert apart.n_joined == 0


def test_two_places_on_one_edge():
    roads = network(lines([(0, 0), (1000, 0)]))
    assert walking_m(points((400, 0), (420, 0)), points((430, 5)), roads, 1e4) == pytest.approx([35, 15])


def test_no_roads_no_places_no_things():
    roads = network(lines([(0, 0), (10, 0)]))
    assert walking_m(points((0, 0)), points()[:0], roads, 10).tolist() == [np.inf]
    assert walking_m(points((0, 0)), points((1, 1)), network(lines()[:0]), 10).tolist() == [np.inf]
    assert np.isnan(walking_m(np.array([None], dtype=object), points((1, 1)), roads, 10)).all()


spot = st.tuples(st.integers(0, 6), st.integers(0, 6)).map(lambda p: (p[0] * 50.0, p[1] * 50.0))


@settings(max_examples=40)
@given(
    edges=st.lists(st.tuples(spot, spot).filter(lambda e: e[0] != e[1]), min_size=1, max_size=14),
    homes=st.lists(spot, min_size=1, max_size=5),
    venues=st.lists(spot, min_size=1, max_size=3),
)
def test_on_foot_between_nodes_it_is_networkx_shortest_path(edges, homes, venues):
    graph = nx.Graph()
    for a, b in edges:
        graph.add_edge(a, b, weight=float(np.hypot(a[0] - b[0], a[1] - b[1])))
    segments = {frozenset(each) for each in edges}
    loose = {node for node in graph if graph.degree(node) == 1}
    joined = any(
        shapely.distance(shapely.Point(node), shapely.LineString(list(each))) < 0.5
        for node in loose
        for each in segments
        if node not in each
    )
    homes, venues = [h for h in homes if h in graph], [v for v in venues if v in graph]
    if joined or not homes or not venues:  # joints of loose ends have their own test
        return
    found = walking_m(points(*homes), points(*venues), network(lines(*edges)), 1e6)
    on_other = [
        any(shapely.distance(shapely.Point(n), shapely.LineString(list(e))) < 1e-9 and n not in e for e in segments)
        for n in homes + venues
    ]
    if any(on_other):  # an edge under a node: which of the two is nearest is open
        return
    for home, distance in zip(homes, found.tolist(), strict=True):
        far = nx.single_source_dijkstra_path_length(graph, home)
        assert distance == pytest.approx(min((far[v] for v in venues if v in far), default=np.inf), abs=1e-6)
