"""Meshes of IFC products, made in worker processes so that a kernel can crash without harm.

A chunk of products is first made the quick way, all in one go and each by the kernel that `ingest.ifc.kernels` chooses.
When the process dies or stays silent meanwhile, a new one goes on with what is left one by one: every element is
announced before it is meshed, kernel after kernel, so the announced element is the culprit and the only one that is
lost. At 39,500 km from the origin both kernels keep a 0.3 m box to 1e-6 of its volume (they work in float64), so
shapes are not shifted before meshing.
"""

import time
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.ifc.process import KERNELS, Limits, Worker, WorkerLost
from layers.errors import InvalidInput

CHUNK = 256
MIN_CHUNK = 32
"""Products in a chunk: at most so many, and no fewer where a model is divided among the workers."""
_MAX_STARTS = 3
MAX_CRASHES = 5
"""After so many crashes of the first kernel in one file, the rest of the file goes straight to the second."""

LARGE = 1_000_000
"""Bytes of a file above which one process keeps the parsed model and only its copies make shapes."""


@dataclass(frozen=True)
class Geometry:
    """A shape in the frame of its product: metres, float64; `material_ids` is -1 where there is no style."""

    key: str
    vertices: NDArray[np.float64]
    triangles: NDArray[np.int64]
    material_ids: NDArray[np.int64]
    colours: NDArray[np.float64]


@dataclass(frozen=True)
class Shape:
    """One meshed product: a geometry, which others may share, and its 4 x 4 placement in metres."""

    id: int
    kernel: str
    geometry: Geometry
    matrix: NDArray[np.float64]

    @cached_property
    def vertices(self) -> NDArray[np.float64]:
        """(n, 3) metres in the model's own frame."""
        return self.geometry.vertices @ self.matrix[:3, :3].T + self.matrix[:3, 3]

    @property
    def triangles(self) -> NDArray[np.int64]:
        """(m, 3) indices of vertices."""
        return self.geometry.triangles


@dataclass(frozen=True)
class Miss:
    """A product that no kernel could mesh, with what each kernel said."""

    id: int
    reasons: tuple[str, ...]


@dataclass
class Tally:
    """What happened while meshing, for the report."""

    crashes: Counter[str] = field(default_factory=Counter)
    timeouts: Counter[str] = field(default_factory=Counter)


@dataclass
class Chunk:
    """Consecutive products: their attribute rows, and the shapes or misses of those that were to be meshed."""

    number: int
    ids: list[int]
    to_mesh: list[int]
    rows: list[dict[str, Any]] = field(default_factory=list)
    shapes: dict[int, Shape] = field(default_factory=dict)
    reasons: dict[int, list[str]] = field(default_factory=dict)
    geometries: dict[str, Geometry] = field(default_factory=dict)
    quick: bool = True
    kernel: int = 0

    def pending(self) -> list[int]:
        """What the current kernel has not tried yet."""
        return [i for i in self.to_mesh if i not in self.shapes and len(self.reasons.get(i, ())) <= self.kernel]

    def misses(self) -> list[Miss]:
        """Products that every kernel failed on."""
        return [Miss(i, tuple(self.reasons[i])) for i in self.to_mesh if i not in self.shapes]


class _Seat:
    """One worker and the chunk it is busy with."""

    def __init__(self) -> None:
        self.worker: Worker | None = None
        self.chunk: Chunk | None = None
        self.current: int | None = None
        self.deadline = 0.0

    def dismiss(self) -> None:
        if self.worker is not None:
            self.worker.close()
            self.worker = None


