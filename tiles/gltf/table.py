"""Columns -> the property table of EXT_structural_metadata, plain or packed.

A packed view must hold whole rows of 4 bytes or more and exactly the bytes of its column, so a string column or a
column of bytes is packed only where its length allows; string offsets are 32 bits wide there, which pack to the same
size as narrow ones.
"""

from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layers.catalogue import LayerType
from tiles.gltf.container import Container
from tiles.gltf.layer_class import layer_class
from tiles.gltf.property_table import Column, columns
from twin.store.interface import Features

_SAVES = 160
"""A packed view takes that many bytes more in the document than a plain one."""


def add(layer: LayerType, features: Features, out: Container, *, pack: bool) -> None:
    """Write the property table of the features, with the schema of their layer. Equal columns are stored once."""
    of_layer = layer_class(layer)
    seen: dict[tuple[bytes, bytes], dict[str, Any]] = {}
    entries = {}
    for column in columns(of_layer, features):
        content = (column.values.tobytes(), b"" if column.offsets is None else column.offsets.tobytes())
        if content not in seen:
            seen[content] = _entry(column, out, pack)
        entries[column.key] = seen[content]
    table = {"name": layer.id, "class": of_layer.id, "count": len(features), "properties": entries}
    out.extensions_used.add("EXT_structural_metadata")
    out.document["extensions"] = {"EXT_structural_metadata": {"schema": of_layer.schema, "propertyTables": [table]}}


def _entry(column: Column, out: Container, pack: bool) -> dict[str, Any]:
    if column.offsets is None:
        return {"values": _view(column.values, [max(4, column.values.itemsize)], out, pack)}
    entry: dict[str, Any] = {"values": _view(column.values, _strides(column.offsets), out, pack)}
    if pack:
        wide = column.offsets.astype("<u4")[:, None]
        view = out.packed_if(wide, saves=_SAVES + wide.nbytes - column.offsets.nbytes)
        if view is not None:
            return entry | {"stringOffsets": view}
    return entry | {"stringOffsets": out.view(column.offsets), "stringOffsetType": column.offsets.dtype.name.upper()}


def _strides(offsets: NDArray[Any]) -> list[int]:
    """Row lengths at which strings are likely to repeat."""
    length = int(np.bincount(np.diff(offsets)).argmax())
    return [length * 4 // gcd(length, 4)] if length else []


def _view(values: NDArray[Any], strides: list[int], out: Container, pack: bool) -> int:
    raw = values.view(np.uint8)
    for stride in strides if pack else []:
        if stride <= 256 and len(raw) % stride == 0:
            view = out.packed_if(raw.reshape(-1, stride), saves=_SAVES)
            if view is not None:
                return view
    return out.view(values)
