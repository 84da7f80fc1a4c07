"""Attributes that follow from other features (the pipe nearest to a valve): set after all sources were read.

The content hash of a row stays that of its source, so that an unchanged source finds it equal and leaves it alone.
"""

# ruff: noqa: S608 -- identifiers go through columns.quote, values are parameters

import sqlite3
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from twin.store import blocks, columns, geometry_blob
from twin.store.columns import quote
from twin.store.feature_writer import FeatureWriter
from twin.store.layer_change import LayerChange
from twin.store.layer_record import GEOMETRY

_AT_ONCE = 10_000


@dataclass(frozen=True)
class Session:
    """A running transaction: its connection, its writer and its moment."""

    db: sqlite3.Connection
    writer: FeatureWriter
    now: str


def set_derived(session: Session, change: LayerChange, fids: NDArray[np.int64], values: pa.Table) -> None:
    """(n,) current rows take n values of some attributes.

    A row made in this transaction is altered in place; an older one is closed and a new version begins, which takes
    its mesh along.
    """
    layer = change.record
    given = columns.to_sqlite(layer.type, values, values.column_names)
    records = list(zip(*given, strict=True))
    names = [layer.columns[name] for name in values.column_names]
    for start in range(0, len(fids), _AT_ONCE):
        some = fids[start : start + _AT_ONCE].tolist()
        _set(session, change, dict(zip(some, records[start : start + _AT_ONCE], strict=True)), names)


def _set(session: Session, change: LayerChange, given: dict[int, tuple[Any, ...]], names: list[str]) -> None:
    db = session.db
    layer = change.record
    chosen = orjson.dumps(list(given)).decode()
    before = {
        row[0]
        for row in db.execute(
            f"SELECT t.fid FROM json_each(?) j JOIN {quote(layer.table)} t ON t.fid = j.value "
            "WHERE coalesce(t.valid_from, '') < ?", (chosen, session.now)
        )
    }  # fmt: skip
    fids = {fid: fid for fid in given} | _renewed(session, change, sorted(before))
    marks = ", ".join(f"{quote(name)} = ?" for name in names)
    db.executemany(
        f"UPDATE {quote(layer.table)} SET {marks} WHERE fid = ?",
        [(*row, fids[fid]) for fid, row in given.items()],
    )


def _renewed(session: Session, change: LayerChange, fids: list[int]) -> dict[int, int]:
    """Close rows and insert them again as their next version: old row number -> new one."""
    if not fids:
        return {}
    db, writer, layer = session.db, session.writer, change.record
    named = [*map(quote, layer.columns.values()), "extra"]
    shape = f"t.{GEOMETRY}" if layer.has_geometry else "NULL"
    rows = db.execute(
        f"SELECT t.fid, t.id, t.version, r.source, r.seen, r.hash, r.single, {shape}, "
        f"{', '.join(f't.{name}' for name in named)} FROM json_each(?) j CROSS JOIN {quote(layer.table)} t "
        f"ON t.fid = j.value LEFT JOIN {quote(layer.rows)} r ON r.fid = t.fid",
        (orjson.dumps(fids).decode(),),
    ).fetchall()
    writer.close(change, fids)
    new = range(first := writer.next_fid(layer), first + len(rows))
    shapes = [row[7] for row in rows]
    head = [(fid, row[1], (row[2] or 1) + 1, session.now) for fid, row in zip(new, rows, strict=True)]
    writer.insert(layer, head, shapes, [row[8:] for row in rows])
    db.executemany(
        f"INSERT INTO {quote(layer.rows)} (fid, source, seen, hash, single) VALUES (?, ?, ?, ?, ?)",
        [(fid, *row[3:7]) for fid, row in zip(new, rows, strict=True)],
    )
    change.n_rows += len(rows)
    encoded = geometry_blob.encode(geometry_blob.decode(shapes), 0)
    writer.index(change, new, encoded.boxes, encoded.z_bounds)
    renewed = {row[0]: fid for fid, row in zip(new, rows, strict=True)}
    _copy_meshes(db, change, renewed)
    return renewed


def _copy_meshes(db: sqlite3.Connection, change: LayerChange, renewed: dict[int, int]) -> None:
    """The meshes of closed rows, which the history keeps, also for their next versions."""
    layer = change.record
    pairs = [(new, old) for old, new in renewed.items()]
    bounds = "min_x, min_y, min_z, max_x, max_y, max_z, size"
    copied = db.executemany(
        f"INSERT INTO {quote(layer.mesh)} SELECT ?, {bounds} FROM {quote(layer.mesh_history)} WHERE fid = ?", pairs
    )
    change.n_meshes += max(copied.rowcount, 0)
    change.blocks.n_meshes += max(copied.rowcount, 0)
    blocks.drop_packs(db, layer, change.blocks, blocks.of(renewed.values()))
    db.executemany(
        f"INSERT INTO {quote(layer.mesh_blob)} SELECT ?, mesh FROM {quote(layer.mesh_blob)} WHERE fid = ?", pairs
    )
