"""Where an IFC model lies: from its own statements to a transform local -> map, with every doubt named.

In order of trust: IfcMapConversion / IfcMapConversionScaled / IfcRigidOperation with IfcProjectedCRS (IFC4 and later),
ePSet_MapConversion (IFC2X3), coordinates that are already those of a given CRS, IfcSite latitude and longitude.
Nothing of these: Unplaceable. Map conversion, with (Xa, Xo) normalised and lengths in the units that the file says:

    E = Eastings + s (x Xa - y Xo),  N = Northings + s (x Xo + y Xa),  H = OrthogonalHeight + s z

Spec: IFC 4.3.2 IfcMapConversion, IfcProjectedCRS, IfcSite; buildingSMART, User Guide for Geo-referencing in IFC.
`Scale` also carries the change of unit; writers that leave it out or invert it are common (Autodesk/revit-ifc 784),
so the readings are tried in order and one that differs from the letter of the standard is named in the certificate.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layers import crs
from layers.certificate import Certificate, Method
from layers.errors import InvalidInput, Unplaceable
from layers.source import Hints

FloatArray = NDArray[np.float64]
WGS84 = "EPSG:4326"

DEFAULT_PLACES = {
    "latitude 0, longitude 0": (0.0, 0.0),
    "Boston, the default of Autodesk Revit": (42.3584, -71.0598),
}
ADD_GEOREFERENCE = (
    "Add IfcMapConversion and IfcProjectedCRS to the file, or IfcSite.RefLatitude, RefLongitude and RefElevation."
)
_EPSG = re.compile(r"^\s*(?:urn:ogc:def:crs:)?EPSG\W*(?:[\d.]*:)?\s*(\d{4,6})\s*$", re.IGNORECASE)


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


@dataclass
class _Doubts:
    """Contradictions found on the way, and the numbers used."""

    sentences: list[str] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)


def place(facts: Mapping[str, Any], hints: Hints) -> Placement:
    """The placement of a surveyed model (`ingest.ifc_facts.survey`). Raises Unplaceable or InvalidInput."""
    doubts = _Doubts()
    _check_size(facts, doubts)
    doubts.parameters["project_unit_m"] = facts["unit_m"]
    if facts["conversions"]:
        return _by_conversion(facts, hints, doubts)
    if hints.crs is not None and _already_on_the_map(facts, hints.crs):
        return _as_given(facts, hints, hints.crs, doubts)
    return _by_site(facts, hints, doubts)


# --- map conversion ---------------------------------------------------------------------------------------------


def _by_conversion(facts: Mapping[str, Any], hints: Hints, doubts: _Doubts) -> Placement:
    conversion = facts["conversions"][0]
    if len(facts["conversions"]) > 1 and any(each != conversion for each in facts["conversions"][1:]):
        doubts.sentences.append(
            f"The file has {len(facts['conversions'])} coordinate operations that differ; the one of the Model context is used."
        )
    target, vertical = _projected_crs(conversion["crs"], hints, doubts)
    if conversion.get("measure") == "IfcPlaneAngleMeasure":
        raise Unplaceable(
            "IfcRigidOperation is given in angles, so the local frame is not on a map plane.",
            "Export with IfcMapConversion to a projected CRS.",
            code="IFC_RIGID_OPERATION_IN_DEGREES",
        )
    missing = [name for name in ("eastings", "northings") if conversion[name] is None]
    if missing:
        raise Unplaceable(
            f"The map conversion has no {' and no '.join(missing)}.", ADD_GEOREFERENCE, code="IFC_NO_GEOREFERENCE"
        )
    axis = _axis(conversion)
    unit_m, map_unit_m, factor = _scale(facts, conversion, target, doubts)
    factors = np.array([1.0 if each is None else float(each) for each in conversion.get("factors", [None] * 3)])
    turn = np.array([[axis[0], -axis[1], 0.0], [axis[1], axis[0], 0.0], [0.0, 0.0, 1.0]])
    offset = np.array([conversion["eastings"], conversion["northings"], conversion["height"] or 0.0], np.float64)
    doubts.parameters |= {
        "eastings": conversion["eastings"],
        "northings": conversion["northings"],
        "orthogonal_height": conversion["height"] or 0.0,
        "x_axis_abscissa": axis[0],
        "x_axis_ordinate": axis[1],
        "rotation_deg": math.degrees(math.atan2(axis[1], axis[0])),
        "scale": conversion.get("scale"),
        "map_unit_m": map_unit_m,
        "metres_per_local_metre": factor,
        "operation": conversion["kind"],
    }
    if not np.array_equal(factors, np.ones(3)):
        doubts.parameters["factors"] = factors.tolist()
    placed = _placement(
        "rigid-operation" if conversion["kind"] == "IfcRigidOperation" else "map-conversion",
        (target, vertical or hints.vertical_crs),
        offset * map_unit_m,
        turn @ np.diag(factors * factor),
        doubts,
    )
    _check_doubled(facts, placed, unit_m, doubts)
    _check_area(facts, placed, conversion)
    _compare_with_site(facts, placed, doubts)
    return _with_doubts(placed, doubts)


def _axis(conversion: Mapping[str, Any]) -> tuple[float, float]:
    """(XAxisAbscissa, XAxisOrdinate) as a unit vector; 1, 0 where both are absent."""
    abscissa, ordinate = conversion.get("abscissa"), conversion.get("ordinate")
    if abscissa is None and ordinate is None:
        return 1.0, 0.0
    x, y = float(abscissa or 0.0), float(ordinate or 0.0)
    length = math.hypot(x, y)
    if not (math.isfinite(length) and length > 0):
        raise Unplaceable(
            f"The map conversion's x axis is ({x:g}, {y:g}), which is no direction.",
            "Give XAxisAbscissa and XAxisOrdinate as the cosine and sine of the angle from east to the local x axis.",
            code="IFC_NO_GEOREFERENCE",
        )
    return x / length, y / length


def _scale(
    facts: Mapping[str, Any], conversion: Mapping[str, Any], target: str, doubts: _Doubts
) -> tuple[float, float, float]:
    """Project unit, map unit and map metres per local metre.

    The letter first; then the map unit of the CRS, a Scale without the change of unit, a Scale upside down. The first
    reading that leaves the model's size alone (0.5 to 2) and puts the origin into the CRS's area of use is taken.
    """
    unit_m = float(facts["unit_m"])
    scale = 1.0 if conversion.get("scale") is None else float(conversion["scale"])
    if not (math.isfinite(scale) and scale > 0):
        raise Unplaceable(f"The map conversion's Scale is {scale:g}.", "It must be positive.", code="IFC_SCALE_UNCLEAR")
    stated = conversion["crs"]["map_unit_m"]
    crs_unit_m = crs.metres_per_unit(target)
    units = [(stated, "")] if stated else [(unit_m, ""), (crs_unit_m, f"lengths of the map taken in units of {target}")]
    rigid = conversion["kind"] == "IfcRigidOperation"
    readings = []
    for map_unit_m, unit_note in units:
        exact = map_unit_m / unit_m * scale
        readings += [(map_unit_m, exact if not rigid else 1.0, unit_note)]
        readings += [(map_unit_m, scale, f"{unit_note}; Scale {scale:g} taken without the change of unit".strip("; "))]
        inverse = map_unit_m / unit_m / scale
        readings += [(map_unit_m, inverse, f"{unit_note}; Scale {scale:g} taken upside down".strip("; "))]
    fitting = [each for each in readings if 0.5 <= each[1] <= 2.0]
    if not fitting:
        raise Unplaceable(
            f"Scale {scale:g} with a project unit of {unit_m:g} m and a map unit of {stated or crs_unit_m:g} m would make "
            f"the model {readings[0][1]:g} times as large.",
            f"For this file Scale should be about {unit_m / (stated or crs_unit_m):g}.",
            code="IFC_SCALE_UNCLEAR",
        )
    within = [each for each in fitting if _origin_in_area(conversion, each[0], target)]
    map_unit_m, factor, note = (within or fitting)[0]
    if note:
        doubts.sentences.append(
            f"By the letter of IfcMapConversion the model would be {readings[0][1]:g} times as large "
            f"(Scale {conversion.get('scale')}, project unit {unit_m:g} m, map unit {stated or 'not given'}): {note}."
        )
    elif abs(factor - 1) > 0.01:
        doubts.sentences.append(f"The map conversion makes the model {factor:g} times as large.")
    return unit_m, map_unit_m, factor


def _origin_in_area(conversion: Mapping[str, Any], map_unit_m: float, target: str) -> bool:
    metres = np.array([[conversion["eastings"], conversion["northings"]]], np.float64) * map_unit_m
    return _in_area(target, metres / crs.metres_per_unit(target))


def _projected_crs(found: Mapping[str, Any], hints: Hints, doubts: _Doubts) -> tuple[str, str | None]:
    """Horizontal and vertical CRS of the target; the file's word first, then the hint."""
    texts = [found.get("wkt"), found.get("name")]
    for text in filter(None, texts):
        known = _known_crs(str(text))
        if known is None:
            continue
        if found.get("wkt") and (named := _named(found)) and named != crs.horizontal(known):
            doubts.sentences.append(
                f"IfcProjectedCRS names {named} but its well-known text is {crs.horizontal(known)}."
            )
        vertical = _known_vertical(found.get("vertical_datum")) or crs.vertical(known)
        if crs.is_geographic(known):
            break
        doubts.parameters["projected_crs"] = str(found.get("name"))
        doubts.parameters["vertical_datum"] = found.get("vertical_datum")
        return crs.horizontal(known), vertical
    if hints.crs is not None and not crs.is_geographic(hints.crs):
        doubts.sentences.append(f"The file's CRS {found.get('name')!r} is not known; {hints.crs} was given for it.")
        return crs.horizontal(hints.crs), crs.vertical(hints.crs) or _known_vertical(found.get("vertical_datum"))
    raise Unplaceable(
        f"The map conversion's target CRS {found.get('name')!r} is not a projected CRS that can be looked up.",
        "Name it by its EPSG code (IfcProjectedCRS.Name = 'EPSG:4549') or give `crs` for this file in city.toml.",
        code="IFC_CRS_UNKNOWN",
    )


