"""Geometries on the tile's integer grid and their attributes -> one layer of a Mapbox Vector Tile 2.1. Pure.

Spec: https://github.com/mapbox/vector-tile-spec/tree/master/2.1. Geometry commands, tags and varints are made for
all features at once; the only loop is the one that joins the finished pieces of each feature.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from numpy.typing import NDArray

IntArray = NDArray[np.int64]

EXTENT = 4096
POINT, LINE, POLYGON = 1, 2, 3
_VARINT_LIMITS = 1 << (7 * np.arange(1, 6))


@dataclass(frozen=True)
class Pieces:
    """Encoded geometries: `rows` are ascending row numbers, `blobs` the packed commands of each."""

    kind: int
    rows: IntArray
    blobs: list[bytes]


def layer(name: str, pieces: list[Pieces], fids: IntArray, columns: pa.Table) -> bytes:
    """A `Tile.layers` entry, tag and length included; empty bytes if there is no geometry.

    `fids` and `columns` have a row for each row number in `pieces`; `fids` become the numeric feature ids.
    """
    if not any(len(each.rows) for each in pieces):
        return b""
    keys, values, tags = _tags(columns)
    features = []
    for each in pieces:
        head = bytes([0x18, each.kind, 0x22])
        for row, blob in zip(each.rows.tolist(), each.blobs, strict=True):
            own = tags[row]
            body = b"".join(
                (b"\x08", _varint(int(fids[row])), b"\x12", _varint(len(own)), own, head, _varint(len(blob)), blob)
            )
            features.append(b"\x12" + _varint(len(body)) + body)
    body = b"".join(
        [
            b"\x78\x02",  # version 2
            _text(1, name),
            *features,
            *(_text(3, key) for key in keys),
            *(b"\x22" + _varint(len(value)) + value for value in values),
            b"\x28" + _varint(EXTENT),
        ]
    )
    return b"\x1a" + _varint(len(body)) + body


def points(parts: NDArray[np.object_], rows: IntArray) -> Pieces:
    """Points on the integer grid; `rows` (ascending) says to which feature each belongs."""
    xy = shapely.get_coordinates(parts).astype(np.int64)
    kept, first, counts = np.unique(rows, return_index=True, return_counts=True)
    starts = np.r_[0, np.cumsum(1 + 2 * counts)]
    numbers = np.zeros(starts[-1], np.int64)
    numbers[starts[:-1]] = (counts << 3) | 1
    at = np.repeat(starts[:-1] + 1, counts) + 2 * (np.arange(len(xy)) - np.repeat(first, counts))
    numbers[at], numbers[at + 1] = _zigzag(_steps(xy, first)).T
    return Pieces(POINT, kept, _cut(numbers, starts))


def lines(parts: NDArray[np.object_], rows: IntArray) -> Pieces:
    """LineStrings on the integer grid without repeated points; `rows` ascending."""
    return _paths(LINE, parts, rows)


def polygons(parts: NDArray[np.object_], rows: IntArray) -> Pieces:
    """Valid polygons on the integer grid, y down; `rows` ascending.

    Rings are turned so that the exterior has a positive area in tile coordinates, as 4.3.3.3 of the spec asks.
    """
    rings, part_of_ring = shapely.get_rings(shapely.orient_polygons(parts), return_index=True)
    return _paths(POLYGON, rings, rows[part_of_ring])


def _paths(kind: int, paths: NDArray[np.object_], rows: IntArray) -> Pieces:
    xy, path_of_point = shapely.get_coordinates(paths, return_index=True)
    closes = kind == POLYGON
    if closes:  # the last point of a ring repeats the first; ClosePath says so
        is_last = np.r_[path_of_point[1:] != path_of_point[:-1], True]
        xy, path_of_point = xy[~is_last], path_of_point[~is_last]
    counts = np.bincount(path_of_point, minlength=len(paths))
    first_point = np.r_[0, np.cumsum(counts)[:-1]]
    starts = np.r_[0, np.cumsum(2 * counts + 2 + closes)]
    numbers = np.zeros(starts[-1], np.int64)
    numbers[starts[:-1]] = 9  # MoveTo, one point
    numbers[starts[:-1] + 3] = ((counts - 1) << 3) | 2  # LineTo, the others
    if closes:
        numbers[starts[1:] - 1] = 15
    place = np.arange(len(xy)) - first_point[path_of_point]
    at = starts[path_of_point] + 1 + 2 * place + (place > 0)
    kept, first_path = np.unique(rows, return_index=True)
    numbers[at], numbers[at + 1] = _zigzag(_steps(xy.astype(np.int64), first_point[first_path])).T
    return Pieces(kind, kept, _cut(numbers, np.r_[starts[first_path], starts[-1]]))


def _steps(xy: IntArray, first: IntArray) -> IntArray:
    """Differences to the point before; the cursor starts at 0, 0 with each feature."""
    steps = np.diff(xy, axis=0, prepend=np.zeros((1, 2), np.int64))
    steps[first] = xy[first]
    return steps


def _zigzag(values: IntArray) -> IntArray:
    return (values << 1) ^ (values >> 63)


def _cut(numbers: IntArray, starts: IntArray) -> list[bytes]:
    """Varints of `numbers`, cut at `starts` (positions in `numbers`, the end included)."""
    n_bytes = np.searchsorted(_VARINT_LIMITS, numbers, side="right") + 1
    places = np.r_[0, np.cumsum(n_bytes)]
    out = np.zeros(places[-1], np.uint8)
    for k in range(int(n_bytes.max(initial=0))):
        longer = n_bytes > k
        more = np.where(n_bytes[longer] > k + 1, 0x80, 0)
        out[places[:-1][longer] + k] = ((numbers[longer] >> 7 * k) & 0x7F) | more
    data, cuts = out.tobytes(), places[starts].tolist()
    return [data[a:b] for a, b in pairwise(cuts)]


def _tags(columns: pa.Table) -> tuple[list[str], list[bytes], list[bytes]]:
    """Keys, encoded values, and the packed tags of each row. A missing value has no tag."""
    keys: list[str] = []
    values: list[bytes] = []
    chosen: list[IntArray] = []
    for name, column in zip(columns.column_names, columns.columns, strict=True):
        array = _plain(column)
        if array.null_count == len(array):
            continue
        coded = array.dictionary_encode()
        index = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        chosen.append(np.stack([np.full(len(index), len(keys)), np.where(index < 0, -1, index + len(values))], axis=1))
        values += [_value(value) for value in coded.dictionary.to_pylist()]
        keys.append(name)
    if not chosen:
        return [], [], [b""] * columns.num_rows
    pairs = np.stack(chosen, axis=1)  # (rows, keys, 2)
    known = pairs[:, :, 1] >= 0
    return keys, values, _cut(pairs[known].ravel(), np.r_[0, 2 * np.cumsum(known.sum(axis=1))])


def _plain(column: pa.ChunkedArray) -> pa.Array:
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    kind = array.type
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        return array
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        number = array.cast(pa.float64())
        return pc.if_else(pc.is_finite(number), number, pa.scalar(None, pa.float64()))
    if pa.types.is_timestamp(kind):
        return pc.replace_substring(array.cast(pa.string()), " ", "T", max_replacements=1)
    return array.cast(pa.string())


def _value(value: Any) -> bytes:
    if isinstance(value, bool):
        return b"\x38" + bytes([value])
    if isinstance(value, int):  # sint_value where it is negative, else uint_value
        return b"\x30" + _varint(-2 * value - 1) if value < 0 else b"\x28" + _varint(value)
    if isinstance(value, float):
        return b"\x19" + np.float64(value).tobytes()
    return _text(1, str(value))


def _text(number: int, text: str) -> bytes:
    data = text.encode()
    return bytes([number << 3 | 2]) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
