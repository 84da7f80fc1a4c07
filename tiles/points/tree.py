"""The octree of a cloud as tiles: parents, sizes of subtrees, real boxes in the city's frame, geometric errors."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from layers.errors import InvalidInput
from tiles.points.copc import Copc, Key
from tiles.points.place import Placement

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Tree:
    """Nodes in the order of the hierarchy, so that parents come before their children and the root is first.

    Attributes
    ----------
    keys : (n, 4) depth, x, y, z
    n_points : (n,) of the node itself
    parents : (n,) number of the parent; the root is its own
    subtree_sizes : (n,) nodes at and below
    boxes : (n, 6) lowest and highest corner in the ENU frame of what is at and below
    errors : (n,) distance between the node's points in metres, horizontally: half the parent's
    index : number by key
    by_parent, sorted_parents : (n,) nodes in the order of their parents, and those parents; -1 without any point
    """

    keys: NDArray[np.int32]
    n_points: NDArray[np.int32]
    parents: IntArray
    subtree_sizes: IntArray
    boxes: FloatArray
    errors: FloatArray
    index: dict[Key, int]
    by_parent: IntArray
    sorted_parents: IntArray

    def children(self, node: int) -> IntArray:
        """Numbers of a node's children, without those that have no point at or below them."""
        first, last = np.searchsorted(self.sorted_parents, [node, node + 1])
        found = self.by_parent[first:last]
        return found[found != node]


def build(copc: Copc, placement: Placement) -> Tree:
    """The tree of a file. InvalidInput where a node has no parent."""
    keys, n_points = copc.hierarchy.keys, copc.hierarchy.n_points
    index: dict[Key, int] = {(d, x, y, z): i for i, (d, x, y, z) in enumerate(keys.tolist())}
    try:
        above = [index[d - 1, x >> 1, y >> 1, z >> 1] for d, x, y, z in index if d]
    except KeyError as error:
        problem = f"The point cloud {copc.path.name} has nodes whose parent {error.args[0]} is missing."
        raise InvalidInput(problem, "Build the twin again from its source.", code="POINTS_UNREADABLE") from error
    parents = np.array([0, *above], np.int64)
    boxes, sizes = _boxes(copc, placement), np.ones(len(keys), np.int64)
    held = n_points.astype(np.int64)
    for depth in range(int(keys[-1, 0]), 0, -1):  # whatever holds no point must not widen its parents
        level = np.flatnonzero(keys[:, 0] == depth)
        full = level[held[level] > 0]
        np.add.at(sizes, parents[level], sizes[level])
        np.add.at(held, parents[level], held[level])
        np.minimum.at(boxes[:, :3], parents[full], boxes[full, :3])
        np.maximum.at(boxes[:, 3:], parents[full], boxes[full, 3:])
    spacing_m = copc.header.spacing * placement.metres_per_unit
    shown = np.where(held > 0, parents, -1)
    order = np.argsort(shown, kind="stable")
    return Tree(
        keys, n_points, parents, sizes, boxes, spacing_m * 0.5 ** keys[:, 0].astype(np.float64), index,
        order, shown[order],
    )  # fmt: skip


def _boxes(copc: Copc, placement: Placement) -> FloatArray:
    """(n, 6) boxes of the nodes' cubes, cut to what the header says of the cloud, in the ENU frame."""
    header, keys = copc.header, copc.hierarchy.keys
    sides = header.side * 0.5 ** keys[:, :1].astype(np.float64)
    low = np.array(header.root_low) + keys[:, 1:] * sides
    first, last = np.array(header.low), np.array(header.high)
    # steps are rounded to cubes: a point on the border may be counted to the cube beside it
    margin = np.abs(header.scales)
    inside_low = np.clip(low - margin, first - margin, last + margin)
    inside_high = np.clip(low + sides + margin, first - margin, last + margin)
    return placement.boxes(inside_low, inside_high)
