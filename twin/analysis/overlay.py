"""What areas have in common, exactly: the shared machinery of overlays.

The second set is divided into small parts once and found by a tree. Whether an area of the first set lies inside or
outside a part is told without cutting it; only what crosses an edge is cut. Areas are those on the ellipsoid.
"""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.ellipsoid_area import areas_m2
from twin.analysis.progress import SILENT, Progress

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Shapes = NDArray[np.object_]

NOISE_M2 = 1e-6
"""Areas up to this are rounding of cut edges, not land."""
MOST_POINTS = 100
"""Points of a part that areas are cut by: few make each cut quick, many leave fewer areas to be cut."""
FEW_POINTS = 16
"""Parts with no more are not prepared: that costs more than it saves."""
AT_ONCE = 4_096
MOST_THREADS = 4


@dataclass(frozen=True)
class Pieces:
    """Common areas, ascending by `left`. A pair may have several: where the second set was divided.

    Attributes
    ----------
    left, right : (k,) rows of the first and second set
    shapes : (k,) what they have in common; the area of the first set itself where it lies inside
    areas_m2 : (k,) on the ellipsoid, above `NOISE_M2`
    """

    left: IntArray
    right: IntArray
    shapes: Shapes
    areas_m2: FloatArray

    def __len__(self) -> int:
        return len(self.left)

    def of_left(self, n: int) -> FloatArray:
        """(n,) sums by row of the first set."""
        return np.bincount(self.left, weights=self.areas_m2, minlength=n)

    def pairs(self) -> "Pieces":
        """Each pair once, its pieces as one shape."""
        if not len(self):
            return self
        order = np.lexsort((self.right, self.left))
        left, right = self.left[order], self.right[order]
        starts = np.flatnonzero(np.r_[True, (left[1:] != left[:-1]) | (right[1:] != right[:-1])])
        ends = np.r_[starts[1:], len(order)]
        shapes = self.shapes[order][starts].copy()
        for row in np.flatnonzero(ends - starts > 1).tolist():
            shapes[row] = shapely.union_all(self.shapes[order[starts[row] : ends[row]]])
        return Pieces(left[starts], right[starts], shapes, np.add.reduceat(self.areas_m2[order], starts))


class Cover:
    """Areas that others are held against.

    Parameters
    ----------
    shapes : (m,) valid polygons in `source`; None and others count as nothing
    is_one : they count as one area, where overlaps among them do not count twice; `right` of every piece is then 0
    """

    def __init__(self, shapes: Shapes, source: str, *, is_one: bool = False) -> None:
        self.source = source
        used = np.asarray(shapes, dtype=object)
        if is_one:
            used = np.array([dissolved(shapely.force_2d(used[shapely.get_dimensions(used) == 2]))], object)
        self.parts, self.owner = divided(used)
        self.boxes = shapely.bounds(self.parts).reshape(-1, 4)
        self.is_box = shapely.area(self.parts) == shapely.area(shapely.box(*self.boxes.T))
        self.tree = shapely.STRtree(self.parts)
        self.tree.query(shapely.Point(0, 0))  # it is built by the first question, before threads ask it
        self._own = threading.local()

    def _prepared(self) -> Shapes:
        """The parts, those with many points as this thread's own: two threads must not ask one prepared geometry."""
        if not hasattr(self._own, "parts"):
            made = self.parts.copy()
            many = np.flatnonzero(shapely.get_num_coordinates(made) > FEW_POINTS)
            made[many] = shapely.from_wkb(shapely.to_wkb(made[many]))
            shapely.prepare(made[many])
            self._own.parts = made
        own: Shapes = self._own.parts
        return own

    def common(self, left: Shapes, left_m2: FloatArray | None = None, *, first_row: int | None = None) -> Pieces:
        """What (n,) valid areas have in common with these.

        `left_m2` are their areas where they are known. With `first_row` they are the rows from there on of the very
        set that is the cover, and each pair is looked at once, from its lower row.
        """
        shapes = np.asarray(left, dtype=object)
        row, part = self.tree.query(shapes)
        if first_row is not None:
            row, part = (each[row + first_row < self.owner[part]] for each in (row, part))
        box, other = shapely.bounds(shapes)[row].reshape(-1, 4), self.boxes[part]
        with np.errstate(invalid="ignore"):
            meets = (np.minimum(box[:, 2:], other[:, 2:]) > np.maximum(box[:, :2], other[:, :2])).all(axis=1)
            is_inside = self.is_box[part] & (box[:, :2] >= other[:, :2]).all(axis=1)
            is_inside &= (box[:, 2:] <= other[:, 2:]).all(axis=1)
        row, part, is_inside = row[meets], part[meets], is_inside[meets]
        own = self._prepared()
        open_ = np.flatnonzero(~is_inside)
        is_inside[open_] = shapely.covers(own[part[open_]], shapes[row[open_]])
        open_ = open_[~is_inside[open_]]
        open_ = open_[shapely.intersects(own[part[open_]], shapes[row[open_]])]
        open_ = open_[~shapely.touches(own[part[open_]], shapes[row[open_]])]
        found = np.empty(len(row), object)
        found[is_inside] = shapes[row[is_inside]]
        found[open_] = shapely.intersection(self.parts[part[open_]], shapes[row[open_]])
        area = np.zeros(len(row))
        area[open_] = areas_m2(found[open_], self.source)
        whole = row[is_inside]
        area[is_inside] = areas_m2(shapes[whole], self.source) if left_m2 is None else left_m2[whole]
        kept = np.flatnonzero(area > NOISE_M2)
        kept = kept[np.argsort(row[kept], kind="stable")]
        return Pieces(row[kept], self.owner[part[kept]], found[kept], area[kept])


