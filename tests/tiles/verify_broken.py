"""For each rule of `citytwin verify` at least one way to break a sound sample. A new rule is a new line here."""

import gzip
import io
import json
import struct

import numpy as np
from PIL import Image

from tests.tiles import verify_samples as samples
from tests.tiles.verify_samples import SQUARE, VECTOR_TILE, block, feature, glb, key, layer, ring, split, terrain_parts

BROKEN = []
"""(code, name, function that breaks the folder of `write_all`, part of it that is then verified)."""


def rule(code, part):
    def put(function):
        BROKEN.append((code, function.__name__, function, part))
        return function

    return put


def at(document, path):
    for step in path[:-1]:
        document = document[step]
    return document, path[-1]


def set_json(code, part, name, *path_and_value):
    """One value of a JSON file replaced; a value of `...` deletes it."""
    *path, value = path_and_value

    def breaks(folder):
        file = folder / name
        document = json.loads(file.read_text())
        parent, last = at(document, path)
        if value is ...:
            del parent[last]
        else:
            parent[last] = value
        file.write_text(json.dumps(document))

    BROKEN.append((code, f"{name}:{'.'.join(map(str, path))}={str(value)[:30]}", breaks, part))


def set_glb(code, name, *path_and_value):
    """One value of the document of a glb replaced."""
    *path, value = path_and_value

    def breaks(folder):
        file = folder / name
        document, binary = split(file.read_bytes())
        parent, last = at(document, path)
        if value is ...:
            del parent[last]
        else:
            parent[last] = (
                value(parent.get(last) if isinstance(parent, dict) else parent[last]) if callable(value) else value
            )
        file.write_bytes(glb(document, binary))

    BROKEN.append((code, f"{name}:{'.'.join(map(str, path))}={str(value)[:30]}", breaks, "explicit"))


def poke_glb(code, name, find, array):
    """Bytes of a buffer view replaced from its start; `find` gives the view's number from the document."""

    def breaks(folder):
        file = folder / name
        document, binary = split(file.read_bytes())
        start = document["bufferViews"][find(document)]["byteOffset"]
        data = np.asarray(array).tobytes()
        file.write_bytes(glb(document, binary[:start] + data + binary[start + len(data) :]))

    BROKEN.append((code, f"{name}:{data_name(array)}", breaks, "explicit"))


def data_name(array):
    return str(np.asarray(array).ravel()[:2].tolist())


def set_subtree(code, name, change, part="implicit"):
    def breaks(folder):
        file = folder / name
        document, binary = samples.split_subtree(file.read_bytes())
        binary = bytearray(binary)
        made = change(document, binary)
        file.write_bytes(made if isinstance(made, bytes) else resealed(document, bytes(binary)))

    BROKEN.append((code, f"{name}:{len(BROKEN)}", breaks, part))


def resealed(document, binary, padding=b" "):
    text = json.dumps(document).encode()
    text += padding * (8 - len(text) % 8)
    return struct.pack("<4sIQQ", b"subt", 1, len(text), len(binary)) + text + binary


def set_terrain(code, **changes):
    """The parts of tile 1/2/0 changed by functions."""

    def breaks(folder):
        parts = terrain_parts(1, 2, 0)
        for name, change in changes.items():
            parts[name] = change(parts[name])
        (folder / "terrain/1/2/0.terrain").write_bytes(samples.terrain_bytes(parts))

    BROKEN.append((code, f"terrain:{','.join(changes)}:{len(BROKEN)}", breaks, "terrain"))


def set_mvt(code, data):
    def breaks(folder):
        (folder / "vector" / VECTOR_TILE).write_bytes(data)

    BROKEN.append((code, f"mvt:{len(BROKEN)}", breaks, "vector"))


# ------------------------------------------------------------------------------------------------------- reading
T = "explicit/tileset.json"
set_json("MISSING", "explicit", T, "root", "content", "uri", "nowhere.glb")
set_json("OUTSIDE", "explicit", T, "root", "content", "uri", "../../../etc/passwd")
set_json("OUTSIDE", "explicit", T, "root", "content", "uri", "https://example.org/a.glb")
set_json("OUTSIDE", "explicit", T, "root", "content", "uri", "file:///etc/passwd")


@rule("JSON_INVALID", "explicit")
def half_a_json(folder):
    file = folder / T
    file.write_bytes(file.read_bytes()[:200])


