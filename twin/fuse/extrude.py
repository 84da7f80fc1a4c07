"""Footprint + base + top -> closed solid: floor, walls and roof, counter-clockwise seen from outside.

Holes and courtyards stay open. Roof and floor are cut by earcut (https://github.com/mapbox/earcut); where it drops a
triangle that has no area, which would leave a crack, manifold's triangulation is taken instead, which never does.
"""

from dataclasses import dataclass

import mapbox_earcut
import numpy as np
import shapely
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Solids:
    """Meshes of n features, one after the other.

    Attributes
    ----------
    vertices : (v, 3) float64 in the frame of the input
    triangles : (t, 3) indices into the vertices of the feature itself
    n_vertices, n_triangles : (n,) how many each feature has; 0 where none could be made
    """

    vertices: FloatArray
    triangles: IntArray
    n_vertices: IntArray
    n_triangles: IntArray


@dataclass(frozen=True)
class _Rings:
    """Corners of all rings, without the closing point; rings of a part and parts of a feature are consecutive."""

    xy: FloatArray
    following: IntArray
    ring_part: IntArray
    ring_length: IntArray
    part_feature: IntArray
    part_start: IntArray
    part_end: IntArray


def extrude(polygons: NDArray[np.object_], base_m: FloatArray, top_m: FloatArray) -> Solids:
    """(n,) valid Polygons or MultiPolygons, (n,) base and top -> closed solids in the same frame.

    A missing polygon, or one whose roof cannot be cut into triangles, gives no mesh. Corners that lie exactly on a
    straight edge are left out. Volume is area * (top - base), to rounding.
    """
    rings = _rings(polygons)
    roof, roof_part = _roof(rings)
    n_features = len(polygons)
    broken = np.setdiff1d(np.arange(len(rings.part_feature)), roof_part)
    is_whole = np.ones(n_features, bool)
    is_whole[rings.part_feature[broken]] = False

    vertex_part = np.repeat(np.arange(len(rings.part_start)), rings.part_end - rings.part_start)
    vertex_feature = rings.part_feature[vertex_part]
    keep = is_whole[vertex_feature]
    n_corners = np.bincount(vertex_feature[keep], minlength=n_features)
    first = np.zeros(n_features, np.int64)
    first[1:] = np.cumsum(n_corners)[:-1]
    local = np.zeros(len(rings.xy), np.int64)  # corner -> its number in its feature
    local[keep] = np.arange(int(keep.sum())) - first[vertex_feature[keep]]

    corners, owner = np.flatnonzero(keep), vertex_feature[keep]
    up = n_corners[owner]  # the roof's corner is that many vertices above the floor's
    here, there = local[corners], local[rings.following[corners]]
    walls = np.stack([here, there, there + up, here, there + up, here + up], axis=1).reshape(-1, 3)

    roof_feature = rings.part_feature[roof_part]
    roof, roof_feature = roof[is_whole[roof_feature]], roof_feature[is_whole[roof_feature]]
    floor = local[roof][:, ::-1]
    ceiling = local[roof] + n_corners[roof_feature][:, None]

    triangles = np.concatenate([floor, walls, ceiling])
    triangle_feature = np.concatenate([roof_feature, np.repeat(owner, 2), roof_feature])
    order = np.argsort(triangle_feature, kind="stable")
    return Solids(
        vertices=_vertices(rings.xy[corners], owner, n_corners, base_m, top_m),
        triangles=triangles[order],
        n_vertices=2 * n_corners,
        n_triangles=np.bincount(triangle_feature, minlength=n_features),
    )


def _vertices(
    xy: FloatArray, owner: IntArray, n_corners: IntArray, base_m: FloatArray, top_m: FloatArray
) -> FloatArray:
    """Each feature's floor corners, then its roof corners."""
    out = np.empty((2 * len(xy), 3))
    before = np.cumsum(n_corners) - n_corners
    floor_at = np.arange(len(xy)) + before[owner]
    roof_at = floor_at + n_corners[owner]
    out[floor_at, :2] = out[roof_at, :2] = xy
    out[floor_at, 2], out[roof_at, 2] = base_m[owner], top_m[owner]
    return out


