"""Primitives of a glTF: attributes, indices, bounds, normals, triangles without area."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiles.verify.gltf_buffers import Buffers
from tiles.verify.json_text import child, is_count, objects
from tiles.verify.limits import MAX_WORK

_FLOAT, _BYTES = 5126, {5120, 5121, 5122, 5123}
TYPES: dict[str, tuple[set[str], set[int]]] = {
    "POSITION": ({"VEC3"}, {_FLOAT}),
    "NORMAL": ({"VEC3"}, {_FLOAT}),
    "TANGENT": ({"VEC4"}, {_FLOAT}),
    "TEXCOORD": ({"VEC2"}, {_FLOAT, 5121, 5123}),
    "COLOR": ({"VEC3", "VEC4"}, {_FLOAT, 5121, 5123}),
    "JOINTS": ({"VEC4"}, {5121, 5123}),
    "WEIGHTS": ({"VEC4"}, {_FLOAT, 5121, 5123}),
}
QUANTIZED = {"POSITION": _BYTES, "NORMAL": {5120, 5122}, "TANGENT": {5120, 5122}, "TEXCOORD": _BYTES}
"""What KHR_mesh_quantization adds."""


@dataclass
class Primitives:
    """Checks each primitive once; `work` bounds the array elements that are touched in one file."""

    buffers: Buffers
    work: int = MAX_WORK
    _checked: set[tuple[str, int]] = field(default_factory=set)

    def check(self) -> None:
        """All primitives of all meshes."""
        for m, mesh in enumerate(objects(self.buffers.document.get("meshes"))):
            for p, primitive in enumerate(objects(mesh.get("primitives"))):
                at = f"/meshes/{m}/primitives/{p}"
                if self.work <= 0:
                    self.buffers.findings.cut(f"{self.buffers.where}#{at}", "Too much geometry to check it all.")
                    return
                self._check(at, primitive)
            if not objects(mesh.get("primitives")):
                self.buffers.bad("GLTF_STRUCTURE", f"/meshes/{m}", "A mesh has no primitives.")

    def _check(self, at: str, primitive: dict[str, Any]) -> None:
        buffers = self.buffers
        material = primitive.get("material")
        if material is not None and not (
            is_count(material) and material < len(objects(buffers.document.get("materials")))
        ):
            buffers.bad("GLTF_REFERENCE", at, f"There is no material {material!r}.")
        if child(primitive, "extensions", "KHR_draco_mesh_compression"):
            buffers.bad("GLTF_DRACO", at, "Only the declared bounds are used.")
            return
        attributes = primitive.get("attributes")
        if not isinstance(attributes, dict) or not attributes:
            buffers.bad("GLTF_STRUCTURE", at, "A primitive has no attributes.")
            return
        counts = {name: self._attribute(f"{at}/attributes/{name}", name, index) for name, index in attributes.items()}
        known = {count for count in counts.values() if count is not None}
        if len(known) > 1:
            buffers.bad("GLTF_ATTRIBUTE", at, f"Counts differ: {str(counts)[:200]}.")
        if known:
            self._triangles(at, primitive, min(known))

    def _attribute(self, at: str, name: str, index: Any) -> int | None:
        """The attribute's number of elements."""
        buffers, base = self.buffers, name.split("_", maxsplit=1)[0]
        array = buffers.array(index)
        if array is None:
            return None
        said = buffers.said(index)
        if base in TYPES:
            self._type(at, base, said)
        view = objects(buffers.document.get("bufferViews"))[said["bufferView"]] if "bufferView" in said else {}
        if view and "byteStride" not in view and array.shape[1] * array.dtype.itemsize % 4:
            buffers.bad("GLTF_ALIGNMENT", at, f"Elements of {array.shape[1] * array.dtype.itemsize} bytes, no stride.")
        if (base, index) in self._checked:
            return len(array)
        self._checked.add((base, index))
        self.work -= array.size
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
            buffers.bad("GLTF_NOT_FINITE", at, f"{name} of vertex {bad[0]} is {array[bad[0]].tolist()}.")
        elif base == "POSITION":
            self._min_max(at, said, array)
        elif base == "NORMAL":
            self._normals(at, index, array)
        return len(array)

    def _type(self, at: str, base: str, said: dict[str, Any]) -> None:
        shapes, components = TYPES[base]
        component = said["componentType"]
        if str(said.get("type")) not in shapes:
            self.buffers.bad("GLTF_ATTRIBUTE", at, f"{base} is {said.get('type')}.")
        if component in components:
            must_be = base in {"COLOR", "WEIGHTS"} or (base == "TEXCOORD" and not self._is_quantized)
            if component != _FLOAT and must_be and not said.get("normalized"):
                self.buffers.bad("GLTF_ATTRIBUTE", at, f"{base} of whole numbers is not normalized.")
        elif component in QUANTIZED.get(base, set()):
            if not self._is_quantized:
                self.buffers.bad("GLTF_QUANTIZATION", at, f"{base} has component type {component}.")
            if base in {"NORMAL", "TANGENT"} and not said.get("normalized"):
                self.buffers.bad("GLTF_ATTRIBUTE", at, f"{base} of whole numbers is not normalized.")
        else:
            self.buffers.bad("GLTF_ATTRIBUTE", at, f"{base} has component type {component}.")

    @property
    def _is_quantized(self) -> bool:
        return "KHR_mesh_quantization" in str(self.buffers.document.get("extensionsRequired"))

    def _min_max(self, at: str, said: dict[str, Any], array: NDArray[Any]) -> None:
        for key, true in (("min", array.min(axis=0)), ("max", array.max(axis=0))):
            value = said.get(key)
            try:
                same = np.array_equal(np.asarray(value, np.float64).astype(np.float32), true.astype(np.float32))
            except (TypeError, ValueError, OverflowError):
                same = False
            if not same:
                self.buffers.bad("GLTF_MINMAX", at, f"{key} is {str(value)[:80]}, in truth {true.tolist()}.")

    def _normals(self, at: str, index: Any, array: NDArray[Any]) -> None:
        made = self.buffers.floats(index)
        if made is None:
            return
        tolerance = 0.02 if array.dtype.itemsize == 1 else 0.007
        off = np.abs(np.linalg.norm(made, axis=1) - 1)
        if off.max() > tolerance:
            at_most = int(off.argmax())
            words = f"Normal {at_most} has length {np.linalg.norm(made[at_most]):.4f}."
            self.buffers.bad("GLTF_NORMAL_LENGTH", at, words)

    def _triangles(self, at: str, primitive: dict[str, Any], n_vertices: int) -> None:
        buffers, mode = self.buffers, primitive.get("mode", 4)
        if not is_count(mode) or mode > 6:
            buffers.bad("GLTF_STRUCTURE", at, f"mode is {mode!r}.")
            return
        indices: NDArray[Any] | None = None
        if "indices" in primitive:
            indices = self._indices(f"{at}/indices", primitive["indices"], n_vertices)
            if indices is None:
                return
        n = n_vertices if indices is None else len(indices)
        if (mode == 4 and n % 3) or (mode == 1 and n % 2) or n < (1, 2, 2, 2, 3, 3, 3)[mode]:
            buffers.bad("GLTF_INDEX_COUNT", at, f"{n} vertices in mode {mode}.")
            return
        positions = buffers.floats(primitive["attributes"].get("POSITION"))
        if mode == 4 and positions is not None and positions.shape == (n_vertices, 3):
            flat = sum(int(_areas(positions[corners]).sum()) for corners in _in_parts(indices, n))
            if flat:
                buffers.bad("GLTF_DEGENERATE", at, f"{flat:,} of {n // 3:,} triangles have no area.")

    def _indices(self, at: str, index: Any, n_vertices: int) -> NDArray[Any] | None:
        array, said = self.buffers.array(index), self.buffers.said(index)
        if array is None:
            return None
        if said.get("type") != "SCALAR" or array.dtype.kind != "u" or said.get("normalized"):
            self.buffers.bad("GLTF_ATTRIBUTE", at, f"Indices are {said.get('type')} of {array.dtype}.")
            return None
        self.work -= array.size
        highest = int(array.max())
        if highest >= n_vertices or highest == int(np.iinfo(array.dtype).max):
            self.buffers.bad("GLTF_INDEX_RANGE", at, f"Index {highest} of {n_vertices} vertices.")
            return None
        return np.asarray(array[:, 0])


def _in_parts(indices: NDArray[Any] | None, n: int, size: int = 300_000) -> Iterator[NDArray[Any]]:
    for start in range(0, n, size):
        end = min(start + size, n)
        part = np.arange(start, end) if indices is None else indices[start:end]
        yield part.reshape(-1, 3)


def _areas(corners: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(n,) True where a triangle has no area at all."""
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return np.asarray((cross == 0).all(axis=1))
