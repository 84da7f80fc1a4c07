"""Writes small broken files, each wrong in one way, and `expected.json` with what must be said of each.

Run `python tests/data/broken/make_broken.py FOLDER`. The tests write them to a temporary folder; nothing here is kept
in the repository but these scripts. All content is invented. `FOLDER/cases` holds one folder for each case of
docs/bad-inputs.md, with a city.toml; the files beside it are each refused as a whole.
"""

import json
import sys
from pathlib import Path
from typing import Any

import geopandas as gpd
import laspy
import numpy as np
import pyogrio
import rasterio
import shapely
from rasterio.transform import from_origin

sys.path.insert(0, str(Path(__file__).parents[1]))
from broken import models, networks, points, rasters, sensors, tables, vectors

CASES = tuple(case for kind in (vectors, tables, networks, rasters, models, points, sensors) for case in kind.CASES)

EAST, NORTH = 597000.0, 3109000.0

EXPECTED = {
    "truncated.tif": "TRUNCATED",
    "not_placed.tif": "RASTER_NOT_PLACED",
    "not_a_raster.tif": "FILE_UNREADABLE",
    "dem_no_crs.asc": "CRS_MISSING",
    "no_prj.shp": "CRS_MISSING",
    "no_dbf.shp": "SHP_PART_MISSING",
    "truncated.shp": "TRUNCATED",
    "swapped_axes.gpkg": "COORDINATES_OUTSIDE_CRS",
    "zone_number.gpkg": "COORDINATES_OUTSIDE_CRS",
    "not_a_database.gpkg": "FILE_UNREADABLE",
    "truncated.geojson": "FILE_UNREADABLE",
    "not_degrees.geojson": "COORDINATES_OUTSIDE_CRS",
    "truncated.fgb": "TRUNCATED",
    "not_geo.json": "FORMAT_UNKNOWN",
    "broken.json": "JSON_BROKEN",
    "no_meaning.csv": "CSV_NOT_UNDERSTOOD",
    "no_crs.csv": "CRS_MISSING",
    "empty.csv": "FILE_EMPTY",
    "binary.csv": "CSV_NOT_UNDERSTOOD",
    "truncated.city.json": "JSON_BROKEN",
    "no_transform.city.json": "CJ_INVALID",
    "old_version.city.json": "CJ_VERSION",
    "no_crs.city.json": "CRS_MISSING",
    "vertex_out_of_range.city.json": "CJ_VERTEX_OUT_OF_RANGE",
    "duplicate_key.city.json": "JSON_DUPLICATE_KEY",
    "not_features.city.jsonl": "CJ_INVALID",
    "header_lies.las": "LAS_HEADER",
    "truncated.las": "TRUNCATED",
    "no_crs.las": "CRS_MISSING",
    "no_points.las": "FILE_EMPTY",
    "no_crs.inp": "CRS_MISSING",
    "bad_section.inp": "INP_BROKEN",
    "no_coordinates.inp": "INP_NO_COORDINATES",
    "bad_number.inp": "INP_BROKEN",
    "unknown.xyz": "FORMAT_UNKNOWN",
}
"""File -> code of the error, issue or reject that must name it."""


def main(folder: Path) -> None:
    """Write every file and `expected.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    _rasters(folder)
    _vectors(folder)
    _texts(folder)
    _city_models(folder)
    _clouds(folder)
    _networks(folder)
    (folder / "expected.json").write_text(json.dumps(EXPECTED, indent=1) + "\n", "utf8")


def cut(path: Path, share: float = 0.5) -> None:
    """Keep the first part of a file."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def _rasters(folder: Path) -> None:
    heights = np.random.default_rng(0).normal(size=(64, 64)).astype("float32")
    profile: dict[str, Any] = {"driver": "GTiff", "width": 64, "height": 64, "count": 1, "dtype": "float32"}
    placed = {"crs": "EPSG:4549", "transform": from_origin(EAST, NORTH, 2, 2)}
    with rasterio.open(folder / "truncated.tif", "w", **profile, **placed) as out:
        out.write(heights, 1)
    cut(folder / "truncated.tif")
    with rasterio.open(folder / "not_placed.tif", "w", **profile) as out:
        out.write(heights, 1)
    (folder / "not_a_raster.tif").write_text("this is text\n")
    grid = f"ncols 2\nnrows 2\nxllcorner {EAST}\nyllcorner {NORTH}\ncellsize 5\n1 2\n3 4\n"
    (folder / "dem_no_crs.asc").write_text(grid)


