"""Extents and mesh bounds by block of row numbers, so that a small write into a large layer costs little.

A block is 1,024 consecutive row numbers. Each has an extent; the layer's is theirs put together, and only blocks that
rows were taken from are measured anew. The bounds of the meshes of a block are also kept packed, 64 bytes a mesh, so
that a million of them are read at once; a block that changes loses its pack and is read row by row.
"""

# ruff: noqa: S608 -- identifiers go through columns.quote, values are parameters

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
import orjson
from numpy.typing import NDArray

from twin.store import geometry_blob
from twin.store.columns import quote, row_numbers
from twin.store.layer_record import GEOMETRY, LayerRecord

SHIFT = 10
"""Row number >> SHIFT is its block."""

PACKED = np.dtype([("fid", "<i8"), ("bounds", "<f8", 6), ("size", "<i8")])
_PACK_FROM = 1000
"""A transaction that brings fewer meshes packs none."""

TABLES = """
CREATE TABLE IF NOT EXISTS gpkg_citytwin_extent (
  layer TEXT NOT NULL, block INTEGER NOT NULL, is_known INTEGER NOT NULL, min_x DOUBLE, min_y DOUBLE, max_x DOUBLE,
  max_y DOUBLE, min_z DOUBLE, max_z DOUBLE, PRIMARY KEY (layer, block)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS gpkg_citytwin_mesh_pack (
  id INTEGER PRIMARY KEY, layer TEXT NOT NULL, block INTEGER NOT NULL, meshes BLOB NOT NULL, UNIQUE (layer, block));
"""

_EXTENT = "min_x, min_y, max_x, max_y, min_z, max_z"
_HIGH = [2, 3, 5]


@dataclass
class Blocks:
    """What a transaction does to the blocks of a layer.

    Attributes
    ----------
    added : block -> min x, min y, max x, max y, min z, max z of what was added
    thinned : blocks that rows were taken from
    loose : blocks whose meshes are not packed
    """

    added: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    thinned: set[int] = field(default_factory=set)
    loose: set[int] = field(default_factory=set)
    n_meshes: int = 0

    def note_added(self, fids: range, boxes: NDArray[np.float64], z_bounds: NDArray[np.float64]) -> None:
        """(n,) new rows with (n, 4) boxes and (n, 2) heights, NaN where there is nothing."""
        _unite(self.added, np.arange(fids.start, fids.stop), boxes, z_bounds)

    def note_taken(self, fids: Iterable[int]) -> None:
        """Rows that were closed."""
        self.thinned |= of(fids)


def of(fids: Iterable[int]) -> set[int]:
    """The blocks of some rows."""
    return set(np.unique(np.fromiter(fids, np.int64) >> SHIFT).tolist())


def _unite(
    known: dict[int, NDArray[np.float64]],
    fids: NDArray[np.int64],
    boxes: NDArray[np.float64],
    z_bounds: NDArray[np.float64],
) -> None:
    """Widen the extents of blocks by (n,) rows, ascending, with (n, 4) boxes and (n, 2) heights."""
    blocks = fids >> SHIFT
    starts = np.flatnonzero(np.diff(blocks, prepend=-1))
    low = np.fmin.reduceat(np.column_stack([boxes[:, :2], z_bounds[:, :1]]), starts)
    high = np.fmax.reduceat(np.column_stack([boxes[:, 2:], z_bounds[:, 1:]]), starts)
    extents = np.column_stack([low[:, :2], high[:, :2], low[:, 2:], high[:, 2:]])
    for block, extent in zip(blocks[starts].tolist(), extents, strict=True):
        before = known.get(block)
        known[block] = extent if before is None else _united(before, extent)


def _united(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    out = np.fmin(a, b)
    out[_HIGH] = np.fmax(a, b)[_HIGH]
    return out


def exist(db: sqlite3.Connection) -> bool:
    """False in a store that is older than its blocks and its change log."""
    name = "gpkg_citytwin_edit"  # the last that `gpkg_schema.create_later_tables` makes
    return db.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (name,)).fetchone() is not None


