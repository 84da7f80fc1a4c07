"""Polygons with holes in 3D -> triangles, and solids -> footprints.

Triangulation: each polygon is projected on its own plane (normal after Newell, 1972) and cut by ear clipping
(mapbox_earcut). Triangles keep the polygon's orientation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

import mapbox_earcut
import numpy as np
import shapely
from numpy.typing import NDArray

Float = NDArray[np.float64]
Rings = Sequence[Sequence[int]]

MANY_SURFACES = 2000
"""So many polygons (a terrain) are joined as a coverage first: polygons side by side, which is much quicker."""

MIN_AREA_M2 = 1e-8
"""A polygon with less area has no plane."""

MIN_SLOPE = 1e-3
"""Polygons whose normal rises less than this are vertical: they have no footprint."""


class Polygonal(Protocol):
    """One polygon: rings of indices into a vertex list (outer first), and what it is (`RoofSurface` …)."""

    @property
    def rings(self) -> Rings:
        """Outer ring first."""
        ...

    @property
    def kind(self) -> str:
        """Type of the semantic surface, or empty."""
        ...


@dataclass(frozen=True)
class Surface:
    """The plainest `Polygonal`."""

    rings: Rings
    kind: str = ""


def newell(points: Float) -> Float:
    """(3,) normal of a ring of (n, 3) points; its length is twice the area. Zero for a degenerate ring."""
    # about the first point: with map coordinates of 10^6 m the products would cancel only to 10^-4 m²
    local = points - points[0]
    return np.asarray(np.cross(local, np.roll(local, -1, axis=0)).sum(axis=0))


def newells(points: Float, start: NDArray[np.int64]) -> Float:
    """(n, 3) what `newell` gives, for n rings that lie behind each other in `points`; ring i begins at `start[i]`."""
    if not len(start):
        return np.zeros((0, 3))
    length = np.diff([*start.tolist(), len(points)])
    local = points - np.repeat(points[start], length, axis=0)
    after = np.arange(1, len(points) + 1)
    after[start + length - 1] = start
    (x, y, z), (u, v, w) = local.T, local[after].T
    return np.add.reduceat(np.stack([y * w - z * v, z * u - x * w, x * v - y * u], axis=1), start, axis=0)


def triangulate(vertices: Float, rings: Rings) -> NDArray[np.int64]:
    """(m, 3) indices into `vertices`, counter-clockwise seen from where the outer ring is; empty if degenerate."""
    clean = [ring for ring in (_without_repeats(ring) for ring in rings) if len(ring) >= 3]
    if not clean:
        return np.zeros((0, 3), np.int64)
    indices = np.concatenate([np.asarray(ring, np.int64) for ring in clean])
    triangles, _ = triangulate_all(vertices[indices], [[len(ring) for ring in clean]])
    return indices[triangles]


def triangulate_all(points: Float, sizes: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Triangles of n polygons at once.

    Parameters
    ----------
    points : (k, 3) ring after ring, polygon after polygon, no vertex twice in a row
    sizes : of each polygon, the numbers of vertices of its rings (outer first), each 3 or more

    Returns
    -------
    (m, 3) indices into `points` and (m,) the polygon of each, ascending; none of a degenerate polygon
    """
    totals = np.array([sum(each) for each in sizes], np.int64)
    start = np.cumsum(totals) - totals
    outer = np.array([each[0] for each in sizes], np.int64)
    ring_start = np.concatenate([start[:, None], (start + outer)[:, None]], axis=1)
    is_single = totals == outer
    bounds = np.unique(ring_start[ring_start < len(points)])
    normal = newells(points, bounds)[np.searchsorted(bounds, start)]
    length = np.linalg.norm(normal, axis=1)
    sound = length >= 2 * MIN_AREA_M2
    threes = np.flatnonzero(sound & is_single & (outer == 3))
    fours = np.flatnonzero(sound & is_single & (outer == 4))
    fours = fours[_is_convex(points[start[fours][:, None] + np.arange(4)], normal[fours])]
    pieces = [start[threes][:, None] + [0, 1, 2], start[fours][:, None] + [0, 1, 2], start[fours][:, None] + [0, 2, 3]]
    owners = [threes, fours, fours]
    sound[threes] = sound[fours] = False
    rest = np.flatnonzero(sound)
    for each, frame in zip(rest.tolist(), _frames(normal[rest] / length[rest, None]), strict=True):
        own = points[start[each] : start[each] + totals[each]]
        flat = np.ascontiguousarray((own - own[0]) @ frame)
        cut = mapbox_earcut.triangulate_float64(flat, np.cumsum(sizes[each], dtype=np.uint32))
        pieces.append(np.asarray(cut, np.int64).reshape(-1, 3) + start[each])
        owners.append(np.full(len(pieces[-1]), each))
    owner = np.concatenate(owners)
    order = np.argsort(owner, kind="stable")
    triangles, owner = np.concatenate(pieces)[order].astype(np.int64), owner[order].astype(np.int64)
    a, b, c = (points[triangles[:, i]] for i in range(3))
    is_turned = (_cross(b - a, c - a) * normal[owner]).sum(axis=1) < 0
    triangles[is_turned] = triangles[is_turned][:, ::-1]
    return triangles, owner


