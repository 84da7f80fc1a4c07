"""The ground under the city: normal heights at points, from one or more elevation rasters.

Bilinear between cell centres (the height a grid states belongs to the centre of its cell: OGC 19-008r4, 7.1, pixel is
area); within the outer half of an edge cell, where nothing lies beyond, the edge's own height holds. Sheets of one grid
are read as one raster (`twin.mosaic`). Blocks of 256 cells are kept in a small cache, so memory does not grow with the
raster.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from layers import crs
from layers.errors import InvalidInput
from twin import mosaic
from twin.config import TwinConfig
from twin.fuse.datum import vertical_step
from twin.store.interface import Asset

FloatArray = NDArray[np.float64]

BLOCK = 256
BLOCKS_KEPT = 96
"""Of 257 x 257 float32: 25 MB for each raster that is in use."""


class Datum(Protocol):
    """How heights of a raster become the city's; two that are equal are the same way."""

    @property
    def is_identity(self) -> bool:
        """True if z stays as it is."""
        ...

    def normal_m(self, lon_deg: FloatArray, lat_deg: FloatArray, z_m: FloatArray) -> FloatArray:
        """(n,) heights of the raster -> (n,) normal heights of the city, metres."""
        ...


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
    return Terrain(rasters, config.crs)


class Terrain:
    """Normal heights of the ground. Thread-safe; files are opened when they are first asked.

    Parameters
    ----------
    rasters : the first that has a value at a point wins (so: newest first)
    city_crs : projected CRS in which points are given
    """

    def __init__(self, rasters: Sequence[TerrainRaster], city_crs: str) -> None:
        self.city_crs = crs.name(city_crs)
        self._grids = [_Grid(run) for run in _runs(rasters)]

    @property
    def is_empty(self) -> bool:
        """True if there is no raster at all."""
        return not self._grids

    def height(self, e: FloatArray, n: FloatArray) -> FloatArray:
        """(k,) east and north in the city's CRS -> (k,) normal heights in metres.

        NaN where there is none: outside every raster, or where one of the four cells around the point has no data. A
        point that is not finite has no height.
        """
        return self._height(self.city_crs, np.asarray(e, np.float64), np.asarray(n, np.float64))

    def nearest(self, e: FloatArray, n: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(k,) east and north in the city's CRS -> (k,) height of known ground nearby, (k,) how far it is, metres.

        For points off the ground. It is looked for at the nearest point of each raster's box, then around that on
        circles of 16 directions whose radii double from one cell to the raster's size, so the distance is at most some
        2.1 times the least one where holes are round. NaN where no raster has a value there.
        """
        e, n = np.asarray(e, np.float64), np.asarray(n, np.float64)
        best, far = np.full(e.shape, np.nan), np.full(e.shape, np.inf)
        for grid in self._grids:
            west, south, east, north = crs.transform_bounds(grid.crs, self.city_crs, grid.inner_bounds)
            x, y = np.clip(e, west, east), np.clip(n, south, north)
            for dx, dy in _circles(grid.cell_m, max(east - west, north - south)):
                distance = np.hypot(x + dx - e, y + dy - n)
                worth = np.flatnonzero(distance < far)
                found = self.height((x + dx)[worth], (y + dy)[worth])
                hit = worth[np.isfinite(found)]
                best[hit], far[hit] = found[np.isfinite(found)], distance[hit]
        return best, far

    def heights_lonlat(self, lon_deg: FloatArray, lat_deg: FloatArray) -> FloatArray:
        """Like `height`, for points in degrees (EPSG:4490, east first)."""
        return self._height(crs.WGS84, np.asarray(lon_deg, np.float64), np.asarray(lat_deg, np.float64))

    @cached_property
    def lonlat_bounds(self) -> crs.Bounds | None:
        """West, south, east, north in degrees around all rasters; None when there is none."""
        boxes = [crs.transform_bounds(grid.crs, crs.WGS84, grid.bounds) for grid in self._grids]
        if not boxes:
            return None
        west, south, east, north = zip(*boxes, strict=True)
        return min(west), min(south), max(east), max(north)

    @cached_property
    def cell_m(self) -> float | None:
        """Cell size of the finest raster in metres, for whoever chooses a level of detail; None without rasters."""
        return min((grid.cell_m for grid in self._grids), default=None)

    def close(self) -> None:
        """Close the files and forget the blocks."""
        for grid in self._grids:
            grid.close()

    def _height(self, source_crs: str, x: FloatArray, y: FloatArray) -> FloatArray:
        shape = np.broadcast(x, y).shape
        x, y = (np.broadcast_to(values, shape).ravel() for values in (x, y))
        heights = np.full(x.size, np.nan)
        for grid, to_edge in (*((grid, False) for grid in self._grids), *((grid, True) for grid in self._grids)):
            open_points = np.flatnonzero(np.isnan(heights) & np.isfinite(x) & np.isfinite(y))
            if open_points.size == 0:
                break
            x_there, y_there = crs.transform(source_crs, grid.crs, x[open_points], y[open_points])
            z = grid.height(x_there, y_there, to_edge=to_edge)
            known = np.flatnonzero(np.isfinite(z))
            if known.size and grid.datum is not None and not grid.datum.is_identity:
                lon, lat = crs.transform(grid.crs, crs.WGS84, x_there[known], y_there[known])
                z[known] = grid.datum.normal_m(lon, lat, z[known])
            heights[open_points] = z
        return heights.reshape(shape)


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
        with _open(raster.path) as dataset:
            found = mosaic.header(dataset)
        if run:
            last, header = run[0]
            same = (last.crs, last.offset_m, last.datum) == (raster.crs, raster.offset_m, raster.datum)
            if not same or not found.continues(header):
                yield run
                run = []
        run.append((raster, found))
    if run:
        yield run


def _open(path: Path | str) -> Any:
    import rasterio

    try:
        return rasterio.open(path)
    except rasterio.errors.RasterioIOError as error:
        name = path.name if isinstance(path, Path) else "mosaic"
        raise InvalidInput(f"The terrain raster {name} cannot be read.", "Build the twin again.") from error


class _Grid:
    """One raster, or several on one grid, read block by block."""

    def __init__(self, run: Sequence[tuple[TerrainRaster, mosaic.Header]]) -> None:
        raster = run[0][0]
        self.crs = crs.horizontal(raster.crs)
        self.datum = raster.datum
        self._raster = raster
        self._name = raster.path if len(run) == 1 else mosaic.vrt([(each.path, header) for each, header in run])
        self._lock = threading.Lock()
        self._blocks: OrderedDict[tuple[int, int], NDArray[np.float32]] = OrderedDict()
        self._opened: Any = None

    @property
    def _dataset(self) -> Any:
        """The open file; only touched under the lock or before threads share it."""
        if self._opened is None:
            self._opened = _open(self._name)
        return self._opened

    @property
    def bounds(self) -> crs.Bounds:
        with self._lock:
            west, south, east, north = self._dataset.bounds
        return float(west), float(south), float(east), float(north)

    @property
    def inner_bounds(self) -> crs.Bounds:
        """Box through the centres of the outermost cells, in the raster's CRS."""
        west, south, east, north = self.bounds
        with self._lock:
            dx, dy = (abs(float(value)) / 2 for value in self._dataset.res)
        return west + dx, south + dy, east - dx, north - dy

    @property
    def cell_m(self) -> float:
        with self._lock:
            size = float(min(abs(value) for value in self._dataset.res))
        return size * 111_320.0 if crs.is_geographic(self.crs) else size * crs.metres_per_unit(self.crs)

    def close(self) -> None:
        with self._lock:
            if self._opened is not None:
                self._opened.close()
            self._opened = None
            self._blocks.clear()

    def height(self, x: FloatArray, y: FloatArray, *, to_edge: bool) -> FloatArray:
        """(k,) coordinates in the raster's CRS -> (k,) heights, NaN where there is none.

        `to_edge`: also in the outer half of the edge cells.
        """
        with self._lock:
            inverse, width, rows = ~self._dataset.transform, self._dataset.width, self._dataset.height
        column = inverse.a * x + inverse.b * y + inverse.c - 0.5
        row = inverse.d * x + inverse.e * y + inverse.f - 0.5
        result = np.full(x.size, np.nan)
        if to_edge:
            column = np.where((column >= -0.5) & (column <= width - 0.5), np.clip(column, 0, width - 1), column)
            row = np.where((row >= -0.5) & (row <= rows - 0.5), np.clip(row, 0, rows - 1), row)
        # A point on the last centre has no neighbour beyond it and needs none: its weight is nil.
        inside = np.flatnonzero((column >= 0) & (row >= 0) & (column <= width - 1) & (row <= rows - 1))
        if inside.size == 0:
            return result
        column, row = column[inside], row[inside]
        left = np.clip(np.floor(column).astype(np.int64), 0, max(width - 2, 0))
        top = np.clip(np.floor(row).astype(np.int64), 0, max(rows - 2, 0))
        key = (top // BLOCK) * (width // BLOCK + 1) + left // BLOCK
        order = np.argsort(key, kind="stable")
        starts = np.flatnonzero(np.r_[True, np.diff(key[order]) != 0])
        for chosen in np.split(order, starts[1:]):
            block_row, block_column = int(top[chosen[0]] // BLOCK), int(left[chosen[0]] // BLOCK)
            values = self._block(block_row, block_column)
            i, j = top[chosen] - block_row * BLOCK, left[chosen] - block_column * BLOCK
            result[inside[chosen]] = _bilinear(values, i, j, row[chosen] - top[chosen], column[chosen] - left[chosen])
        return result + self._raster.offset_m

    def _block(self, block_row: int, block_column: int) -> NDArray[np.float32]:
        """(<= 257, <= 257) heights, NaN for nodata; one row and column more than the block, for neighbours."""
        from rasterio.windows import Window

        key = (block_row, block_column)
        with self._lock:
            if key in self._blocks:
                self._blocks.move_to_end(key)
                return self._blocks[key]
            dataset = self._dataset
            top, left = block_row * BLOCK, block_column * BLOCK
            size = min(BLOCK + 1, dataset.width - left), min(BLOCK + 1, dataset.height - top)
            masked = dataset.read(1, window=Window(left, top, *size), masked=True)
            values = masked.astype(np.float32).filled(np.nan) * dataset.scales[0] + dataset.offsets[0]
            block = np.ascontiguousarray(values, np.float32)
            block[~np.isfinite(block)] = np.nan
            self._blocks[key] = block
            if len(self._blocks) > BLOCKS_KEPT:
                self._blocks.popitem(last=False)
            return block


def _bilinear(
    values: NDArray[np.float32], i: NDArray[np.int64], j: NDArray[np.int64], fy: FloatArray, fx: FloatArray
) -> FloatArray:
    below, right = np.minimum(i + 1, values.shape[0] - 1), np.minimum(j + 1, values.shape[1] - 1)
    a, b = values[i, j].astype(np.float64), values[i, right].astype(np.float64)
    c, d = values[below, j].astype(np.float64), values[below, right].astype(np.float64)
    return np.asarray((a * (1 - fx) + b * fx) * (1 - fy) + (c * (1 - fx) + d * fx) * fy)
