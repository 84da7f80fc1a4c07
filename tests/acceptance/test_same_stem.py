"""Two files of one name and two formats are two sources: neither replaces the other."""

import laspy
import numpy as np
import pyogrio
import pyproj
import rasterio
import shapely
from geopandas import GeoDataFrame
from rasterio.transform import from_origin

import twin
from server.build import check
from twin.scope import EVERYTHING

E0, N0 = 623_800.0, 4_152_900.0


def cloud(path, n):
    header = laspy.LasHeader(point_format=6, version="1.4")
    header.scales, header.offsets = [0.001] * 3, [E0, N0, 0.0]
    header.add_crs(pyproj.CRS("EPSG:4549"))
    points = laspy.LasData(header)
    points.x, points.y, points.z = E0 + np.arange(n), N0 + np.arange(n), np.full(n, 5.0)
    points.write(path)


def ground(path, height_m, north):
    profile = {"driver": "GTiff", "height": 10, "width": 10, "count": 1, "dtype": "float32", "crs": "EPSG:4549"}
    with rasterio.open(path, "w", **profile, transform=from_origin(E0, north, 2, 2)) as file:
        file.write(np.full((1, 10, 10), height_m, np.float32))


def test_clouds_and_rasters_of_one_stem_are_all_kept(folder):
    folder.toml('crs = "EPSG:4549"', 'vertical_crs = "EPSG:5737"')
    cloud(folder.files / "scan.las", 7)
    cloud(folder.files / "scan.laz", 11)
    ground(folder.files / "dem.tif", 3.0, N0 + 20)
    ground(folder.files / "dem.tiff", 8.0, N0 + 120)
    assert folder.build().exit_code == 0
    with twin.open(folder.twin) as city:
        assets = {asset.source: asset for asset in city.store.assets(EVERYTHING)}
        assert sorted(assets) == ["dem.tif", "dem.tiff", "scan.las", "scan.laz"]
        assert {name: assets[name].meta.get("points") for name in ("scan.las", "scan.laz")} == {
            "scan.las": 7,
            "scan.laz": 11,
        }
        assert len({asset.id for asset in assets.values()}) == 4
        assert (city.height(E0 + 10, N0 + 10), city.height(E0 + 10, N0 + 110)) == (3.0, 8.0)
        first = {name: asset.id for name, asset in assets.items()}
    cloud(folder.files / "scan.laz", 12)
    (folder.files / "dem.tif").unlink()
    assert folder.build().exit_code == 0
    with twin.open(folder.twin) as city:
        later = {asset.source: asset.id for asset in city.store.assets(EVERYTHING)}
    assert later == {name: first[name] for name in ("dem.tiff", "scan.las", "scan.laz")}


def test_a_file_geodatabase_is_checked_by_its_folder(tmp_path):
    frame = GeoDataFrame({"height_m": [9.0]}, geometry=[shapely.box(E0, N0, E0 + 9, N0 + 9)], crs="EPSG:4549")
    pyogrio.write_dataframe(frame, tmp_path / "building.gdb", driver="OpenFileGDB")
    (report,) = check([tmp_path / "building.gdb"])
    assert (report.status, report.layers[0].n_stored) == ("stored", 1)