def adopt(db: sqlite3.Connection, layer: LayerRecord) -> None:
    """Note the blocks of a layer that is older than these tables, to be measured by its next write; pack its meshes."""
    meshes = read_rows(db, layer, 0, None)
    if len(meshes) >= _PACK_FROM:
        put_packs(db, layer, Blocks(), range(int(meshes["fid"][-1]) + (1 << SHIFT)), meshes)
    last = db.execute(f"SELECT max(fid) FROM {quote(layer.table)}").fetchone()[0]
    if last is not None and layer.has_geometry:
        db.executemany(
            "INSERT OR IGNORE INTO gpkg_citytwin_extent (layer, block, is_known) VALUES (?, ?, 0)",
            [(layer.type.id, block) for block in range((last >> SHIFT) + 1)],
        )


def extent(db: sqlite3.Connection, layer: LayerRecord, blocks: Blocks) -> list[float | None]:
    """Min x, min y, max x, max y, min z, max z of all current rows, after noting what the transaction did."""
    if not layer.has_geometry:
        return [None] * 6
    key = layer.type.id
    stored = {
        row[0]: np.array(row[2:], np.float64) if row[1] else None
        for row in db.execute(
            f"SELECT block, is_known, {_EXTENT} FROM gpkg_citytwin_extent WHERE layer = ? AND (NOT is_known "
            "OR block IN (SELECT value FROM json_each(?)))",
            (key, orjson.dumps(sorted({*blocks.added, *blocks.thinned})).decode()),
        )
    }
    unknown = {block for block, found in stored.items() if found is None} | blocks.thinned
    now = _measured(db, layer, sorted(unknown))
    for block, added in blocks.added.items():
        if block not in unknown:
            before = stored.get(block)
            now[block] = added if before is None else _united(before, added)
    db.executemany(
        "DELETE FROM gpkg_citytwin_extent WHERE layer = ? AND block = ?", [(key, block) for block in unknown - set(now)]
    )
    db.executemany(
        f"INSERT OR REPLACE INTO gpkg_citytwin_extent (layer, block, is_known, {_EXTENT}) "
        "VALUES (?, ?, 1, ?, ?, ?, ?, ?, ?)",
        [(key, block, *found.tolist()) for block, found in now.items()],
    )
    lows = ", ".join(f"{'max' if at in _HIGH else 'min'}({name})" for at, name in enumerate(_EXTENT.split(", ")))
    return list(db.execute(f"SELECT {lows} FROM gpkg_citytwin_extent WHERE layer = ?", (key,)).fetchone())


def _measured(db: sqlite3.Connection, layer: LayerRecord, blocks: list[int]) -> dict[int, NDArray[np.float64]]:
    found: dict[int, NDArray[np.float64]] = {}
    for first, last in _runs(blocks):
        cursor = db.execute(
            f"SELECT fid, substr({GEOMETRY}, 1, 56) FROM {quote(layer.table)} "
            f"WHERE fid >= ? AND fid < ? AND {GEOMETRY} IS NOT NULL ORDER BY fid",
            (first << SHIFT, (last + 1) << SHIFT),
        )
        while rows := cursor.fetchmany(100_000):
            fids = np.array([row[0] for row in rows], np.int64)
            boxes, heights, is_untold = geometry_blob.envelopes([row[1] for row in rows])
            if is_untold.any():
                boxes[is_untold], heights[is_untold] = geometry_blob.measured(_whole(db, layer, fids[is_untold]))
            _unite(found, fids, boxes, heights)
    return found


def _whole(db: sqlite3.Connection, layer: LayerRecord, fids: NDArray[np.int64]) -> list[bytes | None]:
    rows = db.execute(
        f"SELECT t.{GEOMETRY} FROM json_each(?) j CROSS JOIN {quote(layer.table)} t ON t.fid = j.value",
        (row_numbers(fids),),
    )
    return [row[0] for row in rows]


def _runs(blocks: list[int]) -> Iterator[tuple[int, int]]:
    """First and last of each run of consecutive numbers."""
    start = previous = None
    for block in blocks:
        if previous is None or start is None:
            start = block
        elif block != previous + 1:
            yield start, previous
            start = block
        previous = block
    if start is not None and previous is not None:
        yield start, previous


