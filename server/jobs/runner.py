"""A worker process: runs one job after the other until its server closes the pipe.

Started by `slots` as `python -m server.jobs.runner FOLDER MEMORY_BYTES MOST_BYTES`. Lines on stdin are `JOB CLAIM`;
`ready` and, after each job, `done` go to what was stdout. It writes progress and results itself.
"""

import os
import queue
import resource
import shutil
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import IO

import twin
from layers.errors import CityTwinError
from server.jobs.job import Job, scope_of
from server.jobs.store import JobStore
from server.jobs.values import encoded, kept
from server.problems import status_of
from twin import analysis
from twin.analysis.progress import Dismissed, Progress
from twin.city import City

TELL_EVERY_S = 0.2
NICE = 5
"""The server's own threads come first."""


class Teller:
    """Writes progress to the store, at most five times a second; raises Dismissed once the claim is lost."""

    def __init__(self, store: JobStore, job: Job, claim: str) -> None:
        self._store, self._job, self._claim = store, job, claim
        self._next = 0.0
        self._percent = 0

    def __call__(self, percent: float, message: str) -> None:
        """Percent never goes back."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + TELL_EVERY_S
        self._percent = max(self._percent, min(int(percent), 99))
        if not self._store.tell(self._job.id, self._claim, self._percent, message[:200] or "running"):
            raise Dismissed


def run_one(store: JobStore, city: City, job_id: str, claim: str, most_bytes: int) -> None:
    """Run a claimed job to its end, whatever that is; nothing happens if the claim is lost."""
    job = store.claimed(job_id, claim)
    if job is None:
        return
    made = store.results(f"{job_id}.{claim}")
    made.mkdir(parents=True, exist_ok=True)
    try:
        process = analysis.process(job.process)
        progress = Progress(Teller(store, job, claim), made)
        result = process.run(city.with_scope(scope_of(job.scope)), job.request["inputs"], progress=progress)
        wanted = job.request.get("outputs")
        values = [each for each in encoded(process, result) if not wanted or each.name in wanted]
        store.succeed(job_id, claim, kept(values, made, most_bytes), made)
    except Dismissed:
        pass
    except CityTwinError as error:
        store.fail(job_id, claim, status_of(error), str(error), error.code)
    except MemoryError:
        words = "The analysis needs more memory than a job may have. Ask for a smaller area, or less at once."
        store.fail(job_id, claim, 500, words, "OUT_OF_MEMORY")
    except Exception:  # noqa: BLE001 a bug in an analysis ends that job; the trace goes to the log
        sys.stderr.write(f"job {job_id} ({job.process}):\n{traceback.format_exc()}")
        sys.stderr.flush()
        store.fail(job_id, claim, 500, "The analysis failed; the server's log says why.", "ANALYSIS_FAILED")
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _orders(pipe: IO[str], orders: "queue.SimpleQueue[str]") -> None:
    """Pass on what comes; end the process when the server is gone, in the middle of a job too."""
    for line in pipe:
        orders.put(line)
    os._exit(0)


def main(folder: str, memory_bytes: str, most_bytes: str) -> None:
    """Until the pipe closes."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever prints to stdout is no answer
    if int(memory_bytes):
        resource.setrlimit(resource.RLIMIT_DATA, (int(memory_bytes), int(memory_bytes)))
    os.nice(NICE)
    orders: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_orders, args=(sys.stdin, orders), daemon=True).start()
    store = JobStore(Path(folder))
    with twin.open(folder) as city:
        analysis.registry()
        answers.write("ready\n")
        answers.flush()
        while True:
            job_id, claim = orders.get().split()
            run_one(store, city, job_id, claim, int(most_bytes))
            answers.write("done\n")
            answers.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
