"""Rows of a table -> observations: a row of wide form becomes one for each quantity, in the order of the columns."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingest import values
from ingest.sensor import time as sensor_time
from ingest.sensor.columns import Plan
from ingest.sensor.time import NEVER, Times
from ingest.sensor.values import numbers
from layers.source import Hints

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_MASK = (1 << 56) - 1


@dataclass(frozen=True)
class Observed:
    """n observations of some rows, as arrays.

    Attributes
    ----------
    table : the rows
    row : (n,) which row of the table each is from
    which : (n,) which of the plan's value columns
    series : (n,) number of the device and quantity, the same in every chunk
    times : of the rows, not of the observations
    us : (n,) microseconds that order the observations; made from the text where it is no time
    value : (n,) NaN where there is none
    missing, coded, unreadable : (n,) see `sensor_values.Numbers`
    unit : (n,) number of the unit within the series' units, -1 where none is said
    """

    table: pa.Table
    row: Ints
    which: Ints
    series: Ints
    times: Times
    us: Ints
    value: NDArray[np.float64]
    missing: Bools
    coded: Bools
    unreadable: Bools
    unit: Ints

    def __len__(self) -> int:
        return len(self.row)


@dataclass
class Names:
    """Numbers for words, in the order in which they come: the same word has the same number in every chunk."""

    words: list[str] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict)

    def number(self, word: str) -> int:
        """The number of a word, a new one for a new word."""
        found = self._numbers.get(word)
        if found is None:
            found = self._numbers[word] = len(self.words)
            self.words.append(word)
        return found

    def numbers(self, column: pa.Array) -> Ints:
        """(n,) numbers of a text column; -1 for null."""
        coded = pc.dictionary_encode(column)
        known = np.array([self.number(word) for word in coded.dictionary.to_pylist()] + [-1], np.int64)
        at = pc.fill_null(pc.cast(coded.indices, pa.int64()), -1).to_numpy(zero_copy_only=False)
        return np.asarray(known[at])


class Melter:
    """Turns chunks into observations; remembers the devices, quantities and units it has met.

    `n_rows`, the rows before the chunk, is set back to 0 by whoever begins a pass.
    """

    def __init__(self, plan: Plan, hints: Hints, device: str) -> None:
        self.plan = plan
        self.devices, self.quantities, self.units = Names(), Names(), Names()
        self._default = str(hints.values.get("device_id", device))
        self._pairs: dict[tuple[int, int], int] = {}
        self.series: list[tuple[int, int]] = []
        self._fixed = np.array([self.quantities.number(each.quantity) for each in plan.values], np.int64)
        self._fixed_unit = np.array(
            [-1 if v.unit is None else self.units.number(v.unit) for v in plan.values], np.int64
        )
        self._nameless = self.devices.number(self._default)
        self.n_rows = 0

    def observed(self, table: pa.Table) -> Observed:
        """The observations of a chunk (n rows times k value columns)."""
        plan, n, k = self.plan, table.num_rows, len(self.plan.values)
        times = self.times(table)
        row = np.repeat(np.arange(n), k)
        which = np.tile(np.arange(k), n)
        read = [numbers(whole(table, each.column)) for each in plan.values]
        joined = {
            name: np.column_stack([getattr(each, name) for each in read]).ravel()
            for name in ("values", "missing", "coded", "unreadable")
        }
        device = np.full(n, self._nameless)
        if plan.device is not None:
            found = self.devices.numbers(values.as_text(whole(table, plan.device)))
            device = np.where(found < 0, self._nameless, found)
        quantity, unit = self._fixed[which], self._fixed_unit[which]
        if plan.quantity is not None:
            said = self.quantities.numbers(values.as_text(whole(table, plan.quantity)))[row]
            quantity = np.where(said < 0, quantity, said)
        if plan.unit is not None:
            said = self.units.numbers(values.as_text(whole(table, plan.unit)))[row]
            unit = np.where(said < 0, unit, said)
        series = self._series(device[row], quantity)
        self.n_rows, before = self.n_rows + n, self.n_rows
        order = (
            times.us
            if times.readable.all()
            else np.where(times.readable, times.us, self._of_text(table, times, before))
        )
        return Observed(
            table, row, which, series, times, order[row], joined["values"], joined["missing"], joined["coded"],
            joined["unreadable"], unit,
        )  # fmt: skip

    def times(self, table: pa.Table) -> Times:
        """Times of the rows."""
        columns = [whole(table, name) for name in self.plan.time]
        if self.plan.is_split:
            return sensor_time.parse_parts(columns, self.plan.zone)
        return sensor_time.parse(columns, self.plan.zone)

    def time_text(self, table: pa.Table) -> pa.Array:
        """The time of each row as the file writes it."""
        parts = [pc.fill_null(pc.cast(whole(table, name), pa.string()), "") for name in self.plan.time]
        return parts[0] if len(parts) == 1 else pc.binary_join_element_wise(*parts, " ")

    def _of_text(self, table: pa.Table, times: Times, before: int) -> Ints:
        """Very early numbers for texts that are no time, equal for equal texts, so that repeats are found."""
        out = np.full(table.num_rows, NEVER)
        texts = self.time_text(table)
        for at in np.flatnonzero(~times.readable).tolist():
            text = texts[at].as_py()  # rows without any time are not the same instant: their place tells them apart
            out[at] = NEVER + 1 + (hash(text) & _MASK if text.strip() else _MASK + before + at)
        return out

    def _series(self, device: Ints, quantity: Ints) -> Ints:
        n_quantities = len(self.quantities.words)
        fresh, at = distinct(device * n_quantities + quantity)
        codes = []
        for pair in fresh.tolist():
            key = divmod(pair, n_quantities)
            if key not in self._pairs:
                self._pairs[key] = len(self.series)
                self.series.append(key)
            codes.append(self._pairs[key])
        return np.asarray(np.array(codes, np.int64)[at])


def distinct(numbers: Ints) -> tuple[Ints, Ints]:
    """Sorted distinct values of (n,) numbers from 0 on, and where each of the n is among them."""
    if not len(numbers) or int(numbers.max()) > 8 * len(numbers):
        fresh, at = np.unique(numbers, return_inverse=True)
        return fresh, at
    present = np.bincount(numbers) > 0
    return np.flatnonzero(present), (np.cumsum(present) - 1)[numbers]


def whole(table: pa.Table, column: str) -> pa.Array:
    """One column as one array; text as plain strings."""
    array = table.column(column)
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    return array.cast(pa.string()) if pa.types.is_large_string(array.type) else array


def extra(observed: Observed, plan: Plan, kept: Ints) -> list[str | None]:
    """A JSON object (or None) for each kept observation: other columns, times and values that were not understood."""
    members = [_members(name, whole(observed.table, name)) for name in plan.rest]
    loose = pa.array(~observed.times.zoned)
    if not observed.times.zoned.all():
        members += [pc.if_else(loose, _members(name, whole(observed.table, name)), None) for name in plan.time]
    made: list[str | None] = [None] * len(kept)
    if members:
        rows = pc.binary_join_element_wise("{", joined(members), "}", "")
        made = rows.take(pa.array(observed.row[kept])).to_pylist()
    for at in np.flatnonzero((observed.coded | observed.unreadable)[kept]).tolist():
        place = int(kept[at])
        column = plan.values[int(observed.which[place])].column
        said = orjson.dumps({column: observed.table.column(column)[int(observed.row[place])].as_py()}, default=str)
        before = made[at]
        made[at] = said.decode() if before is None else f"{before[:-1]},{said.decode()[1:]}"
    return made


def joined(columns: Sequence[pa.Array]) -> pa.Array:
    """Text of several columns with commas between, without the empty ones; null where all are null."""
    out = columns[0]
    for each in columns[1:]:
        both = pc.binary_join_element_wise(out, each, ",")
        out = pc.coalesce(both, out, each)
    return out


def _members(name: str, column: pa.Array) -> pa.Array:
    """`"name":value` for each row, null for empty cells; each distinct value is written once."""
    coded = pc.dictionary_encode(column)
    key = orjson.dumps(name).decode()
    made = [
        None if each is None or each == "" else f"{key}:{orjson.dumps(each, default=str).decode()}"
        for each in coded.dictionary.to_pylist()
    ]
    return pc.take(pa.array(made, pa.string()), coded.indices)
