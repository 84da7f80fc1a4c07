"""Answers that are made as files: kept for a while on disk, so that byte ranges of one are read from one making.

Files are named by the entity tag, which says everything that their bytes depend on.
"""

import os
import shutil
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

KEPT_BYTES = 512_000_000
MADE_AT_ONCE = 2
"""So many are made at the same time in a process; others wait."""
SAFE_S = 60.0
"""A file that was handed out is not removed before, so that whoever reads it has opened it."""


class Spool:
    """Files in a folder of this process's own. The longest unused leave first."""

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._kept, self._lock = kept_bytes, threading.Lock()
        self._making = threading.BoundedSemaphore(MADE_AT_ONCE)
        self._files: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._folder: tuple[int, Path] | None = None
        self._locks: dict[str, threading.Lock] = {}

    def file(self, key: str, make: Callable[[Path], None]) -> Path:
        """The file of a key (letters and digits); `make` writes it to the path it is given, once."""
        path = self._root() / key
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if not path.exists():
                draft = path.with_name(f"{key}.part")
                try:
                    with self._making:
                        make(draft)
                    draft.replace(path)
                finally:
                    draft.unlink(missing_ok=True)
            with self._lock:
                self._files[key] = (path.stat().st_size, time.monotonic())
                self._files.move_to_end(key)
                self._locks.pop(key, None)
        self._tidy()
        return path

    def close(self) -> None:
        """Remove everything."""
        with self._lock:
            folder, self._folder = self._folder, None
            self._files.clear()
        if folder is not None and folder[0] == os.getpid():
            shutil.rmtree(folder[1], ignore_errors=True)

    def _root(self) -> Path:
        with self._lock:
            if self._folder is None or self._folder[0] != os.getpid():
                self._folder = (os.getpid(), Path(tempfile.mkdtemp(prefix="citytwin-")))
                self._files.clear()
            return self._folder[1]

    def _tidy(self) -> None:
        with self._lock:
            root, now = self._folder, time.monotonic()
            total = sum(size for size, _ in self._files.values())
            for key, (size, used) in list(self._files.items()):
                if total <= self._kept or root is None:
                    break
                if now - used < SAFE_S and total < 4 * self._kept:
                    continue
                (root[1] / key).unlink(missing_ok=True)
                del self._files[key]
                total -= size
