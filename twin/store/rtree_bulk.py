"""Many entries into an R-tree at once: the nodes are packed with numpy and written as SQLite keeps them.

Inserting through the virtual table costs about 10 µs an entry, more than all the rest of a feature. Node layout:
https://www.sqlite.org/rtree.html, "Shadow Tables" (big-endian; node 1 is the root and begins with the depth of the
tree; a cell is an 8-byte id or node number and four float32). Packing: Leutenegger et al. 1997, "STR: a simple and
efficient algorithm for R-tree packing".
"""

# ruff: noqa: S608 -- identifiers go through columns.quote, values are parameters

import sqlite3

import numpy as np
from numpy.typing import NDArray

from twin.store.columns import quote

_CELL = np.dtype([("id", ">i8"), ("box", ">f4", 4)])
_HEAD_BYTES = 4
_FEW = 500


def insert(connection: sqlite3.Connection, rtree: str, ids: NDArray[np.int64], boxes: NDArray[np.float64]) -> None:
    """Add (n,) ids that are not in the index, with (n, 4) boxes min x, max x, min y, max y.

    Where the new entries are more than the old ones the tree is packed anew, else they are inserted one by one.
    """
    n_old = 0
    if len(ids) > _FEW:  # counting takes time in proportion to the index
        n_old = connection.execute(f"SELECT count(*) FROM {quote(rtree + '_rowid')}").fetchone()[0]
    if len(ids) <= max(n_old, _FEW):
        rows = zip(ids.tolist(), *boxes.T.tolist(), strict=True)
        connection.executemany(f"INSERT INTO {quote(rtree)} VALUES (?, ?, ?, ?, ?)", rows)
        return
    rounded = _outward(boxes)
    if n_old:
        old = connection.execute(f"SELECT id, minx, maxx, miny, maxy FROM {quote(rtree)}").fetchall()
        ids = np.concatenate([np.array([row[0] for row in old], np.int64), ids])
        rounded = np.concatenate([np.array([row[1:] for row in old], np.float32), rounded])
    _replace(connection, rtree, ids, rounded)


def _outward(boxes: NDArray[np.float64]) -> NDArray[np.float32]:
    """float32 boxes that contain the float64 ones, as the R-tree module rounds."""
    out = boxes.astype(np.float32)
    low, high = out[:, 0::2], out[:, 1::2]
    out[:, 0::2] = np.where(low > boxes[:, 0::2], np.nextafter(low, np.float32(-np.inf)), low)
    out[:, 1::2] = np.where(high < boxes[:, 1::2], np.nextafter(high, np.float32(np.inf)), high)
    return out


def _replace(connection: sqlite3.Connection, rtree: str, ids: NDArray[np.int64], boxes: NDArray[np.float32]) -> None:
    node, parent, rowid = (quote(f"{rtree}_{part}") for part in ("node", "parent", "rowid"))
    size = connection.execute(f"SELECT length(data) FROM {node} WHERE nodeno = 1").fetchone()[0]
    capacity = (size - _HEAD_BYTES) // _CELL.itemsize
    for table in (node, parent, rowid):
        connection.execute(f"DELETE FROM {table}")
    depth, next_number = 0, 2
    while True:
        order = _tiled(boxes, capacity)
        ids, boxes = ids[order], boxes[order]
        starts = np.arange(0, len(ids), capacity)
        is_root = len(starts) == 1
        numbers = np.ones(1, np.int64) if is_root else np.arange(next_number, next_number + len(starts))
        next_number += len(starts)
        blobs = _nodes(ids, boxes, capacity, size, depth if is_root else 0)
        connection.executemany(f"INSERT INTO {node} VALUES (?, ?)", zip(numbers.tolist(), blobs, strict=True))
        owners = np.repeat(numbers, capacity)[: len(ids)]
        by_id = np.argsort(ids)
        connection.executemany(
            f"INSERT INTO {parent if depth else rowid} VALUES (?, ?)",
            zip(ids[by_id].tolist(), owners[by_id].tolist(), strict=True),
        )
        if is_root:
            return
        low = np.minimum.reduceat(boxes[:, 0::2], starts)
        high = np.maximum.reduceat(boxes[:, 1::2], starts)
        boxes = np.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], axis=1)
        ids, depth = numbers, depth + 1


def _tiled(boxes: NDArray[np.float32], capacity: int) -> NDArray[np.intp]:
    """Order in which consecutive runs of `capacity` boxes are compact: slices by x, each sorted by y."""
    x = boxes[:, 0].astype(np.float64) + boxes[:, 1]
    y = boxes[:, 2].astype(np.float64) + boxes[:, 3]
    n_nodes = -(-len(boxes) // capacity)
    slice_size = int(np.ceil(np.sqrt(n_nodes))) * capacity
    order = np.argsort(x, kind="stable")
    slices = np.arange(len(boxes)) // slice_size
    return order[np.lexsort((y[order], slices))]


def _nodes(ids: NDArray[np.int64], boxes: NDArray[np.float32], capacity: int, size: int, depth: int) -> list[bytes]:
    n_nodes = -(-len(ids) // capacity)
    cells = np.zeros(n_nodes * capacity, _CELL)
    cells["id"][: len(ids)], cells["box"][: len(ids)] = ids, boxes
    data = np.zeros((n_nodes, size), np.uint8)
    counts = np.full(n_nodes, capacity, ">u2")
    counts[-1] = len(ids) - (n_nodes - 1) * capacity
    data[:, 0:2] = np.array([depth], ">u2").view(np.uint8)
    data[:, 2:4] = counts.view(np.uint8).reshape(-1, 2)
    data[:, 4 : 4 + capacity * _CELL.itemsize] = cells.view(np.uint8).reshape(n_nodes, -1)
    return [row.tobytes() for row in data]


def bounds(connection: sqlite3.Connection, rtree: str) -> tuple[float, float, float, float] | None:
    """West, south, east, north of everything in the index (rounded outward), from its root alone; None if empty."""
    data = connection.execute(f"SELECT data FROM {quote(rtree + '_node')} WHERE nodeno = 1").fetchone()[0]
    n_cells = int.from_bytes(data[2:4], "big")
    if n_cells == 0:
        return None
    box = np.frombuffer(data, _CELL, n_cells, _HEAD_BYTES)["box"].astype(np.float64)
    return (float(box[:, 0].min()), float(box[:, 2].min()), float(box[:, 1].max()), float(box[:, 3].max()))
