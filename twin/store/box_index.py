"""The R-tree's own nodes: candidates of a region and how many there are, without SQLite's virtual table.

Node layout: https://www.sqlite.org/rtree.html, "Shadow Tables". The leaves' boxes and how many cells each has (a
fiftieth of the index) are kept for one version of a layer: a leaf that lies wholly inside a region is counted unseen.
"""
# ruff: noqa: S608 -- identifiers go through columns.quote, values are parameters

import sqlite3
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from threading import Lock

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.crs import Bounds
from twin.store.columns import quote, row_numbers

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]

CELL = np.dtype([("id", ">i8"), ("box", ">f4", 4)])
NODES_AT_ONCE = 4096
KEPT_LAYERS = 64
SHRUNK_BY = (0.0005, 0.005, 0.03, 0.1, 0.25)


@dataclass(frozen=True)
class Leaves:
    """The leaf nodes of an index.

    Attributes
    ----------
    numbers : (k,) node numbers; 1 alone where the root is a leaf
    boxes : (k, 4) float64 west, south, east, north, rounded outward to float32
    counts : (k,) cells of each
    """

    numbers: IntArray
    boxes: FloatArray
    counts: IntArray


@dataclass(frozen=True)
class Cells:
    """Features whose boxes meet a region's box, in fid order.

    Attributes
    ----------
    fids : (n,) row numbers
    is_sure : (n,) True where the box lies inside the region, so that the feature certainly meets it
    """

    fids: IntArray
    is_sure: BoolArray


KEPT_CELLS = 4_000_000
"""Cells of the regions asked for last, 9 bytes each: a reader who pages through a region sorts it once."""

_KEPT: "OrderedDict[tuple[str, str, bytes], Leaves]" = OrderedDict()
_FOUND: "OrderedDict[tuple[bytes, ...], Cells]" = OrderedDict()
_LOCK = Lock()


def leaves(db: sqlite3.Connection, rtree: str, version: int) -> Leaves:
    """Leaves of an index, read once for each version of its layer (0.1 s for a million features)."""
    root, key = _state(db, rtree, version)
    with _LOCK:
        if key in _KEPT:
            _KEPT.move_to_end(key)
            return _KEPT[key]
    made = _read_leaves(db, rtree, root)
    with _LOCK:
        for old in [each for each in _KEPT if each[:2] == key[:2]]:
            del _KEPT[old]
        _KEPT[key] = made
        while len(_KEPT) > KEPT_LAYERS:
            _KEPT.popitem(last=False)
    return made


def _state(db: sqlite3.Connection, rtree: str, version: int) -> tuple[bytes, tuple[str, str, bytes]]:
    """The root node, and what names the index as it is now."""
    root = db.execute(f"SELECT data FROM {quote(rtree + '_node')} WHERE nodeno = 1").fetchone()[0]
    path = db.execute("PRAGMA database_list").fetchone()[2]
    return root, (path, rtree, blake2b(root + version.to_bytes(8, "big"), digest_size=16).digest())


def _read_leaves(db: sqlite3.Connection, rtree: str, root: bytes) -> Leaves:
    depth = int.from_bytes(root[:2], "big")
    if depth == 0:
        n = int.from_bytes(root[2:4], "big")
        _, boxes = cells([root])
        low, high = (boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)) if n else (np.zeros(2), np.zeros(2))
        one = np.concatenate([low, high])[None] if n else np.zeros((0, 4))
        return Leaves(np.ones(min(n, 1), np.int64), one, np.full(min(n, 1), n, np.int64))
    blobs = [root]
    while True:
        numbers, boxes = cells(blobs)
        depth -= 1
        if depth == 0:
            break
        blobs = [row[0] for row in _nodes(db, rtree, numbers, "n.data")]
    heads = b"".join(row[0] for row in _nodes(db, rtree, numbers, "substr(n.data, 3, 2)"))
    return Leaves(numbers, boxes, np.frombuffer(heads, ">u2").astype(np.int64))


def _nodes(db: sqlite3.Connection, rtree: str, numbers: IntArray, what: str) -> sqlite3.Cursor:
    node = quote(rtree + "_node")
    return db.execute(
        f"SELECT {what} FROM json_each(?) j CROSS JOIN {node} n ON n.nodeno = j.value", (row_numbers(numbers),)
    )


def cells(blobs: list[bytes], box: Bounds | None = None) -> tuple[IntArray, FloatArray]:
    """Numbers and boxes (west, south, east, north) of the cells of some nodes, or of those that meet a box."""
    if not blobs:
        return np.zeros(0, np.int64), np.zeros((0, 4))
    size = len(blobs[0])
    data = np.frombuffer(b"".join(blobs), np.uint8).reshape(len(blobs), size)
    capacity = (size - 4) // CELL.itemsize
    counts = data[:, 2].astype(np.int64) << 8 | data[:, 3]
    found = np.ascontiguousarray(data[:, 4 : 4 + capacity * CELL.itemsize]).view(CELL)
    meets = np.arange(capacity) < counts[:, None]
    x0, x1, y0, y1 = np.moveaxis(found["box"].astype(np.float32), -1, 0)
    if box is not None:
        west, south, east, north = box
        meets &= (x1 >= west) & (x0 <= east) & (y1 >= south) & (y0 <= north)
    boxes = np.stack([each[meets] for each in (x0, y0, x1, y1)], axis=1).astype(np.float64)
    return found["id"][meets].astype(np.int64), boxes


