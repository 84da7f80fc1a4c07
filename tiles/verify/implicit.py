"""Implicit tiling walked subtree by subtree: Morton order, cells, metadata, contents."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tiles.verify.findings import Findings
from tiles.verify.json_text import BadJson
from tiles.verify.source import Source, Unread
from tiles.verify.subtree_file import Shape, Subtree, Values, read_subtree
from tiles.verify.tileset_json import Implicit, Tile, check_inside
from tiles.verify.volumes import Volume

Place = tuple[int, int, int, int]
"""level, x, y, z."""
Above = tuple[Volume | None, float]
"""Volume and geometric error of a tile whose children come."""


@dataclass(frozen=True)
class Cell:
    """An available tile: where its contents are, its volume and those of its contents."""

    name: str
    contents: list[str]
    volume: Volume | None
    content_volumes: list[Volume | None]


def morton(place: int, bits: int, dimensions: int) -> tuple[int, int, int]:
    """x, y, z of the tile at a Morton index in a level with 2^bits tiles a side."""
    axes = [0, 0, 0]
    for bit in range(bits):
        for axis in range(dimensions):
            axes[axis] |= (place >> (bit * dimensions + axis) & 1) << bit
    return axes[0], axes[1], axes[2]


def filled(template: str, place: Place) -> str:
    """The address of a place."""
    for key, value in zip(("level", "x", "y", "z"), place, strict=True):
        template = template.replace(f"{{{key}}}", str(value))
    return template


def cell_volume(root: Volume, place: Place, *, is_octree: bool) -> Volume:
    """The part of the root's box or region that belongs to a place."""
    level, *xyz = place
    parts = 2.0**level
    if root.kind == "box":
        made = root.values.reshape(4, 3).copy()
        for axis in range(3 if is_octree else 2):
            half = root.values.reshape(4, 3)[1 + axis]
            made[0] += half * ((2 * xyz[axis] + 1) / parts - 1)
            made[1 + axis] = half / parts
        return Volume("box", made.ravel())
    west, south, east, north, low, high = root.values
    width, depth, rise = (east - west) / parts, (north - south) / parts, (high - low) / parts
    x, y, z = xyz
    heights = (low + z * rise, low + (z + 1) * rise) if is_octree else (low, high)
    return Volume("region", np.array([west + x * width, south + y * depth, west + (x + 1) * width,
                                      south + (y + 1) * depth, *heights]))  # fmt: skip


