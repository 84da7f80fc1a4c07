"""Parcels by three control lines, and areas on the ellipsoid. Peers: geopandas.overlay, pyproj's Geod, in the same run.

The parcels are rectangles side by side (a town of 25 m plots, turned by 7°); the lines are ragged outlines of as many
corners as said, which a third of the parcels lie in each and some thousands cross. The peer does what its
documentation says, `geopandas.overlay(parcels, line, how="intersection")`, then areas by the same function as ours.
"""

import resource
import time

import geopandas
import numpy as np
import pytest
import shapely

from layers import crs
from layers.ellipsoid_area import areas_m2
from tests.twin.analysis.land_city import made
from twin.analysis.overlay import Cover, common, self_overlaps

pytestmark = pytest.mark.bench

CRS = "EPSG:4549"
EAST, NORTH, PLOT_M = 550_000.0, 3_100_000.0, 25.0


def parcels(n):
    """n plots that share their corners, in a square turned by 7°."""
    side, turn = int(np.sqrt(n)), np.radians(7)
    i, j = (each.ravel() for each in np.meshgrid(np.arange(side + 1), np.arange(side + 1), indexing="ij"))
    x = np.round(EAST + PLOT_M * (np.cos(turn) * i - np.sin(turn) * j), 3).reshape(side + 1, -1)
    y = np.round(NORTH + PLOT_M * (np.sin(turn) * i + np.cos(turn) * j), 3).reshape(side + 1, -1)
    corner = np.stack([x, y], axis=-1)
    ring = [corner[:-1, :-1], corner[1:, :-1], corner[1:, 1:], corner[:-1, 1:], corner[:-1, :-1]]
    return shapely.polygons(np.stack(ring, axis=2).reshape(-1, 5, 2))


def outline(n, at, size, corners, seed):
    """A ragged line of `corners` corners over a town of n plots; place and size as shares of its side."""
    side = PLOT_M * np.sqrt(n)
    turn = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    noise = np.random.default_rng(seed).standard_normal(corners).cumsum() / np.sqrt(corners)
    reach = side * size * (1 + 0.2 * np.sin(5 * turn) + 0.1 * np.sin(17 * turn) + 0.02 * noise)
    ring = np.column_stack([EAST + side * at[0] + reach * np.cos(turn), NORTH + side * at[1] + reach * np.sin(turn)])
    return shapely.make_valid(shapely.Polygon(ring))


def lines(n, corners):
    placed = [((0.3, 0.3), 0.25), ((0.6, 0.6), 0.3), ((0.5, 0.4), 0.35)]
    return [outline(n, at, size, corners, seed) for seed, (at, size) in enumerate(placed)]


def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def against(shapes, ground):
    own = areas_m2(shapes, CRS)
    return [
        common(shapes, Cover(np.array([line]), CRS, is_one=True), left_m2=own).of_left(len(shapes)) for line in ground
    ]


@pytest.mark.parametrize(("n", "corners"), [(100_000, 50), (100_000, 5_000), (1_000_000, 500)])
def test_three_lines(benchmark, n, corners):
    shapes, ground = parcels(n), lines(n, corners)
    before = peak_mib()
    found = benchmark.pedantic(against, (shapes, ground), rounds=3, warmup_rounds=1)
    benchmark.extra_info["peak_added_mib"] = round(peak_mib() - before)
    begun = time.perf_counter()
    frame = geopandas.GeoDataFrame({"row": np.arange(len(shapes))}, geometry=shapes, crs=CRS)
    for line, ours in zip(ground, found, strict=True):
        other = geopandas.GeoDataFrame({"line": [0]}, geometry=[line], crs=CRS)
        cut = geopandas.overlay(frame, other, how="intersection", keep_geom_type=True)
        theirs = np.bincount(cut["row"], weights=areas_m2(cut.geometry.to_numpy(), CRS), minlength=len(shapes))
        assert np.abs(theirs - ours).max() < 1e-5
    took = time.perf_counter() - begun
    benchmark.extra_info["parcels_per_second"] = round(len(shapes) / benchmark.stats["median"])
    benchmark.extra_info["times_as_fast_as_geopandas"] = round(took / benchmark.stats["median"], 1)


@pytest.mark.parametrize("n", [10_000, 1_000_000])
def test_overlaps_inside_a_layer(benchmark, n):
    shapes = parcels(n)
    shapes[::100] = shapely.buffer(shapes[::100], 2.0, join_style="mitre")
    found = benchmark.pedantic(self_overlaps, (shapes, CRS), rounds=3, warmup_rounds=1)
    assert len(found) >= n // 100
    benchmark.extra_info["parcels_per_second"] = round(len(shapes) / benchmark.stats["median"])


@pytest.mark.parametrize("n", [10_000, 1_000_000])
def test_areas(benchmark, n):
    shapes = parcels(n)
    found = benchmark.pedantic(areas_m2, (shapes, CRS), rounds=3, warmup_rounds=1)
    some = shapely.orient_polygons(shapes[:5_000])
    begun = time.perf_counter()
    placed = crs.transform_geometries(CRS, crs.CGCS2000, shapely.segmentize(some, 100.0))
    theirs = np.array([crs.CGCS2000_GEOD.geometry_area_perimeter(each)[0] for each in placed])
    took = (time.perf_counter() - begun) * len(shapes) / len(some)
    assert np.abs(np.abs(theirs) - found[: len(some)]).max() < 1e-3
    benchmark.extra_info["parcels_per_second"] = round(len(shapes) / benchmark.stats["median"])
    benchmark.extra_info["times_as_fast_as_geod"] = round(took / benchmark.stats["median"], 1)


@pytest.mark.parametrize("n", [10_000, 100_000])
def test_the_process_on_stored_parcels(benchmark, tmp_path, n):
    """From the store to verdicts, three lines at once."""
    shapes, ground = parcels(n), lines(n, 5_000)
    use = {"planned_use": "0701", "code_system": "ydyh2023"}
    layers = {
        name: [("a", line, {})] for name, line in zip(("pbf", "eco_redline", "urban_boundary"), ground, strict=True)
    }
    layers["project_land"] = [(str(i), shape, use) for i, shape in enumerate(shapes)]
    with made(tmp_path, layers) as city:
        asked = {"project": {"collection": "project_land"}, "limit": 1}
        found = benchmark.pedantic(city.run, ("control-line-check",), asked, rounds=3, warmup_rounds=1)
    assert found["n_projects"] == len(shapes)
    assert sum(found["counts"].values()) == len(shapes)
    benchmark.extra_info["parcels_per_second"] = round(len(shapes) / benchmark.stats["median"])