@rule("JSON_INVALID", "explicit")
def a_number_that_is_none(folder):
    file = folder / T
    file.write_text(file.read_text().replace('"geometricError": 100', '"geometricError": NaN'))


@rule("ENCODING", "explicit")
def half_a_gzip(folder):
    file = folder / "explicit/a.glb"
    file.write_bytes(gzip.compress(file.read_bytes())[:-20])


@rule("CONTENT_UNKNOWN", "explicit")
def a_content_of_text(folder):
    (folder / "explicit/a.glb").write_bytes(b"hello")


@rule("CONTENT_LEGACY", "explicit")
def a_content_of_points_1_0(folder):
    (folder / "explicit/a.glb").write_bytes(struct.pack("<4s6I", b"pnts", 1, 28, 0, 0, 0, 0))


# ------------------------------------------------------------------------------------------------------ 3D Tiles
set_json("TILESET_STRUCTURE", "explicit", T, "root", "children", [])
set_json("TILESET_STRUCTURE", "explicit", T, "root", [])
set_json("TILESET_VERSION", "explicit", T, "asset", "version", "2.0")
set_json("TILESET_EXTENSIONS", "explicit", T, "extensionsRequired", ["3DTILES_metadata"])
set_json("TILESET_EXTENSIONS", "explicit", T, "extensionsUsed", ["A", "A"])
set_json("TILESET_EXTENSION_UNDECLARED", "explicit", T, "root", "extensions", {"3DTILES_metadata": {}})
set_json("TILESET_LOOP", "explicit", "explicit/sub/set.json", "root", "content", "uri", "../tileset.json")
set_json("TILESET_LOOP", "explicit", "explicit/sub/set.json", "root", "content", "uri", "set.json")
set_json("TILESET_METADATA", "explicit", T, "root", "metadata", "properties", "year", 70000)
set_json("TILESET_METADATA", "explicit", T, "root", "metadata", "class", "unknown")
set_json("TILE_VOLUME", "explicit", T, "root", "boundingVolume", "box", [0] * 11)
set_json("TILE_VOLUME", "explicit", T, "root", "boundingVolume", "sphere", [0, 0, 0, 500])
set_json("TILE_VOLUME", "octree", "octree/tileset.json", "root", "boundingVolume", "region", [1, 1, 2, 0.5, 0, 9])
set_json("TILE_ERROR", "explicit", T, "root", "geometricError", -1)
set_json("TILE_ERROR", "explicit", T, "geometricError", "500")
set_json("TILE_ERROR_GROWS", "explicit", T, "root", "children", 0, "geometricError", 101)
set_json("TILE_ERROR_GROWS", "explicit", "explicit/sub/set.json", "root", "geometricError", 51)
set_json("TILE_REFINE", "explicit", T, "root", "refine", "add")
set_json("TILE_REFINE", "explicit", T, "root", "refine", ...)
set_json("TILE_TRANSFORM", "explicit", T, "root", "transform", [0] * 16)
set_json("TILE_CONTENT", "explicit", T, "root", "content", {"url": 5})
set_json("TILE_CONTENT", "explicit", T, "root", "contents", [{"uri": "a.glb"}])
set_json("TILE_CONTENT", "explicit", T, "root", "content", {"uri": "a.glb", "group": 3})
set_json(
    "TILE_OUTSIDE_PARENT",
    "explicit",
    T,
    "root",
    "children",
    1,
    "boundingVolume",
    samples.volume((0, 0, -5), (200, 112, 60)),
)
set_json("TILE_OUTSIDE_PARENT", "explicit", T, "root", "children", 1, "boundingVolume", {"sphere": [50, 50, 20, 60]})
set_json(
    "TILE_CONTENT_VOLUME", "explicit", T, "root", "content", "boundingVolume", samples.volume((0, 0, -5), (60, 130, 60))
)
set_json(
    "TILE_CONTENT_OUTSIDE",
    "explicit",
    T,
    "root",
    "content",
    "boundingVolume",
    samples.volume((0, 0, -5), (60, 29.9, 60)),
)
set_json(
    "TILE_CONTENT_OUTSIDE",
    "explicit",
    T,
    "root",
    "children",
    1,
    "boundingVolume",
    samples.volume((0, 0, 0), (20.9, 112, 11)),
)
set_glb("TILE_CONTENT_OUTSIDE", "explicit/a.glb", "nodes", 0, "translation", [0, 0, 25])
set_glb("TILE_CONTENT_OUTSIDE", "explicit/b.glb", "nodes", 0, "scale", [0.0021] * 3)
set_json(
    "IMPLICIT_STRUCTURE", "implicit", "implicit/tileset.json", "root", "implicitTiling", "subdivisionScheme", "BINARY"
)
set_json("IMPLICIT_STRUCTURE", "implicit", "implicit/tileset.json", "root", "implicitTiling", "availableLevels", ...)
set_json("IMPLICIT_STRUCTURE", "implicit", "implicit/tileset.json", "root", "implicitTiling", "subtreeLevels", 31)
set_json("IMPLICIT_TEMPLATE", "implicit", "implicit/tileset.json", "root", "content", "uri", "content/{level}_{x}.glb")
set_json("IMPLICIT_TEMPLATE", "octree", "octree/tileset.json", "root", "content", "uri", "{level}/{x}/{y}.glb")
set_json("IMPLICIT_ROOT", "implicit", "implicit/tileset.json", "root", "children", [])
set_json("IMPLICIT_ROOT", "implicit", "implicit/tileset.json", "root", "boundingVolume", {"sphere": [80, 80, 10, 200]})
set_json("IMPLICIT_LEVELS", "implicit", "implicit/tileset.json", "root", "implicitTiling", "availableLevels", 2)
set_json("IMPLICIT_LEVELS", "octree", "octree/tileset.json", "root", "implicitTiling", "availableLevels", 1)


