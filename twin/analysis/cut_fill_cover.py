"""How much of each cell an area covers, exactly: signed areas of its edges, cell by cell, summed along the rows.

As a font's outline is filled: an edge that rises through a row of cells covers what lies to the east of it, in its own
cell the part beside it. Edges are split at every line between cells; the sum along a row is the share covered.
"""

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from twin.analysis.elevation import Grid

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Cover:
    """Pieces of the outline of an area, each within one cell of a grid, sorted by row.

    Attributes
    ----------
    shape : rows, columns of the grid
    row, column : (n,) cells; pieces west of the grid are in column 0, those east of it in none
    down : (n,) how far the piece goes down, in cells
    aside : (n,) how far its middle is from the cell's west edge, in cells
    """

    shape: tuple[int, int]
    row: IntArray
    column: IntArray
    down: FloatArray
    aside: FloatArray

    def shares(self, top: int, rows: int) -> FloatArray:
        """(rows, columns) shares of the cells of some rows that are covered, 0 to 1."""
        width = self.shape[1]
        a, b = np.searchsorted(self.row, [top, top + rows])
        row, column, down, aside = self.row[a:b] - top, self.column[a:b], self.down[a:b], self.aside[a:b]
        sums = np.zeros((rows, width + 2))
        np.add.at(sums, (row, column), down * (1.0 - aside))
        np.add.at(sums, (row, column + 1), down * aside)
        return np.clip(np.cumsum(sums, axis=1)[:, :width], 0.0, 1.0)


def cover(area: shapely.Geometry, grid: Grid) -> Cover:
    """A valid area -> its pieces on a grid."""
    polygons = shapely.orient_polygons(shapely.get_parts(area), exterior_cw=False)
    rings = shapely.get_rings(polygons)
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    x, y = (xy[:, 0] - grid.west) / grid.dx, (grid.north - xy[:, 1]) / grid.dy
    is_edge = ring[1:] == ring[:-1]
    x0, x1, y0, y1 = x[:-1][is_edge], x[1:][is_edge], y[:-1][is_edge], y[1:][is_edge]
    edge, share = _split(x0, x1, y0, y1)
    first, last = share[:-1], share[1:]
    same = (edge[1:] == edge[:-1]) & (last > first)
    edge, first, last = edge[:-1][same], first[same], last[same]
    px = x0[edge] + (first + last) / 2 * (x1 - x0)[edge]
    py = y0[edge] + (first + last) / 2 * (y1 - y0)[edge]
    down = (last - first) * (y1 - y0)[edge]
    row = np.floor(py).astype(np.int64)
    px = np.clip(px, 0.0, grid.width)
    column = np.floor(px).astype(np.int64)
    # an outline counter-clockwise goes down (rows grow southwards) on the west side of the area
    keep = (row >= 0) & (row < grid.height) & (down != 0)
    order = np.flatnonzero(keep)[np.argsort(row[keep], kind="stable")]
    return Cover(grid.shape, row[order], column[order], down[order], (px - column)[order])


def _split(x0: FloatArray, x1: FloatArray, y0: FloatArray, y1: FloatArray) -> tuple[IntArray, FloatArray]:
    """(m,) edges -> where they start, end and cross lines between cells: which edge, share of its length; sorted."""
    n = len(x0)
    edge, share = [np.arange(n), np.arange(n)], [np.zeros(n), np.ones(n)]
    for a, b in ((x0, x1), (y0, y1)):
        low, high = np.floor(np.minimum(a, b)) + 1, np.ceil(np.maximum(a, b)) - 1
        count = np.maximum(high - low + 1, 0).astype(np.int64)
        of = np.repeat(np.arange(n), count)
        line = np.arange(len(of)) - np.repeat(np.cumsum(count) - count, count) + low[of]
        edge.append(of)
        share.append(np.clip((line - a[of]) / (b[of] - a[of]), 0.0, 1.0))
    edges, shares = np.concatenate(edge), np.concatenate(share)
    order = np.lexsort((shares, edges))
    return edges[order], shares[order]
