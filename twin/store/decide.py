"""What is to become of each row that is put: inserted, put in place of another, left alone, or refused."""

# ruff: noqa: S608 -- identifiers go through columns.quote, values are parameters

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import orjson
from numpy.typing import NDArray

from twin.store import edits
from twin.store.columns import quote
from twin.store.edits import Before, Held, Met
from twin.store.layer_record import LayerRecord


@dataclass
class SourceReading:
    """A source that is being read: its number, the generation its rows are marked with, the assets it gave."""

    number: int
    generation: int | None
    assets: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Known:
    """A current row, as it needs to be known."""

    fid: int
    version: int
    valid_from: str
    source: int | None
    seen: int | None
    hash: bytes | None


@dataclass(frozen=True)
class Decision:
    """Outcome of each row, versions of rows that are not their id's first, fids to close, fids left equal.

    `met` are edits that the source's features meet, `before` what is replaced by an edit.
    """

    outcome: NDArray[np.str_]
    versions: dict[int, int] = field(default_factory=dict)
    closing: list[int] = field(default_factory=list)
    equal: list[int] = field(default_factory=list)
    met: Met = field(default_factory=Met)
    before: list[Before] = field(default_factory=list)


def of_source(
    db: sqlite3.Connection,
    layer: LayerRecord,
    rows: Sequence[tuple[str, bytes]],
    reading: SourceReading,
    begun: Mapping[int, int | None],
) -> Decision:
    """For features of a source: their ids and the digests of their content.

    `begun`: number of each source begun in this transaction -> its generation.
    """
    ids = [row[0] for row in rows]
    known, held = known_rows(db, layer, ids), edits.held(db, layer.type.id, ids)
    before = _last_closed_versions(db, layer, [each for each in ids if each not in known])
    decided = Decision(np.full(len(ids), "inserted", dtype="<U9"))
    given: set[str] = set()
    for row, (feature_id, digest) in enumerate(rows):
        old, edit = known.get(feature_id), held.get(feature_id)
        if feature_id in given:
            decided.outcome[row] = "duplicate"
        elif edit is not None and edit.source in {None, reading.number}:
            given.add(feature_id)
            decided.met.differs[feature_id] = edit.hash != digest
            decided.outcome[row] = _against(edit, digest)
        elif old is not None and _is_taken(old, reading, begun):
            decided.outcome[row] = "duplicate"
        else:
            given.add(feature_id)
            _replace(decided, row, old, digest, before.get(feature_id, 0))
    return decided


def _against(edit: Held, digest: bytes) -> str:
    if edit.what == edits.DELETED:
        return "deleted"
    return "unchanged" if edit.hash == digest else "edited"


def by_hand(db: sqlite3.Connection, layer: LayerRecord, ids: Sequence[str], hashes: list[bytes], now: str) -> Decision:
    """For edits: they win over every source."""
    known = known_rows(db, layer, ids, unnamed=True)
    closed = _last_closed_versions(db, layer, [each for each in ids if each not in known])
    decided = Decision(np.full(len(ids), "inserted", dtype="<U9"))
    for row, feature_id in enumerate(ids):
        old = known.get(feature_id)
        _replace(decided, row, old, hashes[row], closed.get(feature_id, 0))
        if old is not None and decided.outcome[row] == "updated" and old.valid_from == now:
            decided.versions[row] = old.version  # made in this very transaction: nobody has seen it
        if decided.outcome[row] != "unchanged":
            decided.before.append(replaced(feature_id, old))
    return decided


def replaced(feature_id: str, old: Known | None) -> Before:
    """What an edit of that feature replaces."""
    if old is None or old.source in {None, edits.HAND}:
        return Before(feature_id, None, None, None)
    return Before(feature_id, old.source, old.hash, old.fid)


def _replace(decided: Decision, row: int, old: Known | None, digest: bytes, last_version: int) -> None:
    if old is None:
        if last_version:
            decided.versions[row] = last_version + 1
    elif old.hash == digest:
        decided.outcome[row] = "unchanged"
        decided.equal.append(old.fid)
    else:
        decided.outcome[row] = "updated"
        decided.versions[row] = old.version + 1
        decided.closing.append(old.fid)


def known_rows(
    db: sqlite3.Connection, layer: LayerRecord, ids: Sequence[str], *, unnamed: bool = False
) -> dict[str, Known]:
    """The current rows of some ids. `unnamed`: also of rows without id, which are called by their number (`fid-7`)."""
    facts = "t.fid, t.version, coalesce(t.valid_from, ''), r.source, r.seen, r.hash"
    tables = f"{quote(layer.table)} t ON {{}} LEFT JOIN {quote(layer.rows)} r ON r.fid = t.fid"
    found = db.execute(
        f"SELECT t.id, {facts} FROM json_each(?) j CROSS JOIN {tables.format('t.id = j.value')}",
        (orjson.dumps(list(ids)).decode(),),
    ).fetchall()
    numbers = [int(each[4:]) for each in ids if each.startswith("fid-") and each[4:].isdigit()] if unnamed else []
    if numbers:
        found += db.execute(
            f"SELECT 'fid-' || t.fid, {facts} FROM json_each(?) j CROSS JOIN {tables.format('t.fid = j.value')} "
            "WHERE t.id IS NULL",
            (orjson.dumps(numbers).decode(),),
        ).fetchall()
    return {row[0]: Known(row[1], row[2] or 1, *row[3:]) for row in found}


def _last_closed_versions(db: sqlite3.Connection, layer: LayerRecord, ids: list[str]) -> dict[str, int]:
    if db.execute(f"SELECT 1 FROM {quote(layer.history)} LIMIT 1").fetchone() is None:
        return {}
    found = db.execute(
        f"SELECT h.id, max(h.version) FROM json_each(?) j CROSS JOIN {quote(layer.history)} h ON h.id = j.value "
        "GROUP BY h.id",
        (orjson.dumps(ids).decode(),),
    )
    return dict(found.fetchall())


def _is_taken(old: Known, reading: SourceReading, begun: Mapping[int, int | None]) -> bool:
    """True if this source gave the id before in this reading, or another source holds it and has not let go."""
    if old.source == reading.number:
        return old.seen == reading.generation
    return old.source is None or old.source not in begun or old.seen == begun[old.source]
