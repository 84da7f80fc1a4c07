"""glb tiles, read by trimesh and the Khronos validator, and by a reader of property tables written from the spec."""

import io
import itertools
import json
import struct

import numpy as np
import pyarrow as pa
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from layers.errors import InvalidInput
from layers.mesh import Mesh, encode
from tests.tiles.towns import BOX_TRIANGLES, CORNERS, box, boxes
from tiles import glb, metadata

GREY = (136, 136, 136, 255)


def split(data):
    """JSON document and BIN chunk, by the container's own lengths (glTF 2.0, 4.4)."""
    magic, version, length = struct.unpack_from("<4sII", data)
    assert (magic, version, length) == (b"glTF", 2, len(data))
    n_json, kind = struct.unpack_from("<I4s", data, 12)
    assert kind == b"JSON"
    assert n_json % 4 == 0
    document = json.loads(data[20 : 20 + n_json])
    if 20 + n_json == len(data):
        return document, b""
    n_bin, kind = struct.unpack_from("<I4s", data, 20 + n_json)
    assert kind == b"BIN\0"
    return document, data[28 + n_json : 28 + n_json + n_bin]


def view(document, body, index):
    entry = document["bufferViews"][index]
    return body[entry["byteOffset"] : entry["byteOffset"] + entry["byteLength"]]


def accessor(document, body, index):
    entry = document["accessors"][index]
    dtype = {5126: "<f4", 5123: "<u2", 5125: "<u4"}[entry["componentType"]]
    width = {"SCALAR": 1, "VEC3": 3}[entry["type"]]
    return np.frombuffer(view(document, body, entry["bufferView"]), dtype).reshape(entry["count"], width)


def property_rows(document, body):
    """Columns of the property table as Python values, by the 3D Metadata specification."""
    extension = document["extensions"]["EXT_structural_metadata"]
    (table,) = extension["propertyTables"]
    properties = extension["schema"]["classes"][table["class"]]["properties"]
    columns = {}
    for key, entry in table["properties"].items():
        kind, data = properties[key], view(document, body, entry["values"])
        if kind["type"] == "STRING":
            offsets = np.frombuffer(view(document, body, entry["stringOffsets"]), "<u4")
            values = [data[a:b].decode() for a, b in itertools.pairwise(offsets)]
        elif kind["type"] == "BOOLEAN":
            values = (
                np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[: table["count"]].astype(bool).tolist()
            )
        else:
            values = np.frombuffer(
                data, {"FLOAT64": "<f8", "INT32": "<i4", "INT64": "<i8", "UINT8": "u1"}[kind["componentType"]]
            ).tolist()
        assert len(values) == table["count"]
        columns[kind["name"]] = [None if "noData" in kind and value == kind["noData"] else value for value in values]
    return columns


def tile(bounds, table=None, colours=None, meshes=None):
    meshes = [box(row[:3], row[3:]) for row in bounds] if meshes is None else meshes
    table = pa.table({"id": [f"B-{i}" for i in range(len(meshes))]}) if table is None else table
    colours = np.tile(np.array(GREY, np.uint8), (len(meshes), 1)) if colours is None else colours
    return glb.encode(meshes, metadata.property_table("building", table), colours)


def test_volume_and_triangles_survive_as_trimesh_sees_them():
    bounds = boxes(200, 500.0)
    scene = trimesh.load(io.BytesIO(tile(bounds)), file_type="glb")
    (mesh,) = scene.dump()
    assert len(mesh.faces) == 200 * 12
    assert mesh.volume == pytest.approx(np.prod(bounds[:, 3:] - bounds[:, :3], axis=1).sum(), rel=1e-6)
    # glTF is y up: x is east, y is up, z is south
    low, high = bounds[:, :3].min(axis=0), bounds[:, 3:].max(axis=0)
    np.testing.assert_allclose(mesh.bounds, [[low[0], low[2], -high[1]], [high[0], high[2], -low[1]]], atol=1e-4)


