"""Answers with validators: ETag, 304 and the cache headers (RFC 9110, 8.8 and 13; RFC 9111)."""

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

JSON = "application/json"
GEOJSON = "application/geo+json"
OPENAPI_JSON = "application/vnd.oai.openapi+json;version=3.0"

VARY = "Accept, Accept-Language, Accept-Encoding, X-Forwarded-Host, X-Forwarded-Proto, X-Forwarded-Prefix"


def etag(*parts: object, weak: bool = True) -> str:
    """An entity tag from whatever the answer depends on. Weak where a middleware may compress the body."""
    digest = hashlib.blake2b("\x1f".join(str(part) for part in parts).encode(), digest_size=10).hexdigest()
    return f'W/"{digest}"' if weak else f'"{digest}"'


def is_fresh(request: Request, tag: str) -> bool:
    """True if the reader's copy is still the current one."""
    asked = request.headers.get("if-none-match", "")
    known = {part.strip().removeprefix("W/") for part in asked.split(",")}
    return "*" in known or tag.removeprefix("W/") in known


def headers_for(
    tag: str, more: Mapping[str, str] | None = None, *, immutable: bool = False, fresh_s: int = 0
) -> dict[str, str]:
    """Validator and cache headers, and more.

    `immutable` only for addresses that carry a version; `fresh_s` seconds a copy may be used without asking again.
    """
    cache = f"public, max-age={fresh_s}" if fresh_s else "no-cache"
    cache = "public, max-age=31536000, immutable" if immutable else cache
    return {"ETag": tag, "Cache-Control": cache, "Vary": VARY, **(more or {})}


def not_modified(headers: dict[str, str]) -> Response:
    """304 with the headers that must be repeated."""
    return Response(status_code=304, headers=headers)


def conditional(
    request: Request,
    body: bytes,
    media_type: str,
    tag: str,
    more: Mapping[str, str] | None = None,
    *,
    immutable: bool = False,
) -> Response:
    """The body, or 304 if the reader has it."""
    headers = headers_for(tag, more, immutable=immutable)
    if is_fresh(request, tag):
        return not_modified(headers)
    return Response(body, headers=headers | {"Content-Type": media_type})


def json_bytes(document: Any) -> bytes:
    """Compact JSON; NaN becomes null."""
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
