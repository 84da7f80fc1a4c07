"""Sensors and a month of hourly readings, stations, cameras, lamps, meters and events; with planted exceedances."""

from __future__ import annotations

import datetime as dt
from typing import Any

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray
from shapely import Point

from sample_data.maker import files, site
from sample_data.maker.basemap import street_point
from sample_data.maker.construction import site_blocks
from sample_data.maker.hydrology import LEVELS, rain_stations
from sample_data.maker.layout import ground
from sample_data.maker.pipes import Pipe
from sample_data.maker.town import Town

START = dt.datetime(2026, 6, 1, tzinfo=dt.timezone(dt.timedelta(hours=8)))
HOURS = 720
UNITS = {"water_level": "m", "rain": "mm", "PM10": "ug/m3", "noise": "dB(A)", "pressure": "MPa"}


def _time(hour: int) -> str:
    return (START + dt.timedelta(hours=hour)).isoformat()


def sensors(town: Town, water: list[Pipe]) -> gpd.GeoDataFrame:
    """Levels, rain gauges, dust and noise at the sites, background stations, pressure on mains."""
    rows: list[dict[str, Any]] = []

    def add(device: str, kind: str, e: float, n: float, z: float, *, where: str, host: str) -> None:
        rows.append(
            {
                "设备编号": device,
                "设备类型": kind,
                "位置类别": where,
                "所在对象": host,
                "安装日期": "2024-05-10",
                "状态": "在线",
                "geometry": Point(round(e, 3), round(n, 3), round(z, 3)),
            }
        )

    add("SW01", "water_level", site.DAM_E - 30, site.DAM_N + 20, 47.0, where="on", host="SK01")
    add("SW02", "water_level", site.E_MIN + 1240, float(site.river_n(site.E_MIN + 1240)), 4.0, where="on", host="QX02")
    for _, s in rain_stations().iterrows():
        add("JY" + s["站码"][2:], "rain", s.geometry.x, s.geometry.y, s["高程"] + 1.5, where="on", host=s["站码"])
    for k, (code, _, block) in enumerate(site_blocks(town), 1):
        p = block.shape.exterior.interpolate(12.0)
        inner = block.shape.buffer(-3).exterior.interpolate(12.0)
        add(f"YC{k:02d}", "PM10", inner.x, inner.y, ground(p.x, p.y) + 3.0, where="above", host=code)
        add(f"ZS{k:02d}", "noise", inner.x + 0.5, inner.y, ground(p.x, p.y) + 1.5, where="above", host=code)
    for k, (x, y) in enumerate(((900, 950), (1300, 560)), 1):
        e, n = site.E_MIN + x, site.N_MIN + y
        add(f"GK{k:02d}", "PM10", e, n, ground(e, n) + 8, where="above", host="county")
    for k, p in enumerate([q for q in water if q.dn_mm >= 300 and q.id < "JS0900"][::6][:8], 1):
        mid = np.mean(p.coords, axis=0)
        add(f"YLJ{k:02d}", "pressure", mid[0], mid[1], mid[2], where="below", host=p.id)
    return files.frame(rows)


