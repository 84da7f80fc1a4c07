"""Faces of many city objects -> triangles, footprints and volumes, in few calls for a whole batch.

Faces are cut in a local metric frame: degrees are scaled to metres about the object, so that thresholds hold for any
CRS; vertices keep the source's coordinates. Triangles and convex quadrilaterals are cut without ear clipping.
"""

from dataclasses import dataclass, field

import mapbox_earcut
import numpy as np
import shapely
from numpy.typing import NDArray

from ingest.surfaces import MIN_AREA_M2, MIN_SLOPE

Float = NDArray[np.float64]

FLAT_M = 0.05
"""A face whose points lie further from its plane is named; it is cut all the same."""

DEGREE_M = 111_195.0
"""Metres in a degree of latitude, within 0.6 % everywhere: only for thresholds and shape, never for places."""


@dataclass
class Cut:
    """Triangles of faces.

    Attributes
    ----------
    triangles : (t, 3) indices into the points given
    faces : (t,) face of each triangle
    normals : (f, 3) of the faces, twice the area long
    degenerate : faces without area
    bent : face -> metres that a point of it lies off its plane
    """

    triangles: NDArray[np.int64]
    faces: NDArray[np.int64]
    normals: Float
    degenerate: NDArray[np.int64]
    bent: dict[int, float] = field(default_factory=dict)


def metric(points: Float, starts: NDArray[np.int64], *, is_degrees: bool) -> tuple[Float, Float, Float]:
    """Points of n objects, one after the other from `starts` on, in metres about the middle of each.

    Returns the points, and (n, 3) origins and scales: metric = (point - origin) * scale.
    """
    low, high = np.minimum.reduceat(points, starts), np.maximum.reduceat(points, starts)
    origin = (low + high) / 2
    scale = np.ones_like(origin)
    if is_degrees:
        scale[:, 0] = DEGREE_M * np.maximum(np.cos(np.radians(origin[:, 1])), 1e-6)
        scale[:, 1] = DEGREE_M
    else:
        origin = np.round(origin)  # whole metres: subtracting and adding them again changes nothing
    n = np.diff(np.append(starts, len(points)))
    return (points - np.repeat(origin, n, axis=0)) * np.repeat(scale, n, axis=0), origin, scale


