"""Where the members of a large JSON document are: one pass over its bytes, nothing of it is built.

A CityJSON document keeps all vertices in one array and all objects in one object (spec 2.0.1, ch. 2), so it cannot be
read line by line. This pass finds the byte range of every top-level member and of every city object; each is parsed
on its own when it is wanted. Syntax: RFC 8259; only strings and brackets matter here, the rest is checked when a range
is parsed.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
import orjson
from numpy.typing import NDArray

CHUNK_BYTES = 4 << 20
MAX_MEMBERS = 1000
"""Top-level members of a document; the specification knows ten."""
SLICE_BYTES = 1 << 20
"""A long array is parsed in pieces of about this many bytes."""
_MAX_KEY_BYTES = 4096

_QUOTE, _OPEN, _CLOSE, _COMMA, _COLON, _BACKSLASH = 1, 2, 3, 4, 5, 6
_CLASS = np.zeros(256, np.uint8)
for _characters, _class in (
    (b'"', _QUOTE), (b"{[", _OPEN), (b"}]", _CLOSE), (b",", _COMMA), (b":", _COLON), (b"\\", _BACKSLASH),
):  # fmt: skip
    for _character in _characters:
        _CLASS[_character] = _class


class Malformed(Exception):
    """Not a JSON object: the byte where that shows, and a sentence."""

    def __init__(self, at: int, sentence: str) -> None:
        super().__init__(sentence)
        self.at, self.sentence = at, sentence


@dataclass
class Member:
    """One top-level member.

    Attributes
    ----------
    start, end : byte range of the value
    cuts : positions of commas between the value's own members, in pieces; all of them, or one every `SLICE_BYTES`
    n_commas : how many there are
    """

    start: int
    end: int = 0
    cuts: list[NDArray[np.int64]] = field(default_factory=list)
    n_commas: int = 0


@dataclass
class JsonIndex:
    """Members of a document by key; `trailing_at` is where something stands behind its end, or None."""

    members: dict[str, Member]
    trailing_at: int | None


def index_of(file: BinaryIO, all_cuts: str) -> JsonIndex:
    """Find the members; for the one named `all_cuts` every comma is kept. Raises Malformed."""
    return _Scanner(file, all_cuts).run()


def read_range(file: BinaryIO, start: int, end: int) -> bytes:
    """Bytes of a range, without moving the file's own position."""
    return os.pread(file.fileno(), end - start, start)


def slices(file: BinaryIO, member: Member, brackets: bytes) -> Iterator[tuple[int, bytes]]:
    """(position, bytes) of the pieces between cuts, each wrapped in `brackets` again, so that it is JSON."""
    begin = member.start
    while (byte := read_range(file, begin, begin + 1)).isspace():
        begin += 1
    if byte != brackets[:1]:
        raise Malformed(begin, f"here should be a {brackets[:1].decode()!r}")
    end = member.end - 1
    while read_range(file, end, end + 1).isspace():
        end -= 1
    begin += 1
    cuts = np.concatenate([np.zeros(0, np.int64), *member.cuts])
    for cut in cuts.tolist():
        yield begin, brackets[:1] + read_range(file, begin, cut) + brackets[1:]
        begin = cut + 1
    text = read_range(file, begin, end)
    if text.strip() or cuts.size:
        yield begin, brackets[:1] + text + brackets[1:]


def long_array(file: BinaryIO, member: Member) -> Iterator[tuple[int, list[Any]]]:
    """(position, items) of an array, piece by piece. Raises Malformed."""
    for at, text in slices(file, member, b"[]"):
        try:
            yield at, orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise Malformed(at + error.pos - 1, error.msg) from error


