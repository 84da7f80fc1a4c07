"""Rows for vector tiles: candidates from the R-tree's own nodes, geometries as blobs, no object for each feature.

Node layout: https://www.sqlite.org/rtree.html, "Shadow Tables". Reading the nodes gives row numbers and boxes
five times faster than the virtual table does, and lets a huge region be bounded.
"""
# ruff: noqa: S608 -- identifiers go through columns.quote, values are parameters

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from layers.crs import Bounds
from layers.errors import CityTwinError, LayerNotFound
from twin.scope import Scope
from twin.store import (
    box_index,
    columns,
    geometry_kind,
    packed,
    query_plan,
    read_count,
    read_few,
    rtree_bulk,
    select,
    visible,
)
from twin.store.columns import quote
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Query, Store
from twin.store.layer_record import LayerRecord, from_json
from twin.store.packed import Blobs
from twin.store.query_plan import Plan

if TYPE_CHECKING:
    from twin.store.read_few import Few
    from twin.store.read_items import Items

MAX_NODES = 20_000
"""Of a level of the R-tree that are looked into, about a million features; of more, a fixed choice."""
ROWS_AT_ONCE = 20_000
_ID = "coalesce(t.id, 'fid-' || t.fid)"

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Candidates:
    """Features whose boxes meet a region.

    Attributes
    ----------
    fids : (n,) row numbers
    boxes : (n, 4) float64 west, south, east, north in the city's CRS, rounded outward to float32
    """

    fids: IntArray
    boxes: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.fids)

    def take(self, rows: NDArray[Any]) -> "Candidates":
        """Some of them."""
        return Candidates(self.fids[rows], self.boxes[rows])

    def in_order(self) -> "Candidates":
        """By row number."""
        return self.take(np.argsort(self.fids, kind="stable"))


@dataclass(frozen=True)
class RawLayer:
    """A layer as of one moment.

    `bounds` are the index's own, so that they hold what was added by another program too; `schema` is a digest of the
    layer's type, for cache keys.
    """

    record: LayerRecord
    version: int
    count: int
    bounds: Bounds | None
    schema: str


@dataclass(frozen=True)
class Stamps:
    """What was changed lately, for naming content by row numbers.

    Attributes
    ----------
    fids, versions : rows that came or were changed in place, ascending, and the layer's version of it
    since : a row that is not among them has not been changed since this version, so that its number names its content
    """

    fids: IntArray
    versions: IntArray
    since: int

    def of(self, fids: IntArray) -> IntArray:
        """The stamp of each of some rows; 0 for those not changed lately."""
        if not len(self.fids):
            return np.zeros(len(fids), np.int64)
        at = np.minimum(np.searchsorted(self.fids, fids), len(self.fids) - 1)
        return np.where(self.fids[at] == fids, self.versions[at], 0)


@dataclass(frozen=True)
class RawRows:
    """Rows as stored, in fid order: GeoPackage blobs, and Arrow columns by attribute name; `ids` is text."""

    fids: IntArray
    ids: pa.Array
    blobs: Blobs
    attributes: pa.Table


@contextmanager
def reading(store: Store) -> "Iterator[RawReader]":
    """A reader; everything read through it is of one moment."""
    found: object = store
    if not isinstance(found, GeoPackageStore):
        raise CityTwinError(f"Vector tiles are not made from a {type(store).__name__} yet.", "Use a GeoPackage.")
    with found.reading() as db:
        yield RawReader(db, str(found.path))


