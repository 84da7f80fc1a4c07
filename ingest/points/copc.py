"""Points -> a COPC file, every point once, in bounded memory.

Two passes over the source: `survey` finds what is true of all points, `write_copc` sorts and writes them. The nodes
are made by `ingest.points.octree`, the bytes by `ingest.points.copc_file` (COPC 1.0, https://copc.io).
"""

import datetime as dt
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ingest.points import octree
from ingest.points.copc_file import CopcFile, Facts, wkt_of
from ingest.points.octree import Census, Cube, Key, Records
from ingest.points.records import ExtraBytes, record_dtype
from layers.errors import InvalidInput

SUBTILE_POINTS = 500_000
"""A tile that is too large is sorted further in pieces of so many points."""

Steps = tuple[int, int, int]


@dataclass(frozen=True)
class PointSource:
    """Points in integer steps, ready for COPC.

    Attributes
    ----------
    name : for messages
    format_id : 6, 7 or 8
    scales, offsets : coordinate = step * scale + offset
    chunks : call it to read all records (`record_dtype(format_id, extra.n_bytes)`), some 100,000 at a time
    positions : the same, where only X, Y, Z, classification and returns need be right; or None
    guess : lowest and highest corner, in steps, if the source states them: saves a count when it is true
    """

    name: str
    format_id: int
    scales: tuple[float, float, float]
    offsets: tuple[float, float, float]
    chunks: Callable[[], Iterator[Records]]
    positions: Callable[[], Iterator[Records]] | None = None
    guess: tuple[Steps, Steps] | None = None
    extra: ExtraBytes = field(default_factory=ExtraBytes)
    global_encoding: int = 0
    source_id: int = 0
    created: dt.date | None = None


@dataclass(frozen=True)
class Survey:
    """What one pass over the points found: bounds in steps, counts, and where the points lie (`cubes` of `root`)."""

    low: Steps
    high: Steps
    n_points: int
    classes: dict[int, int]
    by_return: tuple[int, ...]
    root: Cube
    side: float
    cubes: tuple[NDArray[np.int64], NDArray[np.int64]]

    def corners(self, source: PointSource) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """Lowest and highest coordinates in the CRS's units."""
        return _place(self.low, source), _place(self.high, source)


def _place(steps: Steps, source: PointSource) -> tuple[float, float, float]:
    x, y, z = (step * scale + at for step, scale, at in zip(steps, source.scales, source.offsets, strict=True))
    return x, y, z


def survey(source: PointSource) -> Survey:
    """One pass (two where the stated bounds are wrong or missing). Reading errors pass through."""
    found, census = _Survey(), None
    if source.guess is not None and all(a <= b for a, b in zip(*source.guess, strict=True)):
        census = Census(octree.cube(*source.guess, source.scales)[0])
    for records in (source.positions or source.chunks)():
        if len(records):
            found.add(records)
            if census is not None:
                census.add(records)
    if not found.n_points:
        return Survey((0, 0, 0), (0, 0, 0), 0, {}, (0,) * 15, Cube((0, 0, 0), (1.0, 1.0, 1.0)), 1.0, _NOWHERE)
    root, side = octree.cube(found.low, found.high, source.scales)
    if census is not None and source.guess is not None and _holds(source.guess, found, side, source.scales):
        root, side = octree.cube(*source.guess, source.scales)
    else:
        census = Census(root)
        if found.n_points > octree.TILE_POINTS:
            for records in (source.positions or source.chunks)():
                census.add(records)
        else:
            census.counts[0] = found.n_points
    places = np.flatnonzero(census.counts)
    return Survey(
        found.low, found.high, found.n_points, dict(sorted(found.classes.items())), tuple(found.returns.tolist()),
        root, side, (places, census.counts[places]),
    )  # fmt: skip


_NOWHERE = (np.zeros(0, np.int64), np.zeros(0, np.int64))


def _holds(guess: tuple[Steps, Steps], found: "_Survey", side: float, scales: tuple[float, float, float]) -> bool:
    """True if the stated bounds hold all points and are hardly larger: some writers round them."""
    is_inside = all(a <= b for a, b in zip(guess[0], found.low, strict=True))
    is_inside &= all(a >= b for a, b in zip(guess[1], found.high, strict=True))
    return is_inside and octree.cube(*guess, scales)[1] <= 1.01 * side


class _Survey:
    def __init__(self) -> None:
        self.low: Steps = (2**31, 2**31, 2**31)
        self.high: Steps = (-(2**31), -(2**31), -(2**31))
        self.n_points = 0
        self.classes: Counter[int] = Counter()
        self.returns = np.zeros(15, np.int64)

    def add(self, records: Records) -> None:
        self.n_points += len(records)
        columns = [np.ascontiguousarray(records[axis]) for axis in "XYZ"]
        self.low = tuple(min(low, int(each.min())) for low, each in zip(self.low, columns, strict=True))  # type: ignore[assignment]
        self.high = tuple(max(high, int(each.max())) for high, each in zip(self.high, columns, strict=True))  # type: ignore[assignment]
        counts = np.bincount(records["classification"], minlength=256)
        self.classes.update({int(value): int(counts[value]) for value in np.flatnonzero(counts)})
        self.returns += np.bincount(records["returns"] & 15, minlength=16)[1:16]


