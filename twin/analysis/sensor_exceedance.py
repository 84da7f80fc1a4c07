"""P31 sensor-exceedance: noise, dust and levels against their limits, in local time, with the site each device is at.

Strictly above the limit alerts. 06:00 is day, 22:00 is night. Where a rule is about the difference to the county, the
mean of the stations of the same hour is subtracted; an hour without it is unknown. Which edition of a rule holds is
told by each value's own day. Reads any length of series in bounded memory.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import shapely

from layers.catalogue import Title
from layers.errors import InvalidInput
from twin.analysis import features_input, place, site_features, sun_position
from twin.analysis.process import Parameter, Process
from twin.analysis.progress import SILENT, Progress
from twin.analysis.sensor_exceedance_join import Host, nearest, sensitive
from twin.analysis.sensor_exceedance_limits import Alert, Judge, is_night, level_state
from twin.analysis.sensor_exceedance_run import EPOCH, LEVEL, SITE, Asked, Found, Source, age_h, run
from twin.analysis.sensor_exceedance_series import HOUR_US
from twin.analysis.verdict import Verdict, worst
from twin.supervision.rules import softened

if TYPE_CHECKING:
    from twin.city import City
    from twin.store.interface import Features

MOST_INLINE = 200_000
FIRST_YEAR, LAST_YEAR = 1850, 2200


def sensor_exceedance(
    city: "City",
    *,
    observations: list[dict[str, Any]] | dict[str, Any] | None = None,
    datetime: str | None = None,
    devices: list[str] | None = None,
    rules: list[str] | None = None,
    limit: float | None = None,
    county_stations: list[str] | None = None,
    sites: dict[str, Any] | None = None,
    join_within_m: float | None = None,
    area: str | None = None,
    max_age_h: float | None = None,
    at: str | None = None,
    most_alerts: int = 10_000,
    crs: str | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Alerts, counts by day, the latest value of each series, and what could not be judged."""
    from twin.supervision import rules as rules_module

    loaded = rules_module.load(city.folder)
    told = rules_module.RuleBook(loaded, site_features.today())[SITE].parameters
    wanted = rules or [*told["rules"], LEVEL]
    if limit is not None and len(wanted) != 1:
        raise InvalidInput("limit is given for several rules.", "Give one rule with it.")
    places = _sites(city, sites, is_inline=isinstance(observations, list))
    asked = Asked(
        _source(city, observations, datetime), loaded, wanted, places,
        place.words(places, "stage") if places is not None else (), devices, county_stations, limit,
        area or told.get("area"), float(told["join_within_m"] if join_within_m is None else join_within_m),
        float(told["utc_offset_h"]), float(told["least_share"]), most_alerts, told["station_hosts"],
    )  # fmt: skip
    found = run(asked, progress.part(0, 95))
    now = moment_of("at", at) or dt.datetime.now(dt.UTC)
    oldest_h = float(told["max_age_h"] if max_age_h is None else max_age_h)
    pairs = [(judge, each) for judge in found.judges.values() for each in judge.alerts()]
    pairs = sorted(pairs, key=lambda pair: (-pair[1].excess, pair[1].time_us))[:most_alerts]
    pairs.sort(key=lambda pair: (pair[1].time_us, pair[1].series.device, pair[1].rule.id))
    rows = alert_rows(city, pairs, found, asked, told)
    records = [record for judge in found.judges.values() for record in judge.records.values()]
    n_alerts = sum(each.n_over for each in records)
    shapes = np.empty(len(rows), object)
    shapes[:] = [_point(found, pair[1].series.device) for pair in pairs]
    return {
        "n_observations": found.told.n_rows,
        "n_doubtful": found.told.n_doubtful,
        "n_judged": sum(each.n_judged for each in records),
        "n_unknown": sum(each.n_unknown for each in records),
        "n_alerts": n_alerts,
        "is_complete": n_alerts == len(rows),
        "verdict": overall(found),
        "alerts": place.geojson(city, shapes, rows, target=crs),
        "days": day_rows(found),
        "series": series_rows(found, now, oldest_h, asked.utc_offset_h),
        "unjoined": sorted({each.device for each in found.lines if _is_unjoined(each.device, found, asked)}),
        "not_judged": [
            {"device_id": each.device, "quantity": each.quantity, "unit": each.unit, "reason": why}
            for each, why in sorted(found.reasons.items(), key=lambda pair: (pair[0].device, pair[0].quantity))
        ],
    }


