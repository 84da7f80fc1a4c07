"""The ground under the city: normal heights at points, from one or more elevation rasters.

Bilinear between cell centres (the height a grid states belongs to the centre of its cell: OGC 19-008r4, 7.1, pixel is
area); within the outer half of an edge cell, where nothing lies beyond, the edge's own height holds. Sheets of one grid
are read as one raster (`twin.mosaic`), block by block (`twin.raster_blocks`), so memory does not grow with the raster.

Where several rasters overlap, the first that has the four cells around the point wins, then the first that has its
edge there. Where none has a value, `height` is NaN, and `filled` takes the first raster's filled hole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from layers import crs
from twin import mosaic
from twin.config import TwinConfig
from twin.fuse.datum import vertical_step
from twin.height_grid import EDGE, FILLED, NONE, SURVEYED, Datum, HeightGrid
from twin.raster_blocks import BLOCK, header
from twin.store.interface import Asset
from twin.terrain_survey import Survey, lattice_unit, survey

__all__ = ["BLOCK", "Datum", "Terrain", "TerrainFacts", "TerrainRaster", "from_assets"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Sampler = Callable[["_Sheet", IntArray], tuple[FloatArray, NDArray[np.uint8]]]

FEW_BLOCKS = 16
"""A terrain of no more blocks is read as it is, at every level."""


@dataclass(frozen=True)
class TerrainRaster:
    """One elevation raster: band 1 in metres, which `datum` takes to the city's normal heights; `offset_m` is added."""

    path: Path
    crs: str
    offset_m: float = 0.0
    datum: Datum | None = None


def from_assets(folder: Path, assets: Sequence[Asset], config: TwinConfig) -> Terrain:
    """The ground of a twin from its elevation rasters, uppermost first; each height datum is brought to the city's."""
    model = config.frame(folder).height_model
    rasters = []
    for asset in assets:
        datum = None
        if asset.height_offset_m is None:
            datum = vertical_step(asset.crs, asset.vertical_crs, config.vertical_crs, model)
        rasters.append(TerrainRaster(folder / asset.path, asset.crs, asset.height_offset_m or 0.0, datum))
    return Terrain(rasters, config.crs, folder / "cache" / "terrain")


@dataclass(frozen=True)
class TerrainFacts:
    """What the rasters hold, counted over every cell.

    Attributes
    ----------
    low_m, high_m : normal heights between which all lie (bounds, not always met, where a height datum is changed)
    rasters : number of rasters; sheets of one grid are one
    cells : of all rasters
    void_cells : of these, without a value
    filled_cells : of these, where no other raster has a value either: filled from around. Exact for one raster; for
        several, from a sample of the void cells
    filled_m2 : their area
    """

    low_m: float
    high_m: float
    rasters: int
    cells: int
    void_cells: int
    filled_cells: int
    filled_m2: float


class _Sheet:
    """A grid of heights with the way to the city's."""

    def __init__(self, run: Sequence[tuple[TerrainRaster, mosaic.Header]]) -> None:
        raster = run[0][0]
        self.grid = HeightGrid([(each.path, header) for each, header in run], raster.crs)
        self.offset_m = raster.offset_m
        self.datum = None if raster.datum is None or raster.datum.is_identity else raster.datum

    def normal_m(self, lon: FloatArray, lat: FloatArray, z: FloatArray) -> FloatArray:
        """Heights of the raster -> normal heights of the city."""
        z = z + self.offset_m
        return z if self.datum is None else self.datum.normal_m(lon, lat, z)


