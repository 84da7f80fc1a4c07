"""Buildings without height beside a surface model: measured, marked, and measured again when the surface changes."""

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from rasterio.transform import from_origin

import twin
from server import build

CRS = "EPSG:4549"
WEST, NORTH = 597_000.0, 3_110_000.0


def raster(path, values):
    profile = {"driver": "GTiff", "width": 200, "height": 200, "count": 1, "dtype": "float32", "crs": CRS}
    with rasterio.open(path, "w", transform=from_origin(WEST, NORTH, 1, 1), **profile) as file:
        file.write(values.astype(np.float32), 1)


def surface(roof):
    values = np.full((200, 200), 12.0)
    values[50:70, 40:60] = roof
    return values


@pytest.fixture
def folder(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    raster(source / "dem.tif", np.full((200, 200), 12.0))
    raster(source / "dsm.tif", surface(30.0))
    shapes = [shapely.box(WEST + x, NORTH - 70, WEST + x + 20, NORTH - 50) for x in (40, 100, 140)]
    columns = {"building_id": ["measured", "stated", "unknown"], "height_m": [np.nan, 9.0, np.nan]}
    gpd.GeoDataFrame(columns, geometry=shapes, crs=CRS).to_file(source / "buildings.gpkg")
    (source / "city.toml").write_text(f'name = "here"\ncrs = "{CRS}"\norigin = [121.0, 28.1]\n')
    return source


def rows(target):
    with twin.open(target) as city:
        return city["building"].query()[["height_m", "estimated", "height_source"]].T.to_dict()


def test_a_height_is_measured_in_the_surface_model_and_follows_it(folder, tmp_path):
    result = build.build(folder, tmp_path / "twin")
    assert result.exit_code == 0
    found = rows(tmp_path / "twin")
    assert found["measured"] == {"height_m": 18.0, "estimated": "height_m", "height_source": "dsm p70"}
    assert found["stated"]["height_m"] == 9.0
    assert found["stated"]["height_source"] != "dsm p70"
    assert np.isnan(found["unknown"]["height_m"])
    issues = {issue.code: issue for report in result.reports for issue in report.issues}
    assert "no surface model" in issues["HEIGHT_MISSING"].message

    assert build.build(folder, tmp_path / "twin").reports == []
    raster(folder / "dsm.tif", surface(42.0))
    assert {report.source for report in build.build(folder, tmp_path / "twin").reports} == {"dsm.tif", "buildings.gpkg"}
    assert rows(tmp_path / "twin")["measured"]["height_m"] == 30.0
    (folder / "dsm.tif").unlink()
    build.build(folder, tmp_path / "twin")
    assert np.isnan(rows(tmp_path / "twin")["measured"]["height_m"])


def test_a_height_is_measured_in_a_point_cloud_of_the_same_build(folder, tmp_path):
    import laspy

    (folder / "dsm.tif").unlink()
    draw = np.random.default_rng(1)
    header = laspy.LasHeader(version="1.4", point_format=6)
    header.offsets, header.scales = [WEST, NORTH, 0], [0.01] * 3
    from pyproj import CRS as Crs  # noqa: N811

    header.add_crs(Crs.from_epsg(4549))
    cloud = laspy.LasData(header)
    x, y = draw.uniform(WEST, WEST + 200, 200_000), draw.uniform(NORTH - 200, NORTH, 200_000)
    roof = (x > WEST + 40) & (x < WEST + 60) & (y > NORTH - 70) & (y < NORTH - 50)
    cloud.x, cloud.y, cloud.z = x, y, np.where(roof, 27.5, 12.0)
    cloud.classification = np.where(roof, 6, 2)
    cloud.write(folder / "cloud.laz")
    build.build(folder, tmp_path / "twin")
    found = rows(tmp_path / "twin")["measured"]
    assert found["height_m"] == pytest.approx(15.5, abs=0.011)
    assert found["height_source"] == "points p70"
    assert build.build(folder, tmp_path / "twin").reports == []
