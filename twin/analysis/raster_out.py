"""A grid of numbers as a Cloud Optimized GeoTIFF, written block by block; kept as a layer of the city when asked."""

import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from layers.catalogue import Title
from layers.errors import InvalidInput
from twin.analysis.elevation import Grid
from twin.analysis.outputs import COG, File
from twin.analysis.process import Parameter
from twin.analysis.progress import Progress
from twin.store.interface import Asset

if TYPE_CHECKING:
    from twin.city import City

FOLDER = "rasters"
BLOCK = 512

KEEP_AS = Parameter(
    Title("保存为图层", "Keep the raster as a layer of this name"),
    {"type": "string", "pattern": "^[a-z][a-z0-9_]{1,62}$"},
    required=False,
)
"""An input of every analysis that answers with a raster; `keep` does it."""


def raster_output(zh: str, en: str, unit: str) -> Parameter:
    """An output that is a COG with numbers of a unit."""
    schema = {"type": "string", "contentEncoding": "binary", "contentMediaType": COG, "x-unit": unit}
    return Parameter(Title(zh, en), schema, media_type=COG)


def cog(
    progress: Progress,
    name: str,
    grid: Grid,
    blocks: Iterable[tuple[int, NDArray[Any]]],
    *,
    unit: str,
    nodata: float | None = float("nan"),
    dtype: str = "float32",
) -> File:
    """Write a raster.

    Parameters
    ----------
    name : of the file, without suffix
    blocks : (first row, (rows, width) values), from north to south, without gaps
    unit : of the values, kept in the file
    nodata : value of cells without one
    """
    import rasterio
    from affine import Affine
    from rasterio.shutil import copy
    from rasterio.windows import Window

    path, raw = progress.file(f"{name}.tif"), progress.file(f"{name}.raw.tif")
    profile = {
        "driver": "GTiff", "width": grid.width, "height": grid.height, "count": 1, "dtype": dtype, "crs": grid.crs,
        "transform": Affine(*grid.transform()), "nodata": nodata, "tiled": True, "blockxsize": BLOCK,
        "blockysize": BLOCK, "BIGTIFF": "IF_SAFER",
    }  # fmt: skip
    try:
        with rasterio.open(raw, "w", **profile) as made:
            made.units = (unit,)
            for top, values in blocks:
                window = Window(0, top, grid.width, values.shape[0])
                made.write(values.astype(dtype, copy=False), 1, window=window)
        copy(raw, path, driver="COG", COMPRESS="DEFLATE", PREDICTOR="YES", BLOCKSIZE=BLOCK, BIGTIFF="IF_SAFER",
             OVERVIEW_RESAMPLING="NEAREST" if np.issubdtype(np.dtype(dtype), np.integer) else "BILINEAR",
             NUM_THREADS=2)  # fmt: skip
    finally:
        Path(raw).unlink(missing_ok=True)
    return File(path)


def keep(city: "City", file: File, layer: str | None, title: str, process: str) -> None:
    """Make a raster a layer of the city: an asset of that name; an earlier one gives way. None does nothing."""
    if layer is None:
        return
    import rasterio

    known = next((each for each in city.store.assets(city.scope) if each.id == layer), None)
    source = f"analysis/{process}"
    if layer in city or (known is not None and not known.source.startswith("analysis/")):
        raise InvalidInput(f"keep_as: there is a layer {layer!r} already.", "Choose another name.")
    folder = city.folder / FOLDER
    folder.mkdir(exist_ok=True)
    path = folder / f"{layer}-{uuid.uuid4().hex[:8]}.tif"
    shutil.copyfile(file.path, path)
    with rasterio.open(path) as made:
        west, south, east, north = made.bounds
    box = (float(west), float(south), float(east), float(north))
    with city.store.writing() as batch:
        batch.put_asset(
            Asset(id=layer, layer=layer, kind="raster", path=f"{FOLDER}/{path.name}", crs=city.crs, bounds=box,
                  city_bounds=box, source=source, title=title)
        )  # fmt: skip
    if known is not None:
        (city.folder / known.path).unlink(missing_ok=True)
