"""`bbox` and `bbox-crs` -> a region in the city's CRS, and heights (OGC 17-069r4, 7.15.3; 18-058r1, 7.4).

The sides of a box are straight in the CRS it is given in and curves in the city's. They are followed to 0.1 mm where
the city has features and to 1 cm elsewhere (`twin.store.curves`). A box in degrees whose west is above its east lies
over the antimeridian.
"""

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import shapely

from layers import crs
from layers.crs import Bounds
from layers.errors import InvalidInput
from server.serving import CRS84H, Snapshot
from twin.store import curves

NOWHERE = shapely.box(-2e9, -2e9, -1e9, -1e9)
"""A region in which no feature of any city lies."""
NEAR_USE_DEG = 10.0
"""How far beyond the area that the registry gives the city's CRS for a box is looked at.

Half the globe away a transverse Mercator projection folds over itself; no feature of the city lies there.
"""
WIDEST_DEG = 90.0
"""Wider boxes are placed in parts, so that none of them runs around a pole."""
_FURTHEST_M = 1e8
_NUMBER = re.compile(r"\s*[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?\s*", re.ASCII)
_MERCATOR_M = math.pi * 6378137.0


@dataclass(frozen=True)
class Box:
    """What a box asks for.

    Attributes
    ----------
    region : in the city's CRS, prepared; None for everywhere
    z : lowest and highest normal height in metres; None for any
    """

    region: shapely.Geometry | None = None
    z: tuple[float, float] | None = None


def asked(text: str | None, source: str | None, snapshot: Snapshot) -> Box:
    """`bbox`, with the CRS that `bbox-crs` names; InvalidInput names the parameter.

    Without `bbox-crs` six numbers are degrees and ellipsoidal heights (CRS84h), as part 1 says; with a flat CRS the
    heights are normal heights, as they are in answers in that CRS.
    """
    if text is None:
        return Box()
    values = numbers(text)
    flat, z = values, None
    if len(values) == 6:
        source = source or CRS84H
        flat, z = [values[0], values[1], values[3], values[4]], (values[2], values[5])
        if z[0] > z[1]:
            raise InvalidInput(f"bbox={text[:80]} has its lowest height above its highest one.")
    source = source or crs.CRS84
    way = _Way(crs.horizontal(source), snapshot.city.config.crs, snapshot.city_bounds)
    region = _region((flat[0], flat[1], flat[2], flat[3]), way)
    if z is not None and crs.is_ellipsoidal(source):
        z = _normal(z, region, snapshot)
    return Box(region, z)


def numbers(text: str) -> list[float]:
    """The numbers of a box; four or six of them, finite."""
    parts = text.split(",")
    if len(parts) not in {4, 6}:
        raise InvalidInput(
            f"bbox has {len(parts)} numbers.", "Give four, two lower and two upper coordinates, or six with heights."
        )
    if not all(_NUMBER.fullmatch(part) for part in parts):
        raise InvalidInput(f"bbox={text[:80]!r} has something that is no finite number.", "Example: 120.9,28,121,28.2")
    values = [float(part) for part in parts]
    if not all(math.isfinite(value) for value in values):
        raise InvalidInput(f"bbox={text[:80]!r} has a number that is not finite.")
    return values


@dataclass(frozen=True)
class _Way:
    """From one CRS into the city's; `near` is where the city has features."""

    source: str
    city_crs: str
    near: Bounds | None

    def placed(self, box: Bounds) -> shapely.Geometry:
        """A box that may be flat as a polygon in the city's CRS."""
        return curves.placed(shapely.box(*_not_flat(box, self.source)), self.source, self.city_crs, self.near)


def _region(box: Bounds, way: _Way) -> shapely.Geometry:
    """A box in the axis order of its CRS as a prepared geometry in the city's.

    A new one for each request: a prepared geometry makes its indexes when it is first used, and two threads that do so
    at once end the process (seen with GEOS 3.14: general protection fault under eight readers of one box).
    """
    made = shapely.from_wkb(_placed(box, way))
    shapely.prepare(made)
    return made


@lru_cache(maxsize=256)
def _placed(box: Bounds, way: _Way) -> bytes:
    if crs.is_north_first(way.source):
        box = box[1], box[0], box[3], box[2]
    return bytes(shapely.to_wkb(_in_degrees(box, way) if crs.is_geographic(way.source) else _in_metres(box, way)))


def _in_degrees(box: Bounds, way: _Way) -> shapely.Geometry:
    west, south, east, north = box
    if abs(west) > 180.001 or abs(east) > 180.001:
        raise InvalidInput("bbox reaches beyond ±180°.", "Mind the axis order, or give bbox-crs.")
    if south < -90.001 or north > 90.001:
        raise InvalidInput("bbox reaches beyond ±90°.", "Mind the axis order, or give bbox-crs.")
    if south > north:
        raise _reversed(box, way.source)
    return _united((west, max(south, -90.0), east + 360.0 * (west > east), min(north, 90.0)), way)


def _united(box: Bounds, way: _Way) -> shapely.Geometry:
    """A box in degrees, west <= east, as it is in the city's CRS."""
    made = [way.placed(part) for part in _near_use(box, way.city_crs)]
    if len(made) < 2:
        return made[0] if made else NOWHERE
    # parts share whole edges, and at a pole whole edges are one point, up to rounding
    return shapely.union_all(made, grid_size=1e-5)


