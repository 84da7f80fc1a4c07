"""When the sun is hidden from a window, as closed forms: the compiled part of `sunlight_shadow`.

All conditions on the sun's direction s are planes through the window, n · s >= 0. On a day the sun is at
s(H) = a + b cos H + c sin H, so that each is p + q cos H + r sin H >= 0, whose ends are known:
H = atan2(r, q) ± acos(-p / hypot(q, r)).
"""

# ruff: noqa: PLR0917 -- compiled functions take arrays and numbers one by one

import numpy as np
from numpy.typing import NDArray

from twin.analysis.kernel import kernel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

INSIDE = 1
_TURN = 2.0 * np.pi
_NOTHING = 1e-9
"""Radians of hour angle (14 microseconds): shorter gaps are rounding between walls that share a corner."""


@kernel
def _hidden(
    normals: FloatArray, n: int, parts: FloatArray, first: float, last: float, ends: FloatArray, out: FloatArray, k: int
) -> int:
    """Append the stretches of [first, last] in which all n conditions hold to out[k:]; the new k."""
    m = 1
    ends[0] = first
    coefficients = np.empty((3, 3))
    for i in range(n):
        for j in range(3):
            coefficients[i, j] = normals[i, 0] * parts[j, 0] + normals[i, 1] * parts[j, 1] + normals[i, 2] * parts[j, 2]
        p, q, r = coefficients[i, 0], coefficients[i, 1], coefficients[i, 2]
        size = np.hypot(q, r)
        if p <= -size:
            return k  # never, or at one instant
        if p >= size:
            continue
        middle, half = np.arctan2(r, q), np.arccos(-p / size)
        for end in (middle - half, middle + half):
            moved = end - _TURN * np.floor((end - first) / _TURN)
            if moved < last:
                ends[m] = moved
                m += 1
    ends[m] = last
    m += 1
    ends[:m].sort()
    for i in range(m - 1):
        start, end = ends[i], ends[i + 1]
        if end - start <= 0.0:
            continue
        cosine, sine = np.cos(0.5 * (start + end)), np.sin(0.5 * (start + end))
        holds = True
        for j in range(n):
            if coefficients[j, 0] + coefficients[j, 1] * cosine + coefficients[j, 2] * sine < 0.0:
                holds = False
                break
        if holds:
            out[k, 0], out[k, 1] = start, end
            k += 1
    return k


@kernel
def _place(x: float, y: float, edges: FloatArray, start: int, stop: int, on_wall_m: float) -> int:
    """0 outside, 1 inside, 2 on a wall of the rings of one building."""
    inside = False
    for i in range(start, stop):
        ax, ay, bx, by = edges[i, 0], edges[i, 1], edges[i, 2], edges[i, 3]
        if _distance(x, y, ax, ay, bx, by) <= on_wall_m:
            return 2
        if (ay > y) != (by > y) and x < ax + (y - ay) / (by - ay) * (bx - ax):
            inside = not inside
    return 1 if inside else 0


@kernel
def _distance(x: float, y: float, ax: float, ay: float, bx: float, by: float) -> float:
    ex, ey = bx - ax, by - ay
    length = ex * ex + ey * ey
    t = 0.0 if length == 0.0 else min(1.0, max(0.0, ((x - ax) * ex + (y - ay) * ey) / length))
    return float(np.hypot(ax + t * ex - x, ay + t * ey - y))


@kernel
def _wall(
    point: FloatArray, edge: FloatArray, on_wall_m: float, normals: FloatArray, parts: FloatArray,
    first: float, last: float, ends: FloatArray, out: FloatArray, k: int,
) -> int:  # fmt: skip
    """The wall that the window itself is in hides the sun on its inner side; at a corner both walls do."""
    x, y = point[0], point[1]
    if np.hypot(edge[2] - x, edge[3] - y) <= on_wall_m:
        return k  # the corner is looked at once, with the wall that begins there
    normals[0, 0], normals[0, 1], normals[0, 2] = edge[1] - edge[3], edge[2] - edge[0], 0.0
    if np.hypot(edge[0] - x, edge[1] - y) > on_wall_m:
        return _hidden(normals, 1, parts, first, last, ends, out, k)
    px, py = edge[0] - edge[4], edge[1] - edge[5]
    is_convex = px * (edge[3] - edge[1]) - py * (edge[2] - edge[0]) > 0.0
    normals[1, 0], normals[1, 1], normals[1, 2] = -py, px, 0.0
    if is_convex:
        return _hidden(normals, 2, parts, first, last, ends, out, k)
    k = _hidden(normals, 1, parts, first, last, ends, out, k)
    normals[0, 0], normals[0, 1] = -py, px
    return _hidden(normals, 1, parts, first, last, ends, out, k)


