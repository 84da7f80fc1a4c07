"""Textures and shapes that many meshes share: each is kept once, by the hash of its content, across all sources.

Closed versions keep what they name, so that a date in the past still shows it. Only what a transaction brought in and
threw away again (a source that failed half-way) is swept, at its end.
"""
# ruff: noqa: S608 -- identifiers go through columns.quote, values are parameters

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import batched

import numpy as np
import orjson

from layers.errors import NotFound
from layers.mesh import StoredMesh, StoredShape, Texture, texture_keys
from layers.mesh_copy import COPY_BYTES, expanded, is_copy, read_copies
from twin.scope import Scope
from twin.store.columns import quote
from twin.store.interface import MeshInstances

TABLES = """
CREATE TABLE IF NOT EXISTS gpkg_citytwin_shape (key TEXT NOT NULL PRIMARY KEY, mesh BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS gpkg_citytwin_texture (
  key TEXT NOT NULL PRIMARY KEY, media_type TEXT NOT NULL, wrap TEXT NOT NULL, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS gpkg_citytwin_texture_use (
  key TEXT NOT NULL, layer TEXT NOT NULL, PRIMARY KEY (key, layer)) WITHOUT ROWID;
"""
"""Also made in stores that are older than they are, by the first write."""

_EXPANDED_AT_ONCE = 1000


