"""How fast clearances of pipes are judged: streets with eight kinds of pipes, two sizes, one process, peak memory.

The peer is GeoPandas: pairs within reach by its join, and their distance in plan. It has no heights, no crossings, no
joints and no limits: it is what the first of our steps would cost with it.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import shapely

pytestmark = pytest.mark.bench

HERE = Path(__file__).parent
OFFSETS = {"water": 6.0, "sewage": -1.5, "rain": 2.5, "gas": -5.0, "heat": 9.0, "power": 12.0, "telecom": -11.0,
           "industry": -8.0}  # fmt: skip
BLOCK_M, PIECES = 100.0, 4
CHILD = """
import datetime as dt, json, resource, sys, time
sys.path.insert(0, sys.argv[2])
import numpy as np
from test_clearance import city_pipes
from twin.analysis.pipe_clearance_pairs import clearances
from twin.supervision.rules import on_day

pipes, n = city_pipes(int(sys.argv[1]))
book = on_day(dt.date(2026, 11, 30))
small, _ = city_pipes(1000)
rules = book["pipe-clearance-horizontal"], book["pipe-clearance-vertical"]
clearances(small, *rules)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
begin = time.perf_counter()
found = clearances(pipes, *rules)
took = time.perf_counter() - begin
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
counts = {each: int((found.verdict == each).sum()) for each in ("pass", "fail", "review", "unknown")}
print(json.dumps([took, before, peak, n, len(found), counts]))
"""
PEER = """
import json, sys, time
sys.path.insert(0, sys.argv[2])
import geopandas, numpy as np, shapely
from test_clearance import city_pipes

pipes, n = city_pipes(int(sys.argv[1]))
lines = geopandas.GeoDataFrame(geometry=geopandas.GeoSeries(list(shapely.force_2d(pipes.geometry))))
begin = time.perf_counter()
pairs = lines.sjoin(lines, predicate="dwithin", distance=2.6)
pairs = pairs[pairs.index < pairs.index_right]
far = pairs.geometry.distance(lines.geometry.loc[pairs.index_right], align=False)
print(json.dumps([time.perf_counter() - begin, len(far)]))
"""


def city_pipes(n_segments):
    """Pipes of about so many straight pieces, and the exact number: a grid of streets, four pieces a pipe."""
    from twin.analysis.pipes import Pipes

    draw = np.random.default_rng(0)
    side = max(int(np.sqrt(n_segments / (PIECES * len(OFFSETS) * 2))), 1)
    lines, kinds = [], []
    for kind, offset in OFFSETS.items():
        for along in (0, 1):
            street, block = (each.ravel() for each in np.meshgrid(np.arange(side), np.arange(side)))
            t = np.linspace(0, BLOCK_M, PIECES + 1)
            u = block[:, None] * BLOCK_M + t[None]
            v = np.repeat((street * BLOCK_M)[:, None] + offset, PIECES + 1, axis=1)
            v[:, 1:-1] += draw.normal(0, 0.15, (len(v), PIECES - 1))
            z = -1.0 - 0.35 * list(OFFSETS).index(kind) + draw.normal(0, 0.1, u.shape)
            xyz = np.stack([u, v, z] if along else [v, u, z], axis=2)
            lines.append(shapely.linestrings(xyz))
            kinds += [kind] * len(xyz)
    geometry = np.concatenate(lines)
    n = len(geometry)
    od = draw.choice([0.11, 0.2, 0.3, 0.5], n)
    none = np.full(n, None, object)
    pressure = np.empty(n, object)
    pressure[:] = [("low",) if kind == "gas" else None for kind in kinds]
    made = Pipes(
        names=[str(k) for k in range(n)], geometry=geometry, kind=np.array(kinds, object), width_m=od, height_m=od,
        is_round=np.ones(n, bool), dn_mm=od * 1000, inner_m=od, inner_width_m=od, crown_m=od / 2,
        has_axis=np.ones(n, bool), pressure=pressure, burial=np.full(n, "direct", object),
        voltage_kv=np.full(n, 10.0), material=none, start=none, end=none, is_reversed=np.zeros(n, bool), use=none,
        surface=none,
    )  # fmt: skip
    return made, n * PIECES


@pytest.mark.parametrize("n", [20_000, 200_000])
def test_clearance(benchmark, n):
    def run():
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(n), str(HERE)], capture_output=True, text=True, check=True
        )
        return json.loads(done.stdout)

    seconds, before, peak, segments, pairs, counts = benchmark.pedantic(run, rounds=1)
    done = subprocess.run([sys.executable, "-c", PEER, str(n), str(HERE)], capture_output=True, text=True, check=True)
    peer_s, peer_pairs = json.loads(done.stdout)
    benchmark.extra_info |= {
        "segments": segments,
        "seconds": round(seconds, 2),
        "segments_per_second": round(segments / seconds),
        "pairs": pairs,
        "counts": counts,
        "mib_before": round(before),
        "peak_mib": round(peak),
        "peer": "geopandas sjoin dwithin + distance, plan only",
        "peer_seconds": round(peer_s, 2),
        "peer_pairs": peer_pairs,
    }
    print(f"\n{n}: {benchmark.extra_info}")  # noqa: T201
