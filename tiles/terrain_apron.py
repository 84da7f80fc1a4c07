"""The whole Earth around a city's ground: faded to sea level outside the survey, on EGM96.

- Inside the rasters' boxes: their heights, holes filled (`twin.terrain.Terrain.lattice`).
- Between and around the boxes: the nearest ground of a coarse copy, faded to 0 m over FADE of the survey's width.
- The city's height model fades into EGM96 over the same distance, so that sea level is right everywhere.

All of it depends on the place alone, never on the tile.
"""

import numpy as np
from numpy.typing import NDArray

from layers.crs import Bounds
from layers.heights import Egm96, HeightModel
from tiles.city import FloatArray, HeightField
from tiles.terrain_available import METRES_PER_DEGREE

FADE = 0.5
"""Width of the apron over that of the rasters."""
LINES = 257
"""Samples across the rasters from which the apron is filled, read from their overviews."""
EGM96_RANGE_M = (-108.0, 87.0)
"""Between which all of EGM96 lies (-106.6 to 85.8 m), with some room."""


class Apron:
    """Heights where the rasters have none."""

    def __init__(self, terrain: HeightField, bounds: Bounds, model: HeightModel) -> None:
        self.bounds, self._model = bounds, model
        west, south, east, north = bounds
        self._across = METRES_PER_DEGREE * np.cos(np.radians((south + north) / 2))
        width = max((east - west) * self._across, (north - south) * METRES_PER_DEGREE)
        self._reach = max(FADE * width, 1000.0)
        self._coarse = np.zeros((LINES, LINES))
        if not terrain.is_empty:
            lons, lats = np.meshgrid(np.linspace(west, east, LINES), np.linspace(south, north, LINES))
            found = terrain.filled_lonlat(lons.ravel(), lats.ravel(), width / (LINES - 1))
            self._coarse = _filled(found.reshape(lons.shape))

    @property
    def reach(self) -> Bounds:
        """The bounds and the apron around them."""
        west, south, east, north = self.bounds
        up, aside = self._reach / METRES_PER_DEGREE, self._reach / self._across
        return west - aside, south - up, east + aside, north + up

    def contains(self, lon: FloatArray, lat: FloatArray) -> NDArray[np.bool_]:
        """True inside the bounds."""
        west, south, east, north = self.bounds
        return (lon >= west) & (lon <= east) & (lat >= south) & (lat <= north)

    def clamp(self, lon: FloatArray, lat: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The nearest places inside the bounds."""
        west, south, east, north = self.bounds
        return np.clip(lon, west, east), np.clip(lat, south, north)

    def weight(self, lon: FloatArray, lat: FloatArray) -> FloatArray:
        """1 inside the bounds, falling smoothly to 0 at the end of the apron."""
        near_lon, near_lat = self.clamp(lon, lat)
        away = np.hypot((lon - near_lon) * self._across, (lat - near_lat) * METRES_PER_DEGREE)
        left = np.clip(1 - away / self._reach, 0, 1)
        return left * left * (3 - 2 * left)

    def ground(self, lon: FloatArray, lat: FloatArray) -> FloatArray:
        """Normal heights: bilinear in the coarse copy at the nearest place inside, faded."""
        west, south, east, north = self.bounds
        near_lon, near_lat = self.clamp(lon, lat)
        last = LINES - 1
        column = (near_lon - west) / max(east - west, 1e-12) * last
        row = (near_lat - south) / max(north - south, 1e-12) * last
        left, low = (np.clip(values.astype(np.int64), 0, last - 1) for values in (column, row))
        fx, fy = column - left, row - low
        lower = self._coarse[low, left] * (1 - fx) + self._coarse[low, left + 1] * fx
        upper = self._coarse[low + 1, left] * (1 - fx) + self._coarse[low + 1, left + 1] * fx
        return (lower * (1 - fy) + upper * fy) * self.weight(lon, lat)

    def undulation(self, lon: FloatArray, lat: FloatArray) -> FloatArray:
        """(n,) what normal heights lack to ellipsoidal ones: the city's model, faded into EGM96."""
        model, egm96 = self._model, Egm96()
        if isinstance(model, Egm96):
            return egm96.undulation_m(lon, lat)
        weight = self.weight(lon, lat)
        result = egm96.undulation_m(lon, lat) if (weight < 1).any() else np.zeros(len(lon))
        near = weight > 0
        # a grid need not reach beyond the city: outside, its value at the nearest edge is faded
        own = model.undulation_m(*self.clamp(lon[near], lat[near]))
        result[near] = weight[near] * own + (1 - weight[near]) * result[near]
        return result

    def range_m(self, low_m: float, high_m: float) -> tuple[float, float]:
        """Ellipsoidal heights between which all are, on the whole Earth, if the ground is within the normal heights."""
        west, south, east, north = self.bounds
        up, aside = self._reach / METRES_PER_DEGREE, self._reach / self._across
        lon, lat = np.meshgrid(np.linspace(west - aside, east + aside, 17), np.linspace(south - up, north + up, 17))
        there = self.undulation(lon.ravel(), np.clip(lat.ravel(), -90, 90))
        room = 3.0  # for what the model does between the 17 x 17 places
        low = min(EGM96_RANGE_M[0], min(low_m, 0.0) + there.min() - room)
        return float(low), float(max(EGM96_RANGE_M[1], max(high_m, 0.0) + there.max() + room))


def _filled(heights: FloatArray) -> FloatArray:
    """NaN replaced by the nearest value; zeros if there is no value at all."""
    from scipy import ndimage

    missing = np.isnan(heights)
    if missing.all():
        return np.zeros_like(heights)
    nearest = ndimage.distance_transform_edt(missing, return_distances=False, return_indices=True)
    return np.asarray(heights[tuple(nearest)], np.float64)
