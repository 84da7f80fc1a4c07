"""Coordinate reference systems: the only importer of pyproj.

Inside the house x is always east or longitude and y always north or latitude (`always_xy`). On the wire the axis
order is the one the CRS declares: `is_north_first` tells which, `swap_axes` does it. All CGCS2000 codes are
north-first. See EPSG registry and OGC 18-058r1 (Features part 2) for the URIs.
"""

import re
import warnings
from functools import lru_cache
from threading import Lock
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Geod, Transformer
from pyproj.database import query_crs_info
from pyproj.enums import PJType
from pyproj.exceptions import CRSError, ProjError
from pyproj.transformer import TransformerGroup

from layers.errors import InvalidInput

FloatArray = NDArray[np.float64]
Bounds = tuple[float, float, float, float]

CRS84 = "OGC:CRS84"
CRS84_URI = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
CRS84H_URI = "http://www.opengis.net/def/crs/OGC/0/CRS84h"
_QUIETLY = Lock()
CGCS2000 = "EPSG:4490"
WGS84 = "EPSG:4326"
"""What 3D Tiles, terrain and viewers are in. From CGCS2000 the step is zero (PROJ: no shift known, decimetres at most);
from an older datum it is a real one, which a step to CGCS2000 would often lack."""
CGCS2000_GEOD = Geod(a=6378137.0, rf=298.257222101)
"""Ellipsoid of CGCS2000; survey areas are taken on it."""

_EPSG_URI = re.compile(r"^https?://www\.opengis\.net/def/crs/EPSG/[^/]*/(\d+)$", re.IGNORECASE)
_URN = re.compile(r"^urn:ogc:def:crs:(EPSG|OGC):[^:]*:(\w+)$", re.IGNORECASE)
_CURIE = re.compile(r"^\[?(EPSG|OGC):(\w+)\]?$", re.IGNORECASE)


@lru_cache(maxsize=512)
def parse(text: str) -> CRS:
    """CRS from a code, URI, URN, WKT or PROJ string. Raises InvalidInput when it is none of these."""
    cleaned = text.strip()
    if len(cleaned) > 20_000:
        raise InvalidInput("The CRS definition is longer than 20,000 characters.", "Give an EPSG code instead.")
    if cleaned.rstrip("/") == CRS84_URI or cleaned == "CRS84":
        cleaned = CRS84
    elif match := _EPSG_URI.match(cleaned):
        cleaned = f"EPSG:{match[1]}"
    elif (match := _URN.match(cleaned)) or (match := _CURIE.match(cleaned)):
        cleaned = f"{match[1].upper()}:{match[2]}"
    try:
        return CRS.from_user_input(cleaned)
    except (CRSError, ProjError) as error:
        short = cleaned if len(cleaned) <= 80 else cleaned[:77] + "..."
        raise InvalidInput(
            f"{short!r} is not a coordinate reference system.", "Use a code such as EPSG:4549."
        ) from error


@lru_cache(maxsize=512)
def name(text: str) -> str:
    """Shortest exact spelling: `EPSG:4549` where an authority code exists with certainty, else the WKT."""
    crs = parse(text)
    if crs.is_compound:
        parts = [name(sub.to_wkt()) for sub in crs.sub_crs_list]
        if all(part.startswith("EPSG:") for part in parts):
            return parts[0] + "+" + "+".join(part.removeprefix("EPSG:") for part in parts[1:])
    for confidence in (100, 70):
        authority = crs.to_authority(min_confidence=confidence)
        if authority:
            return ":".join(authority)
    return crs.to_wkt()


def horizontal(text: str) -> str:
    """The horizontal part of a compound CRS, or the CRS itself."""
    crs = parse(text)
    if crs.is_compound:
        return name(crs.sub_crs_list[0].to_wkt())
    return name(crs.to_2d().to_wkt()) if len(crs.axis_info) == 3 else name(text)


def vertical(text: str) -> str | None:
    """The vertical part of a compound CRS, or None."""
    crs = parse(text)
    return name(crs.sub_crs_list[1].to_wkt()) if crs.is_compound and len(crs.sub_crs_list) > 1 else None


def is_ellipsoidal(text: str) -> bool:
    """True for a CRS with a third axis of its own, such as EPSG:4979: its heights are above the ellipsoid."""
    crs = parse(text)
    return not crs.is_compound and not crs.is_vertical and not crs.is_geocentric and len(crs.axis_info) == 3


def metres_per_height(text: str) -> float:
    """Metres in one unit of the third axis, negative where it points down (depths); 1 where there is none."""
    axis = parse(text).axis_info[-1]
    if axis.direction.lower() not in {"up", "down"}:
        return 1.0
    return float(axis.unit_conversion_factor) * (-1.0 if axis.direction.lower() == "down" else 1.0)


