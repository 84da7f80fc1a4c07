"""A quadtree over the meshes of a layer: which feature is in which tile. Pure: arrays in, arrays out.

`ADD` refinement: a feature is in exactly one tile. A tile that holds more than the budget keeps its biggest features
(those that show from afar) and hands the rest down to its four quarters, by the centre of their bounds. What a tile
hands down is small against its cell, so its geometric error is a fraction of the cell's side and halves per level.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from layers.errors import InvalidInput

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MAX_LEVEL = 20
MAX_FEATURES = 1500
MAX_BYTES = 600_000
"""Of stored mesh blobs; the glb is about three times as large."""
SIDE_PER_ERROR = 16
"""Cell side over geometric error. A viewer that tolerates 16 pixels loads the quarters of a cell once the cell is
wider than 256 pixels; what is handed down is then at most 16 pixels large."""


@dataclass(frozen=True)
class Tree:
    """Tiles in breadth-first order; tile 0 is the root.

    Attributes
    ----------
    levels, xs, ys : (t,) place of each tile in the quadtree; x grows east, y north
    parents : (t,) index of the parent, -1 for the root. Levels may be skipped where a tile would have been empty
    errors : (t,) geometric error in metres, 0 for leaves
    bounds : (t, 6) lowest x y z and highest x y z of everything at or below the tile (ENU)
    order, starts : features of tile i are `order[starts[i]:starts[i + 1]]`, ascending
    subtree_sizes : (t,) number of tiles at or below
    """

    levels: IntArray
    xs: IntArray
    ys: IntArray
    parents: IntArray
    errors: FloatArray
    bounds: FloatArray
    order: IntArray
    starts: IntArray
    subtree_sizes: IntArray

    def __len__(self) -> int:
        return len(self.levels)

    def features(self, tile: int) -> IntArray:
        """Indices of the tile's own features, ascending."""
        return self.order[self.starts[tile] : self.starts[tile + 1]]


@dataclass(frozen=True)
class Budget:
    """What a tile should hold at most; only one huge feature, or features on one spot, go beyond it."""

    features: int = MAX_FEATURES
    n_bytes: int = MAX_BYTES


def build(bounds: FloatArray, sizes: IntArray, budget: Budget | None = None) -> Tree:
    """Build the tree.

    Parameters
    ----------
    bounds : (n, 6) lowest x y z, highest x y z of each mesh, metres in the ENU frame; n > 0
    sizes : (n,) bytes of each mesh
    budget : of a tile

    Raises
    ------
    InvalidInput : no features, or bounds that are not finite.
    """
    if len(bounds) == 0:
        raise InvalidInput("A tile tree needs at least one mesh.")
    if not np.isfinite(bounds).all():
        bad = int(np.flatnonzero(~np.isfinite(bounds).all(axis=1))[0])
        raise InvalidInput(f"The bounds of mesh {bad} are not finite.", "Build the twin again.")
    corner = bounds[:, :2].min(axis=0)
    side = max(float((bounds[:, 3:5].max(axis=0) - corner).max()), 1e-3)
    codes = _codes(bounds, corner, side)
    extents = (bounds[:, 3:] - bounds[:, :3]).max(axis=1)
    levels = _levels(codes, extents, np.asarray(sizes, np.int64), side, budget or Budget())
    return _assemble(bounds, codes, levels, side)


def _codes(bounds: FloatArray, corner: FloatArray, side: float) -> IntArray:
    """Morton code of the cell of each centre at MAX_LEVEL; x in the even bits."""
    centres = (bounds[:, :2] + bounds[:, 3:5]) / 2
    cells = np.clip(((centres - corner) / side * 2**MAX_LEVEL).astype(np.int64), 0, 2**MAX_LEVEL - 1)
    return _spread(cells[:, 0]) | (_spread(cells[:, 1]) << 1)


def _spread(values: IntArray) -> IntArray:
    """Put a zero between the lowest 32 bits (H. S. Warren, Hacker's Delight, 7-2)."""
    spread = values & 0xFFFFFFFF
    for shift, mask in ((16, 0x0000FFFF0000FFFF), (8, 0x00FF00FF00FF00FF), (4, 0x0F0F0F0F0F0F0F0F)):
        spread = (spread | (spread << shift)) & mask
    spread = (spread | (spread << 2)) & 0x3333333333333333
    return (spread | (spread << 1)) & 0x5555555555555555


def _gather(codes: IntArray) -> IntArray:
    """The even bits: the reverse of `_spread`."""
    packed = codes & 0x5555555555555555
    for shift, mask in ((1, 0x3333333333333333), (2, 0x0F0F0F0F0F0F0F0F), (4, 0x00FF00FF00FF00FF)):
        packed = (packed | (packed >> shift)) & mask
    packed = (packed | (packed >> 8)) & 0x0000FFFF0000FFFF
    return (packed | (packed >> 16)) & 0xFFFFFFFF


