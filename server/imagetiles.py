"""Routes of image tiles of raster collections (OGC API Tiles and Maps). OGC order: zoom, row, column.

A style stands in the path (`/collections/{id}/styles/{style}/map/tiles/…`, as in OGC API Styles) or in `style`.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from layers.errors import InvalidInput, NotFound
from server import answer, map_layers, map_tiles, matrix_sets, parameters
from server.serving import KIND_NAMES, Snapshot, base, snapshot
from server.weights import preferred
from tiles import imagery, matrix_set
from tiles.imagery import Frame, Wanted, colour
from tiles.matrix_set import MatrixSet
from twin.store.interface import Asset

GRID = "WebMercatorQuad"
CHOICE = ("epoch", "asset")
LOOK = ("style", "colormap", "rescale", "palette", "bands")
FORMATS: dict[str, imagery.Format] = {"png": "png", "webp": "webp", "jpg": "jpeg", "jpeg": "jpeg", "auto": "auto"}
KINDS = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"RIFF": "image/webp"}
MAP = "http://www.opengis.net/def/rel/ogc/1.0/tilesets-map"
LONG = 2000
"""Characters of a parameter."""


def layer_tile(request: Request) -> Response:
    """A tile of a raster collection as PNG, JPEG or WebP."""
    city = snapshot(request)
    if request.path_params["layer"] in city.vectors or set(request.query_params) & set(map_tiles.LOOK):
        return map_tiles.layer_tile(request)
    given = _given(request, (*CHOICE, *LOOK, "f", "scale", "v"))
    where = matrix_sets.position(request, city.city.config.crs)
    image_format = _format(request, given.get("f"), where.extension)
    chosen = rasters(city, request.path_params["layer"], given)
    frame = Frame(where.grid, where.z, where.x, where.y, _pixels(given, twice=where.twice))
    tile = imagery.picture(city.city, _without_damaged(city, chosen, frame), frame, _wanted(given), image_format)
    tag = answer.etag(*tile.signature, weak=False)
    headers = answer.headers_for(tag, immutable="v" in given and given["v"] == imagery.version(chosen))
    if answer.is_fresh(request, tag):
        return answer.not_modified(headers)
    body = tile.encode()
    media_type = next(kind for magic, kind in KINDS.items() if body.startswith(magic))
    return Response(body, headers=headers | {"Content-Type": media_type})


def layer_tilejson(request: Request) -> Response:
    """TileJSON 3.0 of a raster collection; `tms` names the grid, the other parameters go into the tiles' address."""
    city = snapshot(request)
    given = _given(request, (*CHOICE, *LOOK, "f", "scale", "tms"))
    grid = matrix_set.get(given.pop("tms", GRID), city.city.config.crs)
    document = image_tilejson(city, request.path_params["layer"], base(request), given, grid)
    return _json(request, city, document)


def map_tilesets(request: Request) -> Response:
    """The tilesets of a raster collection, one for each tile matrix set."""
    city = snapshot(request)
    if request.path_params["layer"] in city.vectors:
        return map_tiles.layer_tilesets(request)
    given = _given(request, (*CHOICE, *LOOK, "f"))
    _only_json(given)
    layer_id, city_crs, address = request.path_params["layer"], city.city.config.crs, base(request)
    sets = [matrix_set.get(each, city_crs) for each in matrix_set.ids(city_crs)]
    found = [tileset(city, layer_id, grid, address, given) for grid in sets]
    here = {"rel": "self", "type": answer.JSON, "href": f"{address}{_root(layer_id, given)}"}
    brief = ("title", "dataType", "crs", "tileMatrixSetURI", "links")
    listed = [{key: each[key] for key in brief if key in each} for each in found]
    return _json(request, city, {"links": [here], "tilesets": listed})


def map_tileset(request: Request) -> Response:
    """Metadata of the tileset of a raster collection on one tile matrix set."""
    city = snapshot(request)
    if request.path_params["layer"] in city.vectors:
        return map_tiles.layer_tileset(request)
    given = _given(request, (*CHOICE, *LOOK, "f"))
    _only_json(given)
    grid = matrix_set.get(request.path_params["grid"], city.city.config.crs)
    return _json(request, city, tileset(city, request.path_params["layer"], grid, base(request), given))


