"""Types of city objects (CityJSON 2.0, CityGML 2.0 and 3.0) -> layers of the catalogue, for all readers of city models.

Spec: https://www.cityjson.org/specs/2.0.1/#the-different-city-objects . CityGML has the same class names, but for
those in `CITYGML_NAMES`.
"""

from typing import Literal

Kind = Literal["surfaces", "lines", "points", "none"]
"""What a city object's geometry consists of; the highest kind it has counts."""

LAYERS: dict[str, str] = {
    "Building": "building",
    "Bridge": "bridge",
    "Tunnel": "tunnel",
    "OtherConstruction": "other_construction",
    "Road": "traffic_area",
    "Railway": "traffic_area",
    "TransportSquare": "traffic_area",
    "Waterway": "traffic_area",
    "WaterBody": "water_body",
    "LandUse": "land_use",
    "PlantCover": "plant_cover",
    "SolitaryVegetationObject": "vegetation",
    "CityFurniture": "city_furniture",
    "TINRelief": "relief",
    "GenericCityObject": "city_object",
    "BuildingStorey": "building_storey",
    "BuildingUnit": "building_unit",
    "CityObjectGroup": "city_object_group",
}
"""Type -> layer of objects with surfaces (vegetation and furniture: a point and a mesh)."""

OTHER = "city_object"
"""Layer of types not in `LAYERS`: rooms, furniture in rooms, extensions (`+Type`); `object_type` says which."""

LINES: dict[str, str] = {"Road": "road"}
"""Type -> layer of objects that have lines but no surfaces; else `OTHER_LINES`."""
OTHER_LINES = "city_object_line"

POINTS: dict[str, str] = {"SolitaryVegetationObject": "vegetation", "CityFurniture": "city_furniture"}
"""Type -> layer of objects that have nothing but points; else `OTHER_POINTS`."""
OTHER_POINTS = "city_object_point"

MERGED_SUFFIXES = ("Part", "Installation", "ConstructiveElement")
"""Children of these kinds belong to the shape of their building, bridge or tunnel; all others are features too."""

CITYGML_NAMES: dict[str, str] = {
    "ReliefFeature": "TINRelief",
    "Square": "TransportSquare",
    "Track": "Road",
    "TransportationComplex": "Road",
    "Room": "BuildingRoom",
    "IntBuildingInstallation": "BuildingInstallation",
    "BridgeConstructionElement": "BridgeConstructiveElement",
    "HollowSpace": "TunnelHollowSpace",
    "IntBridgeInstallation": "BridgeInstallation",
    "IntTunnelInstallation": "TunnelInstallation",
    "GenericOccupiedSpace": "GenericCityObject",
    "GenericUnoccupiedSpace": "GenericCityObject",
    "GenericLogicalSpace": "GenericCityObject",
    "GenericThematicSurface": "GenericCityObject",
    "Storey": "BuildingStorey",
}
"""Class of CityGML 2.0 or 3.0 -> type of CityJSON, where the names differ."""


def layer_of(object_type: str, kind: Kind = "surfaces") -> str:
    """Catalogue id of the layer for a city object; every type has one."""
    if kind == "lines":
        return LINES.get(object_type, OTHER_LINES)
    if kind == "points":
        return POINTS.get(object_type, OTHER_POINTS)
    if object_type not in LAYERS and is_merged(object_type):  # a part whose parent is not in the file
        object_type = next((each for each in ("Building", "Bridge", "Tunnel") if object_type.startswith(each)), "")
    return LAYERS.get(object_type, OTHER)


def is_merged(object_type: str) -> bool:
    """True for a child whose shape is part of its parent's."""
    return object_type.endswith(MERGED_SUFFIXES)
