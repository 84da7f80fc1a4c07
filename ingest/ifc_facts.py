"""What a parsed IFC file says about itself: products, attribute rows, and everything that bears on its place.

Runs inside the worker process only (`ingest.ifc_worker`), because the parser and the kernels can kill the process
they run in. Everything returned is plain Python data. Which classes count: an *element* is an IfcElement that is
neither an IfcFeatureElement (openings, voids, projections) nor an IfcVirtualElement; *spatial* is every
IfcSpatialElement (IFC2X3: IfcSpatialStructureElement), spaces, sites, storeys, facilities and their parts.
"""

import json
from collections import Counter
from typing import Any

import ifcopenshell
import ifcopenshell.util.element as element_util
import ifcopenshell.util.unit as unit_util

from ingest import ifc_place_facts

_MAX_ITEMS = 100_000
BODY_TYPES = {"Curve2D", "Curve3D", "Point", "PointCloud", "Annotation2D", "GeometricCurveSet", "BoundingBox"}
"""Representation types without surfaces: a product that has no other kind has no body to mesh."""


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


def has_boolean(product: Any) -> bool:
    """True if the body, or an opening in it, is cut with a boolean result such as a wall clipped under a roof."""
    openings = [each.RelatedOpeningElement for each in getattr(product, "HasOpenings", ())]
    return any(_is_boolean(item) for each in [product, *openings] for item in _items(each))


def _items(product: Any) -> list[Any]:
    definition = product.Representation
    representations = definition.Representations if definition is not None else ()
    found = [item for each in representations for item in each.Items]
    for item in found:  # grows while it is walked: mapped items may map mapped items
        if item.is_a("IfcMappedItem") and len(found) < _MAX_ITEMS:
            found += item.MappingSource.MappedRepresentation.Items
    return found


def _is_boolean(item: Any) -> bool:
    return bool(item.is_a("IfcBooleanResult") or item.is_a("IfcCsgSolid"))


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
        "samples": ifc_place_facts.sample_positions(chosen),
        "storey_elevations": [
            float(e.Elevation) for e in model.by_type("IfcBuildingStorey") if e.Elevation is not None
        ],
        "sites": [ifc_place_facts.site(each) for each in model.by_type("IfcSite")],
        "true_north": ifc_place_facts.true_north(model),
        "world_origin": ifc_place_facts.world_origin(model),
        "conversions": ifc_place_facts.conversions(model),
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


def missing(model: Any, ids: list[int]) -> list[int]:
    """Which of the given instance ids the parser did not keep."""
    kept = set(model.entity_names())
    return [each for each in ids if each not in kept]


def open_model(path: str) -> Any:
    """The parsed file; raises what the parser raises."""
    return ifcopenshell.open(path)
