"""Small layers and rows for the store's tests, handed out by the fixture `make`."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from layers.catalogue import Attribute, LayerType, Title
from layers.mesh import StoredMesh
from layers.report import Report
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Rows, SourceRecord

CITY_CRS = "EPSG:4549"
COLUMNS = {
    "name": "string",
    "height_m": "number",
    "floors": "integer",
    "ok": "boolean",
    "built": "date",
    "seen_at": "datetime",
}


def layer_type(layer_id: str = "house", geometry: str = "Polygon", columns: dict[str, str] | None = None) -> LayerType:
    attributes = tuple(Attribute(name, kind, Title(f"{name} 名", name)) for name, kind in (columns or COLUMNS).items())
    return LayerType(layer_id, Title("房子", "House"), geometry, "base", (2, 3), attributes, tokens=("house",))


def source(path: str = "a.gpkg", sha256: str = "0") -> SourceRecord:
    return SourceRecord(path, sha256, 10, 20, "{}")


def report(path: str = "a.gpkg") -> Report:
    return Report(path, "GPKG", "0", "stored")


def rows(
    ids: Sequence[str],
    geometry: Sequence[Any],
    extra: Sequence[str | None] | None = None,
    meshes: Sequence[StoredMesh | None] | None = None,
    **columns: Sequence[Any],
) -> Rows:
    shapes = np.empty(len(ids), dtype=object)
    shapes[:] = list(geometry)
    schema = layer_type().arrow_schema()
    arrays = {name: pa.array(values, schema.field(name).type) for name, values in columns.items()}
    table = pa.table(arrays) if arrays else pa.table({"name": pa.nulls(len(ids), pa.string())})
    return Rows(list(ids), shapes, table, list(extra or [None] * len(ids)), meshes)


def stored(store: Any, layer: LayerType, given: Rows, path: str = "a.gpkg") -> tuple[list[str], dict[str, int]]:
    """One reading of one source; outcomes and what was closed."""
    with store.writing() as batch:
        batch.ensure_layer(layer)
        batch.begin_source(source(path))
        outcome = batch.put(layer.id, path, given).outcome.tolist()
        closed = batch.finish_source(source(path), report(path))
    return outcome, closed


@pytest.fixture(scope="session")
def make():
    return SimpleNamespace(layer_type=layer_type, source=source, report=report, rows=rows, stored=stored)


@pytest.fixture
def store(tmp_path):
    made = GeoPackageStore(tmp_path / "city.gpkg", create=True, city_crs=CITY_CRS)
    yield made
    made.close()
