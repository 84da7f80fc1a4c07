"""Writes IFC entities in the project's own unit: placements, bodies, colours, property sets, relations.

Lengths are given in metres and written in the unit of the file. GlobalIds are hashes of file and name, the header's
time is fixed, so the same script writes the same bytes.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ifcopenshell
import ifcopenshell.guid

Box = tuple[float, float, float, float, float, float]
"""x, y, z of the lowest corner, then sizes along x, y, z; metres."""

STAMP = "2026-01-01T08:00:00"
COLOURS: dict[str, tuple[float, float, float, float]] = {
    "concrete": (0.72, 0.72, 0.70, 0.0),
    "plaster": (0.93, 0.90, 0.84, 0.0),
    "brick": (0.70, 0.35, 0.27, 0.0),
    "glass": (0.55, 0.75, 0.85, 0.6),
    "frame": (0.25, 0.27, 0.30, 0.0),
    "wood": (0.60, 0.42, 0.25, 0.0),
    "roof": (0.42, 0.45, 0.48, 0.0),
    "steel": (0.30, 0.42, 0.55, 0.0),
    "pipe": (0.15, 0.55, 0.35, 0.0),
}


class Author:
    """One file in the making.

    Parameters
    ----------
    schema : `IFC2X3`, `IFC4` or `IFC4X3_ADD2`
    key : seed of the GlobalIds, the file's name
    title : name of the project
    millimetres : project unit; metres otherwise
    """

    def __init__(self, schema: str, key: str, title: str, *, millimetres: bool = False) -> None:
        self.model = ifcopenshell.file(schema=schema)
        self.key, self.per_metre = key, 1000.0 if millimetres else 1.0
        self.schema = schema
        self._names: set[str] = set()
        self._styles: dict[str, Any] = {}
        self._children: dict[Any, list[Any]] = {}
        self._contained: dict[Any, list[Any]] = {}
        self._header(key)
        self.history = self._history()
        self.context, self.body = self._contexts()
        self.project = self.root("IfcProject", title, RepresentationContexts=[self.context])
        self.project.UnitsInContext = self._units(millimetres)

    def _header(self, key: str) -> None:
        header = self.model.header
        header.file_name.name = key
        header.file_name.time_stamp = STAMP
        header.file_name.author, header.file_name.organization = ("",), ("",)
        header.file_name.preprocessor_version = header.file_name.originating_system = "CityTwin sample town"
        header.file_description.description = ("ViewDefinition [ReferenceView_V1.2]",)

    def _history(self) -> Any:
        make = self.model.create_entity
        person = make("IfcPerson", FamilyName="sample")
        organization = make("IfcOrganization", Name="CityTwin sample town")
        both = make("IfcPersonAndOrganization", person, organization)
        application = make("IfcApplication", organization, "1", "CityTwin sample town", "citytwin-sample")
        return make("IfcOwnerHistory", both, application, None, "ADDED", None, None, None, 1767225600)

    def _contexts(self) -> tuple[Any, Any]:
        make = self.model.create_entity
        world = self.axes((0, 0, 0))
        context = make("IfcGeometricRepresentationContext", None, "Model", 3, 1e-5, world, None)
        body = make("IfcGeometricRepresentationSubContext", "Body", "Model")
        body.ParentContext, body.TargetView = context, "MODEL_VIEW"
        return context, body

    def _units(self, millimetres: bool) -> Any:
        make = self.model.create_entity
        units = [
            make("IfcSIUnit", None, "LENGTHUNIT", "MILLI" if millimetres else None, "METRE"),
            make("IfcSIUnit", None, "AREAUNIT", None, "SQUARE_METRE"),
            make("IfcSIUnit", None, "VOLUMEUNIT", None, "CUBIC_METRE"),
            make("IfcSIUnit", None, "PLANEANGLEUNIT", None, "RADIAN"),
        ]
        return make("IfcUnitAssignment", units)

    # --- roots and relations ---

    def root(self, entity: str, name: str, **attributes: Any) -> Any:
        """A rooted entity; `name` with the class is unique in the file and gives the GlobalId."""
        key = f"{self.key}/{entity}/{name}"
        if key in self._names:
            raise ValueError(f"{key} is used twice")
        self._names.add(key)
        guid = ifcopenshell.guid.compress(hashlib.md5(key.encode(), usedforsecurity=False).hexdigest())
        made = self.model.create_entity(entity, GlobalId=guid, OwnerHistory=self.history, Name=name)
        for attribute, value in attributes.items():
            setattr(made, attribute, value)
        return made

    def aggregate(self, whole: Any, *parts: Any) -> None:
        """`whole` consists of `parts`."""
        self._children.setdefault(whole, []).extend(parts)

    def contain(self, place: Any, *elements: Any) -> None:
        """`elements` stand in the spatial element `place`."""
        self._contained.setdefault(place, []).extend(elements)

    def group(self, entity: str, name: str, members: Sequence[Any]) -> Any:
        """A system and what belongs to it."""
        system = self.root(entity, name)
        self.root("IfcRelAssignsToGroup", f"{name} members", RelatedObjects=list(members), RelatingGroup=system)
        return system

    def properties(self, set_name: str, objects: Sequence[Any], **values: Any) -> None:
        """One property set for several objects; floats are lengths in metres only where the name ends with `_m`."""
        make = self.model.create_entity
        kinds = {bool: "IfcBoolean", int: "IfcInteger", float: "IfcReal", str: "IfcLabel"}
        properties = [
            make("IfcPropertySingleValue", name, None, make(kinds[type(value)], value), None)
            for name, value in values.items()
        ]
        label = f"{set_name} {objects[0].Name} {objects[0].is_a()}"
        definition = self.root("IfcPropertySet", label, HasProperties=properties)
        definition.Name = set_name
        relation = {"RelatedObjects": list(objects), "RelatingPropertyDefinition": definition}
        self.root("IfcRelDefinesByProperties", label, **relation)

    def typed(self, entity: str, name: str, objects: Sequence[Any], **attributes: Any) -> None:
        """A type object and its occurrences."""
        kind = self.root(entity, name, **attributes)
        self.root("IfcRelDefinesByType", f"{name} occurrences", RelatedObjects=list(objects), RelatingType=kind)

    def void(self, host: Any, opening: Any, filling: Any | None = None) -> None:
        """Cut `opening` out of `host` and set `filling` into it."""
        label = f"{opening.Name} in {host.Name}"
        self.root("IfcRelVoidsElement", label, RelatingBuildingElement=host, RelatedOpeningElement=opening)
        if filling is not None:
            relation = {"RelatingOpeningElement": opening, "RelatedBuildingElement": filling}
            self.root("IfcRelFillsElement", label, **relation)

    def save(self, path: Path) -> None:
        """Write the relations that were collected, then the file."""
        for whole, parts in self._children.items():
            label = f"parts of {whole.is_a()} {whole.Name}"
            self.root("IfcRelAggregates", label, RelatingObject=whole, RelatedObjects=parts)
        for place, elements in self._contained.items():
            label = f"in {place.is_a()} {place.Name}"
            relation = {"RelatedElements": elements, "RelatingStructure": place}
            self.root("IfcRelContainedInSpatialStructure", label, **relation)
        self.model.write(str(path))

    # --- geometry ---

    def length(self, metres: float) -> float:
        """Metres in the unit of the file, without binary noise."""
        return round(metres * self.per_metre, 6)

    def point(self, *metres: float) -> Any:
        """A point, 2D or 3D."""
        return self.model.create_entity("IfcCartesianPoint", [self.length(v) for v in metres])

    def direction(self, *ratios: float) -> Any:
        """A direction."""
        return self.model.create_entity("IfcDirection", [float(v) for v in ratios])

    def axes(self, origin: Sequence[float], turn_deg: float = 0.0) -> Any:
        """A placement turned about z."""
        axis, reference = None, None
        if turn_deg:
            turn = math.radians(turn_deg)
            axis = self.direction(0, 0, 1)
            reference = self.direction(round(math.cos(turn), 12), round(math.sin(turn), 12), 0)
        return self.model.create_entity("IfcAxis2Placement3D", self.point(*origin), axis, reference)

    def place(self, origin: Sequence[float] = (0, 0, 0), parent: Any = None, turn_deg: float = 0.0) -> Any:
        """A local placement relative to that of `parent`."""
        above = parent.ObjectPlacement if parent is not None else None
        return self.model.create_entity("IfcLocalPlacement", above, self.axes(origin, turn_deg))

    def box(self, box: Box) -> Any:
        """A rectangular block."""
        x, y, z, dx, dy, dz = box
        make = self.model.create_entity
        middle = make("IfcAxis2Placement2D", self.point(x + dx / 2, y + dy / 2), None)
        profile = make("IfcRectangleProfileDef", "AREA", None, middle, self.length(dx), self.length(dy))
        return self._extruded(profile, z, dz)

    def cylinder(self, x: float, y: float, z: float, radius: float, height: float) -> Any:
        """An upright cylinder."""
        make = self.model.create_entity
        middle = make("IfcAxis2Placement2D", self.point(x, y), None)
        return self._extruded(make("IfcCircleProfileDef", "AREA", None, middle, self.length(radius)), z, height)

    def _extruded(self, profile: Any, z: float, height: float) -> Any:
        up = self.direction(0, 0, 1)
        return self.model.create_entity("IfcExtrudedAreaSolid", profile, self.axes((0, 0, z)), up, self.length(height))

    def prism(self, outline: Sequence[tuple[float, float]], origin: Sequence[float], along_x: float) -> Any:
        """A profile in the y-z plane at `origin`, extruded along x by `along_x` metres."""
        make = self.model.create_entity
        corners = [self.point(*corner) for corner in outline]
        curve = make("IfcPolyline", [*corners, corners[0]])
        profile = make("IfcArbitraryClosedProfileDef", "AREA", None, curve)
        axes = make("IfcAxis2Placement3D", self.point(*origin), self.direction(1, 0, 0), self.direction(0, 1, 0))
        return make("IfcExtrudedAreaSolid", profile, axes, self.direction(0, 0, 1), self.length(along_x))

    def pipe(self, start: Sequence[float], direction: Sequence[float], length: float, radius: float) -> Any:
        """A hollow cylinder of 5 mm wall from `start` along a unit vector."""
        make = self.model.create_entity
        profile = make("IfcCircleHollowProfileDef", "AREA", None, None, self.length(radius), self.length(0.005))
        profile.Position = make("IfcAxis2Placement2D", self.point(0, 0), None)
        side = (1, 0, 0) if abs(direction[0]) < 0.9 else (0, 1, 0)
        axes = make("IfcAxis2Placement3D", self.point(*start), self.direction(*direction), self.direction(*side))
        return make("IfcExtrudedAreaSolid", profile, axes, self.direction(0, 0, 1), self.length(length))

    def shape(self, *items: tuple[Any, str]) -> Any:
        """A body of solids, each with the name of its colour."""
        make = self.model.create_entity
        for solid, colour in items:
            styles = [self._style(colour)]
            if self.schema == "IFC2X3":
                styles = [make("IfcPresentationStyleAssignment", styles)]
            make("IfcStyledItem", solid, styles, None)
        solids = [solid for solid, _ in items]
        body = make("IfcShapeRepresentation", self.body, "Body", "SweptSolid", solids)
        return make("IfcProductDefinitionShape", None, None, [body])

    def _style(self, colour: str) -> Any:
        if colour not in self._styles:
            make = self.model.create_entity
            red, green, blue, transparency = COLOURS[colour]
            rgb = make("IfcColourRgb", None, red, green, blue)
            rendering = make("IfcSurfaceStyleRendering", rgb, transparency)
            rendering.ReflectanceMethod = "NOTDEFINED"
            self._styles[colour] = make("IfcSurfaceStyle", colour, "BOTH", [rendering])
        return self._styles[colour]

    def product(self, entity: str, name: str, parent: Any, *items: tuple[Any, str], **attributes: Any) -> Any:
        """An element whose body is given in the frame of `parent`."""
        made = self.root(entity, name, ObjectPlacement=self.place(parent=parent), **attributes)
        if items:
            made.Representation = self.shape(*items)
        return made

    def opening(self, name: str, parent: Any, box: Box) -> Any:
        """A void; it gets no colour."""
        made = self.root("IfcOpeningElement", name, ObjectPlacement=self.place(parent=parent))
        body = self.model.create_entity("IfcShapeRepresentation", self.body, "Body", "SweptSolid", [self.box(box)])
        made.Representation = self.model.create_entity("IfcProductDefinitionShape", None, None, [body])
        return made


def counts(model: Any) -> dict[str, int]:
    """Products by class, as an independent reader should find them."""
    found: dict[str, int] = {}
    for product in model.by_type("IfcProduct"):
        found[product.is_a()] = found.get(product.is_a(), 0) + 1
    return dict(sorted(found.items()))
