"""The R-tree's own nodes: candidates of a region and how many there are, without SQLite's virtual table.

Node layout: https://www.sqlite.org/rtree.html, "Shadow Tables". For large regions the leaves' boxes, cell counts and
lowest row numbers (a fiftieth of the index) are kept for one version of a layer: a leaf that lies wholly inside a
region is counted unseen, and the lowest row numbers of a region are found without reading all of it.
"""
# ruff: noqa: S608 -- identifiers go through columns.quote, values are parameters

import sqlite3
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
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
SHRUNK_BY = (0.0002, 0.001, 0.004, 0.02, 0.1, 0.3)
_POLYGON = 3
FEW_BOXES = 500
"""Are told apart by GEOS alone, sooner than rectangles are made."""


@dataclass(frozen=True)
class Leaves:
    """The leaf nodes of an index.

    Attributes
    ----------
    numbers : (k,) node numbers; 1 alone where the root is a leaf
    boxes : (k, 4) float64 west, south, east, north, rounded outward to float32
    counts : (k,) cells of each
    lowest, highest : (k,) least and greatest row number of each
    """

    numbers: IntArray
    boxes: FloatArray
    counts: IntArray
    lowest: IntArray
    highest: IntArray


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


FEW_LEAVES = 200
"""A region in no more leaves than these is read from the root down, and needs nothing kept."""

_KEPT: "OrderedDict[tuple[str, str, bytes], Leaves]" = OrderedDict()
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
    numbers, blobs = np.ones(1, np.int64), [root]
    while depth:
        numbers, _ = cells(blobs)
        depth -= 1
        if depth:
            blobs = [row[0] for row in _nodes(db, rtree, numbers, "n.data")]
    parts = [np.zeros((0, 7))]
    for start in range(0, len(numbers), NODES_AT_ONCE):
        read = _nodes(db, rtree, numbers[start : start + NODES_AT_ONCE], "n.data")
        parts.append(_summed([row[0] for row in read]))
    table = np.concatenate(parts)
    there = table[:, 0] > 0
    counts, lowest, highest = (table[there, at].astype(np.int64) for at in range(3))
    return Leaves(numbers[there], table[there, 3:], counts, lowest, highest)


def _summed(blobs: list[bytes]) -> FloatArray:
    """(n, 7) cells, lowest and highest row number (exact below 2^53), box of each of some leaves."""
    data = np.frombuffer(b"".join(blobs), np.uint8).reshape(len(blobs), len(blobs[0]))
    counts = data[:, 2].astype(np.int64) << 8 | data[:, 3]
    ids, boxes = cells(blobs)
    out = np.zeros((len(blobs), 7))
    out[:, 0] = counts
    there = counts > 0
    starts = (np.cumsum(counts) - counts)[there]
    if len(starts):
        out[there, 1], out[there, 2] = np.minimum.reduceat(ids, starts), np.maximum.reduceat(ids, starts)
        out[there, 3:5] = np.minimum.reduceat(boxes[:, :2], starts)
        out[there, 5:7] = np.maximum.reduceat(boxes[:, 2:], starts)
    return out


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
    """A region made ready for boxes: most are told apart by slanted rectangles in and round it, the others by GEOS."""

    def __init__(self, region: shapely.Geometry) -> None:
        shapely.prepare(region)
        self.shape = region
        west, south, east, north = (float(v) for v in shapely.bounds(region))
        self.bounds: Bounds = (west, south, east, north)

    @cached_property
    def _rectangles(self) -> tuple[FloatArray | None, FloatArray | None]:
        """Half-planes (4, 3) of a rectangle round the region, and of the largest of some in it."""
        round_it = shapely.oriented_envelope(self.shape)
        if shapely.get_type_id(round_it) != _POLYGON:
            return None, None
        corners = shapely.get_coordinates(shapely.orient_polygons(round_it))[:4]
        centre = corners.mean(axis=0)
        for share in SHRUNK_BY:
            within = centre + (corners - centre) * (1 - share)
            if shapely.contains_properly(self.shape, shapely.Polygon(within)):
                return _half_planes(centre + (corners - centre) * (1 + 1e-9)), _half_planes(within)
        return _half_planes(centre + (corners - centre) * (1 + 1e-9)), None

    def holds(self, boxes: FloatArray) -> BoolArray:
        """Which boxes lie wholly inside the region."""
        held = np.zeros(len(boxes), np.bool_)
        if len(boxes) > FEW_BOXES and self._rectangles[1] is not None:
            held = np.logical_and.reduce([_least(boxes, *each) >= 0 for each in self._rectangles[1]])
        left = np.flatnonzero(~held & self._may_touch(boxes))
        if len(left):
            held[left] = shapely.contains_properly(self.shape, shapely.box(*boxes[left].T))
        return np.asarray(held, np.bool_)

    def _may_touch(self, boxes: FloatArray) -> BoolArray:
        met = meeting(boxes, self.bounds)
        if len(boxes) > FEW_BOXES and self._rectangles[0] is not None:
            met &= np.logical_and.reduce([-_least(boxes, -a, -b, -c) >= 0 for a, b, c in self._rectangles[0]])
        return met

    def touches(self, boxes: FloatArray, among: BoolArray) -> IntArray:
        """Numbers of the boxes, among some, that meet the region at all."""
        rows = np.flatnonzero(among & self._may_touch(boxes))
        return rows[shapely.intersects(self.shape, shapely.box(*boxes[rows].T))] if len(rows) else rows


