"""GeoParquet and plain Parquet -> a feature layer or a table, streamed row group by row group.

Formats: GeoParquet 0.1 to 2.0 (opengeospatial/geoparquet, format-specs/geoparquet.md): WKB and the native GeoArrow
encodings, `geo` metadata, and Parquet's own GEOMETRY and GEOGRAPHY types (parquet-format 2.11). Coordinates are x, y
whatever the CRS' axis order. No `crs` means OGC:CRS84; `null` means unknown. Bounded memory: 10,000 rows at a time,
column chunks read in blocks of 1 MiB.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely

from ingest import geometry as shapes
from ingest import place, wkb
from ingest.geoparquet import columns as geoparquet_columns
from ingest.geoparquet.columns import GeometryColumn
from ingest.stream import BATCH_ROWS, Chunk
from ingest.table import layer as table_layer
from ingest.table.layer import Rows
from ingest.vector import kinds
from ingest.vector.kinds import Census, Part
from ingest.vector.reader import ids_name
from layers.certificate import Certificate
from layers.errors import InvalidInput
from layers.issue import Issue
from layers.source import AssetLayer, Hints, Reading, VectorLayer

SUFFIXES = (".parquet", ".geoparquet")
BUFFER_BYTES = 1 << 20
_ROW = "__row"


def read(path: Path, hints: Hints) -> Reading:
    """The file's layers: one, or one for each kind of geometry. Raises InvalidInput or CrsMissing."""
    with _opened(path) as file:
        schema, metadata, n_rows = file.schema_arrow, dict(file.schema_arrow.metadata or {}), file.metadata.num_rows
        found = geoparquet_columns.find(path.name, schema, metadata, told=hints.crs is not None)
    primary = found[0] if found else None
    issues = _notes(path, found)
    certificate: Certificate | None = None
    parts = [Part("", "none")]
    if primary is not None:
        certificate, more = place.certificate(
            primary.crs, hints, ids_name(path, hints), primary.bounds, overridable=primary.is_default_crs
        )
        issues += more
        parts = _parts(path, primary, hints, issues)
    reader = _Reader(path, schema, found)
    layers: list[VectorLayer | AssetLayer] = []
    stem = path.name.split(".")[0]
    for part in parts:
        rows = Rows(
            path,
            ids_name(path, hints),
            stem + part.suffix,
            None,
            reader.schema,
            part.geometry_type,
            certificate,
            partial(reader.chunks, part),
            reader.columns,
            n_expected=n_rows,
            is_only=len(parts) == 1,
        )
        layers.append(table_layer.layer(rows, kinds.hints_of(part, hints)))
    made = "GeoParquet" if found else "Parquet"
    return Reading(path, made, layers, certificate or Certificate("none"), issues)


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    """The open file; whatever Arrow finds wrong with it, then or later, is InvalidInput."""
    try:
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER_BYTES, arrow_extensions_enabled=False) as file:
            yield file
    except (pa.ArrowException, OSError, ValueError, KeyError, OverflowError) as error:
        problem = f"{path.name} cannot be read: {str(error)[:300].rstrip('.')}."
        raise InvalidInput(problem, "It is damaged or cut off: copy or export it again.", code="TRUNCATED") from error


def _notes(path: Path, found: list[GeometryColumn]) -> list[Issue]:
    issues = []
    for each in found[1:]:
        message = f"{path.name} has several geometry columns; {each.name!r} is kept as text (WKT, in {each.crs_words})."
        issues.append(Issue("GEOMETRY_COLUMN_AS_TEXT", f"column {each.name}", message, "", "info"))
    for each in found[:1]:
        if each.epoch is not None:
            message = f"The coordinates of {each.name!r} are of the epoch {each.epoch:g}; no plate motion is applied."
            issues.append(Issue("COORDINATE_EPOCH", f"column {each.name}", message, "", "info"))
        if each.is_spherical:
            message = f"The edges of {each.name!r} are arcs on the ellipsoid; they are stored as straight lines."
            issues.append(Issue("EDGES_SPHERICAL", f"column {each.name}", message, "", "info"))
    return issues


