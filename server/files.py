"""Assets as files with byte ranges (RFC 9110, 14): the COPC point cloud and the rasters."""

import re
from collections.abc import Iterator, Mapping
from email.utils import formatdate
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from layers.errors import InvalidInput, NotFound
from server import answer, parameters
from server.problems import problem
from server.serving import FILES, Snapshot, snapshot
from twin.store.interface import Asset

BLOCK = 1 << 18
_RANGE = re.compile(r"^bytes=(\d{0,18})-(\d{0,18})$")


def chosen(city: Snapshot, layer_id: str, asset_id: str | None, epoch: str | None = None) -> Asset:
    """An asset of a layer: by id, by epoch, or the newest. NotFound says what there is."""
    city.type_of(layer_id)
    assets = city.files[layer_id].assets if layer_id in city.files else ()
    for asset in assets:
        if asset_id in (None, asset.id) and epoch in (None, asset.epoch):
            return asset
    known = ", ".join(f"{asset.id} ({asset.epoch or 'no epoch'})" for asset in assets) or "none"
    raise NotFound(f"{layer_id} has no such file.", f"There is: {known}.")


def file(request: Request) -> Response:
    """The whole file or one range of it."""
    given = parameters.once(request.query_params, ("asset", "epoch"))
    city = snapshot(request)
    asset = chosen(city, request.path_params["layer"], given.get("asset"), given.get("epoch"))
    media_type, name = FILES[asset.kind]
    if not request.url.path.endswith(name):
        raise NotFound(f"{asset.layer} is not served under this name.", f"Ask for {name}.")
    return ranged(request, city.city.folder / asset.path, media_type)


def ranged(
    request: Request,
    path: Path,
    media_type: str,
    *,
    weak: bool = False,
    tag: str | None = None,
    more: Mapping[str, str] | None = None,
) -> Response:
    """A file with `Range`, `If-Range`, `ETag`; several ranges get the whole, as RFC 9110 allows.

    `weak`: of a media type that the middleware may compress on the way. `tag`: of a file that is made anew on demand,
    whose time says nothing; by the file's time and size when absent. `more`: further headers.
    """
    stat = path.stat()
    size, modified = stat.st_size, formatdate(stat.st_mtime, usegmt=True)
    dated = {"Last-Modified": modified} if tag is None else {}
    tag = tag or f'{"W/" if weak else ""}"{stat.st_mtime_ns:x}-{stat.st_size:x}"'
    headers = answer.headers_for(tag, {"Accept-Ranges": "bytes", **dated, **(more or {})})
    headers["Content-Type"] = media_type
    if answer.is_fresh(request, tag):
        return answer.not_modified(headers)
    start, stop = 0, size
    wanted = request.headers.get("range")
    if wanted and request.headers.get("if-range", tag) in {tag, *dated.values()}:
        try:
            span = _span(wanted, size)
        except InvalidInput as error:
            return problem(416, str(error), headers={"Content-Range": f"bytes */{size}", "Accept-Ranges": "bytes"})
        if span:
            start, stop = span
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    headers["Content-Length"] = str(stop - start)
    status = 206 if "Content-Range" in headers else 200
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    return StreamingResponse(_blocks(path, start, stop), status, headers)


def _span(header: str, size: int) -> tuple[int, int] | None:
    """First and one past the last byte; None for what is no single byte range; InvalidInput beyond the end."""
    match = _RANGE.match(header.replace(" ", ""))
    if not match or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        start, stop = max(size - int(last), 0), size
    else:
        start, stop = int(first), min(int(last) + 1 if last else size, size)
        if last and int(last) < int(first):
            return None
    if start >= size or start >= stop:
        raise InvalidInput(f"The file has {size} bytes; {header[:60]!r} lies beyond it.")
    return start, stop


def _blocks(path: Path, start: int, stop: int) -> Iterator[bytes]:
    with path.open("rb") as stream:
        stream.seek(start)
        while start < stop:
            block = stream.read(min(BLOCK, stop - start))
            if not block:
                return
            start += len(block)
            yield block


def routes() -> list[Route]:
    """`points.copc.laz` and `raster.tif` of a layer."""
    return [Route(f"/collections/{{layer}}/{name}", file, methods=["GET"]) for _, name in FILES.values()]
