"""GeoPackage, Shapefile, GeoJSON, FlatGeobuf, GML, KML, MapInfo, file geodatabase, OSM, DBF -> feature layers.

Formats: OGC 12-128r19 (GeoPackage), ESRI Shapefile Technical Description (1998), RFC 7946 (GeoJSON), FlatGeobuf 3, OGC
07-036r1 (GML), OGC 12-007r2 (KML); the others as GDAL reads them (`ingest.vector.gdal`). A first pass over the id
column alone decides on the ids; tables that declare no geometry type get one more, which counts the kinds.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from ingest import geometry as shapes
from ingest import place
from ingest.city_toml import FileHints
from ingest.stream import Chunk
from ingest.table import layer as table_layer
from ingest.table.layer import Rows
from ingest.vector import gdal, kinds
from ingest.vector.gdal import Table
from ingest.vector.kinds import Census, Part
from layers.certificate import Certificate
from layers.errors import InvalidInput
from layers.issue import Issue
from layers.source import AssetLayer, Hints, Reading, VectorLayer

SUFFIXES = (
    ".gpkg", ".shp", ".geojson", ".json", ".fgb", ".gml", ".kml", ".kmz", ".tab", ".mif", ".gdb", ".gdb.zip",
    ".osm.pbf", ".dbf",
)  # fmt: skip

PERSISTENT_FIDS = {"GPKG", "OpenFileGDB"}
_FID = "__fid"


def read(path: Path, hints: Hints) -> Reading:
    """Every table of the file as a layer, or as several where it mixes kinds of geometry.

    Raises InvalidInput or CrsMissing when none can be used.
    """
    tables, issues = gdal.tables(path, hints.encoding)
    layers: list[VectorLayer | AssetLayer] = []
    refusals: list[InvalidInput] = []
    for table in tables:
        try:
            layers += _layers(table, hints, issues)
        except InvalidInput as error:
            refusals.append(error)
            issues.append(Issue(error.code, table.name, error.problem, error.hint, "error"))
    if not layers:
        raise refusals[0]
    first = next((each.certificate for each in layers if isinstance(each, VectorLayer) and each.certificate), None)
    return Reading(path, gdal.FORMATS[tables[0].driver], layers, first or Certificate("none"), issues)


def _layers(table: Table, hints: Hints, issues: list[Issue]) -> Iterator[VectorLayer]:
    """One layer for each kind of geometry in a table, the main one first."""
    told = hints.for_table(table.name) if isinstance(hints, FileHints) else hints
    name = ids_name(table.path, told)
    if table.has_geometry:  # a table without CRS is refused before all of it is read
        _certificate(table, told, name)
    parts = [Part("", table.geometry_type)] if kind_known(table.geometry_type) else _parts(table, told, issues)
    for part in parts:
        own = table.name + part.suffix
        if isinstance(hints, FileHints) and own in hints.tables:
            yield _layer(table, hints.for_table(own), part, len(parts))
        else:
            yield _layer(table, kinds.hints_of(part, told), part, len(parts))


def _parts(table: Table, hints: Hints, issues: list[Issue]) -> list[Part]:
    census = Census()
    for batch, name in gdal.stream(table, columns=[]):
        census.count(batch.column(name).to_pylist())
    parts = census.parts(hints)
    issues += census.issue(table.name, parts)
    return parts


def _certificate(table: Table, hints: Hints, name: str) -> tuple[Certificate, list[Issue]]:
    default = table.driver == "GeoJSON" and not states_crs(table.path)
    return place.certificate(
        table.info["crs"],
        hints,
        name,
        table.info["total_bounds"],
        overridable=default,
        table="" if table.only else table.name,
    )


def _layer(table: Table, hints: Hints, part: Part, n_parts: int) -> VectorLayer:
    name, own = ids_name(table.path, hints), table.name + part.suffix
    certificate, issues = _certificate(table, hints, name) if table.has_geometry else (None, [])
    rows = Rows(
        table.path,
        name,
        own,
        None if table.only else table.name,
        table.schema,
        part.geometry_type,
        certificate,
        lambda: _chunks(table, part),
        lambda columns: _column_pass(table, columns),
        n_expected=int(table.info["features"]) if table.info["features"] >= 0 else None,
        is_only=table.only and n_parts == 1,
        is_persistent=table.driver in PERSISTENT_FIDS or bool(table.info["fid_column"]),
        cuts_names=table.driver == "ESRI Shapefile",
        issues=issues,
        closing=lambda: gdal.said(own, table.heard),
    )
    return table_layer.layer(rows, hints)


def ids_name(path: Path, hints: Hints) -> str:
    """The file's name below the source folder, with `/`."""
    return path.relative_to(hints.root).as_posix() if hints.root and path.is_relative_to(hints.root) else path.name


def states_crs(path: Path) -> bool:
    """True if a GeoJSON file has the old `crs` member near its beginning or end."""
    with path.open("rb") as file:
        head = file.read(65536)
        file.seek(max(0, path.stat().st_size - 4096))
        return b'"crs"' in head or b'"crs"' in file.read()


def kind_known(geometry_type: str) -> bool:
    """True for points, lines, areas and tables without geometry."""
    return shapes.kind(geometry_type) in {"Point", "LineString", "Polygon", "none"}


def _column_pass(table: Table, columns: list[str]) -> Iterator[pa.Table]:
    for batch, _ in gdal.stream(table, columns=columns, read_geometry=False, return_fids=not columns):
        yield pa.Table.from_batches([batch])


def _chunks(table: Table, part: Part) -> Iterator[Chunk]:
    names = table.schema.names
    for batch, geometry_name in gdal.stream(table, return_fids=True):
        own = batch
        if part.kind:
            chosen = [part.has(value) for value in batch.column(geometry_name).to_pylist()]
            own = batch.filter(pa.array(chosen, pa.bool_()))
        fids = own.column(0).to_pylist()
        columns = {own.schema.names[i]: own.column(i) for i in range(1, own.num_columns)}
        raw = gdal.straight(table, columns[geometry_name].to_pylist(), fids) if table.has_geometry else None
        conformed, meshes = None, None
        if raw is not None:
            values = [kinds.of_kind(value, part.kind) for value in raw] if part.kind else raw
            conformed, meshes = shapes.with_meshes(values, as_faces=table.is_multipatch)
        rows = pa.Table.from_arrays([columns[name] for name in names], names=names)
        where = _where(table, fids)
        yield Chunk(rows if names else _rows_only(own.num_rows), conformed, raw, fids, where, meshes)


def _rows_only(n_rows: int) -> pa.Table:
    """A table of n rows for files that have geometries and nothing else."""
    return pa.table({_FID: pa.nulls(n_rows)})


def _where(table: Table, fids: list[int]) -> Any:
    return lambda row: f"{table.path.name}, table {table.name}, feature {fids[row]}"
