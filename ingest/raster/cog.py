"""A raster -> cloud-optimised GeoTIFF (OGC 21-026), every block really read before anything is kept."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ingest.raster import view as raster_view
from ingest.raster.elevation_values import ElevationValues
from ingest.raster.view import View
from layers.errors import InvalidInput
from layers.issue import Issue

_WINDOW = 1024


def write_cog(path: Path, target: Path, name: str, view: View, *, is_image: bool) -> list[Issue]:
    """Write a COG. Raises InvalidInput that names the first block which cannot be read, and then leaves no file."""
    from rasterio.errors import RasterioError

    issues: list[Issue] = []
    with raster_view.dataset(path) as source:
        values = None if is_image else _elevations(source, view)
        for block, top, left in _blocks(source, name):
            if values is not None:
                values.add(block[0], top, left)
        if values is not None:
            values.check(name)
            issues = values.issues(name)
            if values.undeclared is not None:
                view = replace(view, nodata=values.undeclared)
        try:
            with raster_view.seen(source, view, is_image=is_image) as told:
                _copy(told, target, is_image=is_image)
        except (RasterioError, OSError) as error:
            with suppress(FileNotFoundError):
                target.unlink()
            problem = f"{name} could not be written as a COG: {str(error.__cause__ or error).rstrip('.')}."
            raise InvalidInput(problem, "Check the disk's free space.", code="RASTER_NOT_WRITTEN") from error
    return issues


def _elevations(source: Any, view: View) -> ElevationValues:
    nodata = view.nodata if view.nodata is not None else source.nodata
    scale, offset = (view.scale if view.scale != 1.0 else source.scales[0]), source.offsets[0]
    return ElevationValues(source.width, source.height, nodata, scale, offset)


def _blocks(source: Any, name: str) -> Iterator[tuple[Any, int, int]]:
    """Every block, (bands, rows, columns) with its first row and column: a truncated file fails only here."""
    from rasterio.errors import RasterioError
    from rasterio.windows import Window

    block_rows, block_columns = source.block_shapes[0]
    rows = max(block_rows, _WINDOW // block_rows * block_rows)
    columns = max(block_columns, _WINDOW // block_columns * block_columns)
    for top in range(0, source.height, rows):
        for left in range(0, source.width, columns):
            window = Window(left, top, min(columns, source.width - left), min(rows, source.height - top))
            try:
                block = source.read(window=window)
            except (RasterioError, OSError) as error:
                at = f"rows {top} to {int(top + window.height) - 1}, columns {left} to {int(left + window.width) - 1}"
                problem = f"{name} is damaged: {at} cannot be read: {str(error.__cause__ or error).rstrip('.')}."
                hint = "It is cut off or broken: copy or export it again."
                raise InvalidInput(problem, hint, code="TRUNCATED") from error
            yield block, top, left


def _copy(source: Any, target: Path, *, is_image: bool) -> None:
    from rasterio.shutil import copy

    lossy = is_image and source.compression is not None and source.compression.name in {"jpeg", "webp"}
    options: dict[str, Any] = {"driver": "COG", "BLOCKSIZE": 512, "BIGTIFF": "IF_SAFER", "NUM_THREADS": 2}
    options |= {"COMPRESS": "JPEG", "QUALITY": 90} if lossy else {"COMPRESS": "DEFLATE", "PREDICTOR": "YES"}
    options["OVERVIEW_RESAMPLING"] = "AVERAGE" if is_image else "BILINEAR"
    copy(source, target, **options)