class RawReader:
    """Reads one GeoPackage inside one transaction."""

    def __init__(self, db: sqlite3.Connection, path: str) -> None:
        self._db, self._path = db, path

    def layer(self, layer_id: str, scope: Scope) -> RawLayer:
        """A layer as of this moment; LayerNotFound outside the scope."""
        scope.require(layer_id)
        row = self._db.execute(
            "SELECT l.type, l.table_name, l.columns, l.kinds, l.version, o.feature_count FROM gpkg_citytwin_layer l "
            "LEFT JOIN gpkg_ogr_contents o USING (table_name) WHERE l.id = ?",
            (layer_id,),
        ).fetchone()
        if row is None:
            known = [each[0] for each in self._db.execute("SELECT id FROM gpkg_citytwin_layer")]
            raise LayerNotFound(layer_id, [each for each in known if scope.allows(each)])
        record, schema = _record(*row[:4])
        bounds = rtree_bulk.bounds(self._db, record.rtree) if record.has_geometry else None
        return RawLayer(record, int(row[4]), int(row[5] or 0), bounds, schema)

    def bounds_ever(self, layer: RawLayer) -> Bounds | None:
        """Bounds of all versions, current and closed."""
        closed = rtree_bulk.bounds(self._db, layer.record.history_rtree) if layer.record.has_geometry else None
        if closed is None or layer.bounds is None:
            return closed or layer.bounds
        low, high = np.minimum(closed[:2], layer.bounds[:2]), np.maximum(closed[2:], layer.bounds[2:])
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])

    def candidates(self, layer: RawLayer, box: Bounds, *, with_closed: bool = False) -> Candidates:
        """Features that may meet a box; with the closed ones where a moment is asked for."""
        rtrees = [layer.record.rtree, layer.record.history_rtree] if with_closed else [layer.record.rtree]
        found = [_in_box(self._db, rtree, box) for rtree in rtrees]
        return Candidates(np.concatenate([f for f, _ in found]), np.concatenate([b for _, b in found]))

    def stamps(self, layer: RawLayer) -> Stamps:
        """Rows that came or were changed lately."""
        return _stamps(self._db, self._path, layer)

    def fids_where(self, asked: Plan, fids: IntArray) -> IntArray:
        """Those of some rows (ascending) for which the plan's conditions hold, its exact regions left aside."""
        sql, parameters = _lookup(asked, fids, "t.fid")
        return np.fromiter((row[0] for row in self._db.execute(sql, parameters)), np.int64)

    def plan(self, layer: RawLayer, query: Query, scope: Scope) -> Plan:
        """A query made ready; InvalidInput where it asks for what the layer lacks."""
        return query_plan.plan(layer.record, visible.narrowed(self._db, layer.record.type.id, query, scope))

    def page(self, asked: Plan, limit: int, offset: int = 0) -> IntArray:
        """Row numbers of a page in the order asked for, everything tested exactly."""
        return select.page(self._db, asked, limit, offset)

    def few(self, asked: Plan) -> "Few | None":
        """All that is asked for, where it is little and of one small region."""
        return read_few.read(self._db, asked)

    def count(self, asked: Plan) -> int:
        """Number of features, paging ignored."""
        return read_count.count(self._db, asked)

    def position(self, asked: Plan, fid: int) -> tuple[Any, ...]:
        """Sort values and row number of a feature."""
        return select.position(self._db, asked, fid)

    def parts(self, asked: Plan, fids: IntArray, most: int, most_bytes: int) -> list[IntArray]:
        """Row numbers in runs of so many features, and of so many bytes of geometries, at most."""
        from twin.store import read_items

        return read_items.parts(self._db, asked, fids, most, most_bytes)

    def items(self, asked: Plan, fids: IntArray) -> "Items":
        """Whole rows of some row numbers, in their order."""
        from twin.store import read_items  # it reads columns as this module parts them

        return read_items.read(self._db, asked, fids)

    def rows(self, asked: Plan, fids: IntArray) -> RawRows:
        """Those of some rows (ascending) for which the plan's conditions hold, its exact regions left aside."""
        pieces: list[RawRows] = []
        for start in range(0, max(len(fids), 1), ROWS_AT_ONCE):
            part = fids[start : start + ROWS_AT_ONCE]
            try:
                found = self._in_columns(asked, part) if asked.is_now else None
            except (sqlite3.Error, orjson.JSONDecodeError):  # bytes where text should be, or more than one value holds
                found = None
            pieces.append(self._in_rows(asked, part) if found is None else found)
        return pieces[0] if len(pieces) == 1 else _joined(pieces)

    def _in_rows(self, asked: Plan, fids: IntArray) -> RawRows:
        """Rows read as a tuple each."""
        attributes = "".join(f", t.{quote(asked.layer.columns[name])}" for name in asked.attributes)
        sql, parameters = _lookup(asked, fids, f"t.fid, t.geom, {_ID}{attributes}")
        found = self._db.execute(sql, parameters).fetchall()
        numbers, blobs, ids, *values = zip(*found, strict=True) if found else ((),) * (3 + len(asked.attributes))
        arrays = [
            columns.from_sqlite(column, _kind(asked, name), name)
            for name, column in zip(asked.attributes, values, strict=True)
        ]
        return RawRows(
            np.array(numbers, np.int64), pa.array(ids, pa.string()), packed.of_list(list(blobs)), _table(asked, arrays)
        )

    def _in_columns(self, asked: Plan, fids: IntArray) -> RawRows | None:
        """Rows with each column joined by SQLite, in a third of the time; None where a column cannot be parted again.

        Texts and blobs come one after the other, other values as JSON lists. All of them walk the rows in the order of
        `fids`.
        """
        columns_sql = [(name, _kind(asked, name), f"t.{quote(asked.layer.columns[name])}") for name in asked.attributes]
        grouped = "".join(f", {_GROUPED.get(kind, _LISTED).format(column)}" for _, kind, column in columns_sql)
        chosen = f"count(*), {packed.BLOB.format('t.geom')}, {packed.TEXT.format(_ID)}{grouped}"
        sql, parameters = _lookup(asked, fids, chosen)
        n, data, sizes, n_ids, names, *values = self._db.execute(sql, parameters).fetchone()
        blobs, ids = packed.blobs(data, sizes), packed.texts(n_ids, names)
        if not n or n_ids < n or blobs is None or ids is None:
            return None
        rest = iter(values)
        found = [parted(rest, kind, name) for name, kind, _ in columns_sql]
        arrays = [array for array in found if array is not None]
        if len(arrays) < len(found):
            return None
        sparse = [at for at, array in enumerate(arrays) if 0 < len(array) < n]
        gaps: dict[int, str] = {}
        if sparse:
            asking = ", ".join(packed.IS_MISSING.format(columns_sql[at][2]) for at in sparse)
            sql, parameters = _lookup(asked, fids, asking)
            gaps = dict(zip(sparse, self._db.execute(sql, parameters).fetchone(), strict=True))
        arrays = [packed.with_gaps(array, n, gaps.get(at)) for at, array in enumerate(arrays)]
        if n < len(fids):
            sql, parameters = _lookup(asked, fids, "json_group_array(t.fid)")
            fids = np.array(orjson.loads(self._db.execute(sql, parameters).fetchone()[0]), np.int64)
        return RawRows(fids, ids, blobs, _table(asked, arrays))


