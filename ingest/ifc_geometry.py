"""Meshes of IFC products, made in worker processes so that a kernel can crash without harm.

Measured before deciding: the kernel `manifold` is 3-20 times faster than `opencascade`, but on real files it killed
its process, and it lost elements in silence (697 of 699 shapes; 0 of 8 in a girder bridge). So every element is
announced before it is meshed; when the process dies or takes too long, the announced element is the culprit, a new
process goes on with the rest, and every element that the first kernel missed is tried again with the second.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from layers.errors import InvalidInput

KERNELS = ("manifold", "opencascade")
CHUNK = 64
N_PROBES = 5
MAX_CRASHES = 5
"""After so many crashes of the first kernel in one file, the rest of the file goes straight to the second."""


@dataclass(frozen=True)
class Limits:
    """Seconds that one element may take in each kernel, and that parsing may take for each megabyte of the file."""

    element_s: tuple[float, ...] = (60.0, 180.0)
    parse_s: float = 120.0
    parse_s_per_mb: float = 5.0

    def to_parse_s(self, path: Path) -> float:
        """Seconds that parsing this file may take."""
        return self.parse_s + self.parse_s_per_mb * path.stat().st_size / 1e6


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

    made: Counter[str] = field(default_factory=Counter)
    crashes: Counter[str] = field(default_factory=Counter)
    timeouts: Counter[str] = field(default_factory=Counter)


class WorkerLost(Exception):
    """The worker process ended or went silent; `reason` says how."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Worker:
    """One process with one parsed file. Use as a context manager; the process never outlives it."""

    def __init__(self, path: Path) -> None:
        ours, theirs = socket.socketpair()
        root = str(Path(__file__).resolve().parent.parent)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, *filter(None, [os.getenv("PYTHONPATH")])])}
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ingest.ifc_worker", str(path), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=environment,
            )
        self.connection = Connection(ours.detach())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self.connection.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def send(self, request: tuple[Any, ...]) -> None:
        """Ask; raises WorkerLost when nobody is there."""
        try:
            self.connection.send(request)
        except OSError:
            raise WorkerLost(self.obituary()) from None

    def receive(self, timeout_s: float) -> tuple[Any, ...]:
        """Next answer; raises WorkerLost when the process died or stays silent for longer."""
        if not self.connection.poll(timeout_s):
            raise WorkerLost(f"no answer within {timeout_s:.0f} s")
        try:
            answer: tuple[Any, ...] = self.connection.recv()
        except (EOFError, OSError):
            raise WorkerLost(self.obituary()) from None
        return answer

    def obituary(self) -> str:
        """How the process ended, in words."""
        try:
            code = self.process.wait(5)
        except subprocess.TimeoutExpired:
            return "the worker process closed its connection"
        if code < 0:
            return f"the worker process was ended by {signal.Signals(-code).name}"
        return f"the worker process ended with code {code}"


def ask(path: Path, requests: Sequence[tuple[Any, ...]], limits: Limits | None = None) -> list[tuple[Any, ...]]:
    """Answers to simple requests (`survey`, `rows`, `missing`) from one fresh worker; raises WorkerLost."""
    limits = limits or Limits()
    answers = []
    with Worker(path) as worker:
        for request in requests:
            worker.send(request)
            answers.append(worker.receive(limits.to_parse_s(path)))
            if answers[-1][0] == "failed":
                break
    return answers


def survey(path: Path, limits: Limits | None = None) -> tuple[Any, ...]:
    """What the file says, with `probes`: the middles of up to 5 meshes, metres in the model's frame.

    Placements alone do not tell where a model lies: its coordinates may stand in the shapes, or along an alignment.
    """
    limits = limits or Limits()
    with Worker(path) as worker:
        worker.send(("survey",))
        answer = worker.receive(limits.to_parse_s(path))
        if answer[0] != "failed":
            answer[1]["probes"] = []
            bodies = [each[0] for each in answer[1]["elements"] if each[2]]
            try:
                for each in bodies[:: max(1, len(bodies) // N_PROBES)][:N_PROBES]:
                    answer[1]["probes"] += _probe(worker, each, limits)
            except WorkerLost:
                pass  # some probes, or none, are enough: the pool isolates and counts such elements later
    return answer


def _probe(worker: Worker, product: int, limits: Limits) -> list[list[float]]:
    for kernel, seconds in zip(KERNELS, limits.element_s, strict=True):
        worker.send(("shapes", [product], kernel))
        found = []
        while (answer := worker.receive(min(seconds, 20.0)))[0] != "done":
            if answer[0] == "shape" and answer[2] is not None:
                vertices = answer[2]["vertices"]
                found.append(((vertices.min(axis=0) + vertices.max(axis=0)) / 2).tolist())
        if found:
            return found
    return []


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
                self.tally.made[kernel] += 1
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
