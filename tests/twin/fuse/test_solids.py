"""Extruded solids and tubes: closed (trimesh counts edges), and of the volume that arithmetic gives."""

import time

import numpy as np
import pytest
import shapely
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from layers.mesh import Mesh, decode, encode
from twin.fuse.blobs import encode_all
from twin.fuse.extrude import extrude
from twin.fuse.tube import box_section, round_section, tubes

EAST, NORTH = 598_000.0, 3_110_000.0


def split(solids):
    v, t = np.cumsum(solids.n_vertices), np.cumsum(solids.n_triangles)
    vertices, triangles = np.split(solids.vertices, v[:-1]), np.split(solids.triangles, t[:-1])
    return [trimesh.Trimesh(a, b, process=False) for a, b in zip(vertices, triangles, strict=True)]


def assert_closed(mesh):
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.volume > 0


def star(seed, corners=12, holes=0, angle=None):
    """A random star-shaped outline with round-ish courtyards inside."""
    draw = np.random.default_rng(seed)
    turn = np.sort(draw.uniform(0, 2 * np.pi, corners))
    ring = np.stack([np.cos(turn), np.sin(turn)], 1) * draw.uniform(8, 20, (corners, 1)) + draw.uniform(0, 300, 2)
    shell = shapely.make_valid(shapely.Polygon(ring))  # a gap of half a turn makes it cross itself
    centre = ring.mean(axis=0)
    for k in range(holes):
        place = centre + 3 * np.array([np.cos(k * 2.1), np.sin(k * 2.1)])
        shell = shell.difference(
            shapely.Point(place).buffer(draw.uniform(0.4, 1.2), quad_segs=int(draw.integers(1, 5)))
        )
    return shapely.make_valid(shapely.affinity.translate(shell, EAST, NORTH))


def polygons_of(shape):
    return [p for p in shapely.get_parts(shape) if p.geom_type == "Polygon" and p.area > 1e-3]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(3, 30), st.integers(0, 3), st.floats(-4, 200), st.floats(0.1, 400))
def test_random_footprints_with_courtyards_become_closed_solids(seed, corners, holes, base, height):
    parts = polygons_of(star(seed, corners, holes))
    if not parts:
        return
    shapes = np.array([shapely.MultiPolygon([part]) for part in parts], dtype=object)
    solids = extrude(shapes, np.full(len(shapes), base), np.full(len(shapes), base + height))
    for mesh, shape in zip(split(solids), shapes, strict=True):
        assert mesh.is_watertight
        assert mesh.is_winding_consistent
        local = mesh.copy()
        local.apply_translation([-EAST, -NORTH, -base])
        assert local.volume == pytest.approx(shape.area * height, rel=1e-6)
        assert mesh.bounds[:, 2] == pytest.approx([base, base + height], abs=1e-9)


def test_corners_on_a_straight_edge_leave_no_crack():
    ring = [(0, 0), (3, 0), (5, 0), (10, 0), (10, 4), (10, 10), (7.5, 10), (0, 10), (0, 10), (0, 2), (0, 0)]
    hole = [(2, 2), (2, 4), (2, 6), (6, 6), (6, 2), (4, 2), (2, 2)]
    solids = extrude(np.array([shapely.Polygon(ring, [hole])]), np.zeros(1), np.full(1, 3.0))
    [mesh] = split(solids)
    assert_closed(mesh)
    assert mesh.volume == pytest.approx((100 - 16) * 3)
    assert len(mesh.vertices) == 16


def test_roofs_cut_along_a_grid_stay_closed():
    """Cross, comb and ring on a grid: where ear clipping meets corners in one line again and again."""
    comb = shapely.union_all([shapely.box(0, 0, 40, 1), *(shapely.box(2 * k, 1, 2 * k + 1, 5) for k in range(20))])
    cross = shapely.union_all([shapely.box(3, 0, 6, 9), shapely.box(0, 3, 9, 6)])
    holes = [shapely.box(1 + 3 * i, 1 + 3 * j, 2 + 3 * i, 2 + 3 * j) for i in range(6) for j in range(6)]
    sieve = shapely.box(0, 0, 19, 19).difference(shapely.union_all(holes))
    shapes = np.array([comb, cross, sieve], dtype=object)
    solids = extrude(shapes, np.zeros(3), np.full(3, 2.0))
    for mesh, shape in zip(split(solids), shapes, strict=True):
        assert_closed(mesh)
        assert mesh.volume == pytest.approx(2 * shape.area)


