"""CSV -> points where it has coordinates, else rows of a table layer; streamed.

RFC 4180, with the liberties that files take: byte-order mark, GB18030, semicolons, tabs, full-width commas.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import shapely

from ingest import detect, ids, place, text
from ingest import geometry as shapes
from ingest.columns import fold
from ingest.geometry import Conformed
from ingest.mapping import Mapper
from ingest.stream import BATCH_ROWS, Chunk, FeatureStream
from ingest.units import narrow
from ingest.vector import ids_name
from layers import crs
from layers.certificate import Certificate
from layers.crs import Bounds
from layers.errors import InvalidInput
from layers.issue import Issue
from layers.source import Hints, Reading, VectorLayer

SUFFIXES = (".csv",)

DELIMITERS = ",;\t|，"
MAX_FIELD = 1_000_000
MAX_COLUMNS = 2000

_XYZ: tuple[tuple[str, ...], ...] = (
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


@dataclass(frozen=True)
class _Csv:
    path: Path
    name: str
    encoding: str
    delimiter: str
    header: tuple[str, ...]
    x: str | None
    y: str | None
    z: str | None


def read(path: Path, hints: Hints) -> Reading:
    """One layer. Raises CrsMissing for coordinates without CRS, InvalidInput when the columns say nothing."""
    name = ids_name(path, hints)
    encoding, issues = text.encoding(path, hints.encoding, name)
    file = _open(path, name, encoding, hints)
    certificate = Certificate("none")
    if file.x is not None:
        certificate, placed = _certificate(file, hints)
        issues += placed
    geometry_type = "none" if file.x is None else "PointZ" if file.z else "Point"
    schema = pa.schema([(column, pa.string()) for column in file.header])
    found = detect.detect(name, path.name.split(".")[0], schema, geometry_type, hints)
    if found.is_own and file.x is None:
        raise _not_understood(file, found.issues)
    named = {key: column for key, column in hints.columns.items() if key not in {"x", "y", "z"}}
    told = replace(hints, columns={**found.columns, **named})
    mapper = Mapper(found.layer_type, file.header, told, name)
    candidates = ids.candidates(found.layer_type, file.header, mapper.matched, hints)
    column, n_rows = ids.choose(candidates, (chunk.table for chunk in _chunks(file)))
    if n_rows == 0:
        raise InvalidInput(f"{name} has a header but no rows.", "Export it again.", code="TABLE_EMPTY")
    plan = ids.IdPlan(
        hints.id_column or column,
        ids.prefix(path, hints.root),
        persistent=False,
        suffix=ids.edition(found.layer_type, hints),
    )
    layer = VectorLayer(
        name=path.name.split(".")[0],
        layer_type=found.layer_type.id,
        crs=certificate.source_crs,
        batches=lambda: iter(()),
        vertical_crs=certificate.source_vertical_crs,
        fields=found.fields,
        geometry_type=found.layer_type.geometry,
        issues=list(found.issues),
    )
    layer.batches = FeatureStream(layer, mapper, plan, lambda: _chunks(file)).batches
    return Reading(path, "CSV", [layer], certificate, issues)


def _not_understood(file: _Csv, issues: Sequence[Issue]) -> InvalidInput:
    shown = ", ".join(file.header[:20]) + (" …" if len(file.header) > 20 else "")
    maybe = issues[0].message.partition(" It could be ")[2]
    problem = f"{file.name} has no coordinate columns and fits no table layer; its columns are {shown}."
    if maybe:
        problem += f" The nearest layers are {maybe}"
    lines = place.toml_lines(file.name, layer="sensor_obs")
    hint = f'Name the layer and its columns in city.toml:\n{lines}\ncolumns = {{ value = "…" }}'
    return InvalidInput(problem, hint, code="CSV_NOT_UNDERSTOOD")


def _open(path: Path, name: str, encoding: str, hints: Hints) -> _Csv:
    with path.open(encoding=encoding, newline="") as file:
        sample = file.read(65536)
    lines = sample.splitlines()
    if not lines or not lines[0].strip():
        raise InvalidInput(f"{name} is empty.", "Export it again.", code="FILE_EMPTY")
    if "\0" in sample:
        raise InvalidInput(f"{name} is not a text file.", "Export it as CSV.", code="CSV_NOT_UNDERSTOOD")
    delimiter = max(DELIMITERS, key=lambda each: (lines[0].count(each), -DELIMITERS.index(each)))
    header = [narrow(cell) for cell in next(csv.reader([lines[0]], delimiter=delimiter))]
    if len(header) > MAX_COLUMNS:
        raise InvalidInput(
            f"{name} has {len(header)} columns.", f"At most {MAX_COLUMNS} are read.", code="CSV_NOT_UNDERSTOOD"
        )
    unique = _unique(header)
    x, y, z = (_coordinate(unique, names, hints.columns.get(axis)) for axis, names in zip("xyz", _XYZ, strict=True))
    if x is None or y is None:
        x = y = z = None
    return _Csv(path, name, encoding, delimiter, tuple(unique), x, y, z)


def _unique(header: list[str]) -> list[str]:
    names: list[str] = []
    for number, cell in enumerate(header, 1):
        base = cell or f"column_{number}"
        name, n = base, 2
        while name in names:
            name, n = f"{base}_{n}", n + 1
        names.append(name)
    return names


def _coordinate(header: Sequence[str], names: tuple[str, ...], told: str | None) -> str | None:
    if told is not None:
        if told not in header:
            raise InvalidInput(
                f"There is no column {told!r}.", f"The columns are {', '.join(header)}.", code="HINT_UNKNOWN_COLUMN"
            )
        return told
    by_name = {fold(column): column for column in reversed(header)}
    return next((by_name[name] for name in names if name in by_name), None)


def _certificate(file: _Csv, hints: Hints) -> tuple[Certificate, list[Issue]]:
    if hints.crs is None and not hints.control_points:
        raise place.missing(file.name, f" (its coordinates are in {file.x} and {file.y})")
    certificate, issues = place.certificate(None, hints, file.name, _bounds(file))
    degrees = crs.is_geographic(certificate.source_crs or "")
    if {fold(file.x or ""), fold(file.y or "")} <= _DEGREE_NAMES and not degrees:
        message = (
            f"The columns {file.x} and {file.y} are named like degrees, but the CRS given is {certificate.source_crs}."
        )
        issues.append(Issue("CRS_CONTRADICTION", file.name, message, "Check crs in city.toml.", "warning"))
    return certificate, issues


def _bounds(file: _Csv) -> Bounds | None:
    """Of all points with coordinates; one streaming pass."""
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    for chunk in _chunks(file):
        if chunk.shapes is not None:
            xy = shapely.get_coordinates(
                chunk.shapes.geometry[[row not in (chunk.bad or {}) for row in range(chunk.table.num_rows)]]
            )
            if len(xy):
                low, high = np.minimum(low, xy.min(axis=0)), np.maximum(high, xy.max(axis=0))
    if not np.isfinite(low).all():
        return None
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _rows(file: _Csv) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of every row that is not blank."""
    csv.field_size_limit(MAX_FIELD)
    with file.path.open(encoding=file.encoding, newline="") as handle:
        reader = csv.reader(handle, delimiter=file.delimiter)
        try:
            next(reader)
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield reader.line_num, cells
        except csv.Error as error:
            problem = f"{file.name} cannot be read beyond line {reader.line_num}: {error}."
            raise InvalidInput(problem, "Check the quotes of that line.", code="CSV_BROKEN") from error


