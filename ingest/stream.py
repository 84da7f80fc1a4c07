"""Rows of any tabular format -> the feature batches of one layer: ids, geometry, attributes, rejects, counts."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from ingest import geometry as shapes
from ingest.duplicates import Seen
from ingest.geometry import Conformed
from ingest.ids import IdMaker, IdPlan, duplicates
from ingest.mapping import Mapper
from layers.issue import Issue, Reject
from layers.mesh import Mesh
from layers.source import FeatureBatch, VectorLayer

BATCH_ROWS = 10_000
SINGLY = 100
"""Repaired polygons that are named one by one."""


@dataclass
class Chunk:
    """Some rows as a format gives them.

    Attributes
    ----------
    table : attribute columns under the file's names
    shapes : geometries that passed `geometry.from_wkb` or `.check`; None for tables without geometry
    raw : (n,) bytes that tell geometries apart (WKB), or None
    fids : (n,) the file's feature numbers (or handles), or None
    where : row -> place in the file, for messages
    meshes : n meshes or None
    bad : row -> (code, sentence) for rows that the format itself finds wrong
    original : row -> what a reject keeps; None for the row of the table and its geometry
    """

    table: pa.Table
    shapes: Conformed | None
    raw: Sequence[bytes | None] | None
    fids: Sequence[int | str] | None
    where: Callable[[int], str]
    meshes: list[Mesh | None] | None = None
    bad: dict[int, tuple[str, str]] | None = None
    original: Callable[[int], dict[str, Any]] | None = None


class FeatureStream:
    """Turns the chunks of one layer into batches, filling the layer's counts, issues and rejects on the way."""

    def __init__(self, layer: VectorLayer, mapper: Mapper, plan: IdPlan, chunks: Callable[[], Iterator[Chunk]]) -> None:
        self.layer, self.mapper, self.plan, self._chunks = layer, mapper, plan, chunks
        self._opening = [*layer.issues, *mapper.opening_issues()]

    def batches(self) -> Iterator[FeatureBatch]:
        """Start reading; counts begin at zero each time."""
        layer = self.layer
        layer.n_read, layer.rejects, layer.issues = 0, [], list(self._opening)
        self._ids, self._seen_ids, self._seen_rows = IdMaker(self.plan), Seen(), Seen()
        self._n_flat, self._n_repaired, self._repaired = 0, 0, dict[str, float]()
        for chunk in self._chunks():
            layer.n_read += chunk.table.num_rows
            batch = self._batch(chunk)
            if len(batch):
                yield batch
        layer.issues += [*self._ids.issues(), *self.mapper.closing_issues(), *self._geometry_issues()]

    def _batch(self, chunk: Chunk) -> FeatureBatch:
        n_rows = chunk.table.num_rows
        ids = self._ids.ids(chunk.table, chunk.fids, lambda row: self._content(chunk, row))
        rejected: dict[int, tuple[str, str]] = {}
        if chunk.shapes is not None:
            conformed = shapes.conform(chunk.shapes, self.layer.geometry_type)
            rejected |= conformed.rejected
            self._n_flat += len(conformed.flattened)
            self._n_repaired += len(conformed.repaired)
            for row, change in islice(conformed.repaired.items(), max(0, SINGLY - len(self._repaired))):
                self._repaired[ids[row]] = change
        rejected |= chunk.bad or {}  # the format's own reason says more than «no geometry»
        self._mark_duplicates(chunk, ids, rejected)
        for row, (code, sentence) in sorted(rejected.items()):
            content = self._original(chunk, row)
            self.layer.rejects.append(Reject(code, f"{chunk.where(row)}, id {ids[row]}", sentence, content))
        kept = np.ones(n_rows, bool)
        kept[list(rejected)] = False
        return self._kept(chunk, ids, kept)

    def _kept(self, chunk: Chunk, ids: list[str], kept: NDArray[np.bool_]) -> FeatureBatch:
        rows = np.flatnonzero(kept)
        whole = len(rows) == len(ids)
        table = chunk.table if whole else chunk.table.take(pa.array(rows))
        own = ids if whole else [ids[row] for row in rows]
        attributes, extra = self.mapper.apply(table, own)
        geometry = np.full(len(own), None, object) if chunk.shapes is None else chunk.shapes.geometry[rows]
        meshes = None if chunk.meshes is None else [chunk.meshes[row] for row in rows]
        return FeatureBatch(own, geometry, attributes, extra, meshes)

    def _mark_duplicates(self, chunk: Chunk, ids: list[str], rejected: dict[int, tuple[str, str]]) -> None:
        # with an id column, a feature that is there twice has its id twice; numbered rows of a table may well be equal
        if self.plan.column is None and not (self.plan.persistent and chunk.shapes is None):
            self._mark_repeats(chunk, rejected)
        rest = [row for row in range(len(ids)) if row not in rejected]
        for place in np.flatnonzero(duplicates(self._seen_ids, [ids[row] for row in rest])):
            row = rest[place]
            rejected[row] = ("DUPLICATE_ID", f"The id {ids[row]!r} came before.")

    def _mark_repeats(self, chunk: Chunk, rejected: dict[int, tuple[str, str]]) -> None:
        columns = [chunk.table.column(name).to_pylist() for name in chunk.table.column_names]
        raw = chunk.raw if chunk.raw is not None else [None] * chunk.table.num_rows
        keys = list(zip(raw, *columns, strict=True))
        rest = [row for row in range(len(keys)) if row not in rejected]
        for place in np.flatnonzero(duplicates(self._seen_rows, [keys[row] for row in rest])):
            sentence = "The same feature, with the same geometry and attributes, came before."
            rejected[rest[place]] = ("DUPLICATE_FEATURE", sentence)

    @staticmethod
    def _content(chunk: Chunk, row: int) -> bytes:
        raw = chunk.raw[row] if chunk.raw is not None else None
        if raw is not None:
            return raw
        return orjson.dumps([str(value) for value in chunk.table.slice(row, 1).to_pylist()[0].items()])

    @staticmethod
    def _original(chunk: Chunk, row: int) -> dict[str, Any]:
        if chunk.original is not None:
            return chunk.original(row)
        content = {key: value for key, value in chunk.table.slice(row, 1).to_pylist()[0].items() if value is not None}
        raw = chunk.raw[row] if chunk.raw is not None else None
        if raw is not None:
            with np.errstate(invalid="ignore"):
                shape = shapely.from_wkb(raw, on_invalid="ignore")
            content["geometry"] = raw.hex() if shape is None else shapely.to_wkt(shape, rounding_precision=-1)
        return content

    def _geometry_issues(self) -> list[Issue]:
        issues = []
        if self._n_flat:
            why = "heights that are all 0 or -9999, or not numbers"
            message = f"{self._n_flat} features have {why}; they are kept without heights."
            issues.append(Issue("Z_EMPTY", self.layer.name, message, "", "info"))
        for feature_id, change in self._repaired.items():
            message = f"The polygon was not valid and was repaired; its area changed by {change:.2g} of it."
            issues.append(
                Issue("GEOMETRY_REPAIRED", f"id {feature_id}", message, "Correct it in the source.", "warning")
            )
        if self._n_repaired > SINGLY:
            message = f"{self._n_repaired - SINGLY} more polygons were repaired in the same way."
            issues.append(
                Issue("GEOMETRY_REPAIRED", self.layer.name, message, "Correct them in the source.", "warning")
            )
        return issues
