"""What the API description, the conformance page and the collections say of editing."""

from typing import Any

from server import editing, transactions
from server.editing_body import CQL2, GEOJSON, JSON, MERGE_PATCH, TRANSACTION
from server.face import Face, Operation

ITEMS, ITEM = "/collections/{featuresId}/items", "/collections/{featuresId}/items/{featureId}"
TAG = "Editing"

CONFORMANCE = (
    "ogcapi-features-4/1.0/conf/create-replace-delete",
    "ogcapi-features-4/1.0/conf/update",
    "ogcapi-features-4/1.0/conf/optimistic-locking-etags",
    "ogcapi-features-4/1.0/conf/optimistic-locking-timestamps",
    "ogcapi-features-4/1.0/conf/features",
    "ogcapi-features-11/1.0/conf/transactions",
    "ogcapi-features-11/1.0/conf/json-transactions",
    "ogcapi-features-11/1.0/conf/features",
    # the list of the draft says -semantics, its requirements say -transactions
    "ogcapi-features-11/1.0/conf/atomic-transactions",
    "ogcapi-features-11/1.0/conf/atomic-semantics",
    "ogcapi-features-11/1.0/conf/batch-transactions",
    "ogcapi-features-11/1.0/conf/batch-semantics",
)

ISSUES: dict[str, Any] = {
    "type": "array",
    "description": "What was noticed: estimated heights, models that stay or go, attributes that the schema lacks.",
    "items": {
        "type": "object",
        "required": ["code", "where", "message"],
        "properties": {name: {"type": "string"} for name in ("code", "where", "message", "hint", "severity")},
    },
}
CHANGED: dict[str, Any] = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["id", "outcome", "version", "href"],
        "properties": {
            "id": {"type": "string"},
            "outcome": {"type": "string", "enum": ["inserted", "updated", "unchanged", "deleted"]},
            "version": {"type": "integer", "minimum": 0},
            "href": {"type": "string"},
        },
    },
}
DONE: dict[str, Any] = {
    "type": "object",
    "required": ["collection", "features", "issues"],
    "properties": {"collection": {"type": "string"}, "features": CHANGED, "issues": ISSUES},
}
GEOMETRY: dict[str, Any] = {
    "type": "object",
    "nullable": True,
    "description": "A GeoJSON geometry in the CRS of Content-Crs, in its axis order.",
    "properties": {"type": {"type": "string"}, "coordinates": {"type": "array", "items": {}}},
}
PROPERTIES: dict[str, Any] = {
    "type": "object",
    "nullable": True,
    "description": "As /collections/{featuresId}/schema says; what it does not know is kept in `extra`.",
}
FEATURE: dict[str, Any] = {
    "type": "object",
    "required": ["type", "geometry", "properties"],
    "properties": {
        "type": {"type": "string", "enum": ["Feature"]},
        "id": {"type": "string"},
        "geometry": GEOMETRY | {"required": ["type"]},
        "properties": PROPERTIES,
    },
}
FEATURES: dict[str, Any] = {
    "type": "object",
    "required": ["type", "features"],
    "properties": {
        "type": {"type": "string", "enum": ["FeatureCollection"]},
        "features": {"type": "array", "minItems": 1, "items": FEATURE},
    },
}
PATCH: dict[str, Any] = {
    "type": "object",
    "description": "Merge patch (RFC 7396) of a GeoJSON feature; null empties a property.",
    "properties": {"geometry": GEOMETRY, "properties": PROPERTIES},
}
FILTER: dict[str, Any] = {
    "type": "object",
    "required": ["op", "args"],
    "properties": {"op": {"type": "string"}, "args": {"type": "array", "items": {}}},
}
ACTION: dict[str, Any] = {
    "type": "object",
    "required": ["action", "collection"],
    "properties": {
        "action": {"type": "string", "enum": list(transactions.MEMBERS)},
        "collection": {"type": "string"},
        "id": {"type": "string"},
        "items": {"type": "array", "minItems": 1, "items": FEATURE},
        "properties": {"type": "object", "description": "update: add, modify, delete; replace: feature"},
        "filter": {"description": '{"ids": [...]}, CQL2 JSON, or CQL2 text'},
        "filter-lang": {"type": "string", "enum": ["cql2-json", "cql2-text"]},
        "filter-crs": {"type": "string"},
        "version": {"description": "the version that is expected: a number, or numbers by id"},
    },
}
RESULT: dict[str, Any] = {
    "type": "object",
    "required": ["semantic", "summary"],
    "properties": {
        "semantic": {"type": "string", "enum": list(transactions.SEMANTICS)},
        "summary": {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}},
        **{f"{name}Results": {"type": "array", "items": {"type": "string"}} for name in transactions.MEMBERS},
        "exceptions": {"type": "array", "items": {"type": "object"}},
        "results": {"type": "array", "items": {"type": "object"}},
        "issues": ISSUES,
    },
}


def _header(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": description, "schema": {"type": "string"}}


CRS_OF_BODY = _header("Content-Crs", "CRS of the body, a URI that `crs` of the collection lists; CRS84 if absent.")
LOCKS = (
    _header("If-Match", "The ETag that was read: 412 if the feature has changed since."),
    _header("If-Unmodified-Since", "The Last-Modified that was read, to the second; If-Match is better."),
)
ABSENT = _header("If-None-Match", "`*`: make it new, 412 if it exists.")
REFUSED = {
    400: "A member of the body is wrong; the detail names it",
    403: "Who asks may not edit; the detail says what would allow it",
    412: "The feature has changed meanwhile",
    413: "The body is too large",
    415: "The body is of another media type",
    428: "This server demands If-Match",
}
_NEW = {each: REFUSED[each] for each in (400, 403, 413, 415)} | {409: "The id is taken"}

OPERATIONS = (
    Operation(ITEMS, "Add features, or ask by a filter in the body", {JSON: DONE}, (CRS_OF_BODY,), "post",
              {GEOJSON: {"oneOf": [FEATURE, FEATURES]}, CQL2[0]: FILTER}, 201,
              {200: "Features that the filter lets through"} | _NEW, TAG),
    Operation(ITEM, "Replace a feature, or add it under this id", {JSON: DONE}, (CRS_OF_BODY, *LOCKS, ABSENT), "put",
              {GEOJSON: FEATURE}, 200, {201: "It is new"} | REFUSED, TAG),
    Operation(ITEM, "Change some attributes, or the geometry", {JSON: DONE}, (CRS_OF_BODY, *LOCKS), "patch",
              {MERGE_PATCH: PATCH}, 200, REFUSED, TAG),
    Operation(ITEM, "Delete a feature; its history stays", (), LOCKS, "delete", None, 204,
              {each: REFUSED[each] for each in (403, 412, 428)}, TAG),
    Operation("/transactions", "Several changes of several layers, all or nothing", {JSON: RESULT}, (CRS_OF_BODY,),
              "post", {TRANSACTION: {"type": "object", "required": ["transaction"], "properties": {
                  "semantic": {"type": "string", "enum": list(transactions.SEMANTICS), "default": "atomic"},
                  "transaction": {"type": "array", "minItems": 1, "maxItems": transactions.MAX_ACTIONS,
                                  "items": ACTION}}}},
              200, _NEW | {409: "A feature has another version, or an id is taken"}, TAG),
)  # fmt: skip


def face() -> Face:
    """Create, replace, update, delete and transactions."""
    return Face([*editing.routes(), *transactions.routes()], OPERATIONS, CONFORMANCE)
