"""Noise and dust at sites: exceedances of the last month of data, sites without a live device, hours without a mean."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

import numpy as np

from layers.catalogue import Title
from twin.analysis.place import words
from twin.analysis.sensor_exceedance import alert_rows
from twin.analysis.sensor_exceedance_join import Device, devices, is_station, join
from twin.analysis.sensor_exceedance_limits import Alert, Judge, editions
from twin.analysis.sensor_exceedance_run import SITE as SERIES
from twin.analysis.sensor_exceedance_run import WIND, Asked, Found, Source, age_h
from twin.analysis.sensor_exceedance_run import run as judge_series
from twin.analysis.sensor_exceedance_series import is_quantity
from twin.store.interface import Features
from twin.supervision.check import Check, Context, Finding, Passed, finding
from twin.supervision.checks.intensity import inside
from twin.supervision.rules import Rule, load

SITE, OBSERVED = "construction_site", "sensor_obs"
MOST_ALERTS = 1000


def run(context: Context) -> Iterator[Finding | Passed]:
    """Devices of the sites of the place, by the rules that the city holds for sites."""
    told = context.rules[SERIES].parameters
    sites = inside(context, context.read(SITE, properties=("stage",)))
    if not len(sites):
        return
    loaded = load(context.city.folder)
    wanted = [each for each in told["rules"] if each in context.rules]
    source = Source(context.city, OBSERVED)
    every = devices(context.city, None)
    points = np.empty(len(every), object)
    points[:] = [each.point for each in every.values()]
    which, _ = join(points, sites.geometry, float(told["join_within_m"]))
    own = {name for name, row in zip(every, which.tolist(), strict=True) if row >= 0}
    stations = {name for name, each in every.items() if is_station(each, told["station_hosts"])}
    lines = source.lines(own | stations | {name for name, each in every.items() if _may_tell_wind(each)})
    known = {each.device: every[each.device] for each in lines}
    last = max((min(line[1], context.now) for each, line in lines.items() if each.device in own), default=None)
    if last is None:
        yield from _silent(context, wanted, sites, range(len(sites)))
        return
    span = (last - dt.timedelta(hours=float(told["back_h"])), last + dt.timedelta(microseconds=1))
    asked = Asked(
        Source(context.city, OBSERVED, None, span), loaded, wanted, sites, words(sites, "stage"), None,
        stations, None, told.get("area"), float(told["join_within_m"]), float(told["utc_offset_h"]),
        float(told["least_share"]), MOST_ALERTS, told["station_hosts"],
    )  # fmt: skip
    found = judge_series(asked, context.progress, lines=lines, known=known)
    max_age_h = float(told["max_age_h"])
    for rule_id, judge in found.judges.items():
        yield from _alerts(context, judge, found, asked)
        yield from _series(context, context.rules[rule_id], judge, found, sites=sites, max_age_h=max_age_h)
        heard = {found.site_of[each.device][0] for each in judge.facts if each.device in found.site_of}
        if not rule_id.endswith("-max"):  # few devices tell the highest level of a moment: its lack is no finding
            yield from _silent(context, [rule_id], sites, [i for i in range(len(sites)) if i not in heard])


def _may_tell_wind(device: Device) -> bool:
    """Whether a device's layer or kind does not say that it measures something else than wind."""
    kind = device.told.get("kind")
    return device.layer not in {"sensor", "meter"} or kind is None or is_quantity(kind, [*WIND, "wind_speed"])


def _alerts(context: Context, judge: Judge, found: Found, asked: Asked) -> Iterator[Finding]:
    alerts = judge.alerts()
    rows = alert_rows(context.city, [(judge, each) for each in alerts], found, asked, context.rules[SERIES].parameters)
    for each, row in zip(alerts, rows, strict=True):
        device = found.devices[each.series.device]
        where = (f"{device.layer}/{device.feature}", f"{SITE}/{row['site']}")
        yield finding(
            each.rule, where, round(each.measured, 6), device.point,
            Title(f"{each.rule.title.zh}超标", f"{each.rule.title.en}: exceeded"), limit=each.limit,
            verdict=row["verdict"], note=_words(each, row), part=row["time"],
            time=dt.datetime.fromisoformat(row["time"]), evidence=f"/collections/{device.layer}/items/{device.feature}",
        )  # fmt: skip


def _words(alert: Alert, row: dict[str, Any]) -> Title:
    zh, en = [f"{row['time']} 实测 {alert.value:g}"], [f"{row['time']}: {alert.value:g} measured"]
    if row["county_mean"] is not None:
        zh.append(f"区县均值 {row['county_mean']:g}")
        en.append(f"county mean {row['county_mean']:g}")
    if row["allowed_per_day"] is not None:
        zh.append(f"当日 {row['n_on_day']} 次，允许 {row['allowed_per_day']} 次")
        en.append(f"{row['n_on_day']} that day, {row['allowed_per_day']} allowed")
    if row.get("sensitive_building"):
        side = ("下风向", "downwind") if row["is_downwind"] else ("最近", "nearest")
        zh.append(f"{side[0]}敏感建筑 {row['sensitive_building']}，{row['sensitive_distance_m']:.0f} m")
        en.append(f"{side[1]} sensitive building {row['sensitive_building']}, {row['sensitive_distance_m']:.0f} m away")
    return Title("；".join(zh), "; ".join(en))


def _series(
    context: Context, rule: Rule, judge: Judge, found: Found, *, sites: Features, max_age_h: float
) -> Iterator[Finding | Passed]:
    """Series that are silent, or have hours that could not be judged; the others pass."""
    n = 0
    for series in judge.facts:
        device = found.devices[series.device]
        where = (f"{device.layer}/{device.feature}", f"{SITE}/{sites.ids[found.site_of[series.device][0]]}")
        age = age_h(found, series, context.now)
        record = judge.records.get(series)
        if age > max_age_h + 1e-9:
            note = Title(
                f"最新数据距今 {age:.1f} 小时，已中断",
                f"The latest value is {age:.1f} hours old: the series is silent.",
            )
            yield finding(
                rule, where, None, device.point, verdict="unknown", note=note, part=f"stale {series.quantity}",
                time=found.latest.get(series),
            )  # fmt: skip
        if record is None or record.n_unknown:
            missing = record.n_unknown if record else 0
            note = Title(
                f"{missing} 个时段缺少均值、限值或有效数据", f"{missing} periods lack a mean, a limit or enough values."
            )
            yield finding(rule, where, None, device.point, verdict="unknown", note=note, part=f"gaps {series.quantity}")
        elif not record.n_over and age <= max_age_h + 1e-9:
            n += 1
    if n:
        yield Passed(rule.id, n)


def _silent(context: Context, rules: list[str], sites: Features, rows: Any) -> Iterator[Finding]:
    for rule_id in rules:
        used = editions(load(context.city.folder), rule_id)
        if rule_id.endswith("-max") or not used:
            continue
        rule = context.rules[rule_id]
        for i in rows:
            note = Title("工地无相应监测设备数据", "The site has no device that tells this.")
            where = (f"{SITE}/{sites.ids[i]}",)
            yield finding(rule, where, None, sites.geometry[i], verdict="unknown", note=note)


CHECKS = (
    Check(
        "site-noise-dust", "construction", Title("工地噪声与扬尘", "Noise and dust of sites"),
        ("site-noise", "site-noise-night-max", "dust-pm10-difference"), (SITE, OBSERVED), run,
    ),
)  # fmt: skip
