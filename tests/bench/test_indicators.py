"""Indicators of a city with many towns: lamps counted, pipes cut, areas covered. Peer: geopandas in the same run.

Towns are ragged cells (Voronoi cells of random places, with some three hundred corners each), as borders are. The peer
does what one would write with geopandas: `sjoin` and a group-by for points, `overlay` and lengths for lines.
"""

import time

import geopandas
import numpy as np
import pytest
import shapely

from twin.analysis.coverage_indicators_area import covered, discs
from twin.analysis.coverage_indicators_reach import network, walking_m
from twin.analysis.coverage_indicators_zones import parts, zone_of_points

pytestmark = pytest.mark.bench

CRS = "EPSG:4549"
EAST, NORTH, SIDE_M = 550_000.0, 3_100_000.0, 50_000.0
ORIGIN = np.array([EAST, NORTH])


def towns(n, corners=300):
    rng = np.random.default_rng(1)
    places = shapely.multipoints(rng.uniform(0, SIDE_M, (n, 2)) + ORIGIN)
    box = shapely.box(EAST, NORTH, EAST + SIDE_M, NORTH + SIDE_M)
    cells = shapely.intersection(shapely.get_parts(shapely.voronoi_polygons(places, extend_to=box)), box)
    return shapely.segmentize(cells, SIDE_M / np.sqrt(n) * 4 / corners)


def timed(function):
    start = time.perf_counter()
    answer = function()
    return answer, time.perf_counter() - start


@pytest.mark.parametrize("n", [100_000, 1_000_000])
def test_points_in_200_towns(benchmark, n):
    xy = np.random.default_rng(2).uniform(0, SIDE_M, (n, 2)) + ORIGIN
    points, zones = shapely.points(xy), towns(200)
    found = benchmark.pedantic(zone_of_points, (points, zones), rounds=3)
    frames = geopandas.GeoDataFrame(geometry=points, crs=CRS), geopandas.GeoDataFrame(geometry=zones, crs=CRS)
    joined, seconds = timed(lambda: geopandas.sjoin(*frames, predicate="intersects"))
    assert np.bincount(found).sum() == n
    expected = joined[~joined.index.duplicated()].index_right.to_numpy()
    assert (np.bincount(found, minlength=200) - np.bincount(expected, minlength=200)).max() <= 2
    benchmark.extra_info |= {
        "points_per_second": round(n / benchmark.stats["median"]),
        "geopandas_s": round(seconds, 2),
    }


@pytest.mark.parametrize("n", [20_000, 200_000])
def test_pipes_cut_at_the_borders_of_200_towns(benchmark, n):
    rng = np.random.default_rng(3)
    start = rng.uniform(0, SIDE_M, (n, 2)) + ORIGIN
    lines, zones = shapely.linestrings(np.stack([start, start + rng.normal(0, 60, (n, 2))], axis=1)), towns(200)
    row, zone, part = benchmark.pedantic(parts, (lines, zones), rounds=3)
    assert np.bincount(row, weights=shapely.length(part)) == pytest.approx(shapely.length(lines))
    frames = geopandas.GeoDataFrame(geometry=lines, crs=CRS), geopandas.GeoDataFrame(geometry=zones, crs=CRS)
    cut, seconds = timed(lambda: geopandas.overlay(*frames, how="intersection", keep_geom_type=True))
    assert cut.length.sum() == pytest.approx(shapely.length(part[zone >= 0]).sum())
    benchmark.extra_info |= {"lines_per_second": round(n / benchmark.stats["median"]), "geopandas_s": round(seconds, 2)}


@pytest.mark.parametrize("n", [200, 2_000])
def test_areas_under_discs(benchmark, n):
    xy = np.random.default_rng(4).uniform(0, SIDE_M, (n, 2)) + ORIGIN
    zones = towns(100)
    inside, whole, _ = benchmark.pedantic(lambda: covered(zones, discs(xy, np.full(n, 500.0)), CRS), rounds=3)
    plain = shapely.buffer(shapely.points(xy), 500, quad_segs=64)
    _, seconds = timed(lambda: shapely.area(shapely.intersection(zones, shapely.union_all(plain))))
    assert 0 < inside.sum() < whole.sum()
    benchmark.extra_info |= {
        "discs_per_second": round(n / benchmark.stats["median"]),
        "shapely_plane_s": round(seconds, 2),
    }


@pytest.mark.parametrize("side", [50, 300])
def test_walking_on_a_grid_of_streets(benchmark, side):
    step = 100.0
    at = np.arange(side + 1) * step
    lines = [shapely.LineString([(x, y) for y in at]) for x in at] + [
        shapely.LineString([(x, y) for x in at]) for y in at
    ]
    rng = np.random.default_rng(5)
    homes, venues = (shapely.points(rng.uniform(0, side * step, (n, 2))) for n in (side * side * 10, side))
    net = network(np.array(lines, dtype=object))
    found = benchmark.pedantic(walking_m, (homes, venues, net, 1000.0), rounds=2)
    assert np.isfinite(found).any()
    benchmark.extra_info["homes_per_second"] = round(len(homes) / benchmark.stats["median"])
