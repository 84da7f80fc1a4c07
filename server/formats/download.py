"""A format as an answer: headers first, then the file as it is made."""

from collections.abc import AsyncIterator, Generator
from dataclasses import replace
from itertools import chain
from urllib.parse import quote, urlencode

from starlette.concurrency import iterate_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from layers import crs
from server import answer
from server.formats.form import Form
from server.formats.selection import Selection, whole_number
from server.parameters import Page
from server.serving import Snapshot, base, language
from twin.store.interface import LayerInfo

PAGING = ("cursor", "offset", "next")


def respond(form: Form, request: Request, city: Snapshot, info: LayerInfo, asked: Page) -> Response:
    """The selection in a format, or 304. HEAD makes nothing but the headers."""
    limit = asked.limit if form.is_page else whole_number(request.query_params.get("limit"))
    if form.in_city_crs and "crs" not in request.query_params:
        asked = replace(asked, crs=crs.name(city.city.config.crs))
    address = f"{base(request)}/collections/{info.id}"
    tag = answer.etag(info.version, form.name, request.url.query, address, language(request))
    more = {"Content-Crs": f"<{crs.uri(asked.crs)}>", "Content-Disposition": disposition(info.id, form.suffix)}
    headers = answer.headers_for(tag, more)
    if answer.is_fresh(request, tag):
        return answer.not_modified(headers)
    selection = Selection(city, info, asked, limit)
    headers["OGC-NumberMatched"] = str(selection.matched)
    headers["Link"] = ", ".join(_links(form, request, selection, address))
    if request.method == "HEAD":
        bare = Response(headers=headers, media_type=form.media_type)
        del bare.headers["content-length"]
        return bare
    chunks = form.write(selection)
    first = next(chunks, b"")  # what is wrong with the first features is told as a problem
    return StreamingResponse(_stream(first, chunks), headers=headers, media_type=form.media_type)


async def _stream(first: bytes, chunks: Generator[bytes]) -> AsyncIterator[bytes]:
    try:
        async for chunk in iterate_in_threadpool(chain([first], chunks)):
            if chunk:
                yield chunk
    finally:
        chunks.close()  # a reader that goes away leaves no open transaction and no file


def disposition(layer_id: str, suffix: str) -> str:
    """Content-Disposition (RFC 6266); names beyond ASCII as RFC 8187 has them."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in layer_id) or "items"
    named = f'attachment; filename="{plain}.{suffix}"'
    return named if plain == layer_id else f"{named}; filename*=UTF-8''{quote(layer_id, safe='')}.{suffix}"


def _links(form: Form, request: Request, selection: Selection, address: str) -> list[str]:
    """Link header (RFC 8288): self, collection and, where there is more, next."""
    given = [(name, value) for name, value in request.query_params.multi_items() if name != "f"]
    own = urlencode([*given, ("f", form.name)])
    links = [
        f'<{address}/items?{own}>; rel="self"; type="{form.media_type}"',
        f'<{address}>; rel="collection"; type="{answer.JSON}"',
    ]
    last = _last_row(selection)
    if last is not None:
        onward = [(name, value) for name, value in given if name not in PAGING]
        following = urlencode([*onward, *last, ("f", form.name)])
        links.append(f'<{address}/items?{following}>; rel="next"; type="{form.media_type}"')
    return links


def _last_row(selection: Selection) -> list[tuple[str, str]] | None:
    """Parameters of the next page; None where this one holds the rest.

    The row after which it begins is looked up without geometry and attributes.
    """
    asked, limit = selection.asked, selection.limit
    if limit is None or selection.matched <= limit:
        return None
    query = replace(
        asked.query, after_fid=asked.after_fid, offset=asked.offset + limit - 1, limit=2,
        with_geometry=False, properties=(),
    )  # fmt: skip
    store = selection.city.city.store
    rows = [
        int(fid)
        for batch in store.query(selection.info.id, query, selection.city.settings.scope)
        for fid in batch.fids.tolist()
    ]
    return [("cursor", str(rows[0]))] if len(rows) == 2 else None