def test_a_box_is_stored_with_24_vertices_and_true_flat_normals():
    document, body = split(tile(np.array([[10.0, 20, 30, 11, 22, 33]])))
    (primitive,) = document["meshes"][0]["primitives"]
    positions = accessor(document, body, primitive["attributes"]["POSITION"])
    normals = accessor(document, body, primitive["attributes"]["NORMAL"])
    corners = positions[accessor(document, body, primitive["indices"]).reshape(-1, 3)]
    assert positions.shape == (24, 3)
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    index = accessor(document, body, primitive["indices"]).reshape(-1, 3)
    for corner in range(3):
        np.testing.assert_allclose(normals[index[:, corner]], across, atol=1e-6)
    centroid = positions.mean(axis=0)
    assert ((corners.mean(axis=1) - centroid) * across).sum(axis=1).min() > 0  # outwards


def test_feature_ids_lead_from_a_vertex_to_its_row():
    bounds = boxes(30, 400.0)
    document, body = split(tile(bounds))
    (primitive,) = document["meshes"][0]["primitives"]
    shift = document["nodes"][0]["translation"]
    positions = accessor(document, body, primitive["attributes"]["POSITION"]) + shift
    features = accessor(document, body, primitive["attributes"]["_FEATURE_ID_0"])[:, 0]
    (ids,) = primitive["extensions"]["EXT_mesh_features"]["featureIds"]
    assert ids == {"featureCount": 30, "attribute": 0, "propertyTable": 0}
    enu = np.column_stack([positions[:, 0], -positions[:, 2], positions[:, 1]])
    for row in range(30):
        own = enu[features == row]
        np.testing.assert_allclose([*own.min(axis=0), *own.max(axis=0)], bounds[row], atol=1e-4)


def test_far_from_the_origin_a_vertex_is_off_by_less_than_a_tenth_of_a_millimetre():
    bounds = boxes(50, 500.0) + np.tile([40_000.123, -30_000.456, 12.789], 2)
    document, body = split(tile(bounds))
    positions = accessor(document, body, document["meshes"][0]["primitives"][0]["attributes"]["POSITION"])
    enu = (positions.astype(float) + document["nodes"][0]["translation"])[:, [0, 2, 1]] * [1, -1, 1]
    expected = np.concatenate([b[:3] + CORNERS * (b[3:] - b[:3]) for b in bounds])
    nearest = np.array([np.abs(expected - vertex).max(axis=1).min() for vertex in enu])
    assert nearest.max() < 1e-4


def test_each_colour_is_one_primitive_in_linear_light():
    meshes = [
        box([0, 0, 0], [1, 1, 1], (255, 0, 0, 255)),
        box([2, 0, 0], [3, 1, 1], (0, 0, 255, 128)),
        box([4, 0, 0], [5, 1, 1]),
    ]
    colours = np.array([(9, 9, 9, 255)] * 2 + [(188, 188, 188, 255)], np.uint8)
    document, _ = split(tile(None, meshes=meshes, colours=colours))
    found = {tuple(m["pbrMetallicRoughness"]["baseColorFactor"]): m.get("alphaMode") for m in document["materials"]}
    # 188 of 255 in sRGB is half the light (IEC 61966-2-1)
    ids = [p["extensions"]["EXT_mesh_features"]["featureIds"][0] for p in document["meshes"][0]["primitives"]]
    assert [each["featureCount"] for each in ids] == [1, 1, 1]
    assert {(1.0, 0.0, 0.0, 1.0): None, (0.0, 0.0, 1.0, 0.501961): "BLEND"}.items() <= found.items()
    (grey,) = [key for key in found if key[0] == key[1] == key[2]]
    assert grey[0] == pytest.approx(0.5, abs=0.005)


def test_more_colours_than_primitives_are_joined_and_nothing_is_lost():
    rng = np.random.default_rng(0)
    meshes = [box([3 * i, 0, 0], [3 * i + 1, 1, 1], (*rng.integers(0, 256, 3), 255)) for i in range(500)]
    data = tile(None, meshes=meshes)
    document, _ = split(data)
    assert 8 <= len(document["materials"]) <= glb.MAX_COLOURS
    assert sum(len(m.faces) for m in trimesh.load(io.BytesIO(data), file_type="glb").dump()) == 6000


def test_triangles_without_area_are_left_out_and_their_feature_stays_in_the_table():
    flat = encode(Mesh(np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]]), np.array([[0, 1, 2]])))
    data = tile(None, meshes=[flat])
    document, body = split(data)
    assert "meshes" not in document
    assert property_rows(document, body) == {"id": ["B-0"]}


