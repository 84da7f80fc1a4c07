"""glTF 2.0 and GLB (Khronos, ISO/IEC 12113): one part for each node with a mesh; y up becomes z up, units are metres.

Read are node transforms, triangles, strips and fans, all accessor types with strides, normalisation and sparse values
(so also KHR_mesh_quantization), base colours and base colour textures, KHR_texture_transform, CESIUM_RTC. Compressed
geometry is refused by the name of its extension. A mesh that several nodes use is one shape.
"""

import base64
import binascii
import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.mesh.parts import MAX_PARTS, MAX_VERTICES, Y_UP, Beside, Float, Model, Part, broken, cut_materials
from ingest.tileset.content import node_matrix
from layers.errors import InvalidInput
from layers.issue import Issue
from layers.mesh import Mesh, SharedShape, Texture

COMPONENTS = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
RANGES = {5120: 127.0, 5121: 255.0, 5122: 32767.0, 5123: 65535.0}
WRAPS = {33071: "clamp", 33648: "mirror", 10497: "repeat"}
COMPRESSED = ("KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_meshopt_compression")
UNDERSTOOD = {
    "KHR_mesh_quantization", "KHR_texture_transform", "KHR_materials_unlit", "EXT_texture_webp", "CESIUM_RTC",
    "EXT_mesh_features", "EXT_structural_metadata", "EXT_instance_features",
}  # fmt: skip

JSON_BYTES = 256 << 20
"""A scene of 200,000 nodes has 20 MB; more are buffers that lie in the text."""

_FAULTS = (TypeError, KeyError, IndexError, ValueError, AttributeError, OverflowError, RecursionError, struct.error)


def read_gltf(path: Path, name: str, beside: Beside) -> Model:
    """Raises InvalidInput for a file that is damaged, or needs an extension that is not read."""
    body, binary = _split(path, name)
    try:
        return _Reader(body, binary, name, beside).model("GLB" if binary is not None else "glTF")
    except _FAULTS as error:
        raise broken(name, f"it is not as glTF 2.0 has it: {type(error).__name__} {error}.") from error


def _split(path: Path, name: str) -> tuple[dict[str, Any], bytes | None]:
    binary, size = None, path.stat().st_size
    with path.open("rb") as file:
        head = file.read(20)
    n_text = int.from_bytes(head[12:16], "little") if head[:4] == b"glTF" else size
    if n_text > JSON_BYTES:
        raise broken(name, f"its JSON has {n_text} bytes, and {JSON_BYTES} are the limit.")
    if head[:4] == b"glTF" and head[4:8] != b"\2\0\0\0":
        raise broken(name, f"it is glTF {int.from_bytes(head[4:8], 'little')}, not 2.0.")
    data = path.read_bytes()
    if data[:4] == b"glTF":
        if len(data) < 20:
            raise broken(name, "it ends inside its header.", "TRUNCATED")
        claimed, n_json = struct.unpack_from("<II", data, 8)
        if claimed > len(data) or 20 + n_json > claimed:
            raise broken(name, f"its header claims {claimed} bytes, it has {len(data)}.", "TRUNCATED")
        binary, at = b"", 20 + n_json + (-n_json % 4)
        if at + 8 <= claimed and data[at + 4 : at + 8] == b"BIN\0":
            (n_binary,) = struct.unpack_from("<I", data, at)
            binary = data[at + 8 : at + 8 + n_binary]
        data = data[20 : 20 + n_json]
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise broken(name, f"its JSON is damaged: {error}.", "JSON_BROKEN") from error
    if not isinstance(body, dict) or not str((body.get("asset") or {}).get("version", "")).startswith("2"):
        raise broken(name, "it is not glTF 2.0.")
    return body, binary


