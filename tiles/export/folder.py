"""A folder as target. A file is written beside the records and moved to its name: readers see the old or the new."""

import contextlib
import errno
import fcntl
import itertools
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tiles.export.address import STATE
from tiles.export.target import SUFFIXES, Packed, TargetError

UNFINISHED = f"{STATE}/unfinished"
"""Folder of the files that are being written."""


class Folder:
    """Implements `tiles.export.target.Target`."""

    def __init__(self, folder: Path, packed: Packed | None = None) -> None:
        self.folder, self._packed = folder.absolute(), packed
        self._known: set[Path] = set()
        self._count = itertools.count()
        self._lock: int | None = None

    @property
    def name(self) -> str:
        """The path."""
        return str(self.folder)

    def put(self, address: str, data: bytes, media_type: str, *, immutable: bool = False) -> int:
        """Write or replace a file, and its packed copy."""
        del immutable
        if self._packed is not None and not address.startswith(STATE):
            packed = self._packed.of(data, media_type)
            beside = address + SUFFIXES[self._packed.packing]
            if packed is not None:
                self._write(beside, lambda path: path.write_bytes(packed))
            else:
                (self.folder / beside).unlink(missing_ok=True)  # of a version that was larger
        self._write(address, lambda path: path.write_bytes(data))
        return len(data)

    def put_file(self, address: str, source: Path, media_type: str) -> int:
        """A copy of a file."""
        del media_type
        self._write(address, lambda path: shutil.copyfile(source, path))
        return source.stat().st_size

    def _write(self, address: str, fill: Callable[[Path], object]) -> None:
        path = self.folder / address
        unfinished = self.folder / UNFINISHED / f"{os.getpid()}-{next(self._count)}"
        with self._told(path):
            self._folder(unfinished.parent)
            self._folder(path.parent)
            try:
                fill(unfinished)
                unfinished.replace(path)
            except OSError:
                with contextlib.suppress(OSError):
                    unfinished.unlink()
                raise

    def _folder(self, folder: Path) -> None:
        if folder not in self._known:
            folder.mkdir(parents=True, exist_ok=True)
            self._known.add(folder)

    @contextmanager
    def _told(self, path: Path) -> Iterator[None]:
        """Whatever the system refuses, as a sentence with the next step."""
        try:
            yield
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
                hint = "Make room and run the same command again: it goes on where it stopped."
            elif isinstance(error, FileExistsError | NotADirectoryError | IsADirectoryError):
                hint = "Something else has that name: export into a folder of its own."
            else:
                hint = "Check the permissions of the folder."
            raise TargetError(f"{path} cannot be written: {error.strerror or error}.", hint) from error

    def flush(self) -> None:
        """Nothing is held back."""

    def sizes(self, addresses: Sequence[str]) -> dict[str, int]:
        """Bytes of those that are there."""
        found = {}
        for address in addresses:
            with contextlib.suppress(OSError):
                found[address] = (self.folder / address).stat().st_size
        return found

    def remove(self, addresses: Iterable[str]) -> None:
        """Remove files, packed copies, and the folders that are empty then."""
        left: set[Path] = set()
        for address in addresses:
            for suffix in ("", *SUFFIXES.values()) if not address.startswith(STATE) else ("",):
                path = self.folder / (address + suffix)
                with self._told(path), contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    path.unlink()
                    left.add(path.parent)
        for folder in left:
            self._prune(folder)

    def _prune(self, folder: Path) -> None:
        while folder != self.folder and folder.is_relative_to(self.folder):
            try:
                folder.rmdir()
            except OSError:
                return  # it is not empty
            self._known.discard(folder)
            folder = folder.parent

    def read(self, address: str) -> bytes | None:
        """A file of the records; None where there is none."""
        try:
            return (self.folder / address).read_bytes()
        except OSError:
            return None

    def names(self, folder: str) -> list[str]:
        """Names of the files in a folder of the records, in order."""
        try:
            return sorted(each.name for each in (self.folder / folder).iterdir())
        except OSError:
            return []

    def begin(self) -> None:
        """Make the folder, lock it, sweep what a killed export left unfinished."""
        with self._told(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.folder, os.O_RDONLY)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                self.end()
                raise TargetError(f"Another export is writing to {self.folder}.", "Wait until it is done.") from error
        shutil.rmtree(self.folder / UNFINISHED, ignore_errors=True)
        self._known.clear()
        probe = f"{STATE}/probe"
        self._write(probe, lambda path: path.write_bytes(b""))  # a full or a read-only disk says so before the work
        self.remove([probe])

    def end(self) -> None:
        """Sweep and unlock."""
        shutil.rmtree(self.folder / UNFINISHED, ignore_errors=True)
        self._known.clear()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
