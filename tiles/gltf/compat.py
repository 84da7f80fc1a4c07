"""A surface as QGIS draws it: float32 positions about a node's translation, float32 normals and feature ids.

QGIS 3.40 reads float32 positions only, one colour a primitive (`baseColorFactor`), PNG and JPEG. EXT_mesh_features
allows ubyte, ushort and float for feature ids; float needs no padding and is exact to 2^24.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiles.gltf.container import ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER, Container
from tiles.gltf.materials import Materials
from tiles.gltf.soup import Soup
from tiles.gltf.surface import Surface


def add(soup: Soup, made: Surface, materials: Materials, out: Container) -> int:
    """Write the vertex data of at least one run; the number of the node."""
    positions = y_up(soup.vertices[made.vertices]).astype("<f4")
    normals = y_up(made.normals).astype("<f4")
    features = made.features.astype("<f4")
    lows, highs = extents(positions, made.vertex_starts)
    primitives = []
    for run in range(len(made)):
        ours = slice(made.vertex_starts[run], made.vertex_starts[run + 1])
        indices = made.indices[made.index_starts[run] : made.index_starts[run + 1]]
        attributes = {
            "POSITION": _attribute(positions[ours], out, min=lows[run], max=highs[run]),
            "NORMAL": _attribute(normals[ours], out),
            "_FEATURE_ID_0": _attribute(features[ours], out),
        }
        key = soup.textures[made.materials[run]]
        if key is not None:
            attributes["TEXCOORD_0"] = _attribute(upper_left(soup, made.vertices[ours]), out)
        primitives.append(
            {
                "attributes": attributes,
                "indices": _indices(indices, len(positions[ours]), out),
                "material": materials.number(soup.colours[made.materials[run]], key),
                "extensions": {"EXT_mesh_features": {"featureIds": [feature_ids(made.features[ours])]}},
            }
        )
    out.extensions_used.add("EXT_mesh_features")
    node = {"mesh": out.member("meshes", {"primitives": primitives})}
    return out.member("nodes", node | {"translation": y_up(soup.origin[None])[0].tolist()})


def y_up(enu: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """As glTF wants it, y-up: east, north, up become x, -z, y, and 3D Tiles turns them back."""
    return np.stack([enu[:, 0], enu[:, 2], -enu[:, 1]], axis=1) + 0.0  # no minus zero


def upper_left(soup: Soup, vertices: NDArray[np.int64]) -> NDArray[np.float32]:
    """(n, 2) texture coordinates of vertices, origin at the image's upper left as in glTF; the soup must have some."""
    assert soup.uv is not None
    uv = soup.uv[vertices].astype("<f4")
    uv[:, 1] = 1 - uv[:, 1]
    return uv


def extents(positions: NDArray[Any], starts: NDArray[np.int64]) -> tuple[list[list[float]], list[list[float]]]:
    """Lowest and highest coordinates of each run."""
    rows = np.ascontiguousarray(positions.T)
    low, high = (bound.reduceat(rows, starts[:-1], axis=1).T.tolist() for bound in (np.minimum, np.maximum))
    return low, high


def feature_ids(features: NDArray[np.int64]) -> dict[str, int]:
    """The feature id set of a primitive; `features` are the ids of its vertices."""
    return {"featureCount": int(np.count_nonzero(np.bincount(features))), "attribute": 0, "propertyTable": 0}


def _attribute(values: NDArray[Any], out: Container, **more: Any) -> int:
    width = 1 if values.ndim == 1 else values.shape[1]
    return out.accessor(out.view(values, ARRAY_BUFFER), values.dtype, width, len(values), **more)


def _indices(indices: NDArray[np.int64], n_vertices: int, out: Container) -> int:
    # 65535 is the primitive restart value, so 16 bits reach 65,534
    narrow = indices.astype("<u2" if n_vertices < 65535 else "<u4")
    return out.accessor(out.view(narrow, ELEMENT_ARRAY_BUFFER), narrow.dtype, 1, len(narrow))
