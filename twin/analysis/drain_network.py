"""Drains as a network: turns of the flow at nodes, and how far manholes are apart. Arrays in, rows out."""

from dataclasses import dataclass

import numpy as np
import scipy  # its parts load when they are first asked
import shapely
from numpy.typing import NDArray

from twin.analysis.pipe_joints import ends
from twin.analysis.pipes import Pipes

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
WELL, NO_WELL, NOT_KNOWN = 1, 0, -1


@dataclass(frozen=True)
class Turns:
    """(k,) pairs of pipes where the flow of one goes on in the other.

    Attributes
    ----------
    comes, goes : pipes
    angle_deg : between the two in plan, seen from the node; 180 is straight on
    drop_m : inner bottom of the one that comes - that of the one that goes; NaN where not known
    at : (k, 2) the node
    """

    comes: IntArray
    goes: IntArray
    angle_deg: FloatArray
    drop_m: FloatArray
    at: FloatArray


def turns(pipes: Pipes, labels: IntArray) -> Turns:
    """All pairs at the joints of pipes; `labels` as `pipe_joints.labels` gives them."""
    upper = np.where(pipes.is_reversed, 1, 0)
    rows = np.arange(len(pipes))
    begins, finishes = labels[rows, upper], labels[rows, 1 - upper]
    order = np.argsort(begins, kind="stable")
    low, high = (np.searchsorted(begins[order], finishes, side=side) for side in ("left", "right"))
    count = high - low
    comes = np.repeat(rows, count)
    goes = order[np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + np.repeat(low, count)]
    keep = comes != goes
    comes, goes = comes[keep], goes[keep]
    out, back = _leaving(pipes, upper), _leaving(pipes, 1 - upper)
    dot = np.einsum("ij,ij->i", back[comes], out[goes])
    angle = np.degrees(np.arccos(np.clip(dot, -1.0, 1.0)))
    xyz = ends(pipes)
    invert = xyz[:, :, 2] - pipes.inner_m[:, None] / 2
    drop = invert[comes, 1 - upper[comes]] - invert[goes, upper[goes]]
    known = np.isfinite(angle)
    return Turns(comes[known], goes[known], angle[known], drop[known], xyz[goes[known], upper[goes[known]], :2])


def _leaving(pipes: Pipes, end: IntArray) -> FloatArray:
    """(n, 2) unit vector from an end (0 first, 1 last) into the pipe, in plan; NaN where it has no length."""
    parts, owner = shapely.get_parts(pipes.geometry, return_index=True)
    first = np.searchsorted(owner, np.arange(len(pipes)))
    last = np.searchsorted(owner, np.arange(len(pipes)), side="right") - 1
    part = parts[np.where(end == 0, first, last)]
    length = shapely.length(part)
    step = np.minimum(length / 2, 1.0)
    at = np.where(end == 0, 0.0, length)
    into = np.where(end == 0, step, length - step)
    tip, base = (shapely.get_coordinates(shapely.line_interpolate_point(part, where)) for where in (into, at))
    way = tip - base
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(way / np.hypot(*way.T)[:, None], np.float64)


@dataclass(frozen=True)
class Spacings:
    """(k,) runs of pipes from one manhole to the next: their pipes, their length (NaN where it cannot be told)."""

    pipes: list[list[int]]
    length_m: FloatArray
    dn_mm: FloatArray


def spacings(pipes: Pipes, labels: IntArray, well: IntArray) -> Spacings:
    """Runs between manholes.

    Parameters
    ----------
    well : (j,) for each joint: `WELL`, `NO_WELL` or `NOT_KNOWN`

    A joint without a manhole that joins just two pipes is passed; where it joins more, or where it is not known whether
    there is a manhole, the length is not known. An end that nothing goes on from ends a run.
    """
    n, flat = len(pipes), labels.ravel()
    degree = np.bincount(flat, minlength=len(well))
    through = (well != WELL) & (degree > 1)
    pipe = np.repeat(np.arange(n), 2)
    on = through[flat]
    graph = scipy.sparse.csr_array(
        (np.ones(int(on.sum())), (pipe[on], n + flat[on])), shape=(n + len(well), n + len(well))
    )
    run = scipy.sparse.csgraph.connected_components(graph, directed=False)[1][:n]
    bad = (through & ((degree > 2) | (well == NOT_KNOWN)))[labels].any(axis=1)
    _, number = np.unique(run, return_inverse=True)
    length = np.bincount(number, weights=shapely.length(pipes.geometry))
    length[np.unique(number[bad])] = np.nan
    dn = np.full(len(length), np.inf)
    np.minimum.at(dn, number, pipes.dn_mm)
    members: list[list[int]] = [[] for _ in length]
    for row, each in enumerate(number.tolist()):
        members[each].append(row)
    return Spacings(members, length, dn)


def wells(pipes: Pipes, labels: IntArray, known: dict[str, bool]) -> IntArray:
    """(j,) whether joints are manholes, by the codes of nodes at their ends."""
    out = np.full(int(labels.max(initial=-1)) + 1, NOT_KNOWN)
    for end, codes in ((0, pipes.start), (1, pipes.end)):
        for row, code in enumerate(codes.tolist()):
            if code in known:
                at = labels[row, end]
                out[at] = WELL if known[code] or out[at] == WELL else NO_WELL
    return out
