"""Values of a coverage at points: that of the cell a point lies in, of the uppermost sheet that has one there."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from layers import crs
from tiles.coverage import read
from tiles.coverage.grid import Grid
from tiles.coverage.sheets import Coverage, Field

BLOCK = 256
"""Cells are read in squares of so many."""
FloatArray = NDArray[np.float64]


def at(coverage: Coverage, source: str, x: FloatArray, y: FloatArray, fields: Sequence[Field]) -> FloatArray:
    """(n,) east and north in a CRS -> (fields, n) values; NaN where no sheet has one.

    On sheets that are not of the coverage's own lattice the value is the one that the lattice's cell would have.
    """
    grid = coverage.grid
    e, n = crs.transform(source, grid.crs, np.asarray(x, np.float64), np.asarray(y, np.float64))
    with np.errstate(invalid="ignore"):
        column, row = np.floor((e - grid.west) / grid.dx), np.floor((grid.north - n) / grid.dy)
        # the outer edge in the east and south belongs to the last cell
        column = np.where(e == grid.bounds[2], grid.width - 1, column)
        row = np.where(n == grid.bounds[1], grid.height - 1, row)
        inside = (column >= 0) & (column < grid.width) & (row >= 0) & (row < grid.height)
    out = np.full((len(fields), e.size), np.nan)
    which = np.flatnonzero(inside)
    if not which.size:
        return out
    c, r = column[which].astype(np.int64), row[which].astype(np.int64)
    key = (r // BLOCK) * (grid.width // BLOCK + 1) + c // BLOCK
    order = np.argsort(key, kind="stable")
    for chosen in np.split(order, np.flatnonzero(np.diff(key[order])) + 1):
        top, left = int(r[chosen].min()), int(c[chosen].min())
        part: Grid = grid.part(top, int(r[chosen].max()) - top + 1, left, int(c[chosen].max()) - left + 1)
        values, valid = read.whole(coverage, part, fields)
        real = read.real(coverage, values, valid, fields)
        out[:, which[chosen]] = real[:, r[chosen] - top, c[chosen] - left]
    return out
