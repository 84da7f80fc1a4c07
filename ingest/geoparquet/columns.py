"""Which columns of a Parquet file hold geometries, in which CRS and encoding; GeoArrow arrays -> WKB.

Formats: GeoParquet metadata (`geo`), GeoArrow extension names in the fields' metadata, as Arrow gives them also for
Parquet's GEOMETRY and GEOGRAPHY types (geoarrow.org/extension-types, version 0.2).
"""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from numpy.typing import NDArray

from ingest.geometry import kind
from layers import crs
from layers.crs import Bounds
from layers.errors import InvalidInput

_NATIVE = {
    "point": (shapely.GeometryType.POINT, 0), "linestring": (shapely.GeometryType.LINESTRING, 1),
    "polygon": (shapely.GeometryType.POLYGON, 2), "multipoint": (shapely.GeometryType.MULTIPOINT, 1),
    "multilinestring": (shapely.GeometryType.MULTILINESTRING, 2),
    "multipolygon": (shapely.GeometryType.MULTIPOLYGON, 3),
}  # fmt: skip
"""GeoArrow encoding -> shapely's type, and how many lists are around the coordinates."""

_NAMES = {"point": "Point", "linestring": "LineString", "polygon": "Polygon"}
_NAMES |= {f"multi{short}": f"Multi{long}" for short, long in list(_NAMES.items())}
WKB_NAMES = {"geometry", "geom", "wkb_geometry", "wkb", "shape", "the_geom"}


@dataclass(frozen=True)
class GeometryColumn:
    """One geometry column.

    Attributes
    ----------
    encoding : `wkb`, or a GeoArrow name such as `multipolygon`
    crs : as stated; None where it is unknown
    is_default_crs : the file says nothing, so the format's default holds
    types : declared simple-features names; empty when unknown
    bounds : declared west, south, east, north, or None
    epoch : of the coordinates, as a decimal year
    is_spherical : edges are arcs
    covering : column with the features' boxes, or None
    """

    name: str
    encoding: str
    crs: str | None
    is_default_crs: bool = False
    types: tuple[str, ...] = ()
    bounds: Bounds | None = None
    epoch: float | None = None
    is_spherical: bool = False
    covering: str | None = None

    @property
    def crs_words(self) -> str:
        """The CRS for a sentence."""
        return crs.parse(self.crs).name if self.crs else "an unknown CRS"

    def geometry_type(self) -> str | None:
        """One simple-features name for all rows, or None where kinds are unknown or mixed."""
        if self.encoding != "wkb":
            return _NAMES[self.encoding]
        names = [each.replace(" ", "") for each in self.types]
        found = {kind(name) for name in names}
        if len(found) != 1 or not found <= {"Point", "LineString", "Polygon"}:
            return None
        z = "Z" if any(name.endswith("Z") for name in names) else ""
        is_multi = found != {"Point"} or any(name.startswith("Multi") for name in names)
        return f"{'Multi' if is_multi else ''}{found.pop()}{z}"

    def wkb(self, array: pa.Array) -> list[bytes | None]:
        """(n,) of any encoding -> (n,) WKB. Raises InvalidInput for an array that is not of the encoding."""
        if self.encoding == "wkb":
            values: list[bytes | None] = array.to_pylist()
            return values
        try:
            return _native(array, self.encoding)
        except (pa.ArrowException, shapely.errors.ShapelyError, ValueError, IndexError, KeyError) as error:
            problem = f"Column {self.name!r} is not encoded as {self.encoding}: {error}."
            raise InvalidInput(problem, "Export it again.", code="FILE_UNREADABLE") from error


def find(name: str, schema: pa.Schema, metadata: dict[bytes, bytes], *, told: bool = False) -> list[GeometryColumn]:
    """Geometry columns, the primary one first; empty for a plain table. `name` is the file's, for messages.

    `told`: a CRS was given, so a binary column with a usual name counts even without any metadata.
    Raises InvalidInput for metadata that is no JSON or names a column that is not there.
    """
    stated = _geo(name, metadata)
    found: list[GeometryColumn] = []
    for column, said in stated.get("columns", {}).items():
        if column not in schema.names or not isinstance(said, dict):
            problem = f"The metadata of {name} name a geometry column {column!r}, which is not there."
            raise InvalidInput(problem, "Export it again.", code="FILE_UNREADABLE")
        found.append(_stated(name, column, said, schema.field(column)))
    known = {each.name for each in found}
    found += [each for field in schema if field.name not in known and (each := _typed(field)) is not None]
    if not found:
        found = [
            GeometryColumn(field.name, "wkb", None)
            for field in schema
            if field.name.lower() in WKB_NAMES and _is_binary(field.type) and told
        ][:1]
    return sorted(found, key=lambda each: each.name != stated.get("primary_column"))


def _geo(name: str, metadata: dict[bytes, bytes]) -> dict[str, Any]:
    if b"geo" not in metadata:
        return {}
    try:
        stated = json.loads(metadata[b"geo"])
        if isinstance(stated, dict) and isinstance(stated.get("columns", {}), dict):
            return stated
    except (ValueError, RecursionError):
        pass
    raise InvalidInput(f"The metadata of {name} are no GeoParquet.", "Export it again.", code="FILE_UNREADABLE")