def write_copc(source: PointSource, found: Survey, target: Path, crs_text: str) -> None:
    """Write the COPC file; leaves none behind when it raises. Needs about the uncompressed size on disk for a while.

    Raises InvalidInput if there are more or fewer points than in the survey.
    """
    try:
        _write(source, found, target, crs_text)
    except BaseException:
        with suppress(FileNotFoundError):
            target.unlink()
        raise


def _write(source: PointSource, found: Survey, target: Path, crs_text: str) -> None:
    with tempfile.TemporaryDirectory(prefix="copc-", dir=target.parent) as folder:
        work = _Work(source, found, Path(folder))
        work.sort()
        low, high = found.corners(source)
        facts = Facts(
            source.format_id, source.scales, source.offsets, low, high, found.n_points, found.by_return,
            work.gps_times(), _place(found.root.low, source), found.side, wkt_of(crs_text),
            source.extra, source.global_encoding, source.source_id, source.created,
        )  # fmt: skip
        file = CopcFile(target, facts)
        try:
            work.write(file)
        except BaseException:
            file.abandon()
            raise
        file.close()
        if file.n_points != found.n_points:  # the octree lost or doubled points: never let such a file pass
            problem = f"{source.name}: {found.n_points} points were read, but {file.n_points} written."
            raise RuntimeError(problem)


class _Work:
    """The points on their way: in memory if they are few, else in tiles on disk."""

    def __init__(self, source: PointSource, found: Survey, folder: Path) -> None:
        self._source, self._found, self._root = source, found, found.root
        dtype = record_dtype(source.format_id, source.extra.n_bytes)
        self._tiles = octree.Spill(folder, "tile", dtype)
        self._shared = octree.Spill(folder, "node", dtype)
        self._few: list[Records] = []
        self._times = (np.inf, -np.inf)

    def gps_times(self) -> tuple[float, float]:
        """Earliest and latest GPS time; zeros where there is none."""
        return self._times if np.isfinite(self._times).all() else (0.0, 0.0)

    def sort(self) -> None:
        """The second pass: every point to its tile."""
        census = Census(self._root)
        census.counts[self._found.cubes[0]] = self._found.cubes[1]
        tiles = census.tiles(octree.TILE_POINTS)
        n_sorted = 0
        for records in self._source.chunks():
            if not len(records):
                continue
            n_sorted += len(records)
            times = records["gps_time"]
            self._times = min(self._times[0], float(times.min())), max(self._times[1], float(times.max()))
            if self._found.n_points <= octree.TILE_POINTS:
                self._few.append(records)
                continue
            for key, share in tiles.split(records):
                self._tiles.add(key, share)
        if n_sorted != self._found.n_points:
            problem = (
                f"{self._source.name} had {self._found.n_points} points at first, then {n_sorted}: it was changed."
            )
            raise InvalidInput(problem, "Build again when it is at rest.", code="SOURCE_CHANGED")

    def write(self, file: CopcFile) -> None:
        """Every tile to its nodes, then the nodes that tiles share."""
        if self._few:
            records = self._few[0] if len(self._few) == 1 else np.concatenate(self._few)
            self._few = []
            octree.distribute(records, self._root, (0, 0, 0, 0), file.add)
        for key in sorted(self._tiles.counts):
            self._tile(key, file)
        for key in sorted(self._shared.counts):
            file.add(key, self._shared.take(key))

    def _tile(self, tile: Key, file: CopcFile) -> None:
        top = tile[0]
        if self._tiles.counts[tile] > octree.TILE_POINTS and top + octree.GRID_LEVELS <= octree.MAX_TILE_DEPTH:
            self._divide(tile, file)
            return

        def give(key: Key, records: Records) -> None:
            if key[0] < top:
                self._shared.add(key, records)
            else:
                file.add(key, records)

        octree.distribute(self._tiles.take(tile), self._root, tile, give)

    def _divide(self, tile: Key, file: CopcFile) -> None:
        """A cloud with far outliers has most points in one tile: sort that one again, seven levels deeper."""
        census = Census(self._root, tile)
        for records in self._tiles.pieces(tile, SUBTILE_POINTS):
            census.add(records)
        parts = census.tiles(octree.TILE_POINTS)
        for records in self._tiles.pieces(tile, SUBTILE_POINTS):
            for key, share in parts.split(records):
                self._tiles.add(key, share)
        self._tiles.drop(tile)
        for key in sorted(parts.keys):
            self._tile(key, file)
