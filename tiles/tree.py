"""The tiles of one layer: which feature is in which tile, what each tile spans, and what its content is. Pure.

A tree follows from its features alone: the same features give the same tiles, addresses and fingerprints, whichever
way they came to be and whichever process asks. `changed` gives the tree after an edit at the price of the edit.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from layers.errors import InvalidInput
from tiles import levels, quadtree
from tiles.levels import Budget, Levels
from tiles.quadtree import MAX_LEVEL, FloatArray, IntArray, Square
from twin.store.interface import MeshTable

Hashes = NDArray[np.uint64]


@dataclass(frozen=True)
class Members:
    """The features of a tree, in the order of their Morton codes (then of their row numbers).

    Attributes
    ----------
    fids : (n,) row numbers in the store
    codes : (n,) Morton code of the centre of each one's box
    bounds : (6, n) lowest x, y, z, highest x, y, z in the ENU frame
    extents : (n,) size of each one, metres: root of the largest face of its box. A long thin pipe is small from afar
    ranks : (n,) which go up first, see `tiles.levels.ranks`
    sizes : (n,) bytes of each mesh
    marks : (n,) a number for each feature's content
    levels : (n,) level of each feature
    """

    fids: IntArray
    codes: IntArray
    bounds: FloatArray
    extents: FloatArray
    ranks: levels.Ranks
    sizes: IntArray
    marks: Hashes
    levels: Levels

    def __len__(self) -> int:
        return len(self.fids)

    def at(self, rows: IntArray | NDArray[np.bool_]) -> "Members":
        """Some of them, in the order given."""
        return Members(*(column[..., rows] for column in vars(self).values()))


@dataclass(frozen=True)
class Tiles:
    """Tiles with content, by ascending key.

    Attributes
    ----------
    keys : (t,) see `tiles.quadtree.key`
    counts : (t,) features in each
    bounds : (t, 6) lowest x, y, z, highest x, y, z of the content
    extents : (t,) size of the biggest feature, metres
    prints : (t,) fingerprint of each one's features; changes with each of them
    """

    keys: IntArray
    counts: IntArray
    bounds: FloatArray
    extents: FloatArray
    prints: Hashes


@dataclass(frozen=True)
class Nodes:
    """All tiles, with content or with some below them, by ascending key.

    Attributes
    ----------
    keys : (m,) the root is the first
    bounds : (m, 6) of everything at or below the tile
    n_below : (m,) number of tiles with content at or below
    prints : (m,) fingerprint of all features at or below
    """

    keys: IntArray
    bounds: FloatArray
    n_below: IntArray
    prints: Hashes

    def find(self, tile_key: int) -> int | None:
        """Place of a tile; None where there is none."""
        at = int(np.searchsorted(self.keys, tile_key))
        return at if at < len(self.keys) and self.keys[at] == tile_key else None


@dataclass(frozen=True)
class Tree:
    """See the module. `error_m` is the geometric error of the root; it halves with each level."""

    square: Square
    members: Members
    tiles: Tiles
    nodes: Nodes
    error_m: float
    budget: Budget

    @property
    def depth(self) -> int:
        """Number of levels."""
        return int(quadtree.level_cell(self.nodes.keys[-1:])[0][0]) + 1

    @property
    def whole_error_m(self) -> float:
        """Geometric error while nothing is shown: the size of the biggest feature, or twice the root's error."""
        return max(float(self.tiles.extents.max()), 2 * self.error_m)

    def find(self, tile_key: int) -> int | None:
        """Place of a tile in `tiles`; None where it has no content."""
        at = int(np.searchsorted(self.tiles.keys, tile_key))
        return at if at < len(self.tiles.keys) and self.tiles.keys[at] == tile_key else None

    @property
    def bounds(self) -> FloatArray:
        """(6,) of everything."""
        return np.asarray(self.nodes.bounds[0])

    def fids(self, tile_key: int) -> IntArray:
        """Row numbers of the features in a tile, ascending; none where it has no content."""
        rows = _members_of(self.members, tile_key)
        return np.sort(self.members.fids[rows])

    def subset(self, keep: NDArray[np.bool_]) -> "Tree | None":
        """The tree of some members, each in the tile it is in now; None where there are none."""
        if not keep.any():
            return None
        members = self.members.at(keep)
        return replace(_with_nodes(self.square, members, _tiled(members), self.budget), error_m=self.error_m)


