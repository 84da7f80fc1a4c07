"""Which series of a city are held against which rules, and the two passes over the observations that do it."""

import datetime as dt
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from layers.errors import InvalidInput
from twin import series as series_module
from twin.analysis.progress import SILENT, Progress
from twin.analysis.sensor_exceedance_join import Device, Host, devices, hosts, is_station, join
from twin.analysis.sensor_exceedance_limits import MINUTE_US, Judge, Reference, editions
from twin.analysis.sensor_exceedance_series import (
    HOUR_US,
    Series,
    Told,
    factor,
    is_quantity,
    ordered,
)
from twin.store.interface import Query
from twin.supervision.rules import Rule

if TYPE_CHECKING:
    from twin.city import City

LEVEL, SITE = "monitored-level", "site-series"
COLUMNS = ("device_id", "time", "quantity", "value", "unit", "quality")
BATCH = 20_000
WIND = ("wind_direction",)
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True)
class Source:
    """Observations: a layer of the city, or a table. `span` is from the first instant to before the second."""

    city: "City"
    layer: str | None
    table: pa.Table | None = None
    span: tuple[dt.datetime | None, dt.datetime | None] = (None, None)

    def lines(self, devices: Collection[str] | None = None) -> dict[Series, tuple[int, dt.datetime]]:
        """All series with number of rows and last time, of the whole layer or of some of its devices."""
        if self.layer is not None:
            found = series_module.lines(self.city.store, self.layer, self.city.scope, devices)
            return {Series(each.device, each.quantity, each.unit): (each.n, each.last) for each in found}
        assert self.table is not None
        grouped = self.table.group_by(["device_id", "quantity", "unit"]).aggregate([("time", "count"), ("time", "max")])
        return {
            Series(row["device_id"], row["quantity"], row["unit"] or ""): (row["time_count"], row["time_max"])
            for row in grouped.to_pylist()
        }

    def read(self, wanted: Collection[str] | None, quantities: Collection[str]) -> Iterator[pa.Table]:
        """Rows of some devices (all for None) and quantities within the span, in the order in which they are stored."""
        if self.layer is None:
            assert self.table is not None
            yield _within(self.table, wanted, self.span)
            return
        info = self.city.store.layer(self.layer, self.city.scope)
        names = tuple(name for name in COLUMNS if info.type.attribute(name))
        conditions: list[dict[str, Any]] = [
            {"op": "in", "args": [{"property": name}, sorted(chosen)]}
            for name, chosen in (("device_id", wanted), ("quantity", quantities)) if chosen is not None
        ]  # fmt: skip
        for op, moment in ((">=", self.span[0]), ("<", self.span[1])):
            if moment is not None:
                stamp = {"timestamp": series_module.instant(moment)}
                conditions.append({"op": op, "args": [{"property": "time"}, stamp]})
        condition = conditions[0] if len(conditions) == 1 else {"op": "and", "args": conditions}
        query = Query(filter=condition, properties=names, with_geometry=False)
        for batch in self.city.store.query(self.layer, query, self.city.scope, batch_size=BATCH):
            yield batch.attributes


def _within(
    table: pa.Table, wanted: Collection[str] | None, span: tuple[dt.datetime | None, dt.datetime | None]
) -> pa.Table:
    keep = pc.is_valid(table["time"])
    if wanted is not None:
        keep = pc.and_(keep, pc.is_in(table["device_id"], pa.array(sorted(wanted), pa.string())))
    for compare, moment in ((pc.greater_equal, span[0]), (pc.less, span[1])):
        if moment is not None:
            keep = pc.and_(keep, compare(table["time"], pa.scalar(moment, table["time"].type)))
    return table.filter(keep)


@dataclass
class Asked:
    """What is looked at.

    Attributes
    ----------
    rules : all editions of all rules
    wanted : ids of the rules to hold series against
    sites, stages : (n,) areas that devices belong to, and the stage of each; None: devices are judged wherever they are
    named : devices that were asked for by name: they are judged without a site too
    """

    source: Source
    rules: Sequence[Rule]
    wanted: Sequence[str]
    sites: Any = None
    stages: Sequence[str | None] = ()
    named: Collection[str] | None = None
    stations: Collection[str] | None = None
    limit: float | None = None
    area: str | None = None
    join_within_m: float = 50.0
    utc_offset_h: float = 8.0
    least_share: float = 0.75
    most_alerts: int = 10_000
    station_words: Collection[str] = ()


