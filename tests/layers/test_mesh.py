"""Oracle: trimesh's own volumes; the float32 step for precision."""

from dataclasses import replace

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
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


IMAGE = mesh.Texture("image/png", b"not looked at here", "clamp")


def painted(textures=(IMAGE, None)):
    box = trimesh.creation.box((1, 2, 3))
    ids = np.arange(len(box.faces), dtype=np.uint8) % 2
    uv = np.linspace(0, 1, 2 * len(box.vertices), dtype=np.float32).reshape(-1, 2)
    uv[-1] = np.nan
    colours = np.full((2, 4), 200, np.uint8)
    return mesh.Mesh(np.asarray(box.vertices) + 5.0, np.asarray(box.faces), ids, colours, uv, textures)


def test_textures_come_back_by_key_with_their_coordinates():
    given_mesh = painted()
    stored = mesh.encode(given_mesh)
    assert stored.textures == (IMAGE,)
    assert mesh.texture_keys(stored.blob) == (IMAGE.key, None)
    back = mesh.decode(stored.blob, {IMAGE.key: IMAGE}.__getitem__)
    assert back.textures == (IMAGE, None)
    assert np.array_equal(back.uv, given_mesh.uv, equal_nan=True)
    assert np.allclose(back.vertices, given_mesh.vertices, atol=1e-6)
    assert (back.material_ids == given_mesh.material_ids).all()
    assert mesh.decode(stored.blob).textures == ()


def test_a_plain_mesh_keeps_the_first_format_byte_for_byte():
    plain = replace(painted(()), uv=None)
    assert mesh.encode(plain).blob == mesh.encode(painted((None, None))).blob
    assert mesh.encode(plain).blob[:4] == b"CTM1"
    assert mesh.texture_keys(mesh.encode(plain).blob) == ()


def test_another_wrapping_or_another_image_has_another_key():
    others = [IMAGE, replace(IMAGE, wrap="mirror"), replace(IMAGE, data=b"x"), replace(IMAGE, media_type="image/jpeg")]
    assert len({each.key for each in others}) == 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"textures": (IMAGE,)}, "1 textures for 2 materials"),
        ({"uv": None}, "not two texture coordinates"),
        ({"uv": np.zeros((3, 2), np.float32)}, "not two texture coordinates"),
        ({"materials": np.zeros((256, 4), np.uint8)}, "256 materials"),
        ({"material_ids": np.zeros(3, np.uint8)}, "3 material ids"),
        ({"vertices": np.zeros((0, 3)), "uv": np.zeros((0, 2), np.float32)}, "empty"),
    ],
)
def test_what_does_not_fit_together_is_named(changes, words):
    with pytest.raises(InvalidInput, match=words):
        mesh.encode(replace(painted(), **changes))


@settings(max_examples=60)
@given(st.integers(0, 400), st.integers(0, 255))
def test_damaged_blobs_are_refused_or_read_but_never_crash(at, value):
    blob = bytearray(mesh.encode(painted()).blob)
    for damaged in (bytes(blob[:at]), bytes(blob[:at]) + bytes([value]) + bytes(blob[at + 1 :])):
        try:
            mesh.decode(damaged)
        except InvalidInput:
            continue
