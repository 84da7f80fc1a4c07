"""Land: survey of two years, plan, control lines, parcels, homesteads, geology.

Survey areas are ellipsoidal (Geod on CGCS2000, edges densified), as 三调 reports them; not the plane areas of the grid.
"""

from __future__ import annotations

from typing import Any

import geopandas as gpd
import numpy as np
import pyproj
import shapely
from shapely import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from sample_data.maker import admin, files, site, terrain
from sample_data.maker.layout import Block
from sample_data.maker.town import Town

CGCS2000 = pyproj.Geod(a=6378137.0, rf=298.257222101)
TO_DEGREES = pyproj.Transformer.from_crs(site.CRS, "EPSG:4490", always_xy=True)

# block kind -> (三调 code, name), (用地用海 2023 code, name, far_max, density %, green %, height m)
SURVEY = {
    "housing": ("0701", "城镇住宅用地"),
    "commerce": ("05H1", "商业服务业设施用地"),
    "industry": ("0601", "工业用地"),
    "village": ("0702", "农村宅基地"),
    "public": ("08H2", "科教文卫用地"),
    "office": ("05H1", "商业服务业设施用地"),
    "hospital": ("08H2", "科教文卫用地"),
    "plaza": ("0810", "公园与绿地"),
    "park": ("0810", "公园与绿地"),
    "pit": ("1201", "空闲地"),
    "field": ("0101", "水田"),
}
PLAN = {
    "housing": ("0701", "城镇住宅用地", 2.5, 30.0, 30.0, 80.0),
    "commerce": ("0901", "商业用地", 3.5, 45.0, 20.0, 100.0),
    "industry": ("1001", "工业用地", 2.0, 60.0, 10.0, 30.0),
    "village": ("0703", "农村宅基地", 1.5, 50.0, 10.0, 15.0),
    "public": ("0804", "教育用地", 1.2, 30.0, 35.0, 36.0),
    "office": ("0902", "商务金融用地", 3.0, 40.0, 25.0, 60.0),
    "hospital": ("0806", "医疗卫生用地", 2.0, 35.0, 35.0, 50.0),
    "plaza": ("1403", "广场用地", 0.2, 10.0, 35.0, 15.0),
    "park": ("1401", "公园绿地", 0.1, 5.0, 70.0, 12.0),
    "pit": ("0901", "商业用地", 3.5, 45.0, 20.0, 100.0),
    "field": ("0101", "水田", 0.0, 0.0, 0.0, 0.0),
}


def ellipsoidal_m2(shape: BaseGeometry) -> float:
    """Area on the CGCS2000 ellipsoid; edges, straight in the grid, are followed in 20 m steps."""
    dense = shapely.segmentize(shape, 20.0)
    degrees = shapely.transform(dense, lambda p: np.column_stack(TO_DEGREES.transform(p[:, 0], p[:, 1])))
    return float(abs(CGCS2000.geometry_area_perimeter(shapely.orient_polygons(degrees))[0]))


def multi(shape: BaseGeometry, least_m2: float = 1.0) -> MultiPolygon:
    """The polygonal parts at millimetre precision."""
    parts = shapely.get_parts(shapely.make_valid(shapely.set_precision(shape, 0.001)))
    return MultiPolygon([p for p in parts if p.geom_type == "Polygon" and p.area > least_m2])


def survey_parts(town: Town) -> list[tuple[str, str, BaseGeometry]]:
    """(code, name, shape) that tile the land: water, blocks, roads, woods."""
    plan = town.plan
    left: BaseGeometry = plan.land
    parts: list[tuple[str, str, BaseGeometry]] = []

    def take(code: str, name: str, shape: BaseGeometry) -> None:
        nonlocal left
        shape = shapely.set_precision(shape, 0.001)
        part = left.intersection(shape)
        left = left.difference(shape)
        polygons = (p for p in shapely.get_parts(part) if p.geom_type == "Polygon" and p.area > 20)
        parts.extend((code, name, p) for p in polygons)

    take("1103", "水库水面", plan.reservoir)
    take("1101", "河流水面", plan.river)
    take("1109", "水工建筑用地", Polygon(site.PLOTS["dam"].corners()).buffer(6))
    for block in plan.blocks:
        take(*_survey_class(block), block.shape)
    take("1004", "城镇村道路用地", shapely.union_all([e.line.buffer(17.0, cap_style="square") for e in plan.edges]))
    take("1003", "公路用地", plan.dam_road.buffer(4.0))
    woods = _woods()
    take("0301", "乔木林地", woods)
    take("0404", "其他草地", plan.land)
    return parts


