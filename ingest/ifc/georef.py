"""Where an IFC model lies: which of its own statements counts.

In order of trust: a coordinate operation with IfcProjectedCRS (IFC4 and later) or ePSet_MapConversion (IFC2X3),
coordinates that are already those of a given CRS, IfcSite latitude and longitude. Nothing of these: Unplaceable.
"""

import numpy as np

from ingest.ifc.doubts import check_size, compare_with_site
from ingest.ifc.map_conversion import by_conversion
from ingest.ifc.placement import Doubts, Facts, FloatArray, Placement, affine, certified, in_area, middle, probes
from ingest.ifc.site import by_site
from ingest.place import by_control_points
from layers import crs
from layers.source import Hints


def place(facts: Facts, hints: Hints) -> Placement:
    """The placement of a surveyed model (`ingest.ifc.facts.survey`). Raises Unplaceable or InvalidInput.

    The context's WorldCoordinateSystem lies between the placements and everything that this module works out: the
    kernels leave it out, so it is applied here, and said. Control points go before everything the file says.
    """
    if hints.control_points:
        return _by_control_points(hints)
    system = facts.get("world_system")
    if system is None:
        return _place(facts, hints, Doubts())
    doubts = Doubts()
    frame = np.array(system, np.float64)
    x, y, z = (float(each) * facts["unit_m"] for each in frame[:3, 3])
    doubts.sentences.append(
        f"The WorldCoordinateSystem of the model's context lies at ({x:g}, {y:g}, {z:g}) m and not at the origin; it "
        "is applied to all placements."
    )
    doubts.parameters["world_coordinate_system"] = frame.tolist()
    return _place(_moved(facts, frame), hints, doubts).after(frame[:3, :3], frame[:3, 3] * facts["unit_m"])


def _by_control_points(hints: Hints) -> Placement:
    """The model's own coordinates in metres under the CRS of the true points; `ingest.read` moves them by the fit."""
    certificate, _ = by_control_points(None, hints, "The model")
    target = str(certificate.source_crs)
    return Placement(target, certificate.source_vertical_crs, np.zeros(3), np.eye(3), 1.0, certificate)


def _moved(facts: Facts, frame: FloatArray) -> Facts:
    """The facts with their positions in the frame around the WorldCoordinateSystem."""
    turn, shift = frame[:3, :3], frame[:3, 3]

    def moved(points: object, unit: float) -> list[list[float]]:
        found: list[list[float]] = (np.array(points, np.float64).reshape(-1, 3) @ turn.T + shift * unit).tolist()
        return found

    sites = [each | {"origin": moved(each["origin"] or (0.0, 0.0, 0.0), 1.0)[0]} for each in facts["sites"]]
    return {
        **facts,
        "sites": sites,
        "samples": moved(facts["samples"], 1.0),
        "probes": lambda: moved(probes(facts), facts["unit_m"]),
    }


def _place(facts: Facts, hints: Hints, doubts: Doubts) -> Placement:
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
