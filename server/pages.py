"""HTML for people: any document of the server as a page, in Chinese or English, and the files such pages load.

For a module that serves JSON and wants a page of it, one line is enough::

    if negotiation.wants_html(request):
        return pages.render(request, city, "generic.html", title, document)

or `pages.either(request, city, title, document)`, which chooses between the two by `f` and `Accept`. `document` is the
plain JSON document (addresses complete, no placeholder); "generic.html" shows whatever it holds: addresses as links,
arrays of objects as tables. `crumbs` are (title, path) of what stands above the page. A template of one's own extends
"_base.html" and gets `data` (the document), `title`, `lang`, `root` (the server's address), `t(zh, en)`, `go(path)`
(an address that keeps the reader's choice of language), `city` (title of the city) and whatever is passed by name.

A page asks nobody else for anything: a Content-Security-Policy allows our own origin alone and no script or style
inside the page. Without scripts tables, links and forms still work; maps and sorting of small tables need them.
MapLibre GL and Swagger UI come with the viewer (`python -m server.viewer` builds it); without it pages have no map.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import jinja2
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from layers.errors import NotFound
from server import answer, negotiation, page_words, parameters
from server.face import Face
from server.serving import Snapshot, base, language
from server.viewer import DIST, MEDIA_TYPES

HTML = "text/html; charset=utf-8"
TEMPLATES = Path(__file__).parent / "templates"
ASSETS = TEMPLATES / "assets"
# data: and blob: are addresses inside the page: icons of the map and the pictures it decodes
POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; worker-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'self'"
)
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
SHOWN_ROWS = 500
"""Rows of a table of the generic page; what lies beyond is in the JSON."""
Crumbs = Sequence[tuple[str, str]]


def render(
    request: Request, city: Snapshot, template: str, title: str, document: Mapping[str, Any], **more: Any
) -> Response:
    """A page with validators; HEAD and 304 work like for every answer.

    Parameters
    ----------
    template : name below `server/templates/`
    title : in the reader's language
    document : what the page shows
    more : further names for the template; `crumbs` as in the module's docstring
    """
    code, address = language(request), base(request)
    context = {
        "data": document, "title": title, "lang": code, "root": address, "city": city.city.config.title_in(code),
        "t": lambda zh, en: zh if code == "zh" else en, "go": _go(request, address, code), "crumbs": (),
        "here": request.url.path, "switch": _switched(request, "en" if code == "zh" else "zh"), "json": _json(request),
        "asset": lambda name: f"{address}/pages/{name}?v={_digest(name)}",
        "library": lambda name: library(address, name), "shown_rows": SHOWN_ROWS,
    }  # fmt: skip
    body = _templates().get_template(template).render(context | more).encode()
    headers = {"Content-Language": code, "Content-Security-Policy": POLICY}
    return answer.conditional(request, body, HTML, answer.etag(body), headers)


def either(
    request: Request, city: Snapshot, title: str, document: Mapping[str, Any], *, media_type: str = answer.JSON,
    template: str = "generic.html", **more: Any,
) -> Response:  # fmt: skip
    """The document as JSON, or as a page where `f=html` or `Accept` ask for one."""
    if negotiation.wants_html(request):
        return render(request, city, template, title, document, **more)
    body = answer.json_bytes(document)
    return answer.conditional(request, body, media_type, answer.etag(body))


def library(address: str, name: str) -> str | None:
    """Address of the folder of a JavaScript library that the viewer's build left; None where it is not built."""
    found = _libraries().get(name)
    return f"{address}/viewer/{found}" if found else None


@lru_cache(maxsize=1)
def _built() -> dict[str, str]:
    folders = [each.name for each in DIST.iterdir() if each.is_dir()]
    return {each.rpartition("-")[0]: each for each in sorted(folders)}


def _libraries() -> dict[str, str]:
    # a server that started before the viewer was built finds it later
    return _built() if (DIST / "index.html").is_file() else {}


