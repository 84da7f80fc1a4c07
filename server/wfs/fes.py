"""Filter Encoding 2.0 (OGC 09-026r2) and 1.1 (04-095), as a `FILTER` parameter, -> CQL2-JSON in the city's CRS.

Comparison, logical and spatial operators, ids, and dates by comparison. Functions and distances are refused by name.
Entities and document types are refused before anything is read; length is bounded by the address's.
"""

from collections.abc import Callable
from typing import Any

import orjson
import shapely
from lxml import etree

from layers.catalogue import LayerType
from layers.errors import InvalidInput
from server import boxes
from server.serving import Snapshot
from server.wfs import fes_geometry, reference_systems
from server.wfs.versions import from_ncname
from twin.store import cql2_parse

_COMPARED = {
    "PropertyIsEqualTo": "=", "PropertyIsNotEqualTo": "<>", "PropertyIsLessThan": "<", "PropertyIsGreaterThan": ">",
    "PropertyIsLessThanOrEqualTo": "<=", "PropertyIsGreaterThanOrEqualTo": ">=",
}  # fmt: skip
_SPATIAL = {
    "Intersects": "s_intersects", "Disjoint": "s_disjoint", "Within": "s_within", "Contains": "s_contains",
    "Touches": "s_touches", "Crosses": "s_crosses", "Overlaps": "s_overlaps", "Equals": "s_equals",
}  # fmt: skip
_IDS = {"ResourceId": "rid", "FeatureId": "fid", "GmlObjectId": "{http://www.opengis.net/gml}id"}
OPERATORS = {"comparison": (*_COMPARED, "PropertyIsLike", "PropertyIsNull", "PropertyIsNil", "PropertyIsBetween"),
             "spatial": ("BBOX", *_SPATIAL)}  # fmt: skip
MAX_DEPTH = 30


def read(text: str, layer_type: LayerType, city: Snapshot) -> dict[str, Any]:
    """The filter; InvalidInput says what of it is not understood."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(text.encode(), parser)
    except etree.XMLSyntaxError as error:
        raise _wrong(f"FILTER is not well-formed XML: {str(error)[:200]}.") from error
    if root.getroottree().docinfo.doctype:
        raise _wrong("FILTER has a document type.", "Leave it out.")
    if _local(root) != "Filter":
        raise _wrong(f"FILTER begins with <{_local(root)}>.", "Begin with <Filter>.")
    reader = _Reader(layer_type, city)
    terms = [reader.term(child, 0) for child in _children(root)]
    if not terms:
        raise _wrong("FILTER is empty.")
    if len(terms) == 1:
        return terms[0]
    return {"op": "or", "args": terms}  # several ids stand side by side


def resource_ids(text: str, layer_id: str) -> tuple[str, ...]:
    """Public ids in `RESOURCEID`; those of other layers are in none of this one's features."""
    return tuple(_public(each, layer_id) for each in text.split(","))


def _public(resource: str, layer_id: str) -> str:
    found = from_ncname(resource.strip())
    return found.removeprefix(f"{layer_id}.")


def _wrong(problem: str, hint: str = "") -> InvalidInput:
    return InvalidInput(problem, hint, code="InvalidParameterValue")


def _local(node: Any) -> str:
    return str(etree.QName(node).localname)


def _children(node: Any) -> list[Any]:
    return [child for child in node if isinstance(child.tag, str)]