class _Reader:
    def __init__(self, body: dict[str, Any], binary: bytes | None, name: str, beside: Beside) -> None:
        self.body, self.binary, self.name, self.beside = body, binary, name, beside
        self.buffers: dict[int, bytes] = {}
        self.issues: list[Issue] = []
        self.meshes: dict[int, Mesh] = {}
        self.skipped = 0
        self.n_vertices = 0

    def items(self, key: str) -> list[dict[str, Any]]:
        found = self.body.get(key) or []
        if not isinstance(found, list):
            raise TypeError(f"{key} is no list")
        return found

    def model(self, kind: str) -> Model:
        self.check_extensions()
        centre = np.zeros(3)
        rtc = (self.body.get("extensions") or {}).get("CESIUM_RTC")
        if rtc:
            centre = np.array(rtc["center"], np.float64)
        parts = [self.part(node, index, matrix, centre) for index, node, matrix in self.placed()]
        if not parts:
            raise broken(self.name, "its scene has no meshes.", "MESH_EMPTY")
        if self.skipped:
            message = f"{self.skipped} primitives of points or lines are not read."
            self.issues.append(Issue("MESH_PARTLY_READ", self.name, message, "", "warning"))
        issues = [*self.issues, *self.beside.issues]
        return Model(f"{kind} 2.0", parts, has_unit=True, issues=issues)

    def check_extensions(self) -> None:
        required = {str(each) for each in self.body.get("extensionsRequired") or []}
        used = {str(each) for each in self.body.get("extensionsUsed") or []} | required
        packed = [each for each in COMPRESSED if each in required]
        packed += ["EXT_mesh_gpu_instancing"] if "EXT_mesh_gpu_instancing" in used else []
        unknown = sorted(each for each in required - UNDERSTOOD if not each.startswith("KHR_materials_"))
        bad = packed or [each for each in unknown if each != "KHR_texture_basisu"]
        if bad:
            problem = f"{self.name} needs {', '.join(bad)}, which is not read."
            hint = "Export it without compression and instancing (gltf-transform copy, gltfpack -noq), or as 3D Tiles."
            raise InvalidInput(problem, hint, code="GLTF_EXTENSION")

    def placed(self) -> list[tuple[int, dict[str, Any], Float]]:
        """Nodes with a mesh, in the order of the scene, with their matrices."""
        nodes = self.items("nodes")
        scenes = self.items("scenes")
        roots = scenes[self.body.get("scene", 0)].get("nodes", []) if scenes else range(len(nodes))
        if not scenes:
            children = {child for node in nodes for child in node.get("children", [])}
            roots = [index for index in roots if index not in children]
        found: list[tuple[int, dict[str, Any], Float]] = []
        seen: set[int] = set()
        stack = [(index, np.eye(4)) for index in reversed(list(roots))]
        while stack:
            index, above = stack.pop()
            if index in seen or index < 0:
                raise broken(self.name, f"node {index} is there twice: nodes must form a tree.")
            seen.add(index)
            node = nodes[index]
            matrix = above @ node_matrix(node)
            if "mesh" in node:
                found.append((index, node, matrix))
            stack += [(child, matrix) for child in reversed(node.get("children", []))]
        if len(found) > MAX_PARTS:
            raise broken(self.name, f"it has {len(found)} objects.", "MESH_TOO_LARGE")
        uses = [node["mesh"] for _, node, _ in found]
        self.shared = {mesh for mesh in uses if uses.count(mesh) > 1} if len(uses) < 2000 else set(uses)
        return found

    def part(self, node: dict[str, Any], index: int, matrix: Float, centre: Float) -> Part:
        number = node["mesh"]
        mesh = self.mesh(number)
        self.n_vertices += len(mesh.vertices)
        if self.n_vertices > MAX_VERTICES:
            raise broken(self.name, f"its objects have more than {MAX_VERTICES} vertices.", "MESH_TOO_LARGE")
        turned = mesh.vertices @ matrix[:3, :3].T + matrix[:3, 3]
        placed = turned @ Y_UP.T + centre
        triangles = mesh.triangles
        if np.linalg.det(matrix[:3, :3]) < 0:  # mirrored: glTF 2.0, 3.7.4
            triangles = triangles[:, ::-1]
        shape = None
        if number in self.shared and np.linalg.det(matrix[:3, :3]) > 0:
            shape = SharedShape(f"{self.name}#{number}", mesh.vertices @ Y_UP.T)
        name = str(node.get("name") or self.items("meshes")[number].get("name") or "")[:200]
        extra = {"node": index} | ({"extras": node["extras"]} if node.get("extras") else {})
        return Part(name, replace(mesh, vertices=placed, triangles=triangles, shared=shape), extra)

    def mesh(self, number: int) -> Mesh:
        """All triangles of a mesh in its own y-up frame."""
        if number not in self.meshes:
            given = self.items("meshes")[number]["primitives"]
            pieces = [piece for piece in (self.primitive(each) for each in given) if piece is not None]
            self.meshes[number] = self.joined(pieces)
        return self.meshes[number]

    def joined(self, pieces: list[tuple[Mesh, int]]) -> Mesh:
        if not pieces:
            return Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int64))
        starts = np.cumsum([0, *(len(mesh.vertices) for mesh, _ in pieces)])
        materials = [self.material(number) for _, number in pieces]
        has_uv = any(texture for _, texture in materials)
        uvs = [
            mesh.uv if mesh.uv is not None else np.full((len(mesh.vertices), 2), np.nan, np.float32)
            for mesh, _ in pieces
        ]
        return cut_materials(
            Mesh(
                np.concatenate([mesh.vertices for mesh, _ in pieces]),
                np.concatenate([mesh.triangles + start for (mesh, _), start in zip(pieces, starts[:-1], strict=True)]),
                np.concatenate([np.full(len(mesh.triangles), i) for i, (mesh, _) in enumerate(pieces)]),
                np.array([colour for colour, _ in materials], np.uint8),
                np.concatenate(uvs) if has_uv else None,
                tuple(texture for _, texture in materials),
            )
        )

    def primitive(self, given: dict[str, Any]) -> tuple[Mesh, int] | None:
        mode = given.get("mode", 4)
        if mode not in {4, 5, 6}:
            self.skipped += 1
            return None
        packed = [each for each in COMPRESSED if each in (given.get("extensions") or {})]
        positions = self.accessor(given["attributes"]["POSITION"], packed)
        if positions.shape[1] != 3:
            raise ValueError("POSITION is not VEC3")
        if "indices" in given:
            indices = self.accessor(given["indices"], packed).reshape(-1).astype(np.int64)
        else:
            indices = np.arange(len(positions))
        triangles = _triangles(indices, mode)
        if len(triangles) and int(triangles.max()) >= len(positions):
            raise ValueError("an index names a vertex that does not exist")
        number = given.get("material", -1)
        return Mesh(positions, triangles, uv=self.uv(given, number, len(positions))), number

    def uv(self, given: dict[str, Any], material: int, n_vertices: int) -> NDArray[np.float32] | None:
        info = self.base_texture(material)
        if info is None:
            return None
        moved = (info.get("extensions") or {}).get("KHR_texture_transform") or {}
        key = f"TEXCOORD_{moved.get('texCoord', info.get('texCoord', 0))}"
        if key not in given["attributes"]:
            return None
        uv = self.accessor(given["attributes"][key], [])[:, :2]
        if len(uv) != n_vertices:
            raise ValueError(f"{key} has {len(uv)} rows for {n_vertices} vertices")
        if moved:
            turn, scale = float(moved.get("rotation", 0)), np.array(moved.get("scale", (1, 1)), np.float64)
            cos, sin = np.cos(turn), np.sin(turn)
            uv = (uv * scale) @ np.array([[cos, sin], [-sin, cos]]).T + np.array(moved.get("offset", (0, 0)))
        return np.column_stack([uv[:, 0], 1 - uv[:, 1]]).astype(np.float32)  # glTF's origin is the upper left

    def base_texture(self, material: int) -> dict[str, Any] | None:
        if material < 0:
            return None
        return (self.items("materials")[material].get("pbrMetallicRoughness") or {}).get("baseColorTexture")

    def material(self, number: int) -> tuple[tuple[int, ...], Texture | None]:
        """Base colour as sRGB, 8 bits (glTF's factors are linear), and its texture."""
        if number < 0:
            return (255, 255, 255, 255), None
        pbr = self.items("materials")[number].get("pbrMetallicRoughness") or {}
        linear = np.clip(np.array(pbr.get("baseColorFactor", (1, 1, 1, 1)), np.float64), 0, 1)
        srgb = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
        rgba = [*(round(255 * float(each)) for each in srgb[:3]), round(255 * float(linear[3]))]
        info = self.base_texture(number)
        return tuple(rgba), None if info is None else self.texture(info["index"])

    def texture(self, number: int) -> Texture | None:
        given = self.items("textures")[number]
        webp = (given.get("extensions") or {}).get("EXT_texture_webp") or {}
        source = webp.get("source", given.get("source"))
        if source is None:
            message = f"Texture {number} is in a format that is not read (KTX2); only its colour is kept."
            self.issues.append(Issue("TEXTURE_FORMAT", self.name, message, "Export it with JPEG or PNG.", "warning"))
            return None
        image = self.items("images")[source]
        sampler = self.items("samplers")[given["sampler"]] if "sampler" in given else {}
        wrap = WRAPS.get(sampler.get("wrapS", 10497), "repeat")
        if "bufferView" in image:
            return self.beside.texture(f"image {source}", wrap, self.view(image["bufferView"]))
        uri = image["uri"]
        data = _data_uri(uri, self.name)
        return self.beside.texture(uri if data is None else f"image {source}", wrap, data)

    def buffer(self, number: int) -> bytes:
        if number not in self.buffers:
            given = self.items("buffers")[number]
            uri = given.get("uri")
            found = self.binary if uri is None and number == 0 else None
            if uri is not None:
                inline = _data_uri(uri, self.name)
                found = self.beside.data(uri) if inline is None else inline
            if found is None or len(found) < given["byteLength"]:
                has = "is not there" if found is None else f"has {len(found)} bytes, {given['byteLength']} are claimed"
                raise broken(self.name, f"its buffer {str(uri)[:100]} {has}.", "MESH_BUFFER")
            self.buffers[number] = found
        return self.buffers[number]

    def view(self, number: int) -> bytes:
        given = self.items("bufferViews")[number]
        if any(each in (given.get("extensions") or {}) for each in COMPRESSED[1:]):
            uri = self.items("buffers")[given["buffer"]].get("uri")
            if uri is None and given["buffer"] != 0:
                raise InvalidInput(
                    f"{self.name} has geometry packed with EXT_meshopt_compression, which is not read.",
                    "Export it without compression.", code="GLTF_EXTENSION",
                )  # fmt: skip
        start, length = given.get("byteOffset", 0), given["byteLength"]
        data = self.buffer(given["buffer"])
        if start < 0 or length < 0 or start + length > len(data):
            raise ValueError(f"buffer view {number} reaches beyond its buffer")
        return data[start : start + length]

    def accessor(self, number: int, packed: list[str]) -> Float:
        """(n, k) float64, normalised where it is said to be."""
        given = self.items("accessors")[number]
        kind, width, count = given["componentType"], WIDTHS[given["type"]], int(given["count"])
        if not 0 <= count <= MAX_VERTICES * 3:
            raise ValueError(f"accessor {number} has {count} rows")
        if "bufferView" not in given and packed:
            problem = f"{self.name} has geometry packed with {packed[0]}, which is not read."
            raise InvalidInput(problem, "Export it without compression.", code="GLTF_EXTENSION")
        values = np.zeros((count, width))
        if "bufferView" in given:
            stride = self.items("bufferViews")[given["bufferView"]].get("byteStride")
            data = self.view(given["bufferView"])
            values = _rows(data, given.get("byteOffset", 0), count, COMPONENTS[kind], width, stride=stride)
        sparse = given.get("sparse")
        if sparse:
            at, new, n_rows = sparse["indices"], sparse["values"], sparse["count"]
            index_kind = COMPONENTS[at["componentType"]]
            rows = _rows(self.view(at["bufferView"]), at.get("byteOffset", 0), n_rows, index_kind).reshape(-1)
            data = self.view(new["bufferView"])
            values[rows.astype(np.int64)] = _rows(data, new.get("byteOffset", 0), n_rows, COMPONENTS[kind], width)
        return np.maximum(values / RANGES[kind], -1.0) if given.get("normalized") and kind in RANGES else values