def _frame(east: float = EAST, north: float = NORTH, n: int = 40) -> gpd.GeoDataFrame:
    boxes = [shapely.box(east + 20 * i, north, east + 20 * i + 10, north + 10) for i in range(n)]
    return gpd.GeoDataFrame({"JZBH": [f"B{i}" for i in range(n)]}, geometry=boxes, crs="EPSG:4549")


def _vectors(folder: Path) -> None:
    for name in ("no_prj", "no_dbf", "truncated"):
        pyogrio.write_dataframe(_frame(), folder / f"{name}.shp")
    (folder / "no_prj.prj").unlink()
    (folder / "no_dbf.dbf").unlink()
    cut(folder / "truncated.shp")
    pyogrio.write_dataframe(_frame(NORTH, EAST), folder / "swapped_axes.gpkg")
    pyogrio.write_dataframe(_frame(EAST + 40e6), folder / "zone_number.gpkg")
    (folder / "not_a_database.gpkg").write_bytes(b"SQLite format 3\0" + bytes(84) + b"and then nothing")
    pyogrio.write_dataframe(_frame().to_crs("EPSG:4490"), folder / "truncated.geojson")
    cut(folder / "truncated.geojson", 0.7)
    feature = {"type": "Feature", "properties": {}, "geometry": {"type": "Point", "coordinates": [EAST, NORTH]}}
    (folder / "not_degrees.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    pyogrio.write_dataframe(_frame(), folder / "truncated.fgb")
    cut(folder / "truncated.fgb", 0.7)


def _texts(folder: Path) -> None:
    (folder / "not_geo.json").write_text('{"a": [1, 2, 3]}')
    (folder / "broken.json").write_text('{"a": [1, 2,')
    (folder / "no_meaning.csv").write_text("colour,shape\nred,round\n")
    (folder / "no_crs.csv").write_text(f"name,x,y\na,{EAST},{NORTH}\n")
    (folder / "empty.csv").write_text("")
    (folder / "binary.csv").write_bytes(b"PK\3\4\0\0\0\0 no text\n")
    (folder / "unknown.xyz").write_text("1 2 3\n")


def _city_models(folder: Path) -> None:
    documents = {
        "truncated": models.city_model(),
        "no_transform": models.city_model(transform=None),
        "old_version": models.city_model(version="0.9"),
        "no_crs": models.city_model(metadata=None),
        "vertex_out_of_range": models.city_model(vertices=models.city_model()["vertices"][:6]),
    }
    for name, model in documents.items():
        (folder / f"{name}.city.json").write_text(json.dumps(model))
    cut(folder / "truncated.city.json", 0.8)
    text = json.dumps(models.city_model())
    (folder / "duplicate_key.city.json").write_text(
        text.replace('"CityObjects": {', '"CityObjects": {"b1": {"type": "Building"}, ')
    )
    header = json.dumps(models.city_model(CityObjects={}, vertices=[]))
    (folder / "not_features.city.jsonl").write_text(header + '\n{"type": "Feature"}\n')


def _cloud(path: Path, n: int, *, crs: bool = True) -> None:
    from pyproj import CRS

    header = laspy.LasHeader(point_format=3, version="1.2")
    header.scales, header.offsets = np.full(3, 0.01), np.array([EAST, NORTH, 0.0])
    if crs:
        header.add_crs(CRS.from_epsg(4549))
    las = laspy.LasData(header)
    las.x, las.y, las.z = EAST + np.arange(n), NORTH + np.arange(n), np.arange(n) % 30
    las.write(path)


def _clouds(folder: Path) -> None:
    for name, n, crs in (
        ("header_lies", 50, True),
        ("truncated", 50, True),
        ("no_crs", 50, False),
        ("no_points", 0, True),
    ):
        _cloud(folder / f"{name}.las", n, crs=crs)
    data = bytearray((folder / "header_lies.las").read_bytes())
    data[100:104] = (1_000_000).to_bytes(4, "little")
    (folder / "header_lies.las").write_bytes(data)
    cut(folder / "truncated.las", 0.8)


def _networks(folder: Path) -> None:
    nodes = "[JUNCTIONS]\n J1 5\n J2 6\n[PIPES]\n P1 J1 J2 100 300 120 0 Open\n[OPTIONS]\n UNITS LPS\n"
    places = f"[COORDINATES]\n J1 {EAST} {NORTH}\n J2 {EAST + 100} {NORTH}\n[END]\n"
    (folder / "no_crs.inp").write_text(nodes + places)
    (folder / "bad_section.inp").write_text(nodes + "[FOO]\n x\n" + places)
    (folder / "no_coordinates.inp").write_text(nodes + "[END]\n")
    (folder / "bad_number.inp").write_text(nodes + places.replace(str(NORTH), "north", 1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    for each in CASES:
        each.make(Path(sys.argv[1]) / "cases")
