"""The OpenAPI 3.0 document, the same size whatever the number of layers: paths are templates over the layers' ids.

QGIS fetches and parses it anew for every layer of a project, and reads one thing from it: the page size, in
`components.parameters.limit.schema`. What can be filtered by stands in each layer's queryables.
"""

from collections.abc import Mapping
from typing import Any

from layers import crs
from server.face import Operation
from server.serving import Snapshot
from tiles import matrix_set

ITEMS_PARAMETERS = ("f", "lang", "limit", "offset", "cursor", "bbox", "bbox-crs", "crs", "datetime", "filter",
                    "filter-lang", "filter-crs", "ids", "properties")  # fmt: skip
ITEM_PARAMETERS = ("f", "lang", "crs", "datetime")
PAGE_PARAMETERS = ("f", "lang")
TILESET_PARAMETERS = ("filter", "filter-lang", "filter-crs", "datetime")
FEATURES, COLLECTION = "/collections/{featuresId}", "/collections/{collectionId}"
RASTERS = "/collections/{rasterId}"
GEOJSON, JSON, TILES3D = "application/geo+json", "application/json", "application/json+3dtiles"
MVT, QUANTIZED_MESH = "application/vnd.mapbox-vector-tile", "application/vnd.quantized-mesh"
MAPLIBRE = "application/vnd.mapbox.style+json"

_PATHS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("/", "Landing page", JSON, PAGE_PARAMETERS),
    ("/conformance", "Conformance classes", JSON, PAGE_PARAMETERS),
    ("/api", "This document", "application/vnd.oai.openapi+json;version=3.0", ()),
    ("/collections", "All layers", JSON, PAGE_PARAMETERS),
    (COLLECTION, "One layer", JSON, PAGE_PARAMETERS),
    (f"{FEATURES}/schema", "JSON Schema of the features", "application/schema+json", PAGE_PARAMETERS),
    (f"{FEATURES}/queryables", "What can be filtered by", "application/schema+json", PAGE_PARAMETERS),
    (f"{FEATURES}/items", "Features", GEOJSON, (*ITEMS_PARAMETERS, "queryables")),
    (f"{FEATURES}/items/{{featureId}}", "One feature", GEOJSON, ITEM_PARAMETERS),
    (f"{FEATURES}/3dtiles/tileset.json", "3D Tiles 1.1 of a layer, implicit, packed", TILES3D, TILESET_PARAMETERS),
    (f"{FEATURES}/3dtiles/compat/tileset.json", "3D Tiles 1.1, implicit, float32", TILES3D, TILESET_PARAMETERS),
    (f"{FEATURES}/3dtiles/explicit/tileset.json", "3D Tiles 1.1, explicit, float32", TILES3D, TILESET_PARAMETERS),
    ("/3dtiles/tileset.json", "3D Tiles 1.1 of the whole city", TILES3D, ("datetime",)),
    ("/3dtiles/compat/tileset.json", "3D Tiles 1.1 of the whole city, implicit, float32", TILES3D, ("datetime",)),
    ("/3dtiles/explicit/tileset.json", "3D Tiles 1.1 of the whole city, explicit, float32", TILES3D, ("datetime",)),
    (f"{COLLECTION}/3dtiles/{{assetId}}/tileset.json", "3D Tiles 1.1 of a point cloud or an adopted set", TILES3D, ()),
    ("/terrain/layer.json", "Terrain description (quantized-mesh 1.0)", JSON, ()),
    ("/terrain/{z}/{x}/{y}.terrain", "Terrain tile; y counts from south", QUANTIZED_MESH, ()),
    ("/terrain/derived/layer.json", "Terrain with pits cut and dams levelled", JSON, ()),
    ("/terrain/derived/{z}/{x}/{y}.terrain", "Terrain tile with pits cut and dams levelled", QUANTIZED_MESH, ()),
    ("/terrain-rgb/tilejson.json", "TileJSON of Terrain-RGB", JSON, ()),
    ("/terrain-rgb/{z}/{x}/{y}.png", "Terrain-RGB tile", "image/png", ()),
    ("/tileMatrixSets", "Tile matrix sets", JSON, ()),
    ("/tileMatrixSets/{tileMatrixSetId}", "One tile matrix set", JSON, ()),
    (f"{COLLECTION}/tilejson.json", "TileJSON 3.0 of a layer", JSON, ()),
    (f"{FEATURES}/tiles", "Vector tilesets of a layer", JSON, ()),
    (f"{FEATURES}/tiles/{{tileMatrixSetId}}", "Vector tileset of a layer", JSON, ()),
    (f"{COLLECTION}/tiles/{{tileMatrixSetId}}/{{z}}/{{row}}/{{col}}", "MVT or image tile of a layer", MVT,
     TILESET_PARAMETERS),
    ("/tiles", "Vector tilesets of the whole city", JSON, ()),
    ("/tiles/tilejson.json", "TileJSON 3.0 of the whole city", JSON, ()),
    ("/tiles/{tileMatrixSetId}", "Vector tileset of the whole city", JSON, ()),
    ("/tiles/{tileMatrixSetId}/{z}/{row}/{col}", "MVT tile of the whole city", MVT, ("datetime",)),
    (f"{RASTERS}/map/tiles", "Image tilesets of a raster", JSON, ()),
    (f"{RASTERS}/map/tiles/{{tileMatrixSetId}}", "Image tileset of a raster", JSON, ()),
    (f"{RASTERS}/map/tiles/{{tileMatrixSetId}}/{{z}}/{{row}}/{{col}}", "Image tile of a raster", "image/png", ()),
    (f"{RASTERS}/styles/{{styleId}}/map/tiles/{{tileMatrixSetId}}/{{z}}/{{row}}/{{col}}", "Image tile in a style",
     "image/png", ()),
    ("/styles", "Styles of the map of all layers", JSON, ()),
    ("/styles/{styleId}", "A MapLibre style of all layers", MAPLIBRE, ("lang",)),
    (f"{FEATURES}/styles", "Styles of a layer", JSON, ()),
    (f"{FEATURES}/styles/{{styleId}}", "A MapLibre style of a layer", MAPLIBRE, ("lang",)),
    (f"{COLLECTION}/points.copc.laz", "Point cloud (COPC), byte ranges", "application/vnd.laszip+copc", ()),
    (f"{COLLECTION}/raster.tif", "Raster (COG), byte ranges", "image/tiff", ()),
    ("/processes", "Analyses", JSON, ("lang",)),
    ("/processes/{processId}", "Inputs and outputs of an analysis", JSON, ("lang",)),
    ("/qgis/city.qgs", "QGIS project with every layer", "application/x-qgis-project", ("lang",)),
    ("/health", "Is the server up", JSON, ()),
)  # fmt: skip
"""Path, summary, media type, named parameters."""

