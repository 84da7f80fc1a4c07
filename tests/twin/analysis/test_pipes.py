"""Pipes as arrays: what is stored comes back as it was stated; kinds and outer sizes; joints; networks from files."""

import numpy as np
import pyarrow as pa
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

import twin
from layers.errors import InvalidInput
from layers.frame import CityFrame
from layers.heights import Constant
from server.build import build
from tests.twin.analysis.land_city import EAST, NORTH, made
from twin.analysis import pipes
from twin.analysis.pipe_joints import labels
from twin.fuse import pipes as fuse
from twin.fuse.notes import Notes
from twin.store.interface import Features
from twin.terrain import Terrain

GROUND, FRAME = Terrain([], "EPSG:4549"), CityFrame("EPSG:4549", Constant(11.5), 121.0, 28.1)


def line(*points):
    return shapely.LineString([(EAST + x, NORTH + y, *z) for x, y, *z in points])


def features(shapes, **columns):
    n = len(shapes)
    array = np.empty(n, object)
    array[:] = shapes
    return Features(
        np.arange(n),
        [str(k) for k in range(n)],
        array,
        pa.table(columns),
        [None] * n,
        np.ones(n, int),
        [""] * n,
        [None] * n,
    )


def stored(shape, z_ref, **size):
    """A pipe as the store keeps it."""
    table = pa.table(
        {"z_ref": pa.array([z_ref], pa.string()), **{key: pa.array([each], pa.float64()) for key, each in size.items()}}
    )
    names = np.empty(1, object)
    names[:] = [shape]
    laid = fuse.lay(["0"], names, table, [None], terrain=GROUND, frame=FRAME, notes=Notes())
    return Features(np.arange(1), ["0"], laid.geometry, laid.attributes, [None], np.ones(1, int), [""], [None])


SIZES = st.one_of(st.none(), st.sampled_from([100.0, 315.0, 800.0]))


@given(st.sampled_from(["crown", "centre", "invert", None]), SIZES, SIZES, st.sampled_from([None, 10.0]))
def test_heights_come_back_as_they_were_stated(z_ref, od, dn, wall):
    if od is not None and dn is not None and od < dn:
        od, dn = dn, od
    found = pipes.from_features(
        stored(line((0, 0, -1.0), (9, 0, -2.0)), z_ref, od_mm=od, dn_mm=dn, wall_mm=wall), "pipe_water"
    )
    z = shapely.get_coordinates(found.geometry[0], include_z=True)[:, 2]
    sized = od is not None or dn is not None
    assert bool(found.has_axis[0]) == (z_ref == "centre" or (z_ref is not None and sized))
    if z_ref == "crown" and sized:
        assert z + found.crown_m[0] == pytest.approx([-1.0, -2.0]), "with or without an outer diameter"
    if z_ref == "centre":
        assert z == pytest.approx([-1.0, -2.0])
    if z_ref == "invert" and np.isfinite(found.inner_m[0]):
        assert z - found.inner_m[0] / 2 == pytest.approx([-1.0, -2.0])
    known = od is not None or (wall is not None and dn is not None)
    assert bool(np.isfinite(found.width_m[0])) == known
    if od is not None:
        assert found.width_m[0] == pytest.approx(od / 1000)
    elif known:
        assert found.width_m[0] == pytest.approx((dn + 2 * wall) / 1000)
    if z_ref != "crown":
        assert bool(np.isfinite(found.crown_m[0])) == known


def test_lines_without_heights_or_with_some_missing_have_no_axis():
    shapes = [line((0, 0), (9, 0)), shapely.LineString([(EAST, NORTH, -1.0), (EAST + 9, NORTH, np.nan)])]
    found = pipes.from_features(features(shapes, z_ref=["centre", "centre"], od_mm=[300.0, 300.0]), "pipe_water")
    assert found.has_axis.tolist() == [False, False]


def test_kinds_by_statement_code_and_layer():
    shapes = [line((0, 0, 0), (9, 0, 0))] * 7
    codes = ["JS", "PS", "HS", "ZS", None, "WS", "RQ"]
    names = [None, None, None, "再生水管", None, None, None]
    table = features(shapes, type_code=pa.array(codes), name=pa.array(names, pa.string()))
    assert pipes.from_features(table, "pipe_other").kind.tolist() == [
        "water", "drain", "combined", "reclaimed", None, "sewage", "gas",
    ]  # fmt: skip
    assert pipes.from_features(table, "pipe_rain").kind.tolist()[4] == "rain"


def test_outer_sizes_of_boxes():
    shapes = [line((0, 0, 0), (9, 0, 0))] * 3
    table = features(
        shapes,
        width_mm=[1000.0] * 3,
        height_mm=[500.0] * 3,
        wall_mm=[None, 100.0, None],
        burial=["trench", "trench", "duct"],
    )
    found = pipes.from_features(table, "pipe_power")
    np.testing.assert_allclose(found.width_m, [np.nan, 1.2, 1.0])
    np.testing.assert_allclose(found.height_m, [np.nan, 0.7, 0.5])
    np.testing.assert_allclose(found.inner_width_m, 1.0)
    assert not found.is_round.any()


