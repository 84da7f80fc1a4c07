"""Whole rows for text: what `read_raw` gives for tiles, with versions, validity, `extra`, in any order of rows.

Columns come joined by SQLite and stay joined: no Python object for a feature. Rows that cannot be had this way (closed
ones, bytes where text should be) are read one by one.
"""
# ruff: noqa: S608 -- identifiers go through columns.quote, values are parameters

import sqlite3
from dataclasses import dataclass, replace

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from twin.store import columns, packed
from twin.store.columns import quote, row_numbers
from twin.store.filter_sql import Condition
from twin.store.ordering import ID
from twin.store.packed import Blobs
from twin.store.query_plan import Plan, lookup, lookup_closed
from twin.store.read_raw import parted

IntArray = NDArray[np.int64]
EXTRA = "CASE WHEN json_valid(t.extra) THEN t.extra WHEN t.extra IS NOT NULL THEN json_quote(t.extra) END"


@dataclass(frozen=True)
class Items:
    """Features in the order they were asked for.

    Attributes
    ----------
    ids, valid_from, valid_to, extra : (n,) text; `extra` is JSON
    versions : (n,) int64
    blobs : GeoPackage geometries; sizes are 0 where there is none or none was asked for
    is_single : (n,) True where a stored multi geometry was a single one
    attributes : a column each, by attribute name
    """

    ids: pa.Array
    versions: pa.Array
    valid_from: pa.Array
    valid_to: pa.Array
    extra: pa.Array
    blobs: Blobs
    is_single: NDArray[np.bool_]
    attributes: pa.Table

    def __len__(self) -> int:
        return len(self.ids)


def read(db: sqlite3.Connection, asked: Plan, fids: IntArray) -> Items:
    """The rows of some row numbers that were selected before, in their order; closed ones too."""
    chosen = replace(asked, condition=Condition("", (), ()), regions=(), z=None, after=None, sort=())
    try:
        found = _in_columns(db, chosen, fids) if asked.is_now and len(fids) else None
    except (sqlite3.Error, orjson.JSONDecodeError):  # bytes where text should be, or more than one value holds
        found = None
    return _in_rows(db, chosen, fids) if found is None else found


def parts(db: sqlite3.Connection, asked: Plan, fids: IntArray, most: int, most_bytes: int) -> list[IntArray]:
    """Row numbers in runs of so many features, and of so many bytes of geometries or a single feature, at most."""
    found = [fids[start : start + most] for start in range(0, len(fids), most)]
    if not asked.fetches_geometry:
        return found
    tables = [asked.layer.table] if asked.is_now else [asked.layer.table, asked.layer.history]
    out: list[IntArray] = []
    for run in found:
        sizes = np.zeros(len(run), np.int64)
        for table in tables:
            sql = f"SELECT json_group_array(coalesce(length(t.geom), 0)) FROM json_each(?) j LEFT JOIN {quote(table)} t"
            text = db.execute(f"{sql} ON t.fid = j.value", (row_numbers(run),)).fetchone()[0]
            sizes += np.array(orjson.loads(text), np.int64)
        if int(sizes.sum()) <= most_bytes:
            out.append(run)
            continue
        ends, start = np.cumsum(sizes), 0
        while start < len(run):
            before = int(ends[start - 1]) if start else 0
            end = max(start + 1, int(np.searchsorted(ends, before + most_bytes, side="right")))
            out.append(run[start:end])
            start = end
    return out


class _Columns:
    """What is selected of the rows, and how it is read back, column by column."""

    def __init__(self) -> None:
        self.kinds: list[tuple[str, str, str]] = []

    def add(self, name: str, kind: str, sql: str) -> None:
        """A column: its name in messages, its attribute type, its expression."""
        self.kinds.append((name, kind, sql))

    def read(self, db: sqlite3.Connection, source: str, text: str) -> list[pa.Array] | None:
        """An array for each column, all as long as there are rows; None where one cannot be parted."""
        joined = [each for each in self.kinds if each[1] != "number"]
        grouped = "".join(f", {packed.TEXT if kind == 'string' else _LISTED}".format(sql) for _, kind, sql in joined)
        n, *values = db.execute(f"SELECT count(*){grouped} {source}", (text,)).fetchone()
        rest = iter(values)
        found = [parted(rest, kind, name) for name, kind, _ in joined]
        arrays = [array for array in found if array is not None]
        if len(arrays) < len(found):
            return None
        sparse = [at for at, array in enumerate(arrays) if 0 < len(array) < n]
        gaps: dict[int, str] = {}
        if sparse:
            asking = ", ".join(packed.IS_MISSING.format(joined[at][2]) for at in sparse)
            gaps = dict(zip(sparse, db.execute(f"SELECT {asking} {source}", (text,)).fetchone(), strict=True))
        whole = iter([packed.with_gaps(array, n, gaps.get(at)) for at, array in enumerate(arrays)])
        numbers = iter(self._numbers(db, source, text))
        return [next(numbers if kind == "number" else whole) for _, kind, _ in self.kinds]

    def _numbers(self, db: sqlite3.Connection, source: str, text: str) -> list[pa.Array]:
        """Floating-point columns, row by row: SQLite joins them with 15 digits only."""
        numbers = [each for each in self.kinds if each[1] == "number"]
        if not numbers:
            return []
        rows = db.execute(f"SELECT {', '.join(each[2] for each in numbers)} {source}", (text,)).fetchall()
        found = zip(numbers, zip(*rows, strict=True), strict=True)
        return [columns.from_sqlite(values, kind, name) for (name, kind, _), values in found]


