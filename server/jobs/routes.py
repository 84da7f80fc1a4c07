"""`/jobs` (18-062r2, 7.12, clauses 11 and 13): the list, the status, the results, dismissal."""

from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from layers.errors import InvalidInput, NotFound
from server import answer, negotiation, pages, parameters
from server.jobs.asked import TEXT
from server.jobs.job import FAILED, STATUSES, SUCCESSFUL, Job, scope_text, status_info
from server.jobs.outcome import failure, made
from server.jobs.service import jobs
from server.jobs.store import Wanted
from server.serving import base, language, snapshot

LIST_PARAMETERS = (
    "f", "lang", "limit", "cursor", "processID", "status", "type", "datetime", "minDuration", "maxDuration",
)  # fmt: skip
DEFAULT_LIMIT, MAX_LIMIT = 10, 1000
TITLE = {"zh": "任务", "en": "Jobs"}


def listing(request: Request) -> Response:
    """Jobs of who asks, the newest first."""
    given = parameters.once(request.query_params, LIST_PARAMETERS)
    limit = min(parameters.whole(given, "limit", DEFAULT_LIMIT, minimum=1), MAX_LIMIT)
    wanted = _wanted(given)
    city = snapshot(request)
    found = []
    if given.get("type", "process") == "process":
        found = jobs(request).store.listed(wanted, scope_text(city.city.scope), limit + 1)
    shown, address = found[:limit], base(request)
    links = _page_links(request, address)
    if len(found) > limit:
        query = request.query_params.multi_items()
        following = [(k, v) for k, v in query if k != "cursor"] + [("cursor", str(shown[-1].seq))]
        text = str(request.url.replace_query_params(**dict(following)).query)
        links.append({"rel": "next", "type": answer.JSON, "href": f"{address}/jobs?{text}", "title": "Older jobs"})
    document = {"jobs": [status_info(each, address) for each in shown], "links": links}
    return pages.either(request, city, TITLE[language(request)], document)


def _wanted(given: dict[str, str]) -> Wanted:
    statuses = tuple(parameters.listed(given["status"], 10, "status")) if "status" in given else ()
    if unknown := [each for each in statuses if each not in STATUSES]:
        raise InvalidInput(f"status={unknown[0][:40]!r} is none.", f"Use {', '.join(STATUSES)}.")
    least, most = (
        None if name not in given else float(parameters.whole(given, name, 0))
        for name in ("minDuration", "maxDuration")
    )
    if least is not None and most is not None and least > most:
        raise InvalidInput(f"minDuration={least:g} is above maxDuration={most:g}.", "No job can have both.")
    return Wanted(
        processes=tuple(parameters.listed(given["processID"], 100, "processID")) if "processID" in given else (),
        statuses=statuses, created=_created(given.get("datetime")), duration_s=(least, most),
        before=parameters.whole(given, "cursor", 0) or None,
    )  # fmt: skip


def _created(text: str | None) -> tuple[float | None, float | None]:
    """First and last moment of `datetime`; a date is the whole day, a time the whole millisecond."""
    if text is None:
        return None, None
    start, slash, end = text.partition("/")
    if not slash:
        end = start
    first, last = _edge(start, is_end=False), _edge(end, is_end=True)
    if not slash and first is None:
        raise InvalidInput(f"datetime={text[:40]!r} is neither an instant nor an interval.", "Example: 2026-01-31/..")
    if first is not None and last is not None and first > last:
        raise InvalidInput(f"datetime={text[:80]!r} ends before it starts.")
    return first, last


def _edge(text: str, *, is_end: bool) -> float | None:
    if text in {"", ".."}:
        return None
    try:
        read = datetime.fromisoformat(text)
        moment = read if read.tzinfo else read.replace(tzinfo=UTC)
        width = timedelta(days=1) if len(text) == 10 else timedelta(milliseconds=1)
        return (moment + (width - timedelta(microseconds=1) if is_end else timedelta(0))).timestamp()
    except (ValueError, OverflowError) as error:
        raise InvalidInput(
            f"datetime: {text[:60]!r} is not an RFC 3339 date or time.", "Example: 2026-01-01T00:00:00Z"
        ) from error


def status(request: Request) -> Response:
    """How far a job is; DELETE dismisses it."""
    parameters.once(request.query_params, ("f", "lang"))
    if request.method == "DELETE":
        return _dismissed(request)
    job = _job(request)
    title = f"{job.process} {job.id[:8]}"
    document = status_info(job, base(request))
    return pages.either(request, snapshot(request), title, document, crumbs=_crumbs(request, job)[:1])


