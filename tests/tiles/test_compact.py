"""compact against compat: positions, normals, sizes, instances."""

import gzip

import numpy as np
import pyarrow as pa
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from layers.catalogue import load
from layers.errors import InvalidInput
from layers.mesh import Mesh, SharedShape
from layers.mesh import encode as pack
from layers.mesh_copy import COPY, fitted, pattern
from sample_data.maker import bigcity, site
from tests.tiles.gltf_reader import Glb
from tests.tiles.test_content import content, features, meshes_of
from tests.tiles.towns import boxes, layer_type
from tiles.content import Content, encode
from twin.fuse.extrude import extrude


def both(made):
    return [Glb(encode(made, form)) for form in ("compat", "compact")]


def assert_close(made, within_m=0.005, degrees=1.5):
    """Every triangle of compat is in compact, vertex by vertex, with its normal and feature, and no other is."""
    full, small = (each.triangles() for each in both(made))
    assert np.bincount(full.features).tolist() == np.bincount(small.features).tolist()
    for row in np.unique(full.features):
        wanted, found = full.corners[full.features == row], small.corners[small.features == row]
        # a triangle may begin at another corner: each of the three turns is looked for
        turns = np.concatenate([np.roll(found, shift, axis=1) for shift in range(3)]).reshape(-1, 9)
        _, place = cKDTree(turns).query(wanted.reshape(-1, 9))
        off = np.linalg.norm((turns[place] - wanted.reshape(-1, 9)).reshape(-1, 3, 3), axis=2)
        assert off.max() <= within_m
        assert len(set((place % len(found)).tolist())) == len(found)
        if degrees:
            normals = np.concatenate([np.roll(small.normals[small.features == row], s, axis=1) for s in range(3)])[
                place
            ]
            cosines = (normals * full.normals[full.features == row]).sum(axis=2)
            assert cosines.min() > np.cos(np.radians(degrees))
    assert both(made)[0].rows() == both(made)[1].rows()


@pytest.mark.parametrize("side_m", [20, 300, 400, 3000, 40_000])
def test_a_vertex_is_within_5_mm_whatever_the_tile_spans(side_m):
    assert_close(content(meshes_of(boxes(40, side_m) + np.tile([12_345.678, -9876.543, 21.09], 2))))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 20), st.floats(1, 60_000), st.integers(0, 99))
def test_a_vertex_is_within_5_mm_in_any_tile(n, side_m, seed):
    assert_close(content(meshes_of(boxes(n, side_m, seed))))


def test_16_bits_where_they_reach_else_whole_floats():
    kinds = []
    for side_m in (300, 500):
        read = Glb(encode(content(meshes_of(boxes(40, side_m))), "compact"))
        (primitive,) = read.json["meshes"][0]["primitives"]
        kinds.append(read.json["accessors"][primitive["attributes"]["POSITION"]]["componentType"])
        assert read.json["nodes"][0]["scale"][0] <= 0.0055
        assert read.json["extensionsRequired"] == ["EXT_meshopt_compression", "KHR_mesh_quantization"]
    assert kinds == [5123, 5126]


def test_more_features_than_16_bits_number():
    n = 2**16 + 5
    blob = pack(Mesh(np.eye(3), np.array([[0, 1, 2]]))).blob
    read = Glb(encode(content([blob] * n), "compact"))
    assert read.triangles().features.tolist() == list(range(n))


# shapes

LSHAPE = np.array([[0, 0], [4, 0], [4, 1], [1, 1], [1, 3], [0, 3]], float)


def prism(height=2.5):
    """A closed prism over an L, 20 triangles."""
    n = len(LSHAPE)
    vertices = np.concatenate([np.c_[LSHAPE, np.zeros(n)], np.c_[LSHAPE, np.full(n, height)]])
    top = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 5]])
    i, j = np.arange(n), (np.arange(n) + 1) % n
    walls = np.concatenate([np.c_[i, j, j + n], np.c_[i, j + n, i + n]])
    return vertices, np.concatenate([top[:, ::-1], top + n, walls])


def copies(matrices, materials=None, height=2.5):
    """Blobs of copies of the prism by (3, 4) matrices, and the shapes that they name."""
    vertices, triangles = prism(height)
    ids = None if materials is None else np.arange(len(triangles), dtype=np.uint8) % len(materials)
    mesh = Mesh(vertices, triangles, ids, materials, shared=SharedShape("p", vertices))
    shape = pattern(mesh, vertices)
    made = [fitted(shape, vertices @ matrix[:, :3].T + matrix[:, 3]) for matrix in matrices]
    assert all(each is not None and each.blob.startswith(COPY) for each in made)
    return [each.blob for each in made], {shape.stored.key: shape.stored.blob}


def placed(n, seed=0, scale=(1.0, 1.0), skew=0.0, span_m=200.0):
    rng = np.random.default_rng(seed)
    turns = Rotation.random(n, rng=rng).as_matrix()
    scales = rng.uniform(*scale, (n, 3))
    linear = (np.eye(3) + skew * rng.uniform(-1, 1, (n, 3, 3))) @ (turns * scales[:, None, :])
    return np.concatenate([linear, rng.uniform(-span_m, span_m, (n, 3, 1)) + 30_000.0], axis=2)


