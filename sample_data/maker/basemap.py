"""Base layers: roads, bridges, parking, green space, trees, facilities, addresses, map sheets, shore and plan areas."""

from __future__ import annotations

from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from shapely import LineString, Point, Polygon

from sample_data.maker import admin, files, shapes, site
from sample_data.maker.layout import Block, Edge, ground
from sample_data.maker.town import SPECIES, Town

ROAD_NAMES_U, ROAD_NAMES_V = "海晏潮平云月清和松竹梅兰", "春夏秋冬东南西北中文武安"


def road_name(edge: Edge) -> str:
    return (ROAD_NAMES_U[edge.a[1] % 12] + "湾路") if edge.along_u else (ROAD_NAMES_V[edge.a[0] % 12] + "溪街")


def roads(town: Town) -> gpd.GeoDataFrame:
    rows = []
    for k, edge in enumerate(town.plan.edges, 1):
        rows.append(
            {
                "道路编号": f"R{k:04d}",
                "名称": road_name(edge),
                "道路等级": edge.road_class,
                "宽度": edge.width_m,
                "车道数": {"主干路": 6, "次干路": 4, "支路": 2}[edge.road_class],
                "长度": round(edge.line.length, 2),
                "geometry": edge.line,
            }
        )
    lane = town.plan.dam_road
    rows.append(
        {
            "道路编号": f"R{len(rows) + 1:04d}",
            "名称": "云溪水库路",
            "道路等级": "乡道",
            "宽度": 6.0,
            "车道数": 2,
            "长度": round(lane.length, 2),
            "geometry": lane,
        }
    )
    return files.frame(rows)


def bridges(town: Town) -> gpd.GeoDataFrame:
    rows: list[dict[str, Any]] = []
    over = town.plan.river_zone(8.0)
    for edge in town.plan.edges:
        if edge.bridge:
            span = edge.line.buffer(edge.width_m / 2, cap_style="flat").intersection(over)
            rows.append(
                {
                    "id": f"BR{len(rows) + 1:02d}",
                    "name": road_name(edge) + "桥",
                    "clearance_m": 3.5,
                    "load": "城-A级",
                    "year": 2004 + len(rows),
                    "geometry": span,
                }
            )
    return files.frame(rows)


def parking(town: Town) -> gpd.GeoDataFrame:
    rows: list[dict[str, Any]] = []
    for block in town.plan.blocks:
        if block.kind in {"commerce", "hospital", "office", "public"}:
            lot = shapes.place(shapes.rectangle(26, 16), *_lot_spot(block))
            if not block.shape.contains(lot):
                continue
            rows.append(
                {
                    "id": f"PK{len(rows) + 1:02d}",
                    "name": f"{block.code}停车场",
                    "capacity": 60 + 15 * len(rows),
                    "free": (37 * len(rows)) % 50,
                    "geometry": lot,
                }
            )
    return files.frame(rows)


def _lot_spot(block: Block) -> tuple[float, float]:
    """The middle of the block's left-hand edge strip, which no building takes."""
    e, n = site.grid_to_map(block.i * site.BLOCK_U_M + 80.0, block.j * site.BLOCK_V_M + 60.0)
    return float(e), float(n)


def greenway(town: Town) -> gpd.GeoDataFrame:
    bank = town.plan.river_zone(12.0).boundary.difference(town.plan.sea.buffer(30)).intersection(town.plan.sheet)
    lines = [g for g in shapely.get_parts(shapely.line_merge(bank)) if g.length > 300]
    return files.frame(
        [
            {"id": f"GW{k:02d}", "name": f"清溪绿道{k}段", "length_m": round(g.length, 2), "geometry": g.simplify(0.5)}
            for k, g in enumerate(lines, 1)
        ]
    )


