"""A few features -> GeoJSON text, one by one: below some hundred this is sooner done than `server.geojson_text`."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import orjson

from server import geojson
from server.paging import Position
from server.vertical import Anomaly
from twin.store.query_plan import Plan
from twin.store.read_few import OWN, Few
from twin.store.read_items import as_json, kind_of

_NONE = type(None)
_TYPES: dict[str, set[type]] = {
    "string": {str, _NONE}, "integer": {int, _NONE}, "number": {float, int, _NONE}, "boolean": {int, _NONE},
    "date": {str, _NONE}, "datetime": {str, _NONE},
}  # fmt: skip
"""What SQLite gives for values of an attribute type."""


def _day(value: str) -> str:
    return date.fromisoformat(value).isoformat()


def _moment(value: str) -> datetime:
    return datetime.fromisoformat(value).replace(tzinfo=UTC) if value[-1] != "Z" else datetime.fromisoformat(value)


_READ: dict[str, Callable[[Any], Any]] = {"boolean": bool, "number": float, "date": _day, "datetime": _moment}


def encode(few: Few, asked: Plan, city_crs: str, target: str, anomaly: Anomaly | None = None) -> bytes | None:
    """Features with commas between them; None where a value is not of its attribute's type (see `geojson_text`)."""
    if not few.rows:
        return b""
    names = asked.attributes
    kinds = [kind_of(asked, name) for name in names]
    columns = list(zip(*few.rows, strict=True))
    for at, kind in enumerate(kinds):
        if not set(map(type, columns[OWN + at])) <= _TYPES[kind]:
            return None
    read = [
        (name, OWN + at, _READ[kind]) for at, (name, kind) in enumerate(zip(names, kinds, strict=True)) if kind in _READ
    ]
    texts = geojson.texts(few.shapes, city_crs, target, anomaly).tolist()
    own = [name for name in ("version", "valid_from", "valid_to") if name not in names]
    try:
        out = [_feature(row, text, names, read, own) for row, text in zip(few.rows, texts, strict=True)]
    except ValueError:  # a text that is no date
        return None
    return b",".join(out)


def _feature(
    row: tuple[Any, ...], text: str | None, names: tuple[str, ...], read: list[tuple[str, int, Any]], own: list[str]
) -> bytes:
    properties = dict(zip(names, row[OWN:], strict=True))
    for name, at, convert in read:
        if row[at] is not None:
            properties[name] = convert(row[at])
    for name in own:
        properties[name] = row[_PLACE[name]]
    if row[3] is not None and "extra" not in properties:
        properties["extra"] = orjson.Fragment(as_json(row[3]) or "null")
    return orjson.dumps(
        {
            "type": "Feature",
            "id": row[1],
            "geometry": None if text is None else orjson.Fragment(text),
            "properties": properties,
        },
        option=orjson.OPT_UTC_Z,
    )


_PLACE = {"version": 4, "valid_from": 5, "valid_to": 6}


def position(few: Few, at: int) -> Position:
    """Where the page ends whose last feature is this one."""
    return (int(few.rows[at][0]),)