@rule("TILE_CONTENT_OUTSIDE", "implicit")
def an_implicit_set_below_a_small_tile(folder):
    """The root of the implicit set may be wider than the tile that refers to it, its contents may not."""
    tight = {"boundingVolume": samples.volume((0, 0, 0), (150, 160, 20)), "geometricError": 64}
    (folder / "implicit/tileset.json").rename(folder / "implicit/set.json")
    root = tight | {"refine": "ADD", "content": {"uri": "set.json"}}
    samples.write_json(folder / "implicit/tileset.json", samples.tileset(root))


@rule("TILE_DEPTH", "explicit")
def a_chain_of_sets(folder):
    for i in range(40):
        root = json.loads((folder / "explicit/sub/set.json").read_text())["root"] | {"content": {"uri": f"{i}.json"}}
        samples.write_json(folder / f"explicit/sub/{i - 1 if i else 'set'}.json", samples.tileset(root, 50))


@rule("TILESET_EXTENSION_UNKNOWN", "explicit")
def an_extension_that_nobody_knows(folder):
    document = json.loads((folder / T).read_text())
    document |= {"extensionsUsed": ["ACME_tiles"], "extensionsRequired": ["ACME_tiles"]}
    (folder / T).write_text(json.dumps(document))


@rule("FEATURE_REPEATED", "explicit")
def the_same_tile_twice(folder):
    (folder / "explicit/sub").joinpath("../b.glb").write_bytes(
        samples.compact_glb(["A1"], [((100, 100, 0), (110, 120, 30))])
    )


@rule("FEATURE_REPEATED", "explicit")
def an_id_twice_in_a_table(folder):
    (folder / "explicit/c.glb").write_bytes(samples.instanced_glb(["C1", "C1"], [(0, 100, 0), (20, 110, 3)]))


@rule("MISSING", "implicit")
def rows_instead_of_morton_order(folder):
    """1/1/0 at the bit of 1/0/1: its content is looked for in the wrong cell."""
    file = folder / "implicit/subtrees/0_0_0.subtree"
    document, binary = samples.split_subtree(file.read_bytes())
    file.write_bytes(resealed(document, samples.bits([0, 3], 5) + binary[1:]))


@rule("TILE_CONTENT_OUTSIDE", "octree")
def a_content_in_its_neighbour(folder):
    document, binary = split((folder / "octree/1/1/0/1.glb").read_bytes())
    document["nodes"][0]["translation"] = [-20, 60, 40]
    (folder / "octree/1/1/0/1.glb").write_bytes(glb(document, binary))


@rule("MISSING", "implicit")
def a_subtree_that_is_not_there(folder):
    (folder / "implicit/subtrees/2_2_1.subtree").unlink()


