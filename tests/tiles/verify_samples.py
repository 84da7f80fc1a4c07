"""Small sound tiles of every kind, written here by hand from the standards; tests break them one rule at a time.

Nothing of the product writes them, so that writer and checker are not tested against each other's misreading.
"""

import io
import json
import math
import struct
from pathlib import Path

import mapbox_vector_tile
import meshopt
import numpy as np
from PIL import Image

CUBE = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
FACES = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
TYPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}
COMPONENTS = {"int8": 5120, "uint8": 5121, "int16": 5122, "uint16": 5123, "uint32": 5125, "float32": 5126}


# ---------------------------------------------------------------------------------------------------------- glTF


def glb(document, binary=None):
    """The container around a document."""
    text = json.dumps(document).encode()
    text += b" " * (-(len(text) + 28) % 8)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text
    if binary is not None:
        binary += b"\0" * (-len(binary) % 4)
        chunks += struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def split(data):
    """(document, binary) of a glb."""
    length = struct.unpack_from("<I", data, 12)[0]
    return json.loads(data[20 : 20 + length]), data[28 + length :]


class Builder:
    """A document as it grows."""

    def __init__(self, *extensions, required=()):
        self.binary = b""
        self.document = {"asset": {"version": "2.0"}, "bufferViews": [], "accessors": []}
        if extensions:
            self.document["extensionsUsed"] = list(extensions)
        if required:
            self.document["extensionsRequired"] = list(required)

    def view(self, data, target=None, stride=None):
        self.binary += b"\0" * (-len(self.binary) % 8)
        said = {"buffer": 0, "byteOffset": len(self.binary), "byteLength": len(data)}
        said |= {"target": target} if target else {}
        said |= {"byteStride": stride} if stride else {}
        self.document["bufferViews"].append(said)
        self.binary += data
        return len(self.document["bufferViews"]) - 1

    def accessor(self, array, target=34962, normalized=False, minmax=False, view=None, stride=None):
        array = array if array.ndim == 2 else array[:, None]
        size = array.shape[1] * array.itemsize
        if view is None:
            stride = stride or (size + -size % 4 if target == 34962 and size % 4 else None)
            data = np.zeros((len(array), stride or size), np.uint8)
            data[:, :size] = np.ascontiguousarray(array).view(np.uint8).reshape(len(array), size)
            view = self.view(data.tobytes(), target, stride)
        said = {
            "bufferView": view,
            "componentType": COMPONENTS[array.dtype.name],
            "count": len(array),
            "type": TYPES[array.shape[1]],
        }
        said |= {"normalized": True} if normalized else {}
        said |= {"min": array.min(axis=0).tolist(), "max": array.max(axis=0).tolist()} if minmax else {}
        self.document["accessors"].append(said)
        return len(self.document["accessors"]) - 1

    def packed(self, array, mode, kind=None, encoded=None, stride=None, target=34962):
        """A view with EXT_meshopt_compression; its fallback buffer has no bytes."""
        size = stride or array.nbytes // len(array)
        if encoded is None:
            encoded = meshopt.encode_gltf_buffer(array, mode)
        self.binary += b"\0" * (-len(self.binary) % 8)
        said = {
            "buffer": 0, "byteOffset": len(self.binary), "byteLength": len(encoded), "byteStride": size,
            "count": len(array), "mode": mode,
        }  # fmt: skip
        said |= {"filter": kind} if kind else {}
        self.binary += encoded
        view = {"buffer": 1, "byteOffset": 0, "byteLength": size * len(array), "target": target}
        view |= {"byteStride": size} if mode == "ATTRIBUTES" else {}
        view["extensions"] = {"EXT_meshopt_compression": said}
        self.document["bufferViews"].append(view)
        return len(self.document["bufferViews"]) - 1

    def bytes(self):
        views = self.document["bufferViews"]
        buffers = [{"byteLength": len(self.binary)}]
        fallback = max((v["byteOffset"] + v["byteLength"] for v in views if v["buffer"] == 1), default=0)
        if fallback:
            buffers.append({"byteLength": fallback, "extensions": {"EXT_meshopt_compression": {"fallback": True}}})
        made = {key: value for key, value in self.document.items() if value != []}
        return glb(made | {"buffers": buffers}, self.binary)


