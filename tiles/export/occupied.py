"""Which tiles of a grid may show something of a layer: from the boxes of its features, in bulk."""

from collections.abc import Iterator, Sequence

import numpy as np
import shapely
from numpy.typing import NDArray

from layers import crs
from tiles import quadtree
from tiles.city import TileCity
from tiles.matrix_set import MatrixSet
from twin.scope import Scope
from twin.store.interface import Query

EDGE = 1 / 32
"""Part of a tile's side by which it may show more than itself; at least the buffer of vector tiles."""
BENT = 0.01
"""Part of a box's side by which its edges may bend on the way from the city's CRS to that of the grid."""
MAX_AT_ONCE = 2_000_000

Codes = NDArray[np.int64]


def codes(city: TileCity, layer_id: str, scope: Scope, grid: MatrixSet, zooms: Sequence[int]) -> dict[int, Codes]:
    """Zoom -> tiles as Morton codes, ascending. None that shows something is missing; some may show nothing."""
    found: dict[int, Codes] = {z: np.zeros(0, np.int64) for z in zooms}
    for batch in city.store.query(layer_id, Query(properties=()), scope):
        boxes = _boxes(batch.geometry, city.frame.city_crs, grid.crs)
        for z in zooms:
            for part in _covered(boxes, grid, z):
                found[z] = np.union1d(found[z], part)
    return found


def _boxes(geometry: NDArray[np.object_], source: str, target: str) -> NDArray[np.float64]:
    """(k, 4) west, south, east, north of what has a place in the grid's CRS."""
    flat = shapely.bounds(geometry)
    flat = flat[np.isfinite(flat).all(axis=1)]
    if not len(flat):
        return flat
    west, south, east, north = flat.T
    across, up = np.meshgrid([0.0, 0.5, 1.0], [0.0, 0.5, 1.0])
    xs = west[:, None] + across.ravel() * (east - west)[:, None]
    ys = south[:, None] + up.ravel() * (north - south)[:, None]
    x, y = (each.reshape(xs.shape) for each in crs.transform(source, target, xs.ravel(), ys.ravel()))
    boxes = np.stack([x.min(axis=1), y.min(axis=1), x.max(axis=1), y.max(axis=1)], axis=1)
    boxes = boxes[np.isfinite(boxes).all(axis=1)]
    grown = BENT * (boxes[:, 2:] - boxes[:, :2])
    return np.hstack([boxes[:, :2] - grown, boxes[:, 2:] + grown])


def _covered(boxes: NDArray[np.float64], grid: MatrixSet, z: int) -> Iterator[Codes]:
    """Tiles under the boxes, in parts that fit into memory."""
    left, _, _, top = grid.bounds(z, 0, 0)
    first = grid.bounds(z, 0, 0)
    side_x, side_y = first[2] - first[0], first[3] - first[1]
    columns, rows = grid.size(z)
    west, east = ((boxes[:, i] - left) / side_x for i in (0, 2))
    north, south = ((top - boxes[:, i]) / side_y for i in (3, 1))
    x0, y0 = (np.clip(np.floor(v - EDGE), 0, n).astype(np.int64) for v, n in ((west, columns), (north, rows)))
    x1, y1 = (np.clip(np.floor(v + EDGE), -1, n - 1).astype(np.int64) for v, n in ((east, columns), (south, rows)))
    wide, high = np.maximum(x1 - x0 + 1, 0), np.maximum(y1 - y0 + 1, 0)
    spans = np.unique(np.stack([x0, y0, wide, high], axis=1)[wide * high > 0], axis=0)
    ends = np.cumsum(spans[:, 2] * spans[:, 3])
    start = 0
    while start < len(spans):
        done = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + MAX_AT_ONCE, "right")))
        yield _spread(spans[start:stop])
        start = stop


def _spread(spans: Codes) -> Codes:
    """Every tile of (k, 4) first columns, first rows, widths, heights, once."""
    counts = spans[:, 2] * spans[:, 3]
    rows = np.repeat(np.arange(len(spans)), counts)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    x = spans[rows, 0] + within % spans[rows, 2]
    y = spans[rows, 1] + within // spans[rows, 2]
    return np.unique(quadtree.interleave(x, y))


def box_codes(grid: MatrixSet, z: int, box: tuple[float, float, float, float]) -> Codes:
    """All tiles of a zoom that touch a box in the grid's CRS."""
    west, north, east, south = grid.cover(z, box)
    return _spread(np.array([[west, north, east - west + 1, south - north + 1]], np.int64))
