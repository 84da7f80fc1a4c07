"""The document and the binary chunk of a glb as they grow.

Spec: glTF 2.0 (ISO/IEC 12113) 3.6 and 4.4; EXT_structural_metadata asks that the buffer views of property tables
begin at multiples of 8 bytes; EXT_meshopt_compression: a packed view lies in buffer 0, and has its place in a
fallback buffer 1 that holds nothing.
"""

from typing import Any, Literal

import meshopt
import numpy as np
import orjson
from numpy.typing import NDArray

ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963
COMPONENTS = {"int8": 5120, "uint8": 5121, "int16": 5122, "uint16": 5123, "uint32": 5125, "float32": 5126}
SHAPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}
MESHOPT = "EXT_meshopt_compression"

Mode = Literal["ATTRIBUTES", "TRIANGLES"]


class Container:
    """One glb with one buffer, and a fallback buffer where views are packed."""

    def __init__(self) -> None:
        self.document: dict[str, Any] = {}
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []
        self.extensions_used: set[str] = set()
        self.extensions_required: set[str] = set()
        self._parts: list[bytes] = []
        self._length = 0
        self._unpacked = 0

    def view(self, data: NDArray[Any] | bytes, target: int | None = None, stride: int | None = None) -> int:
        """Append bytes as a buffer view, at a multiple of 8."""
        raw = data if isinstance(data, bytes) else data.tobytes()
        self._align()
        view: dict[str, Any] = {"buffer": 0, "byteOffset": self._length, "byteLength": len(raw)}
        self._append(raw)
        return self._add(view, target, stride)

    def packed(
        self,
        rows: NDArray[Any],
        mode: Mode,
        *,
        filter_: str | None = None,
        target: int | None = None,
        stride: int | None = None,
    ) -> int:
        """Append what meshopt makes of rows (n, k), or of n indices; `stride` where the view must say it."""
        return self._packed(rows, meshopt.encode_gltf_buffer(rows, mode), mode, (filter_, target, stride))

    def packed_if(self, rows: NDArray[Any], saves: int) -> int | None:
        """Append packed rows without a target where that is at least `saves` bytes less than the rows are."""
        data = meshopt.encode_gltf_buffer(rows, "ATTRIBUTES")
        if len(data) + saves > rows.nbytes:
            return None
        return self._packed(rows, data, "ATTRIBUTES", (None, None, None))

    def _packed(
        self, rows: NDArray[Any], data: bytes, mode: Mode, options: tuple[str | None, int | None, int | None]
    ) -> int:
        filter_, target, stride = options
        how: dict[str, Any] = {"buffer": 0, "byteOffset": self._length, "byteLength": len(data)}
        how |= {"byteStride": rows.nbytes // len(rows), "count": len(rows), "mode": mode}
        if filter_ is not None:
            how["filter"] = filter_
        self._append(data)
        view = {"buffer": 1, "byteOffset": self._unpacked, "byteLength": rows.nbytes, "extensions": {MESHOPT: how}}
        self._unpacked += rows.nbytes + -rows.nbytes % 8
        for members in (self.extensions_used, self.extensions_required):
            members.add(MESHOPT)
        return self._add(view, target, stride)

    def accessor(self, view: int, dtype: np.dtype[Any], width: int, count: int, offset: int = 0, **more: Any) -> int:
        """Append an accessor; `offset` in bytes."""
        made = {"bufferView": view, "componentType": COMPONENTS[dtype.name], "count": count, "type": SHAPES[width]}
        if offset:
            made["byteOffset"] = offset
        self.accessors.append(made | more)
        return len(self.accessors) - 1

    def member(self, name: str, value: dict[str, Any]) -> int:
        """Append to an array of the document (`meshes`, `nodes`, …); its place there."""
        self.document.setdefault(name, []).append(value)
        return len(self.document[name]) - 1

    def glb(self) -> bytes:
        """The finished file."""
        document = {"asset": {"version": "2.0", "generator": "CityTwin"}, **self.document}
        for name, members in (
            ("extensionsUsed", self.extensions_used),
            ("extensionsRequired", self.extensions_required),
        ):
            if members:
                document[name] = sorted(members)
        if self.accessors:
            document["accessors"] = self.accessors
        self._align()
        if self.views:
            document |= {"bufferViews": self.views, "buffers": [{"byteLength": self._length}]}
        if self._unpacked:
            document["buffers"].append({"byteLength": self._unpacked, "extensions": {MESHOPT: {"fallback": True}}})
        text = orjson.dumps(document)
        # 12 bytes of header and 8 a chunk come before: the body then starts at a multiple of 8, as its views need
        text += b" " * (-(len(text) + 28) % 8)
        chunks = [len(text).to_bytes(4, "little"), b"JSON", text]
        if self._length:
            chunks += [self._length.to_bytes(4, "little"), b"BIN\0", *self._parts]
        total = 12 + 8 + len(text) + (8 + self._length if self._length else 0)
        return b"".join([b"glTF", (2).to_bytes(4, "little"), total.to_bytes(4, "little"), *chunks])

    def _add(self, view: dict[str, Any], target: int | None, stride: int | None) -> int:
        if stride is not None:
            view["byteStride"] = stride
        if target is not None:
            view["target"] = target
        self.views.append(view)
        return len(self.views) - 1

    def _append(self, data: bytes) -> None:
        self._parts.append(data)
        self._length += len(data)

    def _align(self) -> None:
        self._append(b"\0" * (-self._length % 8))
