"""Signs that coordinates are not in the CRS that is named: from the numbers alone, nothing is changed.

Each doubt comes with the keys of city.toml that would cure it. Used by the readers' refusals and by the audit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layers import crs
from layers.area import is_within

FloatArray = NDArray[np.float64]

DEFAULT_REACH_KM = 100.0
"""A city's sources lie within this distance of its origin."""

ZONES = range(13, 61)
"""Numbers of China's zones: 3 degrees 25 … 45, 6 degrees 13 … 23; up to 60 for neighbours."""

_FIRST_PREFIXED, _FIRST_PLAIN = 4513 - 25, 4534 - 25
"""EPSG code minus zone number: CGCS2000, 3 degrees, with and without zone number in the eastings (zones 25 … 45)."""


@dataclass(frozen=True)
class Doubt:
    """One finding.

    Attributes
    ----------
    code : for example `swapped-axes`
    measured, limit, unit : what was measured and what it was compared with
    cure : keys of `[[source]]` that would put it right; empty where there is no single cure
    """

    code: str
    explanation: str
    measured: float | None = None
    limit: float | None = None
    unit: str = ""
    cure: Mapping[str, Any] = field(default_factory=dict)


def zone_crs(zone: int, *, prefixed: bool) -> str | None:
    """The CGCS2000 3-degree CRS of a zone number, or None for a number that is none (6-degree zones are 13 … 23)."""
    if 25 <= zone <= 45:
        return f"EPSG:{zone + (_FIRST_PREFIXED if prefixed else _FIRST_PLAIN)}"
    if prefixed and 13 <= zone <= 23:
        return f"EPSG:{4491 + zone - 13}"
    return None


def zones_of(x: FloatArray) -> list[int]:
    """Zone numbers that the eastings begin with, in ascending order; empty where some do not begin with one."""
    numbers = np.unique(np.floor(x[np.isfinite(x)] / 1e6))
    return [int(each) for each in numbers] if numbers.size and np.isin(numbers, list(ZONES)).all() else []


def doubts(
    declared: str,
    x: FloatArray,
    y: FloatArray,
    *,
    city: tuple[float, float] | None = None,
    reach_km: float = DEFAULT_REACH_KM,
) -> list[Doubt]:
    """What speaks against (n,) coordinates, east first, being in `declared`; empty where nothing does.

    `city` is its longitude and latitude: with it, every guess must lead there, and places far from it are told.
    Without it a guess must lead into the area of use of its own CRS.
    """
    x, y = np.asarray(x, np.float64).ravel(), np.asarray(y, np.float64).ravel()
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    if not x.size:
        return []
    horizontal = crs.horizontal(declared)
    look = _Look(city, reach_km)
    found = _geographic(x, y, look) if crs.is_geographic(horizontal) else _projected(horizontal, x, y, look)
    if not found:
        found = _far(horizontal, x, y, look)
    return found


def mixture(horizontal: str, bounds: crs.Bounds) -> str:
    """What a box that fits no system as a whole is mixed of, with the next step; empty where it shows nothing.

    Only the box is known, so the lowest and the highest numbers must fit two different readings of the CRS.
    """
    if crs.is_geographic(horizontal):
        return ""
    west, south, east, north = bounds
    look = _Look(None, DEFAULT_REACH_KM)

    def fits(x: float, y: float) -> bool:
        return look.fits(horizontal, np.array([x]), np.array([y]))

    if 0 < west <= 180 and 0 < south <= 90 and max(east, north) > 1000:
        what = f"Some coordinates are degrees ({west:.6g}, {south:.6g}), others metres ({east:.0f}, {north:.0f})"
    elif west < 1e6 and zones_of(np.array([east])) and east > 13e6:
        what = f"Some eastings begin with a zone number ({east:.0f}), others do not ({west:.0f})"
    elif fits(west, north) and fits(south, east) and not fits(east, north):
        what = "Some features have east and north swapped"
    else:
        return ""
    return f"{what}: split the file, each part with its own CRS or its own correct in city.toml."


@dataclass(frozen=True)
class _Look:
    city: tuple[float, float] | None
    reach_km: float

    def fits(self, horizontal: str, x: FloatArray, y: FloatArray) -> bool:
        """True if the middle of the coordinates, read so, lies in the city, or in the CRS's area without a city."""
        away = self.away_km(horizontal, x, y)
        return away is not None and away <= self.reach_km

    def away_km(self, horizontal: str, x: FloatArray, y: FloatArray) -> float | None:
        """Geodesic distance from the city, or from the CRS's area of use (0 inside, else inf) without a city."""
        mid = np.array([np.median(x)]), np.array([np.median(y)])
        lon, lat = (float(v[0]) for v in crs.transform(horizontal, crs.WGS84, *mid))
        if not (np.isfinite([lon, lat]).all() and abs(lat) <= 90 and abs(lon) <= 360):
            return None
        if self.city is not None:
            return float(crs.CGCS2000_GEOD.inv(*self.city, lon, lat)[2]) / 1000
        area = crs.area_of_use(horizontal)
        inside = area is None or is_within(area, lon, lat, 1.0)
        return 0.0 if inside else float("inf")


