"""Which rows a query means, as row numbers in its order. Everything is tested here, exactly, before a row is read.

Regions go through the R-tree's nodes, attributes through SQL, heights through blob headers and the bounds of models.
Only features whose box crosses the edge of a region are looked at themselves. Row numbers take 8 bytes a feature.
"""
# ruff: noqa: S608 -- identifiers go through columns.quote, values are parameters

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import shapely
from numpy.typing import NDArray

from layers.errors import NotFound
from twin.store import box_index, geometry_blob, ordering, rtree_bulk, select_z
from twin.store.box_index import Cells, Region
from twin.store.columns import quote, row_numbers
from twin.store.layer_record import GEOMETRY
from twin.store.query_plan import Plan, numbers, tables

IntArray = NDArray[np.int64]
AT_ONCE = 20_000


def page(db: sqlite3.Connection, asked: Plan, limit: int, offset: int = 0) -> IntArray:
    """Row numbers of a page, in the order asked for."""
    wanted = limit + offset
    if wanted == 0:
        return np.zeros(0, np.int64)
    if is_everywhere(db, asked) and asked.z is None:
        return _all(db, *numbers(asked, None, limit, offset))
    if asked.sort:
        return _sorted(db, asked, wanted)[offset:]
    pieces, n = [], 0
    for piece in _in_fid_order(db, asked, first=max(64, wanted + wanted // 4)):
        pieces.append(piece)
        n += len(piece)
        if n >= wanted:
            break
    return np.concatenate([np.zeros(0, np.int64), *pieces])[offset:wanted]


def chunks(db: sqlite3.Connection, asked: Plan, step: int) -> Iterator[IntArray]:
    """Row numbers of all that is asked for, a few at a time, in the order asked for."""
    if asked.sort:
        fids = _sorted(db, asked, None)
        yield from (fids[start : start + step] for start in range(0, len(fids), step))
        return
    yield from _in_fid_order(db, asked, first=step, most=step)


def is_everywhere(db: sqlite3.Connection, asked: Plan) -> bool:
    """True where neither place nor id leaves out a row for certain."""
    return asked.ids is None and not _uncovered(db, asked)


def _uncovered(db: sqlite3.Connection, asked: Plan) -> list[shapely.Geometry]:
    return [region for region in asked.regions if not covers(db, asked, region)]


def _in_fid_order(db: sqlite3.Connection, asked: Plan, *, first: int, most: int = AT_ONCE) -> Iterator[IntArray]:
    step = min(first, most)
    if is_everywhere(db, asked):
        cursor = db.execute(*numbers(replace(asked, sort=(), after=None), None))
        while rows := cursor.fetchmany(step):
            kept = select_z.kept(db, asked, np.fromiter((row[0] for row in rows), np.int64, len(rows)))
            if len(kept):
                yield kept
            step = min(2 * step, most)
        return
    for found in _parts(db, asked):
        start = 0
        while start < len(found.fids):
            kept = accepted(db, asked, _part(found, slice(start, start + step)))
            start += step
            step = min(2 * step, most)
            if len(kept):
                yield kept


def _parts(db: sqlite3.Connection, asked: Plan) -> Iterator[Cells]:
    """Rows that may match, ascending: for one region a part at a time."""
    regions = _uncovered(db, asked)
    is_simple = len(regions) == 1 and asked.ids is None and asked.is_now and asked.layer.has_geometry
    if is_simple and not shapely.is_empty(regions[0]):
        region = Region(regions[0])
        yield from box_index.ordered(db, asked.layer.rtree, version(db, asked), region, asked.after_fid)
    else:
        yield candidates(db, asked, regions)


def _sorted(db: sqlite3.Connection, asked: Plan, wanted: int | None) -> IntArray:
    """The first of all rows in a sort order: SQLite's sorter keeps no more rows than are wanted."""
    if is_everywhere(db, asked) and asked.z is None:
        return _all(db, *numbers(asked, None, wanted))
    pieces = list(_in_fid_order(db, asked, first=AT_ONCE))
    fids = np.concatenate([np.zeros(0, np.int64), *pieces])
    return _all(db, *numbers(asked, fids, wanted))


def _all(db: sqlite3.Connection, sql: str, parameters: list[object]) -> IntArray:
    return np.fromiter((row[0] for row in db.execute(sql, parameters)), np.int64)


def accepted(db: sqlite3.Connection, asked: Plan, found: Cells) -> IntArray:
    """Row numbers, ascending, of those candidates for which everything asked holds."""
    if asked.condition.sql or not asked.is_now or asked.after is not None:
        fids = _all(db, *numbers(asked, found.fids))
        if asked.sort:
            fids = np.sort(fids)
        found = _part(found, np.isin(found.fids, fids, assume_unique=True))
    if asked.z is not None and len(found.fids):
        found = _part(found, np.isin(found.fids, select_z.kept(db, asked, found.fids), assume_unique=True))
    unsure = found.fids[~found.is_sure]
    if not len(unsure):
        return found.fids
    keep = found.is_sure.copy()
    keep[~found.is_sure] = meets(db, asked, unsure)
    return found.fids[keep]


def _part(found: Cells, rows: slice | NDArray[np.bool_]) -> Cells:
    return Cells(found.fids[rows], found.is_sure[rows])


def meets(db: sqlite3.Connection, asked: Plan, fids: IntArray) -> NDArray[np.bool_]:
    """Whether the geometry of each of some rows (ascending) meets all regions."""
    keep = np.zeros(len(fids), np.bool_)
    for start in range(0, len(fids), AT_ONCE):
        part = fids[start : start + AT_ONCE]
        rows = _geometries(db, asked, part)
        at = np.searchsorted(fids, np.fromiter((row[0] for row in rows), np.int64, len(rows)))
        shapes = geometry_blob.decode([row[1] for row in rows])
        here = np.ones(len(rows), np.bool_)
        for region in asked.regions:
            here &= shapely.intersects(region, shapes)
        keep[at] = here
    return keep


def _geometries(db: sqlite3.Connection, asked: Plan, fids: IntArray) -> list[tuple[int, bytes]]:
    text = row_numbers(fids)
    names = [table for table, _, _, _ in tables(asked)]
    parts = [
        f"SELECT t.fid, t.{GEOMETRY} FROM json_each(?) j CROSS JOIN {quote(name)} t ON t.fid = j.value"
        for name in names
    ]
    return db.execute(" UNION ALL ".join(parts), [text] * len(names)).fetchall()


def candidates(db: sqlite3.Connection, asked: Plan, regions: list[shapely.Geometry]) -> Cells:
    """Rows that may match by their place and id, ascending."""
    found = [_at_place(db, asked, rtree, regions) for _, rtree, _, _ in tables(asked)]
    if asked.ids is not None:
        named = [_named(db, table, asked.ids) for table, _, _, _ in tables(asked)]
        found = [_among(each, fids) for each, fids in zip(found, named, strict=True)]
    cells = [each for each in found if each is not None]
    fids = np.concatenate([each.fids for each in cells])
    is_sure = np.concatenate([each.is_sure for each in cells])
    if len(cells) > 1:
        order = np.argsort(fids, kind="stable")
        fids, is_sure = fids[order], is_sure[order]
    start = int(np.searchsorted(fids, asked.after_fid, side="right"))
    return Cells(fids[start:], is_sure[start:])


def _at_place(db: sqlite3.Connection, asked: Plan, rtree: str, regions: list[shapely.Geometry]) -> Cells | None:
    here: Cells | None = None
    for region in regions:
        if not asked.layer.has_geometry or shapely.is_empty(region):
            return Cells(np.zeros(0, np.int64), np.zeros(0, np.bool_))
        found = box_index.found(db, rtree, version(db, asked), Region(region))
        here = found if here is None else _both(here, found)
    return here


def _both(a: Cells, b: Cells) -> Cells:
    fids, at_a, at_b = np.intersect1d(a.fids, b.fids, assume_unique=True, return_indices=True)
    return Cells(fids, a.is_sure[at_a] & b.is_sure[at_b])


def _among(found: Cells | None, fids: IntArray) -> Cells:
    """Candidates among some rows; without regions every one of them is sure."""
    fids = np.unique(fids)
    return Cells(fids, np.ones(len(fids), np.bool_)) if found is None else _both(found, Cells(fids, fids >= 0))


def version(db: sqlite3.Connection, asked: Plan) -> int:
    """The layer's version as of this moment."""
    row = db.execute("SELECT version FROM gpkg_citytwin_layer WHERE id = ?", (asked.layer.type.id,)).fetchone()
    return int(row[0])


def covers(db: sqlite3.Connection, asked: Plan, region: shapely.Geometry) -> bool:
    """True if the region holds everything indexed for certain, and nothing is without geometry: all rows match."""
    if not asked.layer.has_geometry or shapely.is_empty(region):
        return False
    for table, rtree, _, _ in tables(asked):
        held = rtree_bulk.bounds(db, rtree)
        if held is not None and not shapely.contains_properly(region, shapely.box(*held)):
            return False
        index = box_index.leaves(db, rtree, version(db, asked))
        n = db.execute(f"SELECT count(*) FROM {quote(rtree + '_rowid')}").fetchone()[0] if held is None else 0
        n = int(index.counts.sum()) if held is not None else n
        if n != rows_of(db, asked, table):
            return False
    return True


def rows_of(db: sqlite3.Connection, asked: Plan, table: str) -> int:
    """Number of rows of the current or the closed table."""
    if table == asked.layer.table:
        row = db.execute("SELECT feature_count FROM gpkg_ogr_contents WHERE table_name = ?", (table,)).fetchone()
        if row is not None and row[0] is not None:
            return int(row[0])
    return int(db.execute(f"SELECT count(*) FROM {quote(table)}").fetchone()[0])


def _named(db: sqlite3.Connection, table: str, ids: tuple[str, ...]) -> IntArray:
    numbered = [int(each[4:]) for each in ids if each.startswith("fid-") and each[4:].isdigit() and len(each) < 22]
    cursor = db.execute(
        f"SELECT t.fid FROM json_each(?) j CROSS JOIN {quote(table)} t ON t.id = j.value "
        f"UNION SELECT t.fid FROM json_each(?) j CROSS JOIN {quote(table)} t ON t.fid = j.value WHERE t.id IS NULL",
        (orjson.dumps(ids).decode(), orjson.dumps(numbered).decode()),
    )
    return np.array([row[0] for row in cursor], np.int64)


def position(db: sqlite3.Connection, asked: Plan, fid: int) -> tuple[Any, ...]:
    """Sort values and row number of a current or closed row."""
    for table in (asked.layer.table, asked.layer.history):
        sql = f"SELECT t.fid{ordering.selected(asked.sort)} FROM {quote(table)} t WHERE t.fid = ?"
        row = db.execute(sql, (fid,)).fetchone()
        if row is not None:
            return (*row[1:], int(row[0]))
    raise NotFound(f"Layer {asked.layer.type.id!r} has no feature in row {fid}.", "Ask again.")
