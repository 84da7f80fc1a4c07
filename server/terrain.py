"""Routes of the quantized-mesh terrain."""

import gzip

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server import answer
from server.serving import snapshot

TERRAIN = "application/vnd.quantized-mesh"


def terrain_layer(request: Request) -> Response:
    """`layer.json`."""
    from tiles.terrain import TerrainTiles

    city = snapshot(request)
    terrain = TerrainTiles(city.city, city.settings.scope)
    tag = answer.etag(terrain.version, "layer.json")
    if answer.is_fresh(request, tag):
        return answer.not_modified(answer.headers_for(tag))
    return answer.conditional(request, answer.json_bytes(terrain.layer_json()), answer.JSON, tag)


def terrain_tile(request: Request) -> Response:
    """One tile, gzipped, with normals where the reader asks for them (`extensions=octvertexnormals`)."""
    from tiles.terrain import TerrainTiles

    city = snapshot(request)
    z, x, y = (request.path_params[name] for name in ("z", "x", "y"))
    normals = "octvertexnormals" in request.headers.get("accept", "")
    packed = "gzip" in request.headers.get("accept-encoding", "")
    terrain = TerrainTiles(city.city, city.settings.scope)
    tag = answer.etag(terrain.version, z, x, y, normals, packed, weak=False)
    immutable = request.query_params.get("v") == terrain.version
    if answer.is_fresh(request, tag):
        return answer.not_modified(answer.headers_for(tag, immutable=immutable))
    body = terrain.tile(z, x, y, normals)
    more = {"Content-Encoding": "gzip"} if packed else {}
    media_type = f"{TERRAIN};extensions=octvertexnormals" if normals else TERRAIN
    body = gzip.compress(body, 5) if packed else body
    return answer.conditional(request, body, media_type, tag, more, immutable=immutable)


def routes() -> list[Route]:
    """Terrain of the city."""
    return [
        Route("/terrain/layer.json", terrain_layer, methods=["GET"]),
        Route("/terrain/{z:int}/{x:int}/{y:int}.terrain", terrain_tile, methods=["GET"]),
    ]
