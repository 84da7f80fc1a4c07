"""What 18-062r2 demands of its documents, put down anew as JSON Schema (draft 4, as OpenAPI 3.0 has it).

One fault of the standard is not repeated: a whole number and base64 text fulfil two branches of its `oneOf`, so values
are compared with `anyOf` here.
"""

T, N, B, O = ({"type": name} for name in ("string", "number", "boolean", "object"))  # noqa: E741
COUNT = {"type": "integer", "minimum": 0}
TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$"}


def ref(name):
    return {"$ref": f"#/schemas/{name}"}


def listed(schema):
    return {"type": "array", "items": schema}


def named(schema):
    return {"type": "object", "additionalProperties": schema}


def made(properties, required=(), **more):
    return {"type": "object", "properties": properties} | ({"required": list(required)} if required else {}) | more


_DESCRIBED = {
    "title": T, "description": T, "keywords": listed(T),
    "metadata": listed(made({"title": T, "role": T, "href": T})),
}  # fmt: skip
_SUMMARY = _DESCRIBED | {
    "id": T, "version": T, "links": listed(ref("link")),
    "jobControlOptions": listed({"enum": ["sync-execute", "async-execute", "dismiss"]}),
    "outputTransmission": listed({"enum": ["value", "reference"]}),
}  # fmt: skip
_SUB = listed(ref("schema"))
_KEYWORDS = {
    "title": T, "description": T, "format": T, "pattern": T, "contentMediaType": T, "contentEncoding": T,
    "contentSchema": T, "default": {}, "example": {},
    "type": {"enum": ["array", "boolean", "integer", "number", "object", "string"]},
    "enum": {"type": "array", "minItems": 1},
    "required": {"type": "array", "items": T, "minItems": 1, "uniqueItems": True},
    "multipleOf": N, "maximum": N, "minimum": N,
    **dict.fromkeys(("exclusiveMaximum", "exclusiveMinimum", "uniqueItems", "nullable", "readOnly", "writeOnly",
                     "deprecated"), B),
    **dict.fromkeys(("maxLength", "minLength", "maxItems", "minItems", "maxProperties", "minProperties"), COUNT),
    "allOf": _SUB, "oneOf": _SUB, "anyOf": _SUB, "not": ref("schema"), "items": ref("schema"),
    "properties": named(ref("schema")), "additionalProperties": {"anyOf": [ref("schema"), B]},
}  # fmt: skip
_BOX = {
    "type": "array", "items": N, "oneOf": [{"minItems": 4, "maxItems": 4}, {"minItems": 6, "maxItems": 6}],
}  # fmt: skip
_SCALAR = [T, N, B, {"type": "array"}, made({"bbox": _BOX, "crs": T}, ["bbox"])]

SCHEMAS = {
    "link": made({"href": T, "rel": T, "type": T, "hreflang": T, "title": T}, ["href"]),
    "landingPage": made({"title": T, "description": T, "links": listed(ref("link"))}, ["links"]),
    "confClasses": made({"conformsTo": listed(T)}, ["conformsTo"]),
    "processList": made(
        {"processes": listed(made(_SUMMARY, ["id", "version"])), "links": listed(ref("link"))}, ["processes", "links"]
    ),
    "process": made(
        _SUMMARY | {
            "inputs": named(made(_DESCRIBED | {
                "schema": ref("schema"), "minOccurs": {"type": "integer"},
                "maxOccurs": {"anyOf": [{"type": "integer"}, {"enum": ["unbounded"]}]}}, ["schema"])),
            "outputs": named(made(_DESCRIBED | {"schema": ref("schema")}, ["schema"])),
        },
        ["id", "version"],
    ),
    # no word beside these: what is not in this list is not to stand in a description
    "schema": {"oneOf": [made({"$ref": T}, ["$ref"]), made(_KEYWORDS, additionalProperties=False)]},
    "statusInfo": made(
        {
            "processID": T, "type": {"enum": ["process"]}, "jobID": T, "message": T, "links": listed(ref("link")),
            "status": {"enum": ["accepted", "running", "successful", "failed", "dismissed"]},
            **dict.fromkeys(("created", "started", "finished", "updated"), TIME),
            "progress": {"type": "integer", "minimum": 0, "maximum": 100},
        },
        ["jobID", "status", "type", "processID"],  # processID by /req/job-list/processID-mandatory
    ),
    "jobList": made({"jobs": listed(ref("statusInfo")), "links": listed(ref("link"))}, ["jobs", "links"]),
    "exception": made({"type": T, "title": T, "status": {"type": "integer"}, "detail": T, "instance": T}, ["type"]),
    "results": named({
        "anyOf": [*_SCALAR, ref("link"),
                  made({"value": {"anyOf": [*_SCALAR, O]}, "mediaType": T, "encoding": T, "schema": {}}, ["value"])],
    }),
}  # fmt: skip