def _is_binary(type_: pa.DataType) -> bool:
    return bool(pa.types.is_binary(type_) or pa.types.is_large_binary(type_) or pa.types.is_binary_view(type_))


def _stated(name: str, column: str, said: dict[str, Any], field: pa.Field) -> GeometryColumn:
    encoding = str(said.get("encoding", "WKB")).lower().removeprefix("geoarrow.")
    if encoding not in {"wkb", *_NATIVE} or (encoding == "wkb" and not _is_binary(field.type)):
        problem = f"Column {column!r} of {name} is {field.type} in the encoding {encoding!r}, which is not known."
        raise InvalidInput(problem, "Export it with WKB.", code="FILE_UNREADABLE")
    types = said.get("geometry_types", said.get("geometry_type", []))
    box = said.get("bbox")
    epoch = said.get("epoch")
    covering = said.get("covering")
    xmin = covering.get("bbox", {}).get("xmin", [None]) if isinstance(covering, dict) else [None]
    return GeometryColumn(
        column,
        encoding,
        crs_text(said["crs"]) if "crs" in said else crs.CRS84,
        is_default_crs="crs" not in said,
        types=tuple(str(each) for each in types) if isinstance(types, list) else (str(types),),
        bounds=_box(box),
        epoch=float(epoch) if isinstance(epoch, (int, float)) else None,
        is_spherical=said.get("edges", "planar") != "planar",
        covering=xmin[0] if isinstance(xmin, list) and xmin and isinstance(xmin[0], str) else None,
    )


def _box(box: Any) -> Bounds | None:
    """4 or 6 numbers; one that crosses the antimeridian says nothing here."""
    if not isinstance(box, list) or len(box) not in {4, 6} or not all(isinstance(each, (int, float)) for each in box):
        return None
    half = len(box) // 2
    made = (float(box[0]), float(box[1]), float(box[half]), float(box[half + 1]))
    return made if made[0] <= made[2] else None


def _typed(field: pa.Field) -> GeometryColumn | None:
    """A column whose Arrow or Parquet type says that it is a geometry."""
    metadata = field.metadata or {}
    extension = metadata.get(b"ARROW:extension:name", b"").decode("ascii", "replace")
    encoding = extension.removeprefix("geoarrow.")
    if not extension.startswith("geoarrow.") or encoding not in {"wkb", *_NATIVE}:
        return None
    try:
        said = json.loads(metadata.get(b"ARROW:extension:metadata") or b"{}")
    except (ValueError, RecursionError):
        said = {}
    if not isinstance(said, dict):
        said = {}
    is_default = encoding == "wkb" and "crs" not in said  # of Parquet's own types; GeoArrow has no default
    stated = crs.CRS84 if is_default else crs_text(said.get("crs"))
    is_spherical = said.get("edges", "planar") != "planar"
    return GeometryColumn(field.name, encoding, stated, is_default_crs=is_default, is_spherical=is_spherical)


def crs_text(said: Any) -> str | None:
    """A CRS as PROJJSON, WKT or a code, as text; None for null, nothing, and `srid:` numbers of no authority."""
    if isinstance(said, str):
        return None if not said.strip() or said.lower().startswith("srid:") else said
    if not isinstance(said, dict):
        return None
    authority = said.get("id")
    if isinstance(authority, dict) and authority.get("authority") in {"EPSG", "OGC"} and "code" in authority:
        return f"{authority['authority']}:{authority['code']}"
    return json.dumps(said)


def _native(array: pa.Array, encoding: str) -> list[bytes | None]:
    type_, depth = _NATIVE[encoding]
    valid = pc.is_valid(array).to_numpy(zero_copy_only=False)
    inner = array.filter(pc.is_valid(array))
    offsets: list[NDArray[np.int64]] = []
    for _ in range(depth):
        if not (pa.types.is_list(inner.type) or pa.types.is_large_list(inner.type)):
            raise ValueError(f"it is {array.type}")
        starts = inner.offsets.to_numpy(zero_copy_only=False).astype(np.int64)
        offsets.insert(0, starts - starts[0])
        inner = inner.flatten()
    points = _coordinates(inner)
    made = shapely.from_ragged_array(type_, points, tuple(offsets) if offsets else None)
    out: list[bytes | None] = [None] * len(array)
    for row, value in zip(np.flatnonzero(valid), shapely.to_wkb(made), strict=True):
        out[int(row)] = value
    return out


def _coordinates(array: pa.Array) -> NDArray[np.float64]:
    """(n, 2 or 3) of a struct of x, y and perhaps z, or of lists of fixed length; m is left out."""
    if pa.types.is_fixed_size_list(array.type):
        width = array.type.list_size
        flat = array.flatten().to_numpy(zero_copy_only=False).astype(np.float64).reshape(-1, width)
        return np.ascontiguousarray(flat[:, : 3 if width > 2 and array.type.value_field.name != "xym" else 2])
    names = [each.name for each in array.type] if pa.types.is_struct(array.type) else []
    if not {"x", "y"} <= set(names):
        raise ValueError(f"its points are {array.type}")
    own = [array.field(name).to_numpy(zero_copy_only=False) for name in ("x", "y", "z") if name in names]
    return np.ascontiguousarray(np.stack(own, axis=1), np.float64)