_GROUPED = {"string": packed.TEXT, "number": packed.REAL}
_LISTED = "json_group_array({})"


def parted(joined: Iterator[Any], kind: str, name: str) -> pa.Array | None:
    """The next column of what SQLite has joined; of texts only those that are there."""
    if kind == "string":
        return packed.texts(next(joined), next(joined))
    if kind == "number":
        whole, fraction, n_doubtful = next(joined), next(joined), next(joined)
        return None if n_doubtful else packed.reals(whole, fraction)
    return columns.from_sqlite(orjson.loads(next(joined)), kind, name)


def _joined(pieces: list[RawRows]) -> RawRows:
    return RawRows(
        np.concatenate([each.fids for each in pieces]),
        pa.concat_arrays([each.ids for each in pieces]),
        packed.Blobs(
            b"".join(each.blobs.data for each in pieces), np.concatenate([each.blobs.sizes for each in pieces])
        ),
        pa.concat_tables([each.attributes for each in pieces]),
    )


@lru_cache(maxsize=256)
def _record(type_text: str, table: str, names: str, kinds: str) -> tuple[LayerRecord, str]:
    found: frozenset[geometry_kind.Kind] = frozenset((int(n), bool(z), bool(m)) for n, z, m in orjson.loads(kinds))
    schema = blake2b(f"{type_text}\0{names}".encode(), digest_size=8).hexdigest()
    return LayerRecord(from_json(type_text), table, orjson.loads(names), found), schema


