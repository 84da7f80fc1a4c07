"""What of a layer a map shows as a shape, and what as one pixel. Decided from boxes alone, before any row is read."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Rows = NDArray[np.intp]

SPECK_PX = 1.0
"""Features whose boxes are smaller than this are shown as pixels: no shape of theirs could be told."""
MAX_SHAPES = 200_000
"""Shapes of a layer in a map; of more, the largest. The others are shown as pixels."""
FAINT = 0.3
"""Least strength of a pixel with anything in it, so that a lone building does not vanish."""


@dataclass(frozen=True)
class Choice:
    """Rows of the candidates.

    Attributes
    ----------
    shapes : rows that are drawn as what they are
    specks : the row that stands for its pixel, the largest there
    pixels : (k, 2) column and row of the pixel of each speck
    strength : (k,) share of the pixel that all small ones in it cover, from FAINT to 1
    """

    shapes: Rows
    specks: Rows
    pixels: NDArray[np.int64]
    strength: FloatArray


def chosen(fids: NDArray[np.int64], boxes: FloatArray, size: tuple[int, int], *, are_points: bool) -> Choice:
    """What is shown of candidates.

    Parameters
    ----------
    fids : (n,) row numbers; equals follow a scattered but fixed order of these
    boxes : (n, 4) left, top, right, bottom in pixels
    size : width and height of the map
    are_points : True for symbols, which have no size of their own: one a pixel is drawn, as a shape
    """
    sides = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    known = np.isfinite(sides)
    rank = _rank(np.where(known, sides, 0), fids)
    if are_points:
        cell, inside = _cells(boxes, size, 16)
        at = np.flatnonzero(known & inside)
        return _no_specks(_first(_best(at, cell, rank), rank))
    large = np.flatnonzero(known & (sides >= SPECK_PX))
    shapes = _first(large, rank)
    if len(shapes) == len(known):
        return _no_specks(shapes)
    rest = known.copy()
    rest[shapes] = False
    cell, inside = _cells(boxes, size, 0)
    small = np.flatnonzero(rest & inside)
    specks = _best(small, cell, rank)
    if not len(specks):
        return _no_specks(shapes)
    areas = (boxes[small, 2] - boxes[small, 0]) * (boxes[small, 3] - boxes[small, 1])
    covered = np.bincount(cell[small], areas, minlength=int(cell[specks].max()) + 1)
    pixels = np.stack([cell[specks] % size[0], cell[specks] // size[0]], axis=1)
    return Choice(shapes, specks, pixels, np.clip(covered[cell[specks]], FAINT, 1.0))


def _no_specks(shapes: Rows) -> Choice:
    return Choice(shapes, np.zeros(0, np.intp), np.zeros((0, 2), np.int64), np.zeros(0))


def _cells(boxes: FloatArray, size: tuple[int, int], margin: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Number of the pixel that holds the middle of each box, and whether it lies within the map and a margin."""
    wide, high = size[0] + 2 * margin, size[1] + 2 * margin
    middle = np.floor((boxes[:, :2] + boxes[:, 2:]) / 2) + margin
    inside = (middle >= 0).all(axis=1) & (middle[:, 0] < wide) & (middle[:, 1] < high)
    place = np.where(inside[:, None], middle, 0).astype(np.int64)
    return place[:, 1] * wide + place[:, 0], inside


def _best(rows: Rows, cell: NDArray[np.int64], rank: NDArray[np.int64]) -> Rows:
    """Of rows in the same pixel the one of the highest rank."""
    if not len(rows):
        return rows
    best = np.full(int(cell[rows].max()) + 1, -1, np.int64)
    np.maximum.at(best, cell[rows], rank[rows])
    return rows[rank[rows] == best[cell[rows]]]


def _first(rows: Rows, rank: NDArray[np.int64]) -> Rows:
    if len(rows) <= MAX_SHAPES:
        return rows
    return rows[np.argpartition(-rank[rows], MAX_SHAPES)[:MAX_SHAPES]]


def _rank(sides: FloatArray, fids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Larger comes first; of equals whoever is first in a scattered order."""
    scattered = (fids * 2654435761) % 2**32
    return np.minimum((sides * 100).astype(np.int64), 2**30) << 32 | (2**32 - 1 - scattered)
