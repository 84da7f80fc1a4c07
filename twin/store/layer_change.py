"""What one transaction does to one layer, and the counters, extents and geometry types written at its end."""

# ruff: noqa: S608 -- identifiers go through columns.quote, values are parameters

import sqlite3
from dataclasses import dataclass, field

import numpy as np
import orjson
from numpy.typing import NDArray

from twin.store import blocks, change_log, geometry_blob, geometry_kind, rtree_bulk
from twin.store.blocks import Blocks
from twin.store.change_log import Changes
from twin.store.columns import quote
from twin.store.geometry_kind import Kind
from twin.store.layer_record import GEOMETRY, LayerRecord


@dataclass
class LayerChange:
    """Gathered while a transaction runs.

    Attributes
    ----------
    kinds : every geometry kind the layer ever held
    column_type : what the geometry column is declared with now
    log, blocks : what came and went
    waiting : row numbers and boxes (min x, max x, min y, max y) that are not in the R-tree yet
    """

    record: LayerRecord
    kinds: set[Kind]
    column_type: str
    log: Changes = field(default_factory=Changes)
    blocks: Blocks = field(default_factory=Blocks)
    n_rows: int = 0
    n_meshes: int = 0
    waiting: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = field(default_factory=list)


def begin(record: LayerRecord) -> LayerChange:
    """A change of a layer that exists."""
    return LayerChange(record, set(record.kinds), record.column_type)


def index_waiting(connection: sqlite3.Connection, change: LayerChange) -> None:
    """Put what waits into the R-tree."""
    if change.waiting:
        ids, boxes = (np.concatenate(parts) for parts in zip(*change.waiting, strict=True))
        change.waiting.clear()
        rtree_bulk.insert(connection, change.record.rtree, ids, boxes)


def finish(connection: sqlite3.Connection, change: LayerChange, version: int, now: str) -> None:
    """Write the layer's counters, its extent and its geometry type."""
    layer = change.record
    index_waiting(connection, change)
    connection.execute(
        "UPDATE gpkg_ogr_contents SET feature_count = feature_count + ? WHERE table_name = ?",
        (change.n_rows, layer.table),
    )
    bounds = blocks.extent(connection, layer, change.blocks)
    blocks.pack_loose(connection, layer, change.blocks)
    change_log.write(connection, layer, change.log, version)
    connection.execute(
        "UPDATE gpkg_citytwin_layer SET version = ?, updated = ?, mesh_count = mesh_count + ?, kinds = ?, "
        "min_z = ?, max_z = ? WHERE id = ?",
        (version, now, change.n_meshes, orjson.dumps(sorted(change.kinds)).decode(), *bounds[4:], layer.type.id),
    )
    connection.execute(
        "UPDATE gpkg_contents SET last_change = ?, min_x = ?, min_y = ?, max_x = ?, max_y = ? WHERE table_name = ?",
        (now, *bounds[:4], layer.table),
    )
    z, m = geometry_kind.dimension_flags(layer.type.geometry, change.kinds)
    connection.execute(
        "UPDATE gpkg_geometry_columns SET geometry_type_name = ?, z = ?, m = ? WHERE table_name = ?",
        (change.column_type, z, m, layer.table),
    )


def promote_stored(connection: sqlite3.Connection, layer: LayerRecord, srs_id: int) -> None:
    """Make every single geometry of the current table a multi geometry of one part, remembered as single."""
    table, last = quote(layer.table), 0
    while rows := connection.execute(
        f"SELECT fid, {GEOMETRY} FROM {table} WHERE fid > ? AND {GEOMETRY} IS NOT NULL ORDER BY fid LIMIT 20000",
        (last,),
    ).fetchall():
        last = rows[-1][0]
        shapes = geometry_blob.decode([row[1] for row in rows])
        chosen = geometry_kind.singles(shapes, "MULTI")
        blobs = geometry_blob.encode(geometry_kind.promoted(shapes[chosen]), srs_id).blobs
        fids = [rows[row][0] for row in chosen.tolist()]
        connection.executemany(f"UPDATE {table} SET {GEOMETRY} = ? WHERE fid = ?", list(zip(blobs, fids, strict=True)))
        connection.executemany(
            f"INSERT INTO {quote(layer.rows)} (fid, single) VALUES (?, 1) ON CONFLICT (fid) DO UPDATE SET single = 1",
            [(fid,) for fid in fids],
        )
