"""Areas laid over the ground as thin surfaces, for land use and plans in 3D. Asked for by `drape = true` in city.toml.

Each area is cut by the lines of a square grid, so that its surface bends with the ground: cells that lie inside become
two triangles, what is left of the others is cut by earcut. The grid's lines are the same for all areas of a cell size,
and cell sizes are powers of two times the finest, so that neighbours share most of their corners.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import mapbox_earcut
import numpy as np
import shapely
from numpy.typing import NDArray

from layers.frame import CityFrame
from layers.mesh import StoredMesh
from twin.fuse.blobs import encode_all
from twin.fuse.extrude import FloatArray, IntArray, Solids
from twin.fuse.notes import Notes
from twin.terrain import Terrain

LIFT_M = 0.3
"""Above the ground, so that the ground's own tiles, which are simplified, do not show through."""
LEAST_CELL_M = 5.0
MAX_CELLS = 4096
"""Of one area: its cells grow until it has no more."""
MAX_AT_ONCE = 200_000


@dataclass(frozen=True)
class _Pieces:
    """Parts of areas within one cell each: corners in plan and triangles by corner number."""

    xy: FloatArray
    triangles: IntArray
    corner_feature: IntArray
    triangle_feature: IntArray


def drape(
    ids: list[str], geometry: NDArray[np.object_], *, terrain: Terrain, frame: CityFrame, notes: Notes
) -> list[StoredMesh | None]:
    """(n,) Polygons or MultiPolygons in the city's CRS -> surfaces LIFT_M above the ground.

    Between the corners of a cell a surface is a plane pair; corners have the ground's height to rounding. Where the
    terrain model has a hole the nearest known ground is taken; an area that lies off it wholly gets no surface, and
    that is noted.
    """
    areas = np.array(geometry, dtype=object)
    is_area = np.isin(shapely.get_type_id(areas), (3, 6)) & ~shapely.is_empty(areas)
    areas[~is_area] = None
    broken = is_area & ~shapely.is_valid(areas)
    areas[broken] = shapely.make_valid(areas[broken])
    areas = shapely.force_2d(areas)
    sides = cell_sizes(areas, max(terrain.cell_m or LEAST_CELL_M, LEAST_CELL_M))
    made: list[StoredMesh | None] = []
    for part in _parts(areas, sides):
        pieces = _welded(_pieces(areas[part], sides[part]))
        heights = np.asarray(terrain.height(pieces.xy[:, 0], pieces.xy[:, 1]), np.float64)
        heights, off = _filled(pieces, heights, terrain, len(areas[part]))
        lost = np.array(ids, dtype=object)[part][is_area[part] & off]
        notes.add(
            "DRAPE_WITHOUT_GROUND",
            lost,
            ["It lies off the terrain model and gets no surface."] * len(lost),
            "Add a terrain model that covers it.",
            "warning",
        )
        made += encode_all(_solids(pieces, heights, off, len(off), frame))
    return made


def _parts(areas: NDArray[np.object_], sides: FloatArray) -> Iterator[slice]:
    """The areas in runs of at most MAX_AT_ONCE cells (or one area), so that memory does not grow with their number."""
    boxes = np.nan_to_num(np.asarray(shapely.bounds(areas), np.float64).reshape(-1, 4))
    n_cells = np.ceil((boxes[:, 2:] - boxes[:, :2]) / sides[:, None] + 1).prod(axis=1)
    start = 0
    while start < len(areas):
        n = int(np.searchsorted(np.cumsum(n_cells[start:]), MAX_AT_ONCE, side="right"))
        yield slice(start, start + max(n, 1))
        start += max(n, 1)


def cell_sizes(geometry: NDArray[np.object_], least_m: float) -> FloatArray:
    """(n,) side of the cells of each area: `least_m`, doubled until its box has no more than MAX_CELLS."""
    boxes = np.asarray(shapely.bounds(geometry), np.float64).reshape(-1, 4)
    with np.errstate(invalid="ignore"):
        cells = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) / least_m**2 / MAX_CELLS
        doublings = np.ceil(np.log2(np.maximum(cells, 1)) / 2)
    return np.asarray(least_m * 2.0 ** np.nan_to_num(doublings))


def _pieces(areas: NDArray[np.object_], sides: FloatArray) -> _Pieces:
    feature, cells = _cells(areas, sides)
    shapely.prepare(areas)
    inside = shapely.contains_properly(areas[feature], cells)
    whole, whole_feature = cells[inside], feature[inside]
    corners = shapely.get_coordinates(whole).reshape(-1, 5, 2)[:, :4].reshape(-1, 2)
    first = 4 * np.arange(len(whole))[:, None]
    quads = (first + np.array([0, 1, 2, 0, 2, 3])).reshape(-1, 3)
    cut, cut_row = shapely.get_parts(shapely.intersection(areas[feature[~inside]], cells[~inside]), return_index=True)
    is_area = (shapely.get_type_id(cut) == 3) & ~shapely.is_empty(cut)
    xy, triangles, corner_piece, triangle_piece = _earcut(cut[is_area])
    cut_feature = feature[~inside][cut_row[is_area]]
    return _Pieces(
        np.concatenate([corners, xy]),
        np.concatenate([_turned(corners, quads), triangles + len(corners)]),
        np.concatenate([np.repeat(whole_feature, 4), cut_feature[corner_piece]]),
        np.concatenate([np.repeat(whole_feature, 2), cut_feature[triangle_piece]]),
    )


