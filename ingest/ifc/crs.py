"""Which CRS an IfcProjectedCRS means: an EPSG code, well-known text, or the name of one."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ingest.ifc.placement import WGS84, Doubts
from layers import crs
from layers.errors import InvalidInput, Unplaceable
from layers.source import Hints

_EPSG = re.compile(r"^\s*(?:urn:ogc:def:crs:)?EPSG\W*(?:[\d.]*:)?\s*(\d{4,6})\s*$", re.IGNORECASE)


def city_crs(hints: Hints, how: str) -> str:
    """The city's projected CRS, for a model placed by longitude and latitude. Raises Unplaceable without one."""
    city = hints.city_crs or hints.crs
    if city is None or crs.is_geographic(city):
        raise Unplaceable(
            f"{how}, and the city has no projected CRS to place it in.",
            "Give the city's CRS in city.toml.",
            code="IFC_NO_CITY_CRS",
        )
    return city


def projected_crs(found: Mapping[str, Any], hints: Hints, doubts: Doubts) -> tuple[str, str | None]:
    """Horizontal and vertical CRS of the target; the file's word first, then the hint."""
    texts = [found.get("wkt"), found.get("name")]
    for text in filter(None, texts):
        known = _known_crs(str(text))
        if known is None:
            continue
        if found.get("wkt") and (named := _named(found)) and named != crs.horizontal(known):
            doubts.sentences.append(
                f"IfcProjectedCRS names {named} but its well-known text is {crs.horizontal(known)}."
            )
        vertical = known_vertical(found.get("vertical_datum")) or crs.vertical(known)
        if crs.is_geographic(known):
            break
        doubts.parameters["projected_crs"] = str(found.get("name"))
        doubts.parameters["vertical_datum"] = found.get("vertical_datum")
        return crs.horizontal(known), vertical
    if hints.crs is not None and not crs.is_geographic(hints.crs):
        doubts.sentences.append(f"The file's CRS {found.get('name')!r} is not known; {hints.crs} was given for it.")
        return crs.horizontal(hints.crs), crs.vertical(hints.crs) or known_vertical(found.get("vertical_datum"))
    raise Unplaceable(
        f"The map conversion's target CRS {found.get('name')!r} is not a projected CRS that can be looked up.",
        "Name it by its EPSG code (IfcProjectedCRS.Name = 'EPSG:4549') or give `crs` for this file in city.toml.",
        code="IFC_CRS_UNKNOWN",
    )


def geographic_crs(found: Mapping[str, Any]) -> tuple[str, str | None]:
    """Horizontal and vertical CRS of an IfcGeographicCRS. Raises Unplaceable."""
    for text in filter(None, (found.get("wkt"), found.get("name"))):
        known = _known_crs(str(text))
        if known is not None and crs.is_geographic(known):
            return crs.horizontal(known), crs.vertical(known)
    raise Unplaceable(
        f"The rigid operation is in angles, but its target CRS {found.get('name')!r} is no geographic CRS that can be "
        "looked up.",
        "Name it by its EPSG code (IfcGeographicCRS.Name = 'EPSG:4490').",
        code="IFC_CRS_UNKNOWN",
    )


def _named(found: Mapping[str, Any]) -> str | None:
    for text in (found.get("name"), found.get("description")):
        if text and (match := _EPSG.match(str(text))):
            return f"EPSG:{match[1]}"
    return None


def _known_crs(text: str) -> str | None:
    match = _EPSG.match(text)
    try:
        found = f"EPSG:{match[1]}" if match else _without_epoch(text)
        return _without_shift(found)
    except InvalidInput:
        return None


def _without_shift(text: str) -> str:
    """The CRS inside a bound one: a TOWGS84 in well-known text is a transformation, not part of the system."""
    parsed = crs.parse(text)
    parts = [each.source_crs if each.is_bound else each for each in (parsed.sub_crs_list or [parsed])]
    names = [_coded(crs.name(each.to_wkt())) for each in parts]
    if len(names) == 2 and all(each.startswith("EPSG:") for each in names):
        return f"{names[0]}+{names[1].removeprefix('EPSG:')}"
    return crs.name(text) if len(names) > 1 else names[0]


def _coded(name: str) -> str:
    """A well-known text that is in effect a registered CRS (axes or names written differently) as its code."""
    if name.startswith("EPSG:"):
        return name
    authority = crs.parse(name).to_authority(min_confidence=20)
    if authority is None or authority[0] != "EPSG":
        return name
    code = f"EPSG:{authority[1]}"
    area = crs.area_of_use(code)
    if area is None:
        return name
    lon, lat = np.array([area[0], area[2]]), np.array([area[1], area[3]])
    shift = np.subtract(crs.transform(WGS84, name, lon, lat), crs.transform(WGS84, code, lon, lat))
    return code if np.isfinite(shift).all() and np.abs(shift).max() < 1e-3 else name


def _without_epoch(text: str) -> str:
    """IFC's well-known text may append an EPOCH member after the definition, which is not part of it."""
    return re.sub(r"\]\s*,?\s*(?:EPOCH|COORDINATEMETADATA)\[[^\]]*\]\s*\]?\s*$", "]", text.strip())


def known_vertical(text: object) -> str | None:
    """A vertical CRS by code or name; None for anything else."""
    if not text:
        return None
    match = _EPSG.match(str(text))
    try:
        found = crs.parse(f"EPSG:{match[1]}" if match else str(text))
    except InvalidInput:
        return None
    return crs.name(f"EPSG:{match[1]}" if match else str(text)) if found.is_vertical else None