def _dismissed(request: Request) -> Response:
    """Stop a job that waits or runs; remove one that is over, with its results."""
    scope = scope_text(snapshot(request).city.scope)
    job = jobs(request).store.dismiss(request.path_params["job"], scope)
    if job is None:
        raise _no_such(request)
    jobs(request).slots.kill(job.id)
    was_over = job.status != "dismissed"
    document = status_info(job, base(request)) | {"status": "dismissed"}
    if was_over:
        document |= {"message": "removed", "links": []}
    return Response(answer.json_bytes(document), media_type=answer.JSON, headers={"Cache-Control": "no-store"})


def result(request: Request) -> Response:
    """All outputs of a job, in the form that was asked for when it was made."""
    parameters.once(request.query_params, ("f", "lang"))
    job = _successful(request)
    if isinstance(job, Response):
        return job
    if negotiation.wants_html(request):
        own = f"{base(request)}/jobs/{job.id}/results"
        outputs = {each.name: f"{own}/{each.name}" for each in job.outputs}
        title = "结果" if language(request) == "zh" else "Results"
        # in a member of their own: an output may have any name, also one that a page reads (features, links)
        shown = {"outputs": outputs}
        return pages.render(request, snapshot(request), "generic.html", title, shown, crumbs=_crumbs(request, job))
    tag = answer.etag("results", job.id, job.finished, base(request), request.headers.get("accept", ""))
    headers = answer.headers_for(tag)
    if answer.is_fresh(request, tag):
        return answer.not_modified(headers)
    return made(request, jobs(request).store, job, headers)


def output(request: Request) -> Response:
    """One output as it is, from its file; byte ranges of it too."""
    given = parameters.once(request.query_params, ("f",))
    job = _successful(request)
    if isinstance(job, Response):
        return job
    name = request.path_params["output"]
    found = next((each for each in job.outputs if each.name == name), None)
    if found is None:
        names = ", ".join(each.name for each in job.outputs) or "none"
        raise NotFound(f"The job has no output {name[:60]!r}.", f"It has {names}.")
    path, kind = jobs(request).store.results(job.id) / found.file, found.media_type
    tag = answer.etag("output", job.id, job.finished, name, given.get("f", ""), weak=False)
    headers = answer.headers_for(tag)
    if answer.is_fresh(request, tag):
        return answer.not_modified(headers)
    if given.get("f") == "text":
        return _as_text(path.read_bytes(), headers)
    if given.get("f", "json") != "json":
        raise InvalidInput(f"f={given['f'][:20]!r} is not offered here.", "Use json or text.")
    return FileResponse(path, headers=headers, media_type=kind)


def _as_text(data: bytes, headers: dict[str, str]) -> Response:
    import orjson

    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        value = {}
    if isinstance(value, dict | list):
        raise InvalidInput("f=text is for numbers, words and truth values.", "Leave f out.")
    return Response(value if isinstance(value, str) else data, headers=headers, media_type=TEXT)


def _job(request: Request) -> Job:
    job = jobs(request).store.get(request.path_params["job"], scope_text(snapshot(request).city.scope))
    if job is None:
        raise _no_such(request)
    return job


def _no_such(request: Request) -> NotFound:
    return NotFound(f"There is no job {request.path_params['job'][:60]!r}.", "See /jobs.", code="NO_SUCH_JOB")


def _successful(request: Request) -> Job | Response:
    """A job with results; the answer that says why there are none otherwise."""
    job = _job(request)
    if job.status == FAILED:
        return failure(job, {"Cache-Control": "no-store"})
    if job.status != SUCCESSFUL:
        if job.status == "dismissed":
            raise NotFound(f"Job {job.id} was dismissed: it has no results.", "Execute it again.", code="NO_RESULT")
        raise NotFound(f"Job {job.id} is {job.status}, {job.progress} %.", "Ask again later.", code="RESULT_NOT_READY")
    return job


def _crumbs(request: Request, job: Job) -> list[tuple[str, str]]:
    return [(TITLE[language(request)], "/jobs"), (job.id[:8], f"/jobs/{job.id}")]


def _page_links(request: Request, address: str) -> list[dict[str, Any]]:
    query = f"?{request.url.query}" if request.url.query else ""
    html = str(request.url.include_query_params(f="html").query)
    path = request.url.path
    return [
        {"rel": "self", "type": answer.JSON, "href": f"{address}{path}{query}"},
        {"rel": "alternate", "type": "text/html", "href": f"{address}{path}?{html}"},
    ]


def routes() -> list[Route]:
    """List, status, results, one output, dismissal."""
    return [
        Route("/jobs", listing, methods=["GET"]),
        Route("/jobs/{job}", status, methods=["GET", "DELETE"]),
        Route("/jobs/{job}/results", result, methods=["GET"]),
        Route("/jobs/{job}/results/{output}", output, methods=["GET"]),
    ]
