"""One subtree file (binary or JSON) of implicit tiling, read and checked alone. OGC 22-025r4, 8."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiles.verify.findings import Findings
from tiles.verify.json_text import BadJson, child, is_count, objects, parse
from tiles.verify.property_table import Column, check_table
from tiles.verify.source import Unread

Bits = NDArray[np.bool_]
SEMANTIC_WIDTHS = {
    "TILE_BOUNDING_BOX": 12, "TILE_BOUNDING_REGION": 6, "TILE_BOUNDING_SPHERE": 4, "TILE_GEOMETRIC_ERROR": 1,
    "TILE_MINIMUM_HEIGHT": 1, "TILE_MAXIMUM_HEIGHT": 1, "CONTENT_BOUNDING_BOX": 12, "CONTENT_BOUNDING_REGION": 6,
    "CONTENT_BOUNDING_SPHERE": 4, "CONTENT_MINIMUM_HEIGHT": 1, "CONTENT_MAXIMUM_HEIGHT": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """Form of all subtrees of a tileset: 4 or 8 children, levels, contents a tile."""

    fan: int
    levels: int
    n_contents: int

    @property
    def n_tiles(self) -> int:
        """Tiles of a full subtree."""
        return int((self.fan**self.levels - 1) // (self.fan - 1))

    def start(self, level: int) -> int:
        """Bit of the first tile of a level."""
        return int((self.fan**level - 1) // (self.fan - 1))


@dataclass(frozen=True)
class Subtree:
    """Availability as booleans, and metadata: semantic -> (row of tile, values) per available tile or content."""

    tiles: Bits
    contents: list[Bits]
    children: Bits
    tile_values: dict[str, NDArray[np.float64]]
    content_values: list[dict[str, NDArray[np.float64]]]


class _Stop(Exception):
    """The subtree cannot be read further; what is wrong was said."""


@dataclass
class _Parts:
    findings: Findings
    where: str
    document: dict[str, Any]
    binary: bytes
    fetch: Callable[[str], bytes]

    def bad(self, code: str, words: str) -> None:
        self.findings.add(code, self.where, words)

    def view(self, index: int) -> bytes | None:
        views, buffers = objects(self.document.get("bufferViews")), objects(self.document.get("buffers"))
        said = views[index] if 0 <= index < len(views) else {}
        which, start, length = said.get("buffer"), said.get("byteOffset"), said.get("byteLength")
        if not (is_count(which) and is_count(start) and is_count(length)) or which >= len(buffers):
            self.bad("SUBTREE_STRUCTURE", f"Buffer view {index} is {str(said)[:80]}.")
            return None
        uri = buffers[which].get("uri")
        try:
            data = self.fetch(uri) if isinstance(uri, str) else self.binary
        except Unread as error:
            self.bad(error.code, f"Buffer {which}: {error}")
            return None
        declared = buffers[which].get("byteLength")
        if not is_count(declared) or declared > len(data) or start + length > len(data):
            self.bad("SUBTREE_STRUCTURE", f"Buffer view {index} ends at {start + length} of {len(data)} bytes.")
            return None
        return data[start : start + length]


def read_subtree(  # noqa: PLR0917
    findings: Findings, where: str, data: bytes, shape: Shape, schema: dict[str, Any], fetch: Callable[[str], bytes]
) -> Subtree | None:
    """None where its availability cannot be read."""
    findings.read("subtree", where)
    try:
        parts = _open(findings, where, data, fetch)
        tiles = _availability(parts, parts.document.get("tileAvailability"), shape.n_tiles, "tile")
        listed = parts.document.get("contentAvailability", [])
        if not isinstance(listed, list) or (shape.n_contents and len(listed) != shape.n_contents):
            parts.bad("SUBTREE_STRUCTURE", f"contentAvailability is {str(listed)[:60]}, contents: {shape.n_contents}.")
            listed = listed if isinstance(listed, list) else []
        contents = [_availability(parts, each, shape.n_tiles, "content") for each in listed[: shape.n_contents]]
        n_children = shape.fan**shape.levels
        children = _availability(parts, parts.document.get("childSubtreeAvailability"), n_children, "child subtree")
    except _Stop:
        return None
    _check_hierarchy(parts, shape, tiles, contents, children)
    tile_values, content_values = _metadata(parts, schema, tiles, contents)
    return Subtree(tiles, contents, children, tile_values, content_values)


def _open(findings: Findings, where: str, data: bytes, fetch: Callable[[str], bytes]) -> _Parts:
    if data[:1] == b"{":
        text, binary = data, b""
    else:
        if len(data) < 24 or data[:4] != b"subt":
            findings.add("SUBTREE_HEADER", where, f"It starts with {data[:4]!r} and has {len(data)} bytes.")
            raise _Stop
        version, n_json, n_binary = struct.unpack_from("<IQQ", data, 4)
        if version != 1 or 24 + n_json + n_binary != len(data):
            words = f"Version {version}, 24 + {n_json:,} + {n_binary:,} in a file of {len(data):,} bytes."
            findings.add("SUBTREE_HEADER", where, words)
        if n_json % 8 or n_binary % 8:
            findings.add("SUBTREE_PADDING", where, f"JSON has {n_json} bytes, binary {n_binary}.")
        if 24 + n_json > len(data):
            raise _Stop
        text, binary = data[24 : 24 + n_json], data[24 + n_json :]
        if text.endswith(b"\0"):
            findings.add("SUBTREE_PADDING", where, "JSON is padded with zeros, not blanks.")
            text = text.rstrip(b"\0")
    try:
        return _Parts(findings, where, parse(text), binary, fetch)
    except BadJson as error:
        findings.add("JSON_INVALID", where, f"{error}.")
        raise _Stop from error


def _availability(parts: _Parts, said: Any, n: int, what: str) -> Bits:
    """(n,) booleans."""
    if not isinstance(said, dict) or ("constant" in said) == ("bitstream" in said):
        parts.bad("SUBTREE_STRUCTURE", f"{what} availability is {str(said)[:80]}.")
        raise _Stop
    if "constant" in said:
        if said["constant"] not in (0, 1):
            parts.bad("SUBTREE_STRUCTURE", f"{what} availability: constant is {said['constant']!r}.")
            raise _Stop
        made = np.full(n, bool(said["constant"]))
    else:
        data = parts.view(said["bitstream"]) if is_count(said["bitstream"]) else None
        if data is None or len(data) < -(-n // 8):
            parts.bad("SUBTREE_BITSTREAM", f"{what} availability: {len(data or b'')} bytes for {n} bits.")
            raise _Stop
        bits = np.unpackbits(np.frombuffer(data, "u1"), bitorder="little").astype(bool)
        if len(data) != -(-n // 8) or bits[n:].any():
            words = f"{len(data)} bytes for {n} bits, {int(bits[n:].sum())} set beyond."
            parts.bad("SUBTREE_BITSTREAM", f"{what} availability: {words}")
        made = bits[:n]
    count = said.get("availableCount")
    if count is not None and count != int(made.sum()):
        parts.bad("SUBTREE_COUNT", f"{what} availability: availableCount {count!r}, bits set: {int(made.sum())}.")
    return made


def _check_hierarchy(parts: _Parts, shape: Shape, tiles: Bits, contents: list[Bits], children: Bits) -> None:
    if not tiles[0]:
        parts.bad("SUBTREE_EMPTY", "The root tile of the subtree is not available.")
    below = np.arange(1, shape.n_tiles)
    orphans = below[tiles[1:] & ~tiles[(below - 1) // shape.fan]]
    if len(orphans):
        parts.bad("SUBTREE_PARENT", f"{len(orphans)} tiles without their parent, the first at bit {orphans[0]}.")
    last = tiles[shape.start(shape.levels - 1) :]
    lost = np.flatnonzero(children & ~np.repeat(last, shape.fan))
    if len(lost):
        parts.bad("SUBTREE_PARENT", f"{len(lost)} child subtrees without their parent, the first at bit {lost[0]}.")
    for i, each in enumerate(contents):
        strange = np.flatnonzero(each & ~tiles)
        if len(strange):
            parts.bad("SUBTREE_CONTENT", f"{len(strange)} contents {i} without tile, the first at bit {strange[0]}.")


Values = dict[str, NDArray[np.float64]]


def _metadata(parts: _Parts, schema: dict[str, Any], tiles: Bits, contents: list[Bits]) -> tuple[Values, list[Values]]:
    document = parts.document
    tables = document.get("propertyTables", [])
    tile_values = _values(parts, tables, document.get("tileMetadata"), schema, tiles)
    listed = document.get("contentMetadata", [])
    listed = listed if isinstance(listed, list) else [None]
    if len(listed) > len(contents):
        parts.bad("SUBTREE_METADATA", f"contentMetadata has {len(listed)} entries for {len(contents)} contents.")
    return tile_values, [
        _values(parts, tables, index, schema, bits) for index, bits in zip(listed, contents, strict=False)
    ]


def _values(parts: _Parts, tables: Any, index: Any, schema: dict[str, Any], bits: Bits) -> Values:
    """Semantic -> (tiles in the subtree, width), NaN where a tile or content is not available."""
    if index is None:
        return {}
    if not is_count(index) or not isinstance(tables, list) or index >= len(tables):
        parts.bad("SUBTREE_METADATA", f"There is no property table {index!r}.")
        return {}
    where = f"{parts.where}#/propertyTables/{index}"
    count = child(tables[index]).get("count")
    columns = check_table(parts.findings, where, tables[index], schema, parts.view, "SUBTREE_METADATA")
    if count != int(bits.sum()):
        parts.bad("SUBTREE_METADATA", f"Table {index} has {count!r} rows, available are {int(bits.sum())}.")
        return {}
    made: Values = {}
    for key, column in columns.items():
        semantic = column.prop.get("semantic")
        if str(semantic) not in SEMANTIC_WIDTHS:
            continue
        values = _semantic(parts, where, key, column, int(count))
        if values is not None:
            spread = np.full((len(bits), values.shape[1]), np.nan)
            spread[bits] = values
            made[str(semantic)] = spread
    return made


def _semantic(parts: _Parts, where: str, key: str, column: Column, count: int) -> NDArray[np.float64] | None:
    width = SEMANTIC_WIDTHS[str(column.prop["semantic"])]
    array = column.numbers
    if array is None or array.size != count * width or column.prop.get("componentType") not in ("FLOAT32", "FLOAT64"):
        parts.findings.add("SUBTREE_METADATA", where, f"{key} does not have {width} floats a row.")
        return None
    values = array.reshape(count, width).astype(np.float64)
    if not np.isfinite(values).all() or (width == 1 and "ERROR" in column.prop["semantic"] and (values < 0).any()):
        parts.findings.add("SUBTREE_METADATA", where, f"{key} has a value that is not finite, or below 0.")
        return None
    return values


def guess_shape(data: bytes) -> Shape:
    """The shape of a subtree that is looked at alone: the one whose bitstreams have these lengths."""
    n_json = int.from_bytes(data[8:16], "little")
    try:
        document = parse(data[24 : 24 + n_json].rstrip(b"\0") if data[:4] == b"subt" else data)
    except BadJson:
        return Shape(4, 1, 0)
    views = objects(document.get("bufferViews"))

    def size(said: Any) -> int | None:
        at = child(said).get("bitstream")
        return views[at].get("byteLength") if is_count(at) and at < len(views) else None

    listed = document.get("contentAvailability", [])
    n_contents = len(listed) if isinstance(listed, list) else 0
    tiles, below = size(document.get("tileAvailability")), size(document.get("childSubtreeAvailability"))
    for fan, most in ((4, 12), (8, 8)):
        for levels in range(1, most + 1):
            shape = Shape(fan, levels, n_contents)
            fits = tiles in (None, -(-shape.n_tiles // 8)) and below in (None, -(-(fan**levels) // 8))
            if fits and (tiles is not None or below is not None):
                return shape
    return Shape(4, 1, n_contents)
