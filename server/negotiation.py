"""Which of the formats offered an answer is in: `f`, else the Accept header (RFC 9110, 12.5.1)."""

from collections.abc import Mapping

from starlette.requests import Request

from layers.errors import InvalidInput

WIDER = {"application/geo+json": ("application/json",), "application/schema+json": ("application/json",)}
"""Media types that are also understood by who asks for these."""


def chosen(request: Request, offered: Mapping[str, str]) -> str:
    """Name of a format among `offered` (name -> media type); the first where nothing else is wanted.

    `*/*` alone means the first (OWSLib, curl). InvalidInput for an `f` that is not offered.
    """
    asked = request.query_params.get("f")
    if asked is not None:
        if asked not in offered:
            raise InvalidInput(f"f={asked[:20]!r} is not offered here.", f"Use {' or '.join(offered)}.")
        return asked
    wanted = weights(request.headers.get("accept", "*/*"))
    best, quality = next(iter(offered)), 0.0
    for name, media_type in offered.items():
        plain = media_type.split(";")[0].strip().lower()
        exact = max(wanted.get(each, 0.0) for each in (plain, *WIDER.get(plain, ())))
        # a wildcard says nothing about which of several: it counts for the first alone
        wild = max(wanted.get("*/*", 0.0), wanted.get("application/*", 0.0)) if name == best else 0.0
        if max(exact, wild) > quality:
            best, quality = name, max(exact, wild)
    return best


def wants_html(request: Request, formats: tuple[str, ...] = ("json", "html")) -> bool:
    """True for `f=html`, or where `Accept` prefers HTML to JSON. `*/*` alone means JSON (OWSLib, curl)."""
    asked = request.query_params.get("f")
    if asked is not None:
        if asked not in formats:
            raise InvalidInput(f"f={asked[:20]!r} is not offered here.", f"Use {' or '.join(formats)}.")
        return asked == "html"
    if "html" not in formats:
        return False
    found = weights(request.headers.get("accept", "*/*"))
    json_types = ("application/geo+json", "application/json", "application/*", "*/*")
    return found.get("text/html", 0.0) > max(found.get(each, 0.0) for each in json_types)


def weights(header: str) -> dict[str, float]:
    """Accept or Accept-Language header as weights; a language counts by its first two letters."""
    found: dict[str, float] = {}
    for part in header[:2000].split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        quality = next((piece[2:] for piece in parameters if piece.startswith("q=")), "1")
        key = name.lower() if "/" in name else name[:2].lower()
        try:
            found[key] = max(found.get(key, 0.0), float(quality))
        except ValueError:
            continue
    return found
