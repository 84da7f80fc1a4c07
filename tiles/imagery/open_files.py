"""Raster files kept open from tile to tile: opening one costs more than reading a block of it."""

import atexit
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

IDLE_FILES = 32
"""Open files kept for the next tile; each is some 100 kB."""


def stamp(path: Path) -> tuple[int, int]:
    """Changes when a file is written anew. OSError where there is none."""
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size


class OpenFiles:
    """Open files by path and overview. One thread at a time has a file; a forked process opens its own."""

    def __init__(self, idle: int = IDLE_FILES) -> None:
        self._idle, self._lock = idle, threading.Lock()
        self._open: OrderedDict[tuple[Any, ...], list[Any]] = OrderedDict()

    @contextmanager
    def open(self, path: str, level: int | None) -> Iterator[Any]:
        """A dataset for this thread alone. One over which something failed is not used again."""
        import rasterio

        key = (os.getpid(), path, stamp(Path(path)), level)
        with self._lock:
            spare = self._open.get(key)
            dataset = spare.pop() if spare else None
            if spare is not None and not spare:
                del self._open[key]
        if dataset is None:
            dataset = rasterio.open(path, **({} if level is None else {"overview_level": level}))
        try:
            yield dataset
        except BaseException:
            dataset.close()
            raise
        self._put_back(key, dataset)

    def close(self) -> None:
        """Close what is kept."""
        with self._lock:
            stale = [each for spare in self._open.values() for each in spare]
            self._open.clear()
        for each in stale:
            each.close()

    def _put_back(self, key: tuple[Any, ...], dataset: Any) -> None:
        stale = []
        with self._lock:
            self._open.setdefault(key, []).append(dataset)
            self._open.move_to_end(key)
            while sum(map(len, self._open.values())) > self._idle:
                stale += self._open.popitem(last=False)[1]
        for each in stale:
            each.close()


POOL = OpenFiles()
atexit.register(POOL.close)  # while GDAL is still there to close them
