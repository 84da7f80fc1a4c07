"""Who may edit. There are no users yet: whoever works at the machine may, strangers and foreign web pages may not.

A server that listens on this machine is reached by its browser too, and a page from anywhere can make that browser
send requests here. So what tells where a request comes from is all looked at: the client's address, headers that a
proxy adds, the name by which the server was called (a name of a stranger may point to 127.0.0.1: DNS rebinding), and
the page that sent it (RFC 6454 `Origin`, which browsers add to every request that is no plain read).
"""

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from server.settings import Settings

FORWARDING = frozenset({
    "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-server", "x-forwarded-prefix",
    "x-real-ip", "x-client-ip", "x-cluster-client-ip", "cf-connecting-ip", "true-client-ip", "fastly-client-ip", "via",
})  # fmt: skip
"""Headers of proxies: whoever stands behind one is not at this machine, whatever address the proxy has."""

_PRODUCT = re.compile(r"[A-Za-z0-9._+-]{1,40}(?:/[A-Za-z0-9._+-]{1,40})?")


def refusal(request: HTTPConnection, settings: Settings) -> str | None:
    """Why who asks may not edit, with what would allow it; None where it is allowed."""
    if settings.edit == "nobody":
        return "This server is read-only. Start it without --read-only to edit."
    if settings.edit == "local":
        reason = _not_local(request, settings)
        if reason:
            return f"{reason} Edit at the machine that serves, or start the server with --edit."
    return _foreign_page(request, settings)


def may_edit(request: HTTPConnection, settings: Settings) -> bool:
    """True for an asker whose edits are taken."""
    return refusal(request, settings) is None


def editor(request: HTTPConnection) -> str:
    """Who is written down as the editor: client address, and the program it says it is."""
    product = _PRODUCT.match(request.headers.get("user-agent", ""))
    return " ".join(part for part in ("http", _client(request), product[0] if product else "") if part)


def _client(request: HTTPConnection) -> str:
    return request.client.host if request.client else ""


def _not_local(request: HTTPConnection, settings: Settings) -> str | None:
    if settings.public_url or settings.trust_forwarded:
        return "This server stands behind a proxy, so that nobody counts as being at its machine."
    if not is_loopback(_client(request)):
        return f"Edits are taken from this machine alone, and {_client(request) or 'the client'} is another one."
    passed = next((name for name in request.headers if name in FORWARDING), None)
    if passed:
        return f"Edits are taken from this machine alone, and {passed} says that a proxy passed the request on."
    if request.scope.get("http_version") == "1.0":  # nginx passes on like that, and adds no header unless told
        return "Edits are taken from this machine alone, and HTTP/1.0 is what proxies speak."
    host = host_of(request)
    if not is_local_name(host):
        return f"Edits are taken from this machine alone, and {host[:80]!r} is not a name of its own."
    return None


def _foreign_page(request: HTTPConnection, settings: Settings) -> str | None:
    """A request that a browser sends: from a page of this server, or of an origin that was allowed."""
    origin = request.headers.get("origin")
    site = request.headers.get("sec-fetch-site", "none")
    if origin is None:
        return (
            None
            if site in {"none", "same-origin"}
            else "A page of another site may not edit. --edit-origin names those that may."
        )
    if origin in settings.edit_origins:
        return None
    own = urlsplit(settings.public_url).netloc if settings.public_url else request.headers.get("host", "")
    given = urlsplit(origin)
    # a name that anyone can point here is no proof: only addresses, localhost and the public address are
    is_known = bool(settings.public_url) or is_local_name(host_of(request)) or is_address(host_of(request))
    if given.scheme in {"http", "https"} and given.netloc == own and is_known and site in {"none", "same-origin"}:
        return None
    return f"A page of {origin[:100]!r} may not edit. Start the server with --edit-origin {origin[:100]} to allow it."


def host_of(request: HTTPConnection) -> str:
    """The name by which the server was called, without the port."""
    try:
        return urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    except ValueError:
        return ""


def is_local_name(host: str) -> bool:
    """True for names that mean the machine itself wherever they are looked up."""
    return host == "localhost" or host.endswith(".localhost") or is_loopback(host)


def is_loopback(address: str) -> bool:
    """True for 127.0.0.0/8 and ::1, also written as ::ffff:127.0.0.1."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return bool((mapped or parsed).is_loopback)


def is_address(host: str) -> bool:
    """True for an IP address, which no name server can point elsewhere."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
