"""Where the rows of a table are: in a column of WKT, or in columns x, y and perhaps z, decimal or 121°12'30.5"E.

Degrees, minutes and seconds follow ISO 6709 (annex D) as people write them; a letter N, S, E or W (北南东西) that
contradicts the column is named and refused, never swapped.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from ingest import geometry as shapes
from ingest import place, wkt
from ingest.columns import fold
from ingest.geometry import Conformed
from ingest.stream import Chunk
from ingest.table.sheet import Sheet, Slice, slices
from ingest.units import narrow, split_unit
from ingest.vector import kinds
from ingest.vector.kinds import Census, Part
from layers import crs
from layers.certificate import Certificate
from layers.crs import Bounds
from layers.errors import InvalidInput
from layers.issue import Issue
from layers.source import Hints

XYZ: tuple[tuple[str, ...], ...] = (
    (
        "x", "east", "easting", "经度", "lon", "longitude", "lng", "long", "jd", "东坐标", "横坐标", "x坐标", "coordx",
        "pointx", "坐标x",
    ),
    (
        "y", "north", "northing", "纬度", "lat", "latitude", "wd", "北坐标", "纵坐标", "y坐标", "coordy",
        "pointy", "坐标y",
    ),
    ("z", "elevm", "elev", "elevation", "高程", "h", "z坐标", "coordz", "pointz"),
)  # fmt: skip
_DEGREE_NAMES = {"经度", "lon", "longitude", "lng", "long", "纬度", "lat", "latitude", "jd", "wd"}
_WKT_NAMES = ("wkt", "ewkt", "geometry", "geom", "thegeom", "shape", "几何", "wktgeometry", "geometrywkt", "geowkt")
LOOKED_AT = 200
"""Cells of a column that must look like WKT, as far as they are filled."""

_LETTERS = {"n": "NS", "s": "NS", "北": "NS", "南": "NS", "e": "EW", "w": "EW", "东": "EW", "西": "EW"}
_SIDE = r"[NSEWnsew北南东西](?:经|纬)?"
_DMS = re.compile(
    rf"^(?P<before>{_SIDE})?\s*(?P<sign>[-+])?(?P<deg>\d{{1,3}}(?:\.\d+)?)\s*(?:[°º度:]\s*"
    r"(?:(?P<min>\d{1,2}(?:\.\d+)?)\s*(?:['′’´分:]\s*(?:(?P<sec>\d{1,2}(?:\.\d+)?)\s*"
    rf"(?:\"|″|”|''|′′|’’|秒)?)?)?)?)?\s*(?P<behind>{_SIDE})?$"
)
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Columns:
    """The columns that hold the geometry: `wkt`, or `x` and `y` and perhaps `z`."""

    x: str = ""
    y: str = ""
    z: str | None = None
    wkt: str | None = None

    @property
    def words(self) -> str:
        """For messages."""
        return f" (its coordinates are in {self.wkt or f'{self.x} and {self.y}'})"


def find(sheet: Sheet, hints: Hints) -> Columns | None:
    """The geometry columns of a table, None where it has none. Raises InvalidInput for hints that name no column."""
    by_name = {fold(split_unit(column)[0]): column for column in reversed(sheet.header)}
    by_name |= {fold(column): column for column in reversed(sheet.header)}
    x, y, z = (_one(sheet, by_name, names, hints.columns.get(axis)) for axis, names in zip("xyz", XYZ, strict=True))
    if "x" not in hints.columns:
        for column in (by_name[name] for name in _WKT_NAMES if name in by_name):
            if _is_wkt(sheet, column):
                return Columns(wkt=column)
    return None if x is None or y is None else Columns(x, y, z)


def _one(sheet: Sheet, by_name: dict[str, str], names: tuple[str, ...], told: str | None) -> str | None:
    if told is None:
        return next((by_name[name] for name in names if name in by_name), None)
    if told not in sheet.header:
        hint = f"The columns are {', '.join(sheet.header)}."
        raise InvalidInput(f"There is no column {told!r}.", hint, code="HINT_UNKNOWN_COLUMN")
    return told


def _is_wkt(sheet: Sheet, column: str) -> bool:
    at = sheet.header.index(column)
    cells = [cells[at] for _, cells in islice(sheet.rows(), LOOKED_AT) if at < len(cells) and cells[at]]
    return any(isinstance(cell, str) and wkt.is_geometry(cell) for cell in cells)


def certificate(sheet: Sheet, columns: Columns, hints: Hints) -> tuple[Certificate, list[Issue]]:
    """The placement of a table with coordinates; one pass over them. Raises CrsMissing, or InvalidInput."""
    bounds, srids = _survey(sheet, columns)
    if len(srids) > 1:
        said = ", ".join(f"{n} in {srid}" for srid, n in srids.items())
        problem = f"{sheet.place} mixes coordinate systems: {said} features."
        raise InvalidInput(problem, "Split it into one file a system.", code="CRS_MIXED")
    stated = f"EPSG:{next(iter(srids))}" if srids else None
    if stated is None and hints.crs is None and not hints.control_points:
        raise place.missing(sheet.source, columns.words, sheet.table or "", bounds)
    made, issues = place.certificate(stated, hints, sheet.source, bounds, table=sheet.table or "")
    if {fold(columns.x), fold(columns.y)} <= _DEGREE_NAMES and not crs.is_geographic(made.source_crs or ""):
        message = f"The columns {columns.x} and {columns.y} are named like degrees, but the CRS is {made.source_crs}."
        issues.append(Issue("CRS_CONTRADICTION", sheet.place, message, "Check crs in city.toml.", "warning"))
    return made, issues


def _survey(sheet: Sheet, columns: Columns) -> tuple[Bounds | None, Counter[int]]:
    """Bounds of all rows with coordinates, and how many rows state which SRID."""
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    srids = Counter[int]()
    for piece in slices(sheet):
        if columns.wkt:
            read = [wkt.read(cell) if cell else (None, None) for cell in piece.table.column(columns.wkt).to_pylist()]
            srids.update(srid for _, srid in read if srid)
            found = shapes.with_meshes([value for value, _ in read])[0].geometry
            xy = shapely.get_coordinates(found)
        else:
            x, y, _ = _xyz(piece.table, columns)
            xy = np.column_stack([x, y])[np.isfinite(x) & np.isfinite(y)]
        if len(xy):
            low, high = np.minimum(low, xy.min(axis=0)), np.maximum(high, xy.max(axis=0))
    if not np.isfinite(low).all():
        return None, srids
    return (float(low[0]), float(low[1]), float(high[0]), float(high[1])), srids


def parts(sheet: Sheet, columns: Columns, hints: Hints) -> tuple[list[Part], list[Issue]]:
    """One part for each kind of geometry; points in columns are one."""
    if columns.wkt is None:
        return [Part("", "PointZ" if columns.z else "Point")], []
    census = Census()
    for piece in slices(sheet):
        census.count(wkt.read(cell)[0] if cell else None for cell in piece.table.column(columns.wkt).to_pylist())
    made = census.parts(hints)
    return made, census.issue(sheet.name, made)


def chunks(sheet: Sheet, columns: Columns | None, part: Part) -> Iterator[Chunk]:
    """The rows of one part (of all, for a table without geometry), with their geometries."""
    for piece in slices(sheet):
        if columns is None:
            yield Chunk(piece.table, None, None, None, _where(sheet, piece.numbers), bad=piece.bad)
        elif columns.wkt is None:
            bad = dict(piece.bad)
            conformed, raw = points(piece.table, columns, bad)
            yield Chunk(piece.table, conformed, raw, None, _where(sheet, piece.numbers), bad=bad)
        else:
            yield _wkt_chunk(sheet, columns.wkt, part, piece)


def _wkt_chunk(sheet: Sheet, column: str, part: Part, piece: Slice) -> Chunk:
    cells = piece.table.column(column).to_pylist()
    raw = [wkt.read(cell)[0] if cell else None for cell in cells]
    rows = [row for row, value in enumerate(raw) if part.has(value)]
    table = piece.table.take(pa.array(rows, pa.int64()))
    raw, cells = [raw[row] for row in rows], [cells[row] for row in rows]
    bad = {i: piece.bad[row] for i, row in enumerate(rows) if row in piece.bad}
    for i, (value, cell) in enumerate(zip(raw, cells, strict=True)):
        if value is None and cell:
            bad.setdefault(i, ("GEOMETRY_UNREADABLE", f"{cell[:80]!r} is no geometry that is read."))
    values = [kinds.of_kind(value, part.kind) for value in raw] if part.kind else raw
    conformed, meshes = shapes.with_meshes(values)
    where = _where(sheet, [piece.numbers[row] for row in rows])
    kept = table.drop_columns([column]) if table.num_columns > 1 else table
    return Chunk(kept, conformed, raw, None, where, meshes, bad, lambda row: _filled(table, row))


def _filled(table: pa.Table, row: int) -> dict[str, object]:
    return {key: value for key, value in table.slice(row, 1).to_pylist()[0].items() if value is not None}


def _where(sheet: Sheet, numbers: Sequence[int]) -> Callable[[int], str]:
    return lambda row: f"{sheet.place}, {sheet.word} {numbers[row]}"


def points(table: pa.Table, columns: Columns, bad: dict[int, tuple[str, str]]) -> tuple[Conformed, list[bytes]]:
    """(n,) points of a table's rows, and their WKB; rows without coordinates are added to `bad`."""
    x, y, z = _xyz(table, columns)
    for row in np.flatnonzero(~(np.isfinite(x) & np.isfinite(y))).tolist():
        said = f"{table.column(columns.x)[row].as_py()!r}, {table.column(columns.y)[row].as_py()!r}"
        bad.setdefault(row, ("COORDINATE_NOT_FINITE", f"{said} are no coordinates."))
    safe_x, safe_y = np.where(np.isfinite(x), x, 0.0), np.where(np.isfinite(y), y, 0.0)
    made = np.asarray(shapely.points(safe_x, safe_y), dtype=object).reshape(-1)
    if z is not None:
        with_z = np.isfinite(z)
        made[with_z] = shapely.points(safe_x[with_z], safe_y[with_z], z[with_z])
    return shapes.check(Conformed(made)), list(shapely.to_wkb(made))


