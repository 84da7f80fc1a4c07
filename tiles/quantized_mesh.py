"""A regular grid of heights -> one quantized-mesh 1.0 tile. Pure.

Spec: https://github.com/CesiumGS/quantized-mesh/blob/main/SPECIFICATION.md. Vertices are numbered in the order in
which the triangles first use them, as the high-water-mark code needs: QGIS crashes on codes below zero. Skirts are
made by the client from the edge lists.
"""

import struct
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from layers.frame import E2, SEMI_MAJOR_M, geodetic_to_ecef

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

STEPS = 32767
"""Quantisation steps across a tile in each of u, v and height."""
OCT_VERTEX_NORMALS = 1
"""Id of the extension."""


@lru_cache(maxsize=8)
def grid_steps(n: int) -> IntArray:
    """(n,) u or v of the grid lines, 0 to 32767. Heights belong exactly there, so that neighbours share samples."""
    return np.rint(np.arange(n) * (STEPS / (n - 1))).astype(np.int64)


@lru_cache(maxsize=8)
def _topology(n: int) -> tuple[IntArray, bytes]:
    """Grid index of each vertex in order of first use, and the finished index section of the tile (all n x n alike)."""
    row, column = (values.ravel() for values in np.mgrid[: n - 1, : n - 1])
    south_west = row * n + column
    # counter-clockwise seen from above: east, then north
    quads = np.stack(
        [south_west, south_west + 1, south_west + n + 1, south_west, south_west + n + 1, south_west + n], 1
    )
    corners = quads.ravel()
    used, first = np.unique(corners, return_index=True)
    order = used[np.argsort(first)]
    rank = np.empty(n * n, np.int64)
    rank[order] = np.arange(n * n)
    is_new = np.zeros(len(corners), np.int64)
    is_new[first] = 1
    highest = np.cumsum(is_new) - is_new  # vertices seen before this corner
    width, dtype = (2, "<u2") if n * n <= 65536 else (4, "<u4")
    grid = rank.reshape(n, n)
    parts = [struct.pack("<I", len(corners) // 3), (highest - rank[corners]).astype(dtype).tobytes()]
    for edge in (grid[:, 0], grid[0], grid[:, -1], grid[-1]):  # west, south, east, north
        parts += [struct.pack("<I", n), edge.astype(dtype).tobytes()]
    # 88 bytes of header, 4 of count and 6 a vertex come before: indices begin at a multiple of their own size
    padding = b"\0" * (-(92 + 6 * n * n) % width)
    return order, padding + b"".join(parts)


def encode(lon_deg: FloatArray, lat_deg: FloatArray, heights_m: FloatArray, normals: FloatArray | None = None) -> bytes:
    """Write a tile.

    Parameters
    ----------
    lon_deg, lat_deg : (n,) grid lines from west to east and south to north; line i lies at `grid_steps(n)[i]`
    heights_m : (n, n) ellipsoidal heights, rows from south to north; finite
    normals : (n, n, 3) unit vectors in geocentric axes, or None for a tile without the extension

    Returns
    -------
    The tile, not compressed. Heights are off by at most half of (highest - lowest) / 32767.
    """
    n = len(lon_deg)
    order, indices = _topology(n)
    # float32 header: rounded outwards, so that no height falls off the range
    low = np.nextafter(np.float32(heights_m.min()), np.float32(-np.inf))
    high = np.nextafter(np.float32(heights_m.max()), np.float32(np.inf))
    steps = grid_steps(n)
    height_steps = np.rint((heights_m - float(low)) / (float(high) - float(low)) * STEPS).astype(np.int64)
    vertices = np.stack([np.tile(steps, n), np.repeat(steps, n), height_steps.ravel()])[:, order]
    ecef = geodetic_to_ecef(*np.broadcast_arrays(lon_deg[None, :], lat_deg[:, None], heights_m)).reshape(-1, 3)
    parts = [_header(ecef, low, high), struct.pack("<I", n * n), _zigzag_deltas(vertices).tobytes(), indices]
    if normals is not None:
        body = _oct_encode(normals.reshape(-1, 3)[order]).tobytes()
        parts += [struct.pack("<BI", OCT_VERTEX_NORMALS, len(body)), body]
    return b"".join(parts)


def _zigzag_deltas(values: IntArray) -> NDArray[np.uint16]:
    deltas = np.diff(values, axis=1, prepend=0)
    return ((deltas << 1) ^ (deltas >> 63)).astype("<u2")


def _header(ecef: FloatArray, low: np.float32, high: np.float32) -> bytes:
    centre = (ecef.min(axis=0) + ecef.max(axis=0)) / 2
    radius = float(np.linalg.norm(ecef - centre, axis=1).max())
    return struct.pack("<3d2f4d3d", *centre, low, high, *centre, radius, *horizon_occlusion_point(ecef, centre))


def horizon_occlusion_point(ecef: FloatArray, centre: FloatArray) -> FloatArray:
    """The point (in ellipsoid-scaled coordinates) that is below the horizon only if all points are.

    Method: K. Ring, "Horizon culling", Cesium blog 2013: for a point at distance m from the centre of the unit sphere
    and at an angle a from the chosen direction, the horizon point lies at 1 / (cos a cos b - sin a sin b) with
    cos b = 1 / m. Points below the ellipsoid count as on it. A tile that reaches a quarter of the way round the Earth
    has no such point: then it is put so far out that the tile is never culled wrongly.
    """
    radii = np.array([SEMI_MAJOR_M, SEMI_MAJOR_M, SEMI_MAJOR_M * np.sqrt(1 - E2)])
    scaled = ecef / radii
    magnitudes = np.linalg.norm(scaled, axis=1)
    towards = centre / radii
    length = np.linalg.norm(towards)
    direction = towards / length if length > 1e-9 else scaled[0] / magnitudes[0]
    unit = scaled / magnitudes[:, None]
    cos_a = unit @ direction
    sin_a = np.linalg.norm(np.cross(unit, direction), axis=1)
    cos_b = 1 / np.maximum(magnitudes, 1)
    sin_b = np.sqrt(1 - cos_b**2)
    denominators = cos_a * cos_b - sin_a * sin_b
    reach = 1 / denominators.min() if denominators.min() > 1e-3 else 1e3
    return direction * reach


def _oct_encode(normals: FloatArray) -> NDArray[np.uint8]:
    """(n, 3) unit vectors -> (n, 2) bytes. Cigolle et al. 2014, JCGT 3(2); 0 is -1 and 255 is +1."""
    xy = normals[:, :2] / np.abs(normals).sum(axis=1, keepdims=True)
    folded = (1 - np.abs(xy[:, ::-1])) * np.where(xy < 0, -1, 1)
    xy = np.where(normals[:, 2:] < 0, folded, xy)
    return np.rint((xy * 0.5 + 0.5) * 255).astype(np.uint8)
