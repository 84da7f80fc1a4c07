"""The reading side: which rows is decided first (`select`, 8 bytes a feature), then rows are fetched chunk by chunk.

No sort ever carries geometries, and a small page stops early.
"""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from layers.errors import NotFound
from twin.store import columns, geometry_blob, geometry_kind, select
from twin.store.filter_sql import Condition
from twin.store.interface import Features, Query
from twin.store.layer_record import LayerRecord
from twin.store.query_plan import Plan, lookup, lookup_closed, plan, scan


def stream(connection: sqlite3.Connection, asked: Plan, query: Query, batch_size: int) -> Iterator[Features]:
    """Batches in the order asked for, at most `batch_size` features each."""
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
    """Batches of features for which everything asked holds, in its order; `limit` only bounds what is fetched."""
    step = batch_size if limit is None else min(batch_size, max(limit + limit // 4, 16))
    plain = replace(asked, regions=())
    is_scan = not asked.sort and asked.z is None and asked.after is None and select.is_everywhere(connection, asked)
    if not is_scan:
        for fids in select.chunks(connection, asked, step):
            yield at_fids(connection, plain, fids)
        return
    sql, parameters = scan(plain)
    cursor = connection.execute(sql, parameters)
    while rows := cursor.fetchmany(step):
        yield features_of(rows, plain)


def at_fids(connection: sqlite3.Connection, asked: Plan, fids: NDArray[np.int64]) -> Features:
    """The rows of some row numbers that were selected before, in their order."""
    chosen = replace(asked, condition=Condition("", (), ()), regions=(), z=None, after=None)
    rows = connection.execute(*lookup(chosen, fids)).fetchall()
    if not asked.is_now and asked.sort:
        place = {row[0]: row for row in rows}
        rows = [place[fid] for fid in fids.tolist()]
    return features_of(rows, chosen)


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
