"""Just enough protobuf to read vector tiles: fields of a message, packed varints in bulk."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class BadProtobuf(ValueError):
    """The bytes are no message; says at which byte."""


def varint(data: memoryview, at: int) -> tuple[int, int]:
    """(value, next position)."""
    value = shift = 0
    while shift < 70:
        if at >= len(data):
            raise BadProtobuf(f"a varint ends behind byte {at}")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
    raise BadProtobuf(f"a varint of more than 10 bytes at byte {at}")


def fields(data: memoryview) -> Iterator[tuple[int, int, Any]]:
    """(number, wire type, value) of each field: an int, or a memoryview of strings, messages and fixed numbers."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        number, wire = key >> 3, key & 7
        if number == 0:
            raise BadProtobuf(f"field number 0 at byte {at}")
        if wire == VARINT:
            value, at = varint(data, at)
            yield number, wire, value
            continue
        if wire == BYTES:
            size, at = varint(data, at)
        elif wire in {FIXED32, FIXED64}:
            size = 4 if wire == FIXED32 else 8
        else:
            raise BadProtobuf(f"wire type {wire} at byte {at}")
        if at + size > len(data):
            raise BadProtobuf(f"field {number} ends at byte {at + size} of {len(data)}")
        yield number, wire, data[at : at + size]
        at += size


def packed(data: memoryview) -> list[int]:
    """All varints of a packed field; in bulk where there are many."""
    if len(data) <= 128 and max(data, default=0) < 0x80:
        return list(data)
    if len(data) > 128:
        return [int(each) for each in _in_bulk(np.frombuffer(data, np.uint8)).tolist()]
    at, values = 0, []
    while at < len(data):
        value, at = varint(data, at)
        values.append(value)
    return values


def _in_bulk(raw: NDArray[np.uint8]) -> NDArray[np.uint64]:
    ends = np.flatnonzero(raw < 0x80)
    if not len(ends) or ends[-1] != len(raw) - 1:
        raise BadProtobuf("packed varints are cut off")
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > 10:
        raise BadProtobuf("a varint of more than 10 bytes")
    values = np.zeros(len(ends), np.uint64)
    for byte in range(int(lengths.max())):
        some = lengths > byte
        values[some] |= (raw[starts[some] + byte].astype(np.uint64) & np.uint64(0x7F)) << np.uint64(7 * byte)
    return values


def zigzag(value: int) -> int:
    """The signed number of a zigzag code."""
    return (value >> 1) ^ -(value & 1)
