"""Ports of a parsed IFC file: where pipes, ducts and cables may be joined, and to what. Runs in the worker.

Spec: IFC 4.3.2 IfcDistributionPort, IfcRelConnectsPorts; a port belongs to an element by IfcRelNests or, in older
files, IfcRelConnectsPortToElement.
"""

import math
from typing import Any

from ingest.ifc.frames import Matrix, local_placement
from ingest.ifc.relations import get, relations

FIELDS = (
    "ifc_guid",
    "name",
    "flow_direction",
    "predefined_type",
    "system_type",
    "element_id",
    "connected_port",
    "connected_to",
)
"""Of the first part of each tuple that `ports` gives."""
_ERRORS = (AttributeError, TypeError, ValueError, IndexError, RecursionError)


def ports(model: Any) -> list[tuple[tuple[str | None, ...], tuple[float, float, float] | None]]:
    """Attributes in the order of FIELDS, and the position in project units, of every port in the order of the file."""
    related, memory = relations(model), dict[int, Matrix]()
    found: list[tuple[tuple[str | None, ...], tuple[float, float, float] | None]] = []
    for each in sorted(model.by_type("IfcPort"), key=lambda one: one.id()):
        others = related.other_end.get(each.id(), ())
        owners = [related.owner_of[other] for other in others if other in related.owner_of]
        owner = related.owner_of.get(each.id())
        values = (
            each.GlobalId,
            each.Name,
            get(each, "FlowDirection"),
            get(each, "PredefinedType"),
            get(each, "SystemType"),
            None if owner is None else model.by_id(owner).GlobalId,
            _guids(model, others),
            _guids(model, owners),
        )
        found.append((values, _position(each, memory)))
    return found


def _guids(model: Any, numbers: Any) -> str | None:
    return "; ".join(model.by_id(each).GlobalId for each in dict.fromkeys(numbers)) or None


def _position(port: Any, memory: dict[int, Matrix]) -> tuple[float, float, float] | None:
    placement = port.ObjectPlacement
    if placement is None or not placement.is_a("IfcLocalPlacement"):
        return None
    try:
        x, y, z = (row[3] for row in local_placement(placement, memory)[:3])
    except _ERRORS:
        return None
    return (x, y, z) if all(map(math.isfinite, (x, y, z))) else None