def divided(shapes: Shapes, most: int = MOST_POINTS) -> tuple[Shapes, IntArray]:
    """(m,) areas -> polygons of at most `most` points that together are the same, and whose each is.

    Halved across the longer side until they are small; what is neither polygon nor multipolygon is left out.
    """
    parts, owner = _polygons(np.asarray(shapely.force_2d(shapes), dtype=object), np.arange(len(shapes)))
    small: list[tuple[Shapes, IntArray]] = []
    for _ in range(60):  # a half of a half: far below a millimetre by then
        is_small = shapely.get_num_coordinates(parts) <= most
        small.append((parts[is_small], owner[is_small]))
        parts, owner = parts[~is_small], owner[~is_small]
        if not len(parts):
            break
        west, south, east, north = shapely.bounds(parts).T
        is_wide = east - west >= north - south
        middle = np.where(is_wide, (west + east) / 2, (south + north) / 2)
        first = shapely.box(west, south, np.where(is_wide, middle, east), np.where(is_wide, north, middle))
        second = shapely.box(np.where(is_wide, middle, west), np.where(is_wide, south, middle), east, north)
        halves = np.concatenate([shapely.intersection(parts, first), shapely.intersection(parts, second)])
        parts, owner = _polygons(halves, np.concatenate([owner, owner]))
    small.append((parts, owner))
    return np.concatenate([each for each, _ in small]), np.concatenate([each for _, each in small])


def _polygons(shapes: Shapes, owner: IntArray) -> tuple[Shapes, IntArray]:
    parts, of = shapely.get_parts(shapes, return_index=True)
    if (shapely.get_type_id(parts) > 3).any():  # what was mended may be a collection of multipolygons
        parts, inner = shapely.get_parts(parts, return_index=True)
        of = of[inner]
    kept = (shapely.get_type_id(parts) == 3) & ~shapely.is_empty(parts)
    return parts[kept], np.asarray(owner, np.int64)[of[kept]]


