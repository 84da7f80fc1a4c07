"""River, pools, basin, reservoir and its curve, seawall, dykes, works, source zones, outfalls, rain stations."""

from __future__ import annotations

from typing import Any

import geopandas as gpd
import numpy as np
import shapely
import shapely.ops
from shapely import LineString, Point, Polygon

from sample_data.maker import files, site, terrain
from sample_data.maker.basemap import line_z
from sample_data.maker.land import ellipsoidal_m2, multi
from sample_data.maker.layout import ground
from sample_data.maker.pipes import Pipe
from sample_data.maker.town import Town

LEVELS = {
    "dead_level_m": 34.0,
    "normal_level_m": 46.0,
    "flood_limit_level_m": 45.0,
    "flood_high_level_m": 47.5,
    "design_level_m": 48.5,
    "check_level_m": 49.5,
}


def layers(town: Town, rain: list[Pipe]) -> dict[str, gpd.GeoDataFrame]:
    return {
        "river": _river(),
        "water_body": _water_bodies(town),
        "basin": _basin(),
        "reservoir": _reservoir(town),
        "seawall": _seawall(),
        "dyke": _dykes(),
        "hydraulic_structure": _works(),
        "water_source_zone": _source_zones(town),
        "outfall": _outfalls(town, rain),
        "rain_station": rain_stations(),
    }


def _axis(e0: float, e1: float, step: float = 20.0) -> LineString:
    e = np.arange(e0, e1 + 0.1, step)
    return LineString(np.column_stack([e, site.river_n(e)]))


def _river() -> gpd.GeoDataFrame:
    rows = []
    for k, (a, b, bed, alert, guarantee) in enumerate(
        ((520, 900, 8.0, 11.5, 12.5), (900, 1300, 0.0, 3.2, 4.0), (1300, 1580, -1.5, 2.6, 3.4)), 1
    ):
        rows.append(
            {
                "河流代码": f"QX{k:02d}",
                "名称": f"清溪{'上中下'[k - 1]}游",
                "河宽": round(2 * float(site.river_half_width_m(site.E_MIN + (a + b) / 2)), 1),
                "河底高程": bed,
                "警戒水位": alert,
                "保证水位": guarantee,
                "geometry": _axis(site.E_MIN + a, site.E_MIN + b),
            }
        )
    return files.frame(rows)


def _water_bodies(town: Town) -> gpd.GeoDataFrame:
    rows = [
        {"name": "云溪水库水面", "code": "SK01", "bed_elev_m": 26.0, "geometry": multi(town.plan.reservoir)},
        {"name": "清溪水面", "code": "QX00", "bed_elev_m": -1.5, "geometry": multi(town.plan.river)},
    ]
    return files.frame(rows)


def _basin() -> gpd.GeoDataFrame:
    """Drawn by hand around the reservoir's valley, as a department's sketch would be; not derived from the DEM."""
    shape = Polygon(
        [
            (site.E_MIN + x, site.N_MIN + y)
            for x, y in (
                (10, 1500),
                (150, 1420),
                (330, 1390),
                (430, 1480),
                (470, 1560),
                (520, 1680),
                (430, 1800),
                (280, 1930),
                (120, 1985),
                (10, 1985),
            )
        ]
    )
    return files.frame(
        [
            {
                "name": "云溪水库流域",
                "outlet": "云溪水库大坝",
                "area_m2": round(ellipsoidal_m2(shape), 1),
                "geometry": shape,
            }
        ]
    )


def _reservoir(town: Town) -> gpd.GeoDataFrame:
    row = {
        "reservoir_code": "SK01",
        "name": "云溪水库",
        **LEVELS,
        "dam_crest_elev_m": site.DAM_CREST_ELEV_M,
        "geometry": multi(town.plan.reservoir),
    }
    return files.frame([row])


def storage_curve(town: Town, step_m: float = 1.0) -> list[dict[str, Any]]:
    """Level, storage and surface by summing 2 m cells of the ground formula inside the pool's basin."""
    cell = 2.0
    e = np.arange(site.E_MIN + cell / 2, site.E_MIN + 520, cell)[None, :]
    n = np.arange(site.N_MIN + 1300 + cell / 2, site.N_MAX, cell)[:, None]
    z = terrain.ground_elev_m(e, n)
    inside = town.plan._upstream(e, n) & shapely.contains_xy(town.plan.reservoir.buffer(60), *np.broadcast_arrays(e, n))  # noqa: SLF001
    z = np.where(inside, z, np.inf)
    rows = []
    for level in np.arange(np.floor(z.min()), site.DAM_CREST_ELEV_M + 0.1, step_m):
        depth = np.clip(level - z, 0, None)
        rows.append(
            {
                "水库代码": "SK01",
                "水位(m)": f"{level:.2f}",
                "库容(万m3)": f"{depth.sum() * cell**2 / 1e4:.3f}",
                "水面面积": f"{np.count_nonzero(depth > 0) * cell**2:.0f}",
            }
        )
    return rows


