"""A small city of files: a sloping ground, buildings with and without heights, pipes stated in every way, valves."""

import shutil
from types import SimpleNamespace

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from rasterio.transform import from_origin

import twin
from server import build

CRS = "EPSG:4549"
E0, N0 = 598_000.0, 3_110_000.0


def square(i, size=10.0, at=(0.0, 0.0)):
    east, north = E0 + 20.0 * (i % 10) + at[0], N0 + 20.0 * (i // 10) + at[1]
    return shapely.box(east, north, east + size, north + size)


def buildings():
    """Six: height stated, from storeys, with a surveyed base, neither, a measured use, one more."""
    rows = [
        {"building_code": "B-0", "height_m": 12.0, "floors": 4, "name": "甲"},
        {"building_code": "B-1", "floors": 3, "name": "乙"},
        {"building_code": "B-2", "height_m": 30.0, "base_elev_m": 6.5, "name": "丙"},
        {"building_code": "B-3", "name": "丁"},
        {"building_code": "B-4", "height_m": 9.0, "use": "school", "note": "kept as it is"},
        {"building_code": "B-5", "height_m": 21.0, "floors": 7},
    ]
    return geopandas.GeoDataFrame(rows, geometry=[square(i) for i in range(len(rows))], crs=CRS)


def pipes():
    """Four: both elevations, depths under the ground, z of the line, and one without a size."""
    ends = [((0, 200), (80, 200)), ((0, 220), (80, 220)), ((0, 240), (80, 240)), ((0, 260), (80, 260))]
    lines = [shapely.LineString([(E0 + x, N0 + y) for x, y in pair]) for pair in ends]
    lines[2] = shapely.force_3d(lines[2], 1.25)
    rows = [
        {"pipe_code": "P-0", "dn_mm": 300.0, "z_ref": "crown", "start_elev_m": 2.0, "end_elev_m": 1.5},
        {"pipe_code": "P-1", "dn_mm": 200.0, "z_ref": "crown", "start_depth_m": 1.2, "end_depth_m": 1.4},
        {"pipe_code": "P-2", "od_mm": 500.0, "wall_mm": 10.0, "z_ref": "invert"},
        {"pipe_code": "P-3", "z_ref": "centre", "start_elev_m": 2.0, "end_elev_m": 1.5},
    ]
    return geopandas.GeoDataFrame(rows, geometry=lines, crs=CRS)


def valves():
    places = [shapely.Point(E0 + 40, N0 + 200.2, 3.0), shapely.Point(E0 + 40, N0 + 220.1, 3.0)]
    return geopandas.GeoDataFrame({"device_code": ["V-0", "V-1"]}, geometry=places, crs=CRS)


def write_ground(folder):
    """5 m cells, rising 2 cm a metre to the east."""
    east = np.arange(80) * 5.0
    heights = np.tile((4 + 0.02 * east).astype(np.float32), (80, 1))
    with rasterio.open(
        folder / "dem.tif", "w", driver="GTiff", width=80, height=80, count=1, dtype="float32", crs=CRS,
        transform=from_origin(E0 - 50, N0 + 350, 5, 5),
    ) as file:  # fmt: skip
        file.write(heights, 1)


def write(folder, **tables):
    folder.mkdir(exist_ok=True)
    if not (folder / "dem.tif").exists():
        write_ground(folder)
        (folder / "city.toml").write_text('crs = "EPSG:4549"\norigin = [121.0, 28.1]\n', "utf8")
    for name, table in tables.items():
        table.to_file(folder / f"{name}.gpkg", layer=name, driver="GPKG")


def built(source, target):
    done = build.build(source, target)
    return twin.open(target), done


@pytest.fixture(scope="session")
def files():
    return SimpleNamespace(
        buildings=buildings, pipes=pipes, valves=valves, write=write, built=built, square=square, E0=E0, N0=N0, crs=CRS
    )


@pytest.fixture(scope="session")
def pristine(tmp_path_factory):
    """Files and the city built from them; each test works on a copy."""
    folder = tmp_path_factory.mktemp("pristine")
    write(folder / "source", building=buildings(), pipe_water=pipes(), valve=valves())
    made, done = built(folder / "source", folder / "twin")
    made.close()
    assert done.exit_code == 0, [report.to_dict() for report in done.reports]
    return folder


@pytest.fixture
def source(pristine, tmp_path):
    shutil.copytree(pristine, tmp_path, dirs_exist_ok=True)
    return tmp_path / "source"


@pytest.fixture
def city(source, tmp_path):
    with twin.open(tmp_path / "twin") as made:
        yield made