def test_parts_of_a_multipolygon_are_one_mesh_and_none_is_none():
    two = shapely.MultiPolygon([shapely.box(0, 0, 2, 3), shapely.box(5, 5, 9, 6)])
    solids = extrude(np.array([None, two, shapely.box(0, 0, 1, 1)], dtype=object), np.zeros(3), np.array([1.0, 2, 3]))
    assert solids.n_vertices.tolist() == [0, 16, 8]
    assert solids.n_triangles.tolist() == [0, 24, 12]
    _, both, one = split(solids)
    assert both.volume == pytest.approx(20)
    assert one.volume == pytest.approx(3)
    assert trimesh.graph.connected_components(both.face_adjacency)[0].size == 12


def test_bulk_blobs_are_the_blobs_of_the_contract():
    shapes = np.array([shapely.box(EAST + 20 * k, NORTH, EAST + 20 * k + 5 + k, NORTH + 7) for k in range(6)])
    shapes[2] = star(4, 9, 2)
    shapes = np.r_[shapes, [None]]
    solids = extrude(shapes, np.linspace(0, 6, 7), np.linspace(10, 20, 7))
    blobs = encode_all(solids)
    assert blobs[-1] is None
    for mesh, blob in zip(split(solids)[:-1], blobs[:-1], strict=True):
        expected = encode(Mesh(mesh.vertices.view(np.ndarray), mesh.faces.view(np.ndarray)))
        assert blob.blob == expected.blob
        assert blob.bounds == pytest.approx(expected.bounds)
        assert np.abs(decode(blob.blob).vertices - mesh.vertices).max() < 1e-5


def straight(n, seed=0):
    draw = np.random.default_rng(seed)
    start = draw.uniform(-50, 50, (n, 3))
    end = start + draw.normal(size=(n, 3)) * 20
    return np.stack([start, end], axis=1), draw.uniform(0.05, 2, n)


def test_straight_pipes_have_the_volume_of_a_cylinder():
    points, diameter = straight(200)
    points[0, 1] = points[0, 0] + [0, 0, 5]  # a plumb line
    solids = tubes(points.reshape(-1, 3), np.repeat(np.arange(200), 2), round_section(diameter))
    length = np.linalg.norm(points[:, 1] - points[:, 0], axis=1)
    for mesh, expected, d in zip(split(solids), np.pi * diameter**2 / 4 * length, diameter, strict=True):
        assert_closed(mesh)
        assert mesh.volume == pytest.approx(expected, rel=1e-9)
        assert d > 0


def test_a_level_mitred_bend_has_the_volume_of_its_axis():
    """By Pappus, a mitre in the plane of the bend leaves section * axis length unchanged."""
    axis = np.array([[0, 0, 3], [30, 0, 3], [40, 25, 3], [90, 25, 3.0]])
    solids = tubes(axis, np.zeros(4, int), round_section(np.array([1.2])))
    length = np.linalg.norm(np.diff(axis, axis=0), axis=1).sum()
    [mesh] = split(solids)
    assert_closed(mesh)
    assert mesh.volume == pytest.approx(np.pi * 0.36 * length, rel=1e-9)
    middle = mesh.vertices.view(np.ndarray)[12:24].mean(axis=0)
    assert middle == pytest.approx(axis[1], abs=1e-9)


def test_a_box_section_is_level():
    axis = np.array([[0, 0, 0], [0, 20, 1.0]])
    [mesh] = split(tubes(axis, np.zeros(2, int), box_section(np.array([2.0]), np.array([1.0]))))
    assert_closed(mesh)
    assert mesh.volume == pytest.approx(2 * np.hypot(20, 1))
    assert mesh.extents[0] == pytest.approx(2)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(*[st.integers(-4, 4)] * 3), min_size=2, max_size=9))
def test_any_axis_gives_a_closed_tube_or_none(axis):
    """Repeated points, reversals, plumb pieces and hairpins: edges always pair, and no mitre becomes a spike."""
    points = np.array(axis, float) * 3
    solids = tubes(points, np.zeros(len(points), int), round_section(np.array([0.5])))
    moves = np.abs(np.diff(points, axis=0)).sum()
    assert (solids.n_triangles[0] > 0) == (moves > 0)
    if moves:
        [mesh] = split(solids)
        assert mesh.is_watertight
        assert mesh.is_winding_consistent
        low, high = points.min(axis=0) - 0.6, points.max(axis=0) + 0.6
        assert (mesh.vertices >= low).all()
        assert (mesh.vertices <= high).all()


@pytest.mark.bench
def test_extrusion_rate():
    n = 50_000
    draw = np.random.default_rng(0)
    x, y = draw.uniform(0, 2000, (2, n))
    shapes = shapely.box(EAST + x, NORTH + y, EAST + x + 12, NORTH + y + 9)
    start = time.perf_counter()
    blobs = encode_all(extrude(shapes, np.zeros(n), np.full(n, 9.0)))
    print(f"\n{n / (time.perf_counter() - start):,.0f} solids/s")  # noqa: T201
    assert all(blob is not None for blob in blobs)
