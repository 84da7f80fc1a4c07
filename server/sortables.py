"""`/collections/{id}/sortables`: what `sortby` takes (OGC API Features part 8, draft; OGC API Common part 3)."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server import pages, parameters
from server.face import Face, Link, Operation
from server.ogc import BASE, RELATION
from server.serving import Snapshot, base, language, snapshot

SCHEMA_JSON = "application/schema+json"


def sortables(request: Request) -> Response:
    """JSON Schema of the properties that features can be sorted by."""
    from server.providers import json_schema  # pygeoapi is imported with the first document, not with the server

    parameters.once(request.query_params, ("f", "lang"))
    city = snapshot(request)
    info = city.vector(request.path_params["layer"])
    code = language(request)
    known = {"id": {"type": "string", "title": "id", "x-ogc-role": "id"}}
    known |= {a.name: json_schema(a) | {"title": getattr(a.title, code)} for a in info.type.attributes}
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"{base(request)}/collections/{info.id}/sortables",
        "type": "object",
        "title": getattr(info.type.title, code),
        "properties": known,
        "additionalProperties": False,
    }
    return pages.either(request, city, str(document["title"]), document, media_type=SCHEMA_JSON)


def _layer_links(city: Snapshot, layer_id: str) -> list[Link]:
    if layer_id not in city.vectors:
        return []
    href = f"{BASE}/collections/{layer_id}/sortables"
    return [{"rel": f"{RELATION}sortables", "type": SCHEMA_JSON, "title": "Sortables", "href": href}]


def face() -> Face:
    """What features can be sorted by."""
    told = {SCHEMA_JSON: {"$ref": "#/components/schemas/jsonSchema"}, "text/html": {"type": "string"}}
    operation = Operation(
        "/collections/{featuresId}/sortables", "What features can be sorted by", told, ("f", "lang"), tag="Features"
    )
    classes = ("ogcapi-common-3/1.0/conf/sortables", "ogcapi-features-8/0.0/conf/sorting",
               "ogcapi-features-8/0.0/conf/features-sorting")  # fmt: skip
    return Face(
        [Route("/collections/{layer}/sortables", sortables, methods=["GET"])], (operation,), classes,
        layer_links=_layer_links,
    )  # fmt: skip
