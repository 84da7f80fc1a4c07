"""Sunlight hours: windows a second at two sizes, next to a ray test with shapely each minute in the same run.

The peer is what the usual software does: for every minute of the day a ray from the window, looked up in a tree of
footprints. It is run on a few of the windows; its hours are good to some minutes and must agree with ours. Goal: 2,000
windows among 20,000 buildings in 20 s on 2 cores.
"""

import time

import numpy as np
import pytest
import shapely

from twin.analysis import sun_position
from twin.analysis.sunlight_shadow import obstacles, sunlight

LATITUDE, DELTA = 37.5, -20.115
N_PEER = 5
pytestmark = pytest.mark.bench


def town(n):
    """Slabs and towers turned at random, as dense as a housing estate (one to 450 m2)."""
    random = np.random.default_rng(0)
    side = np.sqrt(450.0 * n)
    centre, turn = random.uniform(0, side, (n, 2)), random.uniform(-30, 30, n)
    wide, deep = random.uniform(10, 40, n), random.uniform(9, 14, n)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])[None] * np.stack([wide, deep], axis=1)[:, None] / 2
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    turned = np.einsum("nij,nkj->nki", np.array([[c, -s], [s, c]]).transpose(2, 0, 1), corners) + centre[:, None]
    tops = random.choice([6.0, 18.0, 33.0, 54.0, 80.0], n, p=[0.3, 0.4, 0.15, 0.1, 0.05])
    return shapely.polygons(turned), tops, side


def windows(footprints, n, side):
    """Points outside of buildings, at a sill of 0.9 m."""
    random = np.random.default_rng(1)
    points = random.uniform(0, side, (8 * n, 2))
    tree = shapely.STRtree(footprints)
    taken = np.unique(tree.query(shapely.points(points), "intersects")[0])
    free = np.delete(points, taken, axis=0)[:n]
    return np.column_stack([free, np.full(len(free), 0.9)])


def peer_hours(point, footprints, tops):
    """Minutes in which no footprint on the ray is taller than the ray where it is met."""
    hours = np.arange(8 * 60 + 0.5, 16 * 60) / 60
    sun = sun_position.direction(sun_position.path([LATITUDE], DELTA)[0], sun_position.hour_angle(hours))
    slope = sun[:, 2] / np.hypot(sun[:, 0], sun[:, 1])
    flat = sun[:, :2] / np.hypot(sun[:, 0], sun[:, 1])[:, None]
    reach = (tops.max() - point[2]) / slope
    ends = point[:2] + flat * reach[:, None]
    rays = shapely.linestrings(np.stack([np.broadcast_to(point[:2], ends.shape), ends], axis=1))
    minute, building = shapely.STRtree(footprints).query(rays, "intersects")
    met = shapely.intersection(rays[minute], footprints[building])
    distance = shapely.distance(met, shapely.Point(point[:2]))
    hidden = np.unique(minute[distance * slope[minute] < tops[building] - point[2]])
    return (len(hours) - len(hidden)) / 60


@pytest.mark.parametrize(("n_windows", "n_buildings"), [(200, 2_000), (2_000, 20_000)], ids=["200", "2000"])
def test_sunlight_hours(benchmark, n_windows, n_buildings):
    footprints, tops, side = town(n_buildings)
    points = windows(footprints, n_windows, side)
    assert len(points) == n_windows

    def ours():
        around = obstacles(footprints, tops)
        return sunlight(
            points, around, latitude_deg=np.full(len(points), LATITUDE), declination=DELTA, from_h=8.0, to_h=16.0
        ).hours()

    hours = benchmark.pedantic(ours, rounds=3, warmup_rounds=1)
    start = time.perf_counter()
    peer = [peer_hours(each, footprints, tops) for each in points[:N_PEER]]
    peer_s = (time.perf_counter() - start) / N_PEER
    assert hours[:N_PEER] == pytest.approx(peer, abs=0.1), "minutes of the peer, seconds of ours"
    assert 0 < hours.mean() < 8
    benchmark.extra_info["windows_per_second"] = round(n_windows / benchmark.stats["median"])
    benchmark.extra_info["peer_windows_per_second"] = round(1 / peer_s, 1)
    benchmark.extra_info["mean_hours"] = round(float(hours.mean()), 3)
