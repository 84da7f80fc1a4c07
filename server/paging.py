"""Pages of `/items`: the order (`sortby`, OGC API Features part 8), and links from one page to the next.

A `next` token holds the sort values and the row number of the last feature of a page, so that going on costs the same
wherever one is. It is opaque: base64url of JSON with a version, a digest of the layer and the order that it belongs to,
and a check sum. It needs no memory in the server: any worker process reads what another wrote.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any
from urllib.parse import urlencode

import orjson
from starlette.requests import Request

from layers.catalogue import LayerType
from layers.errors import InvalidInput
from server import answer
from server.serving import Snapshot, base, language
from twin.store.interface import LayerInfo, Query
from twin.store.ordering import MAX_KEYS

VERSION = 1
MAX_TOKEN = 4000
_CHECK_BYTES = 6
PLACE = ("next", "offset")
"""Parameters that say where a page begins; the link to the next one has them anew."""

Sort = tuple[tuple[str, bool], ...]
Position = tuple[Any, ...]


def sorting(given: Mapping[str, str], layer_type: LayerType) -> Sort:
    """`sortby=+a,-b` as names with True for descending; InvalidInput names the parameter and what there is."""
    if "sortby" not in given:
        return ()
    parts = given["sortby"].split(",")
    found: dict[str, bool] = {}
    for part in parts[: MAX_KEYS + 1]:
        # a plus in a query string is a blank unless it is written %2B
        name = part[1:] if part[:1] in {"+", "-", " "} else part
        if name != "id" and layer_type.attribute(name) is None:
            known = ", ".join(["id", *(each.name for each in layer_type.attributes)])
            raise InvalidInput(f"sortby: {layer_type.id} has no attribute {name[:60]!r}.", f"It has {known}.")
        if name in found:
            raise InvalidInput(f"sortby: {name} is given twice.", "Give each attribute once.")
        found[name] = part[:1] == "-"
    if len(parts) > MAX_KEYS:
        raise InvalidInput(f"sortby has {len(parts)} attributes; at most {MAX_KEYS} are read.", "Drop the last ones.")
    return tuple(found.items())


def token(layer_id: str, sort: Sort, position: Position) -> str:
    """What stands in `next` to go on after a position (`Store.position`)."""
    content = orjson.dumps([VERSION, _belongs(layer_id, sort), list(position)])
    return urlsafe_b64encode(_check(content) + content).rstrip(b"=").decode()


def position(given: Mapping[str, str], layer_id: str, sort: Sort) -> Position | None:
    """The position in the `next` parameter, None without one; InvalidInput where it is none of this layer and order."""
    text = given.get("next")
    if text is None:
        return None
    if len(text) > MAX_TOKEN or not text.isascii():
        raise _no_token()
    try:
        raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        check, content = raw[:_CHECK_BYTES], raw[_CHECK_BYTES:]
        version, belongs, values = orjson.loads(content)
    except (ValueError, TypeError) as error:
        raise _no_token() from error
    if check != _check(content) or version != VERSION or not isinstance(values, list):
        raise _no_token()
    if belongs != _belongs(layer_id, sort) or len(values) != len(sort) + 1:
        raise InvalidInput("next belongs to another layer or another sortby.", "Leave next out to begin anew.")
    return tuple(values)


def _no_token() -> InvalidInput:
    return InvalidInput("next is not a token of this server.", "Take it from the next link of a page, or leave it out.")


def _belongs(layer_id: str, sort: Sort) -> str:
    return blake2b(orjson.dumps([layer_id, sort]), digest_size=6).hexdigest()


def _check(content: bytes) -> bytes:
    return blake2b(content, digest_size=_CHECK_BYTES, person=b"citytwin-next").digest()


def placed(query: Query, found: Position | None) -> tuple[Query, int]:
    """The query going on after a position, and the row number to go on after where there is no sort."""
    if found is None or query.sort:
        return Query(**{**vars(query), "after": found}), 0
    fid = found[0]
    if not isinstance(fid, int) or isinstance(fid, bool) or not 0 <= fid < 2**62:
        raise _no_token()
    return query, fid


def after(city: Snapshot, info: LayerInfo, query: Query, fid: int) -> str:
    """Token of the page that begins after a feature, given by its row number."""
    return token(info.id, query.sort, city.city.store.position(info.id, query, fid, city.settings.scope))


def page_links(request: Request, info: LayerInfo, following: str | None) -> list[dict[str, str]]:
    """self, alternate, collection and, where there is more (a token), next."""
    url = f"{base(request)}/collections/{info.id}"
    title = getattr(info.type.title, language(request))
    given = [(name, value) for name, value in request.query_params.multi_items() if name != "f"]
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
    if following is not None:
        onward = [(name, value) for name, value in given if name not in PLACE]
        href = f"{url}/items?{urlencode([*onward, ('next', following)])}"
        links.append({"rel": "next", "type": answer.GEOJSON, "title": title, "href": href})
    return links


def header(links: list[dict[str, str]]) -> str:
    """Links as a Link header (RFC 8288), without titles."""
    return ", ".join(f'<{link["href"]}>; rel="{link["rel"]}"; type="{link["type"]}"' for link in links)
