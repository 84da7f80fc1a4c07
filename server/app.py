"""The ASGI application: routes and middleware. Importing this module reads nothing; everything comes as arguments."""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp
from starlette_compress import CompressMiddleware, add_compress_type

from server import (
    answer,
    conformance,
    coverages,
    documents,
    editing_api,
    edr,
    features,
    files,
    formats,
    functions,
    geovolumes,
    guard,
    imagetiles,
    maps,
    maptiles,
    matrix_sets,
    openapi,
    packing,
    pages,
    parameters,
    problems,
    processes,
    qgis,
    records,
    sortables,
    styles,
    terrain,
    terrain_rgb,
    tilesets,
    viewer,
    viewer_config,
    warming,
    wfs,
    wms,
    wmts,
)
from server.face import Face
from server.jobs.job import scope_text
from server.jobs.service import Jobs
from server.serving import Serving, snapshot
from server.settings import Settings
from twin.city import City

COMPRESSED = (
    "application/geo+json", "application/problem+json", "application/schema+json", "application/vnd.oai.openapi+json",
    "application/x-qgis-project", "application/vnd.mapbox-vector-tile", "application/vnd.quantized-mesh",
    "model/gltf-binary", "application/octet-stream", "application/fg+json", "application/city+json",
    "application/city+json-seq", "application/vnd.cov+json",
)  # fmt: skip
"""Media types that packing makes smaller, beside those of the web; byte ranges and what comes packed pass through."""


def health(request: Request) -> Response:
    """Up, and the store answers."""
    parameters.once(request.query_params, ())
    city = snapshot(request)
    body = {"status": "ok", "version": city.version, "layers": len(city.vectors) + len(city.files)}
    return Response(answer.json_bytes(body), media_type=answer.JSON, headers={"Cache-Control": "no-store"})


def faces() -> tuple[Face, ...]:
    """Every surface of the server; where two have a route for one address, the first one answers."""
    first = [
        Route("/health", health, methods=["GET"]),
        *features.routes(),
        *files.routes(),
        *tilesets.routes(),
        *terrain.routes(),
        *terrain_rgb.routes(),
        *maptiles.routes(),
        *styles.routes(),
        *imagetiles.routes(),
        *matrix_sets.routes(),
        *qgis.routes(),
        *viewer_config.routes(),
        *viewer.routes(),
    ]
    return (
        records.face(),  # before the layers: a layer of the catalogue's name would hide it
        editing_api.face(),
        Face(first, openapi.OPERATIONS, conformance.CLASSES),
        formats.face(),
        functions.face(),
        sortables.face(),
        pages.face(),
        coverages.face(),
        edr.face(),
        geovolumes.face(),
        processes.face(),
        maps.face(),
        wms.face(),
        wmts.face(),
        wfs.face(),
        Face(documents.routes()),
    )


def create_app(city: City, settings: Settings | None = None) -> ASGIApp:
    """The server for one city.

    The city may be changed by another process meanwhile: layers, versions and extents follow the store.
    """
    settings = settings or Settings()
    known = faces()
    for media_type in COMPRESSED:
        add_compress_type(media_type)
    compress = Middleware(CompressMiddleware, minimum_size=packing.MIN_BYTES)
    app = Starlette(
        routes=[route for face in known for route in face.routes],
        middleware=[compress],
        exception_handlers=dict(problems.HANDLERS),
        lifespan=warming.lifespan,
    )
    app.state.serving = Serving(city, settings, known)
    app.state.jobs = Jobs(city.folder, settings.jobs, scope_text(settings.scope))
    return guard.Guard(app, settings)
