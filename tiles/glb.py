"""Meshes of features -> one binary glTF 2.0, in the encoding that QGIS draws (`compat`).

float32 positions relative to the tile's centre, flat float32 normals, one primitive for each colour (QGIS reads
`baseColorFactor` and ignores vertex colours), `_FEATURE_ID_0` as float32 (EXT_mesh_features allows ubyte, ushort and
float; float needs no padding and is exact to 2^24) and a property table (EXT_structural_metadata).

glTF is y-up: east, north, up become x, -z, y, and 3D Tiles turns them back. Spec: glTF 2.0 (ISO/IEC 12113) 3.6, 4.4.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from layers.errors import InvalidInput
from layers.mesh import StoredMesh, decode
from tiles.metadata import PropertyTable

FloatArray = NDArray[np.float64]
Colour = tuple[int, int, int, int]

MAX_COLOURS = 64
"""Primitives in a tile; beyond it similar colours are joined."""

_ARRAY_BUFFER, _ELEMENT_ARRAY_BUFFER = 34962, 34963
_FLOAT, _UINT16, _UINT32 = 5126, 5123, 5125


@dataclass(frozen=True)
class _Soup:
    """All triangles of a tile, vertices in metres relative to `centre` (east, north, up)."""

    centre: FloatArray
    vertices: FloatArray
    triangles: NDArray[np.int64]
    features: NDArray[np.int64]
    colours: NDArray[np.uint8]


@dataclass(frozen=True)
class _Primitive:
    """Vertex arrays of one colour."""

    colour: Colour
    positions: NDArray[np.float32]
    normals: NDArray[np.float32]
    features: NDArray[np.float32]
    indices: NDArray[np.uint32]


class _Bin:
    """The BIN chunk as it grows; every view starts at a multiple of 8, as property tables need."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.length = 0
        self.views: list[dict[str, int]] = []

    def add(self, data: bytes, target: int | None = None) -> int:
        self.views.append({"buffer": 0, "byteOffset": self.length, "byteLength": len(data)})
        if target is not None:
            self.views[-1]["target"] = target
        padding = b"\0" * (-len(data) % 8)
        self.parts += [data, padding]
        self.length += len(data) + len(padding)
        return len(self.views) - 1


def encode(meshes: Sequence[StoredMesh], table: PropertyTable, colours: NDArray[np.uint8]) -> bytes:
    """Make the glb of a tile.

    Parameters
    ----------
    meshes : n stored meshes in the city's ENU frame; mesh i belongs to row i of `table`
    table : property table with n rows
    colours : (n, 4) RGBA by the layer's style, for meshes without materials of their own

    Returns
    -------
    glTF 2.0 bytes. A vertex is off by at most 2^-24 of the tile's half size (0.06 mm for 1 km). Triangles without
    area are left out: they have no normal and nothing to show.

    Raises
    ------
    InvalidInput : more features than rows or than float32 can number.
    """
    if len(meshes) != table.table["count"] or len(meshes) >= 2**24:
        raise InvalidInput(f"{len(meshes)} meshes do not fit {table.table['count']} rows of attributes.")
    soup = _gather(meshes, colours)
    return _container(soup.centre, _primitives(soup), table)


def _gather(meshes: Sequence[StoredMesh], colours: NDArray[np.uint8]) -> _Soup:
    """Concatenate blobs; the only loop is over features."""
    if not meshes:
        none = np.zeros((0, 3))
        empty = np.zeros(0, np.int64)
        return _Soup(np.zeros(3), none, none.astype(np.int64), empty, np.zeros((0, 4), np.uint8))
    bounds = np.array([mesh.bounds for mesh in meshes])
    centre = (bounds[:, :3].min(axis=0) + bounds[:, 3:].max(axis=0)) / 2
    decoded = [decode(mesh.blob) for mesh in meshes]
    n_vertices = np.array([len(mesh.vertices) for mesh in decoded])
    n_triangles = np.array([len(mesh.triangles) for mesh in decoded])
    palettes = [np.zeros((0, 4), np.uint8) if mesh.materials is None else mesh.materials for mesh in decoded]
    n_colours = np.array([len(palette) for palette in palettes])
    first_vertex, first_colour = (np.concatenate([[0], np.cumsum(n)[:-1]]) for n in (n_vertices, n_colours))
    ids = np.concatenate(
        [np.zeros(len(m.triangles), np.uint8) if m.material_ids is None else m.material_ids for m in decoded]
    ).astype(np.int64)
    features = np.repeat(np.arange(len(meshes)), n_triangles)
    # the styles' colours come last: meshes without materials, and ids that name none, fall on them
    palette = np.concatenate([*palettes, colours])
    known = ids < np.repeat(n_colours, n_triangles)
    slots = np.where(known, ids + np.repeat(first_colour, n_triangles), n_colours.sum() + features)
    return _Soup(
        centre,
        np.concatenate([mesh.vertices for mesh in decoded]) - centre,
        np.concatenate([mesh.triangles for mesh in decoded]) + np.repeat(first_vertex, n_triangles)[:, None],
        features,
        palette[slots],
    )


def _primitives(soup: _Soup) -> list[_Primitive]:
    corners = soup.vertices[soup.triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1)
    solid = lengths > 0
    normals = normals / np.where(solid, lengths, 1)[:, None]
    keys = _colour_keys(soup.colours)
    made = []
    for key in np.unique(keys[solid]):
        chosen = np.flatnonzero(solid & (keys == key))
        rgba = tuple(int(v) for v in soup.colours[chosen[0]])
        made.append(_primitive(soup, normals[chosen], chosen, rgba))  # type: ignore[arg-type]
    return made


