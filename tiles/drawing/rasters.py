"""Image layers on the pixels of a view: in blocks, each warped straight into its own pixels by `tiles.imagery`."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tiles import imagery
from tiles.city import TileCity
from tiles.drawing.view import View
from tiles.imagery import Frame, Picture, Wanted
from tiles.matrix_set import TILE_SIZE, MatrixSet
from twin.store.interface import Asset

BLOCK = 1024
"""Pixels on a side of a block, so that the memory does not grow with the map."""
Bytes = NDArray[np.uint8]


def pixels(city: TileCity, chosen: Sequence[Asset], view: View, wanted: Wanted) -> Bytes:
    """(height, width, 4) colours of the files in a view; transparent where there are none."""
    wide, high, side = _square(view)
    out = np.zeros((high, wide, 4), np.uint8)
    for row, column, picture in _blocks(city, chosen, view, wanted):
        if picture.touching:
            top, left = row * side, column * side
            part = out[top : top + side, left : left + side]
            part[:] = imagery.colours(picture)[: part.shape[0], : part.shape[1]]
    return out if (wide, high) == (view.width, view.height) else _resized(out, view)


def signature(city: TileCity, chosen: Sequence[Asset], view: View, wanted: Wanted) -> tuple[object, ...]:
    """Everything that the pixels depend on; empty where no file touches the view."""
    found = [picture.signature for _, _, picture in _blocks(city, chosen, view, wanted) if picture.touching]
    return (view, *found) if found else ()


def _square(view: View) -> tuple[int, int, int]:
    """Columns and rows of square pixels as fine as the finer side of the view's, and the side of a block."""
    across, down = view.cell
    fine = min(across, down)
    wide, high = (max(round(n * cell / fine), 1) for n, cell in ((view.width, across), (view.height, down)))
    # a very flat map in a very high box: no more than twice the pixels that are asked for
    limit = max(2 * view.width * view.height, BLOCK)
    if wide * high > limit or abs(across - down) < 1e-3 * fine:
        wide, high = view.width, view.height
    return wide, high, min(BLOCK, 2 ** math.ceil(math.log2(max(wide, high, 16))))


def _blocks(city: TileCity, chosen: Sequence[Asset], view: View, wanted: Wanted) -> Iterator[tuple[int, int, Picture]]:
    wide, high, side = _square(view)
    west, _, east, north = view.bounds
    cell = (east - west) / wide
    columns, rows = math.ceil(wide / side), math.ceil(high / side)
    grid = MatrixSet("view", "", view.crs, west, north, cell * side / TILE_SIZE, columns, rows)
    for row in range(rows):
        for column in range(columns):
            frame = Frame(grid, 0, column, row, side)
            yield row, column, imagery.picture(city, chosen, frame, wanted, "png")


def _resized(colours: Bytes, view: View) -> Bytes:
    from PIL import Image

    return np.asarray(Image.fromarray(colours).resize((view.width, view.height), Image.Resampling.BILINEAR))