@kernel
def _building(
    point: FloatArray, edges: FloatArray, start: int, stop: int, rise: float, is_near: bool, on_wall_m: float,
    normals: FloatArray, parts: FloatArray, first: float, last: float, ends: FloatArray, out: FloatArray, k: int,
) -> int:  # fmt: skip
    """Append what the walls of one building hide. `rise`: its top above the window. The new k."""
    for i in range(start, stop):
        if is_near and _distance(point[0], point[1], edges[i, 0], edges[i, 1], edges[i, 2], edges[i, 3]) <= on_wall_m:
            k = _wall(point, edges[i], on_wall_m, normals, parts, first, last, ends, out, k)
            continue
        ax, ay = edges[i, 2] - point[0], edges[i, 3] - point[1]
        bx, by = edges[i, 0] - point[0], edges[i, 1] - point[1]
        cross = ax * by - ay * bx
        if cross <= 0.0:
            continue  # seen from inside: the ray has met another wall before
        normals[0, 0], normals[0, 1], normals[0, 2] = -ay, ax, 0.0
        normals[1, 0], normals[1, 1], normals[1, 2] = by, -bx, 0.0
        normals[2, 0], normals[2, 1], normals[2, 2] = -rise * (ay - by), -rise * (bx - ax), -cross
        k = _hidden(normals, 3, parts, first, last, ends, out, k)
    return k


@kernel
def sunlit(
    points: FloatArray, facing: FloatArray, parts: FloatArray, first: float, last: float, pair_start: IntArray,
    pairs: IntArray, edge_start: IntArray, edges: FloatArray, boxes: FloatArray, tops: FloatArray, on_wall_m: float,
) -> tuple[FloatArray, IntArray, IntArray]:  # fmt: skip
    """Stretches in which each window sees the sun.

    Parameters
    ----------
    points : (n, 3) east, north, height; facing : (n, 2) outward unit vector, NaN for all round
    parts : (n, 3, 3) as `sun_position.path`; first, last : hour angles, radians, within one turn
    pair_start, pairs : buildings pairs[pair_start[i]:pair_start[i + 1]] may shade window i
    edge_start, edges : (m, 6) walls of building j at edges[edge_start[j]:edge_start[j + 1]]: start, end and the point
        before the start, interior to the left
    boxes, tops : (b, 4) west, south, east, north and (b,) height of the top; NaN is no obstacle

    Returns
    -------
    (k, 2) first and last hour angle, (n + 1,) where those of each window begin, (n,) index of the building that the
    window lies in, -1 for none (it then has no stretch)
    """
    n = len(points)
    starts, inside = np.zeros(n + 1, np.int64), np.full(n, -1, np.int64)
    found, used = np.empty((max(4 * n, 16), 2)), 0
    hidden, ends, normals = np.empty((4096, 2)), np.empty(16), np.empty((3, 3))
    for i in range(n):
        normals[0, 0], normals[0, 1], normals[0, 2] = 0.0, 0.0, -1.0
        k = _hidden(normals, 1, parts[i], first, last, ends, hidden, 0)  # below the horizon
        if not np.isnan(facing[i, 0]):
            normals[0, 0], normals[0, 1], normals[0, 2] = -facing[i, 0], -facing[i, 1], 0.0
            k = _hidden(normals, 1, parts[i], first, last, ends, hidden, k)
        for at in range(pair_start[i], pair_start[i + 1]):
            j = pairs[at]
            rise = tops[j] - points[i, 2]
            if not rise > 0.0:
                continue
            begin, stop = edge_start[j], edge_start[j + 1]
            while k + 6 * (stop - begin) + 8 > len(hidden):
                wider = np.empty((2 * len(hidden), 2))
                wider[:k] = hidden[:k]
                hidden = wider
            x, y = points[i, 0], points[i, 1]
            is_near = (
                boxes[j, 0] - on_wall_m <= x <= boxes[j, 2] + on_wall_m
                and boxes[j, 1] - on_wall_m <= y <= boxes[j, 3] + on_wall_m
            )
            if is_near and _place(x, y, edges, begin, stop, on_wall_m) == INSIDE:
                inside[i] = j
                break
            k = _building(
                points[i], edges, begin, stop, rise, is_near, on_wall_m, normals, parts[i], first, last, ends, hidden, k
            )
        if inside[i] < 0:
            if used + k + 2 > len(found):
                more = np.empty((2 * (used + k + 2), 2))
                more[:used] = found[:used]
                found = more
            used = _between(hidden[:k], first, last, found, used)
        starts[i + 1] = used
    return found[:used], starts, inside


@kernel
def _between(hidden: FloatArray, first: float, last: float, out: FloatArray, k: int) -> int:
    """Append what the hidden stretches leave of [first, last]."""
    reached = first
    for i in np.argsort(hidden[:, 0]):
        if hidden[i, 0] - reached > _NOTHING:
            out[k, 0], out[k, 1] = reached, hidden[i, 0]
            k += 1
        reached = max(reached, hidden[i, 1])
    if last - reached > _NOTHING:
        out[k, 0], out[k, 1] = reached, last
        k += 1
    return k
