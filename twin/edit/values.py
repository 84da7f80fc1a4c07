"""Values given by hand, checked against the schema of their layer: type, domain, codes. Nothing is guessed."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from difflib import get_close_matches
from typing import Any

import numpy as np
import orjson

from layers.catalogue import Attribute, LayerType
from layers.errors import InvalidInput
from layers.issue import Issue

OWN = ("id", "fid", "version", "valid_from", "valid_to", "geom")
"""What the store itself keeps."""

MAX_TEXT = 100_000
"""Characters of a text, and bytes of what a feature has in `extra`."""

_MANY = 12


@dataclass(frozen=True)
class Given:
    """Checked values: attributes of the schema, and what it does not know."""

    attributes: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)


def checked(layer_type: LayerType, values: Mapping[str, Any], where: str) -> Given:
    """Sort values into attributes and `extra`; InvalidInput for what the schema does not allow."""
    given = Given()
    for name, value in values.items():
        if name == "extra":
            given.extra.update(_object(value, where))
            continue
        attribute = layer_type.attribute(name)
        if attribute is None and name in OWN:
            raise InvalidInput(f"{where}: {name!r} is kept by the store itself.", "Leave it out.")
        if attribute is None:
            given.extra[name] = value
        else:
            given.attributes[name] = value_of(attribute, value, where)
    _check_json(given.extra, where)
    return given


def unknown(layer_type: LayerType, names: Iterable[str], where: str) -> list[Issue]:
    """For attributes that the schema does not know: they are kept in `extra`, and said in case they are misspelled."""
    known = [each.name for each in layer_type.attributes]
    found = []
    for name in names:
        near = get_close_matches(name, known, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else "Widen the schema if it belongs to every feature."
        found.append(Issue("EDIT_ATTRIBUTE_UNKNOWN", where, f"{layer_type.id} has no attribute {name!r}; it is kept in "
                           "`extra`.", hint, "warning"))  # fmt: skip
    return found


def value_of(attribute: Attribute, value: Any, where: str) -> Any:
    """One value as the attribute's type; InvalidInput with the attribute, the value and what would be right."""
    if value is None:
        if attribute.required:
            raise InvalidInput(f"{where}: {attribute.name} must not be empty.")
        return None
    if isinstance(value, np.generic):
        value = value.item()
    try:
        found = _READERS[attribute.type](value)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInput(
            f"{where}: {attribute.name} = {_short(value)} is no {attribute.type}.", _hint(attribute)
        ) from error
    _check_domain(attribute, found, where)
    return found


def _check_domain(attribute: Attribute, value: Any, where: str) -> None:
    if attribute.codes and value not in attribute.codes:
        codes = list(attribute.codes)
        words = ", ".join(codes[:_MANY]) + (" …" if len(codes) > _MANY else "")
        near = get_close_matches(str(value), codes, n=1)
        hint = f"Did you mean {near[0]!r}? Codes are {words}." if near else f"Codes are {words}."
        raise InvalidInput(f"{where}: {attribute.name} = {_short(value)} is not among its codes.", hint)
    low, high = attribute.minimum, attribute.maximum
    if not isinstance(value, int | float) or isinstance(value, bool):
        return
    if (low is not None and value < low) or (high is not None and value > high):
        ends = f"{'' if low is None else f'from {low:g} '}{'' if high is None else f'to {high:g}'}".strip()
        unit = f" {attribute.unit}" if attribute.unit else ""
        raise InvalidInput(f"{where}: {attribute.name} = {value} is outside its domain.", f"It goes {ends}{unit}.")


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise TypeError
    value.encode("utf8")  # lone surrogates cannot be stored
    return value


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value) or abs(value) >= 2**63:
        raise TypeError
    return int(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError
    return float(value)


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _date(value: Any) -> date:
    if isinstance(value, datetime):
        raise TypeError
    return value if isinstance(value, date) else date.fromisoformat(_text(value))


def _datetime(value: Any) -> datetime:
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(_text(value))
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


_READERS: dict[str, Callable[[Any], Any]] = {
    "string": _text,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "date": _date,
    "datetime": _datetime,
}

_HINTS = {
    "string": f"Give text of at most {MAX_TEXT:,} characters.",
    "integer": "Give a whole number.",
    "number": "Give a finite number.",
    "boolean": "Give True or False.",
    "date": "Write 2026-01-31.",
    "datetime": "Write 2026-01-31T12:00:00Z.",
}


def _hint(attribute: Attribute) -> str:
    unit = f" Its unit is {attribute.unit}." if attribute.unit else ""
    return _HINTS[attribute.type] + unit


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _object(value: Any, where: str) -> dict[str, Any]:
    if value is None:
        return {}
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError as error:
            raise InvalidInput(f"{where}: `extra` is no JSON object: {error}.") from error
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise InvalidInput(f"{where}: `extra` is no JSON object.", "Give names and values.")
    return dict(value)


def _check_json(extra: dict[str, Any], where: str) -> None:
    try:
        n_bytes = len(orjson.dumps(extra, option=orjson.OPT_SERIALIZE_NUMPY))
    except (TypeError, ValueError) as error:
        names = ", ".join(extra)[:80]
        raise InvalidInput(f"{where}: a value of {names} cannot be kept as JSON: {error}.") from error
    if n_bytes > MAX_TEXT:
        raise InvalidInput(f"{where}: `extra` would have {n_bytes:,} bytes.", f"At most {MAX_TEXT:,} are kept.")


def merged_extra(before: str | None, changes: Mapping[str, Any]) -> str | None:
    """`extra` with some names set, or taken away where the value is None."""
    if not changes:
        return before
    now = (orjson.loads(before) if before else {}) | dict(changes)
    kept = {key: value for key, value in now.items() if value is not None}
    return orjson.dumps(kept, option=orjson.OPT_SERIALIZE_NUMPY).decode() if kept else None