class _Reader:
    """Reads operators over the properties of one layer."""

    def __init__(self, layer_type: LayerType, city: Snapshot) -> None:
        self._type, self._city = layer_type, city

    def term(self, node: Any, depth: int) -> dict[str, Any]:
        """Any operator as CQL2."""
        name = _local(node)
        if depth > MAX_DEPTH:
            raise _wrong(f"FILTER is nested more than {MAX_DEPTH} deep.")
        if name in {"And", "Or"}:
            return {"op": name.lower(), "args": [self.term(child, depth + 1) for child in self._some(node, 2)]}
        if name == "Not":
            return {"op": "not", "args": [self.term(self._some(node, 1)[0], depth + 1)]}
        if name in _COMPARED:
            return self._comparison(node, _COMPARED[name])
        if name == "BBOX":
            return self._box(node)
        if name in _SPATIAL:
            return self._spatial(node, _SPATIAL[name])
        if name in _IDS:
            public = _public(node.get(_IDS[name], ""), self._type.id)
            return {"op": "=", "args": [{"property": "id"}, public]}
        known: dict[str, Callable[[Any], dict[str, Any]]] = {
            "PropertyIsLike": self._like, "PropertyIsNull": self._null, "PropertyIsNil": self._null,
            "PropertyIsBetween": self._between,
        }  # fmt: skip
        if name not in known:
            raise _wrong(f"FILTER uses {name}, which is not read here.", "See Filter_Capabilities.")
        return known[name](node)

    def _some(self, node: Any, at_least: int) -> list[Any]:
        found = _children(node)
        if len(found) < at_least:
            raise _wrong(f"{_local(node)} has {len(found)} parts; it needs {at_least}.")
        return found

    def _property(self, node: Any) -> str:
        text = (node.text or "").strip().rstrip("/").rpartition("/")[2].rpartition(":")[2]
        name = from_ncname(text)
        if name not in {"id", "geometry"} and self._type.attribute(name) is None:
            raise _wrong(f"{self._type.id} has no property {name[:60]!r}.", "See DescribeFeatureType.")
        return name

    def _pair(self, node: Any) -> tuple[Any, Any]:
        """Two operands, literals in the type of the property beside them."""
        parts = self._some(node, 2)[:2]
        names = [self._property(each) if _is_property(each) else None for each in parts]
        by = next((name for name in names if name is not None), None)
        first, second = (
            {"property": name} if name is not None else self._literal(each, by)
            for each, name in zip(parts, names, strict=True)
        )
        return first, second

    def _literal(self, node: Any, name: str | None) -> Any:
        if _local(node) != "Literal":
            raise _wrong(f"FILTER compares with {_local(node)}, which is not read here.", "Use Literal.")
        text = (node.text or "").strip()
        attribute = None if name is None else self._type.attribute(name)
        kind = "string" if attribute is None else attribute.type
        try:
            if kind in {"integer", "number"}:
                return int(text) if kind == "integer" and text.lstrip("-").isdigit() else float(text)
        except ValueError as error:
            raise _wrong(f"{name} is a number; FILTER compares it with {text[:60]!r}.") from error
        if kind == "boolean":
            if text.lower() not in {"true", "false", "1", "0"}:
                raise _wrong(f"{name} is true or false; FILTER compares it with {text[:60]!r}.")
            return text.lower() in {"true", "1"}
        if kind in {"date", "datetime"}:
            return {"date": text} if len(text) == 10 else {"timestamp": text}
        return node.text or ""

    def _comparison(self, node: Any, operator: str) -> dict[str, Any]:
        first, second = self._pair(node)
        if node.get("matchCase") == "false" and operator in {"=", "<>"} and isinstance(second, str):
            first, second = {"op": "casei", "args": [first]}, {"op": "casei", "args": [second]}
        return {"op": operator, "args": [first, second]}

    def _like(self, node: Any) -> dict[str, Any]:
        first, second = self._pair(node)
        if not isinstance(second, str):
            raise _wrong("PropertyIsLike compares text with a pattern.")
        wild, single = node.get("wildCard", "*"), node.get("singleChar", "?")
        escape = node.get("escapeChar") or node.get("escape") or "\\"
        args: list[Any] = [first, _pattern(second, wild, single, escape)]
        if node.get("matchCase") == "false":
            args = [{"op": "casei", "args": [each]} for each in args]
        return {"op": "like", "args": args}

    def _null(self, node: Any) -> dict[str, Any]:
        return {"op": "isNull", "args": [{"property": self._property(self._some(node, 1)[0])}]}

    def _between(self, node: Any) -> dict[str, Any]:
        value, low, high = self._some(node, 3)[:3]
        name = self._property(value)
        ends = [self._literal(self._some(each, 1)[0], name) for each in (low, high)]
        return {"op": "between", "args": [{"property": name}, *ends]}

    def _box(self, node: Any) -> dict[str, Any]:
        envelope = _children(node)[-1] if _children(node) else None
        if envelope is None or _local(envelope) != "Envelope":
            raise _wrong("BBOX has no Envelope.")
        reference = reference_systems.read(envelope.get("srsName"), self._city, "srsName")
        low, high = fes_geometry.corners(envelope)
        return _within(box_region([*low, *high], reference, self._city))

    def _spatial(self, node: Any, operator: str) -> dict[str, Any]:
        parts = self._some(node, 2)[:2]
        if _is_property(parts[0]):
            name, shape, is_turned = self._property(parts[0]), parts[1], False
        else:
            name, shape, is_turned = self._property(parts[1]), parts[0], True
        if name != "geometry":
            raise _wrong(f"{name} is no geometry.")
        reference = reference_systems.read(shape.get("srsName"), self._city, "srsName")
        if _local(shape) == "Envelope":
            low, high = fes_geometry.corners(shape)
            placed = _geojson(box_region([*low, *high], reference, self._city))
        else:
            read_shape = fes_geometry.geojson(shape, is_north_first=reference.is_north_first)
            placed = cql2_parse.reproject(read_shape, reference.name, self._city.city.config.crs)
        args = [{"property": "geometry"}, placed]
        return {"op": operator, "args": args[::-1] if is_turned else args}


def box_region(values: list[float], reference: reference_systems.Reference, city: Snapshot) -> shapely.Geometry:
    """A box, in the axis order of its CRS as it was written, in the city's CRS."""
    from layers import crs

    a, b, c, d = values
    if crs.is_north_first(reference.name) and not reference.is_north_first:
        a, b, c, d = b, a, d, c
    text = ",".join(repr(each) for each in (a, b, c, d))
    found = boxes.asked(text, reference.name, city).region
    return boxes.NOWHERE if found is None else found


def _within(region: shapely.Geometry) -> dict[str, Any]:
    return {"op": "s_intersects", "args": [{"property": "geometry"}, _geojson(region)]}


def _geojson(shape: shapely.Geometry) -> Any:
    return orjson.loads(shapely.to_geojson(shape))


def _is_property(node: Any) -> bool:
    return _local(node) in {"ValueReference", "PropertyName"}


def _pattern(text: str, wild: str, single: str, escape: str) -> str:
    """A pattern in CQL2's own signs."""
    out, at = "", 0
    while at < len(text):
        if escape and text.startswith(escape, at) and at + len(escape) < len(text):
            at += len(escape)
            out += _plain(text[at])
            at += 1
        elif wild and text.startswith(wild, at):
            out, at = out + "%", at + len(wild)
        elif single and text.startswith(single, at):
            out, at = out + "_", at + len(single)
        else:
            out += _plain(text[at])
            at += 1
    return out


def _plain(character: str) -> str:
    return f"\\{character}" if character in "%_\\" else character