def _rings(polygons: NDArray[np.object_]) -> _Rings:
    parts, part_feature = shapely.get_parts(shapely.force_2d(polygons), return_index=True)
    parts = shapely.orient_polygons(parts)
    rings, ring_part = shapely.get_rings(parts, return_index=True)
    xy, vertex_ring = shapely.get_coordinates(rings, return_index=True)
    closing = np.r_[vertex_ring[1:] != vertex_ring[:-1], True] if len(xy) else np.zeros(0, bool)
    xy, vertex_ring = xy[~closing], vertex_ring[~closing]
    for is_wanted in (_is_new, _is_corner):
        wanted = is_wanted(xy, vertex_ring)
        xy, vertex_ring = xy[wanted], vertex_ring[wanted]
    length = np.bincount(vertex_ring, minlength=len(rings))
    start = np.cumsum(length) - length
    following = np.arange(1, len(xy) + 1)
    following[(start + length - 1)[length > 0]] = start[length > 0]
    part_length = np.bincount(ring_part, weights=length, minlength=len(parts)).astype(np.int64)
    part_end = np.cumsum(part_length)
    return _Rings(xy, following, ring_part, length, part_feature, part_end - part_length, part_end)


def _is_new(xy: FloatArray, vertex_ring: IntArray) -> NDArray[np.bool_]:
    """(v,) False where a point repeats the one before it."""
    before, _ = _neighbours(vertex_ring)
    return np.asarray((xy != xy[before]).any(axis=1))


def _is_corner(xy: FloatArray, vertex_ring: IntArray) -> NDArray[np.bool_]:
    """(v,) False on a straight edge."""
    before, after = _neighbours(vertex_ring)
    a, b = xy - xy[before], xy[after] - xy
    return np.asarray(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0] != 0)


def _neighbours(vertex_ring: IntArray) -> tuple[IntArray, IntArray]:
    """(v,) numbers of the vertex before and the vertex after, going round each ring."""
    index = np.arange(len(vertex_ring))
    changes = vertex_ring[1:] != vertex_ring[:-1]
    first, last = np.r_[True, changes][: len(index)], np.r_[changes, True][: len(index)]
    start = np.maximum.accumulate(np.where(first, index, 0))
    end = np.minimum.accumulate(np.where(last, index, len(index))[::-1])[::-1]
    return np.where(first, end, index - 1), np.where(last, start, index + 1)


def _roof(rings: _Rings) -> tuple[IntArray, IntArray]:
    """(t, 3) corner numbers, counter-clockwise, and (t,) part; a part that cannot be cut is absent."""
    pieces: list[IntArray] = []
    owners: list[int] = []
    by_part = np.searchsorted(rings.ring_part, np.arange(len(rings.part_start) + 1))
    for part, (start, end) in enumerate(zip(rings.part_start.tolist(), rings.part_end.tolist(), strict=True)):
        lengths = rings.ring_length[by_part[part] : by_part[part + 1]]
        if lengths.min(initial=3) < 3:
            continue
        corners = rings.xy[start:end] - rings.xy[start]
        ends = np.cumsum(lengths)
        expected = end - start + 2 * len(lengths) - 4
        cut = mapbox_earcut.triangulate_float64(corners, ends.astype(np.uint32))
        if len(cut) != 3 * expected:
            cut = _cut_again(corners, ends)
        if len(cut) == 3 * expected:
            pieces.append(cut.astype(np.int64) + start)
            owners.append(part)
    if not pieces:
        return np.zeros((0, 3), np.int64), np.zeros(0, np.int64)
    triangles = np.concatenate(pieces).reshape(-1, 3)
    parts = np.repeat(np.array(owners, np.int64), [len(piece) // 3 for piece in pieces])
    a, b, c = (rings.xy[triangles[:, i]] for i in range(3))
    turns = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    # Both cutters keep one winding for a whole part, slivers included: turn parts, not triangles.
    clockwise = np.bincount(parts, weights=turns, minlength=len(rings.part_start)) < 0
    triangles[clockwise[parts]] = triangles[clockwise[parts]][:, ::-1]
    return triangles, parts


def _cut_again(corners: FloatArray, ends: IntArray) -> IntArray:
    import manifold3d

    try:
        return np.asarray(manifold3d.triangulate(np.split(corners, ends[:-1])), np.int64).ravel()
    except (RuntimeError, ValueError):
        return np.zeros(0, np.int64)
