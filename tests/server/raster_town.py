"""Rasters whose every value is known: a plane, a second sheet beside it, images of two epochs, codes, tenths."""

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.transform import from_origin
from starlette.testclient import TestClient

import twin
from layers.report import Report
from server.app import create_app
from server.settings import Settings
from twin import config
from twin.scope import EVERYTHING
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Asset, SourceRecord

CITY = "EPSG:4549"
EAST, NORTH, SIDE, CELL = 598_000.0, 3_112_000.0, 300, 2.0
HOLE = (slice(40, 60), slice(100, 130))
A, B, C = 0.03, -0.02, 5.0


def plane(x, y):
    """Height in metres at east x, north y."""
    return A * (x - EAST) + B * (y - NORTH) + C


def centres(west=EAST, north=NORTH, width=SIDE, height=SIDE, cell=CELL):
    return np.meshgrid(west + (np.arange(width) + 0.5) * cell, north - (np.arange(height) + 0.5) * cell)


def write(path, data, west=EAST, north=NORTH, cell=CELL, crs=CITY, **more):
    path.parent.mkdir(exist_ok=True)
    count, height, width = data.shape
    with rasterio.open(
        path, "w", driver="GTiff", width=width, height=height, count=count, dtype=data.dtype, crs=crs,
        transform=from_origin(west, north, cell, cell), tiled=True, blockxsize=128, blockysize=128,
        nodata=more.pop("nodata", None), **more.pop("options", {}),
    ) as out:  # fmt: skip
        out.write(data)
        for name, value in more.items():
            setattr(out, name, value)
        if count == 1:
            out.build_overviews([2, 4], Resampling.average)
    return west, north - cell * height, west + cell * width, north


def heights(west=EAST):
    data = plane(*centres(west)).astype(np.float32)[None]
    data[(0, *HOLE)] = -9999.0
    return data


def photo(grey):
    x, y = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    return np.stack([(grey + x // 4 + y // 8 + 10 * band) % 256 for band in range(3)]).astype(np.uint8)


def assets(folder):
    def one(name, layer, box, epoch=None, **more):
        return Asset(name, layer, "raster", f"rasters/{name}.tif", CITY, box, box, "a.tif", "", epoch, **more)

    def to(name):
        return folder / f"rasters/{name}.tif"

    beside = EAST + SIDE * CELL - 100
    yield one("ground", "dem", write(to("ground"), heights(), nodata=-9999.0), "2025-05", vertical_crs="EPSG:5737")
    yield one("beside", "dem", write(to("beside"), heights(beside), beside, nodata=-9999.0), "2024",
              vertical_crs="EPSG:5737")  # fmt: skip
    yield one("roofs", "dsm", write(to("roofs"), heights() + np.float32(20), nodata=-9979.0), height_offset_m=1.5)
    yield one("new", "dom", write(to("new"), photo(100)), "2026-04-18")
    yield one("old", "dom", write(to("old"), photo(10), EAST - 200), "2019")
    codes = np.repeat((np.arange(SIDE) // 50).astype(np.uint8)[None], SIDE, 0)[None]
    path = to("zones")
    yield one("zones", "risk_zone", write(path, codes))
    with rasterio.open(path, "r+") as out:
        out.write_colormap(1, {i: (40 * i, 0, 0, 255) for i in range(6)})
    tenths = np.round(heights() * 10).astype(np.int16)
    tenths[(0, *HOLE)] = -32768
    yield one("tenths", "noise_map", write(to("tenths"), tenths, nodata=-32768, scales=(0.1,), offsets=(30.0,)))


def build(folder, more=None):
    """A twin with the rasters, and whatever `more(store)` puts besides."""
    config.save(config.TwinConfig("rasters", CITY, 121.0, 28.1), folder)
    store = GeoPackageStore(folder / "city.gpkg", create=True, city_crs=CITY)
    with store.writing() as batch:
        batch.begin_source(SourceRecord("a.tif", "0" * 64, 1, 1, "{}"))
        for asset in assets(folder):
            batch.put_asset(asset)
        batch.finish_source(SourceRecord("a.tif", "0" * 64, 1, 1, "{}"), Report("a.tif", "test", "0" * 64, "stored"))
    if more:
        more(store)
    store.close()
    return folder


def served(folder, scope=EVERYTHING):
    """City and client."""
    city = twin.open(folder)
    app = create_app(city, Settings(access_log=False, warm_up=False, scope=scope))
    return city, TestClient(app, base_url="http://city.test")
