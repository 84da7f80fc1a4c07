"""What an IFC product says about itself besides its shape: identity, place in the structure, properties, materials.

Runs inside the worker process. Property sets, types and materials are shared by many products, so each is read once.
Spec: IFC 4.3.2, clauses 5.1 (kernel, product extension) and 8.14-8.15 (property and quantity resources).
"""

import json
from contextlib import suppress
from typing import Any

import ifcopenshell.util.unit as unit_util

from ingest.ifc.relations import get, relations

_PARTS_WITH_NAMES = {"IfcFacilityPart", "IfcMarinePart", "IfcBridgePart", "IfcRoadPart", "IfcRailwayPart"}
_MAX_DEPTH = 20
_AREAS = ("NetFloorArea", "GrossFloorArea", "NetArea", "GrossArea", "Area")
_VOLUMES = ("NetVolume", "GrossVolume", "Volume")
_N_PSET_HEAD = 4
"""Attributes of every property set definition: GlobalId, OwnerHistory, Name, Description."""


class Rows:
    """Reads rows and remembers what products share."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._relations = relations(model)
        self._sets: dict[int, tuple[str, dict[str, Any]]] = {}
        self._kinds: dict[int, dict[str, dict[str, Any]]] = {}
        self._materials: dict[int, list[Any]] = {}
        self._units: dict[str, float] = {}
        self._above: dict[int, tuple[list[str], str | None]] = {}

    def row(self, number: int) -> dict[str, Any]:
        """Identity, classification and property sets of one product, by its instance number."""
        related, by_id = self._relations, self._model.by_id
        product = by_id(number)
        kind = by_id(related.type_of[number]) if number in related.type_of else None
        ancestors, storey = self._structure(related.parent.get(number))
        groups = [by_id(each) for each in related.groups.get(number, ())]
        return {
            "id": number,
            "ifc_guid": product.GlobalId,
            "ifc_class": product.is_a(),
            "name": product.Name,
            "long_name": get(product, "LongName"),
            "description": product.Description,
            "object_type": product.ObjectType,
            "predefined_type": _predefined(product, kind),
            "tag": get(product, "Tag"),
            "type_name": kind.Name if kind is not None else None,
            "storey": storey,
            "system": "; ".join(_label(each) for each in groups if each.is_a("IfcSystem") and not _is_zone(each))
            or None,
            "zone": "; ".join(_label(each) for each in groups if _is_zone(each)) or None,
            "parent_id": ancestors[0] if ancestors else None,
            "ancestors": ancestors,
            "has_parts": number in related.wholes,
            "cim_level": _cim_level(product),
            "material": self._material(number, kind),
            "classification": self._classification(number, kind),
            "connected_to": self._connected(number),
            "area_m2": self._quantity(product, "IfcQuantityArea", _AREAS),
            "volume_m3": self._quantity(product, "IfcQuantityVolume", _VOLUMES),
            "psets": self._property_sets(number, kind),
        }

    def _structure(self, number: int | None) -> tuple[list[str], str | None]:
        """GlobalIds from the parent upwards without the project, and the name of the storey or part."""
        above = None if number is None else self._model.by_id(number)
        if above is None or number is None or above.is_a("IfcProject"):
            return [], None
        if number not in self._above:
            self._above[number] = ([], None)  # a cycle ends the climb
            higher, storey = self._structure(self._relations.parent.get(number))
            if above.is_a("IfcBuildingStorey"):
                storey = above.Name or above.LongName or above.GlobalId
            elif storey is None and above.is_a() in _PARTS_WITH_NAMES:
                storey = above.Name
            self._above[number] = ([above.GlobalId, *(each for each in higher if each != above.GlobalId)], storey)
        return self._above[number]

    def _property_sets(self, number: int, kind: Any) -> str | None:
        """Of the type first, then of the product itself, which goes before it property by property."""
        found: dict[str, dict[str, Any]] = {}
        if kind is not None:
            if kind.id() not in self._kinds:
                self._kinds[kind.id()] = dict(map(self._set, kind.HasPropertySets or ()))
            found = {name: dict(values) for name, values in self._kinds[kind.id()].items()}
        for each in self._relations.definitions.get(number, ()):
            name, values = self._set(self._model.by_id(each))
            found[name] = found.get(name, {}) | values
        return json.dumps(found, ensure_ascii=False, default=str) if found else None

    def _set(self, definition: Any) -> tuple[str, dict[str, Any]]:
        number = definition.id()
        if number not in self._sets:
            self._sets[number] = (definition.Name or definition.is_a(), _values(definition))
        return self._sets[number]

    def _material(self, number: int, kind: Any) -> str | None:
        for owner in (number, None if kind is None else kind.id()):
            chosen = self._relations.materials.get(owner) if owner is not None else None
            if chosen is not None:
                if chosen not in self._materials:
                    self._materials[chosen] = _layers(self._model.by_id(chosen))
                return json.dumps(self._materials[chosen], ensure_ascii=False)
        return None

    def _classification(self, number: int, kind: Any) -> str | None:
        found = []
        for owner in (number, None if kind is None else kind.id()):
            for each in self._relations.classes.get(owner, ()) if owner is not None else ():
                chosen = self._model.by_id(each)
                code = get(chosen, "Identification") or get(chosen, "ItemReference")
                name = get(get(chosen, "ReferencedSource"), "Name")
                found.append({"system": name, "code": code, "name": get(chosen, "Name")})
        return json.dumps(found, ensure_ascii=False) if found else None

    def _quantity(self, product: Any, kind: str, names: tuple[str, ...]) -> float | None:
        """A space's first quantity of these names, in m2 or m3."""
        if not product.is_a("IfcSpace"):
            return None
        found: dict[str, float] = {}
        for each in self._relations.definitions.get(product.id(), ()):
            definition = self._model.by_id(each)
            for one in definition.Quantities if definition.is_a("IfcElementQuantity") else ():
                if one.is_a(kind) and one.Name in names:
                    with suppress(AttributeError, TypeError, ValueError):  # no value, or a unit that is none
                        found.setdefault(one.Name, float(one[3]) * self._unit(one.Unit, kind))
        return next((found[name] for name in names if name in found), None)

    def _unit(self, unit: Any, kind: str) -> float:
        """Square or cubic metres in a unit: a quantity's own, or else the project's."""
        power = 2 if kind == "IfcQuantityArea" else 3
        if unit is None:
            if kind not in self._units:
                assigned = unit_util.get_project_unit(self._model, "AREAUNIT" if power == 2 else "VOLUMEUNIT")
                self._units[kind] = 1.0 if assigned is None else _scale(assigned, power)
            return self._units[kind]
        return _scale(unit, power)

    def _connected(self, number: int) -> str | None:
        """GlobalIds of the elements at the other ends of this element's ports."""
        related = self._relations
        ends = [other for port in related.ports.get(number, ()) for other in related.other_end.get(port, ())]
        owners = dict.fromkeys(related.owner_of[each] for each in ends if each in related.owner_of)
        return "; ".join(self._model.by_id(each).GlobalId for each in owners if each != number) or None


