"""Triangle meshes of features, and the compact blob in which they are stored next to the feature.

A blob is little-endian: `CTM1`, origin (3 float64, metres in the city's ENU frame), counts of vertices, triangles
and materials (3 uint32), then vertices (float32, relative to the origin), triangles (uint32), one material index a
triangle (uint8, padded to 4 bytes), materials (RGBA, uint8). float32 relative to a feature's own centre is exact to
0.03 mm over 500 m. A mesh with textures is a `CTM2`: the same sections, then texture coordinates (2 float32 a vertex)
and the key of a texture for each material (16 bytes, zeros for none). Copies of a shared shape are `CTMR`, see
`layers.mesh_copy`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from layers.errors import InvalidInput

MAGIC = b"CTM1"
TEXTURED = b"CTM2"
MAX_MATERIALS = 255
KEY_BYTES = 16
_HEAD = np.dtype([("magic", "S4"), ("origin", "<f8", 3), ("counts", "<u4", 3)])

Bounds3 = tuple[float, float, float, float, float, float]
"""Lowest x, y, z, then highest x, y, z."""


@dataclass(frozen=True)
class Texture:
    """An image that materials are painted with, as the source has it.

    Attributes
    ----------
    media_type : `image/jpeg`, `image/png` or `image/webp`
    data : the file's bytes, unchanged
    wrap : what happens outside 0 … 1
    """

    media_type: str
    data: bytes
    wrap: Literal["repeat", "mirror", "clamp"] = "repeat"

    @property
    def key(self) -> str:
        """32 hexadecimal digits that follow from the content: equal images are stored once."""
        return blake2b(f"{self.media_type} {self.wrap} ".encode() + self.data, digest_size=KEY_BYTES).hexdigest()


@dataclass(frozen=True)
class SharedShape:
    """A shape that several features share: the same triangles and materials, each in a place of its own.

    Attributes
    ----------
    key : the same for all meshes of one source that share the shape
    vertices : (n, 3) float64 in the shape's own frame, metres, in the order of the mesh's vertices. A mesh's own
        vertices are these under one rigid motion (and scale) of its source's frame
    """

    key: str
    vertices: NDArray[np.float64]


@dataclass(frozen=True)
class Mesh:
    """Triangles with a material each.

    Attributes
    ----------
    vertices : (n, 3) float64, metres; which frame is said where a mesh is handed over
    triangles : (m, 3) integer, counter-clockwise seen from outside
    material_ids : (m,) integer index into `materials`; all 0 when absent
    materials : (k, 4) uint8 RGBA, k <= 255; empty means the layer's own colour
    uv : (n, 2) float32 texture coordinates of the vertices, origin at the image's lower left; NaN where none.
        A vertex with two of them is there twice
    textures : one for each material, None for plain colours; or empty
    shared : the shape that this mesh is a copy of, where its source says so
    """

    vertices: NDArray[np.float64]
    triangles: NDArray[np.int64]
    material_ids: NDArray[np.uint8] | None = None
    materials: NDArray[np.uint8] | None = None
    uv: NDArray[np.float32] | None = None
    textures: tuple[Texture | None, ...] = ()
    shared: SharedShape | None = None

    def bounds(self) -> Bounds3:
        """Of all vertices; raises InvalidInput for an empty mesh or one with NaN."""
        if len(self.vertices) == 0 or not np.isfinite(self.vertices).all():
            raise InvalidInput("A mesh is empty or has coordinates that are not finite.")
        low, high = self.vertices.min(axis=0), self.vertices.max(axis=0)
        return (*(float(v) for v in low), *(float(v) for v in high))  # type: ignore[return-value]

    def volume_m3(self) -> float:
        """Signed volume by the divergence theorem; only meaningful for a closed mesh."""
        a, b, c = (self.vertices[self.triangles[:, i]] - self.vertices[0] for i in range(3))
        return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


@dataclass(frozen=True)
class StoredShape:
    """A shape that several features share, as the store keeps it: a blob in the shape's own frame."""

    key: str
    blob: bytes
    textures: tuple[Texture, ...] = ()


@dataclass(frozen=True)
class StoredMesh:
    """A mesh as the store keeps it.

    Attributes
    ----------
    blob : of the mesh, or of a copy of a shape (see `layers.mesh_copy`); a store gives back whole meshes only
    bounds : in the city's ENU frame
    textures : those that the blob names, on the way into the store; empty on the way out
    shape : what a copy is a copy of, on the way into the store
    """

    blob: bytes
    bounds: Bounds3
    textures: tuple[Texture, ...] = ()
    shape: StoredShape | None = None

    @property
    def size(self) -> int:
        """Bytes of the whole mesh, also where the blob is only a copy's."""
        return len(self.blob if self.shape is None else self.shape.blob)


