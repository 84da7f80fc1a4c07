"""One member of a CityGML file -> city objects that become features, each with the places of its geometry.

Classes of CityGML 1.0 and 2.0 (OGC 12-019, clauses 10.3-10.15) and 3.0 (OGC 20-010). Boundary surfaces, openings,
traffic areas and relief components give their object its surfaces; parts, installations and constructive elements are
merged into it (as for CityJSON); rooms, storeys, units and furniture are features with a `parent_id`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from ingest.citygml.stream import XLINK_HREF, Element, gml_id, line_of, local, namespace
from ingest.cityjson import types as cityjson_types
from ingest.cityjson.types import CITYGML_NAMES, Kind

SURFACE_LIKE = frozenset({
    "Door", "Window", "TrafficArea", "AuxiliaryTrafficArea", "TrafficSpace", "AuxiliaryTrafficSpace", "ClearanceSpace",
    "Section", "Intersection", "Marking", "Hole", "TINRelief", "MassPointRelief", "BreaklineRelief", "RasterRelief",
})  # fmt: skip
"""Nested objects that are part of their object's surface; so is every class whose name ends with `Surface`."""

FEATURES = frozenset({
    "Building", "BuildingPart", "BuildingInstallation", "IntBuildingInstallation", "Room", "BuildingRoom",
    "BuildingFurniture", "Storey", "BuildingStorey", "BuildingUnit", "BuildingConstructiveElement",
    "Bridge", "BridgePart", "BridgeInstallation", "IntBridgeInstallation", "BridgeConstructionElement",
    "BridgeConstructiveElement", "BridgeRoom", "BridgeFurniture",
    "Tunnel", "TunnelPart", "TunnelInstallation", "IntTunnelInstallation", "TunnelConstructiveElement", "HollowSpace",
    "TunnelHollowSpace", "TunnelFurniture",
    "Road", "Railway", "Square", "Track", "TransportationComplex", "Waterway", "WaterBody", "PlantCover",
    "SolitaryVegetationObject", "LandUse", "CityFurniture", "ReliefFeature", "GenericCityObject",
    "GenericOccupiedSpace", "GenericUnoccupiedSpace", "GenericLogicalSpace", "GenericThematicSurface",
    "CityObjectGroup", "OtherConstruction",
})  # fmt: skip
"""Classes that are features, or merged into one."""

MAX_GENERATIONS = 24

_LOD = re.compile(r"^lod(\d)(\w*)$")
_PLAIN_GEOMETRY = frozenset({"tin", "reliefPoints", "ridgeOrValleyLines", "breaklines"})
_SKIPPED = ("TerrainIntersection", "TerrainIntersectionCurve", "PointCloud")
_SURFACES = frozenset({"Polygon", "Triangle", "Rectangle", "PolygonPatch", "TriangulatedSurface", "Tin", "Solid",
                       "ImplicitGeometry", "MultiSurface", "CompositeSurface", "OrientableSurface",
                       "Surface", "CompositeSolid", "MultiSolid", "PolyhedralSurface"})  # fmt: skip
_LINES = frozenset({"LineString", "Curve", "LineStringSegment", "MultiCurve", "CompositeCurve", "OrientableCurve"})
_POINTS = frozenset({"Point", "MultiPoint"})


@dataclass(frozen=True)
class Place:
    """One geometry property of an object.

    Attributes
    ----------
    lod : of the property
    role : what follows `lodN` in its name (`Solid`, `FootPrint`, `ImplicitRepresentation` …)
    element : the property
    kind : class of the boundary surface it belongs to (`RoofSurface`), or empty for the object's own
    owner : the object or boundary surface
    """

    lod: int
    role: str
    element: Element
    kind: str
    owner: Element


@dataclass
class Region:
    """An object, or a part merged into one, with the geometry that counts for its LoD."""

    element: Element
    places: list[Place] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


