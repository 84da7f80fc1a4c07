"""Which level of the quadtree shows which feature. Pure: arrays in, arrays out.

`ADD` refinement: a feature is in exactly one tile. A cell that holds no more than the budget keeps everything; a
fuller one keeps its biggest features, up to its share, and hands the rest to its quarters. What a cell keeps depends on
nothing but the features that come down to it, so a change is followed through the cells that it touches and no others,
and ends in the same levels as a start from nothing.

A cell keeps whole classes of size, not single features: else one feature that grows would push another down, that one
a third, and an edit would change a tile on each level. Classes are an eighth of an octave wide; within one, features
are drawn by lot (half of them, a quarter, an eighth …), so that also of a million equal ones some show from afar.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiles.quadtree import MAX_LEVEL, FloatArray, IntArray

Levels = NDArray[np.int8]
Ranks = NDArray[np.int32]

MAX_FEATURES = 800
MAX_BYTES = 320_000
"""Of stored mesh blobs, some 8,000 vertices; the float32 glb is about three times as large. A cell that is a little too
full for one tile makes five: so tiles end up between a fifth of this and all of it."""
LEAST_M = 0.01
"""Smaller features are of one class."""
_CLASSES = 8
"""Classes of size in an octave."""
_LOTS = 32
_FAR_MORE = 4
UNSET = 127
"""Level of a feature that has none yet."""


@dataclass(frozen=True)
class Budget:
    """What a tile should hold at most; only one huge feature, or features on one spot, go beyond it."""

    features: int = MAX_FEATURES
    n_bytes: int = MAX_BYTES


def ranks(codes: IntArray, extents: FloatArray) -> Ranks:
    """(n,) class of each feature, higher for those that show first: by size in eighths of an octave, then by lot.

    The lot follows from the place, so that an edit that does not move or resize a feature leaves it where it is.
    """
    size_class = np.floor(_CLASSES * np.log2(np.maximum(extents, LEAST_M))).astype(np.int64)
    lot = (codes.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
    drawn = _LOTS - 1 - np.floor(np.log2(np.maximum(lot, 1))).astype(np.int64)  # 0 for half of all, 1 for a quarter …
    return np.asarray(size_class * _LOTS + drawn, np.int32)


def assign(codes: IntArray, order: Ranks, sizes: IntArray, budget: Budget) -> Levels:
    """(n,) level of each feature.

    Parameters
    ----------
    codes : (n,) Morton codes, ascending
    order : (n,) `ranks` of the features
    sizes : (n,) bytes of each mesh
    """
    levels = np.full(len(codes), UNSET, np.int8)
    active = np.arange(len(codes))
    for level in range(MAX_LEVEL + 1):
        stays = _kept(codes[active] >> 2 * (MAX_LEVEL - level), order[active], sizes[active], level, budget)
        levels[active[stays]] = level
        active = active[~stays]
        if not len(active):
            break
    return levels


def reassign(  # noqa: PLR0917 columns of one table
    codes: IntArray,
    order: Ranks,
    sizes: IntArray,
    before: Levels,
    gone_codes: IntArray,
    gone_levels: Levels,
    budget: Budget,
) -> Levels:
    """Levels after a change: what `assign` would give, at the price of the cells that the change touches.

    Parameters
    ----------
    codes, order, sizes : the features as they are now, as for `assign`
    before : (n,) their levels before the change, UNSET for new ones
    gone_codes, gone_levels : of the features that were removed
    """
    levels = before.copy()
    dirty = np.zeros(1, np.int64) if len(gone_codes) or bool((before == UNSET).any()) else np.zeros(0, np.int64)
    for level in range(MAX_LEVEL + 1):
        if not len(dirty):
            break
        shift = 2 * (MAX_LEVEL - level)
        rows = _ranges(np.searchsorted(codes, dirty << shift), np.searchsorted(codes, (dirty + 1) << shift))
        rows = rows[levels[rows] >= level]
        old = levels[rows]
        stays = _kept(codes[rows] >> shift, order[rows], sizes[rows], level, budget)
        levels[rows[stays]] = level
        levels[rows[~stays & (old == level)]] = UNSET
        comes = rows[~stays & ((old == level) | (old == UNSET))]
        # a feature that goes up is missing in every cell on its way down to where it was, whoever stays there
        leaves = stays & (old > level) & (old != UNSET)
        gone_codes = np.concatenate([gone_codes, codes[rows[leaves]]])
        gone_levels = np.concatenate([gone_levels, old[leaves]])
        below = (codes[comes], gone_codes[gone_levels > level])
        dirty = np.unique(np.concatenate(below) >> max(shift - 2, 0))
    return levels


def _kept(cells: IntArray, order: Ranks, sizes: IntArray, level: int, budget: Budget) -> NDArray[np.bool_]:
    """(m,) which features of the given cells (ascending) stay in them."""
    if not len(cells):
        return np.zeros(0, np.bool_)
    first = np.flatnonzero(np.r_[True, cells[1:] != cells[:-1]])
    counts = np.diff(np.r_[first, len(cells)])
    n_bytes = np.add.reduceat(sizes, first)
    fits = (counts == 1) | ((counts <= budget.features) & (n_bytes <= budget.n_bytes)) | (level == MAX_LEVEL)
    stays = np.repeat(fits, counts)
    full = np.flatnonzero(~fits)
    for start, count in zip(first[full].tolist(), counts[full].tolist(), strict=True):
        own = slice(start, start + count)
        stays[own] = order[own] >= _lowest(order[own], sizes[own], budget)
    return stays


def _lowest(order: Ranks, sizes: IntArray, budget: Budget) -> int:
    """The lowest class that a full cell keeps: all from it up are no more than its share.

    That is the whole budget where far more comes down, and half of it where the rest is for the last quarters.
    """
    share = 1 if len(order) > _FAR_MORE * budget.features else 2
    most = max(budget.features // share, 1)
    lowest = int(order.min())
    if len(order) > most:
        # sorting all of a million to find some hundreds would take most of the time
        last = int(np.partition(order, len(order) - most)[len(order) - most])
        lowest = last if np.count_nonzero(order >= last) <= most else last + 1
    top = np.flatnonzero(order >= lowest)
    classes, place = np.unique(-order[top], return_inverse=True)
    running = np.cumsum(np.bincount(place, sizes[top], len(classes)))
    n_fit = int(np.count_nonzero(running <= budget.n_bytes // share))
    if n_fit == 0 and len(classes) and np.count_nonzero(place == 0) == 1:
        n_fit = 1  # one huge feature stays where its size belongs
    return int(-classes[n_fit - 1]) if n_fit else int(order.max()) + 1


def _ranges(starts: NDArray[np.int64], stops: NDArray[np.int64]) -> NDArray[np.int64]:
    """All numbers of some half-open ranges, one after the other."""
    counts = stops - starts
    total = int(counts.sum())
    return np.repeat(starts - np.r_[0, np.cumsum(counts)[:-1]], counts) + np.arange(total)
