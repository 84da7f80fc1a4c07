"""Implicit tiling: which tiles have contents, read from the subtree files (OGC 22-025r4, clause 7.4; and the older
extension 3DTILES_implicit_tiling).
"""

import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.tileset.json import Fault

MAX_SUBTREE_BYTES = 64 << 20
MAX_SUBTREES = 200_000
MAX_TILES_IN_SUBTREE = 1 << 24
_HEAD = struct.Struct("<4sIQQ")

Bits = NDArray[np.bool_]
Cell = tuple[int, int, int, int]
"""Level, x, y, z (0 in a quadtree)."""


@dataclass(frozen=True)
class Scheme:
    """How an implicit tile is divided: 2 or 3 dimensions, levels in a subtree, levels in all, template of addresses."""

    dimensions: int
    subtree_levels: int
    levels: int
    uri: str

    @classmethod
    def of(cls, implicit: dict[str, Any]) -> "Scheme":
        """From a checked `implicitTiling`. `maximumLevel` of the older extension counts from 0."""
        levels = implicit["availableLevels"] if "availableLevels" in implicit else implicit["maximumLevel"] + 1
        dimensions = 3 if implicit["subdivisionScheme"] == "OCTREE" else 2
        return cls(dimensions, implicit["subtreeLevels"], levels, implicit["subtrees"]["uri"])

    @property
    def n_tiles(self) -> int:
        """Of a full subtree."""
        branch = 1 << self.dimensions
        return (branch**self.subtree_levels - 1) // (branch - 1)

    @property
    def n_children(self) -> int:
        """Subtrees that may hang below one."""
        return int((1 << self.dimensions) ** self.subtree_levels)

    def address(self, template: str, cell: Cell) -> str:
        """A template with the numbers of a tile."""
        for name, value in zip(("level", "x", "y", "z"), cell, strict=True):
            template = template.replace(f"{{{name}}}", str(value))
        return template

    def below(self, root: Cell, depth: int, index: int) -> Cell:
        """The tile `depth` levels under `root` with a Morton index."""
        offsets = [0, 0, 0]
        for bit in range(depth):
            for axis in range(self.dimensions):
                offsets[axis] |= ((index >> (bit * self.dimensions + axis)) & 1) << bit
        level, *corner = root
        x, y, z = ((corner[axis] << depth) + offsets[axis] for axis in range(3))
        return (level + depth, x, y, z if self.dimensions == 3 else 0)


@dataclass(frozen=True)
class Subtree:
    """Availability in one subtree: `contents` has one array for each content of a tile."""

    tiles: Bits
    contents: list[Bits]
    children: Bits


def parse(data: bytes, scheme: Scheme, load: Callable[[str], bytes], n_contents: int) -> Subtree:
    """A subtree file, binary or JSON. `load` gives an external buffer. Raises Fault for what cannot be used."""
    if scheme.n_tiles > MAX_TILES_IN_SUBTREE:
        raise Fault("SUBTREE_INVALID", "", f"subtreeLevels {scheme.subtree_levels} is too many.")
    body, binary = _split(data)
    buffers = [_buffer(each, binary if i == 0 else b"", load) for i, each in enumerate(_list(body, "buffers"))]
    views = [_view(each, buffers) for each in _list(body, "bufferViews")]
    contents = body.get("contentAvailability", [])
    contents = contents if isinstance(contents, list) else [contents]
    return Subtree(
        _bits(body.get("tileAvailability"), views, scheme.n_tiles, "tileAvailability"),
        [_bits(each, views, scheme.n_tiles, "contentAvailability") for each in contents[:n_contents]],
        _bits(body.get("childSubtreeAvailability"), views, scheme.n_children, "childSubtreeAvailability"),
    )


def _split(data: bytes) -> tuple[dict[str, Any], bytes]:
    binary = b""
    if data[:4] == b"subt":
        if len(data) < _HEAD.size:
            raise Fault("SUBTREE_INVALID", "", "It ends inside its header.")
        _, version, n_json, n_binary = _HEAD.unpack_from(data)
        if version != 1:
            raise Fault("SUBTREE_INVALID", "", f"Its version is {version}, not 1.")
        if _HEAD.size + n_json + n_binary > len(data):
            sentence = f"Its header claims {_HEAD.size + n_json + n_binary} bytes, it has {len(data)}."
            raise Fault("SUBTREE_INVALID", "", sentence)
        binary = data[_HEAD.size + n_json : _HEAD.size + n_json + n_binary]
        data = data[_HEAD.size : _HEAD.size + n_json]
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Fault("SUBTREE_INVALID", "", f"Its JSON is broken: {error}.") from error
    if not isinstance(body, dict):
        raise Fault("SUBTREE_INVALID", "", "It is not a JSON object.")
    return body, binary


def _list(body: dict[str, Any], key: str) -> list[dict[str, Any]]:
    value = body.get(key, [])
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise Fault("SUBTREE_INVALID", f"/{key}", "It is not a list of objects.")
    return value


def _buffer(given: dict[str, Any], binary: bytes, load: Callable[[str], bytes]) -> bytes:
    uri = given.get("uri")
    return load(uri) if isinstance(uri, str) else binary


def _view(given: dict[str, Any], buffers: list[bytes]) -> bytes:
    number, start, length = given.get("buffer"), given.get("byteOffset", 0), given.get("byteLength")
    if isinstance(number, int) and isinstance(start, int) and isinstance(length, int):
        held = buffers[number] if 0 <= number < len(buffers) else b""
        if start >= 0 and length >= 0 and start + length <= len(held):
            return held[start : start + length]
    raise Fault("SUBTREE_INVALID", "/bufferViews", "A buffer view reaches beyond its buffer.")


def _bits(given: Any, views: list[bytes], n_bits: int, key: str) -> Bits:
    if not isinstance(given, dict):
        raise Fault("SUBTREE_INVALID", f"/{key}", "It is missing.")
    if given.get("constant") in (0, 1):
        return np.full(n_bits, bool(given["constant"])) if n_bits <= MAX_TILES_IN_SUBTREE else _too_many(key)
    number = given.get("bitstream", given.get("bufferView"))
    if not isinstance(number, int) or not 0 <= number < len(views) or len(views[number]) * 8 < n_bits:
        raise Fault("SUBTREE_INVALID", f"/{key}", f"It has neither a constant nor {n_bits} bits.")
    return np.unpackbits(np.frombuffer(views[number], np.uint8), count=n_bits, bitorder="little").astype(bool)


def _too_many(key: str) -> Bits:
    raise Fault("SUBTREE_INVALID", f"/{key}", "It stands for too many tiles.")


def content_cells(scheme: Scheme, subtree: Subtree, root: Cell, which: int) -> Iterator[Cell]:
    """Tiles of a subtree that have the content number `which`."""
    bits = subtree.contents[which] if which < len(subtree.contents) else np.zeros(0, bool)
    start = 0
    for depth in range(scheme.subtree_levels):
        n_level = (1 << scheme.dimensions) ** depth
        if root[0] + depth < scheme.levels:
            for index in np.flatnonzero(bits[start : start + n_level]).tolist():
                yield scheme.below(root, depth, index)
        start += n_level


def child_cells(scheme: Scheme, subtree: Subtree, root: Cell) -> Iterator[Cell]:
    """Roots of the subtrees below one."""
    if root[0] + scheme.subtree_levels < scheme.levels:
        for index in np.flatnonzero(subtree.children).tolist():
            yield scheme.below(root, scheme.subtree_levels, index)