def encode(mesh: Mesh) -> StoredMesh:
    """Pack a mesh whose vertices are in the city's ENU frame.

    Raises InvalidInput for a mesh that is empty or has NaN, more than 255 materials, indices that name nothing, or
    textures without texture coordinates.
    """
    bounds = mesh.bounds()
    origin = (np.array(bounds[:3]) + np.array(bounds[3:])) / 2
    triangles = np.ascontiguousarray(mesh.triangles, "<u4")
    if triangles.size and int(triangles.max()) >= len(mesh.vertices):
        raise InvalidInput("A triangle names a vertex that does not exist.")
    materials = np.zeros((0, 4), np.uint8) if mesh.materials is None else np.ascontiguousarray(mesh.materials, np.uint8)
    if len(materials) > MAX_MATERIALS:
        raise InvalidInput(f"A mesh has {len(materials)} materials; {MAX_MATERIALS} fit.", "Join like colours.")
    ids = np.zeros(len(triangles), np.uint8)
    if mesh.material_ids is not None:
        if len(mesh.material_ids) != len(triangles):
            raise InvalidInput(f"{len(mesh.material_ids)} material ids do not fit {len(triangles)} triangles.")
        ids[:] = mesh.material_ids
    paint, textures = _paint(mesh, len(materials))
    head = np.array(
        (TEXTURED if paint else MAGIC, origin, (len(mesh.vertices), len(triangles), len(materials))), dtype=_HEAD
    )
    vertices = (mesh.vertices - origin).astype("<f4")
    padding = b"\0" * (-len(ids) % 4)
    blob = b"".join(
        [head.tobytes(), vertices.tobytes(), triangles.tobytes(), ids.tobytes(), padding, materials.tobytes(), paint]
    )
    return StoredMesh(blob, bounds, textures)


def _paint(mesh: Mesh, n_materials: int) -> tuple[bytes, tuple[Texture, ...]]:
    """The last two sections of a textured blob, and the textures it names; nothing where there is no texture."""
    if not any(mesh.textures):
        return b"", ()
    if len(mesh.textures) != n_materials:
        raise InvalidInput(f"A mesh has {len(mesh.textures)} textures for {n_materials} materials.")
    if mesh.uv is None or np.shape(mesh.uv) != (len(mesh.vertices), 2):
        raise InvalidInput("A mesh has textures, but not two texture coordinates a vertex.")
    named = {each.key: each for each in mesh.textures if each is not None}
    keys = b"".join(bytes(KEY_BYTES) if each is None else bytes.fromhex(each.key) for each in mesh.textures)
    return np.ascontiguousarray(mesh.uv, "<f4").tobytes() + keys, tuple(named.values())


def decode(blob: bytes, texture: Callable[[str], Texture] | None = None) -> Mesh:
    """Unpack a blob; vertices come back in the city's ENU frame, float64.

    `texture` gives the image of a key (`Store.texture`); without it, textures stay out and `texture_keys` names them.
    """
    if len(blob) < _HEAD.itemsize or blob[:4] not in {MAGIC, TEXTURED}:
        raise InvalidInput("A stored mesh does not begin with CTM1 or CTM2.", "Build the twin again.")
    head = np.frombuffer(blob, _HEAD, 1)[0]
    n_vertices, n_triangles, n_materials = (int(v) for v in head["counts"])
    is_textured = blob[:4] == TEXTURED
    if len(blob) < _size(n_vertices, n_triangles, n_materials, is_textured):
        raise InvalidInput("A stored mesh is cut off.", "Build the twin again.")
    at = _HEAD.itemsize
    vertices = np.frombuffer(blob, "<f4", n_vertices * 3, at).reshape(-1, 3)
    at += n_vertices * 12
    triangles = np.frombuffer(blob, "<u4", n_triangles * 3, at).reshape(-1, 3)
    at += n_triangles * 12
    ids = np.frombuffer(blob, np.uint8, n_triangles, at)
    at += n_triangles + (-n_triangles % 4)
    materials = np.frombuffer(blob, np.uint8, n_materials * 4, at).reshape(-1, 4)
    at += n_materials * 4
    placed, corners = vertices.astype(np.float64) + head["origin"], triangles.astype(np.int64)
    if not is_textured:
        return Mesh(placed, corners, ids, materials)
    uv = np.frombuffer(blob, "<f4", n_vertices * 2, at).reshape(-1, 2)
    keys = () if texture is None else texture_keys(blob)
    textures = tuple(None if key is None or texture is None else texture(key) for key in keys)
    return Mesh(placed, corners, ids, materials, uv, textures)


def _size(n_vertices: int, n_triangles: int, n_materials: int, is_textured: bool) -> int:
    plain = _HEAD.itemsize + 12 * n_vertices + 12 * n_triangles + n_triangles + (-n_triangles % 4) + 4 * n_materials
    return plain + (8 * n_vertices + KEY_BYTES * n_materials if is_textured else 0)


def texture_keys(blob: bytes) -> tuple[str | None, ...]:
    """The key of each material's texture, None where it has none; empty for a mesh without textures."""
    if blob[:4] != TEXTURED:
        return ()
    n_materials = int(np.frombuffer(blob, _HEAD, 1)[0]["counts"][2])
    start = len(blob) - KEY_BYTES * n_materials
    keys = [blob[start + KEY_BYTES * i : start + KEY_BYTES * (i + 1)] for i in range(n_materials)]
    return tuple(key.hex() if any(key) else None for key in keys)
