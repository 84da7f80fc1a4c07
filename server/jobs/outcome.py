"""The outcome of a job that is over: its results in the form they were asked for, or the problem that ended it."""

from starlette.requests import Request
from starlette.responses import Response

from server.jobs import results
from server.jobs.asked import Form, Wish
from server.jobs.job import Job
from server.jobs.store import JobStore
from server.jobs.values import stored
from server.problems import problem
from server.serving import base


def made(request: Request, store: JobStore, job: Job, headers: dict[str, str]) -> Response:
    """Results of a successful job."""
    values = stored(job.outputs, store.results(job.id))
    return results.respond(request, values, form_of(job), f"{base(request)}/jobs/{job.id}/results", headers)


def failure(job: Job, headers: dict[str, str]) -> Response:
    """Why a job failed, as the problem that an execution at once would have answered with."""
    why = job.problem or {"status": 500, "detail": job.message, "code": ""}
    code = "INVALID_PARAMETER_VALUE" if why["status"] == 400 else why["code"]
    return problem(why["status"], why["detail"], headers=headers, code=code or None)


def form_of(job: Job) -> Form:
    """The form that was asked for when the job was made."""
    kept = job.request["form"]
    return Form(kept["response"], {name: Wish(**wish) for name, wish in kept["outputs"].items()}, kept["n_outputs"])
