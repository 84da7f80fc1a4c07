"""Pages of `/items`: links from one to the next."""

from urllib.parse import urlencode

from starlette.requests import Request

from server import answer
from server.serving import base, language
from twin.store.interface import LayerInfo


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