def _survey_class(block: Block) -> tuple[str, str]:
    if block.kind == "field" and (block.i * 3 + block.j) % 4 == 0:
        return ("0103", "旱地") if block.i % 2 else ("0201", "果园")
    return SURVEY[block.kind]


def _woods() -> BaseGeometry:
    """Where the ground is above 14 m, traced on 20 m cells."""
    step = 20.0
    e = np.arange(site.E_MIN, site.E_MAX, step)
    n = np.arange(site.N_MIN, site.N_MAX, step)
    high = terrain.ground_elev_m(e[None, :] + step / 2, n[:, None] + step / 2) > 14
    r, c = np.nonzero(high)
    return shapely.union_all(shapely.box(e[c], n[r], e[c] + step, n[r] + step)).simplify(8.0)


def survey(town: Town, year: int) -> gpd.GeoDataFrame:
    """DLTB of one year. In 2019 the pits' blocks and two housing blocks were still rice fields."""
    rows = []
    for k, (code_now, name_now, shape) in enumerate(survey_parts(town), 1):
        farmed = year == 2019 and (code_now == "1201" or (k % 17 == 5 and code_now == "0701"))
        code, name = ("0101", "水田") if farmed else (code_now, name_now)
        area = round(ellipsoidal_m2(shape), 2)
        share = 0.08 if code in {"0101", "0103"} and k % 3 == 0 else 0.0
        deducted = round(area * share, 2)
        rows.append(
            {
                "BSM": f"{admin.COUNTY}2110{k:08d}",
                "YSDM": "2001010100",
                "TBBH": f"{k:05d}",
                "DLBM": code,
                "DLMC": name,
                "QSXZ": "30" if code.startswith("01") else "10",
                "ZLDWDM": admin.district_of(shape.representative_point()) + "0000000",
                "TBMJ": area,
                "KCDLBM": "1203" if share else None,
                "KCXS": share,
                "KCMJ": deducted,
                "TBDLMJ": round(area - deducted, 2),
                "GDLX": "TT" if share else None,
                "GDPDJB": ("2" if share else "1") if code.startswith("01") else None,
                "geometry": MultiPolygon([shape]),
            }
        )
    return files.frame(rows)


def land_plan(town: Town) -> gpd.GeoDataFrame:
    rows = []
    for k, block in enumerate(town.plan.blocks, 1):
        code, name, far, density, green, height = PLAN[block.kind]
        limits = (
            {"far_max": far, "density_max_pct": density, "green_min_pct": green, "height_max_m": height}
            if far
            else dict.fromkeys(("far_max", "density_max_pct", "green_min_pct", "height_max_m"))
        )
        rows.append(
            {
                "地块编号": f"QW-{k:03d}",
                "ydyh_code": code,
                "ydyh_name": name,
                "code_system": "ydyh2023",
                **limits,
                "geometry": multi(block.shape),
            }
        )
    table = files.frame(rows)
    return table.astype(dict.fromkeys(("far_max", "density_max_pct", "green_min_pct", "height_max_m"), float))


