"""Times of observations: text, dates or split columns -> microseconds, and whether the zone is known.

Understood: ISO 8601 with blanks and slashes (`2019/1/1 8:00`), Chinese (`2019年1月1日8时30分`), compact (`20190101`,
`2019010108`), a date and a time of day in two columns, split year/month/day/hour/minute columns; seconds or
milliseconds since 1970 only when told. A zone is read from the text, the header, or the declared unit, never assumed.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingest import values
from ingest.columns import fold
from ingest.units import narrow

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

DAY_US = 86_400_000_000
EPOCHS = {"epoch": 1_000_000, "epoch_s": 1_000_000, "unix": 1_000_000, "s": 1_000_000, "epoch_ms": 1000, "ms": 1000}
"""What `units = {time = …}` may say of numbers since 1970-01-01 UTC -> microseconds each."""

NEVER = np.iinfo(np.int64).min
"""Stands for a time that could not be read."""

_ZONE = r"\s*(?P<zone>Z|z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?"
_WRITTEN = re.compile(
    r"(?P<year>\d{4})\s*[-/.年]\s*(?P<month>\d{1,2})\s*[-/.月]\s*(?P<day>\d{1,2})\s*日?"
    r"(?:[T\s]*(?P<hour>\d{1,2})\s*[:时点]\s*(?:(?P<minute>\d{1,2})\s*[:分]?\s*"
    r"(?:(?P<second>\d{1,2})(?:[.,](?P<fraction>\d{1,9}))?\s*秒?)?)?)?" + _ZONE
)
_COMPACT = re.compile(
    r"(?P<year>\d{4})(?P<month>\d{2})(?P<day>\d{2})(?:[T ]?(?P<hour>\d{2})(?:(?P<minute>\d{2})(?P<second>\d{2})?)?)?"
    r"(?P<fraction>$^)?" + _ZONE
)
_EPOCH = datetime(1970, 1, 1)
_OF_HEADER = re.compile(r"[(\[【]\s*(?P<zone>[^)\]】]+)\s*[)\]】]\s*$")


@dataclass(frozen=True)
class Times:
    """Times of n rows.

    Attributes
    ----------
    us : (n,) microseconds since 1970, in UTC where `zoned`, else in the unknown local time; NEVER where unreadable
    zoned : (n,) True where the instant is known
    days : (n,) True where only a date was given, taken as its first moment
    """

    us: Ints
    zoned: Bools
    days: Bools

    @property
    def readable(self) -> Bools:
        """(n,) True where there is a time, known to its zone or not."""
        return np.asarray(self.us != NEVER)


def zone_of(header: str, unit: str | None) -> str | None:
    """The zone that a header states (`time (UTC+8)`, `time_utc`, `北京时间`), else the declared one."""
    bracket = _OF_HEADER.search(narrow(header))
    stated = bracket["zone"] if bracket else ""
    if values.zone(stated or None) is not None:
        return stated
    if "北京时间" in header:
        return "+08:00"
    if fold(header).endswith("utc"):
        return "UTC"
    return unit


def parse(columns: Sequence[pa.Array], unit: str | None) -> Times:
    """(n,) times from one column, or from a date and a time of day. `unit`: a zone, or a word of EPOCHS, or None."""
    array = columns[0] if len(columns) == 1 else _joined(columns)
    if pa.types.is_date(array.type):
        moments = pc.cast(array, pa.timestamp("us"))
        return _placed(_ints(moments), _where(moments), unit, np.ones(len(array), bool))
    if pa.types.is_timestamp(array.type):
        moments = pc.cast(array, pa.timestamp("us", tz=array.type.tz), safe=False)
        us = _ints(moments)
        return _zoned(us) if array.type.tz else _placed(us, us != NEVER, unit, _none(us))
    if unit in EPOCHS:
        return _since_1970(array, EPOCHS[unit])
    text = pc.utf8_trim_whitespace(pc.cast(array, pa.string()))
    return _quick(text, unit) or _slow(text, unit)


def parse_parts(parts: Sequence[pa.Array], unit: str | None) -> Times:
    """(n,) times from year, month, day and perhaps hour and minute columns (hour 24 is the next day's first)."""
    numbers = [_floats(part) for part in parts]
    year, month, day = numbers[:3]
    hour = numbers[3] if len(numbers) > 3 else np.zeros(len(year))
    minute = numbers[4] if len(numbers) > 4 else np.zeros(len(year))
    good = (year >= 1) & (year <= 9999) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    good &= (hour >= 0) & (hour <= 24) & (minute >= 0) & (minute < 60)
    for each in (year, month, day, minute):
        good &= each == np.floor(each)
    safe = [np.where(good, each, 1).astype(np.int64) for each in (year, month, day)]
    months = (safe[0] - 1970) * 12 + safe[1] - 1
    first = months.astype("M8[M]").astype("M8[D]")
    good &= (first + (safe[2] - 1)).astype("M8[M]").astype(np.int64) == months  # 31 April is no day
    us = (first.astype(np.int64) + safe[2] - 1) * DAY_US
    us += np.where(good, np.round((hour * 60 + minute) * 60e6), 0).astype(np.int64)
    return _placed(us, good, unit, np.full(len(us), len(parts) == 3))


def _floats(array: pa.Array) -> NDArray[np.float64]:
    if pa.types.is_string(array.type):
        array = pc.utf8_trim_whitespace(array)
        array = pc.if_else(pc.match_substring_regex(array, r"^\d{1,4}(\.\d*)?$"), array, None)
    return np.asarray(pc.cast(array, pa.float64()).to_numpy(zero_copy_only=False), np.float64)


def _joined(columns: Sequence[pa.Array]) -> pa.Array:
    return pc.binary_join_element_wise(*(pc.cast(each, pa.string()) for each in columns), " ")


def _none(us: Ints) -> Bools:
    return np.zeros(len(us), bool)


def _where(array: pa.Array) -> Bools:
    return np.asarray(pc.is_valid(array).to_numpy(zero_copy_only=False), bool)


def _ints(moments: pa.Array) -> Ints:
    return np.asarray(pc.fill_null(pc.cast(moments, pa.int64()), NEVER).to_numpy(zero_copy_only=False), np.int64)


def _zoned(us: Ints) -> Times:
    return Times(us, np.asarray(us != NEVER), _none(us))


def _placed(us: Ints, good: Bools, unit: str | None, days: Bools) -> Times:
    """Local times to UTC where a zone was declared."""
    declared = values.zone(unit)
    if declared is not None:
        us = us - round((declared.utcoffset(None) or timedelta()).total_seconds() * 1e6)
    return Times(np.where(good, us, NEVER), good & (declared is not None), days)


def _since_1970(array: pa.Array, factor: int) -> Times:
    if pa.types.is_string(array.type):
        array = pc.utf8_trim_whitespace(array)
        array = pc.cast(pc.if_else(pc.match_substring_regex(array, r"^-?\d{1,13}(\.\d+)?$"), array, None), pa.float64())
    number = np.asarray(pc.cast(array, pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64) * factor
    good = np.abs(number) < 2.5e17  # year 9900
    return _zoned(np.where(good, np.round(np.where(good, number, 0)), NEVER).astype(np.int64))


def _quick(text: pa.Array, unit: str | None) -> Times | None:
    """ISO 8601 as Arrow reads it, for a whole column of one spelling; None when some value needs more."""
    if not len(text) or text.null_count:
        return None
    n_bytes = pc.binary_length(text)
    if pc.min(n_bytes).as_py() < 10:
        return None
    head = str(text[0])
    try:
        if re.search(r"(Z|[+-]\d{2}:?\d{2})$", head[10:]):
            return _zoned(_ints(pc.cast(text, pa.timestamp("us", tz="UTC"))))
        us = _ints(pc.cast(text, pa.timestamp("us")))
    except pa.ArrowInvalid:
        return None
    days = np.asarray(pc.equal(n_bytes, 10).to_numpy(zero_copy_only=False), bool)
    return _placed(us, np.ones(len(us), bool), unit, days)


def _slow(text: pa.Array, unit: str | None) -> Times:
    """Each distinct text by itself."""
    coded = pc.dictionary_encode(text)
    read = [_one(each) for each in coded.dictionary.to_pylist()]
    read.append((NEVER, None, False))  # of a null
    at = pc.fill_null(pc.cast(coded.indices, pa.int64()), len(read) - 1).to_numpy(zero_copy_only=False)
    us = np.array([each[0] for each in read], np.int64)[at]
    has_zone = np.array([each[1] is not None for each in read], bool)[at]
    shift = np.array([each[1] or 0 for each in read], np.int64)[at]
    days = np.array([each[2] for each in read], bool)[at]
    good = us != NEVER
    local = _placed(us, good, unit, days)
    exact = np.where(good, us - shift, NEVER)
    return Times(np.where(has_zone, exact, local.us), (has_zone | local.zoned) & good, days)


def _one(text: str | None) -> tuple[int, int | None, bool]:
    """One text -> local microseconds, UTC offset in microseconds or None, and whether it is a date alone."""
    said = narrow(text or "")[:64]
    match = _WRITTEN.fullmatch(said) or _COMPACT.fullmatch(said)
    if match is None or (match["zone"] and match["hour"] is None):
        return NEVER, None, False
    hour, minute, second = (int(match[name] or 0) for name in ("hour", "minute", "second"))
    extra = hour == 24 and minute == second == 0
    try:
        moment = datetime(
            int(match["year"]), int(match["month"]), int(match["day"]), 0 if extra else hour, minute, second
        )
    except ValueError:
        return NEVER, None, False
    step = moment - _EPOCH
    us = (step.days * 86400 + step.seconds) * 1_000_000 + (DAY_US if extra else 0)
    us += int((match["fraction"] or "0").ljust(6, "0")[:6])
    zone = match["zone"]
    if not zone:
        return us, None, match["hour"] is None
    offset = values.zone(zone if ":" in zone or len(zone) != 5 else f"{zone[:3]}:{zone[3:]}")
    shift = None if offset is None else round((offset.utcoffset(None) or timedelta()).total_seconds() * 1e6)
    return us, shift, match["hour"] is None
