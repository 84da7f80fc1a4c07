"""Points -> nodes of a COPC octree, each point in exactly one, in bounded memory.

COPC 1.0 (https://copc.io): node D-X-Y-Z is a cube of side `side / 2^D`; its points are about `side / 2^D / 128` apart.
At each level one point in each cell of a 128-fold grid is taken, the rest goes down; a node with few points keeps all
of them. Clouds larger than `TILE_POINTS` are first sorted into cubes on disk ("tiles", as large as they may be), and
a tile that is still too large into smaller ones; tiles are taken one by one.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

GRID_LEVELS = 7
"""The grid of a node has 2^7 = 128 cells a side."""
TILE_POINTS = 2_000_000
LEAF_POINTS = 30_000
MAX_TILE_DEPTH = 21
"""A tile as deep as this is at most 2048 of the file's steps wide."""
CODE_LEVELS = 21
"""Bits an axis of a point's place in a tile: three of them fill a 64-bit integer."""
DEPTH_BELOW_TILE = CODE_LEVELS - GRID_LEVELS

Key = tuple[int, int, int, int]
Records = NDArray[np.void]
"""(n,) point records with integer fields X, Y, Z."""


def _spread_table() -> NDArray[np.int64]:
    """(2048,) numbers of 11 bits with two zeros put between each two bits."""
    number = np.arange(2048, dtype=np.int64)
    return np.asarray(sum(((number >> bit) & 1) << (3 * bit) for bit in range(11)), np.int64)


_SPREAD = _spread_table()


@dataclass(frozen=True)
class Cube:
    """The root cube in the file's integer steps: lowest corner, and the side along each axis (steps may differ)."""

    low: tuple[int, int, int]
    sides: tuple[float, float, float]

    def cells(self, records: Records, depth: int) -> list[NDArray[np.int64]]:
        """Three arrays (n,): the cube at a depth in which each point lies; outside points count to the nearest one."""
        per_side = 1 << depth
        return [
            np.clip(((records[axis] - np.float64(low)) * (per_side / side)).astype(np.int64), 0, per_side - 1)
            for axis, low, side in zip("XYZ", self.low, self.sides, strict=True)
        ]

    def codes(self, records: Records, tile: Key) -> NDArray[np.int64]:
        """(n,) Morton codes of 21 bits an axis in a tile: `code >> 3 * (21 - n)` is equal in a cube n levels below."""
        depth, *at = tile
        made = np.zeros(len(records), np.int64)
        for whole, low in zip(self.cells(records, depth + CODE_LEVELS), at, strict=True):
            cell = np.clip(whole - (low << CODE_LEVELS), 0, (1 << CODE_LEVELS) - 1)
            made <<= 1
            made |= _SPREAD[cell & 2047] | _SPREAD[cell >> 11] << 33
        return made


def cube(
    low: tuple[int, int, int], high: tuple[int, int, int], scales: tuple[float, float, float]
) -> tuple[Cube, float]:
    """The smallest cube (in the CRS's units) from `low` that holds `high` too, and its side in those units."""
    side = max((b - a + 1) * scale for a, b, scale in zip(low, high, scales, strict=True))
    return Cube(low, tuple(side / scale for scale in scales)), side  # type: ignore[arg-type]


class Census:
    """Points by the cubes that lie seven levels below one cube of the tree."""

    def __init__(self, root: Cube, key: Key = (0, 0, 0, 0)) -> None:
        self._root, self._key = root, key
        self.counts = np.zeros(1 << 3 * GRID_LEVELS, np.int64)

    def places(self, records: Records) -> NDArray[np.int64]:
        """(n,) number of the cube of each point, 0 … 128³ - 1."""
        depth, *at = self._key
        x, y, z = (
            np.clip(cell - (each << GRID_LEVELS), 0, 127)
            for cell, each in zip(self._root.cells(records, depth + GRID_LEVELS), at, strict=True)
        )
        return (x << 14) | (y << 7) | z

    def add(self, records: Records) -> None:
        """Count more points."""
        self.counts += np.bincount(self.places(records), minlength=len(self.counts))

    def tiles(self, limit: int) -> "Tiles":
        """The largest cubes with at most `limit` points that do not overlap (or those seven levels down)."""
        levels = [self.counts.reshape(128, 128, 128)]
        while len(levels[0]) > 1:
            half = len(levels[0]) // 2
            levels.insert(0, levels[0].reshape(half, 2, half, 2, half, 2).sum(axis=(1, 3, 5)))
        number_of = np.full((128, 128, 128), -1, np.int32)
        keys: list[Key] = []
        depth, *at = self._key
        for level, counts in enumerate(levels):
            span = 128 >> level
            is_tile = (counts > 0) & ((counts <= limit) | (level == GRID_LEVELS))
            is_tile &= number_of[::span, ::span, ::span] < 0
            for x, y, z in np.argwhere(is_tile).tolist():
                block = tuple(slice(each * span, (each + 1) * span) for each in (x, y, z))
                number_of[block] = len(keys)
                keys.append((depth + level, x + (at[0] << level), y + (at[1] << level), z + (at[2] << level)))
        return Tiles(self, number_of.ravel(), keys)


