"""The town's folder: which maker writes which file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sample_data.maker import (
    admin,
    basemap,
    building_files,
    config,
    construction,
    files,
    hydrology,
    land,
    pipe_conflicts,
    pipe_files,
    pointcloud,
    projects,
    rasters,
    rules,
    sensing,
    town,
    truths,
    water_network,
)
from sample_data.maker.pipes import Network, Pipe


def write(out: Path, seed: int = 0) -> None:
    """Write every file of the town below `out`. The same seed and library versions give the same bytes."""
    files.pin_dates()
    made = town.make(seed)
    rasters.write_terrain(made, out / "terrain")
    rasters.write_orthophotos(made, out / "imagery")
    pointcloud.write(made, out / "points" / "point_cloud.laz")
    write_tables(made, out)


def write_tables(made: town.Town, out: Path) -> None:
    """Everything but rasters and points; then the truths, which read the written files."""
    files.pin_dates()
    planted: dict[str, Any] = {"illegal_buildings": made.illegal, **write_vectors(made, out / "vector")}
    pipes, planted["pipes"] = write_pipes(made, out / "pipes")
    planted |= write_land(made, out / "land")
    planted |= write_construction(made, out / "construction")
    files.write_gpkg(out / "water" / "水利.gpkg", hydrology.layers(made, pipes["pipe_rain"]))
    files.write_csv(out / "water" / "云溪水库水位库容曲线.csv", hydrology.storage_curve(made))
    planted["bim"] = write_bim(out / "bim")
    planted["exceedances"] = write_sensing(made, out / "iot", pipes)
    config.write(out / "city.toml")
    rules.write(out / "rules" / "town.yaml")
    files.write_json(out / "expected.json", truths.collect(made, out, planted))


def write_vectors(made: town.Town, vector: Path) -> dict[str, Any]:
    files.write_gpkg(vector / "buildings.gpkg", {"building": building_files.buildings(made)})
    lod2 = building_files.write_cityjson(made, vector / "buildings_lod2.city.json")
    files.write_gpkg(
        vector / "basemap.gpkg",
        {
            "admin_unit": admin.units(made),
            "road": basemap.roads(made),
            "bridge": basemap.bridges(made),
            "parking": basemap.parking(made),
            "map_sheet": basemap.map_sheets(),
            "coast_line": basemap.coast_line(made),
            "sea_use": basemap.sea_use(made),
            **basemap.plan_areas(made),
        },
    )
    files.write_gpkg(
        vector / "园林绿化.gpkg",
        {"绿道": basemap.greenway(made), "绿地": basemap.green_space(made), "植被": basemap.vegetation(made)},
    )
    for name, table in basemap.poi(made).items():
        files.write_geojson(vector / f"{name}.geojson", table)
    files.write_csv(vector / "标准地址.csv", basemap.addresses(made), encoding="utf-8-sig")
    return {"lod2": lod2}


def write_pipes(made: town.Town, out: Path) -> tuple[dict[str, list[Pipe]], list[dict[str, Any]]]:
    pipes: dict[str, list[Pipe]] = {kind: list(members) for kind, members in Network(made).pipes.items()}
    pipes["pipe_water"].append(water_network.trunk(made, pipes["pipe_water"]))
    water_network.write_inp(made, pipes["pipe_water"], out / "water.inp")
    extra, rows = pipe_conflicts.plant(pipes)
    for p in extra:
        pipes[p.kind.id].append(p)
    pipe_files.write(pipes, out)
    files.write_gpkg(out / "pipe_points.gpkg", {**pipe_files.points(pipes), "corridor": pipe_files.corridor(made)})
    return pipes, rows


def write_land(made: town.Town, out: Path) -> dict[str, Any]:
    lines = land.control_lines(made)
    sites, overlaps = projects.projects(made, lines)
    files.write_gpkg(out / "地类图斑_2025.gpkg", {"DLTB": land.survey(made, 2025)})
    files.write_gpkg(out / "地类图斑_2019.gpkg", {"DLTB": land.survey(made, 2019)})
    files.write_gpkg(
        out / "国土空间规划.gpkg",
        {
            "land_plan": land.land_plan(made),
            "永久基本农田": lines["pbf"],
            "生态保护红线": lines["eco_redline"],
            "城镇开发边界": lines["urban_boundary"],
            **land.special_lines(made),
            **land.geology(made),
        },
    )
    files.write_gpkg(
        out / "projects.gpkg",
        {
            "parcel": land.parcels(made),
            "homestead": land.homesteads(made),
            "project_land": sites,
            "permit_building": building_files.permits(made),
        },
    )
    return {"project_overlaps": overlaps}


def write_construction(made: town.Town, out: Path) -> dict[str, Any]:
    cranes, pairs = construction.cranes(made)
    pits = construction.excavations(made)
    lines, gaps = construction.power_lines(made)
    files.write_gpkg(
        out / "工地.gpkg",
        {
            "construction_site": construction.sites(made),
            "基坑": pits,
            "塔机": cranes,
            "power_line": lines,
        },
    )
    depths = [
        {"pit": row["基坑编号"], "depth_m": row["开挖深度"], "class": row["安全等级"]} for _, row in pits.iterrows()
    ]
    return {"crane_pairs": pairs, "crane_power_line": gaps, "excavations": depths}


def write_sensing(made: town.Town, out: Path, pipes: dict[str, list[Pipe]]) -> list[dict[str, Any]]:
    sensors = sensing.sensors(made, pipes["pipe_water"])
    rows, planted = sensing.observations(made, sensors)
    files.write_gpkg(out / "devices.gpkg", {"sensor": sensors, **sensing.devices(made)})
    files.write_csv(out / "sensor_obs_202606.csv", rows)
    files.write_csv(out / "建筑能耗_2025.csv", sensing.energy(made), encoding="gb18030")
    files.write_geojson(out / "event.geojson", sensing.events(made))
    return planted


def write_bim(out: Path) -> list[dict[str, Any]]:
    """The building models, when their maker is there."""
    try:
        from sample_data.maker import bim
    except ImportError:
        return []
    out.mkdir(parents=True, exist_ok=True)
    return list(bim.write(out))
