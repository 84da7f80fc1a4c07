"""Hours of sunlight of windows among buildings: exact to rounding, without steps in time.

A building is a prism: its outline from below up to one flat top. It hides the sun where the horizontal ray meets a wall
that is taller there than the ray. For each wall that is a closed form in the hour angle (`sunlight_kernel`); what the
walls leave of the day is sorted and added up. Plane geometry on the grid, as GB/T 50947-2014 has it: the scale
of the grid (119 ppm at 121° E in EPSG:4549) shifts an end by less than a second; refraction and the sun's disc are left
out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.errors import InvalidInput
from twin.analysis import sun_position
from twin.analysis.progress import SILENT, Progress

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

ON_WALL_M = 0.01
"""A window so near to a wall is in it: the wall hides the sun on its inner side."""
BLOCK = 500
"""Windows looked at together: what may shade them is held in memory."""
_LOWEST_UP = 1e-3
"""Sine of the lowest sun (0.06°) for which shadows are followed: 1 km for each metre of height."""


@dataclass(frozen=True)
class Obstacles:
    """Buildings as prisms.

    Attributes
    ----------
    edge_start, edges : walls, as in `sunlight_kernel.sunlit`; multipolygons and courtyards are rings of one building
    boxes : (b, 4) west, south, east, north
    tops_m : (b,) height of the top; NaN where it is not known
    """

    edge_start: IntArray
    edges: FloatArray
    boxes: FloatArray
    tops_m: FloatArray

    def __len__(self) -> int:
        return len(self.tops_m)


@dataclass(frozen=True)
class Stretches:
    """When windows see the sun: hours of true solar time.

    Attributes
    ----------
    starts : (n + 1,) those of window i are times_h[starts[i]:starts[i + 1]]
    times_h : (k, 2) first and last
    inside : (n,) index of the building that the window lies in, -1 for none; such a window has no stretch
    """

    starts: IntArray
    times_h: FloatArray
    inside: IntArray

    def hours(self, shortest_min: float = 0.0) -> FloatArray:
        """(n,) sum of the stretches that last at least `shortest_min` minutes; NaN for a window inside a building."""
        lengths = self.times_h[:, 1] - self.times_h[:, 0]
        counted = np.where(lengths >= shortest_min / 60.0 - 1e-9, lengths, 0.0)
        sums = np.concatenate([[0.0], np.cumsum(counted)])
        total = sums[self.starts[1:]] - sums[self.starts[:-1]]
        return np.where(self.inside >= 0, np.nan, total)

    def of(self, window: int) -> list[list[float]]:
        """Stretches of one window."""
        found: list[list[float]] = self.times_h[self.starts[window] : self.starts[window + 1]].tolist()
        return found


def obstacles(footprints: NDArray[np.object_], tops_m: FloatArray) -> Obstacles:
    """(b,) polygons or multipolygons and (b,) heights of their tops -> prisms. None and empty ones have no walls."""
    b = len(footprints)
    flat = shapely.force_2d(np.asarray(footprints, dtype=object))
    parts, owner = shapely.get_parts(flat, return_index=True)
    parts = shapely.orient_polygons(parts, exterior_cw=False)
    rings, part = shapely.get_rings(parts, return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    if not len(points):
        return Obstacles(
            np.zeros(b + 1, np.int64), np.empty((0, 6)), np.full((b, 4), np.nan), np.asarray(tops_m, float)
        )
    is_last = np.append(ring[1:] != ring[:-1], True)
    start = np.flatnonzero(~is_last)
    before = start - 1
    is_first = np.concatenate([[True], ring[1:] != ring[:-1]])[start]
    last_of_ring = np.flatnonzero(is_last)
    before[is_first] = last_of_ring[ring[start[is_first]]] - 1  # the last point is the first again
    edges = np.column_stack([points[start], points[start + 1], points[before]])
    of_building = owner[part[ring[start]]]
    counts = np.bincount(of_building, minlength=b)
    order = np.argsort(of_building, kind="stable")
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Obstacles(starts, np.ascontiguousarray(edges[order]), shapely.bounds(flat), np.asarray(tops_m, np.float64))


def sunlight(
    points: FloatArray,
    around: Obstacles,
    *,
    latitude_deg: FloatArray,
    declination: float,
    from_h: float,
    to_h: float,
    convergence_deg: FloatArray | float = 0.0,
    facing_deg: FloatArray | None = None,
    progress: Progress = SILENT,
) -> Stretches:
    """When windows see the sun on a day of a declination.

    Parameters
    ----------
    points : (n, 3) east, north, height in metres of a plane CRS
    latitude_deg : (n,); declination : degrees
    from_h, to_h : hours of true solar time that count, 0 to 24
    convergence_deg : grid north from true north, clockwise
    facing_deg : (n,) true azimuth that windows face, NaN (or None) for all round: the sun must be in front

    Raises
    ------
    InvalidInput
        A number is none, or out of range; the message begins with its name.
    """
    from twin.analysis.sunlight_kernel import sunlit

    n = len(points)
    _check(points, latitude_deg, declination, from_h, to_h)
    first, last = sun_position.hour_angle([from_h, to_h]).tolist()
    facing = np.full((n, 2), np.nan)
    if facing_deg is not None:
        bearing = np.radians(np.asarray(facing_deg, np.float64) - convergence_deg)
        facing = np.column_stack([np.sin(bearing), np.cos(bearing)])
    latitude, turn = np.broadcast_to(latitude_deg, n), np.broadcast_to(convergence_deg, n)
    ways = sun_position.path(latitude, declination, turn)
    starts, times, inside = [np.zeros(1, np.int64)], [], []
    for begin in range(0, n, BLOCK):
        rows = slice(begin, min(begin + BLOCK, n))
        pair_start, pairs = who_may_shade(
            points[rows], around, _shadow_box(latitude[rows], declination, turn[rows], (first, last))
        )
        found, begins, within = sunlit(
            np.ascontiguousarray(points[rows], np.float64), facing[rows], ways[rows], first, last, pair_start, pairs,
            around.edge_start, around.edges, around.boxes, around.tops_m, ON_WALL_M,
        )  # fmt: skip
        times.append(12.0 + np.degrees(found) / 15.0)
        starts.append(begins[1:] + starts[-1][-1])
        inside.append(within)
        progress(100.0 * rows.stop / n, f"{rows.stop} of {n} windows")
    return Stretches(
        np.concatenate(starts), np.concatenate([np.empty((0, 2)), *times]), np.concatenate([np.empty(0, int), *inside])
    )


def shading(
    points: FloatArray, around: Obstacles, *, latitude_deg: FloatArray, declination: float, from_h: float, to_h: float,
    convergence_deg: FloatArray | float = 0.0,
) -> list[IntArray]:  # fmt: skip
    """For each window the buildings whose shadow may come over it: all that do, and some that pass it by."""
    span = sun_position.hour_angle([from_h, to_h]).tolist()
    starts, pairs = who_may_shade(
        points, around, _shadow_box(latitude_deg, declination, np.asarray(convergence_deg), (span[0], span[1]))
    )
    return [pairs[starts[i] : starts[i + 1]] for i in range(len(points))]


def reach_m(latitude_deg: float, declination: float, from_h: float, to_h: float, height_m: float) -> float:
    """How far a building so much higher than a window can shade it within the hours; at most 1 km for each metre."""
    ways = sun_position.path([latitude_deg], declination)[0]
    up = sun_position.direction(ways, sun_position.hour_angle(np.linspace(from_h, to_h, 721)))[:, 2]
    lowest = max(float(up[up > 0].min(initial=1.0)), _LOWEST_UP)
    return max(height_m, 0.0) * float(np.sqrt(1 - lowest**2)) / lowest


def who_may_shade(points: FloatArray, around: Obstacles, reach: FloatArray) -> tuple[IntArray, IntArray]:
    """Buildings whose boxes, drawn out by the box of their shadow's way, hold each window; as `sunlit` takes them."""
    rise = np.nan_to_num(around.tops_m - points[:, 2].min(initial=np.inf), nan=-1.0)
    chosen = np.flatnonzero((rise > 0) & np.isfinite(around.boxes).all(axis=1))
    wide = around.boxes[chosen] + rise[chosen, None] * reach + np.array([-1, -1, 1, 1]) * (2 * ON_WALL_M)
    tree = shapely.STRtree(shapely.points(points[:, :2]))
    which, window = tree.query(shapely.box(*wide.T))
    order = np.argsort(window, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(window, minlength=len(points)))]).astype(np.int64)
    return starts, np.ascontiguousarray(chosen[which[order]], np.int64)