def _given(guess: str, *more: str) -> dict[str, Any]:
    """Read the file in this CRS, whatever it says itself."""
    return {"crs": guess, "correct": ["given-crs", *more]}


def _geographic(x: FloatArray, y: FloatArray, look: _Look) -> list[Doubt]:
    widest = float(max(np.abs(x).max(), np.abs(y).max()))
    if widest > 360:
        return [_metres(x, y, widest, look)]
    is_impossible = float(np.abs(y).max()) > 90
    if is_impossible or not look.fits(crs.CGCS2000, x, y):
        highest = float(np.abs(y).max())
        if (
            float(np.abs(x).max()) <= 90
            and (look.city is None or look.fits(crs.CGCS2000, y, x))
            and (is_impossible or look.city is not None)
        ):
            words = "Latitude and longitude are swapped: the other way round the coordinates lie in the city."
            return [Doubt("swapped-axes", words, highest, 90.0, "deg", {"correct": ["swap-axes"]})]
    return []


def _metres(x: FloatArray, y: FloatArray, widest: float, look: _Look) -> Doubt:
    words = f"The coordinates reach {widest:.0f}: these are metres, not degrees."
    for zone in zones_of(x)[:1]:
        guess = zone_crs(zone, prefixed=True)
        if guess is not None and look.fits(guess, x, y):
            words += f" The eastings begin with zone {zone}."
            return Doubt("metres-not-degrees", words, widest, 360.0, "deg", _given(guess))
    near = [guess for guess in _plain_guesses(look) if look.fits(guess, x, y)]
    return Doubt("metres-not-degrees", words, widest, 360.0, "deg", _given(near[0]) if near else {})


def _plain_guesses(look: _Look) -> list[str]:
    """CRSs without zone number around the city, the nearest meridian first."""
    if look.city is None:
        return []
    middle = round(look.city[0] / 3)
    return [each for zone in (middle, middle - 1, middle + 1) if (each := zone_crs(zone, prefixed=False))]


def _projected(horizontal: str, x: FloatArray, y: FloatArray, look: _Look) -> list[Doubt]:
    widest = float(max(np.abs(x).max(), np.abs(y).max()))
    if widest <= 360 and not look.fits(horizontal, x, y):
        if look.fits(crs.CGCS2000, x, y):
            words = f"No coordinate is beyond {widest:.6g}: these are degrees, not metres."
            return [Doubt("degrees-not-metres", words, widest, 360.0, "m", _given("EPSG:4490"))]
        if look.fits(crs.CGCS2000, y, x):
            words = "These are degrees, not metres, and latitude comes first."
            cure = _given("EPSG:4490", "swap-axes")
            return [Doubt("degrees-not-metres", words, widest, 360.0, "m", cure)]
    zones = zones_of(x)
    if len(zones) > 1:
        words = f"Features of zones {', '.join(map(str, zones))} are mixed: one file a zone, each with its own CRS."
        return [Doubt("mixed-zones", words, float(len(zones)), 1.0, "zones")]
    if look.fits(horizontal, x, y):
        return []
    return _zone_doubt(horizontal, x, y, zones, look) or _swap_doubt(horizontal, x, y, look)


def _zone_doubt(horizontal: str, x: FloatArray, y: FloatArray, zones: list[int], look: _Look) -> list[Doubt]:
    own = crs.gauss_zones(horizontal)
    first = float(np.median(x))
    if zones:
        guess = zone_crs(zones[0], prefixed=True)
        if guess is not None and look.fits(guess, x, y):
            words = f"The eastings begin with zone number {zones[0]}, as in {guess} ({crs.parse(guess).name})."
            return [Doubt("zone-prefix", words, first, 1e6, "m", _given(guess))]
        return []
    if own is not None and own[1] is not None:
        moved = crs.with_zone(x, *own)
        if look.fits(horizontal, moved, y):
            words = f"The eastings lack the zone number {own[1]} of {crs.parse(horizontal).name}."
            plain = zone_crs(own[1], prefixed=False)
            return [
                Doubt("zone-prefix", words, first, 1e6, "m", _given(plain) if plain else {"correct": ["zone-prefix"]})
            ]
    return []


def _swap_doubt(horizontal: str, x: FloatArray, y: FloatArray, look: _Look) -> list[Doubt]:
    if look.fits(horizontal, y, x):
        words = "Eastings and northings are swapped: the other way round the coordinates lie in the city."
        away = look.away_km(horizontal, x, y)
        return [Doubt("swapped-axes", words, away, look.reach_km, "km", {"correct": ["swap-axes"]})]
    return []


def _far(horizontal: str, x: FloatArray, y: FloatArray, look: _Look) -> list[Doubt]:
    away = look.away_km(horizontal, x, y)
    if away is not None and away <= look.reach_km:
        return []
    near = [guess for guess in _plain_guesses(look) if guess != horizontal and look.fits(guess, x, y)]
    words = "The coordinates lie far from the city."
    if near and not crs.is_geographic(horizontal):
        words += f" In {near[0]} ({crs.parse(near[0]).name}) they would lie in it."
    measured = away if away is not None and np.isfinite(away) else None
    cure = _given(near[0]) if near and not crs.is_geographic(horizontal) else {}
    return [Doubt("far-from-city", words, measured, look.reach_km, "km", cure)]
