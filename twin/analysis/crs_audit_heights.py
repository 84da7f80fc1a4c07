"""Heights of a layer against the ground of the city: another datum, another unit, or nonsense."""

import numpy as np
from numpy.typing import NDArray

from layers.crs_doubts import Doubt

FloatArray = NDArray[np.float64]

RANGE_M = (-500.0, 9000.0)
NEAR_M = 5.0
"""Roofs, pipes and the ground model's own error: a median offset up to this says nothing."""

LEAST = 5
SPREAD_M = 5.0
"""An offset is called constant when half of the features lie within this of it."""

FOOT_M = 0.3048
_UNITS = (("feet", 1 / FOOT_M), ("centimetres", 100.0), ("millimetres", 1000.0))
_FEET = 'VERTCRS["height in feet",VDATUM["Yellow Sea 1985"],CS[vertical,1],AXIS["up (H)",up],LENGTHUNIT["foot",0.3048]]'


def height_doubt(z_m: FloatArray, ground_m: FloatArray, anomaly_m: float) -> tuple[float | None, Doubt | None]:
    """(n,) lowest heights of features, (n,) ground under them (NaN where unknown), height anomaly N of the city.

    Returns the median of height minus ground (None where fewer than 5 can be compared) and what is suspected. The
    0.03 m between the 1956 and 1985 datums cannot be seen so.
    """
    known = np.isfinite(z_m)
    if known.any() and ((z_m[known] < RANGE_M[0]) | (z_m[known] > RANGE_M[1])).mean() > 0.5:
        middle = float(np.median(z_m[known]))
        return None, Doubt(
            "height-range", f"Heights around {middle:.1f} m are no place on land.", middle, RANGE_M[1], "m"
        )
    known &= np.isfinite(ground_m)
    if known.sum() < LEAST:
        return None, None
    off = z_m[known] - ground_m[known]
    middle = float(np.median(off))
    if abs(middle) <= NEAR_M:
        return middle, None
    unit = _unit(z_m[known], ground_m[known])
    if unit is not None:
        return middle, unit
    if float(np.median(np.abs(off - middle))) > SPREAD_M:
        return middle, Doubt("height-offset", "Heights and ground differ irregularly.", middle, NEAR_M, "m")
    if abs(anomaly_m) > NEAR_M and abs(middle - anomaly_m) <= min(3.0, abs(anomaly_m) / 3):
        words = f"Heights lie {middle:.2f} m over the ground, the height anomaly is {anomaly_m:.2f} m: ellipsoidal."
        return middle, Doubt("ellipsoidal-heights", words, middle, NEAR_M, "m", {"vertical_crs": "EPSG:4979"})
    words = f"Heights lie {middle:+.2f} m off the ground, all by about the same."
    return middle, Doubt("height-offset", words, middle, NEAR_M, "m", {"vertical_offset_m": round(-middle, 2)})


def _unit(z: FloatArray, ground: FloatArray) -> Doubt | None:
    """A factor between heights and ground; only where the ground is high or uneven enough to tell it from an offset."""
    if float(np.ptp(ground)) < 3 * NEAR_M:
        return None
    slope = float(np.polyfit(ground, z, 1)[0])
    for name, factor in _UNITS:
        if abs(slope / factor - 1) < 0.05 and abs(float(np.median(z / factor - ground))) <= NEAR_M:
            words = f"Heights are {slope:.3f} times the ground's: they are in {name}."
            cure = {"vertical_crs": _FEET} if name == "feet" else {}
            return Doubt(f"heights-in-{name}", words, slope, 1.0, "", cure)
    return None
