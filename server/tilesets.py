"""Routes of 3D Tiles: a layer's tileset in its three forms, and the whole city's."""

from typing import Any

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from layers.errors import InvalidInput, NotFound
from server import adopted, answer, filters, packing, parameters, point_tiles
from server.serving import Snapshot, snapshot
from tiles import cache
from tiles.tileset import Form, Selection, Tileset

SELECTING = ("filter", "filter-lang", "filter-crs", "datetime")
"""Parameters of a tileset's address; viewers copy them to every address below it."""
_FORMS: dict[str, Form] = {"compat": "compat", "explicit": "explicit"}


def layer_tileset(request: Request) -> Response:
    """`tileset.json`, subtrees and contents of one layer, or of a set or a cloud that is served beside the features."""
    city = snapshot(request)
    layer_id, path = request.path_params["layer"], request.path_params["path"]
    if adopted.has(city, layer_id):
        return adopted.resource(request, city, layer_id, path.removeprefix("explicit/"))
    if point_tiles.has(city, layer_id):
        return point_tiles.resource(request, city, layer_id, path)
    folder, _, rest = path.partition("/")
    form = _FORMS.get(folder, "compact")
    tileset = _tileset(city, layer_id, selection(request.query_params, city))
    found = tileset.resource(form, path if form == "compact" else rest)
    kept = cache.of_twin(city.city.folder)
    return packing.kept(request, kept, found.make, found.tag, found.media_type, immutable=found.immutable)


def selection(asked: QueryParams, city: Snapshot) -> Selection:
    """Filter and moment of the address. InvalidInput for anything that is not understood."""
    given = parameters.once(asked, (*SELECTING, "v"))
    if "filter" not in given and ("filter-crs" in given or "filter-lang" in given):
        raise InvalidInput("filter-crs and filter-lang mean nothing without filter.", "Add filter=…, or drop them.")
    parsed = filters.parse(given, city) if "filter" in given else None
    return Selection(parsed, parameters.moment(given.get("datetime")))


def _tileset(city: Snapshot, layer_id: str, chosen: Selection) -> Tileset:
    info = city.vector(layer_id)
    return Tileset(city.city, info.id, city.settings.scope, info=info, selection=chosen)


def city_tileset(request: Request) -> Response:
    """One tileset over those of all layers, adopted sets and point clouds. `datetime` holds for all layers."""
    city = snapshot(request)
    path = request.path_params["path"]
    folder, _, rest = path.rpartition("/")
    if rest not in {"", "tileset.json"} or folder not in {"", *_FORMS}:
        raise NotFound(f"{path[:100]!r} is not part of the city's tileset.", "Start at /3dtiles/tileset.json.")
    given = parameters.once(request.query_params, ("datetime", "v"))
    chosen = Selection(at=parameters.moment(given.get("datetime")))
    tag = answer.etag("3dtiles", city.version, folder, chosen.key)
    if answer.is_fresh(request, tag):
        return answer.not_modified(answer.headers_for(tag))
    return answer.conditional(request, _city_document(city, folder, chosen), answer.JSON, tag)


def _city_document(city: Snapshot, folder: str, chosen: Selection) -> bytes:
    from tiles import city_tileset

    up = "../../" if folder else "../"
    form = f"{folder}/" if folder else ""
    others: list[dict[str, Any]] = [adopted.child(asset, up) for asset in adopted.sets(city)]
    others += point_tiles.children(city, up, form)
    layers = []
    for info in city.vectors.values():
        if info.mesh_count:
            tileset = _tileset(city, info.id, chosen)
            if chosen.at is None or _has_tree(tileset):
                layers.append(tileset)
    return city_tileset.encode(city.city, layers, f"{up}collections/{{layer}}/3dtiles/{form}tileset.json", others)


def _has_tree(tileset: Tileset) -> bool:
    try:
        return len(tileset.tree.members) > 0
    except NotFound:
        return False


def routes() -> list[Route]:
    """All addresses of 3D Tiles."""
    return [
        Route("/collections/{layer}/3dtiles/{path:path}", layer_tileset, methods=["GET"]),
        Route("/3dtiles/{path:path}", city_tileset, methods=["GET"]),
    ]
