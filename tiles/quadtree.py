"""Cells of a quadtree over a square of the city's ENU plane, as numbers. Pure.

A cell of a level is numbered in Morton order (x in the even bits, as 3D Tiles subtrees want it: OGC 22-025r4, 7.3.3);
a tile's key is its level above its cell, so that keys sort by level, then along the curve.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from layers.errors import InvalidInput

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MAX_LEVEL = 20
STEPS = 8
"""The corner of a square lies on a multiple of this part of its side."""
_CELL_BITS = 2 * MAX_LEVEL


@dataclass(frozen=True)
class Square:
    """West and south edge and side in metres of the ENU plane; x grows east, y north."""

    x: float
    y: float
    side: float


def square_around(west: float, south: float, east: float, north: float) -> Square:
    """The smallest square of a fixed family that holds a box: its side is a power of two, its corner a multiple of an
    eighth of the side. So it follows from the box alone, and most changes of the box leave it as it is.

    Raises InvalidInput where the box is not finite.
    """
    if not np.isfinite([west, south, east, north]).all():
        raise InvalidInput("The bounds of a mesh are not finite.", "Build the twin again.")
    side = 1.0
    while True:
        step = side / STEPS
        x, y = np.floor(west / step) * step, np.floor(south / step) * step
        if east <= x + side and north <= y + side:
            return Square(float(x), float(y), side)
        side *= 2


def codes(square: Square, x: FloatArray, y: FloatArray) -> IntArray:
    """(n,) Morton code at MAX_LEVEL of the cell that each point lies in."""
    scale = 2**MAX_LEVEL / square.side
    columns = np.clip(((x - square.x) * scale).astype(np.int64), 0, 2**MAX_LEVEL - 1)
    rows = np.clip(((y - square.y) * scale).astype(np.int64), 0, 2**MAX_LEVEL - 1)
    return interleave(columns, rows)


def interleave(x: IntArray, y: IntArray) -> IntArray:
    """Cell number of column x and row y, both below 2^MAX_LEVEL."""
    return _spread(x) | (_spread(y) << 1)


def column_row(cells: IntArray) -> tuple[IntArray, IntArray]:
    """Columns and rows of cell numbers."""
    return _gathered(cells), _gathered(cells >> 1)


def key(level: int, x: int, y: int) -> int:
    """Key of a tile. Raises nothing: what lies off the grid is a key that no tree holds."""
    if not (0 <= level <= MAX_LEVEL and 0 <= x < 1 << level and 0 <= y < 1 << level):
        return -1
    return (level << _CELL_BITS) | int(interleave(np.array([x]), np.array([y]))[0])


def keys(levels: NDArray[np.integer], point_codes: IntArray) -> IntArray:
    """Key of the cell of each point at each point's level."""
    wide = levels.astype(np.int64)
    return (wide << _CELL_BITS) | (point_codes >> 2 * (MAX_LEVEL - wide))


def level_cell(tile_keys: IntArray) -> tuple[IntArray, IntArray]:
    """Level and cell of keys."""
    return tile_keys >> _CELL_BITS, tile_keys & ((1 << _CELL_BITS) - 1)


def parents(tile_keys: IntArray) -> IntArray:
    """Keys of the tiles one level up; of a root, -1."""
    level, cell = level_cell(tile_keys)
    return np.where(level > 0, ((level - 1) << _CELL_BITS) | (cell >> 2), -1)


def _spread(values: IntArray) -> IntArray:
    """A zero between the lowest 32 bits (H. S. Warren, Hacker's Delight, 7-2)."""
    spread = values & 0xFFFFFFFF
    for shift, mask in ((16, 0x0000FFFF0000FFFF), (8, 0x00FF00FF00FF00FF), (4, 0x0F0F0F0F0F0F0F0F)):
        spread = (spread | (spread << shift)) & mask
    spread = (spread | (spread << 2)) & 0x3333333333333333
    return np.asarray((spread | (spread << 1)) & 0x5555555555555555)


def _gathered(values: IntArray) -> IntArray:
    """The even bits: the reverse of `_spread`."""
    packed = values & 0x5555555555555555
    for shift, mask in ((1, 0x3333333333333333), (2, 0x0F0F0F0F0F0F0F0F), (4, 0x00FF00FF00FF00FF)):
        packed = (packed | (packed >> shift)) & mask
    packed = (packed | (packed >> 8)) & 0x0000FFFF0000FFFF
    return np.asarray((packed | (packed >> 16)) & 0xFFFFFFFF)
