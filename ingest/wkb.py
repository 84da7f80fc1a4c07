"""Well-known binary, as far as GEOS does not read it: types from headers, and faces of TINs and polyhedral surfaces.

Format: OGC 06-103r4, clause 8.2 (codes 1 to 17, +1000 z, +2000 m, +3000 both); EWKB's flags (0x80000000 z, 0x40000000
m, 0x20000000 with an SRID) and GDAL's 2.5D codes are the same as the first of them.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_DEPTH = 16
SURFACE_CODES = {15, 16, 17}

_NAMES = {
    1: "Point", 2: "LineString", 3: "Polygon", 4: "MultiPoint", 5: "MultiLineString", 6: "MultiPolygon",
    7: "GeometryCollection", 8: "CircularString", 9: "CompoundCurve", 10: "CurvePolygon", 11: "MultiCurve",
    12: "MultiSurface", 13: "Curve", 14: "Surface", 15: "PolyhedralSurface", 16: "TIN", 17: "Triangle",
}  # fmt: skip
_KINDS = {
    1: "Point", 4: "Point", 2: "LineString", 5: "LineString", 8: "LineString", 9: "LineString", 11: "LineString",
    13: "LineString", 3: "Polygon", 6: "Polygon", 10: "Polygon", 12: "Polygon", 14: "Polygon", 15: "Polygon",
    16: "Polygon", 17: "Polygon",
}  # fmt: skip
CURVE_CODES = {8, 9, 10, 11, 12, 13, 14}

Rings = list[NDArray[np.float64]]
"""One polygon: (n, 3) closed rings, the outer one first; z is NaN where there is none."""


class BrokenWkb(ValueError):
    """Bytes that are no WKB."""


@dataclass(frozen=True)
class Head:
    """What the first bytes say.

    Attributes
    ----------
    code : 1 … 17
    has_z, has_m : of the coordinates
    is_little : byte order
    n_bytes : where the content begins
    """

    code: int
    has_z: bool
    has_m: bool
    is_little: bool
    n_bytes: int


def head(data: bytes, at: int = 0) -> Head:
    """Header of the geometry that begins at byte `at`. Raises BrokenWkb."""
    if len(data) < at + 5 or data[at] > 1:
        raise BrokenWkb("it ends early, or has no byte order")
    (word,) = struct.unpack_from("<I" if data[at] else ">I", data, at + 1)
    thousands, code = divmod(word & 0x0FFFFFFF, 1000)
    if code not in _NAMES or thousands > 3:
        raise BrokenWkb(f"it has type {word}")
    has_z = bool(word & 0x80000000) or thousands in {1, 3}
    has_m = bool(word & 0x40000000) or thousands in {2, 3}
    return Head(code, has_z, has_m, bool(data[at]), 9 if word & 0x20000000 else 5)


def type_name(data: bytes) -> str:
    """`MultiPolygonZ`, `TIN` …; `Unknown` for bytes that are no WKB."""
    try:
        found = head(data)
    except BrokenWkb:
        return "Unknown"
    return _NAMES[found.code] + ("Z" if found.has_z else "")


def is_curved(data: bytes) -> bool:
    """True for the types with arcs, which GEOS does not know."""
    try:
        return head(data).code in CURVE_CODES
    except BrokenWkb:
        return False


def kinds(data: bytes) -> frozenset[str]:
    """`Point`, `LineString`, `Polygon`: one for a simple geometry, several (or none) for a collection."""
    try:
        if (code := head(data).code) != 7:
            return frozenset({_KINDS[code]})
        return frozenset(_KINDS[leaf.code] for leaf, _ in _leaves(data))
    except (BrokenWkb, struct.error):
        return frozenset()


def has_surface(data: bytes) -> bool:
    """True for a TIN, triangle or polyhedral surface, and for a collection with one."""
    try:
        code = head(data).code
        return code in SURFACE_CODES or (code == 7 and any(leaf.code in SURFACE_CODES for leaf, _ in _leaves(data)))
    except (BrokenWkb, struct.error):
        return False


def faces(data: bytes) -> list[Rings]:
    """All polygons and triangles of a geometry, in its order; points and lines give none. Raises BrokenWkb."""
    try:
        return [face for leaf, content in _leaves(data) if _KINDS[leaf.code] == "Polygon" for face in content]
    except struct.error as error:
        raise BrokenWkb("it ends early") from error


def _leaves(data: bytes) -> Iterator[tuple[Head, list[Rings]]]:
    """Every geometry that is no collection, with its polygons."""
    reader = _Reader(data)
    yield from reader.geometries(0)


class _Reader:
    """Walks through nested geometries; every count is checked against the bytes that are there."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def geometries(self, depth: int) -> Iterator[tuple[Head, list[Rings]]]:
        if depth > MAX_DEPTH:
            raise BrokenWkb(f"it nests deeper than {MAX_DEPTH}")
        found = head(self.data, self.at)
        if found.code == 7:
            self.at += found.n_bytes
            for _ in range(self._count(found, 5)):
                yield from self.geometries(depth + 1)
        elif found.code in CURVE_CODES:
            raise BrokenWkb("it has a curve")
        else:
            yield found, self._content(found)

    def _content(self, found: Head) -> list[Rings]:
        self.at += found.n_bytes
        if found.code == 1:
            self._points(found, 1)
        elif found.code == 2:
            self._points(found, self._count(found, 16))
        elif found.code in {3, 17}:
            return [[self._points(found, self._count(found, 16)) for _ in range(self._count(found, 4))]]
        else:
            parts: list[Rings] = []
            for _ in range(self._count(found, 5)):
                inner = head(self.data, self.at)
                if inner.code not in {1, 2, 3, 17}:
                    raise BrokenWkb(f"a part of it has type {inner.code}")
                parts += self._content(inner)
            return parts
        return []

    def _count(self, found: Head, least_bytes: int) -> int:
        (n,) = struct.unpack_from("<I" if found.is_little else ">I", self.data, self.at)
        self.at += 4
        if n * least_bytes > len(self.data) - self.at:
            raise BrokenWkb(f"it claims {n} parts")
        return int(n)

    def _points(self, found: Head, n: int) -> NDArray[np.float64]:
        width = 2 + found.has_z + found.has_m
        if n * width * 8 > len(self.data) - self.at:
            raise BrokenWkb("it ends early")
        values = np.frombuffer(self.data, "<f8" if found.is_little else ">f8", n * width, self.at).reshape(n, width)
        self.at += n * width * 8
        out = np.full((n, 3), np.nan)
        out[:, : 2 + found.has_z] = values[:, : 2 + found.has_z]
        return out


def polyhedral(rings: list[NDArray[np.float64]]) -> bytes:
    """(n, 3) open rings of faces -> WKB of a PolyhedralSurface Z."""
    parts = [struct.pack("<BII", 1, 1015, len(rings))]
    for ring in rings:
        closed = np.concatenate([ring, ring[:1]]).astype("<f8")
        parts += [struct.pack("<BIII", 1, 1003, 1, len(closed)), closed.tobytes()]
    return b"".join(parts)
