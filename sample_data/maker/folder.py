"""The town's folder: which maker writes which file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sample_data.maker import admin, basemap, building_files, files, pointcloud, rasters, town


def write(out: Path, seed: int = 0) -> None:
    """Write every file of the town below `out`. The same seed and library versions give the same bytes."""
    files.pin_dates()
    made = town.make(seed)
    rasters.write_terrain(made, out / "terrain")
    rasters.write_orthophotos(made, out / "imagery")
    pointcloud.write(made, out / "points" / "point_cloud.laz")
    truths = write_vectors(made, out)
    truths["bim"] = _write_bim(out / "bim")


def write_vectors(made: town.Town, out: Path) -> dict[str, Any]:
    vector = out / "vector"
    files.write_gpkg(vector / "buildings.gpkg", {"building": building_files.buildings(made)})
    lod2 = building_files.write_cityjson(made, vector / "buildings_lod2.city.json")
    files.write_gpkg(
        vector / "basemap.gpkg",
        {
            "admin_unit": admin.units(made), "road": basemap.roads(made), "bridge": basemap.bridges(made), "parking": basemap.parking(made),
            "map_sheet": basemap.map_sheets(made), "coast_line": basemap.coast_line(made), "sea_use": basemap.sea_use(made), **basemap.plan_areas(made),
        },
    )
    files.write_gpkg(
        vector / "园林绿化.gpkg", {"绿道": basemap.greenway(made), "绿地": basemap.green_space(made), "植被": basemap.vegetation(made)}
    )
    files.write_geojson(vector / "poi.geojson", basemap.poi(made))
    files.write_csv(vector / "标准地址.csv", basemap.addresses(made), encoding="utf-8-sig")
    return {"lod2": lod2}


def _write_bim(out: Path) -> list[dict[str, Any]]:
    try:
        from sample_data.maker import bim
    except ImportError:
        return []
    out.mkdir(parents=True, exist_ok=True)
    return list(bim.write(out))