def _named(found: Mapping[str, Any]) -> str | None:
    for text in (found.get("name"), found.get("description")):
        if text and (match := _EPSG.match(str(text))):
            return f"EPSG:{match[1]}"
    return None


def _known_crs(text: str) -> str | None:
    match = _EPSG.match(text)
    try:
        return crs.name(f"EPSG:{match[1]}" if match else _without_epoch(text))
    except InvalidInput:
        return None


def _without_epoch(text: str) -> str:
    """IFC's well-known text may append an EPOCH member after the definition, which is not part of it."""
    return re.sub(r"\]\s*,?\s*(?:EPOCH|COORDINATEMETADATA)\[[^\]]*\]\s*\]?\s*$", "]", text.strip())


def _known_vertical(text: object) -> str | None:
    if not text:
        return None
    match = _EPSG.match(str(text))
    try:
        found = crs.parse(f"EPSG:{match[1]}" if match else str(text))
    except InvalidInput:
        return None
    return crs.name(f"EPSG:{match[1]}" if match else str(text)) if found.is_vertical else None


# --- coordinates that are already on the map ----------------------------------------------------------------------


def _middle(facts: Mapping[str, Any]) -> FloatArray | None:
    """Median placement origin of the elements, metres in the model's frame."""
    samples = np.array(facts["samples"], np.float64).reshape(-1, 3)
    return np.median(samples, axis=0) * facts["unit_m"] if len(samples) else None


