"""What a parsed IFC file says about its alignments and their referents, in plain numbers. Runs in the worker.

The layout counts (IfcAlignmentHorizontal, IfcAlignmentVertical, IfcAlignmentCant with the design parameters of their
segments); an alignment without one may have a polyline. Spec: IFC 4.3.2, IfcAlignment and its concept templates.
"""

import json
from typing import Any

import ifcopenshell.util.unit as unit_util

from ingest.ifc import rows as ifc_rows
from ingest.ifc.frames import IDENTITY, Matrix, axis_placement, local_placement, product
from ingest.ifc.relations import get, relations

_ERRORS = (AttributeError, TypeError, ValueError, IndexError, RuntimeError, RecursionError)
_MAX_POINTS = 200_000


def alignments(model: Any) -> list[dict[str, Any]]:
    """Every IfcAlignment with its layout, in the order of the file; empty where the schema has none."""
    if model.schema != "IFC4X3_ADD2" and not model.schema.startswith("IFC4X3"):
        return []
    angle = unit_util.calculate_unit_scale(model, "PLANEANGLEUNIT")
    rows = ifc_rows.Rows(model)
    found = sorted(model.by_type("IfcAlignment"), key=lambda each: each.id())
    return [_alignment(model, each, float(angle), rows) for each in found]


def _alignment(model: Any, each: Any, angle: float, rows: ifc_rows.Rows) -> dict[str, Any]:
    related = relations(model)
    parts = _layouts(model, each)
    above = related.parent.get(each.id())
    owner = model.by_id(above) if above is not None else None
    if "IfcAlignmentHorizontal" not in parts and owner is not None and owner.is_a("IfcAlignment"):
        # several profiles over one line: the child has the heights, the parent the plan
        parts = {**_layouts(model, owner), **parts}
    facts: dict[str, Any] = {"row": rows.row(each.id()), "wrong": None, "horizontal": [], "vertical": [], "cant": None}
    facts |= {"polyline": None, "curves": _curves(each), "placement": _matrix(each)}
    try:
        facts["cant"] = _cant(model, parts)
        facts["horizontal"] = _horizontal(model, parts, angle)
        facts["vertical"] = _vertical(model, parts)
        if not facts["horizontal"]:
            facts["polyline"] = _polyline(each)
    except _ERRORS as error:
        facts["wrong"] = f"{type(error).__name__}: {error}"[:200]
    return facts


def starts(found: list[dict[str, Any]]) -> list[tuple[float, float, float]]:
    """Where the lines start, project units: the position of a model that has lines only."""
    points: list[Any] = []
    for each in found:
        for segment in each["horizontal"][:1]:
            frame = each["placement"] or IDENTITY
            x, y = segment["x"], segment["y"]
            points.append(tuple(row[0] * x + row[1] * y + row[3] for row in frame[:3]))
        points += [(*corner, 0.0)[:3] for corner in (each["polyline"] or [])[:1]]
    return points


def _layouts(model: Any, alignment: Any) -> dict[str, Any]:
    """Horizontal, vertical and cant layout by class; the first of each."""
    found: dict[str, Any] = {}
    for part in _parts(model, alignment):
        found.setdefault(part.is_a(), part)
    return found


def _parts(model: Any, whole: Any) -> list[Any]:
    numbers = relations(model).parts.get(whole.id(), ())
    return [model.by_id(each) for each in numbers]


def _segments(model: Any, layout: Any) -> list[Any]:
    parts = _parts(model, layout)
    return [each.DesignParameters for each in parts if each.is_a("IfcAlignmentSegment") and each.DesignParameters]


def _horizontal(model: Any, parts: dict[str, Any], angle: float) -> list[dict[str, Any]]:
    layout = parts.get("IfcAlignmentHorizontal")
    found, start = [], 0.0
    for each in _segments(model, layout) if layout is not None else []:
        x, y = (float(value) for value in each.StartPoint.Coordinates[:2])
        length = float(each.SegmentLength)
        found.append(
            {
                "x": x,
                "y": y,
                "direction": float(each.StartDirection) * angle,
                "start_radius": float(each.StartRadiusOfCurvature),
                "end_radius": float(each.EndRadiusOfCurvature),
                "length": length,
                "kind": str(each.PredefinedType),
                "gravity_height": float(each.GravityCenterLineHeight or 0.0),
                "start": start,
            }
        )
        start += length
    return found