class Terrain:
    """Normal heights of the ground. Thread-safe; files are opened when they are first asked.

    Parameters
    ----------
    rasters : the first that has a value at a point wins (so: newest first)
    city_crs : projected CRS in which points are given
    cache : folder that keeps what a whole reading of a raster told; nothing is kept without it
    """

    def __init__(self, rasters: Sequence[TerrainRaster], city_crs: str, cache: Path | None = None) -> None:
        self.city_crs = crs.name(city_crs)
        self._cache = cache
        self._sheets = [_Sheet(run) for run in _runs(rasters)]

    @property
    def is_empty(self) -> bool:
        """True if there is no raster at all."""
        return not self._sheets

    def height(self, e: FloatArray, n: FloatArray) -> FloatArray:
        """(k,) east and north in the city's CRS -> (k,) normal heights in metres.

        NaN where there is none: outside every raster, or where one of the four cells around the point has no data. A
        point that is not finite has no height.
        """
        return self._at(self.city_crs, e, n, EDGE)

    def nearest(self, e: FloatArray, n: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(k,) east and north in the city's CRS -> (k,) height of known ground nearby, (k,) how far it is, metres.

        For points off the ground. It is looked for at the nearest point of each raster's box, then around that on
        circles of 16 directions whose radii double from one cell to the raster's size, so the distance is at most some
        2.1 times the least one where holes are round. NaN where no raster has a value there.
        """
        e, n = np.asarray(e, np.float64), np.asarray(n, np.float64)
        best, far = np.full(e.shape, np.nan), np.full(e.shape, np.inf)
        for grid in (sheet.grid for sheet in self._sheets):
            west, south, east, north = crs.transform_bounds(grid.crs, self.city_crs, grid.inner_bounds)
            x, y = np.clip(e, west, east), np.clip(n, south, north)
            for dx, dy in _circles(grid.cell_m, max(east - west, north - south)):
                distance = np.hypot(x + dx - e, y + dy - n)
                worth = np.flatnonzero(distance < far)
                found = self.height((x + dx)[worth], (y + dy)[worth])
                hit = worth[np.isfinite(found)]
                best[hit], far[hit] = found[np.isfinite(found)], distance[hit]
        return best, far

    def heights_lonlat(self, lon_deg: FloatArray, lat_deg: FloatArray, cell_m: float | None = None) -> FloatArray:
        """Like `height`, for points in degrees (EPSG:4490, east first).

        `cell_m`: read the overviews whose cells are no wider than that; the rasters themselves when absent.
        """
        return self._at(crs.WGS84, lon_deg, lat_deg, EDGE, cell_m)

    def filled_lonlat(self, lon_deg: FloatArray, lat_deg: FloatArray, cell_m: float | None = None) -> FloatArray:
        """Like `heights_lonlat`, with holes filled; NaN only outside every raster's box."""
        return self._at(crs.WGS84, lon_deg, lat_deg, FILLED, cell_m)

    def lattice(self, level: int, columns: IntArray, rows: IntArray) -> FloatArray:
        """Filled heights at (n,) columns and (m,) rows of the tiles' lattice -> (m, n), NaN outside every raster's box.

        Column j lies at j `lattice_unit(level)` degrees from -180, row i so far from -90. The same place has the same
        height, bit by bit, at every level. Reads at most four blocks of a raster for 67 x 67 neighbouring points.
        """
        unit = lattice_unit(level)
        lons, lats = columns * unit - 180, rows * unit - 90
        lon, lat = (values.ravel() for values in np.meshgrid(lons, lats))

        def sample(sheet: _Sheet, at: IntArray) -> tuple[FloatArray, NDArray[np.uint8]]:
            known = self._survey(sheet)
            if level <= known.level:
                values, kinds = known.at(level, columns, rows)
                return values.ravel()[at], kinds.ravel()[at]
            return sheet.grid.sample(*crs.transform(crs.WGS84, sheet.grid.crs, lon[at], lat[at]))

        return self._merged(lon, lat, FILLED, sample).reshape(len(rows), len(columns))

    @cached_property
    def extents(self) -> list[tuple[crs.Bounds, float]]:
        """West, south, east, north in degrees, and cell size in metres on the ground, of every raster."""
        grids = [sheet.grid for sheet in self._sheets]
        return [(grid.lonlat_bounds, 111_320.0 / grid.cells_per_degree) for grid in grids]

    @cached_property
    def lonlat_bounds(self) -> crs.Bounds | None:
        """West, south, east, north in degrees around all rasters; None when there is none."""
        if self.is_empty:
            return None
        west, south, east, north = zip(*(bounds for bounds, _ in self.extents), strict=True)
        return min(west), min(south), max(east), max(north)

    @cached_property
    def cell_m(self) -> float | None:
        """Cell size of the finest raster in metres, for whoever chooses a level of detail; None without rasters."""
        return min((sheet.grid.cell_m for sheet in self._sheets), default=None)

    def own_grid(self) -> mosaic.Frame | None:
        """The cells of the rasters, where they are one grid in the city's CRS and datum; None otherwise."""
        if len(self._sheets) != 1 or self._sheets[0].datum is not None:
            return None
        sheet = self._sheets[0]
        return sheet.grid.box if sheet.grid.crs == self.city_crs else None

    def own_window(self, bounds: crs.Bounds, rows: int, columns: int) -> FloatArray:
        """(rows, columns) normal heights of the cells of `own_grid` that fill a box; NaN where there is none."""
        sheet = self._sheets[0]
        box = sheet.grid.box
        top, left = round((box.north - bounds[3]) / box.dy), round((bounds[0] - box.west) / box.dx)
        values: FloatArray = sheet.grid.levels[0].window(top, left, rows, columns).astype(np.float64)
        return values + sheet.offset_m

    @cached_property
    def facts(self) -> TerrainFacts:
        """Range and holes. Reads every block of every raster, unless that is known already."""
        low, high, filled, area = np.inf, -np.inf, 0.0, 0.0
        for sheet in self._sheets:
            known, box = self._survey(sheet), sheet.grid.box
            for z in (known.low_m, known.high_m) if known.low_m <= known.high_m else ():
                normal = sheet.normal_m(*_spread(sheet.grid.lonlat_bounds), np.full(81, z))
                margin = 0.0 if sheet.datum is None else 2.0  # between the 81 places
                low, high = min(low, normal.min() - margin), max(high, normal.max() + margin)
            share = 1.0
            if len(self._sheets) > 1 and len(known.voids):
                share = float(np.isnan(self._at(sheet.grid.crs, known.voids[:, 0], known.voids[:, 1], EDGE)).mean())
            filled += share * known.n_void
            per_unit = 111_320.0 if crs.is_geographic(sheet.grid.crs) else crs.metres_per_unit(sheet.grid.crs)
            south, north = sheet.grid.lonlat_bounds[1::2]
            narrow = np.cos(np.radians((south + north) / 2)) if crs.is_geographic(sheet.grid.crs) else 1.0
            area += share * known.n_void * box.dx * box.dy * per_unit**2 * narrow
        sizes = [sheet.grid.box.width * sheet.grid.box.height for sheet in self._sheets]
        voids = sum(self._survey(sheet).n_void for sheet in self._sheets)
        low, high = (low, high) if low <= high else (0.0, 0.0)
        return TerrainFacts(float(low), float(high), len(sizes), sum(sizes), voids, round(filled), float(area))

    def close(self) -> None:
        """Close the files and forget the blocks."""
        for sheet in self._sheets:
            sheet.grid.close()

    def _survey(self, sheet: _Sheet) -> Survey:
        found = self._surveys.get(id(sheet))
        if found is None:
            many = sum(each.grid.n_blocks for each in self._sheets) > FEW_BLOCKS
            found = self._surveys[id(sheet)] = survey(sheet.grid, self._cache, with_lattice=many)
        return found

    @cached_property
    def _surveys(self) -> dict[int, Survey]:
        return {}

    def _at(self, source_crs: str, x: FloatArray, y: FloatArray, worst: int, cell_m: float | None = None) -> FloatArray:
        x, y = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
        shape, x, y = x.shape, x.ravel(), y.ravel()
        needs_degrees = any(sheet.datum is not None for sheet in self._sheets)
        lon, lat = crs.transform(source_crs, crs.WGS84, x, y) if needs_degrees else (x, y)

        def sample(sheet: _Sheet, at: IntArray) -> tuple[FloatArray, NDArray[np.uint8]]:
            return sheet.grid.sample(*crs.transform(source_crs, sheet.grid.crs, x[at], y[at]), cell_m)

        points = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
        out = np.full(x.size, np.nan)
        out[points] = self._merged(lon[points], lat[points], worst, lambda sheet, at: sample(sheet, points[at]))
        return out.reshape(shape)

    def _merged(self, lon: FloatArray, lat: FloatArray, worst: int, sample: Sampler) -> FloatArray:
        """(k,) normal heights of the best kind up to `worst`; of one kind, the first sheet's."""
        out, best = np.full(lon.size, np.nan), np.full(lon.size, min(worst + 1, NONE), np.uint8)
        for sheet in self._sheets:
            todo = np.flatnonzero(best > SURVEYED)
            if todo.size == 0:
                break
            values, kinds = sample(sheet, todo)
            better = np.flatnonzero(kinds < best[todo])
            if better.size:
                at = todo[better]
                out[at] = sheet.normal_m(lon[at], lat[at], values[better])
                best[at] = kinds[better]
        return out


def _spread(bounds: crs.Bounds) -> tuple[FloatArray, FloatArray]:
    """(81,) longitudes and latitudes over a box."""
    lon, lat = np.meshgrid(np.linspace(bounds[0], bounds[2], 9), np.linspace(bounds[1], bounds[3], 9))
    return lon.ravel(), lat.ravel()


def _circles(least_m: float, most_m: float) -> Iterator[tuple[float, float]]:
    """The centre, then 16 directions on circles whose radii double."""
    yield 0.0, 0.0
    radius = least_m
    while radius <= 2 * most_m:
        for k in range(16):
            yield radius * math.cos(k * math.pi / 8), radius * math.sin(k * math.pi / 8)
        radius *= 2


def _runs(rasters: Sequence[TerrainRaster]) -> Iterator[list[tuple[TerrainRaster, mosaic.Header]]]:
    """Rasters in their order; neighbours in it that lie on one grid, with the same datum, are together."""
    run: list[tuple[TerrainRaster, mosaic.Header]] = []
    for raster in rasters:
        found = header(raster.path)
        if run:
            last, first = run[0]
            same = (last.crs, last.offset_m, last.datum) == (raster.crs, raster.offset_m, raster.datum)
            if not same or not found.continues(first):
                yield run
                run = []
        run.append((raster, found))
    if run:
        yield run