@lru_cache(maxsize=64)
def in_metres(text: str) -> str | None:
    """A projected or vertical CRS itself where its unit is the metre, else its twin in metres, or None without one.

    The registry names such twins alike but for the unit in brackets: `NAVD88 height (ftUS)`, `NAVD88 height`.
    """
    own = parse(text)
    unit = metres_per_height if own.is_vertical else metres_per_unit
    if abs(unit(text) - 1) < 1e-12:
        return name(text)
    wanted = re.sub(r" \([A-Za-z]+\)$", "", own.name)
    kind = PJType.VERTICAL_CRS if own.is_vertical else PJType.PROJECTED_CRS
    for each in query_crs_info(auth_name="EPSG", pj_types=[kind]):
        found = f"EPSG:{each.code}"
        if each.name == wanted and abs(unit(found) - 1) < 1e-12 and parse(found).datum == own.datum:
            return found
    return None


def uri(text: str) -> str:
    """The OGC URI that goes into `crs`, `storageCrs` and `Content-Crs`."""
    short = name(text)
    if short in {CRS84, "OGC:CRS84h"}:
        return CRS84_URI if short == CRS84 else CRS84H_URI
    authority, _, code = short.partition(":")
    if authority != "EPSG" or not code.isdigit():
        raise InvalidInput(f"{parse(text).name!r} has no EPSG code, so it has no URI.", "Ask for another CRS.")
    return f"http://www.opengis.net/def/crs/EPSG/0/{code}"


def is_north_first(text: str) -> bool:
    """True if the first axis on the wire is north (latitude or northing). EPSG:4490 and EPSG:4549 are."""
    axes = parse(text).axis_info
    return bool(axes) and axes[0].direction.lower() == "north"


def is_geographic(text: str) -> bool:
    """True if coordinates are degrees."""
    return bool(parse(text).is_geographic)


def metres_per_unit(text: str) -> float:
    """Metres in one horizontal unit of a projected CRS. Raises InvalidInput for degrees."""
    crs = parse(text)
    if crs.is_geographic or not crs.axis_info:
        raise InvalidInput(f"{name(text)} is not a projected CRS.", "Use one in metres, such as EPSG:4549.")
    return float(crs.axis_info[0].unit_conversion_factor)


def _ways(source: CRS, target: CRS) -> TransformerGroup:
    """All ways that PROJ knows. One that lacks a grid is no warning: the next is taken, and the accuracy says so."""
    with _QUIETLY, warnings.catch_warnings():  # warnings' filters belong to all threads
        warnings.simplefilter("ignore", UserWarning)
        return TransformerGroup(source, target, always_xy=True)


@lru_cache(maxsize=256)
def transformer(source: str, target: str) -> Transformer:
    """East-first transformer between two horizontal CRSs. Heights pass through untouched (see `layers.heights`).

    Where PROJ knows one way only, the transformer is made from that way's pipeline: pyproj makes each transformer anew
    in every thread, and looking for the ways takes up to 1.4 s (EPSG:4549 to CRS84), writing one down 0.3 ms.
    """
    ends = parse(horizontal(source)), parse(horizontal(target))
    ways = _ways(*ends)
    if len(ways.transformers) == 1 and not ways.unavailable_operations:
        return Transformer.from_pipeline(ways.transformers[0].definition)
    return Transformer.from_crs(*ends, always_xy=True)


