"""How fast pipes become closed solids. Seeded, two sizes; the peer sweeps one pipe after the other with trimesh."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import shapely
import trimesh

pytestmark = pytest.mark.bench

N_PEER = 300
HERE = Path(__file__).parent
CHILD = """
import json, resource, sys, time
sys.path.insert(0, sys.argv[2])
import numpy as np, pyarrow as pa, shapely
from layers.frame import CityFrame
from layers.heights import Constant
from test_pipes import pipes
from twin.fuse import pipes as fuse
from twin.fuse.notes import Notes
from twin.terrain import Terrain

n, batch = int(sys.argv[1]), 10_000
frame, ground = CityFrame("EPSG:4549", Constant(11.5), 121.0, 28.1), Terrain([], "EPSG:4549")
rate_s = 0
for start in range(0, n, batch):
    lines = pipes(batch, start)
    table = pa.table({"od_mm": np.full(batch, 300.0), "z_ref": ["centre"] * batch})
    begin = time.perf_counter()
    made = fuse.lay([str(k) for k in range(batch)], lines, table, [None] * batch, terrain=ground, frame=frame,
                    notes=Notes())
    rate_s += time.perf_counter() - begin
    assert all(mesh is not None for mesh in made.meshes)
print(json.dumps([rate_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


def pipes(n, seed):
    """(n,) lines of 2 to 6 points with bends up to 60 degrees and slopes to 2 %."""
    draw = np.random.default_rng(seed)
    count = draw.integers(2, 7, n)
    line = np.repeat(np.arange(n), count)
    first = np.r_[True, line[1:] != line[:-1]]
    turn = np.cumsum(draw.uniform(-np.pi / 3, np.pi / 3, len(line)))
    step = np.stack([np.cos(turn), np.sin(turn), draw.uniform(-0.02, 0.02, len(line))], axis=1) * 15.0
    step[first] = 0
    run = np.cumsum(step, axis=0)
    origin = np.c_[draw.uniform(597_000, 600_000, n), draw.uniform(3_108_000, 3_111_000, n), np.full(n, 5.0)]
    return shapely.linestrings(run - run[first][line] + origin[line], indices=line)


@pytest.mark.parametrize("n", [10_000, 100_000])
def test_pipes_to_solids(benchmark, n):
    def run():
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(n), str(HERE)], capture_output=True, text=True, check=True
        )
        return json.loads(done.stdout)

    seconds, peak_mib = benchmark.pedantic(run, rounds=1)
    peer = _peer()
    benchmark.extra_info |= {
        "pipes_per_second": round(n / seconds),
        "peak_mib": round(peak_mib),
        "peer": "trimesh.creation.sweep_polygon",
        "peer_pipes_per_second": round(peer),
    }
    print(f"\n{n}: {benchmark.extra_info}")  # noqa: T201


def _peer():
    circle = shapely.Point(0, 0).buffer(0.15, quad_segs=3)
    lines = [shapely.get_coordinates(line, include_z=True) for line in pipes(N_PEER, 0)]
    begin = time.perf_counter()
    for line in lines:
        trimesh.creation.sweep_polygon(circle, line - line[0])
    return N_PEER / (time.perf_counter() - begin)
