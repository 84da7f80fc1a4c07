"""An affine step from a model's own frame to a projected CRS, and the doubts collected while finding it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layers import crs
from layers.area import is_within
from layers.certificate import Certificate, Method

FloatArray = NDArray[np.float64]
Facts = Mapping[str, Any]
"""What `ingest.ifc.facts.survey` found in a file."""

WGS84 = "EPSG:4326"
ADD_GEOREFERENCE = (
    "Add IfcMapConversion and IfcProjectedCRS to the file, or IfcSite.RefLatitude, RefLongitude and RefElevation; or "
    "give two point pairs as control_points in city.toml."
)
"""The next step for a file that does not say where it is."""


@dataclass(frozen=True)
class Placement:
    """An affine step from the model's frame (metres) to a projected CRS; heights come out in metres.

    Attributes
    ----------
    crs, vertical_crs : of the result
    offset_m : (3,) easting, northing, height of the local origin, in metres
    matrix : (3, 3) metres to metres
    crs_unit_m : metres in one unit of the CRS
    certificate : how the numbers were found, and what contradicts them
    """

    crs: str
    vertical_crs: str | None
    offset_m: FloatArray
    matrix: FloatArray
    crs_unit_m: float
    certificate: Certificate

    def to_map(self, xyz_m: FloatArray) -> FloatArray:
        """(n, 3) metres in the model's frame -> (n, 3) east, north in CRS units and height in metres, float64."""
        placed = np.asarray(xyz_m, np.float64) @ self.matrix.T + self.offset_m
        placed[:, :2] /= self.crs_unit_m
        return placed

    def after(self, turn: FloatArray, shift_m: FloatArray) -> "Placement":
        """The same step, taken after another affine one."""
        matrix, offset = self.matrix @ turn, self.matrix @ shift_m + self.offset_m
        numbers = {"offset_m": offset.tolist(), "matrix": matrix.tolist()}
        certificate = replace(self.certificate, parameters={**self.certificate.parameters, **numbers})
        return replace(self, matrix=matrix, offset_m=offset, certificate=certificate)


@dataclass
class Doubts:
    """Contradictions found on the way, and the numbers used."""

    sentences: list[str] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)


def affine(
    method: Method, target: tuple[str, str | None], offset_m: FloatArray, matrix: FloatArray, doubts: Doubts
) -> Placement:
    """A placement whose certificate is not complete yet."""
    certificate = Certificate(method=method, parameters=doubts.parameters)
    return Placement(target[0], target[1], offset_m, matrix, crs.metres_per_unit(target[0]), certificate)


def certified(placed: Placement, doubts: Doubts, *, source_crs: str | None = None) -> Placement:
    """The placement with everything that was found out on the way."""
    certificate = Certificate(
        method=placed.certificate.method,
        source_crs=source_crs or placed.crs,
        source_vertical_crs=placed.vertical_crs,
        parameters=doubts.parameters | {"offset_m": placed.offset_m.tolist(), "matrix": placed.matrix.tolist()},
        contradictions=tuple(doubts.sentences),
    )
    return Placement(placed.crs, placed.vertical_crs, placed.offset_m, placed.matrix, placed.crs_unit_m, certificate)


def probes(facts: Facts) -> list[list[float]]:
    """Middles of some shapes, metres; they are only made where a decision depends on them."""
    found = facts["probes"]
    made: list[list[float]] = found() if callable(found) else found
    return made


def middle(facts: Facts) -> FloatArray | None:
    """Where the elements lie, metres in the model's frame: from some meshes, else from their placements."""
    found = probes(facts)
    if len(found):
        return np.asarray(np.median(np.array(found, np.float64).reshape(-1, 3), axis=0))
    samples = np.array(facts["samples"], np.float64).reshape(-1, 3)
    return np.median(samples, axis=0) * facts["unit_m"] if len(samples) else None


def lonlat_in_area(target: str, lon: float, lat: float, margin_deg: float) -> bool:
    """True if a position lies in the CRS's area of use, widened by a margin; also where no area is known."""
    area = crs.area_of_use(target)
    if not (math.isfinite(lon) and math.isfinite(lat)):
        return False
    return area is None or is_within(area, lon, lat, margin_deg)


def in_area(target: str, en: FloatArray) -> bool:
    """True if the first of (n, 2) positions lies within 2 degrees of the area of use of its own CRS."""
    lon, lat = crs.transform(target, WGS84, en[:, 0], en[:, 1])
    return lonlat_in_area(target, float(lon[0]), float(lat[0]), margin_deg=2.0)


def grid_at(lat: float, lon: float, city: str) -> tuple[float, float, float, float]:
    """East, north, meridian convergence (radians, grid north clockwise to true north) and scale factor at a point."""
    step = 1e-4
    lats = np.array([lat, lat - step / 2, lat + step / 2])
    east, north = crs.transform(WGS84, city, np.full(3, lon), lats)
    unit = crs.metres_per_unit(city)
    de, dn = (east[2] - east[1]) * unit, (north[2] - north[1]) * unit
    sin_lat = math.sin(math.radians(lat))
    e2 = 0.00669437999014
    meridian_m = 6378137.0 * (1 - e2) / (1 - e2 * sin_lat**2) ** 1.5 * math.radians(step)
    return float(east[0]), float(north[0]), math.atan2(de, dn), math.hypot(de, dn) / meridian_m


def true_north_angle(true_north: tuple[float, float] | None) -> float:
    """Angle from local y to true north, counter-clockwise, radians; 0 where the file does not say."""
    if true_north is None or math.hypot(*true_north) == 0:
        return 0.0
    return math.atan2(true_north[1], true_north[0]) - math.pi / 2