def _scale(unit: Any, power: int) -> float:
    """A prefix stands before the metre, so it is raised with it: one MILLI SQUARE_METRE is 1e-6 m2 (ISO 80000-1)."""
    if unit.is_a("IfcSIUnit"):
        if unit.Name in {"CUBIC_METRE", "SQUARE_METRE"}:
            return float(unit_util.get_prefix_multiplier(unit.Prefix)) ** power if unit.Prefix else 1.0
        return float(unit_util.get_prefix_multiplier(unit.Prefix)) if unit.Prefix else 1.0
    if unit.is_a("IfcConversionBasedUnit"):
        factor, inner = unit.ConversionFactor, unit.ConversionFactor.UnitComponent
        if inner.is_a("IfcSIUnit"):
            return float(factor.ValueComponent.wrappedValue) * _scale(inner, power)
    raise ValueError(f"the unit {unit.is_a()} is not known")


def _label(each: Any) -> str:
    return str(each.Name or each.GlobalId)


def _is_zone(group: Any) -> bool:
    return bool(group.is_a("IfcZone"))


def _predefined(product: Any, kind: Any) -> str | None:
    """The type's word first (it may be the only one), USERDEFINED replaced by the user's own word."""
    for each, own in ((kind, "ElementType"), (product, "ObjectType")):
        said = get(each, "PredefinedType")
        if said == "USERDEFINED":
            said = get(each, own) or said
        if said and said != "NOTDEFINED":
            return str(said)
    said = get(product, "PredefinedType")
    return None if said is None else str(said)


