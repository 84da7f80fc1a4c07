"""Routes of maps (OGC API - Maps - Part 1, 20-058): the city and each layer as a picture, in any offered CRS.

Nothing but `width` and the like changes what a style draws: colours, widths and names are those of the styles served.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from layers import crs
from layers.crs import Bounds
from layers.errors import InvalidInput, NotFound
from server import answer, filters, map_answer, map_layers, map_tiles, map_view, parameters
from server.face import Face, Link, Operation, query
from server.map_layers import CITY, CITY_LABELLED, LABELLED, MapLayer
from server.ogc import BASE
from server.serving import Snapshot, language, snapshot, union

if TYPE_CHECKING:
    from tiles.drawing import Drawing
    from tiles.drawing.features import Selection

REL = "http://www.opengis.net/def/rel/ogc/1.0/"
BACKGROUND = ("bgcolor", "transparent", "void-color", "void-transparent")
SELECTION = ("filter", "filter-lang", "filter-crs", "datetime")
KNOWN = ("f", *map_view.SCALING, *map_view.SUBSETTING, *BACKGROUND, *SELECTION)
MAX_COLLECTIONS = 200
CRS84_URI = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"


def layer_map(request: Request) -> Response:
    """A map of one collection, in its default style or a named one."""
    city = snapshot(request)
    layer = map_layers.one(city, request.path_params["layer"])
    given, asked = given_once(request, KNOWN)
    style = map_layers.style_of(layer, request.path_params.get("style"))
    return _answer(request, city, [(layer, style)], given, asked)


def city_map(request: Request) -> Response:
    """A map of the whole city, every feature layer in drawing order, or of `collections` in the order given."""
    city = snapshot(request)
    given, asked = given_once(request, (*KNOWN, "collections"))
    style = request.path_params.get("style", CITY)
    if style not in {CITY, CITY_LABELLED}:
        raise NotFound(f"There is no style {style[:60]!r} here.", f"Known: {CITY}, {CITY_LABELLED}.")
    layers = _collections(city, given)
    labelled = LABELLED if style == CITY_LABELLED else None
    styled = [(each, labelled if labelled in each.styles else None) for each in layers]
    return _answer(request, city, styled, given, asked)


def legend(request: Request) -> Response:
    """The key of a layer's colours as PNG."""
    city = snapshot(request)
    layer = map_layers.one(city, request.path_params["layer"])
    given = parameters.once(request.query_params, ("f", "lang"))
    if given.get("f", "png") != "png":
        raise InvalidInput(f"f={given['f'][:20]!r} is not offered here.", "Use png.")
    return legend_answer(request, city, layer, map_layers.style_of(layer, request.path_params.get("style")))


def legend_answer(request: Request, city: Snapshot, layer: MapLayer, style: str) -> Response:
    """The key of a layer as PNG: samples for features, the ramp for heights."""
    from tiles import drawing
    from tiles.imagery.encode import encode

    code = language(request)
    tag = answer.etag("legend", city.version, layer.id, style, code, weak=False)
    headers = answer.headers_for(tag)
    if answer.is_fresh(request, tag):
        return answer.not_modified(headers)
    pixels = drawing.raster_legend(layer.type, code, style) if layer.is_raster else drawing.legend(layer.type, code)
    body = encode(pixels[..., :3], pixels[..., 3], "png", lossy=False)
    return Response(body, headers=headers | {"Content-Type": "image/png"})


def given_once(request: Request, known: Sequence[str]) -> tuple[dict[str, str], map_view.Subset]:
    """Parameters, each once; `subset` may be there several times (20-058, spatial subsetting)."""
    texts = request.query_params.getlist("subset")
    rest = [(name, value) for name, value in request.query_params.multi_items() if name != "subset"]
    if texts and "subset" not in known:
        raise InvalidInput("There is no parameter 'subset' here.", "See /api for what there is.")
    given = parameters.once(type(request.query_params)(rest), known)
    return given, map_view.subset(texts[:20])


def selection(city: Snapshot, given: dict[str, str], at: datetime | None) -> "Selection":
    """`filter` and its companions, and the moment."""
    from tiles.drawing.features import Selection

    if "filter" not in given and ("filter-crs" in given or "filter-lang" in given):
        raise InvalidInput("filter-crs and filter-lang mean nothing without filter.", "Add filter=…, or drop them.")
    return Selection(filters.parse(given, city) if "filter" in given else None, at)


