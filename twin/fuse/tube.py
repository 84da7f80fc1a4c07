"""Centrelines + cross-sections -> closed tubes, mitred at bends, with flat caps.

A round section is a polygon whose area, not whose corners, equals the circle's: the volume of a straight pipe is the
true one, and the surface lies between 1.2 % below and 2.4 % above the radius (12 sides). A mitre leaves the volume at
area x axis length. Bends sharper than 120° are bevelled: both pieces end square, and a strip of walls joins their
ends, which leaves the volume as it is too. Pieces shorter than the mitres at their ends fold over themselves on the
inner side: the mesh stays closed and its volume right, but it is no longer free of overlap.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin.fuse.extrude import FloatArray, IntArray, Solids

SIDES = 12
EGG_SIDES = 24
LONGEST_MITRE = 2.0
"""A joint is drawn out to at most this many radii; bends sharper than 120° are bevelled instead of forming a spike."""
LARGEST_ROLL = 0.02
"""Radians. Where slope and direction change in one bend, a duct that is level on both sides is turned in itself; by
more than this it is bevelled. What is left changes the volume by less than 1 % even between bends of 100°."""


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


def egg_section(width_m: FloatArray, height_m: FloatArray, sides: int = EGG_SIDES) -> FloatArray:
    """(n,) widths and heights -> (n, sides, 2) offsets to the side and up, middle height at 0.

    The standard egg (width : height = 2 : 3; crown of radius H/3, flanks of H, bottom of H/6), stretched to the width
    where that is another one, with the true area.
    """
    ring = _egg(sides)
    ring *= np.sqrt(_area(_egg(4096)) / _area(ring))
    return np.stack([width_m * 1.5, height_m], axis=1)[:, None, :] * ring


def _egg(sides: int) -> FloatArray:
    """(sides, 2) standard egg of height 1, counter-clockwise from the right end of the crown."""
    turn = np.arctan2(3, 4)  # where the flank meets the bottom
    crown, flank, bottom = np.pi / 3, turn, (np.pi - 2 * turn) / 6  # arc lengths
    at = (np.arange(sides) + 0.5) / sides * (crown + 2 * flank + bottom)
    arcs = (
        (crown, 0.0, 2 / 3, 1 / 3, 0.0),
        (flank, 2 / 3, 2 / 3, 1.0, np.pi),
        (bottom, 0.0, 1 / 6, 1 / 6, np.pi + turn),
        (flank, -2 / 3, 2 / 3, 1.0, 2 * np.pi - turn),
    )
    ring = np.zeros((sides, 2))
    begin = 0.0
    for length, x, y, radius, angle in arcs:
        here = (at >= begin) & (at < begin + length)
        turned = angle + (at[here] - begin) / radius
        ring[here] = np.stack([x + radius * np.cos(turned), y + radius * np.sin(turned) - 0.5], axis=1)
        begin += length
    return ring


def _area(ring: FloatArray) -> float:
    x, y = ring.T
    return float(np.abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


def tubes(points: FloatArray, line: IntArray, sections: FloatArray, *, level: bool = False) -> Solids:
    """Sweep a section along each centreline.

    Parameters
    ----------
    points : (p, 3) metres in a frame with z up, line after line
    line : (p,) ascending number of the line of each point
    sections : (n, s, 2) convex section of each line, counter-clockwise in (side, up)
    level : the side of the section stays level along the whole line, as in a duct; else the section is carried round
        each bend without turning in itself, as in a round pipe

    Returns
    -------
    Solids
        In the order of the lines. A line with less than two different points has no mesh.
    """
    n, sides = sections.shape[:2]
    points, line = _distinct(points, line)
    enough = np.bincount(line, minlength=n) >= 2
    points, line = points[enough[line]], line[enough[line]]
    first = np.r_[True, line[1:] != line[:-1]] if len(line) else np.zeros(0, bool)
    last = np.r_[first[1:], True] if len(line) else first
    joints = _joints(points, first, last, level=level)
    points, line = points[joints.point], line[joints.point]
    first, last = first[joints.point] & ~joints.is_second, last[joints.point] & ~joints.is_first
    count = np.bincount(line, minlength=n)
    vertices = joints.rings(points, sections[line]).reshape(-1, 3)

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


@dataclass(frozen=True)
class _Joints:
    """Where rings of vertices stand: one at each point of the lines, two at a bevelled bend.

    `point` is the number of the point; `direction` and `side` of the piece that ends there (or begins, at the first
    point and in the second ring of a bevel); `normal` of the ring's plane.
    """

    point: IntArray
    is_first: NDArray[np.bool_]
    is_second: NDArray[np.bool_]
    direction: FloatArray
    side: FloatArray
    normal: FloatArray

    def rings(self, points: FloatArray, sections: FloatArray) -> FloatArray:
        """(r, s, 3) the section of the piece, slid along it into the plane of the ring."""
        up = np.cross(self.side, self.direction)
        offsets = sections[:, :, :1] * self.side[:, None, :] + sections[:, :, 1:] * up[:, None, :]
        cosine = np.einsum("ij,ij->i", self.direction, self.normal)
        slide = np.einsum("psk,pk->ps", offsets, self.normal) / cosine[:, None]
        return np.asarray(points[:, None, :] + offsets - slide[:, :, None] * self.direction[:, None, :])


def _joints(points: FloatArray, first: NDArray[np.bool_], last: NDArray[np.bool_], *, level: bool) -> _Joints:
    forward, backward = _directions(points, first, last)
    cosine = np.einsum("ij,ij->i", forward, backward)
    bevelled = cosine < 2 / LONGEST_MITRE**2 - 1
    ahead = _frame(forward)
    if not level:
        _carry(ahead, forward, backward, first)
    behind = np.zeros_like(ahead)
    behind[1:] = ahead[:-1]
    behind[first] = ahead[first]
    if level:
        agreement = np.einsum("ij,ij->i", _turned(behind, forward, backward), ahead)
        bevelled |= agreement < np.cos(LARGEST_ROLL)
    point = np.repeat(np.arange(len(points)), 1 + bevelled)
    is_second = np.zeros(len(point), bool)
    is_second[1:] = point[1:] == point[:-1]
    is_first = np.zeros(len(point), bool)
    is_first[:-1] = is_second[1:]
    square = is_first | is_second
    middle = forward + backward
    middle /= np.maximum(np.linalg.norm(middle, axis=1, keepdims=True), 1e-300)
    direction = np.where(is_second[:, None], forward[point], backward[point])
    side = np.where(is_second[:, None], ahead[point], behind[point])
    normal = np.where(square[:, None], direction, middle[point])
    return _Joints(point, is_first, is_second, direction, side, normal)


def _directions(points: FloatArray, first: NDArray[np.bool_], last: NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
    """(p, 3) unit vectors of the piece behind each point and of the piece before it; at the ends both the same."""
    forward = np.zeros_like(points)
    forward[:-1] = points[1:] - points[:-1]
    forward[last] = 0
    forward /= np.maximum(np.linalg.norm(forward, axis=1, keepdims=True), 1e-300)
    backward = np.zeros_like(points)
    backward[1:] = forward[:-1]
    forward[last], backward[first] = backward[last], forward[first]
    return forward, backward


def _turned(side: FloatArray, forward: FloatArray, backward: FloatArray) -> FloatArray:
    """Vectors across `backward`, turned with it into `forward` by the shortest way; in a reversal they stay."""
    sum_length = np.maximum(1 + np.einsum("ij,ij->i", forward, backward), 1e-12)
    share = np.einsum("ij,ij->i", side, forward) / sum_length
    return np.asarray(side - share[:, None] * (forward + backward))


def _carry(side: FloatArray, forward: FloatArray, backward: FloatArray, first: NDArray[np.bool_]) -> None:
    """Carry the side of each line's first piece along it, in place: one step for all lines at once."""
    start = np.flatnonzero(first)
    length = np.diff(np.r_[start, len(first)])
    order = np.argsort(-length)
    start, length = start[order], length[order]
    for step in range(1, int(length.max(initial=0))):
        rows = start[: np.searchsorted(-length, -step)] + step
        carried = _turned(side[rows - 1], forward[rows], backward[rows])
        side[rows] = carried / np.linalg.norm(carried, axis=1, keepdims=True)


def _frame(direction: FloatArray) -> FloatArray:
    """(p, 3) unit vectors -> level unit vectors to the right; a plumb line takes east."""
    side = np.stack([direction[:, 1], -direction[:, 0], np.zeros(len(direction))], axis=1)
    length = np.linalg.norm(side, axis=1, keepdims=True)
    return np.where(length > 1e-9, side / np.maximum(length, 1e-300), np.array([1.0, 0.0, 0.0]))
