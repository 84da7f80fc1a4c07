"""Routes of image tiles of raster collections. OGC order: zoom, row, column."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from layers.errors import NotFound
from server import answer, matrix_sets, parameters
from server.files import chosen
from server.serving import Snapshot, base, snapshot
from twin.store.interface import Asset

IMAGES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"RIFF": "image/webp"}
GRID = "WebMercatorQuad"


def layer_tile(request: Request) -> Response:
    """A tile of a raster collection (`epoch`, `asset` choose)."""
    city = snapshot(request)
    given = parameters.once(request.query_params, ("epoch", "asset", "v"))
    where = matrix_sets.position(request, city.city.config.crs)
    if where.grid.id != GRID:
        raise NotFound(f"Image tiles are not made in {where.grid.id}.", f"Use {GRID}.")
    asset = _raster(city, request.path_params["layer"], given)
    return _image(request, city, asset, (where.z, where.y, where.x))


def layer_tilejson(request: Request) -> Response:
    """TileJSON 3.0 of a raster collection."""
    city = snapshot(request)
    given = parameters.once(request.query_params, ("epoch", "asset"))
    document = image_tilejson(city, _raster(city, request.path_params["layer"], given), base(request))
    tag = answer.etag(city.version, request.url.path, request.url.query, base(request))
    return answer.conditional(request, answer.json_bytes(document), answer.JSON, tag)


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
