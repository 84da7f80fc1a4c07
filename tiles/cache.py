"""Tiles on disk. Only an optimisation: the folder may be deleted at any time, also while it is used.

The key names what the bytes depend on (layer, its version, encoding, tile), so that nothing ever has to be
invalidated; old versions fall to the sweep, which removes what was read longest ago once the folder grows too large.
"""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from threading import Lock

MAX_BYTES = 2_000_000_000
SWEEP_EVERY_BYTES = 50_000_000
"""Bytes written between two looks at the folder's size."""


@lru_cache(maxsize=16)
def of_twin(folder: Path) -> "DiskCache":
    """The cache of the twin in that folder; the same object for everyone, so that one counts what is written."""
    return DiskCache(folder / "cache" / "tiles")


def keep_nothing() -> None:
    """From now on, in this process: for one that asks for each tile once (an export)."""
    DiskCache.is_on = False


class DiskCache:
    """Bytes by key under one folder.

    Parameters
    ----------
    folder : made when first needed, for example `twin/cache/tiles`
    max_bytes : what a sweep leaves at most
    """

    is_on = True

    def __init__(self, folder: Path, max_bytes: int = MAX_BYTES) -> None:
        self.folder, self.max_bytes = folder, max_bytes
        self._written = 0
        self._lock = Lock()

    def get(self, *key: object) -> bytes | None:
        """What was kept under the key, or None."""
        if not self.is_on:
            return None
        path = self._path(key)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # the sweep goes by the time of the last use
        return data

    def put(self, data: bytes, *key: object) -> None:
        """Keep bytes. A reader sees all of them or none; a full or read-only disk is no error."""
        if not self.is_on:
            return
        path = self._path(key)
        temporary = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as out:
                temporary = Path(out.name)
                out.write(data)
            temporary.replace(path)
        except OSError:
            if temporary is not None:
                with contextlib.suppress(OSError):
                    temporary.unlink()
            return
        self._count(len(data))

    def get_or_make(self, make: Callable[[], bytes], *key: object) -> bytes:
        """What is kept, or what `make` gives, which is then kept. What `make` raises is passed on and not kept."""
        data = self.get(*key)
        if data is None:
            data = make()
            self.put(data, *key)
        return data

    def sweep(self) -> int:
        """Remove the files that were used longest ago until `max_bytes` are left; returns the bytes removed."""
        files = []
        for path in self.folder.rglob("*"):
            with contextlib.suppress(OSError):
                if path.is_file():
                    stat = path.stat()
                    files.append((stat.st_mtime_ns, stat.st_size, path))
        excess = sum(size for _, size, _ in files) - self.max_bytes
        removed = 0
        for _, size, path in sorted(files):
            if removed >= excess:
                break
            with contextlib.suppress(OSError):
                path.unlink()
                removed += size
        return removed

    def _count(self, n_bytes: int) -> None:
        with self._lock:
            self._written += n_bytes
            due = self._written >= min(SWEEP_EVERY_BYTES, self.max_bytes)
            if due:
                self._written = 0
        if due:
            self.sweep()

    def _path(self, key: tuple[object, ...]) -> Path:
        # hashed: a key may hold anything, and a folder holds at most some thousand files
        digest = hashlib.sha256("\0".join(map(str, key)).encode()).hexdigest()
        return self.folder / digest[:2] / digest[2:40]
