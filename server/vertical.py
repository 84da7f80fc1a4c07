"""Ellipsoidal heights of answers in CRS84h: normal heights of the store plus the city's height anomaly."""

from collections.abc import Callable

import numpy as np
import shapely
from numpy.typing import NDArray

from server.serving import CRS84H
from twin.city import City

FloatArray = NDArray[np.float64]
Anomaly = Callable[[FloatArray, FloatArray], FloatArray]


def anomaly(city: City, target: str) -> Anomaly | None:
    """Metres to add to heights at longitudes and latitudes in degrees; None where heights stay normal ones."""
    return city.frame.height_model.undulation_m if target == CRS84H else None


def raised(placed: NDArray[np.object_], by: Anomaly | None) -> NDArray[np.object_]:
    """Geometries in degrees, east first, with ellipsoidal heights; those without heights, and None, as they are."""
    has_z = shapely.has_z(placed)
    if by is None or not has_z.any():
        return placed

    def lift(xyz: FloatArray) -> FloatArray:
        return np.column_stack([xyz[:, :2], xyz[:, 2] + by(xyz[:, 0], xyz[:, 1])])

    out = np.array(placed, object)
    out[has_z] = shapely.transform(out[has_z], lift, include_z=True)
    return out
