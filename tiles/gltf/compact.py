"""A surface in few bytes: quantized (KHR_mesh_quantization) and packed (EXT_meshopt_compression).

Positions are whole steps from the node's translation, the step is the node's scale: 16-bit numbers where the tile is
no larger than 65,535 steps of 5.5 mm, else float32 numbers that are whole (filter EXPONENTIAL with exponent 0), which
reach to 92 km. Half a step an axis is at most 4.8 mm in space. Normals are octahedral in 8 bits (filter OCTAHEDRAL),
off by at most 1 degree.

All runs share their buffer views; each has its own accessors into them.
"""

from typing import Any

import meshopt
import numpy as np
from numpy.typing import NDArray

from tiles.gltf.compat import extents, feature_ids, y_up
from tiles.gltf.container import ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER, Container
from tiles.gltf.soup import Soup
from tiles.gltf.surface import Surface

MAX_STEP_M = 0.0055
MIN_STEP_M = 0.001
"""Finer than this brings nothing; a small tile is quantized to 1 mm even where 16 bits could do better."""
_MOST_STEPS = 2**24 - 1
"""Of a whole float32 number about 0."""

Ints = NDArray[np.int64]


def add(soup: Soup, made: Surface, out: Container) -> int | None:
    """Write the vertex data; the number of the node, None where there is nothing to draw."""
    if not len(made):
        return None
    order, indices = _ordered(made)
    features = made.features[order]
    place, steps, step = _quantized(y_up(soup.vertices[made.vertices[order]]))
    lows, highs = extents(steps, made.vertex_starts)
    views = {
        "POSITION": (_positions(steps, out), steps.dtype, 3, {}),
        "NORMAL": (_normals(y_up(made.normals[order]), out), np.dtype("i1"), 3, {"normalized": True}),
        "_FEATURE_ID_0": _features(features, out),
    }
    index_view = out.packed(indices, "TRIANGLES", target=ELEMENT_ARRAY_BUFFER)
    primitives = []
    for run in range(len(made)):
        begin, count = int(made.vertex_starts[run]), int(made.vertex_starts[run + 1] - made.vertex_starts[run])
        attributes = {}
        for name, (view, dtype, width, more) in views.items():
            extra = {"min": lows[run], "max": highs[run]} if name == "POSITION" else more
            stride = out.views[view]["byteStride"]
            attributes[name] = out.accessor(view, dtype, width, count, begin * stride, **extra)
        first, n = int(made.index_starts[run]), int(made.index_starts[run + 1] - made.index_starts[run])
        primitives.append(
            {
                "attributes": attributes,
                "indices": out.accessor(index_view, indices.dtype, 1, n, first * indices.itemsize),
                "material": run,
                "extensions": {"EXT_mesh_features": {"featureIds": [feature_ids(features[begin : begin + count])]}},
            }
        )
    out.extensions_used |= {"EXT_mesh_features", "KHR_mesh_quantization"}
    out.extensions_required.add("KHR_mesh_quantization")
    node = {"mesh": out.member("meshes", {"primitives": primitives}), "scale": [step] * 3}
    return out.member("nodes", node | {"translation": (y_up(soup.origin[None])[0] + place).tolist()})


def _ordered(made: Surface) -> tuple[Ints, NDArray[Any]]:
    """Vertices in the order in which the indices first use them, run by run; the indices then, 16 bits if they fit."""
    order = np.empty(len(made.vertices), np.int64)
    n_vertices = np.diff(made.vertex_starts)
    indices = np.empty(len(made.indices), "<u2" if n_vertices.max() < 65535 else "<u4")
    given = made.indices.astype(np.uint32)
    for run in range(len(made)):
        begin, end = int(made.vertex_starts[run]), int(made.vertex_starts[run + 1])
        ours = slice(int(made.index_starts[run]), int(made.index_starts[run + 1]))
        # walls are pairs of triangles with vertices of their own: their order cannot be bettered, and trying takes time
        is_meshed = 2 * (end - begin) < ours.stop - ours.start
        indices[ours], places, _ = meshopt.reorder_mesh(given[ours], is_meshed, False)
        order[begin + places.astype(np.int64)] = np.arange(begin, end)
    return order, indices


def _quantized(positions: NDArray[np.floating[Any]]) -> tuple[NDArray[np.float64], NDArray[Any], float]:
    """Offset in metres, (n, 3) whole steps from there as uint16 or float32, and the step in metres."""
    low, high = positions.min(axis=0), positions.max(axis=0)
    span = float((high - low).max())
    step = min(max(span / 65535, MIN_STEP_M), MAX_STEP_M)
    if span <= 65535 * step:
        return low, np.rint((positions - low) / step).astype("<u2"), step
    step = max(step, span / _MOST_STEPS)
    middle = (low + high) / 2
    return middle, np.rint((positions - middle) / step).astype("<f4"), step


def _positions(steps: NDArray[Any], out: Container) -> int:
    if steps.dtype == np.uint16:
        rows = np.zeros((len(steps), 4), "<u2")
        rows[:, :3] = steps
        return _packed(rows, out)
    return _packed(_exponential(steps, 0), out, "EXPONENTIAL")


def _exponential(steps: NDArray[Any], exponent: int) -> NDArray[np.uint32]:
    """Whole numbers as the filter EXPONENTIAL takes them: 24 bits of mantissa, 8 of exponent."""
    return (steps.astype(np.int64) & 0xFFFFFF).astype("<u4") | np.uint32((exponent & 0xFF) << 24)


def _normals(normals: NDArray[np.floating[Any]], out: Container) -> int:
    rows = np.ones((len(normals), 4), np.float32)
    rows[:, :3] = normals
    return _packed(meshopt.encode_filter_oct(rows, 4, 8), out, "OCTAHEDRAL")


def _features(features: Ints, out: Container) -> tuple[int, np.dtype[Any], int, dict[str, Any]]:
    """Numbers in rows of 4 bytes, as vertex attributes must be."""
    most = int(features[-1] if len(features) else 0)
    most = int(features.max(initial=most))
    if most >= 2**16:
        rows: NDArray[Any] = features.astype("<f4")[:, None]
    else:
        rows = np.zeros((len(features), 4 if most < 2**8 else 2), "<u1" if most < 2**8 else "<u2")
        rows[:, 0] = features
    return _packed(rows, out), rows.dtype, 1, {}


def _packed(rows: NDArray[Any], out: Container, filter_: str | None = None) -> int:
    stride = rows.nbytes // len(rows)
    view = out.packed(rows, "ATTRIBUTES", filter_=filter_, target=ARRAY_BUFFER, stride=stride)
    assert view is not None
    return view
