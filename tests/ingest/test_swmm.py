"""SWMM files: counts against MANIFEST.csv, numbers against swmmio, units and offsets by hand, broken text refused."""

import re
import warnings

import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import reader_for
from ingest.network import swmm
from layers.errors import CityTwinError, CrsMissing, InvalidInput
from layers.source import Hints
from tests.ingest.conftest import manifest

NOWHERE = Hints(crs="+proj=tmerc +ellps=GRS80 +units=m")
SMALL = """[OPTIONS]
FLOW_UNITS {flow}
LINK_OFFSETS {offsets}
[RAINGAGES]
G1 INTENSITY 0:15 1.0 TIMESERIES T
[SUBCATCHMENTS]
S1 G1 A 2 25 100 0.5 0
[JUNCTIONS]
A 10 5
B 8 0
[OUTFALLS]
Z 7 FREE
[CONDUITS]
P1 a B 100 0.013 {start} {end}
P2 B Z 50 0.013 * *
P3 A Z 50 0.013 0 0
[PUMPS]
M1 A B * ON
[XSECTIONS]
P1 CIRCULAR 1 0 0 0 2
P2 RECT_CLOSED 2 3 0 0
P3 EGG 1.5 0 0 0
[COORDINATES]
A 0 0
B 100 0
Z 100 50
[VERTICES]
P1 50 10
[Polygons]
S1 0 0
S1 20 0
S1 20 10
[SYMBOLS]
G1 5 5
"""


def small(tmp_path, flow="LPS", offsets="DEPTH", start=0.5, end=0.25):
    path = tmp_path / "drains.inp"
    path.write_text(SMALL.format(flow=flow, offsets=offsets, start=start, end=end))
    return path


def stored(path, hints=NOWHERE):
    """Layer type -> (layer, id -> row, id -> geometry)."""
    found = {}
    for layer in swmm.read(path, hints).layers:
        rows, shapes = {}, {}
        for batch in layer.batches():
            rows |= dict(zip(batch.ids, batch.attributes.to_pylist(), strict=True))
            shapes |= dict(zip(batch.ids, batch.geometry, strict=True))
        assert layer.n_read == len(rows) + len(layer.rejects)
        found[layer.layer_type] = (layer, rows, shapes)
    return found


@pytest.mark.parametrize(
    ("flow", "metre", "area"), [(u, 1.0, 10_000.0) for u in ("LPS", "CMS", "MLD")]
    + [(u, 0.3048, 4046.8564224) for u in ("CFS", "GPM", "MGD")]
)  # fmt: skip
def test_all_lengths_are_metres_whatever_the_flow_unit(tmp_path, flow, metre, area):
    found = stored(small(tmp_path, flow))
    pipe = found["pipe_rain"][1]["P1"]
    assert pipe["length_m"] == pytest.approx(100 * metre)
    assert pipe["dn_mm"] == pytest.approx(1000 * metre)
    assert (pipe["start_elev_m"], pipe["end_elev_m"]) == (pytest.approx(10.5 * metre), pytest.approx(8.25 * metre))
    assert pipe["z_ref"] == "invert"
    box = found["pipe_rain"][1]["P2"]
    assert (box["height_mm"], box["width_mm"]) == (pytest.approx(2000 * metre), pytest.approx(3000 * metre))
    egg = found["pipe_rain"][1]["P3"]
    assert (egg["section_shape"], egg["width_mm"]) == ("egg", pytest.approx(1000 * metre))
    node = found["pipe_node"][1]["A"]
    assert (node["bottom_elev_m"], node["ground_elev_m"]) == (pytest.approx(10 * metre), pytest.approx(15 * metre))
    assert found["pipe_node"][1]["B"]["ground_elev_m"] is None
    area_row = found["subcatchment"][1]["S1"]
    assert (area_row["stated_area_m2"], area_row["flow_width_m"]) == (
        pytest.approx(2 * area),
        pytest.approx(100 * metre),
    )


def test_offsets_may_be_elevations(tmp_path):
    pipe = stored(small(tmp_path, offsets="ELEVATION", start=10.5, end=8.25))["pipe_rain"][1]
    assert (pipe["P1"]["start_elev_m"], pipe["P1"]["end_elev_m"]) == (10.5, 8.25)
    assert (pipe["P2"]["start_elev_m"], pipe["P2"]["end_elev_m"]) == (8, 7)  # `*` is the node's invert


def test_lines_go_over_their_vertices_and_ids_are_compared_without_case(tmp_path):
    found = stored(small(tmp_path))
    assert shapely.get_coordinates(found["pipe_rain"][2]["P1"]).tolist() == [[0, 0], [50, 10], [100, 0]]
    assert found["subcatchment"][2]["S1"].area == 100
    assert found["rain_station"][2]["G1"].equals(shapely.Point(5, 5))
    assert found["drains_device"][1]["M1"]["kind"] == "pump"


def test_another_pipe_layer_may_be_named(tmp_path):
    sewage = stored(small(tmp_path), Hints(crs=NOWHERE.crs, layer="pipe_sewage"))
    assert set(sewage["pipe_sewage"][1]) == {"P1", "P2", "P3"}


