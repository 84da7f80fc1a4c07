"""A PLY without faces is a point cloud: its points go to COPC like those of any other reader."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.mesh.parts import broken
from ingest.mesh.ply import Element, Header, header
from ingest.points.layer import PointChunk, copc_from_chunks
from ingest.vector.reader import ids_name
from layers.source import Hints, Reading

SUFFIXES = (".ply",)

CHUNK_POINTS = 100_000
COLOURS = ("red", "green", "blue")


def read(path: Path, hints: Hints) -> Reading:
    """The points as an asset. Raises InvalidInput for a damaged file, CrsMissing without `crs`."""
    name = ids_name(path, hints)
    head = header(path, name)
    vertex = head.elements[0] if head.elements else Element("", 0)
    if vertex.name != "vertex" or not {"x", "y", "z"} <= {each.name for each in vertex.properties}:
        raise broken(name, "it does not begin with vertices that have x, y, z.")
    has_color = set(COLOURS) <= {each.name for each in vertex.properties}
    extra = {
        each.name: np.dtype(each.type)
        for each in vertex.properties
        if not each.count and each.name not in {"x", "y", "z", "intensity", "alpha", *COLOURS}
    }
    made = copc_from_chunks(
        path, hints, lambda: _chunks(path, name, head, list(extra)), None, extra=extra, has_color=has_color
    )
    return Reading(path, "PLY points", [made.layer], made.certificate, made.issues)


def _chunks(path: Path, name: str, head: Header, extra: list[str]) -> Iterator[PointChunk]:
    vertex = head.elements[0]
    if any(each.count for each in vertex.properties):
        raise broken(name, "its vertices have lists.")
    dtype = np.dtype([(each.name, (head.order or "<") + each.type) for each in vertex.properties])
    left = vertex.n_rows
    with path.open("rb") as file:
        file.seek(head.n_bytes)
        while left:
            n_rows = min(CHUNK_POINTS, left)
            if head.order:
                data = file.read(dtype.itemsize * n_rows)
                if len(data) < dtype.itemsize * n_rows:
                    raise broken(name, f"it ends {left} points early.", "TRUNCATED")
                table = np.frombuffer(data, dtype)
            else:
                table = _ascii(list(islice(file, n_rows)), n_rows, dtype, name)
            left -= n_rows
            yield _chunk(table, extra)


def _ascii(lines: list[bytes], n_rows: int, dtype: np.dtype[Any], name: str) -> NDArray[Any]:
    rows = [line.split() for line in lines]
    if len(rows) < n_rows or any(len(row) < len(dtype.names or ()) for row in rows):
        raise broken(name, "it ends before its points do, or a line is too short.", "TRUNCATED")
    table = np.zeros(n_rows, dtype)
    try:
        for i, column in enumerate(dtype.names or ()):
            table[column] = np.array([row[i] for row in rows], "S40").astype(np.float64).astype(dtype[column])
    except ValueError as error:
        raise broken(name, f"a point has no numbers: {error}.") from error
    return table


def _chunk(table: NDArray[Any], extra: list[str]) -> PointChunk:
    xyz = np.stack([table[axis].astype(np.float64) for axis in "xyz"], axis=1)
    names = table.dtype.names or ()
    attributes = {}
    if set(COLOURS) <= set(names):
        for colour in COLOURS:  # 8 bits fill the upper and the lower half of 16
            values = table[colour]
            scale = {"u1": 257.0, "u2": 1.0}.get(values.dtype.str[1:], 65535.0)
            attributes[colour] = (values.astype(np.float64) * scale).clip(0, 65535).astype(np.uint16)
    return PointChunk(
        xyz, attributes, {each: table[each].astype(table.dtype[each].newbyteorder("=")) for each in extra}
    )
