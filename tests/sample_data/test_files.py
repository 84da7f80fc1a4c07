"""The committed files: size, counts, places, heights; and that making them again gives the same bytes."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import laspy
import numpy as np
import pyogrio
import pyproj
import pytest
import rasterio
import trimesh

from tests.sample_data.town_files import EXPECTED, TOWN

MEGABYTE = 1024 * 1024


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_town_is_small_enough_to_be_committed():
    sizes = {path: path.stat().st_size for path in TOWN.rglob("*") if path.is_file()}
    assert sum(sizes.values()) < 12 * MEGABYTE
    assert max(sizes.values()) < 2.5 * MEGABYTE


def test_tables_are_made_again_byte_for_byte(tmp_path: Path):
    """In two fresh processes, so that neither clock nor hash seed shows; also equal to what is committed."""
    script = (
        "import sys; from pathlib import Path; from sample_data.maker import folder, town; "
        "folder.write_tables(town.make(0), Path(sys.argv[1]))"
    )
    made = []
    for run in ("one", "two"):
        subprocess.run([sys.executable, "-c", script, str(tmp_path / run)], check=True, cwd=TOWN.parents[1])
        made.append(
            {
                p.relative_to(tmp_path / run).as_posix(): digest(p)
                for p in (tmp_path / run).rglob("*")
                if p.is_file() and "bim" not in p.parts
            }
        )
    assert made[0] == made[1]
    assert len(made[0]) > 25


def test_counts_are_those_of_the_files():
    seen = 0
    for name, said in EXPECTED["counts"].items():
        path = TOWN / name
        if path.suffix in {".gpkg", ".shp", ".geojson"}:
            layers = {layer for layer, _ in pyogrio.list_layers(path)}
            assert layers == set(said)
            for layer, count in said.items():
                assert (
                    len(
                        pyogrio.read_dataframe(
                            path, layer=layer, read_geometry=False, encoding="gbk" if path.suffix == ".shp" else None
                        )
                    )
                    == count
                ), (name, layer)
                seen += 1
    assert seen > 55
    assert sorted(EXPECTED["counts"]) == sorted(
        p.relative_to(TOWN).as_posix()
        for p in TOWN.rglob("*")
        if p.suffix in {".gpkg", ".shp", ".geojson", ".csv", ".laz"} or p.name.endswith(".city.json")
    )


def test_the_town_lies_where_it_says():
    to_degrees = pyproj.Transformer.from_crs("EPSG:4549", "EPSG:4326", always_xy=True)
    west, south, east, north = EXPECTED["town"]["bounds"]
    lon, lat = to_degrees.transform([west, east], [south, north])
    assert 120.98 < lon[0] < 121.0 < lon[1] < 121.02
    assert 28.085 < lat[0] < 28.1 < lat[1] < 28.115
    e, n = EXPECTED["town"]["origin_e_n"]
    assert to_degrees.transform(e, n) == pytest.approx(tuple(EXPECTED["town"]["origin_lon_lat"]), abs=1e-8)
    for row in EXPECTED["ground_heights"]:
        assert to_degrees.transform(row["e"], row["n"]) == pytest.approx((row["lon"], row["lat"]), abs=1e-8)


def test_ground_heights_by_gdals_own_bilinear_warp():
    from rasterio.enums import Resampling
    from rasterio.vrt import WarpedVRT

    with rasterio.open(TOWN / "terrain" / "dem.tif") as dem:
        assert dem.tags()["VERTICAL_CRS"] == "EPSG:5737"
        assert (dem.width, dem.height, dem.res) == (1000, 1000, (2.0, 2.0))
        for row in EXPECTED["ground_heights"]:
            at = rasterio.transform.from_origin(row["e"] - 0.005, row["n"] + 0.005, 0.01, 0.01)
            with WarpedVRT(dem, transform=at, width=1, height=1, resampling=Resampling.bilinear) as one:
                assert one.read(1)[0, 0] == pytest.approx(row["ground_elev_m"], abs=0.02)


def test_terrain_has_one_hole_and_the_surface_is_above_it():
    with rasterio.open(TOWN / "terrain" / "dem.tif") as dem, rasterio.open(TOWN / "terrain" / "dsm.tif") as dsm:
        ground, surface = dem.read(1, masked=True), dsm.read(1, masked=True)
    assert ground.mask.sum() == 40 * 30
    assert (surface >= ground - 1e-3).all()
    assert -4 < ground.min() < -2
    assert 90 < ground.max() < 125
    buildings = pyogrio.read_dataframe(TOWN / "vector" / "buildings.gpkg")
    high = buildings[buildings["建筑高度"] > 40]
    spots = high.geometry.representative_point()
    rows, cols = ((3110900.0 - spots.y) // 2).astype(int), ((spots.x - 597300.0) // 2).astype(int)
    assert np.allclose(surface[rows, cols], high["基底高程"] + high["建筑高度"], atol=0.02)


def test_orthophotos_are_compressed_and_differ_where_things_were_built():
    pictures = {}
    for year in (2024, 2026):
        with rasterio.open(TOWN / "imagery" / f"dom_{year}.tif") as picture:
            assert picture.compression.name == "jpeg"
            assert picture.tags()["EPOCH"].startswith(str(year))
            pictures[year] = picture.read().astype(int)
    changed = np.abs(pictures[2026] - pictures[2024]).sum(axis=0)
    for row in (r for r in EXPECTED["illegal_buildings"] if r["reason"] == "no_permit"):
        r, c = int(3110900 - row["n"]), int(row["e"] - 597300)
        assert changed[r - 1 : r + 2, c - 1 : c + 2].mean() > 40
    assert np.median(changed) < 12


def test_point_cloud_classes_and_heights():
    cloud = laspy.read(TOWN / "points" / "point_cloud.laz")
    assert cloud.header.version == laspy.header.Version(1, 4)
    assert cloud.header.point_format.id == 6
    assert cloud.header.parse_crs().to_epsg(min_confidence=20) == 4549 or "4549" in cloud.header.parse_crs().to_wkt()
    assert set(np.unique(cloud.classification)) == {2, 5, 6, 9}
    ground = cloud.classification == 2
    with rasterio.open(TOWN / "terrain" / "dem.tif") as dem:
        x, y, z = (np.asarray(v)[ground][::500] for v in (cloud.x, cloud.y, cloud.z))
        assert np.median(np.abs([v[0] for v in dem.sample(zip(x, y, strict=True))] - z)) < 0.05


def test_cityjson_solids_are_closed_and_have_the_volume_of_the_formula():
    doc = json.loads((TOWN / "vector" / "buildings_lod2.city.json").read_text(encoding="utf-8"))
    assert doc["version"] == "2.0"
    assert doc["metadata"]["referenceSystem"].endswith("/EPSG/0/4549")
    vertices = np.array(doc["vertices"]) * doc["transform"]["scale"]
    footprints = set(pyogrio.read_dataframe(TOWN / "vector" / "buildings.gpkg", read_geometry=False)["建筑编号"])
    for row in EXPECTED["lod2"]:
        thing = doc["CityObjects"][row["object_id"]]
        assert thing["attributes"]["building_id"] == row["building_id"]
        assert row["building_id"] in footprints
        solid = thing["geometry"][0]
        faces = [(ring[0], ring[k], ring[k + 1]) for (ring,) in solid["boundaries"][0] for k in range(1, len(ring) - 1)]
        mesh = trimesh.Trimesh(vertices, faces, process=False)
        mesh.remove_unreferenced_vertices()
        assert mesh.is_watertight
        assert mesh.volume == pytest.approx(row["volume_m3"], rel=2e-3), "positive: outward faces"
        assert len(solid["semantics"]["values"][0]) == len(solid["boundaries"][0])