@lru_cache(maxsize=1)
def _templates() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    filters: dict[str, Callable[..., Any]] = {
        "value": shown, "thousands": lambda n: f"{n:,}", "kind": page_words.kind_name, "segment": segment, "flat": flat,
        "unit": page_words.unit, "link_title": page_words.link_title, "key_title": page_words.key_title,
        "verdict": page_words.verdict, "objects": page_words.objects, "note": page_words.note,
    }  # fmt: skip
    made.filters.update(filters)
    made.tests |= {"link": is_address, "table": is_table}
    return made


def is_address(value: object) -> bool:
    """Whether a value is an address to follow."""
    return isinstance(value, str) and value.startswith(("http://", "https://")) and " " not in value


def shown(value: object, at_most: int = 300) -> Markup | str:
    """A value for the eye: nothing for null, links for addresses, numbers without the noise of binary fractions."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "✓" if value else "✗"
    if isinstance(value, float):
        return f"{value:.10g}"
    if is_address(value):
        text = str(value)
        if "{" in text:
            return Markup("<code>{}</code>").format(text)
        return Markup('<a href="{}">{}</a>').format(text, text if len(text) < 90 else text[:87] + "…")
    text = str(value)
    if _INSTANT.fullmatch(text):
        return Markup('<time datetime="{}">{}</time>').format(text, text[:19].replace("T", " ") + "Z")
    return text if len(text) <= at_most else text[: at_most - 1] + "…"


def is_table(value: Mapping[str, Any]) -> bool:
    """Whether an object is many objects of one kind, by name."""
    rows = list(value.values())
    return len(rows) > 2 and all(isinstance(row, Mapping) and len(row) < 9 for row in rows)


def flat(features: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Features as rows of a table: id and plain properties, with the address of each as `$self`."""
    rows = []
    for each in features[:SHOWN_ROWS]:
        plain = {key: v for key, v in (each.get("properties") or {}).items() if not _is_nested(v)}
        own = next((link["href"] for link in each.get("links", ()) if link.get("rel") == "self"), None)
        rows.append({"id": each.get("id")} | plain | ({"$self": own} if own else {}))
    return rows


def _is_nested(value: object) -> bool:
    if isinstance(value, Mapping):
        return True
    return isinstance(value, list) and any(isinstance(each, Mapping | list) for each in value)


def segment(value: object) -> str:
    """A value as one part of a path."""
    return quote(str(value), safe="")


def _go(request: Request, address: str, code: str) -> Callable[..., str]:
    """Addresses of our own pages; the language goes along only where the reader has chosen it."""
    kept = {"lang": code} if "lang" in request.query_params else {}

    def go(path: str, **query: Any) -> str:
        asked = query | kept
        return f"{address}{path}" + (f"?{urlencode(asked)}" if asked else "")

    return go


def _switched(request: Request, code: str) -> str:
    """The same page in the other language, whatever was asked."""
    kept = [(name, value) for name, value in request.query_params.multi_items() if name != "lang"]
    return "?" + urlencode([*kept, ("lang", code)])


def _json(request: Request) -> str:
    kept = [(name, value) for name, value in request.query_params.multi_items() if name != "f"]
    return "?" + urlencode([*kept, ("f", "json")])


def asset(request: Request) -> Response:
    """A stylesheet or script of ours."""
    name = request.path_params["name"]
    if name not in _names():
        raise NotFound(f"The pages have no file {name[:60]!r}.")
    parameters.once(request.query_params, ("v",))
    file = ASSETS / name
    current = request.query_params.get("v") == _digest(name)
    tag = answer.etag(_digest(name))
    return answer.conditional(request, file.read_bytes(), MEDIA_TYPES[file.suffix], tag, immutable=current)


@lru_cache(maxsize=1)
def _names() -> frozenset[str]:
    return frozenset(file.name for file in ASSETS.iterdir() if file.suffix in MEDIA_TYPES)


def _digest(name: str) -> str:
    return _digest_of(name, (ASSETS / name).stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _digest_of(name: str, _changed_ns: int) -> str:
    return hashlib.sha256((ASSETS / name).read_bytes()).hexdigest()[:12]


def face() -> Face:
    """The files of the pages."""
    return Face([Route("/pages/{name}", asset, methods=["GET"])])
