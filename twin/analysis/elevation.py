"""A raster layer as one grid of heights in the city's CRS, read by windows: what terrain analyses compute on.

One raster (or sheets of one grid) in the city's CRS gives its own cells, untouched. Anything else, several rasters or
another CRS, is sampled bilinearly at the centres of a grid that the answer names. Heights are the city's normal heights
in metres; a cell without a value is NaN and is never filled.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from layers import crs
from layers.crs import Bounds
from layers.errors import InvalidInput, NotFound
from twin.terrain import Terrain, from_assets

if TYPE_CHECKING:
    from twin.city import City

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Cells = Callable[[IntArray, IntArray], FloatArray]
"""(n,) rows, (n,) columns -> (n,) heights, NaN where there is none."""

MOST_CELLS = 100_000_000
"""Of one analysis."""
_ALIGNED = 1e-6
_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class Grid:
    """Cells of a raster, pixel is area: `west`, `north` is the outer corner of row 0, column 0. In metres."""

    crs: str
    west: float
    north: float
    dx: float
    dy: float
    width: int
    height: int

    @property
    def bounds(self) -> Bounds:
        """West, south, east, north of the outer edges."""
        return self.west, self.north - self.dy * self.height, self.west + self.dx * self.width, self.north

    @property
    def cell_area_m2(self) -> float:
        """Plane area of a cell."""
        return self.dx * self.dy

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns."""
        return self.height, self.width

    def x(self, columns: NDArray[np.integer[Any]] | FloatArray) -> FloatArray:
        """East of the centres of columns."""
        return self.west + (np.asarray(columns, np.float64) + 0.5) * self.dx

    def y(self, rows: NDArray[np.integer[Any]] | FloatArray) -> FloatArray:
        """North of the centres of rows."""
        return self.north - (np.asarray(rows, np.float64) + 0.5) * self.dy

    def cell(self, x: FloatArray, y: FloatArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(n,) east, north -> (n,) rows, (n,) columns of the cells they lie in; may be outside the grid."""
        column = np.floor((np.asarray(x, np.float64) - self.west) / self.dx).astype(np.int64)
        row = np.floor((self.north - np.asarray(y, np.float64)) / self.dy).astype(np.int64)
        return row, column

    def cells_beyond(self, area: shapely.Geometry) -> int:
        """How many cells of this size the part of an area would have that lies beyond the grid."""
        beyond_m2 = float(shapely.area(shapely.difference(area, shapely.box(*self.bounds))))
        return round(beyond_m2 / self.cell_area_m2)

    def cut(self, top: int, left: int, rows: int, columns: int) -> "Grid":
        """The grid of a window."""
        west, north = self.west + left * self.dx, self.north - top * self.dy
        return replace(self, west=west, north=north, width=columns, height=rows)

    def window(self, bounds: Bounds) -> tuple[int, int, int, int]:
        """Top, left, rows, columns of the cells that a box touches, cut to the grid; 0 rows or columns where none."""
        west, south, east, north = bounds
        left = max(int(np.floor((west - self.west) / self.dx + _ALIGNED)), 0)
        top = max(int(np.floor((self.north - north) / self.dy + _ALIGNED)), 0)
        right = min(int(np.ceil((east - self.west) / self.dx - _ALIGNED)), self.width)
        bottom = min(int(np.ceil((self.north - south) / self.dy - _ALIGNED)), self.height)
        return top, left, max(bottom - top, 0), max(right - left, 0)

    def transform(self) -> tuple[float, float, float, float, float, float]:
        """Coefficients for `affine.Affine`: column, row -> east, north."""
        return self.dx, 0.0, self.west, 0.0, -self.dy, self.north


class Elevation:
    """Heights on a grid. `is_native`: the raster's own cells; otherwise sampled between them."""

    def __init__(self, terrain: Terrain, grid: Grid, *, is_native: bool) -> None:
        self._terrain = terrain
        self.grid = grid
        self.is_native = is_native

    def read(self, top: int = 0, left: int = 0, rows: int | None = None, columns: int | None = None) -> FloatArray:
        """(rows, columns) heights of a window, which may reach beyond the grid; NaN where there is none."""
        rows = self.grid.height if rows is None else rows
        columns = self.grid.width if columns is None else columns
        out = np.full((rows, columns), np.nan)
        r0, c0 = max(top, 0), max(left, 0)
        r1, c1 = min(top + rows, self.grid.height), min(left + columns, self.grid.width)
        if r0 < r1 and c0 < c1:
            out[r0 - top : r1 - top, c0 - left : c1 - left] = self._inside(r0, c0, r1 - r0, c1 - c0)
        return out

    def cells(self, rows: IntArray, columns: IntArray) -> FloatArray:
        """(n,) rows, (n,) columns, in any order and also beyond the grid -> (n,) heights, NaN where there is none.

        Memory is bounded where neighbours in the list lie near each other, as along a line.
        """
        rows, columns = np.asarray(rows, np.int64), np.asarray(columns, np.int64)
        if rows.size == 0:
            return np.empty(0)
        top, left = max(int(rows.min()), 0), max(int(columns.min()), 0)
        height = min(int(rows.max()) + 1, self.grid.height) - top
        width = min(int(columns.max()) + 1, self.grid.width) - left
        if height <= 0 or width <= 0:
            return np.full(rows.size, np.nan)
        if height * width > _AT_ONCE and rows.size > 16:
            middle = rows.size // 2
            parts = self.cells(rows[:middle], columns[:middle]), self.cells(rows[middle:], columns[middle:])
            return np.concatenate(parts)
        return taken(self.read(top, left, height, width), rows - top, columns - left)

    def at(self, x: FloatArray, y: FloatArray) -> FloatArray:
        """(n,) east, north in the grid's CRS -> (n,) heights, bilinear between cell centres; NaN where there is none.

        A cell without a value matters only where it has weight. Within the outer half of an edge cell of the grid the
        edge's own height holds, so ask for a grid with a margin where the place is cut out of a raster.
        """
        column = (np.asarray(x, np.float64) - self.grid.west) / self.grid.dx - 0.5
        row = (self.grid.north - np.asarray(y, np.float64)) / self.grid.dy - 0.5
        return bilinear(self.cells, row, column, self.grid.shape)

    def on(self, grid: Grid) -> "Elevation":
        """The same heights at the centres of other cells: untouched where they are its own, else bilinear."""
        if self.is_native and grid == self.grid:
            return self
        return Elevation(self._terrain, grid, is_native=False)

    def _inside(self, top: int, left: int, rows: int, columns: int) -> FloatArray:
        if self.is_native:
            return self._terrain.own_window(self.grid.cut(top, left, rows, columns).bounds, rows, columns)
        out = np.empty((rows, columns))
        x = self.grid.x(np.arange(left, left + columns))
        for start in range(0, rows, 256):
            y = self.grid.y(np.arange(top + start, top + min(start + 256, rows)))
            e, n = np.meshgrid(x, y)
            out[start : start + len(y)] = self._terrain.height(e.ravel(), n.ravel()).reshape(e.shape)
        return out


class Surrounded:
    """A grid whose windows may reach a margin beyond it, where its raster goes on: for what looks around cells."""

    def __init__(self, wide: Elevation, grid: Grid) -> None:
        self._wide, self.grid = wide, grid
        self._top = round((wide.grid.north - grid.north) / grid.dy)
        self._left = round((grid.west - wide.grid.west) / grid.dx)

    def read(self, top: int, left: int, rows: int, columns: int) -> FloatArray:
        """(rows, columns) heights of a window; NaN where there is none."""
        return self._wide.read(top + self._top, left + self._left, rows, columns)


def surrounded(
    city: "City",
    name: str,
    given: dict[str, Any] | None,
    *,
    region: shapely.Geometry | None = None,
    cell_m: float | None = None,
    margin_cells: int = 1,
) -> Surrounded:
    """As `elevation`, and heights of cells around the grid as well."""
    grid = elevation(city, name, given, region=region, cell_m=cell_m).grid
    return Surrounded(elevation(city, name, given, region=region, cell_m=cell_m, margin_cells=margin_cells), grid)


def taken(heights_m: FloatArray, rows: IntArray, columns: IntArray) -> FloatArray:
    """(rows, columns) heights at (n,) rows, (n,) columns; NaN beyond."""
    height, width = heights_m.shape
    is_in = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    found = heights_m[np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)]
    return np.where(is_in, found, np.nan)


