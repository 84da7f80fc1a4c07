"""Observations as they stream by: each series in order of time, each time once, doubtful values left out.

A year of minute values of a hundred devices is 52 million rows: they are read once, in batches, and nothing is kept but
the last time of each series. Where a series turns out not to be in order it is read again as a whole, a few at a time.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from layers import observations

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

SECOND_US, HOUR_US, DAY_US = 1_000_000, 3_600_000_000, 86_400_000_000
READ_AGAIN_ROWS = 1_000_000
"""So many rows of series that are out of order are sorted at once (one series may be longer)."""
HARMLESS = {"disorder", "no-position"}
"""Marks of quality with which a value still counts."""
_FACTORS = {
    ("mg/m3", "ug/m3"): 1000.0, ("ug/m3", "mg/m3"): 0.001, ("cm", "m"): 0.01, ("mm", "m"): 0.001, ("ft", "m"): 0.3048,
    ("db", "db(a)"): 1.0,
}  # fmt: skip


@dataclass(frozen=True)
class Series:
    """One device measuring one quantity in one unit, as they are spelt."""

    device: str
    quantity: str
    unit: str


@dataclass(frozen=True)
class Chunk:
    """A piece of a series: times in microseconds since 1970 UTC, ascending and after those of the piece before.

    `is_restart`: what was told of this series so far is void; this is all of it.
    """

    series: Series
    times_us: IntArray
    values: FloatArray
    is_restart: bool = False


@dataclass
class Told:
    """What was left out on the way: rows by why."""

    n_rows: int = 0
    n_doubtful: int = 0
    n_repeated: int = 0
    disordered: set[Series] = field(default_factory=set)


Read = Callable[[Collection[str] | None], Iterable[pa.Table]]
"""Reads all observations, or those of some devices, as tables with device_id, time, quantity, value, unit, quality."""


def is_quantity(name: str, wanted: Collection[str]) -> bool:
    """Whether a quantity is one of those that a rule names, by id or by spelling."""
    known = observations.quantity(name)
    folded = {observations.fold(each) for each in wanted}
    return observations.fold(name) in folded or (known is not None and observations.fold(known.id) in folded)


def factor(unit: str, wanted: str) -> float | None:
    """What values of a unit are multiplied with to reach another one; None where that is not known."""
    have, want = observations.unit_key(unit), observations.unit_key(wanted)
    return 1.0 if have == want and have else _FACTORS.get((have, want))


def ordered(read: Read, wanted: Collection[Series], told: Told) -> Iterator[Chunk]:
    """Pieces of the wanted series, each in order of time. `told` is filled on the way."""
    index = {each: i for i, each in enumerate(wanted)}
    names = list(index)
    last = np.full(len(names), np.iinfo(np.int64).min)
    counts = np.zeros(len(names), np.int64)
    is_late = np.zeros(len(names), bool)
    for table in read(None):
        for i, times, values in _groups(table, index, told):
            counts[i] += len(times)
            if is_late[i] or times[0] <= last[i]:
                is_late[i] = True
                continue
            last[i] = times[-1]
            yield Chunk(names[i], times, values)
    told.disordered = {names[i] for i in np.flatnonzero(is_late)}
    for some in _portions(np.flatnonzero(is_late), counts):
        yield from _again(read, [names[i] for i in some])


def _portions(rows: NDArray[np.intp], counts: IntArray) -> Iterator[list[int]]:
    some: list[int] = []
    n = 0
    for i in rows.tolist():
        if some and n + counts[i] > READ_AGAIN_ROWS:
            yield some
            some, n = [], 0
        some.append(i)
        n += int(counts[i])
    if some:
        yield some


def _again(read: Read, names: list[Series]) -> Iterator[Chunk]:
    index = {each: i for i, each in enumerate(names)}
    parts: list[list[tuple[IntArray, FloatArray]]] = [[] for _ in names]
    for table in read(sorted({each.device for each in names})):
        for i, times, values in _groups(table, index, Told()):
            parts[i].append((times, values))
    for name, pieces in zip(names, parts, strict=True):
        times = np.concatenate([each for each, _ in pieces])
        unique, first = np.unique(times, return_index=True)
        yield Chunk(name, unique, np.concatenate([each for _, each in pieces])[first], is_restart=True)


def _groups(table: pa.Table, index: Mapping[Series, int], told: Told) -> Iterator[tuple[int, IntArray, FloatArray]]:
    """(series, times, values) of one batch, each series in order of time, each time once."""
    told.n_rows += len(table)
    which = _which(table, index)
    is_known = np.asarray(pc.and_(table["time"].is_valid(), table["value"].is_valid()).to_numpy(zero_copy_only=False))
    values = np.array(table["value"].cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)
    is_doubtful = _doubtful(table) | ~is_known | ~np.isfinite(values)
    told.n_doubtful += int((is_doubtful & (which >= 0)).sum())
    rows = np.flatnonzero((which >= 0) & ~is_doubtful)
    if not rows.size:
        return
    moments = table["time"].cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    times = np.asarray(moments.to_numpy(zero_copy_only=False))[rows].astype(np.int64)
    which, values = which[rows], values[rows]
    order = np.lexsort((np.arange(len(rows)), times, which))
    which, times, values = which[order], times[order], values[order]
    is_first = np.concatenate([[True], (which[1:] != which[:-1]) | (times[1:] != times[:-1])])
    told.n_repeated += int((~is_first).sum())
    which, times, values = which[is_first], times[is_first], values[is_first]
    starts = np.flatnonzero(np.concatenate([[True], which[1:] != which[:-1]]))
    for start, stop in zip(starts, [*starts[1:], len(which)], strict=True):
        yield int(which[start]), times[start:stop], values[start:stop]


def _which(table: pa.Table, index: Mapping[Series, int]) -> IntArray:
    """(n,) number of the series of each row, -1 for another one."""
    units = table["unit"] if "unit" in table.column_names else pa.chunked_array([pa.nulls(len(table), pa.string())])
    coded = [
        pc.fill_null(each.cast(pa.string()), "").combine_chunks().dictionary_encode()
        for each in (table["device_id"], table["quantity"], units)
    ]
    coded = [each if isinstance(each, pa.DictionaryArray) else each.combine_chunks() for each in coded]
    codes = [np.asarray(each.indices.to_numpy(zero_copy_only=False), np.int64) for each in coded]
    words = [each.dictionary.to_pylist() for each in coded]
    sizes = [max(len(each), 1) for each in words]
    key = (codes[0] * sizes[1] + codes[1]) * sizes[2] + codes[2]
    found, back = np.unique(key, return_inverse=True)
    numbers = np.full(len(found), -1, np.int64)
    for k, value in enumerate(found.tolist()):
        device, rest = divmod(value, sizes[1] * sizes[2])
        quantity, unit = divmod(rest, sizes[2])
        numbers[k] = index.get(Series(words[0][device], words[1][quantity], words[2][unit]), -1)
    return numbers[back] if len(found) else np.empty(0, np.int64)


def _doubtful(table: pa.Table) -> NDArray[np.bool_]:
    """(n,) whether a mark of quality says that the value is not to be used."""
    if "quality" not in table.column_names:
        return np.zeros(len(table), bool)
    texts = pc.fill_null(table["quality"].cast(pa.string()), "").combine_chunks().dictionary_encode()
    marks = {each.id for each in observations.flags()} - HARMLESS
    bad = [any(mark in marks for mark in text.replace(" ", "").split(",")) for text in texts.dictionary.to_pylist()]
    codes = np.asarray(texts.indices.to_numpy(zero_copy_only=False), np.int64)
    return np.array([*bad, False], bool)[codes] if len(codes) else np.zeros(0, bool)


class Means:
    """Means over whole periods of a series that comes in pieces; only the sum of the open period is kept.

    Parameters
    ----------
    period : microseconds, or `year`; periods begin at local midnight (1 January)
    offset_us : of the local time to UTC
    least_share : of a period that must have values, by the usual step between them (GB 3095: 45 minutes of an hour)
    is_energy : levels in decibel: the mean is that of their energies
    """

    def __init__(self, period: int | str, offset_us: int, least_share: float, *, is_energy: bool = False) -> None:
        self._period, self._offset, self._share, self._is_energy = period, offset_us, least_share, is_energy
        self._open: tuple[int, float, int] | None = None
        self._step: int | None = None

    def feed(self, times_us: IntArray, values: FloatArray) -> tuple[IntArray, FloatArray]:
        """(k,) starts of periods that are over and (k,) their means, NaN where too few values came."""
        if not len(times_us):
            return np.empty(0, np.int64), np.empty(0)
        if self._step is None and len(times_us) > 1:
            self._step = int(np.median(np.diff(times_us)))
        periods = self._number(times_us)
        starts = np.flatnonzero(np.concatenate([[True], periods[1:] != periods[:-1]]))
        sums = np.add.reduceat(10.0 ** (values / 10.0) if self._is_energy else values, starts)
        n = np.diff([*starts, len(periods)])
        periods = periods[starts]
        if self._open is not None:
            period, total, count = self._open
            if period == periods[0]:
                sums[0] += total
                n[0] += count
            else:
                periods = np.concatenate([[period], periods])
                sums, n = np.concatenate([[total], sums]), np.concatenate([[count], n])
        self._open = int(periods[-1]), float(sums[-1]), int(n[-1])
        return self._done(periods[:-1], sums[:-1], n[:-1])

    def rest(self) -> tuple[IntArray, FloatArray]:
        """The last period, at the end of the series."""
        if self._open is None:
            return np.empty(0, np.int64), np.empty(0)
        period, total, count = self._open
        return self._done(np.array([period]), np.array([total]), np.array([count]))

    def _number(self, times_us: IntArray) -> IntArray:
        local = times_us + self._offset
        if isinstance(self._period, int):
            return np.asarray(local // self._period, np.int64)
        return np.asarray(local.astype("datetime64[us]").astype("datetime64[Y]").astype(np.int64))

    def _start(self, periods: IntArray) -> IntArray:
        if isinstance(self._period, int):
            return periods * self._period
        return np.asarray(periods.astype("datetime64[Y]").astype("datetime64[us]").astype(np.int64))

    def _done(self, periods: IntArray, sums: FloatArray, n: IntArray) -> tuple[IntArray, FloatArray]:
        means = sums / n
        if self._is_energy:
            means = 10.0 * np.log10(means)
        starts = self._start(periods)
        lengths = self._start(periods + 1) - starts
        step = lengths if self._step is None else np.minimum(self._step, lengths)
        means[n * step < self._share * lengths - 1] = np.nan
        return starts - self._offset, means
