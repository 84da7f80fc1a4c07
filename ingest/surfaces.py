"""Polygons with holes in 3D -> triangles, and solids -> footprints.

Triangulation: each polygon is projected on its own plane (normal after Newell, 1972) and cut by ear clipping
(mapbox_earcut). Triangles keep the polygon's orientation.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import mapbox_earcut
import numpy as np
import shapely
from numpy.typing import NDArray

Float = NDArray[np.float64]
Rings = Sequence[Sequence[int]]

MIN_AREA_M2 = 1e-8
"""A polygon with less area has no plane."""

MIN_SLOPE = 1e-3
"""Polygons whose normal rises less than this are vertical: they have no footprint."""


@dataclass(frozen=True)
class Surface:
    """One polygon: rings of indices into a vertex list (outer first), and what it is (`RoofSurface` …)."""

    rings: Rings
    kind: str = ""


def newell(points: Float) -> Float:
    """(3,) normal of a ring of (n, 3) points; its length is twice the area. Zero for a degenerate ring."""
    # about the first point: with map coordinates of 10^6 m the products would cancel only to 10^-4 m²
    local = points - points[0]
    return np.asarray(np.cross(local, np.roll(local, -1, axis=0)).sum(axis=0))


def triangulate(vertices: Float, rings: Rings) -> NDArray[np.int64]:
    """(m, 3) indices into `vertices`, counter-clockwise seen from where the outer ring is; empty if degenerate."""
    clean = [ring for ring in (_without_repeats(ring) for ring in rings) if len(ring) >= 3]
    if not clean:
        return np.zeros((0, 3), np.int64)
    indices = np.concatenate([np.asarray(ring, np.int64) for ring in clean])
    normal = newell(vertices[np.asarray(clean[0], np.int64)])
    length = float(np.linalg.norm(normal))
    if length < 2 * MIN_AREA_M2:
        return np.zeros((0, 3), np.int64)
    if len(indices) == 3:
        return indices.reshape(1, 3)
    flat = _on_plane(vertices[indices], normal / length)
    ends = np.cumsum([len(ring) for ring in clean]).astype(np.uint32)
    local = np.asarray(mapbox_earcut.triangulate_float64(flat, ends), np.int64).reshape(-1, 3)
    a, b, c = (flat[local[:, i]] for i in range(3))
    doubled = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    local[doubled < 0] = local[doubled < 0][:, ::-1]
    return indices[local]


def _without_repeats(ring: Sequence[int]) -> list[int]:
    return [index for i, index in enumerate(ring) if index != ring[i - 1] or len(ring) == 1]


def _on_plane(points: Float, normal: Float) -> Float:
    """(n, 3) points -> (n, 2) in a right-handed frame of the plane, about the first point."""
    helper = np.eye(3)[int(np.argmin(np.abs(normal)))]
    u = np.cross(helper, normal)
    u /= np.linalg.norm(u)
    return np.ascontiguousarray((points - points[0]) @ np.stack([u, np.cross(normal, u)], axis=1))


def footprint(vertices: Float, surfaces: Sequence[Surface]) -> shapely.Geometry:
    """Union of the ground surfaces seen from above; of all surfaces that are not vertical where none is marked."""
    grounds = [surface for surface in surfaces if surface.kind == "GroundSurface"]
    shapes = [
        shape for surface in grounds or surfaces if (shape := _seen_from_above(vertices, surface.rings)) is not None
    ]
    if not shapes and grounds:
        shapes = [shape for surface in surfaces if (shape := _seen_from_above(vertices, surface.rings)) is not None]
    if not shapes:
        return shapely.MultiPolygon()
    whole = shapely.union_all(
        shapely.make_valid(np.array(shapes, dtype=object), method="structure", keep_collapsed=False)
    )
    return shapely.multipolygons(
        [part for part in shapely.get_parts(whole) if part.geom_type == "Polygon" and part.area > 1e-6]
    )


def _seen_from_above(vertices: Float, rings: Rings) -> shapely.Polygon | None:
    points = [vertices[np.asarray(ring, np.int64)] for ring in rings if len(set(ring)) >= 3]
    if not points:
        return None
    normal = newell(points[0])
    length = float(np.linalg.norm(normal))
    if length < 2 * MIN_AREA_M2 or abs(normal[2]) < MIN_SLOPE * length:
        return None
    return shapely.Polygon(points[0][:, :2], [ring[:, :2] for ring in points[1:]])