def put_packs(
    db: sqlite3.Connection, layer: LayerRecord, blocks: Blocks, fids: range, meshes: NDArray[np.void]
) -> None:
    """Pack the blocks that `fids` fill completely; `meshes` (k,) of `PACKED` are those of these rows, in fid order.

    The other blocks lose the pack they have.
    """
    blocks.n_meshes += len(meshes)
    first, end = -(-fids.start >> SHIFT), fids.stop >> SHIFT
    cuts = np.searchsorted(meshes["fid"], np.arange(first, max(end, first) + 1) << SHIFT)
    parts = [
        (layer.type.id, block, meshes[cuts[i] : cuts[i + 1]].tobytes()) for i, block in enumerate(range(first, end))
    ]
    db.executemany("INSERT OR REPLACE INTO gpkg_citytwin_mesh_pack (layer, block, meshes) VALUES (?, ?, ?)", parts)
    blocks.loose -= set(range(first, end))
    drop_packs(db, layer, blocks, of(meshes["fid"].tolist()) - set(range(first, end)))


def drop_packs(db: sqlite3.Connection, layer: LayerRecord, blocks: Blocks, changed: set[int]) -> None:
    """The meshes of these blocks are not what they were."""
    blocks.loose |= changed
    db.executemany(
        "DELETE FROM gpkg_citytwin_mesh_pack WHERE layer = ? AND block = ?",
        [(layer.type.id, block) for block in sorted(changed)],
    )


def pack_loose(db: sqlite3.Connection, layer: LayerRecord, blocks: Blocks) -> None:
    """After a large write: pack every block that it touched and did not pack."""
    if blocks.n_meshes < _PACK_FROM:
        return
    for block in sorted(blocks.loose):
        meshes = read_rows(db, layer, block << SHIFT, (block + 1) << SHIFT)
        db.execute(
            "INSERT OR REPLACE INTO gpkg_citytwin_mesh_pack (layer, block, meshes) VALUES (?, ?, ?)",
            (layer.type.id, block, meshes.tobytes()),
        )


def read_rows(db: sqlite3.Connection, layer: LayerRecord, first: int, end: int | None) -> NDArray[np.void]:
    """Mesh bounds of current rows from `first` to before `end`, row by row."""
    cursor = db.execute(
        f"SELECT fid, min_x, min_y, min_z, max_x, max_y, max_z, size FROM {quote(layer.mesh)} "
        "WHERE fid >= ? AND fid < ? ORDER BY fid",
        (first, 1 << 62 if end is None else end),
    )
    return packed(cursor.fetchall())


def packed(rows: list[tuple[int, float, float, float, float, float, float, int]]) -> NDArray[np.void]:
    """Rows of (fid, 6 bounds, size) as one array."""
    out = np.zeros(len(rows), PACKED)
    table = np.fromiter(chain.from_iterable(rows), np.float64, 8 * len(rows)).reshape(-1, 8)  # numbers below 2 ** 53
    out["fid"], out["bounds"], out["size"] = table[:, 0], table[:, 1:7], table[:, 7]
    return out


def read_all(db: sqlite3.Connection, layer: LayerRecord) -> NDArray[np.void]:
    """Mesh bounds of all current rows in fid order: packs at once, the blocks between them row by row."""
    packs = db.execute(
        "SELECT block, meshes FROM gpkg_citytwin_mesh_pack WHERE layer = ? ORDER BY block", (layer.type.id,)
    ).fetchall()
    parts: list[NDArray[np.void]] = []
    run: list[bytes] = []
    following = 0
    for block, data in packs:
        if block > following:
            parts += [np.frombuffer(b"".join(run), PACKED), read_rows(db, layer, following << SHIFT, block << SHIFT)]
            run = []
        run.append(data)
        following = block + 1
    parts += [np.frombuffer(b"".join(run), PACKED), read_rows(db, layer, following << SHIFT, None)]
    return np.concatenate(parts)


def unmeasured(layer: LayerRecord, row: str) -> str:
    """For the triggers of edits from outside: the block of `NEW` or `OLD` is to be measured by the next write."""
    if not layer.has_geometry:
        return ""
    return (
        f" INSERT OR REPLACE INTO gpkg_citytwin_extent (layer, block, is_known)"
        f" VALUES ({_literal(layer)}, {row}.fid >> {SHIFT}, 0);"
    )


def unpacked(layer: LayerRecord, row: str) -> str:
    """For the triggers of edits from outside: the meshes of the block of `NEW` or `OLD` are not what they were."""
    return f" DELETE FROM gpkg_citytwin_mesh_pack WHERE layer = {_literal(layer)} AND block = {row}.fid >> {SHIFT};"


def _literal(layer: LayerRecord) -> str:
    return "'" + layer.type.id.replace("'", "''") + "'"
