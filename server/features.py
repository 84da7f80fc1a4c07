"""`/collections/{id}/items` and `/items/{fid}`: thin routes in front of pygeoapi, at the same addresses.

A page is written in chunks, each read by one query that starts after the last feature of the one before, so that the
memory of a page does not grow with its length. The `next` link carries the store's row number as a cursor: a page
deep in a million features costs the same as the first.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, cast
from urllib.parse import quote

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from layers import crs
from layers.errors import NotFound
from server import answer, feature_tags, geojson, items_html, parameters
from server.negotiation import chosen, wants_html
from server.paging import page_links
from server.parameters import Page
from server.serving import Snapshot, base, language, snapshot
from twin.store.interface import LayerInfo, Query

CHUNK = 2500


def _formats() -> tuple[dict[str, str], Any]:
    """Formats of a page by name, and the module that makes all but json and html."""
    try:
        found = import_module("server.formats")
    except ModuleNotFoundError:
        return {"json": answer.GEOJSON, "html": "text/html"}, None
    return found.FORMATS, found


def items(request: Request) -> Response:
    """A page of features."""
    city = snapshot(request)
    info = city.vector(request.path_params["layer"])
    offered, formats = _formats()
    form = chosen(request, offered)
    if form == "html" and (tidy := items_html.without_empty(request)):
        return RedirectResponse(tidy, 303)
    asked = parameters.page(request.query_params, info.type, city)
    if form == "html":
        return items_html.items_page(request, city, info, asked)
    if form != "json":
        return cast(Response, formats.respond(form, request, city, info, asked))
    tag = answer.etag(info.version, request.url.query, base(request), language(request))
    headers = answer.headers_for(tag, {"Content-Crs": f"<{crs.uri(asked.crs)}>"})
    if answer.is_fresh(request, tag):
        return answer.not_modified(headers)
    matched = city.city.store.count(info.id, asked.query, city.settings.scope)
    pages = _Pages(request, city, info, asked, matched)
    first = pages.read(asked.after_fid, asked.offset, min(CHUNK, asked.limit))
    headers["OGC-NumberMatched"] = str(matched)
    return StreamingResponse(pages.stream(first), headers=headers, media_type=answer.GEOJSON)


@dataclass
class _Chunk:
    features: list[bytes]
    last_fid: int


@dataclass
class _Pages:
    request: Request
    city: Snapshot
    info: LayerInfo
    asked: Page
    matched: int

    def read(self, after_fid: int, offset: int, limit: int) -> _Chunk:
        """Up to `limit` encoded features after a row number."""
        return _Chunk(*self._encode(after_fid, offset, limit))

    def _encode(self, after_fid: int, offset: int, limit: int) -> tuple[list[bytes], int]:
        query = replace(self.asked.query, after_fid=after_fid, offset=offset, limit=limit)
        encoded: list[bytes] = []
        for batch in self.city.city.store.query(self.info.id, query, self.city.settings.scope):
            encoded += geojson.encode(batch, self.city.city.config.crs, self.asked.crs)
            after_fid = int(batch.fids[-1])
        return encoded, after_fid

    async def stream(self, chunk: _Chunk) -> AsyncIterator[bytes]:
        """The FeatureCollection; what is only known at the end stands at the end."""
        head = {"type": "FeatureCollection", "numberMatched": self.matched, "timeStamp": geojson.now()}
        yield orjson.dumps(head)[:-1] + b',"features":['
        returned, asked_of_chunk = 0, min(CHUNK, self.asked.limit)
        while chunk.features:
            yield (b"," if returned else b"") + b",".join(chunk.features)
            returned += len(chunk.features)
            if len(chunk.features) < asked_of_chunk or returned >= self.asked.limit:
                break
            asked_of_chunk = min(CHUNK, self.asked.limit - returned)
            chunk = await run_in_threadpool(self.read, chunk.last_fid, 0, asked_of_chunk)
        more = returned >= self.asked.limit and await run_in_threadpool(self._has_more, chunk.last_fid)
        links = page_links(self.request, self.info, chunk.last_fid if more else None)
        yield b'],"numberReturned":%d,"links":%s}' % (returned, orjson.dumps(links))

    def _has_more(self, last_fid: int) -> bool:
        query = replace(self.asked.query, after_fid=last_fid, limit=1, with_geometry=False, properties=())
        return any(len(batch) for batch in self.city.city.store.query(self.info.id, query, self.city.settings.scope))


def item(request: Request) -> Response:
    """One feature by its public id."""
    city = snapshot(request)
    info = city.vector(request.path_params["layer"])
    html = wants_html(request)
    target, at = parameters.single(request.query_params, city)
    feature_id = request.path_params["feature"]
    query = Query(ids=(feature_id,), at=at, limit=1)
    found = list(city.city.store.query(info.id, query, city.settings.scope))
    if not found:
        raise NotFound(f"{info.id} has no feature {feature_id[:80]!r}.", f"See /collections/{info.id}/items.")
    # of this feature alone, so that an edit can name it (If-Match)
    now = feature_tags.state(info.id, found[0])
    tag = feature_tags.of_answer(request, now, request.url.query, base(request), language(request), html)
    changed = {"Last-Modified": feature_tags.last_modified(found[0].valid_from[0])}
    headers = answer.headers_for(tag, {"Content-Crs": f"<{crs.uri(target)}>"} | changed)
    if answer.is_fresh(request, tag):
        return answer.not_modified(headers)
    encoded = geojson.encode(found[0], city.city.config.crs, target)[0]
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
