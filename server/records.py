"""OGC API Records 1.0 (20-004r1): `/collections/catalogue`, the searchable list of all the city holds and does."""

import unicodedata
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import shapely
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from layers import crs
from layers.errors import InvalidInput, NotFound
from server import answer, editing, edr_request, negotiation, pages, parameters, record_list
from server.face import Face, Link, Operation, query
from server.ogc import BASE, RELATION
from server.record_list import ID, OTHER_ID, collection_id
from server.serving import Snapshot, base, language, snapshot
from tiles.coverage import epochs

KNOWN = ("f", "lang", "q", "bbox", "datetime", "type", "ids", "externalIds", "limit", "offset", "sortby")
DEFAULT_LIMIT, MAX_LIMIT = 100, 1000
SORTABLES = ("id", "title", "type", "updated")
CATALOGUE_PROFILE = "http://www.opengis.net/def/profile/OGC/0/ogc-catalog"
SCHEMA_JSON = "application/schema+json"
TITLE = ("目录", "Catalogue")
DESCRIPTION = ("全部图层、数据来源、分析与样式的元数据记录", "Records of all layers, sources, analyses and styles")
Json = dict[str, Any]
Endpoint = Callable[[Request], Response]
WRITING = ("POST", "PUT", "PATCH", "DELETE")


def _or_layer(own: Endpoint) -> Endpoint:
    """An address below `/collections/catalogue` that gives way to a layer of that name."""

    def endpoint(request: Request) -> Response:
        asked = request.url.path.split("/collections/")[-1].split("/")[0]
        if asked in {ID, OTHER_ID} and asked != collection_id(snapshot(request)):
            return _of_layer(request)
        return own(request)

    return endpoint


def _written(of_layer: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """What is sent to the catalogue is refused; what is sent to a layer of that name goes there."""

    async def endpoint(request: Request) -> Response:
        city = await run_in_threadpool(snapshot, request)
        asked = request.url.path.split("/collections/")[-1].split("/")[0]
        if asked == collection_id(city):
            raise HTTPException(405, headers={"Allow": "GET, HEAD"})
        request.scope["path_params"] = {**request.path_params, "layer": asked}
        return await of_layer(request)

    return endpoint


def _of_layer(request: Request) -> Response:
    """The answer of whoever serves this address for layers: the first route that has a place for the layer's name."""
    for route in request.app.routes:
        match, found = route.matches(request.scope)
        if match == Match.FULL and "layer" in found["path_params"]:
            request.scope.update(found)
            answered: Response = found["endpoint"](request)
            return answered
    raise NotFound(f"{request.url.path} is not served.", "See /api.")


def collection(request: Request) -> Response:
    """The catalogue itself."""
    parameters.once(request.query_params, ("f", "lang"))
    city, code = snapshot(request), language(request)
    document = _complete(document_of(city, code), request)
    return pages.either(request, city, TITLE[code == "en"], document)


def items(request: Request) -> Response:
    """Records that a search finds, a page at a time."""
    city, code = snapshot(request), language(request)
    given = parameters.once(request.query_params, KNOWN)
    html = negotiation.wants_html(request, ("json", "geojson", "html"))
    found = search(record_list.every(city, code), given)
    limit = min(parameters.whole(given, "limit", DEFAULT_LIMIT, minimum=1), MAX_LIMIT)
    start = parameters.whole(given, "offset", 0)
    page = found[start : start + limit]
    document = _complete(
        {
            "type": "FeatureCollection", "features": page, "numberMatched": len(found), "numberReturned": len(page),
            "links": _page_links(request, city, start, limit, len(found)),
        }, request,
    )  # fmt: skip
    if html:
        return pages.render(request, city, "generic.html", TITLE[code == "en"], document)
    body = answer.json_bytes(document)
    return answer.conditional(request, body, answer.GEOJSON, answer.etag(body))


def item(request: Request) -> Response:
    """One record."""
    parameters.once(request.query_params, ("f", "lang"))
    city, code, key = snapshot(request), language(request), request.path_params["record"]
    html = negotiation.wants_html(request, ("json", "geojson", "html"))
    found = next((each for each in record_list.every(city, code) if each["id"] == key), None)
    if found is None:
        raise NotFound(f"The catalogue has no record {key[:80]!r}.", "Search: /collections/catalogue/items?q=…")
    document = _complete(found, request)
    if html:
        return pages.render(request, city, "generic.html", found["properties"]["title"], document)
    body = answer.json_bytes(document)
    return answer.conditional(request, body, answer.GEOJSON, answer.etag(body))


def fields(request: Request) -> Response:
    """`queryables`, `sortables`, `schema`: JSON Schema of what can be searched and sorted by."""
    parameters.once(request.query_params, ("f", "lang"))
    city, kind = snapshot(request), request.url.path.rpartition("/")[2]
    text: Json = {"type": "string"}
    known: Json = dict.fromkeys(SORTABLES, text) | {"updated": text | {"format": "date-time"}}
    if kind != "sortables":
        known |= {
            "description": text, "keywords": {"type": "array", "items": text},
            "geometry": {"format": "geometry-any", "x-ogc-role": "primary-geometry"},
        }  # fmt: skip
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "properties": known,
        "$id": f"{base(request)}/collections/{collection_id(city)}/{kind}", "additionalProperties": False,
        "title": TITLE[language(request) == "en"],
    }  # fmt: skip
    return pages.either(request, city, str(document["title"]), document, media_type=SCHEMA_JSON)


