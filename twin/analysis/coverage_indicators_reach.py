"""How far things are from the nearest of some places: straight, or on foot along roads.

On foot: straight to the nearest point of the network, along it, straight to the place. Lines join where they share a
vertex, and where a line ends on another one; lines that merely cross (a bridge over a road) do not.
"""

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Shapes = NDArray[np.object_]

SAME_NODE_M = 0.01
"""Vertices this near to one another are one node."""
JOIN_M = 0.5
"""A line that ends this near to another one joins it."""
SAME_M = 1e-6


@dataclass(frozen=True)
class Network:
    """Straight edges between nodes.

    Attributes
    ----------
    nodes : (n, 2) metres
    a, b : (m,) ends of edges, indices of nodes
    n_joined : ends that were joined to a line they did not share a vertex with
    """

    nodes: FloatArray
    a: IntArray
    b: IntArray
    n_joined: int

    @property
    def lengths_m(self) -> FloatArray:
        """(m,) plane lengths of the edges."""
        return np.asarray(np.linalg.norm(self.nodes[self.a] - self.nodes[self.b], axis=1), np.float64)


def straight_m(things: Shapes, places: Shapes) -> FloatArray:
    """(n,) geometries, (m,) geometries -> (n,) plane distance to the nearest; NaN for None, inf without places."""
    found = np.full(len(things), np.inf)
    found[shapely.is_missing(things) | shapely.is_empty(things)] = np.nan
    there = places[~(shapely.is_missing(places) | shapely.is_empty(places))]
    if len(there) and len(things):
        (rows, _), distances = shapely.STRtree(there).query_nearest(things, return_distance=True)
        found[rows] = distances
    return found


def network(lines: Shapes) -> Network:
    """(n,) lines in metres as a network; None, empty and points are left out."""
    used = lines[shapely.get_dimensions(np.asarray(lines, dtype=object)) == 1]
    paths = shapely.get_parts(shapely.force_2d(used))
    xy, path = shapely.get_coordinates(paths, return_index=True)
    if len(xy) < 2:
        return Network(np.empty((0, 2)), np.empty(0, np.int64), np.empty(0, np.int64), 0)
    nodes, node = _merged(xy)
    a, b = node[:-1], node[1:]
    is_edge = (path[1:] == path[:-1]) & (a != b)
    is_end = np.concatenate([[True], path[1:] != path[:-1]]) | np.concatenate([path[1:] != path[:-1], [True]])
    degrees = np.bincount(np.concatenate([a[is_edge], b[is_edge]]), minlength=len(nodes))
    loose = np.unique(node[is_end])
    loose = loose[degrees[loose] == 1]
    return _joined(nodes, a[is_edge], b[is_edge], loose)