def bilinear(cells: Cells, row: FloatArray, column: FloatArray, shape: tuple[int, int]) -> FloatArray:
    """Heights at (n,) fractional rows and columns (whole numbers are centres); see `Elevation.at`."""
    with np.errstate(invalid="ignore"):
        is_in = (np.abs(row - (shape[0] - 1) / 2) <= shape[0] / 2) & (
            np.abs(column - (shape[1] - 1) / 2) <= shape[1] / 2
        )
    row = np.clip(np.where(is_in, row, 0.0), 0, shape[0] - 1)
    column = np.clip(np.where(is_in, column, 0.0), 0, shape[1] - 1)
    top, left = np.floor(row).astype(np.int64), np.floor(column).astype(np.int64)
    down, right = row - top, column - left
    found = np.zeros(row.shape)
    for i, weight_i in ((0, 1 - down), (1, down)):
        for j, weight_j in ((0, 1 - right), (1, right)):
            weight = weight_i * weight_j
            value = cells(np.minimum(top + i, shape[0] - 1), np.minimum(left + j, shape[1] - 1))
            found += np.where(weight > 0, weight * value, 0.0)
    return np.where(is_in, found, np.nan)


def elevation(
    city: "City",
    name: str,
    given: dict[str, Any] | None,
    *,
    region: shapely.Geometry | None = None,
    cell_m: float | None = None,
    margin_cells: int = 0,
) -> Elevation:
    """The heights that an input with `features_input.RASTER_SCHEMA` means, around a region.

    Parameters
    ----------
    name : of the input, for messages
    given : its value; the terrain of the city (`dem`) when None
    region : in the city's CRS; only cells its box touches are in the grid. All of the raster when None
    cell_m : side of the cells wanted; the raster's own when None
    margin_cells : so many cells more on each side, as far as the raster reaches

    Raises
    ------
    InvalidInput, NotFound
        Named after the input: no such raster, the region lies outside it, too many cells.
    """
    terrain = terrain_of(city, name, given)
    box = _box(city, name, terrain, region)
    own = terrain.own_grid()
    if own is not None and (cell_m is None or abs(cell_m - own.dx) < _ALIGNED):
        grid = Grid(city.crs, *own_cells(own))
        top, left, rows, columns = _widened(grid.window(box), margin_cells, grid.shape)
        return Elevation(terrain, _checked(name, grid.cut(top, left, rows, columns)), is_native=True)
    cell = cell_m or terrain.cell_m or 1.0
    west, north = np.floor(box[0] / cell) * cell, np.ceil(box[3] / cell) * cell
    width, height = int(np.ceil((box[2] - west) / cell - _ALIGNED)), int(np.ceil((north - box[1]) / cell - _ALIGNED))
    grid = Grid(city.crs, float(west), float(north), cell, cell, max(width, 1), max(height, 1))
    if margin_cells:
        m = margin_cells
        grid = grid.cut(-m, -m, grid.height + 2 * m, grid.width + 2 * m)
    return Elevation(terrain, _checked(name, grid), is_native=False)


