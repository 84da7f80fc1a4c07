"""Which rows of the layer `source` a scope may see: those of sources whose layers are all in it.

A source that holds anything outside the scope is not told at all: its box, its counts and its name would speak of what
may not be read. A parked source holds no layer, so only who may see everything sees it.
"""

# ruff: noqa: S608 -- identifiers go through columns.quote

import sqlite3
from dataclasses import replace

import numpy as np
import orjson
import shapely

from layers import catalogue
from twin.scope import Scope
from twin.store import query_plan, read, registry
from twin.store.columns import quote
from twin.store.interface import LayerInfo, Query


def narrowed(db: sqlite3.Connection, layer_id: str, query: Query, scope: Scope) -> Query:
    """The query, bound to the rows that the scope may see."""
    if scope.layers is None or layer_id != catalogue.SOURCE:
        return query
    seen = _ids(db, scope)
    return replace(query, ids=tuple(sorted(seen if query.ids is None else seen & set(query.ids))))


def info(db: sqlite3.Connection, layer_id: str, scope: Scope) -> LayerInfo:
    """What is known of a layer, counted and measured over what the scope may see."""
    found = registry.info(db, layer_id, scope)
    if scope.layers is None or layer_id != catalogue.SOURCE:
        return found
    query = narrowed(db, layer_id, Query(properties=()), scope)
    asked = query_plan.plan(registry.record(db, layer_id, scope), query)
    boxes = [shapely.total_bounds(part.geometry) for part in read.stream(db, asked, query, 10_000)]
    known = np.array([box for box in boxes if np.isfinite(box).all()], np.float64).reshape(-1, 4)
    bounds = None
    if len(known):
        low, high = known[:, :2].min(axis=0), known[:, 2:].max(axis=0)
        bounds = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
    return replace(found, count=len(query.ids or ()), bounds=bounds)


def _ids(db: sqlite3.Connection, scope: Scope) -> set[str]:
    """Ids of rows of which no version, current or closed, names a layer outside the scope.

    A row that names no layer, or that someone has added by hand, is not seen.
    """
    layer = registry.record(db, catalogue.SOURCE, scope)
    column = quote(layer.columns["layers"])
    seen: dict[str, bool] = {}
    for table in (layer.table, layer.history):
        for row_id, text in db.execute(f"SELECT id, {column} FROM {quote(table)} WHERE id NOT NULL"):
            seen[row_id] = seen.get(row_id, True) and _allows(scope, text)
    current = {row[0] for row in db.execute(f"SELECT id FROM {quote(layer.table)}")}
    return {row_id for row_id, allowed in seen.items() if allowed and row_id in current}


def _allows(scope: Scope, text: str | None) -> bool:
    try:
        names = orjson.loads(text or "[]")
    except orjson.JSONDecodeError:
        return False
    return isinstance(names, list) and bool(names) and all(isinstance(n, str) and scope.allows(n) for n in names)
