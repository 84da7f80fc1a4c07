"""The writing side: one transaction that inserts, closes and re-reads features, and keeps every index right.

Triggers are switched off on the writer's connection; what they would do row by row (R-tree, feature count, version
counters) is done here in bulk.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from layers.catalogue import LayerType
from layers.errors import InvalidInput
from layers.mesh import StoredMesh
from layers.report import Report
from twin.scope import EVERYTHING
from twin.store import columns, geometry_blob, gpkg_schema, registry
from twin.store.columns import quote
from twin.store.interface import Asset, PutResult, Rows, SourceRecord
from twin.store.layer_record import GEOMETRY, LayerRecord, merged, new_record, to_json

_CLOSE_AT_ONCE = 10_000


@dataclass
class _Touched:
    """What a transaction did to one layer, for the counters written at its end."""

    record: LayerRecord
    boxes: list[NDArray[np.float64]] = field(default_factory=list)
    n_rows: int = 0
    n_meshes: int = 0
    must_measure: bool = False


@dataclass
class _Reading:
    """A source that is being read: its number, the generation its rows are marked with, the assets it gave."""

    number: int
    generation: int
    assets: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class _Known:
    """A current row, as `put` needs to know it."""

    fid: int
    version: int
    source: int | None
    seen: int | None
    hash: bytes | None


class GeoPackageBatch:
    """Implements `WriteBatch` on a connection whose transaction has begun and whose triggers are off."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._srs_id = int(registry.meta(connection, "srs_id"))
        self._now = _next_moment(str(registry.meta(connection, "last_write")))
        self._readings: dict[str, _Reading] = {}
        self._touched: dict[str, _Touched] = {}
        self._is_changed = False

    # layers ---------------------------------------------------------------------------------------------------------

    def ensure_layer(self, layer_type: LayerType) -> None:
        """Create the layer's tables, or widen them by attributes they lack and types that do not suffice."""
        if not layer_type.is_vector:
            raise InvalidInput(f"Layer {layer_type.id!r} is a {layer_type.geometry} layer.", "Store it as an asset.")
        row = self._db.execute("SELECT 1 FROM gpkg_citytwin_layer WHERE id = ?", (layer_type.id,)).fetchone()
        if row is None:
            self._create_layer(layer_type)
            return
        old = registry.record(self._db, layer_type.id, EVERYTHING)
        new = LayerRecord(merged(old.type, layer_type), old.table, old.columns)
        if new.type == old.type:
            return
        if (old.type.geometry == "none") != (new.type.geometry == "none"):
            raise InvalidInput(
                f"Layer {layer_type.id!r} is stored {'without' if old.type.geometry == 'none' else 'with'} geometry.",
                "Give the source another layer id.",
            )
        names = columns.column_names(new.type.attributes, old.columns)
        new = LayerRecord(new.type, old.table, names)
        for attribute in new.type.attributes:
            before = old.type.attribute(attribute.name)
            if before is None:
                gpkg_schema.add_column(self._db, new, attribute)
            elif before.type != attribute.type:
                gpkg_schema.retype_column(self._db, new, attribute, before.type)
        self._db.execute(
            "UPDATE gpkg_citytwin_layer SET type = ?, columns = ? WHERE id = ?",
            (to_json(new.type).decode(), orjson.dumps(names).decode(), layer_type.id),
        )
        self._touch(layer_type.id).record = new

    def _create_layer(self, layer_type: LayerType) -> None:
        taken = {row[0].casefold() for row in self._db.execute("SELECT name FROM sqlite_schema WHERE name NOT NULL")}
        layer = new_record(layer_type, taken)
        gpkg_schema.create_layer(self._db, layer, self._srs_id)
        self._db.execute(
            "INSERT INTO gpkg_citytwin_layer (id, table_name, type, columns, version, updated) VALUES (?, ?, ?, ?, 0, ?)",
            (layer_type.id, layer.table, to_json(layer_type).decode(), orjson.dumps(layer.columns).decode(), self._now),
        )
        self._touch(layer_type.id)

    def _touch(self, layer_id: str) -> _Touched:
        self._is_changed = True
        if layer_id not in self._touched:
            self._touched[layer_id] = _Touched(registry.record(self._db, layer_id, EVERYTHING))
        return self._touched[layer_id]

    # sources --------------------------------------------------------------------------------------------------------

    def begin_source(self, source: SourceRecord) -> None:
        """Start (re)reading a source: its features count as unseen until they are put again."""
        number = registry.put_source(self._db, source)
        self._readings[source.path] = _Reading(number, self._next_generation())
        self._is_changed = True

    def _next_generation(self) -> int:
        row = self._db.execute(
            "UPDATE gpkg_citytwin_meta SET value = value + 1 WHERE key = 'generation' RETURNING value"
        )
        return int(row.fetchone()[0])

    def _reading(self, source: str) -> _Reading:
        if source not in self._readings:
            raise InvalidInput(f"Source {source!r} was not begun.", "Call begin_source first.")
        return self._readings[source]

    def put_asset(self, asset: Asset) -> None:
        """Register a raster or point cloud, replacing one of the same id."""
        registry.put_asset(self._db, asset)
        if asset.source in self._readings:
            self._readings[asset.source].assets.add(asset.id)
        self._is_changed = True

    def finish_source(self, source: SourceRecord, report: Report) -> dict[str, int]:
        """Close what the source no longer holds, keep its report; returns features closed by layer."""
        reading = self._reading(source.path)
        registry.put_source(self._db, source)
        self._db.execute(
            "INSERT OR REPLACE INTO gpkg_citytwin_report VALUES (?, ?)",
            (source.path, orjson.dumps(report.to_dict(), default=str, option=orjson.OPT_SERIALIZE_NUMPY).decode()),
        )
        self._drop_assets(source.path, keep=reading.assets)
        self._is_changed = True
        return self._close_where("source = ? AND seen IS NOT ?", (reading.number, reading.generation))

    def remove_source(self, path: str) -> dict[str, int]:
        """Close every feature and drop every asset of a source that is gone; returns features closed by layer."""
        row = self._db.execute("SELECT id FROM gpkg_citytwin_source WHERE path = ?", (path,)).fetchone()
        if row is None:
            return {}
        closed = self._close_where("source = ?", (row[0],))
        self._drop_assets(path, keep=set())
        self._db.execute("DELETE FROM gpkg_citytwin_source WHERE path = ?", (path,))
        self._db.execute("DELETE FROM gpkg_citytwin_report WHERE source = ?", (path,))
        self._readings.pop(path, None)
        self._is_changed = True
        return closed

    def _drop_assets(self, path: str, keep: set[str]) -> None:
        ids = [row[0] for row in self._db.execute("SELECT id FROM gpkg_citytwin_asset WHERE source = ?", (path,))]
        self._db.executemany(
            "DELETE FROM gpkg_citytwin_asset WHERE id = ?", [(each,) for each in ids if each not in keep]
        )

    def _close_where(self, condition: str, parameters: tuple[Any, ...]) -> dict[str, int]:
        closed: dict[str, int] = {}
        for layer_id in [row[0] for row in self._db.execute("SELECT id FROM gpkg_citytwin_layer ORDER BY id")]:
            layer = registry.record(self._db, layer_id, EVERYTHING)
            while fids := [
                row[0]
                for row in self._db.execute(
                    f"SELECT fid FROM {quote(layer.rows)} WHERE {condition} LIMIT {_CLOSE_AT_ONCE}",  # noqa: S608
                    parameters,
                )
            ]:
                self._close(self._touch(layer_id), fids)
                closed[layer_id] = closed.get(layer_id, 0) + len(fids)
        return closed

    # features -------------------------------------------------------------------------------------------------------

    def put(self, layer_id: str, source: str, rows: Rows) -> PutResult:
        """Insert, or close the old version and add one where content changed, or leave what is equal.

        An id that another source holds, or that this source already gave in this reading, is a `duplicate` and is
        not stored. What another source held when it was begun in this transaction, and has not put again, is free.
        """
        reading = self._reading(source)
        touched = self._touch(layer_id)
        layer = touched.record
        values = columns.to_sqlite(layer.type, rows.attributes, list(layer.columns))
        encoded = geometry_blob.encode(rows.geometry, self._srs_id) if layer.has_geometry else None
        if encoded is None and any(each is not None for each in rows.geometry):
            raise InvalidInput(f"Layer {layer_id!r} has no geometry column.", "Store it in a layer with geometry.")
        blobs = encoded.blobs if encoded else [None] * len(rows.ids)
        meshes = rows.meshes if rows.meshes is not None else [None] * len(rows.ids)
        records = list(zip(*values, rows.extra, strict=True))
        hashes = _content_hashes(records, blobs, meshes)
        outcome, versions, closing, seen_again = self._decide(layer, rows.ids, hashes, reading)
        self._close(touched, closing)
        self._mark(layer, seen_again, reading)
        chosen = np.flatnonzero((outcome == "inserted") | (outcome == "updated"))
        if chosen.size:
            self._insert(touched, chosen.tolist(), rows.ids, records, blobs, hashes, versions, reading)
            fids = self._last_fids(layer, chosen.size)
            self._insert_meshes(touched, chosen.tolist(), fids, meshes)
            if encoded:
                self._index(touched, fids, encoded.boxes[chosen], encoded.z_bounds[chosen])
        return PutResult(outcome)

    def _decide(
        self, layer: LayerRecord, ids: Sequence[str], hashes: list[bytes], reading: _Reading
    ) -> tuple[NDArray[np.str_], dict[int, int], list[int], list[int]]:
        """Outcome of each row, version of the rows that are not their id's first, fids to close, fids left equal."""
        known = self._known(layer, ids)
        before = self._last_closed_versions(layer, [each for each in ids if each not in known])
        begun = {each.number: each.generation for each in self._readings.values()}
        outcome = np.full(len(ids), "inserted", dtype="<U9")
        versions: dict[int, int] = {}
        closing: list[int] = []
        equal: list[int] = []
        given: set[str] = set()
        for row, feature_id in enumerate(ids):
            if feature_id in given:
                outcome[row] = "duplicate"
                continue
            old = known.get(feature_id)
            if old is None:
                if feature_id in before:
                    versions[row] = before[feature_id] + 1
            elif old.source != reading.number and begun.get(old.source or -1) in {None, old.seen}:
                outcome[row] = "duplicate"
                continue
            elif old.seen == reading.generation:
                outcome[row] = "duplicate"
                continue
            elif old.hash == hashes[row]:
                outcome[row] = "unchanged"
                equal.append(old.fid)
            else:
                outcome[row] = "updated"
                versions[row] = old.version + 1
                closing.append(old.fid)
            given.add(feature_id)
        return outcome, versions, closing, equal

    def _known(self, layer: LayerRecord, ids: Sequence[str]) -> dict[str, _Known]:
        found = self._db.execute(
            "SELECT t.id, t.fid, t.version, r.source, r.seen, r.hash FROM json_each(?) j "  # noqa: S608
            f"CROSS JOIN {quote(layer.table)} t ON t.id = j.value LEFT JOIN {quote(layer.rows)} r ON r.fid = t.fid",
            (orjson.dumps(ids).decode(),),
        )
        return {row[0]: _Known(row[1], row[2] or 1, *row[3:]) for row in found}

    def _last_closed_versions(self, layer: LayerRecord, ids: list[str]) -> dict[str, int]:
        if self._db.execute(f"SELECT 1 FROM {quote(layer.history)} LIMIT 1").fetchone() is None:  # noqa: S608
            return {}
        found = self._db.execute(
            f"SELECT h.id, max(h.version) FROM json_each(?) j CROSS JOIN {quote(layer.history)} h ON h.id = j.value "  # noqa: S608
            "GROUP BY h.id",
            (orjson.dumps(ids).decode(),),
        )
        return dict(found.fetchall())

    def _mark(self, layer: LayerRecord, fids: list[int], reading: _Reading) -> None:
        self._db.executemany(
            f"UPDATE {quote(layer.rows)} SET seen = ?, source = ? WHERE fid = ?",  # noqa: S608
            [(reading.generation, reading.number, fid) for fid in fids],
        )

    def _insert(
        self,
        touched: _Touched,
        chosen: list[int],
        ids: Sequence[str],
        records: list[tuple[Any, ...]],
        blobs: list[bytes | None],
        hashes: list[bytes],
        versions: dict[int, int],
        reading: _Reading,
    ) -> None:
        layer = touched.record
        first = self._next_fid(layer)
        names = [quote(name) for name in layer.columns.values()]
        geometry = [GEOMETRY] if layer.has_geometry else []
        listed = ", ".join([*geometry, "fid", "id", "version", "valid_from", *names, "extra"])
        marks = ", ".join("?" * (5 + len(geometry) + len(names)))
        now = self._now
        head = [
            ((blobs[row],) if geometry else ()) + (first + at, ids[row], versions.get(row, 1), now)
            for at, row in enumerate(chosen)
        ]
        self._db.executemany(
            f"INSERT INTO {quote(layer.table)} ({listed}) VALUES ({marks})",  # noqa: S608
            [a + records[row] for a, row in zip(head, chosen, strict=True)],
        )
        self._db.executemany(
            f"INSERT INTO {quote(layer.rows)} (fid, source, seen, hash) VALUES (?, ?, ?, ?)",  # noqa: S608
            [(first + at, reading.number, reading.generation, hashes[row]) for at, row in enumerate(chosen)],
        )
        touched.n_rows += len(chosen)

    def _next_fid(self, layer: LayerRecord) -> int:
        row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (layer.table,)).fetchone()
        return 1 if row is None else int(row[0]) + 1

    def _last_fids(self, layer: LayerRecord, n: int) -> range:
        after = self._next_fid(layer)
        return range(after - n, after)

    def _insert_meshes(
        self, touched: _Touched, chosen: list[int], fids: range, meshes: Sequence[StoredMesh | None]
    ) -> None:
        made = [(fid, mesh) for fid, row in zip(fids, chosen, strict=True) if (mesh := meshes[row]) is not None]
        if not made:
            return
        self._db.executemany(
            f"INSERT INTO {quote(touched.record.mesh)} VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
            [(fid, *mesh.bounds, len(mesh.blob)) for fid, mesh in made],
        )
        self._db.executemany(
            f"INSERT INTO {quote(touched.record.mesh_blob)} VALUES (?, ?)",  # noqa: S608
            [(fid, mesh.blob) for fid, mesh in made],
        )
        touched.n_meshes += len(made)

    def _index(self, touched: _Touched, fids: range, boxes: NDArray[np.float64], z_bounds: NDArray[np.float64]) -> None:
        present = np.flatnonzero(np.isfinite(boxes[:, 0]))
        if not present.size:
            return
        entries = boxes[present][:, [0, 2, 1, 3]].tolist()
        self._db.executemany(
            f"INSERT INTO {quote(touched.record.rtree)} VALUES (?, ?, ?, ?, ?)",  # noqa: S608
            [(fids[row], *entry) for row, entry in zip(present.tolist(), entries, strict=True)],
        )
        touched.boxes.append(_extent(boxes, z_bounds))

    def _close(self, touched: _Touched, fids: list[int]) -> None:
        """Move rows to the history; a row made in this very transaction leaves no trace."""
        if not fids:
            return
        layer, chosen = touched.record, (orjson.dumps(fids).decode(),)
        these = "(SELECT value FROM json_each(?))"
        table, rows = quote(layer.table), quote(layer.rows)
        names = ", ".join(
            quote(name)
            for name in (
                *(["geom"] if layer.has_geometry else []), "fid", "id", "version", "valid_from", "extra",
                *layer.columns.values(),
            )
        )  # fmt: skip
        self._db.execute(
            f"INSERT INTO {quote(layer.history)} ({names}, valid_to, single) "  # noqa: S608
            f"SELECT {names}, ?2, (SELECT single FROM {rows} r WHERE r.fid = t.fid) FROM {table} t "
            "WHERE fid IN (SELECT value FROM json_each(?1)) AND coalesce(valid_from, '') < ?2",
            (*chosen, self._now),
        )
        moves = [(layer.mesh, layer.mesh_history, "fid")]
        if layer.has_geometry:
            moves.append((layer.rtree, layer.history_rtree, "id"))
        for old, new, key in moves:
            self._db.execute(
                f"INSERT INTO {quote(new)} SELECT * FROM {quote(old)} WHERE {key} IN {these} "  # noqa: S608
                f"AND {key} IN (SELECT fid FROM {quote(layer.history)} WHERE fid IN {these})",
                chosen * 2,
            )
        touched.n_meshes -= self._delete(layer.mesh, "fid", chosen)
        self._db.execute(
            f"DELETE FROM {quote(layer.mesh_blob)} WHERE fid IN {these} AND fid NOT IN "  # noqa: S608
            f"(SELECT fid FROM {quote(layer.mesh_history)} WHERE fid IN {these})",
            chosen * 2,
        )
        if layer.has_geometry:
            self._delete(layer.rtree, "id", chosen)
        self._delete(layer.rows, "fid", chosen)
        touched.n_rows -= self._delete(layer.table, "fid", chosen)
        touched.must_measure = True

    def _delete(self, table: str, key: str, chosen: tuple[str]) -> int:
        deleted = self._db.execute(
            f"DELETE FROM {quote(table)} WHERE {key} IN (SELECT value FROM json_each(?))",  # noqa: S608
            chosen,
        )
        return deleted.rowcount

    # end ------------------------------------------------------------------------------------------------------------

    def finish(self) -> bool:
        """Write the counters; False (and nothing written) where nothing was changed at all."""
        if not self._is_changed:
            return False
        version = self._db.execute(
            "UPDATE gpkg_citytwin_meta SET value = value + 1 WHERE key = 'version' RETURNING value"
        ).fetchone()[0]
        self._db.execute("UPDATE gpkg_citytwin_meta SET value = ? WHERE key = 'last_write'", (self._now,))
        for layer_id, touched in self._touched.items():
            self._finish_layer(layer_id, touched, int(version))
        return True

    def _finish_layer(self, layer_id: str, touched: _Touched, version: int) -> None:
        layer = touched.record
        self._db.execute(
            "UPDATE gpkg_ogr_contents SET feature_count = feature_count + ? WHERE table_name = ?",
            (touched.n_rows, layer.table),
        )
        extent = self._extent_now(layer_id, touched)
        self._db.execute(
            "UPDATE gpkg_citytwin_layer SET version = ?, updated = ?, mesh_count = mesh_count + ?, "
            "min_x = ?, min_y = ?, max_x = ?, max_y = ?, min_z = ?, max_z = ? WHERE id = ?",
            (version, self._now, touched.n_meshes, *extent, layer_id),
        )
        self._db.execute(
            "UPDATE gpkg_contents SET last_change = ?, min_x = ?, min_y = ?, max_x = ?, max_y = ? WHERE table_name = ?",
            (self._now, *extent[:4], layer.table),
        )

    def _extent_now(self, layer_id: str, touched: _Touched) -> list[float | None]:
        """min x, min y, max x, max y, min z, max z of the layer: grown, or measured again after rows were closed."""
        if touched.must_measure and touched.record.has_geometry:
            parts = self._measure(touched.record)
        else:
            before = self._db.execute(
                "SELECT min_x, min_y, max_x, max_y, min_z, max_z FROM gpkg_citytwin_layer WHERE id = ?", (layer_id,)
            ).fetchone()
            parts = [np.array(before, dtype=np.float64), *touched.boxes]
        if not parts:
            return [None] * 6
        table = np.array(parts)
        low = np.fmin.reduce(table[:, [0, 1, 4]])
        high = np.fmax.reduce(table[:, [2, 3, 5]])
        return [None if np.isnan(v) else float(v) for v in (low[0], low[1], high[0], high[1], low[2], high[2])]

    def _measure(self, layer: LayerRecord) -> list[NDArray[np.float64]]:
        cursor = self._db.execute(
            f"SELECT substr({GEOMETRY}, 1, 56) FROM {quote(layer.table)} WHERE {GEOMETRY} IS NOT NULL"  # noqa: S608
        )
        parts = []
        while rows := cursor.fetchmany(100_000):
            boxes, heights = geometry_blob.envelopes([row[0] for row in rows])
            parts.append(_extent(boxes, heights))
        return parts


