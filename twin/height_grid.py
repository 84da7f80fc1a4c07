"""One elevation raster, or sheets on one grid: heights at points, at any resolution, holes filled.

Level 0 is the raster itself, each further level has cells four times as wide (overviews) until one block holds it all.

A cell without a value (a hole) is filled from the first coarser level that has one around it, in the last level by a
pyramid of means (pull and push). Cells with a value stay as they are, so a filled height meets the surveyed ones at
the rim. All of it depends on the place alone, never on what else is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from layers import crs
from twin import mosaic
from twin.raster_blocks import BLOCK, Level

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

SHRINK = 4

NONE, FILLED, EDGE, SURVEYED = 3, 2, 1, 0
"""Where a height comes from, best first: four cells around it; an edge cell's outer half; a filled hole; nowhere."""


class Datum(Protocol):
    """How heights of a raster become the city's; two that are equal are the same way."""

    @property
    def is_identity(self) -> bool:
        """True if z stays as it is."""
        ...

    def normal_m(self, lon_deg: FloatArray, lat_deg: FloatArray, z_m: FloatArray) -> FloatArray:
        """(n,) heights of the raster -> (n,) normal heights of the city, metres."""
        ...


class HeightGrid:
    """Heights of one raster, or of several on one grid, in its own CRS and datum."""

    def __init__(self, sheets: Sequence[tuple[Path, mosaic.Header]], raster_crs: str) -> None:
        self.crs = crs.horizontal(raster_crs)
        self.sheets = list(sheets)
        box = self.box = mosaic.frame([header for _, header in sheets])
        shrinks = [1]
        while max(box.width, box.height) > BLOCK * shrinks[-1]:
            shrinks.append(shrinks[-1] * SHRINK)
        self.levels = [Level(self.sheets, shrink) for shrink in shrinks]
        self._shrinks = shrinks

    @property
    def bounds(self) -> crs.Bounds:
        """West, south, east, north in the raster's CRS."""
        box = self.box
        return box.west, box.north - box.dy * box.height, box.west + box.dx * box.width, box.north

    @property
    def inner_bounds(self) -> crs.Bounds:
        """Box through the centres of the outermost cells, in the raster's CRS."""
        west, south, east, north = self.bounds
        dx, dy = self.box.dx / 2, self.box.dy / 2
        return west + dx, south + dy, east - dx, north - dy

    @cached_property
    def lonlat_bounds(self) -> crs.Bounds:
        """West, south, east, north in degrees."""
        return crs.transform_bounds(self.crs, crs.WGS84, self.bounds)

    @property
    def cell_m(self) -> float:
        """Side of a cell in metres, the shorter one."""
        size = min(self.box.dx, self.box.dy)
        return size * 111_320.0 if crs.is_geographic(self.crs) else size * crs.metres_per_unit(self.crs)

    @property
    def n_blocks(self) -> int:
        """Blocks of the raster itself."""
        return -(-self.box.width // BLOCK) * -(-self.box.height // BLOCK)

    @cached_property
    def cells_per_degree(self) -> float:
        """Cells that a degree of longitude or latitude spans in the middle, the greater number."""
        west, south, east, north = self.lonlat_bounds
        lon, lat, step = (west + east) / 2, (south + north) / 2, 1e-5
        x, y = crs.transform(crs.WGS84, self.crs, np.array([lon, lon + step, lon]), np.array([lat, lat, lat + step]))
        return float(np.hypot((x[1:] - x[0]) / self.box.dx, (y[1:] - y[0]) / self.box.dy).max()) / step

    def close(self) -> None:
        """Close the files and forget the blocks."""
        for level in self.levels:
            level.close()

    def sample(self, x: FloatArray, y: FloatArray, cell_m: float | None = None) -> tuple[FloatArray, NDArray[np.uint8]]:
        """(k,) coordinates in the raster's CRS -> (k,) heights as float32 numbers, (k,) SURVEYED, EDGE, FILLED or NONE.

        Parameters
        ----------
        cell_m : read the coarsest level whose cells are no wider; the raster itself when absent
        """
        k = 0
        if cell_m is not None:
            k = max(i for i, shrink in enumerate(self._shrinks) if i == 0 or shrink * self.cell_m <= cell_m)
        box, kinds = self.box, np.full(x.size, NONE, np.uint8)
        values = np.full(x.size, np.nan)
        with np.errstate(invalid="ignore"):
            column, row = (x - box.west) / box.dx - 0.5, (box.north - y) / box.dy - 0.5
            inside = (column >= -0.5) & (column <= box.width - 0.5) & (row >= -0.5) & (row <= box.height - 0.5)
        at = slice(None) if inside.all() else np.flatnonzero(inside)
        column, row = column[at], row[at]
        if column.size == 0:
            return values, kinds
        on_edge = (column < 0) | (column > box.width - 1) | (row < 0) | (row > box.height - 1)
        found, void = self._bilinear(k, column, row)
        kinds[at] = np.where(np.isnan(found), NONE, np.where(void, FILLED, np.where(on_edge, EDGE, SURVEYED)))
        values[at] = found.astype(np.float32)
        return values, kinds

    def _bilinear(self, k: int, column: FloatArray, row: FloatArray) -> tuple[FloatArray, NDArray[np.bool_]]:
        """At cells of level 0 (fractional): heights, and where a cell around had to be filled."""
        level = self.levels[k]
        rows, columns = level.shape
        if k:
            column = (column + 0.5) * (columns / self.box.width) - 0.5
            row = (row + 0.5) * (rows / self.box.height) - 0.5
        column, row = np.clip(column, 0, columns - 1), np.clip(row, 0, rows - 1)
        left, top = (values.astype(np.int64) for values in (column, row))
        corners = level.corners(top, left)
        void = np.isnan(corners)
        holed = void.any(axis=0)
        if holed.any():
            which, point = np.nonzero(void)
            right, below = np.minimum(left + 1, columns - 1), np.minimum(top + 1, rows - 1)
            cell_column = np.where(which % 2, right[point], left[point])
            cell_row = np.where(which // 2, below[point], top[point])
            corners[which, point] = self._fill(k, cell_column, cell_row)
        fx, fy = column - left, row - top
        a, b, c, d = corners.astype(np.float64)
        return (a * (1 - fx) + b * fx) * (1 - fy) + (c * (1 - fx) + d * fx) * fy, holed

    def _fill(self, k: int, column: IntArray, row: IntArray) -> FloatArray:
        """Heights for void cells of level k, from the first coarser level that has four values around each."""
        rows, columns = self.levels[k].shape
        u, v = (column + 0.5) / columns, (row + 0.5) / rows
        out = np.full(u.size, np.nan)
        for level in self.levels[k + 1 :]:
            todo = np.flatnonzero(np.isnan(out))
            if todo.size == 0:
                return out
            there_rows, there_columns = level.shape
            x = np.clip(u[todo] * there_columns - 0.5, 0, there_columns - 1)
            y = np.clip(v[todo] * there_rows - 0.5, 0, there_rows - 1)
            out[todo] = _blend(level.corners(y.astype(np.int64), x.astype(np.int64)), x, y)
        todo = np.flatnonzero(np.isnan(out))
        if todo.size:
            top = self._top
            x = np.clip(u[todo] * top.shape[1] - 0.5, 0, top.shape[1] - 1)
            y = np.clip(v[todo] * top.shape[0] - 0.5, 0, top.shape[0] - 1)
            i, j = y.astype(np.int64), x.astype(np.int64)
            below, right = np.minimum(i + 1, top.shape[0] - 1), np.minimum(j + 1, top.shape[1] - 1)
            out[todo] = _blend(np.stack([top[i, j], top[i, right], top[below, j], top[below, right]]), x, y)
        return out

    @cached_property
    def _top(self) -> FloatArray:
        """The coarsest level without holes; all NaN where the raster has no value at all."""
        level = self.levels[-1]
        return pull_push(level.window(0, 0, *level.shape).astype(np.float64))


def _blend(corners: NDArray[Any], column: FloatArray, row: FloatArray) -> FloatArray:
    fx, fy = column - np.floor(column), row - np.floor(row)
    a, b, c, d = corners.astype(np.float64)
    return np.asarray((a * (1 - fx) + b * fx) * (1 - fy) + (c * (1 - fx) + d * fx) * fy)


def pull_push(values: FloatArray) -> FloatArray:
    """(rows, columns) with NaN -> the same without: means of ever larger squares, blended bilinearly.

    Method: Gortler et al. 1996, "The Lumigraph", 3.3 (pull and push). Values that are there stay; what is filled lies
    between the lowest and the highest of them.
    """
    void = np.isnan(values)
    if not void.any() or void.all():
        return values
    rows, columns = values.shape
    padded = np.full((rows + rows % 2, columns + columns % 2), np.nan)
    padded[:rows, :columns] = values
    four = np.stack([padded[i::2, j::2] for i in (0, 1) for j in (0, 1)])
    count = (~np.isnan(four)).sum(axis=0)
    mean = np.where(count > 0, np.nansum(four, axis=0) / np.maximum(count, 1), np.nan)
    coarse = pull_push(mean)
    y = np.clip((np.arange(rows) - 0.5) / 2, 0, len(coarse) - 1)[:, None]
    x = np.clip((np.arange(columns) - 0.5) / 2, 0, coarse.shape[1] - 1)[None, :]
    i, j = y.astype(np.int64), x.astype(np.int64)
    below, right = np.minimum(i + 1, len(coarse) - 1), np.minimum(j + 1, coarse.shape[1] - 1)
    fx, fy = x - j, y - i
    upper = coarse[i, j] * (1 - fx) + coarse[i, right] * fx
    lower = coarse[below, j] * (1 - fx) + coarse[below, right] * fx
    return np.where(void, upper * (1 - fy) + lower * fy, values)
