"""Points a second from LAZ to COPC, and the memory it takes. Seeded; run with `make bench`.

The larger size is 50 million points; CITYTWIN_BENCH_POINTS gives another. The peer writes the same file as plain LAZ
with laspy and lazrs (decode and encode on all cores, no tree).
"""

import json
import os
import subprocess
import sys
import time

import laspy
import numpy as np
import pytest
from pyproj import CRS

pytestmark = pytest.mark.bench

SIZES = [2_000_000, int(os.environ.get("CITYTWIN_BENCH_POINTS", "50000000"))]
CHUNK = 1_000_000

CHILD = """
import json, re, sys, time
from pathlib import Path
source, target, kind = sys.argv[1:]
start = time.perf_counter()
if kind == "copc":
    from ingest.points import las as pointcloud
    from layers.source import Hints
    pointcloud.read(Path(source), Hints()).layers[0].write(Path(target))
else:
    import laspy
    with laspy.open(source) as read, laspy.open(target, mode="w", header=read.header, do_compress=True) as written:
        for points in read.chunk_iterator(1_000_000):
            written.write_points(points)
seconds = time.perf_counter() - start
peak = int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
print(json.dumps({"seconds": seconds, "peak_mb": peak}))
"""


def flight(path, n):
    """A hilly town flown in strips: 8 points/m², four returns, colour, GPS time; made in chunks."""
    rng = np.random.default_rng(0)
    header = laspy.LasHeader(point_format=7, version="1.4")
    header.scales, header.offsets = np.full(3, 0.001), np.array([597000.0, 3109000.0, 0.0])
    header.add_crs(CRS.from_epsg(4549))
    side = (n / 8) ** 0.5
    with laspy.open(path, mode="w", header=header, do_compress=True) as file:
        for first in range(0, n, CHUNK):
            m = min(CHUNK, n - first)
            points = laspy.ScaleAwarePointRecord.zeros(m, header=header)
            along = np.sort(rng.random(m)) * side
            across = (first + rng.random(m) * CHUNK) / max(n, CHUNK) * side
            ground = 20 * np.sin(along / 90) * np.cos(across / 70)
            roof = np.where((along // 25 + across // 25) % 3 == 0, 12.0, 0.0)
            points.x, points.y, points.z = 597000 + across, 3109000 + along, ground + roof + rng.normal(0, 0.03, m)
            points.classification = np.where(roof > 0, 6, 2).astype(np.uint8)
            points.intensity = rng.integers(200, 3000, m).astype(np.uint16)
            points.return_number = rng.integers(1, 5, m).astype(np.uint8)
            points.number_of_returns = np.full(m, 4, np.uint8)
            points.gps_time = 3e8 + (first + np.arange(m)) * 2e-6
            for band in ("red", "green", "blue"):
                points[band] = (rng.integers(0, 256, m) * 257).astype(np.uint16)
            file.write_points(points)
    return path


def in_child(source, target, kind):
    made = subprocess.run(
        [sys.executable, "-c", CHILD, str(source), str(target), kind], check=True, capture_output=True, text=True
    )
    return json.loads(made.stdout)


@pytest.mark.parametrize("n", SIZES)
def test_laz_to_copc(benchmark, tmp_path, n):
    source, target = flight(tmp_path / "flight.laz", n), tmp_path / "made.copc.laz"
    peer = in_child(source, tmp_path / "plain.laz", "laz")
    (tmp_path / "plain.laz").unlink()
    start = time.perf_counter()
    ours = benchmark.pedantic(in_child, (source, target, "copc"), rounds=1)
    assert time.perf_counter() - start >= ours["seconds"]
    with laspy.CopcReader.open(str(target)) as made:
        assert made.header.point_count == n
    print(  # noqa: T201
        f"\n{n:,} points: {ours['seconds']:.1f} s, {n / ours['seconds']:,.0f}/s, peak {ours['peak_mb']:.0f} MiB; plain "
        f"LAZ by laspy {n / peer['seconds']:,.0f}/s, peak {peer['peak_mb']:.0f} MiB"
    )
    benchmark.extra_info |= {
        "points_per_second": round(n / ours["seconds"]),
        "peak_mb": round(ours["peak_mb"]),
        "peer_plain_laz_points_per_second": round(n / peer["seconds"]),
        "peer_peak_mb": round(peer["peak_mb"]),
        "bytes_to_source": round(target.stat().st_size / source.stat().st_size, 3),
    }
