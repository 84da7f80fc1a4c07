"""A small city of what a test gives, for the questions about construction sites: plane metres from `EAST`, `NORTH`."""

import datetime as dt

import numpy as np
import pyarrow as pa
import shapely

import twin
from layers import catalogue
from layers.report import Report
from twin import config
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Rows, SourceRecord

EAST, NORTH = 500_000.0, 3_109_000.0
"""On the central meridian of EPSG:4549, where grid north is true north."""


def moved(shape, east=EAST, north=NORTH):
    """A shape drawn round 0, 0 in the city."""
    return shapely.transform(shape, lambda xyz: xyz + np.array([east, north, 0.0][: xyz.shape[1]]), include_z=True)


def box(x0, y0, x1, y1):
    return moved(shapely.box(x0, y0, x1, y1))


def point(x, y, z=None):
    return shapely.Point(EAST + x, NORTH + y) if z is None else shapely.Point(EAST + x, NORTH + y, z)


def feature(shape, name=None, **properties):
    """GeoJSON in the city's CRS."""
    return {"type": "Feature", "id": name, "properties": properties, "geometry": shapely.geometry.mapping(shape)}


def collection(*features):
    return {"type": "FeatureCollection", "crs": "city", "features": list(features)}


def made(folder, layers, crs="EPSG:4549", origin=(120.0, 28.1)):
    """A city whose layers have rows of (id, geometry, attributes)."""
    config.save(config.TwinConfig("here", crs, *origin, height_model={"constant_m": 12.0}), folder)
    store = GeoPackageStore(folder / "city.gpkg", create=True, city_crs=crs)
    types = catalogue.load()
    with store.writing() as batch:
        for layer, rows in layers.items():
            batch.ensure_layer(types[layer])
            source = SourceRecord(layer, "", 0, 0, "")
            batch.begin_source(source)
            known = {each.name: each.arrow_type for each in types[layer].attributes}
            names = list(dict.fromkeys(key for _, _, values in rows for key in values))
            table = {key: pa.array([values.get(key) for _, _, values in rows], known[key]) for key in names}
            if not names:
                table = {"name": pa.nulls(len(rows), pa.string())}
            shapes = np.array([shape for _, shape, _ in rows], dtype=object)
            batch.put(layer, layer, Rows([name for name, _, _ in rows], shapes, pa.table(table), [None] * len(rows)))
            batch.finish_source(source, Report(layer, "x", "", "stored"))
    store.close()
    return twin.open(folder)


def at(text):
    """An ISO moment."""
    return dt.datetime.fromisoformat(text)