S, S2 = "implicit/subtrees/0_0_0.subtree", "implicit/subtrees/2_2_1.subtree"
set_subtree("SUBTREE_HEADER", S, lambda d, b: b"tree" + resealed(d, bytes(b))[4:])
set_subtree("SUBTREE_HEADER", S, lambda d, b: resealed(d, bytes(b)) + bytes(8))
set_subtree("SUBTREE_PADDING", S2, lambda d, b: resealed(d, bytes(b[:1])))
set_subtree("SUBTREE_PADDING", S2, lambda d, b: resealed(d, bytes(b), b"\0"))
set_subtree("SUBTREE_STRUCTURE", S, lambda d, b: d.pop("contentAvailability") and None)
set_subtree("SUBTREE_STRUCTURE", S, lambda d, b: d["tileAvailability"].update(constant=1))
set_subtree("SUBTREE_STRUCTURE", S, lambda d, b: d["bufferViews"][0].update(byteOffset=10_000))
set_subtree("SUBTREE_BITSTREAM", S, lambda d, b: b.__setitem__(0, b[0] | 0x80))
set_subtree("SUBTREE_BITSTREAM", S, lambda d, b: d["bufferViews"][1].update(byteLength=1))
set_subtree("SUBTREE_COUNT", S, lambda d, b: d["tileAvailability"].update(availableCount=3))
set_subtree("SUBTREE_EMPTY", S2, lambda d, b: b.__setitem__(0, 0))
set_subtree("SUBTREE_PARENT", S2, lambda d, b: b.__setitem__(0, 2))
set_subtree("SUBTREE_PARENT", S, lambda d, b: d.update(childSubtreeAvailability={"constant": 1}))
set_subtree("SUBTREE_CONTENT", S2, lambda d, b: d.update(contentAvailability=[{"constant": 1}]))
set_subtree("SUBTREE_METADATA", S, lambda d, b: d["propertyTables"][0].update(count=3))
set_subtree("SUBTREE_METADATA", S, lambda d, b: d.update(tileMetadata=7))
set_subtree("METADATA_SIZE", S, lambda d, b: d["bufferViews"][2].update(byteLength=96))
set_subtree("TILE_ERROR_GROWS", S, lambda d, b: b.__setitem__(slice(-208, -192), struct.pack("<2d", 10, 30)))
set_subtree("TILE_OUTSIDE_PARENT", S, lambda d, b: b.__setitem__(slice(112, 120), struct.pack("<d", 500)))
set_subtree("TILE_CONTENT_VOLUME", S, lambda d, b: b.__setitem__(slice(-96, -88), struct.pack("<d", 500)))
set_subtree("TILE_CONTENT_OUTSIDE", S, lambda d, b: b.__setitem__(slice(-96, -88), struct.pack("<d", 130)))

# ---------------------------------------------------------------------------------------------------------- glTF
A, B, C, D = (f"explicit/{name}.glb" for name in "abcd")
TABLE = ("extensions", "EXT_structural_metadata", "propertyTables", 0)
CLASS = ("extensions", "EXT_structural_metadata", "schema", "classes", "building", "properties")
PRIMITIVE = ("meshes", 0, "primitives", 0)


def poke(code, name, offset, data):
    def breaks(folder):
        file = folder / name
        made = bytearray(file.read_bytes())
        made[offset : offset + len(data)] = data
        file.write_bytes(bytes(made))

    BROKEN.append((code, f"{name}@{offset}", breaks, "explicit"))


