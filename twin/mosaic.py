"""Elevation sheets that share one grid -> one virtual raster, so that heights run on across their edges.

Sheets of a survey are cut from one grid: same CRS, same cells. Read one by one they would leave a strip of half a cell
on each side of every edge. GDAL's virtual raster (VRT) reads them as one; in it, later sources lie on top.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

ALIGNED_CELLS = 1e-3
"""Grids whose cells lie within this part of a cell on each other are one grid."""


@dataclass(frozen=True)
class Header:
    """Grid of one file: north-up, `west` and `north` are the outer corner of the first cell; units of the CRS."""

    west: float
    north: float
    dx: float
    dy: float
    width: int
    height: int
    nodata: float | None
    scale: float
    offset: float
    wkt: str

    def continues(self, other: "Header") -> bool:
        """True if both lie on one grid."""
        if abs(self.dx - other.dx) > 1e-9 * self.dx or abs(self.dy - other.dy) > 1e-9 * self.dy:
            return False
        shift = (self.west - other.west) / self.dx, (self.north - other.north) / self.dy
        return all(abs(each - round(each)) <= ALIGNED_CELLS for each in shift)


def header(dataset: Any) -> Header:
    """Of an open rasterio dataset."""
    transform = dataset.transform
    return Header(
        west=float(transform.c),
        north=float(transform.f),
        dx=float(transform.a),
        dy=-float(transform.e),
        width=int(dataset.width),
        height=int(dataset.height),
        nodata=None if dataset.nodata is None else float(dataset.nodata),
        scale=float(dataset.scales[0]),
        offset=float(dataset.offsets[0]),
        wkt=dataset.crs.to_wkt() if dataset.crs else "",
    )


@dataclass(frozen=True)
class Frame:
    """Box of cells around sheets on one grid: outer corner of its first cell, cell and size."""

    west: float
    north: float
    dx: float
    dy: float
    width: int
    height: int


def frame(headers: Sequence[Header]) -> Frame:
    """The box around sheets on one grid."""
    first = headers[0]
    west, north = min(each.west for each in headers), max(each.north for each in headers)
    width = max(round((each.west - west) / first.dx) + each.width for each in headers)
    height = max(round((north - each.north) / first.dy) + each.height for each in headers)
    return Frame(west, north, first.dx, first.dy, width, height)


def vrt(sheets: Sequence[tuple[Path, Header]], shrink: int = 1) -> str:
    """One virtual raster of sheets on one grid, uppermost first: metres as float32, NaN where there is nothing.

    With `shrink` its cells are so many times as wide and high: GDAL then reads the overviews of the sheets.
    """
    first, box = sheets[0][1], frame([header for _, header in sheets])
    width, height = -(-box.width // shrink), -(-box.height // shrink)
    root = ET.Element("VRTDataset", {"rasterXSize": str(width), "rasterYSize": str(height)})
    ET.SubElement(root, "SRS", {"dataAxisToSRSAxisMapping": "1,2"}).text = first.wkt
    dx, dy = first.dx * shrink, first.dy * shrink
    ET.SubElement(root, "GeoTransform").text = f"{box.west!r}, {dx!r}, 0, {box.north!r}, 0, {-dy!r}"
    band = ET.SubElement(root, "VRTRasterBand", {"dataType": "Float32", "band": "1"})
    ET.SubElement(band, "NoDataValue").text = "nan"
    for path, sheet in reversed(sheets):
        source = ET.SubElement(band, "ComplexSource")
        ET.SubElement(source, "SourceFilename", {"relativeToVRT": "0"}).text = str(path)
        ET.SubElement(source, "SourceBand").text = "1"
        size = {"xSize": str(sheet.width), "ySize": str(sheet.height)}
        ET.SubElement(source, "SrcRect", {"xOff": "0", "yOff": "0", **size})
        left, top = round((sheet.west - box.west) / first.dx), round((box.north - sheet.north) / first.dy)
        rect = {"xOff": left, "yOff": top, "xSize": sheet.width, "ySize": sheet.height}
        ET.SubElement(source, "DstRect", {key: repr(value / shrink) for key, value in rect.items()})
        if sheet.nodata is not None:
            ET.SubElement(source, "NODATA").text = "nan" if math.isnan(sheet.nodata) else repr(sheet.nodata)
        if (sheet.scale, sheet.offset) != (1.0, 0.0):
            ET.SubElement(source, "ScaleOffset").text = repr(sheet.offset)
            ET.SubElement(source, "ScaleRatio").text = repr(sheet.scale)
    return ET.tostring(root, encoding="unicode")
