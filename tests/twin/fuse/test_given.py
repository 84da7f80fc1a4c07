"""Meshes that sources bring, placed: copies stay within 0.1 mm of what each mesh would be on its own."""

from dataclasses import replace

import numpy as np
import trimesh

from layers.frame import CityFrame
from layers.mesh import Mesh, SharedShape, Texture, decode
from layers.mesh_copy import expanded, is_copy, read_copies
from tests.twin.fuse.test_layer import frame
from twin.fuse.given import place_meshes
from twin.fuse.place import placement

EAST, NORTH = 597000.0, 3109000.0
IMAGE = Texture("image/png", b"x")


def model(n, mirrored=False, size=1.0, textures=()):
    """Copies of one box in the source's CRS, the last one mirrored."""
    box = trimesh.creation.box((0.5 * size, 0.4 * size, 0.9 * size))
    shape = np.asarray(box.vertices)
    triangles = np.asarray(box.faces)
    uv = np.zeros((len(shape), 2), np.float32)
    made = []
    for i in range(n):
        turn = trimesh.transformations.euler_matrix(0, 0, i)[:3, :3]
        faces = triangles
        if mirrored and i == n - 1:
            turn, faces = turn @ np.diag([-1, 1, 1]), triangles[:, ::-1]
        made.append(
            Mesh(
                shape @ turn.T + [EAST + 3 * i, NORTH, 20], faces, None, np.full((1, 4), 9, np.uint8), uv, textures,
                SharedShape("box", shape),
            )
        )  # fmt: skip
    return made


def encoded(meshes):
    city: CityFrame = frame()
    placed = place_meshes(list(meshes), placement(city, "EPSG:5737", city.city_crs, "EPSG:5737"))
    return placed.encoded(city, np.ones(len(meshes), bool))


def whole(stored):
    if not is_copy(stored.blob):
        return decode(stored.blob)
    return decode(expanded(stored.shape.blob, read_copies([stored.blob])[1])[0])


def test_copies_are_references_and_stand_where_each_would_stand_alone():
    meshes = model(50, textures=(IMAGE,))
    stored = encoded(meshes)
    alone = encoded([replace(each, shared=None) for each in meshes])
    assert all(is_copy(each.blob) for each in stored)
    assert not any(is_copy(each.blob) for each in alone)
    assert {each.shape.key for each in stored} == {stored[0].shape.key}
    assert stored[0].textures == alone[0].textures == (IMAGE,)
    for copy, own in zip(stored, alone, strict=True):
        assert np.abs(whole(copy).vertices - decode(own.blob).vertices).max() < 1e-4
        assert np.abs(np.array(copy.bounds) - own.bounds).max() < 1e-4


def test_a_mirrored_copy_is_a_mesh_of_its_own_that_faces_outwards():
    stored = encoded(model(3, mirrored=True))
    assert [is_copy(each.blob) for each in stored] == [True, True, False]
    assert all(whole(each).volume_m3() > 0.17 for each in stored)


def test_a_shape_so_large_that_the_projection_bends_it_is_stored_as_it_is():
    stored = encoded(model(2, size=20_000.0))
    assert not any(is_copy(each.blob) for each in stored)


def test_a_shape_whose_vertices_do_not_fit_the_mesh_is_not_believed():
    [mesh] = model(1)
    for vertices in (mesh.shared.vertices[:-1], mesh.shared.vertices[::-1]):
        stored = encoded([replace(mesh, shared=SharedShape("box", vertices))])
        assert (
            np.abs(whole(stored[0]).vertices - decode(encoded([replace(mesh, shared=None)])[0].blob).vertices).max()
            < 1e-4
        )
