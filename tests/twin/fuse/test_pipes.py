"""Pipes as solids: volumes by hand arithmetic, closedness by trimesh and manifold, sections, walls, gaps, unknowns."""

import manifold3d
import numpy as np
import pyarrow as pa
import pytest
import shapely
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from layers import catalogue
from layers.frame import CityFrame
from layers.heights import Constant
from layers.mesh import decode
from twin.fuse import pipes
from twin.fuse.notes import Notes
from twin.fuse.tube import box_section, egg_section, round_section, tubes
from twin.terrain import Terrain

CITY = "EPSG:4549"
E0, N0 = 598273.711, 3109927.739
GRID = 1 / (1 + 119.1e-6)  # metres on the ground for one of the projection, at this place


def lay(shapes, extra=None, **columns):
    n = len(shapes)
    notes = Notes()
    schema = catalogue.layer_type("pipe_water").arrow_schema()
    given_ = {name: pa.array(values, schema.field(name).type) for name, values in columns.items()}
    blank = [given_.get(name, pa.nulls(n, schema.field(name).type)) for name in schema.names]
    made = pipes.lay(
        [f"p{k}" for k in range(n)], np.array(shapes, dtype=object), pa.table(blank, schema=schema),
        extra or [None] * n, terrain=Terrain([], CITY), frame=CityFrame(CITY, Constant(11.5), 121.0, 28.1), notes=notes,
    )  # fmt: skip
    return made, sorted(issue.code for issue in notes.issues())


def line(*points):
    return shapely.LineString([(E0 + x, N0 + y, *z) for x, y, *z in points])


def closed_volume(mesh):
    body = trimesh.Trimesh(mesh.vertices, mesh.triangles, process=False)
    assert body.is_watertight
    solid = manifold3d.Manifold(manifold3d.Mesh(mesh.vertices.astype(np.float32), mesh.triangles.astype(np.uint32)))
    assert solid.status() == manifold3d.Error.NoError
    return body.volume


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(-100, 100), st.floats(-0.3, 0.3), st.floats(8, 60)), min_size=1, max_size=8
    ),
    st.floats(0.05, 2),
    st.sampled_from(["round", "box", "egg"]),
)  # fmt: skip
def test_volume_is_area_times_length_of_the_axis(course, size, kind):
    """Bends up to 100° with slopes to 30 %: a round pipe to rounding, ducts within 1 %."""
    turn = np.deg2rad(np.cumsum([each[0] for each in course]))
    slope, step = np.array([each[1:] for each in course]).T
    axis = np.zeros((len(course) + 1, 3))
    axis[1:] = np.cumsum(np.stack([np.cos(turn), np.sin(turn), slope], axis=1) * step[:, None], axis=0)
    one = np.array([size])
    section, area = {
        "round": (round_section(one), np.pi * size**2 / 4),
        "box": (box_section(one, one / 2), size**2 / 2),
        "egg": (egg_section(one, one * 1.5), 0.51046 * (1.5 * size) ** 2),  # 0.5105 H2 of sewer tables
    }[kind]
    solids = tubes(axis, np.zeros(len(axis), int), section, level=kind != "round")
    body = trimesh.Trimesh(solids.vertices, solids.triangles, process=False)
    length = np.linalg.norm(np.diff(axis, axis=0), axis=1).sum()
    assert body.is_watertight
    assert body.volume == pytest.approx(area * length, rel=1e-6 if kind == "round" else 0.01)


def test_a_drop_pipe_keeps_its_thickness():
    """Level, then straight down, then level in another direction: nowhere thinner than the section."""
    axis = np.array([[0, 0, 0], [20, 0, 0], [20, 0, -10], [20, 30, -10.0]])
    solids = tubes(axis, np.zeros(4, int), round_section(np.array([1.0])))
    body = trimesh.Trimesh(solids.vertices, solids.triangles, process=False)
    assert body.volume == pytest.approx(np.pi / 4 * 60, rel=1e-9)
    rings = solids.vertices.reshape(4, 12, 3) - axis[:, None]
    assert np.linalg.norm(rings, axis=2).min() > 0.49


@pytest.mark.parametrize("angle", [121, 150, 179, 180])
def test_sharp_bends_are_bevelled(angle):
    turn = np.deg2rad(angle)
    axis = np.array([[0, 0, 0], [20, 0, 0], [20 + 15 * np.cos(turn), 15 * np.sin(turn), 0]])
    solids = tubes(axis, np.zeros(3, int), round_section(np.array([0.8])))
    body = trimesh.Trimesh(solids.vertices, solids.triangles, process=False)
    assert body.is_watertight
    assert len(body.vertices) == 4 * 12
    assert body.volume == pytest.approx(np.pi * 0.16 * 35, rel=0.01)
    assert body.bounds[1, 0] < 20 + 0.45  # no spike