def _shadow_box(
    latitude_deg: FloatArray, declination: float, convergence_deg: FloatArray, span: tuple[float, float]
) -> FloatArray:
    """West, south, east, north of where a mast of 1 m throws its shadow within the hours, 1 % and 1 cm wider.

    Looked at for the outermost latitudes and convergences of the windows; between them it changes evenly.
    """
    angles = np.linspace(*span, 1001)
    latitudes = np.repeat([np.min(latitude_deg), np.max(latitude_deg)], 2)
    turns = np.tile([np.min(convergence_deg), np.max(convergence_deg)], 2)
    corners = [np.zeros((1, 2))]
    for way in sun_position.path(latitudes, declination, turns):
        sun = sun_position.direction(way, angles)
        sun = sun[sun[:, 2] > 0]
        corners.append(-sun[:, :2] / np.maximum(sun[:, 2:], _LOWEST_UP))
    found = np.concatenate(corners)
    low, high = found.min(axis=0), found.max(axis=0)
    spare = 0.01 * np.abs(found).max() + 0.01
    return np.concatenate([low - spare, high + spare])


def _check(points: FloatArray, latitude_deg: FloatArray, declination: float, from_h: float, to_h: float) -> None:
    bad = np.flatnonzero(~np.isfinite(points).all(axis=1))
    if bad.size:
        raise InvalidInput(f"windows: point {bad[0]} is no number.", "Give east, north and height.")
    if not (np.abs(latitude_deg) <= 90).all():
        raise InvalidInput("latitude_deg lies outside -90 to 90.", "Give degrees, north positive.")
    if not abs(declination) <= 23.5:
        raise InvalidInput(f"declination_deg = {declination} is no declination of the sun.", "It is -23.45 to 23.45.")
    if not 0 <= from_h < to_h <= 24:
        raise InvalidInput(f"from_h = {from_h}, to_h = {to_h} is no span of a day.", "Give 8 and 16, for example.")