def _parts(path: Path, primary: GeometryColumn, hints: Hints, issues: list[Issue]) -> list[Part]:
    declared = primary.geometry_type()
    if declared is not None:
        return [Part("", declared)]
    census = Census()
    with _opened(path) as file:
        for batch in file.iter_batches(BATCH_ROWS, columns=[primary.name]):
            census.count(primary.wkb(batch.column(0)))
    parts = census.parts(hints)
    issues += census.issue(path.name.split(".")[0], parts)
    return parts


class _Reader:
    """Reads the rows of one file, as often as is asked."""

    def __init__(self, path: Path, schema: pa.Schema, found: list[GeometryColumn]) -> None:
        self.path, self.found = path, found
        hidden = {each.covering for each in found} | {found[0].name} if found else set()
        self.names = [each.name for each in schema if each.name not in hidden]
        self.schema = pa.schema([(name, _plain_type(schema.field(name).type)) for name in self.names])

    def columns(self, names: list[str]) -> Iterator[pa.Table]:
        """The named columns, batch by batch."""
        with _opened(self.path) as file:
            for batch in file.iter_batches(BATCH_ROWS, columns=names or None):
                yield pa.table({name: _plain(batch.column(name)) for name in names} or {_ROW: pa.nulls(len(batch))})

    def chunks(self, part: Part) -> Iterator[Chunk]:
        """Rows of one kind of geometry."""
        at = 0
        texts = {each.name: each for each in self.found[1:]}
        with _opened(self.path) as file:
            for batch in file.iter_batches(BATCH_ROWS):
                numbers = np.arange(at, at + len(batch))
                at += len(batch)
                raw = self.found[0].wkb(batch.column(self.found[0].name)) if self.found else None
                own = batch
                if raw is not None and part.kind:
                    chosen = np.array([part.has(value) for value in raw], bool)
                    own, numbers = batch.filter(pa.array(chosen)), numbers[chosen]
                    raw = [value for value, is_in in zip(raw, chosen, strict=True) if is_in]
                columns = {
                    name: _wkt(texts[name], own.column(name)) if name in texts else _plain(own.column(name))
                    for name in self.names
                }
                yield self._chunk(columns, raw, numbers, part)

    def _chunk(self, columns: dict[str, pa.Array], raw: list[bytes | None] | None, numbers: Any, part: Part) -> Chunk:
        conformed, meshes = None, None
        if raw is not None:
            conformed, meshes = shapes.with_meshes([kinds.of_kind(value, part.kind) for value in raw])
        table = pa.table(columns) if columns else pa.table({_ROW: pa.nulls(len(numbers))})
        return Chunk(table, conformed, raw, None, lambda row: f"{self.path.name}, row {numbers[row] + 1}", meshes)


def _wkt(column: GeometryColumn, array: pa.Array) -> pa.Array:
    texts = []
    for value in column.wkb(array):
        with np.errstate(invalid="ignore"):
            shape = None if value is None or wkb.is_curved(value) else shapely.from_wkb(value, on_invalid="ignore")
        is_odd = value is not None and shape is None
        texts.append(value.hex() if is_odd and value else shapely.to_wkt(shape, rounding_precision=-1))
    return pa.array(texts, pa.string())


def _plain_type(type_: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(type_):
        return _plain_type(type_.value_type)
    if pa.types.is_decimal(type_):
        return pa.float64()
    simple = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_date, pa.types.is_timestamp)
    return type_ if any(test(type_) for test in simple) else pa.string()


def _plain(array: pa.Array) -> pa.Array:
    """Any column as numbers, times or text: structs, lists and maps as JSON, bytes in hexadecimal."""
    wanted = _plain_type(array.type)
    if array.type.equals(wanted):
        return array
    if pa.types.is_dictionary(array.type):
        return _plain(array.dictionary_decode())
    if pa.types.is_decimal(array.type) or pa.types.is_large_string(array.type) or pa.types.is_string_view(array.type):
        return pc.cast(array, wanted)
    return pa.array([None if value is None else _text(value) for value in array.to_pylist()], pa.string())


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (dict, list, tuple)):
        return orjson.dumps(value, default=_odd, option=orjson.OPT_NON_STR_KEYS).decode()
    return str(value)


def _odd(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
