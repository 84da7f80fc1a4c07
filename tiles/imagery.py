"""Image tiles (WebMercatorQuad, 256 pixels) of orthophotos in any CRS, read by rio-tiler from the COG's overviews.

A tile that is covered whole is JPEG, one with transparent parts PNG (or WebP for both where asked), and one that
the image does not touch is a transparent PNG, so that mosaics of several epochs lie on each other.
"""

import math
import threading
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from layers import crs
from layers.errors import InvalidInput, NotFound
from tiles import cache, mercator
from tiles.city import TileCity
from twin.scope import Scope
from twin.store.interface import Asset

SIZE = 256
ENCODING = 1
_importing = threading.Lock()
Format = Literal["auto", "png", "webp", "jpeg"]


def assets(city: TileCity, scope: Scope, layer: str = "dom", epoch: str | None = None) -> list[Asset]:
    """Images of a layer, newest epoch first; only those of one epoch where it is given. NotFound if there are none."""
    found = [asset for asset in city.store.assets(scope, layer) if asset.kind == "raster"]
    chosen = [asset for asset in found if epoch is None or asset.epoch == epoch]
    if not chosen:
        known = sorted({asset.epoch for asset in found if asset.epoch})
        hint = f"Known epochs: {', '.join(known)}." if known else ""
        raise NotFound(f"Layer {layer!r} has no image" + (f" of epoch {epoch!r}." if epoch else "."), hint)
    return chosen


def tile(city: TileCity, asset: Asset, z: int, x: int, y: int, image_format: Format = "auto") -> bytes:  # noqa: PLR0917
    """One tile as PNG, JPEG or WebP bytes. NotFound off the grid, InvalidInput where the file cannot be read."""
    mercator.require(z, x, y)
    kept = cache.of_twin(city.folder)
    make = partial(_made, city, asset, (z, x, y), image_format)
    return kept.get_or_make(make, "image", ENCODING, asset.id, asset.path, image_format, z, x, y)


def _reader() -> Any:
    """rio-tiler's Reader, imported by one thread at a time: its modules import one another in a circle, and a second
    thread would meet half a module (seen as an ImportError when a viewer asks for its first tiles at once).
    """
    with _importing:
        from rio_tiler.io import Reader
    return Reader


def _made(city: TileCity, asset: Asset, address: tuple[int, int, int], image_format: Format) -> bytes:
    reader = _reader()
    from rasterio.errors import RasterioIOError
    from rio_tiler.errors import TileOutsideBounds

    z, x, y = address
    try:
        with reader(str(city.folder / asset.path)) as image:
            bands = _bands(image.dataset.count)
            # numbers of a palette must not be mixed
            method: Any = "nearest" if image.colormap else "bilinear"
            part = image.tile(x, y, z, tilesize=SIZE, indexes=bands, resampling_method=method)
            if image.colormap:
                part = part.apply_colormap(image.colormap)
    except TileOutsideBounds:
        return _nothing()
    except RasterioIOError as error:
        raise InvalidInput(f"Image {asset.id!r} cannot be read: {error}.", "Build the twin again.") from error
    return _render(part, _range(city.folder / asset.path, part.data.dtype), image_format)


def zooms(asset: Asset) -> tuple[int, int]:
    """First zoom at which the image is larger than a tile, and the one whose pixels are as fine as the image's."""
    west, south, east, north = crs.transform_bounds(asset.crs, mercator.CRS, asset.bounds)
    side = max(east - west, north - south, 1.0)
    low = max(0, math.floor(math.log2(2 * mercator.HALF_M / side)))
    pixels = max(int(asset.meta.get("width", 0)), int(asset.meta.get("height", 0)), SIZE)
    high = math.ceil(math.log2(2 * mercator.HALF_M / SIZE / (side / pixels)))
    return low, min(max(high, low), mercator.MAX_ZOOM)


def _bands(count: int) -> tuple[int, ...]:
    """Red, green and blue where there are at least three bands (a fourth is near infrared or alpha), else the first."""
    return (1, 2, 3) if count >= 3 else (1,)


def _render(part: Any, limits: tuple[tuple[float, float], ...] | None, image_format: Format) -> bytes:
    if limits is not None:
        part.rescale(in_range=limits)
    opaque = bool((part.mask == 255).all())
    chosen = ("jpeg" if opaque else "png") if image_format == "auto" else image_format
    options: dict[str, Any] = {"quality": 85} if chosen in {"jpeg", "webp"} else {}
    return bytes(part.render(img_format=chosen.upper(), add_mask=chosen != "jpeg", **options))


@lru_cache(maxsize=32)
def _range(path: Path, dtype: np.dtype[Any]) -> tuple[tuple[float, float], ...] | None:
    """What becomes black and white, from the whole image, so that neighbouring tiles match. None for 8 bits."""
    if dtype == np.uint8:
        return None
    with _reader()(str(path)) as image:
        found = image.statistics(indexes=_bands(image.dataset.count), max_size=1024)
    return tuple(
        (float(band.percentile_2), max(float(band.percentile_98), band.percentile_2 + 1)) for band in found.values()
    )


@lru_cache(maxsize=1)
def _nothing() -> bytes:
    from io import BytesIO

    from PIL import Image

    out = BytesIO()
    Image.new("RGBA", (SIZE, SIZE)).save(out, "PNG", optimize=True)
    return out.getvalue()
