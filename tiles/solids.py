"""Triangle meshes -> solids and surfaces of plane polygons on a grid of coordinates, for CityJSON and JSON-FG.

Vertices are put on the grid first (1 mm for instance), so that whatever is found here holds for what is written: which
edges are shared, which shells are closed. Triangles that share an edge and a plane become one polygon, with holes where
it has any; corners on straight edges stay, since other polygons may end there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from layers import crs
from layers.frame import CityFrame
from layers.geocentric import ecef_to_geodetic

Float = NDArray[np.float64]
Int = NDArray[np.int64]

MIN_COSINE, MIN_COSINE_STRICT = 0.9, 0.9998
"""Of the angle between triangles of one polygon. The grid alone turns narrow triangles by much; where many narrow ones
bend round a corner, only what is turned by less than 1.1 degrees (2 mm of a face 10 cm wide) stays together."""
NARROW_GRAINS = 10.0
"""A triangle less wide than this has no direction that could be trusted."""
PLANE_GRAINS = 2.0
"""How far a corner may lie off its polygon's plane, in grains."""


def to_city(frame: CityFrame, enu: Float) -> Float:
    """(n, 3) metres in the ENU frame -> (n, 3) east, north, normal height in the city's CRS.

    The inverse of `CityFrame.to_enu`, within 0.2 mm.
    """
    matrix = np.array(frame.root_transform).reshape(4, 4).T
    geodetic = ecef_to_geodetic(np.asarray(enu, np.float64) @ matrix[:3, :3].T + matrix[:3, 3])
    lon, lat, h_m = geodetic.T
    east, north = crs.transform(crs.WGS84, frame.city_crs, lon, lat)
    return np.stack([east, north, h_m - frame.height_model.undulation_m(lon, lat)], axis=1)


class Face(NamedTuple):
    """A plane polygon.

    Attributes
    ----------
    rings : outer first, counter-clockwise seen from outside; indices into the body's vertices, not closed
    label : of its triangles
    up : vertical part of its unit normal
    """

    rings: list[list[int]]
    label: int
    up: float


class Shell(NamedTuple):
    """Faces that hang together. `volume` in cubic grains; negative for a void; meaningless where it is open."""

    faces: list[Face]
    is_closed: bool
    volume: float


@dataclass(frozen=True)
class Body:
    """The model of one feature: (k, 3) vertices in grains and what they span."""

    vertices: Int
    shells: list[Shell]

    @property
    def solids(self) -> list[list[Shell]] | None:
        """Each solid as its outer shell and the voids in it; None where the model is not made of solids."""
        if not self.shells or not all(shell.is_closed and shell.volume for shell in self.shells):
            return None
        outer = [shell for shell in self.shells if shell.volume > 0]
        voids = [shell for shell in self.shells if shell.volume < 0]
        if not voids:
            return [[shell] for shell in outer]
        return [[*outer, *voids]] if len(outer) == 1 else None

    @property
    def faces(self) -> list[Face]:
        """All faces."""
        return [face for shell in self.shells for face in shell.faces]


@dataclass(frozen=True)
class Triangles:
    """Meshes of n features, one after the other.

    Attributes
    ----------
    vertices : (v, 3) metres or whatever the grain is a part of
    vertex_owner : (v,) feature of each
    corners : (t, 3) indices into `vertices`
    labels : (t,) triangles of different labels are never joined
    owner : (t,) feature of each triangle, ascending
    """

    vertices: Float
    vertex_owner: Int
    corners: Int
    labels: Int
    owner: Int


def bodies(given: Triangles, n: int, grain: Float) -> list[Body]:
    """The n features as bodies; `grain` (3,) is the step of the grid along each axis."""
    grid = np.rint(given.vertices / grain).astype(np.int64)
    keys, inverse = np.unique(np.column_stack([given.vertex_owner, grid]), axis=0, return_inverse=True)
    corners = inverse.reshape(-1)[given.corners].reshape(-1, 3)
    kept = (corners[:, 0] != corners[:, 1]) & (corners[:, 1] != corners[:, 2]) & (corners[:, 2] != corners[:, 0])
    first = np.searchsorted(keys[:, 0], np.arange(n + 1))
    owner = given.owner[kept]
    # about each feature's first vertex: products of map coordinates would leave no digits for the differences
    local = (keys[:, 1:] - keys[np.minimum(first[keys[:, 0]], len(keys) - 1), 1:]).astype(np.float64)
    mesh = _Topology(local, corners[kept], given.labels[kept], keys[:, 0])
    return _assembled(mesh, owner, keys[:, 1:], first, n)


