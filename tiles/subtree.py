"""Availability and bounds of an implicit quadtree -> a binary subtree of 3D Tiles 1.1. Pure.

Spec: OGC 22-025r4, 7.3 (availability bitstreams in Morton order within a level, level after level) and the 3D Metadata
binary table format. Each available tile carries its real box (TILE_BOUNDING_BOX) and each content its own
(CONTENT_BOUNDING_BOX): features reach beyond their cell, and most cells are emptier than they are large.
"""

from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from tiles import quadtree
from tiles.quadtree import FloatArray, IntArray
from tiles.tree import Tree

LEVELS = 5
"""Levels in a subtree: at most 341 tiles, 33 kB of boxes."""

SCHEMA_CLASSES: dict[str, Any] = {
    "tile": {
        "properties": {
            "box": {
                "type": "SCALAR",
                "componentType": "FLOAT64",
                "array": True,
                "count": 12,
                "semantic": "TILE_BOUNDING_BOX",
            }
        }
    },
    "content": {
        "properties": {
            "box": {
                "type": "SCALAR",
                "componentType": "FLOAT64",
                "array": True,
                "count": 12,
                "semantic": "CONTENT_BOUNDING_BOX",
            }
        }
    },
}
"""Classes that the tileset's schema must have."""

PAD_M = 0.006
"""Added to every box: contents are rounded by up to 5 mm."""
GRID_M = 2.0**-10
"""Faces of boxes lie on multiples of this, so that centre and half axes are exact and a parent's box holds its
children's to the last bit."""


def box(bounds: FloatArray) -> FloatArray:
    """(…, 6) lowest and highest x, y, z -> (…, 12) centre and three half axes of a bounding box, padded."""
    low = np.floor((bounds[..., :3] - PAD_M) / GRID_M) * GRID_M
    high = np.ceil((bounds[..., 3:] + PAD_M) / GRID_M) * GRID_M
    made = np.zeros((*bounds.shape[:-1], 12))
    made[..., :3] = (low + high) / 2
    made[..., [3, 7, 11]] = (high - low) / 2
    return made


def encode(tree: Tree, level: int, x: int, y: int) -> bytes | None:
    """The subtree whose root is a tile; None where there is no such tile or none starts at that level."""
    tile_key = quadtree.key(level, x, y)
    if tile_key < 0 or level % LEVELS or tree.nodes.find(tile_key) is None:
        return None
    cell = int(quadtree.level_cell(np.array([tile_key]))[1][0])
    nodes = [within(tree.nodes.keys, level, cell, down) for down in range(LEVELS)]
    tiles = [within(tree.tiles.keys, level, cell, down) for down in range(LEVELS)]
    children = within(tree.nodes.keys, level, cell, LEVELS)
    body = _Body()
    document: dict[str, Any] = {
        "tileAvailability": body.bits(_places(tree.nodes.keys, nodes, cell), _n_tiles()),
        "contentAvailability": [body.bits(_places(tree.tiles.keys, tiles, cell), _n_tiles())],
        "childSubtreeAvailability": body.bits(
            quadtree.level_cell(tree.nodes.keys[children])[1] - (cell << 2 * LEVELS), 4**LEVELS
        ),
    }
    node_rows, tile_rows = np.concatenate(nodes), np.concatenate(tiles)
    tables = [body.table("tile", box(tree.nodes.bounds[node_rows]))]
    document["tileMetadata"] = 0
    if len(tile_rows):
        tables.append(body.table("content", box(tree.tiles.bounds[tile_rows])))
        document["contentMetadata"] = [1]
    document["propertyTables"] = tables
    document["bufferViews"] = body.views
    document["buffers"] = [{"byteLength": body.length}]
    return _framed(document, b"".join(body.parts))


def _n_tiles() -> int:
    return (4**LEVELS - 1) // 3


def within(keys: IntArray, level: int, cell: int, down: int) -> IntArray:
    """Places in `keys` of the tiles that lie `down` levels below a cell."""
    if level + down > quadtree.MAX_LEVEL:
        return np.zeros(0, np.int64)
    first = ((level + down) << 2 * quadtree.MAX_LEVEL) | (cell << 2 * down)
    start, stop = np.searchsorted(keys, [first, first + 4**down])
    return np.arange(start, stop)


def _places(keys: IntArray, rows: list[IntArray], cell: int) -> IntArray:
    """Bit of each tile in an availability bitstream."""
    parts = [
        (4**down - 1) // 3 + quadtree.level_cell(keys[own])[1] - (cell << 2 * down) for down, own in enumerate(rows)
    ]
    return np.concatenate(parts)


class _Body:
    """The binary chunk as it grows; every view starts at a multiple of 8."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.views: list[dict[str, int]] = []
        self.length = 0

    def _add(self, data: bytes) -> int:
        self.views.append({"buffer": 0, "byteOffset": self.length, "byteLength": len(data)})
        padded = data + b"\0" * (-len(data) % 8)
        self.parts.append(padded)
        self.length += len(padded)
        return len(self.views) - 1

    def bits(self, places: IntArray, n: int) -> dict[str, int]:
        """An availability object: constants where all are alike."""
        if len(places) in {0, n}:
            return {"constant": int(len(places) > 0)}
        flags: NDArray[np.uint8] = np.zeros(n, np.uint8)
        flags[places] = 1
        view = self._add(np.packbits(flags, bitorder="little").tobytes())
        return {"bitstream": view, "availableCount": len(places)}

    def table(self, name: str, boxes: FloatArray) -> dict[str, Any]:
        """A property table of boxes."""
        view = self._add(np.ascontiguousarray(boxes, "<f8").tobytes())
        return {"class": name, "count": len(boxes), "properties": {"box": {"values": view}}}


def _framed(document: dict[str, Any], body: bytes) -> bytes:
    text = orjson.dumps(document)
    text += b" " * (-len(text) % 8)
    head = b"subt" + (1).to_bytes(4, "little") + len(text).to_bytes(8, "little") + len(body).to_bytes(8, "little")
    return head + text + body
