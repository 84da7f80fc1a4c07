"""Geometries of a filter in GML 3.2, 3.1.1 and 2 -> GeoJSON, east first."""

import math
from typing import Any

from lxml import etree

from layers.errors import InvalidInput

_PARTS = {
    "MultiPoint": "MultiPoint", "MultiLineString": "MultiLineString", "MultiCurve": "MultiLineString",
    "MultiPolygon": "MultiPolygon", "MultiSurface": "MultiPolygon",
}  # fmt: skip
MAX_POSITIONS = 5000


def _local(node: Any) -> str:
    return str(etree.QName(node).localname)


def _wrong(problem: str) -> InvalidInput:
    return InvalidInput(
        problem, "Use gml:Point, LineString, Polygon, Multi… or Envelope.", code="InvalidParameterValue"
    )


def corners(envelope: Any) -> tuple[list[float], list[float]]:
    """Lower and upper corner as written."""
    found = {_local(each): _numbers(each.text) for each in envelope if isinstance(each.tag, str)}
    low, high = found.get("lowerCorner", []), found.get("upperCorner", [])
    if len(low) < 2 or len(high) < 2:
        raise _wrong("An Envelope has no lowerCorner and upperCorner of two numbers.")
    return low[:2], high[:2]


def geojson(node: Any, *, is_north_first: bool) -> dict[str, Any]:
    """A geometry, its axes exchanged where north comes first."""
    name = _local(node)
    if name in _PARTS:
        members = [
            geojson(each, is_north_first=is_north_first)
            for member in node if isinstance(member.tag, str) for each in member if isinstance(each.tag, str)
        ]  # fmt: skip
        return {"type": _PARTS[name], "coordinates": [each["coordinates"] for each in members]}
    if name == "Point":
        return {"type": "Point", "coordinates": _positions(node, is_north_first)[0]}
    if name == "LineString":
        return {"type": "LineString", "coordinates": _positions(node, is_north_first)}
    if name == "Polygon":
        sides = {"exterior", "interior", "outerBoundaryIs", "innerBoundaryIs"}
        rings = [each for each in node.iter() if isinstance(each.tag, str) and _local(each) in sides]
        rings.sort(key=lambda each: _local(each) in {"interior", "innerBoundaryIs"})
        if not rings:
            raise _wrong("A Polygon has no exterior.")
        return {"type": "Polygon", "coordinates": [_positions(each, is_north_first) for each in rings]}
    raise _wrong(f"FILTER has a geometry {name[:40]!r}, which is not read here.")


def _positions(node: Any, is_north_first: bool) -> list[list[float]]:
    """Positions in posList, pos or coordinates below a node."""
    flat: list[list[float]] = []
    for each in node.iter():
        name = _local(each) if isinstance(each.tag, str) else ""
        if name == "pos":
            flat.append(_numbers(each.text)[:2])
        elif name == "posList":
            size = int(each.get("srsDimension") or node.get("srsDimension") or 2)
            values = _numbers(each.text)
            flat += [values[at : at + 2] for at in range(0, len(values), size if size in {2, 3} else 2)]
        elif name == "coordinates":
            flat += [_numbers(pair.replace(",", " "))[:2] for pair in (each.text or "").split()]
    if not flat or len(flat) > MAX_POSITIONS or any(len(each) < 2 for each in flat):
        raise _wrong(f"A geometry of FILTER has {len(flat)} whole positions; 1 to {MAX_POSITIONS} are read.")
    return [[b, a] for a, b in flat] if is_north_first else flat


def _numbers(text: str | None) -> list[float]:
    try:
        values = [float(each) for each in (text or "").split()]
    except ValueError as error:
        raise _wrong(f"{(text or '').strip()[:60]!r} in FILTER are no numbers.") from error
    if not all(math.isfinite(each) for each in values):
        raise _wrong("A position in FILTER is not finite.")
    return values
