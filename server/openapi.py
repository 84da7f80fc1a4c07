"""The OpenAPI 3.0 document: pygeoapi's, corrected to what the routes really take.

QGIS reads the page size only from `components.parameters.limit.schema`, and property filters only from parameters
with `in: query`, `style: form` and `explode: false`.
"""

from typing import Any

from layers import crs
from layers.catalogue import LayerType
from server.providers import json_schema
from server.serving import Snapshot

ITEMS_PARAMETERS = ("f", "lang", "limit", "offset", "cursor", "bbox", "bbox-crs", "crs", "datetime", "filter",
                    "filter-lang", "filter-crs", "ids", "properties")  # fmt: skip
ITEM_PARAMETERS = ("f", "lang", "crs", "datetime")


def corrected(document: dict[str, Any], snapshot: Snapshot) -> dict[str, Any]:
    """Pygeoapi's document with our parameters and paths."""
    paths: dict[str, Any] = {}
    for path, operations in document["paths"].items():
        kept = {method: each for method, each in operations.items() if method == "get"}
        paths["/api" if path == "/openapi" else path] = kept
    for layer_id, info in snapshot.vectors.items():
        items = paths[f"/collections/{layer_id}/items"]["get"]
        items["parameters"] = _refs(ITEMS_PARAMETERS) + _property_filters(info.type)
        item = paths[f"/collections/{layer_id}/items/{{featureId}}"]["get"]
        item["parameters"] = [
            _parameter("featureId", "Public id.", {"type": "string"}, where="path"),
            *_refs(ITEM_PARAMETERS),
        ]
        for name in ("schema", "queryables"):
            paths[f"/collections/{layer_id}/{name}"]["get"]["parameters"] = _refs(("f", "lang"))
    document["paths"] = {path: operations for path, operations in paths.items() if operations} | _own_paths()
    document["components"]["parameters"] = parameters(snapshot)
    document["info"]["contact"].pop("x-ogc-serviceContact", None)
    return document


def _refs(names: tuple[str, ...]) -> list[dict[str, Any]]:
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]


def _parameter(name: str, description: str, schema: dict[str, Any], where: str = "query") -> dict[str, Any]:
    style = {"style": "form", "explode": False} if where == "query" else {}
    return {
        "name": name,
        "in": where,
        "required": where == "path",
        "description": description,
        "schema": schema,
    } | style


def _property_filters(layer_type: LayerType) -> list[dict[str, Any]]:
    return [
        _parameter(each.name, f"{each.title.zh} / {each.title.en}: equal to this value.", json_schema(each))
        for each in layer_type.attributes
        if each.name not in ITEMS_PARAMETERS
    ]


def parameters(snapshot: Snapshot) -> dict[str, Any]:
    """All named parameters, as `components.parameters`."""
    settings = snapshot.settings
    uris = [crs.uri(name) for name in snapshot.crs_names]
    uri_schema = {"type": "string", "format": "uri", "enum": uris, "default": crs.CRS84_URI}
    limit = {"type": "integer", "minimum": 1, "maximum": settings.max_limit, "default": settings.default_limit}
    box = {"type": "array", "minItems": 4, "maxItems": 4, "items": {"type": "number"}}
    names = {"type": "array", "items": {"type": "string"}}
    described: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("f", "Format; default by the Accept header.", {"type": "string", "enum": ["json", "html"]}),
        ("lang", "Language of titles.", {"type": "string", "enum": ["zh", "en"], "default": "zh"}),
        ("limit", "Features of a page; a larger number than the maximum means the maximum.", limit),
        ("offset", "Features to leave out at the start.", {"type": "integer", "minimum": 0, "default": 0}),
        ("cursor", "Opaque; comes with the next link.", {"type": "integer", "minimum": 0}),
        ("bbox", "Features whose geometry intersects the box, in the axis order of bbox-crs.", box),
        ("bbox-crs", "CRS of bbox.", uri_schema),
        ("crs", "CRS of the answer, in its own axis order.", uri_schema),
        ("datetime", "State at that moment; of an interval, the state at its end.", {"type": "string"}),
        ("filter", "CQL2 expression.", {"type": "string"}),
        ("filter-lang", "Language of filter.", {"type": "string", "enum": ["cql2-text", "cql2-json"]}),
        ("filter-crs", "CRS of geometries in filter.", uri_schema),
        ("ids", "Only features with these public ids.", names),
        ("properties", "Only these attributes.", names),
    )
    return {name: _parameter(name, text, schema) for name, text, schema in described}


def _own_paths() -> dict[str, Any]:
    described = {
        "/collections/{collectionId}/3dtiles/tileset.json": "3D Tiles 1.1 of a layer",
        "/collections/{collectionId}/3dtiles/explicit/tileset.json": "3D Tiles 1.1, explicit tiles, float32 positions",
        "/3dtiles/tileset.json": "3D Tiles 1.1 of the whole city",
        "/terrain/layer.json": "Terrain description (quantized-mesh 1.0)",
        "/terrain/{z}/{x}/{y}.terrain": "Terrain tile; y counts from south",
        "/collections/{collectionId}/tilejson.json": "TileJSON 3.0 of a layer",
        "/collections/{collectionId}/tiles/WebMercatorQuad/{z}/{row}/{col}": "MVT or image tile of a layer",
        "/tiles/WebMercatorQuad/{z}/{row}/{col}": "MVT tile of the whole city",
        "/collections/{collectionId}/points.copc.laz": "Point cloud (COPC), byte ranges",
        "/qgis/city.qgs": "QGIS project",
        "/health": "Is the server up",
    }
    return {path: {"get": _operation(path, text)} for path, text in described.items()}


def _operation(path: str, text: str) -> dict[str, Any]:
    names = [part.split("}")[0] for part in path.split("{")[1:]]
    integers = {"z", "x", "y", "row", "col"}
    schemas = {name: {"type": "integer" if name in integers else "string"} for name in names}
    return {
        "summary": text,
        "operationId": "get" + "".join(part.capitalize() for part in path.replace("{", "").replace("}", "").split("/")),
        "parameters": [_parameter(name, name, schema, where="path") for name, schema in schemas.items()],
        "responses": {"200": {"description": text}, "404": {"description": "No such thing"}},
    }