poke("GLB_HEADER", A, 4, struct.pack("<I", 1))
poke("GLB_HEADER", A, 8, struct.pack("<I", 99))
poke("GLB_CHUNK", A, 12, struct.pack("<I", 999_999_999))
poke("GLB_CHUNK", A, 16, b"NOSJ")
set_glb("GLTF_STRUCTURE", A, "meshes", [])
set_glb("GLTF_STRUCTURE", A, "accessors", 0, "count", 0)
set_glb("GLTF_STRUCTURE", A, *PRIMITIVE, "mode", 9)
set_glb("GLTF_VERSION", A, "asset", "version", "1.0")
set_glb("GLTF_EXTENSIONS", A, "extensionsUsed", ["EXT_mesh_features"])
set_glb("GLTF_EXTENSIONS", A, "extensionsRequired", ["KHR_mesh_quantization"])
set_glb("GLTF_EXTENSION_UNKNOWN", A, "extensionsRequired", ["ACME_shapes"])
set_glb("GLTF_REFERENCE", A, *PRIMITIVE, "material", 1)
set_glb("GLTF_REFERENCE", A, *PRIMITIVE, "indices", 99)
set_glb("GLTF_REFERENCE", A, "textures", 0, "source", 4)
set_glb("GLTF_REFERENCE", A, "materials", 0, "pbrMetallicRoughness", "baseColorTexture", "index", 4)
set_glb("GLTF_REFERENCE", A, "nodes", 0, "mesh", 4)
set_glb("GLTF_REFERENCE", A, "scenes", 0, "nodes", [7])
set_glb("GLTF_REFERENCE", A, "accessors", 0, "bufferView", 77)
set_glb("GLTF_NODE_LOOP", A, "nodes", [{"mesh": 0, "children": [1]}, {"children": [0]}])
set_glb("GLTF_NODE_LOOP", A, "nodes", [{"children": [2]}, {"children": [2]}, {"mesh": 0}])
set_glb("GLTF_TRANSFORM", A, "nodes", 0, "rotation", [1, 1, 0, 0])
set_glb("GLTF_VIEW_RANGE", A, "bufferViews", 0, "byteLength", 10**9)
set_glb("GLTF_VIEW_RANGE", A, "buffers", 0, "byteLength", lambda n: n + 100)
set_glb("GLTF_ACCESSOR_RANGE", A, "accessors", 0, "count", 10**9)
set_glb("GLTF_ALIGNMENT", A, "accessors", 0, "byteOffset", 2)
set_glb("GLTF_ALIGNMENT", A, "bufferViews", 0, "byteStride", 14)
set_glb("GLTF_MESHOPT", B, "bufferViews", 0, "extensions", "EXT_meshopt_compression", "count", 10**8)
set_glb("GLTF_MESHOPT", B, "bufferViews", 0, "extensions", "EXT_meshopt_compression", "mode", "INDICES")
set_glb("GLTF_MESHOPT", B, "bufferViews", 0, "extensions", "EXT_meshopt_compression", "filter", "ZIP")
poke_glb("GLTF_MESHOPT", B, lambda d: 0, [255])
set_glb("GLTF_ATTRIBUTE", A, *PRIMITIVE, "attributes", "TEXCOORD_0", 0)
set_glb("GLTF_ATTRIBUTE", A, "accessors", 1, "count", 7)
set_glb("GLTF_ATTRIBUTE", B, "accessors", 1, "normalized", ...)
set_glb("GLTF_QUANTIZATION", B, "extensionsRequired", ["EXT_meshopt_compression"])
set_glb("GLTF_MINMAX", A, "accessors", 0, "min", ...)
set_glb("GLTF_MINMAX", A, "accessors", 0, "max", [1000, 1000, 1000])
set_glb("GLTF_MINMAX", B, "accessors", 0, "max", [1, 1, 1])
poke_glb("GLTF_NOT_FINITE", A, lambda d: 0, np.array([np.nan, 0, 0], "<f4"))
poke_glb("GLTF_NOT_FINITE", A, lambda d: d["accessors"][1]["bufferView"], np.array([np.inf], "<f4"))
poke_glb("GLTF_INDEX_RANGE", A, lambda d: d["accessors"][4]["bufferView"], np.array([48], "<u2"))
poke_glb("GLTF_INDEX_RANGE", A, lambda d: d["accessors"][4]["bufferView"], np.array([65535], "<u2"))
set_glb("GLTF_INDEX_COUNT", A, "accessors", 4, "count", 71)
poke_glb("GLTF_DEGENERATE", A, lambda d: d["accessors"][4]["bufferView"], np.array([0, 0, 0], "<u2"))
poke_glb("GLTF_NORMAL_LENGTH", A, lambda d: d["accessors"][1]["bufferView"], np.array([0, 0.5, 0], "<f4"))
poke_glb("GLTF_IMAGE", A, lambda d: d["images"][0]["bufferView"], b"\x89PNX" * 4)
set_glb("GLTF_IMAGE", A, "images", 0, "mimeType", "image/jpeg")
set_glb("GLTF_DRACO", A, *PRIMITIVE, "extensions", {"KHR_draco_mesh_compression": {"bufferView": 0, "attributes": {}}})
set_glb("GLTF_INSTANCING", C, "accessors", 1, "count", 1)
poke_glb("GLTF_INSTANCING", C, lambda d: d["accessors"][1]["bufferView"], np.array([1, 1, 1, 1], "<f4"))
FEATURE_IDS = (*PRIMITIVE, "extensions", "EXT_mesh_features", "featureIds", 0)
set_glb("FEATURES_STRUCTURE", A, *FEATURE_IDS, "featureCount", 0)
set_glb("FEATURES_STRUCTURE", A, *FEATURE_IDS, "attribute", 3)
set_glb("FEATURES_STRUCTURE", A, *FEATURE_IDS, "propertyTable", 3)
set_glb("FEATURES_STRUCTURE", A, *FEATURE_IDS, "texture", {"index": 9, "channels": [0]})
set_glb("FEATURES_RANGE", A, *FEATURE_IDS, "featureCount", 1)
poke_glb("FEATURES_RANGE", A, lambda d: d["accessors"][3]["bufferView"], np.array([5], "<f4"))
poke_glb("FEATURES_RANGE", A, lambda d: d["accessors"][3]["bufferView"], np.array([0.5], "<f4"))
poke_glb("FEATURES_RANGE", C, lambda d: d["accessors"][2]["bufferView"], np.array([9], "<f4"))
set_glb("FEATURES_COUNT", A, *FEATURE_IDS, "featureCount", 3)
set_glb("METADATA_SCHEMA", A, *CLASS, "height_m", "componentType", "FLOAT16")
set_glb("METADATA_SCHEMA", A, *CLASS, "use", "enumType", "unknown")
set_glb("METADATA_SCHEMA", A, "extensions", "EXT_structural_metadata", "schema", "id", "9 lives")
set_glb(
    "METADATA_SCHEMA",
    A,
    "extensions",
    "EXT_structural_metadata",
    "schema",
    "enums",
    "use",
    "values",
    [{"name": "a", "value": 300}],
)
set_glb("METADATA_NODATA", A, *CLASS, "height_m", "noData", "none")
set_glb("METADATA_NODATA", A, *CLASS, "use", "noData", 0)
set_glb("METADATA_NODATA", A, *CLASS, "legal", "noData", False)
set_glb("METADATA_TABLE", A, *TABLE, "class", "unknown")
set_glb("METADATA_TABLE", A, *TABLE, "count", 0)
set_glb("METADATA_TABLE", A, *TABLE, "properties", "id", ...)
set_glb("METADATA_TABLE", A, *TABLE, "properties", "unknown", {"values": 0})
set_glb("METADATA_SIZE", A, *TABLE, "count", 3)
set_glb("METADATA_SIZE", A, *TABLE, "properties", "height_m", "values", 99)
set_glb("METADATA_ALIGNMENT", A, "bufferViews", 7, "byteOffset", lambda n: n + 1)