def test_references_of_height_at_both_ends_and_walls():
    flat = [line((0, 0), (100, 0))] * 4
    made, codes = lay(
        flat, dn_mm=[500.0] * 4, wall_mm=[50.0] * 4, z_ref=["crown", "centre", "invert", None],
        start_elev_m=[3.0] * 4, end_elev_m=[2.0] * 4,
    )  # fmt: skip
    starts = [shapely.get_coordinates(g, include_z=True)[[0, -1], 2].tolist() for g in made.geometry[:3]]
    assert starts == [[2.7, 1.7], [3.0, 2.0], [3.25, 2.25]]  # outer radius 0.3, inner radius 0.25
    assert made.meshes[3] is None
    assert codes == ["PIPE_Z_REF_UNKNOWN"]
    volume = closed_volume(decode(made.meshes[0].blob))
    assert volume == pytest.approx(np.pi * 0.09 * np.hypot(100 * GRID, 1), rel=1e-3)


@pytest.mark.parametrize("text", ["1000x800", "1000X800", "1000*800", "1000 × 800 mm", "BXH1000x800"])
@pytest.mark.parametrize("place", ["section", "extra"])
def test_sections_written_as_text_are_ducts(text, place):
    columns = {"section": [text]} if place == "section" else {}
    extra = [f'{{"管径": "{text}"}}'] if place == "extra" else None
    made, codes = lay([line((0, 0, 5), (50, 0, 5))], extra, z_ref=["centre"], **columns)
    assert (made.attributes["width_mm"][0].as_py(), made.attributes["height_mm"][0].as_py()) == (1000, 800)
    assert codes == ["PIPE_SECTION_READ"]
    mesh = decode(made.meshes[0].blob)
    assert closed_volume(mesh) == pytest.approx(0.8 * 50 * GRID, rel=1e-3)
    assert np.ptp(mesh.vertices[:, 2]) == pytest.approx(0.8, abs=1e-3)


@pytest.mark.parametrize("text", ["1.0x0.8", "big", "1x2x3"])
def test_other_sections_are_not_guessed(text):
    made, codes = lay([line((0, 0, 5), (50, 0, 5))], z_ref=["centre"], section=[text])
    assert made.meshes == [None]
    assert codes == ["PIPE_SECTION_UNCLEAR", "PIPE_SIZE_MISSING"]


def test_eggs_and_arches():
    made, codes = lay(
        [line((0, 0, 5), (50, 0, 5))] * 2, z_ref=["centre"] * 2, width_mm=[1000.0] * 2, height_mm=[1500.0] * 2,
        section_shape=["egg", "arch"],
    )  # fmt: skip
    volumes = [closed_volume(decode(mesh.blob)) for mesh in made.meshes]
    assert volumes == pytest.approx([0.51046 * 2.25 * 50 * GRID, 1.5 * 50 * GRID], rel=1e-3)
    assert codes == ["PIPE_DRAWN_AS_BOX"]


def test_parts_with_a_gap_are_a_solid_each():
    gap = shapely.MultiLineString([line((0, 0), (30, 0)), line((40, 0), (70, 0), (70, 30))])
    made, codes = lay(
        [line((0, 9), (10, 9)), gap, line((0, 5), (10, 5))], od_mm=[200.0, 400.0, 200.0], z_ref=["centre"] * 3,
        start_elev_m=[1.0, 9.0, 1.0], end_elev_m=[1.0, 0.0, 1.0],
    )  # fmt: skip
    assert codes == ["PIPE_HAS_GAPS"]
    assert made.geometry[1].geom_type == "MultiLineString"
    z = shapely.get_coordinates(made.geometry[1], include_z=True)[:, 2]
    assert z.tolist() == pytest.approx([9, 6, 6, 3, 0])  # the fall is along the pipe, not across the gap
    mesh = decode(made.meshes[1].blob)
    slope = np.hypot(90 * GRID, 9)
    assert closed_volume(mesh) == pytest.approx(np.pi * 0.04 * slope, rel=1e-3)
    assert trimesh.Trimesh(mesh.vertices, mesh.triangles, process=False).body_count == 2
    assert closed_volume(decode(made.meshes[2].blob)) == pytest.approx(np.pi * 0.01 * 10 * GRID, rel=1e-3)


def test_what_is_missing_stays_unknown():
    """Diameter 0, one depth of two, no height at all: no mesh, and each has its reason."""
    made, codes = lay(
        [line((0, 0), (9, 0))] * 3, dn_mm=[0.0, 300.0, 300.0], z_ref=["crown"] * 3, start_elev_m=[1.0, 1.0, None],
        end_elev_m=[1.0, None, None],
    )  # fmt: skip
    assert made.meshes == [None] * 3
    assert codes == ["OD_FROM_DN", "OD_FROM_DN", "PIPE_ELEV_MISSING", "PIPE_ELEV_MISSING", "PIPE_SIZE_MISSING"]


def test_gravity_pipes_that_rise_are_told():
    made, codes = lay(
        [line((0, 0), (9, 0))] * 5, od_mm=[300.0] * 5, z_ref=["centre"] * 5, type_code=["WS", "WS", "YS", "JS", "YS"],
        start_elev_m=[1.0] * 5, end_elev_m=[1.2, 1.2, 0.8, 1.2, 0.8], flow_dir=["0", "1", None, None, "1"],
    )  # fmt: skip
    assert codes == ["SEWER_REVERSE_SLOPE"] * 2  # the first and the last
    assert all(mesh is not None for mesh in made.meshes)
