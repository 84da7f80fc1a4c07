"""Points -> one binary glTF 2.0 of mode POINTS.

`compat`: plain arrays. `compact`: every array packed by EXT_meshopt_compression, positions on a grid whose step is a
power of two, stored as the exponent and 24-bit mantissas of that extension's EXPONENTIAL filter: a reader gets float32
metres back, whatever the size of the tile, so that KHR_mesh_quantization is not needed.

Values of points are vertex attributes with a property attribute each (EXT_structural_metadata); the class is the
feature id too, which viewers pick and style by (`tiles.points.class_table`).

Spec: glTF 2.0 (ISO/IEC 12113) 3.6 and 3.7; EXT_meshopt_compression, appendix A; EXT_mesh_features.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray

from tiles.points.class_table import CLASS, ClassTable, class_table

FloatArray = NDArray[np.float64]
Form = Literal["compact", "compat"]

COARSEST_STEP_M = 2.0**-8
"""3.9 mm: a point moves by half of it at most, along each axis."""
_MANTISSA = 2**23
_ARRAY_BUFFER, _FLOAT, _UINT8, _UINT16 = 34962, 5126, 5121, 5123

PROPERTIES = {
    "classification": ("_CLASSIFICATION", "UINT8", "Class of ASPRS LAS 1.4; from 64 on the user's own"),
    "intensity": ("_INTENSITY", "UINT16", "Strength of the echo as the instrument gives it"),
    "return_number": ("_RETURN_NUMBER", "UINT8", "Number of this return of its pulse, from 1"),
    "number_of_returns": ("_NUMBER_OF_RETURNS", "UINT8", "Returns of the pulse"),
}
"""Property -> vertex attribute, component type, description."""


@dataclass(frozen=True)
class Points:
    """What a tile shows.

    Attributes
    ----------
    enu : (n, 3) metres in the tileset's frame
    colours : (n, 3) linear RGB
    values : (n,) uint8 or uint16 by the names of PROPERTIES
    """

    enu: FloatArray
    colours: NDArray[np.uint8]
    values: dict[str, NDArray[Any]]


@dataclass(frozen=True)
class _Array:
    """One vertex attribute: rows of a multiple of 4 bytes, how an accessor sees them, and the filter they pass."""

    name: str
    rows: NDArray[np.uint8]
    accessor: dict[str, Any]
    filter: str | None = None


def step_m(spacing_m: float, scale_m: float, reach_m: float) -> float:
    """Step of the grid that positions are put on: a power of two, COARSEST_STEP_M or finer.

    Finer where the points lie close (a 64th of their spacing), but not finer than the file's own step `scale_m`;
    coarser only where `reach_m`, the largest distance from the centre, would not fit 24 bits (beyond 32 km).
    """
    wanted = min(COARSEST_STEP_M, max(spacing_m / 64, scale_m))
    wanted = max(wanted, reach_m * 1.001 / _MANTISSA, 2.0**-100)
    step = 2.0 ** math.floor(math.log2(wanted))
    return step if reach_m < step * (_MANTISSA - 1) else 2 * step


def encode(points: Points, form: Form, step: float, about: dict[str, Any]) -> bytes:
    """Make the glb of a tile.

    Parameters
    ----------
    points : n points; none gives a scene with nothing in it
    form : encoding
    step : of `step_m`, for `compact`; a position is off by at most half of it along each axis. In `compat` it is off
        by at most 2^-24 of the tile's half size.
    about : goes into `asset.extras`; has `layer` and `asset`
    """
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "CityTwin", "extras": about},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
    }
    if not len(points.enu):
        return _chunks(document | {"nodes": [{"name": "empty"}]}, b"")
    low, high = extent(points.enu)
    centre = np.rint((low + high) * 500) / 1000
    east, north, up = (points.enu - centre).T
    y_up = np.stack([east, up, -north], axis=1)
    arrays = [_positions(y_up, step if form == "compact" else None), _colours(points.colours)]
    arrays += [_values(name, points.values[name]) for name in PROPERTIES]
    if form == "compact":
        arrays = _sorted(arrays, y_up)
    found = points.values["classification"]
    table = class_table(int(found.max()), about)
    document |= _metadata(table, len(arrays)) | {
        "nodes": [{"mesh": 0, "translation": [float(centre[0]), float(centre[2]), float(-centre[1])]}],
        "meshes": [{"primitives": [_primitive(arrays, len(np.unique(found)))]}],
        # points have no normals: they are shown in their own colours
        "materials": [{"extensions": {"KHR_materials_unlit": {}}, "pbrMetallicRoughness": {"metallicFactor": 0}}],
        "accessors": [{"bufferView": i, **each.accessor} for i, each in enumerate(arrays)],
    }
    return _packed(document, arrays, table) if form == "compact" else _plain(document, arrays, table)


def extent(xyz: NDArray[Any]) -> tuple[FloatArray, FloatArray]:
    """Lowest and highest corner of (n, 3) points; by column, which is ten times as fast as along the first axis."""
    low, high = ([float(pick(xyz[:, i])) for i in range(3)] for pick in (np.min, np.max))
    return np.array(low), np.array(high)


def _positions(y_up: FloatArray, step: float | None) -> _Array:
    """float32, or mantissas and the exponent of the step."""
    if step is None:
        metres = y_up.astype("<f4")
        rows = metres.view(np.uint8)
    else:
        steps = np.rint(y_up / step).astype(np.int64)
        metres = (steps * step).astype("<f4")  # exact: 24 bits
        exponent = np.int64(int(math.log2(step)) & 0xFF) << 24
        rows = ((steps & 0xFFFFFF) | exponent).astype("<u4").view(np.uint8)
    low, high = extent(metres)
    accessor = {"componentType": _FLOAT, "count": len(y_up), "type": "VEC3", "min": low.tolist(), "max": high.tolist()}
    return _Array("POSITION", rows, accessor, None if step is None else "EXPONENTIAL")


def _colours(rgb: NDArray[np.uint8]) -> _Array:
    """RGBA: four bytes are what alignment asks for anyway."""
    rgba = np.concatenate([rgb, np.full((len(rgb), 1), 255, np.uint8)], axis=1)
    accessor = {"componentType": _UINT8, "normalized": True, "count": len(rgb), "type": "VEC4"}
    return _Array("COLOR_0", rgba, accessor)


def _values(name: str, values: NDArray[Any]) -> _Array:
    """Numbers of one or two bytes in rows of four, as vertex attributes must be aligned."""
    attribute, kind, _ = PROPERTIES[name]
    rows = np.zeros((len(values), 4), np.uint8)
    narrow = np.ascontiguousarray(values.astype("<u2" if kind == "UINT16" else np.uint8)).view(np.uint8)
    rows[:, : narrow.size // len(values)] = narrow.reshape(len(values), -1)
    component = _UINT16 if kind == "UINT16" else _UINT8
    return _Array(attribute, rows, {"componentType": component, "count": len(values), "type": "SCALAR"})


def _sorted(arrays: list[_Array], y_up: FloatArray) -> list[_Array]:
    """Rows of all arrays with near points beside each other: a tile shrinks by a tenth, its classes to an eighth."""
    import meshopt

    place_of = meshopt.reorder_points(y_up.astype(np.float32))
    order = np.empty(len(place_of), np.int64)
    order[place_of] = np.arange(len(place_of))
    return [_Array(each.name, each.rows[order], each.accessor, each.filter) for each in arrays]


def _primitive(arrays: list[_Array], n_classes: int) -> dict[str, Any]:
    """The class is an attribute by its own name, and as the feature id: both are one accessor."""
    attributes = {each.name: i for i, each in enumerate(arrays)}
    feature_ids = {"featureCount": n_classes, "attribute": 0, "propertyTable": 0}
    return {
        "attributes": {**attributes, "_FEATURE_ID_0": attributes["_CLASSIFICATION"]},
        "mode": 0,
        "material": 0,
        "extensions": {
            "EXT_mesh_features": {"featureIds": [feature_ids]},
            "EXT_structural_metadata": {"propertyAttributes": [0]},
        },
    }


def _metadata(table: ClassTable, first_view: int) -> dict[str, Any]:
    """Schema, property attribute and table of classes. A class is a number: users may have their own."""
    properties = {
        name: {"type": "SCALAR", "componentType": kind, "description": words, "required": True}
        for name, (_, kind, words) in PROPERTIES.items()
    }
    mapping = {name: {"attribute": attribute} for name, (attribute, _, _) in PROPERTIES.items()}
    schema_classes = {"point": {"properties": properties}, CLASS: table.schema_class}
    return {
        "extensionsUsed": ["EXT_mesh_features", "EXT_structural_metadata", "KHR_materials_unlit"],
        "extensions": {
            "EXT_structural_metadata": {
                "schema": {"id": "citytwin_points", "classes": schema_classes, "enums": table.enums},
                "propertyAttributes": [{"class": "point", "properties": mapping}],
                "propertyTables": [table.table(first_view)],
            }
        },
    }


class _Bin:
    """The BIN chunk as it grows; every part starts at a multiple of 8, as tables need."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.length = 0

    def add(self, data: bytes) -> dict[str, Any]:
        """A buffer view of the data."""
        at = self.length
        self.parts.append(data + b"\0" * (-len(data) % 8))
        self.length += len(self.parts[-1])
        return {"buffer": 0, "byteOffset": at, "byteLength": len(data)}


