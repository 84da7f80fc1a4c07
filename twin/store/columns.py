"""Typed columns: a layer type's attributes as GeoPackage columns, and their values from and to Arrow.

Column types: OGC 12-128r18, table 1. Dates are `YYYY-MM-DD`, moments `YYYY-MM-DDTHH:MM:SS.SSSZ` in UTC (six digits
where a value has microseconds).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from layers.catalogue import ARROW_TYPES, Attribute, LayerType
from layers.errors import InvalidInput

SQL_TYPES = {
    "string": "TEXT",
    "integer": "INTEGER",
    "number": "DOUBLE",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "datetime": "DATETIME",
}
OWN = ("fid", "geom", "id", "version", "valid_from", "valid_to", "extra")
"""Columns every table has; an attribute of such a name gets an underscore behind it."""


def quote(name: str) -> str:
    """An SQL identifier, safely quoted. NUL cannot be part of one."""
    return '"' + name.replace("\0", "").replace('"', '""') + '"'


def row_numbers(fids: NDArray[np.int64]) -> str:
    """Row numbers as a JSON array, for `json_each`."""
    return orjson.dumps(np.ascontiguousarray(fids, np.int64), option=orjson.OPT_SERIALIZE_NUMPY).decode()


def column_names(attributes: Sequence[Attribute], known: dict[str, str]) -> dict[str, str]:
    """Attribute name -> column name: itself, or with underscores where SQLite (case-blind) would see it twice."""
    names = dict(known)
    taken = {name.casefold() for name in (*OWN, *known.values(), "rowid", "oid", "_rowid_")}
    for attribute in attributes:
        if attribute.name in names:
            continue
        column = attribute.name.replace("\0", "") or "unnamed"
        while column.casefold() in taken:
            column += "_"
        names[attribute.name] = column
        taken.add(column.casefold())
    return names


def common_type(old: str, new: str) -> str:
    """The narrowest attribute type that holds values of both."""
    if old == new:
        return old
    return "number" if {old, new} == {"integer", "number"} else "string"


def to_sqlite(layer_type: LayerType, table: pa.Table, names: Sequence[str]) -> list[list[Any]]:
    """One list of n SQLite values for each attribute name; attributes that the table lacks are all None.

    Raises InvalidInput where the table has a column that the layer lacks, or one of another type.
    """
    unknown = [name for name in table.column_names if layer_type.attribute(name) is None]
    if unknown:
        raise InvalidInput(
            f"Layer {layer_type.id!r} has no attribute {unknown[0]!r}.", "Put it into `extra`, or widen the layer."
        )
    present = set(table.column_names)
    out: list[list[Any]] = []
    for name in names:
        if name not in present:
            out.append([None] * table.num_rows)
            continue
        attribute = layer_type.attribute(name)
        kind = "string" if attribute is None else attribute.type
        try:
            out.append(_column_to_sqlite(table.column(name), kind))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise InvalidInput(f"Attribute {name!r} of layer {layer_type.id!r} is no {kind}: {error}.") from error
    return out


def _column_to_sqlite(column: pa.ChunkedArray, kind: str) -> list[Any]:
    column = column.cast(ARROW_TYPES[kind])
    if kind == "boolean":
        column = column.cast(pa.int8())
    elif kind == "date":
        column = column.cast(pa.string())
    elif kind == "datetime":
        column = _moments(column)
    elif kind == "number":
        # SQLite has no NaN (it stores NULL), so it is null from here on, for the content hash too
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, pa.float64()), column)
    return list(column.to_pylist())


def _moments(column: pa.ChunkedArray) -> pa.ChunkedArray:
    text = pc.strftime(column, "%Y-%m-%dT%H:%M:%SZ", locale="C")  # %S has the six digits of the unit
    return pc.replace_substring_regex(text, r"(\.\d{3})000Z$", r"\1Z")


def from_sqlite(values: Sequence[Any], kind: str, name: str) -> pa.Array:
    """SQLite values as an Arrow array of the attribute's type; InvalidInput where an outside edit left another."""
    try:
        if kind == "boolean":
            return pa.array(values, pa.int64()).cast(pa.bool_())
        if kind in {"date", "datetime"}:
            return pa.array(values, pa.string()).cast(ARROW_TYPES[kind])
        return pa.array(values, ARROW_TYPES[kind])
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InvalidInput(f"Column {name!r} holds something that is no {kind}: {error}.", "Correct it.") from error
