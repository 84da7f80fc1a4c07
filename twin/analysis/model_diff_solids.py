"""Triangle meshes as solids: are they closed, which volume do they enclose, how do they meet. No city.

Closed means: along every edge as many triangles run one way as the other. Only then there is an inside. Parts
of one mesh that overlap count once, parts turned inwards are hollows, a mesh that is wholly turned inwards is turned
round. Booleans are manifold3d's (Lalish 2024, "Manifold"), exact to rounding.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layers.errors import InvalidInput

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MERGE_M = 1e-4
"""Corners nearer than this are one, where the mesh is not closed otherwise: kernels leave such gaps."""


@dataclass(frozen=True)
class Solid:
    """A mesh whose corners are joined.

    Attributes
    ----------
    vertices : (n, 3) metres, relative to a place near it that all solids of a question share
    triangles : (m, 3) rows of vertices, counter-clockwise seen from outside
    is_closed : whether it has an inside
    """

    vertices: FloatArray
    triangles: IntArray
    is_closed: bool

    @cached_property
    def low(self) -> FloatArray:
        """(3,) least coordinates."""
        return np.asarray(self.vertices.min(axis=0), np.float64)

    @cached_property
    def high(self) -> FloatArray:
        """(3,) greatest coordinates."""
        return np.asarray(self.vertices.max(axis=0), np.float64)

    @cached_property
    def body(self) -> Any:
        """The manifold of a closed mesh; None where there is none."""
        return _body(self.vertices, self.triangles) if self.is_closed else None

    @cached_property
    def volume_m3(self) -> float:
        """Volume inside; NaN for a mesh that is not closed."""
        return float("nan") if self.body is None else float(self.body.volume())

    @property
    def corners(self) -> FloatArray:
        """(m, 3, 3) triangles by their corners."""
        return self.vertices[self.triangles]


def solid(vertices: FloatArray, triangles: IntArray) -> Solid:
    """Join equal corners, drop triangles without area, and see whether the mesh is closed.

    Raises
    ------
    InvalidInput
        A coordinate is no number, a triangle names no corner, or nothing is left.
    """
    points, faces = np.asarray(vertices, np.float64).reshape(-1, 3), np.asarray(triangles, np.int64).reshape(-1, 3)
    if not len(points) or not np.isfinite(points).all():
        raise InvalidInput("A mesh is empty or has coordinates that are no numbers.")
    if not len(faces) or faces.min() < 0 or faces.max() >= len(points):
        raise InvalidInput("A mesh has no triangles, or one that names a corner that does not exist.")
    points, faces = _joined(points, faces, points)
    closed = is_closed(faces)
    if not closed:
        near_points, near_faces = _joined(points, faces, np.round(points / MERGE_M))
        if is_closed(near_faces):
            points, faces, closed = near_points, near_faces, True
    if not len(faces):
        raise InvalidInput("A mesh has only triangles without area.")
    made = Solid(points, faces, closed)
    return made if made.body is not None or not closed else Solid(points, faces, False)


def _joined(points: FloatArray, faces: IntArray, keys: FloatArray) -> tuple[FloatArray, IntArray]:
    """Corners with equal keys as one; triangles that have a corner twice are dropped."""
    order = np.lexsort(keys.T)
    ordered = keys[order]
    is_new = np.r_[True, (ordered[1:] != ordered[:-1]).any(axis=1)]
    place = np.empty(len(keys), np.int64)
    place[order] = np.cumsum(is_new) - 1
    joined = place[faces]
    keep = (joined[:, 0] != joined[:, 1]) & (joined[:, 1] != joined[:, 2]) & (joined[:, 2] != joined[:, 0])
    return points[order[is_new]], joined[keep]


def is_closed(triangles: IntArray) -> bool:
    """Whether each edge is run along as often one way as the other: parts of a mesh may meet at an edge."""
    if len(triangles) < 4:
        return False
    n = int(triangles.max()) + 1
    start, end = triangles.reshape(-1), triangles[:, [1, 2, 0]].reshape(-1)
    there, back = np.sort(start * n + end), np.sort(end * n + start)
    return bool((there == back).all())


def _manifold(vertices: FloatArray, triangles: IntArray) -> Any:
    from manifold3d import Manifold, Mesh64

    return Manifold(Mesh64(np.array(vertices, np.float64, order="C"), np.array(triangles, np.uint64, order="C")))


def _body(vertices: FloatArray, triangles: IntArray) -> Any:
    from manifold3d import Error, Manifold, OpType

    made = _manifold(vertices, triangles)
    if made.status() != Error.NoError or made.is_empty():
        return None
    if made.volume() < 0:
        made = _manifold(vertices, triangles[:, ::-1])
    pieces = made.decompose()
    if len(pieces) < 2:
        return made
    outer = [each for each in pieces if each.volume() > 0]
    if not outer:
        return None
    whole = Manifold.batch_boolean(outer, OpType.Add)
    for each in pieces:
        if each.volume() < 0:
            mesh = each.to_mesh64()
            whole -= _manifold(np.asarray(mesh.vert_properties)[:, :3], np.asarray(mesh.tri_verts)[:, ::-1])
    return whole


def common(a: Solid, b: Solid) -> tuple[float, float, FloatArray | None]:
    """Volume that two closed solids share, its mean thickness (2 V / surface), and a point of it; 0, 0, None if none.

    Thickness tells an overlap from two faces that touch to rounding: for a thin slab it is the slab's own.
    """
    shared = a.body ^ b.body
    if shared.is_empty():
        return 0.0, 0.0, None
    volume, surface = float(shared.volume()), float(shared.surface_area())
    if volume <= 0 or surface <= 0:
        return 0.0, 0.0, None
    low_high = np.asarray(shared.bounding_box(), np.float64)
    return volume, 2.0 * volume / surface, (low_high[:3] + low_high[3:]) / 2.0
