"""Horizontal segments of an alignment: direction and position along each, from its curvature.

Every segment starts where the file says and turns by the integral of its curvature (IFC 4.3.2
IfcAlignmentHorizontalSegmentTypeEnum); position is the integral of the direction, by Gauss's formula with 8 points
between samples that turn by 0.2 rad at most: error below 1e-9 m. Metres and radians, x east, y north in the frame of
the alignment; a radius is positive where the line turns left and 0 where it is straight.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_MAX_TURN = 0.2
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)
_N_NEWTON = 6


def _helmert(t: FloatArray) -> FloatArray:
    return np.where(t < 0.5, 2 * t**3 / 3, 2 * t**2 - 2 * t**3 / 3 - t + 1 / 6)


TRANSITIONS: dict[str, Callable[[FloatArray], FloatArray]] = {
    "CLOTHOID": lambda t: t**2 / 2,
    "BLOSSCURVE": lambda t: t**3 - t**4 / 2,
    "COSINECURVE": lambda t: t / 2 - np.sin(np.pi * t) / (2 * np.pi),
    "SINECURVE": lambda t: t**2 / 2 + (np.cos(2 * np.pi * t) - 1) / (4 * np.pi**2),
    "HELMERTCURVE": _helmert,
    "VIENNESEBEND": lambda t: 7 * t**5 - 14 * t**6 + 10 * t**7 - 2.5 * t**8,
}
"""Integral from 0 to t of the share of the change of curvature that is reached at t = s / L."""
KINDS = ("LINE", "CIRCULARARC", "CUBIC", *TRANSITIONS)


@dataclass(frozen=True)
class Turn:
    """One horizontal segment.

    Attributes
    ----------
    x, y, direction : its start; radians from x towards y
    start_radius, end_radius : metres with sign, 0 for straight
    length : metres along the segment
    kind : one of KINDS
    lean : of a Viennese bend, -420 h / L times the change of the cant's angle: rails move outwards for the carriage's
        centre of gravity at the height h to keep to the line
    """

    x: float
    y: float
    direction: float
    start_radius: float
    end_radius: float
    length: float
    kind: str
    lean: float = 0.0

    def curvatures(self) -> tuple[float, float]:
        """1 / m at both ends."""
        if self.kind == "LINE":
            return 0.0, 0.0
        first = 0.0 if self.start_radius == 0 else 1 / self.start_radius
        last = 0.0 if self.end_radius == 0 else 1 / self.end_radius
        return (first or last, first or last) if self.kind == "CIRCULARARC" else (first, last)

    def sharpest(self) -> float:
        """A bound of the curvature's size, 1 / m."""
        by_lean = abs(self.lean) / self.length * 0.04 if self.length else 0.0
        return max(map(abs, self.curvatures())) + by_lean

    def headings(self, s: FloatArray) -> FloatArray:
        """Direction of the tangent at distances from the start, radians."""
        first, last = self.curvatures()
        if self.kind == "CUBIC" and first != last:
            return self._cubic(s)[1]
        found = self.direction + first * s
        if self.kind in TRANSITIONS:
            t = s / self.length
            found = found + (last - first) * self.length * TRANSITIONS[self.kind](t)
            found = found + self.lean * (t**3 / 3 - t**4 + t**5 - t**6 / 3)
        return found

    def points(self, s: FloatArray) -> FloatArray:
        """(n, 2) points at ascending distances from the start."""
        first, last = self.curvatures()
        if self.kind == "CUBIC" and first != last:
            return self._cubic(s)[0]
        ends, back = self._divided(s)
        half = np.diff(ends)[:, None] / 2
        headings = self.headings(ends[:-1, None] + half * (1 + _NODES))
        found = [np.cumsum(np.concatenate([[0.0], (half * _WEIGHTS * each(headings)).sum(axis=1)])) for each in _WAYS]
        return (np.column_stack(found) + np.array([self.x, self.y]))[back]

    def _divided(self, s: FloatArray) -> tuple[FloatArray, NDArray[np.int64]]:
        """Distances from 0 with enough between, and where those asked for are among them."""
        ends = np.concatenate([[0.0], s])
        counts = np.maximum(1, np.ceil(np.diff(ends) * self.sharpest() / _MAX_TURN)).astype(np.int64)
        last = np.cumsum(counts)
        step = np.repeat(np.diff(ends) / counts, counts)
        n_th = np.arange(1, last[-1] + 1) - np.repeat(last - counts, counts)
        fine = np.repeat(ends[:-1], counts) + step * n_th
        return np.concatenate([[0.0], fine]), last

    def _cubic(self, s: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Points and directions on y = a x^3; its lengths count from the flat point, where it has no curvature."""
        first, last = self.curvatures()
        a = (last - first) / (6 * self.length)
        wanted = first / (6 * a) + np.concatenate([[0.0], s])
        x = wanted
        for _ in range(_N_NEWTON):  # x by length along the curve
            half = x[:, None] / 2
            lengths = (half * _WEIGHTS * np.hypot(1, 3 * a * (half * (1 + _NODES)) ** 2)).sum(axis=1)
            x = x - (lengths - wanted) / np.hypot(1, 3 * a * x**2)
        x0, x = x[0], x[1:]
        turn = self.direction - np.arctan(3 * a * x0**2)
        dx, dy = x - x0, a * (x**3 - x0**3)
        east, north = dx * np.cos(turn) - dy * np.sin(turn), dx * np.sin(turn) + dy * np.cos(turn)
        return np.column_stack([self.x + east, self.y + north]), turn + np.arctan(3 * a * x**2)


_WAYS = (np.cos, np.sin)
