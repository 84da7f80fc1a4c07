"""A job: one execution of a process, as it stands in the store and as OGC API Processes tells it (statusInfo)."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from twin.scope import Scope

ACCEPTED, RUNNING, SUCCESSFUL, FAILED, DISMISSED = "accepted", "running", "successful", "failed", "dismissed"
STATUSES = (ACCEPTED, RUNNING, SUCCESSFUL, FAILED, DISMISSED)
COLUMNS = (
    "id", "seq", "process", "status", "message", "progress", "created", "started", "finished", "updated", "scope",
    "request", "claim", "attempts", "outputs", "bytes", "problem",
)  # fmt: skip


@dataclass(frozen=True)
class Output:
    """One output in the store: where its bytes are, below the job's folder.

    Attributes
    ----------
    name : of the output
    file : name of the file with the bytes of the value as they go out
    media_type : of these bytes
    n_bytes : their number
    """

    name: str
    file: str
    media_type: str
    n_bytes: int


@dataclass(frozen=True)
class Job:
    """A row of the store. Times are seconds since 1970, UTC.

    Attributes
    ----------
    seq : grows with every job; the queue's order
    request : inputs, outputs and response form, as asked
    claim : secret of the attempt that runs it; whoever has not this one may no longer write
    attempts : how often it was begun
    problem : why it failed: {"status", "detail", "code"}
    """

    id: str
    seq: int
    process: str
    status: str
    message: str
    progress: int
    created: float
    started: float | None
    finished: float | None
    updated: float
    scope: str
    request: dict[str, Any]
    claim: str | None
    attempts: int
    outputs: tuple[Output, ...]
    bytes: int
    problem: dict[str, Any] | None

    @property
    def is_over(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in {SUCCESSFUL, FAILED, DISMISSED}


def from_row(row: Any) -> Job:
    """A row with `COLUMNS`."""
    values = dict(zip(COLUMNS, row, strict=True))
    values["request"] = json.loads(values["request"])
    values["outputs"] = tuple(Output(**each) for each in json.loads(values["outputs"] or "[]"))
    values["problem"] = json.loads(values["problem"]) if values["problem"] else None
    return Job(**values)


def scope_text(scope: Scope) -> str:
    """A scope as the key by which jobs are kept apart: only who may see the same sees a job."""
    layers = None if scope.layers is None else sorted(scope.layers)
    return json.dumps({"name": scope.name, "layers": layers})


def scope_of(text: str) -> Scope:
    """The scope that `scope_text` was made of."""
    found = json.loads(text)
    return Scope(found["name"], None if found["layers"] is None else frozenset(found["layers"]))


def moment(seconds: float | None) -> str | None:
    """RFC 3339 in UTC, milliseconds."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def status_info(job: Job, address: str) -> dict[str, Any]:
    """The job as `statusInfo` (18-062r2, 7.12), with links."""
    own = f"{address}/jobs/{job.id}"
    links = [{"rel": "self", "type": "application/json", "href": own, "title": "Status"}]
    if job.status == SUCCESSFUL:
        links.append(_results(own, "Results"))
    elif job.status == FAILED:
        links.append(_results(own, "Why it failed", "application/problem+json"))
    times = {name: moment(getattr(job, name)) for name in ("created", "started", "finished", "updated")}
    return {
        "processID": job.process, "jobID": job.id, "type": "process", "status": job.status, "message": job.message,
        "progress": job.progress, **{name: text for name, text in times.items() if text}, "links": links,
    }  # fmt: skip


def _results(own: str, title: str, kind: str = "application/json") -> dict[str, str]:
    relation = "http://www.opengis.net/def/rel/ogc/1.0/results"
    return {"rel": relation, "type": kind, "href": f"{own}/results", "title": title}
