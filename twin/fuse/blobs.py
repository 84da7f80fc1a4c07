"""Many meshes -> many blobs in one pass; byte for byte what `layers.mesh.encode` makes of each.

Every section of a blob is a multiple of four bytes, so that a whole batch is filled as one array of words.
"""

import numpy as np

from layers.mesh import MAGIC, StoredMesh
from twin.fuse.extrude import Solids

_HEAD_WORDS = 10


def encode_all(solids: Solids) -> list[StoredMesh | None]:
    """Take n features in the city's ENU frame to n blobs in the layer's own colour; None where no mesh is."""
    n_v, n_t = solids.n_vertices.astype(np.int64), solids.n_triangles.astype(np.int64)
    made = np.flatnonzero(n_t > 0)
    if not made.size:
        return [None] * len(n_v)
    vertex_feature, triangle_feature = np.repeat(np.arange(len(n_v)), n_v), np.repeat(np.arange(len(n_t)), n_t)
    first_vertex, first_triangle = np.cumsum(n_v) - n_v, np.cumsum(n_t) - n_t
    low = np.zeros((len(n_v), 3))
    high = np.zeros((len(n_v), 3))
    low[made] = np.minimum.reduceat(solids.vertices, first_vertex[made])
    high[made] = np.maximum.reduceat(solids.vertices, first_vertex[made])
    origin = (low + high) / 2

    id_words = (n_t + 3) // 4
    size = np.where(n_t > 0, _HEAD_WORDS + 3 * n_v + 3 * n_t + id_words, 0)
    begin = np.cumsum(size) - size
    words = np.zeros(int(size.sum()), "<u4")
    words[begin[made]] = np.frombuffer(MAGIC, "<u4")[0]
    words[begin[made][:, None] + np.arange(1, 7)] = np.ascontiguousarray(origin[made], "<f8").view("<u4")
    words[begin[made] + 7], words[begin[made] + 8] = n_v[made], n_t[made]

    at = begin[vertex_feature] + _HEAD_WORDS + 3 * (np.arange(len(vertex_feature)) - first_vertex[vertex_feature])
    relative = np.ascontiguousarray(solids.vertices - origin[vertex_feature], "<f4")
    words[at[:, None] + np.arange(3)] = relative.view("<u4")
    after = begin + _HEAD_WORDS + 3 * n_v
    at = after[triangle_feature] + 3 * (np.arange(len(triangle_feature)) - first_triangle[triangle_feature])
    words[at[:, None] + np.arange(3)] = solids.triangles

    data, ends = words.tobytes(), ((begin + size) * 4).tolist()
    bounds = np.concatenate([low, high], axis=1).tolist()
    out: list[StoredMesh | None] = [None] * len(n_v)
    for i, start in zip(made.tolist(), (begin[made] * 4).tolist(), strict=True):
        a, b, c, d, e, f = bounds[i]
        out[i] = StoredMesh(data[start : ends[i]], (a, b, c, d, e, f))
    return out
