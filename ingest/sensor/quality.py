"""Quality of observations, chunk by chunk in bounded memory: order, repeats, gaps, stuck values, ranges, units.

A first pass learns what must be known before an observation is given away: the usual step of each series, the runs of
equal values, and whether times ever go back. Only where they do, a second pass looks for repeated instants, with 8
bytes an observation (`ingest.duplicates`); a series in order needs none.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from ingest.duplicates import Seen
from ingest.sensor.rows import Melter, Observed, distinct
from ingest.sensor.time import NEVER
from layers import observations
from layers.issue import Issue
from layers.observations import Quantity

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

BITS = {flag.id: np.int64(1 << number) for number, flag in enumerate(observations.flags())}
"""Flag -> its bit in a mask; a mask has the flags of one observation."""

GAP_STEPS = 3.0
"""A step of more than so many median steps of its series is a gap."""

MAX_DISTINCT_STEPS = 2048
MAX_COUNTED_SERIES = 10_000
"""Beyond so many series, steps are not counted and gaps not told."""

FARTHEST_ZONE = timedelta(hours=14)
_BLANK = np.iinfo(np.int64).max - 12345
_FLOOR = NEVER // 2
"""Times below stand for text that is no time."""


@dataclass
class _Series:
    """What is carried from chunk to chunk, one element a series; arrays grow as series come."""

    latest: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    last: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    bits: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    run: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    count: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    unit: Ints = field(default_factory=lambda: np.zeros(0, np.int64))

    def grow(self, n: int) -> None:
        """Make room for n series."""
        more = n - len(self.latest)
        if more > 0:
            size = max(more, len(self.latest))
            for name, value in (
                ("latest", NEVER),
                ("last", NEVER),
                ("bits", _BLANK),
                ("run", 0),
                ("count", 0),
                ("unit", -1),
            ):
                setattr(self, name, np.concatenate([getattr(self, name), np.full(size, value)]))


@dataclass(frozen=True)
class Step:
    """One chunk's observations against those before them in their series; all (n,), in the file's order.

    Attributes
    ----------
    goes_back, earlier : not later, and earlier, than the latest before
    step_us : since the one before in the file; NEVER for the first
    nth : 0, 1, 2 … within the series
    run : how many equal values end here, this one included; 0 where there is no value
    first_unit : number of the first unit of the series, -1 where none was said yet
    """

    goes_back: Bools
    earlier: Bools
    step_us: Ints
    nth: Ints
    run: Ints
    first_unit: Ints


class Walk:
    """Goes through the chunks of a file once, comparing each observation with its series so far."""

    def __init__(self) -> None:
        self._state = _Series()

    def step(self, seen: Observed, n_series: int) -> Step:
        """Compare one chunk. Sorting by series is stable, so that the file's order stays within each."""
        state, n = self._state, len(seen)
        state.grow(n_series)
        if not n:
            nothing = np.zeros(0, np.int64)
            return Step(nothing > 0, nothing > 0, nothing, nothing, nothing, nothing)
        order = np.argsort(seen.series, kind="stable")
        series, us, at = seen.series[order], seen.us[order], np.arange(n)
        starts = np.concatenate([[True], series[1:] != series[:-1]])
        first, group = np.flatnonzero(starts), np.cumsum(starts) - 1
        own, ends = series[first], np.concatenate([np.flatnonzero(starts)[1:] - 1, [n - 1]])
        before = _shifted(us, first, state.last[own])
        highest = _running_max(us, group)
        latest = np.maximum(_shifted(highest, first, NEVER), state.latest[series])
        bits = np.where(np.isnan(seen.value), _BLANK, (seen.value + 0.0).view(np.int64))[order]
        same = (bits == _shifted(bits, first, state.bits[own])) & (bits != _BLANK)
        begun = np.maximum.accumulate(np.where(same & ~starts, 0, at))
        goes_on = (begun == first[group]) & same[first][group]  # with the run that the chunk before ended with
        run = np.where(bits == _BLANK, 0, at - begun + 1 + np.where(goes_on, state.run[series], 0))
        nth = at - first[group] + state.count[series]
        unit = self._first_units(seen.unit[order], series)
        state.last[own], state.bits[own], state.run[own] = us[ends], bits[ends], run[ends]
        state.latest[own] = np.maximum(highest[ends], state.latest[own])
        state.count[own] = nth[ends] + 1
        step_us = np.where((before < _FLOOR) | (us < _FLOOR), NEVER, us - before)
        back = np.empty(n, np.int64)
        back[order] = at
        known = latest != NEVER
        goes_back, earlier = known & (us <= latest), known & (us < latest)
        return Step(goes_back[back], earlier[back], step_us[back], nth[back], run[back], unit[back])

    def _first_units(self, unit: Ints, series: Ints) -> Ints:
        """(n,) first unit of the series of each, over all chunks."""
        state = self._state
        said = np.flatnonzero(unit >= 0)
        fresh, at = np.unique(series[said], return_index=True)
        unknown = state.unit[fresh] < 0
        state.unit[fresh[unknown]] = unit[said[at[unknown]]]
        return np.asarray(state.unit[series])


