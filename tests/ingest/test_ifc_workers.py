"""Workers that are killed, that hang, and real models: nothing but the culprit may be lost."""

import csv
import os
import re
import signal
from collections import Counter
from functools import cache
from pathlib import Path

import ifcopenshell
import ifcopenshell.geom
import numpy as np
import psutil
import pytest

from ingest.ifc import geometry as ifc_geometry
from ingest.ifc import process as ifc_process
from ingest.ifc import reader as ifc
from ingest.ifc.geometry import Chunk, Pool, Tally
from ingest.ifc.process import Limits, Worker, ask
from layers.errors import CityTwinError, InvalidInput
from layers.source import Hints

ROOT = Path(__file__).resolve().parents[2]
OFFICE = ROOT / "sample_data" / "town" / "bim" / "office_ifc4_mm.ifc"
REAL = Path(os.environ.get("CITYTWIN_REALDATA", ROOT.parent / "shared" / "realdata"))
needs_realdata = pytest.mark.skipif(not (REAL / "ifc").is_dir(), reason="no folder of real files (CITYTWIN_REALDATA)")


def products(path, *, spatial=False):
    [(_, facts, _)] = ask(path, [("survey",)])
    return [each for each in facts["elements"] + (facts["spatial"] if spatial else []) if each[2]], facts


def run(path, chosen, tally, limits=None, size=16):
    ids = [each[0] for each in chosen]
    parts = [ids[start : start + size] for start in range(0, len(ids), size)]
    return list(Pool(path, 2, tally, limits).run(Chunk(i, part, list(part)) for i, part in enumerate(parts)))


def shapes_of(chunks):
    return {key: shape for chunk in chunks for key, shape in chunk.shapes.items()}


@cache
def shapes_of_file(path):
    return shapes_of(run(path, products(path, spatial=True)[0], Tally(), size=64))


def test_chunks_come_back_in_order_with_all_their_rows():
    chosen, _ = products(OFFICE)
    chunks = run(OFFICE, chosen, Tally())
    assert [chunk.number for chunk in chunks] == list(range(len(chunks)))
    assert [row["id"] for chunk in chunks for row in chunk.rows] == [each[0] for each in chosen]


def killing(victims, times):
    """A worker whose process is really killed, by SIGKILL, when it announces a victim for the first `times` times."""
    deaths = Counter()

    class Doomed(Worker):
        def receive(self, timeout_s):
            answer = super().receive(timeout_s)
            if answer[0] == "rows" and victims:  # the quick way dies with whole groups
                os.kill(self.pid, signal.SIGKILL)
            if answer[0] == "start" and answer[1] in victims and deaths[answer[1]] < times:
                deaths[answer[1]] += 1
                os.kill(self.pid, signal.SIGKILL)
                while self.connection.poll(0):  # what it may have said before it died is lost with it
                    try:
                        self.connection.recv()
                    except (EOFError, OSError):
                        break
            return answer

    return Doomed, deaths


def test_a_killed_kernel_costs_nothing_when_the_second_can_do_it(monkeypatch):
    chosen, _ = products(OFFICE)
    victims = {chosen[3][0], chosen[40][0]}
    doomed, deaths = killing(victims, 1)
    monkeypatch.setattr(ifc_geometry, "Worker", doomed)
    tally = Tally()
    chunks = run(OFFICE, chosen, tally)
    assert deaths == dict.fromkeys(victims, 1)
    assert tally.crashes["manifold"] == 2
    shapes = shapes_of(chunks)
    assert set(shapes) == {each[0] for each in chosen}
    assert {shapes[each].kernel for each in victims} == {"opencascade"}
    assert not [miss for chunk in chunks for miss in chunk.misses()]


def test_an_element_that_kills_every_kernel_is_the_only_one_missed(monkeypatch):
    chosen, _ = products(OFFICE)
    victim = chosen[7][0]
    doomed, deaths = killing({victim}, 9)
    monkeypatch.setattr(ifc_geometry, "Worker", doomed)
    chunks = run(OFFICE, chosen[:32], Tally())
    [miss] = [miss for chunk in chunks for miss in chunk.misses()]
    assert (miss.id, deaths[victim]) == (victim, 2)
    assert all("SIGKILL" in reason for reason in miss.reasons)
    assert len(shapes_of(chunks)) == 31


