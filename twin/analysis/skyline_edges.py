"""How high walls and ground rise seen from a point, at each azimuth: walls exactly, edge by edge."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from twin.analysis.elevation import Cells, Grid
from twin.analysis.line_of_sight_ground import crossings

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

AT_ONCE = 1_000_000
"""Pairs of an edge and an azimuth, or crossings of rays, in memory."""
SAME = 1e-9


@dataclass(frozen=True)
class Highest:
    """Of each of k azimuths.

    Attributes
    ----------
    tangent : of the elevation angle; -inf where nothing is
    at_m : distance of what is highest; NaN where nothing is
    which : number of the edge, -1 where nothing is
    missing : share of the heights asked for that are not known
    """

    tangent: FloatArray
    at_m: FloatArray
    which: IntArray
    missing: FloatArray


@dataclass(frozen=True)
class Edges:
    """Edges of footprints: (m, 2) starts, (m, 2) ends, (m,) which footprint."""

    start: FloatArray
    end: FloatArray
    of: IntArray


def edges(footprints: NDArray[np.object_]) -> Edges:
    """(n,) areas -> the edges of all their rings."""
    parts, owner = shapely.get_parts(footprints, return_index=True)
    rings, part = shapely.get_rings(parts, return_index=True)
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    is_edge = ring[1:] == ring[:-1]
    return Edges(xy[:-1][is_edge], xy[1:][is_edge], owner[part[ring[:-1][is_edge]]].astype(np.int64))


def walls(
    eye: FloatArray, azimuth_deg: FloatArray, found: Edges, top_m: FloatArray, *, reach_m: float, bend: float
) -> Highest:
    """The highest wall at each azimuth, exactly: (top - bend d**2 - eye) / d where the ray crosses an edge.

    Parameters
    ----------
    eye : east, north, height
    azimuth_deg : (k,) bearings from grid north, rising by even steps
    top_m : (m,) heights of the tops of the edges; NaN where not known
    reach_m : farther crossings do not count
    bend : see `viewshed_sight.bend_per_m`
    """
    k = len(azimuth_deg)
    tangent, at_m, which = np.full(k, -np.inf), np.full(k, np.nan), np.full(k, -1, np.int64)
    n, n_missing = np.zeros(k), np.zeros(k)
    direction = np.column_stack([np.sin(np.radians(azimuth_deg)), np.cos(np.radians(azimuth_deg))])
    for pair in _pairs(eye, azimuth_deg, found):
        edge, ray = pair
        a, along = found.start[edge] - eye[:2], found.end[edge] - found.start[edge]
        across = _cross(direction[ray], along)
        with np.errstate(divide="ignore", invalid="ignore"):
            d, share = _cross(a, along) / across, _cross(a, direction[ray]) / across
        is_hit = (d > SAME) & (d <= reach_m + 1e-6) & (share >= -SAME) & (share <= 1 + SAME)
        edge, ray, d = edge[is_hit], ray[is_hit], d[is_hit]
        value = (top_m[edge] - bend * d * d - eye[2]) / d
        n += np.bincount(ray, minlength=k)
        n_missing += np.bincount(ray[np.isnan(value)], minlength=k)
        order = np.lexsort(
            (-d, np.where(np.isnan(value), -np.inf, value))
        )  # the greatest, and of these the nearest last
        order = order[value[order] > tangent[ray[order]]]
        tangent[ray[order]], at_m[ray[order]], which[ray[order]] = value[order], d[order], edge[order]
    return Highest(tangent, at_m, which, n_missing / np.maximum(n, 1))


def _cross(a: FloatArray, b: FloatArray) -> FloatArray:
    return np.asarray(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])


def _pairs(eye: FloatArray, azimuth_deg: FloatArray, found: Edges) -> Iterator[tuple[IntArray, IntArray]]:
    """Edges and the azimuths at which they may be met."""
    one, two = (np.degrees(np.arctan2(xy[:, 0] - eye[0], xy[:, 1] - eye[1])) for xy in (found.start, found.end))
    turn = (two - one + 180.0) % 360.0 - 180.0  # the shorter way round
    low, span = np.where(turn < 0, one + turn, one), np.abs(turn)
    step = float(azimuth_deg[1] - azimuth_deg[0]) if len(azimuth_deg) > 1 else 1.0
    for whole in (-360.0, 0.0, 360.0, 720.0):
        first = np.ceil((low + whole - azimuth_deg[0]) / step - 1e-6)
        last = np.floor((low + span + whole - azimuth_deg[0]) / step + 1e-6)
        first, last = np.maximum(first, 0).astype(np.int64), np.minimum(last, len(azimuth_deg) - 1).astype(np.int64)
        count = np.maximum(last - first + 1, 0)
        rows = np.flatnonzero(count)
        ends = np.cumsum(count[rows])
        at = 0
        while at < len(rows):
            before = ends[at] - count[rows[at]]
            to = max(int(np.searchsorted(ends, before + AT_ONCE, side="right")), at + 1)
            these = rows[at:to]
            edge = np.repeat(these, count[these])
            start = np.repeat(ends[at:to] - count[these] - before, count[these])
            yield edge, np.arange(len(edge)) - start + first[edge]
            at = to


def ground(
    cells: Cells, grid: Grid, eye: FloatArray, azimuth_deg: FloatArray, *, reach_m: float, bend: float
) -> Iterator[tuple[int, int, Highest]]:
    """The highest ground at each azimuth, where rays cross the lattice of cell centres up to `reach_m`, part by part.

    Yields first and last (exclusive) azimuth, and what is highest at these.
    """
    each = max(int(AT_ONCE / max(2.0 * reach_m / min(grid.dx, grid.dy), 1.0)), 1)
    for first in range(0, len(azimuth_deg), each):
        turn = np.radians(azimuth_deg[first : first + each])
        k = len(turn)
        start = np.repeat(eye[None, :2], k, axis=0)
        stop = start + (reach_m + 1e-6) * np.column_stack([np.sin(turn), np.cos(turn)])
        met = crossings(cells, grid, start, stop)
        value = (met.ground_m - bend * (met.at_m**2 + met.spread_m2) - eye[2]) / met.at_m
        is_known = ~np.isnan(value)
        tangent, at_m = np.full(k, -np.inf), np.full(k, np.nan)
        np.maximum.at(tangent, met.line[is_known], value[is_known])
        best = np.flatnonzero(is_known & (value == tangent[met.line]))[::-1]
        at_m[met.line[best]] = met.at_m[best]
        n = np.bincount(met.line, minlength=k)
        n_missing = np.bincount(met.line[~is_known], minlength=k)
        yield first, first + k, Highest(tangent, at_m, np.full(k, -1, np.int64), n_missing / np.maximum(n, 1))
