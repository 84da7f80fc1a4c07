"""Values of a coverage on the cells of any grid, strip by strip, so that memory does not grow with what is asked.

Sheets on the grid's own lattice are read as they are. Others go through GDAL's warper, from the coarsest overview that
is still as fine as the grid, with an exact transformation; cells without a value take no part in it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layers import crs
from tiles.coverage.grid import Grid, box_in, cut
from tiles.coverage.sheets import Coverage, Field, Sheet
from tiles.imagery import open_files
from tiles.imagery.sheets import telling

Array = NDArray[Any]
Mask = NDArray[np.bool_]
TOLERANCE_CELLS = 1e-6
"""Error that GDAL may make by interpolating the projection along a row."""
STRIP_CELLS = 1 << 21
"""Cells of a strip, times bands."""


@dataclass(frozen=True)
class Block:
    """(fields, rows, columns) values of a strip that begins at row `top`, and (rows, columns) where there are any."""

    top: int
    values: Array
    valid: Mask


def is_native(coverage: Coverage, frame: Grid) -> bool:
    """True if no sheet has to be resampled for the frame."""
    return all(each.grid.shift(frame) is not None for each in touching(coverage, frame))


def touching(coverage: Coverage, frame: Grid) -> list[Sheet]:
    """Sheets whose box touches the frame's, uppermost first."""
    return [each for each in coverage.sheets if cut(box_in(each.grid.crs, frame.crs, each.grid.bounds), frame.bounds)]


