"""Query parameters of `/items` -> a Query of the store. Whatever is not understood is refused by name.

OGC API Features part 1 (17-069r4) 7.15, part 2 (18-058r1) for `crs`, part 3 (19-079r2) for attributes as parameters.
Boxes are read in `server.boxes`, filters and `q` in `server.filters`.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from difflib import get_close_matches
from typing import Any

from starlette.datastructures import QueryParams

from layers import crs
from layers.catalogue import Attribute, LayerType, Title
from layers.errors import InvalidInput
from server import boxes, filters, paging
from server.openapi import ITEM_PARAMETERS, ITEMS_PARAMETERS
from server.serving import Snapshot
from twin.store.interface import Query

Params = dict[str, str]
_MAX_INT = 2**62
OWN = tuple(
    Attribute(name, kind, Title(name, name))
    for name, kind in (("id", "string"), ("version", "integer"), ("valid_from", "datetime"), ("valid_to", "datetime"))
)
"""What features have beside their attributes, asked for in the same way."""


@dataclass(frozen=True)
class Page:
    """What is asked for: the query without paging, where the page starts, how long it is, in which CRS."""

    query: Query
    crs: str
    limit: int
    offset: int = 0
    after_fid: int = 0


def page(asked: QueryParams, layer_type: LayerType, snapshot: Snapshot) -> Page:
    """All parameters of `/items`; InvalidInput (400) names the first one that is wrong."""
    attributes = {each.name: each for each in (*layer_type.attributes, *OWN) if each.name not in ITEMS_PARAMETERS}
    given = once(asked, [*ITEMS_PARAMETERS, *attributes])
    settings = snapshot.settings
    limit = whole(given, "limit", settings.default_limit, minimum=1)
    conditions = [equals(attributes[name], text) for name, text in given.items() if name in attributes]
    if "filter" in given:
        conditions.append(filters.parse(given, snapshot))
    elif "filter-crs" in given or "filter-lang" in given:
        raise InvalidInput("filter-crs and filter-lang mean nothing without filter.", "Add filter=…, or drop them.")
    if "q" in given:
        conditions.append(filters.text_search(given["q"], layer_type))
    box, (since, at) = asked_box(given, layer_type, snapshot), period(given.get("datetime"))
    sort = paging.sorting(given, layer_type)
    query, after_fid = paging.placed(
        Query(
            region=box.region,
            z=box.z,
            filter=filters.all_of(conditions),
            ids=tuple(listed(given["ids"], 1000, "ids")) if "ids" in given else None,
            at=at,
            since=since,
            properties=chosen(given, layer_type),
            with_geometry=not flag(given, "skipGeometry"),
            sort=sort,
        ),
        paging.position(given, layer_type.id, sort),
    )
    return Page(
        query=query,
        crs=asked_crs(given, "crs", snapshot),
        limit=min(limit, settings.max_limit),
        offset=whole(given, "offset", 0),
        after_fid=after_fid,
    )


def single(asked: QueryParams, snapshot: Snapshot) -> tuple[str, datetime | None]:
    """CRS and moment for one item; InvalidInput for anything else in the query string."""
    given = once(asked, list(ITEM_PARAMETERS))
    return asked_crs(given, "crs", snapshot), moment(given.get("datetime"))


def once(asked: QueryParams, known: Iterable[str]) -> Params:
    """Parameters as a dict, each known and given once."""
    known = list(known)
    given: Params = {}
    for name, value in asked.multi_items():
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else "See /api for what there is."
            raise InvalidInput(f"There is no parameter {name[:60]!r} here.", hint)
        if name in given:
            raise InvalidInput(f"{name} is given twice.", "Give it once; lists are separated by commas.")
        given[name] = value
    return given


def whole(given: Params, name: str, default: int, minimum: int = 0) -> int:
    """A whole number of at most 62 bits."""
    text = given.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > 19 or not minimum <= int(text) < _MAX_INT:
        raise InvalidInput(f"{name}={text[:30]!r} is not a whole number from {minimum} up.")
    return int(text)


def listed(text: str, at_most: int, name: str) -> list[str]:
    """Comma-separated values of the parameter `name`."""
    values = [part for part in text.split(",") if part]
    if not values or len(values) > at_most:
        raise InvalidInput(f"{name} has {len(values)} values; 1 to {at_most} are possible.")
    return values


def chosen(given: Params, layer_type: LayerType) -> tuple[str, ...] | None:
    """The `properties` parameter."""
    if "properties" not in given:
        return None
    names = listed(given["properties"], 1000, "properties")
    for name in names:
        if layer_type.attribute(name) is None:
            raise InvalidInput(f"properties: {layer_type.id} has no attribute {name[:60]!r}.", "See /queryables.")
    return tuple(dict.fromkeys(names))


def asked_crs(given: Params, name: str, snapshot: Snapshot) -> str:
    """A CRS that the server offers, by URI, CURIE or code; CRS84 by default."""
    text = given.get(name)
    if text is None:
        return crs.CRS84
    try:
        wanted = crs.name(text)
    except InvalidInput as error:
        raise InvalidInput(f"{name}: {error.problem}", error.hint) from error
    offered = snapshot.feature_crs_names
    if wanted not in offered:
        raise InvalidInput(f"{name}={text[:80]!r} is not offered.", f"Offered: {', '.join(offered)}.")
    return wanted


def asked_box(given: Params, layer_type: LayerType, snapshot: Snapshot) -> boxes.Box:
    """`bbox` and `bbox-crs`. A layer without geometry has nothing outside of any box (part 1, 7.15.3)."""
    if "bbox-crs" in given and "bbox" not in given:
        raise InvalidInput("bbox-crs means nothing without bbox.", "Add bbox=…, or drop it.")
    source = asked_crs(given, "bbox-crs", snapshot) if "bbox-crs" in given else None
    box = boxes.asked(given.get("bbox"), source, snapshot)
    return boxes.Box() if layer_type.geometry == "none" else box


def flag(given: Params, name: str) -> bool:
    """`true` or `false`; false where it is not given."""
    text = given.get(name, "false").lower()
    if text not in {"true", "false"}:
        raise InvalidInput(f"{name}={text[:30]!r} is neither true nor false.")
    return text == "true"


EVER = datetime(1, 1, 1, tzinfo=UTC)


def period(text: str | None) -> tuple[datetime | None, datetime | None]:
    """`datetime` as (since, at) of `Query`: an instant has no `since`; of an interval `at` is the end, None for now.

    An interval asks for every feature that was valid at some moment of it, in its last state of it (part 1, 7.15.4:
    the validity intersects the interval, and a feature comes once).
    """
    if text is None:
        return None, None
    start, slash, _ = text.partition("/")
    at = moment(text)
    return (_instant(start, "datetime") or EVER, at) if slash else (None, at)


def moment(text: str | None) -> datetime | None:
    """`datetime`: an instant, or the end of an interval; None (now) for an open end."""
    if text is None:
        return None
    start, slash, end = text.partition("/")
    first = _instant(start, "datetime")
    if not slash:
        if first is None:
            raise InvalidInput("datetime=.. is neither an instant nor an interval.", "Example: 2026-01-01T00:00:00Z")
        return first
    last = _instant(end, "datetime")
    if first is None and last is None:
        raise InvalidInput(f"datetime={text[:80]!r} is open on both sides.", "Leave it out, or give one of them.")
    if first and last and first > last:
        raise InvalidInput(f"datetime={text[:80]!r} ends before it starts.")
    return last


_RFC_3339 = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)?)?", re.ASCII | re.IGNORECASE
)


def _instant(text: str, name: str) -> datetime | None:
    if text in {"", ".."}:
        return None
    said = InvalidInput(f"{name}: {text[:60]!r} is not an RFC 3339 date or time.", "Example: 2026-01-01T00:00:00Z")
    if not _RFC_3339.fullmatch(text):
        raise said
    try:
        read = datetime.fromisoformat(text.upper())
        return (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise said from error


def equals(attribute: Attribute, text: str) -> dict[str, Any]:
    """`attribute=value` as CQL2 JSON, the value in the attribute's type."""
    return {"op": "=", "args": [{"property": attribute.name}, _value(attribute, text)]}


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _nothing(text: str) -> None:
    raise ValueError(text)


def _integer(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,100}", text):
        raise ValueError(text)
    return int(text)


def _value(attribute: Attribute, text: str) -> Any:
    try:
        if attribute.type == "integer":
            return _integer(text)
        if attribute.type == "number":
            return _finite(text)
        if attribute.type == "date":
            return {"date": date.fromisoformat(text).isoformat()}
        if attribute.type == "datetime":
            instant = _instant(text, attribute.name)
            return {"timestamp": instant.isoformat()} if instant else _nothing(text)
    except ValueError as error:
        raise InvalidInput(f"{attribute.name}={text[:60]!r} is not of type {attribute.type}.") from error
    if attribute.type == "boolean":
        if text.lower() not in {"true", "false"}:
            raise InvalidInput(f"{attribute.name}={text[:60]!r} is not true or false.")
        return text.lower() == "true"
    return text