@dataclass
class CityObject:
    """One feature to be.

    Attributes
    ----------
    element : the object
    object_type : CityJSON's name of its class
    id : `gml:id` or None
    parent_id : of the object it is in
    regions : itself first, then its parts
    where : class and line, for messages
    """

    element: Element
    object_type: str
    id: str | None
    parent_id: str | None
    where: str
    regions: list[Region] = field(default_factory=list)

    def kind(self) -> Kind:
        """The highest kind of geometry in it: `surfaces`, `lines`, `points` or `none`."""
        found = {_kind(place.element) for region in self.regions for place in region.places}
        order: tuple[Kind, ...] = ("surfaces", "lines", "points")
        return next((kind for kind in order if kind in found), "none")

    @property
    def layer(self) -> str:
        """Catalogue id."""
        return cityjson_types.layer_of(self.object_type, self.kind())


def object_type(element: Element) -> str:
    """CityJSON's name of a class; `+Name` for a class of an extension."""
    name = local(element)
    return CITYGML_NAMES.get(name, name) if name in FEATURES or "citygml" in namespace(element) else f"+{name}"


def is_utility(element: Element) -> bool:
    """True for objects of the UtilityNetwork ADE."""
    return "utility" in namespace(element).lower()


def features(top: Element) -> Iterator[CityObject]:
    """A member's object and all objects inside it that are features, outer ones first."""
    waiting: list[tuple[Element, str | None, int]] = [(top, None, 0)]
    while waiting:
        element, parent, depth = waiting.pop()
        made = CityObject(element, object_type(element), gml_id(element), parent, _where(element))
        inner: list[Element] = []
        _collect(made, element, inner, depth)
        yield made
        waiting += [(each, made.id or parent, depth + 1) for each in reversed(inner)]


def _where(element: Element) -> str:
    return f"{line_of(element)}, {local(element)}"


def _collect(made: CityObject, element: Element, inner: list[Element], depth: int) -> None:
    region = Region(element)
    made.regions.append(region)
    stack: list[tuple[Element, str]] = [(element, "")]
    while stack:
        owner, kind = stack.pop()
        for prop in owner:
            name = local(prop)
            if match := _LOD.match(name):
                _add(region, Place(int(match[1]), match[2], prop, kind, owner))
            elif name in _PLAIN_GEOMETRY:
                _add(region, Place(_stated_lod(owner), name, prop, kind, owner))
            else:
                for child in prop:
                    if _is_surface(child):
                        name = local(child)
                        stack.append((child, name if name.endswith("Surface") or not kind else kind))
                    elif local(child) in FEATURES and depth < MAX_GENERATIONS:
                        if cityjson_types.is_merged(object_type(child)):
                            _collect(made, child, inner, depth + 1)
                        else:
                            inner.append(child)


def _is_surface(child: Element) -> bool:
    name = local(child)
    return name in SURFACE_LIKE or (name.endswith("Surface") and name not in FEATURES and "citygml" in namespace(child))


def _add(region: Region, place: Place) -> None:
    if place.role.endswith(_SKIPPED):
        region.skipped.append(place.role)
    elif len(place.element) or place.element.get(XLINK_HREF):
        region.places.append(place)


def _stated_lod(owner: Element) -> int:
    for each in owner:
        if local(each) == "lod" and (each.text or "").strip().isdecimal():
            return min(int((each.text or "0").strip()), 4)
    return 1


def _kind(prop: Element) -> Kind:
    if prop.get(XLINK_HREF):
        return "surfaces"
    for each in prop.iter():
        name = local(each)
        if name in _SURFACES:
            return "surfaces"
        if name in _LINES:
            return "lines"
        if name in _POINTS:
            return "points"
    return "none"


def chosen(region: Region) -> list[Place]:
    """The places of the highest LoD that count.

    Where the object's own geometry has the highest LoD, boundary surfaces of the same LoD go with it (they say what
    its faces are); else each boundary surface counts with its own highest LoD. Outlines (`lod0FootPrint`,
    `lod0RoofEdge`) count only when there is nothing else.
    """
    places = [each for each in region.places if each.role not in {"FootPrint", "RoofEdge"}] or region.places
    if not places:
        return []
    own = max((each.lod for each in places if not each.kind), default=-1)
    below = max((each.lod for each in places if each.kind), default=-1)
    if own >= below:
        return [each for each in places if each.lod == own]
    best: dict[int, int] = {}
    for each in places:
        best[id(each.owner)] = max(best.get(id(each.owner), -1), each.lod)
    return [each for each in places if each.kind and each.lod == best[id(each.owner)]]
