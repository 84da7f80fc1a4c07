"""The reading side: candidates from the R-tree, rows in bulk, exact predicates in shapely.

With a region the candidate row numbers come from the R-tree first (8 bytes a feature), are sorted, and rows are then
fetched chunk by chunk in that order: the sort never carries geometries, and a small page stops early.
"""
# ruff: noqa: S608 -- identifiers go through columns.quote, values are parameters

import sqlite3
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from layers.errors import NotFound
from twin.store import columns, geometry_blob, geometry_kind, rtree_bulk
from twin.store.columns import quote
from twin.store.interface import Features, Query
from twin.store.layer_record import LayerRecord
from twin.store.query_plan import Plan, lookup, lookup_closed, plan, scan, tables


def stream(connection: sqlite3.Connection, asked: Plan, query: Query, batch_size: int) -> Iterator[Features]:
    """Batches in fid order, at most `batch_size` features each."""
    skip, left = query.offset, query.limit
    if left == 0:
        return
    for features in matching(connection, asked, batch_size, left if not skip else None):
        n = len(features)
        if skip >= n:
            skip -= n
            continue
        end = n if left is None else min(n, skip + left)
        part = features if (skip, end) == (0, n) else part_of(features, slice(skip, end))
        if left is not None:
            left -= end - skip
        skip = 0
        yield part
        if left == 0:
            return


