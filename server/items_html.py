"""`/items` and `/items/{fid}` as pages for people."""

from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from server import answer, geojson
from server.ogc import BASE, Documents
from server.paging import page_links
from server.parameters import Page
from server.serving import Snapshot, base, language
from twin.store.interface import Features, LayerInfo

HTML_LIMIT = 100


def items_page(request: Request, city: Snapshot, info: LayerInfo, asked: Page) -> Response:
    """A page of features as a table."""
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


def item_page(request: Request, city: Snapshot, info: LayerInfo, feature: dict[str, Any]) -> Response:
    """One feature (GeoJSON, with links)."""
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
