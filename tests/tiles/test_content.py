"""Contents of tiles in both forms, read by trimesh, the validators, and a reader written from the specifications."""

import io

import numpy as np
import pyarrow as pa
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from layers.errors import InvalidInput
from layers.mesh import Mesh, encode
from tests.tiles.gltf_reader import Glb
from tests.tiles.towns import BOX_TRIANGLES, CORNERS, box, boxes, layer_type
from tiles.content import FORMS, Content
from tiles.content import encode as content_glb
from twin.store.interface import Features

GREY = (136, 136, 136, 255)


def features(n, table=None, ids=None):
    none = [None] * n
    table = pa.table({"name": pa.array(none, pa.string())}) if table is None else table
    ids = [f"B-{i}" for i in range(n)] if ids is None else ids
    return Features(np.arange(n), ids, np.full(n, None), table, none, np.ones(n, np.int64), [""] * n, none)


def content(meshes, layer=None, table=None, shapes=None, textures=()):
    kept = {each.key: each for each in textures}
    blobs = [mesh if isinstance(mesh, bytes) else mesh.blob for mesh in meshes]
    return Content(layer or layer_type(), features(len(blobs), table), blobs, shapes or {}, kept.__getitem__)


def tile(meshes, form="compat", **more):
    return Glb(content_glb(content(meshes, **more), form))


def meshes_of(bounds):
    return [box(row[:3], row[3:]) for row in bounds]


def areas(corners):
    return np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2


@pytest.mark.parametrize("form", FORMS)
def test_every_box_is_where_it_was_and_faces_outwards(form):
    bounds = boxes(60, 300.0) + np.tile([40_000.123, -30_000.456, 12.789], 2)
    drawn = tile(meshes_of(bounds), form).triangles()
    assert len(drawn.features) == 60 * 12
    for row in range(60):
        own = drawn.corners[drawn.features == row]
        found = [*own.reshape(-1, 3).min(axis=0), *own.reshape(-1, 3).max(axis=0)]
        np.testing.assert_allclose(found, bounds[row], atol=1e-4 if form == "compat" else 0.0049)
    across = np.cross(drawn.corners[:, 1] - drawn.corners[:, 0], drawn.corners[:, 2] - drawn.corners[:, 0])
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    middles = (bounds[:, :3] + bounds[:, 3:])[drawn.features] / 2
    assert ((drawn.corners.mean(axis=1) - middles) * across).sum(axis=1).min() > 0
    assert (drawn.normals * across[:, None]).sum(axis=2).min() > np.cos(np.radians(1))


