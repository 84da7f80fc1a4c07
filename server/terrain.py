"""Routes of the quantized-mesh terrain: the ground as surveyed at /terrain, other surfaces at /terrain/{surface}."""

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server import answer, packing, parameters
from server.serving import Snapshot, snapshot

if TYPE_CHECKING:
    from tiles.terrain import TerrainTiles

TERRAIN = "application/vnd.quantized-mesh"


def asked_extensions(accept: str) -> tuple[str, ...]:
    """Extensions that the `Accept` header names and that are offered, in their own order.

    Viewers write `application/vnd.quantized-mesh;extensions=octvertexnormals-metadata`.
    """
    from tiles.terrain import EXTENSIONS

    asked: set[str] = set()
    for part in accept[:2000].split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        if kind.lower() == TERRAIN:
            for parameter in parameters:
                key, _, value = parameter.partition("=")
                if key.strip().lower() == "extensions":
                    asked.update(value.strip(' "').split("-"))
    return tuple(each for each in EXTENSIONS if each in asked)


def _terrain(city: Snapshot, request: Request) -> "TerrainTiles":
    """Of the surface that the address names, kept with the snapshot; NotFound for an unknown one."""
    from tiles.terrain import TerrainTiles

    surface = request.path_params.get("surface", "terrain")
    return city.make(("terrain", surface), lambda: TerrainTiles(city.city, city.settings.scope, surface))


def terrain_layer(request: Request) -> Response:
    """`layer.json`."""
    parameters.once(request.query_params, ())
    city = snapshot(request)
    terrain = _terrain(city, request)
    tag = answer.etag(terrain.version, "layer.json")
    if answer.is_fresh(request, tag):
        return answer.not_modified(answer.headers_for(tag))
    return answer.conditional(request, answer.json_bytes(terrain.layer_json()), answer.JSON, tag)


def terrain_tile(request: Request) -> Response:
    """One tile, with the extensions that the reader asks for."""
    from tiles import cache

    parameters.once(request.query_params, ("v",))
    city = snapshot(request)
    z, x, y = (request.path_params[name] for name in ("z", "x", "y"))
    extensions = asked_extensions(request.headers.get("accept", ""))
    terrain = _terrain(city, request)
    terrain.require(z, x, y)
    media_type = f"{TERRAIN};extensions={'-'.join(extensions)}" if extensions else TERRAIN
    return packing.kept(
        request,
        cache.of_twin(city.city.folder),
        lambda: terrain.tile(z, x, y, extensions),
        "-".join(["terrain", terrain.version, str(z), str(x), str(y), *extensions]),
        media_type,
        immutable=request.query_params.get("v") == terrain.version,
    )


def routes() -> list[Route]:
    """Terrain of the city, as surveyed and as derived."""
    found = []
    for folder in ("/terrain", "/terrain/{surface}"):
        found.append(Route(f"{folder}/layer.json", terrain_layer, methods=["GET"]))
        found.append(Route(f"{folder}/{{z:int}}/{{x:int}}/{{y:int}}.terrain", terrain_tile, methods=["GET"]))
    return found
