"""A small city for indicators: towns side by side, and layers that a test names, of the catalogue or of its own."""

import numpy as np
import pyarrow as pa
import shapely

import twin
from layers import catalogue
from layers.report import Report
from twin import config
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Rows, SourceRecord

EAST, NORTH = 598_000.0, 3_109_000.0


def box(x0, y0, x1, y1):
    return shapely.box(EAST + x0, NORTH + y0, EAST + x1, NORTH + y1)


def point(x, y):
    return shapely.Point(EAST + x, NORTH + y)


def line(*xy):
    return shapely.LineString([(EAST + x, NORTH + y) for x, y in xy])


def towns(width=1000, height=2000, n=2, population=(100, 300)):
    """A county of n towns side by side, from west to east."""
    rows = [("999901", box(0, 0, n * width, height), {"xzqdm": "999901", "name": "市", "population": sum(population)})]
    for i in range(n):
        code = f"99990100{i + 1}"
        attributes = {"xzqdm": code, "name": f"镇{i + 1}", "population": population[i]}
        rows.append((code, box(i * width, 0, (i + 1) * width, height), attributes))
    return rows


def made(folder, layers):
    """A city whose layers have rows of (id, geometry or None, attributes)."""
    folder.mkdir(parents=True, exist_ok=True)
    config.save(config.TwinConfig("here", "EPSG:4549", 121.0, 28.1, height_model={"constant_m": 12.0}), folder)
    store = GeoPackageStore(folder / "city.gpkg", create=True, city_crs="EPSG:4549")
    with store.writing() as batch:
        for layer, rows in layers.items():
            put(batch, layer, rows)
    store.close()
    return twin.open(folder)


def put(batch, layer, rows):
    names = list(dict.fromkeys(key for _, _, values in rows for key in values)) or ["name"]
    table = pa.table({key: pa.array([values.get(key) for _, _, values in rows]) for key in names})
    kind = catalogue.load().get(layer)
    if kind is None:
        shape = next((each.geom_type for _, each, _ in rows if each is not None), "none")
        kind = catalogue.from_fields(layer, layer, shape, {key: table.schema.field(key).type for key in names})
    batch.ensure_layer(kind)
    source = SourceRecord(layer, "", 0, 0, "")
    batch.begin_source(source)
    shapes = np.array([shape for _, shape, _ in rows] + [None], dtype=object)[:-1]
    batch.put(layer, layer, Rows([name for name, _, _ in rows], shapes, table, [None] * len(rows)))
    batch.finish_source(source, Report(layer, "x", "", "stored"))


def collection(*rows):
    """GeoJSON in the city's CRS of (id, geometry, attributes)."""
    features = [
        {"type": "Feature", "id": name, "properties": values,
         "geometry": None if shape is None else shapely.geometry.mapping(shape)}
        for name, shape, values in rows
    ]  # fmt: skip
    return {"type": "FeatureCollection", "crs": "city", "features": features}
