"""Routes of 3D Tiles."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server import adopted, answer
from server.serving import snapshot


def layer_tileset(request: Request) -> Response:
    """`tileset.json`, sub-tilesets and contents of one layer. Addresses of contents carry the layer's version."""
    from tiles.tileset import Tileset

    city = snapshot(request)
    if adopted.has(city, request.path_params["layer"]):
        return adopted.resource(request, city, request.path_params["layer"], request.path_params["path"])
    layer_id = city.vector(request.path_params["layer"]).id
    tileset = Tileset(city.city, layer_id, city.settings.scope)
    path = request.path_params["path"]
    # weak: the middleware may compress
    tag, is_root = f"W/{tileset.etag}", path == "tileset.json"
    # an address with an old version in it gets the present bytes, which nobody may keep under that name
    immutable = not is_root and path.startswith(f"{tileset.version}/")
    if answer.is_fresh(request, tag):
        return answer.not_modified(answer.headers_for(tag, immutable=immutable))
    body, media_type = tileset.resource(path)
    return answer.conditional(request, body, media_type, tag, immutable=immutable)


def city_tileset(request: Request) -> Response:
    """One tileset over those of all layers and over adopted sets."""
    from tiles.tileset import city_tileset_json

    city = snapshot(request)
    tag = answer.etag(city.version, "3dtiles")
    if answer.is_fresh(request, tag):
        return answer.not_modified(answer.headers_for(tag))
    sets = [adopted.child(asset, "../") for asset in adopted.sets(city)]
    body = city_tileset_json(
        city.city, city.settings.scope, "../collections/{layer}/3dtiles/explicit/tileset.json", sets
    )
    return answer.conditional(request, body, answer.JSON, tag)


def routes() -> list[Route]:
    """3D Tiles. The plain tileset is the explicit one until the compact encoding exists."""
    return [
        Route("/collections/{layer}/3dtiles/explicit/{path:path}", layer_tileset, methods=["GET"]),
        Route("/collections/{layer}/3dtiles/{path:path}", layer_tileset, methods=["GET"]),
        Route("/3dtiles/tileset.json", city_tileset, methods=["GET"]),
    ]
