"""IfcSite's latitude, longitude and elevation as a placement in the city's CRS.

The reference point is the origin of the site's own placement (IFC 4.3.2 IfcSite). Where nobody has entered a position,
programs write a default: such places are refused by name.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ingest.ifc.crs import city_crs
from ingest.ifc.placement import (
    ADD_GEOREFERENCE,
    WGS84,
    Doubts,
    Facts,
    Placement,
    affine,
    certified,
    grid_at,
    lonlat_in_area,
    true_north_angle,
)
from layers import crs
from layers.errors import Unplaceable
from layers.source import Hints

DEFAULT_PLACES = {
    "latitude 0, longitude 0": (0.0, 0.0),
    "Boston, the default of Autodesk Revit": (42.3584, -71.0598),
    "London, a default of authoring programs": (51.5074, -0.1278),
    "Moscow, a default of authoring programs": (55.7522, 37.6156),
    "Tokyo, a default of authoring programs": (35.7, 139.7667),
    "Chicago, a default of authoring programs": (41.8744, -87.6394),
    "Budapest, a default of authoring programs": (47.4979, 19.0402),
}


def by_site(facts: Facts, hints: Hints, doubts: Doubts) -> Placement:
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
    city = city_crs(hints, "The file gives only latitude and longitude")
    lat, lon = site["lat_deg"], site["lon_deg"]
    _refuse_defaults(lat, lon, city)
    elevation = _site_elevation(facts, site, hints)
    if facts["unit_m"] < 0.1 and 0 < abs(elevation) < 1 and site["elevation"] is not None:
        doubts.sentences.append(
            f"IfcSite.RefElevation {site['elevation']:g} in project units is {elevation:g} m; were metres meant?"
        )
    east, north, convergence, scale = grid_at(lat, lon, city)
    turn_rad = -convergence - true_north_angle(facts["true_north"])
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
    placed = affine("site-lat-lon", (crs.horizontal(city), hints.vertical_crs), offset, matrix, doubts)
    return certified(placed, doubts, source_crs=WGS84)


def _site_elevation(facts: Facts, site: Mapping[str, Any], hints: Hints) -> float:
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
    inside = lonlat_in_area(city, lon, lat, margin_deg=1.0)
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