def search(records: Sequence[Json], given: Mapping[str, str]) -> list[Json]:
    """Records for which every parameter holds, sorted. InvalidInput names what is not understood."""
    found = list(records)
    if "ids" in given:
        wanted = set(parameters.listed(given["ids"], 1000, "ids"))
        found = [each for each in found if each["id"] in wanted]
    if "type" in given:
        kinds = set(parameters.listed(given["type"], 100, "type"))
        found = [each for each in found if each["properties"]["type"] in kinds]
    if "externalIds" in given:
        named = parameters.listed(given["externalIds"], 1000, "externalIds")
        found = [each for each in found if any(_is_named(each, text) for text in named)]
    if "q" in given:
        terms = _terms(given["q"])
        found = [each for each in found if any(term in text for text in _texts(each) for term in terms)]
    if "bbox" in given:
        box = edr_request.box(given, crs.CRS84)
        found = [each for each in found if (shape := record_list.geometry(each)) and shapely.intersects(shape, box)]
    if "datetime" in given:
        found = [each for each in found if _is_then(each, given["datetime"])]
    return _sorted(found, given.get("sortby", "id"))


def _terms(text: str) -> list[str]:
    """Comma: one of them; blanks: all words one after the other."""
    terms = [_folded(part) for part in text.split(",") if part.strip()]
    if not terms or len(text) > 1000 or len(terms) > 50:
        raise InvalidInput(f"q={text[:40]!r} has no term, or too many.", "Example: q=terrain,building height")
    return terms


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _texts(record: Json) -> list[str]:
    told = record["properties"]
    texts = [told["title"], told["description"], told.get("title_en", ""), told.get("title_zh", ""), record["id"]]
    return [_folded(text) for text in (*texts, *told.get("keywords", ()))]


def _is_named(record: Json, text: str) -> bool:
    """`value`, `scheme:value` or `scheme:`."""
    for each in record["properties"].get("externalIds", ()):
        scheme, value = each.get("scheme", ""), each["value"]
        if text in {value, f"{scheme}:{value}", f"{scheme}:"}:
            return True
    return False


def _is_then(record: Json, text: str) -> bool:
    """A record that says no time is there at any time, as features are (17-069r4, 7.15.4)."""
    (start, end), _ = epochs.asked(text)
    told = record_list.moments(record)
    return told is None or ((start is None or told[1] >= start) and (end is None or told[0] < end))


def _sorted(records: list[Json], text: str) -> list[Json]:
    keys = text.split(",")
    if len(keys) > len(SORTABLES):
        raise InvalidInput(f"sortby has {len(keys)} names.", f"There are {', '.join(SORTABLES)}.")
    for key in reversed(keys):
        name = key.strip().lstrip("+-")
        if name not in SORTABLES:
            raise InvalidInput(f"sortby: records cannot be sorted by {name[:40]!r}.", f"By {', '.join(SORTABLES)}.")
        down = key.strip().startswith("-")

        def value(each: Json, name: str = name) -> str:
            return str(each["id"] if name == "id" else each["properties"].get(name) or "")

        known = sorted((each for each in records if value(each)), key=value, reverse=down)
        records = known + [each for each in records if not value(each)]
    return records


def document_of(city: Snapshot, code: str) -> Json:
    """The collection's document; addresses begin with BASE."""
    own = collection_id(city)
    url = f"{BASE}/collections/{own}"
    extent: Json = {"spatial": {"bbox": [list(city.lonlat(city.city_bounds))], "crs": crs.CRS84_URI}}
    return {
        "id": own, "type": "Collection", "itemType": "record", "title": TITLE[code == "en"],
        "description": DESCRIPTION[code == "en"],
        "conformsTo": ["http://www.opengis.net/spec/ogcapi-records-1/1.0/req/record-collection"],
        "extent": extent, "crs": [crs.CRS84_URI],
        "defaultSortOrder": [{"field": "id", "direction": "asc"}],
        "links": [
            {"rel": "self", "type": answer.JSON, "title": "This document", "href": url},
            {"rel": "alternate", "type": "text/html", "title": "This document as HTML", "href": f"{url}?f=html"},
            {"rel": "items", "type": answer.GEOJSON, "title": "Records", "href": f"{url}/items"},
            {"rel": "items", "type": "text/html", "title": "Records as HTML", "href": f"{url}/items?f=html"},
            {"rel": RELATION + "queryables", "type": SCHEMA_JSON, "title": "Queryables", "href": f"{url}/queryables"},
            {"rel": RELATION + "sortables", "type": SCHEMA_JSON, "title": "Sortables", "href": f"{url}/sortables"},
            {"rel": "root", "type": answer.JSON, "title": "Landing page", "href": f"{BASE}/"},
            {"rel": "profile", "href": CATALOGUE_PROFILE},
        ],
    }  # fmt: skip