def _chunks(file: _Csv) -> Iterator[Chunk]:
    rows = _rows(file)
    while batch := list(islice(rows, BATCH_ROWS)):
        yield _chunk(file, [line for line, _ in batch], [cells for _, cells in batch])


def _chunk(file: _Csv, lines: list[int], rows: list[list[str]]) -> Chunk:
    width = len(file.header)
    bad = {
        row: ("ROW_WIDTH", f"The line has {len(cells)} cells, the header {width}: {file.delimiter.join(cells)[:500]}")
        for row, cells in enumerate(rows)
        if len(cells) > width and any(cell.strip() for cell in cells[width:])
    }
    padded = [[*cells[:width], *[""] * (width - len(cells))] for cells in rows]
    columns = [pa.array([cells[i] or None for cells in padded], pa.string()) for i in range(width)]
    table = pa.Table.from_arrays(columns, names=list(file.header))
    where = lambda row: f"{file.name}, line {lines[row]}"  # noqa: E731
    if file.x is None or file.y is None:
        return Chunk(table, None, None, None, where, bad=bad)
    points, raw = _points(table, file, bad)
    return Chunk(table, points, raw, None, where, bad=bad)


def _points(table: pa.Table, file: _Csv, bad: dict[int, tuple[str, str]]) -> tuple[Conformed, list[bytes]]:
    x, y = (_floats(table, column or "") for column in (file.x, file.y))
    z = _floats(table, file.z) if file.z else None
    wild = np.flatnonzero(~(np.isfinite(x) & np.isfinite(y)))
    for row in wild:
        said = f"{table.column(file.x)[int(row)].as_py()!r}, {table.column(file.y)[int(row)].as_py()!r}"
        bad.setdefault(int(row), ("COORDINATE_NOT_FINITE", f"{said} are no coordinates."))
    safe_x, safe_y = np.where(np.isfinite(x), x, 0.0), np.where(np.isfinite(y), y, 0.0)
    made = np.asarray(shapely.points(safe_x, safe_y), dtype=object)
    if z is not None:
        with_z = np.isfinite(z)
        made[with_z] = shapely.points(safe_x[with_z], safe_y[with_z], z[with_z])
    raw = list(shapely.to_wkb(made))
    return shapes.check(Conformed(made)), raw


def _floats(table: pa.Table, column: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    def parse(cell: str | None) -> float:
        try:
            return float(narrow(cell)) if cell else float("nan")
        except ValueError:
            return float("nan")

    return np.fromiter((parse(cell) for cell in table.column(column).to_pylist()), np.float64, table.num_rows)
