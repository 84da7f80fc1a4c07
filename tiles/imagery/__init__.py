"""Image tiles of rasters on any tile matrix set: photographs, colour tables, ramps, shaded relief; 256 or 512 pixels.

Several files lie on one another in the order of the store (priority, newest epoch, id): each fills what those above
leave open. A tile that no file touches is a transparent picture, so that layers and epochs lie on each other and every
client goes on: QGIS and CesiumJS take a 404 or a 204 for a failure and ask again.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from layers import crs
from layers.errors import NotFound
from tiles import cache, hillshade
from tiles.city import TileCity
from tiles.imagery import colour, sheets
from tiles.imagery.colour import Look, Wanted
from tiles.imagery.encode import MEDIA_TYPES, Format, encode, nothing
from tiles.imagery.sheets import Frame
from tiles.matrix_set import TILE_SIZE, MatrixSet
from twin.scope import Scope
from twin.store.interface import Asset

__all__ = [
    "MEDIA_TYPES",
    "Format",
    "Frame",
    "Picture",
    "Wanted",
    "assets",
    "bounds_lonlat",
    "colours",
    "limits",
    "picture",
    "select",
    "styles",
    "version",
    "zooms",
]

ENCODING = 2


def assets(
    city: TileCity, scope: Scope, layer: str = "dom", epoch: str | None = None, asset: str | None = None
) -> list[Asset]:
    """Rasters of a layer, uppermost first; of one epoch or one file if given. NotFound names what there is."""
    found = [each for each in city.store.assets(scope, layer) if each.kind == "raster"]
    return select(found, layer, epoch, asset)


def select(found: Sequence[Asset], layer: str, epoch: str | None = None, asset: str | None = None) -> list[Asset]:
    """Those of the rasters of a layer that are asked for, in their order; NotFound names what there is."""
    chosen = [each for each in found if epoch in {None, each.epoch} and asset in {None, each.id}]
    if chosen:
        return chosen
    for name, value, known in (
        ("epoch", epoch, {each.epoch for each in found if each.epoch}),
        ("asset", asset, {each.id for each in found}),
    ):
        if value is not None and value not in known:
            names = sorted(known)
            more = f" and {len(names) - 20} more" if len(names) > 20 else ""
            hint = f"There is: {', '.join(names[:20])}{more}." if names else ""
            raise NotFound(f"{layer} has no image of {name} {value[:60]!r}.", hint)
    raise NotFound(f"{layer} has no such image." if found else f"Layer {layer!r} has no image.")


@dataclass(frozen=True)
class Picture:
    """One tile, ready to be made: `signature` is everything that its bytes depend on."""

    city: TileCity
    touching: tuple[Asset, ...]
    look: Look
    frame: Frame
    format: Format

    @property
    def signature(self) -> tuple[object, ...]:
        """For caches and entity tags. Paths of files carry a mark of their content."""
        files = tuple((each.path, each.height_offset_m) for each in self.touching)
        place = (self.frame.grid.id, self.frame.z, self.frame.x, self.frame.y, self.frame.size)
        return ("image", ENCODING, files, self.look, place, self.format)

    def encode(self) -> bytes:
        """The bytes, kept on disk."""
        if not self.touching:
            return nothing(self.frame.size, self.format)
        return cache.of_twin(self.city.folder).get_or_make(partial(_made, self), *self.signature)


def picture(
    city: TileCity, chosen: Sequence[Asset], frame: Frame, wanted: Wanted | None = None, image_format: Format = "auto"
) -> Picture:
    """What a tile of these files is made of; cheap. NotFound off the grid, InvalidInput where a file cannot be read."""
    frame.grid.require(frame.z, frame.x, frame.y)
    look = colour.look(city.folder, chosen, wanted or Wanted())
    margin = 1 if look.kind in {"hillshade", "slope"} else 0
    frame = Frame(frame.grid, frame.z, frame.x, frame.y, frame.size, margin)
    return Picture(city, tuple(sheets.touching(chosen, frame)), look, frame, image_format)


def colours(tile: Picture) -> NDArray[np.uint8]:
    """(size, size, 4) the pixels of a tile, not encoded and not kept."""
    return _field(tile) if tile.look.kind in {"ramp", "hillshade", "slope"} else _mosaic(tile)


def _made(tile: Picture) -> bytes:
    made = colours(tile)
    return encode(made[..., :3], made[..., 3], tile.format, lossy=tile.look.is_photo)


def _mosaic(tile: Picture) -> NDArray[np.uint8]:
    """(size, size, 4): each file in its own colours, the first on top."""
    frame, look, folder = tile.frame, tile.look, tile.city.folder
    result = np.zeros((frame.pixels, frame.pixels, 4), np.uint8)
    for asset in tile.touching:
        header = sheets.header(folder, asset)
        bands = [band if band <= header.count else 1 for band in look.bands]
        data, valid, part = sheets.read(folder, asset, frame, bands, nearest=look.kind == "palette")
        if not data.size:
            continue
        if look.kind == "palette":
            colours = colour.codes(data[0], look.palette or header.palette or ())
        else:
            colours = np.dstack([colour.photo(data, look), np.full(valid.shape, 255, np.uint8)])
        below = result[part]
        take = valid & (below[..., 3] == 0)
        below[take] = colours[take]
        if result[..., 3].all():
            break
    return result


def _field(tile: Picture) -> NDArray[np.uint8]:
    """(size, size, 4): one field of numbers from all files, then its colours."""
    look, frame = tile.look, tile.frame
    values = sheets.field(tile.city.folder, tile.touching, frame, look.bands[0])
    if look.kind == "hillshade":
        return colour.ramp(hillshade.hillshade(values, frame), (0.0, 1.0), "gray")
    if look.kind == "slope":
        return colour.ramp(hillshade.slope_deg(values, frame), colour.SLOPE_DEG, "steepness")
    ((_, (span,)),) = look.ranges
    return colour.ramp(values, span, look.colormap)


def version(chosen: Sequence[Asset]) -> str:
    """Changes with the files; 12 hexadecimal digits, for the `v` of addresses."""
    said = (ENCODING, [(each.path, each.height_offset_m) for each in chosen])
    return hashlib.sha256(repr(said).encode()).hexdigest()[:12]


def styles(city: TileCity, chosen: Sequence[Asset]) -> tuple[str, ...]:
    """Names of the styles of these files, the default one first."""
    return colour.styles(chosen[0].layer, sheets.header(city.folder, chosen[0]))


def zooms(city: TileCity, chosen: Sequence[Asset], grid: MatrixSet, size: int = TILE_SIZE) -> tuple[int, int]:
    """The deepest level at which one tile still holds all of the files, and the first as fine as the finest of them."""
    boxes = np.array([sheets.footprint(each, grid) for each in chosen])
    side = float(max(np.ptp(boxes[:, [0, 2]]), np.ptp(boxes[:, [1, 3]])))
    low = max(grid.level_of(max(side, 1e-9) / TILE_SIZE) - 1, 0)
    cell = min(sheets.pixel_size(city.folder, each, grid) for each in chosen)
    return low, max(grid.level_of(cell * size / TILE_SIZE), low)


def limits(chosen: Sequence[Asset], grid: MatrixSet, low: int, high: int) -> list[dict[str, object]]:
    """`tileMatrixSetLimits` (17-083r4, 7): the tiles that the files touch, for the levels from `low` to `high`."""
    boxes = np.array([sheets.footprint(each, grid) for each in chosen])
    box = (*boxes[:, :2].min(axis=0).tolist(), *boxes[:, 2:].max(axis=0).tolist())
    found: list[dict[str, object]] = []
    for z in range(low, high + 1):
        x0, y0, x1, y1 = grid.cover(z, box)
        found.append({"tileMatrix": str(z), "minTileRow": y0, "maxTileRow": y1, "minTileCol": x0, "maxTileCol": x1})
    return found


def bounds_lonlat(chosen: Sequence[Asset]) -> tuple[float, float, float, float]:
    """West, south, east, north of the files in degrees."""
    boxes = np.array([crs.transform_bounds(each.crs, crs.CRS84, each.bounds) for each in chosen])
    west, south = boxes[:, :2].min(axis=0)
    east, north = boxes[:, 2:].max(axis=0)
    return float(west), float(south), float(east), float(north)
