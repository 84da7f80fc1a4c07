"""`/collections/{id}/items` and `/items/{fid}`: thin routes in front of pygeoapi, at the same addresses.

A page is written in chunks, each read by one query that starts after the last feature of the one before, so that the
memory of a page does not grow with its length. The `next` link carries the store's row number as a cursor: a page
deep in a million features costs the same as the first.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlencode

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from layers import crs
from layers.errors import NotFound
from server import answer, geojson, parameters
from server.negotiation import wants_html
from server.ogc import BASE, Documents
from server.parameters import Page
from server.serving import Snapshot, base, language, snapshot
from twin.store.interface import Features, LayerInfo, Query

CHUNK = 2500
HTML_LIMIT = 100


def items(request: Request) -> Response:
    """A page of features."""
    city = snapshot(request)
    info = city.vector(request.path_params["layer"])
    html = wants_html(request)
    asked = parameters.page(request.query_params, info.type, city)
    if html:
        return _items_html(request, city, info, asked)
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


def page_links(request: Request, info: LayerInfo, next_cursor: int | None) -> list[dict[str, str]]:
    """self, alternate, collection and, where there is more, next."""
    url = f"{base(request)}/collections/{info.id}"
    title = getattr(info.type.title, language(request))
    given = [(name, value) for name, value in request.query_params.multi_items() if name != "f"]
    onward = [(name, value) for name, value in given if name not in {"cursor", "offset"}]
    suffix = "?" + urlencode(given) if given else ""
    links = [
        {"rel": "self", "type": answer.GEOJSON, "title": title, "href": f"{url}/items{suffix}"},
        {
            "rel": "alternate",
            "type": "text/html",
            "title": title,
            "href": f"{url}/items?{urlencode([*given, ('f', 'html')])}",
        },
        {"rel": "collection", "type": answer.JSON, "title": title, "href": url},
    ]
    if next_cursor is not None:
        following = urlencode([*onward, ("cursor", str(next_cursor))])
        links.append({"rel": "next", "type": answer.GEOJSON, "title": title, "href": f"{url}/items?{following}"})
    return links


def item(request: Request) -> Response:
    """One feature by its public id."""
    city = snapshot(request)
    info = city.vector(request.path_params["layer"])
    html = wants_html(request)
    target, at = parameters.single(request.query_params, city)
    tag = answer.etag(info.version, request.url.path, request.url.query, base(request), language(request), html)
    headers = answer.headers_for(tag, {"Content-Crs": f"<{crs.uri(target)}>"})
    if answer.is_fresh(request, tag):
        return answer.not_modified(headers)
    feature_id = request.path_params["feature"]
    query = Query(ids=(feature_id,), at=at, limit=1)
    found = list(city.city.store.query(info.id, query, city.settings.scope))
    if not found:
        raise NotFound(f"{info.id} has no feature {feature_id[:80]!r}.", f"See /collections/{info.id}/items.")
    encoded = geojson.encode(found[0], city.city.config.crs, target)[0]
    url = f"{base(request)}/collections/{info.id}"
    links = _item_links(request, info, url, feature_id)
    if html:
        return _item_html(request, city, info, orjson.loads(encoded) | {"links": links})
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


def _items_html(request: Request, city: Snapshot, info: LayerInfo, asked: Page) -> Response:
    limit = min(asked.limit, HTML_LIMIT)
    shown = replace(asked.query, after_fid=asked.after_fid, offset=asked.offset, limit=limit, with_geometry=False)
    rows: list[dict[str, Any]] = []
    last_fid = 0
    for batch in city.city.store.query(info.id, shown, city.settings.scope):
        rows += _plain(batch)
        last_fid = int(batch.fids[-1])
    matched = city.city.store.count(info.id, asked.query, city.settings.scope)
    data = {
        "title": getattr(info.type.title, language(request)),
        "layer": info.id,
        "features": rows,
        "numberMatched": matched,
        "links": page_links(request, info, last_fid if len(rows) == limit else None),
        "columns": _columns(info, language(request)),
    }
    return _html(request, city, "collections/items/index.html", data)


def _plain(batch: Features) -> list[dict[str, Any]]:
    return [
        {"id": feature_id, "properties": row}
        for feature_id, row in zip(batch.ids, geojson.properties(batch), strict=True)
    ]


def _columns(info: LayerInfo, code: str) -> list[tuple[str, str]]:
    return [(each.name, getattr(each.title, code)) for each in info.type.attributes]


def _item_html(request: Request, city: Snapshot, info: LayerInfo, feature: dict[str, Any]) -> Response:
    code = language(request)
    titles = {each.name: getattr(each.title, code) for each in info.type.attributes}
    data = feature | {
        "title": feature["id"],
        "layer": info.id,
        "titles": titles,
        "layer_title": getattr(info.type.title, code),
    }
    return _html(request, city, "collections/items/item.html", data)


def _html(request: Request, city: Snapshot, template: str, data: dict[str, Any]) -> Response:
    documents = city.make("documents", lambda: Documents(city))
    body, kind = documents.render(template, data, language(request))
    return Response(
        body.replace(BASE.encode(), base(request).encode()), headers={"Vary": answer.VARY, "Content-Type": kind}
    )


def routes() -> list[Route]:
    """Items of every feature layer."""
    return [
        Route("/collections/{layer}/items", items, methods=["GET"]),
        Route("/collections/{layer}/items/{feature:path}", item, methods=["GET"]),
    ]