class SharedWriter:
    """Puts shapes and textures into a running transaction; remembers which ones it brought in."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._shapes: set[str] = set()
        self._new_shapes: set[str] = set()
        self._textures: set[tuple[str, str]] = set()
        self._is_ready = False
        self.has_dropped = False

    def put(self, layer_id: str, meshes: Iterable[StoredMesh]) -> None:
        """Everything that the meshes name."""
        for mesh in meshes:
            if mesh.shape is not None and mesh.shape.key not in self._shapes:
                self._make_ready()
                self._shapes.add(mesh.shape.key)
                put = self._db.execute(
                    "INSERT OR IGNORE INTO gpkg_citytwin_shape VALUES (?, ?)", (mesh.shape.key, mesh.shape.blob)
                )
                if put.rowcount:
                    self._new_shapes.add(mesh.shape.key)
            for texture in mesh.textures:
                self._put_texture(layer_id, texture)

    def _put_texture(self, layer_id: str, texture: Texture) -> None:
        key = texture.key
        if (key, layer_id) in self._textures:
            return
        self._make_ready()
        self._textures.add((key, layer_id))
        self._db.execute(
            "INSERT OR IGNORE INTO gpkg_citytwin_texture VALUES (?, ?, ?, ?)",
            (key, texture.media_type, texture.wrap, texture.data),
        )
        self._db.execute("INSERT OR IGNORE INTO gpkg_citytwin_texture_use VALUES (?, ?)", (key, layer_id))

    def _make_ready(self) -> None:
        if not self._is_ready:
            for statement in TABLES.strip().split(";\n"):
                self._db.execute(statement)
            self._is_ready = True

    def sweep(self, blob_tables: Sequence[str]) -> None:
        """Forget what this transaction brought in and no mesh names any more; `blob_tables` of all layers."""
        if not self.has_dropped or not (self._new_shapes or self._textures):
            return
        used: set[str] = set()
        for table in blob_tables:
            cursor = self._db.execute(
                f"SELECT mesh FROM {quote(table)} WHERE substr(mesh, 1, 4) = CAST('CTM2' AS BLOB) OR length(mesh) = ?",
                (COPY_BYTES,),
            )
            for (blob,) in cursor:
                used.update(read_copies([blob])[0] if is_copy(blob) else filter(None, texture_keys(blob)))
        gone = [(key,) for key in self._new_shapes - used]
        self._db.executemany("DELETE FROM gpkg_citytwin_shape WHERE key = ?", gone)
        for (blob,) in self._db.execute("SELECT mesh FROM gpkg_citytwin_shape").fetchall():
            used.update(filter(None, texture_keys(blob)))
        keys = [(key,) for key in {key for key, _ in self._textures} - used]
        for table in ("gpkg_citytwin_texture", "gpkg_citytwin_texture_use"):
            self._db.executemany(f"DELETE FROM {table} WHERE key = ?", keys)


def texture(connection: sqlite3.Connection, key: str, scope: Scope) -> Texture:
    """The image of that key; NotFound where no mesh of a layer in the scope has it."""
    row = None
    if _exists(connection, "gpkg_citytwin_texture"):
        layers = connection.execute("SELECT layer FROM gpkg_citytwin_texture_use WHERE key = ?", (key,)).fetchall()
        if any(scope.allows(layer) for (layer,) in layers):
            row = connection.execute(
                "SELECT media_type, data, wrap FROM gpkg_citytwin_texture WHERE key = ?", (key,)
            ).fetchone()
    if row is None:
        raise NotFound(f"No texture {key!r}.", "Ask for the mesh again.")
    return Texture(*row)


def whole(connection: sqlite3.Connection, meshes: dict[int, StoredMesh]) -> dict[int, StoredMesh]:
    """The same meshes by row number, with every copy of a shape expanded to a mesh of its own."""
    copies = {fid: mesh for fid, mesh in meshes.items() if is_copy(mesh.blob)}
    if not copies:
        return meshes
    keys, matrices = read_copies([mesh.blob for mesh in copies.values()])
    blobs = _shapes(connection, keys)
    groups: dict[str, list[int]] = {}
    for row, key in enumerate(keys):
        groups.setdefault(key, []).append(row)
    fids = list(copies)
    out = dict(meshes)
    for key, rows in groups.items():
        for part in batched(rows, _EXPANDED_AT_ONCE):
            for row, blob in zip(part, expanded(blobs[key], matrices[np.array(part)]), strict=True):
                out[fids[row]] = StoredMesh(blob, copies[fids[row]].bounds)
    return out


def instances(connection: sqlite3.Connection, meshes: dict[int, StoredMesh]) -> MeshInstances:
    """Those of some meshes, by row number, that are copies."""
    copies = {fid: mesh for fid, mesh in meshes.items() if is_copy(mesh.blob)}
    keys, matrices = read_copies([mesh.blob for mesh in copies.values()])
    bounds = np.array([mesh.bounds for mesh in copies.values()], np.float64).reshape(-1, 6)
    return MeshInstances(np.array(list(copies), np.int64), keys, matrices, bounds, _shapes(connection, keys))


def with_shapes(connection: sqlite3.Connection, meshes: dict[int, StoredMesh]) -> dict[int, StoredMesh]:
    """The same meshes by row number, each copy together with its shape, ready to be stored again."""
    copies = {fid: mesh for fid, mesh in meshes.items() if is_copy(mesh.blob)}
    keys, _ = read_copies([mesh.blob for mesh in copies.values()])
    blobs = _shapes(connection, keys)
    return meshes | {
        fid: replace(mesh, shape=StoredShape(key, blobs[key]))
        for key, (fid, mesh) in zip(keys, copies.items(), strict=True)
    }


def shapes_of(connection: sqlite3.Connection, blobs: Sequence[bytes]) -> dict[str, bytes]:
    """The shapes that copies among some blobs name, by key."""
    copies = [blob for blob in blobs if is_copy(blob)]
    return _shapes(connection, read_copies(copies)[0]) if copies else {}


def _shapes(connection: sqlite3.Connection, keys: Iterable[str]) -> dict[str, bytes]:
    wanted = sorted(set(keys))
    if not wanted:
        return {}
    rows = connection.execute(
        "SELECT s.key, s.mesh FROM json_each(?) j CROSS JOIN gpkg_citytwin_shape s ON s.key = j.value",
        (orjson.dumps(wanted).decode(),),
    ).fetchall()
    found = dict(rows)
    missing = [key for key in wanted if key not in found]
    if missing:
        raise NotFound(f"The store has no shape {missing[0]}.", "Build the twin again.")
    return found


def _exists(connection: sqlite3.Connection, table: str) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (table,)).fetchone() is not None
