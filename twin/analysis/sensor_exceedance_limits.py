"""Series held against a rule: day and night, the rule's edition of each day, differences to a mean, counts a day."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin.analysis.sensor_exceedance_series import DAY_US, HOUR_US, Chunk, Means, Series, factor
from twin.analysis.verdict import SAME, Verdict
from twin.supervision.rules import Rule, softened

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

MINUTE_US = HOUR_US // 60
_NEVER = np.iinfo(np.int64)


@dataclass(frozen=True)
class Alert:
    """One exceedance: a value (or difference) strictly above its limit.

    `time_us` is the moment, or the start of the period averaged; `mean` what was subtracted, NaN where nothing was.
    """

    series: Series
    time_us: int
    value: float
    measured: float
    limit: float
    mean: float
    rule: Rule

    @property
    def excess(self) -> float:
        """Over the limit."""
        return self.measured - self.limit


@dataclass
class Record:
    """What came of one series."""

    means: Means | None = None
    n_judged: int = 0
    n_unknown: int = 0
    n_over: int = 0
    highest: float = -np.inf
    days: dict[int, int] = field(default_factory=dict)
    alerts: list[Alert] = field(default_factory=list)


def editions(rules: Sequence[Rule], rule_id: str) -> list[Rule]:
    """The editions of a rule, those that hold for ever first."""
    return sorted(
        (each for each in rules if each.id == rule_id), key=lambda each: (each.effective is not None, each.effective)
    )


def local_hour(times_us: IntArray, offset_us: int) -> FloatArray:
    """(n,) hour of the local day, with its fraction."""
    found: FloatArray = ((times_us + offset_us) % DAY_US) / HOUR_US
    return found


def is_night(
    times_us: IntArray, offset_us: int, day_from_h: float = 6.0, night_from_h: float = 22.0
) -> NDArray[np.bool_]:
    """(n,) whether moments are at night: 22:00 is night, 06:00 is day."""
    hour = local_hour(times_us, offset_us)
    return (hour < day_from_h) | (hour >= night_from_h)


def limits_at(
    used: Sequence[Rule], times_us: IntArray, offset_us: int, facts: Mapping[str, Any]
) -> tuple[FloatArray, IntArray]:
    """(n,) limit at each moment, NaN where none holds, and (n,) which edition of the rule says so, -1 for none."""
    limit, which = np.full(len(times_us), np.nan), np.full(len(times_us), -1, np.int64)
    day = (times_us + offset_us) // DAY_US
    for k, rule in enumerate(used):
        first = _day(rule.effective, _NEVER.min)
        until = _day(rule.until, _NEVER.max)
        holds = (day >= first) & (day < until)
        if not holds.any():
            continue
        which[holds] = k
        if not rule.rows:
            limit[holds] = np.nan if rule.value is None else rule.value
            continue
        night = is_night(
            times_us,
            offset_us,
            float(rule.parameters.get("day_from_h", 6)),
            float(rule.parameters.get("night_from_h", 22)),
        )
        for period, chosen in (("day", holds & ~night), ("night", holds & night)):
            row = rule.row({**facts, "period": period})
            limit[chosen] = np.nan if row is None else float(row.value)
    return limit, which


def in_season(times_us: IntArray, offset_us: int, first: str, last: str) -> NDArray[np.bool_]:
    """(n,) whether local days lie in a season from `first` to `last`, `MM-DD`, both among it; it may cross a year."""
    days = ((times_us + offset_us) // DAY_US).astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    told = (months.astype(np.int64) % 12 + 1) * 100 + (days - months.astype("datetime64[D]")).astype(np.int64) + 1
    begin, end = (int(each.replace("-", "")) for each in (first, last))
    return (told >= begin) & (told <= end) if begin <= end else (told >= begin) | (told <= end)


def _day(date: Any, default: int) -> int:
    return default if date is None else date.toordinal() - 719163  # days since 1970


class Judge:
    """One rule over many series, fed piece by piece.

    Parameters
    ----------
    used : editions of the rule
    offset_us : of local time to UTC
    facts : by series: what chooses the line of a table (area, stage); a series that is not there is not judged
    own_limits : by device, in the season and outside it, for rules whose limit comes from a layer; `limit` for all
    season : first and last day, `MM-DD`; None: always
    reference : mean of the stations by start of period, for rules on the difference to it
    most_alerts : those with the largest excess are kept; all are counted
    """

    def __init__(
        self,
        used: Sequence[Rule],
        offset_us: int,
        facts: Mapping[Series, Mapping[str, Any]],
        *,
        own_limits: Mapping[str, tuple[float, float]] | None = None,
        season: tuple[str, str] | None = None,
        limit: float | None = None,
        reference: Mapping[int, float] | None = None,
        least_share: float = 0.75,
        most_alerts: int = 10_000,
    ) -> None:
        self.used, self.facts, self.records = used, facts, dict[Series, Record]()
        self.reference, self.season = reference, season
        self._offset, self._own, self._limit, self._share = offset_us, own_limits, limit, least_share
        self._most, self._floor = most_alerts, -np.inf
        self.rule = used[-1]

    def feed(self, chunk: Chunk) -> None:
        """Judge a piece of a series."""
        if chunk.series not in self.facts:
            return
        if chunk.is_restart or chunk.series not in self.records:
            self.records[chunk.series] = Record(self._means())
        record = self.records[chunk.series]
        scale = factor(chunk.series.unit, self.rule.unit)
        if scale is None:
            record.n_unknown += len(chunk.values)
            return
        times, values = chunk.times_us, chunk.values * scale
        if record.means is not None:
            times, values = record.means.feed(times, values)
        self._judge(chunk.series, record, times, values)

    def finish(self) -> None:
        """The last, open periods."""
        for series, record in self.records.items():
            if record.means is not None:
                self._judge(series, record, *record.means.rest())

    def is_season(self, times_us: IntArray) -> NDArray[np.bool_]:
        """(n,) whether moments lie in the season."""
        if self.season is None:
            return np.ones(len(times_us), bool)
        return in_season(times_us, self._offset, *self.season)

    def _means(self) -> Means | None:
        told = self.rule.parameters
        minutes = float(told.get("averaging_min", 0))
        period: int | str = "year" if told.get("averaging") == "year" else round(minutes * MINUTE_US)
        if not period:
            return None
        return Means(period, self._offset, self._share, is_energy=self.rule.unit.lower().startswith("db"))

    def _judge(self, series: Series, record: Record, times: IntArray, values: FloatArray) -> None:
        if not len(times):
            return
        limit, which = limits_at(self.used, times, self._offset, self.facts[series])
        if self._own is not None:
            within, outside = self._own.get(series.device, (np.nan, np.nan))
            limit = np.where(which < 0, np.nan, np.where(self.is_season(times), within, outside))
        if self._limit is not None:
            limit = np.full(len(times), self._limit)
        mean = np.full(len(times), np.nan)
        measured = values
        if self.reference is not None:
            mean = np.array([self.reference.get(each, np.nan) for each in times.tolist()])
            measured = values - mean
        is_known = ~(np.isnan(measured) | np.isnan(limit))
        record.n_judged += int(is_known.sum())
        record.n_unknown += int((~is_known).sum())
        if is_known.any():
            record.highest = max(record.highest, float(measured[is_known].max()))
        over = np.flatnonzero(is_known & (measured > limit + SAME))
        record.n_over += len(over)
        for day, n in zip(*np.unique((times[over] + self._offset) // DAY_US, return_counts=True), strict=True):
            record.days[int(day)] = record.days.get(int(day), 0) + int(n)
        over = over[measured[over] - limit[over] > self._floor]
        if len(over) > self._most:
            over = over[np.argsort(limit[over] - measured[over], kind="stable")[: self._most]]
        record.alerts += [
            Alert(
                series, int(times[i]), float(values[i]), float(measured[i]), float(limit[i]), float(mean[i]),
                self.used[which[i]] if which[i] >= 0 else self.rule,
            )
            for i in over
        ]  # fmt: skip
        if sum(len(each.alerts) for each in self.records.values()) > 2 * self._most:
            self._trim()

    def _trim(self) -> None:
        kept = sorted(
            (each for record in self.records.values() for each in record.alerts), key=lambda each: -each.excess
        )
        if len(kept) >= self._most:  # what is not further over the limit than the last of these is counted only
            self._floor = kept[self._most - 1].excess
        for record in self.records.values():
            record.alerts = []
        for each in kept[: self._most]:
            self.records[each.series].alerts.append(each)

    def alerts(self) -> list[Alert]:
        """The alerts kept, in order of time."""
        self._trim()
        found = [each for record in self.records.values() for each in record.alerts]
        return sorted(found, key=lambda each: (each.time_us, each.series.device, each.series.quantity))

    def n_on_day(self, alert: Alert) -> int:
        """Exceedances of the alert's series on its local day."""
        return self.records[alert.series].days[(alert.time_us + self._offset) // DAY_US]

    def verdict(self, alert: Alert) -> Verdict:
        """Of an alert: `review` where the rule allows so many a day, else what the rule's confidence lets it say."""
        allowed = alert.rule.parameters.get("allowed_per_day")
        if allowed is not None and self.n_on_day(alert) <= allowed:
            return "review"
        return softened("fail", alert.rule.confidence)


class Reference:
    """Mean of several stations by period: the value that a site's is compared with. Fed piece by piece."""

    def __init__(self, period_us: int, offset_us: int, unit: str, least_share: float) -> None:
        self._period, self._offset, self._unit, self._share = period_us, offset_us, unit, least_share
        self._means: dict[Series, Means] = {}
        self._by_series: dict[Series, dict[int, float]] = {}

    def feed(self, chunk: Chunk) -> None:
        """A piece of a station's series; one in a unit that cannot be converted is left out."""
        scale = factor(chunk.series.unit, self._unit)
        if scale is None:
            return
        if chunk.is_restart or chunk.series not in self._means:
            self._means[chunk.series] = Means(self._period, self._offset, self._share)
            self._by_series[chunk.series] = {}
        self._put(chunk.series, *self._means[chunk.series].feed(chunk.times_us, chunk.values * scale))

    def _put(self, series: Series, starts: IntArray, means: FloatArray) -> None:
        known = ~np.isnan(means)
        self._by_series[series].update(zip(starts[known].tolist(), means[known].tolist(), strict=True))

    def result(self) -> dict[int, float]:
        """Mean over the stations that have a value, by start of period."""
        sums: dict[int, tuple[float, int]] = {}
        for series, means in self._means.items():
            self._put(series, *means.rest())
            for start, value in self._by_series[series].items():
                total, n = sums.get(start, (0.0, 0))
                sums[start] = total + value, n + 1
        return {start: total / n for start, (total, n) in sums.items()}


def level_state(level_m: float, steps: Sequence[tuple[str, float]]) -> str:
    """The highest characteristic level that is strictly passed, by name; `normal` for none, `unknown` for NaN."""
    if np.isnan(level_m):
        return "unknown"
    passed = [name for name, limit in sorted(steps, key=lambda each: each[1]) if level_m > limit + SAME]
    return passed[-1] if passed else "normal"