@dataclass
class Found:
    """What came of it.

    Attributes
    ----------
    judges : by rule id
    lines : every series with number of rows and last time
    devices : known ones, by id; site_of : row of the site of a device and its distance, for those that have one
    reasons : series that were not judged, and why
    wind : direction it blows from by start of hour (microseconds), degrees
    hosts : what devices that measure levels stand at
    latest : time of the last value of each judged series that is not doubtful
    """

    judges: dict[str, Judge]
    lines: dict[Series, tuple[int, dt.datetime]]
    devices: dict[str, Device]
    site_of: dict[str, tuple[int, float]]
    stations: set[str]
    reasons: dict[Series, str]
    told: Told = field(default_factory=Told)
    wind: dict[int, float] = field(default_factory=dict)
    hosts: dict[str, Host] = field(default_factory=dict)
    latest: dict[Series, dt.datetime] = field(default_factory=dict)


def run(
    asked: Asked,
    progress: Progress = SILENT,
    *,
    lines: dict[Series, tuple[int, dt.datetime]] | None = None,
    known: dict[str, Device] | None = None,
) -> Found:
    """Hold the series against the rules: one pass for stations and wind where a rule needs them, one for all.

    `lines`, `known`: series and devices where they have been read before.
    """
    city = asked.source.city
    lines = asked.source.lines() if lines is None else lines
    heard = {each.device for each in lines}
    for given, names in (("devices", asked.named), ("county_stations", asked.stations)):
        for name in names or ():
            if name not in heard:
                raise InvalidInput(f"{given}: there are no observations of {name[:80]!r}.", "Check its name.")
    known = devices(city, {each.device for each in lines}) if known is None else known
    found = Found({}, lines, known, _sites_of(asked, known), _stations(asked, known), {})
    plan = {rule_id: editions(asked.rules, rule_id) for rule_id in asked.wanted}
    for rule_id, used in plan.items():
        if not used:
            raise InvalidInput(f"rules: there is no rule {rule_id!r}.", "docs/supervision.md lists them.")
        if "quantities" not in used[-1].parameters:
            raise InvalidInput(f"rules: {rule_id!r} is not about series.", "Name one that has quantities.")
    offset = round(asked.utc_offset_h * HOUR_US)
    reference = _first_pass(asked, found, plan, offset, progress.part(0, 30))
    if LEVEL in plan:
        found.hosts = hosts(city, plan[LEVEL][-1].parameters["hosts"], known)
    for rule_id, used in plan.items():
        found.judges[rule_id] = Judge(
            used, offset, _facts(asked, found, used[-1]), limit=asked.limit, least_share=asked.least_share,
            own_limits={name: (each.limit_m, each.quiet_m) for name, each in found.hosts.items()}
            if rule_id == LEVEL else None, season=_season(asked, used[-1]),
            reference=reference if used[-1].parameters.get("is_difference") else None, most_alerts=asked.most_alerts,
        )  # fmt: skip
    _second_pass(asked, found, progress.part(30, 100))
    return found


def _season(asked: Asked, rule: Rule) -> tuple[str, str] | None:
    """First and last day of the flood season: those of the rule that a host's season names."""
    named = [each["season"]["of_rule"] for each in rule.parameters.get("hosts", ()) if "season" in each]
    told = editions(asked.rules, named[0])[-1].parameters if named else {}
    return (str(told["season_from"]), str(told["season_to"])) if told else None


def _sites_of(asked: Asked, known: Mapping[str, Device]) -> dict[str, tuple[int, float]]:
    if asked.sites is None:
        return {}
    names = list(known)
    points = np.empty(len(names), object)
    points[:] = [known[name].point for name in names]
    which, distance = join(points, asked.sites.geometry, asked.join_within_m)
    return {name: (int(which[i]), float(distance[i])) for i, name in enumerate(names) if which[i] >= 0}


def _stations(asked: Asked, known: Mapping[str, Device]) -> set[str]:
    if asked.stations is not None:
        return set(asked.stations)
    return {name for name, each in known.items() if is_station(each, asked.station_words)}


