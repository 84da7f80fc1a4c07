"""A raster as it should be read: north-up, with the CRS, nodata and scale that hold for it; the file stays as it is.

What differs from the file is written into a GDAL virtual raster (VRT) in memory. A raster that only runs the other way
(from south to north) is turned without touching a value; a rotated one is resampled, bilinear, on its own cell size.
"""

import math
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from layers.errors import InvalidInput
from layers.issue import Issue

MAX_GCP_RMS_CELLS = 1.0
"""Ground control points that an affine map misses by more than a cell need a real rectification."""

FLAT = 1e-9
"""A rotation of less than this part of a cell is rounding."""

WARPED_NODATA = -9999.0


@dataclass(frozen=True)
class Grid:
    """Where the cells of a file lie, and the north-up grid they are put on.

    Attributes
    ----------
    source : (a, b, c, d, e, f) of the file: x = a column + b row + c, y = d column + e row + f
    target : the same for the north-up grid; b = d = 0
    width, height : of the north-up grid in cells
    is_turned : True if the order of rows or columns is reversed; no value changes
    is_resampled : True if the values are interpolated
    """

    source: tuple[float, ...]
    target: tuple[float, ...]
    width: int
    height: int
    is_turned: bool = False
    is_resampled: bool = False

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north in the raster's CRS."""
        a, _, west, _, e, north = self.target
        return west, north + e * self.height, west + a * self.width, north

    @property
    def cell(self) -> tuple[float, float]:
        """Width and height of a cell in units of the CRS."""
        return self.target[0], -self.target[4]


@dataclass(frozen=True)
class View:
    """What is to be changed when the file is read.

    Attributes
    ----------
    crs_wkt : instead of the file's own
    nodata : instead of the file's own
    scale : factor that takes stored values to metres, written into the band's own scale
    """

    grid: Grid
    crs_wkt: str | None = None
    nodata: float | None = None
    scale: float = 1.0
    has_gcps: bool = False
    issues: list[Issue] = field(default_factory=list)

    @property
    def is_plain(self) -> bool:
        """True if the file can be read as it is."""
        changes = self.crs_wkt is not None or self.nodata is not None or self.scale != 1.0 or self.has_gcps
        return not (changes or self.grid.is_turned or self.grid.is_resampled)


def grid(transform: tuple[float, ...], width: int, height: int) -> Grid:
    """The north-up grid of a raster with this affine transform."""
    a, b, c, d, e, f = (float(value) for value in transform[:6])
    if abs(b) <= FLAT * abs(a) and abs(d) <= FLAT * abs(e):
        west = c if a > 0 else c + a * width
        north = f if e < 0 else f + e * height
        target = (abs(a), 0.0, west, 0.0, -abs(e), north)
        return Grid((a, b, c, d, e, f), target, width, height, is_turned=a < 0 or e > 0)
    corners = np.array([(c + a * i + b * j, f + d * i + e * j) for i in (0, width) for j in (0, height)])
    (west, south), (east, north) = corners.min(axis=0), corners.max(axis=0)
    dx, dy = math.hypot(a, d), math.hypot(b, e)
    if abs(a) < abs(b):  # turned by more than 45°: columns have become rows
        dx, dy = dy, dx
    size = math.ceil((east - west) / dx - 1e-6), math.ceil((north - south) / dy - 1e-6)
    return Grid(
        (a, b, c, d, e, f), (dx, 0.0, float(west), 0.0, -dy, float(north)), *size, is_turned=True, is_resampled=True
    )


def from_control_points(cells: NDArray[np.float64], places: NDArray[np.float64]) -> tuple[tuple[float, ...], float]:
    """Affine transform from (n, 2) column, row to (n, 2) x, y by least squares, and the RMS misfit in cells.

    Raises InvalidInput for fewer than three points or points on one line.
    """
    design = np.column_stack([cells, np.ones(len(cells))])
    if len(cells) < 3 or np.linalg.matrix_rank(design, tol=1e-6 * max(1.0, float(np.abs(design).max()))) < 3:
        raise InvalidInput("Its ground control points are fewer than three or lie on a line.", "Rectify it in QGIS.")
    centre = places.mean(axis=0)
    solved = np.linalg.lstsq(design, places - centre, rcond=None)[0]
    misfit = design @ solved + centre - places
    a, d = solved[0]
    b, e = solved[1]
    c, f = solved[2] + centre
    cell = math.sqrt(abs(a * e - b * d)) or 1.0
    return (a, b, c, d, e, f), float(np.sqrt((misfit**2).sum(axis=1).mean())) / cell


@contextmanager
def dataset(path: Path) -> Iterator[Any]:
    """The dataset; without georeference it is refused in words, so rasterio's warning is not needed."""
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as source:
            yield source


@contextmanager
def seen(source: Any, view: View, *, is_image: bool) -> Iterator[Any]:
    """An open rasterio dataset -> the dataset to read: itself, or a virtual one that reads from it."""
    import rasterio
    from rasterio.enums import Resampling
    from rasterio.transform import Affine
    from rasterio.vrt import WarpedVRT

    if view.is_plain:
        yield source
        return
    with ExitStack() as stack:
        told = stack.enter_context(rasterio.open(_described(source, view)))
        if not view.grid.is_turned:
            yield told
            return
        options: dict[str, Any] = {"resampling": Resampling.nearest}
        if view.grid.is_resampled:
            options = {"resampling": Resampling.bilinear, "tolerance": 0.001}
            if told.nodata is None and not is_image:
                options["nodata"] = WARPED_NODATA
            elif told.nodata is None and told.count in {1, 3}:
                options["add_alpha"] = True
        yield stack.enter_context(
            WarpedVRT(
                told,
                crs=told.crs,
                transform=Affine(*view.grid.target),
                width=view.grid.width,
                height=view.grid.height,
                **options,
            )
        )


def _described(source: Any, view: View) -> str:
    """VRT of the file with another transform, CRS, nodata and scale."""
    from rasterio.io import MemoryFile
    from rasterio.shutil import copy

    with MemoryFile(ext=".vrt") as memory:
        copy(source, memory.name, driver="VRT")
        root = ET.fromstring(bytes(memory.getbuffer()))  # noqa: S314 GDAL itself has just written it
    for tag in ("GCPList", "GeoTransform", *(("SRS",) if view.crs_wkt else ())):
        for old in root.findall(tag):
            root.remove(old)
    a, b, c, d, e, f = view.grid.source
    transform = ET.Element("GeoTransform")
    transform.text = ", ".join(repr(value) for value in (c, a, b, f, d, e))
    root.insert(0, transform)
    if view.crs_wkt:
        srs = ET.Element("SRS", {"dataAxisToSRSAxisMapping": "1,2"})
        srs.text = view.crs_wkt
        root.insert(0, srs)
    for band in root.findall("VRTRasterBand"):
        if view.nodata is not None:
            _set(band, "NoDataValue", repr(view.nodata))
        if view.scale != 1.0:
            _set(band, "Scale", repr(view.scale))
    return ET.tostring(root, encoding="unicode")


def _set(band: ET.Element, tag: str, text: str) -> None:
    for old in band.findall(tag):
        band.remove(old)
    element = ET.Element(tag)
    element.text = text
    band.insert(0, element)
