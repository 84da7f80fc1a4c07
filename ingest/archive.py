"""Reading zip-based sources (.kmz, .gdb.zip, .ifczip, .3tz, .xlsx) without trusting them.

Format: PKWARE APPNOTE 6.3.10, clauses 4.3.12 (central directory), 4.3.14 to 4.3.16 (its end, zip64), 4.4.15 (external
attributes). Nothing is unpacked before the whole directory has been looked at, and what is unpacked is counted byte by
byte: the sizes in the directory are claims.

```python
with archive.opened(path) as held:
    main = held.names(".kml")[0]
    data = held.read(main, at_most_bytes=50_000_000)
    held.extract(scratch, [main])
```
"""

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from layers.errors import InvalidInput

BLOCK_BYTES = 1 << 20
_END, _END64_LOCATOR, _END64, _ENTRY = b"PK\5\6", b"PK\6\7", b"PK\6\6", b"PK\1\2"
_END_BYTES, _LOCATOR_BYTES, _END64_BYTES, _COMMENT_BYTES = 22, 20, 56, 65535
_DIRECTORY_BYTES_PER_ENTRY = 512
_FAULTS = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError, ValueError)
"""What zipfile raises over damaged, encrypted or oddly packed entries."""


@dataclass(frozen=True)
class Limits:
    """How much an archive may claim and give.

    Attributes
    ----------
    n_entries : files and folders
    total_bytes : of all entries together, unpacked
    ratio : unpacked bytes for one byte of the archive; text seldom packs better than 1 : 50, a bomb 1 : 1000
    free_bytes : unpacked size up to which the ratio does not matter
    """

    n_entries: int = 100_000
    total_bytes: int = 20_000_000_000
    ratio: float = 200.0
    free_bytes: int = 100_000_000


LIMITS = Limits()


class Archive:
    """An open archive that passed the check; see `opened`."""

    def __init__(self, path: Path, file: zipfile.ZipFile, entries: tuple[zipfile.ZipInfo, ...]) -> None:
        self.path, self._file = path, file
        self.entries = {each.filename: each for each in entries if not each.is_dir()}

    def names(self, suffix: str = "") -> list[str]:
        """Names of files that end with a suffix (any case), in the archive's order."""
        return [name for name in self.entries if name.lower().endswith(suffix.lower())]

    def read(self, name: str, at_most_bytes: int) -> bytes:
        """One file whole. Raises InvalidInput when it is longer than `at_most_bytes` or damaged."""
        blocks, left = [], at_most_bytes
        for block in self.blocks(name):
            left -= len(block)
            if left < 0:
                problem = f"{name} in {self.path.name} is longer than {at_most_bytes} bytes."
                raise InvalidInput(problem, "Unpack the archive and check it.", code="ARCHIVE_TOO_LARGE")
            blocks.append(block)
        return b"".join(blocks)

    def blocks(self, name: str) -> Iterator[bytes]:
        """One file in blocks of 1 MiB; never more bytes than the directory claims. Raises InvalidInput."""
        entry = self.entries[name]
        left = entry.file_size
        try:
            with self._file.open(entry) as stream:
                while block := stream.read(BLOCK_BYTES):
                    left -= len(block)
                    if left < 0:
                        raise zipfile.BadZipFile("it is longer than the directory says")
                    yield block
            if left:
                raise zipfile.BadZipFile(f"it ends {left} bytes early")
        except _FAULTS as error:
            problem = f"{name} in {self.path.name} cannot be unpacked: {_sentence(error)}"
            raise InvalidInput(problem, "Pack or copy it again.", code="ARCHIVE_BROKEN") from error

    def extract(self, folder: Path, names: Iterable[str] | None = None) -> list[Path]:
        """Write files (all, or the named ones) below a folder, under their names; returns the paths.

        Raises InvalidInput for a damaged one. Nothing is written outside `folder`: names were checked before.
        """
        made = []
        for name in self.entries if names is None else names:
            target = folder.joinpath(*PurePosixPath(name.replace("\\", "/")).parts)
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("xb") as file:
                    for block in self.blocks(name):
                        file.write(block)
            except OSError as error:  # one name is a folder in another one's, or too long
                problem = f"{name} in {self.path.name} cannot be unpacked: {_sentence(error)}"
                raise InvalidInput(problem, "Pack it again with plain names.", code="ARCHIVE_BROKEN") from error
            made.append(target)
        return made