def green_space(town: Town) -> gpd.GeoDataFrame:
    rows: list[dict[str, Any]] = []
    for block in town.plan.blocks:
        if block.kind in {"park", "plaza"}:
            rows.append(
                {
                    "id": f"G{len(rows) + 1:02d}",
                    "name": f"{block.code}公园" if block.kind == "park" else "清湾广场",
                    "type": "1401" if block.kind == "park" else "1403",
                    "area_m2": round(block.shape.area, 2),
                    "tree_cover_pct": 55.0 if block.kind == "park" else 20.0,
                    "geometry": block.shape,
                }
            )
    return files.frame(rows)


def vegetation(town: Town) -> gpd.GeoDataFrame:
    t = town.trees
    table = {
        "id": [f"T{k:05d}" for k in range(1, len(t.e) + 1)],
        "树种": [SPECIES[k] for k in t.kind],
        "树高": t.height_m,
        "冠幅": t.crown_m * 2,
    }
    return gpd.GeoDataFrame(table, geometry=shapely.points(t.e, t.n), crs=site.CRS)


POI_KINDS = (
    ("中学", 1200),
    ("幼儿园", 240),
    ("派出所", 40),
    ("消防站", 60),
    ("体育馆", 800),
    ("菜场", 150),
    ("避难场所", 3000),
    ("养老院", 180),
    ("加油站", 8),
    ("公交站", 60),
)


def poi(town: Town) -> dict[str, gpd.GeoDataFrame]:
    """Points of interest, and the municipal ones among them as facilities."""
    rng = np.random.default_rng([town.seed, 6])
    fit = [b for b in town.buildings if b.use in {"商业", "办公", "教育", "文化", "医疗", "城镇住宅"}]
    rows = []
    for k, at in enumerate(rng.permutation(len(fit))[:60]):
        kind, capacity = POI_KINDS[k % len(POI_KINDS)]
        c = fit[at].shape.representative_point()
        rows.append(
            {
                "id": f"POI{k + 1:03d}",
                "name": f"清湾{kind}{k // len(POI_KINDS) + 1}",
                "kind": kind,
                "capacity": capacity,
                "geometry": c,
            }
        )
    municipal = {"派出所", "消防站", "体育馆", "避难场所"}
    return {
        "poi": files.frame([row for row in rows if row["kind"] not in municipal]),
        "facility": files.frame([row for row in rows if row["kind"] in municipal]),
    }


def addresses(town: Town) -> list[dict[str, Any]]:
    """Plain table with map coordinates."""
    centres = [(e, e.line.interpolate(0.5, normalized=True)) for e in town.plan.edges]
    tree = shapely.STRtree([p for _, p in centres])
    rows = []
    for b in town.buildings:
        c = b.shape.representative_point()
        street = centres[int(tree.nearest(c))][0]
        code = admin.district_of(c)
        rows.append(
            {
                "地址编码": f"DZ{b.id[1:]}",
                "标准地址": f"{admin.COUNTY_NAME}{dict(admin.TOWNS)[code[:9]]}{road_name(street)}{int(b.id[1:])}号",
                "行政区代码": code,
                "建筑编号": b.id,
                "东坐标": f"{c.x:.3f}",
                "北坐标": f"{c.y:.3f}",
            }
        )
    return rows


def map_sheets() -> gpd.GeoDataFrame:
    """500 m sheets of the 1:1000 series, three of them 1:2000, one missing, one doubled."""
    rows = []
    for r in range(4):
        for c in range(4):
            if (r, c) == (3, 0):
                continue  # the hill corner was never mapped at this scale
            scale = 2000 if (r, c) in {(3, 1), (2, 0), (0, 0)} else 1000
            shape = shapely.box(
                site.E_MIN + 500 * c, site.N_MIN + 500 * r, site.E_MIN + 500 * (c + 1), site.N_MIN + 500 * (r + 1)
            )
            rows.append(
                {
                    "sheet_no": f"{3108.9 + 0.5 * r:.1f}-{597.3 + 0.5 * c:.1f}",
                    "scale_denom": scale,
                    "survey_date": f"{2019 + (r + c) % 6}-05-01",
                    "geometry": shape,
                }
            )
    rows.append({**rows[5], "sheet_no": rows[5]["sheet_no"] + "-2", "survey_date": "2025-10-01"})
    return files.frame(rows)


