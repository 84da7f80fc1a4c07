"""Which level of the quadtree shows which feature. Pure: arrays in, arrays out.

`ADD` refinement: a feature is in exactly one tile. A cell that holds no more than the budget keeps everything; a fuller
one keeps its biggest features, up to half the budget, and hands the rest to its quarters. What a cell keeps depends on
nothing but the features that come down to it, so a change is followed through the cells that it touches and no others,
and ends in the same levels as a start from nothing.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiles.quadtree import MAX_LEVEL, FloatArray, IntArray

Levels = NDArray[np.int8]

MAX_FEATURES = 1200
MAX_BYTES = 480_000
"""Of stored mesh blobs, some 12,000 vertices; the float32 glb is about three times as large. A cell that is a little
too full for one tile makes five: so tiles end up between a fifth of this and all of it."""
UNSET = 127
"""Level of a feature that has none yet."""


@dataclass(frozen=True)
class Budget:
    """What a tile should hold at most; only one huge feature, or features on one spot, go beyond it."""

    features: int = MAX_FEATURES
    n_bytes: int = MAX_BYTES


def assign(codes: IntArray, extents: FloatArray, sizes: IntArray, budget: Budget) -> Levels:
    """(n,) level of each feature.

    Parameters
    ----------
    codes : (n,) Morton codes, ascending
    extents : (n,) longest side of each feature's box, metres; of equal ones the first goes up
    sizes : (n,) bytes of each mesh
    """
    levels = np.full(len(codes), UNSET, np.int8)
    active = np.arange(len(codes))
    for level in range(MAX_LEVEL + 1):
        stays = _kept(codes[active] >> 2 * (MAX_LEVEL - level), extents[active], sizes[active], level, budget)
        levels[active[stays]] = level
        active = active[~stays]
        if not len(active):
            break
    return levels


def reassign(  # noqa: PLR0917 columns of one table
    codes: IntArray,
    extents: FloatArray,
    sizes: IntArray,
    before: Levels,
    gone_codes: IntArray,
    gone_levels: Levels,
    budget: Budget,
) -> Levels:
    """Levels after a change: what `assign` would give, at the price of the cells that the change touches.

    Parameters
    ----------
    codes, extents, sizes : the features as they are now, as for `assign`
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
        stays = _kept(codes[rows] >> shift, extents[rows], sizes[rows], level, budget)
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


def _kept(cells: IntArray, extents: FloatArray, sizes: IntArray, level: int, budget: Budget) -> NDArray[np.bool_]:
    """(m,) which features of the given cells (ascending) stay in them."""
    if not len(cells):
        return np.zeros(0, np.bool_)
    first = np.flatnonzero(np.r_[True, cells[1:] != cells[:-1]])
    counts = np.diff(np.r_[first, len(cells)])
    n_bytes = np.add.reduceat(sizes, first)
    fits = (counts == 1) | ((counts <= budget.features) & (n_bytes <= budget.n_bytes)) | (level == MAX_LEVEL)
    stays = np.repeat(fits, counts)
    full = np.flatnonzero(~fits)
    if len(full):
        stays[_biggest(first[full], counts[full], extents, sizes, budget)] = True
    return stays


def _biggest(
    first: IntArray, counts: IntArray, extents: FloatArray, sizes: IntArray, budget: Budget
) -> NDArray[np.int64]:
    """Rows of the biggest features of each cell (`counts` rows from `first` on), up to half the budget."""
    most = max(budget.features // 2, 1)
    chosen, cell_of = [], []
    for number, (start, count) in enumerate(zip(first.tolist(), counts.tolist(), strict=True)):
        own = extents[start : start + count]
        if count > most:  # sorting all of a million to find some hundreds would take most of the time
            rows = np.flatnonzero(own >= np.partition(own, count - most)[count - most])
        else:
            rows = np.arange(count)
        chosen.append(rows + start)
        cell_of.append(np.full(len(rows), number))
    rows, cells = np.concatenate(chosen), np.concatenate(cell_of)
    order = np.lexsort((-extents[rows], cells))
    rows, cells = rows[order], cells[order]
    begin = np.flatnonzero(np.r_[True, cells[1:] != cells[:-1]])
    n_ranked = np.diff(np.r_[begin, len(cells)])
    running = np.cumsum(sizes[rows])
    before = np.repeat(running[begin] - sizes[rows[begin]], n_ranked)
    rank = np.arange(len(rows)) - np.repeat(begin, n_ranked)
    return rows[(rank < most) & ((running - before <= budget.n_bytes // 2) | (rank == 0))]


def _ranges(starts: NDArray[np.int64], stops: NDArray[np.int64]) -> NDArray[np.int64]:
    """All numbers of some half-open ranges, one after the other."""
    counts = stops - starts
    total = int(counts.sum())
    return np.repeat(starts - np.r_[0, np.cumsum(counts)[:-1]], counts) + np.arange(total)