def _merged(xy: FloatArray) -> tuple[FloatArray, IntArray]:
    """(n, 2) vertices -> nodes, and the node of each vertex. Chains of near vertices become one node."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    same, inverse = np.unique(xy, axis=0, return_inverse=True)
    pairs = cKDTree(same).query_pairs(SAME_NODE_M, output_type="ndarray")
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(same), len(same)))
    _, label = connected_components(graph, directed=False)
    _, first = np.unique(label, return_index=True)
    return same[first], label[inverse.ravel()].astype(np.int64)


def _joined(nodes: FloatArray, a: IntArray, b: IntArray, loose: IntArray) -> Network:
    """Loose ends joined to the nearest edge that is not their own and lies within `JOIN_M`."""
    edges = shapely.linestrings(np.stack([nodes[a], nodes[b]], axis=1))
    tree = shapely.STRtree(edges)
    end, edge = tree.query(shapely.points(nodes[loose]), predicate="dwithin", distance=JOIN_M)
    is_other = (a[edge] != loose[end]) & (b[edge] != loose[end])
    end, edge = end[is_other], edge[is_other]
    distance = shapely.distance(shapely.points(nodes[loose[end]]), edges[edge])
    order = np.lexsort((distance, end))
    end, edge = end[order], edge[order]
    end, first = np.unique(end, return_index=True)
    made = _split(Network(nodes, a, b, len(end)), edge[first], nodes[loose[end]])
    extra_a, extra_b = loose[end], made[1]
    is_new = extra_a != extra_b
    net = made[0]
    return Network(
        net.nodes, np.concatenate([net.a, extra_a[is_new]]), np.concatenate([net.b, extra_b[is_new]]), len(end)
    )


def _split(net: Network, edge: IntArray, xy: FloatArray) -> tuple[Network, IntArray]:
    """New nodes on edges, at the points nearest to (k, 2) places, and edges divided there. Also returns (k,) nodes."""
    start, way = net.nodes[net.a[edge]], net.nodes[net.b[edge]] - net.nodes[net.a[edge]]
    share = np.clip(((xy - start) * way).sum(axis=1) / (way * way).sum(axis=1), 0.0, 1.0)
    new = len(net.nodes) + np.arange(len(edge))
    nodes = np.vstack([net.nodes, start + share[:, None] * way])
    order = np.lexsort((share, edge))
    e, n = edge[order], new[order]
    is_first = np.concatenate([[True], e[1:] != e[:-1]]) if len(e) else np.zeros(0, bool)
    is_last = np.concatenate([e[1:] != e[:-1], [True]]) if len(e) else np.zeros(0, bool)
    before = np.where(is_first, net.a[e], np.concatenate([[-1], n[:-1]])) if len(e) else e
    keep = np.ones(len(net.a), bool)
    keep[e] = False
    a = np.concatenate([net.a[keep], before, n[is_last]])
    b = np.concatenate([net.b[keep], n, net.b[e[is_last]]])
    return Network(nodes, a, b, net.n_joined), new


def walking_m(things: Shapes, places: Shapes, net: Network, most_m: float) -> FloatArray:
    """Distance on foot from things to the nearest place.

    Parameters
    ----------
    things, places : (n,) and (m,) geometries in the network's plane; one that is no point is taken at its centroid
    most_m : farther ones need not be told

    Returns
    -------
    (n,) metres; inf where it is more than `most_m` or there is no way; NaN for None
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import dijkstra

    xy, is_there = _centres(things)
    to, to_there = _centres(places)
    found = np.where(is_there, np.inf, np.nan)
    to = to[to_there]
    if not len(net.a) or not len(to) or not is_there.any():
        return found
    every = np.vstack([to, xy[is_there]])
    edges = shapely.linestrings(np.stack([net.nodes[net.a], net.nodes[net.b]], axis=1))
    (row, edge), access = shapely.STRtree(edges).query_nearest(
        shapely.points(every), return_distance=True, all_matches=False
    )
    whole, node = _split(net, edge[np.argsort(row)], every)
    access = access[np.argsort(row)]
    source = len(whole.nodes)
    a = np.concatenate([whole.a, np.full(len(to), source)])
    b = np.concatenate([whole.b, node[: len(to)]])
    cost = np.concatenate([whole.lengths_m, access[: len(to)]])
    graph = _lightest(a, b, np.maximum(cost, 1e-12), source + 1, coo_array)
    along = dijkstra(graph, directed=False, indices=source, limit=most_m + 1.0)
    total = along[node[len(to) :]] + access[len(to) :]
    found[is_there] = np.where(total <= most_m + SAME_M, total, np.inf)
    return found


def _lightest(a: IntArray, b: IntArray, cost: FloatArray, n: int, make: type) -> object:
    """Edges as a sparse matrix; of several between the same nodes the shortest (a sparse sum would add them up)."""
    low, high = np.minimum(a, b), np.maximum(a, b)
    order = np.lexsort((cost, high, low))
    low, high, cost = low[order], high[order], cost[order]
    first = np.concatenate([[True], (low[1:] != low[:-1]) | (high[1:] != high[:-1])])
    return make((cost[first], (low[first], high[first])), shape=(n, n)).tocsr()


def _centres(shapes: Shapes) -> tuple[FloatArray, NDArray[np.bool_]]:
    is_there = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
    centres = shapely.centroid(shapely.force_2d(shapes))
    return np.column_stack([shapely.get_x(centres), shapely.get_y(centres)]), is_there
