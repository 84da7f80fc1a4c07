"""A real store with one layer of given geometries, for tests of the vector tiles."""

from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyproj
import shapely

import twin
from layers.report import Report
from tests.tiles.towns import layer_type
from tiles import matrix_set
from twin import config
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Rows, SourceRecord

SOURCE = SourceRecord("s", "", 0, 0, "")
CITY_CRS = "EPSG:4549"
EAST, NORTH = pyproj.Transformer.from_crs("EPSG:4490", CITY_CRS, always_xy=True).transform(121.0, 28.1)
MERCATOR = matrix_set.get("WebMercatorQuad", CITY_CRS)


def attributes(rows):
    """Columns of the building layer for some row numbers; every type, with gaps."""
    return pa.table({
        "name": pa.array([f"楼 {row}" if row % 2 else None for row in rows], pa.string()),
        "height_m": pa.array([row / 8 for row in rows], pa.float64()),
        "floors": pa.array([int(row) if row % 3 else None for row in rows], pa.int64()),
        "legal": pa.array([bool(row % 2) for row in rows], pa.bool_()),
    })  # fmt: skip


def put(store, geometry, ids=None, kind=None):
    """Store geometries as the content of the source; ids are B-0, B-1, …"""
    kind = kind or layer_type()
    n = len(geometry)
    shapes = np.empty(n, dtype=object)
    shapes[:] = geometry
    ids = ids or [f"B-{row}" for row in range(n)]
    with store.writing() as batch:
        batch.ensure_layer(kind)
        batch.begin_source(SOURCE)
        if n:
            batch.put(kind.id, "s", Rows(ids, shapes, attributes(range(n)), [None] * n))
        batch.finish_source(SOURCE, Report("s", "x", "", "stored"))


def city_of(geometry, folder, **style):
    """An opened city whose layer `building` holds these geometries."""
    folder.mkdir(parents=True, exist_ok=True)
    config.save(config.TwinConfig("town", CITY_CRS, 121.0, 28.1, 0.0), folder)
    store = GeoPackageStore(folder / "city.gpkg", create=True, city_crs=CITY_CRS)
    put(store, list(geometry), kind=layer_type(**style))
    store.close()
    return twin.open(folder)


def address(z, lon=121.0, lat=28.1):
    """The tile of WebMercatorQuad at a place: z, x, y."""
    y = (1 - np.arcsinh(np.tan(np.radians(lat))) / np.pi) / 2
    return z, int((lon + 180) / 360 * 2**z), int(y * 2**z)


@lru_cache
def transformer(target):
    """PROJ from the city's CRS, east first."""
    return pyproj.Transformer.from_crs(CITY_CRS, target, always_xy=True)


def in_units(geometry, grid, place):
    """A geometry in the city's CRS in units of a tile (y down) by PROJ, unclipped, not rounded."""
    west, south, east, north = grid.bounds(*place)
    to_grid = transformer(grid.crs)

    def placed(xy):
        x, y = to_grid.transform(xy[:, 0], xy[:, 1])
        return np.column_stack([(x - west) / (east - west), (north - y) / (north - south)]) * 4096

    return shapely.transform(geometry, placed)
