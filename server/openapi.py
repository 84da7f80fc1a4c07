"""The OpenAPI 3.0 document, the same size whatever the number of layers: paths are templates over the layers' ids.

QGIS fetches and parses it anew for every layer of a project, and reads one thing from it: the page size, in
`components.parameters.limit.schema`. What can be filtered by stands in each layer's queryables.
"""

import re
from collections.abc import Mapping
from typing import Any

from layers import crs
from server import openapi_paths, openapi_shared
from server.face import Operation
from server.openapi_schemas import SCHEMAS, ref
from server.serving import Snapshot
from tiles import matrix_set
from twin import analysis

ITEMS_PARAMETERS = ("f", "lang", "limit", "offset", "next", "sortby", "bbox", "bbox-crs", "crs", "datetime", "filter",
                    "filter-lang", "filter-crs", "q", "ids", "properties", "skipGeometry")  # fmt: skip
ITEM_PARAMETERS = ("f", "lang", "crs", "datetime")
PAGE_PARAMETERS = ("f", "lang")
TILESET_PARAMETERS = ("filter", "filter-lang", "filter-crs", "datetime")
OPERATIONS = openapi_paths.operations(ITEMS_PARAMETERS, ITEM_PARAMETERS)

TAGS = (
    # part of a path, heading, what is there; the first that fits
    ("/processes", "Processes", "Analyses, run at once or as jobs"),
    ("/jobs", "Processes", ""),
    ("/3dtiles", "3D Tiles", "3D models for CesiumJS, QGIS and deck.gl"),
    ("/terrain", "Terrain", "The ground, for CesiumJS, QGIS and MapLibre"),
    ("/tile", "Tiles", "Vector and image tiles"),
    ("/map/tiles", "Tiles", ""),
    ("/style", "Styles", "MapLibre styles"),
    ("/map", "Maps", "Pictures of layers, drawn as asked"),
    ("/coverage", "Coverages", "Values of rasters"),
    ("/items", "Features", "Features of each layer, and what they are made of"),
    ("/schema", "Features", ""),
    ("/queryables", "Features", ""),
    ("/qgis", "Others", "Projects, health"),
    ("/health", "Others", ""),
    ("", "Common", "What there is"),
)


def document(snapshot: Snapshot, address: str) -> dict[str, Any]:
    """The whole document for a server at `address`."""
    title = snapshot.city.config
    paths: dict[str, dict[str, Any]] = {}
    for each in (operation for face in snapshot.faces for operation in face.operations):
        paths.setdefault(each.path, {})[each.method] = _operation(each)
    used = {tag for path in paths.values() for operation in path.values() for tag in operation["tags"]}
    described = {name: text for _, name, text in reversed(TAGS) if text}
    components: dict[str, Any] = {
        "schemas": SCHEMAS | {name: each for face in snapshot.faces for name, each in face.schemas.items()},
        "parameters": parameters(snapshot) | _path_parameters(snapshot),
        "responses": {name: _problem(text) for name, text in PROBLEMS.items()}
        | {"notModified": {"description": "What the reader has (If-None-Match) is still the current state"}},
    }
    openapi_shared.share(paths, components)
    return {
        "openapi": "3.0.3",
        "info": {
            "title": title.title_in("en"),
            "description": title.title_in("zh"),
            "version": str(snapshot.version),
            "contact": {"name": title.title_in("en"), "url": f"{address}/"},
            "license": {"name": "Apache-2.0 (the software; data belong to their owners)"},
        },
        "servers": [{"url": address}],
        # none: whoever reaches the server may ask
        "security": [],
        "tags": [{"name": name} | ({"description": described[name]} if name in described else {})
                 for name in sorted(used)],
        "paths": paths,
        "components": components,
    }  # fmt: skip


PROBLEMS = {
    "problem": "What is wrong, and what to do (RFC 9457)",
    "badRequest": "A parameter is unknown, given twice or has a value that cannot be; the problem names it",
    "notFound": "No such layer, feature, tile or document; the problem names the nearest one",
}


def _problem(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/problem+json": {"schema": ref("problem")}}}


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
    uris = [crs.uri(name) for name in snapshot.feature_crs_names]
    uri_schema = {"type": "string", "format": "uri", "enum": uris, "default": crs.CRS84_URI}
    limit = {"type": "integer", "minimum": 1, "maximum": settings.max_limit, "default": settings.default_limit}
    box: dict[str, Any] = {"type": "array", "items": {"type": "number"}} | {
        "oneOf": [{"minItems": 4, "maxItems": 4}, {"minItems": 6, "maxItems": 6}]
    }
    sortby = {"type": "array", "maxItems": 8, "items": {"type": "string", "pattern": "^[+ -]?.+"}}
    names = {"type": "array", "items": {"type": "string"}}
    described: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("f", "Format; default by the Accept header.", {"type": "string", "enum": ["json", "html"]}),
        ("lang", "Language of titles.", {"type": "string", "enum": ["zh", "en"], "default": "zh"}),
        ("limit", "Features of a page; a larger number than the maximum means the maximum.", limit),
        ("offset", "Features to leave out at the start.", {"type": "integer", "minimum": 0, "default": 0}),
        ("next", "Opaque; comes with the link to the next page.", {"type": "string", "maxLength": 4000}),
        ("sortby", "Attributes to sort by, each with + (ascending) or - in front; nulls come last.", sortby),
        (
            "bbox",
            "Features whose geometry intersects the box, in the axis order of bbox-crs; six numbers with heights, "
            "ellipsoidal ones where there is no bbox-crs. In degrees, a west above its east crosses the antimeridian.",
            box,
        ),
        ("bbox-crs", "CRS of bbox.", uri_schema),
        ("crs", "CRS of the answer, in its own axis order.", uri_schema),
        (
            "datetime",
            "State at that moment; of an interval, every feature that was valid in it, in its last state.",
            {"type": "string"},
        ),
        ("filter", "CQL2 expression over the queryables.", {"type": "string"}),
        ("filter-lang", "Language of filter.", {"type": "string", "enum": ["cql2-text", "cql2-json"]}),
        ("filter-crs", "CRS of geometries in filter.", uri_schema),
        ("q", "Features with one of these terms in their id or texts, whatever the case.", names),
        ("ids", "Only features with these public ids.", names),
        ("properties", "Only these attributes.", names),
        ("skipGeometry", "Without geometries.", {"type": "boolean", "default": False}),
    )
    # each queryable is a parameter of its own name (part 3, 7.4): an exploded object says so for all of them at once
    any_of_them = {"type": "object", "additionalProperties": {"type": "string"}}
    queryables = _parameter("queryables", "attribute=value for each queryable.", any_of_them) | {"explode": True}
    formats = _parameter("f", "Format; default by the Accept header.", {"type": "string", "enum": list(_formats())})
    named = {name: _parameter(name, text, schema) for name, text, schema in described}
    return named | {"queryables": queryables, "fItems": formats}


