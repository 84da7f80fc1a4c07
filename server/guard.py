"""The outermost ASGI layer: limits on what a stranger can send, CORS, security headers, OPTIONS, access log.

It stands outside Starlette's own error handling so that an error of ours carries these headers too.
"""

import logging
import re
import time
from collections.abc import Iterable

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.problems import problem
from server.settings import Settings

ACCESS = logging.getLogger("citytwin.access")
ERRORS = logging.getLogger("citytwin.server")

CORS = (
    (b"access-control-allow-origin", b"*"),
    (
        b"access-control-expose-headers",
        b"Accept-Patch, Accept-Post, Accept-Ranges, Allow, CityTwin-Note, Content-Bbox, Content-Crs, Content-Datetime, "
        b"Content-Disposition, Content-Interpolation, Content-Language, Content-Location, Content-Range, ETag, "
        b"Last-Modified, Link, Location, OGC-NumberMatched, OGC-NumberReturned, Preference-Applied, Retry-After, "
        b"Values-Offset, Values-Scale",
    ),
)
PREFLIGHT = (
    (
        b"access-control-allow-headers",
        b"Accept, Accept-Language, Content-Crs, Content-Type, If-Match, If-None-Match, If-Range, If-Unmodified-Since, "
        b"Prefer, Range",
    ),
    (b"access-control-max-age", b"86400"),
)
SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"strict-origin-when-cross-origin"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"cross-origin-resource-policy", b"cross-origin"),
)


_EDITED = re.compile(r"/collections/[^/]+/items(?:/|$)|/transactions$")
"""Addresses that take edits, which may be larger than other bodies."""
DISCARDED_BYTES = 64_000_000


class Guard:
    """Wraps the application."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings = app, settings
        if settings.access_log and not ACCESS.handlers:
            handler = logging.StreamHandler()
            handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
            ACCESS.addHandler(handler)
            ACCESS.setLevel(logging.INFO)
            ACCESS.propagate = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        reply = _Reply(send, options=scope["method"] == "OPTIONS")
        started = time.perf_counter()
        try:
            refusal = self._refusal(scope)
            if refusal is not None:
                await refusal(scope, receive, reply)
            else:
                await self.app(scope, _capped(receive, self._body_limit(scope)), reply)
        except Exception:
            # Starlette has answered with `problems.on_bug`; the trace goes to the log, not to the stranger
            ERRORS.exception("%s %s", scope["method"], scope["path"])
            if not reply.is_complete:
                raise  # in the middle of a stream: the connection must break, so that nobody takes it for whole
        finally:
            if self.settings.access_log:
                _log(scope, reply, time.perf_counter() - started)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        size = len(scope.get("raw_path") or scope["path"].encode()) + len(scope["query_string"])
        if size > self.settings.max_url_bytes:
            return problem(414, f"The address has {size} bytes; at most {self.settings.max_url_bytes} are read.")
        if b"\0" in scope["path"].encode() or b"%00" in scope["query_string"]:
            return problem(400, "The address has a NUL character in it.")
        length = dict(scope["headers"]).get(b"content-length", b"0")
        limit = self._body_limit(scope)
        if length.isdigit() and int(length) > limit:
            return _Unread(problem(413, f"The body has {int(length)} bytes; at most {limit} are read."))
        return None

    def _body_limit(self, scope: Scope) -> int:
        is_edit = _EDITED.search(scope["path"]) is not None
        return self.settings.max_edit_bytes if is_edit else self.settings.max_body_bytes


class _Unread:
    """Answers after throwing away what the client still sends: many read no answer before they have sent all."""

    def __init__(self, answer: ASGIApp) -> None:
        self.answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        expects = b"expect" in dict(scope["headers"])  # who asks before sending is told at once
        discarded, more = 0, not expects
        while more and discarded < DISCARDED_BYTES:
            message = await receive()
            discarded += len(message.get("body", b""))
            more = message.get("more_body", False)
        await self.answer(scope, receive, send)


class _Reply:
    """Adds headers on the way out, and makes 204 with `Allow` out of the 405 that OPTIONS meets."""

    def __init__(self, send: Send, *, options: bool) -> None:
        self.send, self.options = send, options
        self.status = 0
        self.n_bytes = 0
        self.is_complete = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message["headers"])
            if self.options and message["status"] == 405:
                message["status"] = 204
                headers = [(b"allow", allow + b", OPTIONS") for allow in _values(headers, b"allow")]
            if self.options and message["status"] in {200, 204}:
                # asking by a filter in the body is possible for everyone, whoever may edit
                allow = b", ".join(dict.fromkeys(b", ".join([*_values(headers, b"allow"), b"POST"]).split(b", ")))
                headers += [*PREFLIGHT, (b"access-control-allow-methods", allow)]
            present = {name.lower() for name, _ in headers}
            headers += [pair for pair in CORS + SECURITY if pair[0] not in present]
            message["headers"] = headers
            self.status = message["status"]
        elif message["type"] == "http.response.body":
            if self.status == 204:
                message["body"] = b""
            self.n_bytes += len(message.get("body", b""))
            self.is_complete = not message.get("more_body", False)
        await self.send(message)


def _values(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    return [value for key, value in headers if key.lower() == name]


def _capped(receive: Receive, limit: int) -> Receive:
    seen = 0

    async def capped() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise HTTPException(413, f"The body is larger than {limit} bytes.")
        return message

    return capped


def _log(scope: Scope, reply: _Reply, seconds: float) -> None:
    client = (scope.get("client") or ("-",))[0]
    target = scope["path"] + ("?" + scope["query_string"].decode("latin-1") if scope["query_string"] else "")
    shown = target[:500].encode("unicode_escape").decode()  # no line breaks from a stranger in the log
    ACCESS.info("%s %s %s %d %d %.1fms", client, scope["method"], shown, reply.status, reply.n_bytes, seconds * 1e3)