def _cim_level(product: Any) -> int:
    """Technical guideline for city information models: spaces and storeys 5, components 6, their small parts 7."""
    if not product.is_a("IfcElement"):
        return 5
    return 7 if product.is_a("IfcElementComponent") else 6


def _layers(chosen: Any, depth: int = 0) -> list[Any]:
    """A material, or the parts of a set, as plain data: name, thickness in project units, category."""
    name = chosen.is_a()
    if name == "IfcMaterial":
        return [{"name": chosen.Name}]
    if depth > _MAX_DEPTH:
        return []
    for attribute in ("ForLayerSet", "ForProfileSet"):
        if (inner := get(chosen, attribute)) is not None:
            return _layers(inner, depth + 1)
    for attribute in ("MaterialLayers", "MaterialConstituents", "MaterialProfiles", "Materials"):
        if inner := get(chosen, attribute):
            return [part for each in inner for part in _layers(each, depth + 1)]
    material = get(chosen, "Material")
    row = {
        "name": material.Name if material is not None else get(chosen, "Name"),
        "thickness": get(chosen, "LayerThickness"),
        "category": get(chosen, "Category"),
    }
    return [{key: value for key, value in row.items() if value is not None}]


def _values(definition: Any, depth: int = 0) -> dict[str, Any]:
    """Name -> value of a property set, a quantity set, or a predefined set such as IfcDoorLiningProperties."""
    name = definition.is_a()
    if name == "IfcPropertySet":
        members = definition.HasProperties
    elif name == "IfcElementQuantity":
        members = definition.Quantities
    elif name == "IfcComplexProperty":
        members = definition.HasProperties
    elif name == "IfcPhysicalComplexQuantity":
        members = definition.HasQuantities
    else:
        return _predefined_values(definition)
    if depth > _MAX_DEPTH:
        return {}
    return {each.Name: _value(each, depth) for each in members or ()}


def _predefined_values(definition: Any) -> dict[str, Any]:
    found = {}
    for i in range(_N_PSET_HEAD, len(definition)):
        value = definition[i]
        if value is not None:
            found[definition.attribute_name(i)] = _bare(value)
    return found


def _value(each: Any, depth: int) -> Any:
    name = each.is_a()
    if name == "IfcPropertySingleValue":
        return _bare(each.NominalValue)
    if name in {"IfcComplexProperty", "IfcPhysicalComplexQuantity"}:
        return _values(each, depth + 1)
    if name.startswith("IfcQuantity"):
        return _bare(each[3])  # Name, Description, Unit, then the value of each simple quantity
    if name == "IfcPropertyEnumeratedValue":
        return _bare(each.EnumerationValues)
    if name == "IfcPropertyListValue":
        return _bare(each.ListValues)
    if name == "IfcPropertyBoundedValue":
        return {key: _bare(getattr(each, f"{key}BoundValue")) for key in ("Upper", "Lower")}
    if name == "IfcPropertyTableValue":
        return {"defining": _bare(each.DefiningValues), "defined": _bare(each.DefinedValues)}
    return _bare(get(each, "PropertyReference"))


def _bare(value: Any) -> Any:
    """A value without its IFC type; an instance that stands for a value as its name or text."""
    if isinstance(value, tuple | list):
        return [_bare(each) for each in value]
    if hasattr(value, "is_a"):
        if value.id() == 0:
            return _bare(value.wrappedValue)
        return get(value, "Name") or str(value)
    return value