def transform(source: str, target: str, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Transform east/north arrays of any equal shape. A point that cannot be transformed becomes inf."""
    if horizontal(source) == horizontal(target):
        return np.asarray(x, np.float64), np.asarray(y, np.float64)
    east, north = transformer(source, target).transform(x, y, errcheck=False)
    return np.asarray(east, np.float64), np.asarray(north, np.float64)


def transform_geometries(source: str, target: str, geometries: NDArray[np.object_]) -> NDArray[np.object_]:
    """Transform shapely geometries in bulk; z is kept as it is. None stays None."""
    if horizontal(source) == horizontal(target):
        return geometries

    def project(xyz: FloatArray) -> FloatArray:
        out = np.array(xyz, np.float64)
        out[:, 0], out[:, 1] = transform(source, target, out[:, 0], out[:, 1])
        return out

    return np.asarray(_transform_keeping_z(geometries, project), dtype=object)


def _transform_keeping_z(geometries: NDArray[np.object_], project: Any) -> Any:
    has_z = shapely.has_z(geometries)
    out = np.array(geometries, dtype=object)
    for dimension, chosen in ((False, ~has_z), (True, has_z)):
        if chosen.any():
            out[chosen] = shapely.transform(out[chosen], project, include_z=dimension)
    return out


def swap_axes(geometries: NDArray[np.object_]) -> NDArray[np.object_]:
    """East-first geometries as north-first ones, or the reverse. For the wire only."""

    def swap(xyz: FloatArray) -> FloatArray:
        out = np.array(xyz)
        out[:, [0, 1]] = out[:, [1, 0]]
        return out

    return np.asarray(_transform_keeping_z(geometries, swap), dtype=object)


def transform_box(source: str, target: str, box: Bounds, points_per_edge: int = 32) -> shapely.Polygon:
    """A box as its true outline in another CRS.

    The outline is densified before it is transformed: the corners alone cut off what lies beyond the curved edges.
    The polygon's deviation from the true curve is the sagitta of 1/32 of an edge.
    """
    west, south, east, north = box
    outline = shapely.box(west, south, east, north)
    if west != east or south != north:  # GEOS refuses to densify a ring that is one point: the box of a lone point
        outline = shapely.segmentize(outline, _step(box, points_per_edge))
    placed = transform_geometries(source, target, np.array([outline], dtype=object))[0]
    if not np.isfinite(shapely.get_coordinates(placed)).all():
        raise InvalidInput(f"The box {box} does not fit into {name(target)}.", "Ask for a smaller box.")
    return placed


def transform_bounds(source: str, target: str, box: Bounds) -> Bounds:
    """Bounds of the densified outline of `box` in another CRS."""
    west, south, east, north = (float(v) for v in transform_box(source, target, box).bounds)
    return west, south, east, north


def _step(box: Bounds, points_per_edge: int) -> float:
    longest = max(box[2] - box[0], box[3] - box[1])
    return max(longest / points_per_edge, 1e-12)


def accuracy_m(source: str, target: str) -> float | None:
    """What PROJ states as the accuracy of the best transformation, in metres; None where it states none."""
    stated = _best(horizontal(source), horizontal(target)).accuracy
    return float(stated) if stated is not None and stated >= 0 else None


def description(source: str, target: str) -> str:
    """PROJ's words for the transformation used, for the placement certificate."""
    return str(_best(horizontal(source), horizontal(target)).description)


@lru_cache(maxsize=256)
def _best(source: str, target: str) -> Transformer:
    """The first candidate; where there are several, a plain transformer only decides (and tells) point by point."""
    group = _ways(parse(source), parse(target))
    return group.transformers[0] if group.transformers else transformer(source, target)


def area_of_use(text: str) -> Bounds | None:
    """West, south, east, north in degrees of the area the registry gives the CRS for, or None."""
    area = parse(text).area_of_use
    return None if area is None else (area.west, area.south, area.east, area.north)


def gauss_zones(text: str) -> tuple[frozenset[int], int | None] | None:
    """Zone numbers (3 and 6 degrees wide) that a Gauss-Krüger CRS may have by its meridian, and the one its eastings
    begin with, or None for eastings without; None for any other CRS.

    Zone n of 3 degrees lies around 3n degrees east, of 6 degrees around 6n - 3 (GB/T 17278).
    """
    operation = parse(horizontal(text)).coordinate_operation
    if operation is None or not operation.method_name.startswith("Transverse Mercator"):
        return None
    values = {each.name: each.value for each in operation.params}
    meridian, false_east_m = values.get("Longitude of natural origin"), values.get("False easting")
    if meridian is None or false_east_m is None or meridian % 3:
        return None
    prefix = int(false_east_m // 1e6)
    if prefix:
        return frozenset({prefix}), prefix
    numbers = {meridian / 3, (meridian + 3) / 6}
    return frozenset(int(each) for each in numbers if each == int(each)), None


def with_zone(x: FloatArray, zones: frozenset[int], prefix: int | None) -> FloatArray:
    """Eastings whose zone number is one of `zones`, or that have none, with `prefix` (None: without) instead.

    An easting of another zone is not in this CRS and stays as it is.
    """
    number = np.floor(x / 1e6)
    fits = (number == 0) | np.isin(number, sorted(zones))
    return np.asarray(np.where(fits, x - number * 1e6 + (prefix or 0) * 1e6, x))


def scale_and_convergence(text: str, lon_deg: float, lat_deg: float) -> tuple[float, float, float]:
    """Scale of lengths along the meridian, convergence in degrees (grid north from true north) and area factor.

    By PROJ at a point of the CRS's own datum.
    """
    from pyproj import Proj

    found = Proj(parse(horizontal(text))).get_factors(lon_deg, lat_deg)
    return float(found.meridional_scale), float(found.meridian_convergence), float(found.areal_scale)
