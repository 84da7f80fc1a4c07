"""What the first reader would wait for, done beforehand: imports of pygeoapi and rio-tiler, first pages and tiles."""

import asyncio
import contextlib
import gc
import importlib
import logging
import threading
from collections.abc import AsyncIterator, Callable

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool

from server import lanes
from server.ogc import Documents
from server.serving import LANGUAGES, Serving, Snapshot

LOG = logging.getLogger("citytwin.server")


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Starts warming up in a thread when the server starts, and takes jobs; requests are served meanwhile."""
    serving: Serving = app.state.serving
    watching = asyncio.create_task(lanes.watch(serving.settings.threads, serving.settings.most_threads))
    if serving.settings.warm_up:
        threading.Thread(target=warm, args=(serving,), name="warming up", daemon=True).start()
    app.state.jobs.start()
    yield
    watching.cancel()
    await run_in_threadpool(app.state.jobs.stop)


def warm(serving: Serving) -> None:
    """Every preparation in turn. A failure is logged: whoever needs the thing will be told what is wrong with it."""
    steps: tuple[Callable[[Snapshot], None], ...] = (_pages, _tilesets, _terrain, _images, _downloads)
    for step in steps:
        try:
            step(serving.snapshot())
        except Exception:
            LOG.warning("warming up: %s failed", step.__name__.strip("_"), exc_info=True)
    # modules and documents stay for good: the collector need not look at them whenever a tile has made many rows
    gc.collect()
    gc.freeze()


def _pages(city: Snapshot) -> None:
    documents = city.make("documents", lambda: Documents(city))
    for code in LANGUAGES:
        for kind in ("landing", "collections", "openapi"):
            documents.page(kind, None, code)


def _downloads(_: Snapshot) -> None:
    """What files of features are written with, and what maps are drawn with."""
    modules = ("pyogrio", "pyarrow.csv", "pyarrow.parquet", "scipy.sparse.csgraph", "matplotlib.backends.backend_agg")
    for name in modules:
        importlib.import_module(name)


def _tilesets(city: Snapshot) -> None:
    """The trees of all layers, which later ones follow from, and one content."""
    from tiles.tileset import Tileset

    first = None
    for info in city.vectors.values():
        if info.mesh_count:
            tileset = Tileset(city.city, info.id, city.settings.scope, info=info)
            first = first or (tileset, int(tileset.tree.tiles.keys[0]))
    if first is not None:
        first[0].glb(first[1], "compact")


def _terrain(city: Snapshot) -> None:
    from tiles.terrain import NORMALS, TerrainTiles

    if "dem" in city.files:
        terrain = TerrainTiles(city.city, city.settings.scope)
        for x in (0, 1):
            terrain.tile(0, x, 0, (NORMALS,))


def _images(city: Snapshot) -> None:
    from tiles import imagery, matrix_set

    rasters = [asset for layer in city.files.values() for asset in layer.assets if asset.kind == "raster"]
    if rasters:
        grid = matrix_set.get("WebMercatorQuad", city.city.config.crs)
        z, _ = imagery.zooms(city.city, rasters[:1], grid)
        x, y, _, _ = grid.cover(z, imagery.sheets.footprint(rasters[0], grid))
        imagery.picture(city.city, rasters[:1], imagery.Frame(grid, z, x, y)).encode()
        imagery.colour.colormaps()
