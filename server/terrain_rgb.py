"""Routes of Terrain-RGB: `/terrain-rgb/{z}/{x}/{y}.png` (or `.webp`, `@2x`), column before row, and its TileJSON."""

import re
from collections.abc import Mapping
from typing import Literal, cast
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from layers.errors import InvalidInput
from server import answer, parameters
from server.serving import Snapshot, base, snapshot
from tiles import cache
from tiles.matrix_set import TILE_SIZE
from tiles.terrain import TerrainTiles
from tiles.terrain_rgb import GRID, Encoding, Heights, TerrainRgb

KNOWN = {"heights": ("normal", "ellipsoidal"), "encoding": ("mapbox", "terrarium"), "scale": ("1", "2")}
FORMATS = {"png": "image/png", "webp": "image/webp"}
_LAST = re.compile(r"(?P<row>-?\d{1,12})(?P<twice>@2x)?(?:\.(?P<extension>[A-Za-z0-9]{1,8}))?")
_WHOLE = re.compile(r"-?\d{1,12}")


def tilejson(request: Request) -> Response:
    """TileJSON 3.0 with `encoding`; the parameters go into the tiles' address."""
    city = snapshot(request)
    given = parameters.once(request.query_params, (*KNOWN, "surface", "f"))
    image_format = _format(given.pop("f", "png"))
    tiles = _tiles(city, given)
    query = urlencode(given | {"v": tiles.version})
    document = tiles.tilejson(f"{base(request)}/terrain-rgb/{{z}}/{{x}}/{{y}}.{image_format}?{query}")
    tag = answer.etag(city.version, request.url.path, request.url.query, base(request))
    return answer.conditional(request, answer.json_bytes(document), answer.JSON, tag)


def tile(request: Request) -> Response:
    """One tile; its validator depends on the rasters and the parameters alone."""
    city = snapshot(request)
    given = parameters.once(request.query_params, (*KNOWN, "surface", "f", "v"))
    z, x, y, extension, twice = _address(request)
    image_format = _format(given.get("f", extension or "png"))
    if extension and image_format != extension:
        raise InvalidInput(f"f={image_format!r} and the extension {extension!r} differ.", "Drop one of them.")
    tiles = _tiles(city, given | ({"scale": "2"} if twice else {}))
    parts = (*tiles.signature, image_format, z, x, y)
    tag = answer.etag(*parts, weak=False)
    headers = answer.headers_for(tag, immutable=given.get("v") == tiles.version)
    if answer.is_fresh(request, tag):
        return answer.not_modified(headers)
    GRID.require(z, x, y)
    body = cache.of_twin(city.city.folder).get_or_make(lambda: tiles.tile(z, x, y, image_format), *parts)
    return Response(body, headers=headers | {"Content-Type": FORMATS[image_format]})


def _tiles(city: Snapshot, given: Mapping[str, str]) -> TerrainRgb:
    for name, known in KNOWN.items():
        if given.get(name, known[0]) not in known:
            raise InvalidInput(f"{name}={given[name][:20]!r} is not offered.", f"Use {' or '.join(known)}.")
    surface = given.get("surface", "terrain")
    # under the key that the mesh's routes use: what is prepared for one serves the other
    terrain = city.make(("terrain", surface), lambda: TerrainTiles(city.city, city.settings.scope, surface))
    heights = cast(Heights, given.get("heights", "normal"))
    encoding = cast(Encoding, given.get("encoding", "mapbox"))
    made = TerrainRgb(terrain, heights, encoding, TILE_SIZE * int(given.get("scale", "1")))
    made.require()
    return made


def _address(request: Request) -> tuple[int, int, int, str, bool]:
    """Level, column, row, extension, whether twice the pixels; InvalidInput names the part that is no number."""
    parts = request.path_params
    last = _LAST.fullmatch(parts["y"])
    for name in ("z", "x"):
        if not _WHOLE.fullmatch(parts[name]):
            raise InvalidInput(f"{name}={parts[name][:30]!r} is not a whole number.", "Use /{z}/{x}/{y}.png")
    if last is None:
        raise InvalidInput(f"y={parts['y'][:30]!r} is not a whole number.", "Use /{z}/{x}/{y}.png")
    extension = (last["extension"] or "").lower()
    return int(parts["z"]), int(parts["x"]), int(last["row"]), extension, last["twice"] is not None


def _format(asked: str) -> Literal["png", "webp"]:
    if asked not in FORMATS:
        raise InvalidInput(f"{asked[:20]!r} is no format of Terrain-RGB.", "Use png or webp (lossless).")
    return cast(Literal["png", "webp"], asked)


def routes() -> list[Route]:
    """Tiles and their description."""
    return [
        Route("/terrain-rgb/tilejson.json", tilejson, methods=["GET"]),
        Route("/terrain-rgb/{z}/{x}/{y}", tile, methods=["GET"]),
    ]
