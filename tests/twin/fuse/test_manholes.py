"""Wells: which nodes are one, their volume by hand, what is estimated, what is unknown."""

import numpy as np
import pyarrow as pa
import pytest
import shapely
import trimesh

from layers import catalogue
from layers.frame import CityFrame
from layers.heights import Constant
from layers.mesh import decode
from twin.fuse import manholes
from twin.fuse.notes import Notes
from twin.terrain import Terrain

CITY = "EPSG:4549"
E0, N0 = 598273.711, 3109927.739
GRID = (1 / (1 + 119.1e-6)) ** 2


def sink(shapes, **columns):
    n = len(shapes)
    notes = Notes()
    schema = catalogue.layer_type("pipe_node").arrow_schema()
    given = {name: pa.array(values, schema.field(name).type) for name, values in columns.items()}
    table = pa.table([given.get(name, pa.nulls(n, schema.field(name).type)) for name in schema.names], schema=schema)
    made = manholes.sink(
        [f"n{k}" for k in range(n)], np.array(shapes, dtype=object), table,
        terrain=Terrain([], CITY), frame=CityFrame(CITY, Constant(11.5), 121.0, 28.1), notes=notes,
    )  # fmt: skip
    return made, sorted(issue.code for issue in notes.issues())


def body(stored):
    mesh = decode(stored.blob)
    made = trimesh.Trimesh(mesh.vertices, mesh.triangles, process=False)
    assert made.is_watertight
    return made


HERE = shapely.Point(E0, N0)


def test_round_wells_with_and_without_a_diameter():
    made, codes = sink([HERE] * 2, appendage=["检查井"] * 2, ground_elev_m=[5.0] * 2, depth_m=[2.0] * 2,
                       well_diameter_mm=[700.0, None])  # fmt: skip
    assert codes == []
    volumes = [body(mesh).volume for mesh in made.meshes]
    assert volumes == pytest.approx([np.pi * 0.35**2 * 2 * GRID, np.pi * 0.5**2 * 2 * GRID], rel=1e-4)
    assert made.attributes["estimated"].to_pylist() == [None, "well_diameter_mm"]
    assert made.meshes[0].bounds[5] - made.meshes[0].bounds[2] == pytest.approx(2, abs=1e-4)
    assert shapely.get_z(made.geometry).tolist() == [5.0, 5.0]


def test_a_chamber_is_a_box_that_may_be_turned():
    made, _ = sink([HERE] * 2, bottom_elev_m=[1.0] * 2, ground_elev_m=[4.0] * 2, well_length_mm=[3000.0] * 2,
                   well_width_mm=[1000.0] * 2, rotation_deg=[None, 90.0])  # fmt: skip
    for mesh, extents in zip(made.meshes, ([3, 1, 3], [1, 3, 3]), strict=True):
        assert body(mesh).volume == pytest.approx(9 * GRID, rel=1e-4)
        assert body(mesh).extents == pytest.approx(extents, abs=0.03)  # true north is 0.47 degrees off grid north
    assert made.attributes["estimated"].to_pylist() == [None, None]


def test_a_turn_goes_against_the_clock():
    made, _ = sink([HERE], bottom_elev_m=[1.0], ground_elev_m=[4.0], well_length_mm=[3000.0], well_width_mm=[100.0],
                   rotation_deg=[45.0])  # fmt: skip
    x, y, _ = body(made.meshes[0]).vertices.T
    assert np.corrcoef(x, y)[0, 1] > 0.9


def test_tees_and_valves_are_no_wells():
    made, codes = sink([HERE] * 5, feature=["三通", "阀门", None, None, None], depth_m=[1.5, 1.5, 1.5, None, 2.0],
                       node_type=[None, None, None, None, "outfall"], ground_elev_m=[5.0] * 5)  # fmt: skip
    assert [mesh is not None for mesh in made.meshes] == [False, False, True, False, False]
    assert codes == []


@pytest.mark.parametrize(("depth", "ground"), [(None, 5.0), (2.0, None), (0.0, 5.0)])
def test_a_well_without_depth_or_ground_is_said(depth, ground):
    made, codes = sink([HERE], appendage=["检查井"], depth_m=[depth], ground_elev_m=[ground])
    assert made.meshes == [None]
    assert codes == ["WELL_DEPTH_MISSING"]
