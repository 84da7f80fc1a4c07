"""`citytwin export` of LoD1 buildings to `compat`, as a user runs it; beside it a script with pyogrio and trimesh.

CITYTWIN_BENCH_TWINS names a folder with built twins `twin100000`, `twin1000000`; without it they are made.
"""

import json
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely
import trimesh

from tests.bench.test_build import MEASURED, ROOT, make_city, measured_build

A_TILE = 500
PEER = 10_000


def twin_of(n, folder):
    ready = os.environ.get("CITYTWIN_BENCH_TWINS")
    if ready and (Path(ready) / f"twin{n}").is_dir():
        return Path(ready) / f"twin{n}"
    make_city(folder / "source", n)
    measured_build(folder / "source", folder / "twin")
    return folder / "twin"


def forgotten(path):
    """The system drops what it has cached of a file."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measured_export(twin, out):
    command = [sys.executable, "-m", "server.cli", "export", str(twin), str(out)]
    command += ["--only", "3dtiles", "--layers", "building", "--forms", "compat"]
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - start
    assert done.returncode == 0, done.stdout + done.stderr
    return seconds, int(done.stdout.split()[-1]) / 1024


def features_in(folder):
    """Rows of the property tables of all tiles."""
    total = 0
    for path in folder.rglob("*.glb"):
        data = path.read_bytes()
        (length,) = struct.unpack_from("<I", data, 12)
        (table,) = json.loads(data[20 : 20 + length])["extensions"]["EXT_structural_metadata"]["propertyTables"]
        total += table["count"]
    return total


def with_trimesh(twin, out):
    """Features a second of a script that knows nothing of tiles: footprints and heights to glb, 500 a file."""
    out.mkdir()
    start = time.perf_counter()
    _, _, wkb, (height,) = pyogrio.raw.read(twin / "city.gpkg", "building", columns=["height_m"], max_features=PEER)
    footprints = shapely.from_wkb(wkb)
    centre = np.array(shapely.total_bounds(footprints)[:2])
    footprints = shapely.get_geometry(shapely.transform(footprints, lambda xy: xy - centre), 0)
    for first in range(0, PEER, A_TILE):
        some = zip(footprints[first : first + A_TILE], height[first : first + A_TILE], strict=True)
        solids = [trimesh.creation.extrude_polygon(footprint, float(high)) for footprint, high in some]
        (out / f"{first}.glb").write_bytes(trimesh.Scene(trimesh.util.concatenate(solids)).export(file_type="glb"))
    return PEER / (time.perf_counter() - start)


@pytest.mark.bench
@pytest.mark.parametrize("n", [100_000, 1_000_000])
def test_export_of_buildings(tmp_path, n):
    twin = twin_of(n, tmp_path)
    forgotten(twin / "city.gpkg")
    seconds, peak_mib = measured_export(twin, tmp_path / "out")
    assert features_in(tmp_path / "out") == n
    again, _ = measured_export(twin, tmp_path / "out")
    size = sum(path.stat().st_size for path in (tmp_path / "out").rglob("*.glb")) / 1e6
    peer = with_trimesh(twin, tmp_path / "peer")
    print(  # noqa: T201
        f"\n{n:,} buildings: {seconds:.1f} s, {n / seconds:,.0f} features/s, {size:,.0f} MB, peak of a process "
        f"{peak_mib:.0f} MiB, unchanged again {again:.1f} s; pyogrio + trimesh {peer:,.0f} features/s (one process, "
        f"no attributes); {os.cpu_count()} cores"
    )
