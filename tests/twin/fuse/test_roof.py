"""Roofs from a surface model and from points: flat roofs by construction, quantiles against numpy."""

import laspy
import numpy as np
import pytest
import rasterio
import shapely
from rasterio.transform import from_origin

from ingest.points import las as pointcloud
from layers.errors import InvalidInput
from layers.source import Hints
from twin.fuse import roof as roofs
from twin.fuse.roof import Cloud, RoofSampler, from_cloud, from_surface, quantiles
from twin.terrain import Terrain, TerrainRaster

CITY = "EPSG:4549"
WEST, NORTH = 597_000.0, 3_110_000.0
GROUND = 20.0


def footprint(x, y, w, h, angle=0):
    from shapely import affinity

    return affinity.rotate(shapely.box(WEST + x, NORTH - y - h, WEST + x + w, NORTH - y), angle)


FOOTPRINTS = np.array([footprint(20, 20, 12, 10), footprint(60, 25, 30, 14, 30), footprint(120, 30, 6, 5, 10)], object)
ROOFS = np.array([35.0, 52.5, 24.0])


@pytest.fixture
def dsm(tmp_path):
    cell = 0.5
    column = (np.arange(400) + 0.5) * cell
    x, y = np.meshgrid(WEST + column, NORTH - column)
    surface = np.full(x.shape, GROUND, np.float32)
    for shape, roof in zip(FOOTPRINTS, ROOFS, strict=True):
        surface[shapely.contains_xy(shape, x, y)] = roof
    profile = {"driver": "GTiff", "width": 400, "height": 400, "count": 1, "dtype": "float32", "crs": CITY}
    with rasterio.open(tmp_path / "dsm.tif", "w", transform=from_origin(WEST, NORTH, cell, cell), **profile) as file:
        file.write(surface, 1)
    return Terrain([TerrainRaster(tmp_path / "dsm.tif", CITY)], CITY)


def test_quantiles_of_groups_are_numpys():
    draw = np.random.default_rng(4)
    owner, values = draw.integers(0, 40, 3000), draw.normal(size=3000)
    values[::17] = np.nan
    theirs = [np.nanquantile(values[owner == k], 0.7) for k in range(40)]
    assert quantiles(owner, values, 41)[:40] == pytest.approx(theirs, abs=1e-12)
    assert np.isnan(quantiles(owner, values, 41)[40])
    assert np.isnan(quantiles(np.zeros(3, int), np.arange(3.0), 1, fewest=5)).all()


def test_a_flat_roof_in_a_surface_model_is_met_exactly_whatever_the_ground_beside_it(dsm):
    assert from_surface(FOOTPRINTS, dsm) == pytest.approx(ROOFS, abs=1e-5)


def test_outside_the_surface_model_there_is_no_roof_and_an_empty_footprint_has_none(dsm):
    shapes = np.array([footprint(5000, 0, 10, 10), None, shapely.MultiPolygon(), FOOTPRINTS[0]], object)
    found = RoofSampler(dsm, list, CITY).roofs(shapes)
    assert np.isnan(found.elev_m[:3]).all()
    assert found.elev_m[3] == pytest.approx(35, abs=1e-5)
    assert found.source.tolist() == ["", "", "", "dsm p70"]