def normals(points: Float, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> Float:
    """(f, 3) Newell normals of rings `points[starts[i]:ends[i]]` that follow each other; twice the area long."""
    n = ends - starts
    first = np.repeat(points[starts], n, axis=0)
    here = points - first
    after = np.arange(len(points)) + 1
    after[ends - 1] = starts
    return np.add.reduceat(np.cross(here, points[after] - first), starts) if len(starts) else np.zeros((0, 3))


def cut(points: Float, ring_ends: NDArray[np.int64], face_rings: NDArray[np.int64]) -> Cut:
    """Triangles of f faces.

    Parameters
    ----------
    points : (n, 3) metres, all rings one after the other
    ring_ends : (r,) where each ring ends in `points`
    face_rings : (f,) how many rings each face has, outer first
    """
    ring_starts = np.concatenate([[0], ring_ends[:-1]]).astype(np.int64)
    outer = np.concatenate([[0], np.cumsum(face_rings)[:-1]]).astype(np.int64)
    ring_normals = normals(points, ring_starts, ring_ends)
    normal = ring_normals[outer]
    length = np.linalg.norm(normal, axis=1)
    flat = length < 2 * MIN_AREA_M2
    unit = normal / np.where(flat, 1.0, length)[:, None]
    sizes = np.where(face_rings == 1, ring_ends[outer] - ring_starts[outer], 0)
    sizes[flat] = -1
    triples = np.flatnonzero(sizes == 3)
    triangles = [ring_starts[outer[triples]][:, None] + np.arange(3)]
    faces = [triples]
    quads = np.flatnonzero(sizes == 4)
    made, rest = _quads(points, ring_starts[outer[quads]], unit[quads])
    triangles.append(made)
    faces.append(np.repeat(quads[~rest], 2))
    for face in [*quads[rest].tolist(), *np.flatnonzero((sizes == 0) | (sizes > 4)).tolist()]:
        rings = range(int(outer[face]), int(outer[face] + face_rings[face]))
        start, ends = int(ring_starts[rings[0]]), ring_ends[rings.start : rings.stop]
        own = _ears(points[start : int(ends[-1])], (ends - start).astype(np.uint32), unit[face]) + start
        triangles.append(own)
        faces.append(np.full(len(own), face, np.int64))
    return Cut(
        np.concatenate(triangles).astype(np.int64), np.concatenate(faces).astype(np.int64), normal,
        np.flatnonzero(flat), _bent(points, ring_starts[outer], ring_ends[outer], unit, flat),
    )  # fmt: skip


def _quads(points: Float, starts: NDArray[np.int64], unit: Float) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Two triangles for each convex quadrilateral, and which are not convex (or nearly not)."""
    if not len(starts):
        return np.zeros((0, 3), np.int64), np.zeros(0, bool)
    corners = points[starts[:, None] + np.arange(4)]
    edges = np.roll(corners, -1, axis=1) - corners
    turns = np.einsum("fij,fj->fi", np.cross(np.roll(edges, 1, axis=1), edges), unit)
    rest = (turns <= MIN_AREA_M2).any(axis=1)
    good = starts[~rest]
    return (good[:, None] + np.array([0, 1, 2, 0, 2, 3])).reshape(-1, 3), rest


def _ears(points: Float, ends: NDArray[np.uint32], unit: Float) -> NDArray[np.int64]:
    helper = np.eye(3)[int(np.argmin(np.abs(unit)))]
    u = np.cross(helper, unit)
    u /= np.linalg.norm(u)
    flat = np.ascontiguousarray((points - points[0]) @ np.stack([u, np.cross(unit, u)], axis=1))
    local = np.asarray(mapbox_earcut.triangulate_float64(flat, ends), np.int64).reshape(-1, 3)
    a, b, c = (flat[local[:, i]] for i in range(3))
    doubled = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    local[doubled < 0] = local[doubled < 0][:, ::-1]
    return local


def _bent(
    points: Float, starts: NDArray[np.int64], ends: NDArray[np.int64], unit: Float, flat: NDArray[np.bool_]
) -> dict[int, float]:
    n = ends - starts
    faces = np.repeat(np.arange(len(n)), n)
    which = np.arange(int(n.sum())) - np.repeat(np.cumsum(n) - n, n) + np.repeat(starts, n)
    off = np.einsum("ij,ij->i", points[which] - points[np.repeat(starts, n)], unit[faces])
    spans = np.concatenate([[0], np.cumsum(n)[:-1]]).astype(np.int64)
    spread = np.maximum.reduceat(off, spans) - np.minimum.reduceat(off, spans) if len(n) else np.zeros(0)
    return {int(i): float(spread[i]) for i in np.flatnonzero((spread > FLAT_M) & ~flat)}


def outline(points: list[list[Float]], normal: Float, wanted: NDArray[np.bool_]) -> shapely.Geometry | None:
    """Union, seen from above, of the faces that are wanted and not vertical; None where none has an area in plan.

    `points`: rings of each face in metres; `normal` (f, 3).
    """
    length = np.linalg.norm(normal, axis=1)
    level = wanted & (length >= 2 * MIN_AREA_M2) & (np.abs(normal[:, 2]) >= MIN_SLOPE * length)
    shapes = [
        shapely.Polygon(points[i][0][:, :2], [ring[:, :2] for ring in points[i][1:]]) for i in np.flatnonzero(level)
    ]
    if not shapes:
        return None
    valid = np.array(shapes, object)
    if not shapely.is_valid(valid).all():
        valid = shapely.make_valid(valid, method="structure", keep_collapsed=False)
    whole = valid[0] if len(valid) == 1 else shapely.union_all(valid)
    parts = [part for part in shapely.get_parts(whole) if part.geom_type == "Polygon" and part.area > 1e-6]
    return shapely.multipolygons(parts) if parts else None


def volume_m3(points: Float, triangles: NDArray[np.int64]) -> float:
    """Signed volume of (t, 3) triangles about their first point."""
    a, b, c = (points[triangles[:, i]] - points[triangles[0, 0]] for i in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def is_closed(triangles: NDArray[np.int64]) -> bool:
    """True if every edge is there once in each direction (vertices must be shared)."""
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    size = int(triangles.max()) + 1
    forward, backward = edges[:, 0] * size + edges[:, 1], edges[:, 1] * size + edges[:, 0]
    return bool(len(np.unique(forward)) == len(forward) and np.array_equal(np.sort(forward), np.sort(backward)))
