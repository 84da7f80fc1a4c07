"""`/collections/{id}/items` and `/items/{fid}`: thin routes in front of pygeoapi, at the same addresses.

What a page holds is decided first, as row numbers, so that everything about it is known in front; then rows become
text in bulk. A page whose text is large is streamed in chunks, so that its memory is bounded. How pages follow one
another is told in `server.paging`.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from urllib.parse import quote

import numpy as np
import orjson
from numpy.typing import NDArray
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from layers import crs
from layers.errors import NotFound
from server import (
    answer,
    counting,
    feature_tags,
    formats,
    geojson,
    geojson_few,
    geojson_text,
    items_html,
    packing,
    paging,
    parameters,
    vertical,
)
from server.negotiation import chosen
from server.parameters import Page
from server.serving import Snapshot, base, language, snapshot
from twin.store import patience, read_raw
from twin.store.interface import LayerInfo, Query
from twin.store.query_plan import Plan
from twin.store.read_few import Few
from twin.store.read_raw import RawReader

CHUNK, CHUNK_BYTES = 2500, 8_000_000
"""Features, and bytes of their stored geometries, that become text at once."""
WHOLE_BYTES = 12_000_000
"""A page whose text is larger is streamed."""
ONE = {"json": answer.GEOJSON, "html": "text/html"}
"""Formats of one feature."""


def items(request: Request) -> Response:
    """A page of features."""
    city = snapshot(request)
    info = city.vector(request.path_params["layer"])
    form = chosen(request, formats.FORMATS)
    if form == "html" and (tidy := items_html.without_empty(request)):
        return RedirectResponse(tidy, 303)
    asked = parameters.page(request.query_params, info.type, city)
    if form == "html":
        with patience.within(city.settings.max_search_s):
            return items_html.items_page(request, city, info, asked)
    if form != "json":
        return formats.respond(form, request, city, info, asked)
    packed_as = packing.accepted(request)
    tag = answer.etag(info.version, request.url.query, base(request), language(request))
    headers = answer.headers_for(tag, {"Content-Crs": f"<{crs.uri(asked.crs)}>"})
    if answer.is_fresh(request, tag):
        return answer.not_modified(headers)
    rest: list[NDArray[np.int64]] = []
    with patience.within(city.settings.max_search_s), read_raw.reading(city.city.store) as reader:
        plan = reader.plan(reader.layer(info.id, city.settings.scope), _query(asked), city.settings.scope)
        text = _Text(city, asked, plan)
        page, begun = _few(request, info, asked, (reader, text))
        if page is None:
            page, fids = _selected(request, city, info, asked, (reader, plan))
            begun, rest = text.begin(reader, fids)
    headers |= page.headers()
    if rest:
        return StreamingResponse(_streamed(page, begun, text, rest), headers=headers, media_type=answer.GEOJSON)
    body = page.head() + begun + TAIL
    if packed_as is not None and len(body) >= packing.MIN_BYTES:
        body = packing.packed(body, packed_as, quick=True)  # the middleware would do it in the event loop
        headers["Content-Encoding"] = packed_as
    return Response(body, headers=headers, media_type=answer.GEOJSON)


def _query(asked: Page) -> Query:
    return replace(asked.query, after_fid=asked.after_fid) if asked.after_fid else asked.query


@dataclass(frozen=True)
class _Told:
    """What is told about a page in front of it."""

    returned: int
    matched: int
    links: list[dict[str, str]]

    def headers(self) -> dict[str, str]:
        """The same as headers, for formats and clients that read them there."""
        numbers = {"OGC-NumberMatched": str(self.matched), "OGC-NumberReturned": str(self.returned)}
        return numbers | {"Link": paging.header(self.links)}

    def head(self) -> bytes:
        """The FeatureCollection up to its first feature."""
        told = {
            "type": "FeatureCollection",
            "numberMatched": self.matched,
            "numberReturned": self.returned,
            "timeStamp": geojson.now(),
            "links": self.links,
        }
        return orjson.dumps(told)[:-1] + b',"features":['


TAIL = b"]}"


def _few(
    request: Request, info: LayerInfo, asked: Page, reading: tuple[RawReader, "_Text"]
) -> tuple[_Told | None, bytes]:
    """A page out of a small region; None where it is not one."""
    reader, text = reading
    found = None if asked.offset else reader.few(text.plan)
    if found is None:
        return None, b""
    rows = Few(found.rows[: asked.limit], found.shapes[: asked.limit])
    encoded = text.encode_few(rows)
    if encoded is None:
        return None, b""
    following = None
    if len(found.rows) > asked.limit:
        following = paging.token(info.id, (), geojson_few.position(found, asked.limit - 1))
    return _Told(len(rows.rows), len(found.rows), paging.page_links(request, info, following)), encoded


def _selected(
    request: Request, city: Snapshot, info: LayerInfo, asked: Page, reading: tuple[RawReader, Plan]
) -> tuple[_Told, NDArray[np.int64]]:
    """What is told, and row numbers; one row more than asked for tells whether there is more."""
    reader, plan = reading
    found = reader.page(plan, asked.limit + 1, asked.offset)
    fids = found[: asked.limit]
    following = None
    if len(found) > len(fids):
        following = paging.token(info.id, asked.query.sort, reader.position(plan, int(fids[-1])))
    is_whole = following is None and not asked.offset and not asked.after_fid and asked.query.after is None
    matched = len(fids) if is_whole else counting.matched(city, info, asked.query, lambda: reader.count(plan))
    return _Told(len(fids), matched, paging.page_links(request, info, following)), fids


class _Text:
    """The features of a page as text, chunk by chunk."""

    def __init__(self, city: Snapshot, asked: Page, plan: Plan) -> None:
        self.plan = plan
        self._store = city.city.store
        self._target = city.city.config.crs, asked.crs, vertical.anomaly(city.city, asked.crs)

    def begin(self, reader: RawReader, fids: NDArray[np.int64]) -> tuple[bytes, list[NDArray[np.int64]]]:
        """Text of the first chunks up to WHOLE_BYTES, and the chunks that are left."""
        chunks = reader.parts(self.plan, fids, CHUNK, CHUNK_BYTES)
        made: list[bytes] = []
        for at, chunk in enumerate(chunks):
            made.append(self.encode(reader, chunk))
            if sum(map(len, made)) > WHOLE_BYTES:
                return b",".join(made), chunks[at + 1 :]
        return b",".join(made), []

    def encode(self, reader: RawReader, fids: NDArray[np.int64]) -> bytes:
        """One chunk."""
        return geojson_text.encode(reader.items(self.plan, fids), *self._target)

    def encode_few(self, few: Few) -> bytes | None:
        """A few rows that are already read."""
        return geojson_few.encode(few, self.plan, *self._target)

    def read(self, fids: NDArray[np.int64]) -> bytes:
        """One chunk, read by itself: a slow reader holds no transaction open."""
        with read_raw.reading(self._store) as reader:
            return self.encode(reader, fids)


async def _streamed(page: _Told, begun: bytes, text: _Text, rest: list[NDArray[np.int64]]) -> AsyncIterator[bytes]:
    yield page.head() + begun
    for fids in rest:
        yield b"," + await run_in_threadpool(text.read, fids)
    yield TAIL


def item(request: Request) -> Response:
    """One feature by its public id."""
    city = snapshot(request)
    info = city.vector(request.path_params["layer"])
    html = chosen(request, ONE) == "html"
    target, at = parameters.single(request.query_params, city)
    feature_id = request.path_params["feature"]
    query = Query(ids=(feature_id,), at=at, limit=1)
    found = list(city.city.store.query(info.id, query, city.settings.scope))
    if not found:
        raise NotFound(f"{info.id} has no feature {feature_id[:80]!r}.", f"See /collections/{info.id}/items.")
    # of this feature alone, so that an edit can name the state it was made on (If-Match)
    now = feature_tags.state(info.id, found[0])
    tag = feature_tags.of_answer(request, now, request.url.query, base(request), language(request), html)
    changed = {"Last-Modified": feature_tags.last_modified(found[0].valid_from[0])}
    headers = answer.headers_for(tag, {"Content-Crs": f"<{crs.uri(target)}>"} | changed)
    if answer.is_fresh(request, tag):
        return answer.not_modified(headers)
    encoded = geojson.encode(found[0], city.city.config.crs, target, vertical.anomaly(city.city, target))[0]
    url = f"{base(request)}/collections/{info.id}"
    links = _item_links(request, info, url, feature_id)
    if html:
        return items_html.item_page(request, city, info, orjson.loads(encoded) | {"links": links})
    return Response(
        encoded[:-1] + b',"links":' + orjson.dumps(links) + b"}", headers=headers, media_type=answer.GEOJSON
    )


def _item_links(request: Request, info: LayerInfo, url: str, feature_id: str) -> list[dict[str, str]]:
    title = getattr(info.type.title, language(request))
    own = f"{url}/items/{quote(feature_id, safe='')}"
    return [
        {"rel": "self", "type": answer.GEOJSON, "title": feature_id, "href": own},
        {"rel": "alternate", "type": "text/html", "title": feature_id, "href": f"{own}?f=html"},
        {"rel": "collection", "type": answer.JSON, "title": title, "href": url},
    ]


def routes() -> list[Route]:
    """Items of every feature layer."""
    return [
        Route("/collections/{layer}/items", items, methods=["GET"]),
        Route("/collections/{layer}/items/{feature:path}", item, methods=["GET"]),
    ]
