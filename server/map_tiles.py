"""Map tiles (OGC API Tiles, 20-057, with 20-058 tilesets) of feature layers and of the city: pictures on every grid.

Rasters have theirs in `imagetiles`, under the same addresses. Tiles are kept under the tag of their content.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from layers import crs
from layers.errors import InvalidInput, NotFound
from server import answer, filters, map_answer, map_layers, matrix_sets, parameters
from server.face import Operation
from server.map_layers import CITY, CITY_LABELLED, LABELLED, MapLayer
from server.openapi_paths import DRAWN, IMAGE_FORMAT, ONLY_JSON, VERSION
from server.openapi_schemas import ref
from server.serving import Snapshot, base, snapshot, union
from tiles import matrix_set
from tiles.matrix_set import MatrixSet

SELECTION = ("filter", "filter-lang", "filter-crs", "datetime")
LOOK = (
    "bgcolor", "transparent", "void-color", "void-transparent", "mm-per-pixel", "width", "height", "scale-denominator",
)  # fmt: skip
FORMATS = {"png": "png", "jpg": "jpeg", "jpeg": "jpeg", "webp": "webp"}
SIDE = matrix_set.TILE_SIZE
MIN_ZOOM_STEPS = 10
"""Levels above the one at which the layer fills a tile that a tileset names."""
EXACT_M = 0.3
"""Side of a pixel in metres at the deepest level that a tileset names."""


def layer_tile(request: Request) -> Response:
    """A tile of a feature layer."""
    city = snapshot(request)
    layer = map_layers.one(city, request.path_params["layer"])
    return _tile(request, city, [layer], request.path_params.get("style"))


def city_tile(request: Request) -> Response:
    """A tile of the city."""
    city = snapshot(request)
    style = _city_style(request)
    return _tile(request, city, map_layers.some_features(city), LABELLED if style == CITY_LABELLED else None)


def tile_drawing(
    city: Snapshot, layers: Sequence[MapLayer], style: str | None, place: matrix_sets.Position, given: Mapping[str, str]
) -> Any:
    """What a tile shows. Of several layers, those that have the style are drawn in it."""
    from tiles import drawing
    from tiles.drawing.features import Selection

    if "filter" not in given and ("filter-crs" in given or "filter-lang" in given):
        raise InvalidInput("filter-crs and filter-lang mean nothing without filter.", "Add filter=…, or drop them.")
    at = parameters.moment(given.get("datetime"))
    chosen = Selection(filters.parse(dict(given), city) if "filter" in given else None, at)
    several = len(layers) > 1
    items = tuple(map_layers.item(each, None if several and style not in each.styles else style, at) for each in layers)
    pixel_mm = _pixel_mm(given) / (2 if place.twice else 1)
    width, height = _size(place, given, pixel_mm)
    bounds = place.grid.bounds(place.z, place.x, place.y)
    view = drawing.View(place.grid.crs, bounds, width, height, pixel_mm)
    return drawing.Drawing(city.city, city.settings.scope, items, view, chosen)


def _size(place: matrix_sets.Position, given: Mapping[str, str], pixel_mm: float) -> tuple[int, int]:
    """Pixels of a tile: those of its grid, or as many as are asked for or a scale gives (20-058, map tilesets)."""
    from server import map_view

    named = dict(given)
    width, height = map_view.side(named, "width"), map_view.side(named, "height")
    scale = map_view.positive(named, "scale-denominator", None)
    if scale is not None:
        if width or height:
            raise InvalidInput("scale-denominator and width or height contradict each other.", "Drop one of them.")
        across, down = map_view.ground(place.grid.crs, place.grid.bounds(place.z, place.x, place.y))
        side = place.grid.cell_size(place.z) * SIDE
        width, height = (max(round(side * each * 1000 / scale / pixel_mm), 1) for each in (across, down))
        if max(width, height) > map_view.MAX_SIDE:
            raise InvalidInput(
                f"scale-denominator={scale:g} would give {max(width, height)} pixels.", "Name a coarser one."
            )
    usual = SIDE * 2 if place.twice else SIDE
    return width or usual, height or usual


def _pixel_mm(given: Mapping[str, str]) -> float:
    from server import map_view

    found = map_view.positive(dict(given), "mm-per-pixel", 0.28)
    if found is None or not 0.05 <= found <= 5:
        raise InvalidInput(f"mm-per-pixel={given['mm-per-pixel'][:20]} is not possible.", "Give 0.05 to 5.")
    return found


def _tile(request: Request, city: Snapshot, layers: list[MapLayer], style: str | None) -> Response:
    given = parameters.once(request.query_params, (*SELECTION, *LOOK, "f", "v"))
    place = matrix_sets.position(request, city.city.config.crs)
    name = _format(request, given.get("f"), place.extension)
    drawing = tile_drawing(city, layers, style, place, given)
    immutable = given.get("v") == str(city.version)
    return map_answer.respond(request, drawing, name, map_answer.ground(given), keep=True, immutable=immutable)


def _format(request: Request, asked: str | None, extension: str) -> str:
    for name, value in (("f", asked), ("extension", extension or None)):
        if value is not None and value.lower() not in FORMATS:
            raise InvalidInput(f"{name}={value[:20]!r} is no format of map tiles.", "Use png, jpeg or webp.")
    if asked and extension and FORMATS[asked.lower()] != FORMATS[extension]:
        raise InvalidInput(f"f={asked[:20]!r} and the extension {extension!r} differ.", "Drop one of them.")
    if asked or extension:
        return FORMATS[(asked or extension).lower()]
    found = map_answer.image_format(request, None)
    return "png" if found == "tiff" else found


def layer_tilesets(request: Request) -> Response:
    """The map tilesets of a feature layer."""
    city = snapshot(request)
    layer = map_layers.one(city, request.path_params["layer"])
    return _listing(request, city, [layer], _layer_root(request, layer))


def layer_tileset(request: Request) -> Response:
    """One map tileset of a feature layer."""
    city = snapshot(request)
    layer = map_layers.one(city, request.path_params["layer"])
    return _one(request, city, [layer], _layer_root(request, layer))


def city_tilesets(request: Request) -> Response:
    """The map tilesets of the city."""
    city = snapshot(request)
    return _listing(request, city, map_layers.some_features(city), _city_root(request))


def city_tileset(request: Request) -> Response:
    """One map tileset of the city."""
    city = snapshot(request)
    return _one(request, city, map_layers.some_features(city), _city_root(request))


def _layer_root(request: Request, layer: MapLayer) -> str:
    style = request.path_params.get("style")
    map_layers.style_of(layer, style)
    return f"/collections/{quote(layer.id)}{f'/styles/{quote(style)}' if style else ''}/map/tiles"


def _city_root(request: Request) -> str:
    style = request.path_params.get("style")
    return f"/styles/{_city_style(request)}/map/tiles" if style else "/map/tiles"


def _city_style(request: Request) -> str:
    style = request.path_params.get("style", CITY)
    if style not in {CITY, CITY_LABELLED}:
        raise NotFound(f"There is no style {style[:60]!r} here.", f"Known: {CITY}, {CITY_LABELLED}.")
    return str(style)


def _listing(request: Request, city: Snapshot, layers: list[MapLayer], root: str) -> Response:
    given = _json_only(request)
    address, city_crs = base(request), city.city.config.crs
    sets = [matrix_set.get(each, city_crs) for each in matrix_set.ids(city_crs)]
    found = [tileset(city, layers, each, (address, root), given) for each in sets]
    brief = ("title", "dataType", "crs", "tileMatrixSetURI", "links")
    listed = [{key: each[key] for key in brief if key in each} for each in found]
    here = {"rel": "self", "type": answer.JSON, "href": f"{address}{root}"}
    return _json(request, city, {"links": [here], "tilesets": listed})


def _one(request: Request, city: Snapshot, layers: list[MapLayer], root: str) -> Response:
    given = _json_only(request)
    grid = matrix_set.get(request.path_params["grid"], city.city.config.crs)
    return _json(request, city, tileset(city, layers, grid, (base(request), root), given))


def _json_only(request: Request) -> dict[str, str]:
    given = parameters.once(request.query_params, (*SELECTION, *LOOK, "f"))
    if given.pop("f", "json") != "json":
        raise InvalidInput("f: only json is offered here.", "Use f=json.")
    map_answer.ground(given)
    return given


def _json(request: Request, city: Snapshot, document: dict[str, Any]) -> Response:
    tag = answer.etag(city.version, request.url.path, request.url.query, base(request))
    return answer.conditional(request, answer.json_bytes(document), answer.JSON, tag)


def tileset(
    city: Snapshot, layers: Sequence[MapLayer], grid: MatrixSet, at: tuple[str, str], given: Mapping[str, str]
) -> dict[str, Any]:
    """Tileset metadata (17-083r4, 8): data type, grid, limits of what there is to see, links.

    `at` is the base of the server and the path of the list of tilesets.
    """
    address, root = at[0], "".join(at)
    title = layers[0].type.title if len(layers) == 1 else None
    zh, en = (title.zh, title.en) if title else (city.city.config.title_in("zh"), city.city.config.title_in("en"))
    _, _, limits = limits_of(city, layers, grid)
    west, south, east, north = city.lonlat(union([each.bounds for each in layers]))
    scheme, uri = f"{address}/tileMatrixSets/{grid.id}", dict(grid.head).get("uri")
    passed = f"?{urlencode(given, quote_via=quote)}" if given else ""
    template = f"{root}/{grid.id}/{{tileMatrix}}/{{tileRow}}/{{tileCol}}{passed}"
    kinds = [kind for name, kind in map_answer.FORMATS.items() if name != "tiff"]
    document = {
        "title": f"{zh} / {en}",
        "dataType": "map",
        "crs": grid.document()["crs"],
        "tileMatrixSetLimits": limits,
        "boundingBox": {"lowerLeft": [west, south], "upperRight": [east, north], "crs": crs.CRS84_URI},
        "links": [
            {"rel": "self", "type": answer.JSON, "href": f"{root}/{grid.id}{passed}"},
            {"rel": matrix_sets.SCHEME_REL, "type": answer.JSON, "href": scheme},
            *({"rel": "item", "type": kind, "href": template, "templated": True} for kind in kinds),
        ],
    }
    return document | ({"tileMatrixSetURI": uri} if uri else {"tileMatrixSetDefinition": scheme})


def limits_of(city: Snapshot, layers: Sequence[MapLayer], grid: MatrixSet) -> tuple[int, int, list[dict[str, object]]]:
    """First and last useful level of a grid for some layers, and the tiles that their box touches at each of them."""
    bounds = union([each.bounds for each in layers])
    if bounds is None:
        return 0, 0, []
    west, south, east, north = bounds
    own = (west - 0.5, south - 0.5, east + 0.5, north + 0.5)
    box = crs.transform_bounds(crs.horizontal(city.city.config.crs), grid.crs, own)
    widest = max(box[2] - box[0], box[3] - box[1])
    low = max(grid.level_of(widest / SIDE) - MIN_ZOOM_STEPS, 0)
    high = max(grid.level_of(EXACT_M / 2 / grid.metres_per_unit), low)
    found: list[dict[str, object]] = []
    for z in range(low, high + 1):
        x0, y0, x1, y1 = grid.cover(z, box)
        found.append({"tileMatrix": str(z), "minTileRow": y0, "maxTileRow": y1, "minTileCol": x0, "maxTileCol": x1})
    return low, high, found


def routes() -> list[Route]:
    """Map tiles of the city; those of layers come by way of `imagetiles`."""
    found = []
    for root in ("/map/tiles", "/styles/{style}/map/tiles"):
        found += [
            Route(root, city_tilesets, methods=["GET"]),
            Route(f"{root}/{{grid}}", city_tileset, methods=["GET"]),
            Route(f"{root}/{{grid}}/{{z}}/{{row}}/{{col}}", city_tile, methods=["GET"]),
        ]
    return found


_PICTURE: dict[str, Any] = {"type": "string", "format": "binary"}
_TILE = {kind: _PICTURE for name, kind in map_answer.FORMATS.items() if name != "tiff"}


def _operations(root: str, words: str) -> tuple[Operation, ...]:
    sets, one, tile = f"{root}/map/tiles", "{tileMatrixSetId}", "{tileMatrixSetId}/{z}/{row}/{col}"
    passed = (ONLY_JSON, *DRAWN)
    return (
        Operation(sets, f"Map tilesets of the city, {words}", {answer.JSON: ref("tilesets")}, passed, tag="Maps"),
        Operation(f"{sets}/{one}", f"Map tileset of the city, {words}", {answer.JSON: ref("tileset")}, passed,
                  tag="Maps"),
        Operation(f"{sets}/{tile}", f"Map tile of the city, {words}", _TILE, (IMAGE_FORMAT, *DRAWN, VERSION),
                  tag="Maps"),
    )  # fmt: skip


OPERATIONS = (*_operations("", "in the default style"), *_operations("/styles/{styleId}", "in a style"))
