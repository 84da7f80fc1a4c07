"""What a parsed IFC file says about itself: products, attribute rows, and everything that bears on its place.

Runs inside the worker process only (`ingest.ifc.worker`), because the parser and the kernels can kill the process
they run in. Everything returned is plain Python data. Which classes count: an *element* is an IfcElement that is
neither an IfcFeatureElement (openings, voids, projections) nor an IfcVirtualElement; *spatial* is every
IfcSpatialElement (IFC2X3: IfcSpatialStructureElement), spaces, sites, storeys, facilities and their parts.
"""

from collections import Counter
from typing import Any

import ifcopenshell
import ifcopenshell.util.unit as unit_util

from ingest.ifc import alignment_facts as ifc_alignment_facts
from ingest.ifc import paint as ifc_paint
from ingest.ifc import place_facts as ifc_place_facts
from ingest.ifc import port_facts as ifc_port_facts
from ingest.ifc import rows as ifc_rows
from ingest.ifc.relations import relations

_MAX_ITEMS = 100_000
_LINES = {
    "IfcAlignment",
    "IfcAlignmentCant",
    "IfcAlignmentHorizontal",
    "IfcAlignmentSegment",
    "IfcAlignmentVertical",
    "IfcDistributionPort",
    "IfcPort",
    "IfcReferent",
}
"""Products that `ingest.ifc.alignment_layers` and `ingest.ifc.ports` read; cants are named there."""
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


def items(product: Any) -> list[Any]:
    """The representation items of a product, with those behind mapped items."""
    definition = product.Representation
    representations = definition.Representations if definition is not None else ()
    found = [item for each in representations for item in each.Items]
    for item in found:  # grows while it is walked: mapped items may map mapped items
        if item.is_a("IfcMappedItem") and len(found) < _MAX_ITEMS:
            found += item.MappingSource.MappedRepresentation.Items
    return found


def survey(model: Any) -> dict[str, Any]:
    """Schema, unit, products and place of a model, as plain data; lengths in project units unless named `_m`."""
    chosen = elements(model)
    relations(model)  # here, so that the copies of this process need not read them again
    lines = ifc_alignment_facts.alignments(model)
    return {
        "schema": model.schema_identifier,
        "application": [str(each.ApplicationFullName) for each in model.by_type("IfcApplication")][:3],
        "unit_m": float(unit_util.calculate_unit_scale(model)),
        "n_instances": len(model.entity_names()),
        "n_projects": len(model.by_type("IfcProject")),
        "elements": [(each.id(), each.GlobalId, has_body(each)) for each in chosen],
        "spatial": [(each.id(), each.GlobalId, has_body(each)) for each in spatial(model)],
        "n_features": len(model.by_type("IfcFeatureElement")),
        "colour_maps": ifc_paint.count(model),
        "n_textures": _n_textures(model),
        "n_virtual": len(model.by_type("IfcVirtualElement")),
        "others": _others(model),
        "alignments": lines,
        "ports": ifc_port_facts.ports(model),
        "referents": ifc_alignment_facts.referents(model),
        "samples": ifc_place_facts.sample_positions(chosen) or ifc_alignment_facts.starts(lines),
        "n_buildings": 0 if lines else len(model.by_type("IfcBuildingStorey")) and len(model.by_type("IfcBuilding")),
        "storey_elevations": [
            float(e.Elevation) for e in model.by_type("IfcBuildingStorey") if e.Elevation is not None
        ],
        "sites": [ifc_place_facts.site(each) for each in model.by_type("IfcSite")],
        "true_north": ifc_place_facts.true_north(model),
        "world_system": ifc_place_facts.world_system(model),
        "conversions": ifc_place_facts.conversions(model),
    }


def _n_textures(model: Any) -> int:
    """Images on surfaces, which the kernels do not give."""
    return len(model.by_type("IfcSurfaceTexture"))


def _others(model: Any) -> dict[str, int]:
    """Products that are neither elements nor spatial (alignments, grids, ports, annotations ...), by class."""
    known = {e.id() for e in [*model.by_type("IfcElement"), *spatial(model)]}
    others = Counter(e.is_a() for e in model.by_type("IfcProduct") if e.id() not in known)
    return {name: count for name, count in others.items() if name not in _LINES}


def rows(model: Any, ids: list[int]) -> list[dict[str, Any]]:
    """Attribute rows of products (`ingest.ifc.rows`)."""
    reader = ifc_rows.Rows(model)
    return [reader.row(each) for each in ids]


def missing(model: Any, ids: list[int]) -> list[int]:
    """Which of the given instance ids the parser did not keep."""
    kept = set(model.entity_names())
    return [each for each in ids if each not in kept]


def open_model(path: str) -> Any:
    """The parsed file; raises what the parser raises."""
    return ifcopenshell.open(path)
