"""IfcMapConversion, IfcMapConversionScaled, IfcRigidOperation and ePSet_MapConversion as a placement.

With (Xa, Xo) normalised and lengths in the units that the file says:

    E = Eastings + s (x Xa - y Xo),  N = Northings + s (x Xo + y Xa),  H = OrthogonalHeight + s z

Spec: IFC 4.3.2 IfcMapConversion; buildingSMART, User Guide for Geo-referencing in IFC. `Scale` also carries the change
of unit; writers that leave it out or turn it upside down are common (Autodesk/revit-ifc 784), so the readings are tried
in order and one that differs from the letter of the standard is named in the certificate.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ingest.ifc.crs import projected_crs
from ingest.ifc.doubts import check_area, check_doubled, compare_with_site
from ingest.ifc.geographic import by_angles
from ingest.ifc.placement import ADD_GEOREFERENCE, Doubts, Facts, Placement, affine, certified, in_area
from layers import crs
from layers.errors import Unplaceable
from layers.source import Hints


def by_conversion(facts: Facts, hints: Hints, doubts: Doubts) -> Placement:
    """Placement by the coordinate operation of the Model context. Raises Unplaceable."""
    conversion = facts["conversions"][0]
    if len(facts["conversions"]) > 1 and any(each != conversion for each in facts["conversions"][1:]):
        count = len(facts["conversions"])
        doubts.sentences.append(f"The file has {count} coordinate operations that differ; that of the Model is used.")
    if "PlaneAngle" in (conversion.get("measure") or ""):
        return by_angles(facts, conversion, hints, doubts)
    target, vertical = projected_crs(conversion["crs"], hints, doubts)
    missing = [name for name in ("eastings", "northings") if conversion[name] is None]
    if missing:
        raise Unplaceable(
            f"The map conversion has no {' and no '.join(missing)}.", ADD_GEOREFERENCE, code="IFC_NO_GEOREFERENCE"
        )
    axis = _axis(conversion)
    map_unit_m, factor = _scale(facts, conversion, target, doubts)
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
    placed = affine(
        "rigid-operation" if conversion["kind"] == "IfcRigidOperation" else "map-conversion",
        (target, vertical or hints.vertical_crs),
        offset * map_unit_m,
        turn @ np.diag(factors * factor),
        doubts,
    )
    check_doubled(facts, placed, doubts)
    check_area(facts, placed, float(conversion["eastings"]), float(conversion["northings"]))
    compare_with_site(facts, placed, doubts)
    return certified(placed, doubts)


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


def _scale(facts: Facts, conversion: Mapping[str, Any], target: str, doubts: Doubts) -> tuple[float, float]:
    """Map unit in metres, and map metres per local metre.

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
            f"Scale {scale:g} with a project unit of {unit_m:g} m and a map unit of {stated or crs_unit_m:g} m would "
            f"make the model {readings[0][1]:g} times as large.",
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
    return map_unit_m, factor


def _origin_in_area(conversion: Mapping[str, Any], map_unit_m: float, target: str) -> bool:
    metres = np.array([[conversion["eastings"], conversion["northings"]]], np.float64) * map_unit_m
    return in_area(target, metres / crs.metres_per_unit(target))