def _plain(document: dict[str, Any], arrays: list[_Array], table: ClassTable) -> bytes:
    body = _Bin()
    views: list[dict[str, Any]] = []
    for each in arrays:
        stride = {} if each.name == "POSITION" else {"byteStride": each.rows.shape[1]}
        views.append(body.add(each.rows.tobytes()) | {"target": _ARRAY_BUFFER} | stride)
    views += [body.add(data) for data in table.buffers]
    document |= {"bufferViews": views, "buffers": [{"byteLength": body.length}]}
    return _chunks(document, b"".join(body.parts))


def _packed(document: dict[str, Any], arrays: list[_Array], table: ClassTable) -> bytes:
    """Buffer 0 holds the packed arrays; buffer 1 is what a reader unpacks them into, and is not in the file."""
    import meshopt

    body = _Bin()
    views: list[dict[str, Any]] = []
    unpacked = 0
    for each in arrays:
        count, stride = each.rows.shape
        packing = body.add(meshopt.encode_gltf_buffer(each.rows, "ATTRIBUTES"))
        packing |= {"byteStride": stride, "count": count, "mode": "ATTRIBUTES"}
        packing |= {"filter": each.filter} if each.filter else {}
        view = {"buffer": 1, "byteOffset": unpacked, "byteLength": count * stride, "byteStride": stride}
        views.append(view | {"target": _ARRAY_BUFFER, "extensions": {"EXT_meshopt_compression": packing}})
        unpacked += count * stride
    views += [body.add(data) for data in table.buffers]
    document["extensionsUsed"] = [*document["extensionsUsed"], "EXT_meshopt_compression"]
    document["extensionsRequired"] = ["EXT_meshopt_compression"]
    fallback = {"byteLength": unpacked, "extensions": {"EXT_meshopt_compression": {"fallback": True}}}
    document |= {"bufferViews": views, "buffers": [{"byteLength": body.length}, fallback]}
    return _chunks(document, b"".join(body.parts))


def _chunks(document: dict[str, Any], body: bytes) -> bytes:
    text = orjson.dumps(document)
    # 12 bytes of header and 8 a chunk come before: the body then starts at a multiple of 8
    text += b" " * (-(len(text) + 28) % 8)
    chunks = len(text).to_bytes(4, "little") + b"JSON" + text
    if body:
        chunks += len(body).to_bytes(4, "little") + b"BIN\0" + body
    return b"glTF" + (2).to_bytes(4, "little") + (12 + len(chunks)).to_bytes(4, "little") + chunks
