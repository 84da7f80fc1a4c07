"""Web Map Service 1.3.0 (OGC 06-042) and 1.1.1 (01-068r3) over the same drawing as OGC API Maps.

In 1.3.0 a box has the axis order of its CRS (EPSG:4326, 4490 and 4549: north first), in 1.1.1 always east first.
Parameters that are not known are left to lie, as clients of WMS expect. Errors are ServiceException documents with the
status of the error, or pictures where EXCEPTIONS says so.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from layers import crs
from layers.errors import CityTwinError, InvalidInput, NotFound
from server import answer, feature_info, map_answer, map_layers, map_view, maps, ows, parameters, wms_capabilities
from server.face import Face, Link, Operation, query
from server.map_answer import Ground
from server.map_layers import MapLayer
from server.ogc import BASE
from server.problems import status_of
from server.serving import Snapshot, base, language, snapshot
from server.wms_capabilities import GROUP, ROOT

if TYPE_CHECKING:
    from tiles.drawing import View

MAX_LAYERS = 200
EXCEPTIONS = {"XML": "xml", "INIMAGE": "image", "BLANK": "blank"}
"""By the last word, in capitals: 1.1.1 says `application/vnd.ogc.se_xml` and the like."""
FORMATS = {"image/png": "png", "image/jpeg": "jpeg", "image/webp": "webp", "image/tiff": "tiff",
           "image/png; mode=8bit": "png", "image/jpg": "jpeg", "image/geotiff": "tiff"}  # fmt: skip
DPI = (20.0, 1200.0)
PIXEL_DPI = 25.4 / 0.28
Given = Mapping[str, str]


def wms(request: Request) -> Response:
    """`/wms`: GetCapabilities, GetMap, GetFeatureInfo, GetLegendGraphic."""
    given = ows.kvp(request)
    version = "1.1.1" if given.get("VERSION", given.get("WMTVER", "1.3.0")) < "1.3" else "1.3.0"
    try:
        if given.get("SERVICE", "WMS").upper() != "WMS":
            raise InvalidInput(f"SERVICE={given['SERVICE'][:20]!r} is not served here.", "Use SERVICE=WMS.")
        asked = ows.required(given, "REQUEST").lower()
        known = {
            "getcapabilities": _capabilities, "capabilities": _capabilities, "getmap": _map, "map": _map,
            "getfeatureinfo": _info, "feature_info": _info, "getlegendgraphic": _legend,
        }  # fmt: skip
        if asked not in known:
            raise InvalidInput(
                f"REQUEST={asked[:30]!r} is not served.", "See GetCapabilities.", code="OperationNotSupported"
            )
        return known[asked](request, given, version)
    except CityTwinError as error:
        if status_of(error) >= 500:
            raise
        return _refusal(error, given, version)


def _capabilities(request: Request, _: Given, version: str) -> Response:
    city = snapshot(request)
    address, code = base(request), language(request)
    key = ("wms", version, code)
    body = city.make(key, lambda: wms_capabilities.document(city, version, code))
    body = body.replace(BASE.encode(), ows.escaped(address))
    kind = ows.XML if version == "1.3.0" else "application/vnd.ogc.wms_xml"
    return ows.respond(request, body, kind)


def _map(request: Request, given: Given, version: str) -> Response:
    from tiles import drawing
    from tiles.drawing.features import Selection

    city = snapshot(request)
    name = _format(given.get("FORMAT", "image/png"))
    view = _view(city, given, version)
    layers = _layers(city, ows.required(given, "LAYERS"))
    styles = _styles(given.get("STYLES", ""), given["LAYERS"], layers)
    at = _moment(given)
    items = tuple(map_layers.item(layer, style, at) for (layer, _), style in zip(layers, styles, strict=True))
    made = drawing.Drawing(city.city, city.settings.scope, items, view, Selection(_filter(city, given), at))
    return map_answer.respond(request, made, name, _ground(given, name))


def _info(request: Request, given: Given, version: str) -> Response:
    city = snapshot(request)
    view = _view(city, given, version)
    across, down = ("I", "J") if version == "1.3.0" else ("X", "Y")
    for old, new in (("X", "I"), ("Y", "J")):  # clients mix them up
        given = {new: given[old], **given} if old in given else given
        given = {old: given[new], **given} if new in given else given
    try:
        column, row = ows.whole(given, across, 0, view.width - 1), ows.whole(given, down, 0, view.height - 1)
    except InvalidInput as error:
        raise InvalidInput(error.problem, "Name a pixel of the map.", code="InvalidPoint") from error
    layers = [layer for layer, _ in _layers(city, given.get("QUERY_LAYERS") or ows.required(given, "LAYERS"))]
    limit = ows.whole(given, "FEATURE_COUNT", 1, feature_info.MAX_FEATURES, 1)
    wanted = given.get("INFO_FORMAT", "text/plain").split(";")[0].strip().lower()
    if wanted not in feature_info.FORMATS:
        hint = f"Use {', '.join(feature_info.FORMATS)}."
        raise InvalidInput(f"INFO_FORMAT={wanted[:40]!r} is not offered.", hint, code="InvalidFormat")
    place = feature_info.Place(view, column, row)
    found = feature_info.hits(city, layers, place, limit, at=_moment(given))
    body = feature_info.body(found, feature_info.FORMATS[wanted], place, language(request))
    charset = "" if wanted.endswith("json") else "; charset=utf-8"
    return ows.respond(request, body, f"{wanted}{charset}")


def _legend(request: Request, given: Given, _: str) -> Response:
    city = snapshot(request)
    if _format(given.get("FORMAT", "image/png")) != "png":
        raise InvalidInput("A legend is a PNG picture.", "Use FORMAT=image/png.", code="InvalidFormat")
    layers = _layers(city, given.get("LAYER") or ows.required(given, "LAYERS"))
    layer = layers[0][0]
    style = _style(layer, given.get("STYLE", given.get("STYLES", "")))
    return maps.legend_answer(request, city, layer, style)


def _view(city: Snapshot, given: Given, version: str) -> "View":
    """The box of GetMap in its axis order, its pixels, and the size that those have (DPI)."""
    label = "CRS" if version == "1.3.0" else "SRS"
    target = ows.crs_name(given.get(label) or given.get("CRS") or given.get("SRS") or ows.required(given, label))
    if target not in map_view.offered(city):
        hint = f"Offered: {', '.join(map_view.offered(city))}."
        raise InvalidInput(f"{label}={target[:60]!r} is not offered.", hint, code=f"Invalid{label}")
    north_first = version == "1.3.0" and crs.is_north_first(target)
    parts = ows.required(given, "BBOX").split(",")
    try:
        a, b, c, d = (float(part) for part in parts)
    except ValueError as error:
        raise InvalidInput(f"BBOX={given['BBOX'][:60]!r} is not four numbers.", code="InvalidParameterValue") from error
    box = (b, a, d, c) if north_first else (a, b, c, d)
    if not (box[0] < box[2] and box[1] < box[3]):  # NaN too
        order = "north first" if north_first else "east first"
        raise InvalidInput(f"BBOX={given['BBOX'][:60]!r} has no area.", f"In {target} it is {order} in WMS {version}.",
                           code="InvalidParameterValue")  # fmt: skip
    width, height = (ows.whole(given, name, 1, wms_capabilities.MAX_SIDE) for name in ("WIDTH", "HEIGHT"))
    return map_view.made(target, box, width, height, 25.4 / _dpi(given))


def _dpi(given: Given) -> float:
    """DPI and its synonyms, as QGIS, MapServer and GeoServer know them."""
    text = given.get("DPI") or given.get("MAP_RESOLUTION")
    if not text and (match := re.search(r"dpi:([\d.]+)", given.get("FORMAT_OPTIONS", ""))):
        text = match[1]
    try:
        found = float(text) if text else PIXEL_DPI
    except ValueError:
        return PIXEL_DPI
    return min(max(found, DPI[0]), DPI[1]) if found > 0 else PIXEL_DPI


def _layers(city: Snapshot, text: str) -> list[tuple[MapLayer, int]]:
    """The layers that LAYERS names, lowest first, groups spelled out; each with its place in the list."""
    known = map_layers.every(city)
    names = text.split(",")
    if len(names) > MAX_LAYERS:
        raise InvalidInput(f"LAYERS has {len(names)} names.", f"At most {MAX_LAYERS} are possible.")
    found: list[tuple[MapLayer, int]] = []
    for place, name in enumerate(names):
        if name in known:
            found.append((known[name], place))
            continue
        inside = members(city, name)
        if not inside:
            hint = "See GetCapabilities for what there is."
            raise NotFound(f"There is no layer {name[:60]!r} to draw.", hint, code="LayerNotDefined")
        found += [(each, place) for each in inside]
    return found


def members(city: Snapshot, name: str) -> list[MapLayer]:
    """The layers of a group, lowest first: of the whole city its features, of a category all of it."""
    if name == ROOT:
        return map_layers.features(city)
    groups = map_layers.by_category(list(map_layers.every(city).values()))
    return next((found for key, _, found in groups if name == f"{GROUP}{key}"), [])


def _styles(text: str, names: str, layers: Sequence[tuple[MapLayer, int]]) -> list[str]:
    """A style for each layer; one that is left open is the default."""
    styles = text.split(",") if text else []
    if styles and len(styles) != len(names.split(",")):
        raise InvalidInput(
            f"STYLES has {len(styles)} names for {len(names.split(','))} layers.", "Give as many, or none.",
            code="StyleNotDefined",
        )  # fmt: skip
    members_of = [place for _, place in layers]
    found = []
    for layer, place in layers:
        style = styles[place] if styles else ""
        in_group = members_of.count(place) > 1
        found.append(layer.styles[0] if in_group and style not in layer.styles else _style(layer, style))
    return found


def _style(layer: MapLayer, name: str) -> str:
    try:
        return map_layers.style_of(layer, name)
    except NotFound as error:
        raise NotFound(error.problem, error.hint, code="StyleNotDefined") from error


def _format(text: str) -> str:
    found = FORMATS.get(text.strip().lower())
    if found is None:
        raise InvalidInput(f"FORMAT={text[:40]!r} is not offered.", "Use image/png.", code="InvalidFormat")
    return found


def _ground(given: Given, name: str) -> Ground:
    """TRANSPARENT (false by default) and BGCOLOR (white by default)."""
    text = given.get("TRANSPARENT", "FALSE").upper()
    if text not in {"TRUE", "FALSE"}:
        raise InvalidInput(f"TRANSPARENT={text[:20]!r} is not TRUE or FALSE.", code="InvalidParameterValue")
    colour = map_answer.parse_colour({"BGCOLOR": given["BGCOLOR"]}, "BGCOLOR") if given.get("BGCOLOR") else None
    return Ground(colour or (255, 255, 255), text == "TRUE" and name != "jpeg")


def _moment(given: Given) -> datetime | None:
    """TIME: an instant or the end of an interval; `current` and nothing mean now."""
    text = given.get("TIME", "").strip()
    if not text or text.lower() in {"current", "now"}:
        return None
    last = text.split(",")[-1]
    start, slash, rest = last.partition("/")
    instants = [map_view.full_instant(each) for each in (start, *rest.split("/")[:1]) if each]
    try:
        return parameters.moment("/".join(instants) if slash else instants[0])
    except InvalidInput as error:
        raise InvalidInput(f"TIME: {error.problem}", error.hint, code="InvalidDimensionValue") from error


def _filter(city: Snapshot, given: Given) -> dict[str, object] | None:
    """`CQL_FILTER`, which GeoServer made common, as CQL2 text."""
    from server import filters

    text = given.get("CQL_FILTER") or given.get("FILTER")
    if not text:
        return None
    if text.lstrip().startswith(("<", "(<")):
        raise InvalidInput("FILTER as XML is not read.", "Use CQL_FILTER with CQL2 text.")
    return filters.parse({"filter": text, "filter-lang": "cql2-text"}, city)


def _refusal(error: CityTwinError, given: Given, version: str) -> Response:
    """A ServiceException, or a picture where EXCEPTIONS asks for one."""
    word = given.get("EXCEPTIONS", "XML").upper().replace("_", " ").replace(".", " ").split()[-1:]
    kind = EXCEPTIONS.get(word[0] if word else "XML", "xml")
    if kind != "xml":
        return wms_capabilities.error_picture(str(error) if kind == "image" else "", given)
    code = "InvalidSRS" if version == "1.1.1" and error.code == "InvalidCRS" else error.code
    body = wms_capabilities.exception(str(error), code, version)
    media = ows.XML if version == "1.3.0" else "application/vnd.ogc.se_xml"
    headers = {"Content-Type": media, "Cache-Control": "no-store", "Vary": answer.VARY}
    return Response(body, status_of(error), headers=headers)


def _landing_links(_: Snapshot) -> list[Link]:
    return [{
        "rel": "related", "type": "text/xml", "title": "WMS 1.3.0",
        "href": f"{BASE}/wms?service=WMS&version=1.3.0&request=GetCapabilities",
    }]  # fmt: skip


def routes() -> list[Route]:
    """One address."""
    return [Route("/wms", wms, methods=["GET"])]


def face() -> Face:
    """WMS."""
    text: dict[str, Any] = {"type": "string"}
    names = (
        ("service", "WMS"), ("version", "1.3.0 or 1.1.1"), ("layers", "Layers, lowest first"),
        ("styles", "A style for each layer"), ("crs", "CRS (1.3.0)"), ("srs", "CRS (1.1.1)"), ("bbox", "Box"),
        ("width", "Pixels"), ("height", "Pixels"), ("format", "Media type"), ("transparent", "TRUE or FALSE"),
        ("bgcolor", "0xRRGGBB"), ("time", "ISO 8601"), ("exceptions", "XML, INIMAGE or BLANK"), ("i", "Column"),
        ("j", "Row"), ("query_layers", "Layers asked for"), ("info_format", "Media type"),
        ("feature_count", "Features of a layer at most"), ("cql_filter", "CQL2 text"), ("dpi", "Pixels of an inch"),
    )  # fmt: skip
    asked = query("request", "GetCapabilities, GetMap, GetFeatureInfo, GetLegendGraphic.", text, required=True)
    known: tuple[str | dict[str, Any], ...] = (asked, *(query(name, f"{said}.", text) for name, said in names), "lang")
    media = ("text/xml", *map_answer.FORMATS.values(), "application/json", "text/html", "text/plain")
    return Face(
        routes(),
        (
            Operation(
                "/wms", "Web Map Service", media, known, tag="WMS", errors=("text/xml", "application/vnd.ogc.se_xml")
            ),
        ),
        (),
        _landing_links,
    )
