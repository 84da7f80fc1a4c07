"""Query parameters of `/items` -> a Query of the store. Whatever is not understood is refused by name.

OGC API Features part 1 (17-069r4) 7.15, part 2 (18-058r1) for `crs` and `bbox-crs`, part 3 (19-079r2) for `filter`.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from difflib import get_close_matches
from typing import Any

import numpy as np
import shapely
from starlette.datastructures import QueryParams

from layers import area, crs
from layers.catalogue import Attribute, LayerType
from layers.errors import InvalidInput
from server import filters
from server.openapi import ITEM_PARAMETERS, ITEMS_PARAMETERS
from server.serving import Snapshot
from twin.store.interface import Query

Params = dict[str, str]
_MAX_INT = 2**62


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
    attributes = {each.name: each for each in layer_type.attributes if each.name not in ITEMS_PARAMETERS}
    given = once(asked, [*ITEMS_PARAMETERS, *attributes])
    settings = snapshot.settings
    limit = whole(given, "limit", settings.default_limit, minimum=1)
    conditions = [equals(attributes[name], text) for name, text in given.items() if name in attributes]
    if "filter" in given:
        conditions.append(filters.parse(given, snapshot))
    elif "filter-crs" in given or "filter-lang" in given:
        raise InvalidInput("filter-crs and filter-lang mean nothing without filter.", "Add filter=…, or drop them.")
    return Page(
        query=Query(
            region=region(given, snapshot),
            filter=filters.all_of(conditions),
            ids=tuple(listed(given["ids"], 1000)) if "ids" in given else None,
            at=moment(given.get("datetime")),
            properties=chosen(given, layer_type),
        ),
        crs=asked_crs(given, "crs", snapshot),
        limit=min(limit, settings.max_limit),
        offset=whole(given, "offset", 0),
        after_fid=whole(given, "cursor", 0),
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


def listed(text: str, at_most: int) -> list[str]:
    """Comma-separated values."""
    values = [part for part in text.split(",") if part]
    if not values or len(values) > at_most:
        raise InvalidInput(f"A list has {len(values)} values; 1 to {at_most} are possible.")
    return values


def chosen(given: Params, layer_type: LayerType) -> tuple[str, ...] | None:
    """The `properties` parameter."""
    if "properties" not in given:
        return None
    names = listed(given["properties"], 1000)
    for name in names:
        if layer_type.attribute(name) is None:
            raise InvalidInput(f"{layer_type.id} has no attribute {name[:60]!r}.", "See /queryables.")
    return tuple(dict.fromkeys(names))


def asked_crs(given: Params, name: str, snapshot: Snapshot) -> str:
    """A CRS that the server offers, by URI, CURIE or code; CRS84 by default."""
    text = given.get(name)
    if text is None:
        return crs.CRS84
    wanted = crs.name(text)
    if wanted not in snapshot.crs_names:
        raise InvalidInput(f"{name}={text[:80]!r} is not offered.", f"Offered: {', '.join(snapshot.crs_names)}.")
    return wanted


def region(given: Params, snapshot: Snapshot) -> shapely.Geometry | None:
    """`bbox` as a polygon in the city's CRS: the densified outline, not the corners."""
    if "bbox" not in given:
        if "bbox-crs" in given:
            raise InvalidInput("bbox-crs means nothing without bbox.", "Add bbox=…, or drop it.")
        return None
    source = asked_crs(given, "bbox-crs", snapshot)
    return placed_box(numbers(given["bbox"]), source, snapshot.city.config.crs)


def numbers(text: str) -> list[float]:
    """The numbers of a box; four of them, finite."""
    parts = text.split(",")
    if len(parts) != 4:
        raise InvalidInput(f"bbox has {len(parts)} numbers.", "Give four: two lower and two upper coordinates.")
    try:
        values = [float(part) for part in parts]
    except ValueError as error:
        raise InvalidInput(f"bbox={text[:80]!r} is not four numbers.") from error
    if not all(math.isfinite(value) for value in values):
        raise InvalidInput("bbox has a number that is not finite.")
    return values


