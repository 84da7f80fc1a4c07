"""Heights along an alignment: vertical segments over the distance along the horizontal line, metres.

Spec: IFC 4.3.2 IfcAlignmentVerticalSegment. A circular arc is that between its two gradients; a clothoid is replaced
by the cubic with the same heights and gradients at its ends (some millimetres), which is told.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

EXACT = ("CONSTANTGRADIENT", "PARABOLICARC", "CIRCULARARC")


@dataclass(frozen=True)
class Rise:
    """One vertical segment: start (distance, height), horizontal length, gradients at both ends, type.

    `end_height` is where the next segment starts; it is needed for the types that are not EXACT only.
    """

    start: float
    height: float
    length: float
    first: float
    last: float
    kind: str
    end_height: float | None = None

    def heights(self, distances: FloatArray) -> FloatArray:
        """At distances along the horizontal line; outside the segment its gradient there is kept."""
        x = np.clip(distances - self.start, 0.0, self.length)
        beyond = distances - self.start - x
        return self.height + self._inside(x) + beyond * np.where(beyond < 0, self.first, self._last())

    def sharpest(self) -> float:
        """A bound of the second derivative of height by distance, 1 / m."""
        if self.length <= 0 or self.kind == "CONSTANTGRADIENT":
            return 0.0
        steepest = max(abs(self.first), abs(self.last))
        return 3 * abs(self.last - self.first) / self.length * (1 + steepest**2) ** 1.5

    def _last(self) -> float:
        return self.first if self.kind == "CONSTANTGRADIENT" else self.last

    def _inside(self, x: FloatArray) -> FloatArray:
        if self.length <= 0 or self.kind == "CONSTANTGRADIENT" or self.first == self.last:
            return self.first * x
        if self.kind == "CIRCULARARC":
            low, high = (math.sin(math.atan(each)) for each in (self.first, self.last))
            radius = self.length / (high - low)
            sines = low + x / radius
            return np.asarray(radius * (math.sqrt(1 - low**2) - np.sqrt(1 - sines**2)))
        parabola = self.first * x + (self.last - self.first) * x**2 / (2 * self.length)
        if self.kind == "PARABOLICARC" or self.end_height is None:
            return np.asarray(parabola)
        t = x / self.length
        rise = self.end_height - self.height
        return np.asarray(
            rise * (3 * t**2 - 2 * t**3)
            + self.length * (self.first * (t - 2 * t**2 + t**3) + self.last * (t**3 - t**2))
        )


@dataclass(frozen=True)
class Profile:
    """Vertical segments in the order of their distances."""

    rises: tuple[Rise, ...]

    def heights(self, distances: FloatArray) -> FloatArray:
        """Of ascending or any distances; before the first and after the last segment the gradient is kept."""
        starts = np.array([each.start for each in self.rises])
        owner = np.clip(np.searchsorted(starts, distances, side="right") - 1, 0, len(starts) - 1)
        found = np.empty(len(distances))
        for i in np.unique(owner):
            found[owner == i] = self.rises[int(i)].heights(distances[owner == i])
        return found

    @property
    def reach(self) -> tuple[float, float]:
        """Distances from which and to which the file gives heights."""
        return self.rises[0].start, max(each.start + each.length for each in self.rises)


def steps(owner_start: float, length: float, sharpest: float, sagitta: float) -> NDArray[np.float64]:
    """Distances that divide a curve so that a chord stays within the sagitta of it; both ends included."""
    count = 1 if sharpest <= 0 else max(1, math.ceil(length * math.sqrt(sharpest / (8 * sagitta))))
    return owner_start + np.linspace(0.0, length, count + 1)
