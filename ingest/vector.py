"""GeoPackage, Shapefile, GeoJSON, FlatGeobuf -> feature layers, streamed through pyogrio's Arrow batches.

Formats: OGC 12-128r19 (GeoPackage), ESRI Shapefile Technical Description (1998), RFC 7946 (GeoJSON), FlatGeobuf 3.
Bounded memory: one batch of 10,000 features at a time. A first pass over the id column alone decides on the ids.
"""

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from ingest import detect, ids, place, shapefile
from ingest import geometry as shapes
from ingest.city_toml import FileHints
from ingest.mapping import Mapper
from ingest.stream import BATCH_ROWS, Chunk, FeatureStream
from layers.certificate import Certificate
from layers.errors import InvalidInput
from layers.issue import Issue
from layers.source import AssetLayer, FeatureBatch, Hints, Reading, VectorLayer

SUFFIXES = (".gpkg", ".shp", ".geojson", ".json", ".fgb")

FORMATS = {"GPKG": "GeoPackage", "ESRI Shapefile": "Shapefile", "GeoJSON": "GeoJSON", "FlatGeobuf": "FlatGeobuf"}
PERSISTENT_FIDS = {"GPKG"}
_FID, _WKB = "__fid", "__wkb"


@dataclass(frozen=True)
class _Table:
    """One table of a file, as pyogrio describes it."""

    path: Path
    name: str
    info: dict[str, Any]
    encoding: str | None
    schema: pa.Schema
    has_geometry: bool
    only: bool
    heard: list[str] = field(default_factory=list)

    @property
    def geometry_type(self) -> str:
        return str(self.info["geometry_type"] or "none") if self.has_geometry else "none"


def read(path: Path, hints: Hints) -> Reading:
    """Every table of the file as a layer. Raises InvalidInput or CrsMissing when none can be used."""
    import pyogrio
    from pyogrio.errors import DataLayerError, DataSourceError

    issues: list[Issue] = []
    encoding = hints.encoding
    if path.suffix.lower() == ".shp":
        shapefile.check(path)
        encoding, issues = shapefile.encoding(path, hints.encoding)
    heard: list[str] = []
    try:
        with _hearing(heard):
            tables = [str(row[0]) for row in pyogrio.list_layers(path)]
            infos = [pyogrio.read_info(path, layer=name, encoding=encoding) for name in tables]
    except (DataSourceError, DataLayerError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"{path.name} cannot be read: {_sentence(error)}",
            "Open it in QGIS and export it again.",
            code="FILE_UNREADABLE",
        ) from error
    described = [
        _describe(path, name, info, encoding, only=len(tables) == 1) for name, info in zip(tables, infos, strict=True)
    ]
    if not described:
        raise InvalidInput(f"{path.name} has no tables.", "Export it again.", code="FILE_EMPTY")
    layers: list[VectorLayer | AssetLayer] = []
    refusals: list[InvalidInput] = []
    for table in described:
        try:
            layers.append(_layer(table, hints.for_table(table.name) if isinstance(hints, FileHints) else hints))
        except InvalidInput as error:
            refusals.append(error)
            issues.append(Issue(error.code, table.name, error.problem, error.hint, "error"))
    if not layers:
        raise refusals[0]
    first = next((each.certificate for each in layers if isinstance(each, VectorLayer) and each.certificate), None)
    made = FORMATS.get(str(infos[0]["driver"]), str(infos[0]["driver"]))
    return Reading(path, made, layers, first or Certificate("none"), issues)