def test_volume_and_triangles_survive_as_trimesh_sees_them():
    bounds = boxes(200, 500.0)
    data = content_glb(content(meshes_of(bounds)), "compat")
    (mesh,) = trimesh.load(io.BytesIO(data), file_type="glb").dump()
    assert len(mesh.faces) == 200 * 12
    assert mesh.volume == pytest.approx(np.prod(bounds[:, 3:] - bounds[:, :3], axis=1).sum(), rel=1e-6)
    # glTF is y up: x is east, y is up, z is south
    low, high = bounds[:, :3].min(axis=0), bounds[:, 3:].max(axis=0)
    np.testing.assert_allclose(mesh.bounds, [[low[0], low[2], -high[1]], [high[0], high[2], -low[1]]], atol=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_a_box_has_24_vertices(form):
    document = tile([box([10, 20, 30], [11, 22, 33])], form).json
    (primitive,) = document["meshes"][0]["primitives"]
    assert document["accessors"][primitive["attributes"]["POSITION"]]["count"] == 24


@pytest.mark.parametrize("form", FORMS)
def test_equal_contents_give_equal_bytes(form):
    made = [content_glb(content(meshes_of(boxes(50, 200.0))), form) for _ in range(2)]
    assert made[0] == made[1]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n", [0, 1, 3, 40])
def test_the_validators_have_nothing_to_say(gltf_validator, form, n):
    data = content_glb(content(meshes_of(boxes(n, 100.0))), form)
    report = gltf_validator(data)
    assert (report["issues"]["numErrors"], report["issues"]["numWarnings"]) == (0, 0)
    assert report["info"]["totalTriangleCount"] == 12 * n


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_cesiums_validator_has_nothing_to_say(tiles_validator, tmp_path, form, n):
    table = pa.table(
        {
            "name": [f"楼 {i}" for i in range(n)],
            "height_m": pa.array([None if i % 3 else 1.5 * i for i in range(n)], pa.float64()),
            "legal": pa.array([i % 2 == 0 for i in range(n)], pa.bool_()),
        }
    )
    path = tmp_path / "tile.glb"
    path.write_bytes(content_glb(content(meshes_of(boxes(n, 100.0)), table=table), form))
    assert tiles_validator(path) == []


def test_cesiums_validator_sees_what_is_broken(tiles_validator, tmp_path):
    data = content_glb(content(meshes_of(boxes(2, 100.0))), "compat")
    path = tmp_path / "tile.glb"
    path.write_bytes(data.replace(b'"featureCount":2', b'"featureCount":1'))
    assert [issue["severity"] for issue in tiles_validator(path)] == ["ERROR"]


@pytest.mark.parametrize("form", FORMS)
def test_more_than_65534_vertices_get_32_bit_indices(gltf_validator, form):
    data = content_glb(content(meshes_of(boxes(3000, 3000.0))), form)
    read = Glb(data)
    assert read.json["accessors"][read.json["meshes"][0]["primitives"][0]["indices"]]["componentType"] == 5125
    assert len(read.triangles().features) == 36_000
    assert gltf_validator(data)["issues"]["numErrors"] == 0


@pytest.mark.parametrize("form", FORMS)
def test_each_colour_is_one_primitive_in_linear_light(form):
    meshes = [
        box([0, 0, 0], [1, 1, 1], (255, 0, 0, 255)),
        box([2, 0, 0], [3, 1, 1], (0, 0, 255, 128)),
        box([4, 0, 0], [5, 1, 1]),
        box([6, 0, 0], [7, 1, 1], (255, 0, 0, 255)),
    ]
    read = tile(meshes, form, layer=layer_type(color="#bcbcbc"))
    found = {tuple(m["pbrMetallicRoughness"]["baseColorFactor"]): m.get("alphaMode") for m in read.json["materials"]}
    # 188 of 255 in sRGB is half the light (IEC 61966-2-1)
    assert {(1.0, 0.0, 0.0, 1.0): None, (0.0, 0.0, 1.0, 0.501961): "BLEND"}.items() <= found.items()
    (grey,) = [key for key in found if key[0] == key[1] == key[2]]
    assert grey[0] == pytest.approx(0.5, abs=0.005)
    drawn = read.triangles()
    colours = [tuple(m["pbrMetallicRoughness"]["baseColorFactor"]) for m in read.json["materials"]]
    assert [colours[drawn.materials[drawn.features == row][0]] for row in range(4)] == [
        (1, 0, 0, 1), (0, 0, 1, 0.501961), grey, (1, 0, 0, 1),
    ]  # fmt: skip
    assert sum(len(mesh["primitives"]) for mesh in read.json["meshes"]) == 3


@pytest.mark.parametrize("form", FORMS)
def test_more_colours_than_primitives_are_joined_and_nothing_is_lost(form):
    rng = np.random.default_rng(0)
    meshes = [box([3 * i, 0, 0], [3 * i + 1, 1, 1], (*rng.integers(0, 256, 3), 255)) for i in range(500)]
    read = tile(meshes, form)
    assert 8 <= len(read.json["materials"]) <= 64
    assert np.bincount(read.triangles().features).tolist() == [12] * 500


@pytest.mark.parametrize("form", FORMS)
def test_triangles_without_area_are_left_out_and_their_feature_stays_in_the_table(form, gltf_validator):
    flat = encode(Mesh(np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]]), np.array([[0, 1, 2]])))
    data = content_glb(content([flat]), form)
    assert "meshes" not in Glb(data).json
    assert Glb(data).rows()["id"] == ["B-0"]
    assert gltf_validator(data)["issues"]["numErrors"] == 0


