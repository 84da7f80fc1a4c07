"""Water as it is now: the present level of rivers and reservoirs, and the rain of the last hours, from observations.

A device belongs to the feature that its `host_id` names (id or code), else to the area it stands in. Values with a mark
of doubt are not used, nor are old ones; where nothing is left, the reason is told.
"""

import datetime as dt
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from layers.catalogue import Title
from twin import series
from twin.analysis.place import words
from twin.analysis.sensor_exceedance_series import HARMLESS, factor, is_quantity
from twin.store.interface import Features
from twin.supervision.check import Context

FloatArray = NDArray[np.float64]
MOST_OBSERVATIONS = 5_000_000
STATIONS = ("rain_station", "weather_station")


@dataclass(frozen=True)
class Level:
    """Present level of a feature, or why it is not known."""

    level_m: float | None
    device: str | None = None
    time: dt.datetime | None = None
    why: Title | None = None


@dataclass(frozen=True)
class Rain:
    """Rain of (n,) devices: `points` (n, 2) in the city's CRS, `totals` by hours, NaN where values are missing."""

    devices: list[str]
    points: FloatArray
    totals: dict[int, FloatArray]


def at(context: Context) -> dt.datetime:
    """The moment looked at, in UTC."""
    return (context.moment or context.now).astimezone(dt.UTC)


def levels(context: Context, layer: str, found: Features, code: str, max_age_h: float) -> list[Level]:
    """(n,) present levels of the features of a layer."""
    sensors = context.read("sensor", reach_m=10_000.0, properties=("device_id", "host_id", "kind"))
    by_host, free = _gauges(sensors)
    codes = words(found, code)
    mine = [
        [name for key in dict.fromkeys((own, codes[row], f"{layer}/{own}")) if key for name in by_host.get(key, ())]
        for row, own in enumerate(found.ids)
    ]
    for row, name in _standing_in(found.geometry, free):
        if not any(each in by_host for each in (found.ids[row], codes[row])):
            mine[row].append(name)
    wanted = {name for each in mine for name in each}
    latest = _latest(context, wanted, dt.timedelta(hours=max_age_h)) if wanted else {}
    return [_level(each, latest, max_age_h) for each in mine]


def _gauges(sensors: Features) -> tuple[dict[str, list[str]], list[tuple[str, shapely.Geometry]]]:
    """Devices that measure a level: by the host they name, and those that name none with their places."""
    by_host: dict[str, list[str]] = {}
    free: list[tuple[str, shapely.Geometry]] = []
    columns = (words(sensors, name) for name in ("kind", "host_id", "device_id"))
    for row, (kind, host, device) in enumerate(zip(*columns, strict=True)):
        if kind is None or not is_quantity(kind, ["level"]):
            continue
        name = device or sensors.ids[row]
        if host:
            by_host.setdefault(host, []).append(name)
        elif sensors.geometry[row] is not None:
            free.append((name, sensors.geometry[row]))
    return by_host, free


def _standing_in(shapes: NDArray[np.object_], free: list[tuple[str, shapely.Geometry]]) -> Iterator[tuple[int, str]]:
    """Rows of areas and the devices that stand in them."""
    if not free:
        return
    areas = np.flatnonzero(shapely.get_dimensions(shapes) == 2)
    device, area = shapely.STRtree(shapes[areas]).query([shape for _, shape in free], predicate="intersects")
    for k, row in zip(device.tolist(), areas[area].tolist(), strict=True):
        yield row, free[k][0]


def _level(devices: list[str], latest: dict[str, tuple[dt.datetime, float]], max_age_h: float) -> Level:
    if not devices:
        return Level(None, why=Title("没有水位监测设备", "No device measures its level."))
    known = [(*latest[name], name) for name in devices if name in latest]
    if not known:
        zh, en = f"{max_age_h:g} 小时内没有可用的水位观测", f"No usable level was observed in the last {max_age_h:g} h."
        return Level(None, devices[0], why=Title(f"{zh}（{devices[0]}）", f"{en} ({devices[0]})"))
    time, value, name = max(known)
    return Level(value, name, time)