def _already_on_the_map(facts: Mapping[str, Any], given: str) -> bool:
    middle = _middle(facts)
    if middle is None or crs.is_geographic(given):
        return False
    return _in_area(given, middle[None, :2] / crs.metres_per_unit(given))


def _as_given(facts: Mapping[str, Any], hints: Hints, given: str, doubts: _Doubts) -> Placement:
    doubts.parameters["operation"] = "the model's coordinates are map coordinates of the given CRS"
    vertical = crs.vertical(given) or hints.vertical_crs
    placed = _placement("given-crs", (crs.horizontal(given), vertical), np.zeros(3), np.eye(3), doubts)
    _compare_with_site(facts, placed, doubts)
    return _with_doubts(placed, doubts)


# --- latitude and longitude of the site ---------------------------------------------------------------------------


def _by_site(facts: Mapping[str, Any], hints: Hints, doubts: _Doubts) -> Placement:
    """Local origin at IfcSite's latitude and longitude, turned by true north and the convergence of the city's CRS.

    The reference point is the origin of the site's own placement. The model keeps its lengths: the grid scale factor
    of the city's CRS at the site is reported but not applied.
    """
    sites = [each for each in facts["sites"] if each["lat_deg"] is not None and each["lon_deg"] is not None]
    if not sites:
        raise Unplaceable(
            "The file has no IfcMapConversion and its IfcSite has no latitude and longitude.",
            ADD_GEOREFERENCE,
            code="IFC_NO_GEOREFERENCE",
        )
    site = sites[0]
    if len(sites) > 1:
        doubts.sentences.append(f"The file has {len(sites)} sites with positions; the first, {site['guid']}, is used.")
    city = hints.city_crs or hints.crs
    if city is None or crs.is_geographic(city):
        raise Unplaceable(
            "The file gives only latitude and longitude, and the city has no projected CRS to place it in.",
            "Give the city's CRS in city.toml.",
            code="IFC_NO_CITY_CRS",
        )
    lat, lon = site["lat_deg"], site["lon_deg"]
    _refuse_defaults(lat, lon, city)
    elevation = _site_elevation(facts, site, hints)
    east, north, convergence, scale = _grid_at(lat, lon, city)
    turn_rad = -convergence - _true_north_angle(facts["true_north"])
    cosine, sine = math.cos(turn_rad), math.sin(turn_rad)
    matrix = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    origin = np.array(site["origin"] or (0.0, 0.0, 0.0)) * facts["unit_m"]
    unit = crs.metres_per_unit(city)
    offset = np.array([east * unit, north * unit, elevation]) - matrix @ origin
    doubts.parameters |= {
        "ref_latitude_deg": lat,
        "ref_longitude_deg": lon,
        "ref_elevation_m": elevation,
        "true_north": facts["true_north"],
        "convergence_deg": math.degrees(convergence),
        "rotation_deg": math.degrees(turn_rad),
        "grid_scale_factor_not_applied": scale,
        "site_origin_m": origin.tolist(),
    }
    placed = _placement("site-lat-lon", (crs.horizontal(city), hints.vertical_crs), offset, matrix, doubts)
    return _with_doubts(placed, doubts, source_crs=WGS84)