def alert_rows(
    city: "City", pairs: Sequence[tuple[Judge, Alert]], found: Found, asked: Asked, told: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """What is told of each alert: site, values, limit and its source, the sensitive building nearest or downwind."""
    points = {each.series.device: _point(found, each.series.device) for _, each in pairs}
    known = {name: point for name, point in points.items() if point is not None}
    within = float(told["sensitive_within_m"])
    houses = sensitive(city, list(known.values()), told["sensitive_uses"], within)
    turns = _turns(city, known) if found.wind else dict.fromkeys(known, 0.0)
    offset = round(asked.utc_offset_h * HOUR_US)
    rows = []
    for judge, each in pairs:
        rule, name = each.rule, each.series.device
        site = found.site_of.get(name)
        hour = (each.time_us + offset) // HOUR_US * HOUR_US - offset
        wind = found.wind.get(hour, np.nan)
        host = found.hosts.get(name) if rule.id == LEVEL else None
        row: dict[str, Any] = {
            "device_id": name, "quantity": each.series.quantity, "time": local_time(each.time_us, asked.utc_offset_h),
            "site": asked.sites.ids[site[0]] if site is not None else None,
            "site_distance_m": round(site[1], 3) if site is not None else None,
            "value": round(each.value, 6), "county_mean": None if np.isnan(each.mean) else round(each.mean, 6),
            "measured": round(each.measured, 6), "limit": each.limit, "excess": round(each.excess, 6),
            "unit": rule.unit, "is_night": bool(is_night(np.array([each.time_us]), offset)[0]),
            "n_on_day": judge.n_on_day(each), "allowed_per_day": rule.parameters.get("allowed_per_day"),
            "at": host.feature if host else None,
            "state": level_state(each.measured, _levels(judge, each, host)) if host else None,
            "rule_id": rule.id, "verdict": judge.verdict(each), "source": f"{rule.source} {rule.clause}",
            "confidence": rule.confidence,
        }  # fmt: skip
        if points[name] is not None:
            house, metres, is_lee = nearest(
                points[name], houses.geometry, within, wind_from_deg=wind,
                half_angle_deg=float(told["downwind_half_angle_deg"]), turn_deg=turns[name],
            )  # fmt: skip
            row |= {
                "sensitive_building": houses.ids[house] if house >= 0 else None,
                "sensitive_distance_m": round(metres, 3) if house >= 0 else None,
                "is_downwind": is_lee if not np.isnan(wind) else None,
                "wind_from_deg": None if np.isnan(wind) else round(wind, 1),
            }
        rows.append(row)
    return rows


def _levels(judge: Judge, alert: Alert, host: Host) -> tuple[tuple[str, float], ...]:
    return host.levels if judge.is_season(np.array([alert.time_us]))[0] else host.quiet_levels


def day_rows(found: Found) -> list[dict[str, Any]]:
    """Days with exceedances, for rules that allow so many a day."""
    rows = []
    for rule_id, judge in found.judges.items():
        for series, record in judge.records.items():
            for day, n in sorted(record.days.items()):
                date = dt.date(1970, 1, 1) + dt.timedelta(days=day)
                rule = next((e for e in reversed(judge.used) if _holds(e, date)), judge.rule)
                allowed = rule.parameters.get("allowed_per_day")
                rows.append({
                    "device_id": series.device, "quantity": series.quantity, "date": date.isoformat(), "n": n,
                    "allowed": allowed or 0, "rule_id": rule_id, "verdict": _day_verdict(n, allowed, rule.confidence),
                })  # fmt: skip
    return sorted(rows, key=lambda row: (row["date"], row["device_id"], row["rule_id"]))


def _holds(rule: Any, date: dt.date) -> bool:
    return (rule.effective is None or rule.effective <= date) and (rule.until is None or date < rule.until)


def _day_verdict(n: int, allowed: int | None, confidence: Any) -> Verdict:
    return "pass" if allowed is not None and n <= allowed else softened("fail", confidence)


def overall(found: Found) -> Verdict:
    """Worst of all days; `unknown` where nothing could be judged, `pass` where nothing is over."""
    records = [(judge, record) for judge in found.judges.values() for record in judge.records.values()]
    days = [row["verdict"] for row in day_rows(found)]
    if not any(record.n_judged for _, record in records):
        return "unknown"
    return worst([*days, "unknown" if any(record.n_unknown for _, record in records) else "pass"])


def series_rows(found: Found, now: dt.datetime, max_age_h: float, utc_offset_h: float) -> list[dict[str, Any]]:
    """Each series that was judged, with its latest time and whether it is stale."""
    rows = []
    for rule_id, judge in found.judges.items():
        for series in judge.facts:
            record = judge.records.get(series)
            age = age_h(found, series, now)
            last = found.latest.get(series, found.lines[series][1])
            rows.append({
                "device_id": series.device, "quantity": series.quantity, "unit": series.unit, "rule_id": rule_id,
                "latest": last.astimezone(dt.timezone(dt.timedelta(hours=utc_offset_h))).isoformat(),
                "age_h": round(age, 6), "is_stale": age > max_age_h + 1e-9,
                "n_judged": record.n_judged if record else 0, "n_unknown": record.n_unknown if record else 0,
                "n_alerts": record.n_over if record else 0,
                "highest": round(record.highest, 6) if record and np.isfinite(record.highest) else None,
            })  # fmt: skip
    return rows


def local_time(time_us: int, utc_offset_h: float) -> str:
    """ISO text of a moment with the local offset."""
    moment = EPOCH + dt.timedelta(microseconds=time_us)
    return moment.astimezone(dt.timezone(dt.timedelta(hours=utc_offset_h))).isoformat()


def moment_of(name: str, text: str | None) -> dt.datetime | None:
    """A moment with its offset; InvalidInput names the input."""
    if text is None:
        return None
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(f"{name}: {text[:40]!r} is no time.", "Write 2026-06-01T08:00:00+08:00.") from error
    if found.tzinfo is None:
        raise InvalidInput(f"{name}: {text[:40]!r} does not say its zone.", "Write 2026-06-01T08:00:00+08:00.")
    if not FIRST_YEAR <= found.year <= LAST_YEAR:
        raise InvalidInput(f"{name}: {text[:40]!r} is not of the years {FIRST_YEAR} to {LAST_YEAR}.")
    return found


def _span(text: str | None) -> tuple[dt.datetime | None, dt.datetime | None]:
    if text is None:
        return None, None
    ends = text.split("/")
    if len(ends) != 2:
        raise InvalidInput(f"datetime: {text[:60]!r} is no span.", "Write START/END; .. leaves an end open.")
    first, last = (None if end in {"", ".."} else moment_of("datetime", end) for end in ends)
    if first is not None and last is not None and not first < last:
        raise InvalidInput("datetime: the end is not after the start.", "Write START/END.")
    return first, last


def _source(city: "City", given: list[dict[str, Any]] | dict[str, Any] | None, datetime: str | None) -> Source:
    if isinstance(given, list):
        return Source(city, None, inline(given), _span(datetime))
    layer = "sensor_obs" if given is None else str(given["collection"])
    with features_input.naming("observations"):
        info = city.store.layer(layer, city.scope)
    from twin.series import is_observations

    if not is_observations(info.type):
        raise InvalidInput(
            f"observations: {layer!r} holds no observations.", "It needs device_id, time, quantity, value."
        )
    return Source(city, layer, None, _span(datetime))


def inline(given: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Observations of an input as a table."""
    times = [moment_of(f"observations/{i}/time", str(row["time"])) for i, row in enumerate(given)]
    values = [row["value"] for row in given]
    bad = next((i for i, value in enumerate(values) if value is not None and not np.isfinite(value)), None)
    if bad is not None:
        raise InvalidInput(f"observations/{bad}/value is no number.", "Give a number, or null.")
    return pa.table({
        "device_id": pa.array([str(row["device_id"]) for row in given], pa.string()),
        "time": pa.array(times, pa.timestamp("us", "UTC")),
        "quantity": pa.array([str(row["quantity"]) for row in given], pa.string()),
        "value": pa.array(values, pa.float64()),
        "unit": pa.array([str(row["unit"]) for row in given], pa.string()),
        "quality": pa.array([row.get("quality") for row in given], pa.string()),
    })  # fmt: skip


def _sites(city: "City", given: Mapping[str, Any] | None, *, is_inline: bool) -> "Features | None":
    if given is None:
        if is_inline or "construction_site" not in city:
            return None
        given = {"collection": "construction_site"}
    return site_features.read(city, "sites", given, kinds=place.AREAS, columns=("stage",))


def _is_unjoined(device: str, found: Found, asked: Asked) -> bool:
    return asked.sites is not None and device not in found.site_of and device not in found.stations


def _point(found: Found, device: str) -> shapely.Point | None:
    known = found.devices.get(device)
    return None if known is None else known.point


def _turns(city: "City", points: Mapping[str, shapely.Point]) -> dict[str, float]:
    if not points:
        return {}
    x, y = (np.array([getattr(point, axis) for point in points.values()]) for axis in "xy")
    return dict(zip(points, sun_position.place_of(city.crs, x, y)[1].tolist(), strict=True))


_OBSERVATION: dict[str, Any] = {
    "type": "object",
    "required": ["device_id", "time", "quantity", "value", "unit"],
    "properties": {
        "device_id": {"type": "string", "minLength": 1},
        "time": {"type": "string", "format": "date-time"},
        "quantity": {"type": "string", "minLength": 1},
        "value": {"type": ["number", "null"]},
        "unit": {"type": "string", "minLength": 1},
        "quality": {"type": ["string", "null"]},
    },
    "additionalProperties": False,
}
_COLLECTION: dict[str, Any] = {
    "type": "object", "required": ["collection"], "additionalProperties": False,
    "properties": {"collection": {"type": "string", "minLength": 1}},
}  # fmt: skip
_NAME: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": 200}
_COUNT: dict[str, Any] = {"type": "integer"}
PROCESS = Process(
    id="sensor-exceedance",
    title=Title("监测超标分析", "Exceedances of sensors"),
    description=Title(
        "噪声按昼夜限值、扬尘按与区县均值之差、水位按控制水位判定超标（严格大于），告警附工地、限值来源与最近敏感建筑；"
        "缺均值或缺限值为未知。",
        "Noise by day and night, dust by its difference to the county's mean, levels by what is allowed: strictly "
        "above alerts, with site, source of the limit and nearest sensitive building; no mean or no limit is unknown.",
    ),
    inputs={
        "observations": Parameter(
            Title("观测值，默认为 sensor_obs 图层", "Observations; the layer sensor_obs when absent"),
            {"oneOf": [{"type": "array", "items": _OBSERVATION, "minItems": 1, "maxItems": MOST_INLINE}, _COLLECTION]},
            required=False,
        ),
        "datetime": Parameter(Title("时段", "Span, START/END"), {"type": "string", "maxLength": 100}, required=False),
        "devices": Parameter(Title("设备", "Devices; all when absent"), _NAME, required=False, max_occurs=10_000),
        "rules": Parameter(
            Title("规则", "Ids of rules; those of sites and levels when absent"), _NAME, required=False, max_occurs=50
        ),
        "limit": Parameter(
            Title("限值，代替规则的值", "Limit, instead of the rule's"),
            {"type": "number", "minimum": -1000, "maximum": 100_000, "x-unit": "{unit of the rule}"}, required=False,
        ),
        "county_stations": Parameter(
            Title("区县站点设备", "Devices whose mean is subtracted"), _NAME, required=False, max_occurs=1000
        ),
        "sites": Parameter(
            Title("工地", "Sites; the layer construction_site when absent"), features_input.SCHEMA, required=False
        ),
        "join_within_m": Parameter(
            Title("测点归属半径", "How far a device may stand from its site"),
            {"type": "number", "minimum": 0, "maximum": 10_000, "x-unit": "m"}, required=False,
        ),
        "area": Parameter(
            Title("区域类型", "Kind of area, for rules that ask"),
            {"type": "string", "enum": ["built-up", "suburban"]}, required=False,
        ),
        "max_age_h": Parameter(
            Title("最长无数据时间", "A series older than that is stale"),
            {"type": "number", "minimum": 0, "maximum": 100_000, "x-unit": "h"}, required=False,
        ),
        "at": Parameter(
            Title("当前时刻", "The present; now when absent"), {"type": "string", "maxLength": 50}, required=False
        ),
        "most_alerts": Parameter(
            Title("最多列出", "Alerts listed at most, those furthest over the limit"),
            {"type": "integer", "minimum": 1, "maximum": 100_000, "default": 10_000}, required=False,
        ),
        "crs": place.ANSWER_CRS,
    },
    outputs={
        "n_observations": Parameter(Title("观测数", "Observations read"), _COUNT),
        "n_doubtful": Parameter(Title("存疑观测数", "Doubtful ones, left out"), _COUNT),
        "n_judged": Parameter(Title("已判定数", "Values or periods judged"), _COUNT),
        "n_unknown": Parameter(Title("未知数", "Values or periods without limit or mean"), _COUNT),
        "n_alerts": Parameter(Title("超标数", "Exceedances"), _COUNT),
        "is_complete": Parameter(Title("是否全部列出", "All are listed"), {"type": "boolean"}),
        "verdict": Parameter(Title("判定", "Worst verdict of all days"), {"type": "string"}),
        "alerts": Parameter(
            Title("超标", "Exceedances with site, value, limit and source"), place.FEATURES_OUT,
            media_type=place.GEOJSON,
        ),
        "days": Parameter(Title("按日计数", "Exceedances a day, and how many are allowed"), {"type": "array"}),
        "series": Parameter(Title("序列", "Series judged, with latest time and whether stale"), {"type": "array"}),
        "unjoined": Parameter(Title("未归属工地的设备", "Devices that belong to no site"), {"type": "array"}),
        "not_judged": Parameter(Title("未判定的序列", "Series that could not be judged, and why"), {"type": "array"}),
    },
    function=sensor_exceedance,
    keywords=("noise", "dust", "PM10", "噪声", "扬尘"),
)  # fmt: skip