def box_mesh(boxes):
    """Positions (y up), normals, feature of each vertex, indices of boxes (low, high) in z-up metres."""
    positions, normals, features, indices = [], [], [], []
    for number, (low, high) in enumerate(boxes):
        for face in FACES:
            corners = (np.array(low) + CUBE[list(face)] * (np.array(high) - low))[:, [0, 2, 1]] * [1, 1, -1]
            normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
            indices.append(4 * len(positions) + np.array([0, 1, 2, 0, 2, 3]))
            positions.append(corners)
            normals.append(np.tile(normal / np.linalg.norm(normal), (4, 1)))
            features.append(np.full(4, number))
    return (
        np.concatenate(positions).astype("f4"),
        np.concatenate(normals).astype("f4"),
        np.concatenate(features),
        np.concatenate(indices),
    )


SCHEMA = {
    "id": "sample",
    "enums": {"use": {"valueType": "UINT8", "values": [{"name": "home", "value": 1}, {"name": "work", "value": 2},
                                                        {"name": "none", "value": 0}]}},
    "classes": {
        "building": {
            "properties": {
                "id": {"type": "STRING", "semantic": "ID", "required": True},
                "height_m": {"type": "SCALAR", "componentType": "FLOAT32", "noData": -1, "min": 0, "max": 500},
                "use": {"type": "ENUM", "enumType": "use", "noData": "none"},
                "floors": {"type": "SCALAR", "componentType": "UINT8", "array": True},
                "legal": {"type": "BOOLEAN"},
            }
        }
    },
}  # fmt: skip


def string_views(builder, values):
    data = [value.encode() for value in values]
    return {
        "values": builder.view(b"".join(data)),
        "stringOffsets": builder.view(np.cumsum([0, *map(len, data)]).astype("<u4").tobytes()),
    }


def add_table(builder, ids):
    """The property table of `SCHEMA` with a row an id."""
    n = len(ids)
    builder.document["extensions"] = {
        "EXT_structural_metadata": {
            "schema": json.loads(json.dumps(SCHEMA)),
            "propertyTables": [
                {
                    "class": "building",
                    "count": n,
                    "properties": {
                        "id": string_views(builder, ids),
                        "height_m": {"values": builder.view(np.linspace(3, 90, n).astype("<f4").tobytes())},
                        "use": {"values": builder.view((np.arange(n) % 3).astype("u1").tobytes())},
                        "floors": {
                            "values": builder.view(np.arange(2 * n).astype("u1").tobytes()),
                            "arrayOffsets": builder.view((2 * np.arange(n + 1)).astype("<u4").tobytes()),
                        },
                        "legal": {"values": builder.view(np.packbits(np.arange(n) % 2, bitorder="little").tobytes())},
                    },
                }
            ],
        }
    }


def buildings_glb(ids, boxes):
    """float32 boxes with a texture, feature ids and a property table."""
    builder = Builder("EXT_mesh_features", "EXT_structural_metadata")
    positions, normals, features, indices = box_mesh(boxes)
    picture = io.BytesIO()
    Image.new("RGB", (4, 4), (200, 180, 160)).save(picture, "PNG")
    primitive = {
        "attributes": {
            "POSITION": builder.accessor(positions, minmax=True),
            "NORMAL": builder.accessor(normals),
            "TEXCOORD_0": builder.accessor(np.zeros((len(positions), 2), "f4")),
            "_FEATURE_ID_0": builder.accessor(features.astype("f4")),
        },
        "indices": builder.accessor(indices.astype("u2"), target=34963),
        "material": 0,
        "mode": 4,
        "extensions": {
            "EXT_mesh_features": {"featureIds": [{"featureCount": len(ids), "attribute": 0, "propertyTable": 0}]}
        },
    }
    add_table(builder, ids)
    builder.document |= {
        "meshes": [{"primitives": [primitive]}],
        "nodes": [{"mesh": 0, "translation": [0, 0, 0]}],
        "scenes": [{"nodes": [0]}],
        "scene": 0,
        "materials": [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}],
        "textures": [{"source": 0}],
        "images": [{"bufferView": builder.view(picture.getvalue()), "mimeType": "image/png"}],
    }
    return builder.bytes()


