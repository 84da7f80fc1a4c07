"""Features with solids and surfaces -> city objects of CityJSON 2.0.

Spec: https://www.cityjson.org/specs/2.0.1/. Which types there are, which geometries each may have and which need a
parent stands in the specification's `cityobjects.schema.json`.
"""

import re
from collections.abc import Sequence
from typing import Any

from layers.catalogue import LayerType
from tiles.solids import Body, Face, Shell

FIRST_LEVEL = frozenset({
    "Building", "Bridge", "Tunnel", "OtherConstruction", "Road", "Railway", "TransportSquare", "Waterway", "WaterBody",
    "LandUse", "PlantCover", "SolitaryVegetationObject", "CityFurniture", "TINRelief", "GenericCityObject",
})  # fmt: skip
"""Types of objects that need no parent and may have a geometry."""

LAYERS = {
    "building": "Building", "bridge": "Bridge", "tunnel": "Tunnel", "other_construction": "OtherConstruction",
    "traffic_area": "Road", "water_body": "WaterBody", "land_use": "LandUse", "plant_cover": "PlantCover",
    "vegetation": "SolitaryVegetationObject", "city_furniture": "CityFurniture", "relief": "TINRelief",
    "road": "Road", "river": "WaterBody", "bim_element": "BuildingConstructiveElement",
}  # fmt: skip
"""Layer of the catalogue -> type, where neither the feature nor the layer's solid says it."""

SOLIDS = {"tube": "OtherConstruction", "well": "CityFurniture", "instance": "CityFurniture", "extrude": "Building"}
"""How a layer's models are made -> type: CityJSON has none for pipes."""

ONLY_SURFACES = frozenset({"Road", "Railway", "TransportSquare", "Waterway", "LandUse"})
ONE_SOLID = frozenset({"Building", "Bridge", "Tunnel", "WaterBody"})
"""Types whose several solids can only be a CompositeSolid."""

_LOD = re.compile(r"^[0-3](\.[0-3])?$")
STEEP, NEAR_GROUND_M = 0.087, 0.1
"""A face whose normal rises less than 5 degrees is a wall; a floor within 0.1 m of the lowest corner is the ground."""


def type_of(layer: LayerType, stated: object) -> str:
    """Type of a feature: what it says itself where it may stand alone, else by its layer."""
    if isinstance(stated, str) and stated in FIRST_LEVEL:
        return stated
    if layer.id in LAYERS:
        return LAYERS[layer.id]
    if layer.solid in SOLIDS:
        return SOLIDS[layer.solid]
    return "CityFurniture" if layer.category == "iot" else "GenericCityObject"


def lod_of(kind: str, stated: object, body: Body) -> str:
    """`lod` as the feature has it; else 1 for buildings of level faces and walls, 3 for building elements, 2."""
    if isinstance(stated, str) and _LOD.match(stated):
        return stated
    if kind == "BuildingConstructiveElement" or kind.endswith("Installation"):
        return "3"
    if kind != "Building":
        return "2"
    return "1" if all(abs(face.up) < STEEP or abs(face.up) > 1 - STEEP**2 for face in body.faces) else "2"


class Numbering:
    """Vertices in the order in which they are first used, counted from `start`."""

    def __init__(self, start: int = 0) -> None:
        self.start, self.used = start, dict[int, int]()

    def of(self, ring: Sequence[int]) -> list[int]:
        """Numbers of the corners of a ring."""
        used, start = self.used, self.start
        return [start + used.setdefault(vertex, len(used)) for vertex in ring]


def geometry(
    body: Body, kind: str, lod: str, names: Sequence[str], *, numbering: Numbering, grain_m: float
) -> dict[str, Any]:
    """The geometry object of a body.

    Parameters
    ----------
    names : semantic surface of each label; a label outside of it has none
    numbering : of the vertices, filled here
    grain_m : of the body's heights
    """
    found = body.solids if kind not in ONLY_SURFACES | {"TINRelief"} else None
    kinds = _surface_kinds(body, kind, names, grain_m, is_solid=found is not None)

    def faces(of: Sequence[Face]) -> list[Any]:
        return [[numbering.of(ring) for ring in face.rings] for face in of]

    def values(of: Sequence[Face]) -> list[Any]:
        return [kinds.index[id(face)] for face in of]

    if found is None:
        shape = "CompositeSurface" if kind == "TINRelief" else "MultiSurface"
        boundaries, numbers = faces(body.faces), values(body.faces) if kinds.names else []
    elif len(found) == 1:
        shape, shells = "Solid", found[0]
        boundaries = [faces(shell.faces) for shell in shells]
        numbers = [values(shell.faces) for shell in shells] if kinds.names else []
    else:
        shape = "CompositeSolid" if kind in ONE_SOLID else "MultiSolid"
        boundaries = [[faces(shell.faces) for shell in solid] for solid in found]
        numbers = [[values(shell.faces) for shell in solid] for solid in found] if kinds.names else []
    made: dict[str, Any] = {"type": shape, "lod": lod, "boundaries": boundaries}
    if kinds.names:
        made["semantics"] = {"surfaces": [{"type": name} for name in kinds.names], "values": numbers}
    return made


class _Kinds:
    """Semantic surfaces of a geometry: names, and the number of each face by its identity."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.index: dict[int, int | None] = {}

    def put(self, face: Face, name: str | None) -> None:
        """Note what a face is."""
        if name is None:
            self.index[id(face)] = None
            return
        if name not in self.names:
            self.names.append(name)
        self.index[id(face)] = self.names.index(name)


def _surface_kinds(body: Body, kind: str, names: Sequence[str], grain_m: float, *, is_solid: bool) -> _Kinds:
    """As the model knows them; of solid buildings that know none, by which way the faces look."""
    out = _Kinds()
    known = any(0 <= face.label < len(names) for face in body.faces)
    looks = kind == "Building" and is_solid and not known
    heights = body.vertices[:, 2].tolist() if looks else []
    ground = min(heights) + NEAR_GROUND_M / grain_m if heights else 0.0
    for shell in body.shells:
        for face in shell.faces:
            if known:
                out.put(face, names[face.label] if 0 <= face.label < len(names) else None)
            elif looks:
                out.put(face, _by_direction(face, shell, heights, ground))
    return out


def _by_direction(face: Face, shell: Shell, heights: list[int], ground: float) -> str:
    if abs(face.up) < STEEP:
        return "WallSurface" if shell.volume > 0 else "InteriorWallSurface"
    if face.up > 0:
        return "RoofSurface" if shell.volume > 0 else "FloorSurface"
    lowest = min(heights[vertex] for vertex in face.rings[0])
    if shell.volume < 0:
        return "CeilingSurface"
    return "GroundSurface" if lowest <= ground else "OuterCeilingSurface"