@dataclass
class ImplicitWalk:
    """All available tiles of one implicit root."""

    findings: Findings
    source: Source
    base: str
    tile: Tile
    implicit: Implicit
    schema: dict[str, Any]
    goes_on: Callable[[], bool]

    def cells(self) -> Iterator[Cell]:
        """Depth first; a subtree is in memory only while its tiles are walked."""
        waiting: list[tuple[Place, Above]] = [((0, 0, 0, 0), (None, self.tile.error))]
        while waiting and self.goes_on():
            place, above = waiting.pop()
            address = self.source.join(self.base, filled(self.implicit.subtrees, place))
            try:
                data = self.source.read(address)
            except Unread as error:
                self.findings.add(error.code, self.tile.where, f"Subtree {place}: {error}")
                continue

            def fetch(uri: str, at: str = address) -> bytes:
                return self.source.read(self.source.join(at, uri))

            try:
                subtree = read_subtree(self.findings, address, data, self.implicit.shape, self.schema, fetch)
            except BadJson as error:
                self.findings.add("JSON_INVALID", address, str(error))
                continue
            if subtree is not None:
                yield from self._of_subtree(address, place, subtree, above, waiting)

    def _of_subtree(
        self, address: str, root: Place, subtree: Subtree, above: Above, waiting: list[tuple[Place, Above]]
    ) -> Iterator[Cell]:
        shape = self.implicit.shape
        made: dict[int, Above] = {}
        for bit in np.flatnonzero(subtree.tiles).tolist():
            level = _level(shape, bit)
            place = self._place(root, level, bit - shape.start(level))
            parent = made.get((bit - 1) // shape.fan, (None, np.inf)) if bit else above
            name = f"{address}#{'/'.join(map(str, place[: 4 if self.implicit.is_octree else 3]))}"
            if place[0] >= self.implicit.available_levels:
                words = f"A tile of level {place[0]}, availableLevels is {self.implicit.available_levels}."
                self.findings.add("IMPLICIT_LEVELS", name, words)
                return
            made[bit] = self._tile(name, place, subtree.tile_values, bit, parent)
            volume = made[bit][0]
            contents, volumes = [], []
            for i, bits in enumerate(subtree.contents):
                if bits[bit]:
                    contents.append(self.source.join(self.base, filled(self.implicit.contents[i], place)))
                    volumes.append(self._content_volume(name, subtree, i, bit, volume))
            yield Cell(name, contents, volume, volumes)
        first = shape.start(shape.levels - 1)
        for child in np.flatnonzero(subtree.children)[::-1].tolist():
            place = self._place(root, shape.levels, child)
            if place[0] >= self.implicit.available_levels:
                words = f"A child subtree at level {place[0]}, availableLevels is {self.implicit.available_levels}."
                self.findings.add("IMPLICIT_LEVELS", address, words)
                return
            waiting.append((place, made.get(first + child // shape.fan, (None, np.inf))))

    def _place(self, root: Place, level: int, index: int) -> Place:
        x, y, z = morton(index, level, 3 if self.implicit.is_octree else 2)
        return root[0] + level, (root[1] << level) + x, (root[2] << level) + y, (root[3] << level) + z

    def _tile(self, name: str, place: Place, values: Values, bit: int, parent: Above) -> Above:
        """Volume and error of a tile, from metadata or by the rule of halves, checked against its parent's."""
        root = self.tile.volume
        own = _stated(values, "TILE", bit)
        volume = own.moved(self.tile.matrix) if own else None
        if volume is None and root is not None:
            volume = _with_heights(cell_volume(root, place, is_octree=self.implicit.is_octree), values, "TILE", bit)
        if volume and parent[0] and own:
            check_inside(self.findings, name, parent[0], volume, "TILE_OUTSIDE_PARENT")
        elif volume and place[0] == 0 and own and root:
            check_inside(self.findings, name, root, volume, "TILE_OUTSIDE_PARENT")
        error = self.tile.error / 2.0 ** place[0]
        if "TILE_GEOMETRIC_ERROR" in values and np.isfinite(values["TILE_GEOMETRIC_ERROR"][bit, 0]):
            error = float(values["TILE_GEOMETRIC_ERROR"][bit, 0])
            if error > parent[1]:
                words = f"geometricError {error:g} is above {parent[1]:g} of its parent."
                self.findings.add("TILE_ERROR_GROWS", name, words)
        return volume, error

    def _content_volume(self, name: str, subtree: Subtree, i: int, bit: int, volume: Volume | None) -> Volume | None:
        values = subtree.content_values[i] if i < len(subtree.content_values) else {}
        own = _stated(values, "CONTENT", bit)
        if own is None:
            return None
        made = own.moved(self.tile.matrix)
        if volume:
            check_inside(self.findings, name, volume, made, "TILE_CONTENT_VOLUME")
        return made


def _level(shape: Shape, bit: int) -> int:
    level = 0
    while shape.start(level + 1) <= bit:
        level += 1
    return level


def _stated(values: Values, what: str, bit: int) -> Volume | None:
    for kind in ("BOX", "REGION", "SPHERE"):
        rows = values.get(f"{what}_BOUNDING_{kind}")
        if rows is not None and np.isfinite(rows[bit]).all():
            return Volume(kind.lower(), rows[bit])
    return None


def _with_heights(volume: Volume, values: Values, what: str, bit: int) -> Volume:
    if volume.kind != "region":
        return volume
    made = volume.values.copy()
    for at, end in ((4, "MINIMUM"), (5, "MAXIMUM")):
        rows = values.get(f"{what}_{end}_HEIGHT")
        if rows is not None and np.isfinite(rows[bit, 0]):
            made[at] = rows[bit, 0]
    return Volume("region", made)
