"""Meshes of IFC products, made in worker processes so that a kernel can crash without harm.

Measured before deciding: the kernel `manifold` is 3-20 times faster than `opencascade`, but on real files it killed
its process, lost elements in silence (697 of 699 shapes; 0 of 8 in a girder bridge), lost parts of elements with no
more than a line in its log, and left walls uncut that a roof clips (9.9 m3 instead of 2.1 m3). So what is made of
boolean results goes to the second kernel at once, every element is announced before it is meshed, and when the
process dies or takes too long, the announced element is the culprit, a new process goes on with the rest, and whatever
the first kernel missed or complained about is made with the second. At 39,500 km from the origin both kernels keep a
0.3 m box to 1e-6 of its volume (they work in float64), so shapes are not shifted before meshing.
"""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.ifc_process import KERNELS, Limits, Worker, WorkerLost
from layers.errors import InvalidInput

CHUNK = 64
MAX_CRASHES = 5
"""After so many crashes of the first kernel in one file, the rest of the file goes straight to the second."""


@dataclass(frozen=True)
class Shape:
    """One meshed product: metres in the model's own frame, float64; `material_ids` is -1 where there is no style."""

    id: int
    kernel: str
    vertices: NDArray[np.float64]
    triangles: NDArray[np.int64]
    material_ids: NDArray[np.int64]
    colours: NDArray[np.float64]


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
    n_workers : processes; each parses the file once
    tally : counts what happened
    """

    def __init__(self, path: Path, n_workers: int, tally: Tally, limits: Limits | None = None) -> None:
        self.path, self.n_workers, self.tally = path, max(1, n_workers), tally
        self.limits = limits or Limits()
        self._parse_s = self.limits.to_parse_s(path)

    def run(self, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
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

    def _begin(self, seat: _Seat) -> None:
        """Send the next request of the seat's chunk: first its rows, then its shapes, kernel by kernel."""
        chunk = seat.chunk
        if chunk is None:
            return
        if seat.worker is None:
            seat.worker = Worker(self.path)
        seat.current = None
        seat.deadline = time.monotonic() + self._parse_s
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
        kernel = KERNELS[chunk.kernel]
        if answer[0] == "rows":
            chunk.rows = answer[1]
            return self._go_on(seat)
        if answer[0] == "start":
            seat.current = answer[1]
            seat.deadline = time.monotonic() + self.limits.element_s[chunk.kernel]
        elif answer[0] == "shape":
            _, each, shape, reason = answer
            seat.current = None
            if shape is None:
                chunk.reasons.setdefault(each, []).append(reason)
            else:
                chunk.shapes[each] = Shape(each, kernel, **shape)
        elif answer[0] == "done":
            return self._go_on(seat)
        else:
            raise InvalidInput(f"{self.path.name} can no longer be parsed: {answer[2]}", "Is it being written?")
        return False

    def _go_on(self, seat: _Seat) -> bool:
        """Start what the chunk still needs; True when that is nothing."""
        chunk = seat.chunk
        assert chunk is not None  # see _take
        while not chunk.pending():
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
        if seat.current is None:
            raise InvalidInput(
                f"{self.path.name} could not be read a second time: {reason}.", "Check the file and the memory left."
            )
        counter[KERNELS[chunk.kernel]] += 1
        chunk.reasons.setdefault(seat.current, []).append(reason)
        return [seat] if self._go_on(seat) else []
