"""Inputs by reference: `{"href": …}` to this server's own addresses, read in-process. Other hosts are not asked.

A server that fetches whatever address it is given can be sent into the network it stands in (CWE-918). Our own
addresses give features with every filter, results of earlier jobs, and nothing that the asker could not read himself.
"""

from typing import Any
from urllib.parse import unquote, urlsplit

import anyio
import orjson
from starlette.requests import Request
from starlette.types import Message, Scope

from layers.errors import InvalidInput
from server.jobs.asked import is_link, plain
from server.jobs.service import jobs
from server.serving import base

MOST_LINKS = 10


async def resolved(request: Request, inputs: dict[str, Any]) -> dict[str, Any]:
    """Plain values of the inputs: links, also in lists, replaced by what they lead to, others without qualification."""
    n_links = sum(
        is_link(part) for value in inputs.values() for part in (value if isinstance(value, list) else [value])
    )
    if n_links > MOST_LINKS:
        raise InvalidInput(f"{n_links} inputs are links; at most {MOST_LINKS} are followed.")
    reader = _Reader(request, jobs(request).limits.href_bytes)
    made: dict[str, Any] = {}
    for name, value in inputs.items():
        if isinstance(value, list):
            made[name] = [await reader.value(name, each) for each in value]
        else:
            made[name] = await reader.value(name, value)
    return made


class _Reader:
    """Reads links of one request, at most so many bytes together."""

    def __init__(self, request: Request, most_bytes: int) -> None:
        self.request, self.left, self.most = request, most_bytes, most_bytes

    async def value(self, name: str, given: Any) -> Any:
        """An input value, or one of its list."""
        return await self.read(name, given["href"]) if is_link(given) else plain(given)

    async def read(self, name: str, href: Any) -> Any:
        """The JSON behind an address of ours."""
        own = base(self.request)
        if not isinstance(href, str) or not (href.startswith((f"{own}/", "/"))) or href.startswith("//"):
            raise InvalidInput(
                f"{name}: href={str(href)[:100]!r} is not an address of this server; others are not asked.",
                f"Use {own}/collections/…/items?…, the results of a job, or the value itself.",
            )
        parts = urlsplit(href.removeprefix(own))
        status, body = await _asked(self.request, parts.path, parts.query, self.left)
        if body is None:
            raise InvalidInput(
                f"{name}: {href[:100]!r} has too many bytes; links of a request may have {self.most} together.",
                "Add a filter, a bbox or a limit.",
            )
        self.left -= len(body)
        if status != 200:
            raise InvalidInput(f"{name}: {href[:100]!r} answers {status}.", "Open it to see why.")
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise InvalidInput(f"{name}: {href[:100]!r} is not JSON.", "Ask for it with f=json.") from error


class _TooLarge(Exception):
    pass


async def _asked(request: Request, path: str, query: str, most_bytes: int) -> tuple[int, bytes | None]:
    """Status and body of a GET that never leaves this process; no body where it is larger than may be."""
    headers = [(b"host", request.headers.get("host", "localhost").encode()), (b"accept", b"application/json")]
    scope: Scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "headers": headers,
        "scheme": request.url.scheme, "path": unquote(path), "raw_path": path.encode(), "query_string": query.encode(),
        "root_path": request.scope.get("root_path", ""), "server": request.scope.get("server"),
        "client": request.scope.get("client"), "state": request.scope.get("state", {}),
    }  # fmt: skip
    status, size, chunks = 500, 0, []

    is_asked = False

    async def receive() -> Message:
        nonlocal is_asked
        if is_asked:  # whoever streams waits here for the reader to hang up
            await anyio.sleep_forever()
        is_asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status, size
        if message["type"] == "http.response.start":
            status = message["status"]
        elif message["type"] == "http.response.body":
            size += len(message.get("body", b""))
            if size > most_bytes:
                raise _TooLarge
            chunks.append(message.get("body", b""))

    try:
        await request.app(scope, receive, send)
    except _TooLarge:
        return status, None
    return status, b"".join(chunks)