class Pool:
    """Streams chunks of products in order; at most `2 * n_workers` chunks are in memory.

    Parameters
    ----------
    path : the IFC file, already known to parse
    n_workers : processes
    tally : counts what happened
    reader : a worker that has parsed the file and is idle; the pool ends it. Without one the pool starts its own
    """

    def __init__(
        self, path: Path, n_workers: int, tally: Tally, limits: Limits | None = None, reader: Worker | None = None
    ) -> None:
        self.path, self.n_workers, self.tally = path, max(1, n_workers), tally
        self.limits = limits or Limits()
        self._reader = reader
        self._keeps = self.n_workers > 1 or path.stat().st_size > LARGE
        self._parse_s = self.limits.to_parse_s(path)

    def run(self, chunks: Iterator[Chunk]) -> Generator[Chunk]:
        """Fill every chunk and yield them in the order in which they came."""
        seats = [_Seat() for _ in range(self.n_workers)]
        done: dict[int, Chunk] = {}
        next_out = 0
        exhausted = False
        try:
            while True:
                for seat in seats:
                    n_waiting = len(done) + sum(each.chunk is not None for each in seats)
                    if seat.chunk is None and not exhausted and n_waiting < 2 * self.n_workers:
                        seat.chunk = next(chunks, None)
                        exhausted = seat.chunk is None
                        self._begin(seat)
                for seat in self._listen(seats):
                    if seat.chunk is not None:
                        done[seat.chunk.number] = seat.chunk
                        seat.chunk = None
                while next_out in done:
                    yield done.pop(next_out)
                    next_out += 1
                if exhausted and not done and all(seat.chunk is None for seat in seats):
                    return
        finally:
            for seat in seats:
                seat.dismiss()
            if self._reader is not None:
                self._reader.close()
                self._reader = None

    def _worker(self) -> Worker:
        """A small file is meshed by the process that has parsed it, a large one by copies of that process."""
        if self._reader is None and self._keeps:
            self._reader = Worker(self.path)
        if self._keeps:
            try:
                return Worker(self.path, self._reader)
            except WorkerLost:
                self._reader = None
                return Worker(self.path)
        reader, self._reader = self._reader, None
        return reader or Worker(self.path)

    def _begin(self, seat: _Seat) -> None:
        """Send the seat's next request; a worker that is already gone has done nothing yet, so another is asked."""
        reason = ""
        for _ in range(_MAX_STARTS):
            try:
                self._request(seat)
            except WorkerLost as lost:
                reason = lost.reason
                seat.dismiss()
            else:
                return
        raise InvalidInput(f"{self.path.name} cannot be read further: {reason}.", "Try again with more memory left.")

    def _request(self, seat: _Seat) -> None:
        """First the rows of the seat's chunk, then its shapes, kernel by kernel."""
        chunk = seat.chunk
        if chunk is None:
            return
        if seat.worker is None:
            seat.worker = self._worker()
        seat.current = None
        seat.deadline = time.monotonic() + self._parse_s
        if chunk.quick:
            seat.worker.send(("group", chunk.ids, chunk.to_mesh))
            return
        if not chunk.rows:
            seat.worker.send(("rows", chunk.ids))
            return
        self._skip_kernel(chunk)
        seat.worker.send(("shapes", chunk.pending(), KERNELS[chunk.kernel]))

    def _skip_kernel(self, chunk: Chunk) -> None:
        if chunk.kernel == 0 and self.tally.crashes[KERNELS[0]] + self.tally.timeouts[KERNELS[0]] >= MAX_CRASHES:
            for each in chunk.pending():
                chunk.reasons.setdefault(each, []).append(f"set aside after {MAX_CRASHES} failures")
            chunk.kernel = 1

    def _listen(self, seats: list[_Seat]) -> list[_Seat]:
        """Take what the workers say; return the seats whose chunk is complete."""
        busy = {seat.worker.connection: seat for seat in seats if seat.chunk and seat.worker}
        if not busy:
            return []
        nearest = min(seat.deadline for seat in busy.values())
        ready = wait(list(busy), max(0.0, nearest - time.monotonic()))
        finished = []
        for connection in ready:
            seat = busy[connection]  # type: ignore[index]
            try:
                answer = seat.worker.receive(0) if seat.worker else ("lost",)
                if self._take(seat, answer):
                    finished.append(seat)
            except WorkerLost as lost:
                finished += self._bury(seat, lost.reason, self.tally.crashes)
        for seat in busy.values():
            if seat.chunk is not None and seat not in finished and time.monotonic() > seat.deadline:
                finished += self._bury(seat, "took too long", self.tally.timeouts)
        return finished

    def _take(self, seat: _Seat, answer: tuple[Any, ...]) -> bool:
        chunk = seat.chunk
        assert chunk is not None  # only busy seats are listened to
        if answer[0] == "rows":
            chunk.rows = answer[1]
            seat.deadline = time.monotonic() + self.limits.group_s
            return False if chunk.quick else self._go_on(seat)
        if answer[0] == "start":
            seat.current = answer[1]
            seat.deadline = time.monotonic() + self.limits.element_s[chunk.kernel]
        elif answer[0] == "made":
            seat.current = None
            seat.deadline = time.monotonic() + (self.limits.group_s if chunk.quick else self._parse_s)
            for key, arrays in answer[1].items():
                chunk.geometries.setdefault(key, Geometry(key, **arrays))
            for each, key, matrix, by in answer[2]:
                chunk.shapes[each] = Shape(each, by, chunk.geometries[key], matrix)
        elif answer[0] == "miss":
            seat.current = None
            chunk.reasons.setdefault(answer[1], []).append(answer[2])
        elif answer[0] == "done":
            chunk.quick = False
            return self._go_on(seat)
        else:
            raise InvalidInput(f"{self.path.name} can no longer be parsed: {answer[2]}", "Is it being written?")
        return False

    def _go_on(self, seat: _Seat) -> bool:
        """Start what the chunk still needs; True when that is nothing."""
        chunk = seat.chunk
        assert chunk is not None  # see _take
        while chunk.rows and not chunk.pending():
            if chunk.kernel + 1 >= len(KERNELS):
                return True
            chunk.kernel += 1
        self._begin(seat)
        return False

    def _bury(self, seat: _Seat, reason: str, counter: Counter[str]) -> list[_Seat]:
        """The worker is gone: blame the announced element, go on with the rest in a new process."""
        chunk = seat.chunk
        assert chunk is not None  # see _take
        seat.dismiss()
        if chunk.quick and seat.current is None:
            chunk.quick = False  # somebody in the group did it: one by one it will be found out who
            return [seat] if self._go_on(seat) else []
        if seat.current is None:
            raise InvalidInput(
                f"{self.path.name} could not be read a second time: {reason}.", "Check the file and the memory left."
            )
        counter[KERNELS[chunk.kernel]] += 1
        chunk.reasons.setdefault(seat.current, []).append(reason)
        return [seat] if self._go_on(seat) else []