def _widened(window: tuple[int, int, int, int], margin: int, shape: tuple[int, int]) -> tuple[int, int, int, int]:
    top, left, rows, columns = window
    first, start = max(top - margin, 0), max(left - margin, 0)
    return first, start, min(top + rows + margin, shape[0]) - first, min(left + columns + margin, shape[1]) - start


def own_cells(box: Any) -> tuple[float, float, float, float, int, int]:
    """West, north, dx, dy, width, height of a `mosaic.Frame`."""
    return box.west, box.north, box.dx, box.dy, box.width, box.height


def terrain_of(city: "City", name: str, given: dict[str, Any] | None) -> Terrain:
    """The ground that an input with `features_input.RASTER_SCHEMA` means, to be asked at points; NotFound names it."""
    layer = "dem" if given is None else str(given["collection"])
    if layer == "dem" and not (given or {}).get("asset"):
        terrain = city.terrain
    else:
        assets = [each for each in city.store.assets(city.scope, layer) if each.kind == "raster"]
        wanted = (given or {}).get("asset")
        if wanted is not None:
            assets = [each for each in assets if each.id == wanted]
        if not assets:
            known = sorted({each.layer for each in city.store.assets(city.scope) if each.kind == "raster"})
            words = f"{layer}/{wanted}" if wanted else layer
            raise NotFound(f"{name}: there is no raster {words[:80]!r}.", f"Rasters: {', '.join(known) or 'none'}.")
        terrain = from_assets(city.folder, assets, city.config)
    if terrain.is_empty:
        raise NotFound(f"{name}: the city has no terrain model.", "Add one: citytwin add TWIN dem.tif --layer dem")
    return terrain


def _box(city: "City", name: str, terrain: Terrain, region: shapely.Geometry | None) -> Bounds:
    bounds = terrain.lonlat_bounds
    assert bounds is not None
    west, south, east, north = crs.transform_bounds(crs.WGS84, city.crs, bounds)
    own = terrain.own_grid()
    if own is not None:
        west, south, east, north = Grid(city.crs, *own_cells(own)).bounds
    if region is None:
        return west, south, east, north
    x0, y0, x1, y1 = shapely.bounds(region).tolist()
    if not (x0 <= east and x1 >= west and y0 <= north and y1 >= south):
        where = f"{west:.0f}, {south:.0f} to {east:.0f}, {north:.0f} in {city.crs}"
        raise InvalidInput(f"{name}: the place lies outside the heights, which reach from {where}.")
    return max(x0, west), max(y0, south), min(x1, east), min(y1, north)


def _checked(name: str, grid: Grid) -> Grid:
    if grid.width * grid.height > MOST_CELLS:
        words = f"{name}: {grid.height} x {grid.width} cells are more than the {MOST_CELLS} that are computed at once."
        raise InvalidInput(words, "Ask for a smaller region or wider cells.")
    return grid