def blocks(coverage: Coverage, frame: Grid, fields: Sequence[Field]) -> Iterator[Block]:
    """The frame from north to south."""
    rows = max(1, STRIP_CELLS // (frame.width * max(1, len(fields))))
    rows = rows // 512 * 512 or rows
    sheets = touching(coverage, frame)
    for top in range(0, frame.height, rows):
        yield _block(coverage, sheets, frame.part(top, min(rows, frame.height - top)), top, fields)


def whole(coverage: Coverage, frame: Grid, fields: Sequence[Field]) -> tuple[Array, Mask]:
    """All of a small frame: (fields, rows, columns) values, (rows, columns) where there are any."""
    block = _block(coverage, touching(coverage, frame), frame, 0, fields)
    return block.values, block.valid


def real(coverage: Coverage, values: Array, valid: Mask, fields: Sequence[Field]) -> NDArray[np.float64]:
    """Stored numbers as values with scale and offset; NaN where there is none."""
    scale = np.array([coverage.scales[each.band - 1] for each in fields])[:, None, None]
    offset = np.array([coverage.offsets[each.band - 1] for each in fields])[:, None, None]
    told = values.astype(np.float64) * scale + offset
    void = np.broadcast_to(~valid, told.shape)
    if coverage.nodata is not None:
        void = void | (values == coverage.nodata)
    return np.where(void, np.nan, told)


def _block(coverage: Coverage, sheets: Sequence[Sheet], frame: Grid, top: int, fields: Sequence[Field]) -> Block:
    fill = 0 if coverage.nodata is None else coverage.nodata
    values = np.full((len(fields), frame.height, frame.width), fill, coverage.dtype)
    valid = np.zeros((frame.height, frame.width), bool)
    bands = [each.band for each in fields]
    for sheet in sheets:
        found = _part(coverage, sheet, frame, bands)
        if found is None:
            continue
        data, known, rows, columns = found
        below = valid[rows, columns]
        take = known & ~below
        values[:, rows, columns][:, take] = data[:, take]
        below |= take
        if valid.all():
            break
    return Block(top, values, valid)


def _part(
    coverage: Coverage, sheet: Sheet, frame: Grid, bands: Sequence[int]
) -> tuple[Array, Mask, slice, slice] | None:
    """Values of a sheet in the coverage's kind of number, where they are known, and which part of the frame it is.

    None for a sheet outside the frame, or one that lacks a band.
    """
    if max(bands) > sheet.bands:
        return None
    shift = sheet.grid.shift(frame)
    if shift is not None:
        left, top = max(-shift[0], 0), max(-shift[1], 0)
        right = min(sheet.grid.width - shift[0], frame.width)
        bottom = min(sheet.grid.height - shift[1], frame.height)
        if right <= left or bottom <= top:
            return None
        window = (left + shift[0], top + shift[1], right - left, bottom - top)
        data, known = _direct(sheet, window, bands)
    else:
        box = cut(box_in(sheet.grid.crs, frame.crs, sheet.grid.bounds), frame.bounds)
        part = frame.trimmed(box) if box else None
        if part is None:
            return None
        left, top = frame.shift(part) or (0, 0)
        right, bottom = left + part.width, top + part.height
        data, known = _warped(sheet, part, bands, is_coded=coverage.is_coded)
    piece = frame.part(top, bottom - top, left, right - left)
    return _converted(coverage, sheet, (data, known), piece, bands), known, slice(top, bottom), slice(left, right)


def _direct(sheet: Sheet, window: tuple[int, int, int, int], bands: Sequence[int]) -> tuple[Array, Mask]:
    from rasterio.windows import Window

    with telling(sheet.asset), open_files.POOL.open(str(sheet.path), None) as dataset:
        box = Window(*window)
        data = dataset.read(list(bands), window=box)
        known = dataset.dataset_mask(window=box) > 0
    return data, known & _finite(data)


def _warped(sheet: Sheet, frame: Grid, bands: Sequence[int], *, is_coded: bool) -> tuple[Array, Mask]:
    from rasterio.enums import ColorInterp, Resampling
    from rasterio.transform import from_origin
    from rasterio.vrt import WarpedVRT

    level, x_ratio, y_ratio = _level(sheet, frame)
    filter_width = {} if is_coded else {"XSCALE": repr(min(x_ratio, 1.0)), "YSCALE": repr(min(y_ratio, 1.0))}
    with telling(sheet.asset), open_files.POOL.open(str(sheet.path), level) as dataset:
        nodata = sheet.header.nodata
        has_mask = nodata is not None or ColorInterp.alpha in dataset.colorinterp
        with WarpedVRT(
            dataset, src_crs=crs.parse(sheet.grid.crs).to_wkt(), crs=crs.parse(frame.crs).to_wkt(),
            transform=from_origin(frame.west, frame.north, frame.dx, frame.dy), width=frame.width, height=frame.height,
            resampling=Resampling.nearest if is_coded else Resampling.bilinear, tolerance=TOLERANCE_CELLS,
            src_nodata=nodata, nodata=nodata, add_alpha=not has_mask, warp_mem_limit=64, **filter_width,
        ) as warped:  # fmt: skip
            data = warped.read(list(bands))
            if nodata is None:
                known = warped.dataset_mask() > 127
            else:
                known = (~np.isnan(data) if np.isnan(nodata) else data != nodata).any(axis=0)
    return data, known & _finite(data)


def _finite(data: Array) -> Mask:
    """Cells in which some band is a number: a NaN that no nodata value declares is none."""
    if data.dtype.kind != "f":
        return np.ones(data.shape[1:], bool)
    return np.asarray(np.isfinite(data).any(axis=0))


def _level(sheet: Sheet, frame: Grid) -> tuple[int | None, float, float]:
    """Index of the overview to read (None: the file), and cells of the frame for one cell of that, along x and y."""
    # at the middle of the sheet, so that each strip of a frame is read alike
    west, south, east, north = sheet.grid.bounds
    middle = np.array([(west + east) / 2]), np.array([(south + north) / 2])
    x, y = (float(each[0]) for each in crs.transform(sheet.grid.crs, frame.crs, *middle))
    e, n = crs.transform(frame.crs, sheet.grid.crs, np.array([x, x + frame.dx, x]), np.array([y, y, y + frame.dy]))
    x_cells, y_cells = (float(np.hypot(e[i] - e[0], n[i] - n[0])) for i in (1, 2))
    x_cells, y_cells = x_cells / sheet.grid.dx, y_cells / sheet.grid.dy
    if not (np.isfinite([x_cells, y_cells]).all() and min(x_cells, y_cells) > 0):
        return None, 1.0, 1.0
    fit = [i for i, factor in enumerate(sheet.header.overviews) if factor <= min(x_cells, y_cells) * 1.0001]
    factor = sheet.header.overviews[fit[-1]] if fit else 1
    return (fit[-1] if fit else None), factor / x_cells, factor / y_cells


def _converted(coverage: Coverage, sheet: Sheet, found: tuple[Array, Mask], frame: Grid, bands: Sequence[int]) -> Array:
    """A sheet's numbers in the coverage's kind; heights in the city's datum."""
    data, known = found
    own = sheet.header.nodata
    same = own is None or repr(own) == repr(coverage.nodata)
    if coverage.is_raw and same:
        return data
    void = np.zeros(data.shape, bool)
    if own is not None:
        void = np.isnan(data) if np.isnan(own) else data == own
    if coverage.is_raw:
        return np.where(void, data.dtype.type(0 if coverage.nodata is None else coverage.nodata), data)
    scale = np.array([sheet.header.scales[b - 1] for b in bands])[:, None, None]
    offset = np.array([sheet.header.offsets[b - 1] for b in bands])[:, None, None]
    out = data.astype(np.float64) * scale + offset + sheet.offset_m
    if sheet.datum is not None:
        x, y = np.meshgrid(*frame.centres())
        lon, lat = crs.transform(frame.crs, crs.WGS84, x[known], y[known])
        for band in out:
            band[known] = sheet.datum.normal_m(lon, lat, band[known])
    return np.where(void, np.nan, out).astype(np.float32)