def compact_glb(ids, boxes):
    """The same boxes quantized to 2 mm and packed; the texture is left out."""
    used = ("EXT_mesh_features", "EXT_structural_metadata", "EXT_meshopt_compression", "KHR_mesh_quantization")
    builder = Builder(*used, required=used[2:])
    positions, normals, features, indices = box_mesh(boxes)
    low = positions.min(axis=0)
    quantized = np.zeros((len(positions), 4), "u2")
    quantized[:, :3] = np.rint((positions - low) / 0.002)
    octahedral = meshopt.encode_filter_oct(np.c_[normals, np.ones(len(normals))].astype("f4"), 4, 8)
    at_features = np.zeros((len(features), 2), "u2")
    at_features[:, 0] = features
    position = builder.accessor(quantized[:, :3], minmax=True, view=builder.packed(quantized, "ATTRIBUTES"))
    normal = builder.accessor(
        np.zeros((len(normals), 3), "i1"),
        normalized=True,
        view=builder.packed(octahedral, "ATTRIBUTES", "OCTAHEDRAL"),
    )
    feature = builder.accessor(features.astype("u2"), view=builder.packed(at_features, "ATTRIBUTES"))
    index = builder.accessor(indices.astype("u2"), view=builder.packed(indices.astype("u2"), "TRIANGLES", target=34963))
    primitive = {
        "attributes": {"POSITION": position, "NORMAL": normal, "_FEATURE_ID_0": feature},
        "indices": index,
        "extensions": {
            "EXT_mesh_features": {"featureIds": [{"featureCount": len(ids), "attribute": 0, "propertyTable": 0}]}
        },
    }
    add_table(builder, ids)
    builder.document |= {
        "meshes": [{"primitives": [primitive]}],
        "nodes": [{"mesh": 0, "translation": low.tolist(), "scale": [0.002] * 3}],
        "scenes": [{"nodes": [0]}],
        "scene": 0,
    }
    return builder.bytes()


def instanced_glb(ids, places):
    """One cube at several places, with an id for each."""
    used = ("EXT_mesh_gpu_instancing", "EXT_instance_features", "EXT_structural_metadata")
    builder = Builder(*used, required=used[:1])
    positions, normals, _, indices = box_mesh([((0, 0, 0), (1, 1, 1))])
    n = len(ids)
    attributes = {
        "TRANSLATION": builder.accessor(np.array(places, "f4")[:, [0, 2, 1]] * np.array([1, 1, -1], "f4"), target=None),
        "ROTATION": builder.accessor(np.tile(np.array([0, 0, 0, 1], "f4"), (n, 1)), target=None),
        "_FEATURE_ID_0": builder.accessor(np.arange(n).astype("f4"), target=None),
    }
    primitive = {
        "attributes": {"POSITION": builder.accessor(positions, minmax=True), "NORMAL": builder.accessor(normals)},
        "indices": builder.accessor(indices.astype("u2"), target=34963),
    }
    add_table(builder, ids)
    node = {
        "mesh": 0,
        "extensions": {
            "EXT_mesh_gpu_instancing": {"attributes": attributes},
            "EXT_instance_features": {"featureIds": [{"featureCount": n, "attribute": 0, "propertyTable": 0}]},
        },
    }
    builder.document |= {"meshes": [{"primitives": [primitive]}], "nodes": [node], "scenes": [{"nodes": [0]}]}
    return builder.bytes()


