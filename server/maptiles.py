"""Routes of vector tiles (OGC API Tiles, 20-057): MVT of a collection and of the whole city, descriptions, TileJSON.

Rasters under the same addresses go to `imagetiles`. OGC order: zoom, row, column. A tile without features is a 204; a
place off the grid is a 404.
"""

from typing import Any
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from layers.errors import InvalidInput, LayerNotFound
from server import answer, filters, imagetiles, matrix_sets, parameters, vector_tilesets
from server.serving import Snapshot, base, snapshot
from tiles import matrix_set

MVT = "application/vnd.mapbox-vector-tile"
GRID = "WebMercatorQuad"
SELECTION = ("filter", "filter-lang", "filter-crs", "datetime", "properties")
"""What of the features a tile shows; in a TileJSON address it goes on to the tiles."""
CITY = (*SELECTION, "collections")
EXTENSIONS = ("", "mvt", "pbf")
MAX_LAYERS = 500


def layer_tile(request: Request) -> Response:
    """A tile of one collection: MVT, or an image where the collection is a raster (`epoch`, `asset` choose)."""
    city = snapshot(request)
    layer_id = request.path_params["layer"]
    if layer_id in city.files:
        return imagetiles.layer_tile(request)
    given = parameters.once(request.query_params, (*SELECTION, "f", "v"))
    return _tile(request, city, [spatial(city, layer_id)], given)


def city_tile(request: Request) -> Response:
    """An MVT tile with every feature layer that has geometry, or those of `collections`."""
    city = snapshot(request)
    given = parameters.once(request.query_params, (*CITY, "f", "v"))
    return _tile(request, city, collections(city, given), given)


def spatial(city: Snapshot, layer_id: str) -> str:
    """The id of a feature layer; LayerNotFound names the nearest one, NotFound for a table."""
    info = city.vector(layer_id)
    if info.type.geometry == "none":
        raise LayerNotFound(f"{layer_id}/tiles", drawable(city))
    return info.id


def drawable(city: Snapshot) -> list[str]:
    """Feature layers with something to draw."""
    return [key for key, info in city.vectors.items() if info.type.geometry != "none" and info.bounds]


def collections(city: Snapshot, given: dict[str, str]) -> list[str]:
    """The layers that `collections` names, all drawable ones without it."""
    if "collections" not in given:
        return drawable(city)
    names = parameters.listed(given["collections"], MAX_LAYERS, "collections")
    return list(dict.fromkeys(spatial(city, name) for name in names))


def _tile(request: Request, city: Snapshot, layer_ids: list[str], given: dict[str, str]) -> Response:
    from tiles import mvt

    where = matrix_sets.position(request, city.city.config.crs)
    _only_mvt(where.extension, twice=where.twice, asked=given.get("f"))
    selection = _selection(city, layer_ids, given)
    place = (city.city, layer_ids, where.grid, (where.z, where.x, where.y), city.settings.scope)
    immutable = given.get("v") == str(city.version)
    if request.headers.get("if-none-match"):  # the tag alone is cheap
        headers = answer.headers_for(answer.etag("mvt", mvt.tag(*place, selection=selection)), immutable=immutable)
        if answer.is_fresh(request, headers["ETag"]):
            return answer.not_modified(headers)
    made = mvt.tile(*place, selection=selection)
    headers = answer.headers_for(answer.etag("mvt", made.tag), immutable=immutable)
    if not made.data:
        return Response(status_code=204, headers=headers)
    return Response(made.data, headers=headers | {"Content-Type": MVT})


def _only_mvt(extension: str, *, twice: bool, asked: str | None) -> None:
    if extension not in EXTENSIONS or twice:
        raise InvalidInput(f"Vector tiles have no form {'@2x ' * twice}{extension[:20]!r}.", "Use .mvt, or nothing.")
    if asked not in {None, "mvt", MVT}:
        raise InvalidInput(f"f={asked[:30] if asked else ''!r} is not offered here.", "Use mvt.")


