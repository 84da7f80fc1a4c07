"""Values of one column -> the type, unit and domain of an attribute; what does not fit becomes null and is counted.

Text is parsed once for each distinct value, so a million rows of «DN300» cost one parse.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingest import units
from layers.catalogue import Attribute

_EMPTY = pa.array(sorted(units.EMPTY), pa.string())
TRUE = frozenset({"1", "true", "t", "yes", "y", "是", "有", "on"})
FALSE = frozenset({"0", "false", "f", "no", "n", "否", "没有", "off"})
_DATE = re.compile(r"^(\d{4})\D?(\d{1,2})\D?(\d{1,2})\D?(?:[T\s].*)?$")
_COMPACT = re.compile(r"^(\d{4})(\d{2})(\d{2})$")
_WRITTEN_WIDE = r"[\x{FF01}-\x{FF5E}\x{3000}]|\d,\d"
"""Full-width characters, or commas between thousands (RE2)."""
_SCALE = re.compile(r"^1[:/∶比](\d+)$")
_OFFSET = re.compile(r"^(?:UTC|GMT)?\s*([+-])(\d{1,2})(?::?(\d{2}))?$", re.IGNORECASE)


@dataclass
class Converted:
    """A column in the schema's type, and the rows whose value did not fit.

    Attributes
    ----------
    values : (n,) of the attribute's Arrow type; null where there is no value or it did not fit
    bad : code -> rows
    normalised : rows whose text was written otherwise (full width, thousands, a mark for «no value») and was read
    """

    values: pa.Array
    bad: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    normalised: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))


def convert(array: pa.Array, attribute: Attribute, unit: str | None) -> Converted:
    """One column of a file to one attribute. `unit` is what the column's bare numbers are in (or a UTC offset)."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_large_string(array.type):
        array = array.cast(pa.string())
    makers: dict[str, Callable[[], pa.Array]] = {
        "string": lambda: as_text(array),
        "number": lambda: _numbers(array, attribute, unit),
        "integer": lambda: _integers(array, attribute, unit),
        "boolean": lambda: _distinct(array, _boolean, pa.bool_()),
        "date": lambda: _dates(array),
        "datetime": lambda: _times(array, unit),
    }
    values = makers[attribute.type]()
    nothing = empty(array)
    wanting = pc.and_(pc.is_null(values), pc.invert(nothing))
    out = Converted(values)
    code = "TIME_WITHOUT_ZONE" if attribute.type == "datetime" and zone(unit) is None else "VALUE_NOT_UNDERSTOOD"
    _note(out, code, wanting)
    _domain(out, attribute)
    if pa.types.is_string(array.type):
        odd = pc.and_(nothing, pc.match_substring_regex(array, r"\S"))
        if attribute.type not in {"string", "datetime"}:
            odd = pc.or_(odd, pc.and_(pc.is_valid(out.values), pc.match_substring_regex(array, _WRITTEN_WIDE)))
        out.normalised = np.flatnonzero(pc.fill_null(odd, fill_value=False).to_numpy(zero_copy_only=False))
    return out


def empty(array: pa.Array) -> pa.Array:
    """(n,) boolean: null, NaN, or text that stands for no value («—», «/», «无» …)."""
    missing = pc.is_null(array, nan_is_null=True)
    if pa.types.is_string(array.type):
        return pc.or_(missing, pc.is_in(pc.utf8_lower(pc.utf8_trim_whitespace(array)), value_set=_EMPTY))
    return missing


def as_text(array: pa.Array) -> pa.Array:
    """Any column as text; whole floats without `.0`, lists as JSON, blanks at the ends gone, empty marks null."""
    if pa.types.is_string(array.type):
        stripped = pc.utf8_trim_whitespace(array)
        return pc.if_else(empty(stripped), pa.scalar(None, pa.string()), stripped)
    if pa.types.is_floating(array.type):
        whole = pc.equal(array, pc.floor(array))
        plain = pc.if_else(pc.is_finite(array), array, pa.scalar(None, array.type))
        as_int = pc.cast(
            pc.cast(pc.if_else(pc.and_(whole, pc.less(pc.abs(plain), 1e15)), plain, None), pa.int64()), pa.string()
        )
        return pc.coalesce(as_int, pc.cast(plain, pa.string()))
    if pa.types.is_nested(array.type) or pa.types.is_binary(array.type) or pa.types.is_large_binary(array.type):
        return pa.array([None if value is None else str(value) for value in array.to_pylist()], pa.string())
    return pc.cast(array, pa.string())


def _note(out: Converted, code: str, flags: pa.Array) -> None:
    rows = np.flatnonzero(pc.fill_null(flags, fill_value=False).to_numpy(zero_copy_only=False))
    if rows.size:
        out.bad[code] = np.union1d(out.bad[code], rows) if code in out.bad else rows
        mask = pa.array(np.isin(np.arange(len(out.values)), rows))
        out.values = pc.if_else(mask, pa.scalar(None, out.values.type), out.values)