def _shifted(values: Ints, first: Ints, filled: Ints | int) -> Ints:
    """Each value's predecessor; `filled` for the first of each group."""
    out = np.concatenate([values[:1], values[:-1]])
    out[first] = filled
    return out


def _running_max(us: Ints, group: Ints) -> Ints:
    """(n,) highest so far within ascending groups: ranks are lifted by group, so that one pass serves all."""
    if not ((us[1:] < us[:-1]) & (group[1:] == group[:-1])).any():
        return us
    levels, rank = np.unique(us, return_inverse=True)
    lift = group * len(levels)
    return np.asarray(levels[np.maximum.accumulate(rank + lift) - lift])


@dataclass
class Learned:
    """What the first passes found out.

    Attributes
    ----------
    n_observations : of the whole file
    goes_back : some time is not later than those before in its series
    median_us : series -> median step
    stuck : (m, 3) series, first and last place in it of each run that is too long, sorted
    repeated, conflicting : sorted hashes of instants that come again, and of those with another value
    """

    n_observations: int = 0
    goes_back: bool = False
    median_us: dict[int, float] = field(default_factory=dict)
    stuck: Ints = field(default_factory=lambda: np.zeros((0, 3), np.int64))
    repeated: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    conflicting: Ints = field(default_factory=lambda: np.zeros(0, np.int64))


class _Steps:
    """Steps of each series counted by length; beyond MAX_DISTINCT_STEPS lengths, to 1 part in 64."""

    def __init__(self) -> None:
        self._counts: dict[int, dict[int, int]] = {}

    def add(self, series: Ints, step_us: Ints) -> None:
        good = step_us > 0
        lengths, which = np.unique(step_us[good], return_inverse=True)
        pairs, n = np.unique(series[good] * (len(lengths) + 1) + which, return_counts=True)
        for pair, times in zip(pairs.tolist(), n.tolist(), strict=True):
            one, length = pair // (len(lengths) + 1), int(lengths[pair % (len(lengths) + 1)])
            if one not in self._counts and len(self._counts) >= MAX_COUNTED_SERIES:
                continue
            counts = self._counts.setdefault(one, {})
            counts[length] = counts.get(length, 0) + times
            if len(counts) > MAX_DISTINCT_STEPS:
                self._counts[one] = _coarse(counts)

    def medians(self) -> dict[int, float]:
        return {series: _median(counts) for series, counts in self._counts.items()}


