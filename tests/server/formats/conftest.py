"""A city of odd things: mixed kinds and heights, numbers beyond 2^53, formulas, holes, voids, open models."""

import warnings

import numpy as np
import pytest
import shapely
import trimesh
from starlette.testclient import TestClient

import twin
from layers import mesh
from layers.catalogue import LayerType, Title
from server.app import create_app
from server.settings import Settings
from tests.server.conftest import ORIGIN, attribute, put, rows
from twin import config as twin_config
from twin.store.geopackage import GeoPackageStore

EAST, NORTH = ORIGIN
PLOT = LayerType(
    "plot", Title("地块", "Plots"), "Polygon", "plan", (1,),
    (attribute("name"), attribute("ID"), attribute("big", "integer"), attribute("area", "number"),
     attribute("public", "boolean"), attribute("since", "date"), attribute("seen", "datetime")),
)  # fmt: skip
SPOT = LayerType("spot", Title("点", "Spots"), "Point", "public", (1,), (attribute("name"),))
HOUSE = LayerType(
    "building", Title("建筑物", "Buildings"), "MultiPolygon", "base", (4,),
    (attribute("name"), attribute("lod"), attribute("object_type")), solid="extrude",
)  # fmt: skip
BIM = LayerType(
    "bim_element", Title("构件", "Elements"), "MultiPolygon", "project", (6,),
    (attribute("name"), attribute("model")), solid="given",
)  # fmt: skip
NOTE = LayerType("note", Title("记录", "Notes"), "none", "public", (1,), (attribute("text"),))

TEXTS = ["=1+1", 'a,"b"\r\nc\nd', None, "-1.5", "@x", "楼", "+86 577", ""]
N_PLOTS = len(TEXTS)


def plots():
    """Squares, one with a hole, one of two parts, one missing, one empty; some have heights."""
    shapes = [shapely.box(EAST + 50 * i, NORTH, EAST + 50 * i + 20 + i, NORTH + 30) for i in range(N_PLOTS)]
    shapes[1] = shapely.MultiPolygon([shapes[1], shapely.box(EAST, NORTH + 100, EAST + 5, NORTH + 105)])
    shapes[2] = shapes[2].difference(shapely.box(EAST + 105, NORTH + 5, EAST + 110, NORTH + 10))
    shapes[3] = shapely.force_3d(shapes[3], 7.25)
    shapes[4] = None
    return shapes


def solid(name):
    """Closed and open models by name, in metres about zero, with what they enclose."""
    box = trimesh.creation.box
    if name == "house":  # a wall with a window: a box with a shaft through it
        return box((12, 8, 6)).difference(box((2, 9, 2)))
    if name == "hollow":
        outer, inner = box((10, 10, 10)), box((4, 4, 4))
        inner.invert()
        return trimesh.util.concatenate([outer, inner])
    if name == "twins":
        return trimesh.util.concatenate(
            [box((4, 4, 4)), box((3, 3, 3), trimesh.transformations.translation_matrix((9, 0, 0)))]
        )
    if name == "open":
        whole = box((5, 5, 5))
        return trimesh.Trimesh(whole.vertices, whole.faces[2:], process=False)
    return trimesh.creation.cylinder(1.5, 6.0, sections=24)


MODELS = ["house", "hollow", "twins", "open", "tower", None]


def stored(city_frame, name, row):
    """The model of a row at its place in the city, turned by an odd angle; vertices in the city's CRS, and the mesh."""
    shape = solid(name)
    shape.apply_transform(trimesh.transformations.rotation_matrix(0.3 + row, (0, 0, 1)))
    placed = np.asarray(shape.vertices) + np.array([EAST + 40.0 * row, NORTH + 300.0, 20.0])
    faces = np.asarray(shape.faces)
    return placed, faces, mesh.encode(mesh.Mesh(city_frame.to_enu(placed), faces))


@pytest.fixture(scope="session")
def odd_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd")
    settings = twin_config.TwinConfig("odd", "EPSG:4549", 121.0, 28.1, 0.0, title={"zh": "怪城", "en": "Odd"})
    twin_config.save(settings, folder)
    store = GeoPackageStore(folder / "city.gpkg", create=True, city_crs="EPSG:4549")
    frame = settings.frame(folder)
    days = np.datetime64("1969-12-30") + np.arange(N_PLOTS)
    seen = np.datetime64("2026-02-03T04:05:06.789012") + np.arange(N_PLOTS)
    columns = {
        "name": TEXTS, "ID": [str(i) for i in range(N_PLOTS)], "big": [2**53 + 1 + i for i in range(N_PLOTS)],
        "area": [0.1 * i if i else None for i in range(N_PLOTS)],
        "public": [True, False, None] + [True] * (N_PLOTS - 3),
        "since": days.tolist(), "seen": [*seen[:-1].tolist(), None],
    }  # fmt: skip
    ids = [f"p{i}" for i in range(N_PLOTS)]
    put(store, "a.gpkg", PLOT, rows(ids, plots(), columns, PLOT.arrow_schema(), extra=['{"k": [1]}'] + [None] * 7))
    points = [shapely.Point(EAST + i, NORTH + 2 * i, 3.5 * i) for i in range(4)]
    put(store, "b.gpkg", SPOT, rows(list("abcd"), points, {"name": list("wxyz")}, SPOT.arrow_schema()))
    meshes = [None if name is None else stored(frame, name, row)[2] for row, name in enumerate(MODELS)]
    boxes = [shapely.box(EAST + 40 * i, NORTH + 300, EAST + 40 * i + 9, NORTH + 309) for i in range(len(MODELS))]
    values = {"name": MODELS, "lod": ["2.2", None, "4", None, None, None],
              "object_type": [None, None, "Building", None, "BuildingPart", None]}  # fmt: skip
    house_ids = [f"h{i}" for i in range(len(MODELS))]
    put(store, "c.gpkg", HOUSE, rows(house_ids, boxes, values, HOUSE.arrow_schema(), meshes=meshes))
    values = {"name": MODELS[:3], "model": ["a.ifc", "b.ifc", "a.ifc"]}
    put(store, "d.gpkg", BIM, rows(list("uvw"), boxes[:3], values, BIM.arrow_schema(), meshes=meshes[:3]))
    put(store, "e.csv", NOTE, rows(["n1", "n2"], [None, None], {"text": ["x", None]}, NOTE.arrow_schema()))
    store.close()
    return folder


@pytest.fixture(scope="session")
def odd_city(odd_folder):
    with twin.open(odd_folder) as opened:
        yield opened


@pytest.fixture(scope="session")
def odd_client(odd_city):
    with TestClient(create_app(odd_city, Settings(access_log=False, warm_up=False)), base_url="http://odd.test") as one:
        yield one


@pytest.fixture(scope="session")
def odd(odd_client):
    """The answer to a path, its status checked."""

    def odd(path, status=200, **options):
        response = odd_client.get(path, **options)
        assert response.status_code == status, response.text[:500]
        return response

    return odd


@pytest.fixture(scope="session")
def placed(odd_city):
    """Id -> name, (n, 3) vertices in the city's CRS, triangles, as they were before they were stored."""
    frame = odd_city.frame
    return {f"h{i}": (name, *stored(frame, name, i)[:2]) for i, name in enumerate(MODELS) if name}


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import geopandas  # noqa: F401 -- says that it is slow without some library while it is imported
