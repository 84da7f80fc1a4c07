"""What happened to the rows of a layer, version by version, so that tiles follow an edit without being made anew.

Each layer version's rows are logged as come, gone or changed in place; the last happens only by edits from outside
(QGIS in `city.gpkg`), which triggers log. Such a row has a stamp, the layer version of its last change, which it keeps.
The log is bounded: a large write drops it and leaves a mark from which version on it is whole again.
"""

# ruff: noqa: S608 -- identifiers go through columns.quote, values are parameters

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from twin.store.columns import quote, row_numbers

if TYPE_CHECKING:
    from twin.store.layer_record import LayerRecord

IntArray = NDArray[np.int64]

MAX_ENTRIES = 50_000
"""Of a layer. Reading a table of meshes anew is faster than following more changes than that."""

CAME, GONE, CHANGED, WITH_MESH = 1, 2, 3, 4
"""What happened, plus 4 where the row has a mesh."""

TABLES = """
CREATE TABLE IF NOT EXISTS gpkg_citytwin_change (
  layer TEXT NOT NULL, version INTEGER NOT NULL, fid INTEGER NOT NULL, what INTEGER NOT NULL,
  PRIMARY KEY (layer, version, fid)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS gpkg_citytwin_change_log (
  layer TEXT NOT NULL PRIMARY KEY, since INTEGER NOT NULL, n INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS gpkg_citytwin_stamp (
  layer TEXT NOT NULL, fid INTEGER NOT NULL, version INTEGER NOT NULL, PRIMARY KEY (layer, fid)) WITHOUT ROWID;
"""


@dataclass
class Changes:
    """Rows that one transaction brings and takes, until they are too many to be logged."""

    came: list[IntArray] = field(default_factory=list)
    gone: list[IntArray] = field(default_factory=list)
    gone_with_mesh: list[IntArray] = field(default_factory=list)
    n: int = 0

    @property
    def is_lost(self) -> bool:
        """True once there are more than the log takes."""
        return self.n > MAX_ENTRIES

    def note_came(self, fids: range) -> None:
        """New rows."""
        self.n += len(fids)
        if self.is_lost:
            self._forget()
        else:
            self.came.append(np.arange(fids.start, fids.stop, dtype=np.int64))

    def note_gone(self, fids: Iterable[int], with_mesh: Iterable[int]) -> None:
        """Closed rows, and those of them that have a mesh."""
        rows = np.fromiter(fids, np.int64)
        self.n += len(rows)
        if self.is_lost:
            self._forget()
        else:
            self.gone.append(rows)
            self.gone_with_mesh.append(np.fromiter(with_mesh, np.int64))

    def _forget(self) -> None:
        for kept in (self.came, self.gone, self.gone_with_mesh):
            kept.clear()


def write(db: sqlite3.Connection, layer: "LayerRecord", changes: Changes, version: int) -> None:
    """Log what a transaction did under the layer's new version."""
    key = layer.type.id
    if changes.is_lost:
        _start_anew(db, key, version)
        return
    came, gone = _joined(changes.came), _joined(changes.gone)
    fleeting = np.intersect1d(came, gone)  # came and went in this very transaction
    came, gone = np.setdiff1d(came, fleeting), np.setdiff1d(gone, fleeting)
    meshes = {row[0] for row in db.execute(*_among(layer.mesh, came))}
    lost = set(_joined(changes.gone_with_mesh).tolist())
    entries = [(key, version, fid, CAME + WITH_MESH * (fid in meshes)) for fid in came.tolist()]
    entries += [(key, version, fid, GONE + WITH_MESH * (fid in lost)) for fid in gone.tolist()]
    db.executemany("INSERT OR REPLACE INTO gpkg_citytwin_change VALUES (?, ?, ?, ?)", entries)
    db.execute("UPDATE gpkg_citytwin_change_log SET n = n + ? WHERE layer = ?", (len(entries), key))
    _trim(db, key, version)


def _joined(parts: list[IntArray]) -> IntArray:
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _among(table: str, fids: IntArray) -> tuple[str, tuple[str]]:
    text = row_numbers(fids)
    return f"SELECT t.fid FROM json_each(?) j CROSS JOIN {quote(table)} t ON t.fid = j.value", (text,)


def having_mesh(db: sqlite3.Connection, layer: "LayerRecord", fids: list[int]) -> list[int]:
    """Those of some rows that have a mesh."""
    return [row[0] for row in db.execute(*_among(layer.mesh, np.array(fids, np.int64)))]


def _start_anew(db: sqlite3.Connection, key: str, since: int) -> None:
    db.execute("DELETE FROM gpkg_citytwin_change WHERE layer = ?", (key,))
    db.execute("INSERT OR REPLACE INTO gpkg_citytwin_change_log VALUES (?, ?, 0)", (key, since))


