"""One table from errors to statuses; every error leaves as an RFC 9457 problem."""

import logging
import sqlite3
from http import HTTPStatus

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from layers.errors import Busy, CityTwinError, Conflict, InvalidInput, NotFound

LOG = logging.getLogger("citytwin.server")

STATUS: dict[type[Exception], int] = {InvalidInput: 400, NotFound: 404, Conflict: 409, Busy: 503, CityTwinError: 500}
"""The nearest base class wins."""

RETRY_AFTER_S = 5

_PROCESSES = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/"
TYPES = {
    "NO_SUCH_PROCESS": f"{_PROCESSES}no-such-process", "NO_SUCH_JOB": f"{_PROCESSES}no-such-job",
    "RESULT_NOT_READY": f"{_PROCESSES}result-not-ready",
    "INVALID_PARAMETER_VALUE": f"{_PROCESSES}invalid-parameter-value",
}  # fmt: skip
"""Codes whose problems have a type of their own."""


def status_of(error: CityTwinError) -> int:
    """The HTTP status of an error of the house."""
    return next(STATUS[cls] for cls in type(error).__mro__ if cls in STATUS)


def problem(
    status: int,
    detail: str,
    *,
    headers: dict[str, str] | None = None,
    code: str | None = None,
    member: str | None = None,
) -> Response:
    """A problem document (`application/problem+json`); `member` of the body that is wrong, as a JSON Pointer."""
    kind = TYPES.get(code or "", "about:blank")
    body: dict[str, object] = {"type": kind, "status": status, "title": HTTPStatus(status).phrase}
    body |= {"detail": detail} if detail else {}
    body |= {"code": code} if code else {}
    body |= {"errors": [{"detail": detail, "pointer": f"#{member}"}]} if member else {}
    return Response(orjson.dumps(body), status, headers=headers, media_type="application/problem+json")


async def on_city_error(_: Request, error: Exception) -> Response:
    """An error of the house: its sentence is meant for the reader."""
    if not isinstance(error, CityTwinError):
        raise error
    status = status_of(error)
    if status == 500:
        LOG.error("%s", error, exc_info=error)
    headers = {"Retry-After": str(RETRY_AFTER_S)} if status == 503 else None
    return problem(status, str(error), headers=headers, code=error.code, member=getattr(error, "member", None))


async def on_http_error(_: Request, error: Exception) -> Response:
    """404 for an unknown path, 405 for a method that the path does not have."""
    if not isinstance(error, HTTPException):
        raise error
    detail = "" if error.detail == HTTPStatus(error.status_code).phrase else error.detail
    return problem(error.status_code, detail, headers=dict(error.headers or {}))


async def on_sql_error(request: Request, error: Exception) -> Response:
    """A filter whose SQL nests deeper than SQLite's parser goes (100 levels, several for one of CQL2) is too deep."""
    if any(words in str(error) for words in ("parser stack overflow", "Expression tree is too large")):
        return problem(400, "The filter is nested too deep. Split it, or write it flatter.", code="INVALID_INPUT")
    LOG.error("%s", error, exc_info=error)
    return await on_bug(request, error)


async def on_bug(_: Request, __: Exception) -> Response:
    """Anything else is our fault; the log has the trace."""
    return problem(500, "The server failed on this request; its log says why.")


HANDLERS = {
    CityTwinError: on_city_error,
    HTTPException: on_http_error,
    sqlite3.OperationalError: on_sql_error,
    Exception: on_bug,
}
