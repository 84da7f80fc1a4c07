"""Copies of shapes: against matrices that were chosen beforehand, and trimesh's own transformations."""

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from layers import mesh_copy
from layers.errors import InvalidInput
from layers.mesh import Mesh, decode


def chair():
    seat = trimesh.creation.box((0.45, 0.45, 0.05))
    back = trimesh.creation.box((0.45, 0.05, 0.5), trimesh.transformations.translation_matrix((0, 0.2, 0.25)))
    both = trimesh.util.concatenate([seat, back])
    return Mesh(np.asarray(both.vertices), np.asarray(both.faces))


@settings(max_examples=50)
@given(st.floats(-3, 3), st.floats(-2e4, 2e4), st.floats(-2e4, 2e4), st.floats(0.2, 5))
def test_a_copy_stands_where_it_was_put_within_a_tenth_of_a_millimetre(turn, x, y, scale):
    shape = chair()
    matrix = trimesh.transformations.euler_matrix(0, 0, turn)
    matrix[:3] *= scale
    matrix[:3, 3] = x, y, 12.5
    wanted = trimesh.transform_points(shape.vertices, matrix)
    copy = mesh_copy.fitted(mesh_copy.pattern(shape, shape.vertices), wanted)
    assert copy is not None
    assert len(copy.blob) == mesh_copy.COPY_BYTES
    [key], matrices = mesh_copy.read_copies([copy.blob])
    assert key == copy.shape.key
    assert np.allclose(matrices[0], matrix[:3], atol=2e-4)
    whole = decode(mesh_copy.expanded(copy.shape.blob, matrices)[0])
    assert np.abs(whole.vertices - wanted).max() < 1e-4
    assert (whole.triangles == shape.triangles).all()
    assert whole.volume_m3() == pytest.approx(shape.volume_m3() * scale**3, rel=1e-3)
    assert np.abs(np.array(copy.bounds) - [*wanted.min(axis=0), *wanted.max(axis=0)]).max() < 1e-4


def test_mirrored_bent_and_flat_copies_are_none():
    shape = chair()
    pattern = mesh_copy.pattern(shape, shape.vertices)
    assert mesh_copy.fitted(pattern, shape.vertices * [-1, 1, 1]) is None
    bent = shape.vertices.copy()
    bent[3, 2] += 0.001
    assert mesh_copy.fitted(pattern, bent) is None
    assert mesh_copy.fitted(pattern, shape.vertices[:-1]) is None
    assert mesh_copy.fitted(pattern, shape.vertices * np.nan) is None
    sheet = Mesh(np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], float), np.array([[0, 1, 2], [0, 2, 3]]))
    assert mesh_copy.fitted(mesh_copy.pattern(sheet, sheet.vertices), sheet.vertices + 5) is None


def test_what_is_no_copy_is_refused():
    with pytest.raises(InvalidInput):
        mesh_copy.read_copies([b"CTMR"])
