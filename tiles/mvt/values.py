"""Attribute columns -> keys, encoded values and tags of a tile layer (Mapbox Vector Tile 2.1, 4.1 and 4.4). Pure.

Every column is dictionary-encoded by Arrow; the distinct values are encoded in bulk, not one by one.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tiles.mvt import varint

IntArray = NDArray[np.int64]
_SHORT = 124
"""Bytes of text up to which a value and its message have lengths of one byte."""


@dataclass(frozen=True)
class Tags:
    """Keys and values of a layer, and for each row the numbers of its tags.

    `numbers` are the pairs key, value of all rows one after the other; `counts` says how many numbers each row has.
    """

    keys: list[str]
    values: bytes
    numbers: NDArray[np.uint32]
    counts: IntArray


def tags(columns: pa.Table, constants: dict[str, str]) -> Tags:
    """Tags of each row: first the constants, then every value that is there (a missing one has no tag)."""
    n = columns.num_rows
    keys, encoded, chosen, n_values = list(constants), [], [], 0
    for text in constants.values():
        encoded.append(text_value(text))
        chosen.append(np.full(n, n_values, np.int32))
        n_values += 1
    for name, column in zip(columns.column_names, columns.columns, strict=True):
        array = _plain(column)
        if array.null_count == len(array):
            continue
        coded = array.dictionary_encode()
        index = coded.indices
        places = (index.fill_null(-1) if index.null_count else index).to_numpy(zero_copy_only=False)
        chosen.append(np.where(places < 0, -1, places + n_values) if index.null_count else places + n_values)
        encoded.append(_values(coded.dictionary))
        n_values += len(coded.dictionary)
        keys.append(name)
    if not chosen:
        return Tags([], b"", np.zeros(0, np.uint32), np.zeros(n, np.int64))
    pairs = np.empty((n, len(chosen), 2), np.int32)
    for at, places in enumerate(chosen):
        pairs[:, at, 0], pairs[:, at, 1] = at, places
    numbers, n_known = pairs.reshape(-1), np.full(n, len(chosen))
    gaps = np.flatnonzero(numbers < 0)
    if gaps.size:  # a value's place is negative where it is missing: its key goes with it
        n_known = n_known - np.bincount(gaps // (2 * len(chosen)), minlength=n)
        numbers = np.delete(numbers, np.concatenate([gaps - 1, gaps]))
    return Tags(keys, b"".join(encoded), numbers.view(np.uint32), 2 * n_known)


def _plain(column: pa.ChunkedArray) -> pa.Array:
    """A column as text, finite numbers or booleans: what a tile can hold."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    kind = array.type
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_string(kind):
        return array
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        number = array.cast(pa.float64())
        finite = pc.is_finite(number)
        return (
            number if pc.all(finite, min_count=0).as_py() else pc.if_else(finite, number, pa.scalar(None, pa.float64()))
        )
    if pa.types.is_timestamp(kind):
        return pc.replace_substring(array.cast(pa.string()), " ", "T", max_replacements=1)
    return array.cast(pa.string())


def _values(distinct: pa.Array) -> bytes:
    """`Layer.values` entries of some values of one type."""
    kind = distinct.type
    if pa.types.is_boolean(kind):
        return b"".join(b"\x22\x02\x38" + bytes([value]) for value in distinct.to_pylist())
    if pa.types.is_floating(kind):
        return _doubles(distinct.to_numpy(zero_copy_only=False))
    if pa.types.is_integer(kind):
        return _integers(distinct)
    return _texts(distinct)


def _doubles(numbers: NDArray[np.float64]) -> bytes:
    out = np.zeros(len(numbers), np.dtype([("head", "S3"), ("value", "<f8")]))
    out["head"], out["value"] = b"\x22\x09\x19", numbers
    return out.tobytes()


def _integers(distinct: pa.Array) -> bytes:
    """`sint_value` where it is negative, else `uint_value`."""
    if pa.types.is_uint64(distinct.type):
        plain, below = distinct.to_numpy(zero_copy_only=False), np.zeros(len(distinct), bool)
    else:
        signed = distinct.cast(pa.int64()).to_numpy(zero_copy_only=False)
        below = signed < 0
        plain = np.where(below, varint.zigzag(signed), signed.view(np.uint64))
    numbers = np.empty((len(plain), 4), np.uint64)
    numbers[:, 0], numbers[:, 2], numbers[:, 3] = 0x22, np.where(below, 0x30, 0x28), plain
    numbers[:, 1] = 1 + varint.sizes(numbers[:, 3].copy())
    flat = numbers.reshape(-1)
    return varint.encoded(flat, varint.sizes(flat)).tobytes()


def _texts(distinct: pa.Array) -> bytes:
    _, offsets, data = distinct.buffers()
    n, first = len(distinct), distinct.offset
    starts = np.frombuffer(offsets, np.int32)[first : first + n + 1].astype(np.int64)
    lengths = np.diff(starts)
    text = np.frombuffer(data, np.uint8)[starts[0] : starts[-1]] if data is not None else np.zeros(0, np.uint8)
    if int(lengths.max(initial=0)) >= _SHORT:
        whole, cuts = text.tobytes(), (starts - starts[0]).tolist()
        return b"".join(_text_bytes(whole[a:b]) for a, b in pairwise(cuts))
    at = starts[:-1] - starts[0] + 4 * np.arange(n)
    out = np.empty(len(text) + 4 * n, np.uint8)
    out[at], out[at + 1], out[at + 2], out[at + 3] = 0x22, lengths + 2, 0x0A, lengths
    out[np.arange(len(text)) + np.repeat(4 * np.arange(1, n + 1), lengths)] = text
    return out.tobytes()


def text_value(text: str) -> bytes:
    """A `Layer.values` entry with a text."""
    return _text_bytes(text.encode())


def _text_bytes(data: bytes) -> bytes:
    message = b"\x0a" + varint.one(len(data)) + data
    return b"\x22" + varint.one(len(message)) + message