def _vertical(model: Any, parts: dict[str, Any]) -> list[dict[str, Any]]:
    layout = parts.get("IfcAlignmentVertical")
    return [
        {
            "start": float(each.StartDistAlong),
            "height": float(each.StartHeight),
            "length": float(each.HorizontalLength),
            "first": float(each.StartGradient),
            "last": float(each.EndGradient),
            "kind": str(each.PredefinedType),
        }
        for each in (_segments(model, layout) if layout is not None else [])
    ]


def _cant(model: Any, parts: dict[str, Any]) -> dict[str, Any] | None:
    layout = parts.get("IfcAlignmentCant")
    if layout is None:
        return None
    segments = [
        {
            "start": float(each.StartDistAlong),
            "left": (float(each.StartCantLeft), float(each.EndCantLeft or 0.0)),
            "right": (float(each.StartCantRight), float(each.EndCantRight or 0.0)),
        }
        for each in _segments(model, layout)
    ]
    return {"rail_distance": float(layout.RailHeadDistance), "segments": segments}


def _representations(each: Any) -> list[Any]:
    definition = each.Representation
    return list(definition.Representations) if definition is not None else []


def _curves(alignment: Any) -> list[int]:
    """Instance numbers of its curves and of the curves that they lie on."""
    found: list[int] = []
    waiting = [item for each in _representations(alignment) for item in each.Items]
    while waiting:
        item = waiting.pop()
        if item.id() in found:
            continue
        found.append(item.id())
        base = get(item, "BaseCurve") or get(item, "BasisCurve")
        if base is not None:
            waiting.append(base)
    return found


def _polyline(alignment: Any) -> list[tuple[float, ...]] | None:
    """The corners of a polyline that stands for the line; three coordinates before two."""
    found = []
    for each in _representations(alignment):
        for item in each.Items:
            if item.is_a() == "IfcPolyline":
                found.append([tuple(map(float, point.Coordinates)) for point in item.Points])
            elif item.is_a("IfcIndexedPolyCurve") and not any(s.is_a("IfcArcIndex") for s in item.Segments or ()):
                points = [tuple(map(float, point)) for point in item.Points.CoordList]
                order = [i for s in item.Segments or () for i in s.wrappedValue]
                found.append([points[i - 1] for i in order] if order else points)
    found = [each for each in found if 2 <= len(each) <= _MAX_POINTS]
    return max(found, key=lambda each: len(each[0])) if found else None


def _matrix(each: Any) -> Matrix | None:
    placement = each.ObjectPlacement
    if placement is None or not placement.is_a("IfcLocalPlacement"):
        return None
    try:
        return local_placement(placement, {})
    except _ERRORS:
        return None


def referents(model: Any) -> list[dict[str, Any]]:
    """Every IfcReferent: where along which curve, or where in the model, and its station."""
    if model.schema != "IFC4X3_ADD2" and not model.schema.startswith("IFC4X3"):
        return []
    rows = ifc_rows.Rows(model)
    memory: dict[int, Matrix] = {}
    found = []
    for each in sorted(model.by_type("IfcReferent"), key=lambda one: one.id()):
        row = rows.row(each.id())
        facts: dict[str, Any] = {"row": row, "along": None, "at": None} | _station(row)
        try:
            facts |= _where(each.ObjectPlacement, memory)
        except _ERRORS as error:
            facts["wrong"] = f"{type(error).__name__}: {error}"[:200]
        found.append(facts)
    return found


def _station(row: dict[str, Any]) -> dict[str, Any]:
    values = json.loads(row["psets"] or "{}").get("Pset_Stationing", {})
    number = values.get("Station")
    return {"station": float(number) if isinstance(number, int | float) else None}


def _where(placement: Any, memory: dict[int, Matrix]) -> dict[str, Any]:
    if placement is None:
        return {}
    if placement.is_a("IfcLocalPlacement"):
        return {"at": [row[3] for row in local_placement(placement, memory)[:3]]}
    if not placement.is_a("IfcLinearPlacement"):
        return {}
    found: dict[str, Any] = {}
    if placement.CartesianPosition is not None:
        frame = axis_placement(placement.CartesianPosition)
        above = placement.PlacementRelTo
        if above is not None and above.is_a("IfcLocalPlacement"):
            frame = product(local_placement(above, memory), frame)
        found["at"] = [row[3] for row in frame[:3]]
    point = placement.RelativePlacement.Location
    if point.is_a("IfcPointByDistanceExpression") and point.DistanceAlong.is_a() != "IfcParameterValue":
        found["along"] = {
            "curve": point.BasisCurve.id(),
            "distance": float(point.DistanceAlong.wrappedValue),
            "left": float(point.OffsetLateral or 0.0),
            "up": float(point.OffsetVertical or 0.0),
            "ahead": float(point.OffsetLongitudinal or 0.0),
        }
    return found
