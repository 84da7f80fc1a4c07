"""`numberMatched`: exact, and counted once for each state of a layer.

A reader who pages asks for the same count with each page, QGIS asks for it by `limit=1` before it asks for a page.
"""

from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from threading import Lock
from time import perf_counter
from typing import Any

import orjson
import shapely

from server.serving import Snapshot
from twin.store.interface import LayerInfo, Query

KEPT = 4096
CHEAP_S = 0.002
"""What is counted faster is not kept."""


class Counts:
    """Counts of the last queries. Thread-safe."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, int] = OrderedDict()
        self._lock = Lock()

    def get(self, key: bytes) -> int | None:
        """A count that is known."""
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key]

    def put(self, key: bytes, count: int) -> None:
        """Keep a count; the one longest unused goes."""
        with self._lock:
            self._kept[key] = count
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)


def matched(city: Snapshot, info: LayerInfo, query: Query, count: Callable[[], int]) -> int:
    """Number of features that match, as known for this state of the layer, or as counted now."""
    counts = city.make("counts", Counts)
    key = _key(info, query)
    known = counts.get(key)
    if known is not None:
        return known
    begin = perf_counter()
    made = count()
    if perf_counter() - begin > CHEAP_S:
        counts.put(key, made)
    return made


def _key(info: LayerInfo, query: Query) -> bytes:
    """Names everything the count hangs on; a snapshot is of one state and one scope."""
    parts: list[Any] = [info.id, query.filter, query.ids, query.at, query.since, query.z]
    text = orjson.dumps(parts, option=orjson.OPT_PASSTHROUGH_DATACLASS, default=str)
    shape = b"" if query.region is None else shapely.to_wkb(query.region)
    return blake2b(text + b"\0" + shape, digest_size=16).digest()
