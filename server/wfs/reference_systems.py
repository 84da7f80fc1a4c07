"""How WFS spells a CRS, and the axis order that goes with the spelling.

A URN or an OGC URI means the registry's order (EPSG:4549 and 4490: north first). The older `EPSG:4549` means x before
y, as every server and client of WFS 1.0 took it.
"""

from dataclasses import dataclass

from layers import crs
from layers.errors import InvalidInput
from server.serving import CRS84H, Snapshot


@dataclass(frozen=True)
class Reference:
    """A CRS as asked for. `written` goes into srsName; `is_north_first` is the order on the wire."""

    name: str
    written: str
    is_north_first: bool


def offered(city: Snapshot) -> list[str]:
    """The city's CRS first, then the others; those with heights of their own are not offered."""
    own = crs.name(city.city.config.crs)
    names = [own, *(each for each in city.crs_names if each not in {own, CRS84H})]
    return [urn(each) for each in names]


def urn(name: str) -> str:
    """A CRS as a URN."""
    if name == crs.CRS84:
        return "urn:ogc:def:crs:OGC:1.3:CRS84"
    return f"urn:ogc:def:crs:EPSG::{crs.uri(name).rpartition('/')[2]}"


def read(text: str | None, city: Snapshot, parameter: str) -> Reference:
    """A CRS that is offered; the city's where none is named."""
    if not text:
        text = urn(city.city.config.crs)
    cleaned = text.strip().replace("http://www.opengis.net/gml/srs/epsg.xml#", "EPSG:")
    try:
        name = crs.name(cleaned)
    except InvalidInput as error:
        raise InvalidInput(error.problem, error.hint, code="InvalidParameterValue") from error
    if name not in city.crs_names or name == CRS84H:
        known = ", ".join(offered(city))
        raise InvalidInput(f"{parameter}={text[:80]!r} is not offered.", f"Offered: {known}.",
                           code="InvalidParameterValue")  # fmt: skip
    is_plain = cleaned.upper().startswith("EPSG:")
    return Reference(name, text.strip(), crs.is_north_first(name) and not is_plain)