def _in_box(db: sqlite3.Connection, rtree: str, box: Bounds) -> tuple[IntArray, NDArray[np.float64]]:
    node = quote(rtree + "_node")
    blobs = [row[0] for row in db.execute(f"SELECT data FROM {node} WHERE nodeno = 1")]
    depth = int.from_bytes(blobs[0][:2], "big")
    while True:
        ids, boxes = box_index.cells(blobs, box)
        if depth == 0:
            return ids, boxes
        depth -= 1
        if len(ids) > MAX_NODES:
            scattered = (ids * 2654435761) % 2**32
            ids = ids[np.sort(np.argpartition(scattered, MAX_NODES)[:MAX_NODES])]
        text = orjson.dumps(ids, option=orjson.OPT_SERIALIZE_NUMPY).decode()
        found = db.execute(
            f"SELECT n.data FROM json_each(?) j CROSS JOIN {node} n ON n.nodeno = j.value", (text,)
        ).fetchall()
        blobs = [row[0] for row in found]


_STAMPS: dict[tuple[str, str], tuple[int, Stamps]] = {}


def _stamps(db: sqlite3.Connection, path: str, layer: RawLayer) -> Stamps:
    """As kept for this version of the layer, or read from the log of changes; without a log nothing is known."""
    layer_id = layer.record.type.id
    kept = _STAMPS.get((path, layer_id))
    if kept is not None and kept[0] == layer.version:
        return kept[1]
    try:
        mark = db.execute("SELECT since FROM gpkg_citytwin_change_log WHERE layer = ?", (layer_id,)).fetchone()
        rows = db.execute(
            "SELECT fid, max(version) FROM gpkg_citytwin_change WHERE layer = ? GROUP BY fid ORDER BY fid", (layer_id,)
        ).fetchall()
    except sqlite3.OperationalError:  # a store that was written before there was a log
        mark, rows = None, []
    table = np.array(rows, np.int64).reshape(-1, 2)
    made = Stamps(table[:, 0], table[:, 1], layer.version if mark is None else int(mark[0]))
    if len(_STAMPS) > 4096:
        _STAMPS.clear()
    _STAMPS[path, layer_id] = (layer.version, made)
    return made


def _lookup(asked: Plan, fids: IntArray, chosen: str) -> tuple[str, list[Any]]:
    """Columns of some rows that meet the conditions, in fid order."""
    text = orjson.dumps(np.ascontiguousarray(fids), option=orjson.OPT_SERIALIZE_NUMPY).decode()
    named, names = "", []
    if asked.ids is not None:
        named = "coalesce(t.id, 'fid-' || t.fid) IN (SELECT value FROM json_each(?))"
        names = [orjson.dumps(asked.ids).decode()]
    parts, parameters = [], []
    for table, _, time, values in query_plan.tables(asked):
        conditions = " AND ".join(f"({each})" for each in (time, asked.condition.sql, named) if each)
        where = f" WHERE {conditions}" if conditions else ""
        parts.append(f"SELECT {chosen} FROM json_each(?) j CROSS JOIN {quote(table)} t ON t.fid = j.value{where}")
        parameters += [text, *values, *asked.condition.parameters, *names]
    return " UNION ALL ".join(parts) + (" ORDER BY 1" if len(parts) > 1 else ""), parameters


def _kind(asked: Plan, name: str) -> str:
    attribute = asked.layer.type.attribute(name)
    return "string" if attribute is None else attribute.type


def _table(asked: Plan, arrays: list[pa.Array]) -> pa.Table:
    schema = pa.schema([(name, array.type) for name, array in zip(asked.attributes, arrays, strict=True)])
    return pa.Table.from_arrays(arrays, schema=schema)