def dissolved(shapes: Shapes, *, progress: Progress = SILENT, message: str = "") -> shapely.Geometry:
    """The union of (n,) valid areas, neighbours first, by several threads; an empty polygon of none."""
    left = np.asarray(shapes, dtype=object)
    left = left[~(shapely.is_missing(left) | shapely.is_empty(left))]
    if not len(left):
        return shapely.Polygon()
    west, south = shapely.bounds(left)[:, :2].T
    strips = np.floor((west - west.min()) / max(float(np.ptp(west)), 1e-9) * np.sqrt(len(left) / AT_ONCE))
    left = left[np.lexsort((south, strips))]
    while len(left) > 1:
        now = left

        def block(low: int, now: Shapes = now) -> shapely.Geometry:
            return shapely.union_all(now[low : low + 512])

        made = list(in_threads(block, range(0, len(now), 512), progress, message))
        left = np.array([*made, None], object)[:-1]
    return left[0]


def common(
    left: Shapes, cover: Cover, *, left_m2: FloatArray | None = None, progress: Progress = SILENT, message: str = ""
) -> Pieces:
    """What (n,) valid areas have in common with a cover, in blocks by several threads."""

    def block(low: int) -> Pieces:
        part = slice(low, low + AT_ONCE)
        found = cover.common(left[part], None if left_m2 is None else left_m2[part])
        return Pieces(found.left + low, found.right, found.shapes, found.areas_m2)

    return _joined(in_threads(block, range(0, len(left), AT_ONCE), progress, message))


def self_overlaps(shapes: Shapes, source: str, *, progress: Progress = SILENT, message: str = "") -> Pieces:
    """Pairs of one set of (n,) valid areas that have land in common, each once, the lower row first."""
    cover = Cover(shapes, source)

    def block(low: int) -> Pieces:
        found = cover.common(shapes[low : low + AT_ONCE], first_row=low)
        return Pieces(found.left + low, found.right, found.shapes, found.areas_m2)

    return _joined(in_threads(block, range(0, len(shapes), AT_ONCE), progress, message)).pairs()


def _joined(parts: Iterator[Pieces]) -> Pieces:
    made = [each for each in parts if len(each)]
    if not made:
        none = np.zeros(0, np.int64)
        return Pieces(none, none, np.zeros(0, object), np.zeros(0))
    return Pieces(
        np.concatenate([each.left for each in made]),
        np.concatenate([each.right for each in made]),
        np.concatenate([each.shapes for each in made]),
        np.concatenate([each.areas_m2 for each in made]),
    )


def threads() -> int:
    """How many threads an overlay may use: GEOS lets go of Python's lock."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MOST_THREADS, cores)


def in_threads[Made](
    work: Callable[[int], Made], starts: range, progress: Progress = SILENT, message: str = ""
) -> Iterator[Made]:
    """`work` of each start, in order; only so many results wait as there are threads. Tells after each."""
    n = threads()
    if len(starts) <= 1 or n == 1:
        yield from progress.over((work(each) for each in starts), len(starts), message)
        return
    left = iter(starts)
    with ThreadPoolExecutor(n) as pool:
        waiting: list[Future[Made]] = [pool.submit(work, each) for each in islice(left, n + 1)]
        try:
            for done in range(1, len(starts) + 1):
                made = waiting.pop(0).result()
                waiting += [pool.submit(work, each) for each in islice(left, 1)]
                yield made
                progress(100.0 * done / len(starts), message)
        finally:  # who asked may have gone away
            for each in waiting:
                each.cancel()


def uncovered_m2(left_m2: FloatArray, pieces: Pieces) -> FloatArray:
    """(n,) of each area that no piece covers, 0 where all is. Pieces must not overlap one another."""
    rest = left_m2 - pieces.of_left(len(left_m2))
    return np.where(rest > np.maximum(NOISE_M2, 1e-11 * left_m2), rest, 0.0)


def polygonal(shapes: Shapes) -> Shapes:
    """Only the areas of (n,) shapes: cutting leaves lines and points where edges touch."""
    out = np.asarray(shapes, dtype=object).copy()
    for row in np.flatnonzero(shapely.get_type_id(out) == 7).tolist():
        parts = shapely.get_parts(out[row])
        out[row] = shapely.union_all(parts[shapely.get_dimensions(parts) == 2])
    return out
