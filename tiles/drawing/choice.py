"""What of a layer a map shows as a shape, and what as one pixel. Decided from boxes alone, before any row is read."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Rows = NDArray[np.intp]

SPECK_PX = 1.0
"""Features whose boxes are smaller than this are shown as pixels: no shape of theirs could be told."""
CRUMB_PX, MANY = 3.0, 50_000
"""The same where there are many candidates."""
MAX_SHAPES = 200_000
"""Shapes of a layer in a map; of more, the largest. Of the others the boxes are drawn."""
ROWS_AT_ONCE = 100_000
MARGIN = 16
"""Pixels around the map in which symbols are looked for."""
FAINT = 0.3
"""Least strength of a pixel with anything in it, so that a lone building does not vanish."""


@dataclass(frozen=True)
class Choice:
    """Rows of the candidates.

    Attributes
    ----------
    shapes : rows that are drawn as what they are
    boxes : rows of areas beyond MAX_SHAPES, which are drawn as their boxes
    specks : the row that stands for its pixel, the largest there; a row may stand for several
    pixels : (k, 2) column and row of the pixel of each speck
    strength : (k,) share of the pixel that all small ones in it cover, from FAINT to 1
    """

    shapes: Rows
    boxes: Rows
    specks: Rows
    pixels: NDArray[np.int64]
    strength: FloatArray


def chosen(
    fids: NDArray[np.int64], boxes: FloatArray, size: tuple[int, int], *, are_points: bool, are_areas: bool
) -> Choice:
    """What is shown of candidates.

    Parameters
    ----------
    fids : (n,) row numbers; equals follow a scattered but fixed order of these
    boxes : (n, 4) left, top, right, bottom in pixels
    size : width and height of the map
    are_points : True for symbols, which have no size of their own: one a pixel is drawn, as a shape
    are_areas : True where a box may stand for a shape
    """
    sides = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    known = np.isfinite(sides)
    rank = _rank(np.where(known, sides, 0), fids)
    if are_points:
        cell, inside = _cells(boxes, size)
        at = np.flatnonzero(known & inside)
        return _no_specks(_first(at[_best(at, cell[at], rank)], rank))
    smallest = SPECK_PX if len(fids) <= MANY else CRUMB_PX
    shapes = _first(np.flatnonzero(known & (sides >= smallest)), rank)
    if len(shapes) == len(known):
        return _no_specks(shapes)
    rest = known.copy()
    rest[shapes] = False
    spare = np.flatnonzero(rest & (sides >= CRUMB_PX)) if are_areas else np.zeros(0, np.intp)
    rest[spare] = False
    small = np.flatnonzero(rest)
    if not len(small):
        return _no_specks(shapes, spare)
    owner, covered = _owners(small[np.argsort(rank[small], kind="stable")], boxes, size)
    cells = np.flatnonzero(owner >= 0)
    pixels = np.stack([cells % size[0], cells // size[0]], axis=1)
    return Choice(shapes, spare, owner[cells].astype(np.intp), pixels, np.clip(covered[cells], FAINT, 1.0))


def _owners(rows: Rows, boxes: FloatArray, size: tuple[int, int]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """For each pixel the last of the rows that show in it (-1: none), and how much of it all of them cover.

    A row shows in the pixel that holds the middle of its box, and in those whose middles the box holds.
    """
    owner = np.full(size[0] * size[1], -1, np.int32)
    covered = np.zeros(size[0] * size[1], np.float32)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = rows[start : start + ROWS_AT_ONCE]
        box = boxes[part]
        middle = np.floor((box[:, :2] + box[:, 2:]) / 2)
        low, high = np.floor(box[:, :2]), np.maximum(np.ceil(box[:, 2:]) - 1, np.floor(box[:, :2]))
        for down in range(int((high - low)[:, 1].max(initial=-1)) + 1):
            for right in range(int((high - low)[:, 0].max(initial=-1)) + 1):
                place = low + np.array([right, down])
                there = np.flatnonzero(
                    (place <= high).all(axis=1) & (place >= 0).all(axis=1) & (place < size).all(axis=1)
                )
                place, within = place[there], box[there]
                cell = (place[:, 1] * size[0] + place[:, 0]).astype(np.int64)
                share = np.minimum(within[:, 2:], place + 1) - np.maximum(within[:, :2], place)
                np.add.at(covered, cell, share.prod(axis=1).astype(np.float32))
                held = (within[:, :2] <= place + 0.5) & (within[:, 2:] > place + 0.5)
                shows = held.all(axis=1) | (place == middle[there]).all(axis=1)
                # of one part the last in a cell, whatever its rank: all of a part are about as large
                owner[cell[shows]] = part[there[shows]]
    return owner, covered


def _no_specks(shapes: Rows, spare: Rows | None = None) -> Choice:
    none = np.zeros(0, np.intp)
    return Choice(shapes, none if spare is None else spare, none, np.zeros((0, 2), np.int64), np.zeros(0))


def _cells(boxes: FloatArray, size: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Number of the pixel that holds the middle of each box, and whether it lies within the map and a margin."""
    wide, high = size[0] + 2 * MARGIN, size[1] + 2 * MARGIN
    middle = np.floor((boxes[:, :2] + boxes[:, 2:]) / 2) + MARGIN
    inside = (middle >= 0).all(axis=1) & (middle[:, 0] < wide) & (middle[:, 1] < high)
    place = np.where(inside[:, None], middle, 0).astype(np.int64)
    return place[:, 1] * wide + place[:, 0], inside


def _best(rows: Rows, cell: NDArray[np.int64], rank: NDArray[np.int64]) -> Rows:
    """Of places (a row in a cell) in the same cell the one of the row of the highest rank."""
    if not len(rows):
        return rows
    best = np.full(int(cell.max()) + 1, -1, np.int64)
    np.maximum.at(best, cell, rank[rows])
    return np.flatnonzero(rank[rows] == best[cell])


def _first(rows: Rows, rank: NDArray[np.int64]) -> Rows:
    if len(rows) <= MAX_SHAPES:
        return rows
    return rows[np.argpartition(-rank[rows], MAX_SHAPES)[:MAX_SHAPES]]


def _rank(sides: FloatArray, fids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Larger comes first; of equals whoever is first in a scattered order."""
    scattered = (fids * 2654435761) % 2**32
    return np.minimum((sides * 100).astype(np.int64), 2**30) << 32 | (2**32 - 1 - scattered)
