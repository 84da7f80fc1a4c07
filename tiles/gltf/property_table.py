"""Features -> the columns of a property table, binary, by the class of their layer.

A string property without a single value in the tile is left out, as the spec allows for what is not `required`;
numbers and codes are there all the same, since Cesium's 3d-tiles-validator (0.6.1) fails without them. Strings are
UTF-8 with the narrowest offsets that hold them. An empty string counts as missing, and so does NaN.

Spec: 3D Metadata (OGC 22-025r4), binary table format.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tiles.gltf.layer_class import MAX_EXACT, NO_BOOLEAN, NO_INT32, NO_NUMBER, LayerClass, Property
from twin.store.interface import Features

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Column:
    """One property of a tile, row i for feature id i.

    Attributes
    ----------
    key : the property of the class
    values : little-endian numbers, or the bytes of all strings one after the other
    offsets : of a STRING, (n + 1,) where each string begins and the last one ends; uint8, uint16 or uint32
    """

    key: str
    values: NDArray[Any]
    offsets: NDArray[Any] | None = None


class _Others:
    """Values that their own property cannot hold, by row."""

    def __init__(self) -> None:
        self.rows: dict[int, dict[str, Any]] = {}

    def keep(self, name: str, array: pa.Array, misfit: Mask) -> None:
        for row in np.flatnonzero(misfit).tolist():
            value = array[row].as_py()
            is_number = isinstance(value, int) or (isinstance(value, float) and abs(value) < np.inf)
            self.rows.setdefault(row, {})[name] = value if is_number and abs(value) < 2**63 else str(value)

    def column(self, key: str, n: int) -> Column | None:
        if not self.rows:
            return None
        text = [orjson.dumps(self.rows[row]).decode() if row in self.rows else "" for row in range(n)]
        return _strings(key, pa.array(text, pa.large_string()))


def columns(of_layer: LayerClass, features: Features) -> list[Column]:
    """The columns of the features' property table, `id` and `layer` first.

    Attributes that the layer type does not have are not in the class and stay out.
    """
    n = len(features)
    made = [_ids(features.ids), Column("layer", np.zeros(n, np.uint8))]
    others = _Others()
    known = set(features.attributes.column_names)
    for each in of_layer.properties:
        column = None
        if each.attribute in known:
            column = _column(each, _whole(features.attributes.column(each.attribute)), others)
        if column is None and each.kind != "STRING":
            column = Column(each.key, np.full(n, _no_data(each), _dtype(each)))
        if column is not None:
            made.append(column)
    rest = others.column(of_layer.other, n)
    return [*made, rest] if rest is not None else made


def _dtype(each: Property) -> np.dtype[Any]:
    names = {"FLOAT64": "<f8", "INT32": "<i4", "BOOLEAN": "u1"}
    return np.dtype(names.get(each.kind, each.enum_type.lower())).newbyteorder("<")


def _no_data(each: Property) -> float:
    values = {"FLOAT64": NO_NUMBER, "INT32": NO_INT32, "BOOLEAN": NO_BOOLEAN}
    return each.code_values[-1] if each.kind == "ENUM" else values[each.kind]


def _whole(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    joined = column.combine_chunks()
    return pa.concat_arrays(joined.chunks) if isinstance(joined, pa.ChunkedArray) else joined


def _ids(ids: list[str]) -> Column:
    text = pa.array(ids, pa.large_string())
    return _strings("id", text) or Column("id", np.zeros(0, np.uint8), np.zeros(len(ids) + 1, np.uint8))


def _column(each: Property, array: pa.Array, others: _Others) -> Column | None:
    if array.null_count == len(array):
        return None
    if each.kind == "BOOLEAN":
        return _booleans(each, array)
    if each.kind == "ENUM":
        return _codes(each, array, others)
    if each.kind == "STRING":
        return _strings(each.key, _as_text(array))
    return _numbers(each, array, others)


def _booleans(each: Property, array: pa.Array) -> Column:
    values = array.cast(pa.uint8()).fill_null(NO_BOOLEAN).to_numpy(zero_copy_only=False)
    return Column(each.key, values.astype(np.uint8))


def _numbers(each: Property, array: pa.Array, others: _Others) -> Column:
    missing = array.is_null().to_numpy(zero_copy_only=False) if array.null_count else np.zeros(len(array), bool)
    if pa.types.is_integer(array.type):
        exact = array.fill_null(0).to_numpy(zero_copy_only=False)
        limit = MAX_EXACT if each.kind == "FLOAT64" else -NO_INT32 - 1
        misfit = (exact > limit) | (exact < -limit)
        values = exact
    else:
        values = array.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
        missing = np.isnan(values)
        misfit = np.isinf(values) if each.kind == "FLOAT64" else ~missing & (np.rint(values) != values)
        misfit |= np.abs(np.where(missing, 0, values)) > (2**31 - 1 if each.kind == "INT32" else np.inf)
    if misfit.any():
        others.keep(each.attribute, array, misfit)
    nothing = missing | misfit
    if nothing.any():
        values = np.where(nothing, _no_data(each), values)
    return Column(each.key, values.astype(_dtype(each)))


def _codes(each: Property, array: pa.Array, others: _Others) -> Column:
    """The number of each value's entry; what is in no entry is kept beside."""
    text = array.cast(pa.large_string())
    at = pc.index_in(text, pa.array(each.codes, pa.large_string())).fill_null(len(each.codes))
    places = at.to_numpy(zero_copy_only=False)
    unknown = places == len(each.codes)
    if unknown.any():
        said = pc.fill_null(pc.not_equal(text, ""), False).to_numpy(zero_copy_only=False)
        if (unknown & said).any():
            others.keep(each.attribute, array, unknown & said)
    return Column(each.key, np.array(each.code_values, _dtype(each))[places])


def _strings(key: str, text: pa.Array) -> Column | None:
    """None where every string is empty or missing."""
    text = text.fill_null("") if text.null_count else text
    offsets = np.frombuffer(text.buffers()[1], "<i8", len(text) + 1, text.offset * 8)
    first, last = int(offsets[0]), int(offsets[-1])
    data = text.buffers()[2]
    if data is None or last == first:
        return None
    n_bytes = last - first
    dtype = "<u1" if n_bytes < 2**8 else "<u2" if n_bytes < 2**16 else "<u4"
    return Column(key, np.frombuffer(data, np.uint8, n_bytes, first), (offsets - first).astype(dtype))


def _as_text(array: pa.Array) -> pa.Array:
    if pa.types.is_timestamp(array.type):
        if array.type.tz not in {None, "UTC"}:
            array = array.cast(pa.timestamp(array.type.unit, "UTC"))
        return pc.replace_substring(array.cast(pa.large_string()), " ", "T", max_replacements=1)
    try:
        return array.cast(pa.large_string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        return pa.array([None if v is None else str(v) for v in array.to_pylist()], pa.large_string())