def _answer(
    request: Request, city: Snapshot, styled: Sequence[tuple[MapLayer, str | None]], given: dict[str, str],
    asked: map_view.Subset,
) -> Response:  # fmt: skip
    name = map_answer.image_format(request, given.get("f"))
    below = map_answer.ground(given)
    at = map_view.moment(given, asked)
    view = map_view.view(given, asked, city, _bounds([layer for layer, _ in styled]))
    items = tuple(map_layers.item(layer, style, at) for layer, style in styled)
    drawing = _drawing(city, items, view, selection(city, given, at))
    more = map_answer.place(view)
    if at is not None:
        more["Content-Datetime"] = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    elif epochs := sorted(epoch for layer, _ in styled for epoch in layer.epochs):
        more["Content-Datetime"] = "/".join(dict.fromkeys((epochs[0], epochs[-1])))
    return map_answer.respond(request, drawing, name, below, more)


def _drawing(city: Snapshot, items: tuple[Any, ...], view: Any, chosen: "Selection") -> "Drawing":
    from tiles import drawing

    return drawing.Drawing(city.city, city.settings.scope, items, view, chosen)


def _bounds(layers: Sequence[MapLayer]) -> Bounds:
    found = union([each.bounds for each in layers])
    if found is None:
        raise NotFound("There is nothing to draw in this city yet.", "Build or add data first.")
    return found


def _collections(city: Snapshot, given: dict[str, str]) -> list[MapLayer]:
    """The layers of `collections`, ids or addresses of collections, lowest first; all feature layers without it."""
    if "collections" not in given:
        return map_layers.features(city)
    names = parameters.listed(given["collections"], MAX_COLLECTIONS, "collections")
    ids = [urlsplit(name).path.rstrip("/").rpartition("/")[2] if "/" in name else name for name in names]
    return [map_layers.one(city, each) for each in dict.fromkeys(ids)]


def routes() -> list[Route]:
    """Maps of the city and of each layer, their legends, and map tiles of the city."""
    return [
        Route("/map", city_map, methods=["GET"]),
        Route("/styles/{style}/map", city_map, methods=["GET"]),
        Route("/collections/{layer}/map", layer_map, methods=["GET"]),
        Route("/collections/{layer}/styles/{style}/map", layer_map, methods=["GET"]),
        Route("/collections/{layer}/legend", legend, methods=["GET"]),
        Route("/collections/{layer}/styles/{style}/legend", legend, methods=["GET"]),
        *map_tiles.routes(),
    ]


def _landing_links(city: Snapshot) -> list[Link]:
    if not map_layers.features(city):
        return []
    return [
        *_map_links(f"{BASE}/map"),
        {"rel": f"{REL}tilesets-map", "type": answer.JSON, "title": "Map tiles", "href": f"{BASE}/map/tiles"},
    ]


def _layer_links(city: Snapshot, layer_id: str) -> list[Link]:
    if layer_id not in map_layers.every(city):
        return []
    url = f"{BASE}/collections/{quote(layer_id)}"
    links = [*_map_links(f"{url}/map"), _link("legend", "image/png", "Legend", f"{url}/legend")]
    if not map_layers.every(city)[layer_id].is_raster:  # rasters have theirs already
        links.append(_link("tilesets-map", answer.JSON, "Map tiles", f"{url}/map/tiles"))
    return links


def _layer_members(city: Snapshot, layer_id: str) -> dict[str, Any]:
    """The box of a feature layer in the storage CRS (20-058, collection map)."""
    layer = map_layers.every(city).get(layer_id)
    if layer is None or layer.is_raster:
        return {}
    west, south, east, north = layer.bounds
    box = [south, west, north, east] if crs.is_north_first(city.city.config.crs) else [west, south, east, north]
    return {"extent": {"spatial": {"storageCrsBbox": [box]}}}