def copc(tmp_path, *, classed):
    """20 points a square metre of ground, roofs, a tree crown that hangs over the first roof, and a bird."""
    draw = np.random.default_rng(7)
    x, y = draw.uniform(WEST, WEST + 200, 160_000), draw.uniform(NORTH - 80, NORTH, 160_000)
    z, kind = np.full(len(x), GROUND), np.full(len(x), 2, np.uint8)
    for shape, roof in zip(FOOTPRINTS, ROOFS, strict=True):
        inside = shapely.contains_xy(shape, x, y)
        z[inside], kind[inside] = roof, 6 if classed else 1
    inside = np.flatnonzero(shapely.contains_xy(FOOTPRINTS[0], x, y))
    z[inside[: len(inside) // 5]], kind[inside[: len(inside) // 5]] = 41.0, 5  # high vegetation
    z[inside[-1]], kind[inside[-1]] = 300.0, 18
    header = laspy.LasHeader(version="1.4", point_format=6)
    header.offsets, header.scales = [WEST, NORTH, 0], [0.001] * 3
    cloud = laspy.LasData(header)
    cloud.x, cloud.y, cloud.z, cloud.classification = x, y, z, kind
    cloud.write(tmp_path / "cloud.las")
    [layer] = pointcloud.read(tmp_path / "cloud.las", Hints(crs=CITY)).layers
    layer.write(tmp_path / "cloud.copc.laz")
    return Cloud(tmp_path / "cloud.copc.laz", CITY)


def test_points_of_class_building_are_the_roof(tmp_path):
    assert from_cloud(FOOTPRINTS, copc(tmp_path, classed=True), CITY) == pytest.approx(ROOFS, abs=2e-3)


def test_without_classes_everything_above_the_ground_counts_and_noise_does_not(tmp_path):
    """A fifth of the first roof's points are foliage at 41 m: the 70 % quantile is still the roof."""
    assert from_cloud(FOOTPRINTS, copc(tmp_path, classed=False), CITY) == pytest.approx(ROOFS, abs=2e-3)


def test_a_cloud_in_another_crs_and_height_datum_gives_the_same_roofs(tmp_path):
    from layers.heights import Constant
    from twin.fuse.datum import vertical_step

    cloud = copc(tmp_path, classed=True)
    import pyproj

    turn = pyproj.Transformer.from_crs(CITY, "EPSG:4550", always_xy=True).transform

    def moved(shape):
        return shapely.transform(shape, lambda xy: np.column_stack(turn(xy[:, 0], xy[:, 1])))

    back = pyproj.Transformer.from_crs("EPSG:4550", CITY, always_xy=True).transform
    step = vertical_step(CITY, "EPSG:4979", "EPSG:5737", Constant(13.0))
    shapes = np.array([moved(shape) for shape in FOOTPRINTS], object)
    assert back(*shapes[0].exterior.coords[0][:2])[0] == pytest.approx(FOOTPRINTS[0].exterior.coords[0][0], abs=1e-6)
    found = from_cloud(shapes, Cloud(cloud.path, CITY, step), "EPSG:4550")
    assert found == pytest.approx(ROOFS - 13.0, abs=2e-3)


def test_the_clouds_are_only_asked_for_what_the_surface_model_leaves_open(dsm):
    asked = []

    def clouds():
        asked.append(1)
        return []

    sampler = RoofSampler(dsm, clouds, CITY)
    sampler.roofs(FOOTPRINTS)
    assert asked == []
    sampler.roofs(np.array([footprint(5000, 0, 10, 10)], object))
    assert asked == [1]


def test_a_cloud_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "gone.copc.laz").write_bytes(b"no cloud")
    with pytest.raises(InvalidInput, match=r"gone\.copc\.laz"):
        from_cloud(FOOTPRINTS, Cloud(tmp_path / "gone.copc.laz", CITY), CITY)


def test_under_a_footprint_as_large_as_the_cloud_it_is_read_more_thinly(tmp_path, monkeypatch):
    """Of 160,000 points in the box some thousands are enough for the quantile of a plane."""
    cloud = copc(tmp_path, classed=False)
    monkeypatch.setattr(roofs, "MOST_POINTS", 2000)
    read = []
    query = laspy.CopcReader.query
    monkeypatch.setattr(laspy.CopcReader, "query", lambda *a, **k: read.append(query(*a, **k)) or read[-1])
    found = from_cloud(np.array([FOOTPRINTS[1]], object), cloud, CITY)
    assert found == pytest.approx(ROOFS[1:2], abs=2e-3)
    from_cloud(np.array([footprint(0, 0, 200, 80)], object), cloud, CITY)
    assert len(read[-1]) < 160_000