def _half_planes(corners: FloatArray) -> FloatArray:
    """(4, 3) a, b, c of a x + b y + c >= 0, inside a rectangle whose corners go counter-clockwise."""
    step = np.roll(corners, -1, axis=0) - corners
    a, b = -step[:, 1], step[:, 0]
    return np.stack([a, b, -(a * corners[:, 0] + b * corners[:, 1])], axis=1)


def _least(boxes: FloatArray, a: float, b: float, c: float) -> FloatArray:
    """Least of a x + b y + c over each box."""
    return np.asarray(a * boxes[:, 0 if a >= 0 else 2] + b * boxes[:, 1 if b >= 0 else 3] + c, np.float64)


def found(db: sqlite3.Connection, rtree: str, version: int, region: Region) -> Cells:
    """Features whose boxes meet the region."""
    small = few(db, rtree, region.bounds)
    if small is not None:
        return _sorted(_told(*small, region))
    index = leaves(db, rtree, version)
    met = meeting(index.boxes, region.bounds)
    return _sorted(_keys(db, rtree, index, np.flatnonzero(met), region))


def ordered(db: sqlite3.Connection, rtree: str, version: int, region: Region, after_fid: int = 0) -> Iterator[Cells]:
    """Features whose boxes meet the region, ascending, a part at a time.

    Leaves are read by their lowest row number, so that a first part needs about as many leaves as it has features,
    however large the region and wherever its features stand in the table.
    """
    small = few(db, rtree, region.bounds)
    if small is not None:
        yield _after(_sorted(_told(*small, region)), after_fid)
        return
    index = leaves(db, rtree, version)
    met = np.flatnonzero(meeting(index.boxes, region.bounds) & (index.highest > after_fid))
    met = met[np.argsort(index.lowest[met], kind="stable")]
    kept, start, step = np.zeros(0, np.int64), 0, 128
    while start < len(met):
        keys = np.sort(np.concatenate([kept, _keys(db, rtree, index, met[start : start + step], region)]))
        start += step
        step = min(2 * step, NODES_AT_ONCE)
        bound = int(index.lowest[met[start]]) * 2 if start < len(met) else np.iinfo(np.int64).max
        cut = int(np.searchsorted(keys, bound))
        kept = keys[cut:]
        yield _after(_sorted(keys[:cut]), after_fid)


def _after(cells_found: Cells, fid: int) -> Cells:
    start = int(np.searchsorted(cells_found.fids, fid, side="right"))
    return Cells(cells_found.fids[start:], cells_found.is_sure[start:])


def _sorted(keys: IntArray) -> Cells:
    """Cells of keys: row numbers doubled, plus one where they are sure. One sort for both is faster than argsort."""
    both = np.sort(keys)
    return Cells(both >> 1, (both & 1).astype(np.bool_))


def _keys(db: sqlite3.Connection, rtree: str, index: Leaves, met: NDArray[np.intp], region: Region) -> IntArray:
    is_inside = region.holds(index.boxes[met])
    keys = [np.zeros(0, np.int64)]
    for fids, _ in _cells_of(db, rtree, index.numbers[met[is_inside]], None):
        keys.append(fids * 2 + 1)
    for fids, boxes in _cells_of(db, rtree, index.numbers[met[~is_inside]], region.bounds):
        keys.append(_told(fids, boxes, region))
    return np.concatenate(keys)


def _told(fids: IntArray, boxes: FloatArray, region: Region) -> IntArray:
    """Keys of the cells that are in the region for sure, and of those that may be."""
    is_sure = region.holds(boxes)
    return np.concatenate([fids[is_sure] * 2 + 1, fids[region.touches(boxes, ~is_sure)] * 2])


def few(db: sqlite3.Connection, rtree: str, box: Bounds) -> tuple[IntArray, FloatArray] | None:
    """Row numbers and boxes that meet a box, down from the root; None where they stand in more than a few leaves."""
    blobs = [db.execute(f"SELECT data FROM {quote(rtree + '_node')} WHERE nodeno = 1").fetchone()[0]]
    depth = int.from_bytes(blobs[0][:2], "big")
    while True:
        numbers, boxes = cells(blobs, box)
        if depth == 0:
            return numbers, boxes
        if len(numbers) > FEW_LEAVES:
            return None
        depth -= 1
        blobs = [row[0] for row in _nodes(db, rtree, np.sort(numbers), "n.data")]


def _cells_of(
    db: sqlite3.Connection, rtree: str, numbers: IntArray, box: Bounds | None
) -> Iterator[tuple[IntArray, FloatArray]]:
    numbers = np.sort(numbers)
    for start in range(0, len(numbers), NODES_AT_ONCE):
        yield cells([row[0] for row in _nodes(db, rtree, numbers[start : start + NODES_AT_ONCE], "n.data")], box)


def counted(db: sqlite3.Connection, rtree: str, version: int, region: Region) -> tuple[int, IntArray]:
    """Number of features that certainly meet the region, and the row numbers (ascending) of those to be looked at."""
    small = few(db, rtree, region.bounds)
    if small is not None:
        keys = _told(*small, region)
        return int((keys & 1).sum()), np.sort(keys[keys & 1 == 0]) >> 1
    index = leaves(db, rtree, version)
    met = np.flatnonzero(meeting(index.boxes, region.bounds))
    is_inside = region.holds(index.boxes[met])
    total, unsure = int(index.counts[met[is_inside]].sum()), [np.zeros(0, np.int64)]
    for fids, boxes in _cells_of(db, rtree, index.numbers[met[~is_inside]], region.bounds):
        keys = _told(fids, boxes, region)
        total += int((keys & 1).sum())
        unsure.append(keys[keys & 1 == 0] >> 1)
    return total, np.sort(np.concatenate(unsure))
