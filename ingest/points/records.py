"""Point records as LAS 1.4 has them, and the conversion of older ones to the formats that COPC allows.

ASPRS LAS 1.4 R15, tables 6 to 21. COPC 1.0 allows point formats 6, 7 (colour) and 8 (colour and near infrared); bytes
after the standard fields ("extra bytes") are carried over as they are. Waveform references (4, 5, 9, 10) have no place.
"""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ingest.points.octree import Records

SCAN_ANGLE_STEP_DEG = 0.006
OVERLAP_CLASS = 12
"""In formats 0 to 5 a class; from 6 on a flag. The class is kept and the flag is set."""

_XYZ = [("X", "<i4"), ("Y", "<i4"), ("Z", "<i4"), ("intensity", "<u2")]
_OLD = [
    *_XYZ,
    ("bits", "u1"),
    ("class_bits", "u1"),
    ("scan_angle_rank", "i1"),
    ("user_data", "u1"),
    ("source_id", "<u2"),
]
_NEW = [
    *_XYZ, ("returns", "u1"), ("flags", "u1"), ("classification", "u1"), ("user_data", "u1"), ("scan_angle", "<i2"),
    ("source_id", "<u2"), ("gps_time", "<f8"),
]  # fmt: skip
_TIME, _WAVE = [("gps_time", "<f8")], [("wave", "V29")]
_RGB, _NIR = [("red", "<u2"), ("green", "<u2"), ("blue", "<u2")], [("nir", "<u2")]

_FIELDS: dict[int, list[tuple[str, str]]] = {
    0: _OLD,
    1: [*_OLD, *_TIME],
    2: [*_OLD, *_RGB],
    3: [*_OLD, *_TIME, *_RGB],
    4: [*_OLD, *_TIME, *_WAVE],
    5: [*_OLD, *_TIME, *_RGB, *_WAVE],
    6: _NEW,
    7: [*_NEW, *_RGB],
    8: [*_NEW, *_RGB, *_NIR],
    9: [*_NEW, *_WAVE],
    10: [*_NEW, *_RGB, *_NIR, *_WAVE],
}
TARGET = {0: 6, 1: 6, 2: 7, 3: 7, 4: 6, 5: 7, 6: 6, 7: 7, 8: 8, 9: 6, 10: 8}
"""Point format of the file -> the one it becomes."""
WAVEFORMS = {4, 5, 9, 10}
HAS_TIME = set(range(11)) - {0, 2}


def record_dtype(format_id: int, n_extra_bytes: int = 0) -> np.dtype[np.void]:
    """The packed record of a point format; extra bytes are one field `extra`."""
    extra = [("extra", f"V{n_extra_bytes}")] if n_extra_bytes else []
    return np.dtype([*_FIELDS[format_id], *extra])


def converted(raw: Records, format_id: int) -> Records:
    """Records of one format as their target format: nothing is rounded but the scan angle, to 0.006°."""
    n_extra = raw.dtype.itemsize - record_dtype(format_id).itemsize
    given = raw.view(record_dtype(format_id, n_extra))
    if format_id in {6, 7, 8}:
        return given
    made = np.zeros(len(raw), record_dtype(TARGET[format_id], n_extra))
    for name in set(made.dtype.names or ()) & set(given.dtype.names or ()):
        made[name] = given[name]
    if format_id < 6:
        bits, class_bits = given["bits"], given["class_bits"]
        made["returns"] = (bits & 7) | ((bits >> 3 & 7) << 4)
        made["classification"] = class_bits & 31
        is_overlap = (class_bits & 31) == OVERLAP_CLASS
        made["flags"] = class_bits >> 5 | is_overlap << 3 | (bits & 0xC0)
        made["scan_angle"] = _ANGLES[given["scan_angle_rank"].view(np.uint8)]
    return made


def _angles() -> NDArray[np.int16]:
    """(256,) scan angle in steps of 0.006° by the byte that held whole degrees; rounding it gives the degrees back."""
    degrees = np.arange(256, dtype=np.uint8).view(np.int8).astype(np.float64)
    return np.rint(degrees / SCAN_ANGLE_STEP_DEG).astype(np.int16)


_ANGLES = _angles()


@dataclass(frozen=True)
class ExtraBytes:
    """The bytes after the standard fields: how many, and the 192-byte descriptions of LAS 1.4 (table 24)."""

    n_bytes: int = 0
    descriptions: bytes = b""


_SIZES = (0, 1, 1, 2, 2, 4, 4, 8, 8, 4, 8)
_TYPES = {np.dtype(kind): i for i, kind in enumerate(("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"), 1)}


def described(descriptions: bytes, n_bytes: int) -> ExtraBytes:
    """Descriptions that fit the bytes: what is not described, or wrongly, is declared "undocumented" (type 0)."""
    kept: list[bytes] = []
    n_left = n_bytes
    for at in range(0, len(descriptions) - 191, 192):
        kind, options = descriptions[at + 2], descriptions[at + 3]
        size = options if kind == 0 else _SIZES[(kind - 1) % 10 + 1] * ((kind - 1) // 10 + 1)
        if size > n_left or kind > 30:
            kept, n_left = [], n_bytes
            break
        kept.append(descriptions[at : at + 192])
        n_left -= size
    while n_left > 0:
        kept.append(struct.pack("<2xBB32s156x", 0, min(n_left, 255), b"undocumented"))
        n_left -= min(n_left, 255)
    return ExtraBytes(n_bytes, b"".join(kept))


def describe(columns: dict[str, np.dtype[np.generic]]) -> ExtraBytes:
    """Descriptions of named columns, in their order. Raises KeyError for a type that LAS lacks."""
    rows = [struct.pack("<2xBB32s156x", _TYPES[kind], 0, name.encode()[:32]) for name, kind in columns.items()]
    return ExtraBytes(sum(kind.itemsize for kind in columns.values()), b"".join(rows))
