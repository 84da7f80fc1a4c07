"""The store on one GeoPackage file: SQLite in WAL mode, readers go on while one writer writes.

Spec: OGC 12-128r18. A feature table a layer; closed versions, row facts and meshes in tables beside it.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from layers.errors import Busy, InvalidInput, NotFound
from layers.mesh import StoredMesh, Texture
from twin.scope import Scope
from twin.store import edits, gpkg_schema, mesh_read, query_plan, read, read_count, registry, select, shared, visible
from twin.store.connections import ReaderPool, connect
from twin.store.interface import (
    Asset,
    EditRecord,
    Features,
    LayerInfo,
    MeshBlobs,
    MeshChanges,
    MeshInstances,
    MeshTable,
    Query,
    SourceRecord,
)  # fmt: skip
from twin.store.write import GeoPackageBatch

_WRITER_CACHE_KIB = 128_000


class GeoPackageStore:
    """Implements `Store`. Thread-safe; any number of processes may read while one writes.

    Parameters
    ----------
    path : the `.gpkg` file
    create : make it where there is none; then `city_crs` is needed
    city_crs : projected CRS of the features; InvalidInput where an existing store has another one
    """

    def __init__(self, path: Path, *, create: bool = False, city_crs: str | None = None) -> None:
        self.path = Path(path)
        if create and not self.path.exists():
            _create(self.path, city_crs)
        self._pool = ReaderPool(self.path)
        self.crs = self._check(city_crs)

    def _check(self, city_crs: str | None) -> str:
        from layers import crs

        with self._pool.reading() as db:
            try:
                stored = str(registry.meta(db, "crs"))
            except sqlite3.DatabaseError as error:
                raise InvalidInput(
                    f"{self.path} is a database, but not a city twin's store.", "Build the twin into an empty folder."
                ) from error
        if city_crs is not None and crs.name(city_crs) != stored:
            raise InvalidInput(
                f"The store {self.path} is in {stored}, not in {crs.name(city_crs)}.", "Build into another folder."
            )
        return stored

    @contextmanager
    def writing(self) -> Iterator[GeoPackageBatch]:
        """One transaction; an exception inside rolls it back. Waits 30 s for another writer, then gives up."""
        db = connect(self.path)
        try:
            db.execute(f"PRAGMA cache_size = -{_WRITER_CACHE_KIB}")
            db.setconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_TRIGGER, False)
            try:
                db.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                raise Busy(f"{self.path} is being written by someone else.", "Try again later.") from error
            batch = GeoPackageBatch(db)
            yield batch
            db.execute("COMMIT" if batch.finish() else "ROLLBACK")
            db.execute("PRAGMA wal_checkpoint(PASSIVE)")
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")
            db.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection inside a read transaction, for the modules of the store that read on their own terms."""
        with self._pool.reading() as db:
            yield db

    def layers(self, scope: Scope) -> list[LayerInfo]:
        """All vector layers of the scope, in catalogue order."""
        with self._pool.reading() as db:
            return [visible.info(db, layer_id, scope) for layer_id in registry.layer_ids(db, scope)]

    def layer(self, layer_id: str, scope: Scope) -> LayerInfo:
        """One layer; LayerNotFound if it does not exist or is outside the scope."""
        with self._pool.reading() as db:
            return visible.info(db, layer_id, scope)

    def count(self, layer_id: str, query: Query, scope: Scope) -> int:
        """Number of features, paging ignored; cheap when nothing but `at` None is asked."""
        with self._pool.reading() as db:
            layer = registry.record(db, layer_id, scope)
            return read_count.count(db, query_plan.plan(layer, visible.narrowed(db, layer_id, query, scope)))

    def query(self, layer_id: str, query: Query, scope: Scope, batch_size: int = 10_000) -> Iterator[Features]:
        """Features in fid order, or in the order of `sort`, streamed; an empty answer yields nothing.

        All batches are of the moment in which the first one was read. Errors come at once, not with the first batch.
        """
        with self._pool.reading() as db:
            query_plan.plan(registry.record(db, layer_id, scope), query)
        return self._stream(layer_id, query, scope, batch_size)

    def _stream(self, layer_id: str, query: Query, scope: Scope, batch_size: int) -> Iterator[Features]:
        with self._pool.reading() as db:
            layer, seen = registry.record(db, layer_id, scope), visible.narrowed(db, layer_id, query, scope)
            yield from read.stream(db, query_plan.plan(layer, seen), seen, batch_size)

    def position(self, layer_id: str, query: Query, fid: int, scope: Scope) -> tuple[Any, ...]:
        """Sort values and row number of a feature, for `Query.after`; NotFound where there is no such row."""
        with self._pool.reading() as db:
            return select.position(db, query_plan.plan(registry.record(db, layer_id, scope), query), fid)

    def mesh_table(self, layer_id: str, scope: Scope, at: datetime | None = None) -> MeshTable:
        """Bounds of all meshes of current features, or of those of a moment, in fid order."""
        with self._pool.reading() as db:
            layer = registry.record(db, layer_id, scope)
            return mesh_read.table(db, layer) if at is None else mesh_read.table_at(db, layer, registry.timestamp(at))

    def mesh_changes(self, layer_id: str, since: int, scope: Scope) -> MeshChanges | None:
        """What happened since the layer's version `since`; None where that is no longer known: read the whole table."""
        with self._pool.reading() as db:
            return mesh_read.changes(db, registry.record(db, layer_id, scope), since)

    def mesh_blobs(self, layer_id: str, fids: NDArray[np.int64], scope: Scope) -> MeshBlobs:
        """Blobs of current or closed features in the order of `fids`, copies not expanded; NotFound if one has none."""
        with self._pool.reading() as db:
            return mesh_read.blobs(db, registry.record(db, layer_id, scope), fids)

    def meshes(self, layer_id: str, fids: NDArray[np.int64], scope: Scope) -> list[StoredMesh]:
        """Meshes of current features, in the order of `fids`; NotFound if one has none.

        Copies of shared shapes come as meshes of their own.
        """
        with self._pool.reading() as db:
            found = shared.whole(db, mesh_read.stored(db, registry.record(db, layer_id, scope), fids))
        missing = [fid for fid in fids.tolist() if fid not in found]
        if missing:
            raise mesh_read.no_mesh(layer_id, missing[0])
        return [found[fid] for fid in fids.tolist()]

    def mesh_instances(self, layer_id: str, fids: NDArray[np.int64], scope: Scope) -> MeshInstances:
        """Those of `fids` whose meshes are copies of shared shapes; for the others there is `meshes`."""
        with self._pool.reading() as db:
            return shared.instances(db, mesh_read.stored(db, registry.record(db, layer_id, scope), fids))

    def texture(self, key: str, scope: Scope) -> Texture:
        """An image that a mesh names (`layers.mesh.texture_keys`); NotFound outside the scope."""
        with self._pool.reading() as db:
            return shared.texture(db, key, scope)

    def features_by_fid(self, layer_id: str, fids: NDArray[np.int64], scope: Scope) -> Features:
        """Current or closed features without geometry in the order of `fids`, for property tables."""
        with self._pool.reading() as db:
            found = read.by_fid(db, registry.record(db, layer_id, scope), fids)
            seen = visible.narrowed(db, layer_id, Query(), scope)
        if seen.ids is not None and not set(found.ids) <= set(seen.ids):
            raise NotFound(f"Layer {layer_id!r} has no such feature.", "Ask for its table again.")
        return found

    def edits(self, layer_id: str, scope: Scope) -> list[EditRecord]:
        """Edits by hand that hold, by id."""
        with self._pool.reading() as db:
            registry.record(db, layer_id, scope)
            return edits.listed(db, layer_id)

    def assets(self, scope: Scope, layer: str | None = None) -> list[Asset]:
        """Files of the twin, uppermost first."""
        with self._pool.reading() as db:
            return registry.assets(db, scope, layer)

    def sources(self) -> list[SourceRecord]:
        """Every source that was read, for the build."""
        with self._pool.reading() as db:
            return registry.sources(db)

    def reports(self) -> list[dict[str, Any]]:
        """The report of each source, as JSON objects, by source."""
        with self._pool.reading() as db:
            return [
                orjson.loads(row[0]) for row in db.execute("SELECT report FROM gpkg_citytwin_report ORDER BY source")
            ]

    def version(self) -> int:
        """Grows with every committed write (and with edits from outside); cheap, for caches."""
        with self._pool.reading() as db:
            return int(registry.meta(db, "version"))

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()


def _create(path: Path, city_crs: str | None) -> None:
    if city_crs is None:
        raise InvalidInput("A new store needs the city's CRS.", "Give one in metres, such as EPSG:4549.")
    path.parent.mkdir(parents=True, exist_ok=True)
    db = connect(path, create=True)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("BEGIN IMMEDIATE")
        if db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0:  # nobody was faster
            gpkg_schema.create_base(db, city_crs)
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
        db.close()
