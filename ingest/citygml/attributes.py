"""Properties of a city object -> flat columns: simple ones, generic attributes, addresses, extensions.

A nested data type becomes columns with dots (`uro:buildingDetailAttribute.surveyYear`); what is there several times
is a list. Units and code spaces that are not the plain ones stand beside their value (`measuredHeight.uom`).
"""

import math
from typing import Any

from ingest.citygml.objects import FEATURES, SURFACE_LIKE
from ingest.citygml.stream import XLINK_HREF, Element, local, namespace
from layers.errors import InvalidInput

MAX_DEPTH = 16
MAX_VALUES = 20_000
"""Values of one object; a stranger may send more."""

METRES: dict[str, float] = {
    "": 1.0, "m": 1.0, "#m": 1.0, "metre": 1.0, "meter": 1.0, "urn:ogc:def:uom:epsg::9001": 1.0,
    "urn:ogc:def:uom:ucum::m": 1.0, "urn:ogc:def:uom:ogc:1.0:metre": 1.0, "urn:adv:uom:m": 1.0, "cm": 0.01, "#cm": 0.01,
    "mm": 0.001, "km": 1000.0, "ft": 0.3048, "#ft": 0.3048, "foot": 0.3048, "urn:ogc:def:uom:epsg::9002": 0.3048,
    "us-ft": 1200 / 3937, "urn:ogc:def:uom:epsg::9003": 1200 / 3937,
}  # fmt: skip
"""Metres in a unit of length, by its `uom` in lower case."""

_GENERIC = {
    "stringAttribute": str, "intAttribute": int, "doubleAttribute": float, "dateAttribute": str, "uriAttribute": str,
    "measureAttribute": float, "StringAttribute": str, "IntAttribute": int, "DoubleAttribute": float,
    "DateAttribute": str, "UriAttribute": str, "MeasureAttribute": float, "CodeAttribute": str,
}  # fmt: skip
_SETS = frozenset({"genericAttributeSet", "GenericAttributeSet"})
_PASSED = frozenset({"boundedBy", "boundary", "appearance", "groupMember", "metaDataProperty", "extent"})


class TooManyValues(InvalidInput):
    """An object with more than `MAX_VALUES` values."""


class _Values:
    def __init__(self) -> None:
        self.found: dict[str, Any] = {}
        self.n_values = 0

    def put(self, key: str, value: Any) -> None:
        self.n_values += 1
        if self.n_values > MAX_VALUES:
            raise TooManyValues(f"It has more than {MAX_VALUES} attribute values.", "", code="CG_TOO_MANY_VALUES")
        if key not in self.found:
            self.found[key] = value
        elif isinstance(self.found[key], list):
            self.found[key].append(value)
        else:
            self.found[key] = [self.found[key], value]


def attributes(element: Element) -> dict[str, Any]:
    """Columns of one object: text, int, float or lists of them. Raises TooManyValues."""
    values = _Values()
    for prop in element:
        name = local(prop)
        if name and not name.startswith("lod") and name not in _PASSED:
            _property(values, prop, "", 0)
    found = values.found
    if "yearOfConstruction" not in found and isinstance(found.get("dateOfConstruction"), str):
        found["yearOfConstruction"] = found["dateOfConstruction"][:4]
    if "measuredHeight" not in found and "height.value" in found:  # con:height of CityGML 3.0
        _first_height(found)
    return found


def _first_height(found: dict[str, Any]) -> None:
    value = found["height.value"]
    found["measuredHeight"] = value[0] if isinstance(value, list) else value


def _property(values: _Values, prop: Element, before: str, depth: int) -> None:
    name = local(prop)
    if name in _GENERIC or name in _SETS:
        _generic(values, prop, before, depth)
        return
    if name == "genericAttribute":  # CityGML 3.0 wraps them
        for child in prop:
            _generic(values, child, before, depth)
        return
    key = before + _prefix(prop) + name
    if name in {"address", "xalAddress"}:
        text = " ".join(text.strip() for text in prop.itertext() if text.strip())
        if text:
            values.put(key, text)
    elif len(prop):
        _nested(values, prop, key, depth)
    else:
        _simple(values, prop, key)


def _nested(values: _Values, prop: Element, key: str, depth: int) -> None:
    for child in prop:
        name = local(child)
        if name in FEATURES or name in SURFACE_LIKE or name.endswith("Surface"):
            return  # an object of its own, not an attribute
        if depth >= MAX_DEPTH or "opengis.net/gml" in namespace(child):
            continue
        if name[:1].isupper() and len(child):
            for inner in child:
                _property(values, inner, f"{key}.", depth + 1)
        else:
            _property(values, child, f"{key}.", depth + 1)


def _simple(values: _Values, prop: Element, key: str) -> None:
    text = (prop.text or "").strip()
    if not text:
        href = prop.get(XLINK_HREF)
        if href:
            values.put(key, href)
        return
    if (uom := prop.get("uom")) is not None:
        factor = METRES.get(uom.strip().lower())
        number = _number(text)
        if factor is not None and number is not None:
            values.put(key, number * factor if factor != 1.0 else number)
            if factor != 1.0:
                values.put(f"{key}.uom", f"{text} {uom}")
            return
        values.put(f"{key}.uom", uom)
    values.put(key, text)
    if codes := prop.get("codeSpace"):
        values.put(f"{key}.codeSpace", codes)


def _generic(values: _Values, prop: Element, before: str, depth: int) -> None:
    name = prop.get("name") or _text_of(prop, "name")
    key = f"{before}{name or local(prop)}"
    if not before and key in values.found and prop.get("name"):
        pass  # the same name twice: a list
    if local(prop) in _SETS:
        if depth < MAX_DEPTH:
            for child in prop:
                if local(child) not in {"name", "codeSpace"}:
                    _property(values, child, f"{key}.", depth + 1)
        return
    value = next((each for each in prop if local(each) == "value"), None)
    if value is None:
        return
    text = (value.text or "").strip()
    made: Any = text
    wanted = _GENERIC.get(local(prop), str)
    if wanted is not str and (number := _number(text)) is not None:
        made = int(number) if wanted is int and number == int(number) and abs(number) < 2**53 else number
    values.put(key, made)
    if uom := value.get("uom"):
        values.put(f"{key}.uom", uom)


def _text_of(prop: Element, name: str) -> str:
    return next(((each.text or "").strip() for each in prop if local(each) == name), "")


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _prefix(prop: Element) -> str:
    """`uro:` for an extension's property; nothing for CityGML's and GML's own."""
    uri = namespace(prop)
    if not uri or "opengis.net/" in uri:
        return ""
    return f"{prop.prefix or uri.rstrip('/').rsplit('/', 1)[-1]}:"
