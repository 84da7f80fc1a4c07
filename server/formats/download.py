"""A format as an answer: headers first, then the file as it is made."""

from collections.abc import AsyncIterator, Generator
from dataclasses import replace
from itertools import chain
from urllib.parse import quote, urlencode

from starlette.concurrency import iterate_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from layers import crs
from server import answer, paging
from server.face import Link
from server.formats.form import Form
from server.formats.selection import Selection, whole_number
from server.parameters import Page
from server.serving import Snapshot, base, language
from twin.store.interface import LayerInfo

PAGING = ("offset", "next")


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
    selection = Selection(city, info, asked, limit, address)
    selection.links.extend(_links(form, request, selection))
    headers["OGC-NumberMatched"] = str(selection.matched)
    headers["Link"] = ", ".join('<{href}>; rel="{rel}"; type="{type}"'.format(**each) for each in selection.links)
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


def _links(form: Form, request: Request, selection: Selection) -> list[Link]:
    """Self, collection and, where there is more, next; for the Link header (RFC 8288) and for documents."""
    given = [(name, value) for name, value in request.query_params.multi_items() if name != "f"]
    title = getattr(selection.info.type.title, language(request))

    def items(rel: str, query: list[tuple[str, str]]) -> Link:
        href = f"{selection.address}/items?{urlencode([*query, ('f', form.name)])}"
        return {"rel": rel, "type": form.media_type, "title": title, "href": href}

    links = [items("self", given)]
    links.append({"rel": "collection", "type": answer.JSON, "title": title, "href": selection.address})
    following = _following(selection)
    if following:
        links.append(items("next", [*(each for each in given if each[0] not in paging.PLACE), *following]))
    return links


def _following(selection: Selection) -> list[tuple[str, str]] | None:
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
    return [("next", paging.after(selection.city, selection.info, asked.query, rows[0]))] if len(rows) == 2 else None