def _levels(codes: IntArray, extents: FloatArray, sizes: IntArray, side: float, budget: Budget) -> IntArray:
    """The level of each feature, from the root down; what a level does not keep goes on."""
    levels = np.zeros(len(codes), np.int64)
    active = np.argsort(codes, kind="stable")
    for level in range(MAX_LEVEL + 1):
        cells = codes[active] >> 2 * (MAX_LEVEL - level)
        first = np.flatnonzero(np.r_[True, cells[1:] != cells[:-1]])
        counts = np.diff(np.r_[first, len(cells)])
        n_bytes = np.add.reduceat(sizes[active], first)
        fits = (counts == 1) | ((counts <= budget.features) & (n_bytes <= budget.n_bytes)) | (level == MAX_LEVEL)
        stays = np.repeat(fits, counts)
        big = np.flatnonzero(~stays & ((extents[active] > side / 2**level / SIDE_PER_ERROR) | (level == 0)))
        if len(big):
            stays[_biggest(big, cells, extents[active], sizes[active], budget)] = True
        levels[active[stays]] = level
        active = active[~stays]
        if not len(active):
            break
    return levels


def _biggest(chosen: IntArray, cells: IntArray, extents: FloatArray, sizes: IntArray, budget: Budget) -> IntArray:
    """Of the chosen features the biggest of each cell, up to a third of the budget."""
    ranked = chosen[np.lexsort((-extents[chosen], cells[chosen]))]
    first = np.flatnonzero(np.r_[True, cells[ranked][1:] != cells[ranked][:-1]])
    counts = np.diff(np.r_[first, len(ranked)])
    running = np.cumsum(sizes[ranked])
    before = running[first] - sizes[ranked[first]]
    rank = np.arange(len(ranked)) - np.repeat(first, counts)
    within = (rank < budget.features // 3) & (running - np.repeat(before, counts) <= budget.n_bytes // 3)
    return ranked[within]


def _assemble(bounds: FloatArray, codes: IntArray, levels: IntArray, side: float) -> Tree:
    """Tiles from (level, cell) of each feature: own tiles, their forks, the root."""
    keys = _key(levels, codes >> 2 * (MAX_LEVEL - levels))
    order = np.lexsort((np.arange(len(keys)), keys))
    own, first = np.unique(keys[order], return_index=True)
    tiles, parents = _with_forks(own)
    slots = np.searchsorted(tiles, own)
    counts = np.zeros(len(tiles), np.int64)
    counts[slots] = np.diff(np.r_[first, len(keys)])
    low, high = np.full((len(tiles), 3), np.inf), np.full((len(tiles), 3), -np.inf)
    low[slots] = np.minimum.reduceat(bounds[order, :3], first)
    high[slots] = np.maximum.reduceat(bounds[order, 3:], first)
    subtree_sizes = np.ones(len(tiles), np.int64)
    for tile in range(len(tiles) - 1, 0, -1):  # children come after parents
        parent = parents[tile]
        low[parent] = np.minimum(low[parent], low[tile])
        high[parent] = np.maximum(high[parent], high[tile])
        subtree_sizes[parent] += subtree_sizes[tile]
    level, cell = tiles >> 42, tiles & (2**42 - 1)
    errors = np.where(subtree_sizes > 1, side / SIDE_PER_ERROR / 2.0**level, 0.0)
    starts = np.r_[0, np.cumsum(counts)]
    return Tree(
        level, _gather(cell), _gather(cell >> 1), parents, errors, np.hstack([low, high]), order, starts, subtree_sizes
    )


def _key(levels: IntArray, cells: IntArray) -> IntArray:
    return (levels << 42) | cells


def _with_forks(own: IntArray) -> tuple[IntArray, IntArray]:
    """All tiles (with content, or where branches meet) in order, and the index of each one's parent."""
    listed: list[tuple[int, list[int]]] = []  # tile key, keys of its listed children
    by_level: dict[int, dict[int, list[int]]] = {}
    for key in own.tolist():
        by_level.setdefault(key >> 42, {})[key & (2**42 - 1)] = []
    content = set(own.tolist())
    for level in range(max(by_level), -1, -1):
        for cell, children in sorted(by_level.get(level, {}).items()):
            key = (level << 42) | cell
            top = key
            if key in content or len(children) > 1:
                listed.append((key, children))
            else:
                top = children[0]
            if level:
                by_level.setdefault(level - 1, {}).setdefault(cell >> 2, []).append(top)
    tiles = np.array(sorted(key for key, _ in listed), np.int64)
    index = {key: at for at, key in enumerate(tiles.tolist())}
    parents = np.full(len(tiles), -1, np.int64)
    for key, children in listed:
        for child in children:
            parents[index[child]] = index[key]
    return tiles, parents
