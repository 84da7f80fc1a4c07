"""Pipe layers as handed over: GeoPackage, a GBK shapefile without .cpg, GeoJSON in EPSG:4490; and points."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
from shapely import LineString, Point

from sample_data.maker import files
from sample_data.maker.layout import ground
from sample_data.maker.pipes import KINDS, Pipe
from sample_data.maker.town import Town

SHAPEFILE_FIELD_WIDTH = 10  # bytes; five Chinese characters in GBK


def table(pipes: list[Pipe]) -> gpd.GeoDataFrame:
    """One row a pipe with CJJ 61-like Chinese fields; elevations are those of the reference line, z repeats them."""
    rows = []
    for p in pipes:
        (e0, n0, z0), (e1, n1, z1) = p.coords[0], p.coords[-1]
        rows.append(
            {
                "管线编号": p.id,
                "管线类型": p.kind.letters,
                "起点点号": p.start,
                "终点点号": p.end,
                "管径": p.dn_mm,
                "外径": p.od_mm,
                "材质": p.material or p.kind.material,
                "高程位置": "管内底" if p.kind.gravity else "管外顶",
                "起点高程": z0,
                "终点高程": z1,
                "起点埋深": round(ground(e0, n0) - z0, 2),
                "终点埋深": round(ground(e1, n1) - z1, 2),
                "埋设方式": p.burial or p.kind.burial,
                "压力": p.pressure or None,
                "电压": p.voltage_kv,
                "流向": "0" if p.kind.gravity else None,
                "权属单位": p.kind.owner,
                "埋设年代": p.year,
                "是否监测": p.monitored,
                "geometry": LineString(p.coords),
            }
        )
    return files.frame(rows)


def write(pipes: dict[str, list[Pipe]], folder: Path) -> None:
    """Gas: shapefile in GBK that does not state it; telecom: GeoJSON in EPSG:4490; the rest GeoPackage."""
    for kind, rows in pipes.items():
        made = table(rows)
        if kind == "pipe_gas":
            _write_gbk_shapefile(made, folder / "pipe_gas.shp")
        elif kind == "pipe_telecom":
            files.write_geojson(folder / "pipe_telecom.geojson", made)
    files.write_gpkg(folder / "给水管线.gpkg", {"pipe_water": table(pipes["pipe_water"])})
    files.write_gpkg(
        folder / "排水管线.gpkg", {"雨水管线": table(pipes["pipe_rain"]), "污水管线": table(pipes["pipe_sewage"])}
    )
    industry = table(pipes["pipe_industry"])
    industry["管径"] = industry["管径"] / 1000  # this owner keeps metres: city.toml says so
    files.write_gpkg(
        folder / "utility.gpkg", {"pipe_heat": table(pipes["pipe_heat"]), "pipe_power": table(pipes["pipe_power"])}
    )
    files.write_gpkg(folder / "industry_pipes.gpkg", {"工业管线": industry})


def _write_gbk_shapefile(made: gpd.GeoDataFrame, path: Path) -> None:
    """Write it in GBK, then drop the .cpg and the language byte of the .dbf, as old survey software leaves them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = made.drop(columns=["电压", "流向"])
    made["是否监测"] = np.where(made["是否监测"], "是", "否")
    names = [c for c in made.columns if c != "geometry"]
    placeholders = {
        c: f"F{k:02d}" for k, c in enumerate(names)
    }  # GDAL cuts names at 10 UTF-8 bytes; GBK needs only 2 a character
    pyogrio.write_dataframe(made.rename(columns=placeholders), path, driver="ESRI Shapefile", encoding="GBK")
    path.with_suffix(".cpg").unlink(missing_ok=True)
    dbf = bytearray(path.with_suffix(".dbf").read_bytes())
    dbf[1:4] = bytes([126, 6, 30])  # last update 2026-06-30
    dbf[29] = 0
    for k, name in enumerate(names):
        dbf[32 + 32 * k : 43 + 32 * k] = name.encode("gbk")[:SHAPEFILE_FIELD_WIDTH].ljust(11, b"\0")
    path.with_suffix(".dbf").write_bytes(dbf)


def points(pipes: dict[str, list[Pipe]]) -> dict[str, gpd.GeoDataFrame]:
    """pipe_node of all kinds, and valves, hydrants and pumps."""
    return {
        "pipe_node": files.frame(_nodes(pipes)),
        "valve": files.frame(_valves(pipes["pipe_water"])),
        "hydrant": files.frame(_hydrants(pipes["pipe_water"])),
        "pump": files.frame(_pumps(pipes["pipe_sewage"])),
    }