class _Scanner:
    def __init__(self, file: BinaryIO, all_cuts: str) -> None:
        self.file, self.all_cuts = file, all_cuts
        self.members: dict[str, Member] = {}
        self.depth, self.in_string, self.escaped = 0, 0, False
        self.separator = self.last_cut = -1
        self.current: Member | None = None
        self.key = ""
        self.end: int | None = None
        self.trailing_at: int | None = None

    def run(self) -> JsonIndex:
        offset = 3 if read_range(self.file, 0, 3) == b"\xef\xbb\xbf" else 0
        while data := read_range(self.file, offset, offset + CHUNK_BYTES):
            self._chunk(np.frombuffer(data, np.uint8), offset)
            if self.end is not None:
                behind = data[max(0, self.end + 1 - offset) :]
                if behind.strip():
                    self.trailing_at = max(offset, self.end + 1) + len(behind) - len(behind.lstrip())
                    break
            elif self.separator < 0 and data.strip():
                raise Malformed(offset, "it is no JSON object")
            offset += len(data)
        if self.end is None:
            raise Malformed(offset, "it ends in the middle")
        return JsonIndex(self.members, self.trailing_at)

    def _chunk(self, data: NDArray[np.uint8], offset: int) -> None:
        """Positions of separators at depth 1 and 2 in one chunk, then the members they make."""
        if self.end is not None:
            return
        classes = _CLASS[data]
        at = np.flatnonzero(classes)
        kind = classes[at]
        at, kind = self._without_escapes(at, kind, len(data))
        strings = (np.cumsum(kind == _QUOTE) + self.in_string) & 1
        self.in_string = int(strings[-1]) if len(strings) else self.in_string
        outside = (strings == 0) & (kind != _QUOTE)
        at, kind = at[outside], kind[outside]
        step = (kind == _OPEN).astype(np.int64) - (kind == _CLOSE)
        depth = self.depth + np.cumsum(step)
        self.depth = int(depth[-1]) if len(depth) else self.depth
        top = ((depth == 1) & ((kind == _COMMA) | (kind == _COLON))) | ((kind == _OPEN) & (depth == 1)) | (depth <= 0)
        inner = at[(depth == 2) & (kind == _COMMA)] + offset
        begin = 0
        for position, sort, level in zip(
            (at[top] + offset).tolist(), kind[top].tolist(), depth[top].tolist(), strict=True
        ):
            upto = int(np.searchsorted(inner, position))
            self._keep(inner[begin:upto])
            begin = upto
            if self._top(position, sort, level):
                return
        self._keep(inner[begin:])

    def _without_escapes(
        self, at: NDArray[np.int64], kind: NDArray[np.uint8], length: int
    ) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Drop backslashes and the characters they escape."""
        slashes = at[kind == _BACKSLASH]
        if not slashes.size and not self.escaped:
            return at, kind
        escaped = []
        last = -1 if not self.escaped else 0  # this position is escaped, if it is a backslash it escapes nothing
        if self.escaped:
            escaped.append(0)
        self.escaped = False
        for position in slashes.tolist():
            if position == last:
                continue
            last = position + 1
            escaped.append(last)
        self.escaped = last == length
        keep = (kind != _BACKSLASH) & ~np.isin(at, np.array(escaped, np.int64))
        return at[keep], kind[keep]

    def _keep(self, commas: NDArray[np.int64]) -> None:
        if self.current is None or not commas.size:
            return
        self.current.n_commas += len(commas)
        if self.key == self.all_cuts:
            self.current.cuts.append(commas)
            return
        while commas.size:
            first = int(np.searchsorted(commas, self.last_cut + SLICE_BYTES))
            if first >= len(commas):
                return
            self.last_cut = int(commas[first])
            self.current.cuts.append(commas[first : first + 1].copy())
            commas = commas[first + 1 :]

    def _top(self, position: int, kind: int, level: int) -> bool:
        """One bracket or separator outside of all members; True at the end of the document."""
        if level < 0 or (level == 0 and kind != _CLOSE):
            raise Malformed(position, "a bracket or a separator stands where none belongs")
        if kind == _OPEN:
            self.separator = position
        elif kind == _COLON and self.current is None:
            self._begin(position)
        elif kind == _COLON:
            raise Malformed(position, "a colon stands where none belongs")
        else:
            if self.current is not None:
                self.current.end = position
            self.current, self.separator = None, position
            if level == 0:
                self.end = position
        return self.end is not None

    def _begin(self, position: int) -> None:
        text = read_range(self.file, self.separator + 1, min(position, self.separator + 1 + _MAX_KEY_BYTES))
        try:
            key = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise Malformed(self.separator + 1 + error.pos, error.msg) from error
        if not isinstance(key, str):
            raise Malformed(self.separator + 1, "a key is not a string")
        if key in self.members:
            raise Malformed(self.separator + 1, f"it has the key {key!r} twice")
        if len(self.members) >= MAX_MEMBERS:
            raise Malformed(position, f"it has more than {MAX_MEMBERS} members")
        self.key, self.last_cut = key, position
        self.current = self.members[key] = Member(position + 1)
