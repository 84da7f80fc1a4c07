"""`/items` and `/items/{fid}` as pages for people: a table, a map of the same features, filters, downloads."""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

import orjson
from starlette.requests import Request
from starlette.responses import Response

from layers import catalogue
from layers.catalogue import Attribute, LayerType
from server import document_pages, geojson, item_history, openapi, page_maps, pages
from server.paging import after, page_links
from server.parameters import Page
from server.providers import OWN_FIELDS
from server.serving import Snapshot, base, language
from twin.store.interface import Features, LayerInfo

HTML_LIMIT = 100
MAX_HTML_LIMIT = 500
"""Rows of a page: without `limit`, and at most."""
PAGING = ("limit", "offset", "next", "f")
OWN_TITLES = {
    "version": ("版本", "Version"), "valid_from": ("生效时间", "Valid from"), "valid_to": ("失效时间", "Valid to"),
    "extra": ("其他属性", "Other attributes"),
}  # fmt: skip
FEATURES = ("要素", "Features")
SORT = "sortby"


def items_page(request: Request, city: Snapshot, info: LayerInfo, asked: Page) -> Response:
    """A page of features as a table."""
    limit = min(asked.limit, MAX_HTML_LIMIT if "limit" in request.query_params else HTML_LIMIT)
    shown = replace(asked.query, after_fid=asked.after_fid, offset=asked.offset, limit=limit, with_geometry=False)
    rows: list[dict[str, Any]] = []
    last_fid = 0
    for batch in city.city.store.query(info.id, shown, city.settings.scope):
        rows += _plain(batch)
        last_fid = int(batch.fids[-1])
    matched = city.city.store.count(info.id, asked.query, city.settings.scope)
    code = language(request)
    title = getattr(info.type.title, code)
    links = page_links(request, info, after(city, info, asked.query, last_fid) if len(rows) == limit else None)
    document = {
        "features": rows,
        "numberMatched": matched,
        "links": links,
    }
    columns, empty = _columns(request, info, rows, code)
    has_map = info.type.geometry != "none" and bool(rows)
    return pages.render(
        request, city, "items.html", f"{title} · {document_pages.of(code, FEATURES)}", document,
        heading=title, here_title=document_pages.of(code, FEATURES),
        crumbs=document_pages.layer_crumbs(city, info.id, code), layer=info.id, columns=columns, empty=empty,
        id_sort=_Sort.of(request, "id"), limit=limit, next=_next(links, limit), given=_given(request),
        hidden=_hidden(request), has_map=has_map, map=_map(request, city, info, limit) if has_map else None,
        downloads=_downloads(request, city, info), is_part="offset" in request.query_params or _continues(request),
        first="?" + urlencode(_kept(request, drop=("next", "offset"))), can_search=_known("q"),
        selected=[name for name in ("bbox", "ids", *(each.name for each in info.type.attributes)) if name in
                  request.query_params],
    )  # fmt: skip


def downloads(city: Snapshot, info: LayerInfo) -> dict[str, str]:
    """Formats in which a layer's features can be had as files: name -> media type."""
    from server import formats

    return {name: kind for name, kind in formats.offered(city, info).items() if name != "html"}


def _known(name: str) -> bool:
    return name in openapi.ITEMS_PARAMETERS


def _continues(request: Request) -> bool:
    return "next" in request.query_params


def _plain(batch: Features) -> list[dict[str, Any]]:
    return [
        {"id": feature_id, "properties": _readable(row)}
        for feature_id, row in zip(batch.ids, geojson.properties(batch), strict=True)
    ]


def _readable(row: dict[str, Any]) -> dict[str, Any]:
    """What the schema does not know is kept as JSON text; here it is read."""
    if isinstance(row.get("extra"), orjson.Fragment):
        row["extra"] = orjson.loads(orjson.dumps(row["extra"]))
    return row


@dataclass(frozen=True)
class _Sort:
    """Where a click on a column's heading leads: ascending, descending, as stored."""

    href: str | None
    state: str

    @classmethod
    def of(cls, request: Request, name: str) -> "_Sort":
        if not _known(SORT):
            return cls(None, "none")
        now = request.query_params.get(SORT, "")
        state = {name: "ascending", f"+{name}": "ascending", f"-{name}": "descending"}.get(now, "none")
        following = {"none": [(SORT, name)], "ascending": [(SORT, f"-{name}")], "descending": []}[state]
        kept = _kept(request, drop=(SORT, "next", "offset"))
        return cls("?" + urlencode([*kept, *following]), state)


@dataclass(frozen=True)
class _Column:
    name: str
    title: str
    unit: str | None
    is_number: bool
    codes: dict[str, str]
    sort: _Sort


def _columns(
    request: Request, info: LayerInfo, rows: list[dict[str, Any]], code: str
) -> tuple[list[_Column], list[str]]:
    """Columns with something in them on this page, and the titles of the others."""
    filled, empty = [], []
    for each in in_reading_order(info.type):
        if any(row["properties"].get(each.name) not in {None, ""} for row in rows):
            filled.append(_column(request, each, code))
        else:
            empty.append(getattr(each.title, code))
    return filled, empty


