"""Which terrain tiles there are: for each raster down to the level that shows all of it. Pure.

Quarters come in fours, and every tile has its parents.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from layers.crs import Bounds
from twin.terrain_survey import INTERVALS

METRES_PER_DEGREE = 111_320.0
MAX_ZOOM = 20

Range = tuple[int, int, int, int]
"""First and last column, first and last row from the south: x0, y0, x1, y1."""


def level_for(cell_m: float) -> int:
    """The first level whose lattice is at least as fine as a raster's cells, at most 20."""
    lines = 180 * METRES_PER_DEGREE / INTERVALS / cell_m
    return int(np.clip(np.ceil(np.log2(lines)), 0, MAX_ZOOM))


@dataclass(frozen=True)
class Available:
    """Tiles that exist, as ranges by level."""

    levels: list[list[Range]]

    @classmethod
    def of(cls, extents: Sequence[tuple[Bounds, float]]) -> "Available":
        """From bounds in degrees and cell size in metres of each raster; the two tiles of level 0 always exist."""
        boxes = np.array([bounds for bounds, _ in extents], np.float64).reshape(-1, 4)
        deepest = np.array([level_for(cell_m) for _, cell_m in extents], np.int64)
        below = [_quarters(boxes[deepest >= z], z) for z in range(1, int(deepest.max(initial=0)) + 1)]
        return cls([[(0, 0, 1, 0)], *below])

    @property
    def max_zoom(self) -> int:
        """The deepest level."""
        return len(self.levels) - 1

    def has(self, z: int, x: int, y: int) -> bool:
        """True if there is such a tile."""
        if not 0 <= z <= self.max_zoom:
            return False
        return any(x0 <= x <= x1 and y0 <= y <= y1 for x0, y0, x1, y1 in self.levels[z])

    def has_children(self, z: int, x: int, y: int) -> bool:
        """True if the tile has its four quarters."""
        return self.has(z + 1, 2 * x, 2 * y)

    def below(self, z: int, x: int, y: int) -> list[list[dict[str, int]]]:
        """`available` of the levels below a tile, as far as they are within it."""
        found = []
        for deeper in range(z + 1, self.max_zoom + 1):
            shift = deeper - z
            x0, y0, x1, y1 = x << shift, y << shift, ((x + 1) << shift) - 1, ((y + 1) << shift) - 1
            clipped = [
                (max(x0, each[0]), max(y0, each[1]), min(x1, each[2]), min(y1, each[3])) for each in self.levels[deeper]
            ]
            inside = [each for each in clipped if each[0] <= each[2] and each[1] <= each[3]]
            if not inside:
                break
            found.append([as_json(each) for each in inside])
        return found

    def json(self) -> list[list[dict[str, int]]]:
        """`available` of layer.json."""
        return [[as_json(each) for each in ranges] for ranges in self.levels]


def as_json(tiles: Range) -> dict[str, int]:
    """A range in layer.json's words."""
    return {"startX": tiles[0], "startY": tiles[1], "endX": tiles[2], "endY": tiles[3]}


def _quarters(boxes: NDArray[np.float64], z: int) -> list[Range]:
    """Quarters of the tiles one level up that touch a box; ranges within another are left out."""
    side, columns, rows = 180 / 2 ** (z - 1), 2**z, 2 ** (z - 1)
    above = np.column_stack(
        [
            np.clip((boxes[:, 0] + 180) // side, 0, columns - 1),
            np.clip((boxes[:, 1] + 90) // side, 0, rows - 1),
            np.clip((boxes[:, 2] + 180) // side, 0, columns - 1),
            np.clip((boxes[:, 3] + 90) // side, 0, rows - 1),
        ]
    ).astype(np.int64)
    kept = np.unique(above, axis=0)
    low, high = kept[:, None, :2], kept[:, None, 2:]
    within = (low >= kept[None, :, :2]).all(axis=2) & (high <= kept[None, :, 2:]).all(axis=2)
    np.fill_diagonal(within, False)
    return [(2 * x0, 2 * y0, 2 * x1 + 1, 2 * y1 + 1) for x0, y0, x1, y1 in kept[~within.any(axis=1)].tolist()]
