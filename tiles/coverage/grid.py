"""Regular grids with north up: cut to a box, scaled, laid in another CRS. Pure numbers, no values.

A cell is an area (pixel is area). A box keeps each cell whose interior it meets, so that a box along the lines of the
grid takes no neighbours in (OGC API Coverages, 8).
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from layers import crs
from layers.crs import Bounds
from layers.errors import InvalidInput

SNAP_CELLS = 1e-6
"""A bound so near to a line of the grid lies on it."""
ALIGNED_CELLS = 1e-3
"""Grids whose cells lie within this part of a cell on each other are one grid."""
EDGE_POINTS = 65
HALF_WORLD_DEG, HALF_WORLD_M = 180.0, 2.0e7
"""What is wider than this in another CRS has its edges on both sides of the antimeridian."""


@dataclass(frozen=True)
class Grid:
    """`west` and `north` are the outer corner of the first cell; units of the CRS, east first whatever the CRS says."""

    crs: str
    west: float
    north: float
    dx: float
    dy: float
    width: int
    height: int

    @property
    def bounds(self) -> Bounds:
        """West, south, east, north."""
        return self.west, self.north - self.dy * self.height, self.west + self.dx * self.width, self.north

    @property
    def cells(self) -> int:
        """Number of cells."""
        return self.width * self.height

    def trimmed(self, box: Bounds) -> "Grid | None":
        """The cells whose interior meets a closed box; None for none. A box without width takes the cell it is in."""
        west, south, east, north = box
        columns = _span((west - self.west) / self.dx, (east - self.west) / self.dx, self.width)
        rows = _span((self.north - north) / self.dy, (self.north - south) / self.dy, self.height)
        if columns is None or rows is None:
            return None
        return self.part(rows[0], rows[1] - rows[0], columns[0], columns[1] - columns[0])

    def part(self, top: int, height: int, left: int = 0, width: int | None = None) -> "Grid":
        """A window of the grid."""
        width = self.width - left if width is None else width
        return replace(
            self, west=self.west + left * self.dx, north=self.north - top * self.dy, width=width, height=height
        )

    def sized(self, width: int, height: int, box: Bounds | None = None) -> "Grid":
        """As many cells over a box, or over the same box."""
        west, south, east, north = box or self.bounds
        return Grid(self.crs, west, north, (east - west) / width, (north - south) / height, width, height)

    def resolved(self, dx: float | None, dy: float | None) -> "Grid":
        """Cells of exactly that size from the first corner on; None leaves an axis as it is."""
        dx, dy = dx or self.dx, dy or self.dy
        width = max(1, math.ceil(self.width * self.dx / dx - SNAP_CELLS))
        height = max(1, math.ceil(self.height * self.dy / dy - SNAP_CELLS))
        return Grid(self.crs, self.west, self.north, dx, dy, width, height)

    def shift(self, other: "Grid") -> tuple[int, int] | None:
        """Columns and rows from this grid's first cell to the other's, where both are of one lattice; else None."""
        if self.crs != other.crs:
            return None
        same = abs(self.dx - other.dx) <= 1e-9 * self.dx and abs(self.dy - other.dy) <= 1e-9 * self.dy
        columns, rows = (other.west - self.west) / self.dx, (self.north - other.north) / self.dy
        if not same or max(abs(columns - round(columns)), abs(rows - round(rows))) > ALIGNED_CELLS:
            return None
        return round(columns), round(rows)

    def around(self, boxes: list[Bounds]) -> "Grid":
        """The lattice of this grid, as far as it must reach to hold boxes."""
        west, south = min(box[0] for box in boxes), min(box[1] for box in boxes)
        east, north = max(box[2] for box in boxes), max(box[3] for box in boxes)
        left = math.floor((west - self.west) / self.dx + ALIGNED_CELLS)
        right = math.ceil((east - self.west) / self.dx - ALIGNED_CELLS)
        top = math.floor((self.north - north) / self.dy + ALIGNED_CELLS)
        bottom = math.ceil((self.north - south) / self.dy - ALIGNED_CELLS)
        return self.part(top, max(bottom - top, 1), left, max(right - left, 1))

    def within(self, target: str) -> "Grid":
        """The grid in another CRS that GDAL suggests for it: about as many cells, square ones."""
        from rasterio.warp import calculate_default_transform

        if target == self.crs:
            return self
        west, _, east, _ = box_in(self.crs, target, self.bounds)
        if east - west > (HALF_WORLD_DEG if crs.is_geographic(target) else HALF_WORLD_M):
            raise InvalidInput(
                f"crs={target}: this coverage crosses the antimeridian, where that CRS is torn.",
                f"Ask for crs={self.crs}.",
            )
        transform, width, height = calculate_default_transform(
            crs.parse(self.crs).to_wkt(), crs.parse(target).to_wkt(), self.width, self.height, *self.bounds
        )
        return Grid(target, transform.c, transform.f, transform.a, -transform.e, int(width), int(height))

    def centres(self) -> tuple[np.ndarray, np.ndarray]:
        """(width,) x from west and (height,) y from north of the cells' centres."""
        x = self.west + (np.arange(self.width) + 0.5) * self.dx
        return x, self.north - (np.arange(self.height) + 0.5) * self.dy


def _span(low: float, high: float, size: int) -> tuple[int, int] | None:
    """First and one past the last cell between two positions, counted in cells from the first corner."""
    if high < -SNAP_CELLS or low > size + SNAP_CELLS:
        return None
    if high - low <= SNAP_CELLS:
        at = min(max(math.floor(low + SNAP_CELLS), 0), size - 1)
        return at, at + 1
    first, last = max(math.floor(low + SNAP_CELLS), 0), min(math.ceil(high - SNAP_CELLS), size)
    return (first, last) if last > first else None


def box_in(source: str, target: str, box: Bounds) -> Bounds:
    """Box around a box in another CRS, by 65 points on each edge; also of boxes without extent."""
    if source == target:
        return box
    west, south, east, north = box
    along, fixed = np.linspace(0, 1, EDGE_POINTS), np.ones(EDGE_POINTS)
    x = np.concatenate([west + (east - west) * along, west + (east - west) * along, west * fixed, east * fixed])
    y = np.concatenate([south * fixed, north * fixed, south + (north - south) * along, south + (north - south) * along])
    e, n = crs.transform(source, target, x, y)
    if not (np.isfinite(e).all() and np.isfinite(n).all()):
        raise InvalidInput(f"The box {box} does not fit into {target}.", "Ask for a smaller box.")
    return float(e.min()), float(n.min()), float(e.max()), float(n.max())


def cut(box: Bounds, limit: Bounds) -> Bounds | None:
    """What two boxes share; None for nothing."""
    west, south = max(box[0], limit[0]), max(box[1], limit[1])
    east, north = min(box[2], limit[2]), min(box[3], limit[3])
    return (west, south, east, north) if west <= east and south <= north else None
