"""What a parsed IFC file says about itself: products, attribute rows, and everything that bears on its place.

Runs inside the worker process only (`ingest.ifc_worker`), because the parser and the kernels can kill the process
they run in. Everything returned is plain Python data. Which classes count: an *element* is an IfcElement that is
neither an IfcFeatureElement (openings, voids, projections) nor an IfcVirtualElement; *spatial* is every
IfcSpatialElement (IFC2X3: IfcSpatialStructureElement), spaces, sites, storeys, facilities and their parts.
"""

import json
import math
from collections import Counter
from typing import Any

import ifcopenshell
import ifcopenshell.util.element as element_util
import ifcopenshell.util.placement as placement_util
import ifcopenshell.util.unit as unit_util

BODY_TYPES = {"Curve2D", "Curve3D", "Point", "PointCloud", "Annotation2D", "GeometricCurveSet", "BoundingBox"}
"""Representation types without surfaces: a product that has no other kind has no body to mesh."""

_N_SAMPLES = 200


def elements(model: Any) -> list[Any]:
    """Every product that counts as an element, in the order of the file."""
    chosen = [
        each
        for each in model.by_type("IfcElement")
        if not each.is_a("IfcFeatureElement") and not each.is_a("IfcVirtualElement")
    ]
    return sorted(chosen, key=lambda each: each.id())


def spatial(model: Any) -> list[Any]:
    """Every spatial element, in the order of the file."""
    root = "IfcSpatialStructureElement" if model.schema == "IFC2X3" else "IfcSpatialElement"
    return sorted(model.by_type(root), key=lambda each: each.id())


def has_body(product: Any) -> bool:
    """True if some representation of the product could have surfaces."""
    definition = product.Representation
    if definition is None:
        return False
    return any(
        each.Items and each.RepresentationType not in BODY_TYPES and each.RepresentationIdentifier != "Box"
        for each in definition.Representations
        if each.is_a("IfcShapeRepresentation")
    )


def survey(model: Any) -> dict[str, Any]:
    """Schema, unit, products and place of a model, as plain data; lengths in project units unless named `_m`."""
    chosen = elements(model)
    return {
        "schema": model.schema_identifier,
        "application": [str(each.ApplicationFullName) for each in model.by_type("IfcApplication")][:3],
        "unit_m": float(unit_util.calculate_unit_scale(model)),
        "n_instances": len(model.entity_names()),
        "n_projects": len(model.by_type("IfcProject")),
        "elements": [(each.id(), each.GlobalId, has_body(each)) for each in chosen],
        "spatial": [(each.id(), each.GlobalId, has_body(each)) for each in spatial(model)],
        "n_features": len(model.by_type("IfcFeatureElement")),
        "n_virtual": len(model.by_type("IfcVirtualElement")),
        "others": _others(model),
        "samples": _sample_positions(chosen),
        "storey_elevations": [
            float(e.Elevation) for e in model.by_type("IfcBuildingStorey") if e.Elevation is not None
        ],
        "sites": [_site(each) for each in model.by_type("IfcSite")],
        "true_north": _true_north(model),
        "world_origin": _world_origin(model),
        "conversions": _conversions(model),
    }


def _others(model: Any) -> dict[str, int]:
    """Products that are neither elements nor spatial (alignments, grids, ports, annotations ...), by class."""
    known = {e.id() for e in [*model.by_type("IfcElement"), *spatial(model)]}
    return dict(Counter(e.is_a() for e in model.by_type("IfcProduct") if e.id() not in known))


def row(product: Any) -> dict[str, Any]:
    """Identity, classification and property sets of one product."""
    kind = element_util.get_type(product)
    parent = _parent(product)
    return {
        "id": product.id(),
        "ifc_guid": product.GlobalId,
        "ifc_class": product.is_a(),
        "name": product.Name,
        "long_name": getattr(product, "LongName", None),
        "description": product.Description,
        "object_type": product.ObjectType,
        "predefined_type": element_util.get_predefined_type(product),
        "tag": getattr(product, "Tag", None),
        "type_name": kind.Name if kind is not None else None,
        "storey": _storey(product),
        "system": "; ".join(_systems(product)) or None,
        "parent_id": parent.GlobalId if parent is not None and not parent.is_a("IfcProject") else None,
        "ancestors": _ancestors(product),
        "has_parts": bool(element_util.get_parts(product)),
        "cim_level": _cim_level(product),
        "psets": _property_sets(product),
    }


def _parent(product: Any) -> Any:
    return (
        element_util.get_aggregate(product)
        or element_util.get_nest(product)
        or element_util.get_container(product, should_get_direct=True)
    )


def _ancestors(product: Any) -> list[str]:
    """GlobalIds from the parent upwards, without the project; a cycle ends the climb."""
    found: list[str] = []
    parent = _parent(product)
    while parent is not None and not parent.is_a("IfcProject") and parent.GlobalId not in found:
        found.append(parent.GlobalId)
        parent = _parent(parent)
    return found


