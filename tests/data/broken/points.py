"""Point clouds: case 34."""

from pathlib import Path

import laspy
import numpy as np
from pyproj import CRS

from broken.case import EAST, NORTH, Case


def cloud(path: Path, n: int, *, crs: bool = True, scale: float = 0.01, offset: float = 1.0) -> None:
    """n points of class 0 along a diagonal; `offset` times the corner's coordinates is the header's offset."""
    header = laspy.LasHeader(point_format=3, version="1.2")
    header.scales, header.offsets = np.full(3, scale), np.array([EAST, NORTH, 0.0]) * offset
    if crs:
        header.add_crs(CRS.from_epsg(4549))
    las = laspy.LasData(header)
    las.x, las.y, las.z = EAST + np.arange(n) * 0.5, NORTH + np.arange(n) * 0.5, np.arange(n) % 30
    las.write(path)


def no_crs(folder: Path) -> None:
    cloud(folder / "cloud.las", 50, crs=False)


def unclassified(folder: Path) -> None:
    cloud(folder / "cloud.las", 50, offset=-1.0)


CASES = (
    Case(34, "34_no_crs", no_crs, ("CRS_MISSING",)),
    Case(34, "34_unclassified", unclassified, ("POINTS_UNCLASSIFIED",)),
)