def points_glb(n=50, side=10.0):
    """Points with a class and an intensity at each, as property attributes."""
    builder = Builder("EXT_structural_metadata")
    rng = np.random.default_rng(1)
    primitive = {
        "mode": 0,
        "attributes": {
            "POSITION": builder.accessor(
                rng.uniform(0, side, (n, 3)).astype("f4") * np.array([1, 1, -1], "f4"), minmax=True
            ),
            "_CLASS": builder.accessor(rng.choice([2, 6], n).astype("u1")),
            "_INTENSITY": builder.accessor(rng.integers(0, 65535, n).astype("u2")),
        },
        "extensions": {"EXT_structural_metadata": {"propertyAttributes": [0]}},
    }
    builder.document["extensions"] = {
        "EXT_structural_metadata": {
            "schema": {
                "id": "points",
                "enums": {
                    "kind": {
                        "valueType": "UINT8",
                        "values": [{"name": "ground", "value": 2}, {"name": "roof", "value": 6}],
                    }
                },
                "classes": {
                    "point": {
                        "properties": {
                            "kind": {"type": "ENUM", "enumType": "kind"},
                            "intensity": {"type": "SCALAR", "componentType": "UINT16"},
                        }
                    }
                },
            },
            "propertyAttributes": [
                {
                    "class": "point",
                    "properties": {"kind": {"attribute": "_CLASS"}, "intensity": {"attribute": "_INTENSITY"}},
                }
            ],
        }
    }
    builder.document |= {"meshes": [{"primitives": [primitive]}], "nodes": [{"mesh": 0}], "scenes": [{"nodes": [0]}]}
    return builder.bytes()


# ------------------------------------------------------------------------------------------------------ 3D Tiles


def volume(low, high):
    """A box of two corners, half a millimetre wider."""
    low, high = np.array(low, float), np.array(high, float)
    half = (high - low) / 2 + 0.0005
    centre = (low + high) / 2
    return {"box": [*centre.tolist(), half[0], 0, 0, 0, half[1], 0, 0, 0, half[2]]}


LON, LAT = math.radians(121.0), math.radians(28.1)


def enu_matrix():
    """East, north, up at 121 E, 28.1 N to geocentric, column by column."""
    east = [-math.sin(LON), math.cos(LON), 0]
    up = [math.cos(LAT) * math.cos(LON), math.cos(LAT) * math.sin(LON), math.sin(LAT)]
    north = np.cross(up, east).tolist()
    radius = 6378137.0 / math.sqrt(1 - 0.00669437999014 * math.sin(LAT) ** 2)
    at = [radius * up[0], radius * up[1], radius * (1 - 0.00669437999014) * up[2]]
    return [*east, 0, *north, 0, *up, 0, *at, 1]


