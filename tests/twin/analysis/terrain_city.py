"""A small city on a given ground, for tests of what is asked of heights."""

from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import rasterio
from affine import Affine

import twin
from layers import catalogue
from layers.catalogue import Attribute, LayerType, Title
from layers.report import Report
from twin import config
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Asset, Rows, SourceRecord

CITY = "EPSG:4549"
WEST, NORTH = 500000.0, 3108000.0


def raster(path, z, dx, dy=None, *, west=WEST, north=NORTH, crs=CITY, nodata=float("nan"), dtype="float64"):
    """A GeoTIFF of heights."""
    z = np.asarray(z, dtype)
    profile = {"driver": "GTiff", "width": z.shape[1], "height": z.shape[0], "count": 1, "dtype": dtype, "crs": crs}
    with rasterio.open(
        path, "w", transform=Affine(dx, 0, west, 0, -(dy or dx), north), nodata=nodata, **profile
    ) as out:
        out.write(z, 1)
        return tuple(out.bounds)


@contextmanager
def city_on(folder, *grounds, buildings=(), areas=(), layer="dem"):
    """A city whose terrain is rasters: each (z, dx) or keywords of `raster`; buildings (id, shape, base, height).

    `areas`: layer of the catalogue, id, shape.
    """
    folder.mkdir(exist_ok=True, parents=True)
    config.save(config.TwinConfig("here", CITY, 121.0, 28.1, height_model={"constant_m": 12.0}), folder)
    store = GeoPackageStore(folder / "city.gpkg", create=True, city_crs=CITY)
    (folder / "rasters").mkdir(exist_ok=True)
    with store.writing() as batch:
        for i, ground in enumerate(grounds):
            given = dict(ground) if isinstance(ground, dict) else {"z": ground[0], "dx": ground[1]}
            path = f"rasters/{layer}{i}.tif"
            bounds = raster(folder / path, **given)
            crs = given.get("crs", CITY)
            box = twin_box(crs, bounds)
            batch.put_asset(Asset(f"{layer}{i}", layer, "raster", path, crs, bounds, box, f"{i}.tif"))
        if len(buildings):
            _put(batch, buildings)
        for name in dict.fromkeys(each[0] for each in areas):
            _put_areas(batch, name, [each[1:] for each in areas if each[0] == name])
    store.close()
    with twin.open(folder) as opened:
        yield opened


def twin_box(crs, bounds):
    from layers import crs as crs_module

    return crs_module.transform_bounds(crs, CITY, bounds)


def _put(batch, buildings):
    names = ("base_elev_m", "height_m")
    kind = LayerType("building", Title("建筑", "Buildings"), "MultiPolygon", "base", (3,),
                     tuple(Attribute(each, "number", Title(each, each)) for each in names))  # fmt: skip
    source = SourceRecord("b", "", 0, 0, "")
    batch.ensure_layer(kind)
    batch.begin_source(source)
    ids, shapes, base, height = zip(*buildings, strict=True)
    table = pa.table({"base_elev_m": pa.array(base, pa.float64()), "height_m": pa.array(height, pa.float64())})
    batch.put("building", "b", Rows(list(ids), np.array(shapes, object), table, [None] * len(ids)))
    batch.finish_source(source, Report("b", "x", "", "stored"))


def _put_areas(batch, name, rows):
    source = SourceRecord(name, "", 0, 0, "")
    batch.ensure_layer(catalogue.layer_type(name))
    batch.begin_source(source)
    table = pa.table({"name": pa.array([each[0] for each in rows])})
    shapes = np.array([each[1] for each in rows], object)
    batch.put(name, name, Rows([each[0] for each in rows], shapes, table, [None] * len(rows)))
    batch.finish_source(source, Report(name, "x", "", "stored"))
