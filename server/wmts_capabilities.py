"""Capabilities and exception reports of WMTS 1.0.0 (07-057r7, 7.1; 06-121r3, 8)."""

from urllib.parse import quote
from xml.etree import ElementTree as ET

from layers import crs
from layers.catalogue import Title
from layers.crs import Bounds
from layers.errors import InvalidInput
from server import map_layers
from server.map_layers import CITY, CITY_LABELLED, MapLayer
from server.ogc import BASE
from server.ows import XLINK, element, link
from server.ows import document as xml_document
from server.serving import Snapshot, not_flat
from tiles import matrix_set
from tiles.matrix_set import TILE_SIZE, MatrixSet

WMTS, OWS = "http://www.opengis.net/wmts/1.0", "http://www.opengis.net/ows/1.1"
ROOT = "city"
"""The layer with everything, unless a layer of the twin has that name."""
FORMATS = {"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp"}
INFO_FORMATS = {"json": "application/json", "html": "text/html", "txt": "text/plain"}
_ADVERTISED = ("png", "jpeg", "webp")
CODES = {
    "MissingParameterValue", "InvalidParameterValue", "OperationNotSupported", "TileOutOfRange", "PointIJOutOfRange",
}  # fmt: skip


def document(city: Snapshot, language: str) -> bytes:
    """The capabilities, with a placeholder for the server's address."""
    names = {"xmlns": WMTS, "xmlns:ows": OWS, "xmlns:xlink": XLINK, "version": "1.0.0"}
    sets = [matrix_set.get(each, city.city.config.crs) for each in matrix_set.ids(city.city.config.crs)]
    known = map_layers.every(city)
    layers = [_layer(city, each, sets, language) for each in reversed(known.values())]
    if map_layers.features(city) and ROOT not in known:
        layers.insert(0, _city(city, sets, language))
    contents = element("Contents", children=[*layers, *(_matrix_set(each) for each in sets)])
    address = {"xlink:href": f"{BASE}/wmts/1.0.0/WMTSCapabilities.xml"}
    return xml_document(element("Capabilities", None, names, [
        _identification(city, language), _provider(city, language), _operations(), contents,
        element("ServiceMetadataURL", None, address),
    ]))  # fmt: skip


def _identification(city: Snapshot, language: str) -> ET.Element:
    return element("ows:ServiceIdentification", children=[
        element("ows:Title", city.city.config.title_in(language)),
        element("ows:ServiceType", "OGC WMTS"),
        element("ows:ServiceTypeVersion", "1.0.0"),
        element("ows:Fees", "none"),
        element("ows:AccessConstraints", "none"),
    ])  # fmt: skip


def _provider(city: Snapshot, language: str) -> ET.Element:
    return element("ows:ServiceProvider", children=[
        element("ows:ProviderName", city.city.config.title_in(language)),
        link("ows:ProviderSite", f"{BASE}/"),
        element("ows:ServiceContact"),
    ])  # fmt: skip


def _operations() -> ET.Element:
    found = []
    for name in ("GetCapabilities", "GetTile", "GetFeatureInfo"):
        values = element("ows:AllowedValues", children=[element("ows:Value", "KVP")])
        get = element("ows:Get", None, {"xlink:href": f"{BASE}/wmts?"},
                      [element("ows:Constraint", None, {"name": "GetEncoding"}, [values])])  # fmt: skip
        http = element("ows:HTTP", children=[get])
        found.append(element("ows:Operation", None, {"name": name}, [element("ows:DCP", children=[http])]))
    return element("ows:OperationsMetadata", children=found)


def _city(city: Snapshot, sets: list[MatrixSet], language: str) -> ET.Element:
    styles = [(name, map_layers.TITLES[name]) for name in (CITY, CITY_LABELLED)]
    title = city.city.config.title_in(language)
    return _described(city, (ROOT, title), city.city_bounds, styles, sets, language=language)


def _layer(city: Snapshot, layer: MapLayer, sets: list[MatrixSet], language: str) -> ET.Element:
    styles = [(name, map_layers.TITLES.get(name, Title(name, name))) for name in layer.styles]
    title = getattr(layer.type.title, language)
    return _described(city, (layer.id, title), layer.bounds, styles, sets, language=language)


