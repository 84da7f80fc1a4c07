"""Routes of styles (after OGC API Styles, 20-009): lists, and MapLibre style documents over our own vector tiles."""

from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from layers.errors import InvalidInput, NotFound
from server import answer, document_pages, map_layers, maptiles, negotiation, page_maps, pages, parameters
from server.serving import KIND_NAMES, Snapshot, base, language, snapshot
from tiles import matrix_set

VARIANTS = {"": False, "-labelled": True}
"""What stands behind a style's id, and whether it has labels."""
TITLES = {
    False: {"zh": "默认样式", "en": "Default style"},
    True: {"zh": "默认样式，带注记", "en": "Default style with labels"},
}
STYLESHEET = "stylesheet"
MAP = "http://www.opengis.net/def/rel/ogc/1.0/map"


def city_styles(request: Request) -> Response:
    """`/styles`: the styles of the whole city."""
    return _listing(request, snapshot(request), "city", "/styles")


def layer_styles(request: Request) -> Response:
    """`/collections/{id}/styles`."""
    city = snapshot(request)
    layer_id = _vector(city, request.path_params["layer"])
    return _listing(request, city, "default", f"/collections/{quote(layer_id)}/styles")


def city_style(request: Request) -> Response:
    """`/styles/city` and `/styles/city-labelled`: every layer in drawing order."""
    city = snapshot(request)
    return _style(request, city, maptiles.drawable(city), "city", "/tiles")


def layer_style(request: Request) -> Response:
    """`/collections/{id}/styles/default` and `…/default-labelled`."""
    city = snapshot(request)
    layer_id = _vector(city, request.path_params["layer"])
    return _style(request, city, [layer_id], "default", f"/collections/{quote(layer_id)}/tiles")


def _vector(city: Snapshot, layer_id: str) -> str:
    if layer_id in city.files:
        kind = KIND_NAMES[city.files[layer_id].assets[0].kind]
        raise NotFound(
            f"{layer_id} is a {kind}: it has no style of vector tiles.", "Rasters take style=… on their map tiles."
        )
    return maptiles.spatial(city, layer_id)


def _listing(request: Request, city: Snapshot, first: str, root: str) -> Response:
    parameters.once(request.query_params, ("f", "lang"))
    html = negotiation.wants_html(request)
    code, address = language(request), base(request)
    layer_id = request.path_params.get("layer")
    drawn = {each.id for each in map_layers.features(city)}
    is_drawn = layer_id in drawn if layer_id else bool(drawn)  # an empty layer has styles, but no map
    found = []
    for suffix, labels in VARIANTS.items():
        link = {"rel": STYLESHEET, "type": _type(), "href": f"{address}{root}/{first}{suffix}"}
        shown = {"rel": MAP, "type": "image/png", "href": f"{address}{root}/{first}{suffix}/map"}
        links = [link, shown] if is_drawn else [link]
        found.append({"id": f"{first}{suffix}", "title": TITLES[labels][code], "links": links})
    here = {"rel": "self", "type": answer.JSON, "href": f"{address}{root}"}
    document = {"default": first, "styles": found, "links": [here]}
    if html:
        shown = page_maps.config(city, address, code, layer_id, style=f"{address}{root}/{first}?lang={code}")
        crumbs = document_pages.layer_crumbs(city, layer_id, code) if layer_id else ()
        title = "样式" if code == "zh" else "Styles"
        return pages.render(request, city, "generic.html", title, document, crumbs=crumbs, has_map=True, map=shown)
    tag = answer.etag(city.version, request.url.path, address, code)
    return answer.conditional(request, answer.json_bytes(document), answer.JSON, tag)


def _only_json(given: dict[str, str]) -> None:
    if given.get("f", "json") not in {"json", "mapbox"}:
        raise InvalidInput(f"f={given['f'][:20]!r} is not offered here.", "Use json.")


def _type() -> str:
    from tiles.styles import STYLE_TYPE

    return STYLE_TYPE


def _style(request: Request, city: Snapshot, layer_ids: list[str], first: str, root: str) -> Response:
    from tiles import styles

    given = parameters.once(request.query_params, ("f", "lang"))
    _only_json(given)
    asked = request.path_params["style"]
    labels = next((labels for suffix, labels in VARIANTS.items() if asked == f"{first}{suffix}"), None)
    if labels is None:
        known = ", ".join(f"{first}{suffix}" for suffix in VARIANTS)
        raise NotFound(f"There is no style {asked[:60]!r} here.", f"Known: {known}.")
    code = language(request)
    title = city.vectors[layer_ids[0]].type.title if len(layer_ids) == 1 and first == "default" else None
    name = city.city.config.title_in(code) if title is None else getattr(title, code)
    types = [city.vectors[key].type for key in layer_ids]
    document = styles.style(name, types, _source(city, layer_ids, base(request) + root), language=code, labels=labels)
    tag = answer.etag(city.version, request.url.path, base(request), code)
    return answer.conditional(request, answer.json_bytes(document), styles.STYLE_TYPE, tag)


def _source(city: Snapshot, layer_ids: list[str], address: str) -> dict[str, Any]:
    """The source of a style: the tiles themselves, so that a reader needs no second document."""
    template = f"{address}/{maptiles.GRID}/{{z}}/{{y}}/{{x}}"
    if not layer_ids:
        return {"type": "vector", "tiles": [template]}
    grid = matrix_set.get(maptiles.GRID, city.city.config.crs)
    described = maptiles.document_of(city, layer_ids, template, grid)
    return {"type": "vector"} | {key: described[key] for key in ("tiles", "minzoom", "maxzoom", "bounds", "scheme")}


def routes() -> list[Route]:
    """Styles of the city and of each feature layer."""
    return [
        Route("/styles", city_styles, methods=["GET"]),
        Route("/styles/{style}", city_style, methods=["GET"]),
        Route("/collections/{layer}/styles", layer_styles, methods=["GET"]),
        Route("/collections/{layer}/styles/{style}", layer_style, methods=["GET"]),
    ]