def _trim(db: sqlite3.Connection, key: str, version: int) -> None:
    """Forget the older half where the log has grown too long (also by edits from outside)."""
    n = db.execute("SELECT n FROM gpkg_citytwin_change_log WHERE layer = ?", (key,)).fetchone()[0]
    if n <= MAX_ENTRIES:
        return
    row = db.execute(
        "SELECT version FROM gpkg_citytwin_change WHERE layer = ? ORDER BY version DESC LIMIT 1 OFFSET ?",
        (key, MAX_ENTRIES // 2),
    ).fetchone()
    cut = version if row is None else int(row[0])
    db.execute("DELETE FROM gpkg_citytwin_change WHERE layer = ? AND version <= ?", (key, cut))
    left = db.execute("SELECT count(*) FROM gpkg_citytwin_change WHERE layer = ?", (key,)).fetchone()[0]
    db.execute("INSERT OR REPLACE INTO gpkg_citytwin_change_log VALUES (?, ?, ?)", (key, cut, left))


@dataclass(frozen=True)
class Touched:
    """Rows that something happened to.

    Attributes
    ----------
    before : rows with a mesh that are no longer as they were
    after : rows that came or changed, if they are still there
    """

    before: IntArray
    after: IntArray


def since(db: sqlite3.Connection, layer_id: str, version: int) -> Touched | None:
    """What happened after a version of a layer; None where the log does not reach back so far or is too long."""
    mark = db.execute("SELECT since, n FROM gpkg_citytwin_change_log WHERE layer = ?", (layer_id,)).fetchone()
    if mark is None or version < mark[0]:
        return None
    rows = db.execute(
        "SELECT fid, what FROM gpkg_citytwin_change WHERE layer = ? AND version > ? ORDER BY version LIMIT ?",
        (layer_id, version, MAX_ENTRIES + 1),
    ).fetchall()
    if len(rows) > MAX_ENTRIES:
        return None
    table = np.array(rows, np.int64).reshape(-1, 2)
    fids, first = np.unique(table[:, 0], return_index=True)
    what = table[first, 1]
    was_there = (what & 3) != CAME
    return Touched(fids[was_there & (what >= WITH_MESH)], fids)


def stamps(db: sqlite3.Connection, layer_id: str) -> tuple[IntArray, IntArray]:
    """Row numbers, ascending, that were changed in place from outside, and the layer versions of it."""
    rows = db.execute("SELECT fid, version FROM gpkg_citytwin_stamp WHERE layer = ? ORDER BY fid", (layer_id,))
    table = np.array(rows.fetchall(), np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def trigger_bodies(layer: "LayerRecord") -> dict[str, str]:
    """Statements for the triggers of edits from outside: `insert`, `update`, `delete`, and `renumber` for a new fid.

    They run after the layer's version was counted up.
    """
    literal = "'" + layer.type.id.replace("'", "''") + "'"
    version = f"(SELECT version FROM gpkg_citytwin_layer WHERE id = {literal})"

    def log(row: str, what: str) -> str:
        return (
            f" INSERT OR REPLACE INTO gpkg_citytwin_change VALUES ({literal}, {version}, {row}.fid, {what});"
            f" UPDATE gpkg_citytwin_change_log SET n = n + 1 WHERE layer = {literal};"
        )

    def has_mesh(row: str) -> str:
        return f"EXISTS (SELECT 1 FROM {quote(layer.mesh)} WHERE fid = {row}.fid)"

    stamp = f" INSERT OR REPLACE INTO gpkg_citytwin_stamp SELECT {literal}, NEW.fid, {version} WHERE {has_mesh('NEW')};"
    # a row that was replaced (INSERT OR REPLACE) keeps its mesh: to the log it has changed
    came = f"CASE WHEN {has_mesh('NEW')} THEN {CHANGED + WITH_MESH} ELSE {CAME} END"
    gone = f"{GONE} + {WITH_MESH} * {has_mesh('OLD')}"
    changed = f"{CHANGED} + {WITH_MESH} * {has_mesh('NEW')}"
    forget = f" DELETE FROM gpkg_citytwin_stamp WHERE layer = {literal} AND fid = OLD.fid;"
    own = (layer.rows, layer.mesh, layer.mesh_blob)
    move = "".join(f" UPDATE OR REPLACE {quote(name)} SET fid = NEW.fid WHERE fid = OLD.fid;" for name in own)
    return {
        "insert": log("NEW", came) + stamp,
        "update": log("NEW", changed) + stamp,
        "renumber": log("OLD", gone) + forget + move + log("NEW", f"{CAME} + {WITH_MESH} * {has_mesh('NEW')}") + stamp,
        "delete": log("OLD", gone) + forget,
    }