def _site_elevation(facts: Mapping[str, Any], site: Mapping[str, Any], hints: Hints) -> float:
    if site["elevation"] is not None:
        return float(site["elevation"]) * float(facts["unit_m"])
    if "site_elev_m" in hints.values:
        return float(hints.values["site_elev_m"])
    raise Unplaceable(
        "IfcSite has a latitude and longitude but no RefElevation, so the height of the model is unknown.",
        "Set IfcSite.RefElevation, or values = {site_elev_m = ...} for this file in city.toml.",
        code="IFC_NO_SITE_ELEVATION",
    )


def _refuse_defaults(lat: float, lon: float, city: str) -> None:
    inside = _lonlat_in_area(city, lon, lat, margin_deg=1.0)
    for words, (default_lat, default_lon) in DEFAULT_PLACES.items():
        if max(abs(lat - default_lat), abs(lon - default_lon)) < 0.02 and (
            not inside or words.startswith("latitude 0")
        ):
            raise Unplaceable(
                f"IfcSite lies at {words} ({lat:.4f}, {lon:.4f}): nobody has entered its position.",
                ADD_GEOREFERENCE,
                code="IFC_DEFAULT_POSITION",
            )
    if not inside:
        raise Unplaceable(
            f"IfcSite lies at latitude {lat:.4f}, longitude {lon:.4f}, outside the area of {city}.",
            "Check the site's position, or build it into a city that lies there.",
            code="IFC_OUT_OF_AREA",
        )


