"""GeoPackage geometry blobs as flat arrays of coordinates, without a geometry object for each.

Spec: OGC 12-128r18, 2.1.3.1.1 (blob header); OGC 06-103r4, 8.2 (WKB), with the type codes of ISO 13249-3 for Z and M.
All blobs are parsed side by side, one step a part and ring. What is seldom (big-endian, collections, curves, more than
64 parts or rings) goes through GEOS first.
"""

from dataclasses import dataclass, replace

import numpy as np
import shapely
from numpy.typing import NDArray

from twin.store import geometry_blob
from twin.store.packed import Blobs

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
Bytes = NDArray[np.uint8]

POINT, LINE, RING = 1, 2, 3
MAX_STEPS = 64
"""Parts or rings that are walked side by side; geometries with more of them are rare and go through GEOS."""

_HEAD_BYTES = np.array([8, 40, 56, 56, 72], np.int64)
_AXES = np.array([2, 3, 3, 4], np.int64)


@dataclass(frozen=True)
class Paths:
    """Points, lines and rings in the order of the rows they belong to.

    Attributes
    ----------
    xy : (n, 2) float64, all coordinates one after the other; m is left out
    starts : (p + 1,) where each path begins in `xy`
    rows : (p,) the blob that each path is of; ascending
    kinds : (p,) POINT, LINE or RING
    is_outer : (p,) True where a path begins a part: false only for the holes of a polygon
    z : (n,) heights, NaN where there are none; only `parse_3d` reads them
    types : number of simple type of each blob (1 point to 6 multipolygon) that was walked; 0 for the others, of which
        `parse_3d` gives no paths
    """

    xy: FloatArray
    starts: IntArray
    rows: IntArray
    kinds: NDArray[np.int8]
    is_outer: NDArray[np.bool_]
    z: FloatArray | None = None
    types: NDArray[np.int8] | None = None


def parse_3d(blobs: Blobs) -> Paths:
    """Paths of the blobs that can be walked, with heights; the others (see `MAX_STEPS`) are for the caller to read."""
    walk = _Walk(blobs.data, blobs.starts, blobs.sizes)
    bodies, odd = walk.bodies()
    odd |= walk.walk(bodies)
    walk.check()
    odd |= set(bodies[0][walk.has_m_alone(bodies[1])].tolist())
    walk.forget(np.array(sorted(odd), np.int64))
    found = walk.paths(with_z=True)
    types = np.zeros(len(blobs.sizes), np.int8)
    types[bodies[0]] = walk.kinds(bodies[1])
    types[list(odd)] = 0
    return replace(found, types=types)


def parse(blobs: Blobs) -> Paths:
    """Paths of n blobs; missing and empty geometries have none. InvalidInput for a blob that is no geometry."""
    walk = _Walk(blobs.data, blobs.starts, blobs.sizes)
    bodies, odd = walk.bodies()
    odd |= walk.walk(bodies)
    walk.check()
    if odd:
        walk.add(_through_geos(blobs, odd))
    return walk.paths()


def _through_geos(blobs: Blobs, odd: set[int]) -> "list[tuple[FloatArray, int, int, bool]]":
    """Coordinates, row, kind and is_outer of each path of some blobs."""
    found: list[tuple[FloatArray, int, int, bool]] = []
    rows = sorted(odd)
    shapes = shapely.force_2d(geometry_blob.decode(blobs.each(rows)))
    for row, shape in zip(rows, shapes, strict=True):
        for part in _simple_parts(shape):
            kind = int(shapely.get_dimensions(part)) + 1
            if kind < RING:
                found.append((shapely.get_coordinates(part), row, kind, True))
                continue
            rings = shapely.get_rings(part)
            found += [(shapely.get_coordinates(ring), row, RING, at == 0) for at, ring in enumerate(rings)]
    return found


