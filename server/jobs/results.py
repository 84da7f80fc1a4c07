"""Results as answers (18-062r2, table 11): raw values, multipart/related, links, or a JSON document.

`response` decides: `document` is a JSON object in which objects are qualified ({"value": …}); `raw` is the value itself
where one output is wanted, multipart/related (RFC 2387) for several, and 204 with Link headers for those by reference.
Where `response` is absent it is `raw` if the request names one output or `Accept` names multipart/related, else one
JSON object of the plain values.
"""

import base64
import secrets
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import quote

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from server import answer, negotiation
from server.jobs.asked import TEXT, Form
from server.jobs.values import Value

RELATION = "http://www.opengis.net/def/rel/ogc/1.0/results"
INLINE_BYTES = 10_000_000
"""Values that are no JSON stand in a JSON document as base64 up to this size, as links beyond."""
CHUNK = 1 << 18
Part = bytes | Value


def respond(
    request: Request, values: list[Value], form: Form, address: str | None, headers: dict[str, str]
) -> Response:
    """The answer that `form` asks for.

    Parameters
    ----------
    values : outputs in the order of the process
    address : `…/jobs/ID/results`; None where there is no job, and then no output may be wanted by reference
    headers : of the answer
    """
    wanted = [_as_wanted(each, form) for each in values if not form.outputs or each.name in form.outputs]
    if form.response == "document":
        return _streamed(_document(wanted, form, address, plain=False), answer.JSON, headers)
    modes = [form.wish(each.name).mode for each in wanted]
    is_raw = form.response == "raw" or _takes_parts(request)
    if modes and set(modes) == {"reference"} and address:
        links = [f'<{_href(address, each)}>; rel="{RELATION}"; {_about(each)}' for each in wanted]
        known = [headers["Link"]] if "Link" in headers else []
        return Response(status_code=204, headers=headers | {"Link": ", ".join([*known, *links])})
    if form.n_outputs == 1 and modes == ["value"] and (is_raw or form.outputs):
        return _streamed([wanted[0]], wanted[0].media_type, headers)
    if is_raw:
        boundary = secrets.token_hex(16)
        kind = f'multipart/related; boundary="{boundary}"'
        return _streamed(_multipart(wanted, form, address, boundary), kind, headers)
    return _streamed(_document(wanted, form, address, plain=True), answer.JSON, headers)


def _takes_parts(request: Request) -> bool:
    return "multipart/related" in negotiation.weights(request.headers.get("accept", ""))


def _as_wanted(value: Value, form: Form) -> Value:
    """In the media type that was asked for."""
    kind = form.wish(value.name).media_type
    if kind is None or kind == value.media_type:
        return value
    if kind == TEXT:
        said = orjson.loads(value.read())
        text = said.encode() if isinstance(said, str) else value.read()
        return Value(value.name, f"{TEXT}; charset=utf-8", text, len(text))
    return replace(value, media_type=kind)


def _document(values: list[Value], form: Form, address: str | None, *, plain: bool) -> Iterator[Part]:
    """A JSON object of the outputs; null is left out where objects are qualified, since no schema of results has it."""
    before = b"{"
    for each in values:
        parts = _member(each, form, address, plain=plain)
        if parts:
            yield before + orjson.dumps(each.name) + b":"
            yield from parts
            before = b","
    yield b"{}" if before == b"{" else b"}"


def _member(value: Value, form: Form, address: str | None, *, plain: bool) -> list[Part]:
    by_reference = form.wish(value.name).mode == "reference"
    if address and (by_reference or (not _is_inline(value) and value.n_bytes > INLINE_BYTES)):
        return [orjson.dumps({"href": _href(address, value), "type": value.media_type, "rel": RELATION})]
    if value.media_type.startswith(TEXT):
        return [orjson.dumps(value.read().decode())]
    if not value.is_json:
        text = base64.b64encode(value.read()).decode()
        return [orjson.dumps({"value": text, "mediaType": value.media_type, "encoding": "base64"})]
    if plain:
        return [value]
    first = _first(value)
    if first == b"n":
        return []
    return [b'{"value":', value, b',"mediaType":' + orjson.dumps(value.media_type) + b"}"] if first == b"{" else [value]


def _is_inline(value: Value) -> bool:
    return value.is_json or value.media_type.startswith(TEXT)


def _first(value: Value) -> bytes:
    if isinstance(value.content, bytes):
        return value.content[:1]
    with value.content.open("rb") as file:
        return file.read(1)


def _multipart(values: list[Value], form: Form, address: str | None, boundary: str) -> Iterator[Part]:
    for each in values:
        head = f"--{boundary}\r\nContent-Type: {each.media_type}\r\nContent-ID: {each.name}\r\n"
        if address and form.wish(each.name).mode == "reference":
            yield f"{head}Content-Location: {_href(address, each)}\r\n\r\n\r\n".encode()
        else:
            yield f"{head}Content-Length: {each.n_bytes}\r\n\r\n".encode()
            yield each
            yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()


def _href(address: str, value: Value) -> str:
    """Of one output; a text/plain scalar says so in the address."""
    return f"{address}/{quote(value.name)}" + ("?f=text" if value.media_type.startswith(TEXT) else "")


def _about(value: Value) -> str:
    return f'type="{value.media_type}"; title="{value.name}"'


def _streamed(parts: "Iterator[Part] | list[Part]", media_type: str, headers: dict[str, str]) -> Response:
    """Small answers in one piece, large ones from their files."""
    known = list(parts)
    size = sum(len(each) if isinstance(each, bytes) else each.n_bytes for each in known)
    made = headers | {"Content-Type": media_type}
    if size <= CHUNK:
        return Response(b"".join(_chunks(known)), headers=made)
    return StreamingResponse(_chunks(known), headers=made | {"Content-Length": str(size)})


def _chunks(parts: list[Part]) -> Iterator[bytes]:
    for part in parts:
        content = part.content if isinstance(part, Value) else part
        if isinstance(content, bytes):
            yield content
            continue
        with content.open("rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk
