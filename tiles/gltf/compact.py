"""A surface in few bytes: quantized (KHR_mesh_quantization) and packed (EXT_meshopt_compression).

Positions are whole steps from the node's translation, the step is the node's scale: 16-bit numbers where the tile is
no larger than 65,535 steps of 5.5 mm, else float32 numbers that are whole (filter EXPONENTIAL with exponent 0). With
half a step an axis, and what float32 rounds in `compat`, the two forms are within 5 mm in tiles of up to 60 km; beyond,
float32 has no more to give: 2^-24 of the span an axis. Normals are octahedral in 8 bits (filter OCTAHEDRAL), off by at
most 1 degree, with the welding of `surface` 1.5. Texture coordinates are multiples of 2^-14 (filter EXPONENTIAL).

All runs share their buffer views; each has its own accessors into them.
"""

from dataclasses import dataclass
from typing import Any

import meshopt
import numpy as np
from numpy.typing import NDArray

from tiles.gltf.compat import extents, feature_ids, upper_left, y_up
from tiles.gltf.container import ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER, Container
from tiles.gltf.materials import Materials
from tiles.gltf.soup import Soup
from tiles.gltf.surface import Surface

MAX_STEP_M = 0.0055
MIN_STEP_M = 0.001
"""Finer than this brings nothing; a small tile is quantized to 1 mm even where 16 bits could do better."""
_MOST_STEPS = 2**24 - 1
"""Of a whole float32 number about 0."""
_UV_EXPONENT, _MOST_UV = -14, 256

Ints = NDArray[np.int64]
Rows = NDArray[Any]


@dataclass(frozen=True)
class Attribute:
    """A vertex attribute of all runs in one buffer view; `first` is the vertex that its first row belongs to."""

    view: int
    dtype: np.dtype[Any]
    width: int
    stride: int
    normalized: bool = False
    first: int = 0

    def accessor(self, begin: int, count: int, out: Container, **more: Any) -> int:
        """An accessor to `count` vertices from `begin` on."""
        if self.normalized:
            more["normalized"] = True
        return out.accessor(self.view, self.dtype, self.width, count, (begin - self.first) * self.stride, **more)


def add(soup: Soup, made: Surface, materials: Materials, out: Container) -> int:
    """Write the vertex data of at least one run; the number of the node."""
    order, indices = ordered(made)
    place, steps, step = _quantized(y_up(soup.vertices[made.vertices[order]]))
    attributes = {"POSITION": _positions(steps, out), **common(soup, made, order, out)}
    features = made.features[order]
    attributes["_FEATURE_ID_0"] = numbers(features, out)
    primitives = runs(soup, made, VertexData(attributes, steps, indices), materials, out)
    for run, primitive in enumerate(primitives):
        ours = features[made.vertex_starts[run] : made.vertex_starts[run + 1]]
        primitive["extensions"] = {"EXT_mesh_features": {"featureIds": [feature_ids(ours)]}}
    out.extensions_used.add("EXT_mesh_features")
    node = {"mesh": out.member("meshes", {"primitives": primitives}), "scale": [step] * 3}
    return out.member("nodes", node | {"translation": (y_up(soup.origin[None])[0] + place).tolist()})


def ordered(made: Surface) -> tuple[Ints, Rows]:
    """Vertices in the order in which the indices first use them, run by run; the indices then, 16 bits if they fit."""
    order = np.empty(len(made.vertices), np.int64)
    n_vertices = np.diff(made.vertex_starts)
    indices = np.empty(len(made.indices), "<u2" if n_vertices.max() < 65535 else "<u4")
    given = made.indices.astype(np.uint32)
    for run in range(len(made)):
        begin, end = int(made.vertex_starts[run]), int(made.vertex_starts[run + 1])
        ours = slice(int(made.index_starts[run]), int(made.index_starts[run + 1]))
        # walls are pairs of triangles with vertices of their own: their order cannot be bettered, trying takes time
        is_meshed = 2 * (end - begin) < ours.stop - ours.start
        indices[ours], places, _ = meshopt.reorder_mesh(given[ours], is_meshed, False)
        order[begin + places.astype(np.int64)] = np.arange(begin, end)
    return order, indices


@dataclass(frozen=True)
class VertexData:
    """What is written of a surface: its attributes, its positions as stored, its indices run by run."""

    attributes: dict[str, Attribute]
    positions: Rows
    indices: Rows


def runs(soup: Soup, made: Surface, data: VertexData, materials: Materials, out: Container) -> list[dict[str, Any]]:
    """A primitive for each run."""
    indices = data.indices
    lows, highs = extents(data.positions, made.vertex_starts)
    index_view = out.packed(indices, "TRIANGLES", target=ELEMENT_ARRAY_BUFFER)
    primitives = []
    for run in range(len(made)):
        begin, count = int(made.vertex_starts[run]), int(made.vertex_starts[run + 1] - made.vertex_starts[run])
        first, n = int(made.index_starts[run]), int(made.index_starts[run + 1] - made.index_starts[run])
        material = int(made.materials[run]) % len(soup.colours)
        key = soup.textures[material]
        accessors = {}
        for name, attribute in data.attributes.items():
            if name != "TEXCOORD_0" or key is not None:
                more = {"min": lows[run], "max": highs[run]} if name == "POSITION" else {}
                accessors[name] = attribute.accessor(begin, count, out, **more)
        primitives.append(
            {
                "attributes": accessors,
                "indices": out.accessor(index_view, indices.dtype, 1, n, first * indices.itemsize),
                "material": materials.number(soup.colours[material], key),
            }
        )
    return primitives


def common(soup: Soup, made: Surface, order: Ints, out: Container) -> dict[str, Attribute]:
    """Normals, and texture coordinates of the vertices of runs with images."""
    normals = np.ones((len(order), 4), np.float32)
    normals[:, :3] = y_up(made.normals[order])
    rows = meshopt.encode_filter_oct(normals, 4, 8)
    view = packed(rows, out, "OCTAHEDRAL")
    written = {"NORMAL": Attribute(view, np.dtype("i1"), 3, 4, normalized=True)}
    out.extensions_used.add("KHR_mesh_quantization")
    out.extensions_required.add("KHR_mesh_quantization")
    material = made.materials % len(soup.colours)
    painted = [run for run in range(len(made)) if soup.textures[material[run]] is not None]
    if painted:
        begins = [(int(made.vertex_starts[run]), int(made.vertex_starts[run + 1])) for run in painted]
        chosen = np.concatenate([np.arange(begin, end) for begin, end in begins])
        uv = np.zeros((int(chosen[-1] - chosen[0]) + 1, 2), np.float32)
        uv[chosen - chosen[0]] = upper_left(soup, made.vertices[order[chosen]])
        written["TEXCOORD_0"] = _coordinates(uv, int(chosen[0]), out)
    return written


def exponential(values: Rows, exponent: int) -> NDArray[np.uint32]:
    """Multiples of 2^exponent as the filter EXPONENTIAL takes them: 24 bits of mantissa, 8 of exponent."""
    whole = np.rint(np.ldexp(values.astype(np.float64), -exponent)).astype(np.int64)
    return (whole & 0xFFFFFF).astype("<u4") | np.uint32((exponent & 0xFF) << 24)


def numbers(features: Ints, out: Container) -> Attribute:
    """Feature ids in rows of 4 bytes, as vertex attributes must be."""
    most = int(features.max())
    if most >= 2**16:
        return Attribute(packed(features.astype("<f4")[:, None], out), np.dtype("<f4"), 1, 4)
    dtype = np.dtype("u1" if most < 2**8 else "<u2")
    rows = np.zeros((len(features), 4 // dtype.itemsize), dtype)
    rows[:, 0] = features
    return Attribute(packed(rows, out), dtype, 1, 4)


def packed(rows: Rows, out: Container, filter_: str | None = None) -> int:
    """A buffer view of vertex attributes."""
    stride = rows.nbytes // len(rows)
    return out.packed(rows, "ATTRIBUTES", filter_=filter_, target=ARRAY_BUFFER, stride=stride)


def _quantized(positions: NDArray[np.floating[Any]]) -> tuple[NDArray[np.floating[Any]], Rows, float]:
    """Offset in metres, (n, 3) whole steps from there as uint16 or float32, and the step in metres."""
    low, high = positions.min(axis=0), positions.max(axis=0)
    span = float((high - low).max())
    step = min(max(span / 65535, MIN_STEP_M), MAX_STEP_M)
    if span <= 65535 * step:
        return low, np.rint((positions - low) / step).astype("<u2"), step
    rounding = float(np.spacing(np.float32(np.abs(positions).max())))
    step = max(min(step, MAX_STEP_M + 0.0002 - rounding), span / _MOST_STEPS)
    middle = (low + high) / 2
    return middle, np.rint((positions - middle) / step).astype("<f4"), step


def _positions(steps: Rows, out: Container) -> Attribute:
    if steps.dtype == np.uint16:
        rows = np.zeros((len(steps), 4), "<u2")
        rows[:, :3] = steps
        return Attribute(packed(rows, out), steps.dtype, 3, 8)
    return Attribute(packed(exponential(steps, 0), out, "EXPONENTIAL"), steps.dtype, 3, 12)


def _coordinates(uv: NDArray[np.float32], first: int, out: Container) -> Attribute:
    is_near = np.abs(uv).max() < _MOST_UV
    view = packed(exponential(uv, _UV_EXPONENT), out, "EXPONENTIAL") if is_near else packed(uv, out)
    return Attribute(view, np.dtype("<f4"), 2, 8, first=first)
