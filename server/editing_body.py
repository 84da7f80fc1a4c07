"""The body of an edit -> JSON, and what is wrong with it by the name of the member (RFC 8259, RFC 7946)."""

import re
from collections.abc import Iterator
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request

from layers.errors import InvalidInput

GEOJSON, JSON, FEATURES_JSON = "application/geo+json", "application/json", "application/fg+json"
MERGE_PATCH, TRANSACTION = "application/merge-patch+json", "application/ogc-tx+json"
CQL2 = ("application/query-cql-json", "application/cql2+json")
FEATURE_TYPES = (GEOJSON, JSON, FEATURES_JSON, "application/vnd.geo+json")
POST_TYPES = (*FEATURE_TYPES, *CQL2)
PATCH_TYPES = (MERGE_PATCH, JSON, GEOJSON)
TRANSACTION_TYPES = (TRANSACTION, JSON)
OWSLIB_TEXT = "text/xml"
"""What OWSLib calls everything that it is given as text. No page of another site can send it unasked either."""

_WORDS = re.compile(r'"(?:[^"\\]++|\\.)*+"|[{}\[\],:]')
_NO_NUMBERS = re.compile(r"^[-+]?(?:NaN|nan|Infinity|inf)|\b(?:NaN|Infinity)\b")
_MAX_PLACE = 200


class WrongMember(InvalidInput):
    """A member of the body is wrong; `member` is its place as a JSON Pointer (RFC 6901)."""

    def __init__(self, where: str, problem: str, hint: str = "") -> None:
        super().__init__(f"{where}: {problem}" if where else problem, hint, code=InvalidInput.__name__)
        self.member = pointer(where)


def pointer(where: str) -> str:
    """`features[3].properties.height_m` as a JSON Pointer."""
    parts = re.findall(r"\[(\d+)\]|([^.\[]+)", where)
    names = [index or name.replace("~", "~0").replace("/", "~1") for index, name in parts]
    return "".join(f"/{name}" for name in names)


def media_type(request: Request, body: bytes, taken: tuple[str, ...], *, default: str | None = None) -> str:
    """The media type of the body; 415 with what is taken instead.

    A type is demanded also because a page of another site can send any body without one, or as text or a form, and
    the browser asks nobody first.
    """
    given = request.headers.get("content-type", default or "").split(";")[0].strip().lower()
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    accepted = {"PATCH": "Accept-Patch"}.get(request.method, "Accept-Post")
    headers = {accepted: ", ".join(taken)}
    if coding != "identity":
        raise HTTPException(415, f"Content-Encoding {coding[:40]!r} is not read. Send it as it is.", headers)
    is_text = given == OWSLIB_TEXT and body.lstrip().startswith(b"{")
    if given not in taken and not is_text:
        said = f"Content-Type {given[:80]!r} is not taken here." if given else "The body has no Content-Type."
        raise HTTPException(415, f"{said} Send {' or '.join(taken)}.", headers)
    return given


def parsed(body: bytes, most_points: int = 1_000_000_000) -> Any:
    """The JSON of a body; the message names the member in which it is not.

    Every position is an array, so that too many of them are seen before they take memory (350 bytes each).
    """
    n_points = body.count(b"[")
    if n_points > most_points:
        raise WrongMember(
            "geometry", f"the body has {n_points:,} positions.", f"At most {most_points:,} are taken at once."
        )
    body = body.removeprefix(b"\xef\xbb\xbf")
    if not body.strip():
        raise InvalidInput("The body is empty.", "Send a JSON object.")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        text = body.decode("utf-8", "replace")
        where = place(text, error.pos)
        hint = ""
        if _NO_NUMBERS.search(text[error.pos : error.pos + 12]) or "infinity" in str(error):
            hint = "NaN and Infinity are no JSON numbers: give a finite number, or null."
        elif "depth" in str(error):
            where, hint = "", "A feature needs no such nesting."
        raise WrongMember(where, f"the body is not JSON: {error}.", hint) from error


def place(text: str, end: int) -> str:
    """The member in which a character of JSON text stands: `properties.height_m`, `features[3].geometry`."""
    path: list[str | int] = []
    key: str | None = None
    for word in _words(text[:end]):
        if word == "{":
            path.append("")
        elif word == "[":
            path.append(0)
        elif word in "]}":
            del path[-1:]
        elif word == ",":
            if path and isinstance(path[-1], int):
                path[-1] += 1
        elif word == ":":
            if path and key is not None:
                path[-1] = key
        else:
            key = word[1:-1]
    out = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path if part != "")
    return out.lstrip(".")[:_MAX_PLACE]


def _words(text: str) -> Iterator[str]:
    for match in _WORDS.finditer(text):
        yield match[0]


def object_of(document: Any, where: str = "") -> dict[str, Any]:
    """A JSON object; anything else is refused by its place."""
    if not isinstance(document, dict):
        raise WrongMember(where, f"a JSON object is expected, not {kind(document)}.")
    return document


def kind(value: Any) -> str:
    """What a JSON value is, for a sentence."""
    if value is None:
        return "null"
    names = {
        bool: "a boolean",
        str: "text",
        int: "a number",
        float: "a number",
        list: "an array",
        dict: "an object",
    }
    return names.get(type(value), type(value).__name__)
