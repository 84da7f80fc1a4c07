"""The worker process of one IFC file, seen from outside: start it, ask it, notice when it is gone."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

KERNELS = ("manifold", "opencascade")
"""In the order in which they are tried."""

N_PROBES = 5


@dataclass(frozen=True)
class Limits:
    """Seconds that one element may take in each kernel, and that parsing may take for each megabyte of the file."""

    element_s: tuple[float, ...] = (60.0, 180.0)
    parse_s: float = 120.0
    parse_s_per_mb: float = 5.0

    def to_parse_s(self, path: Path) -> float:
        """Seconds that parsing this file may take."""
        return self.parse_s + self.parse_s_per_mb * path.stat().st_size / 1e6


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
