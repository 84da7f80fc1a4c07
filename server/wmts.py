"""Web Map Tile Service 1.0.0 (OGC 07-057r7), KVP and RESTful, over the tiles of `map_tiles` and `tiles.imagery`."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from layers.errors import CityTwinError, InvalidInput, NotFound
from server import answer, feature_info, map_answer, map_layers, map_tiles, matrix_sets, ows, wmts_capabilities
from server.face import Face, Link, Operation, query
from server.map_layers import CITY, CITY_LABELLED, LABELLED, MapLayer
from server.ogc import BASE
from server.problems import status_of
from server.serving import Snapshot, base, language, snapshot
from server.wmts_capabilities import FORMATS, INFO_FORMATS, ROOT
from tiles import matrix_set
from tiles.matrix_set import TILE_SIZE

Given = Mapping[str, str]
_REST_TILE = "/wmts/1.0.0/{collectionId}/{styleId}/{tileMatrixSetId}/{z}/{row}"
_REST = re.compile(r"(\d{1,9})\.([a-z]{3,5})")
FRESH_S = 300
"""A tile may be shown again without asking: clients of WMTS ask for hundreds at a time."""


def kvp(request: Request) -> Response:
    """`/wmts?service=WMTS&request=…`."""
    given = ows.kvp(request)

    def answered() -> Response:
        if given.get("SERVICE", "WMTS").upper() != "WMTS":
            raise InvalidInput(f"SERVICE={given['SERVICE'][:20]!r} is not served here.", code="InvalidParameterValue")
        asked = ows.required(given, "REQUEST").lower()
        if asked == "getcapabilities":
            return _capabilities(request)
        if asked not in {"gettile", "getfeatureinfo"}:
            raise InvalidInput(f"REQUEST={asked[:30]!r} is not served.", code="OperationNotSupported")
        kind = given.get("FORMAT", "image/png").lower()
        extension = next((name for name, media in FORMATS.items() if media == kind), None)
        if extension is None:
            raise InvalidInput(f"FORMAT={kind[:40]!r} is not offered.", code="InvalidParameterValue")
        parts = {
            "layer": ows.required(given, "LAYER"), "style": given.get("STYLE", ""),
            "grid": ows.required(given, "TILEMATRIXSET"), "z": _level(ows.required(given, "TILEMATRIX")),
            "row": ows.required(given, "TILEROW"), "col": ows.required(given, "TILECOL"),
        }  # fmt: skip
        if asked == "gettile":
            return _tile(request, parts, extension)
        info = given.get("INFOFORMAT", "application/json").split(";")[0].strip().lower()
        pixel = (ows.required(given, "I"), ows.required(given, "J"))
        return _info(request, parts, pixel, info)

    return _reported(answered)


def rest_capabilities(request: Request) -> Response:
    """`/wmts/1.0.0/WMTSCapabilities.xml`."""
    return _reported(lambda: _capabilities(request))


def rest_tile(request: Request) -> Response:
    """`/wmts/1.0.0/{layer}/{style}/{grid}/{z}/{row}/{col}.png`."""

    def answered() -> Response:
        parts = dict(request.path_params)
        match = _REST.fullmatch(parts.pop("file"))
        if match is None or match[2] not in FORMATS:
            raise InvalidInput("A tile's address ends like 8.png.", f"Use {', '.join(FORMATS)}.",
                               code="InvalidParameterValue")  # fmt: skip
        return _tile(request, parts | {"col": match[1]}, match[2])

    return _reported(answered)


def rest_info(request: Request) -> Response:
    """`/wmts/1.0.0/{layer}/{style}/{grid}/{z}/{row}/{col}/{j}/{i}.json`."""

    def answered() -> Response:
        parts = dict(request.path_params)
        match = _REST.fullmatch(parts.pop("file"))
        row = parts.pop("j")
        if match is None or match[2] not in INFO_FORMATS:
            raise InvalidInput("The address of an answer ends like 8.json.", f"Use {', '.join(INFO_FORMATS)}.",
                               code="InvalidParameterValue")  # fmt: skip
        return _info(request, parts, (match[1], row), INFO_FORMATS[match[2]])

    return _reported(answered)


def _reported(answered: Callable[[], Response]) -> Response:
    """The answer, or an exception report (06-121r3, 8) with the status of the error."""
    try:
        return answered()
    except CityTwinError as error:
        status = status_of(error)
        if status >= 500:
            raise
        body = wmts_capabilities.exception(str(error), error.code)
        headers = {"Content-Type": ows.XML, "Cache-Control": "no-store", "Vary": answer.VARY}
        return Response(body, status, headers=headers)


def _capabilities(request: Request) -> Response:
    city = snapshot(request)
    code = language(request)
    body = city.make(("wmts", code), lambda: wmts_capabilities.document(city, code))
    return ows.respond(request, body.replace(BASE.encode(), ows.escaped(base(request))), ows.XML)


def _level(text: str) -> str:
    """A tile matrix by its identifier; some clients put the name of the set before it."""
    return text.rpartition(":")[2]


def _place(city: Snapshot, parts: Given) -> matrix_sets.Position:
    for name in ("z", "row", "col"):
        if not re.fullmatch(r"\d{1,9}", parts[name]):
            raise InvalidInput(f"{name}={parts[name][:20]!r} is no whole number.", code="InvalidParameterValue")
    try:
        grid = matrix_set.get(parts["grid"], city.city.config.crs)
    except NotFound as error:
        raise NotFound(error.problem, error.hint, code="InvalidParameterValue") from error
    z, x, y = int(parts["z"]), int(parts["col"]), int(parts["row"])
    try:
        grid.require(z, x, y)
    except NotFound as error:
        raise NotFound(error.problem, error.hint, code="TileOutOfRange") from error
    return matrix_sets.Position(grid, z, x, y)


def _layers(city: Snapshot, parts: Given) -> tuple[list[MapLayer], str]:
    """The layer, or those of the city, and the style."""
    layer_id, style = parts["layer"], parts["style"]
    is_city = layer_id == ROOT and ROOT not in map_layers.every(city)
    if is_city and style not in {"", map_layers.DEFAULT, CITY, CITY_LABELLED}:
        known = f"Known: {CITY}, {CITY_LABELLED}."
        raise NotFound(f"There is no style {style[:60]!r} here.", known, code="InvalidParameterValue")
    if is_city:
        return map_layers.features(city), LABELLED if style == CITY_LABELLED else map_layers.DEFAULT
    layer = map_layers.one(city, layer_id)
    return [layer], map_layers.style_of(layer, style)


def _tile(request: Request, parts: Given, extension: str) -> Response:
    city = snapshot(request)
    place = _place(city, parts)
    layers, style = _layers(city, parts)
    name = {"jpg": "jpeg"}.get(extension, extension)
    if layers and layers[0].is_raster:
        return _image(request, city, layers[0], style, place, name=name)
    drawing = map_tiles.tile_drawing(city, layers, style, place, {})
    found = map_answer.respond(request, drawing, name, map_answer.Ground((255, 255, 255)), keep=True)
    found.headers["Cache-Control"] = f"public, max-age={FRESH_S}"
    return found


def _image(
    request: Request, city: Snapshot, layer: MapLayer, style: str, place: matrix_sets.Position, *, name: Any
) -> Response:
    """A tile of a raster: the very bytes of `/collections/{id}/map/tiles`."""
    from tiles import imagery

    frame = imagery.Frame(place.grid, place.z, place.x, place.y, TILE_SIZE)
    made = imagery.picture(city.city, layer.assets, frame, imagery.Wanted(style=style), name)
    headers = answer.headers_for(answer.etag(*made.signature, weak=False), fresh_s=FRESH_S)
    if answer.is_fresh(request, headers["ETag"]):
        return answer.not_modified(headers)
    return Response(made.encode(), headers=headers | {"Content-Type": map_answer.FORMATS[name]})


def _info(request: Request, parts: Given, pixel: tuple[str, str], kind: str) -> Response:
    from tiles.drawing import View

    city = snapshot(request)
    place = _place(city, parts)
    layers, _ = _layers(city, parts)
    if kind not in feature_info.FORMATS:
        raise InvalidInput(f"INFOFORMAT={kind[:40]!r} is not offered.", f"Use {', '.join(feature_info.FORMATS)}.",
                           code="InvalidParameterValue")  # fmt: skip
    for name, text in zip(("I", "J"), pixel, strict=True):
        if not re.fullmatch(r"\d{1,4}", text) or int(text) >= TILE_SIZE:
            raise InvalidInput(f"{name}={text[:20]!r} is no pixel of the tile.", f"0 to {TILE_SIZE - 1} are.",
                               code="PointIJOutOfRange")  # fmt: skip
    bounds = place.grid.bounds(place.z, place.x, place.y)
    at = feature_info.Place(View(place.grid.crs, bounds, TILE_SIZE, TILE_SIZE), int(pixel[0]), int(pixel[1]))
    found = feature_info.hits(city, layers, at, 10)
    body = feature_info.body(found, feature_info.FORMATS[kind], at, language(request))
    charset = "" if kind.endswith("json") else "; charset=utf-8"
    return ows.respond(request, body, f"{kind}{charset}")


def routes() -> list[Route]:
    """KVP and RESTful."""
    tile = "/wmts/1.0.0/{layer}/{style}/{grid}/{z}/{row}"
    return [
        Route("/wmts", kvp, methods=["GET"]),
        Route("/wmts/1.0.0/WMTSCapabilities.xml", rest_capabilities, methods=["GET"]),
        Route(f"{tile}/{{file}}", rest_tile, methods=["GET"]),
        Route(f"{tile}/{{col}}/{{j}}/{{file}}", rest_info, methods=["GET"]),
    ]


def _landing_links(_: Snapshot) -> list[Link]:
    href = f"{BASE}/wmts/1.0.0/WMTSCapabilities.xml"
    return [{"rel": "related", "type": "text/xml", "title": "WMTS 1.0.0", "href": href}]


def face() -> Face:
    """WMTS."""
    text: dict[str, Any] = {"type": "string"}
    names = (
        ("service", "WMTS"), ("version", "1.0.0"), ("layer", "Layer"), ("style", "Style"), ("format", "Media type"),
        ("tilematrixset", "Grid"), ("tilematrix", "Level"), ("tilerow", "Row"), ("tilecol", "Column"),
        ("i", "Column of the pixel"), ("j", "Row of the pixel"), ("infoformat", "Media type"),
    )  # fmt: skip
    asked = query("request", "GetCapabilities, GetTile, GetFeatureInfo.", text, required=True)
    known: tuple[str | dict[str, Any], ...] = (asked, *(query(name, f"{said}.", text) for name, said in names), "lang")
    media = ("text/xml", *FORMATS.values(), *feature_info.FORMATS)
    operations = (
        Operation(
            "/wmts", "Web Map Tile Service", tuple(dict.fromkeys(media)), known, tag="WMTS", errors=("text/xml",)
        ),
        Operation(
            "/wmts/1.0.0/WMTSCapabilities.xml",
            "Capabilities of the WMTS",
            ("text/xml",),
            ("lang",),
            tag="WMTS",
            errors=("text/xml",),
        ),
        Operation(f"{_REST_TILE}/{{col}}.png", "A tile, by its address", ("image/png",), tag="WMTS",
                  errors=("text/xml",)),
        Operation(f"{_REST_TILE}/{{col}}/{{j}}/{{i}}.json", "What is at a pixel of a tile", ("application/json",),
                  tag="WMTS", errors=("text/xml",)),
    )  # fmt: skip
    return Face(routes(), operations, (), _landing_links)