def view_of(name, key="values"):
    return lambda d: d["extensions"]["EXT_structural_metadata"]["propertyTables"][0]["properties"][name][key]


poke_glb("METADATA_OFFSETS", A, view_of("id", "stringOffsets"), np.array([0, 9, 4], "<u4"))
poke_glb("METADATA_OFFSETS", A, view_of("floors", "arrayOffsets"), np.array([0, 5, 4], "<u4"))
poke_glb("METADATA_UTF8", A, view_of("id"), b"\xff\xfe")
poke_glb("METADATA_ENUM", A, view_of("use"), np.array([7], "u1"))
poke_glb("METADATA_RANGE", A, view_of("height_m"), np.array([501], "<f4"))
poke_glb("METADATA_ENUM", D, lambda d: d["accessors"][1]["bufferView"], np.array([9], "u1"))
set_glb("METADATA_ATTRIBUTE", D, *PRIMITIVE, "extensions", "EXT_structural_metadata", "propertyAttributes", [4])
set_glb("METADATA_ATTRIBUTE", D, *PRIMITIVE, "attributes", "_CLASS", ...)
set_glb("METADATA_ATTRIBUTE", D, "accessors", 2, "componentType", 5122)

# ------------------------------------------------------------------------------------------------------- terrain
L = "terrain/layer.json"
set_json("LAYER_JSON_STRUCTURE", "terrain", L, "tiles", [])
set_json("LAYER_JSON_STRUCTURE", "terrain", L, "maxzoom", "1")
set_json("LAYER_JSON_STRUCTURE", "terrain", L, "bounds", [10, 0, -10, 5])
set_json("LAYER_JSON_STRUCTURE", "terrain", L, "extensions", ["oct"])
set_json("LAYER_JSON_FORMAT", "terrain", L, "format", "quantized-mesh")
for name in ("projection", "scheme", "version"):
    set_json("LAYER_JSON_QGIS", "terrain", L, name, ...)
