"""Functions that filters call inside SQLite: exact spatial predicates by shapely, text folding, arithmetic.

They are registered on each reading connection; no loadable extension is needed. NULL in, NULL out.
"""

import math
import sqlite3
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from threading import local
from typing import Any

import shapely

from twin.store import geometry_blob

# each with the literal first where that lets GEOS use its prepared form
_PREDICATES = {
    "s_intersects": (shapely.intersects, shapely.intersects),
    "s_disjoint": (shapely.disjoint, shapely.disjoint),
    "s_touches": (shapely.touches, shapely.touches),
    "s_overlaps": (shapely.overlaps, shapely.overlaps),
    "s_crosses": (shapely.crosses, shapely.crosses),
    "s_equals": (shapely.equals, shapely.equals),
    "s_within": (shapely.within, shapely.contains),
    "s_contains": (shapely.contains, shapely.within),
}
"""Operator -> (predicate of a and b, the same said of b and a)."""

SPATIAL = frozenset(_PREDICATES)


def register(connection: sqlite3.Connection) -> None:
    """Make the functions known to a connection."""
    from twin.store import filter_array, filter_functions

    functions: tuple[tuple[str, int, Callable[..., Any]], ...] = (
        *filter_functions.SQL,
        ("citytwin_array", 3, filter_array.evaluate),
        ("citytwin_spatial", 3, spatial),
        ("citytwin_casei", 1, casei),
        ("citytwin_accenti", 1, accenti),
        ("citytwin_power", 2, power),
        ("citytwin_remainder", 2, remainder),
    )
    for name, n_arguments, function in functions:
        connection.create_function(name, n_arguments, function, deterministic=True)


def spatial(operator: str, a: bytes | None, b: bytes | None) -> bool | None:
    """A spatial predicate of two geometries: a column's GeoPackage blob, or a literal's WKB."""
    if a is None or b is None:
        return None
    straight, turned = _PREDICATES[operator]
    try:
        if _is_column(b) or not _is_column(a):
            return bool(straight(_geometry(a), _geometry(b)))
        return bool(turned(_geometry(b), _geometry(a)))
    except shapely.errors.GEOSException:  # an invalid stored geometry: neither true nor false can be said
        return None


def _is_column(blob: bytes) -> bool:
    return blob[:2] == b"GP"


def geometry_of(blob: bytes) -> shapely.Geometry:
    """A column's GeoPackage blob, or WKB that a function made."""
    return geometry_blob.decode_one(blob) if _is_column(blob) else shapely.from_wkb(blob)


def _geometry(blob: bytes) -> shapely.Geometry:
    return geometry_blob.decode_one(blob) if _is_column(blob) else _LITERALS.of(blob)


class _Literals(local):
    """The last literals of a thread, prepared. Two threads must not share one: it makes its indexes when it is used."""

    def __init__(self) -> None:
        self.of = lru_cache(maxsize=64)(_prepared)


def _prepared(wkb: bytes) -> shapely.Geometry:
    made = shapely.from_wkb(wkb)
    shapely.prepare(made)
    return made


_LITERALS = _Literals()


def casei(text: str | None) -> str | None:
    """Case folded (Unicode full case folding), in normal form C."""
    return None if text is None else unicodedata.normalize("NFC", str(text).casefold())


_VOICED = {"\u3099", "\u309a"}
"""Of category Mn, but they make another letter: は, ば."""


def accenti(text: str | None) -> str | None:
    """Without accents: marks of category Mn, but for the voicing marks of kana, dropped from form KD; in form C."""
    if text is None:
        return None
    bare = (c for c in unicodedata.normalize("NFKD", str(text)) if c in _VOICED or unicodedata.category(c) != "Mn")
    return unicodedata.normalize("NFC", "".join(bare))


def power(base: float | None, exponent: float | None) -> float | None:
    """Base ^ exponent; NULL where that is no real number or overflows."""
    if base is None or exponent is None:
        return None
    try:
        value = math.pow(base, exponent)
    except (ValueError, OverflowError):
        return None
    return value


def remainder(a: float | None, b: float | None) -> float | None:
    """Remainder with the sign of a; NULL for division by zero."""
    return None if a is None or b is None or b == 0 else math.fmod(a, b)
