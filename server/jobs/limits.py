"""What jobs may take, and how much is kept of them. All of it stands in `Settings.jobs`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Of jobs and of executions that are waited for.

    Attributes
    ----------
    workers : jobs that run at a time, over all servers of the twin; 0 runs none here
    seconds : a job may take
    memory_bytes : a worker process may have; 0 for no limit
    result_bytes : one job may leave behind
    keep_s, keep_bytes, keep_jobs : how long and how much is kept of jobs that are over
    queue : jobs that may wait; one more gets 503
    sync_s : an execution that is waited for may take; longer ones are to be asked for with `Prefer: respond-async`
    quick_at_a_time, quick_queue : quick processes that run in threads of one server, and that may wait for one
    href_bytes : of all inputs by reference of one execution, which wait with the job
    """

    workers: int = 2
    seconds: float = 3600.0
    memory_bytes: int = 4_000_000_000
    result_bytes: int = 500_000_000
    keep_s: float = 7 * 86_400.0
    keep_bytes: int = 2_000_000_000
    keep_jobs: int = 10_000
    queue: int = 100
    sync_s: float = 60.0
    quick_at_a_time: int = 4
    quick_queue: int = 64
    href_bytes: int = 20_000_000
