"""Construction sites, pits, tower cranes and overhead lines, with planted crane conflicts."""

from __future__ import annotations

from typing import Any

import geopandas as gpd
import numpy as np
from shapely import LineString, MultiPolygon, Point, Polygon

from sample_data.maker import files, site
from sample_data.maker.basemap import line_z
from sample_data.maker.layout import Block, ground
from sample_data.maker.town import Town


def site_blocks(town: Town) -> list[tuple[str, str, Block]]:
    """(site code, name, block): the two pits' blocks, the library's, and a block of the works."""

    def block(i: int, j: int) -> Block:
        return next(b for b in town.plan.blocks if (b.i, b.j) == (i, j))

    works = next(b for b in town.plan.blocks if b.kind == "industry")
    return [
        ("GD01", "滨海广场工程", block(1, -3)),
        ("GD02", "城东商业综合体工程", block(-1, -5)),
        ("GD03", "市民图书馆工程", block(-1, -3)),
        ("GD04", "滨海厂房扩建工程", works),
    ]


def sites(town: Town) -> gpd.GeoDataFrame:
    stages = ("基坑", "基坑", "前期", "主体")
    return files.frame(
        [
            {
                "工地编号": code,
                "名称": name,
                "施工单位": "清湾建工",
                "施工阶段": stage,
                "开工日期": "2025-03-01",
                "计划竣工日期": "2027-12-31",
                "geometry": block.shape,
            }
            for (code, name, block), stage in zip(site_blocks(town), stages, strict=True)
        ]
    )


def excavations(town: Town) -> gpd.GeoDataFrame:
    """The open pits (their floor is in the DEM) and two shallow ones at 3.0 and 2.9 m; z is the floor."""
    rows: list[dict[str, Any]] = []
    for code, pit in zip(("GD01", "GD02"), site.PITS.values(), strict=True):
        c = pit.corners()
        top = float(np.mean([ground(*(p + (p - c.mean(axis=0)) * 0.08)) for p in c]))
        rows.append(
            _pit(
                len(rows) + 1, code, pit.title_zh, depth=round(top - pit.pad_elev_m, 2), corners=c, floor=pit.pad_elev_m
            )
        )
    for depth, (code, _, block) in zip((3.0, 2.9), site_blocks(town)[2:], strict=True):
        u, v = site.grid_to_map(
            block.i * 160 + 120 + np.array([-12, 12, 12, -12]), block.j * 120 + 60 + np.array([-9, -9, 9, 9])
        )
        c = np.column_stack([u, v])
        floor = round(ground(*c.mean(axis=0)) - depth, 2)
        rows.append(_pit(len(rows) + 1, code, "坑中坑", depth=depth, corners=c, floor=floor))
    return files.frame(rows)


def _pit(number: int, site_code: str, name: str, *, depth: float, corners: np.ndarray, floor: float) -> dict[str, Any]:
    kind = "超过一定规模的危大工程" if depth >= 5 else "危大工程" if depth >= 3 else "一般"
    shape = Polygon(np.column_stack([corners, np.full(4, floor)]))
    return {
        "基坑编号": f"JK{number:02d}",
        "工地编号": site_code,
        "名称": name,
        "开挖深度": depth,
        "支护形式": "排桩+内支撑" if depth >= 5 else "放坡",
        "安全等级": kind,
        "geometry": MultiPolygon([shape]),
    }


# site, name, offset from the block centre (u, v), mast, jib, tail, lowest part above base, top above base
CRANES = [
    ("GD01", "TJ01", -30.0, 0.0, 52.0, 55.0, 14.0, 48.0, 58.0),
    ("GD01", "TJ02", 30.0, 0.0, 40.0, 50.0, 13.0, 38.0, 47.0),  # 1.0 m below the lowest part of TJ01: too close
    ("GD02", "TJ03", -28.0, 0.0, 50.0, 50.0, 13.0, 46.0, 55.0),
    ("GD02", "TJ04", 28.0, 0.0, 36.0, 48.0, 12.0, 34.0, 43.0),  # 3.0 m: enough
    ("GD04", "TJ05", -40.0, 0.0, 30.0, 40.0, 11.0, 28.0, 36.0),
    ("GD04", "TJ06", 45.0, 0.0, 30.0, 40.0, 11.0, 28.0, 36.0),  # circles 5 m apart: no overlap
]