def matching(connection: sqlite3.Connection, asked: Plan, batch_size: int, limit: int | None) -> Iterator[Features]:
    """Batches of features for which everything asked holds, in fid order; `limit` only bounds what is fetched."""
    candidates = _candidates(connection, asked)
    step = batch_size if limit is None else min(batch_size, max(limit + limit // 4, 16))
    if candidates is None:
        sql, parameters = scan(asked)
        cursor = connection.execute(sql, parameters)
        while rows := cursor.fetchmany(step):
            features = _keep_exact(features_of(rows, asked), asked)
            if len(features):
                yield features
        return
    yield from at_fids(connection, asked, candidates, step)


def at_fids(
    connection: sqlite3.Connection, asked: Plan, candidates: NDArray[np.int64], step: int
) -> Iterator[Features]:
    """Those of some row numbers, ascending, for which everything asked holds."""
    for start in range(0, len(candidates), step):
        chunk = candidates[start : start + step]
        sql, parameters = lookup(asked, chunk)
        rows = connection.execute(sql, parameters).fetchall()
        if rows:
            features = _keep_exact(features_of(rows, asked), asked)
            if len(features):
                yield features


def _keep_exact(features: Features, asked: Plan) -> Features:
    if not asked.regions:
        return features
    keep = np.ones(len(features), dtype=bool)
    for region in asked.regions:
        keep &= shapely.intersects(region, features.geometry)
    kept = features if keep.all() else part_of(features, np.flatnonzero(keep))
    if asked.with_geometry or not len(kept):
        return kept
    return Features(**{**vars(kept), "geometry": np.full(len(kept), None, dtype=object)})


def _candidates(connection: sqlite3.Connection, asked: Plan) -> NDArray[np.int64] | None:
    """Sorted row numbers that may match, or None where every row may."""
    if asked.ids is None and all(_covers(connection, asked, region) for region in asked.regions):
        return None
    found: list[NDArray[np.int64]] = []
    for table, rtree, _, _ in tables(asked):
        here: NDArray[np.int64] | None = None
        for region in asked.regions:
            boxed = _in_box(connection, asked, rtree, region)
            here = boxed if here is None else np.intersect1d(here, boxed, assume_unique=True)
        if asked.ids is not None:
            named = _named(connection, table, asked.ids)
            here = named if here is None else np.intersect1d(here, named, assume_unique=True)
        if here is not None:
            found.append(here)
    fids = np.unique(np.concatenate(found))
    return fids[fids > asked.after_fid]


def _covers(connection: sqlite3.Connection, asked: Plan, region: shapely.Geometry) -> bool:
    """True if the region's box holds everything indexed: a scan in order then beats sorting all row numbers."""
    if not asked.layer.has_geometry or shapely.is_empty(region):
        return False
    west, south, east, north = (float(v) for v in shapely.bounds(region))
    for _, rtree, _, _ in tables(asked):
        held = rtree_bulk.bounds(connection, rtree)
        if held is not None and not (west <= held[0] and south <= held[1] and held[2] <= east and held[3] <= north):
            return False
    return True


def _in_box(connection: sqlite3.Connection, asked: Plan, rtree: str, region: shapely.Geometry) -> NDArray[np.int64]:
    if not asked.layer.has_geometry or shapely.is_empty(region):
        return np.zeros(0, np.int64)
    west, south, east, north = (float(v) for v in shapely.bounds(region))
    cursor = connection.execute(
        f"SELECT id FROM {quote(rtree)} WHERE maxx >= ? AND minx <= ? AND maxy >= ? AND miny <= ?",
        (west, east, south, north),
    )
    return np.fromiter((row[0] for row in cursor), np.int64)


def _named(connection: sqlite3.Connection, table: str, ids: tuple[str, ...]) -> NDArray[np.int64]:
    cursor = connection.execute(
        f"SELECT t.fid FROM json_each(?) j CROSS JOIN {quote(table)} t ON t.id = j.value "
        f"UNION SELECT t.fid FROM json_each(?) j CROSS JOIN {quote(table)} t ON t.fid = j.value WHERE t.id IS NULL",
        (
            orjson.dumps(ids).decode(),
            orjson.dumps([int(each[4:]) for each in ids if each.startswith("fid-") and each[4:].isdigit()]).decode(),
        ),
    )
    return np.array([row[0] for row in cursor], np.int64)


def features_of(rows: list[tuple[Any, ...]], asked: Plan) -> Features:
    """Rows as `query_plan` selects them."""
    layer = asked.layer
    fids, ids, blobs, extra, versions, valid_from, valid_to, single, *values = zip(*rows, strict=True)
    arrays, fields = [], []
    for name, column in zip(asked.attributes, values, strict=True):
        attribute = layer.type.attribute(name)
        kind = "string" if attribute is None else attribute.type
        arrays.append(columns.from_sqlite(column, kind, name))
        fields.append((name, arrays[-1].type))
    table = pa.Table.from_arrays(arrays, schema=pa.schema(fields)) if arrays else _no_columns(len(rows))
    geometry = geometry_blob.decode(list(blobs)) if asked.fetches_geometry else np.full(len(rows), None, dtype=object)
    if asked.restores_singles:
        geometry = geometry_kind.demoted(geometry, np.array(single, dtype=object) == 1)
    return Features(
        fids=np.array(fids, np.int64),
        ids=list(ids),
        geometry=geometry,
        attributes=table,
        extra=list(extra),
        versions=np.array(versions, np.int64),
        valid_from=list(valid_from),
        valid_to=list(valid_to),
    )


def _no_columns(n: int) -> pa.Table:
    """A table of n rows without columns; Arrow drops the row count of one made from no arrays."""
    return pa.table({"fid": pa.nulls(n)}).select([])


def part_of(features: Features, rows: slice | NDArray[np.intp]) -> Features:
    """Some rows of a batch."""
    index = np.arange(len(features))[rows]

    def pick(values: list[Any]) -> list[Any]:
        return [values[row] for row in index.tolist()]

    return Features(
        fids=features.fids[index],
        ids=pick(features.ids),
        geometry=features.geometry[index],
        attributes=features.attributes.take(pa.array(index))
        if features.attributes.num_columns
        else _no_columns(len(index)),
        extra=pick(features.extra),
        versions=features.versions[index],
        valid_from=pick(features.valid_from),
        valid_to=pick(features.valid_to),
    )


def by_fid(connection: sqlite3.Connection, layer: LayerRecord, fids: NDArray[np.int64]) -> Features:
    """Current or closed features without geometry, in the order of `fids`; NotFound where one is missing."""
    asked = plan(layer, Query(with_geometry=False))
    wanted = np.asarray(fids, np.int64)
    rows = connection.execute(*lookup(asked, wanted)).fetchall()
    if len(rows) != len(wanted):
        place = {row[0]: row for row in rows}
        closed = np.array([fid for fid in wanted.tolist() if fid not in place], np.int64)
        place |= {row[0]: row for row in connection.execute(*lookup_closed(asked, closed))}
        missing = [fid for fid in closed.tolist() if fid not in place]
        if missing:
            raise NotFound(f"Layer {layer.type.id!r} has no feature in row {missing[0]}.", "Ask for its table again.")
        rows = [place[fid] for fid in wanted.tolist()]
    return features_of(rows, asked)
