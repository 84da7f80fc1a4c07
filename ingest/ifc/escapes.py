r"""Bytes of another encoding behind the 8-bit escapes of ISO 10303-21, read as what they are.

`\X\hh` is one character of ISO 8859-1 (ISO 10303-21:2016, 6.4.3.2) and `\S\c` the same 128 places above c. Programs
of East Asia write the bytes of Shift-JIS or GBK this way, and the names come out as signs that no one can read. The
rule: strings with 8-bit escapes are taken as bytes and judged like raw text (`ingest.ifc.text.likeness`). They are
left alone when single accented letters in words are the best reading; codes 80 to 9F, which ISO 8859-1 has no
characters for, rule that out. Strings that also hold other escapes stay as they are.
"""

import mmap
import re
from collections.abc import Iterator
from pathlib import Path

from ingest.ifc import text as ifc_text
from ingest.ifc.file import Scratch, Unpacked
from layers.issue import Issue

_STRING = re.compile(rb"'(?:\\\\|\\S\\.|''|[^'])*+'", re.DOTALL)
r"""After `\S\` one apostrophe stands for itself (grammar of ISO 10303-21:2016, annex A)."""
_EIGHT_BIT = re.compile(rb"\\X\\([0-9A-Fa-f]{2})|\\S\\(.)|\\\\|''", re.DOTALL)
_OTHER = re.compile(rb"\\(?:X[24]|X0|P[A-I])\\")
_LEAST = 0.6
_JUDGED = 200_000


def to_unicode(source: Unpacked, name: str, encoding: str | None) -> tuple[Unpacked, list[Issue]]:
    """The same file where nothing is to be done, else a temporary copy with `X2` escapes; lines stay as they were."""
    if not _has_escapes(source.path):
        return source, []
    found = _best(_raw(source.path), encoding)
    if found is None:
        return source, []
    folder = Scratch()
    target, n_strings, n_left = folder.path / "model.ifc", 0, 0
    with source.path.open("rb") as reading, target.open("wb") as writing:
        for line in iter(lambda: reading.readline(ifc_text.BLOCK), b""):
            written, changed, left = _rewritten(line, found)
            n_strings, n_left = n_strings + changed, n_left + left
            writing.write(written)
    message = f"{n_strings} texts of {name} hold bytes of {found} behind 8-bit escapes; they were read as {found}."
    if n_left:
        message += f" {n_left} more are not {found} and stay as they are."
    hint = "" if found == encoding else "If names look wrong, give `encoding` for this file in city.toml."
    return Unpacked(target, folder), [Issue("IFC_ENCODING", name, message, hint, "warning" if hint else "info")]


def _has_escapes(path: Path) -> bool:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.find(b"\\X\\") >= 0 or data.find(b"\\S\\") >= 0


def _bytes(string: bytes) -> bytes | None:
    """The text of a quoted string as bytes; None where it has no 8-bit escape, or others besides."""
    if not (b"\\X\\" in string or b"\\S\\" in string) or _OTHER.search(string):
        return None
    return _EIGHT_BIT.sub(_byte, string[1:-1])


def _byte(match: re.Match[bytes]) -> bytes:
    if match[1] is not None:
        return bytes([int(match[1], 16)])
    if match[2] is not None:
        return bytes([(match[2][0] + 128) % 256])
    return match[0][:1]


def _raw(path: Path) -> list[bytes]:
    """The strings that have 8-bit escapes, as bytes, up to a limit."""
    found, size = [], 0
    for each in _escaped_strings(path):
        found.append(each)
        size += len(each)
        if size > _JUDGED:
            break
    return found


def _escaped_strings(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        for line in iter(lambda: file.readline(ifc_text.BLOCK), b""):
            if b"\\X\\" in line or b"\\S\\" in line:
                for match in _STRING.finditer(line):
                    raw = _bytes(match[0])
                    if raw is not None and not raw.isascii():
                        yield raw


def _best(strings: list[bytes], encoding: str | None) -> str | None:
    """The encoding that the bytes are in; None when they are characters of ISO 8859-1, as the standard says."""
    if not strings:
        return None
    tried = [encoding] if encoding else ["utf-8"]
    for each in tried:
        if all(_decodes(raw, each) for raw in strings):
            return each
    together = b"\n".join(strings)
    has_controls = re.search(rb"[\x80-\x9f]", together) is not None
    plain = ifc_text.likeness(together, "cp1252")
    share, best = max((ifc_text.likeness(together, each), each) for each in ("gb18030", "cp932"))
    return best if share >= _LEAST and (has_controls or share > plain) else None


def _decodes(raw: bytes, encoding: str) -> bool:
    try:
        raw.decode(encoding)
    except (UnicodeDecodeError, LookupError):
        return False
    return True


def _rewritten(line: bytes, encoding: str) -> tuple[bytes, int, int]:
    if b"\\X\\" not in line and b"\\S\\" not in line:
        return line, 0, 0
    counts = [0, 0]

    def one(match: re.Match[bytes]) -> bytes:
        raw = _bytes(match[0])
        if raw is None or raw.isascii():
            return match[0]
        if not _decodes(raw, encoding):
            counts[1] += 1
            return match[0]
        counts[0] += 1
        text = raw.decode(encoding).replace("\\", "\\\\").replace("'", "''")
        return b"'" + ifc_text.escaped(text) + b"'"

    return _STRING.sub(one, line), counts[0], counts[1]
