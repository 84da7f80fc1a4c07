"""Where an export goes: a folder, or an object store by its URL. Nothing stands half-written under its own name.

A file has the bytes that the server would give without packing. With a packing, a folder gets packed copies beside the
files (`.gz`, `.br`, `.zst`, as nginx and Caddy look for them); an object has the packed bytes and says so in its
metadata, as object stores do not negotiate.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import urlsplit

from layers.errors import CityTwinError, InvalidInput

Packing = Literal["gzip", "br", "zstd"]
Pack = Callable[[bytes, Packing], bytes]
SUFFIXES: dict[Packing, str] = {"gzip": ".gz", "br": ".br", "zstd": ".zst"}
SCHEMES = ("s3", "gs", "az", "memory", "file")
UNPACKED = ("image/", "application/vnd.laszip")
"""Beginnings of media types that are packed in themselves."""
MIN_BYTES = 500
"""Smaller files are not worth packing; the server's limit, too."""


class TargetError(CityTwinError):
    """The target does not take what is written to it: nothing more can be done there."""


@dataclass(frozen=True)
class Packed:
    """How to pack: by a function, as the server's packing is not the tiles' business."""

    packing: Packing
    pack: Pack

    def of(self, data: bytes, media_type: str) -> bytes | None:
        """The packed bytes; None where it is not worth it."""
        if len(data) < MIN_BYTES or media_type.startswith(UNPACKED):
            return None
        return self.pack(data, self.packing)


class Target(Protocol):
    """Addresses are relative and have been checked. Used by one thread of one process."""

    @property
    def name(self) -> str:
        """For messages."""
        ...

    def put(self, address: str, data: bytes, media_type: str, *, immutable: bool = False) -> int:
        """Write or replace a file; returns the bytes that it has there. TargetError where it cannot be written."""
        ...

    def put_file(self, address: str, source: Path, media_type: str) -> int:
        """The same of a file that need not fit into memory; never packed."""
        ...

    def flush(self) -> None:
        """Wait until everything is there. TargetError where something is not."""
        ...

    def sizes(self, addresses: Sequence[str]) -> dict[str, int]:
        """Bytes of those that are there."""
        ...

    def remove(self, addresses: Iterable[str]) -> None:
        """Remove files, and packed copies and empty folders with them; what is not there is no error."""
        ...

    def read(self, address: str) -> bytes | None:
        """A file of the records; None where there is none."""
        ...

    def names(self, folder: str) -> list[str]:
        """Names of the files in a folder of the records, in order."""
        ...

    def begin(self) -> None:
        """Take possession: TargetError where it cannot be written or another export is at work there."""
        ...

    def end(self) -> None:
        """Give it back."""
        ...


@dataclass(frozen=True)
class Place:
    """Which target; goes to worker processes, where each opens its own."""

    where: str
    packed: Packed | None = None

    @property
    def is_folder(self) -> bool:
        """True for a path or a file:// URL."""
        return scheme(self.where) in {"", "file"}

    @property
    def is_shared(self) -> bool:
        """True where other processes see what one writes."""
        return scheme(self.where) != "memory"

    def open(self) -> Target:
        """InvalidInput for a URL that is not understood."""
        from tiles.export import folder, objects

        if self.is_folder:
            return folder.Folder(_path(self.where), self.packed)
        return objects.Objects(objects.opened(self.where), self.where, self.packed)


def scheme(where: str) -> str:
    """Scheme of a URL, empty for a path. InvalidInput for one that is not known."""
    head, mark, _ = where.partition("://")
    if not mark:
        return ""
    if head.lower() not in SCHEMES:
        known = ", ".join(f"{each}://" for each in SCHEMES if each != "memory")
        raise InvalidInput(f"{where!r} is no target.", f"Give a folder, or a URL that begins with {known}.")
    return head.lower()


def _path(where: str) -> Path:
    if scheme(where) == "":
        return Path(where)
    from urllib.request import url2pathname

    parts = urlsplit(where)
    if parts.netloc not in {"", "localhost"} or not parts.path.strip("/"):
        raise InvalidInput(f"{where!r} names no folder of this machine.", "Write file:///path/to/folder.")
    return Path(url2pathname(parts.path))
