"""Features as a GeoPackage of one layer, written by GDAL from a stream of batches, with R-tree and extent.

Spec: OGC 12-128r18. A GeoPackage cannot be streamed: it is made in a file that is gone as soon as it was read.
"""

import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from threading import BoundedSemaphore

import numpy as np
import pyarrow as pa

from layers.errors import Busy
from server.formats import table
from server.formats.selection import Selection
from twin.store.interface import Features

PIECE_BYTES = 1 << 18
AT_ONCE = 8
"""Files that may stand on the disk at the same time, a process; a million features take about 400 MB."""
_PLACES = BoundedSemaphore(AT_ONCE)


def write(selection: Selection) -> Generator[bytes]:
    """The file in pieces; the first comes when all of it is made."""
    if not _PLACES.acquire(blocking=False):
        raise Busy(f"{AT_ONCE} GeoPackages are being made already.", "Try again in a minute, or ask for f=fgb.")
    try:
        with tempfile.TemporaryDirectory(prefix="citytwin-") as folder:
            path = Path(folder) / "layer.gpkg"
            make(selection, path)
            with path.open("rb") as made:
                while piece := made.read(PIECE_BYTES):
                    yield piece
    finally:
        _PLACES.release()


def make(selection: Selection, path: Path) -> None:
    """Write the selection into a new GeoPackage."""
    import pyogrio

    shape, name, kind = selection.shape, None, None
    empty = table.schema(selection).empty_table()
    if shape.kind:
        name, kind = "geom", table.geometry_name(shape)
        empty = empty.append_column(name, pa.array([], pa.binary()))
    failed: list[Exception] = []
    rows = pa.RecordBatchReader.from_batches(empty.schema, _told(_rows(selection, empty.schema), failed))
    try:
        pyogrio.write_arrow(
            rows, path, layer=selection.info.id, driver="GPKG", geometry_name=name, geometry_type=kind,
            crs=table.file_crs(selection.asked.crs) if name else None, layer_options=_options(selection),
        )  # fmt: skip
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, RuntimeError):
        if failed:
            raise failed[0] from None
        raise


def _told(rows: Iterator[pa.RecordBatch], failed: list[Exception]) -> Iterator[pa.RecordBatch]:
    """The same batches; what goes wrong is noted, since it is lost on its way through GDAL."""
    try:
        yield from rows
    except Exception as error:
        failed.append(error)
        raise


def _options(selection: Selection) -> dict[str, str]:
    title = selection.info.type.title
    options = {"IDENTIFIER": f"{title.zh} {title.en}", "FID": "fid"}
    return options | ({"GEOMETRY_NAME": "geom"} if selection.shape.kind else {"ASPATIAL_VARIANT": "GPKG_ATTRIBUTES"})


def _rows(selection: Selection, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for batch in selection.batches():
        yield from _with_geometry(batch, selection).cast(schema).to_batches()


def _with_geometry(batch: Features, selection: Selection) -> pa.Table:
    rows = table.table(batch, selection)
    if not selection.shape.kind:
        return rows
    placed: np.ndarray[tuple[int], np.dtype[np.object_]] = table.geometries(batch, selection)
    return rows.append_column("geom", table.wkb(placed, selection.shape))
