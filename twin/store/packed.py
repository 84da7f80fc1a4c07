"""Columns of many rows as SQLite joins them: one run of bytes for all geometries or texts, no object for each.

`group_concat` joins blobs byte by byte. Where the joined bytes cannot be parted again (a separator inside a text,
an old SQLite that stops at a NUL) the functions here say so, and the caller reads row by row.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

IntArray = NDArray[np.int64]

BETWEEN, MISSING = 0x1F, 0x1E
"""Control characters that stand between two texts, and for one that is missing."""


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


def blobs(data: bytes | None, sizes: list[int | None]) -> Blobs | None:
    """Joined blobs with their sizes; None where the sizes do not fit."""
    known = np.array([size or 0 for size in sizes] if None in sizes else sizes, np.int64)
    return Blobs(data or b"", known) if int(known.sum()) == len(data or b"") else None


def texts(data: bytes | None, n: int) -> pa.Array | None:
    """N texts joined by BETWEEN, missing ones as MISSING; None where they cannot be told apart or are no UTF-8."""
    joined = data or b""
    if joined.count(BETWEEN) != n - 1 or not _is_utf8(joined):
        return None
    found = np.frombuffer(joined, np.uint8)
    ends = np.append(np.flatnonzero(found == BETWEEN), len(found))
    offsets = np.zeros(n + 1, np.int32)
    offsets[1:] = ends - np.arange(n)
    values = found[found != BETWEEN]
    n_missing = joined.count(MISSING)
    if not n_missing:
        return pa.StringArray.from_buffers(n, pa.py_buffer(offsets), pa.py_buffer(values))
    is_missing = np.diff(offsets) == 1
    is_missing[is_missing] = values[offsets[:-1][is_missing]] == MISSING
    if int(is_missing.sum()) != n_missing:
        return None
    if n_missing == n:
        return pa.nulls(n, pa.string())
    present = pa.py_buffer(np.packbits(~is_missing, bitorder="little"))
    return pa.StringArray.from_buffers(n, pa.py_buffer(offsets), pa.py_buffer(values), present, n_missing)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
