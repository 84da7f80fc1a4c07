"""Drinking-water sources: the latest value of each series of a protection zone, and whether it is alive."""

import datetime as dt
from collections.abc import Iterator, Mapping

import numpy as np
import shapely

from layers import observations
from layers.catalogue import Title
from twin.analysis.place import words
from twin.analysis.sensor_exceedance_join import Device, devices
from twin.analysis.sensor_exceedance_run import Source, latest_values
from twin.analysis.sensor_exceedance_series import Series, is_quantity
from twin.store.interface import Features
from twin.supervision.check import Check, Context, Finding, Passed, finding

ZONE, OBSERVED, RULE = "water_source_zone", "sensor_obs", "water-source-live"
HOSTS = ("reservoir", "water_body")
_GROUPS = {
    "level": Title("水位", "level"), "volume": Title("水量", "volume"), "quality": Title("水质", "quality"),
}  # fmt: skip


def run(context: Context) -> Iterator[Finding | Passed]:
    """Protection zones of the place: what is measured in them, or at the water that lies in them."""
    rule = context.rules[RULE]
    zones = context.read(ZONE, properties=("name", "grade"))
    if not len(zones):
        return
    source = Source(context.city, OBSERVED)
    lines = source.lines()
    groups: Mapping[str, list[str]] = rule.parameters["groups"]
    wanted = {each: _group(each.quantity, groups) for each in lines if _group(each.quantity, groups)}
    known = devices(context.city, {each.device for each in wanted})
    members = _members(context, zones, known, float(rule.parameters["host_within_m"]))
    used = [each for each in wanted if any(each.device in some for some in members)]
    latest = latest_values(source, used, _since(context.now, used, lines))
    for i in range(len(zones)):
        mine = [each for each in used if each.device in members[i]]
        for series in mine:
            yield _told(context, zones, i, known[series.device], series=series, latest=latest.get(series))
        for group, title in _GROUPS.items():
            if not any(wanted[each] == group for each in mine):
                note = Title(f"无{title.zh}监测数据", f"Nothing tells its {title.en}.")
                yield finding(
                    rule, (f"{ZONE}/{zones.ids[i]}",), None, zones.geometry[i], verdict="unknown", note=note, part=group
                )  # fmt: skip


def _since(now: dt.datetime, used: list[Series], lines: Mapping[Series, tuple[int, dt.datetime]]) -> dt.datetime | None:
    """Latest values are looked for in the last week of the series that ends first."""
    ends = [min(lines[each][1], now) for each in used]
    return min(ends) - dt.timedelta(days=7) if ends else None


def _group(quantity: str, groups: Mapping[str, list[str]]) -> str | None:
    return next((name for name, each in groups.items() if is_quantity(quantity, each)), None)


def _members(context: Context, zones: Features, known: Mapping[str, Device], within_m: float) -> list[set[str]]:
    """Devices of each zone: inside or near it, or hosted by the zone, or by water that meets it."""
    hosts: list[set[str]] = [{each} for each in zones.ids]
    for layer in HOSTS:
        if not context.has(layer):
            continue
        waters = context.read(layer, reach_m=0.0, properties=("reservoir_code", "river_code"))
        tree = shapely.STRtree(waters.geometry)
        codes = [words(waters, each) for each in ("reservoir_code", "river_code")]
        for zone, water in zip(*tree.query(zones.geometry, "intersects").tolist(), strict=True):
            hosts[zone] |= {waters.ids[water]} | {each[water] for each in codes if each[water]}
    found = []
    for i, shape in enumerate(zones.geometry):
        near = {
            name for name, each in known.items()
            if each.point is not None and shapely.distance(shape, each.point) <= within_m + 1e-6
        }  # fmt: skip
        found.append(near | {name for name, each in known.items() if each.told.get("host_id") in hosts[i]})
    return found


def _told(
    context: Context, zones: Features, i: int, device: Device, *, series: Series,
    latest: tuple[dt.datetime, float] | None,
) -> Finding:  # fmt: skip
    rule = context.rules[RULE]
    where = (f"{ZONE}/{zones.ids[i]}", f"{device.layer}/{device.feature}")
    point = zones.geometry[i] if device.point is None else device.point
    quantity = observations.quantity(series.quantity)
    name = quantity.title if quantity else Title(series.quantity, series.quantity)
    if latest is None:
        note = Title(f"{name.zh}无有效数据", f"{name.en}: no value that can be used.")
        return finding(rule, where, None, point, verdict="unknown", note=note, part=series.quantity)
    moment, value = latest
    age = max((context.now - moment).total_seconds() / 3600.0, 0.0)
    told = f"{value:g} {series.unit}".strip()
    local = moment.astimezone(dt.timezone(dt.timedelta(hours=8))).isoformat(timespec="minutes")
    state = ("", "") if age <= (rule.value or np.inf) + 1e-9 else ("，数据已中断", "; the series is silent")
    note = Title(f"{name.zh}最新值 {told}（{local}）{state[0]}", f"{name.en}: latest {told} ({local}){state[1]}")
    return finding(
        rule, where, age, point, note=note, part=series.quantity, time=moment,
        evidence=f"/collections/{device.layer}/items/{device.feature}",
    )  # fmt: skip


CHECKS = (
    Check(
        "water-sources", "water", Title("饮用水水源地", "Drinking-water sources"), (RULE,), (ZONE, OBSERVED), run,
    ),
)  # fmt: skip
