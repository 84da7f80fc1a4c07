"""IFC from file to feature batches, next to the bare `opencascade` iterator in one process, on the same files.

Both sides are measured warm, in a child process of their own: libraries loaded, one small model read before. Ours reads
attributes, property sets, structure, placement and meshes of every product and consumes all batches; the peer opens the
file and takes vertices and triangles of every product from IfcOpenShell's iterator. Elements and volumes of closed
elements are compared; memory is the peak of the proportional set size over all processes of a side.
"""

import json
import math
import os
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
REAL = Path(os.environ.get("CITYTWIN_REALDATA", ROOT.parent / "shared" / "realdata")) / "ifc"
WARM = ROOT / "sample_data" / "town" / "bim" / "guardhouse_ifc4.ifc"
BUILDINGS = [
    "ac11_institute_var2_ifc2x3",
    "ac20_fzk_haus_ifc4",
    "duplex_arch_ifc2x3",
    "duplex_electrical_foot_ifc2x3",
    "japanese_ac16_sjis",
    "japanese_revit2013_unicode",
    "large_offset",
    "open_house_ifc4",
    "tesselated_faceset_ifc4",
]
REPEATS = 3

COMMON = """
import json, sys, time
import numpy as np

def closed_volume(points, faces):
    _, corner = np.unique(np.round(points, 6), axis=0, return_inverse=True)
    t = corner.reshape(-1)[faces]
    edges = np.vstack([t[:, [0, 1]], t[:, [1, 2]], t[:, [2, 0]]])
    n = int(t.max()) + 1
    if not np.array_equal(np.sort(edges[:, 0] * n + edges[:, 1]), np.sort(edges[:, 1] * n + edges[:, 0])):
        return None
    a, b, c = (points[faces[:, i]] - points[0] for i in range(3))
    return abs(float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6))

def main(read, tell):
    read(sys.argv[1])
    for _ in range(int(sys.argv[3])):
        start = time.perf_counter()
        found = read(sys.argv[2])
        print(json.dumps(time.perf_counter() - start), flush=True)
    print(json.dumps(tell(found)), flush=True)
"""

PEER = (
    COMMON
    + """
import ifcopenshell, ifcopenshell.geom

def read(path):
    model = ifcopenshell.open(path)
    iterator = ifcopenshell.geom.iterator(ifcopenshell.geom.settings(), model, 1, geometry_library="opencascade")
    found = {}
    going = iterator.initialize()
    while going:
        made = iterator.get()
        geometry = made.geometry
        points, faces = np.frombuffer(geometry.verts_buffer).reshape(-1, 3), geometry.faces_buffer
        found[made.guid] = (made.type, points.copy(), np.frombuffer(faces, np.int32).reshape(-1, 3).astype(np.int64))
        going = iterator.next()
    return found

def tell(found):
    return {guid: [kind, closed_volume(p, f) if len(f) else None] for guid, (kind, p, f) in found.items()}

main(read, tell)
"""
)

OURS = (
    COMMON
    + """
from pathlib import Path
from ingest.ifc import georef as ifc_georef, reader as ifc
from ingest.ifc.placement import Doubts, affine

def local(facts, hints):
    # some of these models say where they are and some do not; here all stay in their own frame, in metres
    return affine("none", ("EPSG:25832", None), np.zeros(3), np.eye(3), Doubts())

ifc_georef.place = local
from layers.source import Hints

def read(path):
    found = {}
    for layer in ifc.read(Path(path), Hints(city_crs="EPSG:25832")).layers:
        for batch in layer.batches():
            rows = batch.attributes.column("ifc_class").to_pylist() if len(batch) else []
            for guid, kind, mesh in zip(batch.ids, rows, batch.meshes or [None] * len(batch)):
                found[guid] = (kind, mesh)
    return found

def tell(found):
    return {g: [k, None if m is None else closed_volume(m.vertices, m.triangles)] for g, (k, m) in found.items()}

main(read, tell)
"""
)


def measure(program, path):
    """Best seconds of the repeats, the peak of memory in MB, and what was found."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(WARM), str(path), str(REPEATS)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    peak, over = [0.0], threading.Event()

    def watch():
        while not over.wait(0.01):
            peak[0] = max(peak[0], tree_mb(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        lines = [json.loads(line) for line in process.stdout]
    finally:
        over.set()
        watcher.join()
        process.stdout.close()
        process.wait()
    assert process.returncode == 0
    return min(lines[:-1]), peak[0], lines[-1]


def tree_mb(pid):
    try:
        root = psutil.Process(pid)
        processes = [root, *root.children(recursive=True)]
    except psutil.Error:
        return 0.0
    total = 0
    for each in processes:
        try:
            total += each.memory_full_info().pss
        except psutil.Error:
            continue
    return total / 1e6


def told(line):
    print(line)  # noqa: T201  the table is what a benchmark is for


@pytest.mark.bench
@pytest.mark.skipif(not REAL.is_dir(), reason="no folder of real files (CITYTWIN_REALDATA)")
def test_building_files_against_the_bare_iterator():
    ratios, memory = [], []
    told(f"\n{'file':32}{'bare s':>8}{'ours s':>8}{'ratio':>7}{'bare MB':>9}{'ours MB':>9}{'both':>6}{'closed':>8}")
    for name in BUILDINGS:
        theirs_s, theirs_mb, theirs = measure(PEER, REAL / f"{name}.ifc")
        ours_s, ours_mb, ours = measure(OURS, REAL / f"{name}.ifc")
        # openings are cut into their hosts here, and are no elements
        theirs = {guid: each for guid, each in theirs.items() if each[0] != "IfcOpeningElement"}
        assert set(theirs) <= set(ours), name
        closed = {guid: each[1] for guid, each in theirs.items() if each[1] is not None and ours[guid][1] is not None}
        off = {g: (v, ours[g][1], theirs[g][0]) for g, v in closed.items() if abs(v - ours[g][1]) > 1e-3 * v + 1e-9}
        ratios.append(theirs_s / ours_s)
        memory.append(ours_mb / theirs_mb)
        told(
            f"{name:32}{theirs_s:8.3f}{ours_s:8.3f}{ratios[-1]:7.2f}{theirs_mb:9.0f}{ours_mb:9.0f}"
            f"{len(theirs):6}{len(closed):8}"
        )
        assert not off, (name, off)
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    told(f"geometric mean {mean:.2f} x as fast; memory {max(memory):.2f} x at most")