def _xyz(table: pa.Table, columns: Columns) -> tuple[FloatArray, FloatArray, FloatArray | None]:
    z = numbers(table, columns.z) if columns.z else None
    return numbers(table, columns.x, "EW"), numbers(table, columns.y, "NS"), z


def numbers(table: pa.Table, column: str, side: str = "") -> FloatArray:
    """(n,) numbers of a column, NaN where there is none. `side` `EW` or `NS`: degrees with minutes are read too.

    Raises InvalidInput where a letter says that the column holds the other coordinate.
    """
    cells = table.column(column)
    if pa.types.is_integer(cells.type) or pa.types.is_floating(cells.type):
        return np.asarray(cells.cast(pa.float64()).fill_null(float("nan")).to_numpy(), np.float64)

    def parse(cell: object) -> float:
        if not isinstance(cell, str):
            return float("nan")
        try:
            return float(narrow(cell))
        except ValueError:
            return degrees(cell, side, column) if side else float("nan")

    return np.fromiter((parse(cell) for cell in cells.to_pylist()), np.float64, table.num_rows)


def degrees(cell: str, side: str, column: str) -> float:
    """Degrees, minutes and seconds as degrees; NaN for anything else. `side` is what the column should hold."""
    found = _DMS.match(narrow(cell))
    if found is None:
        return float("nan")
    letters = [found[name][0].lower() for name in ("before", "behind") if found[name]]
    if any(_LETTERS[letter] != side for letter in letters):
        problem = f"Column {column!r} should hold {'longitudes' if side == 'EW' else 'latitudes'}, but has {cell!r}."
        hint = 'Latitude and longitude are swapped: name the columns in city.toml, columns = {x = "…", y = "…"}.'
        raise InvalidInput(problem, hint, code="COORDINATES_SWAPPED")
    minutes, seconds = float(found["min"] or 0), float(found["sec"] or 0)
    if minutes >= 60 or seconds >= 60 or len(letters) == 2:
        return float("nan")
    value = float(found["deg"]) + (minutes + seconds / 60) / 60
    is_negative = found["sign"] == "-" or (letters and letters[0] in "sw南西")
    return -value if is_negative else value
