"""The box that a map shows, its CRS and its pixels; city coordinates -> pixels."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from layers import crs
from layers.crs import Bounds
from layers.errors import InvalidInput
from tiles.mvt import placement
from tiles.mvt.encode import EXTENT
from tiles.mvt.one_tile import layer_bounds_in

FloatArray = NDArray[np.float64]

PIXEL_MM = 0.28
"""The standards' rendering pixel (20-058, 17-083r4, 06-042)."""
MAX_SIDE = 4096
MAX_PIXELS = MAX_SIDE * MAX_SIDE
STYLE_CELL_M = 78271.51696402048
"""Units of EPSG:3857 in a pixel at MapLibre's zoom 0 (tiles of 512 pixels)."""
_LATITUDE = 85.0


@dataclass(frozen=True)
class View:
    """What a map shows.

    Attributes
    ----------
    crs : as `layers.crs.name` spells it
    bounds : west, south, east, north in units of the CRS, east first
    width, height : pixels
    pixel_mm : side of a pixel on the reader's screen; symbols grow as pixels get smaller
    wraps : the box goes on beyond 180° with -180°, its east having 360 more
    """

    crs: str
    bounds: Bounds
    width: int
    height: int
    pixel_mm: float = PIXEL_MM
    wraps: bool = False

    def parts(self) -> tuple["View", ...]:
        """The views on either side of the antimeridian; itself where it does not wrap.

        The border goes to the nearest edge of a pixel: what is drawn may lie half a pixel aside.
        """
        west, south, east, north = self.bounds
        n_west = round((180.0 - west) / self.cell[0])
        if not self.wraps or not 0 < n_west < self.width:
            return (self,) if not self.wraps else (replace(self, bounds=_turned(self.bounds, n_west), wraps=False),)
        left = replace(self, bounds=(west, south, 180.0, north), width=n_west, wraps=False)
        right = replace(self, bounds=(-180.0, south, east - 360, north), width=self.width - n_west, wraps=False)
        return left, right

    @property
    def cell(self) -> tuple[float, float]:
        """Width and height of a pixel in units of the CRS."""
        west, south, east, north = self.bounds
        return (east - west) / self.width, (north - south) / self.height

    @property
    def magnification(self) -> float:
        """Pixels for one of the style's."""
        return PIXEL_MM / self.pixel_mm

    @cached_property
    def zoom(self) -> float:
        """MapLibre's zoom for the middle of the view at the style's own pixels; 0 for a view of the whole Earth."""
        return _zoom(self.crs, self.bounds, self.width, self.height) - math.log2(self.magnification)

    def region(self, city_crs: str, layer_bounds: Bounds, margin_px: float) -> Bounds | None:
        """What the view and a margin show of a layer, as a box in the city's CRS; None where nothing."""
        wide, high = self.cell
        west, south, east, north = self.bounds
        shown = (west - margin_px * wide, south - margin_px * high, east + margin_px * wide, north + margin_px * high)
        return _region(city_crs, layer_bounds, self.crs, shown)

    def placer(self, city_crs: str, region: Bounds) -> "Placer":
        """City coordinates of a region -> pixels."""
        place = placement.of_tile(city_crs, self.crs, self.bounds, region)
        return Placer(place, np.array([self.width / EXTENT, self.height / EXTENT]))


@dataclass(frozen=True)
class Placer:
    """City coordinates -> pixels, x right and y down from the upper left corner; within 0.0001 pixels of PROJ."""

    place: Callable[[FloatArray], FloatArray]
    scale: FloatArray

    def __call__(self, xy: FloatArray) -> FloatArray:
        """(n, 2) places in pixels; inf where there is none."""
        return self.place(xy) * self.scale

    def boxes(self, boxes: FloatArray) -> FloatArray:
        """(n, 4) boxes in the city's CRS -> left, top, right, bottom of their corners in pixels."""
        corners = np.stack([self(boxes[:, [i, j]]) for i in (0, 2) for j in (1, 3)])
        return np.concatenate([corners.min(axis=0), corners.max(axis=0)], axis=1)


def _turned(bounds: Bounds, n_west: int) -> Bounds:
    """Bounds of a view that lies, but for a part of a pixel, on one side of the antimeridian."""
    west, south, east, north = bounds
    return (west - 360, south, east - 360, north) if n_west <= 0 else bounds


@lru_cache(maxsize=1024)
def _zoom(view_crs: str, bounds: Bounds, width: int, height: int) -> float:
    west, south, east, north = bounds
    x, y = (west + east) / 2, (south + north) / 2
    dx, dy = (east - west) / width, (north - south) / height
    lon, lat = crs.transform(view_crs, crs.CRS84, np.array([x, x + dx, x]), np.array([y, y, y + dy]))
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        return 0.0
    e, n = crs.transform(crs.CRS84, "EPSG:3857", lon, np.clip(lat, -_LATITUDE, _LATITUDE))
    area = abs((e[1] - e[0]) * (n[2] - n[0]) - (e[2] - e[0]) * (n[1] - n[0]))
    return math.log2(STYLE_CELL_M / math.sqrt(area)) if area > 0 else 0.0


@lru_cache(maxsize=4096)
def _region(city_crs: str, layer_bounds: Bounds, view_crs: str, shown: Bounds) -> Bounds | None:
    own = layer_bounds_in(view_crs, city_crs, layer_bounds)
    west, south = max(own[0], shown[0]), max(own[1], shown[1])
    east, north = min(own[2], shown[2]), min(own[3], shown[3])
    if west >= east or south >= north:
        return None
    try:
        found = crs.transform_bounds(view_crs, city_crs, (west, south, east, north))
    except InvalidInput:
        return layer_bounds
    west, south = max(found[0], layer_bounds[0] - 1), max(found[1], layer_bounds[1] - 1)
    east, north = min(found[2], layer_bounds[2] + 1), min(found[3], layer_bounds[3] + 1)
    return (west, south, east, north) if west < east and south < north else None
