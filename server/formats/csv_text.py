"""Features as CSV (RFC 4180): one line a feature, its geometry as WKT; of layers of points also as columns x and y.

UTF-8 with a byte order mark, without which Excel takes Chinese for something else. East first, as QGIS and GDAL read
WKT and x, y. Texts that a spreadsheet would run as a formula get an apostrophe in front (OWASP, "CSV Injection").
"""

import io
from collections.abc import Generator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import shapely
from numpy.typing import NDArray

from layers import crs
from server.formats import table
from server.formats.selection import Selection
from twin.store.interface import Features

BOM = b"\xef\xbb\xbf"
FORMULA = r"^([=+\-@\t\r])"
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_QUOTE, _LINE_FEED, _RETURN = b'"\n\r'


def write(selection: Selection) -> Generator[bytes]:
    """The file in pieces, one a batch."""
    sink = io.BytesIO(BOM)
    sink.seek(0, io.SEEK_END)
    writer = None
    for batch in selection.batches():
        lines = _with_geometry(_texts(table.table(batch, selection)), batch, selection)
        if writer is None:
            writer = pa.csv.CSVWriter(sink, lines.schema)
        writer.write_table(lines)
        yield _taken(sink)
    if writer is None:
        empty = _with_geometry(_texts(table.schema(selection).empty_table()), None, selection)
        pa.csv.CSVWriter(sink, empty.schema).close()
        yield _taken(sink)


def _taken(sink: io.BytesIO) -> bytes:
    """What was written since the last time, lines ended by CR LF; line feeds inside quotes stay."""
    written = np.frombuffer(sink.getvalue(), np.uint8)
    sink.seek(0)
    sink.truncate()
    in_quotes = np.cumsum(written == _QUOTE) % 2 == 1
    ends = np.flatnonzero((written == _LINE_FEED) & ~in_quotes)
    return bytes(np.insert(written, ends, _RETURN).tobytes())


def _texts(rows: pa.Table) -> pa.Table:
    """Moments as RFC 3339, texts that begin like a formula with an apostrophe."""
    for at, field in enumerate(rows.schema):
        if pa.types.is_timestamp(field.type):
            rows = rows.set_column(at, field.name, _moments(rows.column(at)))
        elif pa.types.is_string(field.type):
            rows = rows.set_column(at, field.name, harmless(rows.column(at)))
    return rows


def _moments(column: pa.ChunkedArray) -> pa.Array:
    found = column.combine_chunks().dictionary_encode()
    texts = pc.strftime(found.dictionary, "%Y-%m-%dT%H:%M:%SZ", locale="C")
    return pc.replace_substring_regex(texts, r"\.?0+Z$", "Z").take(found.indices)


def harmless(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Texts that begin with =, +, -, @, tab or return, and are no number, with an apostrophe in front."""
    risky = pc.and_(pc.match_substring_regex(column, FORMULA), pc.invert(pc.match_substring_regex(column, NUMBER)))
    if not pc.any(risky).as_py():
        return column
    return pc.if_else(risky, pc.binary_join_element_wise("'", column, ""), column)


def _with_geometry(rows: pa.Table, batch: Features | None, selection: Selection) -> pa.Table:
    kind = selection.shape.kind
    if not kind:
        return rows
    placed = np.zeros(0, object) if batch is None else table.in_crs(batch, selection)
    if kind == "POINT":
        for axis, values in (("x", shapely.get_x(placed)), ("y", shapely.get_y(placed)), ("z", shapely.get_z(placed))):
            if axis != "z" or selection.shape.has_z:
                rows = rows.append_column(table.free(axis, rows), pa.array(values, from_pandas=True))
    return rows.append_column(table.free("wkt", rows), pa.array(_wkt(placed, selection.asked.crs), pa.string()))


def _wkt(placed: NDArray[np.object_], target: str) -> NDArray[np.object_]:
    """To 0.1 mm: 9 decimals of a degree, 4 of a metre."""
    decimals = 9 if crs.is_geographic(target) else 4
    return np.asarray(shapely.to_wkt(placed, rounding_precision=decimals, output_dimension=3), object)