def _formats() -> dict[str, str]:
    """Formats of features: name -> media type."""
    from server.formats import FORMATS  # late: formats need the parameters, which need this module

    return FORMATS


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
        "processId": text | {"enum": list(analysis.registry())},
        "jobId": text,
        "outputId": text,
        "assetId": text,
        "locationId": text,
        "recordId": text,
        "containerId": text,
        "styleId": text,
        "tileMatrixSetId": text | {"enum": list(matrix_set.ids(snapshot.city.config.crs))},
    }
    schemas |= {name: {"type": "integer", "minimum": 0} for name in ("z", "x", "y", "row", "col", "i", "j")}
    return {name: _parameter(name, name, schema, where="path") for name, schema in schemas.items()}


def _operation(asked: Operation) -> dict[str, Any]:
    content = _content(asked)
    success: dict[str, Any] = {"description": asked.summary}
    if content:
        success["content"] = {kind: {"schema": schema or _usual(kind)} for kind, schema in content.items()}
    made: dict[str, Any] = {
        "tags": [asked.tag or next(name for part, name, _ in TAGS if part in asked.path)],
        "summary": asked.summary,
        "operationId": asked.method + "".join(part.capitalize() for part in re.findall(r"[A-Za-z0-9]+", asked.path)),
        "parameters": [
            {"$ref": f"#/components/parameters/{each}"} if isinstance(each, str) else each
            for each in (*_placeholders(asked.path), *_named(asked))
        ],
        "responses": {str(asked.status): success} | _further(asked),
    }
    if asked.body is not None:
        made["requestBody"] = {"content": {k: {"schema": each or _usual(k)} for k, each in asked.body.items()}}
    return made


def _content(asked: Operation) -> dict[str, dict[str, Any]]:
    """Media types of the answer: those it names, and what `f` can ask for beside them."""
    content = dict(asked.media) if isinstance(asked.media, Mapping) else {each: {} for each in asked.media}
    if any(each == "f" or _offers_html(each) for each in asked.parameters):
        content.setdefault("text/html", {})
    if "fItems" in _named(asked):
        plain = {kind.partition(";")[0] for kind in content}
        content |= {kind: {} for kind in _formats().values() if kind.partition(";")[0] not in plain}
    return content


def _offers_html(parameter: str | dict[str, Any]) -> bool:
    return isinstance(parameter, dict) and parameter["name"] == "f" and "html" in parameter["schema"].get("enum", ())


def _named(asked: Operation) -> list[str | dict[str, Any]]:
    """Parameters of the query; features come in more formats than documents."""
    if not asked.path.endswith("}/items"):
        return list(asked.parameters)
    return ["fItems" if each == "f" else each for each in asked.parameters]


def _further(asked: Operation) -> dict[str, Any]:
    """Answers other than success: what the operation names, and what is the same everywhere."""
    found: dict[str, Any] = {
        str(status): _problem(text) if status >= 400 else {"description": text}
        for status, text in asked.answers.items()
    }  # fmt: skip
    same = {"304": "notModified"} if asked.method == "get" and asked.path != "/health" else {}
    same |= {"400": "badRequest"} | ({"404": "notFound"} if "{" in asked.path else {})
    same |= {"default": "problem"}
    if asked.errors:
        report = _problem(PROBLEMS["problem"])
        report["content"] |= {kind: {"schema": _usual(kind)} for kind in asked.errors}
        found |= {status: report for status in ("400", "404", "default") if status in same}
    return {status: {"$ref": f"#/components/responses/{name}"} for status, name in same.items()} | found


def _usual(media_type: str) -> dict[str, Any]:
    """The schema of an answer of that type where its operation says no more."""
    kind = media_type.partition(";")[0]
    if "*" in kind:
        return {}
    if kind in {"application/geo+json", "application/fg+json"}:
        return ref("featureCollection")
    if kind.endswith("json"):
        return ref("coverageJson") if kind == "application/vnd.cov+json" else {"type": "object"}
    is_text = kind.startswith("text/") or kind.endswith("xml")
    return {"type": "string"} if is_text else {"type": "string", "format": "binary"}


def _placeholders(path: str) -> tuple[str, ...]:
    return tuple(part.split("}")[0] for part in path.split("{")[1:])