set_json("LAYER_JSON_AVAILABLE", "terrain", L, "available", ...)
set_json("LAYER_JSON_AVAILABLE", "terrain", L, "maxzoom", 2)
set_json("LAYER_JSON_AVAILABLE", "terrain", L, "available", 1, 0, "endX", 4)
set_json("LAYER_JSON_METADATA", "terrain", L, "metadataAvailability", 10)
set_json("LAYER_JSON_PARENT", "terrain", L, "available", 0, 0, "endX", 0)
set_json("LAYER_JSON_FOUR", "terrain", L, "available", 1, 0, "endX", 2)
set_json("LAYER_JSON_ROOT", "terrain", L, "available", 0, 0, "endX", 0)
set_json("TERRAIN_MISSING", "terrain", L, "available", 1, 0, "startX", 0)


@rule("TERRAIN_TRUNCATED", "terrain")
def half_a_tile(folder):
    file = folder / "terrain/1/2/0.terrain"
    file.write_bytes(file.read_bytes()[:300])


@rule("TERRAIN_TRUNCATED", "terrain")
def four_billion_vertices(folder):
    file = folder / "terrain/1/2/0.terrain"
    data = bytearray(file.read_bytes())
    data[88:92] = b"\xff\xff\xff\xff"
    file.write_bytes(bytes(data))


def changed(array, index, value):
    made = np.array(array)
    made[index] = value
    return made


set_terrain("TERRAIN_HEADER", heights=lambda _: [float("nan"), 1.0])
set_terrain("TERRAIN_HEADER", sphere=lambda s: [*s[:3], -1.0])
set_terrain("TERRAIN_HEIGHTS", heights=lambda _: [10.0, 5.0])
set_terrain("TERRAIN_QUANTIZED", height=lambda h: changed(h, 3, 40_000))
set_terrain("TERRAIN_QUANTIZED", u=lambda h: changed(h, 3, -1))
set_terrain("TERRAIN_SPHERE", sphere=lambda s: [*s[:3], s[3] * 0.9])
set_terrain("TERRAIN_HORIZON", horizon=lambda h: [v * 0.9 for v in h])
set_terrain("TERRAIN_HIGH_WATER", codes=lambda _: [0, 0, 0, 3, 1, 65535] + [0] * 90)
set_terrain("TERRAIN_INDEX_RANGE", codes=lambda _: [0] * 96)
set_terrain("TERRAIN_INDEX_RANGE", edges=lambda e: e | {"west": [0, 30]})
set_terrain(
    "TERRAIN_UNUSED", u=lambda a: np.append(a, 5), v=lambda a: np.append(a, 5), height=lambda a: np.append(a, 5)
)
set_terrain("TERRAIN_WINDING", indices=lambda i: np.r_[i[:-2], i[-1], i[-2]])
set_terrain("TERRAIN_AREA", indices=lambda i: i[:-3])
set_terrain("TERRAIN_EDGE_OFF", edges=lambda e: e | {"west": e["south"]})
set_terrain("TERRAIN_EDGE_MISSING", edges=lambda e: e | {"north": e["north"][:-1]})
set_terrain("TERRAIN_EDGE_REPEATED", edges=lambda e: e | {"east": [*e["east"], e["east"][0]]})
set_terrain("TERRAIN_EXTENSION", extensions=lambda e: [(1, b"12")])
set_terrain("TERRAIN_EXTENSION", extensions=lambda e: [(4, struct.pack("<I", 9) + b"{}")])
set_terrain("TERRAIN_EXTENSION", extensions=lambda e: [(2, b"123")])
set_terrain("TERRAIN_EDGE_CRACK", height=lambda h: h + 100)
set_terrain("TERRAIN_EDGE_INEXACT", height=lambda h: h + 1)


@rule("TERRAIN_EDGE_CRACK", "terrain")
def one_more_vertex_than_the_neighbour(folder):
    (folder / "terrain/1/3/0.terrain").write_bytes(samples.terrain_bytes(terrain_parts(1, 3, 0, n=6)))


