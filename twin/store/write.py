"""The writing side: one transaction over layers, sources, features and assets."""

# ruff: noqa: S608 -- identifiers go through columns.quote, values are parameters

import sqlite3
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from layers.catalogue import LayerType
from layers.errors import InvalidInput
from layers.mesh import StoredMesh
from layers.report import Report
from twin.scope import EVERYTHING
from twin.store import (
    blocks,
    columns,
    derived,
    edits,
    gpkg_schema,
    layer_change,
    mesh_read,
    query_plan,
    read,
    registry,
    revert,
    shared,
)  # fmt: skip
from twin.store.columns import quote
from twin.store.decide import SourceReading
from twin.store.feature_writer import FeatureWriter
from twin.store.interface import Asset, EditConflict, Features, PutResult, Query, Rows, SourceRecord
from twin.store.layer_change import LayerChange
from twin.store.layer_record import LayerRecord, merged, new_record, to_json

_CLOSE_AT_ONCE = 10_000


class GeoPackageBatch:
    """Implements `WriteBatch` on a connection whose transaction has begun and whose triggers are off."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._srs_id = int(registry.meta(connection, "srs_id"))
        self._now = _next_moment(str(registry.meta(connection, "last_write")))
        self._features = FeatureWriter(connection, self._srs_id, self._now)
        self._readings: dict[str, SourceReading] = {}
        self._changes: dict[str, LayerChange] = {}
        self._is_changed = False
        if not blocks.exist(connection):
            records = [registry.record(connection, row[0], EVERYTHING) for row in self._layer_ids()]
            gpkg_schema.bring_up_to_date(connection, records)

    def ensure_layer(self, layer_type: LayerType) -> None:
        """Create the layer's tables, or widen them by attributes they lack and types that do not suffice."""
        if not layer_type.is_vector:
            raise InvalidInput(f"Layer {layer_type.id!r} is a {layer_type.geometry} layer.", "Store it as an asset.")
        row = self._db.execute("SELECT 1 FROM gpkg_citytwin_layer WHERE id = ?", (layer_type.id,)).fetchone()
        if row is None:
            self._create_layer(layer_type)
            return
        old = registry.record(self._db, layer_type.id, EVERYTHING)
        new_type = merged(old.type, layer_type)
        if new_type != old.type:
            self._widen(old, new_type)
        gpkg_schema.index_series(self._db, registry.record(self._db, layer_type.id, EVERYTHING))

    def _create_layer(self, layer_type: LayerType) -> None:
        taken = {row[0].casefold() for row in self._db.execute("SELECT name FROM sqlite_schema WHERE name NOT NULL")}
        layer = new_record(layer_type, taken)
        gpkg_schema.create_layer(self._db, layer, self._srs_id)
        self._db.execute(
            "INSERT INTO gpkg_citytwin_layer (id, table_name, type, columns, version, updated) "
            "VALUES (?, ?, ?, ?, 0, ?)",
            (layer_type.id, layer.table, to_json(layer_type).decode(), orjson.dumps(layer.columns).decode(), self._now),
        )
        self._change(layer_type.id)

    def _widen(self, old: LayerRecord, new_type: LayerType) -> None:
        if (old.type.geometry == "none") != (new_type.geometry == "none"):
            raise InvalidInput(
                f"Layer {new_type.id!r} is stored {'with' if old.has_geometry else 'without'} geometry.",
                "Give the source another layer id.",
            )
        names = columns.column_names(new_type.attributes, old.columns)
        new = LayerRecord(new_type, old.table, names)
        for attribute in new_type.attributes:
            before = old.type.attribute(attribute.name)
            if before is None:
                gpkg_schema.add_column(self._db, new, attribute)
            elif before.type != attribute.type:
                gpkg_schema.retype_column(self._db, new, attribute, before.type)
        self._db.execute(
            "UPDATE gpkg_citytwin_layer SET type = ?, columns = ? WHERE id = ?",
            (to_json(new_type).decode(), orjson.dumps(names).decode(), new_type.id),
        )
        self._change(new_type.id).record = new

    def _change(self, layer_id: str) -> LayerChange:
        self._is_changed = True
        if layer_id not in self._changes:
            self._changes[layer_id] = layer_change.begin(registry.record(self._db, layer_id, EVERYTHING))
        return self._changes[layer_id]

    def begin_source(self, source: SourceRecord) -> None:
        """Start (re)reading a source: its features count as unseen until they are put again."""
        number = registry.put_source(self._db, source)
        generation = self._db.execute(
            "UPDATE gpkg_citytwin_meta SET value = value + 1 WHERE key = 'generation' RETURNING value"
        ).fetchone()[0]
        self._readings[source.path] = SourceReading(number, int(generation))
        self._is_changed = True

    def _reading(self, source: str) -> SourceReading:
        if source not in self._readings:
            raise InvalidInput(f"Source {source!r} was not begun.", "Call begin_source first.")
        return self._readings[source]

    def put(self, layer_id: str, source: str, rows: Rows) -> PutResult:
        """Insert, or close the old version and add one where content changed, or leave what is equal.

        An id that another source holds, or that this source already gave in this reading, is a `duplicate` and is
        not stored. What another source held when it was begun in this transaction, and has not put again, is free.
        """
        begun = {each.number: each.generation for each in self._readings.values()}
        return self._features.put(self._change(layer_id), rows, self._reading(source), begun)

    def touched(self) -> set[str]:
        """Layers that something was put into, or closed in, by this transaction."""
        return set(self._changes)

    def query(self, layer_id: str, query: Query, batch_size: int = 10_000) -> Iterator[Features]:
        """Current features as this transaction sees them; nothing where there is no such layer. No `region`."""
        if not self._db.execute("SELECT 1 FROM gpkg_citytwin_layer WHERE id = ?", (layer_id,)).fetchone():
            return
        asked = query_plan.plan(registry.record(self._db, layer_id, EVERYTHING), query)
        yield from read.stream(self._db, asked, query, batch_size)

    def count(self, layer_id: str) -> int:
        """Number of current features as this transaction sees them; 0 where there is no such layer."""
        if not self._db.execute("SELECT 1 FROM gpkg_citytwin_layer WHERE id = ?", (layer_id,)).fetchone():
            return 0
        change = self._changes.get(layer_id)
        stored = registry.count(self._db, registry.record(self._db, layer_id, EVERYTHING))
        return stored + (change.n_rows if change else 0)

    def set_derived(self, layer_id: str, fids: NDArray[np.int64], values: pa.Table) -> None:
        """Current rows take values that follow from other features; their source's content stays the same.

        A row that is older than this transaction gets a new version. Give only rows whose values change.
        """
        if len(fids):
            derived.set_derived(
                derived.Session(self._db, self._features, self._now), self._change(layer_id), fids, values
            )

    def edit(self, layer_id: str, rows: Rows, editor: str) -> PutResult:
        """Put features by hand: whoever holds the id gives it up, now and when its source is read again."""
        return self._features.edit(self._change(layer_id), rows, editor)

    def delete(self, layer_id: str, ids: Sequence[str], editor: str) -> int:
        """Close features by hand, so that their sources do not bring them again; returns how many there were."""
        return self._features.delete(self._change(layer_id), ids, editor)

    def revert(self, layer_id: str, ids: Sequence[str]) -> list[str]:
        """Withdraw edits: what the source said before comes back; returns sources that are read again for it."""
        return revert.revert(self._db, self._features, self._change(layer_id), ids)

    def edit_conflicts(self, source: str) -> list[EditConflict]:
        """Edits that a source, as far as it was read here, contradicts; of one that was not begun, all that stay."""
        row = self._db.execute("SELECT id FROM gpkg_citytwin_source WHERE path = ?", (source,)).fetchone()
        reading = self._readings.get(source)
        return [] if row is None else edits.conflicts(self._db, row[0], reading.generation if reading else None)

    def meshes(self, layer_id: str, fids: NDArray[np.int64]) -> list[StoredMesh | None]:
        """Meshes of current rows as they are stored, each copy with its shape; None where there is none."""
        found = mesh_read.stored(self._db, registry.record(self._db, layer_id, EVERYTHING), fids)
        whole = shared.with_shapes(self._db, found)
        return [whole.get(fid) for fid in fids.tolist()]

    def put_asset(self, asset: Asset) -> None:
        """Register a raster or point cloud, replacing one of the same id."""
        registry.put_asset(self._db, asset)
        if asset.source in self._readings:
            self._readings[asset.source].assets.add(asset.id)
        self._is_changed = True

    def finish_source(self, source: SourceRecord, report: Report) -> dict[str, int]:
        """Close what the source no longer holds, count that in its report, keep it; features closed by layer."""
        reading = self._reading(source.path)
        registry.put_source(self._db, source)
        registry.drop_assets(self._db, source.path, keep=reading.assets)
        closed = self._close_where("source = ? AND seen IS NOT ?", (reading.number, reading.generation))
        report.note_closed(closed)
        registry.put_report(self._db, source.path, report)
        return closed

    def remove_source(self, path: str) -> dict[str, int]:
        """Close every feature and drop every asset of a source that is gone; returns features closed by layer."""
        row = self._db.execute("SELECT id FROM gpkg_citytwin_source WHERE path = ?", (path,)).fetchone()
        if row is None:
            return {}
        self._is_changed = True
        edits.forget_source(self._db, row[0])
        closed = self._close_where("source = ?", (row[0],))
        registry.drop_assets(self._db, path, keep=set())
        registry.drop_source(self._db, path)
        self._readings.pop(path, None)
        return closed

    def _close_where(self, condition: str, parameters: tuple[Any, ...]) -> dict[str, int]:
        closed: dict[str, int] = {}
        for (layer_id,) in self._layer_ids():
            layer = registry.record(self._db, layer_id, EVERYTHING)
            select = f"SELECT fid FROM {quote(layer.rows)} WHERE {condition} LIMIT {_CLOSE_AT_ONCE}"
            while fids := [row[0] for row in self._db.execute(select, parameters)]:
                self._features.close(self._change(layer_id), fids)
                closed[layer_id] = closed.get(layer_id, 0) + len(fids)
        return closed

    def _layer_ids(self) -> list[tuple[str]]:
        return self._db.execute("SELECT id FROM gpkg_citytwin_layer ORDER BY id").fetchall()

    def finish(self) -> bool:
        """Write the counters; False (and nothing written) where nothing was changed at all."""
        if not self._is_changed:
            return False
        version = self._db.execute(
            "UPDATE gpkg_citytwin_meta SET value = value + 1 WHERE key = 'version' RETURNING value"
        ).fetchone()[0]
        self._db.execute("UPDATE gpkg_citytwin_meta SET value = ? WHERE key = 'last_write'", (self._now,))
        tables = [registry.record(self._db, row[0], EVERYTHING).mesh_blob for row in self._layer_ids()]
        self._features.shared.sweep(tables)
        for change in self._changes.values():
            layer_change.finish(self._db, change, int(version), self._now)
        return True


def _next_moment(last: str) -> str:
    """Now, or a millisecond after the last write: no two writes share a moment."""
    now = datetime.now(UTC)
    if last and registry.timestamp(now) <= last:
        now = datetime.fromisoformat(last) + timedelta(milliseconds=1)
    return registry.timestamp(now)
