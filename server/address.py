"""The address under which the reader sees us: host, scheme and prefix, also behind a proxy."""

import re

from starlette.requests import Request

from layers.errors import InvalidInput
from server.settings import Settings

_HOST = re.compile(r"^(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?$")
_PREFIX = re.compile(r"^(?:/[A-Za-z0-9._~-]+)*$")


def base_url(request: Request, settings: Settings) -> str:
    """Scheme, host and prefix without a trailing slash, for links. InvalidInput for a host that cannot be one.

    The host ends up in HTML and in project files, so it is checked against a pattern and never merely escaped.
    """
    if settings.public_url:
        return settings.public_url.rstrip("/")
    headers = request.headers if settings.trust_forwarded else {}
    scheme = _first(headers.get("x-forwarded-proto")) or request.url.scheme
    host = _first(headers.get("x-forwarded-host")) or request.headers.get("host") or _server(request)
    prefix = _first(headers.get("x-forwarded-prefix")) or str(request.scope.get("root_path", ""))
    prefix = prefix.rstrip("/")
    if scheme not in {"http", "https"} or not _HOST.match(host) or not _PREFIX.match(prefix):
        raise InvalidInput("The request's host, scheme or prefix is not a valid one.", "Check the proxy's headers.")
    return f"{scheme}://{host}{prefix}"


def _first(value: str | None) -> str:
    return value.split(",")[0].strip() if value else ""


def _server(request: Request) -> str:
    name, port = request.scope.get("server") or ("localhost", None)
    return f"{name}:{port}" if port else str(name)
