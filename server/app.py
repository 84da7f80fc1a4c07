"""The ASGI application: routes and middleware. Importing this module reads nothing; everything comes as arguments."""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from server import (
    answer,
    documents,
    features,
    files,
    guard,
    maptiles,
    matrix_sets,
    problems,
    processes,
    qgis,
    terrain,
    tilesets,
    viewer,
    viewer_config,
    warming,
)
from server.serving import Serving, snapshot
from server.settings import Settings
from twin.city import City

NOT_COMPRESSED = (*DEFAULT_EXCLUDED_CONTENT_TYPES, "image/tiff", "application/vnd.laszip+copc")
"""Media types that gzip makes no smaller; byte ranges and what comes packed already pass through anyway."""


def health(request: Request) -> Response:
    """Up, and the store answers."""
    city = snapshot(request)
    body = {"status": "ok", "version": city.version, "layers": len(city.vectors) + len(city.files)}
    return Response(answer.json_bytes(body), media_type=answer.JSON, headers={"Cache-Control": "no-store"})


def create_app(city: City, settings: Settings | None = None) -> ASGIApp:
    """The server for one city.

    The city may be changed by another process meanwhile: layers, versions and extents follow the store.
    """
    settings = settings or Settings()
    routes: list[BaseRoute] = [
        Route("/health", health, methods=["GET"]),
        *features.routes(),
        *files.routes(),
        *tilesets.routes(),
        *terrain.routes(),
        *maptiles.routes(),
        *matrix_sets.routes(),
        *qgis.routes(),
        *processes.routes(),
        *viewer_config.routes(),
        *viewer.routes(),
        *documents.routes(),
    ]
    gzip = Middleware(GZipMiddleware, minimum_size=1024, compresslevel=4, exclude_content_types=NOT_COMPRESSED)
    app = Starlette(
        routes=routes, middleware=[gzip], exception_handlers=dict(problems.HANDLERS), lifespan=warming.lifespan
    )
    app.state.serving = Serving(city, settings)
    return guard.Guard(app, settings)