def _near_use(box: Bounds, city_crs: str) -> list[Bounds]:
    """The parts of a box in degrees within a generous neighbourhood of where the city's projection is defined."""
    west, south, east, north = box
    use = crs.area_of_use(city_crs) or (-180.0, -90.0, 180.0, 90.0)
    low, high = max(south, use[1] - NEAR_USE_DEG), min(north, use[3] + NEAR_USE_DEG)
    first = use[0] - NEAR_USE_DEG
    span = ((use[2] - use[0]) % 360 or 360.0) + 2 * NEAR_USE_DEG
    if span >= 360:
        first, span = -180.0, 360.0
    found = []
    for turn in (-720.0, -360.0, 0.0, 360.0, 720.0):
        left, right = max(first, west + turn), min(first + span, east + turn)
        if left <= right and low <= high:
            n = max(1, math.ceil((right - left) / WIDEST_DEG))
            cuts = np.linspace(left, right, n + 1).tolist()
            found += [(a, low, b, high) for a, b in pairwise(cuts)]
    return found


def _in_metres(box: Bounds, way: _Way) -> shapely.Geometry:
    west, south, east, north = box
    if max(map(abs, box)) > _FURTHEST_M:
        raise InvalidInput(f"bbox reaches beyond any place on Earth in {way.source}.", "Mind the unit, or bbox-crs.")
    if west > east or south > north:
        raise _reversed(box, way.source)
    if way.source == crs.horizontal(way.city_crs):
        return _exact(box)
    if way.source == "EPSG:3857":
        return _in_mercator(box, way)
    around = _surroundings(way.source, way.city_crs)
    cut = (max(west, around[0]), max(south, around[1]), min(east, around[2]), min(north, around[3]))
    return NOWHERE if cut[0] > cut[2] or cut[1] > cut[3] else way.placed(cut)


def _in_mercator(box: Bounds, way: _Way) -> shapely.Geometry:
    """Mercator's axes do not bend: the box is a box in degrees."""
    west, south, east, north = max(box[0], -_MERCATOR_M), box[1], min(box[2], _MERCATOR_M), box[3]
    if west > east:
        return NOWHERE
    x, y = crs.transform(way.source, crs.CRS84, np.array([west, east]), np.array([south, north]))
    # the edge of the map is 180° on both sides, and rounding may turn one into the other
    first = -180.0 if west <= -_MERCATOR_M else float(x[0])
    last = 180.0 if east >= _MERCATOR_M else float(x[1])
    return _united((first, float(y[0]), last, float(y[1])), _Way(crs.CRS84, way.city_crs, way.near))


@lru_cache(maxsize=64)
def _surroundings(source: str, city_crs: str) -> Bounds:
    """Where the neighbourhood of the city's projection lies in another one."""
    use = crs.area_of_use(city_crs) or (-180.0, -90.0, 180.0, 90.0)
    west, east = use[0], use[2] + 360.0 * (use[2] < use[0])
    wide = shapely.box(west - 1, max(use[1] - 1, -90), east + 1, min(use[3] + 1, 90))
    placed = curves.followed(shapely.get_coordinates(wide), crs.CRS84, source, (0, 0, 0, 0))
    placed = placed[np.isfinite(placed).all(axis=1)]
    low, high = placed.min(axis=0), placed.max(axis=0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _exact(box: Bounds) -> shapely.Geometry:
    west, south, east, north = box
    if west < east and south < north:
        return shapely.box(*box)
    is_point = west == east and south == north
    return shapely.Point(west, south) if is_point else shapely.LineString([(west, south), (east, north)])


def _not_flat(box: Bounds, source: str) -> Bounds:
    """A box that is a point or a line, made a hair wide (0.1 mm) so that it stays a polygon."""
    west, south, east, north = box
    grain, pole = (1e-9, 90.0) if crs.is_geographic(source) else (1e-4, math.inf)
    grow_x, grow_y = grain / 2 * (west == east), grain / 2 * (south == north)
    return west - grow_x, max(south - grow_y, -pole), east + grow_x, min(north + grow_y, pole)


def _reversed(box: Bounds, source: str) -> InvalidInput:
    shown = ",".join(f"{value:g}" for value in box)
    return InvalidInput(
        f"bbox={shown} (east first) has a lower bound above its upper one in {source}.",
        "Mind the axis order of bbox-crs: EPSG:4326, 4490 and 4549 are north first.",
    )


def _normal(z: tuple[float, float], region: shapely.Geometry, snapshot: Snapshot) -> tuple[float, float]:
    """Ellipsoidal heights as normal ones, made wider by as much as the height anomaly varies over the box.

    The anomaly is taken at the corners and the middle of what the box and the city have in common.
    """
    if snapshot.city_bounds is None:
        return z
    west, south, east, north = snapshot.city_bounds
    box = shapely.bounds(region)
    west, east = max(west, box[0]), min(east, box[2])
    south, north = max(south, box[1]), min(north, box[3])
    if west > east or south > north:
        return z
    x, y = np.meshgrid(np.linspace(west, east, 5), np.linspace(south, north, 5))
    lon, lat = crs.transform(snapshot.city.config.crs, crs.CRS84, x.ravel(), y.ravel())
    anomaly = snapshot.city.frame.height_model.undulation_m(lon, lat)
    return z[0] - float(anomaly.max()), z[1] - float(anomaly.min())
