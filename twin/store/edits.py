"""What was changed by hand: which source's feature an edit stands in for, so that reading the source again keeps it.

A row that was edited belongs to no source (number 0). What its source said before is remembered by its hash: a source
that says the same again changes nothing; one that says something else does not win either, and is told.
"""

# ruff: noqa: S608 -- identifiers go through columns.quote, values are parameters

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import orjson

from twin.store.interface import EditConflict, EditRecord

HAND = 0
"""Number of the source of edited rows; the numbers of files begin with 1."""

CHANGED, ADDED, DELETED = "changed", "added", "deleted"

TABLES = """
CREATE TABLE IF NOT EXISTS gpkg_citytwin_edit (
  layer TEXT NOT NULL, id TEXT NOT NULL, what TEXT NOT NULL, editor TEXT NOT NULL, moment TEXT NOT NULL,
  source INTEGER, hash BLOB, fid INTEGER, seen INTEGER, differs INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (layer, id)) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Held:
    """An edit that stands in the way of a source.

    Attributes
    ----------
    what : `changed`, `added` or `deleted`
    source : number of the source whose feature it was, None where no source gave it or that source is gone
    hash : of what that source said
    """

    what: str
    source: int | None
    hash: bytes | None


@dataclass
class Met:
    """Edits that a source met while it was read: id -> whether it says something else than before the edit."""

    differs: dict[str, bool] = field(default_factory=dict)


def held(db: sqlite3.Connection, layer_id: str, ids: Sequence[str]) -> dict[str, Held]:
    """The edits among some ids."""
    if db.execute("SELECT 1 FROM gpkg_citytwin_edit WHERE layer = ? LIMIT 1", (layer_id,)).fetchone() is None:
        return {}
    rows = db.execute(
        "SELECT e.id, e.what, e.source, e.hash FROM json_each(?) j CROSS JOIN gpkg_citytwin_edit e "
        "ON e.layer = ? AND e.id = j.value",
        (orjson.dumps(list(ids)).decode(), layer_id),
    )
    return {row[0]: Held(*row[1:]) for row in rows}


def note_met(db: sqlite3.Connection, layer_id: str, met: Met, source: int, generation: int) -> None:
    """A source gave features again that were edited."""
    db.executemany(
        "UPDATE gpkg_citytwin_edit SET seen = ?, source = ?, differs = ? WHERE layer = ? AND id = ?",
        [(generation, source, int(differs), layer_id, each) for each, differs in met.differs.items()],
    )


@dataclass(frozen=True)
class Before:
    """What an edit replaces: (source number, hash, row number); None for a feature that is new."""

    id: str
    source: int | None
    hash: bytes | None
    fid: int | None


def note(
    db: sqlite3.Connection, layer_id: str, what: str, before: Iterable[Before], *, editor: str, moment: str
) -> None:
    """Remember edits; what the first edit of a feature replaced stays as it is. An added one that goes is forgotten."""
    rows = [(layer_id, each.id, what, editor, moment, each.source, each.hash, each.fid) for each in before]
    kept = "CASE WHEN source IS NULL THEN 'added' ELSE 'changed' END"
    db.executemany(
        "INSERT INTO gpkg_citytwin_edit (layer, id, what, editor, moment, source, hash, fid) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (layer, id) DO UPDATE SET "
        f"what = {"'deleted'" if what == DELETED else kept}, editor = excluded.editor, moment = excluded.moment",
        rows,
    )
    if what == DELETED:
        db.executemany(
            "DELETE FROM gpkg_citytwin_edit WHERE layer = ? AND id = ? AND hash IS NULL AND source IS NULL",
            [(layer_id, row[1]) for row in rows],
        )


def conflicts(db: sqlite3.Connection, source: int, generation: int | None) -> list[EditConflict]:
    """Edits of a source's features that the source now contradicts, or no longer gives (all of them: None)."""
    rows = db.execute(
        "SELECT layer, id, what, CASE WHEN seen IS ? THEN 'differs' ELSE 'gone' END, moment FROM gpkg_citytwin_edit "
        "WHERE source = ? AND CASE WHEN seen IS ? THEN differs ELSE what != 'deleted' END ORDER BY layer, id",
        (-1 if generation is None else generation, source, -1 if generation is None else generation),
    )
    return [EditConflict(*row) for row in rows]


def forget_source(db: sqlite3.Connection, source: int) -> None:
    """The source is gone: what was edited of it stays as it is, what was deleted needs no more watching."""
    db.execute("DELETE FROM gpkg_citytwin_edit WHERE source = ? AND what = 'deleted'", (source,))
    db.execute("UPDATE gpkg_citytwin_edit SET source = NULL, hash = NULL, what = 'added' WHERE source = ?", (source,))


def listed(db: sqlite3.Connection, layer_id: str) -> list[EditRecord]:
    """Every edit of a layer that holds, by id."""
    if db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'gpkg_citytwin_edit'").fetchone() is None:
        return []
    rows = db.execute(
        "SELECT e.id, e.what, e.editor, e.moment, s.path, e.differs FROM gpkg_citytwin_edit e "
        "LEFT JOIN gpkg_citytwin_source s ON s.id = e.source WHERE e.layer = ? ORDER BY e.id",
        (layer_id,),
    )
    return [EditRecord(row[0], row[1], row[2], row[3], row[4], bool(row[5])) for row in rows]