def _described(
    city: Snapshot, named: tuple[str, str], bounds: Bounds | None, styles: list[tuple[str, Title]],
    sets: list[MatrixSet], *, language: str,
) -> ET.Element:  # fmt: skip
    layer_id, title = named
    address = f"{BASE}/wmts/1.0.0/{quote(layer_id, safe='')}/{{Style}}/{{TileMatrixSet}}/{{TileMatrix}}/{{TileRow}}"
    found = [element("ows:Title", title), *_boxes(city, bounds), element("ows:Identifier", layer_id)]
    for at, (name, words) in enumerate(styles):
        parts: list[ET.Element | None] = [element("ows:Title", getattr(words, language))]
        parts.append(element("ows:Identifier", name))
        if layer_id != ROOT:
            href = f"{BASE}/collections/{quote(layer_id)}/styles/{quote(name)}/legend"
            parts.append(element("LegendURL", None, {"format": "image/png", "xlink:href": href}))
        found.append(element("Style", None, {"isDefault": "true" if at == 0 else "false"}, parts))
    found += [element("Format", FORMATS[each]) for each in _ADVERTISED]
    found += [element("InfoFormat", each) for each in INFO_FORMATS.values()]
    found += [
        element("TileMatrixSetLink", children=[element("TileMatrixSet", each.id)]) for each in sets
    ]  # fmt: skip
    found += [_template(FORMATS[each], "tile", f"{address}/{{TileCol}}.{each}") for each in _ADVERTISED]
    info = f"{address}/{{TileCol}}/{{J}}/{{I}}"
    found += [_template(kind, "FeatureInfo", f"{info}.{name}") for name, kind in INFO_FORMATS.items()]
    return element("Layer", children=found)


def _template(kind: str, what: str, template: str) -> ET.Element:
    return element("ResourceURL", None, {"format": kind, "resourceType": what, "template": template})


def _boxes(city: Snapshot, bounds: Bounds | None) -> list[ET.Element]:
    """In degrees, east first as 06-121r3 says, and in the city's CRS in its own axis order."""
    west, south, east, north = city.lonlat(bounds)
    found = [_box("ows:WGS84BoundingBox", (west, south, east, north), {})]
    if bounds is not None:
        own = crs.horizontal(city.city.config.crs)
        try:
            label = {"crs": urn(own)}
        except InvalidInput:
            return found
        west, south, east, north = not_flat(bounds)
        box = (south, west, north, east) if crs.is_north_first(own) else (west, south, east, north)
        found.append(_box("ows:BoundingBox", box, label))
    return found


def _box(tag: str, box: Bounds, attributes: dict[str, str]) -> ET.Element:
    low, high = f"{box[0]!r} {box[1]!r}", f"{box[2]!r} {box[3]!r}"
    return element(tag, None, attributes, [element("ows:LowerCorner", low), element("ows:UpperCorner", high)])


def _matrix_set(grid: MatrixSet) -> ET.Element:
    known = dict(grid.head).get("wellKnownScaleSet")
    described = grid.document()
    matrices = [
        element("TileMatrix", children=[
            element("ows:Identifier", each["id"]),
            element("ScaleDenominator", repr(each["scaleDenominator"])),
            # in the axis order of the CRS (07-057r7, 6.1)
            element("TopLeftCorner", " ".join(map(repr, each["pointOfOrigin"]))),
            element("TileWidth", TILE_SIZE),
            element("TileHeight", TILE_SIZE),
            element("MatrixWidth", each["matrixWidth"]),
            element("MatrixHeight", each["matrixHeight"]),
        ])
        for each in described["tileMatrices"]
    ]  # fmt: skip
    return element("TileMatrixSet", children=[
        element("ows:Title", grid.title),
        element("ows:Identifier", grid.id),
        element("ows:SupportedCRS", urn(grid.crs)),
        element("WellKnownScaleSet", _wkss(known)) if known else None,
        *matrices,
    ])  # fmt: skip


def _wkss(uri: str) -> str:
    return f"urn:ogc:def:wkss:OGC:1.0:{uri.rpartition('/')[2]}"


def urn(name: str) -> str:
    """A CRS as WMTS spells it."""
    if name == crs.CRS84:
        return "urn:ogc:def:crs:OGC:1.3:CRS84"
    return f"urn:ogc:def:crs:EPSG::{crs.uri(name).rpartition('/')[2]}"


def exception(message: str, code: str) -> bytes:
    """An exception report of one exception."""
    names = {"xmlns:ows": OWS, "version": "1.1.0", "xml:lang": "en"}
    said = {"exceptionCode": code if code in CODES else "InvalidParameterValue"}
    return xml_document(element("ows:ExceptionReport", None, names, [
        element("ows:Exception", None, said, [element("ows:ExceptionText", message)])
    ]))  # fmt: skip
