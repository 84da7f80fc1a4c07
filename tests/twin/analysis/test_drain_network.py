"""Turns of the flow and spacing of manholes: angles by hand, runs by a plain walk."""

from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.twin.analysis.land_city import collection, feature
from twin.analysis import features_input
from twin.analysis.drain_network import NO_WELL, NOT_KNOWN, WELL, spacings, turns, wells
from twin.analysis.pipe_joints import labels
from twin.analysis.pipes import from_features

E0, N0 = 598_000.0, 3_110_000.0


class Plane:
    """What reading inline features asks of a city."""

    crs = "EPSG:4549"


def pipes(*rows):
    features = [
        feature(shapely.LineString([(E0 + x, N0 + y, z) for x, y, z in points]), name, kind="rain",
                **({"dn_mm": 300.0, "od_mm": 360.0} | more))
        for name, points, more in rows
    ]  # fmt: skip
    return from_features(next(features_input.read(Plane(), "pipes", collection(*features))))


def at(angle_deg):
    """A pipe that leaves the node at the origin so that it and the one that comes from the west enclose an angle."""
    turn = np.radians(180 - angle_deg)
    return [(0, 0, 4.0), (50 * np.cos(turn), 50 * np.sin(turn), 3.0)]


@pytest.mark.parametrize("angle", [180, 135, 90, 89, 45, 10])
@pytest.mark.parametrize("flow", [None, "逆"], ids=["along", "back"])
def test_the_angle_between_what_comes_and_what_goes(angle, flow):
    come, go = [(-50, 0, 5.0), (0, 0, 4.5)], at(angle)
    if flow:
        come, go = come[::-1], go[::-1]
    given_ = pipes(("a", come, {"flow_dir": flow}), ("b", go, {"flow_dir": flow}))
    found = turns(given_, labels(given_))
    assert [(given_.names[a], given_.names[b]) for a, b in zip(found.comes, found.goes, strict=True)] == [("a", "b")]
    assert found.angle_deg[0] == pytest.approx(angle, abs=1e-6)
    assert found.drop_m[0] == pytest.approx(0.5)
    assert found.at[0] == pytest.approx([E0, N0])


def test_pipes_that_meet_or_part_make_a_pair_each():
    given_ = pipes(
        ("a", [(-50, 0, 5), (0, 0, 4)], {}), ("b", [(0, 50, 5), (0, 0, 4)], {}), ("c", at(180), {}), ("d", at(100), {})
    )
    found = turns(given_, labels(given_))
    pairs = {
        given_.names[a] + given_.names[b]: round(angle)
        for a, b, angle in zip(found.comes, found.goes, found.angle_deg, strict=True)
    }
    assert pairs == {"ac": 180, "ad": 100, "bc": 90, "bd": 10}


def chain(*lengths):
    places = np.r_[0, np.cumsum(lengths)]
    return [(str(k), [(a, 0, 5.0), (b, 0, 5.0)], {"start_node": f"n{k}", "end_node": f"n{k + 1}"})
            for k, (a, b) in enumerate(pairwise(places))]  # fmt: skip


def run(given_, known):
    number = labels(given_)
    found = spacings(given_, number, wells(given_, number, known))
    return {
        "".join(given_.names[row] for row in members): length
        for members, length in zip(found.pipes, found.length_m, strict=True)
    }


def test_runs_go_from_one_manhole_to_the_next():
    given_ = pipes(*chain(30, 40, 50))
    every = {f"n{k}": True for k in range(4)}
    assert run(given_, every) == {"0": 30, "1": 40, "2": 50}
    assert run(given_, every | {"n1": False}) == {"01": 70, "2": 50}
    assert run(given_, every | {"n1": False, "n3": False}) == {"01": 70, "2": 50}, "an end without manhole ends a run"
    unknown = run(given_, {"n0": True, "n2": True, "n3": True})
    assert (np.isnan(unknown["01"]), unknown["2"]) == (True, 50)


def test_a_branch_without_manhole_has_no_spacing():
    given_ = pipes(*chain(30, 40), ("b", [(30, 20, 5), (30, 0, 5)], {"start_node": "x", "end_node": "n1"}))
    found = run(given_, {"n0": True, "n1": False, "n2": True, "x": True})
    assert len(found) == 1
    assert np.isnan(next(iter(found.values())))


@settings(max_examples=50)
@given(st.integers(0, 10**6))
def test_random_trees_equal_a_plain_walk(seed):
    draw = np.random.default_rng(seed)
    n = int(draw.integers(1, 12))
    places = draw.uniform(0, 300, (n + 1, 2))
    parent = [int(draw.integers(0, k)) for k in range(1, n + 1)]
    state = draw.choice([WELL, NO_WELL, NOT_KNOWN], n + 1, p=[0.5, 0.4, 0.1])
    given_ = pipes(*((str(k), [(*places[k], 5.0), (*places[parent[k - 1]], 4.0)],
                      {"start_node": f"n{k}", "end_node": f"n{parent[k - 1]}"}) for k in range(1, n + 1)))  # fmt: skip
    known = {f"n{k}": bool(each == WELL) for k, each in enumerate(state) if each != NOT_KNOWN}
    got = run(given_, known)
    tree = nx.Graph([(k, parent[k - 1]) for k in range(1, n + 1)])
    inner = [k for k in tree if state[k] != WELL and tree.degree[k] > 1]
    joined = nx.Graph()
    joined.add_nodes_from(range(1, n + 1))
    for k in inner:
        of = [max(edge) for edge in tree.edges(k)]  # parents have the lower number
        joined.add_edges_from((of[0], other) for other in of)
    wanted = {}
    for members in nx.connected_components(joined):
        nodes = {end for k in members for end in (k, parent[k - 1])} & set(inner)
        bad = any(tree.degree[k] > 2 or state[k] == NOT_KNOWN for k in nodes)
        length = sum(np.hypot(*(places[k] - places[parent[k - 1]])) for k in members)
        wanted["".join(str(k) for k in sorted(members))] = np.nan if bad else pytest.approx(length, abs=1e-6)
    assert set(got) == set(wanted)
    for name, length in wanted.items():
        assert (np.isnan(got[name]) and np.isnan(length)) if isinstance(length, float) else got[name] == length