def _welded(pieces: _Pieces) -> _Pieces:
    """Corners at one place of one area once."""
    order = np.lexsort((pieces.xy[:, 1], pieces.xy[:, 0], pieces.corner_feature))
    xy, owner = pieces.xy[order], pieces.corner_feature[order]
    is_new = np.ones(len(xy), np.bool_)
    is_new[1:] = (xy[1:] != xy[:-1]).any(axis=1) | (owner[1:] != owner[:-1])
    place = np.zeros(len(xy), np.int64)
    place[order] = np.cumsum(is_new) - 1
    triangles = place[pieces.triangles]
    return replace(pieces, xy=xy[is_new], corner_feature=owner[is_new], triangles=triangles)


def _cells(areas: NDArray[np.object_], sides: FloatArray) -> tuple[IntArray, NDArray[np.object_]]:
    """Feature and box of every grid cell that the box of an area touches."""
    boxes = np.asarray(shapely.bounds(areas), np.float64).reshape(-1, 4)
    known = np.flatnonzero(np.isfinite(boxes).all(axis=1))
    low = np.floor(boxes[known, :2] / sides[known, None]).astype(np.int64)
    counts = np.maximum(np.ceil(boxes[known, 2:] / sides[known, None]).astype(np.int64) - low, 1)
    n = counts.prod(axis=1)
    owner = np.repeat(np.arange(len(known)), n)
    number = np.arange(int(n.sum())) - np.repeat(np.cumsum(n) - n, n)
    column, row = number % counts[owner, 0], number // counts[owner, 0]
    side = sides[known][owner]
    west, south = (low[owner, 0] + column) * side, (low[owner, 1] + row) * side
    return known[owner], shapely.box(west, south, west + side, south + side)


def _earcut(polygons: NDArray[np.object_]) -> tuple[FloatArray, IntArray, IntArray, IntArray]:
    """Corners, triangles counter-clockwise, and to which polygon each corner and each triangle belongs."""
    rings, polygon_of = shapely.get_rings(polygons, return_index=True)
    xy, ring_of = shapely.get_coordinates(rings, return_index=True)
    closing = np.r_[ring_of[1:] != ring_of[:-1], True] if len(xy) else np.zeros(0, np.bool_)
    xy, ring_of = xy[~closing], ring_of[~closing]
    lengths = np.bincount(ring_of, minlength=len(rings))
    corner_polygon = polygon_of[ring_of]
    ends = np.searchsorted(corner_polygon, np.arange(len(polygons) + 1))
    ring_ends = np.searchsorted(polygon_of, np.arange(len(polygons) + 1))
    found: list[IntArray] = []
    for i in range(len(polygons)):
        start = ends[i]
        local = np.ascontiguousarray(xy[start : ends[i + 1]] - xy[start])
        stops = np.cumsum(lengths[ring_ends[i] : ring_ends[i + 1]]).astype(np.uint32)
        found.append(mapbox_earcut.triangulate_float64(local, stops).astype(np.int64).reshape(-1, 3) + start)
    triangles = np.concatenate(found) if found else np.zeros((0, 3), np.int64)
    owners = np.repeat(np.arange(len(polygons)), [len(each) for each in found])
    return xy, _turned(xy, triangles), corner_polygon, owners


def _turned(xy: FloatArray, triangles: IntArray) -> IntArray:
    """The triangles, all counter-clockwise seen from above."""
    a, b, c = (xy[triangles[:, i]] for i in range(3))
    clockwise = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) < (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    return np.where(clockwise[:, None], triangles[:, ::-1], triangles)


def _filled(pieces: _Pieces, heights: FloatArray, terrain: Terrain, n: int) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Heights without gaps, and which areas have none at all."""
    known = np.isfinite(heights)
    off = np.bincount(pieces.corner_feature[known], minlength=n) == 0
    gaps = np.flatnonzero(~known & ~off[pieces.corner_feature])
    out = np.where(known, heights, 0.0)
    if len(gaps):
        out[gaps] = terrain.nearest(pieces.xy[gaps, 0], pieces.xy[gaps, 1])[0]
    return out, off


def _solids(pieces: _Pieces, heights: FloatArray, off: NDArray[np.bool_], n: int, frame: CityFrame) -> Solids:
    """Corners of each area together, triangles counted within it, in the ENU frame."""
    keep, keep_triangle = ~off[pieces.corner_feature], ~off[pieces.triangle_feature]
    owner = pieces.corner_feature[keep]
    order = np.argsort(owner, kind="stable")
    n_vertices = np.bincount(owner, minlength=n)
    first = np.cumsum(n_vertices) - n_vertices
    place = np.zeros(len(pieces.xy), np.int64)
    place[np.flatnonzero(keep)[order]] = np.arange(len(order)) - first[owner[order]]
    enh = np.column_stack([pieces.xy, heights + LIFT_M])[keep][order]
    triangle_owner = pieces.triangle_feature[keep_triangle]
    sorted_triangles = np.argsort(triangle_owner, kind="stable")
    return Solids(
        vertices=frame.to_enu(enh),
        triangles=place[pieces.triangles[keep_triangle][sorted_triangles]],
        n_vertices=n_vertices,
        n_triangles=np.bincount(triangle_owner, minlength=n),
    )