def meeting(boxes: FloatArray, region: Bounds) -> BoolArray:
    """Which boxes meet another."""
    west, south, east, north = region
    return np.asarray(
        (boxes[:, 2] >= west) & (boxes[:, 0] <= east) & (boxes[:, 3] >= south) & (boxes[:, 1] <= north), np.bool_
    )


class Region:
    """A region made ready for boxes: most are told apart by a box inside it, the others by GEOS."""

    def __init__(self, region: shapely.Geometry) -> None:
        shapely.prepare(region)
        self.shape = region
        west, south, east, north = (float(v) for v in shapely.bounds(region))
        self.bounds: Bounds = (west, south, east, north)
        self.inner = self._inner()

    def _inner(self) -> Bounds | None:
        west, south, east, north = self.bounds
        for share in SHRUNK_BY:
            dx, dy = (east - west) * share, (north - south) * share
            box = (west + dx, south + dy, east - dx, north - dy)
            if box[0] < box[2] and box[1] < box[3] and shapely.contains_properly(self.shape, shapely.box(*box)):
                return box
        return None

    def holds(self, boxes: FloatArray) -> BoolArray:
        """Which boxes lie wholly inside the region."""
        held = np.zeros(len(boxes), np.bool_)
        if self.inner is not None:
            west, south, east, north = self.inner
            held = (boxes[:, 0] >= west) & (boxes[:, 2] <= east) & (boxes[:, 1] >= south) & (boxes[:, 3] <= north)
        left = np.flatnonzero(~held)
        if len(left):
            held[left] = shapely.contains_properly(self.shape, shapely.box(*boxes[left].T))
        return np.asarray(held, np.bool_)

    def touches(self, boxes: FloatArray, among: BoolArray) -> IntArray:
        """Numbers of the boxes, among some, that meet the region at all."""
        rows = np.flatnonzero(among)
        return rows[shapely.intersects(self.shape, shapely.box(*boxes[rows].T))] if len(rows) else rows


def found(db: sqlite3.Connection, rtree: str, version: int, region: Region) -> Cells:
    """Features whose boxes meet the region."""
    path, _, state = _state(db, rtree, version)[1]
    key = (path.encode(), rtree.encode(), state, blake2b(shapely.to_wkb(region.shape), digest_size=16).digest())
    with _LOCK:
        if key in _FOUND:
            _FOUND.move_to_end(key)
            return _FOUND[key]
    made = _found(db, rtree, version, region)
    if len(made.fids) > 1000:  # fewer are found again as fast
        with _LOCK:
            _FOUND[key] = made
            while sum(len(each.fids) for each in _FOUND.values()) > KEPT_CELLS and len(_FOUND) > 1:
                _FOUND.popitem(last=False)
    return made


def _found(db: sqlite3.Connection, rtree: str, version: int, region: Region) -> Cells:
    index = leaves(db, rtree, version)
    met = np.flatnonzero(meeting(index.boxes, region.bounds))
    is_inside = region.holds(index.boxes[met])
    keys = [np.zeros(0, np.int64)]
    for fids, _ in _cells_of(db, rtree, index.numbers[met[is_inside]], None):
        keys.append(fids * 2 + 1)
    for fids, boxes in _cells_of(db, rtree, index.numbers[met[~is_inside]], region.bounds):
        is_sure = region.holds(boxes)
        keys += [fids[is_sure] * 2 + 1, fids[region.touches(boxes, ~is_sure)] * 2]
    both = np.sort(np.concatenate(keys))  # one sort for both: three times faster than argsort
    return Cells(both >> 1, (both & 1).astype(np.bool_))


def _cells_of(
    db: sqlite3.Connection, rtree: str, numbers: IntArray, box: Bounds | None
) -> Iterator[tuple[IntArray, FloatArray]]:
    numbers = np.sort(numbers)
    for start in range(0, len(numbers), NODES_AT_ONCE):
        yield cells([row[0] for row in _nodes(db, rtree, numbers[start : start + NODES_AT_ONCE], "n.data")], box)


def counted(db: sqlite3.Connection, rtree: str, version: int, region: Region) -> tuple[int, IntArray]:
    """Number of features that certainly meet the region, and the row numbers (ascending) of those to be looked at."""
    index = leaves(db, rtree, version)
    met = np.flatnonzero(meeting(index.boxes, region.bounds))
    is_inside = region.holds(index.boxes[met])
    total, unsure = int(index.counts[met[is_inside]].sum()), [np.zeros(0, np.int64)]
    for fids, boxes in _cells_of(db, rtree, index.numbers[met[~is_inside]], region.bounds):
        is_sure = region.holds(boxes)
        total += int(is_sure.sum())
        unsure.append(fids[region.touches(boxes, ~is_sure)])
    return total, np.sort(np.concatenate(unsure))