@pytest.mark.parametrize("form", FORMS)
def test_a_material_that_does_not_exist_falls_back_to_the_style(form):
    broken = encode(Mesh(CORNERS, BOX_TRIANGLES, np.full(12, 7, np.uint8), np.array([[255, 0, 0, 255]], np.uint8)))
    read = tile([broken], form, layer=layer_type(color="#00ff00"))
    assert [m["pbrMetallicRoughness"]["baseColorFactor"] for m in read.json["materials"]] == [[0, 1, 0, 1]]


def test_colours_follow_the_style_by_attribute():
    layer = layer_type(by="name", colors={"a": "#ff0000"}, color="#0000ff")
    read = tile(meshes_of(boxes(3, 50.0)), layer=layer, table=pa.table({"name": ["a", "b", "a"]}))
    drawn = read.triangles()
    colours = [m["pbrMetallicRoughness"]["baseColorFactor"][:3] for m in read.json["materials"]]
    assert [colours[drawn.materials[drawn.features == row][0]] for row in range(3)] == [[1, 0, 0], [0, 0, 1], [1, 0, 0]]


@pytest.mark.parametrize(
    ("blob", "said"),
    [
        (b"", "cut off"),
        (b"CTM1" + bytes(36)[:-4], "cut off"),
        (b"CTM9" + bytes(40), "does not begin with"),
        (encode(Mesh(CORNERS, BOX_TRIANGLES)).blob[:-8], "cut off"),
    ],
)
def test_damaged_blobs_are_refused_by_name(blob, said):
    with pytest.raises(InvalidInput, match=said):
        tile([box([0, 0, 0], [1, 1, 1]), blob])


def test_a_vertex_that_does_not_exist_is_refused():
    blob = bytearray(encode(Mesh(CORNERS, BOX_TRIANGLES)).blob)
    blob[40 + 96 : 44 + 96] = (8).to_bytes(4, "little")
    with pytest.raises(InvalidInput, match="vertex that does not exist"):
        tile([bytes(blob)])


def test_meshes_and_rows_must_match_and_the_form_must_be_known():
    one = content(meshes_of(boxes(1, 10.0)))
    with pytest.raises(InvalidInput, match="2 meshes do not fit 1 rows"):
        content_glb(Content(one.layer, one.features, one.blobs * 2, {}, one.texture), "compat")
    with pytest.raises(InvalidInput, match="no form 'tiny'"):
        content_glb(one, "tiny")


coordinate = st.floats(-200, 200, width=32)
soups = st.lists(
    st.tuples(
        st.lists(st.tuples(coordinate, coordinate, coordinate), min_size=3, max_size=8),
        st.lists(st.tuples(*[st.integers(0, 7)] * 3), min_size=1, max_size=12),
        st.lists(st.integers(0, 3), min_size=12, max_size=12),
    ),
    min_size=1,
    max_size=6,
)
PALETTE = np.array([[255, 0, 0, 255], [0, 255, 0, 255], [0, 0, 255, 99]], np.uint8)


def stored(soup):
    vertices, triangles, ids = soup
    triangles = np.array(triangles) % len(vertices)
    return encode(Mesh(np.array(vertices, float), triangles, np.array(ids[: len(triangles)], np.uint8), PALETTE))


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=80, deadline=None)
@given(soups)
def test_every_triangle_with_an_area_is_drawn_once_where_it_was(form, parts):
    read = tile([stored(part) for part in parts], form)
    drawn = read.triangles()
    assert read.rows()["id"] == [f"B-{i}" for i in range(len(parts))]
    for row, (vertices, triangles, _) in enumerate(parts):
        corners = np.array(vertices, float)[np.array(triangles) % len(vertices)]
        sides = np.linalg.norm(corners - np.roll(corners, -1, axis=1), axis=2)
        area = areas(corners)
        clear, none = area > 1e-3 * sides.max(axis=1), area == 0
        own = drawn.corners[drawn.features == row]
        assert clear.sum() <= len(own) <= (~none).sum()
        for wanted in corners[clear]:
            rolled = [np.roll(wanted, shift, axis=0) for shift in range(3)]
            off = min(np.linalg.norm(own - each, axis=2).max(axis=1).min() for each in rolled)
            assert off < (1e-4 if form == "compat" else 0.005)
