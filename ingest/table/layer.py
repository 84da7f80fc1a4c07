"""One table of any format -> a feature layer: what it is, its ids, and the stream of its batches."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa

from ingest import detect, ids
from ingest.mapping import Mapper
from ingest.stream import Chunk, FeatureStream
from layers.certificate import Certificate
from layers.issue import Issue
from layers.source import FeatureBatch, Hints, VectorLayer


@dataclass(frozen=True)
class Rows:
    """A table as its reader sees it.

    Attributes
    ----------
    path, source : the file, and its name below the source folder
    name : of the layer
    table : part of the ids' prefix where the file has several tables, else None
    schema : attribute columns
    geometry_type : simple-features name, `Unknown`, or `none` without geometry
    certificate : None without geometry
    chunks : starts reading
    columns : the named columns alone (any one where none is named), for the first pass that decides on the ids
    n_expected : rows that the file claims, or None
    is_only : the file has no other table or kind of geometry
    is_persistent : the file's own feature numbers stay with their features
    cuts_names : column names were cut at 10 bytes
    issues : found on opening
    closing : issues that are known after the last row
    """

    path: Path
    source: str
    name: str
    table: str | None
    schema: pa.Schema
    geometry_type: str
    certificate: Certificate | None
    chunks: Callable[[], Iterator[Chunk]]
    columns: Callable[[list[str]], Iterator[pa.Table]]
    n_expected: int | None = None
    is_only: bool = True
    is_persistent: bool = False
    cuts_names: bool = False
    issues: list[Issue] = field(default_factory=list)
    closing: Callable[[], list[Issue]] = list


def layer(rows: Rows, hints: Hints) -> VectorLayer:
    """The layer of a table. Raises InvalidInput for hints that do not fit, or rows that cannot be read."""
    found = detect.detect(
        rows.source,
        rows.name,
        rows.schema,
        rows.geometry_type,
        hints,
        cut=rows.cuts_names,
        is_only=rows.is_only,
    )
    told = replace(hints, columns={**found.columns, **hints.columns})
    mapper = Mapper(found.layer_type, rows.schema.names, told, rows.source, cut_names=rows.cuts_names)
    candidates = ids.candidates(found.layer_type, rows.schema.names, mapper.matched, hints)
    column, n_rows = ids.choose(candidates, rows.columns(candidates), rows.n_expected)
    issues = list(rows.issues)
    if n_rows == 0:
        issues.append(Issue("TABLE_EMPTY", rows.name, f"{rows.name!r} has no rows.", "", "warning"))
    prefix = ids.prefix(rows.path, hints.root, rows.table)
    plan = ids.IdPlan(
        hints.id_column or column,
        prefix,
        rows.is_persistent,
        ids.edition(found.layer_type, hints),
        ids.is_serial(column, found.layer_type, mapper.matched, hints),
    )
    certificate = rows.certificate
    made = VectorLayer(
        name=rows.name,
        layer_type=found.layer_type.id,
        crs=certificate.source_crs if certificate else None,
        batches=lambda: iter(()),
        vertical_crs=certificate.source_vertical_crs if certificate else None,
        fields=found.fields,
        geometry_type=found.layer_type.geometry,
        issues=[*issues, *found.issues],
        certificate=certificate,
    )
    stream = FeatureStream(made, mapper, plan, rows.chunks)

    def batches() -> Iterator[FeatureBatch]:
        yield from stream.batches()
        made.issues += rows.closing()

    made.batches = batches
    return made
