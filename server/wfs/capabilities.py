"""GetCapabilities of WFS 2.0.0 and 1.1.0."""

from xml.etree import ElementTree as ET

from server.ogc import BASE
from server.ows import XLINK, document, element
from server.serving import Snapshot
from server.wfs import fes, reference_systems
from server.wfs.versions import NAMESPACE, PREFIX, V2, Version, ncname
from twin.store.interface import LayerInfo

_OPERATIONS = ("GetCapabilities", "DescribeFeatureType", "GetFeature")
_TRUE = ("ImplementsBasicWFS", "KVPEncoding")
_FALSE = ("ImplementsTransactionalWFS", "ImplementsLockingWFS", "XMLEncoding", "SOAPEncoding", "ImplementsInheritance",
          "ImplementsRemoteResolve", "ImplementsResultPaging", "ImplementsStandardJoins", "ImplementsSpatialJoins",
          "ImplementsTemporalJoins", "ImplementsFeatureVersioning", "ManageStoredQueries")  # fmt: skip
_FES = {
    True: ("ImplementsQuery", "ImplementsAdHocQuery", "ImplementsResourceId", "ImplementsMinStandardFilter",
           "ImplementsStandardFilter", "ImplementsMinSpatialFilter", "ImplementsSpatialFilter"),
    False: ("ImplementsFunctions", "ImplementsMinTemporalFilter", "ImplementsTemporalFilter", "ImplementsVersionNav",
            "ImplementsExtendedOperators", "ImplementsMinimumXPath", "ImplementsSchemaElementFunc"),
}  # fmt: skip
GEOJSON = "application/json"


def capabilities(city: Snapshot, version: Version, language: str) -> bytes:
    """The document, with a placeholder for the server's address."""
    names = {
        "xmlns:wfs": version.wfs, "xmlns:ows": version.ows, "xmlns:xlink": XLINK, "xmlns:gml": version.gml,
        ("xmlns:fes" if version is V2 else "xmlns:ogc"): version.filter, f"xmlns:{PREFIX}": NAMESPACE,
        "version": version.number,
    }  # fmt: skip
    layers = element("wfs:FeatureTypeList", children=[_layer(city, each, version, language)
                                                      for each in city.vectors.values()])  # fmt: skip
    return document(element("wfs:WFS_Capabilities", None, names, [
        _service(city, version, language), _provider(city, language), _operations(version), layers, _filters(version),
    ]))  # fmt: skip


def formats(version: Version) -> tuple[str, ...]:
    """Output formats, the default first."""
    return (version.media_type, GEOJSON)


def _service(city: Snapshot, version: Version, language: str) -> ET.Element:
    return element("ows:ServiceIdentification", children=[
        element("ows:Title", city.city.config.title_in(language)), element("ows:ServiceType", "WFS"),
        element("ows:ServiceTypeVersion", version.number), element("ows:Fees", "none"),
        element("ows:AccessConstraints", "none"),
    ])  # fmt: skip


def _provider(city: Snapshot, language: str) -> ET.Element:
    return element("ows:ServiceProvider", children=[
        element("ows:ProviderName", city.city.config.title_in(language)), element("ows:ServiceContact"),
    ])  # fmt: skip


def _operations(version: Version) -> ET.Element:
    found = []
    for name in _OPERATIONS:
        http = element("ows:HTTP", children=[element("ows:Get", None, {"xlink:href": f"{BASE}/wfs?"})])
        parts = [element("ows:DCP", children=[http])]
        if name == "GetCapabilities":
            parts.append(_parameter("AcceptVersions", ("2.0.0", "1.1.0"), version))
        if name == "GetFeature":
            parts += [_parameter("outputFormat", formats(version), version),
                      _parameter("resultType", ("results", "hits"), version)]  # fmt: skip
        found.append(element("ows:Operation", None, {"name": name}, parts))
    if version is V2:
        found += [_constraint(name, "TRUE") for name in _TRUE] + [_constraint(name, "FALSE") for name in _FALSE]
    return element("ows:OperationsMetadata", children=found)


def _parameter(name: str, values: tuple[str, ...], version: Version) -> ET.Element:
    listed = [element("ows:Value", each) for each in values]
    if version is V2:
        listed = [element("ows:AllowedValues", children=listed)]
    return element("ows:Parameter", None, {"name": name}, listed)