def rasters(city: Snapshot, layer_id: str, given: Mapping[str, str]) -> list[Asset]:
    """The files that `epoch` and `asset` choose, all without them; NotFound says what there is."""
    city.type_of(layer_id)
    if layer_id not in city.files:
        raise NotFound(f"{layer_id} is no raster: it has no image tiles.", f"See /collections/{layer_id}.")
    found = city.files[layer_id].assets
    if found[0].kind != "raster":
        raise NotFound(f"{layer_id} is a {KIND_NAMES[found[0].kind]} and has no image tiles.", "See its collection.")
    return imagery.select(found, layer_id, given.get("epoch"), given.get("asset"))


def _listed(city: Snapshot, chosen: list[Asset]) -> list[Asset]:
    """What a description goes by: without damaged files, unless there are no others, whose error then is the answer."""
    return map_layers.readable(city, chosen) or chosen


def _without_damaged(city: Snapshot, chosen: list[Asset], frame: Frame) -> list[Asset]:
    """What a tile is made of: a damaged file elsewhere does not matter, one under the tile is told by its name."""
    whole, under = map_layers.readable(city, chosen), imagery.sheets.touching(chosen, frame)
    return [each for each in chosen if each in whole or each in under] or chosen


def image_tilejson(
    city: Snapshot, layer_id: str, address: str, given: Mapping[str, str], grid: MatrixSet
) -> dict[str, Any]:
    """TileJSON of the files chosen; `y` counts from north (XYZ). `given` are parameters of the tiles' address."""
    chosen = _listed(city, rasters(city, layer_id, given))
    _check(city, chosen, given)
    size = _pixels(given, twice=False)
    low, high = imagery.zooms(city.city, chosen, grid, size)
    query = dict(given) | {"v": imagery.version(chosen)}
    title = city.type_of(layer_id).title
    return {
        "tilejson": "3.0.0",
        "name": (chosen[0].title if len(chosen) == 1 else "") or title.en,
        "description": title.zh,
        "version": "1.0.0",
        "scheme": "xyz",
        "tiles": [f"{address}/collections/{quote(layer_id)}/tiles/{grid.id}/{{z}}/{{y}}/{{x}}?{_query(query)}"],
        "tileSize": size,
        "bounds": list(imagery.bounds_lonlat(chosen)),
        "minzoom": low,
        "maxzoom": high,
        "tileMatrixSet": grid.id,
    }


