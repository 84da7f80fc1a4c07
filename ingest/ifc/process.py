"""The worker process of one IFC file, seen from outside: start it, ask it, notice when it is gone.

Workers are forks of a process that has the native libraries loaded (`ingest.ifc.zygote`), and further workers of the
same file are forks of the first, which has it parsed: nothing is loaded or parsed twice.
"""

import atexit
import os
import signal
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle
from pathlib import Path
from typing import Any, Self

from ingest.ifc import zygote as ifc_zygote

KERNELS = ("manifold", "opencascade")
"""In the order in which they are tried."""


@dataclass(frozen=True)
class Limits:
    """Seconds that one element may take in each kernel, that a group may be silent, and that parsing may take."""

    element_s: tuple[float, ...] = (60.0, 180.0)
    group_s: float = 20.0
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


class _Zygote:
    """The one waiting process of this program, started when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: Any = None
        self._connection: Connection | None = None
        self._owner = 0

    def open(self, path: Path, descriptor: int) -> int:
        """A worker for a file on a descriptor; returns its process id. Raises WorkerLost."""
        with self._lock:
            for _ in range(2):  # the waiting process may have gone to sleep for good between two files
                if self._connection is None or self._owner != os.getpid() or self._process.poll() is not None:
                    self._start()
                try:
                    return _ask_fork(self._connection, self._process.pid, ("open", str(path)), descriptor)
                except (OSError, EOFError):
                    self._connection = None
        raise WorkerLost("no worker process could be started")

    def fate(self, child: int, wait: bool) -> int | None:
        """How a worker ended; None when that cannot be told."""
        with self._lock:
            if self._connection is None or self._owner != os.getpid():
                return None
            try:
                self._connection.send(("fate", child, wait))
                answer: int | None = self._connection.recv()
            except (OSError, EOFError):
                return -signal.SIGKILL  # the waiting process is gone, and its children go with it
            return answer

    def end(self) -> None:
        """Let the waiting process end."""
        if self._connection is not None and self._owner == os.getpid():
            self._connection.close()
            self._process.wait()
            self._connection = None

    def _start(self) -> None:
        if self._connection is not None and self._owner == os.getpid():
            self._connection.close()
        root = str(Path(__file__).resolve().parents[2])
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, *filter(None, [os.getenv("PYTHONPATH")])])}
        # a library with threads of its own cannot be forked safely
        environment |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self._process, self._connection = ifc_zygote.start(environment)
        self._owner = os.getpid()


_ZYGOTE = _Zygote()
atexit.register(_ZYGOTE.end)


def _ask_fork(connection: Any, to: int, request: tuple[Any, ...], descriptor: int) -> int:
    connection.send(request)
    send_handle(connection, descriptor, to)
    child: int = connection.recv()
    return child


class Worker:
    """One process with one parsed file. Use as a context manager; the process never outlives it.

    Parameters
    ----------
    path : the IFC file
    parent : a worker of the same file that is not busy: the new one is its copy and need not parse
    """

    def __init__(self, path: Path, parent: "Worker | None" = None) -> None:
        ours, theirs = socket.socketpair()
        self._parent = parent
        self.connection = Connection(ours.detach())
        with theirs:
            try:
                if parent is None:
                    self.pid = _ZYGOTE.open(path, theirs.fileno())
                else:
                    self.pid = _ask_fork(parent.connection, parent.pid, ("fork",), theirs.fileno())
            except (OSError, EOFError, WorkerLost) as error:
                self.connection.close()
                raise WorkerLost(f"no worker process could be started ({error})") from error
        self.closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "closed", True):
            self.close()

    def close(self) -> None:
        """End the process, whatever it is doing."""
        if self.closed:
            return
        self.closed = True
        self.connection.close()
        if self._fate(wait=False) is None:
            try:
                os.kill(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                return
            self._fate(wait=True)

    def _fate(self, wait: bool) -> int | None:
        if self._parent is None:
            return _ZYGOTE.fate(self.pid, wait)
        if self._parent.closed:
            return 0  # it ended with its parent
        try:
            self._parent.connection.send(("fate", self.pid, wait))
            answer: int | None = self._parent.connection.recv()
        except (OSError, EOFError):
            return 0
        return answer

    def _wait(self, seconds: float) -> int | None:
        until = time.monotonic() + seconds
        pause = 0.0005
        while (code := self._fate(wait=False)) is None and time.monotonic() < until:
            time.sleep(pause)
            pause = min(2 * pause, 0.05)
        return code

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
        code = self._wait(5.0)
        self.closed = self.closed or code is not None
        if self.closed:
            self.connection.close()
        if code is None:
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
