"""EPANET files: counts and lengths against wntr and against MANIFEST facts measured with other tools."""

import re

import pytest
import shapely

from ingest import epanet
from layers.errors import CrsMissing, InvalidInput
from layers.source import Hints
from tests.ingest.conftest import manifest

NOWHERE = Hints(crs="+proj=tmerc +ellps=GRS80 +units=m")


def layers(path, hints=NOWHERE):
    reading = epanet.read(path, hints)
    found = []
    for layer in reading.layers:
        batches = list(layer.batches())
        found.append((layer, batches[0] if batches else None))
    return found


@pytest.mark.parametrize(
    ("unit", "metres", "millimetres"), [("LPS", 100.0, 300.0), ("GPM", 30.48, 7620.0), (None, 30.48, 7620.0)]
)
def test_lengths_and_diameters_are_metric_whatever_the_units(tmp_path, unit, metres, millimetres):
    path = tmp_path / "a.inp"
    options = f"[OPTIONS]\nUNITS {unit}\n" if unit else ""
    path.write_text(
        "[JUNCTIONS]\n;id elev\n J1 5 ; first\n J2 6\n J3 7\n[PIPES]\n P1 J1 J2 100 300 120 0 Open\n P2 J2 J3 1 1 1\n"
        f"{options}[COORDINATES]\n J1 0 0\n J2 10 0\n[VERTICES]\n P1 5 5\n[END]\n"
    )
    (nodes, node_batch), (links, link_batch) = layers(path)
    assert (nodes.n_read, len(nodes.rejects), links.n_read, len(links.rejects)) == (3, 1, 2, 1)
    assert {reject.code for reject in (*nodes.rejects, *links.rejects)} == {"INP_NOT_MAPPED"}
    row = link_batch.attributes.to_pylist()[0]
    assert (row["length_m"], row["diameter_mm"]) == (pytest.approx(metres), pytest.approx(millimetres))
    assert shapely.get_coordinates(link_batch.geometry).tolist() == [[0, 0], [5, 5], [10, 0]]
    assert node_batch.ids == ["J1", "J2"]


def test_without_a_crs_it_is_refused(tmp_path):
    path = tmp_path / "a.inp"
    path.write_text("[JUNCTIONS]\n J1 5\n[COORDINATES]\n J1 0 0\n[END]\n")
    with pytest.raises(CrsMissing):
        epanet.read(path, Hints())


FACTS = {
    name: row["expected"]
    for name, row in manifest().items()
    if name.startswith("water/")
    and name.endswith(".inp")
    and "junctions=" in row["expected"]
    and "swmm" not in row["expected"]
}


@pytest.mark.parametrize("name", sorted(FACTS) or ["none"])
def test_real_networks_have_the_measured_parts(realdata, name):
    if name == "none":
        pytest.skip("no MANIFEST.csv")
    facts = {key: float(value) for key, value in re.findall(r"(\w+)=([\d.]+)(?=;|$)", FACTS[name])}
    (nodes, node_batch), (links, link_batch) = layers(realdata / name)
    assert nodes.n_read == facts["junctions"] + facts["tanks"] + facts["reservoirs"]
    assert links.n_read == facts["pipes"] + facts["pumps"] + facts["valves"]
    assert len(node_batch) + len(nodes.rejects) == nodes.n_read
    rows = link_batch.attributes.to_pylist()
    length = sum(row["length_m"] or 0 for row in rows if row["kind"] == "pipe")
    if not links.rejects:
        assert length == pytest.approx(facts["total_pipe_length_m"], abs=0.1)


def test_swmm_files_are_not_taken_for_epanet(realdata):
    with pytest.raises(InvalidInput, match="SWMM"):
        epanet.read(realdata / "water" / "swmm_example1.inp", NOWHERE)
