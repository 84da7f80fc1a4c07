"""Routes of the documents that pygeoapi makes: landing page, conformance, API, collections, schemas, queryables."""

from collections.abc import Callable

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server import answer, document_pages, parameters
from server.negotiation import wants_html
from server.ogc import BASE, Documents
from server.serving import base, language, snapshot

SELDOM_NEW = {"landing", "conformance", "openapi"}
FRESH_S = 60
"""QGIS reads these three again for every layer of a project; within a minute it may take its copy (QGIS 3.40: 72
layers open with 216 requests less)."""


def _document(kind: str) -> Callable[[Request], Response]:
    def endpoint(request: Request) -> Response:
        parameters.once(request.query_params, ("f", "lang"))
        city = snapshot(request)
        html, code, address = wants_html(request), language(request), base(request)
        layer_id = request.path_params.get("layer")
        tag = answer.etag(city.version, kind, request.url.path, code, address)
        headers = answer.headers_for(tag, {"Content-Language": code}, fresh_s=FRESH_S if kind in SELDOM_NEW else 0)
        if not html and answer.is_fresh(request, tag):
            return answer.not_modified(headers)
        documents = city.make("documents", lambda: Documents(city))
        body, media_type = documents.page(kind, layer_id, code)
        body = body.replace(BASE.encode(), address.encode())
        if html:
            return document_pages.show(request, city, kind, layer_id, orjson.loads(body))
        return Response(body, headers=headers | {"Content-Type": media_type})

    return endpoint


def routes() -> list[Route]:
    """OGC API Common and the descriptions of Features."""
    return [
        Route("/", _document("landing"), methods=["GET"]),
        Route("/conformance", _document("conformance"), methods=["GET"]),
        Route("/api", _document("openapi"), methods=["GET"]),
        Route("/collections", _document("collections"), methods=["GET"]),
        Route("/collections/{layer}", _document("collection"), methods=["GET"]),
        Route("/collections/{layer}/schema", _document("schema"), methods=["GET"]),
        Route("/collections/{layer}/queryables", _document("queryables"), methods=["GET"]),
    ]