@dataclass(frozen=True)
class Tiles:
    """Cubes of a census that together hold all its points: number of the tile of each place, and their keys."""

    census: Census
    number_of: NDArray[np.int32]
    keys: list[Key]

    def split(self, records: Records) -> Iterator[tuple[Key, Records]]:
        """Records by tile."""
        if len(self.keys) == 1:
            yield self.keys[0], records
            return
        numbers = self.number_of[self.census.places(records)]
        order = np.argsort(numbers, kind="stable")
        for rows in np.split(order, _starts(numbers[order])[1:]):
            if len(rows):
                yield self.keys[int(numbers[rows[0]])], records[rows]


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
            file.write(np.ascontiguousarray(records).view(np.uint8).data)

    def take(self, key: Key) -> Records:
        """The records of one key; its file goes away."""
        records = np.fromfile(self._path(key), self._dtype)
        self._path(key).unlink()
        return records

    def pieces(self, key: Key, n: int) -> Iterator[Records]:
        """The records of one key, at most `n` at a time; its file stays."""
        with self._path(key).open("rb") as file:
            while len(records := np.fromfile(file, self._dtype, n)):
                yield records

    def drop(self, key: Key) -> None:
        """Remove the file of one key."""
        self._path(key).unlink()


def _starts(values: NDArray[np.generic]) -> NDArray[np.int64]:
    """Where runs of equal values begin; `values` has at least one."""
    return np.flatnonzero(np.concatenate(([True], values[1:] != values[:-1])))


def distribute(records: Records, root: Cube, tile: Key, give: Callable[[Key, Records], None]) -> None:
    """Hand every record of one tile to exactly one node.

    Nodes above the tile get what this tile has for them; the caller joins the shares of all tiles. A node's records are
    in the order in which they came. Tiles more than seven levels deep each give the nodes far above them one point.
    """
    if not len(records):
        return
    top = tile[0]
    codes = root.codes(records, tile)
    left = np.argsort(codes)
    codes = codes[left]
    for depth in range(top + DEPTH_BELOW_TILE + 1):
        cell_shift, node_shift = (min(3 * (CODE_LEVELS + top - each), 63) for each in (depth + GRID_LEVELS, depth))
        starts = _starts(codes >> cell_shift)
        sizes = np.diff(starts, append=len(codes))
        taken = np.zeros(len(codes), bool)
        taken[starts + sizes // 2] = True  # the first of a cell would always be the one in its lowest corner
        nodes = codes >> node_shift
        if depth >= top:
            node_sizes = np.diff(_starts(nodes), append=len(codes))
            is_whole = (node_sizes <= LEAF_POINTS) | (depth == top + DEPTH_BELOW_TILE)
            taken |= np.repeat(is_whole, node_sizes)
        chosen, of_node = left[taken], nodes[taken]
        for rows in np.split(np.arange(len(chosen)), _starts(of_node)[1:]):
            give(_key(tile, depth, int(of_node[rows[0]])), records[np.sort(chosen[rows])])
        left, codes = left[~taken], codes[~taken]
        if not len(left):
            return


def _key(tile: Key, depth: int, code: int) -> Key:
    """Key of a node from its code below a tile, or of the tile's ancestor at a depth."""
    top, *at = tile
    if depth <= top:
        x, y, z = (each >> (top - depth) for each in at)
        return depth, x, y, z
    below = depth - top
    inside = (sum((code >> (3 * bit + shift) & 1) << bit for bit in range(below)) for shift in (2, 1, 0))
    x, y, z = ((each << below) + part for each, part in zip(at, inside, strict=True))
    return depth, x, y, z
