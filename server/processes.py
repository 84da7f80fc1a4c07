"""`/processes`: the analyses of `twin.analysis` as OGC API Processes part 1 (18-062r2): list and descriptions.

The schemas of inputs and outputs leave as the standard's schema.yaml has them, an OpenAPI 3.0 subset; units go beside
them. Execution and jobs are in `server.jobs`.
"""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from layers.errors import InvalidInput
from server import answer, negotiation, page_maps, page_words, pages, parameters, process_families, process_form
from server.face import Face, Link
from server.jobs import describe
from server.jobs import routes as job_routes
from server.jobs.execution import execution
from server.ogc import BASE
from server.serving import Snapshot, base, language, snapshot
from twin import analysis
from twin.analysis.process import Parameter, Process

RELATION = "http://www.opengis.net/def/rel/ogc/1.0/"
UCUM = "http://www.opengis.net/def/uom/UCUM/"
DEFAULT_LIMIT, MAX_LIMIT = 100, 1000
CONTROL = ("sync-execute", "async-execute", "dismiss")
TRANSMISSION = ("value", "reference")
CONFORMANCE = tuple(
    f"ogcapi-processes-1/1.0/conf/{name}"
    for name in ("core", "ogc-process-description", "json", "oas30", "job-list", "dismiss")
)
_NOT_IN_SCHEMAS = {"$schema", "$id", "$comment", "$defs", "examples", "unevaluatedProperties", "dependentRequired"}


def listing(request: Request) -> Response:
    """Processes in short, a page at a time."""
    given = parameters.once(request.query_params, ("f", "lang", "limit", "offset"))
    limit = min(parameters.whole(given, "limit", DEFAULT_LIMIT, minimum=1), MAX_LIMIT)
    start = parameters.whole(given, "offset", 0)
    address, code = base(request), language(request)
    known = list(analysis.registry().values())
    processes = [summary(each, address, code) for each in known[start : start + limit]]
    links = _own_links(request, address)
    if start + limit < len(known):
        links.append(_page(request, address, "next", start + limit))
    if start:
        links.append(_page(request, address, "prev", max(start - limit, 0)))
    title = "分析" if code == "zh" else "Analyses"
    document = {"processes": processes, "links": links}
    groups = process_families.grouped(processes, code)
    return pages.either(request, snapshot(request), title, document, template="processes.html", groups=groups)


def description(request: Request) -> Response:
    """One process with the schemas of its inputs and outputs."""
    parameters.once(request.query_params, ("f", "lang"))
    process, code = analysis.process(request.path_params["process"]), language(request)
    document = described(process, base(request), code)
    crumbs = [("分析" if code == "zh" else "Analyses", "/processes")]
    city = snapshot(request)
    if not negotiation.wants_html(request):
        return pages.either(request, city, document["title"], document)
    shown = page_maps.config(city, base(request), code)
    return pages.render(
        request, city, "process.html", document["title"], document, crumbs=crumbs, map=shown,
        fields=process_form.fields(document), layers=process_form.layers(city, code),
        files=process_form.files(document), words=page_words.result_words(code),
    )  # fmt: skip


def _own_links(request: Request, address: str) -> list[Link]:
    text = f"?{request.url.query}" if request.url.query else ""
    html = request.url.include_query_params(f="html").query
    return [
        {"rel": "self", "type": answer.JSON, "href": f"{address}/processes{text}"},
        {"rel": "alternate", "type": "text/html", "href": f"{address}/processes?{html}"},
    ]


def _page(request: Request, address: str, relation: str, start: int) -> Link:
    query = request.url.include_query_params(offset=start).query
    return {"rel": relation, "type": answer.JSON, "href": f"{address}/processes?{query}"}


