"""A tiny city made through the store's interface: 37 buildings with meshes, 5 pipes, 3 wells, a table, a late layer."""

import warnings
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pytest
import shapely
from starlette.testclient import TestClient

import twin
from layers import mesh
from layers.catalogue import Attribute, LayerType, Title
from layers.report import Report
from server.app import create_app
from server.settings import Settings
from twin import config as twin_config
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Rows, SourceRecord

with warnings.catch_warnings():
    # pygeoapi defines its models in pydantic's old style and says so while it is imported
    warnings.simplefilter("ignore", DeprecationWarning)
    from pygeoapi.api import all_apis

    all_apis()

ORIGIN = (598_000.0, 3_110_000.0)  # EPSG:4549, near 121.0 E 28.1 N


def attribute(name, kind="string", **more):
    return Attribute(name, kind, Title(f"{name}（中文）", f"{name} in English"), **more)


BUILDING = LayerType(
    "building", Title("建筑物", "Buildings"), "MultiPolygon", "base", (4,),
    (attribute("name"), attribute("height_m", "number", unit="m", minimum=0), attribute("floors", "integer"),
     attribute("heated", "boolean"), attribute("built", "date")),
    style={"color": "#c08040"},
)  # fmt: skip
PIPE = LayerType(
    "pipe_water", Title("给水管", "Water pipes"), "LineStringZ", "base", (5,), (attribute("dn_mm", "integer"),)
)
WELL = LayerType("well", Title("井", "Wells"), "Point", "base", (5,), (attribute("name"),))
METER = LayerType(
    "meter_record", Title("抄表记录", "Meter records"), "none", "iot", (5,), (attribute("value", "number"),)
)
LATE = LayerType("late_layer", Title("后来的图层", "Added later"), "Point", "public", (1,), (attribute("name"),))


def building_outlines(count=37):
    """Boxes on a diagonal grid, different in size, so that every box query has its own answer."""
    east = ORIGIN[0] + 60.0 * (np.arange(count) % 7)
    north = ORIGIN[1] + 45.0 * (np.arange(count) // 7)
    return shapely.multipolygons(
        [[shapely.box(e, n, e + 10 + i, n + 12 + i % 5)] for i, (e, n) in enumerate(zip(east, north, strict=True))]
    )


def cube(centre, size):
    from trimesh.creation import box

    solid = box((size, size, size))
    return mesh.encode(mesh.Mesh(np.asarray(solid.vertices) + centre, np.asarray(solid.faces)))


def rows(ids, geometry, columns, schema, *, meshes=None, extra=None):
    table = pa.table([pa.array(values, schema.field(name).type) for name, values in columns.items()], schema=schema)
    return Rows(ids, np.asarray(geometry, object), table, extra or [None] * len(ids), meshes)


def put(store, source, layer_type, content):
    record = SourceRecord(source, "0" * 64, 1, 1, "{}")
    with store.writing() as batch:
        batch.begin_source(record)
        batch.ensure_layer(layer_type)
        batch.put(layer_type.id, source, content)
        batch.finish_source(record, Report(source, "test", "0" * 64, "stored"))


def fill(store):
    outlines = building_outlines()
    n = len(outlines)
    columns = {
        "name": [f"楼 {i}" if i % 5 else None for i in range(n)],
        "height_m": [3.0 * (i % 11) + 0.5 for i in range(n)],
        "floors": [i % 11 for i in range(n)],
        "heated": [i % 2 == 0 for i in range(n)],
        "built": [None if i % 3 else np.datetime64("2020-01-01") + np.timedelta64(i, "D") for i in range(n)],
    }
    columns["built"] = [None if v is None else v.item() for v in columns["built"]]
    meshes = [cube(np.array([20.0 * i, 5.0, 3.0]), 6.0) if i % 4 else None for i in range(n)]
    extra = ['{"备注": "old"}' if i == 3 else None for i in range(n)]
    ids = [f"b{i:02d}" for i in range(n)]
    ids[7] = "楼/7 a&b"  # ids are public and may hold anything
    put(store, "a.gpkg", BUILDING, rows(ids, outlines, columns, BUILDING.arrow_schema(), meshes=meshes, extra=extra))
    lines = [
        shapely.LineString([(ORIGIN[0] + 5 * i, ORIGIN[1], 2.5), (ORIGIN[0] + 90, ORIGIN[1] + 9 * i, -1.25)])
        for i in range(5)
    ]
    put(
        store,
        "b.gpkg",
        PIPE,
        rows([f"p{i}" for i in range(5)], lines, {"dn_mm": [100, 200, 300, 300, 400]}, PIPE.arrow_schema()),
    )
    points = [shapely.Point(ORIGIN[0] + 7 * i, ORIGIN[1] - 3 * i) for i in range(3)]
    put(
        store, "c.gpkg", WELL, rows(["w0", "w1", "w2"], points, {"name": ["<b>井</b>", "B", None]}, WELL.arrow_schema())
    )
    put(store, "d.csv", METER, rows(["m0", "m1"], [None, None], {"value": [1.5, None]}, METER.arrow_schema()))


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    settings = twin_config.TwinConfig("tiny", "EPSG:4549", 121.0, 28.1, 0.0, title={"zh": "小城", "en": "Tiny"})
    twin_config.save(settings, folder)
    store = GeoPackageStore(folder / "city.gpkg", create=True, city_crs="EPSG:4549")
    fill(store)
    store.close()
    return folder


@pytest.fixture(scope="session")
def outlines():
    """Public id -> footprint in EPSG:4549, east first, as it was put."""
    ids = [f"b{i:02d}" if i != 7 else "楼/7 a&b" for i in range(37)]
    return dict(zip(ids, building_outlines(), strict=True))


@pytest.fixture(scope="session")
def city(folder):
    with twin.open(folder) as opened:
        yield opened


@pytest.fixture(scope="session")
def client(city):
    with TestClient(
        create_app(city, Settings(access_log=False, warm_up=False)), base_url="http://city.test"
    ) as session:
        yield session


OWS = ("/wms", "/wmts", "/wfs")
"""Their errors are XML, as their own standards say."""


@pytest.fixture(scope="module")
def get(client):
    """Asks the module's client for a path and looks at the status; an error must be a problem document."""

    def get(path, status=200, **options) -> httpx.Response:
        response = client.get(path, **options)
        assert response.status_code == status, f"{response.status_code} {response.text[:500]}"
        if status >= 400 and not path.startswith(OWS):
            assert response.headers["content-type"] == "application/problem+json"
        return response

    return get
