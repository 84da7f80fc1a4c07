"""Blobs of stored meshes -> all triangles of a tile in a few arrays, with no loop over features.

The blobs are joined and read as 32-bit words; where each section of each blob lies follows from the counts in its
head (layout: `layers.mesh`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from layers.errors import InvalidInput
from layers.mesh import KEY_BYTES, MAGIC, TEXTURED

Ints = NDArray[np.int64]

HEAD_WORDS = 10
_KEY_WORDS = KEY_BYTES // 4
_PLAIN, _PAINTED = (int.from_bytes(magic, "little") for magic in (MAGIC, TEXTURED))


@dataclass(frozen=True)
class Soup:
    """All triangles of a tile.

    Attributes
    ----------
    vertices : (v, 3) float64 metres, east, north, up, relative to `origin` of the ENU frame
    features : (v,) row of each vertex's feature, ascending
    triangles : (t, 3) into `vertices`, in the order of the features
    materials : (t,) into `colours` and `textures`
    colours : (m, 4) uint8 RGBA, sRGB
    textures : key of each material's image, or None
    uv : (v, 2) float32, origin lower left, NaN where none; None where no mesh has any
    """

    origin: NDArray[np.float64]
    vertices: NDArray[np.float64]
    features: Ints
    triangles: Ints
    materials: Ints
    colours: NDArray[np.uint8]
    textures: list[str | None]
    uv: NDArray[np.float32] | None


@dataclass(frozen=True)
class _Heads:
    """(n,) word at which each blob begins, its counts, whether it is painted; (n, 3) its origin."""

    starts: Ints
    vertices: Ints
    triangles: Ints
    materials: Ints
    painted: NDArray[np.bool_]
    origins: NDArray[np.float64]


def read(blobs: Sequence[bytes], rows: Ints, colours: NDArray[np.uint8]) -> Soup:
    """Decode n whole meshes.

    Parameters
    ----------
    blobs : CTM1 or CTM2, in the ENU frame
    rows : (n,) feature of each, ascending
    colours : (n, 4) RGBA for meshes without materials, and for material ids that name none

    Raises
    ------
    InvalidInput : a blob is damaged.
    """
    words = np.frombuffer(b"".join(blobs), "<u4")
    heads = _heads(words, np.array([len(blob) for blob in blobs], np.int64))
    n_vertices, n_triangles = heads.vertices, heads.triangles
    at = heads.starts + HEAD_WORDS
    local = words[_ranges(at, 3 * n_vertices)].view("<f4").reshape(-1, 3)
    at = at + 3 * n_vertices
    corners = words[_ranges(at, 3 * n_triangles)].astype(np.int64)
    if np.any(corners >= np.repeat(n_vertices, 3 * n_triangles)):
        raise InvalidInput("A stored mesh names a vertex that does not exist.", "Build the twin again.")
    first = np.cumsum(n_vertices) - n_vertices
    triangles = (corners + np.repeat(first, 3 * n_triangles)).reshape(-1, 3)
    at = at + 3 * n_triangles
    origin = _middle(heads.origins)
    vertices = local + np.repeat(heads.origins - origin, n_vertices, axis=0)
    materials, palette, textures = _materials(words, at, heads, colours)
    return Soup(
        origin, vertices, np.repeat(rows, n_vertices), triangles, materials, palette, textures, _uv(words, at, heads)
    )


def _heads(words: NDArray[np.uint32], n_bytes: Ints) -> _Heads:
    ends = np.cumsum(n_bytes) // 4
    starts = ends - n_bytes // 4
    if np.any(n_bytes % 4) or np.any(n_bytes < 4 * HEAD_WORDS):
        raise InvalidInput("A stored mesh is cut off.", "Build the twin again.")
    head = words[starts[:, None] + np.arange(HEAD_WORDS)]
    painted = head[:, 0] == _PAINTED
    if not np.all(painted | (head[:, 0] == _PLAIN)):
        raise InvalidInput("A stored mesh does not begin with CTM1 or CTM2.", "Build the twin again.")
    counts = head[:, 7:10].astype(np.int64)
    vertices, triangles, materials = counts.T
    needed = HEAD_WORDS + 3 * vertices + 3 * triangles + -(-triangles // 4) + materials
    needed += painted * (2 * vertices + _KEY_WORDS * materials)
    if np.any(needed > ends - starts):
        raise InvalidInput("A stored mesh is cut off.", "Build the twin again.")
    origins = np.ascontiguousarray(head[:, 1:7]).view("<f8")
    return _Heads(starts, vertices, triangles, materials, painted, origins)


def _ranges(starts: Ints, counts: Ints) -> Ints:
    """start, start + 1, … of each range, one after the other."""
    before = np.cumsum(counts) - counts
    return np.repeat(starts - before, counts) + np.arange(int(counts.sum()))


def _middle(origins: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of the meshes' own origins, to the metre: a short number in the document and no rounding in the sums."""
    return np.rint((origins.min(axis=0) + origins.max(axis=0)) / 2)


def _materials(
    words: NDArray[np.uint32], at: Ints, heads: _Heads, colours: NDArray[np.uint8]
) -> tuple[Ints, NDArray[np.uint8], list[str | None]]:
    """Material of each triangle, RGBA and texture key of each material; equal materials are one.

    `at` is where the material ids begin.
    """
    n, n_triangles, n_own = len(colours), heads.triangles, heads.materials
    style = np.ascontiguousarray(colours).view("<u4").ravel()
    if not n_own.any():
        unique, of_feature = np.unique(style, return_inverse=True)
        return np.repeat(of_feature, n_triangles), _rgba(unique), [None] * len(unique)
    ids = words.view(np.uint8)[_ranges(4 * at, n_triangles)].astype(np.int64)
    at = at + -(-n_triangles // 4)
    own = words[_ranges(at, n_own)]
    total = len(own)
    # the styles' colours come last: meshes without materials, and ids that name none, fall on them
    known = ids < np.repeat(n_own, n_triangles)
    before = np.cumsum(n_own) - n_own
    slots = np.where(known, ids + np.repeat(before, n_triangles), np.repeat(total + np.arange(n), n_triangles))
    keys = np.zeros((total + n, 1 + _KEY_WORDS), np.uint32)
    keys[:, 0] = np.concatenate([own, style])
    if heads.painted.any():
        painted = np.repeat(heads.painted, n_own)
        after_uv = (at + n_own + 2 * heads.vertices)[heads.painted]
        keys[np.flatnonzero(painted), 1:] = words[_ranges(after_uv, _KEY_WORDS * n_own[heads.painted])].reshape(
            -1, _KEY_WORDS
        )
    unique, place = np.unique(keys.view([("", "<u4")] * keys.shape[1]).ravel(), return_inverse=True)
    unique = unique.view("<u4").reshape(len(unique), -1)
    names = [key.tobytes().hex() if key.any() else None for key in unique[:, 1:]]
    return place[slots], _rgba(unique[:, 0]), names


def _rgba(colours: NDArray[np.uint32]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(colours, "<u4").view(np.uint8).reshape(-1, 4)


def _uv(words: NDArray[np.uint32], at: Ints, heads: _Heads) -> NDArray[np.float32] | None:
    if not heads.painted.any():
        return None
    uv = np.full((int(heads.vertices.sum()), 2), np.nan, np.float32)
    chosen = heads.painted
    begin = (at + -(-heads.triangles // 4) + heads.materials)[chosen]
    values = words[_ranges(begin, 2 * heads.vertices[chosen])].view("<f4").reshape(-1, 2)
    uv[np.repeat(chosen, heads.vertices)] = values
    return uv