def test_a_material_that_does_not_exist_falls_back_to_the_style():
    broken = encode(Mesh(CORNERS, BOX_TRIANGLES, np.full(12, 7, np.uint8), np.array([[255, 0, 0, 255]], np.uint8)))
    document, _ = split(tile(None, meshes=[broken], colours=np.array([[0, 255, 0, 255]], np.uint8)))
    assert [m["pbrMetallicRoughness"]["baseColorFactor"] for m in document["materials"]] == [[0, 1, 0, 1]]


def test_more_than_65534_vertices_get_32_bit_indices(gltf_validator):
    data = tile(boxes(3000, 3000.0))
    document, _ = split(data)
    assert document["accessors"][document["meshes"][0]["primitives"][0]["indices"]]["componentType"] == 5125
    assert gltf_validator(data)["issues"]["numErrors"] == 0


@pytest.mark.parametrize("n", [0, 1, 40])
def test_the_khronos_validator_has_nothing_to_say(gltf_validator, n):
    table = pa.table(
        {
            "id": [f"楼-{i}" for i in range(n)],
            "高度": pa.array([None if i % 3 else 1.5 * i for i in range(n)], pa.float64()),
            "legal": pa.array([i % 2 == 0 for i in range(n)], pa.bool_()),
        }
    )
    report = gltf_validator(tile(boxes(n, 100.0), table))
    assert (report["issues"]["numErrors"], report["issues"]["numWarnings"]) == (0, 0)
    assert report["info"]["totalTriangleCount"] == 12 * n


def test_property_views_start_at_multiples_of_eight_from_the_start_of_the_file():
    data = tile(boxes(7, 100.0), pa.table({"id": list("abcdefg"), "n": pa.array(range(7), pa.int64())}))
    document, body = split(data)
    start = len(data) - len(body)
    assert {(start + entry["byteOffset"]) % 8 for entry in document["bufferViews"]} == {0}


def test_meshes_and_rows_must_match():
    with pytest.raises(InvalidInput, match="2 meshes do not fit 1 rows"):
        glb.encode(
            [box([0, 0, 0], [1, 1, 1])] * 2,
            metadata.property_table("a", pa.table({"id": ["x"]})),
            np.zeros((2, 4), np.uint8),
        )


texts = st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8))
rows = st.lists(
    st.tuples(
        texts,
        st.one_of(st.none(), st.floats(-1e308, 1e308)),
        st.one_of(st.none(), st.integers(-(2**53) + 2, 2**60)),
        st.one_of(st.none(), st.integers(-(2**31) + 1, 2**31 - 1)),
        st.one_of(st.none(), st.booleans()),
        st.booleans(),
    ),
    min_size=1,
    max_size=20,
)


@settings(max_examples=60, deadline=None)
@given(rows)
def test_typed_columns_come_back_value_by_value(records):
    kinds = [pa.string(), pa.float64(), pa.int64(), pa.int64(), pa.bool_(), pa.bool_()]
    names = ["name", "高度", "long", "short", "maybe", "legal"]
    columns = dict(zip(names, zip(*records, strict=True), strict=True))
    table = pa.table({n: pa.array(columns[n], kind) for n, kind in zip(names, kinds, strict=True)})
    ids = pa.array([f"f{i}" for i in range(len(records))])
    data = tile(boxes(len(records), 50.0), table.add_column(0, "id", ids))
    read = property_rows(*split(data))
    for name in names:
        expected = list(columns[name])
        if all(value is None for value in expected):
            assert name not in read  # a column without a value is left out
        else:
            assert read[name] == expected


def test_types_are_the_columns_own_and_dates_are_iso():
    import datetime as dt

    table = pa.table(
        {
            "id": ["a"],
            "day": pa.array([dt.date(2024, 2, 29)]),
            "at": pa.array([dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC)]),
            "n": pa.array([3], pa.int32()),
            "x": pa.array([2.5], pa.float32()),
        }
    )
    document, body = split(tile(boxes(1, 10.0), table))
    properties = document["extensions"]["EXT_structural_metadata"]["schema"]["classes"]["building"]["properties"]
    assert [properties[k].get("componentType", properties[k]["type"]) for k in ("day", "at", "n", "x")] == [
        "STRING", "STRING", "INT32", "FLOAT64",
    ]  # fmt: skip
    read = property_rows(document, body)
    assert read["day"] == ["2024-02-29"]
    assert dt.datetime.fromisoformat(read["at"][0]) == dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC)
    assert properties["id"]["semantic"] == "ID"
