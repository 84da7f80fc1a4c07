"""XML that a stranger sent: refused where it defines entities, before any parser sees it.

A document type declaration can stand only before the root element (XML 1.0, production 22); one with an internal
subset may define entities that grow without bound or name files. No format read here needs one.
"""

import re
from pathlib import Path

from layers.errors import InvalidInput

PROLOG_BYTES = 1_000_000
"""The root element begins within so many bytes."""

_MISC = re.compile(r"\s+|<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^\[<>]*>", re.DOTALL)


def check(path: Path) -> None:
    """Raise InvalidInput (`XML_ENTITIES`) when the prolog of an XML file has an internal document type subset."""
    with path.open("rb") as file:
        check_bytes(file.read(PROLOG_BYTES), path.name)


def check_bytes(head: bytes, name: str) -> None:
    """The same for the first bytes of a document; `name` is for the message."""
    text = head.decode(_encoding(head), "replace").lstrip("\ufeff")
    at = 0
    while match := _MISC.match(text, at):
        at = match.end()
    if text.startswith("<!", at):
        problem = f"{name} defines XML entities (a document type with an internal part); it is not read."
        raise InvalidInput(problem, "Export it again without <!DOCTYPE … [ … ]>.", code="XML_ENTITIES")
    if at == len(text) and len(head) >= PROLOG_BYTES:
        problem = f"{name} has no element within its first {PROLOG_BYTES} bytes."
        raise InvalidInput(problem, "Export it again.", code="FILE_UNREADABLE")


def _encoding(head: bytes) -> str:
    """UTF-16 by its mark or its zero bytes, else Latin-1: markup is ASCII in whatever else parsers accept."""
    if head.startswith((b"\xff\xfe", b"<\0")):
        return "utf-16-le"
    if head.startswith((b"\xfe\xff", b"\0<")):
        return "utf-16-be"
    return "latin-1" if not head.startswith(b"\xef\xbb\xbf") else "utf-8"
