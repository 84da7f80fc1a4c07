"""Heights as colours of WebMercatorQuad tiles (Terrain-RGB), for MapLibre and others that drape on them.

`mapbox`: height = -10000 + 0.1 (65536 R + 256 G + B) m; `terrarium`: height = 256 R + G + B / 256 - 32768 m. A pixel
states the height at its centre, from the same merged terrain as the quantized mesh, holes filled, read from overviews
whose cells are no wider than the pixel. Outside the survey the ground fades to sea level, as there: a viewer that takes
0 where it has no tile shows no wall.
"""

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from layers.crs import Bounds
from layers.errors import NotFound
from tiles import matrix_set
from tiles.city import FloatArray
from tiles.matrix_set import METRES_PER_DEGREE, TILE_SIZE
from tiles.terrain import TerrainTiles

GRID = matrix_set.get("WebMercatorQuad", "")
Heights = Literal["normal", "ellipsoidal"]
Encoding = Literal["mapbox", "terrarium"]
MAPBOX_STEP_M, MAPBOX_LOWEST_M = 0.1, -10000.0
TERRARIUM_STEP_M, TERRARIUM_LOWEST_M = 1 / 256, -32768.0
RADIUS_M = 6378137.0
VERSION = 1


@dataclass(frozen=True)
class TerrainRgb:
    """Terrain-RGB tiles of one surface.

    Parameters
    ----------
    terrain : the surface
    heights : `normal` (as surveyed, what maps state) or `ellipsoidal` (what GNSS and 3D Tiles have)
    encoding : `mapbox` (rounded to 0.1 m) or `terrarium` (to 1/256 m)
    size : pixels of a tile, 256 or 512
    """

    terrain: TerrainTiles
    heights: Heights = "normal"
    encoding: Encoding = "mapbox"
    size: int = TILE_SIZE

    @property
    def signature(self) -> tuple[object, ...]:
        """Everything that the tiles depend on, for caches and entity tags."""
        return ("terrain-rgb", VERSION, self.terrain.version, self.heights, self.encoding, self.size)

    @property
    def version(self) -> str:
        """The signature in 12 hexadecimal digits."""
        return hashlib.sha256(repr(self.signature).encode()).hexdigest()[:12]

    def require(self) -> None:
        """NotFound where the city has no elevation raster."""
        if not self.terrain.extents:
            raise NotFound("The city has no elevation raster, so there is no Terrain-RGB.", "Add one (layer dem).")

    @property
    def bounds(self) -> Bounds:
        """West, south, east, north in degrees beyond which every pixel says 0 m, or the whole grid."""
        if self.heights == "ellipsoidal":
            return -180.0, -85.0511287798066, 180.0, 85.0511287798066
        west, south, east, north = self.terrain.reach
        return max(west, -180.0), max(south, -85.0511287798066), min(east, 180.0), min(north, 85.0511287798066)

    @property
    def max_zoom(self) -> int:
        """The first level whose pixels are at least as fine as the finest raster."""
        cell_m = min(cell for _, cell in self.terrain.extents)
        return GRID.level_of(cell_m * self.size / TILE_SIZE / self._narrow)

    def tile(self, z: int, x: int, y: int, image_format: str = "png") -> bytes:
        """One tile as `png` or lossless `webp`. NotFound off the grid."""
        GRID.require(z, x, y)
        lon, lat = centres(z, x, y, self.size)
        west, south, east, north = self.bounds
        if lon[-1] < west or lon[0] > east or lat[0] < south or lat[-1] > north:
            return _flat(self.encoding, self.size, image_format)
        return _packed(encode(self._field(lon, lat, self._pixel_m(z)), self.encoding), image_format)

    def field(self, z: int, x: int, y: int) -> FloatArray:
        """(size, size) heights in metres at the centres of the pixels, before they are rounded."""
        return self._field(*centres(z, x, y, self.size), self._pixel_m(z))

    def tilejson(self, template: str) -> dict[str, Any]:
        """TileJSON 3.0 with `encoding`, for tiles at `template`."""
        which = "normal heights" if self.heights == "normal" else "ellipsoidal heights"
        config = self.terrain.city.config
        return {
            "tilejson": "3.0.0",
            "name": config.name,
            "description": f"{which} in metres; outside the survey the ground fades to sea level",
            "attribution": config.title_in("en"),
            "scheme": "xyz",
            "encoding": self.encoding,
            "tileSize": self.size,
            "tiles": [template],
            "bounds": list(self.bounds),
            "minzoom": 0,
            "maxzoom": self.max_zoom,
        }

    def _field(self, lon: FloatArray, lat: FloatArray, cell_m: float) -> FloatArray:
        lons, lats = (each.ravel() for each in np.meshgrid(lon, lat))
        of = self.terrain.heights if self.heights == "ellipsoidal" else self.terrain.ground
        return of(lons, lats, cell_m).reshape(len(lat), len(lon))

    def _pixel_m(self, z: int) -> float:
        """Side of a pixel on the ground in the survey's middle: one number a level, so that neighbours read alike."""
        return GRID.cell_size(z) * TILE_SIZE / self.size * self._narrow

    @property
    def _narrow(self) -> float:
        boxes = np.array([bounds for bounds, _ in self.terrain.extents])
        return math.cos(math.radians(float(boxes[:, 1].min() + boxes[:, 3].max()) / 2))


def centres(z: int, x: int, y: int, size: int) -> tuple[FloatArray, FloatArray]:
    """(size,) longitudes from west, (size,) latitudes from north, in degrees, of the pixels' centres."""
    west, _, east, north = GRID.bounds(z, x, y)
    steps = (np.arange(size) + 0.5) * ((east - west) / size)
    lon = (west + steps) / METRES_PER_DEGREE
    lat = np.degrees(2 * np.arctan(np.exp((north - steps) / RADIUS_M)) - np.pi / 2)
    return np.asarray(lon, np.float64), np.asarray(lat, np.float64)


def encode(heights_m: FloatArray, encoding: Encoding) -> NDArray[np.uint8]:
    """(…) heights in metres -> (…, 3) red, green, blue. Off by at most half a step (0.05 m, or 1/512 m)."""
    step, lowest = (MAPBOX_STEP_M, MAPBOX_LOWEST_M) if encoding == "mapbox" else (TERRARIUM_STEP_M, TERRARIUM_LOWEST_M)
    codes = np.clip(np.rint((heights_m - lowest) / step), 0, 2**24 - 1).astype(np.uint32)
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=-1).astype(np.uint8)


@lru_cache(maxsize=16)
def _flat(encoding: Encoding, size: int, image_format: str) -> bytes:
    return _packed(encode(np.zeros((size, size)), encoding), image_format)


def _packed(rgb: NDArray[np.uint8], image_format: str) -> bytes:
    from PIL import Image

    out = BytesIO()
    options: dict[str, Any] = {"compress_level": 6}
    if image_format == "webp":
        options = {"lossless": True, "quality": 50, "method": 2, "exact": True}
    Image.fromarray(rgb).save(out, image_format.upper(), **options)
    return out.getvalue()