def _seawall() -> gpd.GeoDataFrame:
    n = np.arange(site.N_MIN + 5, site.N_MAX - 4, 30.0)
    e = site.coast_e(n) - 9.0 * 1.03
    dry = terrain.ground_elev_m(e, n) > site.SEAWALL_CREST_ELEV_M - 0.3
    rows: list[dict[str, Any]] = []
    for part in np.split(np.arange(len(n)), np.flatnonzero(np.diff(dry.astype(int))) + 1):
        if dry[part[0]] and len(part) > 3:
            rows.append(
                {
                    "名称": f"清湾海塘{'南北段'[len(rows)]}段",
                    "塘顶高程": site.SEAWALL_CREST_ELEV_M,
                    "设计重现期": 50,
                    "geometry": line_z([(e[k], n[k], site.SEAWALL_CREST_ELEV_M) for k in part]),
                }
            )
    return files.frame(rows)


def _dykes() -> gpd.GeoDataFrame:
    rows = []
    e = np.arange(site.E_MIN + 1000, site.E_MIN + 1540, 30.0)
    for name, sign in (("清溪左堤", 1), ("清溪右堤", -1)):
        off = sign * (site.river_half_width_m(e) + 7.0)
        slope = site.river_slope(e)
        x, y = e - slope / np.hypot(1, slope) * off, site.river_n(e) + off / np.hypot(1, slope)
        z = terrain.ground_elev_m(x, y)
        rows.append(
            {
                "名称": name,
                "堤顶高程": round(float(z.mean()), 2),
                "设计重现期": 20,
                "geometry": line_z(list(zip(x, y, z, strict=True))),
            }
        )
    return files.frame(rows)


def _works() -> gpd.GeoDataFrame:
    rows = []
    for code, plot, kind, crest in (("SG01", "dam", "大坝", site.DAM_CREST_ELEV_M), ("SG02", "sluice", "水闸", 6.8)):
        rows.append(
            {
                "工程编号": code,
                "名称": site.PLOTS[plot].title_zh,
                "工程类型": kind,
                "phase": "completed",
                "顶高程": crest,
                "geometry": Polygon(site.PLOTS[plot].corners()),
            }
        )
    return files.frame(rows)


def _source_zones(town: Town) -> gpd.GeoDataFrame:
    first = town.plan.reservoir.buffer(30)
    second = town.plan.reservoir.buffer(150).difference(first).intersection(town.plan.sheet)
    return files.frame(
        [
            {"name": "云溪水库一级保护区", "grade": "一级", "geometry": multi(first.intersection(town.plan.sheet))},
            {"name": "云溪水库二级保护区", "grade": "二级", "geometry": multi(second)},
        ]
    )


def _outfalls(town: Town, rain: list[Pipe]) -> gpd.GeoDataFrame:
    """One at each lower end of the storm drains that lies by the river."""
    starts = {p.start for p in rain}
    ends = {p.end: p.coords[-1] for p in rain if p.end not in starts and p.id < "YS0900"}
    rows: list[dict[str, Any]] = []
    for name, (e, n, _) in sorted(ends.items()):
        near = shapely.ops.nearest_points(town.plan.river, Point(e, n))[0]
        if near.distance(Point(e, n)) < 110:
            rows.append(
                {
                    "排口编号": f"PW{len(rows) + 1:02d}",
                    "排口类型": "雨水排口",
                    "受纳水体": "清溪",
                    "上游管点": name,
                    "geometry": near,
                }
            )
    return files.frame(rows)


def rain_stations() -> gpd.GeoDataFrame:
    spots = (
        ("YL01", "云溪水库站", 240, 1700),
        ("YL02", "北山站", 900, 1850),
        ("YL03", "清湾站", 1000, 800),
        ("YL04", "滨海站", 1480, 1200),
    )
    return files.frame(
        [
            {
                "站码": code,
                "名称": name,
                "高程": round(ground(site.E_MIN + x, site.N_MIN + y), 2),
                "要素": "降水",
                "geometry": Point(site.E_MIN + x, site.N_MIN + y),
            }
            for code, name, x, y in spots
        ]
    )
