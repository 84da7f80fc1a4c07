"""Which geometry type a layer's column is declared with, and keeping its values true to that.

A GeoPackage column of type POLYGON may hold no MultiPolygon and the reverse (OGC 12-128r18, Req 32), and QGIS wants one
type a layer. Files mix both. So a column becomes MULTI… with the first multi geometry; single ones are then stored as
multi geometries of one part, remembered as single, and given back as they came.
"""

import numpy as np
import shapely
from numpy.typing import NDArray

Kind = tuple[int, bool, bool]
"""shapely's type id, has z, has m."""

_NAMES = {
    "POINT": 0,
    "LINESTRING": 1,
    "POLYGON": 3,
    "MULTIPOINT": 4,
    "MULTILINESTRING": 5,
    "MULTIPOLYGON": 6,
    "GEOMETRYCOLLECTION": 7,
}
_BY_ID = {number: name for name, number in _NAMES.items()}
_MULTI_OF = {0: 4, 1: 5, 2: 5, 3: 6}
_MAKERS = {0: shapely.multipoints, 1: shapely.multilinestrings, 2: shapely.multilinestrings, 3: shapely.multipolygons}


def kinds(geometries: NDArray[np.object_]) -> set[Kind]:
    """Every kind among (n,) geometries; None counts as nothing."""
    present = geometries[~shapely.is_missing(geometries)]
    codes = np.stack(
        [shapely.get_type_id(present), shapely.has_z(present), shapely.has_m(present)], axis=1, dtype=np.int64
    )
    return {(int(row[0]), bool(row[1]), bool(row[2])) for row in np.unique(codes, axis=0)}


def column_type(declared: str, seen: set[Kind]) -> str:
    """GeoPackage's name for a column that holds `seen`; `declared` is the layer type's simple-features name."""
    name = declared.upper().removesuffix("Z")
    if not seen:
        return name if name in _NAMES else "GEOMETRY"
    ids = {1 if number == 2 else number for number, _, _ in seen}
    families = {_MULTI_OF.get(number, number) for number in ids}
    if len(families) > 1:
        return "GEOMETRY"
    family = families.pop()
    is_multi = ids == {family} or len(ids) > 1 or _NAMES.get(name) == family
    return _BY_ID[family if is_multi else ids.pop()]


def dimension_flags(declared: str, seen: set[Kind]) -> tuple[int, int]:
    """The z and m of `gpkg_geometry_columns`: 0 prohibited, 1 mandatory, 2 optional."""
    if not seen:
        return (2 if declared.endswith("Z") else 0), 0
    return _flag({z for _, z, _ in seen}), _flag({m for _, _, m in seen})


def _flag(found: set[bool]) -> int:
    return 2 if len(found) > 1 else int(found == {True})


def singles(geometries: NDArray[np.object_], column: str) -> NDArray[np.intp]:
    """Rows that must be promoted before they fit into a column of that type."""
    if not column.startswith("MULTI"):
        return np.zeros(0, np.intp)
    return np.flatnonzero(np.isin(shapely.get_type_id(geometries), list(_MULTI_OF)))


def promoted(geometries: NDArray[np.object_]) -> NDArray[np.object_]:
    """Single geometries, none of them missing, as multi geometries of one part; empty ones as empty ones."""
    out = np.empty(len(geometries), dtype=object)
    types = shapely.get_type_id(geometries)
    empty = shapely.is_empty(geometries)
    for type_id, make in _MAKERS.items():
        chosen = np.flatnonzero((types == type_id) & ~empty)
        if chosen.size:
            out[chosen] = make(geometries[chosen], indices=np.arange(chosen.size))
        out[(types == type_id) & empty] = shapely.from_wkt(f"{_BY_ID[_MULTI_OF[type_id]]} EMPTY")
    return out


def demoted(geometries: NDArray[np.object_], was_single: NDArray[np.bool_]) -> NDArray[np.object_]:
    """The inverse of `promoted` where `was_single`; what an outside edit gave more parts stays as it is."""
    n_parts = shapely.get_num_geometries(geometries)
    chosen, void = np.flatnonzero(was_single & (n_parts == 1)), np.flatnonzero(was_single & (n_parts == 0))
    if not chosen.size + void.size:
        return geometries
    out = geometries.copy()
    out[chosen] = shapely.get_geometry(geometries[chosen], 0)
    for row in void.tolist():
        out[row] = shapely.from_wkt(f"{_BY_ID[int(shapely.get_type_id(geometries[row])) - 3]} EMPTY")
    return out
