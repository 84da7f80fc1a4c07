"""Copies of a shared shape: the shape is stored once, each feature keeps only where its copy stands.

The blob of a copy is little-endian: `CTMR`, the shape's key (16 bytes), 3 rows of 4 float64 that take the shape's
vertices (x, y, z, 1) to the city's ENU frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from layers.errors import InvalidInput
from layers.mesh import KEY_BYTES, Bounds3, Mesh, StoredMesh, StoredShape, decode, encode

COPY = b"CTMR"
COPY_BYTES = 4 + KEY_BYTES + 96
MAX_RESIDUAL_M = 1e-4
"""A copy that fits its shape worse than this is stored as a mesh of its own."""

_MIN_SPREAD = 1e-6
"""Relative to its size, a shape thinner than this is flat."""

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Pattern:
    """A shape ready to be fitted to its copies.

    Attributes
    ----------
    stored : for the store
    vertices : (n, 3) in its own frame, as they come back from the store
    solver : (3, n) least-squares solution for vertices about their mean; None where the shape is a line or a point
    """

    stored: StoredShape
    vertices: NDArray[np.float64]
    solver: NDArray[np.float64] | None


def pattern(mesh: Mesh, vertices: NDArray[np.float64]) -> Pattern:
    """The shape of a mesh, with `vertices` in the shape's own frame. Raises InvalidInput as `encode` does."""
    packed = encode(Mesh(vertices, mesh.triangles, mesh.material_ids, mesh.materials, mesh.uv, mesh.textures))
    key = blake2b(packed.blob, digest_size=KEY_BYTES).hexdigest()
    kept = decode(packed.blob).vertices
    local = kept - kept.mean(axis=0)
    u, spread, turned = np.linalg.svd(local, full_matrices=False)
    solver = None
    if len(spread) == 3 and spread[2] > _MIN_SPREAD * spread[0]:
        solver = (turned.T / spread) @ u.T
    return Pattern(StoredShape(key, packed.blob, packed.textures), kept, solver)


def fitted(shape: Pattern, vertices: NDArray[np.float64]) -> StoredMesh | None:
    """A copy of the shape whose vertices lie at `vertices` (n, 3) of the ENU frame.

    None where a vertex would be more than 0.1 mm off, where the shape is flat (no affine map of space follows from
    it), or where the map mirrors: the triangles of a mirrored copy would face inwards.
    """
    if shape.solver is None or vertices.shape != shape.vertices.shape or not np.isfinite(vertices).all():
        return None
    middle, centre = shape.vertices.mean(axis=0), vertices.mean(axis=0)
    linear = (shape.solver @ (vertices - centre)).T
    if np.linalg.det(linear) <= 0:
        return None
    matrix = np.concatenate([linear, (centre - linear @ middle)[:, None]], axis=1)
    placed = applied(matrix, shape.vertices)
    if float(np.linalg.norm(placed - vertices, axis=1).max()) > MAX_RESIDUAL_M:
        return None
    low, high = (tuple(float(v) for v in each) for each in (placed.min(axis=0), placed.max(axis=0)))
    blob = COPY + bytes.fromhex(shape.stored.key) + np.ascontiguousarray(matrix, "<f8").tobytes()
    bounds: Bounds3 = (*low, *high)  # type: ignore[assignment]
    return StoredMesh(blob, bounds, shape.stored.textures, shape.stored)


def applied(matrix: Matrix, vertices: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 4) or (k, 3, 4) matrices on (n, 3) vertices -> (n, 3) or (k, n, 3)."""
    linear, shift = matrix[..., :3], matrix[..., 3]
    return np.asarray(vertices @ np.swapaxes(linear, -1, -2) + shift[..., None, :])


def is_copy(blob: bytes) -> bool:
    """True for the blob of a copy."""
    return blob[:4] == COPY


def read_copies(blobs: Sequence[bytes]) -> tuple[list[str], Matrix]:
    """Keys of the shapes and (k, 3, 4) matrices of k copies. Raises InvalidInput for anything else."""
    if any(len(blob) != COPY_BYTES or not is_copy(blob) for blob in blobs):
        raise InvalidInput("A stored copy of a shape is damaged.", "Build the twin again.")
    keys = [blob[4 : 4 + KEY_BYTES].hex() for blob in blobs]
    numbers = b"".join(blob[4 + KEY_BYTES :] for blob in blobs)
    return keys, np.frombuffer(numbers, "<f8").astype(np.float64).reshape(-1, 3, 4)


def expanded(shape: bytes, matrices: Matrix) -> list[bytes]:
    """The blobs of whole meshes for k copies of a shape; vertices within 0.03 mm over 500 m, as `encode` packs them."""
    local = decode(shape).vertices
    placed = applied(matrices, local)
    origins = (placed.min(axis=1) + placed.max(axis=1)) / 2
    relative = np.ascontiguousarray(placed - origins[:, None, :], "<f4")
    counts, rest = shape[28:40], shape[40 + 12 * len(local) :]
    heads = np.ascontiguousarray(origins, "<f8")
    return [shape[:4] + heads[i].tobytes() + counts + relative[i].tobytes() + rest for i in range(len(matrices))]
