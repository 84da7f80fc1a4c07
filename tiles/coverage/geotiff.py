"""A coverage as GeoTIFF (OGC 19-008r4), written to a file strip by strip."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from layers import crs
from tiles.coverage import read
from tiles.coverage.grid import Grid
from tiles.coverage.sheets import Coverage, Field

BLOCK = 512


def write(path: Path, coverage: Coverage, frame: Grid, fields: Sequence[Field]) -> None:
    """Tiled and deflated without loss. Where no number is free for nodata, a mask says which cells have a value."""
    import rasterio
    from rasterio.windows import Window

    void_seen, mask = False, np.zeros((frame.height, frame.width), bool)
    # a mask inside the file: a second file would not reach the reader
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", **_profile(coverage, frame, fields)) as out,
    ):
        _describe(out, coverage, fields)
        for block in read.blocks(coverage, frame, fields):
            rows = block.values.shape[1]
            out.write(block.values, window=Window(0, block.top, frame.width, rows))
            mask[block.top : block.top + rows] = block.valid
            void_seen = void_seen or not block.valid.all()
        if void_seen and coverage.nodata is None:
            out.write_mask(mask)


def _profile(coverage: Coverage, frame: Grid, fields: Sequence[Field]) -> dict[str, Any]:
    from rasterio.transform import from_origin

    kind = np.dtype(coverage.dtype)
    profile: dict[str, Any] = {
        "driver": "GTiff", "width": frame.width, "height": frame.height, "count": len(fields), "dtype": coverage.dtype,
        "crs": crs.parse(frame.crs).to_wkt(), "transform": from_origin(frame.west, frame.north, frame.dx, frame.dy),
        "nodata": coverage.nodata, "compress": "deflate", "zlevel": 1, "BIGTIFF": "IF_SAFER",
        "interleave": "pixel",
    }  # fmt: skip
    if kind.itemsize <= 4 and kind.kind in "iuf":
        profile["predictor"] = 3 if kind.kind == "f" else 2
    if min(frame.width, frame.height) >= BLOCK:
        profile |= {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK}
    if len(fields) == 3 and coverage.dtype == "uint8" and [f.name for f in fields] == ["red", "green", "blue"]:
        profile["photometric"] = "rgb"
    return profile


def _describe(out: Any, coverage: Coverage, fields: Sequence[Field]) -> None:
    for number, each in enumerate(fields, 1):
        out.set_band_description(number, each.name)
        if each.unit:
            out.set_band_unit(number, each.unit)
    out.scales = tuple(coverage.scales[each.band - 1] for each in fields)
    out.offsets = tuple(coverage.offsets[each.band - 1] for each in fields)
    tags = {"AREA_OR_POINT": "Area"}
    if coverage.vertical_crs:
        tags |= {"VERTICAL_CRS": coverage.vertical_crs, "UNIT": "m"}
    out.update_tags(**tags)
    palette = coverage.sheets[0].header.palette
    if palette and len(fields) == 1 and coverage.dtype in {"uint8", "uint16"}:
        out.write_colormap(1, dict(palette))
