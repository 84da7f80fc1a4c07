"""Counts and spans of time of groups of rows, by SQLite itself: one pass over a table, nothing else is read."""

# ruff: noqa: S608 -- identifiers go through columns.quote

from collections.abc import Collection, Sequence
from datetime import datetime

import orjson

from twin.scope import Scope
from twin.store import registry
from twin.store.columns import quote
from twin.store.geopackage import GeoPackageStore

Group = tuple[tuple[str, ...], int, datetime, datetime]
"""Values of the group ("" for none), number of rows with a time, first and last time."""


def spans(
    store: GeoPackageStore,
    layer_id: str,
    by: Sequence[str],
    time: str,
    scope: Scope,
    *,
    among: Collection[str] | None = None,
) -> list[Group]:
    """Groups of the current rows of a layer by texts. LayerNotFound outside the scope; ValueError for odd times.

    `among`: only rows with one of these in the first of `by`.
    """
    with store.reading() as db:
        layer = registry.record(db, layer_id, scope)
        names = [quote(layer.columns[name]) for name in by]
        moment = quote(layer.columns[time])
        only = "" if among is None else f"AND {names[0]} IN (SELECT value FROM json_each(?)) "
        rows = db.execute(
            f"SELECT {', '.join(names)}, count(*), min({moment}), max({moment}) FROM {quote(layer.table)} "
            f"WHERE {moment} IS NOT NULL {only}GROUP BY {', '.join(names)}",
            () if among is None else (orjson.dumps(sorted(among)).decode(),),
        ).fetchall()
    found: list[Group] = []
    for *values, n, first, last in rows:
        told = tuple("" if value is None else str(value) for value in values)
        found.append((told, int(n), _moment(first), _moment(last)))
    return found


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(text)
    return found