def tileset(
    city: Snapshot, layer_id: str, grid: MatrixSet, address: str, given: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Tileset metadata (OGC 17-083r4, 8) of a raster collection: data type, grid, limits of its tiles, links."""
    given = {key: value for key, value in (given or {}).items() if key != "f"}
    chosen = _listed(city, rasters(city, layer_id, given))
    _check(city, chosen, given)
    uri, title = dict(grid.head).get("uri"), city.type_of(layer_id).title
    low, high = imagery.zooms(city.city, chosen, grid)
    west, south, east, north = imagery.bounds_lonlat(chosen)
    root, scheme = f"{address}{_root(layer_id, given)}/{grid.id}", f"{address}/tileMatrixSets/{grid.id}"
    rest = {key: value for key, value in given.items() if key != "style"}
    query = f"?{_query(rest)}" if rest else ""
    template = f"{root}/{{tileMatrix}}/{{tileRow}}/{{tileCol}}{query}"
    links: list[dict[str, Any]] = [
        {"rel": "self", "type": answer.JSON, "href": f"{root}{query}"},
        {"rel": matrix_sets.SCHEME_REL, "type": answer.JSON, "href": scheme},
        *(
            {"rel": "item", "type": kind, "href": f"{template}{'&' if rest else '?'}f={name}", "templated": True}
            for name, kind in imagery.MEDIA_TYPES.items()
        ),
    ]
    document = {
        "title": f"{title.zh} / {title.en}",
        "dataType": "map",
        "crs": grid.document()["crs"],
        "tileMatrixSetLimits": imagery.limits(chosen, grid, low, high),
        "boundingBox": {
            "lowerLeft": [west, south],
            "upperRight": [east, north],
            "crs": "http://www.opengis.net/def/crs/OGC/1.3/CRS84",
        },
        "links": links,
    }
    return document | ({"tileMatrixSetURI": uri} if uri else {"tileMatrixSetDefinition": scheme})


def image_path(asset: Asset) -> str:
    """Address template of one image, from the root of the server."""
    return f"/collections/{quote(asset.layer)}/tiles/{GRID}/{{z}}/{{y}}/{{x}}?asset={quote(asset.id, safe='')}"


def zooms(city: Snapshot, asset: Asset) -> tuple[int, int]:
    """First and last useful level of one image in WebMercatorQuad."""
    return imagery.zooms(city.city, [asset], matrix_set.get(GRID, city.city.config.crs))


def _given(request: Request, known: tuple[str, ...]) -> dict[str, str]:
    """Query parameters, and the style where it stands in the path."""
    given = parameters.once(request.query_params, known)
    for name, value in given.items():
        if len(value) > LONG:
            raise InvalidInput(f"{name} is longer than {LONG} characters.", "Make it shorter.")
    if "style" in request.path_params:
        if "style" in given:
            raise InvalidInput("style is given twice, in the path and as a parameter.", "Drop the parameter.")
        given["style"] = request.path_params["style"]
    return given


def _wanted(given: Mapping[str, str]) -> Wanted:
    bands = given.get("bands")
    if bands is not None and not all(part.isdecimal() and len(part) < 5 for part in bands.split(",")):
        raise InvalidInput(f"bands={bands[:40]!r} is not a list of numbers.", "Example: bands=4,3,2")
    return Wanted(
        given.get("style", "default"),
        given.get("colormap"),
        colour.parse_rescale(given["rescale"]) if "rescale" in given else None,
        colour.parse_palette(given["palette"]) if "palette" in given else None,
        tuple(int(part) for part in bands.split(",")) if bands else None,
    )


def _check(city: Snapshot, chosen: list[Asset], given: Mapping[str, str]) -> None:
    """What is wrong with the parameters is said in the description already, not first by every tile."""
    colour.look(city.city.folder, chosen, _wanted(given))
    if given.get("f", "png") not in FORMATS:
        _format_unknown("f", given["f"])


def _pixels(given: Mapping[str, str], *, twice: bool) -> int:
    scale = given.get("scale", "1")
    if scale not in {"1", "2"}:
        raise InvalidInput(f"scale={scale[:20]!r} is not offered.", "Use 1 (256 pixels) or 2 (512).")
    return matrix_set.TILE_SIZE * (2 if twice or scale == "2" else 1)


def _format(request: Request, asked: str | None, extension: str) -> imagery.Format:
    """By `f`, else by the extension, else by `Accept`; `auto` is JPEG where it can be and PNG where it must."""
    for name, value in (("f", asked), ("extension", extension or None)):
        if value is not None and value.lower() not in FORMATS:
            _format_unknown(name, value)
    if asked and extension and FORMATS[asked.lower()] != FORMATS[extension]:
        raise InvalidInput(f"f={asked[:20]!r} and the extension {extension!r} differ.", "Drop one of them.")
    chosen = asked or extension
    if chosen:
        return FORMATS[chosen.lower()]
    return FORMATS[preferred(request.headers.get("accept", "*/*"), imagery.MEDIA_TYPES) or "auto"]


def _format_unknown(name: str, value: str) -> None:
    raise InvalidInput(f"{name}={value[:20]!r} is no format of image tiles.", "Use png, jpeg or webp.")


def _only_json(given: dict[str, str]) -> None:
    if given.pop("f", "json") != "json":
        raise InvalidInput("f: only json is offered here.", "Use f=json.")


def _root(layer_id: str, given: Mapping[str, str]) -> str:
    style = f"/styles/{quote(given['style'], safe='')}" if "style" in given else ""
    return f"/collections/{quote(layer_id)}{style}/map/tiles"


def _query(given: Mapping[str, str]) -> str:
    return urlencode(given, safe=",:", quote_via=quote)


def _json(request: Request, city: Snapshot, document: dict[str, Any]) -> Response:
    tag = answer.etag(city.version, request.url.path, request.url.query, base(request))
    return answer.conditional(request, answer.json_bytes(document), answer.JSON, tag)


def routes() -> list[Route]:
    """Map tiles of a raster collection, in its default style or a named one. `/tiles/` comes by way of `maptiles`."""
    found = []
    for root in ("/collections/{layer}/map/tiles", "/collections/{layer}/styles/{style}/map/tiles"):
        found += [
            Route(root, map_tilesets, methods=["GET"]),
            Route(f"{root}/{{grid}}", map_tileset, methods=["GET"]),
            Route(f"{root}/{{grid}}/{{z}}/{{row}}/{{col}}", layer_tile, methods=["GET"]),
        ]
    return found
