"""DescribeFeatureType: the XML schema of some layers."""

from xml.etree import ElementTree as ET

from layers.catalogue import Attribute
from server.ows import document, element
from server.wfs.versions import NAMESPACE, PREFIX, XSD, Version, ncname
from twin.store.interface import LayerInfo

_TYPES = {
    "string": "xsd:string", "integer": "xsd:long", "number": "xsd:double", "boolean": "xsd:boolean",
    "date": "xsd:date", "datetime": "xsd:dateTime",
}  # fmt: skip
_GEOMETRIES = {
    "point": "Point", "multipoint": "MultiPoint", "linestring": "Curve", "multilinestring": "MultiCurve",
    "polygon": "Surface", "multipolygon": "MultiSurface",
}  # fmt: skip


def schema(layers: list[LayerInfo], version: Version) -> bytes:
    """The document."""
    names = {
        "xmlns:xsd": XSD, "xmlns:gml": version.gml, f"xmlns:{PREFIX}": NAMESPACE, "targetNamespace": NAMESPACE,
        "elementFormDefault": "qualified", "version": "1.0",
    }  # fmt: skip
    imported = element("xsd:import", None, {"namespace": version.gml, "schemaLocation": version.gml_schema})
    parts = [part for each in layers for part in _layer(each, version)]
    return document(element("xsd:schema", None, names, [imported, *parts]))


def _layer(info: LayerInfo, version: Version) -> list[ET.Element]:
    name = ncname(info.id)
    head = "gml:AbstractFeature" if version.number == "2.0.0" else "gml:_Feature"
    members = [] if info.type.geometry == "none" else [_member("geometry", _geometry(info.type.geometry))]
    members.append(_member("id", "xsd:string"))
    members += [_member(ncname(each.name), _type(each)) for each in info.type.attributes]
    extended = element("xsd:extension", None, {"base": "gml:AbstractFeatureType"}, [
        element("xsd:sequence", children=members)
    ])  # fmt: skip
    return [
        element("xsd:complexType", None, {"name": f"{name}Type"}, [
            element("xsd:complexContent", children=[extended])
        ]),
        element("xsd:element", None, {
            "name": name, "type": f"{PREFIX}:{name}Type", "substitutionGroup": head,
        }),
    ]  # fmt: skip


def _member(name: str, kind: str) -> ET.Element:
    return element("xsd:element", None, {"name": name, "type": kind, "minOccurs": "0", "maxOccurs": "1"})


def _type(attribute: Attribute) -> str:
    return _TYPES[attribute.type]


def _geometry(kind: str) -> str:
    name = _GEOMETRIES.get(kind.lower().removesuffix("z").strip(), "Geometry")
    return f"gml:{name}PropertyType"