_LISTED = "json_group_array({})"


def _in_columns(db: sqlite3.Connection, asked: Plan, fids: IntArray) -> Items | None:
    layer = asked.layer
    wanted = _Columns()
    wanted.add("id", "string", ID)
    wanted.add("version", "integer", "coalesce(t.version, 1)")
    wanted.add("valid_from", "string", "coalesce(t.valid_from, '')")
    wanted.add("valid_to", "string", "t.valid_to")
    wanted.add("extra", "string", EXTRA if asked.with_extra else "NULL")
    single = f"(SELECT r.single FROM {quote(layer.rows)} r WHERE r.fid = t.fid)" if asked.restores_singles else "0"
    wanted.add("single", "integer", single)
    for name in asked.attributes:
        wanted.add(name, kind_of(asked, name), f"t.{quote(layer.columns[name])}")
    source = f"FROM json_each(?) j CROSS JOIN {quote(layer.table)} t ON t.fid = j.value"
    arrays = wanted.read(db, source, row_numbers(fids))
    if arrays is None or len(arrays[0]) != len(fids) or arrays[0].null_count:
        return None
    blobs: Blobs | None = Blobs(b"", np.zeros(len(fids), np.int64))
    if asked.fetches_geometry:
        joined = db.execute(f"SELECT {packed.BLOB.format('t.geom')} {source}", (row_numbers(fids),)).fetchone()
        blobs = packed.blobs(*joined)
    if blobs is None:
        return None
    ids, versions, valid_from, valid_to, extra, is_single, *attributes = arrays
    return Items(
        ids, versions, valid_from, valid_to, extra, blobs,
        np.asarray(is_single.fill_null(0)) == 1, _table(asked, attributes),
    )  # fmt: skip


def _in_rows(db: sqlite3.Connection, asked: Plan, fids: IntArray) -> Items:
    found = {row[0]: row for row in db.execute(*lookup(asked, fids))}
    gone = np.array([fid for fid in fids.tolist() if fid not in found], np.int64)
    if len(gone):  # closed since they were selected
        found |= {row[0]: row for row in db.execute(*lookup_closed(asked, gone))}
    rows = [found[fid] for fid in fids.tolist() if fid in found]
    width = 8 + len(asked.attributes)
    _, ids, blobs, extra, versions, valid_from, valid_to, single, *values = (
        zip(*rows, strict=True) if rows else ((),) * width
    )
    arrays = [
        columns.from_sqlite(column, kind_of(asked, name), name)
        for name, column in zip(asked.attributes, values, strict=True)
    ]
    return Items(
        pa.array(ids, pa.string()), pa.array(versions, pa.int64()), pa.array(valid_from, pa.string()),
        pa.array(valid_to, pa.string()), pa.array([as_json(each) for each in extra], pa.string()),
        packed.of_list(list(blobs)), np.array([each == 1 for each in single], np.bool_), _table(asked, arrays),
    )  # fmt: skip


def as_json(text: str | None) -> str | None:
    """What `extra` holds as JSON, whatever another program has written there."""
    if text is None:
        return None
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return orjson.dumps(text).decode()
    return text


def kind_of(asked: Plan, name: str) -> str:
    """Attribute type of a column."""
    attribute = asked.layer.type.attribute(name)
    return "string" if attribute is None else attribute.type


def _table(asked: Plan, arrays: list[pa.Array]) -> pa.Table:
    schema = pa.schema([(name, array.type) for name, array in zip(asked.attributes, arrays, strict=True)])
    return pa.Table.from_arrays(arrays, schema=schema)
