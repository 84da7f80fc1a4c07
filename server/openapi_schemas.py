"""JSON Schemas of the answers, in the dialect of OpenAPI 3.0, as `components.schemas`.

Written after the documents as the standards describe them: OGC API Common 1 and 2, Features 1 and 2, Tiles 1,
Processes 1, TileJSON 3.0, RFC 7946, RFC 9457. Objects may have further members.
"""

from typing import Any

Schema = dict[str, Any]


def ref(name: str) -> Schema:
    """A schema of this module, by name."""
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: Schema, *required: str) -> Schema:
    return {"type": "object", "properties": properties} | ({"required": list(required)} if required else {})


def _list(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items} | more


TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
COUNT: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "number"}
ANY_OBJECT: Schema = {"type": "object"}
LINKS = _list(ref("link"))
GEOMETRY_TYPES = [
    "Point",
    "MultiPoint",
    "LineString",
    "MultiLineString",
    "Polygon",
    "MultiPolygon",
    "GeometryCollection",
]

SCHEMAS: dict[str, Schema] = {
    "link": _object(
        {"href": TEXT, "rel": TEXT, "type": TEXT, "hreflang": TEXT, "title": TEXT, "length": COUNT,
         "templated": {"type": "boolean"}},
        "href", "rel",
    ),
    "problem": _object(
        {"type": {"type": "string", "format": "uri-reference"}, "title": TEXT, "status": WHOLE, "detail": TEXT,
         "instance": TEXT, "code": TEXT},
        "type", "title", "status",
    ),
    "landingPage": _object({"title": TEXT, "description": TEXT, "links": LINKS}, "links"),
    "conformance": _object({"conformsTo": _list(TEXT)}, "conformsTo"),
    "collections": _object(
        {"links": LINKS, "collections": _list(ref("collection"))}, "links", "collections"
    ),
    "collection": _object(
        {"id": TEXT, "title": TEXT, "description": TEXT, "keywords": _list(TEXT), "itemType": TEXT,
         "itemCount": COUNT, "extent": ref("extent"), "crs": _list(TEXT), "storageCrs": TEXT, "links": LINKS},
        "id", "links",
    ),
    "extent": _object({
        "spatial": _object({"bbox": _list(_list(NUMBER, minItems=4, maxItems=6), minItems=1), "crs": TEXT}),
        "temporal": _object({"interval": _list(_list({"type": "string", "nullable": True}))}),
    }),
    "jsonSchema": _object({"$schema": TEXT, "$id": TEXT, "type": TEXT, "title": TEXT, "properties": ANY_OBJECT},
                          "type", "properties"),
    "geometry": _object({"type": {"type": "string", "enum": GEOMETRY_TYPES}, "coordinates": _list({}),
                         "geometries": _list(ANY_OBJECT)}, "type") | {"nullable": True},
    "feature": _object(
        {"type": {"type": "string", "enum": ["Feature"]}, "id": TEXT, "geometry": ref("geometry"),
         "properties": {"type": "object", "nullable": True}, "links": LINKS},
        "type", "geometry", "properties",
    ),
    "featureCollection": _object(
        {"type": {"type": "string", "enum": ["FeatureCollection"]}, "features": _list(ref("feature")),
         "numberMatched": COUNT, "numberReturned": COUNT, "timeStamp": {"type": "string", "format": "date-time"},
         "links": LINKS},
        "type", "features",
    ),
    "tilesets": _object({"links": LINKS, "tilesets": _list(ref("tileset"))}, "tilesets"),
    "tileset": _object(
        {"title": TEXT, "dataType": {"type": "string", "enum": ["vector", "map", "coverage"]}, "crs": TEXT,
         "tileMatrixSetURI": TEXT, "layers": _list(ANY_OBJECT), "boundingBox": ANY_OBJECT,
         "tileMatrixSetLimits": _list(ANY_OBJECT), "links": LINKS},
        "dataType", "crs", "links",
    ),
    "tileMatrixSets": _object({"tileMatrixSets": _list(_object({"id": TEXT, "title": TEXT, "links": LINKS}, "links"))},
                              "tileMatrixSets"),
    "tileMatrixSet": _object(
        {"id": TEXT, "title": TEXT, "crs": TEXT, "uri": TEXT, "tileMatrices": _list(ANY_OBJECT, minItems=1)},
        "crs", "tileMatrices",
    ),
    "tileJson": _object(
        {"tilejson": TEXT, "name": TEXT, "description": TEXT, "tiles": _list(TEXT, minItems=1), "minzoom": COUNT,
         "maxzoom": COUNT, "bounds": _list(NUMBER, minItems=4, maxItems=4), "vector_layers": _list(ANY_OBJECT)},
        "tilejson", "tiles",
    ),
    "tileset3d": _object(
        {"asset": _object({"version": TEXT}, "version"), "geometricError": {"type": "number", "minimum": 0},
         "root": ANY_OBJECT},
        "asset", "geometricError", "root",
    ),
    "layerJson": _object(
        {"format": {"type": "string", "enum": ["quantized-mesh-1.0"]}, "scheme": TEXT, "projection": TEXT,
         "tiles": _list(TEXT), "version": TEXT, "available": _list(_list(ANY_OBJECT)), "bounds": _list(NUMBER)},
        "format", "scheme", "projection", "tiles", "version", "available",
    ),
    "styles": _object({"default": TEXT, "styles": _list(_object({"id": TEXT, "title": TEXT, "links": LINKS}, "id")),
                       "links": LINKS}, "styles"),
    "style": _object({"version": WHOLE, "name": TEXT, "sources": ANY_OBJECT, "layers": _list(ANY_OBJECT)},
                     "version", "sources", "layers"),
    "processSummary": _object(
        {"id": TEXT, "version": TEXT, "title": TEXT, "description": TEXT, "keywords": _list(TEXT),
         "jobControlOptions": _list(TEXT), "outputTransmission": _list(TEXT), "links": LINKS},
        "id", "version",
    ),
    "processes": _object({"processes": _list(ref("processSummary")), "links": LINKS}, "processes", "links"),
    "process": {"allOf": [ref("processSummary"), _object({"inputs": ANY_OBJECT, "outputs": ANY_OBJECT})]},
    "execute": _object({"inputs": ANY_OBJECT, "outputs": ANY_OBJECT,
                        "response": {"type": "string", "enum": ["raw", "document"]}}),
    "job": _object(
        {"jobID": TEXT, "processID": TEXT, "type": TEXT,
         "status": {"type": "string", "enum": ["accepted", "running", "successful", "failed", "dismissed"]},
         "message": TEXT, "progress": {"type": "integer", "minimum": 0, "maximum": 100}, "links": LINKS},
        "jobID", "type", "status",
    ),
    "jobs": _object({"jobs": _list(ref("job")), "links": LINKS}, "jobs", "links"),
    "coverageJson": _object(
        {"type": {"type": "string", "enum": ["Coverage", "CoverageCollection", "Domain"]}, "domain": ANY_OBJECT,
         "coverages": _list(ANY_OBJECT), "ranges": ANY_OBJECT, "parameters": ANY_OBJECT},
        "type",
    ),
    "health": _object({"status": TEXT, "version": WHOLE, "layers": COUNT}, "status"),
}  # fmt: skip
"""By name."""
