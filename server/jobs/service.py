"""The jobs of one server process: the store, the slots, and what an execution is bounded by."""

from pathlib import Path

import anyio
from starlette.requests import Request

from server.jobs.job import Job
from server.jobs.limits import Limits
from server.jobs.schedule import Schedule
from server.jobs.slots import Slots
from server.jobs.store import JobStore


class Jobs:
    """Made with the application; reads and starts nothing before `start` or the first job."""

    def __init__(self, folder: Path, limits: Limits, scope: str) -> None:
        self.limits = limits
        self.store = JobStore(folder)
        self.slots = Slots(folder, self.store, limits)
        self.schedule = Schedule(folder, self.store, lambda process, asks: self.submit(process, asks, scope))
        self.n_quick = 0
        self._quick: anyio.CapacityLimiter | None = None

    def start(self) -> None:
        """Take up what is queued, and what is scheduled."""
        self.slots.start()
        self.schedule.start()

    def stop(self) -> None:
        """Give back what runs."""
        self.schedule.stop()
        self.slots.stop()

    @property
    def quick(self) -> anyio.CapacityLimiter:
        """Threads for quick processes; belongs to the event loop of the server."""
        if self._quick is None:
            self._quick = anyio.CapacityLimiter(self.limits.quick_at_a_time)
        return self._quick

    def submit(self, process: str, request: dict[str, object], scope: str) -> Job:
        """Queue a job and see to it that somebody runs it."""
        job = self.store.submit(process, request, scope, most_waiting=self.limits.queue)
        self.slots.start()
        self.slots.wake()
        return job


def jobs(request: Request) -> Jobs:
    """Those of the server that this request reached."""
    found = request.app.state.jobs
    assert isinstance(found, Jobs)
    return found
