"""How pairs of solids meet: one inside the other by so much, or near each other by so little. No city, no rule.

Two closed meshes clash where their boolean intersection has a volume that is thicker than a tolerance (twice the volume
by the surface): faces that lie on each other touch and do not clash. Of a mesh that is not closed nobody knows the
inside: it clashes where an edge goes through a face by more than the tolerance, or where a part of it lies inside a
closed one; the volume is then not known. Everything else has a distance.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin.analysis.model_diff_solids import Solid, common
from twin.analysis.progress import SILENT, Progress
from twin.analysis.verdict import SAME

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

HARD, SOFT = "hard", "soft"


@dataclass(frozen=True)
class Contact:
    """A pair that clashes.

    Attributes
    ----------
    a, b : rows of the solids
    kind : `hard` or `soft`
    volume_m3 : shared volume; NaN where one is not closed, or for a soft clash
    thickness_m : mean thickness of what is shared; NaN where not known
    gap_m : least distance of the surfaces; 0 for a hard clash
    place : (3,) where, in the frame of the solids
    """

    a: int
    b: int
    kind: str
    volume_m3: float
    thickness_m: float
    gap_m: float
    place: FloatArray


@dataclass(frozen=True)
class _Triangles:
    """All triangles of all solids, for the kernel."""

    corners: FloatArray
    boxes: FloatArray
    starts: IntArray
    low: FloatArray
    high: FloatArray
    is_closed: NDArray[np.bool_]


def contacts(
    solids: Sequence[Solid],
    pairs: Iterable[IntArray],
    *,
    soft_gap_m: float | None = None,
    tolerance_m: float = 1e-4,
    progress: Progress = SILENT,
) -> tuple[list[Contact], int]:
    """What of candidate pairs clashes, and how many pairs were looked at.

    Parameters
    ----------
    pairs : (p, 2) rows of solids, some at a time; those farther apart than `soft_gap_m` may be among them
    soft_gap_m : a gap up to this, equal included, is a soft clash; None looks for hard ones only
    tolerance_m : what is shared counts from this thickness on
    """
    triangles = _triangles(solids)
    found: list[Contact] = []
    n = 0
    for part in pairs:
        for start in range(0, len(part), 1000):
            some = part[start : start + 1000]
            found += _some(solids, triangles, some, soft_gap_m, tolerance_m)
            n += len(some)
            last = int(some[-1, 0]) + 1
            progress(100.0 * last / len(solids), f"{n} pairs")
    return found, n


def _triangles(solids: Sequence[Solid]) -> _Triangles:
    corners = np.ascontiguousarray(np.concatenate([each.corners for each in solids])) if solids else np.empty((0, 3, 3))
    boxes = np.stack([corners.min(axis=1), corners.max(axis=1)], axis=1) if len(corners) else np.empty((0, 2, 3))
    starts = np.concatenate([[0], np.cumsum([len(each.triangles) for each in solids])]).astype(np.int64)
    low = np.array([each.low for each in solids]).reshape(-1, 3)
    high = np.array([each.high for each in solids]).reshape(-1, 3)
    closed = np.array([each.body is not None for each in solids], bool)
    return _Triangles(corners, np.ascontiguousarray(boxes), starts, low, high, closed)


def _some(
    solids: Sequence[Solid], all_: _Triangles, pairs: IntArray, soft_gap_m: float | None, tolerance_m: float
) -> list[Contact]:
    from twin.analysis.bim_clash_kernel import gaps

    n = len(pairs)
    distance, through, places = np.empty(n), np.empty(n), np.zeros((n, 6))
    both = all_.is_closed[pairs].all(axis=1)
    reach = max(tolerance_m, 0.0 if soft_gap_m is None else soft_gap_m + SAME)
    for rows, far in ((np.flatnonzero(both), -2.0), (np.flatnonzero(~both), tolerance_m)):
        if not rows.size:
            continue
        d, t, p = np.empty(len(rows)), np.empty(len(rows)), np.zeros((len(rows), 6))
        gaps((all_.corners, all_.boxes, all_.starts), pairs[rows], (reach, far), (d, t, p))
        distance[rows], through[rows], places[rows] = d, t, p
    overlap = np.minimum(all_.high[pairs[:, 0]], all_.high[pairs[:, 1]]) - np.maximum(
        all_.low[pairs[:, 0]], all_.low[pairs[:, 1]]
    )
    # what two closed meshes share is no thicker than their boxes' overlap is along any axis
    may_share = (~both | (overlap.min(axis=1) > tolerance_m)) & ((distance <= tolerance_m) | _nested(all_, pairs))
    out = []
    for row, (a, b) in enumerate(pairs.tolist()):
        middle = (places[row, :3] + places[row, 3:]) / 2.0
        hard = None
        if may_share[row]:
            if both[row]:
                hard = _shared(solids, a, b, tolerance_m)
            elif through[row] > tolerance_m:
                hard = Contact(a, b, HARD, np.nan, np.nan, 0.0, middle)
            elif distance[row] > tolerance_m:
                hard = _swallowed(solids, a, b)
        if hard is not None:
            out.append(hard)
        elif soft_gap_m is not None and distance[row] <= soft_gap_m + SAME:
            out.append(Contact(a, b, SOFT, np.nan, np.nan, float(distance[row]), middle))
    return out


def _nested(all_: _Triangles, pairs: IntArray) -> NDArray[np.bool_]:
    """(p,) whether the box of one lies in that of the other, so that it may be wholly inside."""
    a, b = pairs[:, 0], pairs[:, 1]
    a_in_b = (all_.low[a] >= all_.low[b]).all(axis=1) & (all_.high[a] <= all_.high[b]).all(axis=1)
    b_in_a = (all_.low[b] >= all_.low[a]).all(axis=1) & (all_.high[b] <= all_.high[a]).all(axis=1)
    return np.asarray(a_in_b | b_in_a, bool)


def _shared(solids: Sequence[Solid], a: int, b: int, tolerance_m: float) -> Contact | None:
    volume, thickness, place = common(solids[a], solids[b])
    if place is None or thickness <= tolerance_m:
        return None
    return Contact(a, b, HARD, volume, thickness, 0.0, place)


def _swallowed(solids: Sequence[Solid], a: int, b: int) -> Contact | None:
    """A mesh that is not closed, wholly inside one that is; their surfaces do not meet."""
    for inner, outer in ((a, b), (b, a)):
        if solids[outer].body is not None:
            point = solids[inner].vertices[solids[inner].triangles[0, 0]]
            if winding(solids[outer].corners, point) > 0.5:
                return Contact(a, b, HARD, np.nan, np.nan, 0.0, point)
    return None


def winding(corners: FloatArray, point: FloatArray) -> float:
    """How often the surface (t, 3, 3) goes round a point: 1 inside a closed mesh, 0 outside.

    Solid angles of triangles: van Oosterom and Strackee 1983, IEEE Trans. Biomed. Eng. 30(2).
    """
    a, b, c = (corners[:, k] - point for k in range(3))
    la, lb, lc = (np.linalg.norm(each, axis=1) for each in (a, b, c))
    top = np.einsum("ij,ij->i", a, np.cross(b, c))
    bottom = la * lb * lc
    for u, v, w in ((a, b, lc), (b, c, la), (c, a, lb)):
        bottom = bottom + np.einsum("ij,ij->i", u, v) * w
    return abs(float(np.arctan2(top, bottom).sum() / (2.0 * np.pi)))
