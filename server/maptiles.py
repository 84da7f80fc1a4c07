"""Routes of vector tiles (MVT) of feature layers; rasters go to `imagetiles`. OGC order: zoom, row, column."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from layers.errors import NotFound
from server import answer, imagetiles, matrix_sets, parameters
from server.serving import Snapshot, base, snapshot

MVT = "application/vnd.mapbox-vector-tile"
GRID = "WebMercatorQuad"


def _position(request: Request, city: Snapshot) -> tuple[int, int, int]:
    where = matrix_sets.position(request, city.city.config.crs)
    if where.grid.id != GRID:
        raise NotFound(f"Vector tiles are not made in {where.grid.id}.", f"Use {GRID}.")
    return where.z, where.y, where.x


def layer_tile(request: Request) -> Response:
    """A tile of one collection: MVT, or an image where the collection is a raster (`epoch`, `asset` choose)."""
    city = snapshot(request)
    layer_id = request.path_params["layer"]
    if layer_id in city.files:
        return imagetiles.layer_tile(request)
    parameters.once(request.query_params, ("v",))
    return _vector(request, city, [city.vector(layer_id).id], _position(request, city))


def city_tile(request: Request) -> Response:
    """An MVT tile with every feature layer that has geometry."""
    city = snapshot(request)
    parameters.once(request.query_params, ("v",))
    return _vector(request, city, drawable(city), _position(request, city))


def drawable(city: Snapshot) -> list[str]:
    """Feature layers with geometry."""
    return [key for key, info in city.vectors.items() if info.type.geometry != "none"]


def _vector(request: Request, city: Snapshot, layer_ids: list[str], position: tuple[int, int, int]) -> Response:
    from tiles import mvt

    versions = [(key, city.vectors[key].version) for key in layer_ids]
    tag = answer.etag("mvt", versions, position)
    immutable = "v" in request.query_params
    if answer.is_fresh(request, tag):
        return answer.not_modified(answer.headers_for(tag, immutable=immutable))
    z, row, col = position
    body = mvt.tile(city.city, layer_ids, z, col, row, city.settings.scope)
    return answer.conditional(request, body, MVT, tag, immutable=immutable)


def layer_tilejson(request: Request) -> Response:
    """TileJSON 3.0 of one collection, with absolute addresses."""
    city = snapshot(request)
    layer_id = request.path_params["layer"]
    if layer_id in city.files:
        return imagetiles.layer_tilejson(request)
    parameters.once(request.query_params, ())
    document = _vector_tilejson(city, [city.vector(layer_id).id], f"{base(request)}/collections/{layer_id}/tiles")
    return _json(request, city, document)


def city_tilejson(request: Request) -> Response:
    """TileJSON 3.0 of the whole city."""
    city = snapshot(request)
    return _json(request, city, _vector_tilejson(city, drawable(city), f"{base(request)}/tiles"))


def _json(request: Request, city: Snapshot, document: dict[str, Any]) -> Response:
    tag = answer.etag(city.version, request.url.path, request.url.query, base(request))
    return answer.conditional(request, answer.json_bytes(document), answer.JSON, tag)


def _vector_tilejson(city: Snapshot, layer_ids: list[str], address: str) -> dict[str, Any]:
    from tiles import mvt

    return mvt.tilejson(city.city, layer_ids, f"{address}/{GRID}/{{z}}/{{y}}/{{x}}", city.settings.scope)


def routes() -> list[Route]:
    """Tiles of a collection and of the city."""
    return [
        Route("/collections/{layer}/tiles/{grid}/{z}/{row}/{col}", layer_tile, methods=["GET"]),
        Route("/collections/{layer}/tilejson.json", layer_tilejson, methods=["GET"]),
        Route("/tiles/{grid}/{z}/{row}/{col}", city_tile, methods=["GET"]),
        Route("/tiles/tilejson.json", city_tilejson, methods=["GET"]),
    ]