def build(table: MeshTable, budget: Budget | None = None) -> Tree:
    """The tree of all meshes of a table. InvalidInput where it is empty or has bounds that are not finite."""
    if len(table.fids) == 0:
        raise InvalidInput("A tile tree needs at least one mesh.")
    return _built(_unplaced(table), budget or Budget())


def changed(tree: Tree, gone: IntArray, came: MeshTable) -> Tree | None:
    """The tree without the rows `gone` and with the meshes of `came`; None where nothing is left.

    Equal to what `build` makes of the same features, but sorts and counts only what the change touches.
    """
    old, new = tree.members, _unplaced(came)
    rows = np.flatnonzero(np.isin(old.fids, gone))
    kept = old if not len(rows) else _without(old, rows)
    if len(kept) + len(new) == 0:
        return None
    if _square(kept, new) != tree.square:
        return _built(_joined(kept, new), tree.budget)
    members = _merged(kept, _placed(new, tree.square))
    assigned = levels.reassign(
        members.codes, members.ranks, members.sizes, members.levels, old.codes[rows], old.levels[rows], tree.budget
    )
    moved = np.flatnonzero(assigned != members.levels)
    settled = moved[members.levels[moved] != levels.UNSET]
    touched = np.concatenate(
        [
            quadtree.keys(old.levels[rows], old.codes[rows]),
            quadtree.keys(members.levels[settled], members.codes[settled]),
            quadtree.keys(assigned[moved], members.codes[moved]),
        ]
    )
    members = replace(members, levels=assigned)
    return _with_nodes(tree.square, members, _retiled(tree.tiles, members, np.unique(touched)), tree.budget)


def _built(unplaced: Members, budget: Budget) -> Tree:
    square = _square(unplaced)
    members = _placed(unplaced, square)
    members = replace(members, levels=levels.assign(members.codes, members.ranks, members.sizes, budget))
    return _with_nodes(square, members, _tiled(members), budget)


def _unplaced(table: MeshTable) -> Members:
    """Members whose codes are still missing."""
    bounds = np.ascontiguousarray(table.bounds.T)
    if not np.isfinite(bounds).all():
        bad = int(table.fids[np.flatnonzero(~np.isfinite(bounds).all(axis=0))[0]])
        raise InvalidInput(f"The bounds of the mesh in row {bad} are not finite.", "Build the twin again.")
    fids = np.asarray(table.fids, np.int64)
    none, unset = np.zeros(len(fids), np.int64), np.full(len(fids), levels.UNSET, np.int8)
    marks = _mixed(fids.astype(np.uint64) ^ _mixed(np.asarray(table.stamps, np.int64).astype(np.uint64)))
    _, middle, longest = np.sort(bounds[3:] - bounds[:3], axis=0)
    ranks = np.zeros(len(fids), np.int32)
    return Members(
        fids, none, bounds, np.sqrt(middle * longest), ranks, np.asarray(table.sizes, np.int64), marks, unset
    )