class _Topology:
    """Edges, planes and connections of welded triangles."""

    def __init__(self, points: Float, corners: Int, labels: Int, vertex_owner: Int) -> None:
        self.points, self.corners, self.labels, self.vertex_owner = points, corners, labels, vertex_owner
        a, b, c = (points[corners[:, i]] for i in range(3))
        normal = np.cross(b - a, c - a)
        length = np.linalg.norm(normal, axis=1)
        self.is_sliver = length < 1e-9
        self.area = length / 2
        self.normal = normal / np.where(self.is_sliver, 1.0, length)[:, None]
        self.volume = np.einsum("ij,ij->i", a, np.cross(b, c)) / 6
        self.start = corners.ravel()
        self.end = corners[:, [1, 2, 0]].ravel()
        self.triangle = np.repeat(np.arange(len(corners)), 3)
        self.twin = self._twins()
        self.shell = self._connected(np.ones(len(self.start), bool))
        flat, strict = self._flat_edges()
        face = self._connected(flat)
        bends = ~is_plane(self, face)[face[self.triangle]]
        self.face = self._connected(np.where(bends, strict, flat)) if bends.any() else face

    def _twins(self) -> Int:
        """The opposite of each directed edge, -1 where there is not exactly one."""
        m = len(self.points)
        forward, backward = self.start * m + self.end, self.end * m + self.start
        order = np.argsort(forward, kind="stable")
        ordered = forward[order]
        at = np.searchsorted(ordered, backward)
        inside = np.minimum(at, max(len(ordered) - 1, 0))
        found = (at < len(ordered)) & (ordered[inside] == backward) if len(ordered) else np.zeros(0, bool)
        several = np.searchsorted(ordered, backward, side="right") - at > 1
        own = np.searchsorted(ordered, forward, side="right") - np.searchsorted(ordered, forward) > 1
        return np.where(found & ~several & ~own, order[inside], -1)

    def _connected(self, through: NDArray[np.bool_]) -> Int:
        """(t,) number of the group that each triangle hangs together with through some of the edges."""
        n, edges = len(self.corners), np.flatnonzero(through & (self.twin >= 0))
        pairs = (self.triangle[edges], self.triangle[self.twin[edges]])
        graph = coo_array((np.ones(len(edges), bool), pairs), shape=(n, n))
        return np.asarray(connected_components(graph, directed=False)[1], np.int64)

    def _flat_edges(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Edges whose two triangles lie in one plane, and those that do so by the stricter angle.

        A triangle without area joins across its longest edge.
        """
        twin, one = np.maximum(self.twin, 0), self.triangle
        other = one[twin]
        apex = self.points[self.corners[:, [2, 0, 1]].ravel()]  # opposite to each directed edge
        here = self.points[self.start]
        # the plane of the larger of the two decides: the grid turns a narrow triangle by any angle
        is_larger = self.area[one] >= self.area[other]
        normal = np.where(is_larger[:, None], self.normal[one], self.normal[other])
        off = np.abs(np.einsum("ij,ij->i", normal, np.where(is_larger[:, None], apex[twin], apex) - here))
        fits = (off <= PLANE_GRAINS) & ~self.is_sliver[one] & ~self.is_sliver[other]
        fits &= self.labels[one] == self.labels[other]
        cosine = np.einsum("ij,ij->i", self.normal[one], self.normal[other])
        edge = np.linalg.norm(self.points[self.end] - here, axis=1)
        narrow = 2 * np.minimum(self.area[one], self.area[other]) < NARROW_GRAINS * edge
        length = edge.reshape(-1, 3)
        longest = np.zeros_like(length, bool)
        longest[np.arange(len(length)), length.argmax(axis=1)] = True
        joins = (longest & self.is_sliver[:, None]).ravel()
        joins |= joins[twin] & (self.twin >= 0)
        return (fits & (narrow | (cosine > MIN_COSINE))) | joins, (fits & (cosine > MIN_COSINE_STRICT)) | joins


def _assembled(mesh: _Topology, owner: Int, grid: Int, first: Int, n: int) -> list[Body]:
    """Faces into shells, shells into bodies."""
    n_shells = int(mesh.shell.max()) + 1 if len(owner) else 0
    is_open = np.zeros(n_shells, bool)
    is_open[mesh.shell[mesh.triangle[mesh.twin < 0]]] = True
    volume = np.bincount(mesh.shell, mesh.volume, n_shells) if n_shells else np.zeros(0)
    shells = [Shell([], not is_open[k], float(volume[k])) for k in range(n_shells)]
    for number, face in _faces(mesh, first):
        shells[number].faces.append(face)
    owner_of_shell = np.zeros(n_shells, np.int64)
    owner_of_shell[mesh.shell] = owner
    found: list[list[Shell]] = [[] for _ in range(n)]
    for shell, whose in zip(shells, owner_of_shell.tolist(), strict=True):
        found[whose].append(shell)
    return [Body(grid[first[k] : first[k + 1]], found[k]) for k in range(n)]


def _faces(mesh: _Topology, first: Int) -> list[tuple[int, Face]]:
    """Every face with its shell."""
    n_faces = int(mesh.face.max()) + 1 if len(mesh.face) else 0
    edges = np.flatnonzero((mesh.twin < 0) | (mesh.face[mesh.triangle] != mesh.face[mesh.triangle[mesh.twin]]))
    face_of, start = mesh.face[mesh.triangle[edges]], mesh.start[edges]
    key = face_of * len(mesh.points) + start
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    following = np.searchsorted(ordered, face_of * len(mesh.points) + mesh.end[edges])
    following = order[np.minimum(following, max(len(order) - 1, 0))] if len(order) else order
    is_bad = ~is_plane(mesh, mesh.face)
    is_bad[face_of[order[1:]][ordered[1:] == ordered[:-1]]] = True  # it touches itself
    rings = _rings(face_of, start, following, is_bad)
    anyone = np.zeros(n_faces, np.int64)
    anyone[mesh.face] = np.arange(len(mesh.face))
    sound = np.flatnonzero(~mesh.is_sliver)
    anyone[mesh.face[sound]] = sound
    base = first[mesh.vertex_owner[mesh.corners[:, 0]]] if len(mesh.corners) else np.zeros(0, np.int64)
    by_face = np.argsort(mesh.face, kind="stable")
    begin = np.searchsorted(mesh.face[by_face], np.arange(n_faces + 1)).tolist()
    out: list[tuple[int, Face]] = []
    for number, triangle in enumerate(anyone.tolist()):
        if mesh.is_sliver[triangle]:
            continue  # no area at all
        turned = rings[number] if not is_bad[number] else None
        if turned is not None:
            turned = _outer_first(mesh.points, turned, mesh.normal[triangle])
        members = [triangle] if turned is not None else by_face[begin[number] : begin[number + 1]].tolist()
        for member in members:
            whole = turned if turned is not None else [mesh.corners[member].tolist()]
            local = [[vertex - int(base[member]) for vertex in ring] for ring in whole]
            out.append((int(mesh.shell[member]), Face(local, int(mesh.labels[member]), float(mesh.normal[member, 2]))))
    return out


def is_plane(mesh: _Topology, face: Int) -> NDArray[np.bool_]:
    """True for faces all of whose corners lie in the plane of their mean normal; `face` (t,) is that of a triangle."""
    n = int(face.max()) + 1 if len(face) else 0
    a, b, c = (mesh.points[mesh.corners[:, i]] for i in range(3))
    across = np.cross(b - a, c - a)
    normal = np.stack([np.bincount(face, across[:, axis], n) for axis in range(3)], axis=1)
    length = np.linalg.norm(normal, axis=1)
    normal /= np.where(length < 1e-9, 1.0, length)[:, None]
    off = np.einsum("tkj,tj->tk", mesh.points[mesh.corners], normal[face])
    low, high = np.full(n, np.inf), np.full(n, -np.inf)
    np.minimum.at(low, face, off.min(axis=1))
    np.maximum.at(high, face, off.max(axis=1))
    return np.asarray((high - low <= 2 * PLANE_GRAINS) & (length >= 1e-9))


def _rings(face_of: Int, start: Int, following: Int, is_bad: NDArray[np.bool_]) -> list[list[list[int]]]:
    """Vertices of the rings of each face, by walking from edge to edge; none of bad faces."""
    rings: list[list[list[int]]] = [[] for _ in range(len(is_bad))]
    seen = is_bad[face_of].tolist()
    faces, starts, onward = face_of.tolist(), start.tolist(), following.tolist()
    for edge in range(len(starts)):
        if seen[edge]:
            continue
        ring = []
        while not seen[edge]:
            seen[edge] = True
            ring.append(starts[edge])
            edge = onward[edge]  # noqa: PLW2901 -- the walk is the point
        rings[faces[edge]].append(ring)
    return rings


def _outer_first(points: Float, rings: list[list[int]], normal: Float) -> list[list[int]] | None:
    """The one ring that turns with the normal, then the holes; None where that is not clear."""
    if len(rings) == 1:
        return rings if len(rings[0]) >= 3 else None
    areas = [float(_doubled_area(points[ring]) @ normal) for ring in rings]
    outer = [ring for ring, area in zip(rings, areas, strict=True) if area > 0]
    if len(outer) != 1 or min(map(len, rings)) < 3:
        return None
    return outer + [ring for ring, area in zip(rings, areas, strict=True) if area <= 0]


def _doubled_area(ring: Float) -> Float:
    local = ring - ring[0]
    return np.asarray(np.cross(local, np.roll(local, -1, axis=0)).sum(axis=0))


def joined(meshes: Sequence[tuple[Float, Int, Int]]) -> Triangles:
    """Meshes as vertices, triangles and labels of each -> one after the other."""
    counts = np.array([len(vertices) for vertices, _, _ in meshes], np.int64)
    shift = np.cumsum(counts) - counts
    numbers = np.arange(len(meshes))
    return Triangles(
        np.concatenate([vertices for vertices, _, _ in meshes]),
        np.repeat(numbers, counts),
        np.concatenate([triangles + at for (_, triangles, _), at in zip(meshes, shift.tolist(), strict=True)]),
        np.concatenate([labels for _, _, labels in meshes]).astype(np.int64),
        np.repeat(numbers, [len(triangles) for _, triangles, _ in meshes]),
    )