def _constraint(name: str, value: str, prefix: str = "ows:") -> ET.Element:
    return element(f"{prefix}Constraint", None, {"name": name}, [
        element("ows:NoValues"), element("ows:DefaultValue", value)
    ])  # fmt: skip


def _layer(city: Snapshot, info: LayerInfo, version: Version, language: str) -> ET.Element:
    default, *others = reference_systems.offered(city)
    word = "CRS" if version is V2 else "SRS"
    title = getattr(info.type.title, language)
    parts = [element("wfs:Name", f"{PREFIX}:{ncname(info.id)}"), element("wfs:Title", title)]
    if info.type.geometry == "none":
        parts += [element("wfs:NoCRS")] if version is V2 else [element("wfs:NoSRS")]
    else:
        parts += [element(f"wfs:Default{word}", default)] + [element(f"wfs:Other{word}", each) for each in others]
    formats_of = [element("wfs:Format", each) for each in formats(version)]
    parts.append(element("wfs:OutputFormats", children=formats_of))
    if info.bounds is not None:
        west, south, east, north = city.lonlat(info.bounds)
        parts.append(element("ows:WGS84BoundingBox", children=[
            element("ows:LowerCorner", f"{west:.7f} {south:.7f}"),
            element("ows:UpperCorner", f"{east:.7f} {north:.7f}"),
        ]))  # fmt: skip
    return element("wfs:FeatureType", children=parts)


def _filters(version: Version) -> ET.Element:
    return _filters_20() if version is V2 else _filters_11()


def _filters_20() -> ET.Element:
    classes = [_constraint(name, "TRUE", "fes:") for name in (*_FES[True], "ImplementsSorting")]
    classes += [_constraint(name, "FALSE", "fes:") for name in _FES[False]]
    compared = [element("fes:ComparisonOperator", None, {"name": each}) for each in fes.OPERATORS["comparison"]]
    spatial = [element("fes:SpatialOperator", None, {"name": each}) for each in fes.OPERATORS["spatial"]]
    operands = [element("fes:GeometryOperand", None, {"name": f"gml:{each}"}) for each in _operands()]
    return element("fes:Filter_Capabilities", children=[
        element("fes:Conformance", children=classes),
        element("fes:Id_Capabilities", children=[element("fes:ResourceIdentifier", None, {"name": "fes:ResourceId"})]),
        element("fes:Scalar_Capabilities", children=[
            element("fes:LogicalOperators"), element("fes:ComparisonOperators", children=compared),
        ]),
        element("fes:Spatial_Capabilities", children=[
            element("fes:GeometryOperands", children=operands), element("fes:SpatialOperators", children=spatial),
        ]),
    ])  # fmt: skip


def _filters_11() -> ET.Element:
    names = {
        "EqualTo": "EqualTo", "NotEqualTo": "NotEqualTo", "LessThan": "LessThan", "GreaterThan": "GreaterThan",
        "LessThanEqualTo": "LessThanEqualTo", "GreaterThanEqualTo": "GreaterThanEqualTo", "Like": "Like",
        "Between": "Between", "NullCheck": "NullCheck",
    }  # fmt: skip
    compared = [element("ogc:ComparisonOperator", each) for each in names.values()]
    spatial = [element("ogc:SpatialOperator", None, {"name": each}) for each in fes.OPERATORS["spatial"]]
    operands = [element("ogc:GeometryOperand", f"gml:{each}") for each in _operands()[:4]]
    return element("ogc:Filter_Capabilities", children=[
        element("ogc:Spatial_Capabilities", children=[
            element("ogc:GeometryOperands", children=operands), element("ogc:SpatialOperators", children=spatial),
        ]),
        element("ogc:Scalar_Capabilities", children=[
            element("ogc:LogicalOperators"), element("ogc:ComparisonOperators", children=compared),
        ]),
        element("ogc:Id_Capabilities", children=[element("ogc:FID")]),
    ])  # fmt: skip


def _operands() -> tuple[str, ...]:
    return ("Envelope", "Point", "LineString", "Polygon", "MultiPoint", "MultiCurve", "MultiSurface")
