"""Reading and filling columns of an attribute table as numpy arrays."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def numbers(table: pa.Table, name: str) -> FloatArray:
    """(n,) float64, NaN for null; all NaN if there is no such column."""
    if name not in table.column_names:
        return np.full(table.num_rows, np.nan)
    column = pc.cast(table.column(name), pa.float64())
    return np.array(pc.fill_null(column, np.nan).to_numpy(), np.float64)


def words(table: pa.Table, name: str) -> NDArray[np.object_]:
    """(n,) str or None; all None if there is no such column."""
    if name not in table.column_names:
        return np.full(table.num_rows, None, object)
    return np.array(table.column(name).to_pylist(), dtype=object)


def with_column(table: pa.Table, name: str, values: Sequence[Any] | NDArray[Any], kind: pa.DataType) -> pa.Table:
    """The table with a column replaced or added; NaN becomes null."""
    array = pa.array(values, kind, from_pandas=True)
    if name in table.column_names:
        return table.set_column(table.column_names.index(name), name, array)
    return table.append_column(name, array)


def with_constant(table: pa.Table, name: str, value: Any, kind: pa.DataType) -> pa.Table:
    """The table with nulls of a column replaced by one value."""
    constant = pa.scalar(value, kind)
    if name in table.column_names:
        filled = pc.fill_null(pc.cast(table.column(name), kind), constant)
        return table.set_column(table.column_names.index(name), name, filled)
    return table.append_column(name, pa.repeat(constant, table.num_rows))


def only(geometry: NDArray[np.object_], wanted: NDArray[np.bool_]) -> NDArray[np.object_]:
    """(n,) geometries with None where they are not wanted."""
    out = np.array(geometry, dtype=object)
    out[~wanted] = None
    return out
