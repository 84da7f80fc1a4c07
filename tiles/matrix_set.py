"""Tile matrix sets: the grids of vector and image tiles. x counts columns from the west, y rows from the north.

Spec: OGC 17-083r4 (Two Dimensional Tile Matrix Set 2.0). The sets for the whole Earth stand in `matrix_sets/*.json`,
each with its first tile matrix; every further one halves the cells. That of the city's own projected CRS is computed.

On the wire a point has the axis order of the CRS (EPSG:4490 and all CGCS2000 projections: north first); here a
`Bounds` is always west, south, east, north.
"""

import json
import math
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from layers import crs
from layers.crs import Bounds
from layers.errors import InvalidInput, NotFound

MAX_ZOOM = 24
TILE_SIZE = 256
PIXEL_M = 0.00028
"""The standard's rendering pixel, which makes a cell size a scale denominator (17-083r4, 6.1)."""
METRES_PER_DEGREE = math.pi * 6378137.0 / 180
HALF_SIDE = 2.0**24
"""Of a city set's square, in units of its CRS: level 17 has cells of one metre, near those of WebMercatorQuad."""
WORLD = ("WebMercatorQuad", "WorldCRS84Quad", "CGCS2000Quad")


@dataclass(frozen=True)
class MatrixSet:
    """One quad grid.

    Attributes
    ----------
    id, title : of the set
    crs : `EPSG:3857`, `OGC:CRS84`, …
    west, north : corner where counting starts, in units of the CRS
    cell : size of a cell of level 0 in units of the CRS; a tile has 256 of them on a side
    columns, rows : tiles of level 0
    head : members of the JSON document that are given as they are (`uri`, `wellKnownScaleSet`, …)
    max_zoom : deepest level
    """

    id: str
    title: str
    crs: str
    west: float
    north: float
    cell: float
    columns: int
    rows: int
    head: tuple[tuple[str, Any], ...] = ()
    max_zoom: int = MAX_ZOOM

    def size(self, z: int) -> tuple[int, int]:
        """Columns and rows of a level."""
        return self.columns << z, self.rows << z

    def cell_size(self, z: int) -> float:
        """Side of a cell (one of 256 x 256 pixels of a tile) in units of the CRS."""
        return self.cell / 2**z

    @property
    def metres_per_unit(self) -> float:
        """Metres in one unit of the CRS; a degree counts as one of the equator."""
        return METRES_PER_DEGREE if crs.is_geographic(self.crs) else crs.metres_per_unit(self.crs)

    def require(self, z: int, x: int, y: int) -> None:
        """NotFound for an address outside the grid, naming what is out of range."""
        if not 0 <= z <= self.max_zoom:
            raise NotFound(f"{self.id} has no level {str(z)[:20]}.", f"Levels are 0 to {self.max_zoom}.")
        columns, rows = self.size(z)
        for name, value, count in (("column", x, columns), ("row", y, rows)):
            if not 0 <= value < count:
                raise NotFound(
                    f"{self.id} has no {name} {str(value)[:20]} at level {z}.",
                    f"It has columns 0 to {columns - 1}, rows 0 to {rows - 1}.",
                )

    def bounds(self, z: int, x: int, y: int) -> Bounds:
        """West, south, east, north in the set's CRS. Shared edges of neighbours are equal to the bit."""
        side = self.cell_size(z) * TILE_SIZE
        return self.west + x * side, self.north - (y + 1) * side, self.west + (x + 1) * side, self.north - y * side

    def cover(self, z: int, box: Bounds) -> tuple[int, int, int, int]:
        """First column, first row, last column, last row of the tiles that a box in the set's CRS touches.

        Cut to the grid: a box outside gives the nearest tile.
        """
        side = self.cell_size(z) * TILE_SIZE
        west, south, east, north = box
        columns, rows = self.size(z)
        x0, y0 = math.floor((west - self.west) / side), math.floor((self.north - north) / side)
        x1, y1 = math.ceil((east - self.west) / side) - 1, math.ceil((self.north - south) / side) - 1
        x0, x1 = (min(max(value, 0), columns - 1) for value in (x0, max(x0, x1)))
        y0, y1 = (min(max(value, 0), rows - 1) for value in (y0, max(y0, y1)))
        return x0, y0, x1, y1

    def level_of(self, cell_size: float) -> int:
        """The first level whose cells are not larger than this, in units of the CRS; within the levels there are."""
        level = math.ceil(math.log2(self.cell / cell_size) - 1e-9) if cell_size > 0 else self.max_zoom
        return min(max(level, 0), self.max_zoom)

    def document(self) -> dict[str, Any]:
        """The definition as JSON (17-083r4, annex on JSON encoding): points in the axis order of the CRS."""
        north_first = crs.is_north_first(self.crs)
        origin = [self.north, self.west] if north_first else [self.west, self.north]
        low, high = self._corners(north_first=north_first)
        matrices = []
        for z in range(self.max_zoom + 1):
            columns, rows = self.size(z)
            cell = self.cell_size(z)
            matrices.append({
                "id": str(z), "scaleDenominator": cell * self.metres_per_unit / PIXEL_M, "cellSize": cell,
                "cornerOfOrigin": "topLeft", "pointOfOrigin": origin, "tileWidth": TILE_SIZE, "tileHeight": TILE_SIZE,
                "matrixWidth": columns, "matrixHeight": rows,
            })  # fmt: skip
        uri, head = crs.uri(self.crs), dict(self.head)
        box = {"lowerLeft": low, "upperRight": high, "crs": uri, "orderedAxes": head["orderedAxes"]}
        return {"id": self.id, "title": self.title, "crs": uri} | head | {"boundingBox": box, "tileMatrices": matrices}

    def _corners(self, *, north_first: bool) -> tuple[list[float], list[float]]:
        side = self.cell * TILE_SIZE
        low = [self.west, self.north - self.rows * side]
        high = [self.west + self.columns * side, self.north]
        return (low[::-1], high[::-1]) if north_first else (low, high)


