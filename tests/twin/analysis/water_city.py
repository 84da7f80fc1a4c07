"""A small city with given ground and layers, for tests of water."""

import numpy as np
import pyarrow as pa
import rasterio
from affine import Affine

import twin
from layers.catalogue import Attribute, LayerType, Title
from layers.report import Report
from twin import config
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Asset, Rows, SourceRecord

EAST, NORTH = 500_000.0, 3_110_000.0
CRS = "EPSG:4549"
KINDS = {"int64": "integer", "double": "number", "string": "string", "bool": "boolean"}


def make(folder, ground=None, layers=(), *, cell_m=10.0, nodata=-9999.0):
    """A twin in `folder`, opened. `ground`: (rows, columns), NaN without value, north-west corner at EAST, NORTH.

    `layers`: of (id, geometry type, {feature id: (geometry, {attribute: value})}).
    """
    config.save(config.TwinConfig("here", CRS, 120.0, 28.1, height_model={"constant_m": 12.0}), folder)
    store = GeoPackageStore(folder / "city.gpkg", create=True, city_crs=CRS)
    with store.writing() as batch:
        if ground is not None:
            batch.put_asset(raster(folder, "dem", ground, cell_m, nodata))
        for name, kind, features in layers:
            put(batch, name, kind, features)
    store.close()
    return twin.open(folder)


def raster(folder, layer, values, cell_m=10.0, nodata=-9999.0):
    values = np.asarray(values, np.float32)
    rows, columns = values.shape
    (folder / "rasters").mkdir(exist_ok=True)
    path = folder / "rasters" / f"{layer}.tif"
    profile = {"driver": "GTiff", "width": columns, "height": rows, "count": 1, "dtype": "float32", "crs": CRS}
    profile |= {"transform": Affine(cell_m, 0, EAST, 0, -cell_m, NORTH), "nodata": nodata}
    with rasterio.open(path, "w", **profile) as file:
        file.write(np.where(np.isnan(values), nodata, values).astype(np.float32), 1)
    box = (EAST, NORTH - rows * cell_m, EAST + columns * cell_m, NORTH)
    return Asset(layer, layer, "raster", f"rasters/{layer}.tif", CRS, box, box, f"{layer}.tif", height_offset_m=0.0)


def _column(name, values):
    """An Arrow array; one without any value is of text, or of numbers where its name has a unit."""
    if all(each is None for each in values):
        return pa.array(
            values, pa.float64() if name.endswith(("_m", "_m2", "_mm", "value", "population")) else pa.string()
        )
    return pa.array(values)


def put(batch, name, kind, features):
    names = list(dict.fromkeys(key for _, values in features.values() for key in values))
    table = pa.table({key: _column(key, [values.get(key) for _, values in features.values()]) for key in names})
    attributes = tuple(
        Attribute(key, "datetime" if pa.types.is_timestamp(column.type) else KINDS[str(column.type)], Title(key, key))
        for key, column in zip(names, table.columns, strict=True)
    )
    geometry = np.array([None] * len(features), object)
    geometry[:] = [shape for shape, _ in features.values()]
    source = SourceRecord(f"{name}.csv", "", 0, 0, "")
    batch.ensure_layer(LayerType(name, Title(name, name), kind, "base", (2,), attributes))
    batch.begin_source(source)
    batch.put(name, source.path, Rows(list(features), geometry, table, [None] * len(features)))
    batch.finish_source(source, Report(source.path, "x", "", "stored"))
