"""What a parsed IFC file says about its place: positions, north, sites, coordinate operations. Runs in the worker."""

import math
from typing import Any

import ifcopenshell.util.element as element_util
import ifcopenshell.util.unit as unit_util

from ingest.ifc.frames import Matrix, axis_placement, local_placement
from ingest.ifc.relations import get

_N_SAMPLES = 200

_UNIT_WORDS = {"METRE": 1.0, "METER": 1.0, "M": 1.0, "MILLIMETRE": 0.001, "MILLIMETER": 0.001, "MM": 0.001}

_UNIT_WORDS |= {"FOOT": 0.3048, "FT": 0.3048, "US SURVEY FOOT": 1200 / 3937}


def sample_positions(products: list[Any]) -> list[tuple[float, float, float]]:
    """Origins of up to 200 element placements in project units: where in the local frame the model lies."""
    step = max(1, len(products) // _N_SAMPLES)
    found = []
    memory: dict[int, Matrix] = {}
    for product in products[::step]:
        origin = _origin(product, memory)
        if origin is not None:
            found.append(origin)
    return found


def _origin(product: Any, memory: dict[int, Matrix] | None = None) -> tuple[float, float, float] | None:
    placement = product.ObjectPlacement
    if placement is None or not placement.is_a("IfcLocalPlacement"):
        return None
    try:
        x, y, z = (row[3] for row in local_placement(placement, {} if memory is None else memory)[:3])
    except (AttributeError, TypeError, ValueError, IndexError, RecursionError):
        return None
    return (x, y, z) if all(map(math.isfinite, (x, y, z))) else None


def _degrees(compound: Any) -> float | None:
    """IfcCompoundPlaneAngleMeasure: degrees, minutes, seconds and millionths; all parts carry the sign."""
    if compound is None or len(compound) < 3:
        return None
    parts = [float(v) for v in compound]
    sign = -1.0 if any(v < 0 for v in parts) else 1.0
    size = [abs(v) for v in parts] + [0.0]
    return sign * (size[0] + size[1] / 60 + (size[2] + size[3] / 1e6) / 3600)


def site(site: Any) -> dict[str, Any]:
    """Position of one IfcSite: degrees, elevation and origin of its placement in project units."""
    return {
        "guid": site.GlobalId,
        "lat_deg": _degrees(site.RefLatitude),
        "lon_deg": _degrees(site.RefLongitude),
        "elevation": None if site.RefElevation is None else float(site.RefElevation),
        "origin": _origin(site),
    }


def _model_contexts(model: Any) -> list[Any]:
    contexts = model.by_type("IfcGeometricRepresentationContext", include_subtypes=False)
    return sorted(contexts, key=lambda each: (each.ContextType != "Model", each.id()))


def true_north(model: Any) -> tuple[float, float] | None:
    """TrueNorth of the Model context in the local x-y plane, None where it is not given."""
    for context in _model_contexts(model):
        if context.TrueNorth is not None:
            x, y = (float(v) for v in context.TrueNorth.DirectionRatios[:2])
            return x, y
    return None


def world_system(model: Any) -> list[list[float]] | None:
    """The context's WorldCoordinateSystem as 4 x 4 in project units when that is not the identity."""
    for context in _model_contexts(model):
        system = context.WorldCoordinateSystem
        if system is not None and system.is_a("IfcAxis2Placement3D"):
            found = [list(row) for row in axis_placement(system)]
            identity = all(abs(found[i][j] - (i == j)) < 1e-12 for i in range(4) for j in range(4))
            return None if identity else found
    return None


def conversions(model: Any) -> list[dict[str, Any]]:
    """Coordinate operations with their target CRS, that of the Model context first."""
    if model.schema == "IFC2X3":
        return _property_set_conversions(model)
    found = []
    for operation in model.by_type("IfcCoordinateOperation"):
        source = operation.SourceCRS
        facts: dict[str, Any] = {"kind": operation.is_a(), "crs": _crs(operation.TargetCRS)}
        facts["context"] = get(source, "ContextType")
        if operation.is_a("IfcMapConversion"):
            facts |= {
                "eastings": operation.Eastings,
                "northings": operation.Northings,
                "height": operation.OrthogonalHeight,
                "abscissa": operation.XAxisAbscissa,
                "ordinate": operation.XAxisOrdinate,
                "scale": operation.Scale,
                "factors": [get(operation, f"Factor{axis}") for axis in "XYZ"],
            }
        elif operation.is_a("IfcRigidOperation"):
            first, second = operation.FirstCoordinate, operation.SecondCoordinate
            facts |= {
                "eastings": first.wrappedValue,
                "northings": second.wrappedValue,
                "height": operation.Height or 0.0,
            }
            facts["measure"] = first.is_a()
            unit = get(operation.TargetCRS, "AngleUnit")
            facts["angle_rad"] = float(
                unit_util.calculate_unit_scale(model, "PLANEANGLEUNIT")
                if unit is None
                else unit_util.get_named_unit_scale(unit)
            )
        found.append(facts)
    return sorted(found, key=lambda each: each["context"] != "Model")


def _crs(crs: Any) -> dict[str, Any]:
    unit, height = get(crs, "MapUnit"), get(crs, "HeightUnit")
    texts = [each.WellKnownText for each in get(crs, "WellKnownText") or ()]
    return {
        "class": crs.is_a(),
        "name": crs.Name,
        "description": crs.Description,
        "vertical_datum": get(crs, "VerticalDatum"),
        "map_projection": get(crs, "MapProjection"),
        "map_zone": get(crs, "MapZone"),
        "map_unit_m": None if unit is None else float(unit_util.get_named_unit_scale(unit)),
        "height_unit_m": None if height is None else float(unit_util.get_named_unit_scale(height)),
        "wkt": texts[0] if texts else None,
    }


def _property_set_conversions(model: Any) -> list[dict[str, Any]]:
    """IFC2X3: property sets ePSet_MapConversion and ePSet_ProjectedCRS on the project or the site.

    buildingSMART, User Guide for Geo-referencing in IFC 2.0, section on IFC2X3.
    """
    for holder in [*model.by_type("IfcProject"), *model.by_type("IfcSite"), *model.by_type("IfcBuilding")]:
        sets = {name.casefold(): values for name, values in element_util.get_psets(holder).items()}
        conversion = sets.get("epset_mapconversion")
        if not conversion:
            continue
        crs = sets.get("epset_projectedcrs", {})
        unit = str(crs.get("MapUnit") or "").upper()
        return [
            {
                "kind": "ePSet_MapConversion",
                "context": "Model",
                "eastings": conversion.get("Eastings"),
                "northings": conversion.get("Northings"),
                "height": conversion.get("OrthogonalHeight"),
                "abscissa": conversion.get("XAxisAbscissa"),
                "ordinate": conversion.get("XAxisOrdinate"),
                "scale": conversion.get("Scale"),
                "factors": [None, None, None],
                "crs": {
                    "class": "ePSet_ProjectedCRS",
                    "name": crs.get("Name") or conversion.get("TargetCRS"),
                    "description": crs.get("Description"),
                    "vertical_datum": crs.get("VerticalDatum"),
                    "map_projection": crs.get("MapProjection"),
                    "map_zone": crs.get("MapZone"),
                    "map_unit_m": _UNIT_WORDS.get(unit),
                    "wkt": None,
                },
            }
        ]
    return []
