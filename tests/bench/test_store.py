"""Rates of the store: put and bbox query, with GDAL (pyogrio) on the same data as peer."""

import geopandas
import numpy as np
import pyarrow as pa
import pyogrio
import pytest
import shapely

from layers.catalogue import Attribute, LayerType, Title
from layers.report import Report
from twin.scope import EVERYTHING
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Query, Rows, SourceRecord

pytestmark = pytest.mark.bench
SIZES = [10_000, 200_000]
COLUMNS = {"name": "string", "height_m": "number", "floors": "integer", "kind": "string"}
LAYER = LayerType(
    "parcel", Title("宗地", "Parcel"), "Polygon", "base", (2,),
    tuple(Attribute(name, kind, Title(name, name)) for name, kind in COLUMNS.items()),
)  # fmt: skip
SOURCE = SourceRecord("p", "", 0, 0, "")


def parcels(n):
    side = int(np.ceil(np.sqrt(n)))
    x, y = 500000 + np.arange(n) % side * 20.0, 3108000 + np.arange(n) // side * 20.0
    table = pa.table({
        "name": [f"parcel {i}" for i in range(n)], "height_m": np.arange(n) / 7, "floors": np.arange(n) % 30,
        "kind": np.take(["a", "b", "c"], np.arange(n) % 3),
    })  # fmt: skip
    return [f"p{i}" for i in range(n)], shapely.box(x, y, x + 15, y + 15), table


def put(path, ids, shapes, table):
    store = GeoPackageStore(path, create=True, city_crs="EPSG:4549")
    with store.writing() as batch:
        batch.ensure_layer(LAYER)
        batch.begin_source(SOURCE)
        for at in range(0, len(ids), 20_000):
            part = slice(at, at + 20_000)
            batch.put("parcel", "p", Rows(ids[part], shapes[part], table.slice(at, 20_000), [None] * len(ids[part])))
        batch.finish_source(SOURCE, Report("p", "x", "", "stored"))
    assert store.count("parcel", Query(), EVERYTHING) == len(ids)
    return store


def peer(path, ids, shapes, table):
    frame = geopandas.GeoDataFrame(table.to_pandas().assign(id=ids), geometry=shapes, crs="EPSG:4549")
    pyogrio.write_dataframe(frame, path, layer="parcel", driver="GPKG")


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("how", [put, peer], ids=["store", "pyogrio"])
def test_put(benchmark, tmp_path, how, n):
    given = parcels(n)
    numbers = iter(range(100))

    def write():
        made = how(tmp_path / f"{next(numbers)}.gpkg", *given)
        if made is not None:
            made.close()

    benchmark.pedantic(write, rounds=2)
    benchmark.extra_info["rows_per_second"] = round(n / benchmark.stats["min"])


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("how", ["store", "pyogrio"])
def test_bbox(benchmark, tmp_path, how, n):
    """A square with a hundredth of the features, geometries and attributes decoded to shapely and Arrow or pandas."""
    path = tmp_path / "city.gpkg"
    store = put(path, *parcels(n))
    edge = np.sqrt(n) * 2 - 1
    box = (501000.0, 3109000.0, 501000.0 + edge, 3109000.0 + edge)

    def ours():
        return sum(len(part) for part in store.query("parcel", Query(region=shapely.box(*box)), EVERYTHING))

    def theirs():
        return len(pyogrio.read_dataframe(path, layer="parcel", bbox=box))

    found = benchmark(ours if how == "store" else theirs)
    assert found == ours() > 0
    benchmark.extra_info["rows_per_second"] = round(found / benchmark.stats["median"])
    store.close()
