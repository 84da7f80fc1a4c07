"""Capabilities and exceptions of WMS 1.3.0 (06-042, annexes A and E) and 1.1.1 (01-068r3, annex A)."""

from collections.abc import Mapping, Sequence
from xml.etree import ElementTree as ET

from starlette.responses import Response

from layers import crs
from layers.catalogue import Title
from layers.crs import Bounds
from layers.errors import InvalidInput
from server import answer, feature_info, map_layers, map_view
from server.map_layers import MapLayer
from server.ogc import BASE
from server.ows import XLINK, element, link
from server.ows import document as xml_document
from server.serving import Snapshot, not_flat
from twin.store import moments

WMS = "http://www.opengis.net/wms"
OGC = "http://www.opengis.net/ogc"
MAX_SIDE = 4096
ROOT, GROUP = "city", "group."
"""Names of the whole city and, with a category behind it, of a group."""
CODES = {
    "InvalidFormat", "InvalidCRS", "InvalidSRS", "LayerNotDefined", "StyleNotDefined", "LayerNotQueryable",
    "InvalidPoint", "CurrentUpdateSequence", "InvalidUpdateSequence", "MissingDimensionValue",
    "InvalidDimensionValue", "OperationNotSupported",
}  # fmt: skip
"""Of a ServiceException (06-042, table E.1; 01-068r3, table A.1). Other errors have none."""
PICTURES = ("image/png", "image/jpeg", "image/webp", "image/tiff")
WORLD = (-180.0, -90.0, 180.0, 90.0)


def document(city: Snapshot, version: str, language: str) -> bytes:
    """The capabilities, with a placeholder for the server's address."""
    is_new = version == "1.3.0"
    root = ET.Element("WMS_Capabilities" if is_new else "WMT_MS_Capabilities", {"version": version})
    if is_new:
        root.set("xmlns", WMS)
    root.set("xmlns:xlink", XLINK)
    root.append(_service(city, language, is_new=is_new))
    formats = ("XML", "INIMAGE", "BLANK") if is_new else (
        "application/vnd.ogc.se_xml", "application/vnd.ogc.se_inimage", "application/vnd.ogc.se_blank"
    )  # fmt: skip
    exceptions = element("Exception", children=[element("Format", each) for each in formats])
    writer = _Layers(city, language, is_new=is_new)
    root.append(element("Capability", children=[_request(is_new=is_new), exceptions, writer.root()]))
    return xml_document(root)


def _service(city: Snapshot, language: str, *, is_new: bool) -> ET.Element:
    config = city.city.config
    other = "en" if language == "zh" else "zh"
    limits = [element("MaxWidth", MAX_SIDE), element("MaxHeight", MAX_SIDE)] if is_new else []
    return element("Service", children=[
        element("Name", "WMS" if is_new else "OGC:WMS"),
        element("Title", config.title_in(language)),
        element("Abstract", config.title_in(other)),
        element("KeywordList", children=[element("Keyword", each) for each in ("CIM", "GIS")]),
        link("OnlineResource", f"{BASE}/"),
        element("Fees", "none"),
        element("AccessConstraints", "none"),
        *limits,
    ])  # fmt: skip


def _request(*, is_new: bool) -> ET.Element:
    own = "text/xml" if is_new else "application/vnd.ogc.wms_xml"
    operations = (
        ("GetCapabilities", (own,)), ("GetMap", PICTURES), ("GetFeatureInfo", tuple(feature_info.FORMATS)),
    )  # fmt: skip
    found = []
    for name, formats in operations:
        get = element("Get", children=[link("OnlineResource", f"{BASE}/wms?")])
        kinds = [element("Format", each) for each in formats]
        found.append(element(name, children=[*kinds, element("DCPType", children=[element("HTTP", children=[get])])]))
    return element("Request", children=found)