def ids(city_crs: str) -> list[str]:
    """Names of the sets of a city, the most common one first."""
    own = _city_set(city_crs)
    return [*WORLD, *([own.id] if own and own.id not in WORLD else [])]


def get(set_id: str, city_crs: str) -> MatrixSet:
    """A set by its name. NotFound says which there are."""
    if set_id in WORLD:
        return _world(set_id)
    own = _city_set(city_crs)
    if own is not None and own.id == set_id:
        return own
    raise NotFound(f"There is no tile matrix set {set_id[:40]!r}.", f"Use {', '.join(ids(city_crs))}.")


@lru_cache(maxsize=len(WORLD))
def _world(set_id: str) -> MatrixSet:
    """A set from its document."""
    head = json.loads((files("tiles") / "matrix_sets" / f"{set_id}.json").read_text("utf-8"))
    first = head.pop("tileMatrices")[0]
    name = crs.name(head.pop("crs"))
    west, north = first["pointOfOrigin"][:: -1 if crs.is_north_first(name) else 1]
    size = first["matrixWidth"], first["matrixHeight"]
    title = head.pop("title")
    return MatrixSet(head.pop("id"), title, name, west, north, first["cellSize"], *size, tuple(head.items()))


@lru_cache(maxsize=64)
def _city_set(city_crs: str) -> MatrixSet | None:
    """The set of a projected CRS with an EPSG code; None for any other.

    A square of 2^25 units around northing 0 and easting 0, or n million where eastings begin with the zone n. It
    depends on the code alone, so all cities of a zone share it. Cells are powers of two of a metre and begin at
    multiples of themselves (with a zone number: from level 11 on).
    """
    try:
        name = crs.horizontal(city_crs)
        uri, is_geographic = crs.uri(name), crs.is_geographic(name)
    except InvalidInput:
        return None
    code = uri.rpartition("/")[2]
    if is_geographic or not code.isdigit():
        return None
    zones = crs.gauss_zones(name)
    centre = (zones[1] or 0) * 1e6 if zones else 0.0
    # by direction: the registry calls the northing of Gauss-Krüger X, which every client takes for the easting
    axes = ["N", "E"] if crs.is_north_first(name) else ["E", "N"]
    head = (
        ("description", f"Square of 2^25 units around E {centre:.0f}, N 0; cells halve from 131072 units."),
        ("orderedAxes", axes),
    )
    cell = 2 * HALF_SIDE / TILE_SIZE
    title = f"Quad of {crs.parse(name).name}"
    return MatrixSet(f"EPSG{code}Quad", title, name, centre - HALF_SIDE, HALF_SIDE, cell, 1, 1, head)
