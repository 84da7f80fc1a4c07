"""`drape = true` in city.toml: areas of that source get surfaces on the ground, and follow it when it changes."""

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from rasterio.transform import from_origin

import twin
from layers.errors import InvalidInput
from layers.mesh import decode
from server import build
from tiles.tileset import Tileset

CRS = "EPSG:4549"
WEST, NORTH = 597_000.0, 3_110_000.0


def ground(path, height_m):
    profile = {"driver": "GTiff", "width": 200, "height": 200, "count": 1, "dtype": "float32", "crs": CRS}
    with rasterio.open(path, "w", transform=from_origin(WEST, NORTH, 1, 1), **profile) as file:
        file.write(np.full((200, 200), height_m, np.float32), 1)


@pytest.fixture
def folder(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    ground(source / "dem.tif", 12.0)
    shapes = [shapely.box(WEST + x, NORTH - 70, WEST + x + 30, NORTH - 50) for x in (40, 100)]
    frame = gpd.GeoDataFrame({"dlbm": ["0101", "0702"]}, geometry=shapes, crs=CRS)
    for name in ("draped", "flat"):
        frame.to_file(source / f"{name}.gpkg", layer=name)
    (source / "city.toml").write_text(
        f'name = "here"\ncrs = "{CRS}"\norigin = [121.0, 28.1]\nheight_model = {{constant_m = 0.0}}\n'
        '[[source]]\npath = "draped.gpkg"\nlayer = "land_survey"\ndrape = true\n'
        '[[source]]\npath = "flat.gpkg"\nlayer = "land_use"\n'
    )
    return source


def heights(target):
    with twin.open(target) as city:
        table = city.store.mesh_table("land_survey", city.scope)
        blobs = city.store.mesh_blobs("land_survey", table.fids, city.scope).blobs
        return [decode(blob).vertices[:, 2] for blob in blobs]


def test_areas_are_laid_over_the_ground_where_that_is_asked_for(folder, tmp_path):
    assert build.build(folder, tmp_path / "twin").exit_code == 0
    with twin.open(tmp_path / "twin") as city:
        counts = {info.id: info.mesh_count for info in city.layers}
        assert (counts["land_survey"], counts["land_use"]) == (2, 0)
        assert Tileset(city, "land_survey", city.scope).resource("compat", "content/0/0/0.glb").make()[:4] == b"glTF"
    # the frame's origin is some kilometres away: its tangent plane lies above the ellipsoid there
    assert np.concatenate(heights(tmp_path / "twin")) == pytest.approx(12.3, abs=2.0)


def test_they_follow_the_ground(folder, tmp_path):
    build.build(folder, tmp_path / "twin")
    before = heights(tmp_path / "twin")
    ground(folder / "dem.tif", 15.0)
    build.build(folder, tmp_path / "twin")
    for one, two in zip(before, heights(tmp_path / "twin"), strict=True):
        assert two - one == pytest.approx(3.0, abs=1e-3)


def test_anything_but_yes_or_no_is_refused(folder, tmp_path):
    toml = folder / "city.toml"
    toml.write_text(toml.read_text().replace("drape = true", 'drape = "yes"'))
    with pytest.raises(InvalidInput, match="drape"):
        build.build(folder, tmp_path / "twin")
