"""Which features a tile shows, and in which detail, by zoom. Decided from boxes alone, before any row is read.

Zooms are those of WebMercatorQuad; a level of another grid counts as the one whose cells are nearest in size.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from layers.catalogue import LayerType
from tiles import styles
from tiles.matrix_set import MatrixSet

FloatArray = NDArray[np.float64]

EXACT_ZOOM = 14
"""From here on a tile has every feature with every attribute, to the unit."""
MAX_ZOOM = 18
"""Viewers enlarge the tiles of this zoom beyond it: a unit is 4 cm there."""
MAX_FEATURES = 10_000
"""Of a layer in a tile below EXACT_ZOOM."""
MAX_EXACT = 50_000
"""Of a layer in a tile from EXACT_ZOOM on: what no viewer could draw is cut off."""
CELL = 8
"""Units of a screen pixel (a tile is drawn on 512 of them): of features that are smaller, one a pixel is shown."""
_OUTER = 64 // CELL + 1
_CELLS = 4096 // CELL + 2 * _OUTER
"""Pixels of a tile and its buffer on a side; what lies outside shares those of the rim."""
_MERCATOR_CELL_M = 156543.03392804097


@dataclass(frozen=True)
class Detail:
    """What a zoom shows.

    Attributes
    ----------
    zoom : of WebMercatorQuad
    step : units to which coordinates are rounded
    smallest : units of a feature's longer side below which it only counts as one of its pixel
    limit : features of a layer at most
    """

    zoom: int
    step: int
    smallest: float
    limit: int

    @property
    def is_exact(self) -> bool:
        """True where nothing is left out or simplified."""
        return self.zoom >= EXACT_ZOOM


def zoom_of(grid: MatrixSet, z: int) -> int:
    """The zoom of WebMercatorQuad whose cells are nearest in size."""
    return round(math.log2(_MERCATOR_CELL_M / (grid.cell_size(z) * grid.metres_per_unit)))


def level_of(grid: MatrixSet, zoom: int) -> int:
    """The level of a grid for a zoom of WebMercatorQuad, 0 where it has none that coarse."""
    return min(max(zoom - zoom_of(grid, 0), 0), grid.max_zoom)


def detail(grid: MatrixSet, z: int) -> Detail:
    """Detail of a level of a grid."""
    zoom = zoom_of(grid, z)
    if zoom >= EXACT_ZOOM:
        return Detail(zoom, 1, 0.0, MAX_EXACT)
    return Detail(zoom, 2 if zoom >= EXACT_ZOOM - 2 else 4, float(CELL), MAX_FEATURES)


def attributes(layer_type: LayerType, wanted: Detail) -> tuple[str, ...]:
    """Attributes that a zoom has: all from EXACT_ZOOM on, below it those that the style or a label needs."""
    if wanted.is_exact:
        return tuple(each.name for each in layer_type.attributes)
    needed = styles.needed(layer_type)
    return tuple(each.name for each in layer_type.attributes if each.name in needed)


def chosen(
    fids: NDArray[np.int64], size: FloatArray, middle: Callable[[NDArray[np.intp]], FloatArray], wanted: Detail
) -> NDArray[np.intp]:
    """Rows of the candidates that the tile shows, in no order.

    First the largest; of those smaller than a pixel the largest of each pixel. Equals follow a scattered but fixed
    order, not the order of storing.

    Parameters
    ----------
    fids : (n,) row numbers of the candidates
    size : (n,) longer sides of their boxes in tile units
    middle : gives the (k, 2) middles of some rows' boxes in tile units
    """
    everyone = np.arange(len(fids))
    if wanted.is_exact:
        return _first(everyone, size, fids, wanted.limit)
    is_small = size < wanted.smallest
    large, small = np.flatnonzero(~is_small), np.flatnonzero(is_small)
    if len(large) >= wanted.limit:
        return _first(large, size, fids, wanted.limit)
    one_each = _one_a_cell(small, middle(small), _rank(size[small], fids[small]))
    rest = _first(one_each, np.zeros(len(fids)), fids, wanted.limit - len(large))
    return np.concatenate([large, rest])


def _first(rows: NDArray[np.intp], size: FloatArray, fids: NDArray[np.int64], limit: int) -> NDArray[np.intp]:
    if len(rows) <= limit:
        return rows
    return rows[np.argpartition(-_rank(size[rows], fids[rows]), limit)[:limit]]


def _rank(size: FloatArray, fids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Larger comes first; of equals (to a hundredth of a unit) whoever is first in the scattered order."""
    return np.minimum((size * 100).astype(np.int64), 2**30) << 32 | (2**32 - 1 - _scattered(fids))


def _scattered(fids: NDArray[np.int64]) -> NDArray[np.int64]:
    return (fids * 2654435761) % 2**32


def _one_a_cell(rows: NDArray[np.intp], middle: FloatArray, rank: NDArray[np.int64]) -> NDArray[np.intp]:
    """Of rows whose boxes have their middle in the same pixel, the one of the highest rank."""
    place = np.clip(np.nan_to_num(middle, nan=-1e6) * (1 / CELL) + _OUTER, 0, _CELLS - 1).astype(np.int64)
    cell = place[:, 1] * _CELLS + place[:, 0]
    best = np.full(_CELLS * _CELLS, -1, np.int64)
    np.maximum.at(best, cell, rank)
    return rows[rank == best[cell]]