def observations(town: Town, table: gpd.GeoDataFrame) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Hourly rows of June 2026, local time with its offset, and the planted exceedances and near misses."""
    rng = np.random.default_rng([town.seed, 8])
    hours = np.arange(HOURS)
    rain = _rain(rng, hours)
    county = 55 + 15 * np.sin(hours / 24 * 2 * np.pi) + rng.normal(0, 4, HOURS)
    series = {
        row["设备编号"]: _series(row["设备编号"], row["设备类型"], hours=hours, rain=rain, county=county, rng=rng)
        for _, row in table.iterrows()
    }
    truths = _plant(series)
    rows = []
    kinds = dict(zip(table["设备编号"], table["设备类型"], strict=True))
    for device, values in series.items():
        digits = 2 if kinds[device] in {"water_level", "pressure"} else 1
        rows += [
            {
                "设备编号": device,
                "时间": _time(h),
                "观测量": kinds[device],
                "数值": f"{values[h]:.{digits}f}",
                "单位": UNITS[kinds[device]],
            }
            for h in range(HOURS)
        ]
    return rows, truths


def _rain(rng: np.random.Generator, hours: NDArray[np.int64]) -> NDArray[np.float64]:
    """Three storms; the second, on 17 June, is the largest."""
    rain = np.zeros(HOURS)
    for peak, amount, width in ((130, 4.0, 4.0), (393, 17.0, 5.0), (560, 2.5, 6.0)):
        rain += amount * np.exp(-(((hours - peak) / width) ** 2))
    return np.where(rain > 0.1, rain * rng.uniform(0.8, 1.2, HOURS), 0.0)


def _series(
    device: str,
    kind: str,
    *,
    hours: NDArray[np.int64],
    rain: NDArray[np.float64],
    county: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    if kind == "rain":
        return np.round(rain * {"JY01": 1.25, "JY02": 1.1, "JY03": 1.0, "JY04": 0.85}[device], 1)
    if kind == "water_level":
        gathered = np.convolve(rain, np.exp(-np.arange(96) / 30), mode="full")[:HOURS]
        return (
            43.2 + 0.004 * gathered
            if device == "SW01"
            else 0.9 + 0.6 * np.sin(hours / 12.42 * 2 * np.pi) + 0.008 * gathered
        )
    if kind == "PM10":
        return county + (rng.normal(0, 2, HOURS) if device.startswith("GK") else rng.uniform(0, 45, HOURS))
    if kind == "noise":
        working = (hours % 24 >= 7) & (hours % 24 < 19)
        return np.where(working, 62.0, 48.0) + rng.uniform(-4, 4, HOURS)
    return 0.36 - 0.04 * np.sin((hours % 24 - 6) / 24 * 2 * np.pi) + rng.normal(0, 0.004, HOURS)


# device, day of June, hour, value set, limit, exceeds
NOISE = [
    ("ZS01", 5, 22, 57.0, 55.0),
    ("ZS01", 5, 21, 57.0, 70.0),
    ("ZS02", 9, 6, 69.0, 70.0),
    ("ZS02", 11, 5, 58.5, 55.0),
    ("ZS03", 14, 10, 72.5, 70.0),
    ("ZS03", 14, 11, 70.0, 70.0),
    ("ZS04", 20, 23, 55.0, 55.0),
]
DUST = [
    ("YC01", 12, 14, 90.0),
    ("YC01", 12, 15, 70.0),
    ("YC02", 18, 9, 130.0),
    ("YC03", 22, 16, 79.0),
    ("YC04", 25, 11, 81.0),
]
DUST_LIMIT = 80.0


def _plant(series: dict[str, NDArray[np.float64]]) -> list[dict[str, Any]]:
    truths = []
    for device, day, hour, value, limit in NOISE:
        h = (day - 1) * 24 + hour
        series[device][h] = value
        truths.append(
            {
                "device_id": device,
                "time": _time(h),
                "quantity": "noise",
                "value": value,
                "limit": limit,
                "unit": "dB(A)",
                "exceeds": value > limit,
            }
        )
    for device, day, hour, over in DUST:
        h = (day - 1) * 24 + hour
        for station in ("GK01", "GK02"):
            series[station][h] = round(float(series[station][h]), 1)
        mean = round((series["GK01"][h] + series["GK02"][h]) / 2, 2)
        series[device][h] = round(mean + over, 1)
        truths.append(
            {
                "device_id": device,
                "time": _time(h),
                "quantity": "PM10",
                "value": series[device][h],
                "county_mean": mean,
                "difference": round(series[device][h] - mean, 2),
                "limit": DUST_LIMIT,
                "unit": "ug/m3",
                "exceeds": bool(series[device][h] - mean > DUST_LIMIT),
            }
        )
    limit = LEVELS["flood_limit_level_m"]
    for day, hour, level in ((18, 2, limit + 0.35), (18, 3, limit)):
        h = (day - 1) * 24 + hour
        series["SW01"][h] = level
        truths.append(
            {
                "device_id": "SW01",
                "time": _time(h),
                "quantity": "water_level",
                "value": level,
                "limit": limit,
                "unit": "m",
                "exceeds": level > limit,
            }
        )
    return truths


def devices(town: Town) -> dict[str, gpd.GeoDataFrame]:
    """weather_station, camera, base_station, pole, lamp and meter."""
    weather = [
        {
            "站号": f"QX{k}",
            "名称": f"清湾气象站{k}",
            "海拔": round(ground(site.E_MIN + x, site.N_MIN + y), 1),
            "观测要素": "气温,风,降水,气压",
            "geometry": Point(site.E_MIN + x, site.N_MIN + y),
        }
        for k, (x, y) in enumerate(((500, 500), (1000, 800), (1350, 1250)), 1)
    ]
    cameras: list[dict[str, Any]] = []
    towers: list[dict[str, Any]] = []
    poles: list[dict[str, Any]] = []
    lamps: list[dict[str, Any]] = []
    for k, edge in enumerate(town.plan.edges):
        if edge.bridge:
            continue
        if k % 5 == 0:
            p = street_point(edge, 0.1, 12.0)
            cameras.append(
                {
                    "设备编号": f"SX{len(cameras) + 1:03d}",
                    "方位角": float(k * 37 % 360),
                    "视场角": 70.0,
                    "可视距离": 120.0,
                    "状态": "正常" if k % 35 else "故障",
                    "geometry": Point(p.x, p.y),
                }
            )
        if k % 17 == 0:
            p = street_point(edge, 0.5, -14.0)
            towers.append(
                {"设备编号": f"JZ{len(towers) + 1:03d}", "覆盖半径": 250.0, "状态": "正常", "geometry": Point(p.x, p.y)}
            )
        if k % 4 == 0:
            p = street_point(edge, 0.25, 13.0)
            poles.append(
                {
                    "杆件编号": f"GJ{len(poles) + 1:03d}",
                    "杆高": 10.0,
                    "挂载设备": "照明,摄像机,环境监测",
                    "geometry": Point(p.x, p.y),
                }
            )
        for t in (0.2, 0.4, 0.6, 0.8):
            p = street_point(edge, t, 10.0)
            lamps.append(
                {
                    "灯具编号": f"LD{len(lamps) + 1:04d}",
                    "智能控制": len(lamps) % 12 != 0,
                    "功率": 120.0,
                    "geometry": Point(p.x, p.y),
                }
            )
    meters = [
        {
            "表号": f"DB{b.id[1:]}",
            "类型": "电表",
            "建筑编号": b.id,
            "自动抄表": int(b.id[1:]) % 10 != 3,
            "geometry": b.shape.representative_point(),
        }
        for b in town.buildings
        if b.key_energy
    ]
    return {
        "weather_station": files.frame(weather),
        "camera": files.frame(cameras),
        "base_station": files.frame(towers),
        "pole": files.frame(poles),
        "lamp": files.frame(lamps),
        "meter": files.frame(meters),
    }


def energy(town: Town) -> list[dict[str, Any]]:
    """Twelve months of 2025 for the key users; two have no meter data (18 of 20 covered)."""
    rows = []
    for b in [b for b in town.buildings if b.key_energy][:18]:
        for month in range(1, 13):
            kwh = b.gfa_m2 * (4.0 + 2.0 * abs(month - 7 + (month > 7)) / 6 + (2.5 if month in {7, 8} else 0))
            rows.append(
                {
                    "建筑编号": b.id,
                    "月份": f"2025-{month:02d}",
                    "用电量(kWh)": f"{kwh:.0f}",
                    "用气量(m3)": f"{b.gfa_m2 * 0.08:.0f}",
                }
            )
    return rows


def events(town: Town) -> gpd.GeoDataFrame:
    rng = np.random.default_rng([town.seed, 9])
    kinds = ("道路积水", "管道漏水", "占道施工", "树木倒伏", "井盖缺失")
    rows = []
    for k in range(40):
        edge = town.plan.edges[int(rng.integers(len(town.plan.edges)))]
        p = street_point(edge, float(rng.uniform(0.1, 0.9)), float(rng.uniform(-8, 8)))
        begin = int(rng.integers(0, 650))
        done = k % 6 != 5
        rows.append(
            {
                "事件编号": f"SJ{k + 1:03d}",
                "事件类型": kinds[k % 5],
                "上报时间": _time(begin),
                "办结时间": _time(begin + int(rng.integers(2, 60))) if done else None,
                "状态": "已办结" if done else "处理中",
                "geometry": Point(p.x, p.y),
            }
        )
    return files.frame(rows)