def _grid_at(lat: float, lon: float, city: str) -> tuple[float, float, float, float]:
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


def _true_north_angle(true_north: tuple[float, float] | None) -> float:
    """Angle from local y to true north, counter-clockwise, radians; 0 where the file does not say."""
    if true_north is None or math.hypot(*true_north) == 0:
        return 0.0
    return math.atan2(true_north[1], true_north[0]) - math.pi / 2


# --- checks -------------------------------------------------------------------------------------------------------


def _lonlat_in_area(target: str, lon: float, lat: float, margin_deg: float) -> bool:
    area = crs.area_of_use(target)
    if not (math.isfinite(lon) and math.isfinite(lat)):
        return False
    if area is None:
        return True
    west, south, east, north = area
    return west - margin_deg <= lon <= east + margin_deg and south - margin_deg <= lat <= north + margin_deg


def _in_area(target: str, en: FloatArray) -> bool:
    lon, lat = crs.transform(target, WGS84, en[:, 0], en[:, 1])
    return _lonlat_in_area(target, float(lon[0]), float(lat[0]), margin_deg=2.0)


def _check_size(facts: Mapping[str, Any], doubts: _Doubts) -> None:
    steps = np.diff(np.unique(np.array(facts["storey_elevations"], np.float64))) * facts["unit_m"]
    steps = steps[steps > 0.5 * facts["unit_m"]]
    if len(steps) and not 1.0 <= float(np.median(steps)) <= 20.0:
        doubts.sentences.append(
            f"Storeys are {float(np.median(steps)):g} m apart by the project unit of {facts['unit_m']:g} m; is the unit right?"
        )
    samples = np.array(facts["samples"], np.float64).reshape(-1, 3)
    if len(samples) > 1:
        size = float(np.ptp(samples[:, :2], axis=0).max()) * facts["unit_m"]
        if size > 20_000:
            doubts.sentences.append(f"The model's elements are spread over {size / 1000:.0f} km; is the unit right?")


def _check_doubled(facts: Mapping[str, Any], placed: Placement, unit_m: float, doubts: _Doubts) -> None:
    """Map coordinates in the model and again in the conversion."""
    middle = _middle(facts)
    offset = placed.offset_m[:2]
    if middle is None or float(np.hypot(*offset)) < 20_000 or float(np.hypot(*middle[:2])) < 20_000:
        return
    if float(np.hypot(*(middle[:2] - offset))) < 0.1 * float(np.hypot(*offset)):
        sentence = (
            f"The elements already lie at ({middle[0]:.0f}, {middle[1]:.0f}) m, and the map conversion adds "
            f"({offset[0]:.0f}, {offset[1]:.0f}) m once more."
        )
        doubts.sentences.append(sentence)
        raise Unplaceable(
            sentence,
            f"Take the offset out of the placements (they are in units of {unit_m:g} m) or out of the map conversion.",
            code="IFC_DOUBLED_OFFSET",
        )