def _map_links(url: str) -> list[Link]:
    """In the storage CRS as the standard has it; the second for GDAL, which takes the last one and reads degrees."""
    return [
        _link("map", "image/png", "Map", url),
        _link("map", "image/jpeg", "Map as JPEG", f"{url}?f=jpeg"),
        _link("map", "image/png", "Map in degrees (CRS84)", f"{url}?crs={quote(CRS84_URI, safe='')}"),
    ]


def _link(rel: str, kind: str, title: str, href: str) -> Link:
    return {"rel": REL + rel, "type": kind, "title": title, "href": href}


_PICTURE: dict[str, Any] = {"type": "string", "format": "binary"}
_NUMBER: dict[str, Any] = {"type": "number", "exclusiveMinimum": True, "minimum": 0}
_SIDE: dict[str, Any] = {"type": "integer", "minimum": 1, "maximum": 4096}
_TEXT: dict[str, Any] = {"type": "string"}
_BOX: dict[str, Any] = {"type": "array", "minItems": 4, "maxItems": 6, "items": {"type": "number"}}
_PARAMETERS: tuple[str | dict[str, Any], ...] = (
    query("f", "Format; default by the Accept header.", {"type": "string", "enum": list(map_answer.FORMATS)}),
    query("bbox", "Box of the map, in the axis order of bbox-crs.", _BOX),
    query("bbox-crs", "CRS of bbox; CRS84 by default.", _TEXT),
    query("crs", "CRS of the map; the storage CRS by default.", _TEXT),
    query("width", "Pixels.", _SIDE),
    query("height", "Pixels.", _SIDE),
    query("scale-denominator", "Scale on the ground in the middle of the map.", _NUMBER),
    query("mm-per-pixel", "Side of a pixel on the screen.", {**_NUMBER, "default": 0.28}),
    query("center", "Middle of the map, in the axis order of center-crs.",
          {"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "number"}}),
    query("center-crs", "CRS of center; CRS84 by default.", _TEXT),
    query("subset", "Intervals by axis: Lat(28:28.1),Lon(121:121.1),time(\"2026-01-01\").",
          {"type": "array", "items": {"type": "string"}}),
    query("subset-crs", "CRS of subset; CRS84 by default.", _TEXT),
    query("bgcolor", "Background, as 0xRRGGBB or a name of CSS.", _TEXT),
    query("transparent", "Whether the background is left open; true without bgcolor.", {"type": "boolean"}),
    query("void-color", "Colour beyond the CRS.", _TEXT),
    query("void-transparent", "Whether what is beyond the CRS is left open.", {"type": "boolean"}),
    "datetime", "filter", "filter-lang", "filter-crs",
)  # fmt: skip
_COLLECTIONS = query(
    "collections", "Layers, lowest first; all feature layers by default.", {"type": "array", "items": _TEXT}
)
_MEDIA = dict.fromkeys(map_answer.FORMATS.values(), _PICTURE)
CONFORMANCE = tuple(
    f"ogcapi-maps-1/1.0/conf/{each}"
    for each in (
        "core", "tilesets", "background", "collections-selection", "scaling", "display-resolution",
        "spatial-subsetting", "datetime", "crs", "dataset-map", "collection-map", "styled-map", "png", "jpeg", "tiff",
        "cors",
    )
)  # fmt: skip


def face() -> Face:
    """OGC API Maps."""
    layer, style = "/collections/{collectionId}", "/styles/{styleId}"
    key = {"image/png": _PICTURE}
    operations = (
        Operation("/map", "Map of the city", _MEDIA, (*_PARAMETERS, _COLLECTIONS), tag="Maps"),
        Operation(f"{style}/map", "Map of the city in a style", _MEDIA, (*_PARAMETERS, _COLLECTIONS), tag="Maps"),
        Operation(f"{layer}/map", "Map of a layer", _MEDIA, _PARAMETERS, tag="Maps"),
        Operation(f"{layer}{style}/map", "Map of a layer in a style", _MEDIA, _PARAMETERS, tag="Maps"),
        Operation(f"{layer}/legend", "Key of a layer's colours", key, ("lang",), tag="Maps"),
        Operation(f"{layer}{style}/legend", "Key of a layer's colours in a style", key, ("lang",), tag="Maps"),
        *map_tiles.OPERATIONS,
    )
    return Face(routes(), operations, CONFORMANCE, _landing_links, _layer_links, layer_members=_layer_members)