def test_a_section_as_text_is_a_size():
    table = features(
        [line((0, 0, 0), (9, 0, 0))] * 2,
        section=["1000x500", "DN300"],
        dn_mm=pa.nulls(2, pa.float64()),
        wall_mm=[50.0, 20.0],
    )
    found = pipes.from_features(table, "pipe_rain")
    np.testing.assert_allclose(found.width_m, [1.1, 0.34])
    np.testing.assert_allclose(found.dn_mm, [np.nan, 300])


def test_joints_by_code_place_fitting_and_drop():
    ways = [
        [(0, 0, 0), (10, 0, 0)], [(10.3, 0, 0), (20, 0, 0)], [(20, 0, 0), (20.5, 0, 0)], [(20.5, 0, 0), (30, 0, 0)],
        [(20, 0, -1), (20, 9, -1)], [(30, 0, -2), (30, 9, -2)],
    ]  # fmt: skip
    codes = {"start_node": ["a", "b", *[None] * 4], "end_node": ["b", *[None] * 5]}
    kinds = ["JS", "JS", "JS", "WS", "JS", "WS"]
    table = features([line(*way) for way in ways], z_ref=["centre"] * 6, type_code=kinds, **codes)
    number = labels(pipes.from_features(table, "pipe_other"))
    assert number[0, 1] == number[1, 0], "the code"
    assert number[1, 1] == number[2, 0] == number[2, 1], "the place; and through a fitting of 0.5 m"
    assert number[2, 1] != number[3, 0], "another kind at the same place"
    assert number[1, 1] != number[4, 0], "the same kind, a metre below"
    assert number[3, 1] == number[5, 0], "drains meet in a manhole with a drop"


def test_layers_are_read_with_what_they_have(tmp_path):
    rows = [("1", line((0, 0, 0), (9, 0, 0)), {"od_mm": 300.0, "z_ref": "centre"})]
    with made(tmp_path, {"pipe_water": rows, "pipe_gas": rows}) as city:
        found = pipes.read(city, None)
        assert (found.names, found.kind.tolist()) == (["pipe_water/1", "pipe_gas/1"], ["water", "gas"])
        only = pipes.read(city, [{"collection": "pipe_gas", "filter": "od_mm > 100"}])
        assert only.names == ["pipe_gas/1"]
        with pytest.raises(InvalidInput, match="pipes has no feature"):
            pipes.read(city, [{"collection": "pipe_gas", "filter": "od_mm > 1000"}])


INP = """[JUNCTIONS]
J1 5
J2 5
J3 5
J4 5
[RESERVOIRS]
R 50
[PIPES]
p1 R J1 100 300 120 0 Open
p2 J1 J2 100 300 120 0 Open
p3 J2 J3 100 300 120 0 Open
p4 J1 J4 100 300 120 0 Open
[OPTIONS]
Units LPS
[COORDINATES]
R 598000 3110000
J1 598100 3110000
J2 598200 3110000
J3 598300 3110000
J4 598100 3110100
[END]
"""
TOML = """name = "here"
crs = "EPSG:4549"
vertical_crs = "EPSG:5737"
origin = [121.0, 28.1]
[[source]]
path = "hand.inp"
crs = "EPSG:4549"
"""


def test_a_network_of_epanet_is_traced_and_isolated_as_a_layer(tmp_path):
    files = tmp_path / "files"
    files.mkdir()
    (files / "hand.inp").write_text(INP, "utf8")
    (files / "city.toml").write_text(TOML, "utf8")
    build(files, tmp_path / "twin")
    network = {"links": [{"collection": "hand_link"}], "nodes": [{"collection": "hand_node"}]}
    with twin.open(tmp_path / "twin") as city:
        found = city.run("network-trace", **network, direction="up", node="J3", velocity_m_s=0.5)
        assert {each["node"]: each["travel_s"] for each in found["nodes"]} == {"J2": 200, "J1": 400, "R": 600}
        assert found["sources"] == ["R"]
        valves = {"type": "FeatureCollection", "features": [
            {"type": "Feature", "id": f"v{k}", "geometry": None, "properties": {"link_id": a, "protects_node": b}}
            for k, (a, b) in enumerate((("p1", "J1"), ("p2", "J1"), ("p3", "J2")))]}  # fmt: skip
        isolated = city.run("burst-isolation", **network, burst="p2", valves=[valves])
        assert {(each["link"], each["node"]) for each in isolated["valves"]} == {
            ("hand_link/p2", "J1"),
            ("hand_link/p3", "J2"),
        }
        assert isolated["affected_nodes"] == ["J2", "J3"]
