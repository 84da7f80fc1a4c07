"""Which of many boxes come near each other: a tree over the plan, the height at once for all that it gives."""

from collections.abc import Iterator

import numpy as np
import shapely
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

AT_ONCE = 2048


def near_pairs(
    low: FloatArray, high: FloatArray, gap_m: float, other: tuple[FloatArray, FloatArray] | None = None
) -> Iterator[IntArray]:
    """Pairs of boxes that are not farther apart than `gap_m` along any axis.

    Parameters
    ----------
    low, high : (n, 3) corners
    other : (m, 3) corners of a second set; without it pairs are within the first, lesser row first

    Yields
    ------
    (p, 2) rows of the first and of the second (or first) set, by the first; some thousand boxes at a time
    """
    second_low, second_high = (low, high) if other is None else other
    if not len(low) or not len(second_low):
        return
    reach = gap_m + 1e-6
    axes = _widest(np.vstack([low, second_low]), np.vstack([high, second_high]))
    tree = shapely.STRtree(_boxes(second_low, second_high, axes, 0.0))
    for start in range(0, len(low), AT_ONCE):
        rows = slice(start, start + AT_ONCE)
        first, second = tree.query(_boxes(low[rows], high[rows], axes, reach))
        first = first.astype(np.int64) + start
        second = second.astype(np.int64)
        keep = np.ones(len(first), bool) if other is not None else first < second
        first, second = first[keep], second[keep]
        apart = np.maximum(low[first] - second_high[second], second_low[second] - high[first])
        keep = (apart <= reach).all(axis=1)
        found = np.column_stack([first[keep], second[keep]])
        yield found[np.lexsort((found[:, 1], found[:, 0]))]


def _widest(low: FloatArray, high: FloatArray) -> tuple[int, int]:
    """The two axes along which boxes are spread most for their size: a tower is searched by height and one side."""
    spread = (high.max(axis=0) - low.min(axis=0)) / np.maximum(np.median(high - low, axis=0), 1e-9)
    first, second = np.argsort(-spread)[:2].tolist()
    return first, second


def _boxes(low: FloatArray, high: FloatArray, axes: tuple[int, int], reach: float) -> NDArray[np.object_]:
    a, b = axes
    return np.asarray(
        shapely.box(low[:, a] - reach, low[:, b] - reach, high[:, a] + reach, high[:, b] + reach), dtype=object
    )
