"""Features into one layer's tables inside a running transaction: decide, close, insert, index.

Triggers are off on the writer's connection; what they would do row by row is done here in bulk.
"""

# ruff: noqa: S608 -- identifiers go through columns.quote, values are parameters

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from layers.errors import InvalidInput
from layers.mesh import StoredMesh
from twin.store import blocks, change_log, columns, decide, edits, geometry_blob, geometry_kind, layer_change
from twin.store.columns import quote
from twin.store.decide import Decision, SourceReading
from twin.store.geometry_blob import EncodedGeometries
from twin.store.interface import PutResult, Rows
from twin.store.layer_change import LayerChange
from twin.store.layer_record import GEOMETRY, LayerRecord
from twin.store.shared import SharedWriter

_INDEX_AT_ONCE = 2_000_000
"""Entries that wait for the R-tree, 40 bytes each."""


@dataclass(frozen=True)
class _Given:
    """Rows as they will be stored: values of all columns with `extra` last, geometries, meshes, digests."""

    records: list[tuple[Any, ...]]
    encoded: EncodedGeometries
    meshes: Sequence[StoredMesh | None]
    hashes: list[bytes]


class FeatureWriter:
    """Writes features of any layer at one moment `now`."""

    def __init__(self, connection: sqlite3.Connection, srs_id: int, now: str) -> None:
        self._db = connection
        self._srs_id = srs_id
        self._now = now
        self.shared = SharedWriter(connection)

    def put(
        self, change: LayerChange, rows: Rows, reading: SourceReading, begun: Mapping[int, int | None]
    ) -> PutResult:
        """Insert what is new, replace what changed, mark what is equal. `begun`: source number -> its generation."""
        given = self._given(change.record, rows)
        named = list(zip(rows.ids, given.hashes, strict=True))
        decided = decide.of_source(self._db, change.record, named, reading, begun)
        self._mark(change.record, decided.equal, reading)
        if decided.met.differs and reading.generation is not None:
            edits.note_met(self._db, change.record.type.id, decided.met, reading.number, reading.generation)
        self._store(change, rows, given, decided, reading)
        return PutResult(decided.outcome)

    def edit(self, change: LayerChange, rows: Rows, editor: str) -> PutResult:
        """Put features by hand; what their sources said is remembered, and kept out when they are read again."""
        key = change.record.type.id
        if len(set(rows.ids)) != len(rows.ids):
            raise InvalidInput(f"Layer {key!r} is given an id twice in one edit.", "Give each feature once.")
        given = self._given(change.record, rows)
        decided = decide.by_hand(self._db, change.record, rows.ids, given.hashes, self._now)
        new = [each for each in decided.before if each.source is None]
        edits.note(self._db, key, edits.ADDED, new, editor=editor, moment=self._now)
        old = [each for each in decided.before if each.source is not None]
        edits.note(self._db, key, edits.CHANGED, old, editor=editor, moment=self._now)
        self._store(change, rows, given, decided, SourceReading(edits.HAND, None))
        return PutResult(decided.outcome)

    def delete(self, change: LayerChange, ids: Sequence[str], editor: str) -> int:
        """Close features by hand, so that their sources do not bring them again."""
        known = decide.known_rows(self._db, change.record, ids, unnamed=True)
        before = [decide.replaced(each, row) for each, row in known.items()]
        edits.note(self._db, change.record.type.id, edits.DELETED, before, editor=editor, moment=self._now)
        self.close(change, [row.fid for row in known.values()])
        return len(known)

    def restore(self, change: LayerChange, rows: Rows, hashes: list[bytes], reading: SourceReading) -> None:
        """Insert rows of a source as they once were, under the hashes that they had."""
        given = replace(self._given(change.record, rows), hashes=hashes)
        decided = decide.by_hand(self._db, change.record, rows.ids, hashes, self._now)
        self._store(change, rows, given, decided, reading)

    def _given(self, layer: LayerRecord, rows: Rows) -> _Given:
        _check_lengths(rows)
        values = columns.to_sqlite(layer.type, rows.attributes, list(layer.columns))
        records = list(zip(*values, rows.extra, strict=True))
        encoded = self._encoded(layer, rows)
        meshes = rows.meshes if rows.meshes is not None else [None] * len(rows.ids)
        return _Given(records, encoded, meshes, _content_hashes(records, encoded.blobs, meshes))

    def _store(self, change: LayerChange, rows: Rows, given: _Given, decided: Decision, reading: SourceReading) -> None:
        """Close what goes and insert what comes."""
        layer, encoded = change.record, given.encoded
        self.close(change, decided.closing)
        chosen = np.flatnonzero((decided.outcome == "inserted") | (decided.outcome == "updated"))
        if not chosen.size:
            return
        first = self.next_fid(layer)
        fids = range(first, first + chosen.size)
        blobs, is_single = self._fitted(change, rows.geometry[chosen], [encoded.blobs[r] for r in chosen.tolist()])
        head = [
            (fid, rows.ids[row], decided.versions.get(row, 1), self._now)
            for fid, row in zip(fids, chosen.tolist(), strict=True)
        ]
        self.insert(layer, head, blobs, [given.records[row] for row in chosen.tolist()])
        facts = zip(fids, [given.hashes[row] for row in chosen.tolist()], is_single, strict=True)
        self._db.executemany(
            f"INSERT INTO {quote(layer.rows)} (fid, source, seen, hash, single) VALUES (?, ?, ?, ?, ?)",
            [(fid, reading.number, reading.generation, digest, single) for fid, digest, single in facts],
        )
        change.n_rows += chosen.size
        self._insert_meshes(change, fids, [given.meshes[row] for row in chosen.tolist()])
        self.index(change, fids, encoded.boxes[chosen], encoded.z_bounds[chosen])

    def _encoded(self, layer: LayerRecord, rows: Rows) -> EncodedGeometries:
        if layer.has_geometry:
            return geometry_blob.encode(rows.geometry, self._srs_id)
        if any(each is not None for each in rows.geometry):
            raise InvalidInput(
                f"Layer {layer.type.id!r} has no geometry column.", "Store the features in a layer with geometry."
            )
        n = len(rows.ids)
        return EncodedGeometries([None] * n, np.full((n, 4), np.nan), np.full((n, 2), np.nan))

    def _fitted(
        self, change: LayerChange, geometries: NDArray[np.object_], blobs: list[bytes | None]
    ) -> tuple[list[bytes | None], list[int | None]]:
        """Blobs that fit the column's type, which is widened where these geometries need it; who was promoted."""
        if not change.record.has_geometry:
            return blobs, [None] * len(blobs)
        found = geometry_kind.kinds(geometries)
        if not found <= change.kinds:
            before = change.column_type
            change.kinds |= found
            change.column_type = geometry_kind.column_type(change.record.type.geometry, change.kinds)
            if change.column_type.startswith("MULTI") and change.column_type != before:
                layer_change.promote_stored(self._db, change.record, self._srs_id)
        chosen = geometry_kind.singles(geometries, change.column_type)
        is_single: list[int | None] = [None] * len(blobs)
        promoted = geometry_blob.encode(geometry_kind.promoted(geometries[chosen]), self._srs_id).blobs
        for row, blob in zip(chosen.tolist(), promoted, strict=True):
            blobs[row], is_single[row] = blob, 1
        return blobs, is_single

    def _mark(self, layer: LayerRecord, fids: list[int], reading: SourceReading) -> None:
        self._db.executemany(
            f"UPDATE {quote(layer.rows)} SET seen = ?, source = ? WHERE fid = ?",
            [(reading.generation, reading.number, fid) for fid in fids],
        )

    def next_fid(self, layer: LayerRecord) -> int:
        """The number that the next row gets."""
        seq = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (layer.table,)).fetchone()
        last = [  # rows may have been renumbered from outside
            self._db.execute(f"SELECT max(fid) FROM {quote(table)}").fetchone()[0] or 0
            for table in (layer.table, layer.history)
        ]
        return max(0 if seq is None else int(seq[0]), *last) + 1

    def insert(
        self,
        layer: LayerRecord,
        head: list[tuple[int, str, int, str]],
        blobs: list[bytes | None],
        records: list[tuple[Any, ...]],
    ) -> None:
        """Rows: (fid, id, version, valid from), geometry, and the values of all columns with `extra` last."""
        names = ["fid", "id", "version", "valid_from", *map(quote, layer.columns.values()), "extra"]
        if layer.has_geometry:
            names.append(GEOMETRY)
            rows = [(*a, *b, blob) for a, b, blob in zip(head, records, blobs, strict=True)]
        else:
            rows = [a + b for a, b in zip(head, records, strict=True)]
        marks = ", ".join("?" * len(names))
        self._db.executemany(f"INSERT INTO {quote(layer.table)} ({', '.join(names)}) VALUES ({marks})", rows)

    def _insert_meshes(self, change: LayerChange, fids: range, meshes: Sequence[StoredMesh | None]) -> None:
        made = [(fid, mesh) for fid, mesh in zip(fids, meshes, strict=True) if mesh is not None]
        if not made:
            return
        self.shared.put(change.record.type.id, (mesh for _, mesh in made))
        self._db.executemany(
            f"INSERT INTO {quote(change.record.mesh)} VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [(fid, *mesh.bounds, mesh.size) for fid, mesh in made],
        )
        self._db.executemany(
            f"INSERT INTO {quote(change.record.mesh_blob)} VALUES (?, ?)", [(fid, mesh.blob) for fid, mesh in made]
        )
        change.n_meshes += len(made)
        packed = blocks.packed([(fid, *mesh.bounds, mesh.size) for fid, mesh in made])
        blocks.put_packs(self._db, change.record, change.blocks, fids, packed)

    def index(
        self, change: LayerChange, fids: range, boxes: NDArray[np.float64], z_bounds: NDArray[np.float64]
    ) -> None:
        """Note new rows for the log, their boxes for the R-tree and the extent."""
        change.log.note_came(fids)
        change.blocks.note_added(fids, boxes, z_bounds)
        present = np.flatnonzero(np.isfinite(boxes[:, 0]))
        if not present.size:
            return
        change.waiting.append((present + fids.start, boxes[present][:, [0, 2, 1, 3]]))
        if sum(len(ids) for ids, _ in change.waiting) > _INDEX_AT_ONCE:
            layer_change.index_waiting(self._db, change)

    def close(self, change: LayerChange, fids: list[int]) -> None:
        """Move rows to the history; a row made in this very transaction leaves no trace."""
        if not fids:
            return
        if change.waiting and max(fids) >= change.waiting[0][0][0]:
            layer_change.index_waiting(self._db, change)
        layer, chosen = change.record, orjson.dumps(fids).decode()
        self._note_gone(change, fids)
        self._free(layer, chosen)
        given = {"fids": chosen, "now": self._now}
        names = ["fid", "id", "version", "valid_from", "extra", *map(quote, layer.columns.values())]
        listed = ", ".join([*names, *([GEOMETRY] if layer.has_geometry else [])])
        these, kept = "(SELECT value FROM json_each(:fids))", f"(SELECT fid FROM {quote(layer.history)})"
        self._db.execute(
            f"INSERT INTO {quote(layer.history)} ({listed}, valid_to, citytwin_single) "
            f"SELECT {listed}, :now, (SELECT single FROM {quote(layer.rows)} r WHERE r.fid = t.fid) "
            f"FROM {quote(layer.table)} t WHERE fid IN {these} AND coalesce(valid_from, '') < :now",
            given,
        )
        moves = [(layer.mesh, layer.mesh_history, "fid")]
        if layer.has_geometry:
            moves.append((layer.rtree, layer.history_rtree, "id"))
        for old, new, key in moves:
            self._db.execute(
                f"INSERT INTO {quote(new)} SELECT * FROM {quote(old)} WHERE {key} IN {these} AND {key} IN {kept}",
                given,
            )
        dropped = self._db.execute(
            f"DELETE FROM {quote(layer.mesh_blob)} WHERE fid IN {these} AND fid NOT IN {kept}", given
        )
        self.shared.has_dropped |= dropped.rowcount > 0
        if layer.has_geometry:
            self._delete(layer.rtree, "id", chosen)
        self._delete(layer.rows, "fid", chosen)
        change.n_meshes -= self._delete(layer.mesh, "fid", chosen)
        change.n_rows -= self._delete(layer.table, "fid", chosen)

    def _free(self, layer: LayerRecord, chosen: str) -> None:
        """Renumber closed rows whose number another program has given to a new row."""
        taken = self._db.execute(
            f"SELECT h.fid FROM json_each(?) j CROSS JOIN {quote(layer.history)} h ON h.fid = j.value", (chosen,)
        ).fetchall()
        tables = [(layer.history, "fid"), (layer.mesh_history, "fid"), (layer.mesh_blob, "fid")]
        if layer.has_geometry:
            tables.append((layer.history_rtree, "id"))
        for (fid,) in taken:
            free = self.next_fid(layer)
            for table, key in tables:
                self._db.execute(f"UPDATE {quote(table)} SET {key} = ? WHERE {key} = ?", (free, fid))

    def _note_gone(self, change: LayerChange, fids: list[int]) -> None:
        layer = change.record
        change.blocks.note_taken(fids)
        blocks.drop_packs(self._db, layer, change.blocks, blocks.of(fids))
        is_lost = change.log.is_lost
        change.log.note_gone(fids, [] if is_lost else change_log.having_mesh(self._db, layer, fids))

    def _delete(self, table: str, key: str, chosen: str) -> int:
        deleted = self._db.execute(
            f"DELETE FROM {quote(table)} WHERE {key} IN (SELECT value FROM json_each(?))", (chosen,)
        )
        return deleted.rowcount


def _check_lengths(rows: Rows) -> None:
    n = len(rows.ids)
    found = {"geometry": len(rows.geometry), "attributes": rows.attributes.num_rows, "extra": len(rows.extra)}
    if rows.meshes is not None:
        found["meshes"] = len(rows.meshes)
    if rows.attributes.num_columns == 0:
        found.pop("attributes")  # Arrow does not count the rows of a table without columns
    wrong = {name: length for name, length in found.items() if length != n}
    if wrong:
        raise InvalidInput(f"There are {n} ids, but {wrong}.")


def _content_hashes(
    records: list[tuple[Any, ...]], blobs: list[bytes | None], meshes: Sequence[StoredMesh | None]
) -> list[bytes]:
    """One digest a row over extra, attributes, geometry and mesh.

    Trailing nulls are cut off, so that a layer that was widened does not make every row look changed.
    """
    hashes = []
    for row, blob, mesh in zip(records, blobs, meshes, strict=True):
        digest = blake2b(orjson.dumps((row[-1], *row[:-1])).rstrip(b"],nul"), digest_size=16)
        digest.update(b"\0" if blob is None else blob)
        if mesh is not None:
            digest.update(mesh.blob)
        hashes.append(digest.digest())
    return hashes
