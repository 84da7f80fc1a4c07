"""Trees and street furniture: where copies stand and how large they are; PROJ's frame and arithmetic are the truth."""

import numpy as np
import pyarrow as pa
import pytest
import shapely
import trimesh

from layers import catalogue
from layers.certificate import Certificate
from layers.frame import CityFrame
from layers.heights import Constant
from layers.mesh import Mesh, decode
from layers.mesh_copy import expanded, is_copy, read_copies
from layers.source import FeatureBatch, VectorLayer
from twin.fuse.layer import LayerFuser
from twin.terrain import Terrain, TerrainRaster

CITY, E0, N0 = "EPSG:4549", 598273.711, 3109927.739


def frame():
    return CityFrame(CITY, Constant(11.5), 121.0, 28.1)


@pytest.fixture
def slope(tmp_path):
    import rasterio
    from rasterio.transform import from_origin

    heights = np.tile((3 + 0.02 * np.arange(100) * 10).astype(np.float32), (100, 1))
    with rasterio.open(
        tmp_path / "dem.tif", "w", driver="GTiff", width=100, height=100, count=1, dtype="float32", crs=CITY,
        transform=from_origin(E0 - 500, N0 + 500, 10, 10),
    ) as file:  # fmt: skip
        file.write(heights, 1)
    return Terrain([TerrainRaster(tmp_path / "dem.tif", CITY)], CITY)


def fuse(layer_id, points, ground=None, meshes=None, **columns):
    kind = catalogue.layer_type(layer_id)
    layer = VectorLayer(layer_id, layer_id, CITY, lambda: iter(()), vertical_crs="EPSG:5737")
    fuser = LayerFuser(
        layer, kind, frame=frame(), city_vertical="EPSG:5737",
        terrain=Terrain([], CITY) if ground is None else ground, read=Certificate("file-crs", source_crs=CITY),
    )  # fmt: skip
    table = {name: pa.array(values, kind.attribute(name).arrow_type) for name, values in columns.items()}
    shape = pa.table(table) if table else pa.table({"name": pa.nulls(len(points), pa.string())})
    batch = FeatureBatch(
        [f"t{i}" for i in range(len(points))], np.array(points, object), shape, [None] * len(points), meshes
    )
    return fuser.fuse(batch).rows, fuser


def whole(mesh):
    keys, matrices = read_copies([mesh.blob])
    assert keys == [mesh.shape.key]
    return decode(expanded(mesh.shape.blob, matrices)[0])


def frame_at(x, y, z):
    """Foot, and unit vectors east, north and up there, by differences in the city's frame."""
    foot, east, north, up = frame().to_enu(np.array([[x, y, z], [x + 1, y, z], [x, y + 1, z], [x, y, z + 1]]))
    return foot, east - foot, north - foot, up - foot


def test_trees_stand_on_the_ground_as_high_and_wide_as_they_are(slope):
    points = [shapely.Point(E0 + 10 * i, N0 - 7 * i) for i in range(30)]
    heights, crowns = np.linspace(4, 13, 30), np.linspace(2, 9, 30)
    rows, fuser = fuse("vegetation", points, slope, height_m=heights, crown_m=crowns, species=["香樟"] * 30)
    assert fuser.used_terrain
    assert fuser.issues() == []
    assert len({mesh.shape.key for mesh in rows.meshes}) == 1
    for point, height, crown, mesh in zip(points, heights, crowns, rows.meshes, strict=True):
        ground = float(slope.height(np.array([point.x]), np.array([point.y]))[0])
        foot, _, _, up = frame_at(point.x, point.y, ground)
        vertices = whole(mesh).vertices - foot
        along = vertices @ up
        assert along.min() == pytest.approx(0, abs=1e-3)
        assert along.max() == pytest.approx(height, abs=1e-3)
        across = np.linalg.norm(vertices - np.outer(along, up), axis=1)
        assert across.max() == pytest.approx(crown / 2, abs=1e-3)
        assert np.allclose(mesh.bounds[:3], (vertices + foot).min(axis=0), atol=1e-3)
        assert np.allclose(mesh.bounds[3:], (vertices + foot).max(axis=0), atol=1e-3)
        assert is_copy(mesh.blob)
        assert shapely.equals_exact(point, points[points.index(point)])


