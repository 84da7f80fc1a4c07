"""Descriptions of vector tilesets (OGC 17-083r4, 8: tileset metadata) for a collection and for the whole city."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from layers import crs
from layers.errors import InvalidInput
from server import answer, document_pages, matrix_sets, negotiation, page_maps, pages, parameters
from server.serving import Snapshot, base, language
from tiles import matrix_set
from tiles.matrix_set import MatrixSet

MVT = "application/vnd.mapbox-vector-tile"
TITLE = ("矢量瓦片", "Vector tiles")
DIMENSIONS = {"point": 0, "multipoint": 0, "linestring": 1, "multilinestring": 1, "polygon": 2, "multipolygon": 2}


def listing(request: Request, city: Snapshot, layer_ids: list[str], root: str) -> Response:
    """One entry for each tile matrix set."""
    _only_json(request)
    address, city_crs = base(request), city.city.config.crs
    found = [_document(city, layer_ids, matrix_set.get(each, city_crs), address, root) for each in
             matrix_set.ids(city_crs)]  # fmt: skip
    brief = ("title", "dataType", "crs", "tileMatrixSetURI", "links")
    listed = [{key: each[key] for key in brief if key in each} for each in found]
    links = [{"rel": "self", "type": answer.JSON, "href": f"{address}{root}"}]
    return _answer(request, city, layer_ids, {"links": links, "tilesets": listed})


def one(request: Request, city: Snapshot, layer_ids: list[str], root: str) -> Response:
    """The tileset on the grid that the address names."""
    _only_json(request)
    grid = matrix_set.get(request.path_params["grid"], city.city.config.crs)
    return _answer(request, city, layer_ids, _document(city, layer_ids, grid, base(request), root))


def _answer(request: Request, city: Snapshot, layer_ids: list[str], document: dict[str, Any]) -> Response:
    """As JSON, or as a page with a map of the tiles."""
    if not negotiation.wants_html(request):
        return json_answer(request, city, document)
    code = language(request)
    one_layer = layer_ids[0] if request.path_params.get("layer") else None
    shown = page_maps.config(city, base(request), code, one_layer, layer=one_layer)
    crumbs = document_pages.layer_crumbs(city, one_layer, code) if one_layer else ()
    title = str(document.get("title") or document_pages.of(code, TITLE))
    return pages.render(
        request, city, "generic.html", title, document, crumbs=crumbs, has_map=bool(layer_ids), map=shown
    )


def _only_json(request: Request) -> None:
    parameters.once(request.query_params, ("f", "lang"))
    negotiation.wants_html(request)


def json_answer(request: Request, city: Snapshot, document: dict[str, Any]) -> Response:
    """A document that follows the store's version."""
    tag = answer.etag(city.version, request.url.path, request.url.query, base(request))
    return answer.conditional(request, answer.json_bytes(document), answer.JSON, tag)


def _document(city: Snapshot, layer_ids: list[str], grid: MatrixSet, address: str, root: str) -> dict[str, Any]:
    from tiles import mvt

    template = f"{address}{root}/{grid.id}/{{tileMatrix}}/{{tileRow}}/{{tileCol}}"
    uri, scheme = dict(grid.head).get("uri"), f"{address}/tileMatrixSets/{grid.id}"
    tilejson_path = "/tiles/tilejson.json" if root == "/tiles" else f"{root.removesuffix('/tiles')}/tilejson.json"
    document: dict[str, Any] = {
        "title": " / ".join(_title(city, layer_ids)),
        "dataType": "vector",
        "crs": grid.document()["crs"],
        "links": [
            {"rel": "self", "type": answer.JSON, "href": f"{address}{root}/{grid.id}"},
            {"rel": matrix_sets.SCHEME_REL, "type": answer.JSON, "href": scheme},
            {"rel": "item", "type": MVT, "href": template, "templated": True},
            {"rel": "describedby", "type": answer.JSON, "title": "TileJSON",
             "href": f"{address}{tilejson_path}?tms={grid.id}"},
        ],
    }  # fmt: skip
    document |= {"tileMatrixSetURI": uri} if uri else {"tileMatrixSetDefinition": scheme}
    if not layer_ids:
        return document
    described = mvt.tilejson(city.city, layer_ids, template, grid, city.settings.scope)
    west, south, east, north = described["bounds"]
    return document | {
        "layers": [_layer(city, each) for each in described["vector_layers"]],
        "tileMatrixSetLimits": _limits(grid, described),
        "boundingBox": {"lowerLeft": [west, south], "upperRight": [east, north], "crs": crs.CRS84_URI},
    }


def _title(city: Snapshot, layer_ids: list[str]) -> tuple[str, str]:
    if len(layer_ids) == 1:
        title = city.vectors[layer_ids[0]].type.title
        return title.zh, title.en
    return city.city.config.title_in("zh"), city.city.config.title_in("en")


def _layer(city: Snapshot, described: dict[str, Any]) -> dict[str, Any]:
    found = city.vectors[described["id"]].type
    words = {"Number": "number", "Boolean": "boolean"}
    properties = {name: {"type": words.get(kind, "string")} for name, kind in described["fields"].items()}
    for attribute in found.attributes:
        properties[attribute.name]["title"] = f"{attribute.title.zh} / {attribute.title.en}"
    dimension = DIMENSIONS.get(found.geometry.lower().removesuffix("z").strip())
    return {
        "id": found.id,
        "title": f"{found.title.zh} / {found.title.en}",
        "dataType": "vector",
        "minTileMatrix": str(described["minzoom"]),
        "maxTileMatrix": str(described["maxzoom"]),
        "propertiesSchema": {"type": "object", "properties": properties},
    } | ({} if dimension is None else {"geometryDimension": dimension})


def _limits(grid: MatrixSet, described: dict[str, Any]) -> list[dict[str, Any]]:
    try:
        box = crs.transform_bounds(crs.CRS84, grid.crs, tuple(described["bounds"]))
    except InvalidInput:
        return []
    limits = []
    for z in range(described["minzoom"], described["maxzoom"] + 1):
        west, north, east, south = grid.cover(z, box)
        limits.append({"tileMatrix": str(z), "minTileRow": north, "maxTileRow": south,
                       "minTileCol": west, "maxTileCol": east})  # fmt: skip
    return limits
