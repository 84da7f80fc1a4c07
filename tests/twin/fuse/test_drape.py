"""Areas laid over the ground: the same area in plan, on the ground, inside themselves; against shapely and an analytic
ground."""

import numpy as np
import pytest
import rasterio
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.transform import from_origin

from layers.frame import CityFrame
from layers.heights import Constant
from layers.mesh import decode
from twin.fuse import drape as module
from twin.fuse.notes import Notes
from twin.terrain import Terrain, TerrainRaster

CITY = "EPSG:4549"
E0, N0 = 598_000.0, 3_110_000.0
FRAME = CityFrame(CITY, Constant(11.5), 121.0, 28.1)


def slope(x, y):
    """A plane: bilinear between cells, and planar between the corners of any grid."""
    return 20 + 0.05 * (x - E0) - 0.03 * (y - N0)


@pytest.fixture(scope="module")
def terrain(tmp_path_factory):
    path = tmp_path_factory.mktemp("dem") / "dem.tif"
    x, y = np.meshgrid(E0 - 500 + 5 * (np.arange(400) + 0.5), N0 + 1500 - 5 * (np.arange(400) + 0.5))
    heights = slope(x, y).astype(np.float32)
    heights[100:110, 100:110] = -9999
    with rasterio.open(
        path, "w", driver="GTiff", width=400, height=400, count=1, dtype="float32", crs=CITY, nodata=-9999,
        transform=from_origin(E0 - 500, N0 + 1500, 5, 5),
    ) as out:  # fmt: skip
        out.write(heights, 1)
    return Terrain([TerrainRaster(path, CITY)], CITY)


def draped(shapes, terrain):
    notes = Notes()
    meshes = module.drape([f"a{i}" for i in range(len(shapes))], np.array(shapes, dtype=object),
                          terrain=terrain, frame=FRAME, notes=notes)  # fmt: skip
    return meshes, [(issue.code, issue.where) for issue in notes.issues()]


def in_plan(stored):
    """Corners and heights of a surface back in the city's CRS, its triangles."""
    import pyproj

    mesh = decode(stored.blob)
    pipeline = pyproj.Transformer.from_pipeline(
        "+proj=pipeline +step +inv +proj=topocentric +ellps=WGS84 +lon_0=121 +lat_0=28.1 +h_0=0 "
        "+step +inv +proj=cart +ellps=WGS84 +step +proj=unitconvert +xy_in=rad +xy_out=deg"
    )
    lon, lat, h = pipeline.transform(*mesh.vertices.T)
    north, east = pyproj.Transformer.from_crs("EPSG:4490", CITY).transform(lat, lon)
    return np.column_stack([east, north, h - 11.5]), mesh.triangles


def area(corners, triangles):
    a, b, c = (corners[triangles[:, i], :2] for i in range(3))
    return ((b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])) / 2


@settings(max_examples=40, deadline=None)
@given(
    corners=st.lists(st.tuples(st.floats(0, 120), st.floats(0, 120)), min_size=3, max_size=9, unique=True),
    hole=st.booleans(),
)
def test_a_surface_covers_its_area_once_and_lies_on_the_ground(terrain, corners, hole):
    shape = shapely.MultiPoint(corners).convex_hull.buffer(3)
    if hole:
        shape = shape.difference(shape.centroid.buffer(min(5, shape.area**0.5 / 8)))
    shape = shapely.transform(shape, lambda xy: xy + np.array([E0, N0]))
    (stored,), said = draped([shape], terrain)
    assert said == []
    found, triangles = in_plan(stored)
    areas = area(found, triangles)
    assert (areas > -2e-3).all()  # seen from above
    assert areas.sum() == pytest.approx(shape.area, rel=1e-5, abs=1e-3)
    assert shapely.distance(shapely.points(found[:, :2]), shape).max() < 2e-3
    np.testing.assert_allclose(found[:, 2], slope(*found[:, :2].T) + module.LIFT_M, rtol=0, atol=2e-3)
    middle = found[triangles].mean(axis=1)  # inside a triangle too: the ground is a plane
    np.testing.assert_allclose(middle[:, 2], slope(*middle[:, :2].T) + module.LIFT_M, rtol=0, atol=2e-3)
    assert shapely.distance(shapely.points(middle[:, :2]), shape).max() < 2e-3


def test_cells_grow_with_the_area_and_bend_with_the_ground(terrain):
    small, large = shapely.box(E0, N0, E0 + 100, N0 + 100), shapely.box(E0 - 400, N0 - 400, E0 + 1400, N0 + 1400)
    meshes, _ = draped([small, large], terrain)
    counts = [len(decode(mesh.blob).triangles) for mesh in meshes]
    assert counts[0] == 2 * 20 * 20
    assert counts[1] <= 2 * module.MAX_CELLS * 1.2
    assert module.cell_sizes(np.array([small, large]), 5.0).tolist() == [5.0, 40.0]


def test_neighbours_share_the_corners_of_their_border(terrain):
    border = [(E0 + 50, N0 + 3), (E0 + 57, N0 + 44), (E0 + 52, N0 + 97)]
    left = shapely.Polygon([(E0 + 2, N0 + 3), *border, (E0 + 4, N0 + 95)])
    right = shapely.Polygon([*border, (E0 + 99, N0 + 99), (E0 + 91, N0 + 1)])
    meshes, _ = draped([left, right], terrain)
    line = shapely.LineString(border)
    on_border = [
        {tuple(np.round(row, 3)) for row in in_plan(mesh)[0] if shapely.Point(row[:2]).distance(line) < 1e-3}
        for mesh in meshes
    ]
    assert on_border[0] == on_border[1]
    assert len(on_border[0]) > 15


def test_a_hole_in_the_ground_is_bridged_and_an_area_off_it_is_named(terrain):
    hole = shapely.box(E0 - 500 + 480, N0 + 1500 - 560, E0 - 500 + 570, N0 + 1500 - 480)
    off = shapely.box(E0 + 9000, N0, E0 + 9010, N0 + 10)
    meshes, said = draped([hole, off, shapely.Point(E0, N0), None], terrain)
    found, _ = in_plan(meshes[0])
    assert np.abs(found[:, 2] - slope(*found[:, :2].T)).max() < 5
    assert meshes[1:] == [None, None, None]
    assert said == [("DRAPE_WITHOUT_GROUND", "a1")]


def test_many_areas_are_cut_in_runs(terrain, monkeypatch):
    shapes = [shapely.box(E0 + 12 * i, N0, E0 + 12 * i + 10, N0 + 10) for i in range(40)]
    whole, _ = draped(shapes, terrain)
    monkeypatch.setattr(module, "MAX_AT_ONCE", 20)
    assert [mesh.blob for mesh in draped(shapes, terrain)[0]] == [mesh.blob for mesh in whole]