def tileset(root, error=500, **more):
    return {"asset": {"version": "1.1"}, "geometricError": error, "root": root, **more}


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def write_explicit(folder):
    """Root (buildings), an external set below it (compact), instances and points beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "a.glb").write_bytes(
        buildings_glb(["A1", "A2"], [((0, 0, 0), (20, 30, 40)), ((50, 0, -5), (60, 10, 60))])
    )
    (folder / "b.glb").write_bytes(compact_glb(["B1"], [((100, 100, 0), (110, 120, 30))]))
    (folder / "c.glb").write_bytes(instanced_glb(["C1", "C2"], [(0, 100, 0), (20, 110, 3)]))
    (folder / "d.glb").write_bytes(points_glb())
    whole = volume((0, 0, -5), (110, 120, 60))
    schema = {"id": "set", "classes": {"set": {"properties": {"year": {"type": "SCALAR", "componentType": "UINT16"}}}}}
    root = {
        "transform": enu_matrix(),
        "boundingVolume": whole,
        "geometricError": 100,
        "refine": "ADD",
        "content": {"uri": "a.glb", "boundingVolume": volume((0, 0, -5), (60, 30, 60))},
        "metadata": {"class": "set", "properties": {"year": 2026}},
        "children": [
            {
                "boundingVolume": volume((100, 100, 0), (110, 120, 30)),
                "geometricError": 50,
                "content": {"uri": "sub/set.json"},
            },
            {
                "boundingVolume": volume((0, 0, -5), (22, 112, 11)),
                "geometricError": 0,
                "contents": [{"uri": "c.glb"}, {"uri": "d.glb"}],
            },
        ],
    }
    write_json(folder / "tileset.json", tileset(root, schema=schema))
    below = {
        "boundingVolume": volume((100, 100, 0), (110, 120, 30)),
        "geometricError": 0,
        "refine": "ADD",
        "content": {"uri": "../b.glb"},
    }
    write_json(folder / "sub/set.json", tileset(below, 50))


def morton(x, y, z=0, dimensions=2):
    made = 0
    for bit in range(8):
        for axis, value in enumerate((x, y, z)[:dimensions]):
            made |= (value >> bit & 1) << (bit * dimensions + axis)
    return made


def bits(places, n):
    """A bitstream with these bits set."""
    flags = np.zeros(n, np.uint8)
    flags[list(places)] = 1
    return np.packbits(flags, bitorder="little").tobytes()


def subtree(document, views):
    """A binary subtree: `views` are the bytes of the buffer views."""
    binary, said = b"", []
    for data in views:
        binary += b"\0" * (-len(binary) % 8)
        said.append({"buffer": 0, "byteOffset": len(binary), "byteLength": len(data)})
        binary += data
    binary += b"\0" * (-len(binary) % 8)
    if said:
        document = {"buffers": [{"byteLength": len(binary)}], "bufferViews": said, **document}
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<4sIQQ", b"subt", 1, len(text), len(binary)) + text + binary


def split_subtree(data):
    n_json = struct.unpack_from("<Q", data, 8)[0]
    return json.loads(data[24 : 24 + n_json]), data[24 + n_json :]


TILE_SCHEMA = {
    "id": "tiles",
    "classes": {
        "tile": {
            "properties": {
                "box": {
                    "type": "SCALAR",
                    "componentType": "FLOAT64",
                    "array": True,
                    "count": 12,
                    "semantic": "TILE_BOUNDING_BOX",
                },
                "error": {"type": "SCALAR", "componentType": "FLOAT64", "semantic": "TILE_GEOMETRIC_ERROR"},
            }
        },
        "content": {
            "properties": {
                "box": {
                    "type": "SCALAR",
                    "componentType": "FLOAT64",
                    "array": True,
                    "count": 12,
                    "semantic": "CONTENT_BOUNDING_BOX",
                }
            }
        },
    },
}


def quadrant(level, x, y, side=160.0):
    """Corner and side of a cell of the square that starts at 0, 0."""
    size = side / 2**level
    return x * size, y * size, size


def write_implicit(folder):
    """A quadtree of 3 levels in subtrees of 2: the root, 1/1/0 and 2/2/1 have content; boxes are real."""
    contents = {(0, 0, 0): "Q0", (1, 1, 0): "Q1", (2, 2, 1): "Q2"}
    boxes = {}
    for (level, x, y), name in contents.items():
        west, south, size = quadrant(level, x, y)
        boxes[level, x, y] = ((west + 1, south + 1, 0), (west + size - 1, south + size - 1, 20))
        path = folder / f"content/{level}_{x}_{y}.glb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(buildings_glb([name], [boxes[level, x, y]]))
    root = {
        "boundingVolume": volume((0, 0, 0), (160, 160, 20)),
        "geometricError": 64,
        "refine": "ADD",
        "content": {"uri": "content/{level}_{x}_{y}.glb"},
        "implicitTiling": {
            "subdivisionScheme": "QUADTREE",
            "subtreeLevels": 2,
            "availableLevels": 3,
            "subtrees": {"uri": "subtrees/{level}_{x}_{y}.subtree"},
        },
    }
    write_json(folder / "tileset.json", tileset(root, schema=TILE_SCHEMA))
    (folder / "subtrees").mkdir()

    def rows(keys):
        return np.array([volume(*boxes[key])["box"] for key in keys])

    tables = [
        {"class": "tile", "count": 2, "properties": {"box": {"values": 2}, "error": {"values": 3}}},
        {"class": "content", "count": 2, "properties": {"box": {"values": 4}}},
    ]
    top = {
        "tileAvailability": {"bitstream": 0, "availableCount": 2},
        "contentAvailability": [{"bitstream": 0, "availableCount": 2}],
        "childSubtreeAvailability": {"bitstream": 1, "availableCount": 1},
        "propertyTables": tables,
        "tileMetadata": 0,
        "contentMetadata": [1],
    }
    keys = [(0, 0, 0), (1, 1, 0)]
    views = [
        bits([0, 1 + morton(1, 0)], 5), bits([morton(2, 1)], 16), rows(keys).astype("<f8").tobytes(),
        np.array([64.0, 30.0]).astype("<f8").tobytes(), rows(keys).astype("<f8").tobytes(),
    ]  # fmt: skip
    (folder / "subtrees/0_0_0.subtree").write_bytes(subtree(top, views))
    below = {
        "tileAvailability": {"bitstream": 0},
        "contentAvailability": [{"bitstream": 0}],
        "childSubtreeAvailability": {"constant": 0},
    }
    (folder / "subtrees/2_2_1.subtree").write_bytes(subtree(below, [bits([0], 5)]))


def write_octree(folder):
    """An octree of 2 levels in one subtree, with a region: 1/1/0/1 alone has content (points)."""
    half = 1e-5
    region = [LON - half, LAT - half, LON + half, LAT + half, 0, 100]
    root = {
        "boundingVolume": {"region": region},
        "geometricError": 16,
        "refine": "ADD",
        "transform": enu_matrix(),
        "content": {"uri": "{level}/{x}/{y}/{z}.glb"},
        "implicitTiling": {
            "subdivisionScheme": "OCTREE",
            "subtreeLevels": 2,
            "availableLevels": 2,
            "subtrees": {"uri": "{level}.{x}.{y}.{z}.subtree"},
        },
    }
    write_json(folder / "tileset.json", tileset(root))
    # the cell 1/1/0/1 is the south-eastern upper one: 10 m of points in 63 m x 63 m x 50 m
    document, binary = split(points_glb())
    document["nodes"][0]["translation"] = [20, 60, 40]
    path = folder / "1/1/0/1.glb"
    path.parent.mkdir(parents=True)
    path.write_bytes(glb(document, binary))
    at = 1 + morton(1, 0, 1, 3)
    views = [bits([0, at], 9), bits([at], 9)]
    said = {
        "tileAvailability": {"bitstream": 0},
        "contentAvailability": [{"bitstream": 1}],
        "childSubtreeAvailability": {"constant": 0},
    }
    (folder / "0.0.0.0.subtree").write_bytes(subtree(said, views))


# ------------------------------------------------------------------------------------------------------- terrain

LOW_M, HIGH_M = 0.0, 327.67
"""The same for all tiles, a height step is 1 cm: edges are equal to the bit."""


def ecef(lon, lat, h):
    n = 6378137.0 / np.sqrt(1 - 0.0066943799901413165 * np.sin(lat) ** 2)
    return np.stack(
        [
            (n + h) * np.cos(lat) * np.cos(lon),
            (n + h) * np.cos(lat) * np.sin(lon),
            (n * (1 - 0.0066943799901413165) + h) * np.sin(lat),
        ],
        -1,
    )


def terrain_parts(z, x, y, n=5):
    """Everything in a tile, ready to be changed: a dict for `terrain_bytes`."""
    side = math.pi / 2**z
    steps = np.rint(np.linspace(0, 32767, n)).astype(int)
    u, v = (each.ravel() for each in np.meshgrid(steps, steps))
    lon, lat = (x + u / 32767) * side - math.pi, (y + v / 32767) * side - math.pi / 2
    height = np.rint((np.sin(lon * 7) * np.cos(lat * 5) + 1) * 16000).astype(int)
    grid = np.arange(n * n).reshape(n, n)
    a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]
    corners = np.stack([a, b, c, a, c, d], -1).ravel()
    order = list(dict.fromkeys(corners.tolist()))
    rank = np.empty(n * n, int)
    rank[order] = np.arange(n * n)
    at = ecef(lon, lat, LOW_M + height / 32767 * (HIGH_M - LOW_M))
    centre = (at.min(0) + at.max(0)) / 2
    radius = float(np.linalg.norm(at - centre, axis=1).max())
    return {
        "centre": centre.tolist(), "heights": [LOW_M, HIGH_M], "sphere": [*centre.tolist(), radius],
        "horizon": horizon(at, centre), "u": u[order], "v": v[order], "height": height[order],
        "indices": rank[corners], "codes": None,
        "edges": {"west": rank[grid[:, 0]], "south": rank[grid[0]], "east": rank[grid[:, -1]], "north": rank[grid[-1]]},
        "extensions": [(1, bytes(2 * n * n)), (2, b"\0"), (4, struct.pack("<I", 2) + b"{}")],
    }  # fmt: skip


def horizon(points, centre):
    """In units of the radii; put very far where the tile reaches too far round the Earth."""
    radii = np.array([6378137.0, 6378137.0, 6356752.314245179])
    scaled, axis = points / radii, centre / radii
    axis = axis / np.linalg.norm(axis)
    size = np.linalg.norm(scaled, axis=1)
    angle = np.arccos(np.clip(scaled @ axis / size, -1, 1)) + np.arccos(1 / np.maximum(size, 1))
    return (axis * (1 / np.cos(angle.max()) if angle.max() < 1.5 else 1000.0)).tolist()


def terrain_bytes(parts):
    """The tile of `terrain_parts`."""
    data = struct.pack("<3d2f4d3d", *parts["centre"], *parts["heights"], *parts["sphere"], *parts["horizon"])
    n = len(parts["u"])
    data += struct.pack("<I", n)
    for key in ("u", "v", "height"):
        deltas = np.diff(np.asarray(parts[key]), prepend=0)
        data += ((deltas << 1) ^ (deltas >> 63)).astype("<u2").tobytes()
    indices = np.asarray(parts["indices"])
    codes = parts["codes"]
    if codes is None:
        codes, highest = [], 0
        for index in indices.tolist():
            codes.append(highest - index)
            highest += index == highest
    data += struct.pack("<I", len(indices) // 3) + np.array(codes).astype("<u2").tobytes()
    for rows in parts["edges"].values():
        data += struct.pack("<I", len(rows)) + np.asarray(rows).astype("<u2").tobytes()
    for kind, body in parts["extensions"]:
        data += struct.pack("<BI", kind, len(body)) + body
    return data


TERRAIN_TILES = [(0, 0, 0), (0, 1, 0), *((1, x, y) for x in (2, 3) for y in (0, 1))]


def write_terrain(folder):
    """Level 0 and the four children of 0/1/0."""
    box = {"startX": 2, "endX": 3, "startY": 0, "endY": 1}
    layer = {
        "tilejson": "2.1.0", "format": "quantized-mesh-1.0", "version": "1.0.0", "scheme": "tms",
        "projection": "EPSG:4326", "tiles": ["{z}/{x}/{y}.terrain?v={version}"], "bounds": [-180, -90, 180, 90],
        "minzoom": 0, "maxzoom": 1, "extensions": ["octvertexnormals", "watermask", "metadata"],
        "available": [[{"startX": 0, "endX": 1, "startY": 0, "endY": 0}], [box]],
    }  # fmt: skip
    write_json(folder / "layer.json", layer)
    for z, x, y in TERRAIN_TILES:
        path = folder / f"{z}/{x}/{y}.terrain"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(terrain_bytes(terrain_parts(z, x, y)))


# ------------------------------------------------------------------------------------------------------- vectors


def key(number, wire):
    return varint(number << 3 | wire)


def varint(value):
    made = b""
    while value > 0x7F:
        made += bytes([value & 0x7F | 0x80])
        value >>= 7
    return made + bytes([value])


def block(number, data):
    """A field of bytes."""
    return key(number, 2) + varint(len(data)) + data


def zigzag(value):
    return (value << 1) ^ (value >> 63)


def ring(points, close=True):
    """Commands of one ring that starts from 0, 0."""
    steps = np.diff(np.array(points), axis=0, prepend=[[0, 0]])
    codes = [9, *map(zigzag, steps[0].tolist()), 8 * (len(points) - 1) + 2, *map(zigzag, steps[1:].ravel().tolist())]
    return codes + ([15] if close else [])


SQUARE = [(10, 10), (110, 10), (110, 110), (10, 110)]


def feature(codes, kind=3, tags=(0, 0), fid=1):
    packed = b"".join(map(varint, codes))
    return key(1, 0) + varint(fid) + block(2, b"".join(map(varint, tags))) + key(3, 0) + varint(kind) + block(4, packed)


def layer(features, name="parcel", version=2, extent=4096, keys=("use",), values=None):
    values = [block(1, b"home")] if values is None else values
    made = b"" if name is None else block(1, name.encode())
    made += b"".join(block(2, each) for each in features)
    made += b"".join(block(3, each.encode()) for each in keys) + b"".join(block(4, each) for each in values)
    return block(3, made + key(5, 0) + varint(extent) + key(15, 0) + varint(version))


VECTOR_TILE = "14/13698/6858.mvt"


def write_vector(folder):
    """One tile by the package mapbox-vector-tile, and its TileJSON."""
    features = [
        {"geometry": "POLYGON ((10 10, 10 110, 110 110, 110 10, 10 10), (20 20, 40 20, 40 40, 20 40, 20 20))",
         "properties": {"use": "home", "area_m2": 12.5}, "id": 1},
        {"geometry": "LINESTRING (0 0, 100 50, 4096 4000)", "properties": {"use": "road", "area_m2": 0.5}, "id": 2},
        {"geometry": "MULTIPOINT (5 5, 90 80)", "properties": {"use": "tree"}, "id": 3},
    ]  # fmt: skip
    path = folder / VECTOR_TILE
    path.parent.mkdir(parents=True)
    path.write_bytes(mapbox_vector_tile.encode([{"name": "parcel", "features": features}]))
    document = {
        "tilejson": "3.0.0",
        "tiles": ["{z}/{x}/{y}.mvt"],
        "minzoom": 14,
        "maxzoom": 14,
        "bounds": [121.0, 28.0999, 121.0001, 28.1],
        "vector_layers": [{"id": "parcel", "fields": {"use": "String", "area_m2": "Number"}}],
    }
    write_json(folder / "tilejson.json", document)


def write_raster(folder):
    """One PNG tile."""
    write_json(
        folder / "tilejson.json", {"tilejson": "3.0.0", "tiles": ["{z}/{x}/{y}.png"], "minzoom": 0, "maxzoom": 0}
    )
    (folder / "0/0").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(folder / "0/0/0.png")


WRITERS = {
    "explicit": write_explicit, "implicit": write_implicit, "octree": write_octree, "terrain": write_terrain,
    "vector": write_vector, "raster": write_raster,
}  # fmt: skip


def write_all(folder: Path):
    for name, write in WRITERS.items():
        write(folder / name)
