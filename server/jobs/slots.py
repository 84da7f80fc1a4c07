"""Slots: threads of the server that claim jobs, each with a worker process to run them, and watch over it.

The process runs many jobs, so that most of them start at once; it is killed when a job is dismissed or takes too long,
and when one kills it, only that job fails.
"""

import contextlib
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import server
from server.jobs.job import Job
from server.jobs.limits import Limits
from server.jobs.store import LEASE_S, JobStore

DONE = b"done\n"
"""What a worker process says on its stdout after a job; once it can take one it says `ready`."""
LOG = logging.getLogger("citytwin.jobs")
LOOK_EVERY_S = 0.5
"""How often a slot without a job looks for one that came in by another server."""
WATCH_EVERY_S = 0.1
IDLE_S = 120.0
"""A worker process without a job ends after so long."""
TIDY_EVERY_S = 60.0
JOBS_A_RUNNER = 500
ROOT = Path(server.__file__).resolve().parents[1]


class Runner:
    """A worker process and the pipes to it."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        arguments = [str(folder), str(limits.memory_bytes), str(limits.result_bytes)]
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "server.jobs.runner", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip
        self.n_jobs = 0
        self.is_killed = False
        self.idle_since = time.monotonic()

    @property
    def is_usable(self) -> bool:
        """Whether it may be given another job."""
        return not self.is_killed and self.n_jobs < JOBS_A_RUNNER and self.process.poll() is None

    def order(self, job: Job) -> None:
        """Give it a job; OSError if it is dead."""
        if self.process.stdin is not None:
            self.process.stdin.write(f"{job.id} {job.claim}\n".encode())
            self.process.stdin.flush()
        self.n_jobs += 1

    def answered(self, wait_s: float) -> str | None:
        """`done` with the job, `ready` for the first one, `ended`, or None if nothing was heard within the time."""
        stdout = self.process.stdout
        if stdout is None or not select.select([stdout], [], [], wait_s)[0]:
            return None
        heard = os.read(stdout.fileno(), 64)
        return "done" if DONE in heard else "ready" if heard else "ended"

    def end(self) -> int:
        """Kill it; the exit code. What it had under way is lost, what is in the store stays whole."""
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        return self.process.wait()


class Slots:
    """The slots of one server process."""

    def __init__(self, folder: Path, store: JobStore, limits: Limits) -> None:
        self.folder, self.store, self.limits = folder, store, limits
        self._threads: list[threading.Thread] = []
        self._news = threading.Condition()
        self._n_news = 0
        self._is_ending = False
        self._lock = threading.Lock()
        self._runners: dict[str, Runner] = {}

    def start(self) -> None:
        """Begin to take jobs; does nothing when that has begun already."""
        with self._lock:
            if not self._threads and not self._is_ending:
                self._threads = [
                    threading.Thread(target=self._work, args=(number,), name=f"job slot {number}", daemon=True)
                    for number in range(self.limits.workers)
                ]
                for thread in self._threads:
                    thread.start()

    def wake(self) -> None:
        """A job has come in."""
        with self._news:
            self._n_news += 1
            self._news.notify_all()

    def kill(self, job_id: str) -> None:
        """End the worker process of a dismissed job at once, if it is one of this server; else its server sees it."""
        with self._lock:
            runner = self._runners.get(job_id)
            if runner is not None:
                runner.is_killed = True  # told at once: the system says so only when the process is gone
                runner.process.kill()

    def stop(self) -> None:
        """Give running jobs back to the queue and end the worker processes."""
        with self._lock:
            self._is_ending = True
        self.wake()
        for thread in self._threads:
            thread.join(10.0)
        self.store.close()

    def _work(self, number: int) -> None:
        runner: Runner | None = None
        tidied = time.monotonic()
        while not self._is_ending:
            seen = self._n_news
            try:
                job = self.store.claim(self.limits.workers) if self.store.exists else None
                if job is not None:
                    runner = self._run(job, runner)
                    continue
                if number == 0 and self.store.exists and time.monotonic() - tidied > TIDY_EVERY_S:
                    tidied = time.monotonic()
                    self.store.tidy(self.limits.keep_s, self.limits.keep_bytes, self.limits.keep_jobs)
            except Exception:
                LOG.exception("A job slot failed; it goes on.")
                time.sleep(LOOK_EVERY_S)
            if runner is not None and time.monotonic() - runner.idle_since > IDLE_S:
                runner.end()
                runner = None
            with self._news:
                if self._n_news == seen and not self._is_ending:
                    self._news.wait(LOOK_EVERY_S)
        if runner is not None:
            runner.end()

    def _run(self, job: Job, runner: Runner | None) -> Runner | None:
        """Run a claimed job; the worker process if it lives on."""
        claim = job.claim or ""
        if runner is not None and not runner.is_usable:
            runner.end()
            runner = None
        try:
            runner = runner or Runner(self.folder, self.limits)
            with self._lock:
                self._runners[job.id] = runner
            runner.order(job)
        except OSError as error:
            LOG.error("No worker process for job %s: %s", job.id, error)  # noqa: TRY400 the system's own words suffice
            self.store.fail(job.id, claim, 500, f"No worker process could be started: {error}.", "NO_WORKER")
            self._forget(job)
            if runner is not None:
                runner.end()
            return None
        try:
            return runner if self._watch(job, claim, runner) else None
        finally:
            self._forget(job)

    def _forget(self, job: Job) -> None:
        """From now on the process may have another job: it is no longer killed for this one."""
        with self._lock:
            self._runners.pop(job.id, None)

    def _watch(self, job: Job, claim: str, runner: Runner) -> bool:
        """Until the job is over; whether the worker process lives on."""
        started = renewed = time.monotonic()
        while True:
            answer = runner.answered(WATCH_EVERY_S)
            now = time.monotonic()
            if answer == "ready":
                started = now  # its start is not the job's time
            if answer == "done":
                runner.idle_since = now
                if self.store.holds(job.id, claim):
                    self.store.fail(job.id, claim, 500, "The worker process left the job unfinished.", "WORKER_ENDED")
                return True
            if answer == "ended":
                code = runner.end()
                self.store.fail(job.id, claim, 500, f"The worker process ended {_how(code)}.", "WORKER_ENDED")
                return False
            if self._is_ending:
                runner.end()
                self.store.give_back(job.id, claim)
                return False
            if now - started > self.limits.seconds:
                runner.end()
                words = f"It took longer than the {self.limits.seconds:g} s that a job may take."
                self.store.fail(job.id, claim, 500, words, "OUT_OF_TIME")
                return False
            if now - renewed > LEASE_S / 4:
                renewed = now
                self.store.renew(job.id, claim)
            if not self.store.holds(job.id, claim):  # dismissed, or taken by another server
                if runner.answered(2 * WATCH_EVERY_S) == "done":
                    return True  # in this moment, or it heard of it when it told its progress
                runner.end()  # also when it is dying already: the next job's order would find a broken pipe
                return False


def _how(code: int) -> str:
    if code >= 0:
        return f"with exit code {code}"
    with contextlib.suppress(ValueError):
        return f"by {signal.Signals(-code).name}"
    return f"by signal {-code}"