def _domain(out: Converted, attribute: Attribute) -> None:
    values = out.values
    if attribute.codes and attribute.type == "string":
        known = _code_words(attribute)
        out.values = _distinct(values, lambda text: known.get(units.narrow(text).lower()), pa.string())
        wrong = pc.and_(pc.is_valid(values), pc.is_null(out.values))
        rows = np.flatnonzero(wrong.to_numpy(zero_copy_only=False))
        if rows.size:
            out.bad["CODE_UNKNOWN"] = rows
    if attribute.type in {"number", "integer"}:
        if attribute.minimum is not None:
            _note(out, "VALUE_OUT_OF_DOMAIN", pc.less(values, attribute.minimum))
        if attribute.maximum is not None:
            _note(out, "VALUE_OUT_OF_DOMAIN", pc.greater(out.values, attribute.maximum))


def _code_words(attribute: Attribute) -> dict[str, str]:
    """Code, Chinese and English title in lower case -> code."""
    known = {code.lower(): code for code in attribute.codes}
    for code, title in attribute.codes.items():
        known.setdefault(title.zh.lower(), code)
        known.setdefault(title.en.lower(), code)
    return known


def _distinct(array: pa.Array, parse: Callable[[str], Any], kind: pa.DataType) -> pa.Array:
    coded = pc.dictionary_encode(as_text(array))
    made = pa.array([None if text is None else parse(text) for text in coded.dictionary.to_pylist()], kind)
    return pc.take(made, coded.indices)


def _numbers(array: pa.Array, attribute: Attribute, unit: str | None) -> pa.Array:
    times = 1.0 if unit is None or attribute.unit is None else units.factor(unit, attribute.unit)
    if pa.types.is_string(array.type):
        return _distinct(array, lambda text: units.number(text, attribute.unit, unit), pa.float64())
    if not (pa.types.is_integer(array.type) or pa.types.is_floating(array.type) or pa.types.is_decimal(array.type)):
        if pa.types.is_boolean(array.type):
            return pc.cast(array, pa.int8()).cast(pa.float64())
        return pa.nulls(len(array), pa.float64())
    floats = pc.cast(array, pa.float64(), safe=False)
    finite = pc.if_else(pc.is_finite(floats), floats, pa.scalar(None, pa.float64()))
    if times is None:
        return pa.nulls(len(array), pa.float64())
    if times < 1 and abs(1 / times - round(1 / times)) < 1e-9:
        return pc.divide(finite, float(round(1 / times)))
    return finite if times == 1.0 else pc.multiply(finite, times)


def _integers(array: pa.Array, attribute: Attribute, unit: str | None) -> pa.Array:
    if pa.types.is_integer(array.type) and unit is None:
        return pc.cast(array, pa.int64())
    if attribute.codes and pa.types.is_string(array.type):  # «县», «县级» or county for 3
        known = _code_words(attribute)

        def code(text: str) -> str:
            return known.get(units.narrow(text).lower().removesuffix("级"), text)

        array = _distinct(array, code, pa.string())
    elif attribute.name == "scale_denom" and pa.types.is_string(array.type):
        array = _distinct(array, _denominator, pa.string())
    floats = _numbers(array, attribute, unit)
    whole = pc.and_(pc.equal(floats, pc.round(floats)), pc.less(pc.abs(floats), 2.0**62))
    return pc.cast(pc.if_else(whole, floats, pa.scalar(None, pa.float64())), pa.int64())


def _denominator(text: str) -> str:
    """«1：1000», «1:1 000» or 1/1000 -> 1000; anything else as it is."""
    match = _SCALE.match("".join(units.narrow(text).split()))
    return match[1] if match else text


def _boolean(text: str) -> bool | None:
    word = units.narrow(text).lower()
    return True if word in TRUE else False if word in FALSE else None


def _date(text: str) -> date | None:
    narrow = units.narrow(text)
    match = _COMPACT.match(narrow) or _DATE.match(narrow)
    try:
        return date(*(int(part) for part in match.groups())) if match else None
    except ValueError:
        return None


def _dates(array: pa.Array) -> pa.Array:
    if pa.types.is_date(array.type) or pa.types.is_timestamp(array.type):
        return pc.cast(array, pa.date32(), safe=False)
    return _distinct(array, _date, pa.date32())


def zone(unit: str | None) -> timezone | None:
    """A UTC offset written as a unit: `+08:00`, `UTC+8`, `UTC`, `Z`; None when it is none."""
    if unit is None:
        return None
    if unit.upper() in {"UTC", "Z", "GMT"}:
        return UTC
    match = _OFFSET.match(unit.strip())
    if match is None:
        return None
    offset = timedelta(hours=int(match[2]), minutes=int(match[3] or 0))
    return timezone(offset if match[1] == "+" else -offset)


def _times(array: pa.Array, unit: str | None) -> pa.Array:
    kind = pa.timestamp("us", tz="UTC")
    if pa.types.is_timestamp(array.type) and array.type.tz is not None:
        return pc.cast(array, kind, safe=False)
    declared = zone(unit)

    def parse(text: str) -> datetime | None:
        try:
            moment = datetime.fromisoformat(units.narrow(text).replace("/", "-"))
        except ValueError:
            return None
        if moment.tzinfo is None and declared is None:
            return None
        return (moment if moment.tzinfo else moment.replace(tzinfo=declared)).astimezone(UTC)

    return _distinct(array, parse, kind)
