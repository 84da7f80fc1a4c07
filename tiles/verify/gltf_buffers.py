"""Buffers, buffer views and accessors of a glTF: their ranges and alignment, and their data as arrays.

Nothing is allocated before it is known that the bytes are there. EXT_meshopt_compression is undone with the package
`meshopt` (the reference decoder), KHR_mesh_quantization by its own rules.
"""

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiles.verify.findings import Findings
from tiles.verify.json_text import child, is_count, objects, pick
from tiles.verify.limits import MAX_ELEMENTS, MAX_FILE_BYTES, MESHOPT_RATIO
from tiles.verify.source import Unread

Array = NDArray[Any]
COMPONENTS: dict[Any, np.dtype[Any]] = {
    5120: np.dtype("i1"), 5121: np.dtype("u1"), 5122: np.dtype("<i2"), 5123: np.dtype("<u2"),
    5125: np.dtype("<u4"), 5126: np.dtype("<f4"),
}  # fmt: skip
WIDTHS: dict[Any, int] = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
MESHOPT = ("EXT_meshopt_compression", "KHR_meshopt_compression")
_FILTERS = {"NONE", "OCTAHEDRAL", "QUATERNION", "EXPONENTIAL", "COLOR"}


@dataclass
class Buffers:
    """Everything binary of one glTF. `fetch` reads a buffer that has a relative address."""

    findings: Findings
    where: str
    document: dict[str, Any]
    binary: bytes | None
    fetch: Callable[[str], bytes]
    _buffers: dict[int, bytes | None] = field(default_factory=dict)
    _views: dict[int, bytes | None] = field(default_factory=dict)
    _arrays: dict[int, Array | None] = field(default_factory=dict)

    def bad(self, code: str, at: str, words: str) -> None:
        """A finding at a JSON path of this file."""
        self.findings.add(code, f"{self.where}#{at}", words)

    def buffer(self, index: int) -> bytes | None:
        """Bytes of a buffer (checked once)."""
        if index not in self._buffers:
            self._buffers[index] = self._load(index)
        return self._buffers[index]

    def _load(self, index: int) -> bytes | None:
        at, said = f"/buffers/{index}", objects(self.document.get("buffers"))[index]
        length, uri = said.get("byteLength"), said.get("uri")
        if not is_count(length, 1):
            self.bad("GLTF_STRUCTURE", at, f"byteLength is {length!r}.")
            return None
        if any(child(said, "extensions", name).get("fallback") for name in MESHOPT):
            return b""  # a placeholder without bytes of its own
        try:
            data = self._of_uri(uri) if isinstance(uri, str) else self.binary if index == 0 else None
        except Unread as error:
            self.bad(error.code, at, str(error))
            return None
        if data is None or len(data) < length:
            self.bad("GLTF_VIEW_RANGE", at, f"byteLength {length:,}, bytes there: {len(data or b''):,}.")
        elif not isinstance(uri, str) and len(data) > length + 3 and len(data) > length + 7:
            self.bad("GLTF_VIEW_RANGE", at, f"byteLength {length:,} in a chunk of {len(data):,}.")
        return data

    def _of_uri(self, uri: str) -> bytes:
        if not uri.startswith("data:"):
            return self.fetch(uri)
        try:
            return base64.b64decode(uri.partition(",")[2], validate=True)
        except binascii.Error as error:
            raise Unread("MISSING", f"The data URI is not base64: {error}.") from error

    def view(self, index: int) -> bytes | None:
        """Bytes of a buffer view, decompressed (checked once); None where it is wrong or not there."""
        if index not in self._views:
            views = objects(self.document.get("bufferViews"))
            if not 0 <= index < len(views):
                self.bad("GLTF_REFERENCE", "/bufferViews", f"There is no buffer view {index}.")
                self._views[index] = None
            else:
                self._views[index] = self._view(index, views[index])
        return self._views[index]

    def _view(self, index: int, said: dict[str, Any]) -> bytes | None:
        at = f"/bufferViews/{index}"
        stride = said.get("byteStride")
        if stride is not None and not (is_count(stride, 4) and stride <= 252 and stride % 4 == 0):
            self.bad("GLTF_ALIGNMENT", at, f"byteStride is {stride!r}.")
        name = next((name for name in MESHOPT if child(said, "extensions", name)), None)
        if name is not None:
            return self._meshopt(at, said, child(said, "extensions", name))
        return self._cut(at, said)

    def _cut(self, at: str, said: dict[str, Any]) -> bytes | None:
        which, start, length = said.get("buffer"), said.get("byteOffset", 0), said.get("byteLength")
        if not (is_count(which) and is_count(start) and is_count(length, 1)):
            self.bad("GLTF_STRUCTURE", at, f"buffer, byteOffset, byteLength are {which!r}, {start!r}, {length!r}.")
            return None
        if which >= len(objects(self.document.get("buffers"))):
            self.bad("GLTF_REFERENCE", at, f"There is no buffer {which}.")
            return None
        data = self.buffer(which)
        if data is None:
            return None
        if start + length > len(data):
            self.bad("GLTF_VIEW_RANGE", at, f"Bytes {start:,} to {start + length:,} of {len(data):,}.")
            return None
        return data[start : start + length]

    def _meshopt(self, at: str, said: dict[str, Any], packed: dict[str, Any]) -> bytes | None:
        import meshopt

        data = self._cut(f"{at}/extensions", packed)
        count, stride = packed.get("count"), packed.get("byteStride")
        mode, kind = packed.get("mode"), packed.get("filter", "NONE")
        if data is None:
            return None
        if not is_count(count, 1) or not is_count(stride, 1) or str(kind) not in _FILTERS:
            self.bad("GLTF_MESHOPT", at, f"count, byteStride, filter are {count!r}, {stride!r}, {kind!r}.")
            return None
        size = count * stride
        if size != said.get("byteLength") or size > min(MAX_FILE_BYTES, MESHOPT_RATIO * len(data)):
            words = f"{len(data):,} bytes shall become {size:,}; byteLength is {said.get('byteLength')!r}."
            self.bad("GLTF_MESHOPT", at, words)
            return None
        try:
            made = meshopt.decode_gltf_buffer(data, count, stride, mode, kind)
        except (ValueError, TypeError, RuntimeError, OverflowError) as error:
            self.bad("GLTF_MESHOPT", at, f"Mode {mode!r}, filter {kind}: {error}.")
            return None
        return np.ascontiguousarray(made).tobytes()

    def array(self, index: Any) -> Array | None:
        """(count, width) array of an accessor in its own component type; None where it cannot be read."""
        accessors = objects(self.document.get("accessors"))
        if not is_count(index) or index >= len(accessors):
            self.bad("GLTF_REFERENCE", "/accessors", f"There is no accessor {index!r}.")
            return None
        if index not in self._arrays:
            self._arrays[index] = self._array(index, accessors[index])
        return self._arrays[index]

    def said(self, index: Any) -> dict[str, Any]:
        """The JSON of an accessor, {} where there is none."""
        accessors = objects(self.document.get("accessors"))
        return accessors[index] if is_count(index) and index < len(accessors) else {}

    def _array(self, index: int, said: dict[str, Any]) -> Array | None:
        at, count = f"/accessors/{index}", said.get("count")
        component, width = pick(COMPONENTS, said.get("componentType")), pick(WIDTHS, said.get("type"))
        offset = said.get("byteOffset", 0)
        if component is None or width is None or not is_count(count, 1) or not is_count(offset):
            self.bad("GLTF_STRUCTURE", at, f"componentType, type, count, byteOffset of {str(said)[:120]}.")
            return None
        if "bufferView" not in said:
            if count * width > MAX_ELEMENTS:
                self.bad("GLTF_ACCESSOR_RANGE", at, f"{count:,} elements without a buffer view.")
                return None
            base = np.zeros((count, width), component)
        else:
            made = self._strided(at, said["bufferView"], offset, (count, width), component)
            if made is None:
                return None
            base = made
        return self._sparse(at, said["sparse"], base) if "sparse" in said else base

    def _strided(
        self, at: str, view: Any, offset: int, shape: tuple[int, int], component: np.dtype[Any]
    ) -> Array | None:
        data = self.view(view) if is_count(view) else None
        if data is None:
            if not is_count(view):
                self.bad("GLTF_REFERENCE", at, f"bufferView is {view!r}.")
            return None
        said = objects(self.document.get("bufferViews"))[view]
        count, width = shape
        size = width * component.itemsize
        stride = said.get("byteStride") or size
        if not is_count(stride) or stride < size:
            self.bad("GLTF_ALIGNMENT", at, f"Elements of {size} bytes in a stride of {stride!r}.")
            return None
        start = said["byteOffset"] if is_count(said.get("byteOffset")) else 0
        if offset % component.itemsize or (start + offset) % component.itemsize:
            self.bad("GLTF_ALIGNMENT", at, f"It starts at byte {start} + {offset}.")
        if offset + stride * (count - 1) + size > len(data):
            self.bad("GLTF_ACCESSOR_RANGE", at, f"{count:,} elements of {stride} bytes in {len(data):,} bytes.")
            return None
        return np.ndarray((count, width), component, data, offset, (stride, component.itemsize))

    def _sparse(self, at: str, sparse: Any, base: Array) -> Array | None:
        count, index, values = (child(sparse).get(key) for key in ("count", "indices", "values"))
        kind = pick(COMPONENTS, child(index).get("componentType"))
        if not is_count(count, 1) or count > len(base) or kind is None or kind.kind != "u":
            self.bad("GLTF_ACCESSOR_RANGE", at, f"sparse has count {count!r} of {len(base):,}.")
            return None
        offset = child(index).get("byteOffset", 0), child(values).get("byteOffset", 0)
        if not (is_count(offset[0]) and is_count(offset[1])):
            self.bad("GLTF_STRUCTURE", at, "sparse has no sound byteOffset.")
            return None
        shape = (int(count), base.shape[1])
        rows = self._strided(at, child(index).get("bufferView"), offset[0], (shape[0], 1), kind)
        new = self._strided(at, child(values).get("bufferView"), offset[1], shape, base.dtype)
        if rows is None or new is None:
            return None
        if int(rows.max()) >= len(base) or (np.diff(rows[:, 0].astype(np.int64)) <= 0).any():
            self.bad("GLTF_ACCESSOR_RANGE", at, "sparse indices do not rise or lie beyond the accessor.")
            return None
        made = np.array(base)
        made[rows[:, 0]] = new
        return made

    def floats(self, index: Any) -> NDArray[np.float64] | None:
        """The accessor as numbers that a client sees: normalized integers divided."""
        made = self.array(index)
        if made is None:
            return None
        if made.dtype.kind == "f" or not self.said(index).get("normalized"):
            return made.astype(np.float64)
        scaled = made.astype(np.float64) / np.iinfo(made.dtype).max
        return np.maximum(scaled, -1.0)
