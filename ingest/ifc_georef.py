"""Where an IFC model lies: which of its own statements counts.

In order of trust: a coordinate operation with IfcProjectedCRS (IFC4 and later) or ePSet_MapConversion (IFC2X3),
coordinates that are already those of a given CRS, IfcSite latitude and longitude. Nothing of these: Unplaceable.
"""

import numpy as np

from ingest.ifc_doubts import check_size, compare_with_site
from ingest.ifc_map_conversion import by_conversion
from ingest.ifc_placement import Doubts, Facts, Placement, affine, certified, in_area, middle
from ingest.ifc_site import by_site
from layers import crs
from layers.source import Hints


def place(facts: Facts, hints: Hints) -> Placement:
    """The placement of a surveyed model (`ingest.ifc_facts.survey`). Raises Unplaceable or InvalidInput."""
    doubts = Doubts()
    check_size(facts, doubts)
    doubts.parameters["project_unit_m"] = facts["unit_m"]
    if facts["conversions"]:
        return by_conversion(facts, hints, doubts)
    if hints.crs is not None and _already_on_the_map(facts, hints.crs):
        return _as_given(facts, hints, hints.crs, doubts)
    return by_site(facts, hints, doubts)


def _already_on_the_map(facts: Facts, given: str) -> bool:
    centre = middle(facts)
    if centre is None or crs.is_geographic(given):
        return False
    return in_area(given, centre[None, :2] / crs.metres_per_unit(given))


def _as_given(facts: Facts, hints: Hints, given: str, doubts: Doubts) -> Placement:
    doubts.parameters["operation"] = "the model's coordinates are map coordinates of the given CRS"
    vertical = crs.vertical(given) or hints.vertical_crs
    placed = affine("given-crs", (crs.horizontal(given), vertical), np.zeros(3), np.eye(3), doubts)
    compare_with_site(facts, placed, doubts)
    return certified(placed, doubts)
