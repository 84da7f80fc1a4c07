"""Places, geometries, ids and domains in vector files: cases 1 to 7, 10 to 18, 35, 40 and 46."""

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
import shapely

from broken.case import EAST, NORTH, Case
from layers import gcj02

CRS = "EPSG:4549"


def block(east: float = 0, north: float = 0, wide: float = 10, high: float = 10) -> shapely.Polygon:
    """A rectangle at an offset from the city's corner, metres."""
    return shapely.box(EAST + east, NORTH + north, EAST + east + wide, NORTH + north + high)


def save(
    path: Path, shapes: list[Any], crs: str | None = CRS, columns: dict[str, Any] | None = None, **how: Any
) -> None:
    """Features with attributes into any format that GDAL writes."""
    frame = gpd.GeoDataFrame(
        columns or {"building_code": [f"B{i}" for i in range(len(shapes))]}, geometry=shapes, crs=crs
    )
    pyogrio.write_dataframe(frame, path, **how)


def moved(shapes: list[Any], east: float, north: float = 0.0) -> list[Any]:
    """The same shapes elsewhere."""
    return [shapely.transform(each, lambda xy: xy + np.array([east, north])) for each in shapes]


ROW = [block(20 * i) for i in range(6)]


def no_prj(folder: Path) -> None:
    save(folder / "building.shp", ROW)
    (folder / "building.prj").unlink()


def zone_prefix(folder: Path) -> None:
    save(folder / "building.gpkg", moved(ROW, 40e6))


def metres_as_degrees(folder: Path) -> None:
    save(folder / "building.gpkg", ROW, "EPSG:4326")


def old_datum(folder: Path) -> None:
    random = np.random.default_rng(3)
    true = EAST + random.uniform(0, 4000, 60), NORTH + random.uniform(0, 4000, 60)
    save(folder / "reference.gpkg", list(shapely.points(*true)), columns={"k": range(60)})
    save(folder / "shifted.gpkg", list(shapely.points(true[0] - 61, true[1] + 43)), columns={"k": range(60)})


def swapped(folder: Path) -> None:
    save(folder / "building.gpkg", [shapely.transform(each, lambda xy: xy[:, ::-1]) for each in ROW])


def two_zones(folder: Path) -> None:
    save(folder / "building.gpkg", [*moved(ROW, 40e6), *moved(ROW[:2], 41e6)], "EPSG:4528")


def web_map(folder: Path) -> None:
    random = np.random.default_rng(4)
    lon, lat = 121 + random.uniform(0, 0.04, 60), 28.1 + random.uniform(0, 0.04, 60)
    save(folder / "reference.gpkg", list(shapely.points(lon, lat)), "EPSG:4490", columns={"k": range(60)})
    save(
        folder / "shifted.gpkg", list(shapely.points(*gcj02.to_gcj02(lon, lat))), "EPSG:4490", columns={"k": range(60)}
    )


def gbk_without_cpg(folder: Path) -> None:
    save(folder / "building.shp", ROW, columns={"名称": [f"测试楼{i}" for i in range(6)]}, encoding="GBK")
    (folder / "building.cpg").unlink()


def gbk_with_lying_cpg(folder: Path) -> None:
    gbk_without_cpg(folder)
    (folder / "building.cpg").write_text("UTF-8")


def cut_names(folder: Path) -> None:
    columns = {"building_c": [f"B{i}" for i in range(6)], "base_elev_": [4.5] * 6, "building_1": ["x"] * 6}
    save(folder / "building.shp", ROW, columns=columns)


def bow_tie(folder: Path) -> None:
    x, y = EAST, NORTH + 50
    tie = shapely.Polygon([(x, y), (x + 10, y + 10), (x + 10, y), (x, y + 10)])
    spike = shapely.Polygon([(x, y), (x + 10, y), (x + 10, y + 10), (x + 10, y + 30), (x + 10, y + 10), (x, y + 10)])
    save(folder / "parcel.gpkg", [*ROW, tie, spike], columns={"parcel_code": [f"P{i}" for i in range(8)]})