def _latest(context: Context, devices: Collection[str], age: dt.timedelta) -> dict[str, tuple[dt.datetime, float]]:
    """Device -> time and metres of its latest usable level."""
    latest: dict[str, tuple[dt.datetime, float]] = {}
    for device, quantity, unit, time, value in _usable(context, devices, age):
        metres = factor(unit, "m")
        if not is_quantity(quantity, ["level"]) or metres is None:
            continue
        if device not in latest or time > latest[device][0]:
            latest[device] = (time, value * metres)
    return latest


def _usable(
    context: Context, devices: Collection[str], age: dt.timedelta
) -> Iterator[tuple[str, str, str, dt.datetime, float]]:
    """Device, quantity, unit, time, value of what was observed within `age` and is not doubted."""
    end = at(context)
    span = (end - age + dt.timedelta(microseconds=1), end + dt.timedelta(microseconds=1))
    for info in context.city.layers:
        if not series.is_observations(info.type):
            continue
        table = series.values(
            context.city.store, info.id, context.city.scope, devices=devices, quantities=None, span=span,
            limit=MOST_OBSERVATIONS,
        )  # fmt: skip
        yield from _rows(table)


def _rows(table: pa.Table) -> Iterator[tuple[str, str, str, dt.datetime, float]]:
    columns = {name: table[name].to_pylist() for name in table.column_names}
    nothing = [None] * len(table)
    units, marks = columns.get("unit", nothing), columns.get("quality", nothing)
    rows = zip(columns["device_id"], columns["quantity"], units, columns["time"], columns["value"], marks, strict=True)
    for device, quantity, unit, time, value, mark in rows:
        doubts = {each.strip() for each in (mark or "").split(",")} - HARMLESS - {""}
        if value is not None and np.isfinite(value) and not doubts:
            yield device, quantity, unit or "", time if time.tzinfo else time.replace(tzinfo=dt.UTC), float(value)


def rain(context: Context, hours: Collection[int], reach_m: float) -> Rain:
    """Rain of every device around the place that measured any, summed over the last hours.

    A sum is known where the device told as many values as its step (the median) asks for; else it is NaN.
    """
    places = _rain_places(context, reach_m)
    told: dict[str, dict[dt.datetime, float]] = {}
    longest = dt.timedelta(hours=max(hours))
    for device, quantity, unit, time, value in _usable(context, set(places), longest) if places else ():
        millimetres = _millimetres(unit)
        if is_quantity(quantity, ["rain"]) and millimetres is not None:
            told.setdefault(device, {}).setdefault(time, value * millimetres)
    devices = sorted(told)
    points = np.array([shapely.get_coordinates(places[name])[0, :2] for name in devices]).reshape(-1, 2)
    totals = {each: np.array([_total(told[name], at(context), each) for name in devices]) for each in hours}
    return Rain(devices, points, totals)


def _millimetres(unit: str) -> float | None:
    return 1.0 if factor(unit, "mm") == 1.0 else {"cm": 10.0, "in": 25.4}.get(unit.strip().lower())


def _rain_places(context: Context, reach_m: float) -> dict[str, shapely.Geometry]:
    """Where devices stand that may measure rain: sensors of that kind, and stations by their code."""
    found: dict[str, shapely.Geometry] = {}
    for layer, name in (("sensor", "device_id"), *((station, "station_code") for station in STATIONS)):
        rows = context.read(layer, reach_m=reach_m, properties=(name, "kind"))
        own, kinds = words(rows, name), words(rows, "kind")
        for row, shape in enumerate(rows.geometry):
            is_rain = layer in STATIONS or (kinds[row] is not None and is_quantity(str(kinds[row]), ["rain"]))
            if is_rain and shape is not None and not shapely.is_empty(shape):
                found.setdefault(own[row] or rows.ids[row], shape)
    return found


def _total(values: dict[dt.datetime, float], end: dt.datetime, hours: int) -> float:
    """Sum of the last hours; NaN where a value is missing."""
    times = sorted(values)
    if len(times) < 2:
        return float("nan")
    step = float(np.median(np.diff([time.timestamp() for time in times])))
    inside = [values[time] for time in times if time > end - dt.timedelta(hours=hours)]
    return float(sum(inside)) if len(inside) >= round(hours * 3600 / step) > 0 else float("nan")
