"""Withdrawing edits: what the source said before an edit becomes a new version, and the source will be read again."""

# ruff: noqa: S608 -- identifiers go through columns.quote, values are parameters

import sqlite3
from collections.abc import Sequence

import numpy as np
import orjson
from numpy.typing import NDArray

from layers.errors import NotFound
from layers.mesh import StoredMesh
from twin.store import decide, read, shared
from twin.store.columns import quote, row_numbers
from twin.store.decide import SourceReading
from twin.store.feature_writer import FeatureWriter
from twin.store.interface import Query, Rows
from twin.store.layer_change import LayerChange
from twin.store.layer_record import LayerRecord
from twin.store.query_plan import lookup_closed, plan


def revert(db: sqlite3.Connection, writer: FeatureWriter, change: LayerChange, ids: Sequence[str]) -> list[str]:
    """Withdraw the edits of some ids; paths of the sources that are to be read again for it."""
    layer = change.record
    edits = db.execute(
        "SELECT e.id, e.source, e.hash, e.fid, s.path FROM json_each(?) j CROSS JOIN gpkg_citytwin_edit e "
        "ON e.layer = ? AND e.id = j.value LEFT JOIN gpkg_citytwin_source s ON s.id = e.source",
        (orjson.dumps(list(ids)).decode(), layer.type.id),
    ).fetchall()
    strange = [each for each in ids if each not in {row[0] for row in edits}]
    if strange:
        raise NotFound(f"{layer.type.id} {strange[0]!r} has not been edited.", "`edits()` lists what has been.")
    db.executemany(
        "DELETE FROM gpkg_citytwin_edit WHERE layer = ? AND id = ?", [(layer.type.id, row[0]) for row in edits]
    )
    now = decide.known_rows(db, layer, [row[0] for row in edits], unnamed=True)
    writer.close(change, [row.fid for row in now.values()])
    by_source: dict[int, list[tuple[int, bytes]]] = {}
    for _, source, digest, fid, path in edits:
        if path is not None and fid is not None:
            by_source.setdefault(source, []).append((fid, digest))
    for source, pairs in by_source.items():
        _restore(db, writer, change, SourceReading(source, None), dict(pairs))
    paths = sorted({row[4] for row in edits if row[4] is not None})
    db.executemany("UPDATE gpkg_citytwin_source SET sha256 = '' WHERE path = ?", [(path,) for path in paths])
    return paths


def _restore(
    db: sqlite3.Connection,
    writer: FeatureWriter,
    change: LayerChange,
    reading: SourceReading,
    hashes: dict[int, bytes],
) -> None:
    layer = change.record
    rows = db.execute(*lookup_closed(plan(layer, Query()), np.array(sorted(hashes), np.int64))).fetchall()
    if not rows:
        return
    was = read.features_of(rows, plan(layer, Query()))
    meshes = _meshes(db, layer, was.fids)
    kept = Rows(was.ids, was.geometry, was.attributes, was.extra, [meshes.get(fid) for fid in was.fids.tolist()])
    writer.restore(change, kept, [hashes[fid] for fid in was.fids.tolist()], reading)


def _meshes(db: sqlite3.Connection, layer: LayerRecord, fids: NDArray[np.int64]) -> dict[int, StoredMesh]:
    rows = db.execute(
        "SELECT m.fid, b.mesh, m.min_x, m.min_y, m.min_z, m.max_x, m.max_y, m.max_z FROM json_each(?) j "
        f"CROSS JOIN {quote(layer.mesh_history)} m ON m.fid = j.value "
        f"CROSS JOIN {quote(layer.mesh_blob)} b ON b.fid = m.fid",
        (row_numbers(fids),),
    ).fetchall()
    return shared.with_shapes(db, {row[0]: StoredMesh(row[1], row[2:]) for row in rows})
