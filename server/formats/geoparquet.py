"""Features as GeoParquet 1.1, streamed: a row group every few batches, what is only known at the end in the footer.

Spec: https://geoparquet.org/releases/v1.1.0/. Geometry is WKB, east first in any CRS; `bbox` is a covering column, by
which readers leave out row groups that they need not look into.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from layers import crs
from server.formats import table
from server.formats.selection import BATCH, Selection

ROWS_A_GROUP = 20 * BATCH
GEOMETRY, BBOX = "geometry", "bbox"
_SIDES = ("xmin", "ymin", "xmax", "ymax")
_BOX = pa.struct([(side, pa.float64()) for side in _SIDES])
_TYPES = ("Point", "LineString", "LinearRing", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon",
          "GeometryCollection")  # fmt: skip


class _Sink:
    """A file that gives away what was written to it."""

    closed = False

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._at = 0

    def write(self, piece: Any) -> int:
        data = bytes(piece)
        self._pieces.append(data)
        self._at += len(data)
        return len(data)

    def tell(self) -> int:
        return self._at

    def flush(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        """Whoever reads takes the rest."""

    def taken(self) -> bytes:
        """What was written since the last time."""
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data


@dataclass
class _Extent:
    """Types and bounds of all geometries that were written."""

    types: set[str] = field(default_factory=set)
    bounds: NDArray[np.float64] = field(default_factory=lambda: np.full(4, np.nan))

    def add(self, placed: NDArray[np.object_], boxes: NDArray[np.float64]) -> None:
        """Take a batch into account."""
        codes = np.unique(shapely.get_type_id(placed) * 2 + shapely.has_z(placed))
        self.types |= {_TYPES[code // 2] + " Z" * (code % 2) for code in codes.tolist() if code >= 0}
        with np.errstate(invalid="ignore"):
            low, high = np.fmin.reduce(boxes[:, :2], axis=0), np.fmax.reduce(boxes[:, 2:], axis=0)
        self.bounds = np.concatenate([np.fmin(self.bounds[:2], low), np.fmax(self.bounds[2:], high)])


def write(selection: Selection) -> Generator[bytes]:
    """The file in pieces."""
    from pyarrow import parquet

    sink, extent = _Sink(), _Extent()
    has_geometry = bool(selection.shape.kind)
    schema = _schema(selection)
    writer = parquet.ParquetWriter(pa.PythonFile(sink, mode="w"), schema, compression="zstd")
    for group in _groups(selection, extent, schema):
        writer.write_table(group)
        yield sink.taken()
    if has_geometry:
        names = _geometry_names(table.schema(selection).empty_table())
        writer.add_key_value_metadata({"geo": orjson.dumps(_metadata(selection, extent, *names)).decode()})
    writer.close()
    yield sink.taken()


def _geometry_names(rows: pa.Table) -> tuple[str, str]:
    return table.free(GEOMETRY, rows), table.free(BBOX, rows)


def _schema(selection: Selection) -> pa.Schema:
    plain = table.schema(selection)
    if not selection.shape.kind:
        return plain
    geometry, bbox = _geometry_names(plain.empty_table())
    return plain.append(pa.field(geometry, pa.binary())).append(pa.field(bbox, _BOX))


def _groups(selection: Selection, extent: _Extent, schema: pa.Schema) -> Iterator[pa.Table]:
    """Row groups; a small one first, so that the answer begins soon."""
    waiting: list[pa.Table] = []
    wanted = BATCH
    for batch in selection.batches():
        rows = table.table(batch, selection)
        if selection.shape.kind:
            placed = table.geometries(batch, selection)
            boxes = shapely.bounds(placed)
            extent.add(placed, boxes)
            rows = rows.append_column(schema.names[-2], table.wkb(placed, selection.shape))
            rows = rows.append_column(schema.names[-1], _boxes(boxes))
        waiting.append(rows)
        if sum(map(len, waiting)) >= wanted:
            yield pa.concat_tables(waiting)
            waiting, wanted = [], ROWS_A_GROUP
    if waiting:
        yield pa.concat_tables(waiting)


def _boxes(boxes: NDArray[np.float64]) -> pa.StructArray:
    is_void = np.isnan(boxes[:, 0])
    sides = [pa.array(side) for side in np.ascontiguousarray(boxes.T)]
    return pa.StructArray.from_arrays(sides, fields=list(_BOX), mask=pa.array(is_void))


def _metadata(selection: Selection, extent: _Extent, geometry: str, bbox: str) -> dict[str, Any]:
    """The `geo` key; a CRS84 needs not be named, every other one stands there as PROJJSON."""
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": sorted(extent.types),
        "covering": {"bbox": {side: [bbox, side] for side in _SIDES}},
    }
    if selection.asked.crs != crs.CRS84:
        column["crs"] = crs.parse(selection.asked.crs).to_json_dict()
    if np.isfinite(extent.bounds).all():
        column["bbox"] = extent.bounds.tolist()
    return {"version": "1.1.0", "primary_column": geometry, "columns": {geometry: column}}