def control_lines(town: Town) -> dict[str, gpd.GeoDataFrame]:
    """Pbf (southern fields), eco_redline (hills and reservoir), urban_boundary; they do not touch each other."""
    plan = town.plan
    fields = [b for b in plan.blocks if b.kind == "field" and _survey_class(b)[0] in {"0101", "0103"}]
    pbf = [
        {
            "JBNTTBBH": f"{admin.COUNTY}YJ{k:04d}",
            "DLBM": _survey_class(b)[0],
            "area_m2": round(ellipsoidal_m2(b.shape), 2),
            "geometry": multi(b.shape),
        }
        for k, b in enumerate(fields, 1)
    ]
    redline = (
        _woods()
        .intersection(shapely.box(site.E_MIN, site.N_MIN + 1250, site.E_MIN + 900, site.N_MAX))
        .difference(plan.dam_road.buffer(12))
    )
    redline = redline.difference(shapely.union_all([b.shape.buffer(20, join_style="mitre") for b in plan.blocks]))
    redline = max(shapely.get_parts(redline), key=shapely.area)
    zones = [{"type": "水源涵养", "grade": "国家级", "geometry": multi(Polygon(redline.exterior))}]
    urban = [b for b in plan.blocks if b.kind not in {"field", "village", "industry"}]
    works = [b for b in plan.blocks if b.kind == "industry"]
    core = shapely.union_all([b.shape.buffer(17, join_style="mitre") for b in urban])
    flexible = shapely.union_all([b.shape.buffer(17, join_style="mitre") for b in works]).difference(core)
    clear = shapely.union_all([b.shape.buffer(1.0) for b in fields])
    boundary = [
        {"zone": "集中建设区", "geometry": multi(core.difference(clear))},
        {"zone": "弹性发展区", "geometry": multi(flexible.difference(clear))},
    ]
    return {"pbf": files.frame(pbf), "eco_redline": files.frame(zones), "urban_boundary": files.frame(boundary)}


def parcels(town: Town) -> gpd.GeoDataFrame:
    rows = []
    for k, block in enumerate((b for b in town.plan.blocks if b.kind not in {"field", "village", "park"}), 1):
        rows.append(
            {
                "宗地代码": f"{admin.COUNTY}001001GB{k:05d}",
                "权利类型": "国有建设用地使用权",
                "宗地面积": round(ellipsoidal_m2(block.shape), 2),
                "geometry": multi(block.shape),
            }
        )
    return files.frame(rows)


def homesteads(town: Town) -> gpd.GeoDataFrame:
    rows: list[dict[str, Any]] = []
    for b in town.buildings:
        if b.use == "农村住宅" and b.block != "":
            yard = b.shape.buffer(1.5, join_style="mitre")
            rows.append(
                {
                    "户号": f"H{len(rows) + 1:04d}",
                    "面积": round(ellipsoidal_m2(yard), 2),
                    "村": admin.district_of(b.shape.centroid),
                    "geometry": yard,
                }
            )
    return files.frame(rows)


def special_lines(town: Town) -> dict[str, gpd.GeoDataFrame]:
    """heritage_line, water_line, hazard_line."""
    plaza = next(b for b in town.plan.blocks if b.kind == "park" and b.shape.area > 9000)
    blue = town.plan.river_zone(15.0)
    low = town.plan.river_zone(90.0).difference(town.plan.river_zone(20.0))
    return {
        "heritage_line": files.frame(
            [
                {
                    "name": "云溪古寨",
                    "grade": "市级",
                    "setback_m": 20.0,
                    "geometry": plaza.shape.centroid.buffer(35, quad_segs=8),
                }
            ]
        ),
        "water_line": files.frame([{"name": "清溪蓝线", "grade": "一级", "setback_m": 15.0, "geometry": multi(blue)}]),
        "hazard_line": files.frame(
            [{"name": "清溪洪涝风险区", "grade": "中", "setback_m": 0.0, "geometry": multi(low)}]
        ),
    }


def geology(town: Town) -> dict[str, gpd.GeoDataFrame]:
    """Boreholes at the pits and a slide area on the slope above the valley."""
    holes = []
    for k, (name, pit) in enumerate(site.PITS.items(), 1):
        for c, (e, n) in enumerate(pit.corners(), 1):
            row = {"名称": f"ZK{k}{c}", "类型": "钻孔", "等级": None, "体积": None, "所在基坑": name}
            holes.append({**row, "geometry": shapely.Point(e, n)})
    centre = np.array([site.E_MIN + 560.0, site.N_MIN + 1330.0])
    t = np.linspace(0, 2 * np.pi, 13)[:-1]
    ring = centre + np.column_stack([70 * np.cos(t), 38 * np.sin(t)]) * (1 + 0.15 * np.sin(3 * t))[:, None]
    slide = {"名称": "云溪西坡滑坡隐患点", "类型": "滑坡", "等级": "中型", "体积": 120000.0}
    shape = Polygon(ring).difference(town.plan.dam_road.buffer(4))
    return {"geology_point": files.frame(holes), "geohazard": files.frame([{**slide, "geometry": multi(shape)}])}
