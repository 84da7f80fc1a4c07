"""A grid of numbers as a Cloud Optimized GeoTIFF, written block by block; kept as a layer of the city when asked."""

import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from layers import catalogue
from layers.catalogue import Title
from layers.errors import InvalidInput
from twin.analysis.elevation import Grid
from twin.analysis.outputs import COG, File
from twin.analysis.process import Parameter
from twin.analysis.progress import Progress
from twin.scope import EVERYTHING
from twin.store.interface import Asset

if TYPE_CHECKING:
    from twin.city import City

FOLDER = "rasters"
SOURCE = "analysis/"
"""Assets of analyses have this and the process as their source; no file of a folder is called so."""
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
    """Make a raster a layer of the city: an asset of that name; an earlier one gives way. None does nothing.

    Raises
    ------
    InvalidInput
        `keep_as` is the name of a layer of the catalogue, or of one that is not an analysis's own raster.
    """
    if layer is None:
        return
    import rasterio

    known = check_name(city, layer)
    folder = city.folder / FOLDER
    folder.mkdir(exist_ok=True)
    path = folder / f"{layer}-{uuid.uuid4().hex[:8]}.tif"
    try:
        shutil.copyfile(file.path, path)
        with rasterio.open(path) as made:
            west, south, east, north = made.bounds
        box = (float(west), float(south), float(east), float(north))
        asset = Asset(id=layer, layer=layer, kind="raster", path=f"{FOLDER}/{path.name}", crs=city.crs, bounds=box,
                      city_bounds=box, source=f"{SOURCE}{process}", title=title)  # fmt: skip
        with city.store.writing() as batch:
            batch.put_asset(asset)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    if known is not None:
        (city.folder / known.path).unlink(missing_ok=True)


def check_name(city: "City", layer: str) -> Asset | None:
    """The raster of an analysis that a new one of this name replaces; InvalidInput where the name is another's.

    Worth asking before a long analysis starts. Layers that the asker may not see count as well.
    """
    own = [each for each in city.store.assets(EVERYTHING) if layer in {each.id, each.layer}]
    is_taken = layer in catalogue.load() or any(each.id == layer for each in city.store.layers(EVERYTHING))
    if is_taken or any(not each.source.startswith(SOURCE) or each.id != layer for each in own):
        raise InvalidInput(f"keep_as: the name {layer!r} is taken by a layer.", "Choose another name.")
    return own[0] if own else None
