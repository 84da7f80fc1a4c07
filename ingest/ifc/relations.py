"""Which product has which type, property sets, parent, groups, materials, openings and ports: all relations, read once.

IFC states these in objectified relations; asking each product for its inverse attributes costs 15 microseconds a
question, one walk over the relations a tenth of that. Only instance numbers are kept. Runs inside the worker process.
"""

from collections import defaultdict
from functools import lru_cache
from typing import Any

_SCHEMA_LACKS = RuntimeError
"""What the parser raises for a class that the schema of the file does not have."""


def get(each: Any, name: str) -> Any:
    """An attribute, or None where the class has no such attribute: the library's own refusal takes 0.1 s at first."""
    if each is None or each.get_attribute_category(name) == 0:
        return None
    return getattr(each, name)


class Relations:
    """Instance numbers by the number of the product (or type) they are related to."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.type_of = self._single("IfcRelDefinesByType", "RelatedObjects", "RelatingType")
        self.definitions = self._several("IfcRelDefinesByProperties", "RelatedObjects", "RelatingPropertyDefinition")
        self.groups = self._several("IfcRelAssignsToGroup", "RelatedObjects", "RelatingGroup")
        self.materials = self._single("IfcRelAssociatesMaterial", "RelatedObjects", "RelatingMaterial")
        self.classes = self._several("IfcRelAssociatesClassification", "RelatedObjects", "RelatingClassification")
        self.openings = self._several("IfcRelVoidsElement", "RelatingBuildingElement", "RelatedOpeningElement")
        self.parts: dict[int, list[int]] = defaultdict(list)
        for part, whole in self._pairs("IfcRelNests", "RelatedObjects", "RelatingObject"):
            self.parts[whole].append(part)
        self.whole = self._single("IfcRelNests", "RelatedObjects", "RelatingObject")
        self.whole |= self._single("IfcRelAggregates", "RelatedObjects", "RelatingObject")
        self.wholes = set(self.whole.values())
        self.parent = self._single("IfcRelContainedInSpatialStructure", "RelatedElements", "RelatingStructure")
        self.parent |= self.whole
        self._ports()

    def _pairs(self, name: str, related: str, relating: str) -> list[tuple[int, int]]:
        try:
            relations = self._model.by_type(name)
        except _SCHEMA_LACKS:
            return []
        found = []
        for each in relations:
            ones, other = getattr(each, related), getattr(each, relating)
            if ones is None or other is None:
                continue
            number = other.id()
            if number == 0:
                continue  # a set of definitions written in place: `definitions` walks it
            found += [(one.id(), number) for one in (ones if isinstance(ones, tuple) else (ones,))]
        return found

    def _single(self, name: str, related: str, relating: str) -> dict[int, int]:
        """The first that the file names."""
        return dict(reversed(self._pairs(name, related, relating)))

    def _several(self, name: str, related: str, relating: str) -> dict[int, list[int]]:
        found: dict[int, list[int]] = defaultdict(list)
        for one, number in self._pairs(name, related, relating):
            found[one].append(number)
        return dict(found)

    def _ports(self) -> None:
        """Owner of each port, ports of each element, and the ports at the other ends of connections."""
        self.owner_of = dict(self._pairs("IfcRelConnectsPortToElement", "RelatingPort", "RelatedElement"))
        ports = {each.id() for each in self._model.by_type("IfcPort")}
        self.owner_of |= {one: whole for one, whole in self.whole.items() if one in ports}
        self.ports: dict[int, list[int]] = defaultdict(list)
        for port, owner in self.owner_of.items():
            self.ports[owner].append(port)
        self.other_end: dict[int, list[int]] = defaultdict(list)
        for one, other in self._pairs("IfcRelConnectsPorts", "RelatingPort", "RelatedPort"):
            self.other_end[one].append(other)
            self.other_end[other].append(one)


@lru_cache(maxsize=1)
def relations(model: Any) -> Relations:
    """The relations of a model; read at the first call."""
    return Relations(model)