def test_copies_are_instances_in_compact_and_meshes_in_compat():
    blobs, shapes = copies(placed(30))
    made = content(blobs, shapes=shapes)
    full, small = both(made)
    assert "EXT_mesh_gpu_instancing" not in full.json["extensionsUsed"]
    assert "EXT_mesh_gpu_instancing" in small.json["extensionsRequired"]
    (node,) = small.json["nodes"]
    accessor = small.json["accessors"][node["extensions"]["EXT_mesh_gpu_instancing"]["attributes"]["ROTATION"]]
    assert (accessor["count"], accessor["componentType"]) == (30, 5126)
    assert_close(made)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(2, 30), st.integers(0, 99), st.floats(0.2, 1), st.floats(1, 5), st.sampled_from([0, 1e-5, 1e-3, 0.1])
)
def test_instances_and_what_they_cannot_draw_are_within_5_mm(n, seed, low, high, skew):
    blobs, shapes = copies(placed(n, seed, (low, high), skew))
    plain = [each.blob for each in meshes_of(boxes(3, 100.0) + 30_000)]
    order = np.random.default_rng(seed).permutation(n + 3)
    assert_close(content([(blobs + plain)[i] for i in order], shapes=shapes))


def test_skewed_copies_are_drawn_as_meshes():
    blobs, shapes = copies(placed(30, skew=0.01))
    assert "EXT_mesh_gpu_instancing" not in Glb(encode(content(blobs, shapes=shapes), "compact")).json["extensionsUsed"]


def test_few_copies_of_a_small_shape_are_drawn_as_meshes():
    blobs, shapes = copies(placed(2))
    assert "EXT_mesh_gpu_instancing" not in Glb(encode(content(blobs, shapes=shapes), "compact")).json["extensionsUsed"]


def test_copies_without_colours_of_their_own_take_each_features_style():
    blobs, shapes = copies(placed(40))
    layer = layer_type(by="name", colors={"a": "#ff0000", "b": "#0000ff"})
    names = ["a" if i % 3 else "b" for i in range(40)]
    made = content(blobs, layer, pa.table({"name": names}), shapes)
    for read in both(made):
        drawn = read.triangles()
        colours = [m["pbrMetallicRoughness"]["baseColorFactor"][:3] for m in read.json["materials"]]
        wanted = {"a": [1, 0, 0], "b": [0, 0, 1]}
        assert all(colours[m] == wanted[names[f]] for m, f in zip(drawn.materials, drawn.features, strict=True))


def test_colours_of_a_shape_are_kept(gltf_validator, tiles_validator, tmp_path):
    palette = np.array([[255, 0, 0, 255], [0, 255, 0, 128]], np.uint8)
    blobs, shapes = copies(placed(20), palette)
    plain = [each.blob for each in meshes_of(boxes(3, 100.0) + 30_000)]
    made = content(blobs + plain, shapes=shapes)
    assert_close(made)
    data = encode(made, "compact")
    found = Glb(data).json["materials"]
    assert sorted(m.get("alphaMode", "OPAQUE") for m in found) == ["BLEND", "OPAQUE", "OPAQUE"]
    report = gltf_validator(data)
    assert (report["issues"]["numErrors"], report["issues"]["numWarnings"]) == (0, 0)
    (tmp_path / "tile.glb").write_bytes(data)
    assert tiles_validator(tmp_path / "tile.glb") == []


def test_a_copy_of_a_missing_shape_is_refused():
    blobs, _ = copies(placed(3))
    for form in ("compat", "compact"):
        with pytest.raises(InvalidInput, match=r"shape .* is missing"):
            encode(content(blobs), form)


# sizes


def big_city(n):
    """n LoD1 buildings as the big city has them, with the attributes of the catalogue's type."""
    batch = bigcity._building_batch(np.arange(n), 7, np.random.default_rng(0))
    columns = {name: batch.column(name) for name in batch.schema.names}
    base = columns["基底高程"].to_numpy()
    height = np.nan_to_num(columns["建筑高度"].to_numpy(zero_copy_only=False), nan=9.3)
    shapes = shapely.from_wkb(columns["geometry"].to_numpy(zero_copy_only=False))
    shapes = shapely.transform(shapes, lambda xy: xy - [site.E_MIN, site.N_MIN])
    solids = extrude(shapes, base, base + height)
    vertices = np.split(solids.vertices, np.cumsum(solids.n_vertices)[:-1])
    triangles = np.split(solids.triangles, np.cumsum(solids.n_triangles)[:-1])
    blobs = [pack(Mesh(v, t)).blob for v, t in zip(vertices, triangles, strict=True)]
    said = {
        "cim_category": ["base"] * n,
        "cim_level": [3] * n,
        "source": ["vector/buildings.gpkg"] * n,
        "access": ["open"] * n,
        "building_code": columns["建筑编号"],
        "base_elev_m": columns["基底高程"],
        "height_m": height,
        "floors": columns["地上层数"].cast(pa.int64()),
        "gfa_m2": columns["建筑面积"],
        "use": columns["用途"],
        "year": columns["建成年份"].cast(pa.int64()),
        "key_energy": columns["重点用能"],
    }
    layer = load()["building"]
    table = pa.table({a.name: said.get(a.name, pa.nulls(n, a.arrow_type)) for a in layer.attributes})
    rows = features(n, table, columns["建筑编号"].to_pylist())
    return Content(layer, rows, blobs, {}, {}.__getitem__)


@pytest.mark.parametrize("n", [400, 500])
def test_500_buildings_take_a_quarter_of_the_bytes(n):
    full, small = (encode(big_city(n), form) for form in ("compat", "compact"))
    assert len(small) <= 0.25 * len(full)
    assert len(gzip.compress(small)) < 0.5 * len(gzip.compress(full))


def test_big_city_is_within_5_mm_and_valid(gltf_validator, tiles_validator, tmp_path):
    made = big_city(121)
    assert_close(made)
    for form in ("compat", "compact"):
        (tmp_path / "tile.glb").write_bytes(encode(made, form))
        assert tiles_validator(tmp_path / "tile.glb") == []
        assert gltf_validator((tmp_path / "tile.glb").read_bytes())["issues"]["numWarnings"] == 0
