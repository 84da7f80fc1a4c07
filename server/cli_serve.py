"""`citytwin serve` and `citytwin demo`."""

import socket
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlsplit

import typer

from layers.errors import CityTwinError, InvalidInput
from server.cli_build import total

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from server.settings import Settings

SAMPLE_TOWN = Path(__file__).resolve().parents[1] / "sample_data" / "town"
PORT = 8000

Host = Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for every one.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free port.")]


def serve(
    twin_dir: Annotated[Path, typer.Argument(help="Folder of the twin.")],
    *,
    host: Host = "127.0.0.1",
    port: Port = PORT,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Server processes.")] = 1,
    public_url: Annotated[str | None, typer.Option(help="Base of all links behind a proxy.")] = None,
    trust_forwarded: Annotated[
        bool, typer.Option("--trust-forwarded", help="Take the base of links from X-Forwarded-*: own proxy only.")
    ] = False,
    edit: Annotated[bool, typer.Option("--edit", help="Take edits of everyone who reaches the server.")] = False,
    read_only: Annotated[bool, typer.Option("--read-only", help="Take no edits, not of this machine either.")] = False,
    edit_origin: Annotated[
        list[str] | None,
        typer.Option(help="A web page's origin (https://editor.example) that may edit too; repeatable."),
    ] = None,
    demand_if_match: Annotated[
        bool, typer.Option("--demand-if-match", help="Refuse edits that do not say which state they were made on.")
    ] = False,
) -> None:
    """Serve a twin; prints its address once it listens."""
    import twin
    from server.settings import Settings

    settings = Settings(
        public_url=public_url, trust_forwarded=trust_forwarded, edit=_editors(everyone=edit, nobody=read_only),
        edit_origins=tuple(_origin(each) for each in edit_origin or ()), demand_if_match=demand_if_match,
    )  # fmt: skip
    twin.open(twin_dir).close()  # says what is wrong before a port is taken
    _listen(twin_dir, _bound(host, port), host, workers, settings)


def _editors(*, everyone: bool, nobody: bool) -> Literal["local", "anyone", "nobody"]:
    if everyone and nobody:
        raise InvalidInput("--edit and --read-only exclude each other.", "Leave one of them out.")
    return "anyone" if everyone else "nobody" if nobody else "local"


def _origin(text: str) -> str:
    """An origin as browsers write it: scheme and host, and a port that is not the scheme's own."""
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.path not in {"", "/"} or parts.query:
        raise InvalidInput(f"--edit-origin {text[:80]!r} is no origin.", "Example: https://editor.example.")
    return f"{parts.scheme}://{parts.netloc}".lower()


def demo(
    *,
    twin_dir: Annotated[Path, typer.Option("--twin", help="Where the twin is built.")] = Path("demo-twin"),
    host: Host = "127.0.0.1",
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="8000, or a free one if that is taken.")] = None,
) -> None:
    """Build the sample town and serve it."""
    from server import build as builder
    from server.cli_progress import progress
    from server.settings import Settings

    if not SAMPLE_TOWN.is_dir():
        raise InvalidInput(f"The sample town is not at {SAMPLE_TOWN}.", "Run it from a checkout of the repository.")
    with progress(verbose=False) as told:
        result = builder.build(SAMPLE_TOWN, twin_dir, told)
    sys.stderr.write(f"{twin_dir}: {total(result.reports, result.standing)} in {result.seconds:.1f} s\n")
    _listen(twin_dir, _bound(host, port) if port is not None else _bound_or_free(host), host, 1, Settings())


def make_app(twin_dir: str, settings: "Settings") -> "ASGIApp":
    """The application of one server process."""
    import twin
    from server.app import create_app

    # threads that SQLite and NumPy let run meanwhile must not wait 5 ms (the default) to go on: 231 -> 320 answers/s of
    # 16 readers, the slowest of a hundred 112 ms instead of 277
    sys.setswitchinterval(0.001)
    return create_app(twin.open(twin_dir), settings)


def _bound(host: str, port: int) -> socket.socket:
    """A listening socket; who connects from now on is served as soon as the application is up."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise CityTwinError(
            f"{host} port {port} cannot be used: {error.strerror}.", "Choose another, or --port 0 for a free one."
        ) from error
    listener.listen(2048)
    listener.set_inheritable(True)
    return listener


def _bound_or_free(host: str) -> socket.socket:
    try:
        return _bound(host, PORT)
    except CityTwinError:
        return _bound(host, 0)


def _listen(twin_dir: Path, listener: socket.socket, host: str, workers: int, settings: "Settings") -> None:
    import uvicorn
    from uvicorn.supervisors import Multiprocess

    shown = f"[{host}]" if ":" in host else host
    line = f"Listening on http://{shown}:{listener.getsockname()[1]}/"
    config = uvicorn.Config(
        partial(make_app, str(twin_dir.resolve()), settings), factory=True, log_level="warning", access_log=False,
        workers=workers, proxy_headers=False,
    )  # fmt: skip
    if workers > 1:
        typer.echo(line)
        sys.stdout.flush()
        Multiprocess(config, sockets=[listener]).run()
        return

    class Announcing(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                typer.echo(line)
                sys.stdout.flush()

    server = Announcing(config)
    server.run(sockets=[listener])
    if not server.started:
        raise CityTwinError("The server could not start.", "The lines above say why.")
