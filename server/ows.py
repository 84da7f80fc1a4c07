"""What WMS and WMTS share: key-value parameters whatever their case, XML that is always escaped, exception reports.

Only GET with key-value pairs (and WMTS paths) is served: no XML of a stranger is ever parsed.
"""

import re
from collections.abc import Iterable, Mapping
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape as xml_escape

from starlette.requests import Request
from starlette.responses import Response

from layers import crs
from layers.errors import InvalidInput
from server import answer

XLINK = "http://www.w3.org/1999/xlink"
XML = "text/xml; charset=utf-8"
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
Child = ET.Element | None


def kvp(request: Request) -> dict[str, str]:
    """Query parameters by their names in capitals; of one given twice the first. Unknown ones are left to lie.

    WMS and WMTS let clients send what they like (06-042, 6.8): QGIS, for one, sends DPI and MAP_RESOLUTION.
    """
    found: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        found.setdefault(name.upper(), value)
    return found


def required(given: Mapping[str, str], name: str) -> str:
    """A parameter that must be there."""
    value = given.get(name, "")
    if not value:
        raise InvalidInput(f"{name} is missing.", "See GetCapabilities.", code="MissingParameterValue")
    return value


def whole(given: Mapping[str, str], name: str, low: int, high: int, default: int | None = None) -> int:
    """A whole number in a range."""
    if default is not None and name not in given:
        return default
    text = required(given, name)
    if not re.fullmatch(r"-?\d{1,9}", text) or not low <= int(text) <= high:
        raise InvalidInput(f"{name}={text[:20]!r} is no whole number from {low} to {high}.",
                           code="InvalidParameterValue")  # fmt: skip
    return int(text)


def crs_name(text: str) -> str:
    """`EPSG:4549`, `CRS:84`, a URN or a URI as the house spells it; the error has WMS's code."""
    wanted = {"CRS:84": crs.CRS84, "CRS84": crs.CRS84}.get(text.strip().upper(), text)
    try:
        return crs.horizontal(crs.name(wanted))
    except InvalidInput as error:
        raise InvalidInput(error.problem, error.hint, code="InvalidCRS") from error


def element(
    tag: str, text: object = None, attributes: Mapping[str, str] | None = None, children: Iterable[Child] = ()
) -> ET.Element:
    """An element; what XML cannot hold is left out of its text."""
    made = ET.Element(tag, {key: clean(value) for key, value in (attributes or {}).items()})
    if text is not None:
        made.text = clean(str(text))
    made.extend(child for child in children if child is not None)
    return made


def clean(text: str) -> str:
    """Text without the characters that XML 1.0 forbids."""
    return _ILLEGAL.sub("", text)


def escaped(address: str) -> bytes:
    """An address as it stands in a document."""
    return xml_escape(clean(address), {'"': "&quot;"}).encode()


def link(tag: str, href: str, attributes: Mapping[str, str] | None = None) -> ET.Element:
    """An element with an address (`xlink:href`)."""
    return element(tag, None, {"xlink:type": "simple", "xlink:href": href, **(attributes or {})})


def document(root: ET.Element) -> bytes:
    """An XML document in UTF-8."""
    ET.indent(root, " ")
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, "utf-8")


def respond(request: Request, body: bytes, media_type: str) -> Response:
    """A document with a validator from its bytes."""
    return answer.conditional(request, body, media_type, answer.etag(body))
