"""Triangles over a square grid of heights -> one quantized-mesh 1.0 tile. Pure.

Spec: https://github.com/CesiumGS/quantized-mesh/blob/main/SPECIFICATION.md. Vertices are numbered in the order in
which the triangles first use them, as the high-water-mark code needs: QGIS crashes on codes below zero. Skirts are
made by the client from the edge lists.

Heights are whole multiples of a power of two, and so is the lowest: `low + h / 32767 * (high - low)` is then the same
float64 in every tile that has the place, whatever its range (tried for all 32,768 values of h). The edges are on one
coarser lattice that all tiles of a terrain share.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from layers.errors import InvalidInput
from layers.frame import E2, SEMI_MAJOR_M, geodetic_to_ecef

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

STEPS = 32767
"""Quantisation steps across a tile in each of u, v and height."""
OCT_VERTEX_NORMALS, METADATA = 1, 4
"""Ids of the extensions."""
FINEST_STEP_M = 2.0**-12
"""A quarter of a millimetre; no tile is finer, so that its header's range stays near its heights."""
FLOAT32_WHOLE = 1 << 24
"""Whole numbers up to here are float32 numbers."""


@dataclass(frozen=True)
class Quantised:
    """Heights of a square grid as whole steps.

    Attributes
    ----------
    low_m, step_m : height 0 and the step, a power of two; both exact float32 numbers
    steps : (n, n) whole numbers 0 to 32767, rows from south to north
    """

    low_m: float
    step_m: float
    steps: IntArray

    @property
    def heights_m(self) -> FloatArray:
        """(n, n) heights as every reader decodes them."""
        return np.asarray(self.low_m + self.steps * self.step_m, np.float64)


@lru_cache(maxsize=8)
def grid_steps(n: int) -> IntArray:
    """(n,) u or v of the grid lines, 0 to 32767, each within half a unit of its place (32767 is odd)."""
    return np.rint(np.arange(n) * (STEPS / (n - 1))).astype(np.int64)


def power_of_two_step(range_m: float) -> float:
    """The smallest power of two of which 32766 reach over the range: the step of the edges of a terrain."""
    return float(2.0 ** np.ceil(np.log2(max(range_m, 1e-3) / (STEPS - 1))))


def quantise(heights_m: FloatArray, edge_step_m: float) -> Quantised:
    """Round the edges to `edge_step_m`, a power of two, and the inside to the finest power of two that reaches.

    Off by at most half of either step. Raises InvalidInput where 32767 of `edge_step_m` do not reach over the heights.
    """
    heights = np.array(heights_m, np.float64)
    for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        heights[edge] = np.rint(heights[edge] / edge_step_m) * edge_step_m
    low, high = float(heights.min()), float(heights.max())
    step = edge_step_m
    if np.floor(low / step) * step + STEPS * step < high:
        raise InvalidInput(f"Heights from {low:.2f} to {high:.2f} m do not go into steps of {edge_step_m} m.")
    while step > FINEST_STEP_M:
        finer = step / 2
        base = np.floor(low / finer)
        if base * finer + STEPS * finer < high or max(abs(base), abs(base + STEPS)) > FLOAT32_WHOLE:
            break
        step = finer
    base = np.floor(low / step)
    return Quantised(float(base * step), step, np.rint(heights / step - base).astype(np.int64))


@dataclass(frozen=True)
class Numbering:
    """The grid points that triangles use, in order of first use; `ranks` are the triangles' corners in it."""

    order: IntArray
    ranks: IntArray
    rank_of: IntArray

    @classmethod
    def of(cls, triangles: IntArray, n_points: int) -> "Numbering":
        """From (t, 3) numbers of grid points."""
        corners = triangles.ravel()
        first = np.full(n_points, len(corners))
        first[corners[::-1]] = np.arange(len(corners))[::-1]  # of several values for one place numpy keeps the last
        used = np.flatnonzero(first < len(corners))
        order = used[np.argsort(first[used])]
        rank_of = np.full(n_points, -1)
        rank_of[order] = np.arange(len(order))
        return cls(order, rank_of[corners], rank_of)


def encode(
    bounds: tuple[float, float, float, float],
    quantised: Quantised,
    triangles: IntArray,
    normals: FloatArray | None = None,
    extensions: Mapping[int, bytes] | None = None,
) -> bytes:
    """Write a tile.

    Parameters
    ----------
    bounds : west, south, east, north in degrees
    quantised : heights of the (n, n) grid over the bounds; line i lies at `grid_steps(n)[i]`
    triangles : (t, 3) numbers of grid points, counter-clockwise seen from above
    normals : (n, n, 3) unit vectors in geocentric axes, or None for a tile without the extension
    extensions : id -> body of further ones

    Returns
    -------
    The tile, not compressed.
    """
    n = len(quantised.steps)
    mesh = Numbering.of(triangles, n * n)
    steps = grid_steps(n)
    u, v = steps[mesh.order % n], steps[mesh.order // n]
    h = quantised.steps.ravel()[mesh.order]
    west, south, east, north = bounds
    lon = np.asarray(west + u * ((east - west) / STEPS), np.float64)
    lat = np.asarray(south + v * ((north - south) / STEPS), np.float64)
    ecef = geodetic_to_ecef(lon, lat, np.asarray(quantised.low_m + h * quantised.step_m, np.float64))
    high = quantised.low_m + STEPS * quantised.step_m
    count = len(mesh.order)
    parts = [_header(ecef, quantised.low_m, high), struct.pack("<I", count), _zigzag_deltas(np.stack([u, v, h]))]
    parts.append(_indices(mesh, n))
    bodies = dict(extensions or {})
    if normals is not None:
        bodies[OCT_VERTEX_NORMALS] = _oct_encode(normals.reshape(-1, 3)[mesh.order]).tobytes()
    for number, body in sorted(bodies.items()):
        parts += [struct.pack("<BI", number, len(body)), body]
    return b"".join(parts)


def metadata_body(json_text: bytes) -> bytes:
    """Body of the `metadata` extension: the JSON after its own length."""
    return struct.pack("<I", len(json_text)) + json_text


def _indices(mesh: Numbering, n: int) -> bytes:
    """High-water-mark codes of the triangles, then the four edges, each in order of place."""
    count = len(mesh.order)
    # corner k is new if its number is the highest so far: numbers are given in order of first use
    highest = np.maximum.accumulate(mesh.ranks)
    seen_before = np.empty_like(highest)
    seen_before[0], seen_before[1:] = 0, highest[:-1] + 1
    width, dtype = (2, "<u2") if count <= 65536 else (4, "<u4")
    parts = [struct.pack("<I", len(mesh.ranks) // 3), (seen_before - mesh.ranks).astype(dtype).tobytes()]
    grid = mesh.rank_of.reshape(n, n)
    for edge in (grid[:, 0], grid[0], grid[:, -1], grid[-1]):  # west, south, east, north
        used = edge[edge >= 0]
        parts += [struct.pack("<I", len(used)), used.astype(dtype).tobytes()]
    # 88 bytes of header, 4 of count and 6 a vertex come before: indices begin at a multiple of their own size
    return b"\0" * (-(92 + 6 * count) % width) + b"".join(parts)


def _zigzag_deltas(values: IntArray) -> bytes:
    deltas = np.diff(values, axis=1, prepend=0)
    return ((deltas << 1) ^ (deltas >> 63)).astype("<u2").tobytes()


def _header(ecef: FloatArray, low: float, high: float) -> bytes:
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