def test_matrices_are_translation_rotation_and_scale(slope):
    rng = np.random.default_rng(0)
    points = [shapely.Point(E0 + x, N0 + y) for x, y in rng.uniform(-450, 450, (200, 2))]
    rows, _ = fuse("vegetation", points, slope, height_m=rng.uniform(2, 20, 200), crown_m=rng.uniform(1, 12, 200))
    _, matrices = read_copies([mesh.blob for mesh in rows.meshes])
    scale = np.linalg.norm(matrices[:, :, :3], axis=1)
    rotation = matrices[:, :, :3] / scale[:, None, :]
    assert np.abs(np.einsum("kij,kil->kjl", rotation, rotation) - np.eye(3)).max() < 1e-9
    assert (np.linalg.det(rotation) > 0.999).all()
    for one in rotation[:20]:
        square = np.eye(4)
        square[:3, :3] = one
        _, _, angles, _, _ = trimesh.transformations.decompose_matrix(square)
        assert np.allclose(trimesh.transformations.euler_matrix(*angles)[:3, :3], one, atol=1e-9)
    turns = np.degrees(np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0])) % 360
    assert len(np.unique(turns.round())) > 100, "not all alike"


def test_which_shape_by_the_words():
    species = ["水杉", "雪松", "Pinus massoniana", "香樟", None, "椰树", "小叶黄杨"]
    rows, _ = fuse("vegetation", [shapely.Point(E0, N0, 3)] * 7, species=species)
    keys = [mesh.shape.key for mesh in rows.meshes]
    assert keys[0] == keys[1] == keys[2]
    assert keys[3] == keys[4]
    assert len(set(keys)) == 4
    what = ["路灯", "Litter bin", "1000", None]
    rows, _ = fuse("city_furniture", [shapely.Point(E0, N0, 3)] * 4, function=what)
    keys = [mesh.shape.key for mesh in rows.meshes]
    assert len(set(keys)) == 3
    assert keys[2] == keys[3]


def test_what_is_not_said_is_usual_and_told():
    heights, crowns = [12.0, None, None, 0.0], [None, 3.0, None, None]
    rows, fuser = fuse("vegetation", [shapely.Point(E0, N0, 3)] * 4, height_m=heights, crown_m=crowns)
    sizes = [whole(mesh).vertices for mesh in rows.meshes]
    assert [np.ptp(each[:, 2]) for each in sizes] == pytest.approx([12, 4, 8, 8], abs=0.01)
    assert [np.ptp(each[:, 0]) for each in sizes[:2]] == pytest.approx([9, 3], rel=0.1)
    [issue] = fuser.issues()
    assert (issue.code, issue.severity) == ("SIZE_ESTIMATED", "info")
    assert issue.message.startswith("2 features do not say their height: drawn with 8 m")
    assert not fuser.used_terrain, "they have heights of their own"


def test_a_camera_looks_where_it_looks():
    """The shape's arm points north; azimuths are clockwise from grid north."""
    azimuths = [0.0, 90.0, 215.0]
    rows, _ = fuse("camera", [shapely.Point(E0, N0, 3)] * 3, azimuth_deg=azimuths)
    foot, east, north, _ = frame_at(E0, N0, 3)
    for azimuth, mesh in zip(azimuths, rows.meshes, strict=True):
        vertices = whole(mesh).vertices - foot
        tip = vertices[np.linalg.norm(vertices[:, :2], axis=1).argsort()[-4:]].mean(axis=0)
        seen = np.degrees(np.arctan2(tip @ east, tip @ north))
        assert (seen - azimuth + 180) % 360 - 180 == pytest.approx(0, abs=0.1)


def test_without_ground_and_beside_it(slope):
    rows, fuser = fuse("lamp", [shapely.Point(E0, N0)])
    assert rows.meshes[0].bounds[2] == pytest.approx(frame_at(E0, N0, 0)[0][2], abs=1e-3)
    assert [issue.code for issue in fuser.issues()] == ["NO_TERRAIN", "SIZE_ESTIMATED"]
    rows, fuser = fuse("lamp", [shapely.Point(E0 - 700, N0)], slope)
    assert rows.meshes[0].bounds[2] == pytest.approx(frame_at(E0 - 700, N0, 3)[0][2], abs=0.2)
    assert "GROUND_NEAREST" in [issue.code for issue in fuser.issues()]


def test_models_that_the_source_brings_stay_and_other_geometries_get_none():
    ball = trimesh.creation.icosphere(subdivisions=1, radius=0.4)
    model = Mesh(np.asarray(ball.vertices) + np.array([E0, N0, 5]), np.asarray(ball.faces))
    points = [shapely.Point(E0, N0, 5), shapely.Point(E0 + 5, N0, 5), None, shapely.Point()]
    rows, _ = fuse("city_furniture", points, meshes=[model, None, None, None], function=["bench"] * 4)
    assert [None if mesh is None else is_copy(mesh.blob) for mesh in rows.meshes] == [False, True, None, None]
    assert rows.attributes["top_elev_m"].to_pylist()[0] == pytest.approx(5.4, abs=0.05)
    line = shapely.LineString([(E0, N0), (E0 + 1, N0)])
    rows, _ = fuse("vegetation", [line])
    assert rows.meshes == [None]
