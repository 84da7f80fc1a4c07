"""Distances between triangle meshes, compiled: for each pair of meshes the least distance and where it is.

Closest points of segments and of point and triangle: Ericson 2005, "Real-Time Collision Detection", 5.1.5 and 5.1.9.
Two triangles are nearest at a corner and a face, at two edges, or where an edge goes through a face.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin.analysis.kernel import kernel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@kernel
def _segments(p: FloatArray, q: FloatArray, r: FloatArray, s: FloatArray, out: FloatArray) -> float:
    """Squared distance of segments pq and rs; closest points into `out` (6,)."""
    a = e = b = c = f = 0.0
    for k in range(3):
        u, v, w = q[k] - p[k], s[k] - r[k], p[k] - r[k]
        a += u * u
        e += v * v
        b += u * v
        c += u * w
        f += v * w
    t = g = 0.0
    if a <= 0.0:
        if e > 0.0:
            g = min(max(f / e, 0.0), 1.0)
    elif e <= 0.0:
        t = min(max(-c / a, 0.0), 1.0)
    else:
        denominator = a * e - b * b
        if denominator > 1e-14 * a * e:
            t = min(max((b * f - c * e) / denominator, 0.0), 1.0)
        g = (b * t + f) / e
        if g < 0.0:
            g = 0.0
            t = min(max(-c / a, 0.0), 1.0)
        elif g > 1.0:
            g = 1.0
            t = min(max((b - c) / a, 0.0), 1.0)
    total = 0.0
    for k in range(3):
        out[k] = p[k] + t * (q[k] - p[k])
        out[3 + k] = r[k] + g * (s[k] - r[k])
        total += (out[k] - out[3 + k]) ** 2
    return total


@kernel
def _corner(p: FloatArray, t: FloatArray, out: FloatArray) -> float:
    """Squared distance of a point from a triangle (3, 3); the closest point into `out` (3,)."""
    d1 = d2 = d3 = d4 = d5 = d6 = 0.0
    for k in range(3):
        ab, ac = t[1, k] - t[0, k], t[2, k] - t[0, k]
        a, b, c = p[k] - t[0, k], p[k] - t[1, k], p[k] - t[2, k]
        d1 += ab * a
        d2 += ac * a
        d3 += ab * b
        d4 += ac * b
        d5 += ab * c
        d6 += ac * c
    va, vb, vc = d3 * d6 - d5 * d4, d5 * d2 - d1 * d6, d1 * d4 - d3 * d2
    v = w = 0.0
    if d1 <= 0.0 and d2 <= 0.0:
        v = w = 0.0
    elif d3 >= 0.0 and d4 <= d3:
        v = 1.0
    elif d6 >= 0.0 and d5 <= d6:
        w = 1.0
    elif vc <= 0.0 and d1 >= 0.0 and d3 <= 0.0:
        v = d1 / (d1 - d3) if d1 - d3 > 0.0 else 0.0
    elif vb <= 0.0 and d2 >= 0.0 and d6 <= 0.0:
        w = d2 / (d2 - d6) if d2 - d6 > 0.0 else 0.0
    elif va <= 0.0 and d4 - d3 >= 0.0 and d5 - d6 >= 0.0:
        span = (d4 - d3) + (d5 - d6)
        w = (d4 - d3) / span if span > 0.0 else 0.0
        v = 1.0 - w
    else:
        whole = va + vb + vc
        v, w = vb / whole, vc / whole
    total = 0.0
    for k in range(3):
        out[k] = t[0, k] + v * (t[1, k] - t[0, k]) + w * (t[2, k] - t[0, k])
        total += (p[k] - out[k]) ** 2
    return total


@kernel
def _normal(t: FloatArray) -> tuple[float, float, float]:
    """Cross product of two sides of a triangle."""
    ux, uy, uz = t[1, 0] - t[0, 0], t[1, 1] - t[0, 1], t[1, 2] - t[0, 2]
    vx, vy, vz = t[2, 0] - t[0, 0], t[2, 1] - t[0, 1], t[2, 2] - t[0, 2]
    return uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx


@kernel
def _through(p: FloatArray, q: FloatArray, t: FloatArray, out: FloatArray) -> float:
    """How far the segment pq sticks through a triangle: the lesser depth of its ends, -1 where it does not meet it."""
    x, y, z = _normal(t)
    size = np.sqrt(x * x + y * y + z * z)
    if size <= 0.0:
        return -1.0
    d = (x * (p[0] - t[0, 0]) + y * (p[1] - t[0, 1]) + z * (p[2] - t[0, 2])) / size
    e = (x * (q[0] - t[0, 0]) + y * (q[1] - t[0, 1]) + z * (q[2] - t[0, 2])) / size
    if d * e >= 0.0:
        return -1.0
    share = d / (d - e)
    ox, oy, oz = p[0] + (q[0] - p[0]) * share, p[1] + (q[1] - p[1]) * share, p[2] + (q[2] - p[2]) * share
    for k in range(3):
        n = (k + 1) % 3
        ux, uy, uz = t[n, 0] - t[k, 0], t[n, 1] - t[k, 1], t[n, 2] - t[k, 2]
        vx, vy, vz = ox - t[k, 0], oy - t[k, 1], oz - t[k, 2]
        side = x * (uy * vz - uz * vy) + y * (uz * vx - ux * vz) + z * (ux * vy - uy * vx)
        if side < -1e-12 * size * size:
            return -1.0
    out[0], out[1], out[2] = ox, oy, oz
    return min(abs(d), abs(e))


@kernel
def _triangles(a: FloatArray, b: FloatArray, out: FloatArray, spare: FloatArray) -> tuple[float, float]:
    """Squared distance of two triangles, closest points in `out` (6,); how far one sticks through the other."""
    best, deep = np.inf, -1.0
    for i in range(3):
        for turn in range(2):
            first, second = (a, b) if turn == 0 else (b, a)
            depth = _through(first[i], first[(i + 1) % 3], second, spare[:3])
            if depth >= 0.0:
                if depth > deep:
                    deep = depth
                    out[:3] = spare[:3]
                    out[3:] = spare[:3]
                best = 0.0
    if best == 0.0:
        return best, deep
    for i in range(3):
        d = _corner(a[i], b, spare[:3])
        if d < best:
            best = d
            out[:3] = a[i]
            out[3:] = spare[:3]
        d = _corner(b[i], a, spare[:3])
        if d < best:
            best = d
            out[:3] = spare[:3]
            out[3:] = b[i]
        for j in range(3):
            d = _segments(a[i], a[(i + 1) % 3], b[j], b[(j + 1) % 3], spare)
            if d < best:
                best = d
                out[:] = spare
    return best, deep


@kernel
def _apart(low: FloatArray, high: FloatArray, other_low: FloatArray, other_high: FloatArray) -> float:
    """Squared distance of two boxes."""
    total = 0.0
    for k in range(3):
        gap = max(low[k] - other_high[k], other_low[k] - high[k])
        if gap > 0.0:
            total += gap * gap
    return total


@kernel
def _pair(meshes: Any, pair: IntArray, reach: Any, places: FloatArray, work: FloatArray) -> tuple[float, float]:
    """Least squared distance of two meshes up to a limit, and how far a face of one sticks through one of the other."""
    corners, boxes, starts = meshes
    limit, far_through = reach
    a, b = pair[0], pair[1]
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for j in range(starts[b], starts[b + 1]):
        for k in range(3):
            low[k], high[k] = min(low[k], boxes[j, 0, k]), max(high[k], boxes[j, 1, k])
    best, deep = limit * limit * (1.0 + 1e-12) + 1e-18, -1.0
    found = np.inf
    for i in range(starts[a], starts[a + 1]):
        if _apart(boxes[i, 0], boxes[i, 1], low, high) > best:
            continue
        for j in range(starts[b], starts[b + 1]):
            if _apart(boxes[i, 0], boxes[i, 1], boxes[j, 0], boxes[j, 1]) > best:
                continue
            d, depth = _triangles(corners[i], corners[j], work[:6], work[6:])
            if depth > deep:
                deep = depth
                places[:] = work[:6]
            if d <= best and d < found:
                found = d
                best = d
                if deep < 0.0:
                    places[:] = work[:6]
            if found == 0.0 and deep >= far_through:
                return found, deep
    return found, deep


@kernel
def gaps(meshes: Any, pairs: IntArray, reach: Any, results: Any) -> None:
    """Distances of pairs of meshes.

    Parameters
    ----------
    meshes : (t, 3, 3) corners of all triangles, (t, 2, 3) their lowest and highest coordinates, (n + 1,) first triangle
        of each mesh
    pairs : (p, 2) rows of meshes
    reach : limit in m, greater distances are infinite; and the depth of a face behind another at which a pair that
        touches need not be looked at further (negative: as soon as it touches)
    results : written: (p,) distance in m, (p,) depth of an edge behind a face, -1 for none, (p, 6) closest points
    """
    distance, through, places = results
    work = np.empty(12)
    for row in range(len(pairs)):
        squared, deep = _pair(meshes, pairs[row], reach, places[row], work)
        distance[row] = np.sqrt(squared)
        through[row] = deep