def _extent(boxes: NDArray[np.float64], z_bounds: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = np.fmin.reduce(boxes[:, :2]), np.fmax.reduce(boxes[:, 2:])
    return np.array([*low, *high, np.fmin.reduce(z_bounds[:, 0]), np.fmax.reduce(z_bounds[:, 1])])


def _content_hashes(
    records: list[tuple[Any, ...]], blobs: list[bytes | None], meshes: Sequence[StoredMesh | None]
) -> list[bytes]:
    """One digest a row over attributes, extra, geometry and mesh.

    Trailing nulls are cut off, so that a layer that was widened does not make every row look changed.
    """
    hashes = []
    for row, blob, mesh in zip(records, blobs, meshes, strict=True):
        digest = blake2b(orjson.dumps((row[-1], *row[:-1])).rstrip(b"],nul"), digest_size=16)
        digest.update(b"" if blob is None else blob)
        if mesh is not None:
            digest.update(mesh.blob)
        hashes.append(digest.digest())
    return hashes


def _next_moment(last: str) -> str:
    """Now, or a millisecond after the last write: no two writes share a moment."""
    now = datetime.now(UTC)
    if last and registry.timestamp(now) <= last:
        now = datetime.fromisoformat(last) + timedelta(milliseconds=1)
    return registry.timestamp(now)