def coast_line(town: Town) -> gpd.GeoDataFrame:
    shore = town.plan.shore.intersection(town.plan.sheet)
    mouth = town.plan.river_zone(4.0)
    parts = list(shapely.get_parts(shore.difference(mouth)))
    rows = [
        {"id": f"CL{k}", "name": f"清湾岸段{k}", "type": "人工岸线", "length_m": round(g.length, 2), "geometry": g}
        for k, g in enumerate(parts, 1)
    ]
    rows.append(
        {
            "id": "CL3",
            "name": "清溪河口岸段",
            "type": "河口岸线",
            "length_m": round(shore.intersection(mouth).length, 2),
            "geometry": shore.intersection(mouth),
        }
    )
    return files.frame(rows)


def sea_use(town: Town) -> gpd.GeoDataFrame:
    rows = []
    for k, (n0, n1, code, name) in enumerate(
        (
            (0, 420, "1802", "增养殖用海"),
            (480, 700, "2002", "航运用海"),
            (760, 1300, "2101", "风景旅游用海"),
            (1360, 2000, "2203", "海岸防护工程用海"),
        ),
        1,
    ):
        box = shapely.box(site.E_MIN, site.N_MIN + n0, site.E_MAX, site.N_MIN + n1)
        rows.append(
            {
                "id": f"HY{k}",
                "name": name,
                "code": code,
                "code_system": "ydyh2023",
                "geometry": town.plan.sea.buffer(-15).intersection(box),
            }
        )
    return files.frame(rows)


def plan_areas(town: Town) -> dict[str, gpd.GeoDataFrame]:
    """urban_area, planning_area and key_area."""
    core = shapely.union_all(
        [b.shape.buffer(20, join_style="mitre") for b in town.plan.blocks if b.kind not in {"field", "village"}]
    )
    urban = shapely.union_all([core]).buffer(48, join_style="mitre").buffer(-48, join_style="mitre")
    urban = Polygon(max(shapely.get_parts(urban), key=shapely.area).exterior).difference(town.plan.sea.buffer(9))
    planning = urban.convex_hull.buffer(60).intersection(town.plan.land)
    keys = [("清湾广场", "plaza"), ("清湾医院", "hospital"), ("海湾科创园", "office")]
    rows = [
        {
            "id": f"KA{k}",
            "name": name,
            "kind": kind,
            "geometry": next(b.shape for b in town.plan.blocks if b.kind == kind),
        }
        for k, (name, kind) in enumerate(keys, 1)
    ]
    rows.append(
        {
            "id": "KA4",
            "name": "中心小学周边",
            "kind": "school",
            "geometry": Polygon(site.PLOTS["school"].corners()).buffer(15, join_style="mitre"),
        }
    )
    return {
        "urban_area": files.frame([{"id": "UA1", "name": "清湾城区", "kind": "城区", "geometry": urban.simplify(0.5)}]),
        "planning_area": files.frame(
            [{"id": "PA1", "name": "清湾城市规划区", "kind": "城市规划区", "geometry": planning.simplify(0.5)}]
        ),
        "key_area": files.frame(rows),
    }


def street_point(edge: Edge, t: float, off_m: float) -> Point:
    """A point at share `t` of a street, `off_m` to its left, with the ground height as z."""
    (e0, n0), (e1, n1) = edge.line.coords
    d = np.array([e1 - e0, n1 - n0]) / np.hypot(e1 - e0, n1 - n0)
    e, n = np.array([e0, n0]) + t * np.array([e1 - e0, n1 - n0]) + off_m * np.array([-d[1], d[0]])
    return Point(round(float(e), 3), round(float(n), 3), round(ground(float(e), float(n)), 2))


def line_z(coords: list[tuple[float, float, float]]) -> LineString:
    return LineString([(round(x, 3), round(y, 3), round(z, 3)) for x, y, z in coords])