def _simple_parts(shape: shapely.Geometry | None) -> list[shapely.Geometry]:
    parts = [shape]
    while any(shapely.get_type_id(part) > 3 for part in parts):
        parts = list(shapely.get_parts(np.array(parts, dtype=object)))
    return [part for part in parts if part is not None and not shapely.is_empty(part)]


class _Walk:
    """Steps through the bytes of all blobs at once."""

    def __init__(self, data: bytes, at: IntArray, sizes: IntArray) -> None:
        self.data, self.bytes = data, np.frombuffer(data, np.uint8)
        self.begin, self.end = at, at + sizes
        self._found: list[tuple[IntArray, ...]] = []
        self._more: list[tuple[FloatArray, int, int, bool]] = []
        self._is_short = False

    def bodies(self) -> tuple[tuple[IntArray, IntArray], set[int]]:
        """Rows whose WKB can be walked and where it begins; rows that cannot."""
        rows = np.flatnonzero(self.end - self.begin >= 13)
        at = self.begin[rows]
        flags = self.bytes[at + 3] if len(rows) else np.zeros(0, np.uint8)
        envelope = (flags >> 1) & 7
        plain = (flags & 0x20 == 0) & (envelope <= 4)
        if len(rows):
            plain &= (self.bytes[at] == ord("G")) & (self.bytes[at + 1] == ord("P"))
        body = at + _HEAD_BYTES[np.minimum(envelope, 4)]
        plain &= body + 9 <= self.end[rows]
        odd = set(np.flatnonzero((self.end - self.begin > 0) & (self.end - self.begin < 13)).tolist())
        odd |= set(rows[~plain].tolist())
        return (rows[plain], body[plain]), odd

    def walk(self, bodies: tuple[IntArray, IntArray]) -> set[int]:
        """Note the paths of these bodies; returns the rows that need GEOS."""
        rows, at = bodies
        kind, axes, is_plain = self._head(at)
        is_plain &= kind <= 6
        odd = set(rows[~is_plain].tolist())
        rows, at, kind, axes = rows[is_plain], at[is_plain], kind[is_plain], axes[is_plain]
        order = np.zeros(len(rows), np.int64)
        for single, found in ((1, self._points), (2, self._lines), (3, self._polygons)):
            chosen = kind == single
            if chosen.any():
                odd |= found(rows[chosen], at[chosen] + 5, axes[chosen], order[chosen])[1]
        multi = kind > 3
        if multi.any():
            odd |= self._multi(rows[multi], at[multi], kind[multi])
        return odd

    def _multi(self, rows: IntArray, at: IntArray, kind: IntArray) -> set[int]:
        counts = self._uint32(at + 5)
        odd = set(rows[counts > MAX_STEPS].tolist())
        left = counts <= MAX_STEPS
        rows, cursor, kind, counts = rows[left], at[left] + 9, kind[left], counts[left]
        for step in range(int(counts.max(initial=0))):
            alive = counts > step
            rows, cursor, kind, counts = rows[alive], cursor[alive], kind[alive], counts[alive]
            if len(rows) and (cursor + 9 > self.end[rows]).any():
                self._is_short = True
                return odd
            part, axes, is_plain = self._head(cursor)
            fits = is_plain & (part == kind - 3)
            after = np.full(len(rows), -1, np.int64)
            for single, found in ((1, self._points), (2, self._lines), (3, self._polygons)):
                chosen = fits & (part == single)
                if chosen.any():
                    order = np.full(int(chosen.sum()), step * (MAX_STEPS + 1), np.int64)
                    after[chosen], strange = found(rows[chosen], cursor[chosen] + 5, axes[chosen], order)
                    odd |= strange
            odd |= set(rows[~fits].tolist())
            kept = after >= 0
            rows, cursor, kind, counts = rows[kept], after[kept], kind[kept], counts[kept]
        return odd

    def _points(self, rows: IntArray, at: IntArray, axes: IntArray, order: IntArray) -> tuple[IntArray, set[int]]:
        self._note(rows, at, np.ones_like(rows), axes, order, kind=POINT)
        return at + 8 * axes, set()

    def _lines(self, rows: IntArray, at: IntArray, axes: IntArray, order: IntArray) -> tuple[IntArray, set[int]]:
        counts = self._uint32(at)
        self._note(rows, at + 4, counts, axes, order, kind=LINE)
        return at + 4 + 8 * counts * axes, set()

    def _polygons(self, rows: IntArray, at: IntArray, axes: IntArray, order: IntArray) -> tuple[IntArray, set[int]]:
        n_rings = self._uint32(at)
        after = at + 4
        odd = set(rows[n_rings > MAX_STEPS].tolist())
        after[n_rings > MAX_STEPS] = -1
        for step in range(int(n_rings[n_rings <= MAX_STEPS].max(initial=0))):
            alive = np.flatnonzero((n_rings > step) & (after >= 0))
            if (after[alive] + 4 > self.end[rows[alive]]).any():
                self._is_short = True
                return np.full_like(after, -1), odd
            counts = self._uint32(after[alive])
            self._note(rows[alive], after[alive] + 4, counts, axes[alive], order[alive] + step, kind=RING)
            after[alive] += 4 + 8 * counts * axes[alive]
        return after, odd

    def _note(
        self, rows: IntArray, at: IntArray, counts: IntArray, axes: IntArray, order: IntArray, *, kind: int
    ) -> None:
        if (at + 8 * counts * axes > self.end[rows]).any():
            self._is_short = True
            return
        self._found.append((rows, order, at, counts, axes, np.full(len(rows), kind, np.int64)))

    def _head(self, at: IntArray) -> tuple[IntArray, IntArray, NDArray[np.bool_]]:
        """Simple type (1 to 7), number of axes, and whether it is a little-endian ISO geometry."""
        code = self._uint32(at + 1)
        thousands = code // 1000
        little = self.bytes[at] == 1 if len(at) else np.zeros(0, bool)
        return code % 1000, _AXES[np.minimum(thousands, 3)], little & (thousands <= 3) & (code % 1000 >= 1)

    def _uint32(self, at: IntArray) -> IntArray:
        if not len(at):
            return np.zeros(0, np.int64)
        low, high = self.bytes[at].astype(np.int64), self.bytes[at + 1].astype(np.int64)
        return low | high << 8 | self.bytes[at + 2].astype(np.int64) << 16 | self.bytes[at + 3].astype(np.int64) << 24

    def add(self, more: list[tuple[FloatArray, int, int, bool]]) -> None:
        """Paths that were decoded elsewhere; what was noted of their rows before is forgotten."""
        self._more = more
        self.forget(np.array(sorted({row for _, row, _, _ in more}), np.int64))

    def kinds(self, at: IntArray) -> NDArray[np.int8]:
        """Simple type of the geometries that begin at these bytes."""
        return self._head(at)[0].astype(np.int8)

    def has_m_alone(self, at: IntArray) -> NDArray[np.bool_]:
        """Whether the third ordinate of the geometries that begin at these bytes is a measure."""
        return np.asarray(self._uint32(at + 1) // 1000 == 2, np.bool_)

    def forget(self, gone: IntArray) -> None:
        """Leave out what was noted of some rows."""
        if not len(gone):
            return
        self._found = [tuple(each[~np.isin(found[0], gone)] for each in found) for found in self._found]

    def check(self) -> None:
        """InvalidInput where a blob ended before its geometry did."""
        if self._is_short:
            from layers.errors import InvalidInput

            raise InvalidInput("A stored geometry is cut short.", "Was the file edited by hand?")

    def paths(self, *, with_z: bool = False) -> Paths:
        """Everything found, in the order of rows, parts and rings."""
        if self._found:
            rows, order, at, counts, axes, kinds = (np.concatenate(each) for each in zip(*self._found, strict=True))
        else:
            rows, order, at, counts, axes, kinds = (np.zeros(0, np.int64) for _ in range(6))
        if len(self._found) > 1:
            place = np.lexsort((order, rows))
            rows, order, at, counts, axes, kinds = (each[place] for each in (rows, order, at, counts, axes, kinds))
        is_outer = (kinds != RING) | (order % (MAX_STEPS + 1) == 0)
        xyz = self._coordinates(at, counts, axes, 3 if with_z else 2)
        xy, z = xyz[:, :2], xyz[:, 2] if with_z else None
        present = counts > 0
        points = np.flatnonzero(kinds == POINT)
        if points.size:  # POINT EMPTY is a point of NaN
            first = (np.cumsum(counts) - counts)[points]
            void = np.isnan(xy[first]).any(axis=1)
            if void.any():
                xy = np.delete(xy, first[void], axis=0)
                z = None if z is None else np.delete(z, first[void])
                present[points[void]] = False
        rows, counts, kinds, is_outer = rows[present], counts[present], kinds[present], is_outer[present]
        if self._more:
            return self._merged(xy, rows, counts, kinds, is_outer)
        return replace(_made(xy, rows, counts, kinds, is_outer), z=z)

    def _coordinates(self, at: IntArray, counts: IntArray, axes: IntArray, width: int) -> FloatArray:
        """Coordinates of runs of positions: x and y, or x, y and z (NaN where there is none)."""
        data = self.data
        if not len(at):
            return np.zeros((0, width))
        if (axes == axes[0]).all():
            n = int(axes[0])
            cuts = zip(at.tolist(), (at + 8 * n * counts).tolist(), strict=True)
            flat = np.frombuffer(b"".join([data[a:b] for a, b in cuts]), "<f8").reshape(-1, n)
            if n >= width:
                return np.ascontiguousarray(flat[:, :width])
            return np.column_stack([flat, np.full(len(flat), np.nan)])
        xy = np.empty((int(counts.sum()), width))
        starts = np.cumsum(counts) - counts
        for n in np.unique(axes).tolist():
            chosen = np.flatnonzero(axes == n)
            part = self._coordinates(at[chosen], counts[chosen], axes[chosen], width)
            xy[_spread(starts[chosen], counts[chosen])] = part
        return xy

    def _merged(
        self, xy: FloatArray, rows: IntArray, counts: IntArray, kinds: IntArray, is_outer: NDArray[np.bool_]
    ) -> Paths:
        """What was walked and what came through GEOS, by row."""
        coordinates, more_rows, more_kinds, more_outer = zip(*self._more, strict=True)
        all_rows = np.concatenate([rows, np.array(more_rows, np.int64)])
        all_counts = np.concatenate([counts, [len(each) for each in coordinates]]).astype(np.int64)
        all_kinds = np.concatenate([kinds, np.array(more_kinds, np.int64)])
        all_outer = np.concatenate([is_outer, np.array(more_outer, bool)])
        all_xy = np.concatenate([xy, *coordinates])
        starts = np.cumsum(all_counts) - all_counts
        order = np.argsort(all_rows, kind="stable")
        order = order[all_counts[order] > 0]
        taken = all_xy[_spread(starts[order], all_counts[order])]
        return _made(taken, all_rows[order], all_counts[order], all_kinds[order], all_outer[order])


def _made(xy: FloatArray, rows: IntArray, counts: IntArray, kinds: IntArray, is_outer: NDArray[np.bool_]) -> Paths:
    starts = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=starts[1:])
    return Paths(xy, starts, rows, kinds.astype(np.int8), is_outer)


def _spread(starts: IntArray, counts: IntArray) -> IntArray:
    """Positions of runs: starts[0], starts[0] + 1, … counts[0] of them, then the next run."""
    ends = np.cumsum(counts)
    return np.arange(int(ends[-1]) if len(ends) else 0) + np.repeat(starts - (ends - counts), counts)
