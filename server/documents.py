"""Routes of the documents that pygeoapi makes: landing page, conformance, API, collections, schemas, queryables."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server import answer, parameters
from server.ogc import BASE, Documents
from server.serving import base, language, snapshot, wants_html

CONTENT_SECURITY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; script-src 'none'"


def _document(kind: str, formats: tuple[str, ...] = ("json", "html")) -> Callable[[Request], Response]:
    def endpoint(request: Request) -> Response:
        parameters.once(request.query_params, ("f", "lang"))
        city = snapshot(request)
        html, code, address = wants_html(request, formats), language(request), base(request)
        tag = answer.etag(city.version, kind, request.url.path, html, code, address)
        if answer.is_fresh(request, tag):
            return answer.not_modified(answer.headers_for(tag))
        documents = city.make("documents", lambda: Documents(city))
        body, media_type = documents.page(kind, request.path_params.get("layer"), code, html=html)
        more = {"Content-Language": code} | ({"Content-Security-Policy": CONTENT_SECURITY} if html else {})
        return answer.conditional(request, body.replace(BASE.encode(), address.encode()), media_type, tag, more)

    return endpoint


def routes() -> list[Route]:
    """OGC API Common and the descriptions of Features."""
    return [
        Route("/", _document("landing"), methods=["GET"]),
        Route("/conformance", _document("conformance"), methods=["GET"]),
        Route("/api", _document("openapi", ("json",)), methods=["GET"]),
        Route("/collections", _document("collections"), methods=["GET"]),
        Route("/collections/{layer}", _document("collection"), methods=["GET"]),
        Route("/collections/{layer}/schema", _document("schema"), methods=["GET"]),
        Route("/collections/{layer}/queryables", _document("queryables"), methods=["GET"]),
    ]
