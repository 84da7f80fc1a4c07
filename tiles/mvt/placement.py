"""City coordinates -> units of one tile: a polynomial that is checked against the projection, or the projection itself.

Over the few kilometres of a tile a projection is nearly a polynomial of second degree. It is fitted on 7 x 7 nodes and
compared with PROJ on 12 x 12 other places; the lowest degree within `TOLERANCE` is taken. Points outside the fitted box
always go through PROJ.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from layers import crs
from layers.crs import Bounds
from tiles.mvt.encode import EXTENT

FloatArray = NDArray[np.float64]

TOLERANCE = 1e-4
"""Largest difference to PROJ in tile units: rounding differs in one of some thousand coordinates, and then by one."""
MAX_DEGREE = 5
MARGIN = 0.25
"""Share of the region's size by which the fitted box is larger on each side."""


@dataclass(frozen=True)
class Placement:
    """How one tile places points.

    Attributes
    ----------
    box : west, south, east, north in the city's CRS where the polynomial holds
    coefficients : (degree + 1, degree + 1, 2) of u^i v^j, u and v from -1 to 1 over the box; None: PROJ only
    """

    city_crs: str
    grid_crs: str
    bounds: Bounds
    box: Bounds
    coefficients: FloatArray | None

    @property
    def units_per_metre(self) -> float:
        """Tile units in one unit of the city's CRS, in the middle of the box."""
        west, south, east, north = self.box
        x, y = (west + east) / 2, (south + north) / 2
        step = max((east - west) * 1e-3, 1e-6)
        here = self.exact(np.array([[x, y], [x + step, y], [x, y + step]]))
        side = np.hypot(*(here[1:] - here[0]).T).max() / step
        return float(side) if np.isfinite(side) else 1.0

    def exact(self, xy: FloatArray) -> FloatArray:
        """(n, 2) places in tile units, x right and y down, by PROJ; inf where there is none."""
        east, north = crs.transform(self.city_crs, self.grid_crs, xy[:, 0], xy[:, 1])
        west, south, right, top = self.bounds
        return np.stack([(east - west) * (EXTENT / (right - west)), (top - north) * (EXTENT / (top - south))], axis=1)

    def __call__(self, xy: FloatArray) -> FloatArray:
        """(n, 2) places in tile units, within TOLERANCE of `exact`."""
        if self.coefficients is None:
            return self.exact(xy)
        west, south, east, north = self.box
        x, y = xy[:, 0], xy[:, 1]
        out = _evaluated(self.coefficients, (x - (west + east) / 2) * (2 / (east - west)),
                         (y - (south + north) / 2) * (2 / (north - south)))  # fmt: skip
        outside = np.flatnonzero(~((x >= west) & (x <= east) & (y >= south) & (y <= north)))
        if outside.size:
            out[outside] = self.exact(xy[outside])
        return out


@lru_cache(maxsize=2048)
def of_tile(city_crs: str, grid_crs: str, bounds: Bounds, region: Bounds) -> Placement:
    """The placement of the tile with `bounds` in `grid_crs` that shows `region` of the city's CRS."""
    west, south, east, north = region
    wide, high = max(east - west, 1e-3) * MARGIN, max(north - south, 1e-3) * MARGIN
    box = (west - wide, south - high, east + wide, north + high)
    plain = Placement(city_crs, grid_crs, bounds, box, None)
    nodes, checks = plain.exact(_at(_NODES, box)), plain.exact(_at(_CHECKS, box))
    if not (np.isfinite(nodes).all() and np.isfinite(checks).all()):
        return plain
    for degree in range(1, MAX_DEGREE + 1):
        coefficients = (_solver(degree) @ nodes).reshape(degree + 1, degree + 1, 2)
        found = _evaluated(coefficients, _CHECKS[:, 0], _CHECKS[:, 1])
        if np.abs(found - checks).max() <= TOLERANCE:
            return Placement(city_crs, grid_crs, bounds, box, coefficients)
    return plain


def _at(places: FloatArray, box: Bounds) -> FloatArray:
    low, high = np.array(box[:2]), np.array(box[2:])
    return (low + high) / 2 + places * (high - low) / 2


def _square(ticks: FloatArray) -> FloatArray:
    return np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)


_NODES = _square(np.cos(np.pi * (np.arange(7) + 0.5) / 7))
_CHECKS = _square(np.linspace(-1, 1, 12))


@lru_cache(maxsize=MAX_DEGREE)
def _solver(degree: int) -> FloatArray:
    """Least squares of the nodes as one matrix: values (49, k) -> coefficients ((degree + 1)^2, k)."""
    u, v = _NODES.T
    powers = np.arange(degree + 1)
    terms = (u[:, None] ** powers)[:, :, None] * (v[:, None] ** powers)[:, None, :]
    wanted = (powers[:, None] + powers[None, :] <= degree).reshape(-1)
    out = np.zeros(((degree + 1) ** 2, len(u)))
    out[wanted] = np.linalg.pinv(terms.reshape(len(u), -1)[:, wanted])
    return out


def _evaluated(coefficients: FloatArray, u: FloatArray, v: FloatArray) -> FloatArray:
    """Horner's rule in both variables; of u^i only the powers of v up to degree - i are there."""
    degree = len(coefficients) - 1
    out = np.empty((len(u), 2))
    for axis in (0, 1):
        c = coefficients[:, :, axis]
        whole = np.full(len(u), c[degree, 0])
        for i in range(degree - 1, -1, -1):
            inner = np.full(len(u), c[i, degree - i])
            for j in range(degree - i - 1, -1, -1):
                inner *= v
                inner += c[i, j]
            whole *= u
            whole += inner
        out[:, axis] = whole
    return out
