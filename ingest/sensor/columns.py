"""Which column of a table is the time, the device, the quantity, the value, the unit; and whether it is a series.

Long form has one value column (with a quantity column, or one quantity in all); wide form has one column a quantity.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest import units
from ingest.columns import fold
from ingest.sensor import time as sensor_time
from ingest.sensor.values import numbers
from layers import observations
from layers.source import Hints

LAYERS = ("sensor_obs", "sensor_obs_point")
SAMPLE_ROWS = 10_000
TIME_ROWS = 200
MIN_TIMES = 0.5
"""A column is the time when so many of the sample's first rows are times; of one without a header, MIN_UNNAMED."""
MIN_UNNAMED = 0.9
MIN_NUMBERS = 0.9

_PARTS = ("year", "month", "day", "hour", "minute")
_BRACKETS = re.compile(r"^(?P<name>.*?)\s*[(\[【（]\s*(?P<unit>[^)\]】）]*)\s*[)\]】）]$")
_ROLES = ("device_id", "quantity", "value", "unit", "quality")


@dataclass(frozen=True)
class Value:
    """A column of values: what it measures where no quantity column says it, and its unit where no unit column does."""

    column: str
    quantity: str
    unit: str | None


@dataclass(frozen=True)
class Plan:
    """The columns of a series.

    Attributes
    ----------
    time : one column, or a date and a time of day, or year, month, day …
    is_split : the time is in year, month, day … columns
    zone : what the header or the declared unit says of the time
    values : one for long form, one a quantity for wide form
    device, quantity, unit, quality : columns, or None
    x, y : coordinate columns, or None
    rest : columns that become `extra`
    """

    time: tuple[str, ...]
    is_split: bool
    zone: str | None
    values: tuple[Value, ...]
    device: str | None = None
    quantity: str | None = None
    unit: str | None = None
    quality: str | None = None
    x: str | None = None
    y: str | None = None
    rest: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()


@dataclass
class _Free:
    """Headers that no role has taken yet."""

    sample: pa.Table
    hinted: Mapping[str, str]
    used: list[str] = field(default_factory=list)

    def take(self, role: str) -> str | None:
        """The hinted column of a role, else the best named one."""
        told = self.hinted.get(role)
        if told is not None and told in self.sample.column_names:
            self.used.append(told)
            return told
        reserved = set(self.hinted.values())
        return self.named(role, reserved)

    def named(self, role: str, reserved: set[str]) -> str | None:
        """The best named free column of a role; a bracket behind the name does not matter."""
        free = [name for name in self.sample.column_names if name not in self.used and name not in reserved]
        by_name = {fold(bare(name)): name for name in reversed(free)}
        found = next((by_name[name] for name in observations.column_names(role) if name in by_name), None)
        if found is not None:
            self.used.append(found)
        return found


def bare(header: str) -> str:
    """A header without what stands in brackets behind it."""
    match = _BRACKETS.match(units.narrow(header))
    return match["name"] if match and match["name"] else header


def split_unit(header: str) -> tuple[str, str | None]:
    """`PM10(μg/m3)` -> name and unit; a bracket that is no unit stays in the name."""
    match = _BRACKETS.match(header.strip())
    if match and match["name"] and (observations.is_unit(match["unit"]) or units.is_unit(match["unit"])):
        return match["name"], match["unit"]
    return header.strip(), None


def plan(sample: pa.Table, hints: Hints, x: str | None = None, y: str | None = None) -> Plan | None:
    """What the columns mean; None for a table without time or without values.

    `sample`: the first rows, at most SAMPLE_ROWS. `x`, `y`: coordinate columns, as the table's reader found them.
    Hints that name no column count for nothing here.
    """
    hinted = {key: column for key, column in hints.columns.items() if key in {"time", *_ROLES}}
    free = _Free(sample, hinted)
    for axis in (x, y):
        if axis is not None:
            free.used.append(axis)
    time, is_split = _time(free, hints)
    if not time:
        return None
    device, quantity, value, unit, quality = (free.take(role) for role in _ROLES)
    named = {key: str(hints.values[key]) for key in ("quantity", "unit") if key in hints.values}
    empty: list[str] = []
    if value is not None:
        values = [_value(value, named.get("quantity"), hints)]
        if "unit" in named and values[0].unit is None:
            values = [Value(value, values[0].quantity, named["unit"])]
    else:
        values, empty = _wide(free, hints)
        if quantity is not None and len(values) != 1:
            return None  # several value columns and a column that names one quantity: no series
        if len(values) == 1:
            one = values[0]
            values = [Value(one.column, named.get("quantity", one.quantity), one.unit or named.get("unit"))]
    if not values:
        return None
    taken = {*free.used, *time, *(each.column for each in values)}
    rest = tuple(name for name in sample.column_names if name not in taken)
    zone = sensor_time.zone_of("" if is_split else time[0], hints.units.get("time"))
    made = (device, quantity, unit, quality, x, y)
    return Plan(time, is_split, zone, tuple(values), *made, rest=rest, empty=tuple(empty))


