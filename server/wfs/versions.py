"""What differs between WFS 2.0.0 (OGC 09-025r2) and 1.1.0 (04-094), and names that XML can hold."""

import re
from dataclasses import dataclass

NAMESPACE, PREFIX = "urn:citytwin:features", "city"
XSD, XSI = "http://www.w3.org/2001/XMLSchema", "http://www.w3.org/2001/XMLSchema-instance"
_START = "A-Z_a-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02ff\u0370-\u037d\u037f-\u1fff\u3001-\ud7ff\uf900-\ufdcf"
_REST = _START + "\\-.0-9\u00b7\u0300-\u036f"
_BAD_START, _BAD = re.compile(f"^[^{_START}]"), re.compile(f"[^{_REST}]")
_ESCAPED = re.compile("_x([0-9A-F]{4,6})_")


@dataclass(frozen=True)
class Version:
    """Namespaces and words of one version."""

    number: str
    wfs: str
    ows: str
    filter: str
    gml: str
    gml_schema: str
    media_type: str
    type_names: str
    count: str


V2 = Version(
    "2.0.0", "http://www.opengis.net/wfs/2.0", "http://www.opengis.net/ows/1.1", "http://www.opengis.net/fes/2.0",
    "http://www.opengis.net/gml/3.2", "http://schemas.opengis.net/gml/3.2.1/gml.xsd",
    "application/gml+xml; version=3.2", "TYPENAMES", "COUNT",
)  # fmt: skip
V11 = Version(
    "1.1.0", "http://www.opengis.net/wfs", "http://www.opengis.net/ows", "http://www.opengis.net/ogc",
    "http://www.opengis.net/gml", "http://schemas.opengis.net/gml/3.1.1/base/gml.xsd",
    "text/xml; subtype=gml/3.1.1", "TYPENAME", "MAXFEATURES",
)  # fmt: skip
VERSIONS = {each.number: each for each in (V2, V11)}


def negotiated(asked: str | None, accepted: str | None) -> Version:
    """The version of a request: named, or the first of ACCEPTVERSIONS that is here; else 2.0.0."""
    for each in (accepted or "").split(","):
        if each.strip() in VERSIONS:
            return VERSIONS[each.strip()]
    if asked is None:
        return V2
    return VERSIONS.get(asked, V11 if asked < V2.number else V2)


def ncname(text: str) -> str:
    """A name that XML allows; other characters are written `_x0020_`, so that `from_ncname` finds the way back."""
    marked = _ESCAPED.sub(lambda match: "_x005F_" + match[0][1:], text)
    made = _BAD.sub(lambda match: f"_x{ord(match[0]):04X}_", marked)
    return _BAD_START.sub(lambda match: f"_x{ord(match[0]):04X}_", made)


def from_ncname(name: str) -> str:
    """The text of which `ncname` made this."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), name)
