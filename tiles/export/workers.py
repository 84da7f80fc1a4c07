"""Processes that make files: each has one opened city and one opened target, gets tasks by a pipe and writes itself.

Started afresh (spawn), so that no lock, thread or connection of the parent is in them; a worker ends as soon as the
parent is gone, and before each file it looks whether it still is.
"""

import contextlib
import multiprocessing
import os
import signal
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Protocol

from layers.errors import CityTwinError
from tiles.export.address import checked
from tiles.export.book import NO_FILE, Entry
from tiles.export.stage import Failure, Made, Maker, MakerFactory, Task
from tiles.export.target import Place, Target, TargetError


@dataclass
class Done:
    """What became of a task.

    Attributes
    ----------
    entries : files that are there now, and places without one, by address
    failures : files that could not be made
    n_written, n_bytes : files that were written, and their bytes there
    broken : why the target takes no more
    """

    entries: dict[str, Entry] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    n_written: int = 0
    n_bytes: int = 0
    broken: TargetError | None = None


def write(made: Made, target: Target, known: Entry | None, done: Done) -> None:
    """Write a file unless the same bytes are there, and note it."""
    address = checked(made.address)
    if made.has_none:
        done.entries[address] = Entry(made.tag, NO_FILE)
        return
    if made.source is not None:
        size = target.put_file(address, made.source, made.media_type)
        done.entries[address] = Entry(made.tag, size)
    elif made.data is not None:
        digest = sha256(made.data).hexdigest()[:24]
        if known is not None and known.is_file and known.digest == digest:
            done.entries[address] = Entry(made.tag, known.size, digest)
            return
        size = target.put(address, made.data, made.media_type, immutable=made.immutable)
        done.entries[address] = Entry(made.tag, size, digest)
    else:
        if known is not None:
            done.entries[address] = known
        return
    done.n_written += 1
    done.n_bytes += size


class Bench:
    """Makers and a target, in whichever process: makes the files of a task and writes them."""

    def __init__(self, target: Target, factories: Mapping[str, MakerFactory]) -> None:
        self.target, self._factories = target, factories
        self._makers: dict[str, Maker] = {}
        self.parent: int | None = None

    def do(self, task: Task, known: Mapping[str, Entry]) -> Done:
        """All files of a task are there when this returns."""
        done = Done()
        try:
            for each in self._made(task):
                if self.parent is not None and os.getppid() != self.parent:
                    os._exit(1)  # another export may be at work in our place
                if isinstance(each, Failure):
                    done.failures.append(each)
                else:
                    self._write(each, known, done)
            self.target.flush()
        except TargetError as error:
            done.broken = error
        return done

    def _write(self, made: Made, known: Mapping[str, Entry], done: Done) -> None:
        try:
            write(made, self.target, known.get(made.address), done)
        except TargetError:
            raise
        except CityTwinError as error:
            done.failures.append(Failure(made.address, str(error)))

    def _made(self, task: Task) -> Iterator[Made | Failure]:
        """What the maker gives; where it breaks down, failures for whatever it has not given."""
        left = dict.fromkeys(item.address for item in task.items)
        try:
            if task.maker not in self._makers:
                self._makers[task.maker] = self._factories[task.maker]()
            for each in self._makers[task.maker].make(task):
                left.pop(each.address, None)
                yield each
        except TargetError:
            raise
        except Exception as error:  # noqa: BLE001 one bad tile must not cost the others
            trace = "" if isinstance(error, CityTwinError) else traceback.format_exc()
            reason = str(error) if isinstance(error, CityTwinError) else f"{type(error).__name__}: {error}"
            for address in left:
                yield Failure(address, reason, trace)


class Workers(Protocol):
    """Who does the tasks."""

    def run(self, jobs: Iterator[tuple[Task, dict[str, Entry]]]) -> Iterator[tuple[Task, Done]]:
        """Each task as it is done."""
        ...

    def close(self) -> None:
        """Stop at once."""
        ...


class Inline:
    """No processes: for a target that only this process sees, and for finding faults."""

    def __init__(self, target: Target, factories: Mapping[str, MakerFactory]) -> None:
        self._bench = Bench(target, factories)

    def run(self, jobs: Iterator[tuple[Task, dict[str, Entry]]]) -> Iterator[tuple[Task, Done]]:
        """Each task as it is done."""
        for task, known in jobs:
            yield task, self._bench.do(task, known)

    def close(self) -> None:
        """Nothing to stop."""


class Processes:
    """`n` worker processes; they start up while the work is planned."""

    def __init__(self, place: Place, factories: Mapping[str, MakerFactory], n: int) -> None:
        self._setup, self._n = (place, dict(factories)), n
        self._all: dict[Connection, SpawnProcess] = {}
        for _ in range(n):
            self._started()

    def run(self, jobs: Iterator[tuple[Task, dict[str, Entry]]]) -> Iterator[tuple[Task, Done]]:
        """Each task as it is done. A worker that dies fails its task and is replaced."""
        busy: dict[Connection, Task] = {}
        idle = list(self._all)
        job = next(jobs, None)
        while job is not None or busy:
            while job is not None and (idle or len(self._all) < self._n):
                pipe = idle.pop() if idle else self._started()
                with contextlib.suppress(OSError):  # it has died: seen below
                    pipe.send(job)
                busy[pipe] = job[0]
                job = next(jobs, None)
            for ready in wait(list(busy)):
                assert isinstance(ready, Connection)
                task = busy.pop(ready)
                try:
                    done = ready.recv()
                    idle.append(ready)
                except (EOFError, OSError):
                    done = self._lost(ready, task)
                yield task, done

    def _started(self) -> Connection:
        spawn = multiprocessing.get_context("spawn")
        ours, theirs = spawn.Pipe()
        process = spawn.Process(target=_work, args=(theirs, os.getpid(), *self._setup), daemon=True)
        process.start()
        theirs.close()  # else nobody would see it die
        self._all[ours] = process
        return ours

    def _lost(self, pipe: Connection, task: Task) -> Done:
        process = self._all.pop(pipe)
        pipe.close()
        process.join(10)
        reason = (
            f"The process that made it died (exit code {process.exitcode}); give it more memory or fewer --workers."
        )
        return Done(failures=[Failure(item.address, reason) for item in task.items])

    def close(self) -> None:
        """Stop all of them at once."""
        for pipe, process in self._all.items():
            pipe.close()
            process.terminate()
        for process in self._all.values():
            process.join(10)
        self._all.clear()


def _work(pipe: Connection, parent: int, place: Place, factories: Mapping[str, MakerFactory]) -> None:
    """A worker's life."""
    from tiles import cache

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is told, and closes the pipe
    cache.keep_nothing()
    target = place.open()
    bench = Bench(target, factories)
    bench.parent = parent
    while True:
        try:
            task, known = pipe.recv()
        except (EOFError, OSError):
            break
        done = bench.do(task, known)
        try:
            pipe.send(done)
        except OSError:
            break