def _colour_keys(colours: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """One number a triangle; bits are dropped until at most MAX_COLOURS remain (opacity keeps its top bit)."""
    keys = np.zeros(len(colours), np.uint32)
    for bits in range(8, 0, -1):
        keys = np.ascontiguousarray(colours & np.uint8(256 - (1 << (8 - bits)))).view(">u4").ravel().astype(np.uint32)
        if len(np.unique(keys)) <= MAX_COLOURS:
            break
    return keys


def _primitive(soup: _Soup, normals: FloatArray, chosen: NDArray[np.int64], colour: Colour) -> _Primitive:
    """Corners that share vertex and normal are stored once: a box has 24 vertices instead of 36."""
    vertex = soup.triangles[chosen].ravel()
    steps = np.rint((normals + 1) * 511.5).astype(np.int64)  # 10 bits an axis: 0.1 degree
    facing = np.repeat((steps[:, 0] << 20) | (steps[:, 1] << 10) | steps[:, 2], 3)
    _, first, inverse = np.unique((vertex << 30) | facing, return_index=True, return_inverse=True)
    return _Primitive(
        colour,
        _y_up(soup.vertices[vertex[first]]),
        _y_up(normals[first // 3]),
        soup.features[chosen[first // 3]].astype("<f4"),
        inverse.ravel().astype(np.uint32),
    )


def _y_up(enu: FloatArray) -> NDArray[np.float32]:
    return np.stack([enu[:, 0], enu[:, 2], -enu[:, 1]], axis=1).astype("<f4")


def _container(centre: FloatArray, primitives: list[_Primitive], table: PropertyTable) -> bytes:
    body = _Bin()
    accessors: list[dict[str, Any]] = []
    gltf_primitives = [
        {
            **_vertex_data(primitive, body, accessors),
            "material": number,
            "mode": 4,
            "extensions": {"EXT_mesh_features": {"featureIds": [_feature_ids(primitive)]}},
        }
        for number, primitive in enumerate(primitives)
    ]
    first_view = len(body.views)
    for data in table.buffers:
        body.add(data)
    node = {"translation": [float(centre[0]), float(centre[2]), float(-centre[1])]}
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "CityTwin"},
        "extensionsUsed": ["EXT_mesh_features", "EXT_structural_metadata"],
        "extensions": {
            "EXT_structural_metadata": {"schema": table.schema, "propertyTables": [table.shifted(first_view)]}
        },
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, **node} if primitives else node],
    }
    if primitives:
        document |= {
            "meshes": [{"primitives": gltf_primitives}],
            "materials": [_material(primitive.colour) for primitive in primitives],
            "accessors": accessors,
        }
    else:
        document["extensionsUsed"] = ["EXT_structural_metadata"]
    if body.views:
        document |= {"bufferViews": body.views, "buffers": [{"byteLength": body.length}]}
    return _chunks(document, b"".join(body.parts))


def _feature_ids(primitive: _Primitive) -> dict[str, int]:
    return {"featureCount": len(np.unique(primitive.features)), "attribute": 0, "propertyTable": 0}


def _vertex_data(primitive: _Primitive, body: _Bin, accessors: list[dict[str, Any]]) -> dict[str, Any]:
    def accessor(data: NDArray[Any], component: int, shape: str, target: int, **more: Any) -> int:
        view = body.add(data.tobytes(), target)
        accessors.append({"bufferView": view, "componentType": component, "count": len(data), "type": shape, **more})
        return len(accessors) - 1

    positions = primitive.positions
    # 65535 is the primitive restart value, so 16 bits reach 65,534
    short = len(positions) < 65535
    return {
        "attributes": {
            "POSITION": accessor(
                positions,
                _FLOAT,
                "VEC3",
                _ARRAY_BUFFER,
                min=[float(v) for v in positions.min(axis=0)],
                max=[float(v) for v in positions.max(axis=0)],
            ),
            "NORMAL": accessor(primitive.normals, _FLOAT, "VEC3", _ARRAY_BUFFER),
            "_FEATURE_ID_0": accessor(primitive.features, _FLOAT, "SCALAR", _ARRAY_BUFFER),
        },
        "indices": accessor(
            primitive.indices.astype("<u2" if short else "<u4"),
            _UINT16 if short else _UINT32,
            "SCALAR",
            _ELEMENT_ARRAY_BUFFER,
        ),
    }


def _material(colour: Colour) -> dict[str, Any]:
    """Base colours are linear in glTF, styles are sRGB."""
    srgb = np.array(colour[:3]) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    material: dict[str, Any] = {
        "pbrMetallicRoughness": {
            "baseColorFactor": [*(round(float(v), 6) for v in linear), round(colour[3] / 255, 6)],
            "metallicFactor": 0,
            "roughnessFactor": 0.9,
        },
        # footprints of open surfaces and IFC shells are seen from both sides
        "doubleSided": True,
    }
    if colour[3] < 255:
        material["alphaMode"] = "BLEND"
    return material


def _chunks(document: dict[str, Any], body: bytes) -> bytes:
    text = orjson.dumps(document)
    # 12 bytes of header and 8 a chunk come before: the body then starts at a multiple of 8, as its views need
    text += b" " * (-(len(text) + 28) % 8)
    chunks = len(text).to_bytes(4, "little") + b"JSON" + text
    if body:
        chunks += len(body).to_bytes(4, "little") + b"BIN\0" + body
    return b"glTF" + (2).to_bytes(4, "little") + (12 + len(chunks)).to_bytes(4, "little") + chunks