@contextmanager
def _hearing(heard: list[str]) -> Iterator[None]:
    """Keep GDAL's warnings as words for the report instead of letting them fall on the terminal."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    heard.extend(str(each.message) for each in caught if str(each.message) not in heard)


def _said_by_gdal(name: str, heard: list[str]) -> list[Issue]:
    return [Issue("GDAL_WARNING", name, f"GDAL says: {words}", "", "info") for words in heard]


def _sentence(error: Exception) -> str:
    return str(error)[:300].rstrip(".") + "."


def _describe(path: Path, name: str, info: dict[str, Any], encoding: str | None, *, only: bool) -> _Table:
    from pyogrio.raw import open_arrow

    options = {"encoding": encoding} if encoding else {}
    source = open_arrow(path, layer=name, batch_size=1, use_pyarrow=True, datetime_as_string=True, **options)
    with _hearing([]), source as opened:
        meta, reader = opened
        geometry_name = meta["geometry_name"] or "wkb_geometry"
        fields = [each for each in reader.schema if each.name != geometry_name]
        has_geometry = len(fields) < len(reader.schema)
    schema = pa.schema([(each.name, each.type) for each in fields])
    stem = path.name.split(".")[0]
    return _Table(
        path,
        stem if only else name,
        {**info, "layer": name},
        encoding,
        schema,
        has_geometry and info["geometry_type"] is not None,
        only,
    )


def _layer(table: _Table, hints: Hints) -> VectorLayer:
    name = ids_name(table.path, hints)
    certificate, issues = None, list[Issue]()
    if table.has_geometry:
        bounds = table.info["total_bounds"]
        default = table.info["driver"] == "GeoJSON" and not states_crs(table.path)
        certificate, issues = place.certificate(
            table.info["crs"], hints, name, bounds, overridable=default, table="" if table.only else table.name
        )
    geometry_type = _resolved_type(table)
    found = detect.detect(
        name, table.name, table.schema, geometry_type, hints, cut=_cuts_names(table), is_only=table.only
    )
    told = replace(hints, columns={**found.columns, **hints.columns})
    mapper = Mapper(found.layer_type, table.schema.names, told, name, cut_names=_cuts_names(table))
    candidates = ids.candidates(found.layer_type, table.schema.names, mapper.matched, hints)
    expected = int(table.info["features"]) if table.info["features"] >= 0 else None
    column, n_rows = ids.choose(candidates, _column_pass(table, candidates), expected)
    if n_rows == 0:
        issues.append(Issue("TABLE_EMPTY", table.name, f"{table.name!r} has no rows.", "", "warning"))
    persistent = table.info["driver"] in PERSISTENT_FIDS or bool(table.info["fid_column"])
    prefix = ids.prefix(table.path, hints.root, None if table.only else table.name)
    plan = ids.IdPlan(hints.id_column or column, prefix, persistent, ids.edition(found.layer_type, hints))
    layer = VectorLayer(
        name=table.name,
        layer_type=found.layer_type.id,
        crs=certificate.source_crs if certificate else None,
        batches=lambda: iter(()),
        vertical_crs=certificate.source_vertical_crs if certificate else None,
        fields=found.fields,
        geometry_type=found.layer_type.geometry,
        issues=[*issues, *found.issues],
        certificate=certificate,
    )
    stream = FeatureStream(layer, mapper, plan, lambda: _chunks(table))

    def batches() -> Iterator[FeatureBatch]:
        yield from stream.batches()
        layer.issues += _said_by_gdal(table.name, table.heard)

    layer.batches = batches
    return layer


def ids_name(path: Path, hints: Hints) -> str:
    """The file's name below the source folder, with `/`."""
    return path.relative_to(hints.root).as_posix() if hints.root and path.is_relative_to(hints.root) else path.name


def states_crs(path: Path) -> bool:
    """True if a GeoJSON file has the old `crs` member near its beginning or end."""
    with path.open("rb") as file:
        head = file.read(65536)
        file.seek(max(0, path.stat().st_size - 4096))
        return b'"crs"' in head or b'"crs"' in file.read()


def _cuts_names(table: _Table) -> bool:
    return bool(table.info["driver"] == "ESRI Shapefile")


def _arrow(table: _Table, **options: Any) -> Any:
    from pyogrio.raw import open_arrow

    if table.encoding:
        options["encoding"] = table.encoding
    return open_arrow(
        table.path,
        layer=table.info["layer"],
        batch_size=BATCH_ROWS,
        use_pyarrow=True,
        datetime_as_string=True,
        **options,
    )


def _stream(table: _Table, **options: Any) -> Iterator[tuple[pa.RecordBatch, str]]:
    """Record batches and the name of the geometry column; what GDAL cannot go on reading is InvalidInput."""
    from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, GeometryError

    n_rows = 0
    try:
        with ExitStack() as stack:
            with _hearing(table.heard):
                meta, reader = stack.enter_context(_arrow(table, **options))
            while True:
                with _hearing(table.heard):
                    batch = next(reader, None)
                if batch is None:
                    return
                n_rows += batch.num_rows
                yield batch, meta["geometry_name"] or "wkb_geometry"
    except (
        DataLayerError,
        DataSourceError,
        FeatureError,
        GeometryError,
        pa.ArrowException,
        RuntimeError,
        OSError,
    ) as error:
        problem = f"{table.path.name}, table {table.name!r}, cannot be read beyond feature {n_rows}: {_sentence(error)}"
        raise InvalidInput(problem, "The file is damaged or cut off: export it again.", code="TRUNCATED") from error


