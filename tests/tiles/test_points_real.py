"""Point tiles of real files, other programs' COPC among them: as many points as the file has, each at its place."""

from pathlib import Path

import laspy
import numpy as np
import pytest
from scipy.spatial import cKDTree

from layers import crs
from tests.ingest.conftest import realdata_folder
from tests.tiles import point_clouds as clouds
from tiles.points import cloud
from tiles.points.tileset import Choice
from twin.config import TwinConfig
from twin.store.interface import Asset

FOLDER = realdata_folder() / "pointcloud"
# file, the CRS that its coordinates are in (told where the file says none or a wrong one), a CRS for the city
FILES = [
    ("autzen_trim.laz", None, "EPSG:2991"), ("extra_bytes.las", "EPSG:2992", "EPSG:2991"),
    ("epsg_4326.las", None, "EPSG:32615"), ("evlr_1_4.laz", None, "EPSG:2903"),
    ("test1_4_pf6.las", None, "EPSG:2903"),
]  # fmt: skip
OTHERS = [("color_1_2.copc.laz", "EPSG:2991"), ("lone_star.copc.laz", "EPSG:32612")]


def config(city_crs, bounds, source_crs):
    west, south, *_ = crs.transform_bounds(source_crs, crs.WGS84, bounds)
    return TwinConfig("real", city_crs, west, south, height_model={"constant_m": clouds.UNDULATION_M})


def path_of(name) -> Path:
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"{name} is not in the realdata folder: set CITYTWIN_REALDATA")
    return path


def compare(city, made, las, source_crs, form, bound_m):
    tiles, transform = clouds.walk(city, made, Choice(form))
    shown = clouds.ecef(tiles, transform)
    true = clouds.expected_ecef(np.stack([las.x, las.y, las.z], axis=1), source_crs, via=city.config.crs)
    assert len(shown) == len(true)
    for a, b in ((shown, true), (true, shown)):
        assert cKDTree(a).query(b[:: 1 + len(b) // 20_000])[0].max() <= bound_m
    for attribute, name in (("_INTENSITY", "intensity"), ("_CLASSIFICATION", "classification")):
        np.testing.assert_array_equal(np.sort(clouds.joined(tiles, attribute)), np.sort(np.asarray(las[name])))
    return tiles


@pytest.mark.parametrize("form", ["compact", "compat"])
@pytest.mark.parametrize(("name", "told", "city_crs"), FILES, ids=[row[0] for row in FILES])
def test_a_real_file_as_the_build_stores_it(tmp_path, name, told, city_crs, form):
    las = laspy.read(path_of(name))
    bounds = (las.header.x_min, las.header.y_min, las.header.x_max, las.header.y_max)
    stated = told or crs.horizontal(las.header.parse_crs().to_wkt())
    more = {} if told is None else {"crs": told}
    city, made = clouds.opened(
        tmp_path, path_of(name), config=config(city_crs, bounds, stated), vertical_offset_m=0.0, **more
    )  # fmt: skip
    # three axes of half a step each
    tiles = compare(city, made, las, made.asset.crs, form, 0.0045 if form == "compact" else 0.001)
    if "red" in las.point_format.dimension_names and np.asarray(las.red).any():
        assert len(np.unique(clouds.joined(tiles, "COLOR_0"), axis=0)) > 1


@pytest.mark.parametrize(("name", "source_crs"), OTHERS, ids=[row[0] for row in OTHERS])
def test_a_copc_file_of_another_program(tmp_path, name, source_crs):
    las = laspy.read(path_of(name))
    bounds = (las.header.x_min, las.header.y_min, las.header.x_max, las.header.y_max)
    (tmp_path / "cloud.copc.laz").write_bytes(path_of(name).read_bytes())
    city = clouds.PointCity(tmp_path, config(source_crs, bounds, source_crs))
    asset = Asset(
        "cloud", "point_cloud", "points", "cloud.copc.laz", source_crs, bounds, bounds, name, height_offset_m=0.0
    )  # fmt: skip
    compare(city, cloud.opened(city, asset), las, source_crs, "compact", 0.0045)
