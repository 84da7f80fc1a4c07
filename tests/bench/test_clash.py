"""How fast clashes are found among elements, and permits held against buildings. Seeded, two sizes, the peer beside.

The peer of clashes asks manifold3d for each pair whose boxes are near: boolean, then gap. That of the screening is
geopandas' overlay.
"""

import resource
import time

import geopandas
import numpy as np
import pytest
import shapely
import trimesh

from twin.analysis.bim_clash_contacts import HARD, contacts
from twin.analysis.bim_clash_pairs import near_pairs
from twin.analysis.illegal_building_screen_excess import cover
from twin.analysis.model_diff_solids import solid

pytestmark = pytest.mark.bench

SOFT_M = 0.05
N_PEER = 1000


def elements(n):
    """(n,) turned boxes and round columns, walls and pipes, as dense as a storey: some 1.5 neighbours each."""
    draw = np.random.default_rng(0)
    side = 60.0 * (n / 5000) ** (1 / 3)
    made = []
    for row in range(n):
        if row % 4:
            body = trimesh.creation.box(draw.uniform(0.2, 4, 3))
        else:
            body = trimesh.creation.cylinder(draw.uniform(0.05, 0.3), draw.uniform(1, 4), sections=24)
        body.apply_transform(trimesh.transformations.rotation_matrix(draw.uniform(0, 6), [0, 0, 1]))
        body.apply_translation(draw.uniform(0, side, 3))
        made.append((np.asarray(body.vertices), np.asarray(body.faces)))
    return made


def ours(made):
    solids = [solid(*each) for each in made]
    low, high = np.array([each.low for each in solids]), np.array([each.high for each in solids])
    found, n_pairs = contacts(solids, near_pairs(low, high, SOFT_M), soft_gap_m=SOFT_M)
    return found, n_pairs


def peer(made):
    """The same by a loop over pairs: hard and soft pairs."""
    import manifold3d

    bodies = [manifold3d.Manifold(manifold3d.Mesh64(np.array(v, np.float64), np.array(t, np.uint64))) for v, t in made]
    boxes = np.array([each.bounding_box() for each in bodies])
    hard, soft = set(), set()
    for i, box in enumerate(boxes):
        apart = np.maximum(box[:3] - boxes[i + 1 :, 3:], boxes[i + 1 :, :3] - box[3:]).max(axis=1)
        for j in (np.flatnonzero(apart <= SOFT_M) + i + 1).tolist():
            shared = bodies[i] ^ bodies[j]
            volume = shared.volume()
            if volume > 0 and 2 * volume / shared.surface_area() > 1e-4:
                hard.add((i, j))
            elif bodies[i].min_gap(bodies[j], SOFT_M) < SOFT_M:
                soft.add((i, j))
    return hard, soft


@pytest.mark.parametrize("n", [1000, 5000])
def test_clashes(benchmark, n):
    made = elements(n)
    ours([made[0], made[0]])  # the kernel is compiled
    found, n_pairs = benchmark.pedantic(ours, (made,), rounds=3)
    assert n_pairs > n
    benchmark.extra_info["elements_per_second"] = round(n / benchmark.stats["median"])
    benchmark.extra_info["pairs"] = n_pairs
    benchmark.extra_info["peak_MB"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    if n == N_PEER:
        start = time.perf_counter()
        hard, soft = peer(made)
        benchmark.extra_info["times_peer"] = round((time.perf_counter() - start) / benchmark.stats["median"], 2)
        assert {(each.a, each.b) for each in found if each.kind == HARD} == hard
        assert {(each.a, each.b) for each in found if each.kind != HARD} == soft


def block(n):
    """(n,) buildings on a grid and permits of which one in twenty is too small."""
    draw = np.random.default_rng(1)
    side = int(np.ceil(np.sqrt(n)))
    x, y = 30.0 * (np.arange(n) % side), 30.0 * (np.arange(n) // side)
    w, d = draw.uniform(8, 20, n), draw.uniform(8, 20, n)
    cut = np.where(draw.random(n) < 0.05, draw.uniform(1, 4, n), 0.0)
    return np.asarray(shapely.box(x, y, x + w, y + d)), np.asarray(shapely.box(x, y, x + w - cut, y + d))


@pytest.mark.parametrize("n", [10_000, 300_000])
def test_permits_against_buildings(benchmark, n):
    houses, permits = block(n)
    found = benchmark.pedantic(cover, (houses, permits), rounds=3)
    benchmark.extra_info["buildings_per_second"] = round(n / benchmark.stats["median"])
    start = time.perf_counter()
    a, b = geopandas.GeoDataFrame({"a": range(n)}, geometry=houses), geopandas.GeoDataFrame(geometry=permits)
    left = geopandas.overlay(a, b, how="difference", keep_geom_type=True)
    benchmark.extra_info["times_geopandas"] = round((time.perf_counter() - start) / benchmark.stats["median"], 2)
    assert found.excess_m2.sum() == pytest.approx(left.geometry.area.sum())
