"""One site's supervision, in the sample town and among 25 of them: it must cost what lies around the site.

The goal is 2 s for all rules of a site. There is no peer: what other servers offer are single analyses.
"""

import resource
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import shapely

import twin
from layers.report import Report
from server.build import build
from tests.stores import copy_twin
from twin.store.interface import Query, Rows, SourceRecord
from twin.supervision import engine, finding

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.bench
SIDE = 5
STEP_M = 2_000.0


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    folder = tmp_path_factory.mktemp("town") / "twin"
    build(ROOT / "sample_data" / "town", folder)
    return folder


@pytest.fixture(scope="module")
def towns(town, tmp_path_factory):
    """The town's features, without models, 25 times side by side."""
    folder = copy_twin(town, tmp_path_factory.mktemp("towns") / "twin")
    with twin.open(folder) as city:
        for at in range(1, SIDE * SIDE):
            shift = np.array([STEP_M * (at % SIDE), STEP_M * (at // SIDE)])
            source = SourceRecord(f"copy {at}", "", 0, 0, "")
            with city.store.writing() as batch:
                batch.begin_source(source)
                for info in city.layers:
                    for part in city.store.query(info.id, Query(), city.scope):
                        if info.id == "source" or any("~" in each for each in part.ids):
                            continue
                        moved = moved_by(part.geometry, shift)
                        ids = [f"{each}~{at}" for each in part.ids]
                        batch.put(info.id, source.path, Rows(ids, moved, part.attributes, part.extra))
                batch.finish_source(source, Report(source.path, "x", "", "stored"))
    return folder


def moved_by(shapes, shift):
    has_z = shapely.has_z(shapes)
    out = shapes.copy()
    for with_z in (False, True):
        rows = has_z == with_z
        step = np.append(shift, 0.0) if with_z else shift
        out[rows] = shapely.transform(shapes[rows], lambda xyz, step=step: xyz + step, include_z=with_z)
    return out


@pytest.mark.parametrize("size", ["town", "towns"])
def test_a_site(size, request, benchmark):
    folder = request.getfixturevalue(size)
    with twin.open(folder) as city:
        n = sum(info.count for info in city.layers)
        sites = city["construction_site"].query().index[:4].tolist()
        for site in sites[:1]:
            engine.run(city, "construction", site=site)
        times = {}
        for site in sites:
            start = time.perf_counter()
            run = engine.run(city, "construction", site=site)
            times[site] = time.perf_counter() - start
        slowest = max((each.seconds, each.check.id) for each in run.results)
        sys.stdout.write(
            f"\n{size}: {n:,} features; a site {min(times.values()):.2f} to {max(times.values()):.2f} s; "
            f"{len(run.results)} checks, {run.counts()}; slowest {slowest[1]} {slowest[0]:.2f} s\n"
        )
        benchmark.pedantic(engine.run, (city, "construction"), {"site": sites[0]}, rounds=3)


def test_the_whole_city(town, benchmark):
    with twin.open(town) as city:

        def whole():
            return [engine.run(city, name) for name in ("construction", "water", "one-map")]

        runs = benchmark.pedantic(whole, rounds=2)
        start = time.perf_counter()
        stored = [finding.store(city, run) for run in runs]
        took = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        n = sum(sum(run.counts().values()) for run in runs)
        sys.stdout.write(
            f"\nwhole town: {n:,} things held against rules, {sum(each.opened for each in stored):,} findings stored "
            f"in {took:.2f} s; peak {peak:.0f} MB\n"
        )
