"""The big city: the number asked for, valid and apart, on its terrain, the same bytes again, in bounded memory."""

import hashlib
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely

from sample_data.maker import bigcity

N = 3000


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("big")
    bigcity.write(out, N, seed=0)
    return out


def test_it_has_as_many_buildings_as_asked(city: Path):
    assert pyogrio.read_info(city / "vector" / "buildings.gpkg", force_feature_count=True)["features"] == N
    table = pyogrio.read_dataframe(city / "vector" / "buildings.gpkg")
    assert table["建筑编号"].is_unique
    assert table.crs.to_epsg() == 4549


def test_footprints_are_valid_varied_and_apart(city: Path):
    shapes = pyogrio.read_dataframe(city / "vector" / "buildings.gpkg").geometry.to_numpy()
    assert shapely.is_valid(shapes).all()
    left, right = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    assert (left == right).all()
    assert {4, 6, 8, 32} <= set(shapely.get_num_coordinates(shapely.get_exterior_ring(shapes)) - 1)
    assert shapely.get_num_interior_rings(shapes).sum() > 50


def test_density_is_about_4000_a_km2(city: Path):
    shapes = pyogrio.read_dataframe(city / "vector" / "buildings.gpkg").geometry.to_numpy()
    hull = shapely.MultiPoint(shapely.centroid(shapes)).minimum_rotated_rectangle
    assert N / (hull.area / 1e6) == pytest.approx(4000, rel=0.25)


def test_bases_and_mains_follow_the_terrain(city: Path):
    table = pyogrio.read_dataframe(city / "vector" / "buildings.gpkg")
    mains = pyogrio.read_dataframe(city / "pipes" / "pipe_water.gpkg")
    with rasterio.open(city / "terrain" / "dem.tif") as dem:
        spots = table.geometry.centroid
        heights = np.array([v[0] for v in dem.sample(zip(spots.x, spots.y, strict=True))])
        assert np.abs(heights - table["基底高程"]).max() < 0.5
        starts = np.array([g.coords[0] for g in mains.geometry])
        ground = np.array([v[0] for v in dem.sample(starts[:, :2])])
        assert np.abs(ground - starts[:, 2] - 2.3).max() < 0.5
    assert np.allclose(starts[:, 2], mains["起点高程"])


def test_the_same_seed_gives_the_same_bytes(city: Path, tmp_path: Path):
    bigcity.write(tmp_path, N, seed=0)
    for path in sorted(p for p in city.rglob("*") if p.is_file()):
        again = tmp_path / path.relative_to(city)
        assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(again.read_bytes()).digest(), path.name


def test_no_buildings_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="must be positive"):
        bigcity.write(tmp_path, 0)
