"""IfcRigidOperation in angles: the local origin at a longitude and latitude of an IfcGeographicCRS.

The operation only shifts (IFC 4.3.2 IfcRigidOperation), so the local y axis points to true north there; in the city's
CRS it is turned by the convergence. First and second coordinate follow the axes of the target CRS, and angles are in
its AngleUnit or else the project's. Writers who put the longitude first, or degrees where radians are declared, are
recognised by the area of the city's CRS, and named.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ingest.ifc.crs import city_crs, geographic_crs
from ingest.ifc.doubts import compare_with_site
from ingest.ifc.placement import WGS84, Doubts, Facts, Placement, affine, certified, grid_at, lonlat_in_area
from layers import crs
from layers.errors import Unplaceable
from layers.source import Hints


def by_angles(facts: Facts, conversion: Mapping[str, Any], hints: Hints, doubts: Doubts) -> Placement:
    """Placement in the city's CRS. Raises Unplaceable; lengths are kept, the grid's scale is told and not applied."""
    source, vertical = geographic_crs(conversion["crs"])
    city = city_crs(hints, "The model is placed by longitude and latitude")
    lon, lat = _lon_lat(conversion, source, city, doubts)
    at = [np.array([each]) for each in (lon, lat)]
    east, north = (float(each[0]) for each in crs.transform(source, crs.horizontal(city), *at))
    lon84, lat84 = (float(each[0]) for each in crs.transform(source, WGS84, *at))
    _, _, convergence, scale = grid_at(lat84, lon84, city)
    cosine, sine = math.cos(-convergence), math.sin(-convergence)
    matrix = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    unit = crs.metres_per_unit(city)
    height = float(conversion["height"] or 0.0) * (conversion["crs"].get("height_unit_m") or facts["unit_m"])
    doubts.parameters |= {
        "operation": conversion["kind"],
        "geographic_crs": source,
        "longitude_deg": lon,
        "latitude_deg": lat,
        "height_m": height,
        "convergence_deg": math.degrees(convergence),
        "rotation_deg": -math.degrees(convergence),
        "grid_scale_factor_not_applied": scale,
    }
    target = (crs.horizontal(city), vertical or hints.vertical_crs)
    placed = affine("rigid-operation", target, np.array([east * unit, north * unit, height]), matrix, doubts)
    compare_with_site(facts, placed, doubts)
    return certified(placed, doubts, source_crs=source)


def _lon_lat(conversion: Mapping[str, Any], source: str, city: str, doubts: Doubts) -> tuple[float, float]:
    """The first reading that lies in the area of the city: by the letter, axes exchanged, angles taken as degrees."""
    first, second = float(conversion["eastings"]), float(conversion["northings"])
    by_unit = math.degrees(float(conversion["angle_rad"]))
    is_north_first = crs.is_north_first(source)
    tried = []
    for factor, unit_note in ((by_unit, ""), (1.0, "angles taken as degrees")):
        for north_first, axis_note in ((is_north_first, ""), (not is_north_first, "the two coordinates exchanged")):
            lat, lon = (first, second) if north_first else (second, first)
            notes = "; ".join(filter(None, (unit_note, axis_note)))
            tried.append((lon * factor, lat * factor, notes))
    for lon, lat, notes in tried:
        if abs(lat) <= 90 and abs(lon) <= 360 and lonlat_in_area(city, lon, lat, margin_deg=1.0):
            if notes:
                doubts.sentences.append(
                    f"By the letter the IfcRigidOperation ({first:.12g}, {second:.12g}) lies outside the area of "
                    f"{city}: {notes}."
                )
            return lon, lat
    raise Unplaceable(
        f"The IfcRigidOperation puts the model at longitude {tried[0][0]:.6g}, latitude {tried[0][1]:.6g}, outside the "
        f"area of {city}.",
        "Check its coordinates and their unit, or build it into a city that lies there.",
        code="IFC_OUT_OF_AREA",
    )