@contextmanager
def opened(path: Path, limits: Limits = LIMITS) -> Iterator[Archive]:
    """A zip archive whose directory is within the limits and whose names stay inside.

    Raises InvalidInput: `ARCHIVE_BROKEN`, `ARCHIVE_TOO_LARGE` (entries, bytes, ratio) or `ARCHIVE_UNSAFE` (names that
    lead out, links, devices, encrypted entries, names that are there twice).
    """
    with path.open("rb") as stream:
        _check_directory(path, stream, limits)
        try:
            file = zipfile.ZipFile(stream)
        except _FAULTS as error:
            raise _broken(path, _sentence(error)) from error
        with file:
            entries = tuple(file.infolist())
            _check_sizes(path, entries, limits)
            _check_names(path, entries)
            yield Archive(path, file, entries)


def checked(path: Path, limits: Limits = LIMITS) -> tuple[zipfile.ZipInfo, ...]:
    """The entries of a zip archive that is safe to hand to another reader; raises InvalidInput as `opened` does.

    The sizes are those that the archive claims: a reader that unpacks more than that must be stopped by itself.
    """
    with opened(path, limits) as held:
        return tuple(held.entries.values())


def _broken(path: Path, why: str) -> InvalidInput:
    return InvalidInput(f"{path.name} is no whole zip archive: {why}", "Copy it again.", code="ARCHIVE_BROKEN")


def _sentence(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:200].rstrip(".") + "."


def _check_directory(path: Path, stream: IO[bytes], limits: Limits) -> None:
    """Refuse a directory that is too long before anything builds objects of its entries."""
    size = path.stat().st_size
    stream.seek(max(0, size - _END_BYTES - _COMMENT_BYTES - _LOCATOR_BYTES))
    tail = stream.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < _END_BYTES:
        raise _broken(path, "its directory is missing.")
    n_bytes, start = struct.unpack("<II", tail[at + 12 : at + 20])
    end = size - len(tail) + at
    if tail[max(0, at - _LOCATOR_BYTES) : at][:4] == _END64_LOCATOR:
        stream.seek(max(0, end - _LOCATOR_BYTES - _END64_BYTES))
        record = stream.read(_END64_BYTES)
        if record[:4] == _END64:
            n_bytes, start = struct.unpack("<QQ", record[40:56])
            end -= _LOCATOR_BYTES + _END64_BYTES
    if n_bytes > end or start > end:
        raise _broken(path, "its directory would begin before the file does.")
    if n_bytes > limits.n_entries * _DIRECTORY_BYTES_PER_ENTRY:
        raise _too_large(path, f"its directory has {n_bytes} bytes")
    stream.seek(end - n_bytes)
    n_entries = stream.read(n_bytes).count(_ENTRY)
    if n_entries > limits.n_entries:
        raise _too_large(path, f"it has {n_entries} entries, and {limits.n_entries} are the limit")
    stream.seek(0)


def _too_large(path: Path, why: str) -> InvalidInput:
    hint = "If you trust it, unpack it yourself and put the files into the folder."
    return InvalidInput(f"{path.name} is not unpacked: {why}.", hint, code="ARCHIVE_TOO_LARGE")


def _check_sizes(path: Path, entries: tuple[zipfile.ZipInfo, ...], limits: Limits) -> None:
    total = sum(each.file_size for each in entries)
    if total > limits.total_bytes:
        raise _too_large(path, f"unpacked it would have {total} bytes, and {limits.total_bytes} are the limit")
    packed = max(path.stat().st_size, 1)
    if total > limits.free_bytes and total > limits.ratio * packed:
        raise _too_large(path, f"its {packed} bytes would unpack to {total}, {total / packed:.0f} times as many")


def _check_names(path: Path, entries: tuple[zipfile.ZipInfo, ...]) -> None:
    seen: set[str] = set()
    for each in entries:
        why = _unsafe(each)
        if not why and each.filename in seen:
            why = "is there twice"
        seen.add(each.filename)
        if why:
            problem = f"{path.name} is not unpacked: its entry {each.filename[:200]!r} {why}."
            raise InvalidInput(problem, "Pack it again with plain files and names.", code="ARCHIVE_UNSAFE")


def _unsafe(entry: zipfile.ZipInfo) -> str:
    """Why an entry is not to be unpacked; empty for a good one."""
    name = entry.filename.replace("\\", "/")
    mode = stat.S_IFMT(entry.external_attr >> 16) if entry.create_system == 3 else 0
    if not name.strip("/. ") or name.startswith("/") or name[1:2] == ":" or ".." in name.split("/"):
        return "leads out of the archive"
    if any(ord(char) < 32 for char in entry.orig_filename):
        return "has control characters in its name"
    if mode not in {0, stat.S_IFREG, stat.S_IFDIR}:
        return "is a link or a device, not a file"
    return "is encrypted" if entry.flag_bits & 1 else ""
