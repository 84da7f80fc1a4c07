"""Triangles -> vertices with flat normals, in one run for each material.

Corners that share vertex, material and normal become one vertex: a box has 24 instead of 36. They are found with one
sort of 64-bit keys that carry the corner's own number in their low bits: sorting numbers is several times faster than
sorting places, and nothing has to be looked up afterwards.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiles.gltf.quads import recut
from tiles.gltf.soup import Soup

Ints = NDArray[np.int64]

_THIN = 1e-20
"""Square of the sine of the angle between two sides below which a triangle has no area."""


@dataclass(frozen=True)
class Surface:
    """Vertex data of a tile. Run i is `materials[i]`, vertices and indices between `starts[i]` and `starts[i + 1]`.

    Attributes
    ----------
    vertices : (n,) vertex of the soup
    normals : (n, 3) unit, east, north, up
    features : (n,) row of each vertex's feature
    indices : (3 t,) into the vertices of its run, counted from the run's first
    vertex_starts, index_starts : (runs + 1,)
    materials : (runs,) of the soup
    """

    vertices: Ints
    normals: NDArray[np.float64]
    features: Ints
    indices: Ints
    vertex_starts: Ints
    index_starts: Ints
    materials: Ints

    def __len__(self) -> int:
        return len(self.materials)


def surface(soup: Soup, copied: NDArray[np.bool_]) -> Surface:
    """Find the vertices and the runs, which come in the order of their materials.

    Triangles without area are left out: they have no normal and nothing to show. Normals that differ by less than
    0.7 degrees may become one. Plane quadrilaterals may be cut along their other diagonal, but not where `copied` is
    True for the row of the feature: a shape and its copies must have the same triangles wherever they are drawn.
    """
    xyz = np.ascontiguousarray(soup.vertices.T)
    normals, solid = _normals(xyz, soup.triangles)
    triangles, materials = soup.triangles, soup.materials
    if len(soup.colours) > 1 or not solid.all():
        order = np.flatnonzero(solid)
        order = order[np.argsort(materials[order].astype(np.uint32), kind="stable")]
        triangles, materials, normals = triangles[order], materials[order], normals[:, order]
    facing = _facing(normals)
    alike = (facing[1:] == facing[:-1]) & (materials[1:] == materials[:-1])
    if not copied.all():
        alike &= ~copied[soup.features[triangles[1:, 0]]]
        triangles = recut(triangles, xyz, normals, alike)
    begins = np.flatnonzero(np.diff(materials, prepend=-1))
    ends = np.append(begins, len(materials))
    run = np.repeat(np.arange(len(begins)), np.diff(ends) * 3)
    vertex = triangles.ravel()
    group, first = _welded(run, vertex, np.repeat(facing, 3), len(soup.vertices))
    vertex_starts = np.searchsorted(run[first], np.arange(len(begins) + 1))
    chosen = vertex[first]
    return Surface(
        chosen,
        normals[:, first // 3].T,
        soup.features[chosen],
        group - vertex_starts[run],
        vertex_starts,
        3 * ends,
        materials[begins],
    )


def _normals(xyz: NDArray[np.float64], triangles: Ints) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(3, t) unit normals, and which triangles have an area."""
    a, b, c = (xyz.take(corner, axis=1) for corner in np.ascontiguousarray(triangles.T))
    b -= a
    c -= a
    normals = np.empty_like(a)
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        normals[i] = b[j] * c[k] - b[k] * c[j]
    squares = _dot(normals)
    solid = squares > _THIN * _dot(b) * _dot(c)
    normals /= np.sqrt(np.where(solid, squares, 1))
    return normals, solid


def _dot(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return rows[0] * rows[0] + rows[1] * rows[1] + rows[2] * rows[2]


def _facing(normals: NDArray[np.float64]) -> NDArray[np.uint64]:
    """24 bits a normal. 127 steps either side, so that 0 and 1 lie in the middle of a step and not on its border."""
    steps = (np.rint(normals * 127) + 128).astype(np.uint64)
    return (steps[0] << np.uint64(16)) | (steps[1] << np.uint64(8)) | steps[2]


def _welded(run: Ints, vertex: Ints, facing: NDArray[np.uint64], n_vertices: int) -> tuple[Ints, Ints]:
    """Group of each corner, and the first corner of each group; groups are in the order of run, vertex, facing."""
    n = len(vertex)
    corner_bits, vertex_bits = n.bit_length(), n_vertices.bit_length()
    keys = (run.astype(np.uint64) << np.uint64(vertex_bits)) | vertex.astype(np.uint64)
    keys = (keys << np.uint64(24)) | facing
    if (len(run) and int(run[-1]).bit_length()) + vertex_bits + 24 + corner_bits <= 64:
        keys = (keys << np.uint64(corner_bits)) | np.arange(n, dtype=np.uint64)
        keys.sort()
        order = (keys & np.uint64((1 << corner_bits) - 1)).astype(np.int64)
        keys >>= np.uint64(corner_bits)
    else:
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
    fresh = np.ones(n, bool)
    np.not_equal(keys[1:], keys[:-1], out=fresh[1:])
    group = np.empty(n, np.int64)
    group[order] = np.cumsum(fresh) - 1
    return group, order[fresh]
