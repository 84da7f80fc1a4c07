"""Triangles to plane polygons: trimesh says how large things are and whether they are closed."""

import numpy as np
import pytest
import shapely
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.server.formats.conftest import EAST, NORTH, solid
from tiles import solids

MM = np.full(3, 0.001)


def bodies(*shapes, labels=None):
    """Shapes at map coordinates, as bodies on a grid of a millimetre."""
    parts = [
        (np.asarray(s.vertices) + np.array([EAST, NORTH, 5.0]), np.asarray(s.faces, np.int64),
         np.zeros(len(s.faces), np.int64) if labels is None else labels) for s in shapes
    ]  # fmt: skip
    return solids.bodies(solids.joined(parts), len(shapes), MM)


def vector_area(ring):
    return np.cross(ring, np.roll(ring, -1, axis=0)).sum(axis=0) / 2


def measured(body):
    """Volume and area of a body's polygons, from their corners alone."""
    points = (body.vertices - body.vertices[0]) * 0.001
    volume = area = 0.0
    for face in body.faces:
        across = sum(vector_area(points[ring]) for ring in face.rings)
        volume += points[face.rings[0][0]] @ across / 3
        area += np.linalg.norm(across)
    return volume, area


@pytest.mark.parametrize(
    ("name", "n_faces", "n_holes"), [("house", 10, 2), ("hollow", 12, 0), ("twins", 12, 0), ("tower", 26, 0)]
)
def test_solids_keep_volume_and_area(name, n_faces, n_holes):
    shape = solid(name)
    (body,) = bodies(shape)
    assert len(body.faces) == n_faces
    assert sum(len(face.rings) - 1 for face in body.faces) == n_holes
    volume, area = measured(body)
    assert volume == pytest.approx(shape.volume, rel=2e-4)
    assert area == pytest.approx(shape.area, rel=2e-4)
    assert sum(shell.volume for shell in body.shells) * 1e-9 == pytest.approx(volume, abs=1e-9)
    assert [len(each) for each in body.solids] == {"hollow": [2], "twins": [1, 1]}.get(name, [1])


def test_what_is_not_closed_is_no_solid():
    (body,) = bodies(solid("open"))
    assert body.solids is None
    assert measured(body)[1] == pytest.approx(solid("open").area, rel=1e-6)


def test_features_do_not_touch_each_other():
    box = solid("house")
    one, other = bodies(box, box)  # in the same place
    assert one.solids is not None
    assert len(one.vertices) == len(other.vertices) == 16
    assert measured(one) == measured(other)


def test_corners_inside_a_flat_face_go_and_labels_part_faces():
    grid = trimesh.creation.box((4, 4, 4)).subdivide().subdivide()
    assert len(bodies(grid)[0].faces) == 6
    labels = np.zeros(len(grid.faces), np.int64)
    labels[grid.triangles_center[:, 0] > 0] = 1
    (parted,) = bodies(grid, labels=labels)
    assert len(parted.faces) == 10
    assert {face.label for face in parted.faces} == {0, 1}
    assert measured(parted)[0] == pytest.approx(64, rel=1e-9)


def test_edges_of_three_faces_are_no_solid():
    wall = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, -1, 0]], float)
    fins = trimesh.Trimesh(wall + 0.0, [[0, 3, 1], [0, 3, 2], [0, 3, 4]], process=False)
    (body,) = bodies(fins)
    assert body.solids is None
    assert len(body.faces) == 3


def test_slivers_and_nothing():
    flat = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [1e-5, 1e-5, 0]], [[0, 1, 2]], process=False)
    tall = trimesh.Trimesh(
        [[0, 0, 0], [2, 0, 0], [1, 0.0002, 0], [1, 1, 0]], [[0, 1, 2], [0, 2, 3], [2, 1, 3]], process=False
    )
    nothing, whole = bodies(flat, tall)
    assert nothing.faces == []
    assert len(whole.faces) == 1
    assert measured(whole)[1] == pytest.approx(1.0, rel=1e-3)


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.integers(8, 60), st.floats(0.5, 40))
def test_random_hulls(seed, n, size):
    rng = np.random.default_rng(seed)
    hull = trimesh.convex.convex_hull(rng.uniform(-size, size, (n, 3)))
    (body,) = bodies(hull)
    volume, area = measured(body)
    # a millimetre off each corner, all over the surface
    assert abs(volume - hull.volume) <= 0.001 * hull.area
    assert area == pytest.approx(hull.area, rel=0.02)
    if body.solids is None:
        pytest.fail("a closed hull is a solid")


@settings(max_examples=25)
@given(st.integers(0, 2**31))
def test_random_buildings_of_flat_faces(seed):
    rng = np.random.default_rng(seed)
    outline = shapely.Point(0, 0)
    while outline.area < 20 or outline.geom_type != "Polygon":
        corners = rng.uniform(-20, 20, (5, 2))
        outline = shapely.union_all(
            [shapely.box(*np.minimum(c, d), *np.maximum(c, d)) for c in corners for d in corners]
        )
    outline = outline.simplify(1e-9)
    block = trimesh.creation.extrude_polygon(outline, 9.5)
    block.apply_transform(trimesh.transformations.rotation_matrix(rng.uniform(0, 6), (0, 0, 1)))
    (body,) = bodies(block)
    assert body.solids is not None
    sides = sum(len(ring.coords) - 1 for ring in (outline.exterior, *outline.interiors))
    assert len(body.faces) == sides + 2
    assert measured(body)[0] == pytest.approx(outline.area * 9.5, rel=1e-3)


def test_back_from_the_frame(odd_city):
    rng = np.random.default_rng(3)
    away = rng.uniform((-20_000, -20_000, -100), (20_000, 20_000, 900), (2000, 3))
    enh = away + np.array([EAST, NORTH, 0.0])
    back = solids.to_city(odd_city.frame, odd_city.frame.to_enu(enh))
    assert np.abs(back - enh).max() < 2e-4