OPERATIONS = (
    *(Operation(path, summary, (kind,), names) for path, summary, kind, names in _PATHS),
    Operation("/processes/{processId}/execution", "Run an analysis", (JSON,), method="post",
              body={JSON: {"type": "object", "properties": {"inputs": {"type": "object"}}}}),
)  # fmt: skip


def document(snapshot: Snapshot, address: str) -> dict[str, Any]:
    """The whole document for a server at `address`."""
    title = snapshot.city.config
    paths: dict[str, dict[str, Any]] = {}
    for each in (operation for face in snapshot.faces for operation in face.operations):
        paths.setdefault(each.path, {})[each.method] = _operation(each)
    return {
        "openapi": "3.0.3",
        "info": {"title": title.title_in("en"), "description": title.title_in("zh"), "version": str(snapshot.version)},
        "servers": [{"url": address}],
        "paths": paths,
        "components": {
            "parameters": parameters(snapshot) | _path_parameters(snapshot),
            "responses": {
                "problem": {
                    "description": "RFC 9457: what is wrong, and what to do",
                    "content": {"application/problem+json": {"schema": {"type": "object"}}},
                }
            },
        },
    }


def _parameter(name: str, description: str, schema: dict[str, Any], where: str = "query") -> dict[str, Any]:
    style = {"style": "form", "explode": False} if where == "query" else {}
    return {
        "name": name,
        "in": where,
        "required": where == "path",
        "description": description,
        "schema": schema,
    } | style


def parameters(snapshot: Snapshot) -> dict[str, Any]:
    """All named query parameters, as `components.parameters`."""
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
        ("filter", "CQL2 expression over the queryables.", {"type": "string"}),
        ("filter-lang", "Language of filter.", {"type": "string", "enum": ["cql2-text", "cql2-json"]}),
        ("filter-crs", "CRS of geometries in filter.", uri_schema),
        ("ids", "Only features with these public ids.", names),
        ("properties", "Only these attributes.", names),
    )
    # each queryable is a parameter of its own name (part 3, 7.4): an exploded object says so for all of them at once
    any_of_them = {"type": "object", "additionalProperties": {"type": "string"}}
    queryables = _parameter("queryables", "attribute=value for each queryable.", any_of_them) | {"explode": True}
    return {name: _parameter(name, text, schema) for name, text, schema in described} | {"queryables": queryables}


def _path_parameters(snapshot: Snapshot) -> dict[str, Any]:
    vectors, files = list(snapshot.vectors), list(snapshot.files)
    rasters = [layer.id for layer in snapshot.files.values() if layer.assets[0].kind == "raster"]
    text: dict[str, Any] = {"type": "string"}
    schemas: dict[str, dict[str, Any]] = {
        # an enum may not be empty
        "featuresId": text | ({"enum": vectors} if vectors else {}),
        "collectionId": text | ({"enum": vectors + files} if vectors or files else {}),
        "featureId": text,
        "rasterId": text | ({"enum": rasters} if rasters else {}),
        "processId": text,
        "assetId": text,
        "styleId": text,
        "tileMatrixSetId": text | {"enum": list(matrix_set.ids(snapshot.city.config.crs))},
    }
    schemas |= {name: {"type": "integer", "minimum": 0} for name in ("z", "x", "y", "row", "col")}
    return {name: _parameter(name, name, schema, where="path") for name, schema in schemas.items()}


def _operation(asked: Operation) -> dict[str, Any]:
    content = dict(asked.media) if isinstance(asked.media, Mapping) else {each: {} for each in asked.media}
    responses: dict[str, Any] = {
        str(asked.status): {"description": asked.summary, "content": {k: _schema(v) for k, v in content.items()}}
    }
    responses |= {str(status): {"description": text} for status, text in asked.answers.items()}
    made: dict[str, Any] = {
        "summary": asked.summary,
        "operationId": asked.method + "".join(part.strip("{}").capitalize() for part in asked.path.split("/")),
        "parameters": [
            {"$ref": f"#/components/parameters/{each}"} if isinstance(each, str) else each
            for each in (*_placeholders(asked.path), *asked.parameters)
        ],
        "responses": responses | {"default": {"$ref": "#/components/responses/problem"}},
    }
    if asked.tag:
        made["tags"] = [asked.tag]
    if asked.body is not None:
        made["requestBody"] = {"content": {kind: _schema(schema) for kind, schema in asked.body.items()}}
    return made


def _schema(schema: dict[str, Any]) -> dict[str, Any]:
    return {"schema": schema} if schema else {}


def _placeholders(path: str) -> tuple[str, ...]:
    return tuple(part.split("}")[0] for part in path.split("{")[1:])