def _check_area(facts: Mapping[str, Any], placed: Placement, conversion: Mapping[str, Any]) -> None:
    middle = _middle(facts)
    at = placed.to_map((np.zeros(3) if middle is None else middle)[None, :])
    if _in_area(placed.crs, at[:, :2]):
        return
    empty = not conversion["eastings"] and not conversion["northings"]
    raise Unplaceable(
        f"The map conversion ({conversion['eastings']:g}, {conversion['northings']:g}) puts the model at E {at[0, 0]:.0f}, "
        f"N {at[0, 1]:.0f}, outside the area of {placed.crs}.",
        "It was never filled in: set Eastings and Northings." if empty else "Check eastings, northings, unit and CRS.",
        code="IFC_DEFAULT_POSITION" if empty else "IFC_OUT_OF_AREA",
    )


def _compare_with_site(facts: Mapping[str, Any], placed: Placement, doubts: _Doubts) -> None:
    """IfcSite's position against the placement: distance, height and north."""
    for site in facts["sites"]:
        lat, lon = site["lat_deg"], site["lon_deg"]
        if lat is None or lon is None or (lat == 0 and lon == 0):
            continue
        origin = np.array(site["origin"] or (0.0, 0.0, 0.0)) * facts["unit_m"]
        at = placed.to_map(origin[None, :])[0]
        east, north = crs.transform(WGS84, placed.crs, np.array([lon]), np.array([lat]))
        metres = float(np.hypot(east[0] - at[0], north[0] - at[1])) * placed.crs_unit_m
        doubts.parameters["site_distance_m"] = round(metres, 3) if math.isfinite(metres) else None
        if not metres <= 100:
            doubts.sentences.append(
                f"IfcSite's latitude and longitude lie {metres:.0f} m from where the coordinate operation puts the site; "
                "the coordinate operation is used."
            )
        elif site["elevation"] is not None and abs(site["elevation"] * facts["unit_m"] - at[2]) > 0.5:
            doubts.sentences.append(
                f"IfcSite.RefElevation is {site['elevation'] * facts['unit_m']:.2f} m but the coordinate operation puts the "
                f"site at {at[2]:.2f} m; the coordinate operation is used."
            )
        if metres <= 100 and facts["true_north"] is not None:
            _compare_north(facts, placed, (lat, lon), doubts)


def _compare_north(facts: Mapping[str, Any], placed: Placement, at: tuple[float, float], doubts: _Doubts) -> None:
    convergence = _grid_at(*at, placed.crs)[2]
    expected = math.degrees(-convergence - _true_north_angle(facts["true_north"]))
    used = math.degrees(math.atan2(placed.matrix[1, 0], placed.matrix[0, 0]))
    difference = abs((used - expected + 180) % 360 - 180)
    doubts.parameters["true_north_difference_deg"] = round(difference, 4)
    if difference > 1:
        doubts.sentences.append(
            f"By TrueNorth and the convergence the local x axis lies at {expected:.2f} degrees from grid east, by the "
            f"coordinate operation at {used:.2f}; the coordinate operation is used."
        )


# --- result -------------------------------------------------------------------------------------------------------


def _placement(
    method: Method, target: tuple[str, str | None], offset_m: FloatArray, matrix: FloatArray, doubts: _Doubts
) -> Placement:
    certificate = Certificate(method=method, parameters=doubts.parameters)
    return Placement(target[0], target[1], offset_m, matrix, crs.metres_per_unit(target[0]), certificate)


def _with_doubts(placed: Placement, doubts: _Doubts, *, source_crs: str | None = None) -> Placement:
    certificate = Certificate(
        method=placed.certificate.method,
        source_crs=source_crs or placed.crs,
        source_vertical_crs=placed.vertical_crs,
        parameters=doubts.parameters | {"offset_m": placed.offset_m.tolist(), "matrix": placed.matrix.tolist()},
        contradictions=tuple(doubts.sentences),
    )
    return Placement(placed.crs, placed.vertical_crs, placed.offset_m, placed.matrix, placed.crs_unit_m, certificate)