def facade(footprint: shapely.Geometry, height_m: float, spacing_m: float) -> tuple[FloatArray, FloatArray]:
    """Points along the walls of an outline: (n, 3) points and (n,) grid bearing the wall faces, degrees.

    Each wall is cut into equal pieces of at most `spacing_m`; a point stands in the middle of each, at `height_m`.
    """
    points: list[FloatArray] = []
    bearings: list[FloatArray] = []
    single = obstacles(np.array([footprint], dtype=object), np.array([np.nan]))
    for ax, ay, bx, by in single.edges[:, :4].tolist():
        length = float(np.hypot(bx - ax, by - ay))
        if length < ON_WALL_M:
            continue
        pieces = max(int(np.ceil(length / spacing_m - 1e-9)), 1)
        t = (np.arange(pieces) + 0.5) / pieces
        points.append(np.column_stack([ax + t * (bx - ax), ay + t * (by - ay), np.full(pieces, height_m)]))
        bearings.append(np.full(pieces, np.degrees(np.arctan2(by - ay, -(bx - ax)))))
    if not points:
        return np.empty((0, 3)), np.empty(0)
    return np.concatenate(points), np.concatenate(bearings)


def as_clock(times_h: Sequence[float]) -> list[str]:
    """Hours as HH:MM:SS, rounded to the second."""
    seconds = [round(each * 3600) for each in times_h]
    return [f"{each // 3600:02d}:{each // 60 % 60:02d}:{each % 60:02d}" for each in seconds]
