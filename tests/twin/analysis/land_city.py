"""A small city made of what a test gives: areas in plane metres round its origin, attributes as they come."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import rasterio
import shapely
from affine import Affine

import twin
from layers import catalogue
from layers.catalogue import Attribute, Title
from layers.mesh import Mesh, encode
from layers.report import Report
from server.build import build
from twin import config
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Asset, Rows, SourceRecord

EAST, NORTH = 598_273.0, 3_109_927.0
TOWN = Path(__file__).parents[3] / "sample_data" / "town"


def box(x0, y0, x1, y1):
    """Metres from the origin, in the city's CRS."""
    return shapely.box(EAST + x0, NORTH + y0, EAST + x1, NORTH + y1)


def made(folder, layers, meshes=None, more=()):
    """A city whose layers have rows of (id, geometry, attributes); `meshes` by layer and id, east north height.

    `more` are names of numbers that layers of the catalogue lack.
    """
    config.save(config.TwinConfig("here", "EPSG:4549", 121.0, 28.1, height_model={"constant_m": 12.0}), folder)
    store = GeoPackageStore(folder / "city.gpkg", create=True, city_crs="EPSG:4549")
    types = catalogue.load()
    frame = config.load(folder).frame(folder)
    with store.writing() as batch:
        for layer, rows in layers.items():
            known = {each.name for each in types[layer].attributes}
            extra = tuple(Attribute(name, "number", Title(name, name)) for name in more if name not in known)
            batch.ensure_layer(replace(types[layer], attributes=types[layer].attributes + extra))
            source = SourceRecord(layer, "", 0, 0, "")
            batch.begin_source(source)
            names = list(dict.fromkeys(key for _, _, values in rows for key in values))
            table = pa.table({key: pa.array([values.get(key) for _, _, values in rows]) for key in names})
            if not names:
                table = pa.table({"name": pa.nulls(len(rows), pa.string())})
            shapes = np.array([shape for _, shape, _ in rows], dtype=object)
            given = (meshes or {}).get(layer, {})
            stored = [
                None if name not in given else encode(Mesh(frame.to_enu(given[name][0]), given[name][1]))
                for name, _, _ in rows
            ]
            batch.put(layer, layer, Rows([name for name, _, _ in rows], shapes, table, [None] * len(rows), stored))
            batch.finish_source(source, Report(layer, "x", "", "stored"))
    store.close()
    return twin.open(folder)


def with_raster(city, name, values, *, cell_m=1.0, west=EAST, north=NORTH, layer="dsm"):
    """A raster of (rows, columns) heights, NaN where there is none, as an asset of the city."""
    (city.folder / "rasters").mkdir(exist_ok=True)
    path = f"rasters/{name}.tif"
    rows, columns = values.shape
    profile = {"driver": "GTiff", "dtype": "float64", "count": 1, "nodata": -9999.0, "crs": city.crs}
    shape = {"width": columns, "height": rows, "transform": Affine(cell_m, 0, west, 0, -cell_m, north)}
    with rasterio.open(city.folder / path, "w", **profile, **shape) as made_:
        made_.write(np.where(np.isnan(values), -9999.0, values), 1)
    bounds = (west, north - rows * cell_m, west + columns * cell_m, north)
    with city.store.writing() as batch:
        batch.put_asset(
            Asset(id=name, layer=layer, kind="raster", path=path, crs=city.crs, bounds=bounds, city_bounds=bounds,
                  source=name, height_offset_m=0.0)
        )  # fmt: skip
    return {"collection": layer, "asset": name}


def feature(geometry, name=None, **properties):
    """GeoJSON in the city's CRS."""
    return {"type": "Feature", "id": name, "properties": properties, "geometry": shapely.geometry.mapping(geometry)}


def collection(*features):
    return {"type": "FeatureCollection", "crs": "city", "features": list(features)}


def town(folder, *parts):
    """Some folders of the sample town, built."""
    for part in parts:
        shutil.copytree(TOWN / part, folder / "files" / part)
    shutil.copy(TOWN / "city.toml", folder / "files")
    build(folder / "files", folder / "twin")
    return twin.open(folder / "twin")