def _column_pass(table: _Table, columns: list[str]) -> Iterator[pa.Table]:
    for batch, _ in _stream(table, columns=columns, read_geometry=False, return_fids=not columns):
        yield pa.Table.from_batches([batch])


def _resolved_type(table: _Table) -> str:
    """The geometry type; for tables that declare none, the one most features have."""
    if kind_known(table.geometry_type):
        return table.geometry_type
    counts: dict[str, int] = {}
    for batch, name in _stream(table, columns=[]):
        for wkb in batch.column(name).to_pylist():
            if wkb:
                type_name = wkb_type(wkb)
                counts[type_name] = counts.get(type_name, 0) + 1
    by_kind: dict[str, int] = {}
    for type_name, count in counts.items():
        by_kind[shapes.kind(type_name)] = by_kind.get(shapes.kind(type_name), 0) + count
    known = {each: count for each, count in by_kind.items() if kind_known(each)}
    if not known:
        return "Unknown"
    best = max(known, key=lambda each: known[each])
    has_z = any(each.endswith("Z") for each in counts if shapes.kind(each) == best)
    return f"Multi{best}{'Z' if has_z else ''}"


def kind_known(geometry_type: str) -> bool:
    """True for points, lines, areas and tables without geometry."""
    return shapes.kind(geometry_type) in {"Point", "LineString", "Polygon", "none"}


_WKB_NAMES = dict.fromkeys(range(8, 15), "Curve") | {
    1: "Point",
    2: "LineString",
    3: "Polygon",
    4: "MultiPoint",
    5: "MultiLineString",
    6: "MultiPolygon",
}


def wkb_type(wkb: bytes) -> str:
    """Simple-features name from the type word of WKB, ISO or extended."""
    code = int.from_bytes(wkb[1:5], "little" if wkb[0] else "big")
    plain = (code & 0x0FFFFFFF) % 1000
    has_z = bool(code & 0x80000000) or (code & 0x0FFFFFFF) // 1000 in {1, 3}
    return _WKB_NAMES.get(plain, "Unknown") + ("Z" if has_z else "")


def _chunks(table: _Table) -> Iterator[Chunk]:
    names = table.schema.names
    for batch, geometry_name in _stream(table, return_fids=True):
        fids = batch.column(0).to_pylist()
        columns = {batch.schema.names[i]: batch.column(i) for i in range(1, batch.num_columns)}
        raw = _straight(table, columns[geometry_name].to_pylist(), fids) if table.has_geometry else None
        chunk_shapes = shapes.from_wkb(raw) if raw is not None else None
        own = pa.Table.from_arrays([columns[name] for name in names], names=names)
        yield Chunk(own if names else _rows_only(batch.num_rows), chunk_shapes, raw, fids, _where(table, fids))


def _straight(table: _Table, raw: list[bytes | None], fids: list[int]) -> list[bytes | None]:
    """WKB with arcs replaced by GDAL's chords (4° steps); everything else as it is."""
    heads = {wkb[:5] for wkb in raw if wkb}
    if any(wkb_type(head) == "Curve" for head in heads):
        curved = [row for row, wkb in enumerate(raw) if wkb and wkb_type(wkb) == "Curve"]
        from pyogrio.raw import read as read_rows

        rows = read_rows(
            table.path, layer=table.info["layer"], fids=[fids[row] for row in curved], columns=[], return_fids=True
        )
        straight = dict(zip(rows[1].tolist(), rows[2], strict=True))
        for row in curved:
            raw[row] = straight.get(fids[row], raw[row])
    return raw


def _rows_only(n_rows: int) -> pa.Table:
    """A table of n rows for files that have geometries and nothing else."""
    return pa.table({_FID: pa.nulls(n_rows)})


def _where(table: _Table, fids: list[int]) -> Any:
    return lambda row: f"{table.path.name}, table {table.name}, feature {fids[row]}"
