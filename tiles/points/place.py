"""Coordinates of a cloud -> the city's ENU frame, and boxes around cubes of its octree.

As for every other layer: the cloud's CRS -> the city's CRS -> normal heights of the city (by the cloud's stated height
datum, or the metres to add) -> ellipsoidal heights by the city's height model -> geocentric -> ENU.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from layers import crs
from layers.errors import InvalidInput
from layers.frame import CityFrame
from tiles.city import TileCity
from twin.fuse.datum import VerticalStep, vertical_step
from twin.store.interface import Asset

FloatArray = NDArray[np.float64]

METRES_PER_DEGREE = 111_320.0
SLACK_M = 0.01
"""Added to each side of a box: what the encodings may move a point by, and more."""
_LATTICE = np.array([(x, y, z) for x in (0.0, 0.5, 1.0) for y in (0.0, 0.5, 1.0) for z in (0.0, 1.0)])


@dataclass(frozen=True)
class Placed:
    """(n, 3) ENU metres, and (n,) longitudes, latitudes, normal and ellipsoidal heights of the same points."""

    enu: FloatArray
    lon_deg: FloatArray
    lat_deg: FloatArray
    normal_m: FloatArray
    ellipsoidal_m: FloatArray


@dataclass(frozen=True)
class Placement:
    """How points of one cloud reach the city's frame. `step` is None where `offset_m` is added to their heights."""

    name: str
    crs: str
    frame: CityFrame
    step: VerticalStep | None
    offset_m: float = 0.0

    @property
    def metres_per_unit(self) -> float:
        """Of the horizontal axes; of a degree as along a meridian."""
        return METRES_PER_DEGREE if crs.is_geographic(self.crs) else crs.metres_per_unit(self.crs)

    def place(self, xyz: FloatArray) -> Placed:
        """(n, 3) coordinates in the cloud's CRS, east first, to the frame. InvalidInput for what has no place."""
        east, north = crs.transform(self.crs, self.frame.city_crs, xyz[:, 0], xyz[:, 1])
        lon, lat = crs.transform(self.frame.city_crs, crs.WGS84, east, north)
        if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
            problem = f"The point cloud {self.name} has points that have no place in {self.frame.city_crs}."
            raise InvalidInput(problem, "Correct its CRS and build again.", code="POINTS_OUTSIDE")
        normal = xyz[:, 2] + self.offset_m if self.step is None else self.step.normal_m(lon, lat, xyz[:, 2])
        ellipsoidal = normal + self.frame.height_model.undulation_m(lon, lat)
        return Placed(self.frame.geodetic_to_enu(lon, lat, ellipsoidal), lon, lat, normal, ellipsoidal)

    def boxes(self, low: FloatArray, high: FloatArray) -> FloatArray:
        """(n, 3) lowest and highest corners in the cloud's CRS -> (n, 6) boxes in the frame that hold the cubes.

        Each cube is sampled at 18 places. Between them its sides bend by an eighth of their second difference
        (exactly so for a parabola); twice that, and SLACK_M, is added.
        """
        places = low[:, None, :] + (high - low)[:, None, :] * _LATTICE
        enu = self.place(places.reshape(-1, 3)).enu.reshape(-1, 3, 3, 2, 3)
        bends = [np.abs(enu[:, 0] - 2 * enu[:, 1] + enu[:, 2]), np.abs(enu[:, :, 0] - 2 * enu[:, :, 1] + enu[:, :, 2])]
        bend = np.max([each.max(axis=(1, 2)) for each in bends], axis=0) / 4 + SLACK_M
        flat = enu.reshape(len(enu), -1, 3)
        return np.concatenate([flat.min(axis=1) - bend, flat.max(axis=1) + bend], axis=1)


def placement(city: TileCity, asset: Asset) -> Placement:
    """The way of one asset. Unplaceable for a height datum that cannot be converted."""
    horizontal, frame = crs.horizontal(asset.crs), city.frame
    if asset.height_offset_m is not None:
        return Placement(asset.id, horizontal, frame, None, asset.height_offset_m)
    step = vertical_step(asset.crs, asset.vertical_crs, city.config.vertical_crs, frame.height_model)
    return Placement(asset.id, horizontal, frame, step)
