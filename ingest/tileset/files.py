"""The files of a 3D Tiles set, in a folder or in a `.3tz` archive, read without ever leaving it.

`.3tz` is a zip archive with stored, deflated or zstd-packed entries (MAXAR_content_3tz; APPNOTE 6.3.10, method 93).
Tiles that were packed with gzip for a web server are unpacked on the way.
"""

import os
import posixpath
import struct
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import unquote, urlsplit

from ingest import archive
from layers.errors import InvalidInput

BLOCK_BYTES = 1 << 20
MAX_FILE_BYTES = 4 << 30
ZIP_LIMITS = archive.Limits(n_entries=1_000_000, total_bytes=500_000_000_000)
_ZSTD = 93
_GZIP = b"\x1f\x8b"


class Outside(Exception):
    """An address that leads out of the set, with the reason. Never leaves the reader."""


def resolved(base: str, uri: str) -> str:
    """Name in the set of an address in the file `base`. Raises Outside for what is elsewhere.

    A query or fragment is dropped, percent signs are decoded: addresses of RFC 3986, not file names.
    """
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise Outside(f"is no address ({error})") from error
    if parts.scheme or parts.netloc:
        raise Outside("lies on another server" if parts.netloc else f"is a {parts.scheme[:20]}: address")
    path = unquote(parts.path)
    if path.startswith("/") or "\\" in path or "\0" in path or not path:
        raise Outside("is no relative path")
    name = posixpath.normpath(posixpath.join(posixpath.dirname(base), path))
    if name.startswith("../") or name in {"..", "."}:
        raise Outside("leads out of the set's folder")
    return name


class TileFiles(Protocol):
    """Files by name, with `/`."""

    def has(self, name: str) -> bool:
        """True if there is such a file inside."""
        ...

    def names(self) -> list[str]:
        """All files, in a stable order."""
        ...

    def raw_blocks(self, name: str) -> Iterator[bytes]:
        """One file in blocks, as it is. Raises InvalidInput where it cannot be read."""
        ...


def blocks(files: TileFiles, name: str) -> Iterator[bytes]:
    """One file in blocks, unpacked where it is gzip. Raises InvalidInput beyond MAX_FILE_BYTES or when damaged."""
    stream = files.raw_blocks(name)
    first = next(stream, b"")
    unpacker = zlib.decompressobj(wbits=31) if first[:2] == _GZIP else None
    n_bytes = 0
    while first:
        for block in [first] if unpacker is None else _unpacked(unpacker, first, name):
            n_bytes += len(block)
            if n_bytes > MAX_FILE_BYTES:
                raise InvalidInput(f"{name} is larger than {MAX_FILE_BYTES} bytes.", "", code="TILE_TOO_LARGE")
            yield block
        first = next(stream, b"")
    if unpacker is not None and not unpacker.eof:
        raise InvalidInput(f"{name} is packed with gzip and cut off.", "Copy it again.", code="TILE_BROKEN")


def _unpacked(unpacker: "zlib._Decompress", block: bytes, name: str) -> Iterator[bytes]:
    try:
        while block:
            yield unpacker.decompress(block, BLOCK_BYTES)
            block = unpacker.unconsumed_tail
    except zlib.error as error:
        raise InvalidInput(f"{name} is packed with gzip and damaged.", "Copy it again.", code="TILE_BROKEN") from error


def read(files: TileFiles, name: str, at_most_bytes: int) -> bytes:
    """A small file whole. Raises InvalidInput when it is longer."""
    out = bytearray()
    for block in blocks(files, name):
        out += block
        if len(out) > at_most_bytes:
            raise InvalidInput(f"{name} is longer than {at_most_bytes} bytes.", "", code="TILE_TOO_LARGE")
    return bytes(out)


def head(files: TileFiles, name: str, n_bytes: int) -> bytes:
    """The first bytes of a file; fewer where it is shorter."""
    out = b""
    for block in blocks(files, name):
        out += block[: n_bytes - len(out)]
        if len(out) == n_bytes:
            break
    return out


