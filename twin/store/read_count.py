"""Counting without reading more than is needed."""

# ruff: noqa: S608 -- identifiers go through columns.quote, values are parameters

import sqlite3
from dataclasses import replace

import numpy as np
import shapely

from twin.store import box_index, registry, select
from twin.store.query_plan import Plan, numbers


def count(connection: sqlite3.Connection, asked: Plan) -> int:
    """Number of features, paging and order ignored. Exact."""
    slim = replace(asked, attributes=(), with_extra=False, with_geometry=False, after_fid=0, after=None, sort=())
    if _is_one_region(slim):
        return _in_region(connection, slim)
    if slim.regions or slim.ids is not None or slim.z is not None:
        return sum(len(fids) for fids in select.chunks(connection, slim, select.AT_ONCE))
    if slim.is_now and not slim.condition.sql:
        return registry.count(connection, slim.layer)
    sql, parameters = numbers(slim, None)
    return int(connection.execute(f"SELECT count(*) FROM ({sql})", parameters).fetchone()[0])


def _is_one_region(asked: Plan) -> bool:
    """True where a region is all that is asked."""
    others = not asked.is_now or bool(asked.condition.sql) or asked.ids is not None or asked.z is not None
    return len(asked.regions) == 1 and not others


def _in_region(connection: sqlite3.Connection, asked: Plan) -> int:
    """Whole nodes of the index and whole boxes are counted; only features at the region's edge are looked at."""
    region = asked.regions[0]
    if not asked.layer.has_geometry or shapely.is_empty(region):
        return 0
    version = select.version(connection, asked)
    total, unsure = box_index.counted(connection, asked.layer.rtree, version, box_index.Region(region))
    return total + int(np.count_nonzero(select.meets(connection, asked, unsure)))
