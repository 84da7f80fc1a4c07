"""What an export knows of the files that it has written: one book for each set of files, kept beside them.

A book names every file that may be there, with the tag of what its bytes follow from, its size there and the digest of
its bytes. It is written before the work (the new names, still without a tag), added to while the work goes on, and
written once more at the end: whenever an export is killed, the next one knows what is current and what must go.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import orjson

from layers.errors import InvalidInput
from tiles.export.address import STATE
from tiles.export.target import Target

FORMAT = 1
NO_FILE = -1
BOOKS, ADDENDA = f"{STATE}/books", f"{STATE}/addenda"
LINES = "application/x-ndjson"


@dataclass(frozen=True)
class Entry:
    """One file: `tag` of what its bytes follow from (empty: not known to be whole), `size` there, `digest` of them.

    NO_FILE as size: a place that has no file, by its tag.
    """

    tag: str
    size: int = 0
    digest: str = ""

    @property
    def is_file(self) -> bool:
        """False for a place without one."""
        return self.size != NO_FILE


@dataclass
class Book:
    """The files of one set, for example `3dtiles/building/compat`.

    Attributes
    ----------
    name : unique below a target
    packing : of the files, empty for none
    entries : by address
    is_whole : False from the beginning of a run to its end
    """

    name: str
    packing: str = ""
    entries: dict[str, Entry] = field(default_factory=dict)
    is_whole: bool = False
    n_addenda: int = 0

    @property
    def file_name(self) -> str:
        """A name may hold anything; this one is safe."""
        words = re.sub(r"[^A-Za-z0-9_-]+", "-", self.name)[:80]
        return f"{words}.{hashlib.blake2b(self.name.encode(), digest_size=6).hexdigest()}"

    def save(self, target: Target, *, is_whole: bool) -> None:
        """Write it in one piece."""
        self.is_whole = is_whole
        lines = [orjson.dumps([self.name, FORMAT, self.packing, is_whole])]
        lines += [orjson.dumps([address, *vars(self.entries[address]).values()]) for address in sorted(self.entries)]
        target.put(f"{BOOKS}/{self.file_name}.jsonl", b"\n".join(lines) + b"\n", LINES)
        target.flush()
        old = [f"{ADDENDA}/{name}" for name in self.addenda(target)]
        if old:
            target.remove(old)
        self.n_addenda = 0

    def add(self, target: Target, done: dict[str, Entry]) -> None:
        """Write down what has been done since the last time."""
        self.entries |= done
        lines = b"\n".join(orjson.dumps([address, *vars(each).values()]) for address, each in done.items())
        target.put(f"{ADDENDA}/{self.file_name}.{self.n_addenda:08d}.jsonl", lines + b"\n", LINES)
        target.flush()
        self.n_addenda += 1

    def delete(self, target: Target) -> None:
        """Forget it."""
        addenda = [f"{ADDENDA}/{name}" for name in self.addenda(target)]
        target.remove([*addenda, f"{BOOKS}/{self.file_name}.jsonl"])

    def addenda(self, target: Target) -> list[str]:
        """Names of its addenda, in order."""
        return [name for name in target.names(ADDENDA) if name.startswith(f"{self.file_name}.")]


def load(target: Target, name: str) -> Book:
    """The book of that name, empty where there is none. InvalidInput where it cannot be read."""
    book = Book(name)
    path = f"{BOOKS}/{book.file_name}.jsonl"
    data = target.read(path)
    if data is None:
        return book
    _, book.packing, book.is_whole = _read(book, data, path)
    for each in book.addenda(target):
        addendum = target.read(f"{ADDENDA}/{each}") or b""
        book.entries.update(_entries(addendum, f"{ADDENDA}/{each}"))
        book.n_addenda = int(each.rsplit(".", 2)[1]) + 1
    return book


def names(target: Target) -> Iterator[str]:
    """Names of all books below a target."""
    for each in target.names(BOOKS):
        path = f"{BOOKS}/{each}"
        head = (target.read(path) or b"").partition(b"\n")[0]
        yield _head(head, path)[0]


def _read(book: Book, data: bytes, path: str) -> tuple[str, str, bool]:
    head, _, rest = data.partition(b"\n")
    book.entries = _entries(rest, path)
    return _head(head, path)


def _head(line: bytes, path: str) -> tuple[str, str, bool]:
    try:
        name, version, packing, is_whole = orjson.loads(line)
    except ValueError as error:
        raise _damaged(path) from error
    if version != FORMAT:
        raise InvalidInput(f"{path} is of another version of the export.", "Export into an empty target.")
    return str(name), str(packing), bool(is_whole)


def _entries(data: bytes, path: str) -> dict[str, Entry]:
    found = {}
    for line in data.splitlines():
        try:
            address, tag, size, digest = orjson.loads(line)
        except ValueError as error:
            raise _damaged(path) from error
        found[address] = Entry(tag, size, digest)
    return found


def _damaged(path: str) -> InvalidInput:
    return InvalidInput(f"The record {path} is damaged.", f"Delete the target's {STATE} and export again.")
