"""Well-known text and hexadecimal WKB in the cells of a table -> WKB, with the SRID that EWKT states.

Format: OGC 06-103r4, clause 7 (WKT, with TIN, TRIANGLE and POLYHEDRALSURFACE), PostGIS EWKT (`SRID=4326;POINT(…)`) and
EWKB. GEOS reads the simple features; surfaces of faces are read here.
"""

import re
import struct
from collections.abc import Iterator

import numpy as np
import shapely

from ingest import wkb

MAX_DEPTH = wkb.MAX_DEPTH
_SRID = re.compile(r"^\s*SRID\s*=\s*(\d{1,6})\s*;\s*", re.IGNORECASE)
_HEX = re.compile(r"^(?:\\x)?(0[01](?:[0-9a-f]{2}){8,})$", re.IGNORECASE)
_WORD = re.compile(
    r"^(MULTI)?(POINT|LINESTRING|POLYGON|CURVE|SURFACE)|^(GEOMETRYCOLLECTION|TIN|TRIANGLE|POLYHEDRALSURFACE|LINEARRING"
    r"|CIRCULARSTRING|COMPOUNDCURVE|CURVEPOLYGON)\b",
    re.IGNORECASE,
)
_FACES = re.compile(r"\b(TIN|TRIANGLE|POLYHEDRALSURFACE)\b", re.IGNORECASE)
_PART = re.compile(r"[(),]|[A-Za-z]+|[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_CODES = {"TIN": 16, "TRIANGLE": 17, "POLYHEDRALSURFACE": 15, "GEOMETRYCOLLECTION": 7, "POLYGON": 3}


def is_geometry(cell: str) -> bool:
    """True if the text begins like WKT, EWKT or hexadecimal WKB."""
    plain = _SRID.sub("", cell.strip())
    return bool(_WORD.match(plain) or _HEX.match(plain))


def read(cell: str) -> tuple[bytes | None, int | None]:
    """WKB of a cell, None where it cannot be read; and the SRID that it states, or None."""
    said = _SRID.match(cell)
    srid = int(said[1]) if said else None
    plain = _SRID.sub("", cell.strip())
    if found := _HEX.match(plain):
        return _binary(bytes.fromhex(found[1]), srid)
    try:
        if _FACES.search(plain):
            return _faces(plain), srid
        with np.errstate(invalid="ignore"):
            made = shapely.from_wkt(plain, on_invalid="ignore")
    except (ValueError, IndexError, struct.error, NotImplementedError, shapely.errors.GEOSException):
        return None, srid
    return (None if made is None else bytes(shapely.to_wkb(made))), srid


def _binary(data: bytes, srid: int | None) -> tuple[bytes | None, int | None]:
    try:
        head = wkb.head(data)
    except wkb.BrokenWkb:
        return None, srid
    if head.n_bytes == 9 and len(data) >= 9:
        (srid,) = struct.unpack_from("<I" if head.is_little else ">I", data, 5)
    return data, srid or None


def _faces(text: str) -> bytes:
    tokens = _tokens(text)
    made = _geometry(next(tokens), tokens, 0)
    if next(tokens, None) is not None:
        raise ValueError("text behind the geometry")
    return made


def _tokens(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        found = _PART.match(text, at)
        if found is None:
            raise ValueError(f"{text[at]!r} is no part of WKT")
        at = found.end()
        yield found[0]
    return


def _geometry(word: str, tokens: Iterator[str], depth: int) -> bytes:
    """One geometry after its name; coordinates are written as x, y, z (NaN where there is none)."""
    code = _CODES.get(word.upper())
    if code is None or depth > MAX_DEPTH:
        raise ValueError(f"{word} is not read inside a surface or collection")
    part = _next(tokens)
    if part.upper() in {"Z", "M", "ZM"}:
        if part.upper() != "Z":
            raise ValueError("measures are not read here")
        part = _next(tokens)
    if part.upper() == "EMPTY":
        return _head(code) + (b"\0" * 4)
    if part != "(":
        raise ValueError("a bracket is missing")
    if code in {3, 17}:
        return _head(code) + _rings(tokens)
    parts = []
    while True:
        if code == 7:
            parts.append(_geometry(_next(tokens), tokens, depth + 1))
        else:
            if _next(tokens) != "(":
                raise ValueError("a face is missing")
            parts.append(_head(17 if code == 16 else 3) + _rings(tokens))
        if _next(tokens) == ")":
            return _head(code) + struct.pack("<I", len(parts)) + b"".join(parts)


def _head(code: int) -> bytes:
    return struct.pack("<BI", 1, code + 1000)


def _next(tokens: Iterator[str]) -> str:
    part = next(tokens, None)
    if part is None:
        raise ValueError("the text ends early")
    return part


def _rings(tokens: Iterator[str]) -> bytes:
    """Rings of one polygon, behind its opening bracket."""
    rings = []
    while True:
        if _next(tokens) != "(":
            raise ValueError("a ring is missing")
        rings.append(_ring(tokens))
        if _next(tokens) == ")":
            return struct.pack("<I", len(rings)) + b"".join(rings)


def _ring(tokens: Iterator[str]) -> bytes:
    points: list[list[float]] = [[]]
    while (part := _next(tokens)) != ")":
        if part == ",":
            points.append([])
        else:
            points[-1].append(float(part))
    if {len(point) for point in points} not in ({2}, {3}):
        raise ValueError("points have 2 or 3 numbers each")
    flat = [value for point in points for value in (*point, float("nan"))[:3]]
    return struct.pack("<I", len(points)) + struct.pack(f"<{len(flat)}d", *flat)
