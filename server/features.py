"""`/collections/{id}/items` and `/items/{fid}`: thin routes in front of pygeoapi, at the same addresses.

What a page holds is decided first, as row numbers, so that everything about it is known in front; then rows become
text in bulk. A page whose text is large is streamed in chunks, so that its memory is bounded. How pages follow one
another is told in `server.paging`.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
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
from twin.store import read_raw
from twin.store.interface import LayerInfo, Query
from twin.store.query_plan import Plan
from twin.store.read_raw import RawReader

CHUNK = 2500
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
        return items_html.items_page(request, city, info, asked)
    if form != "json":
        return formats.respond(form, request, city, info, asked)
    packed_as = packing.accepted(request)
    tag = answer.etag(info.version, request.url.query, base(request), language(request))
    headers = answer.headers_for(tag, {"Content-Crs": f"<{crs.uri(asked.crs)}>"})
    if answer.is_fresh(request, tag):
        return answer.not_modified(headers)
    with read_raw.reading(city.city.store) as reader:
        plan = reader.plan(reader.layer(info.id, city.settings.scope), _query(asked), city.settings.scope)
        page = _selected(request, city, info, asked, (reader, plan))
        text = _Text(city, asked, page.fids)
        begun, rest = text.begin(reader, plan)
    headers |= {"OGC-NumberReturned": str(len(page.fids)), "Link": paging.header(page.links)}
    if page.matched is not None:
        headers["OGC-NumberMatched"] = str(page.matched)
    if rest:
        stream = _streamed(page, begun, text, rest)
        return StreamingResponse(stream, headers=headers, media_type=answer.GEOJSON)
    body = page.head() + begun + page.tail()
    if packed_as is not None and len(body) >= packing.MIN_BYTES:
        body = packing.packed(body, packed_as, quick=True)  # the middleware would do it in the event loop
        headers["Content-Encoding"] = packed_as
    return Response(body, headers=headers, media_type=answer.GEOJSON)


def _query(asked: Page) -> Query:
    return asked.query if not asked.after_fid else Query(**{**vars(asked.query), "after_fid": asked.after_fid})


@dataclass(frozen=True)
class _Selected:
    """What a page holds and what is told about it."""

    fids: NDArray[np.int64]
    matched: int | None
    links: list[dict[str, str]]

    def head(self) -> bytes:
        """The FeatureCollection up to its first feature."""
        told: dict[str, object] = {"type": "FeatureCollection"}
        told |= {} if self.matched is None else {"numberMatched": self.matched}
        told |= {"numberReturned": len(self.fids), "timeStamp": geojson.now(), "links": self.links}
        return orjson.dumps(told)[:-1] + b',"features":['

    def tail(self) -> bytes:
        """The rest of it."""
        return b"]}"


def _selected(
    request: Request, city: Snapshot, info: LayerInfo, asked: Page, reading: tuple[RawReader, Plan]
) -> _Selected:
    """Row numbers, count and links; one row more than asked for tells whether there is more."""
    reader, plan = reading
    found = reader.page(plan, asked.limit + 1, asked.offset)
    fids = found[: asked.limit]
    following = None
    if len(found) > len(fids):
        following = paging.token(info.id, asked.query.sort, reader.position(plan, int(fids[-1])))
    is_whole = following is None and not asked.offset and not asked.after_fid and asked.query.after is None
    matched = len(fids) if is_whole else counting.matched(city, info, asked.query, lambda: reader.count(plan))
    return _Selected(fids, matched, paging.page_links(request, info, following))


class _Text:
    """The features of a page as text, chunk by chunk."""

    def __init__(self, city: Snapshot, asked: Page, fids: NDArray[np.int64]) -> None:
        self._city, self._asked = city, asked
        self._chunks = [fids[start : start + CHUNK] for start in range(0, len(fids), CHUNK)]

    def begin(self, reader: RawReader, plan: Plan) -> tuple[bytes, list[NDArray[np.int64]]]:
        """Text of the first chunks up to WHOLE_BYTES, and the chunks that are left."""
        self._plan = plan
        made: list[bytes] = []
        for at, fids in enumerate(self._chunks):
            made.append(self.encode(reader, fids))
            if sum(map(len, made)) > WHOLE_BYTES:
                return b",".join(made), self._chunks[at + 1 :]
        return b",".join(made), []

    def encode(self, reader: RawReader, fids: NDArray[np.int64]) -> bytes:
        """One chunk."""
        city, target = self._city.city, self._asked.crs
        return geojson_text.encode(
            reader.items(self._plan, fids), city.config.crs, target, vertical.anomaly(city, target)
        )

    def read(self, fids: NDArray[np.int64]) -> bytes:
        """One chunk, read by itself: a slow reader holds no transaction open."""
        with read_raw.reading(self._city.city.store) as reader:
            return self.encode(reader, fids)


async def _streamed(page: _Selected, begun: bytes, text: _Text, rest: list[NDArray[np.int64]]) -> AsyncIterator[bytes]:
    yield page.head() + begun
    for fids in rest:
        yield b"," + await run_in_threadpool(text.read, fids)
    yield page.tail()


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