def test_a_kernel_that_takes_too_long_is_set_aside_and_nothing_is_lost():
    chosen, _ = products(OFFICE)
    tally = Tally()
    chunks = run(OFFICE, chosen, tally, Limits(element_s=(0.0, 300.0), group_s=0.0))
    assert set(shapes_of(chunks)) == {each[0] for each in chosen}
    assert tally.timeouts["manifold"] <= ifc_geometry.MAX_CRASHES + 2  # two workers may be on their way


def test_workers_end_with_the_reading(monkeypatch):
    started = []

    class Noted(Worker):
        def __init__(self, path, parent=None):
            super().__init__(path, parent)
            started.append(self.pid)

    monkeypatch.setattr(ifc_geometry, "Worker", Noted)
    monkeypatch.setattr(ifc, "Worker", Noted)
    reading = ifc.read(OFFICE, Hints(city_crs="EPSG:4549"))
    batches = reading.layers[0].batches()
    next(batches)
    batches.close()  # the reader of the batches lost interest
    assert started
    assert not [each for each in started if psutil.pid_exists(each)]


def test_a_waiting_process_that_is_killed_costs_nothing():
    """Its workers die with it; the rest of the model is made by new ones, and nobody is left over."""
    reading = ifc.read(OFFICE, Hints(city_crs="EPSG:4549"))
    expected = len(products(OFFICE)[0])
    waiting = psutil.Process(ifc_process._ZYGOTE._process.pid)
    family = [waiting, *waiting.children(recursive=True)]
    os.kill(waiting.pid, signal.SIGKILL)
    n_read = sum(len(batch) for batch in reading.layers[0].batches())
    assert n_read == expected
    assert not reading.layers[0].rejects
    ifc_process._ZYGOTE.end()
    _, alive = psutil.wait_procs([each for each in family if each.is_running()], timeout=5)
    assert not [each for each in alive if each.status() != psutil.STATUS_ZOMBIE]


# --- real files ---


def manifest():
    path = REAL / "MANIFEST.csv"
    if not path.exists():
        return {}
    with path.open(encoding="utf8", newline="") as file:
        return {row["file"]: row["expected"] for row in csv.DictReader(file)}


SHAPES = {
    "duplex_arch_ifc2x3": "the first kernel kills its process",
    "ac20_fzk_haus_ifc4": "",
    "ac11_institute_var2_ifc2x3": "the first kernel loses two walls in silence",
    "open_house_ifc4": "",
    "duplex_electrical_foot_ifc2x3": "feet",
    "japanese_revit2013_unicode": "",
    "large_offset": "1186 km from the origin",
}


@needs_realdata
@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
def test_real_models_give_every_shape_that_an_independent_reader_found(name):
    """The manifest counts openings too; they are no elements here, so they are added from the file itself."""
    path = REAL / "ifc" / f"{name}.ifc"
    expected = manifest()[f"ifc/{name}.ifc"]
    chosen, facts = products(path, spatial=True)
    shapes = shapes_of_file(path)
    n_theirs = int(re.search(r"products_with_shape=(\d+)", expected)[1])
    n_openings = facts["n_features"] if name not in {"large_offset", "japanese_revit2013_unicode"} else None
    if n_openings is not None:
        assert len(shapes) + n_openings == n_theirs
    assert len(shapes) == len(chosen)
    box = [float(v) for v in re.search(r"bbox_m_world=\[([^\]]*)\]", expected)[1].split(",")]
    points = np.vstack([shape.vertices for shape in shapes.values()])
    # openings may stick out of the walls that they are cut from, so ours may be smaller, never larger
    assert (points.min(axis=0) >= np.array(box[:3]) - 0.01).all()
    assert (points.max(axis=0) <= np.array(box[3:]) + 0.01).all()
    assert np.ptp(points, axis=0) == pytest.approx(np.array(box[3:]) - box[:3], abs=1.0)