def test_without_a_crs_it_is_refused(tmp_path):
    with pytest.raises(CrsMissing):
        swmm.read(small(tmp_path), Hints())


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("P1 a B 100", "P1 a B long", 14),
        ("FLOW_UNITS LPS", "FLOW_UNITS CUPS", 2),
        ("[PUMPS]", "[PUMPING]\n[OOPS]", 18),
        ("P1 CIRCULAR", "P1 HEPTAGON", 20),
        ("A 0 0\n", "A 0\n", 24),
        ("A 10 5", "A 1e999 5", 9),
    ],
)
def test_a_wrong_line_is_named(tmp_path, old, new, line):
    path = small(tmp_path)
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(InvalidInput, match=f"line {line}"):
        swmm.read(path, NOWHERE)


FACTS = {
    name: row["expected"]
    for name, row in manifest().items()
    if "swmm" in name and name.endswith(".inp") and "conduits=" in row["expected"]
}


@pytest.mark.parametrize("name", sorted(FACTS) or ["none"])
def test_real_networks_have_the_measured_parts(realdata, name):
    if name == "none":
        pytest.skip("no MANIFEST.csv")
    facts = {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)(?=;|$)", FACTS[name])}
    found = stored(realdata / name)
    kinds = [row["node_type"] for row in found["pipe_node"][1].values()]
    for kind, section in (("junction", "junctions"), ("outfall", "outfalls"), ("storage", "storage")):
        assert kinds.count(kind) == facts.get(section, 0)
    assert found["pipe_rain"][0].n_read == facts["conduits"]
    devices = next((layer for key, (layer, _, _) in found.items() if key.endswith("_device")), None)
    expected = sum(facts.get(key, 0) for key in ("pumps", "orifices", "weirs"))
    assert (devices.n_read if devices else 0) == expected
    for key, section in (("subcatchment", "subcatchments"), ("rain_station", "raingages")):
        assert (found[key][0].n_read if key in found else 0) == facts.get(section, 0)


@pytest.mark.parametrize("name", ["swmm_example1", "swmm_example6", "swmm_state_plane", "swmm_full_features"])
def test_lengths_and_places_are_those_of_swmmio(realdata, name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import swmmio

        model = swmmio.Model(str(realdata / "water" / f"{name}.inp"))
        conduits, nodes = model.inp.conduits, model.inp.coordinates
    found = stored(realdata / "water" / f"{name}.inp")
    for link, row in found["pipe_rain"][1].items():
        assert row["length_m"] == pytest.approx(float(conduits.loc[link, "Length"]) * 0.3048)
        assert row["start_node"] == str(conduits.loc[link, "InletNode"])
    for node, point in found["pipe_node"][2].items():
        assert (point.x, point.y) == (pytest.approx(nodes.loc[node, "X"]), pytest.approx(nodes.loc[node, "Y"]))


def test_an_invalid_model_keeps_its_good_part(realdata):
    reading = swmm.read(realdata / "bad" / "swmm_invalid_model.inp", NOWHERE)
    issues = {issue.code: issue for issue in reading.issues}
    assert issues["INP_OUTLET_UNKNOWN"].where.endswith("line 59")
    [pipes] = [layer for layer in reading.layers if layer.layer_type == "pipe_rain"]
    assert sum(map(len, pipes.batches())) == 6
    assert [(r.code, r.where.split(", id")[0][-8:]) for r in pipes.rejects] == [
        ("INP_NODE_UNKNOWN", "line 111"), ("INP_NODE_UNKNOWN", "line 112")
    ]  # fmt: skip


WORDS = st.sampled_from(
    ["[JUNCTIONS]", "[CONDUITS]", "[COORDINATES]", "[XSECTIONS]", "[POLY", "[SUBCATCHMENTS]", "[OPTIONS]",
     "[OUTFALLS]", "\n", "\n", "\n", "A", "B", "1", "-2.5", "1e308", "nan", "*", '"', ";", "CIRCULAR", "EGG",
     "FLOW_UNITS", "CFS", "管", "[", "]", "[PIPES]", "[TANKS]", "UNITS", "OPEN", "HEAD"]
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(WORDS, max_size=60))
def test_any_text_is_read_or_refused(tmp_path_factory, words):
    path = tmp_path_factory.mktemp("fuzz") / "a.inp"
    path.write_text(" ".join(words), "utf8")
    for hints in (NOWHERE, Hints(crs="EPSG:4326")):
        try:
            for layer in reader_for(path).read(path, hints).layers:
                kept = sum(map(len, layer.batches()))
                assert layer.n_read == kept + len(layer.rejects)
        except CityTwinError:
            pass


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(SMALL) - 1), st.binary(max_size=6), st.integers(0, 20))
def test_damaged_files_are_read_or_refused(tmp_path_factory, at, junk, cut):
    path = tmp_path_factory.mktemp("fuzz") / "a.inp"
    data = SMALL.format(flow="CFS", offsets="DEPTH", start=0, end=0).encode()
    path.write_bytes(data[:at] + junk + data[at + cut :])
    try:
        for layer in swmm.read(path, NOWHERE).layers:
            list(layer.batches())
    except CityTwinError:
        pass
