"""What is up or down a network from some nodes, and how long water takes: Dijkstra over length by velocity."""

from dataclasses import dataclass

import numpy as np
import scipy  # its parts load when they are first asked
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
SAME_S = 1e-6


@dataclass(frozen=True)
class Reach:
    """What is reached.

    Attributes
    ----------
    node : (n,) seconds (or metres) from the nearest start, inf where a node is not reached
    link : (m,) until its far end, inf where that is not reached
    share : (m,) of the link that is reached, 0 to 1
    is_open : (m,) links that can be passed at all
    """

    node: FloatArray
    link: FloatArray
    share: FloatArray
    is_open: NDArray[np.bool_]


def reach(
    n_nodes: int, start: IntArray, end: IntArray, cost: FloatArray, origins: IntArray, *, is_up: bool,
    limit: float = np.inf,
) -> Reach:  # fmt: skip
    """From `origins` along links, or against them when `is_up`.

    Parameters
    ----------
    start, end : (m,) nodes of links in the direction of flow
    cost : (m,) of a whole link, NaN or inf where it cannot be passed; not negative
    limit : farther is not reached; equal is
    """
    is_open = np.isfinite(cost)
    one, two = (end, start) if is_up else (start, end)
    node = _shortest(n_nodes, one[is_open], two[is_open], cost[is_open], origins)
    node[node > limit + SAME_S] = np.inf
    near = node[one]
    with np.errstate(invalid="ignore"):
        far = np.where(is_open, near + cost, np.inf)
        left = limit - near
        share = np.where(cost > 0, left / np.where(cost > 0, cost, 1.0), np.where(left >= -SAME_S, 1.0, 0.0))
    share = np.where(is_open & np.isfinite(near), np.clip(np.nan_to_num(share, nan=1.0, posinf=1.0), 0.0, 1.0), 0.0)
    far[far > limit + SAME_S] = np.inf
    share[np.isfinite(far)] = 1.0
    return Reach(node, far, share, is_open)


def _shortest(n: int, one: IntArray, two: IntArray, cost: FloatArray, origins: IntArray) -> FloatArray:
    """Least cost from any origin. Of parallel links the cheapest counts (a sparse array would add them up)."""
    order = np.lexsort((cost, two, one))
    one, two, cost = one[order], two[order], cost[order]
    keep = np.r_[True, (one[1:] != one[:-1]) | (two[1:] != two[:-1])] if len(one) else np.zeros(0, bool)
    graph = scipy.sparse.csr_array((cost[keep], (one[keep], two[keep])), shape=(n, n))  # zeros stay, and cost nothing
    return np.asarray(
        scipy.sparse.csgraph.dijkstra(graph, directed=True, indices=np.unique(origins), min_only=True), np.float64
    )


def islands(n_nodes: int, start: IntArray, end: IntArray) -> IntArray:
    """(n,) number of the part that hangs together, in whatever direction."""
    graph = scipy.sparse.csr_array((np.ones(len(start)), (start, end)), shape=(n_nodes, n_nodes))
    return np.asarray(scipy.sparse.csgraph.connected_components(graph, directed=False)[1], np.int64)