def cranes(town: Town) -> tuple[gpd.GeoDataFrame, list[dict[str, Any]]]:
    """Tower cranes with base at the block's ground; truths for each pair on one site."""
    at = {code: block for code, _, block in site_blocks(town)}
    rows: list[dict[str, Any]] = []
    for code, name, du, dv, mast, jib, tail, low, top in CRANES:
        block = at[code]
        east, north = site.grid_to_map(block.i * 160 + 80 + du, block.j * 120 + 60 + dv)
        e, n = round(float(east), 3), round(float(north), 3)
        base = BASE_ELEV[code]
        rows.append(
            {
                "塔机编号": name,
                "工地编号": code,
                "塔身高度": mast,
                "起重臂长": jib,
                "平衡臂长": tail,
                "最低部件高程": round(base + low, 2),
                "顶部高程": round(base + top, 2),
                "基础高程": base,
                "geometry": Point(e, n, base),
            }
        )
    truths = [_pair(a, b) for k, a in enumerate(rows) for b in rows[k + 1 :] if a["工地编号"] == b["工地编号"]]
    return files.frame(rows), truths


BASE_ELEV = {"GD01": 4.5, "GD02": 5.0, "GD04": 4.6}


def _pair(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    apart = a["geometry"].distance(b["geometry"])
    high, low = (a, b) if a["最低部件高程"] >= b["最低部件高程"] else (b, a)
    gap = round(high["最低部件高程"] - low["顶部高程"], 2)
    overlap = round(a["起重臂长"] + b["起重臂长"] - apart, 3)
    to_mast = round(apart - low["起重臂长"], 3)
    return {
        "a": a["塔机编号"],
        "b": b["塔机编号"],
        "distance_m": round(apart, 3),
        "circle_overlap_m": max(overlap, 0.0),
        "low_jib_to_other_mast_m": to_mast,
        "vertical_gap_m": gap if overlap > 0 else None,
        "fails": bool(overlap > 0 and (gap < 2.0 or to_mast < 2.0)),
    }


def power_lines(town: Town) -> tuple[gpd.GeoDataFrame, list[dict[str, Any]]]:
    """A 110 kV line from the hills to the works and a 10 kV branch past the works' cranes."""
    main = [
        (site.E_MIN + 950, site.N_MIN + 1980, 0),
        (site.E_MIN + 1180, site.N_MIN + 1820, 0),
        (site.E_MIN + 1400, site.N_MIN + 1690, 0),
        (site.E_MIN + 1480, site.N_MIN + 1500, 0),
    ]
    lines = [("110kV清湾线", 110.0, [(e, n, ground(e, n) + 24.0) for e, n, _ in main])]
    block = next(b for code, _, b in site_blocks(town) if code == "GD04")
    # it passes the two masts at 41.2 and 42.4 m: 1.2 and 2.4 m beyond their 40 m jibs, where 1.5 m is the limit
    c, s = np.cos(np.radians(site.GRID_ROTATION_DEG)), np.sin(np.radians(site.GRID_ROTATION_DEG))
    ends = []
    for du, dv in ((-40.0, 41.2), (45.0, 42.4)):
        e, n = site.grid_to_map(block.i * 160 + 80 + du, block.j * 120 + 60 + dv)
        ends.append((float(e), float(n)))
    (e0, n0), (e1, n1) = ends
    outer = [(e0 - 60 * c, n0 - 60 * s), (e0, n0), (e1, n1), (e1 + 40 * c, n1 + 40 * s)]
    lines.append(("10kV滨海支线", 10.0, [(e, n, BASE_ELEV["GD04"] + 29.0) for e, n in outer]))
    rows = [{"名称": name, "电压": kv, "geometry": line_z(points)} for name, kv, points in lines]
    crane_rows, _ = cranes(town)
    truths = []
    for name, kv, points in lines:
        plan = LineString([(round(e, 3), round(n, 3)) for e, n, _ in points])
        for _, crane in crane_rows.iterrows():
            beyond = plan.distance(Point(crane.geometry.x, crane.geometry.y)) - crane["起重臂长"]
            if beyond < 10:
                limit = 1.5 if kv == 10 else 4.0
                truths.append(
                    {
                        "line": name,
                        "crane": crane["塔机编号"],
                        "voltage_kv": kv,
                        "horizontal_gap_m": round(beyond, 3),
                        "limit_m": limit,
                        "too_close_horizontally": bool(beyond < limit),
                    }
                )
    return files.frame(rows), truths
