"""Asks the server's own application for the files of an export, without a network: they are what it would answer."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any, cast
from urllib.parse import quote

import orjson

from layers.errors import CityTwinError, NotFound
from server.settings import Settings
from tiles.export.stage import Made, MakerFactory, Task
from twin.scope import Scope

MAKER = "answers"
NOWHERE = "http://citytwin.invalid"
"""Base of the links of an export that is not told where it will stand; they are made relative."""


@dataclass(frozen=True)
class Answer:
    """What the application says. `tag` is the entity tag with its quotes, without the mark of a weak one."""

    status: int
    tag: str
    media_type: str
    immutable: bool
    body: bytes


@dataclass(frozen=True)
class About:
    """What the address of a file does not say of the request: query string and Accept."""

    query: str = ""
    accept: str = "*/*"


_Message = dict[str, Any]
_Asked = tuple[_Message, "Future[list[_Message]]"]


class _Loop:
    """Runs an application on an event loop in a thread of its own.

    All requests are served by one task that never ends: the threads that Starlette works in live as long as the task
    that they were started from, and each has its own connections and transformations (90 ms to make).
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._asked: asyncio.Queue[_Asked | None] = asyncio.Queue()
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._run, name="answers", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    def close(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._asked.put_nowait, None)
        self._thread.join()

    def said(self, scope: dict[str, Any]) -> list[dict[str, Any]]:
        """The messages that answer a request."""
        answered: Future[list[_Message]] = Future()
        self._loop.call_soon_threadsafe(self._asked.put_nowait, (scope, answered))
        return answered.result()

    async def _serve(self) -> None:
        while (asked := await self._asked.get()) is not None:
            scope, answered = asked
            try:
                answered.set_result(await self._messages(scope))
            except BaseException as error:  # noqa: BLE001 belongs to who asked
                answered.set_exception(error)

    async def _messages(self, scope: dict[str, Any]) -> list[dict[str, Any]]:
        said: list[dict[str, Any]] = []
        is_sent = False

        async def receive() -> dict[str, Any]:
            nonlocal is_sent
            if is_sent:
                await asyncio.Event().wait()  # a reader that stays; cancelled with the answer
            is_sent = True
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            said.append(message)

        await self._app(scope, receive, send)
        return said


class Answers:
    """Makes files by asking: `tiles.export.stage.Maker`."""

    def __init__(self, folder: Path, scope: Scope, base_url: str | None) -> None:
        from server.app import create_app
        from twin.city import City

        self.base = base_url or NOWHERE
        settings = Settings(scope=scope, public_url=self.base, warm_up=False, access_log=False, max_url_bytes=1_000_000)
        self._city = City(folder, scope)
        self._loop = _Loop(cast(Any, create_app(self._city, settings)))

    def close(self) -> None:
        """Close the city."""
        self._loop.close()
        self._city.close()

    def ask(self, address: str, about: About | None = None, known: str = "") -> Answer:
        """The answer to a request for an address (decoded, relative to the server's root)."""
        about = about or About()
        headers = [(b"host", b"citytwin.invalid"), (b"accept", about.accept.encode())]
        if known:
            headers.append((b"if-none-match", known.encode()))
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
            "path": f"/{address}", "raw_path": quote(f"/{address}").encode(), "query_string": about.query.encode(),
            "root_path": "", "headers": headers, "client": ("127.0.0.1", 0), "server": ("citytwin.invalid", 80),
        }  # fmt: skip
        said = self._loop.said(scope)
        told = {name.lower(): value.decode("latin-1") for name, value in said[0]["headers"]}
        return Answer(
            said[0]["status"],
            told.get(b"etag", "").removeprefix("W/"),
            told.get(b"content-type", ""),
            "immutable" in told.get(b"cache-control", ""),
            b"".join(message.get("body", b"") for message in said[1:]),
        )

    def document(self, address: str, about: About | None = None) -> Any:
        """A JSON document, parsed. NotFound, or another refusal, where it is refused."""
        return orjson.loads(self.required(address, about).body)

    def required(self, address: str, about: About | None = None) -> Answer:
        """An answer that must be there."""
        found = self.ask(address, about)
        if found.status != 200:
            raise refusal(address, found)
        return found

    def made(self, address: str, about: About | None = None, known: str = "") -> Made:
        """The file at an address: bytes, or nothing where the known one is current, or where there is none (204)."""
        found = self.ask(address, about, known)
        if found.status == 304:
            return Made(address, known)
        if found.status == 204:
            return Made(address, found.tag, has_none=True)
        if found.status != 200:
            raise refusal(address, found)
        body = found.body
        if self.base == NOWHERE and "json" in found.media_type:
            body = relative(body, address)
        return Made(address, found.tag, body, found.media_type, immutable=found.immutable)

    def make(self, task: Task) -> Iterator[Made | Any]:
        """Every file of a task; what is refused is told and does not stop the others."""
        from tiles.export.stage import Failure

        for item in task.items:
            try:
                yield self.made(item.address, item.about, item.known)
            except CityTwinError as error:
                yield Failure(item.address, str(error))


def relative(body: bytes, address: str) -> bytes:
    """A document whose links to the server's root lead there from its own address."""
    up = "../" * address.count("/") or "./"
    return body.replace(f"{NOWHERE}/".encode(), up.encode()).replace(NOWHERE.encode(), up.encode())


def refusal(address: str, found: Answer) -> CityTwinError:
    """What the application refuses, as an error of ours."""
    try:
        reason = str(orjson.loads(found.body)["detail"])
    except (ValueError, KeyError, TypeError):
        reason = ""
    kind = NotFound if found.status == 404 else CityTwinError
    return kind(reason or f"The server answers {address} with status {found.status}.")


def opener(folder: Path, scope: Scope, base_url: str | None) -> MakerFactory:
    """A factory for worker processes."""
    return partial(Answers, folder, scope, base_url)
