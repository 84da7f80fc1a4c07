"""Arrow columns -> property table of EXT_structural_metadata.

Spec: https://github.com/CesiumGS/glTF/tree/3d-tiles-next/extensions/2.0/Vendor/EXT_structural_metadata and the 3D
Metadata specification (binary table format). Types follow the column: number FLOAT64, integer INT32 (INT64 where a
value needs it), boolean BOOLEAN, everything else STRING (dates as ISO 8601). A missing value is `noData`; for
BOOLEAN, which may not have one, the column becomes UINT8 with 255 as `noData`. A column without a single value in
the tile is left out: a reader gets "undefined" for it either way. An empty string counts as missing.
"""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

NO_NUMBER = -1.7976931348623157e308
NO_INT32 = -(2**31)
NO_INT64 = -(2**53) + 1  # the lowest integer that JSON readers in JavaScript keep exactly
NO_BOOLEAN = 255


@dataclass(frozen=True)
class PropertyTable:
    """A property table ready to be put into a glTF.

    Attributes
    ----------
    schema : the `schema` object of the extension, with one class
    table : the `propertyTables[0]` object; `values` and `stringOffsets` are indices into `buffers`
    buffers : little-endian bytes, one buffer view each, never empty
    """

    schema: dict[str, Any]
    table: dict[str, Any]
    buffers: list[bytes]

    def shifted(self, first_view: int) -> dict[str, Any]:
        """`table` with its indices counted from the buffer view `first_view`."""
        properties = {
            key: {name: at + first_view for name, at in entry.items()}
            for key, entry in self.table["properties"].items()
        }
        return {**self.table, "properties": properties}


def property_table(class_name: str, columns: pa.Table) -> PropertyTable:
    """Encode a table; row i belongs to feature id i. Raises nothing: what has no better type becomes a string."""
    properties: dict[str, Any] = {}
    entries: dict[str, dict[str, int]] = {}
    buffers: list[bytes] = []
    for position, name in enumerate(columns.column_names):
        encoded = _column(columns.column(position))
        if encoded is None:
            continue
        kind, values, offsets = encoded
        key = _identifier(name, f"p{position}", properties)
        semantic = {"id": {"semantic": "ID"}, "name": {"semantic": "NAME"}}.get(key, {})
        properties[key] = {"name": name, **kind, **semantic}
        entries[key] = {"values": len(buffers)}
        buffers.append(values)
        if offsets is not None:
            entries[key]["stringOffsets"] = len(buffers)
            buffers.append(offsets)
    class_id = _identifier(class_name, "layer", {})
    schema = {"id": "citytwin", "classes": {class_id: {"name": class_name, "properties": properties}}}
    table = {"name": class_name, "class": class_id, "count": columns.num_rows, "properties": entries}
    return PropertyTable(schema, table, buffers)


def _identifier(name: str, fallback: str, taken: dict[str, Any]) -> str:
    """The spec allows only ASCII identifiers; the full name stays in `name`."""
    key = re.sub(r"\W", "_", name, flags=re.ASCII)
    if not re.fullmatch(r"[A-Za-z_]\w*", key, flags=re.ASCII) or not key.strip("_"):
        key = fallback
    return key if key not in taken else f"{key}_{len(taken)}"


def _column(column: pa.ChunkedArray) -> tuple[dict[str, Any], bytes, bytes | None] | None:
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    if array.null_count == len(array):
        return None
    if pa.types.is_boolean(array.type):
        return _booleans(array)
    if pa.types.is_integer(array.type):
        return _integers(array)
    if pa.types.is_floating(array.type) or pa.types.is_decimal(array.type):
        return _numbers(array)
    return _strings(array)


def _booleans(array: pa.Array) -> tuple[dict[str, Any], bytes, None]:
    if array.null_count == 0:
        bits = np.packbits(array.to_numpy(zero_copy_only=False), bitorder="little")
        return {"type": "BOOLEAN"}, bits.tobytes(), None
    values = array.cast(pa.uint8()).fill_null(NO_BOOLEAN).to_numpy(zero_copy_only=False)
    return _scalar("UINT8") | {"noData": NO_BOOLEAN}, values.astype(np.uint8).tobytes(), None


def _integers(array: pa.Array) -> tuple[dict[str, Any], bytes, bytes | None] | None:
    low, high = (int(v) for v in pc.min_max(array).as_py().values())
    if high >= 2**63:
        return _strings(array)
    narrow = low > NO_INT32 and high < 2**31
    kind = _scalar("INT32" if narrow else "INT64")
    missing = array.is_null().to_numpy(zero_copy_only=False)
    values = array.fill_null(0).to_numpy(zero_copy_only=False).astype("<i4" if narrow else "<i8")
    if missing.any():
        kind["noData"] = NO_INT32 if narrow else NO_INT64
        values[missing] = kind["noData"]
    return kind, values.tobytes(), None


def _numbers(array: pa.Array) -> tuple[dict[str, Any], bytes, None] | None:
    values = array.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False).astype("<f8")
    missing = np.isnan(values)
    if missing.all():
        return None
    kind = _scalar("FLOAT64")
    if missing.any():
        kind["noData"] = NO_NUMBER
        values = np.where(missing, NO_NUMBER, values)
    return kind, values.tobytes(), None


def _strings(array: pa.Array) -> tuple[dict[str, Any], bytes, bytes] | None:
    text = _as_text(array)
    has_missing = text.null_count > 0 or bool(pc.any(pc.equal(text, "")).as_py())
    text = text.fill_null("")
    offsets = np.frombuffer(text.buffers()[1], "<i8", len(text) + 1, text.offset * 8)
    data = text.buffers()[2]
    if data is None or offsets[-1] == offsets[0]:
        return None
    body = data.to_pybytes()[offsets[0] : offsets[-1]]
    kind: dict[str, Any] = {"type": "STRING"}
    if has_missing:
        kind["noData"] = ""
    return kind, body, (offsets - offsets[0]).astype("<u4").tobytes()


def _as_text(array: pa.Array) -> pa.Array:
    if pa.types.is_timestamp(array.type):
        return pc.replace_substring(array.cast(pa.large_string()), " ", "T", max_replacements=1)
    try:
        return array.cast(pa.large_string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        return pa.array([None if v is None else str(v) for v in array.to_pylist()], pa.large_string())


def _scalar(component: str) -> dict[str, Any]:
    return {"type": "SCALAR", "componentType": component}