def _selection(city: Snapshot, layer_ids: list[str], given: dict[str, str]) -> Any:
    from tiles.mvt import Selection

    if "filter" not in given and ("filter-crs" in given or "filter-lang" in given):
        raise InvalidInput("filter-crs and filter-lang mean nothing without filter.", "Add filter=…, or drop them.")
    names = None
    if "properties" in given:
        names = tuple(dict.fromkeys(parameters.listed(given["properties"], 1000, "properties")))
        types = [city.vectors[key].type for key in layer_ids]
        unknown = [name for name in names if all(each.attribute(name) is None for each in types)]
        if unknown:
            raise InvalidInput(f"No collection here has an attribute {unknown[0][:60]!r}.", "See /queryables.")
    return Selection(
        filter=filters.parse(given, city) if "filter" in given else None,
        at=parameters.moment(given.get("datetime")),
        properties=names,
    )


def layer_tilejson(request: Request) -> Response:
    """TileJSON 3.0 of one collection, with absolute addresses; `tms` names the grid."""
    city = snapshot(request)
    layer_id = request.path_params["layer"]
    if layer_id in city.files:
        return imagetiles.layer_tilejson(request)
    given = parameters.once(request.query_params, (*SELECTION, "tms"))
    return _tilejson(request, city, [spatial(city, layer_id)], f"/collections/{quote(layer_id)}/tiles", given)


def city_tilejson(request: Request) -> Response:
    """TileJSON 3.0 of the whole city, or of `collections`."""
    city = snapshot(request)
    given = parameters.once(request.query_params, (*CITY, "tms"))
    return _tilejson(request, city, collections(city, given), "/tiles", given)


def _tilejson(request: Request, city: Snapshot, layer_ids: list[str], root: str, given: dict[str, str]) -> Response:
    grid = matrix_set.get(given.get("tms", GRID), city.city.config.crs)
    _selection(city, layer_ids, given)  # what is wrong with it is said here, not first by every tile
    passed = {key: value for key, value in given.items() if key != "tms"}
    query = f"?{urlencode(passed, quote_via=quote)}" if passed else ""
    document = document_of(city, layer_ids, f"{base(request)}{root}/{grid.id}/{{z}}/{{y}}/{{x}}{query}", grid)
    return vector_tilesets.json_answer(request, city, document)


def document_of(city: Snapshot, layer_ids: list[str], template: str, grid: matrix_set.MatrixSet) -> dict[str, Any]:
    """TileJSON of some collections under an address template."""
    from tiles import mvt

    return mvt.tilejson(city.city, layer_ids, template, grid, city.settings.scope)


def layer_tilesets(request: Request) -> Response:
    """The tilesets of one collection, one for each tile matrix set."""
    city = snapshot(request)
    layer_id = request.path_params["layer"]
    if layer_id in city.files:
        return imagetiles.map_tilesets(request)
    root = f"/collections/{quote(layer_id)}/tiles"
    return vector_tilesets.listing(request, city, [spatial(city, layer_id)], root)


def layer_tileset(request: Request) -> Response:
    """Metadata of one collection's tileset on one tile matrix set."""
    city = snapshot(request)
    layer_id = request.path_params["layer"]
    if layer_id in city.files:
        return imagetiles.map_tileset(request)
    root = f"/collections/{quote(layer_id)}/tiles"
    return vector_tilesets.one(request, city, [spatial(city, layer_id)], root)


def city_tilesets(request: Request) -> Response:
    """The tilesets of the whole city."""
    city = snapshot(request)
    return vector_tilesets.listing(request, city, drawable(city), "/tiles")


def city_tileset(request: Request) -> Response:
    """Metadata of the city's tileset on one tile matrix set."""
    city = snapshot(request)
    return vector_tilesets.one(request, city, drawable(city), "/tiles")


def routes() -> list[Route]:
    """Tiles of a collection and of the city, and their descriptions."""
    return [
        Route("/collections/{layer}/tiles/{grid}/{z}/{row}/{col}", layer_tile, methods=["GET"]),
        Route("/collections/{layer}/tiles/{grid}", layer_tileset, methods=["GET"]),
        Route("/collections/{layer}/tiles", layer_tilesets, methods=["GET"]),
        Route("/collections/{layer}/tilejson.json", layer_tilejson, methods=["GET"]),
        Route("/tiles/tilejson.json", city_tilejson, methods=["GET"]),
        Route("/tiles/{grid}/{z}/{row}/{col}", city_tile, methods=["GET"]),
        Route("/tiles/{grid}", city_tileset, methods=["GET"]),
        Route("/tiles", city_tilesets, methods=["GET"]),
    ]