def summary(process: Process, address: str, code: str) -> dict[str, Any]:
    """A process without inputs and outputs (processSummary.yaml)."""
    own = f"{address}/processes/{process.id}"
    return {
        "id": process.id,
        "title": getattr(process.title, code),
        "description": getattr(process.description, code),
        "version": process.version,
        "keywords": list(process.keywords),
        "metadata": [dict(each) for each in process.metadata],
        "jobControlOptions": list(CONTROL),
        "outputTransmission": list(TRANSMISSION),
        "links": [
            {"rel": "self", "type": answer.JSON, "href": own, "title": "Description"},
            {"rel": "alternate", "type": "text/html", "href": f"{own}?f=html", "title": "Description"},
            {"rel": RELATION + "execute", "type": answer.JSON, "href": f"{own}/execution", "title": "Execute (POST)"},
            {"rel": RELATION + "job-list", "type": answer.JSON, "href": f"{address}/jobs?processID={process.id}",
             "title": "Jobs"},
        ],
    }  # fmt: skip


def described(process: Process, address: str, code: str) -> dict[str, Any]:
    """The whole description (process.yaml)."""
    inputs = {
        name: _parameter(each, code) | {"minOccurs": int(each.required), "maxOccurs": each.max_occurs}
        for name, each in process.inputs.items()
    }
    outputs = {name: _parameter(each, code, is_output=True) for name, each in process.outputs.items()}
    return summary(process, address, code) | {"inputs": inputs, "outputs": outputs}


def _parameter(parameter: Parameter, code: str, *, is_output: bool = False) -> dict[str, Any]:
    made: dict[str, Any] = {"title": getattr(parameter.title, code)}
    if parameter.description is not None:
        made["description"] = getattr(parameter.description, code)
    schema = openapi_schema(parameter.schema)
    if is_output and "oneOf" not in schema:
        schema = {"contentMediaType": parameter.media_type} | schema
    made["schema"] = schema
    if parameter.unit:
        made["unit"] = parameter.unit
        made["metadata"] = [{"title": parameter.unit, "role": UCUM.rstrip("/"), "href": UCUM + parameter.unit}]
    return made


def openapi_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON schema in the words of the standard's schema.yaml, which allows no others (no `x-…`, one `type`)."""
    made: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "type" and isinstance(value, list):
            made |= _types(value)
        elif key == "const":
            made["enum"] = [value]
        elif key in {"exclusiveMinimum", "exclusiveMaximum"} and not isinstance(value, bool):
            made |= {key[9].lower() + key[10:]: value, key: True}
        elif key == "properties":
            made[key] = {name: openapi_schema(each) for name, each in value.items()}
        elif key in {"oneOf", "anyOf", "allOf"}:
            made[key] = [openapi_schema(each) for each in value]
        elif key in {"items", "not", "additionalProperties"} and isinstance(value, Mapping):
            made[key] = openapi_schema(value)
        elif key == "prefixItems":
            made |= {"items": {"oneOf": [openapi_schema(each) for each in value]}}
        elif not key.startswith("x-") and key not in _NOT_IN_SCHEMAS:
            made[key] = value
    return made


def _types(names: list[str]) -> dict[str, Any]:
    kinds = [name for name in names if name != "null"]
    if not kinds:
        raise InvalidInput("A schema of type null says nothing.")
    made: dict[str, Any] = {"type": kinds[0]} if len(kinds) == 1 else {"oneOf": [{"type": name} for name in kinds]}
    return made | ({"nullable": True} if len(kinds) < len(names) else {})


def _landing_links(_: Snapshot) -> list[Link]:
    return [
        {"rel": RELATION + "processes", "type": answer.JSON, "title": "Analyses", "href": f"{BASE}/processes"},
        {"rel": RELATION + "job-list", "type": answer.JSON, "title": "Jobs", "href": f"{BASE}/jobs"},
    ]


def face() -> Face:
    """Processes and jobs."""
    routes = [
        Route("/processes", listing, methods=["GET"]),
        Route("/processes/{process}", description, methods=["GET"]),
        Route("/processes/{process}/execution", execution, methods=["POST"]),
        *job_routes.routes(),
    ]
    return Face(routes, describe.OPERATIONS, CONFORMANCE, _landing_links)
