"""Image layers on the pixels of a view: in blocks, each warped straight into its own pixels by `tiles.imagery`."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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
    sheet = _sheet(view)
    out = np.zeros((sheet.height, sheet.width, 4), np.uint8)
    for row, column, picture in _blocks(city, chosen, sheet, wanted):
        if picture.touching:
            top, left = row * sheet.side, column * sheet.side
            part = out[top : top + sheet.side, left : left + sheet.side]
            part[:] = imagery.colours(picture)[: part.shape[0], : part.shape[1]]
    return out if sheet.is_view else _resized(out, view, sheet)


def signature(city: TileCity, chosen: Sequence[Asset], view: View, wanted: Wanted) -> tuple[object, ...]:
    """Everything that the pixels depend on; empty where no file touches the view."""
    found = [picture.signature for _, _, picture in _blocks(city, chosen, _sheet(view), wanted) if picture.touching]
    return (view, *found) if found else ()


@dataclass(frozen=True)
class _Sheet:
    """Square pixels over a view, from its upper left corner: `is_view` where they are the view's own."""

    crs: str
    west: float
    north: float
    cell: float
    width: int
    height: int
    side: int
    is_view: bool


def _sheet(view: View) -> _Sheet:
    """As fine as the finer side of the view's pixels, but not more than twice as many as the view has."""
    across, down = view.cell
    west, south, east, north = view.bounds
    is_view = abs(across - down) < 0.5 / max(view.width, view.height) * across
    cell = across if is_view else min(across, down)
    if not is_view:
        excess = (east - west) * (north - south) / cell**2 / max(2 * view.width * view.height, BLOCK)
        cell *= math.sqrt(max(excess, 1.0))
    width = view.width if is_view else math.ceil((east - west) / cell)
    height = view.height if is_view else math.ceil((north - south) / cell)
    side = min(BLOCK, 2 ** math.ceil(math.log2(max(width, height, 16))))
    return _Sheet(view.crs, west, north, cell, width, height, side, is_view)


def _blocks(
    city: TileCity, chosen: Sequence[Asset], sheet: _Sheet, wanted: Wanted
) -> Iterator[tuple[int, int, Picture]]:
    if not chosen:
        return
    columns, rows = math.ceil(sheet.width / sheet.side), math.ceil(sheet.height / sheet.side)
    cell = sheet.cell * sheet.side / TILE_SIZE
    grid = MatrixSet("view", "", sheet.crs, sheet.west, sheet.north, cell, columns, rows)
    for row in range(rows):
        for column in range(columns):
            frame = Frame(grid, 0, column, row, sheet.side)
            yield row, column, imagery.picture(city, chosen, frame, wanted, "png")


def _resized(colours: Bytes, view: View, sheet: _Sheet) -> Bytes:
    from PIL import Image

    west, south, east, north = view.bounds
    part = (0, 0, min((east - west) / sheet.cell, sheet.width), min((north - south) / sheet.cell, sheet.height))
    picture = Image.fromarray(colours).resize((view.width, view.height), Image.Resampling.BILINEAR, part)
    return np.asarray(picture)