def _nodes(pipes: dict[str, list[Pipe]]) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    degree: dict[str, int] = {}
    for kind, members in pipes.items():
        for p in members:
            for name, (e, n, z) in ((p.start, p.coords[0]), (p.end, p.coords[-1])):
                degree[name] = degree.get(name, 0) + 1
                g = ground(e, n)
                rows.setdefault(
                    name,
                    {
                        "管点编号": name,
                        "管线类型": KINDS[kind].letters,
                        "特征": "",
                        "附属物": "检查井" if KINDS[kind].gravity else None,
                        "地面高程": round(g, 3),
                        "埋深": round(g - z, 2),
                        "geometry": Point(e, n, round(g, 3)),
                    },
                )
    for name, row in rows.items():
        row["特征"] = {1: "起讫点", 2: "直线点", 3: "三通", 4: "四通"}.get(degree[name], "多通")
    return [rows[name] for name in sorted(rows)]


def _along(p: Pipe, away_m: float, *, from_end: bool = False) -> Point:
    a, b = np.array(p.coords[0]), np.array(p.coords[-1])
    a, b = (b, a) if from_end else (a, b)
    e, n, z = a + (b - a) * away_m / p.length_m
    return Point(round(e, 3), round(n, 3), round(z, 3))


def _valves(water: list[Pipe]) -> list[dict[str, Any]]:
    """One near each end of every second main, and at the start of the others."""
    rows = []
    for k, p in enumerate(q for q in water if q.length_m > 60):
        rows.append(
            {"link_id": p.id, "protects_node": p.start, "state": "开", "dn_mm": p.dn_mm, "geometry": _along(p, 4.0)}
        )
        if k % 2 == 0:
            rows.append(
                {
                    "link_id": p.id,
                    "protects_node": p.end,
                    "state": "关" if k == 40 else "开",
                    "dn_mm": p.dn_mm,
                    "geometry": _along(p, 4.0, from_end=True),
                }
            )
    return [{"设备编号": f"FM{k:04d}", **row} for k, row in enumerate(rows, 1)]


def _hydrants(water: list[Pipe]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for p in (q for q in water if 60 < q.length_m < 300 and not q.burial):
        at = _along(p, p.length_m / 2)
        rows.append(
            {
                "设备编号": f"XHS{len(rows) + 1:04d}",
                "link_id": p.id,
                "protects_node": p.start,
                "state": "正常",
                "dn_mm": 100,
                "geometry": Point(at.x, at.y, round(ground(at.x, at.y), 3)),
            }
        )
    return rows


def _pumps(sewage: list[Pipe]) -> list[dict[str, Any]]:
    """A lift station at each lowest sewer end."""
    starts = {p.start for p in sewage}
    ends: dict[str, Pipe] = {}
    for p in sewage:
        if p.end not in starts and not p.end.endswith(("-1", "-2")):
            ends.setdefault(p.end, p)
    return [
        {
            "设备编号": f"BZ{k:02d}",
            "link_id": p.id,
            "protects_node": name,
            "state": "运行",
            "dn_mm": p.dn_mm,
            "geometry": Point(p.coords[-1]),
        }
        for k, (name, p) in enumerate(sorted(ends.items()), 1)
    ]


def corridor(town: Town) -> gpd.GeoDataFrame:
    """A utility tunnel under one main street of the industrial zone's edge, between the pipes and the kerb."""
    edges = [e for e in town.plan.edges if not e.along_u and e.a[0] == 3 and not e.bridge and e.a[1] >= 3]
    rows = []
    for k, edge in enumerate(edges, 1):
        ends = []
        for node, shift in ((edge.a, 20.0), (edge.b, -20.0)):
            from sample_data.maker.layout import node_map

            e, n = node_map(node, -15.5, shift)
            ends.append((round(e, 3), round(n, 3), round(ground(e, n) - 5.0, 3)))
        rows.append(
            {
                "管廊编号": f"GL{k:02d}",
                "名称": f"滨海综合管廊{k}段",
                "宽度": 2.8,
                "高度": 3.2,
                "舱数": 2,
                "geometry": LineString(ends),
            }
        )
    return files.frame(rows)
