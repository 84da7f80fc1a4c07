"""A reader of glb tiles written from the specifications, for tests: it shares no code with the writer.

glTF 2.0 3.6 (accessors) and 3.8 (transforms), KHR_mesh_quantization, EXT_meshopt_compression (decoded by
meshoptimizer), EXT_mesh_gpu_instancing, EXT_mesh_features, EXT_instance_features, 3D Metadata binary tables.
"""

import itertools
import json
import struct
from dataclasses import dataclass

import meshopt
import numpy as np

COMPONENTS = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
NORMALIZED = {5120: 127, 5121: 255, 5122: 32767, 5123: 65535}


@dataclass
class Triangles:
    """All triangles of a tile in the ENU frame: (t, 3, 3) corners and normals, (t,) feature, (t,) material."""

    corners: np.ndarray
    normals: np.ndarray
    features: np.ndarray
    materials: np.ndarray
    uv: np.ndarray


class Glb:
    def __init__(self, data):
        magic, version, length = struct.unpack_from("<4sII", data)
        assert (magic, version, length) == (b"glTF", 2, len(data))
        n_json, kind = struct.unpack_from("<I4s", data, 12)
        assert kind == b"JSON"
        assert n_json % 4 == 0
        self.json = json.loads(data[20 : 20 + n_json])
        self.body, self.start = b"", 28 + n_json
        if 20 + n_json < len(data):
            n_bin, kind = struct.unpack_from("<I4s", data, 20 + n_json)
            assert kind == b"BIN\0"
            self.body = data[28 + n_json : 28 + n_json + n_bin]
            assert self.json["buffers"][0]["byteLength"] == n_bin

    def view(self, index):
        entry = self.json["bufferViews"][index]
        packed = entry.get("extensions", {}).get("EXT_meshopt_compression")
        if packed is None:
            assert entry["buffer"] == 0
            return self.body[entry.get("byteOffset", 0) :][: entry["byteLength"]]
        fallback = self.json["buffers"][entry["buffer"]]
        assert fallback["extensions"]["EXT_meshopt_compression"]["fallback"]
        assert "uri" not in fallback
        assert entry.get("byteOffset", 0) + entry["byteLength"] <= fallback["byteLength"]
        assert packed["buffer"] == 0
        assert packed["count"] * packed["byteStride"] == entry["byteLength"]
        assert entry.get("byteStride", packed["byteStride"]) == packed["byteStride"]
        data = self.body[packed.get("byteOffset", 0) :][: packed["byteLength"]]
        made = meshopt.decode_gltf_buffer(
            data, packed["count"], packed["byteStride"], packed["mode"], packed.get("filter", "NONE")
        )
        return made.tobytes()

    def accessor(self, index):
        entry = self.json["accessors"][index]
        dtype, width = np.dtype(COMPONENTS[entry["componentType"]]), WIDTHS[entry["type"]]
        data = self.view(entry["bufferView"])
        stride = self.json["bufferViews"][entry["bufferView"]].get("byteStride", dtype.itemsize * width)
        offset, count = entry.get("byteOffset", 0), entry["count"]
        assert offset % dtype.itemsize == 0
        assert offset + stride * (count - 1) + dtype.itemsize * width <= len(data)
        made = np.ndarray((count, width), dtype, data, offset, (stride, dtype.itemsize))
        if "min" in entry:
            np.testing.assert_array_equal(made.min(axis=0), entry["min"])
            np.testing.assert_array_equal(made.max(axis=0), entry["max"])
        if entry.get("normalized"):
            return np.maximum(made.astype(float) / NORMALIZED[entry["componentType"]], -1)
        return made.astype(np.int64) if entry["type"] == "SCALAR" else made.astype(float)

    def triangles(self):
        """What a viewer draws, node by node and instance by instance."""
        parts = [part for node in self._drawn() for part in self._of_node(node)]
        if not parts:
            return Triangles(np.zeros((0, 3, 3)), np.zeros((0, 3, 3)), *(np.zeros(0, int) for _ in "fm"), np.zeros(0))
        return Triangles(*(np.concatenate(each) for each in zip(*parts, strict=True)))

    def _drawn(self):
        for number in self.json["scenes"][self.json["scene"]].get("nodes", []):
            node = self.json["nodes"][number]
            assert "children" not in node
            yield node

    def _of_node(self, node):
        matrix = _matrix(
            node.get("translation", [0, 0, 0]), node.get("rotation", [0, 0, 0, 1]), node.get("scale", [1] * 3)
        )
        copies, ids = [np.eye(4)], [None]
        extensions = node.get("extensions", {})
        if "EXT_mesh_gpu_instancing" in extensions:
            named = extensions["EXT_mesh_gpu_instancing"]["attributes"]
            turn, place, scale = (self.accessor(named[key]) for key in ("ROTATION", "TRANSLATION", "SCALE"))
            copies = [_matrix(*each) for each in zip(place, turn, scale, strict=True)]
            (said,) = extensions["EXT_instance_features"]["featureIds"]
            ids = self.accessor(named[f"_FEATURE_ID_{said['attribute']}"])[:, 0]
            assert said["featureCount"] == len(set(ids.tolist()))
            assert said["propertyTable"] == 0
        for primitive in self.json["meshes"][node["mesh"]]["primitives"]:
            for copy, feature in zip(copies, ids, strict=True):
                yield self._of_primitive(primitive, matrix @ copy, feature)

    def _of_primitive(self, primitive, matrix, feature):
        assert primitive.get("mode", 4) == 4
        named = primitive["attributes"]
        index = self.accessor(primitive["indices"]).reshape(-1, 3)
        positions = self.accessor(named["POSITION"]) @ matrix[:3, :3].T + matrix[:3, 3]
        normals = self.accessor(named["NORMAL"]) @ np.linalg.inv(matrix[:3, :3])
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        if feature is None:
            (said,) = primitive["extensions"]["EXT_mesh_features"]["featureIds"]
            ids = self.accessor(named[f"_FEATURE_ID_{said['attribute']}"])[:, 0]
            assert said["featureCount"] == len(set(ids.tolist()))
            assert said["propertyTable"] == 0
            assert (ids[index] == ids[index[:, :1]]).all()
            features = ids[index[:, 0]]
        else:
            features = np.full(len(index), feature)
        uv = self.accessor(named["TEXCOORD_0"]) if "TEXCOORD_0" in named else np.full((len(positions), 2), np.nan)
        return (
            _enu(positions)[index],
            _enu(normals)[index],
            features,
            np.full(len(index), primitive["material"]),
            uv[index],
        )

    def schema(self):
        return self.json["extensions"]["EXT_structural_metadata"]["schema"]

    def rows(self):
        """Columns of the property table by property name, missing values None; properties left out are missing."""
        (table,) = self.json["extensions"]["EXT_structural_metadata"]["propertyTables"]
        properties = self.schema()["classes"][table["class"]]["properties"]
        assert set(table["properties"]) <= set(properties)
        columns = {}
        for key, kind in properties.items():
            entry = table["properties"].get(key)
            values = [None] * table["count"] if entry is None else self._column(kind, entry, table["count"])
            assert len(values) == table["count"]
            assert not (kind.get("required") and entry is None)
            columns[kind["name"]] = [None if value == kind.get("noData") else value for value in values]
        return columns

    def _column(self, kind, entry, count):
        for index in (entry["values"], entry.get("stringOffsets", entry["values"])):
            view = self.json["bufferViews"][index]
            start = self.start if view["buffer"] == 0 else 0
            assert (start + view.get("byteOffset", 0)) % 8 == 0
        data = self.view(entry["values"])
        if kind["type"] == "STRING":
            dtype = {"UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4"}[entry.get("stringOffsetType", "UINT32")]
            offsets = np.frombuffer(self.view(entry["stringOffsets"]), dtype).tolist()
            assert len(offsets) == count + 1
            assert offsets[-1] == len(data)
            return [data[a:b].decode() for a, b in itertools.pairwise(offsets)]
        if kind["type"] == "ENUM":
            enum = self.schema()["enums"][kind["enumType"]]
            names = {each["value"]: each["name"] for each in enum["values"]}
            dtype = enum["valueType"].lower()
            return [names[value] for value in np.frombuffer(data, np.dtype(dtype).newbyteorder("<")).tolist()]
        assert kind["type"] == "SCALAR"
        return np.frombuffer(data, np.dtype(kind["componentType"].lower()).newbyteorder("<")).tolist()


def _matrix(translation, rotation, scale):
    """T * R * S (glTF 2.0 3.5.3), quaternion x, y, z, w."""
    x, y, z, w = rotation
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    made = np.eye(4)
    made[:3, :3], made[:3, 3] = turn * np.asarray(scale), translation
    return made


def _enu(rows):
    """3D Tiles turns glTF's y up to z up: x, -z, y."""
    return np.stack([rows[:, 0], -rows[:, 2], rows[:, 1]], axis=1)