def _storey(product: Any) -> str | None:
    seen: set[int] = set()
    parent = _parent(product)
    part: str | None = None
    while parent is not None and parent.id() not in seen:
        seen.add(parent.id())
        if parent.is_a("IfcBuildingStorey"):
            return parent.Name or parent.LongName or parent.GlobalId
        if part is None and parent.is_a() in {"IfcFacilityPart", "IfcMarinePart", "IfcBridgePart", "IfcRoadPart"}:
            part = parent.Name
        parent = _parent(parent)
    return part


def _systems(product: Any) -> list[str]:
    return [
        relation.RelatingGroup.Name or relation.RelatingGroup.GlobalId
        for relation in getattr(product, "HasAssignments", ())
        if relation.is_a("IfcRelAssignsToGroup") and relation.RelatingGroup.is_a("IfcSystem")
    ]


def _cim_level(product: Any) -> int:
    """Technical guideline for city information models: spaces and storeys 5, components 6, their small parts 7."""
    if not product.is_a("IfcElement"):
        return 5
    return 7 if product.is_a("IfcElementComponent") else 6


def _property_sets(product: Any) -> str | None:
    found = element_util.get_psets(product)
    plain = {name: {k: v for k, v in values.items() if k != "id"} for name, values in found.items()}
    return json.dumps(plain, ensure_ascii=False, default=str) if plain else None


def _sample_positions(products: list[Any]) -> list[tuple[float, float, float]]:
    """Origins of up to 200 element placements in project units: where in the local frame the model lies."""
    step = max(1, len(products) // _N_SAMPLES)
    found = []
    for product in products[::step]:
        origin = _origin(product)
        if origin is not None:
            found.append(origin)
    return found


def _origin(product: Any) -> tuple[float, float, float] | None:
    placement = product.ObjectPlacement
    if placement is None or not placement.is_a("IfcLocalPlacement"):
        return None
    try:
        x, y, z = (float(v) for v in placement_util.get_local_placement(placement)[:3, 3])
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


def _site(site: Any) -> dict[str, Any]:
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


def _true_north(model: Any) -> tuple[float, float] | None:
    for context in _model_contexts(model):
        if context.TrueNorth is not None:
            x, y = (float(v) for v in context.TrueNorth.DirectionRatios[:2])
            return x, y
    return None


def _world_origin(model: Any) -> tuple[float, float, float] | None:
    """Location of the context's WorldCoordinateSystem when that is not the identity."""
    for context in _model_contexts(model):
        system = context.WorldCoordinateSystem
        if system is not None and system.is_a("IfcAxis2Placement3D"):
            x, y, z = (float(v) for v in placement_util.get_axis2placement(system)[:3, 3])
            return (x, y, z) if any((x, y, z)) else None
    return None


def _conversions(model: Any) -> list[dict[str, Any]]:
    if model.schema == "IFC2X3":
        return _property_set_conversions(model)
    found = []
    for operation in model.by_type("IfcCoordinateOperation"):
        source = operation.SourceCRS
        facts: dict[str, Any] = {"kind": operation.is_a(), "crs": _crs(operation.TargetCRS)}
        facts["context"] = getattr(source, "ContextType", None)
        if operation.is_a("IfcMapConversion"):
            facts |= {
                "eastings": operation.Eastings,
                "northings": operation.Northings,
                "height": operation.OrthogonalHeight,
                "abscissa": operation.XAxisAbscissa,
                "ordinate": operation.XAxisOrdinate,
                "scale": operation.Scale,
                "factors": [getattr(operation, f"Factor{axis}", None) for axis in "XYZ"],
            }
        elif operation.is_a("IfcRigidOperation"):
            first, second = operation.FirstCoordinate, operation.SecondCoordinate
            facts |= {
                "eastings": first.wrappedValue,
                "northings": second.wrappedValue,
                "height": operation.Height or 0.0,
            }
            facts["measure"] = first.is_a()
        found.append(facts)
    return sorted(found, key=lambda each: each["context"] != "Model")


def _crs(crs: Any) -> dict[str, Any]:
    unit = getattr(crs, "MapUnit", None)
    texts = [each.WellKnownText for each in getattr(crs, "WellKnownText", None) or ()]
    return {
        "class": crs.is_a(),
        "name": crs.Name,
        "description": crs.Description,
        "vertical_datum": getattr(crs, "VerticalDatum", None),
        "map_projection": getattr(crs, "MapProjection", None),
        "map_zone": getattr(crs, "MapZone", None),
        "map_unit_m": None if unit is None else float(unit_util.get_named_unit_scale(unit)),
        "wkt": texts[0] if texts else None,
    }


_UNIT_WORDS = {"METRE": 1.0, "METER": 1.0, "M": 1.0, "MILLIMETRE": 0.001, "MILLIMETER": 0.001, "MM": 0.001}
_UNIT_WORDS |= {"FOOT": 0.3048, "FT": 0.3048, "US SURVEY FOOT": 1200 / 3937}


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


def missing(model: Any, ids: list[int]) -> list[int]:
    """Which of the given instance ids the parser did not keep."""
    kept = set(model.entity_names())
    return [each for each in ids if each not in kept]


def open_model(path: str) -> Any:
    """The parsed file; raises what the parser raises."""
    return ifcopenshell.open(path)