def _coarse(counts: dict[int, int]) -> dict[int, int]:
    made: dict[int, int] = {}
    for length, times in counts.items():
        unit = 1 << max(0, length.bit_length() - 7)
        key = (length + unit // 2) // unit * unit
        made[key] = made.get(key, 0) + times
    return made


def _median(counts: dict[int, int]) -> float:
    lengths = np.array(sorted(counts))
    upto = np.cumsum([counts[length] for length in lengths.tolist()])
    return float(lengths[np.searchsorted(upto, upto[-1] / 2)])


def learn(chunks: Iterable[Observed], melter: Melter, told_stuck: int | None) -> Learned:
    """The first pass."""
    out, walk, steps, runs = Learned(), Walk(), _Steps(), _Runs(melter, told_stuck)
    for seen in chunks:
        step = walk.step(seen, len(melter.series))
        out.n_observations += len(seen)
        out.goes_back |= bool(step.goes_back.any())
        steps.add(seen.series, step.step_us)
        runs.add(seen, step)
    out.median_us = steps.medians()
    out.stuck = runs.done()
    return out


def find_repeats(chunks: Iterable[Observed], learned: Learned) -> None:
    """The second pass, for a file whose times go back: which instants come again, and with another value."""
    instants, pairs = Seen(), Seen()
    repeated, conflicting = [], []
    for seen in chunks:
        key = instant(seen)
        again = instants.add(key)
        known = pairs.add(with_value(key, seen.value))
        repeated.append(key[again])
        conflicting.append(key[again & ~known])
    learned.repeated = np.unique(np.concatenate([*repeated, np.zeros(0, np.int64)]))
    learned.conflicting = np.unique(np.concatenate([*conflicting, np.zeros(0, np.int64)]))


def instant(seen: Observed) -> Ints:
    """(n,) hashes of series and time."""
    return _mixed(seen.us ^ _mixed(seen.series + 1))


def with_value(key: Ints, value: NDArray[np.float64]) -> Ints:
    """(n,) hashes of series, time and value."""
    bits = np.where(np.isnan(value), _BLANK, (value + 0.0).view(np.int64))
    return _mixed(key ^ _mixed(bits))


def _mixed(numbers: Ints) -> Ints:
    """The finaliser of SplitMix64 (Steele, Lea, Flood 2014): every bit of the result depends on every bit."""
    z = numbers.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray((z ^ (z >> np.uint64(31))).astype(np.int64))


class _Runs:
    """Runs of equal values that are too long for their quantity."""

    def __init__(self, melter: Melter, told: int | None) -> None:
        self._melter, self._told = melter, told
        self._found: dict[tuple[int, int], int] = {}
        self._limits = np.zeros(0, np.int64)
        self._at_zero = np.zeros(0, bool)

    def add(self, seen: Observed, step: Step) -> None:
        self._grow()
        limit = self._limits[seen.series]
        long = (step.run >= limit) & ((seen.value != 0) | self._at_zero[seen.series])
        for at in np.flatnonzero(long).tolist():
            last = int(step.nth[at])
            self._found[int(seen.series[at]), last - int(step.run[at]) + 1] = last

    def _grow(self) -> None:
        for _, quantity in self._melter.series[len(self._limits) :]:
            known = observations.quantity(self._melter.quantities.words[quantity])
            limit = self._told or (known.stuck if known else observations.default_stuck())
            self._limits = np.append(self._limits, limit)
            self._at_zero = np.append(self._at_zero, bool(known and known.stuck_at_zero))

    def done(self) -> Ints:
        rows = sorted((series, first, last) for (series, first), last in self._found.items())
        return np.array(rows, np.int64).reshape(-1, 3)


class Marker:
    """The last pass: masks of flags, and which observations only repeat an earlier one."""

    def __init__(self, melter: Melter, learned: Learned, now: datetime | None = None) -> None:
        self._melter, self._learned, self._walk = melter, learned, Walk()
        self._seen, self._seen_values = Seen(), Seen()
        self._now_us = round((now or datetime.now(UTC)).timestamp() * 1e6)
        self._ranges: dict[tuple[int, int], tuple[float, float]] = {}
        self._keys = learned.stuck[:, 0] * (1 << 40) + learned.stuck[:, 1]
        self.n_gaps, self.largest_gap = 0, (0, "")

    def marked(self, seen: Observed) -> tuple[Ints, Bools, Bools]:
        """Masks (n,); True where an observation repeats an earlier one; True where its id needs its value."""
        step = self._walk.step(seen, len(self._melter.series))
        flags = np.zeros(len(seen), np.int64)
        zoned, readable = seen.times.zoned[seen.row], seen.times.readable[seen.row]
        latest = self._now_us + np.where(zoned, 0, round(FARTHEST_ZONE.total_seconds() * 1e6))
        for name, rows in (
            ("missing", seen.missing),
            ("unreadable", seen.unreadable),
            ("disorder", step.earlier & readable),
            ("future", readable & (seen.us > latest)),
            ("stuck", self._is_stuck(seen, step)),
            ("unit-change", (seen.unit >= 0) & (step.first_unit >= 0) & self._differs(seen.unit, step.first_unit)),
            ("range", self._is_out_of_range(seen)),
            ("time-unknown", readable & ~zoned),
            ("time-unreadable", ~readable),
        ):
            flags[rows] |= BITS[name]
        repeats, follows = self._repeats(seen, flags)
        self._count_gaps(seen, step, repeats)
        return flags, repeats, follows

    def _repeats(self, seen: Observed, flags: Ints) -> tuple[Bools, Bools]:
        repeats, follows = np.zeros(len(seen), bool), np.zeros(len(seen), bool)
        if not len(self._learned.repeated):
            return repeats, follows
        key = instant(seen)
        rows = np.flatnonzero(np.isin(key, self._learned.repeated))
        came = self._seen.add(key[rows])
        known = self._seen_values.add(with_value(key[rows], seen.value[rows]))
        repeats[rows], follows[rows] = came & known, came & ~known
        flags[rows[np.isin(key[rows], self._learned.conflicting)]] |= BITS["conflict"]
        return repeats, follows

    def _is_stuck(self, seen: Observed, step: Step) -> Bools:
        stuck = self._learned.stuck
        if not len(stuck):
            return np.zeros(len(seen), bool)
        at = np.searchsorted(self._keys, seen.series * (1 << 40) + step.nth, side="right") - 1
        run = stuck[np.maximum(at, 0)]
        return np.asarray((at >= 0) & (run[:, 0] == seen.series) & (step.nth <= run[:, 2]))

    def _differs(self, unit: Ints, first: Ints) -> Bools:
        """Units that are more than another spelling of the first."""
        if np.array_equal(unit, first):
            return np.zeros(len(unit), bool)
        words = [observations.unit_key(word) for word in self._melter.units.words]
        numbers = {word: number for number, word in enumerate(words)}
        same = np.array([numbers[word] for word in words], np.int64)
        return np.asarray(same[unit] != same[first])

    def _is_out_of_range(self, seen: Observed) -> Bools:
        if not len(seen):
            return np.zeros(0, bool)
        n = len(self._melter.units.words) + 1
        pairs, at = distinct(seen.series * n + seen.unit + 1)
        limits = np.array([self._limits(pair // n, pair % n - 1) for pair in pairs.tolist()])
        low, high = limits[at, 0], limits[at, 1]
        return np.asarray((seen.value < low) | (seen.value > high))

    def _limits(self, series: int, unit: int) -> tuple[float, float]:
        quantity = self._melter.series[series][1]
        if (quantity, unit) not in self._ranges:
            known: Quantity | None = observations.quantity(self._melter.quantities.words[quantity])
            said = self._melter.units.words[unit] if unit >= 0 else None
            self._ranges[quantity, unit] = known.limits(said) if known else (-np.inf, np.inf)
        return self._ranges[quantity, unit]

    def _count_gaps(self, seen: Observed, step: Step, repeats: Bools) -> None:
        medians = self._learned.median_us
        if not medians:
            return
        usual = np.full(int(seen.series.max(initial=0)) + 1, np.inf)
        for series in np.unique(seen.series).tolist():
            usual[series] = medians.get(series, np.inf)
        wide = (step.step_us > GAP_STEPS * usual[seen.series]) & seen.times.readable[seen.row] & ~repeats
        self.n_gaps += int(wide.sum())
        if wide.any():
            at = int(np.argmax(np.where(wide, step.step_us, 0)))
            if int(step.step_us[at]) > self.largest_gap[0]:
                device, quantity = self._melter.series[int(seen.series[at])]
                name = f"{self._melter.devices.words[device]}/{self._melter.quantities.words[quantity]}"
                before = np.datetime64(int(seen.us[at] - step.step_us[at]), "us").astype("M8[s]")
                self.largest_gap = (int(step.step_us[at]), f"{name} after {before}")

    def issues(self) -> list[Issue]:
        """The gaps, with the largest."""
        if not self.n_gaps:
            return []
        message = (
            f"{self.n_gaps} steps are more than {GAP_STEPS:g} times the usual one of their series; the largest is "
            f"{timedelta(microseconds=self.largest_gap[0])}, in {self.largest_gap[1]}."
        )
        return [Issue("OBS_GAP", self.largest_gap[1], message, "", "info")]
