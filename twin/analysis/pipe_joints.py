"""Which pipes are joined: by the nodes they name, by ends that lie on each other, over short fittings, or as a tee."""

import numpy as np
import scipy  # its parts load when they are first asked
import shapely
from numpy.typing import NDArray

from twin.analysis.pipe_distance import Pairs
from twin.analysis.pipes import DRAINS, Pipes

IntArray = NDArray[np.int64]
SNAP_M = 0.02
"""Ends of one kind that lie so near each other are one joint."""
CHAMBER_M = 5.0
"""Ends that name the same node are joined where they lie so near each other; else the name is used twice."""
FITTING_M = 1.0
"""A pipe that is no longer is a fitting: what it joins is joined."""


def labels(pipes: Pipes) -> IntArray:
    """(n, 2) numbers of the joints at the first and last end of pipes."""
    n = len(pipes)
    xyz = ends(pipes).reshape(-1, 3)
    same = [*_by_code(pipes, xyz), *_by_place(pipes, xyz)]
    short = np.flatnonzero(shapely.length(pipes.geometry) <= FITTING_M)
    same.append((2 * short, 2 * short + 1))
    a, b = (np.concatenate(each).astype(np.int64) for each in zip(*same, strict=True))
    graph = scipy.sparse.coo_array((np.ones(len(a)), (a, b)), shape=(2 * n, 2 * n))
    _, found = scipy.sparse.csgraph.connected_components(graph, directed=False)
    return np.asarray(found, np.int64).reshape(n, 2)


def ends(pipes: Pipes) -> NDArray[np.float64]:
    """(n, 2, 3) first and last point of pipes; z is NaN where the axis is not known."""
    parts, owner = shapely.get_parts(pipes.geometry, return_index=True)
    first = np.searchsorted(owner, np.arange(len(pipes)))
    last = np.searchsorted(owner, np.arange(len(pipes)), side="right") - 1
    points = np.stack([shapely.get_point(parts[first], 0), shapely.get_point(parts[last], -1)], axis=1)
    xyz = shapely.get_coordinates(points.ravel(), include_z=True).reshape(-1, 2, 3)
    xyz[~pipes.has_axis, :, 2] = np.nan
    return np.asarray(xyz, np.float64)


def _by_code(pipes: Pipes, xyz: NDArray[np.float64]) -> list[tuple[IntArray, IntArray]]:
    codes = np.stack([pipes.start, pipes.end], axis=1).ravel()
    rows = np.flatnonzero(codes != None)  # noqa: E711 element by element
    if not len(rows):
        return []
    _, first, group = np.unique(codes[rows].astype(str), return_index=True, return_inverse=True)
    host = rows[first][group]
    near = np.hypot(*(xyz[rows, :2] - xyz[host, :2]).T) <= CHAMBER_M
    return [(rows[near], host[near])]


def _by_place(pipes: Pipes, xyz: NDArray[np.float64]) -> list[tuple[IntArray, IntArray]]:
    found = scipy.spatial.cKDTree(xyz[:, :2]).query_pairs(SNAP_M, output_type="ndarray")
    a, b = found.T
    with np.errstate(invalid="ignore"):
        level = ~(np.abs(xyz[a, 2] - xyz[b, 2]) > SNAP_M)  # unknown heights do not part them
    level |= np.isin(pipes.kind[a // 2].astype(str), DRAINS)  # they meet in a manhole, often with a drop
    keep = level & (pipes.kind[a // 2] == pipes.kind[b // 2])
    return [(a[keep], b[keep])]


def tees(pipes: Pipes, found: Pairs) -> NDArray[np.bool_]:
    """(k,) pairs of one kind where an end of one lies on the other, in space where heights are known."""
    out = np.zeros(len(found), bool)
    with np.errstate(invalid="ignore"):
        close = (found.plan_m <= SNAP_M) & ~(found.space_m > SNAP_M)
    rows = np.flatnonzero(close & (pipes.kind[found.a] == pipes.kind[found.b]))
    if not len(rows):
        return out
    points = shapely.points(ends(pipes)[:, :, :2])
    for one, two in ((found.a, found.b), (found.b, found.a)):
        far = shapely.distance(points[one[rows]], pipes.geometry[two[rows]][:, None])
        out[rows] |= far.min(axis=1) <= SNAP_M
    return out