def without_empty(request: Request) -> str | None:
    """The address of a form that left fields empty, without these; None where there are none. A browser sends all."""
    given = request.query_params.multi_items()
    kept = [(name, value) for name, value in given if value]
    if len(kept) == len(given):
        return None
    return f"{base(request)}{request.url.path}?{urlencode(kept)}"


@lru_cache(maxsize=1)
def _of_every_layer() -> frozenset[str]:
    """Attributes that all layers have: sources, rights, levels."""
    return frozenset.intersection(*(frozenset(a.name for a in each.attributes) for each in catalogue.load().values()))


def in_reading_order(layer_type: LayerType) -> list[Attribute]:
    """Attributes of a layer: its name, what it alone has, then what every layer has."""
    common = _of_every_layer() - {"name"}
    return sorted(layer_type.attributes, key=lambda each: (each.name != "name", each.name in common))


def _column(request: Request, attribute: Attribute, code: str) -> _Column:
    codes = {key: getattr(title, code) for key, title in attribute.codes.items()}
    numeric = attribute.type in {"integer", "number"} and not codes
    return _Column(
        attribute.name, getattr(attribute.title, code), attribute.unit, numeric, codes,
        _Sort.of(request, attribute.name),
    )  # fmt: skip


def _kept(request: Request, drop: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in request.query_params.multi_items() if name not in drop]


def _given(request: Request) -> dict[str, str]:
    return {name: request.query_params.get(name, "") for name in ("q", "filter", "datetime", "bbox")}


def _hidden(request: Request) -> list[tuple[str, str]]:
    """What the form must carry along: everything that it has no field for."""
    return _kept(request, drop=("q", "filter", "datetime", "bbox", "limit", "offset", "next"))


def _next(links: list[dict[str, str]], limit: int) -> str | None:
    """The next page in HTML, as long as this one."""
    href = next((link["href"] for link in links if link["rel"] == "next"), None)
    if href is None:
        return None
    return href if "limit=" in href else f"{href}&limit={limit}"


def _downloads(request: Request, city: Snapshot, info: LayerInfo) -> dict[str, str]:
    """Format -> address of the current selection in it, from its start; GeoJSON as long as a page may be."""
    kept = _kept(request, drop=(*PAGING, "lang"))
    limit = [("limit", str(city.settings.max_limit))]
    names = downloads(city, info)
    return {name: "?" + urlencode([*kept, *(limit if name == "json" else []), ("f", name)]) for name in names}


def _map(request: Request, city: Snapshot, info: LayerInfo, limit: int) -> dict[str, Any]:
    """The features of this very page on the map."""
    address, code = base(request), language(request)
    path = f"{address}/collections/{pages.segment(info.id)}/items"
    kept = _kept(request, drop=("f", "lang", "limit", "crs", "skipGeometry"))
    return page_maps.config(
        city, address, code, info.id,
        geojson=f"{path}?{urlencode([*kept, ('limit', str(limit)), ('f', 'json')])}",
        item=f"{path}/ID" + (f"?lang={code}" if "lang" in request.query_params else ""),
        titles=[(each.name, getattr(each.title, code)) for each in info.type.attributes],
    )  # fmt: skip


def item_page(request: Request, city: Snapshot, info: LayerInfo, feature: dict[str, Any]) -> Response:
    """One feature (GeoJSON, with links)."""
    code, address = language(request), base(request)
    attributes = {each.name: each for each in in_reading_order(info.type)}
    values = feature["properties"]
    ordered = {name: values[name] for name in attributes if name in values}
    feature = feature | {"properties": ordered | {name: each for name, each in values.items() if name not in ordered}}
    path = f"/collections/{pages.segment(info.id)}/items"
    own = f"{address}{path}/{pages.segment(feature['id'])}"
    has_map = bool(feature.get("geometry"))
    moment = [("datetime", request.query_params["datetime"])] if "datetime" in request.query_params else []
    past = item_history.of(city, info, feature["id"], values.get("version") or 1, values.get("valid_from") or "")
    shown = page_maps.config(city, address, code, info.id, geojson=f"{own}?{urlencode([*moment, ('f', 'json')])}",
                             item=f"{address}{path}/ID")  # fmt: skip
    return pages.render(
        request, city, "item.html", str(feature["id"]), feature,
        crumbs=[*document_pages.layer_crumbs(city, info.id, code), (document_pages.of(code, FEATURES), path)],
        layer=info, attributes=attributes, own_titles={k: document_pages.of(code, v) for k, v in OWN_TITLES.items()},
        own_fields=(*OWN_FIELDS, "extra"), past=past, own=own.removeprefix(address),
        has_map=has_map, map=shown if has_map else None,
        viewer=f"{address}/viewer/?{urlencode({'lang': code, 'feature': f'{info.id}/{feature["id"]}'})}",
    )  # fmt: skip