class FolderFiles(AbstractContextManager["FolderFiles"]):
    """A folder; links that lead out of it are not followed."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._root = folder, Path(os.path.realpath(folder))

    def has(self, name: str) -> bool:
        """True for a file inside, also through links that stay inside."""
        try:
            path = Path(os.path.realpath(self._folder / name))
            return path.is_relative_to(self._root) and path.is_file()
        except (OSError, ValueError):
            return False

    def names(self) -> list[str]:
        """All files below the folder."""
        found = []
        for top, folders, names in os.walk(self._folder):
            folders.sort()
            found += [(Path(top) / name).relative_to(self._folder).as_posix() for name in sorted(names)]
        return found

    def raw_blocks(self, name: str) -> Iterator[bytes]:
        """Raises InvalidInput where it cannot be read."""
        try:
            with (self._folder / name).open("rb") as file:
                while block := file.read(BLOCK_BYTES):
                    yield block
        except OSError as error:
            raise InvalidInput(f"{name} cannot be read: {error.strerror}.", "", code="FILE_UNREADABLE") from error

    def __exit__(self, *_: object) -> None:
        """Nothing is held open."""


class ZipFiles(AbstractContextManager["ZipFiles"]):
    """A `.3tz` archive."""

    def __init__(self, path: Path) -> None:
        self._path, self._opened = path, archive.opened(path, ZIP_LIMITS)

    def __enter__(self) -> Self:
        """Raises InvalidInput for an archive that is broken, too large or unsafe."""
        self._archive = self._opened.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self._opened.__exit__(kind, value, trace)

    def has(self, name: str) -> bool:
        """True if the archive has it."""
        return name in self._archive.entries

    def names(self) -> list[str]:
        """All files."""
        return list(self._archive.entries)

    def raw_blocks(self, name: str) -> Iterator[bytes]:
        """Raises InvalidInput for a damaged entry."""
        entry = self._archive.entries[name]
        return self._zstd(name) if entry.compress_type == _ZSTD else self._archive.blocks(name)

    def _zstd(self, name: str) -> Iterator[bytes]:
        import pyarrow as pa

        entry, crc, left = self._archive.entries[name], 0, self._archive.entries[name].file_size
        with self._path.open("rb") as file:
            file.seek(entry.header_offset)
            local = file.read(30)
            if len(local) < 30 or local[:4] != b"PK\3\4":
                raise InvalidInput(f"{name} cannot be unpacked: its header is damaged.", "", code="ARCHIVE_BROKEN")
            start = entry.header_offset + 30 + sum(struct.unpack("<HH", local[26:30]))
        try:
            with pa.OSFile(str(self._path)) as whole:
                packed = pa.PythonFile(_Slice(whole, start, entry.compress_size), mode="r")
                with pa.CompressedInputStream(packed, "zstd") as stream:
                    while left and (block := stream.read(min(BLOCK_BYTES, left))):
                        left, crc = left - len(block), zlib.crc32(block, crc)
                        yield block
        except (OSError, pa.ArrowException) as error:
            raise InvalidInput(f"{name} cannot be unpacked: {error}.", "", code="ARCHIVE_BROKEN") from error
        if left or crc != entry.CRC:
            raise InvalidInput(f"{name} is damaged: its checksum differs.", "Copy it again.", code="ARCHIVE_BROKEN")


class _Slice:
    """A part of a file, as a file object for pyarrow."""

    def __init__(self, file: object, start: int, size: int) -> None:
        self._file, self._left, self.closed = file, size, False
        file.seek(start)  # type: ignore[attr-defined]

    def read(self, n_bytes: int = -1) -> bytes:
        """Up to `n_bytes` of what is left."""
        wanted = self._left if n_bytes < 0 else min(n_bytes, self._left)
        block = bytes(self._file.read(wanted)) if wanted else b""  # type: ignore[attr-defined]
        self._left -= len(block)
        return block

    def readable(self) -> bool:
        """It is."""
        return True

    def close(self) -> None:
        """The file belongs to somebody else."""
        self.closed = True