def _mixed(values: Hashes) -> Hashes:
    """Every bit of a number spread over all bits (finaliser of SplitMix64: Steele, Lea, Flood 2014)."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))


def _square(*parts: Members) -> Square:
    low = np.min([part.bounds[:2].min(axis=1) for part in parts if len(part)], axis=0)
    high = np.max([part.bounds[3:5].max(axis=1) for part in parts if len(part)], axis=0)
    return quadtree.square_around(*low.tolist(), *high.tolist())


def _placed(members: Members, square: Square) -> Members:
    """The same members with their codes and ranks, in order."""
    x, y = ((members.bounds[axis] + members.bounds[axis + 3]) / 2 for axis in (0, 1))
    codes = quadtree.codes(square, x, y)
    found = replace(members, codes=codes, ranks=levels.ranks(codes, members.extents))
    return found.at(np.lexsort((found.fids, found.codes)))


def _without(members: Members, rows: IntArray) -> Members:
    keep = np.ones(len(members), np.bool_)
    keep[rows] = False
    return members.at(keep)


def _joined(first: Members, second: Members) -> Members:
    pairs = zip(vars(first).values(), vars(second).values(), strict=True)
    return Members(*(np.concatenate(pair, axis=-1) for pair in pairs))


def _merged(kept: Members, new: Members) -> Members:
    """Both in one order. New ones are few: each is put at its place."""
    if not len(new):
        return kept
    at = np.searchsorted(kept.codes, new.codes)
    for i, (place, code, fid) in enumerate(zip(at.tolist(), new.codes.tolist(), new.fids.tolist(), strict=True)):
        while place < len(kept) and kept.codes[place] == code and kept.fids[place] < fid:
            place += 1  # noqa: PLW2901 several features on one spot
        at[i] = place
    pairs = zip(vars(kept).values(), vars(new).values(), strict=True)
    return Members(*(np.insert(old, at, added, axis=-1) for old, added in pairs))


def _tiled(members: Members) -> Tiles:
    """All tiles at once. Members of a level are in the order of their cells already: levels alone are sorted."""
    order = np.argsort(members.levels, kind="stable")
    keys = quadtree.keys(members.levels[order], members.codes[order])
    first = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
    low = [np.minimum.reduceat(members.bounds[axis][order], first) for axis in range(3)]
    high = [np.maximum.reduceat(members.bounds[axis][order], first) for axis in range(3, 6)]
    extents = np.maximum.reduceat(members.extents[order], first)
    prints = np.add.reduceat(members.marks[order], first)
    counts = np.diff(np.r_[first, len(keys)])
    return Tiles(keys[first], counts, np.stack([*low, *high], axis=1), extents, prints)


def _retiled(tiles: Tiles, members: Members, touched: IntArray) -> Tiles:
    """The tiles again, those of the touched keys measured anew."""
    keep = ~np.isin(tiles.keys, touched)
    parts = [[column[keep] for column in vars(tiles).values()]]
    for tile_key in touched.tolist():
        own = members.at(_members_of(members, tile_key))
        if len(own):
            parts.append(list(vars(_tiled(own)).values()))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    order = np.argsort(columns[0])
    return Tiles(*(column[order] for column in columns))


def _members_of(members: Members, tile_key: int) -> IntArray:
    """Rows of the members that are in one tile."""
    if tile_key < 0:
        return np.zeros(0, np.int64)
    level, cell = (int(part[0]) for part in quadtree.level_cell(np.array([tile_key])))
    shift = 2 * (MAX_LEVEL - level)
    start, stop = np.searchsorted(members.codes, [cell << shift, (cell + 1) << shift])
    return np.asarray(start + np.flatnonzero(members.levels[start:stop] == level))


def _with_nodes(square: Square, members: Members, tiles: Tiles, budget: Budget) -> Tree:
    nodes = _nodes(tiles)
    return Tree(square, members, tiles, nodes, _error(tiles), budget)


def _nodes(tiles: Tiles) -> Nodes:
    """Every tile above one with content, from the deepest level up."""
    level_of = quadtree.level_cell(tiles.keys)[0]
    below_keys, below_bounds = np.zeros(0, np.int64), np.zeros((0, 6))
    below_counts, below_prints = np.zeros(0, np.int64), np.zeros(0, np.uint64)
    found: list[tuple[IntArray, FloatArray, IntArray, Hashes]] = []
    for level in range(int(level_of.max()), -1, -1):
        own = level_of == level
        keys = np.concatenate([tiles.keys[own], quadtree.parents(below_keys)])
        bounds = np.concatenate([tiles.bounds[own], below_bounds])
        counts = np.concatenate([np.ones(int(own.sum()), np.int64), below_counts])
        prints = np.concatenate([tiles.prints[own], below_prints])
        order = np.argsort(keys, kind="stable")
        first = np.flatnonzero(np.r_[True, np.diff(keys[order]) != 0])
        below_keys = keys[order][first]
        low = np.minimum.reduceat(bounds[order, :3], first, axis=0)
        high = np.maximum.reduceat(bounds[order, 3:], first, axis=0)
        below_bounds, below_counts = np.hstack([low, high]), np.add.reduceat(counts[order], first)
        below_prints = np.add.reduceat(prints[order], first)
        found.append((below_keys, below_bounds, below_counts, below_prints))
    return Nodes(*(np.concatenate(column[::-1]) for column in zip(*found, strict=True)))


def _error(tiles: Tiles) -> float:
    """Geometric error of the root in metres, rounded up to an eighth of a power of two.

    The error of a tile is the size of the biggest thing that is missing while its quarters are not there. Errors halve
    from level to level, so the root's is the least for which that holds at each level.
    """
    biggest = np.zeros(MAX_LEVEL + 1)
    np.maximum.at(biggest, quadtree.level_cell(tiles.keys)[0], tiles.extents)
    missing = np.maximum.accumulate(biggest[::-1])[::-1][1:]  # at a level: the biggest of all deeper ones
    least = float((missing * 2.0 ** np.arange(MAX_LEVEL)).max())
    step = 2.0 ** (np.ceil(np.log2(max(least, 1.0))) - 3)
    return float(np.ceil(max(least, 1.0) / step) * step)
