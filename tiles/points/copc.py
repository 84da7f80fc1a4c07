"""A COPC file, read node by node: header, hierarchy, and the records of one octree node by its place in the file.

COPC 1.0 (https://copc.io) is LAS 1.4 (ASPRS, R15) in LAZ chunks of one node each. Only the fields that a tile shows
are unpacked. `lazrs` unpacks a chunk in 0.4 µs a point; copclib's reader took 1.3 to 1.8 times as long.
"""

import contextlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from layers.errors import InvalidInput

Key = tuple[int, int, int, int]
"""Depth, x, y, z of a node."""
Triple = tuple[float, float, float]
Records = NDArray[np.void]

MAX_NODES = 500_000
MAX_NODE_POINTS = 4_000_000
MAX_DEPTH = 31
"""What a file may state before it is believed to be broken; an unpacked record has 30 to some 60 bytes."""
MAX_PAGES = 20_000

_FIELDS = [
    ("X", "<i4"), ("Y", "<i4"), ("Z", "<i4"), ("intensity", "<u2"), ("returns", "u1"), ("flags", "u1"),
    ("classification", "u1"), ("user_data", "u1"), ("scan_angle", "<i2"), ("source_id", "<u2"), ("gps_time", "<f8"),
]  # fmt: skip
_RGB, _NIR = [("red", "<u2"), ("green", "<u2"), ("blue", "<u2")], [("nir", "<u2")]
_FORMATS = {6: _FIELDS, 7: [*_FIELDS, *_RGB], 8: [*_FIELDS, *_RGB, *_NIR]}
_LAYERS = {6: 9, 7: 10, 8: 11}
"""Of a chunk, by point format; one more for each extra byte."""
_ENTRY = np.dtype([("key", "<i4", 4), ("offset", "<u8"), ("n_bytes", "<i4"), ("n_points", "<i4")])
_HEAD, _VLR = 375, 54


@dataclass(frozen=True)
class Header:
    """What is true of all points. Coordinates are in the CRS's units; `coordinate = step * scale + offset`.

    `root_low`, `side` : the cube of the root; `spacing` : distance of points in the root node, as the file states it.
    `laszip` : the record that the decoder needs.
    """

    format_id: int
    record_bytes: int
    n_points: int
    scales: Triple
    offsets: Triple
    low: Triple
    high: Triple
    root_low: Triple
    side: float
    spacing: float
    laszip: bytes

    @property
    def dtype(self) -> np.dtype[np.void]:
        """The packed record; extra bytes are one field."""
        fields = _FORMATS[self.format_id]
        n_extra = self.record_bytes - np.dtype(fields).itemsize
        return np.dtype([*fields, ("extra", f"V{n_extra}")] if n_extra else fields)

    @property
    def has_color(self) -> bool:
        """True if the records have red, green and blue."""
        return self.format_id in {7, 8}


@dataclass(frozen=True)
class Hierarchy:
    """All nodes, parents before children: (n, 4) keys, (n,) places in the file, sizes, points; 0 points is no chunk."""

    keys: NDArray[np.int32]
    offsets: NDArray[np.uint64]
    n_bytes: NDArray[np.int32]
    n_points: NDArray[np.int32]


