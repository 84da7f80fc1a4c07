"""Columns -> the property table of EXT_structural_metadata, plain or packed.

A packed view must hold whole rows of 4 bytes or more and exactly the bytes of its column, so a string column or a
column of bytes is packed only where its length allows; string offsets are 32 bits wide there, which pack to the same
size as narrow ones.
"""

from collections.abc import Callable
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


def add(layer: LayerType, features: Features, out: Container, *, pack: bool, schema_uri: str | None = None) -> None:
    """Write the property table of the features, with the schema of their layer or where it is."""
    of_layer = layer_class(layer)
    writer = _Columns(out, pack)
    entries = {column.key: writer.entry(column) for column in columns(of_layer, features)}
    table = {"name": layer.id, "class": of_layer.id, "count": len(features), "properties": entries}
    schema = {"schema": of_layer.schema} if schema_uri is None else {"schemaUri": schema_uri}
    out.extensions_used.add("EXT_structural_metadata")
    out.document["extensions"] = {"EXT_structural_metadata": {**schema, "propertyTables": [table]}}


class _Columns:
    """Writes columns; equal arrays are stored once."""

    def __init__(self, out: Container, pack: bool) -> None:
        self._out, self._pack = out, pack
        self._seen: dict[tuple[bytes, str], dict[str, Any]] = {}

    def entry(self, column: Column) -> dict[str, Any]:
        values, offsets = column.values, column.offsets
        if offsets is None:
            return self._once(values, "number", lambda: {"values": self._values(values, max(4, values.itemsize))})
        entry = self._once(values, "text", lambda: {"values": self._values(values, _stride(offsets))})
        return entry | self._once(offsets, "offset", lambda: self._offsets(offsets))

    def _once(self, array: NDArray[Any], role: str, write: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        content = (array.tobytes(), role)
        if content not in self._seen:
            self._seen[content] = write()
        return self._seen[content]

    def _values(self, values: NDArray[Any], stride: int) -> int:
        raw = values.view(np.uint8)
        if self._pack and 0 < stride <= 256 and len(raw) % stride == 0:
            view = self._out.packed_if(raw.reshape(-1, stride), saves=_SAVES)
            if view is not None:
                return view
        return self._out.view(values)

    def _offsets(self, offsets: NDArray[Any]) -> dict[str, Any]:
        if self._pack:
            wide = offsets.astype("<u4")[:, None]
            view = self._out.packed_if(wide, saves=_SAVES + wide.nbytes - offsets.nbytes)
            if view is not None:
                return {"stringOffsets": view}
        return {"stringOffsets": self._out.view(offsets), "stringOffsetType": offsets.dtype.name.upper()}


def _stride(offsets: NDArray[Any]) -> int:
    """The row length at which strings are most likely to repeat; 0 where they are all empty."""
    length = int(np.bincount(np.diff(offsets)).argmax())
    return length * 4 // gcd(length, 4) if length else 0