def _is_convex(corners: Float, normal: Float) -> NDArray[np.bool_]:
    """(n, 4, 3) quadrilaterals: every corner turns the same way as the whole."""
    edges = corners[:, [1, 2, 3, 0]] - corners
    turns = _cross(edges, edges[:, [1, 2, 3, 0]])
    return np.asarray(((turns * normal[:, None, :]).sum(axis=2) > 0).all(axis=1))


def _cross(a: Float, b: Float) -> Float:
    """Cross products along the last axis; `numpy.cross` spends more time on its arguments than on small arrays."""
    (x, y, z), (u, v, w) = np.moveaxis(a, -1, 0), np.moveaxis(b, -1, 0)
    return np.stack([y * w - z * v, z * u - x * w, x * v - y * u], axis=-1)


def _frames(normal: Float) -> Float:
    """(n, 3) unit normals -> (n, 3, 2) a right-handed frame of each plane."""
    helper = np.eye(3)[np.argmin(np.abs(normal), axis=1)]
    u = _cross(helper, normal)
    u /= np.linalg.norm(u, axis=1)[:, None]
    return np.stack([u, _cross(normal, u)], axis=2)


def _without_repeats(ring: Sequence[int]) -> list[int]:
    return [index for i, index in enumerate(ring) if index != ring[i - 1] or len(ring) == 1]


def footprint(vertices: Float, surfaces: Sequence[Polygonal]) -> shapely.Geometry:
    """Union of the ground surfaces seen from above; of all surfaces that are not vertical where none is marked."""
    grounds = [surface for surface in surfaces if surface.kind == "GroundSurface"]
    shapes = _seen_from_above(vertices, grounds or surfaces)
    if not len(shapes) and grounds:
        shapes = _seen_from_above(vertices, surfaces)
    if not len(shapes):
        return shapely.MultiPolygon()
    bad = ~shapely.is_valid(shapes)
    shapes[bad] = shapely.make_valid(shapes[bad], method="structure", keep_collapsed=False)
    whole = _union(shapes)
    return shapely.multipolygons(
        [part for part in shapely.get_parts(whole) if part.geom_type == "Polygon" and part.area > 1e-6]
    )


def _union(shapes: NDArray[np.object_]) -> shapely.Geometry:
    if len(shapes) > MANY_SURFACES:
        try:
            whole = shapely.coverage_union_all(shapes)
        except shapely.GEOSException:  # they overlap
            return shapely.union_all(shapes)
        if shapely.is_valid(whole):
            return whole
    return shapely.union_all(shapes)


def _seen_from_above(vertices: Float, surfaces: Sequence[Polygonal]) -> NDArray[np.object_]:
    """Polygons in plan of the surfaces that are neither vertical nor degenerate."""
    rings = [ring for surface in surfaces for ring in surface.rings if len(ring) >= 3]
    if not rings:
        return np.zeros(0, object)
    owner = [number for number, surface in enumerate(surfaces) for ring in surface.rings if len(ring) >= 3]
    sizes = np.array([len(ring) for ring in rings])
    points = vertices[np.fromiter(chain.from_iterable(rings), np.int64)]
    start = np.cumsum(sizes) - sizes
    normal = newells(points, start)
    length = np.linalg.norm(normal, axis=1)
    flat = (length >= 2 * MIN_AREA_M2) & (np.abs(normal[:, 2]) >= MIN_SLOPE * length)
    is_outer = np.diff([-1, *owner]) > 0
    lines = np.full(len(rings), None, object)
    kept = np.repeat(flat, sizes)
    numbers = np.repeat(np.cumsum(flat) - 1, sizes)
    if flat.any():
        lines[flat] = shapely.linearrings(points[kept, :2], indices=numbers[kept])
    holed = {number for number, outer in zip(owner, is_outer.tolist(), strict=True) if not outer}
    simple = np.array([number not in holed for number in owner])
    shapes = [shapely.polygons(lines[flat & simple])] if (flat & simple).any() else []
    for number in sorted(holed):
        own = [row for row in range(owner.index(number), len(owner)) if owner[row] == number]
        if lines[own[0]] is not None:
            holes = [lines[row] for row in own[1:] if lines[row] is not None]
            shapes.append(np.array([shapely.Polygon(lines[own[0]], holes)], object))
    return np.concatenate(shapes).astype(object) if shapes else np.zeros(0, object)
