"""Slope, aspect and hillshade of a grid of heights, block by block on two threads.

The edge is as gdaldem's default leaves it: a cell of whose nine heights one is missing has no value, and so has the
aspect of level ground (gdaldem writes -9999).
"""

import math
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Measure = Literal["slope_deg", "slope_pct", "aspect_deg", "hillshade"]
MEASURES: tuple[Measure, ...] = ("slope_deg", "slope_pct", "aspect_deg", "hillshade")


class Heights(Protocol):
    """What windows of heights are read from, also beyond the grid (NaN there): `elevation.Elevation`."""

    def read(self, top: int, left: int, rows: int, columns: int) -> FloatArray:
        """(rows, columns) heights."""
        ...


def measured(
    heights_m: FloatArray,
    measure: Measure,
    dx: float,
    dy: float,
    *,
    z_factor: float = 1.0,
    azimuth_deg: float = 315.0,
    altitude_deg: float = 45.0,
) -> NDArray[np.float32]:
    """(rows + 2, columns + 2) heights -> (rows, columns) of a measure of the inner cells.

    Parameters
    ----------
    heights_m : with one cell more on each side; NaN where there is none
    measure : slope in degrees or percent; bearing of the way down, in degrees clockwise from grid north, 0 <= aspect
        < 360; light that falls on it, 1 (none) to 255
    dx, dy : sides of a cell in metres
    z_factor : heights count so many times
    azimuth_deg, altitude_deg : where light comes from

    Returns NaN where one of the nine heights is missing, and as the aspect of level ground.
    """
    from twin.analysis.terrain_horn import horn

    rows, columns = heights_m.shape[0] - 2, heights_m.shape[1] - 2
    out = np.empty((rows, columns), np.float32)
    azimuth, altitude = math.radians(azimuth_deg), math.radians(altitude_deg)
    flat = math.cos(altitude)
    light = (math.sin(azimuth) * flat, math.cos(azimuth) * flat, math.sin(altitude))
    cell = (dx / z_factor, dy / z_factor)
    ends = np.linspace(0, rows, min(8, rows) + 1).astype(int).tolist()

    def run(first: int, last: int) -> None:
        horn(heights_m, out, first, last, MEASURES.index(measure), cell, light)

    with ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        for _ in pool.map(run, ends[:-1], ends[1:]):
            pass
    return out


def blocks(
    heights: Heights,
    shape: tuple[int, int],
    measure: Measure,
    cell: tuple[float, float],
    *,
    light: Mapping[str, float] | None = None,
    at_once: int = 512,
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """(first row, (n, columns) values) from north to south, `at_once` rows each; the next block is read meanwhile.

    `shape`: rows and columns of the grid; `cell`: its sides east and north in metres; `light` as for `measured`.
    """
    rows, columns = shape

    def ask(top: int) -> FloatArray:
        return heights.read(top - 1, -1, min(at_once, rows - top) + 2, columns + 2)

    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(ask, 0)
        for top in range(0, rows, at_once):
            read = coming.result()
            if top + at_once < rows:
                coming = reader.submit(ask, top + at_once)
            yield top, measured(read, measure, *cell, **(light or {}))
