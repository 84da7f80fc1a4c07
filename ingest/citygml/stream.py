"""A CityGML file as a stream of its members: one city object or appearance in memory at a time, nothing fetched.

Standards: OGC 12-019 (CityGML 2.0, GML 3.1.1) and OGC 21-006r2 (CityGML 3.0, GML 3.2). libxml2's own limits hold
(depth 256, 10 MB a text node, no amplification of entities); beyond them one member may have `MEMBER_BYTES`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from lxml import etree

from ingest import markup
from layers.errors import InvalidInput

Element = Any
"""An element of lxml, which brings no types."""

MEMBER_BYTES = 400_000_000
"""So many bytes may lie between the ends of two members; a tree takes about five times as much memory."""

CHUNK_BYTES = 262_144

MEMBERS = ("cityObjectMember", "featureMember", "featureMembers", "member", "appearanceMember", "boundedBy")

XLINK_HREF = "{http://www.w3.org/1999/xlink}href"


@dataclass(frozen=True)
class Member:
    """One child of the root: a city object, an appearance, or the envelope of the whole model.

    Attributes
    ----------
    kind : what it is
    element : the object itself (not the property around it); emptied as soon as the next one is asked for
    version : of CityGML, from the namespace: `1.0`, `2.0`, `3.0`, or empty
    """

    kind: Literal["object", "appearance", "envelope"]
    element: Element
    version: str


def local(element: Element) -> str:
    """Tag without namespace; empty for comments and the like."""
    tag = element.tag
    return _name(tag) if isinstance(tag, str) else ""


@lru_cache(maxsize=4096)
def _name(tag: str) -> str:
    return tag[tag.rfind("}") + 1 :]


def namespace(element: Element) -> str:
    """Namespace of the tag."""
    tag = element.tag
    return tag[1 : tag.find("}")] if isinstance(tag, str) and tag.startswith("{") else ""


def gml_id(element: Element) -> str | None:
    """`gml:id` of GML 3.1 or 3.2, or None."""
    return element.get("{http://www.opengis.net/gml}id") or element.get("{http://www.opengis.net/gml/3.2}id")


def line_of(element: Element) -> str:
    """`line 12`; libxml2 counts no further than 65535."""
    line = element.sourceline or 0
    return f"line {line}" if line < 65535 else "beyond line 65534"


def members(path: Path, name: str) -> Iterator[Member]:
    """All members in the order of the file.

    Raises InvalidInput: `XML_ENTITIES`, `XML_BROKEN` (with line and column), `MEMBER_TOO_LARGE`, `FILE_EMPTY`.
    """
    markup.check(path)
    parser = etree.XMLPullParser(
        events=("end",),
        tag=[f"{{*}}{each}" for each in MEMBERS],
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        remove_blank_text=True,
    )
    n_since = 0
    with path.open("rb") as file:
        while data := file.read(CHUNK_BYTES):
            n_since += len(data)
            _feed(parser, data, name)
            for _, element in parser.read_events():
                if _is_top(element):
                    n_since = 0
                    yield from _of(element, name)
            if n_since > MEMBER_BYTES:
                problem = f"{name} has a member of more than {MEMBER_BYTES:,} bytes."
                raise InvalidInput(problem, "Export it in smaller tiles.", code="MEMBER_TOO_LARGE")
    _close(parser, name)


def _is_top(element: Element) -> bool:
    parent = element.getparent()
    return parent is not None and parent.getparent() is None


def _of(element: Element, name: str) -> Iterator[Member]:
    _check_document(element, name)
    kind: Literal["object", "appearance", "envelope"] = "object"
    if local(element) == "boundedBy":
        kind = "envelope"
    for each in list(element):
        if local(each):
            version = _version(each)
            yield Member("appearance" if local(each) == "Appearance" else kind, each, version)
            each.clear()
    parent = element.getparent()
    element.clear()
    while parent is not None and len(parent) and parent[0] is not element:
        del parent[0]


def _version(element: Element) -> str:
    root = element.getroottree().getroot()
    for uri in root.nsmap.values():
        at = (uri or "").rfind("opengis.net/citygml/")
        tail = uri.rsplit("/", 1)[1] if at >= 0 and uri else ""
        if tail[:1].isdigit():
            return tail
    return ""


def _check_document(element: Element, name: str) -> None:
    dtd = element.getroottree().docinfo.internalDTD
    if dtd is not None and any(True for _ in dtd.iterentities()):
        problem = f"{name} defines XML entities; it is not read."
        raise InvalidInput(problem, "Export it again without <!DOCTYPE … [ … ]>.", code="XML_ENTITIES")


def _feed(parser: etree.XMLPullParser, data: bytes, name: str) -> None:
    try:
        parser.feed(data)
    except etree.XMLSyntaxError as error:
        raise _broken(name, error) from error


def _close(parser: etree.XMLPullParser, name: str) -> None:
    try:
        parser.close()
    except etree.XMLSyntaxError as error:
        raise _broken(name, error) from error


def _broken(name: str, error: etree.XMLSyntaxError) -> InvalidInput:
    where = f"line {error.lineno}, column {error.offset}"
    problem = f"{name} is not well-formed XML at {where}: {error.msg}."
    return InvalidInput(problem, "It is cut off or damaged: export it again.", code="XML_BROKEN")
