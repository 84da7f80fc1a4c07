"""POST /processes/{processId}/execution (18-062r2, 7.11): at once, waited for, or as a job.

Quick processes that are to be answered at once run in a thread of the server, which keeps them within milliseconds;
their calls of `progress` keep to the time limit. All others become jobs, also those that are waited for, so that long
ones neither hold the server's interpreter nor outlive their time.
"""

import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import anyio
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from layers.errors import Busy, InvalidInput, NotFound
from server import answer, editing, parameters
from server.jobs import asked, results
from server.jobs.asked import Form, Preference
from server.jobs.job import FAILED, SUCCESSFUL, Job, scope_text, status_info
from server.jobs.outcome import failure, made
from server.jobs.reference import resolved
from server.jobs.service import Jobs, jobs
from server.jobs.values import Value, encoded
from server.serving import base, snapshot
from twin import analysis
from twin.analysis.process import Process
from twin.analysis.progress import Progress
from twin.city import City

NO_STORE = {"Cache-Control": "no-store"}
LOOK_S = (0.005, 0.25)
"""How often a job that is waited for is looked at: at first, and at most."""


async def execution(request: Request) -> Response:
    """Run a process as asked."""
    parameters.once(request.query_params, ("lang",))
    process = await run_in_threadpool(analysis.process, request.path_params["process"])
    try:
        document = asked.document(await request.body())
        form = asked.form(document, process)
        inputs = await resolved(request, document.get("inputs", {}))
        inputs = await run_in_threadpool(process.checked, inputs)
        if process.writing(inputs) is not None:
            editing.require_editor(request)
        wanted = asked.preference(request.headers.getlist("prefer"))
        city = (await run_in_threadpool(snapshot, request)).city
        if wanted.respond != "async" and wanted.wait_s is None and _is_direct(process, form):
            return await _at_once(request, partial(_run, process, city, inputs), form, wanted)
    except InvalidInput as error:
        error.code = "INVALID_PARAMETER_VALUE"
        raise
    queue = jobs(request)
    asks: dict[str, object] = {"inputs": inputs, "outputs": list(form.outputs), "form": asdict(form)}
    job = await run_in_threadpool(queue.submit, process.id, asks, scope_text(city.scope))
    return await _answered(request, queue, job, wanted)


def _is_direct(process: Process, form: Form) -> bool:
    """Whether it can be answered without a job: quick, and nothing that needs an address."""
    return process.is_quick and not form.by_reference


async def _at_once(request: Request, run: Callable[[float], list[Value]], form: Form, wanted: Preference) -> Response:
    queue = jobs(request)
    if queue.n_quick >= queue.limits.quick_at_a_time + queue.limits.quick_queue:
        raise Busy(f"{queue.n_quick} executions are under way here.", "Try again, or send Prefer: respond-async.")
    queue.n_quick += 1
    try:
        values = await anyio.to_thread.run_sync(run, queue.limits.sync_s, limiter=queue.quick)
    finally:
        queue.n_quick -= 1
    return results.respond(request, values, form, None, NO_STORE | wanted.applied("sync"))


def _run(process: Process, city: City, inputs: dict[str, Any], limit_s: float) -> list[Value]:
    end = time.monotonic() + limit_s

    def tell(_: float, __: str) -> None:
        if time.monotonic() > end:
            raise _too_long(process.id, limit_s)

    return encoded(process, process.run(city, inputs, progress=Progress(tell)))


def _too_long(process_id: str, limit_s: float) -> Busy:
    return Busy(f"{process_id} takes longer than {limit_s:g} s.", "Send Prefer: respond-async, and ask for the job.")


async def _answered(request: Request, queue: Jobs, job: Job, wanted: Preference) -> Response:
    """Wait for a job as long as is wanted; its results, or its status."""
    limit_s = queue.limits.sync_s
    may_be_async = wanted.respond == "async" or wanted.wait_s is not None
    if wanted.respond == "async" and wanted.wait_s is None:
        limit_s = 0.0
    elif wanted.wait_s is not None:
        limit_s = min(limit_s, wanted.wait_s)
    try:
        done = await _waited(request, queue, job, limit_s)
    except BaseException:
        queue.store.dismiss(job.id, job.scope)
        raise
    address = base(request)
    if done.status in {SUCCESSFUL, FAILED}:
        monitor = {"Link": f'<{address}/jobs/{job.id}>; rel="monitor"; type="{answer.JSON}"'}
        headers = NO_STORE | monitor | wanted.applied("sync")
        if done.status == FAILED:
            return failure(done, headers)
        return await run_in_threadpool(made, request, queue.store, done, headers)
    if not may_be_async:
        if not done.is_over:
            await run_in_threadpool(queue.store.dismiss, job.id, job.scope)
        raise _too_long(job.process, limit_s)
    headers = NO_STORE | wanted.applied("async") | {"Location": f"{address}/jobs/{job.id}"}
    return Response(answer.json_bytes(status_info(done, address)), 201, headers=headers, media_type=answer.JSON)


async def _waited(request: Request, queue: Jobs, job: Job, limit_s: float) -> Job:
    """The job when it is over, or as it is after the time. A reader who hangs up wants no answer: it is dismissed."""
    end, pause = time.monotonic() + limit_s, LOOK_S[0]
    while limit_s and time.monotonic() < end:
        await anyio.sleep(min(pause, max(end - time.monotonic(), 0.0)))
        pause = min(pause * 1.3, LOOK_S[1])
        found = await run_in_threadpool(queue.store.get, job.id, job.scope)
        if found is None:
            raise NotFound(f"Job {job.id} was dismissed.", code="NO_SUCH_JOB")
        if found.is_over:
            return found
        if await request.is_disconnected():
            dismissed = await run_in_threadpool(queue.store.dismiss, job.id, job.scope)
            queue.slots.kill(job.id)
            return dismissed or found
        job = found
    return job
