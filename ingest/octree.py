"""Points -> nodes of a COPC octree, each point in exactly one, in bounded memory.

COPC 1.0 (https://copc.io): node D-X-Y-Z is a cube of side `side / 2^D`; its points are about `side / 2^D / 128` apart.
At each level the first point in each cell of a 128-fold grid is taken, the rest goes down; a node with few points
keeps all of them. Clouds larger than `TILE_POINTS` are first sorted into cubes on disk ("tiles"); a grid cell of an
upper level lies within one tile as long as tiles are not deeper than level 7, so tiles can be taken one by one.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

GRID = 128
TILE_POINTS = 2_000_000
LEAF_POINTS = 30_000
MAX_TILE_DEPTH = 7
MAX_DEPTH = 20

Key = tuple[int, int, int, int]
Records = NDArray[np.void]
"""(n,) point records with integer fields X, Y, Z."""


@dataclass(frozen=True)
class Cube:
    """The root cube in the file's integer steps: lowest corner, and the side along each axis (steps may differ)."""

    low: tuple[int, int, int]
    sides: tuple[float, float, float]

    def cells(self, records: Records, per_side: int) -> NDArray[np.int64]:
        """(n, 3) cell of each point when the side is cut into `per_side` equal parts."""
        columns = [
            np.floor((records[axis].astype(np.float64) - low) * (per_side / side)).astype(np.int64)
            for axis, low, side in zip("XYZ", self.low, self.sides, strict=True)
        ]
        return np.clip(np.stack(columns, axis=1), 0, per_side - 1)


def cube(
    low: tuple[int, int, int], high: tuple[int, int, int], scales: tuple[float, float, float]
) -> tuple[Cube, float]:
    """The smallest cube (in the CRS's units) from `low` that holds `high` too, and its side in those units."""
    side = max((b - a + 1) * scale for a, b, scale in zip(low, high, scales, strict=True))
    return Cube(low, tuple(side / scale for scale in scales)), side  # type: ignore[arg-type]


def _codes(cells: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n, 3) cells below 2^20 a side -> one integer each; larger cells are ranked first."""
    if cells.size and int(cells.max()) >= 1 << 20:
        cells = np.stack([np.unique(cells[:, i], return_inverse=True)[1] for i in range(3)], axis=1)
    return cells[:, 0] << 42 | cells[:, 1] << 21 | cells[:, 2]


def tile_depth(counts: Counter[tuple[int, int, int]], limit: int = TILE_POINTS) -> int:
    """Depth at which no cube holds more than `limit` points (or 7), from counts by cube at depth 7."""
    for depth in range(MAX_TILE_DEPTH + 1):
        shift = MAX_TILE_DEPTH - depth
        coarse: Counter[tuple[int, int, int]] = Counter()
        for (x, y, z), count in counts.items():
            coarse[x >> shift, y >> shift, z >> shift] += count
        if max(coarse.values(), default=0) <= limit:
            return depth
    return MAX_TILE_DEPTH


def count_cubes(records: Records, root: Cube) -> Counter[tuple[int, int, int]]:
    """Points by cube at depth 7."""
    cells, counts = np.unique(root.cells(records, 1 << MAX_TILE_DEPTH), axis=0, return_counts=True)
    return Counter({(int(x), int(y), int(z)): int(n) for (x, y, z), n in zip(cells, counts, strict=True)})


class Spill:
    """Point records by key, appended to files in a temporary folder."""

    def __init__(self, folder: Path, name: str, dtype: np.dtype[np.void]) -> None:
        self._folder, self._name, self._dtype = folder, name, dtype
        self.counts: Counter[Key] = Counter()

    def _path(self, key: Key) -> Path:
        return self._folder / f"{self._name}-{'-'.join(map(str, key))}.bin"

    def add(self, key: Key, records: Records) -> None:
        """Append records under a key."""
        self.counts[key] += len(records)
        with self._path(key).open("ab") as file:
            file.write(records.tobytes())

    def drain(self) -> Iterator[tuple[Key, Records]]:
        """Every key with its records, in the order of keys; the files go away."""
        for key in sorted(self.counts):
            path = self._path(key)
            records = np.fromfile(path, self._dtype)
            path.unlink()
            yield key, records


def split(records: Records, root: Cube, depth: int) -> Iterator[tuple[Key, Records]]:
    """Records by cube at a depth."""
    cells = root.cells(records, 1 << depth)
    order, starts = _grouped(_codes(cells))
    for rows in np.split(order, starts[1:]):
        x, y, z = (int(value) for value in cells[rows[0]])
        yield (depth, x, y, z), records[rows]


def _grouped(codes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(codes[order]) != 0]) if len(codes) else np.zeros(0, np.int64)
    return order, starts


def distribute(records: Records, root: Cube, top: int, give: Callable[[Key, Records], None]) -> None:
    """Hand every record of one tile (a cube at depth `top`) to exactly one node.

    Nodes above `top` get what this tile has for them; the caller joins the shares of all tiles.
    """
    left = records
    for depth in range(MAX_DEPTH + 1):
        if not len(left):
            return
        nodes = root.cells(left, 1 << depth)
        taken = _first_in_cell(left, root, depth)
        if depth >= top:
            order, starts = _grouped(_codes(nodes))
            sizes = np.diff(np.r_[starts, len(left)])
            small = np.zeros(len(left), bool)
            small[order] = np.repeat((sizes <= LEAF_POINTS) | (depth == MAX_DEPTH), sizes)
            taken |= small
        for key, chosen in split(left[taken], root, depth):
            give(key, chosen)
        left = left[~taken]


def _first_in_cell(records: Records, root: Cube, depth: int) -> NDArray[np.bool_]:
    """(n,) True for the first record in each grid cell of a level."""
    _, first = np.unique(_codes(root.cells(records, GRID << depth)), return_index=True)
    taken = np.zeros(len(records), bool)
    taken[first] = True
    return taken
