"""Segments of a network between its valves, what a burst cuts off, and what each segment would. Arrays only.

A valve lies on a link at one of its nodes, and parts the two. Links and nodes that hang together without passing a
valve are a segment: what is without water when any part of it breaks and its valves are shut.
"""

from dataclasses import dataclass

import numpy as np
import scipy  # its parts load when they are first asked
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Graph:
    """(m,) links between `n_nodes` nodes; no water passes those that are closed."""

    n_nodes: int
    start: IntArray
    end: IntArray
    is_closed: BoolArray


@dataclass(frozen=True)
class Valves:
    """(v,) valves that can be moved: their link, the node they part it from, whether they are shut already."""

    link: IntArray
    node: IntArray
    is_shut: BoolArray


@dataclass(frozen=True)
class Segments:
    """(n,) and (m,) number of the segment of each node and link, from 0."""

    node: IntArray
    link: IntArray

    @property
    def n(self) -> int:
        """How many there are."""
        return int(max(self.node.max(initial=-1), self.link.max(initial=-1))) + 1


@dataclass(frozen=True)
class Isolation:
    """What a burst does.

    Attributes
    ----------
    shut : (v,) valves between the segment and the rest
    in_node, in_link : of the segment
    cut_node, cut_link : beyond it, without way to any source that they had before
    dry_node, dry_link : that had no way to a source before the burst either
    """

    shut: BoolArray
    in_node: BoolArray
    in_link: BoolArray
    cut_node: BoolArray
    cut_link: BoolArray
    dry_node: BoolArray
    dry_link: BoolArray


def segments(graph: Graph, valves: Valves) -> Segments:
    """Nodes and links as they hang together when every valve is shut.

    A valve on a link at a node that is not its end parts nothing.
    """
    a, b = _joints(graph, valves.link, valves.node)
    n = graph.n_nodes
    label = _labels(n + len(graph.start), a, b)
    return Segments(label[:n], label[n:])


def isolate(graph: Graph, valves: Valves, burst: IntArray, sources: IntArray) -> Isolation:
    """A burst of links (the segments of all of them are shut off); `sources` are nodes that water comes from."""
    n = graph.n_nodes
    found = segments(graph, valves)
    hit = np.zeros(found.n, bool)
    hit[found.link[burst]] = True
    in_node, in_link = hit[found.node], hit[found.link]
    shut = hit[found.link[valves.link]] != hit[found.node[valves.node]]
    a, b = _joints(graph, valves.link[valves.is_shut], valves.node[valves.is_shut])
    alive = ~graph.is_closed[b - n]
    a, b = a[alive], b[alive]
    gone = np.concatenate([in_node, in_link])
    before = _fed(n + len(graph.start), a, b, sources)
    keep = ~(gone[a] | gone[b])
    after = _fed(n + len(graph.start), a[keep], b[keep], sources[~in_node[sources]])
    cut, dry = before & ~after & ~gone, ~before
    return Isolation(shut, in_node, in_link, cut[:n], cut[n:], dry[:n], dry[n:] & ~graph.is_closed)


def cut_by_each(found: Segments, ends: tuple[IntArray, IntArray], sources: IntArray, weight: FloatArray) -> FloatArray:
    """(s,) how much of a weight is without water when each segment is shut off, by itself.

    Parameters
    ----------
    ends : link and node of each valve that water passes
    sources : nodes that water comes from
    weight : (s,) of segments, for example its users

    A segment without a way to a source counts nothing, nor does what hangs on it. One walk over the tree of segments:
    what hangs below a segment and reaches nothing above it is cut off with it.
    """
    root = found.n
    a = np.r_[found.link[ends[0]], found.node[sources]]
    b = np.r_[found.node[ends[1]], np.full(len(sources), root)]
    graph = scipy.sparse.csr_array((np.ones(2 * len(a)), (np.r_[a, b], np.r_[b, a])), shape=(root + 1, root + 1))
    out = _below(graph.indptr, graph.indices, root, np.r_[weight, 0.0])
    return out[:root]


def _below(indptr: NDArray[np.int32], indices: NDArray[np.int32], root: int, weight: FloatArray) -> FloatArray:
    """Own weight, and that of subtrees of the depth-first tree from `root` that reach no higher than the vertex."""
    n = len(indptr) - 1
    entered, low, sums, out = np.full(n, -1), np.zeros(n, np.int64), weight.astype(np.float64), np.zeros(n)
    parent, at = np.full(n, -1), indptr[:-1].astype(np.int64)
    entered[root], clock, stack = 0, 1, [root]
    while stack:
        v = stack[-1]
        if at[v] < indptr[v + 1]:
            w = int(indices[at[v]])
            at[v] += 1
            if entered[w] < 0:
                entered[w] = low[w] = clock
                clock += 1
                parent[w] = v
                stack.append(w)
            elif w != parent[v]:
                low[v] = min(low[v], entered[w])
            continue
        stack.pop()
        out[v] += weight[v]
        if parent[v] >= 0:
            up = int(parent[v])
            low[up] = min(low[up], low[v])
            sums[up] += sums[v]
            if low[v] >= entered[up]:
                out[up] += sums[v]
    return np.where(entered >= 0, out, 0.0)


def _joints(graph: Graph, valve_link: IntArray, valve_node: IntArray) -> tuple[IntArray, IntArray]:
    """Node and link (numbered after the nodes) of every end of a link that no valve parts from its node."""
    link = np.arange(len(graph.start), dtype=np.int64)
    node, at = np.r_[graph.start, graph.end], np.r_[link, link]
    open_ = ~np.isin(at * graph.n_nodes + node, valve_link * graph.n_nodes + valve_node)
    return node[open_], at[open_] + graph.n_nodes


def _labels(n: int, a: IntArray, b: IntArray) -> IntArray:
    graph = scipy.sparse.csr_array((np.ones(len(a)), (a, b)), shape=(n, n))
    return np.asarray(scipy.sparse.csgraph.connected_components(graph, directed=False)[1], np.int64)


def _fed(n: int, a: IntArray, b: IntArray, sources: IntArray) -> BoolArray:
    """(n,) whether there is a way to a source."""
    if not len(sources):
        return np.zeros(n, bool)
    root = np.full(len(sources), n)
    graph = scipy.sparse.csr_array(
        (np.ones(len(a) + len(root)), (np.r_[a, sources], np.r_[b, root])), shape=(n + 1, n + 1)
    )
    order = scipy.sparse.csgraph.breadth_first_order(graph + graph.T, n, directed=False, return_predecessors=False)
    out = np.zeros(n + 1, bool)
    out[order] = True
    return out[:n]