class _Layers:
    """Writes the tree of layers."""

    def __init__(self, city: Snapshot, language: str, *, is_new: bool) -> None:
        self.city, self.language, self.is_new = city, language, is_new
        self.names = map_view.offered(city)
        self.city_crs = crs.horizontal(city.city.config.crs)

    def root(self) -> ET.Element:
        """The city, its categories, their layers; uppermost first, as clients list them."""
        everything = list(map_layers.every(self.city).values())
        bounds = self.city.city_bounds
        drawn = bool(map_layers.features(self.city))
        groups = [self._group(*each) for each in map_layers.by_category(everything)]
        return element("Layer", None, {"queryable": "1"} if drawn else {}, [
            element("Name", ROOT) if drawn else None,
            element("Title", self.city.city.config.title_in(self.language)),
            *(element("CRS" if self.is_new else "SRS", wire_name(name)) for name in self.names if self._says(name)),
            *self._boxes(bounds),
            *groups,
        ])  # fmt: skip

    def _says(self, name: str) -> bool:
        return self.is_new or name != crs.CRS84  # 1.1.1 knows no CRS:84

    def _group(self, key: str, title: Title, layers: Sequence[MapLayer]) -> ET.Element:
        inside = [self._layer(each) for each in reversed(layers)]
        head = [element("Name", f"{GROUP}{key}"), element("Title", getattr(title, self.language))]
        return element("Layer", None, {"queryable": "1"}, [*head, *inside])

    def _layer(self, layer: MapLayer) -> ET.Element:
        kind = layer.type
        said = kind.description or Title(kind.title.en, kind.title.zh)
        return element("Layer", None, {"queryable": "1"}, [
            element("Name", layer.id),
            element("Title", getattr(kind.title, self.language)),
            element("Abstract", getattr(said, self.language)),
            *self._boxes(layer.bounds),
            *self._times(layer),
            *(self._style(layer, name) for name in layer.styles),
        ])  # fmt: skip

    def _style(self, layer: MapLayer, name: str) -> ET.Element:
        title = map_layers.TITLES.get(name, Title(name, name))
        href = f"{BASE}/wms?service=WMS&version=1.3.0&request=GetLegendGraphic&format=image/png" \
               f"&layer={layer.id}&style={name}"  # fmt: skip
        size = {"width": "120", "height": "28"}
        legend = element("LegendURL", None, size, [element("Format", "image/png"), link("OnlineResource", href)])
        return element(
            "Style", children=[element("Name", name), element("Title", getattr(title, self.language)), legend]
        )

    def _boxes(self, bounds: Bounds | None) -> list[ET.Element]:
        west, south, east, north = self.city.lonlat(bounds) if bounds else WORLD
        if self.is_new:
            ends = (("westBoundLongitude", west), ("eastBoundLongitude", east), ("southBoundLatitude", south),
                    ("northBoundLatitude", north))  # fmt: skip
            found = [element("EX_GeographicBoundingBox", children=[element(k, repr(v)) for k, v in ends])]
        else:
            found = [element("LatLonBoundingBox", None, _corners((west, south, east, north)))]
        for name in self.names:
            if bounds is None or not self._says(name):
                continue
            try:
                box = crs.transform_bounds(self.city_crs, name, not_flat(bounds))
            except InvalidInput:
                continue
            swapped = (box[1], box[0], box[3], box[2]) if self.is_new and crs.is_north_first(name) else box
            label = {"CRS" if self.is_new else "SRS": wire_name(name)}
            found.append(element("BoundingBox", None, label | _corners(swapped)))
        return found

    def _times(self, layer: MapLayer) -> list[ET.Element]:
        """The time dimension: dates of images, or the history of features."""
        if layer.is_raster:
            said = ",".join(layer.epochs) if len(layer.epochs) > 1 else ""
        else:
            span = moments.span(self.city.city.store, layer.id, self.city.settings.scope)
            said = f"{span[0]}/{span[1]}/PT1S" if span else ""
        if not said:
            return []
        default = layer.epochs[-1] if layer.is_raster else "current"
        head = {"name": "time", "units": "ISO8601"}
        more = {"default": default, "nearestValue": "1", "current": "1"}
        if self.is_new:
            return [element("Dimension", said, head | more)]
        return [element("Dimension", None, head), element("Extent", said, {"name": "time", "default": default})]


def _corners(box: Bounds) -> dict[str, str]:
    return dict(zip(("minx", "miny", "maxx", "maxy"), map(repr, box), strict=True))


def wire_name(name: str) -> str:
    """A CRS as WMS spells it."""
    return "CRS:84" if name == crs.CRS84 else name


def exception(message: str, code: str, version: str) -> bytes:
    """A ServiceExceptionReport."""
    root = ET.Element("ServiceExceptionReport", {"version": version})
    if version == "1.3.0":
        root.set("xmlns", OGC)
    root.append(element("ServiceException", message, {"code": code} if code in CODES else {}))
    return xml_document(root)


def error_picture(message: str, given: Mapping[str, str]) -> Response:
    """A picture of the size asked for with the message on it, or with nothing."""
    import textwrap
    from io import BytesIO

    from PIL import Image, ImageDraw, ImageFont

    from tiles.drawing import fonts

    sides = [
        int(text) if text.isascii() and text.isdigit() and len(text) < 5 and 0 < int(text) <= MAX_SIDE else 256
        for text in (given.get("WIDTH", ""), given.get("HEIGHT", ""))
    ]
    is_clear = given.get("TRANSPARENT", "FALSE").upper() == "TRUE"
    picture = Image.new("RGBA", (sides[0], sides[1]), (255, 255, 255, 0 if is_clear else 255))
    if message:
        font = fonts.of_size(12) or ImageFont.load_default(12)
        lines = "\n".join(textwrap.wrap(message[:600], max(sides[0] // 7, 10)))
        ImageDraw.Draw(picture).multiline_text((4, 4), lines, font=font, fill=(180, 0, 0, 255))
    out = BytesIO()
    picture.save(out, "PNG")
    headers = {"Content-Type": "image/png", "Cache-Control": "no-store", "Vary": answer.VARY}
    return Response(out.getvalue(), headers=headers)
