"""Counting without reading more than is needed."""

# ruff: noqa: S608 -- identifiers go through columns.quote, values are parameters

import sqlite3
from dataclasses import replace

import numpy as np
import shapely

from twin.store import read, registry
from twin.store.columns import quote
from twin.store.query_plan import Plan, scan

_AT_ONCE = 100_000


def count(connection: sqlite3.Connection, asked: Plan) -> int:
    """Number of features, paging ignored."""
    slim = replace(asked, attributes=(), with_extra=False, with_geometry=False, after_fid=0)
    if slim.regions or slim.ids is not None:
        if len(slim.regions) == 1 and slim.at is None and not slim.condition.sql and slim.ids is None:
            return _in_region(connection, slim) if slim.layer.has_geometry else 0
        return sum(len(features) for features in read.matching(connection, slim, 10_000, None))
    if slim.at is None and not slim.condition.sql:
        return registry.count(connection, slim.layer)
    sql, parameters = scan(slim)
    return int(connection.execute(f"SELECT count(*) FROM ({sql})", parameters).fetchone()[0])


def _in_region(connection: sqlite3.Connection, asked: Plan) -> int:
    """Features whose indexed box lies inside the region are in it for sure; only the others are looked at."""
    region = asked.regions[0]
    if shapely.is_empty(region):
        return 0
    west, south, east, north = (float(v) for v in shapely.bounds(region))
    cursor = connection.execute(
        f"SELECT id, minx, miny, maxx, maxy FROM {quote(asked.layer.rtree)} "
        "WHERE maxx >= ? AND minx <= ? AND maxy >= ? AND miny <= ?",
        (west, east, south, north),
    )
    total = 0
    while rows := cursor.fetchmany(_AT_ONCE):
        table = np.array(rows, np.float64)
        is_sure = shapely.contains_properly(region, shapely.box(*table[:, 1:].T))
        unsure = np.sort(table[~is_sure, 0].astype(np.int64))
        total += int(is_sure.sum()) + sum(len(part) for part in read.at_fids(connection, asked, unsure, 10_000))
    return total