def _rows(data: bytes, start: int, count: int, kind: str, width: int = 1, *, stride: int | None = None) -> Float:
    item = np.dtype(kind).itemsize * width
    step = stride or item
    if start < 0 or step < item or (count and start + (count - 1) * step + item > len(data)):
        raise ValueError("an accessor reaches beyond its buffer view")
    if not count:
        return np.zeros((0, width))
    column = np.ndarray((count, width), kind, data, start, (step, np.dtype(kind).itemsize))
    return column.astype(np.float64)


def _triangles(indices: NDArray[np.int64], mode: int) -> NDArray[np.int64]:
    if mode == 4:
        return indices[: len(indices) // 3 * 3].reshape(-1, 3)
    if len(indices) < 3:
        return np.zeros((0, 3), np.int64)
    if mode == 6:
        return np.column_stack([np.full(len(indices) - 2, indices[0]), indices[1:-1], indices[2:]])
    made = np.column_stack([indices[:-2], indices[1:-1], indices[2:]])
    made[1::2] = made[1::2][:, [1, 0, 2]]
    return made[(made[:, 0] != made[:, 1]) & (made[:, 1] != made[:, 2]) & (made[:, 0] != made[:, 2])]


def _data_uri(uri: str, name: str) -> bytes | None:
    if not uri.startswith("data:"):
        return None
    head, _, body = uri.partition(",")
    if not head.endswith(";base64"):
        raise broken(name, "a data: address is not base64.")
    try:
        return base64.b64decode(body)
    except (binascii.Error, ValueError) as error:
        raise broken(name, f"a data: address is damaged: {error}.") from error
