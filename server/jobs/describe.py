"""What /api says of processes and jobs: operations with the schemas of requests and answers (18-062r2, annex)."""

from typing import Any

from server.answer import JSON
from server.face import Operation, query
from server.jobs.job import STATUSES

HTML = "text/html"
TEXT: dict[str, Any] = {"type": "string"}
TEXTS: dict[str, Any] = {"type": "array", "items": TEXT}
LINK: dict[str, Any] = {
    "type": "object", "required": ["href"],
    "properties": dict.fromkeys(("href", "rel", "type", "hreflang", "title"), TEXT),
}  # fmt: skip
LINKS = {"type": "array", "items": LINK}
SUMMARY: dict[str, Any] = {
    "type": "object", "required": ["id", "version"],
    "properties": {
        "id": TEXT, "version": TEXT, "title": TEXT, "description": TEXT, "keywords": TEXTS,
        "metadata": {"type": "array", "items": {"type": "object"}}, "jobControlOptions": TEXTS,
        "outputTransmission": TEXTS, "links": LINKS,
    },
}  # fmt: skip
PARAMETERS = {"type": "object", "additionalProperties": {"type": "object", "required": ["schema"]}}
PROCESS = {
    "allOf": [SUMMARY, {"type": "object", "properties": {"inputs": PARAMETERS, "outputs": PARAMETERS}}],
}
MOMENT = {"type": "string", "format": "date-time"}
STATUS_INFO: dict[str, Any] = {
    "type": "object", "required": ["jobID", "status", "type", "processID"],
    "properties": {
        "processID": TEXT, "jobID": {"type": "string", "format": "uuid"},
        "type": {"type": "string", "enum": ["process"]},
        "status": {"type": "string", "enum": list(STATUSES)}, "message": TEXT, "created": MOMENT, "started": MOMENT,
        "finished": MOMENT, "updated": MOMENT, "progress": {"type": "integer", "minimum": 0, "maximum": 100},
        "links": LINKS,
    },
}  # fmt: skip
OUTPUT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "transmissionMode": {"type": "string", "enum": ["value", "reference"], "default": "value"},
        "format": {"type": "object", "properties": {"mediaType": TEXT}},
    },
}
EXECUTE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "inputs": {"type": "object", "description": "By name, as /processes/{processId} describes them.",
                   "additionalProperties": {}},
        "outputs": {"type": "object", "additionalProperties": OUTPUT,
                    "description": "Those that are wanted; all when absent."},
        "response": {"type": "string", "enum": ["raw", "document"]},
    },
}  # fmt: skip
ANSWERS = {
    201: "A job was made; Location is its status.",
    204: "Outputs by reference; Link headers have their addresses.",
    400: "An input is wrong; the problem names it.",
    404: "No such process.",
    413: "The request is too large.",
    503: "The queue is full, or it takes too long to wait for; Retry-After.",
}
PREFER = {
    "name": "Prefer", "in": "header", "required": False, "schema": TEXT,
    "description": "respond-async for a job; wait=N to wait N seconds for the answer before a job is told (RFC 7240).",
}  # fmt: skip


def _list(name: str, description: str, items: dict[str, Any]) -> dict[str, Any]:
    return query(name, description, {"type": "array", "items": items})


def _number(name: str, description: str, **more: Any) -> dict[str, Any]:
    return query(name, description, {"type": "integer", "minimum": 0} | more)


_LIMIT = "At most so many; a larger number than the maximum means the maximum."
_PAGE = ("f", "lang")
_JOB_LIST = (
    *_PAGE,
    _number("limit", _LIMIT, minimum=1, maximum=1000, default=10),
    _number("cursor", "Opaque; comes with the next link."),
    _list("processID", "Jobs of these processes.", TEXT),
    _list("status", "Jobs in one of these states.", {"type": "string", "enum": list(STATUSES)}),
    _list("type", "Kinds of jobs; there is one.", {"type": "string"}),
    query("datetime", "Made at that moment or in that interval; a date is a whole day.", TEXT),
    _number("minDuration", "Ran for at least so many seconds."),
    _number("maxDuration", "Ran for at most so many seconds."),
)
_NONE = {404: "No such job."}
_TAG = "Processes"
OPERATIONS = (
    Operation(
        "/processes", "Analyses", {JSON: {"type": "object", "required": ["processes", "links"], "properties": {
            "processes": {"type": "array", "items": SUMMARY}, "links": LINKS}}, HTML: {}},
        (*_PAGE, _number("limit", _LIMIT, minimum=1, maximum=1000, default=100),
         _number("offset", "Processes to leave out at the start.", default=0)), tag=_TAG,
    ),
    Operation("/processes/{processId}", "Inputs and outputs of an analysis", {JSON: PROCESS, HTML: {}}, _PAGE,
              answers={404: "No such process."}, tag=_TAG),
    Operation("/processes/{processId}/execution", "Run an analysis", {"*/*": {}}, (PREFER,), method="post",
              body={JSON: EXECUTE}, answers=ANSWERS, tag=_TAG),
    Operation(
        "/jobs", "Jobs, the newest first", {JSON: {"type": "object", "required": ["jobs", "links"], "properties": {
            "jobs": {"type": "array", "items": STATUS_INFO}, "links": LINKS}}, HTML: {}}, _JOB_LIST, tag=_TAG,
    ),
    Operation("/jobs/{jobId}", "Status of a job", {JSON: STATUS_INFO, HTML: {}}, _PAGE, answers=_NONE, tag=_TAG),
    Operation("/jobs/{jobId}", "Dismiss a job, or remove one that is over", {JSON: STATUS_INFO}, (), method="delete",
              answers=_NONE, tag=_TAG),
    Operation("/jobs/{jobId}/results", "Results of a job", {"*/*": {}}, _PAGE,
              answers={204: ANSWERS[204], 404: "No such job, or not ready.", 400: "It failed by its inputs.",
                       500: "It failed."}, tag=_TAG),
    Operation("/jobs/{jobId}/results/{outputId}", "One output", {"*/*": {}},
              (query("f", "text for a number or a word as plain text.", {"type": "string", "enum": ["json", "text"]}),),
              answers={404: "No such job or output, or not ready."}, tag=_TAG),
)  # fmt: skip