@rule("TERRAIN_EXTENSION", "terrain")
def bytes_behind_the_tile(folder):
    file = folder / "terrain/1/2/0.terrain"
    file.write_bytes(file.read_bytes() + b"123")


# ------------------------------------------------------------------------------------------------- vector, raster
good = feature(ring(SQUARE))
set_mvt("MVT_PROTOBUF", layer([good])[:-3])
set_mvt("MVT_PROTOBUF", block(3, key(2, 0) + b"\x05"))
set_mvt("MVT_PROTOBUF", b"<html>not a tile</html>")
set_mvt("MVT_VERSION", layer([good], version=1))
set_mvt("MVT_NAME", layer([good], name=None))
set_mvt("MVT_NAME", layer([good]) + layer([good]))
set_mvt("MVT_EXTENT", layer([good], extent=0))
set_mvt("MVT_EMPTY_LAYER", layer([]))
set_mvt("MVT_TAGS", layer([feature(ring(SQUARE), tags=(0, 0, 0))]))
set_mvt("MVT_TAGS", layer([feature(ring(SQUARE), tags=(0, 7))]))
set_mvt("MVT_TAGS", layer([feature(ring(SQUARE), tags=(0, 0, 0, 0))]))
set_mvt("MVT_UNUSED", layer([good], keys=("use", "area_m2")))
set_mvt("MVT_UNUSED_VALUE", layer([good], values=[block(1, b"a"), block(1, b"b")]))
set_mvt("MVT_UNUSED", layer([good, feature(ring(SQUARE), tags=(1, 0), fid=2)], keys=("use", "use")))
set_mvt(
    "MVT_VALUE_REPEATED",
    layer([good, feature(ring(SQUARE), tags=(0, 1), fid=2)], values=[block(1, b"a"), block(1, b"a")]),
)
set_mvt("MVT_VALUE", layer([good], values=[b""]))
set_mvt("MVT_VALUE", layer([good], values=[block(1, b"\xff")]))
set_mvt("MVT_TYPE", layer([feature(ring(SQUARE), kind=0)]))
set_mvt("MVT_COMMAND", layer([feature([10, 2, 2])]))
set_mvt("MVT_COMMAND", layer([feature([8 * 2**28 + 1, 2, 2], kind=1)]))
set_mvt("MVT_COMMAND", layer([feature([9, 2, 2], kind=2)]))
set_mvt("MVT_COMMAND", layer([feature([])]))
set_mvt("MVT_RING", layer([feature(ring(SQUARE, close=False))]))
set_mvt("MVT_RING", layer([feature(ring(SQUARE[:2]))]))
set_mvt("MVT_ZERO_AREA", layer([feature(ring([(0, 0), (10, 10), (20, 20)]))]))
set_mvt("MVT_WINDING", layer([feature(ring(SQUARE[::-1]))]))
set_mvt("MVT_FEATURE_ID", layer([good, good]))
set_mvt("MVT_BUFFER", layer([feature(ring([(10, 10), (4400, 10), (10, 110)]))]))
set_mvt("TILEJSON_UNDECLARED", layer([good], name="road"))
set_mvt("TILEJSON_UNDECLARED", layer([good], keys=("secret",)))
J = "vector/tilejson.json"
set_json("TILEJSON_STRUCTURE", "vector", J, "tiles", ["{z}/{x}.mvt"])
set_json("TILEJSON_STRUCTURE", "vector", J, "minzoom", 15)
set_json("TILEJSON_STRUCTURE", "vector", J, "bounds", [0, 0, 400, 10])
set_json("TILEJSON_VERSION", "vector", J, "tilejson", "2.2.0")
set_json("TILEJSON_LAYERS", "vector", J, "vector_layers", ...)
set_json("TILEJSON_LAYERS", "vector", J, "vector_layers", 0, "fields", ...)
set_json("TILEJSON_NO_TILES", "vector", J, "bounds", [10, 10, 10.0001, 10.0001])


@rule("RASTER_TILE", "raster")
def half_a_picture(folder):
    file = folder / "raster/0/0/0.png"
    file.write_bytes(file.read_bytes()[:40])


@rule("RASTER_TILE", "raster")
def a_flat_picture(folder):
    made = io.BytesIO()
    Image.new("RGB", (8, 4)).save(made, "PNG")
    (folder / "raster/0/0/0.png").write_bytes(made.getvalue())
