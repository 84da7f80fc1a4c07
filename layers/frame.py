"""The city's frame for meshes: east-north-up at the twin's origin, through geocentric coordinates.

(E, N, H) in the city's CRS -> longitude, latitude -> h = H + N -> ECEF -> ENU. It is a rigid frame, not a plane
one, so that 3D Tiles need a single root transform. ECEF formulas: EPSG Guidance Note 7-2, 4.1.1, on the WGS 84
ellipsoid that 3D Tiles prescribe (CGCS2000's differs by 0.1 mm in the semi-minor axis).
"""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from layers import crs
from layers.heights import HeightModel

FloatArray = NDArray[np.float64]

SEMI_MAJOR_M = 6378137.0
FLATTENING = 1 / 298.257223563
E2 = FLATTENING * (2 - FLATTENING)


def geodetic_to_ecef(lon_deg: FloatArray, lat_deg: FloatArray, h_m: FloatArray) -> FloatArray:
    """(n,) degrees and ellipsoidal metres -> (n, 3) geocentric metres."""
    lon, lat = np.radians(lon_deg), np.radians(lat_deg)
    sin_lat, cos_lat = np.sin(lat), np.cos(lat)
    normal = SEMI_MAJOR_M / np.sqrt(1 - E2 * sin_lat**2)
    across = (normal + h_m) * cos_lat
    return np.stack([across * np.cos(lon), across * np.sin(lon), (normal * (1 - E2) + h_m) * sin_lat], axis=-1)


def enu_axes(lon_deg: float, lat_deg: float) -> FloatArray:
    """(3, 3) matrix whose rows are the unit vectors east, north, up in geocentric axes."""
    lon, lat = np.radians(lon_deg), np.radians(lat_deg)
    sin_lon, cos_lon, sin_lat, cos_lat = np.sin(lon), np.cos(lon), np.sin(lat), np.cos(lat)
    return np.array(
        [
            [-sin_lon, cos_lon, 0.0],
            [-sin_lat * cos_lon, -sin_lat * sin_lon, cos_lat],
            [cos_lat * cos_lon, cos_lat * sin_lon, sin_lat],
        ]
    )


class CityFrame:
    """Everything that is needed to place a point of the city: its CRS, its height model, its origin.

    Parameters
    ----------
    city_crs : horizontal CRS of the city, projected
    height_model : gives ellipsoidal minus normal height
    lon_deg, lat_deg, h_m : origin of the ENU frame, ellipsoidal
    """

    def __init__(
        self, city_crs: str, height_model: HeightModel, lon_deg: float, lat_deg: float, h_m: float = 0.0
    ) -> None:
        self.city_crs = crs.name(city_crs)
        self.height_model = height_model
        self.lon_deg, self.lat_deg, self.h_m = lon_deg, lat_deg, h_m

    @cached_property
    def _origin_ecef(self) -> FloatArray:
        return geodetic_to_ecef(np.array(self.lon_deg), np.array(self.lat_deg), np.array(self.h_m))

    @cached_property
    def _axes(self) -> FloatArray:
        return enu_axes(self.lon_deg, self.lat_deg)

    @cached_property
    def root_transform(self) -> list[float]:
        """ENU -> ECEF, 16 numbers in column-major order, as `root.transform` of a tileset."""
        matrix = np.eye(4)
        matrix[:3, :3] = self._axes.T
        matrix[:3, 3] = self._origin_ecef
        return [float(value) for value in matrix.T.ravel()]

    def ellipsoidal(self, enh: FloatArray) -> FloatArray:
        """(n, 3) east, north, normal height in the city's CRS -> (n, 3) longitude, latitude, ellipsoidal height."""
        lon, lat = crs.transform(self.city_crs, crs.WGS84, enh[:, 0], enh[:, 1])
        return np.stack([lon, lat, enh[:, 2] + self.height_model.undulation_m(lon, lat)], axis=1)

    def to_enu(self, enh: FloatArray) -> FloatArray:
        """(n, 3) east, north, normal height in the city's CRS -> (n, 3) metres in the ENU frame."""
        lon, lat, h_m = self.ellipsoidal(np.asarray(enh, np.float64)).T
        return self.geodetic_to_enu(lon, lat, h_m)

    def geodetic_to_enu(self, lon_deg: FloatArray, lat_deg: FloatArray, h_m: FloatArray) -> FloatArray:
        """(n,) degrees and ellipsoidal heights -> (n, 3) metres in the ENU frame."""
        return (geodetic_to_ecef(lon_deg, lat_deg, h_m) - self._origin_ecef) @ self._axes.T