def overlapping_parcels(folder: Path) -> None:
    ring = [block(10 * i, 10 * j) for i in range(3) for j in range(3) if (i, j) != (1, 1)]
    save(folder / "land_survey.gpkg", [*ring, block(25, 0, 20, 10)], columns=survey(9))


def survey(n: int, **columns: Any) -> dict[str, Any]:
    """Attributes of survey parcels without anything wrong."""
    return {"BSM": [f"{i:018d}" for i in range(n)], "DLBM": ["0101"] * n, "code_system": ["sd2017"] * n, **columns}


def bad_rings(folder: Path) -> None:
    def ring(*corners: tuple[float, float]) -> list[list[float]]:
        return [[121 + x * 1e-4, 28.1 + y * 1e-4] for x, y in corners]

    rings = {
        "clockwise": ring((0, 0), (0, 1), (1, 1), (1, 0), (0, 0)),
        "open": ring((2, 0), (3, 0), (3, 1), (2, 1)),
        "short": ring((4, 0), (5, 0), (4, 0)),
        "whole": ring((6, 0), (7, 0), (7, 1), (6, 1), (6, 0)),
    }
    features = [{"type": "Feature", "properties": {"building_code": name},
                 "geometry": {"type": "Polygon", "coordinates": [each]}} for name, each in rings.items()]  # fmt: skip
    (folder / "building.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))


def not_finite(folder: Path) -> None:
    with np.errstate(invalid="ignore"):
        bad = [shapely.Polygon([(EAST, NORTH), (EAST + 5, value), (EAST + 5, NORTH + 5)]) for value in (np.nan, np.inf)]
    save(folder / "building.gpkg", [*ROW, *bad])


def mixed_and_empty(folder: Path) -> None:
    shapes = [*ROW[:3], None, shapely.Polygon(), shapely.Point(EAST, NORTH)]
    save(folder / "building.gpkg", shapes, geometry_type="Unknown")


def no_heights(folder: Path) -> None:
    shapes = [shapely.force_3d(ROW[0], 0.0), shapely.force_3d(ROW[1], -9999.0), shapely.force_3d(ROW[2], 7.5)]
    save(folder / "green_space.gpkg", shapes, columns={"MC": list("abc")})


def repeated(folder: Path) -> None:
    codes = [f"B{i if i != 13 else 1}" for i in range(20)]
    save(folder / "building.gpkg", [block(20 * i) for i in range(20)], columns={"building_code": codes})


def repeated_without_id(folder: Path) -> None:
    save(folder / "green_space.gpkg", [*ROW, ROW[2]], columns={"MC": [*"abcdef", "c"]})


def land_codes(folder: Path) -> None:
    codes, lists = ["0101", "010100", "0201K", "05H1", "0603", "9999"], ["ydyh2023", "ydyh2023", *["sd2017"] * 2]
    columns = survey(6, DLBM=codes, code_system=[*lists, "ydyh2023", "sd2017"])
    save(folder / "land_survey.gpkg", ROW, columns=columns)


def wrong_areas(folder: Path) -> None:
    save(
        folder / "land_survey.gpkg", [block(20 * i, 0) for i in range(3)], columns=survey(3, TBMJ=[99.98, 150.0, None])
    )


def control_lines(folder: Path) -> None:
    save(folder / "eco_redline.gpkg", [block(0, 0, 100, 100)], columns={"HXLX": ["x"]})
    save(folder / "pbf.gpkg", [block(90, 0, 100, 100)], columns={"JBNTTBBH": ["f1"]})


def building_heights(folder: Path) -> None:
    columns = {"building_code": [f"B{i}" for i in range(6)], "height_m": [0, -3, 9999, 60, None, None],
               "floors": [None, None, None, 3, 6, None]}  # fmt: skip
    save(folder / "building.gpkg", [block(20 * i) for i in range(6)], columns=columns)


def sheets(folder: Path) -> None:
    columns = {"图幅号": list("abc"), "比例尺": ["1：1000", "1:1000", "１／２０００"],
               "测量日期": ["2020-05-01", "2021-05-01", "2199-01-01"]}  # fmt: skip
    save(folder / "map_sheet.gpkg", [block(0, 0, 500, 500), block(400, 0, 500, 500), block(900, 0, 500, 500)],
         columns=columns)  # fmt: skip


def zone_edge(folder: Path) -> None:
    shape = shapely.segmentize(shapely.box(121.49, 37.4, 121.51, 37.42), 0.0005)
    save(folder / "land_survey.gpkg", [shape], "EPSG:4490", columns=survey(1, TBMJ=[3928000.0]))


CASES = (
    Case(1, "01_no_prj", no_prj, ("CRS_MISSING",)),
    Case(2, "02_zone_prefix", zone_prefix, ("COORDINATES_OUTSIDE_CRS",)),
    Case(2, "02_metres_as_degrees", metres_as_degrees, ("COORDINATES_OUTSIDE_CRS",)),
    Case(2, "02_old_datum", old_datum, ("",), 60, 60),
    Case(3, "03_swapped", swapped, ("COORDINATES_OUTSIDE_CRS",)),
    Case(4, "04_two_zones", two_zones, ("COORDINATES_OUTSIDE_CRS",)),
    Case(5, "05_gcj02", web_map, ("",), 60, 60),
    Case(6, "06_gbk_without_cpg", gbk_without_cpg, ("ENCODING_DETECTED",), 6, 6),
    Case(6, "06_gbk_with_lying_cpg", gbk_with_lying_cpg, ("ENCODING_DETECTED",), 6, 6),
    Case(7, "07_cut_names", cut_names, ("NAME_COMPLETED",), 6, 6),
    Case(10, "10_bow_tie", bow_tie, ("GEOMETRY_INVALID", "GEOMETRY_REPAIRED"), 8, 7),
    Case(11, "11_overlapping_parcels", overlapping_parcels, ("PARCELS_OVERLAP", "PARCEL_GAPS"), 9, 9),
    Case(12, "12_bad_rings", bad_rings, ("GEOMETRY_INVALID", "GEOMETRY_REPAIRED"), 4, 3),
    Case(12, "12_not_finite", not_finite, ("COORDINATE_NOT_FINITE",), 8, 6),
    Case(13, "13_mixed_and_empty", mixed_and_empty, ("GEOMETRY_KINDS_SPLIT", "GEOMETRY_NULL", "GEOMETRY_EMPTY"), 6, 4),
    Case(14, "14_no_heights", no_heights, ("Z_EMPTY",), 3, 3),
    Case(15, "15_repeated", repeated, ("DUPLICATE_ID",), 20, 19),
    Case(15, "15_repeated_without_id", repeated_without_id, ("DUPLICATE_FEATURE",), 7, 6),
    Case(16, "16_land_codes", land_codes, ("LAND_CODE_UNKNOWN", "LAND_CODE_WRITTEN", "LAND_CODE_NEEDS_DETAIL"), 6, 6),
    Case(17, "17_wrong_areas", wrong_areas, ("AREA_MISMATCH",), 3, 3),
    Case(18, "18_control_lines", control_lines, ("CONTROL_LINES_OVERLAP",), 1, 1),
    Case(35, "35_building_heights", building_heights, ("HEIGHT_IMPOSSIBLE", "VALUE_OUT_OF_DOMAIN",
         "HEIGHT_FLOORS_DISAGREE", "HEIGHT_MISSING"), 6, 6),
    Case(40, "40_sheets", sheets, ("SHEETS_OVERLAP", "DATE_IN_FUTURE"), 3, 3),
    Case(46, "46_zone_edge", zone_edge, ("AREA_MISMATCH",), 1, 1),
)  # fmt: skip
