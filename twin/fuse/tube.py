"""Centrelines + cross-sections -> closed tubes, mitred at bends, with flat caps.

A round section is a polygon whose area, not whose corners, equals the circle's: the volume of a straight pipe is the
true one, and the surface lies between 1.2 % below and 2.4 % above the radius (12 sides).
"""

import numpy as np
from numpy.typing import NDArray

from twin.fuse.extrude import FloatArray, IntArray, Solids

SIDES = 12
LONGEST_MITRE = 2.0
"""A joint is drawn out to at most this many radii; sharper bends than 120° overlap there instead of forming a spike."""


def round_section(diameter_m: FloatArray, sides: int = SIDES) -> FloatArray:
    """(n,) outer diameters -> (n, sides, 2) offsets to the side and up."""
    angle = 2 * np.pi * np.arange(sides) / sides
    true_area = np.sqrt(2 * np.pi / (sides * np.sin(2 * np.pi / sides)))
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1) * true_area
    return np.asarray(diameter_m, np.float64)[:, None, None] / 2 * ring


def box_section(width_m: FloatArray, height_m: FloatArray) -> FloatArray:
    """(n,) widths and heights -> (n, 4, 2) offsets to the side and up."""
    ring = np.array([[0.5, -0.5], [0.5, 0.5], [-0.5, 0.5], [-0.5, -0.5]])
    return np.stack([width_m, height_m], axis=1)[:, None, :] * ring


def tubes(points: FloatArray, line: IntArray, sections: FloatArray) -> Solids:
    """Sweep a section along each centreline.

    Parameters
    ----------
    points : (p, 3) metres in a frame with z up, line after line
    line : (p,) ascending number of the line of each point
    sections : (n, s, 2) convex section of each line, counter-clockwise in (side, up)

    Returns
    -------
    Solids
        In the order of the lines. A line with less than two different points has no mesh.
    """
    n, sides = sections.shape[:2]
    points, line = _distinct(points, line)
    enough = np.bincount(line, minlength=n) >= 2
    points, line = points[enough[line]], line[enough[line]]
    count = np.bincount(line, minlength=n)
    first = np.r_[True, line[1:] != line[:-1]] if len(line) else np.zeros(0, bool)
    last = np.r_[first[1:], True] if len(line) else first
    vertices = _joints(points, first, last, sections[line]).reshape(-1, 3)

    start = (np.cumsum(count) - count)[line]
    ring = (np.arange(len(points)) - start) * sides  # first vertex of each ring, counted in its own tube
    j = np.arange(sides)
    k = (j + 1) % sides
    here = ring[~last][:, None]
    a, b, c, d = here + j, here + sides + j, here + sides + k, here + k
    walls = np.stack([a, b, c, a, c, d], axis=2).reshape(-1, 3)
    fan = np.stack([np.zeros(sides - 2, np.int64), j[1:-1], j[2:]], axis=1)
    front = (ring[first][:, None, None] + fan).reshape(-1, 3)
    back = (ring[last][:, None, None] + fan[:, ::-1]).reshape(-1, 3)
    triangles = np.concatenate([front, walls, back])
    owner = np.concatenate([
        np.repeat(line[first], sides - 2), np.repeat(line[~last], 2 * sides), np.repeat(line[last], sides - 2)
    ])  # fmt: skip
    order = np.argsort(owner, kind="stable")
    return Solids(vertices, triangles[order], count * sides, np.bincount(owner, minlength=n))


def _distinct(points: FloatArray, line: IntArray) -> tuple[FloatArray, IntArray]:
    """Without points that repeat the one before (within 0.1 mm: a joint needs a direction)."""
    keep = np.ones(len(points), bool)
    if len(points) > 1:
        step = np.linalg.norm(np.diff(points, axis=0), axis=1)
        keep[1:] = (step > 1e-4) | (line[1:] != line[:-1])
    return points[keep], line[keep]


def _joints(points: FloatArray, first: NDArray[np.bool_], last: NDArray[np.bool_], sections: FloatArray) -> FloatArray:
    """(p, s, 3) ring of vertices around each point, in the plane that halves the bend."""
    if not len(points):
        return np.zeros((0, sections.shape[1], 3))
    forward = np.zeros_like(points)
    forward[:-1] = points[1:] - points[:-1]
    forward[last] = 0
    forward /= np.maximum(np.linalg.norm(forward, axis=1, keepdims=True), 1e-300)
    backward = np.zeros_like(points)
    backward[1:] = forward[:-1]
    forward[last], backward[first] = backward[last], forward[first]

    middle = forward + backward
    length = np.linalg.norm(middle, axis=1, keepdims=True)
    is_reversal = length[:, 0] < 1e-6
    middle = np.where(is_reversal[:, None], backward, middle / np.maximum(length, 1e-300))
    half_cosine = np.clip(np.einsum("ij,ij->i", middle, forward), 1 / LONGEST_MITRE, 1)
    half_cosine[is_reversal] = 1

    side, up = _frame(middle)
    offsets = sections[:, :, :1] * side[:, None, :] + sections[:, :, 1:] * up[:, None, :]
    outward = forward - backward  # in the mitre plane, within the plane of the bend
    bend = np.linalg.norm(outward, axis=1, keepdims=True)
    outward = np.where((bend > 1e-12) & ~is_reversal[:, None], outward / np.maximum(bend, 1e-300), 0)
    along = np.einsum("psk,pk->ps", offsets, outward)
    stretched = offsets + (along * (1 / half_cosine - 1)[:, None])[:, :, None] * outward[:, None, :]
    return np.asarray(points[:, None, :] + stretched)


def _frame(direction: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(p, 3) unit vectors -> level vector to the right and vector upwards, both across; a plumb line takes east."""
    side = np.stack([direction[:, 1], -direction[:, 0], np.zeros(len(direction))], axis=1)
    length = np.linalg.norm(side, axis=1, keepdims=True)
    side = np.where(length > 1e-9, side / np.maximum(length, 1e-300), np.array([1.0, 0.0, 0.0]))
    return side, np.cross(side, direction)
