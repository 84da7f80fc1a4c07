"""Routes of 2D tiles: vector (MVT) for feature layers, images for rasters. OGC order: zoom, row, column."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from layers.errors import NotFound
from server import answer, parameters
from server.files import chosen
from server.serving import Snapshot, base, snapshot
from twin.store.interface import Asset

MVT = "application/vnd.mapbox-vector-tile"
IMAGES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"RIFF": "image/webp"}
GRID = "WebMercatorQuad"


def _position(request: Request) -> tuple[int, int, int]:
    z, row, col = (request.path_params[name] for name in ("z", "row", "col"))
    if request.path_params["grid"] != GRID:
        raise NotFound(f"There is no tile matrix set {request.path_params['grid'][:40]!r}.", f"Use {GRID}.")
    if z > 24 or row >= 2**z or col >= 2**z:
        raise NotFound(
            f"There is no tile {z}/{row}/{col} in {GRID}.", "Zoom 24 is the last; rows and columns start at 0."
        )
    return z, row, col


def layer_tile(request: Request) -> Response:
    """A tile of one collection: MVT, or an image where the collection is a raster (`epoch`, `asset` choose)."""
    city = snapshot(request)
    layer_id = request.path_params["layer"]
    position = _position(request)
    if layer_id in city.files:
        given = parameters.once(request.query_params, ("epoch", "asset", "v"))
        return _image(request, city, _raster(city, layer_id, given), position)
    parameters.once(request.query_params, ("v",))
    return _vector(request, city, [city.vector(layer_id).id], position)


def city_tile(request: Request) -> Response:
    """An MVT tile with every feature layer that has geometry."""
    city = snapshot(request)
    parameters.once(request.query_params, ("v",))
    return _vector(request, city, drawable(city), _position(request))


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


def _image(request: Request, city: Snapshot, asset: Asset, position: tuple[int, int, int]) -> Response:
    from tiles import imagery

    tag = answer.etag("image", asset.path, position, weak=False)
    immutable = "v" in request.query_params
    if answer.is_fresh(request, tag):
        return answer.not_modified(answer.headers_for(tag, immutable=immutable))
    z, row, col = position
    body = imagery.tile(city.city, asset, z, col, row)
    media_type = next((kind for magic, kind in IMAGES.items() if body.startswith(magic)), "application/octet-stream")
    return answer.conditional(request, body, media_type, tag, immutable=immutable)


def _raster(city: Snapshot, layer_id: str, given: dict[str, str]) -> Asset:
    asset = chosen(city, layer_id, given.get("asset"), given.get("epoch"))
    if asset.kind != "raster":
        raise NotFound(f"{layer_id} is a point cloud and has no 2D tiles.", "Read points.copc.laz.")
    return asset


def layer_tilejson(request: Request) -> Response:
    """TileJSON 3.0 of one collection, with absolute addresses."""
    city = snapshot(request)
    layer_id = request.path_params["layer"]
    given = parameters.once(request.query_params, ("epoch", "asset"))
    if layer_id in city.files:
        document = image_tilejson(city, _raster(city, layer_id, given), base(request))
    else:
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


def image_tilejson(city: Snapshot, asset: Asset, address: str) -> dict[str, Any]:
    """TileJSON of a raster asset; `y` counts from north (XYZ)."""
    low, high = zooms(asset)
    return {
        "tilejson": "3.0.0",
        "name": asset.title or asset.id,
        "scheme": "xyz",
        "tiles": [f"{address}{image_path(asset)}"],
        "bounds": list(city.lonlat(asset.city_bounds)),
        "minzoom": low,
        "maxzoom": high,
    }


def image_path(asset: Asset) -> str:
    """Address template of an image asset, from the root of the server."""
    return f"/collections/{asset.layer}/tiles/{GRID}/{{z}}/{{y}}/{{x}}?asset={asset.id}"


def zooms(asset: Asset) -> tuple[int, int]:
    """First zoom at which the raster fills a tile, and the one that shows its cells (512 px of 156543 m at zoom 0)."""
    import math

    from layers import crs

    west, south, east, north = crs.transform_bounds(asset.crs, "EPSG:3857", asset.bounds)
    width = max(east - west, north - south, 1.0)
    world = 40075016.68557849
    pixels = max((int(v) for key in ("width", "height") if (v := asset.meta.get(key))), default=2048)
    low = max(0, math.floor(math.log2(world / width)) - 1)
    high = math.ceil(math.log2(world / 256 / (width / pixels)))
    return min(low, 22), min(max(high, low), 24)


def routes() -> list[Route]:
    """Tiles of a collection and of the city."""
    return [
        Route("/collections/{layer}/tiles/{grid}/{z:int}/{row:int}/{col:int}", layer_tile, methods=["GET"]),
        Route("/collections/{layer}/tilejson.json", layer_tilejson, methods=["GET"]),
        Route("/tiles/{grid}/{z:int}/{row:int}/{col:int}", city_tile, methods=["GET"]),
        Route("/tiles/tilejson.json", city_tilejson, methods=["GET"]),
    ]