def looks_like_series(made: Plan, sample: pa.Table) -> bool:
    """True where the columns alone are those of a series rather than of a list of things with dates.

    Coordinates without a device are events, not a series; so is a table with more text than numbers.
    """
    if made.x is not None and made.device is None and not _stands_still(made, sample):
        return False
    odd = [name for name in made.rest if fold(name) not in observations.column_names("never")]
    n_text = sum(_share_of_numbers(sample.column(name)) < MIN_NUMBERS for name in odd if name not in made.empty)
    return n_text == 0 or n_text < len(made.values)


def repeats_device(made: Plan, sample: pa.Table) -> bool:
    """True if a device comes more than once: a register names each once."""
    if made.device is None or sample.num_rows < 2:
        return False
    column = sample.column(made.device)
    return bool(pc.count_distinct(column).as_py() < sample.num_rows - column.null_count)


def _stands_still(made: Plan, sample: pa.Table) -> bool:
    return all(pc.count_distinct(sample.column(axis or "")).as_py() <= 1 for axis in (made.x, made.y))


def _time(free: _Free, hints: Hints) -> tuple[tuple[str, ...], bool]:
    names = free.sample.column_names
    if hints.columns.get("time") in names:
        column = free.take("time")
        if column is not None:
            return (column,), False
    parts = []
    for role in _PARTS:
        column = free.named(role, set(free.hinted.values()))
        if column is None:
            break
        parts.append(column)
    if len(parts) >= 3:
        return tuple(parts), True
    free.used[:] = [name for name in free.used if name not in parts]
    told = hints.units.get("time")
    found = free.named("time", set(free.hinted.values()))
    while found is not None and not _are_times(free.sample, [found], told, MIN_TIMES):
        found = free.named("time", set(free.hinted.values()))  # the one before stays used: it goes to `extra` below
    free.used[:] = [name for name in free.used if name == found or (name in names and not _is_time_name(name))]
    if found is None:
        first = names[0]
        unnamed = fold(first) in {"", "column1", "unnamed:0"}
        return ((first,), False) if unnamed and _are_times(free.sample, [first], told, MIN_UNNAMED) else ((), False)
    clock = free.named("clock", set(free.hinted.values()))
    if clock is not None:
        if _are_clock(free.sample.column(clock)) and _are_times(free.sample, [found, clock], told, MIN_TIMES):
            return (found, clock), False
        free.used.remove(clock)
    return (found,), False


def _is_time_name(name: str) -> bool:
    return fold(bare(name)) in observations.column_names("time")


def _are_clock(column: pa.ChunkedArray) -> bool:
    head = column.slice(0, TIME_ROWS).cast(pa.string()).to_pylist()
    said = [text for text in head if text]
    return bool(said) and all(re.fullmatch(r"\s*\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?\s*", text) for text in said)


def _are_times(sample: pa.Table, columns: Sequence[str], told: str | None, share: float) -> bool:
    arrays = [sample.column(name).slice(0, TIME_ROWS).combine_chunks() for name in columns]
    if told not in sensor_time.EPOCHS and not all(_may_be_time(each.type) for each in arrays):
        return False
    n_said = len(arrays[0]) - int(_blank(arrays[0]))
    read = sensor_time.parse(arrays, told)
    return n_said > 0 and int(read.readable.sum()) >= share * n_said


def _may_be_time(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_date(kind) or pa.types.is_timestamp(kind))


def _blank(array: pa.Array) -> int:
    if not pa.types.is_string(array.type):
        return int(array.null_count)
    return int(pc.sum(pc.equal(pc.fill_null(pc.utf8_trim_whitespace(array), ""), "")).as_py() or 0)


def _value(column: str, told: str | None, hints: Hints) -> Value:
    name, unit = split_unit(column)
    stated = unit or hints.units.get("value") or hints.units.get(column) or hints.units.get(name)
    return Value(column, told or name, stated)


def _wide(free: _Free, hints: Hints) -> tuple[list[Value], list[str]]:
    found, empty = [], []
    never = observations.column_names("never")
    for column in free.sample.column_names:
        if column in free.used or (fold(bare(column)) in never and split_unit(column)[1] is None):
            continue
        share = _share_of_numbers(free.sample.column(column))
        if np.isnan(share):
            empty.append(column)
        elif share >= MIN_NUMBERS:
            found.append(_value(column, None, hints))
    return found, empty


def _share_of_numbers(column: pa.ChunkedArray) -> float:
    """Of the cells that are not empty; NaN where all are."""
    read = numbers(column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column)
    n_said = int((~read.missing).sum())
    return float(np.isfinite(read.values[~read.missing]).sum()) / n_said if n_said else float("nan")
