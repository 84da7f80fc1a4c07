"""Elevation rasters: cases 24 to 27. Every file is a plane, so that each height can be computed by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import Affine, from_origin

from broken.case import EAST, NORTH, Case

SIZE = 64
TO_EAST, TO_NORTH = 0.01, 0.02


def plane(transform: Affine, size: int = SIZE) -> NDArray[np.float32]:
    """Heights 20 m + 0.01 to the east + 0.02 to the north at the centres of the cells."""
    column, row = np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5)
    a, b, c, d, e, f = transform[:6]
    x, y = a * column + b * row + c, d * column + e * row + f
    return (20 + TO_EAST * (x - EAST) + TO_NORTH * (y - NORTH)).astype("float32")


def save(path: Path, array: NDArray[Any], transform: Affine | None, crs: str | None = "EPSG:4549", **more: Any) -> None:
    """One band."""
    profile = {"driver": "GTiff", "height": array.shape[0], "width": array.shape[1], "count": 1, "dtype": array.dtype}
    with rasterio.open(path, "w", **profile, crs=crs, transform=transform, **more) as out:
        out.write(array, 1)


UP = from_origin(EAST, NORTH + 2 * SIZE, 2, 2)


def holes(folder: Path) -> None:
    heights = plane(UP)
    heights[20:30, 20:30] = -9999
    save(folder / "dem.tif", heights, UP, nodata=-9999)


def undeclared(folder: Path) -> None:
    heights = (plane(UP)).astype("int16")
    heights[20:30, 20:30] = -32768
    save(folder / "dem.tif", heights, UP)


def zeros(folder: Path) -> None:
    heights = plane(UP)
    heights[:20] = 0
    save(folder / "dem.tif", heights, UP)


def centimetres(folder: Path) -> None:
    save(folder / "dem.tif", (plane(UP) * 1000).astype("int32"), UP)


def datum_of_1956(folder: Path) -> None:
    save(folder / "dem.tif", plane(UP), UP, crs="EPSG:4549+5736")


def two_grids(folder: Path) -> None:
    """2 m cells, and 1 m cells whose tie point is the centre of a cell: half a cell off for whoever overlooks it."""
    save(folder / "dem_a.tif", plane(UP), UP)
    fine = from_origin(EAST, NORTH + SIZE, 1, 1)
    save(folder / "dem_b.tif", plane(fine), fine)
    with rasterio.open(folder / "dem_b.tif", "r+") as file:
        file.update_tags(AREA_OR_POINT="Point")


def north_down(folder: Path) -> None:
    down = Affine(2, 0, EAST, 0, 2, NORTH)
    save(folder / "dem.tif", plane(down), down)


def rotated(folder: Path) -> None:
    turned = Affine.translation(EAST, NORTH + 100) @ Affine.rotation(20) @ Affine.scale(2, -2)
    save(folder / "dem.tif", plane(turned), turned)


def not_placed(folder: Path) -> None:
    save(folder / "dem.tif", plane(UP), None, None)


CASES = (
    Case(24, "24_holes", holes, ("DEM_HOLES",)),
    Case(24, "24_undeclared", undeclared, ("NODATA_UNDECLARED",)),
    Case(24, "24_zeros", zeros, ("DEM_ZEROS",)),
    Case(25, "25_centimetres", centimetres, ("DEM_OUT_OF_RANGE",)),
    Case(25, "25_datum_of_1956", datum_of_1956, ("VERTICAL_DATUM",)),
    Case(26, "26_two_grids", two_grids, ("",)),
    Case(27, "27_north_down", north_down, ("RASTER_TURNED",)),
    Case(27, "27_rotated", rotated, ("RASTER_RESAMPLED",)),
    Case(27, "27_not_placed", not_placed, ("RASTER_NOT_PLACED",)),
)
