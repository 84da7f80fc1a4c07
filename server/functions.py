"""`/functions`: what filters may call beyond the operators of CQL2 (OGC 21-065r2, requirements class "Functions")."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server import answer, negotiation, parameters
from server.face import Face, Link, Operation, query
from server.ogc import BASE
from server.serving import Snapshot
from twin.store.filter_functions import FUNCTIONS

CLASSES = ("cql2/1.0/conf/functions", "ogcapi-features-9/1.0/conf/text-search")
_KINDS = {"date": "datetime"}
_NAMES = ("string", "number", "integer", "datetime", "geometry", "boolean")
"""Types that the schema of the answer has."""
_ARGUMENT = {
    "type": "object",
    "required": ["type"],
    "properties": {
        "title": {"type": "string"},
        "type": {"type": "array", "items": {"type": "string", "enum": list(_NAMES)}},
    },
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["functions"],
    "properties": {
        "functions": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "returns"],
                "properties": {
                    "name": {"type": "string"},
                    "description": {"type": "string"},
                    "args": {"type": "array", "items": _ARGUMENT},
                    "returns": {"type": "array", "items": {"type": "string", "enum": list(_NAMES)}},
                },
            },
        }
    },
}


def document() -> dict[str, Any]:
    """All functions with the types of what they take and give."""
    return {
        "functions": [
            {
                "name": each.name,
                "description": each.about,
                "args": [{"title": title, "type": _types(kinds)} for title, kinds in each.arguments],
                "returns": _types({each.returns}),
            }
            for each in FUNCTIONS
        ]
    }


def _types(kinds: frozenset[str] | set[str]) -> list[str]:
    known = {_KINDS.get(kind, kind) for kind in kinds}
    return [name for name in _NAMES if name in known]


def functions(request: Request) -> Response:
    """The document; it changes with the program only."""
    parameters.once(request.query_params, ("f",))
    negotiation.chosen(request, {"json": answer.JSON})
    body = answer.json_bytes(document())
    return answer.conditional(request, body, answer.JSON, answer.etag(body.decode()))


def _landing_links(_: Snapshot) -> list[Link]:
    title = "过滤函数 · Functions for filters"
    rel = "http://www.opengis.net/def/rel/ogc/1.0/functions"
    return [{"rel": rel, "type": answer.JSON, "title": title, "href": f"{BASE}/functions"}]


def face() -> Face:
    """The functions of filters, and the classes of text search."""
    kind = query("f", "Format.", {"type": "string", "enum": ["json"], "default": "json"})
    operation = Operation("/functions", "Functions of filters", {answer.JSON: SCHEMA}, (kind,), tag="Features")
    return Face([Route("/functions", functions, methods=["GET"])], (operation,), CLASSES, landing_links=_landing_links)