@needs_realdata
@pytest.mark.slow
@pytest.mark.parametrize("name", [*SHAPES, "japanese_ac16_sjis", "tesselated_faceset_ifc4"])
def test_every_element_is_as_opencascade_makes_it(name):
    """Box (1 mm) and volume (0.1 % of closed ones) of all elements, spaces too, against the bare iterator here."""
    path = REAL / "ifc" / f"{name}.ifc"
    model = ifcopenshell.open(path)
    chosen, _ = products(path, spatial=True)
    shapes = shapes_of_file(path)
    settings = ifcopenshell.geom.settings()
    settings.set("use-world-coords", True)
    wanted, seen = [model.by_id(each[0]) for each in chosen], 0
    for theirs in ifcopenshell.geom.iterator(settings, model, os.cpu_count() or 1, include=wanted):
        ours = shapes[theirs.id]
        points = np.array(theirs.geometry.verts).reshape(-1, 3)
        faces = np.array(theirs.geometry.faces).reshape(-1, 3)
        assert ours.vertices.min(axis=0) == pytest.approx(points.min(axis=0), abs=0.001), theirs.id
        assert ours.vertices.max(axis=0) == pytest.approx(points.max(axis=0), abs=0.001), theirs.id
        if is_closed(points, faces):
            theirs_m3 = abs(volume(points, faces))
            assert abs(volume(ours.vertices, ours.triangles)) == pytest.approx(theirs_m3, rel=1e-3, abs=1e-9), theirs.id
        seen += 1
    assert seen == len(chosen)


def is_closed(points, faces):
    _, corner = np.unique(np.round(points, 6), axis=0, return_inverse=True)
    t = corner.reshape(-1)[faces]
    there = Counter(map(tuple, np.vstack([t[:, [0, 1]], t[:, [1, 2]], t[:, [2, 0]]]).tolist()))
    return all(there[b, a] == count for (a, b), count in there.items())


def volume(points, faces):
    a, b, c = (points[faces[:, i]] - points[0] for i in range(3))
    return np.einsum("ij,ij->", a, np.cross(b, c)) / 6


@needs_realdata
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("empty_model", "no IfcProject"),
        ("errorfile", "line 1[56]"),
        ("invalid_schema_values", "ISO-10303-21"),
        ("truncated_60pct", "line 18"),
    ],
)
def test_real_broken_files_are_refused_in_words(name, words):
    with pytest.raises(InvalidInput, match=words):
        ifc.read(REAL / "bad" / f"ifc_{name}.ifc", Hints(city_crs="EPSG:4549"))


@needs_realdata
@pytest.mark.parametrize(
    ("name", "city", "method", "at"),
    [
        # by hand: the column stands at the local origin, so its middle is Eastings, Northings, OrthogonalHeight
        ("georef_utm_ifc4x3", "EPSG:25832", "map-conversion", (458657.30, 5438232.25, 113.7)),
        # KIT FZK-Haus, 49.100435 N 8.436539 E in UTM 32 by Krueger's series: E 458868.9, N 5438779.6
        ("ac20_fzk_haus_ifc4", "EPSG:25832", "site-lat-lon", None),
        # coordinates along the alignment are map coordinates already (manifest: up to 453202.774, 4539832.178)
        ("linear_placement_signal_ifc4x3", "EPSG:25833", "map-conversion", None),
    ],
)
def test_real_georeferences(name, city, method, at):
    try:
        reading = ifc.read(REAL / "ifc" / f"{name}.ifc", Hints(city_crs=city))
    except CityTwinError as error:
        pytest.fail(str(error))
    assert reading.certificate.method == method
    batch = next(iter(reading.layers[0].batches()))
    low = np.array(batch.meshes[0].bounds())
    if at is not None:
        assert (low[:2] + low[3:5]) / 2 == pytest.approx(at[:2], abs=0.01)
        assert low[2] == pytest.approx(at[2], abs=1e-6)
    elif method == "map-conversion":
        assert 452000 < low[0] < 453300
        assert 4539000 < low[1] < 4539900
