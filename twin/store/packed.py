"""Columns of many rows as SQLite joins them: one run of bytes for all geometries or texts, no object for each.

`group_concat` joins blobs byte by byte. Where the joined bytes cannot be parted again (a separator inside a
text, an old SQLite that stops at a NUL) the functions here say so, and the caller reads row by row.
"""

from dataclasses import dataclass

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

IntArray = NDArray[np.int64]

BETWEEN = 0x1F
"""The control character that stands between two texts."""
TEXT = f"count({{0}}), CAST(group_concat({{0}}, '{chr(BETWEEN)}') AS BLOB)"
"""SQL for a column of texts, for `texts`: how many are there, and those, without the missing ones."""
IS_MISSING = "json_group_array({0} IS NULL)"
"""SQL for which of them are missing: asked for where some are and some are not."""
BLOB = "CAST(group_concat({0}, '') AS BLOB), json_group_array(length({0}))"
"""SQL for a column of blobs, for `blobs`."""


@dataclass(frozen=True)
class Blobs:
    """Blobs one after the other.

    Attributes
    ----------
    data : all bytes
    sizes : (n,) bytes of each; 0 where there is none
    """

    data: bytes
    sizes: IntArray

    @property
    def starts(self) -> IntArray:
        """(n,) where each begins in `data`."""
        return np.asarray(np.cumsum(self.sizes), np.int64) - self.sizes

    def each(self, rows: list[int] | None = None) -> list[bytes | None]:
        """All or some of them by themselves, None where there is none."""
        chosen = np.arange(len(self.sizes)) if rows is None else np.array(rows, np.int64)
        cuts = zip(self.starts[chosen].tolist(), self.sizes[chosen].tolist(), strict=True)
        return [self.data[at : at + size] if size else None for at, size in cuts]


def of_list(blobs: list[bytes | None]) -> Blobs:
    """Blobs joined."""
    filled = [blob or b"" for blob in blobs]
    return Blobs(b"".join(filled), np.fromiter(map(len, filled), np.int64, len(filled)))


def blobs(data: bytes | None, lengths: str) -> Blobs | None:
    """What BLOB gives; None where the sizes do not fit."""
    sizes = orjson.loads(lengths)
    known = np.array([size or 0 for size in sizes] if None in sizes else sizes, np.int64)
    return Blobs(data or b"", known) if int(known.sum()) == len(data or b"") else None


def texts(n: int, data: bytes | None) -> pa.Array | None:
    """N texts that TEXT has joined; None where one holds the separator or is no UTF-8, or an old SQLite lost some."""
    if not n:
        return pa.nulls(0, pa.string())
    joined = data or b""
    if joined.count(BETWEEN) != n - 1 or not _is_utf8(joined):
        return None
    offsets = np.zeros(n + 1, np.int32)
    offsets[1:-1] = np.flatnonzero(np.frombuffer(joined, np.uint8) == BETWEEN) - np.arange(n - 1)
    offsets[-1] = len(joined) - (n - 1)
    values = joined.translate(None, bytes([BETWEEN]))
    return pa.StringArray.from_buffers(n, pa.py_buffer(offsets), pa.py_buffer(values))


def with_gaps(present: pa.Array, n: int, is_missing: str | None = None) -> pa.Array:
    """N texts of which only some are there: all of them, none, or as IS_MISSING tells."""
    if len(present) in {0, n}:
        return present if len(present) == n else pa.nulls(n, pa.string())
    is_there = np.array(orjson.loads(is_missing or "[]"), np.int8) == 0
    place = np.cumsum(is_there) - 1
    return present.take(pa.array(place, mask=~is_there))


REAL = (
    "json_group_array(CAST({0} AS INTEGER)), "
    "json_group_array(CAST(({0} - CAST({0} AS INTEGER)) * 4611686018427387904.0 AS INTEGER)), "
    "count(*) FILTER (WHERE +{0} > 4e18 OR +{0} < -4e18 OR (+{0} <> 0 AND +{0} < 0.002 AND +{0} > -0.002))"
)
"""SQL for a column of floating-point numbers: JSON lists of whole parts and of fractions in units of 2^-62, and the
number of rows that these cannot hold: huge ones, tiny ones, and those that are no numbers.

SQLite writes the numbers themselves with 15 digits. A double from 2^-10 on is a multiple of 2^-62, so every step here
and in `reals` is exact.
"""


def reals(whole: str, fraction: str) -> pa.Array:
    """The numbers of both lists of REAL."""
    high, low = (pa.array(orjson.loads(text), pa.int64()).cast(pa.float64(), safe=False) for text in (whole, fraction))
    return pc.add(high, pc.multiply(low, 2.0**-62))


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