def _page_links(request: Request, city: Snapshot, start: int, limit: int, matched: int) -> list[Link]:
    path = f"{BASE}/collections/{collection_id(city)}/items"

    def to(**more: Any) -> str:
        return f"{path}?{request.url.include_query_params(**more).query}"

    found: list[Link] = [
        {"rel": "self", "type": answer.GEOJSON, "title": "This page",
         "href": f"{path}?{request.url.query}" if request.url.query else path},
        {"rel": "alternate", "type": "text/html", "title": "This page as HTML", "href": to(f="html")},
        {"rel": "collection", "type": answer.JSON, "title": "Catalogue", "href": path.removesuffix("/items")},
        {"rel": "profile", "href": record_list.PROFILE},
    ]  # fmt: skip
    if start + limit < matched:
        found.append({"rel": "next", "type": answer.GEOJSON, "title": "Next page", "href": to(offset=start + limit)})
    if start:
        previous = max(start - limit, 0)
        found.append({"rel": "prev", "type": answer.GEOJSON, "title": "Page before", "href": to(offset=previous)})
    return found


def _complete(document: Json, request: Request) -> Json:
    """With the reader's own addresses."""
    address = base(request)

    def placed(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: placed(each) for name, each in value.items()}
        if isinstance(value, (list, tuple)):
            return [placed(each) for each in value]
        return value.replace(BASE, address) if isinstance(value, str) and BASE in value else value

    made: Json = placed(document)
    return made


def operations() -> tuple[Operation, ...]:
    """For the API document."""
    text: Json = {"type": "string"}
    names = {"type": "array", "items": text}
    search_by = (
        "lang",
        query("f", "Format.", {"type": "string", "enum": ["json", "geojson", "html"]}),
        query("q", "Words in titles, descriptions, keywords; comma: one of them, blanks: in this order.", text),
        query("bbox", "Records of something in the box (CRS84).",
              {"type": "array", "minItems": 4, "maxItems": 6, "items": {"type": "number"}}),
        query("datetime", "Records of something of that time, or of no time.", text),
        query("type", "Only records of these types.",
              {"type": "array", "items": {"type": "string", "enum": ["dataset", "source", "process", "style"]}}),
        query("ids", "Only records with these ids.", names),
        query("externalIds", "Only records of resources with these ids: value, scheme:value or scheme:.", names),
        query("limit", "Records of a page.",
              {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}),
        query("offset", "Records to leave out at the start.", {"type": "integer", "minimum": 0, "default": 0}),
        query("sortby", f"By {', '.join(SORTABLES)}; - in front: descending.", names),
    )  # fmt: skip
    root, one = f"/collections/{ID}", ("f", "lang")
    return (
        Operation("/catalogue", "The catalogue", (answer.JSON,), one, tag="Records"),
        Operation(root, "The catalogue as a collection of records", (answer.JSON,), one, tag="Records"),
        Operation(f"{root}/items", "Search records", (answer.GEOJSON,), search_by, tag="Records"),
        Operation(f"{root}/items/{{recordId}}", "One record", (answer.GEOJSON,), one, tag="Records"),
        Operation(f"{root}/queryables", "What records can be searched by", (SCHEMA_JSON,), one, tag="Records"),
        Operation(f"{root}/sortables", "What records can be sorted by", (SCHEMA_JSON,), one, tag="Records"),
    )


CLASSES = tuple(
    f"ogcapi-records-1/1.0/conf/{each}"
    for each in (
        "record-core", "record-collection", "record-core-query-parameters", "record-api", "searchable-catalog",
        "searchable-catalog-sorting", "sorting", "json", "html", "oas", "autodiscovery",
    )
)  # fmt: skip


def landing_links(_: Snapshot) -> list[Link]:
    """How a client finds the catalogue."""
    href = f"{BASE}/catalogue"
    return [{"rel": RELATION + "ogc-catalog", "type": answer.JSON, "title": "Catalogue / 目录", "href": href}]


def face() -> Face:
    """The catalogue. Its routes must stand before those of the layers."""
    own = (
        ("", collection), ("/items", items), ("/items/{record:path}", item), ("/schema", fields),
        ("/queryables", fields), ("/sortables", fields),
    )  # fmt: skip
    routes = [Route("/catalogue", collection, methods=["GET"])]
    for name in (ID, OTHER_ID):
        routes += [Route(f"/collections/{name}{path}", _or_layer(serve), methods=["GET"]) for path, serve in own]
        for path, theirs in (("", editing.items), ("/{feature:path}", editing.item)):
            routes.append(Route(f"/collections/{name}/items{path}", _written(theirs), methods=[*WRITING, "OPTIONS"]))
    return Face(
        routes, operations(), CLASSES, landing_links=landing_links,
        collections=lambda city, code: [document_of(city, code)],
    )  # fmt: skip
