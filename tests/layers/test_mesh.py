"""Oracle: trimesh's own volumes; the float32 step for precision."""

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st

from layers import mesh
from layers.errors import InvalidInput


@given(st.floats(-5000, 5000), st.floats(-5000, 5000), st.floats(0.5, 200))
def test_a_blob_gives_the_mesh_back_within_a_tenth_of_a_millimetre(x, y, size):
    ball = trimesh.creation.icosphere(subdivisions=1, radius=size)
    vertices = np.asarray(ball.vertices) + np.array([x, y, 30.0])
    ids = (np.arange(len(ball.faces)) % 3).astype(np.uint8)
    palette = np.arange(12, dtype=np.uint8).reshape(3, 4)
    stored = mesh.encode(mesh.Mesh(vertices, np.asarray(ball.faces), ids, palette))
    back = mesh.decode(stored.blob)
    assert np.abs(back.vertices - vertices).max() < 1e-4
    assert (back.triangles == ball.faces).all()
    assert (back.material_ids == ids).all()
    assert (back.materials == palette).all()
    assert np.allclose(stored.bounds, [*vertices.min(axis=0), *vertices.max(axis=0)])
    assert back.volume_m3() == pytest.approx(ball.volume, rel=1e-4)


def test_a_mesh_without_materials_stays_without():
    box = trimesh.creation.box((1, 2, 3))
    back = mesh.decode(mesh.encode(mesh.Mesh(np.asarray(box.vertices), np.asarray(box.faces))).blob)
    assert len(back.materials) == 0
    assert back.volume_m3() == pytest.approx(6)


@pytest.mark.parametrize(
    ("vertices", "triangles"),
    [
        (np.zeros((0, 3)), np.zeros((0, 3), int)),
        (np.full((3, 3), np.nan), np.array([[0, 1, 2]])),
        (np.eye(3), np.array([[0, 1, 3]])),
    ],
)
def test_a_broken_mesh_is_refused(vertices, triangles):
    with pytest.raises(InvalidInput):
        mesh.encode(mesh.Mesh(vertices, triangles))


@pytest.mark.parametrize("blob", [b"", b"CTM1", b"XXXX" + b"\0" * 60])
def test_what_is_no_blob_is_refused(blob):
    with pytest.raises(InvalidInput):
        mesh.decode(blob)
