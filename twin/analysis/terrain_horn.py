"""Kernel of slope, aspect and hillshade: Horn's 3 x 3 (Horn 1981, "Hill shading and the reflectance map")."""

import math

import numpy as np
from numpy.typing import NDArray

from twin.analysis.kernel import kernel

FloatArray = NDArray[np.float64]

SLOPE_DEG, SLOPE_PCT, ASPECT_DEG, HILLSHADE = 0, 1, 2, 3


@kernel
def horn(  # noqa: PLR0917 compiled code takes no objects
    z: FloatArray, out: NDArray[np.float32], first: int, last: int, kind: int, cell: tuple[float, float],
    light: tuple[float, float, float],
) -> None:  # fmt: skip
    """Rows `first` to `last` (exclusive) of a measure of the ground.

    Parameters
    ----------
    z : (rows + 2, columns + 2) heights with one cell more on each side
    out : (rows, columns); NaN where one of the nine heights is, and for the aspect of level ground
    kind : one of the constants of this module
    cell : sides, east and north, over the factor for heights
    light : where it comes from, as a unit vector east, north, up; only for HILLSHADE
    """
    east, north = 8.0 * cell[0], 8.0 * cell[1]
    degrees = 180.0 / math.pi
    for i in range(first, last):
        for j in range(out.shape[1]):
            a, b, c = z[i, j], z[i, j + 1], z[i, j + 2]
            d, f = z[i + 1, j], z[i + 1, j + 2]
            g, h, k = z[i + 2, j], z[i + 2, j + 1], z[i + 2, j + 2]
            p = ((c + 2.0 * f + k) - (a + 2.0 * d + g)) / east
            q = ((a + 2.0 * b + c) - (g + 2.0 * h + k)) / north
            p += 0.0 * z[i + 1, j + 1]  # the middle has no weight, but is asked for
            if kind == SLOPE_DEG:
                value = math.atan(math.sqrt(p * p + q * q)) * degrees
            elif kind == SLOPE_PCT:
                value = 100.0 * math.sqrt(p * p + q * q)
            elif kind == ASPECT_DEG:
                value = math.nan
                if p != 0.0 or q != 0.0:
                    value = math.atan2(-p, -q) * degrees
                    value = value + 360.0 if value < 0.0 else value
                    value = 0.0 if np.float32(value) >= np.float32(360.0) else value
            else:
                shine = (light[2] - p * light[0] - q * light[1]) / math.sqrt(1.0 + p * p + q * q)
                value = 1.0 + 254.0 * max(shine, 0.0) if not math.isnan(shine) else math.nan
            out[i, j] = value