def placed_box(values: list[float], source: str, city_crs: str) -> shapely.Geometry:
    """A box in the axis order of `source` as a polygon in the city's CRS. Boxes over the antimeridian are refused."""
    a_low, b_low, a_high, b_high = values
    if crs.is_north_first(source):
        a_low, b_low, a_high, b_high = b_low, a_low, b_high, a_high
    if a_low > a_high or b_low > b_high:
        raise InvalidInput(
            f"bbox={','.join(f'{v:g}' for v in values)} has a lower bound above its upper one in {source}.",
            "Mind the axis order of bbox-crs (EPSG:4326, 4490, 4549 are north first); the antimeridian is not crossed.",
        )
    box: crs.Bounds | None = (a_low, b_low, a_high, b_high)
    if source == "EPSG:3857":  # Mercator's axes do not bend: the box is a box in degrees
        x, y = crs.transform(source, crs.CRS84, np.array([a_low, a_high]), np.array([b_low, b_high]))
        source, box = crs.CRS84, (float(x[0]), float(y[0]), float(x[1]), float(y[1]))
    if crs.is_geographic(source):
        box = _within_use(box, city_crs) if box else None
    if box is None:
        return NOWHERE
    outline = crs.transform_box(source, city_crs, not_flat_in(source, box))
    shapely.prepare(outline)
    return outline


NOWHERE = shapely.box(-2e9, -2e9, -1e9, -1e9)
"""A region in which no feature of any city lies."""


NEAR_USE_DEG = 10.0


def _within_use(box: crs.Bounds, city_crs: str) -> crs.Bounds | None:
    """A box in degrees cut to a generous neighbourhood of where the city's projection is defined.

    Half the globe away a transverse Mercator projection folds over itself; no feature of the city lies there.
    """
    if not all(math.isfinite(v) for v in box) or abs(box[0]) > 180.001 or abs(box[2]) > 180.001:
        raise InvalidInput("bbox reaches beyond ±180°.", "Mind the axis order, or give bbox-crs.")
    if box[1] < -90.001 or box[3] > 90.001:
        raise InvalidInput("bbox reaches beyond ±90°.", "Mind the axis order, or give bbox-crs.")
    use = crs.area_of_use(city_crs)
    if use is None:
        return box
    return area.cut_to(use, box, NEAR_USE_DEG)


def not_flat_in(source: str, box: crs.Bounds) -> crs.Bounds:
    """A box that is a point or a line, made a hair wide (0.1 mm) so that it stays a polygon."""
    west, south, east, north = box
    grain = 1e-9 if crs.is_geographic(source) else 1e-4
    return west - grain * (west == east), south - grain * (south == north), east, north


def moment(text: str | None) -> datetime | None:
    """`datetime`: an instant, or the end of an interval; None (now) for an open end."""
    if text is None:
        return None
    start, slash, end = text.partition("/")
    first = _instant(start)
    if not slash:
        if first is None:
            raise InvalidInput("datetime=.. is neither an instant nor an interval.", "Example: 2026-01-01T00:00:00Z")
        return first
    last = _instant(end)
    if first and last and first > last:
        raise InvalidInput(f"datetime={text[:80]!r} ends before it starts.")
    return last


def _instant(text: str) -> datetime | None:
    if text in {"", ".."}:
        return None
    try:
        if len(text) == 10:
            return datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
        read = datetime.fromisoformat(text)
        return (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidInput(
            f"{text[:60]!r} is not an RFC 3339 date or time.", "Example: 2026-01-01T00:00:00Z"
        ) from error


def equals(attribute: Attribute, text: str) -> dict[str, Any]:
    """`attribute=value` as CQL2 JSON, the value in the attribute's type."""
    return {"op": "=", "args": [{"property": attribute.name}, _value(attribute, text)]}


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _value(attribute: Attribute, text: str) -> Any:
    try:
        if attribute.type == "integer":
            return int(text)
        if attribute.type == "number":
            return _finite(text)
        if attribute.type == "date":
            return {"date": date.fromisoformat(text).isoformat()}
        if attribute.type == "datetime":
            instant = _instant(text)
            return {"timestamp": instant.strftime("%Y-%m-%dT%H:%M:%S.%fZ")} if instant else None
    except ValueError as error:
        raise InvalidInput(f"{attribute.name}={text[:60]!r} is not of type {attribute.type}.") from error
    if attribute.type == "boolean":
        if text.lower() not in {"true", "false"}:
            raise InvalidInput(f"{attribute.name}={text[:60]!r} is not true or false.")
        return text.lower() == "true"
    return text
