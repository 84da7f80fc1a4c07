"""Features as FlatGeobuf 3.0, streamed: what GDAL makes of each batch, joined behind one header.

Spec: https://github.com/flatgeobuf/flatgeobuf/blob/master/README.md, `header.fbs`. A file is magic bytes, a header, an
index (none here) and features one after the other, so that features of several files with equal columns can follow
each other. Numbers in the header that speak of the first batch alone are set for the whole, or to unknown. All features
have heights or none has: of a layer where only some do, none has them here.
"""

import io
import struct
from collections.abc import Generator
from dataclasses import replace
from itertools import chain

import numpy as np

from layers import crs
from layers.crs import Bounds
from server.formats import table
from server.formats.selection import BATCH, Selection
from server.serving import not_flat
from twin.store.interface import Features

_MAGIC_BYTES = 8
_ENVELOPE, _COUNT = 1, 8
"""Fields of the header, by position in its schema."""


def write(selection: Selection) -> Generator[bytes]:
    """The file in pieces."""
    batches = selection.batches()
    batch = next(batches, None)
    if batch is None:
        yield encode(None, selection)
        return
    # a first batch that is not full may be the only one: then GDAL's header is right as it is
    following = next(batches, None) if len(batch) < BATCH else None
    whole = encode(batch, selection)
    if len(batch) < BATCH and following is None:
        yield whole
        return
    head, features = parts(whole)
    yield with_extent(head, selection.total(), _envelope(selection)) + features
    for batch in batches if following is None else chain([following], batches):
        yield parts(encode(batch, selection))[1]


def encode(batch: Features | None, selection: Selection) -> bytes:
    """One batch, or no features at all, as a file of its own, without index."""
    import pyogrio

    rows = table.schema(selection).empty_table() if batch is None else table.table(batch, selection)
    name, kind = None, None
    shape = replace(selection.shape, has_z=selection.shape.has_z and not selection.shape.is_mixed)
    if shape.kind:
        name, kind = table.free("geometry", rows), table.geometry_name(shape)
        placed = np.zeros(0, object) if batch is None else table.geometries(batch, selection)
        rows = rows.append_column(name, table.wkb(placed, shape))
    sink = io.BytesIO()
    pyogrio.write_arrow(
        rows, sink, layer=selection.info.id, driver="FlatGeobuf", geometry_name=name, geometry_type=kind,
        crs=table.file_crs(selection.asked.crs) if name else None, layer_options={"SPATIAL_INDEX": "NO"},
    )  # fmt: skip
    return sink.getvalue()


def parts(whole: bytes) -> tuple[bytes, bytes]:
    """A file without index as its magic bytes and header, and its features."""
    end = _MAGIC_BYTES + 4 + struct.unpack_from("<I", whole, _MAGIC_BYTES)[0]
    return whole[:end], whole[end:]


def with_extent(head: bytes, count: int | None, envelope: Bounds | None) -> bytes:
    """A header that says how many features there are and where; None is unknown (no features, no numbers)."""
    out = bytearray(head)
    at = _field(out, _COUNT)
    if at:
        struct.pack_into("<Q", out, at, count or 0)
    at = _field(out, _ENVELOPE)
    if at:
        numbers = at + struct.unpack_from("<I", out, at)[0]
        if envelope is None:
            struct.pack_into("<I", out, numbers, 0)
        else:
            struct.pack_into("<4d", out, numbers + 4, *envelope)
    return bytes(out)


def _field(head: bytearray, number: int) -> int:
    """Where the value of a field of the header's table lies; 0 where it is absent (FlatBuffers: vtables)."""
    root = _MAGIC_BYTES + 4
    table_at = root + int(struct.unpack_from("<I", head, root)[0])
    vtable = table_at - int(struct.unpack_from("<i", head, table_at)[0])
    n_fields = (int(struct.unpack_from("<H", head, vtable)[0]) - 4) // 2
    offset = int(struct.unpack_from("<H", head, vtable + 4 + 2 * number)[0]) if number < n_fields else 0
    return table_at + offset if offset else 0


def _envelope(selection: Selection) -> Bounds | None:
    """Of the whole layer; of a part it is not known before the end."""
    bounds, source, target = selection.info.bounds, selection.city.city.config.crs, selection.asked.crs
    if bounds is None or not selection.is_whole_layer:
        return None
    return bounds if source == target else crs.transform_bounds(source, target, not_flat(bounds))
