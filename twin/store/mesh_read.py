"""Reading meshes as they are stored: where they are, now or then, what changed, and their blobs."""

# ruff: noqa: S608 -- identifiers go through columns.quote, values are parameters

import sqlite3

import numpy as np
from numpy.typing import NDArray

from layers.errors import NotFound
from layers.mesh import StoredMesh
from twin.store import blocks, change_log, shared
from twin.store.columns import quote, row_numbers
from twin.store.interface import MeshBlobs, MeshChanges, MeshTable
from twin.store.layer_record import LayerRecord

_BOUNDS = "m.fid, m.min_x, m.min_y, m.min_z, m.max_x, m.max_y, m.max_z, m.size"
_BEGUN = "coalesce(t.valid_from, '') <= ?"


def table(db: sqlite3.Connection, layer: LayerRecord) -> MeshTable:
    """Of all current features."""
    if not blocks.exist(db):
        return _stamped(db, layer, blocks.read_rows(db, layer, 0, None), has_stamps=False)
    return _stamped(db, layer, blocks.read_all(db, layer))


def table_at(db: sqlite3.Connection, layer: LayerRecord, at: str) -> MeshTable:
    """Of the features of a moment, as the store writes moments."""
    rows = db.execute(
        f"SELECT {_BOUNDS} FROM {quote(layer.mesh)} m CROSS JOIN {quote(layer.table)} t ON t.fid = m.fid "
        f"WHERE {_BEGUN} UNION ALL SELECT {_BOUNDS} FROM {quote(layer.mesh_history)} m "
        f"CROSS JOIN {quote(layer.history)} t ON t.fid = m.fid WHERE {_BEGUN} AND t.valid_to > ? ORDER BY 1",
        (at, at, at),
    ).fetchall()
    return _stamped(db, layer, blocks.packed(rows), has_stamps=blocks.exist(db))


def _stamped(
    db: sqlite3.Connection, layer: LayerRecord, meshes: NDArray[np.void], *, has_stamps: bool = True
) -> MeshTable:
    fids = np.ascontiguousarray(meshes["fid"])
    stamps = np.zeros_like(fids)
    if has_stamps and len(fids):
        stamped, versions = change_log.stamps(db, layer.type.id)
        at = np.minimum(np.searchsorted(fids, stamped), len(fids) - 1)
        held = fids[at] == stamped  # others have been closed, or have no mesh
        stamps[at[held]] = versions[held]
    return MeshTable(fids, np.ascontiguousarray(meshes["bounds"]), np.ascontiguousarray(meshes["size"]), stamps)


def changes(db: sqlite3.Connection, layer: LayerRecord, since: int) -> MeshChanges | None:
    """What happened since a version of the layer; None where that is not known."""
    row = db.execute("SELECT version FROM gpkg_citytwin_layer WHERE id = ?", (layer.type.id,)).fetchone()
    version = int(row[0])
    if since > version:
        return None
    if since == version:
        return MeshChanges(version, np.zeros(0, np.int64), _stamped(db, layer, blocks.packed([]), has_stamps=False))
    touched = change_log.since(db, layer.type.id, since) if blocks.exist(db) else None
    if touched is None:
        return None
    rows = db.execute(
        f"SELECT {_BOUNDS} FROM json_each(?) j CROSS JOIN {quote(layer.mesh)} m ON m.fid = j.value",
        (row_numbers(touched.after),),
    ).fetchall()
    return MeshChanges(version, touched.before, _stamped(db, layer, blocks.packed(rows)))


def blobs(db: sqlite3.Connection, layer: LayerRecord, fids: NDArray[np.int64]) -> MeshBlobs:
    """Blobs of current or closed rows in the order asked for, and the shapes that copies among them name."""
    wanted = np.asarray(fids, np.int64)
    rows = db.execute(
        f"SELECT b.fid, b.mesh FROM json_each(?) j CROSS JOIN {quote(layer.mesh_blob)} b ON b.fid = j.value",
        (row_numbers(wanted),),
    ).fetchall()
    if len(rows) != len(wanted):
        found = {row[0] for row in rows}
        missing = next(fid for fid in wanted.tolist() if fid not in found)
        raise no_mesh(layer.type.id, missing)
    found_blobs = [row[1] for row in rows]
    return MeshBlobs(found_blobs, shared.shapes_of(db, found_blobs))


def stored(db: sqlite3.Connection, layer: LayerRecord, fids: NDArray[np.int64]) -> dict[int, StoredMesh]:
    """Meshes of current rows with their bounds, by row number; copies as they are."""
    rows = db.execute(
        "SELECT m.fid, b.mesh, m.min_x, m.min_y, m.min_z, m.max_x, m.max_y, m.max_z FROM json_each(?) j "
        f"CROSS JOIN {quote(layer.mesh)} m ON m.fid = j.value "
        f"CROSS JOIN {quote(layer.mesh_blob)} b ON b.fid = m.fid",
        (row_numbers(np.unique(fids)),),
    ).fetchall()
    return {row[0]: StoredMesh(row[1], row[2:]) for row in rows}


def no_mesh(layer_id: str, fid: int) -> NotFound:
    """For a row without a mesh."""
    return NotFound(f"Feature {fid} of layer {layer_id!r} has no mesh.", "Ask for the mesh table again.")
