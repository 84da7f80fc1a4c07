"""EPANET files: counts and lengths against wntr and against MANIFEST facts measured with other tools."""

import re
import warnings

import numpy as np
import pytest
import shapely

from ingest.network import epanet
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
    assert length == pytest.approx(facts["total_pipe_length_m"], abs=0.1)
    kinds = [row["kind"] for row in rows]
    assert [kinds.count(kind) for kind in ("pipe", "pump", "valve")] == [facts[k] for k in ("pipes", "pumps", "valves")]
    box = [float(value) for value in re.search(r"bbox_xy=\[([^]]*)\]", FACTS[name])[1].split(",")]
    assert shapely.total_bounds(node_batch.geometry) == pytest.approx(box, abs=0.011)
    assert f"flow_units={next(row['flow_unit'] for row in node_batch.attributes.to_pylist())}" in FACTS[name]
    told = next(
        issue.message for issue in epanet.read(realdata / name, NOWHERE).issues if issue.code == "INP_MODEL_DATA"
    )
    for key in ("patterns", "curves"):
        if facts[key]:
            assert f"{key.upper()} {facts[key]:.0f} in " in told
        else:
            assert key.upper() not in told


@pytest.mark.parametrize("name", ["BWSN_1", "micropolis"])
def test_networks_that_only_the_toolkit_opens(realdata, tmp_path, name):
    from wntr.epanet.toolkit import ENepanet

    path = realdata / "water" / f"{name}.inp"
    toolkit = ENepanet()
    toolkit.ENopen(str(path), str(tmp_path / "a.rpt"), str(tmp_path / "a.bin"))
    n_nodes, n_links = toolkit.ENgetcount(0), toolkit.ENgetcount(2)
    (nodes, node_batch), (links, link_batch) = layers(path)
    assert (nodes.n_read, links.n_read) == (n_nodes, n_links)
    elevation = dict(zip(node_batch.ids, node_batch.attributes["elev_m"].to_pylist(), strict=True))
    for node, elev_m in list(elevation.items())[::37]:  # the toolkit answers in the units of the file: GPM, so feet
        index = toolkit.ENgetnodeindex(node)
        assert elev_m == pytest.approx(toolkit.ENgetnodevalue(index, 0) * 0.3048, abs=1e-3)
    for row in link_batch.attributes.to_pylist()[::37]:
        if row["kind"] == "pipe":
            index = toolkit.ENgetlinkindex(row["link_id"])
            assert row["diameter_mm"] == pytest.approx(toolkit.ENgetlinkvalue(index, 0) * 25.4, rel=1e-5)
            assert row["length_m"] == pytest.approx(toolkit.ENgetlinkvalue(index, 1) * 0.3048, rel=1e-5)
    toolkit.ENclose()


@pytest.mark.parametrize("name", ["Net3", "d-town", "L-TOWN"])
def test_values_and_lines_are_those_of_wntr(realdata, name):
    import wntr

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model = wntr.network.WaterNetworkModel(str(realdata / "water" / f"{name}.inp"))
    (_, node_batch), (_, link_batch) = layers(realdata / "water" / f"{name}.inp")
    rows = dict(zip(link_batch.ids, link_batch.attributes.to_pylist(), strict=True))
    lines = dict(zip(link_batch.ids, link_batch.geometry, strict=True))
    for key, pipe in model.pipes():
        assert rows[key]["length_m"] == pytest.approx(pipe.length)
        assert rows[key]["diameter_mm"] == pytest.approx(pipe.diameter * 1000)
        assert (rows[key]["start_node"], rows[key]["end_node"]) == (pipe.start_node_name, pipe.end_node_name)
        ends = [model.get_node(pipe.start_node_name).coordinates, model.get_node(pipe.end_node_name).coordinates]
        assert shapely.get_coordinates(lines[key]) == pytest.approx(np.array([ends[0], *pipe.vertices, ends[1]]))
    for key, valve in model.valves():
        assert rows[key]["valve_type"] == valve.valve_type
    elevation = dict(zip(node_batch.ids, node_batch.attributes["elev_m"].to_pylist(), strict=True))
    for key, node in (*model.junctions(), *model.tanks()):
        assert elevation[key] == pytest.approx(node.elevation)


@pytest.mark.parametrize("unit", ["CFS", "GPM", "MGD", "IMGD", "AFD", "LPS", "LPM", "MLD", "CMH", "CMD"])
def test_every_unit_is_converted_as_wntr_does(tmp_path, unit):
    import wntr

    path = tmp_path / "a.inp"
    path.write_text(
        "[JUNCTIONS]\n J1 5 0\n J2 6 0\n[RESERVOIRS]\n R 50\n[PIPES]\n P1 J1 J2 100 300 120 0 Open\n"
        f" P2 R J1 10 200 110 0 Closed\n[OPTIONS]\n UNITS {unit}\n HEADLOSS H-W\n"
        "[COORDINATES]\n J1 0 0\n J2 9 0\n R 4 4\n[END]\n"
    )
    pipe = wntr.network.WaterNetworkModel(str(path)).get_link("P1")
    (_, nodes), (_, links) = layers(path)
    first, second = links.attributes.to_pylist()
    assert (first["length_m"], first["diameter_mm"]) == pytest.approx((pipe.length, pipe.diameter * 1000))
    assert (first["status"], second["status"], second["minor_loss"]) == ("Open", "Closed", 0)
    path.write_text(path.read_text().replace("110 0 Closed", "110 Closed"))  # the loss may be left out
    second = layers(path)[1][1].attributes.to_pylist()[1]
    assert (second["status"], second["minor_loss"]) == ("Closed", None)
    feet = 0.3048 if unit in {"CFS", "GPM", "MGD", "IMGD", "AFD"} else 1.0
    assert nodes.attributes["elev_m"].to_pylist() == pytest.approx([5 * feet, 6 * feet, 50 * feet])


def test_broken_files_are_told_with_their_line(realdata):
    with pytest.raises(InvalidInput, match="line 330"):
        epanet.read(realdata / "bad" / "epanet_bad_syntax.inp", NOWHERE)
    _, (links, _) = layers(realdata / "bad" / "epanet_bad_values.inp")
    assert [(reject.code, "line 56" in reject.where) for reject in links.rejects] == [("INP_NODE_UNKNOWN", True)]
    assert links.n_read == 2
    latin = epanet.read(realdata / "bad" / "epanet_latin1.inp", NOWHERE)
    assert [layer.n_read for layer in latin.layers if list(layer.batches())] == [11, 13]


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_line_ends_do_not_matter(realdata, tmp_path, end):
    text = (realdata / "water" / "Net1.inp").read_text("utf8")
    path = tmp_path / "Net1.inp"
    path.write_bytes(text.replace("\n", end).encode())
    for (layer, batch), (_, expected) in zip(layers(path), layers(realdata / "water" / "Net1.inp"), strict=True):
        assert not layer.rejects
        assert batch.ids == expected.ids


def test_a_line_without_end_is_refused(tmp_path):
    path = tmp_path / "a.inp"
    path.write_text("[TITLE]\n" + "x" * 200_000)
    with pytest.raises(InvalidInput, match="line 2"):
        epanet.read(path, NOWHERE)


def test_swmm_files_are_not_taken_for_epanet(realdata):
    with pytest.raises(InvalidInput, match="SWMM"):
        epanet.read(realdata / "water" / "swmm_example1.inp", NOWHERE)