class Copc:
    """One file. Reading is thread-safe: every read opens the file anew."""

    def __init__(self, path: Path) -> None:
        """InvalidInput if it is no COPC file, or a broken one; the message names it."""
        self.path = path
        with self._reading("header"), path.open("rb") as file:
            self._size = file.seek(0, 2)
            file.seek(0)
            self.header, root = _header(file.read(_HEAD + _VLR + 160))
            self.header = _with_laszip(self.header, _records(file.read(self._rest)))
        with self._reading("hierarchy"):
            self.hierarchy = self._hierarchy(*root)

    @property
    def _rest(self) -> int:
        """Bytes to read for the other variable length records: a WKT and descriptions are some thousand."""
        return min(max(self._size - _HEAD - _VLR - 160, 0), 1_000_000)

    def node(self, index: int, *, color: bool = True) -> Records:
        """(n,) records of the node with that number in the hierarchy, in the file's order.

        Only X, Y, Z, intensity, returns, classification and, if asked for, red, green and blue are filled.
        """
        import lazrs

        n_points, n_bytes = int(self.hierarchy.n_points[index]), int(self.hierarchy.n_bytes[index])
        made = np.zeros(n_points, self.header.dtype)
        if not n_points:
            return made
        with self._reading(f"node {'-'.join(map(str, self.hierarchy.keys[index].tolist()))}"):
            with self.path.open("rb") as file:
                file.seek(int(self.hierarchy.offsets[index]))
                packed = file.read(n_bytes)
            self._check(packed, n_points, n_bytes)
            wanted = lazrs.SELECTIVE_DECOMPRESS_XY_RETURNS_CHANNEL | lazrs.SELECTIVE_DECOMPRESS_Z
            wanted |= lazrs.SELECTIVE_DECOMPRESS_CLASSIFICATION | lazrs.SELECTIVE_DECOMPRESS_INTENSITY
            if color and self.header.has_color:
                wanted |= lazrs.SELECTIVE_DECOMPRESS_RGB
            lazrs.decompress_points_with_chunk_table(
                packed, self.header.laszip, made.view(np.uint8), [(n_points, n_bytes)],
                lazrs.DecompressionSelection(wanted),
            )  # fmt: skip
        return made

    def _check(self, packed: bytes, n_points: int, n_bytes: int) -> None:
        """A chunk begins with one whole record, the number of points and the size of each layer: the decoder believes
        these sizes, so that 3,000 wrong bytes made it take 4 GB.
        """
        fields = np.dtype(_FORMATS[self.header.format_id])
        n_layers = _LAYERS[self.header.format_id] + self.header.record_bytes - fields.itemsize
        first = self.header.record_bytes
        if len(packed) < max(n_bytes, first + 4 + 4 * n_layers):
            raise _Broken("it ends before the node does")
        stated, *sizes = struct.unpack_from(f"<{1 + n_layers}I", packed, first)
        if stated != n_points or first + 4 + 4 * n_layers + sum(sizes) != n_bytes:
            raise _Broken("it is not packed as its hierarchy says")

    def coordinates(self, records: Records) -> NDArray[np.float64]:
        """(n, 3) coordinates in the CRS's units."""
        steps = np.stack([records[axis] for axis in "XYZ"], axis=1)
        return steps * np.array(self.header.scales) + np.array(self.header.offsets)

    def _hierarchy(self, offset: int, n_bytes: int) -> Hierarchy:
        """Every page, from the root page on."""
        found, waiting, n_nodes = [], [(offset, n_bytes)], 0
        seen: set[tuple[int, int]] = set()
        with self.path.open("rb") as file:
            while waiting:
                page = waiting.pop()
                if page in seen or len(seen) >= MAX_PAGES or page[1] % 32 or page[1] <= 0:
                    raise _Broken(f"page at byte {page[0]} is wrong")
                seen.add(page)
                file.seek(page[0])
                data = file.read(min(page[1], 32 * (MAX_NODES + 1)))
                read = np.frombuffer(data, _ENTRY, len(data) // 32)
                if len(read) * 32 < page[1]:
                    raise _Broken(f"page at byte {page[0]} is not whole")
                is_page = read["n_points"] == -1
                waiting += [(int(row["offset"]), int(row["n_bytes"])) for row in read[is_page]]
                found.append(read[~is_page])
                n_nodes += len(found[-1])
                if n_nodes > MAX_NODES:
                    raise _Broken(f"it has more than {MAX_NODES:,} nodes")
        return self._checked(np.concatenate(found))

    def _checked(self, entries: NDArray[np.void]) -> Hierarchy:
        """Entries sorted by key, after what a tree must be was looked at."""
        order = np.lexsort(entries["key"].T[::-1])
        entries = entries[order]
        keys, n_points = entries["key"].astype(np.int32), entries["n_points"]
        depth = keys[:, 0]
        if not len(keys) or keys[0].any() or (depth < 0).any() or (depth > MAX_DEPTH).any():
            raise _Broken("it has no root, or depths that cannot be")
        if ((keys[:, 1:] < 0) | (keys[:, 1:] >= np.left_shift(np.int64(1), depth.astype(np.int64))[:, None])).any():
            raise _Broken("a node lies outside its tree")
        if len(keys) > 1 and (keys[1:] == keys[:-1]).all(axis=1).any():
            raise _Broken("a node is there twice")
        held = n_points > 0
        ends = entries["offset"][held] + entries["n_bytes"][held].astype(np.uint64)
        if (n_points < 0).any() or (n_points > MAX_NODE_POINTS).any() or (entries["n_bytes"][held] <= 0).any():
            raise _Broken("a node has an impossible number of points")
        if (ends > self._size).any():
            raise _Broken("a node lies beyond the end of the file")
        if int(n_points.sum(dtype=np.int64)) != self.header.n_points:
            raise _Broken(
                f"its nodes hold {n_points.sum(dtype=np.int64)} points, its header says {self.header.n_points}"
            )
        return Hierarchy(keys, entries["offset"], entries["n_bytes"], n_points)

    @contextlib.contextmanager
    def _reading(self, part: str) -> Iterator[None]:
        """Whatever the bytes lead to becomes one clear sentence; a panic of the decoder is no Exception."""
        try:
            yield
        except (_Broken, OSError, ValueError, struct.error, MemoryError) as error:
            raise self._complaint(part, error) from error
        except BaseException as error:
            if type(error).__name__ not in {"LazrsError", "PanicException"}:
                raise
            raise self._complaint(part, error) from error

    def _complaint(self, part: str, error: BaseException) -> InvalidInput:
        words = str(error).split("\n", 1)[0][:200] if not isinstance(error, OSError) else error.strerror
        problem = f"The point cloud {self.path.name} cannot be read ({part}: {words})."
        return InvalidInput(problem, "Build the twin again from its source.", code="POINTS_UNREADABLE")


class _Broken(Exception):
    """What is wrong with the bytes."""


def _header(head: bytes) -> tuple[Header, tuple[int, int]]:
    """The LAS header and the COPC record behind it, without `laszip`; place and size of the root page."""
    if len(head) < _HEAD + _VLR + 160 or head[:4] != b"LASF":
        raise _Broken("it is no LAS 1.4 file")
    user, number = struct.unpack_from("<16sH", head, _HEAD + 2)
    if user.rstrip(b"\0") != b"copc" or number != 1:
        raise _Broken("it is LAS, but not COPC")
    format_id, record_bytes = struct.unpack_from("<BH", head, 104)
    format_id &= 0x3F
    if format_id not in _FORMATS or record_bytes < np.dtype(_FORMATS[format_id]).itemsize:
        raise _Broken(f"COPC has no point format {format_id} of {record_bytes} bytes")
    scales, offsets = struct.unpack_from("<3d", head, 131), struct.unpack_from("<3d", head, 155)
    x_high, x_low, y_high, y_low, z_high, z_low = struct.unpack_from("<6d", head, 179)
    (n_points,) = struct.unpack_from("<Q", head, 247)
    x, y, z, half, spacing, at, size = struct.unpack_from("<5d2Q", head, _HEAD + _VLR)
    numbers = np.array([*scales, *offsets, x_low, y_low, z_low, x_high, y_high, z_high, x, y, z, half, spacing])
    if not np.isfinite(numbers).all() or not all(scales) or half <= 0 or spacing <= 0:
        raise _Broken("its header has numbers that place nothing")
    made = Header(
        format_id, record_bytes, n_points, scales, offsets, (x_low, y_low, z_low), (x_high, y_high, z_high),
        (x - half, y - half, z - half), 2 * half, spacing, b"",
    )  # fmt: skip
    return made, (at, size)


def _records(data: bytes) -> Iterator[tuple[bytes, int, bytes]]:
    """User, number and content of the variable length records that are whole."""
    at = 0
    while at + _VLR <= len(data):
        user, number, n_bytes = struct.unpack_from("<16sHH", data, at + 2)
        yield user.rstrip(b"\0"), number, data[at + _VLR : at + _VLR + n_bytes]
        at += _VLR + n_bytes


def _with_laszip(header: Header, records: Iterator[tuple[bytes, int, bytes]]) -> Header:
    import lazrs

    for user, number, content in records:
        if user == b"laszip encoded" and number == 22204:
            if lazrs.LazVlr(content).item_size() != header.record_bytes:
                raise _Broken("what is packed is not what its header says")
            return replace(header, laszip=content)
    raise _Broken("it does not say how it is packed")
