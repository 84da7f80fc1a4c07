"""The bytes of a COPC file: header, records, compressed nodes, hierarchy.

COPC 1.0 (https://copc.io) is LAS 1.4 (ASPRS, R15) in LAZ chunks of one octree node each. `lazrs` compresses
several nodes at a time, on all cores; `copclib`'s writer does one at a time and takes no extra bytes from Python.
"""

import datetime as dt
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ingest.points import octree
from ingest.points.octree import Key, Records
from ingest.points.records import ExtraBytes

BATCH_POINTS = 400_000
"""So many points are given to the compressor at a time."""
WKT_BIT = 16
KEPT_ENCODING = 0b1001
"""Bits of the source's global encoding that stay true: kind of GPS time, synthetic return numbers."""


@dataclass(frozen=True)
class Facts:
    """What the header states about the points; coordinates in the CRS's units."""

    format_id: int
    scales: tuple[float, float, float]
    offsets: tuple[float, float, float]
    low: tuple[float, float, float]
    high: tuple[float, float, float]
    n_points: int
    by_return: tuple[int, ...]
    gps_times: tuple[float, float]
    root_low: tuple[float, float, float]
    side: float
    wkt: str
    extra: ExtraBytes = field(default_factory=ExtraBytes)
    global_encoding: int = 0
    source_id: int = 0
    created: dt.date | None = None


class CopcFile:
    """Write nodes in any order, then `close`. The file is whole only after that."""

    def __init__(self, target: Path, facts: Facts) -> None:
        import lazrs

        self._facts = facts
        self._vlr = lazrs.LazVlr.new_for_compression(facts.format_id, facts.extra.n_bytes, True)
        self._keys: list[Key] = []
        self._waiting: list[Records] = []
        self._n_waiting = self.n_points = 0
        self._file = target.open("w+b")
        try:
            self._file.write(self._head((0, 0), 0))
            self._first = self._file.tell() + 8  # a chunk table's address comes before the first chunk
            self._compressor = lazrs.ParLasZipCompressor(self._file, self._vlr)
            self._compressor.reserve_offset_to_chunk_table()
        except BaseException:
            self._file.close()
            raise

    def add(self, key: Key, records: Records) -> None:
        """One node with at least one point; each key once."""
        self._keys.append(key)
        self._waiting.append(np.ascontiguousarray(records))
        self._n_waiting += len(records)
        self.n_points += len(records)
        if self._n_waiting >= BATCH_POINTS:
            self._compress()

    def _compress(self) -> None:
        if self._waiting:
            self._compressor.compress_chunks([each.view(np.uint8) for each in self._waiting])
        self._waiting, self._n_waiting = [], 0

    def close(self) -> None:
        """Compress what is left, write chunk table, hierarchy and the true header."""
        import lazrs

        with self._file:
            self._compress()
            self._compressor.done()
            self._file.seek(self._first - 8)
            self._file.seek(struct.unpack("<Q", self._file.read(8))[0])
            chunks = lazrs.read_chunk_table_only(self._file, self._vlr)
            self._file.seek(0, 2)
            start = self._file.tell()
            hierarchy = self._hierarchy(chunks)
            self._file.write(struct.pack("<H16sHQ32s", 0, b"copc", 1000, len(hierarchy), b"EPT Hierarchy"))
            self._file.write(hierarchy)
            self._file.seek(0)
            self._file.write(self._head((start + 60, len(hierarchy)), start))

    def abandon(self) -> None:
        """Close without finishing."""
        self._file.close()

    def _hierarchy(self, chunks: list[tuple[int, int]]) -> bytes:
        """One page: key, offset, bytes and points of each node, and an empty entry for each parent without points."""
        entries: dict[Key, tuple[int, int, int]] = {}
        offset = self._first
        for key, (n_points, n_bytes) in zip(self._keys, chunks, strict=False):
            entries[key] = (offset, n_bytes, n_points)
            offset += n_bytes
        for key in self._keys:
            depth, x, y, z = key
            while depth and (parent := (depth - 1, x >> 1, y >> 1, z >> 1)) not in entries:
                entries[parent] = (0, 0, 0)
                depth, x, y, z = parent
        return b"".join(struct.pack("<4iQii", *key, *entries[key]) for key in sorted(entries))

    def _head(self, hierarchy: tuple[int, int], evlr_start: int) -> bytes:
        facts, extra = self._facts, self._facts.extra
        half = facts.side / 2
        info = struct.pack(
            "<5d2Q2d88x", *(low + half for low in facts.root_low), half, facts.side / (1 << octree.GRID_LEVELS),
            *hierarchy, *facts.gps_times,
        )  # fmt: skip
        wkt = facts.wkt.encode() + b"\0"
        vlrs = [_vlr(b"copc", 1, info), _vlr(b"laszip encoded", 22204, self._vlr.record_data())]
        vlrs += [_vlr(b"LASF_Projection", 2112, wkt)]
        if extra.descriptions:
            vlrs.append(_vlr(b"LASF_Spec", 4, extra.descriptions))
        records = b"".join(vlrs)
        day = facts.created or dt.datetime.now(dt.UTC).date()
        return (
            struct.pack("<4sHH16xBB", b"LASF", facts.source_id, facts.global_encoding & KEPT_ENCODING | WKT_BIT, 1, 4)
            + struct.pack("<32s32sHH", b"", b"CityTwin", day.timetuple().tm_yday, day.year)
            + struct.pack("<HIIBH24x", 375, 375 + len(records), len(vlrs), facts.format_id | 0x80, self._item_bytes())
            + struct.pack("<6d", *facts.scales, *facts.offsets)
            + struct.pack("<6d", *(value for pair in zip(facts.high, facts.low, strict=True) for value in pair))
            + struct.pack("<QQIQ15Q", 0, evlr_start, 1, facts.n_points, *facts.by_return)
            + records
        )

    def _item_bytes(self) -> int:
        return int(self._vlr.item_size())


def _vlr(user: bytes, record: int, data: bytes) -> bytes:
    return struct.pack("<H16sHH32s", 0, user, record, len(data), b"") + data


def wkt_of(crs_text: str) -> str:
    """The CRS as WKT 1, which LAS asks for, or WKT 2 where WKT 1 cannot say it (heights above the ellipsoid)."""
    from layers import crs

    parsed: Any = crs.parse(crs_text)
    try:
        text = parsed.to_wkt("WKT1_GDAL")
    except Exception:  # noqa: BLE001 pyproj's error, which only layers.crs may import
        text = None
    return str(text or parsed.to_wkt())