def _facts(asked: Asked, found: Found, rule: Rule) -> dict[Series, dict[str, Any]]:
    """The series that a rule is about, with what chooses the line of its table; why others are not is noted."""
    made: dict[Series, dict[str, Any]] = {}
    for series in found.lines:
        if not is_quantity(series.quantity, rule.parameters["quantities"]):
            continue
        if asked.named is not None and series.device not in asked.named:
            continue
        if rule.parameters.get("is_difference") and series.device in found.stations:
            continue  # it is what others are compared with
        if factor(series.unit, rule.unit) is None:
            found.reasons[series] = f"unit {series.unit!r} cannot be compared with {rule.unit}"
            continue
        if rule.id == LEVEL and asked.limit is None and series.device not in found.hosts:
            found.reasons[series] = "no limit is known for where the device stands"
            continue
        facts: dict[str, Any] = {"area": asked.area, "stage": None}
        if rule.id != LEVEL and asked.sites is not None:
            site = found.site_of.get(series.device)
            if site is None and asked.named is None:
                found.reasons[series] = "the device belongs to no site"
                continue
            facts["stage"] = asked.stages[site[0]] if site is not None else None
        made[series] = facts
    return made


def _first_pass(
    asked: Asked, found: Found, plan: Mapping[str, Sequence[Rule]], offset: int, progress: Progress
) -> dict[int, float] | None:
    """Mean of the stations by period, where a rule needs it; the wind is kept in `found`."""
    rule = next((used[-1] for used in plan.values() if used[-1].parameters.get("is_difference")), None)
    quantities = rule.parameters["quantities"] if rule else ()
    stations = [
        each for each in found.lines if each.device in found.stations and is_quantity(each.quantity, quantities)
    ]  # fmt: skip
    wind = [each for each in found.lines if is_quantity(each.quantity, WIND)]
    reference = None
    if rule is not None:
        period = round(float(rule.parameters["averaging_min"]) * MINUTE_US)
        reference = Reference(period, offset, rule.unit, asked.least_share)
    turns: dict[int, complex] = {}
    for chunk in ordered(_reader(asked, [*stations, *wind], progress, found.lines), [*stations, *wind], Told()):
        if is_quantity(chunk.series.quantity, WIND):
            hours = (chunk.times_us + offset) // HOUR_US * HOUR_US - offset
            for hour, turn in zip(hours.tolist(), np.exp(1j * np.radians(chunk.values)).tolist(), strict=True):
                turns[hour] = turns.get(hour, 0j) + turn
        elif reference is not None:
            reference.feed(chunk)
    found.wind = {
        hour: float(np.degrees(np.angle(turn))) % 360.0 for hour, turn in turns.items() if abs(turn) > 1e-6
    }  # fmt: skip
    return None if reference is None else reference.result()


def _second_pass(asked: Asked, found: Found, progress: Progress) -> None:
    wanted = list({series: None for judge in found.judges.values() for series in judge.facts})
    for chunk in ordered(_reader(asked, wanted, progress, found.lines), wanted, found.told):
        found.latest[chunk.series] = EPOCH + dt.timedelta(microseconds=int(chunk.times_us[-1]))
        for judge in found.judges.values():
            judge.feed(chunk)
    for judge in found.judges.values():
        judge.finish()


def _reader(
    asked: Asked, wanted: Sequence[Series], progress: Progress, lines: Mapping[Series, tuple[int, dt.datetime]]
) -> Any:
    names = sorted({each.device for each in wanted})
    quantities = sorted({each.quantity for each in wanted})
    total = sum(lines[each][0] for each in wanted)

    def read(some: Collection[str] | None) -> Iterable[pa.Table]:
        if not wanted:
            return
        done = 0
        for table in asked.source.read(names if some is None else some, quantities):
            yield table
            done += len(table)
            progress(100.0 * done / max(total, 1), f"{done} observations")

    return read


def age_h(found: Found, series: Series, now: dt.datetime) -> float:
    """Hours since the latest value that can be used, of a series that has none since its latest row; never below 0."""
    last = found.latest.get(series, found.lines[series][1])
    return max((now - last).total_seconds() / 3600.0, 0.0)


def latest_values(
    source: Source, wanted: Collection[Series], since: dt.datetime | None = None
) -> dict[Series, tuple[dt.datetime, float]]:
    """Time and value of the latest observation that is not doubtful, for some series; one pass over their devices.

    `since`: observations before are not looked at.
    """
    source = replace(source, span=(since, None))
    found: dict[Series, tuple[int, float]] = {}
    names = {each.device for each in wanted}
    quantities = {each.quantity for each in wanted}
    if not names:
        return {}

    def read(some: Collection[str] | None) -> Iterable[pa.Table]:
        return source.read(sorted(names if some is None else some), sorted(quantities))

    for chunk in ordered(read, wanted, Told()):
        found[chunk.series] = int(chunk.times_us[-1]), float(chunk.values[-1])
    return {each: (EPOCH + dt.timedelta(microseconds=us), value) for each, (us, value) in found.items()}
